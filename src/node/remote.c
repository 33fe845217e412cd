/* See remote.h; both transports end in the same few functions below. */
#include "node/remote.h"

#include "base/mem.h"
#include "codec/json.h"
#include "http/spdy.h"
#include "http/ws.h"
#include "rt/rt.h"
#include "rt/stream.h"

enum { CH_STDIN, CH_STDOUT, CH_STDERR, CH_ERROR, CH_RESIZE, _CH_MAX };
#define CH_CLOSE     255
#define STREAM_PIECE 32768
#define OPEN_TIMEOUT (30 * NSEC_PER_SEC) /* for the client to open its streams */

struct remote {
    struct rt *rt;
    struct remote_opts opts;
    struct remote_callbacks cb;
    void *arg;
    struct ws *ws;
    int version; /* 4 or 5; 1: no status as JSON */
    struct spdy *spdy;
    struct spdy_stream *streams[_CH_MAX];
    bool opened, stdin_ended, finished;
    struct rt_task open_task;
    struct rt_timer timer;
    struct buf resize; /* SPDY: JSON objects one behind another */
};

static void opened(struct remote *r)
{
    if (r->opened)
        return;
    r->opened = true;
    rt_timer_stop(&r->timer);
    r->cb.on_open(r->arg);
}

static void on_open_task(void *arg)
{
    opened(arg);
}

static void gone(struct remote *r)
{
    rt_task_cancel(&r->open_task);
    rt_timer_stop(&r->timer);
    r->cb.on_close(r->arg);
    buf_fini(&r->resize);
    free(r);
}

static void stdin_end(struct remote *r)
{
    if (r->stdin_ended)
        return;
    r->stdin_ended = true;
    if (!r->finished)
        r->cb.on_stdin_end(r->arg);
}

/* {"Width":80,"Height":24} */
static void resize(struct remote *r, struct str text)
{
    struct arena a = {0};
    struct json *v;
    struct error err = {0};
    if (json_parse(text, &a, NULL, &v, &err) == 0) {
        const struct json *w = json_getz(v, "Width"), *h = json_getz(v, "Height");
        if (json_is(w, JSON_INT) && json_is(h, JSON_INT) && w->i > 0 && h->i > 0 && w->i < 65536 &&
            h->i < 65536 && !r->finished)
            r->cb.on_resize(r->arg, (unsigned)h->i, (unsigned)w->i);
    }
    error_fini(&err);
    arena_fini(&a);
}

/* ---- WebSocket ---- */

static void on_ws_message(struct ws *ws, enum ws_opcode op, const void *p, size_t n, void *arg)
{
    struct remote *r = arg;
    const unsigned char *b = p;
    if (n == 0 || r->finished)
        return;
    struct str data = {(const char *)b + 1, n - 1};
    switch (b[0]) {
    case CH_STDIN:
        if (r->opts.stdin_open && !r->stdin_ended && data.n)
            r->cb.on_stdin(r->arg, data);
        break;
    case CH_RESIZE:
        resize(r, data);
        break;
    case CH_CLOSE:
        if (r->version >= 5 && data.n >= 1 && data.p[0] == CH_STDIN)
            stdin_end(r);
        break;
    default:
        break;
    }
}

static void on_ws_drain(struct ws *ws, void *arg)
{
    struct remote *r = arg;
    if (!r->finished)
        r->cb.on_drain(r->arg);
}

static void on_ws_close(struct ws *ws, int code, struct str reason, int err, void *arg)
{
    gone(arg);
}

static const struct ws_callbacks ws_cb = {
    .on_message = on_ws_message, .on_drain = on_ws_drain, .on_close = on_ws_close};

/* ---- SPDY ---- */

static int channel_of(struct str type)
{
    static const char *const names[_CH_MAX] = {"stdin", "stdout", "stderr", "error", "resize"};
    for (int i = 0; i < _CH_MAX; i++)
        if (str_eqz(type, names[i]))
            return i;
    return -EINVAL;
}

