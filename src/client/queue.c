/* Controllers react to storms of events by few, serial reconciles: a key is in the queue at most
 * once, is never worked on twice at the same time, and runs once more when it changed meanwhile. A
 * failing key comes back later and later, alone; the others are not held up.
 *
 * An item is READY (in line), ACTIVE (fn has it) or neither, and besides may be DELAYED (in the
 * heap). It is forgotten when it is none of these. */
#include "client/queue.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#define QUEUE_PER_TURN 128u /* started in one turn; then the loop looks at its I/O again */

struct item {
    struct list ready_node;
    struct heap_node delay_node;
    nsec_t deadline;
    uint64_t seq; /* first delayed, first out */
    unsigned failures;
    bool active, again; /* again: added while active */
    uint32_t key_len;
    char key[];
};

struct work_queue {
    struct rt *rt;
    struct work_queue_opts opts;
    work_queue_fn fn;
    void *arg;
    struct map items; /* key -> struct item, owned */
    struct list ready;
    size_t n_ready;
    struct heap delayed;
    unsigned n_active;
    bool paused;
    uint64_t seq;
    struct rt_task task;
    struct rt_timer timer;
    bool *freed; /* set while fn runs: tells the dispatcher that q is gone */
};

static bool delay_less(const struct heap_node *a, const struct heap_node *b)
{
    const struct item *x = CONTAINER_OF(a, struct item, delay_node);
    const struct item *y = CONTAINER_OF(b, struct item, delay_node);

    return x->deadline != y->deadline ? x->deadline < y->deadline : x->seq < y->seq;
}

static struct str item_key(const struct item *it)
{
    return (struct str){it->key, it->key_len};
}

static struct item *item_get(struct work_queue *q, struct str key)
{
    struct item *it = map_get(&q->items, key);

    if (it)
        return it;
    ASSERT(key.n < UINT32_MAX);
    it = xcalloc(1, sizeof(*it) + key.n + 1);
    list_init(&it->ready_node);
    it->key_len = (uint32_t)key.n;
    if (key.n)
        memcpy(it->key, key.p, key.n);
    (void)map_set(&q->items, item_key(it), it);
    return it;
}

static void item_forget_if_idle(struct work_queue *q, struct item *it)
{
    if (it->active || it->delay_node.index || list_linked(&it->ready_node))
        return;
    (void)map_remove(&q->items, item_key(it));
    free(it);
}

static void timer_set(struct work_queue *q)
{
    struct heap_node *top = heap_top(&q->delayed);

    if (top)
        rt_timer_start_at(&q->timer, CONTAINER_OF(top, struct item, delay_node)->deadline);
    else
        rt_timer_stop(&q->timer);
}

static void item_ready(struct work_queue *q, struct item *it)
{
    if (it->active) {
        it->again = true;
        return;
    }
    if (list_linked(&it->ready_node))
        return;
    list_push_back(&q->ready, &it->ready_node);
    q->n_ready++;
    if (q->n_active < q->opts.parallel)
        rt_task_schedule(&q->task);
}

static void dispatch(void *arg)
{
    struct work_queue *q = arg;
    bool freed = false;
    unsigned n = 0;

    q->freed = &freed;
    while (!q->paused && !list_empty(&q->ready) && q->n_active < q->opts.parallel) {
        struct item *it = LIST_FIRST(&q->ready, struct item, ready_node);
        if (n++ == QUEUE_PER_TURN) {
            rt_task_schedule(&q->task);
            break;
        }
        list_remove(&it->ready_node);
        q->n_ready--;
        it->active = true;
        q->n_active++;
        q->fn(q->arg, item_key(it));
        if (freed)
            return;
    }
    q->freed = NULL;
}

