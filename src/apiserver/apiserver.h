/* The API server: everything between a client's request and the store.
 *
 * Two halves. The core half runs on the core loop's thread (`core`), beside store, controllers and
 * scheduler: authorization, admission, verbs, watches. The front half runs on I/O threads of its
 * own: TLS, HTTP, routing, decoding and encoding. In-process clients (apiserver_client) talk to the
 * core half directly and share its objects; they work without any front, also on rt_sim.
 *
 * Life: apiserver_new (nothing is served yet, the default objects are being written),
 * apiserver_listen (optional), ..., apiserver_stop, and after its done callback apiserver_free. All
 * functions run on the core thread. */
#pragma once

#include "api/cluster.h"
#include "base/error.h"
#include "client/client.h"
#include "rt/rt.h"
#include "store/store.h"

struct apiserver;
struct audit;
struct oidc_opts;

/* All strings are copied. Zero means the default named behind. */
struct apiserver_opts {
    const char *pki_dir; /* where keys and certificates live, made on first use; NULL: none (no
                            front, no     tokens: simulator and unit tests) */
    bool pki_sync_later; /* keys made by apiserver_new are not flushed to the disk: the caller does
                            it before anybody is served */
    const char *const *sans; /* more names and addresses for the serving certificate */
    size_t n_sans;
    const char *service_cidr;             /* "10.96.0.0/16" */
    const struct cluster_config *cluster; /* borrowed for good; written as a ConfigMap at the first
                                             start. NULL: not (unit tests) */
    uint16_t nodeport_min, nodeport_max;  /* 30000, 32767 */
    const char
        *advertise_address; /* what the `kubernetes` Service points at; NULL: the listen address
                               unless it is a loopback or any address, then no endpoints */
    unsigned io_threads;    /* 1 */
    unsigned seats;         /* calls that run at once, those of system:masters aside; 600 */
    bool no_anonymous;      /* refuse requests without credentials, also health and version */
    int64_t event_ttl_s;    /* 3600 */
    /* What DefaultTolerationSeconds gives; without has_default_tolerations 300 s each. */
    bool has_default_tolerations;
    int64_t not_ready_toleration_s, unreachable_toleration_s;
    /* Admission plugins beyond, and out of, what is usual: "A,B". Not kept. */
    const char *enable_admission, *disable_admission;
    const struct oidc_opts
        *oidc;           /* tokens of an issuer are taken too (oidc.h); NULL: not. Not kept */
    struct audit *audit; /* taken over by apiserver_new, also when it fails; NULL: no audit log */
    bool no_bootstrap;   /* write no default objects (unit tests) */
};

/* Opens (or makes) the PKI, checks the serving certificate, and starts to write the default
 * objects: namespaces, RBAC, priority classes, the `kubernetes` Service. core and store are
 * borrowed. */
int apiserver_new(struct rt *core, struct store *store, const struct apiserver_opts *opts,
                  struct apiserver **ret, struct error *err) MUST_CHECK;
/* fn(arg) once, from the loop, when the default objects are durable (also when they were there
 * before). At most one fn. */
void apiserver_on_ready(struct apiserver *s, void (*fn)(void *arg), void *arg);
bool apiserver_is_ready(const struct apiserver *s);

/* Starts the HTTPS front on "ADDR:PORT" (port 0: any free one; see apiserver_port). Needs pki_dir.
 */
int apiserver_listen(struct apiserver *s, const char *addr, struct error *err) MUST_CHECK;
uint16_t apiserver_port(const struct apiserver *s); /* 0 before apiserver_listen */

/* Refuses new connections, ends watches, lets calls under way finish (at most timeout_ms), joins
 * the I/O threads. done(arg) comes from the loop. */
void apiserver_stop(struct apiserver *s, int64_t timeout_ms, void (*done)(void *arg), void *arg);
/* After apiserver_stop's done, or without any listen. In-process clients must have been freed.
 * Takes NULL; returns NULL. */
struct apiserver *apiserver_free(struct apiserver *s);

/* An in-process client (client/client.h) of the core half. user is an identity such as
 * "system:kube-scheduler"; with authorize false RBAC is not asked (controllers of this process),
 * else the call is authorized as if it came over the network (tests, the simulator's nodes).
 * Admission runs in both cases. Objects in replies and events are the store's own, shared. Free
 * with client_free. */
struct client *apiserver_client(struct apiserver *s, struct str user, const struct str *groups,
                                size_t n_groups, bool authorize);

/* The same for somebody who comes from elsewhere (the simulator's machines): always authorized. */
struct apiserver_peer {
    struct str user; /* of a certificate */
    const struct str *groups;
    size_t n_groups;
    struct str token;   /* a bootstrap token "ID.SECRET" instead of user and groups */
    struct str address; /* "192.0.2.7:4711": where the calls come from; empty: nowhere */
};
struct client *apiserver_client_peer(struct apiserver *s, const struct apiserver_peer *peer);

/* ---- credentials for others (need pki_dir) ---- */

/* Writes a kubeconfig (0600, atomically, not flushed) with an embedded client certificate.
 * admin: O=system:masters; node: CN=system:node:NAME, O=system:nodes. server_url:
 * "https://127.0.0.1:6443". */
int apiserver_write_admin_kubeconfig(struct apiserver *s, const char *path, const char *server_url,
                                     struct error *err) MUST_CHECK;
int apiserver_write_node_kubeconfig(struct apiserver *s, const char *node_name, const char *path,
                                    const char *server_url, struct error *err) MUST_CHECK;
/* A client certificate (valid a year) for user and groups; malloc'ed PEM texts. */
int apiserver_issue_client_cert(struct apiserver *s, struct str user, const struct str *groups,
                                size_t n_groups, char **ret_cert_pem, char **ret_key_pem,
                                struct error *err) MUST_CHECK;
/* The node's serving certificate (its HTTPS API): SANs are its name and addresses. Malloc'ed PEM
 * texts. */
int apiserver_issue_node_serving_cert(struct apiserver *s, const char *node_name,
                                      const char *const *addresses, size_t n, char **ret_cert_pem,
                                      char **ret_key_pem, struct error *err) MUST_CHECK;
/* Signs a public key with the cluster's authority (arg: the struct apiserver): what
 * controllers_opts.sign wants. */
struct pkey;
struct cert_spec;
int apiserver_sign(void *arg, const struct pkey *key, const struct cert_spec *spec, char **ret_pem,
                   struct error *err) MUST_CHECK;
/* The token of a service account for a Secret that is to hold it (arg: the struct apiserver): what
 * controllers_opts.sign_token wants. */
struct api_object_meta;
int apiserver_sign_token(void *arg, const struct api_object_meta *account, struct str secret,
                         struct arena *a, struct str *ret, struct error *err) MUST_CHECK;
/* The cluster CA in PEM, borrowed; NULL without pki_dir. The root CA ConfigMap controller publishes
 * it. */
const char *apiserver_ca_pem(const struct apiserver *s);
