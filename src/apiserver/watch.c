/* Watches on the core thread: the store's raw events, cut down to what a watcher asked for.
 *
 * With selectors an object may start or cease to match: the watcher then sees ADDED or DELETED,
 * whatever the store saw (a DELETED made here carries the last matching state at the event's
 * revision, as in Kubernetes). A watch with initial events holds the state of its start until its
 * first turn, so that what is told as present and what follows meet at one revision without a
 * gap. */
#include "apiserver/internal.h"
#include "apiserver/custom/watch_convert.h"
#include "apiserver/watch_hub.h"
#include "apiserver/watch_state.h"
#include "base/trace.h"
#include "schema/custom.h"
#include "schema/select.h"

struct api_watch {
    struct apiserver *server;
    struct list link; /* server->watches */
    struct store_watch store_watch;
    struct arena arena; /* selectors and names */
    const struct schema_kind *kind;
    struct str name, ns;
    struct label_selector labels;
    struct field_selector fields;
    bool bookmarks, end_bookmark, running, stopped, in_fn;
    bool over;                 /* an error was told: the last event */
    struct watch_state *state; /* owned; what is there, until it is told */
    rev_t initial_rev;
    bool initial_pending;
    /* Of kinds with a conversion webhook: not converted, and not matched with the selectors */
    bool initial_raw;
    struct object **initial; /* owned references */
    size_t n_initial;
    struct convert_want initial_want;
    struct watch_convert convert;
    /* One name or one node: fed by a hub once it has caught up. */
    struct hub_member member;
    enum hub_by by;
    struct str hub_value;
    rev_t seen;            /* of the hub's events */
    struct list candidate; /* server->hub_candidates */
    nsec_t started;
    struct rt_task task;
    struct error err; /* to be told by the task: the stream cannot start */
    api_watch_fn fn;
    void *arg;
};

/* What it wants, for people. */
static const char *wanted(const struct api_watch *w, char *out, size_t n)
{
    char res[256];
    snprintf(out, n, "%s%s%.*s%s%.*s%s%.*s", kind_resource(w->kind, res, sizeof(res)),
             w->ns.n ? "/" : "", STR_ARG(w->ns), w->name.n ? "/" : "", STR_ARG(w->name),
             w->by == HUB_NODE ? " of node " : "",
             STR_ARG(w->by == HUB_NODE ? w->hub_value : STR_NONE));
    return out;
}

void api_watches_print(struct apiserver *s, unsigned lines_max, struct buf *out)
{
    struct api_watch *w;
    unsigned shown = 0;
    buf_printf(out, "\nwatches: %zu\n", s->n_watches);
    LIST_FOR_EACH (w, &s->watches, link) {
        char text[700];
        if (shown++ == lines_max)
            break;
        buf_printf(out, "  %s%s, %lld s\n", wanted(w, text, sizeof(text)),
                   w->member.key        ? ", by a hub"
                   : w->initial_pending ? ", its first objects are on their way"
                                        : "",
                   (long long)((rt_now(s->rt) - w->started) / NSEC_PER_SEC));
    }
}

