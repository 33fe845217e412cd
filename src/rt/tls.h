/* TLS (1.2 and 1.3) over any rt_stream. The contexts hold certificates and are shared by all
 * connections of all threads; the connections are streams like any other. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "rt/crypto.h"
#include "rt/stream.h"

/* ---- what the handshake found out ---- */

struct rt_tls_info {
    const char *version; /* "TLSv1.3" */
    const char *cipher;
    struct str alpn; /* "h2", "http/1.1"; absent: none agreed */
    struct str sni;  /* the name the client asked for */
    bool resumed;
    /* The peer's certificate; NULL: it showed none. Still checked when the session is resumed. */
    const struct cert_facts *peer;
    /* It chains to the CA, is in its time and meant for this use. A server takes connections of
     * clients whose certificate does not verify; it must then treat them as anonymous or refuse. */
    bool verified;
    const char *verify_error; /* "certificate has expired" ...; "" when verified or none shown */
};
/* NULL before the handshake is done or if s is no TLS stream. Lives as long as the stream. */
const struct rt_tls_info *rt_tls_info(const struct rt_stream *s);

/* ---- server ---- */

struct rt_tls_server;
struct rt_tls_server_opts {
    struct str cert_pem; /* chain, own certificate first */
    struct str key_pem;
    struct str client_ca_pem; /* one or more; absent: client certificates are not asked for */
    const char *const *alpn;  /* NULL-terminated, most wanted first; NULL: "h2", "http/1.1" */
    nsec_t handshake_timeout; /* 0: 10 s */
};
/* Any thread, as all rt_tls_server_ and rt_tls_client_ functions on contexts. */
int rt_tls_server_new(const struct rt_tls_server_opts *opts, struct error *err,
                      struct rt_tls_server **ret) MUST_CHECK;
/* New connections use the new ones; on error the old ones stay. Sessions of before may be resumed
 * unless the client CA changed. client_ca_pem absent: as before. */
int rt_tls_server_reload(struct rt_tls_server *t, struct str cert_pem, struct str key_pem,
                         struct str client_ca_pem, struct error *err) MUST_CHECK;
struct rt_tls_server *rt_tls_server_ref(struct rt_tls_server *t);
struct rt_tls_server *rt_tls_server_unref(struct rt_tls_server *t); /* NULL */

/* ---- client ---- */

struct rt_tls_client;
struct rt_tls_client_opts {
    struct str ca_pem;             /* absent: the system's authorities */
    const uint8_t *ca_spki_sha256; /* 32 bytes; not NULL: the chain's root must have this key, and
                                      may then come from the peer itself (joining by token); ca_pem
                                      is not looked at */
    bool insecure;                 /* take any certificate (probes) */
    struct str cert_pem, key_pem;  /* our own; absent: none */
    const char *const *alpn;       /* NULL: none offered */
    nsec_t handshake_timeout;      /* 0: 10 s */
};
int rt_tls_client_new(const struct rt_tls_client_opts *opts, struct error *err,
                      struct rt_tls_client **ret) MUST_CHECK;
/* Our own certificate was renewed. */
int rt_tls_client_reload(struct rt_tls_client *t, struct str cert_pem, struct str key_pem,
                         struct error *err) MUST_CHECK;
struct rt_tls_client *rt_tls_client_ref(struct rt_tls_client *t);
struct rt_tls_client *rt_tls_client_unref(struct rt_tls_client *t); /* NULL */

/* ---- connections ---- */

/* Once, from the loop: 0 when the connection is ready, else
 *   -EPROTOTYPE  server only: the peer speaks HTTP in the clear. rt_tls_take_plain gives the
 *                connection back, nothing lost, so that a clear answer can be given
 *   -ETIMEDOUT   the handshake took too long
 *   -EACCES      client only: the server's certificate is not good (why: rt_tls_failure)
 *   -EPROTO      no TLS, no common version or cipher, refused by an alert (why: rt_tls_failure)
 *   -ECONNRESET, -EPIPE ... the connection broke
 * After an error the stream must still be closed (or taken back); on_error does not come as well.
 */
typedef void (*rt_tls_done_fn)(void *arg, int err);

/* Both take `lower` and return the TLS stream at once, yours to close at any time (then done does
 * not come). What is written before the handshake is done waits for it. */
struct rt_stream *rt_tls_accept(struct rt_tls_server *t, struct rt_stream *lower,
                                rt_tls_done_fn done, void *arg);
/* server_name: host name or literal address, checked against the certificate's SANs and (a name)
 * sent as SNI. */
struct rt_stream *rt_tls_connect(struct rt_tls_client *t, struct rt_stream *lower,
                                 const char *server_name, rt_tls_done_fn done, void *arg);
/* The same, offering `alpn` (NULL-terminated; NULL: the context's) on this connection only. */
struct rt_stream *rt_tls_connect_alpn(struct rt_tls_client *t, struct rt_stream *lower,
                                      const char *server_name, const char *const *alpn,
                                      rt_tls_done_fn done, void *arg);
/* After -EPROTOTYPE: the clear stream with all its bytes unread; s is closed by this. */
struct rt_stream *rt_tls_take_plain(struct rt_stream *s);
/* Text for a person, "" when nothing failed. As long as the stream. */
const char *rt_tls_failure(const struct rt_stream *s);
