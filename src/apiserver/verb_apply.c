/* Server-side apply: a patch that is the part of an object its sender has an opinion on. It is
 * merged into the object, what the sender applied before and leaves out now is taken out unless
 * somebody else owns it, and fields that others own are refused, or taken over by force. What comes
 * out is then created or updated like any other body (Kubernetes: KEP 555).
 *
 * All of it happens in one turn against the pending state, so two appliers never race. */
#include "apiserver/managed.h"
#include "apiserver/subresource.h"

#include "base/set.h"
#include "codec/yaml.h"
#include "schema/apply.h"
#include "schema/custom.h"

#define LAST_APPLIED       "kubectl.kubernetes.io/last-applied-configuration"
#define LAST_APPLIED_MAX   ((size_t)256 << 10) /* of all annotations */
#define CONFLICT_CAUSE     "FieldManagerConflict"
#define CONFLICTS_TOLD_MAX 1000 /* paths in one message */

struct apply {
    struct api_call *c;
    struct json *config;
    const struct object *old; /* NULL: create */
    const void *live;         /* as c->kind; empty for a create */
    struct managed_list managers;
    struct json *doc;                    /* the object with the configuration in it */
    struct str last;                     /* what the manager had applied before; empty: nothing */
    const struct schema_desc *last_desc; /* whose fields it names */
    struct str wanted;  /* what it applies now, before what nobody owns is taken away */
    struct str allowed; /* conflicts that are none: kubectl's own from client-side apply */
    void *msg;          /* the result */
};

/* ---- the request ---- */

static int check_options(struct api_call *c)
{
    if (c->opts.field_manager.n)
        return 0;
    (void)error_cause(&c->reply.err, CAUSE_REQUIRED, STR("fieldManager"),
                      "Required value: is required for apply patch");
    c->reply.details_kind = STR("PatchOptions");
    c->reply.details_group = STR("meta.k8s.io");
    c->reply.details_name = STR("");
    return error_invalid(&c->reply.err, STR("PatchOptions.meta.k8s.io"), STR(""));
}

static int parse(struct api_call *c, struct json **ret)
{
    int r = 0;
    *ret = c->patch_tree;
    if (!*ret)
        r = apply_parse(c->patch, &c->arena, ret, &c->reply.err);
    if (r >= 0 && !json_is(*ret, JSON_OBJ))
        r = call_error(c, REASON_BAD_REQUEST, "error decoding YAML: an object is expected, not %s",
                       json_type_name(*ret));
    return r;
}

int apply_parse(struct str text, struct arena *a, struct json **ret, struct error *err)
{
    struct str start = str_trim(text);
    int r = start.n && start.p[0] == '{' ? json_parse(text, a, NULL, ret, NULL) : -EINVAL;
    if (r < 0)
        r = yaml_parse(text, a, ret, err);
    if (r < 0)
        error_prefix(err, "error decoding YAML");
    return r;
}

/* Members that are there twice, by the wish of the caller. */
static int check_duplicates(struct api_call *c, const struct json *v)
{
    struct set there = {0};
    int r = 0;
    if (v->type != JSON_OBJ && v->type != JSON_ARR)
        return 0;
    for (const struct json *m = v->first; m && r >= 0; m = m->next) {
        if (v->type == JSON_OBJ && !set_add(&there, m->key)) {
            if (c->unknown == SCHEMA_UNKNOWN_STRICT)
                r = call_error(c, REASON_BAD_REQUEST,
                               "error strict decoding YAML: key \"%.*s\" already set in map",
                               STR_ARG(m->key));
            else
                api_call_warn(c, "key \"%.*s\" already set in map", STR_ARG(m->key));
        }
        if (r >= 0)
            r = check_duplicates(c, m);
    }
    set_fini(&there);
    return r;
}

static int check_type(struct api_call *c, const struct schema_desc *desc, const struct json *config)
{
    struct str api_version, kind, group = STR(""), version = STR("");
    schema_type_meta(config, &api_version, &kind);
    if (str_eqz(kind, desc->name) && str_eqz(api_version, desc->api_version))
        return 0;
    (void)schema_split_api_version(api_version, &group, &version);
    return call_error(c, REASON_BAD_REQUEST, "invalid object type: %.*s/%.*s, Kind=%.*s",
                      STR_ARG(group), STR_ARG(version), STR_ARG(kind));
}

