/* The STATUS column of a pod is no field: it is the most telling of phase, reasons, init containers
 * and deletion. */
#include "schema/table_int.h"

#include "base/map.h"

#include <stdio.h>

#define LOOK_AT_MAX                                                                                \
    256u /* init containers tried for a status out of order: no real pod has more                  \
          */

struct pod_summary {
    char status[128];
    uint32_t total, ready;
    int64_t restarts;
    struct timestamp last_restart;
};

/* Whether the init container of the i-th status is one that stays. Statuses come in the order of
 * the containers; when one does not, by_name is filled. */
static bool is_sidecar(const struct api_pod *p, uint32_t i, struct map *by_name)
{
    struct str name = p->status.init_container_statuses[i].name;
    struct api_container *v = p->spec.init_containers, *c = NULL;

    if (i < p->spec.n_init_containers && str_eq(v[i].name, name)) {
        c = &v[i];
    } else {
        for (uint32_t k = by_name->n ? 0 : p->spec.n_init_containers; k-- > 0;)
            (void)map_set(by_name, v[k].name, &v[k]);
        c = map_get(by_name, name);
    }
    return c && str_is(c->restart_policy, "Always");
}

static bool condition_true(const struct api_pod_status *st, const char *type)
{
    for (uint32_t i = 0; i < st->n_conditions; i++)
        if (str_eqz(st->conditions[i].type, type))
            return str_is(st->conditions[i].status, "True");
    return false;
}

static void set_status(struct pod_summary *s, const char *prefix, struct str reason)
{
    snprintf(s->status, sizeof(s->status), "%s%.*s", prefix, STR_ARG(reason));
}

static void set_ended(struct pod_summary *s, const char *prefix,
                      const struct api_container_state_terminated *t)
{
    if (t->reason.n)
        set_status(s, prefix, t->reason);
    else if (t->signal)
        snprintf(s->status, sizeof(s->status), "%sSignal:%d", prefix, t->signal);
    else
        snprintf(s->status, sizeof(s->status), "%sExitCode:%d", prefix, t->exit_code);
}

static void note_restarts(struct pod_summary *s, const struct api_container_status *c)
{
    const struct api_container_state_terminated *t = c->last_state.terminated;

    s->restarts += c->restart_count;
    if (t && t->finished_at.set && t->finished_at.usec > s->last_restart.usec)
        s->last_restart = t->finished_at;
}

static bool init_status(const struct api_pod *p, uint32_t i, struct pod_summary *s,
                        int64_t *sidecar_restarts, struct map *by_name)
{
    const struct api_container_status *c = &p->status.init_container_statuses[i];
    bool sidecar = is_sidecar(p, i, by_name);

    note_restarts(s, c);
    if (sidecar)
        *sidecar_restarts += c->restart_count;
    if (c->state.terminated && c->state.terminated->exit_code == 0)
        return false;
    if (sidecar && c->has_started && c->started) {
        s->ready += c->ready;
        return false;
    }
    if (c->state.terminated)
        set_ended(s, "Init:", c->state.terminated);
    else if (c->state.waiting && c->state.waiting->reason.n &&
             !str_is(c->state.waiting->reason, "PodInitializing"))
        set_status(s, "Init:", c->state.waiting->reason);
    else
        snprintf(s->status, sizeof(s->status), "Init:%u/%u", i, p->spec.n_init_containers);
    return true;
}

/* True: the pod is still initialising, and status says how far. */
static bool summarize_init(const struct api_pod *p, struct pod_summary *s,
                           int64_t *sidecar_restarts)
{
    struct map by_name = {0};
    bool initialising = false;

    for (uint32_t i = 0; i < p->status.n_init_container_statuses && !initialising; i++)
        initialising = init_status(p, i, s, sidecar_restarts, &by_name);
    map_fini(&by_name);
    return initialising;
}

