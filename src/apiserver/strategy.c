/* What holds for objects of every kind between request and store: who sets which part of the
 * metadata, that spec and status are written through different doors, when an update is a delete,
 * and how the rules of tables and hooks are asked. The kinds' own rules are in src/api. */
#include "apiserver/managed.h"

#include "api/hooks.h"
#include "api/pod.h"
#include "api/warnings.h"
#include "apiserver/subresource.h"
#include "apiserver/hooks/hooks.h"
#include "apiserver/policy/policy.h"
#include "apiserver/custom/call_view.h"
#include "apiserver/custom/convert.h"
#include "apiserver/custom/rules.h"
#include "schema/custom.h"
#include "base/set.h"

static const char name_letters[] = "bcdfghjklmnpqrstvwxz2456789"; /* no vowels: no words */

void random_suffix(struct rt *rt, char *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = name_letters[rt_random_below(rt, sizeof(name_letters) - 1)];
    out[n] = '\0';
}

struct str make_name(struct api_call *c, struct str base)
{
    char suffix[6];
    if (base.n > API_GENERATE_NAME_MAX)
        base.n = API_GENERATE_NAME_MAX;
    random_suffix(c->server->rt, suffix, 5);
    return arena_printf(&c->arena, "%.*s%s", STR_ARG(base), suffix);
}

void make_uid(struct rt *rt, struct arena *a, struct str *ret)
{
    uint8_t b[16];
    rt_random_bytes(rt, b, sizeof(b));
    b[6] = (b[6] & 0x0f) | 0x40; /* RFC 9562 version 4 */
    b[8] = (b[8] & 0x3f) | 0x80;
    static const char digits[] = "0123456789abcdef";
    char text[36];
    size_t n = 0;
    for (size_t i = 0; i < sizeof(b); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[n++] = '-';
        text[n++] = digits[b[i] >> 4];
        text[n++] = digits[b[i] & 15];
    }
    *ret = arena_str(a, (struct str){text, n});
}

bool has_finalizer(const struct api_object_meta *m, struct str f)
{
    for (uint32_t i = 0; i < m->n_finalizers; i++)
        if (str_eq(m->finalizers[i], f))
            return true;
    return false;
}

static const struct schema_field *top_field(const struct schema_kind *k, const char *name)
{
    return schema_field_find(k->desc, name, strlen(name));
}

bool kind_has_status(const struct schema_kind *k)
{
    return schema_subresource_find(k, STR("status")) && top_field(k, "status");
}

bool call_is_status(const struct api_call *c)
{
    return str_is(c->subresource, "status") || str_is(c->subresource, "approval");
}

bool call_is_resize(const struct api_call *c)
{
    return c->kind == KIND(POD) && str_is(c->subresource, "resize");
}

/* metadata.generation counts the changes of its spec. */
static bool counts_generation(const struct schema_kind *k)
{
    const struct api_hooks *h = api_hooks_find(k);
    return k->generation || (h && h->generation);
}

static size_t field_bytes(const struct schema_field *f)
{
    return f->type == SCHEMA_MSG && (f->flags & SCHEMA_POINTER) ? sizeof(void *) : f->elem_size;
}

/* A kind stored as another one may hold parts of its status elsewhere (annotations of
 * autoscaling/v1): what is told apart in its own form is told apart in the stored form too. old
 * NULL: there is none, and the status is emptied. */
static void part_stored(struct api_call *c, void *msg, const struct object *old, bool status_only)
{
    const struct schema_kind *k = storage_kind(c->kind);
    const struct schema_field *status = top_field(k, "status");
    if (k == c->kind || !c->kind->convert_hook || !status)
        return;
    char *m = (char *)(uintptr_t)schema_to_storage(c->kind, msg, &c->arena);
    const void *stored = old ? schema_clone(k->desc, old->msg, &c->arena) : NULL;
    if (!stored) {
        memset(schema_at(status, m), 0, field_bytes(status));
    } else if (!status_only) {
        memcpy(schema_at(status, m), schema_at(status, stored), field_bytes(status));
    } else {
        size_t meta = sizeof(struct api_object_meta);
        void *kept = arena_alloc(&c->arena, field_bytes(status));
        memcpy(kept, schema_at(status, m), field_bytes(status));
        memcpy(m + meta, (const char *)stored + meta, k->desc->size - meta);
        memcpy(schema_at(status, m), kept, field_bytes(status));
    }
    memcpy(msg, schema_from_storage(c->kind, m, &c->arena), c->kind->desc->size);
}

