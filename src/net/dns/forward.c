/* A question under way is one struct question: who waits for it, which upstream is asked, and the
 * one socket, connection and timer it has at a time. An attempt ends with an answer, an error or
 * its timeout, and the next upstream is asked; after the last there is no answer.
 *
 * A resolver of the node that asks us back cannot make a storm: its question is one that is under
 * way, so it only waits with the others until that one's time is over. */
#include "net/dns/forward.h"

#include <stdio.h>
#include <sys/socket.h>

#include "base/map.h"
#include "base/mem.h"
#include "net/dns/resolv.h"
#include "net/dns/wire.h"
#include "rt/stream.h"
#include "rt/udp.h"

#define WAITING_MAX     4096 /* clients of all questions together: some 3 MB */
#define QUERY_BYTES_MAX (DNS_HEADER_BYTES + DNS_NAME_MAX + 4 + 11)

struct dns_forward {
    struct rt *rt;
    struct dns_cache *cache;
    char *resolv_path, *stub_path; /* owned */
    struct ip_addr *own;           /* owned */
    struct dns_resolv resolv;
    nsec_t checked;
    uint16_t port;
    struct map questions; /* key -> struct question */
    size_t waiting;
    unsigned first; /* the upstream that answered last is asked first */
    struct dns_forward_stats stats;
};

struct question {
    struct dns_forward *f;
    struct dns_key key;
    struct str name; /* in key */
    uint16_t type, id;
    unsigned flags;
    struct list waiters; /* struct dns_forward_wait */
    unsigned n_waiters, attempt, server, forgeries;
    bool plain; /* without EDNS: this upstream does not know it */
    struct rt_udp *udp;
    struct rt_connect *connect;
    struct rt_stream *tcp;
    struct buf in; /* by TCP, so far */
    struct rt_timer timer;
};

static void attempt(struct question *q);

/* ---- the end of a question ---- */

static void hang_up(struct question *q)
{
    rt_timer_stop(&q->timer);
    q->udp = rt_udp_close(q->udp);
    q->connect = rt_connect_cancel(q->connect);
    if (q->tcp)
        rt_stream_close(q->tcp, NULL, NULL);
    q->tcp = NULL;
    buf_clear(&q->in);
}

static void finish(struct question *q, struct dns_answer *a, uint32_t ttl_s)
{
    struct dns_forward *f = q->f;
    struct list waiters;

    hang_up(q);
    map_remove(&f->questions, (struct str){q->key.p, q->key.n});
    f->waiting -= q->n_waiters;
    list_init(&waiters);
    while (!list_empty(&q->waiters)) {
        struct dns_forward_wait *w = LIST_FIRST(&q->waiters, struct dns_forward_wait, link);
        list_remove(&w->link);
        list_push_back(&waiters, &w->link);
    }
    buf_fini(&q->in);
    free(q);
    while (!list_empty(&waiters)) { /* they may ask again */
        struct dns_forward_wait *w = LIST_FIRST(&waiters, struct dns_forward_wait, link);
        list_remove(&w->link);
        w->fn(w, a, ttl_s);
    }
}

/* An answer that is too old is better than none (RFC 8767). */
static void finish_without(struct question *q)
{
    struct dns_forward *f = q->f;
    struct dns_entry *e = dns_cache_get(f->cache, &q->key);
    nsec_t now = rt_now(f->rt);

    if (!e || e->zone || now >= e->stale_until) {
        f->stats.failed++;
        finish(q, NULL, 0);
        return;
    }
    e->retry_at = now + DNS_STALE_RETRY_S * NSEC_PER_SEC;
    f->stats.stale++;
    struct dns_answer *a = dns_answer_ref(e->answer);
    finish(q, a, DNS_STALE_TTL_S);
    dns_answer_unref(a);
}

static void next_attempt(struct question *q)
{
    hang_up(q);
    q->attempt++;
    attempt(q);
}

static void store(struct question *q, struct dns_answer *a, uint32_t cache_s)
{
    nsec_t now = rt_now(q->f->rt);

    if (!cache_s)
        return;
    struct dns_entry *e = dns_cache_put(q->f->cache, &q->key, a);
    e->made = now;
    e->expires = now + cache_s * NSEC_PER_SEC;
    e->stale_until = e->expires + DNS_STALE_S * NSEC_PER_SEC;
}

/* ---- what comes back ---- */

static bool same_question(const struct question *q, const uint8_t *p, size_t n)
{
    if (n < DNS_HEADER_BYTES + q->name.n + 4 || dns_u16(p) != q->id || !(p[2] & 0x80) ||
        (p[2] & 0x78) || dns_u16(p + 4) != 1)
        return false;
    p += DNS_HEADER_BYTES;
    for (size_t i = 0; i < q->name.n; i++) {
        uint8_t c = p[i];
        if ((c >= 'A' && c <= 'Z' ? c | 0x20 : c) != (uint8_t)q->name.p[i])
            return false;
    }
    return dns_u16(p + q->name.n) == q->type && dns_u16(p + q->name.n + 2) == 1;
}

