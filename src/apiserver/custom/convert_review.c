/* See convert_review.h. What comes back is from a stranger: its size is bounded before it is
 * parsed, every object is held against the one it was made from, and what is kept of it goes
 * through the schema of the version it claims to be. Order of checks and words are those of
 * apiextensions-apiserver (webhook_converter.go). */
#include "apiserver/custom/convert_review.h"

#include "api/hooks.h"
#include "base/mem.h"

#include <stdarg.h>

struct str convert_kind_text(const struct schema_kind *k, struct arena *a)
{
    return arena_printf(a, "%s, Kind=%s", k->api_version, k->kind);
}

/* ---- the question ---- */

static void source_print(const struct convert_review *r, size_t i, struct buf *out)
{
    struct object *o = r->objects[i];
    const struct custom *from = r->from ? r->from[i] : NULL;
    struct arena a = {0};
    const void *msg = from ? custom_read(&from->kind, o->msg, o->rev, &a) : o->msg;
    schema_encode_json(o->kind->desc, msg, SCHEMA_ENCODE_TYPE_META, out);
    arena_fini(&a);
}

void convert_review_print(const struct convert_review *r, struct buf *out)
{
    buf_printf(out,
               "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/%s\","
               "\"request\":{\"uid\":\"%s\",\"desiredAPIVersion\":\"%s\",\"objects\":[",
               r->v1beta1 ? "v1beta1" : "v1", r->uid, r->to->api_version);
    for (size_t i = 0; i < r->n; i++) {
        if (i)
            buf_add_char(out, ',');
        source_print(r, i, out);
    }
    buf_add_lit(out, "]}}");
}

/* ---- the answer as a whole ---- */

/* All errors but those of single objects. */
static int failed(const struct convert_review *r, struct error *err, const char *fmt, ...)
    PRINTF(3, 4);

static int failed(const struct convert_review *r, struct error *err, const char *fmt, ...)
{
    struct arena a = {0};
    va_list ap;
    ASSERT(r->n > 0);
    va_start(ap, fmt);
    struct str text = arena_vprintf(&a, fmt, ap);
    va_end(ap);
    (void)error_set(err, REASON_INTERNAL, "conversion webhook for %.*s failed: %.*s",
                    STR_ARG(convert_kind_text(r->objects[0]->kind, &a)), STR_ARG(text));
    arena_fini(&a);
    return -EBADMSG;
}

static struct str member(const struct json *v, const char *name)
{
    struct str s = json_get_str(v, str_z(name));
    return s.p ? s : STR("");
}

static int check_envelope(const struct convert_review *r, const struct json *v, struct error *err)
{
    const struct json *response = json_getz(v, "response"), *result;
    const char *version = r->v1beta1 ? "v1beta1" : "v1";
    struct str api = member(v, "apiVersion"), kind = member(v, "kind"), status, message, uid;
    if (!json_is(v, JSON_OBJ))
        return failed(r, err, "the answer is not an object but %s", json_type_name(v));
    if (!str_starts(api, STR("apiextensions.k8s.io/")) ||
        !str_eqz(str_sub(api, strlen("apiextensions.k8s.io/"), api.n), version) ||
        !str_is(kind, "ConversionReview"))
        return failed(r, err,
                      "expected webhook response of apiextensions.k8s.io/%s, "
                      "Kind=ConversionReview, got %.*s, Kind=%.*s",
                      version, STR_ARG(str_sub(api, 0, 256)), STR_ARG(str_sub(kind, 0, 256)));
    if (!json_is(response, JSON_OBJ))
        return failed(r, err, "no response provided");
    uid = member(response, "uid");
    if (!str_eqz(uid, r->uid))
        return failed(r, err, "expected response.uid=\"%s\", got \"%.*s\"", r->uid,
                      STR_ARG(str_sub(uid, 0, 256)));
    result = json_getz(response, "result");
    status = member(result, "status");
    message = member(result, "message");
    if (str_is(status, "Success"))
        return 0;
    if (message.n)
        return failed(r, err, "%.*s", STR_ARG(str_sub(message, 0, 4096)));
    return failed(r, err, "response.result.status was '%.*s', not 'Success'",
                  STR_ARG(str_sub(status, 0, 256)));
}

/* ---- one object ---- */

struct one {
    const struct convert_review *r;
    size_t i;
    const struct object *in;
    struct json *out;
    struct arena *a;
    struct error *err;
};

