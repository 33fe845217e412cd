/* TLS as a stream over a stream. OpenSSL reads from and writes to us through a BIO of ours instead
 * of memory BIOs: incoming bytes are looked at where they lie, outgoing records go straight into
 * the queue of the stream below. Small writes of a turn are gathered into one record.
 *
 *     below --on_data--> [in window] --SSL_read--> on_data of the user
 *     user --write--> s.out --SSL_write--> queue below --sendmsg--> peer */
#include "rt/stream_impl.h"
#include "base/mem.h"
#include "rt/tls_impl.h"

#include <pthread.h>

#define RECORD_BYTES 16384 /* the largest record TLS knows */
#define DIRECT_BYTES                                                                               \
    4096 /* blocks of this size are encrypted where they are, smaller ones gathered */

struct tls_stream {
    struct rt_stream s;
    struct rt_stream *lower;      /* owned; NULL: taken back */
    SSL *ssl;                     /* owned; freed by close */
    struct rt_tls_server *server; /* counted; one of the two */
    struct rt_tls_client *client;
    struct str in;    /* ciphertext not yet taken by OpenSSL; borrowed during a feed */
    struct buf stash; /* what was left over when the user stopped reading */
    struct rt_task pump_task, flush_task;
    struct rt_timer timeout;
    bool is_server, handshaking, failed, lower_eof, first_seen, want_shutdown;
    rt_tls_done_fn done;
    void *done_arg;
    struct rt_tls_info info;
    struct cert_facts *peer; /* in arena */
    struct arena arena;
    char failure[200];
};

static const struct rt_stream_ops tls_ops;
static const struct rt_stream_handler lower_handler;

static struct tls_stream *tls_of(const struct rt_stream *s)
{
    return CONTAINER_OF(s, struct tls_stream, s);
}

/* ---- the BIO ---- */

static BIO_METHOD *bio_method;

static int bio_read(BIO *b, char *p, int n)
{
    struct tls_stream *t = BIO_get_data(b);
    size_t k = MIN((size_t)n, t->in.n);

    BIO_clear_retry_flags(b);
    if (k == 0) {
        if (t->lower_eof)
            return 0;
        BIO_set_retry_read(b);
        return -1;
    }
    memcpy(p, t->in.p, k);
    t->in.p += k;
    t->in.n -= k;
    return (int)k;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct tls_stream *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    if (!t->lower->shut) /* after our goodbye the peer can still make OpenSSL answer (KeyUpdate) */
        rt_stream_write(t->lower, (struct str){p, (size_t)n});
    return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *p)
{
    return cmd == BIO_CTRL_FLUSH; /* the only one that has to succeed */
}

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rt_stream");
    ASSERT(bio_method);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

/* ---- failing ---- */

static int verify_errno(struct tls_stream *t, const char *reason)
{
    long v = SSL_get_verify_result(t->ssl);

    if (!t->is_server && v != X509_V_OK) {
        snprintf(t->failure, sizeof(t->failure), "certificate of the server: %s",
                 X509_verify_cert_error_string(v));
        return v == X509_V_ERR_CERT_NOT_YET_VALID || v == X509_V_ERR_CERT_HAS_EXPIRED ? -EKEYEXPIRED
                                                                                      : -EACCES;
    }
    snprintf(t->failure, sizeof(t->failure), "TLS: %s", reason);
    return -EPROTO;
}

/* The end of this connection: the handshake's result, or an error of the stream. Loop only. */
static void fail(struct tls_stream *t, int err)
{
    if (t->failed || t->s.closing)
        return;
    t->failed = true;
    rt_timer_stop(&t->timeout);
    rt_stream_read_stop(t->lower);
    rt_stream_flush(t->lower); /* an alert may be in it */
    if (!t->failure[0])
        snprintf(t->failure, sizeof(t->failure), "%s", strerror(-err));
    if (t->handshaking) {
        t->handshaking = false;
        t->s.error_said = true; /* done says it */
        rt_stream_deliver_error(&t->s, err);
        t->done(t->done_arg, err);
    } else {
        rt_stream_deliver_error(&t->s, err);
    }
}

static void on_timeout(void *arg)
{
    struct tls_stream *t = arg;

    snprintf(t->failure, sizeof(t->failure), "TLS handshake took too long");
    fail(t, -ETIMEDOUT);
}

/* ---- what was agreed ---- */

