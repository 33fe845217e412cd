/* References, credentials, and the store: loading, names, pins, removal, collection, what a crash
 * leaves. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/image/auth.h"
#include "node/image/store.h"
#include "rt/crypto.h"
#include "sys/fs.h"
#include "tarball.h"
#include "test.h"

static char dir[] = "/tmp/davit-test-store-XXXXXX";
static char *store_dir, *file;
static struct image_store *store;
static struct error why;

static void test_names(void **state)
{
    static const char *const good[][2] = {
        {"busybox", "docker.io/library/busybox:latest"},
        {"busybox:1.36", "docker.io/library/busybox:1.36"},
        {"me/app", "docker.io/me/app:latest"},
        {"docker.io/busybox", "docker.io/library/busybox:latest"},
        {"index.docker.io/me/app:1", "docker.io/me/app:1"},
        {"localhost/x", "localhost/x:latest"},
        {"localhost:5000/x", "localhost:5000/x:latest"},
        {"[::1]:5000/x/y:t", "[::1]:5000/x/y:t"},
        {"registry.k8s.io/a/b-c_d/e__f:v1.2_3-x", "registry.k8s.io/a/b-c_d/e__f:v1.2_3-x"},
        {"Example.com/x", "Example.com/x:latest"},
        {"x:5000/y", "x:5000/y:latest"},
        {"a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         "docker.io/library/"
         "a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
        {"a:tag@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         "docker.io/library/"
         "a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
    };
    static const char *const bad[] = {
        "",          "A",           "/x",        "x/",      "x//y", "x:",
        "x:.t",      "x:a b",       "-x",        "x-",      "x..y", "x___y",
        "x@sha1:00", "x@sha256:00", "h:99999/x", "h.:80/x", "a\nb", "localhost:5000/",
        "x@",        "http://x",    "[::1/x",    "x.y:z/a"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct image_name n;
        assert_ok(image_name_parse(str_z(good[i][0]), &n, &why));
        char *full = image_name_format(&n);
        assert_string_equal(full, good[i][1]);
        free(full);
        image_name_fini(&n);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct image_name n;
        if (image_name_parse(str_z(bad[i]), &n, &why) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_true(why.message.n > 0);
        error_clear(&why);
    }
    char *longest = xcalloc(1, 400);
    memset(longest, 'a', 399);
    struct image_name n;
    assert_int_equal(image_name_parse(str_z(longest), &n, NULL), -EINVAL);
    free(longest);
}

static void test_credentials(void **state)
{
    struct image_auths a = {0};
    assert_ok(image_auths_add_dockerconfigjson(
        &a,
        STR("{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"dTpwOnE=\"},"
            "\"r.example:5000/team\":{\"username\":\"t\",\"password\":\"x\"},"
            "\"r.example:5000\":{\"identitytoken\":\"tok\"}}}"),
        &why));
    assert_ok(image_auths_add_dockercfg(&a, STR("{\"old.example\":{\"auth\":\"YTpi\"}}"), &why));
    const struct image_auth *hub = auth_find(&a, "docker.io", "library/busybox");
    assert_string_equal(hub->username, "u");
    assert_string_equal(hub->password, "p:q");
    assert_string_equal(auth_find(&a, "r.example:5000", "team/app")->username, "t");
    assert_string_equal(auth_find(&a, "r.example:5000", "teams/app")->identity_token, "tok");
    assert_string_equal(auth_find(&a, "old.example", "x")->password, "b");
    assert_null(auth_find(&a, "other.example", "x"));
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"auths\":[]}",
                                      "{\"auths\":{\"x\":1}}",
                                      "{\"auths\":{\"x\":{\"auth\":\"!\"}}}",
                                      "{\"auths\":{\"x\":{\"auth\":\"YWI=\"}}}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_true(image_auths_add_dockerconfigjson(&a, str_z(bad[i]), &why) < 0);
        error_clear(&why);
    }
    image_auths_fini(&a);
}

/* ---- the store ---- */

static void reopen(void)
{
    image_store_close(store);
    store = NULL;
    if (image_store_open(&(struct image_store_opts){.dir = store_dir}, &store, &why) < 0)
        fail_msg("%.*s", STR_ARG(why.message));
}

