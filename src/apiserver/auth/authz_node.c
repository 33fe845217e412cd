/* The node authorizer: what a node (CN system:node:NAME, O system:nodes) may do: read what the pods
 * bound to it need, and write about itself and its pods. What a write may contain is
 * NodeRestriction's matter (admit_node.c). Kubernetes: KEP-279, plugin/pkg/auth/authorizer/node. */
#include "apiserver/internal.h"
#include "apiserver/pod_index.h"
#include "api/cluster.h"

bool authz_node_is(const struct api_user *u, struct str *ret_node)
{
    struct str prefix = STR("system:node:");
    if (!str_starts(u->name, prefix) || u->name.n == prefix.n ||
        !user_in_group(u, STR("system:nodes")))
        return false;
    *ret_node = str_sub(u->name, prefix.n, u->name.n);
    return true;
}

static bool env_refers(const struct api_container *v, uint32_t n, bool secret, struct str name)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < v[i].n_env_from; k++) {
            const struct api_env_from_source *f = &v[i].env_from[k];
            if (secret ? f->secret_ref && str_eq(f->secret_ref->local_object_reference.name, name)
                       : f->config_map_ref &&
                             str_eq(f->config_map_ref->local_object_reference.name, name))
                return true;
        }
        for (uint32_t k = 0; k < v[i].n_env; k++) {
            const struct api_env_var_source *f = v[i].env[k].value_from;
            if (f &&
                (secret ? f->secret_key_ref &&
                              str_eq(f->secret_key_ref->local_object_reference.name, name)
                        : f->config_map_key_ref &&
                              str_eq(f->config_map_key_ref->local_object_reference.name, name)))
                return true;
        }
    }
    return false;
}

static bool volume_refers(const struct api_volume_source *v, bool secret, struct str name)
{
    if (secret ? v->secret && str_eq(v->secret->secret_name, name)
               : v->config_map && str_eq(v->config_map->local_object_reference.name, name))
        return true;
    if (!v->projected)
        return false;
    for (uint32_t i = 0; i < v->projected->n_sources; i++) {
        const struct api_volume_projection *p = &v->projected->sources[i];
        if (secret ? p->secret && str_eq(p->secret->local_object_reference.name, name)
                   : p->config_map && str_eq(p->config_map->local_object_reference.name, name))
            return true;
    }
    return false;
}

static bool pod_refers(const struct api_pod *p, bool secret, struct str name)
{
    const struct api_pod_spec *s = &p->spec;
    for (uint32_t i = 0; i < s->n_volumes; i++)
        if (volume_refers(&s->volumes[i].volume_source, secret, name))
            return true;
    for (uint32_t i = 0; secret && i < s->n_image_pull_secrets; i++)
        if (str_eq(s->image_pull_secrets[i].name, name))
            return true;
    return env_refers(s->containers, s->n_containers, secret, name) ||
           env_refers(s->init_containers, s->n_init_containers, secret, name);
}

enum need { NEED_SECRET, NEED_CONFIG_MAP, NEED_SERVICE_ACCOUNT };

struct question {
    struct str ns, name;
    enum need what;
    bool yes;
};

static bool ask(void *arg, struct object *o)
{
    struct question *q = arg;
    const struct api_pod *p = o->msg;
    if (str_eq(p->metadata.namespace, q->ns))
        q->yes = q->what == NEED_SERVICE_ACCOUNT ? str_eq(p->spec.service_account_name, q->name)
                                                 : pod_refers(p, q->what == NEED_SECRET, q->name);
    return !q->yes;
}

/* Some pod of ns that is bound to the node needs the object. */
static bool node_needs(struct apiserver *s, struct str node, struct str ns, struct str name,
                       enum need what)
{
    struct question q = {ns, name, what, false};
    if (ns.n && name.n)
        pod_index_walk(s->pods, node, ask, &q);
    return q.yes;
}

static bool verb_in(const struct authz_attrs *at, const char *list)
{
    struct str all = str_z(list), one;
    while (str_cut(&all, ' ', &one) || one.n)
        if (str_eq(one, at->verb))
            return true;
    return false;
}

#define READ  "get list watch"
#define WRITE "create update patch delete"

