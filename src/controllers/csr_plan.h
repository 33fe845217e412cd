/* What becomes of a certificate request, as far as the cluster's own signers are asked: pure. */
#pragma once

#include "api/csr.h"
#include "rt/crypto.h"

#define CSR_CERT_DAYS_MAX 365

enum csr_for {
    CSR_FOR_OTHERS,      /* not decided here: people, or other controllers */
    CSR_FOR_NODE,        /* a machine that joins asks for its identity */
    CSR_FOR_NODE_AGAIN,  /* a node renews its own */
    CSR_FOR_NODE_SERVER, /* a node's HTTPS API */
};

/* What the request is, if it is exactly what a node asks for. *ret_node: its name, a view into
 * facts. */
enum csr_for csr_recognize(const struct api_certificate_signing_request *c,
                           const struct cert_facts *f, struct str *ret_node);
/* The subresource of certificatesigningrequests that the requester must be allowed to create for
 * the request to be approved; NULL for CSR_FOR_OTHERS. */
const char *csr_permission(enum csr_for what);

/* Whether a serving certificate may carry the names it asks for: the node's own name, and addresses
 * that the request came from, or that the Node (NULL: not there) has. Asked from the server's own
 * machine (loopback) any address will do that foreign(arg, ip) does not call another node's. */
bool csr_names_ok(const struct api_certificate_signing_request *c, const struct cert_facts *f,
                  struct str node_name, const struct api_node *node,
                  bool (*foreign)(void *arg, struct str ip), void *arg);

bool csr_node_has(const struct api_node *n, struct str ip); /* NULL: no */

/* The certificate a signer of ours makes: facts of the request, life and uses as asked for within
 * bounds. *err says why not (-EBADMSG). Views into f and c. */
int csr_cert_spec(const struct api_certificate_signing_request *c, const struct cert_facts *f,
                  int64_t now_s, struct cert_spec *ret, struct error *err) MUST_CHECK;
bool csr_signer_is_ours(struct str signer);

/* A join that was approved and has made no Node yet: the name is promised to its key. */
bool csr_is_promise(const struct api_certificate_signing_request *c);

/* Seconds from now after which the request can be deleted; 0: now. */
int64_t csr_keep_s(const struct api_certificate_signing_request *c, int64_t now_s);
