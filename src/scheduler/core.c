/* The pick: filter and score all nodes, take the best. Scoring is what Kubernetes' default profile
 * does with plain pods: LeastAllocated plus BalancedAllocation, both of weight 1. With f and g the
 * free parts of CPU and memory after the pod is placed, they are 50 (f + g) and 100 - 50 |f - g|,
 * whose sum is 100 + 100 min(f, g) so one pass computes min(f, g), adds the class's bias and keeps
 * the maximum, four nodes at a time (what every x86-64 and arm64 has registers for). Ties go to the
 * lowest slot of the lowest lane; a node that got a pod has less free, so ties spread. */
#include "scheduler/core_int.h"

#include <math.h>

#include "base/buf.h"
#include "base/mem.h"

typedef float lanes_f __attribute__((vector_size(SCHED_LANES * sizeof(float))));
typedef int32_t lanes_i __attribute__((vector_size(SCHED_LANES * sizeof(int32_t))));

struct sched_core *sched_core_new(void)
{
    struct sched_core *c = NEW(struct sched_core);
    list_init(&c->class_lru);
    list_init(&c->term_list);
    list_init(&c->topo_list);
    list_init(&c->pods);
    return c;
}

struct sched_core *sched_core_free(struct sched_core *c)
{
    if (!c)
        return NULL;
    ASSERT(list_empty(&c->pods));
    sched_class_free_all(c);
    sched_terms_free_all(c);
    for (uint32_t i = 0; i < c->n_slots; i++) {
        if (!c->nodes[i])
            continue;
        arena_fini(&c->nodes[i]->arena);
        free((char *)(uintptr_t)c->nodes[i]->name.p);
        free(c->nodes[i]);
    }
    map_fini(&c->by_name);
    map_fini(&c->classes);
    map_fini(&c->labels);
    map_fini(&c->terms);
    map_fini(&c->topos);
    free(c->cpu_free);
    free(c->mem_free);
    free(c->pods_free);
    free(c->cpu_nz_free);
    free(c->mem_nz_free);
    free(c->cpu_inv);
    free(c->mem_inv);
    free(c->bias);
    free(c->fail);
    free(c->nodes);
    free(c->scratch);
    free(c);
    return NULL;
}

/* Exact: cpu, memory, places. */
static bool fits_base(const struct sched_node *n, const struct sched_pod *p)
{
    return n->pods_used + 1 <= n->pods_alloc &&
           (p->cpu == 0 || n->cpu_used + p->cpu <= n->cpu_alloc) &&
           (p->mem == 0 || n->mem_used + p->mem <= n->mem_alloc);
}

static bool fits_extra(const struct sched_node *n, const struct sched_amount *e)
{
    for (uint32_t i = 0; i < n->n_extra_alloc; i++)
        if (str_eq(n->extra_alloc[i].name, e->name))
            return sched_node_extra_used(n, e->name) + e->v <= n->extra_alloc[i].v;
    return e->v == 0;
}

static bool fits_extras(const struct sched_node *n, const struct sched_pod *p)
{
    for (uint32_t i = 0; i < p->n_extra; i++)
        if (!fits_extra(n, &p->extra[i]))
            return false;
    return true;
}

/* Both are sorted by port, protocol and address; none comes first and clashes with all. */
static bool ports_clash(const struct sched_pod *a, const struct sched_pod *b)
{
    for (uint32_t i = 0, j = 0; i < a->n_ports && j < b->n_ports;) {
        const struct sched_port *x = &a->ports[i], *y = &b->ports[j];
        int c = sched_port_cmp(x, y);
        if (c == 0 && (str_empty(x->ip) || str_empty(y->ip) || str_eq(x->ip, y->ip)))
            return true;
        if (c == 0)
            c = str_cmp(x->ip, y->ip);
        i += c < 0;
        j += c > 0;
    }
    return false;
}

static bool ports_free(const struct sched_node *n, const struct sched_pod *p)
{
    const struct sched_pod *other;
    LIST_FOR_EACH (other, &n->pods, on_node)
        if (other->n_ports > 0 && ports_clash(p, other))
            return false;
    return true;
}

/* First maximum over the lanes, or -1 when no node is left. */
static ssize_t best_lane(const float best[SCHED_LANES], const int32_t where[SCHED_LANES])
{
    ssize_t slot = -1;
    float top = -INFINITY;
    for (int i = 0; i < SCHED_LANES; i++)
        if (best[i] > top || (best[i] == top && slot >= 0 && where[i] < slot)) {
            top = best[i];
            slot = where[i];
        }
    return slot;
}

