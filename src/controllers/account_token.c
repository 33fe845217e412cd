/* Secrets of type kubernetes.io/service-account-token: a user makes one with nothing in it but the
 * name of a service account, and it is given the account's token, the cluster's authority and its
 * own namespace. What is taken out is put in again; a Secret whose account does not exist, or is
 * another one of the same name, is deleted. Kubernetes: pkg/controller/serviceaccount,
 * tokens_controller.go.
 *
 * A user may make account and Secret in one go, and the cache of accounts may be the later one. So
 * an account that is not in the cache is looked for in the store before anything is deleted. */
#include "controllers/registry.h"

#include "api/config.h"
#include "base/buf.h"

static struct str account_of(const struct object *o)
{
    return meta_annotation(object_meta(o), STR(SECRET_ACCOUNT_NAME));
}

static bool is_token(const struct object *o)
{
    return str_is(OBJECT_MSG(o, api_secret)->type, SECRET_TYPE_ACCOUNT_TOKEN);
}

/* ---- indexes: Secrets by the account they name, accounts by the Secrets they list ---- */

struct indexes {
    int by_account, by_listed;
};

static void emit_in(const struct object *o, struct str name, client_cache_emit_fn emit, void *ctx)
{
    struct buf b = {0};
    buf_printf(&b, "%.*s/%.*s", STR_ARG(object_ns(o)), STR_ARG(name));
    emit(ctx, buf_str(&b));
    buf_fini(&b);
}

static void index_secret(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    if (is_token(o))
        emit_in(o, account_of(o), emit, ctx);
}

static void index_account(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    const struct api_service_account *sa = OBJECT_MSG(o, api_service_account);
    for (uint32_t i = 0; i < sa->n_secrets; i++)
        emit_in(o, sa->secrets[i].name, emit, ctx);
}

static void init(struct controller *c)
{
    struct indexes *ix = NEW(struct indexes);
    ix->by_account = controller_index(c, KIND_SECRET, index_secret);
    ix->by_listed = controller_index(c, KIND_SERVICE_ACCOUNT, index_account);
    controller_set_state(c, ix);
}

/* ---- keys: Secrets ---- */

static void map_secret(struct controller *c, struct object *old, struct object *new)
{
    struct object *o = new ? new : old;
    if (is_token(o))
        controller_add_object(c, o);
}

static void map_account(struct controller *c, struct object *old, struct object *new)
{
    const struct indexes *ix = controller_state(c);
    const struct object *o = new ? new : old;
    struct client_cache_iter it;
    struct buf key = {0};
    if (old && new &&str_eq(object_meta(old)->uid, object_meta(new)->uid))
        return;
    buf_printf(&key, "%.*s/%.*s", STR_ARG(object_ns(o)), STR_ARG(object_name(o)));
    client_cache_iter_init_index(&it, controller_cache(c, KIND_SECRET), ix->by_account,
                                 buf_str(&key));
    for (struct object *s; (s = client_cache_iter_next(&it));)
        controller_add_object(c, s);
    buf_fini(&key);
}

/* ---- a Secret that is gone: accounts that list it do so no more ---- */

static void unlist(struct reconcile *rc)
{
    const struct indexes *ix = controller_state(rc->controller);
    struct client_cache *cache = controller_cache(rc->controller, KIND_SERVICE_ACCOUNT);
    struct client_cache_iter it;
    client_cache_iter_init_index(&it, cache, ix->by_listed, rc->key);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        struct api_service_account *sa = schema_clone(&api_service_account_desc, o->msg, rc->arena);
        uint32_t n = 0;
        for (uint32_t i = 0; i < sa->n_secrets; i++)
            if (!str_eq(sa->secrets[i].name, rc->name))
                sa->secrets[n++] = sa->secrets[i];
        sa->n_secrets = n;
        controller_update(rc, KIND_SERVICE_ACCOUNT, sa, NULL, NULL);
    }
}

/* ---- a Secret that is there ---- */

