/* The objects of priority and fairness are few and change seldom, so each change looks at all of
 * them: in one task for however many events came in a turn. All it writes brings events again,
 * until nothing is left to write; what the store refused is tried again by the clock.
 *
 * Maintenance is Kubernetes': mandatory objects always have their spec, suggested ones while their
 * annotation FLOW_AUTOUPDATE says so (or is missing and nobody changed the spec); both come back
 * when they are deleted. */
#include "apiserver/flow/flow_config.h"

#include "api/flowcontrol.h"
#include "api/kv.h"
#include "apiserver/flow/flow.h"
#include "apiserver/front/front.h"
#include "apiserver/internal.h"
#include "base/log.h"

#define MAINTAIN (60 * NSEC_PER_SEC) /* as kube-apiserver */
#define DANGLING "Dangling"

typedef struct api_priority_level_configuration level_t;
typedef struct api_flow_schema schema_t;

struct flow_config {
    struct apiserver *server;
    struct store_watch watches[2];
    struct rt_task task;
    struct rt_timer timer;
    struct flow_table *table; /* a reference */
    bool changed;
};

/* ---- the table ---- */

struct all {
    struct arena arena;
    struct flow_objects o;
};

static void gather(struct apiserver *s, const struct schema_kind *k, struct all *all,
                   const void ***ret, size_t *ret_n)
{
    struct store_iter it;
    *ret = ARENA_NEW_N(&all->arena, const void *, store_count(s->store, k) + 1);
    *ret_n = 0;
    if (store_iter_init(&it, s->store, k, STR_NONE, 0, STR_NONE, STR_NONE) < 0)
        return;
    size_t max = store_count(s->store, k);
    for (struct object *o; *ret_n < max && (o = store_iter_next(&it));)
        (*ret)[(*ret_n)++] = o->msg;
    store_iter_fini(&it);
}

static struct flow_table *make_table(struct apiserver *s, const struct flow_table *before)
{
    struct all all = {0};
    struct flow_table *t;
    gather(s, KIND(PRIORITY_LEVEL_CONFIGURATION), &all, (const void ***)&all.o.levels,
           &all.o.n_levels);
    gather(s, KIND(FLOW_SCHEMA), &all, (const void ***)&all.o.schemas, &all.o.n_schemas);
    t = all.o.n_levels || all.o.n_schemas ? flow_table_new(&all.o, before)
                                          : flow_table_new_default();
    if (all.o.n_levels > FLOW_LEVELS_MAX || all.o.n_schemas > FLOW_SCHEMAS_MAX)
        log_warn("of %zu priority levels and %zu flow schemas %d and %d are heeded", all.o.n_levels,
                 all.o.n_schemas, FLOW_LEVELS_MAX, FLOW_SCHEMAS_MAX);
    arena_fini(&all.arena);
    return t;
}

/* ---- maintenance ---- */

/* The annotation, or -1: not there, or no truth value. */
static int autoupdate(const struct api_object_meta *m)
{
    const struct str *v = KV_GET(m, annotations, STR(FLOW_AUTOUPDATE));
    return v && str_is(*v, "true") ? 1 : v && str_is(*v, "false") ? 0 : -1;
}

static void put(struct apiserver *s, const struct schema_kind *k, void *msg, rev_t expected)
{
    struct error err = {0};
    struct api_object_meta *m = msg;
    m->resource_version = STR_NONE;
    if (store_put(s->store, k, msg, expected, NULL, NULL, &err) < 0)
        log_warn("cannot write %s %.*s: %.*s", k->kind, STR_ARG(m->name), STR_ARG(err.message));
    error_fini(&err);
}

static void set_dangling(schema_t *f, bool dangling, usec_t now, struct arena *a)
{
    struct api_flow_schema_condition *v = ARENA_NEW_N(a, struct api_flow_schema_condition,
                                                      f->status.n_conditions + 1),
                                     *c = NULL;
    for (uint32_t i = 0; i < f->status.n_conditions; i++) {
        v[i] = f->status.conditions[i];
        if (str_is(v[i].type, DANGLING))
            c = &v[i];
    }
    if (!c) {
        c = &v[f->status.n_conditions++];
        *c = (struct api_flow_schema_condition){.type = STR(DANGLING)};
    }
    f->status.conditions = v;
    struct str status = dangling ? STR("True") : STR("False");
    if (!str_eq(c->status, status))
        c->last_transition_time = timestamp_seconds(now);
    c->status = status;
    c->reason = dangling ? STR("NotFound") : STR("Found");
    c->message = arena_printf(
        a, "This FlowSchema references the PriorityLevelConfiguration object named \"%.*s\" %s",
        STR_ARG(f->spec.priority_level_configuration.name),
        dangling ? "but there is no such object" : "and it exists");
}

static bool level_exists(struct apiserver *s, struct str name)
{
    return store_peek(s->store, KIND(PRIORITY_LEVEL_CONFIGURATION), STR(""), name) != NULL;
}

