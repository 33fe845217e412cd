/* See links.h. The page is not taken apart and put together again, as Kubernetes does it: bytes
 * pass as they come while a small machine follows where in the page they are (the tokenizer of the
 * HTML standard, without what only matters to who builds a tree). A link gets its prefix in front,
 * so that entities and quotes in it may stay as they are. */
#include "apiserver/front/links.h"

/* ---- one URL ---- */

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 127)
            return true;
    return false;
}

/* What is before "//", with its colon; 0: nothing. */
static size_t scheme_bytes(struct str url)
{
    size_t i = 0;
    while (i < url.n && (is_alpha(url.p[i]) ||
                         (i && ((url.p[i] >= '0' && url.p[i] <= '9') || strchr("+-.", url.p[i])))))
        i++;
    return i && i < url.n && url.p[i] == ':' ? i + 1 : 0;
}

void links_url(const struct links_base *b, struct str url, struct buf *out)
{
    struct str path = str_sub(url, scheme_bytes(url), url.n), host = STR_NONE;
    bool absolute = str_starts(path, STR("//"));
    bool ours = false;
    if (absolute) {
        size_t i = 2;
        while (i < path.n && !strchr("/?#\\", path.p[i]))
            i++;
        host = str_sub(path, 2, i);
        path = str_sub(path, i, path.n);
        ours = b->client.n && str_ieq(host, b->client);
    }
    bool same = absolute ? host.n && (ours || str_ieq(host, b->server) ||
                                      (b->bare.n && str_ieq(host, b->bare)))
                         : path.p == url.p; /* "mailto:" is nobody's path */
    if (!same || has_control(url) || !path.n || path.p[0] != '/') {
        buf_add_str(out, url);
        return;
    }
    if (ours)
        buf_add(out, url.p, (size_t)(path.p - url.p));
    if (!str_starts(path, b->prefix))
        buf_add_str(out, b->prefix);
    buf_add_str(out, path);
}

/* ---- which attributes ---- */

static const struct {
    const char *tag, *attrs; /* with a blank behind each */
} table[] = {
    {"a", "href "},
    {"applet", "codebase "},
    {"area", "href "},
    {"audio", "src "},
    {"base", "href "},
    {"blockquote", "cite "},
    {"body", "background "},
    {"button", "formaction "},
    {"command", "icon "},
    {"del", "cite "},
    {"embed", "src "},
    {"form", "action "},
    {"frame", "longdesc src "},
    {"head", "profile "},
    {"html", "manifest "},
    {"iframe", "longdesc src "},
    {"img", "longdesc src usemap "},
    {"input", "src usemap formaction "},
    {"ins", "cite "},
    {"link", "href "},
    {"object", "classid codebase data usemap "},
    {"q", "cite "},
    {"script", "src "},
    {"source", "src "},
    {"video", "poster src "},
};

static bool is_link(const struct links *l)
{
    struct str name = {l->name, l->name_n}, attr = {l->attr, l->attr_n}, rest, one;
    if (l->closing || name.n > sizeof(l->name) || attr.n > sizeof(l->attr))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (!str_eqz(name, table[i].tag))
            continue;
        rest = str_z(table[i].attrs);
        while (str_cut(&rest, ' ', &one))
            if (str_eq(one, attr))
                return true;
    }
    return false;
}

/* Elements whose content is no markup. */
static struct str raw_of(const struct links *l)
{
    static const char *const names[] = {"script", "style",  "textarea", "title",
                                        "xmp",    "iframe", "noembed",  "noframes"};
    for (size_t i = 0; !l->closing && l->name_n <= sizeof(l->name) && i < ARRAY_LEN(names); i++)
        if (str_eqz((struct str){l->name, l->name_n}, names[i]))
            return str_z(names[i]);
    return STR_NONE;
}

/* ---- the machine ---- */

