/* What an AuthenticationConfiguration says of tokens in CEL: whom claims name, and what must hold
 * of claims and users. Compiled when the file is read, in two environments as Kubernetes has them
 * (staging/src/k8s.io/apiserver/pkg/authentication/cel): claims, a map of anything, and user. What
 * an expression may cost is what any other may. */
#include "apiserver/auth/oidc.h"

#include "base/mem.h"
#include "cel/cel.h"

#define RULES_MAX 256 /* expressions of an issuer; the whole file has an end too */

struct rule {
    enum oidc_rule what;
    struct str text, name; /* name: an extra's key, or what is said when it is false */
    struct cel_program *program;
};

struct oidc_rules {
    struct arena arena;
    struct cel_env *claims, *user;
    struct cel_member members[4];
    struct cel_members all;
    struct rule v[RULES_MAX];
    size_t n;
};

struct oidc_rules *oidc_rules_new(void)
{
    struct oidc_rules *r = NEW(struct oidc_rules);
    const struct cel_type *text = cel_type_of(CEL_STRING);
    r->claims = cel_env_new(0);
    r->user = cel_env_new(0);
    (void)cel_env_var(r->claims, "claims", cel_type_map(r->claims, text, cel_type_of(CEL_DYN)));
    const struct cel_type *list = cel_type_list(r->user, text);
    r->members[0] = (struct cel_member){STR("username"), text};
    r->members[1] = (struct cel_member){STR("uid"), text};
    r->members[2] = (struct cel_member){STR("groups"), list};
    r->members[3] = (struct cel_member){STR("extra"), cel_type_map(r->user, text, list)};
    r->all = (struct cel_members){r->members, ARRAY_LEN(r->members)};
    (void)cel_env_var(r->user, "user", cel_type_object(r->user, "kubernetes.UserInfo", &r->all));
    return r;
}

struct oidc_rules *oidc_rules_free(struct oidc_rules *r)
{
    if (!r)
        return NULL;
    for (size_t i = 0; i < r->n; i++)
        cel_program_free(r->v[i].program);
    cel_env_free(r->claims);
    cel_env_free(r->user);
    arena_fini(&r->arena);
    free(r);
    return NULL;
}

int oidc_rules_add(struct oidc_rules *r, enum oidc_rule what, struct str text, struct str name,
                   struct error *err)
{
    struct cel_program *p;
    if (r->n == RULES_MAX)
        return error_set(err, REASON_BAD_REQUEST, "an issuer has %d expressions at most",
                         RULES_MAX);
    int e = cel_compile(what == OIDC_RULE_USER ? r->user : r->claims, text, NULL, &p, err);
    if (e < 0) {
        error_prefix(err, "compilation failed");
        return e;
    }
    if ((what == OIDC_RULE_USER || what == OIDC_RULE_CLAIMS) &&
        cel_program_type(p)->kind != CEL_BOOL) {
        cel_program_free(p);
        return error_set(err, REASON_BAD_REQUEST, "must evaluate to bool");
    }
    r->v[r->n++] = (struct rule){what, arena_str(&r->arena, text), arena_str(&r->arena, name), p};
    return 0;
}

bool oidc_rules_have(const struct oidc_rules *r, enum oidc_rule what)
{
    for (size_t i = 0; r && i < r->n; i++)
        if (r->v[i].what == what)
            return true;
    return false;
}

bool oidc_rules_select(const struct oidc_rules *r, enum oidc_rule what, struct str claim)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i].what == what && cel_program_selects(r->v[i].program, STR("claims"), claim))
            return true;
    return false;
}

/* ---- evaluating ---- */

static int wrong(struct error *err, const char *what, struct str why)
{
    (void)error_set(err, REASON_UNAUTHORIZED, "oidc: error evaluating %s: %.*s", what,
                    (int)MIN(why.n, (size_t)400), why.p ? why.p : "");
    return -EACCES;
}

static const char *const names[] = {
    [OIDC_RULE_USERNAME] = "username claim expression",
    [OIDC_RULE_GROUPS] = "group claim expression",
    [OIDC_RULE_UID] = "uid claim expression",
    [OIDC_RULE_EXTRA] = "extra claim expression",
    [OIDC_RULE_CLAIMS] = "claim validation expression",
    [OIDC_RULE_USER] = "user info validation rule",
};
static_assert(ARRAY_LEN(names) == _OIDC_RULE_MAX, "one for each");

static int run(const struct rule *r, const struct cel_value *var, struct arena *a,
               struct cel_value *ret, struct error *err)
{
    const struct cel_input in = {.vars = var, .n_vars = 1};
    struct cel_result res;
    cel_eval(r->program, &in, a, &res);
    if (res.outcome != CEL_OUTCOME_VALUE)
        return wrong(err, names[r->what],
                     arena_printf(a, "expression '%.*s' resulted in error: %.*s", STR_ARG(r->text),
                                  STR_ARG(res.message)));
    *ret = res.value;
    return 0;
}

