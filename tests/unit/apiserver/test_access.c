/* Impersonation: what the headers say, who may, and who one is then. */
#include "api_test.h"

#include "apiserver/auth/impersonate.h"
#include "apiserver/internal.h"

/* ---- the headers ---- */

static void headers_are_read(void **state)
{
    struct arena a = {0};
    const struct impersonation *im = NULL;
    const struct http_header none[] = {{STR("accept"), STR("*/*")}};
    const struct http_header all[] = {
        {STR("impersonate-group"), STR("devs")},
        {STR("impersonate-user"), STR("ann")},
        {STR("impersonate-user"), STR("second")},
        {STR("impersonate-uid"), STR("7")},
        {STR("impersonate-extra-scopes"), STR("view")},
        {STR("impersonate-extra-acme.com%2fproject"), STR("a b")},
        {STR("impersonate-extra-"), STR("no key")},
        {STR("impersonate-group"), STR("ops")},
    };
    (void)state;
    assert_int_equal(impersonate_read(none, 1, &a, &im), 0);
    assert_null(im);
    assert_int_equal(impersonate_read(all, ARRAY_LEN(all), &a, &im), 0);
    assert_str(im->user, "ann");
    assert_str(im->uid, "7");
    assert_int_equal(im->n_groups, 2);
    assert_str(im->groups[1], "ops");
    assert_int_equal(im->n_extra, 2);
    assert_str(im->extra[0].key, "scopes");
    assert_str(im->extra[1].key, "acme.com/project");
    assert_str(im->extra[1].value, "a b");
    struct http_header many[API_USER_GROUPS_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = (struct http_header){STR("impersonate-group"), STR("g")};
    assert_int_equal(impersonate_read(many, API_USER_GROUPS_MAX, &a, &im), 0);
    assert_int_equal(impersonate_read(many, API_USER_GROUPS_MAX + 1, &a, &im), -E2BIG);
    for (size_t i = 0; i <= API_USER_EXTRA_MAX; i++)
        many[i].name = STR("impersonate-extra-k");
    assert_int_equal(impersonate_read(many, API_USER_EXTRA_MAX, &a, &im), 0);
    assert_int_equal(impersonate_read(many, API_USER_EXTRA_MAX + 1, &a, &im), -E2BIG);
    arena_fini(&a);
}

static void extra_keys_are_decoded(void **state)
{
    static const struct {
        const char *raw, *key;
    } rows[] = {{"plain", "plain"}, {"a%2fb", "a/b"}, {"%25", "%"},     {"a%", "a%"},
                {"a%2", "a%2"},     {"a%zz", "a%zz"}, {"%41%42", "AB"}, {"", ""}};
    struct arena a = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_str(impersonate_extra_key(str_z(rows[i].raw), &a), rows[i].key);
    arena_fini(&a);
}

/* ---- the questions ---- */

struct asked {
    struct fx *f;
    struct api_call *c;
    bool done;
};

static void on_done(struct api_call *c)
{
    ((struct asked *)c->arg)->done = true;
}

static bool is_done(void *arg)
{
    return ((struct asked *)arg)->done;
}

/* Who is `user` when he asks to be im? The call is the caller's to free. */
static struct api_call *who(struct fx *f, const char *user, const struct impersonation *im)
{
    struct asked q = {.f = f, .c = api_call_new(f->api)};
    struct api_call *c = q.c;
    c->verb = API_CREATE;
    c->kind = KIND_OF(SELF_SUBJECT_REVIEW);
    c->body_desc = c->kind->desc;
    c->body = schema_new(c->kind->desc, &c->arena);
    c->user.name = str_z(user);
    c->user.groups = ARENA_NEW(&c->arena, struct str);
    c->user.groups[0] = STR("system:authenticated");
    c->user.n_groups = 1;
    c->impersonation = im;
    c->done = on_done;
    c->arg = &q;
    api_call_start(c);
    assert_true(q.done || rt_run_until(f->rt, is_done, &q, NSEC_PER_SEC));
    return c;
}

static const char *groups_of(struct fx *f, const struct api_call *c)
{
    const struct api_self_subject_review *r = c->reply.message;
    struct buf b = {0};
    assert_int_equal(c->reply.r, 0);
    for (uint32_t i = 0; i < r->status.user_info.n_groups; i++)
        buf_printf(&b, "%s%.*s", i ? "," : "", STR_ARG(r->status.user_info.groups[i]));
    const char *z = fx_z(f, buf_str(&b));
    z = arena_cstr(&f->arena, arena_strz(&f->arena, z));
    buf_fini(&b);
    return z;
}

static void may_impersonate(struct fx *f, const char *rules)
{
    char yaml[700];
    snprintf(yaml, sizeof(yaml), "{metadata: {name: imp}, rules: [%s]}", rules);
    assert_int_equal(fx_create(f, KIND_OF(CLUSTER_ROLE), "", yaml), 0);
    assert_int_equal(fx_create(f, KIND_OF(CLUSTER_ROLE_BINDING), "",
                               "{metadata: {name: imp}, roleRef: {kind: ClusterRole, name: imp}, "
                               "subjects: [{kind: User, name: ann}]}"),
                     0);
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
}

static void identities(void **state)
{
    struct fx *f = *state;
    static const struct {
        const char *user, *groups, *is; /* groups: one, or NULL */
    } rows[] = {
        {"bob", NULL, "system:authenticated"},
        {"bob", "devs", "devs,system:authenticated"},
        {"bob", "system:authenticated", "system:authenticated"},
        {"bob", "system:unauthenticated", "system:unauthenticated"},
        {"system:anonymous", NULL, "system:unauthenticated"},
        {"system:serviceaccount:default:sa", NULL,
         "system:serviceaccounts,system:serviceaccounts:default,system:authenticated"},
        {"system:serviceaccount:default:sa", "devs", "devs,system:authenticated"},
        {"system:serviceaccount:odd", NULL, "system:authenticated"}, /* no account: a user */
    };
    may_impersonate(f, "{apiGroups: [''], resources: [users, groups, serviceaccounts], verbs: "
                       "[impersonate]}");
    /* whoever is unauthenticated may not ask who he is unless he is let */
    assert_int_equal(fx_create(f, KIND_OF(CLUSTER_ROLE_BINDING), "",
                               "{metadata: {name: all}, roleRef: {kind: ClusterRole, name: "
                               "'system:basic-user'}, subjects: [{kind: Group, name: "
                               "'system:unauthenticated'}]}"),
                     0);
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str g = str_z(rows[i].groups);
        struct impersonation im = {
            .user = str_z(rows[i].user), .groups = &g, .n_groups = rows[i].groups ? 1 : 0};
        struct api_call *c = who(f, "ann", &im);
        assert_string_equal(groups_of(f, c), rows[i].is);
        assert_str(c->user.name, rows[i].user);
        assert_str(c->impersonator->name, "ann");
        api_call_free(c);
    }
}

