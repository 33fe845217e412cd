/* Calls that need objects in another version than they are stored in (convert.h). Three places:
 *
 *   before a verb runs   the present object, as the caller's version knows it: the verb asks
 *                        call_seen, and what is missing is converted; then the verb runs again from
 *                        the body as it came, on what is there by then
 *   before a write       the admitted body becomes the storage version; then it is written, if
 *                        nothing has changed under it. If it has, the verb runs again. What is in
 *                        hand so already (call_view.h) is written at once
 *   before the answer    what was read or written, for the caller
 *
 * So a verb still does all its looking and deciding in one turn of the loop. Only what a webhook
 * makes of the body can be older than what it replaces, and that the write's precondition finds.
 * Writes of one object that go this way stand in line: each would make the others try again, and
 * every try is two calls. */
#include "apiserver/custom/call_convert.h"

#include "apiserver/custom/call_view.h"
#include "apiserver/hooks/hooks.h"
#include "apiserver/custom/kinds.h"
#include "apiserver/admit/quota.h"
#include "schema/custom.h"

#define TRIES_MAX 10                  /* an object that is changed as often during one request */
#define LINE_MAX  (60 * NSEC_PER_SEC) /* then the turn comes too late, as in Kubernetes */

struct line { /* one object */
    struct apiserver *server;
    char *key;               /* owned */
    struct api_call *holder; /* whose turn it is */
    struct list waiting;     /* struct call_convert, in_line */
    struct rt_task task;
};

struct call_convert {
    struct convert_want want;
    struct api_call *call;
    struct line *line; /* NULL: not in one */
    struct list in_line;
    struct object **objects; /* owned, references too: of the want */
    size_t n, cap;
    struct map have; /* by revision: references of converted objects */
    bool answered;   /* the answer is in the caller's version */
    rev_t pinned, expected;
    unsigned tries;
};

static struct call_convert *get(struct api_call *c)
{
    if (!c->convert) {
        c->convert = NEW(struct call_convert);
        c->convert->call = c;
        list_init(&c->convert->in_line);
    }
    return c->convert;
}

static void objects_drop(struct call_convert *v)
{
    for (size_t i = 0; i < v->n; i++)
        object_unref(v->objects[i]);
    v->n = 0;
}

void call_convert_free(struct api_call *c)
{
    struct call_convert *v = c->convert;
    call_views_free(c);
    if (!v)
        return;
    ASSERT(!v->want.cs && !v->line);
    objects_drop(v);
    for (struct map_slot *s = NULL; (s = map_next(&v->have, s));)
        object_unref(s->value);
    map_fini(&v->have);
    error_fini(&v->want.err);
    free(v->objects);
    free(v);
    c->convert = NULL;
}

static void line_leave(struct call_convert *v)
{
    struct line *l = v->line;
    if (!l)
        return;
    v->line = NULL;
    list_remove(&v->in_line);
    if (l->holder == v->call)
        l->holder = NULL;
    if (!l->holder && !list_empty(&l->waiting)) {
        rt_task_schedule(&l->task);
    } else if (!l->holder) {
        rt_task_cancel(&l->task);
        (void)map_remove(&l->server->convert_lines, str_z(l->key));
        free(l->key);
        free(l);
    }
}

void call_convert_end(struct api_call *c)
{
    call_views_end(c);
    if (!c->convert)
        return;
    convert_cancel(&c->convert->want);
    line_leave(c->convert);
}

const struct schema_kind *call_storage(const struct api_call *c)
{
    const struct schema_kind *now = kinds_current(c->server->kinds, c->kind->stored);
    return (now ? now : c->kind)->custom->storage;
}

bool call_converts(const struct api_call *c)
{
    return custom_is_served(c->kind) && converts_kind(c->server->converts, c->kind);
}

/* ---- in hand ---- */

static struct str rev_key(const struct object *o)
{
    return (struct str){(const char *)&o->rev, sizeof(o->rev)};
}

static bool needed(const struct api_call *c, const struct object *o)
{
    return custom_is_served(c->kind) &&
           convert_needed(c->server->converts, c->kind->custom->variant, o);
}

struct object *call_in_hand(const struct api_call *c, struct object *o)
{
    struct object *there = c->convert && o->rev ? map_get(&c->convert->have, rev_key(o)) : NULL;
    return there && needed(c, o) ? there : o;
}

