/* From a message to its answer. The usual way is short: take the query apart, find a finished
 * answer by (name, type), write it into a slot of the socket's queue; no allocation, no ldns.
 * Everything else makes such an answer first, or waits for the forwarder to bring one. */
#include "net/dns/server.h"

#include "base/mem.h"

struct waiter { /* a query that waits for the forwarder; everything of the datagram copied */
    struct dns_forward_wait wait;
    struct dns *d;
    struct dns_asker from;
    struct dns_query q;
    struct dns_key key; /* of what was asked */
    bool chase;         /* the forwarder was asked for the end of a CNAME */
    uint8_t question[DNS_NAME_MAX + 4];
};

#define COUNT(d, what) atomic_fetch_add_explicit(&(d)->stats.what, 1, memory_order_relaxed)

/* ---- sending ---- */

static void send_answer(struct dns *d, const struct dns_asker *to, const struct dns_query *q,
                        const struct dns_answer *a, uint32_t age_s, uint32_t ttl_s)
{
    struct dns_render how = {.age_s = age_s, .ttl_s = ttl_s, .rotation = d->rotation};

    d->rotation = d->rotation * 1664525 + 1013904223; /* unlike its neighbours is enough */
    how.rotation ^= how.rotation >> 16;
    if (to->udp) {
        how.limit = q->udp_size;
        uint8_t *out = rt_udp_reserve(to->udp, how.limit);
        if (out)
            rt_udp_commit(to->udp, &to->peer, dns_answer_render(a, q, &how, out));
        return;
    }
    how.limit = MIN(DNS_TCP_MAX,
                    MAX(DNS_UDP_PLAIN_MAX, DNS_HEADER_BYTES + q->question_n + a->body_n + 16u));
    uint8_t *frame = xmalloc(how.limit + 2);
    size_t n = dns_answer_render(a, q, &how, frame + 2);
    dns_put16(frame, (unsigned)n);
    dns_conn_answer(to->conn, (char *)frame, n + 2);
}

static void send_error(struct dns *d, const struct dns_asker *to, const struct dns_query *q,
                       enum dns_rcode rcode)
{
    COUNT(d, errors);
    if (to->udp) {
        uint8_t *out = rt_udp_reserve(to->udp, DNS_UDP_PLAIN_MAX);
        if (out)
            rt_udp_commit(to->udp, &to->peer, dns_error_render(q, rcode, out));
        return;
    }
    uint8_t *frame = xmalloc(DNS_UDP_PLAIN_MAX + 2);
    size_t n = dns_error_render(q, rcode, frame + 2);
    dns_put16(frame, (unsigned)n);
    dns_conn_answer(to->conn, (char *)frame, n + 2);
}

/* ---- what is known ---- */

static unsigned key_flags(const struct dns_query *q)
{
    return (q->dnssec_ok ? DNS_KEY_DNSSEC : 0) | (q->flags & DNS_FLAG_CD ? DNS_KEY_UNCHECKED : 0);
}

/* Fresh, or old while nobody should wait for upstreams. *ret_ttl_s: see dns_render. */
static bool usable(const struct dns *d, const struct dns_entry *e, uint32_t *ret_age_s,
                   uint32_t *ret_ttl_s)
{
    nsec_t now = e->expires ? rt_now(d->rt) : 0;

    *ret_age_s = *ret_ttl_s = 0;
    if (e->zone)
        return e->generation == zone_generation(d->zone, e->slot) && now <= e->expires;
    if (now < e->expires) {
        *ret_age_s = (uint32_t)((now - e->made) / NSEC_PER_SEC);
        return true;
    }
    *ret_ttl_s = DNS_STALE_TTL_S;
    return now < e->retry_at && now < e->stale_until;
}

static void remember(struct dns *d, const struct dns_key *key, const struct zone_answer *z,
                     struct dns_answer *a, uint32_t seconds)
{
    struct dns_entry *e = dns_cache_put(d->cache, key, a);

    e->zone = true;
    e->slot = z->slot;
    e->generation = z->generation;
    e->expires = seconds ? rt_now(d->rt) + seconds * NSEC_PER_SEC : 0;
}

/* ---- asking others ---- */

/* The end of a CNAME chain is there: what the cluster says of the name, again, and the rest. */
static int join(struct waiter *w, struct dns_answer *tail, struct dns_answer **ret)
{
    struct dns *d = w->d;
    struct str name = {(char *)w->q.name, w->q.name_n};
    struct zone_answer z;
    enum zone_result r = zone_lookup(d->zone, name, w->q.type, &d->scratch, &z);
    int n;

    if (r == ZONE_CHASE)
        n = dns_wire_join(name, w->q.type, &z.records, z.chase, tail, ret);
    else if (r == ZONE_ANSWER) /* it is another service by now */
        n = dns_wire_encode(name, w->q.type, &z.records, ret);
    else
        n = -EAGAIN;
    if (n == 0) {
        z.slot = 0;
        z.generation = zone_generation(d->zone, 0);
        if (r == ZONE_CHASE)
            remember(d, &w->key, &z, *ret, MIN((uint32_t)DNS_CLUSTER_TTL_S, (*ret)->ttl_s));
    }
    arena_clear(&d->scratch);
    return n;
}

