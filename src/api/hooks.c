/* The table of hooks, and the hooks of kinds that need only a few lines. */
#include "api/hooks.h"

#include "api/apiservice.h"
#include "api/autoscaling.h"
#include "api/check.h"
#include "api/config.h"
#include "api/crd_hooks.h"
#include "api/csr.h"
#include "api/device.h"
#include "api/disruption.h"
#include "api/event.h"
#include "api/flowcontrol.h"
#include "api/ingress.h"
#include "api/kv.h"
#include "api/network_policy.h"
#include "api/pod.h"
#include "api/quota.h"
#include "api/rbac.h"
#include "api/service.h"
#include "api/storage.h"
#include "api/webhook.h"
#include "api/workload.h"
#include "base/set.h"
#include "schema/schema.h"

/* ---- Namespace ---- */

static void namespace_fill(void *msg, struct arena *a)
{
    struct api_namespace *n = msg;
    if (n->metadata.name.n)
        kv_str_set(a, &n->metadata.labels, &n->metadata.n_labels,
                   STR("kubernetes.io/metadata.name"), n->metadata.name);
}

static void namespace_prepare_create(void *msg, struct arena *a)
{
    struct api_namespace *n = msg;
    bool has = false;
    n->status = (struct api_namespace_status){.phase = STR("Active")};
    for (uint32_t i = 0; i < n->spec.n_finalizers; i++)
        has |= str_is(n->spec.finalizers[i], "kubernetes");
    if (has)
        return;
    struct str *v = ARENA_NEW_N(a, struct str, n->spec.n_finalizers + 1);
    if (n->spec.n_finalizers)
        memcpy(v, n->spec.finalizers, n->spec.n_finalizers * sizeof(*v));
    v[n->spec.n_finalizers++] = STR("kubernetes");
    n->spec.finalizers = v;
}

static void namespace_prepare_update(void *msg, const void *old, struct arena *a)
{
    struct api_namespace *n = msg, *o = schema_clone(&api_namespace_desc, old, a);
    n->spec = o->spec; /* only namespaces/finalize changes them */
}

static const struct api_hooks namespace_hooks = {.kind = KIND_NAMESPACE,
                                                 .fill = namespace_fill,
                                                 .prepare_create = namespace_prepare_create,
                                                 .prepare_update = namespace_prepare_update};

/* ---- Node ---- */

static void node_fill(void *msg, struct arena *a)
{
    struct api_node *n = msg;
    if (!n->status.n_allocatable && n->status.n_capacity) {
        n->status.allocatable = n->status.capacity;
        n->status.n_allocatable = n->status.n_capacity;
    }
    if (n->spec.pod_cidr.n && !n->spec.n_pod_cidrs) {
        n->spec.pod_cidrs = ARENA_NEW(a, struct str);
        n->spec.pod_cidrs[0] = n->spec.pod_cidr;
        n->spec.n_pod_cidrs = 1;
    }
}

static void node_validate(const void *msg, struct error *err)
{
    const struct api_node *n = msg;
    struct set taints = {0};
    struct buf key = {0};
    for (uint32_t i = 0; i < n->spec.n_taints; i++) {
        const struct api_taint *t = &n->spec.taints[i];
        buf_clear(&key);
        buf_printf(&key, "%.*s:%.*s", STR_ARG(t->effect), STR_ARG(t->key));
        if (set_add_copy(&taints, buf_str(&key)))
            continue;
        PATH(at, "spec.taints[%u]", i);
        check_duplicate(err, at, t->key);
    }
    buf_fini(&key);
    set_fini(&taints);
    for (uint32_t i = 0; i < n->spec.n_pod_cidrs; i++) {
        PATH(at, "spec.podCIDRs[%u]", i);
        check_format(err, at, SCHEMA_FORMAT_CIDR, n->spec.pod_cidrs[i]);
    }
}

