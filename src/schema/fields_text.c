/* FieldsV1, the JSON form of a set: an object whose members are steps of paths, "f:NAME",
 * "k:{...}", "v:VALUE", "i:N", each with the set below it; "." says that the path itself is a
 * member, and so does an empty object. Printing finds the names of numbered fields in the type and
 * sorts by name, as readers are used to; a level is as good as sorted, so it is done by insertion.
 */
#include "schema/fields_int.h"

#include "base/mem.h"
#include "codec/out.h"

/* What the steps of one level mean. */
struct at {
    const struct schema_desc *desc;  /* names are fields of this message */
    const struct schema_field *many; /* or steps into this list or map; both NULL: not known */
};

/* What lies below a field. */
static struct at below_field(const struct schema_field *f)
{
    if (!f)
        return (struct at){0};
    if (f->flags & (SCHEMA_LIST | SCHEMA_MAP))
        return (struct at){.many = f};
    return (struct at){.desc = f->msg};
}

static struct at below_elem(const struct at *at)
{
    return (struct at){.desc = at->many ? at->many->msg : NULL};
}

/* ---- printing ---- */

struct item {
    struct str name; /* of a field */
    struct fields_entry e;
    const struct schema_field *f;
};

struct items {
    struct item few[48], *v; /* v: few, or owned */
    size_t n, cap;
};

/* Not zeroed: most levels have a handful. */
static void items_init(struct items *l)
{
    l->v = l->few;
    l->n = 0;
    l->cap = ARRAY_LEN(l->few);
}

static bool item_after(const struct item *a, const struct item *b)
{
    if (a->e.elem.type != b->e.elem.type)
        return a->e.elem.type > b->e.elem.type;
    return str_cmp(a->name, b->name) > 0;
}

static void item_add(struct items *l, const struct item *x)
{
    if (l->n == l->cap) {
        struct item *more = xcalloc(l->cap * 2, sizeof(*more));
        memcpy(more, l->v, l->n * sizeof(*more));
        if (l->v != l->few)
            free(l->v);
        l->v = more;
        l->cap *= 2;
    }
    size_t i = l->n++;
    for (; i && item_after(&l->v[i - 1], x); i--)
        l->v[i] = l->v[i - 1];
    l->v[i] = *x;
}

static void items_read(struct items *l, struct str body, const struct schema_desc *desc)
{
    struct item x;
    while (fields_next(&body, &x.e)) {
        x.f = NULL;
        x.name = x.e.elem.text;
        if (x.e.elem.type == FIELDS_NUMBER) {
            x.f = desc ? schema_field_by_number(desc, x.e.elem.number) : NULL;
            if (!x.f)
                continue; /* of a type that is not known any more */
            if (x.f->flags & SCHEMA_INLINE) {
                items_read(l, x.e.sub, x.f->msg);
                continue;
            }
            x.e.elem.type = FIELDS_NAME;
            x.name = (struct str){x.f->name, x.f->name_len};
        } else if (x.e.elem.type == FIELDS_NAME && desc) {
            x.f = schema_field_find(desc, x.name.p, x.name.n);
        }
        item_add(l, &x);
    }
}

static void print_step(const struct item *x, struct buf *b)
{
    static const char heads[][4] = {"\"f:", "\"k:", "\"v:", "\"i:"};
    if (x->f) {
        out_add(b, heads[0], 3);
        out_add(b, x->name.p, x->name.n);
        OUT_LIT(b, "\":");
        return;
    }
    size_t at = b->n;
    json_print_str(x->name, b); /* "NAME": the head goes in front of the first character */
    if (b->overflow || !buf_reserve(b, 3))
        return;
    memmove(b->data + at + 3, b->data + at + 1, b->n - at - 1);
    memcpy(b->data + at, heads[x->e.elem.type], 3);
    b->n += 2;
    OUT_LIT(b, ":");
}

static void print_level(struct str body, bool member, struct at at, struct buf *b)
{
    struct items l;
    items_init(&l);
    items_read(&l, body, at.desc);
    OUT_LIT(b, "{");
    member = member && l.n; /* what is below may be of fields nobody knows any more */
    if (member)
        OUT_LIT(b, "\".\":{}");
    for (size_t i = 0; i < l.n; i++) {
        const struct item *x = &l.v[i];
        if (i || member)
            OUT_LIT(b, ",");
        print_step(x, b);
        if (!x->e.sub.n)
            OUT_LIT(b, "{}");
        else
            print_level(x->e.sub, x->e.member, x->f ? below_field(x->f) : below_elem(&at), b);
    }
    OUT_LIT(b, "}");
    if (l.v != l.few)
        free(l.v);
}

void fields_print(struct str set, struct buf *b)
{
    print_level(fields_body(set), false, (struct at){.desc = fields_root(set)}, b);
}

/* ---- parsing ---- */

struct parse {
    struct arena *a;
    struct buf *out;
    struct error *err;
    bool numbers;
};

static int bad(struct parse *p, const char *what, struct str key)
{
    return error_set(p->err, REASON_BAD_REQUEST, "fieldsV1: %s: \"%.*s\"", what,
                     (int)MIN(key.n, (size_t)100), key.p ? key.p : "");
}

static int key_cmp(const void *a, const void *b)
{
    return str_cmp((*(struct json *const *)a)->key, (*(struct json *const *)b)->key);
}

