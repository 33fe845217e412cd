/* The issuer's keys: where they are is asked of its discovery document, then they are fetched, by
 * the core thread and never by whoever brings a token. A set of keys is swapped as a whole; who
 * verifies holds a reference. A token that names a key nobody knows is a rotation, or nonsense: it
 * starts a fetch unless there was one just now, and waits for its end. */
#include "apiserver/auth/oidc.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/client.h"
#include "rt/tls.h"

#include <pthread.h>
#include <stdatomic.h>

#define FETCH_TIMEOUT_MS 10000
#define FETCH_EVERY      (3600 * NSEC_PER_SEC) /* so that withdrawn keys are forgotten */
#define FETCH_FIRST      NSEC_PER_SEC          /* after a failure; doubles up to FETCH_SLOW */
#define FETCH_SLOW       (30 * NSEC_PER_SEC)
#define ASKED_EVERY      (2 * NSEC_PER_SEC) /* for keys that tokens name */
#define BYTES_MAX        (256u << 10)       /* of a document; usual ones have 2 KB */

struct oidc {
    struct rt *rt;
    const struct oidc_config *config; /* borrowed; does not change */
    pthread_mutex_t lock;
    struct oidc_keys *keys; /* under the lock; NULL: none yet */
    bool asked;             /* under the lock: ask_post is on its way */
    bool fetching;          /* under the lock: keys are being asked for */
    bool dead;              /* it frees us */
    bool failed;            /* under the lock: no keys, and the issuer did not answer */
    struct rt_post ask_post;
    _Atomic uint64_t *generation; /* borrowed */
    _Atomic int64_t logged; /* when a refusal was last told, on the rt_wall clock in seconds */
    /* core thread */
    struct rt_tls_client *tls;
    struct http_client *client;
    struct http_call *call;
    struct rt_timer timer;
    unsigned failures;
    nsec_t fetched; /* when the last fetch began */
    bool stopped;
    void (*changed)(void *arg);
    void *changed_arg;
};

/* ---- fetching ---- */

static void told(struct oidc *o)
{
    (void)pthread_mutex_lock(&o->lock);
    o->fetching = false;
    (void)pthread_mutex_unlock(&o->lock);
    if (o->changed)
        o->changed(o->changed_arg);
}

static void fetch_over(struct oidc *o)
{
    nsec_t wait = FETCH_EVERY;
    if (o->failures)
        wait = MIN(FETCH_FIRST << MIN(o->failures - 1, 8u), FETCH_SLOW);
    if (o->client)
        o->client = http_client_free(o->client);
    if (!o->stopped)
        rt_timer_start(&o->timer, rt_jitter(o->rt, wait, 0.1));
    told(o);
}

static void fetch_failed(struct oidc *o, const char *what)
{
    (void)pthread_mutex_lock(&o->lock);
    bool had = o->keys != NULL;
    o->failed = !had;
    (void)pthread_mutex_unlock(&o->lock);
    if (!o->failures || o->failures % 16 == 0)
        log_warn("oidc: the keys of %.*s cannot be fetched: %s%s", STR_ARG(o->config->issuer), what,
                 had ? "; those of before stay in use" : "; its tokens are refused until then");
    o->failures++;
    fetch_over(o);
}

static const char *failure(const struct http_answer *a, char *text, size_t n)
{
    if (a->err)
        snprintf(text, n, "%s", a->what && a->what[0] ? a->what : strerror(-a->err));
    else
        snprintf(text, n, "it answers %d", a->status);
    return text;
}

/* False: it cannot be asked at all; nothing comes. */
static bool get(struct oidc *o, struct str url, void (*fn)(const struct http_answer *a, void *arg))
{
    struct str host, target;
    uint16_t port;
    struct arena a = {0};
    const struct http_header h = {STR("accept"), STR("application/json")};
    if (!oidc_url_parse(url, &host, &port, &target))
        return false;
    if (o->client)
        http_client_free(o->client);
    struct http_target t = {.host = arena_cstr(&a, host), .port = port};
    o->client = http_client_new(o->rt, &t, o->tls, NULL);
    struct http_client_request q = {.method = STR("GET"),
                                    .target = target,
                                    .headers = &h,
                                    .n_headers = 1,
                                    .timeout_ms = FETCH_TIMEOUT_MS};
    o->call = http_client_fetch(o->client, &q, BYTES_MAX, fn, o);
    arena_fini(&a);
    return true;
}

static void on_keys(const struct http_answer *ans, void *arg)
{
    struct oidc *o = arg;
    struct oidc_keys *keys, *old;
    struct error err = {0};
    char text[300];
    o->call = NULL;
    if (ans->err || ans->status != 200) {
        fetch_failed(o, failure(ans, text, sizeof(text)));
        return;
    }
    if (oidc_keys_read(ans->body, &keys, &err) < 0) {
        snprintf(text, sizeof(text), "%.*s", STR_ARG(err.message));
        error_fini(&err);
        fetch_failed(o, text);
        return;
    }
    (void)pthread_mutex_lock(&o->lock);
    old = o->keys;
    o->keys = keys;
    o->failed = false;
    (void)pthread_mutex_unlock(&o->lock);
    atomic_fetch_add(o->generation, 1);
    if (!old || o->failures)
        log_info("oidc: %zu keys of %.*s", oidc_keys_n(keys), STR_ARG(o->config->issuer));
    oidc_keys_unref(old);
    o->failures = 0;
    fetch_over(o);
}

