/* Bootstrap tokens: a Secret `bootstrap-token-ID` in kube-system makes "ID.SECRET" a bearer token
 * of the user system:bootstrap:ID, for machines that join and have nothing else yet. The I/O thread
 * sees only the form; whether the Secret is there, in its time and meant for this is asked with
 * every call, so a deleted token is void at once. Kubernetes:
 * plugin/pkg/auth/authenticator/token/bootstrap. */
#include "apiserver/auth/token.h"

#include "apiserver/internal.h"
#include "codec/values.h"

#define GROUP_PREFIX "system:bootstrappers"

static bool plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9')))
            return false;
    return true;
}

bool token_bootstrap_parse(struct str token, struct arena *a, struct api_user *ret)
{
    struct str secret = token, id;
    if (token.n != BOOTSTRAP_ID_CHARS + 1 + BOOTSTRAP_SECRET_CHARS || !str_cut(&secret, '.', &id) ||
        id.n != BOOTSTRAP_ID_CHARS || !plain(id) || !plain(secret))
        return false;
    *ret = (struct api_user){.name = arena_printf(a, "system:bootstrap:%.*s", STR_ARG(id))};
    ret->bootstrap = ARENA_NEW(a, struct api_bootstrap_token);
    ret->bootstrap->id = arena_str(a, id);
    ret->bootstrap->secret = arena_str(a, secret);
    return true;
}

/* A group of the annotation's list that Kubernetes would take: system:bootstrappers:NAME. */
static bool group_ok(struct str g)
{
    struct str prefix = STR(GROUP_PREFIX ":");
    if (!str_starts(g, prefix) || g.n == prefix.n || g.n > prefix.n + 256)
        return false;
    for (size_t i = prefix.n; i < g.n; i++) {
        char c = g.p[i];
        bool inner = c == ':' || c == '-';
        if (!plain((struct str){&c, 1}) && !(inner && i + 1 < g.n))
            return false;
    }
    return true;
}

static void add_groups(struct api_user *u, struct str extra, struct arena *a)
{
    struct str g;
    uint32_t n = 3;
    for (size_t i = 0; i < extra.n; i++)
        n += extra.p[i] == ',';
    u->groups = ARENA_NEW_N(a, struct str, n);
    u->n_groups = 0;
    u->groups[u->n_groups++] = STR(GROUP_PREFIX);
    while (str_cut(&extra, ',', &g) || g.n)
        if (group_ok(g))
            u->groups[u->n_groups++] = arena_str(a, g);
    u->groups[u->n_groups++] = STR("system:authenticated");
}

int token_bootstrap_check(struct apiserver *s, struct api_user *u, struct arena *a)
{
    const struct api_bootstrap_token *t = u->bootstrap;
    struct str name = arena_printf(a, "bootstrap-token-%.*s", STR_ARG(t->id));
    struct object *o = store_get(s->store, KIND(SECRET), STR("kube-system"), name);
    const struct api_secret *secret = o ? OBJECT_MSG(o, api_secret) : NULL;
    struct timestamp expires;
    if (!secret || !str_is(secret->type, "bootstrap.kubernetes.io/token") ||
        secret->metadata.deletion_timestamp.set)
        return -EACCES;
    struct str id = STR_NONE, key = STR_NONE, until = STR_NONE, use = STR_NONE, groups = STR_NONE;
    const struct {
        const char *name;
        struct str *to;
    } fields[] = {{"token-id", &id},
                  {"token-secret", &key},
                  {"expiration", &until},
                  {"usage-bootstrap-authentication", &use},
                  {"auth-extra-groups", &groups}};
    for (uint32_t i = 0; i < secret->n_data; i++)
        for (size_t k = 0; k < ARRAY_LEN(fields); k++)
            if (str_eqz(secret->data[i].key, fields[k].name))
                *fields[k].to = secret->data[i].value;
    if (!str_eq(id, t->id) || key.n != t->secret.n || !crypto_equal(key, t->secret) ||
        !str_is(use, "true"))
        return -EACCES;
    if (until.n && (timestamp_parse(until, &expires) < 0 || expires.usec <= rt_wall(s->rt)))
        return -EACCES;
    add_groups(u, groups, a);
    return 0;
}
