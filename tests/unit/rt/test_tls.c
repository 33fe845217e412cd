/* TLS over memory pairs and TCP: good and bad certificates, half close, back-pressure, plain HTTP
 * on the TLS port, garbage, cut connections, resumption, reload. */
#include "rt_test.h"
#include "rt/crypto.h"
#include "rt/sim.h"
#include "rt/stream_impl.h"
#include "rt/tls.h"

#include <sys/socket.h>
#include <time.h>

#define DAY 86400

/* ---- an authority and what it issues ---- */

struct pki {
    struct pkey *ca_key;
    struct cert *ca;
    char *ca_pem;
};

struct identity {
    char *cert, *key;
};

static struct pki pki, foreign;
static struct identity server, server_other, client, client_expired, client_foreign,
    client_wrong_use;

static struct pki pki_new(const char *cn)
{
    struct pki p = {.ca_key = pkey_new_p256()};

    assert_int_equal(cert_new_ca(p.ca_key, str_z(cn), time(NULL) + 10 * DAY, NULL, &p.ca), 0);
    p.ca_pem = cert_to_pem(p.ca);
    return p;
}

static struct identity issue(struct pki *p, const char *cn, int64_t from, int64_t to,
                             bool server_use, bool client_use)
{
    struct pkey *key = pkey_new_p256();
    struct str dns = str_z(cn), ip = STR("127.0.0.1"), org = STR("system:testers");
    struct cert_spec spec = {.cn = str_z(cn),
                             .orgs = &org,
                             .n_orgs = 1,
                             .dns = &dns,
                             .n_dns = 1,
                             .ips = &ip,
                             .n_ips = 1,
                             .for_server = server_use,
                             .for_client = client_use,
                             .not_before_s = from,
                             .not_after_s = to};
    struct cert *c = NULL;
    struct identity id;

    assert_int_equal(cert_issue(p->ca, p->ca_key, key, &spec, NULL, &c), 0);
    id = (struct identity){cert_to_pem(c), pkey_to_pem(key)};
    cert_free(c);
    pkey_free(key);
    return id;
}

static int setup(void **state)
{
    int64_t now = time(NULL);

    pki = pki_new("test-ca");
    foreign = pki_new("test-ca"); /* the same name, on purpose */
    server = issue(&pki, "server.test", 0, now + DAY, true, false);
    server_other = issue(&pki, "renewed.test", 0, now + DAY, true, false);
    client = issue(&pki, "alice", 0, now + DAY, false, true);
    client_expired = issue(&pki, "bob", now - 2 * DAY, now - DAY, false, true);
    client_foreign = issue(&foreign, "mallory", 0, now + DAY, false, true);
    client_wrong_use = issue(&pki, "carol", 0, now + DAY, true, false);
    /* the server shows its authority too, for clients that pin it */
    char *chain = xasprintf("%s%s", server.cert, pki.ca_pem);
    free(server.cert);
    server.cert = chain;
    return 0;
}

static int teardown(void **state)
{
    struct identity *ids[] = {&server,         &server_other,   &client,
                              &client_expired, &client_foreign, &client_wrong_use};
    struct pki *pkis[] = {&pki, &foreign};

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        free(ids[i]->cert);
        free(ids[i]->key);
    }
    for (size_t i = 0; i < ARRAY_LEN(pkis); i++) {
        pkey_free(pkis[i]->ca_key);
        cert_free(pkis[i]->ca);
        free(pkis[i]->ca_pem);
    }
    return 0;
}

static struct rt_tls_server *server_new(nsec_t timeout)
{
    struct rt_tls_server_opts o = {.cert_pem = str_z(server.cert),
                                   .key_pem = str_z(server.key),
                                   .client_ca_pem = str_z(pki.ca_pem),
                                   .handshake_timeout = timeout};
    struct rt_tls_server *t = NULL;

    assert_int_equal(rt_tls_server_new(&o, NULL, &t), 0);
    return t;
}

static const char *const both[] = {"http/1.1", "h2", NULL};

static struct rt_tls_client *client_new(const struct identity *id)
{
    struct rt_tls_client_opts o = {.ca_pem = str_z(pki.ca_pem), .alpn = both};
    struct rt_tls_client *t = NULL;

    if (id) {
        o.cert_pem = str_z(id->cert);
        o.key_pem = str_z(id->key);
    }
    assert_int_equal(rt_tls_client_new(&o, NULL, &t), 0);
    return t;
}

