/* One typed client for everything that talks to the API: controllers and scheduler (in-process
 * transport, implemented by src/apiserver), the agent, CLI and hollow nodes (network transport over
 * src/http). One loop's thread; each call answers exactly once, never from inside the call that
 * started it, unless the client is freed first: see client_request.dropped. */
#pragma once

#include "api/object.h"
#include "base/error.h"
#include "rt/rt.h"

enum client_verb {
    CLIENT_GET,
    CLIENT_LIST,
    CLIENT_CREATE,
    CLIENT_UPDATE,
    CLIENT_PATCH,
    CLIENT_DELETE,
    CLIENT_DELETE_COLLECTION,
    _CLIENT_VERB_MAX,
    _CLIENT_VERB_INVALID = -EINVAL,
};

enum client_patch {
    CLIENT_PATCH_NONE,
    CLIENT_PATCH_JSON,
    CLIENT_PATCH_MERGE,
    CLIENT_PATCH_STRATEGIC,
    CLIENT_PATCH_APPLY, /* server-side apply */
};

/* All views are borrowed until client_call returns (they are copied or encoded before). */
struct client_request {
    enum client_verb verb;
    const struct schema_kind *kind;
    struct str ns, name;
    struct str
        subresource; /* "status", "binding", "eviction", "scale", "token" ...; absent: none */
    const struct schema_desc *body_desc;  /* NULL: kind->desc (for create, update) */
    const void *body;                     /* message for create, update, subresources; NULL: none */
    const struct schema_desc *reply_desc; /* what a subresource answers; NULL: the kind */
    enum client_patch patch_type;
    struct str patch;         /* JSON text */
    struct str field_manager; /* of a write; absent: the server's name for this client */
    bool force;               /* of an apply: takes over what others own */
    struct str label_selector, field_selector;
    struct str continue_;
    uint32_t limit;
    struct str resource_version; /* get, list */
    bool dry_run;
    /* delete */
    struct str precondition_uid, precondition_rv;
    bool has_grace_period;
    int64_t grace_period_s;
    struct str propagation; /* "Background", "Foreground", "Orphan"; absent: the kind's default */
    /* Called with the call's arg in place of done when the client is freed before there is an
     * answer; the client must not be used there. NULL: nothing is to be freed then. */
    void (*dropped)(void *arg);
};

struct client_reply {
    int r; /* 0 or the errno of err->reason; -ECONNRESET and the like: outcome unknown */
    const struct error *err; /* borrowed; NULL when r == 0 */
    struct object *object;   /* borrowed; get, create, update, patch, delete of a kind */
    const void *message;     /* borrowed; replies of another type (reply_desc) */
    struct object **items;   /* borrowed; list */
    size_t n_items;
    rev_t rev; /* list: of the collection; else of the object */
    struct str continue_;
};

typedef void (*client_done_fn)(void *arg, const struct client_reply *reply);

enum client_event_type {
    CLIENT_EVENT_ADDED,
    CLIENT_EVENT_MODIFIED,
    CLIENT_EVENT_DELETED,
    CLIENT_EVENT_BOOKMARK, /* object NULL; rev says how far the stream has come */
    CLIENT_EVENT_ERROR,    /* the stream has ended: err set (REASON_EXPIRED/GONE: relist); nothing
                              follows */
};

struct client_event {
    enum client_event_type type;
    struct object *object; /* borrowed */
    rev_t rev;
    const struct error *err;
};

typedef void (*client_watch_fn)(void *arg, const struct client_event *events, size_t n);

struct client_watch_opts {
    const struct schema_kind *kind;
    struct str ns, label_selector, field_selector;
    rev_t from_rev;
};

/* Made by the transport; never NULL. Lives until client_watch_stop, also after CLIENT_EVENT_ERROR,
 * and may be stopped from inside fn. No event comes from inside client_watch_start. */
struct client_watch;

struct client;
struct client_ops {
    /* Starts the call. A transport copies what it needs. */
    void (*call)(struct client *c, const struct client_request *req, client_done_fn done,
                 void *arg);
    struct client_watch *(*watch_start)(struct client *c, const struct client_watch_opts *opts,
                                        client_watch_fn fn, void *arg);
    void (*watch_stop)(struct client *c, struct client_watch *w); /* no event after this returns */
    void (*free)(struct client *c);
    /* See client_set_patience. NULL: a transport without connections. */
    void (*set_patience)(struct client *c, nsec_t span);
};
struct client { /* first member of every transport */
    const struct client_ops *ops;
    struct rt *rt; /* borrowed */
};

static inline void client_call(struct client *c, const struct client_request *req,
                               client_done_fn done, void *arg)
{
    c->ops->call(c, req, done, arg);
}
static inline struct client_watch *client_watch_start(struct client *c,
                                                      const struct client_watch_opts *o,
                                                      client_watch_fn fn, void *arg)
{
    return c->ops->watch_start(c, o, fn, arg);
}
static inline void client_watch_stop(struct client *c, struct client_watch *w)
{
    c->ops->watch_stop(c, w);
}
/* A server that is silent for span is asked for a sign of life and has twice that to give one; then
 * the connection ends, with its calls and watches (-ETIMEDOUT). Opening one may take as long. Left
 * to TCP, a connection that a partition broke is tried again only every half minute. */
static inline void client_set_patience(struct client *c, nsec_t span)
{
    if (c->ops->set_patience)
        c->ops->set_patience(c, span);
}
static inline void client_free(struct client *c)
{
    c->ops->free(c);
}

/* Shorthands; done and arg may be NULL. */
void client_get(struct client *c, const struct schema_kind *kind, struct str ns, struct str name,
                client_done_fn done, void *arg);
void client_create(struct client *c, const struct schema_kind *kind, const void *msg,
                   client_done_fn done, void *arg);
void client_update(struct client *c, const struct schema_kind *kind, const void *msg,
                   client_done_fn done, void *arg);
void client_update_status(struct client *c, const struct schema_kind *kind, const void *msg,
                          client_done_fn done, void *arg);
void client_patch(struct client *c, const struct schema_kind *kind, struct str ns, struct str name,
                  struct str subresource, enum client_patch type, struct str json,
                  client_done_fn done, void *arg);
void client_delete(struct client *c, const struct schema_kind *kind, struct str ns, struct str name,
                   struct str uid, client_done_fn done, void *arg);
