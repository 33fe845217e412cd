/* From a question to records. A name is looked at from its right end: the domain, `svc` or `pod`,
 * the namespace, the service, and what is left of it. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/dns/zone_internal.h"

#define SCHEMA_VERSION "1.1.0"

struct lookup {
    const struct zone *z;
    struct arena *a;
    struct str name; /* as asked */
    uint16_t type;
    struct str labels[DNS_LABELS_MAX]; /* of the name, left to right, without the root */
    unsigned n_labels;
    struct dns_record *v; /* in the arena */
    size_t n, cap, room;  /* room: bytes still to be had */
    struct zone_answer *ret;
    bool exists; /* the name does, whatever the types */
};

static void split(struct lookup *l)
{
    const char *p = l->name.p;

    l->n_labels = 0;
    while (*p && l->n_labels < DNS_LABELS_MAX) {
        l->labels[l->n_labels++] = (struct str){p + 1, (uint8_t)*p};
        p += 1 + (uint8_t)*p;
    }
}

/* False: the answer is full. */
static bool add(struct lookup *l, struct dns_record r)
{
    size_t fixed = r.type == DNS_A ? 4 : r.type == DNS_AAAA ? 16 : r.type == DNS_SOA ? 20 : 6;
    size_t bytes = (r.owner.n ? r.owner.n : 2) + 10 + fixed + r.name.n + r.mail.n;

    if (bytes > l->room)
        return false;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        struct dns_record *v = ARENA_NEW_N(l->a, struct dns_record, cap);
        if (l->n)
            memcpy(v, l->v, l->n * sizeof(*v));
        l->v = v;
        l->cap = cap;
    }
    l->room -= bytes;
    if (r.type != DNS_SOA)
        r.ttl_s = DNS_CLUSTER_TTL_S;
    l->v[l->n++] = r;
    return true;
}

static bool wants(const struct lookup *l, uint16_t type)
{
    return l->type == type || l->type == DNS_ANY;
}

static bool add_address(struct lookup *l, const struct ip_addr *ip, struct str owner,
                        enum dns_section section)
{
    uint16_t type = ip->family == AF_INET ? DNS_A : DNS_AAAA;

    return add(l, (struct dns_record){.owner = owner, .type = type, .section = section, .ip = *ip});
}

/* The name of `labels` below what is already there: wire form, absent when it is too long. */
static struct str name_under(struct arena *a, const struct str *labels, size_t n, const void *below,
                             size_t below_n)
{
    size_t bytes = below_n;

    for (size_t i = 0; i < n; i++) {
        if (!labels[i].n || labels[i].n > 63)
            return STR_NONE;
        bytes += 1 + labels[i].n;
    }
    if (bytes > DNS_NAME_MAX)
        return STR_NONE;
    char *p = arena_alloc(a, bytes), *q = p;
    for (size_t i = 0; i < n; i++) {
        *q++ = (char)labels[i].n;
        memcpy(q, labels[i].p, labels[i].n);
        q += labels[i].n;
    }
    memcpy(q, below, below_n);
    return (struct str){p, bytes};
}

static struct str service_name(struct lookup *l, const struct zone_service *s)
{
    const struct str labels[] = {zone_service_name(s), zone_service_ns(s), STR("svc")};

    return name_under(l->a, labels, ARRAY_LEN(labels), l->z->domain, l->z->domain_n);
}

/* Its hostname, else its address with dashes. */
static struct str endpoint_label(const struct zone_endpoint *e, char text[static IP_TEXT_MAX])
{
    if (e->endpoint->hostname.n)
        return e->endpoint->hostname;
    ip_format(&e->ip, text);
    for (char *p = text; *p; p++)
        if (*p == '.' || *p == ':')
            *p = '-';
    return str_z(text);
}

/* ---- services ---- */

static int address_cmp(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct ip_addr));
}

/* Addresses of endpoints (with `host` of those called so), each once: a pod may be in many slices.
 */
