/* Who may do what: RBAC, aggregation, escalation, the node authorizer, tokens, reviews. */
#include "api_test.h"

#include <fcntl.h>
#include <unistd.h>

#include "apiserver/internal.h"
#include "apiserver/auth/token.h"
#include "sys/fs.h"

/* Runs fn's calls as somebody else. */
static struct client *become(struct fx *f, const char *user, const char *group)
{
    struct client *before = f->c;
    struct str g = str_z(group);
    f->c = apiserver_client(f->api, str_z(user), &g, group ? 1 : 0, true);
    return before;
}

static void back(struct fx *f, struct client *before)
{
    client_free(f->c);
    f->c = before;
}

static void settle(struct fx *f)
{
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
}

static void rbac_decides(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_create(f, KIND_OF(ROLE_BINDING), "default",
                               "{metadata: {name: v}, roleRef: {kind: ClusterRole, name: view}, "
                               "subjects: [{kind: User, name: ann}, {kind: Group, name: devs}]}"),
                     0);
    settle(f);
    struct client *me = become(f, "ann", NULL);
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "x"), -ENOENT);
    assert_int_equal(fx_get(f, KIND_OF(POD), "kube-system", "x"), -EPERM);
    assert_string_equal(fx_z(f, f->text),
                        "pods \"x\" is forbidden: User \"ann\" cannot get resource \"pods\" in API "
                        "group \"\" in the namespace \"kube-system\"");
    assert_int_equal(fx_get(f, KIND_OF(SECRET), "default", "x"), -EPERM);
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", POD), -EPERM);
    struct client_request q = {.verb = CLIENT_LIST, .kind = KIND_OF(NODE)};
    assert_int_equal(fx_call(f, &q), -EPERM);
    assert_string_equal(fx_z(f, f->text), "nodes is forbidden: User \"ann\" cannot list resource "
                                          "\"nodes\" in API group \"\" at the cluster scope");
    back(f, me);
    me = become(f, "bob", "devs");
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "x"), -ENOENT);
    back(f, me);
    assert_int_equal(fx_delete(f, KIND_OF(ROLE_BINDING), "default", "v"), 0);
    settle(f);
    me = become(f, "bob", "devs");
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "x"), -EPERM);
    back(f, me);
    me = become(f, "root", "system:masters");
    assert_int_equal(fx_get(f, KIND_OF(SECRET), "default", "x"), -ENOENT);
    back(f, me);
}

static void roles_aggregate(void **state)
{
    struct fx *f = *state;
    assert_int_equal(
        fx_create(f, KIND_OF(CLUSTER_ROLE), "",
                  "{metadata: {name: more, labels: {rbac.authorization.k8s.io/aggregate-to-view: "
                  "'true'}}, rules: [{apiGroups: [x.io], resources: [things], verbs: [get]}]}"),
        0);
    settle(f);
    assert_int_equal(fx_get(f, KIND_OF(CLUSTER_ROLE), "", "view"), 0);
    const struct api_cluster_role *r = f->object->msg;
    bool found = false;
    for (uint32_t i = 0; i < r->n_rules; i++)
        found |= r->rules[i].n_resources && str_is(r->rules[i].resources[0], "things");
    assert_true(found);
    assert_int_equal(fx_get(f, KIND_OF(CLUSTER_ROLE), "", "admin"),
                     0); /* edit gathers view, admin gathers edit */
    r = f->object->msg;
    found = false;
    for (uint32_t i = 0; i < r->n_rules; i++)
        found |= r->rules[i].n_resources && str_is(r->rules[i].resources[0], "things");
    assert_true(found);
}

static void no_escalation(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_create(f, KIND_OF(ROLE_BINDING), "default",
                               "{metadata: {name: adm}, roleRef: {kind: ClusterRole, name: admin}, "
                               "subjects: [{kind: User, name: eve}]}"),
                     0);
    settle(f);
    struct client *me = become(f, "eve", NULL);
    assert_int_equal(
        fx_create(
            f, KIND_OF(ROLE), "default",
            "{metadata: {name: ok}, rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]}"),
        0);
    assert_int_equal(fx_create(f, KIND_OF(ROLE), "default",
                               "{metadata: {name: bad}, rules: [{apiGroups: [''], resources: "
                               "[nodes], verbs: [get]}]}"),
                     -EPERM);
    assert_int_equal(fx_create(f, KIND_OF(ROLE_BINDING), "default",
                               "{metadata: {name: bad}, roleRef: {kind: ClusterRole, name: "
                               "cluster-admin}, subjects: [{kind: User, name: eve}]}"),
                     -EPERM);
    assert_int_equal(fx_create(f, KIND_OF(ROLE_BINDING), "default",
                               "{metadata: {name: fine}, roleRef: {kind: ClusterRole, name: view}, "
                               "subjects: [{kind: User, name: joe}]}"),
                     0);
    back(f, me);
}

