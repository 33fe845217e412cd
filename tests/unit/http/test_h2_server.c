/* HTTP/2 server: what an ordinary client never does. The peer is made of hand-written frames, so
 * that it can break the rules (HPACK by literals without indexing only). */
#include "http_test.h"

static struct fixture f;
static struct peer p;

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
#define END_STREAM  1u
#define END_HEADERS 4u

static void put_frame(struct buf *b, unsigned type, unsigned flags, uint32_t id, struct str body)
{
    char h[9] = {(char)(body.n >> 16), (char)(body.n >> 8), (char)body.n,
                 (char)type,           (char)flags,         (char)(id >> 24),
                 (char)(id >> 16),     (char)(id >> 8),     (char)id};

    buf_add(b, h, 9);
    buf_add_str(b, body);
}

static void put(struct buf *b)
{
    rt_stream_write(p.s, buf_str(b));
    buf_fini(b);
    *b = (struct buf){0};
    run_ms(&f, 5);
}

static void frame(unsigned type, unsigned flags, uint32_t id, struct str body)
{
    struct buf b = {0};

    put_frame(&b, type, flags, id, body);
    put(&b);
}

static void word(unsigned type, unsigned flags, uint32_t id, uint32_t v)
{
    char c[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};

    frame(type, flags, id, (struct str){c, 4});
}

static void literal(struct buf *b, const char *name, struct str value)
{
    buf_add_char(b, 0);
    buf_add_char(b, (char)strlen(name));
    buf_add(b, name, strlen(name));
    if (value.n < 127) {
        buf_add_char(b, (char)value.n);
    } else { /* 7-bit prefix, then base 128 */
        size_t v = value.n - 127;

        buf_add_char(b, 127);
        for (; v >= 128; v /= 128)
            buf_add_char(b, (char)(0x80 | (v & 127)));
        buf_add_char(b, (char)v);
    }
    buf_add_str(b, value);
}

static void request(struct buf *b, const char *method, const char *path)
{
    literal(b, ":method", str_z(method));
    literal(b, ":scheme", STR("http"));
    literal(b, ":path", str_z(path));
    literal(b, ":authority", STR("a"));
}

static void open_stream(uint32_t id, const char *method, const char *path, bool ended)
{
    struct buf b = {0};

    request(&b, method, path);
    frame(HEADERS, END_HEADERS | (ended ? END_STREAM : 0), id, buf_str(&b));
    buf_fini(&b);
}

/* The first frame of `type` in what came, whatever is before it; body absent without one. */
static struct str find(unsigned type, uint32_t *ret_id)
{
    size_t at = 0;

    while (at + 9 <= p.in.n) {
        const unsigned char *h = (const unsigned char *)p.in.data + at;
        size_t n = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];

        if (at + 9 + n > p.in.n)
            break;
        if (h[3] == type) {
            *ret_id = (uint32_t)h[5] << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 | h[8];
            return (struct str){(const char *)h + 9, n};
        }
        at += 9 + n;
    }
    return STR_NONE;
}

