/* ConfigMaps and Secrets the pods of this node refer to. A node may read only what its pods name,
 * so every object has a watch of its own (a list-watch cache of one object by name), shared by all
 * pods that refer to it and closed with the last one.
 *
 * DATA/node/sources has a file for each, 0600: after a reboot the pods' volumes, which are in
 * memory, can be made again though the server be away. It goes with the last pod. */
#include "node/agent.h"

#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "node/fsutil.h"

struct source {
    struct sources *sources;
    char *key; /* "KIND/NS/NAME" */
    char *ns, *name;
    int kind_id;
    struct client_cache *cache;
    struct pod **users; /* borrowed */
    unsigned n, cap;
};

struct sources {
    struct node *node;
    struct map all; /* key -> struct source */
    char *dir;      /* owned; of their files */
    bool closing;
};

struct sources *sources_new(struct node *n)
{
    struct sources *s = NEW(struct sources);
    s->node = n;
    s->dir = xasprintf("%s/sources", n->dir);
    int r = fs_mkdirs(s->dir, 0700);
    if (r < 0)
        log_warn("%s: %s", s->dir, strerror(-r));
    return s;
}

static void source_free(struct source *s)
{
    map_remove(&s->sources->all, str_z(s->key));
    if (s->sources->closing)
        client_cache_free(s->cache);
    else
        client_cache_forget(s->cache); /* no pod needs it any more */
    free(s->users);
    free(s->key);
    free(s->ns);
    free(s->name);
    free(s);
}

struct sources *sources_free(struct sources *s)
{
    if (!s)
        return NULL;
    while (s->all.n)
        source_free(map_next(&s->all, NULL)->value);
    map_fini(&s->all);
    free(s->dir);
    free(s);
    return NULL;
}

void sources_closing(struct sources *s)
{
    s->closing = true;
}

/* Names may be longer than a file's; what a file is of stands in it. */
static struct fs_path file_of(const struct sources *s, const char *key)
{
    return fs_path("%s/%016llx", s->dir, (unsigned long long)hash_fnv1a64(key, strlen(key)));
}

static int sweep_one(void *arg, const char *name, unsigned char type)
{
    const struct sources *s = arg;
    struct fs_path path = fs_path("%s/%s", s->dir, name);
    for (struct map_slot *slot = NULL; (slot = map_next(&s->all, slot));)
        if (strcmp(file_of(s, ((struct source *)slot->value)->key).s, path.s) == 0)
            return 0;
    (void)unlink(path.s);
    return 0;
}

void sources_sweep(struct sources *s)
{
    int r = fs_each(s->dir, sweep_one, s);
    if (r < 0)
        log_warn("%s: %s", s->dir, strerror(-r));
}

static void kick_users(struct source *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct pod *p = s->users[i];
        for (unsigned k = 0; k < p->n_ctrs; k++) {
            struct ctr *c = p->ctrs[k];
            if (ctr_state(c) == CTR_WAITING && c->why &&
                strcmp(c->why, "CreateContainerConfigError") == 0)
                c->not_before = 0; /* what it missed may be there now */
        }
        volumes_sync(p);
        pod_kick(p);
    }
}

static void on_change(void *arg, struct object *old, struct object *new)
{
    kick_users(arg);
}

static void on_synced(void *arg)
{
    kick_users(arg);
}

static void trim(void *msg, struct arena *a, const char *trim_for)
{
    struct api_object_meta *m = msg; /* the first member of all kinds */
    (void)a;
    (void)trim_for;
    m->n_managed_fields = m->n_annotations = m->n_labels = 0;
}

static struct source *source_get(struct sources *s, int kind_id, struct str ns, struct str name,
                                 bool make)
{
    char key[640];
    snprintf(key, sizeof(key), "%d/%.*s/%.*s", kind_id, STR_ARG(ns), STR_ARG(name));
    struct source *src = map_get(&s->all, str_z(key));
    if (src || !make)
        return src;
    src = NEW(struct source);
    src->sources = s;
    src->key = xstrdup(key);
    src->ns = str_dup(ns);
    src->name = str_dup(name);
    src->kind_id = kind_id;
    map_set(&s->all, str_z(src->key), src);
    char selector[300];
    snprintf(selector, sizeof(selector), "metadata.name=%s", src->name);
    struct fs_path file = file_of(s, key);
    struct client_cache_opts o = {.kind = schema_kinds[kind_id],
                                  .ns = str_z(src->ns),
                                  .field_selector = str_z(selector),
                                  .trim = trim,
                                  .file = file.s};
    src->cache = client_cache_new(s->node->client, &o);
    client_cache_on_change(src->cache, on_change, src);
    client_cache_on_synced(src->cache, on_synced, src);
    client_cache_start(src->cache);
    return src;
}