static void start_tcp(struct question *q);

static void take_answer(struct question *q, const uint8_t *p, size_t n, bool by_tcp)
{
    struct dns_forward *f = q->f;
    struct dns_answer *a = NULL;
    unsigned rcode = p[3] & 15;
    uint32_t cache_s = 0;

    if ((rcode == DNS_FORMERR || rcode == DNS_NOTIMP) && !q->plain) {
        q->plain = true;
        next_attempt(q);
        return;
    }
    if (rcode != DNS_NOERROR && rcode != DNS_NXDOMAIN) {
        next_attempt(q);
        return;
    }
    if ((p[2] & 2) && !by_tcp) { /* TC */
        start_tcp(q);
        return;
    }
    if (dns_wire_upstream(p, n, &a, &cache_s) < 0) {
        next_attempt(q);
        return;
    }
    f->first = q->server;
    store(q, a, cache_s);
    finish(q, a, 0);
    dns_answer_unref(a);
}

static void on_datagram(void *arg, const struct rt_udp_peer *from, struct str data)
{
    struct question *q = arg;
    const uint8_t *p = (const uint8_t *)data.p;

    if (!same_question(q, p, data.n)) {
        q->f->stats.forged++;
        if (++q->forgeries == DNS_FORGERIES_MAX)
            start_tcp(q);
        return;
    }
    take_answer(q, p, data.n, false);
}

static void on_udp_error(void *arg, int err)
{
    next_attempt(arg);
}

/* ---- by TCP ---- */

static void on_tcp_data(void *arg, struct str data)
{
    struct question *q = arg;

    buf_add_str(&q->in, data);
    const uint8_t *p = (const uint8_t *)q->in.data;
    if (q->in.n < 2 || q->in.n < 2u + dns_u16(p))
        return; /* the timer bounds how long, 64 KB how much */
    size_t n = dns_u16(p);
    if (!same_question(q, p + 2, n)) {
        q->f->stats.forged++;
        next_attempt(q);
        return;
    }
    take_answer(q, p + 2, n, true);
}

static void on_tcp_eof(void *arg)
{
    next_attempt(arg);
}

static void on_tcp_error(void *arg, int err)
{
    next_attempt(arg);
}

static size_t write_query(const struct question *q, uint8_t *out)
{
    uint8_t *p = dns_put16(out, q->id);

    p = dns_put16(p, DNS_FLAG_RD | (q->flags & DNS_KEY_UNCHECKED ? DNS_FLAG_CD : 0) |
                         (q->flags & DNS_KEY_DNSSEC ? 0 : DNS_FLAG_AD));
    p = dns_put16(p, 1);
    p = dns_put32(p, 0);
    p = dns_put16(p, q->plain ? 0 : 1);
    memcpy(p, q->name.p, q->name.n);
    p = dns_put16(p + q->name.n, q->type);
    p = dns_put16(p, 1);
    if (!q->plain) {
        *p++ = 0;
        p = dns_put16(p, DNS_OPT);
        p = dns_put16(p, DNS_UDP_MAX);
        p = dns_put16(p, 0);
        p = dns_put16(p, q->flags & DNS_KEY_DNSSEC ? 0x8000 : 0);
        p = dns_put16(p, 0);
    }
    return (size_t)(p - out);
}

static void on_connected(void *arg, struct rt_stream *s, int err)
{
    static const struct rt_stream_handler handler = {
        .on_data = on_tcp_data, .on_eof = on_tcp_eof, .on_error = on_tcp_error};
    struct question *q = arg;
    uint8_t frame[2 + QUERY_BYTES_MAX];

    q->connect = NULL;
    if (!s) {
        next_attempt(q);
        return;
    }
    q->tcp = s;
    size_t n = write_query(q, frame + 2);
    dns_put16(frame, (unsigned)n);
    rt_stream_set_handler(s, &handler, q);
    rt_stream_write(s, (struct str){(char *)frame, n + 2});
    rt_stream_read_start(s);
}

/* ---- asking ---- */

static void server_text(const struct question *q, char out[static IP_TEXT_MAX + 8])
{
    const struct ip_addr *a = &q->f->resolv.servers[q->server];
    char ip[IP_TEXT_MAX];

    snprintf(out, IP_TEXT_MAX + 8, a->family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip_format(a, ip),
             q->f->port);
}

static void on_timeout(void *arg)
{
    struct question *q = arg;
    struct dns_entry *e = dns_cache_get(q->f->cache, &q->key);

    /* With an old answer at hand nobody is kept waiting longer. */
    if (e && !e->zone && rt_now(q->f->rt) < e->stale_until)
        finish_without(q);
    else
        next_attempt(q);
}

