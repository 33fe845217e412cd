/* What priority and fairness did and does: /metrics, and the three dumps of Kubernetes under
 * /debug/api_priority_and_fairness (their columns; a queue is a flow here). Counters are atomic,
 * waiting calls are looked at under each I/O thread's lock: they do not change while they wait. */
#include "apiserver/front/front_int.h"

#include <stdio.h>

#include "base/mem.h"

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* ---- /metrics ---- */

static void print_schemas(const struct flow_table *t, struct buf *out)
{
    static const struct {
        const char *name, *type, *label;
        size_t at;
    } rows[] = {
#define AT(field) offsetof(struct flow_counts, field)
        {"current_executing_requests", "gauge", "", AT(running)},
        {"current_inqueue_requests", "gauge", "", AT(waiting)},
        {"current_executing_seats", "gauge", "", AT(seats)},
        {"dispatched_requests_total", "counter", "", AT(dispatched)},
        {"rejected_requests_total", "counter", ",reason=\"queue-full\"", AT(full)},
        {"rejected_requests_total", "counter", ",reason=\"time-out\"", AT(timed_out)},
        {"rejected_requests_total", "counter", ",reason=\"cancelled\"", AT(cancelled)},
#undef AT
    };
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        if (!r || strcmp(rows[r].name, rows[r - 1].name) != 0)
            buf_printf(out, "# TYPE apiserver_flowcontrol_%s %s\n", rows[r].name, rows[r].type);
        for (unsigned i = 0; i < t->n_schemas; i++) {
            const struct flow_schema *s = &t->schemas[i];
            const _Atomic uint64_t *v =
                (const _Atomic uint64_t *)(const void *)((const char *)s->counts + rows[r].at);
            buf_printf(out,
                       "apiserver_flowcontrol_%s{flow_schema=\"%.*s\",priority_level=\"%.*s\"%s} "
                       "%llu\n",
                       rows[r].name, STR_ARG(s->name), STR_ARG(t->levels[s->level].name),
                       rows[r].label, (unsigned long long)GET(*v));
        }
    }
}

/* Of those that waited. */
static void print_waits(const struct flow_table *t, struct buf *out)
{
    static const char name[] = "apiserver_flowcontrol_request_wait_duration_seconds";
    buf_printf(out, "# TYPE %s histogram\n", name);
    for (unsigned i = 0; i < t->n_schemas; i++) {
        const struct flow_schema *s = &t->schemas[i];
        CLEANUP(freep)
        char *labels = xasprintf("flow_schema=\"%.*s\",priority_level=\"%.*s\"", STR_ARG(s->name),
                                 STR_ARG(t->levels[s->level].name));
        uint64_t upto = 0;
        for (size_t b = 0; b <= FLOW_WAITS; b++) {
            char le[16] = "+Inf";
            upto += GET(s->counts->waits[b]);
            if (b < FLOW_WAITS)
                snprintf(le, sizeof(le), "%g", flow_wait_bounds[b]);
            buf_printf(out, "%s_bucket{%s,le=\"%s\"} %llu\n", name, labels, le,
                       (unsigned long long)upto);
        }
        buf_printf(out, "%s_sum{%s} %.6f\n%s_count{%s} %llu\n", name, labels,
                   (double)GET(s->counts->wait_us) / 1e6, name, labels, (unsigned long long)upto);
    }
}

