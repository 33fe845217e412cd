/* A watch over the wire. The core thread filters and counts; the I/O thread encodes and sends.
 *
 *   core: api_watch -> fan (gathers, shares) -> rt_post -> I/O: fan_encoded -> http_stream_write
 *
 * Bounds: what waits for one slow client is cut off at API_WATCH_BYTES_MAX on the I/O side and at
 * BATCHES_MAX posted batches on the core side; the client then lists and watches anew. The batch
 * that is being told does not count: it is shared, and encoded only as fast as the client reads, so
 * the state at the start may be of any size. Ends: the I/O thread alone ends a watch. It asks the
 * core to stop and frees when the core's last word has come, which is behind every batch. */
#include "apiserver/front/fan.h"

#define BATCHES_MAX 4096

struct front_watch {
    struct exchange *x;      /* I/O thread */
    struct api_call *call;   /* the exchange's; read by the core at the start only */
    struct api_watch *watch; /* core thread */
    struct fan_out out;      /* core thread */
    struct rt *io_rt;
    struct rt_post stop_post, gone_post;
    struct rt_timer timer;   /* I/O: timeoutSeconds */
    _Atomic unsigned posted; /* batches under way to the I/O thread */
    bool overrun;            /* core: told the I/O thread to cut */
    bool first, ending,
        over; /* I/O: no event sent yet; stop was asked for; the stream is finished */
    struct fan_batch *batch; /* I/O: being told, to event `at`; NULL: none */
    size_t at;
    struct http_bytes *held; /* I/O: encoded, behind it; owned */
    size_t n_held, cap_held, held_bytes;
    bool held_error; /* the last of them ends the watch */
};

struct delivery {
    struct rt_post post;
    struct front_watch *fw;
    struct fan_batch *batch; /* a reference; NULL: the watch is to be cut */
};

/* ---- core thread ---- */

static void on_batch(void *arg);

static void deliver(struct front_watch *fw, struct fan_batch *b)
{
    struct delivery *d = NEW(struct delivery);
    d->fw = fw;
    d->batch = b;
    atomic_fetch_add_explicit(&fw->posted, 1, memory_order_relaxed);
    rt_post(fw->io_rt, &d->post, on_batch, d);
}

static void on_send(struct fan_out *o, struct fan_batch *b)
{
    struct front_watch *fw = CONTAINER_OF(o, struct front_watch, out);
    if (!fw->overrun && atomic_load_explicit(&fw->posted, memory_order_relaxed) > BATCHES_MAX) {
        fw->overrun = true;
        deliver(fw, NULL);
    }
    if (fw->overrun)
        fan_batch_unref(b);
    else
        deliver(fw, b);
}

static void on_events(void *arg, const struct client_event *events, size_t n)
{
    struct front_watch *fw = arg;
    if (!fw->overrun)
        fan_out_add(&fw->out, events, n, fw->x->io->front->server->n_watches >= FAN_CROWD);
}

