/* TLS contexts: certificates, trust, protocol settings. A context outlives reloads; an SSL_CTX does
 * not: a reload builds a new one and swaps it under the lock, connections keep theirs. */
#include "rt/tls_impl.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdatomic.h>

#define TIMEOUT_DEFAULT   (10 * NSEC_PER_SEC)
#define ALPN_BYTES_MAX    256
#define TICKET_KEYS_BYTES 80 /* as SSL_CTX_set_tlsext_ticket_keys wants */
#define SESSION_LIFE_S    (2 * 3600)

/* AES-128 first: the fastest with AES-NI, and 128 bits are enough. */
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS_12                                                                                 \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE+AESGCM:ECDHE+CHACHA20"

struct rt_tls_server {
    atomic_int refs;
    pthread_mutex_t lock;     /* guards ctx, client_store */
    SSL_CTX *ctx;             /* owned */
    X509_STORE *client_store; /* owned; NULL: no client certificates */
    struct str client_ca_pem; /* owned */
    uint8_t alpn[ALPN_BYTES_MAX];
    unsigned alpn_n;
    nsec_t timeout;
};

struct rt_tls_client {
    atomic_int refs;
    pthread_mutex_t lock; /* guards ctx, session */
    SSL_CTX *ctx;         /* owned */
    SSL_SESSION *session; /* owned; the last one, for session_name */
    char *session_name;
    bool insecure, pinned;
    uint8_t pin[SHA256_BYTES];
    struct str ca_pem; /* owned */
    uint8_t alpn[ALPN_BYTES_MAX];
    unsigned alpn_n;
    nsec_t timeout;
};

/* ---- shared ---- */

/* "\x02h2\x08http/1.1" from a list. */
static int alpn_pack(const char *const *list, uint8_t out[ALPN_BYTES_MAX], unsigned *ret_n)
{
    unsigned n = 0;

    for (; list && *list; list++) {
        size_t k = strlen(*list);
        if (k == 0 || k > 255 || n + k + 1 > ALPN_BYTES_MAX)
            return -EINVAL;
        out[n++] = (uint8_t)k;
        memcpy(out + n, *list, k);
        n += (unsigned)k;
    }
    *ret_n = n;
    return 0;
}

static SSL_CTX *new_ctx(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    ASSERT(ctx);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Buffers of idle connections (34 KB each) are given back: watchers are many and mostly idle.
     */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_timeout(ctx, SESSION_LIFE_S);
    ASSERT(SSL_CTX_set_ciphersuites(ctx, CIPHERS_13) == 1);
    ASSERT(SSL_CTX_set_cipher_list(ctx, CIPHERS_12) == 1);
    ASSERT(SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1);
    return ctx;
}

static int use_cert(SSL_CTX *ctx, struct str cert_pem, struct str key_pem, struct error *err)
{
    BIO *b = bio_of(cert_pem);
    X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL), *more;
    struct pkey *key = NULL;
    int r = 0;

    if (!x || SSL_CTX_use_certificate(ctx, x) != 1)
        r = ossl_error(err, -EINVAL, "cannot read the certificate");
    while (r == 0 && (more = PEM_read_bio_X509(b, NULL, NULL, NULL)))
        ASSERT(SSL_CTX_add0_chain_cert(ctx, more) == 1);
    ERR_clear_error(); /* the end of the file is an "error" */
    X509_free(x);
    BIO_free(b);
    if (r == 0)
        r = pkey_from_pem(key_pem, err, &key);
    if (r == 0 && (SSL_CTX_use_PrivateKey(ctx, key->p) != 1 || SSL_CTX_check_private_key(ctx) != 1))
        r = ossl_error(err, -EINVAL, "the private key is not the certificate's");
    pkey_free(key);
    return r;
}

/* All certificates of pem as trust anchors. */
static int load_store(struct str pem, X509_STORE **ret, STACK_OF(X509_NAME) * names,
                      struct error *err)
{
    X509_STORE *store = X509_STORE_new();
    BIO *b = bio_of(pem);
    X509 *x;
    int n = 0;

