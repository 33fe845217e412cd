/* index.json: which images are here and what they are called. Small (a few hundred rows), so it is
 * read whole when it changed and written whole, atomically. It is shared with other processes:
 * every change reads the newest version under index.lock first.
 *
 *   {"version":1,
 *    "images":[{"id":"sha256:..","digest":"sha256:..","digests":["repo@sha256:.."],
 *               "layers":["sha256:.."],"size":123,"added":1700000000}],
 *    "refs":[{"ref":"docker.io/library/busybox:latest","id":"sha256:.."}]} */
#include "node/image/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "sys/fs.h"

#define INDEX_BYTES_MAX (64u << 20)

static void image_row_fini(struct index_image *img)
{
    free(img->id);
    free(img->digest);
    strv_free(img->digests);
    strv_free(img->diff_ids);
}

void image_index_fini(struct index *x)
{
    for (size_t i = 0; i < x->n_images; i++)
        image_row_fini(&x->images[i]);
    for (size_t i = 0; i < x->n_refs; i++) {
        free(x->refs[i].ref);
        free(x->refs[i].id);
    }
    free(x->images);
    free(x->refs);
    *x = (struct index){0};
}

struct index_image *index_by_id(struct index *x, struct str id)
{
    for (size_t i = 0; i < x->n_images; i++)
        if (str_eqz(id, x->images[i].id))
            return &x->images[i];
    return NULL;
}

struct index_ref *index_ref_by_name(struct index *x, struct str ref)
{
    for (size_t i = 0; i < x->n_refs; i++)
        if (str_eqz(ref, x->refs[i].ref))
            return &x->refs[i];
    return NULL;
}

struct index_image *index_add_image(struct index *x)
{
    ARRAY_RESERVE(x->images, x->n_images, x->cap_images);
    struct index_image *img = &x->images[x->n_images++];
    *img = (struct index_image){.digests = strv_new(), .diff_ids = strv_new()};
    return img;
}

void index_add_ref(struct index *x, const char *ref, const char *id)
{
    struct index_ref *r = index_ref_by_name(x, str_z(ref));
    if (r) {
        char *new_id = xstrdup(id);
        free(r->id);
        r->id = new_id;
        return;
    }
    ARRAY_RESERVE(x->refs, x->n_refs, x->cap_refs);
    x->refs[x->n_refs++] = (struct index_ref){.ref = xstrdup(ref), .id = xstrdup(id)};
}

void index_drop_ref(struct index *x, struct index_ref *r)
{
    size_t i = (size_t)(r - x->refs);
    free(r->ref);
    free(r->id);
    memmove(r, r + 1, (--x->n_refs - i) * sizeof(*r));
}

void index_drop_image(struct index *x, struct index_image *img)
{
    size_t i = (size_t)(img - x->images);
    for (size_t j = x->n_refs; j-- > 0;)
        if (strcmp(x->refs[j].id, img->id) == 0)
            index_drop_ref(x, &x->refs[j]);
    image_row_fini(img);
    memmove(img, img + 1, (--x->n_images - i) * sizeof(*img));
}

static bool is_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return s.n > 0;
}

static int not_found(struct error *err, struct str what)
{
    return error_set(err, REASON_NOT_FOUND, "image \"%.*s\" is not present", (int)MIN(what.n, 300u),
                     what.p);
}

static int find_by_id(struct index *x, struct str what, struct index_image **ret, struct error *err)
{
    struct str hex = str_starts(what, STR("sha256:")) ? str_sub(what, 7, what.n) : what;
    struct index_image *found = NULL;
    for (size_t i = 0; i < x->n_images; i++) {
        if (!str_starts(str_z(x->images[i].id + 7), hex))
            continue;
        if (found)
            return error_set(err, REASON_BAD_REQUEST, "image id \"%.*s\" is ambiguous",
                             STR_ARG(what));
        found = &x->images[i];
    }
    if (!found)
        return not_found(err, what);
    *ret = found;
    return 0;
}

