/* Every namespace has a ServiceAccount `default`, which pods that name none run as. */
#include "controllers/registry.h"

static void map_account(struct controller *c, struct object *old, struct object *new)
{
    if (!new &&str_is(object_name(old), "default"))
        controller_add_name(c, STR_NONE, object_ns(old));
}

static bool made(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    return reply->r == 0 || reply->r == -EEXIST || reply->r == -ENOENT || reply->r == -EPERM;
}

static void reconcile(struct reconcile *rc)
{
    struct object *ns = reconcile_get(rc, KIND_NAMESPACE, STR_NONE, rc->name);
    if (!ns || object_meta(ns)->deletion_timestamp.set ||
        reconcile_get(rc, KIND_SERVICE_ACCOUNT, rc->name, STR("default")))
        return;
    struct api_service_account *sa = ARENA_NEW(rc->arena, struct api_service_account);
    sa->metadata.name = STR("default");
    sa->metadata.namespace = rc->name;
    controller_create(rc, KIND_SERVICE_ACCOUNT, sa, made, NULL);
}

const struct controller_row serviceaccount_row = {
    .name = "serviceaccount",
    .watches = {{KIND_NAMESPACE, controller_map_self}, {KIND_SERVICE_ACCOUNT, map_account}},
    .n_watches = 2,
    .reconcile = reconcile,
};
