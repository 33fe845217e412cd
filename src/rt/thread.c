/* A loop in a thread of its own. Signals are blocked there: the main loop is who handles them. */
#include "rt/rt.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>

struct rt_thread {
    pthread_t id;
    struct rt *rt; /* borrowed */
    char name[16];
};

static void *thread_main(void *arg)
{
    struct rt_thread *t = arg;

    pthread_setname_np(pthread_self(), t->name);
    rt_run(t->rt);
    return NULL;
}

int rt_thread_start(struct rt *rt, const char *name, struct rt_thread **ret)
{
    struct rt_thread *t = NEW(struct rt_thread);
    sigset_t all, old;
    int r;

    t->rt = rt;
    snprintf(t->name, sizeof(t->name), "%s", name);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&t->id, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r) {
        free(t);
        return -r;
    }
    *ret = t;
    return 0;
}

struct rt_thread *rt_thread_join(struct rt_thread *t)
{
    if (!t)
        return NULL;
    rt_stop(t->rt);
    pthread_join(t->id, NULL);
    free(t);
    return NULL;
}
