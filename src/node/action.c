/* The five things a probe or a lifecycle hook can be: run a command in the container, GET a page,
 * open a TCP connection, ask a gRPC health service, sleep. One outcome each, within its timeout;
 * cancelled without a callback. */
#include "node/agent.h"

#include "base/mem.h"
#include "http/client.h"
#include "rt/stream.h"
#include "rt/tls.h"

#define OUTPUT_BYTES_MAX 10240 /* of what a probe says, as kubelets keep */
#define GRPC_BYTES_MAX   4096
#define REDIRECTS_MAX    10
#define HEADERS_MAX      64

struct action {
    struct ctr *ctr;
    struct rt *rt;
    action_fn fn;
    void *arg;
    struct rt_timer timeout;
    struct rt_task task; /* an outcome known at once */
    enum action_result result;
    struct buf text;
    bool is_probe, timed_out;
    /* one of them */
    struct runtime_exec *exec;
    struct http_probe *http;
    struct rt_connect *tcp;
    struct http_client *grpc;
    struct http_call *call;
    struct rt_tls_client *tls;
    bool sleeping;
    int grpc_status; /* HTTP */
    int grpc_code;   /* grpc-status; -1: none seen */
    struct buf grpc_body;
};

static void action_free(struct action *a)
{
    rt_timer_stop(&a->timeout);
    rt_task_cancel(&a->task);
    runtime_exec_abandon(a->exec);
    if (a->http)
        http_probe_cancel(a->http);
    rt_connect_cancel(a->tcp);
    if (a->call)
        http_call_cancel(a->call);
    http_client_free(a->grpc);
    rt_tls_client_unref(a->tls);
    buf_fini(&a->text);
    buf_fini(&a->grpc_body);
    free(a);
}

static void finish(struct action *a, enum action_result r)
{
    action_fn fn = a->fn;
    void *arg = a->arg;
    struct buf text = a->text;
    a->text = (struct buf){0};
    action_free(a);
    fn(arg, r, buf_str(&text));
    buf_fini(&text);
}

static void on_task(void *arg)
{
    struct action *a = arg;
    finish(a, a->result);
}

static void later(struct action *a, enum action_result r, const char *text)
{
    a->result = r;
    buf_add_str(&a->text, str_z(text));
    rt_task_schedule(&a->task);
}

static void on_timeout(void *arg)
{
    struct action *a = arg;
    if (a->sleeping) {
        finish(a, ACTION_OK);
        return;
    }
    a->timed_out = true;
    buf_clear(&a->text);
    buf_printf(&a->text, "%s", a->exec ? "command timed out" : "context deadline exceeded");
    finish(a, ACTION_FAILED);
}

/* ---- exec ---- */

static void on_exec_output(void *arg, int stream, struct str data)
{
    struct action *a = arg;
    if (a->text.n < OUTPUT_BYTES_MAX)
        buf_add(&a->text, data.p, MIN(data.n, OUTPUT_BYTES_MAX - a->text.n));
}

static void on_exec_exit(void *arg, int code, const char *message)
{
    struct action *a = arg;
    a->exec = NULL;
    if (code < 0)
        buf_printf(&a->text, "%s", message);
    finish(a, code == 0 ? ACTION_OK : code < 0 ? ACTION_ERROR : ACTION_FAILED);
}

static const struct runtime_exec_callbacks exec_callbacks = {.on_output = on_exec_output,
                                                             .on_exit = on_exec_exit};

static void start_exec(struct action *a, const struct api_exec_action *e)
{
    struct error err = {0};
    a->exec = ctr_exec(a->ctr, e->command, e->n_command, false, false, &exec_callbacks, a, &err);
    if (!a->exec) {
        char *text = str_dup(err.message);
        later(a, ACTION_ERROR, text);
        free(text);
    }
    error_fini(&err);
}

/* ---- where ---- */

static struct str own_address(const struct action *a)
{
    const struct pod *p = a->ctr->pod;
    if (pod_msg(p)->spec.host_network)
        return p->node->host_ip;
    return p->n_ips ? p->ips[0] : STR_NONE;
}

/* A number, or the name of one of the container's ports. 0: there is none. */
static uint16_t port_of(const struct action *a, const struct int_or_str *v)
{
    int64_t n = v->type == INT_OR_STR_INT ? v->i : 0;
    if (v->type == INT_OR_STR_STR) {
        const struct api_container *c = ctr_spec(a->ctr);
        for (uint32_t i = 0; i < c->n_ports; i++)
            if (str_eq(c->ports[i].name, v->s))
                n = c->ports[i].container_port;
        if (n == 0 && str_to_i64(v->s, &n) < 0)
            n = 0;
    }
    return n > 0 && n < 65536 ? (uint16_t)n : 0;
}

/* ---- http ---- */