static bool is_of(const struct object *secret, const struct object *account)
{
    struct str uid = meta_annotation(object_meta(secret), STR(SECRET_ACCOUNT_UID));
    return account && (!uid.n || str_eq(uid, object_meta(account)->uid));
}

/* The store has answered: an account the cache does not know yet will come to it, and its Secrets
 * with it. */
static bool looked(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct object *secret = arg;
    if (reply->r < 0 && reply->r != -ENOENT)
        return false;
    if (reply->r < 0 || !is_of(secret, reply->object))
        controller_delete(rc, KIND_SECRET, object_meta(secret), NULL, NULL, NULL);
    return true;
}

static bool lacks(const struct api_secret *s, struct str key)
{
    const struct str *v = kv_str_get(s->data, s->n_data, key);
    return !v || !v->n;
}

/* What cannot be written as it is (an immutable Secret) waits for its next change. */
static bool written(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    bool moved = reply->r == -ESTALE || reply->r == -ENOENT;
    return reply->r == 0 || moved || (reply->err && reply->err->reason == REASON_INVALID);
}

static void fill(struct reconcile *rc, const struct object *secret, const struct object *account)
{
    const struct controllers_opts *opts = controller_opts(rc->controller);
    const struct api_object_meta *sa = object_meta(account);
    struct api_secret s = *OBJECT_MSG(secret, api_secret);
    struct str pem = opts->root_ca_pem ? str_z(opts->root_ca_pem) : STR_NONE, token;
    const struct str *ca = kv_str_get(s.data, s.n_data, STR("ca.crt"));
    struct error err = {0};
    bool need_ca = pem.n && (!ca || !str_eq(*ca, pem));
    bool need_ns = lacks(&s, STR("namespace")), need_token = lacks(&s, STR("token"));
    if (!need_ca && !need_ns && !need_token)
        return;
    if (need_ca)
        kv_put(rc->arena, &s.data, &s.n_data, STR("ca.crt"), pem);
    if (need_ns)
        kv_put(rc->arena, &s.data, &s.n_data, STR("namespace"), rc->ns);
    if (need_token) {
        if (opts->sign_token(opts->sign_arg, sa, rc->name, rc->arena, &token, &err) < 0) {
            reconcile_fail(rc, "cannot sign a token: %.*s", STR_ARG(err.message));
            error_fini(&err);
            return;
        }
        kv_put(rc->arena, &s.data, &s.n_data, STR("token"), token);
    }
    kv_put(rc->arena, &s.metadata.annotations, &s.metadata.n_annotations, STR(SECRET_ACCOUNT_NAME),
           sa->name);
    kv_put(rc->arena, &s.metadata.annotations, &s.metadata.n_annotations, STR(SECRET_ACCOUNT_UID),
           sa->uid);
    controller_update(rc, KIND_SECRET, &s, written, NULL);
}

static void reconcile(struct reconcile *rc)
{
    struct object *secret = reconcile_get(rc, KIND_SECRET, rc->ns, rc->name);
    if (!controller_opts(rc->controller)->sign_token)
        return;
    if (!secret) {
        unlist(rc);
        return;
    }
    if (!is_token(secret) || object_meta(secret)->deletion_timestamp.set)
        return;
    struct object *account = reconcile_get(rc, KIND_SERVICE_ACCOUNT, rc->ns, account_of(secret));
    if (is_of(secret, account)) {
        fill(rc, secret, account);
        return;
    }
    const struct client_request q = {.verb = CLIENT_GET,
                                     .kind = schema_kinds[KIND_SERVICE_ACCOUNT],
                                     .ns = rc->ns,
                                     .name = account_of(secret)};
    controller_call(rc, &q, looked, reconcile_keep(rc, secret));
}

const struct controller_row account_token_row = {
    .name = "serviceaccount-token",
    .watches = {{KIND_SECRET, map_secret}, {KIND_SERVICE_ACCOUNT, map_account}},
    .n_watches = 2,
    .init = init,
    .fini = controller_free_state,
    .reconcile = reconcile,
};
