/* The forms webhooks speak. An answer comes from whoever the configuration names: every member is
 * looked at for its type, everything is bounded, and what does not concern us is passed over.
 * Kubernetes: apiserver/pkg/admission/plugin/webhook/request. */
#include "apiserver/hooks/hook_review.h"

#include "api/hooks.h"
#include "api/types.gen.h"
#include "codec/base64.h"
#include "schema/custom.h"
#include "schema/patch.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- the question ---- */

static void print_object(const char *key, const struct schema_desc *desc, const void *msg,
                         struct buf *out)
{
    buf_printf(out, ",\"%s\":", key);
    if (msg)
        schema_encode_json(desc, msg, SCHEMA_ENCODE_TYPE_META, out);
    else
        buf_add_lit(out, "null");
}

void review_print(const struct review_question *q, struct buf *out)
{
    struct str members = str_sub(q->info, 1, q->info.n - 1); /* without its braces */
    buf_printf(out, "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/%s\",",
               q->v1 ? "v1" : "v1beta1");
    buf_add_lit(out, "\"request\":{\"uid\":");
    json_print_str(q->uid, out);
    if (members.n)
        buf_add_char(out, ',');
    buf_add_str(out, members);
    print_object("object", q->desc, q->object, out);
    print_object("oldObject", q->desc, q->old, out);
    buf_add_lit(out, "}}");
}

/* ---- the answer ---- */

static int no_answer(struct error *err, const char *fmt, ...) PRINTF(2, 3);
static int no_answer(struct error *err, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)error_set(err, REASON_INTERNAL, "%s", text);
    return -EPROTO;
}

#define INVALID "received invalid webhook response: "

static int check_version(const struct json *v, const struct review_question *q, struct error *err)
{
    struct str api_version, kind, group = STR(""), version = STR("");
    schema_type_meta(v, &api_version, &kind);
    if (!q->v1 && !api_version.n && !kind.n)
        return 0; /* v1beta1 did not look */
    if (str_is(kind, "AdmissionReview") &&
        str_eqz(api_version, q->v1 ? "admission.k8s.io/v1" : "admission.k8s.io/v1beta1"))
        return 0;
    if (!kind.n)
        return no_answer(err, "failed to call webhook: Object 'Kind' is missing in the response");
    (void)schema_split_api_version(api_version, &group, &version);
    return no_answer(err, INVALID "expected webhook response of %s, got %.*s/%.*s, Kind=%.*s",
                     q->v1 ? "admission.k8s.io/v1, Kind=AdmissionReview"
                           : "admission.k8s.io/v1beta1, Kind=AdmissionReview",
                     (int)MIN(group.n, (size_t)100), group.p ? group.p : "",
                     (int)MIN(version.n, (size_t)100), version.p ? version.p : "",
                     (int)MIN(kind.n, (size_t)100), kind.p ? kind.p : "");
}

/* A member that is absent, null, or of the type; else the answer cannot be read. */
static int member(const struct json *v, const char *key, enum json_type type,
                  const struct json **ret, struct error *err)
{
    *ret = json_get(v, str_z(key));
    if (!*ret || (*ret)->type == JSON_NULL) {
        *ret = NULL;
        return 0;
    }
    if ((*ret)->type != type)
        return no_answer(err,
                         "failed to call webhook: json: cannot unmarshal %s into field "
                         "AdmissionResponse.%s",
                         json_type_name(*ret), key);
    return 0;
}

static int read_lists(const struct json *v, struct arena *a, struct review_answer *ret,
                      struct error *err)
{
    const struct json *warnings, *notes;
    int r = member(v, "warnings", JSON_ARR, &warnings, err);
    if (r >= 0)
        r = member(v, "auditAnnotations", JSON_OBJ, &notes, err);
    if (r < 0)
        return r;
    ret->warnings = ARENA_NEW_N(a, struct str, REVIEW_WARNINGS_MAX);
    ret->annotations = ARENA_NEW_N(a, struct kv_str, REVIEW_ANNOTATIONS_MAX);
    for (const struct json *m = warnings ? warnings->first : NULL; m; m = m->next) {
        if (m->type != JSON_STR)
            return no_answer(err,
                             "failed to call webhook: json: cannot unmarshal %s into field "
                             "AdmissionResponse.warnings of type string",
                             json_type_name(m));
        if (ret->n_warnings < REVIEW_WARNINGS_MAX)
            ret->warnings[ret->n_warnings++] = m->s;
    }
    for (const struct json *m = notes ? notes->first : NULL; m; m = m->next) {
        if (m->type != JSON_STR)
            return no_answer(err,
                             "failed to call webhook: json: cannot unmarshal %s into field "
                             "AdmissionResponse.auditAnnotations of type string",
                             json_type_name(m));
        if (ret->n_annotations < REVIEW_ANNOTATIONS_MAX)
            ret->annotations[ret->n_annotations++] =
                (struct kv_str){str_sub(m->key, 0, 256), str_sub(m->s, 0, REVIEW_TEXT_BYTES_MAX)};
    }
    return 0;
}

static int parse_patch(struct str text, struct arena *a, struct review_answer *ret,
                       struct error *err)
{
    const struct json_limits limits = {.values_max = REVIEW_VALUES_MAX};
    struct json *patch;
    int r = json_parse(text, a, &limits, &patch, err);
    if (r >= 0 && patch->type != JSON_ARR)
        r = error_set(err, REASON_BAD_REQUEST, "a JSON patch is an array, not %s",
                      json_type_name(patch));
    if (r < 0)
        return -EBADMSG;
    ret->patch_text = text;
    ret->patch = patch->n ? patch : NULL;
    return 0;
}

