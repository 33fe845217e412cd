/* Bootstrap tokens whose time is over are removed: they are void already, and would only be read.
 */
#include "controllers/registry.h"

static const struct str *field(const struct api_secret *s, struct str key)
{
    for (uint32_t i = 0; i < s->n_data; i++)
        if (str_eq(s->data[i].key, key))
            return &s->data[i].value;
    return NULL;
}

static bool is_token(const struct object *o)
{
    return str_is(object_ns(o), "kube-system") &&
           str_is(OBJECT_MSG(o, api_secret)->type, "bootstrap.kubernetes.io/token");
}

static void map_secret(struct controller *c, struct object *old, struct object *new)
{
    if (new &&is_token(new))
        controller_add_object(c, new);
}

static void reconcile(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_SECRET, rc->ns, rc->name);
    const struct str *until = o ? field(OBJECT_MSG(o, api_secret), STR("expiration")) : NULL;
    struct timestamp t;
    if (!until || !is_token(o) || timestamp_parse(*until, &t) < 0)
        return;
    if (t.usec <= rc->now)
        controller_delete(rc, KIND_SECRET, object_meta(o), NULL, NULL, NULL);
    else
        reconcile_again(rc, (t.usec - rc->now) * NSEC_PER_USEC + NSEC_PER_MSEC);
}

const struct controller_row token_cleaner_row = {
    .name = "token-cleaner",
    .watches = {{KIND_SECRET, map_secret}},
    .n_watches = 1,
    .reconcile = reconcile,
};
