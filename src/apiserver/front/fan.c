/* See fan.h. Watchers of one kind are told the same events in a row, so one remembered batch a span
 * on the core thread and a few remembered encodings an I/O thread find nearly all there is to
 * share, and comparing with it costs no more than a look at the pointers. Large batches, which are
 * the state watchers are told at first, are remembered for a second. */
#include "apiserver/front/fan.h"

#define LARGE_EVENTS    1024         /* a batch is sent when it holds as many */
#define LARGE_KEPT      NSEC_PER_SEC /* the present state, as a rule: watchers come in crowds */
#define EVENTS_KEPT_MAX 64           /* room a watcher keeps for the next events */
#define KEPT_BYTES_MAX  (256 * 1024) /* an encoding that is larger is not kept */

struct fan {
    struct rt *rt;
    struct list waiting; /* struct fan_out */
    struct rt_timer timer;
    nsec_t gathered;         /* when the last span ended */
    struct fan_batch *last;  /* of this turn of gather(); owned */
    struct fan_batch *large; /* the latest large one, for who comes within LARGE_KEPT; owned */
    struct rt_timer large_timer;
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

static bool same(const struct fan_batch *b, const struct client_event *events, size_t n)
{
    if (!b || b->n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct client_event *x = &b->events[i], *y = &events[i];
        /* the mark that ends initial events is made for each watcher, and says nothing else */
        bool mark = x->type == CLIENT_EVENT_BOOKMARK && x->object && y->object;
        if ((x->object != y->object && !mark) || x->rev != y->rev || x->type != y->type || x->err ||
            y->err)
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
    if (same(f->last, o->events, o->n)) {
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

static void share_large(struct fan_out *o)
{
    struct fan *f = o->fan;
    rt_timer_start(&f->large_timer, LARGE_KEPT);
    atomic_fetch_add_explicit(&f->large->refs, 1, memory_order_relaxed);
    o->send(o, f->large);
}

/* As many as start to watch together are told the same state: one batch. */
static void send_large(struct fan_out *o)
{
    struct fan *f = o->fan;
    list_remove(&o->link);
    fan_batch_unref(f->large);
    f->large = batch_make(o);
    f->large->serial = ++f->serial;
    share_large(o);
}

static void forget_large(void *arg)
{
    struct fan *f = arg;
    f->large = fan_batch_unref(f->large);
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
    if (o->n == 0 && n >= LARGE_EVENTS && same(f->large, events, n)) {
        share_large(o); /* no reference was touched */
        return;
    }
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
    if (o->n >= LARGE_EVENTS && o->err.reason == REASON_NONE) {
        send_large(o);
        return;
    }
    if (urgent) {
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
    rt_timer_init(&f->large_timer, core, forget_large, f);
    return f;
}

struct fan *fan_free(struct fan *f)
{
    if (!f)
        return NULL;
    ASSERT(list_empty(&f->waiting));
    rt_timer_stop(&f->timer);
    rt_timer_stop(&f->large_timer);
    fan_batch_unref(f->last);
    fan_batch_unref(f->large);
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

static void forget(struct io *io, size_t i)
{
    if (io->told[i].bytes)
        bytes_unref(io->told[i].bytes);
    io->told[i].bytes = NULL;
}

void fan_encoded_forget(struct io *io)
{
    for (size_t i = 0; i < FAN_TOLD; i++)
        forget(io, i);
}

static struct http_bytes share(struct fan_bytes *p)
{
    p->refs++;
    return (struct http_bytes){p->p, p->n, bytes_unref, p};
}

struct http_bytes fan_encoded(struct exchange *x, const struct fan_batch *b, size_t from,
                              bool first, size_t *ret_n)
{
    struct io *io = x->io;
    /* a table's first event differs; hardly anybody asks for v1beta1 */
    bool sharable = b->serial && x->accept.as != AS_TABLE && !x->accept.beta;
    size_t slot = from / FAN_CHUNK_EVENTS % FAN_TOLD;
    struct buf out = {0};
    if (sharable && io->told[slot].bytes && io->told[slot].serial == b->serial &&
        io->told[slot].from == from && io->told[slot].media == x->accept.media &&
        io->told[slot].as == x->accept.as && io->told[slot].kind == x->route.kind) {
        *ret_n = io->told[slot].n;
        return share(io->told[slot].bytes);
    }
    size_t i = from;
    while (i < b->n && i < from + FAN_CHUNK_EVENTS && out.n < FAN_CHUNK_BYTES) {
        encode_event(x, &b->events[i++], first, &out);
        first = false;
    }
    *ret_n = i - from;
    if (!out.n)
        return HTTP_BYTES_NONE;
    size_t n;
    char *p = buf_take(&out, &n);
    if (!sharable || n > KEPT_BYTES_MAX)
        return http_bytes_take(p, n);
    forget(io, slot);
    io->told[slot].serial = b->serial;
    io->told[slot].from = from;
    io->told[slot].n = *ret_n;
    io->told[slot].media = x->accept.media;
    io->told[slot].as = x->accept.as;
    io->told[slot].kind = x->route.kind;
    io->told[slot].bytes = NEW(struct fan_bytes);
    *io->told[slot].bytes = (struct fan_bytes){.refs = 1, .p = p, .n = n};
    return share(io->told[slot].bytes);
}