/* ---- create ---- */

static int create_name(struct api_call *c, struct api_object_meta *m)
{
    if (m->name.n || !m->generate_name.n)
        return 0;
    const struct schema_kind *k = storage_kind(c->kind);
    for (int i = 0; i < API_NAME_TRIES; i++) {
        m->name = make_name(c, m->generate_name);
        if (!store_peek(c->server->store, k, m->namespace, m->name))
            return 0;
    }
    int r = call_already_exists(c, m->name);
    c->reply.err.retry_after_s = API_RETRY_AFTER_S;
    return r;
}

static int create_namespace(struct api_call *c, struct api_object_meta *m)
{
    if (!c->kind->namespaced) {
        if (m->namespace.n)
            m->namespace = STR_NONE;
        return 0;
    }
    if (m->namespace.n && !str_eq(m->namespace, c->ns))
        return call_error(c, REASON_BAD_REQUEST,
                          "the namespace of the provided object does not match the namespace sent "
                          "on the request");
    m->namespace = c->ns;
    return 0;
}

/* One that owns counts once, however often it is named. */
static void dedup_owners(struct api_call *c, struct api_object_meta *m)
{
    struct api_owner_reference *v;
    struct set seen = {0};
    struct buf twice = {0};
    uint32_t n = 0;
    if (m->n_owner_references < 2)
        return;
    v = ARENA_NEW_N(&c->arena, struct api_owner_reference, m->n_owner_references);
    for (uint32_t i = 0; i < m->n_owner_references; i++) {
        struct str uid = m->owner_references[i].uid;
        if (set_add(&seen, uid))
            v[n++] = m->owner_references[i];
        else if (twice.n < 512)
            buf_printf(&twice, "%s%.*s", twice.n ? ", " : "", STR_ARG(uid));
    }
    if (n < m->n_owner_references)
        api_call_warn(c,
                      "metadata.ownerReferences contains duplicate entries; API server dedups "
                      "owner references in 1.20+, and may reject such requests as early as 1.24; "
                      "please fix your requests; duplicate UID(s) observed: %.*s",
                      STR_ARG(buf_str(&twice)));
    m->owner_references = v;
    m->n_owner_references = n;
    set_fini(&seen);
    buf_fini(&twice);
}

int strategy_create(struct api_call *c, void *msg)
{
    struct api_object_meta *m = msg;
    const struct api_hooks *h = api_hooks_find(c->kind);
    dedup_owners(c, m);
    if (m->resource_version.n)
        return call_error(c, REASON_BAD_REQUEST,
                          "resourceVersion should not be set on objects to be created");
    int r = create_namespace(c, m);
    if (r < 0)
        return r;
    if (c->name.n && m->name.n && !str_eq(c->name, m->name))
        return call_error(c, REASON_BAD_REQUEST,
                          "the name of the object (%.*s) does not match the name on the URL (%.*s)",
                          STR_ARG(m->name), STR_ARG(c->name));
    r = create_name(c, m);
    if (r < 0)
        return r;
    m->self_link = STR_NONE;
    m->deletion_timestamp = (struct timestamp){0};
    m->has_deletion_grace_period_seconds = false;
    m->creation_timestamp = timestamp_seconds(rt_wall(c->server->rt));
    make_uid(c->server->rt, &c->arena, &m->uid);
    m->generation = counts_generation(c->kind) ? 1 : 0;
    if (kind_has_status(c->kind) && !(h && h->status_at_create)) {
        const struct schema_field *f = top_field(c->kind, "status");
        memset(schema_at(f, msg), 0, field_bytes(f));
        custom_default_status(c->kind, msg, &c->arena);
        part_stored(c, msg, NULL, false);
    }
    api_default(c->kind, msg, &c->arena);
    managed_update(c, msg, NULL);
    if (h && h->prepare_create)
        h->prepare_create(msg, &c->arena);
    return 0;
}

/* ---- update ---- */

