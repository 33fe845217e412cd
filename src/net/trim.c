/* Ten thousand Services are megabytes of what nobody here asks for: who made them, when, how to
 * find their pods. Heartbeats of nodes and pods leave nothing behind, so a file that holds these
 * objects is not written for them. */
#include "net/trim.h"

#include "api/object.h"
#include "schema/schema.h"

#define ZONE_LABEL    "topology.kubernetes.io/zone"
#define SERVICE_LABEL "kubernetes.io/service-name"

static void trim_meta(struct api_object_meta *m)
{
    m->n_managed_fields = m->n_annotations = m->n_owner_references = m->n_finalizers = 0;
    m->generate_name = m->self_link = STR_NONE;
    m->generation = 0;
    m->has_deletion_grace_period_seconds = false;
}

static void trim_identity(struct api_object_meta *m)
{
    m->uid = STR_NONE;
    m->creation_timestamp.set = m->deletion_timestamp.set = false;
}

static void one_label(struct api_object_meta *m, struct str key, struct arena *a)
{
    const struct str *value = KV_GET(m, labels, key);
    struct kv_str *label = ARENA_NEW(a, struct kv_str);

    m->labels = label;
    m->n_labels = value ? 1 : 0;
    if (value)
        *label = (struct kv_str){key, *value};
}

static void unless(struct str *value, const char *what)
{
    if (!str_eqz(*value, what))
        *value = STR_NONE;
}

static void trim_service_port(struct api_service_port *p)
{
    p->app_protocol = STR_NONE;
    p->target_port = (struct int_or_str){0}; /* slices say it */
    if (str_is(p->protocol, "TCP"))
        p->protocol = STR_NONE; /* as whoever reads it takes it */
}

void net_trim_service(void *msg, struct arena *a, const char *own)
{
    struct api_service *s = msg;
    struct api_service_spec *spec = &s->spec;
    struct api_service_port *ports = ARENA_NEW_N(a, struct api_service_port, spec->n_ports + 1);

    trim_meta(&s->metadata);
    trim_identity(&s->metadata);
    s->metadata.n_labels = spec->n_selector = s->status.n_conditions = 0;
    spec->n_ip_families = 0;
    spec->ip_family_policy = spec->load_balancer_ip = STR_NONE;
    spec->has_allocate_load_balancer_node_ports = false;
    if (spec->n_cluster_ips == 1 && str_eq(spec->cluster_ips[0], spec->cluster_ip))
        spec->n_cluster_ips = 0; /* a reader takes the one there is */
    if (!str_is(spec->type, "LoadBalancer"))
        unless(&spec->type, "ExternalName");
    unless(&spec->session_affinity, "ClientIP");
    unless(&spec->internal_traffic_policy, "Local");
    unless(&spec->external_traffic_policy, "Local");
    for (uint32_t i = 0; i < spec->n_ports; i++) {
        ports[i] = spec->ports[i];
        trim_service_port(&ports[i]);
    }
    spec->ports = ports;
}

static void trim_endpoint(struct api_endpoint *e, struct str own)
{
    struct api_endpoint_conditions *c = &e->conditions;

    e->target_ref = NULL;
    e->n_deprecated_topology = 0;
    e->zone = STR_NONE; /* hints say whose traffic it gets */
    if (own.n && !str_eq(e->node_name, own))
        e->node_name = STR_NONE; /* elsewhere is elsewhere */
    /* ready is all there is to say: the others follow from it */
    if (c->has_ready && c->ready && c->has_serving && c->serving && !c->terminating)
        *c = (struct api_endpoint_conditions){0};
}

void net_trim_slice(void *msg, struct arena *a, const char *own)
{
    struct api_endpoint_slice *s = msg;
    struct api_endpoint *copy = ARENA_NEW_N(a, struct api_endpoint, s->n_endpoints + 1);
    struct api_discovery_endpoint_port *ports =
        ARENA_NEW_N(a, struct api_discovery_endpoint_port, s->n_ports + 1);
    struct str service = net_slice_service(&s->metadata);

    trim_meta(&s->metadata);
    trim_identity(&s->metadata);
    s->metadata.n_labels = 0;
    s->metadata.generate_name = service;
    for (uint32_t i = 0; i < s->n_endpoints; i++) {
        copy[i] = s->endpoints[i];
        trim_endpoint(&copy[i], str_z(own));
    }
    s->endpoints = copy;
    for (uint32_t i = 0; i < s->n_ports; i++) {
        ports[i] = s->ports[i];
        ports[i].app_protocol = STR_NONE;
        if (str_is(ports[i].protocol, "TCP"))
            ports[i].protocol = STR_NONE;
    }
    s->ports = ports;
}

/* The label's name is longer than most names, and there is one of each Service. A trimmed slice has
 * its Service where nothing else is left: one with neither field nor label is nobody's. */
struct str net_slice_service(const struct api_object_meta *m)
{
    const struct str *name = KV_GET(m, labels, STR(SERVICE_LABEL));

    if (name)
        return *name;
    return m->uid.n ? STR_NONE : m->generate_name;
}

void net_trim_node(void *msg, struct arena *a, const char *own)
{
    struct api_node *n = msg;
    struct api_node_spec spec = {.pod_cidr = n->spec.pod_cidr};
    struct api_node_status status = {.addresses = n->status.addresses,
                                     .n_addresses = n->status.n_addresses};

    trim_meta(&n->metadata);
    trim_identity(&n->metadata);
    one_label(&n->metadata, STR(ZONE_LABEL), a);
    n->spec = spec;
    n->status = status;
}

void net_trim_policy(void *msg, struct arena *a, const char *own)
{
    struct api_network_policy *p = msg;

    (void)a;
    trim_meta(&p->metadata);
    p->metadata.n_labels = 0;
}

void net_trim_namespace(void *msg, struct arena *a, const char *own)
{
    struct api_namespace *n = msg;

    (void)a;
    trim_meta(&n->metadata);
    n->spec = (struct api_namespace_spec){0};
    n->status = (struct api_namespace_status){0};
}

static struct api_container *ports_of(const struct api_container *v, uint32_t n, struct arena *a)
{
    struct api_container *copy = ARENA_NEW_N(a, struct api_container, n + 1);

    for (uint32_t i = 0; i < n; i++)
        copy[i] = (struct api_container){.name = v[i].name,
                                         .ports = v[i].ports,
                                         .n_ports = v[i].n_ports,
                                         .restart_policy = v[i].restart_policy};
    return copy;
}

void net_trim_pod(void *msg, struct arena *a, const char *own)
{
    struct api_pod *p = msg;
    struct api_pod_spec spec = {.containers = ports_of(p->spec.containers, p->spec.n_containers, a),
                                .n_containers = p->spec.n_containers,
                                .init_containers =
                                    ports_of(p->spec.init_containers, p->spec.n_init_containers, a),
                                .n_init_containers = p->spec.n_init_containers,
                                .host_network = p->spec.host_network};
    struct api_pod_status status = {.phase = p->status.phase,
                                    .pod_ip = p->status.pod_ip,
                                    .pod_ips = p->status.pod_ips,
                                    .n_pod_ips = p->status.n_pod_ips};

    trim_meta(&p->metadata);
    p->spec = spec;
    p->status = status;
}
