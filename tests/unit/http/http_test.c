#include "http_test.h"
#include "base/list.h"
#include "rt/crypto.h"

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
    struct http_header h[2] = {
        {STR("x-conn"), arena_printf(&req->arena, "%llu", (unsigned long long)req->conn_id)}};

    f->handled++;
    if (f->route && f->route(req, f))
        return;
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

/* ---- the real loop ---- */

static void make_tls(struct fixture *f)
{
    struct pkey *ca_key = pkey_new_p256(), *key = pkey_new_p256();
    struct str name = STR("localhost"), ip = STR("127.0.0.1");
    struct cert_spec spec = {.cn = name,
                             .dns = &name,
                             .n_dns = 1,
                             .ips = &ip,
                             .n_ips = 1,
                             .for_server = true,
                             .not_after_s = INT64_C(4000000000)};
    struct cert *ca, *cert;
    char *ca_pem, *cert_pem, *key_pem;

    assert_int_equal(cert_new_ca(ca_key, STR("test"), INT64_C(4000000000), NULL, &ca), 0);
    assert_int_equal(cert_issue(ca, ca_key, key, &spec, NULL, &cert), 0);
    ca_pem = cert_to_pem(ca);
    cert_pem = cert_to_pem(cert);
    key_pem = pkey_to_pem(key);
    assert_int_equal(rt_tls_server_new(&(struct rt_tls_server_opts){.cert_pem = str_z(cert_pem),
                                                                    .key_pem = str_z(key_pem)},
                                       NULL, &f->tls_server),
                     0);
    assert_int_equal(rt_tls_client_new(&(struct rt_tls_client_opts){.ca_pem = str_z(ca_pem)}, NULL,
                                       &f->tls_client),
                     0);
    free(ca_pem);
    free(cert_pem);
    free(key_pem);
    cert_free(ca);
    cert_free(cert);
    pkey_free(ca_key);
    pkey_free(key);
}

struct handshake {
    struct fixture *f;
    struct rt_stream *s;
};

static void on_handshake(void *arg, int err)
{
    struct handshake *h = arg;

    if (err)
        rt_stream_close(h->s, NULL, NULL);
    else
        http_server_accept(h->f->server, h->s);
    free(h);
}

static void on_accept(void *arg, int fd)
{
    struct fixture *f = arg;
    struct rt_stream *s;
    struct handshake *h;

    f->accepted++;
    assert_int_equal(rt_stream_from_fd(f->rt, fd, &s), 0);
    if (!f->tls_server) {
        http_server_accept(f->server, s);
        return;
    }
    h = NEW(struct handshake);
    h->f = f;
    h->s = rt_tls_accept(f->tls_server, s, on_handshake, h);
}

void fixture_init_real(struct fixture *f, const struct http_server_opts *opts, bool tls)
{
    struct rt_listen_opts lo = {.addr = "127.0.0.1:0"};

    *f = (struct fixture){.rt = rt_uv_new()};
    f->server = http_server_new(f->rt, opts, handler, f);
    if (tls)
        make_tls(f);
    assert_int_equal(rt_listen(f->rt, &lo, on_accept, f, NULL, &f->listener), 0);
    f->port = rt_listener_port(f->listener);
}

static bool is_set(void *arg)
{
    return *(const bool *)arg;
}

void wait_flag(struct fixture *f, const bool *flag)
{
    if (!rt_run_until(f->rt, is_set, (void *)flag, 60 * NSEC_PER_SEC))
        fail_msg("timed out");
}

static bool never(void *arg)
{
    return false;
}

void fixture_fini(struct fixture *f)
{
    struct http_request *held = f->held;

    f->listener = rt_listener_close(f->listener);
    f->server = http_server_free(f->server);
    run_ms(f, 5000);
    if (held && f->held == held) /* had no on_close */
        http_stream_abort(held);
    buf_fini(&f->seen);
    run_ms(f, 5000);
    rt_tls_server_unref(f->tls_server);
    rt_tls_client_unref(f->tls_client);
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
    if (rt_is_sim(f->rt))
        rt_sim_run_for(f->rt, ms * NSEC_PER_MSEC);
    else /* some turns, also of a process that waited for a processor meanwhile */
        for (int i = 0; i < 4; i++)
            (void)rt_run_until(f->rt, never, NULL, MIN(ms, 50) * NSEC_PER_MSEC / 4);
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
