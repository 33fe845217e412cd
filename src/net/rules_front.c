/* One front's endpoints, kept in places 0..n-1 because a random number below n picks one. When
 * endpoints come and go, those that stay keep their places as far as the new n allows, so a change
 * of one endpoint is a change of at most two elements and the verdict (which names the chain for
 * n). */
#include "net/rules_internal.h"

#include <netinet/in.h>

#include "base/hash.h"
#include "base/mem.h"

#define CHAINS_COMMON 8
#define ID_MASK       0x007fffffu /* what front_tag leaves */

static_assert(offsetof(struct net_front, inside) == 8, "what says which front lies close");

struct str front_key(const struct net_front *f)
{
    return (struct str){(const char *)f, offsetof(struct net_front, inside) + sizeof(f->inside)};
}

/* Without affinity nobody has one. */
static uint32_t id_at(const uint32_t *ids, uint32_t i)
{
    return ids ? ids[i] : 0;
}

/* The front as the first fields of an element; how many. */
static size_t key_fields(const struct net_front *f, uint32_t *v)
{
    size_t n = 0;
    if (f->kind == NET_FRONT_VIP)
        v[n++] = f->ip;
    v[n++] = f->proto;
    v[n++] = f->port;
    return n;
}

static enum net_map map_of(const struct net_front *f, enum net_map svc_map)
{
    return f->kind == NET_FRONT_VIP ? svc_map : svc_map + NET_MAP_NP;
}

/* ---- masqueraded endpoints: shared by fronts, so counted ---- */

static struct str masq_key(const struct net_front *f, const struct net_endpoint *e,
                           uint32_t v[static 3])
{
    v[0] = e->ip;
    v[1] = f->proto;
    v[2] = e->port;
    return (struct str){(const char *)v, 3 * sizeof(*v)};
}

static void masq_ref(struct net_rules *r, const struct net_front *f, const struct net_endpoint *e,
                     struct net_batch *b)
{
    uint32_t v[3];
    if (!e->remote)
        return;
    struct counted *c = map_get(&r->masq, masq_key(f, e, v));
    if (!c) {
        c = NEW(struct counted);
        map_set(&r->masq, masq_key(f, e, c->fields), c);
        batch_put(b, PUT_ADD, NET_MAP_MASQ_EP, c->fields, NULL);
    }
    c->refs++;
}

static void masq_unref(struct net_rules *r, const struct net_front *f, const struct net_endpoint *e,
                       struct net_batch *b)
{
    uint32_t v[3];
    if (!e->remote)
        return;
    struct counted *c = map_get(&r->masq, masq_key(f, e, v));
    ASSERT(c && c->refs > 0);
    if (--c->refs == 0) {
        map_remove(&r->masq, masq_key(f, e, v));
        batch_put(b, PUT_REMOVE, NET_MAP_MASQ_EP, v, NULL);
        free(c);
    }
}

/* ---- elements ---- */

static void put_place(const struct net_front *f, uint32_t i, const struct net_endpoint *e,
                      uint32_t id, enum put what, struct net_batch *b)
{
    uint32_t v[NET_FIELDS_MAX];
    size_t n = key_fields(f, v);
    v[n++] = front_tag(f) | i;
    if (f->affinity_s) {
        v[n++] = id;
    } else {
        v[n++] = e->ip;
        v[n++] = e->port;
    }
    batch_put(b, what, map_of(f, f->affinity_s ? NET_MAP_SVC_PICK : NET_MAP_SVC_EP), v, NULL);
}

static void put_id(const struct net_front *f, const struct net_endpoint *e, uint32_t id,
                   enum put what, struct net_batch *b)
{
    uint32_t v[NET_FIELDS_MAX];
    size_t n = key_fields(f, v);
    if (!f->affinity_s)
        return;
    v[n++] = id;
    v[n++] = e->ip;
    v[n++] = e->port;
    batch_put(b, what, map_of(f, NET_MAP_SVC_ID), v, NULL);
}

