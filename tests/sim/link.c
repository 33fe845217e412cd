/* The simulated network. Requests are kept as they came (cloned) and handed to the inner client
 * after a delay; answers and watch events are kept as counted objects and handed on after another.
 * Events of one watch keep their order, as bytes of one connection do. */
#include "link.h"

#include "base/list.h"
#include "base/mem.h"

struct link {
    struct client client; /* first */
    const struct link_faults *faults;
    struct client *inner; /* owned; NULL: no server */
    struct list calls, watches;
    uint64_t random;
    bool cut_up, cut_down; /* to the server, from it */
    void (*on_free)(void *arg);
    void *on_free_arg;
};

struct link_call {
    struct list node;
    struct link *link;
    struct arena arena;
    struct client_request req;
    client_done_fn done;
    void (*dropped)(void *arg);
    void *arg;
    struct rt_timer timer;
    bool at_server; /* the inner client has it */
    /* the answer */
    struct client_reply reply;
    struct error err;
};

struct link_event {
    struct list node;
    struct client_event ev;
    struct error err;
};

struct client_watch { /* of the link */
    struct list node;
    struct link *link;
    struct client_watch *inner; /* NULL: not at the server (yet, or any more) */
    struct arena arena;
    struct client_watch_opts opts;
    client_watch_fn fn;
    void *arg;
    struct list events;
    struct rt_timer timer;
    bool started, over, delivering;
    bool dead; /* stopped while it delivers */
};

