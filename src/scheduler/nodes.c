/* The nodes of the scheduler's core. A node is kept twice: what rarely matters in struct
 * sched_node, what every pick reads in one float array per figure, by slot, so that a pick streams
 * through memory. A node is known from the first pod that is said to be on it; it can be picked
 * once it was set. */
#include "scheduler/core_int.h"

#include <math.h>

#include "base/mem.h"
#include "codec/values.h"

static void *grow_array(void *old, size_t elem, size_t n, size_t cap)
{
    void *p = aligned_alloc(64, ALIGN_UP(elem * cap, 64));
    ASSERT(p);
    if (n > 0)
        memcpy(p, old, elem * n);
    memset((char *)p + elem * n, 0, elem * (cap - n));
    free(old);
    return p;
}

static void grow(struct sched_core *c)
{
    size_t n = c->cap, cap = n ? n * 2 : 64;
    c->cpu_free = grow_array(c->cpu_free, sizeof(float), n, cap);
    c->mem_free = grow_array(c->mem_free, sizeof(float), n, cap);
    c->pods_free = grow_array(c->pods_free, sizeof(float), n, cap);
    c->cpu_nz_free = grow_array(c->cpu_nz_free, sizeof(float), n, cap);
    c->mem_nz_free = grow_array(c->mem_nz_free, sizeof(float), n, cap);
    c->cpu_inv = grow_array(c->cpu_inv, sizeof(float), n, cap);
    c->mem_inv = grow_array(c->mem_inv, sizeof(float), n, cap);
    c->bias = grow_array(c->bias, sizeof(float), n, cap);
    c->fail = grow_array(c->fail, 1, n, cap);
    c->nodes = xrealloc(c->nodes, cap * sizeof(*c->nodes));
    for (size_t i = n; i < cap; i++) {
        c->pods_free[i] = -1;
        c->nodes[i] = NULL;
    }
    struct sched_topo *t;
    LIST_FOR_EACH (t, &c->topo_list, node) {
        t->node_domain = xrealloc(t->node_domain, cap * sizeof(uint32_t));
        memset(t->node_domain + n, 0, (cap - n) * sizeof(uint32_t));
    }
    c->cap = (uint32_t)cap;
}

struct sched_node *sched_node_get(struct sched_core *c, struct str name)
{
    struct sched_node *n = map_get(&c->by_name, name);
    if (n)
        return n;
    n = NEW(struct sched_node);
    n->name = (struct str){str_dup(name), name.n};
    list_init(&n->pods);
    arena_init(&n->arena, 0);
    uint32_t slot = 0;
    while (slot < c->n_slots && c->nodes[slot])
        slot++;
    if (slot == c->cap)
        grow(c);
    c->n_slots = MAX(c->n_slots, slot + 1);
    n->slot = slot;
    c->nodes[slot] = n;
    (void)map_set(&c->by_name, n->name, n);
    sched_node_refresh(c, n);
    return n;
}

/* The float at or above v. */
static float round_up(int64_t v)
{
    float f = (float)v;
    return (double)f < (double)v ? nextafterf(f, INFINITY) : f;
}

void sched_node_refresh(struct sched_core *c, const struct sched_node *n)
{
    uint32_t i = n->slot;
    c->cpu_free[i] = round_up(n->cpu_alloc - n->cpu_used);
    c->mem_free[i] = round_up(n->mem_alloc - n->mem_used);
    c->pods_free[i] = n->known ? (float)(n->pods_alloc - n->pods_used) : -1;
    c->cpu_nz_free[i] = (float)(n->cpu_alloc - n->cpu_nz);
    c->mem_nz_free[i] = (float)(n->mem_alloc - n->mem_nz);
    c->cpu_inv[i] = n->cpu_alloc > 0 ? 1.0f / (float)n->cpu_alloc : 0;
    c->mem_inv[i] = n->mem_alloc > 0 ? 1.0f / (float)n->mem_alloc : 0;
}

