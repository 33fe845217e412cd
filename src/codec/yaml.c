/* YAML through libyaml's events: one recursive pass builds the JSON tree. Anchored nodes are kept
 * by name; an alias is a deep copy, and every node made counts against one budget, so that a few
 * lines of aliases cannot fill the memory. */
#include "codec/yaml.h"
#include "base/map.h"

#include <ctype.h>
#include <math.h>
#include <yaml.h>

#define ANCHORS_MAX 1000
#define TAGS_MAX    64 /* %TAG lines: libyaml compares each with all before */

struct anchor {
    struct json *node; /* NULL: still being read */
};

struct reader {
    yaml_parser_t parser;
    struct arena *a;
    struct map anchors; /* name -> struct anchor; the last one of a name */
    unsigned n_anchors;
    size_t nodes;
    struct error *err;
};

static int fail(struct reader *r, const yaml_event_t *e, const char *what)
{
    return error_set(r->err, REASON_BAD_REQUEST, "invalid YAML at line %zu, column %zu: %s",
                     e->start_mark.line + 1, e->start_mark.column + 1, what);
}

static int next_event(struct reader *r, yaml_event_t *e)
{
    if (yaml_parser_parse(&r->parser, e))
        return 0;
    const char *what = r->parser.problem ? r->parser.problem : "cannot be read";
    return error_set(r->err, REASON_BAD_REQUEST, "invalid YAML at line %zu, column %zu: %s",
                     r->parser.problem_mark.line + 1, r->parser.problem_mark.column + 1, what);
}

static struct str event_str(struct reader *r, const yaml_char_t *p, size_t n)
{
    return arena_str(r->a, (struct str){(const char *)p, n});
}

static bool one_of(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (str_eqz(s, *words))
            return true;
    return false;
}

static bool is_null(struct str s)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};
    return one_of(s, words);
}
static bool is_bool(struct str s, bool *ret)
{
    static const char *const yes[] = {"true", "True", "TRUE", "y",  "Y",  "yes",
                                      "Yes",  "YES",  "on",   "On", "ON", NULL};
    static const char *const no[] = {"false", "False", "FALSE", "n",   "N",   "no",
                                     "No",    "NO",    "off",   "Off", "OFF", NULL};
    *ret = one_of(s, yes);
    return *ret || one_of(s, no);
}

/* Numbers without '_' in them, NUL terminated in t. 1 int, 2 real, 0 neither. */
static int number(const char *t, int64_t *ret_i, double *ret_d)
{
    const char *p = t + (*t == '-' || *t == '+');
    char *end;
    int base = 10;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
        base = 16, p += 2;
    else if (p[0] == '0' && (p[1] == 'o' || p[1] == 'O'))
        base = 8, p += 2;
    else if (p[0] == '0' && (p[1] == 'b' || p[1] == 'B'))
        base = 2, p += 2;
    else if (p[0] == '0' && isdigit((unsigned char)p[1]))
        base = 8, p += 1;
    if (isxdigit((unsigned char)*p)) {
        errno = 0;
        unsigned long long u = strtoull(p, &end, base);
        if (*end == 0 && errno == 0 && u <= INT64_MAX) {
            *ret_i = *t == '-' ? -(int64_t)u : (int64_t)u;
            return 1;
        }
    }
    p = t + (*t == '-' || *t == '+');
    if (!isdigit((unsigned char)*p) && !(*p == '.' && isdigit((unsigned char)p[1])))
        return 0;
    if (p[strspn(p, "0123456789.eE+-")])
        return 0;
    *ret_d = strtod(t, &end);
    return *end == 0 && isfinite(*ret_d) ? 2 : 0;
}

static struct json *resolve_plain(struct reader *r, struct str s)
{
    char t[64];
    size_t n = 0;
    bool b;
    int64_t i = 0;
    double d = 0;
    if (is_null(s))
        return json_new_null(r->a);
    if (is_bool(s, &b))
        return json_new_bool(r->a, b);
    if (s.n < sizeof t && (isdigit((unsigned char)s.p[0]) || strchr("+-.", s.p[0]))) {
        for (size_t k = 0; k < s.n; k++)
            if (s.p[k] != '_')
                t[n++] = s.p[k];
        t[n] = 0;
        switch (number(t, &i, &d)) {
        case 1:
            return json_new_int(r->a, i);
        case 2:
            return json_new_real(r->a, d);
        }
    }
    return json_new_str(r->a, s);
}