static void on_done(void *arg, int err)
{
    struct end *e = arg;

    assert_false(e->done);
    e->done = true;
    e->handshake = err;
}

/* Two ends of a TLS connection, handshake over. c: client, s: server. */
static void connect_tls(struct rt *rt, struct rt_tls_server *st, struct rt_tls_client *ct,
                        const char *name, struct end *s, struct end *c)
{
    struct rt_stream *a, *b;

    *s = *c = (struct end){0};
    rt_stream_pair(rt, &a, &b);
    s->s = rt_tls_accept(st, a, on_done, s);
    c->s = rt_tls_connect(ct, b, name, on_done, c);
    rt_stream_set_handler(s->s, &end_handler, s);
    rt_stream_set_handler(c->s, &end_handler, c);
    assert_false(s->done || c->done);
    WAIT(rt, s->done && c->done);
}

static void end_both(struct end *s, struct end *c)
{
    end_close(c);
    end_close(s);
}

/* ---- tests ---- */

static void test_echo_and_info(void **state)
{
    for (int sim = 0; sim < 2; sim++) {
        struct rt *rt = sim ? rt_sim_new(1, 0) : rt_uv_new();
        struct rt_tls_server *st = server_new(0);
        struct rt_tls_client *ct = client_new(&client);
        struct end s, c;
        const struct rt_tls_info *i;
        connect_tls(rt, st, ct, "server.test", &s, &c);
        assert_int_equal(s.handshake | c.handshake, 0);
        i = rt_tls_info(s.s);
        assert_string_equal(i->version, "TLSv1.3");
        assert_true(str_is(i->alpn, "h2")); /* the server's wish wins */
        assert_true(str_is(i->sni, "server.test"));
        assert_true(i->verified);
        assert_string_equal(i->verify_error, "");
        assert_true(str_is(i->peer->cn, "alice"));
        assert_true(str_is(i->peer->orgs[0], "system:testers"));
        assert_true(str_is(rt_tls_info(c.s)->peer->cn, "server.test"));
        assert_true(rt_tls_info(c.s)->verified);
        assert_string_equal(rt_stream_kind(s.s), "tls");
        assert_string_equal(rt_stream_peer(s.s), "pair");
        assert_string_equal(rt_tls_failure(s.s), "");
        rt_stream_read_start(s.s);
        rt_stream_read_start(c.s);
        rt_stream_write(c.s, STR("secret "));
        rt_stream_write(c.s, STR("question"));
        WAIT(rt, s.got.n == 15);
        assert_string_equal(s.got.data, "secret question");
        rt_stream_write(s.s, STR("answer"));
        WAIT(rt, c.got.n == 6);
        /* half close, both ways */
        rt_stream_shutdown(c.s);
        WAIT(rt, s.eof);
        assert_false(c.eof);
        rt_stream_write(s.s, STR(", late"));
        rt_stream_shutdown(s.s);
        WAIT(rt, c.eof);
        assert_string_equal(c.got.data, "answer, late");
        assert_int_equal(s.err | c.err, 0);
        end_both(&s, &c);
        rt_tls_server_unref(st);
        rt_tls_client_unref(ct);
        rt_free(rt);
    }
}

static void test_client_certificates(void **state)
{
    const struct {
        const struct identity *id;
        const char *cn;
        bool verified;
        const char *why;
    } rows[] = {
        {NULL, NULL, false, ""},
        {&client, "alice", true, ""},
        {&client_expired, "bob", false, "certificate has expired"},
        {&client_foreign, "mallory", false, "unable to get local issuer certificate"},
        {&client_wrong_use, "carol", false, "unsuitable certificate purpose"},
    };
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_tls_client *ct = client_new(rows[i].id);
        struct end s, c;
        /* twice: a resumed session must be looked at as strictly */
        for (int again = 0; again < 2; again++) {
            connect_tls(rt, st, ct, "server.test", &s, &c);
            assert_int_equal(s.handshake | c.handshake, 0);
            const struct rt_tls_info *info = rt_tls_info(s.s);
            assert_int_equal(info->resumed, again);
            assert_int_equal(info->peer != NULL, rows[i].cn != NULL);
            if (info->peer)
                assert_true(str_eqz(info->peer->cn, rows[i].cn));
            assert_int_equal(info->verified, rows[i].verified);
            assert_string_equal(info->verify_error, rows[i].why);
            rt_stream_read_start(c.s); /* takes the ticket */
            rt_stream_read_start(s.s);
            rt_stream_write(s.s, STR("x"));
            WAIT(rt, c.got.n == 1);
            end_both(&s, &c);
        }
        rt_tls_client_unref(ct);
    }
    rt_tls_server_unref(st);
    rt_free(rt);
}

