/* Terms: "pods that match this selector, counted by zone (or host, or any label of nodes)".
 * Affinity, anti-affinity and spreading all ask that, so a term is shared by all pods that ask the
 * same and its counts are kept as pods come and go. Asking costs one array read a node, whatever
 * the number of pods.
 *
 * Pods with equal labels share a struct sched_labels that knows the terms matching them, so placing
 * the thousandth pod of a ReplicaSet matches no selector. */
#include "scheduler/core_int.h"

#include "base/buf.h"
#include "base/mem.h"
#include "codec/values.h"

/* ---- topologies ---- */

static uint32_t domain_of(struct sched_topo *t, const struct sched_node *n)
{
    const struct str *v = n->n_labels ? kv_str_get(n->labels, n->n_labels, t->key) : NULL;
    if (!v || !n->known)
        return 0;
    uintptr_t d = (uintptr_t)map_get(&t->domains, *v);
    if (d == 0) {
        d = ++t->n_domains;
        (void)map_set(&t->domains, (struct str){str_dup(*v), v->n}, (void *)d);
    }
    return (uint32_t)d;
}

/* One more term has it. A new one: no term counts by it yet, so the nodes' domains are all there is
 * to find out. */
static struct sched_topo *topo_get(struct sched_core *c, struct str key)
{
    struct sched_topo *t = map_get(&c->topos, key);
    if (!t) {
        t = NEW(struct sched_topo);
        t->key = (struct str){str_dup(key), key.n};
        t->node_domain = xcalloc(MAX(c->cap, 1), sizeof(uint32_t));
        (void)map_set(&c->topos, t->key, t);
        list_push_back(&c->topo_list, &t->node);
        for (uint32_t i = 0; i < c->n_slots; i++)
            if (c->nodes[i])
                t->node_domain[i] = domain_of(t, c->nodes[i]);
    }
    t->refs++;
    return t;
}

static void topo_unref(struct sched_core *c, struct sched_topo *t)
{
    ASSERT(t->refs > 0);
    if (--t->refs > 0)
        return;
    (void)map_remove(&c->topos, t->key);
    list_remove(&t->node);
    for (struct map_slot *s = NULL; (s = map_next(&t->domains, s));)
        free((char *)(uintptr_t)s->key.p);
    map_fini(&t->domains);
    free((char *)(uintptr_t)t->key.p);
    free(t->node_domain);
    free(t);
}

static void term_reserve(struct sched_term *t, uint32_t domain)
{
    if (domain < t->cap)
        return;
    uint32_t cap = MAX(t->cap * 2, domain + 16);
    t->matched = xrealloc(t->matched, cap * sizeof(int32_t));
    t->anti = xrealloc(t->anti, cap * sizeof(int32_t));
    memset(t->matched + t->cap, 0, (cap - t->cap) * sizeof(int32_t));
    memset(t->anti + t->cap, 0, (cap - t->cap) * sizeof(int32_t));
    t->cap = cap;
}

static void count_matched(struct sched_term *t, const struct sched_node *n, int by)
{
    uint32_t d = t->topo->node_domain[n->slot];
    if (d == 0)
        return;
    term_reserve(t, d);
    t->matched[d] += by;
    t->total_matched += by;
    ASSERT(t->matched[d] >= 0);
}

static void count_anti(struct sched_core *c, struct sched_term *t, const struct sched_node *n,
                       int by)
{
    uint32_t d = t->topo->node_domain[n->slot];
    if (d == 0)
        return;
    term_reserve(t, d);
    t->anti[d] += by;
    t->total_anti += by;
    c->n_anti += (uint64_t)(int64_t)by;
    ASSERT(t->anti[d] >= 0);
}

/* topo NULL: all. */
static void count(struct sched_core *c, struct sched_pod *p, int by, const struct sched_topo *topo)
{
    sched_labels_refresh(c, p->labels);
    for (uint32_t i = 0; i < p->labels->n_terms; i++)
        if (!topo || p->labels->terms[i]->topo == topo)
            count_matched(p->labels->terms[i], p->node, by);
    for (uint32_t i = 0; i < p->n_uses; i++)
        if (p->uses[i].use == SCHED_USE_ANTI && (!topo || p->uses[i].term->topo == topo))
            count_anti(c, p->uses[i].term, p->node, by);
}

