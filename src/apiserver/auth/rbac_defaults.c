/* The ClusterRoles, Roles and bindings every cluster starts with, as Kubernetes' bootstrap policy
 * has them, cut to the kinds that are served. Written at start; what an administrator took away
 * from a default role comes back, what was added stays (annotation
 * rbac.authorization.kubernetes.io/autoupdate=false stops that).
 *
 * Rows are text, "a,b" a list: a rule of one role each, gathered by the role's name. */
#include "apiserver/internal.h"

#include "api/cluster.h"
#include "api/csr.h"

#define RW  "create,delete,deletecollection,patch,update"
#define RO  "get,list,watch"
#define ALL RO "," RW

enum aggregate { NONE, TO_ADMIN = 1, TO_EDIT = 2, TO_VIEW = 4 };

struct rule_row {
    const char *role, *groups, *resources, *verbs;
    const char *paths; /* instead of groups and resources */
    const char *names;
};

static const struct rule_row rules[] = {
    {"cluster-admin", "*", "*", "*", NULL, NULL},
    {"cluster-admin", NULL, NULL, "*", "*", NULL},
    {"system:aggregate-to-admin", "authorization.k8s.io", "localsubjectaccessreviews", "create",
     NULL, NULL},
    {"system:aggregate-to-admin", "rbac.authorization.k8s.io", "roles,rolebindings", ALL, NULL,
     NULL},
    {"system:aggregate-to-edit", "",
     "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy", RO, NULL, NULL},
    {"system:aggregate-to-edit", "", "serviceaccounts", "impersonate", NULL, NULL},
    {"system:aggregate-to-edit", "", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy", RW,
     NULL, NULL},
    {"system:aggregate-to-edit", "", "pods/eviction", "create", NULL, NULL},
    {"system:aggregate-to-edit", "", "pods/resize", "get,patch,update", NULL, NULL},
    {"system:aggregate-to-edit", "",
     "configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/"
     "scale,secrets,serviceaccounts,services,services/proxy",
     RW, NULL, NULL},
    {"system:aggregate-to-edit", "", "serviceaccounts/token", "create", NULL, NULL},
    {"system:aggregate-to-edit", "apps",
     "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/"
     "scale,statefulsets,statefulsets/scale",
     RW, NULL, NULL},
    {"system:aggregate-to-edit", "autoscaling", "horizontalpodautoscalers", RW, NULL, NULL},
    {"system:aggregate-to-edit", "batch", "cronjobs,jobs", RW, NULL, NULL},
    {"system:aggregate-to-edit", "policy", "poddisruptionbudgets", RW, NULL, NULL},
    {"system:aggregate-to-edit", "networking.k8s.io", "ingresses,networkpolicies", RW, NULL, NULL},
    {"system:aggregate-to-edit", "coordination.k8s.io", "leases", ALL, NULL, NULL},
    {"system:aggregate-to-edit", "resource.k8s.io", "resourceclaims,resourceclaimtemplates", RW,
     NULL, NULL},
    {"system:aggregated-metrics-reader", "metrics.k8s.io", "pods,nodes", RO, NULL, NULL},
    {"system:aggregate-to-view", "",
     "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/"
     "status,pods,replicationcontrollers,replicationcontrollers/"
     "scale,serviceaccounts,services,services/status",
     RO, NULL, NULL},
    {"system:aggregate-to-view", "",
     "bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/"
     "status,resourcequotas,resourcequotas/status",
     RO, NULL, NULL},
    {"system:aggregate-to-view", "", "namespaces", RO, NULL, NULL},
    {"system:aggregate-to-view", "discovery.k8s.io", "endpointslices", RO, NULL, NULL},
    {"system:aggregate-to-view", "apps",
     "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/"
     "status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/"
     "scale,statefulsets/status",
     RO, NULL, NULL},
    {"system:aggregate-to-view", "autoscaling",
     "horizontalpodautoscalers,horizontalpodautoscalers/status", RO, NULL, NULL},
    {"system:aggregate-to-view", "batch", "cronjobs,cronjobs/status,jobs,jobs/status", RO, NULL,
     NULL},
    {"system:aggregate-to-view", "policy", "poddisruptionbudgets,poddisruptionbudgets/status", RO,
     NULL, NULL},
    {"system:aggregate-to-view", "networking.k8s.io", "ingresses,ingresses/status,networkpolicies",
     RO, NULL, NULL},
    {"system:aggregate-to-view", "resource.k8s.io",
     "resourceclaims,resourceclaims/status,resourceclaimtemplates", RO, NULL, NULL},
    {"system:basic-user", "authorization.k8s.io",
     "selfsubjectaccessreviews,selfsubjectrulesreviews", "create", NULL, NULL},
    {"system:basic-user", "authentication.k8s.io", "selfsubjectreviews", "create", NULL, NULL},
    {"system:discovery", NULL, NULL, "get",
     "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/",
     NULL},
    {"system:public-info-viewer", NULL, NULL, "get", "/healthz,/livez,/readyz,/version,/version/",
     NULL},
    {"system:monitoring", NULL, NULL, "get",
     "/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*", NULL},
    {"system:auth-delegator", "authentication.k8s.io", "tokenreviews", "create", NULL, NULL},
    {"system:auth-delegator", "authorization.k8s.io", "subjectaccessreviews", "create", NULL, NULL},
    {"system:service-account-issuer-discovery", NULL, NULL, "get",
     "/.well-known/openid-configuration,/openid/v1/jwks", NULL},
    {"system:kube-scheduler", ",events.k8s.io", "events", "create,patch,update", NULL, NULL},
    {"system:kube-scheduler", "", "nodes,pods,namespaces,services", RO, NULL, NULL},
    {"system:kube-scheduler", "", "pods", "delete", NULL, NULL},
    {"system:kube-scheduler", "", "bindings,pods/binding", "create", NULL, NULL},
    {"system:kube-scheduler", "", "pods/status", "patch,update", NULL, NULL},
    {"system:kube-scheduler", "apps", "replicasets,statefulsets", RO, NULL, NULL},
    {"system:kube-scheduler", "", "persistentvolumeclaims,persistentvolumes,replicationcontrollers",
     RO, NULL, NULL},
    {"system:kube-scheduler", "storage.k8s.io",
     "csidrivers,csinodes,csistoragecapacities,storageclasses,volumeattachments", RO, NULL, NULL},
    {"system:kube-scheduler", "resource.k8s.io", "deviceclasses,resourceclaims,resourceslices", RO,
     NULL, NULL},
    {"system:kube-scheduler", "coordination.k8s.io", "leases", "create,get,list,watch,update", NULL,
     NULL},
    {"system:node-proxier", "", "services,endpoints,nodes", RO, NULL, NULL},
    {"system:node-proxier", "discovery.k8s.io", "endpointslices", RO, NULL, NULL},
    {"system:node-proxier", ",events.k8s.io", "events", "create,patch,update", NULL, NULL},
    {"system:node-bootstrapper", "certificates.k8s.io", "certificatesigningrequests",
     "create,get,list,watch", NULL, NULL},
    {"davit:cluster-reader", "", "configmaps", "get,list,watch", NULL, CLUSTER_CONFIG_NAME},
    {"system:certificates.k8s.io:certificatesigningrequests:nodeclient", "certificates.k8s.io",
     "certificatesigningrequests/nodeclient", "create", NULL, NULL},
    {"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "certificates.k8s.io",
     "certificatesigningrequests/selfnodeclient", "create", NULL, NULL},
    {"system:certificates.k8s.io:certificatesigningrequests:selfnodeserver", "certificates.k8s.io",
     "certificatesigningrequests/selfnodeserver", "create", NULL, NULL},
    {"system:certificates.k8s.io:kube-apiserver-client-approver", "certificates.k8s.io", "signers",
     "approve", NULL, CSR_SIGNER_CLIENT},
    {"system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", "certificates.k8s.io",
     "signers", "approve", NULL, CSR_SIGNER_KUBELET},
    {"system:certificates.k8s.io:kubelet-serving-approver", "certificates.k8s.io", "signers",
     "approve", NULL, CSR_SIGNER_SERVING},
    {"system:certificates.k8s.io:legacy-unknown-approver", "certificates.k8s.io", "signers",
     "approve", NULL, "kubernetes.io/legacy-unknown"},
    /* nobody here needs the rest; what people install is bound to them by name */
    {"system:kube-controller-manager", ",events.k8s.io", "events", "create,patch,update", NULL,
     NULL},
    {"system:kube-controller-manager", "coordination.k8s.io", "leases", "create", NULL, NULL},
    {"system:kube-controller-manager", "coordination.k8s.io", "leases", "get,update", NULL,
     "kube-controller-manager"},
    {"system:kube-controller-manager", "", "secrets,serviceaccounts", "create", NULL, NULL},
    {"system:kube-controller-manager", "", "secrets", "delete", NULL, NULL},
    {"system:kube-controller-manager", "", "configmaps,namespaces,secrets,serviceaccounts", "get",
     NULL, NULL},
    {"system:kube-controller-manager", "", "secrets,serviceaccounts", "update", NULL, NULL},
    {"system:kube-controller-manager", "authentication.k8s.io", "tokenreviews", "create", NULL,
     NULL},
    {"system:kube-controller-manager", "authorization.k8s.io", "subjectaccessreviews", "create",
     NULL, NULL},
    {"system:kube-controller-manager", "*", "*", "list,watch", NULL, NULL},
    {"system:kube-controller-manager", "", "serviceaccounts/token", "create", NULL, NULL},
    {"system:kube-aggregator", "", "endpoints,services", RO, NULL, NULL},
    {"system:kube-dns", "", "endpoints,services", "list,watch", NULL, NULL},
    {"system:kubelet-api-admin", "", "nodes", RO, NULL, NULL},
    {"system:kubelet-api-admin", "", "nodes", "proxy", NULL, NULL},
    {"system:kubelet-api-admin", "",
     "nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats", "*",
     NULL, NULL},
    {"system:node-problem-detector", "", "nodes", "get", NULL, NULL},
    {"system:node-problem-detector", "", "nodes/status", "patch", NULL, NULL},
    {"system:node-problem-detector", ",events.k8s.io", "events", "create,patch,update", NULL, NULL},
    {"system:persistent-volume-provisioner", "", "persistentvolumes",
     "create,delete,get,list,watch", NULL, NULL},
    {"system:persistent-volume-provisioner", "", "persistentvolumeclaims", "get,list,update,watch",
     NULL, NULL},
    {"system:persistent-volume-provisioner", "storage.k8s.io", "storageclasses", RO, NULL, NULL},
    {"system:persistent-volume-provisioner", "", "events", "watch", NULL, NULL},
    {"system:persistent-volume-provisioner", ",events.k8s.io", "events", "create,patch,update",
     NULL, NULL},
    {"system:volume-scheduler", "", "persistentvolumes", "get,list,patch,update,watch", NULL, NULL},
    {"system:volume-scheduler", "storage.k8s.io", "storageclasses", RO, NULL, NULL},
    {"system:volume-scheduler", "", "persistentvolumeclaims", "get,list,patch,update,watch", NULL,
     NULL},
    {"system:node", "", "services,nodes,pods,namespaces,configmaps,secrets,serviceaccounts", "get",
     NULL, NULL},
};

