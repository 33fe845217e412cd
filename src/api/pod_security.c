/* Labels to levels, and a level to the list of checks it is made of. The restricted level includes
 * the baseline; where both speak of the same fields only the stricter one is asked, so that nothing
 * is said twice. */
#include "api/pod_security_int.h"

#include <stdarg.h>

static const char *const level_texts[_POD_SECURITY_LEVEL_MAX] = {"privileged", "baseline",
                                                                 "restricted"};

/* ---- labels ---- */

static bool parse_level(struct str s, enum pod_security_level *ret)
{
    for (unsigned i = 0; i < _POD_SECURITY_LEVEL_MAX; i++)
        if (str_eqz(s, level_texts[i])) {
            *ret = (enum pod_security_level)i;
            return true;
        }
    return false;
}

/* "latest" or "v1.N", N without leading zeros. */
static bool parse_version(struct str s, uint32_t *ret)
{
    uint64_t n;
    if (str_is(s, "latest")) {
        *ret = POD_SECURITY_LATEST;
        return true;
    }
    if (!str_starts(s, STR("v1.")))
        return false;
    struct str digits = str_sub(s, 3, s.n);
    if (!digits.n || (digits.p[0] == '0' && digits.n > 1))
        return false;
    for (size_t i = 0; i < digits.n; i++)
        if (digits.p[i] < '0' || digits.p[i] > '9')
            return false;
    if (str_to_u64(digits, &n) < 0)
        return false;
    *ret = n >= POD_SECURITY_LATEST ? POD_SECURITY_LATEST - 1 : (uint32_t)n;
    return true;
}

static void bad_label(struct error *err, const char *key, struct str value, const char *rule)
{
    char path[128];
    snprintf(path, sizeof(path), "metadata.labels[%s]", key);
    (void)error_cause(err, CAUSE_INVALID, str_z(path), "Invalid value: \"%.*s\": %s",
                      STR_ARG(value), rule);
}

/* True when the labels name a good level. */
static bool read_mode(const struct kv_str *labels, uint32_t n, const char *mode,
                      enum pod_security_level otherwise, struct pod_security *ret,
                      bool *ret_has_level, bool *ret_has_version, struct error *err)
{
    char key[64];
    bool good = false;
    snprintf(key, sizeof(key), POD_SECURITY_PREFIX "%s", mode);
    const struct str *level = kv_str_get(labels, n, str_z(key));
    *ret = (struct pod_security){POD_SECURITY_PRIVILEGED, POD_SECURITY_LATEST};
    *ret_has_level = level != NULL;
    if (level) {
        good = parse_level(*level, &ret->level);
        if (!good) {
            ret->level = otherwise;
            bad_label(err, key, *level, "must be one of privileged, baseline, restricted");
        }
    }
    snprintf(key, sizeof(key), POD_SECURITY_PREFIX "%s-version", mode);
    const struct str *version = kv_str_get(labels, n, str_z(key));
    *ret_has_version = version != NULL;
    if (version && !parse_version(*version, &ret->minor))
        bad_label(err, key, *version, "must be \"latest\" or \"v1.x\"");
    return good;
}

static bool speaks_of_it(const struct kv_str *labels, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_starts(labels[i].key, STR(POD_SECURITY_PREFIX)))
            return true;
    return false;
}

void pod_security_policy(const struct kv_str *labels, uint32_t n, struct pod_security_policy *ret,
                         struct error *err)
{
    static const struct pod_security open = {POD_SECURITY_PRIVILEGED, POD_SECURITY_LATEST};
    struct pod_security_policy p = {open, open, open};
    bool has, has_version, unused;
    if (speaks_of_it(labels, n)) {
        bool enforces = read_mode(labels, n, "enforce", POD_SECURITY_RESTRICTED, &p.enforce, &has,
                                  &unused, err);
        (void)read_mode(labels, n, "audit", POD_SECURITY_PRIVILEGED, &p.audit, &has, &unused, err);
        (void)read_mode(labels, n, "warn", POD_SECURITY_PRIVILEGED, &p.warn, &has, &has_version,
                        err);
        if (enforces && !has) {
            p.warn.level = p.enforce.level;
            if (!has_version)
                p.warn.minor = p.enforce.minor;
        }
    }
    *ret = p;
}

bool pod_security_policy_is_privileged(const struct pod_security_policy *p)
{
    return p->enforce.level == POD_SECURITY_PRIVILEGED &&
           p->audit.level == POD_SECURITY_PRIVILEGED && p->warn.level == POD_SECURITY_PRIVILEGED;
}

bool pod_security_equal(struct pod_security a, struct pod_security b)
{
    return a.level == b.level && a.minor == b.minor;
}

