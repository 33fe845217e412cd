/* Calls to webhooks: against a real TLS server on a loopback socket, by url and by Service. */
#include "apiserver/limits.h"
#include "apiserver/hooks/outcall.h"
#include "codec/yaml.h"
#include "hook_server.h"
#include "ports.h"
#include "schema/schema.h"
#include "store/store_mem.h"

struct fixture {
    struct rt *rt;
    struct store *store;
    struct outcalls *x;
    struct hook_server server;
    struct arena arena;
    struct http_request *held;
    struct arena words;
    /* of the last call */
    bool done, flag;
    int r, status;
    bool answered;
    struct str what, body;
    unsigned reads, writes;
};

static struct fixture f;

static bool is_set(void *arg)
{
    return *(const bool *)arg;
}

static void wait_for(const bool *flag)
{
    if (!rt_run_until(f.rt, is_set, (void *)(uintptr_t)flag, 60 * NSEC_PER_SEC))
        fail_msg("timed out");
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void handle(struct http_request *req, void *arg)
{
    (void)arg;
    static char big[200000];
    if (str_is(req->path, "/echo")) {
        http_respond_str(req, 200, "application/json", req->body);
    } else if (str_is(req->path, "/hang")) {
        f.held = req;
    } else if (str_is(req->path, "/cut")) {
        http_stream_abort(req);
    } else if (str_is(req->path, "/big")) {
        memset(big, 'x', sizeof(big));
        http_respond_str(req, 200, "application/json", (struct str){big, sizeof(big)});
    } else if (str_is(req->path, "/redirect")) {
        struct http_header h = {STR("location"), STR("/echo")};
        http_respond(req, 302, &h, 1, HTTP_BYTES_NONE);
    } else if (str_is(req->path, "/500")) {
        http_respond_str(req, 500, "text/plain", STR("out of order\n"));
    } else {
        http_respond_str(req, 404, "text/plain", STR("nothing here"));
    }
}

static int setup(void **state)
{
    (void)state;
    f = (struct fixture){.rt = rt_uv_new()};
    assert_int_equal(store_open(f.rt, store_mem_new(NULL), NULL, &f.store, NULL), 0);
    f.x = outcalls_new(f.rt, f.store);
    hook_server_start(&f.server, f.rt, handle, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bool closed = false;
    f.x = outcalls_free(f.x);
    hook_server_stop(&f.server);
    store_close(f.store, set_flag, &closed);
    wait_for(&closed);
    arena_fini(&f.arena);
    rt_free(f.rt);
    return 0;
}

static void on_done(void *arg, const struct outcall_answer *a)
{
    (void)arg;
    assert_false(f.done);
    f.done = true;
    f.r = a->r;
    f.status = a->status;
    f.answered = a->answered;
    f.what = arena_str(&f.arena, a->what);
    f.body = a->body.p ? arena_str(&f.arena, a->body) : STR_NONE;
}

static struct outcall *start(const struct outcall_request *in)
{
    struct outcall_request q = *in;
    q.done = on_done;
    q.timeout_ms = q.timeout_ms ? q.timeout_ms : 10000;
    q.limit_bytes = q.limit_bytes ? q.limit_bytes : 100000;
    f.done = false;
    struct outcall *c = outcall_start(f.x, &q);
    assert_false(f.done);
    return c;
}

static int ask(const struct outcall_request *q)
{
    (void)start(q);
    wait_for(&f.done);
    return f.r;
}

static struct str url(const char *path)
{
    return arena_printf(&f.arena, "https://127.0.0.1:%u%s", f.server.port, path);
}

static int ask_url(const char *path)
{
    return ask(
        &(struct outcall_request){.target = {.url = url(path), .ca_bundle = str_z(f.server.ca_pem)},
                                  .body = STR("{\"a\":1}")});
}

static void expect_what(const char *tail)
{
    if (!str_ends(f.what, str_z(tail)))
        fail_msg("'%.*s' does not end with '%s'", STR_ARG(f.what), tail);
}

/* ---- by url ---- */

static void test_answers(void **state)
{
    (void)state;
    assert_int_equal(ask_url("/echo"), 0);
    assert_str(f.body, "{\"a\":1}");
    assert_int_equal(f.status, 200);
    assert_string_equal(f.server.target, "/echo?timeout=10s");
    assert_int_equal(ask_url("/echo"), 0);
    assert_int_equal(f.server.accepted, 1); /* the connection was kept */
    assert_int_equal(outcalls_in_flight(f.x), 0);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_int_equal(ask_url("/500"), -EIO);
    assert_true(f.answered);
    assert_str(f.what, "an error on the server (\"out of order\") has prevented the request from "
                       "succeeding");
    assert_int_equal(ask_url("/none"), -EIO);
    assert_str(f.what, "the server could not find the requested resource");
    assert_int_equal(ask_url("/redirect"), -EIO);
    assert_int_equal(f.status, 302);
    assert_string_equal(f.server.target, "/redirect?timeout=10s"); /* and not followed */
    assert_int_equal(ask_url("/big"), -EFBIG);
    assert_true(f.answered);
}

static void test_cut_connections(void **state)
{
    (void)state;
    assert_int_equal(ask_url("/cut"), -ECONNRESET);
    expect_what("/cut?timeout=10s\": EOF");
    assert_false(f.answered);
    assert_int_equal(f.server.handled, 2); /* once more, since the connection might have been old */
}

static void test_timeout(void **state)
{
    (void)state;
    struct outcall_request q = {
        .target = {.url = url("/hang"), .ca_bundle = str_z(f.server.ca_pem)}, .timeout_ms = 1000};
    assert_int_equal(ask_url("/echo"), 0); /* connecting takes its time: that is done */
    assert_int_equal(ask(&q), -ETIMEDOUT);
    expect_what("/hang?timeout=1s\": context deadline exceeded");
    assert_non_null(f.held);
}

static void test_refused_connections(void **state)
{
    (void)state;
    int nobody;
    uint16_t port = port_refused(&nobody);
    struct outcall_request q = {
        .target = {.url = arena_printf(&f.arena, "https://127.0.0.1:%u/x", port)}};
    assert_int_equal(ask(&q), -ECONNREFUSED);
    expect_what(": connect: connection refused");
    assert_true(str_starts(f.what, STR("Post \"https://127.0.0.1:")));
    close(nobody);
}

static void test_authorities(void **state)
{
    (void)state;
    struct outcall_request q = {.target = {.url = url("/echo")}}; /* the host's do not know it */
    assert_int_equal(ask(&q), -EACCES);
    expect_what(
        ": tls: failed to verify certificate: x509: certificate signed by unknown authority");
    q.target.ca_bundle = STR("no PEM");
    assert_int_equal(ask(&q), -EBUSY);
    q.target = (struct outcall_target){.url = STR("http://127.0.0.1/"), .ca_bundle = STR("")};
    assert_true(ask(&q) < 0);
    assert_int_equal(f.server.handled, 0);
}

/* ---- body and answer on the call's thread ---- */

static void write_body(void *arg, struct buf *out)
{
    assert_ptr_equal(arg, &f);
    f.writes++;
    buf_add_lit(out, "[1]");
}

static int read_body(void *arg, struct str body, struct error *err)
{
    assert_ptr_equal(arg, &f);
    f.reads++;
    if (str_is(body, "[1]"))
        return 0;
    return error_set(err, REASON_BAD_REQUEST, "not what was asked for");
}

static void on_read_done(void *arg, const struct outcall_answer *a)
{
    assert_ptr_equal(arg, &f);
    on_done(NULL, a);
}

static void test_reader(void **state)
{
    (void)state;
    struct outcall_request q = {
        .target = {.url = url("/echo"), .ca_bundle = str_z(f.server.ca_pem)},
        .timeout_ms = 10000,
        .limit_bytes = 1000,
        .write = write_body,
        .read = read_body,
        .done = on_read_done,
        .arg = &f};
    (void)outcall_start(f.x, &q);
    wait_for(&f.done);
    assert_int_equal(f.r, 0);
    assert_int_equal(f.reads, 1);
    assert_int_equal(f.writes, 1);
    f.done = false;
    q.write = NULL;
    q.body = STR("other");
    (void)outcall_start(f.x, &q);
    wait_for(&f.done);
    assert_int_equal(f.r, -EINVAL);
    assert_str(f.what, "not what was asked for");
}

/* ---- the end ---- */

static void test_cancel(void **state)
{
    (void)state;
    struct outcall_request q = {
        .target = {.url = url("/hang"), .ca_bundle = str_z(f.server.ca_pem)}};
    struct outcall *c = start(&q);
    outcall_cancel(c);
    outcall_cancel(c);
    wait_for(&f.done);
    assert_int_equal(f.r, -ECANCELED);
    c = start(&q);
    while (!f.held)
        (void)rt_run_until(f.rt, is_set, &f.flag, NSEC_PER_MSEC);
    outcall_cancel(c);
    wait_for(&f.done);
    assert_int_equal(f.r, -ECANCELED);
    expect_what("context canceled");
}

static void test_dropped(void **state)
{
    (void)state;
    struct outcall_request q = {
        .target = {.url = url("/hang"), .ca_bundle = str_z(f.server.ca_pem)}};
    (void)start(&q); /* perhaps not even begun */
    f.x = outcalls_free(f.x);
    f.x = outcalls_new(f.rt, f.store);
    (void)start(&q);
    while (!f.held)
        (void)rt_run_until(f.rt, is_set, &f.flag, NSEC_PER_MSEC);
    outcall_cancel(start(&q));
    outcall_cancel(start(&(struct outcall_request){.target = {.url = STR("ftp://x")}}));
    f.x = outcalls_free(f.x);
    assert_false(f.done);
}

static void test_bound(void **state)
{
    (void)state;
    struct outcall_request q = {
        .target = {.url = url("/hang"), .ca_bundle = str_z(f.server.ca_pem)}};
    unsigned n = 0;
    for (; n < OUTCALLS_MAX; n++)
        (void)start(&q);
    assert_int_equal(ask(&q), -EBUSY);
    expect_what("too many calls are under way");
}

/* ---- Services ---- */

static void put(const struct schema_kind *k, const char *yaml)
{
    struct json *v;
    void *msg = schema_new(k->desc, &f.arena);
    bool flag = false;
    assert_int_equal(yaml_parse(str_z(yaml), &f.arena, &v, NULL), 0);
    assert_int_equal(schema_decode_json(k->desc, v, &f.arena, NULL, msg, NULL), 0);
    assert_int_equal(store_put(f.store, k, msg, STORE_ABSENT, NULL, NULL, NULL), 0);
    while (!store_get(f.store, k, STR("default"), ((struct api_object_meta *)msg)->name))
        (void)rt_run_until(f.rt, is_set, &flag, NSEC_PER_MSEC);
}

static void put_service(void)
{
    put(schema_kinds[KIND_SERVICE],
        "{metadata: {name: hook, namespace: default}, spec: {ports: [{name: other, port: 80}, "
        "{name: https, port: 443}]}}");
}

static void put_slice(const char *name, const char *endpoints, uint16_t port)
{
    put(schema_kinds[KIND_ENDPOINT_SLICE],
        arena_cstr(&f.arena,
                   arena_printf(&f.arena,
                                "{metadata: {name: %s, namespace: default, labels: "
                                "{kubernetes.io/service-name: hook}}, addressType: IPv4, "
                                "endpoints: [%s], ports: [{name: other, port: 1}, {name: https, "
                                "port: %u}]}",
                                name, endpoints, port)));
}

static int ask_service(struct str path, uint16_t port)
{
    return ask(&(struct outcall_request){.target = {.ns = STR("default"),
                                                    .name = STR("hook"),
                                                    .path = path,
                                                    .port = port,
                                                    .ca_bundle = str_z(f.server.ca_pem)},
                                         .body = STR("{}")});
}

static void test_service(void **state)
{
    (void)state;
    assert_int_equal(ask_service(STR("echo"), 0), -ENOENT);
    assert_str(f.what,
               "Post \"https://hook.default.svc:443/echo?timeout=10s\": service \"hook\" not "
               "found");
    put_service();
    assert_int_equal(ask_service(STR("/echo"), 0), -EAGAIN);
    expect_what(": no endpoints available for service \"hook\"");
    assert_int_equal(ask_service(STR("/echo"), 8443), -EAGAIN);
    expect_what(": no service port 8443 found for service \"hook\"");
    put_slice("dead", "{addresses: [127.0.0.1], conditions: {ready: false}}", f.server.port);
    assert_int_equal(ask_service(STR("/echo"), 0), -EAGAIN);
    put_slice("live", "{addresses: [127.0.0.1]}", f.server.port);
    assert_int_equal(ask_service(STR("/echo"), 0), 0);
    assert_string_equal(f.server.target, "/echo?timeout=10s");
    assert_int_equal(ask_service(STR_NONE, 443), -EIO);
    assert_string_equal(f.server.target, "/?timeout=10s");
}

static void test_next_endpoint(void **state)
{
    (void)state;
    int nobody;
    uint16_t closed = port_refused(&nobody);
    put_service();
    put_slice("a", "{addresses: [127.0.0.1]}", closed);
    put_slice("b", "{addresses: [127.0.0.1]}", f.server.port);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ask_service(STR("/echo"), 0), 0);
    close(nobody);
}

static void test_resolve_turns(void **state)
{
    (void)state;
    struct outcall_place *v;
    size_t n;
    unsigned turn = 0, firsts[6] = {0};
    put_service();
    put_slice("a", "{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}, {addresses: [10.0.0.3]}", 1);
    put_slice("b", "{addresses: [10.0.0.4]}, {addresses: [10.0.0.5]}", 2);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(outcall_resolve(f.store, STR("default"), STR("hook"), 443, &turn, &f.arena,
                                         &v, &n, NULL),
                         0);
        assert_int_equal(n, OUTCALL_PLACES_MAX);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(v[k].host.n, 8);
            assert_int_equal(v[k].port, v[k].host.p[7] < '4' ? 1 : 2);
            for (size_t m = 0; m < k; m++)
                assert_false(str_eq(v[k].host, v[m].host));
        }
        firsts[v[0].host.p[7] - '0']++;
    }
    for (unsigned i = 1; i <= 5; i++)
        assert_int_equal(firsts[i], 2);
}

