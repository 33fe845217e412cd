/* WebSocket connections over wslay. wslay knows frames, masks, fragments and the close handshake;
 * this file feeds it from a stream, bounds what it holds, and turns its errors into one on_close.
 *
 * Input goes in by pull: `cur` is the slice at hand, wslay's read callback takes from it. Output is
 * handed to the stream at once and in order, so wslay's own queue is always empty between calls and
 * only the stream's has to be bounded. The struct is freed by its task after on_close, never
 * earlier, so callbacks may do anything. */
#include "http/ws.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "rt/rt.h"
#include "rt/stream.h"

#include <wslay/wslay.h>

#define LINGER (2 * NSEC_PER_SEC)

struct held { /* a message that came while paused: at most what wslay had read ahead (4 KiB) */
    struct list link;
    enum ws_opcode op;
    size_t n;
    char data[];
};

struct ws {
    struct rt *rt;
    struct rt_stream *stream; /* owned; NULL once closed */
    struct ws_opts opts;
    struct ws_callbacks cb;
    void *arg;
    wslay_event_context_ptr ctx; /* owned */
    struct str cur;              /* being read */
    struct list held;
    bool paused, closing, ended, pumping, receiving, congested, drain_due, resume_due;
    int code, err;
    char reason[126];
    size_t reason_n;
    nsec_t last_read;
    struct rt_task task;
    struct rt_timer ping, cut;
};

static void ws_end(struct ws *ws, int code, struct str reason, int err)
{
    if (ws->ended)
        return;
    ws->ended = true;
    ws->code = code;
    ws->err = err;
    ws->reason_n = MIN(reason.n, sizeof(ws->reason) - 1);
    if (ws->reason_n)
        memcpy(ws->reason, reason.p, ws->reason_n);
    rt_timer_stop(&ws->ping);
    rt_timer_stop(&ws->cut);
    if (err && err != -EPROTO) /* a close frame that says what is wrong still goes out */
        rt_stream_close(TAKE_PTR(ws->stream), NULL, NULL);
    else
        rt_stream_finish(TAKE_PTR(ws->stream), LINGER, NULL, NULL);
    rt_task_schedule(&ws->task);
}

/* ---- wslay's callbacks ---- */

static ssize_t cb_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t n, int flags, void *user)
{
    struct ws *ws = user;

    (void)flags;
    n = MIN(n, ws->cur.n);
    if (!n || ws->paused || ws->ended) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, ws->cur.p, n);
    ws->cur = str_sub(ws->cur, n, ws->cur.n);
    return (ssize_t)n;
}

static ssize_t cb_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t n, int flags,
                       void *user)
{
    struct ws *ws = user;

    (void)ctx;
    (void)flags;
    if (ws->stream)
        rt_stream_write(ws->stream, (struct str){(const char *)data, n});
    return (ssize_t)n;
}

static int cb_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t n, void *user)
{
    struct ws *ws = user;

    (void)ctx;
    rt_random_bytes(ws->rt, buf, n);
    return 0;
}

static void deliver(struct ws *ws, enum ws_opcode op, const void *p, size_t n)
{
    struct held *h;

    if (ws->ended || ws->closing)
        return;
    if (!ws->paused && list_empty(&ws->held)) {
        ws->cb.on_message(ws, op, n ? p : "", n, ws->arg);
        return;
    }
    h = xmalloc(sizeof(*h) + n);
    h->op = op;
    h->n = n;
    if (n)
        memcpy(h->data, p, n);
    list_init(&h->link);
    list_push_back(&ws->held, &h->link);
}

static void cb_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m,
                       void *user)
{
    struct ws *ws = user;

    (void)ctx;
    if (m->opcode == WSLAY_CONNECTION_CLOSE) {
        size_t skip = MIN(m->msg_length, (size_t)2);

        ws->code = m->status_code ? m->status_code : WSLAY_CODE_NO_STATUS_RCVD;
        ws->reason_n = MIN(m->msg_length - skip, sizeof(ws->reason) - 1);
        if (ws->reason_n)
            memcpy(ws->reason, m->msg + skip, ws->reason_n);
    } else if (m->opcode == WSLAY_TEXT_FRAME || m->opcode == WSLAY_BINARY_FRAME) {
        deliver(ws, m->opcode == WSLAY_TEXT_FRAME ? WS_TEXT : WS_BINARY, m->msg, m->msg_length);
    }
}

static const struct wslay_event_callbacks wslay_callbacks = {
    .recv_callback = cb_recv,
    .send_callback = cb_send,
    .genmask_callback = cb_mask,
    .on_msg_recv_callback = cb_message,
};

/* ---- moving ---- */

