/* Priority and fairness at the door of an I/O thread: who asks is known, nothing of the body is
 * read yet. What has no seat waits here and costs little; the core thread and the encoder get no
 * more than they can answer in a moment, so a lease that comes in the middle of a flood of lists is
 * answered in that moment too.
 *
 * Seats are held until the answer is handed to the HTTP library (a watch: until it has started;
 * exec and the like: never). Who really asks counts, not whom he impersonates. */
#include "apiserver/aggregate/aggregate.h"

#include "base/mem.h"
#include "base/trace.h"

#define TICK NSEC_PER_SEC

const double flow_wait_bounds[FLOW_WAITS] = {0.005, 0.02, 0.1, 0.5, 2, 10, 30};

#define ADD(field, n) atomic_fetch_add_explicit(&(field), (n), memory_order_relaxed)
#define SUB(field, n) atomic_fetch_sub_explicit(&(field), (n), memory_order_relaxed)
#define GET(field)    atomic_load_explicit(&(field), memory_order_relaxed)

/* ---- how much is it? ---- */

static size_t kind_slot(const struct schema_kind *k)
{
    return (size_t)k->storage < _KIND_MAX ? (size_t)k->storage : _KIND_MAX;
}

void flow_count(struct front *f, struct api_call *c)
{
    if (c->kind && (c->verb == API_LIST || c->verb == API_WATCH))
        atomic_store_explicit(&f->kind_counts[kind_slot(c->kind)],
                              (uint32_t)store_count(c->server->store, storage_kind(c->kind)),
                              memory_order_relaxed);
}

void flow_count_all(struct front *f)
{
    for (unsigned k = 0; k < _KIND_MAX; k++)
        if (schema_kinds[k]->storage == k)
            f->kind_counts[k] = (uint32_t)store_count(f->server->store, schema_kinds[k]);
}

/* Lists are what costs; everything else is one seat. */
static unsigned seats_of(const struct exchange *x)
{
    const struct route *r = &x->route;
    const struct api_options *o = &x->call->opts;
    bool all = r->verb == API_LIST || r->verb == API_DELETE_COLLECTION ||
               (r->verb == API_WATCH && (!o->resource_version.n || o->send_initial_events));
    if (!all)
        return 1;
    uint32_t n = GET(x->io->front->kind_counts[kind_slot(r->kind)]);
    if (o->limit > 0 && o->limit < n)
        n = (uint32_t)o->limit;
    unsigned seats = 1 + n / API_LIST_OBJECTS_PER_SEAT;
    bool scoped = r->ns.n || r->name.n || o->field_selector.n;
    return scoped ? MIN(seats, API_SCOPED_LIST_SEATS_MAX) : seats;
}

static struct flow_digest digest_of(const struct exchange *x)
{
    const struct route *r = &x->route;
    struct flow_digest d = {.user = &x->call->user,
                            .verb = str_z(r->authz_verb ? r->authz_verb : api_verb_text(r->verb))};
    if (r->verb == API_PATH || (x->call->proxy && !x->call->proxy->resource.n)) {
        d.path = x->req->path;
    } else if (x->call->proxy) {
        d.group = x->call->proxy->group;
        d.resource = x->call->proxy->resource;
        d.subresource = r->subresource;
        d.ns = r->ns;
    } else {
        d.group = str_z(r->kind->group);
        d.resource = str_z(r->kind->plural);
        d.subresource = r->subresource;
        d.ns = r->ns;
    }
    return d;
}

/* ---- in and out ---- */

static struct flow_counts *counts_of(const struct exchange *x)
{
    return x->flow_table->schemas[x->flow_schema].counts;
}

static void running(struct exchange *x, struct flow_counts *c)
{
    ADD(c->dispatched, 1);
    ADD(c->running, 1);
    ADD(c->seats, x->seat.seats);
}

