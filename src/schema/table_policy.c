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

/* ---- API services ---- */

TABLE_HOOK(apiservice_service)
{
    const struct api_apiservice_reference *r = ((const struct api_apiservice *)msg)->spec.service;

    if (r)
        buf_printf(text, "%.*s/%.*s", STR_ARG(r->namespace), STR_ARG(r->name));
    else
        buf_add_lit(text, "Local");
}

TABLE_HOOK(apiservice_available)
{
    const struct api_apiservice_status *s = &((const struct api_apiservice *)msg)->status;

    for (uint32_t i = 0; i < s->n_conditions; i++) {
        const struct api_apiservice_condition *c = &s->conditions[i];
        if (!str_is(c->type, "Available"))
            continue;
        buf_add_str(text, c->status);
        if (!str_is(c->status, "True") && c->reason.n)
            buf_printf(text, " (%.*s)", STR_ARG(c->reason));
        return;
    }
    buf_add_lit(text, "Unknown");
}

/* ---- autoscalers, in either version ---- */

#define TARGETS_MAX 2 /* figures named before "+ N more..." */

static const struct api_horizontal_pod_autoscaler *hpa_of(const struct schema_kind *kind,
                                                          const void *msg, struct arena *a)
{
    return schema_to_storage(kind, msg, a);
}

TABLE_HOOK(hpa_reference)
{
    struct arena a = {0};
    const struct api_hpa_object_reference *r = &hpa_of(kind, msg, &a)->spec.scale_target_ref;

    buf_printf(text, "%.*s/%.*s", STR_ARG(r->kind), STR_ARG(r->name));
    arena_fini(&a);
}

static void amount_or_unknown(const struct quantity *q, struct buf *text)
{
    if (q && q->set)
        quantity_print(q, text);
    else
        buf_add_lit(text, "<unknown>");
}

/* "cpu: 12%/80%" */
static void usage_print(struct str name, const struct api_hpa_metric_target *t,
                        const struct api_hpa_metric_value *now, struct buf *text)
{
    buf_printf(text, "%.*s: ", STR_ARG(name));
    if (t->average_value.set) {
        amount_or_unknown(now ? &now->average_value : NULL, text);
        buf_add_char(text, '/');
        quantity_print(&t->average_value, text);
        return;
    }
    if (now && now->has_average_utilization)
        buf_printf(text, "%d%%", now->average_utilization);
    else
        buf_add_lit(text, "<unknown>");
    if (t->has_average_utilization)
        buf_printf(text, "/%d%%", t->average_utilization);
    else
        buf_add_lit(text, "/<auto>");
}

static void value_print(const struct api_hpa_metric_target *t,
                        const struct api_hpa_metric_value *now, bool mark, struct buf *text)
{
    bool average = t->average_value.set;

    amount_or_unknown(now ? average ? &now->average_value : &now->value : NULL, text);
    buf_add_char(text, '/');
    quantity_print(average ? &t->average_value : &t->value, text);
    if (average && mark)
        buf_add_lit(text, " (avg)");
}

#define CURRENT(s, member) ((s) && (s)->member ? &(s)->member->current : NULL)

static void target_print(const struct api_hpa_metric *m, const struct api_hpa_metric_status *s,
                         struct buf *text)
{
    if (m->resource)
        usage_print(m->resource->name, &m->resource->target, CURRENT(s, resource), text);
    else if (m->container_resource)
        usage_print(m->container_resource->name, &m->container_resource->target,
                    CURRENT(s, container_resource), text);
    else if (m->pods)
        value_print(&m->pods->target, CURRENT(s, pods), false, text);
    else if (m->object)
        value_print(&m->object->target, CURRENT(s, object), true, text);
    else if (m->external)
        value_print(&m->external->target, CURRENT(s, external), true, text);
    else
        buf_add_lit(text, "<unknown type>");
}

TABLE_HOOK(hpa_targets)
{
    struct arena a = {0};
    const struct api_horizontal_pod_autoscaler *h = hpa_of(kind, msg, &a);

    for (uint32_t i = 0; i < h->spec.n_metrics && i < TARGETS_MAX; i++) {
        if (i)
            buf_add_lit(text, ", ");
        target_print(&h->spec.metrics[i],
                     i < h->status.n_current_metrics ? &h->status.current_metrics[i] : NULL, text);
    }
    if (h->spec.n_metrics > TARGETS_MAX)
        buf_printf(text, " + %u more...", h->spec.n_metrics - TARGETS_MAX);
    table_or_none(text);
    arena_fini(&a);
}

/* ---- others ---- */

TABLE_HOOK(flowschema_missing)
{
    const struct api_flow_schema_status *s = &((const struct api_flow_schema *)msg)->status;

    for (uint32_t i = 0; i < s->n_conditions && !text->n; i++)
        if (str_is(s->conditions[i].type, "Dangling"))
            buf_add_str(text, s->conditions[i].status);
    if (!text->n)
        buf_add_char(text, '?');
}

TABLE_HOOK(resourceclaim_state)
{
    const struct api_device_resource_claim *c = msg;
    bool deleted = c->metadata.deletion_timestamp.set;

    if (deleted)
        buf_add_lit(text, "deleted");
    if (c->status.allocation)
        buf_printf(text, "%sallocated", deleted ? "," : "");
    else if (!deleted)
        buf_add_lit(text, "pending");
    if (c->status.allocation && c->status.n_reserved_for)
        buf_add_lit(text, ",reserved");
}

static const struct api_component_condition *healthy(const void *msg)
{
    const struct api_component_status *c = msg;

    for (uint32_t i = 0; i < c->n_conditions; i++)
        if (str_is(c->conditions[i].type, "Healthy"))
            return &c->conditions[i];
    return NULL;
}

TABLE_HOOK(componentstatus_status)
{
    const struct api_component_condition *c = healthy(msg);

    buf_add_str(text, !c                           ? STR("Unknown")
                      : str_is(c->status, "True")  ? STR("Healthy")
                      : str_is(c->status, "False") ? STR("Unhealthy")
                                                   : STR("Unknown"));
}

TABLE_HOOK(componentstatus_message)
{
    const struct api_component_condition *c = healthy(msg);

    if (c)
        buf_add_str(text, c->message);
}

TABLE_HOOK(componentstatus_error)
{
    const struct api_component_condition *c = healthy(msg);

    if (c)
        buf_add_str(text, c->error);
}
