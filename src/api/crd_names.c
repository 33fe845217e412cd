/* Names of custom kinds. Within a group a plural, singular or short name means one resource, and a
 * kind or list kind means one kind; who has a name keeps it. A definition is served (Established)
 * once all its names were accepted; names it asks for later and cannot have leave it with those it
 * has. Kubernetes: pkg/controller/status of apiextensions-apiserver. */
#include "api/crd.h"
#include "base/set.h"
#include "schema/schema.h"

const struct api_custom_resource_definition_condition *
crd_condition(const struct api_custom_resource_definition *crd, struct str type)
{
    for (uint32_t i = 0; i < crd->status.n_conditions; i++)
        if (str_eq(crd->status.conditions[i].type, type))
            return &crd->status.conditions[i];
    return NULL;
}

bool crd_condition_is(const struct api_custom_resource_definition *crd, const char *type)
{
    const struct api_custom_resource_definition_condition *c = crd_condition(crd, str_z(type));
    return c && str_is(c->status, "True");
}

void crd_set_condition(struct api_custom_resource_definition *crd, const char *type, bool yes,
                       const char *reason, struct str message, usec_t now, struct arena *a)
{
    struct api_custom_resource_definition_status *st = &crd->status;
    struct api_custom_resource_definition_condition fresh = {
        .type = str_z(type),
        .status = yes ? STR("True") : STR("False"),
        .reason = str_z(reason),
        .message = message,
        .last_transition_time = timestamp_seconds(now)};
    struct api_custom_resource_definition_condition *v =
        ARENA_NEW_N(a, struct api_custom_resource_definition_condition, st->n_conditions + 1);
    uint32_t n = 0;
    bool found = false;
    for (uint32_t i = 0; i < st->n_conditions; i++) {
        v[n] = st->conditions[i];
        if (str_eqz(v[n].type, type)) {
            found = true;
            if (str_eq(v[n].status, fresh.status))
                fresh.last_transition_time = v[n].last_transition_time;
            v[n] = fresh;
        }
        n++;
    }
    if (!found)
        v[n++] = fresh;
    st->conditions = v;
    st->n_conditions = n;
}

struct taken {
    struct set resources, kinds;
};

static void take(struct set *s, struct str name)
{
    if (name.n)
        (void)set_add(s, name);
}

static void gather(struct taken *t, const struct api_custom_resource_definition *crd,
                   const struct api_custom_resource_definition *const *others, size_t n)
{
    for (int i = 0; i < _KIND_MAX; i++) {
        const struct schema_kind *k = schema_kinds[i];
        if (!str_eqz(crd->spec.group, k->group))
            continue;
        take(&t->resources, str_z(k->plural));
        take(&t->resources, str_z(k->singular));
        take(&t->kinds, str_z(k->kind));
        take(&t->kinds, str_z(k->list_kind));
    }
    for (size_t i = 0; i < n; i++) {
        const struct api_custom_resource_definition *o = others[i];
        const struct api_custom_resource_definition_names *names = &o->status.accepted_names;
        if (str_eq(o->metadata.name, crd->metadata.name) || !str_eq(o->spec.group, crd->spec.group))
            continue;
        take(&t->resources, names->plural);
        take(&t->resources, names->singular);
        for (uint32_t k = 0; k < names->n_short_names; k++)
            take(&t->resources, names->short_names[k]);
        take(&t->kinds, names->kind);
        take(&t->kinds, names->list_kind);
    }
}

struct verdict {
    struct arena *a;
    const char *reason; /* NULL: all is accepted */
    struct str message;
};

static bool is_free(struct verdict *v, const struct set *taken, struct str wanted,
                    const char *reason)
{
    if (!set_has(taken, wanted))
        return true;
    if (!v->reason) {
        v->reason = reason;
        v->message = arena_printf(v->a, "\"%.*s\" is already in use", STR_ARG(wanted));
    }
    return false;
}

static void store_version(struct api_custom_resource_definition *crd, struct arena *a)
{
    struct api_custom_resource_definition_status *st = &crd->status;
    struct str storage = STR_NONE;
    for (uint32_t i = 0; i < crd->spec.n_versions; i++)
        if (crd->spec.versions[i].storage)
            storage = crd->spec.versions[i].name;
    for (uint32_t i = 0; i < st->n_stored_versions; i++)
        if (str_eq(st->stored_versions[i], storage))
            return;
    if (!storage.n)
        return;
    struct str *v = ARENA_NEW_N(a, struct str, st->n_stored_versions + 1);
    for (uint32_t i = 0; i < st->n_stored_versions; i++)
        v[i] = st->stored_versions[i];
    v[st->n_stored_versions++] = storage;
    st->stored_versions = v;
}

void crd_accept(struct api_custom_resource_definition *crd,
                const struct api_custom_resource_definition *const *others, size_t n, usec_t now,
                struct arena *a)
{
    const struct api_custom_resource_definition_names *want = &crd->spec.names;
    struct api_custom_resource_definition_names *got = &crd->status.accepted_names;
    struct taken t = {0};
    struct verdict v = {.a = a};
    bool shorts = true;
    gather(&t, crd, others, n);
    if (is_free(&v, &t.resources, want->plural, "PluralConflict"))
        got->plural = want->plural;
    if (is_free(&v, &t.resources, want->singular, "SingularConflict"))
        got->singular = want->singular;
    for (uint32_t i = 0; i < want->n_short_names; i++)
        shorts &= is_free(&v, &t.resources, want->short_names[i], "ShortNamesConflict");
    if (shorts) {
        got->short_names = want->short_names;
        got->n_short_names = want->n_short_names;
    }
    if (is_free(&v, &t.kinds, want->kind, "KindConflict"))
        got->kind = want->kind;
    if (is_free(&v, &t.kinds, want->list_kind, "ListKindConflict"))
        got->list_kind = want->list_kind;
    got->categories = want->categories;
    got->n_categories = want->n_categories;
    crd_set_condition(crd, "NamesAccepted", !v.reason, v.reason ? v.reason : "NoConflicts",
                      v.reason ? v.message : STR("no conflicts found"), now, a);
    if (!crd_is_established(crd))
        crd_set_condition(crd, "Established", !v.reason,
                          v.reason ? "NotAccepted" : "InitialNamesAccepted",
                          v.reason ? STR("not all names are accepted")
                                   : STR("the initial names have been accepted"),
                          now, a);
    store_version(crd, a);
    set_fini(&t.resources);
    set_fini(&t.kinds);
}
