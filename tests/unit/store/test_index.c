/* The ordered index against a plain model, and the window's queues. */
#include "store_test.h"
#include "store/index.h"
#include "store/window.h"

static struct object *make(const char *ns, const char *name, rev_t rev)
{
    struct api_config_map cm = fx_cm(str_z(ns), str_z(name), NULL);

    return object_new(CM, &cm, rev);
}

static void put(struct index *ix, const char *ns, const char *name, rev_t rev)
{
    struct object *o = make(ns, name, rev), *old = index_set(ix, o);

    (void)object_unref(o);
    (void)object_unref(old);
}

/* Present keys are those with a rev in the model; checks everything the index can say. */
static void check(struct index *ix, const rev_t *model, unsigned n)
{
    struct index_pos pos = {0, 0};
    size_t count = 0;
    char name[16];

    for (unsigned i = 0; i < n; i++) {
        struct object *o;
        snprintf(name, sizeof(name), "n%05u", i);
        o = index_get(ix, STR("a"), str_z(name));
        assert_true((o != NULL) == (model[i] != 0));
        if (!o)
            continue;
        assert_int_equal(o->rev, model[i]);
        assert_ptr_equal(index_at(ix, pos), o);
        pos = index_advance(ix, pos);
        count++;
    }
    assert_null(index_at(ix, pos));
    assert_int_equal(ix->n, count);
}

static void test_model(void **state)
{
    enum { N = 3000 };
    static rev_t model[N];
    struct index ix = {0};
    uint64_t seed = 42;
    char name[16];

    for (rev_t rev = 1; rev < 40000; rev++) {
        unsigned k;
        bool removes;
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        k = (unsigned)(seed >> 33) % N;
        removes = rev / 10000 % 2 ? (seed >> 20) % 8 != 0 : (seed >> 20) % 3 == 0;
        snprintf(name, sizeof(name), "n%05u", k);
        if (removes) {
            struct object *o = index_remove(&ix, STR("a"), str_z(name));
            assert_true((o != NULL) == (model[k] != 0));
            (void)object_unref(o);
            model[k] = 0;
        } else {
            put(&ix, "a", name, rev);
            model[k] = rev;
        }
        if (rev % 2500 == 0)
            check(&ix, model, N);
    }
    index_fini(&ix);
}

static void test_in_order(void **state)
{
    struct index ix = {0};
    struct index_pos pos;
    size_t budget = 100000;
    char name[16];

    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "n%05u", i);
        put(&ix, "a", name, i + 1);
    }
    assert_true(ix.n_chunks <= 10000 / 128 + 1); /* packed tightly */
    pos = index_seek(&ix, STR("a"), STR("n05000"), true);
    assert_str(object_name(index_at(&ix, pos)), "n05001");
    pos = index_seek(&ix, STR("a"), STR("n05000"), false);
    assert_str(object_name(index_at(&ix, pos)), "n05000");
    assert_null(index_at(&ix, index_seek(&ix, STR("b"), STR_NONE, false)));
    assert_str(object_name(index_at(&ix, index_seek(&ix, STR("Z"), STR("z"), true))), "n00000");
    pos = (struct index_pos){3, 100000}; /* a stale place */
    assert_false(index_sweep(&ix, &pos, &budget, object_cool_json));
    index_fini(&ix);
}

static void test_window_bytes(void **state)
{
    struct window w;
    struct window_kind k = {0};
    struct object *prev = make("a", "x", 1);
    size_t n;

    window_init(&w, 1, 100000, 4096);
    for (rev_t rev = 2; rev <= 1000; rev++) {
        struct object *o = make("a", "x", rev);
        struct store_event ev = {STORE_EVENT_MODIFIED, rev, o, prev};
        window_push(&w, &k, &ev);
        window_trim(&w);
        (void)object_unref(prev);
        prev = o;
    }
    /* replaced states are limited by bytes, but some events stay */
    assert_int_equal(w.newest - w.compacted, 64);
    assert_int_equal(k.n, 64);
    assert_true(w.bytes <= 64 * (uint64_t)prev->msg_bytes);
    assert_int_equal(window_since(&k, 1000, &n) == NULL, 1);
    assert_int_equal(n, 0);
    assert_int_equal(window_since(&k, 990, &n)->rev, 991);
    assert_int_equal(n, 10);
    (void)object_unref(prev);
    window_kind_fini(&k);
    window_fini(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_window_bytes),
    };

    return cmocka_run_group_tests_name("store/index", tests, NULL, NULL);
}