bool front_watch_core(struct api_call *c)
{
    struct exchange *x = c->arg;
    struct apiserver *s = c->server;
    const struct api_options *o = &c->opts;
    struct api_watch_opts w = {.kind = c->kind,
                               .ns = c->ns,
                               .label_selector = o->label_selector,
                               .field_selector = o->field_selector,
                               .bookmarks = o->watch_bookmarks};
    struct front_watch *fw;
    int r;
    if (s->n_watches >= API_WATCHES_MAX) {
        c->reply.err.retry_after_s = API_RETRY_AFTER_S;
        c->reply.r = call_error(c, REASON_TOO_MANY_REQUESTS, "too many watches are open");
        return false;
    }
    if (o->resource_version.n && str_to_u64(o->resource_version, &w.from_rev) < 0) {
        c->reply.r =
            call_error(c, REASON_BAD_REQUEST,
                       "resourceVersion: Invalid value: \"%.*s\": invalid resource version",
                       STR_ARG(o->resource_version));
        return false;
    }
    if (list_options_check(c, true) < 0)
        return false;
    if (o->has_send_initial_events && o->send_initial_events) {
        w.initial = true;
        w.initial_end_bookmark = o->watch_bookmarks;
    } else if (!o->has_send_initial_events && w.from_rev == 0) {
        w.initial = true; /* "" and "0": the present state first */
    } else if (w.from_rev == 0) {
        w.from_rev = store_rev(s->store);
    }
    fw = NEW(struct front_watch);
    fw->x = x;
    fw->call = c;
    fw->io_rt = x->io->rt;
    fw->first = true;
    fan_out_init(&fw->out, x->io->front->fan, on_send);
    r = api_watch_start(s, &w, on_events, fw, &fw->watch, &c->reply.err);
    if (r < 0) {
        c->reply.r = r;
        fan_out_fini(&fw->out);
        free(fw);
        return false;
    }
    c->watch = fw; /* for the I/O thread, when the call is back there */
    return true;
}

static void on_gone(void *arg);

static void on_stop(void *arg)
{
    struct front_watch *fw = arg;
    api_watch_stop(fw->watch);
    fw->watch = NULL;
    fan_out_fini(&fw->out);
    rt_post(fw->io_rt, &fw->gone_post, on_gone, fw);
}

/* ---- I/O thread ---- */

static void batch_done(struct front_watch *fw)
{
    if (fw->at && --fw->x->io->n_streaming == 0)
        fan_encoded_forget(fw->x->io);
    fw->batch = fan_batch_unref(fw->batch);
    fw->at = 0;
}

static void drop_waiting(struct front_watch *fw)
{
    if (fw->batch)
        batch_done(fw);
    for (size_t i = 0; i < fw->n_held; i++)
        http_bytes_release(&fw->held[i]);
    free(fw->held);
    fw->held = NULL;
    fw->n_held = fw->cap_held = fw->held_bytes = 0;
}

/* The core's last word: nothing refers to fw any more. */
static void on_gone(void *arg)
{
    struct front_watch *fw = arg;
    struct exchange *x = fw->x;
    struct http_request *req = x->req;
    bool over = fw->over;
    rt_timer_stop(&fw->timer);
    x->watch = NULL;
    drop_waiting(fw);
    atomic_fetch_sub_explicit(&x->io->metrics.watches, 1, memory_order_relaxed);
    free(fw);
    exchange_release(x);
    if (over)
        http_stream_abort(req);
    else
        http_stream_end(req);
}

void front_watch_end(struct exchange *x)
{
    struct front_watch *fw = x->watch;
    if (!fw || fw->ending)
        return;
    fw->ending = true;
    rt_timer_stop(&fw->timer);
    rt_post(x->io->front->server->rt, &fw->stop_post, on_stop, fw);
}

static void cut(struct exchange *x)
{
    x->watch->over = true;
    atomic_fetch_add_explicit(&x->io->metrics.watch_cut, 1, memory_order_relaxed);
    front_watch_end(x);
}

static bool has_error(const struct fan_batch *b)
{
    return b->n && b->events[b->n - 1].type == CLIENT_EVENT_ERROR;
}

/* False: the watch is ending. */
static bool write_chunk(struct front_watch *fw, struct http_bytes bytes, bool error)
{
    struct exchange *x = fw->x;
    int r = bytes.n ? http_stream_write(x->req, bytes) : 0;
    if (r == -ENOBUFS || http_stream_queued_bytes(x->req) > API_WATCH_BYTES_MAX)
        cut(x);
    else if (r < 0 || error)
        front_watch_end(x);
    return !fw->ending;
}