static void node_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_node *n = msg, *o = old;
    if (o->spec.pod_cidr.n && !str_eq(o->spec.pod_cidr, n->spec.pod_cidr))
        check_forbidden(err, STR("spec.podCIDRs"),
                        "node updates may not change podCIDR except from \"\" to valid");
    if (o->spec.provider_id.n && !str_eq(o->spec.provider_id, n->spec.provider_id))
        check_forbidden(err, STR("spec.providerID"),
                        "node updates may not change providerID except from \"\" to valid");
}

static const struct api_hooks node_hooks = {.kind = KIND_NODE,
                                            .status_at_create = true,
                                            .fill = node_fill,
                                            .validate = node_validate,
                                            .validate_update = node_validate_update};

/* ---- EndpointSlice, PriorityClass ---- */

static void endpoint_slice_validate(const void *msg, struct error *err)
{
    const struct api_endpoint_slice *e = msg;
    if (e->n_endpoints > 1000)
        (void)error_cause(err, CAUSE_TOO_MANY, STR("endpoints"),
                          "Too many: %u: must have at most 1000 items", e->n_endpoints);
    for (uint32_t i = 0; i < e->n_endpoints; i++) {
        PATH(at, "endpoints[%u].addresses", i);
        if (!e->endpoints[i].n_addresses)
            check_required(err, at, "must contain at least 1 address");
        for (uint32_t k = 0; k < e->endpoints[i].n_addresses && !str_is(e->address_type, "FQDN");
             k++)
            check_format(err, at, SCHEMA_FORMAT_IP, e->endpoints[i].addresses[k]);
    }
}

static void endpoint_slice_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_endpoint_slice *e = msg, *o = old;
    check_immutable_str(err, STR("addressType"), e->address_type, o->address_type);
}

static const struct api_hooks endpoint_slice_hooks = {.kind = KIND_ENDPOINT_SLICE,
                                                      .generation = true,
                                                      .validate = endpoint_slice_validate,
                                                      .validate_update =
                                                          endpoint_slice_validate_update};

static void priority_class_validate(const void *msg, struct error *err)
{
    const struct api_priority_class *p = msg;
    if (str_starts(p->metadata.name, STR("system-"))) {
        if (!str_is(p->metadata.name, "system-node-critical") &&
            !str_is(p->metadata.name, "system-cluster-critical"))
            check_forbidden(
                err, STR("metadata.name"),
                "priority class names with 'system-' prefix are reserved for system use only");
    } else if (p->value > 1000000000) {
        check_forbidden(err, STR("value"),
                        "maximum allowed value of a user defined priority is 1000000000");
    }
}

static void priority_class_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_priority_class *p = msg, *o = old;
    if (p->value != o->value)
        check_forbidden(err, STR("value"), "may not be changed in an update.");
}

static const struct api_hooks priority_class_hooks = {.kind = KIND_PRIORITY_CLASS,
                                                      .validate = priority_class_validate,
                                                      .validate_update =
                                                          priority_class_validate_update};

/* ---- the table ---- */

