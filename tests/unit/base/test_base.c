/* Containers, strings, arenas and errors of src/base. */
#include "test.h"

#include "base/arena.h"
#include "base/blob.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/catalog.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/set.h"
#include "base/sm.h"

#include <stdio.h>

static void arena_hands_out_aligned_memory(void **state)
{
    struct arena a = {0};

    for (size_t n = 0; n < 5000; n += 7) {
        char *p = arena_alloc(&a, n);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xAA, n);
    }
    assert_true(a.used_bytes > 5000 / 7 * 2500);
    arena_clear(&a);
    assert_true(a.used_bytes <= 32768 + 64);
    assert_str(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    assert_str(arena_str(&a, STR("copy")), "copy");
    assert_null(arena_str(&a, STR_NONE).p);
    arena_fini(&a);
    assert_int_equal(a.used_bytes, 0);
}

static void arena_keeps_its_limit(void **state)
{
    struct arena a;

    arena_init(&a, 10000);
    assert_non_null(arena_try_alloc(&a, 6000));
    assert_null(arena_try_alloc(&a, 6000));
    assert_null(arena_try_alloc(&a, SIZE_MAX - 3));
    assert_true(a.used_bytes <= 10000);
    arena_fini(&a);
}

static void numbers_are_parsed_whole(void **state)
{
    static const struct {
        const char *text;
        int r;
        int64_t v;
    } rows[] = {
        {"0", 0, 0},
        {"-1", 0, -1},
        {"+7", 0, 7},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775808", -ERANGE, 0},
        {"-9223372036854775809", -ERANGE, 0},
        {"99999999999999999999999", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"--1", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = 42;
        assert_int_equal(str_to_i64(str_z(rows[i].text), &v), rows[i].r);
        assert_int_equal(v, rows[i].r ? 42 : rows[i].v);
    }
}

static void utf8_is_checked(void **state)
{
    assert_true(str_utf8_valid(STR("")));
    assert_true(str_utf8_valid(STR("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x9a\xa2")));
    assert_false(str_utf8_valid(STR("\xc0\xaf")));         /* overlong */
    assert_false(str_utf8_valid(STR("\xed\xa0\x80")));     /* surrogate */
    assert_false(str_utf8_valid(STR("\xf4\x90\x80\x80"))); /* above U+10FFFF */
    assert_false(str_utf8_valid(STR("\xe2\x82")));         /* cut */
    assert_false(str_utf8_valid(STR("\x80")));
    assert_false(str_utf8_valid(STR("\xff")));
}

static void strings_are_cut(void **state)
{
    struct str s = STR("a,,b"), item;

    assert_true(str_cut(&s, ',', &item));
    assert_str(item, "a");
    assert_true(str_cut(&s, ',', &item));
    assert_str(item, "");
    assert_false(str_cut(&s, ',', &item));
    assert_str(item, "b");
    assert_int_equal(s.n, 0);
    assert_str(str_trim(STR(" \t x y\r\n")), "x y");
    assert_int_equal(str_search(STR("hello"), STR("ll")), 2);
    assert_int_equal(str_search(STR("hello"), STR("lx")), -1);
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_true(str_ieq(STR("Accept"), STR("aCCEPT")));
}

static void map_agrees_with_an_array(void **state)
{
    enum { KEYS = 500, STEPS = 20000 };
    static char keys[KEYS][16];
    static int values[KEYS];
    struct map m = {0};
    size_t live = 0;
    uint32_t seed = 1;

    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof(keys[i]), "key-%d", i);
    memset(values, 0, sizeof(values));
    for (int step = 0; step < STEPS; step++) {
        int i;
        seed = seed * 1664525 + 1013904223;
        i = (int)((seed >> 8) % KEYS);
        if (seed & 0x80000000u) {
            void *old = map_set(&m, str_z(keys[i]), &values[i]);
            assert_ptr_equal(old, values[i] ? &values[i] : NULL);
            live += !values[i];
            values[i] = 1;
        } else {
            void *old = map_remove(&m, str_z(keys[i]));
            assert_ptr_equal(old, values[i] ? &values[i] : NULL);
            live -= values[i] != 0;
            values[i] = 0;
        }
        assert_int_equal(m.n, live);
    }
    for (int i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(&m, str_z(keys[i])), values[i] ? &values[i] : NULL);
    for (struct map_slot *s = NULL; (s = map_next(&m, s));)
        live--;
    assert_int_equal(live, 0);
    map_fini(&m);
}

