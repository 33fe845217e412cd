/* RuntimeClass: a new pod gets the overhead of its class and goes only where the class runs.
 * Kubernetes: plugin/pkg/admission/runtimeclass. */
#include "api/kv.h"
#include "apiserver/admit/admit.h"

static bool same_amounts(const struct kv_quantity *a, uint32_t n_a, const struct kv_quantity *b,
                         uint32_t n_b)
{
    bool same = n_a == n_b;
    for (uint32_t i = 0; i < n_a && same; i++)
        same = str_eq(a[i].key, b[i].key) && quantity_cmp(&a[i].value, &b[i].value) == 0;
    return same;
}

static int set_overhead(struct api_call *c, struct api_pod *p, const struct api_runtime_class *k)
{
    const struct api_overhead *o = k ? k->overhead : NULL;
    if (!o || !o->n_pod_fixed) {
        if (p->spec.n_overhead)
            return call_forbidden(c, p->metadata.name,
                                  "pod rejected: Pod Overhead set without corresponding "
                                  "RuntimeClass defined Overhead");
        return 0;
    }
    if (p->spec.n_overhead &&
        !same_amounts(p->spec.overhead, p->spec.n_overhead, o->pod_fixed, o->n_pod_fixed))
        return call_forbidden(
            c, p->metadata.name,
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    p->spec.overhead = o->pod_fixed;
    p->spec.n_overhead = o->n_pod_fixed;
    return 0;
}

static int add_selector(struct api_call *c, struct api_pod *p, const struct api_scheduling *s)
{
    for (uint32_t i = 0; i < s->n_node_selector; i++) {
        const struct kv_str *want = &s->node_selector[i];
        const struct str *has = KV_GET(&p->spec, node_selector, want->key);
        if (has && !str_eq(*has, want->value))
            return call_forbidden(c, p->metadata.name,
                                  "conflict: runtimeClass.scheduling.nodeSelector[%.*s] = %.*s; "
                                  "pod.spec.nodeSelector[%.*s] = %.*s",
                                  STR_ARG(want->key), STR_ARG(want->value), STR_ARG(want->key),
                                  STR_ARG(*has));
        kv_str_set(&c->arena, &p->spec.node_selector, &p->spec.n_node_selector, want->key,
                   want->value);
    }
    return 0;
}

static void add_tolerations(struct api_call *c, struct api_pod_spec *s,
                            const struct api_scheduling *k)
{
    struct api_toleration *v =
        ARENA_NEW_N(&c->arena, struct api_toleration, s->n_tolerations + k->n_tolerations);
    uint32_t n = s->n_tolerations;
    if (n)
        memcpy(v, s->tolerations, n * sizeof(*v));
    for (uint32_t i = 0; i < k->n_tolerations; i++) {
        bool there = false;
        for (uint32_t j = 0; j < n && !there; j++)
            there = schema_equal(&api_toleration_desc, &v[j], &k->tolerations[i]);
        if (!there)
            v[n++] = k->tolerations[i];
    }
    s->tolerations = v;
    s->n_tolerations = n;
}

int admit_runtime_class(struct api_call *c, void *msg, const struct object *old)
{
    struct api_pod *p = msg;
    const struct api_runtime_class *k = NULL;
    if (c->kind != KIND(POD) || old || c->subresource.n)
        return 0;
    if (p->spec.runtime_class_name.n) {
        struct object *o =
            store_peek(c->server->store, KIND(RUNTIME_CLASS), STR_NONE, p->spec.runtime_class_name);
        if (!o)
            return call_forbidden(c, p->metadata.name,
                                  "pod rejected: RuntimeClass \"%.*s\" not found",
                                  STR_ARG(p->spec.runtime_class_name));
        k = schema_clone(o->kind->desc, o->msg, &c->arena);
    }
    int r = set_overhead(c, p, k);
    if (r >= 0 && k && k->scheduling) {
        r = add_selector(c, p, k->scheduling);
        if (r >= 0 && k->scheduling->n_tolerations)
            add_tolerations(c, &p->spec, k->scheduling);
    }
    return r;
}
