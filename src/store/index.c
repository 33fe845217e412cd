/* Reads must be ordered (lists are paged by name) and the server may hold a million objects in a
 * few kilobytes each, so the index is a sorted array cut into chunks of at most 128 pointers, with
 * a sorted array of chunks above: a B+tree of fixed height two without separators. A look-up is a
 * binary search in each; an insert moves at most a kilobyte, and once in about sixty inserts a
 * chunk is split and the upper array (8 bytes per about 90 objects) moves. Chunks grow by doubling,
 * so that kinds with three objects stay small; thin neighbours merge. */
#include "store/index.h"
#include "base/mem.h"

#define CHUNK_MAX   128u
#define CHUNK_MIN   8u
#define CHUNK_MERGE 40u /* below this a chunk looks for a neighbour to join */

struct index_chunk {
    uint32_t n, cap;
    struct object *v[];
};

int index_key_cmp(struct str ns_a, struct str name_a, struct str ns_b, struct str name_b)
{
    int c = str_cmp(ns_a, ns_b);

    return c ? c : str_cmp(name_a, name_b);
}

static int obj_cmp(const struct object *o, struct str ns, struct str name)
{
    return index_key_cmp(object_ns(o), object_name(o), ns, name);
}

void index_fini(struct index *ix)
{
    for (size_t i = 0; i < ix->n_chunks; i++) {
        struct index_chunk *c = ix->chunks[i];
        for (uint32_t k = 0; k < c->n; k++)
            (void)object_unref(c->v[k]);
        free(c);
    }
    free(ix->chunks);
    *ix = (struct index){0};
}

