/* Service account tokens: issue, verify, and the check that what they are bound to is still there.
 * Claims as kube-apiserver writes them (KEP-1205), so that libraries that look into tokens find
 * what they expect. */
#include "apiserver/hooks/hooks.h"
#include "apiserver/auth/token.h"

#include "apiserver/internal.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "schema/schema.h"

/* ---- verify ---- */

int token_refuse(struct error *err, const char *why)
{
    (void)error_set(err, REASON_UNAUTHORIZED, "invalid bearer token: %s", why);
    return -EACCES;
}

static struct str member(const struct json *v, const char *name)
{
    return json_get_str(v, str_z(name));
}

static int parse_part(struct str text, struct arena *a, struct json **ret)
{
    struct str raw;
    static const struct json_limits limits = {.depth_max = 8, .values_max = 512};
    int r = base64url_parse(text, a, &raw);
    return r < 0 ? r : json_parse(raw, a, &limits, ret, NULL);
}

static int64_t number(const struct json *v, const char *name)
{
    const struct json *n = json_get(v, str_z(name));
    return json_is(n, JSON_INT) ? n->i : json_is(n, JSON_REAL) ? (int64_t)n->d : 0;
}

static int read_claims(const struct json *v, struct str token, int64_t now_s,
                       struct token_claims *t, struct error *err)
{
    const struct json *k = json_getz(v, "kubernetes.io"), *aud = json_getz(v, "aud");
    const struct json *sa = json_getz(k, "serviceaccount"), *pod = json_getz(k, "pod"),
                      *secret = json_getz(k, "secret");
    if (str_is(member(v, "iss"), TOKEN_SECRET_ISSUER))
        return token_secret_claims(v, token, t, err);
    if (!str_is(member(v, "iss"), TOKEN_ISSUER))
        return token_refuse(err, "it was issued by somebody else");
    t->expires_s = number(v, "exp");
    if (t->expires_s <= now_s)
        return token_refuse(err, "service account token has expired");
    if (number(v, "nbf") > now_s + 60) /* a minute for clocks that differ */
        return token_refuse(err, "it is not valid yet");
    t->user = member(v, "sub");
    t->bound.ns = member(k, "namespace");
    t->bound.sa_name = member(sa, "name");
    t->bound.sa_uid = member(sa, "uid");
    t->bound.pod_name = member(pod, "name");
    t->bound.pod_uid = member(pod, "uid");
    t->bound.secret_name = member(secret, "name");
    t->bound.secret_uid = member(secret, "uid");
    if (!t->bound.ns.n || !t->bound.sa_name.n || !t->bound.sa_uid.n)
        return token_refuse(err, "it names no service account");
    if (json_is(aud, JSON_STR)) {
        t->audiences[t->n_audiences++] = aud->s;
    } else if (json_is(aud, JSON_ARR)) {
        json_for_each(x, aud) if (x->type == JSON_STR && t->n_audiences < ARRAY_LEN(t->audiences))
            t->audiences[t->n_audiences++] = x->s;
    }
    return 0;
}

int token_verify(const struct pkey *key, struct str token, int64_t now_s, struct arena *a,
                 struct token_claims *ret, struct error *err)
{
    struct str head, body, rest = token, sig;
    struct json *h, *v;
    struct token_claims t = {0};
    if (token.n > API_TOKEN_BYTES_MAX)
        return token_refuse(err, "it is too long");
    if (!str_cut(&rest, '.', &head) || !str_cut(&rest, '.', &body) || str_find(rest, '.') >= 0)
        return token_refuse(err, "it is no JWT");
    struct str data = str_sub(token, 0, head.n + 1 + body.n);
    if (parse_part(head, a, &h) < 0 || base64url_parse(rest, a, &sig) < 0)
        return token_refuse(err, "it is no JWT");
    if (jws_verify(key, member(h, "alg"), data, sig) < 0)
        return token_refuse(err, "its signature does not verify");
    if (parse_part(body, a, &v) < 0)
        return token_refuse(err, "its claims cannot be read");
    int r = read_claims(v, token, now_s, &t, err);
    if (r >= 0)
        *ret = t;
    return r;
}

bool token_has_audience(const struct token_claims *t, const struct str *audiences, size_t n)
{
    for (size_t i = 0; i < t->n_audiences; i++)
        for (size_t k = 0; k < n; k++)
            if (str_eq(t->audiences[i], audiences[k]))
                return true;
    return false;
}

