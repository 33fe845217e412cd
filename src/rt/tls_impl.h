/* Between the TLS contexts and the TLS streams. */
#pragma once

#include "rt/ossl.h"
#include "rt/tls.h"

#include <openssl/ssl.h>

/* A new SSL for one connection, or NULL when memory is out. Any thread. */
SSL *tls_server_ssl(struct rt_tls_server *t, nsec_t *ret_timeout);
/* -EINVAL: server_name or alpn is no good. */
int tls_client_ssl(struct rt_tls_client *t, const char *server_name, const char *const *alpn,
                   SSL **ret, nsec_t *ret_timeout);
/* Checks a client's certificate against the server's client CA as it is now; 0 or an X509_V_ERR. */
int tls_server_verify(struct rt_tls_server *t, X509 *peer, STACK_OF(X509) * chain);
