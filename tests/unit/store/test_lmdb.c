/* What only the store on disk has: its directory, damage, sealing, growth, a full disk. */
#include "store_test.h"
#include "base/hash.h"
#include "schema/custom.h"
#include "store/lmdb_int.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- helpers ---- */

static char *slurp(const char *path, size_t *ret_n)
{
    FILE *fp = fopen(path, "re");
    struct buf b = {0};
    char chunk[65536];
    size_t n;

    assert_non_null(fp);
    while ((n = fread(chunk, 1, sizeof(chunk), fp)) > 0)
        buf_add(&b, chunk, n);
    (void)fclose(fp);
    return buf_take(&b, ret_n);
}

static void spill(const char *path, const void *p, size_t n)
{
    FILE *fp = fopen(path, "we");

    assert_non_null(fp);
    assert_int_equal(fwrite(p, 1, n, fp), n);
    assert_int_equal(fclose(fp), 0);
}

static const char *path_in(const char *dir, const char *name)
{
    static char path[2][128];
    static unsigned turn;

    turn ^= 1;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
    return path[turn];
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Opens and expects it to fail with a message that holds `part`. */
static void assert_refused(struct fx *f, int r, const char *part)
{
    struct error err = {0};

    assert_int_equal(fx_try_open(f, &err), r);
    if (str_search(err.message, str_z(part)) < 0) {
        print_error("message: %.*s\n", STR_ARG(err.message));
        fail();
    }
    error_fini(&err);
}

static void fill(struct fx *f, unsigned n)
{
    struct fx_write w = {0};
    char name[24], value[6000];

    memset(value, 'v', sizeof(value));
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "n%05u", i);
        value[i % 11 == 0 ? sizeof(value) - 1 : 20 + i % 300] = '\0'; /* some on overflow pages */
        w.done = false;
        assert_int_equal(fx_put(f, "a", name, value, STORE_ABSENT, &w, NULL), 0);
        value[i % 11 == 0 ? sizeof(value) - 1 : 20 + i % 300] = 'v';
        if (i % 50 == 49)
            fx_wait(f, &w.done);
    }
    fx_wait(f, &w.done);
}

/* ---- the directory ---- */

static void test_second_server(void **state)
{
    struct fx f, g;
    char pid[32];

    fx_init(&f, FX_LMDB);
    fx_open(&f);
    fx_init(&g, FX_LMDB);
    fx_rm(g.dir);
    memcpy(g.dir, f.dir, sizeof(g.dir));
    snprintf(pid, sizeof(pid), "(pid %d)", getpid());
    assert_refused(&g, -EBUSY, pid);
    assert_refused(&g, -EBUSY, "in use by another davit server");
    fx_put_now(&f, "a", "x", "1", STORE_ABSENT); /* unharmed */
    fx_close(&f);
    fx_open(&g);
    assert_int_equal(store_rev(g.s), 1);
    fx_close(&g);
    fx_fini(&f);
    fx_fini(&g);
}

static void test_foreign_directory(void **state)
{
    struct fx f;

    fx_init(&f, FX_LMDB);
    spill(path_in(f.dir, "photo.jpg"), "x", 1);
    assert_refused(&f, -EINVAL, "photo.jpg");
    assert_false(is_there(path_in(f.dir, "data.mdb")));
    assert_false(is_there(path_in(f.dir, "pid")));
    spill(path_in(f.dir, "data.mdb"), "no database at all", 18);
    assert_refused(&f, -EBADMSG, "cut short");
    assert_false(is_there(path_in(f.dir, "pid")));
    assert_int_equal(unlink(path_in(f.dir, "data.mdb")), 0);
    assert_int_equal(mkdir(path_in(f.dir, "data.mdb"), 0700), 0);
    assert_refused(&f, -EBADMSG, "not a plain file");
    /* not a directory, not permitted to be made */
    snprintf(f.dir + strlen(f.dir), 20, "/photo.jpg");
    assert_refused(&f, -ENOTDIR, "photo.jpg");
    snprintf(f.dir + strlen(f.dir), 20, "/x");
    assert_refused(&f, -ENOTDIR, "cannot make");
    *strstr(f.dir, "/photo") = '\0';
    fx_fini(&f);
}