static void write_held(struct front_watch *fw)
{
    size_t n = fw->n_held;
    bool alive = true;
    for (size_t i = 0; i < n; i++) {
        if (alive)
            alive = write_chunk(fw, fw->held[i], i + 1 == n && fw->held_error);
        else
            http_bytes_release(&fw->held[i]);
    }
    free(fw->held);
    fw->held = NULL;
    fw->n_held = fw->cap_held = fw->held_bytes = 0;
}

/* As much as the client takes. */
static void stream(struct front_watch *fw)
{
    struct exchange *x = fw->x;
    while (fw->batch && !fw->ending && !http_stream_congested(x->req)) {
        const struct fan_batch *b = fw->batch;
        size_t n;
        struct http_bytes bytes = fan_encoded(x, b, fw->at, fw->first, &n);
        bool last = fw->at + n >= b->n, error = last && has_error(b);
        fw->first = false;
        if (!last && fw->at == 0)
            x->io->n_streaming++;
        if (last)
            batch_done(fw);
        else
            fw->at += n;
        if (write_chunk(fw, bytes, error) && last)
            write_held(fw);
    }
}

static void on_drain(struct http_request *req, void *arg)
{
    (void)req;
    stream(arg);
}

/* What comes while a batch is being told waits, encoded. */
static void hold(struct front_watch *fw, const struct fan_batch *b)
{
    for (size_t at = 0, n; at < b->n; at += n) {
        ARRAY_RESERVE(fw->held, fw->n_held, fw->cap_held);
        fw->held[fw->n_held] = fan_encoded(fw->x, b, at, fw->first, &n);
        fw->held_bytes += fw->held[fw->n_held++].n;
        if (fw->held_bytes > API_WATCH_BYTES_MAX) {
            cut(fw->x);
            return;
        }
    }
    fw->held_error |= has_error(b);
}

static void on_batch(void *arg)
{
    struct delivery *d = arg;
    struct front_watch *fw = d->fw;
    struct fan_batch *b = d->batch;
    struct exchange *x = fw->x;
    atomic_fetch_sub_explicit(&fw->posted, 1, memory_order_relaxed);
    free(d);
    if (fw->ending || x->gone) {
        fan_batch_unref(b);
        return;
    }
    if (!b) {
        cut(x);
        return;
    }
    atomic_fetch_add_explicit(&x->io->metrics.watch_events, b->n, memory_order_relaxed);
    if (fw->batch) {
        hold(fw, b);
        fan_batch_unref(b);
        return;
    }
    fw->batch = b;
    stream(fw);
}

static void on_timeout(void *arg)
{
    struct front_watch *fw = arg;
    front_watch_end(fw->x);
}

void front_watch_begin(struct exchange *x)
{
    struct front_watch *fw = x->watch;
    struct io *io = x->io;
    struct http_header h[5] = {{STR("content-type"), str_z(encode_content_type(&x->accept, true))},
                               {STR("cache-control"), STR("no-cache, private")},
                               {STR("audit-id"), x->call->id}};
    size_t n = 3 + flow_headers(x, h + 3);
    nsec_t span = x->call->opts.timeout_s > 0
                      ? MIN(x->call->opts.timeout_s, (int64_t)86400 * 30) * NSEC_PER_SEC
                      : API_WATCH_TIMEOUT_MIN_S * NSEC_PER_SEC +
                            (nsec_t)rt_random_below(io->rt, API_WATCH_TIMEOUT_MIN_S) * NSEC_PER_SEC;
    rt_timer_init(&fw->timer, io->rt, on_timeout, fw);
    atomic_fetch_add_explicit(&io->metrics.watches, 1, memory_order_relaxed);
    metrics_count(&io->metrics, API_WATCH, 200, 0);
    if (x->gone || io->stopping || http_stream_start(x->req, 200, h, n) < 0) {
        x->gone = true;
        fw->over = true; /* no head went out: there is nothing to end politely */
        front_watch_end(x);
        return;
    }
    http_on_drain(x->req, on_drain, fw);
    rt_timer_start(&fw->timer, span);
}
