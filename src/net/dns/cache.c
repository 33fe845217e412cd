/* One cache for cluster answers and for those of others: both cost their bytes, and under a flood
 * of random names what is really asked for stays, since each use moves it away from the end. */
#include "net/dns/cache.h"

#include "base/map.h"
#include "base/mem.h"

struct dns_cache {
    struct map entries;
    struct list lru; /* latest first */
    size_t bytes, entries_max, bytes_max;
};

void dns_key_make(struct dns_key *k, struct str name, uint16_t type, unsigned flags)
{
    ASSERT(name.n && name.n <= DNS_NAME_MAX);
    memcpy(k->p, name.p, name.n);
    k->p[name.n] = (char)(type >> 8);
    k->p[name.n + 1] = (char)type;
    k->p[name.n + 2] = (char)flags;
    k->n = name.n + 3;
}

struct dns_cache *dns_cache_new(size_t entries_max, size_t bytes_max)
{
    struct dns_cache *c = NEW(struct dns_cache);

    list_init(&c->lru);
    c->entries_max = entries_max;
    c->bytes_max = bytes_max;
    return c;
}

static size_t entry_bytes(const struct dns_entry *e)
{
    return sizeof(*e) + e->key_n + dns_answer_bytes(e->answer) + sizeof(struct map_slot);
}

static void drop(struct dns_cache *c, struct dns_entry *e)
{
    c->bytes -= entry_bytes(e);
    map_remove(&c->entries, (struct str){e->key, e->key_n});
    list_remove(&e->lru);
    dns_answer_unref(e->answer);
    free(e);
}

struct dns_cache *dns_cache_free(struct dns_cache *c)
{
    if (!c)
        return NULL;
    while (!list_empty(&c->lru))
        drop(c, LIST_FIRST(&c->lru, struct dns_entry, lru));
    map_fini(&c->entries);
    free(c);
    return NULL;
}

struct dns_entry *dns_cache_get(struct dns_cache *c, const struct dns_key *k)
{
    struct dns_entry *e = map_get(&c->entries, (struct str){k->p, k->n});

    if (e) {
        list_remove(&e->lru);
        list_push_front(&c->lru, &e->lru);
    }
    return e;
}

struct dns_entry *dns_cache_put(struct dns_cache *c, const struct dns_key *k, struct dns_answer *a)
{
    struct dns_entry *e = map_get(&c->entries, (struct str){k->p, k->n});

    dns_answer_ref(a);
    if (e)
        drop(c, e);
    e = xcalloc(1, sizeof(*e) + k->n);
    e->answer = a;
    e->key_n = k->n;
    memcpy(e->key, k->p, k->n);
    list_push_front(&c->lru, &e->lru);
    map_set(&c->entries, (struct str){e->key, e->key_n}, e);
    c->bytes += entry_bytes(e);
    while (c->entries.n > 1 && (c->entries.n > c->entries_max || c->bytes > c->bytes_max))
        drop(c, CONTAINER_OF(c->lru.prev, struct dns_entry, lru));
    return e;
}

size_t dns_cache_count(const struct dns_cache *c)
{
    return c->entries.n;
}

size_t dns_cache_bytes(const struct dns_cache *c)
{
    return c->bytes;
}
