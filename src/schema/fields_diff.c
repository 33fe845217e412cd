/* What a write changed. Both messages are walked side by side, straight over the structs, and what
 * differs goes into the two sets as it is found; equal parts cost a comparison and no byte.
 *
 * The rules are those of the API's JSON, since that is what clients own: a field is there when it
 * is printed, null is a value, a message or list that has nothing in it on both sides is compared
 * as a whole, and one that is there on one side only is a member itself. */
#include "schema/fields_int.h"

#include "base/set.h"
#include "codec/out.h"
#include "schema/custom.h"

struct diff {
    struct arena *a;
    struct buf changed, removed;
    struct buf text;                        /* scratch */
    const struct schema_field *skip, *meta; /* of the root */
    bool numbers;
    bool status_only; /* of a custom kind */
};

/* The two sets grow together. */
struct marks {
    struct fields_mark changed, removed;
    size_t changed_sub, removed_sub;
};

static struct marks begin(struct diff *d, const struct fields_elem *e)
{
    struct marks m = {.changed = fields_begin(&d->changed, e),
                      .removed = fields_begin(&d->removed, e)};
    m.changed_sub = d->changed.n;
    m.removed_sub = d->removed.n;
    return m;
}

static void end(struct diff *d, const struct marks *m, bool old, bool new)
{
    fields_end(&d->changed, m->changed, new && !old);
    fields_end(&d->removed, m->removed, old && !new);
}

static void sort(struct diff *d, const struct marks *m)
{
    fields_sort(&d->changed, m->changed_sub);
    fields_sort(&d->removed, m->removed_sub);
}

static void diff_msg(struct diff *d, const struct schema_desc *desc, const void *x, const void *y);

static struct fields_elem field_elem(const struct diff *d, const struct schema_field *f)
{
    if (d->numbers)
        return (struct fields_elem){.type = FIELDS_NUMBER, .number = f->number};
    return fields_elem_named(FIELDS_NAME, (struct str){f->name, f->name_len});
}

/* A message behind e; x or y NULL: not there, or null. */
static void diff_sub(struct diff *d, const struct fields_elem *e, const struct schema_desc *desc,
                     const void *x, const void *y, bool old, bool new)
{
    struct marks m = begin(d, e);
    if (x || y)
        diff_msg(d, desc, x, y);
    end(d, &m, old, new);
}

/* ---- lists by key ---- */

#define KEYS_MAX  8
#define LIST_FEW  16 /* up to so many elements are compared with each other */
#define NOT_FOUND UINT32_MAX

struct keys {
    const struct schema_field *f[KEYS_MAX];
    size_t n;
};

static void keys_find(const struct schema_field *list, struct keys *k)
{
    const char *const *name = list->rules->list_map_keys;
    for (; *name && k->n < KEYS_MAX; name++) {
        const struct schema_field *f = schema_field_find(list->msg, *name, strlen(*name));
        size_t i = k->n;
        if (!f)
            continue;
        for (; i && strcmp(k->f[i - 1]->name, f->name) > 0; i--)
            k->f[i] = k->f[i - 1];
        k->f[i] = f;
        k->n++;
    }
}

static bool keys_equal(const struct keys *k, const void *x, const void *y)
{
    for (size_t i = 0; i < k->n; i++)
        if (!schema_field_equal(k->f[i], x, y))
            return false;
    return true;
}

static struct str key_text(struct diff *d, const struct keys *k, const void *elem)
{
    struct buf *b = &d->text;
    buf_clear(b);
    for (size_t i = 0; i < k->n; i++) {
        const struct schema_field *f = k->f[i];
        bool absent = schema_field_absent(f, elem);
        if (absent && f->rules->default_text && f->type == SCHEMA_STRING) {
            fields_key_head((struct str){f->name, f->name_len}, b);
            json_print_str(str_z(f->rules->default_text), b);
        } else if (!absent || f->flags & SCHEMA_ALWAYS) {
            fields_key_head((struct str){f->name, f->name_len}, b);
            schema_field_print(f, elem, b);
        }
    }
    if (!b->n)
        OUT_LIT(b, "{");
    OUT_LIT(b, "}");
    return arena_str(d->a, buf_str(b));
}

static const char *elem_at(const struct schema_field *f, const char *base, uint32_t i)
{
    return base + (size_t)i * f->elem_size;
}

/* For each new element the old one of its key. */
static void match(struct diff *d, const struct schema_field *f, const struct keys *k, const char *x,
                  uint32_t nx, const char *y, uint32_t ny, uint32_t *of, bool *used)
{
    uint32_t i = 0;
    for (; i < ny && i < nx && keys_equal(k, elem_at(f, x, i), elem_at(f, y, i)); i++) {
        of[i] = i;
        used[i] = true;
    }
    uint32_t same = i;
    if (MAX(nx, ny) <= LIST_FEW) {
        for (; i < ny; i++) {
            of[i] = NOT_FOUND;
            for (uint32_t j = same; j < nx && of[i] == NOT_FOUND; j++)
                if (!used[j] && keys_equal(k, elem_at(f, x, j), elem_at(f, y, i)))
                    of[i] = j;
            if (of[i] != NOT_FOUND)
                used[of[i]] = true;
        }
        return;
    }
    struct map at = {0}; /* key -> its place in `used`, the first if several */
    for (uint32_t j = same; j < nx; j++) {
        struct str text = key_text(d, k, elem_at(f, x, j));
        if (!map_get(&at, text))
            (void)map_set(&at, text, &used[j]);
    }
    for (; i < ny; i++) {
        bool *u = map_get(&at, key_text(d, k, elem_at(f, y, i)));
        of[i] = u && !*u ? (uint32_t)(u - used) : NOT_FOUND;
        if (of[i] != NOT_FOUND)
            *u = true;
    }
    map_fini(&at);
}

