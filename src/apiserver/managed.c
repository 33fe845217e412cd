/* See managed.h. What makes this cheap: the difference between old and new object is taken on the
 * structs and is mostly empty or tiny, and sets stay packed. An entry the write has nothing to do
 * with is not even copied. */
#include "apiserver/managed.h"

#include "apiserver/custom/convert.h"
#include "apiserver/custom/kinds.h"

#define UPDATERS_MAX 10 /* as Kubernetes: further ones are put together */
#define ANCIENT      "ancient-changes"
#define FIELDS_V1    "FieldsV1"
#define ENTRIES_MAX                                                                                \
    512 /* a client may send; more are not read (they are compared with each other) */

/* ---- who ---- */

static struct str manager_of(const struct api_call *c)
{
    struct str name = c->opts.field_manager;
    if (name.n)
        return name;
    if (c->user_agent.n)
        return c->user_agent;
    name = c->user.name; /* in-process */
    return str_starts(name, STR("system:")) ? str_sub(name, 7, name.n) : name;
}

const char *managed_skip(const struct api_call *c)
{
    if (call_is_status(c))
        return "spec";
    return kind_has_status(c->kind) && !c->subresource.n ? "status" : NULL;
}

struct str managed_written(struct api_call *c, struct str set)
{
    static const char *const ephemeral[] = {"spec", "ephemeralContainers", NULL},
                             *const whole[] = {"spec", "resources", NULL},
                             *const app[] = {"spec", "containers", "*", "resources", NULL},
                             *const app_policy[] = {"spec", "containers", "*", "resizePolicy",
                                                    NULL},
                             *const init[] = {"spec", "initContainers", "*", "resources", NULL},
                             *const init_policy[] = {"spec", "initContainers", "*", "resizePolicy",
                                                     NULL};
    static const char *const *const of_ephemeral[] = {ephemeral};
    static const char *const *const of_resize[] = {whole, app, app_policy, init, init_policy};
    struct arena *a = &c->arena;
    if (c->kind != KIND(POD) || fields_empty(set))
        return set;
    if (str_is(c->subresource, "resize"))
        return fields_keep(c->kind->desc, set, of_resize, ARRAY_LEN(of_resize), a);
    if (str_is(c->subresource, "ephemeralcontainers"))
        return fields_keep(c->kind->desc, set, of_ephemeral, ARRAY_LEN(of_ephemeral), a);
    return set;
}

static bool is_update(const struct api_managed_fields_entry *e)
{
    return str_is(e->operation, "Update");
}

static bool is_ours(const struct api_call *c, const struct api_managed_fields_entry *e)
{
    return str_eqz(e->api_version, c->kind->api_version);
}

/* The version of c's custom kind an entry speaks of; NULL: it is not served. */
static const struct schema_kind *kind_of(const struct api_call *c,
                                         const struct api_managed_fields_entry *e)
{
    struct str group, version;
    if (is_ours(c, e))
        return c->kind;
    if (!schema_split_api_version(e->api_version, &group, &version) ||
        !str_eqz(group, c->kind->group))
        return NULL;
    const struct schema_kind *k =
        kinds_by_plural(c->server->kinds, group, version, str_z(c->kind->plural));
    custom_unref(k); /* only this thread takes it away */
    return k;
}

const struct schema_desc *managed_desc(const struct api_call *c,
                                       const struct api_managed_fields_entry *e)
{
    if (is_ours(c, e))
        return c->kind->desc;
    if (!c->kind->custom || converts_kind(c->server->converts, c->kind))
        return NULL; /* the object looks different there */
    const struct schema_kind *k = kind_of(c, e);
    return k ? k->desc : NULL;
}

/* The kind an entry speaks of when c's objects can be told as it here and now: as they are
 * (managed_desc), or, of a built-in kind that is served in two versions, converted. Else NULL. */
static const struct schema_kind *told_as(const struct api_call *c,
                                         const struct api_managed_fields_entry *e)
{
    if (c->kind->custom || is_ours(c, e))
        return managed_desc(c, e) ? kind_of(c, e) : NULL;
    for (size_t i = 0; i < _KIND_MAX; i++)
        if (storage_kind(schema_kinds[i]) == storage_kind(c->kind) &&
            str_eqz(e->api_version, schema_kinds[i]->api_version))
            return schema_kinds[i];
    return NULL;
}

/* An applier is the same in every version. */
static bool same_owner(const struct api_managed_fields_entry *a,
                       const struct api_managed_fields_entry *b)
{
    return str_eq(a->operation, b->operation) && str_eq(a->manager, b->manager) &&
           (str_eq(a->subresource, b->subresource) || (!a->subresource.n && !b->subresource.n)) &&
           (!is_update(a) || str_eq(a->api_version, b->api_version));
}