static int check_meta(struct api_call *c, const struct json *config)
{
    const struct json *m = json_getz(config, "metadata"), *managed = json_getz(m, "managedFields");
    if (managed && managed->type != JSON_NULL)
        return call_error(c, REASON_BAD_REQUEST, "metadata.managedFields must be nil");
    return 0;
}

/* A Scale as the part of its object it speaks of. */
static int config_of_scale(struct api_call *c, const struct json *scale, struct json **ret)
{
    struct json *config = json_new_obj(&c->arena), *spec = json_new_obj(&c->arena);
    struct json *replicas = json_getz(json_getz(scale, "spec"), "replicas");
    struct json *meta = json_getz(scale, "metadata");
    struct str set;
    int r = check_type(c, &api_scale_desc, scale);
    if (r >= 0)
        r = fields_of_tree(&api_scale_desc, scale, &c->arena, &set, &c->reply.err);
    if (r < 0)
        return r;
    json_set(config, STR("apiVersion"), json_new_str(&c->arena, str_z(c->kind->api_version)));
    json_set(config, STR("kind"), json_new_str(&c->arena, str_z(c->kind->kind)));
    if (meta)
        json_set(config, STR("metadata"), json_clone(meta, &c->arena));
    if (replicas && c->kind->custom) {
        custom_scale_config(c, config, json_clone(replicas, &c->arena));
    } else if (replicas) {
        json_set(spec, STR("replicas"), json_clone(replicas, &c->arena));
        json_set(config, STR("spec"), spec);
    }
    *ret = config;
    return 0;
}

static int read_config(struct apply *p)
{
    struct api_call *c = p->c;
    bool scale = str_is(c->subresource, "scale");
    int r = parse(c, &p->config);
    if (r >= 0 && !scale)
        r = check_type(c, c->kind->desc, p->config);
    if (r >= 0)
        r = check_meta(c, p->config);
    if (r >= 0 && c->unknown != SCHEMA_UNKNOWN_IGNORE)
        r = check_duplicates(c, p->config);
    if (r >= 0 && scale)
        r = config_of_scale(c, p->config, &p->config);
    if (r < 0)
        return r;
    r = fields_of_tree(c->kind->desc, p->config, &c->arena, &p->wanted, &c->reply.err);
    if (r < 0)
        error_prefix(&c->reply.err,
                     "failed to create typed patch object (%.*s/%.*s; %s%s, Kind=%s)",
                     STR_ARG(c->ns), STR_ARG(c->name), c->kind->group[0] ? "" : "/",
                     c->kind->api_version, c->kind->kind);
    return r;
}

/* ---- owners ---- */

static void read_managers(struct apply *p)
{
    struct api_call *c = p->c;
    struct fields_diff all;
    p->managers = managed_read(c, p->live);
    if (p->old && !object_meta(p->old)->n_managed_fields &&
        fields_diff(c->kind->desc, schema_new(c->kind->desc, &c->arena), p->live, managed_skip(c),
                    &c->arena, &all)) {
        /* Nobody kept account until now: somebody must own what is there, so that apply does not
         * take it without a word. */
        p->managers.v[p->managers.n++] = (struct api_managed_fields_entry){
            .manager = STR(MANAGED_BEFORE_APPLY),
            .operation = STR("Update"),
            .api_version = str_z(c->kind->api_version),
            .time = timestamp_seconds(rt_wall(c->server->rt)),
            .fields_type = STR("FieldsV1"),
            .fields_v1 = managed_written(c, all.changed),
        };
    }
    const struct api_managed_fields_entry *own = managed_own(c, &p->managers, STR("Apply"));
    p->last_desc = managed_desc(c, own);
    p->last = p->last_desc ? own->fields_v1 : STR_NONE;
}

/* What anybody owns once this is applied. */
static struct str all_owned(struct apply *p)
{
    struct str all = p->wanted;
    const struct api_managed_fields_entry *own = managed_own(p->c, &p->managers, STR("Apply"));
    for (uint32_t i = 0; i < p->managers.n; i++)
        if (&p->managers.v[i] != own && managed_desc(p->c, &p->managers.v[i]))
            all = fields_union(all, p->managers.v[i].fields_v1, &p->c->arena);
    return all;
}

