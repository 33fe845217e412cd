/* The front: listens, shakes hands, gives connections to the HTTP server of an I/O thread.
 *
 * Every I/O thread has its own loop and listener (the kernel spreads connections), so nothing is
 * shared but the TLS contexts, the discovery documents and the mailboxes of the loops. */
#include "apiserver/front/fan.h"

#include "apiserver/flow/flow_config.h"
#include "base/log.h"

#define HANDSHAKES_MAX 1024 /* of one thread: connections that have not said who they are yet */

struct handshake {
    struct io *io;
    struct rt_stream *tls;
};

static const char plain_answer[] = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"
                                   "Client sent an HTTP request to an HTTPS server.\n";

static void on_handshake(void *arg, int err)
{
    struct handshake *h = arg;
    struct io *io = h->io;
    struct rt_stream *s = h->tls;
    free(h);
    io->n_handshakes--;
    if (err == -EPROTOTYPE) {
        struct rt_stream *plain = rt_tls_take_plain(s);
        rt_stream_write(plain, str_z(plain_answer));
        rt_stream_finish(plain, NSEC_PER_SEC, NULL, NULL);
    } else if (err < 0 || io->stopping) {
        rt_stream_close(s, NULL, NULL);
    } else {
        http_server_accept(io->http, s);
    }
    io_maybe_stopped(io);
}

static void on_accept(void *arg, int fd)
{
    struct io *io = arg;
    struct rt_stream *s;
    if (io->stopping || io->n_handshakes >= HANDSHAKES_MAX) {
        fd_closep(&fd);
        return;
    }
    if (rt_stream_from_fd(io->rt, fd, &s) < 0)
        return;
    struct handshake *h = NEW(struct handshake);
    h->io = io;
    io->n_handshakes++;
    h->tls = rt_tls_accept(io->front->tls, s, on_handshake, h);
}

static const char *error_page(int status, const char *what, struct buf *out, void *arg)
{
    struct api_status st = {.status = STR("Failure"), .message = str_z(what), .code = status};
    (void)arg;
    st.reason = str_z(status == 413   ? "RequestEntityTooLarge"
                      : status == 408 ? "Timeout"
                      : status >= 500 ? "InternalError"
                                      : "BadRequest");
    schema_encode_json(&api_status_desc, &st, SCHEMA_ENCODE_TYPE_META, out);
    return "application/json";
}

/* ---- stop ---- */

static void on_io_stopped(void *arg)
{
    struct io *io = arg;
    struct front *f = io->front;
    io->thread = rt_thread_join(io->thread);
    if (--f->n_running == 0 && f->done)
        f->done(f->done_arg);
}

void io_maybe_stopped(struct io *io)
{
    if (!io->stopping || !io->drained || io->n_exchanges || io->n_handshakes)
        return;
    io->drained = false; /* once */
    rt_post(io->front->server->rt, &io->stopped_post, on_io_stopped, io);
}

static void on_drained(void *arg)
{
    struct io *io = arg;
    io->drained = true;
    io_maybe_stopped(io);
}

static void on_io_stop(void *arg)
{
    struct io *io = arg;
    struct exchange *x;
    io->stopping = true;
    io->listener = rt_listener_close(io->listener);
    io->advertised = rt_listener_close(io->advertised);
    LIST_FOR_EACH (x, &io->exchanges, link)
        if (x->watch && !x->in_core)
            front_watch_end(x);
    exchange_authenticate_again(io);
    proxy_stop(io);
    http_server_drain(io->http, io->stop_timeout_ms, on_drained, io);
}

void front_stop(struct front *f, int64_t timeout_ms, void (*done)(void *arg), void *arg)
{
    f->stopping = true;
    f->done = done;
    f->done_arg = arg;
    for (unsigned i = 0; i < f->n_ios; i++) {
        f->ios[i].stop_timeout_ms = timeout_ms;
        rt_post(f->ios[i].rt, &f->ios[i].stop_post, on_io_stop, &f->ios[i]);
    }
}

struct front *front_free(struct front *f)
{
    if (!f)
        return NULL;
    for (unsigned i = 0; i < f->n_ios; i++) {
        struct io *io = &f->ios[i];
        if (io->thread)
            io->thread = rt_thread_join(io->thread);
        io->listener = rt_listener_close(io->listener);
        io->advertised = rt_listener_close(io->advertised);
        if (io->rt)
            proxy_stop(io);
        authn_forget(io);
        fan_encoded_forget(io);
        if (io->http)
            io->http = http_server_free(io->http);
        if (io->rt) {
            flow_stop(io);
            rt_timer_stop(&io->swagger_timer);
        }
        io->rt = rt_free(io->rt);
    }
    free(f->ios);
    rt_tls_server_unref(f->tls);
    rt_tls_client_unref(f->node_tls);
    rt_tls_client_unref(f->any_tls);
    discovery_free(f->discovery);
    flow_table_unref(f->flows);
    fan_free(f->fan);
    free(f);
    return NULL;
}

/* ---- start ---- */

/* The authority's own certificate is shown too: a machine that joins knows its digest only. */
static char *server_chain(const struct pki *p)
{
    return xasprintf("%s%s", p->server_cert_pem, p->ca_pem);
}

