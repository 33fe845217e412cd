/* One small HTTP server a port. There are few: only load balancers with externalTrafficPolicy Local
 * have one, and the API server gives each port once. */
#include "net/health.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/server.h"
#include "rt/stream.h"

#define RETRY_AFTER     (2 * NSEC_PER_SEC)
#define CONNECTIONS_MAX 64

struct checked { /* one service */
    struct health *health;
    char *key; /* owned; in health.services */
    uint16_t port;
    uint32_t n_local;
    struct rt_listener *listener; /* owned; NULL: the port is taken, to be tried again */
    struct http_server *http;     /* owned */
    bool said;                    /* that the port is taken */
};

struct health {
    struct rt *rt;       /* borrowed */
    struct map services; /* "ns/name" -> struct checked */
    struct rt_timer retry;
};

static void on_request(struct http_request *req, void *arg)
{
    const struct checked *c = arg;
    struct str name = str_z(c->key), ns;
    struct buf body = {0};
    char weight[16];
    (void)str_cut(&name, '/', &ns);
    snprintf(weight, sizeof(weight), "%u", c->n_local);
    buf_printf(&body,
               "{\"service\":{\"namespace\":\"%.*s\",\"name\":\"%.*s\"},\"localEndpoints\":%u,"
               "\"serviceProxyHealthy\":true}\n",
               STR_ARG(ns), STR_ARG(name), c->n_local);
    const struct http_header headers[] = {
        {STR("content-type"), STR("application/json")},
        {STR("x-content-type-options"), STR("nosniff")},
        {STR("x-load-balancing-endpoint-weight"), str_z(weight)},
    };
    size_t n = body.n;
    char *text = buf_take(&body, NULL);
    http_respond(req, c->n_local ? 200 : 503, headers, ARRAY_LEN(headers),
                 http_bytes_take(text, n));
}

static void on_accept(void *arg, int fd)
{
    struct checked *c = arg;
    struct rt_stream *s;
    if (rt_stream_from_fd(c->health->rt, fd, &s) == 0)
        http_server_accept(c->http, s);
}

/* ---- ports ---- */

static void open_port(struct checked *c)
{

    struct error err = {0};
    char addr[32];
    for (size_t i = 0; i < 2 && !c->listener; i++) {
        snprintf(addr, sizeof(addr), i ? "0.0.0.0:%u" : ":%u", c->port); /* hosts without IPv6 */
        error_clear(&err);
        if (rt_listen(c->health->rt, &(struct rt_listen_opts){.addr = addr}, on_accept, c, &err,
                      &c->listener) < 0)
            c->listener = NULL;
    }
    if (c->listener)
        c->said = false;
    else if (!c->said)
        log_warn("net: health check of service %s: %.*s; tried again", c->key,
                 STR_ARG(err.message));
    if (!c->listener) {
        c->said = true;
        if (!rt_timer_active(&c->health->retry))
            rt_timer_start(&c->health->retry, RETRY_AFTER);
    }
    error_fini(&err);
}

static void close_port(struct checked *c)
{
    c->listener = rt_listener_close(c->listener);
    c->http = http_server_free(c->http);
}

static void retry(void *arg)
{
    struct health *h = arg;
    for (struct map_slot *s = NULL; (s = map_next(&h->services, s));) {
        struct checked *c = s->value;
        if (!c->listener)
            open_port(c);
    }
}

static void drop(struct health *h, struct checked *c)
{
    map_remove(&h->services, str_z(c->key));
    close_port(c);
    free(c->key);
    free(c);
}

void health_set(struct health *h, struct str service, uint16_t port, uint32_t n_local)
{
    struct checked *c = map_get(&h->services, service);
    if (!port) {
        if (c)
            drop(h, c);
        return;
    }
    if (!c) {
        c = NEW(struct checked);
        c->health = h;
        c->key = str_dup(service);
        map_set(&h->services, str_z(c->key), c);
    }
    c->n_local = n_local;
    if (c->port == port)
        return;
    close_port(c);
    c->port = port;
    c->http = http_server_new(h->rt, &(struct http_server_opts){.connections_max = CONNECTIONS_MAX},
                              on_request, c);
    open_port(c);
}

/* ---- life ---- */

struct health *health_new(struct rt *rt)
{
    struct health *h = NEW(struct health);
    h->rt = rt;
    rt_timer_init(&h->retry, rt, retry, h);
    return h;
}

struct health *health_free(struct health *h)
{
    if (!h)
        return NULL;
    rt_timer_stop(&h->retry);
    for (struct map_slot *s = NULL; (s = map_next(&h->services, s));) {
        struct checked *c = s->value;
        close_port(c);
        free(c->key);
        free(c);
    }
    map_fini(&h->services);
    free(h);
    return NULL;
}