static void test_interrupted_creation(void **state)
{
    struct fx f;

    fx_init(&f, FX_LMDB);
    spill(path_in(f.dir, "data.mdb.new"), "half", 4);
    fx_open(&f);
    assert_false(is_there(path_in(f.dir, "data.mdb.new")));
    fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
    fx_fini(&f);
}

/* ---- damage ---- */

/* The whole state as text, to compare. */
static struct str dump(struct fx *f, struct arena *a)
{
    struct str list = fx_list(f, a, STR_NONE, 0);

    return arena_printf(a, "%llu %.*s", (unsigned long long)store_rev(f->s), STR_ARG(list));
}

static void sweep_once(struct fx *f, const char *path, const char *bytes, size_t n, struct str good,
                       unsigned *refused)
{
    struct error err = {0};
    struct arena a = {0};
    size_t after_n;
    char *after;
    int r;

    spill(path, bytes, n);
    r = fx_try_open(f, &err);
    if (r == 0) { /* it did not matter */
        struct str now = dump(f, &a);
        assert_true(str_eq(now, good));
        fx_close(f);
    } else {
        assert_true(str_search(err.message, STR("data.mdb cannot be used")) >= 0);
        (*refused)++;
    }
    after = slurp(path, &after_n);
    assert_int_equal(after_n, n);
    assert_memory_equal(after, bytes, n);
    free(after);
    arena_fini(&a);
    error_fini(&err);
}

static void test_damage_sweep(void **state)
{
    struct fx f;
    struct arena a = {0};
    struct str good;
    const char *path;
    uint64_t seed = 99;
    unsigned refused = 0, tries = 0;
    size_t n;
    char *bytes;

    fx_init(&f, FX_LMDB);
    fx_open(&f);
    fill(&f, 300);
    for (unsigned i = 0; i < 30; i++) { /* some history, and free pages */
        char name[16];
        snprintf(name, sizeof(name), "n%05u", i * 7);
        fx_del_now(&f, "a", name);
    }
    good = dump(&f, &a);
    fx_close(&f);
    path = path_in(f.dir, "data.mdb");
    bytes = slurp(path, &n);
    /* every byte of the two heads that means something; then anywhere */
    for (size_t at = 0; at < 160; at++) {
        for (size_t page = 0; page < 2; page++) {
            char *p = &bytes[page * 4096 + at];
            *p ^= 0x41;
            sweep_once(&f, path, bytes, n, good, &refused);
            *p ^= 0x41;
            tries++;
        }
    }
    assert_true(refused > 100);
    refused = 0;
    for (unsigned i = 0; i < 500; i++) {
        char *p;
        char was;
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        p = &bytes[8192 + (seed >> 20) % (n - 8192)];
        if (i % 2) /* page heads and offsets matter most */
            p = &bytes[8192 + (seed >> 20) % ((n - 8192) / 4096) * 4096 + (seed >> 9) % 64];
        was = *p;
        *p = (char)(was ^ (1 << (seed >> 60) % 8));
        sweep_once(&f, path, bytes, n, good, &refused);
        *p = was;
    }
    assert_true(refused > 90);
    /* cut short, anywhere */
    for (unsigned i = 1; i < 30; i++) {
        struct error err = {0};
        spill(path, bytes, n * i / 30);
        if (fx_try_open(&f, &err) == 0) { /* only free pages were lost */
            assert_true(str_eq(dump(&f, &a), good));
            fx_close(&f);
        }
        error_fini(&err);
    }
    spill(path, bytes, n);
    fx_open(&f);
    assert_true(str_eq(dump(&f, &a), good));
    free(bytes);
    arena_fini(&a);
    fx_fini(&f);
}

static void copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    size_t n;
    char *bytes = slurp(path_in(from_dir, name), &n);

    spill(path_in(to_dir, name), bytes, n);
    free(bytes);
}

static bool no_checkpoint(void *arg)
{
    return !CONTAINER_OF(arg, struct store_lmdb, base)->ckpt_running;
}

/* Until the store's files keep still: a copy of the database from the middle of a checkpoint is
 * torn, and one from before it lacks what the journals were emptied of. */
static void wait_for_checkpoint(struct fx *f)
{
    assert_true(rt_run_until(f->rt, no_checkpoint, f->b, 20 * NSEC_PER_SEC));
}

