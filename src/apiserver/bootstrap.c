/* The objects every cluster has, written at start: namespaces, RBAC defaults, priority classes, and
 * the `kubernetes` Service with its endpoints, the `kube-dns` Service (every node answers its
 * address itself, so it has neither selector nor endpoints). Written straight to the store (they
 * need no admission), each only when it is missing or, for RBAC defaults, differs. Until the last
 * is durable the server is not ready; a refused write (disk full) is tried again. */
#include "apiserver/internal.h"

#include "api/hooks.h"
#include "api/kv.h"
#include "apiserver/aggregate/apiservices.h"
#include "apiserver/flow/flow_config.h"
#include "base/log.h"

#define BOOTSTRAP_RETRY (2 * NSEC_PER_SEC)

static void on_retry(void *arg)
{
    bootstrap_start(arg);
}

static void on_written(void *arg, int r, struct object *obj, const struct error *err)
{
    struct apiserver *s = arg;
    (void)obj;
    ASSERT(s->bootstrap_left > 0);
    if (r < 0 && r != -EEXIST && r != -ESTALE) {
        log_warn("cannot write a default object: %.*s", STR_ARG(err ? err->message : STR_NONE));
        if (!s->stopping && !rt_timer_active(&s->retry_timer))
            rt_timer_start(&s->retry_timer, BOOTSTRAP_RETRY);
    }
    if (--s->bootstrap_left == 0)
        rt_task_schedule(&s->ready_task);
}

static void put(struct apiserver *s, const struct schema_kind *k, void *msg, rev_t expected)
{
    struct error err = {0};
    int r = store_put(s->store, k, msg, expected, on_written, s, &err);
    s->bootstrap_left += r >= 0;
    if (r < 0) {
        const struct api_object_meta *m = msg;
        log_warn("cannot write default %s %.*s: %.*s", k->kind, STR_ARG(m->name),
                 STR_ARG(err.message));
        if (!rt_timer_active(&s->retry_timer))
            rt_timer_start(&s->retry_timer, BOOTSTRAP_RETRY);
    }
    error_fini(&err);
}

static void want(struct apiserver *s, const struct schema_kind *k, const void *msg)
{
    struct arena a = {0};
    void *copy = schema_clone(k->desc, msg, &a);
    struct api_object_meta *m = copy;
    const struct api_hooks *h = api_hooks_find(k);
    struct object *old = store_peek(s->store, k, m->namespace, m->name);
    rev_t expected = STORE_ABSENT;
    api_default(k, copy, &a);
    if (old) {
        const struct api_object_meta *o = object_meta(old);
        const struct str *update =
            KV_GET(o, annotations, STR("rbac.authorization.kubernetes.io/autoupdate"));
        bool rbac = k == KIND(CLUSTER_ROLE) || k == KIND(CLUSTER_ROLE_BINDING);
        if (!rbac || (update && str_is(*update, "false")) || o->deletion_timestamp.set)
            goto out;
        struct api_object_meta own = *m;
        *m = *o; /* what an administrator marked it with stays */
        kv_str_merge(&a, &own.labels, &own.n_labels, o->labels, o->n_labels);
        m->labels = own.labels;
        m->n_labels = own.n_labels;
        if (schema_equal(k->desc, copy, old->msg))
            goto out;
        m->resource_version = STR_NONE;
        expected = old->rev;
    } else {
        make_uid(s->rt, &a, &m->uid);
        m->creation_timestamp = timestamp_seconds(rt_wall(s->rt));
        m->generation = h && h->generation ? 1 : 0;
    }
    put(s, k, copy, expected);
out:
    arena_fini(&a);
}

static void want_namespace(struct apiserver *s, const char *name)
{
    struct api_namespace ns = {0};
    struct str finalizer = STR("kubernetes");
    struct kv_str label = {STR("kubernetes.io/metadata.name"), str_z(name)};
    ns.metadata.name = str_z(name);
    ns.metadata.labels = &label;
    ns.metadata.n_labels = 1;
    ns.spec.finalizers = &finalizer;
    ns.spec.n_finalizers = 1;
    ns.status.phase = STR("Active");
    want(s, KIND(NAMESPACE), &ns);
}