static int setup(void **state)
{
    assert_non_null(mkdtemp(dir));
    store_dir = xasprintf("%s/images", dir);
    file = xasprintf("%s/x.tar", dir);
    reopen();
    return 0;
}

static int teardown(void **state)
{
    image_store_close(store);
    error_fini(&why);
    (void)sys_remove_tree(AT_FDCWD, dir);
    free(store_dir);
    free(file);
    return 0;
}

/* A docker-archive with one image of two layers: `shared` in all, and one that holds `text`. */
static void make_archive(const char *tags, const char *text, const char *arch, bool wrong_diff_id)
{
    struct buf out = {0}, layers[2] = {0}, config = {0}, manifest = {0};
    char hex[2][SHA256_HEX + 1];
    tar_file(&layers[0], "shared", "shared");
    tar_file(&layers[1], "own", text);
    for (int i = 0; i < 2; i++) {
        tar_end(&layers[i]);
        sha256_hex_of(buf_str(&layers[i]), hex[i]);
    }
    if (wrong_diff_id)
        hex[1][0] = hex[1][0] == '0' ? '1' : '0';
    buf_printf(&config,
               "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"Cmd\":[\"/"
               "own\"],\"Env\":[\"A=%s\"],\"User\":\"7\","
               "\"ExposedPorts\":{\"80/"
               "tcp\":{}},\"StopSignal\":\"SIGINT\"},\"rootfs\":{\"diff_ids\":[\"sha256:%s\","
               "\"sha256:%s\"]}}",
               arch, text, hex[0], hex[1]);
    buf_printf(
        &manifest,
        "[{\"Config\":\"c.json\",\"RepoTags\":%s,\"Layers\":[\"0/layer.tar\",\"1/layer.tar\"]}]",
        tags);
    tar_add(&out,
            &(struct tar_entry){
                .name = "0/layer.tar", .type = '0', .mode = 0644, .data = buf_str(&layers[0])});
    /* As older `docker save` writes what it has written already. */
    tar_add(&out, &(struct tar_entry){
                      .name = "real.tar", .type = '0', .mode = 0644, .data = buf_str(&layers[1])});
    tar_link(&out, '2', "1/layer.tar", "../real.tar");
    tar_add(&out, &(struct tar_entry){
                      .name = "c.json", .type = '0', .mode = 0644, .data = buf_str(&config)});
    tar_add(&out,
            &(struct tar_entry){
                .name = "manifest.json", .type = '0', .mode = 0644, .data = buf_str(&manifest)});
    tar_end(&out);
    assert_int_equal(sys_write_file(AT_FDCWD, file, out.data, out.n, 0600), 0);
    struct buf *const all[] = {&out, &layers[0], &layers[1], &config, &manifest};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_fini(all[i]);
}

static void on_loaded(void *arg, const struct image *img)
{
    if (*(struct image **)arg)
        image_unref(*(struct image **)arg);
    *(struct image **)arg = image_ref((struct image *)img);
}

static struct image *load(const char *tags, const char *text)
{
    struct image *img = NULL;
    error_clear(&why);
    make_archive(tags, text, manifest_host_arch(), false);
    if (image_load_file(store, file, NULL, on_loaded, &img, &why) < 0)
        fail_msg("%.*s", STR_ARG(why.message));
    return img;
}

static size_t count(const char *sub)
{
    char *command = xasprintf("ls %s/%s | wc -l", store_dir, sub), text[32] = "";
    FILE *p = popen(command, "re");
    assert_non_null(fgets(text, sizeof(text), p));
    pclose(p);
    free(command);
    return (size_t)strtoul(text, NULL, 10);
}

