/* The distribution API over libcurl's easy interface: pulls run in worker threads, so blocking is
 * fine. Redirects are followed by hand: a blob store on another host must not get the registry's
 * token, and https must not turn into http. Everything received is bounded and digested as it
 * comes. */
#include "node/image/registry_internal.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <strings.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/json.h"
#include "rt/crypto.h"

#define ERROR_BODY_MAX    8192
#define CONNECT_TIMEOUT_S 15L
#define STALL_TIME_S                                                                               \
    30L /* less than STALL_BYTES a second for so long breaks the transfer (and resumes) */
#define STALL_BYTES     1L
#define RESUME_ATTEMPTS 6 /* without any progress between them */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_init(void)
{
    curl_lib_need();
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool host_in(char *const *list, const char *host)
{
    size_t n = strcspn(host, ":");
    for (size_t i = 0; list && list[i]; i++)
        if (strcmp(list[i], host) == 0 || (strlen(list[i]) == n && strncmp(list[i], host, n) == 0))
            return true;
    return false;
}

/* "localhost", "127.x.y.z", "[::1]", with or without port. */
static bool host_is_loopback(const char *host)
{
    char name[256];
    size_t n = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    struct in_addr a;
    if (n >= sizeof(name))
        return false;
    memcpy(name, host, n);
    name[n] = '\0';
    if (strcmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, name, &a) == 1 && (ntohl(a.s_addr) >> 24) == 127;
}

bool registry_plain_allowed(const struct registry *r, const char *url)
{
    if (strncasecmp(url, "https://", 8) == 0)
        return true;
    if (strncasecmp(url, "http://", 7) != 0)
        return false;
    const char *host = url + 7;
    size_t n = strcspn(host, "/?#");
    char *copy = str_dup((struct str){host, n});
    bool ok = !strchr(copy, '@') && (host_is_loopback(copy) || host_in(r->insecure, copy));
    free(copy);
    return ok;
}

struct registry *registry_new(const struct registry_opts *o)
{
    pthread_once(&curl_once, curl_init);
    struct registry *r = NEW(struct registry);
    const char *host =
        strcmp(o->name->domain, "docker.io") == 0 ? "registry-1.docker.io" : o->name->domain;
    r->name = o->name;
    r->auths = o->auths;
    r->insecure = o->insecure;
    r->ca_file = o->ca_file;
    r->cancelled = o->cancelled;
    r->plain_ok = host_is_loopback(host) || host_in(o->insecure, host);
    r->base = xasprintf("https://%s", host);
    r->curl = curl_easy_init();
    ASSERT(r->curl);
    return r;
}

struct registry *registry_free(struct registry *r)
{
    if (r) {
        curl_easy_cleanup(r->curl);
        if (r->authorization)
            explicit_bzero(r->authorization, strlen(r->authorization));
        free(r->authorization);
        free(r->base);
        free(r);
    }
    return NULL;
}

bool registry_unreachable(const struct registry *r)
{
    return r->unreachable;
}

bool registry_unauthorized(const struct registry *r)
{
    return r->unauthorized;
}

/* ---- one exchange ---- */

void exchange_fini(struct exchange *x)
{
    buf_fini(&x->error_body);
}

struct transfer {
    struct registry *r;
    struct exchange *x;
};

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct exchange *x = t->x;
    curl_easy_getinfo(t->r->curl, CURLINFO_RESPONSE_CODE, &x->status);
    n *= size;
    if (x->status / 100 != 2) {
        x->error_body.limit_bytes = ERROR_BODY_MAX;
        buf_add(&x->error_body, p, n);
        return n;
    }
    x->body_bytes += n;
    if (x->sink && x->sink(x->arg, p, n) < 0) {
        x->sink_failed = true;
        return 0;
    }
    return n;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = ((struct transfer *)arg)->x;
    struct str line = {p, size * n}, name;
    const struct {
        struct str name;
        char *out;
        size_t max;
    } wanted[] = {
        {STR("www-authenticate"), x->www_authenticate, sizeof(x->www_authenticate)},
        {STR("location"), x->location, sizeof(x->location)},
        {STR("content-type"), x->content_type, sizeof(x->content_type)},
        {STR("docker-content-digest"), x->digest_header, sizeof(x->digest_header)},
    };
    if (str_cut(&line, ':', &name)) {
        line = str_trim(line);
        for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
            if (str_ieq(name, wanted[i].name) && line.n < wanted[i].max)
                snprintf(wanted[i].out, wanted[i].max, "%.*s", STR_ARG(line));
    }
    return size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct transfer *t = arg;
    return t->r->cancelled && *t->r->cancelled;
}

