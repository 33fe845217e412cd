/* From definitions to kinds. A definition is judged where it is written (admission, one turn, on
 * the pending state) and takes effect when it is durable: the store tells watches before it answers
 * writes, so who is told that a definition was made can use it at once.
 *
 * A served kind is made anew only when its definition's spec, names or state has changed; what
 * clients hold of the old one lives until they let go. */
#include "apiserver/custom/crds.h"

#include "api/crd.h"
#include "apiserver/aggregate/apiservices.h"
#include "apiserver/custom/convert.h"
#include "apiserver/custom/kinds.h"
#include "apiserver/custom/rules.h"
#include "base/log.h"

typedef struct api_custom_resource_definition crd_t;

struct crds {
    struct apiserver *server;
    struct store_watch watch;
};

/* ---- what is served ---- */

/* The revision from which on objects were written by the schema a version has now. */
static rev_t since(struct apiserver *s, const crd_t *crd, uint32_t version, const crd_t *prev,
                   rev_t now)
{
    const struct api_custom_resource_definition_version *v = &crd->spec.versions[version];
    rev_t rev = now;
    for (uint32_t i = 0; prev && v->schema && i < prev->spec.n_versions; i++) {
        const struct api_custom_resource_definition_version *p = &prev->spec.versions[i];
        if (!str_eq(p->name, v->name) || !p->schema ||
            !str_eq(p->schema->open_apiv3_schema, v->schema->open_apiv3_schema))
            continue;
        const struct schema_kind *k =
            kinds_by_plural(s->kinds, crd->spec.group, v->name, crd->spec.names.plural);
        rev = k ? k->custom->since : now;
        custom_unref(k);
    }
    return rev;
}

static void serve(struct apiserver *s, struct object *o, const crd_t *prev)
{
    const crd_t *crd = o->msg;
    uint32_t n = 0;
    struct custom **v = xcalloc(crd->spec.n_versions + 1, sizeof(*v));
    struct error err = {0};
    for (uint32_t i = 0; crd_is_established(crd) && i < crd->spec.n_versions; i++) {
        if (!crd->spec.versions[i].served)
            continue;
        if (custom_new(crd, i, since(s, crd, i, prev, o->rev), &v[n], &err) == 0) {
            if (v[n]->schema->n_rules)
                v[n]->rules = rules_new(v[n]->schema->tree, STR("openAPIV3Schema"), NULL);
            v[n]->rules_free = rules_free;
            n++;
        } else {
            log_warn("version %.*s of %.*s is not served: %.*s",
                     STR_ARG(crd->spec.versions[i].name), STR_ARG(crd->metadata.name),
                     STR_ARG(err.message));
            error_clear(&err);
        }
    }
    error_fini(&err);
    const struct schema_kind *stored = custom_stored_of(crd);
    if (stored) {
        converts_set(s->converts, stored, crd, o->rev, v, n);
        if (prev)
            api_watch_end_kind(s, stored, v, n);
    }
    kinds_set(s->kinds, crd->metadata.name, v, n);
    free(v);
    apiservices_changed(s->apiservices);
}

static bool same_kinds(const crd_t *a, const crd_t *b)
{
    return schema_equal(&api_custom_resource_definition_spec_desc, &a->spec, &b->spec) &&
           schema_equal(&api_custom_resource_definition_names_desc, &a->status.accepted_names,
                        &b->status.accepted_names) &&
           crd_is_established(a) == crd_is_established(b) &&
           a->metadata.deletion_timestamp.set == b->metadata.deletion_timestamp.set;
}

static void gone(struct apiserver *s, struct object *o)
{
    const struct schema_kind *k = custom_stored_of(o->msg);
    if (k) {
        converts_set(s->converts, k, NULL, 0, NULL, 0);
        api_watch_end_kind(s, k, NULL, 0);
    }
    kinds_set(s->kinds, object_name(o), NULL, 0);
    apiservices_changed(s->apiservices);
}

static void on_events(void *arg, const struct store_event *events, size_t n)
{
    struct crds *c = arg;
    for (size_t i = 0; i < n; i++) {
        const struct store_event *e = &events[i];
        if (e->type == STORE_EVENT_DELETED)
            gone(c->server, e->object);
        else if (!e->prev || !same_kinds(e->prev->msg, e->object->msg))
            serve(c->server, e->object, e->prev ? e->prev->msg : NULL);
    }
}

static void adopt(struct apiserver *s, const crd_t *crd)
{
    struct error err = {0};
    const struct schema_kind *k = custom_stored_of(crd);
    if (k && store_adopt(s->store, k, &err) < 0)
        log_error("objects of %.*s cannot be read and stay aside: %.*s",
                  STR_ARG(crd->metadata.name), STR_ARG(err.message));
    error_fini(&err);
}

struct crds *crds_new(struct apiserver *s)
{
    struct crds *c = NEW(struct crds);
    struct store_iter it;
    c->server = s;
    if (store_iter_init(&it, s->store, KIND(CUSTOM_RESOURCE_DEFINITION), STR_NONE, 0, STR_NONE,
                        STR_NONE) >= 0) {
        for (struct object *o; (o = store_iter_next(&it));) {
            adopt(s, o->msg);
            serve(s, o, NULL);
        }
        store_iter_fini(&it);
    }
    if (store_watch_start(&c->watch, s->store, KIND(CUSTOM_RESOURCE_DEFINITION), STR_NONE,
                          store_rev(s->store), on_events, c) < 0)
        ASSERT(!"the newest revision is in the window");
    return c;
}

struct crds *crds_free(struct crds *c)
{
    if (c)
        store_watch_stop(&c->watch);
    free(c);
    return NULL;
}

int crds_check_call(struct api_call *c)
{
    if (!custom_is_served(c->kind))
        return 0;
    const struct schema_kind *now = kinds_current(c->server->kinds, c->kind->stored);
    if (!now)
        return call_error(c, REASON_NOT_FOUND, "the server could not find the requested resource");
    if (now->custom->terminating && c->verb == API_CREATE && !c->subresource.n)
        return call_error(c, REASON_METHOD_NOT_ALLOWED,
                          "create not allowed while custom resource definition is terminating");
    return 0;
}

/* ---- admission ---- */

struct others {
    const crd_t **v;
    size_t n, cap;
};

static void other(void *arg, struct object *o)
{
    struct others *all = arg;
    ARRAY_RESERVE(all->v, all->n, all->cap);
    all->v[all->n++] = o->msg;
}

int admit_crd_mutate(struct api_call *c, void *msg, const struct object *old)
{
    crd_t *crd = msg;
    if (c->kind != KIND(CUSTOM_RESOURCE_DEFINITION) || c->subresource.n)
        return 0;
    crd_approval_show(crd, rt_wall(c->server->rt), &c->arena);
    if (old && schema_equal(&api_custom_resource_definition_spec_desc, &crd->spec,
                            &((const crd_t *)old->msg)->spec))
        return 0;
    struct others all = {0};
    store_peek_each(c->server->store, c->kind, other, &all);
    crd_accept(crd, all.v, all.n, rt_wall(c->server->rt), &c->arena);
    free(all.v);
    return 0;
}

void crd_mark_deleted(struct api_call *c, void *msg)
{
    crd_t *crd = msg;
    crd_set_condition(crd, "Terminating", true, "InstanceDeletionPending",
                      STR("CustomResourceDefinition marked for deletion; CustomResource deletion "
                          "will begin soon"),
                      rt_wall(c->server->rt), &c->arena);
}
