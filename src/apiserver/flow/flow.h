/* Which level a request belongs to, and whose flow it is: FlowSchemas and
 * PriorityLevelConfigurations as tables to be matched.
 *
 * A finished table is never changed but for its counters; any thread may read it while it holds a
 * reference. A change of the objects makes a new one, and what was counted under a schema or a
 * level that is still there goes on in it. */
#pragma once

#include <stdatomic.h>

#include "apiserver/call.h"
#include "apiserver/flow/fair.h"

#define FLOW_LEVELS_MAX  256  /* heeded; each one costs every I/O thread some hundred bytes */
#define FLOW_SCHEMAS_MAX 1024 /* heeded; a request is compared with one after the other */
#define FLOW_WAITS       7    /* bounds of the histogram of waits */

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

struct flow_rule_subject {
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
    struct flow_rule_subject *subjects;
    uint32_t n_subjects;
    struct flow_target {
        struct flow_list verbs;
        struct flow_list groups, resources, namespaces; /* namespaces "*": any, not none */
        struct flow_list paths;                         /* instead: "/healthz", "/apis/..."* */
        bool cluster_scope;
    } * targets;
    uint32_t n_targets;
};

/* Of one schema and level, all I/O threads together; counted. */
struct flow_counts {
    _Atomic unsigned refs;
    _Atomic uint64_t dispatched, full, timed_out, cancelled;
    _Atomic uint64_t waits[FLOW_WAITS + 1], wait_us, run_us;
    _Atomic int64_t running, waiting, seats;
};

struct flow_schema {
    struct str name, uid;
    int32_t precedence;
    unsigned level; /* index in the table */
    enum flow_by by;
    struct flow_rule *rules;
    uint32_t n_rules;
    struct flow_counts *counts; /* a reference */
};

struct flow_level {
    struct str name, uid;
    struct fair_level_opts opts;
};

struct flow_table {
    _Atomic unsigned refs;
    struct arena arena;          /* owned; holds all below */
    struct flow_level *levels;   /* by name */
    struct flow_schema *schemas; /* by precedence, then name */
    unsigned n_levels, n_schemas;
};

struct flow_objects { /* borrowed */
    const struct api_priority_level_configuration **levels;
    const struct api_flow_schema **schemas;
    size_t n_levels, n_schemas;
};

/* Schemas that name no level are left out; the mandatory objects are always there, with their spec.
 * before (may be NULL): whose counters go on. */
struct flow_table *flow_table_new(const struct flow_objects *o, const struct flow_table *before);
/* What davit starts with. */
struct flow_table *flow_table_new_default(void);
struct flow_table *flow_table_ref(struct flow_table *t);
struct flow_table *flow_table_unref(struct flow_table *t); /* takes NULL; returns NULL */
/* Index of the schema; everything matches one: the last resort is the last schema. */
unsigned flow_classify(const struct flow_table *t, const struct flow_digest *d);
/* What makes flows of a schema differ. */
struct str flow_distinguisher(const struct flow_schema *s, const struct flow_digest *d);