void token_user(const struct token_claims *t, struct arena *a, struct api_user *ret)
{
    struct api_user u = {.name = arena_str(a, t->user), .uid = arena_str(a, t->bound.sa_uid)};
    u.groups = ARENA_NEW_N(a, struct str, 3);
    u.groups[u.n_groups++] = STR("system:serviceaccounts");
    u.groups[u.n_groups++] = arena_printf(a, "system:serviceaccounts:%.*s", STR_ARG(t->bound.ns));
    u.groups[u.n_groups++] = STR("system:authenticated");
    u.token = ARENA_NEW(a, struct api_token_bound);
    const struct api_token_bound *b = &t->bound;
    *u.token = (struct api_token_bound){
        .ns = arena_str(a, b->ns),
        .sa_name = arena_str(a, b->sa_name),
        .sa_uid = arena_str(a, b->sa_uid),
        .pod_name = b->pod_name.n ? arena_str(a, b->pod_name) : STR_NONE,
        .pod_uid = b->pod_uid.n ? arena_str(a, b->pod_uid) : STR_NONE,
        .secret_name = b->secret_name.n ? arena_str(a, b->secret_name) : STR_NONE,
        .secret_uid = b->secret_uid.n ? arena_str(a, b->secret_uid) : STR_NONE,
        .text = b->text.n ? arena_str(a, b->text) : STR_NONE};
    if (b->pod_name.n) {
        u.extra = ARENA_NEW_N(a, struct api_user_extra, 2);
        u.extra[u.n_extra++] = (struct api_user_extra){STR("authentication.kubernetes.io/pod-name"),
                                                       u.token->pod_name};
        u.extra[u.n_extra++] =
            (struct api_user_extra){STR("authentication.kubernetes.io/pod-uid"), u.token->pod_uid};
    }
    *ret = u;
}

/* ---- still there? (core thread) ---- */

static bool there(struct apiserver *s, const struct schema_kind *k, struct str ns, struct str name,
                  struct str uid)
{
    struct object *o = store_get(s->store, k, ns, name);
    return o && str_eq(object_meta(o)->uid, uid);
}

int token_bound_check(struct apiserver *s, const struct api_token_bound *b,
                      struct api_call *user_of, struct error *err)
{
    if (b->text.n)
        return token_secret_check(s, b, user_of, err);
    if (!there(s, KIND(SERVICE_ACCOUNT), b->ns, b->sa_name, b->sa_uid))
        return token_refuse(err, "service account token has been invalidated");
    if (b->pod_name.n && !there(s, KIND(POD), b->ns, b->pod_name, b->pod_uid))
        return token_refuse(err, "service account token has been invalidated: its pod is gone");
    if (b->secret_name.n && !there(s, KIND(SECRET), b->ns, b->secret_name, b->secret_uid))
        return token_refuse(err, "service account token has been invalidated: its secret is gone");
    return 0;
}

/* ---- issue ---- */

static void part(struct buf *out, struct str json)
{
    base64url_print(json, out);
}

