/* The list-watch cache against a scripted transport, on virtual time. */
#include "client/cache.h"
#include "base/mem.h"
#include "rt/sim.h"
#include "test.h"

#define CM schema_kinds[KIND_CONFIG_MAP]

/* A transport whose answers the test gives by hand. */
struct fake {
    struct client base;
    /* the list under way */
    client_done_fn list_done;
    void *list_arg;
    struct str list_ns, list_labels;
    /* the watch under way */
    client_watch_fn fn;
    void *fn_arg;
    rev_t from;
    unsigned lists, watches, stops;
    struct client_request last; /* of the shorthands; views may be stale but for enums */
    struct buf last_text;
};

static void fake_call(struct client *c, const struct client_request *req, client_done_fn done,
                      void *arg)
{
    struct fake *f = CONTAINER_OF(c, struct fake, base);

    buf_clear(&f->last_text);
    buf_printf(&f->last_text, "%d %.*s/%.*s %.*s %.*s", req->verb, STR_ARG(req->ns),
               STR_ARG(req->name), STR_ARG(req->subresource), STR_ARG(req->precondition_uid));
    f->last = *req;
    if (req->verb != CLIENT_LIST) {
        struct client_reply reply = {0};
        done(arg, &reply);
        return;
    }
    assert_null(f->list_done);
    f->list_done = done;
    f->list_arg = arg;
    f->list_ns = req->ns;
    f->list_labels = req->label_selector;
    f->lists++;
}

static struct client_watch *fake_watch_start(struct client *c, const struct client_watch_opts *o,
                                             client_watch_fn fn, void *arg)
{
    struct fake *f = CONTAINER_OF(c, struct fake, base);

    assert_null(f->fn);
    f->fn = fn;
    f->fn_arg = arg;
    f->from = o->from_rev;
    f->watches++;
    return (struct client_watch *)f;
}

static void fake_watch_stop(struct client *c, struct client_watch *w)
{
    struct fake *f = CONTAINER_OF(c, struct fake, base);

    assert_ptr_equal(w, f);
    assert_non_null(f->fn);
    f->fn = NULL;
    f->stops++;
}

static void fake_free(struct client *c)
{
}

static const struct client_ops fake_ops = {fake_call, fake_watch_start, fake_watch_stop, fake_free};

struct fx {
    struct fake fake;
    struct client_cache *cache;
    struct buf log;
    unsigned synced;
    int by_value;
};

static struct object *cm(const char *ns, const char *name, const char *value, rev_t rev)
{
    struct kv_str kv = {STR("key"), str_z(value)};
    struct api_config_map m = {
        .metadata = {.namespace = str_z(ns), .name = str_z(name)}, .data = &kv, .n_data = 1};

    return object_new(CM, &m, rev);
}

static struct str value(const struct object *o)
{
    return OBJECT_MSG(o, api_config_map)->data[0].value;
}

static void on_change(void *arg, struct object *old, struct object *new)
{
    struct fx *f = arg;
    struct object *o = new ? new : old;

    buf_printf(&f->log, "%c%.*s/%.*s=%.*s ",
               !old   ? '+'
               : !new ? '-'
                      : '*',
               STR_ARG(object_ns(o)), STR_ARG(object_name(o)), STR_ARG(value(o)));
}

static void on_synced(void *arg)
{
    struct fx *f = arg;

    f->synced++;
    assert_true(client_cache_synced(f->cache));
}

static void index_value(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    emit(ctx, value(o));
    emit(ctx, value(o)); /* twice is once */
}

/* Every test runs with both kinds of caches. */
static bool packed;

static void fx_init(struct fx *f)
{
    struct client_cache_opts opts = {.kind = CM, .label_selector = STR("app=x"), .packed = packed};

    *f = (struct fx){.fake = {.base = {.ops = &fake_ops}}};
    f->fake.base.rt = rt_sim_new(3, 0);
    f->cache = client_cache_new(&f->fake.base, &opts);
    client_cache_on_change(f->cache, on_change, f);
    client_cache_on_synced(f->cache, on_synced, f);
    f->by_value = client_cache_add_index(f->cache, index_value);
    client_cache_start(f->cache);
}