static struct curl_slist *headers(const struct exchange *x)
{
    struct curl_slist *h = NULL;
    const struct {
        const char *name, *value;
    } all[] = {{"Accept", x->accept}, {"Authorization", x->authorization}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (!all[i].value)
            continue;
        char *line = xasprintf("%s: %s", all[i].name, all[i].value);
        h = curl_slist_append(h, line);
        free(line);
    }
    return h;
}

static void set_options(struct registry *r, struct exchange *x, struct transfer *t)
{
    CURL *c = r->curl;
    curl_easy_reset(c); /* keeps connections and caches */
    curl_easy_setopt(c, CURLOPT_URL, x->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https,http");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "davit/" DAVIT_VERSION);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, STALL_TIME_S);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->message);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    if (r->ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, r->ca_file);
    if (host_is_loopback(r->base + strcspn(r->base, "/") + 2))
        curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    if (x->method && strcmp(x->method, "HEAD") == 0)
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    if (x->post)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, x->post);
    if (x->user) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(c, CURLOPT_USERNAME, x->user);
        curl_easy_setopt(c, CURLOPT_PASSWORD, x->password ? x->password : "");
    }
}

static int transfer_error(struct registry *r, struct exchange *x, struct error *err)
{
    char host[256];
    const char *at = strstr(x->url, "://");
    at = at ? at + 3 : x->url;
    snprintf(host, sizeof(host), "%.*s", (int)strcspn(at, "/?#"), at);
    switch (x->code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        r->unreachable = true;
        return error_set(err, REASON_BAD_GATEWAY, "dial %s: no such host", host);
    case CURLE_COULDNT_CONNECT: {
        long os = 0;
        curl_easy_getinfo(r->curl, CURLINFO_OS_ERRNO, &os);
        r->unreachable = true;
        return error_set(err, REASON_BAD_GATEWAY, "dial %s: %s", host,
                         os == ECONNREFUSED ? "connection refused"
                         : os               ? strerror((int)os)
                                            : "cannot connect");
    }
    case CURLE_OPERATION_TIMEDOUT:
        r->unreachable = true;
        return error_set(err, REASON_TIMEOUT, "%s: timed out", host);
    case CURLE_ABORTED_BY_CALLBACK:
        return error_set(err, REASON_UNAVAILABLE, "%s: the pull was cancelled", host);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
        return error_set(err, REASON_BAD_GATEWAY, "%s: TLS: %s", host,
                         x->message[0] ? x->message : curl_easy_strerror(x->code));
    default:
        return error_set(err, REASON_BAD_GATEWAY, "%s: %s", host,
                         x->message[0] ? x->message : curl_easy_strerror(x->code));
    }
}

int registry_exchange(struct registry *r, struct exchange *x, struct error *err)
{
    struct transfer t = {r, x};
    char range[32];
    set_options(r, x, &t);
    struct curl_slist *h = headers(x);
    curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, h);
    if (x->range_from) {
        snprintf(range, sizeof(range), "%llu-", (unsigned long long)x->range_from);
        curl_easy_setopt(r->curl, CURLOPT_RANGE, range);
    }
    x->code = curl_easy_perform(r->curl);
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &x->status);
    curl_slist_free_all(h);
    if (x->code == CURLE_OK)
        return 0;
    if (x->sink_failed)
        return -ECANCELED; /* the sink knows why */
    return transfer_error(r, x, err);
}

/* ---- a request to the registry: authentication and redirects ---- */

static bool same_origin(const char *a, const char *b)
{
    const char *x = strstr(a, "://"), *y = strstr(b, "://");
    if (!x || !y)
        return false;
    size_t n = (size_t)(x + 3 - a) + strcspn(x + 3, "/?#"),
           m = (size_t)(y + 3 - b) + strcspn(y + 3, "/?#");
    return n == m && strncasecmp(a, b, n) == 0;
}

