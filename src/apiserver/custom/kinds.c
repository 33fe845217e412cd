/* A map by group, version and plural behind a lock that is held for a look-up only. Requests for
 * kinds of the tables never come here. */
#include "apiserver/custom/kinds.h"

#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>

struct entry { /* one definition */
    char *name;
    struct custom **v; /* owned references */
    char **keys;       /* of each: "group/version/plural" */
    size_t n;
};

struct kinds {
    pthread_mutex_t lock;
    _Atomic size_t n;
    _Atomic uint64_t generation;
    struct map by_key;  /* struct custom */
    struct map by_name; /* struct entry */
    /* Core thread: by number of the stored kind less _KIND_MAX; borrowed. */
    const struct schema_kind **current;
    size_t n_current;
};

struct kinds *kinds_new(void)
{
    struct kinds *ks = NEW(struct kinds);
    (void)pthread_mutex_init(&ks->lock, NULL);
    return ks;
}

static void entry_drop(struct kinds *ks, struct entry *e)
{
    for (size_t i = 0; i < e->n; i++) {
        (void)map_remove(&ks->by_key, str_z(e->keys[i]));
        custom_unref(&e->v[i]->kind);
        free(e->keys[i]);
    }
    free(e->keys);
    free(e->v);
    free(e->name);
    free(e);
}

struct kinds *kinds_free(struct kinds *ks)
{
    if (!ks)
        return NULL;
    for (struct map_slot *s = NULL; (s = map_next(&ks->by_name, s));)
        entry_drop(ks, s->value);
    map_fini(&ks->by_name);
    map_fini(&ks->by_key);
    free(ks->current);
    (void)pthread_mutex_destroy(&ks->lock);
    free(ks);
    return NULL;
}

const struct schema_kind *kinds_by_plural(struct kinds *ks, struct str group, struct str version,
                                          struct str plural)
{
    char key[600];
    if (!ks || !atomic_load_explicit(&ks->n, memory_order_acquire) ||
        group.n + version.n + plural.n + 3 > sizeof(key))
        return NULL;
    int n = snprintf(key, sizeof(key), "%.*s/%.*s/%.*s", STR_ARG(group), STR_ARG(version),
                     STR_ARG(plural));
    (void)pthread_mutex_lock(&ks->lock);
    struct custom *c = map_get(&ks->by_key, (struct str){key, (size_t)n});
    const struct schema_kind *k = c ? custom_ref(&c->kind) : NULL;
    (void)pthread_mutex_unlock(&ks->lock);
    return k;
}

static int by_place(const void *a, const void *b)
{
    const struct schema_kind *x = *(const struct schema_kind *const *)a,
                             *y = *(const struct schema_kind *const *)b;
    int r = strcmp(x->group, y->group);
    if (r == 0)
        r = -schema_version_cmp(str_z(x->version), str_z(y->version));
    return r ? r : strcmp(x->plural, y->plural);
}

const struct schema_kind **kinds_list(struct kinds *ks, size_t *ret_n, uint64_t *ret_generation)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&ks->lock);
    const struct schema_kind **v = xcalloc(ks->by_key.n + 1, sizeof(*v));
    for (struct map_slot *s = NULL; (s = map_next(&ks->by_key, s));)
        v[n++] = custom_ref(&((struct custom *)s->value)->kind);
    *ret_generation = atomic_load(&ks->generation);
    (void)pthread_mutex_unlock(&ks->lock);
    qsort(v, n, sizeof(*v), by_place);
    *ret_n = n;
    return v;
}

void kinds_list_free(const struct schema_kind **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        custom_unref(v[i]);
    free(v);
}

uint64_t kinds_generation(struct kinds *ks)
{
    return atomic_load_explicit(&ks->generation, memory_order_acquire);
}

static void current_set(struct kinds *ks, const struct schema_kind *stored,
                        const struct schema_kind *k)
{
    size_t i = (size_t)stored->id - _KIND_MAX;
    if (i >= ks->n_current) {
        ks->current = xrealloc(ks->current, (i + 16) * sizeof(*ks->current));
        memset(ks->current + ks->n_current, 0, (i + 16 - ks->n_current) * sizeof(*ks->current));
        ks->n_current = i + 16;
    }
    ks->current[i] = k;
}

void kinds_set(struct kinds *ks, struct str definition, struct custom *const *v, size_t n)
{
    struct entry *e = NULL, *old;
    if (n) {
        e = NEW(struct entry);
        e->name = str_dup(definition);
        e->v = xcalloc(n, sizeof(*e->v));
        e->keys = xcalloc(n, sizeof(*e->keys));
    }
    (void)pthread_mutex_lock(&ks->lock);
    old = map_remove(&ks->by_name, definition);
    if (old) {
        current_set(ks, old->v[0]->kind.stored, NULL);
        entry_drop(ks, old);
    }
    if (n)
        current_set(ks, v[0]->kind.stored, &v[0]->kind);
    for (size_t i = 0; i < n; i++) {
        const struct schema_kind *k = &v[i]->kind;
        e->keys[i] = xasprintf("%s/%s/%s", k->group, k->version, k->plural);
        e->v[i] = v[i];
        e->n++;
        (void)map_set(&ks->by_key, str_z(e->keys[i]), v[i]);
    }
    if (e)
        (void)map_set(&ks->by_name, str_z(e->name), e);
    atomic_store(&ks->n, ks->by_key.n);
    atomic_fetch_add(&ks->generation, 1);
    (void)pthread_mutex_unlock(&ks->lock);
}

const struct schema_kind *kinds_current(struct kinds *ks, const struct schema_kind *stored)
{
    size_t i = (size_t)stored->id - _KIND_MAX;
    return i < ks->n_current ? ks->current[i] : NULL;
}

struct custom *const *kinds_versions(struct kinds *ks, struct str definition, size_t *ret_n)
{
    const struct entry *e = map_get(&ks->by_name, definition); /* nobody else changes the map */
    *ret_n = e ? e->n : 0;
    return e ? e->v : NULL;
}

const struct schema_kind *kinds_by_kind(struct kinds *ks, struct str group, struct str version,
                                        struct str kind)
{
    for (struct map_slot *s = NULL; (s = map_next(&ks->by_key, s));) {
        const struct schema_kind *k = &((struct custom *)s->value)->kind;
        if (str_eqz(kind, k->kind) && str_eqz(group, k->group) && str_eqz(version, k->version))
            return k;
    }
    return NULL;
}
