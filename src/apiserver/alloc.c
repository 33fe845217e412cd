/* Addresses and node ports of Services: who has which. The table is filled from the store at start
 * and follows it by watch; between an accepted write and its event the claim is held by the name of
 * the Service, so two creates of one turn cannot get the same address. A claim whose write failed
 * is given back.
 *
 * IPv4, single stack (docs/LIMITS.md). */
#include "apiserver/internal.h"

#include <arpa/inet.h>

#include "api/check.h"
#include "api/service.h"
#include "base/log.h"

struct claim {
    char key[24]; /* "10.96.0.1" or "30080/TCP" */
    char *owner;  /* "ns/name" */
};

struct alloc {
    struct apiserver *server;
    struct map ips, ports; /* key -> struct claim */
    uint32_t first, last;  /* usable addresses, host order */
    uint16_t port_min, port_max;
    char first_text[24];
    struct store_watch watch;
};

static void ip_text(uint32_t ip, char out[static 24])
{
    struct in_addr a = {htonl(ip)};
    (void)inet_ntop(AF_INET, &a, out, 24);
}

static bool ip_parse(struct str s, uint32_t *ret)
{
    char text[24];
    struct in_addr a;
    if (s.n >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", STR_ARG(s));
    if (inet_pton(AF_INET, text, &a) != 1)
        return false;
    *ret = ntohl(a.s_addr);
    return true;
}

static struct claim *claim_find(const struct map *m, const char *key)
{
    return map_get(m, str_z(key));
}

static void claim_set(struct map *m, const char *key, const char *owner)
{
    struct claim *c = claim_find(m, key);
    if (c && strcmp(c->owner, owner) == 0)
        return;
    if (!c) {
        c = NEW(struct claim);
        snprintf(c->key, sizeof(c->key), "%s", key);
        map_set(m, str_z(c->key), c);
    }
    free(c->owner);
    c->owner = xstrdup(owner);
}

static void claim_drop(struct map *m, const char *key, const char *owner)
{
    struct claim *c = claim_find(m, key);
    if (!c || strcmp(c->owner, owner) != 0)
        return;
    map_remove(m, str_z(c->key));
    free(c->owner);
    free(c);
}

static void owner_text(const struct api_service *svc, char *out, size_t n)
{
    snprintf(out, n, "%.*s/%.*s", STR_ARG(svc->metadata.namespace), STR_ARG(svc->metadata.name));
}

static void port_key(const struct api_service_port *p, char out[static 24])
{
    snprintf(out, 24, "%d/%.*s", p->node_port, (int)MIN(p->protocol.n, (size_t)8),
             p->protocol.p ? p->protocol.p : "");
}

/* Claims (or drops) all that svc names. */
static void service_claims(struct alloc *a, const struct api_service *svc, bool set)
{
    char owner[400], key[24];
    uint32_t ip;
    owner_text(svc, owner, sizeof(owner));
    if (ip_parse(svc->spec.cluster_ip, &ip)) {
        ip_text(ip, key);
        if (set)
            claim_set(&a->ips, key, owner);
        else
            claim_drop(&a->ips, key, owner);
    }
    for (uint32_t i = 0; i <= svc->spec.n_ports; i++) {
        struct api_service_port health = {.node_port = svc->spec.health_check_node_port,
                                          .protocol = STR("TCP")};
        const struct api_service_port *p = i < svc->spec.n_ports ? &svc->spec.ports[i] : &health;
        if (!p->node_port)
            continue;
        port_key(p, key);
        if (set)
            claim_set(&a->ports, key, owner);
        else
            claim_drop(&a->ports, key, owner);
    }
}

static void on_services(void *arg, const struct store_event *events, size_t n)
{
    struct alloc *a = arg;
    for (size_t i = 0; i < n; i++) {
        const struct store_event *e = &events[i];
        if (e->prev)
            service_claims(a, OBJECT_MSG(e->prev, api_service), false);
        if (e->type != STORE_EVENT_DELETED) {
            service_claims(a, OBJECT_MSG(e->object, api_service), true);
            continue;
        }
        service_claims(a, OBJECT_MSG(e->object, api_service), false);
        /* one of the same name may have been accepted already */
        struct object *now = store_peek(a->server->store, e->object->kind, object_ns(e->object),
                                        object_name(e->object));
        if (now)
            service_claims(a, OBJECT_MSG(now, api_service), true);
    }
}

/* ---- choosing ---- */

static int bad_ip(struct api_call *c, const struct api_service *svc, struct str ip, const char *why)
{
    (void)error_cause(&c->reply.err, CAUSE_INVALID, STR("spec.clusterIPs"),
                      "Invalid value: [\"%.*s\"]: failed to allocate IP %.*s: %s", STR_ARG(ip),
                      STR_ARG(ip), why);
    return call_invalid(c, svc->metadata.name);
}

static int choose_ip(struct api_call *c, struct api_service *svc, const char *owner)
{
    struct alloc *a = c->server->alloc;
    char key[24];
    uint32_t ip, span = a->last - a->first + 1;
    if (svc->spec.cluster_ip.n) {
        struct str want = svc->spec.cluster_ip;
        if (!ip_parse(want, &ip))
            return bad_ip(c, svc, want, "the provided IP is not a valid IPv4 address");
        if (ip < a->first || ip > a->last)
            return bad_ip(c, svc, want, "the provided IP is not in the valid range");
        ip_text(ip, key);
        struct claim *had = claim_find(&a->ips, key);
        if (had && strcmp(had->owner, owner) != 0)
            return bad_ip(c, svc, want, "provided IP is already allocated");
    } else {
        uint32_t at = (uint32_t)rt_random_below(c->server->rt, span), i;
        for (i = 0; i < span; i++) { /* the first dozen are left for those who ask by number */
            ip = a->first + (at + i) % span;
            ip_text(ip, key);
            if (ip - a->first >= MIN(16u, span / 4) && !claim_find(&a->ips, key))
                break;
        }
        if (i == span)
            return call_error(c, REASON_INTERNAL, "failed to allocate a serviceIP: range is full");
        svc->spec.cluster_ip = arena_strz(&c->arena, key);
    }
    if (!c->opts.dry_run)
        claim_set(&a->ips, key, owner);
    return 0;
}

static const char *port_refusal(const struct alloc *a, int32_t port, const char *key,
                                const char *owner, char text[static 128])
{
    struct claim *had = claim_find(&a->ports, key);
    if (port < a->port_min || port > a->port_max) {
        snprintf(text, 128,
                 "provided port is not in the valid range. The range of valid ports is %u-%u",
                 a->port_min, a->port_max);
        return text;
    }
    return had && strcmp(had->owner, owner) != 0 ? "provided port is already allocated" : NULL;
}

/* A Service may have the same number for TCP and UDP, as DNS wants it: the second takes the first's
 * if it is free. */
static int32_t twin_port(const struct alloc *a, const struct api_service *svc,
                         const struct api_service_port *p)
{
    char key[24];
    for (uint32_t i = 0; i < svc->spec.n_ports; i++) {
        const struct api_service_port *q = &svc->spec.ports[i];
        if (q == p || q->port != p->port || !q->node_port || str_eq(q->protocol, p->protocol))
            continue;
        struct api_service_port want = {.node_port = q->node_port, .protocol = p->protocol};
        port_key(&want, key);
        if (!claim_find(&a->ports, key))
            return q->node_port;
    }
    return 0;
}

static int32_t free_port(struct alloc *a, struct str protocol)
{
    uint32_t span = (uint32_t)(a->port_max - a->port_min) + 1,
             at = (uint32_t)rt_random_below(a->server->rt, span);
    for (uint32_t k = 0; k < span; k++) {
        struct api_service_port p = {.node_port = (int32_t)(a->port_min + (at + k) % span),
                                     .protocol = protocol};
        char key[24];
        port_key(&p, key);
        if (!claim_find(&a->ports, key))
            return p.node_port;
    }
    return 0;
}

/* p->node_port as asked for, or one that is free; path names it in a refusal. */
static int choose_port(struct api_call *c, struct api_service *svc, struct api_service_port *p,
                       const char *path, const char *owner)
{
    struct alloc *a = c->server->alloc;
    char key[24], text[128];
    if (p->node_port) {
        port_key(p, key);
        const char *why = port_refusal(a, p->node_port, key, owner, text);
        if (why) {
            (void)error_cause(&c->reply.err, CAUSE_INVALID, str_z(path), "Invalid value: %d: %s",
                              p->node_port, why);
            return call_invalid(c, svc->metadata.name);
        }
    } else {
        p->node_port = twin_port(a, svc, p);
        if (!p->node_port)
            p->node_port = free_port(a, p->protocol);
        if (!p->node_port)
            return call_error(c, REASON_INTERNAL, "failed to allocate a nodePort: range is full");
    }
    port_key(p, key);
    if (!c->opts.dry_run)
        claim_set(&a->ports, key, owner);
    return 0;
}

static int choose_ports(struct api_call *c, struct api_service *svc, const char *owner)
{
    struct api_service_spec *s = &svc->spec;
    bool node_port = str_is(s->type, "NodePort"), balancer = str_is(s->type, "LoadBalancer");
    bool any = node_port || (balancer && (!s->has_allocate_load_balancer_node_ports ||
                                          s->allocate_load_balancer_node_ports));
    int r = 0;
    /* Those asked for by number first, lest they are given to another port of this Service. */
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; r >= 0 && (node_port || balancer) && i < s->n_ports; i++) {
            char path[64];
            snprintf(path, sizeof(path), "spec.ports[%u].nodePort", i);
            if (pass == 0 ? s->ports[i].node_port != 0 : any && !s->ports[i].node_port)
                r = choose_port(c, svc, &s->ports[i], path, owner);
        }
    if (r < 0 || !service_needs_health_port(s))
        return r;
    struct api_service_port health = {.node_port = s->health_check_node_port,
                                      .protocol = STR("TCP")};
    r = choose_port(c, svc, &health, "spec.healthCheckNodePort", owner);
    if (r >= 0)
        s->health_check_node_port = health.node_port;
    return r;
}