static uint32_t code_of(struct str s, size_t at)
{
    const unsigned char *u = (const unsigned char *)s.p + at;

    assert_true(s.p && s.n >= at + 4);
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void start(const struct http_server_opts *o)
{
    struct buf b = {0};

    fixture_init(&f, o);
    peer_open(&f, &p);
    buf_add_lit(&b, PREFACE);
    put_frame(&b, SETTINGS, 0, 0, STR_NONE);
    put_frame(&b, SETTINGS, 1, 0, STR_NONE);
    put(&b);
    buf_clear(&p.in);
}

static int setup(void **state)
{
    start(NULL);
    return 0;
}

static int teardown(void **state)
{
    peer_close(&p);
    fixture_fini(&f);
    return 0;
}

static void test_request(void **state)
{
    uint32_t id;
    struct str d;

    open_stream(1, "GET", "/hello", true);
    assert_int_equal(find(HEADERS, &id).p != NULL, 1);
    assert_int_equal(id, 1);
    d = find(DATA, &id);
    assert_true(str_is(d, "hello"));
    open_stream(3, "POST", "/echo", false);
    frame(DATA, 0, 3, STR("ab"));
    buf_clear(&p.in);
    frame(DATA, END_STREAM, 3, STR("cd"));
    d = find(DATA, &id);
    assert_true(str_is(d, "abcd"));
}

static void test_preface_in_pieces(void **state)
{
    struct peer q;

    peer_open(&f, &q);
    for (const char *c = PREFACE; *c; c++) {
        rt_stream_write(q.s, (struct str){c, 1});
        run_ms(&f, 1);
    }
    run_ms(&f, 5);
    assert_true(q.in.n > 9 && q.in.data[3] == SETTINGS);
    peer_close(&q);
}

static void test_bad_heads(void **state)
{
    struct buf b = {0};
    uint32_t id;

    /* no path: a stream error */
    literal(&b, ":method", STR("GET"));
    literal(&b, ":scheme", STR("http"));
    frame(HEADERS, END_HEADERS | END_STREAM, 1, buf_str(&b));
    assert_int_equal(code_of(find(RST, &id), 0), 1);
    buf_clear(&p.in);
    buf_clear(&b);
    /* upper-case name */
    request(&b, "GET", "/hello");
    literal(&b, "X-Y", STR("z"));
    frame(HEADERS, END_HEADERS | END_STREAM, 3, buf_str(&b));
    assert_int_equal(code_of(find(RST, &id), 0), 1);
    buf_clear(&p.in);
    buf_clear(&b);
    /* a header of HTTP/1.1's connections */
    request(&b, "GET", "/hello");
    literal(&b, "transfer-encoding", STR("chunked"));
    frame(HEADERS, END_HEADERS | END_STREAM, 5, buf_str(&b));
    assert_int_equal(code_of(find(RST, &id), 0), 1);
    buf_clear(&p.in);
    buf_clear(&b);
    /* a path that is none: answered */
    request(&b, "GET", "hello");
    frame(HEADERS, END_HEADERS | END_STREAM, 7, buf_str(&b));
    assert_true(find(HEADERS, &id).p || find(RST, &id).p);
    buf_clear(&p.in);
    buf_clear(&b);
    /* content-length that lies */
    request(&b, "POST", "/echo");
    literal(&b, "content-length", STR("10"));
    frame(HEADERS, END_HEADERS, 9, buf_str(&b));
    frame(DATA, END_STREAM, 9, STR("abc"));
    assert_int_equal(code_of(find(RST, &id), 0), 1);
    assert_int_equal(f.bodies, 0);
    assert_int_equal(f.closes, 1);
    buf_fini(&b);
    open_stream(11, "GET", "/hello", true);
    assert_int_equal(f.handled, 2);
}

static void test_large_head_is_431(void **state)
{
    struct http_server_opts o = {.head_bytes_max = 2000};
    struct buf b = {0}, big = {0};
    uint32_t id;

    teardown(NULL);
    start(&o);
    while (big.n < 3000)
        buf_add_lit(&big, "0123456789");
    request(&b, "GET", "/hello");
    literal(&b, "x", buf_str(&big));
    frame(HEADERS, END_HEADERS | END_STREAM, 1, buf_str(&b));
    assert_true(find(HEADERS, &id).p || find(RST, &id).p);
    assert_int_equal(f.handled, 0);
    open_stream(3, "GET", "/hello", true);
    assert_int_equal(f.handled, 1);
    buf_fini(&b);
    buf_fini(&big);
}

static void test_connection_errors(void **state)
{
    static const struct {
        unsigned type, flags;
        uint32_t id;
        const char *body;
        size_t n;
    } rows[] = {
        {DATA, 0, 0, "x", 1},
        {HEADERS, END_HEADERS, 2, "\x82", 1},                     /* even id */
        {HEADERS, END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff", 6}, /* HPACK */
        {CONTINUATION, 0, 1, "x", 1},
        {SETTINGS, 0, 0, "abc", 3},
        {WINDOW, 0, 0, "\0\0\0\0", 4},
        {PUSH, END_HEADERS, 1, "\0\0\0\2", 4},
        {PING, 0, 1, "12345678", 8},
        {RST, 0, 0, "\0\0\0\1", 4},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t id;

        frame(rows[i].type, rows[i].flags, rows[i].id, (struct str){rows[i].body, rows[i].n});
        run_ms(&f, 3000);
        if (!find(GOAWAY, &id).p || !(p.eof || p.error))
            fail_msg("row %zu: no GOAWAY and end", i);
        teardown(NULL);
        start(NULL);
    }
    /* not a frame at all */
    frame(255, 255, 0x7fffffff, STR("whatever")); /* unknown types are ignored */
    open_stream(1, "GET", "/hello", true);
    assert_int_equal(f.handled, 1);
}

static void test_rapid_reset(void **state)
{
    struct buf head = {0}, b = {0};
    struct http_server_stats st;
    uint32_t id, n;
    struct str goaway;

    request(&head, "GET", "/hold");
    f.held = NULL;
    for (n = 0; n < 3000 && !p.eof && !p.error; n++) {
        put_frame(&b, HEADERS, END_HEADERS | END_STREAM, 1 + 2 * n, buf_str(&head));
        put_frame(&b, RST, 0, 1 + 2 * n, (struct str){"\0\0\0\x8", 4});
        if (n % 50 == 49)
            put(&b);
    }
    run_ms(&f, 3000);
    goaway = find(GOAWAY, &id);
    assert_non_null(goaway.p);
    assert_int_equal(code_of(goaway, 4), 0xb); /* ENHANCE_YOUR_CALM */
    http_server_get_stats(f.server, &st);
    assert_true(st.rapid_resets > 0);
    assert_true(f.handled <= 600);
    assert_int_equal(f.closes, f.handled);
    f.held = NULL;
    buf_fini(&head);
    buf_fini(&b);
}

static void test_too_many_streams(void **state)
{
    struct http_server_opts o = {.h2_streams_max = 3};
    uint32_t id;

    teardown(NULL);
    start(&o);
    for (uint32_t i = 0; i < 3; i++)
        open_stream(1 + 2 * i, "GET", "/stream", true);
    buf_clear(&p.in);
    open_stream(7, "GET", "/stream", true);
    assert_true(find(RST, &id).p || find(GOAWAY, &id).p);
    assert_int_equal(f.handled, 3);
    f.held = NULL;
}

static void test_send_window(void **state)
{
    static char big[200000];
    size_t got;

    open_stream(1, "GET", "/stream", true);
    buf_clear(&p.in);
    assert_int_equal(http_stream_write(f.held, (struct http_bytes){big, sizeof(big), NULL, NULL}),
                     0);
    run_ms(&f, 20);
    got = p.in.n;
    assert_true(got >= 65535 && got < 65535 + 100); /* frame heads */
    assert_int_equal(http_stream_queued_bytes(f.held), 200000 - 65535);
    word(WINDOW, 0, 1, 1 << 20);
    assert_int_equal(p.in.n, got); /* the connection's window is used up */
    word(WINDOW, 0, 0, 1 << 20);
    run_ms(&f, 20);
    assert_int_equal(http_stream_queued_bytes(f.held), 0);
    http_stream_end(TAKE_PTR(f.held));
    run_ms(&f, 5);
}

static void test_window_never_opened(void **state)
{
    static char big[200000];
    struct http_server_opts o = {.write_timeout_ms = 500};
    uint32_t id;

    teardown(NULL);
    start(&o);
    open_stream(1, "GET", "/stream", true);
    assert_int_equal(http_stream_write(f.held, (struct http_bytes){big, sizeof(big), NULL, NULL}),
                     0);
    run_ms(&f, 50);
    buf_clear(&p.in);
    run_ms(&f, 2000);
    assert_non_null(find(RST, &id).p);
    assert_int_equal(f.closes, 1);
    assert_false(p.eof);
}

static void test_receive_window_holds(void **state)
{
    struct http_server_opts o = {.h2_window_bytes = 65535};
    static char block[16384];
    uint32_t id;

    teardown(NULL);
    start(&o);
    f.piece_pause = true;
    open_stream(1, "POST", "/pieces", false);
    for (int i = 0; i < 3; i++)
        frame(DATA, 0, 1, (struct str){block, sizeof(block)});
    buf_clear(&p.in);
    frame(DATA, 0, 1, (struct str){block, 16000});
    assert_int_equal(f.seen.n, sizeof(block)); /* paused after the first piece */
    /* over the window: a flow-control error */
    frame(DATA, 0, 1, (struct str){block, 10000});
    assert_true(find(RST, &id).p || find(GOAWAY, &id).p);
}

static void test_slow_continuation(void **state)
{
    struct http_server_opts o = {.head_timeout_ms = 200};
    struct buf b = {0};

    teardown(NULL);
    start(&o);
    request(&b, "GET", "/hello");
    frame(HEADERS, END_STREAM, 1, buf_str(&b)); /* never ended */
    run_ms(&f, 1000);
    assert_true(p.eof || p.error);
    assert_int_equal(f.handled, 0);
    buf_fini(&b);
}

static void test_idle_and_body_timeouts(void **state)
{
    struct http_server_opts o = {
        .idle_timeout_ms = 300, .body_timeout_ms = 200, .head_timeout_ms = 300};
    uint32_t id;

    teardown(NULL);
    start(&o);
    open_stream(1, "POST", "/echo", false);
    run_ms(&f, 280);
    assert_int_equal(f.closes, 1);
    assert_non_null(find(HEADERS, &id).p); /* 408 */
    run_ms(&f, 4000);
    assert_non_null(find(GOAWAY, &id).p);
    assert_true(p.eof);
}

static void test_drain(void **state)
{
    uint32_t id;

    open_stream(1, "GET", "/hold", true);
    http_server_drain(f.server, 10000, NULL, NULL);
    run_ms(&f, 10);
    assert_int_equal(code_of(find(GOAWAY, &id), 0), 0x7fffffff);
    open_stream(3, "GET", "/hello", true); /* was under way: still answered */
    assert_int_equal(f.handled, 2);
    run_ms(&f, 2000);
    http_respond_str(TAKE_PTR(f.held), 200, NULL, STR("bye"));
    run_ms(&f, 3000);
    assert_true(p.eof);
}

/* An independent client over a socket. */
static void test_answer_before_the_body(void **state)
{
    static char block[16000];
    uint32_t id;

    open_stream(1, "POST", "/late", false);
    assert_non_null(find(HEADERS, &id).p); /* 401 */
    assert_true(str_is(find(DATA, &id), "who are you"));
    assert_null(find(RST, &id).p); /* not at once: the client shall see the answer */
    for (int i = 0; i < 10; i++)
        frame(DATA, 0, 1, (struct str){block, sizeof(block)});
    assert_null(find(RST, &id).p);
    run_ms(&f, 2500);
    assert_int_equal(code_of(find(RST, &id), 0), 0);
}

/* An independent client that sends more than is taken: it still sees the answer. */
static void test_curl_too_large(void **state)
{
    static char out[4096];
    char cmd[300];
    struct rt_thread *t;
    FILE *pipe;
    size_t n;

    teardown(NULL);
    fixture_init_real(&f, NULL, false);
    assert_int_equal(rt_thread_start(f.rt, "server", &t), 0);
    snprintf(cmd, sizeof(cmd),
             "head -c 4000000 /dev/zero | curl -si --max-time 10 --http2-prior-knowledge "
             "http://127.0.0.1:%u/echo --data-binary @- 2>&1",
             f.port);
    pipe = popen(cmd, "r");
    assert_non_null(pipe);
    n = fread(out, 1, sizeof(out) - 1, pipe);
    out[n] = '\0';
    (void)pclose(pipe);
    rt_thread_join(t);
    assert_has(str_z(out), "HTTP/2 413");
    assert_has(str_z(out), "too large");
    fixture_fini(&f);
    start(NULL);
}

static void test_curl(void **state)
{
    static char out[4096];
    char cmd[300];
    struct rt_thread *t;
    FILE *pipe;
    size_t n;

    teardown(NULL);
    for (int tls = 0; tls < 2; tls++) {
        fixture_init_real(&f, NULL, tls);
        assert_int_equal(rt_thread_start(f.rt, "server", &t), 0);
        snprintf(cmd, sizeof(cmd),
                 "curl -ski --max-time 10 %s %s://127.0.0.1:%u/echo -d some-data 2>&1",
                 tls ? "--http2" : "--http2-prior-knowledge", tls ? "https" : "http", f.port);
        pipe = popen(cmd, "r");
        assert_non_null(pipe);
        n = fread(out, 1, sizeof(out) - 1, pipe);
        out[n] = '\0';
        assert_int_equal(pclose(pipe), 0);
        rt_thread_join(t);
        assert_has(str_z(out), "HTTP/2 200");
        assert_has(str_z(out), "content-length: 9");
        assert_has(str_z(out), "some-data");
        fixture_fini(&f);
    }
    start(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_preface_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_heads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_head_is_431, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connection_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rapid_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_send_window, setup, teardown),
        cmocka_unit_test_setup_teardown(test_window_never_opened, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receive_window_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_continuation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_and_body_timeouts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_before_the_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_curl_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_curl, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