/* Who may write roles may not let one gather what he has not. */
static void gathering_needs_everything(void **state)
{
    struct fx *f = *state;
    static const char gathering[] = "{metadata: {name: grow}, aggregationRule: "
                                    "{clusterRoleSelectors: [{matchLabels: {a: b}}]}}";
    assert_ok(fx_create(f, KIND_OF(CLUSTER_ROLE), "",
                        "{metadata: {name: roles}, rules: [{apiGroups: "
                        "['rbac.authorization.k8s.io'], resources: ['*'], verbs: [get, create, "
                        "update]}]}"));
    assert_ok(fx_create(f, KIND_OF(CLUSTER_ROLE_BINDING), "",
                        "{metadata: {name: roles}, roleRef: {kind: ClusterRole, name: roles}, "
                        "subjects: [{kind: User, name: ann}]}"));
    settle(f);
    struct client *me = become(f, "ann", NULL);
    assert_int_equal(fx_create(f, KIND_OF(CLUSTER_ROLE), "", gathering), -EPERM);
    assert_str(f->text, "clusterroles.rbac.authorization.k8s.io \"grow\" is forbidden: must have "
                        "cluster-admin privileges to use the aggregationRule");
    assert_ok(fx_create(f, KIND_OF(CLUSTER_ROLE), "", "{metadata: {name: grow}}"));
    back(f, me);
    me = become(f, "root", "system:masters");
    assert_ok(fx_delete(f, KIND_OF(CLUSTER_ROLE), "", "grow"));
    assert_ok(fx_create(f, KIND_OF(CLUSTER_ROLE), "", gathering));
    back(f, me);
    me = become(f, "ann", NULL);
    assert_ok(fx_get(f, KIND_OF(CLUSTER_ROLE), "", "grow"));
    struct api_cluster_role *r = fx_edit(f);
    r->aggregation_rule = NULL;
    assert_int_equal(fx_update(f, KIND_OF(CLUSTER_ROLE), r, NULL), -EPERM);
    back(f, me);
    /* the administrator by his role, not by his group */
    assert_ok(fx_create(f, KIND_OF(CLUSTER_ROLE_BINDING), "",
                        "{metadata: {name: boss}, roleRef: {kind: ClusterRole, name: "
                        "cluster-admin}, subjects: [{kind: User, name: bob}]}"));
    settle(f);
    me = become(f, "bob", NULL);
    assert_ok(fx_get(f, KIND_OF(CLUSTER_ROLE), "", "grow"));
    r = fx_edit(f);
    r->aggregation_rule = NULL;
    assert_ok(fx_update(f, KIND_OF(CLUSTER_ROLE), r, NULL));
    back(f, me);
}

/* At the next start what was taken from the defaults is there again, and what was added still. */
static void defaults_are_mended(void **state)
{
    struct fx *f = *state;
    struct error err = {0};
    assert_ok(fx_get(f, KIND_OF(CLUSTER_ROLE_BINDING), "", "system:discovery"));
    struct api_cluster_role_binding *b = fx_edit(f);
    b->subjects[0] = (struct api_subject){
        .kind = STR("User"), .api_group = STR("rbac.authorization.k8s.io"), .name = STR("ann")};
    assert_ok(fx_update(f, KIND_OF(CLUSTER_ROLE_BINDING), b, NULL));
    assert_ok(fx_patch(f, KIND_OF(CLUSTER_ROLE), "", "system:basic-user", NULL, CLIENT_PATCH_MERGE,
                       "{\"metadata\":{\"labels\":{\"mine\":\"yes\"}},\"rules\":[]}"));
    assert_ok(fx_patch(f, KIND_OF(CLUSTER_ROLE), "", "system:monitoring", NULL, CLIENT_PATCH_MERGE,
                       "{\"metadata\":{\"annotations\":{\"rbac.authorization.kubernetes.io/"
                       "autoupdate\":\"false\"}},\"rules\":[]}"));
    client_free(f->c);
    f->done = false;
    apiserver_stop(f->api, 1000, fx_set_done, f);
    fx_wait(f);
    apiserver_free(f->api);
    assert_ok(apiserver_new(f->rt, f->store, &(struct apiserver_opts){0}, &f->api, &err));
    assert_true(rt_run_until(f->rt, fx_is_ready, f, 10 * NSEC_PER_SEC));
    f->c = apiserver_client(f->api, STR("tester"), NULL, 0, false);
    assert_ok(fx_get(f, KIND_OF(CLUSTER_ROLE_BINDING), "", "system:discovery"));
    const struct api_cluster_role_binding *now = f->object->msg;
    assert_int_equal(now->n_subjects, 2);
    assert_str(now->subjects[0].name, "system:authenticated");
    assert_str(now->subjects[1].name, "ann");
    assert_ok(fx_get(f, KIND_OF(CLUSTER_ROLE), "", "system:basic-user"));
    const struct api_cluster_role *r = f->object->msg;
    assert_true(r->n_rules > 0);
    assert_int_equal(r->metadata.n_labels, 2);
    assert_ok(fx_get(f, KIND_OF(CLUSTER_ROLE), "", "system:monitoring"));
    assert_int_equal(OBJECT_MSG(f->object, api_cluster_role)->n_rules, 0);
    error_fini(&err);
}