/* ---- the result ---- */

static int check_name(struct apply *p)
{
    struct api_call *c = p->c;
    const struct api_object_meta *m = p->msg;
    if (!m->name.n)
        return call_error(
            c, REASON_BAD_REQUEST,
            "the name of the object (%.*s based on URL) was undeterminable: name must "
            "be provided",
            STR_ARG(c->name));
    if (!str_eq(m->name, c->name))
        return call_error(c, REASON_BAD_REQUEST,
                          "the name of the object (%.*s) does not match the name on the URL (%.*s)",
                          STR_ARG(m->name), STR_ARG(c->name));
    if (c->kind->namespaced && m->namespace.n && !str_eq(m->namespace, c->ns))
        return call_error(c, REASON_BAD_REQUEST,
                          "the namespace of the object (%.*s) does not match the namespace on the "
                          "request (%.*s)",
                          STR_ARG(m->namespace), STR_ARG(c->ns));
    if (!p->old && m->uid.n)
        return call_conflict(
            c, c->name,
            "uid mismatch: the provided object specified uid %.*s, and no existing "
            "object was found",
            STR_ARG(m->uid));
    return 0;
}

static int merge(struct apply *p)
{
    struct api_call *c = p->c;
    const struct schema_desc *desc = c->kind->desc;
    int r;
    if (p->old) {
        struct api_object_meta *view = arena_alloc(&c->arena, desc->size);
        memcpy(view, p->live, desc->size);
        view->managed_fields = NULL;
        view->n_managed_fields = 0;
        view->resource_version = STR_NONE; /* one in the configuration is a precondition */
        p->doc = schema_to_json(desc, view, SCHEMA_ENCODE_TYPE_META, &c->arena);
    }
    /* of a custom kind the result will be changed by its schema: it must not share parts */
    apply_merge(desc, &p->doc, c->kind->custom ? json_clone(p->config, &c->arena) : p->config,
                &c->arena);
    if (!fields_contain(p->wanted, p->last)) /* something is left out */
        apply_prune(p->last_desc, p->doc, p->last, all_owned(p), &c->arena);
    p->msg = schema_new(desc, &c->arena);
    r = schema_decode_json(desc, p->doc, &c->arena, NULL, p->msg, &c->reply.err);
    return r < 0 ? r : check_name(p);
}

/* What the schema of a custom kind adds and takes away belongs to nobody: it is done when the
 * owners are known. */
static int complete(struct apply *p)
{
    struct api_call *c = p->c;
    struct schema_decode opts = {.unknown = SCHEMA_UNKNOWN_IGNORE};
    if (!c->kind->custom)
        return 0;
    int r = custom_take(c->kind, p->doc, &c->arena, &opts, &c->reply.err);
    if (r >= 0)
        r = schema_decode_json(c->kind->desc, p->doc, &c->arena, NULL, p->msg, &c->reply.err);
    return r;
}

/* ---- conflicts ---- */

struct told {
    struct api_call *c;
    const struct api_managed_fields_entry *who;
    struct str name; /* of the manager, for people */
    struct buf paths;
    unsigned n;
};

static struct str manager_text(struct api_call *c, const struct api_managed_fields_entry *e)
{
    struct buf b = {0};
    json_print_str(e->manager, &b);
    if (e->subresource.n)
        buf_printf(&b, " with subresource \"%.*s\"", STR_ARG(e->subresource));
    if (str_is(e->operation, "Update"))
        buf_printf(&b, " using %.*s", STR_ARG(e->api_version));
    struct str s = arena_str(&c->arena, buf_str(&b));
    buf_fini(&b);
    return s;
}

static void tell_path(void *arg, struct str path)
{
    struct told *t = arg;
    if (t->n++ >= CONFLICTS_TOLD_MAX)
        return;
    (void)error_cause(&t->c->reply.err, CONFLICT_CAUSE, arena_str(&t->c->arena, path),
                      "conflict with %.*s", STR_ARG(t->name));
    buf_printf(&t->paths, "\n- %.*s", STR_ARG(path));
}

