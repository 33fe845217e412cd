/* Who asks: the client certificate of the connection, else a service account or bootstrap token, or
 * one of an OpenID Connect issuer, else nobody. Signatures are verified on the I/O thread and
 * remembered by token; whether the account still exists is asked on the core thread with every call
 * (authz_call). */
#include "apiserver/front/front_int.h"
#include "apiserver/auth/issuers.h"

struct token_entry {
    char *token;
    struct arena arena;
    struct token_claims claims;
    bool oidc; /* user, as long as the issuer's keys are those of generation */
    struct api_user user;
    int64_t expires_s;
    uint64_t generation;
};

static void entry_free(struct token_entry *e)
{
    crypto_wipe(e->token, strlen(e->token));
    free(e->token);
    arena_fini(&e->arena);
    free(e);
}

void authn_forget(struct io *io)
{
    for (struct map_slot *s = NULL; (s = map_next(&io->tokens, s));)
        entry_free(s->value);
    map_fini(&io->tokens);
    io->tokens = (struct map){0};
}

static void remember(struct io *io, struct token_entry *e, struct str token)
{
    if (io->tokens.n >= API_TOKEN_CACHE_MAX)
        authn_forget(io);
    map_set(&io->tokens, (struct str){e->token, token.n}, e);
}

static struct str copy(struct str s, struct arena *a)
{
    return s.p ? arena_str(a, s) : STR_NONE;
}

static void give_user(const struct api_user *from, struct arena *a, struct api_user *ret)
{
    *ret = (struct api_user){.name = copy(from->name, a), .uid = copy(from->uid, a)};
    ret->groups = ARENA_NEW_N(a, struct str, from->n_groups + 1);
    for (uint32_t i = 0; i < from->n_groups; i++)
        ret->groups[ret->n_groups++] = copy(from->groups[i], a);
    if (from->n_extra)
        ret->extra = ARENA_NEW_N(a, struct api_user_extra, from->n_extra);
    for (uint32_t i = 0; i < from->n_extra; i++)
        ret->extra[ret->n_extra++] =
            (struct api_user_extra){copy(from->extra[i].key, a), copy(from->extra[i].value, a)};
}

/* -ENOENT: another's token. */
static int by_issuer(struct io *io, struct str token, enum oidc_wait wait, struct api_call *c)
{
    struct issuers *o = io->front->server->issuers;
    int64_t now_s = rt_wall(io->rt) / 1000000;
    uint64_t generation;
    if (!o)
        return -ENOENT;
    generation = issuers_generation(o);
    struct token_entry *e = map_get(&io->tokens, token);
    if (e && (!e->oidc || (e->generation == generation && e->expires_s > now_s))) {
        if (e->oidc)
            give_user(&e->user, &c->arena, &c->user);
        return e->oidc ? 0 : -ENOENT;
    }
    if (e) {
        map_remove(&io->tokens, token);
        entry_free(e);
    }
    e = NEW(struct token_entry);
    e->token = str_dup(token);
    e->oidc = true;
    e->generation = generation;
    int r = issuers_authenticate(o, token, now_s, wait, &e->arena, &e->user, &e->expires_s);
    if (r < 0) {
        entry_free(e);
        return r;
    }
    remember(io, e, token);
    give_user(&e->user, &c->arena, &c->user);
    return 0;
}

static int by_token(struct io *io, struct str token, struct api_call *c)
{
    struct str own = STR(TOKEN_ISSUER);
    int64_t now_s = rt_wall(io->rt) / 1000000;
    struct token_entry *e = map_get(&io->tokens, token);
    if (e && e->claims.expires_s <= now_s) {
        map_remove(&io->tokens, token);
        entry_free(e);
        return -EACCES;
    }
    if (!e) {
        e = NEW(struct token_entry);
        e->token = str_dup(token);
        if (token_verify(io->front->token_key, str_z(e->token), now_s, &e->arena, &e->claims,
                         NULL) < 0 ||
            !token_has_audience(&e->claims, &own, 1)) {
            entry_free(e);
            return -EACCES;
        }
        remember(io, e, token);
    }
    token_user(&e->claims, &c->arena, &c->user);
    return 0;
}

static void by_certificate(const struct cert_facts *f, struct api_call *c)
{
    struct api_user *u = &c->user;
    u->name = arena_str(&c->arena, f->cn);
    u->groups = ARENA_NEW_N(&c->arena, struct str, f->n_orgs + 1);
    for (size_t i = 0; i < f->n_orgs; i++)
        u->groups[u->n_groups++] = arena_str(&c->arena, f->orgs[i]);
    u->groups[u->n_groups++] = STR("system:authenticated");
    static const char scheme[] = "X509SHA256=";
    const size_t n = sizeof(scheme) - 1;
    char *id = arena_alloc(&c->arena, n + SHA256_HEX + 1); /* of each request: not by printf */
    memcpy(id, scheme, n);
    sha256_hex(f->sha256, id + n);
    u->extra = ARENA_NEW(&c->arena, struct api_user_extra);
    u->extra[u->n_extra++] = (struct api_user_extra){STR(CREDENTIAL_ID), {id, n + SHA256_HEX}};
}

int authn_request(struct io *io, struct http_request *req, enum oidc_wait wait, struct api_call *c)
{
    const struct rt_tls_info *tls = req->stream ? rt_tls_info(req->stream) : NULL;
    struct str auth = http_request_header(req, STR("authorization"));
    if (tls && tls->peer && tls->verified) {
        by_certificate(tls->peer, c);
        return 0;
    }
    if (auth.n) {
        struct str scheme, token = auth;
        if (!str_cut(&token, ' ', &scheme) || !str_ieq(scheme, STR("bearer")))
            return -EACCES;
        token = str_trim(token);
        if (token_bootstrap_parse(token, &c->arena, &c->user))
            return 0;
        int r = token.n && token.n <= API_TOKEN_BYTES_MAX ? by_issuer(io, token, wait, c) : -EACCES;
        return r == -ENOENT ? by_token(io, token, c) : r;
    }
    if ((tls && tls->peer) || io->front->server->opts.no_anonymous)
        return -EACCES; /* a certificate that does not verify is no anonymous request */
    if (io->front->server->issuers && !issuers_anonymous(io->front->server->issuers, req->path))
        return -EACCES;
    c->user.name = STR("system:anonymous");
    c->user.groups = ARENA_NEW(&c->arena, struct str);
    c->user.groups[0] = STR("system:unauthenticated");
    c->user.n_groups = 1;
    return 0;
}