static struct rt_tls_client *client_with(struct rt_tls_client_opts o)
{
    struct rt_tls_client *t = NULL;

    assert_int_equal(rt_tls_client_new(&o, NULL, &t), 0);
    return t;
}

static void test_server_certificates(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);
    const uint8_t *pin = cert_facts(pki.ca)->spki_sha256,
                  *bad = cert_facts(foreign.ca)->spki_sha256;
    struct {
        struct rt_tls_client_opts o;
        const char *name;
        int err;
        const char *why;
    } rows[] = {
        {{.ca_pem = str_z(pki.ca_pem)}, "server.test", 0, ""},
        {{.ca_pem = str_z(pki.ca_pem)}, "127.0.0.1", 0, ""},
        {{.ca_pem = str_z(pki.ca_pem)}, "other.test", -EACCES, "hostname mismatch"},
        {{.ca_pem = str_z(pki.ca_pem)}, "127.0.0.2", -EACCES, "IP address mismatch"},
        {{.ca_pem = str_z(foreign.ca_pem)}, "server.test", -EACCES, "certificate"},
        {{.ca_pem = STR_NONE}, "server.test", -EACCES, "certificate"}, /* the system's */
        {{.insecure = true}, "whatever", 0, ""},
        {{.ca_spki_sha256 = pin}, "server.test", 0, ""},
        {{.ca_spki_sha256 = pin}, "other.test", -EACCES, "hostname mismatch"},
        {{.ca_spki_sha256 = bad}, "server.test", -EACCES, "certificate"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_tls_client *ct = client_with(rows[i].o);
        struct end s, c;
        connect_tls(rt, st, ct, rows[i].name, &s, &c);
        assert_int_equal(c.handshake, rows[i].err);
        if (rows[i].err) {
            assert_non_null(strstr(rt_tls_failure(c.s), rows[i].why));
            assert_null(rt_tls_info(c.s));
            /* With TLS 1.3 the server learns of it by the alert, in or after the handshake. */
            if (s.handshake == 0) {
                rt_stream_read_start(s.s);
                WAIT(rt, s.err);
                assert_int_equal(s.err, -EPROTO);
            }
        }
        end_both(&s, &c);
        rt_tls_client_unref(ct);
    }
    rt_tls_server_unref(st);
    rt_free(rt);
}

/* A wrong clock is told from a wrong server. */
static void test_server_certificates_out_of_time(void **state)
{
    int64_t now = time(NULL);
    const struct {
        int64_t from, to;
        const char *why;
    } rows[] = {
        {now - 2 * DAY, now - DAY, "has expired"},
        {now + DAY, now + 2 * DAY, "not yet valid"},
    };
    struct rt *rt = rt_uv_new();
    struct identity good = server;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        server = issue(&pki, "server.test", rows[i].from, rows[i].to, true, false);
        struct rt_tls_server *st = server_new(0);
        struct rt_tls_client *ct =
            client_with((struct rt_tls_client_opts){.ca_pem = str_z(pki.ca_pem)});
        struct end s, c;
        connect_tls(rt, st, ct, "server.test", &s, &c);
        assert_int_equal(c.handshake, -EKEYEXPIRED);
        assert_non_null(strstr(rt_tls_failure(c.s), rows[i].why));
        end_both(&s, &c);
        rt_tls_client_unref(ct);
        rt_tls_server_unref(st);
        free(server.cert);
        free(server.key);
    }
    server = good;
    rt_free(rt);
}