static void want_priority_class(struct apiserver *s, const char *name, int32_t value,
                                const char *text)
{
    struct api_priority_class p = {0};
    p.metadata.name = str_z(name);
    p.value = value;
    p.description = str_z(text);
    want(s, KIND(PRIORITY_CLASS), &p);
}

/* The parts of a control plane old tools ask for. Here they are parts of this process: who gets an
 * answer hears the truth. */
static void want_component(struct apiserver *s, const char *name)
{
    struct api_component_condition healthy = {
        .type = STR("Healthy"), .status = STR("True"), .message = STR("ok")};
    struct api_component_status c = {.conditions = &healthy, .n_conditions = 1};
    c.metadata.name = str_z(name);
    want(s, KIND(COMPONENT_STATUS), &c);
}

static void want_kubernetes_service(struct apiserver *s)
{
    struct kv_str labels[] = {{STR("component"), STR("apiserver")},
                              {STR("provider"), STR("kubernetes")}};
    struct str ip = alloc_first_ip(s->alloc);
    struct api_service_port port = {.name = STR("https"),
                                    .protocol = STR("TCP"),
                                    .port = 443,
                                    .target_port = int_or_str_int(s->port ? s->port : 6443)};
    struct api_service svc = {0};
    svc.metadata.name = STR("kubernetes");
    svc.metadata.namespace = STR("default");
    svc.metadata.labels = labels;
    svc.metadata.n_labels = 2;
    svc.spec.type = STR("ClusterIP");
    svc.spec.cluster_ip = ip;
    svc.spec.cluster_ips = &ip;
    svc.spec.n_cluster_ips = 1;
    svc.spec.ports = &port;
    svc.spec.n_ports = 1;
    want(s, KIND(SERVICE), &svc);
}

/* The authority may be another than when the settings were written: certified anew, or a first
 * start was cut off before its keys were kept. Machines that join compare it with their token. */
static void want_cluster_config(struct apiserver *s)
{
    struct arena a = {0};
    struct api_config_map m;
    if (!s->opts.cluster)
        return;
    struct str ca = s->pki ? str_z(s->pki->ca_pem) : STR_NONE;
    cluster_config_print(s->opts.cluster, &a, &m);
    struct object *old =
        store_peek(s->store, KIND(CONFIG_MAP), m.metadata.namespace, m.metadata.name);
    if (old) {
        m = *(struct api_config_map *)schema_clone(&api_config_map_desc, old->msg, &a);
        const struct str *have = kv_str_get(m.data, m.n_data, STR(CLUSTER_CONFIG_CA));
        if (ca.n && !(have && str_eq(*have, ca))) {
            kv_str_set(&a, &m.data, &m.n_data, STR(CLUSTER_CONFIG_CA), ca);
            m.metadata.resource_version = STR_NONE;
            put(s, KIND(CONFIG_MAP), &m, old->rev);
        }
    } else {
        if (ca.n)
            kv_str_set(&a, &m.data, &m.n_data, STR(CLUSTER_CONFIG_CA), ca);
        want(s, KIND(CONFIG_MAP), &m);
    }
    arena_fini(&a);
}

