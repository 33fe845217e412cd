/* The contract of store.h, over every backend: memory on the simulator, memory and LMDB on the real
 * loop. */
#include "store_test.h"
#include "store/internal.h"

static enum fx_backend backend_now; /* set by each group */

#define FX(f)                                                                                      \
    struct fx f;                                                                                   \
    fx_init(&f, backend_now);                                                                      \
    fx_open(&f)

static void test_put_get(void **state)
{
    FX(f);
    struct fx_write w = {0};
    struct object *o;

    assert_int_equal(store_rev(f.s), 0);
    assert_int_equal(store_cluster_id(f.s).n, 36);
    assert_int_equal(fx_put(&f, "a", "x", "1", STORE_ABSENT, &w, NULL), 0);
    assert_false(w.done);
    /* pending is seen by peek only */
    assert_null(store_get(f.s, CM, STR("a"), STR("x")));
    o = store_peek(f.s, CM, STR("a"), STR("x"));
    assert_non_null(o);
    assert_int_equal(o->rev, 1);
    fx_wait(&f, &w.done);
    assert_int_equal(w.r, 0);
    assert_int_equal(w.rev, 1);
    o = store_get(f.s, CM, STR("a"), STR("x"));
    assert_non_null(o);
    assert_str(fx_value(o), "1");
    assert_str(object_meta(o)->resource_version, "1");
    assert_int_equal(store_rev(f.s), 1);
    assert_int_equal(store_count(f.s, CM), 1);
    assert_null(store_get(f.s, CM, STR("b"), STR("x")));
    assert_null(store_get(f.s, NODE, STR_NONE, STR("x")));
    fx_fini(&f);
}

static void test_preconditions(void **state)
{
    FX(f);
    struct error err = {0};
    struct fx_write w = {0};
    rev_t r1, r2;

    assert_int_equal(fx_put(&f, "a", "x", "0", STORE_ANY, &w, &err), -ENOENT);
    assert_str(err.message, "configmaps \"x\" not found");
    error_clear(&err);
    r1 = fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
    assert_int_equal(fx_put(&f, "a", "x", "2", STORE_ABSENT, &w, &err), -EEXIST);
    assert_str(err.message, "configmaps \"x\" already exists");
    assert_int_equal(err.reason, REASON_ALREADY_EXISTS);
    error_clear(&err);
    r2 = fx_put_now(&f, "a", "x", "2", r1);
    assert_int_equal(r2, r1 + 1);
    assert_int_equal(fx_put(&f, "a", "x", "3", r1, &w, &err), -ESTALE);
    assert_int_equal(err.reason, REASON_CONFLICT);
    error_clear(&err);
    assert_int_equal(fx_del(&f, "a", "x", r1, &w, NULL), -ESTALE);
    assert_int_equal(fx_del(&f, "a", "y", STORE_ANY, &w, NULL), -ENOENT);
    assert_int_equal(fx_del_now(&f, "a", "x"), r2 + 1);
    assert_null(store_get(f.s, CM, STR("a"), STR("x")));
    assert_int_equal(fx_put_now(&f, "a", "x", "4", STORE_ABSENT), r2 + 2);
    assert_false(w.done); /* refused writes never call back */
    fx_fini(&f);
}

static void test_bad_names(void **state)
{
    FX(f);
    char name[STORE_KEY_BYTES_MAX + 2];
    struct api_config_map cm;

    assert_int_equal(fx_put(&f, "a", "", "1", STORE_ABSENT, NULL, NULL), -EINVAL);
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(fx_put(&f, "a", name, "1", STORE_ABSENT, NULL, NULL), -EINVAL);
    cm = fx_cm(STR("a"), (struct str){"x\0y", 3}, NULL);
    assert_int_equal(store_put(f.s, CM, &cm, STORE_ABSENT, NULL, NULL, NULL), -EINVAL);
    assert_null(store_peek(f.s, CM, STR("a"), str_z(name)));
    fx_fini(&f);
}

