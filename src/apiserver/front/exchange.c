/* One request on an I/O thread: who asks, for what, with which body; over to the core thread; the
 * answer.
 *
 * The http_request stays ours until it is finished, also when the client goes away meanwhile, and
 * the call returns from the core in every case; so neither thread ever frees what the other holds.
 */
#include "apiserver/front/relay.h"
#include "apiserver/auth/impersonate.h"
#include "schema/select.h"

#include <stdarg.h>

#define UNKNOWN_ROUNDS_MAX 8 /* fetches of keys a token waits for: others bring some, too */

static void let_go(struct exchange *x)
{
    struct io *io = x->io;
    if (x->counted) {
        x->counted = false;
        io->n_in_flight--;
        atomic_fetch_sub_explicit(&io->metrics.in_flight, 1, memory_order_relaxed);
    }
    flow_leave(x);
    if (x->unknown_key) {
        list_remove(&x->unknown_link);
        io->n_unknown--;
    }
    list_remove(&x->link);
    io->n_exchanges--;
    api_call_free(x->call);
    custom_unref(x->route.kind);
    remote_unref(x->remote);
    flow_table_unref(x->flow_table);
    free(x);
    io_maybe_stopped(io);
}

void exchange_release(struct exchange *x)
{
    ASSERT(!x->in_core);
    audit_end(x, 200);
    let_go(x);
}

void exchange_answer(struct exchange *x, int code, const char *content_type, struct http_bytes body,
                     const struct http_header *extra, size_t n_extra)
{
    struct http_header h[48];
    size_t n = 0;
    ASSERT(!x->in_core && n_extra + 7 < ARRAY_LEN(h));
    if (content_type)
        h[n++] = (struct http_header){STR("content-type"), str_z(content_type)};
    bool caching = false;
    for (size_t i = 0; i < n_extra; i++) {
        caching |= str_is(extra[i].name, "cache-control");
        h[n++] = extra[i];
    }
    if (!caching)
        h[n++] = (struct http_header){STR("cache-control"), STR("no-cache, private")};
    if (x->call->id.n)
        h[n++] = (struct http_header){STR("audit-id"), x->call->id};
    n += flow_headers(x, h + n);
    metrics_count(&x->io->metrics, x->route.verb, code, rt_now(x->io->rt) - x->req->started);
    audit_end(x, code);
    struct http_request *req = x->req;
    /* These hold values of headers, which http_respond copies. */
    struct api_call *call = x->call;
    struct flow_table *flows = x->flow_table;
    x->call = NULL;
    flow_leave(x);
    x->flow_table = NULL;
    let_go(x);
    http_respond(req, code, h, n, body);
    api_call_free(call);
    flow_table_unref(flows);
}

void exchange_answer_buf(struct exchange *x, int code, const char *content_type, struct buf *b)
{
    size_t n;
    char *p = buf_take(b, &n);
    exchange_answer(x, code, content_type, http_bytes_take(p, n), NULL, 0);
}

void exchange_fail(struct exchange *x, int r)
{
    ASSERT(r < 0);
    x->call->reply.r = r;
    if (x->call->reply.err.reason == REASON_NONE)
        (void)error_set(&x->call->reply.err, error_reason_from_errno(r), "%s", strerror(-r));
    encode_reply(x);
}

void exchange_refuse(struct exchange *x, enum error_reason reason, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    exchange_fail(x, error_set(&x->call->reply.err, reason, "%s", text));
}

/* ---- to the core and back ---- */