struct api_managed_fields_entry *managed_own(struct api_call *c, struct managed_list *l,
                                             struct str operation)
{
    struct api_managed_fields_entry own = {
        .manager = manager_of(c),
        .operation = operation,
        .api_version = str_z(c->kind->api_version),
        .fields_type = STR(FIELDS_V1),
        .subresource = c->subresource.n ? c->subresource : STR_NONE,
    };
    for (uint32_t i = 0; i < l->n; i++)
        if (same_owner(&l->v[i], &own))
            return &l->v[i];
    /* managed_read leaves room for it and for the one before it */
    l->v[l->n] = own;
    return &l->v[l->n++];
}

void managed_drop_empty(struct managed_list *l)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (!fields_empty(l->v[i].fields_v1))
            l->v[n++] = l->v[i];
    l->n = n;
}

/* ---- reading ---- */

/* 0, 1: of a version nobody serves, which is forgotten; <0: not to be read. */
static int read_entry(struct api_call *c, const struct api_managed_fields_entry *in,
                      struct api_managed_fields_entry *ret)
{
    *ret = *in;
    if (!is_update(in) && !str_is(in->operation, "Apply"))
        return -EINVAL;
    if (!in->api_version.n || !str_is(in->fields_type, FIELDS_V1))
        return -EINVAL;
    if (fields_is_packed(in->fields_v1) && !c->kind->custom)
        return 0;
    const struct schema_kind *k = c->kind->custom || is_ours(c, in) ? kind_of(c, in) : NULL;
    const struct schema_desc *d =
        k ? k->desc : schema_desc_find(in->api_version, str_z(c->kind->kind));
    if (!d)
        return 1;
    if (fields_is_packed(in->fields_v1))
        return 0;
    return fields_parse(d, in->fields_v1.n ? in->fields_v1 : STR("{}"), &c->arena, &ret->fields_v1,
                        NULL);
}

/* unique: a stored list, where no owner is there twice. */
static int read_list(struct api_call *c, const struct api_object_meta *m, bool unique,
                     struct managed_list *l)
{
    *l = (struct managed_list){
        .v = ARENA_NEW_N(&c->arena, struct api_managed_fields_entry, m->n_managed_fields + 2)};
    for (uint32_t i = 0; i < m->n_managed_fields; i++) {
        struct api_managed_fields_entry e;
        int r = read_entry(c, &m->managed_fields[i], &e);
        uint32_t k = unique ? l->n : 0;
        if (r < 0)
            return r;
        if (r > 0)
            continue;
        while (k < l->n && !same_owner(&l->v[k], &e))
            k++;
        l->v[k] = e; /* of two the last counts */
        l->n = MAX(l->n, k + 1);
    }
    return 0;
}

/* Sets that were made by a schema before the one there is now. */
static void reconcile(struct api_call *c, struct managed_list *l)
{
    const struct object *old = call_peek(c);
    for (uint32_t i = 0; i < l->n && old; i++) {
        struct api_managed_fields_entry *e = &l->v[i];
        const struct schema_kind *k = kind_of(c, e);
        if (k && old->rev <= k->custom->since)
            e->fields_v1 = fields_reconcile(k->desc, e->fields_v1, &c->arena);
    }
}

struct managed_list managed_read(struct api_call *c, const struct api_object_meta *m)
{
    struct managed_list l;
    if (read_list(c, m, true, &l) < 0)
        l.n = 0;
    if (c->kind->custom)
        reconcile(c, &l);
    return l;
}

/* Clients send back what they got: then the packed set is there already. */
static void reuse_packed(struct api_call *c, struct api_object_meta *m,
                         const struct api_object_meta *old)
{
    for (uint32_t i = 0; i < m->n_managed_fields; i++) {
        struct api_managed_fields_entry *e = &m->managed_fields[i];
        for (uint32_t k = 0; k < MIN(old->n_managed_fields, (uint32_t)ENTRIES_MAX); k++) {
            const struct api_managed_fields_entry *o = &old->managed_fields[k];
            struct buf b = {0};
            if (!fields_is_packed(o->fields_v1) || !same_owner(e, o))
                continue;
            fields_print(o->fields_v1, &b);
            if (str_eq(buf_str(&b), e->fields_v1))
                e->fields_v1 = o->fields_v1;
            buf_fini(&b);
        }
    }
}

/* The entries a write starts from. A client may set them (a list of nothing, or of one empty entry,
 * takes all away); one that leaves them out, or sends what cannot be read, keeps those of old. */