static void summarize_main(const struct api_pod *p, struct pod_summary *s)
{
    bool running = false;

    for (uint32_t i = p->status.n_container_statuses; i-- > 0;) {
        const struct api_container_status *c = &p->status.container_statuses[i];

        note_restarts(s, c);
        if (c->state.waiting && c->state.waiting->reason.n) {
            set_status(s, "", c->state.waiting->reason);
        } else if (c->state.terminated) {
            set_ended(s, "", c->state.terminated);
        } else if (c->ready && c->state.running) {
            running = true;
            s->ready++;
        }
    }
    if (running && strcmp(s->status, "Completed") == 0)
        set_status(s, "", condition_true(&p->status, "Ready") ? STR("Running") : STR("NotReady"));
}

static void pod_summarize(const struct api_pod *p, struct pod_summary *s)
{
    int64_t sidecar_restarts = 0;
    bool ended = str_is(p->status.phase, "Succeeded") || str_is(p->status.phase, "Failed");

    *s = (struct pod_summary){.total = p->spec.n_containers};
    for (uint32_t i = 0; i < p->spec.n_init_containers; i++)
        s->total += str_is(p->spec.init_containers[i].restart_policy, "Always");
    set_status(s, "", p->status.reason.n ? p->status.reason : p->status.phase);
    for (uint32_t i = 0; i < p->status.n_conditions; i++)
        if (str_is(p->status.conditions[i].type, "PodScheduled") &&
            str_is(p->status.conditions[i].reason, "SchedulingGated"))
            set_status(s, "", STR("SchedulingGated"));
    if (!summarize_init(p, s, &sidecar_restarts) || condition_true(&p->status, "Initialized")) {
        s->restarts = sidecar_restarts;
        summarize_main(p, s);
    }
    if (p->metadata.deletion_timestamp.set && str_is(p->status.reason, "NodeLost"))
        set_status(s, "", STR("Unknown"));
    else if (p->metadata.deletion_timestamp.set && !ended)
        set_status(s, "", STR("Terminating"));
}

TABLE_HOOK(pod_ready)
{
    struct pod_summary s;

    pod_summarize(msg, &s);
    buf_printf(text, "%u/%u", s.ready, s.total);
}

TABLE_HOOK(pod_status)
{
    struct pod_summary s;

    pod_summarize(msg, &s);
    buf_add_str(text, str_z(s.status));
}

TABLE_HOOK(pod_restarts)
{
    struct pod_summary s;

    pod_summarize(msg, &s);
    buf_add_i64(text, s.restarts);
    if (s.restarts && s.last_restart.set) {
        buf_add_lit(text, " (");
        table_age_print(s.last_restart, now, text);
        buf_add_lit(text, " ago)");
    }
}

TABLE_HOOK(pod_ip)
{
    const struct api_pod *p = msg;

    buf_add_str(text, p->status.n_pod_ips ? p->status.pod_ips[0].ip : p->status.pod_ip);
    table_or_none(text);
}

TABLE_HOOK(pod_node)
{
    buf_add_str(text, ((const struct api_pod *)msg)->spec.node_name);
    table_or_none(text);
}

TABLE_HOOK(pod_nominated_node)
{
    buf_add_str(text, ((const struct api_pod *)msg)->status.nominated_node_name);
    table_or_none(text);
}

TABLE_HOOK(pod_readiness_gates)
{
    const struct api_pod *p = msg;
    struct map first = {0}; /* type -> the first condition of that type */
    uint32_t n = 0;

    for (uint32_t i = p->spec.n_readiness_gates ? p->status.n_conditions : 0; i-- > 0;)
        (void)map_set(&first, p->status.conditions[i].type, &p->status.conditions[i]);
    for (uint32_t i = 0; i < p->spec.n_readiness_gates; i++) {
        const struct api_pod_condition *c =
            map_get(&first, p->spec.readiness_gates[i].condition_type);
        n += c && str_is(c->status, "True");
    }
    map_fini(&first);
    if (p->spec.n_readiness_gates)
        buf_printf(text, "%u/%u", n, p->spec.n_readiness_gates);
    table_or_none(text);
}