static void test_external_name(void **state)
{
    (void)state;
    put(schema_kinds[KIND_SERVICE], "{metadata: {name: hook, namespace: default}, spec: {type: "
                                    "ExternalName, externalName: localhost}}");
    assert_int_equal(ask_service(STR("/echo"), f.server.port), 0);
    assert_int_equal(f.server.handled, 1);
}

/* ---- pure parts ---- */

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *path;
        uint16_t port; /* 0: refused */
    } rows[] = {
        {"https://a.example", "a.example", "/", 443},
        {"https://a.example/x/y", "a.example", "/x/y", 443},
        {"https://127.0.0.1:8443/x", "127.0.0.1", "/x", 8443},
        {"https://[::1]:8443", "::1", "/", 8443},
        {"https://[::1]", "::1", "/", 443},
        {"https://a:/x", "a", "/x", 443},
        {"http://a/", NULL, NULL, 0},
        {"https://", NULL, NULL, 0},
        {"https:///x", NULL, NULL, 0},
        {"https://u@a/", NULL, NULL, 0},
        {"https://a/?q", NULL, NULL, 0},
        {"https://a/#f", NULL, NULL, 0},
        {"https://a/ b", NULL, NULL, 0},
        {"https://a/\r\nx: y", NULL, NULL, 0},
        {"https://a:0/", NULL, NULL, 0},
        {"https://a:65536/", NULL, NULL, 0},
        {"https://a:x/", NULL, NULL, 0},
        {"https://[::1", NULL, NULL, 0},
        {"https://[::1]x", NULL, NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str host, path;
        uint16_t port;
        bool ok = outcall_url_parse(str_z(rows[i].url), &host, &port, &path);
        if (ok != (rows[i].port != 0))
            fail_msg("%s", rows[i].url);
        if (!ok)
            continue;
        assert_str(host, rows[i].host);
        assert_str(path, rows[i].path);
        assert_int_equal(port, rows[i].port);
    }
}

static void test_status_texts(void **state)
{
    (void)state;
    struct arena a = {0};
    assert_str(outcall_status_text(400, STR("x"), &a),
               "the server rejected our request for an unknown reason");
    assert_str(outcall_status_text(403, STR(" no\n"), &a), "no");
    assert_str(outcall_status_text(502, STR(""), &a),
               "an error on the server (\"unknown\") has prevented the request from succeeding");
    assert_str(outcall_status_text(301, STR("moved"), &a),
               "the server responded with the status code 301 but did not return more information");
    arena_fini(&a);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_answers),
        T(test_refusals),
        T(test_cut_connections),
        T(test_timeout),
        T(test_refused_connections),
        T(test_authorities),
        T(test_reader),
        T(test_cancel),
        T(test_dropped),
        T(test_bound),
        T(test_service),
        T(test_next_endpoint),
        T(test_resolve_turns),
        T(test_external_name),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_status_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