/* The journal as a crash leaves it: copied from under an open store. */
static void test_journal_damage(void **state)
{
    static const char *const names[] = {"data.mdb", "journal.0", "journal.1"};
    struct fx f, g;
    struct arena a = {0};
    struct str all, but_last;
    unsigned refused = 0, shorter = 0;
    const char *path;
    size_t n;
    char *bytes;

    fx_init(&f, FX_LMDB);
    f.journal_bytes = 20 * 4096; /* both files are in use */
    fx_open(&f);
    for (unsigned i = 0; i < 53; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i % 17);
        if (i == 22)
            fx_del_now(&f, "a", name);
        else
            fx_put_now(&f, "a", name, "v", i < 17 || i == 39 ? STORE_ABSENT : STORE_ANY);
        wait_for_checkpoint(&f);
    }
    but_last = dump(&f, &a);
    fx_put_now(&f, "a", "last", "v", STORE_ABSENT);
    wait_for_checkpoint(&f);
    all = dump(&f, &a);
    fx_init(&g, FX_LMDB);
    for (unsigned i = 0; i < 3; i++)
        copy_file(f.dir, g.dir, names[i]);
    fx_open(&g); /* the copy is good */
    assert_true(str_eq(dump(&g, &a), all));
    fx_close(&g);
    for (unsigned file = 1; file < 3; file++) {
        bytes = slurp(path_in(f.dir, names[file]), &n);
        for (size_t at = 0; at < n; at += at % 4096 < 96 ? 5 : 4096 - at % 4096) {
            struct error err = {0};
            char was = bytes[at], *after;
            size_t after_n;
            copy_file(f.dir, g.dir, "data.mdb");
            copy_file(f.dir, g.dir, names[3 - file]);
            bytes[at] ^= 0x10;
            path = path_in(g.dir, names[file]);
            spill(path, bytes, n);
            if (fx_try_open(&g, &err) == 0) {
                struct str now = dump(&g, &a);
                /* the last write cannot be told from one that was cut off by a crash */
                assert_true(str_eq(now, all) || str_eq(now, but_last));
                shorter += !str_eq(now, all);
                fx_close(&g);
            } else {
                assert_true(str_search(err.message, STR("cannot be used")) >= 0);
                after = slurp(path_in(g.dir, names[file]), &after_n);
                assert_int_equal(after_n, n);
                assert_memory_equal(after, bytes, n);
                free(after);
                refused++;
            }
            error_fini(&err);
            bytes[at] = was;
        }
        free(bytes);
    }
    print_message("refused %u, last write lost %u\n", refused, shorter);
    assert_true(refused > 100);
    assert_true(shorter < 200);
    /* cut off anywhere: a prefix of the history, never nonsense */
    for (unsigned i = 0; i < 40; i++) {
        struct error err = {0};
        bytes = slurp(path_in(f.dir, names[1]), &n);
        for (unsigned k = 0; k < 3; k++)
            copy_file(f.dir, g.dir, names[k]);
        spill(path_in(g.dir, names[1]), bytes, n * i / 40);
        free(bytes);
        if (fx_try_open(&g, &err) == 0) {
            assert_true(store_rev(g.s) <= 54);
            fx_put_now(&g, "a", "more", "v", STORE_ABSENT);
            fx_close(&g);
        }
        error_fini(&err);
    }
    arena_fini(&a);
    fx_fini(&f);
    fx_fini(&g);
}

static void test_other_databases(void **state)
{
    struct fx f;
    size_t n;
    char *bytes, *at;
    const char *path;

    fx_init(&f, FX_LMDB);
    fx_open(&f);
    fx_put_now(&f, "a", "x", "1", STORE_ABSENT);
    fx_close(&f);
    path = path_in(f.dir, "data.mdb");
    bytes = slurp(path, &n);
    /* another magic, a newer format: in the newest copy of the head record and all others */
    for (at = bytes; (at = memmem(at, n - (size_t)(at - bytes), "davit-store", 12)); at += 12)
        at[0] = 'X';
    spill(path, bytes, n);
    assert_refused(&f, -EBADMSG, "no store of davit");
    for (at = bytes; (at = memmem(at, n - (size_t)(at - bytes), "Xavit-store", 12)); at += 12) {
        at[0] = 'd';
        at[12] = 2;
    }
    spill(path, bytes, n);
    assert_refused(&f, -ENOTSUP, "use the newer davit");
    free(bytes);
    fx_fini(&f);
}

/* ---- sealing ---- */

struct seal_ctx {
    char key, older; /* what seal uses; what open takes too. 0: none */
    const char *resource;
    size_t renewed;
};