static void test_backpressure(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);
    struct rt_tls_client *ct = client_new(NULL);
    struct end s, c;
    size_t n = 6000000;
    char *p = xmalloc(n), *want = xmalloc(n);

    for (size_t i = 0; i < n; i++)
        p[i] = want[i] = (char)(i * 31 >> 5);
    connect_tls(rt, st, ct, "server.test", &s, &c);
    c.stop_at = 1;
    rt_stream_read_start(c.s);
    rt_stream_write(s.s, STR("small first, "));
    rt_stream_write_take(s.s, p, n);
    assert_true(rt_stream_congested(s.s));
    settle(rt, 20 * NSEC_PER_MSEC);
    assert_true(c.got.n < 100000);
    assert_false(s.drained);
    for (int i = 0; i < 50; i++) { /* stop and go at every piece */
        size_t before = c.got.n;
        c.stop_at = before + 1;
        rt_stream_read_start(c.s);
        WAIT(rt, c.got.n > before);
    }
    c.stop_at = 0;
    rt_stream_read_start(c.s);
    WAIT(rt, c.got.n == n + 13 && s.drained);
    assert_memory_equal(c.got.data + 13, want, n);
    assert_int_equal(rt_stream_queued_bytes(s.s), 0);
    free(want);
    end_both(&s, &c);
    rt_tls_server_unref(st);
    rt_tls_client_unref(ct);
    rt_free(rt);
}

/* Small writes of a turn become one record. */
static struct buf wire;
static void wire_data(void *arg, struct str d)
{
    buf_add_str(&wire, d);
}

static void test_one_record_a_turn(void **state)
{
    static const struct rt_stream_handler tap = {.on_data = wire_data};
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);
    struct rt_tls_client *ct = client_new(NULL);
    struct rt_stream *a, *b, *x, *y;
    struct end s = {0}, c = {0};

    /* client <-> b .. x | y .. a <-> server, joined by a tunnel until we listen in */
    rt_stream_pair(rt, &a, &y);
    rt_stream_pair(rt, &b, &x);
    struct rt_pipe *p = rt_stream_pipe(x, y, 0, NULL, NULL);
    s.s = rt_tls_accept(st, a, on_done, &s);
    c.s = rt_tls_connect(ct, b, "server.test", on_done, &c);
    rt_stream_set_handler(s.s, &end_handler, &s);
    rt_stream_set_handler(c.s, &end_handler, &c);
    rt_stream_read_start(c.s);
    WAIT(rt, s.done && c.done);
    settle(rt, 2 * NSEC_PER_MSEC);
    rt_stream_set_handler(x, &tap, NULL);
    for (int i = 0; i < 200; i++)
        rt_stream_write(c.s, STR("0123456789"));
    WAIT(rt, wire.n >= 2000);
    assert_int_equal((uint8_t)wire.data[0], 0x17);
    assert_int_equal(wire.n, 5 + 2000 + 1 + 16); /* head, text, type, tag: one record */
    buf_fini(&wire);
    rt_pipe_cancel(p);
    end_close(&c);
    end_close(&s);
    rt_tls_server_unref(st);
    rt_tls_client_unref(ct);
    rt_free(rt);
}

static void test_plain_http_on_tls_port(void **state)
{
    static const char *const requests[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "G",
                                           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);

    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct end s = {0}, c = {0}, plain = {0};
        struct rt_stream *a, *b;
        rt_stream_pair(rt, &a, &b);
        s.s = rt_tls_accept(st, a, on_done, &s);
        end_start(&c, b);
        rt_stream_write(b, str_z(requests[i]));
        WAIT(rt, s.done);
        assert_int_equal(s.handshake, -EPROTOTYPE);
        end_start(&plain, rt_tls_take_plain(s.s));
        WAIT(rt, plain.got.n == strlen(requests[i]));
        assert_string_equal(plain.got.data, requests[i]);
        rt_stream_write(plain.s, STR("HTTP/1.0 400 Bad Request\r\n\r\n"));
        rt_stream_shutdown(plain.s);
        WAIT(rt, c.eof);
        assert_memory_equal(c.got.data, "HTTP/1.0 400", 12);
        end_close(&c);
        end_close(&plain);
    }
    rt_tls_server_unref(st);
    rt_free(rt);
}

