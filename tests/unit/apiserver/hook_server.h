/* An HTTPS server on the test's own loop that stands for a webhook, and its certificates. */
#pragma once

#include "base/mem.h"
#include "http/server.h"
#include "rt/crypto.h"
#include "rt/rt.h"
#include "rt/stream.h"
#include "rt/tls.h"
#include "test.h"

#include <stdio.h>

struct hook_server {
    struct rt *rt;
    struct http_server *http;
    struct rt_listener *listener;
    struct rt_tls_server *tls;
    char *ca_pem;
    uint16_t port;
    unsigned accepted, handled;
    char target[256];                                    /* path and query of the last request */
    void (*handle)(struct http_request *req, void *arg); /* body is read */
    void *arg;
};

struct hook_handshake {
    struct hook_server *h;
    struct rt_stream *s;
};

static inline void hook_certs(struct hook_server *h)
{
    struct pkey *ca_key = pkey_new_p256(), *key = pkey_new_p256();
    struct str names[] = {STR("localhost"), STR("hook.default.svc")}, ip = STR("127.0.0.1");
    struct cert_spec spec = {.cn = names[0],
                             .dns = names,
                             .n_dns = ARRAY_LEN(names),
                             .ips = &ip,
                             .n_ips = 1,
                             .for_server = true,
                             .not_after_s = INT64_C(4000000000)};
    struct cert *ca, *cert;
    assert_int_equal(cert_new_ca(ca_key, STR("test"), INT64_C(4000000000), NULL, &ca), 0);
    assert_int_equal(cert_issue(ca, ca_key, key, &spec, NULL, &cert), 0);
    char *cert_pem = cert_to_pem(cert), *key_pem = pkey_to_pem(key);
    struct rt_tls_server_opts o = {.cert_pem = str_z(cert_pem), .key_pem = str_z(key_pem)};
    assert_int_equal(rt_tls_server_new(&o, NULL, &h->tls), 0);
    h->ca_pem = cert_to_pem(ca);
    free(cert_pem);
    free(key_pem);
    cert_free(ca);
    cert_free(cert);
    pkey_free(ca_key);
    pkey_free(key);
}

static inline void hook_on_handshake(void *arg, int err)
{
    struct hook_handshake *x = arg;
    if (err || !x->h->http)
        rt_stream_close(x->s, NULL, NULL);
    else
        http_server_accept(x->h->http, x->s);
    free(x);
}

static inline void hook_on_accept(void *arg, int fd)
{
    struct hook_server *h = arg;
    struct hook_handshake *x = NEW(struct hook_handshake);
    struct rt_stream *s;
    h->accepted++;
    assert_int_equal(rt_stream_from_fd(h->rt, fd, &s), 0);
    x->h = h;
    x->s = rt_tls_accept(h->tls, s, hook_on_handshake, x);
}

static inline void hook_on_body(struct http_request *req, void *arg)
{
    struct hook_server *h = arg;
    h->handle(req, h->arg);
}

static inline void hook_on_close(struct http_request *req, void *arg)
{
    (void)arg;
    http_stream_abort(req);
}

static inline void hook_on_request(struct http_request *req, void *arg)
{
    struct hook_server *h = arg;
    h->handled++;
    snprintf(h->target, sizeof(h->target), "%.*s?%.*s", STR_ARG(req->path), STR_ARG(req->query));
    http_on_close(req, hook_on_close, h);
    http_request_body(req, 16 << 20, hook_on_body, h);
}

static inline void hook_server_start(struct hook_server *h, struct rt *rt,
                                     void (*handle)(struct http_request *req, void *arg), void *arg)
{
    struct rt_listen_opts lo = {.addr = "127.0.0.1:0"};
    *h = (struct hook_server){.rt = rt, .handle = handle, .arg = arg};
    hook_certs(h);
    h->http = http_server_new(rt, NULL, hook_on_request, h);
    assert_int_equal(rt_listen(rt, &lo, hook_on_accept, h, NULL, &h->listener), 0);
    h->port = rt_listener_port(h->listener);
}

/* Stops listening and cuts what is connected. */
static inline void hook_server_stop(struct hook_server *h)
{
    h->listener = rt_listener_close(h->listener);
    h->http = http_server_free(h->http);
    rt_tls_server_unref(h->tls);
    h->tls = NULL;
    free(h->ca_pem);
    h->ca_pem = NULL;
}
