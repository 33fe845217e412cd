/* The loop: timers, tasks, messages, work, signals, descriptors, watchdog. Each case runs on the
 * real loop; those that do not need the world also run on the simulator. */
#include "rt_test.h"
#include "rt/sim.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct buf order; /* one letter a callback */

static void note(void *arg)
{
    buf_add_char(&order, *(char *)arg);
}

static struct rt *both_loops(int i)
{
    buf_clear(&order);
    return i == 0 ? rt_uv_new() : rt_sim_new(7, 1000000);
}

#define ON_BOTH(rt)                                                                                \
    for (int _i = 0; _i < 2; _i++)                                                                 \
        for (struct rt *rt = both_loops(_i); rt; rt = rt_free(rt))

static void test_timer_order(void **state)
{
    ON_BOTH(rt)
    {
        struct rt_timer t[5];
        char name[] = "abcde";
        nsec_t start = rt_now(rt);
        for (int i = 0; i < 5; i++)
            rt_timer_init(&t[i], rt, note, &name[i]);
        rt_timer_start(&t[0], 30 * NSEC_PER_MSEC);
        rt_timer_start(&t[1], 10 * NSEC_PER_MSEC);
        rt_timer_start(&t[2], 10 * NSEC_PER_MSEC); /* same time: in the order of starting */
        rt_timer_start(&t[3], 5 * NSEC_PER_MSEC);
        rt_timer_start(&t[4], 20 * NSEC_PER_MSEC);
        rt_timer_start_at(&t[1], t[2].deadline); /* moved behind its equal */
        rt_timer_stop(&t[4]);
        rt_timer_stop(&t[4]);
        assert_false(rt_timer_active(&t[4]));
        WAIT(rt, order.n == 4);
        assert_string_equal(order.data, "dcba");
        assert_true(rt_now(rt) - start >= 30 * NSEC_PER_MSEC);
        settle(rt, 10 * NSEC_PER_MSEC);
        assert_int_equal(order.n, 4);
    }
}

static struct rt_timer again;
static int again_left;

static void restart(void *arg)
{
    if (--again_left > 0)
        rt_timer_start(&again, 0);
}

static void test_timer_restarts_itself(void **state)
{
    ON_BOTH(rt)
    {
        struct rt_task task;
        char c = 'x';
        again_left = 1000;
        rt_timer_init(&again, rt, restart, NULL);
        rt_task_init(&task, rt, note, &c);
        rt_timer_start(&again, 0);
        rt_task_schedule(&task);
        WAIT(rt, order.n == 1); /* the task is not starved */
        WAIT(rt, again_left == 0);
    }
}

static struct rt_task chain[3];
static char chain_name[] = "123";

static void chain_step(void *arg)
{
    buf_add_char(&order, 'n');
    rt_task_schedule_late(&chain[1]);
    rt_task_schedule(&chain[2]);
    rt_task_schedule(&chain[2]); /* runs once */
}

static void test_task_order(void **state)
{
    ON_BOTH(rt)
    {
        rt_task_init(&chain[0], rt, chain_step, NULL);
        rt_task_init(&chain[1], rt, note, &chain_name[1]);
        rt_task_init(&chain[2], rt, note, &chain_name[2]);
        rt_task_schedule(&chain[0]);
        assert_true(rt_task_pending(&chain[0]));
        WAIT(rt, order.n == 3);
        assert_string_equal(order.data, "n23"); /* late of this turn before the next turn's */
        rt_task_schedule(&chain[1]);
        rt_task_cancel(&chain[1]);
        rt_task_cancel(&chain[1]);
        settle(rt, 2 * NSEC_PER_MSEC);
        assert_int_equal(order.n, 3);
    }
}

/* ---- messages ---- */

#define SENDERS  4
#define MESSAGES 20000

struct message {
    struct rt_post post;
    int sender, number;
};

static int last_of[SENDERS], received;

static void on_message(void *arg)
{
    struct message *m = arg;

    assert_int_equal(m->number, last_of[m->sender] + 1); /* in order, none lost, none doubled */
    last_of[m->sender] = m->number;
    received++;
    free(m);
}

struct sender {
    struct rt *rt;
    int id;
};