static void test_garbage_and_cuts(void **state)
{
    static const struct {
        struct str bytes;
        bool then_end;
        int err;
    } rows[] = {
        {{"\x16\x03\x01\x00\x05hello", 10}, false, -EPROTO},
        {{"\x16\x03\x01\xff\xff", 5}, false, -EPROTO},
        {{"\x80\x2e\x01\x00\x02", 5}, false, -ETIMEDOUT}, /* SSLv2, unfinished */
        {{"\x00\x00\x00\x00\x00\x00", 6}, false, -EPROTO},
        {{"\x16\x03\x01", 3}, true, -ECONNRESET}, /* cut in the middle of a record */
        {{"", 0}, true, -ECONNRESET},
        {{"\x16\x03\x01", 3}, false, -ETIMEDOUT}, /* slow loris */
    };
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *patient = server_new(0), *hasty = server_new(100 * NSEC_PER_MSEC);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct end s = {0}, c = {0};
        struct rt_stream *a, *b;
        rt_stream_pair(rt, &a, &b);
        s.s = rt_tls_accept(rows[i].err == -ETIMEDOUT ? hasty : patient, a, on_done, &s);
        rt_stream_set_handler(s.s, &end_handler, &s);
        end_start(&c, b);
        rt_stream_write(b, rows[i].bytes);
        if (rows[i].then_end)
            rt_stream_shutdown(b);
        WAIT(rt, s.done);
        assert_int_equal(s.handshake, rows[i].err);
        assert_true(rt_tls_failure(s.s)[0] != '\0');
        settle(rt, 2 * NSEC_PER_MSEC);
        assert_int_equal(s.err, 0); /* said once, by done */
        end_close(&s);
        end_close(&c);
    }
    rt_tls_server_unref(patient);
    rt_tls_server_unref(hasty);
    rt_free(rt);
}

/* A connection that ends without TLS's goodbye is no clean end; a flipped bit is an error. */
static void test_truncation_and_tampering(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);
    struct rt_tls_client *ct = client_new(NULL);

    for (int tamper = 0; tamper < 2; tamper++) {
        struct rt_stream *a, *b, *x, *y;
        struct end s = {0}, c = {0};
        static const struct rt_stream_handler tap = {.on_data = wire_data};
        rt_stream_pair(rt, &a, &y);
        rt_stream_pair(rt, &b, &x);
        struct rt_pipe *p = rt_stream_pipe(x, y, 0, NULL, NULL);
        s.s = rt_tls_accept(st, a, on_done, &s);
        c.s = rt_tls_connect(ct, b, "server.test", on_done, &c);
        rt_stream_set_handler(c.s, &end_handler, &c);
        end_start(&s, s.s);
        WAIT(rt, s.done && c.done);
        settle(rt, 2 * NSEC_PER_MSEC);
        rt_stream_set_handler(x, &tap, NULL);
        rt_stream_write(c.s, STR("a message"));
        WAIT(rt, wire.n > 0);
        if (tamper) {
            wire.data[wire.n - 3] ^= 1;
            rt_stream_write(y, buf_str(&wire));
        } else {
            rt_stream_write(y, buf_str(&wire));
            rt_stream_shutdown(y);
        }
        WAIT(rt, s.err);
        assert_int_equal(s.err, tamper ? -EPROTO : -ECONNRESET);
        assert_int_equal(s.got.n, tamper ? 0 : 9);
        assert_false(s.eof);
        buf_fini(&wire);
        rt_pipe_cancel(p);
        end_close(&s);
        end_close(&c);
    }
    rt_tls_server_unref(st);
    rt_tls_client_unref(ct);
    rt_free(rt);
}

static void test_written_before_and_finish(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);
    struct rt_tls_client *ct = client_new(NULL);
    struct rt_stream *a, *b;
    struct end s = {0}, c = {0};

    /* A client that writes, and ends politely, before the handshake has begun. */
    rt_stream_pair(rt, &a, &b);
    s.s = rt_tls_accept(st, a, on_done, &s);
    end_start(&s, s.s);
    c.s = rt_tls_connect(ct, b, "server.test", on_done, &c);
    rt_stream_set_handler(c.s, &end_handler, &c);
    rt_stream_write(c.s, STR("early words"));
    rt_stream_finish(c.s, 5 * NSEC_PER_SEC, end_closed, &c);
    WAIT(rt, s.eof);
    assert_string_equal(s.got.data, "early words");
    assert_false(c.closed);
    rt_stream_shutdown(s.s);
    WAIT(rt, c.closed);
    end_close(&s);
    rt_tls_server_unref(st);
    rt_tls_client_unref(ct);
    rt_free(rt);
}