/* One family for now; nothing else here knows which. */
static int choose_families(struct api_call *c, struct api_service *svc)
{
    struct api_service_spec *s = &svc->spec;
    bool headless = str_is(s->cluster_ip, "None");
    for (uint32_t i = 0; i < s->n_ip_families; i++)
        if (!str_is(s->ip_families[i], "IPv4") && !(headless && !s->n_selector)) {
            PATH(at, "spec.ipFamilies[%u]", i);
            (void)error_cause(&c->reply.err, CAUSE_INVALID, at,
                              "Invalid value: \"%.*s\": not configured on this cluster",
                              STR_ARG(s->ip_families[i]));
            return call_invalid(c, svc->metadata.name);
        }
    if (str_is(s->ip_family_policy, "RequireDualStack") && !(headless && !s->n_selector)) {
        (void)error_cause(&c->reply.err, CAUSE_INVALID, STR("spec.ipFamilyPolicy"),
                          "Invalid value: \"RequireDualStack\": this cluster is not configured for "
                          "dual-stack services");
        return call_invalid(c, svc->metadata.name);
    }
    if (!s->n_ip_families) {
        s->ip_families = ARENA_NEW(&c->arena, struct str);
        s->ip_families[0] = STR("IPv4");
        s->n_ip_families = 1;
    }
    if (!s->ip_family_policy.n)
        s->ip_family_policy = STR("SingleStack");
    return 0;
}

