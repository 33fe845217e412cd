/* Every namespace has a ConfigMap kube-root-ca.crt with the cluster's CA, which pods get projected
 * beside their token, so that they can trust the API server. */
#include "controllers/registry.h"

#define NAME "kube-root-ca.crt"

static void map_config(struct controller *c, struct object *old, struct object *new)
{
    const struct object *o = new ? new : old;
    if (str_is(object_name(o), NAME))
        controller_add_name(c, STR_NONE, object_ns(o));
}

static bool made(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    return reply->r == 0 || reply->r == -EEXIST || reply->r == -ENOENT || reply->r == -EPERM;
}

static void reconcile(struct reconcile *rc)
{
    const char *pem = controller_opts(rc->controller)->root_ca_pem;
    struct object *ns = reconcile_get(rc, KIND_NAMESPACE, STR_NONE, rc->name);
    if (!pem || !ns || object_meta(ns)->deletion_timestamp.set)
        return;
    struct object *old = reconcile_get(rc, KIND_CONFIG_MAP, rc->name, STR(NAME));
    struct kv_str *data = ARENA_NEW(rc->arena, struct kv_str);
    *data = (struct kv_str){STR("ca.crt"), str_z(pem)};
    if (old) {
        struct api_config_map copy = *OBJECT_MSG(old, api_config_map);
        if (copy.n_data == 1 && str_is(copy.data[0].key, "ca.crt") &&
            str_eq(copy.data[0].value, data->value))
            return;
        copy.data = data;
        copy.n_data = 1;
        controller_update(rc, KIND_CONFIG_MAP, &copy, NULL, NULL);
        return;
    }
    struct api_config_map *m = ARENA_NEW(rc->arena, struct api_config_map);
    m->metadata.name = STR(NAME);
    m->metadata.namespace = rc->name;
    kv_put(rc->arena, &m->metadata.annotations, &m->metadata.n_annotations,
           STR("kubernetes.io/description"),
           STR("Contains a CA bundle that can be used to verify the kube-apiserver when using "
               "internal "
               "endpoints such as the internal service IP or kubernetes.default.svc. No other "
               "usage is "
               "guaranteed across distributions of Kubernetes clusters."));
    m->data = data;
    m->n_data = 1;
    controller_create(rc, KIND_CONFIG_MAP, m, made, NULL);
}

const struct controller_row rootca_row = {
    .name = "root-ca",
    .watches = {{KIND_NAMESPACE, controller_map_self}, {KIND_CONFIG_MAP, map_config}},
    .n_watches = 2,
    .reconcile = reconcile,
};
