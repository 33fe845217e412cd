/* What an ID token is worth: its signature, whom it is for, when, and whom it names. Rules and
 * words of kube-apiserver's plugin/pkg/authenticator/token/oidc and of go-oidc, which it uses. */
#include "apiserver/auth/oidc.h"

#include "apiserver/auth/token.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "http/http.h"

#include <stdarg.h>
#include <stdatomic.h>

#define KEYS_MAX 64
#define LEEWAY_S 300 /* nbf, as go-oidc */
#define URL_MAX  2048

/* ---- configuration ---- */

static int bad_flag(struct error *err, const char *flag, const char *why)
{
    return error_set(err, REASON_BAD_REQUEST, "--oidc-%s: %s", flag, why);
}

static struct str given(const char *s, const char *otherwise, struct arena *a)
{
    return arena_strz(a, s && s[0] ? s : otherwise);
}

bool oidc_url_parse(struct str url, struct str *ret_host, uint16_t *ret_port,
                    struct str *ret_target)
{
    return url.n <= URL_MAX && http_https_url_parse(url, ret_host, ret_port, ret_target);
}

static int read_required(const char *text, struct arena *a, struct oidc_config *c,
                         struct error *err)
{
    struct str rest = str_z(text), one;
    while (str_cut(&rest, ',', &one) || one.n) {
        struct oidc_claim claim = {.value = one};
        if (c->n_required == OIDC_LIST_MAX)
            return bad_flag(err, "required-claim", "too many");
        if (!str_cut(&claim.value, '=', &claim.key) || !claim.key.n)
            return bad_flag(err, "required-claim", "each is KEY=VALUE");
        claim.key = arena_str(a, claim.key);
        claim.value = arena_str(a, claim.value);
        c->required[c->n_required++] = claim;
    }
    return 0;
}

static int read_algs(const char *text, struct arena *a, struct oidc_config *c, struct error *err)
{
    struct str rest = str_z(text), one;
    while (str_cut(&rest, ',', &one) || one.n) {
        if (!jws_alg_known(one) || c->n_algs == OIDC_LIST_MAX)
            return error_set(err, REASON_BAD_REQUEST,
                             "--oidc-signing-algs: %.*s is none of RS256, RS384, RS512, PS256, "
                             "PS384, PS512, ES256, ES384, ES512",
                             STR_ARG(one));
        c->algs[c->n_algs++] = arena_str(a, one);
    }
    return c->n_algs ? 0 : bad_flag(err, "signing-algs", "names none");
}

void oidc_config_all_algs(struct oidc_config *c)
{
    static const char *const all[] = {"RS256", "RS384", "RS512", "PS256", "PS384",
                                      "PS512", "ES256", "ES384", "ES512"};
    for (c->n_algs = 0; c->n_algs < ARRAY_LEN(all); c->n_algs++)
        c->algs[c->n_algs] = str_z(all[c->n_algs]);
}

int oidc_config_read(const struct oidc_opts *o, struct arena *a, struct oidc_config *ret,
                     struct error *err)
{
    struct oidc_config c = {0};
    struct str host, target;
    uint16_t port;
    if (!o->issuer_url || !o->client_id || !o->client_id[0])
        return error_set(err, REASON_BAD_REQUEST,
                         "--oidc-issuer-url and --oidc-client-id must be specified together");
    c.issuer = arena_strz(a, o->issuer_url);
    if (!oidc_url_parse(c.issuer, &host, &port, &target) || str_find(target, '?') >= 0)
        return bad_flag(err, "issuer-url", "must be https://HOST[:PORT][/PATH]");
    if (str_is(c.issuer, TOKEN_ISSUER))
        return bad_flag(err, "issuer-url", "is that of service account tokens");
    struct str *audience = ARENA_NEW(a, struct str);
    *audience = arena_strz(a, o->client_id);
    c.audiences = audience;
    c.n_audiences = 1;
    c.username_claim = given(o->username_claim, "sub", a);
    c.groups_claim = given(o->groups_claim, "", a);
    c.groups_prefix = given(o->groups_prefix, "", a);
    if (o->username_prefix && strcmp(o->username_prefix, "-") == 0)
        c.username_prefix = STR("");
    else if (o->username_prefix && o->username_prefix[0])
        c.username_prefix = arena_strz(a, o->username_prefix);
    else if (str_is(c.username_claim, "email"))
        c.username_prefix = STR("");
    else
        c.username_prefix = arena_printf(a, "%.*s#", STR_ARG(c.issuer));
    int r = read_required(o->required_claim ? o->required_claim : "", a, &c, err);
    if (r >= 0)
        r = read_algs(o->signing_algs && o->signing_algs[0] ? o->signing_algs : "RS256", a, &c,
                      err);
    if (r >= 0)
        *ret = c;
    return r;
}

