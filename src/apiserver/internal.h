/* What the files of the core half share. */
#pragma once

#include "apiserver/apiserver.h"
#include "apiserver/call.h"
#include "apiserver/hooks/outcall.h"
#include "apiserver/auth/pki.h"
#include "base/map.h"
#include "base/mem.h"

struct rbac;
struct alloc;
struct converts;
struct custom;
struct ranges;
struct front;

struct apiserver {
    struct rt *rt;                   /* borrowed */
    struct store *store;             /* borrowed */
    struct apiserver_opts opts;      /* strings owned */
    struct pki *pki;                 /* owned; NULL: none */
    struct rbac *rbac;               /* owned */
    struct pod_index *pods;          /* owned */
    struct quotas *quotas;           /* owned */
    uint64_t plugins;                /* admission plugins that are asked (admit.h) */
    struct alloc *alloc;             /* owned: cluster addresses and node ports */
    struct ranges *ranges;           /* owned: pod ranges of nodes */
    struct kinds *kinds;             /* owned: custom kinds that are served */
    struct crds *crds;               /* owned: makes them */
    struct flow_config *flows;       /* owned: objects of priority and fairness */
    struct usage *usage;             /* owned: what nodes and pods use */
    struct policies *policies;       /* owned: admission policies */
    struct converts *converts;       /* owned: asks their conversion webhooks */
    struct map convert_lines;        /* objects that are written through these (call_convert.c) */
    struct issuers *issuers;         /* owned: of tokens; NULL: none are taken */
    struct remotes *remotes;         /* owned: servers of aggregated APIs; NULL: not listening */
    struct apiservices *apiservices; /* owned: of the groups served here; NULL: none are kept */
    struct front *front;             /* owned; NULL: not listening */
    struct outcalls *outcalls;       /* owned: calls to webhooks */
    struct hooks *hooks;             /* owned: admission webhooks */
    struct audit *audit;             /* owned; NULL: nothing is logged */
    struct list calls;               /* under way in the core */
    struct list watches;             /* struct api_watch */
    size_t n_watches;
    struct hubs *hubs;                 /* owned */
    struct list hub_candidates;        /* watches that would join a hub and have not caught up */
    struct watch_recent *watch_recent; /* owned */
    struct rt_timer bookmark_timer, event_timer, renew_timer, hub_timer;
    uint64_t warnings_logged;
    unsigned token_labels_under_way; /* token_secret.c */
    nsec_t token_labels_from;        /* none before */
    /* bootstrap */
    unsigned bootstrap_left;
    bool ready, stopping;
    void (*on_ready)(void *arg);
    void *on_ready_arg;
    struct rt_task ready_task, stop_task;
    void (*stop_done)(void *arg);
    void *stop_arg;
    struct rt_timer retry_timer;
    struct str advertise; /* of the kubernetes Service; owned */
    uint16_t port;
    uint64_t calls_total[_API_VERB_MAX];
};

#define KIND(id) schema_kinds[KIND_##id]

/* ---- verbs: <0 error is in c->reply.err; 0 answered; 1 will be answered later ---- */
int verb_get(struct api_call *c) MUST_CHECK;
int verb_list(struct api_call *c) MUST_CHECK;
/* Options that do not go together: 422 in reply.err, and the same in reply.r (list_options.c). */
int list_options_check(struct api_call *c, bool watch) MUST_CHECK;
int verb_create(struct api_call *c) MUST_CHECK;
int verb_update(struct api_call *c) MUST_CHECK;
int verb_patch(struct api_call *c) MUST_CHECK;
int verb_apply(struct api_call *c) MUST_CHECK; /* a patch by server-side apply */
/* The body of one: JSON or YAML. */
int apply_parse(struct str text, struct arena *a, struct json **ret, struct error *err) MUST_CHECK;
int verb_delete(struct api_call *c) MUST_CHECK;
int verb_deletecollection(struct api_call *c) MUST_CHECK;
int verb_connect(struct api_call *c) MUST_CHECK;
/* Where the API of a node is, into the reply. */
int connect_find_node(struct api_call *c, struct str node_name) MUST_CHECK;
/* A create, update or patch of c->subresource that has rules of its own; -ENOSYS: it has none (then
 * it is an ordinary update: status). */
