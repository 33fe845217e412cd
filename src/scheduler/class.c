/* Classes: what pods ask of a node's name, labels and taints. Thousands of pods come from a few
 * templates and ask the same, and nodes rarely change, so the answer for all nodes is kept by class
 * and brought up to date for the nodes that changed since.
 *
 * bias[slot] is -INFINITY where a pod may not go, else the sum of the scores that depend on labels
 * and taints only: preferred node affinity (weight 2) and PreferNoSchedule taints (weight 3), each
 * scaled to 0..100 over the nodes that are allowed, as Kubernetes' default profile weighs them. */
#include "scheduler/core_int.h"

#include <math.h>

#include "base/buf.h"
#include "base/mem.h"
#include "schema/schema.h"

#define WEIGHT_NODE_AFFINITY 2
#define WEIGHT_TAINTS        3

/* Tolerations are sorted by what they ask of a taint but its effect, and are there once: of one key
 * with "Exists", of one key and value, there are as many as there are effects. */
static struct str tolerated_value(const struct api_toleration *o)
{
    return str_is(o->operator, "Exists") ? STR_NONE : o->value;
}

static int cmp_asked(const struct api_toleration *x, const struct api_toleration *y)
{
    bool ex = str_is(x->operator, "Exists"), ey = str_is(y->operator, "Exists");
    int c = str_cmp(x->key, y->key);
    if (c == 0 && ex != ey)
        c = ex ? -1 : 1;
    return c ? c : str_cmp(tolerated_value(x), tolerated_value(y));
}

static int cmp_toleration(const void *a, const void *b)
{
    const struct api_toleration *x = a, *y = b;
    int c = cmp_asked(x, y);
    return c ? c : str_cmp(x->effect, y->effect);
}

static void sort_tolerations(struct sched_class *k)
{
    uint32_t n = 0;
    qsort(k->tolerations, k->n_tolerations, sizeof(*k->tolerations), cmp_toleration);
    for (uint32_t i = 0; i < k->n_tolerations; i++)
        if (n == 0 || cmp_toleration(&k->tolerations[n - 1], &k->tolerations[i]) != 0)
            k->tolerations[n++] = k->tolerations[i];
    k->n_tolerations = n;
}

/* Some toleration that asks what `asked` does lets the effect pass. */
static bool lets_pass(const struct sched_class *k, const struct api_toleration *asked,
                      struct str effect)
{
    uint32_t lo = 0, hi = k->n_tolerations;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (cmp_asked(&k->tolerations[mid], asked) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < k->n_tolerations && cmp_asked(&k->tolerations[lo], asked) == 0; lo++)
        if (str_empty(k->tolerations[lo].effect) || str_eq(k->tolerations[lo].effect, effect))
            return true;
    return false;
}

static bool tolerates(const struct sched_class *k, const struct api_taint *t)
{
    const struct api_toleration all = {.operator= STR("Exists")};
    const struct api_toleration key = {.operator= STR("Exists"), .key = t->key};
    const struct api_toleration value = {.key = t->key, .value = t->value};
    return lets_pass(k, &all, t->effect) ||
           (!str_empty(t->key) &&
            (lets_pass(k, &key, t->effect) || lets_pass(k, &value, t->effect)));
}

const struct api_taint *sched_class_taint(const struct sched_class *k, const struct sched_node *n)
{
    for (uint32_t i = 0; i < n->n_taints; i++)
        if (!str_is(n->taints[i].effect, "PreferNoSchedule") && !tolerates(k, &n->taints[i]))
            return &n->taints[i];
    return NULL;
}

static bool names_hold(const struct sched_node_term *t, struct str name)
{
    if (t->n_names == 0)
        return true;
    return sched_has_str(t->names, t->n_names, name) != t->not_names;
}

static bool affinity_holds(const struct sched_class *k, const struct sched_node *n)
{
    if (!label_selector_match(&k->selector, n->labels, n->n_labels))
        return false;
    if (!k->has_required)
        return true;
    for (uint32_t i = 0; i < k->n_required; i++) {
        const struct sched_node_term *t = &k->required[i];
        if (!t->never && names_hold(t, n->name) &&
            label_selector_match(&t->sel, n->labels, n->n_labels))
            return true;
    }
    return false;
}

