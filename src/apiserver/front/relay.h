/* pods/proxy, services/proxy and nodes/proxy: a request is carried to a server in the cluster that
 * the client cannot reach, or may not (relay.c; the bytes move in proxy.c). */
#pragma once

#include "apiserver/aggregate/aggregate.h"
#include "apiserver/front/links.h"

/* I/O thread. True: the path is one of these; *ret says how it is to be understood, x->route and
 * x->call are filled in. */
bool relay_route(struct exchange *x, enum route_result *ret);
/* Core thread: policies and webhooks are asked, then the address goes into the reply. Positive:
 * webhooks are asked (hooks.h). */
int relay_resolve(struct api_call *c) MUST_CHECK;
/* I/O thread: what of the client's headers the server gets. */
size_t relay_headers(struct exchange *x, struct http_header *v, size_t max);
/* I/O thread, once the address is known: for links in the answer. In the call's arena. */
const struct links_base *relay_links(struct exchange *x);
/* Of the answer: what only the server's own origin may say, and we not for it. */
bool relay_is_cors(struct str name);
