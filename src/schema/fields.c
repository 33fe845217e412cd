/* Packed sets: reading, writing, combining. All operations walk two sorted levels at once and copy
 * whole entries where only one side has them, so what they cost is the bytes of the sets, and a
 * small set is compared with a large one in a few steps. */
#include "schema/fields_int.h"

#include "base/hash.h"
#include "base/mem.h"
#include "codec/out.h"

#include <pthread.h>

#define FLAG_MEMBER 1u
#define FLAG_SUB    2u
#define FLAG_TEXT   4u

/* ---- which type a set speaks of ---- */

#define ROOTS_SLOTS 512
static const struct schema_desc *roots[ROOTS_SLOTS]; /* by id */
static uint32_t root_ids[ROOTS_SLOTS];
static struct {
    const struct schema_desc *desc;
    uint32_t id;
} roots_of[ROOTS_SLOTS]; /* by address */
static pthread_once_t roots_once = PTHREAD_ONCE_INIT;

static_assert(_KIND_MAX * 3 < ROOTS_SLOTS, "the table of roots should stay sparse");

static uint32_t root_hash(const char *name)
{
    uint32_t h = hash_fnv1a32(name, strlen(name));
    return h ? h : 1;
}

static uint32_t address_hash(const struct schema_desc *d)
{
    return (uint32_t)((uintptr_t)d / sizeof(*d));
}

static void roots_init(void)
{
    for (size_t i = 0; i < _KIND_MAX; i++) {
        const struct schema_desc *d = schema_kinds[i]->desc;
        uint32_t id = root_hash(d->openapi), s = id;
        for (; roots[s % ROOTS_SLOTS] && roots[s % ROOTS_SLOTS] != d; s++)
            ASSERT(root_ids[s % ROOTS_SLOTS] != id);
        roots[s % ROOTS_SLOTS] = d;
        root_ids[s % ROOTS_SLOTS] = id;
        for (s = address_hash(d); roots_of[s % ROOTS_SLOTS].desc; s++)
            if (roots_of[s % ROOTS_SLOTS].desc == d)
                break;
        roots_of[s % ROOTS_SLOTS].desc = d;
        roots_of[s % ROOTS_SLOTS].id = id;
    }
}

static const struct schema_desc *root_find(uint32_t id)
{
    pthread_once(&roots_once, roots_init);
    for (uint32_t s = id; roots[s % ROOTS_SLOTS]; s++)
        if (root_ids[s % ROOTS_SLOTS] == id)
            return roots[s % ROOTS_SLOTS];
    return NULL;
}