static enum sched_fail judge(const struct sched_class *k, const struct sched_node *n)
{
    static const struct api_taint unschedulable = {
        .key = {"node.kubernetes.io/unschedulable", sizeof("node.kubernetes.io/unschedulable") - 1},
        .effect = {"NoSchedule", sizeof("NoSchedule") - 1},
    };
    if (n->unschedulable && !tolerates(k, &unschedulable))
        return SCHED_NO_UNSCHEDULABLE;
    if (!str_empty(k->node_name) && !str_eq(k->node_name, n->name))
        return SCHED_NO_NAME;
    if (sched_class_taint(k, n))
        return SCHED_NO_TAINT;
    return affinity_holds(k, n) ? SCHED_FIT : SCHED_NO_AFFINITY;
}

static void evaluate(struct sched_class *k, const struct sched_node *n)
{
    uint32_t i = n->slot;
    k->fail[i] = (uint8_t)judge(k, n);
    k->eligible[i] = affinity_holds(k, n);
    k->raw_pref[i] = k->raw_taints[i] = 0;
    for (uint32_t j = 0; j < k->n_prefs; j++)
        if (label_selector_match(&k->prefs[j].sel, n->labels, n->n_labels))
            k->raw_pref[i] += k->prefs[j].weight;
    for (uint32_t j = 0; j < n->n_taints; j++)
        if (str_is(n->taints[j].effect, "PreferNoSchedule") && !tolerates(k, &n->taints[j]))
            k->raw_taints[i]++;
}

static void combine(const struct sched_core *c, struct sched_class *k)
{
    int32_t max_pref = 0, max_taints = 0;
    for (uint32_t i = 0; i < c->n_slots; i++) {
        if (!c->nodes[i] || !c->nodes[i]->known || k->fail[i])
            continue;
        max_pref = MAX(max_pref, k->raw_pref[i]);
        max_taints = MAX(max_taints, k->raw_taints[i]);
    }
    for (uint32_t i = 0; i < c->n_slots; i++) {
        float s = 0;
        if (max_pref > 0)
            s += WEIGHT_NODE_AFFINITY * 100.0f * (float)k->raw_pref[i] / (float)max_pref;
        if (max_taints > 0)
            s +=
                WEIGHT_TAINTS * 100.0f * (float)(max_taints - k->raw_taints[i]) / (float)max_taints;
        k->bias[i] = k->fail[i] ? -INFINITY : s;
    }
}

static void grow(struct sched_class *k, uint32_t cap)
{
    size_t fresh = cap - k->cap;
    float *bias = aligned_alloc(64, ALIGN_UP(cap * sizeof(float), 64));
    ASSERT(bias);
    if (k->cap)
        memcpy(bias, k->bias, k->cap * sizeof(float));
    free(k->bias);
    k->bias = bias;
    k->fail = xrealloc(k->fail, cap);
    k->eligible = xrealloc(k->eligible, cap);
    k->raw_pref = xrealloc(k->raw_pref, cap * sizeof(int32_t));
    k->raw_taints = xrealloc(k->raw_taints, cap * sizeof(int32_t));
    memset(k->bias + k->cap, 0, fresh * sizeof(float));
    memset(k->fail + k->cap, 0, fresh);
    memset(k->eligible + k->cap, 0, fresh);
    memset(k->raw_pref + k->cap, 0, fresh * sizeof(int32_t));
    memset(k->raw_taints + k->cap, 0, fresh * sizeof(int32_t));
    k->cap = cap;
}

void sched_class_refresh(struct sched_core *c, struct sched_class *k)
{
    if (k->gen == c->gen && k->cap >= c->cap)
        return;
    if (k->cap < c->cap)
        grow(k, c->cap);
    for (uint32_t i = 0; i < c->n_slots; i++)
        if (c->nodes[i] && c->nodes[i]->gen > k->gen)
            evaluate(k, c->nodes[i]);
    combine(c, k);
    k->gen = c->gen;
}

static void class_free(struct sched_core *c, struct sched_class *k)
{
    (void)map_remove(&c->classes, k->key);
    list_remove(&k->lru);
    arena_fini(&k->arena);
    free((char *)(uintptr_t)k->key.p);
    free(k->bias);
    free(k->fail);
    free(k->eligible);
    free(k->raw_pref);
    free(k->raw_taints);
    free(k);
}

