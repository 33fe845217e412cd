/* The name says where to: [SCHEME:]NAME[:PORT]. Whoever may do this reaches what the API server
 * reaches, so addresses that mean the server's own machine, or nobody, are refused. The token the
 * client came with is ours to see alone. Kubernetes: pkg/registry/core/{pod,service,node}/rest. */
#include "apiserver/front/relay.h"

#include <arpa/inet.h>

#include "apiserver/hooks/hooks.h"
#include "apiserver/hooks/outcall.h"

/* ---- I/O thread ---- */

static const char *verb_of(enum http_method m)
{
    switch (m) {
    case HTTP_METHOD_GET:
    case HTTP_METHOD_HEAD:
    case HTTP_METHOD_OPTIONS:
        return "get";
    case HTTP_METHOD_POST:
        return "create";
    case HTTP_METHOD_PUT:
        return "update";
    case HTTP_METHOD_PATCH:
        return "patch";
    case HTTP_METHOD_DELETE:
        return "delete";
    default:
        return NULL;
    }
}

/* The rest of the path as PodProxyOptions and its like name it: absent when there is none. */
static struct str plain_path(struct arena *a, struct str rest, bool slash)
{
    struct str text;
    if (http_unescape(a, rest, false, &text) < 0)
        text = rest;
    while (str_ends(text, STR("/")))
        text.n--;
    return arena_printf(a, "%s%.*s%s", text.n && text.p[0] != '/' ? "/" : "", STR_ARG(text),
                        slash ? "/" : "");
}

bool relay_route(struct exchange *x, enum route_result *ret)
{
    struct api_call *c = x->call;
    struct str prefix = STR("/api/v1/"), rest, resource, name, sub, ns = STR_NONE;
    if (!str_starts(x->req->path, prefix))
        return false;
    rest = str_sub(x->req->path, prefix.n, x->req->path.n);
    (void)str_cut(&rest, '/', &resource);
    if (str_is(resource, "namespaces")) {
        (void)str_cut(&rest, '/', &ns);
        (void)str_cut(&rest, '/', &resource);
    }
    (void)str_cut(&rest, '/', &name);
    (void)str_cut(&rest, '/', &sub);
    bool known =
        ns.n ? str_is(resource, "pods") || str_is(resource, "services") : str_is(resource, "nodes");
    if (!known || !name.n || !str_is(sub, "proxy"))
        return false;
    x->route = (struct route){
        .verb = API_PROXY, .authz_verb = verb_of(x->req->method), .subresource = STR("proxy")};
    *ret = x->route.authz_verb ? ROUTE_OK : ROUTE_BAD_METHOD;
    if (http_unescape(&c->arena, ns, false, &x->route.ns) < 0 ||
        http_unescape(&c->arena, name, false, &x->route.name) < 0)
        *ret = ROUTE_BAD_PATH;
    c->proxy = ARENA_NEW(&c->arena, struct api_proxy);
    c->proxy->version = STR("v1");
    c->proxy->resource = resource;
    c->proxy->kind = str_is(resource, "pods")       ? KIND(POD)
                     : str_is(resource, "services") ? KIND(SERVICE)
                                                    : KIND(NODE);
    c->proxy->path = plain_path(&c->arena, rest, str_ends(x->req->path, STR("/")));
    c->proxy->is_long = true;
    c->proxy->prefix = str_sub(x->req->path, 0, (size_t)(sub.p + sub.n - x->req->path.p));
    c->proxy->rest = arena_printf(&c->arena, "/%.*s", STR_ARG(rest));
    c->path = x->req->path;
    return true;
}

size_t relay_headers(struct exchange *x, struct http_header *v, size_t max)
{
    const struct http_request *req = x->req;
    size_t n = 0;
    for (size_t i = 0; i < req->n_headers && n < max; i++) {
        const struct http_header *h = &req->headers[i];
        bool length =
            str_is(h->name, "content-length") && req->content_length > 0 && !req->wants_upgrade;
        bool skip = (proxy_is_hop(h->name) && !length) || str_is(h->name, "expect") ||
                    str_is(h->name, "http2-settings") || str_is(h->name, "x-forwarded-for") ||
                    str_is(h->name, "x-forwarded-uri") ||
                    (!req->wants_upgrade && str_is(h->name, "upgrade"));
        if (!skip)
            v[n++] = *h;
    }
    if (n < max)
        v[n++] = (struct http_header){STR("x-forwarded-for"), proxy_forwarded_for(x)};
    if (n < max)
        v[n++] = (struct http_header){STR("x-forwarded-uri"), x->req->path};
    return n;
}

const struct links_base *relay_links(struct exchange *x)
{
    struct arena *a = &x->call->arena;
    const struct api_proxy *p = x->call->proxy;
    const struct api_reply *rep = &x->call->reply;
    bool v6 = str_find(rep->node_host, ':') >= 0;
    struct links_base *b = ARENA_NEW(a, struct links_base);
    b->prefix = p->prefix;
    b->client = x->req->authority;
    b->bare = arena_printf(a, v6 ? "[%.*s]" : "%.*s", STR_ARG(rep->node_host));
    b->server = arena_printf(a, "%.*s:%u", STR_ARG(b->bare), rep->node_port);
    if (rep->node_port != (p->how == PROXY_PLAIN ? 80 : 443))
        b->bare = STR_NONE;
    return b;
}

bool relay_is_cors(struct str name)
{
    return str_is(name, "access-control-allow-credentials") ||
           str_is(name, "access-control-allow-headers") ||
           str_is(name, "access-control-allow-methods") ||
           str_is(name, "access-control-allow-origin");
}

