/* The JSON of registries and archives. The two families (OCI, Docker v2) have the same shape under
 * different media types, so one parser reads both and decides by what is there: "manifests" makes
 * an index, "config" and "layers" make a manifest. Docker's schema 1 is refused by name. */
#include "node/image/manifest.h"

#include <sys/utsname.h>

#include "base/mem.h"
#include "codec/json.h"

#define JSON_LIMITS (&(struct json_limits){.depth_max = 40, .values_max = 200000})
#define STRINGS_MAX 10000 /* env entries, labels ... of one image */

char **strv_new(void)
{
    return xcalloc(1, sizeof(char *));
}

void strv_add(char ***v, unsigned *n, char *s)
{
    /* Grows at powers of two; the vectors start with room for the NULL only. */
    if ((*n & (*n + 1)) == 0)
        *v = xrealloc(*v, ((size_t)*n * 2 + 2) * sizeof(char *));
    (*v)[(*n)++] = s;
    (*v)[*n] = NULL;
}

void strv_free(char **v)
{
    for (size_t i = 0; v && v[i]; i++)
        free(v[i]);
    free(v);
}

bool digest_valid(struct str s)
{
    if (s.n != DIGEST_BYTES || !str_starts(s, STR("sha256:")))
        return false;
    for (size_t i = 7; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

static char *dup_member(const struct json *v, struct str key)
{
    struct str s = json_get_str(v, key);
    /* A zero byte would cut the C string and so let two readers see different values. */
    return memchr(s.p ? s.p : "", '\0', s.n) ? xstrdup("") : str_dup(s);
}

/* ---- manifests ---- */

static void descriptor_fini(struct descriptor *d)
{
    free(d->media_type);
    free(d->os);
    free(d->arch);
    free(d->variant);
    free(d->name);
}

static int descriptor_parse(const struct json *v, struct descriptor *ret, struct error *err)
{
    struct str digest = json_get_str(v, STR("digest"));
    const struct json *size = json_getz(v, "size");
    if (!digest_valid(digest))
        return error_set(err, REASON_INVALID, "manifest: a descriptor has no valid sha256 digest");
    if (!json_is(size, JSON_INT) || size->i < 0 || (uint64_t)size->i > LAYER_BYTES_MAX)
        return error_set(err, REASON_INVALID, "manifest: descriptor %.*s has no valid size",
                         STR_ARG(digest));
    struct descriptor d = {.size = (uint64_t)size->i};
    memcpy(d.digest, digest.p, DIGEST_BYTES);
    const struct json *platform = json_getz(v, "platform"), *notes = json_getz(v, "annotations");
    d.media_type = dup_member(v, STR("mediaType"));
    d.os = dup_member(platform, STR("os"));
    d.arch = dup_member(platform, STR("architecture"));
    d.variant = dup_member(platform, STR("variant"));
    d.name = dup_member(notes, STR("io.containerd.image.name"));
    if (!d.name[0]) {
        free(d.name);
        d.name = dup_member(notes, STR("org.opencontainers.image.ref.name"));
    }
    *ret = d;
    return 0;
}

static int descriptors_parse(const struct json *list, unsigned max, struct manifest *m,
                             struct error *err)
{
    if (!json_is(list, JSON_ARR) || list->n > max)
        return error_set(err, REASON_INVALID, "manifest: %s",
                         json_is(list, JSON_ARR) ? "too many entries" : "no list of layers");
    m->layers = xcalloc(list->n + 1, sizeof(*m->layers));
    json_for_each(v, list)
    {
        int r = descriptor_parse(v, &m->layers[m->n_layers], err);
        if (r < 0)
            return r;
        m->n_layers++;
    }
    return 0;
}

void manifest_fini(struct manifest *m)
{
    descriptor_fini(&m->config);
    for (unsigned i = 0; i < m->n_layers; i++)
        descriptor_fini(&m->layers[i]);
    free(m->layers);
    *m = (struct manifest){0};
}

static int manifest_read(const struct json *root, struct str media_type, struct manifest *m,
                         struct error *err)
{
    if (!json_is(root, JSON_OBJ))
        return error_set(err, REASON_INVALID, "manifest: not an object");
    struct str own = json_get_str(root, STR("mediaType"));
    if (own.n && media_type.n && !str_eq(own, media_type))
        return error_set(err, REASON_INVALID, "manifest: served as %.*s but says it is %.*s",
                         STR_ARG(media_type), STR_ARG(own));
    const struct json *version = json_getz(root, "schemaVersion");
    if (json_is(version, JSON_INT) && version->i == 1)
        return error_set(
            err, REASON_INVALID,
            "manifest: Docker schema version 1 is not supported; the image must be pushed again");
    const struct json *entries = json_getz(root, "manifests"), *config = json_getz(root, "config");
    /* Both at once: two clients would see two images (CVE-2021-41190). */
    if (!entries == !config)
        return error_set(err, REASON_INVALID, "manifest: neither an image manifest nor an index");
    if (entries) {
        m->is_index = true;
        return descriptors_parse(entries, INDEX_ENTRIES_MAX, m, err);
    }
    int r = descriptor_parse(config, &m->config, err);
    if (r >= 0 && m->config.size > CONFIG_BYTES_MAX)
        r = error_set(err, REASON_INVALID, "manifest: the configuration is larger than %u bytes",
                      CONFIG_BYTES_MAX);
    return r < 0 ? r : descriptors_parse(json_getz(root, "layers"), IMAGE_LAYERS_MAX, m, err);
}

int manifest_parse(struct str json, const char *media_type, struct manifest *ret, struct error *err)
{
    struct arena a = {0};
    struct json *root = NULL;
    struct manifest m = {0};
    struct str type = str_z(media_type), head;
    str_cut(&type, ';', &head);
    head = str_trim(head);
    if (!str_starts(head, STR("application/vnd.")))
        head = STR_NONE; /* application/json, text/plain: says nothing */
    if (json.n > MANIFEST_BYTES_MAX)
        return error_set(err, REASON_INVALID, "manifest: larger than %u bytes", MANIFEST_BYTES_MAX);
    int r = json_parse(json, &a, JSON_LIMITS, &root, err);
    if (r >= 0)
        r = manifest_read(root, head, &m, err);
    if (r < 0)
        manifest_fini(&m);
    else
        *ret = m;
    arena_fini(&a);
    return r < 0 ? r : 0;
}

const char *manifest_host_arch(void)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"},    {"aarch64", "arm64"},   {"armv7l", "arm"}, {"i686", "386"},
        {"riscv64", "riscv64"}, {"ppc64le", "ppc64le"}, {"s390x", "s390x"}};
    static _Thread_local struct utsname u;
    if (uname(&u) == 0)
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (strcmp(u.machine, names[i][0]) == 0)
                return names[i][1];
    return u.machine;
}

