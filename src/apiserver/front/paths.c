/* Paths that are no resources: version, health, metrics, discovery, OpenAPI, the token issuer's
 * keys. Who may read them is RBAC's matter (nonResourceURLs), asked on the core thread like for
 * everything else. */
#include "apiserver/front/debug.h"

#include <sys/utsname.h>

#include "codec/base64.h"

static bool starts(struct str s, const char *prefix)
{
    return str_starts(s, str_z(prefix));
}

static bool is_health(struct str p)
{
    return str_is(p, "/healthz") || str_is(p, "/livez") || str_is(p, "/readyz") ||
           starts(p, "/healthz/") || starts(p, "/livez/") || starts(p, "/readyz/");
}

bool path_is_nowhere(struct str path)
{
    struct str rest = path, part = STR_NONE;
    while (rest.n && rest.p[0] == '/')
        rest = str_sub(rest, 1, rest.n);
    (void)str_cut(&rest, '/', &part);
    if (str_is(part, "api") || str_is(part, "version"))
        return false;
    if (!str_is(part, "apis"))
        return true;
    (void)str_cut(&rest, '/', &part);
    for (unsigned i = 0; i < _KIND_MAX; i++)
        if (part.n && str_eqz(part, schema_kinds[i]->group))
            return false;
    return true;
}

bool path_known(struct exchange *x)
{
    struct str p = x->req->path;
    while (p.n > 1 && p.p[p.n - 1] == '/')
        p.n--;
    return is_health(p) || str_is(p, "/version") || str_is(p, "/metrics") || str_is(p, "/") ||
           str_is(p, "/api") || starts(p, "/api/") || str_is(p, "/apis") || starts(p, "/apis/") ||
           starts(p, "/openapi/") || flow_dump_known(p) || debug_known(p) ||
           str_is(p, "/openid/v1/jwks") || str_is(p, "/.well-known/openid-configuration");
}

/* ---- core thread ---- */

static bool check(struct buf *b, const char *name, bool ok, bool *all)
{
    buf_printf(b, ok ? "[+]%s ok\n" : "[-]%s failed: reason withheld\n", name);
    *all &= ok;
    return ok;
}

void path_core(struct api_call *c)
{
    struct apiserver *s = c->server;
    struct buf b = {0};
    if (str_is(c->path, "/metrics")) {
        metrics_core(s, &b);
    } else if (debug_known(c->path)) {
        debug_core(c, &b);
    } else if (is_health(c->path)) {
        bool all = true;
        check(&b, "ping", true, &all);
        bool stored = store_rev(s->store) > 0 || s->opts.no_bootstrap;
        check(&b, "etcd", stored, &all); /* the store, by the name monitors know */
        if (starts(c->path, "/readyz")) {
            check(&b, "etcd-readiness", stored, &all);
            check(&b, "informer-sync", s->ready, &all);
            check(&b, "poststarthook/rbac/bootstrap-roles", s->ready, &all);
            check(&b, "shutdown", !s->stopping, &all);
        }
    } else {
        return;
    }
    struct str text = arena_str(&c->arena, buf_str(&b));
    c->reply.message = text.p;
    c->reply.n_items = 0;
    c->reply.remaining = (int64_t)text.n;
    buf_fini(&b);
}

/* ---- I/O thread ---- */

static void answer_text(struct exchange *x, int code, struct buf *b)
{
    struct http_header h = {STR("x-content-type-options"), STR("nosniff")};
    size_t n;
    char *p = buf_take(b, &n);
    exchange_answer(x, code, "text/plain; charset=utf-8", http_bytes_take(p, n), &h, 1);
}

void path_not_found(struct exchange *x)
{
    struct buf b = {0};
    if (!path_is_nowhere(x->req->path)) {
        exchange_refuse(x, REASON_NOT_FOUND, "the server could not find the requested resource");
        return;
    }
    buf_add_lit(&b, "404 page not found\n");
    answer_text(x, 404, &b);
}

/* What the query asks of all checks together. */
struct health {
    bool verbose, ok;
    struct str excluded[API_HEALTH_EXCLUDES_MAX];
    bool found[API_HEALTH_EXCLUDES_MAX];
    size_t n;
};

static void health_query(struct exchange *x, struct health *h)
{
    struct str q = x->req->query, k, v;
    while (http_query_next(&q, &x->call->arena, &k, &v)) {
        h->verbose |= str_is(k, "verbose");
        if (str_is(k, "exclude") && v.n && h->n < ARRAY_LEN(h->excluded))
            h->excluded[h->n++] = v;
    }
}

static bool is_excluded(struct health *h, struct str name)
{
    bool yes = false;
    for (size_t i = 0; i < h->n; i++)
        if (str_eq(h->excluded[i], name))
            yes = h->found[i] = true;
    return yes;
}

/* checks: "[+]NAME ok" or "[-]NAME failed: ..." a line. */
static void health_lines(struct health *h, struct str checks, struct buf *b)
{
    struct str line;
    const char *sep = "";
    h->ok = true;
    while (str_cut(&checks, '\n', &line)) {
        struct str said = str_sub(line, 3, line.n), name;
        (void)str_cut(&said, ' ', &name);
        if (is_excluded(h, name)) {
            buf_printf(b, "[+]%.*s excluded: ok\n", STR_ARG(name));
            continue;
        }
        buf_printf(b, "%.*s\n", STR_ARG(line));
        h->ok &= str_starts(line, STR("[+]"));
    }
    for (size_t i = 0; i < h->n; i++) {
        if (h->found[i])
            continue;
        buf_printf(b, "%s\"%.*s\"",
                   *sep ? sep : "warn: some health checks cannot be excluded: no matches for ",
                   STR_ARG(h->excluded[i]));
        sep = ",";
    }
    if (*sep)
        buf_add_char(b, '\n');
}

