/* Environment of containers: what the pod's spec says, resolved. Pure: objects come through a
 * lookup function. */
#pragma once

#include "api/object.h"
#include "base/arena.h"
#include "base/error.h"

/* Variables in order, the last value of a name in the place of its first. In an arena. */
struct env {
    struct arena *arena; /* borrowed */
    struct kv_str *v;
    size_t n, cap;
    uint32_t *slots; /* 2 * cap, by the hash of the name: index in v + 1, or 0 */
};
void env_set(struct env *e, struct str name, struct str value); /* views are copied */
const struct str *env_get(const struct env *e, struct str name);

/* $(NAME) is replaced by what get answers; "$$(X)" gives "$(X)"; unknown references stay as they
 * are. As Kubernetes' expansion does it. */
typedef const struct str *(*env_get_fn)(const void *ctx, struct str name);
struct str env_expand(struct arena *a, struct str text, env_get_fn get, const void *ctx);
const struct str *env_get_cb(const void *env, struct str name); /* env_get for env_expand */

/* What the pod's fields and environment are made from. */
struct env_ctx {
    const struct api_pod *pod; /* status is not looked at */
    struct str node_name, host_ip;
    const struct str *pod_ips;
    size_t n_pod_ips;
    int64_t node_milli_cpu, node_memory_bytes,
        node_storage_bytes; /* allocatable: what unset limits mean */
    /* ConfigMap or Secret (KIND_CONFIG_MAP, KIND_SECRET) of the pod's namespace. 1: *ret
     * (borrowed); 0: does not exist; -EAGAIN: not known yet. */
    int (*lookup)(void *arg, int kind_id, struct str name, struct object **ret);
    void *arg;
};

/* status of "metadata.name", "metadata.labels['x']", "status.podIP" ... -EINVAL with err for
 * others. */
int env_field(const struct env_ctx *c, struct str field_path, struct arena *a, struct str *ret,
              struct error *err) MUST_CHECK;
/* All labels or annotations as the downward API writes them to a file: key="value" lines. */
struct str env_format_map(const struct kv_str *v, uint32_t n, struct arena *a);
/* "limits.cpu", "requests.memory" ... divided and rounded up, as text. */
int env_resource(const struct env_ctx *c, const struct api_resource_field_selector *sel,
                 struct str container, struct arena *a, struct str *ret,
                 struct error *err) MUST_CHECK;

/* Variables of the services pods of namespace `ns` see: {NAME}_SERVICE_HOST and those of Docker's
 * links. Called once per Service, also those of other namespaces; only_kubernetes:
 * enableServiceLinks is false. */
void env_add_service(struct env *e, const struct api_service *svc, struct str ns,
                     bool only_kubernetes);

/* The container's own variables: envFrom, env, over `services`. out holds the services' ones
 * already. -EAGAIN: a source is not known yet; other errors are CreateContainerConfigError. Names
 * that are no environment names are skipped and appended to *skipped (comma separated; may be
 * NULL). */
int env_build(const struct env_ctx *c, const struct api_container *ctr, const struct env *services,
              struct env *out, struct buf *skipped, struct error *err) MUST_CHECK;
