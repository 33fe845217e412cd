/* The file of a cache: its format against every cut and every flipped byte, and lives of a process
 * one after the other, with and without a server. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "client/cache.h"
#include "client/cache_format.h"
#include "rt/sim.h"
#include "test.h"

#define CM schema_kinds[KIND_CONFIG_MAP]

static char dir[] = "/tmp/davit-test-cache-XXXXXX";

/* ---- the format ---- */

static int note(void *arg, const struct cache_record *r)
{
    unsigned *seen = arg;

    assert_str(r->ns, "ns");
    assert_int_equal(r->name.n, 1);
    assert_int_equal(r->object.n, 2); /* name and version */
    assert_int_equal(r->object.p[0], r->name.p[0]);
    *seen |= (unsigned)(r->object.p[1] - '0') << (4 * (r->name.p[0] - 'a'));
    return 0;
}

static void set(struct buf *b, const char *object)
{
    cache_format_set(b,
                     &(struct cache_record){
                         .ns = STR("ns"), .name = {object, 1}, .object = str_z(object), .rev = 7});
}

/* One digit an object: its version; a is the last one. *ret_ends: where each record ends. */
static size_t example(struct buf *b, size_t ret_ends[8])
{
    size_t n = 0;

    cache_format_head(b, STR("whose"));
    set(b, "a1");
    set(b, "b1");
    cache_format_end(b);
    ret_ends[n++] = b->n;
    set(b, "a2");
    ret_ends[n++] = b->n;
    cache_format_delete(b, STR("ns"), STR("b"));
    ret_ends[n++] = b->n;
    set(b, "c3");
    ret_ends[n++] = b->n;
    return n;
}

static const unsigned states[] = {0x011, 0x012, 0x002, 0x302};

static void test_cut_anywhere(void **state)
{
    struct buf b = {0};
    size_t ends[8], n = example(&b, ends), good = 0;

    for (size_t cut = 0; cut <= b.n; cut++) {
        unsigned seen = 0;
        char *copy = str_dup((struct str){b.data, cut}); /* reads past the end show */
        int r = cache_format_read((struct str){copy, cut}, STR("whose"), note, &seen, &good);
        free(copy);
        if (cut < ends[0]) {
            assert_int_equal(r, -EBADMSG);
            assert_int_equal(seen, 0);
            continue;
        }
        size_t i = n - 1;
        while (ends[i] > cut)
            i--;
        assert_int_equal(r, 0);
        assert_int_equal(seen, states[i]);
        assert_int_equal(good, ends[i]);
    }
    buf_fini(&b);
}

static void test_damaged_anywhere(void **state)
{
    struct buf b = {0};
    size_t ends[8], n = example(&b, ends), good = 0;

    for (size_t at = 0; at < b.n; at++)
        for (int bit = 0; bit < 8; bit++) {
            unsigned seen = 0;
            b.data[at] = (char)(b.data[at] ^ (1 << bit));
            int r = cache_format_read(buf_str(&b), STR("whose"), note, &seen, &good);
            b.data[at] = (char)(b.data[at] ^ (1 << bit));
            if (at < ends[0]) {
                assert_int_equal(r, -EBADMSG);
                continue;
            }
            size_t i = n - 1;
            while (ends[i] > at)
                i--;
            assert_int_equal(r, 0);
            assert_int_equal(seen, states[i]);
        }
    buf_fini(&b);
}

static void test_foreign(void **state)
{
    struct buf b = {0};
    size_t ends[8], good = 0;
    unsigned seen = 0;

    (void)example(&b, ends);
    assert_int_equal(cache_format_read(buf_str(&b), STR("another"), note, &seen, &good), -EBADMSG);
    assert_int_equal(cache_format_read(buf_str(&b), STR("whosE"), note, &seen, &good), -EBADMSG);
    assert_int_equal(cache_format_read(STR(""), STR("whose"), note, &seen, &good), -EBADMSG);
    assert_int_equal(seen, 0);
    buf_fini(&b);
}

