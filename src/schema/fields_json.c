/* What differs between two JSON texts, as the places of a schema own it. The texts are canonical:
 * members sorted, no spaces, one form of each value. So equal values are equal bytes, members of
 * two objects are met by walking both at once, and the text of a key or of a set's value is cut out
 * of where it stands: nothing is parsed, and what is equal costs a comparison.
 *
 * What stands on one side only is a member with all that is in it; what changes between a list, an
 * object and something else is changed as a whole as well; null has no members and is a value. */
#include "schema/fields_int.h"

#include "base/mem.h"

/* Where the brackets of a text close, so that what lies between them is read when it is looked into
 * and not on every level above. */
struct tape {
    const char *from, *to; /* the text */
    struct bracket {
        uint32_t open, close; /* behind it; while it is open, the bracket around it */
    } * v;                    /* in order; in the arena */
    size_t n, cap;
};

struct walk {
    struct arena *a;
    struct buf *changed, *removed;
    struct tape old, new;
};

/* ---- reading ---- */

#define OUTERMOST UINT32_MAX

static void tape_open(struct tape *t, uint32_t at, uint32_t outer, struct arena *a)
{
    if (t->n == t->cap) {
        size_t cap = t->cap * 2 + 32;
        struct bracket *more = arena_alloc(a, cap * sizeof(*more));
        if (t->n)
            memcpy(more, t->v, t->n * sizeof(*more));
        t->v = more;
        t->cap = cap;
    }
    t->v[t->n++] = (struct bracket){at, outer};
}