/* Where `location` (absolute or relative) leads from `url`; heap, NULL when it is nothing we may
 * follow. */
static char *resolve_redirect(struct registry *r, const char *url, const char *location)
{
    char *out = NULL, *full = NULL;
    CURLU *u = curl_url();
    if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, location, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &full, 0) == CURLUE_OK && registry_plain_allowed(r, full))
        out = xstrdup(full);
    curl_free(full);
    curl_url_cleanup(u);
    return out;
}

/* What the registry says went wrong, from {"errors":[{"code","message"}]}. */
static int status_error(struct registry *r, const struct exchange *x, const char *what,
                        struct error *err)
{
    struct arena a = {0};
    struct json *root = NULL;
    struct str code = STR_NONE, message = STR_NONE, body = buf_str(&x->error_body);
    if (body.n && json_parse(body, &a, &(struct json_limits){.depth_max = 10, .values_max = 1000},
                             &root, NULL) >= 0) {
        const struct json *first = json_at(json_getz(root, "errors"), 0);
        code = json_get_str(first, STR("code"));
        message = json_get_str(first, STR("message"));
    }
    r->unauthorized = x->status == 401 || x->status == 403;
    int res;
    if (r->unauthorized)
        res = error_set(err, x->status == 401 ? REASON_UNAUTHORIZED : REASON_FORBIDDEN, "%s: %.*s",
                        what, STR_ARG(message.n ? message : STR("access denied")));
    if (r->unauthorized)
        error_prefix(err, "%s", x->status == 401 ? "unauthorized" : "forbidden");
    else if (x->status == 404)
        res = error_set(err, REASON_NOT_FOUND, "%s: not found%s%.*s", what, message.n ? ": " : "",
                        STR_ARG(message));
    else if (x->status == 429)
        res = error_set(err, REASON_TOO_MANY_REQUESTS, "%s: too many requests%s%.*s", what,
                        message.n ? ": " : "", STR_ARG(message));
    else
        res = error_set(err, REASON_BAD_GATEWAY, "%s: unexpected status %ld%s%.*s%s%.*s", what,
                        x->status, code.n ? " " : "", STR_ARG(code), message.n ? ": " : "",
                        STR_ARG(message));
    arena_fini(&a);
    return r->unauthorized ? (x->status == 401 ? -EACCES : -EPERM) : res;
}

/* Clears what a former answer left, keeps the question. */
static void exchange_again(struct exchange *x)
{
    buf_clear(&x->error_body);
    x->www_authenticate[0] = x->location[0] = x->content_type[0] = x->digest_header[0] =
        x->message[0] = '\0';
    x->body_bytes = 0;
    x->status = 0;
}

/* https first; where plain http is permitted, a server that speaks no TLS is tried that way. */
static int exchange_any(struct registry *r, struct exchange *x, char **url, struct error *err)
{
    struct error why = {0};
    x->url = *url;
    int res = registry_exchange(r, x, &why);
    bool no_tls = x->code == CURLE_SSL_CONNECT_ERROR || x->code == CURLE_COULDNT_CONNECT;
    if (res < 0 && no_tls && r->plain_ok && strncmp(r->base, "https://", 8) == 0 &&
        same_origin(*url, r->base)) {
        char *base = xasprintf("http://%s", r->base + 8), *plain = xasprintf("http://%s", *url + 8);
        free(r->base);
        r->base = base;
        free(*url);
        *url = plain;
        error_clear(&why);
        exchange_again(x);
        r->unreachable = false;
        x->url = *url;
        res = registry_exchange(r, x, &why);
    }
    if (res < 0 && err)
        error_copy(err, &why);
    error_fini(&why);
    return res;
}

/* GET base/path, with credentials when asked for them, following redirects. 0 with any final
 * status. */
