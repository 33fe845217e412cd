/* Pulling, against a registry made for the purpose: a thread that speaks just enough HTTP and
 * misbehaves on demand. (The integration suites pull from the real docker-registry.) */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/image/image.h"
#include "node/image/manifest.h"
#include "node/image/registry_internal.h"
#include "rt/crypto.h"
#include "rt/rt.h"
#include "sys/fs.h"
#include "tarball.h"
#include "test.h"

enum auth_mode {
    AUTH_NONE,
    AUTH_BEARER,
    AUTH_BASIC,
};

struct registry_sim {
    int fd, store_fd; /* listening: the registry, and another host's blob store */
    uint16_t port, store_port;
    pthread_t thread;
    int stop[2];
    /* what it serves */
    struct buf config, layer, manifest, index;
    char layer_digest[72], manifest_digest[72], index_digest[72], config_digest[72], diff_id[72];
    /* how it misbehaves; the pulling threads are idle while these change */
    enum auth_mode auth;
    bool redirect, no_ranges, corrupt_layer, corrupt_manifest, wrong_header, loop, fail;
    int breaks; /* that many blob answers break off in the middle */
    /* what it saw */
    _Atomic unsigned manifests, tokens, blobs, leaks;
};

static struct registry_sim sim;
static char dir[] = "/tmp/davit-test-pull-XXXXXX";
static struct rt *rt;
static struct image_store *store;
static struct error why;

/* ---- the registry ---- */

static int listen_on(uint16_t *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 64) == 0);
    ASSERT(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w <= 0)
            return;
        p += w;
        n -= (size_t)w;
    }
}

static void reply(int fd, int status, const char *headers, struct str body)
{
    struct buf b = {0};
    buf_printf(&b, "HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n", status,
               body.n, headers);
    send_all(fd, b.data, b.n);
    send_all(fd, body.p, body.n);
    buf_fini(&b);
}

static bool authorized(int fd, const char *request)
{
    char headers[256];
    if (sim.auth == AUTH_NONE ||
        (sim.auth == AUTH_BEARER && strstr(request, "Authorization: Bearer good-token\r\n")) ||
        (sim.auth == AUTH_BASIC && strstr(request, "Authorization: Basic dTpw\r\n")))
        return true;
    if (sim.auth == AUTH_BEARER)
        snprintf(headers, sizeof(headers),
                 "WWW-Authenticate: Bearer "
                 "realm=\"http://127.0.0.1:%u/token\",service=\"sim\",scope=\"repository:a/"
                 "web:pull\"\r\n",
                 sim.port);
    else
        snprintf(headers, sizeof(headers), "WWW-Authenticate: Basic realm=\"sim\"\r\n");
    reply(
        fd, 401, headers,
        STR("{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\"}]}"));
    return false;
}

static void serve_token(int fd, const char *request)
{
    sim.tokens++;
    if (strstr(request, "Authorization: Basic dTpw\r\n") &&
        strstr(request, "scope=repository%3Aa%2Fweb%3Apull"))
        reply(fd, 200, "Content-Type: application/json\r\n", STR("{\"token\":\"good-token\"}"));
    else if (strstr(request, "Authorization: "))
        reply(fd, 401, "", STR("{}"));
    else
        reply(fd, 200, "Content-Type: application/json\r\n", STR("{\"token\":\"anonymous\"}"));
}

static void serve_layer(int fd, const char *request)
{
    const char *range = strstr(request, "Range: bytes=");
    struct str body = buf_str(&sim.layer);
    size_t from = range && !sim.no_ranges ? strtoul(range + 13, NULL, 10) : 0;
    char headers[128] = "";
    sim.blobs++;
    char *copy = str_dup(body);
    if (sim.corrupt_layer)
        copy[body.n / 2] ^= 1;
    if (from)
        snprintf(headers, sizeof(headers), "Content-Range: bytes %zu-%zu/%zu\r\n", from, body.n - 1,
                 body.n);
    if (sim.breaks > 0) {
        sim.breaks--;
        struct buf b = {0};
        buf_printf(&b, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n", from ? 206 : 200,
                   body.n - from, headers);
        send_all(fd, b.data, b.n);
        send_all(fd, copy + from, (body.n - from) / 2);
        buf_fini(&b);
    } else {
        reply(fd, from ? 206 : 200, headers, (struct str){copy + from, body.n - from});
    }
    free(copy);
}

