/* Discovery documents: made from the table of kinds, the custom kinds that are served, and what the
 * servers of aggregated APIs last said of theirs; kept as shared bytes with an ETag each, and made
 * anew when somebody asks after any of that has changed (so that a hundred definitions in a row
 * cost one making). Groups and versions come in the order their APIServices give them. Legacy
 * discovery
 * (/api, /apis, one list a group version) and the aggregated form are both served. And the door to
 * OpenAPI. */
#include "apiserver/front/front_int.h"
#include "apiserver/front/kept.h"
#include "apiserver/aggregate/remotes.h"

#include "api/apiservice.h"

#include "base/set.h"

#include "codec/base64.h"

#include "schema/custom.h"
#include "schema/openapi.h"

#include <pthread.h>
#include <time.h>

#define ACCEPTED_TYPES "application/json, application/yaml, application/vnd.kubernetes.protobuf"
#define OPENAPI_KEEP_S (365 * 24 * 3600)
#define OPENAPI_V2_PB  "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

struct document {
    char *path; /* "/apis/apps/v1" */
    enum accept_as as;
    struct blob *blob;
    char etag[SHA256_HEX + 3];
};

struct discovery {
    char *address;                   /* "10.0.0.1:6443", once that is known; owned */
    struct kinds *customs;           /* borrowed */
    struct remotes *remotes;         /* borrowed */
    pthread_mutex_t lock;            /* of all below: I/O threads ask, and the first makes anew */
    bool made;                       /* they are there, and tell the address */
    uint64_t generation;             /* of customs, that the documents tell of */
    uint64_t remote_generation;      /* of remotes, likewise */
    const struct schema_kind **more; /* owned references */
    size_t n_more;
    struct remote_view *views; /* owned */
    size_t n_views;
    struct document *v; /* owned */
    size_t n, cap;
    struct kept swagger; /* the v2 document as protobuf, of what is told here */
};

/* One version of a group. */
struct gv {
    const char *group, *version;
    int32_t group_priority, version_priority;
    const struct remote_view *remote; /* NULL: served here */
};

static size_t all_n(const struct discovery *d)
{
    return _KIND_MAX + d->n_more;
}

static const struct schema_kind *kind_at(const struct discovery *d, size_t i)
{
    return i < _KIND_MAX ? schema_kinds[i] : d->more[i - _KIND_MAX];
}

static const struct remote_view *served_elsewhere(const struct discovery *d, const char *group,
                                                  const char *version)
{
    for (size_t i = 0; i < d->n_views; i++)
        if (str_eqz(d->views[i].remote->group, group) &&
            str_eqz(d->views[i].remote->version, version))
            return &d->views[i];
    return NULL;
}

static int by_priority(const void *a, const void *b)
{
    const struct gv *x = a, *y = b;
    if (x->group_priority != y->group_priority)
        return x->group_priority > y->group_priority ? -1 : 1;
    int r = strcmp(x->group, y->group);
    return r ? r
             : apiservice_version_cmp(x->version_priority, str_z(x->version), y->version_priority,
                                      str_z(y->version));
}

/* A group is where the highest of its versions puts it. */
static void sort_versions(struct gv *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            if (strcmp(v[i].group, v[k].group) == 0)
                v[i].group_priority = MAX(v[i].group_priority, v[k].group_priority);
    qsort(v, n, sizeof(*v), by_priority);
}

/* out: room for all_n and the views. */
static size_t group_versions(const struct discovery *d, struct gv *out)
{
    size_t n = 0;
    struct set seen = {0};
    for (size_t i = 0; i < all_n(d); i++) {
        const struct schema_kind *k = kind_at(d, i);
        if (!set_add(&seen, str_z(k->api_version)) || served_elsewhere(d, k->group, k->version))
            continue;
        struct gv *g = &out[n++];
        *g = (struct gv){.group = k->group, .version = k->version};
        apiservice_priorities(str_z(k->group), str_z(k->version), &g->group_priority,
                              &g->version_priority);
        if (k == KIND(APISERVICE))
            g->group_priority = INT32_MAX; /* first, as in Kubernetes */
    }
    for (size_t i = 0; i < d->n_views; i++) {
        const struct remote *r = d->views[i].remote;
        out[n++] = (struct gv){.group = r->group.p, /* ends with a NUL: arena_str */
                               .version = r->version.p,
                               .group_priority = r->group_priority,
                               .version_priority = r->version_priority,
                               .remote = &d->views[i]};
    }
    set_fini(&seen);
    sort_versions(out, n);
    return n;
}

