/* One place for the arithmetic both sides rely on: a bound that only one of them changed would be
 * none. */
#include "api/fence.h"

#include "base/buf.h"
#include "codec/values.h"

#define KILL_BOUND       (5 * NSEC_PER_SEC)
#define LEASE_PERIOD_MAX (10 * NSEC_PER_SEC)
#define PROMISE_MAX      (24 * 3600 * NSEC_PER_SEC)

struct fence_promise fence_promise_for(nsec_t grace)
{
    nsec_t more = grace / 4;
    return (struct fence_promise){grace + (more > NSEC_PER_SEC ? more : NSEC_PER_SEC), KILL_BOUND};
}

nsec_t fence_takeover_after(const struct fence_promise *p)
{
    nsec_t all = p->deadline + p->kill;
    return all + all / 50 + NSEC_PER_SEC;
}

nsec_t fence_lease_period(nsec_t grace)
{
    return MIN(grace / 4, LEASE_PERIOD_MAX);
}

struct str fence_promise_print(struct arena *a, const struct fence_promise *p)
{
    char deadline[DURATION_TEXT_MAX], kill[DURATION_TEXT_MAX];
    duration_format(p->deadline, deadline);
    duration_format(p->kill, kill);
    return arena_printf(a, "deadline=%s,kill=%s", deadline, kill);
}

int fence_promise_parse(struct str text, struct fence_promise *ret)
{
    struct duration deadline, kill;
    struct str word, rest = text;
    if (!str_cut(&rest, ',', &word) || !str_starts(word, STR("deadline=")) ||
        !str_starts(rest, STR("kill=")) ||
        duration_parse(str_sub(word, 9, word.n), &deadline) < 0 ||
        duration_parse(str_sub(rest, 5, rest.n), &kill) < 0)
        return -EINVAL;
    if (deadline.nsec <= 0 || kill.nsec <= 0 || deadline.nsec > PROMISE_MAX ||
        kill.nsec > PROMISE_MAX)
        return -EINVAL;
    *ret = (struct fence_promise){deadline.nsec, kill.nsec};
    return 0;
}

bool fence_applies(const struct api_pod *p)
{
    static const char *const any_of_many[] = {"ReplicaSet", "ReplicationController", "Job",
                                              "DaemonSet"};
    const struct api_object_meta *m = &p->metadata;
    const struct str *said = KV_GET(m, annotations, STR(FENCE_POD_ANNOTATION));
    if (said && (str_is(*said, "true") || str_is(*said, "false")))
        return str_is(*said, "true");
    for (uint32_t i = 0; i < m->n_owner_references; i++) {
        const struct api_owner_reference *o = &m->owner_references[i];
        if (!o->has_controller || !o->controller)
            continue;
        for (size_t k = 0; k < ARRAY_LEN(any_of_many); k++)
            if (str_eqz(o->kind, any_of_many[k]))
                return false;
    }
    return true;
}
