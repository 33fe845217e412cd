/* Client against server over loopback sockets: HTTP/1.1, HTTP/2 by prior knowledge, both over TLS.
 * Each test runs in all four, as a caller must not notice the difference. */
#include "http_test.h"

#include <unistd.h>

enum mode { H1, H2, TLS_H1, TLS_H2, N_MODES };
static const char *const mode_names[] = {"h1", "h2", "tls h1", "tls h2"};

static struct fixture f;
static struct http_client *client;
static enum mode mode;

static void start(const struct http_server_opts *so, const struct http_client_opts *co)
{
    struct http_client_opts o = {0};
    struct http_target t = {.host = mode == TLS_H1 ? "127.0.0.1" : "localhost"};

    fixture_init_real(&f, so, mode >= TLS_H1);
    if (co)
        o = *co;
    o.protocol = mode == H2       ? HTTP_CLIENT_HTTP2
                 : mode == TLS_H1 ? HTTP_CLIENT_HTTP1
                                  : HTTP_CLIENT_AUTO;
    t.port = f.port;
    client = http_client_new(f.rt, &t, f.tls_client, &o);
}

static void stop(void)
{
    client = http_client_free(client);
    fixture_fini(&f);
}

/* What came of one call. */
struct result {
    bool done, head;
    int status, err, version;
    struct buf body;
    unsigned n_data, trailers;
    char header[64], what[100];
    bool pause_at_once, cancel_at_data;
    struct http_call *call;
};

static void on_head(struct http_call *call, int status, const struct http_header *h, size_t n,
                    void *arg)
{
    struct result *r = arg;

    assert_false(r->head);
    r->head = true;
    r->status = status;
    r->version = http_call_version(call);
    snprintf(r->header, sizeof(r->header), "%.*s", STR_ARG(http_header_get(h, n, STR("x-conn"))));
}

static void on_data(struct http_call *call, const void *p, size_t n, void *arg)
{
    struct result *r = arg;

    assert_true(r->head && !r->done);
    buf_add(&r->body, p, n);
    r->n_data++;
    if (r->pause_at_once)
        http_call_pause(call, true);
    if (r->cancel_at_data) {
        http_call_cancel(call);
        r->done = true;
    }
}

static void on_end(struct http_call *call, const struct http_header *t, size_t n, void *arg)
{
    struct result *r = arg;

    assert_false(r->done);
    r->trailers = (unsigned)n;
    r->done = true;
}

static void on_error(struct http_call *call, int err, const char *what, void *arg)
{
    struct result *r = arg;

    assert_false(r->done);
    assert_true(err < 0);
    r->err = err;
    snprintf(r->what, sizeof(r->what), "%s", what);
    r->done = true;
}

static const struct http_client_callbacks cb = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_error = on_error};

static void call(struct result *r, const char *method, const char *target, struct http_bytes body)
{
    struct http_client_request q = {.method = str_z(method), .target = str_z(target), .body = body};

    r->call = http_client_request(client, &q, &cb, r);
}

static void wait_for(struct result *r)
{
    wait_flag(&f, &r->done);
}

static void clear(struct result *r)
{
    buf_fini(&r->body);
    *r = (struct result){0};
}

static void expect(struct result *r, int status, const char *body)
{
    wait_for(r);
    if (r->err)
        fail_msg("%s: %s", mode_names[mode], r->what);
    assert_int_equal(r->status, status);
    assert_string_equal(r->body.n ? r->body.data : "", body);
    assert_int_equal(r->version, mode == H2 || mode == TLS_H2 ? 2 : 1);
    clear(r);
}

#define FOR_MODES for (mode = H1; mode < N_MODES; mode++)