/* Behind the string that begins at p. */
static const char *string_end(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

static void tape_make(struct tape *t, struct str text, struct arena *a)
{
    uint32_t inner = OUTERMOST; /* the innermost open bracket */
    *t = (struct tape){0};
    if (!text.n)
        return;
    t->from = text.p;
    t->to = text.p + text.n;
    ASSERT(text.n < UINT32_MAX);
    for (const char *p = t->from; p < t->to; p++) {
        if (*p == '"') {
            p = string_end(p, t->to) - 1;
        } else if ((*p | 0x20) == '{') { /* or [ */
            tape_open(t, (uint32_t)(p - t->from), inner, a);
            inner = (uint32_t)(t->n - 1);
        } else if ((*p | 0x20) == '}' && inner != OUTERMOST) {
            uint32_t outer = t->v[inner].close;
            t->v[inner].close = (uint32_t)(p + 1 - t->from);
            inner = outer;
        }
    }
    while (inner != OUTERMOST) { /* never, of a whole text */
        uint32_t outer = t->v[inner].close;
        t->v[inner].close = (uint32_t)text.n;
        inner = outer;
    }
}

static const char *bracket_end(const struct tape *t, const char *p)
{
    uint32_t at = (uint32_t)(p - t->from);
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (t->v[mid].open <= at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo && t->v[lo - 1].open == at ? t->from + t->v[lo - 1].close : t->to;
}

/* Behind the value at the front of s. Never past the end, whatever the text is. */
static size_t value_size(const struct walk *w, struct str s)
{
    if (!s.n)
        return 0;
    const char *p = s.p, *end = s.p + s.n;
    if (*p == '"') {
        p = string_end(p, end);
    } else if (*p == '{' || *p == '[') {
        p = bracket_end(p >= w->old.from && p < w->old.to ? &w->old : &w->new, p);
    } else {
        while (p < end && *p != ',' && *p != '}' && *p != ']')
            p++;
    }
    return MIN((size_t)(p - s.p), s.n);
}

static struct str take_value(const struct walk *w, struct str *s)
{
    size_t n = value_size(w, *s);
    struct str v = {s->p, n};
    if (n)
        *s = (struct str){s->p + n, s->n - n};
    return v;
}

static enum json_type type_of(struct str v)
{
    switch (v.n ? v.p[0] : 'n') {
    case 'n':
        return JSON_NULL;
    case 't':
    case 'f':
        return JSON_BOOL;
    case '"':
        return JSON_STR;
    case '[':
        return JSON_ARR;
    case '{':
        return JSON_OBJ;
    default:
        return JSON_REAL;
    }
}

/* What stands between the brackets. */
static struct str inside(struct str v)
{
    return v.n > 2 ? str_sub(v, 1, v.n - 1) : STR_NONE;
}

struct member {
    struct str name, value;
    bool there;
};

/* A name with escapes in it. */
static struct str unescaped(struct str quoted, struct arena *a)
{
    struct json *v;
    return json_parse(quoted, a, NULL, &v, NULL) == 0 && v->type == JSON_STR ? v->s : STR("");
}

static struct member take_member(const struct walk *w, struct str *s)
{
    struct member m = {.there = false};
    if (s->n && s->p[0] == ',')
        *s = str_sub(*s, 1, s->n);
    struct str quoted = take_value(w, s);
    if (quoted.n < 2 || s->n < 2) {
        *s = STR_NONE;
        return m;
    }
    m.name = str_sub(quoted, 1, quoted.n - 1);
    if (memchr(m.name.p, '\\', m.name.n))
        m.name = unescaped(quoted, w->a);
    *s = str_sub(*s, 1, s->n); /* the colon */
    m.value = take_value(w, s);
    m.there = m.value.n;
    return m;
}

static struct str value_of(const struct walk *w, struct str object, struct str name)
{
    struct str s = inside(object);
    for (struct member m; (m = take_member(w, &s)).there;)
        if (str_eq(m.name, name))
            return m.value;
    return STR_NONE;
}

/* ---- elements of lists ---- */

struct elem {
    struct str text, value; /* of the step */
};

struct elems {
    struct elem *v; /* sorted, each text once; in the arena */
    size_t n;
};

static int by_text(const void *a, const void *b)
{
    const struct elem *x = a, *y = b;
    int r = str_cmp(x->text, y->text);
    return r ? r : (x->value.p > y->value.p) - (x->value.p < y->value.p);
}

/* Absent: it lacks one that has no default, and nobody can own it. */
static struct str key_text(const struct walk *w, const struct fields_keys *keys, struct str v)
{
    struct buf b = {0};
    struct str text = STR_NONE;
    size_t i = 0;
    for (; i < keys->n && type_of(v) == JSON_OBJ; i++) {
        struct str value = value_of(w, v, keys->v[i].name);
        if (type_of(value) == JSON_NULL)
            value = keys->v[i].deflt;
        if (!value.p)
            break;
        fields_key_head(keys->v[i].name, &b);
        buf_add_str(&b, value);
    }
    if (i == keys->n) {
        OUT_LIT(&b, "}");
        text = arena_str(w->a, buf_str(&b));
    }
    buf_fini(&b);
    return text;
}

static struct elems elems_of(struct walk *w, const struct fields_keys *keys, struct str list)
{
    struct elems l = {0};
    struct str s = inside(list);
    size_t cap = 0, n = 0;
    while (s.n) {
        if (s.p[0] == ',')
            s = str_sub(s, 1, s.n);
        struct str value = take_value(w, &s);
        struct str text = keys->n ? key_text(w, keys, value) : value;
        if (!value.n)
            break;
        if (!text.p)
            continue;
        if (l.n == cap) {
            struct elem *more = arena_alloc(w->a, (cap * 2 + 8) * sizeof(*more));
            if (l.n)
                memcpy(more, l.v, l.n * sizeof(*more));
            l.v = more;
            cap = cap * 2 + 8;
        }
        l.v[l.n++] = (struct elem){text, value};
    }
    if (l.n)
        qsort(l.v, l.n, sizeof(*l.v), by_text);
    for (size_t i = 0; i < l.n; i++) /* of several the first counts */
        if (!n || !str_eq(l.v[n - 1].text, l.v[i].text))
            l.v[n++] = l.v[i];
    l.n = n;
    return l;
}

/* ---- on one side only ---- */

static void put_members(struct walk *w, struct fields_place p, struct str v, struct buf *out);

/* What is in a list or object that is owned by its parts. */
static void put_inside(struct walk *w, struct fields_place p, enum fields_shape shape, struct str v,
                       struct buf *out)
{
    if (shape == FIELDS_MSG) {
        put_members(w, p, v, out);
        return;
    }
    struct fields_keys keys = fields_place_keys(p, w->a);
    struct fields_place below = fields_place_elem(p);
    struct elems l = elems_of(w, &keys, v);
    for (size_t i = 0; i < l.n; i++) {
        struct fields_elem e = fields_elem_named(keys.n ? FIELDS_KEY : FIELDS_VALUE, l.v[i].text);
        struct fields_mark m = fields_begin(out, &e);
        enum fields_shape s = fields_place_shape(below, type_of(l.v[i].value));
        if (s == FIELDS_MSG)
            put_members(w, below, l.v[i].value, out);
        fields_end(out, m, true);
    }
}

/* The shape of a value that has parts; a leaf for all that has none. */
static enum fields_shape shape_of(struct fields_place p, struct str v)
{
    enum json_type t = type_of(v);
    return v.n > 2 && (t == JSON_OBJ || t == JSON_ARR) ? fields_place_shape(p, t) : FIELDS_LEAF;
}

static void put_value(struct walk *w, struct fields_place p, const struct fields_elem *e,
                      struct str v, struct buf *out)
{
    enum fields_shape shape = shape_of(p, v);
    if (shape == FIELDS_LEAF) {
        fields_put(out, e);
        return;
    }
    struct fields_mark m = fields_begin(out, e);
    put_inside(w, p, shape, v, out);
    fields_end(out, m, true);
}

static struct fields_place member_place(struct fields_place p, struct str name)
{
    struct fields_member m = fields_place_member(p, name);
    return m.known ? m.place : (struct fields_place){.type = FIELDS_PLACE_FREE};
}

static void put_members(struct walk *w, struct fields_place p, struct str v, struct buf *out)
{
    struct str s = inside(v);
    for (struct member m; (m = take_member(w, &s)).there;) {
        struct fields_elem e = fields_elem_named(FIELDS_NAME, m.name);
        put_value(w, member_place(p, m.name), &e, m.value, out);
    }
}

/* ---- on both ---- */

static void diff_members(struct walk *w, struct fields_place p, struct str x, struct str y);
static void diff_value(struct walk *w, struct fields_place p, const struct fields_elem *e,
                       struct str x, struct str y);

static void diff_list(struct walk *w, struct fields_place p, struct str x, struct str y)
{
    struct fields_keys keys = fields_place_keys(p, w->a);
    struct fields_place below = fields_place_elem(p);
    struct elems a = elems_of(w, &keys, x), b = elems_of(w, &keys, y);
    for (size_t i = 0, j = 0; i < a.n || j < b.n;) {
        int c = i == a.n ? 1 : j == b.n ? -1 : str_cmp(a.v[i].text, b.v[j].text);
        struct str text = c <= 0 ? a.v[i].text : b.v[j].text;
        struct fields_elem e = fields_elem_named(keys.n ? FIELDS_KEY : FIELDS_VALUE, text);
        struct str old = c <= 0 ? a.v[i++].value : STR_NONE;
        struct str new = c >= 0 ? b.v[j++].value : STR_NONE;
        diff_value(w, below, &e, old, new);
    }
}

static void diff_inside(struct walk *w, struct fields_place p, enum fields_shape shape,
                        struct str x, struct str y)
{
    if (shape == FIELDS_MSG)
        diff_members(w, p, x, y);
    else
        diff_list(w, p, x, y);
}

/* Both are there and differ. */
static void diff_both(struct walk *w, struct fields_place p, const struct fields_elem *e,
                      struct str x, struct str y)
{
    enum fields_shape sx = shape_of(p, x), sy = shape_of(p, y);
    bool hollow_x = x.n <= 2 || type_of(x) == JSON_NULL;
    bool hollow_y = y.n <= 2 || type_of(y) == JSON_NULL;
    struct fields_mark changed, removed;
    if (sx == FIELDS_LEAF && sy == FIELDS_LEAF) {
        fields_put(w->changed, e);
        return;
    }
    /* one that has nothing in it takes the form of the other */
    bool whole = sx != sy && !(sx == FIELDS_LEAF ? hollow_x : hollow_y);
    changed = fields_begin(w->changed, e);
    removed = fields_begin(w->removed, e);
    if (sx == sy) {
        diff_inside(w, p, sx, x, y);
    } else {
        if (sx != FIELDS_LEAF)
            put_inside(w, p, sx, x, w->removed);
        if (sy != FIELDS_LEAF)
            put_inside(w, p, sy, y, w->changed);
    }
    fields_end(w->changed, changed, whole);
    fields_end(w->removed, removed, false);
}

static void diff_value(struct walk *w, struct fields_place p, const struct fields_elem *e,
                       struct str x, struct str y)
{
    if (x.n && y.n) {
        if (!str_eq(x, y))
            diff_both(w, p, e, x, y);
    } else if (y.n) {
        put_value(w, p, e, y, w->changed);
    } else if (x.n) {
        put_value(w, p, e, x, w->removed);
    }
}

static void diff_members(struct walk *w, struct fields_place p, struct str x, struct str y)
{
    struct str s = inside(x), t = inside(y);
    struct member a = take_member(w, &s), b = take_member(w, &t);
    while (a.there || b.there) {
        int c = !a.there ? 1 : !b.there ? -1 : str_cmp(a.name, b.name);
        struct str name = c <= 0 ? a.name : b.name;
        struct fields_elem e = fields_elem_named(FIELDS_NAME, name);
        if (c != 0 || !str_eq(a.value, b.value))
            diff_value(w, member_place(p, name), &e, c <= 0 ? a.value : STR_NONE,
                       c >= 0 ? b.value : STR_NONE);
        if (c <= 0)
            a = take_member(w, &s);
        if (c >= 0)
            b = take_member(w, &t);
    }
}

void fields_diff_json(struct fields_place p, const struct fields_elem *e, struct str old,
                      struct str new, struct arena *a, struct buf *changed, struct buf *removed)
{
    struct walk w = {a, changed, removed, {0}, {0}};
    if (str_eq(old, new))
        return;
    tape_make(&w.old, old, a);
    tape_make(&w.new, new, a);
    diff_value(&w, p, e, old, new);
}

void fields_diff_members(struct fields_place p, struct str old, struct str new, struct arena *a,
                         struct buf *changed, struct buf *removed)
{
    struct walk w = {a, changed, removed, {0}, {0}};
    if (str_eq(old, new))
        return;
    tape_make(&w.old, old, a);
    tape_make(&w.new, new, a);
    diff_members(&w, p, old, new);
}