static void nodes_are_restricted(void **state)
{
    struct fx *f = *state;
    static const char pod[] = "{metadata: {name: %s}, spec: {nodeName: %s, containers: [{name: c, "
                              "image: i, envFrom: [{secretRef: {name: s1}}]}]}}";
    char yaml[300];
    assert_int_equal(fx_create(f, KIND_OF(SECRET), "default", "{metadata: {name: s1}}"), 0);
    assert_int_equal(fx_create(f, KIND_OF(SECRET), "default", "{metadata: {name: s2}}"), 0);
    snprintf(yaml, sizeof(yaml), pod, "mine", "n1");
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", yaml), 0);
    snprintf(yaml, sizeof(yaml), pod, "other", "n2");
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", yaml), 0);
    struct client *me = become(f, "system:node:n1", "system:nodes");
    assert_int_equal(fx_create(f, KIND_OF(NODE), "", "{metadata: {name: n1}}"), 0);
    assert_int_equal(fx_create(f, KIND_OF(NODE), "", "{metadata: {name: n2}}"), -EPERM);
    assert_int_equal(fx_get(f, KIND_OF(SECRET), "default", "s1"), 0);
    assert_int_equal(fx_get(f, KIND_OF(SECRET), "default", "s2"), -EPERM);
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "mine"), 0);
    struct api_pod *p = fx_edit(f);
    p->status.phase = STR("Running");
    assert_int_equal(fx_update(f, KIND_OF(POD), p, "status"), 0);
    assert_int_equal(fx_update(f, KIND_OF(POD), p, NULL), -EPERM);
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "other"), -EPERM);
    assert_int_equal(fx_delete(f, KIND_OF(POD), "default", "other"), -EPERM);
    struct client_request q = {.verb = CLIENT_LIST, .kind = KIND_OF(POD)};
    assert_int_equal(fx_call(f, &q), -EPERM);
    q.field_selector = STR("spec.nodeName=n1");
    assert_int_equal(fx_call(f, &q), 0);
    assert_string_equal(fx_z(f, f->names), "mine");
    /* All pods, once there are policies to enforce; but no single one of another node. */
    struct client_request policies = {.verb = CLIENT_LIST, .kind = KIND_OF(NETWORK_POLICY)};
    assert_int_equal(fx_call(f, &policies), 0);
    assert_int_equal(fx_create(f, KIND_OF(NETWORK_POLICY), "default", "{metadata: {name: p}}"),
                     -EPERM);
    back(f, me);
    assert_int_equal(fx_create(f, KIND_OF(NETWORK_POLICY), "default", "{metadata: {name: p}}"), 0);
    me = become(f, "system:node:n1", "system:nodes");
    q.field_selector = STR("status.phase!=Failed");
    assert_int_equal(fx_call(f, &q), 0);
    assert_string_equal(fx_z(f, f->names), "mine,other");
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "other"), -EPERM);
    assert_int_equal(fx_create(f, KIND_OF(LEASE), "kube-node-lease", "{metadata: {name: n1}}"), 0);
    assert_int_equal(fx_create(f, KIND_OF(LEASE), "kube-node-lease", "{metadata: {name: n2}}"),
                     -EPERM);
    assert_int_equal(fx_get(f, KIND_OF(NODE), "", "n1"), 0);
    struct api_node *n = fx_edit(f);
    n->spec.taints = ARENA_NEW(&f->arena, struct api_taint);
    n->spec.taints[0] = (struct api_taint){.key = STR("a"), .effect = STR("NoSchedule")};
    n->spec.n_taints = 1;
    assert_int_equal(fx_update(f, KIND_OF(NODE), n, NULL), -EPERM);
    back(f, me);
}

