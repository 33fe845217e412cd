/* What the zone knows: services by name, and addresses to services, for reverse names. An update
 * replaces one service whole; it costs as much as the service has addresses. Of a service with an
 * address little is kept: most are, and there may be ten thousand. */
#include "net/dns/zone.h"

#include <sys/socket.h>

#include "base/hash.h"
#include "base/mem.h"
#include "net/dns/zone_internal.h"

uint8_t zone_slot(struct str key)
{
    return (uint8_t)(1 + str_hash(key) % 255); /* 0 is for everything */
}

struct str zone_address_key(const struct ip_addr *a, char bytes[static 17])
{
    bytes[0] = (char)a->family;
    memcpy(bytes + 1, a->b, ip_bytes(a));
    return (struct str){bytes, 1 + ip_bytes(a)};
}

static struct str address_key(const void *value)
{
    const struct zone_address *e = value;
    struct ip_addr a = {.family = (uint8_t)e->bytes[0]};

    return (struct str){e->bytes, 1 + ip_bytes(&a)};
}

bool zone_endpoints_next(struct zone_endpoints *it, struct zone_endpoint *ret)
{
    const struct zone_headless *h = it->s->headless;

    for (; h && it->slice < h->n_slices; it->slice++, it->endpoint = 0) {
        const struct api_endpoint_slice *sl = OBJECT_MSG(h->slices[it->slice], api_endpoint_slice);
        while (it->endpoint < sl->n_endpoints) {
            const struct api_endpoint *e = &sl->endpoints[it->endpoint++];
            bool ready = !e->conditions.has_ready || e->conditions.ready;
            if ((!ready && !h->all) || !e->n_addresses || ip_parse(e->addresses[0], &ret->ip) < 0)
                continue; /* FQDN slices have names for addresses: no records */
            ret->slice = sl;
            ret->endpoint = e;
            return true;
        }
    }
    return false;
}

/* ---- the text of a service ---- */

struct str zone_service_ns(const struct zone_service *s)
{
    return (struct str){s->text, s->ns_n};
}

struct str zone_service_name(const struct zone_service *s)
{
    return (struct str){s->text + s->ns_n + 1, s->name_n};
}

static struct str key_of(const void *value)
{
    const struct zone_service *s = value;

    return (struct str){s->text, (size_t)s->ns_n + 1 + s->name_n};
}

static struct str rest_of(const struct zone_service *s)
{
    struct str key = key_of(s);

    return (struct str){s->text + key.n, s->n - key.n};
}

struct str zone_external_name(const struct zone_service *s)
{
    return s->external ? rest_of(s) : STR_NONE;
}

/* A port: number, lengths of protocol (0: TCP) and name, and these. */
static void add_port(struct buf *b, const struct api_service_port *p)
{
    struct str protocol = str_is(p->protocol, "TCP") ? STR_NONE : p->protocol;

    if (!p->name.n || p->name.n > UINT8_MAX || protocol.n > UINT8_MAX)
        return; /* the specification: unnamed ports have no records */
    buf_add_char(b, (char)(p->port >> 8));
    buf_add_char(b, (char)p->port);
    buf_add_char(b, (char)protocol.n);
    buf_add_char(b, (char)p->name.n);
    buf_add_str(b, protocol);
    buf_add_str(b, p->name);
}

bool zone_ports_next(const struct zone_service *s, size_t *at, struct zone_port *ret)
{
    struct str rest = rest_of(s);
    const uint8_t *p = (const uint8_t *)rest.p + *at;

    if (s->external || *at == rest.n)
        return false;
    ret->port = (uint16_t)(p[0] << 8 | p[1]);
    ret->protocol = p[2] ? (struct str){(const char *)p + 4, p[2]} : STR("TCP");
    ret->name = (struct str){(const char *)p + 4 + p[2], p[3]};
    *at += 4u + p[2] + p[3];
    return true;
}

static void write_text(struct buf *b, struct str ns, struct str name, const struct api_service *svc,
                       bool external)
{
    buf_add_str(b, ns);
    buf_add_char(b, '/');
    buf_add_str(b, name);
    if (external)
        buf_add_str(b, svc->spec.external_name);
    for (uint32_t i = 0; !external && i < svc->spec.n_ports; i++)
        add_port(b, &svc->spec.ports[i]);
}

/* ---- the index of addresses ---- */

