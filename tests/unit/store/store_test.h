/* Helpers of the store's tests: a store on any backend, small objects, a recording watch. */
#pragma once

#include "base/mem.h"
#include "rt/sim.h"
#include "store/store_lmdb.h"
#include "store/store_mem.h"
#include "test.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#define CM   schema_kinds[KIND_CONFIG_MAP]
#define NODE schema_kinds[KIND_NODE]

enum fx_backend {
    FX_MEM_SIM,
    FX_MEM_UV,
    FX_LMDB,
    FX_LMDB_TINY, /* a checkpoint after each commit */
};

struct fx {
    enum fx_backend backend;
    struct rt *rt;
    struct store_disk *disk;
    char dir[64]; /* of LMDB; made and removed by the fixture */
    struct store_opts opts;
    struct store_seal *seal;
    size_t map_bytes;
    uint64_t journal_bytes;
    struct store_backend *b; /* of s */
    struct store *s;
};

static const char *fx_base; /* where the directories are made; NULL: /tmp */

static int fx_rm_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
    return remove(path);
}

static inline void fx_rm(const char *dir)
{
    (void)nftw(dir, fx_rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int fx_try_open(struct fx *f, struct error *err)
{
    struct store_lmdb_opts lo = {.dir = f->dir,
                                 .seal = f->seal,
                                 .map_bytes = f->map_bytes,
                                 .journal_bytes =
                                     f->backend == FX_LMDB_TINY ? 1 : f->journal_bytes};

    f->b = f->backend >= FX_LMDB ? store_lmdb_new(&lo) : store_mem_new(f->disk);
    return store_open(f->rt, f->b, &f->opts, &f->s, err);
}

static inline void fx_open(struct fx *f)
{
    struct error err = {0};
    int r = fx_try_open(f, &err);

    if (r < 0)
        print_error("store_open: %.*s\n", STR_ARG(err.message));
    assert_int_equal(r, 0);
}

static inline void fx_init(struct fx *f, enum fx_backend backend)
{
    *f = (struct fx){.backend = backend};
    f->rt = backend == FX_MEM_SIM ? rt_sim_new(7, 1700000000000000) : rt_uv_new();
    assert_non_null(f->rt);
    f->disk = store_disk_new();
    snprintf(f->dir, sizeof(f->dir), "%s/davit-store-test.XXXXXX", fx_base ? fx_base : "/tmp");
    assert_non_null(mkdtemp(f->dir));
}

static inline bool fx_true(void *arg)
{
    return *(bool *)arg;
}

static inline void fx_wait(struct fx *f, bool *flag)
{
    assert_true(rt_run_until(f->rt, fx_true, flag, 20 * NSEC_PER_SEC));
}

static inline bool fx_never(void *arg)
{
    return false;
}

/* Lets the loop do what it has to do. */
static inline void fx_settle(struct fx *f)
{
    for (int i = 0; i < 30; i++) /* as many turns, however late this process gets a processor */
        (void)!rt_run_until(f->rt, fx_never, NULL, NSEC_PER_MSEC);
}

static inline void fx_set(void *arg)
{
    *(bool *)arg = true;
}

static inline void fx_close(struct fx *f)
{
    bool closed = false;

    store_close(f->s, fx_set, &closed);
    assert_false(closed);
    fx_wait(f, &closed);
    f->s = NULL;
}

static inline void fx_fini(struct fx *f)
{
    if (f->s)
        fx_close(f);
    (void)store_disk_free(f->disk);
    f->rt = rt_free(f->rt);
    fx_rm(f->dir);
}

/* ---- writes ---- */

struct fx_write {
    bool done;
    int r;
    rev_t rev;
    enum error_reason reason;
    unsigned calls;
};

static inline void fx_written(void *arg, int r, struct object *o, const struct error *err)
{
    struct fx_write *w = arg;

    w->done = true;
    w->calls++;
    w->r = r;
    w->rev = o ? o->rev : 0;
    w->reason = err ? err->reason : 0;
    assert_true((r == 0) == (o != NULL));
    assert_true((r == 0) == (err == NULL));
}

static inline struct api_config_map fx_cm(struct str ns, struct str name, struct kv_str *data)
{
    return (struct api_config_map){
        .metadata = {.namespace = ns, .name = name}, .data = data, .n_data = data ? 1 : 0};
}

static inline int fx_put(struct fx *f, const char *ns, const char *name, const char *value,
                         rev_t expected, struct fx_write *w, struct error *err)
{
    struct kv_str kv = {str_z("key"), str_z(value)};
    struct api_config_map cm = fx_cm(str_z(ns), str_z(name), &kv);

    return store_put(f->s, CM, &cm, expected, w ? fx_written : NULL, w, err);
}

static inline int fx_del(struct fx *f, const char *ns, const char *name, rev_t expected,
                         struct fx_write *w, struct error *err)
{
    return store_delete(f->s, CM, str_z(ns), str_z(name), expected, w ? fx_written : NULL, w, err);
}

/* Writes and waits. */
static inline rev_t fx_put_now(struct fx *f, const char *ns, const char *name, const char *value,
                               rev_t expected)
{
    struct fx_write w = {0};

    assert_int_equal(fx_put(f, ns, name, value, expected, &w, NULL), 0);
    fx_wait(f, &w.done);
    assert_int_equal(w.r, 0);
    return w.rev;
}

static inline rev_t fx_del_now(struct fx *f, const char *ns, const char *name)
{
    struct fx_write w = {0};

    assert_int_equal(fx_del(f, ns, name, STORE_ANY, &w, NULL), 0);
    fx_wait(f, &w.done);
    assert_int_equal(w.r, 0);
    return w.rev;
}

static inline struct str fx_value(const struct object *o)
{
    const struct api_config_map *cm = OBJECT_MSG(o, api_config_map);

    return cm->n_data ? cm->data[0].value : STR_NONE;
}

/* "a/x=1 b/y=2" */
static inline struct str fx_list(struct fx *f, struct arena *a, struct str ns, rev_t at)
{
    struct store_iter it;
    struct object *o;
    struct buf b = {0};
    struct str s;

    assert_int_equal(store_iter_init(&it, f->s, CM, ns, at, STR_NONE, STR_NONE), 0);
    size_t left = store_iter_left(&it);
    while ((o = store_iter_next(&it))) {
        buf_printf(&b, "%s%.*s/%.*s=%.*s", b.n ? " " : "", STR_ARG(object_ns(o)),
                   STR_ARG(object_name(o)), STR_ARG(fx_value(o)));
        assert_int_equal(store_iter_left(&it), --left);
    }
    assert_int_equal(left, 0);
    store_iter_fini(&it);
    s = arena_str(a, b.n ? buf_str(&b) : STR(""));
    buf_fini(&b);
    return s;
}

/* ---- watches ---- */

struct fx_watch {
    struct store_watch w;
    struct buf log; /* "+a/x=1 *a/x=2 -a/x@4 " */
    rev_t last;
    unsigned batches;
};

static inline void fx_events(void *arg, const struct store_event *ev, size_t n)
{
    struct fx_watch *w = arg;

    assert_true(n > 0);
    w->batches++;
    for (size_t i = 0; i < n; i++) {
        struct object *o = ev[i].object;
        assert_true(ev[i].rev > w->last);
        assert_int_equal(ev[i].rev, o->rev);
        assert_true((ev[i].prev == NULL) == (ev[i].type == STORE_EVENT_ADDED));
        w->last = ev[i].rev;
        buf_printf(&w->log, "%c%.*s/%.*s=%.*s ", "+*-"[ev[i].type], STR_ARG(object_ns(o)),
                   STR_ARG(object_name(o)), STR_ARG(fx_value(o)));
    }
}

static inline int fx_watch(struct fx *f, struct fx_watch *w, const char *ns, rev_t from)
{
    *w = (struct fx_watch){.last = from};
    return store_watch_start(&w->w, f->s, CM, str_z(ns), from, fx_events, w);
}

static inline void fx_watch_end(struct fx_watch *w)
{
    store_watch_stop(&w->w);
    buf_fini(&w->log);
}