static struct index_image *find_by_digest(struct index *x, const char *full)
{
    for (size_t i = 0; i < x->n_images; i++)
        for (unsigned j = 0; j < x->images[i].n_digests; j++)
            if (strcmp(x->images[i].digests[j], full) == 0)
                return &x->images[i];
    return NULL;
}

int image_index_find(struct index *x, struct str what, struct index_image **ret, char **ret_ref,
                     struct error *err)
{
    bool id = str_starts(what, STR("sha256:")) || (what.n >= 12 && what.n <= 64 && is_hex(what));
    if (id && find_by_id(x, what, ret, NULL) == 0)
        return 0;
    if (str_starts(what, STR("sha256:")))
        return find_by_id(x, what, ret, err);
    struct image_name name;
    int r = image_name_parse(what, &name, err);
    if (r < 0)
        return r;
    char *full = image_name_format(&name);
    struct index_image *img = NULL;
    if (name.digest[0]) {
        img = find_by_digest(x, full);
    } else {
        struct index_ref *ref = index_ref_by_name(x, str_z(full));
        img = ref ? index_by_id(x, str_z(ref->id)) : NULL;
    }
    image_name_fini(&name);
    if (!img) {
        free(full);
        return not_found(err, what);
    }
    *ret = img;
    if (ret_ref)
        *ret_ref = TAKE_PTR(full);
    free(full);
    return 0;
}

/* ---- reading and writing ---- */

static char **strings(const struct json *v, unsigned *ret_n, bool digests)
{
    char **out = strv_new();
    unsigned n = 0;
    if (json_is(v, JSON_ARR)) {
        json_for_each(item, v)
        {
            if (json_is(item, JSON_STR) && (!digests || digest_valid(item->s)))
                strv_add(&out, &n, str_dup(item->s));
        }
    }
    *ret_n = n;
    return out;
}

static int64_t number(const struct json *v)
{
    return json_is(v, JSON_INT) ? v->i : 0;
}

static void read_image(struct index *x, const struct json *v)
{
    struct str id = json_get_str(v, STR("id")), digest = json_get_str(v, STR("digest"));
    if (!digest_valid(id) || !digest_valid(digest))
        return;
    ARRAY_RESERVE(x->images, x->n_images, x->cap_images);
    struct index_image *img = &x->images[x->n_images++];
    *img = (struct index_image){
        .id = str_dup(id),
        .digest = str_dup(digest),
        .size_bytes = (uint64_t)number(json_getz(v, "size")),
        .added_s = number(json_getz(v, "added")),
    };
    img->digests = strings(json_getz(v, "digests"), &img->n_digests, false);
    img->diff_ids = strings(json_getz(v, "layers"), &img->n_diff_ids, true);
}

static int index_parse(struct str text, struct index *ret, struct error *err)
{
    struct arena a = {0};
    struct json *root = NULL;
    int r = json_parse(text, &a, NULL, &root, err);
    const struct json *images = json_getz(root, "images"), *refs = json_getz(root, "refs");
    if (r >= 0 && (number(json_getz(root, "version")) != 1 || !json_is(images, JSON_ARR) ||
                   !json_is(refs, JSON_ARR)))
        r = error_set(err, REASON_INVALID, "index.json: not an image index of version 1");
    if (r >= 0) {
        struct index x = {0};
        json_for_each(v, images) read_image(&x, v);
        json_for_each(v, refs)
        {
            struct str ref = json_get_str(v, STR("ref")), id = json_get_str(v, STR("id"));
            if (ref.n && index_by_id(&x, id)) {
                char *ref_z = str_dup(ref), *id_z = str_dup(id);
                index_add_ref(&x, ref_z, id_z);
                free(ref_z);
                free(id_z);
            }
        }
        image_index_fini(ret);
        *ret = x;
    }
    arena_fini(&a);
    return r < 0 ? r : 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int index_refresh(struct image_store *s, struct error *err)
{
    struct stat st;
    if (fstatat(s->dirfd, "index.json", &st, 0) < 0) {
        if (errno != ENOENT)
            return error_errno(err, errno, "image store %s: index.json", s->dir);
        image_index_fini(&s->index);
        s->index_stat = (struct stat){0};
        return 0;
    }
    if (same_file(&st, &s->index_stat))
        return 0;
    char *text = NULL;
    size_t n = 0;
    int r = sys_read_file(s->dirfd, "index.json", INDEX_BYTES_MAX, &text, &n);
    if (r < 0)
        return error_errno(err, -r, "image store %s: index.json", s->dir);
    struct error why = {0};
    r = index_parse((struct str){text, n}, &s->index, &why);
    free(text);
    if (r < 0) {
        /* Images can be had again; the damaged file stays beside for a look. */
        log_warn("image store %s: %.*s; starting an empty index", s->dir, STR_ARG(why.message));
        if (renameat(s->dirfd, "index.json", s->dirfd, "index.json.damaged") < 0)
            r = error_errno(err, errno, "image store %s: index.json", s->dir);
        else
            r = 0;
        image_index_fini(&s->index);
        st = (struct stat){0};
    }
    error_fini(&why);
    s->index_stat = st;
    return r;
}

static void print_strings(struct buf *b, const char *key, char **v)
{
    buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; v[i]; i++) {
        if (i)
            buf_add_char(b, ',');
        json_print_str(str_z(v[i]), b);
    }
    buf_add_char(b, ']');
}

