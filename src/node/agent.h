/* Inside of the agent: what its files share. Nothing outside of src/node includes this.
 *
 * One loop thread owns all of it; pool jobs get copies or counted references and touch nothing
 * else.
 *
 *   struct node        the agent
 *     struct pod       one per pod the agent knows (in the API, or only on disk)
 *       struct ctr     one per container of its spec: init, app and ephemeral ones
 *
 * pod_kick(pod) asks for pod_sync(pod) in this turn of the loop: it looks at what should be and
 * what is, and starts whatever is next. Every completion just notes its outcome and kicks. */
#pragma once

#include "api/object.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/sm.h"
#include "client/cache.h"
#include "client/client.h"
#include "node/cgroup.h"
#include "node/conntrack.h"
#include "node/env.h"
#include "node/image/image.h"
#include "node/node.h"
#include "node/runtime.h"
#include "node/sandbox.h"
#include "node/security.h"
#include "rt/rt.h"
#include "rt/tls.h"

#define LOG_BYTES_MAX_DEFAULT (10u << 20)
#define LOG_FILES_MAX_DEFAULT 5
#define PODS_MAX_DEFAULT      110
#define MESSAGE_BYTES_MAX     4096 /* of a termination message, as kubelets cut it */

struct pod;
struct ctr;
struct node_api;
struct registration;
struct events;
struct sources;
struct stats_history;

struct node {
    unsigned refs;         /* answers under way that will look for their pod here */
    bool gone;             /* node_free was called */
    struct rt *rt;         /* borrowed */
    struct client *client; /* borrowed */
    struct node_opts opts; /* strings below are owned copies */
    char *name, *dir, *run_dir, *pods_dir, *holder_path;
    struct arena strings; /* copies of opts' strings */
    struct str host_ip;
    struct cgroups cgroups;
    struct runtime runtime;
    struct image_store *images;
    int64_t memory_bytes, milli_cpu, storage_bytes; /* of the machine */
    int64_t alloc_memory_bytes, alloc_milli_cpu;
    struct map pods; /* uid -> struct pod */
    struct map ctrs; /* container id -> struct ctr, current attempts */
    struct client_cache *pods_cache, *services_cache;
    bool services_own; /* else the network's */
    bool waited;       /* long enough for the server, if it was not heard of */
    struct rt_timer patience;
    struct sources *sources;
    struct events *events;
    struct registration *reg;
    struct fence *fence;
    struct node_api *api;
    struct rt_timer logs_timer, gc_timer;
    struct conntrack_watch conntrack;
    struct rt_work gc_work;
    bool gc_running;
    uint64_t next_exec;
    bool stopping, adopted, started;
    bool stop_pods;
    struct rt_timer stop_timer;
    /* shutdown.c */
    bool shutting_down;
    nsec_t shutdown_ordinary_end, shutdown_end; /* of the grace of pods; of critical ones */
    struct rt_timer shutdown_timer;
    void (*on_shut_down)(void *arg);
    void *shutdown_arg;
    nsec_t stop_deadline;
    void (*on_stopped)(void *arg);
    void *stop_arg;
};

/* An answer that may come after node_free holds the node: it then finds no pod, and the last one
 * frees the shell. */
static inline struct node *node_hold(struct node *n)
{
    n->refs++;
    return n;
}
static inline void node_release(struct node *n)
{
    if (--n->refs == 0 && n->gone)
        free(n);
}

/* ---- containers ---- */

enum ctr_kind {
    CTR_INIT,
    CTR_SIDECAR, /* init container with restartPolicy Always */
    CTR_APP,
    CTR_EPHEMERAL,
};

enum ctr_state {
    CTR_WAITING,   /* not there; `why` says why in a kubelet's words */
    CTR_PULLING,   /* image_ensure is under way */
    CTR_PREPARING, /* pool: root file system, mounts, config.json */
    CTR_CREATING,  /* conmon and crun create */
    CTR_STARTING,  /* its program is let go */
    CTR_RUNNING,
    CTR_STOPPING, /* preStop, SIGTERM, SIGKILL */
    CTR_EXITING,  /* ended; pool: what is left is read and cleaned away */
    CTR_EXITED,
    _CTR_STATE_MAX,
    _CTR_STATE_INVALID = -EINVAL,
};