/* A text or texts; none of them empty. -EINVAL: something else. */
static int texts(const struct cel_value *v, struct arena *a, struct str *ret, uint32_t max,
                 uint32_t *ret_n)
{
    struct json *j;
    *ret_n = 0;
    if (v->type == CEL_NULL)
        return 0;
    if ((v->type != CEL_STRING && v->type != CEL_LIST) || cel_to_json(v, a, &j, NULL) < 0)
        return -EINVAL;
    if (j->type == JSON_STR) {
        ret[0] = j->s;
        *ret_n = j->s.n ? 1 : 0;
        return 0;
    }
    json_for_each(x, j)
    {
        if (x->type != JSON_STR || *ret_n == max)
            return -EINVAL;
        if (x->s.n)
            ret[(*ret_n)++] = x->s;
    }
    return 0;
}

static int too_long(const struct str *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i].n > OIDC_NAME_MAX)
            return -EINVAL;
    return 0;
}

static int map_one(const struct rule *r, const struct cel_value *claims, struct arena *a,
                   struct api_user *u, struct error *err)
{
    struct cel_value v;
    uint32_t n;
    int e = run(r, claims, a, &v, err);
    if (e < 0)
        return e;
    if (r->what == OIDC_RULE_USERNAME || r->what == OIDC_RULE_UID) {
        bool name = r->what == OIDC_RULE_USERNAME;
        if (v.type != CEL_STRING || v.s.n > OIDC_NAME_MAX)
            return wrong(err, names[r->what],
                         name ? STR("username claim expression must return a string")
                              : STR("uid claim expression must return a string"));
        *(name ? &u->name : &u->uid) = v.s;
        return 0;
    }
    struct str *list = ARENA_NEW_N(a, struct str, API_USER_GROUPS_MAX);
    e = texts(&v, a, list, API_USER_GROUPS_MAX - 1, &n);
    if (e < 0 || too_long(list, n) < 0)
        return wrong(err, names[r->what],
                     STR("expression must return a string or a list of strings"));
    if (r->what == OIDC_RULE_GROUPS) {
        u->groups = list;
        u->n_groups = n;
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (u->n_extra == API_USER_EXTRA_MAX)
            return wrong(err, names[r->what], STR("too many values"));
        u->extra[u->n_extra++] = (struct api_user_extra){r->name, list[i]};
    }
    return 0;
}

int oidc_rules_map(const struct oidc_rules *r, const struct json *claims, struct arena *a,
                   struct api_user *u, struct error *err)
{
    struct cel_value v = cel_json(claims, NULL, a);
    int e = 0;
    for (size_t i = 0; i < r->n && e >= 0; i++)
        if (r->v[i].what <= OIDC_RULE_EXTRA)
            e = map_one(&r->v[i], &v, a, u, err);
    return e;
}

static int check(const struct oidc_rules *r, enum oidc_rule what, const struct cel_value *var,
                 struct arena *a, struct error *err)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct rule *x = &r->v[i];
        struct cel_value v;
        if (x->what != what)
            continue;
        int e = run(x, var, a, &v, err);
        if (e < 0)
            return e;
        if (v.type != CEL_BOOL)
            return wrong(err, names[what], STR("validation expression must return a boolean"));
        if (!v.b)
            return wrong(err, names[what],
                         arena_printf(a, "validation expression '%.*s' failed: %.*s",
                                      STR_ARG(x->text), STR_ARG(x->name)));
    }
    return 0;
}

int oidc_rules_check_claims(const struct oidc_rules *r, const struct json *claims, struct arena *a,
                            struct error *err)
{
    struct cel_value v = cel_json(claims, NULL, a);
    return check(r, OIDC_RULE_CLAIMS, &v, a, err);
}

int oidc_rules_check_user(const struct oidc_rules *r, const struct api_user *u, struct arena *a,
                          struct error *err)
{
    struct json *user = json_new_obj(a), *groups = json_new_arr(a), *extra = json_new_obj(a);
    for (uint32_t i = 0; i < u->n_groups; i++)
        json_push(groups, json_new_str(a, u->groups[i]));
    for (uint32_t i = 0; i < u->n_extra; i++) {
        struct json *list = json_get(extra, u->extra[i].key);
        if (!list)
            json_set(extra, u->extra[i].key, list = json_new_arr(a));
        json_push(list, json_new_str(a, u->extra[i].value));
    }
    json_set(user, STR("username"), json_new_str(a, u->name));
    json_set(user, STR("uid"), json_new_str(a, u->uid.p ? u->uid : STR("")));
    json_set(user, STR("groups"), groups);
    json_set(user, STR("extra"), extra);
    struct cel_value v = cel_json(user, NULL, a);
    return check(r, OIDC_RULE_USER, &v, a, err);
}