static void test_pending_chain(void **state)
{
    /* several writes of one key within a turn: each checked against the one before */
    FX(f);
    struct fx_write w[5] = {0};

    assert_int_equal(fx_put(&f, "a", "x", "1", STORE_ABSENT, &w[0], NULL), 0);
    assert_int_equal(fx_put(&f, "a", "x", "2", 1, &w[1], NULL), 0);
    assert_int_equal(fx_put(&f, "a", "x", "3", 1, NULL, NULL), -ESTALE);
    assert_int_equal(fx_del(&f, "a", "x", 2, &w[2], NULL), 0);
    assert_null(store_peek(f.s, CM, STR("a"), STR("x")));
    assert_int_equal(fx_put(&f, "a", "x", "4", STORE_ANY, NULL, NULL), -ENOENT);
    assert_int_equal(fx_put(&f, "a", "x", "4", STORE_ABSENT, &w[3], NULL), 0);
    assert_int_equal(fx_put(&f, "a", "x", "5", 4, &w[4], NULL), 0);
    fx_wait(&f, &w[4].done);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(w[i].r, 0);
        assert_int_equal(w[i].rev, i + 1);
        assert_int_equal(w[i].calls, 1);
    }
    assert_str(fx_value(store_get(f.s, CM, STR("a"), STR("x"))), "5");
    fx_fini(&f);
}

static void test_batches(void **state)
{
    FX(f);
    struct store_stats st;
    struct fx_write w[100] = {0};
    char name[16];

    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        assert_int_equal(fx_put(&f, "a", name, "v", STORE_ABSENT, &w[i], NULL), 0);
    }
    fx_wait(&f, &w[99].done);
    store_stats(f.s, &st);
    assert_int_equal(st.writes, 100);
    assert_int_equal(st.batches, 1); /* one turn, one commit */
    assert_int_equal(st.objects, 100);
    assert_int_equal(st.pending, 0);
    fx_fini(&f);
}

static void test_queue_limit(void **state)
{
    struct fx f;
    struct fx_write w = {0};
    struct error err = {0};

    fx_init(&f, backend_now);
    f.opts.queue_writes_max = 3;
    fx_open(&f);
    assert_int_equal(fx_put(&f, "a", "1", "v", STORE_ABSENT, NULL, NULL), 0);
    assert_int_equal(fx_put(&f, "a", "2", "v", STORE_ABSENT, NULL, NULL), 0);
    assert_int_equal(fx_put(&f, "a", "3", "v", STORE_ABSENT, &w, NULL), 0);
    assert_int_equal(fx_put(&f, "a", "4", "v", STORE_ABSENT, NULL, &err), -EBUSY);
    assert_int_equal(err.reason, REASON_TOO_MANY_REQUESTS);
    assert_int_equal(err.retry_after_s, 1);
    error_clear(&err);
    fx_wait(&f, &w.done);
    fx_put_now(&f, "a", "4", "v", STORE_ABSENT);
    fx_fini(&f);
}

static void test_reopen(void **state)
{
    FX(f);
    struct arena a = {0};
    char id[64];

    snprintf(id, sizeof(id), "%.*s", STR_ARG(store_cluster_id(f.s)));
    fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
    fx_put_now(&f, "b", "y", "2", STORE_ABSENT);
    fx_put_now(&f, "a", "w", "3", STORE_ABSENT);
    fx_del_now(&f, "b", "y"); /* the newest revision is a delete's */
    fx_close(&f);
    fx_open(&f);
    assert_str(store_cluster_id(f.s), id);
    assert_int_equal(store_rev(f.s), 4);
    assert_str(fx_list(&f, &a, STR_NONE, 0), "a/w=3 a/x=1");
    assert_int_equal(store_get(f.s, CM, STR("a"), STR("x"))->rev, 1);
    assert_int_equal(fx_put_now(&f, "b", "y", "4", STORE_ABSENT), 5);
    /* what was before the opening cannot be watched */
    struct fx_watch w;
    assert_int_equal(fx_watch(&f, &w, NULL, 3), -ESPIPE);
    assert_int_equal(fx_watch(&f, &w, NULL, 4), 0);
    fx_settle(&f);
    assert_str(buf_str(&w.log), "+b/y=4 ");
    fx_watch_end(&w);
    arena_fini(&a);
    fx_fini(&f);
}