void sched_terms_count(struct sched_core *c, struct sched_pod *p, int by)
{
    ASSERT(p->node);
    count(c, p, by, NULL);
}

void sched_topo_node_changed(struct sched_core *c, struct sched_node *n)
{
    struct sched_topo *t;
    LIST_FOR_EACH (t, &c->topo_list, node) {
        uint32_t d = domain_of(t, n);
        if (d == t->node_domain[n->slot])
            continue;
        struct sched_pod *p;
        LIST_FOR_EACH (p, &n->pods, on_node)
            count(c, p, -1, t);
        t->node_domain[n->slot] = d;
        LIST_FOR_EACH (p, &n->pods, on_node)
            count(c, p, 1, t);
    }
}

/* ---- labels ---- */

struct sched_labels *sched_labels_get(struct sched_core *c, struct str ns, const struct kv_str *v,
                                      uint32_t n)
{
    struct buf b = {0};
    buf_add_str(&b, ns);
    for (uint32_t i = 0; i < n; i++) {
        buf_add_char(&b, '\n');
        buf_add_str(&b, v[i].key);
        buf_add_char(&b, '=');
        buf_add_str(&b, v[i].value);
    }
    buf_add_char(&b, '\n');
    struct sched_labels *l = map_get(&c->labels, buf_str(&b));
    if (!l) {
        l = NEW(struct sched_labels);
        l->key = (struct str){str_dup(buf_str(&b)), b.n};
        arena_init(&l->arena, 0);
        l->ns = arena_str(&l->arena, ns);
        l->n_labels = n;
        l->labels = ARENA_NEW_N(&l->arena, struct kv_str, n + 1);
        for (uint32_t i = 0; i < n; i++)
            l->labels[i] =
                (struct kv_str){arena_str(&l->arena, v[i].key), arena_str(&l->arena, v[i].value)};
        (void)map_set(&c->labels, l->key, l);
    }
    buf_fini(&b);
    l->refs++;
    return l;
}

void sched_labels_unref(struct sched_core *c, struct sched_labels *l)
{
    ASSERT(l->refs > 0);
    if (--l->refs > 0)
        return;
    (void)map_remove(&c->labels, l->key);
    arena_fini(&l->arena);
    free((char *)(uintptr_t)l->key.p);
    free(l->terms);
    free(l);
}

static bool namespace_matches(struct sched_core *c, const struct sched_term *t, struct str ns)
{
    if (sched_has_str(t->namespaces, t->n_namespaces, ns))
        return true;
    if (!t->has_ns_selector)
        return false;
    if (label_selector_is_all(&t->ns_selector))
        return true;
    const struct sched_labels *l = map_get(&c->namespaces, ns);
    return l && label_selector_match(&t->ns_selector, l->labels, l->n_labels);
}

bool sched_term_matches(struct sched_core *c, const struct sched_term *t,
                        const struct sched_labels *l)
{
    return namespace_matches(c, t, l->ns) && label_selector_match(&t->pods, l->labels, l->n_labels);
}

void sched_labels_refresh(struct sched_core *c, struct sched_labels *l)
{
    if (l->seq == c->term_seq)
        return;
    for (struct list *i = c->term_list.prev; i != &c->term_list; i = i->prev) {
        struct sched_term *t = CONTAINER_OF(i, struct sched_term, node);
        if (t->seq <= l->seq)
            break;
        if (!sched_term_matches(c, t, l))
            continue;
        ARRAY_RESERVE(l->terms, l->n_terms, l->cap_terms);
        l->terms[l->n_terms++] = t;
    }
    l->seq = c->term_seq;
}

/* ---- namespaces ---- */

static void recount(struct sched_core *c)
{
    struct sched_term *t;
    LIST_FOR_EACH (t, &c->term_list, node) {
        memset(t->matched, 0, t->cap * sizeof(int32_t));
        t->total_matched = 0;
    }
    for (struct map_slot *s = NULL; (s = map_next(&c->labels, s));) {
        struct sched_labels *l = s->value;
        l->seq = l->n_terms = 0;
    }
    struct sched_pod *p;
    LIST_FOR_EACH (p, &c->pods, all) {
        if (!p->node)
            continue;
        sched_labels_refresh(c, p->labels);
        for (uint32_t i = 0; i < p->labels->n_terms; i++)
            count_matched(p->labels->terms[i], p->node, 1);
    }
}