    ASSERT(store);
    for (; (x = PEM_read_bio_X509(b, NULL, NULL, NULL)); n++) {
        ASSERT(X509_STORE_add_cert(store, x) == 1);
        if (names)
            sk_X509_NAME_push(names, X509_NAME_dup(X509_get_subject_name(x)));
        X509_free(x);
    }
    BIO_free(b);
    if (n == 0) {
        X509_STORE_free(store);
        return ossl_error(err, -EINVAL, "cannot read the authority's certificate");
    }
    ERR_clear_error();
    *ret = store;
    return 0;
}

static struct str own(struct str s)
{
    return s.p ? (struct str){str_dup(s), s.n} : STR_NONE;
}

/* ---- server ---- */

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                       const unsigned char *in, unsigned in_n, void *arg)
{
    struct rt_tls_server *t = arg;

    if (SSL_select_next_proto((unsigned char **)out, out_n, t->alpn, t->alpn_n, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301: no protocol in common */
    return SSL_TLSEXT_ERR_OK;
}

/* The stream verifies after the handshake, so that resumed sessions are checked as well and a bad
 * certificate leads to an answer of HTTP instead of an alert. */
static int verify_later(X509_STORE_CTX *ctx, void *arg)
{
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

static int server_ctx(struct rt_tls_server *t, struct str cert_pem, struct str key_pem,
                      struct str ca_pem, struct error *err, SSL_CTX **ret, X509_STORE **ret_store)
{
    SSL_CTX *ctx = new_ctx(TLS_server_method());
    STACK_OF(X509_NAME) * names;
    uint8_t id[SHA256_BYTES];
    int r = use_cert(ctx, cert_pem, key_pem, err);

    *ret_store = NULL;
    if (r == 0 && ca_pem.p) {
        names = sk_X509_NAME_new_null();
        r = load_store(ca_pem, ret_store, names, err);
        SSL_CTX_set_client_CA_list(ctx, names); /* takes names */
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_cert_verify_callback(ctx, verify_later, NULL);
    }
    if (r < 0) {
        SSL_CTX_free(ctx);
        return r;
    }
    /* Sessions are bound to the client authority: another one, no resumption. */
    sha256_of(ca_pem, id);
    SSL_CTX_set_session_id_context(ctx, id, SSL_MAX_SID_CTX_LENGTH);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets only: no memory of ours */
    SSL_CTX_set_num_tickets(ctx, 1);
    if (t->alpn_n)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, t);
    *ret = ctx;
    return 0;
}

int rt_tls_server_new(const struct rt_tls_server_opts *opts, struct error *err,
                      struct rt_tls_server **ret)
{
    static const char *const http[] = {"h2", "http/1.1", NULL};
    struct rt_tls_server *t = NEW(struct rt_tls_server);
    int r;

    atomic_init(&t->refs, 1);
    pthread_mutex_init(&t->lock, NULL);
    t->timeout = opts->handshake_timeout ? opts->handshake_timeout : TIMEOUT_DEFAULT;
    r = alpn_pack(opts->alpn ? opts->alpn : http, t->alpn, &t->alpn_n);
    if (r == 0)
        r = server_ctx(t, opts->cert_pem, opts->key_pem, opts->client_ca_pem, err, &t->ctx,
                       &t->client_store);
    if (r < 0) {
        rt_tls_server_unref(t);
        return r;
    }
    t->client_ca_pem = own(opts->client_ca_pem);
    *ret = t;
    return 0;
}

int rt_tls_server_reload(struct rt_tls_server *t, struct str cert_pem, struct str key_pem,
                         struct str client_ca_pem, struct error *err)
{
    uint8_t keys[TICKET_KEYS_BYTES];
    X509_STORE *store, *old_store;
    SSL_CTX *ctx, *old;
    struct str ca;
    int r;

    pthread_mutex_lock(&t->lock);
    ca = own(client_ca_pem.p ? client_ca_pem : t->client_ca_pem);
    pthread_mutex_unlock(&t->lock);
    r = server_ctx(t, cert_pem, key_pem, ca, err, &ctx, &store);
    if (r < 0) {
        free((char *)ca.p);
        return r;
    }
    pthread_mutex_lock(&t->lock);
    if (SSL_CTX_get_tlsext_ticket_keys(t->ctx, keys, sizeof(keys)) == 1)
        SSL_CTX_set_tlsext_ticket_keys(ctx, keys, sizeof(keys));
    crypto_wipe(keys, sizeof(keys));
    old = t->ctx;
    old_store = t->client_store;
    free((char *)t->client_ca_pem.p);
    t->ctx = ctx;
    t->client_store = store;
    t->client_ca_pem = ca;
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old);
    X509_STORE_free(old_store);
    return 0;
}

SSL *tls_server_ssl(struct rt_tls_server *t, nsec_t *ret_timeout)
{
    SSL *ssl;

    pthread_mutex_lock(&t->lock);
    ssl = SSL_new(t->ctx);
    pthread_mutex_unlock(&t->lock);
    *ret_timeout = t->timeout;
    return ssl;
}

int tls_server_verify(struct rt_tls_server *t, X509 *peer, STACK_OF(X509) * chain)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE *store;
    int r = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT;

    ASSERT(ctx);
    pthread_mutex_lock(&t->lock);
    store = t->client_store;
    if (store)
        X509_STORE_up_ref(store);
    pthread_mutex_unlock(&t->lock);
    if (store) {
        ASSERT(X509_STORE_CTX_init(ctx, store, peer, chain) == 1);
        X509_STORE_CTX_set_default(ctx, "ssl_client"); /* purpose: client authentication */
        r = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return r;
}

struct rt_tls_server *rt_tls_server_ref(struct rt_tls_server *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

struct rt_tls_server *rt_tls_server_unref(struct rt_tls_server *t)
{
    if (t && atomic_fetch_sub(&t->refs, 1) == 1) {
        SSL_CTX_free(t->ctx);
        X509_STORE_free(t->client_store);
        free((char *)t->client_ca_pem.p);
        pthread_mutex_destroy(&t->lock);
        free(t);
    }
    return NULL;
}

/* ---- client ---- */

/* Trust by pin: the one certificate of the chain with the pinned key is the anchor. */
static int verify_pinned(X509_STORE_CTX *ctx, void *arg)
{
    struct rt_tls_client *t = arg;
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(ctx);
    STACK_OF(X509) *anchors = sk_X509_new_null();
    uint8_t d[SHA256_BYTES];
    int ok;

    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *x = sk_X509_value(chain, i);
        if (!X509_get0_pubkey(x))
            continue;
        spki_sha256(X509_get0_pubkey(x), d);
        if (memcmp(d, t->pin, sizeof(d)) == 0 && X509_check_ca(x) > 0)
            sk_X509_push(anchors, x); /* borrowed from the chain */
    }
    if (sk_X509_num(anchors) == 0) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
        sk_X509_free(anchors);
        return 0;
    }
    X509_STORE_CTX_set0_trusted_stack(ctx, anchors);
    ok = X509_verify_cert(ctx);
    sk_X509_free(anchors);
    return ok == 1;
}

