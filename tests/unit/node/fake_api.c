/* See fake_api.h. Calls are answered from a task of the loop, as the contract asks. */
#include "fake_api.h"

#include "base/log.h"
#include "base/mem.h"
#include "schema/schema.h"

struct stored {
    struct list link;
    struct object *o;
};

struct pending {
    struct list link;
    struct rt_task task;
    struct fake_api *f;
    client_done_fn done;
    void *arg;
    int r;
    struct object *object;
    struct object **items;
    size_t n_items;
    void *message;
    struct arena arena;
};

struct client_watch {
    struct list link;
    struct fake_api *f;
    const struct schema_kind *kind;
    char *ns, *field;
    client_watch_fn fn;
    void *arg;
    struct list events; /* struct queued */
    struct rt_task task;
    bool broken;
};

struct queued {
    struct list link;
    struct client_event ev;
};

struct fake_api {
    struct client client;
    struct list objects, watches, pending;
    rev_t rev;
    bool up;
};

static bool matches(const struct object *o, const struct schema_kind *kind, struct str ns,
                    struct str field)
{
    if (o->kind != kind || (ns.n && !str_eq(ns, object_ns(o))))
        return false;
    struct str rest = field, key;
    if (field.n && str_cut(&rest, '=', &key)) {
        if (str_is(key, "metadata.name"))
            return str_eq(rest, object_name(o));
        if (str_is(key, "spec.nodeName"))
            return str_eq(rest, ((const struct api_pod *)o->msg)->spec.node_name);
    }
    return true;
}

static struct stored *find(struct fake_api *f, const struct schema_kind *kind, struct str ns,
                           struct str name)
{
    struct stored *s;
    LIST_FOR_EACH (s, &f->objects, link)
        if (s->o->kind == kind && str_eq(object_ns(s->o), ns) && str_eq(object_name(s->o), name))
            return s;
    return NULL;
}

static void on_events(void *arg)
{
    struct client_watch *w = arg;
    while (!list_empty(&w->events)) {
        struct queued *q = LIST_FIRST(&w->events, struct queued, link);
        list_remove(&q->link);
        struct error err = {0};
        if (q->ev.type == CLIENT_EVENT_ERROR) {
            (void)error_set(&err, REASON_GONE, "gone");
            q->ev.err = &err;
        }
        w->fn(w->arg, &q->ev, 1);
        error_fini(&err);
        object_unref(q->ev.object);
        bool end = q->ev.type == CLIENT_EVENT_ERROR;
        free(q);
        if (end)
            return;
    }
}

static void queue_event(struct client_watch *w, enum client_event_type type, struct object *o)
{
    struct queued *q = NEW(struct queued);
    q->ev =
        (struct client_event){.type = type, .object = object_ref(o), .rev = o ? o->rev : w->f->rev};
    list_push_back(&w->events, &q->link);
    rt_task_schedule(&w->task);
}

static void tell(struct fake_api *f, enum client_event_type type, struct object *o)
{
    struct client_watch *w;
    LIST_FOR_EACH (w, &f->watches, link)
        if (!w->broken && matches(o, w->kind, str_z(w->ns), str_z(w->field)))
            queue_event(w, type, o);
}

static struct object *put(struct fake_api *f, const struct schema_kind *kind, const void *msg)
{
    struct object *o = object_new(kind, msg, ++f->rev);
    struct stored *s = find(f, kind, object_ns(o), object_name(o));
    bool news = !s;
    if (news) {
        s = NEW(struct stored);
        list_push_back(&f->objects, &s->link);
    } else {
        object_unref(s->o);
    }
    s->o = o;
    tell(f, news ? CLIENT_EVENT_ADDED : CLIENT_EVENT_MODIFIED, o);
    return o;
}

static void drop(struct fake_api *f, struct stored *s)
{
    tell(f, CLIENT_EVENT_DELETED, s->o);
    object_unref(s->o);
    list_remove(&s->link);
    free(s);
}

/* ---- calls ---- */