static int check_update_meta(struct api_call *c, struct api_object_meta *m,
                             const struct api_object_meta *o, rev_t old_rev)
{
    rev_t rv = 0;
    if (m->uid.n && !str_eq(m->uid, o->uid))
        return call_conflict(
            c, o->name, "Precondition failed: UID in precondition: %.*s, UID in object meta: %.*s",
            STR_ARG(m->uid), STR_ARG(o->uid));
    if (m->resource_version.n && str_to_u64(m->resource_version, &rv) < 0) {
        (void)error_cause(&c->reply.err, CAUSE_INVALID, STR("metadata.resourceVersion"),
                          "Invalid value: \"%.*s\": must be an unsigned integer",
                          STR_ARG(m->resource_version));
        return call_invalid(c, o->name);
    }
    if (c->kind->custom && c->verb == API_UPDATE && !m->resource_version.n && !c->answer_scale) {
        (void)error_cause(&c->reply.err, CAUSE_INVALID, STR("metadata.resourceVersion"),
                          "Invalid value: 0: must be specified for an update");
        return call_invalid(c, o->name);
    }
    if (m->resource_version.n && rv != 0 && rv != old_rev)
        return call_conflict(
            c, o->name,
            "the object has been modified; please apply your changes to the latest version and try "
            "again");
    return 0;
}

/* What no update may change, from old; strings are cloned because old goes away with its revision.
 */
static void keep_meta(struct api_call *c, struct api_object_meta *m,
                      const struct api_object_meta *o)
{
    struct arena *a = &c->arena;
    m->name = arena_str(a, o->name);
    m->namespace = o->namespace.p ? arena_str(a, o->namespace) : STR_NONE;
    m->generate_name = o->generate_name.p ? arena_str(a, o->generate_name) : STR_NONE;
    m->uid = arena_str(a, o->uid);
    m->self_link = STR_NONE;
    m->resource_version = STR_NONE;
    m->creation_timestamp = o->creation_timestamp;
    m->deletion_timestamp = o->deletion_timestamp;
    m->has_deletion_grace_period_seconds = o->has_deletion_grace_period_seconds;
    m->deletion_grace_period_seconds = o->deletion_grace_period_seconds;
    m->generation = o->generation;
}

/* All but metadata, and the status where it has a door of its own. */
static bool custom_changed(const struct schema_kind *k, const void *a, const void *b)
{
    const struct custom_object *x = a, *y = b;
    return !str_eq(x->rest, y->rest) || (!kind_has_status(k) && !str_eq(x->status, y->status));
}

/* All but metadata and status: the spec, or what stands in its place. */
static bool spec_changed(const struct schema_kind *k, const void *a, const void *b)
{
    if (k->custom)
        return custom_changed(k, a, b);
    for (unsigned i = 0; i < k->desc->n_fields; i++) {
        struct schema_desc one = *k->desc; /* of just this field: equality is one of messages */
        one.fields = &k->desc->fields[i];
        one.n_fields = 1;
        if (strcmp(one.fields->name, "metadata") != 0 && strcmp(one.fields->name, "status") != 0 &&
            !schema_equal(&one, a, b))
            return true;
    }
    return false;
}

/* msg as it is to be written: what this write may not change is taken from old. owners: those who
 * own its fields are found out as well. */
