/* A file of authentication, and claims held against it: the text up to a line "---" is the file,
 * what follows are claims. Nobody gets a name from it that is empty or too long. */
#include "apiserver/auth/authn_config.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hold(const struct authn_config *c, const struct json *claims, struct arena *a)
{
    for (size_t i = 0; i < c->n_jwt; i++) {
        const struct oidc_rules *r = c->jwt[i].rules;
        struct error err = {0};
        struct api_user u = {.name = STR("n")};
        u.extra = ARENA_NEW_N(a, struct api_user_extra, API_USER_EXTRA_MAX);
        int e = oidc_rules_map(r, claims, a, &u, &err);
        ASSERT(u.n_groups < API_USER_GROUPS_MAX && u.n_extra <= API_USER_EXTRA_MAX);
        for (uint32_t k = 0; e >= 0 && k < u.n_groups; k++)
            ASSERT(u.groups[k].n && u.groups[k].n <= OIDC_NAME_MAX);
        if (e >= 0)
            e = oidc_rules_check_claims(r, claims, a, &err);
        if (e >= 0)
            e = oidc_rules_check_user(r, &u, a, &err);
        ASSERT((e < 0) == (err.message.n > 0));
        error_fini(&err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, claims = STR("{}");
    struct authn_config *c = NULL;
    struct error err = {0};
    struct arena a = {0};
    struct json *v;
    ssize_t at = str_search(text, STR("\n---\n"));
    if (at >= 0) {
        claims = str_sub(text, (size_t)at + 5, text.n);
        text = str_sub(text, 0, (size_t)at + 1);
    }
    int r = authn_config_parse(text, &c, &err);
    ASSERT((r < 0) == (err.message.n > 0) && (r < 0) == (c == NULL));
    const struct json_limits limits = {.depth_max = 16, .values_max = 2000};
    if (c && json_parse(claims, &a, &limits, &v, NULL) >= 0 && v->type == JSON_OBJ)
        hold(c, v, &a);
    if (c)
        (void)authn_config_anonymous(c, STR("/livez"));
    authn_config_free(c);
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
