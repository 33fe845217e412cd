/* The sandbox of a pod: its namespaces, held by bind mounts (no process), /dev/shm, and the files
 * of /etc that the agent writes. Everything lies in one directory, so it is found again and undone
 * without other memory:
 *
 *   POD/ns/{net,ipc,uts,pid}   nsfs bind mounts
 *   POD/ns/holder              "PID STARTTIME" of process 1 of a shared process namespace
 *   POD/shm                    tmpfs
 *   POD/etc/{hosts,hostname,resolv.conf}
 *
 * All functions block (milliseconds) and run on any thread of the pool; they are idempotent, so
 * that they can be repeated after we were killed in the middle. */
#pragma once

#include "api/types.gen.h"
#include "base/error.h"

struct sandbox_opts {
    const char *pod_dir;
    const struct api_pod *pod;
    const char *hostname;
    const char *holder_path; /* file of the holder program, made by sandbox_install_holder */
    const char *cgroup_path; /* the pod's; the holder goes there */
    const struct cgroups *cgroups;
};
int sandbox_make(const struct sandbox_opts *o, struct error *err) MUST_CHECK;
/* The network must be detached and the containers gone. */
int sandbox_destroy(const char *pod_dir) MUST_CHECK;
/* Writes the holder program there when it is not. */
int sandbox_install_holder(const char *path, struct error *err) MUST_CHECK;
/* True when all namespaces the pod needs are there (false after a reboot). */
bool sandbox_exists(const char *pod_dir, const struct api_pod *pod);

/* The pod's host name: spec.hostname or its name, cut to 63 bytes, with its domain behind it when
 * setHostnameAsFQDN; spec.hostnameOverride before all; the node's name with hostNetwork.
 * -ENAMETOOLONG: with the domain it is longer than the kernel takes; ret is then without. */
#define SANDBOX_HOSTNAME_BYTES 65
int sandbox_hostname(const struct api_pod *pod, const char *node_name, struct str cluster_domain,
                     char ret[static SANDBOX_HOSTNAME_BYTES]) MUST_CHECK;

/* Contents of /etc/hosts and /etc/resolv.conf. dns may be absent: the node's resolv.conf is used.
 */
struct buf;
void sandbox_hosts(const struct api_pod *pod, const char *hostname, struct str cluster_domain,
                   const struct str *ips, size_t n_ips, struct buf *out);
void sandbox_resolv_conf(const struct api_pod *pod, struct str dns, struct str cluster_domain,
                         struct str host_resolv_conf, struct buf *out);
/* Writes both and hostname below pod_dir/etc. */
int sandbox_write_etc(const char *pod_dir, const struct api_pod *pod, const char *hostname,
                      const char *host_resolv_path /* NULL: /etc/resolv.conf */, struct str dns,
                      struct str cluster_domain, const struct str *ips, size_t n_ips,
                      struct error *err) MUST_CHECK;
