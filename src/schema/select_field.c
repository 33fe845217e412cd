/* Field selectors. Each kind says in its descriptor by which fields it may be selected; the path is
 * resolved once to descriptor rows, so matching an object is a few pointer hops and one compare.
 * The grammar (terms split at commas, backslash escapes in values) is Kubernetes'
 * fields.ParseSelector. */
#include "schema/select.h"

#include "codec/values.h"
#include "schema/custom.h"

/* Labels whose path in the object differs from their name. */
static const struct {
    const char *kind, *label, *path;
} ALIASES[] = {
    {"Event", "source", "source.component"},
    {"Job", "status.successful", "status.succeeded"},
    {"Pod", "spec.host", "spec.nodeName"},
};

static bool is_selectable(const struct schema_kind *kind, struct str label)
{
    if (str_is(label, "metadata.name") || (kind->namespaced && str_is(label, "metadata.namespace")))
        return true;
    for (const char *const *s = kind->selectable; s && *s; s++)
        if (str_eqz(label, *s))
            return true;
    return str_is(label, "spec.host") && strcmp(kind->kind, "Pod") == 0;
}

/* A field a definition made selectable. The kind must live as long as the selector. */
static bool custom_resolve(const struct schema_kind *kind, struct field_term *t)
{
    for (size_t i = 0; kind->custom && kind->selectable && kind->selectable[i]; i++) {
        if (!str_eqz(t->label, kind->selectable[i]))
            continue;
        t->custom = kind;
        t->custom_path = kind->custom->select_paths[i];
        return true;
    }
    return false;
}

static int resolve(const struct schema_kind *kind, struct field_term *t, struct error *err)
{
    if (!is_selectable(kind, t->label)) {
        if (kind->selectable && kind->selectable[0])
            return error_set(err, REASON_BAD_REQUEST, "field label not supported: %.*s",
                             STR_ARG(t->label));
        return error_set(err, REASON_BAD_REQUEST,
                         "\"%.*s\" is not a known field selector: only \"metadata.name\", "
                         "\"metadata.namespace\"",
                         STR_ARG(t->label));
    }
    if (custom_resolve(kind, t))
        return 0;
    struct str path = t->label, name;
    for (size_t i = 0; i < ARRAY_LEN(ALIASES); i++)
        if (strcmp(kind->kind, ALIASES[i].kind) == 0 && str_eqz(t->label, ALIASES[i].label))
            path = str_z(ALIASES[i].path);
    const struct schema_desc *d = kind->desc;
    while (str_cut(&path, '.', &name) || name.n) {
        const struct schema_field *f = d ? schema_field_find(d, name.p, name.n) : NULL;
        if (!f || t->n_path == SELECT_FIELD_DEPTH_MAX || (f->flags & (SCHEMA_LIST | SCHEMA_MAP)))
            return error_set(err, REASON_BAD_REQUEST, "field label not supported: %.*s",
                             STR_ARG(t->label));
        t->path[t->n_path++] = f;
        d = f->type == SCHEMA_MSG ? f->msg : NULL;
    }
    ASSERT(t->n_path > 0);
    return 0;
}

static int unescape(struct arena *a, struct str v, struct str *ret, struct error *err)
{
    char *out = arena_alloc(a, v.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];
        if (c == '\\') {
            i++;
            if (i == v.n || !strchr("\\,=", v.p[i]))
                return error_set(err, REASON_BAD_REQUEST,
                                 "invalid field selector: invalid escape sequence: \\%.*s",
                                 i < v.n ? 1 : 0, v.p + i);
            c = v.p[i];
        } else if (c == ',' || c == '=') {
            return error_set(err, REASON_BAD_REQUEST,
                             "invalid field selector: unescaped character in value: %d", c);
        }
        out[n++] = c;
    }
    out[n] = '\0';
    *ret = (struct str){out, n};
    return 0;
}

/* Cuts the text before the next comma that is not escaped. */
static struct str cut_term(struct str *rest)
{
    size_t i = 0;
    while (i < rest->n && rest->p[i] != ',')
        i += rest->p[i] == '\\' ? 2 : 1;
    i = MIN(i, rest->n);
    struct str term = str_sub(*rest, 0, i);
    *rest = str_sub(*rest, MIN(i + 1, rest->n), rest->n);
    return term;
}

