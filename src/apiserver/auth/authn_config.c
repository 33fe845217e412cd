/* See authn_config.h. The file is decoded by the schema tables (api/apiserver_config.proto), which
 * know its fields and refuse others; what is left is what fields mean together. Rules and words:
 * staging/src/k8s.io/apiserver/pkg/apis/apiserver/validation of Kubernetes. */
#include "apiserver/auth/authn_config.h"

#include "api/types.gen.h"
#include "apiserver/auth/token.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "rt/tls.h"
#include "schema/schema.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdarg.h>

#define CA_BYTES_MAX ((size_t)1 << 20)
#define FOUND_MAX    64 /* findings that are told */

struct check {
    struct arena *a;
    struct str found[FOUND_MAX];
    size_t n;
};

static void PRINTF(2, 3) found(struct check *c, const char *fmt, ...)
{
    va_list ap;
    if (c->n == FOUND_MAX)
        return;
    va_start(ap, fmt);
    c->found[c->n++] = arena_vprintf(c->a, fmt, ap);
    va_end(ap);
}

static void invalid(struct check *c, const char *path, struct str value, const char *why)
{
    struct buf b = {0};
    json_print_str(value.p ? value : STR(""), &b);
    found(c, "%s: Invalid value: %.*s: %s", path, STR_ARG(buf_str(&b)), why);
    buf_fini(&b);
}

static void required(struct check *c, const char *path, const char *why)
{
    found(c, "%s: Required value%s%s", path, why[0] ? ": " : "", why);
}

static void duplicate(struct check *c, const char *path, struct str value)
{
    struct buf b = {0};
    json_print_str(value, &b);
    found(c, "%s: Duplicate value: %.*s", path, STR_ARG(buf_str(&b)));
    buf_fini(&b);
}

static const char *PRINTF(2, 3) at(struct check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = arena_vprintf(c->a, fmt, ap);
    va_end(ap);
    return arena_cstr(c->a, s);
}

/* ---- issuers ---- */

static void check_url(struct check *c, const char *path, struct str url)
{
    struct str rest = url, scheme, authority = STR_NONE, host, target;
    size_t before = c->n;
    uint16_t port;
    ssize_t fragment = str_find(url, '#');
    if (fragment >= 0)
        rest = str_sub(url, 0, (size_t)fragment);
    ssize_t query = str_find(rest, '?');
    size_t n_query = query >= 0 ? rest.n - (size_t)query - 1 : 0;
    if (query >= 0)
        rest = str_sub(rest, 0, (size_t)query);
    if (!str_cut(&rest, ':', &scheme) || !str_ieq(scheme, STR("https")))
        invalid(c, path, url, "URL scheme must be https");
    if (str_starts(rest, STR("//"))) {
        rest = str_sub(rest, 2, rest.n);
        (void)str_cut(&rest, '/', &authority);
    }
    if (str_find(authority, '@') >= 0)
        invalid(c, path, url, "URL must not contain a username or password");
    if (n_query)
        invalid(c, path, url, "URL must not contain a query");
    if (fragment >= 0 && (size_t)fragment + 1 < url.n)
        invalid(c, path, url, "URL must not contain a fragment");
    if (c->n == before && !oidc_url_parse(url, &host, &port, &target))
        invalid(c, path, url, "URL must be https://HOST[:PORT][/PATH]");
}