static void diff_elem(struct diff *d, const struct schema_field *f, const struct keys *k,
                      const void *x, const void *y)
{
    if (x && y && schema_equal(f->msg, x, y))
        return;
    struct fields_elem e = fields_elem_named(FIELDS_KEY, key_text(d, k, y ? y : x));
    if (fields_elem_shape(f) == FIELDS_MSG) {
        diff_sub(d, &e, f->msg, x, y, x, y);
    } else { /* owned as a whole */
        fields_put(y ? &d->changed : &d->removed, &e);
    }
}

static void diff_keyed(struct diff *d, const struct schema_field *f, const void *x, uint32_t nx,
                       const void *y, uint32_t ny)
{
    struct keys k = {0};
    uint32_t few_of[LIST_FEW], *of = few_of;
    bool few_used[LIST_FEW] = {0}, *used = few_used;
    keys_find(f, &k);
    if (MAX(nx, ny) > LIST_FEW) {
        of = ARENA_NEW_N(d->a, uint32_t, ny + 1);
        used = ARENA_NEW_N(d->a, bool, nx + 1);
    }
    match(d, f, &k, x, nx, y, ny, of, used);
    for (uint32_t i = 0; i < ny; i++)
        diff_elem(d, f, &k, of[i] == NOT_FOUND ? NULL : elem_at(f, x, of[i]), elem_at(f, y, i));
    for (uint32_t j = 0; j < nx; j++)
        if (!used[j])
            diff_elem(d, f, &k, elem_at(f, x, j), NULL);
}

/* ---- sets and maps ---- */

static struct str value_text(struct diff *d, const struct schema_field *f, const void *p)
{
    buf_clear(&d->text);
    schema_value_print(f, p, &d->text);
    return arena_str(d->a, buf_str(&d->text));
}

/* Members of b that are not in a. */
static void put_missing(struct diff *d, const struct schema_field *f, const char *a, uint32_t na,
                        const char *b, uint32_t nb, struct buf *out)
{
    struct set there = {0};
    for (uint32_t i = 0; i < na; i++)
        (void)set_add(&there, value_text(d, f, elem_at(f, a, i)));
    for (uint32_t i = 0; i < nb; i++) {
        struct str text = value_text(d, f, elem_at(f, b, i));
        struct fields_elem e = fields_elem_named(FIELDS_VALUE, text);
        if (set_add(&there, text))
            fields_put(out, &e);
    }
    set_fini(&there);
}

static void diff_entry(struct diff *d, const struct schema_field *f, const char *x, const char *y)
{
    struct str key = *(const struct str *)(const void *)(y ? y : x);
    struct fields_elem e = fields_elem_named(FIELDS_NAME, key);
    const char *vx = x ? x + SCHEMA_MAP_VALUE : NULL, *vy = y ? y + SCHEMA_MAP_VALUE : NULL;
    if (fields_elem_shape(f) == FIELDS_MSG)
        diff_sub(d, &e, f->msg, vx, vy, x, y);
    else if (!x || !y || !schema_value_equal(f, vx, vy))
        fields_put(y ? &d->changed : &d->removed, &e);
}

static void diff_map(struct diff *d, const struct schema_field *f, const char *x, uint32_t nx,
                     const char *y, uint32_t ny)
{
    while (nx || ny) {
        int c = !nx   ? 1
                : !ny ? -1
                      : str_cmp(*(const struct str *)(const void *)x,
                                *(const struct str *)(const void *)y);
        diff_entry(d, f, c <= 0 ? x : NULL, c >= 0 ? y : NULL);
        if (c <= 0) {
            x += f->elem_size;
            nx--;
        }
        if (c >= 0) {
            y += f->elem_size;
            ny--;
        }
    }
}

/* ---- fields ---- */

static void diff_many(struct diff *d, const struct schema_field *f, enum fields_shape shape,
                      const void *x, const void *y, bool old, bool new)
{
    const void *ex = old ? schema_elems(f, x) : NULL, *ey = new ? schema_elems(f, y) : NULL;
    uint32_t nx = old ? schema_count(f, x) : 0, ny = new ? schema_count(f, y) : 0;
    struct fields_elem e = field_elem(d, f);
    struct marks m = begin(d, &e);
    if (shape == FIELDS_MAP) {
        diff_map(d, f, ex, nx, ey, ny);
    } else if (shape == FIELDS_KEYED) {
        diff_keyed(d, f, ex, nx, ey, ny);
        sort(d, &m);
    } else {
        put_missing(d, f, ex, nx, ey, ny, &d->changed);
        put_missing(d, f, ey, ny, ex, nx, &d->removed);
        sort(d, &m);
    }
    end(d, &m, old, new);
}

