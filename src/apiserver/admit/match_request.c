/* One call as admission tells of it: to expressions as values that are read where they are, to
 * webhooks as the JSON of an AdmissionRequest. A built-in kind in another version is converted by
 * way of its stored kind; custom objects have one C form for all versions, so only their schema and
 * apiVersion differ. */
#include "apiserver/admit/match.h"

#include "apiserver/custom/call_view.h"
#include "apiserver/custom/kinds.h"
#include "http/http.h"
#include "schema/custom.h"

const char *admit_op_text(enum admit_op op)
{
    switch (op) {
    case ADMIT_CREATE:
        return "CREATE";
    case ADMIT_UPDATE:
        return "UPDATE";
    case ADMIT_DELETE:
        return "DELETE";
    case ADMIT_CONNECT:
        return "CONNECT";
    case ADMIT_ALL:
        break;
    }
    return "*";
}

/* ---- describing a call ---- */

static void init(struct admit_request *r, struct api_call *c, enum admit_op op,
                 const struct schema_desc *desc, const void *msg, const void *old)
{
    *r = (struct admit_request){.call = c,
                                .op = op,
                                .kind = c->kind,
                                .subresource = c->subresource,
                                .desc = desc,
                                .object = msg,
                                .old = old,
                                .ns = c->ns,
                                .name = c->name,
                                .cost_left = ADMIT_COST_ALL_MAX,
                                .work_left = ADMIT_WORK_ALL_MAX};
    if (c->kind == KIND(NAMESPACE))
        r->ns = r->name;
}

void admit_request_init(struct admit_request *r, struct api_call *c, enum admit_op op,
                        const void *msg, const struct object *old)
{
    const void *before = NULL;
    if (old)
        before = custom_read(c->kind, schema_from_storage(c->kind, old->msg, &c->arena), old->rev,
                             &c->arena);
    init(r, c, op, c->kind->desc, msg, before);
    if (old) { /* deletecollection: the call has no name */
        r->old_rev = old->rev;
        r->name = object_name(old);
        r->ns = c->kind == KIND(NAMESPACE) ? r->name : object_ns(old);
    }
}

void admit_request_init_sub(struct admit_request *r, struct api_call *c, enum admit_op op,
                            const struct schema_desc *desc, const void *msg, const void *old)
{
    init(r, c, op, desc, msg, old);
}

/* A value of the query as a field of the options. */
static void set_option(struct arena *a, const struct schema_desc *desc, void *msg, struct str k,
                       struct str v)
{
    const struct schema_field *f = schema_field_find(desc, k.p, k.n);
    int64_t number;
    if (!f)
        return;
    if (f->flags & SCHEMA_LIST) {
        uint32_t *n = (uint32_t *)(void *)((char *)msg + f->aux);
        char *more = arena_zalloc(a, (size_t)f->elem_size * (*n + 1));
        if (*n)
            memcpy(more, schema_elems(f, msg), (size_t)f->elem_size * *n);
        if (f->type == SCHEMA_STRING)
            memcpy(more + (size_t)f->elem_size * *n, &v, sizeof(v));
        else if (f->type == SCHEMA_INT32 && str_to_i64(v, &number) >= 0)
            memcpy(more + (size_t)f->elem_size * *n, &(int32_t){(int32_t)number}, sizeof(int32_t));
        *(void **)schema_at(f, msg) = more;
        (*n)++;
    } else if (f->type == SCHEMA_BOOL) {
        *(bool *)schema_at(f, msg) = !str_is(v, "false") && !str_is(v, "0") && v.n;
    } else if (f->type == SCHEMA_STRING) {
        *(struct str *)schema_at(f, msg) = v;
    }
}

void admit_request_init_connect(struct admit_request *r, struct api_call *c)
{
    const struct schema_subresource *sub = schema_subresource_find(c->kind, c->subresource);
    const struct schema_desc *desc = sub && sub->desc ? sub->desc : c->kind->desc;
    void *msg = schema_new(desc, &c->arena);
    struct str q = c->query, k, v;
    while (desc != c->kind->desc && http_query_next(&q, &c->arena, &k, &v))
        set_option(&c->arena, desc, msg, k, v);
    init(r, c, ADMIT_CONNECT, desc, desc != c->kind->desc ? msg : NULL, NULL);
}

void admit_request_changed(struct admit_request *r, const void *msg)
{
    r->object = msg;
    memset(r->objects, 0, sizeof(r->objects));
}