static void add_endpoints(struct lookup *l, const struct zone_service *s, struct str host)
{
    struct zone_endpoints it = {.s = s};
    struct zone_endpoint e;
    struct ip_addr *v = ARENA_NEW_N(l->a, struct ip_addr, s->n_addresses + 1);
    char text[IP_TEXT_MAX];
    size_t n = 0;

    while (n < s->n_addresses && zone_endpoints_next(&it, &e))
        if (!host.n || str_ieq(endpoint_label(&e, text), host))
            v[n++] = e.ip;
    l->exists = n > 0;
    qsort(v, n, sizeof(*v), address_cmp);
    for (size_t i = 0; i < n; i++) {
        bool again = i && address_cmp(&v[i], &v[i - 1]) == 0;
        if (!again && wants(l, v[i].family == AF_INET ? DNS_A : DNS_AAAA) &&
            !add_address(l, &v[i], STR_NONE, DNS_ANSWER))
            return;
    }
}

static void add_cluster_ips(struct lookup *l, const struct zone_service *s, struct str owner,
                            enum dns_section section, bool every)
{
    for (size_t i = 0; i < s->n_addresses; i++) {
        const struct zone_address *e = &zone_addresses(s)[i];
        struct ip_addr ip = {.family = (uint8_t)e->bytes[0]};
        memcpy(ip.b, e->bytes + 1, ip_bytes(&ip));
        if (every || wants(l, ip.family == AF_INET ? DNS_A : DNS_AAAA))
            (void)add_address(l, &ip, owner, section);
    }
}

static bool has_protocol(const struct zone_port *p, struct str proto)
{
    return str_ieq(p->protocol, proto);
}

struct srv_filter {
    struct str port, proto; /* absent: all */
};

static bool srv_wanted(const struct zone_port *p, const struct srv_filter *f)
{
    return !f->proto.n || (has_protocol(p, f->proto) && (!f->port.n || str_ieq(p->name, f->port)));
}

static uint16_t slice_port(const struct api_endpoint_slice *s, const struct zone_port *p)
{
    for (uint32_t i = 0; i < s->n_ports; i++) {
        const struct api_discovery_endpoint_port *q = &s->ports[i];
        if (q->has_port && q->port > 0 && q->port < 65536 && str_eq(q->name, p->name) &&
            has_protocol(p, q->protocol.n ? q->protocol : STR("TCP")))
            return (uint16_t)q->port;
    }
    return 0;
}

static void add_srv_headless(struct lookup *l, const struct zone_service *s,
                             const struct zone_port *p)
{
    struct zone_endpoints it = {.s = s};
    struct zone_endpoint e;
    char text[IP_TEXT_MAX];

    while (zone_endpoints_next(&it, &e)) {
        uint16_t port = slice_port(e.slice, p);
        const struct str labels[] = {endpoint_label(&e, text), zone_service_name(s),
                                     zone_service_ns(s), STR("svc")};
        struct str target = name_under(l->a, labels, 4, l->z->domain, l->z->domain_n);
        if (port && target.n &&
            !add(l, (struct dns_record){.type = DNS_SRV, .port = port, .name = target}))
            return;
    }
}

/* SRV records of the ports that `f` wants, and the addresses of their targets. */
static void add_srv(struct lookup *l, const struct zone_service *s, const struct srv_filter *f)
{
    struct str target = service_name(l, s);
    struct zone_port p;

    for (size_t at = 0; zone_ports_next(s, &at, &p);) {
        if (!srv_wanted(&p, f))
            continue;
        if (s->headless)
            add_srv_headless(l, s, &p);
        else if (target.n)
            (void)add(l, (struct dns_record){.type = DNS_SRV, .port = p.port, .name = target});
    }
    if (!l->n)
        return;
    if (!s->headless) {
        add_cluster_ips(l, s, target, DNS_ADDITIONAL, true);
        return;
    }
    struct zone_endpoints it = {.s = s};
    struct zone_endpoint e;
    char text[IP_TEXT_MAX];
    while (zone_endpoints_next(&it, &e)) {
        const struct str labels[] = {endpoint_label(&e, text), zone_service_name(s),
                                     zone_service_ns(s), STR("svc")};
        struct str owner = name_under(l->a, labels, 4, l->z->domain, l->z->domain_n);
        if (owner.n && !add_address(l, &e.ip, owner, DNS_ADDITIONAL))
            return;
    }
}