static struct managed_list base_list(struct api_call *c, struct api_object_meta *m,
                                     const struct api_object_meta *old)
{
    static const struct api_managed_fields_entry nothing;
    struct managed_list l;
    bool reset = m->managed_fields && !m->n_managed_fields;
    if (c->subresource.n || !m->managed_fields)
        return managed_read(c, old);
    if (m->n_managed_fields == 1)
        reset = schema_equal(&api_managed_fields_entry_desc, &m->managed_fields[0], &nothing);
    if (!reset) {
        if (m->n_managed_fields > ENTRIES_MAX)
            return managed_read(c, old);
        reuse_packed(c, m, old);
        if (read_list(c, m, false, &l) < 0 || !l.n)
            return managed_read(c, old);
        return l;
    }
    l = managed_read(c, old);
    l.n = 0;
    return l;
}

/* ---- order and number ---- */

static int64_t seconds_of(const struct api_managed_fields_entry *e)
{
    return e->time.set ? e->time.usec / 1000000 : 0;
}

static int entry_cmp(const void *a, const void *b)
{
    const struct api_managed_fields_entry *x = a, *y = b;
    int r = str_cmp(x->operation, y->operation);
    if (!r)
        r = (seconds_of(x) > seconds_of(y)) - (seconds_of(x) < seconds_of(y));
    if (!r)
        r = str_cmp(x->manager, y->manager);
    if (!r)
        r = str_cmp(x->api_version, y->api_version);
    return r ? r : str_cmp(x->subresource, y->subresource);
}

/* The oldest updates of a version become one entry, until there are few enough. l is sorted. */
static void cap_updaters(struct api_call *c, struct managed_list *l)
{
    uint32_t first = 0, n, kept;
    while (first < l->n && !is_update(&l->v[first]))
        first++;
    n = l->n - first;
    for (uint32_t i = first; i < l->n && n > UPDATERS_MAX; i++) {
        struct api_managed_fields_entry *e = &l->v[i], *into = NULL;
        for (uint32_t k = first; k < i && !into; k++)
            if (!fields_empty(l->v[k].fields_v1) && str_eq(l->v[k].api_version, e->api_version) &&
                fields_same_root(l->v[k].fields_v1, e->fields_v1))
                into = &l->v[k];
        if (!into)
            continue;
        into->manager = STR(ANCIENT);
        into->subresource = STR_NONE;
        into->fields_v1 = fields_union(into->fields_v1, e->fields_v1, &c->arena);
        into->time = e->time;
        e->fields_v1 = STR_NONE;
        n--;
    }
    kept = l->n;
    managed_drop_empty(l);
    if (l->n != kept)
        qsort(l->v, l->n, sizeof(*l->v), entry_cmp);
}

void managed_write(struct api_call *c, struct managed_list *l, struct api_object_meta *m)
{
    managed_drop_empty(l);
    for (uint32_t i = 1; i < l->n; i++)
        if (entry_cmp(&l->v[i - 1], &l->v[i]) > 0) {
            qsort(l->v, l->n, sizeof(*l->v), entry_cmp);
            break;
        }
    if (l->n > UPDATERS_MAX)
        cap_updaters(c, l);
    m->managed_fields = l->n ? l->v : NULL;
    m->n_managed_fields = l->n;
}

bool managed_same(const struct api_object_meta *a, const struct api_object_meta *b)
{
    if (a->n_managed_fields != b->n_managed_fields)
        return false;
    for (uint32_t i = 0; i < a->n_managed_fields; i++) {
        const struct api_managed_fields_entry *x = &a->managed_fields[i];
        const struct api_managed_fields_entry *y = &b->managed_fields[i];
        if (!same_owner(x, y) || !str_eq(x->api_version, y->api_version) ||
            !str_eq(x->fields_v1, y->fields_v1))
            return false;
    }
    return true;
}

/* ---- what webhooks make of them ---- */

/* What is wrong with an entry, in the words of Kubernetes; absent: nothing that can be seen. */
static struct str fault_of(struct api_call *c, const struct api_managed_fields_entry *e, uint32_t i)
{
    struct api_managed_fields_entry unused;
    if (!is_update(e) && !str_is(e->operation, "Apply"))
        return STR("operation must be `Apply` or `Update`");
    if (!e->api_version.n)
        return STR("apiVersion must not be empty");
    if (!e->fields_type.n)
        return arena_printf(&c->arena, "missing fieldsType in managed fields entry %u", i);
    if (!str_is(e->fields_type, FIELDS_V1))
        return arena_printf(&c->arena, "invalid fieldsType \"%.*s\" in managed fields entry %u",
                            STR_ARG(e->fields_type), i);
    if (read_entry(c, e, &unused) < 0)
        return arena_printf(&c->arena, "error decoding the fields of managed fields entry %u", i);
    return STR_NONE;
}

