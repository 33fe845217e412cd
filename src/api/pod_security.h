/* The Pod Security Standards: what a pod may ask for at each level, and how a namespace's labels
 * choose the level. Pure functions, any thread.
 *
 * A level is one of a version of Kubernetes: what a later version forbids or allows in addition
 * does not count for a namespace that names an earlier one. Texts are those a Kubernetes server
 * gives, since people search for them. Source: https://kubernetes.io/docs/concepts/security/
 * pod-security-standards, KEP-2579. */
#pragma once

#include "api/tables.gen.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#define POD_SECURITY_PREFIX "pod-security.kubernetes.io/"
#define POD_SECURITY_LATEST UINT32_MAX

enum pod_security_level {
    POD_SECURITY_PRIVILEGED,
    POD_SECURITY_BASELINE,
    POD_SECURITY_RESTRICTED,
    _POD_SECURITY_LEVEL_MAX,
};

struct pod_security {
    enum pod_security_level level;
    uint32_t minor; /* of v1.N, or POD_SECURITY_LATEST */
};

struct pod_security_policy {
    struct pod_security enforce, audit, warn;
};

/* The policy labels ask for: privileged where they say nothing, and warnings as strict as what is
 * enforced where they say nothing of them. A label that cannot be read adds a cause to err; then
 * what is enforced is restricted, and audit and warnings are privileged. */
void pod_security_policy(const struct kv_str *labels, uint32_t n, struct pod_security_policy *ret,
                         struct error *err);
bool pod_security_policy_is_privileged(const struct pod_security_policy *p); /* all of it */
bool pod_security_equal(struct pod_security a, struct pod_security b);
/* "restricted:latest", "baseline:v1.30" */
void pod_security_print(struct pod_security p, struct buf *b);

/* True when the pod is within the level. Else what it breaks is appended, "reason (detail), ..." to
 * details and "reason, ..." to reasons; either may be NULL. */
bool pod_security_check(struct pod_security p, const struct api_object_meta *m,
                        const struct api_pod_spec *s, struct buf *details, struct buf *reasons);