static void delays_due(void *arg)
{
    struct work_queue *q = arg;
    nsec_t now = rt_now(q->rt);
    struct heap_node *top;

    while ((top = heap_top(&q->delayed))) {
        struct item *it = CONTAINER_OF(top, struct item, delay_node);
        if (it->deadline > now)
            break;
        (void)heap_pop(&q->delayed);
        item_ready(q, it);
    }
    timer_set(q);
}

struct work_queue *work_queue_new(struct rt *rt, const struct work_queue_opts *opts,
                                  work_queue_fn fn, void *arg)
{
    struct work_queue *q = NEW(struct work_queue);

    q->rt = rt;
    if (opts)
        q->opts = *opts;
    if (!q->opts.parallel)
        q->opts.parallel = 1;
    if (!q->opts.backoff_min)
        q->opts.backoff_min = 5 * NSEC_PER_MSEC;
    if (!q->opts.backoff_max)
        q->opts.backoff_max = 1000 * NSEC_PER_SEC;
    q->fn = fn;
    q->arg = arg;
    list_init(&q->ready);
    heap_init(&q->delayed, delay_less);
    rt_task_init(&q->task, rt, dispatch, q);
    rt_timer_init(&q->timer, rt, delays_due, q);
    return q;
}

struct work_queue *work_queue_free(struct work_queue *q)
{
    if (!q)
        return NULL;
    if (q->freed)
        *q->freed = true;
    rt_task_cancel(&q->task);
    rt_timer_stop(&q->timer);
    for (struct map_slot *s = NULL; (s = map_next(&q->items, s));)
        free(s->value);
    map_fini(&q->items);
    heap_fini(&q->delayed);
    free(q);
    return NULL;
}

void work_queue_add(struct work_queue *q, struct str key)
{
    struct item *it = item_get(q, key);

    if (it->delay_node.index) { /* now is earlier */
        heap_remove(&q->delayed, &it->delay_node);
        timer_set(q);
    }
    item_ready(q, it);
}

void work_queue_add_after(struct work_queue *q, struct str key, nsec_t after)
{
    nsec_t deadline = rt_now(q->rt) + after;
    struct item *it;

    if (after <= 0) {
        work_queue_add(q, key);
        return;
    }
    it = item_get(q, key);
    if (list_linked(&it->ready_node) || (it->delay_node.index && it->deadline <= deadline))
        return;
    it->deadline = deadline;
    if (it->delay_node.index) {
        heap_update(&q->delayed, &it->delay_node);
    } else {
        it->seq = q->seq++;
        heap_push(&q->delayed, &it->delay_node);
    }
    timer_set(q);
}

static nsec_t backoff(const struct work_queue *q, unsigned failures)
{
    unsigned shift = MIN(failures - 1, 40u);

    if (q->opts.backoff_min > q->opts.backoff_max >> shift)
        return q->opts.backoff_max;
    return q->opts.backoff_min << shift;
}

void work_queue_done(struct work_queue *q, struct str key, bool ok)
{
    struct item *it = map_get(&q->items, key);

    ASSERT(it && it->active);
    it->active = false;
    q->n_active--;
    if (ok)
        it->failures = 0;
    else if (it->failures < UINT32_MAX)
        it->failures++;
    if (it->again) {
        it->again = false;
        if (it->delay_node.index) {
            heap_remove(&q->delayed, &it->delay_node);
            timer_set(q);
        }
        item_ready(q, it);
    } else if (!ok) {
        work_queue_add_after(q, item_key(it), backoff(q, it->failures));
    }
    item_forget_if_idle(q, it);
    if (!list_empty(&q->ready))
        rt_task_schedule(&q->task);
}

size_t work_queue_len(const struct work_queue *q)
{
    return q->n_ready + q->delayed.n;
}

void work_queue_pause(struct work_queue *q, bool paused)
{
    q->paused = paused;
    if (!paused && !list_empty(&q->ready))
        rt_task_schedule(&q->task);
}

size_t work_queue_ready(const struct work_queue *q)
{
    return q->n_ready;
}
