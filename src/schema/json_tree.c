/* A struct as a JSON tree, for what works on trees: patches, apply, paths. Node by node from
 * memory, by the same rules as json_encode.c prints by; the text is made only of values whose form
 * is a matter of printing. Half of what a patch cost was to print the object and parse it again. */
#include "schema/fields.h"
#include "schema/internal.h"

struct maker {
    struct arena *a;
    struct buf text; /* scratch */
};

static struct json *make_msg(struct maker *m, const struct schema_desc *desc, const void *msg,
                             bool type_meta);

static struct json *node(struct maker *m, enum json_type type)
{
    struct json *v = arena_alloc(m->a, sizeof(*v));
    *v = (struct json){.type = type};
    return v;
}

static bool is_ascii(struct str s)
{
    uint64_t w, all = 0;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        memcpy(&w, s.p + i, 8);
        all |= w;
    }
    for (; i < s.n; i++)
        all |= (uint8_t)s.p[i];
    return !(all & 0x8080808080808080u);
}

/* From text that was printed. */
static struct json *parsed(struct maker *m, struct str text)
{
    struct json *v = NULL;
    int r = json_parse(text, m->a, NULL, &v, NULL);
    ASSERT(r == 0);
    return v;
}

static struct json *make_str(struct maker *m, struct str s)
{
    if (UNLIKELY(!is_ascii(s) && !str_utf8_valid(s))) { /* trees hold nothing else */
        buf_clear(&m->text);
        json_print_str(s, &m->text);
        return parsed(m, buf_str(&m->text));
    }
    struct json *v = arena_alloc(m->a, sizeof(*v) + s.n + 1); /* with its text behind it */
    char *text = (char *)(v + 1);
    *v = (struct json){.type = JSON_STR, .s = {text, s.n}};
    if (s.n)
        memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return v;
}

static struct json *make_int(struct maker *m, int64_t i)
{
    struct json *v = node(m, JSON_INT);
    v->i = i;
    return v;
}

/* A quantity, a time, bytes ...: a string without escapes, or null. */
static struct json *make_printed(struct maker *m, const struct schema_field *f, const void *p)
{
    buf_clear(&m->text);
    schema_value_print(f, p, &m->text);
    struct str s = buf_str(&m->text);
    if (s.n < 2 || s.p[0] != '"' || memchr(s.p, '\\', s.n))
        return parsed(m, s);
    struct json *v = node(m, JSON_STR);
    v->s = arena_str(m->a, str_sub(s, 1, s.n - 1));
    return v;
}

static struct json *make_raw(struct maker *m, const struct schema_field *f, struct str s)
{
    if (!s.n)
        return node(m, JSON_NULL);
    return fields_is_packed(s) ? make_printed(m, f, &s) : parsed(m, s);
}

static struct json *make_value(struct maker *m, const struct schema_field *f, const void *p)
{
    struct json *v;
    switch ((enum schema_type)f->type) {
    case SCHEMA_STRING:
        return make_str(m, *(const struct str *)p);
    case SCHEMA_MSG:
        return make_msg(m, f->msg, p, false);
    case SCHEMA_BOOL:
        v = node(m, JSON_BOOL);
        v->b = *(const bool *)p;
        return v;
    case SCHEMA_INT32:
        return make_int(m, *(const int32_t *)p);
    case SCHEMA_INT64:
        return make_int(m, *(const int64_t *)p);
    case SCHEMA_INT_OR_STR: {
        const struct int_or_str *x = p;
        if (x->type == INT_OR_STR_STR)
            return make_str(m, x->s);
        return make_int(m, x->type == INT_OR_STR_INT ? x->i : 0);
    }
    case SCHEMA_RAW:
        return make_raw(m, f, *(const struct str *)p);
    default:
        return make_printed(m, f, p);
    }
}

static struct json *make_list(struct maker *m, const struct schema_field *f, const void *msg)
{
    const char *p = schema_elems(f, msg);
    if (!p)
        return node(m, JSON_NULL);
    struct json *v = node(m, JSON_ARR);
    for (uint32_t n = schema_count(f, msg), i = 0; i < n; i++, p += f->elem_size)
        json_push(v, make_value(m, f, p));
    return v;
}

static struct json *make_map(struct maker *m, const struct schema_field *f, const void *msg)
{
    const char *p = schema_elems(f, msg);
    if (!p)
        return node(m, JSON_NULL);
    struct json *v = node(m, JSON_OBJ);
    for (uint32_t n = schema_count(f, msg), i = 0; i < n; i++, p += f->elem_size) {
        struct json *c = make_value(m, f, p + SCHEMA_MAP_VALUE);
        c->key = make_str(m, *(const struct str *)(const void *)p)->s;
        json_push(v, c);
    }
    return v;
}

static struct json *make_field(struct maker *m, const struct schema_field *f, const void *msg)
{
    if (f->flags & SCHEMA_LIST)
        return make_list(m, f, msg);
    if (f->flags & SCHEMA_MAP)
        return make_map(m, f, msg);
    if (f->flags & SCHEMA_POINTER) {
        if (schema_field_absent(f, msg))
            return node(m, JSON_NULL);
        return make_value(m, f, f->type == SCHEMA_MSG ? schema_sub(f, msg) : schema_at(f, msg));
    }
    if (f->type == SCHEMA_BYTES && !((struct str *)schema_at(f, msg))->p)
        return node(m, JSON_NULL);
    return make_value(m, f, schema_at(f, msg));
}

/* The members of a raw object among those of the message. */
static void push_rest(struct maker *m, struct json *v, struct str rest)
{
    if (!rest.n)
        return;
    for (struct json *c = parsed(m, rest)->first, *next; c; c = next) {
        next = c->next;
        json_push(v, c);
    }
}

static void push_named(struct json *v, struct str name, struct json *c)
{
    c->key = name;
    json_push(v, c);
}

static struct json *make_msg(struct maker *m, const struct schema_desc *desc, const void *msg,
                             bool type_meta)
{
    if (desc->flags & SCHEMA_DESC_AS_LIST)
        return make_list(m, desc->fields, msg);
    struct json *v = node(m, JSON_OBJ);
    if (type_meta && desc->flags & SCHEMA_DESC_KIND) {
        push_named(v, STR("kind"), make_str(m, str_z(desc->name)));
        push_named(v, STR("apiVersion"), make_str(m, str_z(desc->api_version)));
    }
    for (const struct schema_field *f = desc->json, *end = f + desc->n_json; f < end; f++) {
        if (!schema_field_shown(f, msg))
            continue;
        if (f->flags & SCHEMA_REST)
            push_rest(m, v, *(const struct str *)schema_at(f, msg));
        else
            push_named(v, (struct str){f->name, f->name_len}, make_field(m, f, msg));
    }
    return v;
}

struct json *schema_to_json(const struct schema_desc *desc, const void *msg, unsigned flags,
                            struct arena *a)
{
    struct maker m = {.a = a};
    struct json *v = make_msg(&m, desc, msg, flags & SCHEMA_ENCODE_TYPE_META);
    buf_fini(&m.text);
    return v;
}