int image_index_write(struct image_store *s, struct error *err)
{
    struct buf b = {0};
    buf_add_lit(&b, "{\"version\":1,\n\"images\":[");
    for (size_t i = 0; i < s->index.n_images; i++) {
        const struct index_image *img = &s->index.images[i];
        buf_printf(&b, "%s\n{\"id\":\"%s\",\"digest\":\"%s\"", i ? "," : "", img->id, img->digest);
        print_strings(&b, "digests", img->digests);
        print_strings(&b, "layers", img->diff_ids);
        buf_printf(&b, ",\"size\":%llu,\"added\":%lld}", (unsigned long long)img->size_bytes,
                   (long long)img->added_s);
    }
    buf_add_lit(&b, "],\n\"refs\":[");
    for (size_t i = 0; i < s->index.n_refs; i++) {
        buf_printf(&b, "%s\n{\"ref\":", i ? "," : "");
        json_print_str(str_z(s->index.refs[i].ref), &b);
        buf_printf(&b, ",\"id\":\"%s\"}", s->index.refs[i].id);
    }
    buf_add_lit(&b, "]}\n");
    int r = sys_write_file(s->dirfd, "index.json", b.data, b.n, 0600);
    buf_fini(&b);
    if (r < 0) {
        s->index_stat = (struct stat){0}; /* memory is ahead of the file: read it again */
        return error_errno(err, -r, "image store %s: index.json", s->dir);
    }
    if (fstatat(s->dirfd, "index.json", &s->index_stat, 0) < 0)
        s->index_stat = (struct stat){0};
    return 0;
}

int index_read_begin(struct image_store *s, struct error *err)
{
    pthread_mutex_lock(&s->mu);
    int r = index_refresh(s, err);
    if (r < 0)
        pthread_mutex_unlock(&s->mu);
    return r;
}

void index_read_end(struct image_store *s)
{
    pthread_mutex_unlock(&s->mu);
}

int index_begin(struct image_store *s, int *ret_lock, struct error *err)
{
    int fd = openat(s->dirfd, "index.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, "image store %s: index.lock", s->dir);
    pthread_mutex_lock(&s->mu);
    int r = 0;
    while (flock(fd, LOCK_EX) < 0 && r == 0)
        if (errno != EINTR)
            r = error_errno(err, errno, "image store %s: index.lock", s->dir);
    if (r == 0)
        r = index_refresh(s, err);
    if (r < 0) {
        pthread_mutex_unlock(&s->mu);
        close(fd);
        return r;
    }
    *ret_lock = fd;
    return 0;
}

void index_end(struct image_store *s, int lock)
{
    close(lock);
    pthread_mutex_unlock(&s->mu);
}