static void namespaces_changed(struct sched_core *c)
{
    struct sched_term *t;
    LIST_FOR_EACH (t, &c->term_list, node) {
        if (t->has_ns_selector && !label_selector_is_all(&t->ns_selector)) {
            recount(c);
            return;
        }
    }
}

static void namespace_free(struct sched_labels *l)
{
    arena_fini(&l->arena);
    free((char *)(uintptr_t)l->key.p);
    free(l);
}

void sched_core_namespace_set(struct sched_core *c, struct str name, const struct kv_str *labels,
                              uint32_t n)
{
    struct sched_labels *old = map_remove(&c->namespaces, name), *l = NEW(struct sched_labels);
    bool same = old && old->n_labels == n;
    l->key = (struct str){str_dup(name), name.n};
    arena_init(&l->arena, 0);
    l->n_labels = n;
    l->labels = ARENA_NEW_N(&l->arena, struct kv_str, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        l->labels[i] = (struct kv_str){arena_str(&l->arena, labels[i].key),
                                       arena_str(&l->arena, labels[i].value)};
        same = same && str_eq(old->labels[i].key, labels[i].key) &&
               str_eq(old->labels[i].value, labels[i].value);
    }
    (void)map_set(&c->namespaces, l->key, l);
    if (old)
        namespace_free(old);
    if (!same)
        namespaces_changed(c);
}

void sched_core_namespace_remove(struct sched_core *c, struct str name)
{
    struct sched_labels *old = map_remove(&c->namespaces, name);
    if (!old)
        return;
    namespace_free(old);
    namespaces_changed(c);
}

/* ---- terms ---- */

/* No labels know it any more. */
static void term_free(struct sched_core *c, struct sched_term *t)
{
    topo_unref(c, t->topo);
    (void)map_remove(&c->terms, t->key);
    list_remove(&t->node);
    arena_fini(&t->arena);
    free((char *)(uintptr_t)t->key.p);
    free(t->matched);
    free(t->anti);
    free(t);
}

static void labels_forget_dead(struct sched_labels *l)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n_terms; i++)
        if (!l->terms[i]->dead)
            l->terms[n++] = l->terms[i];
    l->n_terms = n;
}

/* When too many terms are idle the oldest ones go, half of what may be kept left: all in one pass
 * over the labels, for a pod may have a hundred thousand. */
static void terms_sweep(struct sched_core *c)
{
    struct sched_term *t;
    if (c->n_idle_terms <= SCHED_TERMS_IDLE_MAX)
        return;
    LIST_FOR_EACH (t, &c->term_list, node) {
        if (c->n_idle_terms <= SCHED_TERMS_IDLE_MAX / 2)
            break;
        if (t->refs > 0)
            continue;
        t->dead = true;
        c->n_idle_terms--;
    }
    for (struct map_slot *s = NULL; (s = map_next(&c->labels, s));)
        labels_forget_dead(s->value);
    LIST_FOR_EACH (t, &c->term_list, node)
        if (t->dead)
            term_free(c, t);
}

/* The selector of a term with matchLabelKeys (and mismatchLabelKeys) of the pod folded in. */
static void compile_selector(struct sched_term *t, const struct api_label_selector *s,
                             const struct api_object_meta *meta, const struct str *keys,
                             uint32_t n_keys, const struct str *not_keys, uint32_t n_not_keys)
{
    struct arena *a = &t->arena;
    struct label_selector base = {.nothing = true};
    if (label_selector_compile(a, s, &base, NULL) < 0)
        base = (struct label_selector){.nothing = true};
    t->pods = base;
    if (n_keys + n_not_keys == 0 || base.nothing)
        return;
    struct select_req *reqs = ARENA_NEW_N(a, struct select_req, base.n_reqs + n_keys + n_not_keys);
    uint32_t n = base.n_reqs;
    for (uint32_t i = 0; i < n; i++)
        reqs[i] = base.reqs[i];
    for (uint32_t i = 0; i < n_keys + n_not_keys; i++) {
        struct str key = i < n_keys ? keys[i] : not_keys[i - n_keys];
        const struct str *v = meta->n_labels ? kv_str_get(meta->labels, meta->n_labels, key) : NULL;
        if (!v)
            continue;
        struct str *copy = ARENA_NEW(a, struct str);
        *copy = arena_str(a, *v);
        reqs[n++] = (struct select_req){.key = arena_str(a, key),
                                        .values = copy,
                                        .n_values = 1,
                                        .op = i < n_keys ? SELECT_IN : SELECT_NOT_IN};
    }
    t->pods = (struct label_selector){.reqs = reqs, .n_reqs = n};
}