static int refuse(void *arg, const struct cache_record *r)
{
    (*(int *)arg)++;
    return -EIO;
}

static void test_stops_at_a_refusal(void **state)
{
    struct buf b = {0};
    size_t ends[8], good = 0;
    int calls = 0;

    (void)example(&b, ends);
    assert_int_equal(cache_format_read(buf_str(&b), STR("whose"), refuse, &calls, &good), -EIO);
    assert_int_equal(calls, 1);
    buf_fini(&b);
}

/* ---- lives of a cache ---- */

struct life {
    struct client base;
    client_done_fn done; /* of the list under way */
    void *arg;
    client_watch_fn fn;
    void *fn_arg;
    struct client_cache *cache;
    struct buf log;
    unsigned synced;
};

static void fake_call(struct client *c, const struct client_request *req, client_done_fn done,
                      void *arg)
{
    struct life *l = CONTAINER_OF(c, struct life, base);

    assert_null(l->done);
    l->done = done;
    l->arg = arg;
}

static struct client_watch *fake_watch(struct client *c, const struct client_watch_opts *o,
                                       client_watch_fn fn, void *arg)
{
    struct life *l = CONTAINER_OF(c, struct life, base);

    l->fn = fn;
    l->fn_arg = arg;
    return (struct client_watch *)l;
}

static void fake_watch_stop(struct client *c, struct client_watch *w)
{
    CONTAINER_OF(c, struct life, base)->fn = NULL;
}

static const struct client_ops fake_ops = {fake_call, fake_watch, fake_watch_stop, NULL};

static struct object *cm(const char *name, const char *value, const char *note_, rev_t rev)
{
    struct kv_str kv = {STR("key"), str_z(value)}, annotation = {STR("note"), str_z(note_)};
    struct api_config_map m = {.metadata = {.namespace = STR("ns"),
                                            .name = str_z(name),
                                            .annotations = note_ ? &annotation : NULL,
                                            .n_annotations = note_ ? 1 : 0},
                               .data = &kv,
                               .n_data = 1};

    return object_new(CM, &m, rev);
}

static void on_change(void *arg, struct object *old, struct object *new)
{
    struct life *l = arg;
    struct object *o = new ? new : old;

    buf_printf(&l->log, "%c%.*s", !old ? '+' : !new ? '-' : '*', STR_ARG(object_name(o)));
    if (new)
        buf_printf(&l->log, "=%.*s@%llu", STR_ARG(OBJECT_MSG(o, api_config_map)->data[0].value),
                   (unsigned long long)o->rev);
    buf_add_char(&l->log, ' ');
}

static void on_synced(void *arg)
{
    struct life *l = arg;

    l->synced++;
    buf_add_lit(&l->log, "synced ");
}

static void trim(void *msg, struct arena *a, const char *trim_for)
{
    struct api_config_map *m = msg;
    m->metadata.n_annotations = 0;
}

static struct client_cache_opts opts(void)
{
    static char path[64];

    snprintf(path, sizeof(path), "%s/things", dir);
    return (struct client_cache_opts){.kind = CM, .packed = true, .trim = trim, .file = path};
}

static void begin(struct life *l, struct client_cache_opts o)
{
    *l = (struct life){.base = {.ops = &fake_ops, .rt = rt_sim_new(3, 0)}};
    l->cache = client_cache_new(&l->base, &o);
    client_cache_on_change(l->cache, on_change, l);
    client_cache_on_synced(l->cache, on_synced, l);
    client_cache_start(l->cache);
}

static void end(struct life *l)
{
    l->cache = client_cache_free(l->cache);
    if (l->done) /* an answer comes after all */
        l->done(l->arg, &(struct client_reply){.r = -ECONNRESET});
    buf_fini(&l->log);
    rt_free(l->base.rt);
}