static bool node_pods(struct apiserver *s, struct str node, const struct authz_attrs *at,
                      struct str *ret_reason)
{
    if (str_is(at->subresource, "status"))
        return verb_in(at, "get update patch");
    if (str_is(at->subresource, "eviction"))
        return verb_in(at, "create");
    if (at->subresource.n)
        return false;
    if (verb_in(at, "create delete"))
        return true; /* NodeRestriction looks at which */
    if (!verb_in(at, READ))
        return false;
    if (at->name.n && verb_in(at, "get")) {
        struct object *o = store_get(s->store, KIND(POD), at->ns, at->name);
        /* one that is gone is answered with 404, which tells nothing */
        if (!o || str_eq(OBJECT_MSG(o, api_pod)->spec.node_name, node))
            return true;
    } else {
        struct str rest = at->field_selector, term;
        struct str want = STR("spec.nodeName=");
        while (str_cut(&rest, ',', &term) || term.n)
            if (str_starts(term, want) && str_eq(str_trim(str_sub(term, want.n, term.n)), node))
                return true;
        /* Who enforces policies has to know the pods they speak of. */
        if (!at->name.n && verb_in(at, "list watch") &&
            store_count(s->store, KIND(NETWORK_POLICY)) > 0)
            return true;
    }
    *ret_reason =
        STR("can only list/watch/get pods with spec.nodeName field selector of the node itself");
    return false;
}

static bool node_core(struct apiserver *s, struct str node, const struct authz_attrs *at,
                      struct str *ret_reason)
{
    struct str r = at->resource;
    if (str_is(r, "pods"))
        return node_pods(s, node, at, ret_reason);
    if (str_is(r, "nodes")) {
        if (str_is(at->subresource, "status"))
            return verb_in(at, "get update patch");
        return !at->subresource.n && verb_in(at, READ " create update patch");
    }
    if (str_is(r, "services") || str_is(r, "namespaces") || str_is(r, "endpoints"))
        return !at->subresource.n && verb_in(at, READ);
    if (str_is(r, "events"))
        return verb_in(at, "create update patch");
    bool secret = str_is(r, "secrets");
    if (secret || str_is(r, "configmaps")) {
        struct str name = at->name, want = STR("metadata.name=");
        if (!name.n && str_starts(at->field_selector, want)) /* list or watch of one by its name */
            name = str_sub(at->field_selector, want.n, at->field_selector.n);
        if (!secret && str_is(at->ns, "kube-system") && str_is(name, CLUSTER_CONFIG_NAME) &&
            verb_in(at, READ))
            return true; /* address ranges and the like, the same for every node */
        if (verb_in(at, READ) &&
            node_needs(s, node, at->ns, name, secret ? NEED_SECRET : NEED_CONFIG_MAP))
            return true;
        *ret_reason = STR("no relationship found between node and this object");
        return false;
    }
    if (str_is(r, "serviceaccounts")) {
        bool token = str_is(at->subresource, "token") && verb_in(at, "create");
        if ((token || (!at->subresource.n && verb_in(at, "get"))) &&
            node_needs(s, node, at->ns, at->name, NEED_SERVICE_ACCOUNT))
            return true;
        *ret_reason = STR("no relationship found between node and this object");
        return false;
    }
    return false;
}

bool authz_node_allowed(struct apiserver *s, struct str node, const struct authz_attrs *at,
                        struct str *ret_reason)
{
    if (at->path.p)
        return false; /* RBAC's discovery roles */
    if (!at->group.n)
        return node_core(s, node, at, ret_reason);
    if (str_is(at->group, "coordination.k8s.io") && str_is(at->resource, "leases"))
        return str_is(at->ns, "kube-node-lease") && verb_in(at, "get " WRITE) &&
               (str_eq(at->name, node) || verb_in(at, "create"));
    if (str_is(at->group, "discovery.k8s.io"))
        return str_is(at->resource, "endpointslices") && verb_in(at, READ);
    if (str_is(at->group, "certificates.k8s.io"))
        return str_is(at->resource, "certificatesigningrequests") && !at->subresource.n &&
               verb_in(at, READ " create");
    if (str_is(at->group, "networking.k8s.io"))
        return str_is(at->resource, "networkpolicies") && verb_in(at, READ);
    if (str_is(at->group, "events.k8s.io"))
        return verb_in(at, "create update patch");
    if (str_is(at->group, "authentication.k8s.io"))
        return str_is(at->resource, "tokenreviews") && verb_in(at, "create");
    if (str_is(at->group, "authorization.k8s.io"))
        return (str_is(at->resource, "subjectaccessreviews") ||
                str_is(at->resource, "localsubjectaccessreviews")) &&
               verb_in(at, "create");
    return false;
}
