/* What of which requests is written to the audit log: a Policy of audit.k8s.io/v1. The first rule
 * that fits a request says how much; none: nothing. Immutable once parsed; any thread.
 * Source: https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/ */
#pragma once

#include "base/arena.h"
#include "base/error.h"

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_REQUEST_RESPONSE };
enum audit_stage {
    AUDIT_STAGE_RECEIVED = 1 << 0, /* RequestReceived */
    AUDIT_STAGE_STARTED = 1 << 1,  /* ResponseStarted: of what goes on for long */
    AUDIT_STAGE_COMPLETE = 1 << 2, /* ResponseComplete */
    AUDIT_STAGE_PANIC = 1 << 3,    /* Panic: known, and never reached */
};

struct audit_policy;

/* What a rule can speak of. path: of a request that is for no resource. */
struct audit_request {
    struct str user, verb, ns, group, resource, subresource, name, path;
    const struct str *groups;
    size_t n_groups;
    bool is_resource;
};

/* YAML or JSON. */
int audit_policy_parse(struct str text, struct audit_policy **ret, struct error *err) MUST_CHECK;
struct audit_policy *audit_policy_free(struct audit_policy *p); /* takes NULL; returns NULL */
/* What of a request is left out. */
struct audit_omit {
    unsigned stages;     /* enum audit_stage */
    bool managed_fields; /* metadata.managedFields of the objects */
};
enum audit_level audit_policy_match(const struct audit_policy *p, const struct audit_request *q,
                                    struct audit_omit *ret_omit);
const char *audit_level_text(enum audit_level l);
const char *audit_stage_text(enum audit_stage s);