bool admit_request_is_exempt(const struct admit_request *r)
{
    static const uint16_t ids[] = {
        KIND_VALIDATING_WEBHOOK_CONFIGURATION, KIND_MUTATING_WEBHOOK_CONFIGURATION,
        KIND_VALIDATING_ADMISSION_POLICY,      KIND_VALIDATING_ADMISSION_POLICY_BINDING,
        KIND_MUTATING_ADMISSION_POLICY,        KIND_MUTATING_ADMISSION_POLICY_BINDING};
    bool is = false;
    for (size_t i = 0; i < ARRAY_LEN(ids) && !r->kind->custom; i++)
        is |= r->kind->id == ids[i];
    return is;
}

/* ---- versions ---- */

static void add_equal(struct admit_request *r, const struct schema_kind *k)
{
    if (k != r->kind && strcmp(k->api_version, r->kind->api_version) != 0)
        r->equals[r->n_equals++] = k;
}

const struct schema_kind *const *admit_request_equals(struct admit_request *r, size_t *ret_n)
{
    struct api_call *c = r->call;
    size_t n = 0;
    if (!r->equals_known && r->kind->custom) {
        struct str name = arena_printf(&c->arena, "%s.%s", r->kind->plural, r->kind->group);
        struct custom *const *v = kinds_versions(c->server->kinds, name, &n);
        r->equals = ARENA_NEW_N(&c->arena, const struct schema_kind *, n + 1);
        for (size_t i = 0; i < n; i++)
            add_equal(r, &v[i]->kind);
    } else if (!r->equals_known) {
        for (size_t i = 0; i < _KIND_MAX; i++)
            n += schema_kinds[i]->storage == r->kind->storage;
        r->equals = ARENA_NEW_N(&c->arena, const struct schema_kind *, n + 1);
        for (size_t i = 0; i < _KIND_MAX && n > 1; i++)
            if (schema_kinds[i]->storage == r->kind->storage)
                add_equal(r, schema_kinds[i]);
    }
    r->equals_known = true;
    *ret_n = r->n_equals;
    return r->equals;
}

const struct schema_desc *admit_request_desc(const struct admit_request *r,
                                             const struct schema_kind *as)
{
    return r->desc == r->kind->desc ? as->desc : r->desc;
}

static const void *convert(struct api_call *c, const struct schema_kind *from,
                           const struct schema_kind *to, const void *msg)
{
    struct arena *a = &c->arena;
    const void *there;
    if (from == to || !msg)
        return msg;
    if (call_view_needed(c, from, to))
        return call_view(c, from, to, msg, &there, NULL) > 0 ? there : NULL;
    if (to->custom)
        return custom_read(to, msg, 0, a);
    return schema_from_storage(to, schema_to_storage(from, msg, a), a);
}

static struct admit_view *view(struct admit_request *r, const struct schema_kind *as, bool old)
{
    struct admit_view *v = old ? r->olds : r->objects;
    size_t i = 0;
    while (i + 1 < ADMIT_VIEWS && v[i].as && v[i].as != as)
        i++;
    if (v[i].as == as)
        return &v[i];
    const void *msg = old ? r->old : r->object;
    v[i] = (struct admit_view){
        .as = as, .msg = r->desc == r->kind->desc ? convert(r->call, r->kind, as, msg) : msg};
    return &v[i];
}

const void *admit_request_msg(struct admit_request *r, const struct schema_kind *as, bool old)
{
    return view(r, as, old)->msg;
}

struct json *admit_request_tree(struct admit_request *r, const struct schema_kind *as, bool old)
{
    struct admit_view *v = view(r, as, old);
    if (v->msg && !v->tree)
        v->tree = schema_to_json(admit_request_desc(r, as), v->msg, SCHEMA_ENCODE_TYPE_META,
                                 &r->call->arena);
    return v->tree;
}

int admit_request_back(struct admit_request *r, const struct schema_kind *as, const void *msg,
                       const void **ret, struct error *err)
{
    *ret = msg;
    if (r->desc != r->kind->desc)
        return 1;
    if (call_view_needed(r->call, as, r->kind))
        return call_view(r->call, as, r->kind, msg, ret, err);
    *ret = convert(r->call, as, r->kind, msg);
    return 1;
}

/* ---- as JSON ---- */

static struct json *put(struct arena *a, struct json *obj, const char *key, struct str s)
{
    if (s.n)
        json_set(obj, str_z(key), json_new_str(a, s));
    return obj;
}

static struct json *three(struct arena *a, const char *group, const char *version, const char *key,
                          const char *what)
{
    struct json *v = json_new_obj(a);
    json_set(v, STR("group"), json_new_str(a, str_z(group)));
    json_set(v, STR("version"), json_new_str(a, str_z(version)));
    json_set(v, str_z(key), json_new_str(a, str_z(what)));
    return v;
}

