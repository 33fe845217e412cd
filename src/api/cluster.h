/* What all nodes of a cluster must agree on, kept in ConfigMap kube-system/davit-cluster: the
 * server writes it at its first start, nodes read it when they join, and it does not change
 * afterwards. */
#pragma once

#include "api/tables.gen.h"
#include "base/arena.h"
#include "base/error.h"

#define CLUSTER_CONFIG_NAME "davit-cluster"
#define CLUSTER_CONFIG_CA   "ca.crt" /* its key for the cluster's authority, PEM */
/* Away from what others and home routers like; the second of each where the first would swallow the
 * machine's own address (some clouds hand out addresses below 10.128). */
#define CLUSTER_CIDR_DEFAULT "10.128.0.0/10"
#define CLUSTER_CIDR_OTHER   "10.192.0.0/10"
#define SERVICE_CIDR_DEFAULT "10.96.0.0/16"
#define SERVICE_CIDR_OTHER   "172.30.0.0/16"
#define CLUSTER_DOMAIN       "cluster.local"

/* How packets between pods of different nodes travel. */
enum cluster_network {
    CLUSTER_NETWORK_VXLAN,  /* in UDP from node to node: works wherever nodes reach each other */
    CLUSTER_NETWORK_ROUTES, /* as they are: all nodes share a link that carries foreign addresses */
    CLUSTER_NETWORK_AUTO,   /* as they are to nodes on the same link, in VXLAN to the others */
    _CLUSTER_NETWORK_MAX,
    _CLUSTER_NETWORK_INVALID = -EINVAL,
};
const char *cluster_network_name(enum cluster_network n);
enum cluster_network cluster_network_parse(struct str s); /* _INVALID for anything else */

struct cluster_config {
    struct str pod_cidr; /* ranges of nodes are cut from it */
    struct str service_cidr;
    struct str domain;
    enum cluster_network network;
    uint32_t vni; /* 1..2^24-1: tells clusters on one wire apart */
};

/* The ranges of a cluster whose first machine has this address (NULL: not known). */
const char *cluster_default_pod_cidr(const char *node_ip);
const char *cluster_default_service_cidr(const char *node_ip);

/* The ConfigMap's content; key and value are in a. */
void cluster_config_print(const struct cluster_config *c, struct arena *a,
                          struct api_config_map *ret);
/* Strings are views into m. -EBADMSG and which key is at fault. */
int cluster_config_read(const struct api_config_map *m, struct cluster_config *ret,
                        struct error *err) MUST_CHECK;