static uint64_t next_random(struct link *l)
{
    uint64_t z = (l->random += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static nsec_t delay(struct link *l)
{
    nsec_t span = l->faults->delay_max - l->faults->delay_min;
    return l->faults->delay_min + (span > 0 ? (nsec_t)(next_random(l) % (uint64_t)span) : 0);
}

static bool lost(struct link *l, bool cut)
{
    return cut || (double)(next_random(l) >> 11) * 0x1p-53 < l->faults->loss;
}

/* ---- calls ---- */

static void call_free(struct link_call *k)
{
    list_remove(&k->node);
    rt_timer_stop(&k->timer);
    (void)object_unref(k->reply.object);
    for (size_t i = 0; i < k->reply.n_items; i++)
        (void)object_unref(k->reply.items[i]);
    error_fini(&k->err);
    arena_fini(&k->arena);
    free(k);
}

static void call_tell(void *arg)
{
    struct link_call *k = arg;
    list_remove(&k->node);
    if (k->done)
        k->done(k->arg, &k->reply);
    call_free(k);
}

static void call_lose(struct link_call *k, nsec_t after)
{
    k->reply.r = -ECONNRESET;
    k->reply.err = NULL;
    rt_timer_init(&k->timer, k->link->client.rt, call_tell, k);
    rt_timer_start(&k->timer, after);
}

static void call_answered(void *arg, const struct client_reply *reply)
{
    struct link_call *k = arg;
    struct link *l = k->link;
    k->at_server = false;
    if (lost(l, l->cut_down)) {
        call_lose(k, l->faults->timeout);
        return;
    }
    k->reply = *reply;
    k->reply.message = NULL; /* nobody here asks for other types */
    k->reply.object = reply->object ? object_ref(reply->object) : NULL;
    k->reply.items = ARENA_NEW_N(&k->arena, struct object *, reply->n_items + 1);
    for (size_t i = 0; i < reply->n_items; i++)
        k->reply.items[i] = object_ref(reply->items[i]);
    k->reply.continue_ = arena_str(&k->arena, reply->continue_);
    if (reply->err) {
        error_copy(&k->err, reply->err);
        k->reply.err = &k->err;
    }
    rt_timer_init(&k->timer, l->client.rt, call_tell, k);
    rt_timer_start(&k->timer, delay(l));
}

static void call_arrives(void *arg)
{
    struct link_call *k = arg;
    struct link *l = k->link;
    if (!l->inner) {
        call_lose(k, delay(l));
        return;
    }
    k->at_server = true;
    client_call(l->inner, &k->req, call_answered, k);
}

static void link_call(struct client *c, const struct client_request *req, client_done_fn done,
                      void *arg)
{
    struct link *l = CONTAINER_OF(c, struct link, client);
    struct link_call *k = NEW(struct link_call);
    struct arena *a = &k->arena;
    k->link = l;
    k->done = done;
    k->arg = arg;
    k->req = *req;
    k->dropped = req->dropped;
    k->req.dropped = NULL; /* a call at a server that dies is lost: link_set_inner */
    struct str *const texts[] = {&k->req.ns,
                                 &k->req.name,
                                 &k->req.subresource,
                                 &k->req.patch,
                                 &k->req.label_selector,
                                 &k->req.field_selector,
                                 &k->req.continue_,
                                 &k->req.resource_version,
                                 &k->req.precondition_uid,
                                 &k->req.precondition_rv,
                                 &k->req.propagation};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = texts[i]->p ? arena_str(a, *texts[i]) : STR_NONE;
    if (req->body)
        k->req.body = schema_clone(req->body_desc ? req->body_desc : req->kind->desc, req->body, a);
    list_push_back(&l->calls, &k->node);
    if (lost(l, l->cut_up)) {
        call_lose(k, l->faults->timeout);
        return;
    }
    rt_timer_init(&k->timer, c->rt, call_arrives, k);
    rt_timer_start(&k->timer, delay(l));
}

/* ---- watches ---- */

static void events_clear(struct client_watch *w)
{
    struct link_event *e;
    LIST_FOR_EACH (e, &w->events, node) {
        list_remove(&e->node);
        (void)object_unref(e->ev.object);
        error_fini(&e->err);
        free(e);
    }
}

static void watch_free(struct client_watch *w)
{
    arena_fini(&w->arena);
    free(w);
}

static void watch_deliver(void *arg)
{
    struct client_watch *w = arg;
    if (w->link->cut_down && !w->over)
        return; /* what is in the pipe stays there; watch_break ends it */
    w->delivering = true;
    while (!w->dead && !list_empty(&w->events)) {
        struct link_event *e = LIST_FIRST(&w->events, struct link_event, node);
        list_remove(&e->node);
        w->fn(w->arg, &e->ev, 1);
        (void)object_unref(e->ev.object);
        error_fini(&e->err);
        free(e);
    }
    w->delivering = false;
    if (w->dead)
        watch_free(w);
}

static void watch_push(struct client_watch *w, const struct client_event *ev)
{
    struct link_event *e = NEW(struct link_event);
    e->ev = *ev;
    e->ev.object = ev->object ? object_ref(ev->object) : NULL;
    if (ev->err) {
        error_copy(&e->err, ev->err);
        e->ev.err = &e->err;
    }
    list_init(&e->node);
    list_push_back(&w->events, &e->node);
    if (!rt_timer_active(&w->timer)) {
        rt_timer_init(&w->timer, w->link->client.rt, watch_deliver, w);
        rt_timer_start(&w->timer, delay(w->link));
    }
}

static void on_events(void *arg, const struct client_event *events, size_t n)
{
    struct client_watch *w = arg;
    for (size_t i = 0; i < n && !w->over; i++) {
        watch_push(w, &events[i]);
        w->over = events[i].type == CLIENT_EVENT_ERROR;
    }
}

/* The connection breaks: what is still in the pipe is lost, the watcher is told. */
static void watch_break(struct client_watch *w, nsec_t after)
{
    struct error err = {0};
    if (w->inner && w->link->inner)
        client_watch_stop(w->link->inner, w->inner);
    w->inner = NULL;
    if (w->over)
        return;
    events_clear(w);
    w->over = true;
    (void)error_set(&err, REASON_UNAVAILABLE, "connection reset");
    rt_timer_stop(&w->timer);
    watch_push(w, &(struct client_event){.type = CLIENT_EVENT_ERROR, .err = &err});
    rt_timer_start(&w->timer, after);
    error_fini(&err);
}

static void watch_arrives(void *arg)
{
    struct client_watch *w = arg;
    struct link *l = w->link;
    w->started = true;
    if (!l->inner || l->cut_up || l->cut_down)
        watch_break(w, l->faults->timeout);
    else
        w->inner = client_watch_start(l->inner, &w->opts, on_events, w);
}

static struct client_watch *link_watch_start(struct client *c, const struct client_watch_opts *o,
                                             client_watch_fn fn, void *arg)
{
    struct link *l = CONTAINER_OF(c, struct link, client);
    struct client_watch *w = NEW(struct client_watch);
    w->link = l;
    w->opts = *o;
    w->opts.ns = o->ns.p ? arena_str(&w->arena, o->ns) : STR_NONE;
    w->opts.label_selector =
        o->label_selector.p ? arena_str(&w->arena, o->label_selector) : STR_NONE;
    w->opts.field_selector =
        o->field_selector.p ? arena_str(&w->arena, o->field_selector) : STR_NONE;
    w->fn = fn;
    w->arg = arg;
    list_init(&w->events);
    list_push_back(&l->watches, &w->node);
    rt_timer_init(&w->timer, c->rt, watch_arrives, w);
    rt_timer_start(&w->timer, delay(l));
    return w;
}

static void link_watch_stop(struct client *c, struct client_watch *w)
{
    if (!w)
        return;
    if (w->inner && w->link->inner)
        client_watch_stop(w->link->inner, w->inner);
    events_clear(w);
    rt_timer_stop(&w->timer);
    list_remove(&w->node);
    w->dead = true;
    if (!w->delivering)
        watch_free(w);
}

/* ---- life ---- */

void link_set_cut(struct client *c, bool cut)
{
    link_set_cut_ways(c, cut, cut);
}

/* Without acknowledgements a connection dies, whichever way is cut. */
void link_set_cut_ways(struct client *c, bool up, bool down)
{
    struct link *l = CONTAINER_OF(c, struct link, client);
    struct client_watch *w;
    l->cut_up = up;
    l->cut_down = down;
    if (!up && !down)
        return;
    LIST_FOR_EACH (w, &l->watches, node)
        if (w->started)
            watch_break(w, l->faults->timeout);
}

void link_set_inner(struct client *c, struct client *inner)
{
    struct link *l = CONTAINER_OF(c, struct link, client);
    struct client_watch *w;
    struct link_call *k;
    if (l->inner) {
        LIST_FOR_EACH (w, &l->watches, node)
            if (w->started)
                watch_break(w, delay(l));
        LIST_FOR_EACH (k, &l->calls, node) {
            if (!k->at_server)
                continue;
            k->at_server = false;
            call_lose(k, delay(l));
        }
        client_free(l->inner);
    }
    l->inner = inner;
}

static void link_free(struct client *c)
{
    struct link *l = CONTAINER_OF(c, struct link, client);
    while (!list_empty(&l->watches))
        link_watch_stop(c, LIST_FIRST(&l->watches, struct client_watch, node));
    if (l->inner)
        client_free(l->inner);
    while (!list_empty(&l->calls)) {
        struct link_call *k = LIST_FIRST(&l->calls, struct link_call, node);
        if (k->dropped)
            k->dropped(k->arg);
        call_free(k);
    }
    if (l->on_free)
        l->on_free(l->on_free_arg);
    free(l);
}

void link_on_free(struct client *c, void (*fn)(void *arg), void *arg)
{
    struct link *l = CONTAINER_OF(c, struct link, client);
    l->on_free = fn;
    l->on_free_arg = arg;
}

static const struct client_ops OPS = {
    .call = link_call,
    .watch_start = link_watch_start,
    .watch_stop = link_watch_stop,
    .free = link_free,
};

struct client *link_new(struct rt *rt, const struct link_faults *faults, uint64_t seed)
{
    struct link *l = NEW(struct link);
    l->client = (struct client){.ops = &OPS, .rt = rt};
    l->faults = faults;
    l->random = seed;
    list_init(&l->calls);
    list_init(&l->watches);
    return &l->client;
}