static void diff_field(struct diff *d, const struct schema_field *f, const void *x, const void *y)
{
    bool old = x && schema_field_shown(f, x), new = y &&schema_field_shown(f, y);
    enum fields_shape shape;
    if ((!old && !new) || f == d->skip || (old && new &&schema_field_equal(f, x, y)))
        return;
    shape = fields_shape(f);
    if (shape == FIELDS_LEAF) {
        struct fields_elem e = field_elem(d, f);
        fields_put(new ? &d->changed : &d->removed, &e);
    } else if (shape == FIELDS_MSG) {
        struct fields_elem e = field_elem(d, f);
        diff_sub(d, &e, f->msg, old ? schema_sub(f, x) : NULL, new ? schema_sub(f, y) : NULL, old,
                 new);
    } else {
        diff_many(d, f, shape, x, y, old, new);
    }
}

/* Most fields of most messages: told apart at a glance. */
static inline bool on_neither_side(const struct schema_field *f, const void *x, const void *y)
{
    const uint16_t told = SCHEMA_LIST | SCHEMA_MAP | SCHEMA_POINTER | SCHEMA_OMITZERO;
    return f->probe_size && !(f->flags & SCHEMA_ALWAYS) && (!x || schema_probe_zero(f, x)) &&
           (!y || schema_probe_zero(f, y)) && (f->type < SCHEMA_QUANTITY || f->flags & told);
}

static void diff_inline(struct diff *d, const struct schema_field *f, const void *x, const void *y)
{
    const void *sx = x ? schema_at(f, x) : NULL, *sy = y ? schema_at(f, y) : NULL;
    struct fields_elem e = {.type = FIELDS_NUMBER, .number = f->number};
    if (!d->numbers) {
        diff_msg(d, f->msg, sx, sy);
        return;
    }
    struct marks m = begin(d, &e);
    diff_msg(d, f->msg, sx, sy);
    end(d, &m, false, false);
}

static void diff_msg(struct diff *d, const struct schema_desc *desc, const void *x, const void *y)
{
    size_t changed = d->changed.n, removed = d->removed.n;
    bool meta = d->meta && desc == d->meta->msg;
    if (meta)
        d->meta = NULL; /* that of a template is not the object's */
    for (unsigned i = 0; i < (d->numbers ? (unsigned)desc->max_number + 1 : desc->n_fields); i++) {
        unsigned at = d->numbers ? desc->by_number[i] : i + 1;
        const struct schema_field *f = &desc->fields[at - 1];
        if (!at || (meta && fields_is_unowned_meta(f)) || on_neither_side(f, x, y))
            continue;
        if (f->flags & SCHEMA_INLINE)
            diff_inline(d, f, x, y);
        else
            diff_field(d, f, x, y);
    }
    if (!d->numbers) {
        fields_sort(&d->changed, changed);
        fields_sort(&d->removed, removed);
    }
}

/* A custom kind: its metadata has fields, the rest is text. */
static void diff_custom(struct diff *d, const struct schema_desc *desc, const void *x,
                        const void *y)
{
    const struct custom_object *old = x, *new = y;
    struct fields_place root = fields_place_root(desc);
    if (!d->status_only) {
        diff_field(d, &desc->fields[0], x, y);
        fields_diff_members(root, old->rest, new->rest, d->a, &d->changed, &d->removed);
    }
    if (!d->skip) {
        struct fields_elem e = fields_elem_named(FIELDS_NAME, STR("status"));
        fields_diff_json(fields_place_member(root, STR("status")).place, &e, old->status,
                         new->status, d->a, &d->changed, &d->removed);
    }
    fields_sort(&d->changed, 0);
    fields_sort(&d->removed, 0);
}

bool fields_diff(const struct schema_desc *desc, const void *old, const void *new, const char *skip,
                 struct arena *a, struct fields_diff *ret)
{
    struct diff d = {.a = a, .numbers = fields_by_number(desc)};
    d.skip = skip ? schema_field_find(desc, skip, strlen(skip)) : NULL;
    d.status_only = fields_status_only(desc, skip);
    d.meta = desc->flags & SCHEMA_DESC_OBJECT ? &desc->fields[0] : NULL;
    if (d.skip && desc->json != desc->fields)
        d.skip = NULL; /* no object has both */
    (void)buf_reserve(&d.changed, 256);
    (void)buf_reserve(&d.removed, 64);
    if (desc->flags & SCHEMA_DESC_REST)
        diff_custom(&d, desc, old, new);
    else
        diff_msg(&d, desc, old, new);
    bool any = d.changed.n || d.removed.n;
    ret->changed = fields_pack(desc, buf_str(&d.changed), a);
    ret->removed = fields_pack(desc, buf_str(&d.removed), a);
    buf_fini(&d.changed);
    buf_fini(&d.removed);
    buf_fini(&d.text);
    return any;
}