static const char *need_chain(struct net_rules *r, const struct net_front *f, uint32_t n,
                              struct net_batch *b)
{
    char name[NET_CHAIN_MAX];
    net_chain_name(f, n, name);
    struct chain_state *c = map_get(&r->chains, str_z(name));
    if (!c) {
        static const struct net_range any;
        c = NEW(struct chain_state);
        memcpy(c->name, name, sizeof(name));
        c->n = n;
        c->like = (struct net_front){.kind = f->kind,
                                     .inside = f->inside,
                                     .affinity_s = f->affinity_s,
                                     .ranges = f->n_ranges ? &any : NULL,
                                     .n_ranges = f->n_ranges ? 1 : 0};
        map_set(&r->chains, str_z(c->name), c);
        chain_put(r, c, b);
    }
    return c->name;
}

void net_rules_common(struct net_rules *r)
{
    struct net_batch b = {0};
    for (uint32_t n = 1; n <= CHAINS_COMMON; n++)
        for (int kind = NET_FRONT_VIP; kind <= NET_FRONT_NODEPORT; kind++)
            (void)need_chain(r, &(struct net_front){.kind = (uint8_t)kind}, n, &b);
    net_batch_fini(&b);
}

/* Where the front leads: a chain, or with no endpoint a refusal or silence. What has none inside
 * has none at all, and its other front says so. */
static void put_verdict(struct net_rules *r, const struct net_front *f, uint32_t n, enum put what,
                        struct net_batch *b)
{
    uint32_t v[NET_FIELDS_MAX];
    key_fields(f, v);
    if (n)
        batch_put(b, what, map_of(f, f->inside ? NET_MAP_SVC_IN : NET_MAP_SVC), v,
                  need_chain(r, f, n, b));
    else if (!f->inside)
        batch_put(b, what, map_of(f, NET_MAP_SVC_NONE), v, f->silent ? NULL : "unserved");
}

static bool same_verdict(const struct net_front *x, uint32_t nx, const struct net_front *y,
                         uint32_t ny)
{
    return nx == ny && !x->n_ranges == !y->n_ranges && (nx > 0 || x->silent == y->silent);
}

/* ---- clients that may ---- */

struct net_range *net_ranges_dup(const struct net_range *v, uint32_t n)
{
    if (!n)
        return NULL;
    struct net_range *copy = xcalloc(n, sizeof(*v));
    memcpy(copy, v, n * sizeof(*v));
    return copy;
}

static int range_cmp(const void *a, const void *b)
{
    const struct net_range *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->last == y->last ? 0 : x->last < y->last ? -1 : 1;
}

static void put_range(const struct net_front *f, const struct net_range *g, enum put what,
                      struct net_batch *b)
{
    uint32_t v[NET_FIELDS_MAX];
    size_t n = key_fields(f, v);
    v[n++] = g->first;
    v[n++] = g->last;
    batch_put(b, what, NET_MAP_LB_OK, v, NULL);
}

/* Both are sorted. */
static void diff_ranges(const struct net_front *old, const struct net_front *new,
                        struct net_batch *b)
{
    uint32_t i = 0, j = 0;
    while (i < old->n_ranges || j < new->n_ranges) {
        int c = i == old->n_ranges   ? 1
                : j == new->n_ranges ? -1
                                     : range_cmp(&old->ranges[i], &new->ranges[j]);
        if (c < 0)
            put_range(old, &old->ranges[i++], PUT_REMOVE, b);
        else if (c > 0)
            put_range(new, &new->ranges[j++], PUT_ADD, b);
        else
            i++, j++;
    }
}

/* ---- places ---- */

static int by_address(const struct net_endpoint *x, const struct net_endpoint *y)
{
    if (x->ip != y->ip)
        return x->ip < y->ip ? -1 : 1;
    return (int)x->port - (int)y->port;
}

struct place {
    struct net_endpoint ep;
    uint32_t place;
    bool stays;
};

static int place_cmp(const void *a, const void *b)
{
    return by_address(&((const struct place *)a)->ep, &((const struct place *)b)->ep);
}