/* Slot of the best node by the float arrays, or -1. */
static ssize_t scan(const struct sched_core *c, const struct sched_pod *p, const float *bias_in)
{
    const lanes_f *cpu_free = (const void *)c->cpu_free, *mem_free = (const void *)c->mem_free;
    const lanes_f *pods_free = (const void *)c->pods_free, *bias = (const void *)bias_in;
    const lanes_f *cpu_nz = (const void *)c->cpu_nz_free, *mem_nz = (const void *)c->mem_nz_free;
    const lanes_f *cpu_inv = (const void *)c->cpu_inv, *mem_inv = (const void *)c->mem_inv;
    /* Rounded down: what fits exactly must pass here. A request of 0 fits everywhere. */
    float cpu = p->cpu ? nextafterf((float)p->cpu, 0) : -INFINITY;
    float mem = p->mem ? nextafterf((float)p->mem, 0) : -INFINITY;
    float cpu_ask = (float)p->cpu_nz, mem_ask = (float)p->mem_nz;
    lanes_f best, none;
    lanes_i where, now;
    for (int i = 0; i < SCHED_LANES; i++) {
        best[i] = none[i] = -INFINITY;
        now[i] = i;
    }
    where = now;
    for (uint32_t b = 0; b * SCHED_LANES < c->n_slots; b++) {
        lanes_f f = (cpu_nz[b] - cpu_ask) * cpu_inv[b], g = (mem_nz[b] - mem_ask) * mem_inv[b];
        lanes_i less = f < g;
        lanes_f low = (lanes_f)((less & (lanes_i)f) | (~less & (lanes_i)g));
        lanes_i ok = (cpu_free[b] >= cpu) & (mem_free[b] >= mem) & (pods_free[b] >= 1.0f);
        lanes_f score = bias[b] + 100.0f * low;
        score = (lanes_f)((ok & (lanes_i)score) | (~ok & (lanes_i)none));
        lanes_i better = score > best;
        best = (lanes_f)((better & (lanes_i)score) | (~better & (lanes_i)best));
        where = (better & now) | (~better & where);
        now += SCHED_LANES;
    }
    return best_lane((const float *)&best, (const int32_t *)&where);
}

/* bias of the class, narrowed by what is particular to this pod. */
static const float *full_bias(struct sched_core *c, const struct sched_pod *p)
{
    sched_class_refresh(c, p->class);
    if (p->n_extra == 0 && p->n_ports == 0 && !sched_needs_terms(c, p))
        return p->class->bias;
    memcpy(c->bias, p->class->bias, c->cap * sizeof(float));
    for (uint32_t i = 0; (p->n_extra || p->n_ports) && i < c->n_slots; i++)
        if (c->nodes[i] && c->bias[i] != -INFINITY &&
            (!fits_extras(c->nodes[i], p) || (p->n_ports && !ports_free(c->nodes[i], p))))
            c->bias[i] = -INFINITY;
    sched_filter_terms(c, p, c->bias, NULL);
    return c->bias;
}

struct str sched_core_pick(struct sched_core *c, const struct sched_pod *p)
{
    ASSERT(p->core == c && p->class);
    if (c->n_known == 0)
        return STR_NONE;
    const float *bias = full_bias(c, p);
    ssize_t slot = scan(c, p, bias);
    if (slot >= 0 && !fits_base(c->nodes[slot], p)) {
        /* Rounding let it pass. Rare: leave out all that do not fit exactly and look again. */
        if (bias != c->bias)
            memcpy(c->bias, bias, c->cap * sizeof(float));
        for (uint32_t i = 0; i < c->n_slots; i++)
            if (c->nodes[i] && !fits_base(c->nodes[i], p))
                c->bias[i] = -INFINITY;
        slot = scan(c, p, c->bias);
        ASSERT(slot < 0 || fits_base(c->nodes[slot], p));
    }
    return slot < 0 ? STR_NONE : c->nodes[slot]->name;
}

/* ---- why not ---- */

struct tally {
    struct arena *arena;
    struct str *texts;
    uint32_t *counts;
    uint32_t n, cap;
};

static void tally_add(struct tally *t, struct str text)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (str_eq(t->texts[i], text)) {
            t->counts[i]++;
            return;
        }
    if (t->n == t->cap)
        return; /* more kinds of reasons than anyone reads */
    t->texts[t->n] = arena_str(t->arena, text);
    t->counts[t->n++] = 1;
}

