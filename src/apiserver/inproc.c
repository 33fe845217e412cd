/* The in-process client: client.h's transport without a wire. Requests become calls of the core
 * half at once; answers are handed out from the loop, since a client's callback never comes from
 * inside its call.
 *
 * Objects in answers and events are the store's own. Messages of requests are cloned, because the
 * verbs change what they are given. */
#include "apiserver/internal.h"
#include "apiserver/auth/token.h"
#include "schema/fields.h"

struct inproc {
    struct client client; /* first: what the user holds */
    struct apiserver *server;
    struct arena arena;
    struct api_user user;
    struct str address;  /* of a peer */
    struct list calls;   /* struct inproc_call: under way or waiting to be told */
    struct list watches; /* struct client_watch */
    struct list answered;
    struct rt_task task;
};

struct inproc_call {
    struct list link;
    struct inproc *owner; /* NULL: the client was freed meanwhile */
    struct api_call *call;
    client_done_fn done;
    void (*dropped)(void *arg);
    void *arg;
    bool starting, finished;
};

struct client_watch {
    struct list link;
    struct api_watch *watch;
    client_watch_fn fn;
    void *arg;
};

static void call_free(struct inproc_call *ic)
{
    list_remove(&ic->link);
    api_call_free(ic->call);
    free(ic);
}

static void tell(struct inproc_call *ic)
{
    const struct api_reply *rep = &ic->call->reply;
    struct client_reply out = {
        .r = rep->r < 0 ? rep->r : 0,
        .err = rep->r < 0 ? &rep->err : NULL,
        .object = rep->object,
        .message = rep->message,
        .items = rep->items,
        .n_items = rep->n_items,
        .rev = rep->rev,
        .continue_ = rep->continue_,
    };
    if (ic->done)
        ic->done(ic->arg, &out);
}

static void on_task(void *arg)
{
    struct inproc *p = arg;
    struct list batch; /* callbacks may start calls that are answered at once: those wait for the
                          next turn */
    list_init(&batch);
    while (!list_empty(&p->answered)) {
        struct inproc_call *ic = LIST_FIRST(&p->answered, struct inproc_call, link);
        list_remove(&ic->link);
        list_push_back(&batch, &ic->link);
    }
    while (!list_empty(&batch)) {
        struct inproc_call *ic = LIST_FIRST(&batch, struct inproc_call, link);
        list_remove(&ic->link);
        tell(ic);
        call_free(ic);
    }
}

static void on_done(struct api_call *c)
{
    struct inproc_call *ic = c->arg;
    ic->finished = true;
    if (ic->starting)
        return;
    struct inproc *p = ic->owner;
    list_remove(&ic->link);
    if (p)
        tell(ic);
    call_free(ic);
}

static enum api_verb verb_of(enum client_verb v)
{
    static const enum api_verb verbs[_CLIENT_VERB_MAX] = {
        [CLIENT_GET] = API_GET,
        [CLIENT_LIST] = API_LIST,
        [CLIENT_CREATE] = API_CREATE,
        [CLIENT_UPDATE] = API_UPDATE,
        [CLIENT_PATCH] = API_PATCH,
        [CLIENT_DELETE] = API_DELETE,
        [CLIENT_DELETE_COLLECTION] = API_DELETE_COLLECTION,
    };
    return verbs[v];
}

static struct str copy(struct api_call *c, struct str s)
{
    return s.p ? arena_str(&c->arena, s) : STR_NONE;
}

/* Owners that come from one of our own objects may be old: the server knows better. */
static void forget_managed(void *body)
{
    struct api_object_meta *m = body;
    if (m->n_managed_fields && fields_is_packed(m->managed_fields[0].fields_v1)) {
        m->managed_fields = NULL;
        m->n_managed_fields = 0;
    }
}

static void fill(struct api_call *c, const struct client_request *q)
{
    c->verb = verb_of(q->verb);
    c->kind = q->kind;
    c->ns = copy(c, q->ns);
    c->name = copy(c, q->name);
    c->subresource = copy(c, q->subresource);
    if (q->body) {
        c->body_desc = q->body_desc ? q->body_desc : q->kind->desc;
        c->body = schema_clone(c->body_desc, q->body, &c->arena);
        const struct api_object_meta *m = c->body;
        if (c->body_desc->flags &
            SCHEMA_DESC_OBJECT) { /* the path a network client would have used */
            if (!c->ns.n && q->kind->namespaced)
                c->ns = m->namespace;
            if (!c->name.n && c->verb != API_CREATE)
                c->name = m->name;
            forget_managed(c->body);
        }
    }
    c->patch_type = q->patch_type;
    c->patch = copy(c, q->patch);
    c->opts.label_selector = copy(c, q->label_selector);
    c->opts.field_selector = copy(c, q->field_selector);
    c->opts.continue_ = copy(c, q->continue_);
    c->opts.limit = q->limit;
    c->opts.resource_version = copy(c, q->resource_version);
    c->opts.dry_run = q->dry_run;
    c->opts.field_manager = copy(c, q->field_manager);
    c->opts.force = q->force;
    c->del.uid = copy(c, q->precondition_uid);
    c->del.rv = copy(c, q->precondition_rv);
    if (!c->del.uid.n)
        c->del.uid = STR_NONE;
    c->del.has_grace = q->has_grace_period;
    c->del.grace_s = q->grace_period_s;
    c->del.propagation = copy(c, q->propagation);
}

