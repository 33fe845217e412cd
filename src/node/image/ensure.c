/* The asynchronous face, on the agent's loop. What is present is answered from the disk at once (a
 * few small files); what is not starts one pull per reference in a thread, and everyone who asks
 * meanwhile waits for that one. All bookkeeping is on the loop; the thread sees only its struct
 * ensure_pull. */
#include <stdatomic.h>

#include "base/list.h"
#include "base/mem.h"
#include "node/image/auth.h"
#include "node/image/pull.h"
#include "node/image/store.h"
#include "rt/rt.h"

#define PROGRESS_EVERY (100 * NSEC_PER_MSEC)

struct waiter {
    struct list link;
    struct rt_task task; /* answers that need no pull */
    struct image_store *s;
    struct image_auths auths; /* owned */
    char *ref, *holder;       /* owned; ref normalised; holder may be NULL */
    image_progress_fn progress;
    image_done_fn done;
    void *arg;
    struct image *image;
    enum image_failure failure;
    struct error err;
    nsec_t started;
};

struct ensure_pull {
    struct image_store *s;
    char *ref; /* owned; key in s->pulls */
    struct image_auths auths;
    struct list waiters;
    struct rt_work work;
    struct rt_timer timer; /* progress */
    /* written by the thread, read by the loop */
    _Atomic unsigned layers_total, layers_done;
    _Atomic uint64_t bytes_total, bytes_done;
    /* written by the thread, read after done */
    struct image *image;
    struct pull_failure failure;
    struct error err;
};

const char *image_failure_reason(enum image_failure f)
{
    static const char *const names[_IMAGE_FAILURE_MAX] = {
        [IMAGE_FAILURE_NONE] = "",
        [IMAGE_FAILURE_INVALID_NAME] = "InvalidImageName",
        [IMAGE_FAILURE_NEVER_PULL] = "ErrImageNeverPull",
        [IMAGE_FAILURE_PULL] = "ErrImagePull",
        [IMAGE_FAILURE_REGISTRY_UNAVAILABLE] = "RegistryUnavailable",
    };
    return f >= 0 && f < _IMAGE_FAILURE_MAX ? names[f] : "ErrImagePull";
}

/* Pins, tells, frees. */
static void waiter_answer(struct waiter *w, struct image *img, enum image_failure failure,
                          const struct error *err, bool pulled)
{
    struct error pin_err = {0};
    if (img && w->holder && image_pin(w->s, img, str_z(w->holder), &pin_err) < 0) {
        img = NULL;
        failure = IMAGE_FAILURE_PULL;
        err = &pin_err;
    }
    struct image_result res = {
        .image = img,
        .failure = img ? IMAGE_FAILURE_NONE : failure,
        .err = img ? NULL : err,
        .pulled = img && pulled,
        .took = rt_now(w->s->rt) - w->started,
    };
    w->done(w->arg, &res);
    error_fini(&pin_err);
    error_fini(&w->err);
    image_auths_fini(&w->auths);
    image_unref(w->image);
    free(w->ref);
    free(w->holder);
    free(w);
}

static void answer_now(void *arg)
{
    struct waiter *w = arg;
    waiter_answer(w, w->image, w->failure, &w->err, false);
}

static void join_pull(struct waiter *w);

static void pull_thread_progress(void *arg, const struct image_progress *p)
{
    struct ensure_pull *pull = arg;
    atomic_store_explicit(&pull->layers_total, p->layers_total, memory_order_relaxed);
    atomic_store_explicit(&pull->layers_done, p->layers_done, memory_order_relaxed);
    atomic_store_explicit(&pull->bytes_total, p->bytes_total, memory_order_relaxed);
    atomic_store_explicit(&pull->bytes_done, p->bytes_done, memory_order_relaxed);
}

static void pull_work(void *arg)
{
    struct ensure_pull *pull = arg;
    struct pull_opts o = {.auths = &pull->auths, .progress = pull_thread_progress, .arg = pull};
    if (pull_image(pull->s, str_z(pull->ref), &o, &pull->image, &pull->failure, &pull->err) < 0)
        pull->image = NULL;
}

