/* pods/eviction: a delete that asks the PodDisruptionBudget first.
 *
 * All of it happens in one turn of the core loop on the pending state: what one eviction takes from
 * status.disruptionsAllowed the next one finds taken, durable or not, so racing evictions cannot
 * overshoot and no retry on conflicts is needed. The budget is written before the pod; should only
 * the first write survive, the entry in disruptedPods expires and the pod counts again.
 * Kubernetes: pkg/registry/core/pod/storage/eviction.go. */
#include "apiserver/hooks/hooks.h"
#include "apiserver/subresource.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/disruption.h"
#include "schema/select.h"

#define RETRY_AFTER_S 10 /* while the controller has not seen the budget's newest spec */

/* With a cause, which error_cause alone would turn into "invalid". */
static int refuse(struct api_call *c, int retry_after_s, const char *fmt, ...) PRINTF(3, 4);
static int refuse(struct api_call *c, int retry_after_s, const char *fmt, ...)
{
    char why[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    struct error *err = &c->reply.err;
    int r = call_error(c, REASON_TOO_MANY_REQUESTS,
                       "Cannot evict pod as it would violate the pod's disruption budget.");
    struct str text = err->message;
    (void)error_cause(err, "DisruptionBudget", STR_NONE, "%s", why);
    err->reason = REASON_TOO_MANY_REQUESTS;
    err->message = text;
    err->retry_after_s = retry_after_s;
    return r;
}

static bool is_ready(const struct api_pod *p)
{
    for (uint32_t i = 0; i < p->status.n_conditions; i++)
        if (str_is(p->status.conditions[i].type, "Ready"))
            return str_is(p->status.conditions[i].status, "True");
    return false;
}

/* Nothing to protect: it is over, has not begun, or goes already. */
static bool needs_no_budget(const struct api_pod *p)
{
    return p->metadata.deletion_timestamp.set || str_is(p->status.phase, "Succeeded") ||
           str_is(p->status.phase, "Failed") || str_is(p->status.phase, "Pending");
}

/* Number of budgets that select the pod; *ret is the newest state of one of them. */
static int find_budgets(struct api_call *c, const struct api_pod *p, struct object **ret)
{
    const struct schema_kind *k = KIND(POD_DISRUPTION_BUDGET);
    struct store_iter it;
    int n = 0;
    int r = store_iter_init(&it, c->server->store, k, c->ns, 0, STR_NONE, STR_NONE);
    if (r < 0)
        return r;
    for (struct object *o; (o = store_iter_next(&it));) {
        struct object *now = store_peek(c->server->store, k, object_ns(o), object_name(o));
        struct label_selector sel;
        if (!now ||
            label_selector_compile(&c->arena,
                                   OBJECT_MSG(now, api_pod_disruption_budget)->spec.selector, &sel,
                                   NULL) < 0 ||
            !label_selector_match(&sel, p->metadata.labels, p->metadata.n_labels))
            continue;
        n++;
        *ret = now;
    }
    store_iter_fini(&it);
    return n;
}

static int check_budget(struct api_call *c, const struct api_pod_disruption_budget *b)
{
    const struct api_pod_disruption_budget_status *st = &b->status;
    struct str name = b->metadata.name;
    if (st->observed_generation < b->metadata.generation)
        return refuse(c, RETRY_AFTER_S,
                      "The disruption budget %.*s is still being processed by the server.",
                      STR_ARG(name));
    c->reply.details_kind = STR("poddisruptionbudget");
    if (st->disruptions_allowed < 0)
        return call_forbidden(c, name, "pdb disruptions allowed is negative");
    if (st->n_disrupted_pods > PDB_DISRUPTED_PODS_MAX)
        return call_forbidden(
            c, name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    c->reply.details_kind = STR_NONE;
    if (st->disruptions_allowed > 0)
        return 0;
    const struct api_condition *cond = pdb_condition(b);
    if (cond && str_is(cond->status, "False") && str_is(cond->reason, PDB_REASON_SYNC_FAILED))
        return refuse(
            c, 0,
            "The disruption budget %.*s does not allow evicting pods currently because it "
            "failed sync: %.*s",
            STR_ARG(name), STR_ARG(cond->message));
    return refuse(c, 0, "The disruption budget %.*s needs %d healthy pods and has %d currently",
                  STR_ARG(name), st->desired_healthy, st->current_healthy);
}

/* The budget with one disruption less and the pod's name noted. */
static int take_one(struct api_call *c, struct object *old)
{
    struct api_pod_disruption_budget *b = schema_clone(old->kind->desc, old->msg, &c->arena);
    struct api_pod_disruption_budget_status *st = &b->status;
    usec_t now = rt_wall(c->server->rt);
    struct kv_timestamp *v = ARENA_NEW_N(&c->arena, struct kv_timestamp, st->n_disrupted_pods + 1);
    uint32_t n = 0, i = 0;
    while (i < st->n_disrupted_pods && str_cmp(st->disrupted_pods[i].key, c->name) < 0)
        v[n++] = st->disrupted_pods[i++];
    v[n++] = (struct kv_timestamp){c->name, timestamp_seconds(now)};
    if (i < st->n_disrupted_pods && str_eq(st->disrupted_pods[i].key, c->name))
        i++;
    while (i < st->n_disrupted_pods)
        v[n++] = st->disrupted_pods[i++];
    st->disrupted_pods = v;
    st->n_disrupted_pods = n;
    if (--st->disruptions_allowed == 0)
        pdb_set_condition(&c->arena, b, NULL, STR_NONE, now);
    b->metadata.resource_version = STR_NONE;
    if (c->opts.dry_run)
        return 0;
    return store_put(c->server->store, old->kind, b, old->rev, NULL, NULL, &c->reply.err);
}

static int ask_budget(struct api_call *c, const struct api_pod *p)
{
    struct object *o = NULL;
    int n = needs_no_budget(p) ? 0 : find_budgets(c, p, &o);
    if (n <= 0)
        return n;
    if (n > 1)
        return call_error(c, REASON_INTERNAL,
                          "This pod has more than one PodDisruptionBudget, which the eviction "
                          "subresource does not support.");
    const struct api_pod_disruption_budget *b = OBJECT_MSG(o, api_pod_disruption_budget);
    /* A pod that is not ready is no part of what the budget counts. */
    if (!is_ready(p) &&
        (str_is(b->spec.unhealthy_pod_eviction_policy, "AlwaysAllow") ||
         (b->status.current_healthy >= b->status.desired_healthy && b->status.desired_healthy > 0)))
        return 0;
    int r = check_budget(c, b);
    return r < 0 ? r : take_one(c, o);
}

/* Says on the pod why it goes; then it is the newest state of it that is deleted. */
static int mark_disrupted(struct api_call *c, struct object *old)
{
    struct api_pod *p = schema_clone(&api_pod_desc, old->msg, &c->arena);
    struct api_pod_status *st = &p->status;
    struct api_pod_condition *v =
        ARENA_NEW_N(&c->arena, struct api_pod_condition, st->n_conditions + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < st->n_conditions; i++)
        if (!str_is(st->conditions[i].type, "DisruptionTarget"))
            v[n++] = st->conditions[i];
    v[n++] = (struct api_pod_condition){
        .type = STR("DisruptionTarget"),
        .status = STR("True"),
        .reason = STR("EvictionByEvictionAPI"),
        .message = STR("Eviction API: evicting"),
        .observed_generation = p->metadata.generation,
        .last_transition_time = timestamp_seconds(rt_wall(c->server->rt)),
    };
    st->conditions = v;
    st->n_conditions = n;
    p->metadata.resource_version = STR_NONE;
    return store_put(c->server->store, old->kind, p, old->rev, NULL, NULL, &c->reply.err);
}

static void take_options(struct api_call *c, const struct api_delete_options *d)
{
    c->del.has_grace = d->has_grace_period_seconds;
    c->del.grace_s = d->grace_period_seconds;
    if (d->preconditions) {
        c->del.uid = d->preconditions->uid.n ? d->preconditions->uid : STR_NONE;
        c->del.rv =
            d->preconditions->resource_version.n ? d->preconditions->resource_version : STR_NONE;
    }
    c->del.propagation = d->propagation_policy.n ? d->propagation_policy : STR_NONE;
    c->opts.dry_run |= d->n_dry_run > 0;
}

int sub_eviction(struct api_call *c)
{
    const struct api_eviction *e = c->body;
    if (!e || c->body_desc != &api_eviction_desc)
        return call_error(c, REASON_BAD_REQUEST, "an Eviction is expected in the request's body");
    if (e->metadata.name.n && !str_eq(e->metadata.name, c->name))
        return call_error(c, REASON_BAD_REQUEST,
                          "name in URL does not match name in Eviction object");
    struct object *old = call_peek(c);
    if (!old)
        return call_not_found(c, c->kind, c->name);
    int r = hooks_sub(c, ADMIT_CREATE, &api_eviction_desc, c->body, NULL, old);
    if (r)
        return r;
    if (e->delete_options)
        take_options(c, e->delete_options);
    r = delete_check_preconditions(c, old);
    if (r >= 0)
        r = admit_delete(c, old);
    if (r >= 0)
        r = ask_budget(c, OBJECT_MSG(old, api_pod));
    if (r >= 0 && !c->opts.dry_run)
        r = mark_disrupted(c, old);
    if (r >= 0)
        r = delete_one(c, call_peek(c), NULL, NULL);
    if (r >= 0) {
        c->reply.success_status = true;
        c->reply.code = 201;
    }
    return r;
}