static bool seal_wants(void *ctx, struct str resource)
{
    return str_eqz(resource, ((struct seal_ctx *)ctx)->resource);
}

static int seal_do(void *ctx, struct str plain, struct str bound, struct buf *out)
{
    buf_add_char(out, ((struct seal_ctx *)ctx)->key);
    buf_add_char(out, (char)hash_fnv1a32(bound.p, bound.n));
    for (size_t i = 0; i < plain.n; i++)
        buf_add_char(out, (char)(plain.p[i] ^ 0x55));
    return 0;
}

static int seal_undo(void *ctx, struct str sealed, struct str bound, bool named, struct buf *out,
                     bool *ret_stale)
{
    struct seal_ctx *s = ctx;

    if (!named || sealed.n < 2 || sealed.p[1] != (char)hash_fnv1a32(bound.p, bound.n))
        return -EBADMSG;
    if (sealed.p[0] != s->key && sealed.p[0] != s->older)
        return -ENOKEY;
    *ret_stale = sealed.p[0] != s->key;
    for (size_t i = 2; i < sealed.n; i++)
        buf_add_char(out, (char)(sealed.p[i] ^ 0x55));
    return 0;
}

static void seal_renewed(void *ctx, size_t records)
{
    ((struct seal_ctx *)ctx)->renewed += records;
}

static bool is_on_disk(struct fx *f, const char *text)
{
    static const char *const files[] = {"data.mdb", "journal.0", "journal.1"};
    bool found = false;

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        size_t n;
        char *bytes = slurp(path_in(f->dir, files[i]), &n);
        found |= memmem(bytes, n, text, strlen(text)) != NULL;
        free(bytes);
    }
    return found;
}

/* As it is on disk: the text, with every byte changed as seal_do does. */
static bool is_sealed_on_disk(struct fx *f, char key, const char *text)
{
    char want[64] = {key};
    size_t n;
    bool found = false;
    char *bytes = slurp(path_in(f->dir, "data.mdb"), &n);

    for (size_t i = 0; i < strlen(text); i++)
        want[i] = (char)(text[i] ^ 0x55);
    found = memmem(bytes, n, want, strlen(text)) != NULL;
    free(bytes);
    return found;
}

static void test_sealing(void **state)
{
    struct fx f;
    struct seal_ctx ctx = {.key = 'k', .resource = "/configmaps"};
    struct store_seal seal = {&ctx, seal_wants, seal_do, seal_undo, seal_renewed};

    fx_init(&f, FX_LMDB);
    f.seal = &seal;
    fx_open(&f);
    fx_put_now(&f, "a", "x", "swordfish", STORE_ABSENT);
    assert_false(is_on_disk(&f, "swordfish")); /* in the journal */
    fx_close(&f);
    assert_false(is_on_disk(&f, "swordfish")); /* in the database */
    fx_open(&f);
    assert_str(fx_value(store_get(f.s, CM, STR("a"), STR("x"))), "swordfish");
    fx_close(&f);
    assert_int_equal(ctx.renewed, 0);
    ctx.key = 'q';
    assert_refused(&f, -EBADMSG, "encrypted with a key that is missing");
    f.seal = NULL;
    assert_refused(&f, -EBADMSG, "there is no key");
    fx_fini(&f);
}

static bool is_renewed(void *arg)
{
    return ((struct seal_ctx *)arg)->renewed > 0;
}

/* What lay open, and what was sealed with an older key, is sealed anew after an open; nothing of
 * before is left, revisions stay, and it is done once. */