const struct descriptor *manifest_pick(const struct manifest *index)
{
    const char *arch = manifest_host_arch();
    const struct descriptor *fallback = NULL;
    for (unsigned i = 0; i < index->n_layers; i++) {
        const struct descriptor *d = &index->layers[i];
        if (strcmp(d->os, "linux") == 0 && strcmp(d->arch, arch) == 0)
            return d;
        /* A layout with one image often leaves the platform out; its configuration is checked
         * anyway. */
        if (!d->os[0] && !d->arch[0] && !fallback)
            fallback = d;
    }
    return fallback;
}

/* ---- configuration ---- */

static bool has_nul(struct str s)
{
    return s.n && memchr(s.p, '\0', s.n);
}

/* null and absent both give NULL. */
static int strings_parse(const struct json *v, const char *what, char ***ret, struct error *err)
{
    if (!v || v->type == JSON_NULL)
        return 0;
    if (!json_is(v, JSON_ARR) || v->n > STRINGS_MAX)
        return error_set(err, REASON_INVALID, "image configuration: %s is no list of strings",
                         what);
    char **out = strv_new();
    unsigned n = 0;
    json_for_each(item, v)
    {
        if (!json_is(item, JSON_STR) || has_nul(item->s)) {
            strv_free(out);
            return error_set(err, REASON_INVALID, "image configuration: %s is no list of strings",
                             what);
        }
        strv_add(&out, &n, str_dup(item->s));
    }
    *ret = out;
    return 0;
}

/* Keys of an object ("ExposedPorts": {"80/tcp": {}}), or with values "key=value". */
static char **keys(const struct json *v, bool values)
{
    char **out = strv_new();
    unsigned n = 0;
    if (!json_is(v, JSON_OBJ))
        return out;
    json_for_each(item, v)
    {
        if (n >= STRINGS_MAX || has_nul(item->key) ||
            (values && (!json_is(item, JSON_STR) || has_nul(item->s))))
            continue;
        strv_add(&out, &n,
                 values ? xasprintf("%.*s=%.*s", STR_ARG(item->key), STR_ARG(item->s))
                        : str_dup(item->key));
    }
    return out;
}