static void reviews_answer(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_create(f, KIND_OF(SUBJECT_ACCESS_REVIEW), "",
                               "{spec: {user: ann, resourceAttributes: {verb: get, resource: pods, "
                               "namespace: default}}}"),
                     0);
    assert_false(((const struct api_subject_access_review *)f->message)->status.allowed);
    assert_int_equal(fx_create(f, KIND_OF(SUBJECT_ACCESS_REVIEW), "",
                               "{spec: {user: ann, groups: ['system:masters'], resourceAttributes: "
                               "{verb: get, resource: pods, namespace: default}}}"),
                     0);
    assert_true(((const struct api_subject_access_review *)f->message)->status.allowed);
    assert_int_equal(fx_create(f, KIND_OF(SUBJECT_ACCESS_REVIEW), "", "{spec: {user: ann}}"),
                     -EBADMSG);
    struct client *me = become(f, "ann", "system:authenticated");
    assert_int_equal(fx_create(f, KIND_OF(SELF_SUBJECT_ACCESS_REVIEW), "",
                               "{spec: {nonResourceAttributes: {verb: get, path: /apis}}}"),
                     0);
    assert_true(((const struct api_self_subject_access_review *)f->message)->status.allowed);
    assert_int_equal(fx_create(f, KIND_OF(SELF_SUBJECT_REVIEW), "", "{}"), 0);
    assert_true(str_is(
        ((const struct api_self_subject_review *)f->message)->status.user_info.username, "ann"));
    assert_int_equal(
        fx_create(f, KIND_OF(SELF_SUBJECT_RULES_REVIEW), "", "{spec: {namespace: default}}"), 0);
    const struct api_self_subject_rules_review *r = f->message;
    assert_true(r->status.n_resource_rules >= 2 && r->status.n_non_resource_rules >= 1);
    back(f, me);
}

/* ---- tokens: need keys, so a server of their own ---- */

static int token_setup(void **state)
{
    struct fx *f = NEW(struct fx);
    char dir[] = "/tmp/davit-pki-XXXXXX";
    struct apiserver_opts o = {.pki_dir = dir};
    struct error err = {0};
    assert_non_null(mkdtemp(dir));
    f->rt = rt_sim_new(7, INT64_C(1767225600000000));
    assert_int_equal(store_open(f->rt, store_mem_new(NULL), NULL, &f->store, &err), 0);
    assert_int_equal(apiserver_new(f->rt, f->store, &o, &f->api, &err), 0);
    assert_true(rt_run_until(f->rt, fx_is_ready, f, 10 * NSEC_PER_SEC));
    f->c = apiserver_client(f->api, STR("tester"), NULL, 0, false);
    char *cmd = xasprintf("%s", dir);
    static const char *const files[] = {"ca.crt",
                                        "ca.key",
                                        "server.crt",
                                        "server.key",
                                        "node-client.crt",
                                        "node-client.key",
                                        "front-proxy-ca.crt",
                                        "front-proxy-ca.key",
                                        "front-proxy-client.crt",
                                        "front-proxy-client.key",
                                        "sa.key"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) { /* all read already */
        char path[200];
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
    free(cmd);
    error_fini(&err);
    *state = f;
    return 0;
}

static struct str token_for(struct fx *f, const char *yaml)
{
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = KIND_OF(SERVICE_ACCOUNT),
                               .ns = STR("default"),
                               .name = STR("bob"),
                               .subresource = STR("token"),
                               .body = fx_msg(f, &api_token_request_desc, yaml),
                               .body_desc = &api_token_request_desc,
                               .reply_desc = &api_token_request_desc};
    if (fx_call(f, &q) < 0)
        return STR_NONE;
    return arena_str(&f->arena, ((const struct api_token_request *)f->message)->status.token);
}

static bool authenticated(struct fx *f, struct str token)
{
    struct api_token_review r = {.spec.token = token};
    struct client_request q = {.verb = CLIENT_CREATE, .kind = KIND_OF(TOKEN_REVIEW), .body = &r};
    assert_int_equal(fx_call(f, &q), 0);
    const struct api_token_review *got = f->message;
    if (!got->status.authenticated)
        print_message("%.*s\n", STR_ARG(got->status.error));
    return got->status.authenticated;
}