static void on_pending(void *arg)
{
    struct pending *p = arg;
    struct error err = {0};
    list_remove(&p->link);
    if (p->r < 0)
        (void)error_set(&err, error_reason_from_errno(p->r), "fake: %s", strerror(-p->r));
    struct client_reply reply = {.r = p->r,
                                 .err = p->r < 0 ? &err : NULL,
                                 .object = p->object,
                                 .message = p->message,
                                 .items = p->items,
                                 .n_items = p->n_items,
                                 .rev = p->f->rev};
    if (p->done)
        p->done(p->arg, &reply);
    object_unref(p->object);
    for (size_t i = 0; i < p->n_items; i++)
        object_unref(p->items[i]);
    free(p->items);
    error_fini(&err);
    arena_fini(&p->arena);
    free(p);
}

static void patch_pod_status(struct fake_api *f, struct stored *s, const struct client_request *req)
{
    struct arena a = {0};
    struct api_pod patch, *copy = schema_clone(&api_pod_desc, s->o->msg, &a);
    struct error err = {0};
    if (schema_decode_text(&api_pod_desc, req->patch, &a, NULL, &patch, &err) < 0) {
        log_error("fake: bad patch: %.*s", STR_ARG(err.message));
        abort();
    }
    copy->status = patch.status;
    put(f, s->o->kind, copy);
    arena_fini(&a);
}

static void fake_call(struct client *c, const struct client_request *req, client_done_fn done,
                      void *arg)
{
    struct fake_api *f = (struct fake_api *)c;
    struct pending *p = NEW(struct pending);
    p->f = f;
    p->done = done;
    p->arg = arg;
    rt_task_init(&p->task, c->rt, on_pending, p);
    list_push_back(&f->pending, &p->link);
    rt_task_schedule(&p->task);
    if (!f->up) {
        p->r = -ECONNREFUSED;
        return;
    }
    struct stored *s = req->name.n ? find(f, req->kind, req->ns, req->name) : NULL;
    switch (req->verb) {
    case CLIENT_GET:
        p->r = s ? 0 : -ENOENT;
        p->object = s ? object_ref(s->o) : NULL;
        break;
    case CLIENT_LIST: {
        struct stored *it;
        size_t n = 0;
        LIST_FOR_EACH (it, &f->objects, link)
            n++;
        p->items = xcalloc(n + 1, sizeof(*p->items));
        LIST_FOR_EACH (it, &f->objects, link)
            if (matches(it->o, req->kind, req->ns, req->field_selector))
                p->items[p->n_items++] = object_ref(it->o);
        break;
    }
    case CLIENT_CREATE:
        if (str_is(req->subresource, "token")) {
            struct api_token_request *t = ARENA_NEW(&p->arena, struct api_token_request);
            t->status.token = STR("token-of-test");
            t->status.expiration_timestamp = timestamp_seconds(rt_wall(c->rt) + 3600000000);
            p->message = t;
        } else {
            p->object = object_ref(put(f, req->kind, req->body));
        }
        break;
    case CLIENT_PATCH:
        p->r = s ? 0 : -ENOENT;
        if (s && req->kind == schema_kinds[KIND_POD] && str_is(req->subresource, "status"))
            patch_pod_status(f, s, req);
        if ((s = find(f, req->kind, req->ns, req->name)))
            p->object = object_ref(s->o);
        break;
    case CLIENT_DELETE:
        p->r = s ? 0 : -ENOENT;
        if (s)
            drop(f, s);
        break;
    default:
        break;
    }
}

static struct client_watch *fake_watch_start(struct client *c, const struct client_watch_opts *o,
                                             client_watch_fn fn, void *arg)
{
    struct fake_api *f = (struct fake_api *)c;
    struct client_watch *w = NEW(struct client_watch);
    w->f = f;
    w->kind = o->kind;
    w->ns = str_dup(o->ns);
    w->field = str_dup(o->field_selector);
    w->fn = fn;
    w->arg = arg;
    list_init(&w->events);
    rt_task_init(&w->task, c->rt, on_events, w);
    list_push_back(&f->watches, &w->link);
    if (!f->up) {
        w->broken = true;
        queue_event(w, CLIENT_EVENT_ERROR, NULL);
        return w;
    }
    struct stored *s; /* what came after the list */
    LIST_FOR_EACH (s, &f->objects, link)
        if (s->o->rev > o->from_rev && matches(s->o, w->kind, str_z(w->ns), str_z(w->field)))
            queue_event(w, CLIENT_EVENT_MODIFIED, s->o);
    return w;
}