/* The caller goes on with l->ret->chase. */
static void external_name(struct lookup *l, const struct zone_service *s)
{
    uint8_t name[DNS_NAME_MAX];
    ssize_t n = dns_name_from_text(zone_external_name(s), name);

    if (n <= 1)
        return; /* exists, but points nowhere */
    struct str target = arena_str(l->a, (struct str){(char *)name, (size_t)n});
    (void)add(l, (struct dns_record){.type = DNS_CNAME, .owner = l->name, .name = target});
    if (l->type != DNS_CNAME && l->type != DNS_ANY)
        l->ret->chase = target;
}

static void service_itself(struct lookup *l, const struct zone_service *s)
{
    l->exists = true;
    if (s->external) {
        external_name(l, s);
        return;
    }
    if (s->headless)
        add_endpoints(l, s, STR_NONE); /* none ready: the name is not there */
    else
        add_cluster_ips(l, s, STR_NONE, DNS_ANSWER, false);
    if (l->exists && l->type == DNS_SRV)
        add_srv(l, s, &(struct srv_filter){0});
}

/* "_http" -> "http"; absent when there is no underscore. */
static struct str underscored(struct str label)
{
    return label.n > 1 && label.p[0] == '_' ? str_sub(label, 1, label.n) : STR_NONE;
}

static void below_service(struct lookup *l, const struct zone_service *s, unsigned n)
{
    struct str last = l->labels[n - 1], proto = underscored(last);
    struct srv_filter f = {.proto = proto};
    size_t before = l->n;

    if (s->external || n > 2)
        return;
    if (proto.n) {
        f.port = n == 2 ? underscored(l->labels[0]) : STR_NONE;
        if (n == 2 && !f.port.n)
            return;
        add_srv(l, s, &f);
        l->exists = l->n > before;
        if (n == 1 || !wants(l, DNS_SRV))
            l->n = before; /* _tcp.SVC: a name only because others are below it */
        return;
    }
    if (n == 1 && s->headless)
        add_endpoints(l, s, last);
}

static const struct zone_service *find_service(struct lookup *l, struct str ns, struct str name)
{
    char key[2 * DNS_NAME_MAX];
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(ns), STR_ARG(name));

    l->ret->slot = zone_slot((struct str){key, (size_t)n});
    return catalog_get(&l->z->services, (struct str){key, (size_t)n});
}

/* ---- the domain ---- */

static void apex(struct lookup *l)
{
    l->exists = true;
    if (wants(l, DNS_SOA))
        (void)add(l, (struct dns_record){.type = DNS_SOA,
                                         .ttl_s = DNS_CLUSTER_TTL_S,
                                         .name = l->z->soa_name,
                                         .mail = l->z->soa_mail,
                                         .serial = (uint32_t)l->z->generation[0]});
    if (wants(l, DNS_NS)) {
        (void)add(l, (struct dns_record){.type = DNS_NS, .name = l->z->ns_name});
        (void)add_address(l, &l->z->dns_address, l->z->ns_name, DNS_ADDITIONAL);
    }
}

static void in_pod(struct lookup *l, unsigned n)
{
    char text[IP_TEXT_MAX];
    struct ip_addr ip;

    l->exists = n <= 1; /* every namespace might be there */
    if (n != 2 || l->labels[0].n >= sizeof(text))
        return;
    snprintf(text, sizeof(text), "%.*s", STR_ARG(l->labels[0]));
    for (char *p = text; *p; p++)
        if (*p == '-')
            *p = '.';
    if (ip_parse(str_z(text), &ip) < 0 || ip.family != AF_INET)
        return;
    l->exists = true;
    if (wants(l, DNS_A))
        (void)add_address(l, &ip, STR_NONE, DNS_ANSWER);
}

static void in_svc(struct lookup *l, unsigned n)
{
    if (n == 0) {
        l->exists = true;
    } else if (n == 1) {
        l->ret->slot = 0;
        l->exists = map_get(&l->z->namespaces, l->labels[0]) != NULL;
    } else {
        const struct zone_service *s = find_service(l, l->labels[n - 1], l->labels[n - 2]);
        if (s && n == 2)
            service_itself(l, s);
        else if (s)
            below_service(l, s, n - 2);
    }
}