/* "invalid metadata" is said of the object as a whole, as there. */
static int lies(const struct one *x, const char *what, const char *fmt, ...) PRINTF(3, 4);

static int lies(const struct one *x, const char *what, const char *fmt, ...)
{
    struct str kind = convert_kind_text(x->in->kind, x->a);
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(x->a, fmt, ap);
    va_end(ap);
    if (x->r->n == 1)
        (void)error_set(x->err, REASON_INTERNAL,
                        "conversion webhook for %.*s returned invalid %s: %.*s", STR_ARG(kind),
                        what, STR_ARG(text));
    else
        (void)error_set(x->err, REASON_INTERNAL,
                        "conversion webhook for %.*s returned invalid %s at index %zu: %.*s",
                        STR_ARG(kind),
                        str_is(str_z(what), "object") ? "converted object" : "metadata in object",
                        x->i, STR_ARG(text));
    return -EBADMSG;
}

static int check_type(const struct one *x)
{
    struct str api, kind;
    schema_type_meta(x->out, &api, &kind);
    if (!str_eqz(api, x->r->to->api_version))
        return lies(x, "object", "invalid groupVersion (expected %s, received %.*s)",
                    x->r->to->api_version, STR_ARG(str_sub(api, 0, 256)));
    if (!str_eqz(kind, x->r->to->kind))
        return lies(x, "object", "invalid kind (expected %s, received %.*s)", x->r->to->kind,
                    STR_ARG(str_sub(kind, 0, 256)));
    return 0;
}

static int check_identity(const struct one *x, const struct json *meta)
{
    const struct api_object_meta *in = object_meta(x->in);
    struct str name = member(meta, "name"), ns = member(meta, "namespace"),
               uid = member(meta, "uid");
    if (!str_eq(in->name, name))
        return lies(x, "object", "must have the same name: %.*s != %.*s", STR_ARG(in->name),
                    STR_ARG(str_sub(name, 0, 256)));
    if (!str_eq(in->namespace, ns))
        return lies(x, "object", "must have the same namespace: %.*s != %.*s",
                    STR_ARG(in->namespace), STR_ARG(str_sub(ns, 0, 256)));
    if (!str_eq(in->uid, uid))
        return lies(x, "object", "must have the same UID: %.*s != %.*s", STR_ARG(in->uid),
                    STR_ARG(str_sub(uid, 0, 256)));
    return 0;
}

static int check_strings(const struct one *x, const char *field, const struct json *v)
{
    if (v->type != JSON_OBJ)
        return lies(x, "metadata", "invalid metadata.%s of type %s in converted object", field,
                    json_type_name(v));
    json_for_each(m, v) if (m->type != JSON_STR) return lies(
        x, "metadata", "metadata.%s[%.*s] must be a string, but is %s in converted object", field,
        STR_ARG(str_sub(m->key, 0, 256)), json_type_name(m));
    return 0;
}

static bool same_entries(const struct kv_str *x, uint32_t n, const struct kv_str *y, uint32_t m)
{
    bool same = n == m;
    for (uint32_t i = 0; same && i < n; i++) {
        uint32_t k = 0;
        while (k < m && !str_eq(x[i].key, y[k].key))
            k++;
        same = k < m && str_eq(x[i].value, y[k].value);
    }
    return same;
}

/* Labels and annotations it changed must be good ones: nobody else checks them. */
static int check_marks(const struct one *x, const struct api_object_meta *m)
{
    const struct api_object_meta *in = object_meta(x->in);
    struct error found = {0};
    struct buf text = {0};
    if (!same_entries(m->labels, m->n_labels, in->labels, in->n_labels))
        api_validate_labels(m->labels, m->n_labels, STR("metadata.labels"), &found);
    if (!same_entries(m->annotations, m->n_annotations, in->annotations, in->n_annotations))
        api_validate_annotations(m->annotations, m->n_annotations, STR("metadata.annotations"),
                                 &found);
    int r = 0;
    for (const struct error_cause *c = found.causes; c; c = c->next)
        buf_printf(&text, "%s%.*s: %.*s", text.n ? ", " : "", STR_ARG(c->field),
                   STR_ARG(c->message));
    if (found.n_causes)
        r = lies(x, "metadata", "%s%.*s%s", found.n_causes > 1 ? "[" : "",
                 STR_ARG(str_sub(buf_str(&text), 0, 4096)), found.n_causes > 1 ? "]" : "");
    buf_fini(&text);
    error_fini(&found);
    return r;
}

