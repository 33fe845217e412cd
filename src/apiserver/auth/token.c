/* Service account tokens: issue, verify, and the check that what they are bound to is still there.
 * Claims as kube-apiserver writes them (KEP-1205), so that libraries that look into tokens find
 * what they expect. */
#include "apiserver/hooks/hooks.h"
#include "apiserver/auth/token.h"

#include "api/check.h"
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
                      *secret = json_getz(k, "secret"), *node = json_getz(k, "node");
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
    t->bound.node_name = member(node, "name");
    t->bound.node_uid = member(node, "uid");
    t->id = member(v, "jti");
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

static struct str keep(struct arena *a, struct str s)
{
    return s.n ? arena_str(a, s) : STR_NONE;
}

/* What is told of the token itself (KEP-4193). */
static void add_extra(struct api_user *u, const char *key, struct str value)
{
    if (value.n)
        u->extra[u->n_extra++] = (struct api_user_extra){str_z(key), value};
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
    *u.token = (struct api_token_bound){.ns = arena_str(a, b->ns),
                                        .sa_name = arena_str(a, b->sa_name),
                                        .sa_uid = arena_str(a, b->sa_uid),
                                        .pod_name = keep(a, b->pod_name),
                                        .pod_uid = keep(a, b->pod_uid),
                                        .secret_name = keep(a, b->secret_name),
                                        .secret_uid = keep(a, b->secret_uid),
                                        .node_name = keep(a, b->node_name),
                                        .node_uid = keep(a, b->node_uid),
                                        .text = keep(a, b->text)};
    u.extra = ARENA_NEW_N(a, struct api_user_extra, 5);
    add_extra(&u, CREDENTIAL_ID, t->id.n ? arena_printf(a, "JTI=%.*s", STR_ARG(t->id)) : STR_NONE);
    add_extra(&u, "authentication.kubernetes.io/node-name", u.token->node_name);
    add_extra(&u, "authentication.kubernetes.io/node-uid", u.token->node_uid);
    add_extra(&u, "authentication.kubernetes.io/pod-name", u.token->pod_name);
    add_extra(&u, "authentication.kubernetes.io/pod-uid", u.token->pod_uid);
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
    if (b->node_name.n && !b->pod_name.n &&
        !there(s, KIND(NODE), STR_NONE, b->node_name, b->node_uid))
        return token_refuse(err, "service account token has been invalidated: its node is gone");
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

static void put_named(struct arena *a, struct json *k, const char *what, struct str name,
                      struct str uid)
{
    struct json *o;
    if (!name.n)
        return;
    o = json_new_obj(a);
    json_set(o, STR("name"), json_new_str(a, name));
    if (uid.n)
        json_set(o, STR("uid"), json_new_str(a, uid));
    json_set(k, str_z(what), o);
}

static int make_token(struct api_call *c, const struct api_object_meta *sa,
                      const struct api_token_request_spec *spec, const struct api_token_bound *b,
                      int64_t now_s, int64_t exp_s, struct str *ret)
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
    put_named(a, k, "node", b->node_name, b->node_uid);
    put_named(a, k, "pod", b->pod_name, b->pod_uid);
    put_named(a, k, "secret", b->secret_name, b->secret_uid);
    put_named(a, k, "serviceaccount", sa->name, sa->uid);
    json_set(v, STR("kubernetes.io"), k);
    json_set(v, STR("nbf"), json_new_int(a, now_s));
    json_set(v, STR("sub"),
             json_new_str(a, arena_printf(a, "system:serviceaccount:%.*s:%.*s",
                                          STR_ARG(sa->namespace), STR_ARG(sa->name))));
    return token_sign(key, v, a, ret, &c->reply.err);
}

/* The kinds a token can be bound to; NULL: not to this. */
static const struct schema_kind *bound_kind(const struct api_bound_object_reference *b)
{
    struct str group = STR_NONE, version = STR_NONE;
    (void)!schema_split_api_version(b->api_version, &group, &version);
    return group.n                     ? NULL
           : str_is(b->kind, "Pod")    ? KIND(POD)
           : str_is(b->kind, "Node")   ? KIND(NODE)
           : str_is(b->kind, "Secret") ? KIND(SECRET)
                                       : NULL;
}

