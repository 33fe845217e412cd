/* Kubernetes: pkg/apis/authorization/validation. A review is no object, so its metadata must be
 * empty; operators of selectors that nobody knows are let through there, for servers and clients of
 * different ages. */
#include "apiserver/auth/review_check.h"

#include "api/check.h"

static void check_metadata(const struct api_object_meta *m, bool local, struct error *err)
{
    static const struct api_object_meta empty;
    struct api_object_meta copy = *m;
    copy.managed_fields = NULL;
    copy.n_managed_fields = 0;
    if (local)
        copy.namespace = STR_NONE;
    if (schema_equal(&api_object_meta_desc, &copy, &empty))
        return;
    check_invalid_msg(err, STR("metadata"), &api_object_meta_desc, m,
                      local ? "must be empty except for namespace" : "must be empty");
}

/* What both kinds of demands have in common. */
static void check_values(struct str operator, uint32_t n_values, struct str path, struct error *err)
{
    PATH(values, "%s.values", path.p);
    if (str_is(operator, "In") || str_is(operator, "NotIn")) {
        if (!n_values)
            check_required(err, values, "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (str_is(operator, "Exists") || str_is(operator, "DoesNotExist")) {
        if (n_values)
            check_forbidden(err, values,
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    }
}

static void check_either(struct str raw, uint32_t n, struct str path, struct error *err)
{
    PATH(at, "%s.%s", path.p, raw.n ? "rawSelector" : "requirements");
    if (raw.n && n)
        check_invalid(err, at, raw, "may not specified at the same time as requirements");
    if (!raw.n && !n) {
        char why[160];
        snprintf(why, sizeof(why), "when %s is specified, requirements or rawSelector is required",
                 path.p);
        check_required(err, at, why);
    }
}

static void check_selectors(const struct api_resource_attributes *a, struct error *err)
{
    const struct api_field_selector_attributes *f = a ? a->field_selector : NULL;
    const struct api_label_selector_attributes *l = a ? a->label_selector : NULL;
    PATH(fields, "spec.resourceAttributes.fieldSelector");
    PATH(labels, "spec.resourceAttributes.labelSelector");
    if (f)
        check_either(f->raw_selector, f->n_requirements, fields, err);
    for (uint32_t i = 0; f && i < f->n_requirements; i++) {
        PATH(at, "%s.requirements[%u]", fields.p, i);
        PATH(key, "%s.key", at.p);
        if (!f->requirements[i].key.n)
            check_required(err, key, "must be specified");
        check_values(f->requirements[i].operator, f->requirements[i].n_values, at, err);
    }
    if (l)
        check_either(l->raw_selector, l->n_requirements, labels, err);
    for (uint32_t i = 0; l && i < l->n_requirements; i++) {
        PATH(at, "%s.requirements[%u]", labels.p, i);
        PATH(key, "%s.key", at.p);
        check_values(l->requirements[i].operator, l->requirements[i].n_values, at, err);
        check_format(err, key, SCHEMA_FORMAT_QUALIFIED_NAME, l->requirements[i].key);
        for (uint32_t k = 0; k < l->requirements[i].n_values; k++) {
            PATH(value, "%s.values[%u]", at.p, k);
            check_format(err, value, SCHEMA_FORMAT_LABEL_VALUE, l->requirements[i].values[k]);
        }
    }
}

static void check_asked(const struct api_resource_attributes *a,
                        const struct api_non_resource_attributes *n, struct error *err)
{
    if (a && n)
        check_invalid_msg(err, STR("spec.nonResourceAttributes"), &api_non_resource_attributes_desc,
                          n, "cannot be specified in combination with resourceAttributes");
    if (!a && !n)
        (void)error_cause(err, CAUSE_INVALID, STR("spec.resourceAttributes"),
                          "Invalid value: \"null\": exactly one of nonResourceAttributes or "
                          "resourceAttributes must be specified");
}

static void check_spec(const struct api_subject_access_review_spec *s, struct error *err)
{
    check_asked(s->resource_attributes, s->non_resource_attributes, err);
    if (!s->user.n && !s->n_groups)
        check_invalid(err, STR("spec.user"), STR(""),
                      "at least one of user or group must be specified");
    check_selectors(s->resource_attributes, err);
}

void review_check_access(const struct api_subject_access_review *r, struct error *err)
{
    check_spec(&r->spec, err);
    check_metadata(&r->metadata, false, err);
}

void review_check_self(const struct api_self_subject_access_review *r, struct error *err)
{
    check_asked(r->spec.resource_attributes, r->spec.non_resource_attributes, err);
    check_selectors(r->spec.resource_attributes, err);
    check_metadata(&r->metadata, false, err);
}

void review_check_local(const struct api_local_subject_access_review *r, struct error *err)
{
    const struct api_resource_attributes *a = r->spec.resource_attributes;
    check_spec(&r->spec, err);
    check_metadata(&r->metadata, true, err);
    if (a && !str_eq(a->namespace, r->metadata.namespace))
        check_invalid(err, STR("spec.resourceAttributes.namespace"), a->namespace,
                      "must match metadata.namespace");
    if (r->spec.non_resource_attributes)
        check_invalid_msg(err, STR("spec.nonResourceAttributes"), &api_non_resource_attributes_desc,
                          r->spec.non_resource_attributes, "disallowed on this kind of request");
}