static bool all_open(const struct remote *r)
{
    return r->streams[CH_ERROR] && (!r->opts.stdin_open || r->streams[CH_STDIN]) &&
           (!r->opts.stdout_open || r->streams[CH_STDOUT]) &&
           (!r->opts.stderr_open || r->opts.tty || r->streams[CH_STDERR]) &&
           (!r->opts.tty || r->version < 3 || r->streams[CH_RESIZE]);
}

static int on_spdy_open(struct spdy *s, struct spdy_stream *st, const struct http_header *h,
                        size_t n, void *arg)
{
    struct remote *r = arg;
    int ch = channel_of(http_header_get(h, n, STR("streamtype")));
    if (ch < 0 || r->streams[ch])
        return -EINVAL;
    r->streams[ch] = st;
    spdy_stream_set_user(st, (void *)(intptr_t)(ch + 1));
    if (all_open(r))
        rt_task_schedule(&r->open_task);
    return 0;
}

static int channel(const struct spdy_stream *st)
{
    return (int)(intptr_t)spdy_stream_user(st) - 1;
}

static void on_spdy_data(struct spdy_stream *st, const void *p, size_t n, void *arg)
{
    struct remote *r = arg;
    if (r->finished)
        return;
    if (channel(st) == CH_STDIN && !r->stdin_ended) {
        r->cb.on_stdin(r->arg, (struct str){p, n});
    } else if (channel(st) == CH_RESIZE && r->resize.n + n < 65536) {
        buf_add(&r->resize, p, n);
        ssize_t end;
        while ((end = str_find(buf_str(&r->resize), '}')) >= 0) {
            resize(r, str_sub(buf_str(&r->resize), 0, (size_t)end + 1));
            buf_consume(&r->resize, (size_t)end + 1);
        }
    }
}

static void on_spdy_fin(struct spdy_stream *st, void *arg)
{
    if (channel(st) == CH_STDIN)
        stdin_end(arg);
}

static void on_spdy_drain(struct spdy_stream *st, void *arg)
{
    struct remote *r = arg;
    if (!r->finished)
        r->cb.on_drain(r->arg);
}

static void on_spdy_stream_close(struct spdy_stream *st, int err, void *arg)
{
    struct remote *r = arg;
    int ch = channel(st);
    if (ch >= 0 && r->streams[ch] == st)
        r->streams[ch] = NULL;
    if (ch == CH_STDIN)
        stdin_end(r);
}

static void on_spdy_close(struct spdy *s, int err, void *arg)
{
    gone(arg);
}

static const struct spdy_callbacks spdy_cb = {.on_open = on_spdy_open,
                                              .on_data = on_spdy_data,
                                              .on_fin = on_spdy_fin,
                                              .on_drain = on_spdy_drain,
                                              .on_stream_close = on_spdy_stream_close,
                                              .on_close = on_spdy_close};

static void on_open_timeout(void *arg)
{
    remote_abort(arg);
}

/* ---- both ---- */

