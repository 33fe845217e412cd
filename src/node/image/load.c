/* Loading images from files: docker-archive (manifest.json) and OCI layout (oci-layout,
 * index.json), as a directory or as a tar of it. A tar is unpacked into tmp/ with the same care as
 * a layer and then treated as a directory: files refer to each other by name, by symlink (older
 * `docker save`) and in any order, and the outer archive may itself be compressed, so a directory
 * is the only form that needs no second way. */
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/image/layer.h"
#include "node/image/store.h"
#include "rt/crypto.h"
#include "sys/fs.h"

struct load {
    struct image_store *s;
    int dirfd;        /* borrowed; the layout */
    const char *name; /* for nameless images; may be NULL */
    image_loaded_fn loaded;
    void *arg;
    struct error *err;
    unsigned count;
};

static int read_member(struct load *l, const char *path, size_t max, char **ret, size_t *ret_n)
{
    CLEANUP(fd_closep) int fd = sys_open_in_root(l->dirfd, path, O_RDONLY | O_NONBLOCK, 0);
    char proc[64];
    struct stat st;
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return -EINVAL;
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    return sys_read_file(AT_FDCWD, proc, max, ret, ret_n);
}

static int check_platform(const struct config *c, struct error *err)
{
    if ((c->os[0] && strcmp(c->os, "linux") != 0) ||
        (c->arch[0] && strcmp(c->arch, manifest_host_arch()) != 0))
        return error_set(err, REASON_INVALID, "the image is for %s/%s, this machine runs linux/%s",
                         c->os, c->arch, manifest_host_arch());
    return 0;
}