static void on_reply(void *arg)
{
    struct api_call *c = arg;
    struct exchange *x = c->arg;
    x->in_core = false;
    x->watch = c->watch;
    if (x->gone && !x->watch) { /* the peer left: finishing frees the request */
        exchange_answer(x, 499, NULL, HTTP_BYTES_NONE, NULL, 0);
        return;
    }
    if (c->reply.r < 0)
        encode_reply(x);
    else if (c->verb == API_WATCH) {
        audit_started(x);
        flow_leave(x); /* it costs by its events from now on */
        front_watch_begin(x);
    } else if (c->verb == API_CONNECT || c->verb == API_PROXY) {
        if (c->verb == API_CONNECT || c->proxy->is_long)
            audit_started(x);
        flow_leave(x); /* how long the other side takes is no concern of who waits here */
        proxy_start(x);
    } else if (c->verb == API_PATH)
        path_answer(x);
    else
        encode_reply(x);
}

/* Core thread. */
static void on_done(struct api_call *c)
{
    struct exchange *x = c->arg;
    if (c->reply.r >= 0 && c->verb == API_PATH)
        path_core(c);
    else if (c->reply.r >= 0 && c->verb == API_WATCH)
        (void)front_watch_core(c);
    flow_count(x->io->front, c);
    rt_post(x->io->rt, &c->post, on_reply, c);
}

static void on_core(void *arg)
{
    api_call_start(arg);
}

void exchange_to_core(struct exchange *x)
{
    struct api_call *c = x->call;
    x->in_core = true;
    c->arg = x;
    c->done = on_done;
    rt_post(x->io->front->server->rt, &c->post, on_core, c);
}

/* ---- the request ---- */

static void on_close(struct http_request *req, void *arg)
{
    struct exchange *x = arg;
    (void)req;
    x->gone = true;
    if (x->in_core) /* on_reply sees to it */
        return;
    if (x->watch)
        front_watch_end(x);
    else if (x->tunnel)
        proxy_cancel(x);
    else /* the body broke off; the library has answered */
        exchange_answer(x, 499, NULL, HTTP_BYTES_NONE, NULL, 0);
}

static void on_body(struct http_request *req, void *arg)
{
    struct exchange *x = arg;
    int r = decode_body(x, req->body);
    if (r >= 0)
        audit_body(x);
    if (r < 0)
        exchange_fail(x, r);
    else
        exchange_to_core(x);
}

/* Who may read one object may list and watch that one as well: the name a field selector demands is
 * what is authorized, as in Kubernetes. Absent: none. */
static struct str selected_name(struct api_call *c)
{
    struct field_selector s;
    if (!c->opts.field_selector.n ||
        field_selector_parse(&c->arena, c->kind, c->opts.field_selector, &s, NULL) < 0)
        return STR_NONE;
    struct str name = field_selector_exact(&s, STR("metadata.name"));
    bool fits = !str_is(name, ".") && !str_is(name, "..") && str_find(name, '/') < 0 &&
                str_find(name, '%') < 0;
    return fits ? name : STR_NONE;
}

static void fill_call(struct exchange *x)
{
    struct api_call *c = x->call;
    const struct route *r = &x->route;
    c->verb = r->verb;
    c->authz_verb = r->authz_verb;
    c->kind = c->proxy ? c->proxy->kind : r->kind;
    c->ns = r->ns;
    c->name = r->name;
    c->subresource = r->subresource;
    c->query = x->req->query;
    if ((r->verb == API_LIST || r->verb == API_WATCH) && !r->name.n) {
        c->name = selected_name(c);
        c->name_selected = c->name.n > 0;
    }
    if (r->verb == API_WATCH && r->name.n) { /* as a watch of the collection, cut to one name */
        c->opts.field_selector =
            c->opts.field_selector.n
                ? arena_printf(&c->arena, "%.*s,metadata.name=%.*s",
                               STR_ARG(c->opts.field_selector), STR_ARG(r->name))
                : arena_printf(&c->arena, "metadata.name=%.*s", STR_ARG(r->name));
    }
}

