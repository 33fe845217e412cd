/* Who a node is: its client certificate (in a kubeconfig) and the serving certificate of its own
 * HTTPS API. Got once with a join token, renewed by the node itself as long as it lives.
 *
 *   nothing, token --join-> client certificate --> serving certificate --> ready --> renewals
 *
 * Keys are made here and never leave the machine; what goes to the server are certificate requests
 * (certificates.k8s.io, signers kubernetes.io/kube-apiserver-client-kubelet and
 * .../kubelet-serving), approved by davit's controller or by a person. Killed at any moment, the
 * next start goes on: the key of a join under way is on disk before the request is sent. Loop
 * thread. */
#pragma once

#include "client/client.h"
#include "rt/tls.h"

struct identity;
struct kubeconfig;

/* How the server is reached; simulations bring a network of their own. Contracts as in
 * client/net_client.h. */
struct identity_net {
    int (*open)(void *arg, const struct kubeconfig *k, struct client **ret, struct error *err);
    int (*reload)(void *arg, struct client *c, const struct kubeconfig *k, struct error *err);
    void *arg;
};

struct identity_opts { /* all is copied */
    struct rt *rt;     /* borrowed */
    const char *node_name, *node_ip;
    const char *kubeconfig;           /* file */
    const char *cert_file, *key_file; /* of the node's API */
    const char *join_key_file;        /* the key while joining */
    const char *server_url, *token; /* how to join when there is no kubeconfig; both or none NULL */
    const struct identity_net *net; /* borrowed for good; NULL: HTTPS */
};

/* Once, from the loop. r == 0: client, CA and serving context are there. Else the node cannot be
 * who it is told to be, and err says why in words for the user (a server that cannot be reached is
 * no such case: it is tried again and again). */
typedef void (*identity_fn)(void *arg, int r, const struct error *err);

int identity_new(const struct identity_opts *opts, struct identity **ret,
                 struct error *err) MUST_CHECK;
void identity_start(struct identity *id, identity_fn ready, void *arg);
/* After ready; borrowed. Certificates in both are replaced in place when they are renewed. */
struct client *identity_client(const struct identity *id);
struct rt_tls_server *identity_tls(const struct identity *id);
/* What hangs on the client must be gone before; not from inside ready. Takes NULL; returns NULL. */
struct identity *identity_free(struct identity *id);