static void fx_fini(struct fx *f)
{
    f->cache = client_cache_free(f->cache);
    buf_fini(&f->log);
    buf_fini(&f->fake.last_text);
    f->fake.base.rt = rt_free(f->fake.base.rt);
}

/* Answers the list under way; takes the objects. */
static void answer(struct fx *f, rev_t rev, struct object **items, size_t n)
{
    struct client_reply reply = {.items = items, .n_items = n, .rev = rev};
    client_done_fn done = f->fake.list_done;

    assert_non_null(done);
    f->fake.list_done = NULL;
    done(f->fake.list_arg, &reply);
    for (size_t i = 0; i < n; i++)
        (void)object_unref(items[i]);
}

static void answer_error(struct fx *f)
{
    struct error err = {0};
    struct client_reply reply = {.r = error_set(&err, REASON_UNAVAILABLE, "away"), .err = &err};
    client_done_fn done = f->fake.list_done;

    f->fake.list_done = NULL;
    done(f->fake.list_arg, &reply);
    error_fini(&err);
}

static void event(struct fx *f, enum client_event_type type, struct object *o)
{
    struct client_event ev = {.type = type, .object = o, .rev = o->rev};

    assert_non_null(f->fake.fn);
    f->fake.fn(f->fake.fn_arg, &ev, 1);
    (void)object_unref(o);
}

static void break_watch(struct fx *f, enum error_reason reason)
{
    struct error err = {0};
    struct client_event ev = {.type = CLIENT_EVENT_ERROR, .err = &err};

    (void)error_set(&err, reason, "broken");
    f->fake.fn(f->fake.fn_arg, &ev, 1);
    error_fini(&err);
}

#define assert_log(f, text)                                                                        \
    do {                                                                                           \
        assert_str(buf_str(&(f)->log), text);                                                      \
        buf_clear(&(f)->log);                                                                      \
    } while (0)

static unsigned count_index(struct fx *f, const char *key)
{
    struct client_cache_iter it;
    unsigned n = 0;

    client_cache_iter_init_index(&it, f->cache, f->by_value, str_z(key));
    while (client_cache_iter_next(&it))
        n++;
    return n;
}

static unsigned count_ns(struct fx *f, const char *ns)
{
    struct client_cache_iter it;
    struct object *o;
    unsigned n = 0;

    client_cache_iter_init(&it, f->cache, str_z(ns));
    while ((o = client_cache_iter_next(&it))) {
        assert_true(!ns || str_eqz(object_ns(o), ns));
        n++;
    }
    return n;
}

static void test_list_then_watch(void **state)
{
    struct fx f;

    fx_init(&f);
    assert_str(f.fake.list_labels, "app=x");
    assert_int_equal(f.synced, 0);
    answer(&f, 9, (struct object *[]){cm("a", "x", "1", 3), cm("b", "y", "1", 5)}, 2);
    assert_log(&f, "+a/x=1 +b/y=1 ");
    assert_int_equal(f.synced, 1);
    assert_int_equal(f.fake.from, 9);
    event(&f, CLIENT_EVENT_MODIFIED, cm("a", "x", "2", 10));
    event(&f, CLIENT_EVENT_ADDED, cm("a", "z", "2", 11));
    event(&f, CLIENT_EVENT_DELETED, cm("b", "y", "1", 12));
    event(&f, CLIENT_EVENT_MODIFIED, cm("a", "x", "old", 4)); /* old news */
    assert_log(&f, "*a/x=2 +a/z=2 -b/y=1 ");
    assert_int_equal(client_cache_rev(f.cache), 12);
    assert_int_equal(client_cache_count(f.cache), 2);
    assert_str(value(client_cache_get(f.cache, STR("a"), STR("x"))), "2");
    assert_null(client_cache_get(f.cache, STR("b"), STR("y")));
    assert_int_equal(count_index(&f, "1"), 0);
    assert_int_equal(count_index(&f, "2"), 2);
    assert_int_equal(count_ns(&f, "a"), 2);
    assert_int_equal(count_ns(&f, "b"), 0);
    assert_int_equal(count_ns(&f, NULL), 2);
    fx_fini(&f);
}

