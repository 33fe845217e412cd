/* CustomResourceDefinitions that are being deleted, and those whose names were taken.
 *
 * The server itself judges names and serves kinds where definitions are written; what is left is
 * work that takes time or that the change of another definition causes. A definition that goes
 * waits by its finalizer until all its objects are gone; the server takes no new ones meanwhile.
 * When a definition goes or gives names up, those of its group that lack a name are judged again.
 */
#include "controllers/registry.h"

#include "api/crd.h"
#include "base/buf.h"
#include "schema/custom.h"

#define LOOK_AGAIN (1 * NSEC_PER_SEC)

typedef struct api_custom_resource_definition crd_t;

static void map_crd(struct controller *c, struct object *old, struct object *new)
{
    struct client_cache_iter it;
    const crd_t *changed = OBJECT_MSG(new ? new : old, api_custom_resource_definition);
    if (new)
        controller_add_object(c, new);
    if (!old)
        return;
    client_cache_iter_init(&it, controller_cache(c, KIND_CUSTOM_RESOURCE_DEFINITION), STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const crd_t *crd = OBJECT_MSG(o, api_custom_resource_definition);
        if (str_eq(crd->spec.group, changed->spec.group) && !crd_condition_is(crd, "NamesAccepted"))
            controller_add_object(c, o);
    }
}

/* ---- names ---- */

static void judge_again(struct reconcile *rc, const struct object *o)
{
    struct client_cache *cache = controller_cache(rc->controller, KIND_CUSTOM_RESOURCE_DEFINITION);
    const crd_t **v = ARENA_NEW_N(rc->arena, const crd_t *, client_cache_count(cache) + 1);
    crd_t *copy = schema_clone(&api_custom_resource_definition_desc, o->msg, rc->arena);
    struct client_cache_iter it;
    size_t n = 0, max = client_cache_count(cache);
    client_cache_iter_init(&it, cache, STR_NONE);
    for (struct object *x; n < max && (x = client_cache_iter_next(&it));)
        v[n++] = x->msg;
    crd_accept(copy, v, n, rc->now, rc->arena);
    if (schema_equal(&api_custom_resource_definition_status_desc, &copy->status,
                     &OBJECT_MSG(o, api_custom_resource_definition)->status))
        return;
    controller_update_sub(rc, KIND_CUSTOM_RESOURCE_DEFINITION, "status", copy, NULL, NULL);
}

/* ---- the end ---- */

struct ending {
    struct object *o; /* kept */
    const struct schema_kind *kind;
};

static void say(struct reconcile *rc, const struct ending *e, bool yes, const char *reason,
                struct str message)
{
    crd_t *copy = schema_clone(&api_custom_resource_definition_desc, e->o->msg, rc->arena);
    crd_set_condition(copy, "Terminating", yes, reason, message, rc->now, rc->arena);
    copy->metadata.resource_version = STR_NONE;
    if (!schema_equal(&api_custom_resource_definition_status_desc, &copy->status,
                      &OBJECT_MSG(e->o, api_custom_resource_definition)->status))
        controller_update_sub(rc, KIND_CUSTOM_RESOURCE_DEFINITION, "status", copy, NULL, NULL);
}

static bool looked(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct ending *e = arg;
    if (reply->r < 0)
        return false;
    if (reply->n_items) {
        say(rc, e, true, "InstanceDeletionInProgress",
            STR("CustomResource deletion is in progress"));
        reconcile_again(rc, LOOK_AGAIN);
        return true;
    }
    const struct api_object_meta *m = object_meta(e->o);
    controller_patch(rc, KIND_CUSTOM_RESOURCE_DEFINITION, m, NULL, CLIENT_PATCH_MERGE,
                     finalizers_patch_without(rc->arena, m, STR(CRD_FINALIZER)), NULL, NULL);
    return true;
}

static bool emptied(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct ending *e = arg;
    if (reply->r < 0) {
        say(rc, e, true, "InstanceDeletionFailed",
            reply->err ? arena_str(rc->arena, reply->err->message) : STR("no answer"));
        return false;
    }
    const struct client_request req = {.verb = CLIENT_LIST, .kind = e->kind, .limit = 1};
    controller_call(rc, &req, looked, e);
    return true;
}

static void reconcile(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_CUSTOM_RESOURCE_DEFINITION, STR_NONE, rc->name);
    if (!o)
        return;
    const struct api_object_meta *m = object_meta(reconcile_keep(rc, o));
    if (!m->deletion_timestamp.set) {
        if (!crd_condition_is(o->msg, "NamesAccepted"))
            judge_again(rc, o);
        return;
    }
    if (!has_str(m->finalizers, m->n_finalizers, STR(CRD_FINALIZER)))
        return;
    struct ending *e = ARENA_NEW(rc->arena, struct ending);
    *e = (struct ending){o, custom_stored_of(o->msg)};
    if (!e->kind) {
        reconcile_fail(rc, "too many resources were declared since the server started");
        return;
    }
    const struct client_request req = {
        .verb = CLIENT_DELETE_COLLECTION, .kind = e->kind, .propagation = STR("Background")};
    controller_call(rc, &req, emptied, e);
}

const struct controller_row crd_row = {
    .name = "customresourcedefinition",
    .watches = {{KIND_CUSTOM_RESOURCE_DEFINITION, map_crd}},
    .n_watches = 1,
    .reconcile = reconcile,
};
