/* Unpacking: what a layer turns into, and everything hostile that an archive can hold. */
#include "node/image/layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/mem.h"
#include "rt/crypto.h"
#include "sys/fs.h"
#include "tarball.h"
#include "test.h"

static char base[] =
    "/tmp/davit-test-layer-XXXXXX"; /* base/root is unpacked into; base/secret must stay */
static int basefd = -1, root = -1;
static struct error why;
static struct layer_result res;
static struct layer_limits limits = LAYER_LIMITS_DEFAULT;

static int setup(void **state)
{
    assert_non_null(mkdtemp(base));
    basefd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return basefd < 0;
}

static int teardown(void **state)
{
    close(root);
    close(basefd);
    error_fini(&why);
    return sys_remove_tree(AT_FDCWD, base);
}

/* Takes b. */
static int unpack(struct buf *b, unsigned flags)
{
    if (root >= 0)
        close(root);
    assert_int_equal(sys_remove_tree(basefd, "root"), 0);
    assert_int_equal(mkdirat(basefd, "root", 0755), 0);
    assert_int_equal(sys_write_file(basefd, "secret", "secret", 6, 0600), 0);
    root = openat(basefd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    error_clear(&why);
    CLEANUP(fd_closep) int fd = tar_to_fd(b);
    int r = layer_unpack(fd, root, flags, &limits, &res, &why);
    buf_fini(b);
    char *text = NULL;
    assert_int_equal(sys_read_file(basefd, "secret", 100, &text, NULL), 0);
    assert_string_equal(text, "secret");
    free(text);
    /* The parts of base are root and secret, whatever the archive said. */
    struct stat st;
    assert_int_equal(fstat(basefd, &st), 0);
    assert_int_equal(st.st_nlink, 3);
    return r;
}

static struct stat at(const char *path)
{
    struct stat st;
    if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return st;
}

static bool missing(const char *path)
{
    return faccessat(root, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static void has_text(const char *path, const char *want)
{
    char *text = NULL;
    assert_int_equal(sys_read_file(root, path, 1000, &text, NULL), 0);
    assert_string_equal(text, want);
    free(text);
}

static void test_ordinary(void **state)
{
    struct buf b = {0};
    tar_dir(&b, "./");
    tar_dir(&b, "./bin/");
    tar_add(
        &b,
        &(struct tar_entry){
            .name = "./bin/su", .type = '0', .mode = 04755, .uid = 0, .gid = 7, .data = STR("su")});
    tar_link(&b, '2', "bin/sh", "su");
    tar_link(&b, '1', "bin/hard", "bin/su");
    tar_add(&b, &(struct tar_entry){.name = "pipe", .type = '6', .mode = 0600});
    tar_add(&b,
            &(struct tar_entry){.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3});
    tar_file(&b, "no/parent/given", "x");
    tar_file(&b, "/absolute", "y");
    tar_end(&b);
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    sha256_of(buf_str(&b), digest);
    sha256_hex(digest, hex);
    mode_t mask = umask(077);
    assert_ok(unpack(&b, LAYER_WHITEOUTS));
    umask(mask);
    assert_string_equal(res.diff_id + 7, hex);
    assert_int_equal(res.entries, 9);
    assert_int_equal(at("bin/su").st_mode, S_IFREG | 04755);
    assert_int_equal(at("bin/su").st_gid, 7);
    assert_int_equal(at("bin/su").st_mtime, 1000000000);
    assert_int_equal(at("bin").st_mtime, 1000000000);
    assert_int_equal(at("bin/hard").st_ino, at("bin/su").st_ino);
    assert_true(S_ISLNK(at("bin/sh").st_mode));
    assert_true(S_ISFIFO(at("pipe").st_mode));
    assert_int_equal(at("null").st_rdev, makedev(1, 3));
    assert_int_equal(at("no/parent").st_mode, S_IFDIR | 0755);
    has_text("absolute", "y");
}

static void test_whiteouts(void **state)
{
    struct buf b = {0};
    char value[8];
    tar_dir(&b, "a/");
    tar_file(&b, "a/.wh.gone", "");
    tar_file(&b, "a/.wh..wh..opq", "");
    tar_file(&b, "a/.wh..wh.plnk", "");
    tar_file(&b, "a/here", "1");
    tar_file(&b, "a/.wh.here", "");
    tar_file(&b, "b/.wh.back", "");
    tar_file(&b, "b/back", "2");
    tar_end(&b);
    struct buf copy = {0};
    buf_add_str(&copy, buf_str(&b));
    assert_ok(unpack(&b, LAYER_WHITEOUTS));
    assert_true(S_ISCHR(at("a/gone").st_mode));
    assert_int_equal(at("a/gone").st_rdev, 0);
    char *path = xasprintf("%s/root/a", base);
    assert_int_equal(getxattr(path, "trusted.overlay.opaque", value, sizeof(value)), 1);
    free(path);
    assert_true(missing("a/.wh.gone") && missing("a/.wh..wh..opq") && missing("a/.wh..wh.plnk"));
    has_text("a/here", "1");
    has_text("b/back", "2");
    assert_ok(unpack(&copy, 0)); /* without the flag they are names like any other */
    has_text("a/.wh.gone", "");
    struct buf bad = {0};
    tar_file(&bad, ".wh...", "");
    assert_int_equal(unpack(&bad, LAYER_WHITEOUTS), -EBADMSG);
}

static void test_escapes(void **state)
{
    static const char *const targets[] = {
        "/", "..", "../..", "/proc/self/root", "../../../../../..", "a/../../.."};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct buf b = {0};
        tar_dir(&b, "a");
        tar_link(&b, '2', "evil", targets[i]);
        tar_file(&b, "evil/secret", "overwritten");
        tar_file(&b, "evil/new/file", "n");
        tar_end(&b);
        assert_ok(unpack(&b, LAYER_WHITEOUTS));
        assert_true(S_ISLNK(at("evil").st_mode));
    }
    /* What is written through a link lands below the root. */
    struct buf b = {0};
    tar_link(&b, '2', "l", "/etc");
    tar_file(&b, "l/passwd", "p");
    tar_link(&b, '2', "up", "../../secret");
    tar_file(&b, "up", "replaces the link");
    tar_end(&b);
    assert_ok(unpack(&b, LAYER_WHITEOUTS));
    has_text("etc/passwd", "p");
    has_text("up", "replaces the link");
}

static void refused(const struct tar_entry *e, const char *words)
{
    struct buf b = {0};
    tar_dir(&b, "d");
    tar_add(&b, e);
    tar_end(&b);
    assert_int_equal(unpack(&b, LAYER_WHITEOUTS), -EBADMSG);
    if (!why.message.p || str_search(why.message, str_z(words)) < 0)
        fail_msg("\"%.*s\" lacks \"%s\"", STR_ARG(why.message), words);
}

static void test_refused(void **state)
{
    char *deep = xcalloc(1, 3 * 300 + 1), *component = xcalloc(1, 302);
    for (int i = 0; i < 300; i++)
        memcpy(deep + 3 * i, "dd/", 3);
    memset(component, 'n', 300);
    refused(&(struct tar_entry){.name = "../secret", .type = '0', .data = STR("x")},
            "leaves the root");
    refused(&(struct tar_entry){.name = "d/../../secret", .type = '0', .data = STR("x")},
            "leaves the root");
    refused(&(struct tar_entry){.name = "h", .type = '1', .link = "../secret"}, "leaves the root");
    refused(&(struct tar_entry){.name = "z", .type = '3'}, "device 0/0");
    refused(&(struct tar_entry){.name = deep, .type = '5'}, "deeper than");
    refused(&(struct tar_entry){.name = component, .type = '5'}, "file name is longer");
    refused(&(struct tar_entry){.name = "e", .type = '2', .link = ""}, "link to nothing");
    free(deep);
    free(component);
    struct buf b = {0};
    tar_link(&b, '1', "h", "nothing"); /* operational, not malformed: still an error */
    tar_end(&b);
    assert_true(unpack(&b, LAYER_WHITEOUTS) < 0);
    struct buf loop = {0};
    tar_link(&loop, '2', "x", "y");
    tar_link(&loop, '2', "y", "x");
    tar_file(&loop, "x/file", "1");
    tar_end(&loop);
    assert_true(unpack(&loop, LAYER_WHITEOUTS) < 0);
    struct buf cut = {0};
    tar_add(&cut,
            &(struct tar_entry){.name = "big", .type = '0', .data = STR("short"), .claim = 100000});
    assert_int_equal(unpack(&cut, LAYER_WHITEOUTS), -EBADMSG);
    struct buf junk = {0};
    buf_printf(&junk, "%0600d", 7);
    assert_int_equal(unpack(&junk, LAYER_WHITEOUTS), -EBADMSG);
}

static void test_attributes(void **state)
{
    struct buf b = {0};
    char value[16];
    tar_add(&b,
            &(struct tar_entry){.name = "u", .type = '0', .mode = 0644, .xattr = "user.color=red"});
    tar_add(&b, &(struct tar_entry){
                    .name = "t", .type = '5', .mode = 0755, .xattr = "trusted.overlay.opaque=y"});
    tar_add(&b,
            &(struct tar_entry){
                .name = "r", .type = '5', .mode = 0755, .xattr = "trusted.overlay.redirect=/etc"});
    tar_end(&b);
    assert_ok(unpack(&b, LAYER_WHITEOUTS));
    char *u = xasprintf("%s/root/u", base), *t = xasprintf("%s/root/t", base),
         *r = xasprintf("%s/root/r", base);
    assert_int_equal(getxattr(u, "user.color", value, sizeof(value)), 3);
    assert_true(getxattr(t, "trusted.overlay.opaque", value, sizeof(value)) < 0);
    assert_true(getxattr(r, "trusted.overlay.redirect", value, sizeof(value)) < 0);
    free(u);
    free(t);
    free(r);
}

static void test_replacing(void **state)
{
    struct buf b = {0};
    tar_file(&b, "a/b/c", "1");
    tar_link(&b, '2', "a/d", "b");
    tar_file(&b, "a", "now a file");
    tar_file(&b, "f", "1");
    tar_dir(&b, "f");
    tar_file(&b, "f/g", "2");
    tar_link(&b, '2', "f", "elsewhere"); /* a directory becomes a link */
    tar_file(&b, "f/h", "3");
    tar_end(&b);
    assert_ok(unpack(&b, LAYER_WHITEOUTS));
    has_text("a", "now a file");
    has_text("elsewhere/h", "3");
    assert_true(missing("elsewhere/g"));
}

static void test_compressed(void **state)
{
    static const char *const filters[] = {"gzip -c", "zstd -qc", "bzip2 -c", "xz -c"};
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        struct buf b = {0};
        tar_file(&b, "f", "text");
        tar_end(&b);
        char hex[SHA256_HEX + 1];
        sha256_hex_of(buf_str(&b), hex);
        tar_filter(&b, filters[i]);
        assert_ok(unpack(&b, LAYER_WHITEOUTS));
        assert_string_equal(res.diff_id + 7, hex);
        has_text("f", "text");
    }
}

static void test_bombs(void **state)
{
    struct layer_limits before = limits;
    struct buf b = {0};
    limits.bytes_max = 1 << 20;
    char *zeros = xcalloc(1, 32 << 20);
    tar_add(&b, &(struct tar_entry){.name = "z", .type = '0', .data = {zeros, 32 << 20}});
    tar_end(&b);
    tar_filter(&b, "gzip -c");
    assert_true(b.n < 100000);
    assert_int_equal(unpack(&b, LAYER_WHITEOUTS), -EBADMSG);
    free(zeros);
    limits.entries_max = 100;
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%d", i);
        tar_file(&b, name, "");
    }
    tar_end(&b);
    assert_int_equal(unpack(&b, LAYER_WHITEOUTS), -EBADMSG);
    assert_true(str_search(why.message, STR("entries")) >= 0);
    limits = before;
}

static void test_odd_but_valid(void **state)
{
    struct buf b = {0};
    assert_ok(unpack(&b, LAYER_WHITEOUTS)); /* nothing at all */
    tar_end(&b);
    assert_ok(unpack(&b, LAYER_WHITEOUTS));
    /* No padding behind the last file, no end mark (umoci insert). */
    tar_file(&b, "f", "text");
    b.n -= 508;
    assert_ok(unpack(&b, LAYER_WHITEOUTS));
    has_text("f", "text");
    tar_file(&b, "F\xc5\x91tan\xc3\xba", "utf8");
    tar_end(&b);
    assert_ok(unpack(&b, LAYER_WHITEOUTS));
    has_text("F\xc5\x91tan\xc3\xba", "utf8");
}

int main(void)
{
    if (geteuid() != 0)
        return 77; /* owners and devices need root */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary),      cmocka_unit_test(test_whiteouts),
        cmocka_unit_test(test_escapes),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_attributes),    cmocka_unit_test(test_replacing),
        cmocka_unit_test(test_compressed),    cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_odd_but_valid),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
