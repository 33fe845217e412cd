/* What a Job should do, from what is: pure.
 *
 * Counting pods once: every pod of a Job carries the finalizer JOB_FINALIZER, so it cannot vanish
 * before it is counted. Counting takes three writes that may be cut between any two: (1) the pod's
 * uid enters status.uncountedTerminatedPods; (2) its finalizer goes; (3) one status write takes the
 * uid out and adds one to succeeded or failed. A uid without its finalizer is counted exactly in
 * step 3. Indexed Jobs note a success in completedIndexes instead, which is idempotent. */
#pragma once

#include "controllers/util.h"

#define JOB_FINALIZER     "batch.kubernetes.io/job-tracking"
#define JOB_INDEX         "batch.kubernetes.io/job-completion-index"
#define JOB_PODS_BURST    500 /* pods created, deleted or newly counted in one run */
#define JOB_BACKOFF_MIN_S 10
#define JOB_BACKOFF_MAX_S 600

struct job_in {
    const struct api_job *job;
    const struct api_pod *const *pods; /* all of the Job's */
    uint32_t n_pods;
    usec_t now;
};

struct job_event {
    const char *type, *reason;
    struct str message;
};

struct job_plan {
    struct api_job_status status;
    bool status_changed;
    const struct api_pod **unfinalize; /* after the status is durable */
    uint32_t n_unfinalize;
    const struct api_pod **remove;
    uint32_t n_remove;
    uint32_t n_create;
    int32_t *indexes; /* of the pods to create; NULL: not Indexed */
    struct job_event events[4];
    unsigned n_events;
    usec_t again_at; /* 0: nothing to wait for */
};

void job_plan(struct arena *a, const struct job_in *in, struct job_plan *ret);
/* A pod for completion index `index` (-1: not Indexed). */
struct api_pod *job_pod(struct arena *a, const struct api_job *job, int32_t index);
bool job_is_finished(const struct api_job *job);

/* ---- sets of indexes as text "0-3,5" (job_index.c) ---- */

struct index_set {
    struct arena *a; /* borrowed */
    uint8_t *bits;   /* in the arena; cap bytes, as many as the highest index needs */
    size_t cap;
    int32_t n; /* indexes are below it */
};
/* Numbers beyond n, text that is none, and what is not behind all before it are ignored: the text
 * is ascending, as it is printed. */
void index_set_parse(struct arena *a, struct str text, int32_t n, struct index_set *ret);
struct str index_set_print(struct arena *a, const struct index_set *s);
int32_t index_set_count(const struct index_set *s);
bool index_set_has(const struct index_set *s, int32_t i);
void index_set_add(struct index_set *s, int32_t i);
/* The pod's completion index, or -1. */
int32_t job_pod_index(const struct api_pod *p);

/* ---- podFailurePolicy (job_policy.c) ---- */

enum job_action { JOB_COUNT, JOB_IGNORE, JOB_FAIL };
/* What the policy says about a failed pod; with JOB_FAIL the message for the condition. */
enum job_action job_policy(struct arena *a, const struct api_job *job, const struct api_pod *p,
                           struct str *ret_message);