static void test_plain_calls(void **state)
{
    FOR_MODES
    {
        struct result r = {0};

        start(NULL, NULL);
        call(&r, "GET", "/hello", HTTP_BYTES_NONE);
        expect(&r, 200, "hello");
        call(&r, "POST", "/echo", http_bytes_copy(STR("some body")));
        expect(&r, 200, "some body");
        call(&r, "POST", "/echo", HTTP_BYTES_NONE);
        expect(&r, 200, "");
        call(&r, "HEAD", "/hello", HTTP_BYTES_NONE);
        expect(&r, 200, "");
        call(&r, "GET", "/empty", HTTP_BYTES_NONE);
        expect(&r, 204, "");
        call(&r, "GET", "/nothing?x=1", HTTP_BYTES_NONE);
        expect(&r, 404, "nothing here");
        call(&r, "POST", "/late", http_bytes_copy(STR("not read")));
        expect(&r, 401, "who are you");
        assert_int_equal(f.accepted, 1); /* one connection did it all */
        stop();
    }
}

static void test_body_over_limit(void **state)
{
    FOR_MODES
    {
        struct result r = {0};

        start(NULL, NULL);
        call(&r, "POST", "/echo", http_bytes_take(xcalloc(1, 200000), 200000));
        wait_for(&r);
        if (r.err)
            fail_msg("%s: %s", mode_names[mode], r.what);
        assert_int_equal(r.status, 413);
        clear(&r);
        call(&r, "GET", "/hello", HTTP_BYTES_NONE);
        expect(&r, 200, "hello");
        assert_int_equal(f.closes, 1);
        stop();
    }
}

static void test_large_bodies(void **state)
{
    const size_t n = 5 << 20;

    FOR_MODES
    {
        struct result r = {0};
        char *p = xmalloc(n);

        for (size_t i = 0; i < n; i++)
            p[i] = (char)(i * 31 + (i >> 12));
        start(NULL, NULL);
        call(&r, "POST", "/big-echo", http_bytes_copy((struct str){p, n}));
        wait_for(&r);
        assert_int_equal(r.err, 0);
        assert_int_equal(r.body.n, n);
        assert_memory_equal(r.body.data, p, n);
        clear(&r);
        free(p);
        stop();
    }
}

static void test_many(void **state)
{
    const unsigned n = 1000;

    FOR_MODES
    {
        struct result *r = xcalloc(n, sizeof(*r));

        start(NULL, NULL);
        for (unsigned i = 0; i < n; i++)
            call(&r[i], i % 3 ? "GET" : "POST", i % 3 ? "/hello" : "/echo",
                 i % 3 ? HTTP_BYTES_NONE : http_bytes_copy(STR("x")));
        for (unsigned i = 0; i < n; i++)
            expect(&r[i], 200, i % 3 ? "hello" : "x");
        if (mode == H2 || mode == TLS_H2)
            assert_true(f.accepted <= 5);
        else
            assert_true(f.accepted <= 8);
        free(r);
        stop();
    }
}

static void test_streaming_answer(void **state)
{
    FOR_MODES
    {
        struct result r = {0};
        struct http_header trailer = {STR("grpc-status"), STR("0")};

        start(NULL, NULL);
        call(&r, "GET", "/stream", HTTP_BYTES_NONE);
        wait_flag(&f, &r.head);
        assert_int_equal(r.body.n, 0);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(http_stream_write(f.held, HTTP_BYTES_STATIC("event\n")), 0);
            while (r.body.n < 6u * (unsigned)(i + 1))
                run_ms(&f, 1);
        }
        http_stream_end_trailers(TAKE_PTR(f.held), &trailer, 1);
        wait_for(&r);
        assert_int_equal(r.trailers, 1);
        expect(&r, 200, "event\nevent\nevent\n");
        assert_int_equal(f.closes, 0);
        stop();
    }
}

static void test_cancel_is_seen(void **state)
{
    FOR_MODES
    {
        struct result r = {0}, again = {0};

        start(NULL, NULL);
        call(&r, "GET", "/stream", HTTP_BYTES_NONE);
        wait_flag(&f, &r.head);
        http_call_cancel(r.call);
        while (!f.closes)
            run_ms(&f, 1);
        assert_false(r.done);
        call(&r, "GET", "/hold", HTTP_BYTES_NONE); /* cancelled before it is sent */
        http_call_cancel(r.call);
        clear(&r);
        call(&again, "GET", "/hello", HTTP_BYTES_NONE);
        expect(&again, 200, "hello");
        call(&again, "GET", "/stream", HTTP_BYTES_NONE);
        again.cancel_at_data = true;
        wait_flag(&f, &again.head);
        (void)http_stream_write(f.held, HTTP_BYTES_STATIC("x"));
        wait_for(&again);
        while (f.closes < 2)
            run_ms(&f, 1);
        clear(&again);
        stop();
    }
}