/* How one attempt ended. */
struct ctr_end {
    bool set;
    int code, signal;
    usec_t started, finished;
    char *reason, *message, *id; /* owned */
};

/* What is on disk of a container (record.c). */
struct ctr_record {
    unsigned attempt;       /* of the container now or last there; 0: none yet */
    unsigned restarts;      /* restartCount */
    char *phase;            /* "preparing" "creating" "starting" "running" "exited"; owned */
    char *image, *image_id; /* owned */
    char *stop_signal;      /* of the image; owned */
    usec_t created, started;
    int64_t backoff_s; /* delay before the next restart */
    bool hooked;       /* postStart is over */
    bool was_started;  /* startup probe passed, for this attempt */
    bool ready;        /* the last verdict of the readiness probe */
    int pid;
    uint64_t pid_start;
    struct ctr_end end;  /* of the current attempt */
    struct ctr_end last; /* of the one before */
};

struct probe;
enum { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, _PROBE_MAX };

struct ctr {
    struct sm sm; /* enum ctr_state */
    struct pod *pod;
    enum ctr_kind kind;
    unsigned index; /* in its list of the spec */
    char *name;
    char id[40]; /* of the current attempt */
    char *dir;   /* POD/c/NAME */
    struct ctr_record rec;
    /* Resources its cgroup has, or will have when it is made; NULL: none was. In in_force_arena. */
    struct api_resource_requirements *in_force;
    struct arena in_force_arena;
    /* waiting */
    char *why, *why_message; /* owned: reason and message while CTR_WAITING */
    nsec_t not_before;       /* rt_now of the earliest next try; 0: at once */
    nsec_t pull_backoff, config_backoff;
    bool image_failed;
    struct rt_timer timer; /* wakes pod_sync at not_before; in CTR_STOPPING: the next step */
    /* image */
    struct image *image; /* counted; pinned by holder UID.NAME */
    bool image_fresh;    /* ensured for the coming attempt */
    /* start */
    struct prepare *prepare; /* pool job under way */
    char *bpf_file;          /* owned; where the compiled seccomp filter is kept; NULL: none */
    /* run */
    struct rt_process *conmon_watch;
    bool ready, started; /* as the probes say */
    bool hook_running;
    struct action *hook;
    struct probe *probes[_PROBE_MAX];
    nsec_t running_since;
    /* stop */
    int stop_stage;       /* enum in ctr_stop.c */
    nsec_t stop_deadline; /* rt_now of SIGKILL */
    char *stop_reason, *stop_message;
    bool stop_for_failure; /* liveness: it will be restarted */
    bool exit_known;
    int exit_code;
    struct cleanup *cleanup; /* pool job under way */
    bool oom;
    uint64_t log_bytes_seen;
};

/* ---- pods ---- */

enum pod_state {
    POD_NEW,          /* known, nothing done */
    POD_ADOPTING,     /* pool: what did the former agent leave? */
    POD_SETTING_UP,   /* sandbox, network, volumes */
    POD_RUNNING,      /* sandbox is there; containers come and go */
    POD_STOPPING,     /* containers are being stopped */
    POD_TEARING_DOWN, /* network, mounts, cgroup */
    POD_DONE,         /* nothing of it is left but logs, status and directory */
    POD_REMOVING,     /* pool: its directory */
    _POD_STATE_MAX,
    _POD_STATE_INVALID = -EINVAL,
};

enum setup_stage {
    SETUP_NONE,
    SETUP_SANDBOX, /* pool */
    SETUP_NET,
    SETUP_ETC, /* pool */
    SETUP_DONE,
};

