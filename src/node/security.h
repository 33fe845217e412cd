/* Who a container runs as and what it may do: capabilities, users, OOM score, QoS. Pure but for
 * reading the image's /etc/passwd and /etc/group. */
#pragma once

#include "api/types.gen.h"
#include "base/error.h"

/* Bits by kernel number. "NET_ADMIN" or "CAP_NET_ADMIN", any case; -EINVAL for unknown ones, "ALL"
 * is special and not a capability. */
int cap_parse(struct str name) MUST_CHECK;
const char *cap_name(int cap); /* "CAP_CHOWN" */
int cap_last(void);
/* Default set of container runtimes (14 of Docker's), changed by add and drop; privileged: all. */
uint64_t caps_of(const struct api_security_context *sc, struct error *err, int *ret_r);

/* Those this process has itself: nobody can be given more. */
uint64_t caps_own(void);

#define USER_GROUPS_MAX 64
struct user {
    int64_t uid, gid;
    uint32_t groups[USER_GROUPS_MAX];
    unsigned n_groups;
    char home[256]; /* "" when not in /etc/passwd */
    char name[64];
};
/* image_user is the image's USER ("", "name", "1000:1000"...), overridden by runAsUser/runAsGroup
 * of the container or pod. rootfs: directory in which /etc/passwd and /etc/group are looked up
 * without leaving it. Refuses what runAsNonRoot forbids (REASON_INVALID..., the message kubelets
 * give). */
int user_resolve(const char *rootfs, struct str image_user, const struct api_security_context *sc,
                 const struct api_pod_security_context *psc, struct str container, struct user *ret,
                 struct error *err) MUST_CHECK;

/* "Guaranteed", "Burstable", "BestEffort": by the requests and limits of the pod as a whole, or of
 * all containers. */
struct str pod_qos_class(const struct api_pod *pod);
int oom_score_adj(const struct api_pod *pod, const struct api_container *c,
                  int64_t node_memory_bytes);
/* What this process may set: without CAP_SYS_RESOURCE (davit inside a container or a CI machine) a
 * score cannot be lowered below our own, and crun would refuse to start. */
int oom_score_adj_allowed(int adj);

/* Amounts of one container; limits it does not have itself are those of its pod, where that has
 * resources of its own (pod NULL: they are not looked at). 0: not set. */
struct container_resources {
    int64_t cpu_request_milli, cpu_limit_milli, memory_request_bytes, memory_limit_bytes;
    bool has_cpu_limit, has_memory_limit;
};
void container_resources(const struct api_pod *pod, const struct api_container *c,
                         struct container_resources *ret);
/* The same as a list: r itself, or with limits of the pod, in the arena. */
struct api_resource_requirements resources_with_pod(const struct api_pod *pod,
                                                    const struct api_resource_requirements *r,
                                                    struct arena *a);
/* Sum over the pod as the scheduler counts it: max(sum of containers and sidecars, each init
 * container on top of the sidecars before it) plus overhead; limits count only when every container
 * has them. What the pod says as a whole replaces the sum, resource by resource. */
void pod_resources(const struct api_pod *pod, struct container_resources *ret);
/* 1000m -> 1024; never less than 2. */
int64_t cpu_shares_of_milli(int64_t milli);
#define CPU_PERIOD_US 100000
int64_t cpu_quota_of_milli(int64_t milli); /* at least 1000 us, as the kernel asks */