static int remember_session(SSL *ssl, SSL_SESSION *session)
{
    struct rt_tls_client *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    if (!name)
        return 0;
    pthread_mutex_lock(&t->lock);
    if (SSL_get_SSL_CTX(ssl) == t->ctx) { /* not from before a reload */
        SSL_SESSION_free(t->session);
        free(t->session_name);
        t->session = session;
        t->session_name = xstrdup(name);
        session = NULL;
    }
    pthread_mutex_unlock(&t->lock);
    return session ? 0 : 1; /* 1: we keep the reference */
}

static int client_ctx(struct rt_tls_client *t, struct str cert_pem, struct str key_pem,
                      struct error *err, SSL_CTX **ret)
{
    SSL_CTX *ctx = new_ctx(TLS_client_method());
    X509_STORE *store;
    int r = 0;

    SSL_CTX_set_app_data(ctx, t);
    SSL_CTX_set_verify(ctx, t->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (t->pinned) {
        SSL_CTX_set_cert_verify_callback(ctx, verify_pinned, t);
    } else if (t->ca_pem.p) {
        r = load_store(t->ca_pem, &store, NULL, err);
        if (r == 0)
            SSL_CTX_set_cert_store(ctx, store); /* takes it */
    } else if (!t->insecure) {
        SSL_CTX_set_default_verify_paths(ctx);
    }
    if (r == 0 && cert_pem.p)
        r = use_cert(ctx, cert_pem, key_pem, err);
    if (r < 0) {
        SSL_CTX_free(ctx);
        return r;
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, remember_session);
    *ret = ctx;
    return 0;
}

int rt_tls_client_new(const struct rt_tls_client_opts *opts, struct error *err,
                      struct rt_tls_client **ret)
{
    struct rt_tls_client *t = NEW(struct rt_tls_client);
    int r;

