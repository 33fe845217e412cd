/* Every flow has a clock that advances by the seats it was given; the flow whose clock is behind is
 * next. One that comes new starts at the clock of the level, the time of the last one that was
 * taken: it has no credit from the time it was away. One whose last call was taken is remembered
 * until the level's clock has come to its own, else it would come back as if it had had nothing.
 * While nobody of a level waits it has no flows at all, and a call costs a few additions.
 *
 * A wide call at the head of a flow is not overtaken by narrow ones behind it: the level waits
 * until it fits, else it never would. */
#include "apiserver/flow/fair.h"

#include "base/mem.h"

#define FEW_WAITING 4 /* a flow with fewer is let in although the level is full */

struct fair_flow {
    struct heap_node node;
    struct list items;
    size_t n;
    uint64_t clock, seq; /* seq: who came first among equals */
    struct str key;      /* behind it */
};

struct level {
    struct fair_level_opts o;
    unsigned nominal, lendable, used;
    size_t running, waiting;
    uint64_t clock;
    struct heap flows; /* with somebody waiting */
    struct heap idle;  /* without, and ahead of the level's clock */
    struct map by_key; /* both */
};

struct fair {
    struct level *v; /* owned */
    unsigned n, seats, turn;
    size_t waiting;
    uint64_t seq;
};

static bool flow_less(const struct heap_node *a, const struct heap_node *b)
{
    const struct fair_flow *x = CONTAINER_OF(a, struct fair_flow, node),
                           *y = CONTAINER_OF(b, struct fair_flow, node);
    return x->clock != y->clock ? x->clock < y->clock : x->seq < y->seq;
}

struct fair *fair_new(unsigned seats)
{
    struct fair *f = NEW(struct fair);
    f->seats = seats;
    return f;
}

struct fair *fair_free(struct fair *f)
{
    if (!f)
        return NULL;
    for (unsigned i = 0; i < f->n; i++) {
        for (struct map_slot *s = NULL; (s = map_next(&f->v[i].by_key, s));)
            free(s->value);
        heap_fini(&f->v[i].flows);
        heap_fini(&f->v[i].idle);
        map_fini(&f->v[i].by_key);
    }
    free(f->v);
    free(f);
    return NULL;
}

static void share_out(struct fair *f)
{
    uint64_t shares = 0;
    for (unsigned i = 0; i < f->n; i++)
        shares += f->v[i].o.shares;
    for (unsigned i = 0; i < f->n; i++) {
        struct level *l = &f->v[i];
        l->nominal =
            shares ? (unsigned)(((uint64_t)f->seats * l->o.shares + shares - 1) / shares) : 0;
        l->lendable = (unsigned)((uint64_t)l->nominal * l->o.lendable_pct / 100);
    }
}

void fair_level_set(struct fair *f, unsigned i, const struct fair_level_opts *o)
{
    if (i >= f->n) {
        f->v = xrealloc(f->v, (i + 1) * sizeof(*f->v));
        memset(f->v + f->n, 0, (i + 1 - f->n) * sizeof(*f->v));
        for (; f->n <= i; f->n++) {
            heap_init(&f->v[f->n].flows, flow_less);
            heap_init(&f->v[f->n].idle, flow_less);
        }
    }
    f->v[i].o = *o;
    share_out(f);
}

/* ---- seats ---- */

/* What others could lend and do not use, less what is borrowed already. */
static uint64_t borrowable(const struct fair *f, const struct level *mine)
{
    uint64_t idle = 0, borrowed = 0;
    for (unsigned i = 0; i < f->n; i++) {
        const struct level *l = &f->v[i];
        if (l == mine)
            continue;
        if (l->used < l->nominal)
            idle += MIN(l->lendable, l->nominal - l->used);
        else if (!l->o.exempt) /* who never waits does not borrow */
            borrowed += l->used - l->nominal;
    }
    return idle > borrowed ? idle - borrowed : 0;
}

static bool fits(const struct fair *f, const struct level *l, unsigned seats)
{
    uint64_t want = (uint64_t)l->used + seats;
    if (l->o.exempt || want <= l->nominal)
        return true;
    if (!l->running && l->nominal) /* one always: nobody waits for ever, but where nobody may run */
        return true;
    uint64_t more = want - l->nominal;
    if (l->o.borrow_limit_pct >= 0 &&
        more > (uint64_t)l->nominal * (uint64_t)l->o.borrow_limit_pct / 100)
        return false;
    return more <= borrowable(f, l);
}

static void run(struct level *l, struct fair_item *it)
{
    it->state = FAIR_RUNNING;
    l->used += it->seats;
    l->running++;
}

/* ---- queues ---- */

static bool is_full(const struct level *l, const struct fair_flow *flow)
{
    size_t mine = flow ? flow->n : 0;
    if (!l->o.queues || mine >= l->o.flow_max)
        return true;
    size_t hard = l->o.hard_max ? l->o.hard_max : (size_t)l->o.waiting_max * 2;
    return l->waiting >= (mine < FEW_WAITING ? hard : (size_t)l->o.waiting_max);
}

static struct fair_flow *flow_new(struct fair *f, struct level *l, struct str key)
{
    struct fair_flow *flow = xmalloc(sizeof(*flow) + key.n);
    *flow =
        (struct fair_flow){.clock = l->clock, .seq = f->seq++, .key = {(char *)(flow + 1), key.n}};
    if (key.n)
        memcpy(flow + 1, key.p, key.n);
    list_init(&flow->items);
    map_set(&l->by_key, flow->key, flow);
    return flow;
}

