/* A cache per kind, found by the kind's number; with each the indexes asked for. */
#include "client/shared.h"

#include "base/mem.h"

#define INDEXES_MAX 8 /* of one kind; each costs memory per object, so there are few */

struct shared_kind {
    struct client_cache *cache; /* owned */
    client_cache_index_fn fns[INDEXES_MAX];
    int numbers[INDEXES_MAX];
    int n_indexes;
};

struct client_shared {
    struct client *client;
    struct client_cache **customs; /* owned; by number less _KIND_MAX */
    size_t n_customs;
    struct shared_kind kinds[_KIND_MAX];
    bool started;
};

struct client_shared *client_shared_new(struct client *c)
{
    struct client_shared *s = NEW(struct client_shared);
    s->client = c;
    return s;
}

struct client_shared *client_shared_free(struct client_shared *s)
{
    if (!s)
        return NULL;
    for (int i = 0; i < _KIND_MAX; i++)
        client_cache_free(s->kinds[i].cache);
    for (size_t i = 0; i < s->n_customs; i++)
        client_cache_free(s->customs[i]);
    free(s->customs);
    free(s);
    return NULL;
}

struct client_cache *client_shared_cache(struct client_shared *s, const struct schema_kind *kind)
{
    struct shared_kind *k = &s->kinds[kind->id];
    if (!k->cache) {
        ASSERT(!s->started);
        k->cache = client_cache_new(s->client, &(struct client_cache_opts){.kind = kind});
    }
    return k->cache;
}

struct client_cache *client_shared_find(const struct client_shared *s,
                                        const struct schema_kind *kind)
{
    if (kind->id < _KIND_MAX)
        return s->kinds[kind->id].cache;
    size_t i = (size_t)kind->id - _KIND_MAX;
    return i < s->n_customs ? s->customs[i] : NULL;
}

struct client_cache *client_shared_custom(struct client_shared *s, const struct schema_kind *kind,
                                          client_cache_index_fn index,
                                          client_cache_change_fn on_change, void *arg)
{
    size_t i = (size_t)kind->id - _KIND_MAX;
    ASSERT(s->started && kind->id >= _KIND_MAX);
    if (i >= s->n_customs) {
        size_t n = i + 16;
        s->customs = xrealloc(s->customs, n * sizeof(*s->customs));
        memset(s->customs + s->n_customs, 0, (n - s->n_customs) * sizeof(*s->customs));
        s->n_customs = n;
    }
    if (s->customs[i])
        return s->customs[i];
    struct client_cache *cache =
        client_cache_new(s->client, &(struct client_cache_opts){.kind = kind});
    (void)client_cache_add_index(cache, index);
    client_cache_on_change(cache, on_change, arg);
    s->customs[i] = cache;
    client_cache_start(cache);
    return cache;
}

int client_shared_index(struct client_shared *s, const struct schema_kind *kind,
                        client_cache_index_fn fn)
{
    struct client_cache *cache = client_shared_cache(s, kind);
    struct shared_kind *k = &s->kinds[kind->id];
    for (int i = 0; i < k->n_indexes; i++)
        if (k->fns[i] == fn)
            return k->numbers[i];
    ASSERT(!s->started && k->n_indexes < INDEXES_MAX);
    k->fns[k->n_indexes] = fn;
    k->numbers[k->n_indexes] = client_cache_add_index(cache, fn);
    return k->numbers[k->n_indexes++];
}

void client_shared_start(struct client_shared *s)
{
    ASSERT(!s->started);
    s->started = true;
    for (int i = 0; i < _KIND_MAX; i++)
        if (s->kinds[i].cache)
            client_cache_start(s->kinds[i].cache);
}

bool client_shared_synced(const struct client_shared *s)
{
    for (int i = 0; i < _KIND_MAX; i++)
        if (s->kinds[i].cache && !client_cache_synced(s->kinds[i].cache))
            return false;
    return s->started;
}

struct client *client_shared_client(const struct client_shared *s)
{
    return s->client;
}