static void on_http(int status, struct str text, void *arg)
{
    struct action *a = arg;
    a->http = NULL;
    if (status >= 200 && status < 400) {
        buf_add_str(&a->text, text);
        finish(a, status < 300 ? ACTION_OK : ACTION_WARN);
        return;
    }
    if (status > 0)
        buf_printf(&a->text, "HTTP probe failed with statuscode: %d", status);
    else
        buf_printf(&a->text, "Get failed: %.*s", STR_ARG(text));
    finish(a, ACTION_FAILED);
}

static void start_http(struct action *a, const struct api_http_get_action *h, nsec_t timeout)
{
    struct arena ar = {0};
    struct str host = h->host.n ? h->host : own_address(a);
    uint16_t port = port_of(a, &h->port);
    bool https = str_ieq(h->scheme, STR("HTTPS"));
    if (host.n == 0 || port == 0) {
        later(a, ACTION_ERROR, "the probe has no address or port");
        return;
    }
    struct http_header headers[HEADERS_MAX];
    size_t n = 0;
    bool agent = false, accept = false;
    const char *authority = NULL;
    for (uint32_t i = 0; i < h->n_http_headers && n < HEADERS_MAX - 2; i++) {
        struct str name = arena_str(&ar, h->http_headers[i].name), value = h->http_headers[i].value;
        for (size_t k = 0; k < name.n; k++)
            if (name.p[k] >= 'A' && name.p[k] <= 'Z')
                *(char *)(uintptr_t)&name.p[k] += 32;
        if (!http_header_name_valid(name) || !http_header_value_valid(value))
            continue;
        if (str_is(name, "host")) {
            authority = arena_cstr(&ar, value);
            continue;
        }
        agent |= str_is(name, "user-agent");
        accept |= str_is(name, "accept");
        headers[n++] = (struct http_header){name, value};
    }
    if (!agent)
        headers[n++] = (struct http_header){STR("user-agent"), STR("kube-probe/1.36")};
    if (!accept)
        headers[n++] = (struct http_header){STR("accept"), STR("*/*")};
    struct error err = {0};
    if (https) {
        struct rt_tls_client_opts t = {.insecure = true};
        (void)!rt_tls_client_new(&t, &err, &a->tls);
    }
    struct http_probe_opts o = {
        .host = arena_cstr(&ar, host),
        .port = port,
        .authority = authority,
        .headers = headers,
        .n_headers = n,
        .target = h->path.n == 0        ? STR("/")
                  : h->path.p[0] == '/' ? h->path
                                        : arena_printf(&ar, "/%.*s", STR_ARG(h->path)),
        .timeout_ms = MAX(timeout / NSEC_PER_MSEC, 1),
        .redirects_max = REDIRECTS_MAX,
        .tls = a->tls,
    };
    a->http = http_probe_start(a->rt, &o, on_http, a);
    error_fini(&err);
    arena_fini(&ar);
}

/* ---- tcp ---- */

static void on_tcp(void *arg, struct rt_stream *s, int err)
{
    struct action *a = arg;
    a->tcp = NULL;
    if (s)
        rt_stream_close(s, NULL, NULL);
    else
        buf_printf(&a->text, "dial tcp: %s", strerror(-err));
    finish(a, s ? ACTION_OK : ACTION_FAILED);
}

static struct addr_text {
    char s[300];
} address_text(struct str host, uint16_t port)
{
    struct addr_text t;
    bool v6 = str_find(host, ':') >= 0;
    snprintf(t.s, sizeof(t.s), v6 ? "[%.*s]:%u" : "%.*s:%u", (int)MIN(host.n, (size_t)255), host.p,
             port);
    return t;
}

static void start_tcp(struct action *a, const struct api_tcp_socket_action *t, nsec_t timeout)
{
    struct str host = t->host.n ? t->host : own_address(a);
    uint16_t port = port_of(a, &t->port);
    if (host.n == 0 || port == 0) {
        later(a, ACTION_ERROR, "the probe has no address or port");
        return;
    }
    struct addr_text addr = address_text(host, port);
    struct rt_connect_opts o = {.addr = addr.s, .timeout = timeout};
    a->tcp = rt_connect(a->rt, &o, on_tcp, a);
}

/* ---- grpc ---- */

static void on_grpc_head(struct http_call *call, int status, const struct http_header *h, size_t n,
                         void *arg)
{
    struct action *a = arg;
    int64_t v;
    a->grpc_status = status;
    if (str_to_i64(http_header_get(h, n, STR("grpc-status")), &v) == 0)
        a->grpc_code = (int)v;
}

static void on_grpc_data(struct http_call *call, const void *p, size_t n, void *arg)
{
    struct action *a = arg;
    if (a->grpc_body.n + n <= GRPC_BYTES_MAX)
        buf_add(&a->grpc_body, p, n);
}

