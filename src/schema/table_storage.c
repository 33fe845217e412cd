/* Cells of volumes, their claims and drivers, and of quotas. */
#include "schema/table_int.h"

/* Phase of a volume or claim. */
TABLE_HOOK(volume_status)
{
    const struct api_object_meta *meta = msg;
    struct schema_ref ref;

    if (meta->deletion_timestamp.set)
        buf_add_lit(text, "Terminating");
    else if (schema_get_path(kind->desc, msg, STR("status.phase"), &ref) > 0)
        schema_ref_print(&ref, text);
}

/* What a volume allows, what a bound claim was given. */
TABLE_HOOK(volume_access_modes)
{
    static const struct {
        const char *mode, *brief;
    } modes[] = {{"ReadWriteOnce", "RWO"},
                 {"ReadOnlyMany", "ROX"},
                 {"ReadWriteMany", "RWX"},
                 {"ReadWriteOncePod", "RWOP"}};
    bool claim = kind->namespaced;
    const struct str *v;
    uint32_t n;

    if (claim) {
        const struct api_persistent_volume_claim *c = msg;
        v = c->status.access_modes;
        n = c->status.n_access_modes;
    } else {
        const struct api_persistent_volume *p = msg;
        v = p->spec.access_modes;
        n = p->spec.n_access_modes;
    }
    for (size_t k = 0; k < ARRAY_LEN(modes); k++)
        for (uint32_t i = 0; i < n; i++)
            if (str_eqz(v[i], modes[k].mode)) {
                buf_printf(text, "%s%s", text->n ? "," : "", modes[k].brief);
                break;
            }
}

TABLE_HOOK(pv_claim)
{
    const struct api_object_reference *r =
        ((const struct api_persistent_volume *)msg)->spec.claim_ref;

    if (r)
        buf_printf(text, "%.*s/%.*s", STR_ARG(r->namespace), STR_ARG(r->name));
}

TABLE_HOOK(storageclass_name)
{
    static const char *const keys[] = {"storageclass.kubernetes.io/is-default-class",
                                       "storageclass.beta.kubernetes.io/is-default-class"};
    const struct api_object_meta *meta = msg;
    bool is_default = false;

    for (uint32_t i = 0; i < meta->n_annotations; i++)
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            is_default |= str_eqz(meta->annotations[i].key, keys[k]) &&
                          str_is(meta->annotations[i].value, "true");
    buf_printf(text, "%.*s%s", STR_ARG(meta->name), is_default ? " (default)" : "");
}

TABLE_HOOK(csidriver_tokens)
{
    const struct api_csi_driver_spec *s = &((const struct api_csi_driver *)msg)->spec;

    for (uint32_t i = 0; i < s->n_token_requests; i++)
        buf_printf(text, "%s%.*s", i ? "," : "", STR_ARG(s->token_requests[i].audience));
    if (!s->n_token_requests)
        buf_add_lit(text, "<unset>");
}

/* "pods: 1/10, services: 0/5" of the resources that are limits, or that are not. */
static void quota_print(const struct api_resource_quota_status *s, bool limits, struct buf *text)
{
    for (uint32_t i = 0; i < s->n_hard; i++) {
        struct str key = s->hard[i].key;
        if (str_starts(key, STR("limits.")) != limits)
            continue;
        const struct quantity *used = kv_quantity_get(s->used, s->n_used, key);
        buf_printf(text, "%s%.*s: ", text->n ? ", " : "", STR_ARG(key));
        quantity_print(used ? used : &(struct quantity){0}, text);
        buf_add_char(text, '/');
        quantity_print(&s->hard[i].value, text);
    }
}

TABLE_HOOK(quota_request)
{
    quota_print(&((const struct api_resource_quota *)msg)->status, false, text);
}

TABLE_HOOK(quota_limit)
{
    quota_print(&((const struct api_resource_quota *)msg)->status, true, text);
}