static void test_list(void **state)
{
    FX(f);
    struct arena a = {0};
    struct store_iter it;
    rev_t r;

    fx_put_now(&f, "b", "x", "1", STORE_ABSENT);
    fx_put_now(&f, "a", "z", "2", STORE_ABSENT);
    fx_put_now(&f, "a", "y", "3", STORE_ABSENT);
    r = fx_put_now(&f, "c", "x", "4", STORE_ABSENT);
    assert_str(fx_list(&f, &a, STR_NONE, 0), "a/y=3 a/z=2 b/x=1 c/x=4");
    assert_str(fx_list(&f, &a, STR("b"), 0), "b/x=1");
    assert_str(fx_list(&f, &a, STR("bb"), 0), "");
    /* the state at r stays readable while things change */
    fx_put_now(&f, "a", "y", "5", STORE_ANY);
    fx_put_now(&f, "a", "y", "6", STORE_ANY);
    fx_del_now(&f, "a", "z");
    fx_put_now(&f, "a", "a", "7", STORE_ABSENT);
    fx_del_now(&f, "c", "x");
    fx_put_now(&f, "d", "q", "8", STORE_ABSENT);
    fx_del_now(&f, "d", "q");
    assert_str(fx_list(&f, &a, STR_NONE, 0), "a/a=7 a/y=6 b/x=1");
    assert_str(fx_list(&f, &a, STR_NONE, r), "a/y=3 a/z=2 b/x=1 c/x=4");
    assert_str(fx_list(&f, &a, STR("a"), r), "a/y=3 a/z=2");
    assert_str(fx_list(&f, &a, STR_NONE, r + 1), "a/y=5 a/z=2 b/x=1 c/x=4");
    assert_str(fx_list(&f, &a, STR_NONE, r - 4 + 1), "b/x=1");
    assert_str(fx_list(&f, &a, STR("d"), r + 6), "d/q=8");
    /* paging */
    assert_int_equal(store_iter_init(&it, f.s, CM, STR_NONE, r, STR("a"), STR("y")), 0);
    assert_str(object_name(store_iter_next(&it)), "z");
    assert_str(object_ns(store_iter_next(&it)), "b");
    assert_str(object_ns(store_iter_next(&it)), "c");
    assert_null(store_iter_next(&it));
    store_iter_fini(&it);
    assert_int_equal(store_iter_init(&it, f.s, CM, STR("a"), 0, STR("a"), STR("y")), 0);
    assert_null(store_iter_next(&it));
    store_iter_fini(&it);
    assert_int_equal(store_iter_init(&it, f.s, CM, STR_NONE, r + 100, STR_NONE, STR_NONE), -EINVAL);
    arena_fini(&a);
    fx_fini(&f);
}

static void test_watch(void **state)
{
    FX(f);
    struct fx_watch all, one, late;
    const struct store_event *ev;
    size_t n;
    rev_t r;

    assert_int_equal(fx_watch(&f, &all, NULL, 0), 0);
    assert_int_equal(fx_watch(&f, &one, "b", 0), 0);
    fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
    r = fx_put_now(&f, "b", "x", "2", STORE_ABSENT);
    fx_put_now(&f, "b", "x", "3", STORE_ANY);
    fx_del_now(&f, "a", "x");
    fx_settle(&f);
    assert_str(buf_str(&all.log), "+a/x=1 +b/x=2 *b/x=3 -a/x=1 ");
    assert_str(buf_str(&one.log), "+b/x=2 *b/x=3 ");
    /* resuming; never from inside the call */
    assert_int_equal(fx_watch(&f, &late, NULL, r), 0);
    assert_int_equal(late.batches, 0);
    fx_settle(&f);
    assert_str(buf_str(&late.log), "*b/x=3 -a/x=1 ");
    assert_int_equal(late.batches, 1);
    fx_watch_end(&late);
    assert_int_equal(fx_watch(&f, &late, "b", 1), 0);
    fx_settle(&f);
    assert_str(buf_str(&late.log), "+b/x=2 *b/x=3 ");
    fx_watch_end(&late);
    assert_int_equal(fx_watch(&f, &late, NULL, 99), -EINVAL);
    /* stopped means silent */
    store_watch_stop(&all.w);
    store_watch_stop(&all.w);
    buf_clear(&all.log);
    fx_put_now(&f, "b", "q", "9", STORE_ABSENT);
    fx_settle(&f);
    assert_int_equal(all.log.n, 0);
    assert_str(buf_str(&one.log), "+b/x=2 *b/x=3 +b/q=9 ");
    /* the array for those who index themselves */
    assert_int_equal(store_events_since(f.s, CM, r, &ev, &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(ev[0].rev, r + 1);
    assert_int_equal(store_events_since(f.s, CM, r + 100, &ev, &n), -EINVAL);
    assert_int_equal(store_events_since(f.s, NODE, r, &ev, &n), 0);
    assert_int_equal(n, 0);
    fx_watch_end(&all);
    fx_watch_end(&one);
    fx_fini(&f);
}

static void test_watch_batches(void **state)
{
    FX(f);
    struct fx_watch w;
    struct fx_write done = {0};
    char name[16];

    assert_int_equal(fx_watch(&f, &w, NULL, 0), 0);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "n%02u", i);
        assert_int_equal(fx_put(&f, "a", name, "v", STORE_ABSENT, i == 49 ? &done : NULL, NULL), 0);
    }
    assert_int_equal(w.batches, 0);
    fx_wait(&f, &done.done);
    fx_settle(&f);
    assert_int_equal(w.batches, 1);
    assert_int_equal(w.last, 50);
    fx_watch_end(&w);
    fx_fini(&f);
}

