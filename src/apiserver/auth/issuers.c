/* See issuers.h. What is in force is a set: a configuration and an authenticator for each of its
 * issuers. Whoever verifies a token holds a reference to it; a set that was replaced is stopped at
 * once and freed by the core thread when nobody holds it any more, since its timers and calls are
 * of that thread. The file is read and compiled by the pool. */
#include "apiserver/auth/issuers.h"

#include "apiserver/auth/authn_config.h"
#include "base/log.h"
#include "base/mem.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <pthread.h>

#define LOOK_EVERY     (2 * NSEC_PER_SEC)
#define FILE_BYTES_MAX ((size_t)1 << 20)
#define KEYS_WITHIN    (60 * NSEC_PER_SEC) /* K8S: of a new file's issuers */

struct set {
    _Atomic uint32_t refs;
    struct authn_config *config; /* owned */
    struct oidc **v;             /* owned, as all in it */
    size_t n;
    struct set *next; /* of those that are over */
};

struct look { /* outlives us, if the pool has it */
    struct issuers *owner;
    struct rt_work work;
    const char *file; /* owned */
    char *seen;       /* what the file had when it was last looked at; owned */
    size_t n_seen;
    bool unreadable; /* it was, then */
    /* what the pool finds: */
    struct authn_config *config; /* NULL: nothing new */
    struct error err;            /* with a message: it is no good */
    bool busy;
};

struct issuers {
    struct rt *rt;
    pthread_mutex_t lock;
    struct set *now;       /* under the lock */
    struct set *next;      /* wanted, and not all keys are there */
    struct set *over;      /* stopped; somebody may hold them */
    struct look *look;     /* NULL: no file */
    struct rt_timer timer; /* the next look */
    struct rt_timer late;  /* of next */
    _Atomic uint64_t generation;
    bool stopped;
    void (*changed)(void *arg);
    void *changed_arg;
    uint64_t loads[2]; /* failures, successes */
    int64_t loaded_s[2];
};

/* ---- sets ---- */

static struct set *set_free(struct set *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->n; i++)
        oidc_free(s->v[i]);
    authn_config_free(s->config);
    free(s->v);
    free(s);
    return NULL;
}

static void keys_changed(void *arg);

/* Takes the configuration, also on failure. */
static int set_new(struct issuers *is, struct authn_config *config, struct set **ret,
                   struct error *err)
{
    struct set *s = NEW(struct set);
    s->config = config;
    s->v = xcalloc(config->n_jwt + 1, sizeof(struct oidc *));
    int r = 0;
    for (size_t i = 0; i < config->n_jwt && r >= 0; i++) {
        r = oidc_new(is->rt, &config->jwt[i], &is->generation, &s->v[s->n], err);
        if (r >= 0)
            oidc_on_changed(s->v[s->n++], keys_changed, is);
    }
    if (r < 0) {
        set_free(s);
        return r;
    }
    atomic_store(&s->refs, 0);
    *ret = s;
    return 0;
}

static bool set_ready(const struct set *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (!oidc_ready(s->v[i]))
            return false;
    return true;
}

static void set_stop(struct set *s)
{
    for (size_t i = 0; s && i < s->n; i++)
        oidc_stop(s->v[i]);
}

static struct set *hold(struct issuers *is)
{
    (void)pthread_mutex_lock(&is->lock);
    struct set *s = is->now;
    atomic_fetch_add(&s->refs, 1);
    (void)pthread_mutex_unlock(&is->lock);
    return s;
}

static void let_go(struct set *s)
{
    atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
}

/* Nobody begins to hold one that is not in force. */
static void sweep(struct issuers *is)
{
    for (struct set **p = &is->over; *p;) {
        struct set *s = *p;
        if (atomic_load_explicit(&s->refs, memory_order_acquire)) {
            p = &s->next;
            continue;
        }
        *p = s->next;
        set_free(s);
    }
}

static void end(struct issuers *is, struct set *s)
{
    if (!s)
        return;
    set_stop(s);
    s->next = is->over;
    is->over = s;
}

/* ---- a new file ---- */

