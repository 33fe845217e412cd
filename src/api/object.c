/* One object is read by the core thread and by several I/O threads at once, and most of its memory
 * is the message and its JSON. The message is one block. The JSON hangs on one atomic word: a
 * pointer and three flag bits. Taking a reference on the blob and dropping the blob exclude each
 * other by the lock bit (held for a handful of instructions, never while encoding), so the sweep
 * that frees cold JSON needs no grace period.
 *
 *   json   63 .................. 3 | 2 USED | 1 LENT | 0 LOCK
 *   USED: asked for since the last object_cool_json. LENT: object_json gave out a borrowed view. */
#include "api/object.h"
#include "base/mem.h"

#include <stdatomic.h>

#define JSON_LOCK  ((uintptr_t)1)
#define JSON_LENT  ((uintptr_t)2)
#define JSON_USED  ((uintptr_t)4)
#define JSON_FLAGS ((uintptr_t)7)

static struct blob *json_blob(uintptr_t v)
{
    return (struct blob *)(v & ~JSON_FLAGS);
}

/* Returns the word without the lock bit. */
static uintptr_t json_lock(struct object *o)
{
    uintptr_t v = atomic_load_explicit(&o->json, memory_order_relaxed);

    for (;;) {
        v &= ~JSON_LOCK;
        if (atomic_compare_exchange_weak_explicit(&o->json, &v, v | JSON_LOCK, memory_order_acquire,
                                                  memory_order_relaxed))
            return v;
    }
}

static void json_unlock(struct object *o, uintptr_t v)
{
    atomic_store_explicit(&o->json, v & ~JSON_LOCK, memory_order_release);
}

/* Decimal, right-aligned in the buffer; printf would cost more than the rest of a small object. */
static struct str rev_print(rev_t rev, char text[24])
{
    char *p = text + 24;

    do {
        *--p = (char)('0' + rev % 10);
        rev /= 10;
    } while (rev);
    return (struct str){p, (size_t)(text + 24 - p)};
}

struct object *object_new(const struct schema_kind *kind, const void *msg, rev_t rev)
{
    struct object *o = xmalloc(sizeof(*o));
    size_t bytes;

    ASSERT(kind->desc->size >= sizeof(struct api_object_meta));
    if (rev) {
        /* only the root is copied twice: a view of msg with another resourceVersion */
        char text[24];
        struct api_object_meta *meta;
        CLEANUP(freep) void *view = xmalloc(kind->desc->size);
        memcpy(view, msg, kind->desc->size);
        meta = view;
        meta->resource_version = rev_print(rev, text);
        o->msg = schema_compact(kind->desc, view, &bytes);
    } else {
        o->msg = schema_compact(kind->desc, msg, &bytes);
    }
    ASSERT(bytes <= UINT32_MAX);
    atomic_init(&o->refs, 1);
    atomic_init(&o->json, 0);
    o->msg_bytes = (uint32_t)bytes;
    o->kind = kind;
    o->rev = rev;
    return o;
}

struct object *object_ref(struct object *o)
{
    uint32_t was = atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);

    ASSERT(was > 0 && was < UINT32_MAX);
    return o;
}

struct object *object_unref(struct object *o)
{
    uint32_t was;

    if (!o)
        return NULL;
    was = atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel);
    ASSERT(was > 0);
    if (was > 1)
        return NULL;
    (void)blob_unref(json_blob(atomic_load_explicit(&o->json, memory_order_relaxed)));
    free(o->msg);
    free(o);
    return NULL;
}

static struct blob *json_get_ref(struct object *o, uintptr_t flags)
{
    uintptr_t v = json_lock(o);
    struct blob *b = json_blob(v);

    if (b)
        (void)blob_ref(b);
    json_unlock(o, b ? v | flags : v);
    return b;
}

struct blob *object_json_peek_ref(struct object *o)
{
    /* the common "no" costs one load */
    if (!json_blob(atomic_load_explicit(&o->json, memory_order_relaxed)))
        return NULL;
    return json_get_ref(o, JSON_USED);
}

static struct blob *json_make_ref(struct object *o, uintptr_t flags)
{
    struct buf buf = {0};
    struct blob *mine, *there;
    uintptr_t v;

    schema_encode_json(o->kind->desc, o->msg, SCHEMA_ENCODE_TYPE_META, &buf);
    ASSERT(!buf.overflow);
    mine = blob_new(buf_str(&buf));
    buf_fini(&buf);
    v = json_lock(o);
    there = json_blob(v);
    if (!there) { /* else another thread was faster: its copy is the shared one */
        v |= (uintptr_t)mine;
        there = mine;
        mine = NULL;
    }
    (void)blob_ref(there);
    json_unlock(o, v | flags);
    (void)blob_unref(mine);
    return there;
}

struct blob *object_json_ref(struct object *o)
{
    struct blob *b = json_get_ref(o, JSON_USED);

    return b ? b : json_make_ref(o, JSON_USED);
}

struct str object_json(struct object *o)
{
    struct blob *b = json_get_ref(o, JSON_USED | JSON_LENT);
    struct str s;

    if (!b)
        b = json_make_ref(o, JSON_USED | JSON_LENT);
    s = blob_str(b);
    (void)blob_unref(b); /* LENT: o's own reference stays */
    return s;
}

void object_forget_json(struct object *o)
{
    uintptr_t v;
    struct blob *b = NULL;

    if (!json_blob(atomic_load_explicit(&o->json, memory_order_relaxed)))
        return;
    v = json_lock(o);
    if (!(v & JSON_LENT) || atomic_load_explicit(&o->refs, memory_order_acquire) == 1) {
        b = json_blob(v);
        v = 0;
    }
    json_unlock(o, v);
    (void)blob_unref(b);
}

void object_cool_json(struct object *o)
{
    uintptr_t v;

    if (!json_blob(atomic_load_explicit(&o->json, memory_order_relaxed)))
        return;
    v = json_lock(o);
    json_unlock(o, v & ~JSON_USED);
    if (!(v & JSON_USED))
        object_forget_json(o);
}

size_t object_json_bytes(const struct object *o)
{
    /* racy against a drop in another thread: only whoever sweeps asks, on the same thread */
    struct blob *b = json_blob(
        atomic_load_explicit(&((struct object *)(uintptr_t)o)->json, memory_order_acquire));

    return b ? b->n : 0;
}
