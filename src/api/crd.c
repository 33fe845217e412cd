/* Rules of a CustomResourceDefinition. Its schema is compiled here too (schema/structural.h), so
 * that a definition that was taken can be served. */
#include "api/check.h"
#include "api/crd.h"
#include "api/crd_hooks.h"
#include "api/webhook.h"
#include "base/mem.h"
#include "base/set.h"
#include "schema/custom.h"
#include "schema/structural.h"

typedef struct api_custom_resource_definition crd_t;

static void fill(void *msg, struct arena *a)
{
    crd_t *crd = msg;
    struct api_custom_resource_definition_names *n = &crd->spec.names;
    if (!n->singular.n && n->kind.n) {
        char *low = arena_alloc(a, n->kind.n + 1);
        for (size_t i = 0; i < n->kind.n; i++)
            low[i] = n->kind.p[i] >= 'A' && n->kind.p[i] <= 'Z' ? (char)(n->kind.p[i] | 32)
                                                                : n->kind.p[i];
        low[n->kind.n] = '\0';
        n->singular = (struct str){low, n->kind.n};
    }
    if (!n->list_kind.n && n->kind.n)
        n->list_kind = arena_printf(a, "%.*sList", STR_ARG(n->kind));
    if (!crd->spec.conversion) {
        crd->spec.conversion = ARENA_NEW(a, struct api_custom_resource_conversion);
        crd->spec.conversion->strategy = STR("None");
    }
}

/* ---- names ---- */

static void label_check(struct error *err, struct str path, struct str s)
{
    if (!s.n)
        check_required(err, path, "");
    else
        check_format(err, path, SCHEMA_FORMAT_DNS1035_LABEL, s);
}

/* A label once it is in lower case. */
static void kind_check(struct error *err, struct str path, struct str s)
{
    char low[64];
    size_t n = MIN(s.n, sizeof(low));
    if (!s.n) {
        check_required(err, path, "");
        return;
    }
    for (size_t i = 0; i < n; i++)
        low[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] | 32) : s.p[i];
    const char *why = schema_format_check(SCHEMA_FORMAT_DNS1035_LABEL, (struct str){low, n});
    if (!why)
        return;
    CLEANUP(freep)
    char *text = xasprintf("may have mixed case, but should otherwise match: %s", why);
    check_invalid(err, path, s, text);
}

static void names_validate(const crd_t *crd, struct error *err)
{
    const struct api_custom_resource_definition_names *n = &crd->spec.names;
    struct buf want = {0};
    label_check(err, STR("spec.names.plural"), n->plural);
    label_check(err, STR("spec.names.singular"), n->singular);
    kind_check(err, STR("spec.names.kind"), n->kind);
    kind_check(err, STR("spec.names.listKind"), n->list_kind);
    if (n->kind.n && str_eq(n->kind, n->list_kind))
        check_invalid(err, STR("spec.names.listKind"), n->list_kind,
                      "kind and listKind may not be the same");
    for (uint32_t i = 0; i < n->n_short_names; i++) {
        PATH(at, "spec.names.shortNames[%u]", i);
        label_check(err, at, n->short_names[i]);
    }
    for (uint32_t i = 0; i < n->n_categories; i++) {
        PATH(at, "spec.names.categories[%u]", i);
        label_check(err, at, n->categories[i]);
    }
    buf_printf(&want, "%.*s.%.*s", STR_ARG(n->plural), STR_ARG(crd->spec.group));
    if (!str_eq(buf_str(&want), crd->metadata.name))
        check_invalid(err, STR("metadata.name"), crd->metadata.name,
                      "must be spec.names.plural+\".\"+spec.group");
    buf_fini(&want);
}

static void group_validate(const crd_t *crd, struct error *err)
{
    struct str g = crd->spec.group;
    if (!g.n) {
        check_required(err, STR("spec.group"), "");
        return;
    }
    check_format(err, STR("spec.group"), SCHEMA_FORMAT_DNS_SUBDOMAIN, g);
    if (str_find(g, '.') < 0)
        check_invalid(err, STR("spec.group"), g, "should be a domain with at least one dot");
}

/* ---- versions ---- */

typedef struct api_custom_resource_definition_version version_t;

/* What all versions have alike Kubernetes names as one of the whole. */
static bool same_columns(const crd_t *crd)
{
    const version_t *a = crd->spec.versions;
    for (uint32_t i = 1; i < crd->spec.n_versions; i++) {
        const version_t *b = &crd->spec.versions[i];
        if (a->n_additional_printer_columns != b->n_additional_printer_columns)
            return false;
        for (uint32_t k = 0; k < a->n_additional_printer_columns; k++)
            if (!schema_equal(&api_custom_resource_column_definition_desc,
                              &a->additional_printer_columns[k], &b->additional_printer_columns[k]))
                return false;
    }
    return true;
}

