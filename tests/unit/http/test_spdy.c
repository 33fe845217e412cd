/* SPDY/3.1 as kubectl speaks it: golden frames, streams, ends, windows, and hostile peers. */
#include "http/spdy.h"
#include "http/spdy_frame.h"
#include "http_test.h"

struct log {
    struct spdy *s;
    struct spdy_stream *streams[8];
    unsigned opens, fins, ends, closes, drains;
    struct buf data[8];
    int stream_err, err, refuse;
    char type[32], port[32];
    bool pause_first;
};

static struct fixture f;
static struct log lg;
static struct spdy_opts opts;
static int protocol;
static struct peer p;
static struct spdy_codec codec; /* the peer's */

static int on_open(struct spdy *s, struct spdy_stream *st, const struct http_header *h, size_t n,
                   void *arg)
{
    unsigned i = lg.opens++ % 8;

    snprintf(lg.type, sizeof(lg.type), "%.*s", STR_ARG(spdy_stream_header(st, STR("streamtype"))));
    snprintf(lg.port, sizeof(lg.port), "%.*s", STR_ARG(http_header_get(h, n, STR("port"))));
    if (lg.refuse)
        return -EINVAL;
    lg.streams[i] = st;
    spdy_stream_set_user(st, &lg.data[i]);
    assert_ptr_equal(spdy_stream_session(st), s);
    return 0;
}

static void on_data(struct spdy_stream *st, const void *d, size_t n, void *arg)
{
    struct buf *b = spdy_stream_user(st);

    buf_add(b, d, n);
    if (lg.pause_first)
        spdy_stream_pause(st, true);
}

static void on_fin(struct spdy_stream *st, void *arg)
{
    lg.fins++;
}

static void on_drain(struct spdy_stream *st, void *arg)
{
    lg.drains++;
}

static void on_stream_close(struct spdy_stream *st, int err, void *arg)
{
    lg.ends++;
    lg.stream_err = err;
    for (int i = 0; i < 8; i++)
        if (lg.streams[i] == st)
            lg.streams[i] = NULL;
}

static void on_close(struct spdy *s, int err, void *arg)
{
    lg.closes++;
    lg.err = err;
    lg.s = NULL;
}

static const struct spdy_callbacks cb = {on_open,  on_data,         on_fin,
                                         on_drain, on_stream_close, on_close};

static bool route(struct http_request *req, struct fixture *fx)
{
    static const char *const protocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io"};

    if (!str_is(req->path, "/spdy"))
        return false;
    lg.s = spdy_accept(req, protocols, 2, &opts, &cb, &lg, &protocol);
    return true;
}

#define HELLO                                                                                      \
    "POST /spdy HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: Upgrade\r\n"               \
    "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"                        \
    "X-Stream-Protocol-Version: v5.channel.k8s.io\r\n\r\n"

static int setup(void **state)
{
    lg = (struct log){0};
    opts = (struct spdy_opts){.streams_max = 4, .header_bytes_max = 2000};
    fixture_init(&f, NULL);
    f.route = route;
    protocol = -2;
    peer_open(&f, &p);
    say(&f, &p, HELLO);
    assert_has(buf_str(&p.in), "HTTP/1.1 101 Switching Protocols\r\n");
    assert_has(buf_str(&p.in), "x-stream-protocol-version: v5.channel.k8s.io\r\n");
    assert_int_equal(protocol, 0);
    buf_clear(&p.in);
    spdy_codec_init(&codec, 65536);
    return 0;
}

static int teardown(void **state)
{
    if (lg.s)
        spdy_abort(lg.s);
    run_ms(&f, 5);
    peer_close(&p);
    fixture_fini(&f);
    assert_int_equal(lg.closes, 1);
    spdy_codec_fini(&codec);
    for (int i = 0; i < 8; i++)
        buf_fini(&lg.data[i]);
    return 0;
}

static void put(struct buf *b)
{
    rt_stream_write(p.s, buf_str(b));
    buf_fini(b);
    *b = (struct buf){0};
    run_ms(&f, 5);
}

