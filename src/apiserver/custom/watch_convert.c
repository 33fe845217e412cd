/* See watch_convert.h. One call at a time, so what comes meanwhile gathers for the next: a busy
 * kind costs a slow webhook fewer and larger calls. The cache sees to it that all watches of a
 * version make the same calls once. */
#include "apiserver/custom/watch_convert.h"

#include "base/mem.h"

void watch_convert_init(struct watch_convert *q, struct converts *cs, const struct schema_kind *to)
{
    *q = (struct watch_convert){.cs = cs, .to = to};
}

static void events_drop(struct store_event *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        object_unref(v[i].object);
        object_unref(v[i].prev);
    }
    free(v);
}

void watch_convert_fini(struct watch_convert *q)
{
    size_t n_objects = q->n_under * (q->with_prev ? 2 : 1);
    convert_cancel(&q->want);
    for (size_t i = 0; q->objects && i < n_objects; i++)
        object_unref(q->objects[i]);
    free(q->objects);
    events_drop(q->under, q->n_under);
    events_drop(q->v, q->n);
    error_fini(&q->want.err);
    q->objects = NULL;
    q->under = q->v = NULL;
    q->n = q->cap = q->bytes = q->n_under = 0;
    q->want = (struct convert_want){0};
}

static void give_up(struct watch_convert *q, const struct error *why)
{
    struct error err = {0};
    error_copy(&err, why);
    watch_convert_fini(q);
    q->failed = true;
    q->fail(q, &err);
    error_fini(&err);
}

/* The objects under way have come: each event borrows from them. */
static bool tell(struct watch_convert *q)
{
    struct store_event *v = q->under, *out = xcalloc(q->n_under, sizeof(*out));
    struct object **objects = q->objects;
    size_t n = q->n_under, each = q->with_prev ? 2 : 1;
    for (size_t i = 0; i < n; i++) {
        out[i] = v[i];
        out[i].object = objects[i * each];
        out[i].prev = v[i].prev && q->with_prev ? objects[i * each + 1] : NULL;
    }
    q->under = NULL;
    q->n_under = 0;
    q->objects = NULL;
    bool alive = q->tell(q, out, n);
    for (size_t i = 0; i < n * each; i++)
        object_unref(objects[i]);
    free(objects);
    free(out);
    events_drop(v, n);
    return alive;
}

static bool pump(struct watch_convert *q);

static void on_converted(struct convert_want *w)
{
    struct watch_convert *q = CONTAINER_OF(w, struct watch_convert, want);
    if (w->err.reason != REASON_NONE)
        give_up(q, &w->err);
    else if (tell(q))
        (void)pump(q);
}

/* Where there was nothing before, the object stands twice. */
static void take(struct watch_convert *q)
{
    size_t each = q->with_prev ? 2 : 1;
    q->under = q->v;
    q->n_under = q->n;
    q->v = NULL;
    q->n = q->cap = q->bytes = 0;
    q->objects = xcalloc(q->n_under * each, sizeof(struct object *));
    for (size_t i = 0; i < q->n_under; i++) {
        const struct store_event *e = &q->under[i];
        q->objects[i * each] = object_ref(e->object);
        if (q->with_prev)
            q->objects[i * each + 1] = object_ref(e->prev ? e->prev : e->object);
    }
}

static bool pump(struct watch_convert *q)
{
    while (q->n && !q->n_under) {
        take(q);
        int r = convert_start(q->cs, &q->want, q->to, q->objects,
                              q->n_under * (q->with_prev ? 2 : 1), on_converted);
        if (r < 0) {
            give_up(q, &q->want.err);
            return true;
        }
        if (r == 0 && !tell(q))
            return false;
    }
    return true;
}

void watch_convert_hold(struct watch_convert *q, const struct store_event *events, size_t n)
{
    if (q->failed)
        return;
    for (size_t i = 0; i < n; i++) {
        ARRAY_RESERVE(q->v, q->n, q->cap);
        struct store_event *e = &q->v[q->n++];
        *e = events[i];
        object_ref(e->object);
        e->prev = e->prev && q->with_prev ? object_ref(e->prev) : NULL;
        q->bytes += e->object->msg_bytes + (e->prev ? e->prev->msg_bytes : 0);
    }
    if (q->n > WATCH_CONVERT_EVENTS_MAX || q->bytes > WATCH_CONVERT_BYTES_MAX) {
        struct error err = {0};
        (void)error_set(&err, REASON_EXPIRED,
                        "too many changes wait for the conversion webhook of %s.%s", q->to->plural,
                        q->to->group);
        give_up(q, &err);
        error_fini(&err);
    }
}

bool watch_convert_add(struct watch_convert *q, const struct store_event *events, size_t n)
{
    watch_convert_hold(q, events, n);
    return q->failed || pump(q);
}