static void add_document(struct discovery *d, const char *path, enum accept_as as, struct buf *b)
{
    char hex[SHA256_HEX + 1];
    ARRAY_RESERVE(d->v, d->n, d->cap);
    struct document *doc = &d->v[d->n++];
    *doc = (struct document){.path = xstrdup(path), .as = as, .blob = blob_new(buf_str(b))};
    sha256_hex_of(buf_str(b), hex);
    snprintf(doc->etag, sizeof(doc->etag), "\"%s\"", hex);
    buf_fini(b);
    *b = (struct buf){0};
}

static void add_str_list(struct buf *b, const char *const *v)
{
    buf_add_char(b, '[');
    for (size_t i = 0; v && v[i]; i++)
        buf_printf(b, "%s\"%s\"", i ? "," : "", v[i]);
    buf_add_char(b, ']');
}

static void add_verbs(struct buf *b, uint8_t verbs)
{
    /* in the alphabetical order Kubernetes prints */
    static const struct {
        uint8_t bit;
        const char *name;
    } names[] = {{SCHEMA_VERB_CREATE, "create"},
                 {SCHEMA_VERB_DELETE, "delete"},
                 {SCHEMA_VERB_DELETECOLLECTION, "deletecollection"},
                 {SCHEMA_VERB_GET, "get"},
                 {SCHEMA_VERB_LIST, "list"},
                 {SCHEMA_VERB_PATCH, "patch"},
                 {SCHEMA_VERB_UPDATE, "update"},
                 {SCHEMA_VERB_WATCH, "watch"}};
    const char *sep = "";
    buf_add_char(b, '[');
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (verbs & names[i].bit) {
            buf_printf(b, "%s\"%s\"", sep, names[i].name);
            sep = ",";
        }
    buf_add_char(b, ']');
}

/* ---- legacy ---- */

/* Tells whether the version changed in which objects are stored. Of nothing that is not stored. */
static void add_storage_hash(struct buf *b, const struct schema_kind *k)
{
    const struct schema_kind *stored = custom_is_served(k) ? k->custom->storage : storage_kind(k);
    uint8_t sum[SHA256_BYTES];
    if (!(k->verbs & SCHEMA_VERB_WATCH))
        return;
    CLEANUP(freep) char *text = xasprintf("%s/%s/%s", stored->group, stored->version, stored->kind);
    sha256_of(str_z(text), sum);
    buf_add_lit(b, ",\"storageVersionHash\":\"");
    base64_print((struct str){(const char *)sum, 8}, b);
    buf_add_char(b, '"');
}

static void resource_list(struct discovery *d, const struct gv *gv)
{
    struct buf b = {0};
    char path[600], api[512];
    const char *sep = "";
    snprintf(api, sizeof(api), "%s%s%s", gv->group, gv->group[0] ? "/" : "", gv->version);
    snprintf(path, sizeof(path), "/%s/%s", gv->group[0] ? "apis" : "api", api);
    buf_printf(&b,
               "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"%s\","
               "\"resources\":[",
               api);
    for (size_t i = 0; i < all_n(d); i++) {
        const struct schema_kind *k = kind_at(d, i);
        if (strcmp(k->group, gv->group) != 0 || strcmp(k->version, gv->version) != 0)
            continue;
        buf_printf(&b,
                   "%s{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\","
                   "\"verbs\":",
                   sep, k->plural, k->singular, k->namespaced ? "true" : "false", k->kind);
        sep = ",";
        add_verbs(&b, k->verbs);
        if (k->short_names && k->short_names[0]) {
            buf_add_lit(&b, ",\"shortNames\":");
            add_str_list(&b, k->short_names);
        }
        if (k->categories && k->categories[0]) {
            buf_add_lit(&b, ",\"categories\":");
            add_str_list(&b, k->categories);
        }
        add_storage_hash(&b, k);
        buf_add_char(&b, '}');
        for (unsigned s = 0; s < k->n_subresources; s++) {
            const struct schema_subresource *sub = &k->subresources[s];
            buf_printf(&b, ",{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":%s",
                       k->plural, sub->name, k->namespaced ? "true" : "false");
            if (strcmp(sub->desc->api_version, k->api_version) != 0)
                buf_printf(&b, ",\"group\":\"%s\",\"version\":\"%s\"", sub->desc->group,
                           sub->desc->version);
            buf_printf(&b, ",\"kind\":\"%s\",\"verbs\":", sub->desc->name);
            add_verbs(&b, sub->verbs);
            buf_add_char(&b, '}');
        }
    }
    buf_add_lit(&b, "]}");
    add_document(d, path, AS_ITSELF, &b);
}

