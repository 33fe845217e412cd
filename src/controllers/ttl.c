/* Finished Jobs with ttlSecondsAfterFinished go, with their pods, when the time is over. */
#include "controllers/registry.h"

static usec_t finished_at(const struct api_job *j)
{
    for (uint32_t i = 0; i < j->status.n_conditions; i++) {
        const struct api_job_condition *c = &j->status.conditions[i];
        if ((str_is(c->type, "Complete") || str_is(c->type, "Failed")) && str_is(c->status, "True"))
            return c->last_transition_time.usec;
    }
    return 0;
}

static void map_job(struct controller *c, struct object *old, struct object *new)
{
    const struct api_job *j = new ? OBJECT_MSG(new, api_job) : NULL;
    if (j && j->spec.has_ttl_seconds_after_finished && finished_at(j))
        controller_add_object(c, new);
}

static void reconcile(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_JOB, rc->ns, rc->name);
    const struct api_job *j = o ? OBJECT_MSG(o, api_job) : NULL;
    if (!j || !j->spec.has_ttl_seconds_after_finished || !finished_at(j) ||
        j->metadata.deletion_timestamp.set)
        return;
    usec_t due = finished_at(j) + (usec_t)j->spec.ttl_seconds_after_finished * 1000000;
    if (due > rc->now)
        reconcile_again(rc, nsec_of_usec(due - rc->now) + NSEC_PER_MSEC);
    else
        controller_delete(rc, KIND_JOB, &j->metadata, "Foreground", NULL, NULL);
}

const struct controller_row ttl_row = {
    .name = "ttl-after-finished",
    .watches = {{KIND_JOB, map_job}},
    .n_watches = 1,
    .reconcile = reconcile,
};
