/* One front's endpoints, kept in places 0..n-1 because a random number below n picks one. When
 * endpoints come and go, those that stay keep their places as far as the new n allows, so a change
 * of one endpoint is a change of at most two elements and the verdict (which names the chain for
 * n). */
#include "net/rules_internal.h"

#include <netinet/in.h>

#include "base/hash.h"
#include "base/mem.h"

#define ID_MASK        0x00ffffffu
#define CLASSID_FMT    "%x:%x" /* as nft writes a priority */
#define CLASSID_ARG(v) (v) >> 16, (v)&0xffff

void front_key(const struct net_front *f, char out[static 48])
{
    snprintf(out, 48, "%d:" IP4_FMT ":%u:%u", (int)f->kind, IP4_ARG(f->ip), f->proto, f->port);
}

/* The front as the key of an element. */
static void key_text(const struct net_front *f, char out[static NET_ELEM_MAX])
{
    if (f->kind == NET_FRONT_VIP)
        snprintf(out, NET_ELEM_MAX, IP4_FMT " . %u . %u", IP4_ARG(f->ip), f->proto, f->port);
    else
        snprintf(out, NET_ELEM_MAX, "%u . %u", f->proto, f->port);
}

static enum net_map map_of(const struct net_front *f, enum net_map svc_map)
{
    return f->kind == NET_FRONT_VIP ? svc_map : svc_map + NET_MAP_NP;
}

/* ---- masqueraded endpoints: shared by fronts, so counted ---- */

static void masq_text(const struct net_front *f, const struct net_endpoint *e,
                      char out[static NET_ELEM_MAX])
{
    snprintf(out, NET_ELEM_MAX, IP4_FMT " . %u . %u", IP4_ARG(e->ip), f->proto, e->port);
}

static void masq_ref(struct net_rules *r, const struct net_front *f, const struct net_endpoint *e,
                     struct net_batch *b)
{
    char text[NET_ELEM_MAX];
    if (!e->remote)
        return;
    masq_text(f, e, text);
    struct counted *c = map_get(&r->masq, str_z(text));
    if (!c) {
        c = NEW(struct counted);
        memcpy(c->text, text, sizeof(text));
        map_set(&r->masq, str_z(c->text), c);
        batch_add(b, NET_MAP_MASQ_EP, "%s", text);
    }
    c->refs++;
}

static void masq_unref(struct net_rules *r, const struct net_front *f, const struct net_endpoint *e,
                       struct net_batch *b)
{
    char text[NET_ELEM_MAX];
    if (!e->remote)
        return;
    masq_text(f, e, text);
    struct counted *c = map_get(&r->masq, str_z(text));
    ASSERT(c && c->refs > 0);
    if (--c->refs == 0) {
        map_remove(&r->masq, str_z(text));
        batch_remove(b, NET_MAP_MASQ_EP, "%s", text);
        free(c);
    }
}

/* ---- elements ---- */

typedef void (*emit_fn)(struct net_batch *b, enum net_map map, const char *fmt, ...);

static void emit_place(const struct net_front *f, uint32_t i, const struct net_endpoint *e,
                       uint32_t id, emit_fn emit, struct net_batch *b)
{
    char key[NET_ELEM_MAX];
    key_text(f, key);
    if (f->affinity_s)
        emit(b, map_of(f, NET_MAP_SVC_PICK), "%s . " CLASSID_FMT " : " CLASSID_FMT, key,
             CLASSID_ARG(NET_PRIORITY_PREFIX | i), CLASSID_ARG(id));
    else
        emit(b, map_of(f, NET_MAP_SVC_EP), "%s . " CLASSID_FMT " : " IP4_FMT " . %u", key,
             CLASSID_ARG(NET_PRIORITY_PREFIX | i), IP4_ARG(e->ip), e->port);
}

static void emit_id(const struct net_front *f, const struct net_endpoint *e, uint32_t id,
                    emit_fn emit, struct net_batch *b)
{
    char key[NET_ELEM_MAX];
    if (!f->affinity_s)
        return;
    key_text(f, key);
    emit(b, map_of(f, NET_MAP_SVC_ID), "%s . " CLASSID_FMT " : " IP4_FMT " . %u", key,
         CLASSID_ARG(id), IP4_ARG(e->ip), e->port);
}

/* Where the front leads: a chain, or with no endpoint a refusal. */
static void emit_verdict(const struct net_front *f, uint32_t n, emit_fn emit, struct net_batch *b)
{
    char key[NET_ELEM_MAX], chain[NET_CHAIN_MAX];
    key_text(f, key);
    net_chain_name(f, n, chain);
    if (n)
        emit(b, map_of(f, NET_MAP_SVC), "%s : goto %s", key, chain);
    else
        emit(b, map_of(f, NET_MAP_SVC_REJECT), "%s", key);
}