static void tokens(void **state)
{
    struct fx *f = *state;
    struct token_claims claims;
    struct error err = {0};
    assert_int_equal(fx_create(f, KIND_OF(SERVICE_ACCOUNT), "default", "{metadata: {name: bob}}"),
                     0);
    assert_int_equal(fx_create(f, KIND_OF(POD), "default",
                               "{metadata: {name: p}, spec: {serviceAccountName: bob, containers: "
                               "[{name: c, image: i}]}}"),
                     0);
    struct str uid = arena_str(&f->arena, object_meta(f->object)->uid);
    struct str plain = token_for(f, "{}");
    assert_true(plain.n > 100);
    assert_true(authenticated(f, plain));
    struct str bound = token_for(
        f, arena_cstr(&f->arena, arena_printf(&f->arena,
                                              "{spec: {expirationSeconds: 600, boundObjectRef: "
                                              "{kind: Pod, apiVersion: v1, name: p, uid: '%.*s'}}}",
                                              STR_ARG(uid))));
    assert_true(authenticated(f, bound));
    assert_int_equal(
        token_for(f, "{spec: {boundObjectRef: {kind: Pod, apiVersion: v1, name: gone}}}").n, 0);
    assert_int_equal(token_for(f, "{spec: {expirationSeconds: 5}}").n, 0);
    assert_int_equal(f->code, 422);
    assert_false(
        authenticated(f, token_for(f, "{spec: {audiences: [vault]}}"))); /* for somebody else */
    /* forged: one character of the claims changed, and the signature of another key */
    char *bad = str_dup(plain);
    bad[plain.n / 2] = bad[plain.n / 2] == 'A' ? 'B' : 'A';
    assert_false(authenticated(f, str_z(bad)));
    free(bad);
    struct pkey *other = pkey_new_p256();
    assert_int_equal(token_verify(other, plain, rt_wall(f->rt) / 1000000, &f->arena, &claims, &err),
                     -EACCES);
    pkey_free(other);
    assert_false(authenticated(f, STR("a.b.c")));
    assert_false(authenticated(f, STR("....")));
    /* the pod goes, and with it what was bound to it */
    assert_int_equal(fx_delete(f, KIND_OF(POD), "default", "p"), 0);
    assert_false(authenticated(f, bound));
    assert_true(authenticated(f, plain));
    /* an account of the same name is another account */
    assert_int_equal(fx_delete(f, KIND_OF(SERVICE_ACCOUNT), "default", "bob"), 0);
    assert_int_equal(fx_create(f, KIND_OF(SERVICE_ACCOUNT), "default", "{metadata: {name: bob}}"),
                     0);
    assert_false(authenticated(f, plain));
    plain = token_for(f, "{spec: {expirationSeconds: 600}}");
    assert_true(authenticated(f, plain));
    rt_sim_run_for(f->rt, 601 * NSEC_PER_SEC);
    assert_false(authenticated(f, plain));
    error_fini(&err);
}

/* ---- tokens in Secrets ---- */

static struct str secret_token(struct fx *f, const char *account, const char *secret)
{
    struct error err = {0};
    struct str t;
    assert_ok(fx_get(f, KIND_OF(SERVICE_ACCOUNT), "default", account));
    assert_ok(
        apiserver_sign_token(f->api, object_meta(f->object), str_z(secret), &f->arena, &t, &err));
    return t;
}

static void put_token(struct fx *f, const char *secret, struct str token)
{
    assert_ok(fx_get(f, KIND_OF(SECRET), "default", secret));
    struct api_secret *s = fx_edit(f);
    s->data = ARENA_NEW(&f->arena, struct kv_str);
    s->data[0] = (struct kv_str){STR("token"), token};
    s->n_data = 1;
    assert_ok(fx_update(f, KIND_OF(SECRET), s, NULL));
}

static struct str label_of(struct fx *f, const char *secret, const char *label)
{
    assert_ok(fx_get(f, KIND_OF(SECRET), "default", secret));
    const struct api_object_meta *m = object_meta(f->object);
    const struct str *v = KV_GET(m, labels, str_z(label));
    return v ? arena_str(&f->arena, *v) : STR_NONE;
}

#define USED    "kubernetes.io/legacy-token-last-used"
#define INVALID "kubernetes.io/legacy-token-invalid-since"