static void test_load_and_look_up(void **state)
{
    struct image *img = load("[\"web:1\",\"localhost:5000/web:1\"]", "one"), *same = NULL;
    assert_string_equal(img->ref, "docker.io/library/web:1");
    assert_string_equal(img->config.cmd[0], "/own");
    assert_string_equal(img->config.env[0], "A=one");
    assert_string_equal(img->config.exposed_ports[0], "80/tcp");
    assert_string_equal(img->config.stop_signal, "SIGINT");
    assert_string_equal(img->image_id, img->id);
    assert_int_equal(img->n_layers, 2);
    assert_int_equal(img->size_bytes, 9);
    char *own = xasprintf("%s/own", img->layer_dirs[1]);
    assert_int_equal(access(own, F_OK), 0);
    free(own);
    const char *const names[] = {"web:1", "docker.io/library/web:1", "localhost:5000/web:1",
                                 img->id, img->id + 7};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_ok(image_lookup(store, str_z(names[i]), &same, &why));
        assert_string_equal(same->id, img->id);
        image_unref(same);
    }
    struct str prefix = {img->id + 7, 12};
    assert_ok(image_lookup(store, prefix, &same, &why));
    image_unref(same);
    assert_int_equal(image_lookup(store, STR("web:2"), &same, NULL), -ENOENT);
    image_unref(img);
    /* Shared layer: three layers for two images, and again nothing new. */
    image_unref(load("[\"web:2\"]", "two"));
    image_unref(load("[\"web:2\"]", "two"));
    assert_int_equal(count("layers"), 2 * 3);
    struct image_list l;
    assert_ok(image_list(store, &l, &why));
    assert_int_equal(l.n, 2);
    image_list_fini(&l);
    reopen();
    assert_ok(image_lookup(store, STR("web:2"), &same, &why));
    image_unref(same);
}

static void test_name_moves_to_the_newer(void **state)
{
    struct image *img = load("[\"web:1\"]", "newer"), *old = NULL;
    struct image *now = NULL;
    assert_ok(image_lookup(store, STR("web:1"), &now, &why));
    assert_string_equal(now->id, img->id);
    assert_ok(image_lookup(store, STR("localhost:5000/web:1"), &old, &why));
    assert_string_not_equal(old->id, img->id);
    image_unref(img);
    image_unref(now);
    image_unref(old);
}

static void refused_load(const char *words)
{
    struct image *img = NULL;
    assert_true(image_load_file(store, file, NULL, on_loaded, &img, &why) < 0);
    if (str_search(why.message, str_z(words)) < 0)
        fail_msg("\"%.*s\" lacks \"%s\"", STR_ARG(why.message), words);
    error_clear(&why);
    assert_null(img);
    assert_int_equal(count("tmp/*"), 0);
}

static void test_refused(void **state)
{
    make_archive("[\"bad:1\"]", "three", "vax", false);
    refused_load("this machine runs");
    make_archive("[\"bad:1\"]", "three", manifest_host_arch(), true);
    refused_load("digest mismatch");
    make_archive("[\"Bad Name\"]", "three", manifest_host_arch(), false);
    refused_load("invalid image name");
    assert_int_equal(sys_write_file(AT_FDCWD, file, "no tar", 6, 0600), 0);
    refused_load("layer:");
    struct buf empty = {0};
    tar_file(&empty, "hello", "x");
    tar_end(&empty);
    assert_int_equal(sys_write_file(AT_FDCWD, file, empty.data, empty.n, 0600), 0);
    buf_fini(&empty);
    refused_load("neither a docker-archive nor an OCI layout");
    unlink(file);
    refused_load("No such file");
}

static void test_pins_and_removal(void **state)
{
    struct image *img = load("[\"pinned:1\",\"pinned:2\"]", "pin"), *gone = NULL;
    assert_ok(image_pin(store, img, STR("ctr-1"), &why));
    assert_ok(image_pin(store, img, STR("ctr-1"), &why));
    assert_true(image_pin(store, img, STR("../x"), &why) < 0);
    error_clear(&why);
    assert_ok(image_remove(store, STR("pinned:1"), &why)); /* one name less */
    assert_int_equal(image_remove(store, STR("pinned:2"), &why), -ESTALE);
    error_clear(&why);
    reopen(); /* pins outlive the process */
    assert_int_equal(image_remove(store, str_z(img->id), &why), -ESTALE);
    error_clear(&why);
    struct str keep[] = {STR("ctr-1"), STR("ctr-2")};
    image_pins_retain(store, keep, 2);
    assert_int_equal(count("pins"), 1);
    image_unpin(store, STR("ctr-1"));
    image_unpin(store, STR("ctr-1"));
    assert_ok(image_remove(store, STR("pinned:2"), &why));
    assert_int_equal(image_lookup(store, str_z(img->id), &gone, NULL), -ENOENT);
    assert_true(access(img->layer_dirs[0], F_OK) == 0); /* shared with the others */
    assert_true(access(img->layer_dirs[1], F_OK) < 0);
    image_unref(img);
}