/* ---- keys ---- */

struct oidc_keys {
    _Atomic uint32_t refs;
    struct key {
        struct str kid, alg; /* alg empty: any that fits */
        struct pkey *key;
    } v[KEYS_MAX];
    size_t n;
    struct arena arena;
};

struct oidc_keys *oidc_keys_ref(struct oidc_keys *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

struct oidc_keys *oidc_keys_unref(struct oidc_keys *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    for (size_t i = 0; i < k->n; i++)
        pkey_free(k->v[i].key);
    arena_fini(&k->arena);
    free(k);
    return NULL;
}

size_t oidc_keys_n(const struct oidc_keys *k)
{
    return k->n;
}

static struct str member(const struct json *v, const char *name)
{
    return json_get_str(v, str_z(name));
}

static int part(const struct json *v, const char *name, struct arena *a, struct str *ret)
{
    return base64url_parse(member(v, name), a, ret);
}

static struct pkey *read_key(const struct json *v, struct arena *a)
{
    struct str x, y, n, e;
    struct pkey *k = NULL;
    struct str use = member(v, "use"), kty = member(v, "kty");
    if (use.n && !str_is(use, "sig"))
        return NULL;
    if (str_is(kty, "RSA") && part(v, "n", a, &n) >= 0 && part(v, "e", a, &e) >= 0)
        (void)!pkey_from_rsa(n, e, NULL, &k);
    else if (str_is(kty, "EC") && part(v, "x", a, &x) >= 0 && part(v, "y", a, &y) >= 0)
        (void)!pkey_from_ec(member(v, "crv"), x, y, NULL, &k);
    return k;
}

static const struct json_limits document_limits = {.depth_max = 16, .values_max = 5000};

int oidc_keys_read(struct str text, struct oidc_keys **ret, struct error *err)
{
    struct oidc_keys *k = NEW(struct oidc_keys);
    struct arena a = {0};
    struct json *v;
    atomic_store(&k->refs, 1);
    const struct json *all =
        json_parse(text, &a, &document_limits, &v, NULL) >= 0 ? json_getz(v, "keys") : NULL;
    if (json_is(all, JSON_ARR))
        json_for_each(x, all)
        {
            struct pkey *key = k->n < KEYS_MAX ? read_key(x, &a) : NULL;
            if (key)
                k->v[k->n++] = (struct key){arena_str(&k->arena, member(x, "kid")),
                                            arena_str(&k->arena, member(x, "alg")), key};
        }
    arena_fini(&a);
    if (!k->n) {
        oidc_keys_unref(k);
        (void)error_set(err, REASON_BAD_REQUEST, "no key that can verify tokens");
        return -EINVAL;
    }
    *ret = k;
    return 0;
}

int oidc_discovery_read(const struct oidc_config *c, struct str text, struct arena *a,
                        struct str *ret_jwks_uri, struct error *err)
{
    struct json *v;
    struct str host, target;
    uint16_t port;
    if (json_parse(text, a, &document_limits, &v, NULL) < 0 || !json_is(v, JSON_OBJ)) {
        (void)error_set(err, REASON_BAD_REQUEST, "its discovery document cannot be read");
        return -EINVAL;
    }
    if (!str_eq(member(v, "issuer"), c->issuer)) {
        (void)error_set(err, REASON_BAD_REQUEST,
                        "oidc: issuer did not match the issuer returned by provider, expected "
                        "\"%.*s\" got \"%.*s\"",
                        STR_ARG(c->issuer), (int)MIN(member(v, "issuer").n, (size_t)200),
                        member(v, "issuer").p ? member(v, "issuer").p : "");
        return -EINVAL;
    }
    *ret_jwks_uri = member(v, "jwks_uri");
    if (!oidc_url_parse(*ret_jwks_uri, &host, &port, &target)) {
        (void)error_set(err, REASON_BAD_REQUEST, "its jwks_uri is no https URL");
        return -EINVAL;
    }
    return 0;
}

/* ---- tokens ---- */

struct jwt {
    struct str signed_part, sig;
    struct json *head, *claims;
};

static int parse_part(struct str text, struct arena *a, struct json **ret)
{
    static const struct json_limits limits = {.depth_max = 16, .values_max = 2000};
    struct str raw;
    int r = base64url_parse(text, a, &raw);
    return r < 0 ? r : json_parse(raw, a, &limits, ret, NULL);
}

static bool jwt_read(struct str token, struct arena *a, struct jwt *ret)
{
    struct str head, body, rest = token;
    if (token.n > API_TOKEN_BYTES_MAX || !str_cut(&rest, '.', &head) ||
        !str_cut(&rest, '.', &body) || !rest.n || str_find(rest, '.') >= 0)
        return false;
    ret->signed_part = str_sub(token, 0, head.n + 1 + body.n);
    return parse_part(head, a, &ret->head) >= 0 && json_is(ret->head, JSON_OBJ) &&
           parse_part(body, a, &ret->claims) >= 0 && json_is(ret->claims, JSON_OBJ) &&
           base64url_parse(rest, a, &ret->sig) >= 0;
}

bool oidc_token_issuer(struct str token, struct arena *a, struct str *ret)
{
    struct jwt t;
    if (!jwt_read(token, a, &t))
        return false;
    *ret = member(t.claims, "iss");
    return ret->n > 0;
}

bool oidc_is_issuer(const struct oidc_config *c, struct str token)
{
    struct arena a = {0};
    struct jwt t;
    bool yes = jwt_read(token, &a, &t) && str_eq(member(t.claims, "iss"), c->issuer);
    arena_fini(&a);
    return yes;
}

static int PRINTF(2, 3) refuse(struct error *err, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)error_set(err, REASON_UNAUTHORIZED, "oidc: %s", text);
    return -EACCES;
}