static void *send_messages(void *arg)
{
    struct sender *s = arg;

    for (int i = 1; i <= MESSAGES; i++) {
        struct message *m = NEW(struct message);
        m->sender = s->id;
        m->number = i;
        rt_post(s->rt, &m->post, on_message, m);
        if (i % 1000 == 0)
            usleep(200); /* the loop falls asleep in between */
    }
    return NULL;
}

static void test_post_from_threads(void **state)
{
    struct rt *rt = rt_uv_new();
    struct sender s[SENDERS];
    pthread_t id[SENDERS];

    received = 0;
    memset(last_of, 0, sizeof(last_of));
    for (int i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){rt, i};
        pthread_create(&id[i], NULL, send_messages, &s[i]);
    }
    WAIT(rt, received == SENDERS * MESSAGES);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(id[i], NULL);
    assert_true(rt_stats(rt).posts == SENDERS * MESSAGES);
    rt_free(rt);
}

struct pingpong {
    struct rt *main, *other;
    struct rt_post post;
    int n;
    bool done;
};

static void ping(void *arg);
static void pong(void *arg)
{
    struct pingpong *p = arg;

    rt_post(p->main, &p->post, ping, p);
}
static void ping(void *arg)
{
    struct pingpong *p = arg;

    if (++p->n == 1000)
        p->done = true;
    else
        rt_post(p->other, &p->post, pong, p);
}

static void test_two_loops(void **state)
{
    struct pingpong p = {.main = rt_uv_new(), .other = rt_uv_new()};
    struct rt_thread *t;

    assert_int_equal(rt_thread_start(p.other, "other-loop", &t), 0);
    ping(&p);
    assert_true(rt_run_until(p.main, flag_set, &p.done, 60 * NSEC_PER_SEC));
    assert_null(rt_thread_join(t));
    rt_free(p.other);
    rt_free(p.main);
}

/* ---- work ---- */

struct job {
    struct rt_work w;
    pthread_t where;
    bool worked, done;
};

static void job_work(void *arg)
{
    struct job *j = arg;

    j->where = pthread_self();
    usleep(1000);
    j->worked = true;
}

static void job_done(void *arg)
{
    struct job *j = arg;

    assert_true(j->worked);
    j->done = true;
}

static void test_work(void **state)
{
    ON_BOTH(rt)
    {
        struct job jobs[3 * RT_WORK_LONG_MAX] = {0};
        int n = ARRAY_LEN(jobs);
        for (int i = 0; i < n; i++)
            rt_work(rt, &jobs[i].w, i % 2 ? RT_WORK_SHORT : RT_WORK_LONG, job_work, job_done,
                    &jobs[i]);
        assert_false(jobs[0].done);
        for (int i = 0; i < n; i++) {
            WAIT(rt, jobs[i].done);
            assert_int_equal(!rt_is_sim(rt), !pthread_equal(jobs[i].where, pthread_self()));
        }
        assert_int_equal(rt_stats(rt).works, n);
    }
}

static void test_free_waits_for_work(void **state)
{
    ON_BOTH(rt)
    {
        static struct job j;
        j = (struct job){0};
        rt_work(rt, &j.w, RT_WORK_LONG, job_work, job_done, &j);
        rt_free(rt);
        assert_true(j.done);
        break;
    }
}

/* ---- signals, descriptors ---- */

static int got_signal;

static void on_signal(void *arg, int signum)
{
    got_signal = signum;
}

static void test_signal(void **state)
{
    ON_BOTH(rt)
    {
        struct rt_signal *s = rt_signal_new(rt, SIGUSR1, on_signal, NULL);
        struct rt_signal *s2 = rt_signal_new(rt, SIGUSR2, on_signal, NULL);
        got_signal = 0;
        if (rt_is_sim(rt))
            rt_sim_signal(rt, SIGUSR1);
        else
            kill(getpid(), SIGUSR1);
        WAIT(rt, got_signal == SIGUSR1);
        assert_null(rt_signal_free(s));
        rt_signal_free(s2);
        assert_null(rt_signal_free(NULL));
    }
}

struct watched {
    struct rt_fd w;
    int fd, fired;
    unsigned events;
};

static void on_fd(void *arg, unsigned events)
{
    struct watched *w = arg;
    uint64_t v;

    w->fired++;
    w->events |= events;
    if (events & RT_READABLE)
        assert_int_equal(read(w->fd, &v, sizeof(v)), sizeof(v));
}

