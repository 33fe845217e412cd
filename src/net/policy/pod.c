/* See pod.h. Ports count where they outlive the start: those of containers and of sidecars. */
#include "net/policy/pod.h"

#include <netinet/in.h>

static void take_ports(const struct api_container *c, struct policy_port *ports,
                       struct policy_pod *ret)
{
    for (uint32_t i = 0; i < c->n_ports; i++) {
        const struct api_container_port *p = &c->ports[i];
        if (!p->name.n || p->container_port < 1 || p->container_port > UINT16_MAX ||
            ret->n_ports == POLICY_POD_PORTS_MAX)
            continue;
        ports[ret->n_ports++] = (struct policy_port){
            .name = p->name,
            .port = (uint16_t)p->container_port,
            .proto = str_is(p->protocol, "UDP")    ? IPPROTO_UDP
                     : str_is(p->protocol, "SCTP") ? IPPROTO_SCTP
                                                   : IPPROTO_TCP,
        };
    }
}

static void take_ip(struct str text, struct policy_pod *ret)
{
    struct ip_addr ip;
    if (ret->n_ips == POLICY_POD_IPS_MAX || ip_parse(text, &ip) < 0)
        return;
    for (uint32_t i = 0; i < ret->n_ips; i++)
        if (ip_eq(&ret->ips[i], &ip))
            return;
    ret->ips[ret->n_ips++] = ip;
}

bool policy_pod_of(const struct api_pod *pod, struct policy_port ports[POLICY_POD_PORTS_MAX],
                   struct policy_pod *ret)
{
    const struct api_pod_spec *s = &pod->spec;
    if (s->host_network || str_is(pod->status.phase, "Succeeded") ||
        str_is(pod->status.phase, "Failed"))
        return false;
    *ret = (struct policy_pod){
        .uid = pod->metadata.uid,
        .ns = pod->metadata.namespace,
        .labels = pod->metadata.labels,
        .n_labels = pod->metadata.n_labels,
        .ports = ports,
        .created = pod->metadata.creation_timestamp.usec,
    };
    for (uint32_t i = 0; i < s->n_containers; i++)
        take_ports(&s->containers[i], ports, ret);
    for (uint32_t i = 0; i < s->n_init_containers; i++)
        if (str_is(s->init_containers[i].restart_policy, "Always"))
            take_ports(&s->init_containers[i], ports, ret);
    take_ip(pod->status.pod_ip, ret);
    for (uint32_t i = 0; i < pod->status.n_pod_ips; i++)
        take_ip(pod->status.pod_ips[i].ip, ret);
    return true;
}
