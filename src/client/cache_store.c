/* Two levels of maps, namespace then name, so that one namespace is walked without looking at the
 * others and keys need no memory of their own: they are in the entries, or in their objects. Index
 * buckets are arrays; each entry knows its places in them, so it leaves by a swap with the last, at
 * a cost that does not depend on the bucket. */
#include "client/cache_store.h"
#include "base/mem.h"
#include "schema/schema.h"

/* Most keys have one entry, and most entries one key of an index: those need no memory of their
 * own. */
struct cache_bucket {
    union {
        struct cache_entry *one; /* cap 1 */
        struct cache_entry **v;  /* owned; cap of them, then which of its refs each has here */
    };
    uint32_t one_ref;
    uint32_t n, cap;
    uint16_t index, key_len;
    char key[];
};

/* ---- indexes ---- */

static struct cache_entry **bucket_entries(struct cache_bucket *b)
{
    return b->cap == 1 ? &b->one : b->v;
}

static uint32_t *bucket_refs(struct cache_bucket *b)
{
    return b->cap == 1 ? &b->one_ref : (uint32_t *)(b->v + b->cap);
}

static struct str bucket_key(const void *value)
{
    const struct cache_bucket *b = value;

    return (struct str){b->key, b->key_len};
}

static struct cache_bucket *bucket_get(struct cache_store *st, int index, struct str key)
{
    struct cache_bucket *b = catalog_get(&st->indexes[index], key);

    if (b)
        return b;
    ASSERT(key.n <= UINT16_MAX);
    b = xcalloc(1, sizeof(*b) + key.n);
    b->index = (uint16_t)index;
    b->key_len = (uint16_t)key.n;
    b->cap = 1;
    if (key.n)
        memcpy(b->key, key.p, key.n);
    (void)catalog_set(&st->indexes[index], b);
    return b;
}

static void bucket_free(struct cache_bucket *b)
{
    if (b->cap > 1)
        free(b->v);
    free(b);
}

static void bucket_grow(struct cache_bucket *b)
{
    uint32_t cap = b->cap * 2;
    struct cache_entry **v = xmalloc(cap * (sizeof(*v) + sizeof(uint32_t)));

    memcpy(v, bucket_entries(b), b->n * sizeof(*v));
    memcpy(v + cap, bucket_refs(b), b->n * sizeof(uint32_t));
    if (b->cap > 1)
        free(b->v);
    b->v = v;
    b->cap = cap;
}

static struct cache_ref ref_get(const struct cache_entry *e, uint32_t i)
{
    return e->n_refs == 1 ? (struct cache_ref){e->bucket, e->at} : e->refs[i];
}

static void ref_moved(struct cache_entry *e, uint32_t i, uint32_t at)
{
    if (e->n_refs == 1)
        e->at = at;
    else
        e->refs[i].at = at;
}

static void ref_add(struct cache_entry *e, struct cache_ref ref)
{
    if (e->n_refs == 0) {
        e->bucket = ref.bucket;
        e->at = ref.at;
    } else {
        struct cache_ref one = ref_get(e, 0);
        e->refs = xrealloc(e->n_refs == 1 ? NULL : e->refs, (e->n_refs + 1) * sizeof(*e->refs));
        e->refs[0] = one;
        e->refs[e->n_refs] = ref;
    }
    e->n_refs++;
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
        if (ref_get(e, i).bucket == b)
            return;
    if (b->n == b->cap)
        bucket_grow(b);
    bucket_entries(b)[b->n] = e;
    bucket_refs(b)[b->n] = e->n_refs;
    ref_add(e, (struct cache_ref){b, b->n++});
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
    if (e->n_refs > 1)
        free(e->refs);
    e->n_refs = 0;
}

static void bucket_leave(struct cache_store *st, struct cache_bucket *b, uint32_t at)
{
    struct cache_entry **v = bucket_entries(b);
    uint32_t *ref = bucket_refs(b), last = --b->n;

    if (at != last) {
        v[at] = v[last];
        ref[at] = ref[last];
        ref_moved(v[at], ref[at], at);
    }
    if (!b->n) {
        (void)catalog_remove(&st->indexes[b->index], bucket_key(b));
        bucket_free(b);
    }
}

static void entry_unindex(struct cache_store *st, struct cache_entry *e)
{
    for (uint32_t i = 0; i < e->n_refs; i++) {
        struct cache_ref r = ref_get(e, i);
        ASSERT(bucket_entries(r.bucket)[r.at] == e && bucket_refs(r.bucket)[r.at] == i);
        bucket_leave(st, r.bucket, r.at);
    }
    refs_free(e);
}

int cache_store_add_index(struct cache_store *st, client_cache_index_fn fn)
{
    int i = st->n_indexes++;

    ASSERT(st->n == 0);
    st->indexes = xrealloc(st->indexes, (size_t)st->n_indexes * sizeof(*st->indexes));
    st->index_fns = xrealloc(st->index_fns, (size_t)st->n_indexes * sizeof(*st->index_fns));
    st->indexes[i] = CATALOG(bucket_key);
    st->index_fns[i] = fn;
    return i;
}