static void test_window(void **state)
{
    struct fx f;
    struct fx_watch live, w;
    struct store_iter it;
    struct fx_write done = {0};
    char name[16];

    fx_init(&f, backend_now);
    f.opts.watch_window_events = 4;
    fx_open(&f);
    assert_int_equal(fx_watch(&f, &live, NULL, 0), 0);
    /* a live watch loses nothing, however large the batch */
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "n%02u", i);
        assert_int_equal(fx_put(&f, "a", name, "v", STORE_ABSENT, i == 19 ? &done : NULL, NULL), 0);
    }
    fx_wait(&f, &done.done);
    fx_settle(&f);
    assert_int_equal(live.last, 20);
    assert_int_equal(live.log.n, 20 * strlen("+a/n00=v "));
    assert_int_equal(fx_watch(&f, &w, NULL, 15), -ESPIPE);
    assert_int_equal(store_iter_init(&it, f.s, CM, STR_NONE, 15, STR_NONE, STR_NONE), -ESPIPE);
    assert_int_equal(fx_watch(&f, &w, NULL, 16), 0);
    /* a watch that has not caught up yet does not lose what the next commit evicts */
    done = (struct fx_write){0};
    for (unsigned i = 20; i < 40; i++) {
        snprintf(name, sizeof(name), "n%02u", i);
        assert_int_equal(fx_put(&f, "a", name, "v", STORE_ABSENT, i == 39 ? &done : NULL, NULL), 0);
    }
    fx_wait(&f, &done.done);
    fx_settle(&f);
    assert_int_equal(w.log.n, 24 * strlen("+a/n00=v "));
    assert_int_equal(w.last, 40);
    fx_watch_end(&w);
    fx_watch_end(&live);
    fx_fini(&f);
}

static void test_window_env(void **state)
{
    struct fx f;
    struct fx_watch w;

    fx_init(&f, backend_now);
    assert_int_equal(setenv("DAVIT_TEST_WATCH_WINDOW", "2", 1), 0);
    fx_open(&f);
    assert_int_equal(unsetenv("DAVIT_TEST_WATCH_WINDOW"), 0);
    for (unsigned i = 0; i < 5; i++)
        fx_put_now(&f, "a", "x", "v", i ? STORE_ANY : STORE_ABSENT);
    assert_int_equal(fx_watch(&f, &w, NULL, 2), -ESPIPE);
    assert_int_equal(fx_watch(&f, &w, NULL, 3), 0);
    fx_watch_end(&w);
    fx_fini(&f);
}

/* Watches that stop each other and start new ones from inside their callbacks. */
struct meddler {
    struct fx *f;
    struct fx_watch victim, fresh;
    struct store_watch self;
    unsigned calls;
};

static void meddle(void *arg, const struct store_event *ev, size_t n)
{
    struct meddler *m = arg;

    m->calls++;
    store_watch_stop(&m->victim.w);
    store_watch_stop(&m->self);
    assert_int_equal(fx_watch(m->f, &m->fresh, "a", ev[0].rev - 1), 0);
}

static void test_watch_meddling(void **state)
{
    FX(f);
    struct meddler m = {.f = &f};
    struct fx_watch last;

    assert_int_equal(store_watch_start(&m.self, f.s, CM, STR_NONE, 0, meddle, &m), 0);
    assert_int_equal(fx_watch(&f, &m.victim, NULL, 0), 0);
    assert_int_equal(fx_watch(&f, &last, NULL, 0), 0);
    fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
    fx_put_now(&f, "a", "y", "2", STORE_ABSENT);
    fx_settle(&f);
    assert_int_equal(m.calls, 1);
    assert_int_equal(m.victim.log.n, 0);
    assert_str(buf_str(&last.log), "+a/x=1 +a/y=2 ");
    assert_str(buf_str(&m.fresh.log), "+a/x=1 +a/y=2 ");
    fx_watch_end(&m.victim);
    fx_watch_end(&m.fresh);
    fx_watch_end(&last);
    fx_fini(&f);
}

