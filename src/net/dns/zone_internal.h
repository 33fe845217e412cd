/* Between zone.c (what there is) and zone_answer.c (what is answered). */
#pragma once

#include "base/catalog.h"
#include "base/map.h"
#include "net/dns/zone.h"

struct zone_address { /* an address of a service, in the index of addresses */
    struct zone_service *service;
    struct zone_address *next; /* of another service with the same address */
    char bytes[17];            /* family and address */
};

/* One block for most: there may be ten thousand. */
struct zone_service {
    struct zone_headless *headless; /* owned; NULL: it is none */
    union {
        struct zone_address one;   /* with no more than one */
        struct zone_address *many; /* owned */
    };
    uint32_t n_addresses;
    uint16_t ns_n, name_n;
    uint32_t n; /* bytes of text */
    bool external;
    char text[]; /* "ns/name", then the name an external one stands for (as text), or the named
                    ports (zone_ports_next) */
};

static inline const struct zone_address *zone_addresses(const struct zone_service *s)
{
    return s->n_addresses > 1 ? s->many : &s->one;
}

struct zone_headless { /* is answered from its endpoints, by the objects themselves */
    bool all;          /* also those not ready */
    size_t n_slices;
    struct object *slices[]; /* owned */
};

struct zone_port {
    struct str name, protocol;
    uint16_t port;
};
/* Ports that have a name; *at is 0 at first. */
bool zone_ports_next(const struct zone_service *s, size_t *at, struct zone_port *ret);
struct str zone_service_ns(const struct zone_service *s);
struct str zone_service_name(const struct zone_service *s);
struct str zone_external_name(const struct zone_service *s);

struct zone {
    uint8_t domain[DNS_NAME_MAX]; /* wire form */
    size_t domain_n;
    unsigned domain_labels;
    struct str soa_name, soa_mail, ns_name; /* owned by names */
    struct arena names;
    struct ip_addr dns_address;
    struct ip_prefix reverse[2];
    struct catalog services;  /* of struct zone_service, by "ns/name" */
    struct map namespaces;    /* name -> struct zone_namespace */
    struct catalog addresses; /* of struct zone_address, by address: the first of its list */
    uint64_t generation[256];
    bool synced;
};

struct zone_namespace {
    char *name; /* owned */
    size_t services;
};

uint8_t zone_slot(struct str key);
struct str zone_address_key(const struct ip_addr *a, char bytes[static 17]);

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
