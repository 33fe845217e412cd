/* The priority levels and flow schemas a cluster starts with: Kubernetes' mandatory and suggested
 * ones (apiserver/pkg/apis/flowcontrol/bootstrap), as rows of text ("a,b" is a list). */
#include "api/flowcontrol.h"

#include "api/kv.h"

static const struct level_row {
    const char *name;
    int32_t shares, lendable_pct;
    int32_t queues, hand, length; /* 0: what has no seat is refused */
    bool exempt;
} level_rows[] = {
    {"exempt", 0, 0, 0, 0, 0, true},
    {"catch-all", 5, 0, 0, 0, 0, false},
    {"node-high", 40, 25, 64, 6, 50, false},
    {"system", 30, 33, 64, 6, 50, false},
    {"leader-election", 10, 0, 16, 4, 50, false},
    {"workload-high", 40, 50, 128, 6, 50, false},
    {"workload-low", 100, 90, 128, 6, 50, false},
    {"global-default", 20, 50, 128, 6, 50, false},
};

#define LEADER   "get,create,update"
#define ANYBODY  "Group/system:unauthenticated,Group/system:authenticated"
#define ALL_KIND "*", "*", "*", "*"

/* Rows of one name are rules about resources with the same subjects. */
static const struct schema_row {
    const char *name, *level;
    int32_t precedence;
    const char *by;       /* NULL: the schema is one flow */
    const char *subjects; /* "User/x,Group/y,Account/ns/name" */
    const char *verbs, *groups, *resources, *namespaces;
    const char *paths; /* NULL: the row is about resources alone */
    bool cluster_scope;
} schema_rows[] = {
    {"exempt", "exempt", 1, NULL, "Group/system:masters", ALL_KIND, "*", true},
    {"catch-all", "catch-all", 10000, "ByUser", ANYBODY, ALL_KIND, "*", true},
    {"probes", "exempt", 2, NULL, ANYBODY, "get", NULL, NULL, NULL, "/healthz,/readyz,/livez",
     false},
    {"system-leader-election", "leader-election", 100, "ByUser",
     "User/system:kube-controller-manager,User/system:kube-scheduler,Account/kube-system/*", LEADER,
     "coordination.k8s.io", "leases", "*", NULL, false},
    {"endpoint-controller", "workload-high", 150, "ByUser",
     "User/system:kube-controller-manager,Account/kube-system/endpoint-controller,"
     "Account/kube-system/endpointslice-controller,"
     "Account/kube-system/endpointslicemirroring-controller",
     LEADER, "", "endpoints", "*", NULL, false},
    {"workload-leader-election", "leader-election", 200, "ByUser", "Account/kube-system/*", LEADER,
     "", "endpoints,configmaps", "*", NULL, false},
    {"workload-leader-election", "leader-election", 200, "ByUser", "Account/kube-system/*", LEADER,
     "coordination.k8s.io", "leases", "*", NULL, false},
    {"system-node-high", "node-high", 400, "ByUser", "Group/system:nodes", "*", "",
     "nodes,nodes/status", "*", NULL, true},
    {"system-node-high", "node-high", 400, "ByUser", "Group/system:nodes", "*",
     "coordination.k8s.io", "leases", "*", NULL, false},
    {"system-nodes", "system", 500, "ByUser", "Group/system:nodes", ALL_KIND, "*", true},
    {"kube-controller-manager", "workload-high", 800, "ByNamespace",
     "User/system:kube-controller-manager", ALL_KIND, "*", true},
    {"kube-scheduler", "workload-high", 800, "ByNamespace", "User/system:kube-scheduler", ALL_KIND,
     "*", true},
    {"kube-system-service-accounts", "workload-high", 900, "ByNamespace", "Account/kube-system/*",
     ALL_KIND, "*", true},
    {"service-accounts", "workload-low", 9000, "ByUser", "Group/system:serviceaccounts", ALL_KIND,
     "*", true},
    {"global-default", "global-default", 9900, "ByUser", ANYBODY, ALL_KIND, "*", true},
};

static struct str *split(struct arena *a, const char *text, uint32_t *ret_n)
{
    uint32_t n = 1;
    struct str rest = str_z(text);
    for (const char *p = text; *p; p++)
        n += *p == ',';
    struct str *v = ARENA_NEW_N(a, struct str, n);
    for (uint32_t i = 0; i < n; i++)
        str_cut(&rest, ',', &v[i]);
    *ret_n = n;
    return v;
}

static struct api_flow_subject subject_of(struct arena *a, struct str text)
{
    struct str name = text, kind;
    str_cut(&name, '/', &kind);
    if (str_is(kind, "User")) {
        struct api_user_subject *u = ARENA_NEW(a, struct api_user_subject);
        u->name = name;
        return (struct api_flow_subject){.kind = STR("User"), .user = u};
    }
    if (str_is(kind, "Group")) {
        struct api_group_subject *g = ARENA_NEW(a, struct api_group_subject);
        g->name = name;
        return (struct api_flow_subject){.kind = STR("Group"), .group = g};
    }
    struct api_service_account_subject *s = ARENA_NEW(a, struct api_service_account_subject);
    str_cut(&name, '/', &s->namespace);
    s->name = name;
    return (struct api_flow_subject){.kind = STR("ServiceAccount"), .service_account = s};
}