static void test_pause_holds_the_server_up(void **state)
{
    static char block[32768];

    FOR_MODES
    {
        struct result r = {.pause_at_once = true}, other = {0};
        unsigned wrote = 0;
        size_t had;

        start(NULL, &(struct http_client_opts){.h2_window_bytes = 65536});
        call(&r, "GET", "/stream", HTTP_BYTES_NONE);
        wait_flag(&f, &r.head);
        while (!http_stream_congested(f.held)) {
            assert_int_equal(
                http_stream_write(f.held, (struct http_bytes){block, sizeof(block), NULL, NULL}),
                0);
            assert_true(++wrote < 5000);
            run_ms(&f, 1);
            if (!f.held)
                fail_msg("%s: the stream broke after %u: %d %s", mode_names[mode], wrote, r.err,
                         r.what);
        }
        for (int i = 0; i < 20; i++)
            run_ms(&f, 2);
        had = r.body.n;
        assert_true(had < (size_t)wrote * sizeof(block));
        assert_true(http_stream_congested(f.held));
        /* the others go on */
        call(&other, "GET", "/hello", HTTP_BYTES_NONE);
        expect(&other, 200, "hello");
        r.pause_at_once = false;
        http_call_pause(r.call, false);
        while (http_stream_queued_bytes(f.held) || !f.drains)
            run_ms(&f, 1);
        http_stream_end(TAKE_PTR(f.held));
        wait_for(&r);
        assert_int_equal(r.body.n, (size_t)wrote * sizeof(block));
        clear(&r);
        stop();
    }
}

static void test_pause_at_the_end(void **state)
{
    FOR_MODES
    {
        struct result r = {.pause_at_once = true};

        start(NULL, NULL);
        call(&r, "GET", "/hello", HTTP_BYTES_NONE);
        while (!r.body.n)
            run_ms(&f, 1);
        for (int i = 0; i < 10; i++)
            run_ms(&f, 1);
        assert_false(r.done);
        r.pause_at_once = false;
        http_call_pause(r.call, false);
        expect(&r, 200, "hello");
        stop();
    }
}

static void test_streamed_request(void **state)
{
    FOR_MODES
    {
        struct http_client_request q = {
            .method = STR("POST"), .target = STR("/pieces"), .body_stream = true};
        struct result r = {0};
        struct http_call *c;

        start(NULL, NULL);
        c = http_client_request(client, &q, &cb, &r);
        assert_int_equal(http_call_write(c, HTTP_BYTES_STATIC("one ")), 0);
        while (f.seen.n < 4)
            run_ms(&f, 1);
        assert_int_equal(http_call_write(c, HTTP_BYTES_STATIC("two")), 0);
        while (f.seen.n < 7)
            run_ms(&f, 1);
        assert_int_equal(f.body_ends, 0);
        f.held = NULL;
        http_call_end(c);
        expect(&r, 200, "one two");
        assert_int_equal(f.body_ends, 1);
        stop();
    }
}

/* The server says all it has to say before our body is whole: that is the end of it. */
static void test_answer_ends_streamed_request(void **state)
{
    for (mode = H2; mode < N_MODES; mode += 2) {
        struct http_client_request q = {
            .method = STR("POST"), .target = STR("/late"), .body_stream = true};
        struct result r = {0};
        struct http_call *c;

        start(NULL, NULL);
        c = http_client_request(client, &q, &cb, &r);
        assert_int_equal(http_call_write(c, HTTP_BYTES_STATIC("one ")), 0);
        for (int i = 0; i < 20 && !r.done; i++)
            run_ms(&f, 10);
        expect(&r, 401, "who are you");
        stop();
    }
}