static struct str without_slashes(struct str s)
{
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

static void check_audiences(struct check *c, const char *p, const struct api_issuer *i)
{
    struct str policy = i->audience_match_policy;
    if (!i->n_audiences) {
        required(c, at(c, "%s.audiences", p), at(c, "at least one %s.audiences is required", p));
        return;
    }
    for (uint32_t k = 0; k < i->n_audiences; k++) {
        const char *path = at(c, "%s.audiences[%u]", p, k);
        if (!i->audiences[k].n)
            required(c, path, "");
        for (uint32_t m = 0; m < k; m++)
            if (str_eq(i->audiences[m], i->audiences[k])) {
                duplicate(c, path, i->audiences[k]);
                break;
            }
    }
    if (i->n_audiences > 1 && !str_is(policy, "MatchAny"))
        invalid(c, at(c, "%s.audienceMatchPolicy", p), policy,
                "audienceMatchPolicy must be MatchAny for multiple audiences");
    else if (policy.n && !str_is(policy, "MatchAny"))
        invalid(c, at(c, "%s.audienceMatchPolicy", p), policy,
                "audienceMatchPolicy must be empty or MatchAny for single audience");
}

static void check_authorities(struct check *c, const char *p, struct str pem)
{
    const struct rt_tls_client_opts o = {.ca_pem = pem};
    struct rt_tls_client *tls;
    if (!pem.n)
        return;
    if (rt_tls_client_new(&o, NULL, &tls) < 0)
        invalid(c, at(c, "%s.certificateAuthority", p), STR("<omitted>"),
                "data does not contain any valid RSA or ECDSA certificates");
    else
        rt_tls_client_unref(tls);
}

static void check_issuer(struct check *c, const char *p, const struct api_issuer *i)
{
    const char *url = at(c, "%s.url", p), *discovery = at(c, "%s.discoveryURL", p);
    if (!i->url.n) {
        required(c, url, "");
    } else {
        if (str_is(i->url, TOKEN_ISSUER))
            invalid(c, url, i->url,
                    "URL must not overlap with disallowed issuers: [" TOKEN_ISSUER "]");
        check_url(c, url, i->url);
    }
    if (i->discovery_url.n) {
        if (i->url.n && str_eq(without_slashes(i->url), without_slashes(i->discovery_url)))
            invalid(c, discovery, i->discovery_url, "discoveryURL must be different from URL");
        check_url(c, discovery, i->discovery_url);
    }
    check_audiences(c, p, i);
    check_authorities(c, p, i->certificate_authority);
    if (i->egress_selector_type.n)
        invalid(c, at(c, "%s.egressSelectorType", p), i->egress_selector_type,
                str_is(i->egress_selector_type, "controlplane") ||
                        str_is(i->egress_selector_type, "cluster")
                    ? "this server has no egress selectors"
                    : "egress selector must be either controlplane or cluster");
}

/* ---- rules and mappings ---- */

static void compile(struct check *c, struct oidc_rules *r, enum oidc_rule what, const char *path,
                    struct str text, struct str name)
{
    struct error err = {0};
    if (oidc_rules_add(r, what, text, name, &err) < 0)
        invalid(c, path, text, arena_cstr(c->a, err.message));
    error_fini(&err);
}

static void check_claim_rule(struct check *c, const char *p, const struct api_jwt_authenticator *j,
                             uint32_t i, struct oidc_config *out)
{
    const struct api_claim_validation_rule *r = &j->claim_validation_rules[i];
    bool seen = false;
    if (r->claim.n && r->expression.n) {
        invalid(c, p, r->claim, "claim and expression can't both be set");
    } else if (r->claim.n) {
        if (r->message.n)
            invalid(c, at(c, "%s.message", p), r->message,
                    "may not be specified when claim is set");
        for (size_t k = 0; k < out->n_required; k++)
            seen |= str_eq(out->required[k].key, r->claim);
        if (seen)
            duplicate(c, at(c, "%s.claim", p), r->claim);
        else if (out->n_required == OIDC_LIST_MAX)
            found(c, "%s: Too many: must have at most %d items", p, OIDC_LIST_MAX);
        else
            out->required[out->n_required++] = (struct oidc_claim){r->claim, r->required_value};
    } else if (r->expression.n) {
        if (r->required_value.n)
            invalid(c, at(c, "%s.requiredValue", p), r->required_value,
                    "may not be specified when expression is set");
        for (uint32_t k = 0; k < i; k++)
            seen |= !j->claim_validation_rules[k].claim.n &&
                    str_eq(j->claim_validation_rules[k].expression, r->expression);
        if (seen)
            duplicate(c, at(c, "%s.expression", p), r->expression);
        else
            compile(c, out->rules, OIDC_RULE_CLAIMS, at(c, "%s.expression", p), r->expression,
                    r->message);
    } else {
        required(c, p, "claim or expression is required");
    }
}

static void check_prefixed(struct check *c, const char *p,
                           const struct api_prefixed_claim_or_expression *m, enum oidc_rule what,
                           struct oidc_config *out)
{
    bool name = what == OIDC_RULE_USERNAME;
    if (m->expression.n && m->claim.n) {
        invalid(c, p, STR(""), "claim and expression can't both be set");
    } else if (m->expression.n) {
        if (m->prefix.p)
            invalid(c, at(c, "%s.prefix", p), m->prefix,
                    "may not be specified when expression is set");
        compile(c, out->rules, what, at(c, "%s.expression", p), m->expression, STR(""));
    } else if (m->claim.n) {
        if (!m->prefix.p)
            required(c, at(c, "%s.prefix", p),
                     "prefix is required when claim is set. It can be set to an empty string to "
                     "disable prefixing");
        *(name ? &out->username_claim : &out->groups_claim) = m->claim;
        *(name ? &out->username_prefix : &out->groups_prefix) = m->prefix;
    } else if (name) {
        required(c, p, "claim or expression is required");
    }
}

static bool path_chars(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (!(ch >= 'a' && ch <= 'z') && !(ch >= 'A' && ch <= 'Z') && !(ch >= '0' && ch <= '9') &&
            !memchr("/-._~%!$&'()*+,;=:", ch, 18))
            return false;
    }
    return true;
}