static void on_grpc_end(struct http_call *call, const struct http_header *h, size_t n, void *arg)
{
    struct action *a = arg;
    int64_t v;
    a->call = NULL;
    if (str_to_i64(http_header_get(h, n, STR("grpc-status")), &v) == 0)
        a->grpc_code = (int)v;
    /* length-prefixed HealthCheckResponse { status = 1 (enum): 1 is SERVING } */
    const unsigned char *b = (const unsigned char *)a->grpc_body.data;
    bool serving = a->grpc_body.n >= 7 && b[0] == 0 && b[5] == 0x08 && b[6] == 1;
    if (a->grpc_status == 200 && a->grpc_code == 0 && serving) {
        buf_add_lit(&a->text, "service healthy");
        finish(a, ACTION_OK);
        return;
    }
    if (a->grpc_code > 0)
        buf_printf(&a->text, "error: health rpc failed with status %d", a->grpc_code);
    else
        buf_printf(&a->text, "service unhealthy (responded with \"%s\")",
                   a->grpc_body.n >= 7 && b[6] == 2 ? "NOT_SERVING" : "UNKNOWN");
    finish(a, ACTION_FAILED);
}

static void on_grpc_error(struct http_call *call, int err, const char *what, void *arg)
{
    struct action *a = arg;
    a->call = NULL;
    buf_printf(&a->text, "failed to connect service: %s", what && *what ? what : strerror(-err));
    finish(a, ACTION_FAILED);
}

static const struct http_client_callbacks grpc_callbacks = {.on_head = on_grpc_head,
                                                            .on_data = on_grpc_data,
                                                            .on_end = on_grpc_end,
                                                            .on_error = on_grpc_error};

static void start_grpc(struct action *a, const struct api_grpc_action *g, nsec_t timeout)
{
    struct str host = own_address(a);
    if (host.n == 0 || g->port <= 0 || g->port > 65535 || g->service.n > 100) {
        later(a, ACTION_ERROR, "the probe has no address or port");
        return;
    }
    struct addr_text name = {{0}};
    snprintf(name.s, sizeof(name.s), "%.*s", STR_ARG(host));
    struct http_target target = {.host = name.s, .port = (uint16_t)g->port};
    struct http_client_opts opts = {.protocol = HTTP_CLIENT_HTTP2};
    a->grpc = http_client_new(a->rt, &target, NULL, &opts);
    a->grpc_code = -1;
    /* HealthCheckRequest { service = 1 (string) } behind a byte "not compressed" and the length */
    struct buf body = {0};
    size_t len = g->service.n ? g->service.n + 2 : 0;
    const char prefix[5] = {0, 0, 0, 0, (char)len};
    buf_add(&body, prefix, sizeof(prefix));
    if (len) {
        buf_add_char(&body, 0x0a);
        buf_add_char(&body, (char)g->service.n);
        buf_add_str(&body, g->service);
    }
    const struct http_header headers[] = {{STR("content-type"), STR("application/grpc")},
                                          {STR("te"), STR("trailers")},
                                          {STR("user-agent"), STR("kube-probe/1.36")}};
    size_t n;
    char *bytes = buf_take(&body, &n);
    struct http_client_request r = {.method = STR("POST"),
                                    .target = STR("/grpc.health.v1.Health/Check"),
                                    .headers = headers,
                                    .n_headers = ARRAY_LEN(headers),
                                    .body = http_bytes_take(bytes, n),
                                    .timeout_ms = MAX(timeout / NSEC_PER_MSEC, 1)};
    a->call = http_client_request(a->grpc, &r, &grpc_callbacks, a);
}

/* ---- all ---- */

struct action *action_start(struct ctr *c, const struct action_opts *o, action_fn fn, void *arg)
{
    struct action *a = NEW(struct action);
    a->ctr = c;
    a->rt = c->pod->node->rt;
    a->fn = fn;
    a->arg = arg;
    a->is_probe = o->is_probe;
    rt_timer_init(&a->timeout, a->rt, on_timeout, a);
    rt_task_init(&a->task, a->rt, on_task, a);
    nsec_t timeout = o->timeout;
    if (timeout > 0)
        rt_timer_start(&a->timeout, timeout);
    nsec_t net = timeout > 0 ? timeout : 30 * NSEC_PER_SEC;
    if (o->exec) {
        start_exec(a, o->exec);
    } else if (o->http_get) {
        start_http(a, o->http_get, net);
    } else if (o->tcp_socket) {
        start_tcp(a, o->tcp_socket, net);
    } else if (o->grpc) {
        start_grpc(a, o->grpc, net);
    } else if (o->sleep) {
        nsec_t span = nsec_of_s(MAX(o->sleep->seconds, 0));
        a->sleeping = true;
        rt_timer_start(&a->timeout, timeout > 0 ? MIN(timeout, span) : span);
    } else {
        later(a, ACTION_ERROR, "missing probe handler");
    }
    return a;
}

struct action *action_cancel(struct action *a)
{
    if (a)
        action_free(a);
    return NULL;
}