struct named {
    char name[16];
    bool in;
};

static struct str named_key(const void *value)
{
    return str_z(((const struct named *)value)->name);
}

static void catalog_agrees_with_an_array(void **state)
{
    enum { KEYS = 500, STEPS = 40000 };
    static struct named values[KEYS], again[KEYS];
    struct catalog c = CATALOG(named_key);
    struct named *v;
    uint32_t live = 0, seed = 1, at = 0;

    assert_null(catalog_get(&c, STR("nothing")));
    assert_null(catalog_remove(&c, STR("nothing")));
    assert_null(catalog_next(&c, &at));
    for (int i = 0; i < KEYS; i++) {
        snprintf(values[i].name, sizeof(values[i].name), "key-%d", i);
        again[i] = values[i];
    }
    for (int step = 0; step < STEPS; step++) {
        int i;
        seed = seed * 1664525 + 1013904223;
        i = (int)((seed >> 8) % KEYS);
        /* grows first, shrinks later, at last it is empty */
        if ((seed >> 24) % 128 > (unsigned)step / 320) {
            assert_ptr_equal(catalog_set(&c, &values[i]), values[i].in ? &values[i] : NULL);
            live += !values[i].in;
            values[i].in = true;
        } else {
            void *old = catalog_remove(&c, str_z(values[i].name));
            assert_ptr_equal(old, values[i].in ? &values[i] : NULL);
            live -= values[i].in;
            values[i].in = false;
        }
        assert_int_equal(c.n, live);
        assert_true(c.n * 8 <= c.cap * 7);
        if (step % 500)
            continue;
        for (int k = 0; k < KEYS; k++)
            assert_ptr_equal(catalog_get(&c, str_z(again[k].name)),
                             values[k].in ? &values[k] : NULL);
        uint32_t seen = 0;
        for (at = 0; (v = catalog_next(&c, &at)); seen++)
            assert_true(v->in);
        assert_int_equal(seen, live);
    }
    (void)catalog_set(&c, &values[0]);
    assert_ptr_equal(catalog_set(&c, &again[0]), &values[0]);
    assert_ptr_equal(catalog_get(&c, str_z("key-0")), &again[0]);
    catalog_fini(&c);
    assert_null(catalog_get(&c, str_z("key-0")));
    assert_null(catalog_set(&c, &values[0])); /* usable again */
    catalog_fini(&c);
}

struct number {
    struct heap_node node;
    int v;
};

static bool number_less(const struct heap_node *a, const struct heap_node *b)
{
    return CONTAINER_OF(a, struct number, node)->v < CONTAINER_OF(b, struct number, node)->v;
}

static void bytes_become_utf8(void **state)
{
    static const struct {
        const char *in, *out;
        size_t max;
    } rows[] = {
        {"plain", "plain", 100},
        {"caf\xC3\xA9", "caf\xC3\xA9", 100},
        {"caf\xC3", "caf\xEF\xBF\xBD", 100}, /* cut inside a character */
        {"\xA9x\xFFy", "\xEF\xBF\xBDx\xEF\xBF\xBDy", 100},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", 100}, /* a surrogate */
        {"abc", "ab", 2},
        {"a\xE2\x82\xAC", "a", 3}, /* no part of a character */
        {"a\xE2\x82\xAC", "a\xE2\x82\xAC", 4},
        {"", "", 9},
    };
    struct buf b = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&b);
        buf_add_utf8(&b, str_z(rows[i].in), rows[i].max);
        assert_str(b.n ? buf_str(&b) : STR(""), rows[i].out);
        assert_true(str_utf8_valid(buf_str(&b)));
    }
    buf_fini(&b);
}

