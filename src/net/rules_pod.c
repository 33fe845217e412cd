/* What each local pod needs in the table: that it may reach itself by a Service, and its host
 * ports. Two pods may want one host port for a moment (the old one going, the new one coming): the
 * first holds it. */
#include "net/rules_internal.h"

#include "base/mem.h"

static void host_port_key(const struct net_host_port *p, char out[static 48])
{
    snprintf(out, 48, IP4_FMT ":%u:%u", IP4_ARG(p->host_ip), p->proto, p->host_port);
}

static void host_port_put(const struct host_port_state *h, enum put what, struct net_batch *b)
{
    const struct net_host_port *p = &h->port;
    if (p->host_ip)
        batch_put(b, what, NET_MAP_HP_IP,
                  (const uint32_t[]){p->host_ip, p->proto, p->host_port, h->pod_ip, p->pod_port},
                  NULL);
    else
        batch_put(b, what, NET_MAP_HP,
                  (const uint32_t[]){p->proto, p->host_port, h->pod_ip, p->pod_port}, NULL);
}

static void claim_ports(struct net_rules *r, struct pod_state *pod, struct net_batch *b)
{
    for (size_t i = 0; i < pod->n_ports; i++) {
        char key[48];
        host_port_key(&pod->ports[i], key);
        if (map_get(&r->host_ports, str_z(key)))
            continue;
        struct host_port_state *h = NEW(struct host_port_state);
        memcpy(h->key, key, sizeof(key));
        h->owner = pod;
        h->pod_ip = pod->ip;
        h->port = pod->ports[i];
        map_set(&r->host_ports, str_z(h->key), h);
        host_port_put(h, PUT_ADD, b);
    }
}

static void release_ports(struct net_rules *r, struct pod_state *pod, struct net_batch *b)
{
    for (size_t i = 0; i < pod->n_ports; i++) {
        char key[48];
        host_port_key(&pod->ports[i], key);
        struct host_port_state *h = map_get(&r->host_ports, str_z(key));
        if (!h || h->owner != pod)
            continue;
        host_port_put(h, PUT_REMOVE, b);
        map_remove(&r->host_ports, str_z(h->key));
        free(h);
    }
}

static void claim_freed(struct net_rules *r, struct net_batch *b)
{
    for (struct map_slot *s = NULL; (s = map_next(&r->pods, s));)
        claim_ports(r, s->value, b);
}

static bool same_ports(const struct pod_state *pod, const struct net_host_port *ports, size_t n)
{
    if (pod->n_ports != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (pod->ports[i].host_ip != ports[i].host_ip ||
            pod->ports[i].host_port != ports[i].host_port ||
            pod->ports[i].pod_port != ports[i].pod_port || pod->ports[i].proto != ports[i].proto)
            return false;
    return true;
}

static void pod_drop(struct net_rules *r, struct pod_state *pod, struct net_batch *b)
{
    bool had_ports = pod->n_ports > 0;
    release_ports(r, pod, b);
    batch_put(b, PUT_REMOVE, NET_MAP_HAIRPIN, (const uint32_t[]){pod->ip, pod->ip}, NULL);
    map_remove(&r->pods, str_z(pod->uid));
    free(pod->uid);
    free(pod->ports);
    free(pod);
    if (had_ports)
        claim_freed(r, b);
}

void net_rules_pod(struct net_rules *r, struct str uid, uint32_t ip,
                   const struct net_host_port *ports, size_t n, struct net_batch *b)
{
    struct pod_state *pod = map_get(&r->pods, uid);
    if (pod && ip && pod->ip == ip && same_ports(pod, ports, n))
        return;
    if (pod)
        pod_drop(r, pod, b);
    if (!ip)
        return;
    pod = NEW(struct pod_state);
    pod->uid = str_dup(uid);
    pod->ip = ip;
    pod->n_ports = n;
    pod->ports = xcalloc(n + 1, sizeof(*ports));
    if (n)
        memcpy(pod->ports, ports, n * sizeof(*ports));
    map_set(&r->pods, str_z(pod->uid), pod);
    batch_put(b, PUT_ADD, NET_MAP_HAIRPIN, (const uint32_t[]){ip, ip}, NULL);
    claim_ports(r, pod, b);
}

void pods_print(const struct net_rules *r, struct net_batch *b)
{
    for (struct map_slot *s = NULL; (s = map_next(&r->pods, s));) {
        const struct pod_state *pod = s->value;
        batch_put(b, PUT_ADD, NET_MAP_HAIRPIN, (const uint32_t[]){pod->ip, pod->ip}, NULL);
    }
    for (struct map_slot *s = NULL; (s = map_next(&r->host_ports, s));)
        host_port_put(s->value, PUT_ADD, b);
}
