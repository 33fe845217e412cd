/* Ranges cannot change under the pods and Services that live in them, so a flag of a later start
 * that says otherwise stops it instead of being ignored. */
#include "main/cluster.h"

#include "rt/crypto.h"
#include "schema/schema.h"
#include "sys/ip.h"

#include <sys/socket.h>

#define POD_BITS_MIN     8  /* more addresses than a cluster can have pods */
#define POD_BITS_MAX     23 /* room for two nodes */
#define SERVICE_BITS_MIN 12
#define SERVICE_BITS_MAX 28

static int check_range(struct str text, const char *flag, uint8_t bits_min, uint8_t bits_max,
                       struct ip_prefix *ret, struct error *err)
{
    struct ip_prefix p;

    if (ip_prefix_parse(text, &p) < 0 || p.addr.family != AF_INET || p.bits < bits_min ||
        p.bits > bits_max)
        return error_set(err, REASON_BAD_REQUEST,
                         "%s: \"%.*s\" is no IPv4 range between /%u and /%u", flag, STR_ARG(text),
                         bits_min, bits_max);
    *ret = p;
    return 0;
}

static int check(const struct cluster_config *c, const char *node_ip, struct error *err)
{
    struct ip_prefix pods, services;
    struct ip_addr node;
    int r = check_range(c->pod_cidr, "--cluster-cidr", POD_BITS_MIN, POD_BITS_MAX, &pods, err);

    if (r == 0)
        r = check_range(c->service_cidr, "--service-cidr", SERVICE_BITS_MIN, SERVICE_BITS_MAX,
                        &services, err);
    if (r < 0)
        return r;
    if (ip_prefix_overlap(&pods, &services))
        return error_set(err, REASON_BAD_REQUEST,
                         "the addresses of pods (%.*s) and of Services (%.*s) overlap; choose with "
                         "--cluster-cidr and --service-cidr",
                         STR_ARG(c->pod_cidr), STR_ARG(c->service_cidr));
    if (node_ip && ip_parse(str_z(node_ip), &node) == 0 &&
        (ip_prefix_contains(&pods, &node) || ip_prefix_contains(&services, &node)))
        return error_set(err, REASON_BAD_REQUEST,
                         "this machine's address %s lies in a range of the cluster (pods %.*s, "
                         "Services %.*s); choose others with --cluster-cidr and --service-cidr",
                         node_ip, STR_ARG(c->pod_cidr), STR_ARG(c->service_cidr));
    return 0;
}

static int differs(const char *flag, const char *wish, struct str is, struct error *err)
{
    if (!wish || str_eqz(is, wish))
        return 0;
    return error_set(err, REASON_CONFLICT,
                     "%s %s: this cluster was made with %.*s, and that cannot change", flag, wish,
                     STR_ARG(is));
}

static int keep(const struct object *o, const struct cluster_wish *wish, struct arena *a,
                struct cluster_config *ret, struct error *err)
{
    int r = cluster_config_read(schema_clone(&api_config_map_desc, o->msg, a), ret, err);

    if (r == 0)
        r = differs("--cluster-cidr", wish->pod_cidr, ret->pod_cidr, err);
    if (r == 0)
        r = differs("--service-cidr", wish->service_cidr, ret->service_cidr, err);
    if (r == 0)
        r = differs("--network", wish->network, str_z(cluster_network_name(ret->network)), err);
    return r < 0 ? r : check(ret, wish->node_ip, err);
}

int cluster_settle(struct store *store, const struct cluster_wish *wish, struct arena *a,
                   struct cluster_config *ret, struct error *err)
{
    struct object *o = store_get(store, schema_kinds[KIND_CONFIG_MAP], STR("kube-system"),
                                 STR(CLUSTER_CONFIG_NAME));
    struct cluster_config c = {
        .pod_cidr =
            str_z(wish->pod_cidr ? wish->pod_cidr : cluster_default_pod_cidr(wish->node_ip)),
        .service_cidr = str_z(wish->service_cidr ? wish->service_cidr
                                                 : cluster_default_service_cidr(wish->node_ip)),
        .domain = STR(CLUSTER_DOMAIN),
        .network =
            wish->network ? cluster_network_parse(str_z(wish->network)) : CLUSTER_NETWORK_VXLAN,
    };
    int r;

    if (o)
        return keep(o, wish, a, ret, err);
    if (c.network < 0)
        return error_set(err, REASON_BAD_REQUEST,
                         "--network: \"%s\" is none of vxlan, routes, auto", wish->network);
    r = check(&c, wish->node_ip, err);
    if (r < 0)
        return r;
    while (!c.vni) {
        crypto_random(&c.vni, sizeof(c.vni));
        c.vni &= (1u << 24) - 1;
    }
    *ret = c;
    return 0;
}