static void dot_path_check(struct error *err, struct str path, struct str text)
{
    if (!text.n)
        check_required(err, path, "");
    else if (text.p[0] != '.')
        check_invalid(err, path, text, "must be a simple json path starting with .");
}

/* A path that cannot be followed is taken, as in Kubernetes: the table then has the usual columns
 * (schema/custom.c). */
static void columns_validate(const version_t *v, const char *at, struct error *err)
{
#define TYPES "boolean,date,integer,number,string"
    static const char *const types[] = {"boolean", "date", "integer", "number", "string"};
    if (v->n_additional_printer_columns > CUSTOM_COLUMNS_MAX) {
        PATH(p, "%s.additionalPrinterColumns", at);
        (void)error_cause(err, CAUSE_TOO_MANY, p, "Too many: %u: must have at most %d items",
                          v->n_additional_printer_columns, CUSTOM_COLUMNS_MAX);
        return;
    }
    for (uint32_t i = 0; i < v->n_additional_printer_columns; i++) {
        const struct api_custom_resource_column_definition *c = &v->additional_printer_columns[i];
        PATH(name, "%s.additionalPrinterColumns[%u].name", at, i);
        PATH(type, "%s.additionalPrinterColumns[%u].type", at, i);
        PATH(path, "%s.additionalPrinterColumns[%u].JSONPath", at, i);
        bool known = false;
        if (!c->name.n)
            check_required(err, name, "");
        for (size_t k = 0; k < ARRAY_LEN(types); k++)
            known |= str_eqz(c->type, types[k]);
        if (!c->type.n)
            check_required(err, type, "must be one of " TYPES);
        else if (!known)
            check_invalid(err, type, c->type, "must be one of " TYPES);
        if (!c->json_path.n)
            check_required(err, path, "");
    }
#undef TYPES
}

static void scale_path(struct error *err, struct str path, struct str text, bool spec, bool status)
{
    struct arena a = {0};
    const char *why;
    const struct jsonpath *p = text.n ? jsonpath_compile(text, &a, &why) : NULL;
    if (!text.n || text.p[0] != '.')
        dot_path_check(err, path, text);
    else if (!p || !jsonpath_is_plain(p))
        check_invalid(err, path, text,
                      "should be a json path under .spec or .status without "
                      "array notation");
    else if (!(spec && str_is(jsonpath_member(p, 0), "spec")) &&
             !(status && str_is(jsonpath_member(p, 0), "status")))
        check_invalid(err, path, text,
                      spec && status ? "should be a json path under either .spec or .status"
                      : spec         ? "should be a json path under .spec"
                                     : "should be a json path under .status");
    arena_fini(&a);
}

static void subresources_validate(const version_t *v, unsigned at, struct error *err)
{
    const struct api_custom_resource_subresource_scale *s =
        v->subresources ? v->subresources->scale : NULL;
    if (!s)
        return;
    PATH(spec, "spec.versions[%u].subresources.scale.specReplicasPath", at);
    PATH(status, "spec.versions[%u].subresources.scale.statusReplicasPath", at);
    PATH(selector, "spec.versions[%u].subresources.scale.labelSelectorPath", at);
    scale_path(err, spec, s->spec_replicas_path, true, false);
    scale_path(err, status, s->status_replicas_path, false, true);
    if (s->label_selector_path.n)
        scale_path(err, selector, s->label_selector_path, true, true);
}

static void selectable_validate(const version_t *v, const struct structural *schema, unsigned at,
                                struct error *err)
{
    struct arena a = {0};
    struct set seen = {0};
    const char *why;
    if (v->n_selectable_fields > CUSTOM_SELECTABLE_MAX) {
        PATH(p, "spec.versions[%u].selectableFields", at);
        (void)error_cause(err, CAUSE_TOO_MANY, p, "Too many: %u: must have at most %d items",
                          v->n_selectable_fields, CUSTOM_SELECTABLE_MAX);
        return;
    }
    for (uint32_t i = 0; i < v->n_selectable_fields; i++) {
        struct str text = v->selectable_fields[i].json_path;
        PATH(p, "spec.versions[%u].selectableFields[%u].jsonPath", at, i);
        const struct jsonpath *path = text.n ? jsonpath_compile(text, &a, &why) : NULL;
        const struct structural_node *n = structural_at(schema, text);
        if (!text.n)
            check_required(err, p, "");
        else if (!path || !jsonpath_is_plain(path) || text.p[0] != '.')
            check_invalid(err, p, text, "is an invalid path: must be a simple path of fields");
        else if (str_is(jsonpath_member(path, 0), "metadata"))
            check_invalid(err, p, text, "must not point to fields in metadata");
        else if (!n)
            check_invalid(err, p, text, "is an invalid path: does not refer to a valid field");
        else if (n->type != STRUCTURAL_STRING && n->type != STRUCTURAL_BOOLEAN &&
                 n->type != STRUCTURAL_INTEGER)
            check_invalid(err, p, text,
                          "must point to a field of type string, boolean or integer. Enum string "
                          "fields and strings with formats are allowed.");
        else if (!set_add(&seen, text))
            check_duplicate(err, p, text);
    }
    set_fini(&seen);
    arena_fini(&a);
}

