/* NetworkPolicy: defaults and rules. Enums and the form of a CIDR are in the tables; what remains
 * are the rules between fields. Kubernetes: pkg/apis/networking/validation
 * (ValidateNetworkPolicySpec), pkg/apis/networking/v1/defaults.go. */
#include "api/network_policy.h"

#include "api/check.h"
#include "schema/schema.h"

#include <arpa/inet.h>

/* A range as bytes; false: not one (the table has said so). */
struct range {
    uint8_t b[16];
    unsigned n, bits;
};

static bool range_parse(struct str s, struct range *ret)
{
    char text[INET6_ADDRSTRLEN];
    struct str head;
    uint64_t bits;
    if (!str_cut(&s, '/', &head) || head.n >= sizeof(text) || str_to_u64(s, &bits) < 0)
        return false;
    memcpy(text, head.p, head.n);
    text[head.n] = '\0';
    ret->n = inet_pton(AF_INET, text, ret->b) == 1    ? 4
             : inet_pton(AF_INET6, text, ret->b) == 1 ? 16
                                                      : 0;
    ret->bits = (unsigned)bits;
    return ret->n && bits <= ret->n * 8;
}

static bool range_is_inside(const struct range *in, const struct range *of)
{
    if (in->n != of->n || in->bits <= of->bits)
        return false;
    unsigned whole = of->bits / 8, rest = of->bits % 8;
    return memcmp(in->b, of->b, whole) == 0 &&
           (!rest || (in->b[whole] ^ of->b[whole]) >> (8 - rest) == 0);
}

static void network_policy_fill(void *msg, struct arena *a)
{
    struct api_network_policy_spec *s = &((struct api_network_policy *)msg)->spec;
    if (s->n_policy_types)
        return;
    s->policy_types = ARENA_NEW_N(a, struct str, 2);
    s->policy_types[s->n_policy_types++] = STR("Ingress");
    if (s->n_egress)
        s->policy_types[s->n_policy_types++] = STR("Egress");
}

static const char *port_number_check(int32_t port)
{
    return port < 1 || port > 65535 ? "must be between 1 and 65535, inclusive" : NULL;
}

static void validate_port(const struct api_network_policy_port *p, struct str path,
                          struct error *err)
{
    PATH(port, "%s.port", path.p);
    PATH(end, "%s.endPort", path.p);
    if (p->port.type == INT_OR_STR_NONE) {
        if (p->has_end_port)
            check_invalid_int(err, end, p->end_port,
                              "may not be specified when `port` is not specified");
    } else if (p->port.type == INT_OR_STR_STR) {
        if (p->has_end_port)
            check_invalid_int(err, end, p->end_port,
                              "may not be specified when `port` is non-numeric");
        check_format(err, port, SCHEMA_FORMAT_PORT_NAME, p->port.s);
    } else {
        const char *why = port_number_check(p->port.i);
        if (why)
            check_invalid_int(err, port, p->port.i, why);
        if (!p->has_end_port)
            return;
        if (p->end_port < p->port.i)
            check_invalid_int(err, end, p->port.i, "must be greater than or equal to `port`");
        why = port_number_check(p->end_port);
        if (why)
            check_invalid_int(err, end, p->end_port, why);
    }
}

static void validate_ip_block(const struct api_ip_block *b, struct str path, struct error *err)
{
    struct range cidr, except;
    bool known = range_parse(b->cidr, &cidr);
    for (uint32_t i = 0; i < b->n_except; i++) {
        PATH(at, "%s.except[%u]", path.p, i);
        const char *why = schema_format_check(SCHEMA_FORMAT_CIDR, b->except[i]);
        if (why)
            check_invalid(err, at, b->except[i], why);
        else if (known && (!range_parse(b->except[i], &except) || !range_is_inside(&except, &cidr)))
            check_invalid(err, at, b->except[i], "must be a strict subset of `cidr`");
    }
}

static void validate_peer(const struct api_network_policy_peer *p, struct str path,
                          struct error *err)
{
    PATH(pods, "%s.podSelector", path.p);
    PATH(namespaces, "%s.namespaceSelector", path.p);
    PATH(block, "%s.ipBlock", path.p);
    check_label_selector(err, pods, p->pod_selector);
    check_label_selector(err, namespaces, p->namespace_selector);
    if (p->ip_block)
        validate_ip_block(p->ip_block, block, err);
    if (!p->pod_selector && !p->namespace_selector && !p->ip_block)
        check_required(err, path, "must specify a peer");
    else if (p->ip_block && (p->pod_selector || p->namespace_selector))
        check_forbidden(err, path, "may not specify both ipBlock and another peer");
}

static void validate_rule(const struct api_network_policy_port *ports, uint32_t n_ports,
                          const struct api_network_policy_peer *peers, uint32_t n_peers,
                          const char *path, const char *peers_name, struct error *err)
{
    for (uint32_t i = 0; i < n_ports; i++) {
        PATH(at, "%s.ports[%u]", path, i);
        validate_port(&ports[i], at, err);
    }
    for (uint32_t i = 0; i < n_peers; i++) {
        PATH(at, "%s.%s[%u]", path, peers_name, i);
        validate_peer(&peers[i], at, err);
    }
}

static void network_policy_validate(const void *msg, struct error *err)
{
    const struct api_network_policy_spec *s = &((const struct api_network_policy *)msg)->spec;
    check_label_selector(err, STR("spec.podSelector"), &s->pod_selector);
    for (uint32_t i = 0; i < s->n_ingress; i++) {
        const struct api_network_policy_ingress_rule *r = &s->ingress[i];
        PATH(at, "spec.ingress[%u]", i);
        validate_rule(r->ports, r->n_ports, r->from, r->n_from, at.p, "from", err);
    }
    for (uint32_t i = 0; i < s->n_egress; i++) {
        const struct api_network_policy_egress_rule *r = &s->egress[i];
        PATH(at, "spec.egress[%u]", i);
        validate_rule(r->ports, r->n_ports, r->to, r->n_to, at.p, "to", err);
    }
    if (s->n_policy_types > 2)
        (void)error_cause(err, CAUSE_INVALID, STR("spec.policyTypes"),
                          "Invalid value: may not specify more than two policyTypes");
}

const struct api_hooks network_policy_hooks = {.kind = KIND_NETWORK_POLICY,
                                               .generation = true,
                                               .fill = network_policy_fill,
                                               .validate = network_policy_validate};
