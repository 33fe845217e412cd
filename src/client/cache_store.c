/* Two levels of maps, namespace then name, so that one namespace is walked without looking at the
 * others and keys need no memory of their own: they are borrowed from the objects. Index buckets
 * are arrays; each entry knows its places in them, so it leaves by a swap with the last, at a cost
 * that does not depend on the bucket. */
#include "client/cache_store.h"
#include "base/mem.h"
#include "schema/schema.h"

/* Most keys have one entry, and most entries one key of an index: those need no memory of their
 * own. */
struct cache_bucket {
    struct cache_entry **v; /* owned, unless it is &one */
    uint32_t *ref;          /* the same; which of the entry's refs is this one */
    struct cache_entry *one;
    uint32_t one_ref;
    uint32_t n, cap;
    uint16_t index, key_len;
    char key[];
};

/* ---- indexes ---- */

static struct cache_bucket *bucket_get(struct cache_store *st, int index, struct str key)
{
    struct cache_bucket *b = map_get(&st->indexes[index], key);

    if (b)
        return b;
    ASSERT(key.n <= UINT16_MAX);
    b = xcalloc(1, sizeof(*b) + key.n);
    b->index = (uint16_t)index;
    b->key_len = (uint16_t)key.n;
    b->v = &b->one;
    b->ref = &b->one_ref;
    b->cap = 1;
    if (key.n)
        memcpy(b->key, key.p, key.n);
    (void)map_set(&st->indexes[index], (struct str){b->key, b->key_len}, b);
    return b;
}

static void bucket_free(struct cache_bucket *b)
{
    if (b->v != &b->one) {
        free(b->v);
        free(b->ref);
    }
    free(b);
}

static void bucket_grow(struct cache_bucket *b)
{
    bool inside = b->v == &b->one;

    b->cap *= 2;
    b->v = xrealloc(inside ? NULL : b->v, b->cap * sizeof(*b->v));
    b->ref = xrealloc(inside ? NULL : b->ref, b->cap * sizeof(*b->ref));
    if (inside) {
        b->v[0] = b->one;
        b->ref[0] = b->one_ref;
    }
}

struct emit_ctx {
    struct cache_store *st;
    struct cache_entry *entry;
    int index;
};

static void emit(void *ctx, struct str key)
{
    struct emit_ctx *x = ctx;
    struct cache_entry *e = x->entry;
    struct cache_bucket *b = bucket_get(x->st, x->index, key);

    for (uint32_t i = 0; i < e->n_refs; i++) /* the same key twice */
        if (e->refs[i].bucket == b)
            return;
    if (b->n == b->cap)
        bucket_grow(b);
    if (!e->refs && x->st->n_indexes == 1) {
        e->refs = e->inside;
    } else if (e->refs == e->inside) {
        struct cache_ref one = e->refs[0];
        e->refs = xmalloc(2 * sizeof(*e->refs));
        e->refs[0] = one;
    } else {
        e->refs = xrealloc(e->refs, (e->n_refs + 1) * sizeof(*e->refs));
    }
    e->refs[e->n_refs] = (struct cache_ref){b, b->n};
    b->v[b->n] = e;
    b->ref[b->n++] = e->n_refs++;
}

static void entry_index(struct cache_store *st, struct cache_entry *e, struct object *o)
{
    for (int i = 0; i < st->n_indexes; i++) {
        struct emit_ctx x = {st, e, i};
        st->index_fns[i](o, emit, &x);
    }
}

static void refs_free(struct cache_entry *e)
{
    if (e->refs != e->inside)
        free(e->refs);
    e->refs = NULL;
    e->n_refs = 0;
}

static void entry_unindex(struct cache_store *st, struct cache_entry *e)
{
    for (uint32_t i = 0; i < e->n_refs; i++) {
        struct cache_bucket *b = e->refs[i].bucket;
        uint32_t at = e->refs[i].at;
        ASSERT(b->v[at] == e && b->ref[at] == i);
        b->n--;
        if (at != b->n) {
            b->v[at] = b->v[b->n];
            b->ref[at] = b->ref[b->n];
            b->v[at]->refs[b->ref[at]].at = at;
        }
        if (!b->n) {
            (void)map_remove(&st->indexes[b->index], (struct str){b->key, b->key_len});
            bucket_free(b);
        }
    }
    refs_free(e);
}

int cache_store_add_index(struct cache_store *st, client_cache_index_fn fn)
{
    int i = st->n_indexes++;

    ASSERT(st->n == 0);
    st->indexes = xrealloc(st->indexes, (size_t)st->n_indexes * sizeof(*st->indexes));
    st->index_fns = xrealloc(st->index_fns, (size_t)st->n_indexes * sizeof(*st->index_fns));
    st->indexes[i] = (struct map){0};
    st->index_fns[i] = fn;
    return i;
}

void **cache_store_bucket(const struct cache_store *st, int index, struct str key, size_t *ret_n)
{
    struct cache_bucket *b;

    ASSERT(index >= 0 && index < st->n_indexes);
    b = map_get(&st->indexes[index], key);
    *ret_n = b ? b->n : 0;
    return b ? (void **)b->v : NULL;
}

/* ---- packing ---- */

static void encode(const struct cache_store *st, const struct object *o, struct buf *b)
{
    struct arena a = {0};
    void *copy = arena_alloc(&a, st->kind->desc->size);

    memcpy(copy, o->msg, st->kind->desc->size);
    if (st->trim)
        st->trim(copy, &a);
    struct api_object_meta *meta = copy; /* the first member of all kinds */
    meta->name = STR_NONE;
    if (o->rev)
        meta->resource_version = STR_NONE;
    schema_encode_pb(st->kind->desc, copy, b);
    arena_fini(&a);
}

