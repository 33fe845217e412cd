/* What the files of the front half share. An I/O thread (struct io) owns its loop, its HTTP server
 * and its exchanges; nothing here is touched by the core thread but what is said so. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "apiserver/flow/flow.h"
#include "apiserver/front/front.h"
#include "apiserver/internal.h"
#include "apiserver/front/negotiate.h"
#include "apiserver/front/route.h"
#include "apiserver/auth/issuers.h"
#include "apiserver/auth/token.h"
#include "http/client.h"
#include "http/server.h"
#include "rt/tls.h"

struct front_watch;
struct fan;
struct fan_bytes;

/* Counters any thread may read. */
#define METRIC_VERBS   11 /* enum api_verb */
#define METRIC_CODES   24
#define METRIC_BUCKETS 9
struct metrics {
    _Atomic uint64_t requests[METRIC_VERBS][METRIC_CODES];
    _Atomic uint64_t latency[METRIC_VERBS][METRIC_BUCKETS];
    _Atomic uint64_t latency_sum_us[METRIC_VERBS];
    _Atomic int64_t in_flight, watches;
    _Atomic uint64_t watch_events, watch_cut, rejected;
};
void metrics_count(struct metrics *m, enum api_verb verb, int code, nsec_t took);
void metrics_print(struct metrics *const *m, size_t n, struct buf *out);

#define FAN_TOLD                                                                                   \
    256 /* chunks an I/O thread remembers while a large batch is told: 32 MB at most               \
         */

struct io {
    struct front *front;
    struct rt *rt;
    struct rt_thread *thread;
    struct rt_listener *listener, *advertised; /* the second: NULL when the first covers it */
    struct http_server *http;
    struct list exchanges;
    size_t n_exchanges, n_in_flight, n_handshakes;
    struct list unknown; /* exchanges that wait for a token's key; n_unknown */
    size_t n_unknown;
    struct rt_post keys_post; /* core: the issuer's keys are others, or not to be had */
    _Atomic bool keys_told;   /* it is on its way */
    struct list tunnels;      /* struct tunnel, proxy.c */
    struct map nodes;         /* "host:port" -> struct node_client, proxy.c */
    struct map remotes;       /* "serial host:port" -> struct node_client, proxy.c */
    struct map tokens;        /* token -> struct token_entry, authn.c */
    struct metrics metrics;
    struct io_flows {         /* front_flow.c */
        pthread_mutex_t lock; /* of fair and slots: other threads look at them (/debug) */
        struct fair *fair;    /* owned */
        struct flow_slot {    /* a level of fair */
            char *name;       /* owned; NULL: free */
            bool leaving;     /* its level is gone, its calls are not */
        } * slots;
        unsigned n_slots;
        unsigned *slot_of;               /* owned; by level of the table */
        struct flow_table *table;        /* a reference; what new calls go by */
        struct flow_table *_Atomic next; /* a reference; set by the core thread */
        struct rt_post post;
        struct rt_task task;   /* seats have become free while somebody waits */
        struct rt_timer timer; /* somebody waits: for too long? */
    } flows;
    struct { /* fan.c: chunks of shared batches, encoded */
        uint64_t serial;
        size_t from, n; /* events of the batch */
        const struct schema_kind *kind;
        enum media media;
        enum accept_as as;
        struct fan_bytes *bytes; /* a reference */
    } told[FAN_TOLD];
    struct rt_timer swagger_timer; /* discovery_idle; since this thread last used what is kept */
    unsigned n_streaming;          /* watches within a batch of several chunks */
    bool stopping, drained;
    int64_t stop_timeout_ms;
    struct rt_post stop_post, stopped_post, reload_post;
};

struct front {
    struct apiserver *server;
    struct io *ios; /* n_ios */
    unsigned n_ios, n_running;
    struct rt_tls_server *tls;
    struct rt_tls_client *node_tls, *any_tls; /* any: of servers nobody vouches for (relay.c) */
    struct pkey *token_key;                   /* borrowed from the PKI */
    struct discovery *discovery;
    struct fan *fan;          /* owned; core thread */
    struct flow_table *flows; /* a reference; core thread */
    /* Objects of each kind, as last seen; the last one: of kinds declared at run time. */
    _Atomic uint32_t kind_counts[_KIND_MAX + 1];
    uint16_t port;
    void (*done)(void *arg);
    void *done_arg;
    bool stopping;
};

/* One request from its head to its answer. */
struct exchange {
    struct list link, unknown_link;
    struct io *io;
    struct http_request *req;
    struct api_call *call; /* owned */
    struct route route;
    enum route_result found;
    struct accept accept;
    enum schema_unknown unknown;
    bool pretty, gone, counted;
    bool unacceptable;      /* of a path: JSON will do, or it is refused */
    char accept_object;     /* includeObject of tables: None, Metadata, Object */
    uint8_t unknown_rounds; /* how often it waited */
    bool unknown_key;       /* it waits among io->unknown for the key of its token */
    bool in_core; /* the call is on its way through the core: wait for it before finishing */
    struct front_watch *watch;
    struct tunnel *tunnel;
    struct remote *remote; /* a reference: who serves it instead of us */
    struct fair_item seat;
    struct flow_table *flow_table; /* a reference; NULL: nobody asked for a seat */
    unsigned flow_schema;          /* of flow_table */
};

