/* The two ends of the WebSocket opening handshake (RFC 6455 section 4). */
#include "http/ws.h"
#include "http/client_int.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "rt/crypto.h"
#include "rt/rt.h"
#include "rt/stream.h"

#define KEY_BYTES 16
static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static struct str accept_value(struct arena *a, struct str key)
{
    struct str text = arena_printf(a, "%.*s%s", STR_ARG(key), guid);
    struct buf b = {0};
    struct str out;
    uint8_t digest[20];

    sha1_of(text, digest);
    base64_print((struct str){(char *)digest, sizeof(digest)}, &b);
    out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}

static bool key_valid(struct arena *a, struct str key)
{
    struct str raw;

    return base64_parse(key, a, &raw) == 0 && raw.n == KEY_BYTES;
}

bool ws_requested(const struct http_request *req)
{
    return req->wants_upgrade &&
           http_header_has_token(req->headers, req->n_headers, STR("upgrade"), STR("websocket"));
}

/* Index of the first of ours that is in a sec-websocket-protocol header, else -1. */
static int pick_protocol(const struct http_header *h, size_t n_headers, const char *const *ours,
                         size_t n, bool *ret_any_offered)
{
    *ret_any_offered = http_header_get(h, n_headers, STR("sec-websocket-protocol")).p;
    for (size_t i = 0; i < n; i++)
        if (http_header_has_token(h, n_headers, STR("sec-websocket-protocol"), str_z(ours[i])))
            return (int)i;
    return -1;
}

struct ws *ws_accept(struct http_request *req, const char *const *protocols, size_t n,
                     const struct ws_opts *opts, const struct ws_callbacks *cb, void *arg,
                     int *ret_protocol)
{
    struct str key = str_trim(http_request_header(req, STR("sec-websocket-key")));
    struct str version = http_request_header(req, STR("sec-websocket-version"));
    struct http_header h[3];
    struct rt_stream *stream;
    bool offered;
    int chosen;
    size_t k = 0;

    if (!ws_requested(req) || req->method != HTTP_METHOD_GET || !key_valid(&req->arena, key)) {
        http_respond_str(req, 400, "text/plain", STR("not a WebSocket handshake\n"));
        return NULL;
    }
    if (!str_is(str_trim(version), "13")) {
        h[k++] = (struct http_header){STR("sec-websocket-version"), STR("13")};
        http_respond(req, 426, h, k, HTTP_BYTES_STATIC("WebSocket version 13 is needed\n"));
        return NULL;
    }
    chosen = pick_protocol(req->headers, req->n_headers, protocols, n, &offered);
    if (n && offered && chosen < 0) {
        http_respond_str(req, 403, "text/plain", STR("none of the sub-protocols is supported\n"));
        return NULL;
    }
    h[k++] = (struct http_header){STR("upgrade"), STR("websocket")};
    h[k++] = (struct http_header){STR("sec-websocket-accept"), accept_value(&req->arena, key)};
    if (chosen >= 0)
        h[k++] = (struct http_header){STR("sec-websocket-protocol"), str_z(protocols[chosen])};
    if (http_upgrade_tunnel(req, 101, h, k, &stream) < 0) {
        http_respond_str(req, 400, "text/plain", STR("this connection cannot be upgraded\n"));
        return NULL;
    }
    if (ret_protocol)
        *ret_protocol = chosen;
    return ws_new(rt_stream_rt(stream), stream, false, opts, cb, arg);
}

/* ---- client ---- */

struct opening {
    struct arena arena;
    struct str accept;
    const char **protocols;
    size_t n_protocols;
    struct ws_opts opts;
    struct ws_callbacks cb;
    void *arg;
    void (*on_open)(const struct ws_open_answer *a, void *arg);
    struct rt *rt;
};

static bool answer_fits(const struct opening *o, const struct http_upgraded *u, struct str *ret)
{
    struct str accept = http_header_get(u->headers, u->n_headers, STR("sec-websocket-accept"));
    bool offered;
    int i;

    *ret = STR_NONE;
    if (!str_eq(str_trim(accept), o->accept) ||
        !http_header_has_token(u->headers, u->n_headers, STR("upgrade"), STR("websocket")))
        return false;
    i = pick_protocol(u->headers, u->n_headers, o->protocols, o->n_protocols, &offered);
    if (offered && i < 0)
        return false;
    if (i >= 0)
        *ret = str_z(o->protocols[i]);
    return true;
}

static void opened(const struct http_upgraded *u, void *arg)
{
    struct opening *o = arg;
    struct ws_open_answer a = {
        .err = u->err,
        .what = u->what,
        .status = u->status,
        .body = u->body,
    };

    if (u->stream && answer_fits(o, u, &a.protocol)) {
        a.ws = ws_new(o->rt, u->stream, true, &o->opts, &o->cb, o->arg);
    } else if (u->stream) {
        rt_stream_close(u->stream, NULL, NULL);
        a.err = -EPROTO;
        a.what = "the server's answer to the WebSocket handshake is wrong";
    }
    o->on_open(&a, o->arg);
}

static void opening_free(void *arg)
{
    struct opening *o = arg;
    struct arena a = o->arena;

    arena_fini(&a);
}

struct http_call *ws_open(struct http_client *c, struct str target,
                          const struct http_header *headers, size_t n_headers,
                          const char *const *protocols, size_t n_protocols, int64_t timeout_ms,
                          const struct ws_opts *opts, const struct ws_callbacks *cb, void *arg,
                          void (*on_open)(const struct ws_open_answer *a, void *arg))
{
    struct arena arena = {0};
    struct opening *o = ARENA_NEW(&arena, struct opening);
    struct http_header *h = arena_alloc(&arena, sizeof(*h) * (n_headers + 4));
    struct http_client_request r = {
        .method = STR("GET"), .target = target, .headers = h, .timeout_ms = timeout_ms};
    struct buf key = {0}, list = {0};
    uint8_t raw[KEY_BYTES];
    struct http_call *call;
    size_t k = n_headers;

    if (n_headers)
        memcpy(h, headers, sizeof(*h) * n_headers);
    o->rt = http_client_rt(c);
    rt_random_bytes(o->rt, raw, sizeof(raw));
    base64_print((struct str){(char *)raw, sizeof(raw)}, &key);
    o->accept = accept_value(&arena, buf_str(&key));
    o->protocols = arena_alloc(&arena, sizeof(*o->protocols) * (n_protocols + 1));
    o->n_protocols = n_protocols;
    for (size_t i = 0; i < n_protocols; i++) {
        o->protocols[i] = arena_cstr(&arena, str_z(protocols[i]));
        buf_printf(&list, "%s%s", i ? ", " : "", protocols[i]);
    }
    if (opts)
        o->opts = *opts;
    o->cb = *cb;
    o->arg = arg;
    o->on_open = on_open;
    h[k++] = (struct http_header){STR("upgrade"), STR("websocket")};
    h[k++] = (struct http_header){STR("sec-websocket-key"), buf_str(&key)};
    h[k++] = (struct http_header){STR("sec-websocket-version"), STR("13")};
    if (n_protocols)
        h[k++] = (struct http_header){STR("sec-websocket-protocol"), buf_str(&list)};
    r.n_headers = k;
    o->arena = arena;
    call = http_client_upgrade(c, &r, opened, o);
    call->on_free = opening_free;
    call->free_arg = o;
    buf_fini(&key);
    buf_fini(&list);
    return call;
}