/* First place in c whose key is >= (ns, name), or > with `after`. */
static uint32_t chunk_seek(const struct index_chunk *c, struct str ns, struct str name, bool after)
{
    uint32_t lo = 0, hi = c->n;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        int d = obj_cmp(c->v[mid], ns, name);
        if (d < 0 || (after && d == 0))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The last chunk whose first key is <= (ns, name); chunk 0 when there is none. The index is not
 * empty. */
static size_t chunk_find(const struct index *ix, struct str ns, struct str name)
{
    size_t lo = 0, hi = ix->n_chunks;

    /* keys arrive in order at load, and often later: look at the end first */
    if (obj_cmp(ix->chunks[hi - 1]->v[0], ns, name) <= 0)
        return hi - 1;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (obj_cmp(ix->chunks[mid]->v[0], ns, name) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? lo - 1 : 0;
}

struct index_pos index_seek(const struct index *ix, struct str ns, struct str name, bool after)
{
    struct index_pos pos = {0, 0};

    if (!ix->n_chunks)
        return pos;
    pos.chunk = chunk_find(ix, ns, name);
    pos.at = chunk_seek(ix->chunks[pos.chunk], ns, name, after);
    if (pos.at == ix->chunks[pos.chunk]->n)
        pos = (struct index_pos){pos.chunk + 1, 0};
    return pos;
}

struct object *index_at(const struct index *ix, struct index_pos pos)
{
    if (pos.chunk >= ix->n_chunks)
        return NULL;
    ASSERT(pos.at < ix->chunks[pos.chunk]->n);
    return ix->chunks[pos.chunk]->v[pos.at];
}

struct index_pos index_advance(const struct index *ix, struct index_pos pos)
{
    ASSERT(pos.chunk < ix->n_chunks);
    if (++pos.at == ix->chunks[pos.chunk]->n)
        pos = (struct index_pos){pos.chunk + 1, 0};
    return pos;
}

size_t index_distance(const struct index *ix, struct index_pos from, struct index_pos to)
{
    size_t n = to.at;

    ASSERT(from.chunk < to.chunk || (from.chunk == to.chunk && from.at <= to.at));
    for (size_t i = from.chunk; i < to.chunk; i++)
        n += ix->chunks[i]->n;
    return n - from.at;
}

struct object *index_get(const struct index *ix, struct str ns, struct str name)
{
    struct object *o = index_at(ix, index_seek(ix, ns, name, false));

    return o && obj_cmp(o, ns, name) == 0 ? o : NULL;
}

static struct index_chunk *chunk_new(uint32_t cap)
{
    struct index_chunk *c = xmalloc(sizeof(*c) + cap * sizeof(c->v[0]));

    c->n = 0;
    c->cap = cap;
    return c;
}

static void chunk_insert_at(struct index *ix, size_t i, struct index_chunk *c)
{
    ARRAY_RESERVE(ix->chunks, ix->n_chunks, ix->cap_chunks);
    memmove(&ix->chunks[i + 1], &ix->chunks[i], (ix->n_chunks - i) * sizeof(ix->chunks[0]));
    ix->chunks[i] = c;
    ix->n_chunks++;
}

static void chunk_remove_at(struct index *ix, size_t i)
{
    free(ix->chunks[i]);
    ix->n_chunks--;
    memmove(&ix->chunks[i], &ix->chunks[i + 1], (ix->n_chunks - i) * sizeof(ix->chunks[0]));
}

/* Makes room in the chunk at pos; returns where the insert goes now. A split at the very end leaves
 * the full chunk full: keys that arrive in order pack tightly. */
static struct index_pos chunk_make_room(struct index *ix, struct index_pos pos)
{
    struct index_chunk *c = ix->chunks[pos.chunk], *right;
    uint32_t keep;

    if (c->n < c->cap)
        return pos;
    if (c->cap < CHUNK_MAX) {
        c = xrealloc(c, sizeof(*c) + 2 * c->cap * sizeof(c->v[0]));
        c->cap *= 2;
        ix->chunks[pos.chunk] = c;
        return pos;
    }
    keep = pos.at == c->n && pos.chunk + 1 == ix->n_chunks ? c->n : c->n / 2;
    right = chunk_new(CHUNK_MAX);
    right->n = c->n - keep;
    memcpy(right->v, &c->v[keep], right->n * sizeof(c->v[0]));
    c->n = keep;
    chunk_insert_at(ix, pos.chunk + 1, right);
    return pos.at >= keep && (pos.at > keep || keep == CHUNK_MAX)
               ? (struct index_pos){pos.chunk + 1, pos.at - keep}
               : pos;
}

struct object *index_set(struct index *ix, struct object *obj)
{
    struct str ns = object_ns(obj), name = object_name(obj);
    struct index_pos pos = {0, 0};
    struct index_chunk *c;

    if (!ix->n_chunks) {
        chunk_insert_at(ix, 0, chunk_new(CHUNK_MIN));
        ix->chunks[0]->v[ix->chunks[0]->n++] = object_ref(obj);
        ix->n++;
        return NULL;
    }
    pos.chunk = chunk_find(ix, ns, name);
    c = ix->chunks[pos.chunk];
    pos.at = chunk_seek(c, ns, name, false);
    if (pos.at < c->n && obj_cmp(c->v[pos.at], ns, name) == 0) {
        struct object *old = c->v[pos.at];
        c->v[pos.at] = object_ref(obj);
        return old;
    }
    pos = chunk_make_room(ix, pos);
    c = ix->chunks[pos.chunk];
    ASSERT(c->n < c->cap && pos.at <= c->n);
    memmove(&c->v[pos.at + 1], &c->v[pos.at], (c->n - pos.at) * sizeof(c->v[0]));
    c->v[pos.at] = object_ref(obj);
    c->n++;
    ix->n++;
    return NULL;
}

/* Joins the chunk at i with its right neighbour when both fit well into one. */
static bool chunk_try_merge(struct index *ix, size_t i)
{
    struct index_chunk *a, *b;

    if (i + 1 >= ix->n_chunks)
        return false;
    a = ix->chunks[i];
    b = ix->chunks[i + 1];
    if (a->n + b->n > CHUNK_MAX - CHUNK_MAX / 4)
        return false;
    if (a->cap < CHUNK_MAX) {
        a = xrealloc(a, sizeof(*a) + CHUNK_MAX * sizeof(a->v[0]));
        a->cap = CHUNK_MAX;
        ix->chunks[i] = a;
    }
    memcpy(&a->v[a->n], b->v, b->n * sizeof(b->v[0]));
    a->n += b->n;
    chunk_remove_at(ix, i + 1);
    return true;
}

struct object *index_remove(struct index *ix, struct str ns, struct str name)
{
    struct index_pos pos = index_seek(ix, ns, name, false);
    struct object *old = index_at(ix, pos);
    struct index_chunk *c;

    if (!old || obj_cmp(old, ns, name) != 0)
        return NULL;
    c = ix->chunks[pos.chunk];
    c->n--;
    memmove(&c->v[pos.at], &c->v[pos.at + 1], (c->n - pos.at) * sizeof(c->v[0]));
    ix->n--;
    if (c->n == 0)
        chunk_remove_at(ix, pos.chunk);
    else if (c->n < CHUNK_MERGE && !chunk_try_merge(ix, pos.chunk) && pos.chunk > 0)
        (void)chunk_try_merge(ix, pos.chunk - 1);
    return old;
}

bool index_sweep(const struct index *ix, struct index_pos *pos, size_t *budget,
                 void (*fn)(struct object *o))
{
    for (; pos->chunk < ix->n_chunks; *pos = (struct index_pos){pos->chunk + 1, 0}) {
        struct index_chunk *c = ix->chunks[pos->chunk];
        for (; pos->at < c->n; pos->at++, (*budget)--) {
            if (!*budget)
                return true;
            fn(c->v[pos->at]);
        }
    }
    return false;
}
