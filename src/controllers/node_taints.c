/* NoSchedule taints follow the conditions at once. The NoExecute one, which costs pods, comes only
 * when the caller says so (rates, outages), but goes at once. */
#include "controllers/node_taints.h"

static const struct {
    const char *condition, *taint;
} PRESSURES[] = {
    {"MemoryPressure", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "node.kubernetes.io/disk-pressure"},
    {"PIDPressure", "node.kubernetes.io/pid-pressure"},
    {"NetworkUnavailable", "node.kubernetes.io/network-unavailable"},
};
#define OTHERS_MAX                                                                                 \
    (ARRAY_LEN(PRESSURES) + 5) /* not-ready, unreachable twice each, unschedulable                 \
                                */

const struct api_node_condition *node_condition(const struct api_node *n, const char *type)
{
    for (uint32_t i = 0; i < n->status.n_conditions; i++)
        if (str_eqz(n->status.conditions[i].type, type))
            return &n->status.conditions[i];
    return NULL;
}

const char *node_ready_text(const struct api_node *n)
{
    const struct api_node_condition *r = node_condition(n, "Ready");
    return !r                           ? ""
           : str_is(r->status, "True")  ? "True"
           : str_is(r->status, "False") ? "False"
                                        : "Unknown";
}

bool node_has_taint(const struct api_node *n, const char *key, const char *effect)
{
    for (uint32_t i = 0; i < n->spec.n_taints; i++)
        if (str_eqz(n->spec.taints[i].key, key) && str_eqz(n->spec.taints[i].effect, effect))
            return true;
    return false;
}

bool taint_is_tolerated_by(const struct api_toleration *t, const struct api_taint *taint)
{
    bool exists = str_is(t->operator, "Exists");
    if (!str_empty(t->effect) && !str_eq(t->effect, taint->effect))
        return false;
    if (str_empty(t->key))
        return exists;
    return str_eq(t->key, taint->key) && (exists || str_eq(t->value, taint->value));
}

static bool want(struct api_node *n, const char *key, const char *effect, bool wanted,
                 struct timestamp now)
{
    struct api_taint *v = n->spec.taints;
    for (uint32_t i = 0; i < n->spec.n_taints; i++) {
        if (!str_eqz(v[i].key, key) || !str_eqz(v[i].effect, effect))
            continue;
        if (wanted)
            return false;
        memmove(&v[i], &v[i + 1], (--n->spec.n_taints - i) * sizeof(*v));
        return true;
    }
    if (wanted)
        v[n->spec.n_taints++] =
            (struct api_taint){.key = str_z(key), .effect = str_z(effect), .time_added = now};
    return wanted;
}

bool node_taints_set(struct arena *a, struct api_node *n, enum taint_eviction evict, usec_t now)
{
    struct api_taint *v = ARENA_NEW_N(a, struct api_taint, n->spec.n_taints + OTHERS_MAX);
    struct timestamp t = timestamp_seconds(now);
    const char *ready = node_ready_text(n);
    bool unknown = strcmp(ready, "Unknown") == 0, not_ready = strcmp(ready, "False") == 0,
         changed = false;
    bool had = node_has_taint(n, TAINT_UNREACHABLE, "NoExecute") ||
               node_has_taint(n, TAINT_NOT_READY, "NoExecute");
    bool execute = evict == TAINT_EVICT_SET || (evict == TAINT_EVICT_KEEP && had);
    if (n->spec.n_taints)
        memcpy(v, n->spec.taints, n->spec.n_taints * sizeof(*v));
    n->spec.taints = v;
    changed |= want(n, TAINT_UNREACHABLE, "NoExecute", unknown && execute, t);
    changed |= want(n, TAINT_NOT_READY, "NoExecute", not_ready && execute, t);
    changed |= want(n, TAINT_UNREACHABLE, "NoSchedule", unknown, t);
    changed |= want(n, TAINT_NOT_READY, "NoSchedule", not_ready || !ready[0], t);
    for (size_t i = 0; i < ARRAY_LEN(PRESSURES); i++) {
        const struct api_node_condition *c = node_condition(n, PRESSURES[i].condition);
        changed |= want(n, PRESSURES[i].taint, "NoSchedule", c && str_is(c->status, "True"), t);
    }
    changed |= want(n, "node.kubernetes.io/unschedulable", "NoSchedule", n->spec.unschedulable, t);
    return changed;
}
