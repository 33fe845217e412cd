/* Objects: copying, counting, and their JSON shared by threads while it is dropped and made again.
 */
#include "api/object.h"
#include "base/mem.h"
#include "test.h"

#include <pthread.h>
#include <stdio.h>

#define CM schema_kinds[KIND_CONFIG_MAP]

static struct object *make(rev_t rev)
{
    struct kv_str kv = {STR("key"), STR("value")};
    struct api_config_map m = {
        .metadata = {.namespace = STR("a"), .name = STR("x"), .resource_version = STR("7")},
        .data = &kv,
        .n_data = 1};

    return object_new(CM, &m, rev);
}

static void test_copy(void **state)
{
    struct object *o = make(0), *p = make(12345678901);

    assert_str(object_name(o), "x");
    assert_str(object_ns(o), "a");
    assert_str(object_meta(o)->resource_version, "7");
    assert_str(object_meta(p)->resource_version, "12345678901");
    assert_int_equal(p->rev, 12345678901);
    assert_str(OBJECT_MSG(p, api_config_map)->data[0].value, "value");
    assert_true(p->msg_bytes >= CM->desc->size);
    assert_ptr_equal(object_ref(o), o);
    assert_null(object_unref(o));
    assert_null(object_unref(o));
    assert_null(object_unref(p));
    assert_null(object_unref(NULL));
}

static void test_json(void **state)
{
    struct object *o = make(3);
    struct blob *b, *c;

    assert_null(object_json_peek_ref(o));
    assert_int_equal(object_json_bytes(o), 0);
    b = object_json_ref(o);
    assert_true(b->n > 50);
    assert_true(str_search(blob_str(b), STR("\"kind\":\"ConfigMap\"")) >= 0);
    assert_true(str_search(blob_str(b), STR("\"resourceVersion\":\"3\"")) >= 0);
    assert_int_equal(object_json_bytes(o), b->n);
    c = object_json_ref(o);
    assert_ptr_equal(b, c);
    (void)blob_unref(c);
    /* asked for since: a second chance; then it goes, while b lives on */
    object_cool_json(o);
    assert_int_equal(object_json_bytes(o), b->n);
    object_cool_json(o);
    assert_int_equal(object_json_bytes(o), 0);
    c = object_json_ref(o);
    assert_true(str_eq(blob_str(b), blob_str(c)));
    (void)blob_unref(b);
    (void)blob_unref(c);
    (void)object_unref(o);
}

static void test_lent_json_stays(void **state)
{
    struct object *o = make(3), *other = object_ref(o);
    struct str s = object_json(o);

    object_forget_json(o); /* somebody may be reading s */
    object_cool_json(o);
    object_cool_json(o);
    assert_true(object_json(o).p == s.p);
    (void)object_unref(other);
    object_forget_json(o); /* alone: nobody can */
    assert_int_equal(object_json_bytes(o), 0);
    (void)object_unref(o);
}

struct race {
    struct object *o;
    size_t n;
    bool forgets;
};

static void *race_run(void *arg)
{
    struct race *r = arg;

    for (unsigned i = 0; i < 20000; i++) {
        if (r->forgets) {
            object_cool_json(r->o);
            object_forget_json(r->o);
        } else {
            struct blob *b = object_json_ref(r->o);
            r->n += b->n;
            (void)blob_unref(b);
        }
        (void)object_ref(r->o);
        (void)object_unref(r->o);
    }
    return NULL;
}

static void test_race(void **state)
{
    struct object *o = make(3);
    struct blob *b = object_json_ref(o);
    struct race races[4] = {{.o = o}, {.o = o}, {.o = o}, {.o = o, .forgets = true}};
    pthread_t threads[4];

    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race_run, &races[i]), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(races[i].n, 20000 * b->n);
    assert_int_equal(o->refs, 1);
    (void)blob_unref(b);
    (void)object_unref(o);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_lent_json_stays),
        cmocka_unit_test(test_race),
    };

    return cmocka_run_group_tests_name("api/object", tests, NULL, NULL);
}