static void wait_s(struct life *l, int s)
{
    rt_sim_run_for(l->base.rt, s * NSEC_PER_SEC);
}

static void answer(struct life *l, rev_t rev, struct object **items, size_t n)
{
    struct client_reply reply = {.items = items, .n_items = n, .rev = rev};
    client_done_fn done = l->done;

    assert_non_null(done);
    l->done = NULL;
    done(l->arg, &reply);
    for (size_t i = 0; i < n; i++)
        object_unref(items[i]);
}

static void fail_list(struct life *l, int r)
{
    client_done_fn done = l->done;

    assert_non_null(done);
    l->done = NULL;
    done(l->arg, &(struct client_reply){.r = r});
}

static void event(struct life *l, enum client_event_type type, struct object *o)
{
    struct client_event ev = {.type = type, .object = o, .rev = o->rev};

    l->fn(l->fn_arg, &ev, 1);
    object_unref(o);
}

#define assert_log(l, text)                                                                        \
    do {                                                                                           \
        assert_str(buf_str(&(l)->log), text);                                                      \
        buf_clear(&(l)->log);                                                                      \
    } while (0)

static off_t file_size(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? -1 : st.st_size;
}

static void clean(void)
{
    static const char *const names[] = {"things", "things.new", "things.short"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = xasprintf("%s/%s", dir, names[i]);
        (void)unlink(path);
        free(path);
    }
}

/* The file says one=1 and two=2, as a list and an event gave them. */
static void first_life(struct client_cache_opts o)
{
    struct life l;

    clean();
    begin(&l, o);
    wait_s(&l, 1);
    answer(&l, 9, (struct object *[]){cm("one", "0", NULL, 3), cm("gone", "0", NULL, 4)}, 2);
    wait_s(&l, 1);
    event(&l, CLIENT_EVENT_MODIFIED, cm("one", "1", NULL, 10));
    event(&l, CLIENT_EVENT_ADDED, cm("two", "2", NULL, 11));
    event(&l, CLIENT_EVENT_DELETED, cm("gone", "0", NULL, 12));
    end(&l);
}

static void test_told_when_the_server_is_away(void **state)
{
    struct life l;

    first_life(opts());
    begin(&l, opts());
    fail_list(&l, -ECONNREFUSED);
    rt_sim_run_for(l.base.rt, 1500 * NSEC_PER_MSEC);
    assert_false(client_cache_synced(l.cache)); /* it may be back in a moment */
    wait_s(&l, 2);
    assert_true(client_cache_synced(l.cache));
    assert_true(client_cache_stale(l.cache));
    assert_int_equal(client_cache_count(l.cache), 2);
    assert_int_equal(l.synced, 1);
    assert_true(str_ends(buf_str(&l.log), STR(" synced ")));
    buf_clear(&l.log);
    /* The server is back: differences, once. */
    answer(&l, 20, (struct object *[]){cm("one", "1", NULL, 10), cm("new", "5", NULL, 15)}, 2);
    assert_log(&l, "+new=5@15 -two ");
    assert_false(client_cache_stale(l.cache));
    assert_int_equal(l.synced, 1);
    end(&l);

    begin(&l, opts()); /* it was written on */
    wait_s(&l, 3);     /* no answer at all this time */
    assert_int_equal(client_cache_count(l.cache), 2);
    assert_int_equal(client_cache_get(l.cache, STR("ns"), STR("one"))->rev, 10);
    assert_int_equal(client_cache_get(l.cache, STR("ns"), STR("new"))->rev, 15);
    end(&l);
}

static void test_not_told_when_it_answers(void **state)
{
    struct life l;

    first_life(opts());
    begin(&l, opts());
    fail_list(&l, -ECONNREFUSED);
    wait_s(&l, 1);
    answer(&l, 20, (struct object *[]){cm("other", "1", NULL, 18)}, 1);
    assert_log(&l, "+other=1@18 synced ");
    wait_s(&l, 5);
    assert_log(&l, "");
    end(&l);

    begin(&l, opts()); /* what is on disk is the new list */
    wait_s(&l, 3);
    assert_log(&l, "+other=1@18 synced ");
    end(&l);
}

