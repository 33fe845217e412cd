/* Calls from the API server to servers of the user's: HTTPS POSTs of JSON to webhooks, and where
 * the server of a Service is (API aggregation asks that too).
 *
 * They run on a thread of their own, made with the first call: a handshake costs up to a
 * millisecond and printing or parsing a large object ten of them, which the core loop would not
 * have for anybody else meanwhile. So the body may be made and the answer read there too: `write`
 * and `read` must touch nothing that the core may change before `done`.
 *
 * A call is answered by `done` exactly once, on the core thread, never from inside outcall_start;
 * also after outcall_cancel. Only outcalls_free drops calls: then nothing comes any more, and what
 * `arg` points to is the caller's again. Functions without a word about it are the core thread's.
 */
#pragma once

#include "apiserver/apiserver.h"
#include "base/buf.h"

/* ---- the server behind a Service ---- */

#define OUTCALL_PLACES_MAX 4 /* tried one after the other when no connection is made */

struct outcall_place {
    struct str host; /* address or name, without brackets */
    uint16_t port;
};
/* Where a port of a Service can be reached: its ready endpoints (another one first each time), or
 * the name of an ExternalName. In a; at most OUTCALL_PLACES_MAX, at least one. Errors have
 * Kubernetes' words: -ENOENT (no such service), -EAGAIN (no such port, nobody is ready). *turn
 * counts calls. */
int outcall_resolve(struct store *store, struct str ns, struct str name, uint16_t port,
                    unsigned *turn, struct arena *a, struct outcall_place **ret, size_t *ret_n,
                    struct error *err) MUST_CHECK;

/* ---- calls ---- */

struct outcalls;
struct outcall;

/* All of it is copied by outcall_start. */
struct outcall_target {
    struct str url;            /* https://host[:port][/path]; absent: a Service */
    struct str ns, name, path; /* of the Service; the certificate must be for NAME.NS.svc */
    uint16_t port;             /* 0: 443 */
    struct str ca_bundle;      /* PEM; empty: the authorities of the host */
};

struct outcall_answer {
    int r;           /* 0: status was 200..206 and read was content */
    struct str what; /* r < 0: the whole error as Kubernetes tells it, 'Post "https://...": ...' or
                        what the status stands for, or read's message */
    bool answered;   /* the server did answer; r < 0 then says that its answer is no good */
    int status;      /* 0: no answer */
    struct str body; /* when there is no read; valid during done */
    nsec_t took;
};

struct outcall_request {
    struct outcall_target target;
    int64_t timeout_ms;                        /* > 0; all attempts together */
    uint64_t limit_bytes;                      /* of the answer; > 0 */
    struct str body;                           /* copied; or: */
    void (*write)(void *arg, struct buf *out); /* the call's thread */
    /* The call's thread, an answer with a good status. May be NULL. < 0: err says why. */
    int (*read)(void *arg, struct str body, struct error *err);
    void (*done)(void *arg, const struct outcall_answer *a);
    void *arg;
};

struct outcalls *outcalls_new(struct rt *core, struct store *store);
/* Drops all calls. Takes NULL; returns NULL. */
struct outcalls *outcalls_free(struct outcalls *x);
/* Never fails directly. */
struct outcall *outcall_start(struct outcalls *x, const struct outcall_request *q);
/* Ends soon, with -ECANCELED or what it had come to. Not after done. */
void outcall_cancel(struct outcall *c);
size_t outcalls_in_flight(const struct outcalls *x);

/* ---- pure parts ---- */

/* "https://host:port/path": host without brackets; path "/" when there is none. False: not one. */
bool outcall_url_parse(struct str url, struct str *ret_host, uint16_t *ret_port,
                       struct str *ret_path);
/* What a client of Kubernetes makes of a status that is no success; body: of the answer. In a. */
struct str outcall_status_text(int status, struct str body, struct arena *a);