static void waiter_end(struct waiter *w)
{
    if (w->from.conn)
        dns_conn_unref(w->from.conn);
    free(w);
}

static void on_forwarded(struct dns_forward_wait *wait, struct dns_answer *a, uint32_t ttl_s)
{
    struct waiter *w = CONTAINER_OF(wait, struct waiter, wait);
    struct dns *d = w->d;
    struct dns_answer *joined = NULL;

    if (d->stopping) {
        waiter_end(w);
        return;
    }
    if (a && w->chase && join(w, a, &joined) < 0)
        a = NULL;
    if (a) {
        send_answer(d, &w->from, &w->q, joined ? joined : a, 0, ttl_s);
    } else {
        COUNT(d, failed);
        send_error(d, &w->from, &w->q, DNS_SERVFAIL);
    }
    dns_answer_unref(joined);
    waiter_end(w);
}

/* chase: absent, or what to ask for instead of the question's name. */
static void ask_others(struct dns *d, const struct dns_asker *from, const struct dns_query *q,
                       const struct dns_key *key, struct str chase)
{
    struct waiter *w = xmalloc(sizeof(*w));
    struct str name = chase.n ? chase : (struct str){(const char *)q->name, q->name_n};

    *w = (struct waiter){.wait.fn = on_forwarded, .d = d, .q = *q, .key = *key, .chase = chase.n};
    memcpy(w->question, q->question, q->question_n);
    w->q.question = w->question;
    w->from = *from;
    if (from->conn)
        dns_conn_ref(from->conn);
    COUNT(d, forwarded);
    int r = dns_forward_ask(d->forward, name, q->type, key_flags(q), &w->wait);
    if (r == 0)
        return;
    COUNT(d, failed);
    send_error(d, from, q, DNS_SERVFAIL);
    waiter_end(w);
}

/* An ExternalName whose target is in the cache already. */
static bool chase_cached(struct dns *d, const struct dns_asker *from, const struct dns_query *q,
                         const struct zone_answer *z)
{
    struct str name = {(const char *)q->name, q->name_n};
    struct dns_answer *a = NULL;
    struct dns_key key;
    uint32_t age_s, ttl_s;

    dns_key_make(&key, z->chase, q->type, key_flags(q));
    struct dns_entry *e = dns_cache_get(d->cache, &key);
    if (!e || !usable(d, e, &age_s, &ttl_s) ||
        dns_wire_join(name, q->type, &z->records, z->chase, e->answer, &a) < 0)
        return false;
    send_answer(d, from, q, a, 0, DNS_CLUSTER_TTL_S);
    dns_answer_unref(a);
    return true;
}

/* ---- serving ---- */

static void answer_anew(struct dns *d, const struct dns_asker *from, const struct dns_query *q,
                        const struct dns_key *key, struct str message)
{
    struct str name = {(const char *)q->name, q->name_n};
    struct zone_answer z;
    struct dns_answer *a = NULL;

    switch (zone_lookup(d->zone, name, q->type, &d->scratch, &z)) {
    case ZONE_NOT_MINE:
        ask_others(d, from, q, key, STR_NONE);
        break;
    case ZONE_NOT_READY:
        if (!dns_hold(d, from, message))
            send_error(d, from, q, DNS_SERVFAIL); /* NXDOMAIN they would believe */
        break;
    case ZONE_CHASE:
        if (!chase_cached(d, from, q, &z))
            ask_others(d, from, q, key, z.chase);
        break;
    case ZONE_ANSWER:
        if (dns_wire_encode(name, q->type, &z.records, &a) < 0) {
            send_error(d, from, q, DNS_SERVFAIL);
            break;
        }
        remember(d, key, &z, a, 0);
        send_answer(d, from, q, a, 0, 0);
        dns_answer_unref(a);
    }
    arena_clear(&d->scratch);
}

/* r: of dns_query_parse. */
static void answer(struct dns *d, const struct dns_asker *from, const struct dns_query *q, int r,
                   struct str message)
{
    struct dns_key key;
    uint32_t age_s, ttl_s;

    if (r != DNS_NOERROR) {
        send_error(d, from, q, (enum dns_rcode)r);
        return;
    }
    /* Cluster answers are the same whatever the client thinks of DNSSEC. */
    bool ours = zone_in_domain(d->zone, q->name, q->name_n);
    dns_key_make(&key, (struct str){(const char *)q->name, q->name_n}, q->type,
                 ours ? 0 : key_flags(q));
    struct dns_entry *e = dns_cache_get(d->cache, &key);
    if (e && usable(d, e, &age_s, &ttl_s)) {
        COUNT(d, hits);
        send_answer(d, from, q, e->answer, age_s, ttl_s);
    } else {
        answer_anew(d, from, q, &key, message);
    }
}

bool dns_serve(struct dns *d, const struct dns_asker *from, struct str message)
{
    struct dns_query q;
    int r = dns_query_parse(message, &q);

    if (r == -EBADMSG)
        return false;
    COUNT(d, queries);
    answer(d, from, &q, r, message);
    return true;
}

void dns_serve_held(struct dns *d, const struct dns_asker *from, struct str message)
{
    struct dns_query q;
    int r = dns_query_parse(message, &q);

    ASSERT(r == DNS_NOERROR); /* or it would not have been held */
    answer(d, from, &q, r, message);
}