/* ---- core thread ---- */

struct place {
    struct str scheme, name, port; /* scheme and port may be empty */
};

static bool place_parse(struct str text, struct place *ret)
{
    struct str part[4];
    size_t n = 0;
    while (n < 4 && (str_cut(&text, ':', &part[n]) || part[n].n))
        n++;
    *ret = (struct place){0};
    if (n == 1)
        ret->name = part[0];
    else if (n == 2)
        *ret = (struct place){.name = part[0], .port = part[1]};
    else if (n == 3)
        *ret = (struct place){part[0], part[1], part[2]};
    return ret->name.n &&
           (!ret->scheme.n || str_is(ret->scheme, "http") || str_is(ret->scheme, "https"));
}

static bool port_parse(struct str s, uint16_t *ret)
{
    uint64_t n;
    if (str_to_u64(s, &n) < 0 || n < 1 || n > 65535)
        return false;
    *ret = (uint16_t)n;
    return true;
}

/* Not the machine of the server itself, no link-local and no group address. */
static bool is_proxyable(struct str host)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char b[16];
    if (!host.n || host.n >= sizeof(text))
        return host.n > 0;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, b) == 1)
        return b[0] != 127 && b[0] != 0 && b[0] < 224 && !(b[0] == 169 && b[1] == 254);
    if (inet_pton(AF_INET6, text, b) == 1)
        return b[0] != 0 && b[0] != 0xff && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
    return !str_ieq(host, STR("localhost"));
}

static int reach(struct api_call *c, const struct place *p, struct str host, uint16_t port)
{
    if (!is_proxyable(host))
        return call_error(c, REASON_BAD_REQUEST, "address not allowed");
    c->reply.node_host = arena_str(&c->arena, host);
    c->reply.node_port = port;
    c->proxy->how = str_is(p->scheme, "https") ? PROXY_TLS : PROXY_PLAIN;
    return 0;
}

static int no_endpoints(struct api_call *c, const struct place *p)
{
    return call_error(c, REASON_UNAVAILABLE, "no endpoints available for service \"%.*s\"",
                      STR_ARG(p->name));
}

static int to_pod(struct api_call *c, const struct place *p)
{
    struct object *o = store_get(c->server->store, KIND(POD), c->ns, p->name);
    uint16_t port = str_is(p->scheme, "https") ? 443 : 80;
    if (!o)
        return call_not_found(c, KIND(POD), p->name);
    const struct api_pod *pod = o->msg;
    if (p->port.n && !port_parse(p->port, &port))
        return call_error(c, REASON_BAD_REQUEST, "invalid port \"%.*s\"", STR_ARG(p->port));
    for (uint32_t i = 0; !p->port.n && i < pod->spec.n_containers; i++)
        if (pod->spec.containers[i].n_ports) {
            port = (uint16_t)pod->spec.containers[i].ports[0].container_port;
            break;
        }
    return reach(c, p, pod->status.pod_ip, port);
}

/* The port by its name or number; a Service with one needs neither. */
static const struct api_service_port *service_port(const struct api_service *s, struct str want)
{
    uint16_t n = 0;
    bool number = port_parse(want, &n);
    for (uint32_t i = 0; i < s->spec.n_ports; i++) {
        const struct api_service_port *p = &s->spec.ports[i];
        bool is = !want.n ? s->spec.n_ports == 1 || !p->name.n
                          : str_eq(p->name, want) || (number && p->port == n);
        if (is)
            return p;
    }
    return NULL;
}

static int to_service(struct api_call *c, const struct place *p)
{
    struct object *o = store_get(c->server->store, KIND(SERVICE), c->ns, p->name);
    struct outcall_place *places;
    size_t n;
    unsigned turn = (unsigned)rt_random_below(c->server->rt, 1024);
    if (!o)
        return call_not_found(c, KIND(SERVICE), p->name);
    const struct api_service *s = o->msg;
    const struct api_service_port *port = service_port(s, p->port);
    if (!port || str_is(s->spec.type, "ExternalName") ||
        outcall_resolve(c->server->store, c->ns, p->name, (uint16_t)port->port, &turn, &c->arena,
                        &places, &n, NULL) < 0)
        return no_endpoints(c, p);
    return reach(c, p, places[0].host, places[0].port);
}

/* The node's own API by our certificate, another port as it is. */
static int to_node(struct api_call *c, const struct place *p)
{
    uint16_t port;
    int r = connect_find_node(c, p->name);
    if (r < 0)
        return r;
    c->proxy->how = PROXY_NODE;
    if (!p->port.n)
        return 0;
    if (!port_parse(p->port, &port))
        return call_error(c, REASON_BAD_REQUEST, "invalid port \"%.*s\"", STR_ARG(p->port));
    return port == c->reply.node_port ? 0 : reach(c, p, c->reply.node_host, port);
}

int relay_resolve(struct api_call *c)
{
    struct str resource = c->proxy->resource;
    struct place p;
    int r = admit_special(c);
    if (r == 0)
        r = hooks_connect(c);
    if (r) /* refused, or webhooks are asked */
        return r;
    if (!place_parse(c->name, &p))
        return call_error(c, REASON_BAD_REQUEST, "invalid %.*s request \"%.*s\"",
                          (int)resource.n - 1, resource.p, STR_ARG(c->name));
    return str_is(resource, "pods")       ? to_pod(c, &p)
           : str_is(resource, "services") ? to_service(c, &p)
                                          : to_node(c, &p);
}