/* ---- exchange.c ---- */
void exchange_handle(struct http_request *req, void *arg);
/* Ends the exchange with one answer; takes the body. Extra headers may be NULL. */
void exchange_answer(struct exchange *x, int code, const char *content_type, struct http_bytes body,
                     const struct http_header *extra, size_t n_extra);
void exchange_answer_buf(struct exchange *x, int code, const char *content_type, struct buf *b);
/* Ends it with x->call's error (set it with call_error first; returns nothing). */
void exchange_fail(struct exchange *x, int r);
/* The request was finished by somebody else (upgrade, stream): only let go. */
void exchange_release(struct exchange *x);
void exchange_to_core(struct exchange *x); /* starts the call there; exchange_reply comes back */
/* Refuses with a Status; for what happens before there is a kind. */
void exchange_refuse(struct exchange *x, enum error_reason reason, const char *fmt, ...)
    PRINTF(3, 4);

/* ---- audit_event.c ---- */
/* Who asks and for what is known: from here on the request is told of, if the policy says so. */
void audit_begin(struct exchange *x);
void audit_body(struct exchange *x);    /* what was sent is decoded */
void audit_started(struct exchange *x); /* it goes on for long from now on */
/* It is over; once, while x->call is there. */
void audit_end(struct exchange *x, int code);

/* ---- front_flow.c: priority and fairness ---- */
/* May the call begin? */
enum flow_verdict {
    FLOW_RUN,
    FLOW_WAIT, /* exchange_begin is called when it may, or it is refused; flow_leave takes it out */
    FLOW_FULL, /* nothing was taken */
};
enum flow_verdict flow_enter(struct exchange *x);
void flow_leave(
    struct exchange *x); /* gives its seats back, or its place in the queue; idempotent */
/* The two headers that name schema and level, 0 or 2 of them; they live as long as the table. */
size_t flow_headers(const struct exchange *x, struct http_header h[static 2]);
void flow_start(struct io *io);
void flow_stop(struct io *io); /* before the loop goes */
/* ---- front_flow_figures.c: on an I/O thread ---- */
void flow_metrics(struct io *io, struct buf *out);
bool flow_dump_known(struct str path); /* of /debug/api_priority_and_fairness */
void flow_dump(struct exchange *x, struct buf *out);
void flow_dump_levels(struct exchange *x, struct buf *out);
extern const double flow_wait_bounds[FLOW_WAITS];
void flow_count(struct front *f, struct api_call *c); /* core: how many of c's kind there are */
void flow_count_all(struct front *f);                 /* core */
void exchange_begin(struct exchange *x);              /* exchange.c: it has its seats */
void exchange_authenticate_again(struct io *io);      /* exchange.c: those in io->unknown */
void exchange_too_many(struct exchange *x);           /* exchange.c: 429 */

/* ---- authn.c ---- */
/* Who asks: fills call->user. 0, or -EACCES: 401; -EAGAIN, only when it may wait: the key his token
 * names is being fetched, exchange_authenticate_again is called when it is known whether there is
 * one. */
int authn_request(struct io *io, struct http_request *req, enum oidc_wait wait,
                  struct api_call *call) MUST_CHECK;
void authn_forget(struct io *io);

/* ---- decode.c ---- */
/* Query options into the call. 0 or an error in the call's reply. */
int decode_options(struct exchange *x) MUST_CHECK;
int decode_body(struct exchange *x, struct str body) MUST_CHECK;

/* ---- encode.c ---- */
/* The answer of a finished call, in the format the exchange agreed on. */
void encode_reply(struct exchange *x);
/* One watch event appended in the stream's framing. first: the first event of the stream. */
void encode_event(struct exchange *x, const struct client_event *e, bool first, struct buf *b);
/* A JSON document as YAML; false: it stays as it is. */
bool encode_as_yaml(struct buf *b);
const char *encode_content_type(const struct accept *a, bool stream);

/* ---- front_watch.c ---- */
void front_watch_begin(struct exchange *x); /* io: the call was allowed */
bool front_watch_core(
    struct api_call *c); /* core: starts the watch; false: the call's reply is an error */
void front_watch_end(struct exchange *x); /* io: ends the stream */

/* ---- proxy.c ---- */
void proxy_start(struct exchange *x); /* after API_CONNECT or API_PROXY was resolved */
void proxy_stop(struct io *io);
void proxy_cancel(struct exchange *x); /* the client is gone */

/* ---- paths.c, discovery.c ---- */
bool path_known(struct exchange *x);
/* No part of the server has the first of it (the group, behind /apis): there the answer to who may
 * ask is a plain page, elsewhere a Status. */
bool path_is_nowhere(struct str path);
void path_not_found(struct exchange *x);
void path_answer(struct exchange *x); /* after API_PATH was allowed */
void path_core(struct api_call *c);   /* core thread: what /metrics and /readyz need from there */
/* Shared by all I/O threads; kept in step with the custom kinds that are served. */
struct discovery *discovery_new(struct kinds *customs, struct remotes *remotes);
struct discovery *discovery_free(struct discovery *d);
/* What /api tells clients. Any thread. */
void discovery_set_address(struct discovery *d, struct str host, uint16_t port);
/* False: no such document. */
bool discovery_answer(struct discovery *d, struct exchange *x);
/* What nobody has asked for lately is given back. Any thread. */
void discovery_idle(struct discovery *d, nsec_t now);
void discovery_print(struct discovery *d, struct buf *out); /* for people */

void io_maybe_stopped(struct io *io);
