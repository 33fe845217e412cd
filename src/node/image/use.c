/* Who uses an image, and taking away what nobody uses. A pin is a file named after its holder, so
 * that it outlives the agent just as the container does. Removal goes in two steps that may be
 * interrupted: the row leaves the index (now the image is gone), then a sweep removes layers and
 * blobs that no row names. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/image/store.h"
#include "rt/crypto.h"
#include "sys/fs.h"

#define HOLDER_MAX      200
#define GC_HIGH_PERCENT 85 /* as the kubelet */
#define GC_LOW_PERCENT  80
#define GC_MIN_AGE      (120 * NSEC_PER_SEC)

static int holder_path(struct str holder, char out[static HOLDER_MAX + 8])
{
    if (holder.n == 0 || holder.n > HOLDER_MAX || holder.p[0] == '.')
        return -EINVAL;
    for (size_t i = 0; i < holder.n; i++) {
        char c = holder.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_' || c == '.'))
            return -EINVAL;
    }
    snprintf(out, HOLDER_MAX + 8, "pins/%.*s", STR_ARG(holder));
    return 0;
}

void store_touch(struct image_store *s, const char *id)
{
    char path[16 + SHA256_HEX];
    snprintf(path, sizeof(path), "blobs/sha256/%s", id + 7);
    (void)utimensat(s->dirfd, path, NULL, 0);
}

int64_t store_last_use(struct image_store *s, const char *id)
{
    char path[16 + SHA256_HEX];
    struct stat st;
    snprintf(path, sizeof(path), "blobs/sha256/%s", id + 7);
    return fstatat(s->dirfd, path, &st, 0) < 0 ? 0 : (int64_t)st.st_mtim.tv_sec;
}

/* ---- pins ---- */

int image_pin(struct image_store *s, const struct image *img, struct str holder, struct error *err)
{
    char path[HOLDER_MAX + 8];
    int lock, r = holder_path(holder, path);
    if (r < 0)
        return error_set(err, REASON_INVALID, "\"%.*s\" cannot be the holder of an image",
                         STR_ARG(holder));
    r = index_begin(s, &lock, err);
    if (r < 0)
        return r;
    if (!index_by_id(&s->index, str_z(img->id))) {
        r = error_set(err, REASON_NOT_FOUND, "image %s was removed", img->id);
    } else {
        /* Not synced: after a power cut the container is gone, too. Short enough for one write. */
        CLEANUP(fd_closep)
        int fd = openat(s->dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, img->id, strlen(img->id)) != (ssize_t)strlen(img->id))
            r = error_errno(err, errno, "image store %s/%s", s->dir, path);
        else
            store_touch(s, img->id);
    }
    index_end(s, lock);
    return r;
}

void image_unpin(struct image_store *s, struct str holder)
{
    char path[HOLDER_MAX + 8], *id = NULL;
    size_t n = 0;
    if (holder_path(holder, path) < 0)
        return;
    if (sys_read_file(s->dirfd, path, 256, &id, &n) == 0 && digest_valid((struct str){id, n}))
        store_touch(s, id);
    free(id);
    (void)unlinkat(s->dirfd, path, 0);
}

typedef void (*pin_fn)(void *arg, const char *holder, const char *id);

