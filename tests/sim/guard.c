/* Invariants that need a memory: whose a name is, which ranges are given, what a budget allowed.
 * A budget's own number is written by a controller that looks at caches, so it may be as old as a
 * cache; what must hold exactly is that every eviction takes one off it, and that it never promises
 * more than was healthy at some moment just before. */
#include "guard.h"

#include <sys/socket.h>

#include "api/csr.h"
#include "base/map.h"
#include "base/mem.h"
#include "rt/crypto.h"
#include "sys/ip.h"

#define HEALTH_WINDOW (10 * NSEC_PER_SEC)
#define HEALTH_MAX    256

struct owner { /* of a node's name */
    char *name;
    uint8_t spki[SHA256_BYTES];
};

struct range {
    char *node;
    struct ip_prefix prefix;
};

struct health {
    nsec_t at; /* from then on */
    unsigned n;
};

struct guard {
    struct world *world;
    struct map owners, ranges;
    uint8_t (*dead)[SHA256_BYTES];
    size_t n_dead, cap_dead;
    char *app;
    unsigned min_available;
    struct health health[HEALTH_MAX]; /* a ring */
    size_t n_health;
    unsigned evictions, certificates;
};

/* ---- ranges ---- */

static void range_release(struct guard *g, struct str node)
{
    struct range *r = map_remove(&g->ranges, node);
    if (!r)
        return;
    free(r->node);
    free(r);
}

static void see_node(struct guard *g, const struct object *old, const struct object *new)
{
    struct ip_prefix p;
    struct str text = new ? OBJECT_MSG(new, api_node)->spec.pod_cidr : STR_NONE;
    struct str name = object_name(new ? new : old);
    if (!text.n) {
        range_release(g, name);
        return;
    }
    WORLD_CHECK(g->world, ip_prefix_parse(text, &p) == 0, "node %.*s has the range %.*s",
                STR_ARG(name), STR_ARG(text));
    for (struct map_slot *s = NULL; (s = map_next(&g->ranges, s));) {
        const struct range *o = s->value;
        bool overlap = ip_prefix_contains(o->prefix.bits < p.bits ? &o->prefix : &p,
                                          o->prefix.bits < p.bits ? &p.addr : &o->prefix.addr);
        WORLD_CHECK(g->world, str_eq(s->key, name) || !overlap,
                    "nodes %s and %.*s have overlapping ranges: %.*s", o->node, STR_ARG(name),
                    STR_ARG(text));
    }
    range_release(g, name);
    struct range *r = NEW(struct range);
    *r = (struct range){str_dup(name), p};
    (void)map_set(&g->ranges, str_z(r->node), r);
}

/* ---- certificates ---- */

static bool is_dead(const struct guard *g, const uint8_t *spki)
{
    for (size_t i = 0; i < g->n_dead; i++)
        if (memcmp(g->dead[i], spki, SHA256_BYTES) == 0)
            return true;
    return false;
}

static void owner_free(struct guard *g, struct owner *o)
{
    (void)map_remove(&g->owners, str_z(o->name));
    free(o->name);
    free(o);
}

static void see_csr(struct guard *g, const struct object *old, const struct object *new)
{
    const struct api_certificate_signing_request
        *was = old ? OBJECT_MSG(old, api_certificate_signing_request) : NULL,
        *c = new ? OBJECT_MSG(new, api_certificate_signing_request) : NULL;
    struct cert *cert;
    if (!c || !c->status.certificate.n || (was && was->status.certificate.n) ||
        !str_is(c->spec.signer_name, CSR_SIGNER_KUBELET))
        return;
    WORLD_CHECK(g->world, cert_from_pem(c->status.certificate, NULL, &cert) == 0,
                "what was issued is no certificate");
    const struct cert_facts *f = cert_facts(cert);
    struct owner *o = map_get(&g->owners, f->cn);
    g->certificates++;
    if (!is_dead(g, f->spki_sha256)) {
        bool renews = str_eq(c->spec.username, f->cn);
        WORLD_CHECK(g->world, !o || renews || memcmp(o->spki, f->spki_sha256, SHA256_BYTES) == 0,
                    "two machines have certificates for %.*s", STR_ARG(f->cn));
        if (!o) {
            o = NEW(struct owner);
            o->name = str_dup(f->cn);
            (void)map_set(&g->owners, str_z(o->name), o);
        }
        memcpy(o->spki, f->spki_sha256, SHA256_BYTES);
    }
    cert_free(cert);
}

void guard_key_dead(struct guard *g, const uint8_t spki_sha256[32])
{
    ARRAY_RESERVE(g->dead, g->n_dead, g->cap_dead);
    memcpy(g->dead[g->n_dead++], spki_sha256, SHA256_BYTES);
    struct owner *mine = NULL;
    for (struct map_slot *s = NULL; !mine && (s = map_next(&g->owners, s));) {
        struct owner *o = s->value;
        if (memcmp(o->spki, spki_sha256, SHA256_BYTES) == 0)
            mine = o;
    }
    if (mine)
        owner_free(g, mine);
}

/* ---- budgets ---- */

static bool says(const struct api_pod *p, const char *type, const char *reason)
{
    for (uint32_t i = 0; i < p->status.n_conditions; i++)
        if (str_eqz(p->status.conditions[i].type, type))
            return str_is(p->status.conditions[i].status, "True") &&
                   (!reason || str_eqz(p->status.conditions[i].reason, reason));
    return false;
}