static void test_resume(void **state)
{
    struct fx f;
    struct client_event mark = {.type = CLIENT_EVENT_BOOKMARK, .rev = 40};

    fx_init(&f);
    answer(&f, 9, NULL, 0);
    event(&f, CLIENT_EVENT_ADDED, cm("a", "x", "1", 10));
    f.fake.fn(f.fake.fn_arg, &mark, 1);
    break_watch(&f, REASON_UNAVAILABLE);
    assert_int_equal(f.fake.stops, 1);
    assert_null(f.fake.fn);
    rt_sim_run_for(f.fake.base.rt, NSEC_PER_SEC);
    assert_int_equal(f.fake.watches, 2);
    assert_int_equal(f.fake.from, 40); /* no relist */
    assert_int_equal(f.fake.lists, 1);
    fx_fini(&f);
}

static void test_relist(void **state)
{
    struct fx f;

    fx_init(&f);
    answer(&f, 9,
           (struct object *[]){cm("a", "x", "1", 3), cm("b", "y", "1", 5), cm("b", "z", "1", 6)},
           3);
    buf_clear(&f.log);
    break_watch(&f, REASON_EXPIRED);
    rt_sim_run_for(f.fake.base.rt, NSEC_PER_SEC);
    assert_int_equal(f.fake.lists, 2);
    assert_non_null(client_cache_get(f.cache, STR("a"), STR("x"))); /* still served meanwhile */
    answer(&f, 90,
           (struct object *[]){cm("a", "x", "1", 3), cm("b", "z", "7", 50), cm("c", "n", "1", 60)},
           3);
    assert_log(&f, "*b/z=7 +c/n=1 -b/y=1 ");
    assert_int_equal(f.synced, 1);
    assert_int_equal(f.fake.from, 90);
    assert_int_equal(count_index(&f, "1"), 2);
    assert_int_equal(count_index(&f, "7"), 1);
    fx_fini(&f);
}

static void test_server_set_back(void **state)
{
    /* restored from a backup: revisions are lower than ours; the list is right all the same */
    struct fx f;

    fx_init(&f);
    answer(&f, 90, (struct object *[]){cm("a", "x", "new", 80)}, 1);
    break_watch(&f, REASON_EXPIRED);
    rt_sim_run_for(f.fake.base.rt, NSEC_PER_SEC);
    answer(&f, 9, (struct object *[]){cm("a", "x", "old", 3)}, 1);
    assert_log(&f, "+a/x=new *a/x=old ");
    assert_int_equal(f.fake.from, 9);
    fx_fini(&f);
}

static void test_list_errors(void **state)
{
    struct fx f;

    fx_init(&f);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(f.fake.lists, i + 1);
        answer_error(&f);
        assert_int_equal(f.fake.lists, i + 1); /* not at once */
        rt_sim_run_for(f.fake.base.rt, 45 * NSEC_PER_SEC);
    }
    assert_false(client_cache_synced(f.cache));
    answer(&f, 5, NULL, 0);
    assert_true(client_cache_synced(f.cache));
    fx_fini(&f);
}

static void test_free_while_listing(void **state)
{
    struct fx f;

    fx_init(&f);
    f.cache = client_cache_free(f.cache);
    answer(&f, 9, (struct object *[]){cm("a", "x", "1", 3)}, 1); /* falls on deaf ears */
    assert_log(&f, "");
    fx_fini(&f);
}

