/* Files of authentication: what is wrong with one is told all at once; what a good one makes of
 * claims. */
#include "test.h"

#include "apiserver/auth/authn_config.h"
#include "base/mem.h"
#include "codec/json.h"

#define HEAD "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
#define JWT(rest)                                                                                  \
    HEAD "jwt:\n- issuer: {url: 'https://i', audiences: [k]}\n"                                    \
         "  claimMappings: {username: {claim: sub, prefix: ''}}\n" rest

static void wrong(void **state)
{
    static const struct {
        const char *text, *why; /* the beginning; NULL: good */
    } rows[] = {
        {HEAD, NULL},
        {JWT(""), NULL},
        {"apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n", NULL},
        {"", "Object 'Kind' is missing"},
        {"kind: Policy\napiVersion: audit.k8s.io/v1\n", "no kind \"Policy\" is registered for"},
        {HEAD "jwt: {}\n", "json: cannot unmarshal"},
        {HEAD "jwt: [{issuer: {url: 7}}]\n", "json: cannot unmarshal"},
        {HEAD "jwt: [{isuer: {}}]\nx: 1\n",
         "strict decoding error: unknown field \"jwt[0].isuer\", unknown field \"x\""},
        {HEAD "jwt: [{}]\n",
         "[jwt[0].issuer.url: Required value, jwt[0].issuer.audiences: Required value: at least "
         "one jwt[0].issuer.audiences is required, jwt[0].claimMappings.username: Required value: "
         "claim or expression is required]"},
        {HEAD "jwt:\n- issuer: {url: 'http://u@i?a#b', audiences: [a, a, '']}\n"
              "  claimMappings: {username: {claim: sub}}\n",
         "[jwt[0].issuer.url: Invalid value: \"http://u@i?a#b\": URL scheme must be https, "
         "jwt[0].issuer.url: Invalid value: \"http://u@i?a#b\": URL must not contain a username or "
         "password, jwt[0].issuer.url: Invalid value: \"http://u@i?a#b\": URL must not contain a "
         "query, jwt[0].issuer.url: Invalid value: \"http://u@i?a#b\": URL must not contain a "
         "fragment, jwt[0].issuer.audiences[1]: Duplicate value: \"a\", jwt[0].issuer.audiences[2]:"
         " Required value, jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": "
         "audienceMatchPolicy must be MatchAny for multiple audiences, "
         "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is "
         "set. It can be set to an empty string to disable prefixing]"},
        {HEAD "jwt:\n- issuer: {url: 'https://kubernetes.default.svc.cluster.local', audiences: "
              "[k], certificateAuthority: x, discoveryURL: "
              "'https://kubernetes.default.svc.cluster.local/'}\n"
              "  claimMappings: {username: {claim: sub, prefix: ''}}\n",
         "[jwt[0].issuer.url: Invalid value: \"https://kubernetes.default.svc.cluster.local\": URL "
         "must not overlap with disallowed issuers: "
         "[https://kubernetes.default.svc.cluster.local], jwt[0].issuer.discoveryURL: Invalid "
         "value: \"https://kubernetes.default.svc.cluster.local/\": discoveryURL must be different "
         "from URL, jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does "
         "not contain any valid RSA or ECDSA certificates]"},
        {JWT("- issuer: {url: 'https://i', audiences: [k]}\n"
             "  claimMappings: {username: {claim: sub, prefix: ''}}\n"),
         "jwt[1].issuer.url: Duplicate value: \"https://i\""},
        {JWT("  claimValidationRules: [{claim: a, expression: b}, {}, {claim: a, message: m}, "
             "{claim: a}, {expression: 'true', requiredValue: x}, {expression: claims.x}]\n"),
         "[jwt[0].claimValidationRules[0]: Invalid value: \"a\": claim and expression can't both "
         "be "
         "set, jwt[0].claimValidationRules[1]: Required value: claim or expression is required, "
         "jwt[0].claimValidationRules[2].message: Invalid value: \"m\": may not be specified when "
         "claim is set, jwt[0].claimValidationRules[3].claim: Duplicate value: \"a\", "
         "jwt[0].claimValidationRules[4].requiredValue: Invalid value: \"x\": may not be specified "
         "when expression is set, jwt[0].claimValidationRules[5].expression: Invalid value: "
         "\"claims.x\": must evaluate to bool]"},
        {JWT("  userValidationRules: [{}, {expression: user.nam}, {expression: \"user.uid == ''\"},"
             " {expression: \"user.uid == ''\"}, {expression: 'has(claims.x)'}]\n"),
         "[jwt[0].userValidationRules[0].expression: Required value, "
         "jwt[0].userValidationRules[1].expression: Invalid value: \"user.nam\": compilation "
         "failed: ERROR: <input>:1:5: undefined field 'nam'"},
        {HEAD "jwt:\n- issuer: {url: 'https://i', audiences: [k]}\n"
              "  claimMappings:\n"
              "    username: {expression: claims.email, prefix: x}\n"
              "    uid: {claim: a, expression: b}\n"
              "    extra: [{key: a, valueExpression: claims.a}, {key: x.k8s.io/b}, "
              "{key: Ex.com/c, valueExpression: claims.b}, {key: Ex.com/c, valueExpression: x}]\n",
         "[jwt[0].claimMappings.username.prefix: Invalid value: \"x\": may not be specified when "
         "expression is set, jwt[0].claimMappings.uid: Invalid value: \"\": claim and expression "
         "can't both be set, jwt[0].claimMappings.extra[0].key: Invalid value: \"a\": must be a "
         "domain-prefixed path (such as \"acme.io/foo\"), jwt[0].claimMappings.extra[1].key: "
         "Invalid value: \"x.k8s.io/b\": k8s.io, kubernetes.io and their subdomains are reserved "
         "for Kubernetes use, jwt[0].claimMappings.extra[1].valueExpression: Required value, "
         "jwt[0].claimMappings.extra[2].key: Invalid value: \"Ex.com\": a lowercase RFC 1123"},
        {HEAD "jwt:\n- issuer: {url: 'https://i', audiences: [k]}\n"
              "  claimMappings: {username: {expression: 'claims.email'}}\n",
         "jwt[0].claimMappings.username.expression: Invalid value: \"claims.email\": "
         "claims.email_verified must be used in"},
        {HEAD "jwt:\n- issuer: {url: 'https://i', audiences: [k]}\n  claimMappings: {username: "
              "{expression: 'claims.email'}}\n  claimValidationRules: [{expression: "
              "'claims.?email_verified.orValue(true) == true'}]\n",
         NULL},
        {HEAD "anonymous: {enabled: false, conditions: [{path: /x}]}\n",
         "anonymous.conditions: Invalid value: 1: enabled should be set to true when conditions "
         "are defined"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct authn_config *c = NULL;
        struct error err = {0};
        int r = authn_config_parse(str_z(rows[i].text), &c, &err);
        if (!rows[i].why)
            assert_int_equal(r, 0);
        else if (r >= 0 || !str_starts(err.message, str_z(rows[i].why)))
            fail_msg("row %zu: %.*s", i, STR_ARG(err.message));
        authn_config_free(c);
        error_fini(&err);
    }
}

static void many(void **state)
{
    struct buf b = {0};
    struct authn_config *c;
    struct error err = {0};
    (void)state;
    buf_add_lit(&b, HEAD "jwt:\n");
    for (int i = 0; i <= AUTHN_ISSUERS_MAX; i++)
        buf_printf(&b,
                   "- issuer: {url: 'https://i%d', audiences: [k]}\n"
                   "  claimMappings: {username: {claim: sub, prefix: ''}}\n",
                   i);
    assert_true(authn_config_parse(buf_str(&b), &c, &err) < 0);
    assert_str(err.message, "jwt: Too many: 65: must have at most 64 items");
    error_fini(&err);
    buf_fini(&b);
}

#define MAPPED                                                                                     \
    HEAD                                                                                           \
        "jwt:\n- issuer: {url: 'https://i', audiences: [k, m], audienceMatchPolicy: MatchAny}\n"   \
        "  claimMappings:\n"                                                                       \
        "    username: {expression: 'claims.n'}\n"                                                 \
        "    groups: {expression: 'claims.g'}\n"                                                   \
        "    uid: {expression: 'claims.u'}\n"                                                      \
        "    extra: [{key: e.com/a, valueExpression: 'claims.?a.orValue([])'}]\n"                  \
        "  claimValidationRules: [{expression: 'claims.?ok.orValue(1) == 1', message: no luck}]\n" \
        "  userValidationRules: [{expression: \"!user.username.startsWith('system:')\", "          \
        "message: reserved}]\n"

static void mapping(void **state)
{
    static const struct {
        const char *claims, *want; /* name uid groups extra, or what is wrong */
    } rows[] = {
        {"{\"n\":\"m\",\"g\":\"x\",\"u\":\"7\",\"a\":[\"p\",\"\",\"q\"]}",
         "m 7 x e.com/a=p e.com/a=q"},
        {"{\"n\":\"m\",\"g\":[\"x\",\"\",\"y\"],\"u\":\"\"}", "m  x y"},
        {"{\"n\":\"m\",\"g\":null,\"u\":\"\",\"a\":\"v\"}", "m  e.com/a=v"},
        {"{\"n\":\"m\",\"g\":7,\"u\":\"\"}",
         "oidc: error evaluating group claim expression: expression must return a string or a list "
         "of strings"},
        {"{\"n\":\"m\",\"g\":[\"a\",7],\"u\":\"\"}",
         "oidc: error evaluating group claim expression: expression must return a string or a list "
         "of strings"},
        {"{\"n\":7,\"g\":[],\"u\":\"\"}",
         "oidc: error evaluating username claim expression: username claim expression must return "
         "a string"},
        {"{\"n\":\"m\",\"g\":[],\"u\":{}}",
         "oidc: error evaluating uid claim expression: uid claim expression must return a string"},
        {"{\"g\":[],\"u\":\"\"}",
         "oidc: error evaluating username claim expression: expression 'claims.n' resulted in "
         "error: no such key: n"},
        {"{\"n\":\"m\",\"g\":[],\"u\":\"\",\"ok\":false}",
         "oidc: error evaluating claim validation expression: validation expression "
         "'claims.?ok.orValue(1) == 1' failed: no luck"},
        {"{\"n\":\"system:admin\",\"g\":[],\"u\":\"\"}",
         "oidc: error evaluating user info validation rule: validation expression "
         "'!user.username.startsWith('system:')' failed: reserved"},
    };
    struct authn_config *c;
    struct error err = {0};
    (void)state;
    struct arena a = {0};
    assert_ok(authn_config_parse(STR(MAPPED), &c, NULL));
    assert_int_equal(c->jwt[0].n_audiences, 2);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct oidc_rules *r = c->jwt[0].rules;
        struct api_user u = {.extra = ARENA_NEW_N(&a, struct api_user_extra, API_USER_EXTRA_MAX)};
        struct buf b = {0};
        struct json *claims;
        assert_ok(json_parse(str_z(rows[i].claims), &a, NULL, &claims, NULL));
        if (oidc_rules_map(r, claims, &a, &u, &err) < 0 ||
            oidc_rules_check_claims(r, claims, &a, &err) < 0 ||
            oidc_rules_check_user(r, &u, &a, &err) < 0) {
            buf_add_str(&b, err.message);
        } else {
            buf_printf(&b, "%.*s %.*s", STR_ARG(u.name), STR_ARG(u.uid));
            for (uint32_t k = 0; k < u.n_groups; k++)
                buf_printf(&b, " %.*s", STR_ARG(u.groups[k]));
            for (uint32_t k = 0; k < u.n_extra; k++)
                buf_printf(&b, " %.*s=%.*s", STR_ARG(u.extra[k].key), STR_ARG(u.extra[k].value));
        }
        assert_str(buf_str(&b), rows[i].want);
        buf_fini(&b);
        error_clear(&err);
    }
    authn_config_free(c);
    arena_fini(&a);
    error_fini(&err);
}

static void anonymous(void **state)
{
    static const struct {
        const char *text;
        bool livez, api;
    } rows[] = {{"", true, true},
                {"anonymous: {enabled: true}\n", true, true},
                {"anonymous: {enabled: false}\n", false, false},
                {"anonymous: {enabled: true, conditions: [{path: /livez}]}\n", true, false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct authn_config *c, *none;
        assert_ok(authn_config_parse(arena_printf(&a, HEAD "%s", rows[i].text), &c, NULL));
        assert_ok(authn_config_parse(STR(HEAD), &none, NULL));
        assert_int_equal(authn_config_anonymous(c, STR("/livez")), rows[i].livez);
        assert_int_equal(authn_config_anonymous(c, STR("/api")), rows[i].api);
        assert_false(authn_config_anonymous(c, STR("/livez/")) != rows[i].api);
        assert_true(authn_config_anonymous_same(c, c));
        assert_int_equal(authn_config_anonymous_same(c, none), !rows[i].text[0]);
        authn_config_free(c);
        authn_config_free(none);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wrong), cmocka_unit_test(many),
                                       cmocka_unit_test(mapping), cmocka_unit_test(anonymous)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