static void told(struct issuers *is)
{
    if (is->changed)
        is->changed(is->changed_arg);
}

static void loaded(struct issuers *is, bool good)
{
    is->loads[good]++;
    is->loaded_s[good] = rt_wall(is->rt) / 1000000;
}

static void failed(struct issuers *is, struct str why)
{
    loaded(is, false);
    log_warn("authentication: %s: %.*s; what was before stays in force", is->look->file,
             STR_ARG(why));
}

static void enforce(struct issuers *is)
{
    struct set *old;
    rt_timer_stop(&is->late);
    (void)pthread_mutex_lock(&is->lock);
    old = is->now;
    is->now = is->next;
    is->next = NULL;
    (void)pthread_mutex_unlock(&is->lock);
    atomic_fetch_add(&is->generation, 1);
    end(is, old);
    loaded(is, true);
    log_info("authentication: %s is in force, issuers: %zu", is->look->file, is->now->n);
}

/* Of any issuer of any set. Never frees one: it may be what calls. */
static void keys_changed(void *arg)
{
    struct issuers *is = arg;
    if (is->stopped)
        return;
    if (is->next && set_ready(is->next))
        enforce(is);
    told(is);
}

static void on_late(void *arg)
{
    struct issuers *is = arg;
    struct set *s = is->next;
    is->next = NULL;
    for (size_t i = 0; i < s->n; i++)
        if (!oidc_ready(s->v[i])) {
            struct arena a = {0};
            failed(is, arena_printf(&a, "timed out while waiting for the keys of %.*s",
                                    STR_ARG(s->config->jwt[i].issuer)));
            arena_fini(&a);
            break;
        }
    end(is, s);
}

static void take(struct issuers *is, struct authn_config *config)
{
    struct error err = {0};
    struct set *s;
    if (!authn_config_anonymous_same(is->now->config, config)) {
        failed(is, STR("anonymous: Forbidden: changed from initial configuration file"));
        authn_config_free(config);
        return;
    }
    if (set_new(is, config, &s, &err) < 0) {
        failed(is, err.message);
        error_fini(&err);
        return;
    }
    end(is, is->next);
    is->next = s;
    if (set_ready(s)) { /* it has no issuers */
        enforce(is);
        told(is);
    } else {
        rt_timer_start(&is->late, KEYS_WITHIN);
    }
}

/* ---- looking ---- */

static struct look *look_free(struct look *l)
{
    if (!l)
        return NULL;
    authn_config_free(l->config);
    error_fini(&l->err);
    free((char *)l->file);
    free(l->seen);
    free(l);
    return NULL;
}

/* The pool, and whoever starts. */
static void look(void *arg)
{
    struct look *l = arg;
    char *text;
    size_t n;
    int r = sys_read_file(AT_FDCWD, l->file, FILE_BYTES_MAX, &text, &n);
    if (r < 0) {
        if (!l->unreadable)
            (void)error_errno(&l->err, r, "cannot read it");
        l->unreadable = true;
        return;
    }
    if (l->seen && l->n_seen == n && memcmp(l->seen, text, n) == 0) {
        l->unreadable = false;
        free(text);
        return;
    }
    free(l->seen);
    l->seen = text;
    l->n_seen = n;
    l->unreadable = false;
    (void)!authn_config_parse((struct str){text, n}, &l->config, &l->err);
}

static void looked(void *arg)
{
    struct look *l = arg;
    struct issuers *is = l->owner;
    l->busy = false;
    if (!is) {
        look_free(l);
        return;
    }
    if (is->stopped)
        return;
    if (l->err.message.n) {
        failed(is, l->err.message);
        error_clear(&l->err);
    } else if (l->config) {
        struct authn_config *config = l->config;
        l->config = NULL;
        take(is, config);
    }
    rt_timer_start(&is->timer, LOOK_EVERY);
}

static void on_timer(void *arg)
{
    struct issuers *is = arg;
    sweep(is);
    is->look->busy = true;
    rt_work(is->rt, &is->look->work, RT_WORK_SHORT, look, looked, is->look);
}

/* ---- any thread ---- */