static void test_fd(void **state)
{
    struct rt *rt = rt_uv_new();
    struct watched w = {.fd = eventfd(0, EFD_CLOEXEC)};
    struct rt_fd bad;
    int file = open("/proc/self/exe", O_RDONLY);

    assert_int_equal(rt_fd_init(&w.w, rt, w.fd, on_fd, &w), 0);
    assert_int_equal(rt_fd_init(&bad, rt, 9999, on_fd, &w), -EBADF);
    rt_fd_fini(&bad);
    assert_int_equal(rt_fd_init(&bad, rt, file, on_fd, &w), -EPERM);
    rt_fd_watch(&w.w, RT_READABLE);
    settle(rt, 5 * NSEC_PER_MSEC);
    assert_int_equal(w.fired, 0);
    assert_int_equal(eventfd_write(w.fd, 1), 0);
    WAIT(rt, w.fired == 1);
    assert_int_equal(w.events, RT_READABLE);
    rt_fd_watch(&w.w, 0);
    assert_int_equal(eventfd_write(w.fd, 1), 0);
    settle(rt, 5 * NSEC_PER_MSEC);
    assert_int_equal(w.fired, 1);
    rt_fd_watch(&w.w, RT_READABLE);
    WAIT(rt, w.fired == 2);
    w.events = 0;
    rt_fd_watch(&w.w, RT_READABLE | RT_WRITABLE);
    WAIT(rt, w.events == RT_WRITABLE);
    rt_fd_fini(&w.w);
    rt_fd_fini(&w.w);
    close(w.fd);
    close(file);
    rt_free(rt);

    rt = rt_sim_new(1, 0);
    assert_int_equal(rt_fd_init(&bad, rt, 0, on_fd, &w), -ENOTSUP);
    rt_fd_fini(&bad);
    rt_free(rt);
}

/* ---- watchdog, random, wall ---- */

static char slow_name[64];

static void on_slow(void *arg, const char *callback, nsec_t took)
{
    assert_true(took >= 100 * NSEC_PER_MSEC);
    snprintf(slow_name, sizeof(slow_name), "%s", callback);
}

static void sleepy_callback(void *arg)
{
    assert_string_equal(rt_current(arg), "sleepy_callback");
    usleep(120000);
}

static void quick_callback(void *arg)
{
    *(bool *)arg = true;
}

static void test_watchdog(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_timer later;
    struct rt_task slow, quick;
    bool woken = false, ran = false;

    /* The limit is long, as a callback may be quick and yet wait for a processor. */
    rt_watchdog(rt, 100 * NSEC_PER_MSEC, on_slow, NULL);
    rt_timer_init(&later, rt, quick_callback, &woken);
    rt_task_init(&slow, rt, sleepy_callback, rt);
    rt_task_init(&quick, rt, quick_callback, &ran);
    rt_task_schedule(&quick);
    rt_timer_start(&later, 150 * NSEC_PER_MSEC);
    assert_true(rt_run_until(rt, flag_set, &woken, 60 * NSEC_PER_SEC));
    assert_string_equal(slow_name, ""); /* sleeping is no callback's fault */
    rt_task_schedule(&slow);
    ran = false;
    rt_task_schedule(&quick);
    WAIT(rt, slow_name[0] && ran);
    assert_string_equal(slow_name, "sleepy_callback");
    assert_string_equal(rt_current(rt), "");
    assert_true(rt_stats(rt).busy >= 120 * NSEC_PER_MSEC);
    rt_free(rt);
}

static void test_random(void **state)
{
    ON_BOTH(rt)
    {
        uint8_t a[300], b[300];
        unsigned seen = 0;
        rt_random_bytes(rt, a, sizeof(a));
        rt_random_bytes(rt, b, sizeof(b));
        assert_memory_not_equal(a, b, sizeof(a));
        for (int i = 0; i < 1000; i++) {
            uint64_t v = rt_random_below(rt, 5);
            assert_true(v < 5);
            seen |= 1u << v;
        }
        assert_int_equal(seen, 31);
        for (int i = 0; i < 100; i++) {
            nsec_t j = rt_jitter(rt, 1000, 0.1);
            assert_in_range(j, 900, 1100);
        }
        assert_int_equal(rt_random_below(rt, 1), 0);
    }
}

