/* Kinds that are questions: answered in the reply to their create, never stored. */
#include "apiserver/internal.h"
#include "apiserver/auth/issuers.h"
#include "apiserver/auth/review_check.h"
#include "apiserver/auth/token.h"

struct kv_extra_value *user_extra(const struct api_user *u, struct arena *a, uint32_t *ret_n)
{
    struct kv_extra_value *v = ARENA_NEW_N(a, struct kv_extra_value, u->n_extra + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < u->n_extra; i++) {
        struct kv_extra_value *kv = NULL;
        for (uint32_t k = 0; k < n && !kv; k++)
            if (str_eq(v[k].key, u->extra[i].key))
                kv = &v[k];
        if (!kv) {
            kv = &v[n++];
            kv->key = u->extra[i].key;
            kv->value.items = ARENA_NEW_N(a, struct str, u->n_extra - i);
        }
        kv->value.items[kv->value.n_items++] = u->extra[i].value;
    }
    *ret_n = n;
    return v;
}

static void user_info(const struct api_user *u, struct arena *a, struct api_user_info *ret)
{
    ret->username = u->name;
    ret->uid = u->uid;
    ret->groups = u->groups;
    ret->n_groups = u->n_groups;
    if (u->n_extra)
        ret->extra = user_extra(u, a, &ret->n_extra);
}

static int answer(struct api_call *c, const void *msg)
{
    return call_message(c, c->kind->desc, msg, 201);
}

static int review_self_subject(struct api_call *c)
{
    struct api_self_subject_review *r = c->body;
    r->metadata.creation_timestamp = timestamp_seconds(rt_wall(c->server->rt));
    user_info(&c->user, &c->arena, &r->status.user_info);
    return answer(c, r);
}

static bool str_in(struct str s, const struct str *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i], s))
            return true;
    return false;
}

int review_token(struct api_call *c)
{
    struct api_token_review *r = c->body;
    struct token_claims claims;
    struct error err = {0};
    struct str own = STR(TOKEN_ISSUER);
    r->status = (struct api_token_review_status){0};
    if (!r->spec.token.n)
        return call_error(c, REASON_BAD_REQUEST,
                          "token is required for TokenReview in authentication");
    if (!c->server->pki)
        return call_error(c, REASON_UNAVAILABLE, "this server has no signing key");
    const struct str *want = r->spec.n_audiences ? r->spec.audiences : &own;
    size_t n = r->spec.n_audiences ? r->spec.n_audiences : 1;
    struct api_user u = {0};
    if (token_bootstrap_parse(r->spec.token, &c->arena, &u)) { /* good for this API alone */
        if (token_bootstrap_check(c->server, &u, &c->arena) < 0) {
            r->status.error = STR("invalid bearer token");
        } else {
            r->status.authenticated = true;
            user_info(&u, &c->arena, &r->status.user);
            r->status.audiences = ARENA_NEW(&c->arena, struct str);
            r->status.audiences[r->status.n_audiences++] = own;
        }
        return answer(c, r);
    }
    int64_t expires_s;
    if (c->server->issuers && str_in(own, want, n) &&
        issuers_authenticate(c->server->issuers, r->spec.token, rt_wall(c->server->rt) / 1000000,
                             OIDC_WAIT_NOT, &c->arena, &u, &expires_s) == 0) {
        r->status.authenticated = true;
        user_info(&u, &c->arena, &r->status.user);
        r->status.audiences = ARENA_NEW(&c->arena, struct str);
        r->status.audiences[r->status.n_audiences++] = own;
        r->spec.token = STR_NONE;
        return answer(c, r);
    }
    int e = token_verify(c->server->pki->sa_key, r->spec.token, rt_wall(c->server->rt) / 1000000,
                         &c->arena, &claims, &err);
    if (e >= 0 && !token_has_audience(&claims, want, n))
        e = error_set(&err, REASON_UNAUTHORIZED,
                      "invalid bearer token: token audiences do not match the audiences asked for");
    if (e >= 0)
        e = token_bound_check(c->server, &claims.bound, NULL, &err);
    if (e < 0) {
        r->status.error = arena_str(&c->arena, err.message);
    } else {
        token_user(&claims, &c->arena, &u);
        r->status.authenticated = true;
        user_info(&u, &c->arena, &r->status.user);
        r->status.audiences = ARENA_NEW_N(&c->arena, struct str, n);
        for (size_t i = 0; i < n; i++)
            if (token_has_audience(&claims, &want[i], 1))
                r->status.audiences[r->status.n_audiences++] = want[i];
    }
    error_fini(&err);
    return answer(c, r);
}