static void start_tcp(struct question *q)
{
    char addr[IP_TEXT_MAX + 8];

    hang_up(q);
    q->f->stats.by_tcp++;
    server_text(q, addr);
    q->in.limit_bytes = 2 + DNS_TCP_MAX + 4096;
    q->id = (uint16_t)rt_random_u64(q->f->rt);
    q->connect = rt_connect(
        q->f->rt,
        &(struct rt_connect_opts){.addr = addr, .timeout = DNS_FORWARD_TCP_MS * NSEC_PER_MSEC},
        on_connected, q);
    rt_timer_start(&q->timer, DNS_FORWARD_TCP_MS * NSEC_PER_MSEC);
}

/* An attempt by a socket of its own; the kernel chooses its port at random. */
static void attempt(struct question *q)
{
    struct dns_forward *f = q->f;
    char addr[IP_TEXT_MAX + 8];
    uint8_t packet[QUERY_BYTES_MAX];

    if (q->attempt >= DNS_ATTEMPTS_MAX || f->resolv.n == 0) {
        finish_without(q);
        return;
    }
    q->server = (f->first + q->attempt) % (unsigned)f->resolv.n;
    q->id = (uint16_t)rt_random_u64(f->rt);
    q->forgeries = 0;
    f->stats.attempts++;
    server_text(q, addr);
    /* No route, no descriptor: as if it did not answer, so that it costs time and no loop. */
    int r = rt_udp_open(f->rt, &(struct rt_udp_opts){.peer = addr, .queue_max = 1}, on_datagram,
                        on_udp_error, q, NULL, &q->udp);
    if (r == 0)
        rt_udp_send(q->udp, NULL, packet, write_query(q, packet));
    rt_timer_start(&q->timer, r == 0 ? DNS_ATTEMPT_MS * NSEC_PER_MSEC : NSEC_PER_MSEC);
}

int dns_forward_ask(struct dns_forward *f, struct str name, uint16_t type, unsigned flags,
                    struct dns_forward_wait *w)
{
    struct dns_key key;
    nsec_t now = rt_now(f->rt);

    if (!f->checked || now - f->checked >= DNS_RESOLV_RECHECK_MS * NSEC_PER_MSEC) {
        f->checked = now;
        if (dns_resolv_refresh(&f->resolv))
            f->first = 0;
    }
    dns_key_make(&key, name, type, flags);
    struct question *q = map_get(&f->questions, (struct str){key.p, key.n});
    if (!q && f->resolv.n == 0)
        return -ENOENT;
    if (f->waiting >= WAITING_MAX || (q && q->n_waiters >= DNS_WAITERS_MAX) ||
        (!q && f->questions.n >= DNS_FORWARDS_MAX)) {
        f->stats.refused++;
        return -EBUSY;
    }
    bool fresh = !q;
    if (fresh) {
        q = NEW(struct question);
        *q = (struct question){.f = f, .key = key, .type = type, .flags = flags};
        q->name = (struct str){q->key.p, name.n};
        list_init(&q->waiters);
        rt_timer_init(&q->timer, f->rt, on_timeout, q);
        map_set(&f->questions, (struct str){q->key.p, q->key.n}, q);
        f->stats.asked++;
    } else {
        f->stats.coalesced++;
    }
    list_init(&w->link);
    list_push_back(&q->waiters, &w->link);
    q->n_waiters++;
    f->waiting++;
    if (fresh)
        attempt(q);
    return 0;
}

/* ---- life ---- */

struct dns_forward *dns_forward_new(const struct dns_forward_opts *o)
{
    struct dns_forward *f = NEW(struct dns_forward);

    f->rt = o->rt;
    f->cache = o->cache;
    f->port = o->port ? o->port : 53;
    f->resolv_path = xstrdup(o->resolv_path ? o->resolv_path : "/etc/resolv.conf");
    f->stub_path = xstrdup(o->stub_path ? o->stub_path : "/run/systemd/resolve/resolv.conf");
    f->own = xcalloc(o->n_own + 1, sizeof(*f->own));
    if (o->n_own)
        memcpy(f->own, o->own, o->n_own * sizeof(*f->own));
    f->resolv = (struct dns_resolv){
        .path = f->resolv_path, .stub_path = f->stub_path, .own = f->own, .n_own = o->n_own};
    return f;
}

struct dns_forward *dns_forward_free(struct dns_forward *f)
{
    if (!f)
        return NULL;
    for (struct map_slot *s; (s = map_next(&f->questions, NULL));)
        finish(s->value, NULL, 0);
    map_fini(&f->questions);
    free(f->resolv_path);
    free(f->stub_path);
    free(f->own);
    free(f);
    return NULL;
}

void dns_forward_stats(const struct dns_forward *f, struct dns_forward_stats *ret)
{
    *ret = f->stats;
}