/* What the servers of aggregated APIs read to know who may tell them who asks. */
static void want_extension_auth(struct apiserver *s)
{
    struct arena a = {0};
    struct api_config_map m = {.metadata = {.name = STR("extension-apiserver-authentication"),
                                            .namespace = STR("kube-system")}};
    if (!s->pki)
        return;
    const struct kv_str want_data[] = {
        {STR("client-ca-file"), str_z(s->pki->ca_pem)},
        {STR("requestheader-allowed-names"), STR("[\"" PKI_PROXY_CLIENT "\"]")},
        {STR("requestheader-client-ca-file"), str_z(s->pki->proxy_ca_pem)},
        {STR("requestheader-extra-headers-prefix"), STR("[\"X-Remote-Extra-\"]")},
        {STR("requestheader-group-headers"), STR("[\"X-Remote-Group\"]")},
        {STR("requestheader-uid-headers"), STR("[\"X-Remote-Uid\"]")},
        {STR("requestheader-username-headers"), STR("[\"X-Remote-User\"]")}};
    struct object *old =
        store_peek(s->store, KIND(CONFIG_MAP), m.metadata.namespace, m.metadata.name);
    if (old)
        m = *(struct api_config_map *)schema_clone(&api_config_map_desc, old->msg, &a);
    for (size_t i = 0; i < ARRAY_LEN(want_data); i++)
        kv_str_set(&a, &m.data, &m.n_data, want_data[i].key, want_data[i].value);
    if (!old) {
        want(s, KIND(CONFIG_MAP), &m);
    } else if (!schema_equal(&api_config_map_desc, &m, old->msg)) {
        m.metadata.resource_version = STR_NONE;
        put(s, KIND(CONFIG_MAP), &m, old->rev);
    }
    arena_fini(&a);
}

/* Who may read that: given by a binding to each such server's account. */
static void want_extension_auth_reader(struct apiserver *s)
{
    struct str none = STR(""), resource = STR("configmaps"),
               name = STR("extension-apiserver-authentication");
    struct str verbs[] = {STR("get"), STR("list"), STR("watch")};
    struct kv_str label = {STR("kubernetes.io/bootstrapping"), STR("rbac-defaults")};
    struct kv_str note = {STR("rbac.authorization.kubernetes.io/autoupdate"), STR("true")};
    struct api_policy_rule rule = {.verbs = verbs,
                                   .n_verbs = ARRAY_LEN(verbs),
                                   .api_groups = &none,
                                   .n_api_groups = 1,
                                   .resources = &resource,
                                   .n_resources = 1,
                                   .resource_names = &name,
                                   .n_resource_names = 1};
    struct api_role role = {.metadata = {.name = STR("extension-apiserver-authentication-reader"),
                                         .namespace = STR("kube-system"),
                                         .labels = &label,
                                         .n_labels = 1,
                                         .annotations = &note,
                                         .n_annotations = 1},
                            .rules = &rule,
                            .n_rules = 1};
    want(s, KIND(ROLE), &role);
}

static void want_dns_service(struct apiserver *s)
{
    struct kv_str labels[] = {{STR("k8s-app"), STR("kube-dns")},
                              {STR("kubernetes.io/cluster-service"), STR("true")}};
    struct api_service_port ports[] = {
        {.name = STR("dns"), .protocol = STR("UDP"), .port = 53, .target_port = int_or_str_int(53)},
        {.name = STR("dns-tcp"),
         .protocol = STR("TCP"),
         .port = 53,
         .target_port = int_or_str_int(53)},
    };
    char text[24];
    struct api_service svc = {0};
    if (!alloc_dns_ip(s->alloc, text)) {
        log_warn("no address for the DNS Service: the range of Services is too small, or another "
                 "Service has its tenth address");
        return;
    }
    struct str ip = str_z(text);
    svc.metadata.name = STR("kube-dns");
    svc.metadata.namespace = STR("kube-system");
    svc.metadata.labels = labels;
    svc.metadata.n_labels = ARRAY_LEN(labels);
    svc.spec.type = STR("ClusterIP");
    svc.spec.cluster_ip = ip;
    svc.spec.cluster_ips = &ip;
    svc.spec.n_cluster_ips = 1;
    svc.spec.ports = ports;
    svc.spec.n_ports = ARRAY_LEN(ports);
    want(s, KIND(SERVICE), &svc);
}