static void test_not_told_when_refused(void **state)
{
    struct life l;

    first_life(opts());
    begin(&l, opts());
    for (int i = 0; i < 4; i++) {
        fail_list(&l, -EACCES);
        wait_s(&l, 40);
    }
    assert_false(client_cache_synced(l.cache));
    assert_log(&l, "");
    end(&l);
}

static void test_the_server_goes_within_its_first_list(void **state)
{
    struct life l;

    first_life(opts());
    begin(&l, opts());
    fail_list(&l, -EACCES); /* it is there */
    wait_s(&l, 30);
    assert_false(client_cache_synced(l.cache));
    fail_list(&l, -ECONNRESET);
    wait_s(&l, 1);
    assert_true(client_cache_stale(l.cache));
    end(&l);
}

static void many_names(char names[static 16], int i)
{
    snprintf(names, 16, "n%d", i);
}

/* Telling takes turns; an answer in the middle waits for the rest. */
static void test_answer_while_telling(void **state)
{
    enum { MANY = 1000 };
    static struct object *items[MANY];
    struct life l;
    char name[16];

    clean();
    begin(&l, opts());
    for (int i = 0; i < MANY; i++) {
        many_names(name, i);
        items[i] = cm(name, "1", NULL, (rev_t)(i + 1));
    }
    answer(&l, MANY, items, MANY);
    wait_s(&l, 1);
    end(&l);

    begin(&l, opts());
    while (client_cache_count(l.cache) == 0)
        rt_sim_run_for(l.base.rt, NSEC_PER_USEC);
    assert_false(client_cache_synced(l.cache));
    assert_in_range(client_cache_count(l.cache), 1, MANY - 1);
    buf_clear(&l.log);
    answer(&l, 5000, (struct object *[]){cm("n1", "1", NULL, 2), cm("x", "7", NULL, 4000)}, 2);
    assert_int_equal(client_cache_count(l.cache), 2);
    assert_int_equal(l.synced, 1);
    wait_s(&l, 1);
    end(&l);

    begin(&l, opts());
    wait_s(&l, 3);
    assert_int_equal(client_cache_count(l.cache), 2);
    end(&l);
}

static void test_answer_while_reading(void **state)
{
    struct life l;

    first_life(opts());
    begin(&l, opts());
    rt_sim_run_for(l.base.rt, 2 * NSEC_PER_SEC); /* the pool has it, or is about to */
    assert_int_equal(client_cache_count(l.cache), 0);
    answer(&l, 20, (struct object *[]){cm("other", "1", NULL, 18)}, 1);
    assert_int_equal(client_cache_count(l.cache), 1);
    wait_s(&l, 3);
    assert_int_equal(client_cache_count(l.cache), 1);
    end(&l);
    begin(&l, opts());
    wait_s(&l, 3);
    assert_log(&l, "+other=1@18 synced ");
    end(&l);
}

static void test_damaged_file(void **state)
{
    struct client_cache_opts o = opts();
    struct life l;

    first_life(o);
    FILE *f = fopen(o.file, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, 60, SEEK_SET), 0);
    assert_int_equal(fwrite("XXXXXXXX", 8, 1, f), 1);
    fclose(f);
    begin(&l, o);
    wait_s(&l, 10);
    assert_false(client_cache_synced(l.cache));
    answer(&l, 20, (struct object *[]){cm("other", "1", NULL, 18)}, 1);
    assert_log(&l, "+other=1@18 synced ");
    wait_s(&l, 1);
    end(&l);
    begin(&l, o);
    wait_s(&l, 3);
    assert_log(&l, "+other=1@18 synced ");
    end(&l);
}

