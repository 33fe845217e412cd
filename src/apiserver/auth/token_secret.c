/* Service account tokens that live in Secrets, as all did before Kubernetes 1.24: without an end,
 * good as long as their Secret holds just these bytes and the account is the one they were made
 * for. They are made by src/controllers/account_token.c. Claims, audit annotations and labels as
 * Kubernetes has them: pkg/serviceaccount/legacy.go.
 *
 * The label that tells when a token was last used is written once a day, behind the request, by a
 * call of the server's own; so owners of fields, quotas and watchers see it as any other write. */
#include "apiserver/auth/token.h"

#include <time.h>

#include "api/config.h"
#include "apiserver/internal.h"
#include "base/log.h"
#include "codec/json.h"
#include "schema/schema.h"

#define CLAIM(name)        "kubernetes.io/serviceaccount/" name
#define LABEL_USED         "kubernetes.io/legacy-token-last-used"
#define LABEL_INVALID      "kubernetes.io/legacy-token-invalid-since"
#define ANNOTATION(name)   "authentication.k8s.io/legacy-token-" name
#define WRITES_AT_ONCE_MAX 32 /* of last-used labels; who finds it full leaves it to the next use  \
                               */

/* ---- issue ---- */

static struct str subject(struct arena *a, struct str ns, struct str name)
{
    return arena_printf(a, "system:serviceaccount:%.*s:%.*s", STR_ARG(ns), STR_ARG(name));
}

int apiserver_sign_token(void *arg, const struct api_object_meta *account, struct str secret,
                         struct arena *a, struct str *ret, struct error *err)
{
    const struct apiserver *s = arg;
    if (!s->pki)
        return error_set(err, REASON_UNAVAILABLE, "this server has no signing key");
    struct json *v = json_new_obj(a);
    const struct {
        const char *name;
        struct str value;
    } claims[] = {{"iss", STR(TOKEN_SECRET_ISSUER)},
                  {CLAIM("namespace"), account->namespace},
                  {CLAIM("secret.name"), secret},
                  {CLAIM("service-account.name"), account->name},
                  {CLAIM("service-account.uid"), account->uid},
                  {"sub", subject(a, account->namespace, account->name)}};
    for (size_t i = 0; i < ARRAY_LEN(claims); i++)
        json_set(v, str_z(claims[i].name), json_new_str(a, claims[i].value));
    return token_sign(s->pki->sa_key, v, a, ret, err);
}

/* ---- verify ---- */

int token_secret_claims(const struct json *v, struct str token, struct token_claims *ret,
                        struct error *err)
{
    struct api_token_bound *b = &ret->bound;
    struct str rest, prefix = STR("system:serviceaccount:"), ns;
    *ret = (struct token_claims){.user = json_get_str(v, STR("sub")), .expires_s = INT64_MAX};
    b->ns = json_get_str(v, STR(CLAIM("namespace")));
    b->secret_name = json_get_str(v, STR(CLAIM("secret.name")));
    b->sa_name = json_get_str(v, STR(CLAIM("service-account.name")));
    b->sa_uid = json_get_str(v, STR(CLAIM("service-account.uid")));
    b->text = token;
    ret->audiences[ret->n_audiences++] = STR(TOKEN_ISSUER); /* it names none: this API's */
    if (!ret->user.n)
        return token_refuse(err, "sub claim is missing");
    if (!b->ns.n)
        return token_refuse(err, "namespace claim is missing");
    if (!b->secret_name.n)
        return token_refuse(err, "secretName claim is missing");
    if (!b->sa_name.n)
        return token_refuse(err, "serviceAccountName claim is missing");
    if (!b->sa_uid.n)
        return token_refuse(err, "serviceAccountUID claim is missing");
    rest = str_starts(ret->user, prefix) ? str_sub(ret->user, prefix.n, ret->user.n) : STR_NONE;
    if (!str_cut(&rest, ':', &ns) || !str_eq(ns, b->ns) || !str_eq(rest, b->sa_name))
        return token_refuse(err, "sub claim is invalid");
    return 0;
}

/* ---- last used ---- */

static void on_labelled(struct api_call *c)
{
    if (c->reply.r < 0 && c->reply.r != -ENOENT)
        log_warn("secret %.*s/%.*s cannot be labelled as used: %.*s", STR_ARG(c->ns),
                 STR_ARG(c->name), STR_ARG(c->reply.err.message));
    c->server->token_labels_under_way--;
    api_call_free(c);
}