static void test_index_churn(void **state)
{
    /* buckets stay right when entries leave from the middle */
    struct fx f;
    char name[16], v[16];
    rev_t rev = 10;
    unsigned n = 0;

    fx_init(&f);
    answer(&f, 9, NULL, 0);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned k = i * 7919 % 200;
        snprintf(name, sizeof(name), "n%u", k);
        snprintf(v, sizeof(v), "%u", i % 13);
        if (i % 5 == 4)
            event(&f, CLIENT_EVENT_DELETED, cm("a", name, v, ++rev));
        else
            event(&f, CLIENT_EVENT_MODIFIED, cm("a", name, v, ++rev));
    }
    for (unsigned i = 0; i < 13; i++) {
        snprintf(v, sizeof(v), "%u", i);
        n += count_index(&f, v);
    }
    assert_int_equal(n, client_cache_count(f.cache));
    assert_int_equal(n, count_ns(&f, "a"));
    fx_fini(&f);
}

static void test_shorthands(void **state)
{
    struct fake f = {.base = {.ops = &fake_ops}};
    struct client *c = &f.base;
    struct api_config_map m = {.metadata = {.namespace = STR("a"), .name = STR("x")}};

    client_get(c, CM, STR("a"), STR("x"), NULL, NULL);
    assert_str(buf_str(&f.last_text), "0 a/x  ");
    client_create(c, CM, &m, NULL, NULL);
    assert_int_equal(f.last.verb, CLIENT_CREATE);
    assert_ptr_equal(f.last.body, &m);
    assert_str(buf_str(&f.last_text), "2 a/  ");
    client_update(c, CM, &m, NULL, NULL);
    assert_str(buf_str(&f.last_text), "3 a/x  ");
    client_update_status(c, CM, &m, NULL, NULL);
    assert_str(buf_str(&f.last_text), "3 a/x status ");
    client_patch(c, CM, STR("a"), STR("x"), STR("scale"), CLIENT_PATCH_MERGE, STR("{}"), NULL,
                 NULL);
    assert_str(buf_str(&f.last_text), "4 a/x scale ");
    assert_int_equal(f.last.patch_type, CLIENT_PATCH_MERGE);
    client_delete(c, CM, STR("a"), STR("x"), STR("uid"), NULL, NULL);
    assert_str(buf_str(&f.last_text), "5 a/x  uid");
    buf_fini(&f.last_text);
}

static void trim(void *msg, struct arena *a, const char *trim_for)
{
    struct api_config_map *m = msg;
    (void)a;
    m->metadata.n_annotations = 0;
}

static void answer_page(struct fake *f, rev_t rev, const char *next, struct object *o)
{
    struct client_reply reply = {.items = &o, .n_items = 1, .rev = rev, .continue_ = str_z(next)};
    client_done_fn done = f->list_done;
    f->list_done = NULL;
    done(f->list_arg, &reply);
    (void)object_unref(o);
}

static void test_pages_and_trimming(void **state)
{
    struct fake f = {.base = {.ops = &fake_ops, .rt = rt_sim_new(3, 0)}};
    struct client_cache *c = client_cache_new(
        &f.base,
        &(struct client_cache_opts){.kind = CM, .packed = packed, .trim = trim, .page = 1});
    struct kv_str note = {STR("k"), STR("v")};
    struct api_config_map m = {
        .metadata = {
            .namespace = STR("a"), .name = STR("x"), .annotations = &note, .n_annotations = 1}};
    client_cache_start(c);
    assert_int_equal(f.last.limit, 1);
    answer_page(&f, 9, "more", object_new(CM, &m, 3));
    assert_false(client_cache_synced(c));
    assert_str(f.last.continue_, "more");
    answer_page(&f, 12, NULL, cm("a", "y", "1", 11));
    assert_true(client_cache_synced(c));
    assert_int_equal(f.from, 9); /* what came between the pages is told again */
    assert_int_equal(client_cache_count(c), 2);
    const struct object *x = client_cache_get(c, STR("a"), STR("x"));
    assert_int_equal(x->rev, 3);
    assert_int_equal(object_meta(x)->n_annotations, packed ? 0 : 1);
    client_cache_release(c);
    client_cache_free(c);
    buf_fini(&f.last_text);
    rt_free(f.base.rt);
}

