/* The upstreams of a node: the name servers of its resolv.conf, read again when it changes. */
#pragma once

#include "net/dns/bounds.h"
#include "sys/ip.h"

struct dns_resolv {
    const char *path, *stub_path; /* borrowed; stub_path: what a local stub's own servers are in */
    const struct ip_addr *own;    /* borrowed: addresses of ours, never to be asked */
    size_t n_own;
    struct ip_addr servers[DNS_UPSTREAMS_MAX];
    size_t n;
    struct { /* of the files when they were read */
        uint64_t ino, size;
        int64_t mtime_ns;
    } seen[2];
};

/* Name servers of a resolv.conf's text, in order; returns how many. */
size_t dns_resolv_parse(struct str text, struct ip_addr *ret, size_t max);
/* Reads what changed since; true: the servers did. Files that are not there have none. */
bool dns_resolv_refresh(struct dns_resolv *r);