static void pull_done(void *arg)
{
    struct ensure_pull *pull = arg;
    struct list waiting;
    struct waiter *w;
    rt_timer_stop(&pull->timer);
    map_remove(&pull->s->pulls, str_z(pull->ref));
    /* Callbacks may ask for images again: work on a list of our own. */
    list_init(&waiting);
    LIST_FOR_EACH (w, &pull->waiters, link) {
        list_remove(&w->link);
        list_push_back(&waiting, &w->link);
    }
    LIST_FOR_EACH (w, &waiting, link) {
        list_remove(&w->link);
        bool other_key = !pull->image && pull->failure.unauthorized &&
                         !image_auths_equal(&w->auths, &pull->auths);
        if (other_key)
            join_pull(w);
        else
            waiter_answer(w, pull->image, pull->failure.kind, &pull->err, true);
    }
    image_unref(pull->image);
    image_auths_fini(&pull->auths);
    error_fini(&pull->err);
    free(pull->ref);
    free(pull);
}

static void pull_progress_tick(void *arg)
{
    struct ensure_pull *pull = arg;
    struct waiter *w;
    struct image_progress p = {
        .layers_total = pull->layers_total,
        .layers_done = pull->layers_done,
        .bytes_total = pull->bytes_total,
        .bytes_done = pull->bytes_done,
    };
    LIST_FOR_EACH (w, &pull->waiters, link) {
        if (w->progress)
            w->progress(w->arg, &p);
    }
    rt_timer_start(&pull->timer, PROGRESS_EVERY);
}

static void join_pull(struct waiter *w)
{
    struct image_store *s = w->s;
    struct ensure_pull *pull = map_get(&s->pulls, str_z(w->ref));
    if (!pull) {
        pull = NEW(struct ensure_pull);
        pull->s = s;
        pull->ref = xstrdup(w->ref);
        image_auths_copy(&pull->auths, &w->auths);
        list_init(&pull->waiters);
        map_set(&s->pulls, str_z(pull->ref), pull);
        rt_timer_init(&pull->timer, s->rt, pull_progress_tick, pull);
        rt_timer_start(&pull->timer, PROGRESS_EVERY);
        rt_work(s->rt, &pull->work, RT_WORK_LONG, pull_work, pull_done, pull);
    }
    list_push_back(&pull->waiters, &w->link);
}

void image_ensure(struct image_store *s, struct str ref, enum image_pull_policy policy,
                  const struct image_auths *auths, struct str holder, image_progress_fn progress,
                  image_done_fn done, void *arg)
{
    ASSERT(s->rt && done);
    struct waiter *w = NEW(struct waiter);
    struct image_name name;
    w->s = s;
    w->progress = progress;
    w->done = done;
    w->arg = arg;
    w->holder = holder.p ? str_dup(holder) : NULL;
    w->started = rt_now(s->rt);
    list_init(&w->link);
    image_auths_copy(&w->auths, auths);
    rt_task_init(&w->task, s->rt, answer_now, w);
    if (image_name_parse(ref, &name, &w->err) < 0) {
        /* An id of an image that is here is no reference, but a pod may name one. */
        if (image_lookup(s, ref, &w->image, NULL) < 0)
            w->failure = IMAGE_FAILURE_INVALID_NAME;
        rt_task_schedule(&w->task);
        return;
    }
    w->ref = image_name_format(&name);
    image_name_fini(&name);
    /* By the text as given: it may also be an id. */
    if (policy != IMAGE_PULL_ALWAYS && image_lookup(s, ref, &w->image, NULL) == 0) {
        rt_task_schedule(&w->task);
    } else if (policy == IMAGE_PULL_NEVER) {
        w->failure = IMAGE_FAILURE_NEVER_PULL;
        (void)error_set(&w->err, REASON_NOT_FOUND,
                        "Container image \"%.*s\" is not present with pull policy of Never",
                        STR_ARG(ref));
        rt_task_schedule(&w->task);
    } else {
        join_pull(w);
    }
}