int token_sign(const struct pkey *key, const struct json *claims, struct arena *a, struct str *ret,
               struct error *err)
{
    struct buf text = {0}, out = {0}, sig = {0};
    buf_printf(&text, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", jws_alg(key));
    part(&out, buf_str(&text));
    buf_add_char(&out, '.');
    buf_clear(&text);
    json_print(claims, &text);
    part(&out, buf_str(&text));
    int r = jws_sign(key, buf_str(&out), &sig, err);
    if (r >= 0) {
        buf_add_char(&out, '.');
        part(&out, buf_str(&sig));
        *ret = arena_str(a, buf_str(&out));
    }
    buf_fini(&text);
    buf_fini(&out);
    buf_fini(&sig);
    return r;
}

static struct json *named(struct arena *a, struct str name, struct str uid)
{
    struct json *o = json_new_obj(a);
    json_set(o, STR("name"), json_new_str(a, name));
    json_set(o, STR("uid"), json_new_str(a, uid));
    return o;
}

static int make_token(struct api_call *c, const struct api_object_meta *sa,
                      const struct api_token_request_spec *spec, struct str bound_kind,
                      struct str bound_name, struct str bound_uid, int64_t now_s, int64_t exp_s,
                      struct str *ret)
{
    struct arena *a = &c->arena;
    const struct pkey *key = c->server->pki->sa_key;
    struct json *v = json_new_obj(a), *aud = json_new_arr(a), *k = json_new_obj(a);
    struct str jti;
    make_uid(c->server->rt, a, &jti);
    for (uint32_t i = 0; i < spec->n_audiences; i++)
        json_push(aud, json_new_str(a, spec->audiences[i]));
    if (!spec->n_audiences)
        json_push(aud, json_new_str(a, STR(TOKEN_ISSUER)));
    json_set(v, STR("aud"), aud);
    json_set(v, STR("exp"), json_new_int(a, exp_s));
    json_set(v, STR("iat"), json_new_int(a, now_s));
    json_set(v, STR("iss"), json_new_str(a, STR(TOKEN_ISSUER)));
    json_set(v, STR("jti"), json_new_str(a, jti));
    json_set(k, STR("namespace"), json_new_str(a, sa->namespace));
    if (bound_kind.n)
        json_set(k, str_is(bound_kind, "Pod") ? STR("pod") : STR("secret"),
                 named(a, bound_name, bound_uid));
    json_set(k, STR("serviceaccount"), named(a, sa->name, sa->uid));
    json_set(v, STR("kubernetes.io"), k);
    json_set(v, STR("nbf"), json_new_int(a, now_s));
    json_set(v, STR("sub"),
             json_new_str(a, arena_printf(a, "system:serviceaccount:%.*s:%.*s",
                                          STR_ARG(sa->namespace), STR_ARG(sa->name))));
    return token_sign(key, v, a, ret, &c->reply.err);
}

static int check_bound(struct api_call *c, const struct api_bound_object_reference *b,
                       const struct api_object_meta *sa, struct str *ret_uid)
{
    const struct schema_kind *k = str_is(b->kind, "Pod")      ? KIND(POD)
                                  : str_is(b->kind, "Secret") ? KIND(SECRET)
                                                              : NULL;
    if (!k)
        return call_error(c, REASON_BAD_REQUEST, "cannot bind token to object of type %.*s",
                          STR_ARG(b->kind));
    struct object *o = store_get(c->server->store, k, sa->namespace, b->name);
    if (!o)
        return call_not_found(c, k, b->name);
    if (b->uid.n && !str_eq(b->uid, object_meta(o)->uid))
        return call_conflict(c, b->name,
                             "the UID in the bound object reference (%.*s) does not match the UID "
                             "in record. The object might have been deleted and then recreated",
                             STR_ARG(b->uid));
    if (k == KIND(POD) && !str_eq(OBJECT_MSG(o, api_pod)->spec.service_account_name, sa->name))
        return call_error(c, REASON_BAD_REQUEST,
                          "cannot bind token for serviceaccount \"%.*s\" to pod running with "
                          "different serviceaccount name.",
                          STR_ARG(sa->name));
    *ret_uid = object_meta(o)->uid;
    return 0;
}

int sub_token(struct api_call *c)
{
    struct str bound_uid = STR_NONE, node;
    struct api_token_request *t = c->body;
    if (!c->server->pki)
        return call_error(c, REASON_UNAVAILABLE, "this server has no signing key");
    if (!t || c->body_desc != &api_token_request_desc)
        return call_error(c, REASON_BAD_REQUEST,
                          "a TokenRequest is expected in the request's body");
    struct object *o = store_get(c->server->store, c->kind, c->ns, c->name);
    if (!o)
        return call_not_found(c, c->kind, c->name);
    int r = hooks_sub(c, ADMIT_CREATE, &api_token_request_desc, t, NULL, NULL);
    if (r)
        return r;
    schema_default(&api_token_request_desc, t, &c->arena);
    if (schema_validate(&api_token_request_desc, t, NULL, &c->reply.err) < 0) {
        c->reply.details_kind = STR("TokenRequest");
        c->reply.details_group = STR("authentication.k8s.io");
        return error_invalid(&c->reply.err, STR("TokenRequest.authentication.k8s.io"), c->name);
    }
    const struct api_bound_object_reference *b = t->spec.bound_object_ref;
    r = b ? check_bound(c, b, object_meta(o), &bound_uid) : 0;
    if (r < 0)
        return r;
    if (!c->user.trusted && authz_node_is(&c->user, &node)) { /* NodeRestriction */
        struct object *p = b && str_is(b->kind, "Pod")
                               ? store_get(c->server->store, KIND(POD), c->ns, b->name)
                               : NULL;
        if (!p || !b->uid.n)
            return call_forbidden(c, c->name, "node requested token not bound to a pod");
        if (!str_eq(OBJECT_MSG(p, api_pod)->spec.node_name, node))
            return call_forbidden(
                c, c->name, "node requested token bound to a pod scheduled on a different node");
    }
    int64_t now_s = rt_wall(c->server->rt) / 1000000;
    int64_t seconds =
        CLAMP(t->spec.expiration_seconds, (int64_t)TOKEN_SECONDS_MIN, (int64_t)TOKEN_SECONDS_MAX);
    r = make_token(c, object_meta(o), &t->spec, b ? b->kind : STR_NONE, b ? b->name : STR_NONE,
                   bound_uid, now_s, now_s + seconds, &t->status.token);
    if (r < 0)
        return r;
    t->status.expiration_timestamp = timestamp_seconds((now_s + seconds) * 1000000);
    t->spec.expiration_seconds = seconds;
    if (!t->spec.n_audiences) {
        t->spec.audiences = ARENA_NEW(&c->arena, struct str);
        t->spec.audiences[0] = STR(TOKEN_ISSUER);
        t->spec.n_audiences = 1;
    }
    t->metadata.name = c->name;
    t->metadata.namespace = c->ns;
    t->metadata.creation_timestamp = timestamp_seconds(now_s * 1000000);
    return call_message(c, &api_token_request_desc, t, 201);
}
