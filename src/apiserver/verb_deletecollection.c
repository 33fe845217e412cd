/* deletecollection: every object a list would give, deleted by the rules of a single delete. All
 * writes are queued in one turn; the answer is the list of what was deleted, when the last of them
 * is durable. Where webhooks are asked about deletes, or policies want something converted by one,
 * each (from the first it is needed for) is a call of its own, some at a time. */
#include "apiserver/custom/call_convert.h"
#include "apiserver/custom/call_view.h"
#include "apiserver/hooks/hooks.h"

static void on_one(void *arg, int r, struct object *obj, const struct error *err)
{
    struct api_call *c = arg;
    ASSERT(c->writes_left > 0);
    if (r < 0 && r != -ENOENT && c->reply.r >= 0) {
        c->reply.r = r;
        if (err && c->reply.err.reason == REASON_NONE)
            error_copy(&c->reply.err, err);
    }
    if (--c->writes_left == 0)
        call_finish(c);
}

/* ---- by calls ---- */

#define AT_ONCE 8 /* K8S: 1; a webhook needs milliseconds */

struct collection {
    struct api_call *call;
    size_t next;
    unsigned running;
    bool starting;
};

static bool start_more(struct collection *k);

static void on_child(struct api_call *child)
{
    struct collection *k = child->arg;
    struct api_call *c = k->call;
    const struct api_reply *rep = &child->reply;
    k->running--;
    if (rep->r < 0 && rep->err.reason != REASON_NOT_FOUND && c->reply.r >= 0) {
        c->reply.r = rep->r;
        error_copy(&c->reply.err, &rep->err);
        if (rep->status)
            c->reply.status = schema_clone(&api_status_desc, rep->status, &c->arena);
    }
    for (unsigned i = 0; i < rep->n_warnings; i++)
        api_call_warn(c, "%.*s", STR_ARG(rep->warnings[i]));
    api_call_free(child);
    if (!k->starting && !start_more(k) && --c->writes_left == 0)
        call_finish(c);
}

static void drop_child(struct api_call *child)
{
    api_call_free(child);
}

static void start_child(struct collection *k, const struct object *o)
{
    struct api_call *c = k->call, *child = api_call_new(c->server);
    child->verb = API_DELETE;
    child->kind = c->kind;
    child->ns = arena_str(&child->arena, object_ns(o));
    child->name = arena_str(&child->arena, object_name(o));
    call_copy_user(child, &c->user); /* the parent's may go with the client that gave it */
    child->authorized = true;
    child->opts.dry_run = c->opts.dry_run;
    child->del = c->del;
    child->done = on_child;
    child->dropped = drop_child;
    child->arg = k;
    k->running++;
    api_call_start(child);
}

/* True: some run. Children that end inside the call that starts them leave it to the loop. */
static bool start_more(struct collection *k)
{
    struct api_call *c = k->call;
    k->starting = true;
    while (k->running < AT_ONCE && k->next < c->reply.n_items && c->reply.r >= 0)
        start_child(k, c->reply.items[k->next++]);
    k->starting = false;
    return k->running;
}

/* Those from `next` on. What was written before is one of what it waits for. */
static void by_calls(struct api_call *c, size_t next)
{
    struct collection *k = ARENA_NEW(&c->arena, struct collection);
    k->call = c;
    k->next = next;
    c->writes_left += start_more(k);
}

/* 1: it cannot be said here and now. */
static int admit_one(struct api_call *c, struct object *now)
{
    unsigned n_warnings = c->reply.n_warnings;
    int r = admit_delete(c, call_in_hand(c, now));
    if (r > 0) { /* a call of its own asks again */
        c->reply.n_warnings = n_warnings;
        call_views_free(c);
    }
    return r;
}

int verb_deletecollection(struct api_call *c)
{
    int r = delete_check_options(c);
    if (r >= 0)
        r = verb_list(c);
    if (r != 0)
        return r;
    for (size_t i = 0; i < c->reply.n_items; i++) /* as they are answered: before any goes */
        (void)call_seen(c, c->reply.items[i]);
    r = call_convert_missing(c);
    if (r != 0)
        return r;
    if (c->hooks)
        by_calls(c, 0);
    for (size_t i = 0; i < c->reply.n_items && !c->hooks; i++) {
        struct object *o = c->reply.items[i];
        struct object *now = store_peek(c->server->store, o->kind, object_ns(o), object_name(o));
        if (!now)
            continue;
        r = admit_one(c, now);
        if (r > 0) {
            by_calls(c, i);
            break;
        }
        if (r >= 0)
            r = delete_one(c, now, on_one, c);
        if (r == -ENOENT || r == -ESTALE) {
            error_clear(&c->reply.err);
            r = 0;
        }
        if (r < 0)
            break;
        c->writes_left += r > 0;
    }
    if (r < 0)
        c->reply.r = r;
    if (c->writes_left)
        return 1; /* on_one or on_child answers, also with an error from above */
    return c->reply.r;
}
