/* NodeRestriction: a node changes only itself, its lease and the pods bound to it, and gives itself
 * no labels that decide what may run on it. Kubernetes: plugin/pkg/admission/noderestriction.
 * TaintNodesByCondition: nothing runs on a new node before it says that it is ready. */
#include "apiserver/admit/admit.h"

static bool in_domain(struct str ns, const char *domain)
{
    struct str d = str_z(domain);
    return str_eq(ns, d) || (ns.n > d.n && str_ends(ns, d) && ns.p[ns.n - d.n - 1] == '.');
}

/* Labels that say where something runs are not for a node to choose, but for those it has always
 * told of itself. Kubernetes: kubelet/pkg/apis/well_known_labels.go. */
static bool is_forbidden_label(struct str key)
{
    static const char *const own[] = {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    };
    struct str name = key, ns;
    if (!str_cut(&name, '/', &ns))
        return false;
    if (in_domain(ns, "node-restriction.kubernetes.io"))
        return true;
    if ((!in_domain(ns, "kubernetes.io") && !in_domain(ns, "k8s.io")) ||
        in_domain(ns, "kubelet.kubernetes.io") || in_domain(ns, "node.kubernetes.io"))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (str_eqz(key, own[i]))
            return false;
    return true;
}

/* Labels of one that the other has not, or with another value. */
static int check_labels(struct api_call *c, const struct api_object_meta *one,
                        const struct api_object_meta *other)
{
    for (uint32_t i = 0; one && i < one->n_labels; i++) {
        const struct kv_str *l = &one->labels[i];
        const struct str *v = other ? KV_GET(other, labels, l->key) : NULL;
        if ((!v || !str_eq(*v, l->value)) && is_forbidden_label(l->key))
            return call_forbidden(c, one->name, "is not allowed to modify labels: %.*s",
                                  STR_ARG(l->key));
    }
    return 0;
}

/* An owner that is not there takes the node with it: so it would delete itself. */
static bool same_owners(const struct api_object_meta *a, const struct api_object_meta *b)
{
    uint32_t n = b ? b->n_owner_references : 0;
    bool same = a->n_owner_references == n;
    for (uint32_t i = 0; same && i < n; i++)
        same = schema_equal(&api_owner_reference_desc, &a->owner_references[i],
                            &b->owner_references[i]);
    return same;
}

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
    const struct api_object_meta *was = o ? &o->metadata : NULL;
    if (!same_owners(&n->metadata, was))
        return call_forbidden(c, name, "node \"%.*s\" is not allowed to modify ownerReferences",
                              STR_ARG(node));
    int r = check_labels(c, &n->metadata, was);
    return r < 0 ? r : check_labels(c, was, &n->metadata);
}

static const char *env_names(const struct api_container *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < v[i].n_env_from; k++)
            if (v[i].env_from[k].secret_ref || v[i].env_from[k].config_map_ref)
                return v[i].env_from[k].secret_ref ? "secrets" : "configmaps";
        for (uint32_t k = 0; k < v[i].n_env; k++) {
            const struct api_env_var_source *f = v[i].env[k].value_from;
            if (f && (f->secret_key_ref || f->config_map_key_ref))
                return f->secret_key_ref ? "secrets" : "configmaps";
        }
    }
    return NULL;
}

static const char *volumes_name(const struct api_pod_spec *s)
{
    for (uint32_t i = 0; i < s->n_volumes; i++) {
        const struct api_volume_source *v = &s->volumes[i].volume_source;
        if (v->secret || v->config_map)
            return v->secret ? "secrets" : "configmaps";
        if (v->persistent_volume_claim || v->ephemeral)
            return "persistentvolumeclaims";
        for (uint32_t k = 0; v->projected && k < v->projected->n_sources; k++) {
            const struct api_volume_projection *p = &v->projected->sources[k];
            if (p->secret || p->config_map)
                return p->secret ? "secrets" : "configmaps";
            if (p->service_account_token)
                return "a service account";
            if (p->cluster_trust_bundle)
                return "clustertrustbundles";
        }
    }
    return NULL;
}

/* What a pod names, or NULL. A node may read what the pods on it name, so it must not name anything
 * itself. */
static const char *named_by(const struct api_pod_spec *s)
{
    const char *env = env_names(s->containers, s->n_containers);
    if (s->service_account_name.n)
        return "a service account";
    if (s->n_image_pull_secrets)
        return "secrets";
    if (s->n_resource_claims)
        return "resourceclaims";
    env = env ? env : env_names(s->init_containers, s->n_init_containers);
    return env ? env : volumes_name(s);
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
        const char *what = named_by(&p->spec);
        return what ? call_forbidden(c, p->metadata.name,
                                     "node \"%.*s\" can not create pods that reference %s",
                                     STR_ARG(node), what)
                    : 0;
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