void **cache_store_bucket(const struct cache_store *st, int index, struct str key, size_t *ret_n)
{
    struct cache_bucket *b;

    ASSERT(index >= 0 && index < st->n_indexes);
    b = catalog_get(&st->indexes[index], key);
    *ret_n = b ? b->n : 0;
    return b ? (void **)bucket_entries(b) : NULL;
}

/* ---- packing ---- */

static void encode(const struct cache_store *st, const struct object *o, struct buf *b)
{
    struct arena a = {0};
    void *copy = arena_alloc(&a, st->kind->desc->size);

    memcpy(copy, o->msg, st->kind->desc->size);
    if (st->trim)
        st->trim(copy, &a, st->trim_for);
    struct api_object_meta *meta = copy; /* the first member of all kinds */
    meta->name = STR_NONE;
    if (o->rev)
        meta->resource_version = STR_NONE;
    schema_encode_pb(st->kind->desc, copy, b);
    arena_fini(&a);
}

static struct str packed_bytes(const struct cache_entry *e)
{
    return (struct str){e->bytes + e->name_n, e->n};
}

struct str cache_entry_encoded(const struct cache_store *st, const struct cache_entry *e,
                               const struct object *o, struct buf *b)
{
    if (e->packed)
        return packed_bytes(e);
    encode(st, o, b);
    return buf_str(b);
}

static struct cache_entry *pack(const struct cache_store *st, const struct object *o)
{
    struct buf b = {0};
    struct str name = object_name(o);
    encode(st, o, &b);
    ASSERT(name.n <= UINT16_MAX);
    struct cache_entry *e = xmalloc(sizeof(*e) + name.n + b.n);
    *e = (struct cache_entry){
        .packed = true, .rev = o->rev, .name_n = (uint16_t)name.n, .n = (uint32_t)b.n};
    memcpy(e->bytes, name.p, name.n);
    memcpy(e->bytes + name.n, b.data, b.n);
    buf_fini(&b);
    return e;
}

static struct cache_entry *hold(struct object *o)
{
    struct cache_entry *e = NEW(struct cache_entry);

    e->object = object_ref(o);
    return e;
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

rev_t cache_entry_rev(const struct cache_entry *e)
{
    return e->packed ? e->rev : e->object->rev;
}

struct str cache_entry_name(const struct cache_entry *e)
{
    return e->packed ? (struct str){e->bytes, e->name_n} : object_name(e->object);
}

static struct str entry_key(const void *value)
{
    return cache_entry_name(value);
}

struct object *cache_entry_object(struct cache_store *st, struct cache_entry *e)
{
    if (!e->packed)
        return e->object;
    ARRAY_RESERVE(st->lent, st->n_lent, st->cap_lent);
    return st->lent[st->n_lent++] =
               cache_object_decode(st->kind, cache_entry_name(e), packed_bytes(e), e->rev);
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
    if (!e->packed)
        (void)object_unref(e->object);
    refs_free(e);
    free(e);
}

void cache_store_fini(struct cache_store *st)
{
    for (int i = 0; i < st->n_indexes; i++) {
        struct cache_bucket *b;
        for (uint32_t at = 0; (b = catalog_next(&st->indexes[i], &at));)
            bucket_free(b);
        catalog_fini(&st->indexes[i]);
    }
    for (struct map_slot *s = NULL; (s = map_next(&st->spaces, s));) {
        struct cache_space *space = s->value;
        struct cache_entry *e;
        for (uint32_t at = 0; (e = catalog_next(&space->names, &at));)
            entry_free(e);
        catalog_fini(&space->names);
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

    return space ? catalog_get(&space->names, name) : NULL;
}

static struct cache_space *space_get(struct cache_store *st, struct str ns)
{
    struct cache_space *space = map_get(&st->spaces, ns);

    if (space)
        return space;
    space = xcalloc(1, sizeof(*space) + ns.n + 1);
    space->names = CATALOG(entry_key);
    space->ns_len = ns.n;
    if (ns.n)
        memcpy(space->ns, ns.p, ns.n);
    (void)map_set(&st->spaces, (struct str){space->ns, space->ns_len}, space);
    return space;
}

void cache_store_set(struct cache_store *st, struct object *o)
{
    struct cache_space *space = space_get(st, object_ns(o));
    struct cache_entry *e = st->packed ? pack(st, o) : hold(o);
    struct cache_entry *was = catalog_set(&space->names, e);

    if (was) {
        e->mark = was->mark;
        e->filed = was->filed;
        e->in_file = was->in_file;
        entry_unindex(st, was);
        entry_free(was);
    } else {
        st->n++;
    }
    entry_index(st, e, o);
}

void cache_store_remove(struct cache_store *st, struct str ns, struct str name)
{
    struct cache_space *space = map_get(&st->spaces, ns);
    struct cache_entry *e = space ? catalog_remove(&space->names, name) : NULL;

    if (!e)
        return;
    entry_unindex(st, e);
    entry_free(e);
    st->n--;
    if (!space->names.n) {
        (void)map_remove(&st->spaces, (struct str){space->ns, space->ns_len});
        catalog_fini(&space->names);
        free(space);
    }
}
