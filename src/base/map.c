/* Robin hood hashing: lookups of absent keys stop early, deletion shifts back instead of leaving
 * tombstones, and a slot is one cache line half. */
#include "base/map.h"
#include "base/hash.h"
#include "base/mem.h"

static uint64_t slot_hash(struct str key)
{
    uint64_t h = str_hash(key);

    return h ? h : 1;
}

static size_t slot_distance(const struct map *m, size_t i)
{
    return (i - m->slots[i].hash) & (m->cap - 1);
}

void map_fini(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

void map_clear(struct map *m)
{
    if (m->slots)
        memset(m->slots, 0, m->cap * sizeof(*m->slots));
    m->n = 0;
}

static struct map_slot *slot_find(const struct map *m, struct str key, uint64_t hash)
{
    if (!m->n)
        return NULL;
    for (size_t i = hash & (m->cap - 1), d = 0;; i = (i + 1) & (m->cap - 1), d++) {
        struct map_slot *s = &m->slots[i];
        if (!s->hash || slot_distance(m, i) < d)
            return NULL;
        if (s->hash == hash && str_eq(s->key, key))
            return s;
    }
}

static void slot_insert(struct map *m, struct map_slot in)
{
    for (size_t i = in.hash & (m->cap - 1), d = 0;; i = (i + 1) & (m->cap - 1), d++) {
        struct map_slot *s = &m->slots[i];
        size_t sd;
        if (!s->hash) {
            *s = in;
            return;
        }
        sd = slot_distance(m, i);
        if (sd < d) {
            struct map_slot t = *s;
            *s = in;
            in = t;
            d = sd;
        }
    }
}

static void map_grow(struct map *m)
{
    struct map old = *m;

    m->cap = old.cap ? old.cap * 2 : 8;
    m->slots = xcalloc(m->cap, sizeof(*m->slots));
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].hash)
            slot_insert(m, old.slots[i]);
    free(old.slots);
}

void *map_get(const struct map *m, struct str key)
{
    struct map_slot *s = m->n ? slot_find(m, key, slot_hash(key)) : NULL;

    return s ? s->value : NULL;
}

void *map_set(struct map *m, struct str key, void *value)
{
    uint64_t hash = slot_hash(key);
    struct map_slot *s = slot_find(m, key, hash);

    ASSERT(value != NULL);
    if (s) {
        void *old = s->value;
        s->key = key;
        s->value = value;
        return old;
    }
    if ((m->n + 1) * 8 > m->cap * 7)
        map_grow(m);
    slot_insert(m, (struct map_slot){hash, key, value});
    m->n++;
    return NULL;
}

void *map_remove(struct map *m, struct str key)
{
    struct map_slot *s = slot_find(m, key, slot_hash(key));
    size_t i, mask = m->cap - 1;
    void *old;

    if (!s)
        return NULL;
    old = s->value;
    i = (size_t)(s - m->slots);
    for (;;) {
        size_t next = (i + 1) & mask;
        if (!m->slots[next].hash || slot_distance(m, next) == 0)
            break;
        m->slots[i] = m->slots[next];
        i = next;
    }
    m->slots[i] = (struct map_slot){0};
    m->n--;
    return old;
}

struct map_slot *map_next(const struct map *m, struct map_slot *s)
{
    for (size_t i = s ? (size_t)(s - m->slots) + 1 : 0; i < m->cap; i++)
        if (m->slots[i].hash)
            return &m->slots[i];
    return NULL;
}
