/* The volumes of a pod. Two kinds of work: emptyDir and hostPath are made or checked once;
 * ConfigMap, Secret, downward API and projected ones are made from API objects and kept true as
 * these change. volumes_sync() gathers on the loop what is to be in every volume (payloads in an
 * arena) and hands it to one job on the pool; while that runs, further calls make it run once more.
 *
 *   POD/volumes/NAME   emptyDir (a tmpfs when its medium is Memory)
 *   POD/api            one tmpfs a pod: what comes from the API never touches the disk
 *   POD/api/NAME       payload.h's layout */
#include "node/agent.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/fsutil.h"
#include "node/payload.h"
#include "node/token.h"

#define RETRY_MIN (1 * NSEC_PER_SEC)
#define RETRY_MAX (120 * NSEC_PER_SEC)
#define API_TMPFS "mode=755,size=32m"

struct volumes {
    struct pod *pod;
    bool busy, again, ready, stopped;
    char *error; /* owned; why it is not ready */
    nsec_t backoff;
    struct rt_timer retry;
    struct tokens *tokens;
};

struct volume_job {
    struct rt_work work;
    struct volumes *v; /* NULL: nobody waits */
    struct object *obj;
    struct arena arena;
    const char *dir;
    int64_t gid;
    struct payload *payloads; /* by volume index; arena NULL: none for it */
    bool pending;             /* something is not known yet */
    int r;
    struct error err;
};

static void on_retry(void *arg)
{
    struct volumes *v = arg;
    volumes_sync(v->pod);
}

static void on_token(void *arg)
{
    struct volumes *v = arg;
    volumes_sync(v->pod);
}

struct volumes *volumes_new(struct pod *p)
{
    struct volumes *v = NEW(struct volumes);
    v->pod = p;
    rt_timer_init(&v->retry, p->node->rt, on_retry, v);
    v->tokens = tokens_new(p->node->client, p->node->rt, on_token, v);
    return v;
}

void volumes_detach(struct pod *p)
{
    p->volumes->stopped = true;
    rt_timer_stop(&p->volumes->retry);
    tokens_stop(p->volumes->tokens);
}

int volumes_ready(struct pod *p)
{
    return p->volumes->ready ? 1 : p->volumes->error ? -EAGAIN : 0;
}

const char *volumes_error(struct pod *p)
{
    return p->volumes->error ? p->volumes->error : "";
}

/* ---- where ---- */

static const struct api_volume *find_volume(const struct api_pod *pod, struct str name)
{
    for (uint32_t i = 0; i < pod->spec.n_volumes; i++)
        if (str_eq(pod->spec.volumes[i].name, name))
            return &pod->spec.volumes[i];
    return NULL;
}

static bool is_api_volume(const struct api_volume_source *s)
{
    return s->config_map || s->secret || s->projected || s->downward_api;
}

int volume_host_path(const struct api_pod *pod, const char *pod_dir, struct str name,
                     struct fs_path *ret)
{
    const struct api_volume *v = find_volume(pod, name);
    if (!v)
        return -ENOENT;
    const struct api_volume_source *s = &v->volume_source;
    if (s->host_path)
        *ret = fs_path("%.*s", (int)MIN(s->host_path->path.n, (size_t)1000), s->host_path->path.p);
    else
        *ret = fs_path("%s/%s/%.*s", pod_dir, is_api_volume(s) ? "api" : "volumes", STR_ARG(name));
    return 0;
}

bool volume_read_only(const struct api_pod *pod, struct str name)
{
    const struct api_volume *v = find_volume(pod, name);
    return v && is_api_volume(&v->volume_source);
}

/* ---- gathering, on the loop ---- */

struct gather {
    struct pod *pod;
    struct volume_job *job;
    struct payload *out;
    int32_t default_mode;
    bool on_disk; /* the volume is there from before */
    struct error *err;
};

