/* kubectl port-forward into a pod: each forwarded connection is a TCP connection made inside the
 * pod's network namespace (to its loopback, so what listens on 127.0.0.1 is reached). Two
 * protocols: SPDY "portforward.k8s.io": per connection two streams with the same requestid, "data"
 * and "error", their port in a header. WebSocket "v4.channel.k8s.io"/"portforward.k8s.io" family:
 * per port two channels 2i (data) and 2i+1 (error), each opened by the server with the port as two
 * little-endian bytes; ports in the query. kubectl 1.31+ tunnels SPDY in WebSocket at the API
 * server, which unpacks it. */
#include "node/api.h"
#include "node/api_args.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/spdy.h"
#include "http/ws.h"
#include "node/fsutil.h"
#include "sys/netns.h"

#define CONNECTIONS_MAX 256

struct forward;

struct forwarded { /* one connection */
    struct list link;
    struct forward *f;
    uint16_t port;
    char *request_id;
    struct spdy_stream *data, *error;
    int ws_channel; /* of its data; -1: SPDY */
    struct rt_connect *connecting;
    struct rt_stream *tcp;
    struct buf early; /* came before the connection was made */
    bool peer_fin, tcp_eof;
};

struct forward {
    struct node *node;
    char *uid;
    struct spdy *spdy;
    struct ws *ws;
    struct list conns;
    unsigned n;
    struct rt_task open_task;
    uint16_t ports[API_PORTS_MAX];
    unsigned n_ports;
};

/* ---- the socket inside of the pod ---- */

static int make_socket(void *arg)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

/* A socket belongs to the namespace it was made in, wherever it is used. */
static int socket_in_pod(const struct pod *p)
{
    if (pod_msg(p)->spec.host_network)
        return make_socket(NULL);
    CLEANUP(fd_closep) int ns = open(fs_path("%s/ns/net", p->dir).s, O_RDONLY | O_CLOEXEC);
    return ns < 0 ? -errno : netns_run(ns, make_socket, NULL);
}

/* ---- one connection ---- */

static void conn_free(struct forwarded *c)
{
    list_remove(&c->link);
    c->f->n--;
    rt_connect_cancel(c->connecting);
    if (c->tcp)
        rt_stream_close(c->tcp, NULL, NULL);
    if (c->data)
        spdy_stream_set_user(c->data, NULL);
    if (c->error)
        spdy_stream_set_user(c->error, NULL);
    buf_fini(&c->early);
    free(c->request_id);
    free(c);
}

static void send_data(struct forwarded *c, struct str data)
{
    if (c->ws_channel >= 0) {
        char head = (char)c->ws_channel;
        (void)!ws_send2(c->f->ws, WS_BINARY, (struct str){&head, 1}, data);
    } else if (c->data) {
        (void)!spdy_stream_write(c->data, http_bytes_copy(data));
    }
}

static bool peer_congested(const struct forwarded *c)
{
    return c->ws_channel >= 0 ? ws_congested(c->f->ws) : c->data && spdy_stream_congested(c->data);
}

static void send_error(struct forwarded *c, const char *text)
{
    if (c->ws_channel >= 0) {
        char head = (char)(c->ws_channel + 1);
        (void)!ws_send2(c->f->ws, WS_BINARY, (struct str){&head, 1}, str_z(text));
    } else if (c->error) {
        (void)!spdy_stream_write(c->error, http_bytes_copy(str_z(text)));
    }
}

static void conn_end(struct forwarded *c)
{
    if (c->error)
        spdy_stream_fin(c->error);
    if (c->data)
        spdy_stream_fin(c->data);
    if (c->ws_channel >= 0)
        ws_close(c->f->ws, 1000, STR_NONE);
    conn_free(c);
}

static void on_tcp_data(void *arg, struct str data)
{
    struct forwarded *c = arg;
    send_data(c, data);
    if (peer_congested(c))
        rt_stream_read_stop(c->tcp);
}

static void on_tcp_eof(void *arg)
{
    struct forwarded *c = arg;
    c->tcp_eof = true;
    if (c->data)
        spdy_stream_fin(c->data);
    if (c->peer_fin || c->ws_channel >= 0)
        conn_end(c);
}

static void on_tcp_error(void *arg, int err)
{
    struct forwarded *c = arg;
    conn_end(c);
}

static void on_tcp_drain(void *arg)
{
    struct forwarded *c = arg;
    if (c->data)
        spdy_stream_pause(c->data, false);
    else if (c->ws_channel >= 0)
        ws_pause(c->f->ws, false);
}

static const struct rt_stream_handler tcp_handler = {.on_data = on_tcp_data,
                                                     .on_eof = on_tcp_eof,
                                                     .on_error = on_tcp_error,
                                                     .on_drain = on_tcp_drain};