static void syn(uint32_t id, unsigned flags, const char *type)
{
    struct http_header h[2] = {{STR("streamtype"), str_z(type)}, {STR("port"), STR("80")}};
    struct buf b = {0}, block = {0};

    spdy_encode_headers(&codec, h, 2, &block);
    spdy_put_control(&b, SPDY_SYN_STREAM, flags, 10 + block.n);
    spdy_put32(&b, id);
    spdy_put32(&b, 0);
    buf_add_lit(&b, "\0\0");
    buf_add_str(&b, buf_str(&block));
    buf_fini(&block);
    put(&b);
}

static void data(uint32_t id, unsigned flags, const char *text, size_t n)
{
    struct buf b = {0};

    spdy_put_data(&b, id, flags, n);
    buf_add(&b, text, n);
    put(&b);
}

static void control(enum spdy_type type, uint32_t a, uint32_t c, int words)
{
    struct buf b = {0};

    spdy_put_control(&b, type, 0, 4u * (unsigned)words);
    spdy_put32(&b, a);
    if (words > 1)
        spdy_put32(&b, c);
    put(&b);
}

/* Takes the next frame of what came: type (0: data), id or first word, body behind it. */
static unsigned next(uint32_t *ret_id, struct str *ret_body)
{
    static struct buf frame;
    uint32_t word, n;
    unsigned type;

    if (p.in.n < 8)
        return 0xffff;
    word = spdy_get32(p.in.data);
    n = spdy_get32(p.in.data + 4) & 0xffffff;
    assert_true(p.in.n >= 8 + n);
    buf_fini(&frame);
    buf_add(&frame, p.in.data + 8, n);
    buf_consume(&p.in, 8 + n);
    if (!(word & 0x80000000)) {
        *ret_id = word;
        *ret_body = buf_str(&frame);
        return 0;
    }
    assert_int_equal(word >> 16, 0x8003);
    type = word & 0xffff;
    *ret_id = n >= 4 ? spdy_get32(frame.data) : 0;
    *ret_body = n >= 4 ? str_sub(buf_str(&frame), 4, n) : STR_NONE;
    return type;
}