bool crd_has_one_schema(const crd_t *crd)
{
    struct str first = STR_NONE;
    for (uint32_t i = 0; i < crd->spec.n_versions; i++) {
        const version_t *v = &crd->spec.versions[i];
        struct str s = v->schema ? v->schema->open_apiv3_schema : STR_NONE;
        if (i == 0)
            first = s;
        else if (!str_eq(first, s))
            return false;
    }
    return true;
}

/* Of compiled patterns, in all versions of a definition; each schema has its own bound below. One
 * that is refused was work too. */
#define PATTERN_BYTES_MAX (2 * (size_t)STRUCTURAL_REGEX_MAX)
#define REFUSED_BYTES     ((size_t)STRUCTURAL_REGEX_MAX / 8)

static void schema_validate_version(const crd_t *crd, unsigned at, bool same, size_t *bytes,
                                    struct error *err)
{
    const version_t *v = &crd->spec.versions[at];
    struct structural *s = NULL;
    PATH(own, "spec.versions[%u].schema.openAPIV3Schema", at);
    if (!v->schema || !v->schema->open_apiv3_schema.n) {
        check_required(err, own, "schemas are required");
        return;
    }
    if (same && at > 0 && err && err->n_causes) /* said for the first one */
        return;
    if (*bytes > PATTERN_BYTES_MAX) /* said */
        return;
    if (structural_compile(v->schema->open_apiv3_schema,
                           same ? STR("spec.validation.openAPIV3Schema") : own, &s, err) < 0) {
        *bytes += REFUSED_BYTES;
        return;
    }
    *bytes += s->regex_bytes;
    if (*bytes > PATTERN_BYTES_MAX)
        check_forbidden(err, STR("spec.versions"),
                        "the patterns of all versions must not be larger than 16 MB");
    selectable_validate(v, s, at, err);
    structural_free(s);
}

static void versions_validate(const crd_t *crd, struct error *err)
{
    struct set seen = {0};
    unsigned storage = 0;
    size_t pattern_bytes = 0;
    bool same = crd_has_one_schema(crd), columns = same_columns(crd), twice = false;
    for (uint32_t i = 0; i < crd->spec.n_versions; i++) {
        const version_t *v = &crd->spec.versions[i];
        PATH(name, "spec.versions[%u].name", i);
        PATH(warning, "spec.versions[%u].deprecationWarning", i);
        label_check(err, name, v->name);
        twice |= !set_add(&seen, v->name);
        storage += v->storage;
        if (v->deprecation_warning.p && !v->deprecated)
            check_invalid(err, warning, v->deprecation_warning,
                          "can only be set for deprecated versions");
        else if (v->deprecation_warning.n > 256)
            check_invalid(err, warning, v->deprecation_warning, "must be <= 256 characters long");
        PATH(own, "spec.versions[%u]", i);
        if (i == 0 || !columns)
            columns_validate(v, columns ? "spec" : own.p, err);
        subresources_validate(v, i, err);
        schema_validate_version(crd, i, same, &pattern_bytes, err);
    }
    if (twice)
        check_invalid(err, STR("spec.versions"), STR(""), "must contain unique version names");
    if (storage != 1)
        check_invalid(err, STR("spec.versions"), STR(""),
                      "must have exactly one version marked as storage version");
    set_fini(&seen);
}

/* ---- the whole ---- */

#define CONVERSION "spec.conversion"