/* What is asked for is one thing, or many; a form that fits neither is refused. */
static int check_form(struct exchange *x)
{
    const struct route *r = &x->route;
    bool list = r->verb == API_LIST;
    if (x->accept.as == AS_PARTIAL && list)
        return call_error(x->call, REASON_NOT_ACCEPTABLE,
                          "you requested PartialObjectMetadata, but the requested object is a list "
                          "(*%s.%s)",
                          r->kind->version, r->kind->list_kind ? r->kind->list_kind : "List");
    if (x->accept.as == AS_PARTIAL_LIST && !list && r->verb != API_WATCH &&
        r->verb != API_DELETE_COLLECTION)
        return call_error(x->call, REASON_NOT_ACCEPTABLE,
                          "you requested PartialObjectMetadataList, but the requested object is "
                          "not a list (*%s.%s)",
                          r->kind->version, r->kind->kind);
    return 0;
}

static int negotiate(struct exchange *x)
{
    struct api_call *c = x->call;
    const struct schema_kind *k = x->route.kind;
    bool json_only = k && k->custom, watch = x->route.verb == API_WATCH;
    int r = accept_parse(http_request_header(x->req, STR("accept")), json_only, &x->accept);
    if (x->route.verb == API_CONNECT || x->route.verb == API_PROXY || x->route.verb == API_PATH) {
        x->unacceptable = r < 0;
        if (r < 0)
            x->accept = (struct accept){.media = MEDIA_JSON};
        return 0;
    }
    if (r >= 0 && watch && x->accept.media == MEDIA_YAML) /* it cannot be cut into events */
        r = -ENOMSG;
    if (r >= 0)
        return k ? check_form(x) : 0;
    x->accept = (struct accept){.media = MEDIA_JSON};
    return call_error(c, REASON_NOT_ACCEPTABLE, "only the following media types are accepted: %s%s",
                      watch ? "application/json;stream=watch"
                            : "application/json, application/yaml",
                      json_only ? ""
                      : watch   ? ", application/vnd.kubernetes.protobuf;stream=watch"
                                : ", application/vnd.kubernetes.protobuf");
}

/* The name of the request, as the client gave it or a new one: in the answer's head, in the audit
 * log and in traces. */
static void read_id(struct exchange *x)
{
    struct str id = http_request_header(x->req, STR("audit-id"));
    bool ok = id.n && id.n <= API_REQUEST_ID_BYTES_MAX;
    for (size_t i = 0; ok && i < id.n; i++)
        ok = id.p[i] > ' ' && id.p[i] < 127;
    if (ok)
        x->call->id = arena_str(&x->call->arena, id);
    else
        make_uid(x->io->rt, &x->call->arena, &x->call->id);
}

static struct exchange *exchange_new(struct io *io, struct http_request *req)
{
    struct exchange *x = NEW(struct exchange);
    x->io = io;
    x->req = req;
    x->call = api_call_new(io->front->server);
    x->route.verb = API_PATH;
    read_id(x);
    req->user = x;
    list_push_back(&io->exchanges, &x->link);
    io->n_exchanges++;
    http_on_close(req, on_close, x);
    return x;
}

void exchange_too_many(struct exchange *x)
{
    atomic_fetch_add_explicit(&x->io->metrics.rejected, 1, memory_order_relaxed);
    x->call->reply.err.retry_after_s = API_RETRY_AFTER_S;
    exchange_refuse(x, REASON_TOO_MANY_REQUESTS, "Too many requests, please try again later.");
}

/* True when it may go on; else it is answered, or waits for its turn. */
static bool admit_load(struct exchange *x)
{
    if (x->io->stopping) {
        exchange_refuse(x, REASON_UNAVAILABLE, "the server is shutting down");
        return false;
    }
    if (x->route.verb == API_CONNECT || (x->call->proxy && x->call->proxy->is_long))
        return true;
    enum flow_verdict v = flow_enter(x);
    if (v == FLOW_FULL)
        exchange_too_many(x);
    return v == FLOW_RUN;
}