static void print_group(struct buf *b, const char *group, const struct gv *gvs, size_t n,
                        bool alone)
{
    const char *sep = "", *preferred = NULL;
    buf_add_char(b, '{');
    if (alone)
        buf_add_lit(b, "\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
    buf_printf(b, "\"name\":\"%s\",\"versions\":[", group);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(gvs[i].group, group) != 0)
            continue;
        buf_printf(b, "%s{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}", sep, group,
                   gvs[i].version, gvs[i].version);
        sep = ",";
        preferred = preferred ? preferred : gvs[i].version;
    }
    buf_printf(b, "],\"preferredVersion\":{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}}", group,
               preferred, preferred);
}

static bool first_of_group(const struct gv *gvs, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(gvs[k].group, gvs[i].group) == 0)
            return false;
    return gvs[i].group[0] != '\0';
}

static void legacy(struct discovery *d, const struct gv *gvs, size_t n)
{
    struct buf b = {0};
    const char *sep = "";
    char path[600];
    buf_add_lit(&b, "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],"
                    "\"serverAddressByClientCIDRs\":[");
    if (d->address) {
        buf_add_lit(&b, "{\"clientCIDR\":\"0.0.0.0/0\",\"serverAddress\":");
        json_print_str(str_z(d->address), &b);
        buf_add_char(&b, '}');
    }
    buf_add_lit(&b, "]}");
    add_document(d, "/api", AS_ITSELF, &b);
    buf_add_lit(&b, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
    for (size_t i = 0; i < n; i++) {
        if (!first_of_group(gvs, i))
            continue;
        buf_printf(&b, "%s", sep);
        sep = ",";
        print_group(&b, gvs[i].group, gvs, n, false);
    }
    buf_add_lit(&b, "]}");
    add_document(d, "/apis", AS_ITSELF, &b);
    for (size_t i = 0; i < n; i++) {
        if (!gvs[i].remote)
            resource_list(d, &gvs[i]);
        if (!first_of_group(gvs, i))
            continue;
        snprintf(path, sizeof(path), "/apis/%s", gvs[i].group);
        print_group(&b, gvs[i].group, gvs, n, true);
        add_document(d, path, AS_ITSELF, &b);
    }
}

/* ---- aggregated ---- */

static void print_resource(struct buf *b, const struct schema_kind *k)
{
    buf_printf(b,
               "{\"resource\":\"%s\",\"responseKind\":{\"group\":\"%s\",\"version\":\"%s\","
               "\"kind\":\"%s\"},\"scope\":\"%s\","
               "\"singularResource\":\"%s\",\"verbs\":",
               k->plural, k->group, k->version, k->kind, k->namespaced ? "Namespaced" : "Cluster",
               k->singular);
    add_verbs(b, k->verbs);
    if (k->short_names && k->short_names[0]) {
        buf_add_lit(b, ",\"shortNames\":");
        add_str_list(b, k->short_names);
    }
    if (k->categories && k->categories[0]) {
        buf_add_lit(b, ",\"categories\":");
        add_str_list(b, k->categories);
    }
    if (k->n_subresources) {
        buf_add_lit(b, ",\"subresources\":[");
        for (unsigned i = 0; i < k->n_subresources; i++) {
            const struct schema_subresource *s = &k->subresources[i];
            buf_printf(b,
                       "%s{\"subresource\":\"%s\",\"responseKind\":{\"group\":\"%s\",\"version\":"
                       "\"%s\",\"kind\":\"%s\"},\"verbs\":",
                       i ? "," : "", s->name, s->desc->group, s->desc->version, s->desc->name);
            add_verbs(b, s->verbs);
            buf_add_char(b, '}');
        }
        buf_add_char(b, ']');
    }
    buf_add_char(b, '}');
}

static void print_version(const struct discovery *d, struct buf *b, const struct gv *gv)
{
    const char *sep = "";
    if (gv->remote) {
        buf_printf(b, "{\"version\":\"%s\"", gv->version);
        if (gv->remote->resources)
            buf_printf(b, ",\"resources\":%.*s", STR_ARG(blob_str(gv->remote->resources)));
        buf_printf(b, ",\"freshness\":\"%s\"}", gv->remote->stale ? "Stale" : "Current");
        return;
    }
    buf_printf(b, "{\"version\":\"%s\",\"resources\":[", gv->version);
    for (size_t i = 0; i < all_n(d); i++) {
        const struct schema_kind *k = kind_at(d, i);
        if (strcmp(k->group, gv->group) != 0 || strcmp(k->version, gv->version) != 0)
            continue;
        buf_printf(b, "%s", sep);
        sep = ",";
        print_resource(b, k);
    }
    buf_add_lit(b, "],\"freshness\":\"Current\"}");
}

static void aggregated(struct discovery *d, const struct gv *gvs, size_t n, bool core)
{
    struct buf b = {0};
    const char *sep = "";
    buf_add_lit(&b, "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/"
                    "v2\",\"metadata\":{},\"items\":[");
    for (size_t i = 0; i < n; i++) {
        bool is_core = gvs[i].group[0] == '\0';
        if (is_core != core || (!core && !first_of_group(gvs, i)))
            continue;
        buf_printf(&b, "%s{\"metadata\":{", sep);
        sep = ",";
        if (!core)
            buf_printf(&b, "\"name\":\"%s\"", gvs[i].group);
        buf_add_lit(&b, "},\"versions\":[");
        const char *vsep = "";
        for (size_t k = 0; k < n; k++) {
            if (strcmp(gvs[k].group, gvs[i].group) != 0)
                continue;
            buf_printf(&b, "%s", vsep);
            vsep = ",";
            print_version(d, &b, &gvs[k]);
        }
        buf_add_lit(&b, "]}");
    }
    buf_add_lit(&b, "]}");
    add_document(d, core ? "/api" : "/apis", AS_DISCOVERY_V2, &b);
}

/* Where the servers of aggregated APIs have theirs: asked for through us, like all of them. */
static void add_remote_documents(const struct discovery *d, struct buf *b)
{
    struct str end = STR("}}");
    bool empty = str_is(buf_str(b), "{\"paths\":{}}");
    ASSERT(b->n >= end.n);
    b->n -= end.n;
    for (size_t i = 0; i < d->n_views; i++) {
        const struct remote_view *v = &d->views[i];
        if (!v->openapi)
            continue;
        buf_printf(b, "%s\"apis/%.*s/%.*s\":{\"serverRelativeURL\":\"%.*s\"}", empty ? "" : ",",
                   STR_ARG(v->remote->group), STR_ARG(v->remote->version),
                   STR_ARG(blob_str(v->openapi)));
        empty = false;
    }
    buf_add_str(b, end);
}

/* Their v2 documents become parts of ours. Asked for rarely, so read when somebody asks. */
static void add_remote_swagger(const struct discovery *d, struct buf *b)
{
    struct buf paths = {0}, definitions = {0}, all = {0};
    struct str begin = STR("\"paths\":{"), end = STR("}}"), own = buf_str(b);
    for (size_t i = 0; i < d->n_views; i++)
        if (d->views[i].swagger)
            remote_swagger(blob_str(d->views[i].swagger), d->views[i].remote->group,
                           d->views[i].remote->version, &paths, &definitions);
    if (paths.n || definitions.n) {
        size_t at = (size_t)str_search(own, begin) + begin.n;
        ASSERT(at >= begin.n && own.n > at + end.n);
        buf_add_str(&all, str_sub(own, 0, at));
        if (paths.n) { /* ours follow: the comma goes behind */
            buf_add_str(&all, str_sub(buf_str(&paths), 1, paths.n));
            buf_add_char(&all, ',');
        }
        buf_add_str(&all, str_sub(own, at, own.n - end.n));
        buf_add_str(&all, buf_str(&definitions));
        buf_add_str(&all, end);
        buf_fini(b);
        *b = all;
    }
    buf_fini(&paths);
    buf_fini(&definitions);
}

/* "/openapi/v3/apis/apps/v1", "/openapi/v3/api/v1" */
static bool openapi_v3_version(struct str path, struct str *ret_group, struct str *ret_version)
{
    struct str v3 = STR("/openapi/v3/"), rest, api;
    *ret_group = STR("");
    if (!str_starts(path, v3))
        return false;
    rest = str_sub(path, v3.n, path.n);
    if (!str_cut(&rest, '/', &api))
        return false;
    if (str_is(api, "apis") && !str_cut(&rest, '/', ret_group))
        return false;
    *ret_version = rest;
    return str_is(api, "api") || str_is(api, "apis");
}

/* OpenAPI is asked for rarely and is large: made for each who asks, not kept but for the form most
 * kubectls want (swagger_answer). True: it is served. */
static bool openapi_print(const struct discovery *d, struct str path, struct buf *b)
{
    const struct openapi_more more = {d->more, d->n_more};
    struct str group, version;
    if (str_is(path, "/openapi/v2")) {
        openapi_v2_print(&more, b);
        add_remote_swagger(d, b);
        return true;
    }
    if (str_is(path, "/openapi/v3")) {
        openapi_v3_index_print(&more, b);
        add_remote_documents(d, b);
        return true;
    }
    return openapi_v3_version(path, &group, &version) && openapi_v3_print(&more, group, version, b);
}

/* Who asks by a hash (the index gives it) may keep the answer for good; one by an old hash is sent
 * to the present one. True: answered. */
static bool openapi_by_hash(const struct discovery *d, struct exchange *x, struct str path,
                            struct http_header *h, size_t *n)
{
    const struct openapi_more more = {d->more, d->n_more};
    struct arena *a = &x->call->arena;
    struct str q = x->req->query, k, v, group, version;
    bool lasting = false;
    if (!openapi_v3_version(path, &group, &version))
        return false;
    while (http_query_next(&q, a, &k, &v)) {
        if (!str_is(k, "hash") || !v.n)
            continue;
        uint64_t hash = openapi_v3_hash(&more, group, version, &lasting);
        struct str now = arena_printf(a, "%016llX", (unsigned long long)hash);
        if (!str_eq(v, now)) {
            struct http_header to = {
                STR("location"), arena_printf(a, "%.*s?hash=%.*s", STR_ARG(path), STR_ARG(now))};
            exchange_answer(x, 301, NULL, HTTP_BYTES_NONE, &to, 1);
            return true;
        }
        if (lasting) {
            char date[40];
            time_t end = (time_t)(rt_wall(x->io->rt) / 1000000) + OPENAPI_KEEP_S;
            struct tm tm;
            strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&end, &tm));
            h[(*n)++] = (struct http_header){STR("cache-control"), STR("public, immutable")};
            h[(*n)++] = (struct http_header){STR("expires"), arena_strz(a, date)};
        }
        break;
    }
    return false;
}

