/* The server's life, and what crosses into its thread.
 *
 * Why a thread of its own: measured (tests/bench/bench_dns.c, two cores), one loop answers 250,000
 * queries a second and 99 of 100 within 0.4 ms when 100,000 a second are asked; but with something
 * else on the same loop that holds it for 5 ms in 100, the 99th takes 4.3 ms. The agent's loop is
 * held for longer than that by a list of many Services, by plans and by decoding, and a burst of
 * queries would in turn take the loop from pods and probes. So the server shares nothing with the
 * agent but frozen, counted objects, which rt_post carries over one Service at a time. It costs 50
 * KB while nobody asks, and 400 KB (ldns) after the first question. */
#include "net/dns/dns.h"

#include <sys/socket.h>

#include "base/mem.h"
#include "net/dns/server.h"

struct update {
    struct rt_post post;
    struct dns *d;
    struct object *svc; /* owned reference; NULL: gone */
    char *ns, *name;    /* owned */
    bool synced;        /* no service: all are there */
    size_t n;
    struct object *slices[]; /* owned references */
};

static void apply(void *arg)
{
    struct update *u = arg;

    if (u->synced) {
        zone_synced(u->d->zone);
        dns_hold_end(u->d, true);
    } else {
        zone_set(u->d->zone, str_z(u->ns), str_z(u->name), u->svc, u->slices, u->n);
    }
    object_unref(u->svc);
    for (size_t i = 0; i < u->n; i++)
        object_unref(u->slices[i]);
    free(u->ns);
    free(u->name);
    free(u);
}

static void hand_over(struct dns *d, struct update *u)
{
    u->d = d;
    if (d->started)
        rt_post(d->rt, &u->post, apply, u);
    else
        apply(u);
}

void dns_set(struct dns *d, struct str ns, struct str name, struct object *svc,
             struct object *const *slices, size_t n)
{
    n = MIN(n, (size_t)DNS_SERVICE_SLICES_MAX);
    struct update *u = xcalloc(1, sizeof(*u) + n * sizeof(*slices));

    u->ns = str_dup(ns);
    u->name = str_dup(name);
    u->svc = svc ? object_ref(svc) : NULL;
    u->n = n;
    for (size_t i = 0; i < n; i++)
        u->slices[i] = object_ref(slices[i]);
    hand_over(d, u);
}

void dns_synced(struct dns *d)
{
    struct update *u = NEW(struct update);

    u->synced = true;
    hand_over(d, u);
}

/* ---- life ---- */

static int parse_address(const char *text, struct ip_addr *ret, struct error *err)
{
    if (ip_parse(str_z(text), ret) < 0)
        return error_set(err, REASON_BAD_REQUEST, "dns: \"%s\" is no address", text);
    return 0;
}

static void on_bind_retry(void *arg)
{
    dns_listen_start(arg);
}

static int setup(struct dns *d, const struct dns_opts *o, struct error *err)
{
    struct zone_opts z = {.domain = o->cluster_domain};
    uint16_t port = o->port ? o->port : 53;
    int r = parse_address(o->address, &z.dns_address, err);

    if (r < 0)
        return r;
    if (o->service_cidr && ip_prefix_parse(str_z(o->service_cidr), &z.service_cidr) < 0)
        return error_set(err, REASON_BAD_REQUEST, "dns: \"%s\" is no range", o->service_cidr);
    if (o->cluster_cidr && ip_prefix_parse(str_z(o->cluster_cidr), &z.cluster_cidr) < 0)
        return error_set(err, REASON_BAD_REQUEST, "dns: \"%s\" is no range", o->cluster_cidr);
    if (zone_new(&z, &d->zone) < 0)
        return error_set(err, REASON_BAD_REQUEST, "dns: \"%s\" is no domain", o->cluster_domain);
    d->own[d->n_own++] = z.dns_address;
    dns_listen_add(d, &z.dns_address, port, o->bridge, false);
    if (o->bridge)
        dns_listen_add(d, &z.dns_address, port, "lo", true);
    if (o->gateway) {
        struct ip_addr *gw = &d->own[d->n_own++];
        r = parse_address(o->gateway, gw, err);
        if (r < 0)
            return r;
        dns_listen_add(d, gw, port, NULL, false);
    }
    return 0;
}

int dns_new(const struct dns_opts *o, struct dns **ret, struct error *err)
{
    struct dns *d = NEW(struct dns);

    list_init(&d->conns);
    list_init(&d->held);
    int r = setup(d, o, err);
    d->own_rt = !o->rt;
    d->rt = o->rt ? o->rt : rt_uv_new();
    if (r == 0 && !d->rt)
        r = error_errno(err, errno, "dns: an event loop");
    if (r < 0) {
        dns_free(d);
        return r;
    }
    rt_timer_init(&d->bind_retry, d->rt, on_bind_retry, d);
    dns_hold_init(d);
    rt_random_bytes(d->rt, &d->rotation, sizeof(d->rotation));
    d->cache = dns_cache_new(DNS_CACHE_ENTRIES_MAX, DNS_CACHE_BYTES_MAX);
    d->forward = dns_forward_new(&(struct dns_forward_opts){
        .rt = d->rt,
        .cache = d->cache,
        .resolv_path = o->resolv_conf,
        .stub_path = o->stub_conf,
        .own = d->own,
        .n_own = d->n_own,
        .port = o->upstream_port,
    });
    *ret = d;
    return 0;
}

int dns_start(struct dns *d, struct error *err)
{
    ASSERT(!d->started);
    dns_listen_start(d);
    dns_hold_start(d);
    d->started = true;
    if (!d->own_rt)
        return 0;
    int r = rt_thread_start(d->rt, "dns", &d->thread);
    if (r < 0) {
        d->started = false;
        return error_errno(err, -r, "dns: a thread");
    }
    return 0;
}

static bool turns_over(void *arg)
{
    return --*(int *)arg < 0;
}

/* Lets the loop finish what is posted and closing. */
static void drain(struct dns *d)
{
    int turns = 4;

    (void)rt_run_until(d->rt, turns_over, &turns, 4 * NSEC_PER_MSEC);
}

struct dns *dns_free(struct dns *d)
{
    if (!d)
        return NULL;
    d->thread = rt_thread_join(d->thread);
    d->stopping = true;
    if (d->rt) {
        /* What was posted last still has references. */
        drain(d);
        d->forward = dns_forward_free(d->forward);
        dns_hold_end(d, false);
        dns_listen_stop(d);
        dns_conns_close(d);
        drain(d);
        if (d->own_rt)
            rt_free(d->rt);
    }
    dns_cache_free(d->cache);
    zone_free(d->zone);
    arena_fini(&d->scratch);
    free(d);
    return NULL;
}

void dns_stats(const struct dns *d, struct dns_stats *ret)
{
    *ret = (struct dns_stats){
        .queries = atomic_load_explicit(&d->stats.queries, memory_order_relaxed),
        .errors = atomic_load_explicit(&d->stats.errors, memory_order_relaxed),
        .hits = atomic_load_explicit(&d->stats.hits, memory_order_relaxed),
        .forwarded = atomic_load_explicit(&d->stats.forwarded, memory_order_relaxed),
        .failed = atomic_load_explicit(&d->stats.failed, memory_order_relaxed),
    };
}