static int verify_signature(const struct oidc_config *c, const struct oidc_keys *k,
                            const struct jwt *t, struct error *err)
{
    struct str alg = member(t->head, "alg"), kid = member(t->head, "kid");
    bool supported = false, named = false;
    for (size_t i = 0; i < c->n_algs; i++)
        supported |= str_eq(c->algs[i], alg);
    if (json_getz(t->head, "crit")) /* must be understood, and nothing of it is */
        return refuse(err, "verify token: unsupported crit header");
    if (!supported)
        return refuse(err, "verify token: id token signed with unsupported algorithm, got \"%.*s\"",
                      (int)MIN(alg.n, (size_t)20), alg.p ? alg.p : "");
    for (size_t i = 0; i < k->n; i++) {
        const struct key *key = &k->v[i];
        if (kid.n && !str_eq(kid, key->kid))
            continue;
        named = true;
        if ((!key->alg.n || str_eq(key->alg, alg)) &&
            jws_verify_as(key->key, alg, t->signed_part, t->sig) == 0)
            return 0;
    }
    (void)refuse(err, "verify token: failed to verify signature: failed to verify id token "
                      "signature");
    return kid.n && named ? -EACCES : -EAGAIN;
}

static bool number(const struct json *v, const char *name, double *ret)
{
    const struct json *n = json_get(v, str_z(name));
    *ret = json_is(n, JSON_INT) ? (double)n->i : json_is(n, JSON_REAL) ? n->d : 0;
    return json_is(n, JSON_INT) || json_is(n, JSON_REAL);
}

