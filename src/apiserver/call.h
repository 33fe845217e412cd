/* struct api_call: one request on its way through the core half, whoever sent it.
 *
 * A front (or the in-process client) makes it, fills in the request, and hands it over with
 * api_call_start on the core thread; done(c) is called there exactly once, with c->reply set: from
 * inside api_call_start when the answer is known at once, else later. Between hand-over and done
 * the call belongs to the core. Everything it points to lives in its arena or is referenced by it;
 * api_call_free (any thread) releases all. Only one thread touches a call at a time. */
#pragma once

#include "api/object.h"
#include "apiserver/limits.h"
#include "client/client.h"
#include "rt/rt.h"

struct apiserver;
struct call_came;
struct call_convert;
struct admit_again;
struct front_watch;
struct hook_state;
struct impersonation;

enum api_verb {
    API_GET,
    API_LIST,
    API_WATCH,
    API_CREATE,
    API_UPDATE,
    API_PATCH,
    API_DELETE,
    API_DELETE_COLLECTION,
    API_CONNECT, /* exec, attach, portforward, log, node proxy: authorized, then resolved to an
                    address */
    API_PROXY,   /* served by another server: authorized, then resolved to its address */
    API_PATH,    /* not a resource: /version, /metrics, discovery; only authorized */
    _API_VERB_MAX,
};

struct api_user {
    struct str name, uid;
    struct str *groups;
    uint32_t n_groups;
    struct api_user_extra {
        struct str key, value;
    } * extra;
    uint32_t n_extra;
    bool trusted; /* in-process: not authorized */
    /* A service account token: what must still exist for it to be good (authn.c). */
    struct api_token_bound {
        struct str ns, sa_name, sa_uid, pod_name, pod_uid, secret_name, secret_uid;
        struct str node_name, node_uid; /* with a pod: where that was, not to be checked */
        struct str text; /* present: the token itself, which must be the one in secret_name */
    } * token;
    /* A bootstrap token: to be looked up before the user is who he says (token_bootstrap.c). */
    struct api_bootstrap_token {
        struct str id, secret;
    } * bootstrap;
};

struct api_options {
    struct str label_selector, field_selector, continue_, resource_version, resource_version_match;
    int64_t limit;
    int64_t timeout_s; /* 0: none */
    bool watch_bookmarks;
    bool has_send_initial_events, send_initial_events;
    bool dry_run;
    struct str field_manager;
    bool has_force, force;
};

/* Entries of metadata.managedFields; v in the call's arena (managed.h). */
struct managed_list {
    struct api_managed_fields_entry *v;
    uint32_t n;
};

struct api_reply {
    int r; /* 0, or the errno of err.reason */
    struct error err;
    int code;                       /* HTTP status on success: 200, 201, 202 */
    struct object *object;          /* owned reference */
    const struct schema_desc *desc; /* of message */
    const void *message;            /* in the call's arena; not an object of the store */
    struct object **items;          /* owned references; the array is in the arena */
    size_t n_items;
    rev_t rev;
    struct str continue_;
    int64_t remaining;    /* -1: not known */
    struct str *warnings; /* in the arena */
    unsigned n_warnings;
    /* For Status.details: what the error is about when it is not the call's own name and kind. */
    struct str details_kind, details_name, details_group, details_uid;
    bool success_status;             /* answer with Status "Success" (a delete) */
    const struct api_status *status; /* r < 0: the whole answer, instead of err (a webhook's) */
    /* API_CONNECT: where the node's HTTPS API is. API_PROXY: where the server is; absent: nowhere
     * to be found. */
    struct str node_host, node_path;
    uint16_t node_port;
};

struct api_proxy;

struct api_call {
    struct str id; /* of the request: its Audit-Id; absent: the call comes from this process */
    struct rt_post post;
    struct rt_timer timer;
    struct apiserver *server;
    struct arena arena;
    enum api_verb verb;
    const char *authz_verb;               /* NULL: by verb */
    const struct schema_kind *kind;       /* NULL for API_PATH and what another server serves */
    struct api_proxy *proxy;              /* of API_PROXY (aggregate.h) */
    const struct schema_subresource *sub; /* NULL: none, or one without its own row */
    struct str ns, name, subresource, path;
    struct str query; /* raw; API_CONNECT passes it on */
    struct api_user user;
    struct str client_address; /* of a create of a CertificateSigningRequest; absent: in-process */
    const struct impersonation *impersonation; /* whom the user asks to be; NULL: himself */
    struct api_user *impersonator; /* who really asks, once he became user; NULL: user himself */
    struct api_options opts;
    struct api_delete_opts {
        bool has_grace, has_orphan, orphan;
        int64_t grace_s;
        struct str uid, rv, propagation; /* absent: none */
    } del;
    const struct schema_desc *body_desc; /* NULL: no body */
    void *body;                          /* in the arena, may be changed; or NULL */
    enum client_patch patch_type;
    struct str patch;
    struct json *patch_tree;     /* of an apply, when the front has parsed it */
    struct str user_agent;       /* its first part: who writes, when no fieldManager says it */
    enum schema_unknown unknown; /* what becomes of unknown fields in a patched object */

    struct api_reply reply;
    void (*done)(struct api_call *c);
    /* In place of done, when the server is freed under the call; NULL: nobody frees it then. */
    void (*dropped)(struct api_call *c);
    void *arg;
    /* The core's own while it works */
    unsigned writes_left;
    struct audit_record *audit; /* the front's; NULL: the audit log is told nothing of this call */
    struct kv_str *annotations; /* for it; in the arena */
    uint32_t n_annotations;
    struct quota_charge *charge;        /* taken of quotas until the write is counted (quota.h) */
    struct front_watch *watch;          /* made by the front's done, told with the call */
    const struct managed_list *managed; /* owners as apply left them; NULL: no apply */
    struct admit_again *again;          /* while mutating admission runs (admit.h) */
    struct call_came *came;             /* NULL: its verb runs once (call_again.c) */
    bool answer_scale;                  /* the object in the reply is told as its Scale */
    struct call_convert *convert;       /* owned; NULL: nothing was converted (call_convert.h) */
    struct call_views *views;           /* owned; NULL: nobody asked for any (call_view.h) */
    struct hook_state *hooks;           /* NULL: no webhook is about it (hooks.h) */
    bool authorized;                    /* a part of a call that was */
    bool name_selected;                 /* the name is what a field selector demands */
    struct list link;                   /* server->calls */
    nsec_t started;
};

struct api_call *api_call_new(struct apiserver *s);
struct api_call *api_call_free(struct api_call *c); /* takes NULL; returns NULL. Any thread */
void api_call_start(struct api_call *c);
/* Text of the verb RBAC knows: "get", "list" ... */
const char *api_call_verb_text(const struct api_call *c);
const char *api_verb_text(enum api_verb v);
void api_call_warn(struct api_call *c, const char *fmt, ...) PRINTF(2, 3);
/* Adds something to what the audit log is told of the call; nothing, when it is told nothing. The
 * key is static or in the call's arena. */
void api_call_annotate(struct api_call *c, const char *key, const char *fmt, ...) PRINTF(3, 4);

/* The Status an error or a successful delete is answered with, made in a. */
struct api_status *api_call_status(const struct api_call *c, struct arena *a);
/* The same of an error that ends a watch. */
struct api_status *api_error_status(const struct error *e, struct arena *a);