struct role_row {
    const char *name;
    unsigned labels; /* enum aggregate: gathered into these */
    unsigned gathers;
};

static const struct role_row roles[] = {
    {"cluster-admin", NONE, NONE},
    {"admin", NONE, TO_ADMIN},
    {"edit", TO_ADMIN, TO_EDIT},
    {"view", TO_EDIT, TO_VIEW},
    {"system:aggregate-to-admin", TO_ADMIN, NONE},
    {"system:aggregate-to-edit", TO_EDIT, NONE},
    {"system:aggregate-to-view", TO_VIEW, NONE},
    {"system:aggregated-metrics-reader", TO_ADMIN | TO_EDIT | TO_VIEW, NONE},
    {"system:basic-user", NONE, NONE},
    {"system:discovery", NONE, NONE},
    {"system:public-info-viewer", NONE, NONE},
    {"system:monitoring", NONE, NONE},
    {"system:auth-delegator", NONE, NONE},
    {"system:service-account-issuer-discovery", NONE, NONE},
    {"system:kube-scheduler", NONE, NONE},
    {"system:node-proxier", NONE, NONE},
    {"system:node", NONE, NONE},
    {"system:node-bootstrapper", NONE, NONE},
    {"davit:cluster-reader", NONE, NONE},
    {"system:certificates.k8s.io:certificatesigningrequests:nodeclient", NONE, NONE},
    {"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", NONE, NONE},
    {"system:certificates.k8s.io:certificatesigningrequests:selfnodeserver", NONE, NONE},
    {"system:certificates.k8s.io:kube-apiserver-client-approver", NONE, NONE},
    {"system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", NONE, NONE},
    {"system:certificates.k8s.io:kubelet-serving-approver", NONE, NONE},
    {"system:certificates.k8s.io:legacy-unknown-approver", NONE, NONE},
    {"system:kube-aggregator", NONE, NONE},
    {"system:kube-controller-manager", NONE, NONE},
    {"system:kube-dns", NONE, NONE},
    {"system:kubelet-api-admin", NONE, NONE},
    {"system:node-problem-detector", NONE, NONE},
    {"system:persistent-volume-provisioner", NONE, NONE},
    {"system:volume-scheduler", NONE, NONE},
};