static void test_another_selection(void **state)
{
    struct client_cache_opts o = opts();
    struct life l;

    first_life(o);
    o.field_selector = STR("metadata.name=one");
    begin(&l, o);
    wait_s(&l, 10);
    assert_false(client_cache_synced(l.cache));
    assert_log(&l, "");
    end(&l);
}

/* A record whole, but of something that is no such object. */
static void test_undecodable(void **state)
{
    struct client_cache_opts o = opts();
    struct buf b = {0};
    struct life l;

    clean();
    cache_format_head(&b, STR("v1 ConfigMap\nnamespace \nlabels \nfields \n"));
    cache_format_set(&b, &(struct cache_record){.ns = STR("ns"),
                                                .name = STR("x"),
                                                .object = STR("\x0a\xff\xff\xff\xff\x0f"),
                                                .rev = 4});
    cache_format_end(&b);
    FILE *f = fopen(o.file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(b.data, b.n, 1, f), 1);
    fclose(f);
    buf_fini(&b);
    begin(&l, o);
    wait_s(&l, 10);
    assert_false(client_cache_synced(l.cache));
    end(&l);
}

/* What the trim leaves out is not written; what changes is written once. */
static void test_cost_of_a_change(void **state)
{
    struct client_cache_opts o = opts();
    struct life l;
    char text[16];

    for (int packed = 0; packed < 2; packed++) {
        o.packed = packed;
        clean();
        begin(&l, o);
        answer(&l, 9, (struct object *[]){cm("one", "1", NULL, 3)}, 1);
        wait_s(&l, 1);
        off_t was = file_size(o.file);
        assert_true(was > 0);
        for (int i = 0; i < 100; i++) {
            snprintf(text, sizeof(text), "%d", i);
            event(&l, CLIENT_EVENT_MODIFIED, cm("one", "1", text, (rev_t)(10 + i)));
        }
        wait_s(&l, 1);
        assert_int_equal(file_size(o.file), was);
        event(&l, CLIENT_EVENT_MODIFIED, cm("one", "2", NULL, 200));
        wait_s(&l, 1);
        assert_in_range(file_size(o.file), was + 1, was + 100);
        end(&l);
    }
}

static void test_compaction(void **state)
{
    struct client_cache_opts o = opts();
    struct life l;
    char *big = xmalloc(10001);

    memset(big, 'x', 10000);
    big[10000] = '\0';
    clean();
    begin(&l, o);
    answer(&l, 9, (struct object *[]){cm("keep", "1", NULL, 3), cm("gone", "1", NULL, 4)}, 2);
    event(&l, CLIENT_EVENT_DELETED, cm("gone", "1", NULL, 5));
    for (int i = 0; i < 500; i++) {
        big[0] = (char)('a' + i % 26);
        event(&l, CLIENT_EVENT_MODIFIED, cm("big", big, NULL, (rev_t)(10 + i)));
        if (i % 3 == 0)
            rt_sim_run_for(l.base.rt, 300 * NSEC_PER_MSEC);
    }
    wait_s(&l, 2);
    assert_in_range(file_size(o.file), 10000, 400000); /* of 5 MB written */
    end(&l);
    begin(&l, o);
    wait_s(&l, 3);
    assert_int_equal(client_cache_count(l.cache), 2);
    struct object *got = client_cache_get(l.cache, STR("ns"), STR("big"));
    assert_int_equal(got->rev, 509);
    assert_str(OBJECT_MSG(got, api_config_map)->data[0].value, big);
    end(&l);
    free(big);
}

