/* WebSocket: the handshake, frames as a hostile peer would make them, limits, both ends together.
 */
#include "http/ws.h"
#include "http_test.h"

struct end {
    struct ws *ws;
    unsigned n_messages, drains, closes;
    enum ws_opcode op;
    struct buf last;
    int code, err;
    char reason[128];
    bool closed, echo, pause_after;
};

static void on_message(struct ws *ws, enum ws_opcode op, const void *p, size_t n, void *arg)
{
    struct end *e = arg;

    assert_false(e->closed);
    e->n_messages++;
    e->op = op;
    buf_clear(&e->last);
    buf_add(&e->last, p, n);
    if (e->echo)
        assert_int_equal(ws_send(ws, op, http_bytes_copy((struct str){p, n})), 0);
    if (e->pause_after)
        ws_pause(ws, true);
}

static void on_drain(struct ws *ws, void *arg)
{
    ((struct end *)arg)->drains++;
}

static void on_close(struct ws *ws, int code, struct str reason, int err, void *arg)
{
    struct end *e = arg;

    assert_false(e->closed);
    e->closed = true;
    e->ws = NULL;
    e->code = code;
    e->err = err;
    snprintf(e->reason, sizeof(e->reason), "%.*s", STR_ARG(reason));
}

static const struct ws_callbacks cb = {on_message, on_drain, on_close};

static struct fixture f;
static struct end server_end, client_end;
static int protocol;
static struct ws_opts server_opts;

static bool route(struct http_request *req, struct fixture *fx)
{
    static const char *const protocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io"};

    if (!str_is(req->path, "/ws"))
        return false;
    server_end.ws = ws_accept(req, protocols, 2, &server_opts, &cb, &server_end, &protocol);
    return true;
}

static int setup(void **state)
{
    server_end = client_end = (struct end){0};
    server_opts = (struct ws_opts){.message_bytes_max = 70000};
    fixture_init(&f, NULL);
    f.route = route;
    protocol = -2;
    return 0;
}

static int teardown(void **state)
{
    fixture_fini(&f);
    buf_fini(&server_end.last);
    buf_fini(&client_end.last);
    return 0;
}

#define HELLO                                                                                      \
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"     \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

static void open_ws(struct peer *p)
{
    peer_open(&f, p);
    assert_has(say(&f, p, HELLO "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"),
               "HTTP/1.1 101 Switching Protocols\r\n");
    assert_non_null(server_end.ws);
    buf_clear(&p->in);
}

/* One frame; masked as a client's must be unless told otherwise. */
static void frame(struct peer *p, unsigned first, const char *data, size_t n, bool masked)
{
    static const unsigned char mask[4] = {0x11, 0x22, 0x33, 0x44};
    struct buf b = {0};

    buf_add_char(&b, (char)first);
    if (n < 126) {
        buf_add_char(&b, (char)(n | (masked ? 0x80 : 0)));
    } else if (n < 65536) {
        buf_add_char(&b, (char)(126 | (masked ? 0x80 : 0)));
        buf_add_char(&b, (char)(n >> 8));
        buf_add_char(&b, (char)n);
    } else {
        buf_add_char(&b, (char)(127 | (masked ? 0x80 : 0)));
        for (int i = 7; i >= 0; i--)
            buf_add_char(&b, (char)(n >> (8 * i)));
    }
    if (masked)
        buf_add(&b, mask, 4);
    for (size_t i = 0; i < n; i++)
        buf_add_char(&b, (char)(data[i] ^ (masked ? mask[i % 4] : 0)));
    rt_stream_write(p->s, buf_str(&b));
    buf_fini(&b);
}

static void expect_close(struct peer *p, int code)
{
    run_ms(&f, 10);
    assert_true(server_end.closed);
    assert_int_equal(server_end.code, code);
    assert_true(p->in.n >= 4);
    /* the last thing said is a close frame with that code */
    assert_int_equal((unsigned char)p->in.data[0], 0x88);
    assert_int_equal((unsigned char)p->in.data[2] << 8 | (unsigned char)p->in.data[3], code);
    run_ms(&f, 3000);
    assert_true(p->eof || p->error);
    peer_close(p);
}

