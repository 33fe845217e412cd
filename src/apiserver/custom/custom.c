/* What objects of custom kinds need beyond the engine: their Scale, whose fields lie where their
 * definition says. The object is changed as a tree, since it has no fields to the program. */
#include "apiserver/subresource.h"
#include "schema/custom.h"

static int32_t number_at(const struct jsonpath *p, const struct json *tree, bool *ret_there)
{
    const struct json *v = jsonpath_first(p, tree);
    *ret_there = json_is(v, JSON_INT) && v->i >= INT32_MIN && v->i <= INT32_MAX;
    return *ret_there ? (int32_t)v->i : 0;
}

bool custom_scale_fill(struct api_call *c, const struct object *o, struct api_scale *s)
{
    const struct custom_scale *scale = c->kind->custom->scale;
    bool there = false, any;
    if (!scale)
        return false;
    struct json *tree = custom_tree(c->kind, o->msg, &c->arena);
    s->spec.replicas = number_at(scale->spec_replicas, tree, &there);
    s->status.replicas = number_at(scale->status_replicas, tree, &any);
    const struct json *sel = scale->selector ? jsonpath_first(scale->selector, tree) : NULL;
    if (json_is(sel, JSON_STR))
        s->status.selector = sel->s;
    return there;
}

static void put_at(struct api_call *c, const struct jsonpath *p, struct json *tree, struct json *v)
{
    struct json *at = tree;
    size_t i = 0;
    for (; jsonpath_member(p, i + 1).p; i++) {
        struct json *next = json_get(at, jsonpath_member(p, i));
        if (!json_is(next, JSON_OBJ)) {
            next = json_new_obj(&c->arena);
            json_set(at, jsonpath_member(p, i), next);
        }
        at = next;
    }
    json_set(at, jsonpath_member(p, i), v);
}

void custom_scale_config(struct api_call *c, struct json *config, struct json *replicas)
{
    const struct custom_scale *scale = c->kind->custom->scale;
    if (scale)
        put_at(c, scale->spec_replicas, config, replicas);
}

void *custom_scale_put(struct api_call *c, const struct object *o, int32_t replicas)
{
    const struct custom_scale *scale = c->kind->custom->scale;
    void *msg = schema_new(c->kind->desc, &c->arena);
    if (!scale)
        return NULL;
    struct json *tree = custom_tree(c->kind, o->msg, &c->arena);
    put_at(c, scale->spec_replicas, tree, json_new_int(&c->arena, replicas));
    return schema_decode_json(c->kind->desc, tree, &c->arena, NULL, msg, &c->reply.err) < 0 ? NULL
                                                                                            : msg;
}

/* ---- what a Scale is read from ---- */

static const char *type_in_go(const struct json *v)
{
    static const char *const names[] = {
        "<nil>", "bool", "int64", "float64", "string", "[]interface {}", "map[string]interface {}"};
    return names[v->type];
}

static struct str path_of(const struct jsonpath *p, struct buf *b)
{
    buf_clear(b);
    for (size_t i = 0; jsonpath_member(p, i).p; i++)
        buf_printf(b, ".%.*s", STR_ARG(jsonpath_member(p, i)));
    return buf_str(b);
}

static void wrong(struct error *err, const struct jsonpath *p, const struct json *v,
                  const char *zero, const char *wanted)
{
    struct buf path = {0}, value = {0};
    struct str at = path_of(p, &path);
    if (v->type == JSON_STR)
        buf_add_str(&value, v->s);
    else if (v->type == JSON_NULL)
        buf_add_lit(&value, "<nil>");
    else
        json_print(v, &value);
    (void)error_cause(err, CAUSE_INVALID, at,
                      "Invalid value: %s: %.*s accessor error: %.*s is of the type %s, expected %s",
                      zero, STR_ARG(at), (int)MIN(value.n, (size_t)200), value.data, type_in_go(v),
                      wanted);
    buf_fini(&path);
    buf_fini(&value);
}

static void number_check(struct error *err, const struct jsonpath *p, const struct json *tree)
{
    const struct json *v = jsonpath_first(p, tree);
    struct buf path = {0};
    if (!v)
        return;
    if (v->type != JSON_INT)
        wrong(err, p, v, "0", "int64");
    else if (v->i < 0)
        (void)error_cause(err, CAUSE_INVALID, path_of(p, &path),
                          "Invalid value: %lld: should be a non-negative integer", (long long)v->i);
    else if (v->i > INT32_MAX)
        (void)error_cause(err, CAUSE_INVALID, path_of(p, &path),
                          "Invalid value: %lld: should be less than or equal to %d",
                          (long long)v->i, INT32_MAX);
    buf_fini(&path);
}

void custom_scale_check(const struct custom_scale *scale, const struct json *tree, bool status,
                        struct error *err)
{
    if (!status)
        number_check(err, scale->spec_replicas, tree);
    number_check(err, scale->status_replicas, tree);
    const struct json *sel = scale->selector ? jsonpath_first(scale->selector, tree) : NULL;
    if (sel && sel->type != JSON_STR)
        wrong(err, scale->selector, sel, "\"\"", "string");
}

int custom_scale_absent(struct api_call *c)
{
    const struct custom_scale *scale = c->kind->custom->scale;
    struct buf path = {0};
    if (!scale)
        return call_error(c, REASON_NOT_FOUND, "the server could not find the requested resource");
    int r = call_error(c, REASON_INTERNAL,
                       "Internal error occurred: the spec replicas field \"%.*s\" does not exist",
                       STR_ARG(path_of(scale->spec_replicas, &path)));
    buf_fini(&path);
    return r;
}