static struct str term_text(const struct sched_term *t, struct str topology_key)
{
    struct arena a;
    struct buf b = {0};
    arena_init(&a, 0);
    buf_add_str(&b, topology_key);
    buf_add_char(&b, '\n');
    for (uint32_t i = 0; i < t->n_namespaces; i++) {
        buf_add_str(&b, t->namespaces[i]);
        buf_add_char(&b, ',');
    }
    if (t->has_ns_selector) {
        buf_add_char(&b, '{');
        buf_add_str(&b, label_selector_print(&a, &t->ns_selector));
        buf_add_char(&b, '}');
    }
    buf_add_char(&b, '\n');
    buf_add_str(&b, label_selector_print(&a, &t->pods));
    struct str out = {str_dup(buf_str(&b)), b.n};
    buf_fini(&b);
    arena_fini(&a);
    return out;
}

/* Takes a half-built term; gives back the equal one that is there, or makes it count. */
static struct sched_term *term_intern(struct sched_core *c, struct sched_term *t,
                                      struct str topology_key)
{
    t->key = term_text(t, topology_key);
    struct sched_term *old = map_get(&c->terms, t->key);
    if (old) {
        arena_fini(&t->arena);
        free((char *)(uintptr_t)t->key.p);
        free(t);
        if (old->refs++ == 0)
            c->n_idle_terms--;
        return old;
    }
    t->topo = topo_get(c, topology_key);
    t->refs = 1;
    t->seq = ++c->term_seq;
    list_push_back(&c->term_list, &t->node);
    (void)map_set(&c->terms, t->key, t);
    struct sched_pod *p;
    LIST_FOR_EACH (p, &c->pods, all) {
        if (!p->node)
            continue;
        sched_labels_refresh(c, p->labels);
        if (p->labels->n_terms > 0 && p->labels->terms[p->labels->n_terms - 1] == t)
            count_matched(t, p->node, 1);
    }
    return t;
}

static struct sched_term *term_of_affinity(struct sched_core *c, const struct api_object_meta *meta,
                                           const struct api_pod_affinity_term *in)
{
    struct sched_term *t = NEW(struct sched_term);
    arena_init(&t->arena, 0);
    list_init(&t->node);
    compile_selector(t, in->label_selector, meta, in->match_label_keys, in->n_match_label_keys,
                     in->mismatch_label_keys, in->n_mismatch_label_keys);
    t->has_ns_selector = in->namespace_selector != NULL;
    if (t->has_ns_selector &&
        label_selector_compile(&t->arena, in->namespace_selector, &t->ns_selector, NULL) < 0)
        t->ns_selector = (struct label_selector){.nothing = true};
    bool own = in->n_namespaces == 0 && !t->has_ns_selector;
    t->n_namespaces = own ? 1 : in->n_namespaces;
    t->namespaces = ARENA_NEW_N(&t->arena, struct str, t->n_namespaces + 1);
    for (uint32_t i = 0; i < t->n_namespaces; i++)
        t->namespaces[i] = arena_str(&t->arena, own ? meta->namespace : in->namespaces[i]);
    qsort(t->namespaces, t->n_namespaces, sizeof(*t->namespaces), sched_cmp_str);
    return term_intern(c, t, in->topology_key);
}

static struct sched_term *term_of_spread(struct sched_core *c, const struct api_object_meta *meta,
                                         const struct api_topology_spread_constraint *in)
{
    struct sched_term *t = NEW(struct sched_term);
    arena_init(&t->arena, 0);
    list_init(&t->node);
    compile_selector(t, in->label_selector, meta, in->match_label_keys, in->n_match_label_keys,
                     NULL, 0);
    t->n_namespaces = 1;
    t->namespaces = ARENA_NEW(&t->arena, struct str);
    t->namespaces[0] = arena_str(&t->arena, meta->namespace);
    return term_intern(c, t, in->topology_key);
}