struct noted {
    struct zone_service *s;
    struct zone_address *v;
    uint32_t n;
};

static void note(struct noted *to, const struct ip_addr *a)
{
    struct zone_address *e = &to->v[to->n++];

    e->service = to->s;
    (void)zone_address_key(a, e->bytes);
}

static void collect(struct zone_service *s, const struct api_service_spec *spec)
{
    struct zone_endpoints it = {.s = s};
    struct zone_endpoint e;
    struct ip_addr ip;
    size_t most = s->headless ? 0 : spec->n_cluster_ips;

    for (size_t i = 0; s->headless && i < s->headless->n_slices; i++)
        most += OBJECT_MSG(s->headless->slices[i], api_endpoint_slice)->n_endpoints;
    struct noted to = {.s = s, .v = xcalloc(most + 1, sizeof(*to.v))};
    while (s->headless && zone_endpoints_next(&it, &e))
        note(&to, &e.ip);
    for (uint32_t i = 0; !s->headless && !s->external && i < spec->n_cluster_ips; i++)
        if (ip_parse(spec->cluster_ips[i], &ip) == 0)
            note(&to, &ip);
    if (!s->headless && !s->external && !spec->n_cluster_ips &&
        ip_parse(spec->cluster_ip, &ip) == 0)
        note(&to, &ip);
    s->n_addresses = to.n;
    if (to.n > 1) {
        s->many = to.v;
        return;
    }
    s->one = to.v[0];
    free(to.v);
}

static struct zone_address *address_at(struct zone_service *s, size_t i)
{
    return s->n_addresses > 1 ? &s->many[i] : &s->one;
}

static void index_addresses(struct zone *z, struct zone_service *s)
{
    for (size_t i = 0; i < s->n_addresses; i++) {
        struct zone_address *e = address_at(s, i),
                            *first = catalog_get(&z->addresses, address_key(e));
        if (!first) {
            (void)catalog_set(&z->addresses, e);
        } else if (first->service != s) { /* twice in the same one needs no second entry */
            e->next = first->next;
            first->next = e;
        }
    }
}

static void unindex_addresses(struct zone *z, struct zone_service *s)
{
    for (size_t i = 0; i < s->n_addresses; i++) {
        struct zone_address *e = address_at(s, i),
                            *first = catalog_get(&z->addresses, address_key(e));
        if (first == e) {
            (void)catalog_remove(&z->addresses, address_key(e));
            if (e->next)
                (void)catalog_set(&z->addresses, e->next);
            continue;
        }
        for (struct zone_address *p = first; p; p = p->next)
            if (p->next == e) {
                p->next = e->next;
                break;
            }
    }
}

/* ---- services ---- */

static struct zone_service *service_free(struct zone_service *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; s->headless && i < s->headless->n_slices; i++)
        object_unref(s->headless->slices[i]);
    free(s->headless);
    if (s->n_addresses > 1)
        free(s->many);
    free(s);
    return NULL;
}

static struct zone_headless *headless_of(const struct api_service *svc,
                                         struct object *const *slices, size_t n)
{
    struct zone_headless *h = xcalloc(1, sizeof(*h) + n * sizeof(struct object *));

    h->all = svc->spec.publish_not_ready_addresses;
    h->n_slices = n;
    for (size_t i = 0; i < n; i++)
        h->slices[i] = object_ref(slices[i]);
    return h;
}

static struct zone_service *service_new(struct str ns, struct str name,
                                        const struct api_service *svc, struct object *const *slices,
                                        size_t n)
{
    struct buf text = {0};
    bool external = str_is(svc->spec.type, "ExternalName");

    write_text(&text, ns, name, svc, external);
    struct zone_service *s = xcalloc(1, offsetof(struct zone_service, text) + text.n);
    s->ns_n = (uint16_t)ns.n;
    s->name_n = (uint16_t)name.n;
    s->n = (uint32_t)text.n;
    s->external = external;
    memcpy(s->text, text.data, text.n);
    buf_fini(&text);
    if (!external && str_is(svc->spec.cluster_ip, "None"))
        s->headless = headless_of(svc, slices, n);
    collect(s, &svc->spec);
    return s;
}

