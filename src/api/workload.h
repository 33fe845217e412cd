/* Hooks of the kinds that make pods. */
#pragma once

#include "api/hooks.h"

/* workload.c */
extern const struct api_hooks deployment_hooks, replica_set_hooks, job_hooks;
/* workload_sets.c */
extern const struct api_hooks stateful_set_hooks, daemon_set_hooks, replication_controller_hooks,
    cron_job_hooks, pod_template_hooks;

/* A selector at spec.selector that must select the template's pods. kind: as messages call it. */
void workload_selector_validate(const struct api_label_selector *sel,
                                const struct api_pod_template_spec *t, const char *kind,
                                struct error *err);