/* Flows the level's clock has come to are like new ones; when nobody waits, all are. */
static void forget_idle(struct level *l)
{
    struct heap_node *top;
    while ((top = heap_top(&l->idle))) {
        struct fair_flow *flow = CONTAINER_OF(top, struct fair_flow, node);
        if (l->waiting && flow->clock > l->clock)
            return;
        heap_pop(&l->idle);
        map_remove(&l->by_key, flow->key);
        free(flow);
    }
}

/* Out of its queue. */
static void leave(struct fair *f, struct fair_item *it)
{
    struct level *l = &f->v[it->level];
    struct fair_flow *flow = it->flow;
    ASSERT(it->state == FAIR_WAITING && l->waiting && f->waiting);
    list_remove(&it->link);
    it->flow = NULL;
    it->state = FAIR_NONE;
    l->waiting--;
    f->waiting--;
    if (--flow->n == 0) {
        heap_remove(&l->flows, &flow->node);
        heap_push(&l->idle, &flow->node);
    }
    forget_idle(l);
}

bool fair_try(struct fair *f, unsigned level, unsigned seats, int64_t now, struct fair_item *it)
{
    ASSERT(level < f->n && it->state == FAIR_NONE);
    struct level *l = &f->v[level];
    it->level = level;
    it->seats = l->o.exempt ? seats : CLAMP(seats, 1u, MAX(l->nominal, 1u));
    it->since = now;
    if (l->waiting || !fits(f, l, it->seats))
        return false;
    run(l, it);
    return true;
}

bool fair_wait(struct fair *f, struct str flow, struct fair_item *it)
{
    ASSERT(it->level < f->n && it->state == FAIR_NONE);
    struct level *l = &f->v[it->level];
    struct fair_flow *q = map_get(&l->by_key, flow);
    if (is_full(l, q))
        return false;
    if (!q) {
        q = flow_new(f, l, flow);
        heap_push(&l->flows, &q->node);
    } else if (!q->n) {
        heap_remove(&l->idle, &q->node);
        q->seq = f->seq++;
        heap_push(&l->flows, &q->node);
    }
    list_init(&it->link);
    list_push_back(&q->items, &it->link);
    q->n++;
    it->flow = q;
    it->state = FAIR_WAITING;
    l->waiting++;
    f->waiting++;
    return true;
}

void fair_done(struct fair *f, struct fair_item *it)
{
    if (it->state != FAIR_RUNNING)
        return;
    struct level *l = &f->v[it->level];
    ASSERT(l->running && l->used >= it->seats);
    l->used -= it->seats;
    l->running--;
    it->state = FAIR_NONE;
}

void fair_cancel(struct fair *f, struct fair_item *it)
{
    if (it->state == FAIR_WAITING)
        leave(f, it);
}

struct fair_item *fair_next(struct fair *f)
{
    for (unsigned k = 0; f->waiting && k < f->n; k++) {
        struct level *l = &f->v[(f->turn + k) % f->n];
        struct heap_node *top = heap_top(&l->flows);
        if (!top)
            continue;
        struct fair_flow *flow = CONTAINER_OF(top, struct fair_flow, node);
        struct fair_item *it = LIST_FIRST(&flow->items, struct fair_item, link);
        if (!fits(f, l, it->seats))
            continue;
        l->clock = flow->clock;
        flow->clock += it->seats;
        heap_update(&l->flows, &flow->node);
        leave(f, it);
        run(l, it);
        f->turn = (f->turn + k + 1) % f->n; /* the next level has the next word */
        return it;
    }
    return NULL;
}

struct fair_item *fair_overdue(struct fair *f, int64_t before)
{
    for (unsigned i = 0; f->waiting && i < f->n; i++)
        for (size_t k = 0; k < f->v[i].flows.n; k++) {
            struct fair_flow *flow = CONTAINER_OF(f->v[i].flows.v[k], struct fair_flow, node);
            struct fair_item *it = LIST_FIRST(&flow->items, struct fair_item, link);
            if (it->since >= before)
                continue;
            leave(f, it);
            return it;
        }
    return NULL;
}

size_t fair_waiting(const struct fair *f)
{
    return f->waiting;
}

struct fair_level_state fair_level_state(const struct fair *f, unsigned i)
{
    if (i >= f->n)
        return (struct fair_level_state){0};
    const struct level *l = &f->v[i];
    return (struct fair_level_state){.nominal = l->nominal,
                                     .lendable = l->lendable,
                                     .seats_used = l->used,
                                     .running = l->running,
                                     .waiting = l->waiting,
                                     .flows = l->flows.n};
}

void fair_each_waiting(const struct fair *f, unsigned level, fair_each_fn fn, void *arg)
{
    const struct level *l = level < f->n ? &f->v[level] : NULL;
    for (size_t k = 0; l && k < l->flows.n; k++) {
        struct fair_flow *flow = CONTAINER_OF(l->flows.v[k], struct fair_flow, node);
        struct fair_place p = {.queue = (unsigned)k,
                               .n = (unsigned)flow->n,
                               .flow = flow->key,
                               .ahead = flow->clock > l->clock ? flow->clock - l->clock : 0};
        struct fair_item *it;
        LIST_FOR_EACH (it, &flow->items, link) {
            fn(arg, &p, it);
            p.place++;
        }
    }
}