static void test_sealing_anew(void **state)
{
    struct fx f;
    struct seal_ctx ctx = {.key = 'k', .resource = "/configmaps"};
    struct store_seal seal = {&ctx, seal_wants, seal_do, seal_undo, seal_renewed};
    rev_t rev;

    fx_init(&f, FX_LMDB);
    fx_open(&f);
    for (int i = 0; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof(name), "x%d", i);
        fx_put_now(&f, "a", name, "swordfish", STORE_ABSENT);
    }
    assert_true(is_on_disk(&f, "swordfish"));
    rev = store_rev(f.s);
    fx_close(&f);
    f.seal = &seal;
    fx_open(&f);
    assert_true(rt_run_until(f.rt, is_renewed, &ctx, 20 * NSEC_PER_SEC));
    assert_int_equal(ctx.renewed, 20);
    assert_false(is_on_disk(&f, "swordfish"));
    assert_true(is_sealed_on_disk(&f, 'k', "swordfish"));
    assert_int_equal(store_rev(f.s), rev);
    fx_put_now(&f, "a", "y", "clownfish", STORE_ABSENT);
    fx_close(&f);
    /* a new key; the old one is needed once more */
    ctx = (struct seal_ctx){.key = 'q', .older = 'k', .resource = "/configmaps"};
    fx_open(&f);
    assert_true(rt_run_until(f.rt, is_renewed, &ctx, 20 * NSEC_PER_SEC));
    assert_int_equal(ctx.renewed, 21);
    fx_close(&f);
    ctx = (struct seal_ctx){.key = 'q', .resource = "/configmaps"};
    fx_open(&f);
    assert_str(fx_value(store_get(f.s, CM, STR("a"), STR("x7"))), "swordfish");
    assert_str(fx_value(store_get(f.s, CM, STR("a"), STR("y"))), "clownfish");
    fx_close(&f);
    assert_int_equal(ctx.renewed, 0);
    /* a kind that is no longer to be sealed stays as it is, and readable */
    ctx.resource = "/secrets";
    fx_open(&f);
    assert_str(fx_value(store_get(f.s, CM, STR("a"), STR("x7"))), "swordfish");
    fx_put_now(&f, "a", "x7", "swordfish", STORE_ANY);
    fx_close(&f);
    assert_true(is_on_disk(&f, "swordfish"));
    fx_fini(&f);
}

/* ---- space ---- */

static void test_map_grows(void **state)
{
    struct fx f;
    struct arena a = {0};
    struct str before;

    fx_init(&f, FX_LMDB);
    f.map_bytes = 64 * 1024;
    fx_open(&f);
    fill(&f, 400);
    before = dump(&f, &a);
    fx_close(&f);
    fx_open(&f);
    assert_true(str_eq(dump(&f, &a), before));
    arena_fini(&a);
    fx_fini(&f);
}

/* In a child with a mount namespace of its own: a tmpfs of 2 MB. */
static void full_disk_child(const char *dir)
{
    struct fx f;
    struct fx_write w = {0};
    struct store_stats st;
    char name[24], value[20001], *hog;
    unsigned n = 0;
    int fd;

    assert_int_equal(mount("davit-test", dir, "tmpfs", 0, "size=2m"), 0);
    fx_init(&f, FX_LMDB);
    fx_rm(f.dir);
    snprintf(f.dir, sizeof(f.dir), "%s/s", dir);
    fx_open(&f);
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (;; n++) {
        snprintf(name, sizeof(name), "n%05u", n);
        w = (struct fx_write){0};
        assert_int_equal(fx_put(&f, "a", name, value, STORE_ABSENT, &w, NULL), 0);
        fx_wait(&f, &w.done);
        if (w.r < 0)
            break;
        assert_true(n < 1000);
    }
    assert_int_equal(w.r, -ENOSPC);
    assert_int_equal(w.reason, REASON_STORAGE_FULL);
    assert_true(n > 10);
    assert_false(store_failed(f.s));
    assert_int_equal(store_count(f.s, CM), n);
    assert_non_null(store_get(f.s, CM, STR("a"), STR("n00003")));
    for (unsigned i = 0; i < 20; i++) { /* stays so */
        w = (struct fx_write){0};
        assert_int_equal(fx_put(&f, "a", name, value, STORE_ABSENT, &w, NULL), 0);
        fx_wait(&f, &w.done);
        assert_int_equal(w.r, -ENOSPC);
    }
    store_stats(f.s, &st);
    assert_int_equal(st.objects, n);
    /* room again, also for a checkpoint that may run beside */
    assert_int_equal(mount("davit-test", dir, "tmpfs", MS_REMOUNT, "size=16m"), 0);
    fx_put_now(&f, "a", name, value, STORE_ABSENT);
    n++;
    /* another program eats the rest; even deletes may fail then, but never half */
    hog = xcalloc(1, 16 << 20);
    fd = open(path_in(dir, "hog"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, hog, 16 << 20) > 0)
        ;
    (void)close(fd);
    free(hog);
    w = (struct fx_write){0};
    for (unsigned i = 0; i < 1000 && w.r == 0; i++, n += w.r == 0) {
        snprintf(name, sizeof(name), "m%05u", i);
        w = (struct fx_write){0};
        assert_int_equal(fx_put(&f, "a", name, value, STORE_ABSENT, &w, NULL), 0);
        fx_wait(&f, &w.done);
    }
    assert_int_equal(w.r, -ENOSPC);
    assert_int_equal(unlink(path_in(dir, "hog")), 0);
    fx_close(&f);
    fx_open(&f);
    assert_int_equal(store_count(f.s, CM), n);
    assert_int_equal(store_rev(f.s), n);
    fx_fini(&f);
}

