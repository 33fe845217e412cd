/* The rules of ObjectMeta, the same for every kind: well-formed names, labels, annotations, owners
 * and finalizers, and what an update may not touch. */
#include "api/check.h"
#include "api/hooks.h"
#include "base/set.h"

#define ANNOTATIONS_BYTES_MAX ((size_t)256 << 10)

void api_validate_labels(const struct kv_str *v, uint32_t n, struct str path, struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        check_format(err, path, SCHEMA_FORMAT_QUALIFIED_NAME, v[i].key);
        check_format(err, path, SCHEMA_FORMAT_LABEL_VALUE, v[i].value);
    }
}

void api_meta_keep(struct api_object_meta *m, const struct api_object_meta *old)
{
    m->labels = old->labels;
    m->n_labels = old->n_labels;
    m->annotations = old->annotations;
    m->n_annotations = old->n_annotations;
    m->owner_references = old->owner_references;
    m->n_owner_references = old->n_owner_references;
    m->finalizers = old->finalizers;
    m->n_finalizers = old->n_finalizers;
}

void api_validate_annotations(const struct kv_str *v, uint32_t n, struct str path,
                              struct error *err)
{
    size_t total = 0;
    for (uint32_t i = 0; i < n; i++) {
        /* keys may have capitals in the prefix */
        check_format_lower(err, path, SCHEMA_FORMAT_QUALIFIED_NAME, v[i].key);
        total += v[i].key.n + v[i].value.n;
    }
    if (total > ANNOTATIONS_BYTES_MAX)
        (void)error_cause(err, CAUSE_TOO_LONG, path, "Too long: may not be more than %zu bytes",
                          ANNOTATIONS_BYTES_MAX);
}

static void validate_owners(const struct api_object_meta *m, struct error *err)
{
    const struct api_owner_reference *controller = NULL;
    for (uint32_t i = 0; i < m->n_owner_references; i++) {
        const struct api_owner_reference *o = &m->owner_references[i];
        PATH(p, "metadata.ownerReferences[%u]", i);
        struct str group, version;
        if (!o->api_version.n || !schema_split_api_version(o->api_version, &group, &version)) {
            PATH(q, "%s.apiVersion", p.p);
            check_invalid(err, q, o->api_version, "version must not be empty");
        }
        PATH(kind, "%s.kind", p.p);
        PATH(name, "%s.name", p.p);
        PATH(uid, "%s.uid", p.p);
        if (!o->kind.n)
            check_invalid(err, kind, o->kind, "must not be empty");
        if (!o->name.n)
            check_invalid(err, name, o->name, "must not be empty");
        if (!o->uid.n)
            check_invalid(err, uid, o->uid, "must not be empty");
        if (str_is(o->kind, "Event"))
            check_invalid(err, p, o->kind, "events are disallowed from being owners");
        if (!o->has_controller || !o->controller)
            continue;
        if (controller)
            (void)error_cause(err, CAUSE_INVALID, STR("metadata.ownerReferences"),
                              "Invalid value: \"%.*s\": Only one reference can have Controller set "
                              "to true. Found \"true\" in references for %.*s/%.*s and %.*s/%.*s",
                              STR_ARG(o->name), STR_ARG(controller->kind),
                              STR_ARG(controller->name), STR_ARG(o->kind), STR_ARG(o->name));
        else
            controller = o;
    }
}

static void validate_finalizers(const struct api_object_meta *m, const struct api_object_meta *old,
                                struct error *err)
{
    bool orphan = false, foreground = false;
    for (uint32_t i = 0; i < m->n_finalizers; i++) {
        struct str f = m->finalizers[i];
        orphan |= str_is(f, "orphan");
        foreground |= str_is(f, "foregroundDeletion");
        check_format(err, STR("metadata.finalizers"), SCHEMA_FORMAT_QUALIFIED_NAME, f);
    }
    if (orphan && foreground)
        check_invalid(err, STR("metadata.finalizers"), STR("orphan"),
                      "finalizer orphan and foregroundDeletion cannot be both set");
    if (!old || !old->deletion_timestamp.set)
        return;
    struct set had = {0};
    for (uint32_t k = 0; k < old->n_finalizers; k++)
        (void)set_add(&had, old->finalizers[k]);
    for (uint32_t i = 0; i < m->n_finalizers; i++)
        if (!set_has(&had, m->finalizers[i]))
            (void)error_cause(err, CAUSE_FORBIDDEN, STR("metadata.finalizers"),
                              "Forbidden: no new finalizers can be added if the object is being "
                              "deleted, found new "
                              "finalizers []string{\"%.*s\"}",
                              STR_ARG(m->finalizers[i]));
    set_fini(&had);
}

void api_validate_meta(const struct schema_kind *k, const struct api_object_meta *m,
                       const struct api_object_meta *old, struct error *err)
{
    if (m->generate_name.n && !old) {
        /* the part before the random characters may end in a dash */
        struct str g = m->generate_name;
        if (g.p[g.n - 1] == '-')
            g.n--;
        if (g.n)
            check_format(err, STR("metadata.generateName"), k->name_format, g);
    }
    if (!m->name.n)
        check_required(err, STR("metadata.name"), "name or generateName is required");
    else if (!old)
        check_format(err, STR("metadata.name"),
                     k->name_format ? k->name_format : SCHEMA_FORMAT_DNS_SUBDOMAIN, m->name);
    if (k->namespaced && !m->namespace.n)
        check_required(err, STR("metadata.namespace"), "");
    else if (k->namespaced && !old)
        check_format(err, STR("metadata.namespace"), SCHEMA_FORMAT_DNS_LABEL, m->namespace);
    else if (!k->namespaced && m->namespace.n)
        check_forbidden(err, STR("metadata.namespace"), "not allowed on this type");
    api_validate_labels(m->labels, m->n_labels, STR("metadata.labels"), err);
    api_validate_annotations(m->annotations, m->n_annotations, STR("metadata.annotations"), err);
    validate_owners(m, err);
    validate_finalizers(m, old, err);
    if (!old)
        return;
    check_immutable_str(err, STR("metadata.name"), m->name, old->name);
    check_immutable_str(err, STR("metadata.namespace"), m->namespace, old->namespace);
    check_immutable_str(err, STR("metadata.uid"), m->uid, old->uid);
}