static void test_dictionary(void **state)
{
    assert_int_equal(adler32(1, (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_BYTES), 0xe3c6a7c2);
}

/* Made by Python's zlib with the same dictionary: {"streamtype": "stdout"}, after the draft's zlib
 * head. */
static void test_golden_header_block(void **state)
{
    struct http_header h = {STR("streamtype"), STR("stdout")}, *back;
    struct spdy_codec c, d;
    struct arena a = {0};
    struct buf b = {0};
    size_t n;

    spdy_codec_init(&c, 1000);
    spdy_codec_init(&d, 1000);
    spdy_encode_headers(&c, &h, 1, &b);
    assert_memory_equal(b.data + 2, "\xe3\xc6\xa7\xc2", 4); /* FDICT with the draft's dictionary */
    assert_memory_equal(b.data + b.n - 4, "\x00\x00\xff\xff", 4); /* sync flush */
    assert_int_equal(spdy_decode_headers(&d, buf_str(&b), &a, &back, &n), 0);
    assert_int_equal(n, 1);
    assert_true(str_is(back[0].name, "streamtype") && str_is(back[0].value, "stdout"));
    /* the second block refers back to the first: much shorter */
    n = b.n;
    buf_clear(&b);
    spdy_encode_headers(&c, &h, 1, &b);
    assert_true(b.n < n / 2);
    assert_int_equal(spdy_decode_headers(&d, buf_str(&b), &a, &back, &n), 0);
    assert_true(str_is(back[0].value, "stdout"));
    buf_fini(&b);
    arena_fini(&a);
    spdy_codec_fini(&c);
    spdy_codec_fini(&d);
}

static void test_streams(void **state)
{
    struct str body;
    uint32_t id;

    syn(1, 0, "error");
    assert_string_equal(lg.type, "error");
    assert_string_equal(lg.port, "80");
    assert_int_equal(next(&id, &body), SPDY_SYN_REPLY);
    assert_int_equal(id, 1);
    syn(3, 0, "stdin");
    assert_int_equal(next(&id, &body), SPDY_SYN_REPLY);
    data(3, 0, "hello ", 6);
    data(3, 0, "world", 5);
    assert_string_equal(lg.data[1].data, "hello world");
    assert_int_equal(spdy_stream_write(lg.streams[0], HTTP_BYTES_STATIC("oops")), 0);
    run_ms(&f, 5);
    assert_int_equal(next(&id, &body), 0);
    assert_int_equal(id, 1);
    assert_true(str_is(body, "oops"));
    /* both ends finish */
    data(3, SPDY_FLAG_FIN, "!", 1);
    assert_int_equal(lg.fins, 1);
    assert_int_equal(lg.ends, 0);
    spdy_stream_fin(lg.streams[1]);
    assert_int_equal(spdy_stream_write(lg.streams[1], HTTP_BYTES_STATIC("late")), -EPIPE);
    run_ms(&f, 5);
    assert_int_equal(lg.ends, 1);
    assert_int_equal(lg.stream_err, 0);
    assert_int_equal(next(&id, &body), 0);
    assert_int_equal(id, 3);
    assert_int_equal(body.n, 0);
    /* a reset from either side */
    control(SPDY_RST_STREAM, 1, SPDY_CANCEL, 2);
    assert_int_equal(lg.ends, 2);
    assert_int_equal(lg.stream_err, -ECONNRESET);
    syn(5, 0, "stdout");
    (void)next(&id, &body);
    spdy_stream_reset(lg.streams[2]);
    run_ms(&f, 5);
    assert_int_equal(lg.ends, 3);
    assert_int_equal(next(&id, &body), SPDY_RST_STREAM);
    assert_int_equal(id, 5);
    /* ping, goaway */
    control(SPDY_PING, 7, 0, 1);
    assert_int_equal(next(&id, &body), SPDY_PING);
    assert_int_equal(id, 7);
    control(SPDY_GOAWAY, 5, 0, 2);
    run_ms(&f, 10);
    assert_int_equal(lg.closes, 1);
    assert_int_equal(lg.err, 0);
}

static void test_byte_by_byte(void **state)
{
    struct http_header h = {STR("streamtype"), STR("stdin")};
    struct buf b = {0}, block = {0};

    spdy_encode_headers(&codec, &h, 1, &block);
    spdy_put_control(&b, SPDY_SYN_STREAM, 0, 10 + block.n);
    spdy_put32(&b, 1);
    spdy_put32(&b, 0);
    buf_add_lit(&b, "\0\0");
    buf_add_str(&b, buf_str(&block));
    spdy_put_data(&b, 1, 0, 3);
    buf_add_lit(&b, "abc");
    spdy_put_data(&b, 1, SPDY_FLAG_FIN, 0);
    for (size_t i = 0; i < b.n; i++) {
        rt_stream_write(p.s, (struct str){b.data + i, 1});
        run_ms(&f, 1);
    }
    assert_string_equal(lg.data[0].data, "abc");
    assert_int_equal(lg.fins, 1);
    buf_fini(&b);
    buf_fini(&block);
}

static void test_refused_streams(void **state)
{
    struct str body;
    uint32_t id;

    lg.refuse = 1;
    syn(1, 0, "what");
    assert_int_equal(next(&id, &body), SPDY_RST_STREAM);
    lg.refuse = 0;
    for (uint32_t i = 3; i <= 9; i += 2)
        syn(i, 0, "x");
    buf_clear(&p.in);
    syn(11, 0, "one too many");
    assert_int_equal(next(&id, &body), SPDY_RST_STREAM);
    assert_int_equal(id, 11);
    assert_int_equal(spdy_get32(body.p), SPDY_REFUSED_STREAM);
    assert_int_equal(lg.opens, 5);
    data(99, 0, "x", 1); /* nobody's */
    assert_int_equal(next(&id, &body), SPDY_RST_STREAM);
    assert_int_equal(lg.closes, 0);
}

static void test_pause_and_fin_behind(void **state)
{
    char block[10000];

    memset(block, 'x', sizeof(block));
    syn(1, 0, "stdin");
    lg.pause_first = true;
    data(1, 0, "a", 1);
    lg.pause_first = false;
    data(1, 0, "b", 1);
    assert_int_equal(lg.data[0].n, 1);
    /* a peer without windows goes on and on: then its connection is not read */
    for (int i = 0; i < 100; i++)
        data(1, 0, block, sizeof(block));
    assert_true(rt_stream_queued_bytes(p.s) > 100000);
    data(1, SPDY_FLAG_FIN, "z", 1);
    assert_int_equal(lg.fins, 0);
    spdy_stream_pause(lg.streams[0], false);
    run_ms(&f, 50);
    assert_int_equal(lg.data[0].n, 2 + 100 * sizeof(block) + 1);
    assert_int_equal(lg.fins, 1);
}

static void test_windows(void **state)
{
    static char big[200000];
    struct str body;
    uint32_t id;
    size_t got = 0;

    syn(1, 0, "stdout");
    (void)next(&id, &body);
    /* a peer that shows no windows gets all at once */
    assert_int_equal(spdy_stream_write(lg.streams[0], (struct http_bytes){big, 200000, NULL, NULL}),
                     0);
    run_ms(&f, 10);
    while (next(&id, &body) == 0)
        got += body.n;
    assert_int_equal(got, 200000);
    /* one that counts is not overrun */
    {
        struct buf b = {0};

        spdy_put_control(&b, SPDY_SETTINGS, 0, 12);
        spdy_put32(&b, 1);
        spdy_put32(&b, SPDY_SETTINGS_INITIAL_WINDOW);
        spdy_put32(&b, 70000);
        put(&b);
    }
    control(SPDY_WINDOW_UPDATE, 0, 200000, 2);
    syn(3, 0, "stdout");
    (void)next(&id, &body);
    assert_int_equal(spdy_stream_write(lg.streams[1], (struct http_bytes){big, 200000, NULL, NULL}),
                     0);
    run_ms(&f, 10);
    for (got = 0; next(&id, &body) == 0;)
        got += body.n;
    /* the connection's window: 64 KiB - 200,000 already sent + 200,000 */
    assert_int_equal(got, 65536);
    control(SPDY_WINDOW_UPDATE, 0, 1 << 20, 2);
    for (; next(&id, &body) == 0;)
        got += body.n;
    assert_int_equal(got, 70000);
    control(SPDY_WINDOW_UPDATE, 3, 1 << 20, 2);
    for (; next(&id, &body) == 0;)
        got += body.n;
    assert_int_equal(got, 200000);
    /* and what it sends is given back */
    data(3, 0, big, 40000);
    assert_int_equal(next(&id, &body), SPDY_WINDOW_UPDATE);
    assert_int_equal(id, 0);
    assert_int_equal(next(&id, &body), SPDY_WINDOW_UPDATE);
    assert_int_equal(id, 3);
    assert_int_equal(spdy_get32(body.p), 40000);
}

static void expect_broken(void)
{
    run_ms(&f, 10);
    assert_int_equal(lg.closes, 1);
    assert_int_equal(lg.err, -EPROTO);
    assert_true(p.eof || p.error);
    teardown(NULL);
    setup(NULL);
}

static void test_protocol_errors(void **state)
{
    struct buf b = {0};

    syn(2, 0, "even"); /* ids of clients are odd */
    expect_broken();
    syn(5, 0, "a");
    syn(3, 0, "backwards");
    expect_broken();
    data(0, 0, "x", 1);
    expect_broken();
    spdy_put_control(&b, SPDY_SYN_STREAM, 0, 14); /* not zlib */
    buf_add_lit(&b, "\0\0\0\1\0\0\0\0\0\0abcd");
    put(&b);
    expect_broken();
    spdy_put_control(&b, SPDY_SYN_STREAM, 0, 3);
    buf_add_lit(&b, "abc");
    put(&b);
    expect_broken();
    spdy_put_control(&b, SPDY_HEADERS, 0, 100000); /* too large */
    put(&b);
    expect_broken();
    spdy_put32(&b, 0x80020001); /* version 2 */
    spdy_put32(&b, 4);
    spdy_put32(&b, 1);
    put(&b);
    expect_broken();
    control(SPDY_PING, 1, 1, 2);
    expect_broken();
    control(SPDY_SETTINGS, 5, 1, 2);
    expect_broken();
    control(SPDY_SYN_REPLY, 1, 1, 2);
    expect_broken();
    { /* inflates to more than the limit */
        char *v = xcalloc(1, 5000);
        struct http_header h = {STR("x"), {memset(v, 'a', 5000), 5000}};
        struct buf block = {0};

        spdy_encode_headers(&codec, &h, 1, &block);
        spdy_put_control(&b, SPDY_SYN_STREAM, 0, 10 + block.n);
        buf_add_lit(&b, "\0\0\0\1\0\0\0\0\0\0");
        buf_add_str(&b, buf_str(&block));
        put(&b);
        buf_fini(&block);
        free(v);
        expect_broken();
    }
    { /* counts that lie */
        struct http_header h = {STR("x"), STR("y")}, *back;
        struct arena a = {0};
        struct buf plain = {0};
        size_t n;
        static const char *const lies[] = {
            "\0\0\0\2\0\0\0\1x\0\0\0\1y", "\0\0\0\1\0\0\1\1x\0\0\0\1y",
            "\0\0\0\1\0\0\0\1x\0\0\1\1y", "\0\0\0\1\0\0\0\1X\0\0\0\1y",
            "\0\0\0\0\0\0\0\1x\0\0\0\1y", "\xff\0\0\1\0\0\0\1x\0\0\0\1y"};

        (void)h;
        for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
            struct spdy_codec d;
            z_stream z = {0};
            char out[200];

            deflateInit(&z, 9);
            deflateSetDictionary(&z, (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_BYTES);
            z.next_in = (Bytef *)lies[i];
            z.avail_in = 14;
            z.next_out = (Bytef *)out;
            z.avail_out = sizeof(out);
            deflate(&z, Z_SYNC_FLUSH);
            spdy_codec_init(&d, 1000);
            assert_int_equal(spdy_decode_headers(&d, (struct str){out, sizeof(out) - z.avail_out},
                                                 &a, &back, &n),
                             -EPROTO);
            deflateEnd(&z);
            spdy_codec_fini(&d);
        }
        arena_fini(&a);
        buf_fini(&plain);
    }
}

static void test_ends(void **state)
{
    struct str body;
    uint32_t id;

    syn(1, 0, "a");
    syn(3, 0, "b");
    buf_clear(&p.in);
    (void)spdy_stream_write(lg.streams[0], HTTP_BYTES_STATIC("last words"));
    spdy_close(lg.s);
    run_ms(&f, 10);
    assert_int_equal(lg.ends, 2);
    assert_int_equal(lg.closes, 1);
    assert_int_equal(next(&id, &body), 0);
    assert_true(str_is(body, "last words"));
    assert_int_equal(next(&id, &body), SPDY_GOAWAY);
    teardown(NULL);
    setup(NULL);
    syn(1, 0, "a");
    rt_stream_close(TAKE_PTR(p.s), NULL, NULL);
    run_ms(&f, 10);
    assert_int_equal(lg.ends, 1);
    assert_int_equal(lg.closes, 1);
    assert_true(lg.stream_err < 0);
}

static void test_idle(void **state)
{
    spdy_abort(lg.s);
    teardown(NULL);
    setup(NULL);
    run_ms(&f, 3 * 3600 * 1000);
    assert_int_equal(lg.closes, 0);
    control(SPDY_PING, 1, 0, 1);
    run_ms(&f, 3 * 3600 * 1000);
    assert_int_equal(lg.closes, 0);
    run_ms(&f, 2 * 3600 * 1000);
    assert_int_equal(lg.closes, 1);
    assert_int_equal(lg.err, -ETIMEDOUT);
}

static void test_queue(void **state)
{
    static char big[1 << 20];
    int r, n = 0;

    syn(1, 0, "stdout");
    rt_stream_read_stop(p.s);
    while ((r = spdy_stream_write(lg.streams[0],
                                  (struct http_bytes){big, sizeof(big), NULL, NULL})) == 0)
        assert_true(++n < 100);
    assert_int_equal(r, -ENOBUFS);
    assert_true(spdy_stream_congested(lg.streams[0]));
    rt_stream_read_start(p.s);
    run_ms(&f, 500);
    assert_int_equal(lg.drains, 1);
    assert_int_equal(spdy_stream_queued_bytes(lg.streams[0]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dictionary),
        cmocka_unit_test(test_golden_header_block),
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_and_fin_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_windows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_protocol_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
