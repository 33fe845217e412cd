/* LMDB trusts its file: a flipped bit in a page makes it follow wild pointers. A damaged disk must
 * give a person a sentence, not a crash, so before LMDB opens a file this walks both trees of its
 * newest state by the published layout (data version 1, the one of all 0.9 releases) and checks
 * everything LMDB will rely on: page numbers, page types, bounds of every node, key order across
 * the whole tree, depth and counts, and that no page is used twice or listed as free while in use.
 * Values have checksums of their own (record.c).
 *
 *   page    u64 number | u16 pad | u16 flags | u16 lower, u16 upper (or u32 pages, on overflow) |
 * u16 offsets[] node    u16 lo | u16 hi | u16 flags | u16 key bytes | key | data, or 8 bytes page
 * number when big branch: child page = lo, hi, flags as 48 bits; leaf: data bytes = lo, hi as 32
 * bits tree    u32 pad | u16 flags | u16 depth | u64 branch, leaf, overflow pages, entries, root
 *   meta    u32 magic | u32 version | u64 address | u64 map bytes | tree free | tree main | u64
 * last page | u64 txn on pages 0 and 1; a commit writes page (txn & 1), the larger txn is the newer
 * state */
#include "store/lmdb_check.h"
#include "base/mem.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define LMDB_MAGIC    0xBEEFC0DEu
#define LMDB_VERSION  1u
#define PAGE_HEAD     16u
#define NODE_HEAD     8u
#define PAGE_BRANCH   0x01u
#define PAGE_LEAF     0x02u
#define PAGE_OVERFLOW 0x04u
#define PAGE_META     0x08u
#define PAGE_DIRTY    0x10u
#define NODE_BIG      0x01u
#define KEY_BYTES_MAX 511u
#define DEPTH_MAX     32u /* LMDB's own limit */
#define NO_PAGE       UINT64_MAX
#define TAIL_PAGES    ((uint64_t)1 << 18) /* allocated in one transaction and never written */
#define META_TREES    (PAGE_HEAD + 24u)
#define TREE_BYTES    48u
#define META_END      (META_TREES + 2 * TREE_BYTES + 16)

struct tree {
    uint16_t flags, depth;
    uint64_t branches, leaves, overflows, entries, root;
};

struct span { /* a key */
    const uint8_t *p;
    size_t n;
};

struct check {
    const uint8_t *map;
    uint64_t size, pages, last_page; /* pages: whole ones in the file */
    uint32_t page_bytes;
    uint8_t *used; /* owned; bit per page */
    bool is_free_tree;
    struct tree seen;
    struct span prev; /* key before, in order of the walk */
    bool has_prev;
    struct error *err;
};

static uint16_t u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint32_t u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static int damaged(struct check *c, const char *what, uint64_t page)
{
    (void)error_set(c->err, REASON_INTERNAL, "it is damaged (%s, page %llu)", what,
                    (unsigned long long)page);
    return -EBADMSG;
}

static int key_cmp(const struct check *c, struct span a, struct span b)
{
    int d;

    if (c->is_free_tree) { /* keys are numbers */
        uint64_t x = u64(a.p), y = u64(b.p);
        return (x > y) - (x < y);
    }
    d = memcmp(a.p, b.p, MIN(a.n, b.n));
    return d ? d : (a.n > b.n) - (a.n < b.n);
}

static int page_use(struct check *c, uint64_t first, uint64_t n)
{
    for (uint64_t i = first; i < first + n; i++) {
        if (c->used[i / 8] & 1u << (i % 8))
            return damaged(c, "a page is used twice", i);
        c->used[i / 8] |= (uint8_t)(1u << (i % 8));
    }
    return 0;
}

static bool page_range_ok(const struct check *c, uint64_t first, uint64_t n)
{
    return first >= 2 && n > 0 && first <= c->last_page && n <= c->last_page - first + 1 &&
           first + n <= c->pages;
}

/* The list of free pages: a count, then page numbers, descending. */
static int check_free_list(struct check *c, const uint8_t *data, uint64_t bytes, uint64_t page)
{
    uint64_t n, before = NO_PAGE;

    if (bytes < 8 || (n = u64(data)) > bytes / 8 - 1)
        return damaged(c, "the list of free pages is cut short", page);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t p = u64(data + 8 + 8 * i);
        if (p < 2 || p > c->last_page || p >= before)
            return damaged(c, "the list of free pages is wrong", page);
        before = p;
        if (c->used[p / 8] & 1u << (p % 8))
            return damaged(c, "a page is free and in use", p);
        c->used[p / 8] |= (uint8_t)(1u << (p % 8));
    }
    return 0;
}