static void prepare_update(struct api_call *c, void *msg, const struct object *old, bool owners)
{
    struct api_object_meta *m = msg;
    const struct api_hooks *h = api_hooks_find(c->kind);
    const void *seen = custom_read(c->kind, schema_from_storage(c->kind, old->msg, &c->arena),
                                   old->rev, &c->arena);
    void *o = schema_clone(c->kind->desc, seen, &c->arena);
    bool status_only = call_is_status(c);
    keep_meta(c, m, object_meta(old));
    if (status_only) { /* everything but the status is the old one, save what people mark objects
                          with */
        struct api_object_meta meta = *m;
        const struct schema_field *f = top_field(c->kind, "status");
        ASSERT(f && (f->type == SCHEMA_MSG || f->type == SCHEMA_RAW));
        void *status = arena_alloc(&c->arena, field_bytes(f));
        memcpy(status, schema_at(f, msg), field_bytes(f));
        memcpy(msg, o, c->kind->desc->size);
        memcpy(schema_at(f, msg), status, field_bytes(f));
        m->resource_version = STR_NONE;
        m->managed_fields = meta.managed_fields;
        m->n_managed_fields = meta.n_managed_fields;
        if (!c->kind->custom) {
            m->labels = meta.labels;
            m->n_labels = meta.n_labels;
            m->annotations = meta.annotations;
            m->n_annotations = meta.n_annotations;
            m->finalizers = meta.finalizers;
            m->n_finalizers = meta.n_finalizers;
        }
    } else if (kind_has_status(c->kind)) {
        const struct schema_field *f = top_field(c->kind, "status");
        memcpy(schema_at(f, msg), schema_at(f, o), field_bytes(f));
    }
    if (call_is_resize(c))
        pod_resize_take(msg, o, &c->arena);
    else if (c->kind == KIND(POD) && str_is(c->subresource, "ephemeralcontainers"))
        pod_ephemeral_take(msg, o);
    part_stored(c, msg, old, status_only);
    api_default(c->kind, msg, &c->arena);
    if (owners)
        managed_update(c, msg, o);
    if (h && h->prepare_update)
        h->prepare_update(msg, o, &c->arena);
    if (counts_generation(c->kind) && !status_only && spec_changed(c->kind, msg, o))
        m->generation++;
}

int strategy_update(struct api_call *c, void *msg, struct object *old)
{
    int r = check_update_meta(c, msg, object_meta(old), old->rev);
    if (r < 0)
        return r;
    dedup_owners(c, msg);
    prepare_update(c, msg, old, true);
    return call_views_wanted(c); /* for owners that are named in another version */
}

/* ---- what webhooks and policies made of it ---- */

/* As strategy_create left them. */
static void keep_created(struct api_call *c, struct api_object_meta *m,
                         const struct api_object_meta *b)
{
    const struct api_hooks *h = api_hooks_find(c->kind);
    m->uid = b->uid;
    m->self_link = STR_NONE;
    m->resource_version = STR_NONE;
    m->creation_timestamp = b->creation_timestamp;
    m->deletion_timestamp = b->deletion_timestamp;
    m->has_deletion_grace_period_seconds = false;
    m->deletion_grace_period_seconds = 0;
    m->generation = b->generation;
    if (kind_has_status(c->kind) && !(h && h->status_at_create)) {
        const struct schema_field *f = top_field(c->kind, "status");
        memcpy(schema_at(f, m), schema_at(f, b), field_bytes(f));
        part_stored(c, m, NULL, false);
    }
    api_default(c->kind, m, &c->arena);
    if (h && h->prepare_create)
        h->prepare_create(m, &c->arena);
}

int strategy_mutated(struct api_call *c, void *msg, const void *before, const struct object *old)
{
    struct api_object_meta *m = msg;
    const struct api_object_meta *b = before;
    if (c->kind->namespaced ? !str_eq(m->namespace, b->namespace) : m->namespace.n > 0)
        return call_error(c, REASON_BAD_REQUEST,
                          "the namespace of the provided object does not match the namespace sent "
                          "on the request");
    if (old && !str_eq(m->name, b->name)) {
        (void)error_cause(&c->reply.err, CAUSE_INVALID, STR("metadata.name"),
                          "Invalid value: \"%.*s\": field is immutable", STR_ARG(m->name));
        return call_invalid(c, b->name);
    }
    m->managed_fields = b->managed_fields;
    m->n_managed_fields = b->n_managed_fields;
    if (old)
        prepare_update(c, msg, old, false);
    else
        keep_created(c, m, b);
    return 0;
}

/* ---- rules and commit ---- */

/* The schema, then its rules, which may count on types. What was there is read only when there are
 * rules or something is wrong: most updates are good. */