static struct json *user_tree(struct arena *a, const struct api_user *u)
{
    struct json *v = json_new_obj(a), *groups = json_new_arr(a), *extra = json_new_obj(a);
    uint32_t n = 0;
    const struct kv_extra_value *kv = user_extra(u, a, &n);
    put(a, put(a, v, "username", u->name), "uid", u->uid);
    for (uint32_t i = 0; i < u->n_groups; i++)
        json_push(groups, json_new_str(a, u->groups[i]));
    if (u->n_groups)
        json_set(v, STR("groups"), groups);
    for (uint32_t i = 0; i < n; i++) {
        struct json *values = json_new_arr(a);
        for (uint32_t k = 0; k < kv[i].value.n_items; k++)
            json_push(values, json_new_str(a, kv[i].value.items[k]));
        json_set(extra, kv[i].key, values);
    }
    if (n)
        json_set(v, STR("extra"), extra);
    return v;
}

static void delete_options(struct arena *a, const struct api_call *c, struct json *v)
{
    struct json *pre = json_new_obj(a);
    if (c->del.has_grace)
        json_set(v, STR("gracePeriodSeconds"), json_new_int(a, c->del.grace_s));
    if (c->del.uid.p || c->del.rv.p)
        json_set(v, STR("preconditions"),
                 put(a, put(a, pre, "uid", c->del.uid), "resourceVersion", c->del.rv));
    if (c->del.has_orphan)
        json_set(v, STR("orphanDependents"), json_new_bool(a, c->del.orphan));
    put(a, v, "propagationPolicy", c->del.propagation);
}

/* CreateOptions and the like; absent of a connect. */
static struct json *options_tree(const struct admit_request *r)
{
    const struct api_call *c = r->call;
    struct arena *a = &r->call->arena;
    struct json *v = json_new_obj(a), *dry = json_new_arr(a);
    const char *kind = r->op == ADMIT_DELETE   ? "DeleteOptions"
                       : r->op == ADMIT_CREATE ? "CreateOptions"
                       : c->verb == API_PATCH  ? "PatchOptions"
                                               : "UpdateOptions";
    if (r->op == ADMIT_CONNECT)
        return NULL;
    put(a, put(a, v, "kind", str_z(kind)), "apiVersion", STR("meta.k8s.io/v1"));
    if (r->op == ADMIT_DELETE)
        delete_options(a, c, v);
    if (c->opts.dry_run) {
        json_push(dry, json_new_str(a, STR("All")));
        json_set(v, STR("dryRun"), dry);
    }
    if (c->opts.has_force && c->verb == API_PATCH)
        json_set(v, STR("force"), json_new_bool(a, c->opts.force));
    if (r->op != ADMIT_DELETE)
        put(a, v, "fieldManager", c->opts.field_manager);
    if (r->op != ADMIT_DELETE && c->unknown != SCHEMA_UNKNOWN_IGNORE)
        put(a, v, "fieldValidation",
            c->unknown == SCHEMA_UNKNOWN_STRICT ? STR("Strict") : STR("Warn"));
    return v;
}

/* kind and resource as which the call is asked about. */
static void set_as(struct admit_request *r, const struct schema_kind *as)
{
    struct arena *a = &r->call->arena;
    const struct schema_desc *d = admit_request_desc(r, as);
    json_set(r->info, STR("kind"), three(a, d->group, d->version, "kind", d->name));
    json_set(r->info, STR("resource"), three(a, as->group, as->version, "resource", as->plural));
    r->info_as = as;
}

struct json *admit_request_info(struct admit_request *r, const struct schema_kind *as)
{
    struct arena *a = &r->call->arena;
    const struct schema_kind *k = r->kind;
    const struct schema_desc *d = r->desc;
    if (r->info) {
        if (r->info_as != as)
            set_as(r, as);
        return r->info;
    }
    struct json *v = r->info = json_new_obj(a), *options = options_tree(r);
    set_as(r, as);
    put(a, v, "subResource", r->subresource);
    json_set(v, STR("requestKind"), three(a, d->group, d->version, "kind", d->name));
    json_set(v, STR("requestResource"), three(a, k->group, k->version, "resource", k->plural));
    put(a, v, "requestSubResource", r->subresource);
    put(a, put(a, v, "name", r->name), "namespace", r->ns);
    put(a, v, "operation", str_z(admit_op_text(r->op)));
    json_set(v, STR("userInfo"), user_tree(a, &r->call->user));
    json_set(v, STR("dryRun"), json_new_bool(a, r->call->opts.dry_run));
    if (options)
        json_set(v, STR("options"), options);
    return v;
}

struct object *admit_request_namespace(struct admit_request *r)
{
    if (!r->namespace_known && r->ns.n && r->kind != KIND(NAMESPACE))
        r->namespace_object = store_peek(r->call->server->store, KIND(NAMESPACE), STR_NONE, r->ns);
    r->namespace_known = true;
    return r->namespace_object;
}