static void on_dropped(struct api_call *c)
{
    api_call_free(c);
}

static void day(usec_t at, char ret[static 11])
{
    time_t t = (time_t)(at / 1000000);
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(ret, 11, "%Y-%m-%d", &tm);
}

/* Tomorrow's date is another server's, whose clock is ahead. */
static void note_use(struct apiserver *s, const struct object *secret)
{
    const struct object *now =
        store_peek(s->store, KIND(SECRET), object_ns(secret), object_name(secret));
    char today[11], tomorrow[11];
    if (!now || s->token_labels_under_way >= WRITES_AT_ONCE_MAX || s->stopping)
        return;
    const struct str *used = KV_GET(object_meta(now), labels, STR(LABEL_USED));
    day(rt_wall(s->rt), today);
    day(rt_wall(s->rt) + 86400 * INT64_C(1000000), tomorrow);
    if (used && (str_eqz(*used, today) || str_eqz(*used, tomorrow)))
        return;
    struct api_call *c = api_call_new(s);
    c->verb = API_PATCH;
    c->kind = KIND(SECRET);
    c->ns = arena_str(&c->arena, object_ns(secret));
    c->name = arena_str(&c->arena, object_name(secret));
    c->user = (struct api_user){.name = STR("system:apiserver"), .trusted = true};
    c->opts.field_manager = STR("kube-apiserver");
    c->patch_type = CLIENT_PATCH_MERGE;
    c->patch =
        arena_printf(&c->arena, "{\"metadata\":{\"uid\":\"%.*s\",\"labels\":{\"%s\":\"%s\"}}}",
                     STR_ARG(object_meta(secret)->uid), LABEL_USED, today);
    c->done = on_labelled;
    c->dropped = on_dropped;
    s->token_labels_under_way++;
    api_call_start(c);
}

/* ---- still there? (core thread) ---- */

static bool lists(const struct api_service_account *sa, struct str secret)
{
    for (uint32_t i = 0; i < sa->n_secrets; i++)
        if (str_eq(sa->secrets[i].name, secret))
            return true;
    return false;
}

/* As Kubernetes tells them apart: the tokens it once made by itself are listed by their account. */
static void tell(struct api_call *c, bool listed, struct str secret)
{
    if (listed)
        api_call_warn(c, "Use tokens from the TokenRequest API or manually created secret-based "
                         "tokens instead of auto-generated secret-based tokens.");
    api_call_annotate(c, listed ? ANNOTATION("autogenerated-secret") : ANNOTATION("manual-secret"),
                      "%.*s", STR_ARG(secret));
}

int token_secret_check(struct apiserver *s, const struct api_token_bound *b,
                       struct api_call *user_of, struct error *err)
{
    const struct object *o = store_get(s->store, KIND(SECRET), b->ns, b->secret_name);
    const struct object *a = store_get(s->store, KIND(SERVICE_ACCOUNT), b->ns, b->sa_name);
    if (!o || object_meta(o)->deletion_timestamp.set)
        return token_refuse(err, "Token has been invalidated");
    const struct api_secret *secret = OBJECT_MSG(o, api_secret);
    const struct str *held = KV_GET(secret, data, STR("token"));
    if (!held || held->n != b->text.n || !crypto_equal(*held, b->text))
        return token_refuse(err, "Token does not match server's copy");
    if (!a || object_meta(a)->deletion_timestamp.set)
        return token_refuse(err, "its ServiceAccount has been deleted");
    if (!str_eq(object_meta(a)->uid, b->sa_uid))
        return token_refuse(err, "ServiceAccount UID does not match claim");
    const struct str *invalid = KV_GET(&secret->metadata, labels, STR(LABEL_INVALID));
    if (invalid && invalid->n) {
        if (user_of)
            api_call_annotate(user_of, ANNOTATION("invalidated"), "%.*s/%.*s",
                              STR_ARG(b->secret_name), STR_ARG(b->ns));
        note_use(s, o);
        return token_refuse(err, "the token in its secret has been marked invalid. Use tokens from "
                                 "the TokenRequest API or manually created secret-based tokens, or "
                                 "remove the '" LABEL_INVALID
                                 "' label from the secret to temporarily allow use of this token");
    }
    if (user_of)
        tell(user_of, lists(OBJECT_MSG(a, api_service_account), b->secret_name), b->secret_name);
    note_use(s, o);
    return 0;
}
