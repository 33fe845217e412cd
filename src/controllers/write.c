/* The writes of a run: each is counted, its answer leaves the mark the caches must reach, and
 * errors end up where the run's back-off is decided. A create whose outcome is unknown (the
 * connection or the commit failed) is resolved by looking for the name it would have made. */
#include "controllers/controller_int.h"

#include "base/log.h"
#include "base/mem.h"

#define RESOLVE_TRIES 12 /* looks after an unknown outcome, 20 ms to 5 s apart */
#define NAME_TRIES    8  /* other names when the random one is taken */

struct call {
    struct list node; /* in run->calls */
    struct run *run;
    struct rt *rt;
    enum client_verb verb;
    const struct schema_kind *kind;
    struct str ns, name, uid; /* in the run's arena */
    reconcile_done_fn done;
    void *arg;
    struct rt_timer timer; /* looks for the outcome */
    unsigned tries;
    struct api_object_meta *named; /* of a create whose name is ours to choose; NULL: it is not */
    unsigned names;
};

static struct str random_name(struct reconcile *rc, struct str prefix);
static void call_answered(void *arg, const struct client_reply *reply);

static void call_free(struct call *k)
{
    rt_timer_stop(&k->timer);
    list_remove(&k->node);
    free(k);
}

static void mark_add(struct run *r, const struct call *k, const struct client_reply *reply)
{
    bool is_write = k->verb == CLIENT_CREATE || k->verb == CLIENT_UPDATE || k->verb == CLIENT_PATCH;
    if (reply->r < 0 || (!is_write && k->verb != CLIENT_DELETE) || str_empty(k->name))
        return;
    struct mark *m = ARENA_NEW(&r->memory, struct mark);
    rev_t rev = reply->object ? reply->object->rev : reply->rev;
    *m = (struct mark){.next = r->marks,
                       .kind = k->kind,
                       .ns = k->ns,
                       .name = k->name,
                       .uid = k->uid,
                       .rev = is_write ? rev : 0,
                       .is_delete = !is_write};
    r->marks = m;
}

static const char *verb_text(enum client_verb v)
{
    static const char *const TEXTS[_CLIENT_VERB_MAX] = {
        [CLIENT_GET] = "get",
        [CLIENT_LIST] = "list",
        [CLIENT_CREATE] = "create",
        [CLIENT_UPDATE] = "update",
        [CLIENT_PATCH] = "patch",
        [CLIENT_DELETE] = "delete",
        [CLIENT_DELETE_COLLECTION] = "delete all",
    };
    return TEXTS[v];
}

static void default_done(struct run *r, const struct call *k, const struct client_reply *reply)
{
    if (reply->r == 0 || (k->verb != CLIENT_CREATE && reply->r == -ENOENT))
        return; /* what is gone needs nothing more */
    r->failed = true;
    if (reply->r == -ESTALE) /* overtaken; the cache will tell */
        return;
    struct str text = reply->err ? reply->err->message : str_z(strerror(-reply->r));
    reconcile_fail(&r->rc, "%s %s %.*s: %.*s", verb_text(k->verb), k->kind->plural,
                   STR_ARG(k->name), STR_ARG(text));
}

static bool is_unknown(const struct client_reply *reply)
{
    if (reply->r == 0)
        return false;
    if (!reply->err || reply->err->reason == REASON_NONE)
        return true;
    switch (reply->err->reason) {
    case REASON_INTERNAL:
    case REASON_TIMEOUT:
    case REASON_BAD_GATEWAY:
        return true;
    default:
        return false;
    }
}

static void look(void *arg)
{
    struct call *k = arg;
    client_get(k->run->rc.controller->all->client, k->kind, k->ns, k->name, call_answered, k);
}

/* True when the answer is not the last word. */
static bool resolve(struct call *k, const struct client_reply *reply)
{
    if (k->verb != CLIENT_CREATE || k->tries >= RESOLVE_TRIES)
        return false;
    if (!is_unknown(reply))
        return false;
    if (k->tries++ == 0)
        rt_timer_init(&k->timer, k->rt, look, k);
    rt_timer_start(&k->timer, MIN((20 * NSEC_PER_MSEC) << k->tries, 5 * NSEC_PER_SEC));
    return true;
}

