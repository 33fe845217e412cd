/* The nodes themselves are the load balancer: a Service's addresses are those of the nodes that
 * would serve it, and each node leads its own addresses to the Service's endpoints (src/net). */
#include "controllers/service_plan.h"

static bool is_lb(const struct api_service *svc)
{
    return str_is(svc->spec.type, "LoadBalancer");
}

bool service_lb_is_ours(const struct api_service *svc)
{
    struct str class = svc->spec.load_balancer_class;
    return is_lb(svc) && (str_empty(class) || str_is(class, LB_CLASS));
}

static const struct api_condition *conflict_of(const struct api_service *svc)
{
    for (uint32_t i = 0; i < svc->status.n_conditions; i++)
        if (str_is(svc->status.conditions[i].type, LB_CONFLICT))
            return &svc->status.conditions[i];
    return NULL;
}

bool service_lb_has_conflict(const struct api_service *svc)
{
    const struct api_condition *c = conflict_of(svc);
    return c && str_is(c->status, "True");
}

const struct api_service_port *service_lb_shared_port(const struct api_service *svc,
                                                      const struct api_service *other)
{
    for (uint32_t i = 0; i < svc->spec.n_ports; i++)
        for (uint32_t k = 0; k < other->spec.n_ports; k++)
            if (svc->spec.ports[i].port == other->spec.ports[k].port &&
                str_eq(svc->spec.ports[i].protocol, other->spec.ports[k].protocol))
                return &svc->spec.ports[i];
    return NULL;
}

bool service_lb_yields(const struct api_service *svc, const struct api_service *other)
{
    bool has = svc->status.load_balancer.n_ingress > 0,
         other_has = other->status.load_balancer.n_ingress > 0;
    if (!service_lb_is_ours(other) || str_eq(svc->metadata.uid, other->metadata.uid) ||
        (other->metadata.deletion_timestamp.set && !other_has) ||
        (!other_has && service_lb_has_conflict(other)) || !service_lb_shared_port(svc, other))
        return false;
    if (has != other_has)
        return other_has;
    usec_t born = svc->metadata.creation_timestamp.usec,
           other_born = other->metadata.creation_timestamp.usec;
    if (born != other_born)
        return other_born < born;
    return str_cmp(other->metadata.uid, svc->metadata.uid) < 0;
}

/* ---- nodes ---- */

static bool node_ready(const struct api_node *n)
{
    for (uint32_t i = 0; i < n->status.n_conditions; i++)
        if (str_is(n->status.conditions[i].type, "Ready"))
            return str_is(n->status.conditions[i].status, "True");
    return false;
}

static bool node_serves(const struct api_node *n)
{
    for (uint32_t i = 0; i < n->spec.n_taints; i++)
        if (str_is(n->spec.taints[i].key, "ToBeDeletedByClusterAutoscaler"))
            return false;
    return node_ready(n) && !n->metadata.deletion_timestamp.set &&
           !meta_label(&n->metadata, STR(LB_EXCLUDED)).p;
}

bool service_lb_node_changed(const struct api_node *old, const struct api_node *new)
{
    if (!old || !new)
        return true;
    if (node_serves(old) != node_serves(new) || old->status.n_addresses != new->status.n_addresses)
        return true;
    for (uint32_t i = 0; i < old->status.n_addresses; i++)
        if (!str_eq(old->status.addresses[i].type, new->status.addresses[i].type) ||
            !str_eq(old->status.addresses[i].address, new->status.addresses[i].address))
            return true;
    return false;
}

static bool wants_family(const struct api_service *svc, struct str ip)
{
    bool v6 = str_find(ip, ':') >= 0;
    if (svc->spec.n_ip_families == 0)
        return !v6;
    for (uint32_t i = 0; i < svc->spec.n_ip_families; i++)
        if (str_is(svc->spec.ip_families[i], "IPv6") == v6)
            return true;
    return false;
}