static int read_patch(const struct json *v, const struct review_question *q, struct arena *a,
                      struct review_answer *ret, struct error *err)
{
    const struct json *patch, *type;
    struct str text = STR("");
    int r = member(v, "patch", JSON_STR, &patch, err);
    if (r >= 0)
        r = member(v, "patchType", JSON_STR, &type, err);
    if (r < 0)
        return r;
    if (patch && base64_parse(patch->s, a, &text) < 0)
        return no_answer(err, "failed to call webhook: illegal base64 data in response.patch");
    if (text.n && !type && q->v1)
        return no_answer(err, INVALID "webhook returned response.patch but not response.patchType");
    if (!text.n && type && q->v1)
        return no_answer(err, INVALID "webhook returned response.patchType but not response.patch");
    if (text.n && type && !str_is(type->s, "JSONPatch"))
        return no_answer(err, "unsupported patch type \"%.*s\"", (int)MIN(type->s.n, (size_t)100),
                         type->s.p);
    return text.n && ret->allowed ? parse_patch(text, a, ret, err) : 0;
}

static int read_status(const struct json *v, struct arena *a, struct review_answer *ret,
                       struct error *err)
{
    const struct json *status;
    int r = member(v, "status", JSON_OBJ, &status, err);
    if (r < 0 || !status)
        return r;
    struct api_status *st = ARENA_NEW(a, struct api_status);
    struct error why = {0};
    if (schema_decode_json(&api_status_desc, status, a, NULL, st, &why) < 0)
        r = no_answer(err, "failed to call webhook: response.status: %.*s",
                      (int)MIN(why.message.n, (size_t)300), why.message.p ? why.message.p : "");
    error_fini(&why);
    ret->status = st;
    return r;
}

int review_parse(struct str body, const struct review_question *q, bool mutating, struct arena *a,
                 struct review_answer *ret, struct error *err)
{
    const struct json_limits limits = {.values_max = REVIEW_VALUES_MAX};
    struct error why = {0};
    struct json *v;
    const struct json *response, *uid, *allowed;
    int r = json_parse(body, a, &limits, &v, &why);
    *ret = (struct review_answer){0};
    if (r < 0)
        r = no_answer(err,
                      "failed to call webhook: couldn't get version/kind; json parse error: %.*s",
                      (int)MIN(why.message.n, (size_t)300), why.message.p ? why.message.p : "");
    else if (v->type != JSON_OBJ)
        r = no_answer(err,
                      "failed to call webhook: couldn't get version/kind; json parse error: an "
                      "object is expected, not %s",
                      json_type_name(v));
    error_fini(&why);
    if (r >= 0)
        r = check_version(v, q, err);
    if (r >= 0)
        r = member(v, "response", JSON_OBJ, &response, err);
    if (r < 0)
        return r;
    if (!response)
        return no_answer(err, INVALID "webhook response was absent");
    r = member(response, "uid", JSON_STR, &uid, err);
    if (r >= 0)
        r = member(response, "allowed", JSON_BOOL, &allowed, err);
    if (r < 0)
        return r;
    if ((q->v1 || uid) && (!uid || !str_eq(uid->s, q->uid)))
        return no_answer(err, INVALID "expected response.uid=\"%.*s\", got \"%.*s\"",
                         STR_ARG(q->uid), uid ? (int)MIN(uid->s.n, (size_t)100) : 0,
                         uid ? uid->s.p : "");
    ret->allowed = allowed && allowed->b;
    r = read_status(response, a, ret, err);
    if (r >= 0)
        r = read_lists(response, a, ret, err);
    if (r >= 0 && mutating)
        r = read_patch(response, q, a, ret, err);
    return r;
}

/* ---- its patch ---- */

int review_apply(const struct schema_kind *kind, const struct schema_desc *desc, const void *msg,
                 const struct review_answer *w, struct arena *a, void **ret, struct error *err)
{
    bool own = desc == kind->desc;
    struct schema_decode opts = {.unknown = SCHEMA_UNKNOWN_IGNORE};
    struct str api_version, name;
    if (own && str_search(w->patch_text, STR("managedFields")) < 0) {
        struct api_object_meta *view = arena_alloc(a, desc->size); /* half of the work saved */
        memcpy(view, msg, desc->size);
        view->managed_fields = NULL;
        view->n_managed_fields = 0;
        msg = view;
    }
    struct json *doc = schema_to_json(desc, msg, SCHEMA_ENCODE_TYPE_META, a);
    int r = patch_json(&doc, w->patch, a, err);
    if (r >= 0 && doc->type != JSON_OBJ)
        r = error_set(err, REASON_INVALID, "the patched object is no object");
    if (r < 0)
        return r;
    schema_type_meta(doc, &api_version, &name);
    if (!str_eqz(api_version, desc->api_version) || !str_eqz(name, desc->name))
        return error_set(err, REASON_INVALID,
                         "the patch makes a %.*s of %.*s of the object, which cannot be",
                         STR_ARG(name), STR_ARG(api_version));
    *ret = schema_new(desc, a);
    if (own)
        r = custom_take(kind, doc, a, &opts, err);
    if (r >= 0)
        r = schema_decode_json(desc, doc, a, &opts, *ret, err);
    if (r < 0)
        return r;
    if (own)
        api_default(kind, *ret, a);
    else
        schema_default(desc, *ret, a);
    return 0;
}