static void test_close_during_handshake(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);
    struct rt_tls_client *ct = client_new(NULL);

    for (int turns = 0; turns < 8; turns++) {
        struct rt_stream *a, *b;
        struct end s = {0}, c = {0};
        bool no = false;
        rt_stream_pair(rt, &a, &b);
        s.s = rt_tls_accept(st, a, on_done, &s);
        rt_stream_set_handler(s.s, &end_handler, &s);
        c.s = rt_tls_connect(ct, b, "server.test", on_done, &c);
        rt_stream_set_handler(c.s, &end_handler, &c);
        for (int i = 0; i < turns; i++)
            (void)rt_run_until(rt, flag_set, &no, 1);
        c.done = true; /* must not be called any more */
        end_close(&c);
        WAIT(rt, s.done);
        end_close(&s);
    }
    rt_tls_server_unref(st);
    rt_tls_client_unref(ct);
    rt_free(rt);
}

static void test_alpn(void **state)
{
    static const char *const only1[] = {"http/1.1", NULL}, *const odd[] = {"spdy/9", NULL};
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);
    struct rt_tls_client *ct = client_new(NULL);
    const char *const *lists[] = {NULL, only1, odd};
    const char *want[] = {"h2", "http/1.1", NULL};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct rt_stream *a, *b;
        struct end s = {0}, c = {0};
        rt_stream_pair(rt, &a, &b);
        s.s = rt_tls_accept(st, a, on_done, &s);
        rt_stream_set_handler(s.s, &end_handler, &s);
        c.s = rt_tls_connect_alpn(ct, b, "server.test", lists[i], on_done, &c);
        rt_stream_set_handler(c.s, &end_handler, &c);
        WAIT(rt, s.done && c.done);
        assert_int_equal(c.handshake, want[i] ? 0 : -EPROTO);
        if (want[i]) {
            assert_true(str_eqz(rt_tls_info(c.s)->alpn, want[i]));
            assert_true(str_eqz(rt_tls_info(s.s)->alpn, want[i]));
        }
        end_both(&s, &c);
    }
    rt_tls_server_unref(st);
    rt_tls_client_unref(ct);
    rt_free(rt);
}

static void test_reload(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_tls_server *st = server_new(0);
    struct rt_tls_client *ct = client_new(&client);
    struct error err = {0};
    struct end s, c, s2, c2;

    connect_tls(rt, st, ct, "server.test", &s, &c);
    assert_int_equal(
        rt_tls_server_reload(st, str_z(server.cert), str_z(client.key), STR_NONE, &err), -EINVAL);
    assert_non_null(strstr(err.message.p, "private key"));
    error_clear(&err);
    assert_int_equal(rt_tls_server_reload(st, STR("junk"), str_z(client.key), STR_NONE, &err),
                     -EINVAL);
    error_clear(&err);
    connect_tls(rt, st, ct, "server.test", &s2, &c2); /* the old one stayed */
    assert_int_equal(c2.handshake, 0);
    end_both(&s2, &c2);
    assert_int_equal(
        rt_tls_server_reload(st, str_z(server_other.cert), str_z(server_other.key), STR_NONE, &err),
        0);
    connect_tls(rt, st, ct, "renewed.test", &s2, &c2);
    assert_int_equal(c2.handshake, 0);
    assert_true(rt_tls_info(s2.s)->verified); /* the client CA was kept */
    end_both(&s2, &c2);
    /* the connection of before lives on */
    rt_stream_read_start(s.s);
    rt_stream_write(c.s, STR("still here"));
    WAIT(rt, s.got.n == 10);
    end_both(&s, &c);
    /* another client authority: alice is a stranger now */
    assert_int_equal(rt_tls_server_reload(st, str_z(server.cert), str_z(server.key),
                                          str_z(foreign.ca_pem), &err),
                     0);
    connect_tls(rt, st, ct, "server.test", &s2, &c2);
    assert_false(rt_tls_info(s2.s)->resumed);
    assert_false(rt_tls_info(s2.s)->verified);
    end_both(&s2, &c2);
    /* the client's own renewal */
    assert_int_equal(
        rt_tls_client_reload(ct, str_z(client_foreign.cert), str_z(client_foreign.key), &err), 0);
    connect_tls(rt, st, ct, "server.test", &s2, &c2);
    assert_true(rt_tls_info(s2.s)->verified);
    assert_true(str_is(rt_tls_info(s2.s)->peer->cn, "mallory"));
    end_both(&s2, &c2);
    rt_tls_server_unref(st);
    rt_tls_client_unref(ct);
    rt_free(rt);
}