static void test_owner_only_and_forgotten(void **state)
{
    struct client_cache_opts o = opts();
    struct stat st;
    struct life l;

    first_life(o);
    assert_int_equal(stat(o.file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    begin(&l, o);
    answer(&l, 20, NULL, 0);
    l.cache = client_cache_forget(l.cache);
    end(&l);
    assert_int_equal(rmdir(dir), 0); /* nothing is left */
    assert_int_equal(mkdir(dir, 0700), 0);
}

/* The cache keeps who they are, the file all of them. */
static void test_identities(void **state)
{
    struct client_cache_opts o = opts();
    struct life l;

    o.packed = false;
    o.identities_only = true;
    clean();
    begin(&l, o);
    answer(&l, 9, (struct object *[]){cm("one", "1", NULL, 3)}, 1);
    event(&l, CLIENT_EVENT_MODIFIED, cm("one", "2", NULL, 10));
    end(&l);
    begin(&l, o);
    wait_s(&l, 3);
    assert_log(&l, "+one=2@10 synced ");
    end(&l);
}

static void test_a_disk_that_refuses(void **state)
{
    struct client_cache_opts o = opts();
    struct client_cache_stats stats;
    struct life l;

    clean();
    o.file = "/proc/no/such";
    begin(&l, o);
    wait_s(&l, 3);
    answer(&l, 9, (struct object *[]){cm("one", "1", NULL, 3)}, 1);
    event(&l, CLIENT_EVENT_MODIFIED, cm("one", "2", NULL, 10));
    wait_s(&l, 1);
    assert_log(&l, "+one=1@3 synced *one=2@10 ");
    client_cache_stats(l.cache, &stats);
    assert_int_equal(stats.file_error, -ENOENT);
    end(&l);
}

/* A full disk that has room again: what went past it is written after all. */
static void test_a_disk_that_takes_again(void **state)
{
    struct client_cache_opts o = opts();
    struct client_cache_stats stats;
    struct life l;
    char *later = xasprintf("%s/later", dir), *path = xasprintf("%s/things", later);

    o.file = path;
    for (int packed = 0; packed < 2; packed++) {
        o.packed = packed;
        begin(&l, o);
        answer(&l, 9, (struct object *[]){cm("one", "1", NULL, 3), cm("gone", "1", NULL, 4)}, 2);
        event(&l, CLIENT_EVENT_MODIFIED, cm("one", "2", NULL, 10));
        event(&l, CLIENT_EVENT_DELETED, cm("gone", "1", NULL, 11));
        wait_s(&l, 100); /* tried in vain meanwhile */
        client_cache_stats(l.cache, &stats);
        assert_int_equal(stats.file_error, -ENOENT);
        assert_int_equal(mkdir(later, 0700), 0);
        wait_s(&l, 61);
        client_cache_stats(l.cache, &stats);
        assert_int_equal(stats.file_error, 0);
        event(&l, CLIENT_EVENT_ADDED, cm("two", "1", NULL, 12));
        end(&l);
        begin(&l, o);
        wait_s(&l, 3);
        assert_int_equal(l.log.n, sizeof("+one=2@10 +two=1@12 synced ") - 1); /* in any order */
        assert_true(str_search(buf_str(&l.log), STR("+one=2@10 ")) >= 0);
        assert_true(str_search(buf_str(&l.log), STR("+two=1@12 ")) >= 0);
        end(&l);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rmdir(later), 0);
    }
    free(path);
    free(later);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_damaged_anywhere),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_stops_at_a_refusal),
        cmocka_unit_test(test_told_when_the_server_is_away),
        cmocka_unit_test(test_not_told_when_it_answers),
        cmocka_unit_test(test_not_told_when_refused),
        cmocka_unit_test(test_the_server_goes_within_its_first_list),
        cmocka_unit_test(test_answer_while_telling),
        cmocka_unit_test(test_answer_while_reading),
        cmocka_unit_test(test_damaged_file),
        cmocka_unit_test(test_another_selection),
        cmocka_unit_test(test_undecodable),
        cmocka_unit_test(test_cost_of_a_change),
        cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_owner_only_and_forgotten),
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_a_disk_that_refuses),
        cmocka_unit_test(test_a_disk_that_takes_again),
    };

    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests_name("client/cache_file", tests, NULL, NULL);
    clean();
    (void)rmdir(dir);
    return failed;
}