static int add_layer(struct load *l, const char *path, const char *diff_id)
{
    int there = store_layer_begin(l->s, diff_id);
    if (there != 0)
        return there < 0 ? there : 0;
    struct stat st;
    int r = 0;
    CLEANUP(fd_closep) int fd = sys_open_in_root(l->dirfd, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        r = error_errno(l->err, -fd, "layer file %s", path);
    else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        r = error_set(l->err, REASON_INVALID, "layer file %s is no plain file", path);
    else
        r = store_add_layer(l->s, fd, diff_id, l->err);
    store_layer_end(l->s, diff_id);
    return r;
}

static int finish(struct load *l, const struct store_commit *c)
{
    struct image *img = NULL;
    int r = store_commit_image(l->s, c, c->refs && c->refs[0] ? c->refs[0] : NULL, &img, l->err);
    if (r < 0)
        return r;
    l->count++;
    if (l->loaded)
        l->loaded(l->arg, img);
    image_unref(img);
    return 0;
}

/* Normalised names; those that do not parse are left out unless `strict`. */
static int add_name(char ***refs, unsigned *n, const char *name, struct error *err)
{
    struct image_name parsed;
    int r = image_name_parse(str_z(name), &parsed, err);
    if (r < 0)
        return r;
    strv_add(refs, n, image_name_format(&parsed));
    image_name_fini(&parsed);
    return 0;
}

/* ---- docker-archive ---- */

static int load_docker_image(struct load *l, const struct archive_image *a)
{
    char *text = NULL, **refs = strv_new();
    size_t n = 0;
    unsigned n_refs = 0;
    struct config c = {0};
    char id[DIGEST_BYTES + 1] = "sha256:";
    int r = read_member(l, a->config, CONFIG_BYTES_MAX, &text, &n);
    if (r < 0)
        r = error_errno(l->err, -r, "image configuration %s", a->config);
    else
        r = config_parse((struct str){text, n}, &c, l->err);
    if (r == 0)
        r = check_platform(&c, l->err);
    unsigned n_layers = 0;
    while (a->layers[n_layers])
        n_layers++;
    if (r == 0 && n_layers != c.n_diff_ids)
        r = error_set(l->err, REASON_INVALID,
                      "the archive has %u layers, its configuration names %u", n_layers,
                      c.n_diff_ids);
    for (unsigned i = 0; r == 0 && i < n_layers; i++)
        r = add_layer(l, a->layers[i], c.diff_ids[i]);
    for (unsigned i = 0; r == 0 && a->tags[i]; i++)
        r = add_name(&refs, &n_refs, a->tags[i], l->err);
    if (r == 0 && n_refs == 0 && l->name)
        r = add_name(&refs, &n_refs, l->name, l->err);
    if (r == 0) {
        sha256_hex_of((struct str){text, n}, id + 7);
        r = finish(l, &(struct store_commit){.config_json = {text, n},
                                             .config = &c,
                                             .id = id,
                                             .refs = (const char *const *)refs});
    }
    strv_free(refs);
    config_fini(&c);
    free(text);
    return r;
}

static int load_docker(struct load *l, struct str manifest)
{
    struct archive_image *v = NULL;
    unsigned n = 0;
    int r = docker_archive_parse(manifest, &v, &n, l->err);
    if (r < 0)
        return r;
    for (unsigned i = 0; r == 0 && i < n; i++)
        r = load_docker_image(l, &v[i]);
    docker_archive_free(v, n);
    return r;
}

/* ---- OCI layout ---- */

static int read_blob(struct load *l, const struct descriptor *d, size_t max, char **ret,
                     size_t *ret_n)
{
    char path[16 + SHA256_HEX], hex[SHA256_HEX + 1];
    snprintf(path, sizeof(path), "blobs/sha256/%s", d->digest + 7);
    int r = read_member(l, path, max, ret, ret_n);
    if (r < 0)
        return error_errno(l->err, -r, "%s", path);
    sha256_hex_of((struct str){*ret, *ret_n}, hex);
    if (strcmp(hex, d->digest + 7) != 0) {
        free(*ret);
        *ret = NULL;
        return error_set(l->err, REASON_INVALID, "digest mismatch: %s contains sha256:%s", path,
                         hex);
    }
    return 0;
}

static int load_oci_layers(struct load *l, const struct manifest *m, const struct config *c)
{
    if (m->n_layers != c->n_diff_ids)
        return error_set(
            l->err, REASON_INVALID,
            "the manifest has %u layers, its configuration names %u (no container image?)",
            m->n_layers, c->n_diff_ids);
    int r = check_platform(c, l->err);
    for (unsigned i = 0; r == 0 && i < m->n_layers; i++) {
        char path[16 + SHA256_HEX];
        snprintf(path, sizeof(path), "blobs/sha256/%s", m->layers[i].digest + 7);
        r = add_layer(l, path, c->diff_ids[i]);
    }
    return r;
}

/* What the layout calls it: a full name, or a bare tag that completes the name given by the user.
 */
static int oci_names(struct load *l, const char *note, char ***refs, unsigned *n)
{
    bool bare = note[0] && !strchr(note, '/') && !strchr(note, ':');
    if (!note[0] || (bare && l->name)) {
        if (!l->name)
            return 0;
        struct image_name parsed;
        int r = image_name_parse(str_z(l->name), &parsed, l->err);
        if (r < 0)
            return r;
        bool tagged = strrchr(l->name, ':') > strrchr(l->name, '/');
        char *full = bare && !tagged ? xasprintf("%s/%s:%s", parsed.domain, parsed.path, note)
                                     : xstrdup(l->name);
        image_name_fini(&parsed);
        r = add_name(refs, n, full, l->err);
        free(full);
        return r;
    }
    struct error unnamed = {0}; /* a note that is no image name: it stays nameless */
    (void)add_name(refs, n, note, &unnamed);
    error_fini(&unnamed);
    return 0;
}

static int load_oci_manifest(struct load *l, const struct descriptor *d, const char *note,
                             int depth)
{
    char *text = NULL, *config_text = NULL, **refs = strv_new();
    size_t n = 0, config_n = 0;
    unsigned n_refs = 0;
    struct manifest m = {0};
    struct config c = {0};
    int r = read_blob(l, d, MANIFEST_BYTES_MAX, &text, &n);
    if (r == 0)
        r = manifest_parse((struct str){text, n}, d->media_type, &m, l->err);
    if (r == 0 && m.is_index) {
        const struct descriptor *pick = manifest_pick(&m);
        if (!pick || depth >= 2)
            r = error_set(l->err, REASON_INVALID, "no image for linux/%s in the index",
                          manifest_host_arch());
        else
            r = load_oci_manifest(l, pick, note, depth + 1);
        goto out;
    }
    if (r == 0)
        r = read_blob(l, &m.config, CONFIG_BYTES_MAX, &config_text, &config_n);
    if (r == 0)
        r = config_parse((struct str){config_text, config_n}, &c, l->err);
    if (r == 0)
        r = load_oci_layers(l, &m, &c);
    if (r == 0)
        r = oci_names(l, note, &refs, &n_refs);
    if (r == 0)
        r = finish(l, &(struct store_commit){.config_json = {config_text, config_n},
                                             .config = &c,
                                             .id = m.config.digest,
                                             .digest = d->digest,
                                             .manifest_json = {text, n},
                                             .refs = (const char *const *)refs});
out:
    strv_free(refs);
    config_fini(&c);
    manifest_fini(&m);
    free(config_text);
    free(text);
    return r;
}

static int load_oci(struct load *l, struct str index_json)
{
    struct manifest index = {0};
    int r = manifest_parse(index_json, "", &index, l->err);
    if (r < 0)
        return r;
    if (!index.is_index)
        r = error_set(l->err, REASON_INVALID, "index.json is no image index");
    for (unsigned i = 0; r == 0 && i < index.n_layers; i++) {
        const struct descriptor *d = &index.layers[i];
        bool other = (d->os[0] && strcmp(d->os, "linux") != 0) ||
                     (d->arch[0] && strcmp(d->arch, manifest_host_arch()) != 0);
        if (!other)
            r = load_oci_manifest(l, d, d->name, 0);
    }
    if (r == 0 && l->count == 0)
        r = error_set(l->err, REASON_INVALID, "no image for linux/%s in it", manifest_host_arch());
    manifest_fini(&index);
    return r;
}

static int load_dir(struct load *l)
{
    char *text = NULL;
    size_t n = 0;
    int r = read_member(l, "manifest.json", MANIFEST_BYTES_MAX, &text, &n);
    if (r == 0) {
        r = load_docker(l, (struct str){text, n});
    } else if (r == -ENOENT) {
        r = read_member(l, "index.json", MANIFEST_BYTES_MAX, &text, &n);
        r = r == 0
                ? load_oci(l, (struct str){text, n})
                : error_set(l->err, REASON_INVALID, "neither a docker-archive nor an OCI layout");
    } else {
        r = error_errno(l->err, -r, "manifest.json");
    }
    free(text);
    return r;
}

static int load_tar(struct load *l, int fd)
{
    static const struct layer_limits limits = LAYER_LIMITS_DEFAULT;
    struct layer_result unpacked;
    char *tmp = store_tmp_name(l->s, "load");
    int r = mkdirat(l->s->tmpfd, tmp, 0700) < 0
                ? error_errno(l->err, errno, "image store %s/tmp", l->s->dir)
                : 0;
    CLEANUP(fd_closep)
    int dir = r == 0 ? openat(l->s->tmpfd, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (r == 0 && dir < 0)
        r = error_errno(l->err, errno, "image store %s/tmp", l->s->dir);
    if (r == 0)
        r = layer_unpack(fd, dir, 0, &limits, &unpacked, l->err);
    if (r == 0) {
        l->dirfd = dir;
        r = load_dir(l);
    }
    sys_remove_tree(l->s->tmpfd, tmp);
    free(tmp);
    return r;
}

int image_load_file(struct image_store *s, const char *path, const char *name,
                    image_loaded_fn loaded, void *arg, struct error *err)
{
    struct stat st;
    struct error why = {0};
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "%s", path);
    CLEANUP(fd_closep) int lock = store_lock(s, false, true);
    if (lock < 0)
        return error_errno(err, -lock, "image store %s: lock", s->dir);
    struct load l = {.s = s, .dirfd = fd, .name = name, .loaded = loaded, .arg = arg, .err = &why};
    int r = S_ISDIR(st.st_mode) ? load_dir(&l)
            : S_ISREG(st.st_mode)
                ? load_tar(&l, fd)
                : error_set(&why, REASON_INVALID, "no plain file and no directory");
    if (r < 0) {
        error_prefix(&why, "load %s", path);
        if (err)
            error_copy(err, &why);
    }
    error_fini(&why);
    return r;
}
