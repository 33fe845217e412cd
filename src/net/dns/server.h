/* Inside of struct dns: between server.c (answers), listen.c (sockets), tcp.c (connections) and
 * dns.c (life). All on the server's loop. */
#pragma once

#include <stdatomic.h>

#include "net/dns/cache.h"
#include "net/dns/dns.h"
#include "net/dns/forward.h"
#include "net/dns/zone.h"
#include "rt/stream.h"
#include "rt/udp.h"

struct dns_listen { /* one address; both protocols */
    struct dns *d;
    char addr[IP_TEXT_MAX + 8];
    char device[16]; /* "": any */
    bool best_effort, told;
    struct rt_udp *udp;
    struct rt_listener *tcp;
};
#define DNS_LISTENS_MAX 3

struct dns_conn {
    struct list link;
    struct dns *d;
    struct rt_stream *s; /* NULL: closed, kept for the answers under way */
    struct buf in;
    struct rt_timer idle;
    unsigned refs, inflight;
    bool eof;
};

/* Where an answer goes. */
struct dns_asker {
    struct rt_udp *udp; /* borrowed from a listen; NULL: conn */
    struct rt_udp_peer peer;
    struct dns_conn *conn;
};

struct dns {
    struct rt *rt;
    bool own_rt, started, stopping;
    struct rt_thread *thread;
    struct zone *zone;
    struct dns_cache *cache;
    struct dns_forward *forward;
    struct dns_forward_opts forward_opts; /* until started */
    struct ip_addr own[DNS_LISTENS_MAX];
    size_t n_own;
    struct dns_listen listens[DNS_LISTENS_MAX];
    size_t n_listens;
    struct rt_timer bind_retry;
    struct rt_timer hold_timer;
    struct list held; /* questions that wait for the Services */
    unsigned n_held;
    bool hold_over;
    struct list conns;
    unsigned n_conns;
    uint32_t rotation;
    struct arena scratch; /* of one lookup */
    struct {
        atomic_uint_fast64_t queries, errors, hits, forwarded, failed;
    } stats;
};

/* ---- server.c ---- */
/* A message of an asker; answers it now or later. False: it is none that gets an answer. */
bool dns_serve(struct dns *d, const struct dns_asker *from, struct str message);

/* The same for one that was counted and held. */
void dns_serve_held(struct dns *d, const struct dns_asker *from, struct str message);

/* ---- hold.c ---- */
void dns_hold_init(struct dns *d);
void dns_hold_start(struct dns *d); /* the time runs */
/* Keeps a question that cannot be answered yet. False: there is no hope of that any more, or there
 * are too many. */
bool dns_hold(struct dns *d, const struct dns_asker *from, struct str message);
void dns_hold_end(struct dns *d, bool serve); /* serve: all that were held. Idempotent */

/* ---- listen.c ---- */
void dns_listen_add(struct dns *d, const struct ip_addr *a, uint16_t port, const char *device,
                    bool best_effort);
void dns_listen_start(struct dns *d); /* those that are not open yet */
void dns_listen_stop(struct dns *d);

/* ---- tcp.c ---- */
void dns_conn_accept(struct dns *d, int fd); /* takes fd */
struct dns_conn *dns_conn_ref(struct dns_conn *c);
void dns_conn_unref(struct dns_conn *c);
/* Takes frame (malloc): length and message. One query less under way. */
void dns_conn_answer(struct dns_conn *c, char *frame, size_t n);
/* One query less, without an answer. */
void dns_conn_skip(struct dns_conn *c);
void dns_conns_close(struct dns *d);