uint64_t issuers_generation(const struct issuers *s)
{
    return atomic_load_explicit(&s->generation, memory_order_acquire);
}

int issuers_authenticate(struct issuers *is, struct str token, int64_t now_s, enum oidc_wait wait,
                         struct arena *a, struct api_user *ret, int64_t *ret_expires_s)
{
    struct arena tmp = {0};
    struct str issuer;
    int r = -ENOENT;
    struct set *s = hold(is);
    if (s->n && oidc_token_issuer(token, &tmp, &issuer))
        for (size_t i = 0; i < s->n; i++)
            if (str_eq(s->config->jwt[i].issuer, issuer)) {
                r = oidc_authenticate(s->v[i], token, now_s, wait, a, ret, ret_expires_s);
                break;
            }
    let_go(s);
    arena_fini(&tmp);
    return r;
}

bool issuers_anonymous(struct issuers *is, struct str path)
{
    struct set *s = hold(is);
    bool yes = authn_config_anonymous(s->config, path);
    let_go(s);
    return yes;
}

/* ---- life ---- */

static int first(struct issuers *is, const struct oidc_opts *opts, const char *file,
                 struct error *err)
{
    struct authn_config *config;
    int r = 0;
    if (file) {
        is->look = NEW(struct look);
        is->look->owner = is;
        is->look->file = xstrdup(file);
        look(is->look);
        config = is->look->config;
        is->look->config = NULL;
        if (!config) {
            r = error_set(err, REASON_BAD_REQUEST, "--authentication-config: %s: %.*s", file,
                          STR_ARG(is->look->err.message));
            return r;
        }
    } else {
        r = authn_config_of_flags(opts, &config, err);
    }
    return r < 0 ? r : set_new(is, config, &is->now, err);
}

int issuers_new(struct rt *core, const struct oidc_opts *opts, const char *file,
                struct issuers **ret, struct error *err)
{
    if (opts && file)
        return error_set(err, REASON_BAD_REQUEST,
                         "authentication-config file and oidc-* flags are mutually exclusive");
    struct issuers *is = NEW(struct issuers);
    is->rt = core;
    (void)pthread_mutex_init(&is->lock, NULL);
    rt_timer_init(&is->timer, core, on_timer, is);
    rt_timer_init(&is->late, core, on_late, is);
    int r = first(is, opts, file, err);
    if (r < 0) {
        issuers_free(is);
        return r;
    }
    if (file)
        rt_timer_start(&is->timer, LOOK_EVERY);
    *ret = is;
    return 0;
}

void issuers_on_changed(struct issuers *s, void (*changed)(void *arg), void *arg)
{
    s->changed = changed;
    s->changed_arg = arg;
}

void issuers_stop(struct issuers *s)
{
    if (!s)
        return;
    s->stopped = true;
    rt_timer_stop(&s->timer);
    rt_timer_stop(&s->late);
    set_stop(s->now);
    set_stop(s->next);
}

struct issuers *issuers_free(struct issuers *s)
{
    if (!s)
        return NULL;
    issuers_stop(s);
    sweep(s);
    ASSERT(!s->over);
    set_free(s->now);
    set_free(s->next);
    if (s->look && s->look->busy)
        s->look->owner = NULL;
    else
        look_free(s->look);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

void issuers_metrics(const struct issuers *s, struct buf *out)
{
    static const char *const status[] = {"failure", "success"};
    const char *name = "apiserver_authentication_config_controller_automatic_reload";
    if (!s->look)
        return;
    buf_printf(out, "# TYPE %ss_total counter\n", name);
    for (int i = 0; i < 2; i++)
        if (s->loads[i])
            buf_printf(out, "%ss_total{status=\"%s\"} %llu\n", name, status[i],
                       (unsigned long long)s->loads[i]);
    buf_printf(out, "# TYPE %s_last_timestamp_seconds gauge\n", name);
    for (int i = 0; i < 2; i++)
        if (s->loads[i])
            buf_printf(out, "%s_last_timestamp_seconds{status=\"%s\"} %lld\n", name, status[i],
                       (long long)s->loaded_s[i]);
}
