/* exec, attach, port-forward and log: from a pod's name to the address, port and path of its node's
 * HTTPS API. The front then carries the bytes. Paths and parameters are the kubelet's. */
#include "apiserver/hooks/hooks.h"
#include "http/http.h"

static bool any_container(const struct api_pod *p, struct str name)
{
    for (uint32_t i = 0; i < p->spec.n_containers; i++)
        if (str_eq(p->spec.containers[i].name, name))
            return true;
    for (uint32_t i = 0; i < p->spec.n_init_containers; i++)
        if (str_eq(p->spec.init_containers[i].name, name))
            return true;
    for (uint32_t i = 0; i < p->spec.n_ephemeral_containers; i++)
        if (str_eq(p->spec.ephemeral_containers[i].ephemeral_container_common.name, name))
            return true;
    return false;
}

static int choose_container(struct api_call *c, const struct api_pod *p, struct str *name)
{
    if (name->n) {
        if (any_container(p, *name))
            return 0;
        return call_error(c, REASON_BAD_REQUEST, "container %.*s is not valid for pod %.*s",
                          STR_ARG(*name), STR_ARG(c->name));
    }
    const struct str *note =
        KV_GET(&p->metadata, annotations, STR("kubectl.kubernetes.io/default-container"));
    if (note && any_container(p, *note)) {
        *name = arena_str(&c->arena, *note);
        return 0;
    }
    if (p->spec.n_containers == 1) {
        *name = arena_str(&c->arena, p->spec.containers[0].name);
        return 0;
    }
    struct buf b = {0};
    for (uint32_t i = 0; i < p->spec.n_containers; i++)
        buf_printf(&b, "%s%.*s", i ? " " : "", STR_ARG(p->spec.containers[i].name));
    int r = call_error(c, REASON_BAD_REQUEST,
                       "a container name must be specified for pod %.*s, choose one of: [%.*s]",
                       STR_ARG(c->name), STR_ARG(buf_str(&b)));
    buf_fini(&b);
    return r;
}

int connect_find_node(struct api_call *c, struct str node_name)
{
    struct object *o = store_get(c->server->store, KIND(NODE), STR_NONE, node_name);
    if (!o)
        return call_not_found(c, KIND(NODE), node_name);
    const struct api_node_status *s = &OBJECT_MSG(o, api_node)->status;
    static const char *const order[] = {"InternalIP", "ExternalIP", "Hostname"};
    for (size_t k = 0; k < ARRAY_LEN(order) && !c->reply.node_host.n; k++)
        for (uint32_t i = 0; i < s->n_addresses && !c->reply.node_host.n; i++)
            if (str_eqz(s->addresses[i].type, order[k]))
                c->reply.node_host = arena_str(&c->arena, s->addresses[i].address);
    if (!c->reply.node_host.n)
        return call_error(c, REASON_UNAVAILABLE,
                          "no preferred addresses found for node \"%.*s\"; known addresses: []",
                          STR_ARG(node_name));
    int32_t port = s->daemon_endpoints.kubelet_endpoint.port;
    c->reply.node_port = port > 0 && port < 65536 ? (uint16_t)port : 10250;
    return 0;
}

static void add_escaped(struct buf *b, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char x = (unsigned char)s.p[i];
        bool plain = (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9') ||
                     x == '-' || x == '_' || x == '.' || x == '~';
        if (plain) {
            buf_add_char(b, (char)x);
        } else {
            buf_add_char(b, '%');
            buf_add_char(b, hex[x >> 4]);
            buf_add_char(b, hex[x & 15]);
        }
    }
}

static bool is_true(struct str v)
{
    return str_is(v, "true") || str_is(v, "1") || str_is(v, "True") || str_is(v, "t");
}

/* The client's parameters as the kubelet names them. *ret_container: the one that was asked for. */
static void translate(struct api_call *c, bool streams, struct buf *out, struct str *ret_container)
{
    static const struct {
        const char *from, *to;
    } names[] = {{"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}};
    struct str q = c->query, k, v;
    const char *sep = "?";
    while (http_query_next(&q, &c->arena, &k, &v)) {
        if (str_is(k, "container")) {
            *ret_container = v;
            continue;
        }
        const char *to = NULL;
        for (size_t i = 0; streams && i < ARRAY_LEN(names); i++)
            if (str_eqz(k, names[i].from))
                to = names[i].to;
        if (to && !is_true(v))
            continue;
        buf_printf(out, "%s", sep);
        sep = "&";
        if (to) {
            buf_printf(out, "%s=1", to);
            continue;
        }
        add_escaped(out, k);
        buf_add_char(out, '=');
        add_escaped(out, v);
    }
}

int verb_connect(struct api_call *c)
{
    struct buf query = {0};
    struct str container = STR_NONE, sub = c->subresource;
    struct object *o = store_get(c->server->store, KIND(POD), c->ns, c->name);
    bool forward = str_is(sub, "portforward"), log = str_is(sub, "log");
    if (c->kind != KIND(POD) || !(forward || log || str_is(sub, "exec") || str_is(sub, "attach")))
        return call_error(c, REASON_NOT_FOUND, "the server could not find the requested resource");
    if (!o)
        return call_not_found(c, KIND(POD), c->name);
    int r = log ? 0 : admit_special(c); /* reading the log is a get */
    if (r == 0 && !log)
        r = hooks_connect(c);
    if (r)
        return r;
    const struct api_pod *p = o->msg;
    translate(c, !forward && !log, &query, &container);
    r = forward ? 0 : choose_container(c, p, &container);
    if (r >= 0 && !p->spec.node_name.n)
        r = call_error(c, REASON_BAD_REQUEST, "pod %.*s does not have a host assigned",
                       STR_ARG(c->name));
    if (r >= 0 && !log &&
        (str_is(p->status.phase, "Succeeded") || str_is(p->status.phase, "Failed")))
        r = call_error(c, REASON_BAD_REQUEST,
                       "cannot exec into a container in a completed pod; current phase is %.*s",
                       STR_ARG(p->status.phase));
    if (r >= 0)
        r = connect_find_node(c, p->spec.node_name);
    if (r >= 0) {
        struct buf b = {0};
        buf_printf(&b, "/%s/%.*s/%.*s",
                   forward               ? "portForward"
                   : log                 ? "containerLogs"
                   : str_is(sub, "exec") ? "exec"
                                         : "attach",
                   STR_ARG(c->ns), STR_ARG(c->name));
        if (!forward)
            buf_printf(&b, "/%.*s", STR_ARG(container));
        buf_add_str(&b, buf_str(&query));
        c->reply.node_path = arena_str(&c->arena, buf_str(&b));
        buf_fini(&b);
    }
    buf_fini(&query);
    return r;
}
