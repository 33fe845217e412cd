/* The node agent: keeps the pods that are bound to this node running, through crun and conmon, and
 * tells the API server what is. Everything here runs on one loop thread (opts.rt); blocking work
 * goes to the pool.
 *
 * How the composition root uses it:
 *   1. node_host_enter() first thing in the process, before any thread exists (it may change the
 * mount namespace of the process).
 *   2. node_new() with everything it needs, node_start(); on_ready is called once when the Node
 * object is registered and Ready was reported.
 *   3. node_stop(): stops watching, closes sockets, leaves the containers running (or stops all
 * pods first). node_free() after on_stopped. The agent may be killed at any moment instead of 3;
 * the next node_start re-adopts what runs. */
#pragma once

#include "base/error.h"
#include "client/client.h"
#include "node/net_ops.h"
#include "rt/rt.h"

struct node;
struct image_store;
struct rt_tls_server;

/* Makes the process fit to run crun. On a host with the hybrid cgroup layout it enters a private
 * mount namespace (kept by a bind mount under data_dir/node/ns so that the next agent of this
 * data_dir finds its mounts again) in which /sys/fs/cgroup/unified is not mounted; elsewhere does
 * nothing. Single-threaded process only. data_dir must be absolute. After it, mounts that the host
 * makes later are still seen (MS_SLAVE). */
int node_host_enter(const char *data_dir, struct error *err) MUST_CHECK;

#define NODE_ADDRESSES_MAX 8

struct node_opts {
    struct rt *rt;         /* borrowed */
    struct client *client; /* borrowed; the agent's identity system:node:NAME */
    const char *data_dir;  /* absolute; the agent uses data_dir/node */
    const char *node_name;
    struct str addresses[NODE_ADDRESSES_MAX]; /* InternalIP, the first is status.hostIP */
    size_t n_addresses;
    struct image_store *images;         /* borrowed */
    const struct node_net_ops *net_ops; /* borrowed; NULL: only hostNetwork pods can run */
    void *net;
    const char *pod_cidr; /* addresses of its pods, said in the Node; NULL: not said */

    /* The node's API (logs, exec, attach, port-forward, stats). NULL tls: not served. The context
     * must demand a client certificate of the cluster's CA; api_client_names are the certificate
     * names (CN) that may call. */
    struct rt_tls_server *api_tls; /* referenced */
    const char *api_listen_host;   /* "0.0.0.0", "127.0.0.1" */
    uint16_t api_listen_port; /* usually 10250; 0: any free port (reported in the Node object) */
    const char *const *api_client_names;
    size_t n_api_client_names;

    const char *const *labels; /* "key=value", added at registration */
    size_t n_labels;
    const char *const *taints; /* "key=value:Effect" */
    size_t n_taints;
    bool fence;             /* stop pods that are one of a kind when cut off (docs/FENCING.md) */
    unsigned pods_max;      /* 0: 110 */
    uint64_t log_bytes_max; /* 0: 10 MiB: a container's log is rotated above it */
    unsigned log_files_max; /* 0: 5: kept per container, the current one included */
    uint64_t reserved_milli_cpu, reserved_memory_bytes; /* taken off capacity for allocatable */
    const char *crun, *conmon;                          /* NULL: /usr/bin/crun, /usr/bin/conmon */
    const char *resolv_conf;  /* the node's name servers; NULL: /etc/resolv.conf */
    const char *service_host; /* KUBERNETES_SERVICE_HOST/PORT of pods; NULL: from the Service
                                 "kubernetes" */
    uint16_t service_port;

    void (*on_ready)(void *arg); /* may be NULL */
    void *arg;
};

/* Copies opts and its strings. Makes the directories, checks crun, conmon and cgroups. NULL with
 * err on failure. */
struct node *node_new(const struct node_opts *opts, struct error *err);
/* Registers the node, re-adopts containers, starts watching. Errors later are logged and retried.
 */
void node_start(struct node *n);
/* stop_pods: every pod is terminated with its grace period first (at most grace_max_s seconds; 0:
 * 30). on_stopped once, from the loop. */
void node_stop(struct node *n, bool stop_pods, int64_t grace_max_s, void (*on_stopped)(void *arg),
               void *arg);
/* The machine goes down: says that the node is not ready, fails its pods with their grace, critical
 * ones (priority from 2000000000 on) last and within the last `critical` of `grace`, and tells the
 * API. done once, from the loop; node_stop is still to be called. */
void node_shutdown(struct node *n, nsec_t grace, nsec_t critical, void (*done)(void *arg),
                   void *arg);
struct node *
node_free(struct node *n); /* after on_stopped or before node_start; takes NULL; returns NULL */

/* The port the node's API listens on; 0 before node_start or without api_tls. */
uint16_t node_api_port(const struct node *n);
/* Text dump of every pod and container for `davit debug`. */
struct buf;
void node_dump(const struct node *n, struct buf *out);

/* `davit down`: kills every container, conmon and holder of that data directory, unmounts
 * everything below data_dir/node, removes its cgroups, namespaces and run directory, then
 * data_dir/node itself when remove_data. No agent may be running. Blocks; single-threaded process
 * only (it may change the mount namespace). Nothing there: 0. */
int node_purge(const char *data_dir, bool remove_data, struct error *err) MUST_CHECK;

/* Calls emit for every pod the agent's directory knows (for `davit down` to tell net what to take
 * away). */
int node_list_pods(const char *data_dir, void (*emit)(void *ctx, struct str uid),
                   void *ctx) MUST_CHECK;
