/* Shared by the files of table hooks. */
#pragma once

#include "api/types.gen.h"
#include "schema/table.h"

void table_age_print(struct timestamp since, usec_t now, struct buf *text);
void table_or_none(struct buf *text); /* "<none>" when nothing was written */

#define TABLE_HOOK(name)                                                                           \
    void table_hook_##name(const struct schema_kind *kind, const void *msg, usec_t now,            \
                           struct buf *text)

/* table_pod.c */
TABLE_HOOK(pod_ip);
TABLE_HOOK(pod_node);
TABLE_HOOK(pod_nominated_node);
TABLE_HOOK(pod_readiness_gates);
TABLE_HOOK(pod_ready);
TABLE_HOOK(pod_restarts);
TABLE_HOOK(pod_status);
/* table_workload.c */
TABLE_HOOK(containers);
TABLE_HOOK(cronjob_last_schedule);
TABLE_HOOK(cronjob_suspend);
TABLE_HOOK(images);
TABLE_HOOK(job_completions);
TABLE_HOOK(job_duration);
TABLE_HOOK(job_status);
TABLE_HOOK(ready_replicas);
TABLE_HOOK(selector);
TABLE_HOOK(template_labels);
/* table_metrics.c */
TABLE_HOOK(metrics_cpu);
TABLE_HOOK(metrics_memory);
/* table_cluster.c */
TABLE_HOOK(csr_condition);
TABLE_HOOK(csr_duration);
TABLE_HOOK(endpoints_addresses);
TABLE_HOOK(endpointslice_endpoints);
TABLE_HOOK(endpointslice_ports);
TABLE_HOOK(networkpolicy_pod_selector);
TABLE_HOOK(node_external_ip);
TABLE_HOOK(node_internal_ip);
TABLE_HOOK(node_kernel);
TABLE_HOOK(node_os_image);
TABLE_HOOK(node_roles);
TABLE_HOOK(node_runtime);
TABLE_HOOK(node_status);
TABLE_HOOK(service_cluster_ip);
TABLE_HOOK(service_external_ip);
TABLE_HOOK(service_ports);
/* table_storage.c */
TABLE_HOOK(csidriver_tokens);
TABLE_HOOK(pv_claim);
TABLE_HOOK(quota_limit);
TABLE_HOOK(quota_request);
TABLE_HOOK(storageclass_name);
TABLE_HOOK(volume_access_modes);
TABLE_HOOK(volume_status);
/* table_policy.c */
TABLE_HOOK(apiservice_available);
TABLE_HOOK(apiservice_service);
TABLE_HOOK(componentstatus_error);
TABLE_HOOK(componentstatus_message);
TABLE_HOOK(componentstatus_status);
TABLE_HOOK(flowschema_missing);
TABLE_HOOK(hpa_reference);
TABLE_HOOK(hpa_targets);
TABLE_HOOK(ingress_address);
TABLE_HOOK(ingress_hosts);
TABLE_HOOK(ingress_ports);
TABLE_HOOK(ingressclass_parameters);
TABLE_HOOK(ipaddress_parent);
TABLE_HOOK(policy_param_kind);
TABLE_HOOK(policy_param_ref);
TABLE_HOOK(resourceclaim_state);