static void review_versions_validate(const struct api_webhook_conversion *w, struct error *err)
{
    struct set seen = {0};
    struct buf all = {0};
    bool known = false;
    if (!w->n_conversion_review_versions)
        check_required(err, STR(CONVERSION ".conversionReviewVersions"), "");
    for (uint32_t i = 0; i < w->n_conversion_review_versions; i++) {
        struct str v = w->conversion_review_versions[i];
        PATH(at, CONVERSION ".conversionReviewVersions[%u]", i);
        buf_printf(&all, "%s\"%.*s\"", i ? "," : "", STR_ARG(str_sub(v, 0, 64)));
        known |= str_is(v, "v1") || str_is(v, "v1beta1");
        if (set_add(&seen, v))
            check_format(err, at, SCHEMA_FORMAT_DNS1035_LABEL, v);
        else
            check_invalid(err, at, v, "duplicate version");
    }
    if (w->n_conversion_review_versions && !known)
        (void)error_cause(err, CAUSE_INVALID, STR(CONVERSION ".conversionReviewVersions"),
                          "Invalid value: [%.*s]: must include at least one of v1, v1beta1",
                          STR_ARG(str_sub(buf_str(&all), 0, 1024)));
    buf_fini(&all);
    set_fini(&seen);
}

/* Kubernetes names its inner form here, which is not what people write. */
static void conversion_validate(const crd_t *crd, struct error *err)
{
    static const char *const strategies[] = {"None", "Webhook", NULL};
    const struct api_custom_resource_conversion *c = crd->spec.conversion;
    const struct api_webhook_conversion *w = c ? c->webhook : NULL;
    if (!c)
        return;
    if (!c->strategy.n)
        check_required(err, STR(CONVERSION ".strategy"), "");
    else if (!str_is(c->strategy, "None") && !str_is(c->strategy, "Webhook"))
        check_not_supported(err, STR(CONVERSION ".strategy"), c->strategy, strategies);
    if (!str_is(c->strategy, "Webhook")) {
        if (w && w->client_config)
            check_forbidden(err, STR(CONVERSION ".webhookClientConfig"),
                            "should not be set when strategy is not set to Webhook");
        if (w && w->n_conversion_review_versions)
            check_forbidden(err, STR(CONVERSION ".conversionReviewVersions"),
                            "should not be set when strategy is not set to Webhook");
        return;
    }
    if (!w || !w->client_config)
        check_required(err, STR(CONVERSION ".webhookClientConfig"),
                       "required when strategy is set to Webhook");
    else
        webhook_client_validate(w->client_config, CONVERSION ".webhookClientConfig", err);
    review_versions_validate(w ? w : &(struct api_webhook_conversion){0}, err);
}

static void validate(const void *msg, struct error *err)
{
    static const char *const scopes[] = {"Cluster", "Namespaced", NULL};
    const crd_t *crd = msg;
    group_validate(crd, err);
    names_validate(crd, err);
    if (!crd->spec.scope.n)
        check_required(err, STR("spec.scope"), "");
    else if (!str_is(crd->spec.scope, "Cluster") && !str_is(crd->spec.scope, "Namespaced"))
        check_not_supported(err, STR("spec.scope"), crd->spec.scope, scopes);
    if (crd->spec.preserve_unknown_fields)
        (void)error_cause(err, CAUSE_INVALID, STR("spec.preserveUnknownFields"),
                          "Invalid value: true: cannot set to true, set "
                          "x-kubernetes-preserve-unknown-fields to true in "
                          "spec.versions[*].schema instead");
    versions_validate(crd, err);
    conversion_validate(crd, err);
}

static bool has_version(const crd_t *crd, struct str name)
{
    for (uint32_t i = 0; i < crd->spec.n_versions; i++)
        if (str_eq(crd->spec.versions[i].name, name))
            return true;
    return false;
}

static void stored_validate(const crd_t *crd, struct error *err)
{
    struct str storage = STR_NONE;
    bool has = false;
    for (uint32_t i = 0; i < crd->spec.n_versions; i++)
        if (crd->spec.versions[i].storage)
            storage = crd->spec.versions[i].name;
    for (uint32_t i = 0; i < crd->status.n_stored_versions; i++) {
        struct str v = crd->status.stored_versions[i];
        PATH(p, "status.storedVersions[%u]", i);
        has |= str_eq(v, storage);
        if (!has_version(crd, v))
            (void)error_cause(
                err, CAUSE_INVALID, p,
                "Invalid value: \"%.*s\": missing from spec.versions; %.*s was "
                "previously a storage version, and must remain in spec.versions until "
                "a storage migration ensures no data remains persisted in %.*s and "
                "removes %.*s from status.storedVersions",
                STR_ARG(v), STR_ARG(v), STR_ARG(v), STR_ARG(v));
    }
    if (!has)
        check_invalid(err, STR("status.storedVersions"), storage, "must have the storage version");
}