int subresource_run(struct api_call *c) MUST_CHECK;
bool subresource_is_special(const struct api_call *c);
/* create of a kind that is answered and not stored (reviews). */
int review_run(struct api_call *c) MUST_CHECK;
bool review_is(const struct schema_kind *k);

/* The kind objects of k are stored as. */
static inline const struct schema_kind *storage_kind(const struct schema_kind *k)
{
    return schema_stored(k);
}
/* The newest accepted state, durable or not, in the caller's version. Borrowed for this turn. */
struct object *call_peek(struct api_call *c);

/* ---- call_again.c: what a call needs whose verb may run more than once ---- */
void call_keep(struct api_call *c); /* before its verb first runs; again: no effect */
/* After call_keep: it is as it was then, and nothing of an answer is left. */
void call_restore(struct api_call *c);
void call_came_free(struct api_call *c); /* any thread; idempotent */

/* Ends of a mutating verb. The message (of c->kind) is converted to the stored kind, and the call
 * is answered with the object as stored; a dry run is answered at once. */
int call_put(struct api_call *c, const void *msg, rev_t expected) MUST_CHECK;
/* The same of a message that is in the form of a kind that is stored: k. */
int call_put_as(struct api_call *c, const struct schema_kind *k, const void *msg,
                rev_t expected) MUST_CHECK;
void call_convert_free(struct api_call *c); /* any thread */
int call_remove(struct api_call *c, struct object *old, rev_t expected,
                bool answer_status) MUST_CHECK;
/* Answers with a message that is not stored. */
int call_message(struct api_call *c, const struct schema_desc *desc, const void *msg, int code);
void call_finish(struct api_call *c); /* reply is set */
/* The user, whose texts may be a client's, as the call's own. */
void call_copy_user(struct api_call *c, const struct api_user *u);
/* The verb from its beginning: the call waited for somebody and is as it came. */
void call_run_again(struct api_call *c);

/* ---- errors with the words of a Kubernetes server; all return the errno ---- */
int call_not_found(struct api_call *c, const struct schema_kind *k, struct str name);
int call_already_exists(struct api_call *c, struct str name);
int call_conflict(struct api_call *c, struct str name, const char *fmt, ...) PRINTF(3, 4);
int call_forbidden(struct api_call *c, struct str name, const char *fmt, ...) PRINTF(3, 4);
int call_invalid(struct api_call *c,
                 struct str name) MUST_CHECK; /* from the causes collected; 0: none */
int call_error(struct api_call *c, enum error_reason reason, const char *fmt, ...) PRINTF(3, 4);
/* The collected causes are about the options of the request (kind: "ListOptions"); as
 * error_invalid.
 */
int call_options_invalid(struct api_call *c, const char *kind) MUST_CHECK;
/* A revision is asked for that has not been written yet; clients know it by the cause. */
int error_from_future(struct error *err, rev_t want, rev_t now);
/* "pods", "deployments.apps" */
const char *kind_resource(const struct schema_kind *k, char *out, size_t n);
/* "Pod", "Deployment.apps" */
const char *kind_qualified(const struct schema_kind *k, char *out, size_t n);

/* ---- strategy.c: the metadata rules every kind has ---- */
int strategy_create(struct api_call *c, void *msg) MUST_CHECK;
/* msg becomes what is written: what the client may not change is taken from old. */
int strategy_update(struct api_call *c, void *msg, struct object *old) MUST_CHECK;
/* A webhook or policy made msg of `before`, which one of the two above had prepared: what the
 * client may not change it may not either. old NULL: create. */