static void fill_peer(struct tls_stream *t)
{
    X509 *x = SSL_get0_peer_certificate(t->ssl);
    long v;

    t->info.verify_error = "";
    if (!x)
        return;
    t->peer = ARENA_NEW(&t->arena, struct cert_facts);
    if (t->is_server)
        v = tls_server_verify(t->server, x, SSL_get_peer_cert_chain(t->ssl));
    else
        v = SSL_get_verify_result(t->ssl);
    if (cert_facts_fill(x, &t->arena, t->peer) < 0) {
        t->info.verify_error = "the certificate has too many names or an unknown key";
    } else if (v != X509_V_OK) {
        t->info.verify_error = X509_verify_cert_error_string(v);
    } else {
        t->info.verified = true;
    }
    t->info.peer = t->peer;
}

static void fill_info(struct tls_stream *t)
{
    const unsigned char *alpn = NULL;
    unsigned n = 0;
    const char *sni = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);

    t->info.version = SSL_get_version(t->ssl);
    t->info.cipher = SSL_get_cipher_name(t->ssl);
    t->info.resumed = SSL_session_reused(t->ssl);
    SSL_get0_alpn_selected(t->ssl, &alpn, &n);
    if (n)
        t->info.alpn = (struct str){(const char *)alpn, n}; /* OpenSSL's, as long as ssl */
    t->info.sni = str_z(sni);
    fill_peer(t);
}

/* ---- reading ---- */

/* HTTP methods start with a capital letter, TLS records with 0x16. */
static bool looks_like_http(struct tls_stream *t)
{
    return t->is_server && !t->first_seen && t->in.n > 0 && t->in.p[0] >= 'A' && t->in.p[0] <= 'Z';
}

/* <0: failed; 0: wants more bytes; 1: done. */
static int shake(struct tls_stream *t)
{
    int r;

    if (looks_like_http(t)) {
        snprintf(t->failure, sizeof(t->failure), "plain HTTP on a TLS port");
        return -EPROTOTYPE;
    }
    t->first_seen = t->first_seen || t->in.n > 0;
    r = SSL_do_handshake(t->ssl);
    if (r == 1) {
        fill_info(t);
        return 1;
    }
    r = SSL_get_error(t->ssl, r);
    if (r == SSL_ERROR_WANT_READ)
        return 0;
    if (t->lower_eof && r != SSL_ERROR_SSL) {
        ossl_clear();
        return -ECONNRESET;
    }
    return verify_errno(t, ossl_reason());
}

static void shaken(struct tls_stream *t)
{
    t->handshaking = false;
    rt_timer_stop(&t->timeout);
    rt_task_schedule_late(&t->flush_task); /* written meanwhile, and the tickets */
    if (!t->s.reading)
        rt_stream_read_stop(t->lower);
    t->done(t->done_arg, 0);
}

