/* A whole cluster in one process on virtual time: a server (store on a durable "disk", API server,
 * controllers, scheduler) that may crash and come back, hollow nodes and a user behind links that
 * lose and delay, and the checkers of what must always hold. One seed, one history. */
#pragma once

#include "apiserver/apiserver.h"
#include "controllers/controller.h"
#include "link.h"
#include "node/hollow.h"
#include "rt/sim.h"
#include "scheduler/scheduler.h"
#include "store/store_mem.h"

#define NODES_MAX 12

struct world;
struct machines;
struct guard;

struct world_opts {
    uint64_t seed;
    unsigned nodes;
    nsec_t start_delay; /* of pods */
    bool trace;
    unsigned zones; /* nodes are spread over so many; 0: they have no zone */
    bool skewed;    /* the nodes' clocks run at other rates than the server's, by up to 1 % */
    nsec_t grace;   /* 0: the default */
    bool joins;     /* machines may join (machine.h): the server signs certificates */
};

struct world {
    struct world_opts opts;
    struct rt *rt;
    uint64_t random;
    /* the server */
    struct store_disk *disk;
    struct store *store;
    struct apiserver *api;
    struct client *core_client;
    struct client_shared *shared;
    struct controllers *controllers;
    struct scheduler *scheduler;
    unsigned crashes;
    /* nodes and user */
    struct link_faults faults;
    struct client *node_links[NODES_MAX];
    struct hollow *nodes[NODES_MAX];
    bool node_dead[NODES_MAX];
    struct machines *machines; /* NULL: none can join */
    struct client *user;       /* a link without loss of its own */
    struct link_faults user_faults;
    struct checker *checker;
};

void world_init(struct world *w, const struct world_opts *opts);
void world_fini(struct world *w);
uint64_t world_random(struct world *w);
uint64_t world_below(struct world *w, uint64_t n);

void world_crash(struct world *w); /* the server dies at once; the disk keeps what was durable */
void world_boot(struct world *w);  /* and comes back */
/* If it is down, or must be opened again because the outcome of a commit is not known. */
void world_reopen(struct world *w);
void world_run(struct world *w, nsec_t span);
/* Steps until pred holds; aborts with a message when it does not within `timeout` of virtual time.
 */
void world_until(struct world *w, bool (*pred)(struct world *w), nsec_t timeout, const char *what);
_Noreturn void world_fail(struct world *w, const char *fmt, ...) PRINTF(2, 3);
#define WORLD_CHECK(w, cond, ...)                                                                  \
    do {                                                                                           \
        if (!(cond))                                                                               \
            world_fail((w), __VA_ARGS__);                                                          \
    } while (0)

/* ---- the user ---- */

/* Creates from YAML or JSON ('...' for "..."); retried until acknowledged. Remembered: it must
 * survive. */
void world_apply(struct world *w, enum kind_id kind, const char *json);
void world_merge(struct world *w, enum kind_id kind, const char *ns, const char *name,
                 const char *json);
void world_delete(struct world *w, enum kind_id kind, const char *ns, const char *name,
                  const char *propagation);
/* One attempt; what the server says: 0, -EBUSY (429), -ENOENT ..., -ECONNRESET. */
int world_evict(struct world *w, const char *ns, const char *name);
/* Durable state, or NULL (also while the server is down). */
struct object *world_get(struct world *w, enum kind_id kind, const char *ns, const char *name);

/* tokens.c: what the controllers sign with in every world. */
int tokens_sign(void *arg, const struct api_object_meta *account, struct str secret,
                struct arena *a, struct str *ret, struct error *err);

/* ---- checkers (check.c) ---- */

struct checker *checker_new(struct world *w);
struct checker *checker_free(struct checker *c);
void checker_attach(struct checker *c); /* the server is up: follow it */
void checker_detach(struct checker *c);
void checker_acknowledged(struct checker *c,
                          const struct object *o); /* a user's write was acknowledged */
void checker_forget(struct checker *c, enum kind_id kind, const char *ns, const char *name);
/* What must hold when all is quiet: caches equal the store, acknowledged writes are there. */
void checker_quiet(struct checker *c);
/* A container starts or stops on a node; one identity must never run twice. */
void checker_container(struct checker *c, const char *node, const struct api_object_meta *pod,
                       bool runs);
unsigned checker_running(struct checker *c); /* identities */
/* Bounds of a rollout, checked at every change of a pod: pods with label app=APP. max_total 0: off.
 */
void checker_bounds(struct checker *c, const char *app, unsigned min_ready, unsigned max_total);
unsigned checker_pods_ready(struct checker *c, const char *app);
unsigned checker_pods_alive(struct checker *c,
                            const char *app); /* neither ended nor being deleted */
/* Changes of the pod template of a Deployment seen so far. */
unsigned checker_template_changes(struct checker *c);
uint64_t checker_events_seen(struct checker *c);
struct guard *checker_guard(struct checker *c); /* guard.h */