struct binding_row {
    const char *name, *role, *subjects; /* "Group:x,User:y" */
};

static const struct binding_row bindings[] = {
    {"cluster-admin", "cluster-admin", "Group/system:masters"},
    {"system:basic-user", "system:basic-user", "Group/system:authenticated"},
    {"system:discovery", "system:discovery", "Group/system:authenticated"},
    {"system:public-info-viewer", "system:public-info-viewer",
     "Group/system:authenticated,Group/system:unauthenticated"},
    {"system:monitoring", "system:monitoring", "Group/system:monitoring"},
    {"system:service-account-issuer-discovery", "system:service-account-issuer-discovery",
     "Group/system:serviceaccounts"},
    {"system:kube-scheduler", "system:kube-scheduler", "User/system:kube-scheduler"},
    {"system:kube-controller-manager", "system:kube-controller-manager",
     "User/system:kube-controller-manager"},
    {"system:volume-scheduler", "system:volume-scheduler", "User/system:kube-scheduler"},
    {"system:node-proxier", "system:node-proxier", "User/system:kube-proxy"},
    /* machines that join by `davit token`, and the renewal of what they were given */
    {"davit:node-bootstrapper", "system:node-bootstrapper",
     "Group/system:bootstrappers:davit:nodes"},
    {"davit:cluster-reader", "davit:cluster-reader", "Group/system:bootstrappers:davit:nodes"},
    {"davit:node-autoapprove-bootstrap",
     "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
     "Group/system:bootstrappers:davit:nodes"},
    {"davit:node-autoapprove-renewal",
     "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "Group/system:nodes"},
    {"davit:node-autoapprove-serving",
     "system:certificates.k8s.io:certificatesigningrequests:selfnodeserver", "Group/system:nodes"},
};

static struct str *split(struct arena *a, const char *text, uint32_t *ret_n)
{
    uint32_t n = 1;
    for (const char *p = text; *p; p++)
        n += *p == ',';
    struct str *v = ARENA_NEW_N(a, struct str, n), rest = str_z(text);
    for (uint32_t i = 0; i < n; i++)
        str_cut(&rest, ',', &v[i]);
    *ret_n = n;
    return v;
}

static void common_meta(struct arena *a, struct api_object_meta *m, const char *name,
                        unsigned aggregate)
{
    struct kv_str *labels = ARENA_NEW_N(a, struct kv_str, 4);
    m->name = str_z(name);
    labels[m->n_labels++] =
        (struct kv_str){STR("kubernetes.io/bootstrapping"), STR("rbac-defaults")};
    if (aggregate & TO_ADMIN)
        labels[m->n_labels++] =
            (struct kv_str){STR("rbac.authorization.k8s.io/aggregate-to-admin"), STR("true")};
    if (aggregate & TO_EDIT)
        labels[m->n_labels++] =
            (struct kv_str){STR("rbac.authorization.k8s.io/aggregate-to-edit"), STR("true")};
    if (aggregate & TO_VIEW)
        labels[m->n_labels++] =
            (struct kv_str){STR("rbac.authorization.k8s.io/aggregate-to-view"), STR("true")};
    m->labels = labels;
    m->annotations = ARENA_NEW(a, struct kv_str);
    m->annotations[0] =
        (struct kv_str){STR("rbac.authorization.kubernetes.io/autoupdate"), STR("true")};
    m->n_annotations = 1;
}

static void fill_rules(struct arena *a, struct api_cluster_role *role, const char *name)
{
    role->rules = ARENA_NEW_N(a, struct api_policy_rule, ARRAY_LEN(rules));
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const struct rule_row *row = &rules[i];
        if (strcmp(row->role, name) != 0)
            continue;
        struct api_policy_rule *r = &role->rules[role->n_rules++];
        r->verbs = split(a, row->verbs, &r->n_verbs);
        if (row->groups)
            r->api_groups = split(a, row->groups, &r->n_api_groups);
        if (row->resources)
            r->resources = split(a, row->resources, &r->n_resources);
        if (row->names)
            r->resource_names = split(a, row->names, &r->n_resource_names);
        if (row->paths)
            r->non_resource_urls = split(a, row->paths, &r->n_non_resource_urls);
    }
}