static void sets_know_what_was_there(void **state)
{
    static char keys[3000][8];
    struct set s = {0};
    char copy[8];

    assert_false(set_has(&s, STR("")));
    for (int i = 0; i < 3000; i++) {
        int n = snprintf(keys[i], sizeof(keys[i]), "%d", i);
        assert_true(set_add(&s, (struct str){keys[i], (size_t)n}));
        /* right behind the step from an array to a map as well */
        assert_false(set_add(&s, STR("0")));
        assert_false(set_add_copy(&s, (struct str){keys[i / 2], strlen(keys[i / 2])}));
        assert_false(set_has(&s, STR("x")));
    }
    for (int i = 3000; i < 3100; i++) { /* keys that do not last */
        int n = snprintf(copy, sizeof(copy), "%d", i);
        assert_true(set_add_copy(&s, (struct str){copy, (size_t)n}));
        memset(copy, '#', sizeof(copy));
    }
    assert_true(set_has(&s, STR("3050")));
    assert_true(set_has(&s, STR("17")));
    assert_true(set_add(&s, STR("")));
    assert_false(set_add(&s, STR_NONE)); /* empty is empty */
    set_fini(&s);
    assert_false(set_has(&s, STR("17")));
    set_fini(&s);
}

static void heap_gives_the_least(void **state)
{
    struct number v[200] = {0};
    struct heap h;
    int last = -1;

    heap_init(&h, number_less);
    for (int i = 0; i < 200; i++) {
        v[i].v = i * 73 % 200;
        heap_push(&h, &v[i].node);
    }
    for (int i = 0; i < 200; i += 3)
        heap_remove(&h, &v[i].node);
    heap_remove(&h, &v[0].node); /* in no heap: nothing happens */
    v[1].v = 1000;
    heap_update(&h, &v[1].node);
    for (struct heap_node *n; (n = heap_pop(&h));) {
        assert_true(CONTAINER_OF(n, struct number, node)->v >= last);
        last = CONTAINER_OF(n, struct number, node)->v;
    }
    assert_int_equal(last, 1000);
    heap_fini(&h);
}

static void list_survives_removal_in_a_walk(void **state)
{
    struct {
        struct list node;
        int v;
    } e[5], *it;
    struct list l;
    int sum = 0;

    list_init(&l);
    for (int i = 0; i < 5; i++) {
        e[i].v = i;
        list_push_back(&l, &e[i].node);
    }
    LIST_FOR_EACH (it, &l, node) {
        if (it->v % 2)
            list_remove(&it->node);
        sum = sum * 10 + it->v;
    }
    assert_int_equal(sum, 1234);
    sum = 0;
    LIST_FOR_EACH (it, &l, node)
        sum = sum * 10 + it->v;
    assert_int_equal(sum, 24);
    assert_false(list_linked(&e[1].node));
}

static void buffers_stop_at_their_limit(void **state)
{
    struct buf b = {.limit_bytes = 10};

    buf_add_lit(&b, "12345");
    buf_add_i64(&b, INT64_MIN);
    assert_true(b.overflow);
    assert_str(buf_str(&b), "12345");
    buf_consume(&b, 2);
    assert_str(buf_str(&b), "345");
    buf_fini(&b);
    b.limit_bytes = 0;
    buf_add_i64(&b, INT64_MIN);
    buf_printf(&b, " %s", "end");
    assert_str(buf_str(&b), "-9223372036854775808 end");
    buf_fini(&b);
}