static void secret_tokens(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, KIND_OF(SERVICE_ACCOUNT), "default", "{metadata: {name: bob}}"));
    assert_ok(fx_create(f, KIND_OF(SECRET), "default",
                        "{metadata: {name: s, annotations: {kubernetes.io/service-account.name: "
                        "bob}}, type: kubernetes.io/service-account-token}"));
    struct str t = secret_token(f, "bob", "s"), other = secret_token(f, "bob", "none");
    assert_false(authenticated(f, t)); /* signed, but not what the Secret holds: it is empty */
    put_token(f, "s", t);
    assert_true(authenticated(f, t));
    const struct api_token_review *r = f->message;
    assert_str(r->status.user.username, "system:serviceaccount:default:bob");
    assert_int_equal(r->status.user.n_groups, 3);
    assert_str(r->status.user.groups[2], "system:authenticated");
    assert_int_equal(r->status.n_audiences, 1);
    assert_false(authenticated(f, other));
    struct api_token_review elsewhere = {.spec.token = t};
    struct str vault = STR("vault");
    elsewhere.spec.audiences = &vault;
    elsewhere.spec.n_audiences = 1;
    struct client_request q = {
        .verb = CLIENT_CREATE, .kind = KIND_OF(TOKEN_REVIEW), .body = &elsewhere};
    assert_ok(fx_call(f, &q));
    assert_false(((const struct api_token_review *)f->message)->status.authenticated);
    /* years do it no harm */
    rt_sim_wall_jump(f->rt, INT64_C(3) * 365 * 86400 * 1000000);
    assert_true(authenticated(f, t));
    assert_ok(fx_patch(f, KIND_OF(SECRET), "default", "s", NULL, CLIENT_PATCH_MERGE,
                       "{\"metadata\":{\"finalizers\":[\"a.b/c\"]}}"));
    assert_ok(fx_delete(f, KIND_OF(SECRET), "default", "s"));
    assert_false(authenticated(f, t)); /* it is there still, but being deleted */
    assert_str(((const struct api_token_review *)f->message)->status.error,
               "invalid bearer token: Token has been invalidated");
    assert_ok(fx_patch(f, KIND_OF(SECRET), "default", "s", NULL, CLIENT_PATCH_MERGE,
                       "{\"metadata\":{\"finalizers\":null}}"));
    assert_ok(fx_create(f, KIND_OF(SECRET), "default", "{metadata: {name: s}}"));
    put_token(f, "s", t);
    assert_true(authenticated(f, t));
    /* an account of the same name is another account */
    assert_ok(fx_delete(f, KIND_OF(SERVICE_ACCOUNT), "default", "bob"));
    assert_false(authenticated(f, t));
    assert_ok(fx_create(f, KIND_OF(SERVICE_ACCOUNT), "default", "{metadata: {name: bob}}"));
    assert_false(authenticated(f, t));
    assert_str(((const struct api_token_review *)f->message)->status.error,
               "invalid bearer token: ServiceAccount UID does not match claim");
}

/* One write a day, however often it is used; and one label makes it void. */
static void secret_tokens_are_labelled(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, KIND_OF(SERVICE_ACCOUNT), "default", "{metadata: {name: bob}}"));
    assert_ok(fx_create(f, KIND_OF(SECRET), "default", "{metadata: {name: s}}"));
    struct str t = secret_token(f, "bob", "s");
    put_token(f, "s", t);
    assert_int_equal(label_of(f, "s", USED).n, 0);
    assert_true(authenticated(f, t));
    settle(f);
    assert_str(label_of(f, "s", USED), "2026-01-01");
    const struct api_object_meta *m = object_meta(f->object);
    bool ours = false;
    for (uint32_t i = 0; i < m->n_managed_fields; i++)
        ours |= str_is(m->managed_fields[i].manager, "kube-apiserver");
    assert_true(ours);
    rev_t rev = f->object->rev;
    assert_true(authenticated(f, t));
    settle(f);
    assert_str(label_of(f, "s", USED), "2026-01-01");
    assert_int_equal(f->object->rev, rev);
    rt_sim_wall_jump(f->rt, INT64_C(86400) * 1000000);
    for (int i = 0; i < 5; i++)
        assert_true(authenticated(f, t));
    settle(f);
    assert_str(label_of(f, "s", USED), "2026-01-02");
    /* a server whose clock is ahead wrote that */
    assert_ok(fx_patch(f, KIND_OF(SECRET), "default", "s", NULL, CLIENT_PATCH_MERGE,
                       "{\"metadata\":{\"labels\":{\"" USED "\":\"2026-01-03\"}}}"));
    assert_true(authenticated(f, t));
    settle(f);
    assert_str(label_of(f, "s", USED), "2026-01-03");
    assert_ok(fx_patch(f, KIND_OF(SECRET), "default", "s", NULL, CLIENT_PATCH_MERGE,
                       "{\"metadata\":{\"labels\":{\"" INVALID "\":\"2025-01-01\",\"" USED
                       "\":null}}}"));
    assert_false(authenticated(f, t));
    settle(f);
    assert_str(label_of(f, "s", USED), "2026-01-02");
    assert_ok(fx_patch(f, KIND_OF(SECRET), "default", "s", NULL, CLIENT_PATCH_MERGE,
                       "{\"metadata\":{\"labels\":{\"" INVALID "\":null}}}"));
    assert_true(authenticated(f, t));
}

