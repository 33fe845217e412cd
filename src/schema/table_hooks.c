/* Cells that are more than a path: what kubectl's users read in a glance. The words and the
 * arithmetic are those of the Kubernetes printers, since scripts depend on them. */
#include "schema/table.h"

#include "schema/select.h"
#include "schema/table_int.h"

void table_age_print(struct timestamp since, usec_t now, struct buf *text)
{
    char out[DURATION_TEXT_MAX];

    if (!since.set) {
        buf_add_lit(text, "<unknown>");
        return;
    }
    duration_human(nsec_of_usec(now - since.usec), out);
    buf_add_str(text, str_z(out));
}

void table_or_none(struct buf *text)
{
    if (!text->n)
        buf_add_lit(text, "<none>");
}

static void hook_age(const struct schema_kind *kind, const void *msg, usec_t now, struct buf *text)
{
    table_age_print(((const struct api_object_meta *)msg)->creation_timestamp, now, text);
}

static void hook_created_at(const struct schema_kind *kind, const void *msg, usec_t now,
                            struct buf *text)
{
    timestamp_print(((const struct api_object_meta *)msg)->creation_timestamp, false, text);
}

/* ---- configuration, identity ---- */

static void hook_data_count(const struct schema_kind *kind, const void *msg, usec_t now,
                            struct buf *text)
{
    static const char *const fields[] = {"data", "binaryData"};
    struct schema_ref ref;
    uint32_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (schema_get_path(kind->desc, msg, str_z(fields[i]), &ref) > 0)
            n += ref.n;
    buf_add_i64(text, n);
}

static void hook_serviceaccount_secrets(const struct schema_kind *kind, const void *msg, usec_t now,
                                        struct buf *text)
{
    buf_add_i64(text, ((const struct api_service_account *)msg)->n_secrets);
}

static void amount_print(const struct int_or_str *v, struct buf *text)
{
    if (v->type == INT_OR_STR_INT)
        buf_add_i64(text, v->i);
    else if (v->type == INT_OR_STR_STR)
        buf_add_str(text, v->s);
    else
        buf_add_lit(text, "N/A");
}

static void hook_pdb_min_available(const struct schema_kind *kind, const void *msg, usec_t now,
                                   struct buf *text)
{
    amount_print(&((const struct api_pod_disruption_budget *)msg)->spec.min_available, text);
}

static void hook_pdb_max_unavailable(const struct schema_kind *kind, const void *msg, usec_t now,
                                     struct buf *text)
{
    amount_print(&((const struct api_pod_disruption_budget *)msg)->spec.max_unavailable, text);
}

/* RoleBinding and ClusterRoleBinding have the same shape. */
static_assert(offsetof(struct api_role_binding, subjects) ==
                  offsetof(struct api_cluster_role_binding, subjects),
              "bindings differ");
static_assert(offsetof(struct api_role_binding, role_ref) ==
                  offsetof(struct api_cluster_role_binding, role_ref),
              "bindings differ");

static void hook_binding_role(const struct schema_kind *kind, const void *msg, usec_t now,
                              struct buf *text)
{
    const struct api_role_binding *b = msg;

    buf_printf(text, "%.*s/%.*s", STR_ARG(b->role_ref.kind), STR_ARG(b->role_ref.name));
}

static void subjects_print(const struct api_role_binding *b, const char *kind, struct buf *text)
{
    bool account = strcmp(kind, "ServiceAccount") == 0;

    for (uint32_t i = 0; i < b->n_subjects; i++) {
        const struct api_subject *s = &b->subjects[i];
        if (!str_eqz(s->kind, kind))
            continue;
        if (text->n)
            buf_add_lit(text, ", ");
        if (account)
            buf_printf(text, "%.*s/", STR_ARG(s->namespace));
        buf_add_str(text, s->name);
    }
}

static void hook_binding_users(const struct schema_kind *kind, const void *msg, usec_t now,
                               struct buf *text)
{
    subjects_print(msg, "User", text);
}

static void hook_binding_groups(const struct schema_kind *kind, const void *msg, usec_t now,
                                struct buf *text)
{
    subjects_print(msg, "Group", text);
}

static void hook_binding_serviceaccounts(const struct schema_kind *kind, const void *msg,
                                         usec_t now, struct buf *text)
{
    subjects_print(msg, "ServiceAccount", text);
}