/* The seats of a level are the same on all I/O threads. */
static void print_levels(struct io *io, struct buf *out)
{
    static const char *const rows[] = {"nominal_limit_seats", "lower_limit_seats",
                                       "upper_limit_seats"};
    struct io_flows *w = &io->flows;
    unsigned n = io->front->n_ios;
    unsigned all = io->front->server->opts.seats ? io->front->server->opts.seats : API_SEATS;
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        buf_printf(out, "# TYPE apiserver_flowcontrol_%s gauge\n", rows[r]);
        for (unsigned i = 0; i < w->table->n_levels; i++) {
            const struct flow_level *l = &w->table->levels[i];
            struct fair_level_state st = fair_level_state(w->fair, w->slot_of[i]);
            uint64_t upper =
                l->opts.borrow_limit_pct < 0
                    ? all
                    : (uint64_t)st.nominal * n * (100 + (uint64_t)l->opts.borrow_limit_pct) / 100;
            uint64_t v = r == 0   ? (uint64_t)st.nominal * n
                         : r == 1 ? (uint64_t)(st.nominal - st.lendable) * n
                                  : MAX(MIN(upper, all), (uint64_t)st.nominal * n);
            buf_printf(out, "apiserver_flowcontrol_%s{priority_level=\"%.*s\"} %llu\n", rows[r],
                       STR_ARG(l->name), (unsigned long long)v);
        }
    }
}

void flow_metrics(struct io *io, struct buf *out)
{
    print_schemas(io->flows.table, out);
    print_waits(io->flows.table, out);
    print_levels(io, out);
}

/* ---- dumps ---- */

#define PREFIX "/debug/api_priority_and_fairness/"

struct dump {
    struct buf *out;
    const char *level;
    nsec_t now;  /* rt_now and */
    usec_t wall; /* rt_wall of one moment */
    bool details;
    unsigned seats, widest; /* of the flow that is being added up */
};

static bool is_dump(struct str path, const char *which)
{
    struct str prefix = STR(PREFIX);
    return str_starts(path, prefix) && str_eqz(str_sub(path, prefix.n, path.n), which);
}

bool flow_dump_known(struct str path)
{
    return is_dump(path, "dump_priority_levels") || is_dump(path, "dump_queues") ||
           is_dump(path, "dump_requests");
}

struct level_sums {
    size_t flows, waiting, running;
    bool leaving;
};

/* One level of that name, all I/O threads together. */
static struct level_sums sum_level(struct front *f, struct str name)
{
    struct level_sums sum = {0};
    for (unsigned k = 0; k < f->n_ios; k++) {
        struct io_flows *w = &f->ios[k].flows;
        pthread_mutex_lock(&w->lock);
        for (unsigned i = 0; i < w->n_slots; i++) {
            if (!w->slots[i].name || !str_eqz(name, w->slots[i].name))
                continue;
            struct fair_level_state st = fair_level_state(w->fair, i);
            sum.flows += st.flows;
            sum.waiting += st.waiting;
            sum.running += st.running;
            sum.leaving |= w->slots[i].leaving;
        }
        pthread_mutex_unlock(&w->lock);
    }
    return sum;
}

static void print_level(struct exchange *x, struct str name, struct buf *out)
{
    const struct flow_table *t = x->io->flows.table;
    struct level_sums sum = sum_level(x->io->front, name);
    uint64_t dispatched = 0, full = 0, timed_out = 0, cancelled = 0;
    for (unsigned i = 0; i < t->n_schemas; i++) {
        const struct flow_counts *c = t->schemas[i].counts;
        if (!str_eq(t->levels[t->schemas[i].level].name, name))
            continue;
        dispatched += GET(c->dispatched);
        full += GET(c->full);
        timed_out += GET(c->timed_out);
        cancelled += GET(c->cancelled);
    }
    buf_printf(out, "%.*s, %zu, %s, %s, %zu, %zu, %llu, %llu, %llu, %llu\n", STR_ARG(name),
               sum.flows, sum.waiting || sum.running ? "false" : "true",
               sum.leaving ? "true" : "false", sum.waiting, sum.running,
               (unsigned long long)dispatched, (unsigned long long)full,
               (unsigned long long)timed_out, (unsigned long long)cancelled);
}

/* Those of the table; and those that are gone but for their calls, on this thread. */
void flow_dump_levels(struct exchange *x, struct buf *out)
{
    struct io_flows *w = &x->io->flows;
    buf_add_lit(out, "PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, "
                     "ExecutingRequests, DispatchedRequests, RejectedRequests, TimedoutRequests, "
                     "CancelledRequests\n");
    for (unsigned i = 0; i < w->table->n_levels; i++)
        print_level(x, w->table->levels[i].name, out);
    for (unsigned i = 0; i < w->n_slots; i++) /* this thread alone changes them */
        if (w->slots[i].leaving)
            print_level(x, str_z(w->slots[i].name), out);
}