static bool id_taken(const uint32_t *ids, uint32_t n, uint32_t id)
{
    for (uint32_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* The same endpoint gets the same id in every life of the agent (but for rare collisions), so
 * clients stay where they are over a restart. */
static uint32_t new_id(const struct net_front *f, const struct net_endpoint *e, const uint32_t *ids,
                       uint32_t n)
{
    uint64_t bytes = (uint64_t)e->ip << 16 | e->port;
    uint32_t id = front_tag(f) | (hash_fnv1a32(&bytes, sizeof(bytes)) & ID_MASK);
    while (id_taken(ids, n, id))
        id = front_tag(f) | ((id + 1) & ID_MASK);
    return id;
}

struct layout {               /* of the endpoints wanted */
    struct net_endpoint *eps; /* owned */
    uint32_t *ids;            /* owned */
    bool *filled;             /* owned */
    uint32_t n;
};

static struct place *old_places(const struct front_state *s)
{
    struct place *old = xcalloc(s->f.n_eps + 1, sizeof(*old));
    for (uint32_t i = 0; i < s->f.n_eps; i++)
        old[i] = (struct place){.ep = s->f.eps[i], .place = i};
    qsort(old, s->f.n_eps, sizeof(*old), place_cmp);
    return old;
}

/* Those that stay keep their place where it still exists; the others fill the gaps. */
static struct layout lay_out(const struct front_state *s, const struct net_front *f,
                             struct place *old)
{
    struct layout l = {.n = f->n_eps};
    l.eps = l.n ? xcalloc(l.n, sizeof(*l.eps)) : NULL;
    l.ids = f->affinity_s ? xcalloc(l.n + 1, sizeof(*l.ids)) : NULL;
    l.filled = xcalloc(l.n + 1, sizeof(*l.filled));
    uint32_t *late = xcalloc(l.n + 1, sizeof(*late)), n_late = 0, gap = 0;
    for (uint32_t i = 0; i < f->n_eps; i++) {
        struct place want = {.ep = f->eps[i]};
        struct place *p =
            s->f.n_eps ? bsearch(&want, old, s->f.n_eps, sizeof(*old), place_cmp) : NULL;
        if (p)
            p->stays = true;
        if (p && p->place < l.n) {
            l.eps[p->place] = f->eps[i];
            if (l.ids)
                l.ids[p->place] = id_at(s->ids, p->place);
            l.filled[p->place] = true;
        } else {
            late[n_late++] = i;
        }
    }
    for (uint32_t k = 0; k < n_late; k++) {
        const struct net_endpoint *e = &f->eps[late[k]];
        struct place want = {.ep = *e};
        struct place *p =
            s->f.n_eps ? bsearch(&want, old, s->f.n_eps, sizeof(*old), place_cmp) : NULL;
        while (l.filled[gap])
            gap++;
        l.eps[gap] = *e;
        if (l.ids)
            l.ids[gap] = p ? id_at(s->ids, p->place) : new_id(f, e, l.ids, l.n);
        l.filled[gap] = true;
    }
    free(late);
    return l;
}

static void flow_gone(struct net_batch *b, const struct net_front *f, const struct net_endpoint *e)
{
    ARRAY_RESERVE(b->gone, b->n_gone, b->cap_gone);
    b->gone[b->n_gone++] = (struct net_flow_gone){.front = *f, .ep = *e};
    struct net_front *copy = &b->gone[b->n_gone - 1].front;
    copy->eps = NULL;
    copy->n_eps = copy->n_ranges = 0;
    copy->ranges = NULL;
}

/* Takes all of s away, as far as it is in the kernel. */
static void clear(struct net_rules *r, struct front_state *s, struct net_batch *b)
{
    for (uint32_t i = 0; i < s->f.n_eps; i++) {
        put_place(&s->f, i, &s->f.eps[i], id_at(s->ids, i), PUT_REMOVE, b);
        put_id(&s->f, &s->f.eps[i], id_at(s->ids, i), PUT_REMOVE, b);
        masq_unref(r, &s->f, &s->f.eps[i], b);
        flow_gone(b, &s->f, &s->f.eps[i]);
    }
    put_verdict(r, &s->f, s->f.n_eps, PUT_REMOVE, b);
    diff_ranges(&s->f, &(struct net_front){.n_ranges = 0}, b);
    free((void *)(uintptr_t)s->f.ranges);
    s->f.ranges = NULL;
    s->f.n_eps = s->f.n_ranges = 0;
}

static void diff_places(struct net_rules *r, struct front_state *s, const struct net_front *f,
                        const struct layout *l, const struct place *old, struct net_batch *b)
{
    for (uint32_t i = 0; i < MAX(l->n, s->f.n_eps); i++) {
        bool was = i < s->f.n_eps, is = i < l->n;
        if (was && is && by_address(&s->f.eps[i], &l->eps[i]) == 0)
            continue;
        if (was)
            put_place(&s->f, i, &s->f.eps[i], id_at(s->ids, i), PUT_REMOVE, b);
        if (is)
            put_place(f, i, &l->eps[i], id_at(l->ids, i), PUT_ADD, b);
    }
    for (uint32_t i = 0; i < s->f.n_eps; i++) {
        if (old[i].stays)
            continue;
        put_id(&s->f, &old[i].ep, id_at(s->ids, old[i].place), PUT_REMOVE, b);
        masq_unref(r, &s->f, &old[i].ep, b);
        flow_gone(b, &s->f, &old[i].ep);
    }
    for (uint32_t i = 0; i < l->n; i++) {
        struct place want = {.ep = l->eps[i]};
        if (s->f.n_eps && bsearch(&want, old, s->f.n_eps, sizeof(*old), place_cmp))
            continue;
        put_id(f, &l->eps[i], id_at(l->ids, i), PUT_ADD, b);
        masq_ref(r, f, &l->eps[i], b);
    }
}

static bool unchanged(const struct front_state *s, const struct net_front *f,
                      const struct place *old)
{
    if (!same_verdict(&s->f, s->f.n_eps, f, f->n_eps) || s->f.n_ranges != f->n_ranges)
        return false;
    for (uint32_t i = 0; i < f->n_ranges; i++)
        if (range_cmp(&s->f.ranges[i], &f->ranges[i]) != 0)
            return false;
    for (uint32_t i = 0; i < f->n_eps; i++)
        if (by_address(&old[i].ep, &f->eps[i]) != 0)
            return false;
    return true;
}

static void keep(struct front_state *s, const struct net_front *f, struct layout *l)
{
    struct net_range *ranges = net_ranges_dup(f->ranges, f->n_ranges);
    free(s->f.eps);
    free(s->ids);
    free((void *)(uintptr_t)s->f.ranges);
    s->f = *f;
    s->f.ranges = ranges;
    s->f.eps = TAKE_PTR(l->eps);
    s->ids = TAKE_PTR(l->ids);
}

void front_change(struct net_rules *r, struct front_state *s, const struct net_front *f, bool fresh,
                  bool gone, struct net_batch *b)
{
    if (gone) {
        if (!fresh)
            clear(r, s, b);
        return;
    }
    if (!fresh && s->f.affinity_s != f->affinity_s) {
        clear(r, s, b);
        fresh = true;
    }
    struct place *old = old_places(s);
    if (!fresh && unchanged(s, f, old)) {
        free(old);
        return;
    }
    struct layout l = lay_out(s, f, old);
    bool turns = fresh || !same_verdict(&s->f, s->f.n_eps, f, l.n);
    /* Who asked before there was an endpoint must not stay with nobody. */
    if (f->proto == IPPROTO_UDP && s->f.n_eps == 0 && l.n > 0)
        flow_gone(b, f, &(struct net_endpoint){.ip = 0});
    diff_places(r, s, f, &l, old, b);
    if (!fresh && turns)
        put_verdict(r, &s->f, s->f.n_eps, PUT_REMOVE, b);
    if (turns)
        put_verdict(r, f, l.n, PUT_ADD, b);
    diff_ranges(&s->f, f, b);
    keep(s, f, &l);
    free(l.filled);
    free(old);
}

void front_print(struct net_rules *r, const struct front_state *s, struct net_batch *b)
{
    for (uint32_t i = 0; i < s->f.n_eps; i++) {
        put_place(&s->f, i, &s->f.eps[i], id_at(s->ids, i), PUT_ADD, b);
        put_id(&s->f, &s->f.eps[i], id_at(s->ids, i), PUT_ADD, b);
    }
    put_verdict(r, &s->f, s->f.n_eps, PUT_ADD, b);
    diff_ranges(&(struct net_front){.n_ranges = 0}, &s->f, b);
}
