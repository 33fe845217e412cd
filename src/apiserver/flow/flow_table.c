/* From objects to a table that is matched: all strings are copied, so a table lives as long as
 * somebody reads it, whatever becomes of the objects. */
#include "api/flowcontrol.h"
#include "apiserver/flow/flow.h"
#include "apiserver/limits.h"
#include "base/mem.h"

typedef struct api_priority_level_configuration level_t;
typedef struct api_flow_schema schema_t;

static struct flow_list list_of(struct arena *a, const struct str *v, uint32_t n)
{
    struct flow_list l = {ARENA_NEW_N(a, struct str, n), n};
    for (uint32_t i = 0; i < n; i++)
        l.v[i] = arena_str(a, v[i]);
    return l;
}

/* ---- levels ---- */

static unsigned percent_of(bool has, int32_t v)
{
    return has && v > 0 ? (unsigned)v : 0;
}

static struct fair_level_opts opts_of(const level_t *l)
{
    const struct api_exempt_priority_level_configuration *e = l->spec.exempt;
    const struct api_limited_priority_level_configuration *d = l->spec.limited;
    struct fair_level_opts o = {.exempt = str_is(l->spec.type, "Exempt"), .borrow_limit_pct = -1};
    if (o.exempt) {
        o.shares =
            e ? percent_of(e->has_nominal_concurrency_shares, e->nominal_concurrency_shares) : 0;
        o.lendable_pct =
            e ? MIN(percent_of(e->has_lendable_percent, e->lendable_percent), 100u) : 0;
        return o;
    }
    if (!d)
        return o;
    const struct api_queuing_configuration *q = d->limit_response.queuing;
    o.shares = percent_of(d->has_nominal_concurrency_shares, d->nominal_concurrency_shares);
    o.lendable_pct = MIN(percent_of(d->has_lendable_percent, d->lendable_percent), 100u);
    if (d->has_borrowing_limit_percent)
        o.borrow_limit_pct = d->borrowing_limit_percent;
    o.queues = str_is(d->limit_response.type, "Queue") && q;
    if (o.queues) {
        uint64_t length = (uint64_t)MAX(q->queue_length_limit, 0),
                 all = length * (uint64_t)MAX(q->queues, 0);
        o.flow_max =
            (unsigned)MIN(length * (uint64_t)MAX(q->hand_size, 0), (uint64_t)API_WAITING_ALL_MAX);
        o.waiting_max = (unsigned)MIN(all, (uint64_t)API_WAITING_MAX);
        o.hard_max = (unsigned)MIN(all, (uint64_t)API_WAITING_MAX * 2);
    }
    return o;
}

static int level_cmp(const void *a, const void *b)
{
    return str_cmp(((const struct flow_level *)a)->name, ((const struct flow_level *)b)->name);
}

static struct flow_level *level_find(const struct flow_table *t, struct str name)
{
    for (unsigned i = 0; i < t->n_levels; i++)
        if (str_eq(t->levels[i].name, name))
            return &t->levels[i];
    return NULL;
}

static void level_add(struct flow_table *t, const level_t *l)
{
    if (t->n_levels < FLOW_LEVELS_MAX)
        t->levels[t->n_levels++] =
            (struct flow_level){.name = arena_str(&t->arena, l->metadata.name),
                                .uid = arena_str(&t->arena, l->metadata.uid),
                                .opts = opts_of(l)};
}

/* ---- schemas ---- */

static struct flow_rule_subject subject_of(struct arena *a, const struct api_flow_subject *s)
{
    if (s->user)
        return (struct flow_rule_subject){.kind = FLOW_USER, .name = arena_str(a, s->user->name)};
    if (s->group)
        return (struct flow_rule_subject){.kind = FLOW_GROUP, .name = arena_str(a, s->group->name)};
    const struct api_service_account_subject *sa = s->service_account;
    return (struct flow_rule_subject){.kind = FLOW_SERVICE_ACCOUNT,
                                      .name = sa ? arena_str(a, sa->name) : STR(""),
                                      .ns = sa ? arena_str(a, sa->namespace) : STR("")};
}