/* All that run, of whatever level; watches aside. */
static bool count_load(struct exchange *x)
{
    struct io *io = x->io;
    if (x->route.verb == API_WATCH || x->route.verb == API_CONNECT || x->route.verb == API_PROXY)
        return true;
    if (io->n_in_flight >= API_CALLS_IN_FLIGHT_MAX) {
        exchange_too_many(x);
        return false;
    }
    x->counted = true;
    io->n_in_flight++;
    atomic_fetch_add_explicit(&io->metrics.in_flight, 1, memory_order_relaxed);
    return true;
}

static void start_path(struct exchange *x)
{
    x->call->path = x->req->path;
    x->call->verb = API_PATH;
    exchange_to_core(x);
}

/* It is known who asks; authenticated < 0: it is not. */
static void go_on(struct exchange *x, int authenticated)
{
    struct http_request *req = x->req;
    struct api_call *c = x->call;
    enum route_result found = x->found;
    int r = negotiate(x);
    if (r >= 0 && authenticated < 0)
        r = call_error(c, REASON_UNAUTHORIZED, "Unauthorized");
    if (r >= 0 && impersonate_read(req->headers, req->n_headers, &c->arena, &c->impersonation) < 0)
        r = call_error(c, REASON_BAD_REQUEST, "too many groups or extra values are impersonated");
    if (found == ROUTE_OK && x->route.kind == KIND(CERTIFICATE_SIGNING_REQUEST))
        c->client_address = arena_str(&c->arena, req->peer_addr);
    if (r >= 0 && found == ROUTE_BAD_PATH)
        r = call_error(c, REASON_BAD_REQUEST, "the path is not well formed");
    if (r >= 0 && x->route.verb != API_PROXY) /* its query is for somebody else */
        r = decode_options(x);
    audit_begin(x);
    if (r < 0) {
        exchange_fail(x, r);
        return;
    }
    if (admit_load(x))
        exchange_begin(x);
}

static void stand_aside(struct exchange *x)
{
    x->unknown_key = true;
    x->unknown_rounds++;
    list_push_back(&x->io->unknown, &x->unknown_link);
    x->io->n_unknown++;
}

void exchange_handle(struct http_request *req, void *arg)
{
    struct io *io = arg;
    struct exchange *x = exchange_new(io, req);
    struct api_call *c = x->call;
    enum route_result found;
    if (!aggregate_route(x, &found) && !relay_route(x, &found))
        found = route_find(io->front->server->kinds, req->method, req->path, req->query, &c->arena,
                           &x->route);
    x->found = found;
    if (found == ROUTE_NOT_FOUND || found == ROUTE_BAD_METHOD)
        unserved_route(x);
    enum oidc_wait wait = io->n_unknown < API_UNKNOWN_KEYS_MAX ? OIDC_WAIT : OIDC_WAIT_NOT;
    int r = authn_request(io, req, wait, c);
    if (r == -EAGAIN)
        stand_aside(x);
    else
        go_on(x, r);
}

void exchange_authenticate_again(struct io *io)
{
    for (size_t n = io->n_unknown; n && io->n_unknown; n--) {
        struct exchange *x = LIST_FIRST(&io->unknown, struct exchange, unknown_link);
        bool still = !io->stopping && x->unknown_rounds < UNKNOWN_ROUNDS_MAX;
        list_remove(&x->unknown_link);
        io->n_unknown--;
        x->unknown_key = false;
        int r = authn_request(io, x->req, still ? OIDC_WAIT_STILL : OIDC_WAIT_NOT, x->call);
        if (r == -EAGAIN)
            stand_aside(x);
        else
            go_on(x, r);
    }
}

void exchange_begin(struct exchange *x)
{
    if (!count_load(x))
        return;
    fill_call(x);
    if (x->route.verb == API_PATH)
        start_path(x);
    else if (x->route.needs_body || x->route.optional_body)
        http_request_body(x->req, API_BODY_BYTES_MAX, on_body, x);
    else
        exchange_to_core(x);
}
