/* A pull: manifest, configuration, then the layers that are not here, one after the other from the
 * bottom (each is verified and unpacked while it is still in the page cache), then the index row.
 * What a failed pull finished stays: layers are found again by their diff_id. Layer archives live
 * in tmp/ only. */
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/image/pull.h"
#include "node/image/registry.h"
#include "node/image/store.h"

struct pull {
    struct image_store *s;
    struct registry *reg;   /* owned */
    struct image_name name; /* owned */
    char *ref;              /* owned; normalised */
    struct image_progress p;
    const struct pull_opts *o;
    struct error *err;
};

static void tell(struct pull *p)
{
    if (p->o->progress)
        p->o->progress(p->o->arg, &p->p);
}

static void on_bytes(void *arg, uint64_t more)
{
    struct pull *p = arg;
    p->p.bytes_done += more;
    tell(p);
}

static int fetch_layer(struct pull *p, const struct descriptor *d, const char *diff_id)
{
    char *tmp = store_tmp_name(p->s, "blob");
    CLEANUP(fd_closep)
    int fd = openat(p->s->tmpfd, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r = fd < 0 ? error_errno(p->err, errno, "image store %s/tmp", p->s->dir) : 0;
    if (r == 0)
        r = registry_get_layer(p->reg, d, fd, on_bytes, p, p->err);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = error_errno(p->err, errno, "seek");
    if (r == 0)
        r = store_add_layer(p->s, fd, diff_id, p->err);
    if (fd >= 0)
        (void)unlinkat(p->s->tmpfd, tmp, 0);
    free(tmp);
    return r;
}

static int fetch_layers(struct pull *p, const struct manifest *m, const struct config *c)
{
    if (m->n_layers != c->n_diff_ids)
        return error_set(
            p->err, REASON_INVALID,
            "the manifest has %u layers, its configuration names %u (no container image?)",
            m->n_layers, c->n_diff_ids);
    p->p.layers_total = m->n_layers;
    for (unsigned i = 0; i < m->n_layers; i++)
        if (!store_has_layer(p->s, c->diff_ids[i]))
            p->p.bytes_total += m->layers[i].size;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < m->n_layers; i++) {
        int there = store_layer_begin(p->s, c->diff_ids[i]);
        if (there < 0)
            return there;
        if (there == 0) {
            r = fetch_layer(p, &m->layers[i], c->diff_ids[i]);
            store_layer_end(p->s, c->diff_ids[i]);
        }
        p->p.layers_done++;
        tell(p);
    }
    return r;
}

/* Follows an index to this machine's manifest. *m is the manifest in the end. */
static int get_manifest(struct pull *p, struct registry_manifest *raw, struct manifest *m)
{
    const char *reference = p->name.digest[0] ? p->name.digest : p->name.tag;
    char digest[DIGEST_BYTES + 1];
    int r = registry_get_manifest(p->reg, reference, raw, p->err);
    for (int depth = 0; r == 0; depth++) {
        r = manifest_parse(buf_str(&raw->body), raw->media_type, m, p->err);
        if (r < 0 || !m->is_index)
            break;
        const struct descriptor *pick = manifest_pick(m);
        if (!pick || depth >= 2) {
            r = error_set(p->err, REASON_NOT_FOUND,
                          "no matching manifest for linux/%s in the manifest list entries",
                          manifest_host_arch());
            break;
        }
        memcpy(digest, pick->digest, sizeof(digest));
        manifest_fini(m);
        buf_fini(&raw->body);
        r = registry_get_manifest(p->reg, digest, raw, p->err);
    }
    return r;
}

/* Already here, complete, and this is what the registry has under the name: only the names are
 * written. */
static int pull_run(struct pull *p, struct image **ret)
{
    struct registry_manifest raw = {0};
    struct manifest m = {0};
    struct config c = {0};
    struct buf config_json = {0};
    char top[DIGEST_BYTES + 1] = "";
    int r = get_manifest(p, &raw, &m);
    if (r == 0)
        r = registry_get_blob(p->reg, &m.config, CONFIG_BYTES_MAX, &config_json, p->err);
    if (r == 0)
        r = config_parse(buf_str(&config_json), &c, p->err);
    if (r == 0 && ((c.os[0] && strcmp(c.os, "linux") != 0) ||
                   (c.arch[0] && strcmp(c.arch, manifest_host_arch()) != 0)))
        r = error_set(p->err, REASON_INVALID, "the image is for %s/%s, this machine runs linux/%s",
                      c.os, c.arch, manifest_host_arch());
    if (r == 0)
        r = fetch_layers(p, &m, &c);
    if (r == 0) {
        /* Asked for by digest (perhaps of an index): that digest is what the user knows it by. */
        snprintf(top, sizeof(top), "%s", p->name.digest[0] ? p->name.digest : raw.digest);
        char *repo_digest = xasprintf("%s/%s@%s", p->name.domain, p->name.path, top);
        const char *refs[2] = {p->name.digest[0] ? NULL : p->ref, NULL};
        r = store_commit_image(p->s,
                               &(struct store_commit){.config_json = buf_str(&config_json),
                                                      .config = &c,
                                                      .id = m.config.digest,
                                                      .digest = raw.digest,
                                                      .manifest_json = buf_str(&raw.body),
                                                      .refs = refs,
                                                      .repo_digest = repo_digest},
                               p->ref, ret, p->err);
        free(repo_digest);
    }
    config_fini(&c);
    manifest_fini(&m);
    buf_fini(&raw.body);
    buf_fini(&config_json);
    return r;
}

int pull_image(struct image_store *s, struct str ref, const struct pull_opts *o, struct image **ret,
               struct pull_failure *ret_failure, struct error *err)
{
    struct error why = {0};
    struct pull p = {.s = s, .o = o, .err = &why};
    *ret_failure = (struct pull_failure){.kind = IMAGE_FAILURE_INVALID_NAME};
    int r = image_name_parse(ref, &p.name, err);
    if (r < 0)
        return r;
    p.ref = image_name_format(&p.name);
    ret_failure->kind = IMAGE_FAILURE_PULL;
    CLEANUP(fd_closep) int lock = store_lock(s, false, true);
    if (lock < 0) {
        r = error_errno(&why, -lock, "image store %s: lock", s->dir);
    } else {
        p.reg = registry_new(&(struct registry_opts){.name = &p.name,
                                                     .auths = o->auths,
                                                     .insecure = s->insecure,
                                                     .ca_file = s->ca_file,
                                                     .cancelled = &s->cancelled});
        r = pull_run(&p, ret);
        if (r < 0 && registry_unreachable(p.reg))
            ret_failure->kind = IMAGE_FAILURE_REGISTRY_UNAVAILABLE;
        ret_failure->unauthorized = registry_unauthorized(p.reg);
        registry_free(p.reg);
    }
    if (r < 0) {
        error_prefix(&why, "failed to pull image \"%s\"", p.ref);
        if (err)
            error_copy(err, &why);
    } else {
        *ret_failure = (struct pull_failure){0};
    }
    error_fini(&why);
    image_name_fini(&p.name);
    free(p.ref);
    return r;
}

int image_pull(struct image_store *s, struct str ref, const struct image_auths *auths,
               image_progress_fn progress, void *arg, struct image **ret,
               enum image_failure *ret_failure, struct error *err)
{
    struct pull_failure f;
    struct pull_opts o = {.auths = auths, .progress = progress, .arg = arg};
    int r = pull_image(s, ref, &o, ret, &f, err);
    if (ret_failure)
        *ret_failure = f.kind;
    return r;
}