enum flow_verdict flow_enter(struct exchange *x)
{
    struct io_flows *w = &x->io->flows;
    struct flow_table *t = flow_table_ref(w->table);
    struct flow_digest d = digest_of(x);
    x->flow_table = t;
    x->flow_schema = flow_classify(t, &d);
    const struct flow_schema *s = &t->schemas[x->flow_schema];
    struct str who = flow_distinguisher(s, &d);
    unsigned seats = seats_of(x);
    enum flow_verdict v = FLOW_RUN;
    pthread_mutex_lock(&w->lock);
    if (!fair_try(w->fair, w->slot_of[s->level], seats, rt_now(x->io->rt), &x->seat))
        v = fair_waiting(w->fair) < API_WAITING_ALL_MAX &&
                    fair_wait(
                        w->fair,
                        arena_printf(&x->call->arena, "%.*s %.*s", STR_ARG(s->name), STR_ARG(who)),
                        &x->seat)
                ? FLOW_WAIT
                : FLOW_FULL;
    bool first = fair_waiting(w->fair) == 1;
    pthread_mutex_unlock(&w->lock);
    trace("request %.*s %.*s %.*s from %.*s: schema %.*s, level %.*s, flow \"%.*s\", %u seats: %s",
          STR_ARG(x->call->id), STR_ARG(x->req->method_name), STR_ARG(x->req->path),
          STR_ARG(x->req->peer_addr), STR_ARG(s->name), STR_ARG(t->levels[s->level].name),
          STR_ARG(who), x->seat.seats,
          v == FLOW_RUN    ? "runs"
          : v == FLOW_WAIT ? "waits"
                           : "is refused");
    if (v == FLOW_RUN)
        running(x, s->counts);
    else if (v == FLOW_FULL)
        ADD(s->counts->full, 1);
    else
        ADD(s->counts->waiting, 1);
    if (v == FLOW_WAIT && first)
        rt_timer_start(&w->timer, TICK);
    return v;
}

static void count_wait(struct io *io, struct flow_counts *c, const struct exchange *x)
{
    nsec_t took = rt_now(io->rt) - x->seat.since;
    size_t b = 0;
    while (b < FLOW_WAITS && (double)took > flow_wait_bounds[b] * 1e9)
        b++;
    ADD(c->waits[b], 1);
    ADD(c->wait_us, (uint64_t)(took / 1000));
}

/* A level that is gone keeps its seats until the last of its calls is out. Locked. */
static void close_slot(struct io_flows *w, unsigned i)
{
    struct flow_slot *s = &w->slots[i];
    struct fair_level_state st = fair_level_state(w->fair, i);
    if (!s->leaving || st.running || st.waiting)
        return;
    free(s->name);
    *s = (struct flow_slot){0};
    fair_level_set(w->fair, i, &(struct fair_level_opts){0});
}

void flow_leave(struct exchange *x)
{
    struct io_flows *w = &x->io->flows;
    enum fair_state was = x->seat.state;
    if (was == FAIR_NONE)
        return;
    struct flow_counts *c = counts_of(x);
    pthread_mutex_lock(&w->lock);
    if (was == FAIR_WAITING)
        fair_cancel(w->fair, &x->seat);
    else
        fair_done(w->fair, &x->seat);
    close_slot(w, x->seat.level);
    bool more = fair_waiting(w->fair) > 0;
    pthread_mutex_unlock(&w->lock);
    if (was == FAIR_WAITING) {
        SUB(c->waiting, 1);
        ADD(c->cancelled, 1);
    } else {
        SUB(c->running, 1);
        SUB(c->seats, x->seat.seats);
    }
    if (more)
        rt_task_schedule(&w->task);
}

static void on_seats(void *arg)
{
    struct io *io = arg;
    struct io_flows *w = &io->flows;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        struct fair_item *it = fair_next(w->fair);
        pthread_mutex_unlock(&w->lock);
        if (!it)
            return;
        struct exchange *x = CONTAINER_OF(it, struct exchange, seat);
        struct flow_counts *c = counts_of(x);
        SUB(c->waiting, 1);
        count_wait(io, c, x);
        running(x, c);
        exchange_begin(x);
    }
}

static void on_tick(void *arg)
{
    struct io *io = arg;
    struct io_flows *w = &io->flows;
    nsec_t before = rt_now(io->rt) - API_WAIT_MAX_S * NSEC_PER_SEC;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        struct fair_item *it = fair_overdue(w->fair, before);
        if (it)
            close_slot(w, it->level);
        pthread_mutex_unlock(&w->lock);
        if (!it)
            break;
        struct exchange *x = CONTAINER_OF(it, struct exchange, seat);
        struct flow_counts *c = counts_of(x);
        SUB(c->waiting, 1);
        ADD(c->timed_out, 1);
        count_wait(io, c, x);
        exchange_too_many(x);
    }
    on_seats(io);
    if (fair_waiting(w->fair))
        rt_timer_start(&w->timer, TICK);
}

