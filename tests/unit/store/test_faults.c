/* Failing disks: the n-th commit fails for every n, full disks, unknown outcomes, crashes in the
 * middle. */
#include "store_test.h"

static void test_sweep(void **state)
{
    /* ten rounds of writes; in run n the n-th commit fails. What was acknowledged is there, what
     * was refused is not, watches saw exactly the acknowledged writes, and everything goes on. */
    for (unsigned nth = 1;; nth++) {
        struct fx f;
        struct fx_watch watch;
        struct arena a = {0};
        struct buf expected = {0};
        unsigned failed = 0;

        fx_init(&f, FX_MEM_SIM);
        fx_open(&f);
        *store_disk_faults(f.disk) = (struct store_disk_faults){
            .fail_nth = nth, .fail_error = EIO, .latency_min = 1, .latency_max = NSEC_PER_MSEC};
        assert_int_equal(fx_watch(&f, &watch, NULL, 0), 0);
        for (unsigned round = 0; round < 10; round++) {
            struct fx_write w[3] = {0};
            char name[3][16];
            for (unsigned i = 0; i < 3; i++) {
                snprintf(name[i], sizeof(name[i]), "r%u-%u", round, i);
                assert_int_equal(fx_put(&f, "a", name[i], "v", STORE_ABSENT, &w[i], NULL), 0);
            }
            fx_wait(&f, &w[2].done);
            for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(w[i].calls, 1);
                assert_int_equal(w[i].r, w[0].r);
                if (w[i].r == 0)
                    buf_printf(&expected, "+a/%s=v ", name[i]);
                assert_true((store_peek(f.s, CM, STR("a"), str_z(name[i])) != NULL) ==
                            (w[i].r == 0));
            }
            failed += w[0].r != 0;
        }
        assert_str(buf_str(&watch.log), buf_str(&expected).p);
        assert_int_equal(store_rev(f.s), 30 - 3 * failed);
        fx_watch_end(&watch);
        fx_close(&f);
        fx_open(&f);
        assert_int_equal(store_rev(f.s), 30 - 3 * failed);
        assert_int_equal(store_count(f.s, CM), 30 - 3 * failed);
        buf_fini(&expected);
        arena_fini(&a);
        fx_fini(&f);
        if (!failed)
            break;
        assert_int_equal(failed, 1);
        assert_true(nth < 100);
    }
}

static void test_queue_behind_fails_too(void **state)
{
    struct fx f;
    struct fx_write w[3] = {0};

    fx_init(&f, FX_MEM_SIM);
    fx_open(&f);
    fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
    *store_disk_faults(f.disk) = (struct store_disk_faults){
        .fail_nth = 1, .latency_min = NSEC_PER_SEC, .latency_max = NSEC_PER_SEC};
    assert_int_equal(fx_put(&f, "a", "x", "2", 1, &w[0], NULL), 0);
    rt_sim_run_for(f.rt, NSEC_PER_MSEC);                            /* in flight */
    assert_int_equal(fx_put(&f, "a", "x", "3", 2, &w[1], NULL), 0); /* built on it */
    assert_int_equal(fx_put(&f, "a", "y", "1", STORE_ABSENT, &w[2], NULL), 0);
    fx_wait(&f, &w[2].done);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(w[i].r, -EIO);
    assert_str(fx_value(store_peek(f.s, CM, STR("a"), STR("x"))), "1");
    assert_null(store_peek(f.s, CM, STR("a"), STR("y")));
    assert_int_equal(fx_put_now(&f, "a", "x", "4", 1), 2);
    fx_fini(&f);
}

static void test_full(void **state)
{
    struct fx f;
    struct fx_write w = {0};

    fx_init(&f, FX_MEM_SIM);
    fx_open(&f);
    fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
    store_disk_faults(f.disk)->full = true;
    assert_int_equal(fx_put(&f, "a", "x", "2", STORE_ANY, &w, NULL), 0);
    fx_wait(&f, &w.done);
    assert_int_equal(w.r, -ENOSPC);
    assert_int_equal(w.reason, REASON_STORAGE_FULL);
    assert_str(fx_value(store_get(f.s, CM, STR("a"), STR("x"))), "1");
    assert_false(store_failed(f.s));
    store_disk_faults(f.disk)->full = false;
    assert_int_equal(fx_put_now(&f, "a", "x", "3", 1), 2);
    fx_fini(&f);
}

static void test_unknown(void **state)
{
    for (unsigned kept = 0; kept < 2; kept++) {
        struct fx f;
        struct fx_write w = {0};
        struct error err = {0};

        fx_init(&f, FX_MEM_SIM);
        fx_open(&f);
        fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
        *store_disk_faults(f.disk) =
            (struct store_disk_faults){.fail_nth = 1, .fail_unknown = true, .fail_kept = kept};
        assert_int_equal(fx_put(&f, "a", "x", "2", STORE_ANY, &w, NULL), 0);
        fx_wait(&f, &w.done);
        assert_int_equal(w.r, -EIO);
        /* reads go on, writes do not: nobody knows which state they would build on */
        assert_true(store_failed(f.s));
        assert_str(fx_value(store_get(f.s, CM, STR("a"), STR("x"))), "1");
        assert_int_equal(fx_put(&f, "a", "x", "3", STORE_ANY, &w, &err), -EAGAIN);
        error_clear(&err);
        fx_close(&f);
        fx_open(&f);
        assert_false(store_failed(f.s));
        assert_str(fx_value(store_get(f.s, CM, STR("a"), STR("x"))), kept ? "2" : "1");
        fx_fini(&f);
    }
}

static void test_abandon(void **state)
{
    /* a crash at every point of a commit's latency: acknowledged writes are found, others as whole
     * batches */
    for (unsigned keeps = 0; keeps < 2; keeps++) {
        for (unsigned at = 0; at < 40; at++) {
            struct fx f;
            struct fx_write w[20] = {0};
            unsigned acked = 0, found = 0;
            char name[16];

            fx_init(&f, FX_MEM_SIM);
            fx_open(&f);
            *store_disk_faults(f.disk) = (struct store_disk_faults){
                .latency_min = 100, .latency_max = NSEC_PER_MSEC, .crash_keeps = keeps};
            for (unsigned i = 0; i < 20; i++) {
                snprintf(name, sizeof(name), "n%02u", i);
                assert_int_equal(fx_put(&f, "a", name, "v", STORE_ABSENT, &w[i], NULL), 0);
                if (i % 3 == 0)
                    rt_sim_run_for(f.rt, 50 * NSEC_PER_USEC);
            }
            rt_sim_run_for(f.rt, at * 50 * NSEC_PER_USEC);
            store_abandon(f.s);
            for (unsigned i = 0; i < 20; i++)
                acked += w[i].done && w[i].r == 0;
            fx_open(&f);
            for (unsigned i = 0; i < 20; i++) {
                bool there;
                snprintf(name, sizeof(name), "n%02u", i);
                there = store_get(f.s, CM, STR("a"), str_z(name)) != NULL;
                assert_true(there || !w[i].done);
                assert_true(there == (i < store_rev(f.s))); /* a prefix */
                found += there;
            }
            assert_int_equal(found, store_rev(f.s));
            assert_true(found >= acked);
            fx_fini(&f);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep),   cmocka_unit_test(test_queue_behind_fails_too),
        cmocka_unit_test(test_full),    cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_abandon),
    };

    return cmocka_run_group_tests_name("store/faults", tests, NULL, NULL);
}
