/* Cells of ingresses and addresses, and of admission policies. */
#include "schema/table_int.h"

#define HOSTS_MAX 3 /* hosts named before "+ N more..." */

/* ---- ingresses ---- */

TABLE_HOOK(ingress_hosts)
{
    const struct api_ingress_spec *s = &((const struct api_ingress *)msg)->spec;
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->n_rules; i++)
        if (s->rules[i].host.n && n++ < HOSTS_MAX)
            buf_printf(text, "%s%.*s", text->n ? "," : "", STR_ARG(s->rules[i].host));
    if (n > HOSTS_MAX)
        buf_printf(text, " + %u more...", n - HOSTS_MAX);
    if (!n)
        buf_add_char(text, '*');
}

TABLE_HOOK(ingress_address)
{
    const struct api_ingress_load_balancer_status *s =
        &((const struct api_ingress *)msg)->status.load_balancer;

    for (uint32_t i = 0; i < s->n_ingress; i++) {
        struct str at = s->ingress[i].ip.n ? s->ingress[i].ip : s->ingress[i].hostname;
        buf_printf(text, "%s%.*s", text->n ? "," : "", STR_ARG(at));
    }
}

TABLE_HOOK(ingress_ports)
{
    buf_add_str(text, ((const struct api_ingress *)msg)->spec.n_tls ? STR("80, 443") : STR("80"));
}

TABLE_HOOK(ingressclass_parameters)
{
    const struct api_ingress_class_parameters_reference *p =
        ((const struct api_ingress_class *)msg)->spec.parameters;

    if (p)
        buf_printf(text, "%.*s%s%.*s/%.*s", STR_ARG(p->kind), p->api_group.n ? "." : "",
                   STR_ARG(p->api_group), STR_ARG(p->name));
    table_or_none(text);
}

TABLE_HOOK(ipaddress_parent)
{
    const struct api_parent_reference *p = ((const struct api_ip_address *)msg)->spec.parent_ref;

    if (p)
        buf_printf(text, "%.*s%s%.*s/%.*s%s%.*s", STR_ARG(p->resource), p->group.n ? "." : "",
                   STR_ARG(p->group), STR_ARG(p->namespace), p->namespace.n ? "/" : "",
                   STR_ARG(p->name));
    table_or_none(text);
}

/* ---- admission policies: the validating and the mutating ones ---- */

static const void *at_path(const struct schema_kind *kind, const void *msg, const char *path)
{
    struct schema_ref ref;

    return schema_get_path(kind->desc, msg, str_z(path), &ref) > 0 ? ref.ptr : NULL;
}

TABLE_HOOK(policy_param_kind)
{
    const struct api_param_kind *p = at_path(kind, msg, "spec.paramKind");

    if (p)
        buf_printf(text, "%.*s/%.*s", STR_ARG(p->api_version), STR_ARG(p->kind));
    else
        buf_add_lit(text, "<unset>");
}

TABLE_HOOK(policy_param_ref)
{
    const struct api_param_ref *p = at_path(kind, msg, "spec.paramRef");

    if (!p)
        buf_add_lit(text, "<unset>");
    else if (p->name.n)
        buf_printf(text, "%.*s%s%.*s", STR_ARG(p->namespace), p->namespace.n ? "/" : "",
                   STR_ARG(p->name));
    else
        buf_add_char(text, '*');
}