/* What of the metadata the webhook may decide, alone: the rest needs not even be readable. */
static int reduce_meta(const struct one *x)
{
    static const char *const fields[] = {"labels", "annotations"};
    const struct json *meta = json_getz(x->out, "metadata");
    struct json *mine = json_new_obj(x->a);
    if (!meta)
        return lies(x, "object", "missing metadata in converted object");
    if (meta->type != JSON_OBJ)
        return lies(x, "object", "invalid metadata of type %s in converted object",
                    json_type_name(meta));
    int r = check_identity(x, meta);
    for (size_t i = 0; r >= 0 && i < ARRAY_LEN(fields); i++) {
        const struct json *v = json_get(meta, str_z(fields[i]));
        if (!v || v->type == JSON_NULL)
            continue;
        r = check_strings(x, fields[i], v);
        if (r >= 0)
            json_set(mine, str_z(fields[i]), json_clone(v, x->a));
    }
    if (r >= 0)
        json_set(x->out, STR("metadata"), mine);
    return r;
}

static int decode(const struct one *x, struct object **ret)
{
    const struct schema_desc *desc = x->r->to->desc;
    struct custom_object *msg = schema_new(desc, x->a);
    struct schema_decode opts = {0};
    struct error err = {0};
    int r = 0;
    if (x->r->schema)
        r = custom_take(&x->r->schema->kind, x->out, x->a, &opts, &err);
    if (r >= 0)
        r = schema_decode_json(desc, x->out, x->a, &opts, msg, &err);
    if (r < 0)
        r = lies(x, "object", "%.*s", STR_ARG(str_sub(err.message, 0, 4096)));
    else
        r = check_marks(x, &msg->metadata);
    if (r >= 0) {
        struct api_object_meta made = msg->metadata;
        msg->metadata = *object_meta(x->in);
        msg->metadata.labels = made.labels;
        msg->metadata.n_labels = made.n_labels;
        msg->metadata.annotations = made.annotations;
        msg->metadata.n_annotations = made.n_annotations;
        struct object *o = object_new(x->r->to, msg, x->in->rev);
        if (o->msg_bytes <= CONVERT_OBJECT_BYTES_MAX + x->in->msg_bytes) {
            *ret = o;
        } else {
            r = lies(x, "object", "it is too large: %u bytes", o->msg_bytes);
            object_unref(o);
        }
    }
    error_fini(&err);
    return r;
}

static int read_one(struct one *x, struct object **ret)
{
    if (!json_is(x->out, JSON_OBJ))
        return lies(x, "object", "invalid type, expected=object, got=%s", json_type_name(x->out));
    int r = check_type(x);
    if (r >= 0)
        r = reduce_meta(x);
    return r < 0 ? r : decode(x, ret);
}

int convert_review_read(const struct convert_review *r, struct str answer, struct object **ret,
                        struct error *err)
{
    static const struct json_limits limits = {.values_max = CONVERT_VALUES_MAX};
    struct arena a = {0}, each = {0};
    struct error bad = {0};
    struct json *v, *objects;
    size_t n = 0;
    int res = 0;
    if (answer.n > CONVERT_ANSWER_BYTES_MAX)
        res = failed(r, err, "the answer has more than %u bytes", CONVERT_ANSWER_BYTES_MAX);
    else if (json_parse(answer, &a, &limits, &v, &bad) < 0)
        res = failed(r, err, "%.*s", STR_ARG(str_sub(bad.message, 0, 4096)));
    if (res >= 0)
        res = check_envelope(r, v, err);
    if (res >= 0) {
        objects = json_getz(json_getz(v, "response"), "convertedObjects");
        size_t got = json_is(objects, JSON_ARR) ? objects->n : 0;
        struct str kind = convert_kind_text(r->objects[0]->kind, &a);
        if (got != r->n) {
            (void)error_set(err, REASON_INTERNAL,
                            "conversion webhook for %.*s returned %zu objects, expected %zu",
                            STR_ARG(kind), got, r->n);
            res = -EBADMSG;
        }
    }
    for (struct json *o = res >= 0 ? objects->first : NULL; o && res >= 0; o = o->next) {
        struct one x = {r, n, r->objects[n], o, &each, err};
        res = read_one(&x, &ret[n]);
        n += res >= 0;
        arena_clear(&each);
    }
    while (res < 0 && n > 0) {
        n--;
        ret[n] = object_unref(ret[n]);
    }
    arena_fini(&each);
    arena_fini(&a);
    error_fini(&bad);
    return res;
}