/* The text of a key or value as we write it. */
static int normal(struct parse *p, bool key, struct str in, struct str *ret)
{
    struct buf b = {0};
    struct json *v;
    if (json_parse(in, p->a, NULL, &v, NULL) < 0 || (key && v->type != JSON_OBJ))
        return bad(p, "not well formed", in);
    if (key && v->n > 1) {
        struct json **m = ARENA_NEW_N(p->a, struct json *, v->n);
        size_t n = 0;
        json_for_each(c, v) m[n++] = c;
        qsort(m, n, sizeof(struct json *), key_cmp);
        struct json *sorted = json_new_obj(p->a);
        for (size_t i = 0; i < n; i++)
            json_push(sorted, m[i]);
        v = sorted;
    }
    json_print(v, &b);
    *ret = arena_str(p->a, buf_str(&b));
    buf_fini(&b);
    return 0;
}

/* The steps one member stands for; 0: one of a later version of the format, to be passed over. */
static int read_step(struct parse *p, struct at at, struct str key, struct fields_elem e[2],
                     struct at *below)
{
    struct str rest = str_sub(key, 2, key.n);
    const struct schema_field *f;
    if (key.n < 2 || key.p[1] != ':')
        return bad(p, "neither \".\" nor a path element", key);
    *below = below_elem(&at);
    switch (key.p[0]) {
    case 'f':
        f = at.desc ? schema_field_find(at.desc, rest.p, rest.n) : NULL;
        if (f)
            *below = below_field(f);
        if (f && p->numbers)
            return (int)fields_steps(at.desc, f, e);
        e[0] = fields_elem_named(FIELDS_NAME, rest);
        return 1;
    case 'k':
    case 'v':
        e[0].type = key.p[0] == 'k' ? FIELDS_KEY : FIELDS_VALUE;
        e[0].number = 0;
        return normal(p, key.p[0] == 'k', rest, &e[0].text) < 0 ? -EINVAL : 1;
    case 'i': {
        uint64_t i;
        if (str_to_u64(rest, &i) < 0)
            return bad(p, "no index", key);
        e[0] = fields_elem_named(FIELDS_INDEX, rest);
        return 1;
    }
    default:
        return 0;
    }
}

static int parse_level(struct parse *p, const struct json *v, struct at at, unsigned depth,
                       bool *ret_member)
{
    size_t from = p->out->n;
    bool any = false;
    *ret_member = false;
    if (v->type != JSON_OBJ)
        return bad(p, "an object is expected instead of", str_z(json_type_name(v)));
    if (depth > FIELDS_DEPTH_MAX - 1)
        return bad(p, "nested too deep", v->key);
    json_for_each(c, v)
    {
        struct fields_elem e[2];
        struct fields_mark m[2];
        struct at below;
        bool member;
        if (str_is(c->key, ".")) {
            *ret_member = true;
            continue;
        }
        int n = read_step(p, at, c->key, e, &below);
        if (n < 0)
            return n;
        if (n == 0)
            continue;
        any = true;
        for (int i = 0; i < n; i++)
            m[i] = fields_begin(p->out, &e[i]);
        int r = parse_level(p, c, below, depth + (unsigned)n, &member);
        if (r < 0)
            return r;
        for (int i = n; i-- > 0;)
            fields_end(p->out, m[i], i == n - 1 && member);
    }
    if (!any)
        *ret_member = true;
    fields_sort(p->out, from);
    return 0;
}

int fields_parse(const struct schema_desc *desc, struct str text, struct arena *a, struct str *ret,
                 struct error *err)
{
    struct buf out = {0};
    struct parse p = {.a = a, .out = &out, .err = err, .numbers = fields_by_number(desc)};
    struct json *v;
    bool member;
    int r = json_parse(text, a, NULL, &v, err);
    if (r >= 0)
        r = parse_level(&p, v, (struct at){.desc = desc}, 0, &member);
    if (r >= 0)
        *ret = fields_pack(desc, buf_str(&out), a);
    buf_fini(&out);
    return r;
}

/* ---- paths for people ---- */

struct each {
    fields_path_fn fn;
    void *arg;
    struct buf path;
};

void fields_step_print(const struct fields_elem *e, struct buf *b)
{
    struct arena a = {0};
    struct json *v;
    switch (e->type) {
    case FIELDS_KEY:
        if (json_parse(e->text, &a, NULL, &v, NULL) < 0 || v->type != JSON_OBJ)
            break;
        buf_add_char(b, '[');
        json_for_each(c, v)
        {
            if (c != v->first)
                buf_add_char(b, ',');
            buf_add_str(b, c->key);
            buf_add_char(b, '=');
            json_print(c, b);
        }
        buf_add_char(b, ']');
        break;
    case FIELDS_VALUE:
        buf_printf(b, "[=%.*s]", STR_ARG(e->text));
        break;
    case FIELDS_INDEX:
        buf_printf(b, "[%.*s]", STR_ARG(e->text));
        break;
    default:
        buf_add_char(b, '.');
        buf_add_str(b, e->text);
    }
    arena_fini(&a);
}

static void each_level(struct each *x, struct str body, struct at at)
{
    struct items l;
    items_init(&l);
    items_read(&l, body, at.desc);
    for (size_t i = 0; i < l.n; i++) {
        size_t n = x->path.n;
        struct fields_elem step = fields_elem_named(l.v[i].e.elem.type, l.v[i].name);
        fields_step_print(&step, &x->path);
        if (l.v[i].e.member)
            x->fn(x->arg, buf_str(&x->path));
        each_level(x, l.v[i].e.sub, l.v[i].f ? below_field(l.v[i].f) : below_elem(&at));
        x->path.n = n;
    }
    if (l.v != l.few)
        free(l.v);
}

void fields_each(struct str set, fields_path_fn fn, void *arg)
{
    struct each x = {.fn = fn, .arg = arg};
    each_level(&x, fields_body(set), (struct at){.desc = fields_root(set)});
    buf_fini(&x.path);
}