int64_t sched_node_extra_used(const struct sched_node *n, struct str name)
{
    int64_t sum = 0;
    const struct sched_pod *p;
    LIST_FOR_EACH (p, &n->pods, on_node)
        for (uint32_t i = 0; i < p->n_extra; i++)
            if (str_eq(p->extra[i].name, name))
                sum += p->extra[i].v;
    return sum;
}

static bool labels_equal(const struct kv_str *a, uint32_t na, const struct kv_str *b, uint32_t nb)
{
    if (na != nb)
        return false;
    for (uint32_t i = 0; i < na; i++)
        if (!str_eq(a[i].key, b[i].key) || !str_eq(a[i].value, b[i].value))
            return false;
    return true;
}

static bool taints_equal(const struct sched_node *n, const struct api_node_spec *s)
{
    if (n->n_taints != s->n_taints)
        return false;
    for (uint32_t i = 0; i < s->n_taints; i++)
        if (!str_eq(n->taints[i].key, s->taints[i].key) ||
            !str_eq(n->taints[i].value, s->taints[i].value) ||
            !str_eq(n->taints[i].effect, s->taints[i].effect))
            return false;
    return true;
}

static bool is_base_resource(struct str s)
{
    return str_is(s, "cpu") || str_is(s, "memory") || str_is(s, "pods");
}

/* Takes over allocatable; true when it changed. */
static bool take_resources(struct sched_node *n, const struct api_node_status *st)
{
    const struct kv_quantity *v = st->n_allocatable ? st->allocatable : st->capacity;
    uint32_t count = st->n_allocatable ? st->n_allocatable : st->n_capacity;
    const struct quantity *cpu = count ? kv_quantity_get(v, count, STR("cpu")) : NULL;
    const struct quantity *mem = count ? kv_quantity_get(v, count, STR("memory")) : NULL;
    const struct quantity *pods = count ? kv_quantity_get(v, count, STR("pods")) : NULL;
    int64_t cpu_v = cpu ? quantity_milli(cpu) : 0, mem_v = mem ? quantity_value(mem) : 0;
    int64_t pods_v = pods ? quantity_value(pods) : 0;
    uint32_t n_extra = 0;
    for (uint32_t i = 0; i < count; i++)
        n_extra += !is_base_resource(v[i].key);
    bool changed = cpu_v != n->cpu_alloc || mem_v != n->mem_alloc || pods_v != n->pods_alloc ||
                   n_extra != n->n_extra_alloc;
    n->cpu_alloc = cpu_v;
    n->mem_alloc = mem_v;
    n->pods_alloc = pods_v;
    if (n_extra > n->n_extra_alloc)
        n->extra_alloc = ARENA_NEW_N(&n->arena, struct sched_amount, n_extra);
    n->n_extra_alloc = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_base_resource(v[i].key))
            continue;
        struct sched_amount *e = &n->extra_alloc[n->n_extra_alloc++];
        int64_t amount = quantity_value(&v[i].value);
        changed = changed || !str_eq(e->name, v[i].key) || e->v != amount;
        if (!str_eq(e->name, v[i].key))
            e->name = arena_str(&n->arena, v[i].key);
        e->v = amount;
    }
    return changed;
}

