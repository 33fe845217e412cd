/* The priority levels and flow schemas a cluster starts with: Kubernetes' mandatory and suggested
 * ones, as rows of text ("a,b" is a list). What serves this process itself never comes this way:
 * its controllers and its scheduler call the core directly. */
#include "apiserver/flow.h"

#include "apiserver/limits.h"
#include "base/mem.h"

static const struct level_row {
    const char *name;
    unsigned shares, lendable_pct;
    unsigned hand, queue_length; /* together: how many calls of one flow may wait. 0: none waits */
    bool exempt;
} level_rows[] = {
    {"exempt", 0, 0, 0, 0, true},
    {"node-high", 40, 25, 6, 50, false},
    {"system", 30, 33, 6, 50, false},
    {"leader-election", 10, 0, 4, 50, false},
    {"workload-high", 40, 50, 6, 50, false},
    {"workload-low", 100, 90, 6, 50, false},
    {"global-default", 20, 50, 6, 50, false},
    {"catch-all", 5, 0, 0, 0, false},
};

#define LEADER "get,create,update"

static const struct schema_row {
    const char *name, *level;
    int32_t precedence;
    enum flow_by by;
    const char *subjects; /* "User/x,Group/y,Account/ns/name" */
    const char *verbs, *groups, *resources, *namespaces;
    const char *paths; /* NULL: the row is about resources alone */
    bool cluster_scope;
} schema_rows[] = {
#define EVERYTHING "*", "*", "*", "*", "*", true
    {"exempt", "exempt", 1, FLOW_BY_NOTHING, "Group/system:masters", EVERYTHING},
    {"probes", "exempt", 2, FLOW_BY_NOTHING,
     "Group/system:unauthenticated,Group/system:authenticated", "get", NULL, NULL, NULL,
     "/healthz,/readyz,/livez", false},
    {"system-leader-election", "leader-election", 100, FLOW_BY_USER,
     "User/system:kube-controller-manager,User/system:kube-scheduler,Account/kube-system/*", LEADER,
     "coordination.k8s.io", "leases", "*", NULL, false},
    {"endpoint-controller", "workload-high", 150, FLOW_BY_USER,
     "User/system:kube-controller-manager,Account/kube-system/endpoint-controller,"
     "Account/kube-system/endpointslice-controller,"
     "Account/kube-system/endpointslicemirroring-controller",
     LEADER, "", "endpoints", "*", NULL, false},
    {"workload-leader-election", "leader-election", 200, FLOW_BY_USER, "Account/kube-system/*",
     LEADER, "", "endpoints,configmaps", "*", NULL, false},
    {"system-node-high", "node-high", 400, FLOW_BY_USER, "Group/system:nodes", "*", "",
     "nodes,nodes/status", "*", NULL, true},
    {"system-node-high", "node-high", 400, FLOW_BY_USER, "Group/system:nodes", "*",
     "coordination.k8s.io", "leases", "*", NULL, false},
    {"system-nodes", "system", 500, FLOW_BY_USER, "Group/system:nodes", EVERYTHING},
    {"kube-controller-manager", "workload-high", 800, FLOW_BY_NAMESPACE,
     "User/system:kube-controller-manager", EVERYTHING},
    {"kube-scheduler", "workload-high", 800, FLOW_BY_NAMESPACE, "User/system:kube-scheduler",
     EVERYTHING},
    {"kube-system-service-accounts", "workload-high", 900, FLOW_BY_NAMESPACE,
     "Account/kube-system/*", EVERYTHING},
    {"service-accounts", "workload-low", 9000, FLOW_BY_USER, "Group/system:serviceaccounts",
     EVERYTHING},
    {"global-default", "global-default", 9900, FLOW_BY_USER,
     "Group/system:unauthenticated,Group/system:authenticated", EVERYTHING},
    {"catch-all", "catch-all", 10000, FLOW_BY_USER,
     "Group/system:unauthenticated,Group/system:authenticated", EVERYTHING},
};

static struct flow_list split(struct arena *a, const char *text)
{
    struct flow_list l = {0};
    if (!text)
        return l;
    uint32_t n = 1;
    for (const char *p = text; *p; p++)
        n += *p == ',';
    struct str rest = str_z(text);
    l.v = ARENA_NEW_N(a, struct str, n);
    for (; l.n < n; l.n++)
        str_cut(&rest, ',', &l.v[l.n]);
    return l;
}

static struct flow_subject subject_of(struct str text)
{
    struct flow_subject s = {.name = text};
    struct str kind;
    str_cut(&s.name, '/', &kind);
    s.kind = str_is(kind, "User")    ? FLOW_USER
             : str_is(kind, "Group") ? FLOW_GROUP
                                     : FLOW_SERVICE_ACCOUNT;
    if (s.kind == FLOW_SERVICE_ACCOUNT)
        str_cut(&s.name, '/', &s.ns);
    return s;
}

static void rule_of(struct arena *a, const struct schema_row *row, struct flow_rule *r)
{
    struct flow_list subjects = split(a, row->subjects);
    struct flow_target *t = ARENA_NEW(a, struct flow_target);
    r->subjects = ARENA_NEW_N(a, struct flow_subject, subjects.n);
    for (uint32_t i = 0; i < subjects.n; i++)
        r->subjects[r->n_subjects++] = subject_of(subjects.v[i]);
    *t = (struct flow_target){.verbs = split(a, row->verbs),
                              .groups = split(a, row->groups),
                              .resources = split(a, row->resources),
                              .namespaces = split(a, row->namespaces),
                              .paths = split(a, row->paths),
                              .cluster_scope = row->cluster_scope};
    r->targets = t;
    r->n_targets = 1;
}

static unsigned level_index(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(level_rows); i++)
        if (strcmp(level_rows[i].name, name) == 0)
            return i;
    ASSERT(!"a schema names a level that is not there");
    return 0;
}

struct flow_table *flow_table_new_default(void)
{
    struct flow_table *t = NEW(struct flow_table);
    for (unsigned i = 0; i < ARRAY_LEN(level_rows); i++) {
        const struct level_row *row = &level_rows[i];
        t->levels[t->n_levels++] =
            (struct flow_level){.name = str_z(row->name),
                                .opts = {.exempt = row->exempt,
                                         .queues = row->hand > 0,
                                         .shares = row->shares,
                                         .lendable_pct = row->lendable_pct,
                                         .borrow_limit_pct = -1,
                                         .flow_max = row->hand * row->queue_length,
                                         .waiting_max = API_WAITING_MAX}};
    }
    for (unsigned i = 0; i < ARRAY_LEN(schema_rows); i++) {
        const struct schema_row *row = &schema_rows[i];
        struct flow_schema *s = t->n_schemas ? &t->schemas[t->n_schemas - 1] : NULL;
        if (!s || !str_eqz(s->name, row->name)) {
            s = &t->schemas[t->n_schemas++];
            *s = (struct flow_schema){.name = str_z(row->name),
                                      .precedence = row->precedence,
                                      .level = level_index(row->level),
                                      .by = row->by};
            s->rules = ARENA_NEW_N(&t->arena, struct flow_rule, ARRAY_LEN(schema_rows) - i);
        }
        rule_of(&t->arena, row, &s->rules[s->n_rules++]);
    }
    flow_table_sort(t);
    return t;
}