int strategy_mutated(struct api_call *c, void *msg, const void *before,
                     const struct object *old) MUST_CHECK;
/* Checks the rules after admission. old NULL: create. */
int strategy_validate(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
/* Writes msg over old (equal: answers with old; last finalizer gone: removes). */
int strategy_commit_update(struct api_call *c, void *msg, struct object *old) MUST_CHECK;
bool kind_has_status(const struct schema_kind *k);
/* The write is to the status alone: by `status`, or by a subresource that is a part of it. */
bool call_is_status(const struct api_call *c);
bool call_is_resize(const struct api_call *c); /* pods/resize */
void make_uid(struct rt *rt, struct arena *a, struct str *ret);
struct str make_name(struct api_call *c, struct str base); /* base and five random characters */
void random_suffix(struct rt *rt, char *out, size_t n);
/* Deletes one object of c->kind by the rules of c->del. done NULL: the call is answered with it. */
int delete_one(struct api_call *c, struct object *old, store_done_fn done, void *arg) MUST_CHECK;
/* uid and resourceVersion of c->del against old. */
/* Which options go together. */
int delete_check_options(struct api_call *c) MUST_CHECK;
int delete_check_preconditions(struct api_call *c, const struct object *old) MUST_CHECK;
bool has_finalizer(const struct api_object_meta *m, struct str f);

/* ---- admission.c ---- */
/* Both may change msg (create, update) or refuse. old NULL: create. Positive: webhooks are asked,
 * and the verb returns that (hooks.h). */
int admit_mutate(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
/* The plugins alone, after webhooks changed msg. */
int admit_mutate_again(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_validate(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
int admit_delete(struct api_call *c, const struct object *old) MUST_CHECK;
/* For what does not go the way of ordinary writes: connects, and subresources that are no part of
 * the object (the body may be changed). Policies are asked, the other plugins are not. */
int admit_special(struct api_call *c) MUST_CHECK;
int admit_namespace(struct api_call *c) MUST_CHECK; /* exists and takes new objects */
int admit_node_restriction(struct api_call *c, const void *msg,
                           const struct object *old) MUST_CHECK;
int admit_csr_mutate(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_csr_validate(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;

/* ---- authorization ---- */
struct authz_attrs {
    const struct api_user *user;
    struct str verb;
    struct str group, version, resource, subresource, ns, name;
    struct str path;           /* present: a path, not a resource */
    struct str field_selector; /* of a list or watch */
};
/* *ret_reason is static or in a. */
bool authz_allowed(struct apiserver *s, const struct authz_attrs *at, struct arena *a,
                   struct str *ret_reason);
int authz_call(struct api_call *c) MUST_CHECK; /* also impersonation */
/* 0, or the reply says what is forbidden. */
int authz_require(struct api_call *c, const struct authz_attrs *at) MUST_CHECK;
/* impersonate.c: makes c->user whom the request asks to be, if he may. */
int impersonate(struct api_call *c) MUST_CHECK;
/* The caller may do another thing to the same resource as well. */
int authz_also(struct api_call *c, struct str verb) MUST_CHECK;
struct rbac *rbac_new(struct apiserver *s);
struct rbac *rbac_free(struct rbac *r);
bool rbac_allowed(struct rbac *r, const struct authz_attrs *at, struct arena *a,
                  struct str *ret_reason);
/* Rules of a user in a namespace, for SelfSubjectRulesReview and escalation checks. */
typedef void (*rbac_rule_fn)(void *arg, const struct api_policy_rule *rule);
void rbac_rules(struct rbac *r, const struct api_user *user, struct str ns, rbac_rule_fn fn,
                void *arg);
/* 0, or forbids: the rules give more than the user has (roles), or bind a role with more
 * (bindings). */
int rbac_check_escalation(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
bool authz_node_is(const struct api_user *u, struct str *ret_node);
bool authz_node_allowed(struct apiserver *s, struct str node, const struct authz_attrs *at,
                        struct str *ret_reason);
/* As the API has it: one row a key. In a, with room for one more. (review.c) */
struct kv_extra_value *user_extra(const struct api_user *u, struct arena *a, uint32_t *ret_n);
bool user_in_group(const struct api_user *u, struct str group);

/* ---- tokens (authn.c) ---- */
/* Core thread: the service account, pod, secret and node a verified token is bound to still exist.
 * user_of: the call whose user it is, which hears what is to be said of a token from a Secret;
 * NULL: it is only asked about. */
int token_bound_check(struct apiserver *s, const struct api_token_bound *b,
                      struct api_call *user_of, struct error *err) MUST_CHECK;
int sub_token(struct api_call *c) MUST_CHECK; /* serviceaccounts/token */
int review_token(struct api_call *c) MUST_CHECK;

/* ---- alloc.c ---- */
struct alloc *alloc_new(struct apiserver *s);
struct alloc *alloc_free(struct alloc *a);
/* Fills in clusterIP(s) and nodePorts of a Service or checks those it names. */
int alloc_service(struct api_call *c, struct api_service *svc,
                  const struct api_service *old) MUST_CHECK;
struct str alloc_first_ip(struct alloc *a); /* of the kubernetes Service; borrowed */
/* Of the DNS Service: the tenth. False: the range is too small, or another Service has it. */
bool alloc_dns_ip(struct alloc *a, char ret[static 24]);
/* The write of the call failed: gives back what it took. */
void alloc_rollback(struct api_call *c, const struct api_service *svc,
                    const struct api_service *old);

/* ---- ranges.c ---- */
struct ranges *ranges_new(struct apiserver *s);
struct ranges *ranges_free(struct ranges *r);
int admit_node_range(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;

/* ---- bootstrap.c, rbac_defaults.c ---- */
void bootstrap_start(struct apiserver *s);
void bootstrap_endpoints(
    struct apiserver *s); /* of the kubernetes Service; when the port is known */
void bootstrap_roles(struct apiserver *s,
                     void (*want)(struct apiserver *s, const struct schema_kind *k,
                                  const void *msg));

/* ---- watches (watch.c) ---- */
struct api_watch;
typedef void (*api_watch_fn)(void *arg, const struct client_event *events, size_t n);
struct api_watch_opts {
    const struct schema_kind *kind;
    struct str ns, name; /* name: only this object */
    struct str label_selector, field_selector;
    rev_t from_rev;
    bool initial; /* first the present objects as ADDED (from_rev ignored), then changes */
    bool initial_end_bookmark; /* and then a bookmark with the annotation k8s.io/initial-events-end
                                */
    bool bookmarks;
    bool deferred_error; /* bad selectors too come as an ERROR event, not as a return value */
};
/* Events come from the loop, never from inside. An ERROR event is the last one; stop it all the
 * same. */
int api_watch_start(struct apiserver *s, const struct api_watch_opts *o, api_watch_fn fn, void *arg,
                    struct api_watch **ret, struct error *err) MUST_CHECK;
void api_watch_stop(struct api_watch *w); /* takes NULL */
/* The kind is served in these versions only: clients' watches of others end, by an ERROR event. */
void api_watch_end_kind(struct apiserver *s, const struct schema_kind *stored,
                        struct custom *const *served, size_t n);
void api_watch_tick(struct apiserver *s); /* bookmarks */
/* For people: one line a watch, at most so many. */
void api_watches_print(struct apiserver *s, unsigned lines_max, struct buf *out);
void api_watch_hubs_init(struct apiserver *s);
void api_watch_hubs_tick(struct apiserver *s); /* those who have caught up join */

/* ---- figures for /metrics and /readyz, made on the core thread ---- */
void metrics_core(struct apiserver *s, struct buf *out);