static void test_timeouts(void **state)
{
    FOR_MODES
    {
        struct http_client_request q = {
            .method = STR("GET"), .target = STR("/hold"), .timeout_ms = 1000};
        struct result r = {0};

        start(NULL, NULL);
        call(&r, "GET", "/hello", HTTP_BYTES_NONE); /* connecting takes its time: that is done */
        expect(&r, 200, "hello");
        http_client_request(client, &q, &cb, &r);
        wait_for(&r);
        assert_int_equal(r.err, -ETIMEDOUT);
        clear(&r);
        run_ms(&f, 20);
        if (mode == H1 || mode == TLS_H1) /* may be a half close: it could still be answered */
            http_respond_str(TAKE_PTR(f.held), 200, NULL, STR("too late"));
        else
            assert_int_equal(f.closes, 1);
        /* no progress of a stream */
        q.target = STR("/stream");
        q.timeout_ms = 0;
        q.idle_timeout_ms = 1000;
        http_client_request(client, &q, &cb, &r);
        wait_flag(&f, &r.head);
        nsec_t began = rt_now(f.rt);
        while (rt_now(f.rt) - began < 1100 * NSEC_PER_MSEC) {
            (void)http_stream_write(f.held, HTTP_BYTES_STATIC("tick"));
            run_ms(&f, 40);
        }
        assert_false(r.done);
        wait_for(&r);
        assert_int_equal(r.err, -ETIMEDOUT);
        clear(&r);
        stop();
    }
}

static void test_server_goes(void **state)
{
    FOR_MODES
    {
        struct result r = {0}, s = {0};

        start(NULL, NULL);
        call(&r, "GET", "/abort", HTTP_BYTES_NONE);
        wait_for(&r);
        assert_true(r.err == -ECONNRESET || r.err == -EPIPE);
        clear(&r);
        call(&s, "GET", "/stream", HTTP_BYTES_NONE);
        wait_flag(&f, &s.head);
        f.server = http_server_free(f.server);
        wait_for(&s);
        assert_true(s.err < 0);
        clear(&s);
        f.listener = rt_listener_close(f.listener);
        while (http_client_calls(client))
            run_ms(&f, 1);
        call(&r, "GET", "/hello", HTTP_BYTES_NONE);
        wait_for(&r);
        assert_int_equal(r.err, -ECONNREFUSED);
        clear(&r);
        stop();
    }
}

static void test_client_free_fails_calls(void **state)
{
    FOR_MODES
    {
        struct result r = {0}, s = {0};

        start(NULL, NULL);
        call(&r, "GET", "/stream", HTTP_BYTES_NONE);
        wait_flag(&f, &r.head);
        call(&s, "GET", "/hello", HTTP_BYTES_NONE);
        client = http_client_free(client);
        wait_for(&r);
        wait_for(&s);
        assert_int_equal(r.err, -ECANCELED);
        assert_int_equal(s.err, -ECANCELED);
        clear(&r);
        clear(&s);
        stop();
    }
}

static void test_drain_goaway(void **state)
{
    FOR_MODES
    {
        struct result r = {0}, s = {0};

        start(NULL, NULL);
        call(&r, "GET", "/hold", HTTP_BYTES_NONE);
        while (!f.held)
            run_ms(&f, 1);
        http_server_drain(f.server, 5000, NULL, NULL);
        run_ms(&f, 20);
        http_respond_str(TAKE_PTR(f.held), 200, NULL, STR("last"));
        expect(&r, 200, "last");
        (void)s;
        stop();
    }
}

struct answer {
    bool done;
    int err, status;
    size_t n;
};

static void on_answer(const struct http_answer *a, void *arg)
{
    struct answer *w = arg;

    assert_false(w->done);
    *w = (struct answer){true, a->err, a->status, a->body.n};
}