static struct flow_rule rule_of(struct arena *a, const struct api_policy_rules_with_subjects *r)
{
    struct flow_rule out = {.subjects = ARENA_NEW_N(a, struct flow_rule_subject, r->n_subjects),
                            .targets = ARENA_NEW_N(a, struct flow_target,
                                                   r->n_resource_rules + r->n_non_resource_rules)};
    for (; out.n_subjects < r->n_subjects; out.n_subjects++)
        out.subjects[out.n_subjects] = subject_of(a, &r->subjects[out.n_subjects]);
    for (uint32_t i = 0; i < r->n_resource_rules; i++) {
        const struct api_resource_policy_rule *p = &r->resource_rules[i];
        out.targets[out.n_targets++] =
            (struct flow_target){.verbs = list_of(a, p->verbs, p->n_verbs),
                                 .groups = list_of(a, p->api_groups, p->n_api_groups),
                                 .resources = list_of(a, p->resources, p->n_resources),
                                 .namespaces = list_of(a, p->namespaces, p->n_namespaces),
                                 .cluster_scope = p->cluster_scope};
    }
    for (uint32_t i = 0; i < r->n_non_resource_rules; i++) {
        const struct api_non_resource_policy_rule *p = &r->non_resource_rules[i];
        out.targets[out.n_targets++] =
            (struct flow_target){.verbs = list_of(a, p->verbs, p->n_verbs),
                                 .paths = list_of(a, p->non_resource_urls, p->n_non_resource_urls)};
    }
    return out;
}

/* The counters of the same schema and level, or new ones. */
static struct flow_counts *counts_of(const struct flow_table *before, struct str name,
                                     struct str level)
{
    for (unsigned i = 0; before && i < before->n_schemas; i++) {
        const struct flow_schema *s = &before->schemas[i];
        if (!str_eq(s->name, name) || !str_eq(before->levels[s->level].name, level))
            continue;
        atomic_fetch_add(&s->counts->refs, 1);
        return s->counts;
    }
    struct flow_counts *c = NEW(struct flow_counts);
    c->refs = 1;
    return c;
}

static void schema_add(struct flow_table *t, const schema_t *s, const struct flow_table *before)
{
    struct arena *a = &t->arena;
    const struct flow_level *l = level_find(t, s->spec.priority_level_configuration.name);
    const struct api_flow_distinguisher_method *by = s->spec.distinguisher_method;
    if (!l)
        return;
    struct flow_schema *f = &t->schemas[t->n_schemas++];
    *f = (struct flow_schema){.name = arena_str(a, s->metadata.name),
                              .uid = arena_str(a, s->metadata.uid),
                              .precedence = s->spec.matching_precedence,
                              .level = (unsigned)(l - t->levels),
                              .by = !by                          ? FLOW_BY_NOTHING
                                    : str_is(by->type, "ByUser") ? FLOW_BY_USER
                                                                 : FLOW_BY_NAMESPACE,
                              .rules = ARENA_NEW_N(a, struct flow_rule, s->spec.n_rules),
                              .counts = counts_of(before, s->metadata.name, l->name)};
    for (; f->n_rules < s->spec.n_rules; f->n_rules++)
        f->rules[f->n_rules] = rule_of(a, &s->spec.rules[f->n_rules]);
}

/* ---- tables ---- */

static int schema_cmp(const void *a, const void *b)
{
    const schema_t *x = *(const schema_t *const *)a, *y = *(const schema_t *const *)b;
    bool last = str_is(x->metadata.name, "catch-all"),
         y_last = str_is(y->metadata.name, "catch-all");
    if (last != y_last) /* of equals it is the last, too */
        return last ? 1 : -1;
    if (x->spec.matching_precedence != y->spec.matching_precedence)
        return x->spec.matching_precedence < y->spec.matching_precedence ? -1 : 1;
    return str_cmp(x->metadata.name, y->metadata.name);
}

