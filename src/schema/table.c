/* A kind without declared columns gets its name and its creation time, as custom resources do. */
#include "schema/custom.h"
#include "schema/table_int.h"

static const struct schema_column plain_columns[] = {
    {.name = "Name",
     .type = "string",
     .format = "name",
     .path = "metadata.name",
     .description = "Name must be unique within a namespace."},
    {.name = "Created At",
     .type = "date",
     .path = "metadata.creationTimestamp",
     .description = "When the object was made."},
};

static size_t columns_of(const struct schema_kind *kind, const struct schema_column **ret)
{
    *ret = kind->n_columns ? kind->columns : plain_columns;
    return kind->n_columns ? kind->n_columns : ARRAY_LEN(plain_columns);
}

void table_columns_print(const struct schema_kind *kind, struct buf *b)
{
    const struct schema_column *c;
    size_t n = columns_of(kind, &c);

    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "%s{\"name\":", i ? "," : "");
        json_print_str(str_z(c[i].name), b);
        buf_printf(b, ",\"type\":\"%s\",\"format\":", c[i].type);
        json_print_str(str_z(c[i].format ? c[i].format : ""), b);
        buf_add_lit(b, ",\"description\":");
        json_print_str(str_z(c[i].description ? c[i].description : ""), b);
        buf_printf(b, ",\"priority\":%d}", c[i].priority);
    }
    buf_add_char(b, ']');
}

/* "a,b" of a list of texts, "k=v,l=w" of a map. */
static void joined_print(const struct schema_ref *ref, struct buf *text)
{
    bool map = ref->field->flags & SCHEMA_MAP;

    for (uint32_t i = 0; i < ref->n; i++) {
        const struct str *list = *(struct str *const *)ref->ptr;
        const struct kv_str *pairs = *(struct kv_str *const *)ref->ptr;
        buf_printf(text, "%s%.*s", i ? "," : "", STR_ARG(map ? pairs[i].key : list[i]));
        if (map)
            buf_printf(text, "=%.*s", STR_ARG(pairs[i].value));
    }
}

/* The text behind a path: how many a list has, where a number is wanted, or its texts; nothing when
 * it is absent. */
static bool path_print(const struct schema_kind *kind, const void *msg, const char *path,
                       bool number, struct buf *text)
{
    struct schema_ref ref;

    if (schema_get_path(kind->desc, msg, str_z(path), &ref) <= 0)
        return false;
    if (ref.whole && number)
        buf_add_i64(text, ref.n);
    else if (ref.whole && ref.field->type == SCHEMA_STRING)
        joined_print(&ref, text);
    else
        schema_ref_print(&ref, text);
    return true;
}

static void cell_print(const struct schema_kind *kind, const struct schema_column *c,
                       const void *msg, usec_t now, struct buf *text, struct buf *b)
{
    bool boolean = strcmp(c->type, "boolean") == 0;
    bool number = boolean || strcmp(c->type, "integer") == 0 || strcmp(c->type, "number") == 0;
    table_hook_fn hook = c->hook ? table_hook_find(c->hook) : NULL;
    bool there = true;

    buf_clear(text);
    if (hook)
        hook(kind, msg, now, text);
    else
        there = c->path && path_print(kind, msg, c->path, number, text);
    if (!hook && c->absent && text->n == 0)
        buf_add_str(text, str_z(c->absent));
    if (number && (!there || text->n == 0))
        buf_add_str(b, boolean ? STR("false") : STR("0"));
    else if (number)
        buf_add_str(b, buf_str(text));
    else
        json_print_str(text->n ? buf_str(text) : STR(""), b);
}

/* What a definition asked to see, in the type it named; null where there is nothing. */
static void custom_cell_print(const char *type, const struct json *v, usec_t now, struct buf *b)
{
    struct timestamp t;
    struct buf text = {0};
    bool number = json_is(v, JSON_INT) || json_is(v, JSON_REAL);
    if (strcmp(type, "integer") == 0 && number)
        buf_add_i64(b, v->type == JSON_INT ? v->i : (int64_t)MAX(MIN(v->d, 9.2e18), -9.2e18));
    else if ((strcmp(type, "number") == 0 && number) ||
             (strcmp(type, "boolean") == 0 && json_is(v, JSON_BOOL)))
        json_print(v, b);
    else if (strcmp(type, "string") == 0 && v && v->type != JSON_NULL) {
        if (v->type == JSON_STR)
            buf_add_str(&text, v->s);
        else
            json_print(v, &text);
        json_print_str(text.n ? buf_str(&text) : STR(""), b);
    } else if (strcmp(type, "date") == 0 && json_is(v, JSON_STR)) {
        if (timestamp_parse(v->s, &t) < 0)
            buf_add_lit(&text, "<invalid>");
        else
            table_age_print(t, now, &text);
        json_print_str(buf_str(&text), b);
    } else {
        buf_add_lit(b, "null");
    }
    buf_fini(&text);
}

static void custom_cells_print(const struct schema_kind *kind, const void *msg, usec_t now,
                               struct buf *b)
{
    const struct custom *c = kind->custom;
    struct arena a = {0};
    const struct json *tree = custom_tree(kind, msg, &a);
    buf_add_char(b, '[');
    for (size_t i = 0; i < kind->n_columns; i++) {
        if (i)
            buf_add_char(b, ',');
        if (c->column_paths[i])
            custom_cell_print(kind->columns[i].type, jsonpath_first(c->column_paths[i], tree), now,
                              b);
        else
            json_print_str(((const struct api_object_meta *)msg)->name, b);
    }
    buf_add_char(b, ']');
    arena_fini(&a);
}

void table_cells_print(const struct schema_kind *kind, const void *msg, usec_t now, struct buf *b)
{
    if (kind->custom && kind->custom->column_paths) {
        custom_cells_print(kind, msg, now, b);
        return;
    }
    const struct schema_column *c;
    size_t n = columns_of(kind, &c);
    struct buf text = {0};

    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(b, ',');
        cell_print(kind, &c[i], msg, now, &text, b);
    }
    buf_add_char(b, ']');
    buf_fini(&text);
}
