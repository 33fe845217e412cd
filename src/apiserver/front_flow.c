/* Priority and fairness at the door of an I/O thread: who asks is known, nothing of the body is
 * read yet. What has no seat waits here and costs little; the core thread and the encoder get no
 * more than they can answer in a moment, so a lease that comes in the middle of a flood of lists is
 * answered in that moment too.
 *
 * Seats are held until the answer is handed to the HTTP library (a watch: until it has started;
 * exec and the like: never). Who really asks counts, not whom he impersonates. */
#include "apiserver/aggregate.h"

#include "base/mem.h"

#define TICK NSEC_PER_SEC

static const double wait_bounds[] = {0.005, 0.02, 0.1, 0.5, 2, 10, 30};

/* Of one schema on one I/O thread; any thread may read them. */
struct flow_counts {
    _Atomic uint64_t dispatched, full, timed_out;
    _Atomic uint64_t waits[ARRAY_LEN(wait_bounds) + 1], wait_us;
    _Atomic int64_t running, waiting, seats;
};

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

static void running(struct exchange *x, struct flow_counts *c)
{
    ADD(c->dispatched, 1);
    ADD(c->running, 1);
    ADD(c->seats, x->seat.seats);
}

enum flow_verdict flow_enter(struct exchange *x)
{
    struct io *io = x->io;
    const struct flow_table *t = io->front->flows;
    struct flow_digest d = digest_of(x);
    x->flow_schema = flow_classify(t, &d);
    const struct flow_schema *s = &t->schemas[x->flow_schema];
    struct flow_counts *c = &io->counts[x->flow_schema];
    bool exempt = t->levels[s->level].opts.exempt;
    if (fair_try(io->fair, s->level, exempt ? 0 : seats_of(x), rt_now(io->rt), &x->seat)) {
        running(x, c);
        return FLOW_RUN;
    }
    struct str who = flow_distinguisher(s, &d);
    if (fair_waiting(io->fair) >= API_WAITING_ALL_MAX ||
        !fair_wait(io->fair, arena_printf(&x->call->arena, "%u %.*s", x->flow_schema, STR_ARG(who)),
                   &x->seat)) {
        ADD(c->full, 1);
        return FLOW_FULL;
    }
    ADD(c->waiting, 1);
    if (fair_waiting(io->fair) == 1)
        rt_timer_start(&io->flow_timer, TICK);
    return FLOW_WAIT;
}

void flow_leave(struct exchange *x)
{
    struct io *io = x->io;
    struct flow_counts *c = &io->counts[x->flow_schema];
    if (x->seat.state == FAIR_WAITING) {
        SUB(c->waiting, 1);
        fair_cancel(io->fair, &x->seat);
    } else if (x->seat.state == FAIR_RUNNING) {
        SUB(c->running, 1);
        SUB(c->seats, x->seat.seats);
        fair_done(io->fair, &x->seat);
        if (fair_waiting(io->fair))
            rt_task_schedule(&io->flow_task);
    }
}

static void count_wait(struct io *io, struct flow_counts *c, const struct exchange *x)
{
    nsec_t took = rt_now(io->rt) - x->seat.since;
    size_t b = 0;
    while (b < ARRAY_LEN(wait_bounds) && (double)took > wait_bounds[b] * 1e9)
        b++;
    ADD(c->waits[b], 1);
    ADD(c->wait_us, (uint64_t)(took / 1000));
}

static void on_seats(void *arg)
{
    struct io *io = arg;
    struct fair_item *it;
    while ((it = fair_next(io->fair))) {
        struct exchange *x = CONTAINER_OF(it, struct exchange, seat);
        struct flow_counts *c = &io->counts[x->flow_schema];
        SUB(c->waiting, 1);
        count_wait(io, c, x);
        running(x, c);
        exchange_begin(x);
    }
}

static void on_tick(void *arg)
{
    struct io *io = arg;
    struct fair_item *it;
    while ((it = fair_overdue(io->fair, rt_now(io->rt) - API_WAIT_MAX_S * NSEC_PER_SEC))) {
        struct exchange *x = CONTAINER_OF(it, struct exchange, seat);
        struct flow_counts *c = &io->counts[x->flow_schema];
        SUB(c->waiting, 1);
        ADD(c->timed_out, 1);
        count_wait(io, c, x);
        exchange_too_many(x);
    }
    on_seats(io);
    if (fair_waiting(io->fair))
        rt_timer_start(&io->flow_timer, TICK);
}

