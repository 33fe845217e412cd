/* Probes of one running container: each has its own period; the startup probe holds back the other
 * two until it has succeeded. A result counts when it has come as many times in a row as its
 * threshold says. Liveness and startup failures stop the container (its restart policy decides on
 * the rest), readiness failures take it out of Ready. */
#include "node/agent.h"

#include "base/mem.h"

#define PERIOD_DEFAULT_S 10
/* A container needs a moment before it answers. Until a startup or readiness probe has succeeded
 * once, it is tried again soon, with growing pauses, inside of its first period; those tries are
 * not counted as failures. So a pod is Ready when it is, not a period later. */
#define QUICK_FIRST (20 * NSEC_PER_MSEC)

struct probe {
    struct ctr *ctr;
    int kind;
    const char *name;
    struct rt_timer timer;
    struct action *action;
    int ok_in_row, failed_in_row;
    nsec_t quick;       /* pause before the next quick try */
    nsec_t first_until; /* end of the first period */
};

static const struct api_probe *spec_of(const struct ctr *c, int kind)
{
    const struct api_container *s = ctr_spec(c);
    const struct api_probe *rows[_PROBE_MAX] = {[PROBE_STARTUP] = s->startup_probe,
                                                [PROBE_LIVENESS] = s->liveness_probe,
                                                [PROBE_READINESS] = s->readiness_probe};
    return rows[kind];
}

static void run(void *arg);

static void set_ready(struct ctr *c, bool ready)
{
    if (c->ready == ready && c->rec.ready == ready)
        return;
    c->ready = c->rec.ready = ready;
    ctr_save(c); /* the next agent must not take it out of its services for a moment */
    pod_status_dirty(c->pod);
    pod_kick(c->pod);
}

static void start_one(struct ctr *c, int kind)
{
    static const char *const names[_PROBE_MAX] = {"Startup", "Liveness", "Readiness"};
    const struct api_probe *s = spec_of(c, kind);
    if (!s || c->probes[kind])
        return;
    struct probe *p = NEW(struct probe);
    p->ctr = c;
    p->kind = kind;
    p->name = names[kind];
    rt_timer_init(&p->timer, c->pod->node->rt, run, p);
    c->probes[kind] = p;
    nsec_t now = rt_now(c->pod->node->rt),
           due = c->running_since + MAX(s->initial_delay_seconds, 0) * NSEC_PER_SEC;
    /* A liveness probe at the very start says nothing but that programs take time to start. */
    if (kind == PROBE_LIVENESS && s->initial_delay_seconds <= 0)
        due += (s->period_seconds > 0 ? s->period_seconds : PERIOD_DEFAULT_S) * NSEC_PER_SEC;
    due = MAX(due, now);
    p->quick = kind == PROBE_LIVENESS ? 0 : QUICK_FIRST;
    p->first_until =
        due + (s->period_seconds > 0 ? s->period_seconds : PERIOD_DEFAULT_S) * NSEC_PER_SEC;
    rt_timer_start_at(&p->timer, due);
}

static void stop_one(struct ctr *c, int kind)
{
    struct probe *p = c->probes[kind];
    if (!p)
        return;
    c->probes[kind] = NULL;
    rt_timer_stop(&p->timer);
    action_cancel(p->action);
    free(p);
}

/* Started: by its startup probe, or without one. */
static void now_started(struct ctr *c)
{
    c->started = true;
    if (!c->rec.was_started) {
        c->rec.was_started = true;
        ctr_save(c);
    }
    start_one(c, PROBE_LIVENESS);
    start_one(c, PROBE_READINESS);
    if (!spec_of(c, PROBE_READINESS))
        set_ready(c, true);
    pod_status_dirty(c->pod);
    pod_kick(c->pod);
}

void probes_start(struct ctr *c)
{
    if (spec_of(c, PROBE_STARTUP) && !c->rec.was_started)
        start_one(c, PROBE_STARTUP);
    else
        now_started(c);
}

void probes_stop(struct ctr *c)
{
    for (int i = 0; i < _PROBE_MAX; i++)
        stop_one(c, i);
}

static void fails(struct probe *p)
{
    struct ctr *c = p->ctr;
    const struct api_probe *s = spec_of(c, p->kind);
    if (p->kind == PROBE_READINESS) {
        set_ready(c, false);
        return;
    }
    char text[256];
    snprintf(text, sizeof(text), "Container %s failed %s probe, will be restarted", c->name,
             p->kind == PROBE_LIVENESS ? "liveness" : "startup");
    int64_t grace = s->has_termination_grace_period_seconds ? s->termination_grace_period_seconds
                                                            : pod_grace_s(c->pod);
    ctr_stop(c, grace, NULL, text, true); /* frees p */
}

static void on_result(void *arg, enum action_result r, struct str output)
{
    struct probe *p = arg;
    struct ctr *c = p->ctr;
    const struct api_probe *s = spec_of(c, p->kind);
    int need_ok = MAX(s->success_threshold, 1),
        need_failed = s->failure_threshold > 0 ? s->failure_threshold : 3;
    p->action = NULL;
    int32_t period = s->period_seconds > 0 ? s->period_seconds : PERIOD_DEFAULT_S;
    rt_timer_start(&p->timer, period * NSEC_PER_SEC);
    nsec_t now = rt_now(c->pod->node->rt);
    if (r == ACTION_FAILED && p->quick && now + p->quick < p->first_until) {
        rt_timer_start(&p->timer, p->quick);
        p->quick *= 2;
        return;
    }
    p->quick = 0;
    if (r == ACTION_ERROR && p->kind != PROBE_READINESS) {
        /* It could not be tried: says nothing about the container. */
        event_ctr(c, EVENT_WARNING, "Unhealthy", "%s probe errored: %.*s", p->name,
                  (int)MIN(output.n, (size_t)512), output.p);
        return;
    }
    if (r == ACTION_WARN)
        event_ctr(c, EVENT_WARNING, "ProbeWarning", "%s probe warning: %.*s", p->name,
                  (int)MIN(output.n, (size_t)512), output.p);
    if (r == ACTION_OK || r == ACTION_WARN) {
        p->failed_in_row = 0;
        if (++p->ok_in_row < need_ok)
            return;
        p->ok_in_row = need_ok;
        if (p->kind == PROBE_STARTUP) {
            stop_one(c, PROBE_STARTUP); /* frees p */
            now_started(c);
        } else if (p->kind == PROBE_READINESS) {
            set_ready(c, true);
        }
        return;
    }
    event_ctr(c, EVENT_WARNING, "Unhealthy", "%s probe failed: %.*s", p->name,
              (int)MIN(output.n, (size_t)512), output.p);
    p->ok_in_row = 0;
    if (++p->failed_in_row < need_failed)
        return;
    p->failed_in_row = 0;
    fails(p);
}

static void run(void *arg)
{
    struct probe *p = arg;
    const struct api_probe *s = spec_of(p->ctr, p->kind);
    struct action_opts o = {
        .exec = s->handler.exec,
        .http_get = s->handler.http_get,
        .tcp_socket = s->handler.tcp_socket,
        .grpc = s->handler.grpc,
        .timeout = MAX(s->timeout_seconds, 1) * NSEC_PER_SEC,
        .is_probe = true,
    };
    p->action = action_start(p->ctr, &o, on_result, p);
}
