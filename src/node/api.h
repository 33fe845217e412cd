/* Inside of the node's API server: requests of the API server about pods of this node. */
#pragma once

#include "http/server.h"
#include "node/agent.h"

struct api_call { /* one request, arguments of its path taken apart */
    struct node *node;
    struct http_request *req;
    struct str parts[6]; /* behind the first: namespace, pod, container ... decoded */
    unsigned n_parts;
};

typedef void (*api_handler_fn)(struct api_call *c);

/* Text answers with a status, as kubelets give errors. */
void api_fail(struct http_request *req, int status, const char *fmt, ...) PRINTF(3, 4);
/* The container a path names ("/x/{ns}/{pod}[/{uid}]/{container}"); answers 404 by itself and
 * returns NULL. */
struct ctr *api_find_ctr(struct api_call *c, bool must_run);
struct pod *api_find_pod(struct api_call *c);
/* Query parameters; absent ones: STR_NONE. */
struct str api_query(struct http_request *req, const char *name);
bool api_query_bool(struct http_request *req, const char *name); /* "1", "true" */

void api_logs(struct api_call *c); /* api_logs.c */
void api_exec(struct api_call *c); /* api_exec.c */
void api_attach(struct api_call *c);
void api_port_forward(struct api_call *c); /* api_portforward.c */
void api_stats(struct api_call *c);        /* api_stats.c */
void api_metrics_resource(struct api_call *c);