int alloc_service(struct api_call *c, struct api_service *svc, const struct api_service *old)
{
    struct api_service_spec *s = &svc->spec;
    char owner[400];
    int r = 0;
    owner_text(svc, owner, sizeof(owner));
    if (!s->cluster_ip.n && s->n_cluster_ips)
        s->cluster_ip = s->cluster_ips[0];
    if (str_is(s->type, "ExternalName")) {
        s->cluster_ip = STR_NONE;
        s->n_cluster_ips = 0;
        return 0;
    }
    r = choose_families(c, svc);
    if (r >= 0 && !str_is(s->cluster_ip, "None"))
        r = choose_ip(c, svc, owner);
    if (r >= 0)
        r = choose_ports(c, svc, owner);
    if (r < 0) {
        alloc_rollback(c, svc, old);
        return r;
    }
    s->cluster_ips = ARENA_NEW(&c->arena, struct str);
    s->cluster_ips[0] = s->cluster_ip;
    s->n_cluster_ips = 1;
    return 0;
}

void alloc_rollback(struct api_call *c, const struct api_service *svc,
                    const struct api_service *old)
{
    struct alloc *a = c->server->alloc;
    if (c->opts.dry_run)
        return;
    service_claims(a, svc, false);
    struct object *now =
        store_peek(c->server->store, KIND(SERVICE), svc->metadata.namespace, svc->metadata.name);
    (void)old;
    if (now) /* what the one that is there has stays claimed */
        service_claims(a, OBJECT_MSG(now, api_service), true);
}