/* One demand of one value is what a raw selector can say as well; more limit nothing further. */
static struct str selector_text(const struct api_field_selector_attributes *f, struct arena *a)
{
    for (uint32_t i = 0; i < f->n_requirements; i++)
        if (str_is(f->requirements[i].operator, "In") && f->requirements[i].n_values == 1)
            return arena_printf(a, "%.*s=%.*s", STR_ARG(f->requirements[i].key),
                                STR_ARG(f->requirements[i].values[0]));
    return f->raw_selector;
}

static void decide(struct api_call *c, const struct api_user *u,
                   const struct api_resource_attributes *ra,
                   const struct api_non_resource_attributes *na,
                   struct api_subject_access_review_status *st)
{
    struct authz_attrs at = {.user = u};
    if (ra) {
        at.verb = ra->verb;
        at.group = ra->group;
        at.version = ra->version;
        at.resource = ra->resource;
        at.subresource = ra->subresource;
        at.ns = ra->namespace;
        at.name = ra->name;
        if (ra->field_selector)
            at.field_selector = selector_text(ra->field_selector, &c->arena);
    } else {
        at.verb = na->verb;
        at.path = na->path.p ? na->path : STR("");
    }
    *st = (struct api_subject_access_review_status){0};
    st->allowed = authz_allowed(c->server, &at, &c->arena, &st->reason);
}

static int review_self_access(struct api_call *c)
{
    struct api_self_subject_access_review *r = c->body;
    review_check_self(r, &c->reply.err);
    int e = call_invalid(c, STR(""));
    if (e < 0)
        return e;
    decide(c, &c->user, r->spec.resource_attributes, r->spec.non_resource_attributes, &r->status);
    return answer(c, r);
}

static void access_of(struct api_call *c, struct api_subject_access_review_spec *spec,
                      struct api_subject_access_review_status *st)
{
    struct api_user u = {
        .name = spec->user, .uid = spec->uid, .groups = spec->groups, .n_groups = spec->n_groups};
    decide(c, &u, spec->resource_attributes, spec->non_resource_attributes, st);
}

static int review_access(struct api_call *c)
{
    struct api_subject_access_review *r = c->body;
    review_check_access(r, &c->reply.err);
    int e = call_invalid(c, STR(""));
    if (e < 0)
        return e;
    access_of(c, &r->spec, &r->status);
    return answer(c, r);
}

static int review_local_access(struct api_call *c)
{
    struct api_local_subject_access_review *r = c->body;
    if (r->metadata.namespace.n && !str_eq(r->metadata.namespace, c->ns))
        return call_error(c, REASON_BAD_REQUEST,
                          "the namespace of the provided object does not match the namespace sent "
                          "on the request");
    r->metadata.namespace = c->ns;
    review_check_local(r, &c->reply.err);
    int e = call_invalid(c, STR(""));
    if (e < 0)
        return e;
    access_of(c, &r->spec, &r->status);
    return answer(c, r);
}

struct rules_list {
    struct api_call *call;
    struct api_subject_rules_review_status *st;
    size_t cap_resource, cap_path;
    struct api_resource_rule *resource;
    struct api_non_resource_rule *path;
};