static void errors_read_as_kubernetes_says_them(void **state)
{
    struct error err = {0};

    assert_int_equal(error_invalid(&err, STR("Pod"), STR("x")), 0);
    assert_int_equal(error_cause(&err, CAUSE_REQUIRED, STR("spec.containers"), "Required value"),
                     -EBADMSG);
    assert_int_equal(error_invalid(&err, STR("Pod"), STR("x")), -EBADMSG);
    assert_str(err.message, "Pod \"x\" is invalid: spec.containers: Required value");
    (void)error_cause(&err, CAUSE_INVALID, STR("metadata.name"), "Invalid value: \"%s\"", "X");
    assert_int_equal(error_invalid(&err, STR("Pod"), STR("x")), -EBADMSG);
    assert_str(err.message, "Pod \"x\" is invalid: [spec.containers: Required value, "
                            "metadata.name: Invalid value: \"X\"]");
    assert_int_equal(error_reason_http_code(err.reason), 422);
    error_fini(&err);
    assert_int_equal(error_set(&err, REASON_CONFLICT, "first"), -ESTALE);
    (void)error_set(&err, REASON_NOT_FOUND, "second");
    error_prefix(&err, "put %d", 1);
    assert_str(err.message, "put 1: first");
    error_fini(&err);
}

static void error_reasons_go_both_ways(void **state)
{
    for (int r = 1; r < _REASON_MAX; r++) {
        int code = error_reason_http_code(r);
        assert_in_range(code, 400, 599);
        assert_int_equal(error_reason_from_errno(error_reason_errno(r)), r);
        assert_int_equal(error_reason_parse(str_z(error_reason_text(r)), code), r);
    }
    assert_int_equal(error_reason_parse(STR("Strange"), 404), REASON_NOT_FOUND);
    assert_int_equal(error_reason_parse(STR("Strange"), 599), REASON_INTERNAL);
}

static void causes_are_bounded(void **state)
{
    struct error err = {0};

    for (int i = 0; i < 10000; i++)
        (void)error_cause(&err, CAUSE_INVALID, STR("f"), "%d", i);
    assert_true(err.arena.used_bytes < 65536);
    error_fini(&err);
}

static void blobs_are_counted(void **state)
{
    struct blob *b = blob_new(STR("shared"));

    assert_ptr_equal(blob_ref(b), b);
    assert_null(blob_unref(b));
    assert_str(blob_str(b), "shared");
    assert_null(blob_unref(b));
    assert_null(blob_unref(NULL));
}

static void stable_hashes_are_stable(void **state)
{
    assert_int_equal(hash_fnv1a32("", 0), 0x811c9dc5u);
    assert_int_equal(hash_fnv1a32("foobar", 6), 0xbf9cf968u);
    assert_true(hash_fnv1a64("foobar", 6) == 0x85944171f73967e8u);
}

static void state_machines_know_their_moves(void **state)
{
    enum { IDLE, BUSY, GONE };
    static const struct sm_state table[] = {
        [IDLE] = {"idle", SM_INITIAL, SM_TO(BUSY) | SM_TO(GONE)},
        [BUSY] = {"busy", 0, SM_TO(IDLE)},
        [GONE] = {"gone", SM_FINAL, 0},
    };
    struct sm m;

    sm_init(&m, table, 3, IDLE, "thing", 1);
    assert_true(sm_may_move(&m, BUSY));
    sm_move(&m, BUSY);
    assert_false(sm_may_move(&m, GONE));
    assert_string_equal(sm_name(&m), "busy");
    sm_move(&m, IDLE);
    sm_move(&m, GONE);
    assert_true(sm_is_final(&m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_hands_out_aligned_memory),
        cmocka_unit_test(arena_keeps_its_limit),
        cmocka_unit_test(numbers_are_parsed_whole),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(strings_are_cut),
        cmocka_unit_test(map_agrees_with_an_array),
        cmocka_unit_test(catalog_agrees_with_an_array),
        cmocka_unit_test(bytes_become_utf8),
        cmocka_unit_test(sets_know_what_was_there),
        cmocka_unit_test(heap_gives_the_least),
        cmocka_unit_test(list_survives_removal_in_a_walk),
        cmocka_unit_test(buffers_stop_at_their_limit),
        cmocka_unit_test(errors_read_as_kubernetes_says_them),
        cmocka_unit_test(error_reasons_go_both_ways),
        cmocka_unit_test(causes_are_bounded),
        cmocka_unit_test(blobs_are_counted),
        cmocka_unit_test(stable_hashes_are_stable),
        cmocka_unit_test(state_machines_know_their_moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