static void add_gathers(struct arena *a, struct api_cluster_role *role, unsigned gathers)
{
    const char *key = gathers == TO_ADMIN  ? "rbac.authorization.k8s.io/aggregate-to-admin"
                      : gathers == TO_EDIT ? "rbac.authorization.k8s.io/aggregate-to-edit"
                                           : "rbac.authorization.k8s.io/aggregate-to-view";
    role->aggregation_rule = ARENA_NEW(a, struct api_aggregation_rule);
    struct api_label_selector *sel = ARENA_NEW(a, struct api_label_selector);
    sel->match_labels = ARENA_NEW(a, struct kv_str);
    sel->match_labels[0] = (struct kv_str){str_z(key), STR("true")};
    sel->n_match_labels = 1;
    role->aggregation_rule->cluster_role_selectors = sel;
    role->aggregation_rule->n_cluster_role_selectors = 1;
}

/* What an existing role has beyond the defaults stays. */
static void keep_added(struct apiserver *s, struct arena *a, struct api_cluster_role *role)
{
    struct object *o = store_peek(s->store, KIND(CLUSTER_ROLE), STR_NONE, role->metadata.name);
    if (!o)
        return;
    const struct api_cluster_role *old = o->msg;
    struct api_policy_rule *v =
        ARENA_NEW_N(a, struct api_policy_rule, role->n_rules + old->n_rules);
    uint32_t n = role->n_rules;
    if (n)
        memcpy(v, role->rules, n * sizeof(*v));
    for (uint32_t i = 0; i < old->n_rules; i++) {
        bool there = false;
        for (uint32_t k = 0; k < n && !there; k++)
            there = schema_equal(&api_policy_rule_desc, &v[k], &old->rules[i]);
        if (!there)
            v[n++] = old->rules[i];
    }
    role->rules = v;
    role->n_rules = n;
}