static void hook_controllerrevision_controller(const struct schema_kind *kind, const void *msg,
                                               usec_t now, struct buf *text)
{
    const struct api_object_meta *meta = msg;

    for (uint32_t i = 0; i < meta->n_owner_references; i++) {
        const struct api_owner_reference *o = &meta->owner_references[i];
        struct str version = o->api_version, group;
        if (!o->has_controller || !o->controller)
            continue;
        group = STR_NONE;
        if (str_find(version, '/') >= 0)
            (void)str_cut(&version, '/', &group);
        for (size_t k = 0; k < o->kind.n; k++)
            buf_add_char(text, o->kind.p[k] >= 'A' && o->kind.p[k] <= 'Z'
                                   ? (char)(o->kind.p[k] + 32)
                                   : o->kind.p[k]);
        buf_printf(text, "%s%.*s/%.*s", group.n ? "." : "", STR_ARG(group), STR_ARG(o->name));
    }
    table_or_none(text);
}

/* ---- events (both groups: the older shape is the stored one) ---- */

static void event_times(const struct schema_kind *kind, const void *msg, struct timestamp *first,
                        struct timestamp *last, int32_t *count)
{
    if (strcmp(kind->group, "") == 0) {
        const struct api_event *e = msg;
        *first = e->first_timestamp.set ? e->first_timestamp : e->event_time;
        *last = e->series               ? e->series->last_observed_time
                : e->last_timestamp.set ? e->last_timestamp
                                        : *first;
        *count = e->series ? e->series->count : e->count;
    } else {
        const struct api_events_event *e = msg;
        *first = e->deprecated_first_timestamp.set ? e->deprecated_first_timestamp : e->event_time;
        *last = e->series                          ? e->series->last_observed_time
                : e->deprecated_last_timestamp.set ? e->deprecated_last_timestamp
                                                   : *first;
        *count = e->series ? e->series->count : e->deprecated_count;
    }
    *count = MAX(*count, 1);
}

static void hook_event_last_seen(const struct schema_kind *kind, const void *msg, usec_t now,
                                 struct buf *text)
{
    struct timestamp first, last;
    int32_t count;

    event_times(kind, msg, &first, &last, &count);
    table_age_print(last, now, text);
}

static void hook_event_first_seen(const struct schema_kind *kind, const void *msg, usec_t now,
                                  struct buf *text)
{
    struct timestamp first, last;
    int32_t count;

    event_times(kind, msg, &first, &last, &count);
    table_age_print(first, now, text);
}

static void hook_event_count(const struct schema_kind *kind, const void *msg, usec_t now,
                             struct buf *text)
{
    struct timestamp first, last;
    int32_t count;

    event_times(kind, msg, &first, &last, &count);
    buf_add_i64(text, count);
}

static void hook_event_object(const struct schema_kind *kind, const void *msg, usec_t now,
                              struct buf *text)
{
    const struct api_object_reference *o = strcmp(kind->group, "") == 0
                                               ? &((const struct api_event *)msg)->involved_object
                                               : &((const struct api_events_event *)msg)->regarding;

    for (size_t i = 0; i < o->kind.n; i++)
        buf_add_char(text, o->kind.p[i] >= 'A' && o->kind.p[i] <= 'Z' ? (char)(o->kind.p[i] + 32)
                                                                      : o->kind.p[i]);
    buf_printf(text, "/%.*s", STR_ARG(o->name));
}

static void hook_event_source(const struct schema_kind *kind, const void *msg, usec_t now,
                              struct buf *text)
{
    bool core = strcmp(kind->group, "") == 0;
    const struct api_event_source *s =
        core ? &((const struct api_event *)msg)->source
             : &((const struct api_events_event *)msg)->deprecated_source;
    struct str component = s->component.n ? s->component
                           : core         ? ((const struct api_event *)msg)->reporting_component
                                  : ((const struct api_events_event *)msg)->reporting_controller;

    buf_printf(text, "%.*s%s%.*s", STR_ARG(component), s->host.n ? ", " : "", STR_ARG(s->host));
}

static void hook_event_message(const struct schema_kind *kind, const void *msg, usec_t now,
                               struct buf *text)
{
    buf_add_str(text, str_trim(strcmp(kind->group, "") == 0
                                   ? ((const struct api_event *)msg)->message
                                   : ((const struct api_events_event *)msg)->note));
}

/* ---- registry ---- */