static void check_key(struct check *c, const char *p, struct str key)
{
    struct str path = key, domain;
    const char *why;
    if (!key.n) {
        required(c, p, "");
        return;
    }
    if (!str_cut(&path, '/', &domain) || !domain.n || !path.n) {
        invalid(c, p, key, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        domain = STR("");
    } else if ((why = schema_format_check(SCHEMA_FORMAT_DNS_SUBDOMAIN, domain))) {
        invalid(c, p, domain, why);
    } else if (!path_chars(path)) {
        invalid(c, p, path,
                "Invalid path (regex used for validation is "
                "'[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')");
    }
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] >= 'A' && key.p[i] <= 'Z') {
            invalid(c, p, key, "must be lowercase");
            break;
        }
    if (str_is(domain, "kubernetes.io") || str_ends(domain, STR(".kubernetes.io")) ||
        str_is(domain, "k8s.io") || str_ends(domain, STR(".k8s.io")))
        invalid(c, p, key,
                "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
}

static void check_extra(struct check *c, const char *p, const struct api_claim_mappings *m,
                        struct oidc_config *out)
{
    for (uint32_t i = 0; i < m->n_extra; i++) {
        const struct api_extra_mapping *x = &m->extra[i];
        const char *key = at(c, "%s.extra[%u].key", p, i),
                   *value = at(c, "%s.extra[%u].valueExpression", p, i);
        bool seen = false;
        check_key(c, key, x->key);
        for (uint32_t k = 0; k < i; k++)
            seen |= str_eq(m->extra[k].key, x->key);
        if (seen)
            duplicate(c, key, x->key);
        else if (!x->value_expression.n)
            required(c, value, "");
        else
            compile(c, out->rules, OIDC_RULE_EXTRA, value, x->value_expression, x->key);
    }
}

static void check_mappings(struct check *c, const char *p, const struct api_claim_mappings *m,
                           struct oidc_config *out)
{
    const char *username = at(c, "%s.username", p);
    const struct oidc_rules *r = out->rules;
    check_prefixed(c, username, &m->username, OIDC_RULE_USERNAME, out);
    check_prefixed(c, at(c, "%s.groups", p), &m->groups, OIDC_RULE_GROUPS, out);
    if (m->uid.claim.n && m->uid.expression.n)
        invalid(c, at(c, "%s.uid", p), STR(""), "claim and expression can't both be set");
    else if (m->uid.expression.n)
        compile(c, out->rules, OIDC_RULE_UID, at(c, "%s.uid.expression", p), m->uid.expression,
                STR(""));
    else
        out->uid_claim = m->uid.claim;
    check_extra(c, p, m, out);
    struct str verified = STR("email_verified");
    if (oidc_rules_select(r, OIDC_RULE_USERNAME, STR("email")) &&
        !oidc_rules_select(r, OIDC_RULE_USERNAME, verified) &&
        !oidc_rules_select(r, OIDC_RULE_EXTRA, verified) &&
        !oidc_rules_select(r, OIDC_RULE_CLAIMS, verified))
        invalid(c, at(c, "%s.expression", username), m->username.expression,
                "claims.email_verified must be used in claimMappings.username.expression or "
                "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression "
                "when claims.email is used in claimMappings.username.expression");
}