/* One check by its name. */
static void answer_check(struct exchange *x, struct str checks, struct str which)
{
    CLEANUP(freep) char *good = xasprintf("[+]%.*s ok\n", STR_ARG(which));
    CLEANUP(freep) char *bad = xasprintf("[-]%.*s failed", STR_ARG(which));
    struct buf b = {0};
    bool ok = str_search(checks, str_z(good)) >= 0;
    if (!ok && str_search(checks, str_z(bad)) < 0) {
        path_not_found(x);
        return;
    }
    buf_printf(&b, ok ? "ok" : "internal server error: %.*s failed\n", STR_ARG(which));
    answer_text(x, ok ? 200 : 500, &b);
}

static void answer_health(struct exchange *x)
{
    const struct api_reply *rep = &x->call->reply;
    struct str checks = {rep->message, (size_t)rep->remaining}, path = x->req->path, one;
    struct str rest = str_sub(path, 1, path.n);
    struct health h = {0};
    struct buf b = {0};
    (void)str_cut(&rest, '/', &one);
    if (rest.n) {
        answer_check(x, checks, rest);
        return;
    }
    health_query(x, &h);
    health_lines(&h, checks, &b);
    buf_printf(&b, "%.*s check %s\n", STR_ARG(one), h.ok ? "passed" : "failed");
    if (h.ok && !h.verbose) {
        buf_clear(&b);
        buf_add_lit(&b, "ok");
    }
    answer_text(x, h.ok ? 200 : 500, &b);
}

static void answer_metrics(struct exchange *x)
{
    struct front *f = x->io->front;
    struct metrics *all[64];
    size_t n = MIN(f->n_ios, (unsigned)ARRAY_LEN(all));
    struct buf b = {0};
    for (size_t i = 0; i < n; i++)
        all[i] = &f->ios[i].metrics;
    metrics_print(all, n, &b);
    flow_metrics(x->io, &b);
    buf_add(&b, x->call->reply.message, (size_t)x->call->reply.remaining);
    exchange_answer_buf(x, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static void answer_flow_dump(struct exchange *x)
{
    struct buf b = {0};
    flow_dump(x, &b);
    exchange_answer_buf(x, 200, "text/plain; charset=utf-8", &b);
}

static void answer_version(struct exchange *x)
{
    struct utsname u;
    struct buf b = {0};
    const char *machine = uname(&u) == 0 ? u.machine : "unknown";
    const char *arch = strcmp(machine, "x86_64") == 0    ? "amd64"
                       : strcmp(machine, "aarch64") == 0 ? "arm64"
                                                         : machine;
    buf_printf(&b,
               "{\n  \"major\": \"1\",\n  \"minor\": \"%s\",\n  \"gitVersion\": "
               "\"v1.%s.0+davit-%s\",\n  \"gitCommit\": \"\",\n"
               "  \"gitTreeState\": \"clean\",\n  \"buildDate\": \"1970-01-01T00:00:00Z\",\n  "
               "\"goVersion\": \"\",\n"
               "  \"compiler\": \"%s\",\n  \"platform\": \"linux/%s\"\n}",
               API_KUBERNETES_MINOR, API_KUBERNETES_MINOR, DAVIT_VERSION,
#ifdef __clang__
               "clang",
#else
               "gcc",
#endif
               arch);
    exchange_answer_buf(x, 200, "application/json", &b);
}

/* The key that tokens are signed with, for those who check them elsewhere. */
static void answer_jwks(struct exchange *x)
{
    const struct pkey *k = x->io->front->token_key;
    struct buf b = {0}, first = {0}, second = {0};
    pkey_public_components(k, &first, &second);
    buf_add_lit(
        &b,
        "{\"keys\":[{\"use\":\"sig\",\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"x\":\"");
    base64url_print(buf_str(&first), &b);
    buf_add_lit(&b, "\",\"y\":\"");
    base64url_print(buf_str(&second), &b);
    buf_add_lit(&b, "\"}]}");
    buf_fini(&first);
    buf_fini(&second);
    exchange_answer_buf(x, 200, "application/jwk-set+json", &b);
}

static void answer_issuer(struct exchange *x)
{
    struct buf b = {0};
    buf_printf(&b,
               "{\"issuer\":\"%s\",\"jwks_uri\":\"%s/openid/v1/"
               "jwks\",\"response_types_supported\":[\"id_token\"],"
               "\"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":"
               "[\"ES256\"]}",
               TOKEN_ISSUER, TOKEN_ISSUER);
    exchange_answer_buf(x, 200, "application/json", &b);
}

void path_answer(struct exchange *x)
{
    struct str p = x->req->path;
    while (p.n > 1 && p.p[p.n - 1] == '/')
        p.n--;
    if (is_health(p))
        answer_health(x);
    else if (str_is(p, "/metrics"))
        answer_metrics(x);
    else if (debug_known(p))
        debug_answer(x);
    else if (flow_dump_known(p))
        answer_flow_dump(x);
    else if (str_is(p, "/version"))
        answer_version(x);
    else if (str_is(p, "/openid/v1/jwks"))
        answer_jwks(x);
    else if (str_is(p, "/.well-known/openid-configuration"))
        answer_issuer(x);
    else if (!discovery_answer(x->io->front->discovery, x))
        path_not_found(x);
}
