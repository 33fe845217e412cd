/* A ConfigMap and no kind of its own: a person can read it with kubectl, and every server has it.
 */
#include "api/cluster.h"

#include <stdio.h>

#include "api/kv.h"

static const char *const network_names[_CLUSTER_NETWORK_MAX] = {
    [CLUSTER_NETWORK_VXLAN] = "vxlan",
    [CLUSTER_NETWORK_ROUTES] = "routes",
    [CLUSTER_NETWORK_AUTO] = "auto",
};

const char *cluster_network_name(enum cluster_network n)
{
    ASSERT(n >= 0 && n < _CLUSTER_NETWORK_MAX);
    return network_names[n];
}

enum cluster_network cluster_network_parse(struct str s)
{
    for (int i = 0; i < _CLUSTER_NETWORK_MAX; i++)
        if (str_eqz(s, network_names[i]))
            return i;
    return _CLUSTER_NETWORK_INVALID;
}

/* The first two bytes of an IPv4 address; -1: it is none. */
static int first_bytes(const char *ip, unsigned *ret_second)
{
    unsigned a, b;
    if (!ip || sscanf(ip, "%3u.%3u.", &a, &b) != 2)
        return -1;
    *ret_second = b;
    return (int)a;
}

const char *cluster_default_pod_cidr(const char *node_ip)
{
    unsigned b;
    return first_bytes(node_ip, &b) == 10 && b >= 128 && b < 192 ? CLUSTER_CIDR_OTHER
                                                                 : CLUSTER_CIDR_DEFAULT;
}

const char *cluster_default_service_cidr(const char *node_ip)
{
    unsigned b;
    return first_bytes(node_ip, &b) == 10 && b == 96 ? SERVICE_CIDR_OTHER : SERVICE_CIDR_DEFAULT;
}

void cluster_config_print(const struct cluster_config *c, struct arena *a,
                          struct api_config_map *ret)
{
    *ret = (struct api_config_map){
        .metadata = {.name = STR(CLUSTER_CONFIG_NAME), .namespace = STR("kube-system")}};
    kv_str_set(a, &ret->data, &ret->n_data, STR("clusterCIDR"), c->pod_cidr);
    kv_str_set(a, &ret->data, &ret->n_data, STR("clusterDomain"), c->domain);
    kv_str_set(a, &ret->data, &ret->n_data, STR("network"),
               str_z(cluster_network_name(c->network)));
    kv_str_set(a, &ret->data, &ret->n_data, STR("serviceCIDR"), c->service_cidr);
    kv_str_set(a, &ret->data, &ret->n_data, STR("vni"), arena_printf(a, "%u", c->vni));
}

static int missing(struct error *err, const char *key)
{
    (void)error_set(err, REASON_INTERNAL,
                    "ConfigMap kube-system/" CLUSTER_CONFIG_NAME " has no good value for %s", key);
    return -EBADMSG;
}

int cluster_config_read(const struct api_config_map *m, struct cluster_config *ret,
                        struct error *err)
{
    struct cluster_config c = {0};
    const struct {
        const char *key;
        struct str *to;
    } texts[] = {{"clusterCIDR", &c.pod_cidr},
                 {"serviceCIDR", &c.service_cidr},
                 {"clusterDomain", &c.domain}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const struct str *v = kv_str_get(m->data, m->n_data, str_z(texts[i].key));
        if (!v || !v->n)
            return missing(err, texts[i].key);
        *texts[i].to = *v;
    }
    const struct str *network = kv_str_get(m->data, m->n_data, STR("network"));
    const struct str *vni = kv_str_get(m->data, m->n_data, STR("vni"));
    uint64_t n = 0;
    c.network = network ? cluster_network_parse(*network) : _CLUSTER_NETWORK_INVALID;
    if (c.network < 0)
        return missing(err, "network");
    if (!vni || str_to_u64(*vni, &n) < 0 || n == 0 || n >= 1u << 24)
        return missing(err, "vni");
    c.vni = (uint32_t)n;
    *ret = c;
    return 0;
}
