/* The scheduler's waiting rooms. */
#include "scheduler/queue.h"

static struct sched_item *item(const struct heap_node *n)
{
    return CONTAINER_OF(n, struct sched_item, heap);
}

static bool active_less(const struct heap_node *a, const struct heap_node *b)
{
    const struct sched_item *x = item(a), *y = item(b);
    return x->priority != y->priority ? x->priority > y->priority : x->seq < y->seq;
}

static bool backoff_less(const struct heap_node *a, const struct heap_node *b)
{
    const struct sched_item *x = item(a), *y = item(b);
    return x->ready_at != y->ready_at ? x->ready_at < y->ready_at : x->seq < y->seq;
}

void sched_queue_init(struct sched_queue *q)
{
    *q = (struct sched_queue){0};
    heap_init(&q->active, active_less);
    heap_init(&q->backoff, backoff_less);
    list_init(&q->unschedulable);
}

void sched_queue_fini(struct sched_queue *q)
{
    heap_fini(&q->active);
    heap_fini(&q->backoff);
}

void sched_item_init(struct sched_item *it)
{
    *it = (struct sched_item){0};
    list_init(&it->list);
}

void sched_queue_remove(struct sched_queue *q, struct sched_item *it)
{
    if (it->room == SCHED_ROOM_ACTIVE)
        heap_remove(&q->active, &it->heap);
    else if (it->room == SCHED_ROOM_BACKOFF)
        heap_remove(&q->backoff, &it->heap);
    else if (it->room == SCHED_ROOM_UNSCHEDULABLE)
        q->n_unschedulable--;
    list_remove(&it->list);
    it->room = SCHED_ROOM_NONE;
}

static void to_active(struct sched_queue *q, struct sched_item *it)
{
    sched_queue_remove(q, it);
    it->room = SCHED_ROOM_ACTIVE;
    heap_push(&q->active, &it->heap);
}

static void to_backoff(struct sched_queue *q, struct sched_item *it, nsec_t now)
{
    sched_queue_remove(q, it);
    if (it->ready_at <= now) {
        to_active(q, it);
        return;
    }
    it->room = SCHED_ROOM_BACKOFF;
    heap_push(&q->backoff, &it->heap);
}

void sched_queue_add(struct sched_queue *q, struct sched_item *it)
{
    if (it->seq == 0)
        it->seq = ++q->seq;
    it->attempts = 0;
    to_active(q, it);
}

void sched_queue_fail(struct sched_queue *q, struct sched_item *it, nsec_t now, bool moved)
{
    it->attempts++;
    it->ready_at = now + MIN(SCHED_BACKOFF_MIN << MIN(it->attempts - 1, 10u), SCHED_BACKOFF_MAX);
    if (moved) {
        to_backoff(q, it, now);
        return;
    }
    sched_queue_remove(q, it);
    it->room = SCHED_ROOM_UNSCHEDULABLE;
    it->since = now;
    list_push_back(&q->unschedulable, &it->list);
    q->n_unschedulable++;
}

struct sched_item *sched_queue_pop(struct sched_queue *q)
{
    struct heap_node *n = heap_pop(&q->active);
    if (!n)
        return NULL;
    item(n)->room = SCHED_ROOM_NONE;
    return item(n);
}

void sched_queue_move_all(struct sched_queue *q, nsec_t now)
{
    struct sched_item *it;
    LIST_FOR_EACH (it, &q->unschedulable, list)
        to_backoff(q, it, now);
}

nsec_t sched_queue_tick(struct sched_queue *q, nsec_t now)
{
    struct heap_node *n;
    struct sched_item *it;
    while ((n = heap_top(&q->backoff)) && item(n)->ready_at <= now)
        to_active(q, item(n));
    LIST_FOR_EACH (it, &q->unschedulable, list) {
        if (it->since + SCHED_UNSCHED_MAX > now)
            break; /* in order of coming */
        to_active(q, it);
    }
    nsec_t next = 0;
    if ((n = heap_top(&q->backoff)))
        next = item(n)->ready_at;
    if (!list_empty(&q->unschedulable)) {
        nsec_t at =
            LIST_FIRST(&q->unschedulable, struct sched_item, list)->since + SCHED_UNSCHED_MAX;
        next = next ? MIN(next, at) : at;
    }
    return next;
}