static void test_bad_options(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_tls_server_opts so = {.cert_pem = str_z(server.cert),
                                    .key_pem = str_z(server.key),
                                    .client_ca_pem = STR("no certificate")};
    struct rt_tls_client_opts co = {.ca_pem = STR("junk")};
    struct rt_tls_server *st = NULL;
    struct rt_tls_client *ct = NULL;
    struct rt_stream *a, *b;
    struct end c = {0}, other = {0};
    struct error err = {0};
    char name[400];

    assert_int_equal(rt_tls_server_new(&so, &err, &st), -EINVAL);
    error_clear(&err);
    so.client_ca_pem = STR_NONE;
    so.key_pem = STR("");
    assert_int_equal(rt_tls_server_new(&so, &err, &st), -EINVAL);
    error_clear(&err);
    assert_int_equal(rt_tls_client_new(&co, &err, &ct), -EINVAL);
    error_clear(&err);
    assert_null(rt_tls_server_unref(NULL));
    assert_null(rt_tls_client_unref(NULL));
    ct = client_new(NULL);
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    rt_stream_pair(rt, &a, &b);
    end_start(&other, b);
    c.s = rt_tls_connect(ct, a, name, on_done, &c);
    rt_stream_set_handler(c.s, &end_handler, &c);
    WAIT(rt, c.done);
    assert_int_equal(c.handshake, -EINVAL);
    end_close(&c);
    end_close(&other);
    rt_tls_client_unref(ct);
    rt_free(rt);
}

/* Over real sockets, many at once, with work on both sides. */
#define MANY 20

struct many {
    struct rt *rt;
    struct rt_tls_server *st;
    struct rt_tls_client *ct;
    struct end s[MANY], c[MANY];
    int accepted, connected;
};

static void many_server_data(void *arg, struct str d)
{
    rt_stream_write(((struct end *)arg)->s, d); /* echo */
}

static void many_server_eof(void *arg)
{
    rt_stream_shutdown(((struct end *)arg)->s);
}

static const struct rt_stream_handler many_server = {
    .on_data = many_server_data, .on_eof = many_server_eof, .on_error = end_error};

static void many_accept(void *arg, int fd)
{
    struct many *m = arg;
    struct end *e = &m->s[m->accepted++];
    struct rt_stream *raw;

    assert_int_equal(rt_stream_from_fd(m->rt, fd, &raw), 0);
    e->s = rt_tls_accept(m->st, raw, on_done, e);
    rt_stream_set_handler(e->s, &many_server, e);
    rt_stream_read_start(e->s);
}

static void many_connect(void *arg, struct rt_stream *raw, int err)
{
    struct many *m = arg;
    struct end *e = &m->c[m->connected++];

    assert_int_equal(err, 0);
    e->s = rt_tls_connect(m->ct, raw, "127.0.0.1", on_done, e);
    end_start(e, e->s);
    for (int i = 0; i < 100; i++)
        rt_stream_write(e->s, STR("0123456789012345678901234567890123456789"));
    rt_stream_shutdown(e->s);
}

static void test_many_over_tcp(void **state)
{
    struct rt *rt = rt_uv_new();
    struct many m = {.rt = rt, .st = server_new(0), .ct = client_new(&client)};
    struct rt_listener *l = NULL;

    assert_int_equal(
        rt_listen(rt, &(struct rt_listen_opts){.addr = "127.0.0.1:0"}, many_accept, &m, NULL, &l),
        0);
    for (int i = 0; i < MANY; i++)
        (void)rt_connect(rt, &(struct rt_connect_opts){.addr = rt_listener_addr(l)}, many_connect,
                         &m);
    WAIT(rt, m.connected == MANY);
    for (int i = 0; i < MANY; i++) {
        WAIT(rt, m.c[i].eof);
        assert_int_equal(m.c[i].got.n, 4000);
        assert_int_equal(m.c[i].err, 0);
    }
    for (int i = 0; i < MANY; i++)
        end_both(&m.s[i], &m.c[i]);
    rt_listener_close(l);
    rt_tls_server_unref(m.st);
    rt_tls_client_unref(m.ct);
    rt_free(rt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_and_info),
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_server_certificates),
        cmocka_unit_test(test_server_certificates_out_of_time),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_one_record_a_turn),
        cmocka_unit_test(test_plain_http_on_tls_port),
        cmocka_unit_test(test_garbage_and_cuts),
        cmocka_unit_test(test_truncation_and_tampering),
        cmocka_unit_test(test_written_before_and_finish),
        cmocka_unit_test(test_close_during_handshake),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_many_over_tcp),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