/* The spec and the annotation `ours` should have, over what is there. */
static void maintain(struct apiserver *s, const struct schema_kind *k, const void *ours)
{
    struct arena a = {0};
    struct object *old =
        store_peek(s->store, k, STR(""), ((const struct api_object_meta *)ours)->name);
    const struct api_object_meta *o = old ? object_meta(old) : NULL;
    void *msg = schema_clone(k->desc, ours, &a);
    api_default(k, msg, &a);
    struct api_object_meta *m = msg;
    if (!old) {
        make_uid(s->rt, &a, &m->uid);
        m->creation_timestamp = timestamp_seconds(rt_wall(s->rt));
        m->generation = 1;
        if (k == KIND(FLOW_SCHEMA))
            set_dangling(msg, false, rt_wall(s->rt), &a);
        put(s, k, msg, STORE_ABSENT);
        goto out;
    }
    int says = autoupdate(o);
    bool update = flow_is_mandatory(m->name) || says == 1 || (says < 0 && o->generation <= 1);
    void *now = schema_clone(k->desc, old->msg, &a);
    if (k == KIND(FLOW_SCHEMA)) {
        schema_t *to = now, *from = msg;
        if (update)
            to->spec = from->spec;
    } else {
        level_t *to = now, *from = msg;
        if (str_is(o->name, "exempt") && to->spec.exempt)
            from->spec.exempt = to->spec.exempt; /* its figures are the user's */
        if (update)
            to->spec = from->spec;
    }
    m = now;
    bool spec = !schema_equal(k->desc, now, old->msg);
    m->generation += spec;
    if (says != (update ? 1 : 0))
        kv_str_set(&a, &m->annotations, &m->n_annotations, STR(FLOW_AUTOUPDATE),
                   update ? STR("true") : STR("false"));
    if (!schema_equal(k->desc, now, old->msg) && !o->deletion_timestamp.set)
        put(s, k, now, old->rev);
out:
    arena_fini(&a);
}

static void maintain_all(struct apiserver *s)
{
    struct arena a = {0};
    struct flow_defaults d;
    flow_defaults(&a, &d);
    for (size_t i = 0; i < d.n_levels; i++)
        maintain(s, KIND(PRIORITY_LEVEL_CONFIGURATION), &d.levels[i]);
    for (size_t i = 0; i < d.n_schemas; i++)
        maintain(s, KIND(FLOW_SCHEMA), &d.schemas[i]);
    arena_fini(&a);
}

struct stale { /* schemas whose condition is not true any more */
    struct apiserver *server;
    struct object **v;
    size_t n, cap;
};

static void find_stale(void *arg, struct object *o)
{
    struct stale *st = arg;
    const schema_t *f = o->msg;
    bool dangling = !level_exists(st->server, f->spec.priority_level_configuration.name);
    struct arena a = {0};
    schema_t copy = *f;
    set_dangling(&copy, dangling, 0, &a);
    if (!schema_equal(&api_flow_schema_status_desc, &copy.status, &f->status)) {
        ARRAY_RESERVE(st->v, st->n, st->cap);
        st->v[st->n++] = object_ref(o);
    }
    arena_fini(&a);
}

static void tell_status(struct apiserver *s)
{
    struct stale st = {.server = s};
    store_peek_each(s->store, KIND(FLOW_SCHEMA), find_stale, &st);
    for (size_t i = 0; i < st.n; i++) {
        struct arena a = {0};
        schema_t *f = schema_clone(KIND(FLOW_SCHEMA)->desc, st.v[i]->msg, &a);
        set_dangling(f, !level_exists(s, f->spec.priority_level_configuration.name), rt_wall(s->rt),
                     &a);
        put(s, KIND(FLOW_SCHEMA), f, st.v[i]->rev);
        object_unref(st.v[i]);
        arena_fini(&a);
    }
    free(st.v);
}

/* ---- changes ---- */

static void on_change(void *arg)
{
    struct flow_config *c = arg;
    struct apiserver *s = c->server;
    if (c->changed) {
        struct flow_table *t = make_table(s, c->table);
        c->changed = false;
        flow_table_unref(c->table);
        c->table = t;
        if (s->front)
            front_set_flows(s->front, t);
    }
    if (!s->opts.no_bootstrap && !s->stopping) {
        maintain_all(s);
        tell_status(s);
    }
}

static void on_timer(void *arg)
{
    struct flow_config *c = arg;
    on_change(c);
    rt_timer_start(&c->timer, MAINTAIN);
}

static void on_events(void *arg, const struct store_event *events, size_t n)
{
    struct flow_config *c = arg;
    (void)events;
    (void)n;
    c->changed = true;
    rt_task_schedule(&c->task);
}

struct flow_config *flow_config_new(struct apiserver *s)
{
    struct flow_config *c = NEW(struct flow_config);
    const struct schema_kind *kinds[] = {KIND(PRIORITY_LEVEL_CONFIGURATION), KIND(FLOW_SCHEMA)};
    c->server = s;
    c->table = make_table(s, NULL);
    rt_task_init(&c->task, s->rt, on_change, c);
    rt_timer_init(&c->timer, s->rt, on_timer, c);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (store_watch_start(&c->watches[i], s->store, kinds[i], STR_NONE, store_rev(s->store),
                              on_events, c) < 0)
            ASSERT(!"the newest revision is in the window");
    rt_timer_start(&c->timer, MAINTAIN);
    rt_task_schedule(&c->task);
    return c;
}

struct flow_config *flow_config_free(struct flow_config *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(c->watches); i++)
        store_watch_stop(&c->watches[i]);
    rt_task_cancel(&c->task);
    rt_timer_stop(&c->timer);
    flow_table_unref(c->table);
    free(c);
    return NULL;
}

struct flow_table *flow_config_table(const struct flow_config *c)
{
    return c->table;
}

void flow_config_bootstrap(struct apiserver *s,
                           void (*want)(struct apiserver *s, const struct schema_kind *k,
                                        const void *msg))
{
    struct arena a = {0};
    struct flow_defaults d;
    flow_defaults(&a, &d);
    for (size_t i = 0; i < d.n_levels; i++)
        want(s, KIND(PRIORITY_LEVEL_CONFIGURATION), &d.levels[i]);
    for (size_t i = 0; i < d.n_schemas; i++) {
        set_dangling(&d.schemas[i], false, rt_wall(s->rt), &a);
        want(s, KIND(FLOW_SCHEMA), &d.schemas[i]);
    }
    arena_fini(&a);
}
