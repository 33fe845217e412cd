/* The work queue on virtual time. */
#include "client/queue.h"
#include "base/buf.h"
#include "rt/sim.h"
#include "test.h"

#include <stdio.h>

struct fx {
    struct rt *rt;
    struct work_queue *q;
    struct buf log;
    unsigned active, active_max;
    bool hold;    /* fn leaves the key active */
    bool fail;    /* fn reports failure */
    bool free_it; /* fn frees the queue */
};

static void work(void *arg, struct str key)
{
    struct fx *f = arg;

    buf_printf(&f->log, "%.*s ", STR_ARG(key));
    f->active++;
    if (f->active > f->active_max)
        f->active_max = f->active;
    if (f->free_it) {
        f->q = work_queue_free(f->q);
        return;
    }
    if (f->hold)
        return;
    f->active--;
    work_queue_done(f->q, key, !f->fail);
}

static void fx_init(struct fx *f, unsigned parallel)
{
    struct work_queue_opts opts = {
        .parallel = parallel, .backoff_min = NSEC_PER_SEC, .backoff_max = 5 * NSEC_PER_SEC};

    *f = (struct fx){.rt = rt_sim_new(1, 0)};
    f->q = work_queue_new(f->rt, &opts, work, f);
}

static void fx_fini(struct fx *f)
{
    f->q = work_queue_free(f->q);
    f->rt = rt_free(f->rt);
    buf_fini(&f->log);
}

static void finish(struct fx *f, const char *key, bool ok)
{
    f->active--;
    work_queue_done(f->q, str_z(key), ok);
}

static void run(struct fx *f, nsec_t span)
{
    rt_sim_run_for(f->rt, span);
}

#define assert_log(f, text)                                                                        \
    do {                                                                                           \
        assert_str(buf_str(&(f)->log), text);                                                      \
        buf_clear(&(f)->log);                                                                      \
    } while (0)

static void test_once(void **state)
{
    struct fx f;

    fx_init(&f, 1);
    work_queue_add(f.q, STR("a"));
    work_queue_add(f.q, STR("a"));
    work_queue_add(f.q, STR("b"));
    work_queue_add(f.q, STR("a"));
    assert_int_equal(f.log.n, 0); /* never from inside */
    assert_int_equal(work_queue_len(f.q), 2);
    run(&f, NSEC_PER_SEC);
    assert_log(&f, "a b ");
    assert_int_equal(work_queue_len(f.q), 0);
    fx_fini(&f);
}

static void test_again_while_active(void **state)
{
    struct fx f;

    fx_init(&f, 4);
    f.hold = true;
    work_queue_add(f.q, STR("a"));
    run(&f, NSEC_PER_MSEC);
    work_queue_add(f.q, STR("a"));
    work_queue_add(f.q, STR("a"));
    run(&f, NSEC_PER_SEC);
    assert_log(&f, "a "); /* never twice at a time */
    finish(&f, "a", true);
    run(&f, NSEC_PER_SEC);
    assert_log(&f, "a ");
    finish(&f, "a", true);
    run(&f, NSEC_PER_SEC);
    assert_log(&f, "");
    fx_fini(&f);
}

static void test_parallel(void **state)
{
    struct fx f;

    fx_init(&f, 2);
    f.hold = true;
    for (const char *k = "abcde"; *k; k++)
        work_queue_add(f.q, (struct str){k, 1});
    run(&f, NSEC_PER_SEC);
    assert_log(&f, "a b ");
    finish(&f, "b", true);
    run(&f, NSEC_PER_SEC);
    assert_log(&f, "c ");
    finish(&f, "a", true);
    finish(&f, "c", true);
    run(&f, NSEC_PER_SEC);
    assert_log(&f, "d e ");
    assert_int_equal(f.active_max, 2);
    fx_fini(&f);
}

static void test_backoff(void **state)
{
    struct fx f;

    fx_init(&f, 1);
    f.fail = true;
    work_queue_add(f.q, STR("a"));
    run(&f, 500 * NSEC_PER_MSEC);
    assert_log(&f, "a ");
    assert_int_equal(work_queue_len(f.q), 1);
    run(&f, NSEC_PER_SEC); /* 1.5 s: after 1 s once more */
    assert_log(&f, "a ");
    run(&f, NSEC_PER_SEC); /* 2.5 s: the second pause is 2 s */
    assert_log(&f, "");
    run(&f, NSEC_PER_SEC); /* 3.5 s */
    assert_log(&f, "a ");
    run(&f, 4 * NSEC_PER_SEC); /* 7.5 s: 4 s */
    assert_log(&f, "a ");
    run(&f, 20 * NSEC_PER_SEC); /* 5 s at most */
    assert_log(&f, "a a a a ");
    /* an event does not wait for the back-off, and success forgets it */
    f.fail = false;
    work_queue_add(f.q, STR("a"));
    run(&f, NSEC_PER_MSEC);
    assert_log(&f, "a ");
    f.fail = true;
    work_queue_add(f.q, STR("a"));
    run(&f, 1100 * NSEC_PER_MSEC);
    assert_log(&f, "a a ");
    fx_fini(&f);
}

static void test_after(void **state)
{
    struct fx f;

    fx_init(&f, 1);
    work_queue_add_after(f.q, STR("late"), 10 * NSEC_PER_SEC);
    work_queue_add_after(f.q, STR("soon"), NSEC_PER_SEC);
    work_queue_add_after(f.q, STR("late"), 2 * NSEC_PER_SEC); /* the earlier wins */
    work_queue_add_after(f.q, STR("soon"), 5 * NSEC_PER_SEC);
    work_queue_add_after(f.q, STR("now"), 0);
    assert_int_equal(work_queue_len(f.q), 3);
    run(&f, 1500 * NSEC_PER_MSEC);
    assert_log(&f, "now soon ");
    run(&f, NSEC_PER_SEC);
    assert_log(&f, "late ");
    run(&f, 60 * NSEC_PER_SEC);
    assert_log(&f, "");
    /* delayed while active */
    f.hold = true;
    work_queue_add(f.q, STR("a"));
    run(&f, NSEC_PER_MSEC);
    work_queue_add_after(f.q, STR("a"), NSEC_PER_SEC);
    run(&f, 2 * NSEC_PER_SEC);
    assert_log(&f, "a ");
    finish(&f, "a", true);
    run(&f, NSEC_PER_MSEC);
    assert_log(&f, "a ");
    fx_fini(&f);
}

static void test_free_inside(void **state)
{
    struct fx f;

    fx_init(&f, 2);
    f.free_it = true;
    work_queue_add(f.q, STR("a"));
    work_queue_add(f.q, STR("b"));
    work_queue_add_after(f.q, STR("c"), NSEC_PER_SEC);
    run(&f, 5 * NSEC_PER_SEC);
    assert_log(&f, "a ");
    fx_fini(&f);
}

static void test_many(void **state)
{
    struct fx f;
    char key[16];

    fx_init(&f, 1);
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(key, sizeof(key), "k%u", i % 5000);
        work_queue_add(f.q, str_z(key));
    }
    assert_int_equal(work_queue_len(f.q), 5000);
    run(&f, NSEC_PER_SEC);
    assert_int_equal(work_queue_len(f.q), 0);
    fx_fini(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),     cmocka_unit_test(test_again_while_active),
        cmocka_unit_test(test_parallel), cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_after),    cmocka_unit_test(test_free_inside),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests_name("client/queue", tests, NULL, NULL);
}
