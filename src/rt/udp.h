/* struct rt_udp: a datagram socket on a loop. Datagrams are taken and sent in batches (recvmmsg,
 * sendmmsg); what the callback sends leaves together after each batch.
 *
 * Invariants
 * - Loop thread only. The callback may send and may close the socket.
 * - The queue of unsent datagrams is bounded: when the kernel takes no more and the queue is full,
 *   further ones are dropped and counted, as a network would.
 * - Nothing is allocated while the queue has grown to its working size.
 * - The simulator has no sockets: rt_udp_open is -ENOTSUP there. */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/str.h"
#include "rt/rt.h"

#include <sys/socket.h>

#define RT_UDP_DATAGRAM_MAX 2048 /* longer ones are dropped: they would have been fragments */
#define RT_UDP_BATCH        32   /* fills the loop's scratch buffer: 32 times 2 KB */

struct rt_udp;

struct rt_udp_peer {
    socklen_t len; /* 0: the one the socket is connected to */
    struct sockaddr_storage addr;
};

/* data is borrowed and valid during the call. */
typedef void (*rt_udp_fn)(void *arg, const struct rt_udp_peer *from, struct str data);
/* What the kernel says about datagrams sent before: -ECONNREFUSED ... (connected sockets). */
typedef void (*rt_udp_error_fn)(void *arg, int err);

struct rt_udp_opts {
    const char *addr;   /* "10.96.0.10:53", literal; port 0: a random free one. NULL: any, with
                           peer only */
    const char *peer;   /* connects: only its datagrams come in. NULL: anybody's */
    const char *device; /* only packets of this link (SO_BINDTODEVICE); NULL: all */
    bool freebind;      /* the address may not be on this host yet */
    unsigned queue_max; /* datagrams; 0: RT_UDP_BATCH */
    int buffer_bytes;   /* of the kernel, each way; 0: its default */
};

int rt_udp_open(struct rt *rt, const struct rt_udp_opts *opts, rt_udp_fn fn,
                rt_udp_error_fn on_error /* or NULL */, void *arg, struct error *err,
                struct rt_udp **ret) MUST_CHECK;
/* Sends a copy of data at the end of the batch or turn. to NULL: the connected peer. */
void rt_udp_send(struct rt_udp *u, const struct rt_udp_peer *to, const void *data, size_t n);
/* The same without the copy: room for n bytes (<= RT_UDP_DATAGRAM_MAX), to be filled and committed
 * before the next call on u; NULL when the queue is full (counted as dropped). */
uint8_t *rt_udp_reserve(struct rt_udp *u, size_t n);
void rt_udp_commit(struct rt_udp *u, const struct rt_udp_peer *to, size_t n);
uint16_t rt_udp_port(const struct rt_udp *u); /* ours */
uint64_t rt_udp_dropped(const struct rt_udp *u);
/* What is queued is tried once more, the rest is lost. Takes NULL, returns NULL. */
struct rt_udp *rt_udp_close(struct rt_udp *u);