static void on_connected(void *arg, struct rt_stream *s, int err)
{
    struct forwarded *c = arg;
    c->connecting = NULL;
    if (!s) {
        struct fs_path text = fs_path("failed to connect to localhost:%u inside the pod: %s",
                                      c->port, strerror(-err));
        send_error(c, text.s);
        conn_end(c);
        return;
    }
    c->tcp = s;
    rt_stream_set_handler(s, &tcp_handler, c);
    rt_stream_write_buf(s, &c->early);
    if (c->peer_fin)
        rt_stream_shutdown(s);
    rt_stream_read_start(s);
}

static void conn_start(struct forwarded *c)
{
    struct pod *p = map_get(&c->f->node->pods, str_z(c->f->uid));
    char addr[32];
    snprintf(addr, sizeof(addr), "127.0.0.1:%u", c->port);
    int fd = p ? socket_in_pod(p) : -ENOENT;
    if (fd < 0) {
        send_error(c, "the pod's network is not there");
        conn_end(c);
        return;
    }
    struct rt_connect_opts o = {.addr = addr, .socket_fd = fd};
    c->connecting = rt_connect(c->f->node->rt, &o, on_connected, c);
}

/* From the client to the pod. */
static void conn_input(struct forwarded *c, struct str data)
{
    if (!c->tcp) {
        buf_add_str(&c->early, data);
        return;
    }
    rt_stream_write(c->tcp, data);
    if (!rt_stream_congested(c->tcp))
        return;
    if (c->data)
        spdy_stream_pause(c->data, true);
    else
        ws_pause(c->f->ws, true);
}

static struct forwarded *conn_new(struct forward *f)
{
    if (f->n >= CONNECTIONS_MAX)
        return NULL;
    struct forwarded *c = NEW(struct forwarded);
    c->f = f;
    c->ws_channel = -1;
    c->early.limit_bytes = 4 << 20;
    list_push_back(&f->conns, &c->link);
    f->n++;
    return c;
}

static void forward_free(struct forward *f)
{
    rt_task_cancel(&f->open_task);
    while (!list_empty(&f->conns))
        conn_free(LIST_FIRST(&f->conns, struct forwarded, link));
    free(f->uid);
    free(f);
}

/* ---- SPDY ---- */

static void on_open_task(void *arg)
{
    struct forward *f = arg;
    struct forwarded *c;
    LIST_FOR_EACH (c, &f->conns, link)
        if (c->data && c->error && !c->tcp && !c->connecting)
            conn_start(c);
}

static int on_spdy_open(struct spdy *s, struct spdy_stream *st, const struct http_header *h,
                        size_t n, void *arg)
{
    struct forward *f = arg;
    struct str type = http_header_get(h, n, STR("streamtype")),
               port = http_header_get(h, n, STR("port"));
    struct str id = http_header_get(h, n, STR("requestid"));
    int64_t v;
    bool data = str_is(type, "data");
    if ((!data && !str_is(type, "error")) || str_to_i64(port, &v) < 0 || v < 1 || v > 65535)
        return -EINVAL;
    struct forwarded *c = NULL, *found = NULL;
    LIST_FOR_EACH (c, &f->conns, link)
        if (str_eqz(id, c->request_id) && c->port == v && !(data ? c->data : c->error))
            found = c;
    if (!found) {
        found = conn_new(f);
        if (!found)
            return -EBUSY;
        found->request_id = str_dup(id);
        found->port = (uint16_t)v;
    }
    if (data)
        found->data = st;
    else
        found->error = st;
    spdy_stream_set_user(st, found);
    rt_task_schedule(&f->open_task);
    return 0;
}

static void on_spdy_data(struct spdy_stream *st, const void *p, size_t n, void *arg)
{
    struct forwarded *c = spdy_stream_user(st);
    if (c && st == c->data)
        conn_input(c, (struct str){p, n});
}

static void on_spdy_fin(struct spdy_stream *st, void *arg)
{
    struct forwarded *c = spdy_stream_user(st);
    if (!c || st != c->data)
        return;
    c->peer_fin = true;
    if (c->tcp)
        rt_stream_shutdown(c->tcp);
    if (c->tcp_eof)
        conn_end(c);
}

static void on_spdy_drain(struct spdy_stream *st, void *arg)
{
    struct forwarded *c = spdy_stream_user(st);
    if (c && c->tcp && !c->tcp_eof)
        rt_stream_read_start(c->tcp);
}