/* One SSL_read and what follows from it. False: stop for now. */
static bool read_record(struct tls_stream *t, char *plain)
{
    size_t n = 0;

    if (SSL_read_ex(t->ssl, plain, RECORD_BYTES, &n) == 1) {
        rt_stream_deliver_data(&t->s, (struct str){plain, n});
        return true;
    }
    switch (SSL_get_error(t->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        if (t->lower_eof)
            fail(t, -ECONNRESET);
        return false;
    case SSL_ERROR_ZERO_RETURN:
        rt_stream_read_stop(t->lower);
        rt_stream_deliver_eof(&t->s);
        return false;
    default:
        if (t->lower_eof) {
            /* Cut off without a goodbye: an attacker could have done it, so it is no clean end. */
            snprintf(t->failure, sizeof(t->failure), "connection cut off");
            ossl_clear();
            fail(t, -ECONNRESET);
        } else {
            fail(t, verify_errno(t, ossl_reason()));
        }
        return false;
    }
}

/* Works through what there is: handshake, then data for as long as the user reads. */
static void pump(struct tls_stream *t)
{
    char plain[RECORD_BYTES];
    int r;

    ossl_clear();
    if (t->handshaking) {
        r = shake(t);
        if (r < 0)
            fail(t, r);
        else if (r > 0)
            shaken(t);
        if (r <= 0)
            return;
    }
    while (!t->s.closing && !t->failed && t->s.reading && !t->s.eof)
        if (!read_record(t, plain))
            break;
}

static void feed(struct tls_stream *t, struct str data)
{
    struct buf old = {0};

    if (t->stash.n) {
        old = t->stash;
        t->stash = (struct buf){0};
        buf_add_str(&old, data);
        data = buf_str(&old);
    }
    t->in = data;
    pump(t);
    if (!t->s.closing && t->in.n && (!t->failed || !t->first_seen))
        buf_add_str(&t->stash, t->in);
    t->in = STR_NONE;
    buf_fini(&old);
}

static void pump_later(void *arg)
{
    feed(arg, STR_NONE);
}

static void lower_data(void *arg, struct str data)
{
    feed(arg, data);
}

static void lower_eof(void *arg)
{
    struct tls_stream *t = arg;

    t->lower_eof = true;
    feed(t, STR_NONE);
}

static void lower_error(void *arg, int err)
{
    fail(arg, err);
}

static const struct rt_stream_handler lower_handler = {
    .on_data = lower_data, .on_eof = lower_eof, .on_error = lower_error};

static void tls_read_start(struct rt_stream *s)
{
    struct tls_stream *t = tls_of(s);

    if (t->handshaking || t->failed)
        return;
    rt_task_schedule(&t->pump_task); /* the stash, or bytes OpenSSL has read ahead */
    rt_stream_read_start(t->lower);
}

static void tls_read_stop(struct rt_stream *s)
{
    struct tls_stream *t = tls_of(s);

    if (!t->handshaking && !t->failed)
        rt_stream_read_stop(t->lower);
}

/* ---- writing ---- */

/* The next piece of plain text: a large block as it is, or small ones put together. */
static struct str next_piece(struct tls_stream *t, char gather[RECORD_BYTES])
{
    struct rt_chunk *c = t->s.out.head;
    size_t n = 0;

    if (c->n >= DIRECT_BYTES || !c->next)
        return (struct str){c->p, MIN(c->n, (size_t)RECORD_BYTES)};
    for (; c && n < RECORD_BYTES; c = c->next) {
        size_t k = MIN(c->n, RECORD_BYTES - n);
        memcpy(gather + n, c->p, k);
        n += k;
    }
    return (struct str){gather, n};
}

static void tls_flush(struct rt_stream *s)
{
    struct tls_stream *t = tls_of(s);
    char gather[RECORD_BYTES];

    if (t->handshaking || t->failed)
        return;
    ossl_clear();
    while (s->out.bytes > 0 && !rt_stream_congested(t->lower)) {
        struct str piece = next_piece(t, gather);
        size_t n = 0;
        if (SSL_write_ex(t->ssl, piece.p, piece.n, &n) != 1) {
            /* Our BIO always takes everything, so this is no "try again". */
            int err = verify_errno(t, ossl_reason());
            t->failed = true;
            rt_stream_deliver_error(s, err);
            return;
        }
        rt_wqueue_consume(&s->out, n);
    }
    rt_stream_progress(s);
}

static void flush_late(void *arg)
{
    tls_flush(arg);
}

static void lower_progress(void *arg)
{
    struct tls_stream *t = arg;

    if (t->handshaking || t->failed)
        return;
    if (t->s.out.bytes > 0)
        tls_flush(&t->s);
    else
        rt_stream_progress(&t->s);
}

static void tls_kick(struct rt_stream *s)
{
    struct tls_stream *t = tls_of(s);

    if (!t->handshaking)
        rt_task_schedule_late(&t->flush_task);
}

static void tls_flush_now(struct rt_stream *s)
{
    tls_flush(s);
    if (tls_of(s)->lower)
        rt_stream_flush(tls_of(s)->lower);
}

static void tls_shutdown(struct rt_stream *s)
{
    struct tls_stream *t = tls_of(s);

    if (t->handshaking) {
        s->shut_sent = false; /* asked again when the flush after the handshake makes progress */
        return;
    }
    if (t->failed)
        return;
    ossl_clear();
    (void)SSL_shutdown(t->ssl); /* sends close_notify; reading goes on */
    ossl_clear();
    rt_stream_shutdown(t->lower);
}

/* ---- the rest of the vtable ---- */

static void tls_close(struct rt_stream *s)
{
    struct tls_stream *t = tls_of(s);

    rt_task_cancel(&t->pump_task);
    rt_task_cancel(&t->flush_task);
    rt_timer_stop(&t->timeout);
    if (t->lower) {
        t->lower->on_progress = NULL;
        if (!t->handshaking && !t->failed && !s->error && !s->shut_sent &&
            rt_stream_queued_bytes(s) == 0) { /* only an end that is no truncation */
            (void)SSL_shutdown(t->ssl);
            rt_stream_flush(t->lower);
        }
        rt_stream_close(t->lower, NULL, NULL);
        t->lower = NULL;
    }
    SSL_free(t->ssl);
    t->ssl = NULL;
    ossl_clear();
    t->in = STR_NONE;
    buf_fini(&t->stash);
    arena_fini(&t->arena);
    t->server = rt_tls_server_unref(t->server);
    t->client = rt_tls_client_unref(t->client);
}

static size_t tls_queued_below(const struct rt_stream *s)
{
    struct tls_stream *t = tls_of(s);

    return t->lower ? rt_stream_queued_bytes(t->lower) : 0;
}

static const char *tls_peer(struct rt_stream *s)
{
    return tls_of(s)->lower ? rt_stream_peer(tls_of(s)->lower) : "?";
}

static const char *tls_local(struct rt_stream *s)
{
    return tls_of(s)->lower ? rt_stream_local(tls_of(s)->lower) : "?";
}

static int tls_fd(const struct rt_stream *s)
{
    return tls_of(s)->lower ? rt_stream_fd(tls_of(s)->lower) : -1;
}

static const struct rt_stream_ops tls_ops = {
    .kind = "tls",
    .read_start = tls_read_start,
    .read_stop = tls_read_stop,
    .kick = tls_kick,
    .flush = tls_flush_now,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .queued_below = tls_queued_below,
    .peer = tls_peer,
    .local = tls_local,
    .fd = tls_fd,
};

/* ---- making connections ---- */

static struct tls_stream *tls_new(struct rt_stream *lower, rt_tls_done_fn done, void *arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct tls_stream *t = NEW(struct tls_stream);
    struct rt *rt = rt_stream_rt(lower);

    pthread_once(&once, make_bio_method);
    rt_stream_init(&t->s, rt, &tls_ops);
    t->lower = lower;
    t->handshaking = true;
    t->done = done;
    t->done_arg = arg;
    rt_task_init(&t->pump_task, rt, pump_later, t);
    rt_task_init(&t->flush_task, rt, flush_late, &t->s);
    rt_timer_init(&t->timeout, rt, on_timeout, t);
    return t;
}

static struct rt_stream *begin(struct tls_stream *t, nsec_t timeout)
{
    BIO *b = BIO_new(bio_method);

    ASSERT(b);
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b); /* takes it */
    t->lower->on_progress = lower_progress;
    t->lower->progress_arg = t;
    rt_stream_set_handler(t->lower, &lower_handler, t);
    rt_stream_read_start(t->lower);
    rt_timer_start(&t->timeout, timeout);
    return &t->s;
}