/* Data of a ConfigMap or Secret into the payload, by items or whole. */
static int add_items(struct gather *g, const struct kv_str *data, uint32_t n,
                     const struct api_key_to_path *items, uint32_t n_items, bool optional,
                     const char *what)
{
    if (n_items == 0) {
        for (uint32_t i = 0; i < n; i++) {
            int r = payload_add(g->out, arena_str(&g->job->arena, data[i].key),
                                arena_str(&g->job->arena, data[i].value), g->default_mode, g->err);
            if (r < 0)
                return r;
        }
        return 0;
    }
    for (uint32_t i = 0; i < n_items; i++) {
        const struct str *v = kv_str_get(data, n, items[i].key);
        if (!v && optional)
            continue;
        if (!v)
            return error_set(g->err, REASON_NOT_FOUND, "%s references non-existent %s key: %.*s",
                             what, strcmp(what, "configmap") == 0 ? "config" : "secret",
                             STR_ARG(items[i].key));
        int r = payload_add(g->out, items[i].path, arena_str(&g->job->arena, *v),
                            items[i].has_mode ? items[i].mode : g->default_mode, g->err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* 1: *ret; 0: optional and missing; -EAGAIN; other errors */
static int get_source(struct gather *g, int kind, struct str name, bool optional,
                      struct object **ret)
{
    int r = sources_get(g->pod->node->sources, kind, str_z(g->pod->ns), name, ret);
    if (r == 0 && !optional)
        return error_set(g->err, REASON_NOT_FOUND, "%s \"%.*s\" not found",
                         kind == KIND_SECRET ? "secret" : "configmap", STR_ARG(name));
    return r;
}

static int gather_config_map(struct gather *g, struct str name, const struct api_key_to_path *items,
                             uint32_t n_items, bool optional)
{
    struct object *o;
    int r = get_source(g, KIND_CONFIG_MAP, name, optional, &o);
    if (r <= 0)
        return r;
    const struct api_config_map *m = o->msg;
    if (n_items == 0) {
        r = add_items(g, m->data, m->n_data, NULL, 0, optional, "configmap");
        return r < 0
                   ? r
                   : add_items(g, m->binary_data, m->n_binary_data, NULL, 0, optional, "configmap");
    }
    for (uint32_t i = 0; i < n_items; i++) {
        bool binary = kv_str_get(m->binary_data, m->n_binary_data, items[i].key) != NULL;
        r = add_items(g, binary ? m->binary_data : m->data, binary ? m->n_binary_data : m->n_data,
                      &items[i], 1, optional, "configmap");
        if (r < 0)
            return r;
    }
    return 0;
}

static int gather_secret(struct gather *g, struct str name, const struct api_key_to_path *items,
                         uint32_t n_items, bool optional)
{
    struct object *o;
    int r = get_source(g, KIND_SECRET, name, optional, &o);
    if (r <= 0)
        return r;
    const struct api_secret *s = o->msg;
    return add_items(g, s->data, s->n_data, items, n_items, optional, "secret");
}

static int gather_downward(struct gather *g, const struct api_downward_api_volume_file *items,
                           uint32_t n)
{
    struct env_ctx ctx;
    env_ctx_of_pod(g->pod, &ctx);
    for (uint32_t i = 0; i < n; i++) {
        struct str value = STR("");
        int r = 0;
        if (items[i].field_ref)
            r = env_field(&ctx, items[i].field_ref->field_path, &g->job->arena, &value, g->err);
        else if (items[i].resource_field_ref)
            r = env_resource(&ctx, items[i].resource_field_ref,
                             items[i].resource_field_ref->container_name, &g->job->arena, &value,
                             g->err);
        if (r == 0)
            r = payload_add(g->out, items[i].path, arena_str(&g->job->arena, value),
                            items[i].has_mode ? items[i].mode : g->default_mode, g->err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int gather_token(struct gather *g, const struct api_service_account_token_projection *t)
{
    const struct api_pod *m = pod_msg(g->pod);
    struct str sa = m->spec.service_account_name.n ? m->spec.service_account_name : STR("default");
    struct str token;
    int r = tokens_get(g->pod->volumes->tokens, m, sa, t->audience,
                       t->has_expiration_seconds ? t->expiration_seconds : 3600, &token, g->err);
    if (r < 0 && node_server_away(g->pod->node)) {
        /* The pod ran before, and must not wait for days: its token comes when the server does. One
         * that is there stays. */
        error_clear(g->err);
        return g->on_disk ? -EAGAIN : 0;
    }
    if (r < 0)
        return r;
    return payload_add(g->out, t->path, arena_str(&g->job->arena, token), g->default_mode, g->err);
}

static int gather_projected(struct gather *g, const struct api_projected_volume_source *p)
{
    bool again = false;
    for (uint32_t i = 0; i < p->n_sources; i++) {
        const struct api_volume_projection *s = &p->sources[i];
        int r = 0;
        if (s->config_map)
            r = gather_config_map(g, s->config_map->local_object_reference.name,
                                  s->config_map->items, s->config_map->n_items,
                                  s->config_map->optional);
        else if (s->secret)
            r = gather_secret(g, s->secret->local_object_reference.name, s->secret->items,
                              s->secret->n_items, s->secret->optional);
        else if (s->downward_api)
            r = gather_downward(g, s->downward_api->items, s->downward_api->n_items);
        else if (s->service_account_token)
            r = gather_token(g, s->service_account_token);
        else
            r = error_set(g->err, REASON_BAD_REQUEST,
                          "this kind of projected source is not supported");
        if (r == -EAGAIN)
            again = true; /* the others may ask for what they need meanwhile */
        else if (r < 0)
            return r;
    }
    return again ? -EAGAIN : 0;
}

static int gather_volume(struct gather *g, const struct api_volume_source *s)
{
    if (s->config_map) {
        g->default_mode = s->config_map->has_default_mode ? s->config_map->default_mode : 0644;
        return gather_config_map(g, s->config_map->local_object_reference.name,
                                 s->config_map->items, s->config_map->n_items,
                                 s->config_map->optional);
    }
    if (s->secret) {
        g->default_mode = s->secret->has_default_mode ? s->secret->default_mode : 0644;
        return gather_secret(g, s->secret->secret_name, s->secret->items, s->secret->n_items,
                             s->secret->optional);
    }
    if (s->downward_api) {
        g->default_mode = s->downward_api->has_default_mode ? s->downward_api->default_mode : 0644;
        return gather_downward(g, s->downward_api->items, s->downward_api->n_items);
    }
    g->default_mode = s->projected->has_default_mode ? s->projected->default_mode : 0644;
    return gather_projected(g, s->projected);
}

/* ---- writing, on the pool ---- */

static int check_host_path(const struct api_host_path_volume_source *h, struct error *err)
{
    struct fs_path p = fs_path("%.*s", (int)MIN(h->path.n, (size_t)1000), h->path.p);
    struct stat st;
    int r = 0;
    if (str_is(h->type, "DirectoryOrCreate") && !fs_exists(p.s))
        r = fs_mkdirs(p.s, 0755);
    else if (str_is(h->type, "FileOrCreate") && !fs_exists(p.s))
        r = fs_write(p.s, STR(""), 0644);
    if (r < 0)
        return error_errno(err, -r, "cannot make %s", p.s);
    if (stat(p.s, &st) < 0) {
        if (h->type.n == 0 && errno == ENOENT &&
            (r = fs_mkdirs(p.s, 0755)) == 0) /* as container runtimes do */
            return 0;
        return error_set(err, REASON_BAD_REQUEST, "hostPath type check failed: %s: %s", p.s,
                         strerror(errno));
    }
    static const struct {
        const char *type, *name;
        mode_t mode;
    } rows[] = {
        {"DirectoryOrCreate", "a directory", S_IFDIR},
        {"Directory", "a directory", S_IFDIR},
        {"FileOrCreate", "a file", S_IFREG},
        {"File", "a file", S_IFREG},
        {"Socket", "a socket file", S_IFSOCK},
        {"CharDevice", "a character device", S_IFCHR},
        {"BlockDevice", "a block device", S_IFBLK},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eqz(h->type, rows[i].type) && (st.st_mode & S_IFMT) != rows[i].mode)
            return error_set(err, REASON_BAD_REQUEST, "hostPath type check failed: %s is not %s",
                             p.s, rows[i].name);
    return 0;
}

static int make_empty_dir(const char *path, const struct api_empty_dir_volume_source *e,
                          int64_t gid, struct error *err)
{
    bool memory = str_is(e->medium, "Memory");
    int r = fs_mkdirs(path, 0777);
    if (r < 0)
        return error_errno(err, -r, "cannot make %s", path);
    if (memory && !fs_is_mount_point(path)) {
        char options[64] = "mode=1777";
        if (e->size_limit.set && !quantity_is_zero(&e->size_limit))
            snprintf(options, sizeof(options), "mode=1777,size=%lld",
                     (long long)quantity_value(&e->size_limit));
        if (mount("emptydir", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
            return error_errno(err, errno, "cannot mount %s", path);
    }
    if (chmod(path, gid >= 0 ? 02777 : 0777) < 0 ||
        (gid >= 0 && chown(path, (uid_t)-1, (gid_t)gid) < 0))
        return error_errno(err, errno, "cannot set the mode of %s", path);
    return 0;
}

static int write_volume(struct volume_job *j, const struct api_volume *v, const struct payload *p)
{
    const struct api_volume_source *s = &v->volume_source;
    if (s->host_path)
        return check_host_path(s->host_path, &j->err);
    struct fs_path path;
    int r = volume_host_path(j->obj->msg, j->dir, v->name, &path);
    if (r < 0)
        return r;
    if (s->empty_dir || !is_api_volume(s)) {
        static const struct api_empty_dir_volume_source plain;
        return make_empty_dir(path.s, s->empty_dir ? s->empty_dir : &plain, j->gid, &j->err);
    }
    if (!p->arena)
        return 0; /* not known, but there from before */
    struct fs_path api = fs_path("%s/api", j->dir);
    r = fs_mkdirs(api.s, 0755);
    if (r == 0 && !fs_is_mount_point(api.s) &&
        mount("davit-api", api.s, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, API_TMPFS) < 0)
        r = -errno;
    if (r == 0)
        r = fs_mkdirs(path.s, 0755);
    if (r < 0)
        return error_errno(&j->err, -r, "cannot make %s", path.s);
    return payload_write(path.s, p, j->gid, &j->err);
}

static void volume_work(void *arg)
{
    struct volume_job *j = arg;
    const struct api_pod *m = j->obj->msg;
    for (uint32_t i = 0; i < m->spec.n_volumes; i++) {
        struct error one = {0};
        struct error keep = j->err;
        j->err = one;
        int r = write_volume(j, &m->spec.volumes[i], &j->payloads[i]);
        if (r < 0) {
            error_prefix(&j->err, "MountVolume.SetUp failed for volume \"%.*s\" ",
                         STR_ARG(m->spec.volumes[i].name));
            if (j->r == 0) {
                j->r = r;
                error_fini(&keep);
                continue; /* its message is the one told */
            }
        }
        error_fini(&j->err);
        j->err = keep;
    }
}

static void failed(struct volumes *v, struct str message)
{
    struct pod *p = v->pod;
    char *text = str_dup(message);
    v->backoff = v->backoff ? MIN(v->backoff * 2, RETRY_MAX) : RETRY_MIN;
    rt_timer_start(&v->retry, v->backoff);
    event_pod(p, EVENT_WARNING, "FailedMount", "%s", text);
    set_text(&v->error, text);
    free(text);
    pod_kick(p);
}

static void volume_done(void *arg)
{
    struct volume_job *j = arg;
    struct volumes *v = j->v;
    v->busy = false;
    if (v->stopped) {
        if (!v->pod) { /* freed meanwhile */
            free(v->error);
            free(v);
            v = NULL;
        }
    } else if (j->r < 0) {
        failed(v, j->err.message);
    } else if (!j->pending) {
        bool news = !v->ready;
        v->ready = true;
        v->backoff = 0;
        set_text(&v->error, NULL);
        if (news)
            pod_kick(v->pod);
    }
    if (v && !v->stopped && v->again)
        volumes_sync(v->pod);
    object_unref(j->obj);
    error_fini(&j->err);
    arena_fini(&j->arena);
    free(j);
}

struct volumes *volumes_free(struct volumes *v)
{
    if (!v)
        return NULL;
    rt_timer_stop(&v->retry);
    v->tokens = tokens_free(v->tokens);
    v->stopped = true;
    v->pod = NULL;
    if (!v->busy) {
        free(v->error);
        free(v);
    }
    return NULL;
}

/* ---- together ---- */

static const char *unsupported(const struct api_volume_source *s)
{
    if (s->persistent_volume_claim)
        return "persistentVolumeClaim";
    if (s->csi)
        return "csi";
    if (s->nfs)
        return "nfs";
    if (s->ephemeral)
        return "ephemeral";
    if (s->image)
        return "image";
    if (s->host_path || s->empty_dir || is_api_volume(s))
        return NULL;
    static const struct api_volume_source none;
    return memcmp(s, &none, sizeof(none)) == 0 ? NULL : "this kind of";
}

static bool is_on_disk(struct pod *p, struct str name)
{
    return fs_exists(fs_path("%s/api/%.*s/..data", p->dir, STR_ARG(name)).s);
}

void volumes_sync(struct pod *p)
{
    struct volumes *v = p->volumes;
    const struct api_pod *m = pod_msg(p);
    if (v->stopped || p->sm.state == POD_NEW || p->terminating)
        return;
    if (v->busy) {
        v->again = true;
        return;
    }
    v->again = false;
    struct volume_job *j = NEW(struct volume_job);
    j->v = v;
    j->obj = object_ref(p->obj);
    j->dir = arena_cstr(&j->arena, str_z(p->dir));
    j->gid = m->spec.security_context && m->spec.security_context->has_fs_group
                 ? m->spec.security_context->fs_group
                 : -1;
    j->payloads = ARENA_NEW_N(&j->arena, struct payload, m->spec.n_volumes + 1);
    int r = 0;
    for (uint32_t i = 0; i < m->spec.n_volumes && r >= 0; i++) {
        const struct api_volume *vol = &m->spec.volumes[i];
        const char *kind = unsupported(&vol->volume_source);
        if (kind) {
            r = error_set(&j->err, REASON_BAD_REQUEST,
                          "volume \"%.*s\": %s volumes are not supported", STR_ARG(vol->name),
                          kind);
            break;
        }
        if (!is_api_volume(&vol->volume_source))
            continue;
        struct gather g = {.pod = p,
                           .job = j,
                           .out = &j->payloads[i],
                           .on_disk = is_on_disk(p, vol->name),
                           .err = &j->err};
        g.out->arena = &j->arena;
        r = gather_volume(&g, &vol->volume_source);
        if (r == -EAGAIN) {
            r = 0;
            error_clear(&j->err);
            *g.out = (struct payload){0};
            j->pending |= !g.on_disk;
        } else if (r < 0) {
            error_prefix(&j->err, "MountVolume.SetUp failed for volume \"%.*s\" ",
                         STR_ARG(vol->name));
        }
    }
    if (r < 0) {
        failed(v, j->err.message);
        object_unref(j->obj);
        error_fini(&j->err);
        arena_fini(&j->arena);
        free(j);
        return;
    }
    v->busy = true;
    rt_work(p->node->rt, &j->work, RT_WORK_SHORT, volume_work, volume_done, j);
}

static int umount_one(void *arg, const char *name, unsigned char type)
{
    (void)umount2(fs_path("%s/%s", (const char *)arg, name).s, MNT_DETACH | UMOUNT_NOFOLLOW);
    return 0;
}

int volumes_destroy(const char *pod_dir)
{
    static const char *const dirs[] = {"api", "volumes"};
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        struct fs_path p = fs_path("%s/%s", pod_dir, dirs[i]);
        if (!fs_exists(p.s))
            continue;
        (void)umount2(p.s, MNT_DETACH | UMOUNT_NOFOLLOW);
        (void)!fs_each(p.s, umount_one, p.s);
        int one = fs_rm_rf(p.s);
        if (one == -EBUSY && (one = fs_umount_below(p.s)) == 0)
            one = fs_rm_rf(p.s);
        if (one < 0)
            r = one;
    }
    return r;
}