static void serve_manifest(int fd, const char *reference)
{
    char headers[256];
    bool index = strncmp(reference, "multi", 5) == 0;
    struct buf *m = index ? &sim.index : &sim.manifest;
    const char *digest = index ? sim.index_digest : sim.manifest_digest;
    sim.manifests++;
    if (!index && strncmp(reference, "1 ", 2) != 0 &&
        strncmp(reference, sim.manifest_digest, 71) != 0) {
        reply(
            fd, 404, "",
            STR("{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}"));
        return;
    }
    snprintf(headers, sizeof(headers),
             "Content-Type: application/vnd.oci.image.%s.v1+json\r\nDocker-Content-Digest: %s\r\n",
             index ? "index" : "manifest", sim.wrong_header ? sim.config_digest : digest);
    char *copy = str_dup(buf_str(m));
    if (sim.corrupt_manifest)
        copy[m->n - 1] = ' ';
    reply(fd, 200, headers, (struct str){copy, m->n});
    free(copy);
}

static void serve_registry(int fd, const char *request)
{
    const char *path = request + 4;
    char location[128];
    if (strncmp(path, "/token", 6) == 0) {
        serve_token(fd, request);
        return;
    }
    if (!authorized(fd, request))
        return;
    if (sim.fail)
        reply(fd, 500, "", STR("oops"));
    else if (strncmp(path, "/v2/a/web/manifests/", 20) == 0)
        serve_manifest(fd, path + 20);
    else if (strncmp(path, "/v2/a/web/blobs/", 16) != 0)
        reply(fd, 404, "", STR("{}"));
    else if (strncmp(path + 16, sim.config_digest, 71) == 0)
        reply(fd, 200, "", buf_str(&sim.config));
    else if (sim.loop || sim.redirect) {
        snprintf(location, sizeof(location), "Location: http://127.0.0.1:%u%.*s\r\n",
                 sim.loop ? sim.port : sim.store_port, (int)strcspn(path, " "), path);
        reply(fd, 307, location, STR(""));
    } else
        serve_layer(fd, request);
}

