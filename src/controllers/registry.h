/* The rows of all controllers; registry.c puts them into one array. And small helpers for rows. */
#pragma once

#include "base/mem.h"
#include "controllers/util.h"

extern const struct controller_row deployment_row, replicaset_row, job_row, endpoints_row,
    namespace_row, serviceaccount_row, rootca_row, node_lifecycle_row, taint_eviction_row,
    pod_gc_row, ttl_row, gc_row, disruption_row, stale_disruption_row, fence_row, csr_row,
    token_cleaner_row, account_token_row, service_row, endpoints_mirror_row, node_ttl_row, crd_row;

#define NEW_STATE(type) NEW(type)
void controller_free_state(struct controller *c); /* a `fini` for states that are one heap block */