/* An endpoint that could be reached through this node without leaving it. */
static bool has_endpoint(const struct service_lb_in *in, struct str node)
{
    for (uint32_t i = 0; i < in->n_slices; i++)
        for (uint32_t k = 0; k < in->slices[i]->n_endpoints; k++) {
            const struct api_endpoint *e = &in->slices[i]->endpoints[k];
            if ((!e->conditions.has_ready || e->conditions.ready) && str_eq(e->node_name, node))
                return true;
        }
    return false;
}

static void add_node(const struct service_lb_in *in, const struct api_node *n, struct str type,
                     struct api_load_balancer_status *lb)
{
    for (uint32_t i = 0; i < n->status.n_addresses; i++) {
        const struct api_node_address *addr = &n->status.addresses[i];
        bool there = !str_eq(addr->type, type) || !wants_family(in->svc, addr->address);
        for (uint32_t k = 0; k < lb->n_ingress; k++)
            there = there || str_eq(lb->ingress[k].ip, addr->address);
        if (!there)
            lb->ingress[lb->n_ingress++] =
                (struct api_load_balancer_ingress){.ip = addr->address, .ip_mode = STR("VIP")};
    }
}

static void plan_ingress(struct arena *a, const struct service_lb_in *in,
                         struct api_load_balancer_status *lb)
{
    bool local = str_is(in->svc->spec.external_traffic_policy, "Local");
    uint32_t most = 0;
    for (uint32_t i = 0; i < in->n_nodes; i++)
        most += in->nodes[i]->status.n_addresses;
    lb->ingress = ARENA_NEW_N(a, struct api_load_balancer_ingress, most + 1);
    lb->n_ingress = 0;
    for (uint32_t i = 0; i < in->n_nodes; i++) {
        const struct api_node *n = in->nodes[i];
        uint32_t before = lb->n_ingress;
        if (!node_serves(n) || (local && !has_endpoint(in, n->metadata.name)))
            continue;
        add_node(in, n, STR("ExternalIP"), lb);
        if (lb->n_ingress == before)
            add_node(in, n, STR("InternalIP"), lb);
    }
}

/* ---- status ---- */

static void plan_conditions(struct arena *a, const struct service_lb_in *in,
                            struct api_service_status *st)
{
    const struct api_condition *had = conflict_of(in->svc);
    const struct api_service_status *old = &in->svc->status;
    st->conditions = ARENA_NEW_N(a, struct api_condition, old->n_conditions + 1);
    st->n_conditions = 0;
    for (uint32_t i = 0; i < old->n_conditions; i++)
        if (&old->conditions[i] != had)
            st->conditions[st->n_conditions++] = old->conditions[i];
    if (!in->holder)
        return;
    const struct api_service_port *p = service_lb_shared_port(in->svc, in->holder);
    struct api_condition *c = &st->conditions[st->n_conditions++];
    *c = (struct api_condition){
        .type = STR(LB_CONFLICT),
        .status = STR("True"),
        .observed_generation = in->svc->metadata.generation,
        .last_transition_time = had && str_is(had->status, "True") ? had->last_transition_time
                                                                   : timestamp_seconds(in->now),
        .reason = STR("PortInUse"),
        .message =
            arena_printf(a, "port %d/%.*s of the nodes is held by Service %.*s/%.*s", p->port,
                         STR_ARG(p->protocol), STR_ARG(in->holder->metadata.namespace),
                         STR_ARG(in->holder->metadata.name)),
    };
}

struct api_service_status *service_lb_plan(struct arena *a, const struct service_lb_in *in)
{
    struct api_service_status *st = ARENA_NEW(a, struct api_service_status);
    *st = in->svc->status;
    st->load_balancer.n_ingress = 0;
    if (!in->holder && !in->svc->metadata.deletion_timestamp.set)
        plan_ingress(a, in, &st->load_balancer);
    plan_conditions(a, in, st);
    return schema_equal(&api_service_status_desc, st, &in->svc->status) ? NULL : st;
}
