/* From accepted to durable to told. A batch is what gathered while the one before was written. When
 * it is durable the next one is handed to the backend first, so that the disk works while watches
 * and callbacks are told; the JSON of objects nobody asks for is dropped on the side, a few objects
 * for each write. */
#include "store/internal.h"
#include "base/mem.h"

/* ---- queues of writes ---- */

void store_writes_init(struct write_list *l)
{
    *l = (struct write_list){.tail = &l->head};
}

void store_writes_push(struct write_list *l, struct write *w)
{
    w->next = NULL;
    *l->tail = w;
    l->tail = &w->next;
    l->n++;
    l->bytes += w->obj->msg_bytes;
}

struct write *store_writes_pop(struct write_list *l)
{
    struct write *w = l->head;

    if (!w)
        return NULL;
    l->head = w->next;
    if (!l->head)
        l->tail = &l->head;
    l->n--;
    l->bytes -= w->obj->msg_bytes;
    return w;
}

void store_write_free(struct write *w)
{
    (void)object_unref(w->obj);
    free(w);
}

/* ---- commits ---- */

#define SWEEP_PER_WRITE  4    /* objects looked at for each write: a full round in n/4 writes */
#define SWEEP_PER_SECOND 100  /* and for each second since the last one */
#define SWEEP_MAX        8192 /* at a time: some 100 us */

/* The same for states that were replaced and only the window keeps. */
static void window_sweep(struct store *s, size_t budget)
{
    const struct window *w = &s->window;

    budget = MIN(budget, w->newest - w->compacted);
    for (; budget; budget--, s->sweep_rev++) {
        if (s->sweep_rev <= w->compacted || s->sweep_rev > w->newest)
            s->sweep_rev = w->compacted + 1;
        object_cool_json(window_at(w, s->sweep_rev)->object);
    }
}

/* Clock hand: JSON nobody asked for during a whole round goes. */
static void json_sweep(struct store *s, size_t n_writes)
{
    nsec_t now = rt_now(s->rt);
    size_t budget = n_writes * SWEEP_PER_WRITE, skipped = 0;

    budget += (size_t)((now - s->sweep_last) / (NSEC_PER_SEC / SWEEP_PER_SECOND));
    budget = MIN(budget, SWEEP_MAX);
    s->sweep_last = now;
    window_sweep(s, budget / 2);

    while (budget && skipped <= s->n_kinds) {
        struct store_kind *k;
        if (s->sweep_kind >= s->n_kinds)
            s->sweep_kind = 0;
        k = s->kinds[s->sweep_kind];
        if (!k || !index_sweep(&k->index, &s->sweep_pos, &budget, object_cool_json)) {
            s->sweep_kind++;
            s->sweep_pos = (struct index_pos){0, 0};
            skipped++;
        }
    }
}

/* Makes one durable write visible to reads, and an event of it. */
static void write_apply(struct store *s, struct write *w)
{
    struct store_kind *k = w->k;
    struct str key = {w->key, w->key_len};
    struct store_event ev = {.rev = w->obj->rev, .object = w->obj};

    if (w->is_delete) {
        ev.prev = index_remove(&k->index, object_ns(w->obj), object_name(w->obj));
        ASSERT(ev.prev != NULL);
        ev.type = STORE_EVENT_DELETED;
    } else {
        ev.prev = index_set(&k->index, w->obj);
        ev.type = ev.prev ? STORE_EVENT_MODIFIED : STORE_EVENT_ADDED;
        s->object_bytes += w->obj->msg_bytes;
    }
    if (ev.prev)
        s->object_bytes -= ev.prev->msg_bytes;
    window_push(&s->window, &k->events, &ev);
    (void)object_unref(ev.prev);
    if (map_get(&k->pending, key) == w)
        (void)map_remove(&k->pending, key);
}

static void batch_succeeded(struct store *s)
{
    struct write_list done = s->flight;
    struct store_kind *touched = NULL, **tail = &touched;
    rev_t before = s->rev;

    store_catch_up(s); /* nobody may lose what the coming trim evicts */
    for (struct write *w = done.head; w; w = w->next) {
        write_apply(s, w);
        if (!w->k->touched) {
            w->k->touched = true;
            w->k->next_touched = NULL;
            *tail = w->k;
            tail = &w->k->next_touched;
        }
    }
    s->rev = s->batch.rev;
    s->writes += done.n;
    s->batches++;
    store_writes_init(&s->flight);
    store_commit_start(s); /* the disk works while we tell */
    while (touched) {
        struct store_kind *k = touched;
        touched = k->next_touched;
        k->touched = false;
        store_deliver(s, k, before);
    }
    store_catch_up(s); /* watches that callbacks have just started from an old revision */
    window_trim(&s->window);
    json_sweep(s, done.n);
    while (done.head) {
        struct write *w = store_writes_pop(&done);
        if (w->done)
            w->done(w->arg, 0, w->obj, NULL);
        store_write_free(w);
    }
}

void store_writes_fail(struct write_list *l, int r, const struct error *err)
{
    struct write *w;

    while ((w = store_writes_pop(l))) {
        if (w->done)
            w->done(w->arg, r, NULL, err);
        store_write_free(w);
    }
}

/* Takes all writes off the two queues and falls back to the durable state. */
struct write_list store_writes_take_all(struct store *s)
{
    struct write_list all;
    struct write *w;

    store_writes_init(&all);
    while ((w = store_writes_pop(&s->flight)) || (w = store_writes_pop(&s->queue))) {
        store_writes_push(&all, w);
        if (w->k->pending.n)
            map_clear(&w->k->pending);
    }
    s->rev_pending = s->rev;
    return all;
}

static void commit_done(void *arg, int r, bool unknown, const struct error *err)
{
    struct store *s = arg;

    ASSERT(s->committing && s->flight.n == s->batch.n);
    s->committing = false;
    s->commit_nsec += rt_now(s->rt) - s->commit_started;
    s->in_callbacks = true;
    if (r == 0) {
        batch_succeeded(s);
    } else {
        struct write_list all = store_writes_take_all(s);
        s->failed = s->failed || unknown;
        store_writes_fail(&all, r, err);
    }
    s->in_callbacks = false;
    if (s->closing)
        rt_task_schedule(&s->close_task);
}

void store_commit_start(void *arg)
{
    struct store *s = arg;
    size_t n = 0;

    if (s->committing || s->closing || s->failed || !s->queue.n)
        return;
    ASSERT(s->flight.n == 0);
    while (s->queue.n && n < STORE_BATCH_WRITES && s->flight.bytes < STORE_BATCH_BYTES) {
        struct write *w = store_writes_pop(&s->queue);
        if (n == s->cap_ops) {
            s->cap_ops = s->cap_ops ? s->cap_ops * 2 : 64;
            s->ops = xrealloc(s->ops, s->cap_ops * sizeof(*s->ops));
        }
        s->ops[n++] = (struct store_op){.kind = w->k->kind,
                                        .ns = object_ns(w->obj),
                                        .name = object_name(w->obj),
                                        .rev = w->obj->rev,
                                        .object = w->is_delete ? NULL : w->obj};
        store_writes_push(&s->flight, w);
    }
    s->batch = (struct store_batch){
        .ops = s->ops, .n = n, .rev = s->ops[n - 1].rev, .compacted = s->window.compacted};
    ASSERT(s->ops[0].rev == s->rev + 1 && s->batch.rev == s->rev + n);
    s->committing = true;
    s->commit_started = rt_now(s->rt);
    s->backend->ops->commit(s->backend, &s->batch, commit_done, s);
}