static void binding_of(struct arena *a, const struct binding_row *row,
                       struct api_cluster_role_binding *b)
{
    uint32_t n;
    struct str *parts = split(a, row->subjects, &n);
    common_meta(a, &b->metadata, row->name, NONE);
    b->role_ref = (struct api_role_ref){STR("rbac.authorization.k8s.io"), STR("ClusterRole"),
                                        str_z(row->role)};
    b->subjects = ARENA_NEW_N(a, struct api_subject, n);
    for (uint32_t i = 0; i < n; i++) {
        struct api_subject *sub = &b->subjects[b->n_subjects++];
        sub->name = parts[i];
        str_cut(&sub->name, '/', &sub->kind);
        sub->api_group = STR("rbac.authorization.k8s.io");
    }
}

/* Subjects an administrator added to a default binding stay, as long as it binds the same role. */
static void keep_subjects(struct apiserver *s, struct arena *a, struct api_cluster_role_binding *b)
{
    struct object *o = store_peek(s->store, KIND(CLUSTER_ROLE_BINDING), STR_NONE, b->metadata.name);
    const struct api_cluster_role_binding *old = o ? o->msg : NULL;
    if (!old || !schema_equal(&api_role_ref_desc, &old->role_ref, &b->role_ref))
        return;
    struct api_subject *v = ARENA_NEW_N(a, struct api_subject, b->n_subjects + old->n_subjects);
    uint32_t n = b->n_subjects;
    memcpy(v, b->subjects, n * sizeof(*v));
    for (uint32_t i = 0; i < old->n_subjects; i++) {
        bool there = false;
        for (uint32_t k = 0; k < n && !there; k++)
            there = schema_equal(&api_subject_desc, &v[k], &old->subjects[i]);
        if (!there)
            v[n++] = old->subjects[i];
    }
    b->subjects = v;
    b->n_subjects = n;
}

void bootstrap_roles(struct apiserver *s,
                     void (*want)(struct apiserver *s, const struct schema_kind *k,
                                  const void *msg))
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        struct arena a = {0};
        struct api_cluster_role role = {0};
        common_meta(&a, &role.metadata, roles[i].name, roles[i].labels);
        if (roles[i].gathers)
            add_gathers(&a, &role, roles[i].gathers);
        else
            fill_rules(&a, &role, roles[i].name);
        keep_added(s, &a, &role);
        want(s, KIND(CLUSTER_ROLE), &role);
        arena_fini(&a);
    }
    for (size_t i = 0; i < ARRAY_LEN(bindings); i++) {
        struct arena a = {0};
        struct api_cluster_role_binding b = {0};
        binding_of(&a, &bindings[i], &b);
        keep_subjects(s, &a, &b);
        want(s, KIND(CLUSTER_ROLE_BINDING), &b);
        arena_fini(&a);
    }
}