static void note_health(struct guard *g)
{
    unsigned n = checker_pods_ready(g->world->checker, g->app);
    g->health[g->n_health++ % HEALTH_MAX] = (struct health){rt_now(g->world->rt), n};
}

/* The most that were healthy at some moment of the window. */
static unsigned health_lately(const struct guard *g)
{
    unsigned most = 0;
    nsec_t from = rt_now(g->world->rt) - HEALTH_WINDOW;
    for (size_t i = 0; i < MIN(g->n_health, (size_t)HEALTH_MAX); i++) {
        const struct health *h = &g->health[(g->n_health - 1 - i) % HEALTH_MAX];
        most = MAX(most, h->n);
        if (h->at < from) /* held until the window began */
            break;
    }
    return most;
}

static const struct kv_timestamp *disrupted(const struct api_pod_disruption_budget *b,
                                            struct str pod)
{
    for (uint32_t i = 0; i < b->status.n_disrupted_pods; i++)
        if (str_eq(b->status.disrupted_pods[i].key, pod))
            return &b->status.disrupted_pods[i];
    return NULL;
}

static void see_budget(struct guard *g, const struct object *old, const struct object *new)
{
    const struct api_pod_disruption_budget *was =
        old ? OBJECT_MSG(old, api_pod_disruption_budget) : NULL;
    const struct api_pod_disruption_budget *b =
        new ? OBJECT_MSG(new, api_pod_disruption_budget) : NULL;
    if (!g->app || !b || !was || !str_eqz(b->metadata.name, g->app))
        return;
    int evicted = 0; /* one commit may hold several */
    for (uint32_t i = 0; i < b->status.n_disrupted_pods; i++)
        evicted += !disrupted(was, b->status.disrupted_pods[i].key);
    int allowed = b->status.disruptions_allowed, before = was->status.disruptions_allowed;
    WORLD_CHECK(g->world, allowed >= 0, "the budget allows %d disruptions", allowed);
    if (evicted)
        WORLD_CHECK(g->world, allowed == before - evicted,
                    "%d evictions take %d off the budget's %d", evicted, before - allowed, before);
    else if (allowed > before)
        WORLD_CHECK(g->world, (unsigned)allowed + g->min_available <= health_lately(g),
                    "the budget allows %d disruptions, %u are healthy at most and %u must be",
                    allowed, health_lately(g), g->min_available);
}

static bool has_app(const struct object *o, const char *app)
{
    const struct str *v = KV_GET(object_meta(o), labels, STR("app"));
    return v && str_eqz(*v, app);
}

/* An eviction that the API server granted is in the budget's books. */
static void see_pod(struct guard *g, const struct object *old, const struct object *new)
{
    if (!g->app || !has_app(new ? new : old, g->app))
        return;
    const struct api_pod *was = old ? OBJECT_MSG(old, api_pod) : NULL;
    const struct api_pod *p = new ? OBJECT_MSG(new, api_pod) : NULL;
    if (was && p && says(p, "DisruptionTarget", "EvictionByEvictionAPI") &&
        !says(was, "DisruptionTarget", "EvictionByEvictionAPI")) {
        g->evictions++;
        struct object *o = world_get(g->world, KIND_POD_DISRUPTION_BUDGET, "default", g->app);
        bool counted = says(was, "Ready", NULL) && !was->metadata.deletion_timestamp.set;
        WORLD_CHECK(g->world,
                    !counted || !o ||
                        disrupted(OBJECT_MSG(o, api_pod_disruption_budget), p->metadata.name),
                    "pod %.*s is evicted behind the budget's back", STR_ARG(p->metadata.name));
    }
}

void guard_budget(struct guard *g, const char *app, unsigned min_available)
{
    free(g->app);
    g->app = xstrdup(app);
    g->min_available = min_available;
    note_health(g);
}

unsigned guard_evictions(const struct guard *g)
{
    return g->evictions;
}

unsigned guard_certificates(const struct guard *g)
{
    return g->certificates;
}

/* ---- ---- */

void guard_see(struct guard *g, const struct object *old, const struct object *new)
{
    enum kind_id kind = (new ? new : old)->kind->id;
    if (kind == KIND_NODE)
        see_node(g, old, new);
    else if (kind == KIND_CERTIFICATE_SIGNING_REQUEST)
        see_csr(g, old, new);
    else if (kind == KIND_POD_DISRUPTION_BUDGET)
        see_budget(g, old, new);
    else if (kind == KIND_POD)
        see_pod(g, old, new);
}

void guard_pods_changed(struct guard *g)
{
    if (g->app)
        note_health(g);
}

struct guard *guard_new(struct world *w)
{
    struct guard *g = NEW(struct guard);
    g->world = w;
    return g;
}

struct guard *guard_free(struct guard *g)
{
    if (!g)
        return NULL;
    for (struct map_slot *s; (s = map_next(&g->owners, NULL));)
        owner_free(g, s->value);
    for (struct map_slot *s; (s = map_next(&g->ranges, NULL));)
        range_release(g, s->key);
    map_fini(&g->owners);
    map_fini(&g->ranges);
    free(g->dead);
    free(g->app);
    free(g);
    return NULL;
}