static void test_fetch_and_gzip(void **state)
{
    FOR_MODES
    {
        struct http_header gz = {STR("accept-encoding"), STR("gzip")};
        struct http_client_request q = {.method = STR("POST"), .target = STR("/big-echo")};
        struct answer w = {0};

        start(&(struct http_server_opts){.gzip = true, .gzip_bytes_min = 1000}, NULL);
        q.body = http_bytes_take(xcalloc(1, 100000), 100000);
        http_client_fetch(client, &q, 200000, on_answer, &w);
        wait_flag(&f, &w.done);
        assert_int_equal(w.status, 200);
        assert_int_equal(w.n, 100000);
        w.done = false;
        q.body = http_bytes_take(xcalloc(1, 100000), 100000);
        http_client_fetch(client, &q, 50000, on_answer, &w);
        wait_flag(&f, &w.done);
        assert_int_equal(w.err, -EFBIG);
        w.done = false;
        q.headers = &gz;
        q.n_headers = 1;
        q.body = http_bytes_take(xcalloc(1, 100000), 100000);
        http_client_fetch(client, &q, 50000, on_answer, &w);
        wait_flag(&f, &w.done);
        assert_int_equal(w.status, 200);
        assert_true(w.n > 0 && w.n < 1000);
        stop();
    }
}

static void test_keepalive_found_dead(void **state)
{
    FOR_MODES
    {
        struct result r = {0};
        struct http_server_stats stats = {0};

        start(&(struct http_server_opts){.idle_timeout_ms = 200}, NULL);
        for (int i = 0; i < 4; i++) {
            uint64_t before = stats.timeouts;
            call(&r, "GET", "/hello", HTTP_BYTES_NONE);
            expect(&r, 200, "hello");
            /* the server has had enough just now, and the client does not know yet */
            while (http_server_get_stats(f.server, &stats), stats.timeouts == before)
                run_ms(&f, 1);
        }
        stop();
    }
}

/* A server that says nothing, as a host that was cut off: pings find out. */
static void mute_accept(void *arg, int fd)
{
    struct rt_stream **s = arg;

    assert_int_equal(rt_stream_from_fd(f.rt, fd, s), 0);
}

static void test_ping_finds_dead_peer(void **state)
{
    struct rt_listen_opts lo = {.addr = "127.0.0.1:0"};
    struct rt_stream *mute = NULL;
    struct rt_listener *l;
    struct result r = {0};
    struct http_target t = {.host = "127.0.0.1"};

    mode = H2;
    start(NULL, NULL);
    client = http_client_free(client);
    assert_int_equal(rt_listen(f.rt, &lo, mute_accept, &mute, NULL, &l), 0);
    t.port = rt_listener_port(l);
    client = http_client_new(f.rt, &t, NULL,
                             &(struct http_client_opts){.protocol = HTTP_CLIENT_HTTP2,
                                                        .ping_interval_ms = 50,
                                                        .ping_timeout_ms = 50});
    call(&r, "GET", "/hello", HTTP_BYTES_NONE);
    wait_for(&r);
    assert_int_equal(r.err, -ETIMEDOUT);
    clear(&r);
    while (!mute)
        run_ms(&f, 1);
    rt_stream_close(TAKE_PTR(mute), NULL, NULL);
    /* less patience, learned while a call waits */
    client = http_client_free(client);
    client =
        http_client_new(f.rt, &t, NULL, &(struct http_client_opts){.protocol = HTTP_CLIENT_HTTP2});
    call(&r, "GET", "/hello", HTTP_BYTES_NONE);
    while (!mute)
        run_ms(&f, 1);
    http_client_set_patience(client, &(struct http_client_patience){50, 50, 50});
    wait_for(&r);
    assert_int_equal(r.err, -ETIMEDOUT);
    clear(&r);
    rt_stream_close(mute, NULL, NULL);
    rt_listener_close(l);
    stop();
}

/* Small servers end their lines as they like. */
static void sloppy_accept(void *arg, int fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\nX-Conn: bare\r\nTransfer-Encoding: chunked\n\n"
                                 "5\r\nhello\r\n0\r\n\r\n";
    struct rt_stream **s = arg;

    assert_int_equal(write(fd, answer, sizeof(answer) - 1), sizeof(answer) - 1);
    assert_int_equal(rt_stream_from_fd(f.rt, fd, s), 0);
}