enum {
    TEXT,
    OPEN,        /* "<" */
    OPEN_END,    /* "</" */
    BANG,        /* "<!" */
    BANG_DASH,   /* "<!-" */
    COMMENT,     /* behind "<!--"; count: dashes in a row */
    COMMENT_END, /* "--!" in it */
    BOGUS,       /* up to ">" */
    NAME,
    BEFORE_ATTR,
    ATTR,
    AFTER_ATTR,
    BEFORE_VALUE,
    DOUBLE_QUOTED,
    SINGLE_QUOTED,
    UNQUOTED,
    RAW, /* count: bytes of "</NAME" that are there */
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static void add_letter(char *name, size_t *n, char c)
{
    if (*n < LINKS_NAME_BYTES_MAX)
        name[*n] = lower(c);
    if (*n <= LINKS_NAME_BYTES_MAX)
        (*n)++;
}

static unsigned tag_begins(struct links *l, bool closing, char c)
{
    l->closing = closing;
    l->name_n = l->attr_n = 0;
    add_letter(l->name, &l->name_n, c);
    return NAME;
}

static unsigned tag_ends(struct links *l)
{
    l->raw = raw_of(l);
    l->count = 0;
    return l->raw.n ? RAW : TEXT;
}

static unsigned attr_begins(struct links *l, char c)
{
    l->attr_n = 0;
    add_letter(l->attr, &l->attr_n, c);
    return ATTR;
}

/* Between attributes, and behind the names of tags and attributes. */
static unsigned in_tag(struct links *l, char c)
{
    if (c == '>')
        return tag_ends(l);
    if (is_space(c))
        return l->state == ATTR || l->state == AFTER_ATTR ? AFTER_ATTR : BEFORE_ATTR;
    if (c == '/')
        return BEFORE_ATTR;
    if (c == '=' && (l->state == ATTR || l->state == AFTER_ATTR))
        return BEFORE_VALUE;
    if (l->state == NAME) {
        add_letter(l->name, &l->name_n, c);
        return NAME;
    }
    if (l->state == ATTR) {
        add_letter(l->attr, &l->attr_n, c);
        return ATTR;
    }
    return attr_begins(l, c);
}

static unsigned in_comment(struct links *l, char c)
{
    if (c == '>' && l->count >= 2)
        return TEXT;
    if (c == '!' && l->count >= 2)
        return COMMENT_END;
    l->count = c == '-' ? MIN(l->count + 1, 2u) : 0;
    return COMMENT;
}

static unsigned in_raw(struct links *l, char c)
{
    size_t want = l->raw.n + 2;
    if (l->count == want && (is_space(c) || c == '/' || c == '>')) {
        l->closing = true;
        return c == '>' ? TEXT : BEFORE_ATTR;
    }
    char next = l->count == 0     ? '<'
                : l->count == 1   ? '/'
                : l->count < want ? l->raw.p[l->count - 2]
                                  : '\0';
    if (next && lower(c) == next)
        l->count++;
    else
        l->count = c == '<';
    return RAW;
}

static unsigned in_markup(struct links *l, char c)
{
    switch (l->state) {
    case OPEN:
        return is_alpha(c) ? tag_begins(l, false, c)
               : c == '/'  ? OPEN_END
               : c == '!'  ? BANG
               : c == '?'  ? BOGUS
               : c == '<'  ? OPEN
                           : TEXT;
    case OPEN_END:
        return is_alpha(c) ? tag_begins(l, true, c) : c == '>' ? TEXT : BOGUS;
    case BANG:
        return c == '-' ? BANG_DASH : c == '>' ? TEXT : BOGUS;
    case BANG_DASH:
        l->count = 2; /* "<!-->" is a whole comment */
        return c == '-' ? COMMENT : c == '>' ? TEXT : BOGUS;
    case COMMENT_END:
        l->count = c == '-';
        return c == '>' ? TEXT : COMMENT;
    default:
        return c == '>' ? TEXT : BOGUS;
    }
}

static void value_over(struct links *l, struct buf *out)
{
    if (l->holds)
        links_url(l->base, buf_str(&l->held), out);
    l->holds = false;
    buf_clear(&l->held);
}

/* Of a value; true: c is a part of it. */
static bool in_value(struct links *l, char c, struct buf *out)
{
    bool quoted = l->state != UNQUOTED;
    bool over = l->state == DOUBLE_QUOTED   ? c == '"'
                : l->state == SINGLE_QUOTED ? c == '\''
                                            : is_space(c) || c == '>';
    if (!over)
        return true;
    value_over(l, out);
    l->state = quoted || c != '>' ? BEFORE_ATTR : tag_ends(l);
    return false;
}

/* The first byte behind "="; true: it is a part of the value. */
static bool begin_value(struct links *l, char c)
{
    if (is_space(c))
        return false;
    if (c == '>') {
        l->state = tag_ends(l);
        return false;
    }
    l->state = c == '"' ? DOUBLE_QUOTED : c == '\'' ? SINGLE_QUOTED : UNQUOTED;
    l->holds = is_link(l);
    return l->state == UNQUOTED;
}

static unsigned outside_values(struct links *l, char c)
{
    switch (l->state) {
    case TEXT:
        return c == '<' ? OPEN : TEXT;
    case COMMENT:
        return in_comment(l, c);
    case RAW:
        return in_raw(l, c);
    case NAME:
    case BEFORE_ATTR:
    case ATTR:
    case AFTER_ATTR:
        return in_tag(l, c);
    default:
        return in_markup(l, c);
    }
}

void links_feed(struct links *l, struct str in, struct buf *out)
{
    size_t from = 0; /* bytes before it are out, or held */
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        bool part = false;
        if (l->state == BEFORE_VALUE) {
            part = begin_value(l, c);
            if (l->holds) { /* the quote, if there is one, is not held */
                size_t to = part ? i : i + 1;
                buf_add(out, in.p + from, to - from);
                from = to;
            }
        } else if (l->state == DOUBLE_QUOTED || l->state == SINGLE_QUOTED || l->state == UNQUOTED) {
            bool held = l->holds;
            part = in_value(l, c, out);
            if (held && !part)
                from = i;
        } else {
            l->state = outside_values(l, c);
        }
        if (!part || !l->holds)
            continue;
        buf_add_char(&l->held, c);
        from = i + 1;
        if (l->held.n > LINKS_URL_BYTES_MAX)
            links_end(l, out);
    }
    buf_add(out, in.p + from, in.n - from);
}

void links_end(struct links *l, struct buf *out)
{
    buf_add_str(out, buf_str(&l->held));
    buf_clear(&l->held);
    l->holds = false;
}

void links_init(struct links *l, const struct links_base *base)
{
    *l = (struct links){.base = base, .state = TEXT};
}

void links_fini(struct links *l)
{
    buf_fini(&l->held);
}