struct pod {
    struct sm sm; /* enum pod_state */
    struct node *node;
    char *uid, *ns, *name, *dir;
    char cgroup[CGROUP_PATH_MAX];
    char hostname[SANDBOX_HOSTNAME_BYTES];
    struct object *obj; /* counted; the newest seen */
    bool in_api;        /* it is in the cache (or was when we last knew) */
    bool refused;       /* over before we knew it: the API's status of it is not touched */
    struct ctr **ctrs;  /* init in order, then app, then ephemeral */
    unsigned n_ctrs, n_init, n_app;
    struct rt_task sync_task;
    struct rt_timer timer; /* active deadline, retries of setup */
    /* sandbox */
    enum setup_stage setup;
    struct rt_work work; /* the one pool job of the pod's own */
    bool working;
    nsec_t setup_backoff, setup_not_before;
    char *setup_error;
    struct str ips[NODE_NET_IPS_MAX];
    size_t n_ips;
    struct arena ips_arena;
    bool attached, net_busy;
    bool was_up; /* its sandbox was complete once: what is repaired after a restart of ours is not
                    news */
    usec_t start_time;
    /* volumes */
    struct volumes *volumes;
    /* resizing (resize.c) */
    struct object *wanted; /* counted; NULL: obj has the resources the API asks for */
    bool resize_known;     /* looked at for the first time */
    bool resize_look;      /* `wanted` is to be decided on */
    bool resize_settled;   /* all that is allocated is in force, and stays so until more is */
    bool resizing;         /* allocated, and not all of it in force */
    bool resize_busy;      /* a pool job writes cgroups */
    bool resize_told;      /* the API may have conditions of a resize */
    const char *pending;   /* why `wanted` is not allocated (static), with its message (owned) */
    char *pending_message, *resize_error;
    struct cgroup_limits limits; /* of the pod's own cgroup */
    nsec_t resize_backoff;
    struct rt_timer resize_timer;
    /* ending */
    bool terminating; /* containers are to be stopped for good */
    char *end_phase;  /* "Failed" or "Succeeded" once decided; owned */
    char *end_reason, *end_message;
    /* fencing (fence.c) */
    bool fence_marked, fence_busy;
    uint64_t fence_epoch; /* in which the server said it may run; 0: not yet */
    int64_t grace_s;      /* of the running termination */
    nsec_t grace_deadline;
    bool grace_set;
    bool delete_sent;
    nsec_t delete_not_before;
    /* status (pod_status.c) */
    bool status_dirty, status_busy;
    struct rt_task status_task;
    struct rt_timer status_timer;
    char *status_sent; /* JSON of the last one acknowledged */
    char *status_sending;
    struct kv_timestamp cond_times[8]; /* last transitions: key is a static condition name, value */
    struct str cond_values[8];
    nsec_t status_backoff;
};

static inline const struct api_pod *pod_msg(const struct pod *p)
{
    return p->obj->msg;
}

/* pod.c */
struct pod *pod_new(struct node *n, struct object *obj, bool in_api);
struct pod *pod_free(struct pod *p);
void pod_kick(struct pod *p);
void pod_update(struct pod *p, struct object *obj); /* a newer object; NULL: gone from the API */
void pod_terminate(struct pod *p, const char *phase, const char *reason, const char *message);
bool pod_has_running(const struct pod *p);
int64_t pod_grace_s(const struct pod *p);
struct str pod_restart_policy(const struct pod *p);
struct ctr *pod_find_ctr(const struct pod *p, struct str name);
const struct api_container *ctr_spec(const struct ctr *c);
extern const struct sm_state pod_states[_POD_STATE_MAX];
void pod_save(struct pod *p);        /* pod.json and sandbox.json */
int pod_save_object(struct pod *p);  /* pod.json; a failure is in the log */
int pod_load_sandbox(struct pod *p); /* from sandbox.json */

/* pod_setup.c */
struct str pod_cluster_domain(const struct node *n);
void pod_setup_step(struct pod *p);
void pod_teardown(struct pod *p);
void pod_remove_dir(struct pod *p);

