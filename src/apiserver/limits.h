/* Every limit of the API server that is not an option, each with its reason. */
#pragma once

#define API_BODY_BYTES_MAX (3u << 20) /* as kube-apiserver; etcd's own limit is half of it */
#define API_CALLS_IN_FLIGHT_MAX                                                                    \
    2000 /* of one front; over it 429. 2,000 calls of 3 MB are never all large */
#define API_SEATS                                                                                  \
    600 /* calls that run at once, those of system:masters aside; as kube-apiserver (400 + 200) */
#define API_LIST_OBJECTS_PER_SEAT                                                                  \
    100 /* a list takes so many more seats: ten thousand objects keep both threads busy for 30 ms  \
         */
#define API_SCOPED_LIST_SEATS_MAX                                                                  \
    10 /* of a list in one namespace, or of fewer by an index: how many it finds is not known */
#define API_WAITING_MAX 1000 /* calls of one priority level that wait for a seat */
#define API_WAITING_ALL_MAX                                                                        \
    4000 /* of all levels, of one front: a waiting call is some 8 KB, its body not yet read */
#define API_WAIT_MAX_S    30    /* then 429: most clients give up after 60 s */
#define API_RETRY_AFTER_S 1     /* what a 429 tells: a full queue drains in well under a second */
#define API_WATCHES_MAX   20000 /* of one front: 5,000 nodes with four watches each */
#define API_WATCH_BYTES_MAX                                                                        \
    (8u << 20) /* queued for one watcher; a slower one is cut and relists                          \
                */
#define API_WATCH_TIMEOUT_MIN_S                                                                    \
    1800 /* a watch without timeoutSeconds ends after 1..2 times this                              \
          */
#define API_BOOKMARK_PERIOD_S                                                                      \
    60 /* as kube-apiserver: so that resumed watches start near the end                            \
        */
#define API_HEALTH_EXCLUDES_MAX  32     /* ?exclude= of a health check: there are fewer checks */
#define API_LIST_CHUNK_MAX       100000 /* a larger `limit` is cut to this */
#define API_NAME_TRIES           8      /* generateName: tries for a free name, as kube-apiserver */
#define API_GENERATE_NAME_MAX    58     /* 63 less the five random characters */
#define API_USER_GROUPS_MAX      256    /* groups of one identity (impersonation chooses them) */
#define API_USER_EXTRA_MAX       64     /* extra values of one identity, likewise */
#define API_TOKEN_BYTES_MAX      8192   /* a service account token is about 1 KB */
#define API_TOKEN_LABELS_MAX     32     /* labels of use being written; more wait for the next */
#define API_TOKEN_LABELS_PAUSE_S 10     /* without such writes, after one that was refused */
#define API_TOKEN_CACHE_MAX      4096   /* verified tokens remembered by an I/O thread */
#define API_WARNING_BYTES_MAX    4096   /* one; as kube-apiserver cuts all of them together */
#define API_WARNINGS_BYTES_MAX   16384  /* of one answer: clients bound their headers */
#define API_EVENTS_SWEEP_MAX     1000   /* expired Events removed in one turn */
#define API_REQUEST_ID_BYTES_MAX 64 /* a longer Audit-ID of a client is replaced; a UUID has 36 */
#define API_PROXY_IDLE_MS                                                                          \
    (4 * 3600 * 1000) /* exec and port-forward without a byte, as kubelets                         \
                       */

#define API_UNKNOWN_KEYS_MAX                                                                       \
    200 /* requests of one I/O thread that wait for the key of their token; others get 401 */
#define API_REMOTE_DOCUMENT_BYTES_MAX                                                              \
    (1u << 20) /* of what the server of an aggregated API says of itself; usually some KB */
#define API_REMOTE_CALLS_MAX                                                                       \
    1000 /* calls of one I/O thread to one address of such a server: one that hangs keeps no more  \
          */
#define API_REMOTE_CONNECTIONS_MAX 256   /* to it, if it speaks HTTP/1.1 only: a watch takes one */
#define API_REMOTE_TIMEOUT_MS      60000 /* as kube-apiserver, of all that is no watch */
#define API_REMOTE_CLIENTS_MAX     256   /* addresses whose connections an I/O thread keeps */
#define API_PROXY_BODY_BYTES_MAX                                                                   \
    (256u << 10) /* of a request's body on its way: then its sender waits */

#define OUTCALLS_MAX                                                                               \
    1000 /* calls to webhooks under way: each holds a request's object, printed; over it the       \
            request fails */
#define OUTCALL_SERVERS_MAX     256 /* servers whose connections are kept; some 20 KB each */
#define OUTCALL_CONNECTIONS_MAX 64  /* to one of them: webhooks that ask us back hold two */

/* Conversion webhooks */
#define CONVERT_OBJECT_BYTES_MAX (3u << 20)  /* an object may grow by: as a request's body */
#define CONVERT_ANSWER_BYTES_MAX (32u << 20) /* of one answer: four of these batches */
#define CONVERT_VALUES_MAX       2000000     /* JSON values of it; 48 bytes each while it is read */
#define CONVERT_TIMEOUT_MS       30000       /* as kube-apiserver: waiting for its turn included */
#define CONVERT_CALLS_MAX        32          /* under way of one definition; others wait */
#define CONVERT_BATCH_BYTES_MAX  (8u << 20)  /* of objects in one call, as they lie in memory */
#define CONVERT_CACHE_BYTES_MAX  (64u << 20) /* what is kept, of all definitions */
#define WATCH_CONVERT_EVENTS_MAX 16384       /* as the store's window; then the client lists anew */
#define WATCH_CONVERT_BYTES_MAX  (32u << 20) /* of their objects, which are held */

/* The Kubernetes whose types are served (shared/reference): /version says so. */
#define API_KUBERNETES_MINOR "36"
