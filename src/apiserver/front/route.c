/* Paths of the API: /api/v1 and /apis/GROUP/VERSION, then
 * [namespaces/NS/]PLURAL[/NAME[/SUBRESOURCE]], or watch/ and the same without a subresource (of
 * old: a watch, whatever the query says). Everything else is a path of its own (discovery, health),
 * for paths.c. */
#include "apiserver/front/route.h"

#include "schema/schema.h"

#define SEGMENTS_MAX 10

struct segments {
    struct str v[SEGMENTS_MAX];
    unsigned n;
};

static int split(struct str path, struct arena *a, struct segments *ret)
{
    struct str rest = path, part;
    ret->n = 0;
    if (rest.n && rest.p[0] == '/')
        rest = str_sub(rest, 1, rest.n);
    while (str_cut(&rest, '/', &part) || part.n) {
        if (!part.n)
            continue; /* double or trailing slash */
        if (ret->n == SEGMENTS_MAX)
            return -E2BIG;
        if (http_unescape(a, part, false, &ret->v[ret->n++]) < 0)
            return -EINVAL;
    }
    return 0;
}

bool route_query_bool(struct str v)
{
    return !str_is(v, "0") && !str_ieq(v, STR("false"));
}

static bool wants_watch(struct str query, struct arena *a)
{
    struct str k, v;
    while (http_query_next(&query, a, &k, &v))
        if (str_is(k, "watch"))
            return route_query_bool(v);
    return false;
}

static bool is_connect(struct str sub)
{
    return str_is(sub, "exec") || str_is(sub, "attach") || str_is(sub, "portforward") ||
           str_is(sub, "log");
}

static enum route_result by_method(enum http_method m, struct str query, struct arena *a,
                                   struct route *r)
{
    if (r->kind && is_connect(r->subresource) && schema_subresource_find(r->kind, r->subresource)) {
        bool log = str_is(r->subresource, "log");
        r->verb = API_CONNECT;
        r->authz_verb = m == HTTP_METHOD_POST ? "create" : "get";
        return m == HTTP_METHOD_GET || (m == HTTP_METHOD_POST && !log) ? ROUTE_OK
                                                                       : ROUTE_BAD_METHOD;
    }
    switch (m) {
    case HTTP_METHOD_GET: /* one object is read, whatever the query says of watching */
        r->verb = r->name.n ? API_GET : wants_watch(query, a) ? API_WATCH : API_LIST;
        return ROUTE_OK;
    case HTTP_METHOD_POST:
        r->verb = API_CREATE;
        r->needs_body = true;
        return r->name.n && !r->subresource.n ? ROUTE_BAD_METHOD : ROUTE_OK;
    case HTTP_METHOD_PUT:
        r->verb = API_UPDATE;
        r->needs_body = true;
        return r->name.n ? ROUTE_OK : ROUTE_BAD_METHOD;
    case HTTP_METHOD_PATCH:
        r->verb = API_PATCH;
        r->needs_body = true;
        return r->name.n ? ROUTE_OK : ROUTE_BAD_METHOD;
    case HTTP_METHOD_DELETE:
        r->verb = r->name.n ? API_DELETE : API_DELETE_COLLECTION;
        r->optional_body = true;
        return r->subresource.n ? ROUTE_BAD_METHOD : ROUTE_OK;
    case HTTP_METHOD_HEAD: /* no resource has it, only paths like /healthz do */
    case HTTP_METHOD_OTHER:
    case HTTP_METHOD_OPTIONS:
    case HTTP_METHOD_CONNECT:
    case _HTTP_METHOD_MAX:
    case _HTTP_METHOD_INVALID:
        break;
    }
    return ROUTE_BAD_METHOD;
}

static const struct schema_kind *kind_find(struct kinds *customs, struct str group,
                                           struct str version, struct str plural)
{
    const struct schema_kind *k = schema_kind_by_plural(group, version, plural);
    return k ? k : kinds_by_plural(customs, group, version, plural);
}

static enum route_result resource(struct kinds *customs, enum http_method m, struct str query,
                                  struct arena *a, struct str group, struct str version,
                                  const struct str *v, unsigned n, struct route *r)
{
    unsigned i = 0;
    bool of_old = n >= 2 && str_is(v[0], "watch");
    v += of_old;
    n -= of_old;
    if (n >= 3 && str_is(v[0], "namespaces")) {
        r->kind = kind_find(customs, group, version, v[2]);
        if (r->kind && r->kind->namespaced) {
            r->ns = v[1];
            i = 2;
        } else {
            custom_unref(r->kind);
            r->kind = NULL;
        }
    }
    if (!r->kind)
        r->kind = kind_find(customs, group, version, v[i]);
    if (!r->kind)
        return ROUTE_NOT_FOUND;
    if (i + 1 < n)
        r->name = v[i + 1];
    if (i + 2 < n)
        r->subresource = v[i + 2];
    if (i + 3 < n || (r->kind->namespaced && !r->ns.n && r->name.n))
        return ROUTE_NOT_FOUND;
    if (r->subresource.n && !schema_subresource_find(r->kind, r->subresource))
        return ROUTE_NOT_FOUND;
    if (of_old) {
        r->verb = API_WATCH;
        return r->subresource.n || !(r->kind->verbs & SCHEMA_VERB_WATCH) ? ROUTE_NOT_FOUND
               : m == HTTP_METHOD_GET                                    ? ROUTE_OK
                                                                         : ROUTE_BAD_METHOD;
    }
    enum route_result res = by_method(m, query, a, r);
    if (res == ROUTE_OK && r->verb == API_CREATE && r->kind->namespaced && !r->ns.n)
        return ROUTE_BAD_METHOD;
    if (res == ROUTE_OK && r->verb == API_DELETE_COLLECTION && r->kind->namespaced && !r->ns.n)
        return ROUTE_BAD_METHOD;
    return res;
}

/* Paths that Kubernetes routes by method as well, as it does those of resources. */
static bool has_no_head(const struct segments *s)
{
    return s->n && (str_is(s->v[0], "api") || str_is(s->v[0], "version") ||
                    (str_is(s->v[0], "apis") && s->n > 1));
}

enum route_result route_find(struct kinds *customs, enum http_method method, struct str path,
                             struct str query, struct arena *a, struct route *ret)
{
    struct segments s;
    int r = split(path, a, &s);
    *ret = (struct route){.verb = API_PATH};
    if (r == -EINVAL)
        return ROUTE_BAD_PATH;
    if (r < 0)
        return ROUTE_NOT_FOUND;
    if (s.n >= 3 && str_is(s.v[0], "api"))
        return resource(customs, method, query, a, STR(""), s.v[1], s.v + 2, s.n - 2, ret);
    if (s.n >= 4 && str_is(s.v[0], "apis"))
        return resource(customs, method, query, a, s.v[1], s.v[2], s.v + 3, s.n - 3, ret);
    if (method == HTTP_METHOD_HEAD)
        return has_no_head(&s) ? ROUTE_BAD_METHOD : ROUTE_OK;
    return method == HTTP_METHOD_GET ? ROUTE_OK : ROUTE_BAD_METHOD;
}
