/* A watch over the wire. The core thread filters and counts; the I/O thread encodes and sends.
 *
 *   core: api_watch -> batch of referenced objects -> rt_post -> I/O: encode -> http_stream_write
 *
 * Bounds: what waits for one slow client is cut off at API_WATCH_BYTES_MAX on the I/O side and at
 * BATCHES_MAX posted batches on the core side; the client then lists and watches anew.
 * Ends: the I/O thread alone ends a watch. It asks the core to stop and frees when the core's last
 * word has come, which is behind every batch. */
#include "apiserver/front_int.h"

#define BATCHES_MAX 4096

struct front_watch {
    struct exchange *x;      /* I/O thread */
    struct api_call *call;   /* the exchange's; read by the core at the start only */
    struct api_watch *watch; /* core thread */
    struct rt *io_rt;
    struct rt_post stop_post, gone_post;
    struct rt_timer timer;   /* I/O: timeoutSeconds */
    _Atomic unsigned posted; /* batches under way to the I/O thread */
    bool overrun;            /* core: told the I/O thread to cut */
    bool first, ending,
        over; /* I/O: no event sent yet; stop was asked for; the stream is finished */
};

struct batch {
    struct rt_post post;
    struct front_watch *fw;
    bool overrun;
    struct error err; /* of the ERROR event */
    size_t n;
    struct client_event events[];
};

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        object_unref(b->events[i].object);
    error_fini(&b->err);
    free(b);
}

/* ---- core thread ---- */

static void on_batch(void *arg);

static void post_batch(struct front_watch *fw, struct batch *b)
{
    atomic_fetch_add_explicit(&fw->posted, 1, memory_order_relaxed);
    rt_post(fw->io_rt, &b->post, on_batch, b);
}

static void on_events(void *arg, const struct client_event *events, size_t n)
{
    struct front_watch *fw = arg;
    if (fw->overrun)
        return;
    bool over = atomic_load_explicit(&fw->posted, memory_order_relaxed) > BATCHES_MAX;
    struct batch *b = xcalloc(1, sizeof(*b) + (over ? 0 : n) * sizeof(*events));
    b->fw = fw;
    b->overrun = fw->overrun = over;
    for (size_t i = 0; i < n && !over; i++) {
        b->events[b->n] = events[i];
        if (events[i].object)
            object_ref(events[i].object);
        if (events[i].err) {
            error_copy(&b->err, events[i].err);
            b->events[b->n].err = &b->err;
        }
        b->n++;
    }
    post_batch(fw, b);
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
    if (o->has_send_initial_events && o->send_initial_events) {
        if (!str_is(o->resource_version_match, "NotOlderThan")) {
            c->reply.r = call_error(
                c, REASON_INVALID,
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: "
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
            return false;
        }
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
    r = api_watch_start(s, &w, on_events, fw, &fw->watch, &c->reply.err);
    if (r < 0) {
        c->reply.r = r;
        free(fw);
        return false;
    }
    x->watch = fw; /* the I/O thread looks when the call is back */
    return true;
}

static void on_gone(void *arg);

static void on_stop(void *arg)
{
    struct front_watch *fw = arg;
    api_watch_stop(fw->watch);
    fw->watch = NULL;
    rt_post(fw->io_rt, &fw->gone_post, on_gone, fw);
}

/* ---- I/O thread ---- */

/* The core's last word: nothing refers to fw any more. */
static void on_gone(void *arg)
{
    struct front_watch *fw = arg;
    struct exchange *x = fw->x;
    struct http_request *req = x->req;
    bool over = fw->over;
    rt_timer_stop(&fw->timer);
    x->watch = NULL;
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

static void on_batch(void *arg)
{
    struct batch *b = arg;
    struct front_watch *fw = b->fw;
    struct exchange *x = fw->x;
    struct buf out = {0};
    bool error = false;
    atomic_fetch_sub_explicit(&fw->posted, 1, memory_order_relaxed);
    if (fw->ending || x->gone) {
        batch_free(b);
        return;
    }
    for (size_t i = 0; i < b->n; i++) {
        encode_event(x, &b->events[i], fw->first, &out);
        error |= b->events[i].type == CLIENT_EVENT_ERROR;
        fw->first = false;
    }
    atomic_fetch_add_explicit(&x->io->metrics.watch_events, b->n, memory_order_relaxed);
    bool overrun = b->overrun;
    batch_free(b);
    size_t n;
    char *p = buf_take(&out, &n);
    int r = n ? http_stream_write(x->req, http_bytes_take(p, n)) : 0;
    if (overrun || r == -ENOBUFS || http_stream_queued_bytes(x->req) > API_WATCH_BYTES_MAX)
        cut(x);
    else if (r < 0 || error)
        front_watch_end(x);
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
    struct http_header h[2] = {{STR("content-type"), str_z(encode_content_type(&x->accept, true))},
                               {STR("cache-control"), STR("no-cache, private")}};
    nsec_t span = x->call->opts.timeout_s > 0
                      ? MIN(x->call->opts.timeout_s, (int64_t)86400 * 30) * NSEC_PER_SEC
                      : API_WATCH_TIMEOUT_MIN_S * NSEC_PER_SEC +
                            (nsec_t)rt_random_below(io->rt, API_WATCH_TIMEOUT_MIN_S) * NSEC_PER_SEC;
    rt_timer_init(&fw->timer, io->rt, on_timeout, fw);
    atomic_fetch_add_explicit(&io->metrics.watches, 1, memory_order_relaxed);
    metrics_count(&io->metrics, API_WATCH, 200, 0);
    if (x->gone || io->stopping || http_stream_start(x->req, 200, h, 2) < 0) {
        x->gone = true;
        front_watch_end(x);
        return;
    }
    rt_timer_start(&fw->timer, span);
}