struct rt_stream *rt_tls_accept(struct rt_tls_server *server, struct rt_stream *lower,
                                rt_tls_done_fn done, void *arg)
{
    struct tls_stream *t = tls_new(lower, done, arg);
    nsec_t timeout;

    t->is_server = true;
    t->server = rt_tls_server_ref(server);
    t->ssl = tls_server_ssl(server, &timeout);
    ASSERT(t->ssl);
    SSL_set_accept_state(t->ssl);
    return begin(t, timeout);
}

static void bad_arguments(void *arg)
{
    struct tls_stream *t = arg;

    snprintf(t->failure, sizeof(t->failure), "not a name a TLS server can have");
    fail(t, -EINVAL);
}

struct rt_stream *rt_tls_connect_alpn(struct rt_tls_client *client, struct rt_stream *lower,
                                      const char *server_name, const char *const *alpn,
                                      rt_tls_done_fn done, void *arg)
{
    struct tls_stream *t = tls_new(lower, done, arg);
    nsec_t timeout;
    int r;

    t->client = rt_tls_client_ref(client);
    r = tls_client_ssl(client, server_name, alpn, &t->ssl, &timeout);
    if (r < 0) {
        rt_task_init(&t->pump_task, rt_stream_rt(lower), bad_arguments, t);
        rt_task_schedule(&t->pump_task);
        return &t->s;
    }
    SSL_set_connect_state(t->ssl);
    rt_task_schedule(&t->pump_task); /* the first flight */
    return begin(t, timeout);
}

struct rt_stream *rt_tls_connect(struct rt_tls_client *client, struct rt_stream *lower,
                                 const char *server_name, rt_tls_done_fn done, void *arg)
{
    return rt_tls_connect_alpn(client, lower, server_name, NULL, done, arg);
}

struct rt_stream *rt_tls_take_plain(struct rt_stream *s)
{
    struct tls_stream *t = tls_of(s);
    struct rt_stream *lower = t->lower;

    ASSERT(s->ops == &tls_ops && s->error == -EPROTOTYPE && lower);
    t->lower = NULL;
    lower->on_progress = NULL;
    rt_stream_set_handler(lower, NULL, NULL);
    /* Called from done, so what was read is still the window; later it is in the stash. */
    rt_stream_unread(lower, t->in.n ? t->in : buf_str(&t->stash));
    rt_stream_close(s, NULL, NULL);
    return lower;
}

const struct rt_tls_info *rt_tls_info(const struct rt_stream *s)
{
    struct tls_stream *t;

    if (s->ops != &tls_ops)
        return NULL;
    t = tls_of(s);
    return t->handshaking || t->failed || !t->info.version ? NULL : &t->info;
}

const char *rt_tls_failure(const struct rt_stream *s)
{
    return s->ops == &tls_ops ? tls_of(s)->failure : "";
}