static int check_leaf_node(struct check *c, const uint8_t *node, size_t room, uint64_t page)
{
    uint64_t bytes = u16(node) | (uint64_t)u16(node + 2) << 16, first, n;
    size_t key_bytes = u16(node + 6), flags = u16(node + 4);
    const uint8_t *data = node + NODE_HEAD + key_bytes;
    int r;

    room -= NODE_HEAD + key_bytes;
    if (flags & ~NODE_BIG)
        return damaged(c, "a record has unknown flags", page);
    if (flags & NODE_BIG) {
        if (room < 8)
            return damaged(c, "a record is cut short", page);
        first = u64(data);
        n = (PAGE_HEAD + bytes + c->page_bytes - 1) / c->page_bytes;
        if (!page_range_ok(c, first, n))
            return damaged(c, "a large record lies outside of the file", page);
        data = c->map + first * c->page_bytes;
        if (u64(data) != first || (u16(data + 10) & ~PAGE_DIRTY) != PAGE_OVERFLOW ||
            u32(data + 12) != n)
            return damaged(c, "the head of a large record is wrong", first);
        r = page_use(c, first, n);
        if (r < 0)
            return r;
        c->seen.overflows += n;
        data += PAGE_HEAD;
    } else if (bytes > room) {
        return damaged(c, "a record is cut short", page);
    }
    c->seen.entries++;
    return c->is_free_tree ? check_free_list(c, data, bytes, page) : 0;
}

static int check_page(struct check *c, uint64_t page, unsigned depth, unsigned depth_max);

static int check_node(struct check *c, const uint8_t *p, unsigned i, bool leaf, uint64_t page,
                      unsigned depth, unsigned depth_max)
{
    size_t at = u16(p + PAGE_HEAD + 2 * i), upper = u16(p + 14);
    const uint8_t *node = p + at;
    struct span key;
    int r;

    if (at < upper || at % 2 || at + NODE_HEAD > c->page_bytes)
        return damaged(c, "an entry lies outside of its page", page);
    key = (struct span){node + NODE_HEAD, u16(node + 6)};
    if (key.n > KEY_BYTES_MAX || at + NODE_HEAD + key.n > c->page_bytes)
        return damaged(c, "a key is too long", page);
    if (!leaf && i == 0) /* the first child of a branch has no key of its own */
        return check_page(c,
                          u16(node) | (uint64_t)u16(node + 2) << 16 | (uint64_t)u16(node + 4) << 32,
                          depth + 1, depth_max);
    if (key.n == 0 || (c->is_free_tree && key.n != 8))
        return damaged(c, "a key has a wrong size", page);
    /* a leaf's keys rise strictly; a separator is at most the first key below it */
    if (c->has_prev && key_cmp(c, c->prev, key) >= 0)
        return damaged(c, "keys are out of order", page);
    if (leaf) {
        c->prev = key;
        c->has_prev = true;
        return check_leaf_node(c, node, c->page_bytes - at, page);
    }
    r = check_page(c, u16(node) | (uint64_t)u16(node + 2) << 16 | (uint64_t)u16(node + 4) << 32,
                   depth + 1, depth_max);
    return r;
}

/* The smallest key below `page`; the tree under it has been checked. */
static struct span first_key(const struct check *c, uint64_t page)
{
    for (;;) {
        const uint8_t *p = c->map + page * c->page_bytes, *node = p + u16(p + PAGE_HEAD);
        if (u16(p + 10) & PAGE_LEAF)
            return (struct span){node + NODE_HEAD, u16(node + 6)};
        page = u16(node) | (uint64_t)u16(node + 2) << 16 | (uint64_t)u16(node + 4) << 32;
    }
}

static int check_separators(struct check *c, const uint8_t *p, unsigned n, uint64_t page)
{
    for (unsigned i = 1; i < n; i++) {
        const uint8_t *node = p + u16(p + PAGE_HEAD + 2 * i);
        struct span key = {node + NODE_HEAD, u16(node + 6)};
        uint64_t child = u16(node) | (uint64_t)u16(node + 2) << 16 | (uint64_t)u16(node + 4) << 32;
        if (key_cmp(c, key, first_key(c, child)) > 0)
            return damaged(c, "keys are out of order", page);
    }
    return 0;
}

static int check_page(struct check *c, uint64_t page, unsigned depth, unsigned depth_max)
{
    const uint8_t *p;
    unsigned flags, lower, upper, n;
    bool leaf = depth == depth_max;
    int r;

    if (!page_range_ok(c, page, 1))
        return damaged(c, "a page lies outside of the file", page);
    r = page_use(c, page, 1);
    if (r < 0)
        return r;
    p = c->map + page * c->page_bytes;
    flags = u16(p + 10) & ~PAGE_DIRTY;
    lower = u16(p + 12);
    upper = u16(p + 14);
    if (u64(p) != page || flags != (leaf ? PAGE_LEAF : PAGE_BRANCH))
        return damaged(c, "a page has a wrong head", page);
    if (lower < PAGE_HEAD || lower > upper || upper > c->page_bytes || lower % 2)
        return damaged(c, "a page has wrong bounds", page);
    n = (lower - PAGE_HEAD) / 2;
    if (n < (leaf ? 1u : 2u))
        return damaged(c, "a page is empty", page);
    if (leaf)
        c->seen.leaves++;
    else
        c->seen.branches++;
    for (unsigned i = 0; i < n; i++) {
        r = check_node(c, p, i, leaf, page, depth, depth_max);
        if (r < 0)
            return r;
    }
    return leaf ? 0 : check_separators(c, p, n, page);
}