static void test_handshake(void **state)
{
    struct peer p;

    peer_open(&f, &p);
    /* the example of RFC 6455 1.3 */
    assert_has(say(&f, &p, HELLO "Sec-WebSocket-Protocol: x, v4.channel.k8s.io\r\n\r\n"),
               "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    assert_has(buf_str(&p.in), "sec-websocket-protocol: v4.channel.k8s.io\r\n");
    assert_int_equal(protocol, 1);
    ws_abort(server_end.ws);
    run_ms(&f, 5);
    assert_true(server_end.closed);
    assert_int_equal(server_end.code, 1006);
    peer_close(&p);
}

static void test_handshake_refused(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        {"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\n\r\n",
         "400"},
        {"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Key: c2hvcnQ=\r\nSec-WebSocket-Version: 13\r\n\r\n",
         "400"},
        {"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n",
         "426"},
        {HELLO "Sec-WebSocket-Protocol: chat\r\n\r\n", "403"},
        {"POST /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
         "400"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer p;

        peer_open(&f, &p);
        say(&f, &p, rows[i].text);
        assert_memory_equal(p.in.data + 9, rows[i].want, 3);
        assert_null(server_end.ws);
        peer_close(&p);
    }
}

static void test_messages_and_fragments(void **state)
{
    struct peer p;
    char *big = xcalloc(1, 66000);

    open_ws(&p);
    frame(&p, 0x81, "hi", 2, true);
    run_ms(&f, 5);
    assert_int_equal(server_end.op, WS_TEXT);
    assert_string_equal(server_end.last.data, "hi");
    frame(&p, 0x82, big, 66000, true);
    run_ms(&f, 5);
    assert_int_equal(server_end.op, WS_BINARY);
    assert_int_equal(server_end.last.n, 66000);
    /* fragments with a ping between them */
    frame(&p, 0x02, "ab", 2, true);
    frame(&p, 0x89, "png", 3, true);
    frame(&p, 0x00, "cd", 2, true);
    frame(&p, 0x80, "ef", 2, true);
    run_ms(&f, 5);
    assert_int_equal(server_end.n_messages, 3);
    assert_string_equal(server_end.last.data, "abcdef");
    assert_memory_equal(p.in.data, "\x8a\x03png", 5); /* the pong */
    frame(&p, 0x82, "", 0, true);
    run_ms(&f, 5);
    assert_int_equal(server_end.n_messages, 4);
    assert_int_equal(server_end.last.n, 0);
    buf_clear(&p.in);
    assert_int_equal(ws_send2(server_end.ws, WS_BINARY, STR("\x01"), STR("out")), 0);
    run_ms(&f, 5);
    assert_memory_equal(p.in.data, "\x82\x04\x01out", 6);
    free(big);
    /* the peer closes */
    buf_clear(&p.in);
    frame(&p, 0x88,
          "\x03\xe8"
          "bye",
          5, true);
    run_ms(&f, 5);
    assert_true(server_end.closed);
    assert_int_equal(server_end.err, 0);
    assert_int_equal(server_end.code, 1000);
    assert_string_equal(server_end.reason, "bye");
    assert_int_equal((unsigned char)p.in.data[0], 0x88);
    peer_close(&p);
}

static void again(void)
{
    teardown(NULL);
    setup(NULL);
}

static void test_protocol_errors(void **state)
{
    struct peer p;

    open_ws(&p); /* unmasked */
    frame(&p, 0x81, "hi", 2, false);
    expect_close(&p, 1002);
    again();
    open_ws(&p); /* reserved bit */
    frame(&p, 0xc1, "hi", 2, true);
    expect_close(&p, 1002);
    again();
    open_ws(&p); /* unknown opcode */
    frame(&p, 0x83, "hi", 2, true);
    expect_close(&p, 1002);
    again();
    open_ws(&p); /* continuation of nothing */
    frame(&p, 0x80, "hi", 2, true);
    expect_close(&p, 1002);
    again();
    open_ws(&p); /* fragmented ping; wslay's close frame carries no code here */
    frame(&p, 0x09, "hi", 2, true);
    run_ms(&f, 10);
    assert_int_equal(server_end.err, -EPROTO);
    assert_int_equal((unsigned char)p.in.data[0], 0x88);
    peer_close(&p);
    again();
    open_ws(&p); /* text that is not UTF-8 */
    frame(&p, 0x81, "\xff\xfe", 2, true);
    expect_close(&p, 1007);
    again();
    open_ws(&p); /* one frame too large */
    frame(&p, 0x82, "", 0, true);
    rt_stream_write(p.s,
                    (struct str){"\x82\xff\x00\x00\x00\x7f\x00\x00\x00\x00\x01\x02\x03\x04xy", 16});
    expect_close(&p, 1009);
    again();
    {
        char *half = xcalloc(1, 40000);

        open_ws(&p); /* the fragments together */
        frame(&p, 0x02, half, 40000, true);
        frame(&p, 0x80, half, 40000, true);
        free(half);
        expect_close(&p, 1009);
    }
}

static void test_lost_connection(void **state)
{
    struct peer p;

    open_ws(&p);
    frame(&p, 0x02, "ab", 2, true);
    run_ms(&f, 5);
    peer_close(&p);
    run_ms(&f, 5);
    assert_true(server_end.closed);
    assert_int_equal(server_end.code, 1006);
    assert_true(server_end.err < 0);
}

static void test_close_timeout(void **state)
{
    struct peer p;

    open_ws(&p);
    ws_close(server_end.ws, 1000, STR("done"));
    assert_int_equal(ws_send(server_end.ws, WS_TEXT, HTTP_BYTES_STATIC("x")), -EPIPE);
    run_ms(&f, 5);
    assert_memory_equal(p.in.data,
                        "\x88\x06\x03\xe8"
                        "done",
                        8);
    assert_false(server_end.closed);
    run_ms(&f, 6000);
    assert_true(server_end.closed);
    assert_int_equal(server_end.err, -ETIMEDOUT);
    peer_close(&p);
}

static void test_ping_timeout(void **state)
{
    struct peer p;

    server_opts.ping_interval_ms = 100;
    open_ws(&p);
    for (int i = 0; i < 10; i++) {
        run_ms(&f, 100);
        frame(&p, 0x8a, "", 0, true);
    }
    assert_false(server_end.closed);
    assert_true(count(buf_str(&p.in), "\x89") >= 5);
    run_ms(&f, 500);
    assert_true(server_end.closed);
    assert_int_equal(server_end.err, -ETIMEDOUT);
    peer_close(&p);
}

static void test_pause(void **state)
{
    struct peer p;

    open_ws(&p);
    server_end.pause_after = true;
    for (int i = 0; i < 10; i++)
        frame(&p, 0x81, "abc", 3, true);
    run_ms(&f, 5);
    assert_int_equal(server_end.n_messages, 1);
    for (int i = 2; i <= 10; i++) {
        ws_pause(server_end.ws, false);
        run_ms(&f, 5);
        assert_int_equal(server_end.n_messages, i);
    }
    ws_abort(server_end.ws);
    run_ms(&f, 5);
    peer_close(&p);
}

static void test_queue_limit(void **state)
{
    static char block[65536];
    struct peer p;
    int r, n = 0;

    server_opts.queue_bytes_max = 1 << 20;
    open_ws(&p);
    rt_stream_read_stop(p.s);
    while ((r = ws_send(server_end.ws, WS_BINARY,
                        (struct http_bytes){block, sizeof(block), NULL, NULL})) == 0) {
        assert_true(++n < 100);
        run_ms(&f, 1);
    }
    assert_int_equal(r, -ENOBUFS);
    assert_true(ws_congested(server_end.ws));
    rt_stream_read_start(p.s);
    run_ms(&f, 100);
    assert_int_equal(server_end.drains, 1);
    assert_int_equal(ws_queued_bytes(server_end.ws), 0);
    ws_abort(server_end.ws);
    run_ms(&f, 5);
    peer_close(&p);
}

static bool opened;
static int open_status, open_err;
static char open_protocol[64];

static void on_open(const struct ws_open_answer *a, void *arg)
{
    struct end *e = arg;

    opened = true;
    e->ws = a->ws;
    open_status = a->status;
    open_err = a->err;
    snprintf(open_protocol, sizeof(open_protocol), "%.*s", STR_ARG(a->protocol));
}

static void test_both_ends(void **state)
{
    static const char *const wanted[] = {"other", "v5.channel.k8s.io"};

    for (int tls = 0; tls < 2; tls++) {
        struct http_target t = {.host = "localhost"};
        struct http_client *c;
        char *big = xcalloc(1, 60000);

        teardown(NULL);
        setup(NULL);
        fixture_fini(&f);
        fixture_init_real(&f, NULL, tls);
        f.route = route;
        server_end.echo = true;
        t.port = f.port;
        c = http_client_new(f.rt, &t, f.tls_client, NULL);
        opened = false;
        ws_open(c, STR("/ws"), NULL, 0, wanted, 2, 1000, NULL, &cb, &client_end, on_open);
        wait_flag(&f, &opened);
        assert_int_equal(open_status, 101);
        assert_string_equal(open_protocol, "v5.channel.k8s.io");
        assert_non_null(client_end.ws);
        for (unsigned i = 1; i <= 20; i++) {
            assert_int_equal(ws_send(client_end.ws, i % 2 ? WS_TEXT : WS_BINARY,
                                     http_bytes_copy((struct str){big, i * 3000})),
                             0);
            while (client_end.n_messages < i)
                run_ms(&f, 1);
            assert_int_equal(client_end.last.n, i * 3000);
        }
        ws_close(client_end.ws, 1000, STR("bye"));
        wait_flag(&f, &client_end.closed);
        wait_flag(&f, &server_end.closed);
        assert_int_equal(client_end.err, 0);
        assert_int_equal(server_end.code, 1000);
        assert_string_equal(server_end.reason, "bye");
        /* refused: the answer is told */
        opened = false;
        ws_open(c, STR("/nothing"), NULL, 0, wanted, 2, 1000, NULL, &cb, &client_end, on_open);
        wait_flag(&f, &opened);
        assert_int_equal(open_status, 404);
        assert_null(client_end.ws);
        free(big);
        http_client_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_handshake_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages_and_fragments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_protocol_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ping_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_both_ends, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