/* The names alone must not decide the order: it is that of whole owners, as JSON. */
static int owner_cmp(const void *a, const void *b)
{
    const struct api_managed_fields_entry *x = a, *y = b;
    int r = str_cmp(x->manager, y->manager);
    if (!r)
        r = str_cmp(x->operation, y->operation);
    if (!r)
        r = str_cmp(x->api_version, y->api_version);
    return r ? r : str_cmp(x->subresource, y->subresource);
}

static int refuse(struct api_call *c, struct managed_list *conflicts)
{
    struct told t = {.c = c};
    struct buf text = {0};
    struct str path;
    error_clear(&c->reply.err);
    qsort(conflicts->v, conflicts->n, sizeof(*conflicts->v), owner_cmp);
    for (uint32_t i = 0; i < conflicts->n; i++) {
        t.who = &conflicts->v[i];
        t.name = manager_text(c, t.who);
        buf_clear(&t.paths);
        fields_each(t.who->fields_v1, tell_path, &t);
        buf_printf(&text, "%sconflicts with %.*s:", i ? "\n" : "", STR_ARG(t.name));
        buf_add_str(&text, buf_str(&t.paths));
    }
    path = str_sub(buf_str(&t.paths), 3, t.paths.n);
    struct str message =
        t.n == 1 ? arena_printf(&c->arena, "Apply failed with 1 conflict: conflict with %.*s: %.*s",
                                STR_ARG(t.name), STR_ARG(path))
                 : arena_printf(&c->arena, "Apply failed with %u conflicts: %.*s", t.n,
                                STR_ARG(buf_str(&text)));
    buf_fini(&text);
    buf_fini(&t.paths);
    c->reply.err.message = STR_NONE;
    return error_set(&c->reply.err, REASON_CONFLICT, "%.*s", STR_ARG(message));
}

/* Fields whose value is still the one that kubectl applied from the client's side: its own server-
 * side apply may have them. */
static struct str own_by_annotation(struct apply *p)
{
    struct api_call *c = p->c;
    const struct api_object_meta *m = p->live;
    const struct schema_desc *desc = c->kind->desc;
    struct fields_diff d;
    struct json *v;
    struct str set, text = STR_NONE;
    for (uint32_t i = 0; i < m->n_annotations; i++)
        if (str_is(m->annotations[i].key, LAST_APPLIED))
            text = m->annotations[i].value;
    if (!text.n || !str_is(c->opts.field_manager, "kubectl") ||
        json_parse(text, &c->arena, NULL, &v, NULL) < 0 || v->type != JSON_OBJ ||
        !str_eqz(json_get_str(v, STR("apiVersion")), c->kind->api_version) ||
        fields_of_tree(desc, v, &c->arena, &set, NULL) < 0)
        return STR_NONE;
    void *msg = schema_new(desc, &c->arena);
    if (schema_decode_json(desc, v, &c->arena, NULL, msg, NULL) < 0)
        return STR_NONE;
    if (fields_diff(desc, msg, p->live, NULL, &c->arena, &d)) {
        set = fields_difference(set, d.changed, &c->arena);
        set = fields_difference(set, d.removed, &c->arena);
    }
    return set;
}

/* Takes from the others what is changed or gone; 409 when that needs force. */
static int take_over(struct apply *p, struct managed_change *change)
{
    struct api_call *c = p->c;
    const struct api_managed_fields_entry *own = managed_own(c, &p->managers, STR("Apply"));
    struct managed_list conflicts = {
        .v = ARENA_NEW_N(&c->arena, struct api_managed_fields_entry, p->managers.n + 1)};
    for (uint32_t i = 0; i < p->managers.n && !c->opts.force; i++) {
        const struct api_managed_fields_entry *e = &p->managers.v[i];
        const struct fields_diff *d = e == own ? NULL : managed_change_for(change, e);
        if (!d || !fields_intersect(e->fields_v1, d->changed))
            continue;
        struct str set = fields_intersection(e->fields_v1, d->changed, &c->arena);
        if (!fields_empty(p->allowed))
            set = fields_difference(set, p->allowed, &c->arena);
        if (fields_empty(set))
            continue;
        conflicts.v[conflicts.n] = *e;
        conflicts.v[conflicts.n++].fields_v1 = set;
    }
    if (conflicts.n)
        return refuse(c, &conflicts);
    for (uint32_t i = 0; i < p->managers.n; i++) {
        struct api_managed_fields_entry *e = &p->managers.v[i];
        const struct fields_diff *d = e == own ? NULL : managed_change_for(change, e);
        if (!d)
            continue;
        e->fields_v1 = fields_difference(e->fields_v1, d->changed, &c->arena);
        e->fields_v1 = fields_difference(e->fields_v1, d->removed, &c->arena);
    }
    return 0;
}

