/* Requests that go to the servers of aggregated APIs (aggregate.c); carried there by proxy.c, as
 * are those of relay.h. */
#pragma once

#include "apiserver/front/front_int.h"
#include "apiserver/aggregate/remotes.h"

/* What the core is told of such a request; in the call's arena. */
struct api_proxy {
    struct remote *remote; /* borrowed from the exchange; NULL: a server in the cluster (relay.h) */
    enum {
        PROXY_PLAIN,
        PROXY_TLS,     /* whatever its certificate */
        PROXY_NODE,    /* the API of a node */
    } how;             /* without a remote; set by the core */
    struct str rest;   /* without a remote: the path there, escaped */
    struct str prefix; /* without a remote: the client's path up to "/proxy" */
    struct str path;   /* and as the options of the connect tell it: plain, maybe absent */
    const struct schema_kind *kind;      /* without a remote: whose proxy it is; else NULL */
    struct str group, version, resource; /* resource empty: authorized as a path */
    bool is_long;                        /* a watch or a connection: no time limit, no seat */
    enum error_reason refusal; /* nobody serves it: what it is told when it may ask (unserved.c) */
    bool of_custom;            /* refused: it is below an object of a custom kind */
};

/* I/O thread. True: the path is another server's; *ret says how it is to be understood, x->route
 * and x->call are filled in. */
bool aggregate_route(struct exchange *x, enum route_result *ret);
/* The client's headers, less what only we may say, and who asks. In the call's arena. -EINVAL: they
 * cannot be told. */
int aggregate_headers(struct exchange *x, bool upgrade, struct http_header *v, size_t max,
                      size_t *ret_n) MUST_CHECK;
/* Core thread: the address of the server. */
int verb_proxy(struct api_call *c) MUST_CHECK;

/* unserved.c, I/O thread: what the path would be about, in place of x->found. */
void unserved_route(struct exchange *x);
int unserved_answer(struct api_call *c) MUST_CHECK; /* core thread */

/* proxy.c: headers of one connection. */
bool proxy_is_hop(struct str name);
/* aggregate.c: the client's address behind those it named. In the call's arena. */
struct str proxy_forwarded_for(const struct exchange *x);
