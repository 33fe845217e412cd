/* Servers of aggregated APIs: what APIServices that name a Service stand for.
 *
 * The core thread keeps one struct remote for each such APIService, asks its server whether it is
 * there (remote_check.c), and writes the finding to the APIService. I/O threads look remotes up for
 * requests and for discovery. A struct remote does not change but for `available`; whoever holds a
 * reference may use it on any thread. A version that is built in is never given away. */
#pragma once

#include "apiserver/internal.h"
#include "base/blob.h"
#include "rt/tls.h"

#include <stdatomic.h>

struct remotes;

struct remote {
    _Atomic uint32_t refs;
    uint64_t serial; /* unique: connections made for an older one are not its own */
    struct str name, group, version, ns, service;
    char *server_name; /* its certificate must be for this: SERVICE.NS.svc */
    uint16_t port;
    int32_t group_priority, version_priority;
    struct rt_tls_client *tls; /* NULL: tls_error says why there is none */
    struct str tls_error;
    _Atomic bool available;
    unsigned turn; /* core thread: of its endpoints */
    struct arena arena;
};
struct remote *remote_ref(struct remote *r);
struct remote *remote_unref(struct remote *r); /* takes NULL; returns NULL */

/* What discovery tells of one. */
struct remote_view {
    struct remote *remote;  /* a reference */
    struct blob *resources; /* a reference: the value of "resources" in aggregated discovery; NULL:
                               never heard of any */
    struct blob *openapi;   /* a reference: where its OpenAPI v3 document is; NULL: it has none */
    struct blob *swagger;   /* a reference: its OpenAPI v2 document as it came; NULL: it has none */
    bool stale;             /* that is what was known when it last answered */
};

struct remotes *remotes_new(struct apiserver *s);
struct remotes *remotes_free(struct remotes *rs); /* takes NULL; returns NULL */
void remotes_stop(struct remotes *rs);            /* no more checks; takes NULL */
/* The front proxy's certificate is a new one. */
void remotes_reload(struct remotes *rs);
void remotes_metrics(struct remotes *rs, struct buf *out);

/* Any thread. rs may be NULL. A reference, or NULL: the version is not served elsewhere. */
struct remote *remotes_find(struct remotes *rs, struct str group, struct str version);
uint64_t remotes_generation(struct remotes *rs); /* changes with what the views tell */
/* Malloc'ed; remotes_views_free. */
struct remote_view *remotes_views(struct remotes *rs, size_t *ret_n);
void remotes_views_free(struct remote_view *v, size_t n);

/* ---- pure parts (remote_parse.c) ---- */

/* An APIResourceList, told as aggregated discovery does: the array of resources. -EINVAL: it is
 * none. */
int remote_resources(struct str list, struct str group, struct str version,
                     struct buf *out) MUST_CHECK;
/* Where the document of a version is, in an index of OpenAPI v3; absent: nowhere. In a. */
struct str remote_openapi_url(struct str index, struct str group, struct str version,
                              struct arena *a);

/* What an OpenAPI v2 document has to add to ours, as members with a comma in front: paths of the
 * version, and definitions that Kubernetes does not have. Nothing when it cannot be read. */
void remote_swagger(struct str document, struct str group, struct str version, struct buf *paths,
                    struct buf *definitions);

/* What a request is about, as far as its path and method tell (Kubernetes: RequestInfo). */
struct request_info {
    struct str group, version, resource, ns, name, subresource; /* resource empty: a plain path */
    const char *verb;                                           /* static or in a */
    bool is_long; /* a watch, or a connection: no time limit */
};
/* Paths under /api/VERSION and /apis/GROUP/VERSION are about resources, others are plain. Strings are
 * decoded, in a. -EINVAL: it cannot be decoded. */
int request_info_read(struct str method, struct str path, struct str query, struct arena *a,
                      struct request_info *ret) MUST_CHECK;

/* ---- remote_check.c: core thread ---- */

/* Why a Service cannot serve an APIService: a reason and a message in a; NULL: it can. slices:
 * those of its namespace. */
const char *remote_service_fault(const struct api_apiservice_reference *ref,
                                 const struct api_service *svc,
                                 const struct api_endpoint_slice *const *slices, size_t n,
                                 struct arena *a, struct str *ret_message);