static bool wants_json(struct str accept)
{
    return !accept.n || str_search(accept, STR("json")) >= 0 || str_search(accept, STR("*/*")) >= 0;
}

/* `@v1.0` in the older form of the name, `.v1.0` in the newer. */
static bool wants_v2_pb(struct str path, struct str accept)
{
    return str_is(path, "/openapi/v2") &&
           str_search(accept, STR("application/com.github.proto-openapi.spec.v2")) >= 0;
}

static bool etag_matches(struct exchange *x, const char *etag)
{
    struct str have = http_request_header(x->req, STR("if-none-match"));
    return have.n && str_search(have, str_z(etag)) >= 0;
}

static void release(void *arg)
{
    blob_unref(arg);
}

static void answer_blob(struct exchange *x, struct blob *b, const char *etag, const char *type)
{
    struct http_header h[2] = {{STR("etag"), str_z(etag)}, {STR("vary"), STR("Accept")}};
    if (etag_matches(x, etag))
        exchange_answer(x, 304, NULL, HTTP_BYTES_NONE, h, 2);
    else
        exchange_answer(x, 200, type, (struct http_bytes){b->data, b->n, release, blob_ref(b)}, h,
                        2);
}

/* The v2 document as protobuf: what kubectl reads before it checks anything. It is made from the
 * JSON, which is printed and walked for that. */