    atomic_init(&t->refs, 1);
    pthread_mutex_init(&t->lock, NULL);
    t->timeout = opts->handshake_timeout ? opts->handshake_timeout : TIMEOUT_DEFAULT;
    t->insecure = opts->insecure;
    t->pinned = opts->ca_spki_sha256 != NULL;
    if (t->pinned)
        memcpy(t->pin, opts->ca_spki_sha256, SHA256_BYTES);
    t->ca_pem = own(opts->ca_pem);
    r = alpn_pack(opts->alpn, t->alpn, &t->alpn_n);
    if (r == 0)
        r = client_ctx(t, opts->cert_pem, opts->key_pem, err, &t->ctx);
    if (r < 0) {
        rt_tls_client_unref(t);
        return r;
    }
    *ret = t;
    return 0;
}

static void forget_session(struct rt_tls_client *t)
{
    SSL_SESSION_free(t->session);
    free(t->session_name);
    t->session = NULL;
    t->session_name = NULL;
}

int rt_tls_client_reload(struct rt_tls_client *t, struct str cert_pem, struct str key_pem,
                         struct error *err)
{
    SSL_CTX *ctx, *old;
    int r = client_ctx(t, cert_pem, key_pem, err, &ctx);

    if (r < 0)
        return r;
    pthread_mutex_lock(&t->lock);
    old = t->ctx;
    t->ctx = ctx;
    forget_session(t); /* it carries the old certificate's identity */
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old);
    return 0;
}

static int name_server(SSL *ssl, const char *name, bool insecure)
{
    uint8_t ip[16];
    bool literal = inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;

    if (!literal && SSL_set_tlsext_host_name(ssl, name) != 1)
        return -EINVAL;
    if (insecure)
        return 0;
    if (literal)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1 ? 0 : -EINVAL;
    SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set1_host(ssl, name) == 1 ? 0 : -EINVAL;
}

int tls_client_ssl(struct rt_tls_client *t, const char *server_name, const char *const *alpn,
                   SSL **ret, nsec_t *ret_timeout)
{
    uint8_t list[ALPN_BYTES_MAX];
    unsigned n = t->alpn_n;
    SSL *ssl;
    int r = 0;

    memcpy(list, t->alpn, sizeof(list));
    if (alpn)
        r = alpn_pack(alpn, list, &n);
    pthread_mutex_lock(&t->lock);
    ssl = SSL_new(t->ctx);
    ASSERT(ssl);
    if (t->session && strcmp(t->session_name, server_name) == 0)
        SSL_set_session(ssl, t->session);
    pthread_mutex_unlock(&t->lock);
    if (r == 0)
        r = name_server(ssl, server_name, t->insecure);
    if (r == 0 && n)
        r = SSL_set_alpn_protos(ssl, list, n) == 0 ? 0 : -EINVAL;
    ERR_clear_error();
    if (r < 0) {
        SSL_free(ssl);
        return r;
    }
    *ret = ssl;
    *ret_timeout = t->timeout;
    return 0;
}

struct rt_tls_client *rt_tls_client_ref(struct rt_tls_client *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

struct rt_tls_client *rt_tls_client_unref(struct rt_tls_client *t)
{
    if (t && atomic_fetch_sub(&t->refs, 1) == 1) {
        SSL_CTX_free(t->ctx);
        forget_session(t);
        free((char *)t->ca_pem.p);
        pthread_mutex_destroy(&t->lock);
        free(t);
    }
    return NULL;
}