static void add_rule(void *arg, const struct api_policy_rule *p)
{
    struct rules_list *l = arg;
    struct api_subject_rules_review_status *st = l->st;
    /* the store's strings outlive this turn only as long as the role does: clone */
    struct api_policy_rule *r = schema_clone(&api_policy_rule_desc, p, &l->call->arena);
    if (r->n_resources) {
        ARRAY_RESERVE(l->resource, st->n_resource_rules, l->cap_resource);
        l->resource[st->n_resource_rules++] =
            (struct api_resource_rule){.verbs = r->verbs,
                                       .n_verbs = r->n_verbs,
                                       .api_groups = r->api_groups,
                                       .n_api_groups = r->n_api_groups,
                                       .resources = r->resources,
                                       .n_resources = r->n_resources,
                                       .resource_names = r->resource_names,
                                       .n_resource_names = r->n_resource_names};
    }
    if (r->n_non_resource_urls) {
        ARRAY_RESERVE(l->path, st->n_non_resource_rules, l->cap_path);
        l->path[st->n_non_resource_rules++] =
            (struct api_non_resource_rule){.verbs = r->verbs,
                                           .n_verbs = r->n_verbs,
                                           .non_resource_urls = r->non_resource_urls,
                                           .n_non_resource_urls = r->n_non_resource_urls};
    }
}

static int review_rules(struct api_call *c)
{
    struct api_self_subject_rules_review *r = c->body;
    struct rules_list l = {.call = c, .st = &r->status};
    static struct str star = {"*", 1};
    static const struct api_policy_rule everything[] = {
        {.verbs = &star,
         .n_verbs = 1,
         .api_groups = &star,
         .n_api_groups = 1,
         .resources = &star,
         .n_resources = 1},
        {.verbs = &star, .n_verbs = 1, .non_resource_urls = &star, .n_non_resource_urls = 1},
    };
    if (!r->spec.namespace.n)
        return call_error(c, REASON_BAD_REQUEST, "no namespace on request");
    r->status = (struct api_subject_rules_review_status){0};
    if (c->user.trusted) {
        add_rule(&l, &everything[0]);
        add_rule(&l, &everything[1]);
    }
    rbac_rules(c->server->rbac, &c->user, r->spec.namespace, add_rule, &l);
    struct str node;
    r->status.incomplete = authz_node_is(&c->user, &node);
    if (r->status.incomplete)
        r->status.evaluation_error = STR("node authorizer does not support user rule resolution");
    if (l.resource) {
        r->status.resource_rules =
            ARENA_NEW_N(&c->arena, struct api_resource_rule, r->status.n_resource_rules);
        memcpy(r->status.resource_rules, l.resource,
               r->status.n_resource_rules * sizeof(*l.resource));
    }
    if (l.path) {
        r->status.non_resource_rules =
            ARENA_NEW_N(&c->arena, struct api_non_resource_rule, r->status.n_non_resource_rules);
        memcpy(r->status.non_resource_rules, l.path,
               r->status.n_non_resource_rules * sizeof(*l.path));
    }
    free(l.resource);
    free(l.path);
    return answer(c, r);
}

static int (*const table[_KIND_MAX])(struct api_call *c) = {
    [KIND_SELF_SUBJECT_REVIEW] = review_self_subject,
    [KIND_TOKEN_REVIEW] = review_token,
    [KIND_SELF_SUBJECT_ACCESS_REVIEW] = review_self_access,
    [KIND_SUBJECT_ACCESS_REVIEW] = review_access,
    [KIND_LOCAL_SUBJECT_ACCESS_REVIEW] = review_local_access,
    [KIND_SELF_SUBJECT_RULES_REVIEW] = review_rules,
};

bool review_is(const struct schema_kind *k)
{
    return k->id < _KIND_MAX && table[k->id] != NULL;
}

int review_run(struct api_call *c)
{
    if (!c->body || c->body_desc != c->kind->desc)
        return call_error(c, REASON_BAD_REQUEST, "a %s is expected in the request's body",
                          c->kind->kind);
    return table[c->kind->id](c);
}