static void want_add(struct call_convert *v, struct object *o)
{
    ARRAY_RESERVE(v->objects, v->n, v->cap);
    v->objects[v->n++] = object_ref(o);
}

struct object *call_seen(struct api_call *c, struct object *o)
{
    if (!needed(c, o))
        return o;
    struct call_convert *v = get(c);
    struct object *there = map_get(&v->have, rev_key(o));
    if (!there)
        want_add(v, o);
    return there;
}

/* ---- again ---- */

static int too_often(struct api_call *c)
{
    return call_conflict(
        c, c->name,
        "the object has been modified; please apply your changes to the latest version and try "
        "again");
}

static void finish(struct api_call *c, int r)
{
    c->reply.r = r;
    call_finish(c);
}

static void run_again(struct api_call *c)
{
    call_restore(c);
    if (c->hooks)
        hooks_warn(c);
    int r = ++c->convert->tries > TRIES_MAX ? too_often(c) : call_run(c);
    if (r <= 0)
        finish(c, r);
}

static int want_failed(struct api_call *c)
{
    struct error *err = &c->convert->want.err;
    error_clear(&c->reply.err);
    error_copy(&c->reply.err, err);
    return error_reason_errno(err->reason);
}

/* ---- one after the other ---- */

static void on_line(void *arg)
{
    struct line *l = arg;
    struct call_convert *v = LIST_FIRST(&l->waiting, struct call_convert, in_line);
    struct api_call *c = v->call;
    ASSERT(!l->holder && !list_empty(&l->waiting));
    list_remove(&v->in_line);
    l->holder = c;
    if (rt_now(c->server->rt) - c->started <= LINE_MAX)
        run_again(c);
    else
        finish(c, call_error(c, REASON_TIMEOUT,
                             "Timeout: request did not complete within requested timeout - context "
                             "deadline exceeded"));
}

/* False: it is somebody else's turn. */
static bool line_enter(struct api_call *c)
{
    struct call_convert *v = get(c);
    struct map *lines = &c->server->convert_lines;
    if (v->line)
        return true;
    CLEANUP(freep)
    char *key = xasprintf("%u/%.*s/%.*s", c->kind->id, STR_ARG(c->ns), STR_ARG(c->name));
    struct line *l = map_get(lines, str_z(key));
    if (!l) {
        l = NEW(struct line);
        l->server = c->server;
        l->key = xstrdup(key);
        list_init(&l->waiting);
        rt_task_init(&l->task, c->server->rt, on_line, l);
        (void)map_set(lines, str_z(l->key), l);
    }
    v->line = l;
    if (l->holder || !list_empty(&l->waiting)) {
        list_push_back(&l->waiting, &v->in_line);
        return false;
    }
    l->holder = c;
    return true;
}

static bool writes_converted(const struct api_call *c)
{
    return (c->verb == API_UPDATE || c->verb == API_PATCH) && !c->opts.dry_run &&
           c->kind->custom->variant != call_storage(c);
}

/* ---- before the verb ---- */

static void take(struct call_convert *v)
{
    for (size_t i = 0; i < v->n; i++)
        object_unref(map_set(&v->have, rev_key(v->objects[i]), v->objects[i]));
    v->n = 0; /* the references are the map's */
}

static struct api_call *call_of(struct convert_want *w)
{
    return CONTAINER_OF(w, struct call_convert, want)->call;
}

static void on_seen(struct convert_want *w)
{
    struct api_call *c = call_of(w);
    if (w->err.reason != REASON_NONE) {
        finish(c, want_failed(c));
        return;
    }
    take(c->convert);
    run_again(c);
}

size_t call_n_missing(const struct api_call *c)
{
    return c->convert ? c->convert->n : 0;
}

int call_convert_missing(struct api_call *c)
{
    struct call_convert *v = c->convert;
    if (!v || !v->n)
        return 0;
    int r = convert_start(c->server->converts, &v->want, c->kind->custom->variant, v->objects, v->n,
                          on_seen);
    if (r < 0)
        return want_failed(c);
    if (r == 0)
        take(v);
    return r;
}

/* The object a verb is about to look at, if it looks at it in the caller's version. */
static struct object *present(struct api_call *c)
{
    const struct schema_kind *k = storage_kind(c->kind);
    switch (c->verb) {
    case API_UPDATE:
    case API_PATCH:
    case API_DELETE:
        return store_peek(c->server->store, k, c->ns, c->name);
    case API_GET:
        return c->subresource.n ? store_get(c->server->store, k, c->ns, c->name) : NULL;
    default:
        return NULL;
    }
}

