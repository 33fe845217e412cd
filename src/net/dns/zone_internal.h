/* Between zone.c (what there is) and zone_answer.c (what is answered). */
#pragma once

#include "base/map.h"
#include "net/dns/zone.h"

struct zone_address { /* an address of a service, in the index of addresses */
    struct zone_service *service;
    struct zone_address *next; /* of another service with the same address */
    struct str key;            /* family and bytes, in `bytes` */
    char bytes[17];
};

struct zone_service {
    char *key; /* owned; "ns/name" */
    struct object *svc;
    struct object **slices;
    size_t n_slices;
    struct zone_address *addresses; /* owned */
    size_t n_addresses;
};

struct zone {
    uint8_t domain[DNS_NAME_MAX]; /* wire form */
    size_t domain_n;
    unsigned domain_labels;
    struct str soa_name, soa_mail, ns_name; /* owned by names */
    struct arena names;
    struct ip_addr dns_address;
    struct ip_prefix reverse[2];
    struct map services;   /* key -> struct zone_service */
    struct map namespaces; /* name -> struct zone_namespace */
    struct map addresses;  /* struct zone_address: key -> first of its list */
    uint64_t generation[256];
    bool synced;
};

struct zone_namespace {
    char *name; /* owned */
    size_t services;
};

uint8_t zone_slot(struct str key);
struct str zone_address_key(const struct ip_addr *a, char bytes[static 17]);
bool zone_is_headless(const struct api_service *s);

/* Endpoints one after the other that names are made of. */
struct zone_endpoints {
    const struct zone_service *s;
    size_t slice, endpoint;
};
struct zone_endpoint {
    const struct api_endpoint_slice *slice;
    const struct api_endpoint *endpoint;
    struct ip_addr ip;
};
bool zone_endpoints_next(struct zone_endpoints *it, struct zone_endpoint *ret);