static void use(struct sched_core *c, struct sched_pod *p, struct sched_use_term u)
{
    u.self = sched_term_matches(c, u.term, p->labels);
    p->uses[p->n_uses++] = u;
}

void sched_pod_compile_terms(struct sched_core *c, struct sched_pod *p, const struct api_pod *pod)
{
    static const struct api_pod_affinity no_affinity;
    static const struct api_pod_anti_affinity no_anti;
    const struct api_affinity *af = pod->spec.affinity;
    const struct api_pod_affinity *pa = af && af->pod_affinity ? af->pod_affinity : &no_affinity;
    const struct api_pod_anti_affinity *aa =
        af && af->pod_anti_affinity ? af->pod_anti_affinity : &no_anti;
    uint32_t n_req = pa->n_required_during_scheduling_ignored_during_execution;
    uint32_t n_pref = pa->n_preferred_during_scheduling_ignored_during_execution;
    uint32_t n_anti = aa->n_required_during_scheduling_ignored_during_execution;
    uint32_t n_anti_pref = aa->n_preferred_during_scheduling_ignored_during_execution;
    uint32_t n_spread = pod->spec.n_topology_spread_constraints;
    if (n_req + n_pref + n_anti + n_anti_pref + n_spread == 0)
        return;
    p->uses = ARENA_NEW_N(&p->arena, struct sched_use_term,
                          n_req + n_pref + n_anti + n_anti_pref + n_spread);
    const struct api_object_meta *m = &pod->metadata;
    for (uint32_t i = 0; i < n_anti; i++)
        use(c, p,
            (struct sched_use_term){
                .term = term_of_affinity(
                    c, m, &aa->required_during_scheduling_ignored_during_execution[i]),
                .use = SCHED_USE_ANTI});
    if (!p->class)
        return; /* bound already: only what it forbids to others matters */
    for (uint32_t i = 0; i < n_req; i++)
        use(c, p,
            (struct sched_use_term){
                .term = term_of_affinity(
                    c, m, &pa->required_during_scheduling_ignored_during_execution[i]),
                .use = SCHED_USE_AFFINITY});
    for (uint32_t i = 0; i < n_pref + n_anti_pref; i++) {
        const struct api_weighted_pod_affinity_term *w =
            i < n_pref ? &pa->preferred_during_scheduling_ignored_during_execution[i]
                       : &aa->preferred_during_scheduling_ignored_during_execution[i - n_pref];
        use(c, p,
            (struct sched_use_term){.term = term_of_affinity(c, m, &w->pod_affinity_term),
                                    .use = SCHED_USE_PREFER,
                                    .weight = i < n_pref ? w->weight : -w->weight});
    }
    for (uint32_t i = 0; i < n_spread; i++) {
        const struct api_topology_spread_constraint *s = &pod->spec.topology_spread_constraints[i];
        bool hard = !str_is(s->when_unsatisfiable, "ScheduleAnyway");
        use(c, p,
            (struct sched_use_term){.term = term_of_spread(c, m, s),
                                    .use = hard ? SCHED_USE_SPREAD : SCHED_USE_SPREAD_SOFT,
                                    .max_skew = s->max_skew,
                                    .min_domains = s->has_min_domains ? s->min_domains : 1,
                                    .ignore_affinity = str_is(s->node_affinity_policy, "Ignore"),
                                    .honor_taints = str_is(s->node_taints_policy, "Honor")});
    }
}

void sched_pod_drop_terms(struct sched_core *c, struct sched_pod *p)
{
    for (uint32_t i = 0; i < p->n_uses; i++) {
        ASSERT(p->uses[i].term->refs > 0);
        c->n_idle_terms += --p->uses[i].term->refs == 0;
    }
    p->n_uses = 0;
    terms_sweep(c);
}

void sched_terms_free_all(struct sched_core *c)
{
    struct sched_term *t;
    LIST_FOR_EACH (t, &c->term_list, node)
        term_free(c, t);
    ASSERT(list_empty(&c->topo_list));
    for (struct map_slot *s = NULL; (s = map_next(&c->namespaces, s));)
        namespace_free(s->value);
    map_fini(&c->namespaces);
}