void image_config_fini(struct image_config *c)
{
    strv_free(c->entrypoint);
    strv_free(c->cmd);
    strv_free(c->env);
    strv_free(c->exposed_ports);
    strv_free(c->volumes);
    strv_free(c->labels);
    free(c->user);
    free(c->working_dir);
    free(c->stop_signal);
}

void config_fini(struct config *c)
{
    image_config_fini(&c->run);
    free(c->os);
    free(c->arch);
    strv_free(c->diff_ids);
    *c = (struct config){0};
}

static int run_parse(const struct json *v, struct image_config *c, struct error *err)
{
    int r = strings_parse(json_getz(v, "Entrypoint"), "Entrypoint", &c->entrypoint, err);
    if (r >= 0)
        r = strings_parse(json_getz(v, "Cmd"), "Cmd", &c->cmd, err);
    if (r >= 0)
        r = strings_parse(json_getz(v, "Env"), "Env", &c->env, err);
    if (!c->env)
        c->env = strv_new();
    c->exposed_ports = keys(json_getz(v, "ExposedPorts"), false);
    c->volumes = keys(json_getz(v, "Volumes"), false);
    c->labels = keys(json_getz(v, "Labels"), true);
    c->user = dup_member(v, STR("User"));
    c->working_dir = dup_member(v, STR("WorkingDir"));
    c->stop_signal = dup_member(v, STR("StopSignal"));
    return r;
}

static int config_read(const struct json *root, struct config *c, struct error *err)
{
    if (!json_is(root, JSON_OBJ))
        return error_set(err, REASON_INVALID, "image configuration: not an object");
    c->os = dup_member(root, STR("os"));
    c->arch = dup_member(root, STR("architecture"));
    int r = run_parse(json_getz(root, "config"), &c->run, err);
    if (r < 0)
        return r;
    const struct json *ids = json_getz(json_getz(root, "rootfs"), "diff_ids");
    r = strings_parse(ids, "rootfs.diff_ids", &c->diff_ids, err);
    if (r < 0)
        return r;
    if (!c->diff_ids)
        c->diff_ids = strv_new();
    for (; c->diff_ids[c->n_diff_ids]; c->n_diff_ids++)
        if (c->n_diff_ids >= IMAGE_LAYERS_MAX || !digest_valid(str_z(c->diff_ids[c->n_diff_ids])))
            return error_set(err, REASON_INVALID,
                             "image configuration: diff_ids must be at most %d sha256 digests",
                             IMAGE_LAYERS_MAX);
    return 0;
}

int config_parse(struct str json, struct config *ret, struct error *err)
{
    struct arena a = {0};
    struct json *root = NULL;
    struct config c = {0};
    if (json.n > CONFIG_BYTES_MAX)
        return error_set(err, REASON_INVALID, "image configuration: larger than %u bytes",
                         CONFIG_BYTES_MAX);
    int r = json_parse(json, &a, JSON_LIMITS, &root, err);
    if (r >= 0)
        r = config_read(root, &c, err);
    if (r < 0)
        config_fini(&c);
    else
        *ret = c;
    arena_fini(&a);
    return r < 0 ? r : 0;
}

/* ---- docker-archive ---- */

void docker_archive_free(struct archive_image *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        free(v[i].config);
        strv_free(v[i].layers);
        strv_free(v[i].tags);
    }
    free(v);
}

int docker_archive_parse(struct str json, struct archive_image **ret, unsigned *ret_n,
                         struct error *err)
{
    struct arena a = {0};
    struct json *root = NULL;
    struct archive_image *v = NULL;
    unsigned n = 0;
    int r = json_parse(json, &a, JSON_LIMITS, &root, err);
    if (r >= 0 && (!json_is(root, JSON_ARR) || root->n > ARCHIVE_IMAGES_MAX))
        r = error_set(err, REASON_INVALID, "manifest.json is no list of images");
    if (r >= 0) {
        v = xcalloc(root->n + 1, sizeof(*v));
        json_for_each(item, root)
        {
            struct archive_image *img = &v[n++];
            img->config = dup_member(item, STR("Config"));
            if (r >= 0)
                r = strings_parse(json_getz(item, "Layers"), "Layers", &img->layers, err);
            if (r >= 0)
                r = strings_parse(json_getz(item, "RepoTags"), "RepoTags", &img->tags, err);
            if (!img->layers)
                img->layers = strv_new();
            if (!img->tags)
                img->tags = strv_new();
            if (r >= 0 && !img->config[0])
                r = error_set(err, REASON_INVALID, "manifest.json: an image without Config");
        }
    }
    arena_fini(&a);
    if (r < 0) {
        docker_archive_free(v, n);
        return r;
    }
    *ret = v;
    *ret_n = n;
    return 0;
}