static void swagger_answer(struct discovery *d, struct exchange *x)
{
    struct io *io = x->io; /* what is answered is not ours any more */
    if (!kept_ask(&d->swagger, rt_now(io->rt))) {
        struct buf b = {0}, wire = {0};
        (void)openapi_print(d, STR("/openapi/v2"), &b);
        int r = openapi_v2_pb_print(buf_str(&b), &wire);
        buf_fini(&b);
        if (r < 0) {
            buf_fini(&wire);
            exchange_refuse(x, REASON_INTERNAL, "the OpenAPI document is not valid JSON");
            return;
        }
        kept_take(&d->swagger, &wire);
    }
    answer_blob(x, d->swagger.blob, d->swagger.etag, OPENAPI_V2_PB);
    kept_answered(&d->swagger);
    rt_timer_start(&io->swagger_timer, KEPT_IDLE);
}

void discovery_idle(struct discovery *d, nsec_t now)
{
    (void)pthread_mutex_lock(&d->lock);
    kept_expire(&d->swagger, now);
    (void)pthread_mutex_unlock(&d->lock);
}

void discovery_print(struct discovery *d, struct buf *out)
{
    (void)pthread_mutex_lock(&d->lock);
    buf_printf(out, "\nOpenAPI v2 as protobuf: %zu KB kept, made %llu times\n",
               d->swagger.blob ? d->swagger.blob->n / 1024 : 0,
               (unsigned long long)d->swagger.made);
    (void)pthread_mutex_unlock(&d->lock);
}