static void test_answer_with_bare_lf(void **state)
{
    struct rt_listen_opts lo = {.addr = "127.0.0.1:0"};
    struct rt_stream *peer = NULL;
    struct rt_listener *l;
    struct result r = {0};
    struct http_target t = {.host = "127.0.0.1"};

    mode = H1;
    start(NULL, NULL);
    client = http_client_free(client);
    assert_int_equal(rt_listen(f.rt, &lo, sloppy_accept, &peer, NULL, &l), 0);
    t.port = rt_listener_port(l);
    client = http_client_new(f.rt, &t, NULL, NULL);
    call(&r, "GET", "/hello", HTTP_BYTES_NONE);
    wait_for(&r);
    assert_string_equal(r.header, "bare");
    expect(&r, 200, "hello");
    rt_stream_close(peer, NULL, NULL);
    rt_listener_close(l);
    stop();
}

static void test_ten_thousand_streams(void **state)
{
    const unsigned n = 10000;
    struct result *r = xcalloc(n, sizeof(*r));

    mode = H2;
    start(&(struct http_server_opts){.h2_streams_max = 20000},
          &(struct http_client_opts){.waiting_max = 20000});
    call(&r[0], "GET", "/hello", HTTP_BYTES_NONE); /* learns the server's limit */
    expect(&r[0], 200, "hello");
    for (unsigned i = 0; i < n; i++)
        call(&r[i], "GET", "/stream", HTTP_BYTES_NONE);
    for (unsigned i = 0; i < n; i++)
        wait_flag(&f, &r[i].head);
    assert_int_equal(f.accepted, 1);
    for (unsigned i = 0; i < n; i++)
        http_call_cancel(r[i].call);
    while (f.closes < n)
        run_ms(&f, 10);
    free(r);
    stop();
}

static void on_probe(int status, struct str text, void *arg)
{
    struct answer *w = arg;

    *w = (struct answer){true, 0, status, text.n};
}

static void test_probes(void **state)
{
    for (mode = H1; mode <= TLS_H1; mode += 2) {
        struct answer w = {0};
        struct http_probe *p;
        struct http_probe_opts o = {
            .host = "127.0.0.1", .timeout_ms = 30000, .target = STR("/hello")};

        start(NULL, NULL);
        o.port = f.port;
        o.tls = f.tls_client;
        http_probe_start(f.rt, &o, on_probe, &w);
        wait_flag(&f, &w.done);
        assert_int_equal(w.status, 200);
        assert_int_equal(w.n, 5);
        w.done = false;
        o.target = STR("/none");
        http_probe_start(f.rt, &o, on_probe, &w);
        wait_flag(&f, &w.done);
        assert_int_equal(w.status, 404);
        w.done = false;
        o.target = STR("/hold");
        o.timeout_ms = 50;
        http_probe_start(f.rt, &o, on_probe, &w);
        wait_flag(&f, &w.done);
        assert_int_equal(w.status, -ETIMEDOUT);
        o.timeout_ms = 30000;
        p = http_probe_start(f.rt, &o, on_probe, &w);
        http_probe_cancel(p);
        w.done = false;
        o.port = 1;
        http_probe_start(f.rt, &o, on_probe, &w);
        wait_flag(&f, &w.done);
        assert_int_equal(w.status, -ECONNREFUSED);
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_calls),
        cmocka_unit_test(test_body_over_limit),
        cmocka_unit_test(test_large_bodies),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_streaming_answer),
        cmocka_unit_test(test_cancel_is_seen),
        cmocka_unit_test(test_pause_holds_the_server_up),
        cmocka_unit_test(test_pause_at_the_end),
        cmocka_unit_test(test_streamed_request),
        cmocka_unit_test(test_answer_ends_streamed_request),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_server_goes),
        cmocka_unit_test(test_client_free_fails_calls),
        cmocka_unit_test(test_drain_goaway),
        cmocka_unit_test(test_fetch_and_gzip),
        cmocka_unit_test(test_keepalive_found_dead),
        cmocka_unit_test(test_ping_finds_dead_peer),
        cmocka_unit_test(test_answer_with_bare_lf),
        cmocka_unit_test(test_ten_thousand_streams),
        cmocka_unit_test(test_probes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
