/* What a Deployment should do, from what is: pure. The arithmetic is Kubernetes' deployment
 * controller's, so that `kubectl rollout` means what it says. One plan is one step; after its
 * writes the next run plans anew. */
#pragma once

#include "controllers/util.h"

#define ANN_REVISION         "deployment.kubernetes.io/revision"
#define ANN_REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define ANN_DESIRED          "deployment.kubernetes.io/desired-replicas"
#define ANN_MAX              "deployment.kubernetes.io/max-replicas"
#define LABEL_TEMPLATE_HASH  "pod-template-hash"
/* Ours. On the Deployment, by the user: roll back a rollout that misses its progress deadline. */
#define ANN_ROLLBACK_ON_FAILURE "davit.dev/rollback-on-failure"
/* On a ReplicaSet: its own template hash, once all of its replicas were available. */
#define ANN_WAS_AVAILABLE "davit.dev/was-available"
/* On the Deployment, by us: "HASH text": it was rolled back to the ReplicaSet of that hash; the
 * text says why. */
#define ANN_ROLLED_BACK  "davit.dev/rolled-back"
#define COND_ROLLED_BACK "davit.dev/RolledBack"

#define DEPLOY_OPS_MAX 64 /* ReplicaSets changed in one step; more wait for the next */

struct deploy_in {
    const struct api_deployment *d;
    const struct api_replica_set *const *rss; /* all of the Deployment's */
    uint32_t n_rss;
    bool old_pods_running; /* Recreate: pods of old ReplicaSets are still there */
    usec_t now;
};

struct deploy_op {                    /* a change of one ReplicaSet */
    const struct api_replica_set *rs; /* as it is */
    struct api_replica_set *to;       /* as it should be; NULL: delete it */
    int32_t from_replicas, to_replicas;
};

struct deploy_plan {
    struct api_replica_set *create; /* the new ReplicaSet; NULL: none to make */
    struct deploy_op ops[DEPLOY_OPS_MAX];
    unsigned n_ops;
    struct str revision; /* the Deployment's revision annotation should be this; absent: as it is */
    bool drop_rolled_back; /* its ANN_ROLLED_BACK speaks of another template */
    struct api_deployment
        *rollback; /* the whole Deployment as it should be after an automatic rollback; or NULL */
    struct str rollback_text; /* for the event */
    struct api_deployment_status status;
    bool status_changed;
    usec_t check_at; /* when the progress deadline is over; 0: nothing to wait for */
};

void deploy_plan(struct arena *a, const struct deploy_in *in, struct deploy_plan *ret);
/* When creating plan->create failed or met another object of its name. */
void deploy_status_failed_create(struct arena *a, const struct api_deployment *d,
                                 struct str message, usec_t now, struct api_deployment_status *ret);

/* ---- inside the plan (deployment_status.c) ---- */

struct deploy {
    struct arena *a;
    const struct deploy_in *in;
    const struct api_deployment *d;
    struct deploy_plan *out;
    const struct api_replica_set *new_rs;   /* NULL: none yet */
    const struct api_replica_set **old_rss; /* oldest first */
    uint32_t n_old;
    int32_t replicas, max_surge, max_unavailable;
    bool renewed; /* new_rs was an old revision until now: its rollout, and its deadline, begin */
};
void deploy_status(struct deploy *dp, bool rollout);
bool deploy_has_deadline(const struct api_deployment *d);
bool deploy_complete(const struct api_deployment *d, const struct api_deployment_status *st);
const struct api_deployment_condition *deploy_condition(const struct api_deployment_status *st,
                                                        struct str type);
int64_t rs_revision(const struct api_replica_set *rs);
int32_t rs_replicas(const struct api_replica_set *rs);
