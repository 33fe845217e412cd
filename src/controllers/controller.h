/* The controller framework. A controller is a row {name, what it watches and how that maps to keys,
 * reconcile}; registry.c lists them. reconcile is told a key and makes what is equal what should
 * be: it reads the shared caches and issues writes.
 *
 * Invariants
 *  - A key runs once at a time. A run is over when all its writes are answered and the caches of
 * the kinds written have seen them; only then may the key run again. So a run never acts on a view
 * older than its own writes, and nothing is created twice because a cache was late.
 *  - A create whose outcome is unknown is looked up by name before the run ends; hence names are
 * given by controller_create, not by the server.
 *  - A run that failed comes back with exponential back-off; one that was overtaken by a change
 * (409) does so without a word.
 *  - Cached objects are borrowed and valid while reconcile or a write's callback runs, not longer;
 * what must live longer is copied into the run's arena or referenced with reconcile_keep. One
 * loop's thread. */
#pragma once

#include "client/events.h"
#include "client/shared.h"

struct pkey;
struct cert_spec;
struct api_object_meta;
struct controllers; /* all of them, running */
struct controller;  /* one */
struct reconcile;   /* one run of one key */

/* Zero means the default named behind. Strings are copied. */
struct controllers_opts {
    const char *root_ca_pem; /* for ConfigMap kube-root-ca.crt; NULL: not published */
    nsec_t node_grace;       /* a node whose lease is not renewed for so long is Unknown; 40 s */
    nsec_t pod_gc_period;    /* 20 s */
    /* Nodes a second whose pods may be evicted, in a zone (node_zones.h). Negative: none. */
    double node_eviction_rate;            /* 0.1 */
    double secondary_node_eviction_rate;  /* 0.01; in a partial outage of a large zone */
    double unhealthy_zone_threshold;      /* 0.55 */
    int64_t large_cluster_size_threshold; /* 50; negative: 0 */
    int32_t terminated_pods_max;          /* terminated pods kept in the cluster; 12500 */
    /* Signs with the cluster's authority; malloc'ed PEM. NULL: certificate requests are left alone.
     */
    int (*sign)(void *arg, const struct pkey *key, const struct cert_spec *spec, char **ret_pem,
                struct error *err);
    /* Makes the token of an account that a Secret holds, in a. NULL: such Secrets are left alone. */
    int (*sign_token)(void *arg, const struct api_object_meta *account, struct str secret,
                      struct arena *a, struct str *ret, struct error *err);
    void *sign_arg; /* of both */
};

/* shared and its client are borrowed; shared is not yet started. */
struct controllers *controllers_new(struct client_shared *shared,
                                    const struct controllers_opts *opts);
/* After client_shared_start of shared; runs wait until all caches are synced. */
void controllers_start(struct controllers *cs);
/* Calls under way are forgotten: the client must be freed (client_shared_free, client_free) before
 * the loop runs again, so that none is answered. Takes NULL; returns NULL. */
struct controllers *controllers_free(struct controllers *cs);
bool controllers_idle(const struct controllers *cs); /* nothing queued for now, nothing under way */

/* ---- rows ---- */

/* An object changed (old NULL: added, new NULL: deleted): add the keys concerned. */
typedef void (*controller_map_fn)(struct controller *c, struct object *old, struct object *new);

#define CONTROLLER_WATCHES_MAX 8

struct controller_watch {
    enum kind_id kind;
    controller_map_fn map; /* NULL: only read, not mapped */
};

struct controller_row {
    const char *name; /* "deployment"; events come from "deployment-controller" */
    struct controller_watch watches[CONTROLLER_WATCHES_MAX];
    unsigned n_watches;
    void (*init)(struct controller *c);  /* before the caches start: indexes, state; may be NULL */
    void (*start)(struct controller *c); /* caches are synced: first keys; may be NULL */
    void (*fini)(struct controller *c);  /* may be NULL */
    void (*reconcile)(struct reconcile *rc);
};
extern const struct controller_row *const controller_rows[]; /* NULL terminated; registry.c */