static void need_chain(struct net_rules *r, const struct net_front *f, uint32_t n,
                       struct net_batch *b)
{
    char chain[NET_CHAIN_MAX];
    if (n == 0)
        return;
    net_chain_name(f, n, chain);
    if (map_get(&r->chains, str_z(chain)))
        return;
    char *name = xstrdup(chain);
    map_set(&r->chains, str_z(name), name);
    net_chain_print(&r->env, f, n, &b->chains);
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
static uint32_t new_id(const struct net_endpoint *e, const uint32_t *ids, uint32_t n)
{
    uint64_t bytes = (uint64_t)e->ip << 16 | e->port;
    uint32_t id = NET_PRIORITY_PREFIX | (hash_fnv1a32(&bytes, sizeof(bytes)) & ID_MASK);
    while (id_taken(ids, n, id))
        id = NET_PRIORITY_PREFIX | ((id + 1) & ID_MASK);
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
    l.eps = xcalloc(l.n + 1, sizeof(*l.eps));
    l.ids = xcalloc(l.n + 1, sizeof(*l.ids));
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
            l.ids[p->place] = s->ids[p->place];
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
        l.ids[gap] = !f->affinity_s ? 0 : p ? s->ids[p->place] : new_id(e, l.ids, l.n);
        l.filled[gap] = true;
    }
    free(late);
    return l;
}

static void udp_gone(struct net_batch *b, const struct net_front *f, const struct net_endpoint *e)
{
    if (f->proto != IPPROTO_UDP)
        return;
    ARRAY_RESERVE(b->udp, b->n_udp, b->cap_udp);
    b->udp[b->n_udp++] = (struct net_udp_gone){.front = *f, .ep = *e};
    b->udp[b->n_udp - 1].front.eps = NULL;
    b->udp[b->n_udp - 1].front.n_eps = 0;
}

/* Takes all of s away, as far as it is in the kernel. */
static void clear(struct net_rules *r, struct front_state *s, struct net_batch *b)
{
    for (uint32_t i = 0; i < s->f.n_eps; i++) {
        emit_place(&s->f, i, &s->f.eps[i], s->ids[i], batch_remove, b);
        emit_id(&s->f, &s->f.eps[i], s->ids[i], batch_remove, b);
        masq_unref(r, &s->f, &s->f.eps[i], b);
        udp_gone(b, &s->f, &s->f.eps[i]);
    }
    emit_verdict(&s->f, s->f.n_eps, batch_remove, b);
    s->f.n_eps = 0;
}

static void diff_places(struct net_rules *r, struct front_state *s, const struct net_front *f,
                        const struct layout *l, const struct place *old, struct net_batch *b)
{
    for (uint32_t i = 0; i < MAX(l->n, s->f.n_eps); i++) {
        bool was = i < s->f.n_eps, is = i < l->n;
        if (was && is && by_address(&s->f.eps[i], &l->eps[i]) == 0)
            continue;
        if (was)
            emit_place(&s->f, i, &s->f.eps[i], s->ids[i], batch_remove, b);
        if (is)
            emit_place(f, i, &l->eps[i], l->ids[i], batch_add, b);
    }
    for (uint32_t i = 0; i < s->f.n_eps; i++) {
        if (old[i].stays)
            continue;
        emit_id(&s->f, &old[i].ep, s->ids[old[i].place], batch_remove, b);
        masq_unref(r, &s->f, &old[i].ep, b);
        udp_gone(b, &s->f, &old[i].ep);
    }
    for (uint32_t i = 0; i < l->n; i++) {
        struct place want = {.ep = l->eps[i]};
        if (s->f.n_eps && bsearch(&want, old, s->f.n_eps, sizeof(*old), place_cmp))
            continue;
        emit_id(f, &l->eps[i], l->ids[i], batch_add, b);
        masq_ref(r, f, &l->eps[i], b);
    }
}

static bool unchanged(const struct front_state *s, const struct net_front *f,
                      const struct place *old)
{
    if (s->f.n_eps != f->n_eps || s->f.affinity_s != f->affinity_s)
        return false;
    for (uint32_t i = 0; i < f->n_eps; i++)
        if (by_address(&old[i].ep, &f->eps[i]) != 0)
            return false;
    return true;
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
    uint32_t n_before = s->f.n_eps;
    diff_places(r, s, f, &l, old, b);
    need_chain(r, f, l.n, b);
    if (!fresh && n_before != l.n)
        emit_verdict(&s->f, n_before, batch_remove, b);
    if (fresh || n_before != l.n)
        emit_verdict(f, l.n, batch_add, b);
    free(s->f.eps);
    free(s->ids);
    free(l.filled);
    free(old);
    s->f = *f;
    s->f.eps = l.eps;
    s->ids = l.ids;
}

void front_print(const struct net_rules *r, const struct front_state *s, struct net_batch *b)
{
    for (uint32_t i = 0; i < s->f.n_eps; i++) {
        emit_place(&s->f, i, &s->f.eps[i], s->ids[i], batch_add, b);
        emit_id(&s->f, &s->f.eps[i], s->ids[i], batch_add, b);
    }
    emit_verdict(&s->f, s->f.n_eps, batch_add, b);
}
