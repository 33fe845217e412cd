/* The store on disk (drawn in image.h) and the steps that keep it true: nothing gets its final name
 * before it is whole, checked and synced. Layers are the big things, so two pulls that share one
 * unpack it once. */
#include "node/image/store.h"

#include <stdatomic.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/image/layer.h"
#include "rt/crypto.h"
#include "sys/fs.h"

/* ---- struct image ---- */

struct image *image_ref(struct image *img)
{
    atomic_fetch_add_explicit(&img->refs, 1, memory_order_relaxed);
    return img;
}

struct image *image_unref(struct image *img)
{
    if (!img || atomic_fetch_sub_explicit(&img->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    free(img->id);
    free(img->digest);
    free(img->ref);
    free(img->image_id);
    strv_free(img->tags);
    strv_free(img->digests);
    strv_free(img->layer_dirs);
    image_config_fini(&img->config);
    free(img);
    return NULL;
}

/* The repository part of "repo:tag". */
static struct str repo_of(const char *ref)
{
    struct str s = str_z(ref);
    ssize_t at = str_find(s, '@');
    if (at >= 0)
        return str_sub(s, 0, (size_t)at);
    ssize_t colon = str_rfind(s, ':'), slash = str_rfind(s, '/');
    return colon > slash ? str_sub(s, 0, (size_t)colon) : s;
}

/* The digest under the repository it was asked by, else any, else the id. */
static char *image_id_for(const struct index_image *row, const char *ref)
{
    for (unsigned i = 0; ref && i < row->n_digests; i++)
        if (str_eq(repo_of(row->digests[i]), repo_of(ref)))
            return xstrdup(row->digests[i]);
    return xstrdup(row->n_digests ? row->digests[0] : row->id);
}

int store_build_image(struct image_store *s, const struct index_image *row, const char *ref,
                      struct image **ret, struct error *err)
{
    char *text = NULL;
    size_t n = 0;
    int r = store_read_blob(s, row->id, CONFIG_BYTES_MAX, &text, &n);
    if (r < 0)
        return error_errno(err, -r, "image %s: configuration", row->id);
    struct config c = {0};
    r = config_parse((struct str){text, n}, &c, err);
    free(text);
    if (r < 0)
        return r;
    struct image *img = NEW(struct image);
    unsigned n_tags = 0, n_digests = 0;
    img->refs = 1;
    img->id = xstrdup(row->id);
    img->digest = xstrdup(row->digest);
    img->tags = strv_new();
    img->digests = strv_new();
    img->layer_dirs = strv_new();
    for (size_t i = 0; i < s->index.n_refs; i++)
        if (strcmp(s->index.refs[i].id, row->id) == 0)
            strv_add(&img->tags, &n_tags, xstrdup(s->index.refs[i].ref));
    for (unsigned i = 0; i < row->n_digests; i++)
        strv_add(&img->digests, &n_digests, xstrdup(row->digests[i]));
    for (unsigned i = 0; i < row->n_diff_ids; i++)
        strv_add(&img->layer_dirs, &img->n_layers,
                 xasprintf("%s/layers/%s", s->dir, row->diff_ids[i] + 7));
    img->ref = xstrdup(ref ? ref : n_tags ? img->tags[0] : n_digests ? img->digests[0] : img->id);
    img->image_id = image_id_for(row, img->ref);
    img->size_bytes = row->size_bytes;
    img->config = c.run;
    c.run = (struct image_config){0};
    config_fini(&c);
    *ret = img;
    return 0;
}

/* ---- open and close ---- */

static int clean_stale(struct image_store *s)
{
    int fd = openat(s->dirfd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return -errno;
    struct dirent *e;
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        CLEANUP(fd_closep) int sub = openat(fd, e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (sub >= 0 && flock(sub, LOCK_EX | LOCK_NB) < 0)
            continue; /* a live process works there */
        int r = sys_remove_tree(fd, e->d_name);
        if (r < 0)
            log_warn("image store %s: tmp/%s: %s", s->dir, e->d_name, strerror(-r));
    }
    closedir(d);
    return 0;
}

static int make_tmp(struct image_store *s)
{
    char token[13];
    crypto_random_token(token, 12);
    s->tmp_name = xasprintf("tmp/%s", token);
    if (mkdirat(s->dirfd, s->tmp_name, 0700) < 0)
        return -errno;
    s->tmpfd = openat(s->dirfd, s->tmp_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->tmpfd < 0 || flock(s->tmpfd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

static int make_dirs(struct image_store *s, struct error *err)
{
    static const char *const dirs[] = {"blobs", "blobs/sha256", "layers", "pins", "tmp"};
    int r = sys_mkdir_all(s->dir, 0700);
    s->dirfd = r < 0 ? -1 : open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0)
        return error_errno(err, r < 0 ? -r : errno, "image store %s", s->dir);
    char *absolute = realpath(s->dir, NULL);
    if (absolute) {
        free(s->dir);
        s->dir = absolute;
    }
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        if (mkdirat(s->dirfd, dirs[i], 0700) < 0 && errno != EEXIST)
            return error_errno(err, errno, "image store %s/%s", s->dir, dirs[i]);
    s->layersfd = openat(s->dirfd, "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->layersfd < 0)
        return error_errno(err, errno, "image store %s/layers", s->dir);
    return 0;
}

int image_store_open(const struct image_store_opts *opts, struct image_store **ret,
                     struct error *err)
{
    struct image_store *s = NEW(struct image_store);
    unsigned n = 0;
    s->dirfd = s->layersfd = s->tmpfd = -1;
    s->rt = opts->rt;
    s->dir = xstrdup(opts->dir);
    s->insecure = strv_new();
    s->unpacking = strv_new();
    s->ca_file = opts->ca_file ? xstrdup(opts->ca_file) : NULL;
    for (size_t i = 0; opts->insecure && opts->insecure[i]; i++)
        strv_add(&s->insecure, &n, xstrdup(opts->insecure[i]));
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->unpacked, NULL);
    int lock = -1, r = make_dirs(s, err);
    if (r == 0)
        r = index_begin(s, &lock, err);
    if (r == 0) {
        /* Under index.lock: nobody else is between making its directory and locking it. */
        r = clean_stale(s);
        if (r == 0)
            r = make_tmp(s);
        if (r < 0)
            r = error_errno(err, -r, "image store %s/tmp", s->dir);
        index_end(s, lock);
    }
    if (r < 0) {
        image_store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void image_store_cancel(struct image_store *s)
{
    s->cancelled = true;
}

struct image_store *image_store_close(struct image_store *s)
{
    if (!s)
        return NULL;
    if (s->pulls.n) {
        /* Their threads still use it. The process is about to end; tmp/ is cleaned by the next
         * open. */
        image_store_cancel(s);
        return NULL;
    }
    if (s->tmpfd >= 0) {
        (void)sys_remove_tree(s->dirfd, s->tmp_name);
        close(s->tmpfd);
    }
    if (s->layersfd >= 0)
        close(s->layersfd);
    if (s->dirfd >= 0)
        close(s->dirfd);
    image_index_fini(&s->index);
    map_fini(&s->pulls);
    strv_free(s->insecure);
    strv_free(s->unpacking);
    pthread_mutex_destroy(&s->mu);
    pthread_cond_destroy(&s->unpacked);
    free(s->tmp_name);
    free(s->ca_file);
    free(s->dir);
    free(s);
    return NULL;
}

int store_lock(struct image_store *s, bool exclusive, bool wait)
{
    int fd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    while (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB)) < 0) {
        if (errno == EINTR)
            continue;
        int r = errno == EWOULDBLOCK ? -EBUSY : -errno;
        close(fd);
        return r;
    }
    return fd;
}

char *store_tmp_name(struct image_store *s, const char *what)
{
    return xasprintf("%s-%u", what, s->tmp_counter++);
}

/* ---- blobs ---- */

int store_put_blob(struct image_store *s, const char *digest, struct str data, struct error *err)
{
    char hex[SHA256_HEX + 1], path[16 + SHA256_HEX];
    sha256_hex_of(data, hex);
    if (strcmp(hex, digest + 7) != 0)
        return error_set(err, REASON_INVALID, "digest mismatch: expected %s, got sha256:%s", digest,
                         hex);
    snprintf(path, sizeof(path), "blobs/sha256/%s", hex);
    if (faccessat(s->dirfd, path, F_OK, 0) == 0)
        return 0;
    int r = sys_write_file(s->dirfd, path, data.p, data.n, 0600);
    return r < 0 ? error_errno(err, -r, "image store %s/%s", s->dir, path) : 0;
}

int store_read_blob(struct image_store *s, const char *digest, size_t max, char **ret,
                    size_t *ret_n)
{
    char path[16 + SHA256_HEX];
    snprintf(path, sizeof(path), "blobs/sha256/%s", digest + 7);
    return sys_read_file(s->dirfd, path, max, ret, ret_n);
}

/* ---- layers ---- */

bool store_has_layer(struct image_store *s, const char *diff_id)
{
    return faccessat(s->layersfd, diff_id + 7, F_OK, 0) == 0;
}

bool store_complete(struct image_store *s, const struct index_image *img)
{
    char path[16 + SHA256_HEX];
    snprintf(path, sizeof(path), "blobs/sha256/%s", img->id + 7);
    if (faccessat(s->dirfd, path, F_OK, 0) < 0)
        return false;
    for (unsigned i = 0; i < img->n_diff_ids; i++)
        if (!store_has_layer(s, img->diff_ids[i]))
            return false;
    return true;
}

static ssize_t unpacking_index(const struct image_store *s, const char *diff_id)
{
    for (unsigned i = 0; i < s->n_unpacking; i++)
        if (strcmp(s->unpacking[i], diff_id) == 0)
            return i;
    return -1;
}

int store_layer_begin(struct image_store *s, const char *diff_id)
{
    pthread_mutex_lock(&s->mu);
    while (unpacking_index(s, diff_id) >= 0)
        pthread_cond_wait(&s->unpacked, &s->mu);
    bool there = store_has_layer(s, diff_id);
    if (!there) {
        s->unpacking = xrealloc(s->unpacking, (s->n_unpacking + 2) * sizeof(char *));
        s->unpacking[s->n_unpacking++] = xstrdup(diff_id);
        s->unpacking[s->n_unpacking] = NULL;
    }
    pthread_mutex_unlock(&s->mu);
    return there ? 1 : 0;
}

void store_layer_end(struct image_store *s, const char *diff_id)
{
    pthread_mutex_lock(&s->mu);
    ssize_t i = unpacking_index(s, diff_id);
    ASSERT(i >= 0);
    free(s->unpacking[i]);
    s->unpacking[i] = s->unpacking[--s->n_unpacking];
    s->unpacking[s->n_unpacking] = NULL;
    pthread_cond_broadcast(&s->unpacked);
    pthread_mutex_unlock(&s->mu);
}

uint64_t store_layer_size(struct image_store *s, const char *diff_id)
{
    char name[SHA256_HEX + 8], *text = NULL;
    uint64_t size = 0;
    snprintf(name, sizeof(name), "%s.size", diff_id + 7);
    if (sys_read_file(s->layersfd, name, 64, &text, NULL) == 0 &&
        str_to_u64(str_trim(str_z(text)), &size) < 0)
        size = 0;
    free(text);
    return size;
}

/* tmp/x -> layers/<hex>, with the size noted first so that a layer is never without. */
static int give_name(struct image_store *s, const char *tmp, const char *diff_id, uint64_t size)
{
    char name[SHA256_HEX + 8], text[32];
    snprintf(name, sizeof(name), "%s.size", diff_id + 7);
    int n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)size);
    int r = sys_write_file(s->layersfd, name, text, (size_t)n, 0600);
    if (r < 0)
        return r;
    if (renameat(s->tmpfd, tmp, s->layersfd, diff_id + 7) < 0 && errno != EEXIST &&
        errno != ENOTEMPTY)
        return -errno;
    return fsync(s->layersfd) < 0 ? -errno : 0;
}

int store_add_layer(struct image_store *s, int fd, const char *diff_id, struct error *err)
{
    static const struct layer_limits limits = LAYER_LIMITS_DEFAULT;
    struct layer_result got = {0};
    char *tmp = store_tmp_name(s, "layer");
    CLEANUP(fd_closep) int root = -1;
    int r = mkdirat(s->tmpfd, tmp, 0755) < 0 ? -errno : 0;
    if (r == 0) {
        root = openat(s->tmpfd, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        /* mkdir's mode is cut by the umask; this one becomes "/" of containers. */
        r = root < 0 || fchmod(root, 0755) < 0 ? -errno : 0;
    }
    if (r < 0)
        r = error_errno(err, -r, "image store %s/%s", s->dir, s->tmp_name);
    else
        r = layer_unpack(fd, root, LAYER_WHITEOUTS, &limits, &got, err);
    if (r == 0 && strcmp(got.diff_id, diff_id) != 0)
        r = error_set(err, REASON_INVALID,
                      "layer digest mismatch: the configuration says %s, the content is %s",
                      diff_id, got.diff_id);
    if (r == 0 && syncfs(root) < 0)
        r = error_errno(err, errno, "image store %s: sync", s->dir);
    if (r == 0) {
        r = give_name(s, tmp, diff_id, got.size_bytes);
        if (r < 0)
            r = error_errno(err, -r, "image store %s/layers", s->dir);
    }
    (void)sys_remove_tree(s->tmpfd,
                          tmp); /* what failed, or lost the race against another process */
    free(tmp);
    return r;
}

/* ---- commit and lookup ---- */

static void row_add_digest(struct index_image *row, const char *repo_digest)
{
    for (unsigned i = 0; i < row->n_digests; i++)
        if (strcmp(row->digests[i], repo_digest) == 0)
            return;
    strv_add(&row->digests, &row->n_digests, xstrdup(repo_digest));
}

static struct index_image *row_for(struct image_store *s, const struct store_commit *c)
{
    struct index_image *row = index_by_id(&s->index, str_z(c->id));
    if (!row) {
        row = index_add_image(&s->index);
        row->id = xstrdup(c->id);
        row->digest = xstrdup(c->digest ? c->digest : c->id);
        row->added_s = (int64_t)time(NULL);
        for (unsigned i = 0; i < c->config->n_diff_ids; i++)
            strv_add(&row->diff_ids, &row->n_diff_ids, xstrdup(c->config->diff_ids[i]));
    } else if (c->digest) {
        char *digest = xstrdup(c->digest);
        free(row->digest);
        row->digest = digest;
    }
    row->size_bytes = 0;
    for (unsigned i = 0; i < row->n_diff_ids; i++)
        row->size_bytes += store_layer_size(s, row->diff_ids[i]);
    if (c->repo_digest)
        row_add_digest(row, c->repo_digest);
    return row;
}

int store_commit_image(struct image_store *s, const struct store_commit *c, const char *ref,
                       struct image **ret, struct error *err)
{
    int lock, r = store_put_blob(s, c->id, c->config_json, err);
    if (r == 0 && c->digest && c->manifest_json.p)
        r = store_put_blob(s, c->digest, c->manifest_json, err);
    if (r == 0)
        r = index_begin(s, &lock, err);
    if (r < 0)
        return r;
    struct index_image *row = row_for(s, c);
    ASSERT(store_complete(s, row));
    for (size_t i = 0; c->refs && c->refs[i]; i++)
        index_add_ref(&s->index, c->refs[i], c->id);
    r = image_index_write(s, err);
    store_touch(s, c->id);
    if (r == 0)
        r = store_build_image(s, row, ref, ret, err);
    index_end(s, lock);
    return r;
}

int image_lookup(struct image_store *s, struct str ref, struct image **ret, struct error *err)
{
    struct index_image *row = NULL;
    char *name = NULL;
    int r = index_read_begin(s, err);
    if (r < 0)
        return r;
    r = image_index_find(&s->index, ref, &row, &name, err);
    if (r == 0 && !store_complete(s, row))
        r = error_set(err, REASON_NOT_FOUND, "image \"%.*s\" is not complete", STR_ARG(ref));
    if (r == 0)
        r = store_build_image(s, row, name, ret, err);
    index_read_end(s);
    free(name);
    return r;
}

static int newest_first(const void *a, const void *b)
{
    const struct index_image *x = *(struct index_image *const *)a,
                             *y = *(struct index_image *const *)b;
    return x->added_s < y->added_s ? 1 : x->added_s > y->added_s ? -1 : 0;
}

int image_list(struct image_store *s, struct image_list *ret, struct error *err)
{
    struct image_list l = {0};
    int r = index_read_begin(s, err);
    if (r < 0)
        return r;
    size_t n = s->index.n_images;
    struct index_image **rows = xcalloc(n + 1, sizeof(*rows));
    l.v = xcalloc(n + 1, sizeof(*l.v));
    for (size_t i = 0; i < n; i++)
        rows[i] = &s->index.images[i];
    qsort(rows, n, sizeof(*rows), newest_first);
    for (size_t i = 0; i < n; i++) {
        struct error why = {0};
        if (store_build_image(s, rows[i], NULL, &l.v[l.n], &why) == 0)
            l.n++;
        else
            log_warn("image store: %.*s", STR_ARG(why.message));
        error_fini(&why);
    }
    index_read_end(s);
    free(rows);
    *ret = l;
    return 0;
}

void image_list_fini(struct image_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        image_unref(l->v[i]);
    free(l->v);
    *l = (struct image_list){0};
}