static void compile_term(struct arena *a, const struct api_node_selector_term *in,
                         struct sched_node_term *t)
{
    t->never = in->n_match_expressions == 0 && in->n_match_fields == 0;
    if (label_selector_compile_node(a, in->match_expressions, in->n_match_expressions, &t->sel,
                                    NULL) < 0)
        t->never = true;
    for (uint32_t i = 0; i < in->n_match_fields; i++) {
        const struct api_node_selector_requirement *f = &in->match_fields[i];
        if (!str_is(f->key, "metadata.name") || f->n_values == 0 || t->n_names > 0) {
            t->never = true;
            continue;
        }
        t->not_names = str_is(f->operator, "NotIn");
        t->names = ARENA_NEW_N(a, struct str, f->n_values);
        for (uint32_t j = 0; j < f->n_values; j++)
            t->names[t->n_names++] = arena_str(a, f->values[j]);
        qsort(t->names, t->n_names, sizeof(*t->names), sched_cmp_str);
    }
}

static void compile(struct sched_class *k, const struct api_pod_spec *spec)
{
    struct arena *a = &k->arena;
    label_selector_from_map(a, spec->node_selector, spec->n_node_selector, &k->selector);
    k->node_name = arena_str(a, spec->node_name);
    k->n_tolerations = spec->n_tolerations;
    k->tolerations = ARENA_NEW_N(a, struct api_toleration, spec->n_tolerations + 1);
    for (uint32_t i = 0; i < spec->n_tolerations; i++)
        schema_clone_into(&api_toleration_desc, &spec->tolerations[i], &k->tolerations[i], a);
    sort_tolerations(k);
    const struct api_node_affinity *na = spec->affinity ? spec->affinity->node_affinity : NULL;
    if (!na)
        return;
    const struct api_node_selector *req = na->required_during_scheduling_ignored_during_execution;
    k->has_required = req != NULL;
    k->n_required = req ? req->n_node_selector_terms : 0;
    k->required = ARENA_NEW_N(a, struct sched_node_term, k->n_required + 1);
    for (uint32_t i = 0; i < k->n_required; i++)
        compile_term(a, &req->node_selector_terms[i], &k->required[i]);
    uint32_t n = na->n_preferred_during_scheduling_ignored_during_execution;
    k->prefs = ARENA_NEW_N(a, struct sched_pref, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const struct api_preferred_scheduling_term *t =
            &na->preferred_during_scheduling_ignored_during_execution[i];
        struct sched_pref *p = &k->prefs[k->n_prefs];
        p->weight = t->weight;
        if (label_selector_compile_node(a, t->preference.match_expressions,
                                        t->preference.n_match_expressions, &p->sel, NULL) == 0)
            k->n_prefs++;
    }
}

/* Equal texts ask the same. */
static void print_key(struct buf *b, const struct api_pod_spec *spec)
{
    struct api_pod_spec part = {
        .node_selector = spec->node_selector,
        .n_node_selector = spec->n_node_selector,
        .tolerations = spec->tolerations,
        .n_tolerations = spec->n_tolerations,
        .node_name = spec->node_name,
    };
    struct api_affinity affinity = {0};
    if (spec->affinity && spec->affinity->node_affinity) {
        affinity.node_affinity = spec->affinity->node_affinity;
        part.affinity = &affinity;
    }
    schema_encode_json(&api_pod_spec_desc, &part, 0, b);
}

static void evict(struct sched_core *c)
{
    struct sched_class *k;
    LIST_FOR_EACH (k, &c->class_lru, lru) {
        if (c->classes.n <= SCHED_CLASSES_MAX)
            return;
        if (k->refs == 0)
            class_free(c, k);
    }
}

struct sched_class *sched_class_get(struct sched_core *c, const struct api_pod_spec *spec)
{
    struct buf b = {0};
    print_key(&b, spec);
    struct sched_class *k = map_get(&c->classes, buf_str(&b));
    if (!k) {
        k = NEW(struct sched_class);
        k->key = (struct str){str_dup(buf_str(&b)), b.n};
        arena_init(&k->arena, 0);
        list_init(&k->lru);
        compile(k, spec);
        (void)map_set(&c->classes, k->key, k);
    }
    buf_fini(&b);
    list_remove(&k->lru);
    list_push_back(&c->class_lru, &k->lru);
    k->refs++;
    evict(c);
    return k;
}

void sched_class_unref(struct sched_core *c, struct sched_class *k)
{
    ASSERT(k->refs > 0);
    k->refs--;
    if (k->refs == 0)
        evict(c);
}

void sched_class_free_all(struct sched_core *c)
{
    struct sched_class *k;
    LIST_FOR_EACH (k, &c->class_lru, lru) {
        ASSERT(k->refs == 0);
        class_free(c, k);
    }
}