static void test_watch_groups_go(void **state)
{
    /* namespaces are chosen by clients: watches that come and go leave nothing */
    FX(f);
    struct fx_watch w, keep;
    char ns[16];

    for (unsigned i = 0; i < 1000; i++) {
        snprintf(ns, sizeof(ns), "ns%u", i);
        assert_int_equal(fx_watch(&f, &w, ns, 0), 0);
        fx_watch_end(&w);
    }
    assert_int_equal(store_kind_of(f.s, CM)->groups.n, 0);
    assert_int_equal(fx_watch(&f, &keep, "a", 0), 0);
    assert_int_equal(fx_watch(&f, &w, "a", 0), 0);
    fx_watch_end(&w);
    assert_int_equal(store_kind_of(f.s, CM)->groups.n, 1);
    fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
    fx_settle(&f);
    assert_str(buf_str(&keep.log), "+a/x=1 ");
    fx_watch_end(&keep);
    assert_int_equal(store_kind_of(f.s, CM)->groups.n, 0);
    fx_fini(&f);
}

static void test_json_cools(void **state)
{
    FX(f);
    struct store_stats st;

    for (unsigned i = 0; i < 20; i++) {
        char name[16];
        struct blob *b;
        snprintf(name, sizeof(name), "n%02u", i);
        fx_put_now(&f, "a", name, "v", STORE_ABSENT);
        b = object_json_ref(store_get(f.s, CM, STR("a"), str_z(name)));
        (void)blob_unref(b);
    }
    store_stats(f.s, &st);
    assert_true(st.json_bytes > 0);
    for (unsigned i = 0; i < 60; i++)
        fx_put_now(&f, "b", "other", "v", i ? STORE_ANY : STORE_ABSENT);
    store_stats(f.s, &st);
    assert_int_equal(st.json_bytes, 0);
    fx_fini(&f);
}

static void test_two_kinds(void **state)
{
    FX(f);
    struct api_node node = {.metadata = {.name = STR("x")}};
    struct fx_watch w;
    struct fx_write done = {0};

    assert_int_equal(fx_watch(&f, &w, NULL, 0), 0);
    assert_int_equal(store_put(f.s, NODE, &node, STORE_ABSENT, fx_written, &done, NULL), 0);
    assert_int_equal(fx_put(&f, "a", "x", "1", STORE_ABSENT, NULL, NULL), 0);
    fx_wait(&f, &done.done);
    fx_settle(&f);
    assert_str(buf_str(&w.log), "+a/x=1 ");
    assert_int_equal(w.last, 2);
    assert_int_equal(store_count(f.s, NODE), 1);
    assert_non_null(store_get(f.s, NODE, STR_NONE, STR("x")));
    fx_watch_end(&w);
    fx_fini(&f);
}

static void test_close_fails_pending(void **state)
{
    FX(f);
    struct fx_write w[2] = {0};
    struct error err = {0};
    bool closed = false;

    assert_int_equal(fx_put(&f, "a", "x", "1", STORE_ABSENT, &w[0], NULL), 0);
    store_close(f.s, fx_set, &closed);
    assert_int_equal(fx_put(&f, "a", "y", "1", STORE_ABSENT, &w[1], &err), -EAGAIN);
    error_clear(&err);
    fx_wait(&f, &closed);
    f.s = NULL;
    assert_int_equal(w[0].r, -ECANCELED);
    assert_int_equal(w[0].calls, 1);
    assert_false(w[1].done);
    fx_open(&f);
    assert_int_equal(store_rev(f.s), 0);
    fx_fini(&f);
}

static int setup_sim(void **state)
{
    backend_now = FX_MEM_SIM;
    return 0;
}
static int setup_mem(void **state)
{
    backend_now = FX_MEM_UV;
    return 0;
}
static int setup_lmdb(void **state)
{
    backend_now = FX_LMDB;
    return 0;
}
static int setup_lmdb_tiny(void **state)
{
    backend_now = FX_LMDB_TINY;
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get),
        cmocka_unit_test(test_preconditions),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_pending_chain),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_queue_limit),
        cmocka_unit_test(test_reopen),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_watch_batches),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_window_env),
        cmocka_unit_test(test_watch_meddling),
        cmocka_unit_test(test_watch_groups_go),
        cmocka_unit_test(test_json_cools),
        cmocka_unit_test(test_two_kinds),
        cmocka_unit_test(test_close_fails_pending),
    };
    int failed = 0;

    failed += cmocka_run_group_tests_name("store/mem/sim", tests, setup_sim, NULL);
    failed += cmocka_run_group_tests_name("store/mem/uv", tests, setup_mem, NULL);
    failed += cmocka_run_group_tests_name("store/lmdb", tests, setup_lmdb, NULL);
    failed += cmocka_run_group_tests_name("store/lmdb/tiny", tests, setup_lmdb_tiny, NULL);
    return failed;
}