void flow_start(struct io *io)
{
    const struct flow_table *t = io->front->flows;
    unsigned seats = io->front->server->opts.seats ? io->front->server->opts.seats : API_SEATS;
    unsigned share = (seats + io->front->n_ios - 1) / io->front->n_ios;
    io->counts = xcalloc(FLOW_SCHEMAS_MAX, sizeof(*io->counts));
    io->fair = fair_new(share);
    for (unsigned i = 0; i < t->n_levels; i++)
        fair_level_set(io->fair, i, &t->levels[i].opts);
    rt_task_init(&io->flow_task, io->rt, on_seats, io);
    rt_timer_init(&io->flow_timer, io->rt, on_tick, io);
}

void flow_stop(struct io *io)
{
    if (!io->fair)
        return;
    rt_task_cancel(&io->flow_task);
    rt_timer_stop(&io->flow_timer);
    io->fair = fair_free(io->fair);
    free(io->counts);
    io->counts = NULL;
}

/* ---- figures ---- */

enum figure { DISPATCHED, FULL, TIMED_OUT, RUNNING, WAITING, SEATS };

static uint64_t total(struct front *f, unsigned schema, enum figure what)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < f->n_ios; i++) {
        struct flow_counts *c = &f->ios[i].counts[schema];
        n += what == DISPATCHED  ? GET(c->dispatched)
             : what == FULL      ? GET(c->full)
             : what == TIMED_OUT ? GET(c->timed_out)
             : what == RUNNING   ? (uint64_t)GET(c->running)
             : what == WAITING   ? (uint64_t)GET(c->waiting)
                                 : (uint64_t)GET(c->seats);
    }
    return n;
}

static void print_schemas(struct front *f, struct buf *out)
{
    static const struct {
        const char *name, *type, *label;
        enum figure what;
    } rows[] = {
        {"current_executing_requests", "gauge", "", RUNNING},
        {"current_inqueue_requests", "gauge", "", WAITING},
        {"current_executing_seats", "gauge", "", SEATS},
        {"dispatched_requests_total", "counter", "", DISPATCHED},
        {"rejected_requests_total", "counter", ",reason=\"queue-full\"", FULL},
        {"rejected_requests_total", "counter", ",reason=\"time-out\"", TIMED_OUT},
    };
    const struct flow_table *t = f->flows;
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        if (!r || strcmp(rows[r].name, rows[r - 1].name) != 0)
            buf_printf(out, "# TYPE apiserver_flowcontrol_%s %s\n", rows[r].name, rows[r].type);
        for (unsigned i = 0; i < t->n_schemas; i++) {
            const struct flow_schema *s = &t->schemas[i];
            buf_printf(out,
                       "apiserver_flowcontrol_%s{flow_schema=\"%.*s\",priority_level=\"%.*s\"%s} "
                       "%llu\n",
                       rows[r].name, STR_ARG(s->name), STR_ARG(t->levels[s->level].name),
                       rows[r].label, (unsigned long long)total(f, i, rows[r].what));
        }
    }
}

/* Of those that waited. */
static void print_waits(struct front *f, struct buf *out)
{
    static const char name[] = "apiserver_flowcontrol_request_wait_duration_seconds";
    const struct flow_table *t = f->flows;
    buf_printf(out, "# TYPE %s histogram\n", name);
    for (unsigned i = 0; i < t->n_schemas; i++) {
        const struct flow_schema *s = &t->schemas[i];
        CLEANUP(freep)
        char *labels = xasprintf("flow_schema=\"%.*s\",priority_level=\"%.*s\"", STR_ARG(s->name),
                                 STR_ARG(t->levels[s->level].name));
        uint64_t upto = 0, us = 0;
        for (size_t b = 0; b <= ARRAY_LEN(wait_bounds); b++) {
            char le[16] = "+Inf";
            for (unsigned k = 0; k < f->n_ios; k++)
                upto += GET(f->ios[k].counts[i].waits[b]);
            if (b < ARRAY_LEN(wait_bounds))
                snprintf(le, sizeof(le), "%g", wait_bounds[b]);
            buf_printf(out, "%s_bucket{%s,le=\"%s\"} %llu\n", name, labels, le,
                       (unsigned long long)upto);
        }
        for (unsigned k = 0; k < f->n_ios; k++)
            us += GET(f->ios[k].counts[i].wait_us);
        buf_printf(out, "%s_sum{%s} %.6f\n%s_count{%s} %llu\n", name, labels, (double)us / 1e6,
                   name, labels, (unsigned long long)upto);
    }
}

/* On an I/O thread: the seats of a level are the same on all. */
void flow_metrics(struct front *f, struct buf *out)
{
    const struct flow_table *t = f->flows;
    print_schemas(f, out);
    print_waits(f, out);
    buf_add_lit(out, "# TYPE apiserver_flowcontrol_nominal_limit_seats gauge\n");
    for (unsigned i = 0; i < t->n_levels; i++)
        buf_printf(out, "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"%.*s\"} %u\n",
                   STR_ARG(t->levels[i].name),
                   fair_level_state(f->ios[0].fair, i).nominal * f->n_ios);
}