struct str alloc_first_ip(struct alloc *a)
{
    return str_z(a->first_text);
}

bool alloc_dns_ip(struct alloc *a, char ret[static 24])
{
    if (a->last - a->first < 9)
        return false;
    ip_text(a->first + 9, ret);
    const struct claim *c = claim_find(&a->ips, ret);
    return !c || strcmp(c->owner, "kube-system/kube-dns") == 0;
}

/* ---- life ---- */

static void parse_cidr(struct alloc *a, const char *cidr)
{
    struct str rest = str_z(cidr), head;
    uint32_t net = 0x0a600000;
    int64_t bits = 16;
    if (!str_cut(&rest, '/', &head) || !ip_parse(head, &net) || str_to_i64(rest, &bits) < 0 ||
        bits < 8 || bits > 30) {
        log_warn("service CIDR %s is not usable (IPv4, /8 to /30): 10.96.0.0/16 is used", cidr);
        net = 0x0a600000;
        bits = 16;
    }
    uint32_t mask = ~0u << (32 - bits);
    a->first = (net & mask) + 1;
    a->last = (net | ~mask) - 1;
    ip_text(a->first, a->first_text);
}

struct alloc *alloc_new(struct apiserver *s)
{
    struct alloc *a = NEW(struct alloc);
    struct store_iter it;
    a->server = s;
    parse_cidr(a, s->opts.service_cidr);
    a->port_min = s->opts.nodeport_min;
    a->port_max = s->opts.nodeport_max;
    int r = store_iter_init(&it, s->store, KIND(SERVICE), STR_NONE, 0, STR_NONE, STR_NONE);
    ASSERT(r >= 0);
    for (struct object *o; (o = store_iter_next(&it));)
        service_claims(a, OBJECT_MSG(o, api_service), true);
    store_iter_fini(&it);
    claim_set(&a->ips, a->first_text, "default/kubernetes");
    r = store_watch_start(&a->watch, s->store, KIND(SERVICE), STR_NONE, store_rev(s->store),
                          on_services, a);
    ASSERT(r >= 0);
    return a;
}

static void claims_free(struct map *m)
{
    for (struct map_slot *s = NULL; (s = map_next(m, s));) {
        struct claim *c = s->value;
        free(c->owner);
        free(c);
    }
    map_fini(m);
}

struct alloc *alloc_free(struct alloc *a)
{
    if (!a)
        return NULL;
    store_watch_stop(&a->watch);
    claims_free(&a->ips);
    claims_free(&a->ports);
    free(a);
    return NULL;
}