static int request(struct registry *r, const char *path, struct exchange *x, struct error *err)
{
    char *url = xasprintf("%s%s", r->base, path);
    int res = 0, redirects = 0, logins = 0;
    r->unreachable = r->unauthorized = false;
    for (;;) {
        x->authorization = same_origin(url, r->base) ? r->authorization : NULL;
        exchange_again(x);
        res = exchange_any(r, x, &url, err);
        if (res < 0)
            break;
        if (x->status == 401 && same_origin(url, r->base) && logins++ < 2) {
            r->unauthorized = logins > 1;
            res = registry_authenticate(r, x->www_authenticate, err);
            if (res == 1)
                continue;
            break;
        }
        bool moved = x->status == 301 || x->status == 302 || x->status == 303 || x->status == 307 ||
                     x->status == 308;
        if (!moved || !x->location[0])
            break;
        char *next = resolve_redirect(r, url, x->location);
        if (!next || ++redirects > REGISTRY_REDIRECTS_MAX) {
            res = error_set(err, REASON_BAD_GATEWAY, "%s: %s", r->name->domain,
                            next ? "too many redirects" : "a redirect that must not be followed");
            free(next);
            break;
        }
        free(url);
        url = next;
    }
    free(url);
    x->url = NULL;
    return res < 0 ? res : 0;
}

/* ---- manifests and blobs ---- */

static int to_buf(void *arg, const void *p, size_t n)
{
    struct buf *b = arg;
    buf_add(b, p, n);
    return b->overflow ? -EFBIG : 0;
}

static int check_digest(struct str data, const char *want, const char *what,
                        char got[DIGEST_BYTES + 1], struct error *err)
{
    memcpy(got, "sha256:", 7);
    sha256_hex_of(data, got + 7);
    if (want[0] && strcmp(got, want) != 0)
        return error_set(err, REASON_INVALID, "%s: digest mismatch: expected %s, got %s", what,
                         want, got);
    return 0;
}

int registry_get_manifest(struct registry *r, const char *reference, struct registry_manifest *ret,
                          struct error *err)
{
    bool by_digest = strncmp(reference, "sha256:", 7) == 0;
    struct registry_manifest m = {.body.limit_bytes = MANIFEST_BYTES_MAX};
    struct exchange x = {.accept = MANIFEST_ACCEPT, .sink = to_buf, .arg = &m.body};
    char *path = xasprintf("/v2/%s/manifests/%s", r->name->path, reference);
    char *what = xasprintf("manifest %s", reference);
    int res = request(r, path, &x, err);
    if (res == -ECANCELED)
        res = error_set(err, REASON_INVALID, "%s: larger than %u bytes", what, MANIFEST_BYTES_MAX);
    else if (res == 0 && x.status != 200)
        res = status_error(r, &x, what, err);
    if (res == 0)
        res = check_digest(buf_str(&m.body), by_digest ? reference : "", what, m.digest, err);
    if (res == 0 && digest_valid(str_z(x.digest_header)) && strcmp(x.digest_header, m.digest) != 0)
        res = error_set(err, REASON_INVALID, "%s: digest mismatch: the registry says %s, got %s",
                        what, x.digest_header, m.digest);
    snprintf(m.media_type, sizeof(m.media_type), "%s", x.content_type);
    exchange_fini(&x);
    free(path);
    free(what);
    if (res < 0)
        buf_fini(&m.body);
    else
        *ret = m;
    return res;
}

int registry_get_blob(struct registry *r, const struct descriptor *d, size_t max, struct buf *ret,
                      struct error *err)
{
    struct buf body = {.limit_bytes = MIN(max, d->size + 1)};
    struct exchange x = {.sink = to_buf, .arg = &body};
    char got[DIGEST_BYTES + 1];
    char *path = xasprintf("/v2/%s/blobs/%s", r->name->path, d->digest);
    int res = request(r, path, &x, err);
    if (res == -ECANCELED)
        res = error_set(err, REASON_INVALID, "blob %s: larger than its manifest says", d->digest);
    else if (res == 0 && x.status != 200)
        res = status_error(r, &x, "image configuration", err);
    if (res == 0)
        res = check_digest(buf_str(&body), d->digest, "image configuration", got, err);
    exchange_fini(&x);
    free(path);
    if (res < 0)
        buf_fini(&body);
    else
        *ret = body;
    return res;
}