static void on_spdy_stream_close(struct spdy_stream *st, int err, void *arg)
{
    struct forwarded *c = spdy_stream_user(st);
    if (!c)
        return;
    bool data = st == c->data;
    if (data)
        c->data = NULL;
    else
        c->error = NULL;
    if (data) {
        if (c->error)
            spdy_stream_fin(c->error);
        conn_free(c);
    }
}

static void on_spdy_close(struct spdy *s, int err, void *arg)
{
    forward_free(arg);
}

static const struct spdy_callbacks spdy_cb = {.on_open = on_spdy_open,
                                              .on_data = on_spdy_data,
                                              .on_fin = on_spdy_fin,
                                              .on_drain = on_spdy_drain,
                                              .on_stream_close = on_spdy_stream_close,
                                              .on_close = on_spdy_close};

/* ---- WebSocket ---- */

static struct forwarded *conn_of_channel(struct forward *f, int ch)
{
    struct forwarded *c;
    LIST_FOR_EACH (c, &f->conns, link)
        if (c->ws_channel == ch)
            return c;
    return NULL;
}

static void on_ws_message(struct ws *ws, enum ws_opcode op, const void *p, size_t n, void *arg)
{
    struct forwarded *c = n > 1 ? conn_of_channel(arg, *(const unsigned char *)p) : NULL;
    if (c)
        conn_input(c, (struct str){(const char *)p + 1, n - 1});
}

static void on_ws_drain(struct ws *ws, void *arg)
{
    struct forward *f = arg;
    struct forwarded *c;
    LIST_FOR_EACH (c, &f->conns, link)
        if (c->tcp && !c->tcp_eof)
            rt_stream_read_start(c->tcp);
}

static void on_ws_close(struct ws *ws, int code, struct str reason, int err, void *arg)
{
    forward_free(arg);
}

static const struct ws_callbacks ws_cb = {
    .on_message = on_ws_message, .on_drain = on_ws_drain, .on_close = on_ws_close};

static void on_ws_open(void *arg)
{
    struct forward *f = arg;
    for (unsigned i = 0; i < f->n_ports; i++) {
        const char port[2] = {(char)(f->ports[i] & 0xff), (char)(f->ports[i] >> 8)};
        for (int k = 0; k < 2; k++) {
            char head = (char)(i * 2 + (unsigned)k);
            (void)!ws_send2(f->ws, WS_BINARY, (struct str){&head, 1}, (struct str){port, 2});
        }
        struct forwarded *c = conn_new(f);
        c->ws_channel = (int)i * 2;
        c->port = f->ports[i];
    }
    for (unsigned i = 0; i < f->n_ports; i++) {
        struct forwarded *c = conn_of_channel(f, (int)i * 2);
        if (c)
            conn_start(c);
    }
}

/* ---- the request ---- */

static bool parse_ports(struct api_call *c, struct forward *f)
{
    int n = api_args_ports(c->req->query, &c->req->arena, f->ports);
    f->n_ports = n > 0 ? (unsigned)n : 0;
    return n > 0;
}

void api_port_forward(struct api_call *c)
{
    static const char *const spdy_names[] = {"portforward.k8s.io"};
    static const char *const ws_names[] = {"v4.channel.k8s.io", "portforward.k8s.io",
                                           "channel.k8s.io"};
    struct pod *p = api_find_pod(c);
    if (!p)
        return;
    bool ws = ws_requested(c->req);
    if (!ws && !spdy_requested(c->req)) {
        api_fail(c->req, 400, "Upgrade request required");
        return;
    }
    if (p->sm.state != POD_RUNNING) {
        api_fail(c->req, 400,
                 "unable to forward port because pod is not running. Current status=%.*s",
                 STR_ARG(pod_phase(p)));
        return;
    }
    struct forward *f = NEW(struct forward);
    int protocol;
    f->node = c->node;
    f->uid = xstrdup(p->uid);
    list_init(&f->conns);
    rt_task_init(&f->open_task, c->node->rt, ws ? on_ws_open : on_open_task, f);
    if (ws) {
        if (!parse_ports(c, f)) {
            api_fail(c->req, 400, "query parameter \"port\" is required");
            forward_free(f);
            return;
        }
        struct ws_opts o = {.queue_bytes_max = 8 << 20};
        f->ws = ws_accept(c->req, ws_names, ARRAY_LEN(ws_names), &o, &ws_cb, f, &protocol);
        if (f->ws)
            rt_task_schedule(&f->open_task);
    } else {
        struct spdy_opts o = {.stream_queue_bytes_max = 8 << 20,
                              .streams_max = 2 * CONNECTIONS_MAX};
        f->spdy =
            spdy_accept(c->req, spdy_names, ARRAY_LEN(spdy_names), &o, &spdy_cb, f, &protocol);
    }
    if (!f->ws && !f->spdy)
        forward_free(f);
}