/* n labels are left of the domain. */
static void in_domain(struct lookup *l, unsigned n)
{
    struct str last = n ? l->labels[n - 1] : STR_NONE;

    l->ret->slot = 0;
    if (n == 0) {
        apex(l);
    } else if (str_is(last, "svc")) {
        in_svc(l, n - 1);
    } else if (str_is(last, "pod")) {
        in_pod(l, n - 1);
    } else if (str_is(last, "dns-version") && n == 1) {
        l->exists = true;
        if (wants(l, DNS_TXT))
            (void)add(l, (struct dns_record){.type = DNS_TXT, .name = STR(SCHEMA_VERSION)});
    } else if (str_is(last, "dns")) {
        l->exists = n == 1 || (n == 2 && str_is(l->labels[0], "ns"));
        if (n == 2 && l->exists && wants(l, l->z->dns_address.family == AF_INET ? DNS_A : DNS_AAAA))
            (void)add_address(l, &l->z->dns_address, STR_NONE, DNS_ANSWER);
    }
}

/* ---- reverse names ---- */

/* d.c.b.a.in-addr.arpa, or the 32 nibbles of ip6.arpa. False: a shorter or another name; *ret then
 * has the given parts in front and zeroes behind, *ret_bits says how much. */
static bool reverse_address(const struct lookup *l, struct ip_addr *ret, unsigned *ret_bits)
{
    unsigned n = l->n_labels;

    *ret = (struct ip_addr){0};
    *ret_bits = 0;
    if (n < 2 || !str_is(l->labels[n - 1], "arpa"))
        return false;
    if (str_is(l->labels[n - 2], "in-addr")) {
        ret->family = AF_INET;
        for (unsigned i = 0; i < n - 2; i++, *ret_bits += 8) {
            int64_t v;
            struct str s = l->labels[n - 3 - i];
            if (i == 4 || s.n > 3 || (s.n > 1 && s.p[0] == '0') || str_to_i64(s, &v) < 0 || v < 0 ||
                v > 255 || s.p[0] == '+' || s.p[0] == '-')
                return false;
            ret->b[i] = (uint8_t)v;
        }
        return n == 6;
    }
    if (!str_is(l->labels[n - 2], "ip6"))
        return false;
    ret->family = AF_INET6;
    for (unsigned i = 0; i < n - 2; i++, *ret_bits += 4) {
        struct str s = l->labels[n - 3 - i];
        const char *hex = "0123456789abcdef", *at = s.n == 1 ? strchr(hex, s.p[0]) : NULL;
        if (i == 32 || !at || !*at)
            return false;
        ret->b[i / 2] |= (uint8_t)((at - hex) << (i % 2 ? 0 : 4));
    }
    return n == 34;
}

static void add_pointers(struct lookup *l, const struct zone_service *s, const struct ip_addr *ip)
{
    struct zone_endpoints it = {.s = s};
    struct zone_endpoint e;
    char text[IP_TEXT_MAX];

    if (!s->headless) {
        struct str name = service_name(l, s);
        if (name.n)
            (void)add(l, (struct dns_record){.type = DNS_PTR, .name = name});
        return;
    }
    while (zone_endpoints_next(&it, &e)) {
        if (!ip_eq(&e.ip, ip))
            continue;
        const struct str labels[] = {endpoint_label(&e, text), zone_service_name(s),
                                     zone_service_ns(s), STR("svc")};
        struct str name = name_under(l->a, labels, 4, l->z->domain, l->z->domain_n);
        if (name.n)
            (void)add(l, (struct dns_record){.type = DNS_PTR, .name = name});
        return; /* once a service, though it be in many slices */
    }
}

/* The octet zone a range lies in: 10.96.0.0/16 -> 96.10.in-addr.arpa. Length of what is asked right
 * of it, as a view of the name. */
static struct str reverse_apex(const struct lookup *l, const struct ip_prefix *p)
{
    unsigned labels = 2 + (p->addr.family == AF_INET ? p->bits / 8 : p->bits / 4);

    if (l->n_labels < labels)
        return l->name;
    const char *start = l->labels[l->n_labels - labels].p - 1;
    return (struct str){start, (size_t)(l->name.p + l->name.n - start)};
}

/* The range of ours that the address is in, or that a shorter name lies inside of. */
static const struct ip_prefix *our_range(const struct zone *z, const struct ip_addr *ip,
                                         unsigned bits)
{
    for (size_t i = 0; i < ARRAY_LEN(z->reverse); i++) {
        const struct ip_prefix *p = &z->reverse[i];
        if (p->addr.family == ip->family && p->addr.family && bits >= p->bits &&
            ip_prefix_contains(p, ip))
            return p;
    }
    return NULL;
}