struct remote *remote_accept(struct http_request *req, const struct remote_opts *o,
                             const struct remote_callbacks *cb, void *arg)
{
    static const char *const ws_names[] = {"v5.channel.k8s.io", "v4.channel.k8s.io",
                                           "channel.k8s.io"};
    static const char *const spdy_names[] = {"v5.channel.k8s.io", "v4.channel.k8s.io",
                                             "v3.channel.k8s.io", "v2.channel.k8s.io",
                                             "channel.k8s.io"};
    static const int spdy_versions[] = {5, 4, 3, 2, 1};
    if (!ws_requested(req) && !spdy_requested(req)) {
        http_respond_str(req, 400, "text/plain; charset=utf-8", STR("Upgrade request required\n"));
        return NULL;
    }
    struct remote *r = NEW(struct remote);
    int protocol = -1;
    r->opts = *o;
    r->cb = *cb;
    r->arg = arg;
    r->rt = rt_stream_rt(req->stream);
    rt_task_init(&r->open_task, r->rt, on_open_task, r);
    rt_timer_init(&r->timer, r->rt, on_open_timeout, r);
    if (ws_requested(req)) {
        struct ws_opts wo = {.queue_bytes_max = 8 << 20, .message_bytes_max = 4 << 20};
        r->ws = ws_accept(req, ws_names, ARRAY_LEN(ws_names), &wo, &ws_cb, r, &protocol);
        r->version = protocol == 0 ? 5 : protocol == 1 ? 4 : 1;
        if (r->ws)
            rt_task_schedule(&r->open_task);
    } else {
        struct spdy_opts so = {.stream_queue_bytes_max = 8 << 20};
        r->spdy = spdy_accept(req, spdy_names, ARRAY_LEN(spdy_names), &so, &spdy_cb, r, &protocol);
        r->version = protocol >= 0 ? spdy_versions[protocol] : 1;
        rt_timer_start(&r->timer, OPEN_TIMEOUT);
    }
    if (!r->ws && !r->spdy) {
        rt_timer_stop(&r->timer);
        free(r);
        return NULL;
    }
    return r;
}

static bool send(struct remote *r, int ch, struct str data)
{
    if (r->ws) {
        char head = (char)ch;
        (void)!ws_send2(r->ws, WS_BINARY, (struct str){&head, 1}, data);
        return !ws_congested(r->ws);
    }
    struct spdy_stream *st = r->streams[ch];
    if (!st)
        return true;
    (void)!spdy_stream_write(st, http_bytes_copy(data));
    return !spdy_stream_congested(st);
}

bool remote_output(struct remote *r, int stream, struct str data)
{
    bool room = true;
    if (r->finished || (stream == 1 && !r->opts.stdout_open) ||
        (stream == 2 && !r->opts.stderr_open))
        return true;
    for (size_t i = 0; i < data.n; i += STREAM_PIECE)
        room = send(r, stream, str_sub(data, i, i + STREAM_PIECE));
    return room;
}

void remote_pause_stdin(struct remote *r, bool paused)
{
    if (r->ws)
        ws_pause(r->ws, paused);
    else if (r->streams[CH_STDIN])
        spdy_stream_pause(r->streams[CH_STDIN], paused);
}

static void status_text(int code, const char *message, bool json, struct buf *b)
{
    if (!json) {
        if (code)
            buf_printf(b, "%s", *message ? message : "command terminated with non-zero exit code");
        return;
    }
    if (code == 0) {
        buf_add_lit(b, "{\"metadata\":{},\"status\":\"Success\"}");
        return;
    }
    buf_add_lit(b, "{\"metadata\":{},\"status\":\"Failure\",\"message\":");
    if (code > 0) {
        struct buf m = {0};
        buf_printf(&m, "command terminated with non-zero exit code: exit status %d", code);
        json_print_str(buf_str(&m), b);
        buf_printf(b,
                   ",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":"
                   "\"ExitCode\",\"message\":\"%d\"}]}}",
                   code);
        buf_fini(&m);
    } else {
        json_print_str(str_z(message), b);
        buf_add_lit(b, ",\"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":");
        json_print_str(str_z(message), b);
        buf_add_lit(b, "}]},\"code\":500}");
    }
}

void remote_finish(struct remote *r, int code, const char *message)
{
    if (r->finished)
        return;
    r->finished = true;
    struct buf b = {0};
    status_text(code, message ? message : "", r->version >= 4, &b);
    if (b.n)
        (void)send(r, CH_ERROR, buf_str(&b));
    buf_fini(&b);
    if (r->ws) {
        ws_close(r->ws, 1000, STR_NONE);
        return;
    }
    for (int i = 0; i < _CH_MAX; i++)
        if (r->streams[i])
            spdy_stream_fin(r->streams[i]);
    spdy_close(r->spdy);
}

void remote_abort(struct remote *r)
{
    r->finished = true;
    if (r->ws)
        ws_abort(r->ws);
    else
        spdy_abort(r->spdy);
}
