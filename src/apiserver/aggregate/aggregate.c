/* Requests for versions that another server serves. They are authenticated and authorized here as
 * any other, by what their path says they are about; then they go to an endpoint of the Service, in
 * the name of who asks. The front proxy's certificate makes that server believe the X-Remote-
 * headers, so what the client sent under these names never gets there. */
#include "apiserver/aggregate/aggregate.h"

#include "apiserver/front/relay.h"
#include "apiserver/hooks/outcall.h"

/* ---- I/O thread: is it one? ---- */

static enum route_result about(struct exchange *x, struct str path)
{
    struct api_call *c = x->call;
    struct request_info i;
    if (request_info_read(x->req->method_name, path, x->req->query, &c->arena, &i) < 0)
        return ROUTE_BAD_PATH;
    struct api_proxy *p = c->proxy = ARENA_NEW(&c->arena, struct api_proxy);
    p->remote = x->remote;
    p->group = i.group;
    p->version = i.version;
    p->resource = i.resource;
    p->is_long = i.is_long || x->req->wants_upgrade;
    x->route = (struct route){.verb = API_PROXY,
                              .authz_verb = i.verb,
                              .ns = i.ns,
                              .name = i.name,
                              .subresource = i.subresource};
    c->path = x->req->path;
    return ROUTE_OK;
}

bool aggregate_route(struct exchange *x, enum route_result *ret)
{
    struct remotes *rs = x->io->front->server->remotes;
    struct str openapi = STR("/openapi/v3"), apis = STR("/apis/"), path = x->req->path, group,
               version;
    if (str_starts(path, openapi)) /* its document of one version */
        path = str_sub(path, openapi.n, path.n);
    bool document = path.p != x->req->path.p;
    if (!str_starts(path, apis))
        return false;
    struct str rest = str_sub(path, apis.n, path.n);
    if (!str_cut(&rest, '/', &group))
        return false;
    (void)str_cut(&rest, '/', &version);
    x->remote = remotes_find(rs, group, version);
    if (!x->remote)
        return false;
    *ret = about(x, x->req->path);
    if (document && x->call->proxy)
        x->call->proxy->resource = STR_NONE; /* a path, as those of our own */
    if (document && *ret == ROUTE_OK) {
        x->route.ns = x->route.name = x->route.subresource = STR_NONE;
        x->route.authz_verb = "get";
        if (x->req->method != HTTP_METHOD_GET && x->req->method != HTTP_METHOD_HEAD)
            *ret = ROUTE_BAD_METHOD;
    }
    return true;
}

/* ---- core thread ---- */

int verb_proxy(struct api_call *c)
{
    struct remote *r = c->proxy->remote;
    struct outcall_place *places;
    size_t n;
    if (c->proxy->refusal)
        return unserved_answer(c);
    if (!r)
        return relay_resolve(c);
    if (!atomic_load(&r->available) || outcall_resolve(c->server->store, r->ns, r->service, r->port,
                                                       &r->turn, &c->arena, &places, &n, NULL) < 0)
        return 0; /* no address: the front says so in plain text, as Kubernetes */
    c->reply.node_host = places[0].host;
    c->reply.node_port = places[0].port;
    return 0;
}

/* ---- I/O thread: headers ---- */

/* Keys may be URLs; names of headers may not. Kubernetes: transport.headerKeyEscape. */
static struct str extra_name(struct str key, struct arena *a)
{
    static const char hex[] = "0123456789abcdef", plain[] = "!#$&'*+-.^_`|~";
    struct buf b = {0};
    buf_add_lit(&b, "x-remote-extra-");
    for (size_t i = 0; i < key.n; i++) {
        unsigned char ch = (unsigned char)key.p[i];
        if (ch >= 'A' && ch <= 'Z')
            ch |= 0x20;
        if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || (ch && strchr(plain, ch))) {
            buf_add_char(&b, (char)ch);
        } else {
            buf_add_char(&b, '%');
            buf_add_char(&b, hex[ch >> 4]);
            buf_add_char(&b, hex[ch & 15]);
        }
    }
    struct str name = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return name;
}

static bool is_identity(struct str name)
{
    return str_is(name, "x-remote-user") || str_is(name, "x-remote-uid") ||
           str_is(name, "x-remote-group") || str_starts(name, STR("x-remote-extra-"));
}

struct out {
    struct http_header *v;
    size_t n, max;
    bool bad; /* too many, or one that no header can carry */
};

static void add(struct out *o, struct str name, struct str value)
{
    if (o->n == o->max || !http_header_value_valid(value) || !http_header_name_valid(name))
        o->bad = true;
    else
        o->v[o->n++] = (struct http_header){name, value};
}

struct str proxy_forwarded_for(const struct exchange *x)
{
    struct arena *a = &x->call->arena;
    struct str ip = x->req->peer_addr, sent = http_request_header(x->req, STR("x-forwarded-for"));
    ssize_t colon = str_rfind(ip, ':');
    if (colon > 0)
        ip.n = (size_t)colon;
    if (ip.n > 1 && ip.p[0] == '[')
        ip = str_sub(ip, 1, ip.n - 1);
    return sent.n ? arena_printf(a, "%.*s, %.*s", STR_ARG(sent), STR_ARG(ip)) : ip;
}

int aggregate_headers(struct exchange *x, bool upgrade, struct http_header *v, size_t max,
                      size_t *ret_n)
{
    const struct api_user *u = &x->call->user;
    struct arena *a = &x->call->arena;
    struct out o = {.v = v, .max = max};
    for (size_t i = 0; i < x->req->n_headers; i++) {
        const struct http_header *h = &x->req->headers[i];
        bool length = str_is(h->name, "content-length") && x->req->content_length > 0 && !upgrade;
        if (is_identity(h->name) || str_is(h->name, "x-forwarded-for") ||
            (proxy_is_hop(h->name) && !length) || (!upgrade && str_is(h->name, "upgrade")) ||
            str_is(h->name, "expect") || str_is(h->name, "http2-settings"))
            continue;
        add(&o, h->name, h->value);
    }
    add(&o, STR("x-forwarded-for"), proxy_forwarded_for(x));
    add(&o, STR("x-remote-user"), u->name);
    if (u->uid.n)
        add(&o, STR("x-remote-uid"), u->uid);
    for (uint32_t i = 0; i < u->n_groups; i++)
        add(&o, STR("x-remote-group"), u->groups[i]);
    for (uint32_t i = 0; i < u->n_extra; i++)
        add(&o, extra_name(u->extra[i].key, a), u->extra[i].value);
    *ret_n = o.n;
    return o.bad ? -EINVAL : 0;
}