static bool split_term(struct str term, struct field_term *t, struct str *ret_value)
{
    for (size_t i = 0; i < term.n; i++) {
        if (term.p[i] == '\\') {
            i++;
            continue;
        }
        struct str tail = str_sub(term, i, term.n);
        size_t op = str_starts(tail, STR("!=")) || str_starts(tail, STR("==")) ? 2
                    : term.p[i] == '='                                         ? 1
                                                                               : 0;
        if (op == 0)
            continue;
        t->negated = term.p[i] == '!';
        t->label = str_sub(term, 0, i);
        *ret_value = str_sub(term, i + op, term.n);
        return true;
    }
    return false;
}

int field_selector_parse(struct arena *a, const struct schema_kind *kind, struct str text,
                         struct field_selector *ret, struct error *err)
{
    ASSERT(a && kind && ret);
    struct field_selector out = {0};
    size_t commas = 0;
    for (size_t i = 0; i < text.n; i++)
        commas += text.p[i] == ',';
    if (commas >= SELECT_REQS_MAX)
        return error_set(err, REASON_BAD_REQUEST, "too many requirements (the limit is %d)",
                         SELECT_REQS_MAX);
    if (text.n > 0)
        out.terms = ARENA_NEW_N(a, struct field_term, commas + 1);
    for (struct str rest = text; rest.n > 0;) {
        struct str term = cut_term(&rest), value;
        if (term.n == 0)
            continue;
        struct field_term *t = &out.terms[out.n_terms];
        if (!split_term(term, t, &value))
            return error_set(err, REASON_BAD_REQUEST,
                             "invalid selector: '%.*s'; can't understand '%.*s'", STR_ARG(text),
                             STR_ARG(term));
        t->label = arena_str(a, t->label);
        if (unescape(a, value, &t->value, err) < 0 || resolve(kind, t, err) < 0)
            return -EINVAL;
        out.n_terms++;
    }
    *ret = out;
    return 0;
}

/* The scalar as text; text_buf holds numbers. */
static struct str scalar_text(const struct schema_field *f, const char *base,
                              char text_buf[static 24])
{
    const void *p = base + f->offset;
    switch (f->type) {
    case SCHEMA_STRING:
        return *(const struct str *)p;
    case SCHEMA_BOOL:
        return *(const bool *)p ? STR("true") : STR("false");
    case SCHEMA_INT32:
        return (struct str){text_buf, (size_t)snprintf(text_buf, 24, "%d", *(const int32_t *)p)};
    case SCHEMA_INT64:
        return (struct str){text_buf,
                            (size_t)snprintf(text_buf, 24, "%lld", (long long)*(const int64_t *)p)};
    default:
        return STR_NONE;
    }
}

static bool custom_match(const struct field_term *t, const void *msg)
{
    struct arena a = {0};
    char number[24];
    const struct json *v = jsonpath_first(t->custom_path, custom_tree(t->custom, msg, &a));
    struct str text = STR("");
    if (json_is(v, JSON_STR))
        text = v->s;
    else if (json_is(v, JSON_BOOL))
        text = v->b ? STR("true") : STR("false");
    else if (json_is(v, JSON_INT))
        text = (struct str){number, (size_t)snprintf(number, 24, "%lld", (long long)v->i)};
    bool yes = str_eq(text, t->value) != t->negated;
    arena_fini(&a);
    return yes;
}

static bool term_match(const struct field_term *t, const void *msg)
{
    if (t->custom)
        return custom_match(t, msg);
    const char *base = msg;
    char text_buf[24];
    struct str v = STR_NONE;
    for (unsigned i = 0; i < t->n_path && base; i++) {
        const struct schema_field *f = t->path[i];
        if (i + 1 == t->n_path)
            v = scalar_text(f, base, text_buf);
        else if (f->flags & SCHEMA_POINTER)
            base = *(const char *const *)(base + f->offset);
        else
            base += f->offset;
    }
    return str_eq(v, t->value) != t->negated;
}

bool field_selector_match(const struct field_selector *s, const void *msg)
{
    for (uint32_t i = 0; i < s->n_terms; i++)
        if (!term_match(&s->terms[i], msg))
            return false;
    return true;
}

struct str field_selector_exact(const struct field_selector *s, struct str label)
{
    for (uint32_t i = 0; i < s->n_terms; i++)
        if (!s->terms[i].negated && str_eq(s->terms[i].label, label))
            return s->terms[i].value;
    return STR_NONE;
}