static void print_queue(void *arg, const struct fair_place *p, const struct fair_item *it)
{
    struct dump *d = arg;
    d->seats = p->place ? d->seats + it->seats : it->seats;
    d->widest = p->place ? MAX(d->widest, it->seats) : it->seats;
    if (p->place + 1 == p->n)
        buf_printf(d->out, "%s, %u, %u, 0, 0, %llu, %u, %u, %u\n", d->level, p->queue, p->n,
                   (unsigned long long)p->ahead, d->seats, d->widest, d->seats);
}

static void print_request(void *arg, const struct fair_place *p, const struct fair_item *it)
{
    struct dump *d = arg;
    const struct exchange *x = CONTAINER_OF(it, struct exchange, seat);
    const struct flow_schema *s = &x->flow_table->schemas[x->flow_schema];
    const struct route *r = &x->route;
    struct str who = p->flow;
    struct str schema;
    char since[TIMESTAMP_TEXT_MAX];
    str_cut(&who, ' ', &schema);
    size_t n = timestamp_format(timestamp_of(d->wall - (d->now - it->since) / 1000), true, since);
    buf_printf(d->out, "%s, %.*s, %u, %u, %.*s, %.*s, %u, 0, 0s, ", d->level, STR_ARG(s->name),
               p->queue, p->place, STR_ARG(who), (int)n, since, it->seats);
    if (d->details)
        buf_printf(d->out, ", %.*s, %s, %.*s, %.*s, %.*s, %s, %s, %.*s",
                   STR_ARG(x->call->user.name),
                   r->authz_verb ? r->authz_verb : api_verb_text(r->verb), STR_ARG(x->req->path),
                   STR_ARG(r->ns), STR_ARG(r->name), r->kind ? r->kind->version : "",
                   r->kind ? r->kind->plural : "", STR_ARG(r->subresource));
    buf_add_char(d->out, '\n');
}

static void dump_waiting(struct exchange *x, struct dump *d, fair_each_fn fn)
{
    struct front *f = x->io->front;
    for (unsigned k = 0; k < f->n_ios; k++) {
        struct io_flows *w = &f->ios[k].flows;
        pthread_mutex_lock(&w->lock);
        for (unsigned i = 0; i < w->n_slots; i++) {
            d->level = w->slots[i].name;
            if (d->level)
                fair_each_waiting(w->fair, i, fn, d);
        }
        pthread_mutex_unlock(&w->lock);
    }
}

void flow_dump(struct exchange *x, struct buf *out)
{
    struct dump d = {.out = out, .now = rt_now(x->io->rt), .wall = rt_wall(x->io->rt)};
    if (is_dump(x->req->path, "dump_priority_levels")) {
        flow_dump_levels(x, out);
    } else if (is_dump(x->req->path, "dump_queues")) {
        buf_add_lit(out, "PriorityLevelName, Index, PendingRequests, ExecutingRequests, "
                         "SeatsInUse, NextDispatchR, InitialSeatsSum, MaxSeatsSum, TotalWorkSum\n");
        dump_waiting(x, &d, print_queue);
    } else {
        d.details =
            x->req->query.p && str_search(x->req->query, STR("includeRequestDetails=1")) >= 0;
        buf_add_lit(out, "PriorityLevelName, FlowSchemaName, QueueIndex, RequestIndexInQueue, "
                         "FlowDistingsher, ArriveTime, InitialSeats, FinalSeats, "
                         "AdditionalLatency, StartTime");
        if (d.details)
            buf_add_lit(out, ", UserName, Verb, APIPath, Namespace, Name, APIVersion, Resource, "
                             "SubResource");
        buf_add_char(out, '\n');
        dump_waiting(x, &d, print_request);
    }
}
