/* patch: the pending object as JSON, changed by the patch, decoded again, and then an ordinary
 * update. Reading and writing happen in one turn against the pending state, so a patch without
 * resourceVersion never conflicts. */
#include "apiserver/internal.h"
#include "apiserver/subresource.h"
#include "codec/json.h"
#include "schema/custom.h"
#include "schema/patch.h"

/* Without tables there are no merge keys. */
static int custom_patch_type(struct api_call *c)
{
    return call_error(c, REASON_UNSUPPORTED_MEDIA_TYPE,
                      "the body of the request was in an unknown format - accepted media types "
                      "include: application/json-patch+json, application/merge-patch+json, "
                      "application/apply-patch+yaml");
}

static int apply(struct api_call *c, const struct schema_desc *desc, struct json **doc)
{
    struct json *patch;
    struct error *err = &c->reply.err;
    int r = json_parse(c->patch, &c->arena, NULL, &patch, err);
    if (r < 0) {
        error_prefix(err, "error decoding patch");
        return r;
    }
    switch (c->patch_type) {
    case CLIENT_PATCH_JSON:
        return patch_json(doc, patch, &c->arena, err);
    case CLIENT_PATCH_MERGE:
        return patch_merge(doc, patch, &c->arena, err);
    case CLIENT_PATCH_STRATEGIC:
        if (custom_is_served(c->kind))
            return custom_patch_type(c);
        return patch_strategic(desc, doc, patch, &c->arena, err);
    case CLIENT_PATCH_APPLY: /* verb_apply */
    case CLIENT_PATCH_NONE:
        break;
    }
    return call_error(c, REASON_UNSUPPORTED_MEDIA_TYPE,
                      "the body of the request was in an unknown format - accepted media "
                      "types include: application/json-patch+json, application/merge-patch+json, "
                      "application/apply-patch+yaml, application/strategic-merge-patch+json");
}

/* A value as Go prints it. Members come in the order they have in v. */
static void print_as_go(const struct json *v, struct buf *b)
{
    const char *sep = "";
    switch ((enum json_type)v->type) {
    case JSON_NULL:
        buf_add_lit(b, "<nil>");
        return;
    case JSON_STR:
        buf_add_str(b, v->s);
        return;
    case JSON_BOOL:
    case JSON_INT:
    case JSON_REAL:
        json_print(v, b);
        return;
    case JSON_ARR:
        buf_add_char(b, '[');
        break;
    case JSON_OBJ:
        buf_add_lit(b, "map[");
        break;
    }
    json_for_each(child, v)
    {
        buf_printf(b, "%s", sep);
        sep = " ";
        if (v->type == JSON_OBJ)
            buf_printf(b, "%.*s:", STR_ARG(child->key));
        print_as_go(child, b);
    }
    buf_add_char(b, ']');
}

/* What a patch made does not fit the type. A Kubernetes server calls that invalid, and shows the
 * patch (a strategic one, as Go prints maps) or what came of it. */
static int unfit(struct api_call *c, const struct json *doc)
{
    struct error *err = &c->reply.err;
    struct buf b = {0}, quoted = {0};
    struct json *sorted;
    struct str why = arena_str(&c->arena, err->message);
    if (c->patch_type == CLIENT_PATCH_STRATEGIC) {
        if (json_parse(c->patch, &c->arena, NULL, &sorted, NULL) >= 0)
            json_print_sorted(sorted, &b);
        if (json_parse(buf_str(&b), &c->arena, NULL, &sorted, NULL) >= 0) {
            buf_clear(&b);
            print_as_go(sorted, &b);
        }
    } else {
        json_print(doc, &b);
    }
    json_print_str(buf_str(&b), &quoted);
    error_clear(err);
    (void)error_cause(err, CAUSE_INVALID, STR("patch"), "Invalid value: %.*s: %.*s",
                      STR_ARG(buf_str(&quoted)), STR_ARG(why));
    buf_fini(&b);
    buf_fini(&quoted);
    c->reply.details_kind = c->reply.details_group = c->reply.details_name = STR("");
    return error_invalid(err, STR(""), STR(""));
}

/* Decodes with the caller's wish about unknown fields. */
static int decode(struct api_call *c, const struct schema_desc *desc, struct json *doc)
{
    struct schema_decode opts = {.unknown = c->unknown};
    c->body = schema_new(desc, &c->arena);
    c->body_desc = desc;
    int r = 0;
    if (desc == c->kind->desc)
        r = custom_take(c->kind, doc, &c->arena, &opts, &c->reply.err);
    if (r >= 0)
        r = schema_decode_json(desc, doc, &c->arena, &opts, c->body, &c->reply.err);
    for (unsigned i = 0; r >= 0 && i < MIN(opts.n_warnings, (unsigned)SCHEMA_WARNINGS_MAX); i++)
        api_call_warn(c, "%.*s", STR_ARG(opts.warnings[i]));
    return r;
}

/* The patch may say something of managedFields: by name, or by one that is escaped. Most do not,
 * and then printing and reading them would be half of the work. */
static bool names_managed_fields(struct str patch)
{
    return str_find(patch, '\\') >= 0 || str_search(patch, STR("managedFields")) >= 0;
}

/* The object without its managed fields, which a patch keeps when it does not name them. */
static const void *without_managed(struct api_call *c, const void *msg)
{
    struct api_object_meta *view = arena_alloc(&c->arena, c->kind->desc->size);
    memcpy(view, msg, c->kind->desc->size);
    view->managed_fields = NULL;
    view->n_managed_fields = 0;
    return view;
}

int verb_patch(struct api_call *c)
{
    struct object *old = call_peek(c);
    const struct schema_desc *desc = c->kind->desc;
    const void *msg;
    if (c->patch_type == CLIENT_PATCH_APPLY)
        return verb_apply(c);
    if (!old)
        return call_not_found(c, c->kind, c->name);
    if (str_is(c->subresource, "scale")) {
        desc = &api_scale_desc;
        msg = scale_of(c, old);
    } else {
        msg = custom_read(c->kind, schema_from_storage(c->kind, old->msg, &c->arena), old->rev,
                          &c->arena);
        if (!names_managed_fields(c->patch))
            msg = without_managed(c, msg);
    }
    struct json *doc = schema_to_json(desc, msg, SCHEMA_ENCODE_TYPE_META, &c->arena);
    int r = apply(c, desc, &doc);
    if (r < 0)
        return r;
    r = decode(c, desc, doc);
    if (r < 0)
        return c->reply.err.reason == REASON_BAD_REQUEST ? unfit(c, doc) : r;
    return subresource_is_special(c) ? subresource_run(c) : verb_update(c);
}