static bool is_wanted(const struct oidc_config *c, const struct json *one)
{
    for (size_t i = 0; i < c->n_audiences; i++)
        if (one->type == JSON_STR && str_eq(one->s, c->audiences[i]))
            return true;
    return false;
}

static bool has_audience(const struct oidc_config *c, const struct json *claims)
{
    const struct json *aud = json_getz(claims, "aud");
    if (json_is(aud, JSON_ARR))
        json_for_each(x, aud) if (is_wanted(c, x)) return true;
    return aud && is_wanted(c, aud);
}

static int no_audience(const struct oidc_config *c, struct error *err)
{
    struct buf b = {0};
    for (size_t i = 0; i < MIN(c->n_audiences, (size_t)4); i++)
        buf_printf(&b, "%s\"%.*s\"", i ? " " : "", STR_ARG(c->audiences[i]));
    struct str all = buf_str(&b);
    int r = refuse(err, "verify token: expected audience %s%.*s%s",
                   c->n_audiences > 1 ? "in [" : "", STR_ARG(all), c->n_audiences > 1 ? "]" : "");
    buf_fini(&b);
    return r;
}

static int check_claims(const struct oidc_config *c, const struct json *v, int64_t now_s,
                        int64_t *ret_expires_s, struct error *err)
{
    double exp, nbf, now = (double)now_s;
    if (!str_eq(member(v, "iss"), c->issuer))
        return refuse(err, "verify token: id token issued by a different provider");
    if (!has_audience(c, v))
        return no_audience(c, err);
    if (!number(v, "exp", &exp) || !(exp > now))
        return refuse(err, "verify token: token is expired");
    if (number(v, "nbf", &nbf) && nbf > now + LEEWAY_S)
        return refuse(err, "verify token: current time is before the nbf (not before) time");
    *ret_expires_s = exp > 9e15 ? INT64_C(9000000000000000) : (int64_t)exp;
    return 0;
}

static int check_required(const struct oidc_config *c, const struct json *v, struct error *err)
{
    for (size_t i = 0; i < c->n_required; i++) {
        const struct json *have = json_get(v, c->required[i].key);
        if (!json_is(have, JSON_STR) || !str_eq(have->s, c->required[i].value))
            return refuse(err, "required claim %.*s not present in ID token, or it is not %.*s",
                          STR_ARG(c->required[i].key), STR_ARG(c->required[i].value));
    }
    return 0;
}

static int add_group(struct api_user *u, const struct oidc_config *c, const struct json *v,
                     struct arena *a)
{
    if (v->type != JSON_STR || v->s.n > OIDC_NAME_MAX || u->n_groups >= API_USER_GROUPS_MAX - 1)
        return -EINVAL;
    u->groups[u->n_groups++] =
        arena_printf(a, "%.*s%.*s", STR_ARG(c->groups_prefix), STR_ARG(v->s));
    return 0;
}

static int read_name(const struct oidc_config *c, const struct json *v, struct arena *a,
                     struct api_user *u, struct error *err)
{
    struct str name = json_get_str(v, c->username_claim);
    const struct json *verified = json_getz(v, "email_verified");
    if (!name.n || name.n > OIDC_NAME_MAX)
        return refuse(err, "parse username claims \"%.*s\": claim not present",
                      STR_ARG(c->username_claim));
    if (str_is(c->username_claim, "email") && verified &&
        !(verified->type == JSON_BOOL && verified->b))
        return refuse(err, "email not verified");
    u->name = arena_printf(a, "%.*s%.*s", STR_ARG(c->username_prefix), STR_ARG(name));
    return 0;
}

static int read_groups(const struct oidc_config *c, const struct json *v, struct arena *a,
                       struct api_user *u, struct error *err)
{
    const struct json *groups = json_get(v, c->groups_claim);
    int r = 0;
    u->groups = ARENA_NEW_N(a, struct str, API_USER_GROUPS_MAX);
    if (json_is(groups, JSON_ARR)) {
        json_for_each(x, groups) if (r >= 0) r = add_group(u, c, x, a);
    } else if (groups && groups->type != JSON_NULL) {
        r = add_group(u, c, groups, a);
    }
    return r < 0
               ? refuse(err, "parse groups claim \"%.*s\": neither a string nor a list of strings",
                        STR_ARG(c->groups_claim))
               : 0;
}