static const struct {
    const char *name;
    table_hook_fn fn;
} hooks[] = {
    {"age", hook_age},
    {"apiservice_available", table_hook_apiservice_available},
    {"apiservice_service", table_hook_apiservice_service},
    {"binding_groups", hook_binding_groups},
    {"binding_role", hook_binding_role},
    {"binding_serviceaccounts", hook_binding_serviceaccounts},
    {"binding_users", hook_binding_users},
    {"componentstatus_error", table_hook_componentstatus_error},
    {"componentstatus_message", table_hook_componentstatus_message},
    {"componentstatus_status", table_hook_componentstatus_status},
    {"containers", table_hook_containers},
    {"controllerrevision_controller", hook_controllerrevision_controller},
    {"created_at", hook_created_at},
    {"cronjob_last_schedule", table_hook_cronjob_last_schedule},
    {"cronjob_suspend", table_hook_cronjob_suspend},
    {"csidriver_tokens", table_hook_csidriver_tokens},
    {"csr_condition", table_hook_csr_condition},
    {"csr_duration", table_hook_csr_duration},
    {"data_count", hook_data_count},
    {"endpoints_addresses", table_hook_endpoints_addresses},
    {"endpointslice_endpoints", table_hook_endpointslice_endpoints},
    {"endpointslice_ports", table_hook_endpointslice_ports},
    {"event_count", hook_event_count},
    {"event_first_seen", hook_event_first_seen},
    {"event_last_seen", hook_event_last_seen},
    {"event_message", hook_event_message},
    {"event_object", hook_event_object},
    {"event_source", hook_event_source},
    {"flowschema_missing", table_hook_flowschema_missing},
    {"hpa_reference", table_hook_hpa_reference},
    {"hpa_targets", table_hook_hpa_targets},
    {"images", table_hook_images},
    {"ingress_address", table_hook_ingress_address},
    {"ingress_hosts", table_hook_ingress_hosts},
    {"ingress_ports", table_hook_ingress_ports},
    {"ingressclass_parameters", table_hook_ingressclass_parameters},
    {"ipaddress_parent", table_hook_ipaddress_parent},
    {"job_completions", table_hook_job_completions},
    {"job_duration", table_hook_job_duration},
    {"job_status", table_hook_job_status},
    {"metrics_cpu", table_hook_metrics_cpu},
    {"metrics_memory", table_hook_metrics_memory},
    {"networkpolicy_pod_selector", table_hook_networkpolicy_pod_selector},
    {"node_external_ip", table_hook_node_external_ip},
    {"node_internal_ip", table_hook_node_internal_ip},
    {"node_kernel", table_hook_node_kernel},
    {"node_os_image", table_hook_node_os_image},
    {"node_roles", table_hook_node_roles},
    {"node_runtime", table_hook_node_runtime},
    {"node_status", table_hook_node_status},
    {"pdb_max_unavailable", hook_pdb_max_unavailable},
    {"pdb_min_available", hook_pdb_min_available},
    {"pod_ip", table_hook_pod_ip},
    {"pod_node", table_hook_pod_node},
    {"pod_nominated_node", table_hook_pod_nominated_node},
    {"pod_readiness_gates", table_hook_pod_readiness_gates},
    {"pod_ready", table_hook_pod_ready},
    {"pod_restarts", table_hook_pod_restarts},
    {"pod_status", table_hook_pod_status},
    {"policy_param_kind", table_hook_policy_param_kind},
    {"policy_param_ref", table_hook_policy_param_ref},
    {"pv_claim", table_hook_pv_claim},
    {"quota_limit", table_hook_quota_limit},
    {"quota_request", table_hook_quota_request},
    {"ready_replicas", table_hook_ready_replicas},
    {"resourceclaim_state", table_hook_resourceclaim_state},
    {"selector", table_hook_selector},
    {"service_cluster_ip", table_hook_service_cluster_ip},
    {"service_external_ip", table_hook_service_external_ip},
    {"service_ports", table_hook_service_ports},
    {"serviceaccount_secrets", hook_serviceaccount_secrets},
    {"storageclass_name", table_hook_storageclass_name},
    {"template_labels", table_hook_template_labels},
    {"volume_access_modes", table_hook_volume_access_modes},
    {"volume_status", table_hook_volume_status},
};

table_hook_fn table_hook_find(const char *name)
{
    size_t from = 0, to = ARRAY_LEN(hooks);

    while (from < to) {
        size_t mid = (from + to) / 2;
        int c = strcmp(name, hooks[mid].name);
        if (c == 0)
            return hooks[mid].fn;
        if (c < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return NULL;
}