static void on_discovery(const struct http_answer *ans, void *arg)
{
    struct oidc *o = arg;
    struct arena a = {0};
    struct error err = {0};
    struct str uri;
    char text[400];
    o->call = NULL;
    if (ans->err || ans->status != 200) {
        fetch_failed(o, failure(ans, text, sizeof(text)));
        return;
    }
    if (oidc_discovery_read(o->config, ans->body, &a, &uri, &err) < 0) {
        snprintf(text, sizeof(text), "%.*s", STR_ARG(err.message));
        fetch_failed(o, text);
    } else if (!get(o, uri, on_keys)) {
        fetch_failed(o, "its jwks_uri is no https URL");
    }
    error_fini(&err);
    arena_fini(&a);
}

static void fetch(struct oidc *o)
{
    struct arena a = {0};
    struct str issuer = o->config->issuer, url = o->config->discovery;
    while (issuer.n && issuer.p[issuer.n - 1] == '/')
        issuer.n--;
    if (!url.n)
        url = arena_printf(&a, "%.*s/.well-known/openid-configuration", STR_ARG(issuer));
    o->fetched = rt_now(o->rt);
    (void)pthread_mutex_lock(&o->lock);
    o->fetching = true;
    (void)pthread_mutex_unlock(&o->lock);
    if (!get(o, url, on_discovery))
        fetch_failed(o, "its URL cannot be used");
    arena_fini(&a);
}

static void on_timer(void *arg)
{
    struct oidc *o = arg;
    if (!o->call)
        fetch(o);
}

/* A token names a key that is not known. */
static void on_asked(void *arg)
{
    struct oidc *o = arg;
    (void)pthread_mutex_lock(&o->lock);
    o->asked = false;
    (void)pthread_mutex_unlock(&o->lock);
    if (o->dead) {
        oidc_free(o);
        return;
    }
    if (o->call)
        return; /* its end is told */
    if (o->stopped || rt_now(o->rt) - o->fetched < ASKED_EVERY) {
        told(o);
        return;
    }
    rt_timer_stop(&o->timer);
    fetch(o);
}

/* ---- any thread ---- */

bool oidc_ready(struct oidc *o)
{
    (void)pthread_mutex_lock(&o->lock);
    bool yes = o->keys != NULL;
    (void)pthread_mutex_unlock(&o->lock);
    return yes;
}

/* Who is refused wants to know why, and can find it in the log; a flood of them is told of once a
 * second. */
static void tell_refusal(struct oidc *o, int64_t now_s, struct str why)
{
    int64_t last = atomic_load_explicit(&o->logged, memory_order_relaxed);
    if (last != now_s && atomic_compare_exchange_strong(&o->logged, &last, now_s))
        log_warn("a token was refused: %.*s", STR_ARG(why));
}

int oidc_authenticate(struct oidc *o, struct str token, int64_t now_s, enum oidc_wait wait,
                      struct arena *a, struct api_user *ret, int64_t *ret_expires_s)
{
    bool waits = wait == OIDC_WAIT;
    struct error err = {0};
    if (!oidc_is_issuer(o->config, token))
        return -ENOENT;
    (void)pthread_mutex_lock(&o->lock);
    struct oidc_keys *keys = o->keys ? oidc_keys_ref(o->keys) : NULL;
    bool first = !keys && !o->failed;
    (void)pthread_mutex_unlock(&o->lock);
    int r = keys    ? oidc_verify(o->config, keys, token, now_s, a, ret, ret_expires_s, &err)
            : first ? -EAGAIN
                    : error_set(&err, REASON_UNAUTHORIZED,
                                "oidc: authenticator not initialized: its issuer has not answered");
    oidc_keys_unref(keys);
    if (r == -EAGAIN) {
        (void)pthread_mutex_lock(&o->lock);
        if (wait == OIDC_WAIT_STILL) {
            waits = first || o->asked || o->fetching;
        } else if (!o->asked) {
            o->asked = true;
            rt_post(o->rt, &o->ask_post, on_asked, o);
        }
        (void)pthread_mutex_unlock(&o->lock);
    }
    if (r < 0 && !(r == -EAGAIN && waits)) {
        tell_refusal(o, now_s, err.message.n ? err.message : STR("oidc: no key verifies it"));
        r = -EACCES;
    }
    error_fini(&err);
    return r;
}

/* ---- life ---- */

int oidc_new(struct rt *core, const struct oidc_config *config, _Atomic uint64_t *generation,
             struct oidc **ret, struct error *err)
{
    const struct rt_tls_client_opts co = {.ca_pem = config->ca_pem};
    struct rt_tls_client *tls;
    int r = rt_tls_client_new(&co, err, &tls);
    if (r < 0)
        return r;
    struct oidc *o = NEW(struct oidc);
    o->rt = core;
    o->config = config;
    o->generation = generation;
    o->tls = tls;
    (void)pthread_mutex_init(&o->lock, NULL);
    rt_timer_init(&o->timer, core, on_timer, o);
    rt_timer_start(&o->timer, 0);
    *ret = o;
    return 0;
}

void oidc_on_changed(struct oidc *o, void (*changed)(void *arg), void *arg)
{
    o->changed = changed;
    o->changed_arg = arg;
}

void oidc_stop(struct oidc *o)
{
    if (!o)
        return;
    o->stopped = true;
    rt_timer_stop(&o->timer);
    if (o->call)
        http_call_cancel(o->call);
    o->call = NULL;
    if (o->client)
        o->client = http_client_free(o->client);
}

struct oidc *oidc_free(struct oidc *o)
{
    if (!o)
        return NULL;
    oidc_stop(o);
    if (o->asked) { /* nobody else asks any more */
        o->dead = true;
        o->changed = NULL;
        return NULL;
    }
    oidc_keys_unref(o->keys);
    rt_tls_client_unref(o->tls);
    (void)pthread_mutex_destroy(&o->lock);
    free(o);
    return NULL;
}