static void count_namespace(struct zone *z, struct str ns, bool more)
{
    struct zone_namespace *e = map_get(&z->namespaces, ns);

    if (more && !e) {
        e = NEW(struct zone_namespace);
        e->name = str_dup(ns);
        map_set(&z->namespaces, (struct str){e->name, ns.n}, e);
    }
    ASSERT(e && (more || e->services));
    e->services += more ? 1 : -1;
    if (!e->services) {
        map_remove(&z->namespaces, ns);
        free(e->name);
        free(e);
    }
}

/* Endpoints changed of a service whose endpoints have no names; or nothing did. */
static bool unchanged(const struct zone_service *old, const struct zone_service *new)
{
    const struct zone_headless *a = old->headless, *b = new->headless;

    if (old->external != new->external || old->n != new->n ||
        memcmp(old->text, new->text, new->n) != 0 || !a != !b ||
        old->n_addresses != new->n_addresses)
        return false;
    if (a)
        return a->all == b->all && a->n_slices == b->n_slices &&
               memcmp(a->slices, b->slices, a->n_slices * sizeof(a->slices[0])) == 0;
    for (size_t i = 0; i < new->n_addresses; i++)
        if (memcmp(zone_addresses(old)[i].bytes, zone_addresses(new)[i].bytes, 17) != 0)
            return false;
    return true;
}

void zone_set(struct zone *z, struct str ns, struct str name, struct object *svc,
              struct object *const *slices, size_t n_slices)
{
    char *key = xasprintf("%.*s/%.*s", STR_ARG(ns), STR_ARG(name));
    uint8_t slot = zone_slot(str_z(key));
    struct zone_service *old = catalog_get(&z->services, str_z(key));
    struct zone_service *s =
        svc ? service_new(ns, name, OBJECT_MSG(svc, api_service), slices, n_slices) : NULL;

    free(key);
    if (s && old ? unchanged(old, s) : s == old) {
        (void)service_free(s);
        return;
    }
    z->generation[0]++;
    z->generation[slot]++;
    if (old) {
        unindex_addresses(z, old);
        (void)catalog_remove(&z->services, key_of(old));
        service_free(old);
    }
    if (!s != !old)
        count_namespace(z, ns, s);
    if (!s)
        return;
    (void)catalog_set(&z->services, s);
    index_addresses(z, s);
}

void zone_synced(struct zone *z)
{
    z->synced = true;
    z->generation[0]++;
}

uint64_t zone_generation(const struct zone *z, uint8_t slot)
{
    return z->generation[slot];
}

size_t zone_count(const struct zone *z)
{
    return z->services.n;
}

/* ---- life ---- */

static struct str sub_name(struct zone *z, const char *prefix)
{
    uint8_t name[DNS_NAME_MAX];
    ssize_t n = dns_name_from_text(str_z(prefix), name);

    ASSERT(n > 0 && (size_t)n - 1 + z->domain_n <= sizeof(name));
    memcpy(name + n - 1, z->domain, z->domain_n);
    return arena_str(&z->names, (struct str){(char *)name, (size_t)n - 1 + z->domain_n});
}

int zone_new(const struct zone_opts *o, struct zone **ret)
{
    struct zone *z = NEW(struct zone);
    ssize_t n = dns_name_from_text(str_z(o->domain), z->domain);

    if (n <= 1 || n > 128) {
        free(z);
        return -EINVAL;
    }
    z->domain_n = (size_t)n;
    for (const uint8_t *p = z->domain; *p; p += 1 + *p)
        z->domain_labels++;
    z->soa_name = z->ns_name = sub_name(z, "ns.dns");
    z->soa_mail = sub_name(z, "hostmaster");
    z->dns_address = o->dns_address;
    z->reverse[0] = o->service_cidr;
    z->reverse[1] = o->cluster_cidr;
    z->services = CATALOG(key_of);
    z->addresses = CATALOG(address_key);
    *ret = z;
    return 0;
}

struct zone *zone_free(struct zone *z)
{
    if (!z)
        return NULL;
    struct zone_service *service;
    for (uint32_t at = 0; (service = catalog_next(&z->services, &at));)
        service_free(service);
    for (struct map_slot *s = NULL; (s = map_next(&z->namespaces, s));) {
        struct zone_namespace *e = s->value;
        free(e->name);
        free(e);
    }
    catalog_fini(&z->services);
    map_fini(&z->namespaces);
    catalog_fini(&z->addresses);
    arena_fini(&z->names);
    free(z);
    return NULL;
}