int sources_get(struct sources *s, int kind_id, struct str ns, struct str name, struct object **ret)
{
    struct source *src = source_get(s, kind_id, ns, name, false);
    if (!src || !client_cache_synced(src->cache))
        return -EAGAIN;
    *ret = client_cache_get(src->cache, ns, name);
    return *ret ? 1 : 0;
}

/* ---- what a pod refers to ---- */

typedef void (*ref_fn)(void *arg, int kind_id, struct str name);

static void refs_of_container(const struct api_container *c, ref_fn fn, void *arg)
{
    for (uint32_t i = 0; i < c->n_env_from; i++) {
        if (c->env_from[i].config_map_ref)
            fn(arg, KIND_CONFIG_MAP, c->env_from[i].config_map_ref->local_object_reference.name);
        if (c->env_from[i].secret_ref)
            fn(arg, KIND_SECRET, c->env_from[i].secret_ref->local_object_reference.name);
    }
    for (uint32_t i = 0; i < c->n_env; i++) {
        const struct api_env_var_source *s = c->env[i].value_from;
        if (s && s->config_map_key_ref)
            fn(arg, KIND_CONFIG_MAP, s->config_map_key_ref->local_object_reference.name);
        if (s && s->secret_key_ref)
            fn(arg, KIND_SECRET, s->secret_key_ref->local_object_reference.name);
    }
}

static void refs_of_pod(const struct api_pod *m, ref_fn fn, void *arg)
{
    const struct api_pod_spec *s = &m->spec;
    for (uint32_t i = 0; i < s->n_init_containers; i++)
        refs_of_container(&s->init_containers[i], fn, arg);
    for (uint32_t i = 0; i < s->n_containers; i++)
        refs_of_container(&s->containers[i], fn, arg);
    for (uint32_t i = 0; i < s->n_ephemeral_containers; i++)
        refs_of_container(
            (const struct api_container *)&s->ephemeral_containers[i].ephemeral_container_common,
            fn, arg);
    for (uint32_t i = 0; i < s->n_image_pull_secrets; i++)
        fn(arg, KIND_SECRET, s->image_pull_secrets[i].name);
    for (uint32_t i = 0; i < s->n_volumes; i++) {
        const struct api_volume_source *v = &s->volumes[i].volume_source;
        if (v->config_map)
            fn(arg, KIND_CONFIG_MAP, v->config_map->local_object_reference.name);
        if (v->secret)
            fn(arg, KIND_SECRET, v->secret->secret_name);
        for (uint32_t k = 0; v->projected && k < v->projected->n_sources; k++) {
            const struct api_volume_projection *p = &v->projected->sources[k];
            if (p->config_map)
                fn(arg, KIND_CONFIG_MAP, p->config_map->local_object_reference.name);
            if (p->secret)
                fn(arg, KIND_SECRET, p->secret->local_object_reference.name);
        }
    }
}

static void add_user(void *arg, int kind_id, struct str name)
{
    struct pod *p = arg;
    if (name.n == 0 || name.n > 253)
        return;
    struct source *src = source_get(p->node->sources, kind_id, str_z(p->ns), name, true);
    for (unsigned i = 0; i < src->n; i++)
        if (src->users[i] == p)
            return;
    ARRAY_RESERVE(src->users, src->n, src->cap);
    src->users[src->n++] = p;
}

void sources_register(struct sources *s, struct pod *p)
{
    refs_of_pod(pod_msg(p), add_user, p);
}

void sources_unregister(struct sources *s, struct pod *p)
{
    struct source **empty = NULL;
    unsigned n = 0, cap = 0;
    for (struct map_slot *slot = NULL; (slot = map_next(&s->all, slot));) {
        struct source *src = slot->value;
        for (unsigned i = 0; i < src->n; i++)
            if (src->users[i] == p)
                src->users[i--] = src->users[--src->n];
        if (src->n == 0) {
            ARRAY_RESERVE(empty, n, cap);
            empty[n++] = src;
        }
    }
    for (unsigned i = 0; i < n; i++)
        source_free(empty[i]);
    free(empty);
}