/* Labels of use are written beside what else there is to do: a few at once, and for a while not at
 * all once one was refused. Tokens are good meanwhile. */
static void labels_are_bounded(void **state)
{
    struct fx *f = *state;
    struct str t[API_TOKEN_LABELS_MAX + 8];
    char name[16];
    unsigned n = 0;
    assert_ok(fx_create(f, KIND_OF(SERVICE_ACCOUNT), "default", "{metadata: {name: bob}}"));
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        snprintf(name, sizeof(name), "s%zu", i);
        assert_ok(fx_create(
            f, KIND_OF(SECRET), "default",
            arena_cstr(&f->arena, arena_printf(&f->arena, "{metadata: {name: %s}}", name))));
        t[i] = secret_token(f, "bob", name);
        put_token(f, name, t[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(t); i++) { /* in one turn */
        const struct api_token_review r = {.spec.token = t[i]};
        client_create(f->c, KIND_OF(TOKEN_REVIEW), &r, NULL, NULL);
    }
    settle(f);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        snprintf(name, sizeof(name), "s%zu", i);
        n += label_of(f, name, USED).n > 0;
    }
    assert_int_equal(n, API_TOKEN_LABELS_MAX);
    assert_ok(fx_create(f, KIND_OF(VALIDATING_ADMISSION_POLICY), "",
                        "{metadata: {name: deny}, spec: {matchConstraints: {resourceRules: "
                        "[{apiGroups: [''], apiVersions: [v1], operations: [UPDATE], resources: "
                        "[secrets]}]}, validations: [{expression: 'false'}]}}"));
    assert_ok(fx_create(f, KIND_OF(VALIDATING_ADMISSION_POLICY_BINDING), "",
                        "{metadata: {name: deny}, spec: {policyName: deny, validationActions: "
                        "[Deny]}}"));
    settle(f);
    snprintf(name, sizeof(name), "s%zu", ARRAY_LEN(t) - 1);
    assert_true(authenticated(f, t[ARRAY_LEN(t) - 1]));
    settle(f);
    assert_ok(fx_delete(f, KIND_OF(VALIDATING_ADMISSION_POLICY_BINDING), "", "deny"));
    settle(f);
    assert_true(authenticated(f, t[ARRAY_LEN(t) - 1]));
    settle(f);
    assert_int_equal(label_of(f, name, USED).n, 0);
    rt_sim_run_for(f->rt, API_TOKEN_LABELS_PAUSE_S * NSEC_PER_SEC);
    assert_true(authenticated(f, t[ARRAY_LEN(t) - 1]));
    settle(f);
    assert_str(label_of(f, name, USED), "2026-01-01");
}

/* Claims that do not fit together; nobody but us signs such a thing. */
static void secret_claims(void **state)
{
    static const struct {
        const char *claims, *why;
    } rows[] = {
        {"{}", "sub claim is missing"},
        {"{sub: 'system:serviceaccount:ns:a'}", "namespace claim is missing"},
        {"{sub: 'system:serviceaccount:ns:a', kubernetes.io/serviceaccount/namespace: ns}",
         "secretName claim is missing"},
        {"{sub: 'system:serviceaccount:ns:b', kubernetes.io/serviceaccount/namespace: ns, "
         "kubernetes.io/serviceaccount/secret.name: s, "
         "kubernetes.io/serviceaccount/service-account.name: a, "
         "kubernetes.io/serviceaccount/service-account.uid: u}",
         "sub claim is invalid"},
        {"{sub: 'a', kubernetes.io/serviceaccount/namespace: ns, "
         "kubernetes.io/serviceaccount/secret.name: s, "
         "kubernetes.io/serviceaccount/service-account.name: a, "
         "kubernetes.io/serviceaccount/service-account.uid: u}",
         "sub claim is invalid"},
        {"{sub: 'system:serviceaccount:ns:a', kubernetes.io/serviceaccount/namespace: ns, "
         "kubernetes.io/serviceaccount/secret.name: s, "
         "kubernetes.io/serviceaccount/service-account.name: a, "
         "kubernetes.io/serviceaccount/service-account.uid: u}",
         NULL},
    };
    struct arena a = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct token_claims t;
        struct json *v;
        struct error err = {0};
        assert_ok(yaml_parse(str_z(rows[i].claims), &a, &v, NULL));
        int r = token_secret_claims(v, STR("text"), &t, &err);
        assert_int_equal(r, rows[i].why ? -EACCES : 0);
        if (rows[i].why)
            assert_str(str_sub(err.message, sizeof("invalid bearer token: ") - 1, err.message.n),
                       rows[i].why);
        else
            assert_int_equal(t.expires_s, INT64_MAX);
        error_fini(&err);
    }
    arena_fini(&a);
}