/* Sends what wslay has queued, and sees whether the connection has come to its end. */
static void pump(struct ws *ws)
{
    if (ws->ended || ws->pumping)
        return;
    ws->pumping = true;
    if (wslay_event_send(ws->ctx) < 0)
        ws_end(ws, WSLAY_CODE_ABNORMAL_CLOSURE, STR("cannot send"), -EPIPE);
    ws->pumping = false;
    if (ws->ended)
        return;
    if (rt_stream_congested(ws->stream))
        ws->congested = true;
    if (!wslay_event_get_close_sent(ws->ctx))
        return;
    if (wslay_event_get_close_received(ws->ctx)) {
        ws_end(ws, ws->code, (struct str){ws->reason, ws->reason_n}, 0);
    } else if (!wslay_event_get_read_enabled(ws->ctx)) {
        /* wslay found an error, said so in its close frame, and reads no more */
        ws_end(ws, wslay_event_get_status_code_sent(ws->ctx), STR("protocol error"), -EPROTO);
    }
}

static void take_input(struct ws *ws, struct str data)
{
    int r;

    ASSERT(!ws->receiving);
    ws->cur = data;
    ws->receiving = true;
    r = wslay_event_recv(ws->ctx);
    ws->receiving = false;
    if (ws->ended)
        return;
    pump(ws);
    if (ws->ended)
        return;
    if (r < 0) { /* and it had no close frame to say why */
        ws_end(ws, WSLAY_CODE_ABNORMAL_CLOSURE, STR("cannot read"), -EPROTO);
        return;
    }
    if (!wslay_event_get_read_enabled(ws->ctx)) {
        ws->cur.n = 0; /* nothing counts behind a close frame */
    } else if (ws->cur.n && ws->paused) {
        rt_stream_unread(ws->stream, ws->cur);
        ws->cur.n = 0;
    }
}

/* ---- the stream's callbacks ---- */

static void on_data(void *arg, struct str data)
{
    struct ws *ws = arg;

    ws->last_read = rt_now(ws->rt);
    take_input(ws, data);
}

static void on_eof(void *arg)
{
    struct ws *ws = arg;

    ws_end(ws, WSLAY_CODE_ABNORMAL_CLOSURE, STR("connection closed"), -ECONNRESET);
}

static void on_error(void *arg, int err)
{
    ws_end(arg, WSLAY_CODE_ABNORMAL_CLOSURE, STR("connection lost"), err);
}

static void on_drain(void *arg)
{
    struct ws *ws = arg;

    if (!ws->congested)
        return;
    ws->congested = false;
    ws->drain_due = true;
    rt_task_schedule(&ws->task);
}

static const struct rt_stream_handler handler = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
};

/* ---- deferred: the end, a drain, a resume ---- */

static void ws_free(struct ws *ws)
{
    struct held *h;

    rt_task_cancel(&ws->task);
    rt_timer_stop(&ws->ping);
    rt_timer_stop(&ws->cut);
    LIST_FOR_EACH (h, &ws->held, link)
        free(h);
    wslay_event_context_free(ws->ctx);
    free(ws);
}

static void resume(struct ws *ws)
{
    struct held *h;

    LIST_FOR_EACH (h, &ws->held, link) {
        if (ws->paused || ws->ended)
            return;
        list_remove(&h->link);
        if (!ws->closing)
            ws->cb.on_message(ws, h->op, h->data, h->n, ws->arg);
        free(h);
    }
    if (!ws->paused && !ws->ended)
        rt_stream_read_start(ws->stream);
}

static void ws_task(void *arg)
{
    struct ws *ws = arg;

    if (ws->drain_due && !ws->ended) {
        ws->drain_due = false;
        if (ws->cb.on_drain)
            ws->cb.on_drain(ws, ws->arg);
    }
    if (ws->resume_due && !ws->ended) {
        ws->resume_due = false;
        resume(ws);
    }
    if (ws->ended) {
        ws->cb.on_close(ws, ws->code, (struct str){ws->reason, ws->reason_n}, ws->err, ws->arg);
        ws_free(ws);
    }
}

static void on_ping(void *arg)
{
    struct ws *ws = arg;
    struct wslay_event_msg m = {.opcode = WSLAY_PING};

    if (rt_now(ws->rt) - ws->last_read > ws->opts.ping_timeout_ms * NSEC_PER_MSEC && !ws->paused) {
        ws_end(ws, WSLAY_CODE_ABNORMAL_CLOSURE, STR("no answer to pings"), -ETIMEDOUT);
        return;
    }
    rt_timer_start(&ws->ping, ws->opts.ping_interval_ms * NSEC_PER_MSEC);
    if (!ws->closing) {
        (void)wslay_event_queue_msg(ws->ctx, &m);
        pump(ws);
    }
}

static void on_cut(void *arg)
{
    ws_end(arg, WSLAY_CODE_ABNORMAL_CLOSURE, STR("close handshake timed out"), -ETIMEDOUT);
}