static void stop_it(void *arg)
{
    rt_stop(arg);
}

static void test_run_stop(void **state)
{
    ON_BOTH(rt)
    {
        struct rt_timer t;
        nsec_t start = rt_now(rt);
        rt_timer_init(&t, rt, stop_it, rt);
        rt_timer_start(&t, 3 * NSEC_PER_MSEC);
        rt_run(rt);
        assert_true(rt_now(rt) - start >= 3 * NSEC_PER_MSEC);
        rt_timer_start(&t, 0);
        rt_run(rt); /* again */
    }
}

/* ---- the simulator ---- */

struct world {
    struct rt *rt;
    struct rt_timer tick;
    struct rt_post post;
    struct rt_work work;
    int left;
};

static void world_nothing(void *arg)
{
}

static void world_tick(void *arg)
{
    struct world *w = arg;

    if (w->left-- <= 0)
        return;
    rt_timer_start(&w->tick, (nsec_t)rt_random_below(w->rt, NSEC_PER_MSEC));
    if (w->left % 10 == 5)
        rt_post(w->rt, &w->post, world_nothing, w);
    if (w->left % 50 == 7)
        rt_work(w->rt, &w->work, RT_WORK_SHORT, world_nothing, world_nothing, w);
}

static uint64_t history(uint64_t seed, nsec_t *ret_end)
{
    struct world w = {.rt = rt_sim_new(seed, 0), .left = 500};
    uint64_t digest;

    rt_timer_init(&w.tick, w.rt, world_tick, &w);
    rt_timer_start(&w.tick, 0);
    while (rt_sim_step(w.rt))
        ;
    assert_int_equal(w.left, -1);
    digest = rt_sim_digest(w.rt);
    *ret_end = rt_now(w.rt);
    rt_free(w.rt);
    return digest;
}

static void test_sim_same_seed_same_history(void **state)
{
    nsec_t a, b, c;
    uint64_t x = history(42, &a), y = history(42, &b), z = history(43, &c);

    assert_true(x == y && a == b);
    assert_true(x != z && a != c);
}

static void test_sim_time(void **state)
{
    struct rt *rt = rt_sim_new(1, 5000000);
    struct rt_timer t;
    char c = 'x';
    nsec_t start = rt_now(rt);

    buf_clear(&order);
    assert_int_equal(rt_wall(rt), 5000000);
    rt_timer_init(&t, rt, note, &c);
    rt_timer_start(&t, 3600 * NSEC_PER_SEC);
    rt_sim_run_for(rt, 1800 * NSEC_PER_SEC);
    assert_int_equal(order.n, 0);
    assert_int_equal(rt_now(rt) - start, 1800 * NSEC_PER_SEC);
    assert_int_equal(rt_wall(rt), 5000000 + INT64_C(1800000000));
    rt_sim_wall_jump(rt, -1000000);
    assert_int_equal(rt_wall(rt), 4000000 + INT64_C(1800000000));
    assert_true(rt_sim_step(rt));
    assert_int_equal(order.n, 1);
    assert_false(rt_sim_step(rt));
    assert_int_equal(rt_now(rt) - start, 3600 * NSEC_PER_SEC);
    assert_int_equal(rt_sim_seed(rt), 1);
    rt_run(rt); /* nothing to do: returns */
    rt_free(rt);
}

static void test_sim_free_with_things_pending(void **state)
{
    struct rt *rt = rt_sim_new(1, 0);
    static struct rt_post p;

    rt_sim_set_post_delay(rt, NSEC_PER_SEC, NSEC_PER_SEC);
    rt_post(rt, &p, world_nothing, NULL);
    rt_sim_signal(rt, SIGTERM);
    rt_sim_run_for(rt, NSEC_PER_MSEC);
    rt_free(rt);
    assert_null(rt_free(NULL));
}

static int teardown(void **state)
{
    buf_fini(&order);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_order),
        cmocka_unit_test(test_timer_restarts_itself),
        cmocka_unit_test(test_task_order),
        cmocka_unit_test(test_post_from_threads),
        cmocka_unit_test(test_two_loops),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_free_waits_for_work),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_fd),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_run_stop),
        cmocka_unit_test(test_sim_same_seed_same_history),
        cmocka_unit_test(test_sim_time),
        cmocka_unit_test(test_sim_free_with_things_pending),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