void pod_security_print(struct pod_security p, struct buf *b)
{
    ASSERT(p.level < _POD_SECURITY_LEVEL_MAX);
    if (p.minor == POD_SECURITY_LATEST)
        buf_printf(b, "%s:latest", level_texts[p.level]);
    else
        buf_printf(b, "%s:v1.%u", level_texts[p.level], p.minor);
}

/* ---- texts ---- */

void ps_append(struct ps_run *r, struct ps_set *s, struct str text)
{
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 8;
        struct str *v = ARENA_NEW_N(r->arena, struct str, cap);
        if (s->n)
            memcpy(v, s->v, s->n * sizeof(*v));
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = text;
}

void ps_insert(struct ps_run *r, struct ps_set *s, struct str text)
{
    uint32_t at = 0;
    while (at < s->n && str_cmp(s->v[at], text) < 0)
        at++;
    if (at < s->n && str_eq(s->v[at], text))
        return;
    ps_append(r, s, text);
    memmove(s->v + at + 1, s->v + at, (s->n - 1 - at) * sizeof(*s->v));
    s->v[at] = text;
}

const char *ps_joined(struct ps_run *r, const struct ps_set *s, const char *between)
{
    struct buf b = {0};
    for (uint32_t i = 0; i < s->n; i++)
        buf_printf(&b, "%s%.*s", i ? between : "", STR_ARG(s->v[i]));
    const char *text = arena_cstr(r->arena, buf_str(&b));
    buf_fini(&b);
    return text;
}

const char *ps_quoted(struct ps_run *r, const struct ps_set *s)
{
    return arena_printf(r->arena, "\"%s\"", ps_joined(r, s, "\", \"")).p;
}

const char *ps_containers(struct ps_run *r, const struct ps_set *names)
{
    return arena_printf(r->arena, "container%s %s", names->n == 1 ? "" : "s", ps_quoted(r, names))
        .p;
}

const char *ps_setters(struct ps_run *r, bool pod, const struct ps_set *names)
{
    if (!names->n)
        return "pod";
    const char *text = ps_containers(r, names);
    return pod ? arena_printf(r->arena, "pod and %s", text).p : text;
}

void ps_forbid(struct ps_run *r, const char *reason, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;
    if (r->reasons)
        buf_printf(r->reasons, "%s%s", r->forbidden ? ", " : "", reason);
    if (r->details) {
        va_start(ap, fmt);
        int n = vasprintf(&text, fmt, ap);
        va_end(ap);
        buf_printf(r->details, "%s%s (%s)", r->forbidden ? ", " : "", reason, n < 0 ? "" : text);
        free(n < 0 ? NULL : text);
    }
    r->forbidden = true;
}

/* ---- a run ---- */

static void gather_containers(struct ps_run *r)
{
    const struct api_pod_spec *s = r->spec;
    uint32_t n = 0;
    static_assert(sizeof(struct api_ephemeral_container_common) == sizeof(struct api_container) &&
                      offsetof(struct api_ephemeral_container_common, security_context) ==
                          offsetof(struct api_container, security_context) &&
                      offsetof(struct api_ephemeral_container_common, lifecycle) ==
                          offsetof(struct api_container, lifecycle),
                  "ephemeral containers are seen as ordinary ones");
    r->containers =
        ARENA_NEW_N(r->arena, const struct api_container *,
                    (size_t)s->n_init_containers + s->n_containers + s->n_ephemeral_containers);
    for (uint32_t i = 0; i < s->n_init_containers; i++)
        r->containers[n++] = &s->init_containers[i];
    for (uint32_t i = 0; i < s->n_containers; i++)
        r->containers[n++] = &s->containers[i];
    for (uint32_t i = 0; i < s->n_ephemeral_containers; i++)
        r->containers[n++] =
            (const struct api_container *)&s->ephemeral_containers[i].ephemeral_container_common;
    r->n_containers = n;
}

bool pod_security_check(struct pod_security p, const struct api_object_meta *m,
                        const struct api_pod_spec *s, struct buf *details, struct buf *reasons)
{
    struct arena a = {0};
    struct ps_run r = {.arena = &a,
                       .meta = m,
                       .spec = s,
                       .minor = p.minor,
                       .details = details,
                       .reasons = reasons};
    if (p.level == POD_SECURITY_PRIVILEGED)
        return true;
    gather_containers(&r);
    for (size_t i = 0; i < ps_n_checks; i++) {
        const struct ps_check *k = &ps_checks[i];
        bool overruled = p.level == POD_SECURITY_RESTRICTED && p.minor >= k->overruled &&
                         k->overruled != UINT32_MAX;
        if (k->level <= p.level && p.minor >= k->since && !overruled)
            k->run(&r);
    }
    arena_fini(&a);
    return !r.forbidden;
}