static void add_resources(struct arena *a, const struct schema_row *row,
                          struct api_policy_rules_with_subjects *r)
{
    struct api_resource_policy_rule *grown =
        ARENA_NEW_N(a, struct api_resource_policy_rule, r->n_resource_rules + 1);
    for (uint32_t i = 0; i < r->n_resource_rules; i++)
        grown[i] = r->resource_rules[i];
    struct api_resource_policy_rule *p = &grown[r->n_resource_rules++];
    r->resource_rules = grown;
    p->verbs = split(a, row->verbs, &p->n_verbs);
    p->api_groups = split(a, row->groups, &p->n_api_groups);
    p->resources = split(a, row->resources, &p->n_resources);
    p->namespaces = split(a, row->namespaces, &p->n_namespaces);
    p->cluster_scope = row->cluster_scope;
}

static void annotate(struct arena *a, struct api_object_meta *m)
{
    kv_str_set(a, &m->annotations, &m->n_annotations, STR(FLOW_AUTOUPDATE), STR("true"));
}

static void schema_begin(struct arena *a, const struct schema_row *row, struct api_flow_schema *s)
{
    struct api_policy_rules_with_subjects *r = ARENA_NEW(a, struct api_policy_rules_with_subjects);
    uint32_t n;
    struct str *subjects = split(a, row->subjects, &n);
    annotate(a, &s->metadata);
    s->metadata.name = str_z(row->name);
    s->spec.priority_level_configuration.name = str_z(row->level);
    s->spec.matching_precedence = row->precedence;
    if (row->by) {
        s->spec.distinguisher_method = ARENA_NEW(a, struct api_flow_distinguisher_method);
        s->spec.distinguisher_method->type = str_z(row->by);
    }
    s->spec.rules = r;
    s->spec.n_rules = 1;
    r->subjects = ARENA_NEW_N(a, struct api_flow_subject, n);
    for (; r->n_subjects < n; r->n_subjects++)
        r->subjects[r->n_subjects] = subject_of(a, subjects[r->n_subjects]);
    if (row->paths) {
        struct api_non_resource_policy_rule *p = ARENA_NEW(a, struct api_non_resource_policy_rule);
        p->verbs = split(a, row->verbs, &p->n_verbs);
        p->non_resource_urls = split(a, row->paths, &p->n_non_resource_urls);
        r->non_resource_rules = p;
        r->n_non_resource_rules = 1;
    }
}

static void level_of(struct arena *a, const struct level_row *row,
                     struct api_priority_level_configuration *l)
{
    annotate(a, &l->metadata);
    l->metadata.name = str_z(row->name);
    l->spec.type = row->exempt ? STR("Exempt") : STR("Limited");
    if (row->exempt) {
        l->spec.exempt = ARENA_NEW(a, struct api_exempt_priority_level_configuration);
        l->spec.exempt->has_nominal_concurrency_shares = true;
        l->spec.exempt->has_lendable_percent = true;
        return;
    }
    struct api_limited_priority_level_configuration *d =
        ARENA_NEW(a, struct api_limited_priority_level_configuration);
    l->spec.limited = d;
    d->has_nominal_concurrency_shares = d->has_lendable_percent = true;
    d->nominal_concurrency_shares = row->shares;
    d->lendable_percent = row->lendable_pct;
    d->limit_response.type = row->queues ? STR("Queue") : STR("Reject");
    if (row->queues) {
        d->limit_response.queuing = ARENA_NEW(a, struct api_queuing_configuration);
        *d->limit_response.queuing = (struct api_queuing_configuration){
            .queues = row->queues, .hand_size = row->hand, .queue_length_limit = row->length};
    }
}

bool flow_is_mandatory(struct str name)
{
    return str_is(name, "exempt") || str_is(name, "catch-all");
}

void flow_defaults(struct arena *a, struct flow_defaults *ret)
{
    *ret = (struct flow_defaults){
        .levels = ARENA_NEW_N(a, struct api_priority_level_configuration, ARRAY_LEN(level_rows)),
        .schemas = ARENA_NEW_N(a, struct api_flow_schema, ARRAY_LEN(schema_rows))};
    for (; ret->n_levels < ARRAY_LEN(level_rows); ret->n_levels++)
        level_of(a, &level_rows[ret->n_levels], &ret->levels[ret->n_levels]);
    for (size_t i = 0; i < ARRAY_LEN(schema_rows); i++) {
        const struct schema_row *row = &schema_rows[i];
        if (!i || strcmp(row->name, schema_rows[i - 1].name) != 0)
            schema_begin(a, row, &ret->schemas[ret->n_schemas++]);
        if (row->resources)
            add_resources(a, row, ret->schemas[ret->n_schemas - 1].spec.rules);
    }
}