static void tally_resources(struct tally *t, const struct sched_node *n, const struct sched_pod *p)
{
    if (n->pods_used + 1 > n->pods_alloc)
        tally_add(t, STR("Too many pods"));
    if (p->cpu > 0 && n->cpu_used + p->cpu > n->cpu_alloc)
        tally_add(t, STR("Insufficient cpu"));
    if (p->mem > 0 && n->mem_used + p->mem > n->mem_alloc)
        tally_add(t, STR("Insufficient memory"));
    for (uint32_t i = 0; i < p->n_extra; i++)
        if (!fits_extra(n, &p->extra[i]))
            tally_add(t, arena_printf(t->arena, "Insufficient %.*s", STR_ARG(p->extra[i].name)));
}

static const char *const FAIL_TEXTS[_SCHED_FAIL_MAX] = {
    [SCHED_NO_UNSCHEDULABLE] = "node(s) were unschedulable",
    [SCHED_NO_NAME] = "node(s) didn't match the requested node name",
    [SCHED_NO_AFFINITY] = "node(s) didn't match Pod's node affinity/selector",
    [SCHED_NO_PORTS] = "node(s) didn't have free ports for the requested pod ports",
    [SCHED_NO_SPREAD] = "node(s) didn't match pod topology spread constraints",
    [SCHED_NO_SPREAD_LABEL] =
        "node(s) didn't match pod topology spread constraints (missing required label)",
    [SCHED_NO_POD_AFFINITY] = "node(s) didn't match pod affinity rules",
    [SCHED_NO_POD_ANTI_AFFINITY] = "node(s) didn't match pod anti-affinity rules",
    [SCHED_NO_EXISTING_ANTI_AFFINITY] = "node(s) didn't satisfy existing pods anti-affinity rules",
};

static void tally_node(struct tally *t, const struct sched_node *n, const struct sched_pod *p,
                       uint8_t fail)
{
    if (fail == SCHED_NO_RESOURCES) {
        tally_resources(t, n, p);
    } else if (fail == SCHED_NO_TAINT) {
        const struct api_taint *x = sched_class_taint(p->class, n);
        ASSERT(x);
        tally_add(t, arena_printf(t->arena, "node(s) had untolerated taint {%.*s: %.*s}",
                                  STR_ARG(x->key), STR_ARG(x->value)));
    } else if (fail != SCHED_FIT) {
        tally_add(t, str_z(FAIL_TEXTS[fail]));
    }
}

static int cmp_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct str sched_core_explain(struct sched_core *c, const struct sched_pod *p, struct arena *a)
{
    ASSERT(p->class);
    if (c->n_known == 0)
        return STR("no nodes available to schedule pods");
    sched_class_refresh(c, p->class);
    memcpy(c->bias, p->class->bias, c->cap * sizeof(float));
    memcpy(c->fail, p->class->fail, c->cap);
    for (uint32_t i = 0; i < c->n_slots; i++) {
        struct sched_node *n = c->nodes[i];
        if (!n || !n->known || c->fail[i])
            continue;
        if (p->n_ports && !ports_free(n, p))
            c->fail[i] = SCHED_NO_PORTS;
        else if (!fits_base(n, p) || !fits_extras(n, p))
            c->fail[i] = SCHED_NO_RESOURCES;
        if (c->fail[i])
            c->bias[i] = -INFINITY;
    }
    sched_filter_terms(c, p, c->bias, c->fail);
    struct tally t = {.arena = a, .cap = 64};
    t.texts = ARENA_NEW_N(a, struct str, t.cap);
    t.counts = ARENA_NEW_N(a, uint32_t, t.cap);
    for (uint32_t i = 0; i < c->n_slots; i++)
        if (c->nodes[i] && c->nodes[i]->known)
            tally_node(&t, c->nodes[i], p, c->fail[i]);
    struct str *parts = ARENA_NEW_N(a, struct str, t.n + 1);
    for (uint32_t i = 0; i < t.n; i++)
        parts[i] = arena_printf(a, "%u %.*s", t.counts[i], STR_ARG(t.texts[i]));
    qsort(parts, t.n, sizeof(*parts), cmp_str);
    struct buf b = {0};
    buf_printf(&b, "0/%u nodes are available", c->n_known);
    for (uint32_t i = 0; i < t.n; i++)
        buf_printf(&b, "%s%.*s", i ? ", " : ": ", STR_ARG(parts[i]));
    buf_add_char(&b, '.');
    struct str out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}
