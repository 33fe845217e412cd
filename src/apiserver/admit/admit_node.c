/* NodeRestriction: a node changes only itself, its lease and the pods bound to it, and gives itself
 * no labels that decide what may run on it. Kubernetes: plugin/pkg/admission/noderestriction.
 * TaintNodesByCondition: nothing runs on a new node before it says that it is ready. */
#include "apiserver/admit/admit.h"

static int node_object(struct api_call *c, struct str node, const struct api_node *n,
                       const struct object *old)
{
    struct str name = n ? n->metadata.name : c->name;
    if (!str_eq(name, node))
        return call_forbidden(c, name, "node \"%.*s\" is not allowed to modify node \"%.*s\"",
                              STR_ARG(node), STR_ARG(name));
    if (!n) /* delete */
        return call_forbidden(c, name, "node \"%.*s\" is not allowed to delete itself",
                              STR_ARG(node));
    const struct api_node *o = old ? old->msg : NULL;
    if (o && !c->subresource.n) {
        bool same = n->spec.n_taints == o->spec.n_taints;
        for (uint32_t i = 0; same && i < n->spec.n_taints; i++)
            same = schema_equal(&api_taint_desc, &n->spec.taints[i], &o->spec.taints[i]);
        if (!same)
            return call_forbidden(c, name, "node \"%.*s\" is not allowed to modify taints",
                                  STR_ARG(node));
    }
    for (uint32_t i = 0; i < n->metadata.n_labels; i++) {
        const struct kv_str *l = &n->metadata.labels[i];
        const struct str *was = o ? KV_GET(&o->metadata, labels, l->key) : NULL;
        if (str_search(l->key, STR("node-restriction.kubernetes.io/")) < 0 ||
            (was && str_eq(*was, l->value)))
            continue;
        return call_forbidden(c, name, "is not allowed to modify labels: %.*s", STR_ARG(l->key));
    }
    return 0;
}

static int pod_of_node(struct api_call *c, struct str node, const struct api_pod *p,
                       const struct object *old)
{
    const struct api_pod *o = old ? old->msg : NULL;
    if (!o) { /* create: mirror pods of itself only */
        if (!KV_GET(&p->metadata, annotations, STR("kubernetes.io/config.mirror")))
            return call_forbidden(c, p->metadata.name,
                                  "pod does not have \"kubernetes.io/config.mirror\" annotation, "
                                  "node \"%.*s\" can only create mirror pods",
                                  STR_ARG(node));
        if (!str_eq(p->spec.node_name, node))
            return call_forbidden(
                c, p->metadata.name,
                "node \"%.*s\" can only create pods with spec.nodeName set to itself",
                STR_ARG(node));
        return 0;
    }
    if (!str_eq(o->spec.node_name, node))
        return call_forbidden(c, o->metadata.name,
                              "node \"%.*s\" can only %s pods with spec.nodeName set to itself",
                              STR_ARG(node), api_call_verb_text(c));
    if (p && str_is(c->subresource, "status") &&
        (p->metadata.n_labels != o->metadata.n_labels ||
         !schema_equal(&api_object_meta_desc,
                       &(struct api_object_meta){.labels = p->metadata.labels,
                                                 .n_labels = p->metadata.n_labels},
                       &(struct api_object_meta){.labels = o->metadata.labels,
                                                 .n_labels = o->metadata.n_labels})))
        return call_forbidden(c, o->metadata.name,
                              "node \"%.*s\" cannot update labels through pod status",
                              STR_ARG(node));
    return 0;
}

int admit_node_restriction(struct api_call *c, const void *msg, const struct object *old)
{
    struct str node;
    if (c->user.trusted || !authz_node_is(&c->user, &node))
        return 0;
    if (c->kind == KIND(NODE))
        return node_object(c, node, msg, old);
    if (c->kind == KIND(POD))
        return pod_of_node(c, node, msg, old);
    if (c->kind == KIND(LEASE)) {
        const struct api_object_meta *m = msg ? msg : object_meta(old);
        if (!str_is(m->namespace, "kube-node-lease") || !str_eq(m->name, node))
            return call_forbidden(
                c, m->name, "can only access node lease with the same name as the requesting node");
    }
    return 0;
}

/* ---- TaintNodesByCondition ---- */

static bool is_ready(const struct api_node *n)
{
    for (uint32_t i = 0; i < n->status.n_conditions; i++)
        if (str_is(n->status.conditions[i].type, "Ready"))
            return str_is(n->status.conditions[i].status, "True");
    return false;
}

/* The node lifecycle controller takes it away again. A node that is made ready (simulated ones)
 * need not wait for that. */
int admit_node_taint(struct api_call *c, void *msg, const struct object *old)
{
    static const char key[] = "node.kubernetes.io/not-ready";
    struct api_node *n = msg;
    if (c->kind != KIND(NODE) || old || is_ready(n))
        return 0;
    for (uint32_t i = 0; i < n->spec.n_taints; i++)
        if (str_eqz(n->spec.taints[i].key, key) && str_is(n->spec.taints[i].effect, "NoSchedule"))
            return 0;
    struct api_taint *v = ARENA_NEW_N(&c->arena, struct api_taint, n->spec.n_taints + 1);
    if (n->spec.n_taints)
        memcpy(v, n->spec.taints, n->spec.n_taints * sizeof(*v));
    v[n->spec.n_taints++] = (struct api_taint){.key = str_z(key), .effect = STR("NoSchedule")};
    n->spec.taints = v;
    return 0;
}