/* The server is freed: the store will never answer. */
static void on_dropped(struct api_call *c)
{
    struct inproc_call *ic = c->arg;
    if (ic->owner && ic->dropped)
        ic->dropped(ic->arg);
    call_free(ic);
}

static void inproc_call(struct client *client, const struct client_request *q, client_done_fn done,
                        void *arg)
{
    struct inproc *p = CONTAINER_OF(client, struct inproc, client);
    struct inproc_call *ic = NEW(struct inproc_call);
    struct api_call *c = ic->call = api_call_new(p->server);
    list_init(&ic->link);
    ic->owner = p;
    ic->done = done;
    ic->dropped = q->dropped;
    ic->arg = arg;
    c->arg = ic;
    c->done = on_done;
    c->dropped = on_dropped;
    c->user = p->user; /* borrowed: outlives its calls, see inproc_free */
    c->client_address = copy(c, p->address);
    fill(c, q);
    ic->starting = true;
    api_call_start(c);
    ic->starting = false;
    if (ic->finished) {
        list_push_back(&p->answered, &ic->link);
        rt_task_schedule(&p->task);
    } else {
        list_push_back(&p->calls, &ic->link);
    }
}

static void on_watch(void *arg, const struct client_event *events, size_t n)
{
    struct client_watch *cw = arg;
    cw->fn(cw->arg, events, n);
}

static struct client_watch *inproc_watch_start(struct client *client,
                                               const struct client_watch_opts *o,
                                               client_watch_fn fn, void *arg)
{
    struct inproc *p = CONTAINER_OF(client, struct inproc, client);
    struct client_watch *cw = NEW(struct client_watch);
    cw->fn = fn;
    cw->arg = arg;
    struct api_watch_opts w = {.kind = o->kind,
                               .ns = o->ns,
                               .label_selector = o->label_selector,
                               .field_selector = o->field_selector,
                               .from_rev = o->from_rev,
                               .bookmarks = true,
                               .deferred_error = true};
    if (api_watch_start(p->server, &w, on_watch, cw, &cw->watch, NULL) < 0)
        ASSERT(!"a deferred error does not fail");
    list_push_back(&p->watches, &cw->link);
    return cw;
}

static void inproc_watch_stop(struct client *client, struct client_watch *cw)
{
    if (!cw)
        return;
    list_remove(&cw->link);
    api_watch_stop(cw->watch);
    free(cw);
}

static void drop(struct inproc_call *ic)
{
    list_remove(&ic->link);
    if (ic->dropped)
        ic->dropped(ic->arg);
}

static void inproc_free(struct client *client)
{
    struct inproc *p = CONTAINER_OF(client, struct inproc, client);
    while (!list_empty(&p->watches))
        inproc_watch_stop(client, LIST_FIRST(&p->watches, struct client_watch, link));
    while (!list_empty(&p->answered)) {
        struct inproc_call *ic = LIST_FIRST(&p->answered, struct inproc_call, link);
        drop(ic);
        call_free(ic);
    }
    while (!list_empty(&p->calls)) { /* their writes may still be under way: they end unheard */
        struct inproc_call *ic = LIST_FIRST(&p->calls, struct inproc_call, link);
        drop(ic);
        ic->owner = NULL;
        ic->call->user = (struct api_user){.trusted = true};
    }
    rt_task_cancel(&p->task);
    arena_fini(&p->arena);
    free(p);
}

static const struct client_ops inproc_ops = {
    .call = inproc_call,
    .watch_start = inproc_watch_start,
    .watch_stop = inproc_watch_stop,
    .free = inproc_free,
};

struct client *apiserver_client(struct apiserver *s, struct str user, const struct str *groups,
                                size_t n_groups, bool authorize)
{
    struct inproc *p = NEW(struct inproc);
    p->client = (struct client){.ops = &inproc_ops, .rt = s->rt};
    p->server = s;
    list_init(&p->calls);
    list_init(&p->answered);
    list_init(&p->watches);
    rt_task_init(&p->task, s->rt, on_task, p);
    p->user.name = arena_str(&p->arena, user);
    p->user.groups = ARENA_NEW_N(&p->arena, struct str, n_groups + 1);
    for (size_t i = 0; i < n_groups; i++)
        p->user.groups[p->user.n_groups++] = arena_str(&p->arena, groups[i]);
    p->user.groups[p->user.n_groups++] = STR("system:authenticated");
    p->user.trusted = !authorize;
    return &p->client;
}

struct client *apiserver_client_peer(struct apiserver *s, const struct apiserver_peer *peer)
{
    struct client *c = apiserver_client(s, peer->user, peer->groups, peer->n_groups, true);
    struct inproc *p = CONTAINER_OF(c, struct inproc, client);
    p->address = arena_str(&p->arena, peer->address);
    if (peer->token.n && !token_bootstrap_parse(peer->token, &p->arena, &p->user))
        p->user = (struct api_user){.name = STR("system:anonymous")};
    return c;
}