/* Another name, when chance has picked one that is taken (and not by a try of ours that came
 * through). */
static bool rename_and_retry(struct call *k, const struct client_reply *reply)
{
    struct run *r = k->run;
    if (!k->named || reply->r != -EEXIST || k->tries > 0 || k->names++ >= NAME_TRIES)
        return false;
    k->named->name = random_name(&r->rc, k->named->generate_name);
    k->name = k->named->name;
    client_create(r->rc.controller->all->client, k->kind, k->named, call_answered, k);
    return true;
}

static void call_answered(void *arg, const struct client_reply *reply)
{
    struct call *k = arg;
    struct run *r = k->run;
    if (resolve(k, reply) || rename_and_retry(k, reply))
        return;
    mark_add(r, k, reply);
    if (!k->done)
        default_done(r, k, reply);
    else if (!k->done(&r->rc, k->arg, reply))
        r->failed = true;
    call_free(k);
    ASSERT(r->n_calls > 0);
    r->n_calls--;
    run_settle(r);
}

void run_drop_calls(struct run *r)
{
    while (!list_empty(&r->calls))
        call_free(LIST_FIRST(&r->calls, struct call, node));
    r->n_calls = 0;
}

static struct call *start(struct reconcile *rc, const struct client_request *req, struct str uid,
                          reconcile_done_fn done, void *arg)
{
    struct run *r = run_of(rc);
    struct call *k = NEW(struct call);
    struct controllers *cs = rc->controller->all;
    const struct api_object_meta *m = req->body;
    k->run = r;
    k->rt = cs->rt;
    k->verb = req->verb;
    k->kind = req->kind;
    k->ns = arena_str(&r->memory, req->verb == CLIENT_CREATE && m ? m->namespace : req->ns);
    k->name = arena_str(&r->memory, req->verb == CLIENT_CREATE && m ? m->name : req->name);
    k->uid = arena_str(&r->memory, uid);
    k->done = done;
    k->arg = arg;
    list_init(&k->node);
    list_push_back(&r->calls, &k->node);
    r->n_calls++;
    client_call(cs->client, req, call_answered, k);
    return k;
}

void controller_call(struct reconcile *rc, const struct client_request *req, reconcile_done_fn done,
                     void *arg)
{
    (void)start(rc, req, STR_NONE, done, arg);
}

/* generateName as the server would do it: five characters that spell nothing. */
static struct str random_name(struct reconcile *rc, struct str prefix)
{
    static const char LETTERS[] = "bcdfghjklmnpqrstvwxz2456789";
    char tail[5];
    for (size_t i = 0; i < sizeof(tail); i++)
        tail[i] = LETTERS[rt_random_below(controller_rt(rc->controller), sizeof(LETTERS) - 1)];
    return arena_printf(rc->arena, "%.*s%.5s", (int)MIN(prefix.n, 58u), prefix.p, tail);
}

void controller_create(struct reconcile *rc, enum kind_id kind, void *msg, reconcile_done_fn done,
                       void *arg)
{
    struct api_object_meta *m = msg;
    bool ours = str_empty(m->name);
    if (ours)
        m->name = random_name(rc, m->generate_name);
    ASSERT(!str_empty(m->name));
    const struct client_request req = {
        .verb = CLIENT_CREATE, .kind = schema_kinds[kind], .ns = m->namespace, .body = msg};
    struct call *k = start(rc, &req, STR_NONE, done, arg); /* not answered before this returns */
    k->named = ours ? m : NULL;
}

void controller_update_sub(struct reconcile *rc, enum kind_id kind, const char *subresource,
                           const void *msg, reconcile_done_fn done, void *arg)
{
    const struct api_object_meta *m = msg;
    const struct client_request req = {.verb = CLIENT_UPDATE,
                                       .kind = schema_kinds[kind],
                                       .ns = m->namespace,
                                       .name = m->name,
                                       .subresource = str_z(subresource),
                                       .body = msg};
    (void)start(rc, &req, m->uid, done, arg);
}

