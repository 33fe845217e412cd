/* Every controller davit runs, in the order they are set up. */
#include "controllers/registry.h"

const struct controller_row *const controller_rows[] = {
    &namespace_row,
    &crd_row,
    &serviceaccount_row,
    &account_token_row,
    &rootca_row,
    &deployment_row,
    &replicaset_row,
    &job_row,
    &ttl_row,
    &endpoints_row,
    &endpoints_mirror_row,
    &service_row,
    &node_lifecycle_row,
    &node_ttl_row,
    &taint_eviction_row,
    &pod_gc_row,
    &disruption_row,
    &stale_disruption_row,
    &fence_row,
    &gc_row,
    &csr_row,
    &token_cleaner_row,
    NULL,
};

void controller_free_state(struct controller *c)
{
    free(controller_state(c));
    controller_set_state(c, NULL);
}