/* As Go prints a group, version and kind. */
static int refuse_kind(struct api_call *c, const struct api_bound_object_reference *b)
{
    bool group = str_find(b->api_version, '/') >= 0;
    return call_error(c, REASON_BAD_REQUEST,
                      "cannot bind token to object of type %s%.*s, Kind=%.*s", group ? "" : "/",
                      STR_ARG(b->api_version), STR_ARG(b->kind));
}

/* A token of a pod tells where it was started as well. */
static void bind_to_pod(struct api_call *c, const struct object *o, struct api_token_bound *ret)
{
    struct str node = OBJECT_MSG(o, api_pod)->spec.node_name;
    struct object *n = node.n ? store_get(c->server->store, KIND(NODE), STR_NONE, node) : NULL;
    ret->pod_name = object_meta(o)->name;
    ret->pod_uid = object_meta(o)->uid;
    ret->node_name = node;
    ret->node_uid = n ? object_meta(n)->uid : STR_NONE;
}

static int check_bound(struct api_call *c, const struct api_bound_object_reference *b,
                       const struct api_object_meta *sa, struct api_token_bound *ret)
{
    const struct schema_kind *k = bound_kind(b);
    if (!k)
        return refuse_kind(c, b);
    struct object *o =
        store_get(c->server->store, k, k->namespaced ? sa->namespace : STR_NONE, b->name);
    if (!o)
        return call_not_found(c, k, b->name);
    if (b->uid.n && !str_eq(b->uid, object_meta(o)->uid))
        return call_error(c, REASON_CONFLICT,
                          "Operation cannot be fulfilled on %.*s \"%.*s\": the UID in the bound "
                          "object reference (%.*s) does not match the UID in record. The object "
                          "might have been deleted and then recreated",
                          STR_ARG(b->kind), STR_ARG(b->name), STR_ARG(b->uid));
    if (k == KIND(POD) && !str_eq(OBJECT_MSG(o, api_pod)->spec.service_account_name, sa->name))
        return call_error(c, REASON_BAD_REQUEST,
                          "cannot bind token for serviceaccount \"%.*s\" to pod running with "
                          "different serviceaccount name.",
                          STR_ARG(sa->name));
    if (k == KIND(POD)) {
        bind_to_pod(c, o, ret);
    } else if (k == KIND(NODE)) {
        ret->node_name = b->name;
        ret->node_uid = object_meta(o)->uid;
    } else {
        ret->secret_name = b->name;
        ret->secret_uid = object_meta(o)->uid;
    }
    return 0;
}

/* What the request may say; its causes are those of a TokenRequest. */
static int check_request(struct api_call *c, struct api_token_request *t)
{
    struct error *err = &c->reply.err;
    int64_t life = t->spec.expiration_seconds;
    if (t->metadata.namespace.n && !str_eq(t->metadata.namespace, c->ns))
        return call_error(c, REASON_BAD_REQUEST,
                          "the namespace of the provided object does not match the namespace sent "
                          "on the request");
    if (t->metadata.name.n && !str_eq(t->metadata.name, c->name))
        check_invalid(err, STR("metadata.name"), t->metadata.name,
                      "must match the service account name if specified");
    if (life < TOKEN_SECONDS_MIN)
        check_invalid_int(err, STR("spec.expirationSeconds"), life,
                          "may not specify a duration less than 10 minutes");
    if (life > INT64_C(1) << 32)
        check_invalid_int(err, STR("spec.expirationSeconds"), life,
                          "may not specify a duration larger than 2^32 seconds");
    (void)!schema_validate(&api_token_request_desc, t, NULL, err);
    if (!err->n_causes)
        return 0;
    c->reply.details_kind = STR("TokenRequest");
    c->reply.details_group = STR("authentication.k8s.io");
    return error_invalid(err, STR("TokenRequest.authentication.k8s.io"), c->name);
}

int sub_token(struct api_call *c)
{
    struct api_token_bound bound = {0};
    struct str node;
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
    r = check_request(c, t);
    if (r < 0)
        return r;
    const struct api_bound_object_reference *b = t->spec.bound_object_ref;
    r = b ? check_bound(c, b, object_meta(o), &bound) : 0;
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
    int64_t seconds = MIN(t->spec.expiration_seconds, (int64_t)TOKEN_SECONDS_MAX);
    if (seconds < t->spec.expiration_seconds)
        api_call_warn(c, "requested expiration of %lld seconds shortened to %lld seconds",
                      (long long)t->spec.expiration_seconds, (long long)seconds);
    r = make_token(c, object_meta(o), &t->spec, &bound, now_s, now_s + seconds, &t->status.token);
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
