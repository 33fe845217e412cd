#include "http_test.h"

static void on_body(struct http_request *req, void *arg)
{
    struct fixture *f = arg;

    f->bodies++;
    http_respond_str(req, 200, "text/plain", req->body);
}

static void on_piece(struct http_request *req, const void *p, size_t n, void *arg)
{
    struct fixture *f = arg;

    if (n) {
        buf_add(&f->seen, p, n);
        if (f->piece_pause)
            http_request_body_pause(req, true);
        return;
    }
    f->body_ends++;
    http_respond_str(req, 200, "text/plain", buf_str(&f->seen));
}

static void on_close(struct http_request *req, void *arg)
{
    struct fixture *f = arg;

    f->closes++;
    assert_true(http_request_gone(req));
    if (f->held == req)
        f->held = NULL;
    http_stream_end(req);
}

static void on_drain(struct http_request *req, void *arg)
{
    ((struct fixture *)arg)->drains++;
}

static void handler(struct http_request *req, void *arg)
{
    struct fixture *f = arg;
    struct http_header h[2] = {{STR("x-conn"), arena_printf(&req->arena, "%llu",
                                                            (unsigned long long)req->conn_id)}};

    f->handled++;
    snprintf(f->last_path, sizeof(f->last_path), "%.*s", STR_ARG(req->path));
    if (str_is(req->path, "/hello")) {
        http_respond(req, 200, h, 1, HTTP_BYTES_STATIC("hello"));
    } else if (str_is(req->path, "/echo")) {
        http_on_close(req, on_close, f);
        http_request_body(req, 1000, on_body, f);
    } else if (str_is(req->path, "/big-echo")) {
        http_on_close(req, on_close, f);
        http_request_body(req, 64 << 20, on_body, f);
    } else if (str_is(req->path, "/pieces")) {
        http_on_close(req, on_close, f);
        f->held = req;
        http_request_body_stream(req, on_piece, f);
    } else if (str_is(req->path, "/empty")) {
        http_respond(req, 204, NULL, 0, HTTP_BYTES_NONE);
    } else if (str_is(req->path, "/hold")) {
        f->held = req;
        http_on_close(req, on_close, f);
    } else if (str_is(req->path, "/stream")) {
        f->held = req;
        http_on_close(req, on_close, f);
        http_on_drain(req, on_drain, f);
        assert_int_equal(http_stream_start(req, 200, h, 1), 0);
    } else if (str_is(req->path, "/late")) { /* never asks for the body */
        http_respond_str(req, 401, "text/plain", STR("who are you"));
    } else if (str_is(req->path, "/abort")) {
        http_stream_abort(req);
    } else {
        http_respond_str(req, 404, NULL, STR("nothing here"));
    }
}

void fixture_init(struct fixture *f, const struct http_server_opts *opts)
{
    *f = (struct fixture){.rt = rt_sim_new(1, 1700000000000000)};
    f->server = http_server_new(f->rt, opts, handler, f);
}

void fixture_fini(struct fixture *f)
{
    struct http_request *held = f->held;

    f->server = http_server_free(f->server);
    run_ms(f, 5000);
    if (held && f->held == held) /* had no on_close */
        http_stream_abort(held);
    buf_fini(&f->seen);
    run_ms(f, 5000);
    rt_free(f->rt);
}

static void peer_data(void *arg, struct str data)
{
    buf_add_str(&((struct peer *)arg)->in, data);
}

static void peer_eof(void *arg)
{
    ((struct peer *)arg)->eof = true;
}

static void peer_error(void *arg, int err)
{
    ((struct peer *)arg)->error = true;
}

static const struct rt_stream_handler peer_handler = {
    .on_data = peer_data,
    .on_eof = peer_eof,
    .on_error = peer_error,
};

void peer_open(struct fixture *f, struct peer *p)
{
    struct rt_stream *server_end;

    *p = (struct peer){0};
    rt_stream_pair(f->rt, &p->s, &server_end);
    rt_stream_set_handler(p->s, &peer_handler, p);
    rt_stream_read_start(p->s);
    http_server_accept(f->server, server_end);
}

void peer_close(struct peer *p)
{
    if (p->s)
        rt_stream_close(TAKE_PTR(p->s), NULL, NULL);
    buf_fini(&p->in);
}

void run_ms(struct fixture *f, int64_t ms)
{
    rt_sim_run_for(f->rt, ms * NSEC_PER_MSEC);
}

struct str say(struct fixture *f, struct peer *p, const char *text)
{
    buf_clear(&p->in);
    rt_stream_write(p->s, str_z(text));
    run_ms(f, 5);
    return p->in.n ? buf_str(&p->in) : STR("");
}

bool has(struct str hay, const char *needle)
{
    return str_search(hay, str_z(needle)) >= 0;
}

unsigned count(struct str hay, const char *needle)
{
    unsigned n = 0;
    ssize_t at;

    while ((at = str_search(hay, str_z(needle))) >= 0) {
        n++;
        hay = str_sub(hay, (size_t)at + strlen(needle), hay.n);
    }
    return n;
}