static void only_who_may(void **state)
{
    struct fx *f = *state;
    struct str devs = STR("devs"), ops = STR("ops");
    struct api_user_extra scope[] = {{STR("scopes"), STR("view")}, {STR("scopes"), STR("edit")}};
    const struct {
        struct impersonation im;
        const char *text; /* NULL: allowed */
        const char *kind;
    } rows[] = {
        {{.user = STR("bob"), .groups = &devs, .n_groups = 1, .extra = scope, .n_extra = 1},
         NULL,
         NULL},
        {{.user = STR("joe")},
         "users \"joe\" is forbidden: User \"ann\" cannot impersonate resource \"users\" in API "
         "group \"\" at the cluster scope",
         "users"},
        {{.user = STR("bob"), .groups = &ops, .n_groups = 1},
         "groups \"ops\" is forbidden: User \"ann\" cannot impersonate resource \"groups\" in API "
         "group \"\" at the cluster scope",
         "groups"},
        {{.user = STR("bob"), .extra = scope, .n_extra = 2},
         "userextras.authentication.k8s.io \"edit\" is forbidden: User \"ann\" cannot impersonate "
         "resource \"userextras/scopes\" in API group \"authentication.k8s.io\" at the cluster "
         "scope",
         "userextras"},
        {{.user = STR("bob"), .uid = STR("7")},
         "uids.authentication.k8s.io \"7\" is forbidden: User \"ann\" cannot impersonate resource "
         "\"uids\" in API group \"authentication.k8s.io\" at the cluster scope",
         "uids"},
        {{.user = STR("system:serviceaccount:default:sa")},
         "serviceaccounts \"sa\" is forbidden: User \"ann\" cannot impersonate resource "
         "\"serviceaccounts\" in API group \"\" in the namespace \"default\"",
         "serviceaccounts"},
    };
    may_impersonate(f, "{apiGroups: [''], resources: [users], resourceNames: [bob], verbs: "
                       "[impersonate]}, {apiGroups: [''], resources: [groups], resourceNames: "
                       "[devs], verbs: [impersonate]}, {apiGroups: [authentication.k8s.io], "
                       "resources: [userextras/scopes], resourceNames: [view], verbs: "
                       "[impersonate]}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_call *c = who(f, "ann", &rows[i].im);
        if (rows[i].text) {
            assert_int_equal(c->reply.r, -EPERM);
            assert_string_equal(fx_z(f, c->reply.err.message), rows[i].text);
            assert_string_equal(fx_z(f, c->reply.details_kind), rows[i].kind);
            assert_null(c->impersonator);
        } else {
            assert_int_equal(c->reply.r, 0);
        }
        api_call_free(c);
    }
    /* not even to be nobody, without a user */
    const struct impersonation no_user[] = {
        {.groups = &devs, .n_groups = 1}, {.uid = STR("7")}, {.extra = scope, .n_extra = 1}};
    for (size_t i = 0; i < ARRAY_LEN(no_user); i++) {
        struct api_call *c = who(f, "ann", &no_user[i]);
        assert_int_equal(c->reply.err.reason, REASON_BAD_REQUEST);
        assert_true(str_search(c->reply.err.message, STR("without impersonating a user")) > 0);
        api_call_free(c);
    }
}

static void extra_is_told_by_key(void **state)
{
    struct fx *f = *state;
    struct api_user_extra extra[] = {
        {STR("a"), STR("1")}, {STR("b"), STR("2")}, {STR("a"), STR("3")}};
    struct impersonation im = {
        .user = STR("bob"), .uid = STR("u-1"), .extra = extra, .n_extra = ARRAY_LEN(extra)};
    may_impersonate(f, "{apiGroups: ['*'], resources: ['*'], verbs: [impersonate]}");
    struct api_call *c = who(f, "ann", &im);
    assert_int_equal(c->reply.r, 0);
    const struct api_user_info *u =
        &((const struct api_self_subject_review *)c->reply.message)->status.user_info;
    assert_str(u->uid, "u-1");
    assert_int_equal(u->n_extra, 2);
    assert_str(u->extra[0].key, "a");
    assert_int_equal(u->extra[0].value.n_items, 2);
    assert_str(u->extra[0].value.items[1], "3");
    assert_int_equal(u->extra[1].value.n_items, 1);
    api_call_free(c);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read),
        cmocka_unit_test(extra_keys_are_decoded),
        T(identities),
        T(only_who_may),
        T(extra_is_told_by_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
