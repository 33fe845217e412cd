/* The part of a kubeconfig file that one connection needs: the current context's cluster and user.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct kubeconfig {
    struct arena arena; /* owned; holds the texts */
    const char *host;   /* of the server URL, without brackets */
    uint16_t port;
    struct str ca_pem, cert_pem, key_pem, token, server_name, ns; /* absent where not given */
    bool insecure;                                                /* insecure-skip-tls-verify */
    const uint8_t *ca_spki_sha256; /* never in a file: joining, instead of ca_pem (rt/tls.h) */
};

/* Reads a file (at most 1 MiB). context NULL: the current one. Errors name the file and the entry
 * at fault. */
int kubeconfig_load(const char *path, const char *context, struct kubeconfig *ret,
                    struct error *err) MUST_CHECK;
int kubeconfig_parse(struct str text, const char *context, struct kubeconfig *ret,
                     struct error *err) MUST_CHECK;
/* host and port of "https://HOST[:PORT]" into k. */
int kubeconfig_set_server(struct kubeconfig *k, struct str url, struct error *err) MUST_CHECK;
void kubeconfig_fini(struct kubeconfig *k);

/* A file for one cluster and one user, with everything embedded; appends. */
struct kubeconfig_text {
    const char *user, *server_url;
    struct str ca_pem, cert_pem, key_pem;
};
void kubeconfig_print(const struct kubeconfig_text *t, struct buf *out);