static void custom_check(struct api_call *c, const void *msg, const void *o,
                         const struct object *old)
{
    const struct custom *k = c->kind->custom;
    struct error *err = &c->reply.err;
    struct json *now = custom_tree(c->kind, msg, &c->arena), *before = NULL;
    enum structural_part part = call_is_status(c) ? STRUCTURAL_STATUS : STRUCTURAL_WHOLE;
    int r = k->schema ? structural_validate(k->schema, now, part, o ? NULL : err) : 0;
    if (o && (r < 0 || k->rules))
        before = custom_tree(c->kind, custom_read(c->kind, o, old->rev, &c->arena), &c->arena);
    if (o && r < 0)
        r = structural_validate_update(k->schema, now, before, part, err);
    if (k->scale)
        custom_scale_check(k->scale, now, part == STRUCTURAL_STATUS, err);
    if (!k->rules)
        return;
    if (r < 0 && r != -EDOM) {
        (void)error_cause(err, CAUSE_INVALID, STR("<nil>"),
                          "Invalid value: null: some validation rules were not checked because "
                          "the object was invalid; correct the existing errors to complete "
                          "validation");
        return;
    }
    struct warnings w = {.a = &c->arena};
    rules_validate(k->rules, &(struct rules_object){k->schema, now, before}, err, &w);
    for (uint32_t i = 0; i < w.n; i++)
        api_call_warn(c, "%.*s", STR_ARG(w.v[i]));
}

static void tell_warnings(struct api_call *c, const void *msg, const void *old)
{
    struct warnings w = {.a = &c->arena};

    api_warnings(c->kind, msg, old, &w);
    for (uint32_t i = 0; i < w.n; i++)
        api_call_warn(c, "%.*s", STR_ARG(w.v[i]));
}

int strategy_validate(struct api_call *c, const void *msg, const struct object *old)
{
    const struct api_object_meta *m = msg;
    const struct api_hooks *h = api_hooks_find(c->kind);
    struct error *err = &c->reply.err;
    const void *o = old ? schema_from_storage(c->kind, old->msg, &c->arena) : NULL;
    bool status_only = call_is_status(c);
    api_validate_meta(c->kind, m, o, err);
    (void)!schema_validate(c->kind->desc, msg, o, err);
    if (c->kind->custom)
        custom_check(c, msg, o, old);
    if (status_only) {
        if (h && h->validate_status)
            h->validate_status(msg, o, err);
    } else {
        if (h && h->validate)
            h->validate(msg, err);
        if (h && h->validate_create && !o)
            h->validate_create(msg, err);
        if (o && c->kind == KIND(POD) && str_is(c->subresource, "ephemeralcontainers"))
            pod_validate_ephemeral(msg, o, err);
        else if (o && call_is_resize(c))
            pod_validate_resize(msg, o, err);
        else if (h && h->validate_update && o)
            h->validate_update(msg, o, err);
        if (c->kind == KIND(CUSTOM_RESOURCE_DEFINITION) && !err->n_causes) {
            rules_check(msg, o, err);
            convert_check(msg, o, err);
        }
        if (!err->n_causes)
            policy_check(c->kind, msg, o, err);
        if (!err->n_causes)
            hooks_check(c->kind, msg, o, err);
    }
    if (!err->n_causes && !status_only && !c->user.trusted)
        tell_warnings(c, msg, o);
    return call_invalid(c, m->name.n ? m->name : m->generate_name);
}

/* A namespace waits for its own finalizer list too. */
static bool held(const struct schema_kind *k, const void *msg)
{
    const struct api_object_meta *m = msg;
    if (m->n_finalizers)
        return true;
    return k == KIND(NAMESPACE) && ((const struct api_namespace *)msg)->spec.n_finalizers;
}

int strategy_commit_update(struct api_call *c, void *msg, struct object *old)
{
    struct api_object_meta *m = msg;
    const struct api_object_meta *o = object_meta(old);
    bool graceful = o->has_deletion_grace_period_seconds && o->deletion_grace_period_seconds != 0;
    if (o->deletion_timestamp.set && !graceful && !held(c->kind, msg))
        return call_remove(c, old, old->rev, false);
    struct managed_list now = {m->managed_fields, m->n_managed_fields};
    bool same = managed_same(m, o); /* a later time alone is no change */
    if (same) {
        m->resource_version = o->resource_version; /* before the conversion, which copies it */
        m->managed_fields = o->managed_fields;
        const void *stored = schema_to_storage(c->kind, msg, &c->arena);
        same = schema_equal(old->kind->desc, stored, old->msg);
        m->resource_version = STR_NONE;
        m->managed_fields = now.v;
    }
    if (same) {
        c->reply.object = object_ref(old);
        c->reply.rev = old->rev;
        return 0;
    }
    return call_put(c, msg, old->rev);
}