struct str managed_mutated(struct api_call *c, struct api_object_meta *m,
                           const struct api_object_meta *given)
{
    struct api_object_meta now = *given;
    struct managed_list l;
    struct str fault = STR_NONE;
    uint32_t n = given->n_managed_fields;
    if (n > ENTRIES_MAX)
        fault = arena_printf(&c->arena, "more than %d managed fields entries", ENTRIES_MAX);
    now.managed_fields = ARENA_NEW_N(&c->arena, struct api_managed_fields_entry, n + 1);
    for (uint32_t i = 0; i < n && !fault.n; i++) {
        now.managed_fields[i] = given->managed_fields[i];
        fault = fault_of(c, &given->managed_fields[i], i);
    }
    if (!fault.n) {
        reuse_packed(c, &now, m);
        if (read_list(c, &now, false, &l) >= 0) {
            managed_write(c, &l, m);
            return STR_NONE;
        }
        fault = STR("error decoding managed fields");
    }
    return arena_printf(
        &c->arena,
        ".metadata.managedFields was in an invalid state after admission; this could be "
        "caused by an outdated mutating admission controller; please fix your requests: "
        "%.*s",
        STR_ARG(fault));
}

/* ---- what a write changes ---- */

struct managed_view {
    const struct managed_view *next;
    const struct schema_desc *desc;
    struct fields_diff diff;
};

static const void *tell(const struct api_call *c, const struct schema_kind *as, const void *msg,
                        struct arena *a)
{
    if (as == c->kind || c->kind->custom)
        return msg;
    return schema_from_storage(as, schema_to_storage(c->kind, msg, a), a);
}

const struct fields_diff *managed_change_for(struct managed_change *m,
                                             const struct api_managed_fields_entry *e)
{
    struct arena *a = &m->c->arena;
    const struct schema_kind *as = told_as(m->c, e);
    if (!as)
        return NULL;
    const struct schema_desc *desc = as->desc;
    for (const struct managed_view *v = m->views; v; v = v->next)
        if (v->desc == desc)
            return &v->diff;
    struct managed_view *v = ARENA_NEW(&m->c->arena, struct managed_view);
    *v = (struct managed_view){.next = m->views, .desc = desc};
    (void)fields_diff(desc, tell(m->c, as, m->old, a), tell(m->c, as, m->new, a),
                      managed_skip(m->c), a, &v->diff);
    v->diff.changed = managed_written(m->c, v->diff.changed);
    v->diff.removed = managed_written(m->c, v->diff.removed);
    m->views = v;
    return &v->diff;
}

/* ---- a write that is no apply ---- */

void managed_update(struct api_call *c, void *msg, const void *old)
{
    struct api_object_meta *m = msg;
    struct managed_list l;
    if (c->managed) { /* apply has worked them out */
        m->managed_fields = c->managed->v;
        m->n_managed_fields = c->managed->n;
        return;
    }
    const void *before = old ? old : schema_new(c->kind->desc, &c->arena);
    l = base_list(c, m, before);
    if (old && !l.n) { /* nobody has asked for owners yet: an apply will */
        m->managed_fields = NULL;
        m->n_managed_fields = 0;
        return;
    }
    struct managed_change change = {.c = c, .old = before, .new = msg};
    const struct api_managed_fields_entry us = {.api_version = str_z(c->kind->api_version)};
    const struct fields_diff *d = managed_change_for(&change, &us);
    if (!fields_empty(d->changed) || !fields_empty(d->removed)) {
        struct api_managed_fields_entry *own = NULL;
        if (!fields_empty(d->changed))
            own = managed_own(c, &l, STR("Update"));
        for (uint32_t i = 0; i < l.n; i++) {
            struct api_managed_fields_entry *e = &l.v[i];
            const struct fields_diff *its = managed_change_for(&change, e);
            if (!its)
                continue;
            if (e != own)
                e->fields_v1 = fields_difference(e->fields_v1, its->changed, &c->arena);
            e->fields_v1 = fields_difference(e->fields_v1, its->removed, &c->arena);
        }
        if (own) {
            if (!fields_contain(own->fields_v1, d->changed))
                own->fields_v1 = fields_union(own->fields_v1, d->changed, &c->arena);
            own->time = timestamp_seconds(rt_wall(c->server->rt));
        }
    }
    managed_write(c, &l, m);
}
