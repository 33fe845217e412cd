/* Shared by the files of the network transport only. */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "client/net_client.h"
#include "http/client.h"

#define NET_REPLY_BYTES_MAX ((uint64_t)256 << 20) /* a list of 100,000 pods */
#define NET_EVENT_BYTES_MAX ((size_t)16 << 20)    /* one watch line; objects are at most 3 MiB */

struct net_client {
    struct client client;
    struct http_client *http;  /* owned */
    struct rt_tls_client *tls; /* owned reference */
    struct arena arena;        /* of the two texts below */
    struct str authorization;  /* "Bearer ..." or absent */
    struct str user_agent;
    int64_t timeout_ms;
    struct list calls, watches; /* under way */
};

struct net_path { /* what a request target is made of */
    const struct schema_kind *kind;
    struct str ns, name, subresource;
};
/* "/apis/apps/v1/namespaces/x/deployments/y/status" */
void net_path_print(struct buf *b, const struct net_path *p);
/* "?key=value" or "&key=value", escaped; nothing when value is absent. */
void net_query_add(struct buf *b, const char *key, struct str value);

/* Starts the HTTP side; the common headers are added. */
#define NET_HEADERS_MAX 8
unsigned net_headers(const struct net_client *c, struct http_header *ret);

/* Status JSON -> *err; returns its errno. Any other text is quoted in the message. */
int net_status_read(int http_status, struct str body, struct error *err);
/* An object of kind read from a tree; NULL with err. */
struct object *net_object_read(const struct schema_kind *kind, const struct json *v,
                               struct error *err);

struct client_watch *net_watch_start(struct client *c, const struct client_watch_opts *opts,
                                     client_watch_fn fn, void *arg);
void net_watch_stop(struct client *c, struct client_watch *w);