static int settle_owners(struct apply *p)
{
    struct api_call *c = p->c;
    struct managed_change change = {.c = c, .old = p->live, .new = p->msg};
    const struct api_managed_fields_entry us = {.api_version = str_z(c->kind->api_version)};
    struct api_managed_fields_entry *own;
    struct str set =
        managed_written(c, fields_strip(c->kind->desc, p->wanted, managed_skip(c), &c->arena));
    const struct fields_diff *d = managed_change_for(&change, &us);
    bool changed = !fields_empty(d->changed) || !fields_empty(d->removed);
    int r;
    p->allowed = STR_NONE;
    if (!c->opts.force && changed)
        p->allowed = own_by_annotation(p);
    r = changed ? take_over(p, &change) : 0;
    if (r < 0)
        return r;
    own = managed_own(c, &p->managers, STR("Apply"));
    if (changed || !str_eq(own->fields_v1, set))
        own->time = timestamp_seconds(rt_wall(c->server->rt));
    own->api_version = str_z(c->kind->api_version);
    own->fields_v1 = set;
    struct api_object_meta *m = p->msg;
    managed_write(c, &p->managers, m);
    struct managed_list *l = ARENA_NEW(&c->arena, struct managed_list);
    *l = (struct managed_list){m->managed_fields, m->n_managed_fields};
    c->managed = l;
    return 0;
}

/* ---- kubectl's annotation ---- */

/* Who applies from the server's side keeps the annotation of the client's side up to date, so that
 * one can go back to it. */
static void update_annotation(struct apply *p)
{
    struct api_object_meta *m = p->msg;
    struct kv_str *a = NULL;
    size_t total = 0;
    struct buf b = {0};
    if (!str_is(p->c->opts.field_manager, "kubectl"))
        return;
    for (uint32_t i = 0; i < m->n_annotations; i++) {
        total += m->annotations[i].key.n + m->annotations[i].value.n;
        if (str_is(m->annotations[i].key, LAST_APPLIED))
            a = &m->annotations[i];
    }
    if (!a)
        return;
    struct json *config = json_clone(p->config, &p->c->arena);
    struct json *annotations = json_getz(json_getz(config, "metadata"), "annotations");
    if (json_is(annotations, JSON_OBJ))
        (void)json_remove(annotations, STR(LAST_APPLIED));
    json_print(config, &b);
    buf_add_char(&b, '\n');
    a->value = total - a->value.n + b.n > LAST_APPLIED_MAX ? STR("")
                                                           : arena_str(&p->c->arena, buf_str(&b));
    buf_fini(&b);
}

/* ---- the verb ---- */

int verb_apply(struct api_call *c)
{
    struct object *old = call_peek(c);
    struct apply p = {.c = c, .old = old};
    int r = check_options(c);
    if (r >= 0)
        r = read_config(&p);
    if (r < 0)
        return r;
    if (!old && c->subresource.n)
        return call_not_found(c, c->kind, c->name);
    if (!old && (r = authz_also(c, STR("create"))) < 0)
        return r;
    if (!old && !(c->kind->verbs & SCHEMA_VERB_CREATE))
        return call_not_found(c, c->kind, c->name);
    p.live = old ? custom_read(c->kind, schema_from_storage(c->kind, old->msg, &c->arena), old->rev,
                               &c->arena)
                 : schema_new(c->kind->desc, &c->arena);
    read_managers(&p);
    r = merge(&p);
    if (r >= 0)
        r = settle_owners(&p);
    if (r >= 0)
        r = complete(&p);
    if (r < 0)
        return r;
    update_annotation(&p);
    c->body = p.msg;
    c->body_desc = c->kind->desc;
    if (!old)
        return verb_create(c);
    if (str_is(c->subresource, "scale")) { /* the whole object is there: no need to go through it */
        c->answer_scale = true;
        return verb_update(c);
    }
    return subresource_is_special(c) ? subresource_run(c) : verb_update(c);
}