static void counts_unref(struct flow_counts *c)
{
    if (atomic_fetch_sub(&c->refs, 1) == 1)
        free(c);
}

struct flow_table *flow_table_new(const struct flow_objects *o, const struct flow_table *before)
{
    struct flow_table *t = NEW(struct flow_table);
    struct arena scratch = {0};
    struct flow_defaults d;
    flow_defaults(&scratch, &d);
    const schema_t **v = ARENA_NEW_N(&scratch, const schema_t *, o->n_schemas + d.n_schemas);
    size_t n = 0;
    t->refs = 1;
    t->levels = ARENA_NEW_N(&t->arena, struct flow_level,
                            MIN(o->n_levels + d.n_levels, (size_t)FLOW_LEVELS_MAX));
    t->schemas = ARENA_NEW_N(&t->arena, struct flow_schema,
                             MIN(o->n_schemas + d.n_schemas, (size_t)FLOW_SCHEMAS_MAX));
    for (size_t i = 0; i < o->n_levels; i++) /* those there must be have their places */
        if (flow_is_mandatory(o->levels[i]->metadata.name))
            level_add(t, o->levels[i]);
    for (size_t i = 0; i < d.n_levels; i++)
        if (flow_is_mandatory(d.levels[i].metadata.name) &&
            !level_find(t, d.levels[i].metadata.name))
            level_add(t, &d.levels[i]);
    for (size_t i = 0; i < o->n_levels; i++)
        if (!flow_is_mandatory(o->levels[i]->metadata.name))
            level_add(t, o->levels[i]);
    qsort(t->levels, t->n_levels, sizeof(t->levels[0]), level_cmp);
    for (size_t i = 0; i < d.n_schemas; i++)
        if (flow_is_mandatory(d.schemas[i].metadata.name)) {
            for (size_t k = 0; k < o->n_schemas; k++)
                if (str_eq(o->schemas[k]->metadata.name, d.schemas[i].metadata.name))
                    d.schemas[i].metadata.uid = o->schemas[k]->metadata.uid;
            v[n++] = &d.schemas[i];
        }
    for (size_t k = 0; k < o->n_schemas; k++)
        if (!flow_is_mandatory(o->schemas[k]->metadata.name))
            v[n++] = o->schemas[k];
    qsort(v, n, sizeof(v[0]), schema_cmp);
    for (size_t i = 0; i < n; i++)
        if (t->n_schemas < FLOW_SCHEMAS_MAX - 1 || i == n - 1)
            schema_add(t, v[i], before);
    arena_fini(&scratch);
    ASSERT(t->n_schemas >= 2);
    return t;
}

struct flow_table *flow_table_new_default(void)
{
    struct arena a = {0};
    struct flow_defaults d;
    flow_defaults(&a, &d);
    struct flow_objects o = {.levels = ARENA_NEW_N(&a, const level_t *, d.n_levels),
                             .schemas = ARENA_NEW_N(&a, const schema_t *, d.n_schemas)};
    for (; o.n_levels < d.n_levels; o.n_levels++)
        o.levels[o.n_levels] = &d.levels[o.n_levels];
    for (; o.n_schemas < d.n_schemas; o.n_schemas++)
        o.schemas[o.n_schemas] = &d.schemas[o.n_schemas];
    struct flow_table *t = flow_table_new(&o, NULL);
    arena_fini(&a);
    return t;
}

struct flow_table *flow_table_ref(struct flow_table *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

struct flow_table *flow_table_unref(struct flow_table *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
        return NULL;
    for (unsigned i = 0; i < t->n_schemas; i++)
        counts_unref(t->schemas[i].counts);
    arena_fini(&t->arena);
    free(t);
    return NULL;
}
