/* What the expressions of a mutating policy give, put to an object as JSON: an apply configuration,
 * merged as server-side apply merges (nobody's ownership changes), or the steps of a JSON patch.
 * Kubernetes: policy/mutating/patch. */
#include "apiserver/policy/policy_int.h"

#include "schema/apply.h"
#include "schema/custom.h"
#include "schema/fields.h"
#include "schema/patch.h"

/* ---- apply configurations: what they may not speak of ---- */

/* Lists, maps and structs that are replaced as a whole: to set one member of them would remove all
 * others, which nobody means. */
struct atomics {
    struct arena *a;
    struct buf found;
};

static void add_atomic(struct atomics *f, struct str path)
{
    buf_printf(&f->found, "%s%.*s", f->found.n ? ", " : "", STR_ARG(path));
}

static void atomics_of_msg(struct atomics *f, const struct schema_desc *desc, const struct json *v,
                           struct str path)
{
    if (!json_is(v, JSON_OBJ))
        return;
    if (desc->flags & SCHEMA_DESC_ATOMIC)
        add_atomic(f, path);
    json_for_each(m, v)
    {
        const struct schema_field *x = schema_field_find(desc, m->key.p, m->key.n);
        struct str at = arena_printf(f->a, "%.*s.%.*s", STR_ARG(path), STR_ARG(m->key));
        unsigned i = 0;
        if (!x || m->type == JSON_NULL)
            continue;
        bool list = x->flags & SCHEMA_LIST;
        if (list ? x->rules->list_type == SCHEMA_LIST_ATOMIC
                 : (x->flags & SCHEMA_ATOMIC) && m->type == JSON_OBJ)
            add_atomic(f, at);
        else if (!list && x->type == SCHEMA_MSG && !(x->flags & SCHEMA_MAP))
            atomics_of_msg(f, x->msg, m, at);
        if (list && x->type == SCHEMA_MSG && m->type == JSON_ARR)
            json_for_each(e, m)
                atomics_of_msg(f, x->msg, e, arena_printf(f->a, "%.*s[%u]", STR_ARG(at), i++));
    }
}

static void atomics_of_node(struct atomics *f, const struct structural_node *n,
                            const struct json *v, struct str path)
{
    unsigned i = 0;
    if (!n || (v->type != JSON_OBJ && v->type != JSON_ARR))
        return;
    if (v->type == JSON_ARR ? n->list_type == SCHEMA_LIST_ATOMIC : n->map_atomic) {
        add_atomic(f, path);
        return;
    }
    json_for_each(m, v)
    {
        struct str at = v->type == JSON_ARR
                            ? arena_printf(f->a, "%.*s[%u]", STR_ARG(path), i++)
                            : arena_printf(f->a, "%.*s.%.*s", STR_ARG(path), STR_ARG(m->key));
        const struct structural_node *below =
            v->type == JSON_ARR ? n->items : structural_prop(n, m->key);
        atomics_of_node(f, below ? below : n->additional, m, at);
    }
}

/* ---- the two forms ---- */

static int mutation_apply(const struct schema_kind *k, const struct schema_desc *desc,
                          struct json **doc, struct json *config, struct arena *a,
                          struct error *err)
{
    struct atomics f = {.a = a};
    struct str fields;
    bool custom = desc->flags & SCHEMA_DESC_REST;
    json_set(config, STR("apiVersion"), json_new_str(a, str_z(desc->api_version)));
    json_set(config, STR("kind"), json_new_str(a, str_z(desc->name)));
    int r = fields_of_tree(desc, config, a, &fields, err);
    if (r < 0) {
        error_prefix(err, "error applying patch: failed to convert patch object to typed object");
        return r;
    }
    if (custom) {
        json_for_each(m, config) if (!str_is(m->key, "metadata"))
            atomics_of_node(&f, structural_prop(k->custom->schema->root, m->key), m,
                            arena_printf(a, ".%.*s", STR_ARG(m->key)));
    } else {
        atomics_of_msg(&f, desc, config, STR(""));
    }
    if (f.found.n)
        r = error_set(err, REASON_BAD_REQUEST,
                      "error applying patch: invalid ApplyConfiguration: may not mutate atomic "
                      "arrays, maps or structs: %.*s",
                      STR_ARG(buf_str(&f.found)));
    buf_fini(&f.found);
    if (r >= 0) /* a custom object is changed by its schema: it must not share parts */
        apply_merge(desc, doc, custom ? json_clone(config, a) : config, a);
    return r;
}

static int take_member(const struct json *step, struct json *out, const char *name)
{
    struct json *v = json_get(step, str_z(name));
    if (!v || (strcmp(name, "from") == 0 && v->type == JSON_STR && !v->s.n))
        return 0;
    (void)json_remove((struct json *)(uintptr_t)step, str_z(name));
    v->next = NULL;
    json_set(out, str_z(name), v);
    return 1;
}

/* 1: applied; 0: a test said no, and nothing is to be done. */
static int mutation_patch(struct json **doc, struct json *steps, struct arena *a, struct error *err)
{
    static const char *const names[] = {"op", "path", "from", "value"};
    struct json *ops = json_new_arr(a);
    if (steps->type != JSON_ARR)
        return error_set(err, REASON_BAD_REQUEST,
                         "type mismatch: JSONPatchType.expression should evaluate to array");
    json_for_each(step, steps)
    {
        struct json *op = json_new_obj(a);
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            (void)take_member(step, op, names[i]);
        json_push(ops, op);
    }
    int r = patch_json(doc, ops, a, err);
    if (r < 0 && str_search(err->message, STR("testing value failed")) >= 0) {
        error_clear(err);
        return 0;
    }
    if (r < 0)
        error_prefix(err, "JSONPath");
    return r < 0 ? r : 1;
}

int policy_patch(const struct policy_mutation *m, const struct schema_kind *k,
                 const struct schema_desc *desc, struct json **doc, const struct cel_value *value,
                 struct arena *a, struct error *err)
{
    struct json *change;
    int r = cel_to_json(value, a, &change, err);
    if (r < 0)
        return r;
    if (!m->apply)
        return mutation_patch(doc, change, a, err);
    if (change->type != JSON_OBJ)
        return error_set(err, REASON_BAD_REQUEST,
                         "unsupported return type from ApplyConfiguration expression: %s",
                         json_type_name(change));
    r = mutation_apply(k, desc, doc, change, a, err);
    return r < 0 ? r : 1;
}