static void take_labels(struct sched_core *c, struct sched_node *n, const struct api_node *node)
{
    /* Everything in the arena is replaced, so that it does not grow with every change. */
    struct arena old = n->arena;
    arena_init(&n->arena, 0);
    n->n_labels = node->metadata.n_labels;
    n->labels = n->n_labels ? ARENA_NEW_N(&n->arena, struct kv_str, n->n_labels) : NULL;
    for (uint32_t i = 0; i < n->n_labels; i++) {
        n->labels[i].key = arena_str(&n->arena, node->metadata.labels[i].key);
        n->labels[i].value = arena_str(&n->arena, node->metadata.labels[i].value);
    }
    n->n_taints = node->spec.n_taints;
    n->taints = n->n_taints ? ARENA_NEW_N(&n->arena, struct api_taint, n->n_taints) : NULL;
    for (uint32_t i = 0; i < n->n_taints; i++) {
        n->taints[i].key = arena_str(&n->arena, node->spec.taints[i].key);
        n->taints[i].value = arena_str(&n->arena, node->spec.taints[i].value);
        n->taints[i].effect = arena_str(&n->arena, node->spec.taints[i].effect);
    }
    struct sched_amount *extra = n->extra_alloc;
    n->extra_alloc =
        n->n_extra_alloc ? ARENA_NEW_N(&n->arena, struct sched_amount, n->n_extra_alloc) : NULL;
    for (uint32_t i = 0; i < n->n_extra_alloc; i++)
        n->extra_alloc[i] = (struct sched_amount){arena_str(&n->arena, extra[i].name), extra[i].v};
    arena_fini(&old);
    n->unschedulable = node->spec.unschedulable;
    n->gen = ++c->gen;
    sched_topo_node_changed(c, n);
}

bool sched_core_node_set(struct sched_core *c, const struct api_node *node)
{
    struct sched_node *n = sched_node_get(c, node->metadata.name);
    bool fresh = !n->known, changed = fresh;
    n->known = true; /* before its labels are taken over: only known nodes are in a domain */
    if (fresh || n->unschedulable != node->spec.unschedulable || !taints_equal(n, &node->spec) ||
        !labels_equal(n->labels, n->n_labels, node->metadata.labels, node->metadata.n_labels)) {
        take_labels(c, n, node);
        changed = true;
    }
    if (take_resources(n, &node->status))
        changed = true;
    c->n_known += fresh;
    if (changed)
        sched_node_refresh(c, n);
    return changed;
}

static void node_free(struct sched_core *c, struct sched_node *n)
{
    ASSERT(list_empty(&n->pods));
    (void)map_remove(&c->by_name, n->name);
    c->nodes[n->slot] = NULL;
    c->pods_free[n->slot] = -1;
    struct sched_topo *t;
    LIST_FOR_EACH (t, &c->topo_list, node)
        t->node_domain[n->slot] = 0;
    while (c->n_slots > 0 && !c->nodes[c->n_slots - 1])
        c->n_slots--;
    arena_fini(&n->arena);
    free((char *)(uintptr_t)n->name.p);
    free(n);
}

void sched_core_node_remove(struct sched_core *c, struct str name)
{
    struct sched_node *n = map_get(&c->by_name, name);
    if (!n || !n->known)
        return;
    c->n_known--;
    n->known = false;
    n->n_labels = n->n_taints = 0;
    n->gen = ++c->gen;
    sched_topo_node_changed(c, n);
    sched_node_refresh(c, n);
    if (list_empty(&n->pods))
        node_free(c, n);
}

uint32_t sched_core_node_count(const struct sched_core *c)
{
    return c->n_known;
}

static void account(struct sched_node *n, const struct sched_pod *p, int64_t by)
{
    n->cpu_used += by * p->cpu;
    n->mem_used += by * p->mem;
    n->cpu_nz += by * p->cpu_nz;
    n->mem_nz += by * p->mem_nz;
    n->pods_used += by;
}

void sched_core_place(struct sched_core *c, struct sched_pod *p, struct str node)
{
    ASSERT(!p->node && p->core == c);
    struct sched_node *n = sched_node_get(c, node);
    p->node = n;
    list_push_back(&n->pods, &p->on_node);
    account(n, p, 1);
    sched_node_refresh(c, n);
    sched_terms_count(c, p, 1);
}

void sched_core_unplace(struct sched_pod *p)
{
    struct sched_node *n = p->node;
    if (!n)
        return;
    struct sched_core *c = p->core;
    sched_terms_count(c, p, -1);
    list_remove(&p->on_node);
    account(n, p, -1);
    ASSERT(n->cpu_used >= 0 && n->mem_used >= 0 && n->pods_used >= 0);
    p->node = NULL;
    sched_node_refresh(c, n);
    if (!n->known && list_empty(&n->pods))
        node_free(c, n);
}