void controller_update(struct reconcile *rc, enum kind_id kind, const void *msg,
                       reconcile_done_fn done, void *arg)
{
    controller_update_sub(rc, kind, NULL, msg, done, arg);
}

void controller_patch(struct reconcile *rc, enum kind_id kind, const struct api_object_meta *meta,
                      const char *subresource, enum client_patch type, struct str json,
                      reconcile_done_fn done, void *arg)
{
    const struct client_request req = {.verb = CLIENT_PATCH,
                                       .kind = schema_kinds[kind],
                                       .ns = meta->namespace,
                                       .name = meta->name,
                                       .subresource = str_z(subresource),
                                       .patch_type = type,
                                       .patch = json};
    (void)start(rc, &req, meta->uid, done, arg);
}

void controller_delete(struct reconcile *rc, enum kind_id kind, const struct api_object_meta *meta,
                       const char *propagation, reconcile_done_fn done, void *arg)
{
    const struct client_request req = {.verb = CLIENT_DELETE,
                                       .kind = schema_kinds[kind],
                                       .ns = meta->namespace,
                                       .name = meta->name,
                                       .precondition_uid = meta->uid,
                                       .propagation = str_z(propagation)};
    (void)start(rc, &req, meta->uid, done, arg);
}

void controller_delete_now(struct reconcile *rc, enum kind_id kind,
                           const struct api_object_meta *meta, reconcile_done_fn done, void *arg)
{
    const struct client_request req = {.verb = CLIENT_DELETE,
                                       .kind = schema_kinds[kind],
                                       .ns = meta->namespace,
                                       .name = meta->name,
                                       .precondition_uid = meta->uid,
                                       .has_grace_period = true};
    (void)start(rc, &req, meta->uid, done, arg);
}

bool reconcile_ns_is_going(const struct error *err)
{
    return err && err->reason == REASON_FORBIDDEN &&
           str_search(err->message, STR("being terminated")) >= 0;
}

/* ---- slow start ---- */

struct batch {
    enum kind_id kind;
    void *const *msgs;
    uint32_t n, next, in_flight, size, n_created;
    struct error err; /* texts are in the run's arena */
    bool failed;
    reconcile_batch_fn finish;
    void *arg;
};

static void batch_step(struct reconcile *rc, struct batch *b);

static bool batch_answered(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct batch *b = arg;
    b->in_flight--;
    if (reply->r == 0) {
        b->n_created++;
    } else if (!b->failed) {
        b->failed = true;
        b->err.reason = reply->err ? reply->err->reason : error_reason_from_errno(reply->r);
        b->err.message = reply->err ? arena_str(rc->arena, reply->err->message)
                                    : arena_strz(rc->arena, strerror(-reply->r));
    }
    if (b->in_flight == 0)
        batch_step(rc, b);
    return true;
}

static void batch_step(struct reconcile *rc, struct batch *b)
{
    if (b->failed || b->next == b->n) {
        b->finish(rc, b->arg, b->n_created, b->failed ? &b->err : NULL);
        return;
    }
    uint32_t k = MIN(b->size, b->n - b->next), from = b->next;
    b->size *= 2;
    b->in_flight = k;
    b->next += k;
    for (uint32_t i = 0; i < k; i++)
        controller_create(rc, b->kind, b->msgs[from + i], batch_answered, b);
}

void controller_create_batch(struct reconcile *rc, enum kind_id kind, void *const *msgs, uint32_t n,
                             reconcile_batch_fn finish, void *arg)
{
    struct batch *b = ARENA_NEW(rc->arena, struct batch);
    *b =
        (struct batch){.kind = kind, .msgs = msgs, .n = n, .size = 1, .finish = finish, .arg = arg};
    batch_step(rc, b);
}
