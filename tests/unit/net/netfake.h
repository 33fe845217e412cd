/* A client whose lists and watches a test makes up: it lists what was put in and streams what is
 * changed. Services, EndpointSlices and Nodes only. */
#pragma once

#include "api/object.h"
#include "client/client.h"

struct fake_list {
    struct object **v;
    size_t n, cap;
    client_watch_fn fn;
    void *fn_arg;
};

struct fake {
    struct client base; /* {&fake_ops, rt} */
    struct fake_list services, slices, nodes, none;
    rev_t rev;
};

extern const struct client_ops fake_ops;
void fake_fini(struct fake *f);
/* msg NULL: deletes it. */
void put(struct fake *f, const struct schema_kind *k, struct str name, const void *msg);

struct svc_spec {
    const char *name, *ip, *protocol;
    uint16_t port, node_port, target;
    uint32_t affinity_s;
    const char *ns;
    bool local;           /* externalTrafficPolicy */
    const char *balancer; /* address of a load balancer */
    const char *external; /* an external IP */
    const char *range;    /* loadBalancerSourceRanges */
    uint16_t health;      /* healthCheckNodePort */
};

void put_service(struct fake *f, const struct svc_spec *s);
/* node_names may be NULL, or hold NULL: no node known. */
void put_endpoints_on(struct fake *f, const struct svc_spec *s, const char *const *ips,
                      const char *const *node_names, size_t n);
void put_endpoints(struct fake *f, const struct svc_spec *s, const char *const *ips, size_t n);
