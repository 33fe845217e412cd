/* What the zone knows: services by name, and addresses to services, for reverse names. An update
 * replaces one service whole; it costs as much as the service has addresses. */
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

bool zone_is_headless(const struct api_service *s)
{
    return str_is(s->spec.cluster_ip, "None");
}

bool zone_endpoints_next(struct zone_endpoints *it, struct zone_endpoint *ret)
{
    const struct zone_service *s = it->s;
    bool all = OBJECT_MSG(s->svc, api_service)->spec.publish_not_ready_addresses;

    for (; it->slice < s->n_slices; it->slice++, it->endpoint = 0) {
        const struct api_endpoint_slice *sl = OBJECT_MSG(s->slices[it->slice], api_endpoint_slice);
        while (it->endpoint < sl->n_endpoints) {
            const struct api_endpoint *e = &sl->endpoints[it->endpoint++];
            bool ready = !e->conditions.has_ready || e->conditions.ready;
            if ((!ready && !all) || !e->n_addresses || ip_parse(e->addresses[0], &ret->ip) < 0)
                continue; /* FQDN slices have names for addresses: no records */
            ret->slice = sl;
            ret->endpoint = e;
            return true;
        }
    }
    return false;
}

/* ---- the index of addresses ---- */

static void note(struct zone_service *s, const struct ip_addr *a)
{
    struct zone_address *e = &s->addresses[s->n_addresses];

    e->service = s;
    e->key = zone_address_key(a, e->bytes);
    s->n_addresses++;
}

static size_t addresses_most(const struct zone_service *s)
{
    size_t n = 1 + OBJECT_MSG(s->svc, api_service)->spec.n_cluster_ips;

    for (size_t i = 0; i < s->n_slices; i++)
        n += OBJECT_MSG(s->slices[i], api_endpoint_slice)->n_endpoints;
    return n;
}

static void collect(struct zone_service *s)
{
    const struct api_service_spec *spec = &OBJECT_MSG(s->svc, api_service)->spec;
    struct zone_endpoints it = {.s = s};
    struct zone_endpoint e;
    struct ip_addr ip;

    if (str_is(spec->type, "ExternalName"))
        return;
    if (!zone_is_headless(OBJECT_MSG(s->svc, api_service))) {
        s->addresses = xcalloc(1 + spec->n_cluster_ips, sizeof(*s->addresses));
        for (uint32_t i = 0; i < spec->n_cluster_ips; i++)
            if (ip_parse(spec->cluster_ips[i], &ip) == 0)
                note(s, &ip);
        if (!spec->n_cluster_ips && ip_parse(spec->cluster_ip, &ip) == 0)
            note(s, &ip);
        return;
    }
    s->addresses = xcalloc(addresses_most(s), sizeof(*s->addresses));
    while (zone_endpoints_next(&it, &e))
        note(s, &e.ip);
}

static void index_addresses(struct zone *z, struct zone_service *s)
{
    for (size_t i = 0; i < s->n_addresses; i++) {
        struct zone_address *e = &s->addresses[i], *first = map_get(&z->addresses, e->key);
        if (!first) {
            map_set(&z->addresses, e->key, e);
        } else if (first->service != s) { /* twice in the same one needs no second entry */
            e->next = first->next;
            first->next = e;
        }
    }
}

static void unindex_addresses(struct zone *z, struct zone_service *s)
{
    for (size_t i = 0; i < s->n_addresses; i++) {
        struct zone_address *e = &s->addresses[i], *first = map_get(&z->addresses, e->key);
        if (first == e) {
            map_remove(&z->addresses, e->key);
            if (e->next)
                map_set(&z->addresses, e->next->key, e->next);
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
    object_unref(s->svc);
    for (size_t i = 0; i < s->n_slices; i++)
        object_unref(s->slices[i]);
    free(s->slices);
    free(s->addresses);
    free(s->key);
    free(s);
    return NULL;
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

/* The same objects again: endpoints changed of a service whose endpoints have no names. */
static bool unchanged(const struct zone_service *old, const struct object *svc,
                      struct object *const *slices, size_t n)
{
    if (!old || old->svc != svc)
        return false;
    if (!zone_is_headless(OBJECT_MSG(svc, api_service)))
        return true;
    return old->n_slices == n && (!n || !memcmp(old->slices, slices, n * sizeof(*slices)));
}

void zone_set(struct zone *z, struct str ns, struct str name, struct object *svc,
              struct object *const *slices, size_t n_slices)
{
    char *key = xasprintf("%.*s/%.*s", STR_ARG(ns), STR_ARG(name));
    struct zone_service *old = map_get(&z->services, str_z(key));

    if (svc ? unchanged(old, svc, slices, n_slices) : !old) {
        free(key);
        return;
    }
    z->generation[0]++;
    z->generation[zone_slot(str_z(key))]++;
    if (old) {
        unindex_addresses(z, old);
        map_remove(&z->services, str_z(key));
        service_free(old);
    }
    if (!svc != !old)
        count_namespace(z, ns, svc);
    if (!svc) {
        free(key);
        return;
    }
    struct zone_service *s = NEW(struct zone_service);
    s->key = key;
    s->svc = object_ref(svc);
    /* Only headless ones are answered from their endpoints. */
    s->n_slices = zone_is_headless(OBJECT_MSG(svc, api_service)) ? n_slices : 0;
    s->slices = s->n_slices ? xcalloc(s->n_slices, sizeof(*s->slices)) : NULL;
    for (size_t i = 0; i < s->n_slices; i++)
        s->slices[i] = object_ref(slices[i]);
    collect(s);
    map_set(&z->services, str_z(s->key), s);
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
    *ret = z;
    return 0;
}

struct zone *zone_free(struct zone *z)
{
    if (!z)
        return NULL;
    for (struct map_slot *s = NULL; (s = map_next(&z->services, s));)
        service_free(s->value);
    for (struct map_slot *s = NULL; (s = map_next(&z->namespaces, s));) {
        struct zone_namespace *e = s->value;
        free(e->name);
        free(e);
    }
    map_fini(&z->services);
    map_fini(&z->namespaces);
    map_fini(&z->addresses);
    arena_fini(&z->names);
    free(z);
    return NULL;
}