/* Writes msg over what is there under its name, if it says something else. */
static void put_over(struct apiserver *s, const struct schema_kind *k, void *msg)
{
    struct arena a = {0};
    struct api_object_meta *m = msg, own = *m;
    struct object *old = store_peek(s->store, k, m->namespace, m->name);
    api_default(k, msg, &a);
    if (old) {
        *m = *object_meta(old);
        m->labels = own.labels;
        m->n_labels = own.n_labels;
        if (schema_equal(k->desc, msg, old->msg))
            goto out;
        m->resource_version = STR_NONE;
    } else {
        const struct api_hooks *h = api_hooks_find(k);
        make_uid(s->rt, &a, &m->uid);
        m->creation_timestamp = timestamp_seconds(rt_wall(s->rt));
        m->generation = h && h->generation ? 1 : 0;
    }
    (void)!store_put(s->store, k, msg, old ? old->rev : STORE_ABSENT, NULL, NULL, NULL);
out:
    arena_fini(&a);
}

static void put_kubernetes_slice(struct apiserver *s)
{
    struct kv_str label = {STR("kubernetes.io/service-name"), STR("kubernetes")};
    struct api_endpoint ep = {.addresses = &s->advertise,
                              .n_addresses = 1,
                              .conditions = {.has_ready = true, .ready = true}};
    struct api_discovery_endpoint_port port = {
        .name = STR("https"), .protocol = STR("TCP"), .has_port = true, .port = s->port};
    struct api_endpoint_slice es = {.metadata = {.name = STR("kubernetes"),
                                                 .namespace = STR("default"),
                                                 .labels = &label,
                                                 .n_labels = 1},
                                    .address_type = STR("IPv4"),
                                    .endpoints = &ep,
                                    .n_endpoints = 1,
                                    .ports = &port,
                                    .n_ports = 1};
    put_over(s, KIND(ENDPOINT_SLICE), &es);
}

/* The older form of the same, for clients that read nothing else; not to be mirrored into a second
 * slice. */
static void put_kubernetes_endpoints(struct apiserver *s)
{
    struct kv_str label = {STR("endpointslice.kubernetes.io/skip-mirror"), STR("true")};
    struct api_endpoint_address address = {.ip = s->advertise};
    struct api_endpoint_port port = {.name = STR("https"), .protocol = STR("TCP"), .port = s->port};
    struct api_endpoint_subset subset = {
        .addresses = &address, .n_addresses = 1, .ports = &port, .n_ports = 1};
    struct api_endpoints e = {.metadata = {.name = STR("kubernetes"),
                                           .namespace = STR("default"),
                                           .labels = &label,
                                           .n_labels = 1},
                              .subsets = &subset,
                              .n_subsets = 1};
    put_over(s, KIND(ENDPOINTS), &e);
}

/* The endpoints follow the address served on, so they are written (again) by apiserver_listen. */
void bootstrap_endpoints(struct apiserver *s)
{
    if (!s->advertise.n || !s->port)
        return;
    put_kubernetes_slice(s);
    put_kubernetes_endpoints(s);
}

void bootstrap_start(struct apiserver *s)
{
    if (!s->retry_timer.rt)
        rt_timer_init(&s->retry_timer, s->rt, on_retry, s);
    s->bootstrap_left++; /* held until all are asked for */
    if (!s->opts.no_bootstrap) {
        want_namespace(s, "default");
        want_namespace(s, "kube-system");
        want_namespace(s, "kube-public");
        want_namespace(s, "kube-node-lease");
        bootstrap_roles(s, want);
        want_priority_class(
            s, "system-node-critical", 2000001000,
            "Used for system critical pods that must not be moved from their current node.");
        want_priority_class(s, "system-cluster-critical", 2000000000,
                            "Used for system critical pods that must run in the cluster, but can "
                            "be moved to another "
                            "node if necessary.");
        bootstrap_apiservices(s, want);
        flow_config_bootstrap(s, want);
        want_component(s, "controller-manager");
        want_component(s, "etcd-0");
        want_component(s, "scheduler");
        want_kubernetes_service(s);
        want_cluster_config(s);
        want_dns_service(s);
        want_extension_auth(s);
        want_extension_auth_reader(s);
    }
    if (--s->bootstrap_left == 0)
        rt_task_schedule(&s->ready_task);
}