static void test_collection(void **state)
{
    struct image *kept = load("[\"kept:1\"]", "kept"), *pinned = load("[\"pin:1\"]", "pinned"),
                 *gone = NULL;
    struct image_gc_result res;
    struct str keep[] = {STR("kept:1")};
    assert_ok(image_pin(store, pinned, STR("ctr-9"), &why));
    /* The disk is not full: nothing goes. */
    assert_ok(image_gc(store, &(struct image_gc_opts){.high_percent = 100}, &res, &why));
    assert_int_equal(res.removed, 0);
    assert_ok(image_gc(store, &(struct image_gc_opts){.all = true, .keep = keep, .n_keep = 1}, &res,
                       &why));
    assert_true(res.removed >= 2);
    assert_ok(image_lookup(store, STR("kept:1"), &gone, &why));
    gone = image_unref(gone);
    assert_ok(image_lookup(store, STR("pin:1"), &gone, &why));
    gone = image_unref(gone);
    assert_int_equal(image_lookup(store, STR("web:2"), &gone, NULL), -ENOENT);
    assert_int_equal(count("layers"), 2 * 3);
    assert_int_equal(count("blobs/sha256"), 2);
    /* Full from 1 % on, but everything is in use or young: says so. */
    assert_ok(
        image_gc(store, &(struct image_gc_opts){.high_percent = 1, .low_percent = 1}, &res, &why));
    assert_int_equal(res.removed, 0);
    assert_true(res.short_of_space);
    /* Least recently used first. */
    image_unpin(store, STR("ctr-9"));
    char *path = xasprintf("%s/blobs/sha256/%s", store_dir, kept->id + 7);
    struct timespec old[2] = {{1000, 0}, {1000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    free(path);
    image_unref(kept);
    image_unref(pinned);
}

static void test_what_a_crash_leaves(void **state)
{
    char *stale = xasprintf("%s/tmp/stale", store_dir),
         *deep = xasprintf("%s/tmp/stale/layer-1/etc", store_dir);
    assert_ok(sys_mkdir_all(deep, 0755));
    struct image_store *second = NULL;
    assert_ok(image_store_open(&(struct image_store_opts){.dir = store_dir}, &second, &why));
    assert_true(access(stale, F_OK) < 0);
    assert_int_equal(count("tmp"), 2); /* both processes' own */
    /* Two stores see each other's changes. */
    struct image *img = load("[\"both:1\"]", "both"), *seen = NULL;
    assert_ok(image_lookup(second, STR("both:1"), &seen, &why));
    image_unref(seen);
    assert_ok(image_remove(second, STR("both:1"), &why));
    assert_int_equal(image_lookup(store, STR("both:1"), &seen, NULL), -ENOENT);
    image_unref(img);
    image_store_close(second);
    /* A layer that vanished makes the image absent, and loading heals it. */
    img = load("[\"heal:1\"]", "heal");
    assert_int_equal(sys_remove_tree(AT_FDCWD, img->layer_dirs[1]), 0);
    assert_int_equal(image_lookup(store, STR("heal:1"), &seen, NULL), -ENOENT);
    image_unref(img);
    img = load("[\"heal:1\"]", "heal");
    assert_ok(image_lookup(store, STR("heal:1"), &seen, &why));
    image_unref(seen);
    image_unref(img);
    /* A damaged index: an empty one, the file kept aside. */
    char *index = xasprintf("%s/index.json", store_dir),
         *aside = xasprintf("%s/index.json.damaged", store_dir);
    assert_int_equal(sys_write_file(AT_FDCWD, index, "{", 1, 0600), 0);
    reopen();
    assert_int_equal(image_lookup(store, STR("heal:1"), &seen, NULL), -ENOENT);
    assert_int_equal(access(aside, F_OK), 0);
    free(index);
    free(aside);
    free(stale);
    free(deep);
}

int main(void)
{
    if (geteuid() != 0)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_load_and_look_up),
        cmocka_unit_test(test_name_moves_to_the_newer),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_pins_and_removal),
        cmocka_unit_test(test_collection),
        cmocka_unit_test(test_what_a_crash_leaves),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