/* Pages of one list, then what is kept: who an object is, and no more. */
static void on_identity(void *arg, struct object *old, struct object *new)
{
    struct fx *f = arg;

    if (old && new)
        assert_ptr_not_equal(old->kind, CM);
    if (old)
        assert_true(object_meta(old)->uid.n > 0);
    buf_printf(&f->log, "%c%.*s=%.*s ",
               !old   ? '+'
               : !new ? '-'
                      : '*',
               STR_ARG(object_name(new ? new : old)), STR_ARG(new ? value(new) : STR("?")));
}

static struct object *cm_uid(const char *name, const char *value, rev_t rev)
{
    struct kv_str kv = {STR("key"), str_z(value)};
    struct api_config_map m = {
        .metadata = {.namespace = STR("a"), .name = str_z(name), .uid = str_z(name)},
        .data = &kv,
        .n_data = 1};

    return object_new(CM, &m, rev);
}

static void answer_page_fx(struct fx *f, rev_t rev, struct object *o, const char *next)
{
    struct client_reply reply = {.items = &o, .n_items = 1, .rev = rev, .continue_ = str_z(next)};
    client_done_fn done = f->fake.list_done;

    assert_non_null(done);
    f->fake.list_done = NULL;
    done(f->fake.list_arg, &reply);
    (void)object_unref(o);
}

static void test_identities_by_pages(void **state)
{
    struct fx f = {.fake = {.base = {.ops = &fake_ops}}};
    struct client_cache_opts opts = {.kind = CM, .identities_only = true, .page = 1};

    f.fake.base.rt = rt_sim_new(3, 0);
    f.cache = client_cache_new(&f.fake.base, &opts);
    client_cache_on_change(f.cache, on_identity, &f);
    client_cache_start(f.cache);
    assert_int_equal(f.fake.last.limit, 1);
    answer_page_fx(&f, 10, cm_uid("x", "1", 5), "more");
    assert_false(client_cache_synced(f.cache));
    assert_null(f.fake.fn);
    answer_page_fx(&f, 12, cm_uid("y", "2", 6), NULL);
    assert_true(client_cache_synced(f.cache));
    assert_int_equal(f.fake.from, 10); /* changes between the pages are told again */
    assert_log(&f, "+x=1 +y=2 ");
    assert_int_equal(client_cache_count(f.cache), 2);
    event(&f, CLIENT_EVENT_MODIFIED, cm_uid("x", "3", 13));
    event(&f, CLIENT_EVENT_DELETED, cm_uid("y", "2", 14));
    assert_log(&f, "*x=3 -y=? ");
    /* Gone while we were away: what was kept is all there is to tell. */
    break_watch(&f, REASON_EXPIRED);
    while (!f.fake.list_done)
        assert_true(rt_sim_step(f.fake.base.rt));
    answer_page_fx(&f, 20, cm_uid("z", "4", 19), NULL);
    assert_log(&f, "+z=4 -x=? ");
    assert_int_equal(object_meta(client_cache_get(f.cache, STR("a"), STR("z")))->uid.n, 1);
    fx_fini(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_then_watch),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_relist),
        cmocka_unit_test(test_server_set_back),
        cmocka_unit_test(test_list_errors),
        cmocka_unit_test(test_free_while_listing),
        cmocka_unit_test(test_index_churn),
        cmocka_unit_test(test_shorthands),
        cmocka_unit_test(test_pages_and_trimming),
        cmocka_unit_test(test_identities_by_pages),
    };

    int failed = cmocka_run_group_tests_name("client/cache", tests, NULL, NULL);
    packed = true;
    return failed + cmocka_run_group_tests_name("client/cache packed", tests, NULL, NULL);
}