/* pod_adopt.c */
void pod_adopt(struct pod *p);
void node_adopt_disk(struct node *n); /* pods on disk become struct pods */

/* ctr.c */
struct ctr *ctr_new(struct pod *p, enum ctr_kind kind, unsigned index);
struct ctr *ctr_free(struct ctr *c);
void ctr_want(struct ctr *c); /* it should run: goes on with whatever is next */
void ctr_wait(struct ctr *c, const char *reason,
              const char *message); /* to CTR_WAITING, or its new words */
void ctr_became_running(struct ctr *c, bool adopted);
void ctr_start_again(struct ctr *c); /* adoption: created, and perhaps not started */
void ctr_prefetch(struct ctr *c);    /* the image may come before its turn */
extern const struct sm_state ctr_states[_CTR_STATE_MAX];
void ctr_move(struct ctr *c, enum ctr_state s);
static inline enum ctr_state ctr_state(const struct ctr *c)
{
    return (enum ctr_state)c->sm.state;
}
bool ctr_is_busy(const struct ctr *c);   /* something of it exists or is being made */
bool ctr_succeeded(const struct ctr *c); /* CTR_EXITED with code 0 */
struct fs_path;
struct fs_path ctr_bundle(const struct ctr *c);
struct fs_path ctr_log_path(const struct ctr *c, unsigned attempt);
void ctr_make_id(struct ctr *c);

/* ctr_prepare.c */
typedef void (*ctr_prepared_fn)(struct ctr *c, int r, const struct error *err);
void ctr_prepare(struct ctr *c, ctr_prepared_fn fn);
void ctr_keep_seccomp(struct ctr *c);   /* after crun create: keeps the filter it compiled */
void prepare_detach(struct prepare *p); /* its container is gone */
/* The process object for an exec into c, from what its config.json says. */
int ctr_exec_process(struct ctr *c, const struct str *argv, size_t n_argv, bool tty,
                     const char *path, struct error *err) MUST_CHECK;
/* Starts an exec in a running container. */
struct runtime_exec *ctr_exec(struct ctr *c, const struct str *argv, size_t n_argv, bool tty,
                              bool stdin_open, const struct runtime_exec_callbacks *cb, void *arg,
                              struct error *err);

/* ctr_stop.c */
/* Stops it: preStop, SIGTERM, after grace SIGKILL. Called again with less grace it hurries. */
void ctr_stop(struct ctr *c, int64_t grace_s, const char *reason, const char *message,
              bool for_failure);
void ctr_stop_tick(struct ctr *c);         /* in CTR_STOPPING: the next step when it is due */
void ctr_on_exit(struct ctr *c, int code); /* conmon says it has ended */
void ctr_trash(
    struct ctr *c); /* removes what attempts before the current one, and ended ones, left on disk */
void cleanup_detach(struct cleanup *c);
void ctr_conmon_watch(struct ctr *c);
void ctr_end_clear(struct ctr_end *e);

/* ctr_record.c */
void ctr_save(struct ctr *c);
int ctr_load(struct ctr *c); /* 0, -ENOENT */
void ctr_record_fini(struct ctr_record *r);

/* pod_status.c */
/* The API says otherwise of its readiness than we did (the node was taken for dead): it will be
 * said again. */
void pod_status_check(struct pod *p);
void pod_status_dirty(struct pod *p);
void pod_status_stop(struct pod *p);
/* Builds it into the arena: also for /pods of the node's API. */
void pod_status_build(struct pod *p, struct arena *a, struct api_pod_status *ret);
struct str pod_phase(const struct pod *p);
bool pod_status_settled(const struct pod *p); /* what the API has is what is */

/* action.c: what probes and hooks do */
enum action_result {
    ACTION_OK,
    ACTION_WARN, /* http redirect to elsewhere: counts as ok */
    ACTION_FAILED,
    ACTION_ERROR, /* it could not be tried */
};
struct action;
typedef void (*action_fn)(void *arg, enum action_result r, struct str output);
struct action_opts {
    const struct api_exec_action *exec;
    const struct api_http_get_action *http_get;
    const struct api_tcp_socket_action *tcp_socket;
    const struct api_grpc_action *grpc;
    const struct api_sleep_action *sleep;
    nsec_t timeout;
    bool is_probe; /* user agent, exec without waiting for output */
};
struct action *action_start(struct ctr *c, const struct action_opts *o, action_fn fn, void *arg);
struct action *action_cancel(struct action *a);

