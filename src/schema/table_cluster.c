/* Cells of nodes, services and their endpoints. */
#include "schema/table_int.h"

#define LISTED_MAX 3 /* endpoints named before "+ N more..." */

/* ---- nodes ---- */

TABLE_HOOK(node_status)
{
    const struct api_node *n = msg;

    for (uint32_t i = 0; i < n->status.n_conditions; i++)
        if (str_is(n->status.conditions[i].type, "Ready"))
            buf_add_str(text, str_is(n->status.conditions[i].status, "True") ? STR("Ready")
                                                                             : STR("NotReady"));
    if (!text->n)
        buf_add_lit(text, "Unknown");
    if (n->spec.unschedulable)
        buf_add_lit(text, ",SchedulingDisabled");
}

TABLE_HOOK(node_roles)
{
    const struct api_object_meta *meta = msg;
    struct str prefix = STR("node-role.kubernetes.io/");

    for (uint32_t i = 0; i < meta->n_labels; i++) {
        struct str key = meta->labels[i].key, role = STR_NONE;
        if (str_starts(key, prefix))
            role = str_sub(key, prefix.n, key.n);
        else if (str_is(key, "kubernetes.io/role"))
            role = meta->labels[i].value;
        if (role.n)
            buf_printf(text, "%s%.*s", text->n ? "," : "", STR_ARG(role));
    }
    table_or_none(text);
}

static void node_address(const void *msg, const char *type, struct buf *text)
{
    const struct api_node *n = msg;

    for (uint32_t i = 0; !text->n && i < n->status.n_addresses; i++)
        if (str_eqz(n->status.addresses[i].type, type))
            buf_add_str(text, n->status.addresses[i].address);
    table_or_none(text);
}

TABLE_HOOK(node_internal_ip)
{
    node_address(msg, "InternalIP", text);
}

TABLE_HOOK(node_external_ip)
{
    node_address(msg, "ExternalIP", text);
}

static void or_unknown(struct str s, struct buf *text)
{
    buf_add_str(text, s.n ? s : STR("<unknown>"));
}

TABLE_HOOK(node_os_image)
{
    or_unknown(((const struct api_node *)msg)->status.node_info.os_image, text);
}

TABLE_HOOK(node_kernel)
{
    or_unknown(((const struct api_node *)msg)->status.node_info.kernel_version, text);
}

TABLE_HOOK(node_runtime)
{
    or_unknown(((const struct api_node *)msg)->status.node_info.container_runtime_version, text);
}

/* ---- services ---- */

TABLE_HOOK(service_cluster_ip)
{
    const struct api_service *s = msg;

    if (!str_is(s->spec.type, "ExternalName"))
        buf_add_str(text, s->spec.n_cluster_ips ? s->spec.cluster_ips[0] : s->spec.cluster_ip);
    table_or_none(text);
}

static void joined(const struct str *v, uint32_t n, struct buf *text)
{
    for (uint32_t i = 0; i < n; i++)
        buf_printf(text, "%s%.*s", text->n ? "," : "", STR_ARG(v[i]));
}

TABLE_HOOK(service_external_ip)
{
    const struct api_service *s = msg;
    bool balanced = str_is(s->spec.type, "LoadBalancer");

    if (str_is(s->spec.type, "ExternalName"))
        buf_add_str(text, s->spec.external_name);
    for (uint32_t i = 0; balanced && i < s->status.load_balancer.n_ingress; i++) {
        const struct api_load_balancer_ingress *in = &s->status.load_balancer.ingress[i];
        joined(in->ip.n ? &in->ip : &in->hostname, 1, text);
    }
    joined(s->spec.external_ips, s->spec.n_external_ips, text);
    if (balanced && !text->n)
        buf_add_lit(text, "<pending>");
    table_or_none(text);
}

TABLE_HOOK(service_ports)
{
    const struct api_service *s = msg;

    for (uint32_t i = 0; i < s->spec.n_ports; i++) {
        const struct api_service_port *p = &s->spec.ports[i];
        buf_printf(text, "%s%d", i ? "," : "", p->port);
        if (p->node_port)
            buf_printf(text, ":%d", p->node_port);
        buf_printf(text, "/%.*s", STR_ARG(p->protocol));
    }
    table_or_none(text);
}

/* ---- endpoints ---- */

static void listed(struct buf *text, uint32_t *n, struct str address,
                   const struct api_endpoint_port *port)
{
    if ((*n)++ >= LISTED_MAX)
        return;
    buf_printf(text, "%s%.*s", text->n ? "," : "", STR_ARG(address));
    if (port)
        buf_printf(text, ":%d", port->port);
}

TABLE_HOOK(endpoints_addresses)
{
    const struct api_endpoints *e = msg;
    uint32_t n = 0;

    for (uint32_t i = 0; i < e->n_subsets; i++) {
        const struct api_endpoint_subset *s = &e->subsets[i];
        for (uint32_t p = 0; p < MAX(s->n_ports, 1u); p++)
            for (uint32_t k = 0; k < s->n_addresses; k++)
                listed(text, &n, s->addresses[k].ip, s->n_ports ? &s->ports[p] : NULL);
    }
    if (n > LISTED_MAX)
        buf_printf(text, " + %u more...", n - LISTED_MAX);
    table_or_none(text);
}

TABLE_HOOK(endpointslice_endpoints)
{
    const struct api_endpoint_slice *e = msg;
    uint32_t n = 0;

    for (uint32_t i = 0; i < e->n_endpoints; i++)
        for (uint32_t k = 0; k < e->endpoints[i].n_addresses; k++)
            listed(text, &n, e->endpoints[i].addresses[k], NULL);
    if (n > LISTED_MAX)
        buf_printf(text, " + %u more...", n - LISTED_MAX);
    if (!text->n)
        buf_add_lit(text, "<unset>");
}

TABLE_HOOK(endpointslice_ports)
{
    const struct api_endpoint_slice *e = msg;

    for (uint32_t i = 0; i < e->n_ports; i++) {
        const struct api_discovery_endpoint_port *p = &e->ports[i];
        buf_printf(text, "%s", i ? "," : "");
        if (p->has_port)
            buf_add_i64(text, p->port);
        else
            buf_add_str(text, p->name.n ? p->name : STR("*"));
    }
    if (!text->n)
        buf_add_lit(text, "<unset>");
}

/* ---- certificate requests ---- */

TABLE_HOOK(csr_duration)
{
    const struct api_certificate_signing_request *c = msg;
    char out[DURATION_TEXT_MAX];

    if (!c->spec.has_expiration_seconds) {
        buf_add_lit(text, "<none>");
        return;
    }
    duration_human((int64_t)c->spec.expiration_seconds * NSEC_PER_SEC, out);
    buf_add_str(text, str_z(out));
}

TABLE_HOOK(csr_condition)
{
    const struct api_certificate_signing_request *c = msg;
    static const char *const words[] = {"Approved", "Denied", "Failed"};

    for (size_t k = 0; k < ARRAY_LEN(words); k++)
        for (uint32_t i = 0; i < c->status.n_conditions; i++)
            if (str_eqz(c->status.conditions[i].type, words[k])) {
                buf_printf(text, "%s%s", text->n ? "," : "", words[k]);
                break;
            }
    if (!text->n)
        buf_add_lit(text, "Pending");
    if (c->status.certificate.n)
        buf_add_lit(text, ",Issued");
}