struct layer_sink {
    const struct descriptor *d;
    struct registry *r;
    int fd;
    struct sha256 *hash; /* owned */
    uint64_t at, asked;  /* at: next byte of the blob */
    bool started;        /* of this answer */
    registry_progress_fn progress;
    void *arg;
    struct error *err;
};

static int to_layer(void *arg, const void *p, size_t n)
{
    struct layer_sink *s = arg;
    long status = 0;
    curl_easy_getinfo(s->r->curl, CURLINFO_RESPONSE_CODE, &status);
    if (!s->started && s->asked && status != 206) { /* no ranges here: it starts from the front */
        sha256_free(s->hash);
        s->hash = sha256_new();
        s->at = 0;
    }
    s->started = true;
    if (n > s->d->size - s->at)
        return error_set(s->err, REASON_INVALID, "layer %s: longer than its manifest says",
                         s->d->digest);
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(s->fd, (const char *)p + done, n - done, (off_t)(s->at + done));
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return error_errno(s->err, errno, "layer %s", s->d->digest);
        done += (size_t)w;
    }
    sha256_update(s->hash, p, n);
    s->at += n;
    if (s->progress)
        s->progress(s->arg, n);
    return 0;
}

/* 1: all there. 0: broken off, may be resumed. */
static int layer_attempt(struct registry *r, const char *path, struct layer_sink *s,
                         struct error *err)
{
    struct error why = {0};
    struct exchange x = {.sink = to_layer, .arg = s, .range_from = s->at};
    s->asked = s->at;
    s->started = false;
    int res = request(r, path, &x, &why);
    if (res == 0 &&
        x.status == 416) { /* what we have does not fit what it has: once more from the front */
        sha256_free(s->hash);
        s->hash = sha256_new();
        s->at = 0;
    } else if (res == 0 && x.status / 100 != 2) {
        bool passing = x.status >= 500 || x.status == 429;
        res = status_error(r, &x, s->d->digest, &why);
        if (passing)
            res = 0;
    } else if (res == 0) {
        res = s->at == s->d->size;
    } else if (res != -ECANCELED && !(r->cancelled && *r->cancelled)) {
        res = 0;
    }
    exchange_fini(&x);
    if (err && why.reason != REASON_NONE) {
        error_clear(err);
        error_copy(err, &why);
    }
    error_fini(&why);
    return res;
}

int registry_get_layer(struct registry *r, const struct descriptor *d, int fd,
                       registry_progress_fn progress, void *arg, struct error *err)
{
    char *path = xasprintf("/v2/%s/blobs/%s", r->name->path, d->digest), hex[SHA256_HEX + 1];
    struct error last = {0}, sink_err = {0};
    struct layer_sink s = {.d = d,
                           .r = r,
                           .fd = fd,
                           .hash = sha256_new(),
                           .progress = progress,
                           .arg = arg,
                           .err = &sink_err};
    int res = 0;
    for (int attempt = 0; res == 0 && attempt < RESUME_ATTEMPTS; attempt++) {
        uint64_t before = s.at;
        if (attempt)
            usleep((useconds_t)(100000u << attempt)); /* 0.2 s .. 3.2 s */
        res = layer_attempt(r, path, &s, &last);
        if (s.at > before)
            attempt = 0;
    }
    if (res == -ECANCELED || sink_err.reason != REASON_NONE) {
        if (err)
            error_copy(err, &sink_err);
        res = res < 0 ? res : -EIO;
    } else if (res == 0) {
        res =
            last.reason != REASON_NONE
                ? error_set(err, last.reason, "layer %s: %.*s", d->digest, STR_ARG(last.message))
                : error_set(err, REASON_BAD_GATEWAY, "layer %s: the transfer broke off", d->digest);
    } else if (res < 0) {
        if (err)
            error_copy(err, &last);
    } else {
        uint8_t digest[SHA256_BYTES];
        sha256_final(s.hash, digest);
        sha256_hex(digest, hex);
        res = strcmp(hex, d->digest + 7) == 0
                  ? 0
                  : error_set(err, REASON_INVALID,
                              "layer: digest mismatch: expected %s, got sha256:%s", d->digest, hex);
    }
    sha256_free(s.hash);
    error_fini(&last);
    error_fini(&sink_err);
    free(path);
    return res;
}