static int scalar(struct reader *r, const yaml_event_t *e, struct json **ret)
{
    struct str s = event_str(r, e->data.scalar.value, e->data.scalar.length);
    struct str tag = str_z((const char *)e->data.scalar.tag);
    if (memchr(s.p, 0, s.n))
        return fail(r, e, "a NUL character");
    if (tag.p && !str_is(tag, "!") && !str_starts(tag, STR("tag:yaml.org,2002:")))
        return fail(r, e, "unknown tag");
    if (tag.p && str_is(tag, "tag:yaml.org,2002:binary")) /* stays base64, as JSON carries it */
        *ret = json_new_str(r->a, s);
    else if (!tag.p && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        *ret = resolve_plain(r, s);
    else if (!tag.p || str_is(tag, "!") || str_is(tag, "tag:yaml.org,2002:str"))
        *ret = json_new_str(r->a, s);
    else
        *ret = resolve_plain(r, s);
    return 0;
}

static size_t count_nodes(const struct json *v, size_t limit)
{
    size_t n = 1;
    if (v->type == JSON_ARR || v->type == JSON_OBJ)
        for (const struct json *c = v->first; c && n < limit; c = c->next)
            n += count_nodes(c, limit - n);
    return n;
}

static int depth_of(const struct json *v)
{
    int deepest = 0;
    if (v->type == JSON_ARR || v->type == JSON_OBJ)
        for (const struct json *c = v->first; c; c = c->next) {
            int depth = depth_of(c); /* not within MAX, which would ask twice at every level */
            deepest = MAX(deepest, depth);
        }
    return deepest + 1;
}

static int alias(struct reader *r, const yaml_event_t *e, unsigned depth, struct json **ret)
{
    struct anchor *x = map_get(&r->anchors, str_z((const char *)e->data.alias.anchor));
    if (!x)
        return fail(r, e, "unknown alias");
    if (!x->node)
        return fail(r, e, "an anchor refers to itself");
    r->nodes += count_nodes(x->node, YAML_NODES_MAX);
    if (r->nodes > YAML_NODES_MAX || depth + (unsigned)depth_of(x->node) > YAML_DEPTH_MAX)
        return fail(r, e, "too many or too deep values behind aliases");
    *ret = json_clone(x->node, r->a);
    return 0;
}

static struct anchor *anchor_new(struct reader *r, const yaml_char_t *name, struct json *node)
{
    struct anchor *x = ARENA_NEW(r->a, struct anchor);
    x->node = node;
    (void)map_set(&r->anchors, arena_strz(r->a, (const char *)name), x);
    return x;
}

static int node(struct reader *r, yaml_event_t *e, unsigned depth, struct json **ret);

static int sequence(struct reader *r, unsigned depth, struct json *arr)
{
    for (;;) {
        yaml_event_t e;
        struct json *v = NULL;
        int rc = next_event(r, &e);
        if (rc < 0)
            return rc;
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return 0;
        }
        rc = node(r, &e, depth + 1, &v);
        if (rc < 0)
            return rc;
        json_push(arr, v);
    }
}

/* Keys seen in one mapping: a hash map only once there are many. */
struct keys {
    struct map seen;
};
#define KEYS_LINEAR 32

static bool keys_add(struct keys *k, const struct json *obj, struct str key)
{
    if (obj->n < KEYS_LINEAR)
        return json_get(obj, key) == NULL;
    if (!k->seen.n)
        json_for_each(child, obj) map_set(&k->seen, child->key, child);
    return map_set(&k->seen, key, k) == NULL;
}

/* "<<": adds the members of one object or several that are not there yet. */
static void merge_in(struct json *obj, const struct json *from, struct keys *keys, struct arena *a)
{
    if (from->type == JSON_ARR) {
        json_for_each(child, from) merge_in(obj, child, keys, a);
        return;
    }
    if (from->type != JSON_OBJ)
        return;
    json_for_each(child, from)
    {
        if (!keys_add(keys, obj, child->key))
            continue;
        struct json *v = json_clone(child, a);
        v->key = child->key;
        json_push(obj, v);
    }
}

static int mapping_members(struct reader *r, unsigned depth, struct json *obj, struct keys *keys)
{
    struct json *merge = NULL;
    for (;;) {
        yaml_event_t e;
        struct json *v = NULL;
        int rc = next_event(r, &e);
        if (rc < 0)
            return rc;
        if (e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            if (merge)
                merge_in(obj, merge, keys, r->a);
            return 0;
        }
        if (e.type != YAML_SCALAR_EVENT) {
            rc = fail(r, &e, "a key must be a scalar");
            yaml_event_delete(&e);
            return rc;
        }
        struct str key = event_str(r, e.data.scalar.value, e.data.scalar.length);
        bool plain = e.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        if (!keys_add(keys, obj, key)) {
            rc = fail(r, &e, "a key is there twice");
            yaml_event_delete(&e);
            return rc;
        }
        yaml_event_delete(&e);
        rc = next_event(r, &e);
        if (rc < 0)
            return rc;
        rc = node(r, &e, depth + 1, &v);
        if (rc < 0)
            return rc;
        v->key = key;
        if (plain && str_is(key, "<<"))
            merge = v;
        else
            json_push(obj, v);
    }
}

