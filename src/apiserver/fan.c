/* See fan.h. Watchers of one kind are told the same events in a row, so one remembered batch a span
 * on the core thread and one remembered encoding an I/O thread find nearly all there is to share,
 * and comparing with it costs no more than a look at the pointers. */
#include "apiserver/fan.h"

#define BATCH_EVENTS_MAX 4096         /* a batch is sent when it holds as many */
#define EVENTS_KEPT_MAX  64           /* room a watcher keeps for the next events */
#define KEPT_BYTES_MAX   (256 * 1024) /* an encoding that is larger is not kept */

struct fan {
    struct rt *rt;
    struct list waiting; /* struct fan_out */
    struct rt_timer timer;
    nsec_t gathered;        /* when the last span ended */
    struct fan_batch *last; /* of this turn of gather(); owned */
    uint64_t serial;
};

struct fan_bytes {
    unsigned refs; /* of one I/O thread */
    char *p;
    size_t n;
};

struct fan_batch *fan_batch_unref(struct fan_batch *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    for (size_t i = 0; i < b->n; i++)
        object_unref(b->events[i].object);
    error_fini(&b->err);
    free(b);
    return NULL;
}

/* ---- core thread ---- */

static bool same(const struct fan_batch *b, const struct fan_out *o)
{
    if (!b || b->n != o->n)
        return false;
    for (size_t i = 0; i < o->n; i++) {
        const struct client_event *x = &b->events[i], *y = &o->events[i];
        if (x->object != y->object || x->rev != y->rev || x->type != y->type || x->err || y->err)
            return false;
    }
    return true;
}

/* The batch takes what waited in `o`. */
static struct fan_batch *batch_make(struct fan_out *o)
{
    struct fan_batch *b = xmalloc(sizeof(*b) + o->n * sizeof(b->events[0]));
    *b = (struct fan_batch){.refs = 1, .n = o->n, .err = o->err};
    memcpy(b->events, o->events, o->n * sizeof(b->events[0]));
    o->n = 0;
    if (o->cap > EVENTS_KEPT_MAX) { /* the initial events, as a rule */
        free(o->events);
        o->events = NULL;
        o->cap = 0;
    }
    for (size_t i = 0; i < b->n; i++)
        if (b->events[i].err)
            b->events[i].err = &b->err;
    o->err = (struct error){0};
    return b;
}

static void drop(struct fan_out *o)
{
    for (size_t i = 0; i < o->n; i++)
        object_unref(o->events[i].object);
    o->n = 0;
    error_fini(&o->err);
}

static void send_shared(struct fan_out *o)
{
    struct fan *f = o->fan;
    if (same(f->last, o)) {
        drop(o);
    } else {
        fan_batch_unref(f->last);
        f->last = batch_make(o);
        f->last->serial = ++f->serial;
    }
    atomic_fetch_add_explicit(&f->last->refs, 1, memory_order_relaxed);
    o->send(o, f->last);
}

static void send_alone(struct fan_out *o)
{
    list_remove(&o->link);
    o->send(o, batch_make(o));
}

static void gather(void *arg)
{
    struct fan *f = arg;
    f->gathered = rt_now(f->rt);
    while (!list_empty(&f->waiting)) {
        struct fan_out *o = LIST_FIRST(&f->waiting, struct fan_out, link);
        list_remove(&o->link);
        send_shared(o);
    }
    f->last = fan_batch_unref(f->last);
}

void fan_out_init(struct fan_out *o, struct fan *f,
                  void (*send)(struct fan_out *o, struct fan_batch *b))
{
    *o = (struct fan_out){.fan = f, .send = send};
    list_init(&o->link);
}

void fan_out_fini(struct fan_out *o)
{
    list_remove(&o->link);
    drop(o);
    free(o->events);
    o->events = NULL;
    o->cap = 0;
}

void fan_out_add(struct fan_out *o, const struct client_event *events, size_t n, bool crowded)
{
    struct fan *f = o->fan;
    bool urgent = !crowded;
    for (size_t i = 0; i < n; i++) {
        ARRAY_RESERVE(o->events, o->n, o->cap);
        o->events[o->n++] = events[i];
        if (events[i].object)
            object_ref(events[i].object);
        if (events[i].err) {
            ASSERT(o->err.reason == REASON_NONE); /* an error is a watch's last event */
            error_copy(&o->err, events[i].err);
            urgent = true;
        }
    }
    if (urgent || o->n >= BATCH_EVENTS_MAX) {
        send_alone(o);
        return;
    }
    if (!list_linked(&o->link))
        list_push_back(&f->waiting, &o->link);
    if (!rt_timer_active(&f->timer))
        rt_timer_start_at(&f->timer, MAX(rt_now(f->rt), f->gathered + FAN_GATHER));
}

struct fan *fan_new(struct rt *core)
{
    struct fan *f = NEW(struct fan);
    f->rt = core;
    list_init(&f->waiting);
    rt_timer_init(&f->timer, core, gather, f);
    return f;
}

struct fan *fan_free(struct fan *f)
{
    if (!f)
        return NULL;
    ASSERT(list_empty(&f->waiting));
    rt_timer_stop(&f->timer);
    fan_batch_unref(f->last);
    free(f);
    return NULL;
}

/* ---- I/O thread ---- */

static void bytes_unref(void *arg)
{
    struct fan_bytes *p = arg;
    if (--p->refs > 0)
        return;
    free(p->p);
    free(p);
}

void fan_encoded_forget(struct io *io)
{
    if (io->told.bytes)
        bytes_unref(io->told.bytes);
    io->told.bytes = NULL;
}

static struct http_bytes share(struct fan_bytes *p)
{
    p->refs++;
    return (struct http_bytes){p->p, p->n, bytes_unref, p};
}

struct http_bytes fan_encoded(struct exchange *x, const struct fan_batch *b, bool first)
{
    struct io *io = x->io;
    /* a table's first event differs; hardly anybody asks for v1beta1 */
    bool sharable = b->serial && x->accept.as != AS_TABLE && !x->accept.beta;
    struct buf out = {0};
    if (sharable && io->told.bytes && io->told.serial == b->serial &&
        io->told.media == x->accept.media && io->told.as == x->accept.as &&
        io->told.kind == x->route.kind)
        return share(io->told.bytes);
    for (size_t i = 0; i < b->n; i++) {
        encode_event(x, &b->events[i], first, &out);
        first = false;
    }
    if (!out.n)
        return HTTP_BYTES_NONE;
    size_t n;
    char *p = buf_take(&out, &n);
    if (!sharable || n > KEPT_BYTES_MAX)
        return http_bytes_take(p, n);
    fan_encoded_forget(io);
    io->told.serial = b->serial;
    io->told.media = x->accept.media;
    io->told.as = x->accept.as;
    io->told.kind = x->route.kind;
    io->told.bytes = NEW(struct fan_bytes);
    *io->told.bytes = (struct fan_bytes){.refs = 1, .p = p, .n = n};
    return share(io->told.bytes);
}