/* ---- what users call ---- */

#define DEFAULT(o, field, v) ((o)->field = (o)->field ? (o)->field : (v))

struct ws *ws_new(struct rt *rt, struct rt_stream *stream, bool is_client,
                  const struct ws_opts *opts, const struct ws_callbacks *cb, void *arg)
{
    struct ws *ws = NEW(struct ws);
    int r;

    ASSERT(cb->on_message && cb->on_close);
    ws->rt = rt;
    ws->stream = stream;
    if (opts)
        ws->opts = *opts;
    DEFAULT(&ws->opts, message_bytes_max, 1 << 20);
    DEFAULT(&ws->opts, queue_bytes_max, 4 << 20);
    DEFAULT(&ws->opts, ping_timeout_ms, 2 * ws->opts.ping_interval_ms);
    DEFAULT(&ws->opts, close_timeout_ms, 5000);
    ws->cb = *cb;
    ws->arg = arg;
    ws->code = WSLAY_CODE_NO_STATUS_RCVD;
    ws->last_read = rt_now(rt);
    list_init(&ws->held);
    rt_task_init(&ws->task, rt, ws_task, ws);
    rt_timer_init(&ws->ping, rt, on_ping, ws);
    rt_timer_init(&ws->cut, rt, on_cut, ws);
    r = is_client ? wslay_event_context_client_init(&ws->ctx, &wslay_callbacks, ws)
                  : wslay_event_context_server_init(&ws->ctx, &wslay_callbacks, ws);
    ASSERT(r == 0); /* out of memory */
    wslay_event_config_set_max_recv_msg_length(ws->ctx, ws->opts.message_bytes_max);
    if (ws->opts.ping_interval_ms)
        rt_timer_start(&ws->ping, ws->opts.ping_interval_ms * NSEC_PER_MSEC);
    rt_stream_set_handler(stream, &handler, ws);
    rt_stream_read_start(stream);
    return ws;
}

static int send_copy(struct ws *ws, enum ws_opcode op, const void *p, size_t n)
{
    struct wslay_event_msg m = {.opcode = (uint8_t)op, .msg = p, .msg_length = n};

    if (ws->ended || ws->closing || !wslay_event_get_write_enabled(ws->ctx))
        return -EPIPE;
    if (rt_stream_queued_bytes(ws->stream) + n > ws->opts.queue_bytes_max)
        return -ENOBUFS;
    if (wslay_event_queue_msg(ws->ctx, &m) != 0)
        return -EPIPE;
    if (!ws->receiving) /* else behind the message at hand */
        pump(ws);
    return 0;
}

int ws_send(struct ws *ws, enum ws_opcode op, struct http_bytes message)
{
    int r = send_copy(ws, op, message.p, message.n);

    http_bytes_release(&message);
    return r;
}

int ws_send2(struct ws *ws, enum ws_opcode op, struct str head, struct str data)
{
    char small[2048], *p = small;
    int r;

    if (head.n + data.n > ws->opts.queue_bytes_max)
        return -ENOBUFS;
    if (head.n + data.n > sizeof(small))
        p = xmalloc(head.n + data.n);
    if (head.n)
        memcpy(p, head.p, head.n);
    if (data.n)
        memcpy(p + head.n, data.p, data.n);
    r = send_copy(ws, op, p, head.n + data.n);
    if (p != small)
        free(p);
    return r;
}

size_t ws_queued_bytes(const struct ws *ws)
{
    return ws->stream ? rt_stream_queued_bytes(ws->stream) : 0;
}

bool ws_congested(const struct ws *ws)
{
    return ws->stream && rt_stream_congested(ws->stream);
}

void ws_pause(struct ws *ws, bool paused)
{
    if (ws->paused == paused || ws->ended)
        return;
    ws->paused = paused;
    if (paused) {
        rt_stream_read_stop(ws->stream);
    } else {
        ws->resume_due = true;
        rt_task_schedule(&ws->task);
    }
}

void ws_close(struct ws *ws, int code, struct str reason)
{
    if (ws->ended || ws->closing)
        return;
    ws->closing = true;
    if (ws->paused) { /* the peer's close frame has to be read */
        ws->paused = false;
        rt_stream_read_start(ws->stream);
    }
    (void)wslay_event_queue_close(ws->ctx, (uint16_t)code, (const uint8_t *)reason.p,
                                  MIN(reason.n, (size_t)122));
    rt_timer_start(&ws->cut, ws->opts.close_timeout_ms * NSEC_PER_MSEC);
    if (!ws->receiving)
        pump(ws);
}

void ws_abort(struct ws *ws)
{
    ws_end(ws, WSLAY_CODE_ABNORMAL_CLOSURE, STR("aborted"), -ECANCELED);
}
