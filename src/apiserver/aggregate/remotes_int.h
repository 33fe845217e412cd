/* What remotes.c and remote_check.c share: the core thread's half of a remote. */
#pragma once

#include "apiserver/aggregate/remotes.h"
#include "http/client.h"

#include <pthread.h>

enum remote_reason { /* why it was not available; counted */
                     REMOTE_SERVICE_NOT_FOUND,
                     REMOTE_SERVICE_PORT,
                     REMOTE_ENDPOINTS_NOT_FOUND,
                     REMOTE_MISSING_ENDPOINTS,
                     REMOTE_FAILED_CHECK,
                     _REMOTE_REASON_MAX,
};

struct remote_entry {
    struct remotes *remotes;
    char *name;
    bool is_builtin; /* checked, but never given requests */
    /* under the lock, written by the core thread alone */
    struct remote *remote;
    struct blob *resources, *openapi, *swagger;
    bool stale;
    /* the check */
    struct rt_timer timer;
    struct http_client *client; /* of client_at, for the remote client_serial */
    char client_at[300];
    uint64_t client_serial;
    struct http_call *call;
    struct arena arena; /* of one check */
    struct outcall_place *places;
    size_t n_places, place;
    bool again, stopped, has_openapi;
    unsigned failures, passes;
    uint64_t went_away[_REMOTE_REASON_MAX];
};

struct remotes {
    struct apiserver *server;
    pthread_mutex_t lock;
    _Atomic size_t n;
    _Atomic uint64_t generation;
    struct map by_name; /* struct remote_entry */
    uint64_t serial;
    struct store_watch apiservices, services, slices;
};

/* resources NULL: as before; else taken. */
void remote_told(struct remote_entry *e, struct blob *resources, bool stale);
void remote_told_openapi(struct remote_entry *e, struct str url);
void remote_told_swagger(struct remote_entry *e, struct str document);

void remote_check_init(struct remote_entry *e);
void remote_check_new_spec(struct remote_entry *e); /* what is known counts no more */
void remote_check_soon(struct remote_entry *e);
void remote_check_fini(struct remote_entry *e); /* idempotent; nothing is checked any more */