static int mapping(struct reader *r, unsigned depth, struct json *obj)
{
    struct keys keys = {0};
    int rc = mapping_members(r, depth, obj, &keys);
    map_fini(&keys.seen);
    return rc;
}

static int collection(struct reader *r, yaml_event_t *e, unsigned depth, struct json **ret)
{
    bool map = e->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *anchor = map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
    const char *tag = (const char *)(map ? e->data.mapping_start.tag : e->data.sequence_start.tag);
    struct anchor *x = NULL;
    if (depth >= YAML_DEPTH_MAX)
        return fail(r, e, "nested too deeply");
    if (tag && !str_starts(str_z(tag), STR("tag:yaml.org,2002:")))
        return fail(r, e, "unknown tag");
    if (anchor) {
        if (++r->n_anchors > ANCHORS_MAX)
            return fail(r, e, "too many anchors");
        x = anchor_new(r, anchor, NULL);
    }
    *ret = map ? json_new_obj(r->a) : json_new_arr(r->a);
    int rc = map ? mapping(r, depth, *ret) : sequence(r, depth, *ret);
    if (x)
        x->node = *ret;
    return rc;
}

/* Consumes e and what belongs to it. */
static int node(struct reader *r, yaml_event_t *e, unsigned depth, struct json **ret)
{
    int rc;
    if (++r->nodes > YAML_NODES_MAX) {
        rc = fail(r, e, "too many values");
    } else if (e->type == YAML_ALIAS_EVENT) {
        rc = alias(r, e, depth, ret);
    } else if (e->type == YAML_SCALAR_EVENT) {
        rc = scalar(r, e, ret);
        if (rc == 0 && e->data.scalar.anchor) {
            (void)anchor_new(r, e->data.scalar.anchor, *ret);
            if (++r->n_anchors > ANCHORS_MAX)
                rc = fail(r, e, "too many anchors");
        }
    } else if (e->type == YAML_MAPPING_START_EVENT || e->type == YAML_SEQUENCE_START_EVENT) {
        rc = collection(r, e, depth, ret);
    } else {
        rc = fail(r, e, "a value is missing");
    }
    yaml_event_delete(e);
    return rc;
}

/* The first document from here on; *ret_end is the offset of the byte behind it. */
static int document(struct reader *r, struct json **ret, size_t *ret_end)
{
    for (;;) {
        yaml_event_t e;
        int rc = next_event(r, &e);
        if (rc < 0)
            return rc;
        yaml_event_type_t type = e.type;
        if (type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&e);
            return 0;
        }
        if (type == YAML_DOCUMENT_END_EVENT) {
            *ret_end = e.end_mark.index;
            yaml_event_delete(&e);
            return 1;
        }
        if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT) {
            yaml_event_delete(&e);
            continue;
        }
        rc = node(r, &e, 0, ret);
        if (rc < 0)
            return rc;
    }
}

/* libyaml counts characters, not bytes. */
static size_t bytes_of_chars(struct str s, size_t chars)
{
    size_t i = 0;
    for (; i < s.n && chars; chars--)
        for (i++; i < s.n && ((uint8_t)s.p[i] & 0xC0) == 0x80;)
            i++;
    return i;
}

static bool too_many_tags(struct str text)
{
    unsigned n = 0;
    if (!memmem(text.p, text.n, "%TAG", 4))
        return false;
    for (struct str line; (str_cut(&text, '\n', &line) || line.n) && n <= TAGS_MAX;)
        n += str_starts(line, STR("%TAG"));
    return n > TAGS_MAX;
}

int yaml_parse_next(struct str text, size_t *offset, struct arena *a, struct json **ret,
                    struct error *err)
{
    struct reader r = {.a = a, .err = err};
    struct json *v = NULL;
    size_t end = 0;

    if (*offset >= text.n)
        return 0;
    struct str rest = str_sub(text, *offset, text.n);
    if (!str_utf8_valid(rest))
        return error_set(err, REASON_BAD_REQUEST, "invalid YAML: not valid UTF-8");
    if (too_many_tags(rest))
        return error_set(err, REASON_BAD_REQUEST, "invalid YAML: too many %%TAG directives");
    if (!yaml_parser_initialize(&r.parser))
        return error_errno(err, ENOMEM, "YAML");
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)rest.p, rest.n);
    int rc = document(&r, &v, &end);
    yaml_parser_delete(&r.parser);
    map_fini(&r.anchors);
    if (rc == 0)
        *offset = text.n;
    if (rc <= 0)
        return rc;
    *offset += MAX(bytes_of_chars(rest, end), (size_t)1);
    /* An explicit end mark or the next document's start is still ahead; "---" begins the next one.
     */
    *ret = v && v->type == JSON_NULL ? NULL : v;
    return 1;
}