static bool openapi_answer(struct discovery *d, struct exchange *x, struct str path)
{
    struct buf b = {0};
    char hex[SHA256_HEX + 1], etag[SHA256_HEX + 3];
    struct http_header h[4] = {{STR("etag"), STR_NONE}, {STR("vary"), STR("Accept")}};
    size_t n_h = 2;
    struct str accept = http_request_header(x->req, STR("accept"));
    bool json = wants_json(accept);
    if (!json && wants_v2_pb(path, accept)) {
        swagger_answer(d, x);
        return true;
    }
    if (!openapi_print(d, path, &b)) {
        buf_fini(&b);
        return false;
    }
    if (!json) {
        buf_fini(&b);
        exchange_refuse(x, REASON_NOT_ACCEPTABLE,
                        "only the following media types are accepted: application/json");
        return true;
    }
    if (openapi_by_hash(d, x, path, h, &n_h)) {
        buf_fini(&b);
        return true;
    }
    sha256_hex_of(buf_str(&b), hex);
    snprintf(etag, sizeof(etag), "\"%s\"", hex);
    h[0].value = str_z(etag);
    if (etag_matches(x, etag)) {
        buf_fini(&b);
        exchange_answer(x, 304, NULL, HTTP_BYTES_NONE, h, n_h);
        return true;
    }
    size_t n;
    char *p = buf_take(&b, &n);
    exchange_answer(x, 200, "application/json", http_bytes_take(p, n), h, n_h);
    return true;
}

static void forget(struct discovery *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->v[i].path);
        blob_unref(d->v[i].blob);
    }
    d->n = 0;
    kept_forget(&d->swagger);
    kinds_list_free(d->more, d->n_more);
    d->more = NULL;
    d->n_more = 0;
    remotes_views_free(d->views, d->n_views);
    d->views = NULL;
    d->n_views = 0;
}

