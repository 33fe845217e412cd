/* HTTP/1.1 server: framing, pipelining, limits, what is refused, what half of a peer means. */
#include "http_test.h"

static struct fixture f;
static struct peer p;

static int setup(void **state)
{
    fixture_init(&f, NULL);
    peer_open(&f, &p);
    return 0;
}

static int teardown(void **state)
{
    peer_close(&p);
    fixture_fini(&f);
    return 0;
}

static void test_simple(void **state)
{
    struct str out = say(&f, &p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");

    assert_has(out, "HTTP/1.1 200 OK\r\n");
    assert_has(out, "date: Tue, 14 Nov 2023 22:13:20 GMT\r\n");
    assert_has(out, "content-length: 5\r\n");
    assert_has(out, "\r\n\r\nhello");
    assert_false(has(out, "connection: close"));
    assert_false(p.eof);
    out = say(&f, &p, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_has(out, "connection: close\r\n");
    run_ms(&f, 10);
    assert_true(p.eof);
}

static void test_head_has_length_and_no_body(void **state)
{
    struct str out = say(&f, &p, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");

    assert_has(out, "content-length: 5\r\n");
    assert_true(str_ends(out, STR("\r\n\r\n")));
    out = say(&f, &p, "GET /empty HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(out, "204 No Content");
    assert_false(has(out, "content-length"));
}

static void test_byte_by_byte(void **state)
{
    const char *text = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
                       "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nxyz\r\n0\r\n\r\n";

    for (const char *c = text; *c; c++) {
        rt_stream_write(p.s, (struct str){c, 1});
        run_ms(&f, 1);
    }
    assert_int_equal(f.bodies, 2);
    assert_has(buf_str(&p.in), "\r\n\r\nabcd");
    assert_has(buf_str(&p.in), "\r\n\r\nxyz");
}

static void test_pipelining(void **state)
{
    struct buf b = {0};

    for (int i = 0; i < 50; i++)
        buf_add_lit(&b, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n123");
    say(&f, &p, b.data);
    run_ms(&f, 50);
    assert_int_equal(f.handled, 100);
    assert_int_equal(count(buf_str(&p.in), "\r\n\r\nhello"), 50);
    assert_int_equal(count(buf_str(&p.in), "\r\n\r\n123"), 50);
    buf_fini(&b);
}

static void test_pipelined_behind_held(void **state)
{
    say(&f, &p, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(f.handled, 1);
    http_respond_str(TAKE_PTR(f.held), 200, NULL, STR("first"));
    run_ms(&f, 10);
    assert_int_equal(f.handled, 2);
    assert_true(str_search(buf_str(&p.in), STR("first")) <
                str_search(buf_str(&p.in), STR("hello")));
}

static void test_chunked_edges(void **state)
{
    assert_has(say(&f, &p,
                   "POST /echo HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                   "5;ext=1;x=\"q\"\r\nhello\r\n0A\r\n0123456789\r\n0\r\nX-Trailer: y\r\n\r\n"),
               "\r\n\r\nhello0123456789");
    assert_has(say(&f, &p,
                   "POST /echo HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                   "0\r\n\r\n"),
               "content-length: 0");
    assert_int_equal(f.bodies, 2);
    assert_false(p.eof);
}

static void test_body_limit(void **state)
{
    struct buf b = {0};

    /* declared */
    assert_has(say(&f, &p, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"),
               "HTTP/1.1 413 ");
    run_ms(&f, 3000);
    assert_true(p.eof);
    assert_int_equal(f.closes, 1);
    /* chunked */
    peer_close(&p);
    peer_open(&f, &p);
    buf_add_lit(&b, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n500\r\n");
    for (int i = 0; i < 0x500; i++)
        buf_add_char(&b, 'x');
    assert_has(say(&f, &p, b.data), "HTTP/1.1 413 ");
    assert_int_equal(f.closes, 2);
    assert_int_equal(f.bodies, 0);
    buf_fini(&b);
}

static void test_expect_continue(void **state)
{
    struct str out = say(&f, &p,
                         "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                         "Expect: 100-continue\r\n\r\n");

    assert_string_equal(out.p, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_has(say(&f, &p, "abc"), "\r\n\r\nabc");
    /* not wanted: no 100, and the connection ends, as nobody knows whether the body comes */
    out =
        say(&f, &p,
            "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_has(out, "HTTP/1.1 401 ");
    assert_has(out, "connection: close");
    assert_false(has(out, "100 Continue"));
}

static void test_unread_body_is_dropped(void **state)
{
    struct str out = say(&f, &p,
                         "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345"
                         "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");

    assert_has(out, "HTTP/1.1 401 ");
    assert_has(out, "\r\n\r\nhello");
    /* too much to read for nothing */
    out = say(&f, &p, "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n12345");
    assert_has(out, "connection: close");
    run_ms(&f, 3000);
    assert_true(p.eof);
}

static void test_body_pieces_and_pause(void **state)
{
    f.piece_pause = true;
    say(&f, &p, "POST /pieces HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    assert_string_equal(f.seen.data, "abc");
    say(&f, &p, "def");
    assert_string_equal(f.seen.data, "abc"); /* paused */
    f.piece_pause = false;
    http_request_body_pause(f.held, false);
    run_ms(&f, 5);
    assert_string_equal(f.seen.data, "abcdef");
    assert_int_equal(f.body_ends, 1);
    f.held = NULL;
    assert_has(buf_str(&p.in), "\r\n\r\nabcdef");
}

static void test_paused_exactly_at_the_end(void **state)
{
    f.piece_pause = true;
    say(&f, &p, "POST /pieces HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(f.body_ends, 0);
    http_request_body_pause(f.held, false);
    run_ms(&f, 5);
    assert_int_equal(f.body_ends, 1);
    f.held = NULL;
}

static void test_streaming(void **state)
{
    struct str out = say(&f, &p, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_header trailer = {STR("x-sum"), STR("7")};

    assert_has(out, "transfer-encoding: chunked\r\n");
    assert_int_equal(http_stream_write(f.held, HTTP_BYTES_STATIC("one")), 0);
    assert_int_equal(http_stream_write(f.held, http_bytes_copy(STR("twotwo"))), 0);
    run_ms(&f, 5);
    assert_has(buf_str(&p.in), "3\r\none\r\n6\r\ntwotwo\r\n");
    http_stream_end_trailers(TAKE_PTR(f.held), &trailer, 1);
    run_ms(&f, 5);
    assert_has(buf_str(&p.in), "0\r\nx-sum: 7\r\n\r\n");
    assert_has(say(&f, &p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), "hello");
    assert_int_equal(f.closes, 0);
}

static void test_streaming_http10(void **state)
{
    struct str out = say(&f, &p, "GET /stream HTTP/1.0\r\n\r\n");

    assert_false(has(out, "chunked"));
    assert_has(out, "connection: close");
    (void)http_stream_write(f.held, HTTP_BYTES_STATIC("one"));
    http_stream_end(TAKE_PTR(f.held));
    run_ms(&f, 5);
    assert_true(str_ends(buf_str(&p.in), STR("\r\n\r\none")));
    run_ms(&f, 3000);
    assert_true(p.eof);
}

static void test_peer_goes_during_stream(void **state)
{
    say(&f, &p, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    rt_stream_close(TAKE_PTR(p.s), NULL, NULL);
    run_ms(&f, 5);
    assert_int_equal(f.closes, 1);
    assert_null(f.held);
}

static void test_half_close_still_answers(void **state)
{
    say(&f, &p, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    rt_stream_shutdown(p.s);
    run_ms(&f, 5);
    assert_int_equal(f.closes, 0);
    http_respond_str(TAKE_PTR(f.held), 200, NULL, STR("still"));
    run_ms(&f, 3000);
    assert_has(buf_str(&p.in), "still");
    assert_true(p.eof);
}

static void test_half_close_inside_body(void **state)
{
    say(&f, &p, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    rt_stream_shutdown(p.s);
    run_ms(&f, 3000);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.bodies, 0);
    assert_true(p.eof);
}

static void test_backpressure(void **state)
{
    char block[8192] = {0};
    unsigned wrote = 0;

    say(&f, &p, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    rt_stream_read_stop(p.s);
    while (!http_stream_congested(f.held) && wrote < 10000) {
        assert_int_equal(
            http_stream_write(f.held, http_bytes_copy((struct str){block, sizeof(block)})), 0);
        if (++wrote % 10 == 0)
            run_ms(&f, 1);
    }
    assert_true(wrote < 10000);
    run_ms(&f, 20);
    assert_int_equal(f.drains, 0);
    rt_stream_read_start(p.s);
    run_ms(&f, 50);
    assert_int_equal(f.drains, 1);
    assert_int_equal(http_stream_queued_bytes(f.held), 0);
    /* over the hard limit the chunk is refused */
    rt_stream_read_stop(p.s);
    while (http_stream_write(f.held, http_bytes_copy((struct str){block, sizeof(block)})) == 0)
        ;
    assert_true(http_stream_queued_bytes(f.held) <= (16 << 20));
}

/* What two readers could understand differently is refused, whole or in pieces. */
static const struct {
    const char *what, *text;
    const char *want;
} bad[] = {
    {"CL and TE",
     "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
     "chunked\r\n\r\n0\r\n\r\n",
     "400"},
    {"TE and CL",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: "
     "3\r\n\r\n0\r\n\r\n",
     "400"},
    {"two CL",
     "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400"},
    {"two equal CL",
     "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400"},
    {"CL list", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", "400"},
    {"CL sign", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", "400"},
    {"CL hex", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", "400"},
    {"CL negative", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"},
    {"CL huge", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
     "400"},
    {"CL over int64",
     "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", "413"},
    {"TE not last",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "400"},
    {"TE unknown", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
     "400"},
    {"TE in 1.0", "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "400"},
    {"blank before colon", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
     "400"},
    {"obs-fold", "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "400"},
    {"fold first", "GET /hello HTTP/1.1\r\n Host: a\r\n\r\n", "400"},
    {"bare LF line", "GET /hello HTTP/1.1\nHost: a\n\n", "400"},
    {"bare LF header", "GET /hello HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "400"},
    {"bare LF end", "GET /hello HTTP/1.1\r\nHost: a\r\n\n", "400"},
    {"bare CR", "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "400"},
    {"chunk size empty",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
     "400"},
    {"chunk size bad",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3x\r\nabc\r\n0\r\n\r\n",
     "400"},
    {"chunk size 0x",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
     "400"},
    {"chunk size negative",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
     "400"},
    {"chunk size overflow",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
     "400"},
    {"chunk size blank",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
     "400"},
    {"chunk without CRLF",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX0\r\n\r\n",
     "400"},
    {"chunk LF",
     "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", "400"},
    {"no host", "GET /hello HTTP/1.1\r\n\r\n", "400"},
    {"two hosts", "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
    {"version 2", "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n", "505"},
    {"version 1.7", "GET /hello HTTP/1.7\r\nHost: a\r\n\r\n", "505"},
    {"no version", "GET /hello\r\n\r\n", "505"},
    {"bad method", "G\x01T /hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"unknown method", "FROBNICATE /hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"target blank", "GET /he llo HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"target relative", "GET hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"target fragment", "GET /hello#x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"NUL in value", NULL, "400"},
    {"empty name", "GET /hello HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "400"},
    {"no colon", "GET /hello HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n", "400"},
    {"expect else",
     "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 200-ok\r\n\r\nabc", "417"},
    {"TLS hello", "\x16\x03\x01\x02", "400"},
    {"garbage", "\xff\xfe\xfd garbage", "400"},
};

static void test_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        static const char nul[] = "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
        struct str text = bad[i].text ? str_z(bad[i].text) : (struct str){nul, sizeof(nul) - 1};

        for (int pieces = 0; pieces < 2; pieces++) {
            struct peer q;

            peer_open(&f, &q);
            if (pieces) {
                for (size_t k = 0; k < text.n && !q.eof; k++) {
                    rt_stream_write(q.s, (struct str){text.p + k, 1});
                    rt_stream_flush(q.s);
                }
            } else {
                rt_stream_write(q.s, text);
            }
            run_ms(&f, 3000);
            if (q.in.n < 12 || memcmp(q.in.data + 9, bad[i].want, 3) != 0)
                fail_msg("%s: wanted %s, got %.*s", bad[i].what, bad[i].want,
                         STR_ARG(buf_str(&q.in)));
            if (count(buf_str(&q.in), "HTTP/1.1 ") != 1)
                fail_msg("%s: answered twice: %.*s", bad[i].what, STR_ARG(buf_str(&q.in)));
            if (!q.eof)
                fail_msg("%s: the connection lives on", bad[i].what);
            peer_close(&q);
        }
    }
    assert_int_equal(f.bodies, 0);
}

static void test_large_heads(void **state)
{
    struct buf b = {0};

    buf_add_lit(&b, "GET /hello HTTP/1.1\r\nHost: a\r\nX: ");
    while (b.n < 70000)
        buf_add_lit(&b, "0123456789");
    say(&f, &p, b.data);
    run_ms(&f, 50);
    assert_has(buf_str(&p.in), "HTTP/1.1 431 ");
    peer_close(&p);
    peer_open(&f, &p);
    buf_clear(&b);
    buf_add_lit(&b, "GET /hello HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 200; i++)
        buf_printf(&b, "X%d: y\r\n", i);
    assert_has(say(&f, &p, b.data), "HTTP/1.1 431 ");
    peer_close(&p);
    peer_open(&f, &p);
    buf_clear(&b);
    buf_add_lit(&b, "GET /");
    while (b.n < 20000)
        buf_add_lit(&b, "aaaaaaaaaa");
    say(&f, &p, b.data);
    run_ms(&f, 50);
    assert_has(buf_str(&p.in), "HTTP/1.1 414 ");
    peer_close(&p);
    peer_open(&f, &p);
    buf_clear(&b);
    buf_add_lit(&b, "GET /hello HTTP/1.1\r\nHost: a\r\n");
    while (b.n < 500)
        buf_add_lit(&b, "naaaaaaaaame");
    assert_has(say(&f, &p, b.data), "HTTP/1.1 431 ");
    buf_fini(&b);
    assert_int_equal(f.handled, 0);
}

static void test_timeouts(void **state)
{
    struct http_server_opts o = {.head_timeout_ms = 200,
                                 .body_timeout_ms = 300,
                                 .idle_timeout_ms = 500,
                                 .write_timeout_ms = 400};
    struct fixture g;
    struct peer q;

    fixture_init(&g, &o);
    /* slow head: one byte every 50 ms never ends it */
    peer_open(&g, &q);
    for (const char *c = "GET /hello HTTP/1.1\r\n"; *c && !q.in.n; c++) {
        rt_stream_write(q.s, (struct str){c, 1});
        run_ms(&g, 50);
    }
    assert_has(buf_str(&q.in), "HTTP/1.1 408 ");
    peer_close(&q);
    /* nothing at all */
    peer_open(&g, &q);
    run_ms(&g, 600);
    assert_true(q.eof || q.error);
    peer_close(&q);
    /* slow body */
    peer_open(&g, &q);
    say(&g, &q, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    run_ms(&g, 500);
    assert_has(buf_str(&q.in), "HTTP/1.1 408 ");
    assert_int_equal(g.closes, 1);
    peer_close(&q);
    /* idle between requests */
    peer_open(&g, &q);
    assert_has(say(&g, &q, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), "hello");
    run_ms(&g, 350);
    assert_false(q.eof);
    run_ms(&g, 500);
    assert_true(q.eof);
    peer_close(&q);
    /* takes nothing while output waits */
    peer_open(&g, &q);
    say(&g, &q, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    rt_stream_read_stop(q.s);
    for (int i = 0; i < 40; i++)
        (void)http_stream_write(g.held, http_bytes_take(xcalloc(1, 65536), 65536));
    run_ms(&g, 1000);
    assert_int_equal(g.closes, 2);
    peer_close(&q);
    fixture_fini(&g);
}

static void test_drain(void **state)
{
    struct peer idle;

    peer_open(&f, &idle);
    assert_has(say(&f, &idle, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), "hello");
    say(&f, &p, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    http_server_drain(f.server, 5000, NULL, NULL);
    run_ms(&f, 100);
    assert_true(idle.eof);
    assert_false(p.eof);
    http_respond_str(TAKE_PTR(f.held), 200, NULL, STR("bye"));
    run_ms(&f, 100);
    assert_has(buf_str(&p.in), "connection: close");
    assert_has(buf_str(&p.in), "bye");
    assert_true(p.eof);
    peer_close(&idle);
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void test_drained_is_told(void **state)
{
    bool drained = false;

    say(&f, &p, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    http_server_drain(f.server, 5000, set_flag, &drained);
    run_ms(&f, 1000);
    assert_false(drained);
    http_respond_str(TAKE_PTR(f.held), 200, NULL, STR("bye"));
    run_ms(&f, 3000);
    assert_true(drained);
    /* a request that is never answered is cut when the time is up */
    teardown(NULL);
    setup(NULL);
    drained = false;
    say(&f, &p, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    http_server_drain(f.server, 5000, set_flag, &drained);
    run_ms(&f, 4900);
    assert_false(drained);
    run_ms(&f, 200);
    assert_true(drained);
    assert_int_equal(f.closes, 1);
    assert_true(p.eof || p.error);
}

static void test_connection_limit(void **state)
{
    struct http_server_opts o = {.connections_max = 2};
    struct fixture g;
    struct peer a, b, c;
    struct http_server_stats st;

    fixture_init(&g, &o);
    peer_open(&g, &a);
    peer_open(&g, &b);
    peer_open(&g, &c);
    run_ms(&g, 5);
    assert_true(c.eof || c.error);
    assert_has(say(&g, &a, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), "hello");
    peer_close(&b);
    peer_close(&c);
    run_ms(&g, 5);
    peer_open(&g, &b); /* there is room again */
    assert_has(say(&g, &b, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), "hello");
    http_server_get_stats(g.server, &st);
    assert_int_equal(st.connections, 2);
    assert_int_equal(st.accepted, 4);
    assert_int_equal(st.requests, 2);
    peer_close(&a);
    peer_close(&b);
    fixture_fini(&g);
}

static const char *page(int status, const char *what, struct buf *out, void *arg)
{
    buf_printf(out, "{\"code\":%d}", status);
    return "application/json";
}

static void test_error_page(void **state)
{
    struct http_server_opts o = {.error_page = page};
    struct fixture g;
    struct peer a;

    fixture_init(&g, &o);
    peer_open(&g, &a);
    say(&g, &a, "GET /hello HTTP/1.1\r\n\r\n");
    assert_has(buf_str(&a.in), "content-type: application/json\r\n");
    assert_has(buf_str(&a.in), "\r\n\r\n{\"code\":400}");
    peer_close(&a);
    fixture_fini(&g);
}

static void test_gzip_when_the_peer_goes(void **state)
{
    struct http_server_opts o = {.gzip = true, .gzip_bytes_min = 100};
    struct fixture g;
    struct peer a;
    struct str out;

    fixture_init(&g, &o);
    peer_open(&g, &a);
    say(&g, &a, "GET /hold HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    http_respond(TAKE_PTR(g.held), 200, NULL, 0, http_bytes_take(xcalloc(1, 5000), 5000));
    peer_close(&a); /* while it is compressed */
    run_ms(&g, 100);
    peer_open(&g, &a);
    say(&g, &a, "GET /hold HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip;q=0\r\n\r\n");
    http_respond(TAKE_PTR(g.held), 200, NULL, 0, http_bytes_take(xcalloc(1, 5000), 5000));
    run_ms(&g, 100);
    assert_has(buf_str(&a.in), "content-length: 5000\r\n");
    buf_clear(&a.in);
    say(&g, &a, "GET /hold HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br, gzip\r\n\r\n");
    http_respond(TAKE_PTR(g.held), 200, NULL, 0, http_bytes_take(xcalloc(1, 5000), 5000));
    run_ms(&g, 100);
    out = buf_str(&a.in);
    assert_has(out, "content-encoding: gzip\r\n");
    assert_has(out, "vary: accept-encoding\r\n");
    assert_true(out.n < 400);
    peer_close(&a);
    fixture_fini(&g);
}

static void test_free_with_held_request(void **state)
{
    struct http_request *r;

    say(&f, &p, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    r = f.held;
    http_on_close(r, NULL, NULL);
    f.held = NULL;
    f.server = http_server_free(f.server);
    run_ms(&f, 10);
    assert_true(http_request_gone(r));
    http_respond_str(r, 200, NULL, STR("too late")); /* only frees it */
    f.server = NULL;
}

static void test_tunnel(void **state)
{
    struct http_header h = {STR("upgrade"), STR("x-test")};
    struct rt_stream *s = NULL;
    struct peer in = {0};
    static const struct rt_stream_handler none;

    (void)none;
    say(&f, &p,
        "GET /hold HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x-test\r\n\r\nEARLY");
    assert_true(f.held->wants_upgrade);
    assert_int_equal(http_upgrade_tunnel(f.held, 101, &h, 1, &s), 0);
    f.held = NULL;
    run_ms(&f, 5);
    assert_has(buf_str(&p.in), "HTTP/1.1 101 Switching Protocols\r\n");
    assert_has(buf_str(&p.in), "connection: Upgrade\r\n");
    assert_non_null(s);
    rt_stream_write(s, STR("raw bytes"));
    run_ms(&f, 5);
    assert_true(str_ends(buf_str(&p.in), STR("\r\n\r\nraw bytes")));
    rt_stream_close(s, NULL, NULL);
    (void)in;
}

static void test_upgrade_not_taken(void **state)
{
    /* answered like any other request, and the connection goes on */
    assert_has(say(&f, &p,
                   "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
               "hello");
    assert_has(say(&f, &p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), "hello");
}

static void test_targets(void **state)
{
    say(&f, &p, "GET http://other/hello?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(f.last_path, "/hello");
    say(&f, &p, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(f.last_path, "*");
    assert_has(say(&f, &p, "GET /%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n"), "404");
    assert_string_equal(f.last_path, "/%2e%2e/x");
    say(&f, &p, "\r\n\r\nGET /hello?a=b&c HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(f.last_path, "/hello");
}

static void test_abort(void **state)
{
    say(&f, &p, "GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
    run_ms(&f, 10);
    assert_true(p.eof || p.error);
    assert_int_equal(p.in.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_simple, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head_has_length_and_no_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pipelining, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pipelined_behind_held, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunked_edges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_body_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expect_continue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unread_body_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_body_pieces_and_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paused_exactly_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streaming, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streaming_http10, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_goes_during_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_close_still_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_close_inside_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backpressure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_heads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeouts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drained_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connection_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gzip_when_the_peer_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_with_held_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tunnel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_upgrade_not_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_targets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abort, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