static void test_full_disk(void **state)
{
    char dir[] = "/tmp/davit-store-full.XXXXXX";
    int status;
    pid_t pid;

    assert_non_null(mkdtemp(dir));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(77); /* not permitted here */
        full_disk_child(dir);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)rmdir(dir);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- kinds that are declared at run time ---- */

static void gear_write(struct fx *f, const struct schema_kind *k, const char *name, rev_t expected,
                       bool is_delete)
{
    struct custom_object o = {.metadata = {.namespace = STR("default"), .name = str_z(name)},
                              .rest = STR("{\"spec\":{\"n\":1}}")};
    struct fx_write w = {0};
    int r = is_delete
                ? store_delete(f->s, k, STR("default"), str_z(name), expected, fx_written, &w, NULL)
                : store_put(f->s, k, &o, expected, fx_written, &w, NULL);

    assert_int_equal(r, 0);
    fx_wait(f, &w.done);
    assert_int_equal(w.r, 0);
}

/* Who declares a kind is found only when all is loaded: its objects wait until somebody knows them,
 * and are still there when nobody does. */
static void test_declared_kinds(void **state)
{
    const struct schema_kind *gears =
        custom_stored_kind(STR("acme.io"), STR("gears"), STR("Gear"), STR("v1"), true);
    const struct schema_kind *nuts =
        custom_stored_kind(STR("acme.io"), STR("nuts"), STR("Nut"), STR("v1"), true);
    struct store_stats st;
    struct fx f;

    fx_init(&f, FX_LMDB);
    fx_open(&f);
    gear_write(&f, gears, "a", STORE_ABSENT, false);
    gear_write(&f, gears, "b", STORE_ABSENT, false);
    gear_write(&f, nuts, "c", STORE_ABSENT, false);
    for (int life = 0; life < 2; life++) {
        fx_close(&f);
        fx_open(&f);
        store_stats(f.s, &st);
        assert_int_equal(st.unknown_records, 3);
        assert_null(store_get(f.s, gears, STR("default"), STR("a")));
    }
    assert_ok(store_adopt(f.s, gears, NULL));
    store_stats(f.s, &st);
    assert_int_equal(st.unknown_records, 1);
    assert_int_equal(store_count(f.s, gears), 2);
    struct object *o = store_get(f.s, gears, STR("default"), STR("b"));
    assert_non_null(o);
    assert_str(OBJECT_MSG(o, custom_object)->rest, "{\"spec\":{\"n\":1}}");
    gear_write(&f, gears, "b", o->rev, true);
    o = store_get(f.s, gears, STR("default"), STR("a"));
    assert_ptr_equal(o->kind, gears);
    gear_write(&f, custom_variant(gears, STR("v2")), "a", o->rev, false);
    fx_close(&f);
    fx_open(&f);
    assert_ok(store_adopt(f.s, gears, NULL));
    assert_ok(store_adopt(f.s, nuts, NULL));
    assert_int_equal(store_count(f.s, gears), 1);
    o = store_get(f.s, gears, STR("default"), STR("a"));
    assert_string_equal(o->kind->api_version, "acme.io/v2"); /* the record says so */
    assert_int_equal(store_count(f.s, nuts), 1);
    fx_fini(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_server),
        cmocka_unit_test(test_foreign_directory),
        cmocka_unit_test(test_interrupted_creation),
        cmocka_unit_test(test_damage_sweep),
        cmocka_unit_test(test_journal_damage),
        cmocka_unit_test(test_other_databases),
        cmocka_unit_test(test_sealing),
        cmocka_unit_test(test_sealing_anew),
        cmocka_unit_test(test_map_grows),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_declared_kinds),
    };

    if (access("/dev/shm", W_OK) == 0) /* thousands of openings; nothing here depends on the disk */
        fx_base = "/dev/shm";
    return cmocka_run_group_tests_name("store/lmdb", tests, NULL, NULL);
}