static void fake_watch_stop(struct client *c, struct client_watch *w)
{
    rt_task_cancel(&w->task);
    while (!list_empty(&w->events)) {
        struct queued *q = LIST_FIRST(&w->events, struct queued, link);
        list_remove(&q->link);
        object_unref(q->ev.object);
        free(q);
    }
    list_remove(&w->link);
    free(w->ns);
    free(w->field);
    free(w);
}

static void fake_free(struct client *c)
{
}

static const struct client_ops ops = {fake_call, fake_watch_start, fake_watch_stop, fake_free};

/* ---- for the test ---- */

struct fake_api *fake_api_new(struct rt *rt)
{
    struct fake_api *f = NEW(struct fake_api);
    f->client = (struct client){.ops = &ops, .rt = rt};
    f->up = true;
    f->rev = 1;
    list_init(&f->objects);
    list_init(&f->watches);
    list_init(&f->pending);
    return f;
}

struct fake_api *fake_api_free(struct fake_api *f)
{
    if (!f)
        return NULL;
    while (!list_empty(&f->objects)) {
        struct stored *s = LIST_FIRST(&f->objects, struct stored, link);
        object_unref(s->o);
        list_remove(&s->link);
        free(s);
    }
    while (!list_empty(&f->pending)) {
        struct pending *p = LIST_FIRST(&f->pending, struct pending, link);
        rt_task_cancel(&p->task);
        p->done = NULL;
        on_pending(p);
    }
    free(f);
    return NULL;
}

struct client *fake_api_client(struct fake_api *f)
{
    return &f->client;
}

void fake_api_put(struct fake_api *f, int kind_id, const char *json)
{
    struct arena a = {0};
    struct error err = {0};
    const struct schema_kind *k = schema_kinds[kind_id];
    void *msg = schema_new(k->desc, &a);
    if (schema_decode_text(k->desc, str_z(json), &a, NULL, msg, &err) < 0) {
        log_error("fake: %.*s in %s", STR_ARG(err.message), json);
        abort();
    }
    schema_default(k->desc, msg, &a);
    put(f, k, msg);
    arena_fini(&a);
    error_fini(&err);
}

void fake_api_delete(struct fake_api *f, int kind_id, const char *ns, const char *name)
{
    struct stored *s = find(f, schema_kinds[kind_id], str_z(ns), str_z(name));
    if (s)
        drop(f, s);
}

struct object *fake_api_get(struct fake_api *f, int kind_id, const char *ns, const char *name)
{
    struct stored *s = find(f, schema_kinds[kind_id], str_z(ns), str_z(name));
    return s ? s->o : NULL;
}

void fake_api_up(struct fake_api *f, bool up)
{
    f->up = up;
    struct client_watch *w;
    if (!up)
        LIST_FOR_EACH (w, &f->watches, link)
            if (!w->broken) {
                w->broken = true;
                queue_event(w, CLIENT_EVENT_ERROR, NULL);
            }
}

void fake_api_delete_gracefully(struct fake_api *f, const char *ns, const char *name,
                                int64_t grace_s)
{
    struct stored *s = find(f, schema_kinds[KIND_POD], str_z(ns), str_z(name));
    struct arena a = {0};
    if (!s)
        return;
    struct api_pod *copy = schema_clone(&api_pod_desc, s->o->msg, &a);
    copy->metadata.deletion_timestamp = timestamp_seconds(rt_wall(f->client.rt));
    copy->metadata.has_deletion_grace_period_seconds = true;
    copy->metadata.deletion_grace_period_seconds = grace_s;
    copy->metadata.generation++;
    put(f, s->o->kind, copy);
    arena_fini(&a);
}

unsigned fake_api_count_events(struct fake_api *f, const char *reason)
{
    unsigned n = 0;
    struct stored *s;
    LIST_FOR_EACH (s, &f->objects, link)
        if (s->o->kind == schema_kinds[KIND_EVENT] &&
            str_eqz(((const struct api_event *)s->o->msg)->reason, reason))
            n++;
    return n;
}