static uint32_t root_read(struct str set)
{
    const uint8_t *p = (const uint8_t *)set.p + 1;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

const struct schema_desc *fields_root(struct str set)
{
    return fields_is_packed(set) ? root_find(root_read(set)) : NULL;
}

bool fields_same_root(struct str a, struct str b)
{
    return fields_is_packed(a) && fields_is_packed(b) && memcmp(a.p, b.p, FIELDS_HEAD) == 0;
}

static uint32_t root_of(const struct schema_desc *desc)
{
    pthread_once(&roots_once, roots_init);
    for (uint32_t s = address_hash(desc); roots_of[s % ROOTS_SLOTS].desc; s++)
        if (roots_of[s % ROOTS_SLOTS].desc == desc)
            return roots_of[s % ROOTS_SLOTS].id;
    return 0;
}

bool fields_by_number(const struct schema_desc *desc)
{
    return root_of(desc) != 0;
}

static struct str pack(uint32_t id, struct str body, struct arena *a)
{
    char *p = arena_alloc(a, FIELDS_HEAD + body.n);
    p[0] = FIELDS_MAGIC;
    for (int i = 0; i < 4; i++)
        p[1 + i] = (char)(id >> (8 * i));
    if (body.n)
        memcpy(p + FIELDS_HEAD, body.p, body.n);
    return (struct str){p, FIELDS_HEAD + body.n};
}

struct str fields_pack(const struct schema_desc *desc, struct str body, struct arena *a)
{
    return pack(root_of(desc), body, a);
}

/* ---- reading ---- */

static bool get_varint(struct str *s, uint32_t *ret)
{
    uint32_t v = 0;
    if (LIKELY(s->n && (uint8_t)s->p[0] < 128)) {
        *ret = (uint8_t)*s->p++;
        s->n--;
        return true;
    }
    for (unsigned i = 0; i < s->n && i < 5; i++) {
        uint8_t c = (uint8_t)s->p[i];
        if (i == 4 && c > 15)
            return false;
        v |= (uint32_t)(c & 127) << (7 * i);
        if (c < 128) {
            if (i && !c)
                return false; /* one form of each number only */
            *s = (struct str){s->p + i + 1, s->n - i - 1};
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool get_bytes(struct str *s, struct str *ret)
{
    uint32_t n;
    if (!get_varint(s, &n) || n > s->n)
        return false;
    *ret = (struct str){s->p, n};
    *s = (struct str){s->p + n, s->n - n};
    return true;
}

bool fields_next(struct str *body, struct fields_entry *ret)
{
    uint32_t head;
    if (!body->n)
        return false;
    if (!get_varint(body, &head) || head >> 3 > UINT16_MAX)
        goto broken;
    ret->member = head & FLAG_MEMBER;
    ret->sub = STR_NONE;
    ret->elem = (struct fields_elem){FIELDS_NUMBER, (uint16_t)(head >> 3), STR_NONE};
    if (head & FLAG_TEXT) {
        ret->elem.type = (uint8_t)MIN(ret->elem.number, (uint16_t)FIELDS_NUMBER);
        ret->elem.number = 0;
        if (ret->elem.type >= FIELDS_NUMBER || !get_bytes(body, &ret->elem.text))
            goto broken;
    }
    if (head & FLAG_SUB && (!get_bytes(body, &ret->sub) || !ret->sub.n))
        goto broken;
    if (!ret->member && !ret->sub.n)
        goto broken;
    return true;
broken:
    *body = STR_NONE;
    return false;
}

int fields_elem_cmp(const struct fields_elem *a, const struct fields_elem *b)
{
    if (a->type != b->type) /* numbers first */
        return (a->type + 1) % (FIELDS_NUMBER + 1) - (b->type + 1) % (FIELDS_NUMBER + 1);
    if (a->type == FIELDS_NUMBER)
        return (int)a->number - (int)b->number;
    return str_cmp(a->text, b->text);
}

static bool valid(struct str body, unsigned depth)
{
    struct fields_entry e, last;
    bool first = true;
    if (depth > FIELDS_DEPTH_MAX)
        return false;
    while (body.n) {
        if (!fields_next(&body, &e) || (!first && fields_elem_cmp(&last.elem, &e.elem) >= 0) ||
            !str_utf8_valid(e.elem.text) || !valid(e.sub, depth + 1))
            return false;
        last = e;
        first = false;
    }
    return true;
}

bool fields_valid(struct str set)
{
    return fields_is_packed(set) && valid(fields_body(set), 0);
}

struct fields_level fields_level(struct str body, struct arena *a)
{
    struct fields_level l = {0};
    struct fields_entry e;
    size_t n = 0;
    for (struct str s = body; fields_next(&s, &e);)
        n++;
    l.v = n ? arena_alloc(a, n * sizeof(*l.v)) : NULL;
    while (l.n < n && fields_next(&body, &l.v[l.n]))
        l.n++;
    return l;
}

const struct fields_entry *fields_find(const struct fields_level *l, const struct fields_elem *e)
{
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = fields_elem_cmp(&l->v[mid].elem, e);
        if (c == 0)
            return &l->v[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* ---- writing ---- */

static inline size_t put_varint(char *p, uint32_t v)
{
    size_t n = 0;
    for (; v >= 128; v >>= 7)
        p[n++] = (char)(v | 128);
    p[n++] = (char)v;
    return n;
}

static inline void put_head(struct buf *b, const struct fields_elem *e, uint32_t flags)
{
    char *p = out_room(b, 10 + e->text.n);
    size_t n;
    if (e->type == FIELDS_NUMBER) {
        n = put_varint(p, (uint32_t)e->number << 3 | flags);
    } else {
        n = put_varint(p, (uint32_t)e->type << 3 | flags | FLAG_TEXT);
        n += put_varint(p + n, (uint32_t)e->text.n);
        if (e->text.n)
            memcpy(p + n, e->text.p, e->text.n);
        n += e->text.n;
    }
    b->n += n;
}

void fields_put(struct buf *b, const struct fields_elem *e)
{
    put_head(b, e, FLAG_MEMBER);
}

struct fields_mark fields_begin(struct buf *b, const struct fields_elem *e)
{
    struct fields_mark m = {.at = b->n};
    put_head(b, e, FLAG_SUB);
    *out_room(b, 1) = 0; /* the length, if it is short */
    m.sub = ++b->n;
    return m;
}

void fields_end(struct buf *b, struct fields_mark m, bool member)
{
    size_t n = b->n - m.sub, more;
    char len[5];
    if (!n && !member) {
        b->n = m.at;
        return;
    }
    if (member)
        b->data[m.at] = (char)(b->data[m.at] | (char)FLAG_MEMBER);
    if (!n) {
        b->data[m.at] = (char)(b->data[m.at] & ~(char)FLAG_SUB);
        b->n = m.sub - 1;
        return;
    }
    more = put_varint(len, (uint32_t)n) - 1;
    if (more) {
        (void)buf_reserve(b, more);
        memmove(b->data + m.sub + more, b->data + m.sub, n);
        b->n += more;
    }
    memcpy(b->data + m.sub - 1, len, more + 1);
}

void fields_copy(struct buf *b, const struct fields_entry *e)
{
    put_head(b, &e->elem, (e->member ? FLAG_MEMBER : 0) | (e->sub.n ? FLAG_SUB : 0));
    if (e->sub.n) {
        char *p = buf_reserve(b, 5 + e->sub.n);
        size_t n = put_varint(p, (uint32_t)e->sub.n);
        memcpy(p + n, e->sub.p, e->sub.n);
        b->n += n + e->sub.n;
    }
}

/* ---- combining ---- */

enum op {
    OP_UNION,
    OP_DIFFERENCE,
    OP_INTERSECTION,
};

static void combine(enum op op, struct str a, struct str b, struct buf *out)
{
    struct fields_entry x, y;
    bool more_a = fields_next(&a, &x), more_b = fields_next(&b, &y);
    while (more_a || (more_b && op == OP_UNION)) {
        int c = !more_a ? 1 : !more_b ? -1 : fields_elem_cmp(&x.elem, &y.elem);
        if (c < 0) {
            if (op != OP_INTERSECTION)
                fields_copy(out, &x);
            more_a = fields_next(&a, &x);
        } else if (c > 0) {
            if (op == OP_UNION)
                fields_copy(out, &y);
            more_b = fields_next(&b, &y);
        } else {
            bool member = op == OP_UNION        ? x.member || y.member
                          : op == OP_DIFFERENCE ? x.member && !y.member
                                                : x.member && y.member;
            struct fields_mark m = fields_begin(out, &x.elem);
            combine(op, x.sub, y.sub, out);
            fields_end(out, m, member);
            more_a = fields_next(&a, &x);
            more_b = fields_next(&b, &y);
        }
    }
}

static struct str run(enum op op, struct str a, struct str b, struct arena *arena)
{
    struct buf out = {0};
    ASSERT(fields_same_root(a, b));
    combine(op, fields_body(a), fields_body(b), &out);
    struct str s = pack(root_read(a), buf_str(&out), arena);
    buf_fini(&out);
    return s;
}

struct str fields_union(struct str a, struct str b, struct arena *arena)
{
    if (fields_empty(b))
        return a;
    return fields_empty(a) ? b : run(OP_UNION, a, b, arena);
}

struct str fields_difference(struct str a, struct str b, struct arena *arena)
{
    return fields_intersect(a, b) ? run(OP_DIFFERENCE, a, b, arena) : a;
}

struct str fields_intersection(struct str a, struct str b, struct arena *arena)
{
    if (fields_empty(a))
        return a;
    return fields_empty(b) ? b : run(OP_INTERSECTION, a, b, arena);
}

static bool intersect(struct str a, struct str b)
{
    struct fields_entry x, y;
    bool more_a = fields_next(&a, &x), more_b = fields_next(&b, &y);
    while (more_a && more_b) {
        int c = fields_elem_cmp(&x.elem, &y.elem);
        if (c == 0 && ((x.member && y.member) || intersect(x.sub, y.sub)))
            return true;
        if (c <= 0)
            more_a = fields_next(&a, &x);
        if (c >= 0)
            more_b = fields_next(&b, &y);
    }
    return false;
}

bool fields_intersect(struct str a, struct str b)
{
    if (fields_empty(a) || fields_empty(b))
        return false;
    ASSERT(fields_same_root(a, b));
    return intersect(fields_body(a), fields_body(b));
}

static bool contain(struct str a, struct str b)
{
    struct fields_entry x, y;
    bool more_a = fields_next(&a, &x);
    while (fields_next(&b, &y)) {
        int c = -1;
        while (more_a && (c = fields_elem_cmp(&x.elem, &y.elem)) < 0)
            more_a = fields_next(&a, &x);
        if (!more_a || c > 0 || (y.member && !x.member) || !contain(x.sub, y.sub))
            return false;
    }
    return true;
}

bool fields_contain(struct str a, struct str b)
{
    if (fields_empty(b))
        return true;
    return !fields_empty(a) && contain(fields_body(a), fields_body(b));
}

/* ---- order ---- */

static int entry_cmp(const void *a, const void *b)
{
    const struct fields_entry *x = a, *y = b;
    return fields_elem_cmp(&x->elem, &y->elem);
}

static bool ascending(struct str body, size_t *ret_n)
{
    struct fields_entry e, last;
    bool up = true;
    size_t n = 0;
    for (; fields_next(&body, &e); last = e)
        if (n++ && up)
            up = fields_elem_cmp(&last.elem, &e.elem) < 0;
    *ret_n = n;
    return up;
}

#define SORT_FEW   32 /* so many entries, and so many bytes, are sorted without asking for memory */
#define SORT_BYTES 1024

/* Writes sorted entries; those for the same step become one: of a message printed as part of its
 * parent, or of a key that is there twice. */
static void put_sorted(struct buf *b, const struct fields_entry *v, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t j = i + 1;
        while (j < n && entry_cmp(&v[i], &v[j]) == 0)
            j++;
        if (j == i + 1) {
            fields_copy(b, &v[i++]);
            continue;
        }
        bool member = false;
        struct fields_mark m = fields_begin(b, &v[i].elem);
        for (; i < j; i++) {
            buf_add_str(b, v[i].sub);
            member |= v[i].member;
        }
        fields_sort(b, m.sub);
        fields_end(b, m, member);
    }
}

static void insertion_sort(struct fields_entry *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct fields_entry x = v[i];
        size_t j = i;
        for (; j && entry_cmp(&v[j - 1], &x) > 0; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
}

void fields_sort(struct buf *b, size_t from)
{
    struct fields_entry few[SORT_FEW], *v = few;
    char bytes[SORT_BYTES], *copy = bytes;
    struct str s = str_sub(buf_str(b), from, b->n);
    size_t n, k = 0;
    if (ascending(s, &n))
        return;
    if (n > SORT_FEW)
        v = xcalloc(n, sizeof(*v));
    if (s.n > SORT_BYTES)
        copy = xmalloc(s.n);
    memcpy(copy, s.p, s.n);
    s.p = copy;
    while (k < n && fields_next(&s, &v[k]))
        k++;
    if (k > SORT_FEW)
        qsort(v, k, sizeof(*v), entry_cmp);
    else
        insertion_sort(v, k);
    b->n = from;
    put_sorted(b, v, k);
    if (v != few)
        free(v);
    if (copy != bytes)
        free(copy);
}

/* ---- types ---- */

unsigned fields_steps(const struct schema_desc *desc, const struct schema_field *json,
                      struct fields_elem ret[2])
{
    if (desc->json != desc->fields)
        for (const struct schema_field *f = desc->fields, *end = f + desc->n_fields; f < end; f++) {
            if (!(f->flags & SCHEMA_INLINE) || json->offset < f->offset ||
                json->offset >= f->offset + f->elem_size)
                continue;
            ret[0] = (struct fields_elem){.type = FIELDS_NUMBER, .number = f->number};
            ret[1] = (struct fields_elem){.type = FIELDS_NUMBER, .number = json->number};
            return 2;
        }
    ret[0] = (struct fields_elem){.type = FIELDS_NUMBER, .number = json->number};
    return 1;
}

/* By their numbers in ObjectMeta: name, namespace, selfLink, uid, resourceVersion, generation,
 * creationTimestamp, managedFields. */
bool fields_is_unowned_meta(const struct schema_field *f)
{
    const uint32_t unowned =
        1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 17;
    return f->number < 32 && unowned >> f->number & 1;
}