static const struct api_hooks *const table[_KIND_MAX] = {
    [KIND_POD] = &pod_hooks,
    [KIND_SERVICE] = &service_hooks,
    [KIND_DEPLOYMENT] = &deployment_hooks,
    [KIND_REPLICA_SET] = &replica_set_hooks,
    [KIND_JOB] = &job_hooks,
    [KIND_STATEFUL_SET] = &stateful_set_hooks,
    [KIND_DAEMON_SET] = &daemon_set_hooks,
    [KIND_REPLICATION_CONTROLLER] = &replication_controller_hooks,
    [KIND_CRON_JOB] = &cron_job_hooks,
    [KIND_POD_TEMPLATE] = &pod_template_hooks,
    [KIND_CONFIG_MAP] = &config_map_hooks,
    [KIND_SECRET] = &secret_hooks,
    [KIND_NAMESPACE] = &namespace_hooks,
    [KIND_NODE] = &node_hooks,
    [KIND_ENDPOINT_SLICE] = &endpoint_slice_hooks,
    [KIND_EVENT] = &event_hooks,
    [KIND_EVENTS_EVENT] = &newer_event_hooks,
    [KIND_POD_DISRUPTION_BUDGET] = &pod_disruption_budget_hooks,
    [KIND_PRIORITY_CLASS] = &priority_class_hooks,
    [KIND_CERTIFICATE_SIGNING_REQUEST] = &csr_hooks,
    [KIND_APISERVICE] = &apiservice_hooks,
    [KIND_CUSTOM_RESOURCE_DEFINITION] = &crd_hooks,
    [KIND_NETWORK_POLICY] = &network_policy_hooks,
    [KIND_ROLE] = &role_hooks,
    [KIND_CLUSTER_ROLE] = &cluster_role_hooks,
    [KIND_ROLE_BINDING] = &role_binding_hooks,
    [KIND_CLUSTER_ROLE_BINDING] = &cluster_role_binding_hooks,
    [KIND_HORIZONTAL_POD_AUTOSCALER] = &hpa_hooks,
    [KIND_HPA1] = &hpa1_hooks,
    [KIND_FLOW_SCHEMA] = &flow_schema_hooks,
    [KIND_PRIORITY_LEVEL_CONFIGURATION] = &priority_level_hooks,
    [KIND_DEVICE_RESOURCE_CLAIM] = &device_claim_hooks,
    [KIND_RESOURCE_CLAIM_TEMPLATE] = &device_claim_template_hooks,
    [KIND_DEVICE_CLASS] = &device_class_hooks,
    [KIND_RESOURCE_SLICE] = &resource_slice_hooks,
    [KIND_LIMIT_RANGE] = &limit_range_hooks,
    [KIND_RESOURCE_QUOTA] = &resource_quota_hooks,
    [KIND_PERSISTENT_VOLUME] = &persistent_volume_hooks,
    [KIND_PERSISTENT_VOLUME_CLAIM] = &persistent_volume_claim_hooks,
    [KIND_STORAGE_CLASS] = &storage_class_hooks,
    [KIND_VOLUME_ATTRIBUTES_CLASS] = &volume_attributes_class_hooks,
    [KIND_CSI_DRIVER] = &csi_driver_hooks,
    [KIND_CSI_NODE] = &csi_node_hooks,
    [KIND_CSI_STORAGE_CAPACITY] = &csi_storage_capacity_hooks,
    [KIND_VOLUME_ATTACHMENT] = &volume_attachment_hooks,
    [KIND_INGRESS] = &ingress_hooks,
    [KIND_INGRESS_CLASS] = &ingress_class_hooks,
    [KIND_IP_ADDRESS] = &ip_address_hooks,
    [KIND_SERVICE_CIDR] = &service_cidr_hooks,
    [KIND_MUTATING_WEBHOOK_CONFIGURATION] = &mutating_webhook_configuration_hooks,
    [KIND_VALIDATING_WEBHOOK_CONFIGURATION] = &validating_webhook_configuration_hooks,
    [KIND_MUTATING_ADMISSION_POLICY] = &mutating_policy_hooks,
    [KIND_MUTATING_ADMISSION_POLICY_BINDING] = &mutating_policy_binding_hooks,
    [KIND_VALIDATING_ADMISSION_POLICY] = &validating_policy_hooks,
    [KIND_VALIDATING_ADMISSION_POLICY_BINDING] = &validating_policy_binding_hooks,
};

const struct api_hooks *api_hooks_find(const struct schema_kind *k)
{
    const struct api_hooks *h = k->id < _KIND_MAX ? table[k->id] : NULL;
    ASSERT(!h || h->kind == k->id);
    return h;
}

void api_default(const struct schema_kind *k, void *msg, struct arena *a)
{
    const struct api_hooks *h = api_hooks_find(k);
    schema_default(k->desc, msg, a);
    if (h && h->fill)
        h->fill(msg, a);
}
