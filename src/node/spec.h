/* The OCI runtime specification of one container, as crun reads it: from the pod's spec, the
 * image's configuration and what the agent prepared. Pure: everything that had to be looked up is
 * in the input. */
#pragma once

#include "api/types.gen.h"
#include "base/buf.h"
#include "base/error.h"
#include "node/cgroup.h"
#include "node/env.h"
#include "node/security.h"

struct spec_mount {
    const char *source; /* absolute host path */
    const char *dest;   /* absolute path in the container */
    bool read_only;
    const char *propagation; /* "rprivate", "rslave", "rshared" */
};

enum { SPEC_NS_NET, SPEC_NS_IPC, SPEC_NS_UTS, SPEC_NS_PID, _SPEC_NS_MAX };

struct spec_input {
    const struct api_pod *pod;
    const struct api_container *container;
    /* image */
    char *const *image_entrypoint, *const *image_cmd; /* NULL terminated; may be NULL */
    const char *image_working_dir;
    /* prepared */
    const char *rootfs; /* absolute */
    const char *hostname;
    const struct env *env;
    const struct user *user;
    const struct spec_mount *mounts;
    size_t n_mounts;
    const char *ns_path[_SPEC_NS_MAX]; /* namespace to join; NULL: a new one; "" for the host's */
    const char *cgroup_path;
    enum cgroup_layout layout;
    const char *seccomp_localhost_json; /* text of a Localhost profile; NULL: none */
    struct str devices; /* elements of linux.devices, for privileged containers; may be absent */
    struct str seccomp_bpf; /* the compiled RuntimeDefault profile for these caps, which spares crun
                             * the compiling; absent: not known. The profile itself is always given
                             * too: not every crun looks at this one. */
    uint64_t caps;
    int oom_score_adj;
    int64_t node_memory_bytes;
    int64_t pids_max; /* 0: no limit */
};

/* Appends config.json. -EINVAL with err when the container has nothing to run. */
int spec_build(const struct spec_input *in, struct buf *b, struct error *err) MUST_CHECK;
/* Appends the process object of an exec: like the container's, other arguments and terminal. */
void spec_build_exec(const struct spec_input *in, const struct str *argv, size_t n_argv, bool tty,
                     struct buf *b);
/* "RuntimeDefault", "Unconfined" or "Localhost" for this container; *ret_localhost: the profile's
 * name. */
struct str spec_seccomp_type(const struct api_pod *pod, const struct api_container *c,
                             struct str *ret_localhost);
