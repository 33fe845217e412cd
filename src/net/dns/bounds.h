/* Every bound of the name server, and why it is what it is. */
#pragma once

#include "base/base.h"

/* ---- the wire ---- */
#define DNS_NAME_MAX       255 /* RFC 1035, with the root's byte */
#define DNS_LABELS_MAX     128 /* of a name of that size */
#define DNS_HEADER_BYTES   12
#define DNS_UDP_PLAIN_MAX  512  /* RFC 1035: a client without EDNS */
#define DNS_UDP_MAX        1232 /* passes every link unfragmented (IPv6's least MTU) */
#define DNS_TCP_MAX        65535
#define DNS_QUERY_MAX      2048  /* by TCP; the longest question with EDNS options has no 600 */
#define DNS_QUERY_EXTRAS   8     /* additional records of a query: OPT, TSIG, some unknown ones */
#define DNS_ANSWER_RRS_MAX 4096  /* of one answer: as many A records as 64 KB hold */
#define DNS_ANSWER_ROOM    60000 /* of records the zone puts into one: leaves room for the rest */
#define DNS_CNAMES_MAX     8     /* of a chain inside the cluster */

/* ---- times ---- */
#define DNS_CLUSTER_TTL_S  5    /* a service that moves is found again after so long */
#define DNS_TTL_MAX_S      3600 /* of what others say: an hour is long for a cluster */
#define DNS_NEGATIVE_MAX_S 900
#define DNS_STALE_S        3600 /* how long an old answer is better than none */
#define DNS_STALE_TTL_S    30   /* RFC 8767: of such an answer */
#define DNS_STALE_RETRY_S  30   /* RFC 8767: so long nobody waits for upstreams again */

/* ---- the cache ---- */
#define DNS_CACHE_ENTRIES_MAX 8192
#define DNS_CACHE_BYTES_MAX   (2u << 20)

/* ---- asking others ---- */
#define DNS_UPSTREAMS_MAX     3    /* what resolvers read of a resolv.conf */
#define DNS_FORWARDS_MAX      256  /* questions asked at a time, each with a socket of its own */
#define DNS_WAITERS_MAX       64   /* clients that wait for the same question */
#define DNS_ATTEMPTS_MAX      3    /* datagrams sent for a question */
#define DNS_ATTEMPT_MS        1500 /* three are over before a C library's 5 s */
#define DNS_FORWARD_TCP_MS    3000
#define DNS_FORGERIES_MAX     32   /* wrong datagrams to one of ours: then somebody is guessing */
#define DNS_RESOLV_RECHECK_MS 1000 /* how often resolv.conf is looked at, while asked for */
#define DNS_RESOLV_BYTES_MAX  65536

/* ---- clients ---- */
#define DNS_UDP_QUEUE_MAX      1024      /* answers the kernel has not taken */
#define DNS_UDP_BUFFER_BYTES   (1 << 20) /* a burst of some thousand queries */
#define DNS_TCP_CONNS_MAX      128
#define DNS_TCP_INFLIGHT_MAX   16 /* of a connection: then it is not read any more */
#define DNS_TCP_IDLE_S         10
#define DNS_HOLD_MS            3000 /* after the start, for the Services: over before a C library's 5 s */
#define DNS_HELD_MAX           1024 /* questions kept then */
#define DNS_BIND_RETRY_S       5    /* somebody else has the address: look again */
#define DNS_SERVICE_SLICES_MAX 1024
