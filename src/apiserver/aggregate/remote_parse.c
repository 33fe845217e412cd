/* What servers of aggregated APIs say of themselves, and what a request to them is about. Pure
 * functions: whatever the peer sends, the result is well-formed and no larger than what came. */
#include "apiserver/aggregate/remotes.h"

#include "codec/json.h"
#include "http/http.h"

#define SEGMENTS_MAX 64
#define ABOUT_MAX    10 /* segments up to the subresource of a namespaced object, and its group */

/* Some 2,000 resources; what has subresources is looked for among all of them. */
static const struct json_limits limits = {.depth_max = 32, .values_max = 20000};

/* ---- discovery ---- */

static void add_member(struct buf *b, const char *name, struct str v)
{
    buf_printf(b, "\"%s\":", name);
    json_print_str(v.p ? v : STR(""), b);
}

static void add_strings(struct buf *b, const char *name, const struct json *v, bool always)
{
    const char *sep = "";
    const struct json *x = json_is(v, JSON_ARR) ? v->first : NULL;
    if (!always && !json_is(v, JSON_ARR))
        return;
    buf_printf(b, ",\"%s\":[", name);
    for (; x; x = x->next) {
        if (x->type != JSON_STR)
            continue;
        buf_printf(b, "%s", sep);
        sep = ",";
        json_print_str(x->s, b);
    }
    buf_add_char(b, ']');
}

static void add_kind(struct buf *b, const struct json *r, struct str group, struct str version)
{
    struct str g = json_get_str(r, STR("group")), v = json_get_str(r, STR("version"));
    buf_add_lit(b, ",\"responseKind\":{");
    add_member(b, "group", v.n ? g : group);
    buf_add_char(b, ',');
    add_member(b, "version", v.n ? v : version);
    buf_add_char(b, ',');
    add_member(b, "kind", json_get_str(r, STR("kind")));
    buf_add_char(b, '}');
}

/* "pods/status" of "pods": "status". */
static bool is_part_of(struct str name, struct str resource, struct str *ret)
{
    struct str rest = name, head;
    if (!str_cut(&rest, '/', &head) || !str_eq(head, resource) || !rest.n)
        return false;
    *ret = rest;
    return true;
}

static void add_parts(struct buf *b, const struct json *all, struct str resource, struct str group,
                      struct str version)
{
    struct str part;
    bool any = false;
    json_for_each(r, all)
    {
        if (!is_part_of(json_get_str(r, STR("name")), resource, &part))
            continue;
        buf_printf(b, any ? ",{" : ",\"subresources\":[{");
        any = true;
        add_member(b, "subresource", part);
        add_kind(b, r, group, version);
        add_strings(b, "verbs", json_getz(r, "verbs"), true);
        buf_add_char(b, '}');
    }
    if (any)
        buf_add_char(b, ']');
}