static int make_tls(struct front *f, struct error *err)
{
    const struct pki *p = f->server->pki;
    CLEANUP(freep) char *chain = server_chain(p);
    struct rt_tls_server_opts so = {.cert_pem = str_z(chain),
                                    .key_pem = str_z(p->server_key_pem),
                                    .client_ca_pem = str_z(p->ca_pem)};
    struct rt_tls_client_opts co = {.ca_pem = str_z(p->ca_pem),
                                    .cert_pem = str_z(p->node_client_cert_pem),
                                    .key_pem = str_z(p->node_client_key_pem)};
    struct rt_tls_client_opts any = {.insecure = true};
    int r = rt_tls_server_new(&so, err, &f->tls);
    if (r >= 0)
        r = rt_tls_client_new(&co, err, &f->node_tls);
    return r < 0 ? r : rt_tls_client_new(&any, err, &f->any_tls);
}

/* Pods reach the server by the advertised address; a listener on loopback alone would not hear
 * them. */
static int listen_advertised(struct front *f, struct io *io, struct error *err)
{
    const char *host = f->server->opts.advertise_address;
    struct rt_addr at;
    if (!host || rt_addr_parse(str_z(rt_listener_addr(io->listener)), &at, NULL) < 0 || at.any ||
        at.is_unix || strcmp(at.host, "0.0.0.0") == 0 || strcmp(at.host, host) == 0)
        return 0;
    CLEANUP(freep)
    char *addr =
        xasprintf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, rt_listener_port(io->listener));
    struct rt_listen_opts lo = {.addr = addr, .reuseport = f->n_ios > 1, .freebind = true};
    return rt_listen(io->rt, &lo, on_accept, io, err, &io->advertised);
}

static void on_swagger_timer(void *arg)
{
    struct io *io = arg;
    discovery_idle(io->front->discovery, rt_now(io->rt));
}

static int start_io(struct front *f, struct io *io, const char *addr, struct error *err)
{
    static const struct http_server_opts http = {
        .body_bytes_max = API_BODY_BYTES_MAX, .gzip = true, .error_page = error_page};
    char name[16];
    list_init(&io->exchanges);
    list_init(&io->tunnels);
    list_init(&io->unknown);
    io->front = f;
    io->rt = rt_uv_new();
    if (!io->rt)
        return error_errno(err, errno, "cannot make an I/O loop");
    flow_start(io);
    rt_timer_init(&io->swagger_timer, io->rt, on_swagger_timer, io);
    io->http = http_server_new(io->rt, &http, exchange_handle, io);
    struct rt_listen_opts lo = {.addr = addr, .reuseport = f->n_ios > 1};
    int r = rt_listen(io->rt, &lo, on_accept, io, err, &io->listener);
    if (r >= 0)
        r = listen_advertised(f, io, err);
    if (r < 0)
        return r;
    snprintf(name, sizeof(name), "api-io-%d", (int)(io - f->ios));
    return rt_thread_start(io->rt, name, &io->thread);
}

int front_new(struct apiserver *s, const char *addr, struct front **ret, struct error *err)
{
    struct front *f = NEW(struct front);
    CLEANUP(freep) char *again = NULL;
    f->server = s;
    f->token_key = s->pki->sa_key;
    f->n_ios = s->opts.io_threads;
    f->ios = xcalloc(f->n_ios, sizeof(*f->ios));
    f->discovery = discovery_new(s->kinds, s->remotes);
    f->flows = flow_table_ref(flow_config_table(s->flows));
    flow_count_all(f);
    f->fan = fan_new(s->rt);
    int r = make_tls(f, err);
    for (unsigned i = 0; r >= 0 && i < f->n_ios; i++) {
        r = start_io(f, &f->ios[i], again ? again : addr, err);
        if (r < 0)
            break;
        f->n_running++;
        if (i == 0) { /* port 0: the others take the one that was found */
            f->port = rt_listener_port(f->ios[0].listener);
            again = xstrdup(rt_listener_addr(f->ios[0].listener));
        }
    }
    if (r < 0) {
        front_free(f);
        return r;
    }
    log_info("API server listens on %s", again);
    *ret = f;
    return 0;
}

uint16_t front_port(const struct front *f)
{
    return f->port;
}

void front_set_address(struct front *f, struct str host)
{
    discovery_set_address(f->discovery, host, f->port);
}

static void on_keys(void *arg)
{
    struct io *io = arg;
    atomic_store(&io->keys_told, false);
    exchange_authenticate_again(io);
}

void front_keys_changed(struct front *f)
{
    for (unsigned i = 0; i < f->n_ios; i++)
        if (!atomic_exchange(&f->ios[i].keys_told, true))
            rt_post(f->ios[i].rt, &f->ios[i].keys_post, on_keys, &f->ios[i]);
}

struct rt_tls_client *front_node_tls(const struct front *f)
{
    return f->node_tls;
}

void front_reload_certificates(struct front *f)
{
    const struct pki *p = f->server->pki;
    struct error err = {0};
    CLEANUP(freep) char *chain = server_chain(p);
    int r = rt_tls_server_reload(f->tls, str_z(chain), str_z(p->server_key_pem), STR_NONE, &err);
    if (r >= 0)
        r = rt_tls_client_reload(f->node_tls, str_z(p->node_client_cert_pem),
                                 str_z(p->node_client_key_pem), &err);
    if (r < 0)
        log_warn("renewed certificates could not be taken into use: %.*s", STR_ARG(err.message));
    error_fini(&err);
}