static void pki_is_kept(void **state)
{
    char dir[] = "/tmp/davit-pki-XXXXXX";
    struct pki *a, *b;
    struct error err = {0};
    char path[200];
    int64_t now = time(NULL);
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(pki_open(dir, false, NULL, 0, now, &a, &err), 0);
    assert_int_equal(pki_open(dir, false, NULL, 0, now, &b, &err), 0);
    assert_string_equal(a->ca_pem, b->ca_pem);
    assert_string_equal(a->server_cert_pem, b->server_cert_pem);
    pki_free(b);
    /* new names, or close to the end: a new serving certificate from the same authority */
    static const char *const names[] = {"node-1", "10.1.2.3"};
    assert_int_equal(pki_open(dir, false, names, 2, now, &b, &err), 0);
    assert_string_equal(a->ca_pem, b->ca_pem);
    assert_string_not_equal(a->server_cert_pem, b->server_cert_pem);
    bool changed = false;
    assert_int_equal(pki_renew(b, names, 2, now + 340 * 86400, &changed, &err), 0);
    assert_true(changed);
    assert_int_equal(pki_renew(b, names, 2, now + 340 * 86400, &changed, &err), 0);
    assert_false(changed);
    pki_free(b);
    /* in its last two years the authority is certified anew: what either signed is good under both
     */
    int64_t late = now + (int64_t)(PKI_CA_DAYS - 700) * 86400;
    struct cert *first, *second, *leaf_first, *leaf_second;
    assert_int_equal(pki_open(dir, false, NULL, 0, now, &b, &err), 0);
    assert_string_equal(a->ca_pem, b->ca_pem);
    pki_free(b);
    assert_int_equal(pki_open(dir, false, NULL, 0, late, &b, &err), 0);
    assert_string_not_equal(a->ca_pem, b->ca_pem);
    assert_int_equal(cert_from_pem(str_z(a->ca_pem), NULL, &first), 0);
    assert_int_equal(cert_from_pem(str_z(b->ca_pem), NULL, &second), 0);
    assert_int_equal(cert_from_pem(str_z(a->server_cert_pem), NULL, &leaf_first), 0);
    assert_int_equal(cert_from_pem(str_z(b->server_cert_pem), NULL, &leaf_second), 0);
    assert_int_equal(cert_verify(leaf_first, second, now, NULL), 0);
    assert_int_equal(cert_verify(leaf_second, first, late, NULL), 0);
    assert_true(cert_facts(second)->not_after_s > cert_facts(first)->not_after_s);
    assert_memory_equal(cert_facts(first)->spki_sha256, cert_facts(second)->spki_sha256,
                        SHA256_BYTES); /* what join tokens name */
    cert_free(first);
    cert_free(second);
    cert_free(leaf_first);
    cert_free(leaf_second);
    pki_free(b);
    pki_free(a);
    /* a damaged authority is not replaced */
    snprintf(path, sizeof(path), "%s/ca.crt", dir);
    assert_int_equal(sys_put_file(AT_FDCWD, path, "garbage", 7, 0644), 0);
    assert_true(pki_open(dir, false, NULL, 0, now, &b, &err) < 0);
    assert_true(str_search(err.message, STR("ca.crt")) >= 0);
    error_fini(&err);
    static const char *const files[] = {"ca.crt",
                                        "ca.key",
                                        "server.crt",
                                        "server.key",
                                        "node-client.crt",
                                        "node-client.key",
                                        "front-proxy-ca.crt",
                                        "front-proxy-ca.key",
                                        "front-proxy-client.crt",
                                        "front-proxy-client.key",
                                        "sa.key"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
    const struct CMUnitTest tests[] = {
        T(rbac_decides),
        T(roles_aggregate),
        T(no_escalation),
        T(gathering_needs_everything),
        T(defaults_are_mended),
        T(nodes_are_restricted),
        T(reviews_answer),
        cmocka_unit_test_setup_teardown(tokens, token_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(secret_tokens, token_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(secret_tokens_are_labelled, token_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(labels_are_bounded, token_setup, fx_teardown),
        cmocka_unit_test(secret_claims),
        cmocka_unit_test(pki_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