static void check_user_rules(struct check *c, const char *p, const struct api_jwt_authenticator *j,
                             struct oidc_config *out)
{
    for (uint32_t i = 0; i < j->n_user_validation_rules; i++) {
        const struct api_user_validation_rule *r = &j->user_validation_rules[i];
        const char *path = at(c, "%s.userValidationRules[%u].expression", p, i);
        bool seen = false;
        for (uint32_t k = 0; k < i; k++)
            seen |= str_eq(j->user_validation_rules[k].expression, r->expression);
        if (!r->expression.n)
            required(c, path, "");
        else if (seen)
            duplicate(c, path, r->expression);
        else
            compile(c, out->rules, OIDC_RULE_USER, path, r->expression, r->message);
    }
}

static void check_jwt(struct check *c, const char *p, const struct api_jwt_authenticator *j,
                      struct oidc_config *out)
{
    const struct api_issuer *i = &j->issuer;
    *out = (struct oidc_config){.issuer = i->url,
                                .discovery = i->discovery_url,
                                .ca_pem = i->certificate_authority.n ? i->certificate_authority
                                                                     : STR_NONE,
                                .audiences = i->audiences,
                                .n_audiences = i->n_audiences,
                                .rules = oidc_rules_new()};
    oidc_config_all_algs(out);
    check_issuer(c, at(c, "%s.issuer", p), i);
    for (uint32_t k = 0; k < j->n_claim_validation_rules; k++)
        check_claim_rule(c, at(c, "%s.claimValidationRules[%u]", p, k), j, k, out);
    check_mappings(c, at(c, "%s.claimMappings", p), &j->claim_mappings, out);
    check_user_rules(c, p, j, out);
}

/* ---- the whole ---- */

static void check_all(struct check *c, const struct api_authentication_configuration *m,
                      struct authn_config *out)
{
    out->jwt = ARENA_NEW_N(&out->arena, struct oidc_config, m->n_jwt + 1);
    if (m->n_jwt > AUTHN_ISSUERS_MAX) {
        found(c, "jwt: Too many: %u: must have at most %d items", m->n_jwt, AUTHN_ISSUERS_MAX);
        return;
    }
    for (uint32_t i = 0; i < m->n_jwt; i++) {
        const struct api_issuer *is = &m->jwt[i].issuer;
        bool url = false, discovery = false;
        check_jwt(c, at(c, "jwt[%u]", i), &m->jwt[i], &out->jwt[out->n_jwt++]);
        for (uint32_t k = 0; k < i; k++) {
            url |= str_eq(m->jwt[k].issuer.url, is->url);
            discovery |=
                is->discovery_url.n && str_eq(m->jwt[k].issuer.discovery_url, is->discovery_url);
        }
        if (url)
            duplicate(c, at(c, "jwt[%u].issuer.url", i), is->url);
        if (discovery)
            duplicate(c, at(c, "jwt[%u].issuer.discoveryURL", i), is->discovery_url);
    }
    if (m->anonymous && !m->anonymous->enabled && m->anonymous->n_conditions)
        found(c,
              "anonymous.conditions: Invalid value: %u: enabled should be set to true when "
              "conditions are defined",
              m->anonymous->n_conditions);
    out->anonymous = m->anonymous;
}