size_t flow_headers(const struct exchange *x, struct http_header h[static 2])
{
    if (!x->flow_table)
        return 0;
    const struct flow_schema *s = &x->flow_table->schemas[x->flow_schema];
    const struct flow_level *l = &x->flow_table->levels[s->level];
    if (!s->uid.n || !l->uid.n) /* not written yet */
        return 0;
    h[0] = (struct http_header){STR("x-kubernetes-pf-flowschema-uid"), s->uid};
    h[1] = (struct http_header){STR("x-kubernetes-pf-prioritylevel-uid"), l->uid};
    return 2;
}

/* ---- tables come and go ---- */

/* The slot of the level's name (one that was leaving stays), or a free one. Locked. */
static unsigned slot_get(struct io_flows *w, struct str name)
{
    unsigned at = w->n_slots;
    for (unsigned i = 0; i < w->n_slots; i++) {
        if (w->slots[i].name && str_eqz(name, w->slots[i].name))
            return i;
        if (!w->slots[i].name && at == w->n_slots)
            at = i;
    }
    if (at == w->n_slots) {
        w->slots = xrealloc(w->slots, (at + 1) * sizeof(*w->slots));
        w->n_slots++;
    }
    w->slots[at] = (struct flow_slot){.name = str_dup(name)};
    return at;
}

/* Takes the reference. */
static void use_table(struct io *io, struct flow_table *t)
{
    struct io_flows *w = &io->flows;
    unsigned *slot_of = xcalloc(t->n_levels, sizeof(*slot_of));
    pthread_mutex_lock(&w->lock);
    for (unsigned i = 0; i < w->n_slots; i++)
        w->slots[i].leaving = w->slots[i].name != NULL;
    for (unsigned i = 0; i < t->n_levels; i++) {
        slot_of[i] = slot_get(w, t->levels[i].name);
        w->slots[slot_of[i]].leaving = false;
        fair_level_set(w->fair, slot_of[i], &t->levels[i].opts);
    }
    for (unsigned i = 0; i < w->n_slots; i++)
        close_slot(w, i);
    free(w->slot_of);
    w->slot_of = slot_of;
    flow_table_unref(w->table);
    w->table = t;
    bool more = fair_waiting(w->fair) > 0;
    pthread_mutex_unlock(&w->lock);
    if (more)
        rt_task_schedule(&w->task);
}

static void on_table(void *arg)
{
    struct io *io = arg;
    struct flow_table *t = atomic_exchange(&io->flows.next, NULL);
    if (t)
        use_table(io, t);
}

void front_set_flows(struct front *f, struct flow_table *t)
{
    flow_table_ref(t);
    flow_table_unref(f->flows);
    f->flows = t;
    for (unsigned i = 0; i < f->n_ios && !f->stopping; i++) {
        struct io *io = &f->ios[i];
        struct flow_table *missed = atomic_exchange(&io->flows.next, flow_table_ref(t));
        if (!missed) /* else a message is on its way */
            rt_post(io->rt, &io->flows.post, on_table, io);
        flow_table_unref(missed);
    }
}

void flow_start(struct io *io)
{
    struct io_flows *w = &io->flows;
    unsigned seats = io->front->server->opts.seats ? io->front->server->opts.seats : API_SEATS;
    pthread_mutex_init(&w->lock, NULL);
    w->fair = fair_new((seats + io->front->n_ios - 1) / io->front->n_ios);
    rt_task_init(&w->task, io->rt, on_seats, io);
    rt_timer_init(&w->timer, io->rt, on_tick, io);
    use_table(io, flow_table_ref(io->front->flows));
}

void flow_stop(struct io *io)
{
    struct io_flows *w = &io->flows;
    if (!w->fair)
        return;
    rt_task_cancel(&w->task);
    rt_timer_stop(&w->timer);
    w->fair = fair_free(w->fair);
    for (unsigned i = 0; i < w->n_slots; i++)
        free(w->slots[i].name);
    free(w->slots);
    free(w->slot_of);
    flow_table_unref(w->table);
    flow_table_unref(atomic_exchange(&w->next, NULL));
    pthread_mutex_destroy(&w->lock);
}
