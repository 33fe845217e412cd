/* A place is a pointer and 32 bits of hash, in two arrays: side by side they would be padded to 16.
 * The hash says where a value belongs (as a fraction of the table, so that its size need not be a
 * power of two) and spares nearly every look at a foreign key; nobody's key is read to grow. */
#include "base/catalog.h"
#include "base/hash.h"
#include "base/mem.h"

static uint32_t key_hash(struct str key)
{
    return (uint32_t)(hash_bytes(key.p, key.n) >> 32);
}

static uint32_t home(const struct catalog *c, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * c->cap >> 32);
}

static uint32_t after(const struct catalog *c, uint32_t i)
{
    return i + 1 == c->cap ? 0 : i + 1;
}

static uint32_t distance(const struct catalog *c, uint32_t i)
{
    uint32_t h = home(c, c->hashes[i]);

    return i >= h ? i - h : i + c->cap - h;
}

void catalog_fini(struct catalog *c)
{
    free(c->values);
    *c = CATALOG(c->key);
}

/* Its place, or cap. */
static uint32_t find(const struct catalog *c, struct str key, uint32_t hash)
{
    uint32_t i = home(c, hash);

    if (!c->n)
        return c->cap;
    for (uint32_t d = 0; c->values[i] && distance(c, i) >= d; i = after(c, i), d++)
        if (c->hashes[i] == hash && str_eq(c->key(c->values[i]), key))
            return i;
    return c->cap;
}

static void insert(struct catalog *c, void *value, uint32_t hash)
{
    uint32_t i = home(c, hash), d = 0;

    for (; c->values[i]; i = after(c, i), d++) {
        uint32_t there = distance(c, i);
        if (there < d) {
            void *v = c->values[i];
            uint32_t h = c->hashes[i];
            c->values[i] = value;
            c->hashes[i] = hash;
            value = v;
            hash = h;
            d = there;
        }
    }
    c->values[i] = value;
    c->hashes[i] = hash;
}

/* 8, 12, 16, 24, 32 ... */
static void grow(struct catalog *c)
{
    struct catalog old = *c;

    ASSERT(old.cap < 1u << 31);
    c->cap = !old.cap ? 8 : old.cap & (old.cap - 1) ? old.cap / 3 * 4 : old.cap / 2 * 3;
    c->values = xcalloc(c->cap, sizeof(*c->values) + sizeof(*c->hashes));
    c->hashes = (uint32_t *)(c->values + c->cap);
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.values[i])
            insert(c, old.values[i], old.hashes[i]);
    free(old.values);
}

void *catalog_get(const struct catalog *c, struct str key)
{
    uint32_t i = find(c, key, key_hash(key));

    return i < c->cap ? c->values[i] : NULL;
}

void *catalog_set(struct catalog *c, void *value)
{
    struct str key;
    uint32_t hash, i;

    ASSERT(value != NULL && c->key != NULL);
    key = c->key(value);
    hash = key_hash(key);
    i = find(c, key, hash);
    if (i < c->cap) {
        void *old = c->values[i];
        c->values[i] = value;
        return old;
    }
    if ((c->n + 1) * 8ull > c->cap * 7ull)
        grow(c);
    insert(c, value, hash);
    c->n++;
    return NULL;
}

void *catalog_remove(struct catalog *c, struct str key)
{
    uint32_t i = find(c, key, key_hash(key));
    void *old;

    if (i == c->cap)
        return NULL;
    old = c->values[i];
    for (;;) {
        uint32_t next = after(c, i);
        if (!c->values[next] || distance(c, next) == 0)
            break;
        c->values[i] = c->values[next];
        c->hashes[i] = c->hashes[next];
        i = next;
    }
    c->values[i] = NULL;
    c->n--;
    return old;
}

void *catalog_next(const struct catalog *c, uint32_t *at)
{
    while (*at < c->cap) {
        void *v = c->values[(*at)++];
        if (v)
            return v;
    }
    return NULL;
}
