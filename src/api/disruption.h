/* PodDisruptionBudget: its rules, and what both sides that write its status (the eviction
 * subresource and the disruption controller) must agree on. Pure functions. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks pod_disruption_budget_hooks;

/* A pod that was allowed to go and does not within this time counts again. */
#define PDB_DELETION_TIMEOUT (INT64_C(120) * 1000000) /* usec */
/* Evictions the controller has not yet confirmed, of one budget. */
#define PDB_DISRUPTED_PODS_MAX 2000

#define PDB_CONDITION_ALLOWED   "DisruptionAllowed"
#define PDB_REASON_SUFFICIENT   "SufficientPods"
#define PDB_REASON_INSUFFICIENT "InsufficientPods"
#define PDB_REASON_SYNC_FAILED  "SyncFailed"

/* Sets the condition DisruptionAllowed from status.disruptions_allowed; reason not NULL: to False
 * with that reason and message. The array is made anew in the arena when it changes. */
void pdb_set_condition(struct arena *a, struct api_pod_disruption_budget *b, const char *reason,
                       struct str message, usec_t now);
/* NULL when there is none. */
const struct api_condition *pdb_condition(const struct api_pod_disruption_budget *b);