void controller_add(struct controller *c, struct str key);
void controller_add_after(struct controller *c, struct str key, nsec_t after);
void controller_add_object(struct controller *c, const struct object *o); /* "ns/name" or "name" */
void controller_add_name(struct controller *c, struct str ns, struct str name);
/* The usual mapping functions. */
void controller_map_self(struct controller *c, struct object *old, struct object *new);
/* The key of the controlling owner, if it is of the kind of the controller's first watch. */
void controller_map_owner(struct controller *c, struct object *old, struct object *new);

struct controllers *controller_all(struct controller *c);
struct client_shared *controller_shared(struct controller *c);
/* In init: one more watch than the row has room for. */
void controller_watch(struct controller *c, enum kind_id kind, controller_map_fn map);
struct rt *controller_rt(struct controller *c);
const struct controllers_opts *controller_opts(struct controller *c);
void controller_set_state(struct controller *c, void *state);
void *controller_state(struct controller *c);
/* Reading. Objects are borrowed. */
struct client_cache *controller_cache(struct controller *c, enum kind_id kind);
struct object *controller_find(struct controller *c, enum kind_id kind, struct str ns,
                               struct str name);
int controller_index(struct controller *c, enum kind_id kind, client_cache_index_fn fn);
struct event_recorder *controller_events(struct controller *c);

/* ---- a run ---- */

struct reconcile {
    struct controller *controller;
    struct arena *arena;      /* freed when the run is over */
    struct str key, ns, name; /* ns empty for cluster-scoped keys */
    usec_t now;               /* wall clock when the run began */
};

struct object *reconcile_get(struct reconcile *rc, enum kind_id kind, struct str ns,
                             struct str name);
/* Holds a reference until the run is over; returns o. */
struct object *reconcile_keep(struct reconcile *rc, struct object *o);
/* Run again after so long (also when nothing fails). */
void reconcile_again(struct reconcile *rc, nsec_t after);
/* The run has failed: it comes back with back-off. */
void reconcile_fail(struct reconcile *rc, const char *fmt, ...) PRINTF(2, 3);

/* The answer to a call. True: that is fine (also an error that was expected). False: the run fails.
 * May issue more calls. done NULL: errors fail the run, except 404 of what was there. */
typedef bool (*reconcile_done_fn)(struct reconcile *rc, void *arg,
                                  const struct client_reply *reply);

/* msg without a name but with generate_name is given one here (another when it is taken); msg must
 * then stay until the answer: the run's arena. */
void controller_create(struct reconcile *rc, enum kind_id kind, void *msg, reconcile_done_fn done,
                       void *arg);
void controller_update(struct reconcile *rc, enum kind_id kind, const void *msg,
                       reconcile_done_fn done, void *arg);
void controller_update_sub(struct reconcile *rc, enum kind_id kind, const char *subresource,
                           const void *msg, reconcile_done_fn done, void *arg);
void controller_patch(struct reconcile *rc, enum kind_id kind, const struct api_object_meta *meta,
                      const char *subresource, enum client_patch type, struct str json,
                      reconcile_done_fn done, void *arg);
/* With the uid as precondition. propagation NULL: the kind's default. */
void controller_delete(struct reconcile *rc, enum kind_id kind, const struct api_object_meta *meta,
                       const char *propagation, reconcile_done_fn done, void *arg);
void controller_delete_now(struct reconcile *rc, enum kind_id kind,
                           const struct api_object_meta *meta, reconcile_done_fn done,
                           void *arg); /* grace period 0 */
/* Any other call (live reads, deletecollection); nothing is awaited in the caches. */
void controller_call(struct reconcile *rc, const struct client_request *req, reconcile_done_fn done,
                     void *arg);

/* A create was refused because its namespace is being deleted: no failure, all of it will go. */
bool reconcile_ns_is_going(const struct error *err);

/* Creates msgs one, two, four, ... at a time and stops at the first batch in which one fails, so
 * that a wrong template costs one refusal, not a thousand. finish runs once, after the last answer.
 */
typedef void (*reconcile_batch_fn)(struct reconcile *rc, void *arg, uint32_t n_created,
                                   const struct error *err);
void controller_create_batch(struct reconcile *rc, enum kind_id kind, void *const *msgs, uint32_t n,
                             reconcile_batch_fn finish, void *arg);