static int each_pin(struct image_store *s, pin_fn fn, void *arg)
{
    int fd = openat(s->dirfd, "pins", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return -errno;
    struct dirent *e;
    while ((e = readdir(d))) {
        char *id = NULL;
        if (e->d_name[0] == '.')
            continue;
        if (sys_read_file(fd, e->d_name, 256, &id, NULL) == 0)
            fn(arg, e->d_name, id);
        free(id);
    }
    closedir(d);
    return 0;
}

struct pin_search {
    struct image_store *s;
    const char *id;
    bool found, unknown;
};

static void pin_match(void *arg, const char *holder, const char *id)
{
    struct pin_search *p = arg;
    if (p->id && strcmp(id, p->id) == 0)
        p->found = true;
    if (!index_by_id(&p->s->index, str_z(id)))
        p->unknown = true;
}

bool store_pinned(struct image_store *s, const char *id)
{
    struct pin_search p = {.s = s, .id = id};
    return each_pin(s, pin_match, &p) < 0 || p.found; /* in doubt it is */
}

struct retain {
    struct image_store *s;
    struct map keep;
};

static void retain_one(void *arg, const char *holder, const char *id)
{
    struct retain *r = arg;
    if (!map_get(&r->keep, str_z(holder)))
        image_unpin(r->s, str_z(holder));
}

void image_pins_retain(struct image_store *s, const struct str *holders, size_t n)
{
    struct retain r = {.s = s};
    for (size_t i = 0; i < n; i++)
        map_set(&r.keep, holders[i], s);
    (void)each_pin(s, retain_one, &r);
    map_fini(&r.keep);
}

/* ---- sweep ---- */

static bool live(struct image_store *s, const char *name, bool layers)
{
    struct str hex = str_sub(str_z(name), 0, SHA256_HEX);
    for (size_t i = 0; i < s->index.n_images; i++) {
        const struct index_image *img = &s->index.images[i];
        if (!layers && (str_eqz(hex, img->id + 7) || str_eqz(hex, img->digest + 7)))
            return true;
        for (unsigned j = 0; layers && j < img->n_diff_ids; j++)
            if (str_eqz(hex, img->diff_ids[j] + 7))
                return true;
    }
    return false;
}

/* Moved to tmp/ first: a name in layers/ is always a whole layer. */
static int remove_layer(struct image_store *s, const char *name)
{
    char *tmp = store_tmp_name(s, "gone");
    int r =
        renameat(s->layersfd, name, s->tmpfd, tmp) < 0 ? -errno : sys_remove_tree(s->tmpfd, tmp);
    free(tmp);
    return r;
}

enum sweep {
    SWEEP_LAYERS, /* the directories */
    SWEEP_SIZES,  /* the files beside them; after them, for they tell how much was freed */
    SWEEP_BLOBS,
};

static int sweep_layer(struct image_store *s, const char *name, uint64_t *bytes)
{
    char id[DIGEST_BYTES + 1];
    if (snprintf(id, sizeof(id), "sha256:%.64s", name) != DIGEST_BYTES)
        return 0; /* no name of ours */
    *bytes += store_layer_size(s, id);
    return remove_layer(s, name);
}

static int sweep_dir(struct image_store *s, const char *dir, enum sweep what, uint64_t *bytes)
{
    int fd = openat(s->dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return -errno;
    int removed = 0, r = 0;
    struct dirent *e;
    while (r == 0 && (e = readdir(d))) {
        if (e->d_name[0] == '.' || live(s, e->d_name, what != SWEEP_BLOBS))
            continue;
        bool whole = strlen(e->d_name) == SHA256_HEX;
        if (what == SWEEP_LAYERS && whole) {
            r = sweep_layer(s, e->d_name, bytes);
            removed++;
        } else if (what != SWEEP_LAYERS && unlinkat(fd, e->d_name, 0) < 0 && errno != ENOENT &&
                   errno != EISDIR) {
            r = -errno;
        }
    }
    closedir(d);
    return r < 0 ? r : removed;
}

int store_sweep(struct image_store *s, uint64_t *ret_bytes)
{
    /* A pin of an image that the index lost (it was damaged): its layers may be in use, so keep
     * all. */
    struct pin_search p = {.s = s};
    int r = each_pin(s, pin_match, &p);
    if (r < 0 || p.unknown)
        return r;
    int layers = sweep_dir(s, "layers", SWEEP_LAYERS, ret_bytes);
    if (layers < 0)
        return layers;
    r = sweep_dir(s, "layers", SWEEP_SIZES, ret_bytes);
    if (r >= 0)
        r = sweep_dir(s, "blobs/sha256", SWEEP_BLOBS, ret_bytes);
    return r < 0 ? r : layers;
}

/* 1: swept. 0: somebody is adding; the next collection does it. */
static int try_sweep(struct image_store *s, uint64_t *bytes, struct error *err)
{
    CLEANUP(fd_closep) int lock = store_lock(s, true, false);
    if (lock == -EBUSY)
        return 0;
    int index_lock, r = lock < 0 ? lock : 0;
    if (r == 0)
        r = index_begin(s, &index_lock, err);
    if (r < 0)
        return error_errno(err, -r, "image store %s: lock", s->dir);
    r = store_sweep(s, bytes);
    index_end(s, index_lock);
    return r < 0 ? error_errno(err, -r, "image store %s: removing unused layers", s->dir) : 1;
}

/* ---- remove ---- */

static int remove_row(struct image_store *s, struct index_image *row, const char *name,
                      struct error *err)
{
    unsigned names = 0;
    for (size_t i = 0; i < s->index.n_refs; i++)
        names += strcmp(s->index.refs[i].id, row->id) == 0;
    struct index_ref *ref = name ? index_ref_by_name(&s->index, str_z(name)) : NULL;
    if (ref && names > 1) {
        index_drop_ref(&s->index, ref);
        return 0;
    }
    if (store_pinned(s, row->id))
        return error_set(err, REASON_CONFLICT, "image %s is used by a container",
                         name ? name : row->id);
    index_drop_image(&s->index, row);
    return 0;
}

int image_remove(struct image_store *s, struct str ref, struct error *err)
{
    struct index_image *row = NULL;
    char *name = NULL;
    int lock, r = index_begin(s, &lock, err);
    if (r < 0)
        return r;
    r = image_index_find(&s->index, ref, &row, &name, err);
    if (r == 0)
        r = remove_row(s, row, name, err);
    if (r == 0)
        r = image_index_write(s, err);
    index_end(s, lock);
    free(name);
    uint64_t bytes = 0;
    if (r == 0)
        r = try_sweep(s, &bytes, err);
    return r < 0 ? r : 0;
}

/* ---- collection ---- */

static unsigned used_percent(struct image_store *s)
{
    struct statvfs fs;
    if (fstatvfs(s->dirfd, &fs) < 0 || fs.f_blocks == 0)
        return 0;
    /* As df: blocks reserved for root count as neither used nor free. */
    uint64_t used = fs.f_blocks - fs.f_bfree, all = used + fs.f_bavail;
    return all ? (unsigned)((used * 100 + all - 1) / all) : 0;
}

static bool kept(struct image_store *s, const struct index_image *row,
                 const struct image_gc_opts *o)
{
    for (size_t i = 0; i < o->n_keep; i++) {
        struct index_image *found = NULL;
        if (image_index_find(&s->index, o->keep[i], &found, NULL, NULL) == 0 && found == row)
            return true;
    }
    return false;
}

/* The least recently used image that may go; NULL: none. */
static struct index_image *pick_victim(struct image_store *s, const struct image_gc_opts *o)
{
    struct index_image *best = NULL;
    int64_t best_use = 0, now = (int64_t)time(NULL);
    int64_t min_age_s = (o->min_age ? o->min_age : GC_MIN_AGE) / NSEC_PER_SEC;
    for (size_t i = 0; i < s->index.n_images; i++) {
        struct index_image *row = &s->index.images[i];
        int64_t use = MAX(store_last_use(s, row->id), row->added_s);
        if ((best && use >= best_use) || (!o->all && now - use < min_age_s))
            continue;
        if (store_pinned(s, row->id) || kept(s, row, o))
            continue;
        best = row;
        best_use = use;
    }
    return best;
}

/* 1: one image went, 0: nothing may go. */
static int collect_one(struct image_store *s, const struct image_gc_opts *o, struct error *err)
{
    int lock, r = index_begin(s, &lock, err);
    if (r < 0)
        return r;
    struct index_image *row = pick_victim(s, o);
    if (row) {
        index_drop_image(&s->index, row);
        r = image_index_write(s, err);
    }
    index_end(s, lock);
    return r < 0 ? r : row != NULL;
}

int image_gc(struct image_store *s, const struct image_gc_opts *o, struct image_gc_result *ret,
             struct error *err)
{
    unsigned high = o->high_percent ? o->high_percent : GC_HIGH_PERCENT;
    unsigned low = o->low_percent ? o->low_percent : GC_LOW_PERCENT;
    struct image_gc_result res = {0};
    int r = try_sweep(s, &res.freed_bytes, err);
    bool wanted = o->all || used_percent(s) >= high;
    /* Only while sweeping works: else images would go without any space coming back. */
    while (r == 1 && wanted && (o->all || used_percent(s) > low)) {
        int one = collect_one(s, o, err);
        if (one <= 0) {
            r = one;
            break;
        }
        res.removed++;
        r = try_sweep(s, &res.freed_bytes, err);
    }
    if (r < 0)
        return r;
    res.used_percent = used_percent(s);
    res.short_of_space = !o->all && wanted && res.used_percent > low;
    *ret = res;
    return 0;
}