struct str cache_entry_encoded(const struct cache_store *st, const struct cache_entry *e,
                               const struct object *o, struct buf *b)
{
    if (e->packed)
        return (struct str){e->packed->bytes + e->packed->name_n, e->packed->n};
    encode(st, o, b);
    return buf_str(b);
}

static struct cache_packed *pack(const struct cache_store *st, const struct object *o)
{
    struct buf b = {0};
    struct str name = object_name(o);
    encode(st, o, &b);
    struct cache_packed *p = xmalloc(sizeof(*p) + name.n + b.n);
    *p = (struct cache_packed){.rev = o->rev, .name_n = (uint32_t)name.n, .n = (uint32_t)b.n};
    memcpy(p->bytes, name.p, name.n);
    memcpy(p->bytes + name.n, b.data, b.n);
    buf_fini(&b);
    return p;
}

struct object *cache_object_decode(const struct schema_kind *kind, struct str name,
                                   struct str bytes, rev_t rev)
{
    struct arena a = {0};
    struct api_object_meta *meta = memset(arena_alloc(&a, kind->desc->size), 0, kind->desc->size);
    int r = schema_decode_pb(kind->desc, bytes, &a, meta, NULL);
    ASSERT(r >= 0); /* we wrote it, or looked at it */
    meta->name = name;
    struct object *o = object_new(kind, meta, rev);
    arena_fini(&a);
    return o;
}

static struct object *unpack(const struct cache_store *st, const struct cache_packed *p)
{
    return cache_object_decode(st->kind, (struct str){p->bytes, p->name_n},
                               (struct str){p->bytes + p->name_n, p->n}, p->rev);
}

rev_t cache_entry_rev(const struct cache_entry *e)
{
    return e->packed ? e->packed->rev : e->object->rev;
}

struct str cache_entry_name(const struct cache_entry *e)
{
    return e->packed ? (struct str){e->packed->bytes, e->packed->name_n} : object_name(e->object);
}

struct object *cache_entry_object(struct cache_store *st, struct cache_entry *e)
{
    if (!e->packed)
        return e->object;
    ARRAY_RESERVE(st->lent, st->n_lent, st->cap_lent);
    return st->lent[st->n_lent++] = unpack(st, e->packed);
}

void cache_store_settle(struct cache_store *st)
{
    for (size_t i = 0; i < st->n_lent; i++)
        (void)object_unref(st->lent[i]);
    free(st->lent);
    st->lent = NULL;
    st->n_lent = st->cap_lent = 0;
}

/* ---- objects ---- */

static void entry_free(struct cache_entry *e)
{
    (void)object_unref(e->object);
    free(e->packed);
    refs_free(e);
    free(e);
}

void cache_store_fini(struct cache_store *st)
{
    for (int i = 0; i < st->n_indexes; i++) {
        for (struct map_slot *s = NULL; (s = map_next(&st->indexes[i], s));)
            bucket_free(s->value);
        map_fini(&st->indexes[i]);
    }
    for (struct map_slot *s = NULL; (s = map_next(&st->spaces, s));) {
        struct cache_space *space = s->value;
        for (struct map_slot *o = NULL; (o = map_next(&space->names, o));)
            entry_free(o->value);
        map_fini(&space->names);
        free(space);
    }
    map_fini(&st->spaces);
    cache_store_settle(st);
    free(st->indexes);
    free(st->index_fns);
    *st = (struct cache_store){0};
}

struct cache_entry *cache_store_find(const struct cache_store *st, struct str ns, struct str name)
{
    struct cache_space *space = map_get(&st->spaces, ns);

    return space ? map_get(&space->names, name) : NULL;
}

void cache_store_set(struct cache_store *st, struct object *o)
{
    struct str ns = object_ns(o);
    struct cache_space *space = map_get(&st->spaces, ns);
    struct cache_entry *e;
    struct cache_packed *was;
    struct object *old;

    if (!space) {
        space = xcalloc(1, sizeof(*space) + ns.n + 1);
        space->ns_len = ns.n;
        if (ns.n)
            memcpy(space->ns, ns.p, ns.n);
        (void)map_set(&st->spaces, (struct str){space->ns, space->ns_len}, space);
    }
    e = map_get(&space->names, object_name(o));
    if (!e) {
        /* room inside for one ref, where that is what most will have */
        e = xcalloc(1, sizeof(*e) + (st->n_indexes == 1 ? sizeof(e->inside[0]) : 0));
        st->n++;
    }
    entry_unindex(st, e);
    old = e->object;
    was = e->packed;
    if (st->packed)
        e->packed = pack(st, o);
    else
        e->object = object_ref(o);
    (void)map_set(&space->names, cache_entry_name(e), e); /* the key moves to the new object */
    entry_index(st, e, o);
    free(was);
    (void)object_unref(old);
}

void cache_store_remove(struct cache_store *st, struct str ns, struct str name)
{
    struct cache_space *space = map_get(&st->spaces, ns);
    struct cache_entry *e = space ? map_remove(&space->names, name) : NULL;

    if (!e)
        return;
    entry_unindex(st, e);
    entry_free(e);
    st->n--;
    if (!space->names.n) {
        (void)map_remove(&st->spaces, (struct str){space->ns, space->ns_len});
        map_fini(&space->names);
        free(space);
    }
}