/* probe.c */
void probes_start(struct ctr *c);
void probes_stop(struct ctr *c);

/* volumes.c */
struct volumes *volumes_new(struct pod *p);
struct volumes *volumes_free(struct volumes *v);
void volumes_sync(struct pod *p); /* something they are made from may have changed */
/* 1 all there; 0 not yet; <0 failed for now (volumes_error says why). */
int volumes_ready(struct pod *p);
const char *volumes_error(struct pod *p);
int volumes_destroy(const char *pod_dir); /* unmounts; pool */
/* Host path of a volume by its name. 0 or -ENOENT. */
int volume_host_path(const struct api_pod *pod, const char *pod_dir, struct str name,
                     struct fs_path *ret) MUST_CHECK;
bool volume_read_only(const struct api_pod *pod, struct str name); /* by its kind */
void volumes_detach(struct pod *p);                                /* stops timers and watches */

/* sources.c: ConfigMaps and Secrets that pods refer to, each watched alone */
/* The agent has started and its server is not there: pods that ran are started from what is known.
 */
bool node_server_away(const struct node *n);

struct sources *sources_new(struct node *n);
struct sources *sources_free(struct sources *s);
void sources_closing(struct sources *s); /* the agent ends: what is on disk stays */
/* Pods of the last run have registered: what is on disk for none of them goes. */
void sources_sweep(struct sources *s);
/* Pods register for all they refer to; changes kick them. */
void sources_register(struct sources *s, struct pod *p);
void sources_unregister(struct sources *s, struct pod *p);
/* 1, 0 or -EAGAIN as env_ctx.lookup. */
int sources_get(struct sources *s, int kind_id, struct str ns, struct str name,
                struct object **ret);

/* events.c */
struct events *events_new(struct node *n);
struct events *events_free(struct events *e);
#define EVENT_NORMAL  "Normal"
#define EVENT_WARNING "Warning"
void event_pod(struct pod *p, const char *type, const char *reason, const char *fmt, ...)
    PRINTF(4, 5);
void event_ctr(struct ctr *c, const char *type, const char *reason, const char *fmt, ...)
    PRINTF(4, 5);
void event_node(struct node *n, const char *type, const char *reason, const char *fmt, ...)
    PRINTF(4, 5);

/* register.c */
struct registration *registration_new(struct node *n);
struct registration *registration_free(struct registration *r);
void registration_start(struct registration *r);
void registration_stop(struct registration *r);   /* no more heartbeats */
void registration_report(struct registration *r); /* the status now, if it has changed */
void node_read_machine(struct node *n);

/* shutdown.c */
#define NODE_SHUTDOWN_REASON  "Terminated"
#define NODE_SHUTDOWN_MESSAGE "Pod was terminated in response to imminent node shutdown."
void node_shutdown_tick(void *node);
/* A grace period, cut to what is left for the pod. */
int64_t node_shutdown_grace_s(const struct pod *p, int64_t grace_s);

/* api.c */
int node_api_start(struct node *n, struct error *err) MUST_CHECK;
struct node_api *node_api_free(struct node_api *a);
uint16_t node_api_listen_port(const struct node_api *a);

/* logrotate.c */
void logs_start(struct node *n);
void logs_stop(struct node *n);

/* Small helpers. */
static inline void set_text(char **to, const char *text) /* owned copy; NULL clears */
{
    char *old = *to;
    *to = text ? strdup(text) : NULL;
    free(old);
}
int env_ctx_of(struct ctr *c, struct env_ctx *ret); /* ctr_prepare.c */
void env_ctx_of_pod(struct pod *p, struct env_ctx *ret);