static void serve(int listener)
{
    char request[16384];
    size_t n = 0;
    CLEANUP(fd_closep) int fd = accept(listener, NULL, NULL);
    while (fd >= 0 && n < sizeof(request) - 1) {
        ssize_t got = recv(fd, request + n, sizeof(request) - 1 - n, 0);
        if (got <= 0)
            return;
        n += (size_t)got;
        request[n] = '\0';
        if (n && request[0] == 0x16) /* a TLS hello: not here */
            return;
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    if (listener == sim.fd) {
        serve_registry(fd, request);
    } else {
        if (strstr(request, "Authorization"))
            sim.leaks++;
        serve_layer(fd, request);
    }
}

static void *registry_thread(void *arg)
{
    for (;;) {
        struct pollfd p[3] = {
            {sim.fd, POLLIN, 0}, {sim.store_fd, POLLIN, 0}, {sim.stop[0], POLLIN, 0}};
        if (poll(p, 3, -1) < 0 || p[2].revents)
            return NULL;
        for (int i = 0; i < 2; i++)
            if (p[i].revents)
                serve(p[i].fd);
    }
}

static void digest_of(const struct buf *b, char out[72])
{
    memcpy(out, "sha256:", 7);
    sha256_hex_of(buf_str(b), out + 7);
}

static void make_image(void)
{
    char *noise = xmalloc(300000);
    for (size_t i = 0; i < 300000; i++)
        noise[i] = (char)(i * 2654435761u >> 13);
    tar_add(&sim.layer, &(struct tar_entry){
                            .name = "noise", .type = '0', .mode = 0644, .data = {noise, 300000}});
    tar_end(&sim.layer);
    free(noise);
    digest_of(&sim.layer, sim.diff_id);
    tar_filter(&sim.layer, "gzip -c");
    digest_of(&sim.layer, sim.layer_digest);
    buf_printf(&sim.config,
               "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"Cmd\":[\"x\"]},\"rootfs\":{"
               "\"diff_ids\":[\"%s\"]}}",
               manifest_host_arch(), sim.diff_id);
    digest_of(&sim.config, sim.config_digest);
    buf_printf(&sim.manifest,
               "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
               "\"config\":{\"mediaType\":\"application/"
               "vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
               "\"layers\":[{\"mediaType\":\"application/"
               "vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"%s\",\"size\":%zu}]}\n",
               sim.config_digest, sim.config.n, sim.layer_digest, sim.layer.n);
    digest_of(&sim.manifest, sim.manifest_digest);
    buf_printf(&sim.index,
               "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"%s\",\"size\":1,\"platform\":{"
               "\"os\":\"windows\",\"architecture\":\"%s\"}},"
               "{\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\",\"architecture\":\"%"
               "s\"}}]}",
               sim.config_digest, manifest_host_arch(), sim.manifest_digest, sim.manifest.n,
               manifest_host_arch());
    digest_of(&sim.index, sim.index_digest);
}

/* ---- helpers ---- */

static int setup(void **state)
{
    assert_non_null(mkdtemp(dir));
    make_image();
    sim.fd = listen_on(&sim.port);
    sim.store_fd = listen_on(&sim.store_port);
    ASSERT(pipe(sim.stop) == 0 && pthread_create(&sim.thread, NULL, registry_thread, NULL) == 0);
    rt = rt_uv_new();
    return image_store_open(&(struct image_store_opts){.dir = dir, .rt = rt}, &store, &why);
}

static int teardown(void **state)
{
    ASSERT(write(sim.stop[1], "x", 1) == 1);
    pthread_join(sim.thread, NULL);
    image_store_close(store);
    rt_free(rt);
    error_fini(&why);
    struct buf *const all[] = {&sim.config, &sim.layer, &sim.manifest, &sim.index};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_fini(all[i]);
    return sys_remove_tree(AT_FDCWD, dir);
}

/* Nothing present, nothing odd. */
static void fresh(void)
{
    struct image_gc_result res;
    assert_ok(image_gc(store, &(struct image_gc_opts){.all = true}, &res, &why));
    sim.auth = AUTH_NONE;
    sim.redirect = sim.no_ranges = sim.corrupt_layer = sim.corrupt_manifest = sim.wrong_header =
        sim.loop = sim.fail = false;
    sim.breaks = 0;
    sim.manifests = sim.tokens = sim.blobs = sim.leaks = 0;
    error_clear(&why);
}

static int pull(const char *what, const struct image_auths *auths, enum image_failure *ret_failure)
{
    struct image *img = NULL;
    char *ref = xasprintf("127.0.0.1:%u/a/web%s", sim.port, what);
    error_clear(&why);
    int r = image_pull(store, str_z(ref), auths, NULL, NULL, &img, ret_failure, &why);
    if (r == 0) {
        assert_string_equal(img->id, sim.config_digest);
        assert_int_equal(img->n_layers, 1);
        image_unref(img);
    }
    free(ref);
    return r;
}

static void said(const char *words)
{
    if (!why.message.p || str_search(why.message, str_z(words)) < 0)
        fail_msg("\"%.*s\" lacks \"%s\"", STR_ARG(why.message), words);
}

static void pulls(const char *what, const struct image_auths *auths)
{
    if (pull(what, auths, NULL) < 0)
        fail_msg("%.*s", STR_ARG(why.message));
}

/* ---- tests ---- */

static void test_plain(void **state)
{
    fresh();
    char by_digest[80];
    struct image *img = NULL;
    pulls(":1", NULL);
    assert_int_equal(sim.blobs, 1);
    pulls(":1", NULL); /* asks, transfers nothing */
    assert_int_equal(sim.blobs, 1);
    snprintf(by_digest, sizeof(by_digest), "@%s", sim.manifest_digest);
    pulls(by_digest, NULL);
    char *ref = xasprintf("127.0.0.1:%u/a/web:1", sim.port),
         *id = xasprintf("127.0.0.1:%u/a/web@%s", sim.port, sim.manifest_digest);
    assert_ok(image_lookup(store, str_z(ref), &img, &why));
    assert_string_equal(img->image_id, id);
    assert_string_equal(img->digest, sim.manifest_digest);
    image_unref(img);
    free(ref);
    free(id);
    fresh();
    pulls(":multi", NULL);
}

static void test_authentication(void **state)
{
    struct image_auths good = {0}, bad = {0};
    char registry[32];
    snprintf(registry, sizeof(registry), "127.0.0.1:%u", sim.port);
    image_auths_add(&good, registry, "u", "p");
    image_auths_add(&bad, registry, "u", "wrong");
    for (int mode = AUTH_BEARER; mode <= AUTH_BASIC; mode++) {
        fresh();
        sim.auth = (enum auth_mode)mode;
        enum image_failure f;
        assert_true(pull(":1", NULL, &f) < 0);
        said("unauthorized");
        assert_int_equal(f, IMAGE_FAILURE_PULL);
        assert_true(pull(":1", &bad, NULL) < 0);
        said("unauthorized");
        pulls(":1", &good);
    }
    assert_int_equal(sim.leaks, 0);
    image_auths_fini(&good);
    image_auths_fini(&bad);
}

static void test_redirect_leaks_nothing(void **state)
{
    struct image_auths good = {0};
    char registry[32];
    snprintf(registry, sizeof(registry), "127.0.0.1:%u", sim.port);
    image_auths_add(&good, registry, "u", "p");
    fresh();
    sim.auth = AUTH_BEARER;
    sim.redirect = true;
    pulls(":1", &good);
    assert_int_equal(sim.blobs, 1);
    assert_int_equal(sim.leaks, 0);
    fresh();
    sim.loop = true;
    assert_true(pull(":1", NULL, NULL) < 0);
    said("too many redirects");
    image_auths_fini(&good);
}

static void test_broken_transfers(void **state)
{
    fresh();
    sim.breaks = 3;
    pulls(":1", NULL);
    assert_int_equal(sim.blobs, 4);
    fresh();
    sim.breaks = 1;
    sim.no_ranges = true;
    pulls(":1", NULL);
}

static void test_lies(void **state)
{
    fresh();
    sim.corrupt_layer = true;
    assert_true(pull(":1", NULL, NULL) < 0);
    said("digest mismatch");
    fresh();
    char by_digest[80];
    snprintf(by_digest, sizeof(by_digest), "@%s", sim.manifest_digest);
    sim.corrupt_manifest = true;
    assert_true(pull(by_digest, NULL, NULL) < 0);
    said("digest mismatch");
    fresh();
    sim.wrong_header = true;
    assert_true(pull(":1", NULL, NULL) < 0);
    said("digest mismatch");
}

static void test_words_of_failures(void **state)
{
    enum image_failure f;
    fresh();
    assert_true(pull(":2", NULL, &f) < 0);
    said("not found");
    assert_int_equal(f, IMAGE_FAILURE_PULL);
    sim.fail = true;
    assert_true(pull(":1", NULL, &f) < 0);
    said("unexpected status 500");
    struct image *img = NULL;
    error_clear(&why);
    uint16_t port;
    int fd = listen_on(&port);
    close(fd);
    char *ref = xasprintf("127.0.0.1:%u/a/web:1", port);
    assert_true(image_pull(store, str_z(ref), NULL, NULL, NULL, &img, &f, &why) < 0);
    said("connection refused");
    assert_int_equal(f, IMAGE_FAILURE_REGISTRY_UNAVAILABLE);
    free(ref);
    error_clear(&why);
    assert_true(image_pull(store, STR("Not/Valid"), NULL, NULL, NULL, &img, &f, &why) < 0);
    assert_int_equal(f, IMAGE_FAILURE_INVALID_NAME);
}

struct seen {
    unsigned done, ok, pulled, progress;
    enum image_failure failure;
};

static void on_done(void *arg, const struct image_result *r)
{
    struct seen *s = arg;
    s->done++;
    s->ok += r->image != NULL;
    s->pulled += r->pulled;
    s->failure = r->failure;
    if (!r->image)
        assert_true(r->err->message.n > 0);
}

static void on_progress(void *arg, const struct image_progress *p)
{
    ((struct seen *)arg)->progress++;
}

static bool three_done(void *arg)
{
    return ((struct seen *)arg)->done >= 3;
}

static bool one_done(void *arg)
{
    return ((struct seen *)arg)->done >= 1;
}

static struct seen ensure_one(const char *ref, enum image_pull_policy policy)
{
    struct seen s = {0};
    image_ensure(store, str_z(ref), policy, NULL, STR_NONE, on_progress, on_done, &s);
    assert_int_equal(s.done, 0);
    assert_true(rt_run_until(rt, one_done, &s, 60 * NSEC_PER_SEC));
    return s;
}

static void test_ensure(void **state)
{
    fresh();
    char *ref = xasprintf("127.0.0.1:%u/a/web:1", sim.port);
    struct seen s = {0};
    assert_int_equal(ensure_one(ref, IMAGE_PULL_NEVER).failure, IMAGE_FAILURE_NEVER_PULL);
    assert_int_equal(ensure_one("UPPER", IMAGE_PULL_ALWAYS).failure, IMAGE_FAILURE_INVALID_NAME);
    for (int i = 0; i < 3; i++)
        image_ensure(store, str_z(ref), IMAGE_PULL_IF_NOT_PRESENT, NULL,
                     i ? STR_NONE : STR("holder"), NULL, on_done, &s);
    assert_true(rt_run_until(rt, three_done, &s, 60 * NSEC_PER_SEC));
    assert_int_equal(s.ok, 3);
    assert_int_equal(sim.manifests, 1); /* one pull for all */
    assert_int_equal(image_remove(store, str_z(ref), NULL), -ESTALE);
    image_unpin(store, STR("holder"));
    struct seen present = ensure_one(ref, IMAGE_PULL_IF_NOT_PRESENT);
    assert_int_equal(present.ok, 1);
    assert_int_equal(present.pulled, 0);
    assert_int_equal(ensure_one(ref, IMAGE_PULL_NEVER).ok, 1);
    assert_int_equal(ensure_one(sim.config_digest, IMAGE_PULL_NEVER).ok, 1);
    assert_int_equal(sim.manifests, 1);
    assert_int_equal(ensure_one(ref, IMAGE_PULL_ALWAYS).ok, 1);
    assert_int_equal(sim.manifests, 2);
    assert_int_equal(sim.blobs, 1);
    free(ref);
}

static void test_challenges(void **state)
{
    struct challenge c;
    assert_true(challenge_parse(
        STR("Bearer realm=\"https://a/t\", service=\"s,x\",scope=\"repository:a:pull\""), &c));
    assert_str(c.realm, "https://a/t");
    assert_str(c.service, "s,x");
    assert_str(c.scope, "repository:a:pull");
    assert_true(challenge_parse(STR("basic realm=x"), &c));
    assert_str(c.realm, "x");
    assert_false(challenge_parse(STR("  "), &c));
    assert_true(challenge_parse(STR("Bearer realm=\"unterminated"), &c));
    assert_int_equal(c.realm.n, 0);
}

int main(void)
{
    if (geteuid() != 0)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_authentication),
        cmocka_unit_test(test_redirect_leaks_nothing),
        cmocka_unit_test(test_broken_transfers),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_words_of_failures),
        cmocka_unit_test(test_ensure),
        cmocka_unit_test(test_challenges),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