int remote_resources(struct str list, struct str group, struct str version, struct buf *out)
{
    struct arena a = {0};
    struct json *v;
    const char *sep = "";
    int r = json_parse(list, &a, &limits, &v, NULL);
    const struct json *all = r >= 0 ? json_getz(v, "resources") : NULL;
    if (!json_is(all, JSON_ARR) || !str_is(json_get_str(v, STR("kind")), "APIResourceList")) {
        arena_fini(&a);
        return -EINVAL;
    }
    buf_add_char(out, '[');
    json_for_each(x, all)
    {
        const struct json *namespaced = json_getz(x, "namespaced");
        struct str name = json_get_str(x, STR("name"));
        if (!name.n || str_find(name, '/') >= 0)
            continue;
        buf_printf(out, "%s{", sep);
        sep = ",";
        add_member(out, "resource", name);
        add_kind(out, x, group, version);
        buf_printf(out, ",\"scope\":\"%s\",",
                   json_is(namespaced, JSON_BOOL) && namespaced->b ? "Namespaced" : "Cluster");
        add_member(out, "singularResource", json_get_str(x, STR("singularName")));
        add_strings(out, "verbs", json_getz(x, "verbs"), true);
        add_strings(out, "shortNames", json_getz(x, "shortNames"), false);
        add_strings(out, "categories", json_getz(x, "categories"), false);
        add_parts(out, all, name, group, version);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
    arena_fini(&a);
    return 0;
}

struct str remote_openapi_url(struct str index, struct str group, struct str version,
                              struct arena *a)
{
    struct arena tmp = {0};
    struct json *v;
    struct str url = STR_NONE;
    if (json_parse(index, &tmp, &limits, &v, NULL) >= 0) {
        struct str key = arena_printf(&tmp, "apis/%.*s/%.*s", STR_ARG(group), STR_ARG(version));
        url = json_get_str(json_get(json_getz(v, "paths"), key), STR("serverRelativeURL"));
        /* it becomes a link of ours: what a link may hold, nothing else */
        struct str head = url, want = arena_printf(&tmp, "/openapi/v3/%.*s", STR_ARG(key)), path;
        (void)str_cut(&head, '?', &path);
        bool good = url.n < 1024 && str_eq(path, want);
        for (size_t i = 0; good && i < url.n; i++)
            good = (unsigned char)url.p[i] > ' ' && (unsigned char)url.p[i] < 0x7f &&
                   url.p[i] != '"' && url.p[i] != '\\';
        url = good ? arena_str(a, url) : STR_NONE;
    }
    arena_fini(&tmp);
    return url;
}

static void add_json(struct buf *b, const struct json *v)
{
    buf_add_char(b, ',');
    json_print_str(v->key, b);
    buf_add_char(b, ':');
    json_print(v, b);
}

/* Types that every server made with Kubernetes' libraries describes, and we do too. */
static bool is_common(struct str name)
{
    return str_starts(name, STR("io.k8s.apimachinery.")) || str_starts(name, STR("io.k8s.api."));
}

void remote_swagger(struct str document, struct str group, struct str version, struct buf *paths,
                    struct buf *definitions)
{
    static const struct json_limits large = {.depth_max = 64, .values_max = 200000};
    struct arena a = {0};
    struct json *v;
    if (json_parse(document, &a, &large, &v, NULL) >= 0) {
        struct str base = arena_printf(&a, "/apis/%.*s/%.*s/", STR_ARG(group), STR_ARG(version));
        const struct json *p = json_getz(v, "paths"), *d = json_getz(v, "definitions");
        if (json_is(p, JSON_OBJ))
            json_for_each(x, p) if (str_starts(x->key, base)) add_json(paths, x);
        if (json_is(d, JSON_OBJ))
            json_for_each(x, d) if (!is_common(x->key)) add_json(definitions, x);
    }
    arena_fini(&a);
}

/* ---- requests ---- */

/* The server behind gets the path as it came. So that it cannot see another thing in it than what
 * was authorized here, nothing is let through that servers understand in different ways. */
static int split(struct str path, struct arena *a, struct str *v, unsigned *ret_n)
{
    struct str rest = str_sub(path, 1, path.n), part;
    unsigned n = 0;
    bool more = true;
    while (more) {
        more = str_cut(&rest, '/', &part);
        if (!more && !part.n)
            break; /* a slash at the end */
        if (!part.n || n == SEGMENTS_MAX || http_unescape(a, part, false, &v[n]) < 0)
            return -EINVAL;
        if (str_is(v[n], ".") || str_is(v[n], "..") || (n < ABOUT_MAX && str_find(v[n], '/') >= 0))
            return -EINVAL;
        n++;
    }
    *ret_n = n;
    return 0;
}

static const char *method_verb(struct str m)
{
    static const struct {
        const char *method, *verb;
    } verbs[] = {{"GET", "get"},    {"HEAD", "get"},    {"POST", "create"},
                 {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (str_eqz(m, verbs[i].method))
            return verbs[i].verb;
    return "";
}

static bool is_true(struct str v)
{
    return !v.n || str_is(v, "true") || str_is(v, "1") || str_is(v, "True") || str_is(v, "t");
}

/* A collection: watched, or listed; of one name when the field selector says so. */
static void read_collection(struct str query, struct arena *a, struct request_info *i)
{
    struct str k, v, by_name = STR("metadata.name=");
    i->verb = "list";
    while (http_query_next(&query, a, &k, &v)) {
        if (str_is(k, "watch") && is_true(v))
            i->verb = "watch";
        if (str_is(k, "fieldSelector") && str_starts(v, by_name) && str_find(v, ',') < 0)
            i->name = str_sub(v, by_name.n, v.n);
    }
    i->is_long = strcmp(i->verb, "watch") == 0;
}

static bool is_connection(struct str sub)
{
    return str_is(sub, "exec") || str_is(sub, "attach") || str_is(sub, "portforward") ||
           str_is(sub, "proxy") || str_is(sub, "log");
}

int request_info_read(struct str method, struct str path, struct str query, struct arena *a,
                      struct request_info *ret)
{
    struct str seg[SEGMENTS_MAX], *v = seg;
    struct request_info i = {.verb = method_verb(method)};
    bool special = false;
    unsigned n;
    if (split(path, a, seg, &n) < 0)
        return -EINVAL;
    unsigned head = n && str_is(seg[0], "apis") ? 3 : n && str_is(seg[0], "api") ? 2 : SEGMENTS_MAX;
    if (n >= head) {
        i.group = head == 3 ? seg[1] : STR("");
        i.version = seg[head - 1];
    }
    if (n <= head) { /* discovery and the like: a path, asked for by its method */
        char *lower = arena_alloc(a, method.n + 1);
        for (size_t k = 0; k < method.n; k++)
            lower[k] = (char)(method.p[k] | 0x20);
        lower[method.n] = '\0';
        i.verb = lower;
        *ret = i;
        return 0;
    }
    v += head;
    n -= head;
    if (n >= 2 && (str_is(v[0], "watch") || str_is(v[0], "proxy"))) { /* of old */
        i.verb = str_is(v[0], "watch") ? "watch" : "proxy";
        i.is_long = special = true;
        v++;
        n--;
    }
    if (str_is(v[0], "namespaces") && n >= 2) {
        i.ns = v[1];
        if (n > 2 && !str_is(v[2], "status") && !str_is(v[2], "finalize")) {
            v += 2;
            n -= 2;
        }
    }
    i.resource = v[0];
    if (n >= 2)
        i.name = v[1];
    if (n >= 3 && !special)
        i.subresource = v[2];
    if (!i.name.n && strcmp(i.verb, "get") == 0)
        read_collection(query, a, &i);
    else if (!i.name.n && strcmp(i.verb, "delete") == 0)
        i.verb = "deletecollection";
    i.is_long |= is_connection(i.subresource);
    *ret = i;
    return 0;
}