/* Formats and paths of columns that were not there before. */
static void new_columns_validate(const crd_t *crd, const crd_t *old, struct error *err)
{
#define FORMATS "byte,date,date-time,double,float,int32,int64,password"
    static const char *const formats[] = {"byte",  "date",  "date-time", "double",
                                          "float", "int32", "int64",     "password"};
    struct set known = {0}, paths = {0};
    uint32_t n = same_columns(crd) ? MIN(1, crd->spec.n_versions) : crd->spec.n_versions;
    for (size_t k = 0; k < ARRAY_LEN(formats); k++)
        (void)set_add(&known, str_z(formats[k]));
    for (uint32_t i = 0; old && i < old->spec.n_versions; i++)
        for (uint32_t k = 0; k < old->spec.versions[i].n_additional_printer_columns; k++) {
            (void)set_add(&known, old->spec.versions[i].additional_printer_columns[k].format);
            (void)set_add(&paths, old->spec.versions[i].additional_printer_columns[k].json_path);
        }
    for (uint32_t i = 0; i < n; i++) {
        const version_t *v = &crd->spec.versions[i];
        for (uint32_t k = 0; k < v->n_additional_printer_columns; k++) {
            const struct api_custom_resource_column_definition *c =
                &v->additional_printer_columns[k];
            PATH(own, "spec.versions[%u]", i);
            PATH(format, "%s.additionalPrinterColumns[%u].format",
                 n < crd->spec.n_versions || n == 1 ? "spec" : own.p, k);
            PATH(path, "%s.additionalPrinterColumns[%u].JSONPath",
                 n < crd->spec.n_versions || n == 1 ? "spec" : own.p, k);
            if (c->format.n && !set_has(&known, c->format))
                check_invalid(err, format, c->format, "must be one of " FORMATS);
            if (c->json_path.n && !set_has(&paths, c->json_path))
                dot_path_check(err, path, c->json_path);
        }
    }
    set_fini(&known);
    set_fini(&paths);
#undef FORMATS
}

/* A text for people: in print, and not empty. */
static void warnings_validate(const crd_t *crd, const crd_t *old, struct error *err)
{
    for (uint32_t i = 0; i < crd->spec.n_versions; i++) {
        struct str s = crd->spec.versions[i].deprecation_warning;
        PATH(at, "spec.versions[%u].deprecationWarning", i);
        bool was = false;
        for (uint32_t k = 0; old && k < old->spec.n_versions; k++)
            was |= str_eq(s, old->spec.versions[k].deprecation_warning);
        if (!s.p || was)
            continue;
        if (!s.n)
            check_invalid(err, at, s, "must not be an empty string");
        for (size_t k = 0; k < s.n; k++) {
            if ((uint8_t)s.p[k] >= ' ' && s.p[k] != 0x7f)
                continue;
            char why[128];
            snprintf(why, sizeof(why),
                     "must only contain printable UTF-8 characters; non-printable character found "
                     "at index %zu",
                     k);
            check_invalid(err, at, s, why);
            break;
        }
    }
}

/* Not asked of what is stored already (crd_schema.c). */
static void validate_written(const crd_t *crd, const crd_t *old, struct error *err)
{
    crd_approval_validate(crd, old, err);
    new_columns_validate(crd, old, err);
    warnings_validate(crd, old, err);
    if (!err->n_causes)
        crd_schema_validate(crd, old, err);
}

static void validate_create(const void *msg, struct error *err)
{
    validate_written(msg, NULL, err);
}

static void validate_update(const void *msg, const void *old, struct error *err)
{
    const crd_t *crd = msg, *o = old;
    validate_written(crd, o, err);
    check_immutable_str(err, STR("spec.group"), crd->spec.group, o->spec.group);
    check_immutable_str(err, STR("spec.names.plural"), crd->spec.names.plural,
                        o->spec.names.plural);
    if (crd_is_established(o)) {
        check_immutable_str(err, STR("spec.scope"), crd->spec.scope, o->spec.scope);
        check_immutable_str(err, STR("spec.names.kind"), crd->spec.names.kind, o->spec.names.kind);
    }
    stored_validate(crd, err);
}

static void validate_status(const void *msg, const void *old, struct error *err)
{
    stored_validate(msg, err);
}

const struct api_hooks crd_hooks = {.kind = KIND_CUSTOM_RESOURCE_DEFINITION,
                                    .generation = true,
                                    .fill = fill,
                                    .validate = validate,
                                    .validate_create = validate_create,
                                    .validate_update = validate_update,
                                    .validate_status = validate_status};