static void make(struct discovery *d)
{
    forget(d);
    d->more = kinds_list(d->customs, &d->n_more, &d->generation);
    d->remote_generation = remotes_generation(d->remotes); /* before: rather once too often */
    d->views = remotes_views(d->remotes, &d->n_views);
    struct gv *gvs = xcalloc(all_n(d) + d->n_views, sizeof(*gvs));
    size_t n = group_versions(d, gvs);
    legacy(d, gvs, n);
    aggregated(d, gvs, n, true);
    aggregated(d, gvs, n, false);
    free(gvs);
    d->made = true;
}

struct discovery *discovery_new(struct kinds *customs, struct remotes *remotes)
{
    struct discovery *d = NEW(struct discovery);
    d->customs = customs;
    d->remotes = remotes;
    (void)pthread_mutex_init(&d->lock, NULL);
    return d;
}

void discovery_set_address(struct discovery *d, struct str host, uint16_t port)
{
    bool v6 = str_find(host, ':') >= 0;
    (void)pthread_mutex_lock(&d->lock);
    free(d->address);
    d->address = xasprintf(v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), port);
    d->made = false;
    (void)pthread_mutex_unlock(&d->lock);
}

struct discovery *discovery_free(struct discovery *d)
{
    if (!d)
        return NULL;
    forget(d);
    (void)pthread_mutex_destroy(&d->lock);
    free(d->v);
    free(d->address);
    free(d);
    return NULL;
}

static void root(struct discovery *d, struct exchange *x)
{
    struct buf b = {0};
    const char *sep = "";
    buf_add_lit(&b, "{\"paths\":[");
    for (size_t i = 0; i < d->n; i++)
        if (d->v[i].as == AS_ITSELF) {
            buf_printf(&b, "%s\"%s\"", sep, d->v[i].path);
            sep = ",";
        }
    buf_add_lit(&b, ",\"/healthz\",\"/livez\",\"/metrics\",\"/readyz\",\"/version\"]}");
    exchange_answer_buf(x, 200, "application/json", &b);
}

static bool answer(struct discovery *d, struct exchange *x)
{
    struct str p = x->req->path;
    while (p.n > 1 && p.p[p.n - 1] == '/')
        p.n--;
    if (str_is(p, "/")) {
        root(d, x);
        return true;
    }
    if (str_starts(p, STR("/openapi/")))
        return openapi_answer(d, x, p);
    const struct document *best = NULL;
    for (size_t i = 0; i < d->n; i++)
        if (str_eqz(p, d->v[i].path) && (d->v[i].as == AS_ITSELF || d->v[i].as == x->accept.as))
            if (!best || d->v[i].as == x->accept.as)
                best = &d->v[i];
    if (!best)
        return false;
    if (x->unacceptable) {
        exchange_refuse(x, REASON_NOT_ACCEPTABLE, "only the following media types are accepted: %s",
                        ACCEPTED_TYPES);
        return true;
    }
    struct accept as = {.media = MEDIA_JSON, .as = best->as};
    if (x->accept.media == MEDIA_YAML && !etag_matches(x, best->etag)) {
        const struct http_header vary = {STR("vary"), STR("Accept")};
        struct buf yaml = {0};
        buf_add_str(&yaml, blob_str(best->blob));
        if (encode_as_yaml(&yaml)) {
            size_t n;
            char *text = buf_take(&yaml, &n);
            exchange_answer(
                x, 200,
                best->as == AS_DISCOVERY_V2
                    ? "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
                    : "application/yaml",
                http_bytes_take(text, n), &vary, 1);
            return true;
        }
        buf_fini(&yaml);
    }
    answer_blob(x, best->blob, best->etag, encode_content_type(&as, false));
    return true;
}

bool discovery_answer(struct discovery *d, struct exchange *x)
{
    (void)pthread_mutex_lock(&d->lock);
    if (!d->made || d->generation != kinds_generation(d->customs) ||
        d->remote_generation != remotes_generation(d->remotes))
        make(d);
    bool there = answer(d, x);
    (void)pthread_mutex_unlock(&d->lock);
    return there;
}