static struct tree tree_read(const uint8_t *p)
{
    return (struct tree){.flags = u16(p + 4),
                         .depth = u16(p + 6),
                         .branches = u64(p + 8),
                         .leaves = u64(p + 16),
                         .overflows = u64(p + 24),
                         .entries = u64(p + 32),
                         .root = u64(p + 40)};
}

static int check_tree(struct check *c, struct tree t, bool is_free_tree)
{
    int r = 0;

    c->is_free_tree = is_free_tree;
    c->seen = (struct tree){0};
    c->has_prev = false;
    if (t.depth > DEPTH_MAX || (t.root == NO_PAGE) != (t.depth == 0))
        return damaged(c, "the depth of a tree is wrong", t.root);
    if (t.root != NO_PAGE)
        r = check_page(c, t.root, 1, t.depth);
    if (r < 0)
        return r;
    if (t.branches != c->seen.branches || t.leaves != c->seen.leaves ||
        t.overflows != c->seen.overflows || t.entries != c->seen.entries)
        return damaged(c, "the counts of a tree are wrong", t.root);
    return 0;
}

static bool meta_ok(const uint8_t *p, unsigned number)
{
    return u64(p) == number && (u16(p + 10) & ~PAGE_DIRTY) == PAGE_META &&
           u32(p + PAGE_HEAD) == LMDB_MAGIC;
}

static int check_map(struct check *c)
{
    const uint8_t *meta[2], *newest;
    uint64_t txn[2];
    struct tree main_tree, free_tree;
    int r;

    if (c->size < 1024 || !meta_ok(c->map, 0))
        return damaged(c, "it has no head", 0);
    if (u32(c->map + PAGE_HEAD + 4) != LMDB_VERSION) {
        (void)error_set(c->err, REASON_INTERNAL,
                        "it was written by another version of LMDB (data version %u)",
                        u32(c->map + PAGE_HEAD + 4));
        return -EBADMSG;
    }
    c->page_bytes = u32(c->map + META_TREES); /* kept in the pad of the tree of free pages */
    if (c->page_bytes < 512 || c->page_bytes > 65536 || (c->page_bytes & (c->page_bytes - 1)) ||
        c->size < 2 * (uint64_t)c->page_bytes)
        return damaged(c, "the page size is wrong", 0);
    for (unsigned i = 0; i < 2; i++) {
        meta[i] = c->map + i * c->page_bytes;
        if (!meta_ok(meta[i], i) || u32(meta[i] + PAGE_HEAD + 4) != LMDB_VERSION ||
            u32(meta[i] + META_TREES) != c->page_bytes)
            return damaged(c, "the head is wrong", i);
        txn[i] = u64(meta[i] + META_END - 8);
    }
    /* commits alternate; a state that is older than by one was not the last one */
    if ((txn[0] || txn[1]) &&
        (txn[0] % 2 != 0 || txn[1] % 2 != 1 || (txn[0] + 1 != txn[1] && txn[1] + 1 != txn[0])))
        return damaged(c, "the heads do not belong together", 0);
    newest = meta[txn[1] > txn[0]];
    c->last_page = u64(newest + META_END - 16);
    c->pages = c->size / c->page_bytes;
    if (c->last_page < 1 || c->last_page > c->pages + TAIL_PAGES)
        return damaged(c, "the number of pages is wrong", c->last_page);
    free_tree = tree_read(newest + META_TREES);
    main_tree = tree_read(newest + META_TREES + TREE_BYTES);
    /* free: integer keys; LMDB notes the flags it was opened with in the upper byte */
    if (main_tree.flags != 0 || (free_tree.flags & 0xff) != 0x08)
        return damaged(c, "the flags of a tree are wrong", 0);
    c->used = xcalloc(c->last_page / 8 + 1, 1);
    r = check_tree(c, main_tree, false);
    if (r == 0)
        r = check_tree(c, free_tree, true);
    free(c->used);
    return r;
}

int lmdb_check(int fd, struct error *err)
{
    struct check c = {.err = err};
    struct stat st;
    void *map;
    int r;

    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "fstat");
    if (st.st_size < 1024)
        return damaged(&c, "it is cut short", 0);
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return error_errno(err, errno, "mmap");
    c.map = map;
    c.size = (uint64_t)st.st_size;
    r = check_map(&c);
    (void)munmap(map, (size_t)st.st_size);
    return r;
}
