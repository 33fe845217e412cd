/* Which level a request belongs to, and whose flow it is: FlowSchemas and
 * PriorityLevelConfigurations of Kubernetes as tables to be matched. Plain data; any thread may
 * read a finished table. */
#pragma once

#include "apiserver/call.h"
#include "apiserver/fair.h"

#define FLOW_LEVELS_MAX  64
#define FLOW_SCHEMAS_MAX 256

/* What is known of a request before anything is done for it. */
struct flow_digest {
    const struct api_user *user;
    struct str verb;                             /* of RBAC */
    struct str group, resource, subresource, ns; /* ns empty: cluster scope, or all */
    struct str path;                             /* present: a path, not a resource */
};

enum flow_by {
    FLOW_BY_NOTHING, /* the schema is one flow */
    FLOW_BY_USER,
    FLOW_BY_NAMESPACE,
};

struct flow_subject {
    enum flow_subject_kind {
        FLOW_USER,
        FLOW_GROUP,
        FLOW_SERVICE_ACCOUNT,
    } kind;
    struct str name, ns; /* name "*": all */
};

struct flow_list { /* "*": everything */
    struct str *v;
    uint32_t n;
};

struct flow_rule {
    struct flow_subject *subjects;
    uint32_t n_subjects;
    struct flow_target {
        struct flow_list verbs;
        struct flow_list groups, resources, namespaces; /* namespaces "*": any, not none */
        struct flow_list paths;                         /* instead: "/healthz", "/apis/..."* */
        bool cluster_scope;
    } * targets;
    uint32_t n_targets;
};

struct flow_schema {
    struct str name;
    int32_t precedence;
    unsigned level; /* index in the table */
    enum flow_by by;
    struct flow_rule *rules;
    uint32_t n_rules;
};

struct flow_table {
    struct arena arena; /* owned; holds all below */
    struct flow_level {
        struct str name;
        struct fair_level_opts opts;
    } levels[FLOW_LEVELS_MAX];
    struct flow_schema schemas[FLOW_SCHEMAS_MAX]; /* by precedence, then name */
    unsigned n_levels, n_schemas;
};

/* The mandatory and suggested objects of Kubernetes, as davit starts with them. */
struct flow_table *flow_table_new_default(void);
struct flow_table *flow_table_free(struct flow_table *t); /* takes NULL */
void flow_table_sort(struct flow_table *t);
/* Index of the schema; everything matches one: the last resort is the last schema. */
unsigned flow_classify(const struct flow_table *t, const struct flow_digest *d);
/* What makes flows of a schema differ. */
struct str flow_distinguisher(const struct flow_schema *s, const struct flow_digest *d);