static int tell(const struct check *c, struct error *err)
{
    struct buf b = {0};
    for (size_t i = 0; i < c->n; i++)
        buf_printf(&b, "%s%.*s", i ? ", " : c->n > 1 ? "[" : "", STR_ARG(c->found[i]));
    int r = error_set(err, REASON_BAD_REQUEST, "%.*s%s", STR_ARG(buf_str(&b)), c->n > 1 ? "]" : "");
    buf_fini(&b);
    return r;
}

static int decode(struct str text, struct arena *a, struct api_authentication_configuration *ret,
                  struct error *err)
{
    struct schema_decode how = {.unknown = SCHEMA_UNKNOWN_STRICT};
    struct str version, kind;
    struct json *doc;
    int r = yaml_parse(text, a, &doc, err);
    if (r < 0)
        return r;
    schema_type_meta(doc, &version, &kind);
    if (!kind.n)
        return error_set(err, REASON_BAD_REQUEST, "Object 'Kind' is missing");
    if (!str_is(kind, "AuthenticationConfiguration") ||
        (!str_is(version, "apiserver.config.k8s.io/v1") &&
         !str_is(version, "apiserver.config.k8s.io/v1beta1")))
        return error_set(err, REASON_BAD_REQUEST,
                         "no kind \"%.*s\" is registered for version \"%.*s\": it must be an "
                         "AuthenticationConfiguration of apiserver.config.k8s.io/v1 or v1beta1",
                         (int)MIN(kind.n, (size_t)100), kind.p, (int)MIN(version.n, (size_t)100),
                         version.p ? version.p : "");
    (void)json_remove(doc, STR("apiVersion")); /* the tables have them for what is served only */
    (void)json_remove(doc, STR("kind"));
    return schema_decode_json(&api_authentication_configuration_desc, doc, a, &how, ret, err);
}

int authn_config_parse(struct str text, struct authn_config **ret, struct error *err)
{
    struct authn_config *c = NEW(struct authn_config);
    struct api_authentication_configuration m;
    struct check check = {.a = &c->arena};
    int r = decode(arena_str(&c->arena, text), &c->arena, &m, err);
    if (r >= 0) {
        check_all(&check, &m, c);
        if (check.n)
            r = tell(&check, err);
    }
    if (r < 0) {
        authn_config_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int authn_config_of_flags(const struct oidc_opts *o, struct authn_config **ret, struct error *err)
{
    struct authn_config *c = NEW(struct authn_config);
    CLEANUP(freep) char *ca = NULL;
    c->jwt = ARENA_NEW(&c->arena, struct oidc_config);
    int r = oidc_config_read(o, &c->arena, c->jwt, err);
    if (r >= 0)
        c->n_jwt = 1;
    if (r >= 0 && o->ca_file && o->ca_file[0]) {
        r = sys_read_file(AT_FDCWD, o->ca_file, CA_BYTES_MAX, &ca, NULL);
        if (r < 0)
            r = error_errno(err, r, "--oidc-ca-file: cannot read %s", o->ca_file);
        else
            c->jwt->ca_pem = arena_strz(&c->arena, ca);
    }
    if (r < 0) {
        authn_config_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct authn_config *authn_config_free(struct authn_config *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < c->n_jwt; i++)
        oidc_rules_free(c->jwt[i].rules);
    arena_fini(&c->arena);
    free(c);
    return NULL;
}

bool authn_config_anonymous(const struct authn_config *c, struct str path)
{
    const struct api_anonymous_auth_config *an = c ? c->anonymous : NULL;
    if (!an || (an->enabled && !an->n_conditions))
        return true;
    for (uint32_t i = 0; an->enabled && i < an->n_conditions; i++)
        if (str_eq(an->conditions[i].path, path))
            return true;
    return false;
}

bool authn_config_anonymous_same(const struct authn_config *a, const struct authn_config *b)
{
    const struct api_anonymous_auth_config *x = a->anonymous, *y = b->anonymous;
    if (!x || !y)
        return x == y;
    if (x->enabled != y->enabled || x->n_conditions != y->n_conditions)
        return false;
    for (uint32_t i = 0; i < x->n_conditions; i++)
        if (!str_eq(x->conditions[i].path, y->conditions[i].path))
            return false;
    return true;
}
