/* Read in two passes: the first finds which record of an object is its last, the second tells them.
 * So a reader never sees what was true once, and compaction is reading and writing. */
#include "client/cache_format.h"
#include "base/hash.h"
#include "base/map.h"

#define MAGIC       STR("davit-cache\n")
#define RECORD_HEAD 12 /* length and sum */
#define OBJECT_HEAD 13 /* type, revision, two lengths */

static void put(struct buf *b, uint64_t v, size_t bytes)
{
    char text[8];

    for (size_t i = 0; i < bytes; i++)
        text[i] = (char)(v >> (8 * i));
    buf_add(b, text, bytes);
}

static uint64_t get(const char *p, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t)(uint8_t)p[i] << (8 * i);
    return v;
}

/* ---- writing ---- */

void cache_format_head(struct buf *b, struct str whose)
{
    size_t at = b->n;

    buf_add_str(b, MAGIC);
    put(b, CACHE_FORMAT_VERSION, 4);
    put(b, whose.n, 4);
    buf_add_str(b, whose);
    put(b, hash_fnv1a64(b->data + at, b->n - at), 8);
}

/* Where the record begins; its head is filled in by record_end. */
static size_t record_begin(struct buf *b, char type)
{
    size_t at = b->n;

    put(b, 0, RECORD_HEAD - 8);
    put(b, 0, 8);
    buf_add_char(b, type);
    return at;
}

static void record_end(struct buf *b, size_t at)
{
    struct buf head = {0};
    size_t n = b->n - at - RECORD_HEAD;

    put(&head, n, 4);
    put(&head, hash_fnv1a64(b->data + at + RECORD_HEAD, n), 8);
    memcpy(b->data + at, head.data, RECORD_HEAD);
    buf_fini(&head);
}

static void add_object(struct buf *b, char type, const struct cache_record *r)
{
    size_t at = record_begin(b, type);

    ASSERT(r->ns.n <= UINT16_MAX && r->name.n <= UINT16_MAX);
    put(b, (uint64_t)r->rev, 8);
    put(b, r->ns.n, 2);
    put(b, r->name.n, 2);
    buf_add_str(b, r->ns);
    buf_add_str(b, r->name);
    buf_add_str(b, r->object);
    record_end(b, at);
}

void cache_format_set(struct buf *b, const struct cache_record *r)
{
    add_object(b, 'S', r);
}

void cache_format_delete(struct buf *b, struct str ns, struct str name)
{
    add_object(b, 'D', &(struct cache_record){.ns = ns, .name = name});
}

void cache_format_end(struct buf *b)
{
    record_end(b, record_begin(b, 'E'));
}

/* ---- reading ---- */

/* The length of the head; 0: not ours. */
static size_t head_check(struct str bytes, struct str whose)
{
    struct buf want = {0};
    size_t n = 0;

    cache_format_head(&want, whose);
    if (bytes.n >= want.n && memcmp(bytes.p, want.data, want.n) == 0)
        n = want.n;
    buf_fini(&want);
    return n;
}

/* The next payload; false: the end, or what is no record. */
static bool record_next(struct str bytes, size_t *at, struct str *ret)
{
    size_t left = bytes.n - *at, n;

    if (left < RECORD_HEAD)
        return false;
    n = (size_t)get(bytes.p + *at, 4);
    if (n == 0 || n > CACHE_RECORD_BYTES_MAX || n > left - RECORD_HEAD)
        return false;
    *ret = (struct str){bytes.p + *at + RECORD_HEAD, n};
    if (hash_fnv1a64(ret->p, n) != get(bytes.p + *at + 4, 8))
        return false;
    *at += RECORD_HEAD + n;
    return true;
}

/* *ret_key: lengths, namespace and name, as they lie there. */
static bool object_parse(struct str payload, struct cache_record *ret, struct str *ret_key)
{
    if (payload.n < OBJECT_HEAD)
        return false;
    size_t ns = (size_t)get(payload.p + 9, 2), name = (size_t)get(payload.p + 11, 2);
    if (ns + name > payload.n - OBJECT_HEAD)
        return false;
    *ret = (struct cache_record){
        .rev = (rev_t)get(payload.p + 1, 8),
        .ns = {payload.p + OBJECT_HEAD, ns},
        .name = {payload.p + OBJECT_HEAD + ns, name},
        .object = str_sub(payload, OBJECT_HEAD + ns + name, payload.n),
    };
    *ret_key = (struct str){payload.p + 9, 4 + ns + name};
    return true;
}

/* Into `last`: key -> the payload, both in the bytes. Whether all of it was there once. */
static bool find_last(struct str bytes, size_t at, struct map *last, size_t *ret_good)
{
    struct str payload, key;
    struct cache_record r;
    bool whole = false;

    for (*ret_good = at; record_next(bytes, &at, &payload); *ret_good = at) {
        char type = payload.p[0];
        if (type == 'E') {
            whole = true;
            continue;
        }
        if ((type != 'S' && type != 'D') || !object_parse(payload, &r, &key))
            break;
        if (type == 'D')
            (void)map_remove(last, key);
        else
            (void)map_set(last, key, (void *)(uintptr_t)payload.p);
    }
    return whole;
}

int cache_format_read(struct str bytes, struct str whose, cache_record_fn fn, void *arg,
                      size_t *ret_good)
{
    size_t at = head_check(bytes, whose);
    struct map last = {0};
    struct cache_record r;
    struct str key;
    int ret = at && find_last(bytes, at, &last, ret_good) ? 0 : -EBADMSG;

    for (struct map_slot *s = NULL; ret >= 0 && (s = map_next(&last, s));) {
        const char *p = s->value;
        struct str payload = {p, (size_t)get(p - RECORD_HEAD, 4)};
        ASSERT(object_parse(payload, &r, &key));
        ret = fn(arg, &r);
    }
    map_fini(&last);
    return MIN(ret, 0);
}