static enum zone_result reverse(struct lookup *l, struct str *ret_apex)
{
    struct ip_addr ip;
    unsigned bits;
    char bytes[17];
    bool whole = reverse_address(l, &ip, &bits);

    if (!ip.family)
        return ZONE_NOT_MINE;
    const struct ip_prefix *range = our_range(l->z, &ip, bits);
    struct zone_address *e =
        whole ? catalog_get(&l->z->addresses, zone_address_key(&ip, bytes)) : NULL;
    if (!range && !e)
        return ZONE_NOT_MINE;
    if (!l->z->synced)
        return ZONE_NOT_READY;
    l->ret->slot = 0;
    *ret_apex = range ? reverse_apex(l, range) : l->name;
    /* Between range and address: there is something below, unless a label was no number. */
    l->exists = e || (!whole && bits == (l->n_labels - 2) * (ip.family == AF_INET ? 8 : 4));
    for (; e && wants(l, DNS_PTR); e = e->next)
        add_pointers(l, e->service, &ip);
    return ZONE_ANSWER;
}

/* ---- all ---- */

bool zone_in_domain(const struct zone *z, const uint8_t *name, size_t n)
{
    if (n < z->domain_n || memcmp(name + n - z->domain_n, z->domain, z->domain_n) != 0)
        return false;
    for (size_t at = 0; at <= n - z->domain_n; at += 1u + name[at])
        if (at == n - z->domain_n)
            return true;
    return false; /* the bytes are there, but inside of a label */
}

/* from: the first record of the last name of a chain. The code is that name's too (RFC 6604). */
static void finish(struct lookup *l, size_t from, struct str apex)
{
    l->ret->records.rcode = l->exists ? DNS_NOERROR : DNS_NXDOMAIN;
    if (l->n == from)
        (void)add(l, (struct dns_record){.owner = apex,
                                         .type = DNS_SOA,
                                         .section = DNS_AUTHORITY,
                                         .ttl_s = DNS_CLUSTER_TTL_S,
                                         .name = l->z->soa_name,
                                         .mail = l->z->soa_mail,
                                         .serial = (uint32_t)l->z->generation[0]});
    l->ret->records.v = l->v;
    l->ret->records.n = l->n;
}

enum zone_result zone_lookup(const struct zone *z, struct str name, uint16_t type, struct arena *a,
                             struct zone_answer *ret)
{
    struct lookup l = {
        .z = z, .a = a, .name = name, .type = type, .ret = ret, .room = DNS_ANSWER_ROOM};
    struct str apex = {(const char *)z->domain, z->domain_n};
    enum zone_result r = ZONE_ANSWER;
    unsigned hops = 0;
    size_t from = 0;

    *ret = (struct zone_answer){0};
    if (!zone_in_domain(z, (const uint8_t *)name.p, name.n)) {
        split(&l);
        r = reverse(&l, &apex);
    } else if (!z->synced) {
        r = ZONE_NOT_READY;
    } else {
        /* An ExternalName may lead to another name of ours, and that to a third. */
        for (;; hops++) {
            ret->chase = STR_NONE;
            l.exists = false;
            from = l.n;
            split(&l);
            in_domain(&l, l.n_labels - z->domain_labels);
            for (size_t i = from; hops && i < l.n; i++)
                if (!l.v[i].owner.n)
                    l.v[i].owner = l.name;
            if (!ret->chase.n)
                break;
            if (!zone_in_domain(z, (const uint8_t *)ret->chase.p, ret->chase.n)) {
                r = ZONE_CHASE;
                break;
            }
            if (hops == DNS_CNAMES_MAX) { /* a circle */
                ret->chase = STR_NONE;
                ret->records.rcode = DNS_SERVFAIL;
                ret->generation = z->generation[0];
                ret->slot = 0;
                return ZONE_ANSWER;
            }
            l.name = ret->chase;
        }
    }
    if (r == ZONE_NOT_MINE || r == ZONE_NOT_READY)
        return r;
    if (hops)
        ret->slot = 0;
    ret->generation = z->generation[ret->slot];
    if (r == ZONE_ANSWER)
        finish(&l, from, apex);
    else
        ret->records = (struct dns_records){.v = l.v, .n = l.n};
    return r;
}
