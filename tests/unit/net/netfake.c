/* See netfake.h. */
#include "netfake.h"

#include "base/mem.h"
#include "test.h"

struct fake_call {
    struct rt_task task;
    struct fake_list *l;
    rev_t rev;
    client_done_fn done;
    void *arg;
};

static struct fake_list *list_of(struct fake *f, const struct schema_kind *k)
{
    return k == schema_kinds[KIND_SERVICE]          ? &f->services
           : k == schema_kinds[KIND_NODE]           ? &f->nodes
           : k == schema_kinds[KIND_ENDPOINT_SLICE] ? &f->slices
                                                    : &f->none;
}

static void answer(void *arg)
{
    struct fake_call *c = arg;
    struct client_reply reply = {.items = c->l->v, .n_items = c->l->n, .rev = c->rev};
    c->done(c->arg, &reply);
    free(c);
}

static void fake_call(struct client *c, const struct client_request *req, client_done_fn done,
                      void *arg)
{
    struct fake *f = CONTAINER_OF(c, struct fake, base);
    struct fake_call *call = NEW(struct fake_call);
    *call = (struct fake_call){.l = list_of(f, req->kind), .rev = f->rev, .done = done, .arg = arg};
    assert_int_equal(req->verb, CLIENT_LIST);
    rt_task_init(&call->task, c->rt, answer, call);
    rt_task_schedule(&call->task);
}

static struct client_watch *fake_watch_start(struct client *c, const struct client_watch_opts *o,
                                             client_watch_fn fn, void *arg)
{
    struct fake_list *l = list_of(CONTAINER_OF(c, struct fake, base), o->kind);
    l->fn = fn;
    l->fn_arg = arg;
    return (struct client_watch *)l;
}

static void fake_watch_stop(struct client *c, struct client_watch *w)
{
    ((struct fake_list *)w)->fn = NULL;
}

const struct client_ops fake_ops = {fake_call, fake_watch_start, fake_watch_stop, NULL};

void fake_fini(struct fake *f)
{
    struct fake_list *const both[] = {&f->services, &f->slices, &f->nodes};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        for (size_t j = 0; j < both[i]->n; j++)
            object_unref(both[i]->v[j]);
        free(both[i]->v);
    }
}

/* msg NULL: deletes it. */
void put(struct fake *f, const struct schema_kind *k, struct str name, const void *msg)
{
    struct fake_list *l = list_of(f, k);
    size_t i = 0;
    while (i < l->n && !str_eq(object_name(l->v[i]), name))
        i++;
    struct object *o = msg ? object_new(k, msg, ++f->rev) : object_ref(l->v[i]);
    struct client_event e = {.type = !msg       ? CLIENT_EVENT_DELETED
                                     : i < l->n ? CLIENT_EVENT_MODIFIED
                                                : CLIENT_EVENT_ADDED,
                             .object = o,
                             .rev = msg ? f->rev : ++f->rev};
    if (l->fn)
        l->fn(l->fn_arg, &e, 1);
    if (i < l->n)
        object_unref(l->v[i]);
    if (!msg) {
        l->v[i] = l->v[--l->n];
        object_unref(o);
    } else if (i < l->n) {
        l->v[i] = o;
    } else {
        ARRAY_RESERVE(l->v, l->n, l->cap);
        l->v[l->n++] = o;
    }
}

void put_service(struct fake *f, const struct svc_spec *s)
{
    struct api_service_port port = {
        .protocol = str_z(s->protocol), .port = s->port, .node_port = s->node_port};
    struct api_client_ip_config client_ip = {.has_timeout_seconds = true,
                                             .timeout_seconds = (int32_t)s->affinity_s};
    struct api_session_affinity_config affinity = {.client_ip = &client_ip};
    struct api_service svc = {
        .metadata = {.name = str_z(s->name), .namespace = STR("default")},
        .spec = {.cluster_ip = str_z(s->ip), .ports = &port, .n_ports = 1},
    };
    struct str external = str_z(s->external ? s->external : ""),
               range = str_z(s->range ? s->range : "");
    struct api_load_balancer_ingress ingress = {.ip = str_z(s->balancer ? s->balancer : "")};
    svc.spec.external_ips = &external;
    svc.spec.n_external_ips = s->external != NULL;
    svc.spec.load_balancer_source_ranges = &range;
    svc.spec.n_load_balancer_source_ranges = s->range != NULL;
    svc.spec.external_traffic_policy = s->local ? STR("Local") : STR("Cluster");
    svc.spec.health_check_node_port = s->health;
    if (s->balancer || s->health)
        svc.spec.type = STR("LoadBalancer");
    svc.status.load_balancer.ingress = &ingress;
    svc.status.load_balancer.n_ingress = s->balancer != NULL;
    if (s->affinity_s) {
        svc.spec.session_affinity = STR("ClientIP");
        svc.spec.session_affinity_config = &affinity;
    }
    put(f, schema_kinds[KIND_SERVICE], svc.metadata.name, &svc);
}

void put_endpoints_on(struct fake *f, const struct svc_spec *s, const char *const *ips,
                      const char *const *node_names, size_t n)
{
    struct str addresses[16];
    struct api_endpoint eps[16] = {0};
    char slice_name[64];
    snprintf(slice_name, sizeof(slice_name), "%s-x", s->name);
    for (size_t i = 0; i < n; i++) {
        addresses[i] = str_z(ips[i]);
        eps[i] = (struct api_endpoint){
            .addresses = &addresses[i],
            .n_addresses = 1,
            .node_name = node_names && node_names[i] ? str_z(node_names[i]) : STR_NONE,
            .conditions = {.has_ready = true, .ready = true}};
    }
    struct kv_str label = {STR("kubernetes.io/service-name"), str_z(s->name)};
    struct api_discovery_endpoint_port port = {
        .protocol = str_z(s->protocol), .has_port = true, .port = s->target};
    struct api_endpoint_slice slice = {
        .metadata = {.name = str_z(slice_name),
                     .namespace = STR("default"),
                     .labels = &label,
                     .n_labels = 1},
        .address_type = STR("IPv4"),
        .endpoints = eps,
        .n_endpoints = (uint32_t)n,
        .ports = &port,
        .n_ports = 1,
    };
    put(f, schema_kinds[KIND_ENDPOINT_SLICE], slice.metadata.name, &slice);
}

void put_endpoints(struct fake *f, const struct svc_spec *s, const char *const *ips, size_t n)
{
    put_endpoints_on(f, s, ips, NULL, n);
}