static void trace_told(const struct api_watch *w, const struct client_event *events, size_t n)
{
    static const char *const types[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"};
    char text[700], res[256];
    wanted(w, text, sizeof(text));
    for (size_t i = 0; i < n; i++) {
        const struct object *o = events[i].object;
        if (events[i].type > CLIENT_EVENT_DELETED || !o)
            continue;
        trace("watch of %s is told: %s %s%s%.*s/%.*s uid %.*s revision %llu", text,
              types[events[i].type], kind_resource(o->kind, res, sizeof(res)),
              object_ns(o).n ? "/" : "", STR_ARG(object_ns(o)), STR_ARG(object_name(o)),
              STR_ARG(object_meta(o)->uid), (unsigned long long)o->rev);
    }
}

static bool matches(const struct api_watch *w, struct object *o)
{
    const struct api_object_meta *m = object_meta(o);
    if (w->name.p && !str_eq(w->name, m->name))
        return false;
    if (!label_selector_match(&w->labels, m->labels, m->n_labels))
        return false;
    if (w->fields.n_terms == 0)
        return true;
    if (o->kind == w->kind)
        return field_selector_match(&w->fields, o->msg);
    struct arena a = {0};
    bool yes = field_selector_match(&w->fields, schema_from_storage(w->kind, o->msg, &a));
    arena_fini(&a);
    return yes;
}

static bool converts(const struct api_watch *w)
{
    return custom_is_served(w->kind) && converts_kind(w->server->converts, w->kind);
}

static void release(struct api_watch *w)
{
    convert_cancel(&w->initial_want);
    error_fini(&w->initial_want.err);
    watch_convert_fini(&w->convert);
    w->state = watch_state_unref(w->state);
    for (size_t i = 0; i < w->n_initial; i++)
        object_unref(w->initial[i]);
    free(w->initial);
    w->initial = NULL;
    w->n_initial = 0;
}

static void finish_stop(struct api_watch *w)
{
    release(w);
    error_fini(&w->err);
    arena_fini(&w->arena);
    free(w);
}

/* Calls out; false when the watch was stopped from inside (it is gone then). */
static bool tell(struct api_watch *w, const struct client_event *events, size_t n)
{
    w->in_fn = true;
    if (UNLIKELY(trace_on))
        trace_told(w, events, n);
    w->fn(w->arg, events, n);
    w->in_fn = false;
    if (w->stopped) {
        finish_stop(w);
        return false;
    }
    return true;
}

/* The objects in w->initial make the state. */
static void settle(struct api_watch *w)
{
    w->state =
        watch_state_new(w->kind, w->ns, w->initial_rev, w->end_bookmark, w->initial, w->n_initial);
    free(w->initial);
    w->initial = NULL;
    w->n_initial = 0;
}

static bool tell_initial(struct api_watch *w)
{
    struct watch_state *t = w->state;
    w->initial_pending = false;
    w->state = NULL;
    bool alive = t->n == 0 || tell(w, t->events, t->n);
    watch_state_unref(t);
    return alive;
}

/* ---- hubs ---- */

#define HUB_RETRY NSEC_PER_SEC

static void try_hub(struct api_watch *w)
{
    struct hub_member *m = &w->member;
    list_remove(&w->candidate);
    if (hub_join(w->server->hubs, m, storage_kind(w->kind), w->by, w->hub_value,
                 w->store_watch.sent)) {
        w->seen = w->store_watch.sent;
        store_watch_stop(&w->store_watch);
    } else { /* it is still catching up */
        list_push_back(&w->server->hub_candidates, &w->candidate);
        if (!rt_timer_active(&w->server->hub_timer))
            rt_timer_start(&w->server->hub_timer, HUB_RETRY);
    }
}

static void on_store_events(void *arg, const struct store_event *events, size_t n);

static bool is_mine(const struct api_watch *w, const struct store_event *e)
{
    return e->rev > w->seen && (!w->ns.n || str_eq(object_ns(e->object), w->ns));
}

static void on_hub_events(struct hub_member *m, const struct store_event *events, size_t n)
{
    struct api_watch *w = CONTAINER_OF(m, struct api_watch, member);
    size_t k = 0, i = 0;
    while (i < n && is_mine(w, &events[i]))
        i++;
    if (i == n) { /* as a rule: nothing is left out */
        w->seen = MAX(w->seen, events[n - 1].rev);
        on_store_events(w, events, n);
        return;
    }
    struct store_event *mine = xcalloc(n, sizeof(*mine));
    for (i = 0; i < n; i++)
        if (is_mine(w, &events[i]))
            mine[k++] = events[i];
    w->seen = MAX(w->seen, events[n - 1].rev);
    if (k)
        on_store_events(w, mine, k);
    free(mine);
}

void api_watch_hubs_init(struct apiserver *s)
{
    list_init(&s->hub_candidates);
    s->hubs = hubs_new(s);
    hubs_on_deliver(s->hubs, on_hub_events);
}

static void choose_hub(struct api_watch *w)
{
    if (storage_kind(w->kind) != w->kind && !w->kind->custom)
        return;
    struct str name = w->name.n ? w->name : field_selector_exact(&w->fields, STR("metadata.name"));
    struct str node =
        w->kind == KIND(POD) ? field_selector_exact(&w->fields, STR("spec.nodeName")) : STR_NONE;
    w->by = node.n ? HUB_NODE : name.n ? HUB_NAME : HUB_NONE;
    w->hub_value = node.n ? node : name;
}

/* ---- kinds with a conversion webhook ---- */

static void fail_soon(struct api_watch *w, const struct error *err)
{
    if (w->err.reason == REASON_NONE)
        error_copy(&w->err, err);
    rt_task_schedule(&w->task);
}

/* The snapshot has been converted: now it can be said what of it was asked for. */
static bool initial_settle(struct api_watch *w)
{
    size_t n = 0;
    w->initial_raw = false;
    for (size_t i = 0; i < w->n_initial; i++) {
        if (matches(w, w->initial[i]))
            w->initial[n++] = w->initial[i];
        else
            object_unref(w->initial[i]);
    }
    w->n_initial = n;
    settle(w);
    return tell_initial(w);
}

static void on_initial(struct convert_want *want)
{
    struct api_watch *w = CONTAINER_OF(want, struct api_watch, initial_want);
    if (want->err.reason != REASON_NONE)
        fail_soon(w, &want->err);
    else if (initial_settle(w)) /* what came meanwhile */
        (void)watch_convert_add(&w->convert, NULL, 0);
}

static void initial_convert(struct api_watch *w)
{
    int r = convert_start(w->server->converts, &w->initial_want, w->kind->custom->variant,
                          w->initial, w->n_initial, on_initial);
    if (r < 0)
        fail_soon(w, &w->initial_want.err);
    else if (r == 0)
        on_initial(&w->initial_want);
}

static void on_task(void *arg)
{
    struct api_watch *w = arg;
    if (w->running && w->by != HUB_NONE && !w->member.key)
        try_hub(w);
    if (w->err.reason != REASON_NONE) {
        struct client_event ev = {CLIENT_EVENT_ERROR, NULL, 0, &w->err};
        if (w->over)
            return;
        w->over = true;
        release(w);
        w->initial_pending = false;
        (void)tell(w, &ev, 1);
        return;
    }
    if (w->initial_raw && !w->initial_want.cs)
        initial_convert(w);
    else if (w->initial_pending && !w->initial_raw)
        (void)tell_initial(w);
}

static size_t filter(struct api_watch *w, const struct store_event *e, struct client_event *out)
{
    bool now = e->type != STORE_EVENT_DELETED && matches(w, e->object);
    bool before = e->type == STORE_EVENT_DELETED ? matches(w, e->prev ? e->prev : e->object)
                                                 : e->prev && matches(w, e->prev);
    if (!now && !before)
        return 0;
    *out = (struct client_event){.object = e->object, .rev = e->rev};
    if (now)
        out->type = before ? CLIENT_EVENT_MODIFIED : CLIENT_EVENT_ADDED;
    else
        out->type = CLIENT_EVENT_DELETED;
    if (!now && e->type != STORE_EVENT_DELETED)
        out->object = object_new(e->prev->kind, e->prev->msg, e->rev); /* released by the caller */
    return 1;
}

#define EVENTS_ON_STACK 64

/* Everything that comes is told as it comes. */
static bool is_plain(const struct api_watch *w)
{
    /* a hub by name has matched what the name says, and names do not change */
    size_t matched = w->member.key && w->by == HUB_NAME ? 1 : 0;
    return (!w->name.p || matched) && label_selector_is_all(&w->labels) &&
           w->fields.n_terms <= (w->name.p ? 0 : matched);
}

/* False: the watch is gone. */
static bool tell_events(struct api_watch *w, const struct store_event *events, size_t n)
{
    struct client_event stack[EVENTS_ON_STACK];
    bool alive = true;
    struct client_event *out = n > EVENTS_ON_STACK ? xcalloc(n, sizeof(*out)) : stack;
    size_t k = 0;
    bool plain = is_plain(w);
    static const enum client_event_type types[_STORE_EVENT_MAX] = {
        CLIENT_EVENT_ADDED, CLIENT_EVENT_MODIFIED, CLIENT_EVENT_DELETED};
    for (size_t i = 0; i < n; i++) {
        if (plain)
            out[k++] =
                (struct client_event){types[events[i].type], events[i].object, events[i].rev, NULL};
        else
            k += filter(w, &events[i], &out[k]);
    }
    /* objects made by filter() are told apart by not being the store's */
    struct object **made = NULL;
    size_t n_made = 0;
    for (size_t i = 0, j = 0; !plain && i < k; i++) {
        while (j < n && events[j].rev != out[i].rev)
            j++;
        if (j < n && events[j].object != out[i].object) {
            if (!made)
                made = xcalloc(k, sizeof(*made));
            made[n_made++] = out[i].object;
        }
    }
    if (k)
        alive = tell(w, out, k);
    for (size_t i = 0; i < n_made; i++)
        object_unref(made[i]);
    free(made);
    if (out != stack)
        free(out);
    return alive;
}

static bool on_converted(struct watch_convert *q, const struct store_event *events, size_t n)
{
    return tell_events(CONTAINER_OF(q, struct api_watch, convert), events, n);
}

static void on_convert_failed(struct watch_convert *q, const struct error *err)
{
    fail_soon(CONTAINER_OF(q, struct api_watch, convert), err);
}

static void convert_init(struct api_watch *w)
{
    if (!custom_is_served(w->kind))
        return;
    watch_convert_init(&w->convert, w->server->converts, w->kind->custom->variant);
    w->convert.tell = on_converted;
    w->convert.fail = on_convert_failed;
    w->convert.with_prev = !is_plain(w);
}

static void on_store_events(void *arg, const struct store_event *events, size_t n)
{
    struct api_watch *w = arg;
    if (w->over || w->err.reason != REASON_NONE)
        return;
    if (w->initial_pending && !w->initial_raw && !tell_initial(w))
        return;
    if (w->initial_raw)
        watch_convert_hold(&w->convert, events, n);
    else if (converts(w) || watch_convert_busy(&w->convert))
        (void)watch_convert_add(&w->convert, events, n);
    else
        (void)tell_events(w, events, n);
}

static int take_snapshot(struct api_watch *w)
{
    struct store_iter it;
    struct store *st = w->server->store;
    bool shared = is_plain(w) && !converts(w);
    size_t cap = 0;
    w->initial_rev = store_rev(st);
    if (shared)
        w->state = watch_recent_get(w->server->watch_recent, w->kind, w->ns, w->initial_rev,
                                    w->end_bookmark);
    if (!w->state) {
        int r = store_iter_init(&it, st, storage_kind(w->kind), w->ns.n ? w->ns : STR_NONE, 0,
                                STR_NONE, STR_NONE);
        if (r < 0)
            return r;
        w->initial_raw = converts(w);
        for (struct object *o; (o = store_iter_next(&it));) {
            if (!w->initial_raw && !matches(w, o))
                continue;
            ARRAY_RESERVE(w->initial, w->n_initial, cap);
            w->initial[w->n_initial++] = object_ref(o);
        }
        store_iter_fini(&it);
        if (!w->initial_raw)
            settle(w);
        if (shared)
            watch_recent_keep(w->server->watch_recent, w->state);
    }
    w->initial_pending = true;
    return 0;
}

int api_watch_start(struct apiserver *s, const struct api_watch_opts *o, api_watch_fn fn, void *arg,
                    struct api_watch **ret, struct error *err)
{
    struct api_watch *w = NEW(struct api_watch);
    w->server = s;
    w->kind = o->kind;
    w->fn = fn;
    w->arg = arg;
    w->bookmarks = o->bookmarks;
    w->end_bookmark = o->initial && o->initial_end_bookmark;
    w->ns = o->ns.n ? arena_str(&w->arena, o->ns) : STR_NONE;
    w->name = o->name.n ? arena_str(&w->arena, o->name) : STR_NONE;
    rt_task_init(&w->task, s->rt, on_task, w);
    list_init(&w->link);
    list_init(&w->candidate);
    w->started = rt_now(s->rt);
    struct error *e = o->deferred_error ? &w->err : err;
    int r = label_selector_parse(&w->arena, o->label_selector, &w->labels, e);
    if (r >= 0)
        r = field_selector_parse(&w->arena, o->kind, o->field_selector, &w->fields, e);
    if (r < 0 && !o->deferred_error) {
        finish_stop(w);
        return r;
    }
    rev_t from = o->from_rev;
    convert_init(w);
    if (r < 0) {
        rt_task_schedule(&w->task);
        goto started;
    }
    if (o->initial && take_snapshot(w) >= 0)
        from = w->initial_rev;
    r = store_watch_start(&w->store_watch, s->store, storage_kind(o->kind), w->ns, from,
                          on_store_events, w);
    if (r == -ESPIPE) {
        struct store_stats st;
        store_stats(s->store, &st);
        (void)error_set(&w->err, REASON_EXPIRED, "too old resource version: %llu (%llu)",
                        (unsigned long long)from, (unsigned long long)st.compacted);
    } else if (r < 0) {
        (void)error_from_future(&w->err, from, store_rev(s->store));
    } else {
        w->running = true;
        choose_hub(w);
    }
    if (!w->running || w->initial_pending || w->by != HUB_NONE)
        rt_task_schedule(&w->task);
started:
    list_push_back(&s->watches, &w->link);
    s->n_watches++;
    *ret = w;
    return 0;
}

void api_watch_stop(struct api_watch *w)
{
    if (!w || w->stopped)
        return;
    w->stopped = true;
    if (w->member.key)
        hub_leave(&w->member);
    else if (w->running)
        store_watch_stop(&w->store_watch);
    convert_cancel(&w->initial_want);
    convert_cancel(&w->convert.want);
    list_remove(&w->candidate);
    rt_task_cancel(&w->task);
    list_remove(&w->link);
    w->server->n_watches--;
    if (!w->in_fn)
        finish_stop(w);
}

static bool is_among(const struct api_watch *w, struct custom *const *served, size_t n)
{
    size_t i = 0;
    while (i < n && served[i]->variant != w->kind->custom->variant)
        i++;
    return i < n;
}

void api_watch_end_kind(struct apiserver *s, const struct schema_kind *stored,
                        struct custom *const *served, size_t n)
{
    struct api_watch *w;
    LIST_FOR_EACH (w, &s->watches, link) {
        if (storage_kind(w->kind) != stored || !custom_is_served(w->kind) ||
            w->err.reason != REASON_NONE || is_among(w, served, n))
            continue; /* of the server's own parts, too */
        (void)error_set(&w->err, REASON_EXPIRED, "the resource %s.%s is not served any more",
                        stored->plural, stored->group);
        rt_task_schedule(&w->task);
    }
}

void api_watch_tick(struct apiserver *s)
{
    struct client_event ev = {CLIENT_EVENT_BOOKMARK, NULL, store_rev(s->store), NULL};
    struct list todo; /* a callback may stop any watch */
    if (list_empty(&s->watches))
        return;
    list_insert_after(&s->watches, &todo);
    list_remove(&s->watches);
    while (!list_empty(&todo)) {
        struct api_watch *w = LIST_FIRST(&todo, struct api_watch, link);
        list_remove(&w->link);
        list_push_back(&s->watches, &w->link);
        /* one that has just started may still have older events to come */
        if (w->bookmarks && w->running && !w->over && !w->initial_pending &&
            !watch_convert_busy(&w->convert) && rt_now(s->rt) - w->started > NSEC_PER_SEC)
            (void)tell(w, &ev, 1);
    }
}

void api_watch_hubs_tick(struct apiserver *s)
{
    struct list todo;
    if (list_empty(&s->hub_candidates))
        return;
    list_insert_after(&s->hub_candidates, &todo);
    list_remove(&s->hub_candidates);
    while (!list_empty(&todo))
        try_hub(LIST_FIRST(&todo, struct api_watch, candidate));
}