int call_convert_before(struct api_call *c)
{
    if (!call_converts(c))
        return 0;
    call_keep(c);
    if (writes_converted(c) && !line_enter(c))
        return 1;
    struct object *o = present(c);
    if (!o || call_seen(c, o))
        return 0;
    return call_convert_missing(c);
}

rev_t call_convert_pin(struct api_call *c)
{
    struct call_convert *v = get(c);
    if (!v->pinned)
        v->pinned = store_rev(c->server->store);
    return v->pinned;
}

/* ---- before the write ---- */

static void write_converted(struct api_call *c)
{
    struct call_convert *v = c->convert;
    struct object *o = v->objects[0];
    const struct schema_kind *now = kinds_current(c->server->kinds, o->kind);
    int r = 0;
    if (!now)
        r = call_error(c, REASON_NOT_FOUND, "the server could not find the requested resource");
    else if (v->expected == STORE_ABSENT)
        r = admit_namespace(c); /* it may have begun to end meanwhile */
    if (r >= 0 && now->custom->storage != o->kind) {
        objects_drop(v);
        run_again(c);
        return;
    }
    if (r >= 0)
        r = call_put_as(c, o->kind, o->msg, v->expected);
    objects_drop(v);
    if (r == -ESTALE && c->verb != API_CREATE)
        run_again(c);
    else if (r <= 0)
        finish(c, r);
}

static void on_body(struct convert_want *w)
{
    struct api_call *c = call_of(w);
    if (w->err.reason == REASON_NONE) {
        write_converted(c);
        return;
    }
    objects_drop(c->convert);
    finish(c, want_failed(c));
}

bool call_convert_put(struct api_call *c, const void *msg, rev_t expected, int *ret)
{
    if (!call_converts(c) || c->kind->custom->variant == call_storage(c))
        return false;
    const void *there = call_view_there(c, c->kind, call_storage(c), msg);
    if (there) { /* somebody wanted to see it so: its owners, policies */
        *ret = call_put_as(c, call_storage(c), there, expected);
        return true;
    }
    struct call_convert *v = get(c);
    struct object *o = object_new(c->kind->custom->variant, msg, 0);
    call_keep(c);
    objects_drop(v);
    want_add(v, o);
    object_unref(o);
    v->expected = expected;
    *ret = convert_start(c->server->converts, &v->want, call_storage(c), v->objects, v->n, on_body);
    if (*ret < 0)
        *ret = want_failed(c);
    ASSERT(*ret); /* what has no revision is never there already */
    return true;
}

/* ---- before the answer ---- */

static void answer_take(struct api_call *c)
{
    struct call_convert *v = c->convert;
    struct api_reply *rep = &c->reply;
    v->answered = true;
    if (rep->object) {
        object_unref(rep->object);
        rep->object = v->objects[0];
    } else {
        for (size_t i = 0; i < v->n; i++) {
            object_unref(rep->items[i]);
            rep->items[i] = v->objects[i];
        }
    }
    v->n = 0; /* the references are the answer's */
}

static void on_answer(struct convert_want *w)
{
    struct api_call *c = call_of(w);
    if (w->err.reason != REASON_NONE) {
        c->convert->answered = true;
        objects_drop(c->convert);
        finish(c, want_failed(c));
        return;
    }
    answer_take(c);
    call_finish(c);
}

bool call_convert_after(struct api_call *c)
{
    struct api_reply *rep = &c->reply;
    struct object **items = rep->object ? &rep->object : rep->items;
    size_t n = rep->object ? 1 : rep->n_items;
    if (rep->r < 0 || !n || rep->success_status || !call_converts(c) ||
        (c->convert && c->convert->answered))
        return false;
    struct call_convert *v = get(c);
    objects_drop(v);
    for (size_t i = 0; i < n; i++)
        want_add(v, call_in_hand(c, items[i]));
    int r = convert_start(c->server->converts, &v->want, c->kind->custom->variant, v->objects, v->n,
                          on_answer);
    if (r == 0)
        answer_take(c);
    if (r < 0) {
        v->answered = true;
        objects_drop(v);
        rep->r = want_failed(c);
    }
    return r > 0;
}