int yaml_parse(struct str text, struct arena *a, struct json **ret, struct error *err)
{
    size_t offset = 0;
    struct json *v = NULL, *more = NULL;
    int rc = yaml_parse_next(text, &offset, a, &v, err);
    if (rc < 0)
        return rc;
    /* "---" behind the only document opens an empty one, which is fine; more is not. */
    for (int extra = 0; rc == 1; extra++) {
        rc = yaml_parse_next(text, &offset, a, &more, err);
        if (rc < 0)
            return rc;
        if (rc == 1 && (more || extra))
            return error_set(err, REASON_BAD_REQUEST, "invalid YAML: more than one document");
    }
    *ret = v ? v : json_new_null(a);
    return 0;
}

/* --- Printing -----------------------------------------------------------------------------------
 */

static int write_out(void *data, unsigned char *p, size_t n)
{
    struct buf *b = data;
    buf_add(b, p, n);
    return !b->overflow;
}

/* Texts that we read as strings but readers of YAML 1.1 do not: dates, base 60 numbers ("1:30"),
 * "=". */
static bool ambiguous(struct str s)
{
    static const char *const words[] = {"=",     "<<",   ".inf", ".Inf", ".INF", "-.inf",
                                        "+.inf", ".nan", ".NaN", ".NAN", NULL};
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
    if (one_of(s, words))
        return true;
    if (i >= s.n || !isdigit((unsigned char)s.p[i]))
        return false;
    if (s.n >= 8 && s.p[4] == '-' && isdigit((unsigned char)s.p[5]))
        return true;
    while (i < s.n &&
           (isdigit((unsigned char)s.p[i]) || s.p[i] == ':' || s.p[i] == '_' || s.p[i] == '.'))
        i++;
    return i == s.n && str_find(s, ':') >= 0;
}

/* Would a plain scalar of this text come back as something else? */
static bool needs_quotes(struct str s)
{
    struct arena a = {0};
    struct reader r = {.a = &a};
    bool quotes = s.n == 0 || ambiguous(s) || resolve_plain(&r, s)->type != JSON_STR;
    arena_fini(&a);
    return quotes;
}

static int emit(yaml_emitter_t *em, const struct json *v);

static int emit_str(yaml_emitter_t *em, struct str s)
{
    yaml_event_t e;
    yaml_scalar_style_t style = YAML_ANY_SCALAR_STYLE;
    if (needs_quotes(s))
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    else if (str_find(s, '\n') >= 0)
        style = YAML_LITERAL_SCALAR_STYLE;
    return yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)(s.p ? s.p : ""),
                                        (int)s.n, 1, 1, style) &&
           yaml_emitter_emit(em, &e);
}

static int emit_children(yaml_emitter_t *em, const struct json *v)
{
    yaml_event_t e;
    bool obj = v->type == JSON_OBJ;
    if (obj ? !yaml_mapping_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE)
            : !yaml_sequence_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE))
        return 0;
    if (!yaml_emitter_emit(em, &e))
        return 0;
    json_for_each(child, v)
    {
        if (obj && !emit_str(em, child->key))
            return 0;
        if (!emit(em, child))
            return 0;
    }
    if (obj)
        yaml_mapping_end_event_initialize(&e);
    else
        yaml_sequence_end_event_initialize(&e);
    return yaml_emitter_emit(em, &e);
}

static int emit(yaml_emitter_t *em, const struct json *v)
{
    yaml_event_t e;
    if (v->type == JSON_STR)
        return emit_str(em, v->s);
    if (v->type == JSON_ARR || v->type == JSON_OBJ)
        return emit_children(em, v);
    struct buf t = {0};
    json_print(v, &t);
    int ok = yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)t.data, (int)t.n, 1,
                                          1, YAML_PLAIN_SCALAR_STYLE) &&
             yaml_emitter_emit(em, &e);
    buf_fini(&t);
    return ok;
}

int yaml_print(const struct json *v, struct buf *b)
{
    yaml_emitter_t em;
    yaml_event_t e;
    if (!yaml_emitter_initialize(&em))
        return -ENOMEM;
    yaml_emitter_set_output(&em, write_out, b);
    yaml_emitter_set_unicode(&em, 1);
    yaml_emitter_set_width(&em, -1);
    int ok =
        yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING) && yaml_emitter_emit(&em, &e) &&
        yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1) &&
        yaml_emitter_emit(&em, &e) && emit(&em, v) && yaml_document_end_event_initialize(&e, 1) &&
        yaml_emitter_emit(&em, &e) && yaml_stream_end_event_initialize(&e) &&
        yaml_emitter_emit(&em, &e) && yaml_emitter_flush(&em);
    yaml_emitter_delete(&em);
    return ok ? 0 : -EINVAL;
}