static int read_uid(const struct oidc_config *c, const struct json *v, struct api_user *u,
                    struct error *err)
{
    const struct json *uid = json_get(v, c->uid_claim);
    if (!json_is(uid, JSON_STR) || uid->s.n > OIDC_NAME_MAX)
        return refuse(err, "parse uid claim \"%.*s\": claim not present", STR_ARG(c->uid_claim));
    u->uid = uid->s;
    return 0;
}

static void read_credential(const struct json *v, struct arena *a, struct api_user *u)
{
    struct str jti = member(v, "jti");
    u->extra = ARENA_NEW_N(a, struct api_user_extra, API_USER_EXTRA_MAX);
    if (jti.n && jti.n <= OIDC_NAME_MAX)
        u->extra[u->n_extra++] =
            (struct api_user_extra){STR("authentication.kubernetes.io/credential-id"),
                                    arena_printf(a, "JTI=%.*s", STR_ARG(jti))};
}

static struct str kept(struct str s, struct arena *a)
{
    return s.p ? arena_str(a, s) : STR_NONE;
}

/* What was read in an arena of its own, for longer. */
static void keep(const struct api_user *u, struct arena *a, struct api_user *ret)
{
    *ret = (struct api_user){.name = kept(u->name, a), .uid = kept(u->uid, a)};
    ret->groups = ARENA_NEW_N(a, struct str, u->n_groups + 1);
    for (uint32_t i = 0; i < u->n_groups; i++)
        ret->groups[ret->n_groups++] = kept(u->groups[i], a);
    ret->groups[ret->n_groups++] = STR("system:authenticated");
    if (u->n_extra)
        ret->extra = ARENA_NEW_N(a, struct api_user_extra, u->n_extra);
    for (uint32_t i = 0; i < u->n_extra; i++)
        ret->extra[ret->n_extra++] =
            (struct api_user_extra){kept(u->extra[i].key, a), kept(u->extra[i].value, a)};
}

static int read_user(const struct oidc_config *c, const struct json *v, struct arena *tmp,
                     struct arena *a, struct api_user *ret, struct error *err)
{
    struct api_user u = {0};
    int r = 0;
    read_credential(v, tmp, &u);
    if (c->username_claim.n)
        r = read_name(c, v, tmp, &u, err);
    if (r >= 0 && c->groups_claim.n)
        r = read_groups(c, v, tmp, &u, err);
    if (r >= 0 && c->uid_claim.n)
        r = read_uid(c, v, &u, err);
    if (r >= 0 && c->rules)
        r = oidc_rules_map(c->rules, v, tmp, &u, err);
    if (r >= 0 && !u.name.n)
        r = refuse(err, "the token names nobody");
    if (r >= 0)
        r = check_required(c, v, err);
    if (r >= 0 && c->rules)
        r = oidc_rules_check_claims(c->rules, v, tmp, err);
    if (r >= 0 && c->rules)
        r = oidc_rules_check_user(c->rules, &u, tmp, err);
    if (r >= 0)
        keep(&u, a, ret);
    return r;
}

int oidc_verify(const struct oidc_config *c, const struct oidc_keys *k, struct str token,
                int64_t now_s, struct arena *a, struct api_user *ret, int64_t *ret_expires_s,
                struct error *err)
{
    struct arena tmp = {0};
    struct jwt t;
    int r = jwt_read(token, &tmp, &t) ? 0 : refuse(err, "malformed token");
    if (r >= 0)
        r = check_claims(c, t.claims, now_s, ret_expires_s, err);
    if (r >= 0)
        r = verify_signature(c, k, &t, err);
    if (r >= 0)
        r = read_user(c, t.claims, &tmp, a, ret, err);
    arena_fini(&tmp);
    return r;
}
