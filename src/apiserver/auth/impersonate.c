/* Somebody asks as somebody else: the headers Impersonate-User, -Group, -Uid and -Extra-KEY.
 *
 * They are read on the I/O thread and judged on the core thread, after it is known who really asks.
 * Every part of the wanted identity is a question of its own to the authorizers (verb
 * "impersonate"), in Kubernetes' order; only when all are allowed does the call change hands. */
#include "apiserver/auth/impersonate.h"

#include "apiserver/internal.h"

#define AUTHENTICATION "authentication.k8s.io"

/* ---- the headers (I/O thread) ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct str impersonate_extra_key(struct str raw, struct arena *a)
{
    char *out = arena_alloc(a, raw.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] != '%') {
            out[n++] = raw.p[i];
            continue;
        }
        int hi = i + 2 < raw.n ? hex(raw.p[i + 1]) : -1;
        int lo = hi >= 0 ? hex(raw.p[i + 2]) : -1;
        if (lo < 0) /* not escaped after all: as it is, like Kubernetes */
            return raw;
        out[n++] = (char)(hi << 4 | lo);
        i += 2;
    }
    return (struct str){out, n};
}

int impersonate_read(const struct http_header *h, size_t n, struct arena *a,
                     const struct impersonation **ret)
{
    struct str extra = STR("impersonate-extra-");
    struct impersonation *im = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!str_starts(h[i].name, STR("impersonate-")))
            continue;
        if (!im)
            im = ARENA_NEW(a, struct impersonation);
        struct str value = arena_str(a, h[i].value);
        if (str_is(h[i].name, "impersonate-user")) {
            im->user = im->user.n ? im->user : value;
        } else if (str_is(h[i].name, "impersonate-uid")) {
            im->uid = im->uid.n ? im->uid : value;
        } else if (str_is(h[i].name, "impersonate-group")) {
            if (im->n_groups == API_USER_GROUPS_MAX)
                return -E2BIG;
            if (!im->groups)
                im->groups = ARENA_NEW_N(a, struct str, API_USER_GROUPS_MAX);
            im->groups[im->n_groups++] = value;
        } else if (str_starts(h[i].name, extra) && h[i].name.n > extra.n) {
            if (im->n_extra == API_USER_EXTRA_MAX)
                return -E2BIG;
            if (!im->extra)
                im->extra = ARENA_NEW_N(a, struct api_user_extra, API_USER_EXTRA_MAX);
            struct str key = arena_str(a, str_sub(h[i].name, extra.n, h[i].name.n));
            im->extra[im->n_extra++] =
                (struct api_user_extra){.key = impersonate_extra_key(key, a), .value = value};
        }
    }
    *ret = im;
    return 0;
}

/* ---- the questions (core thread) ---- */

/* system:serviceaccount:NAMESPACE:NAME; anything else is a plain user. */
static bool service_account(struct str user, struct str *ret_ns, struct str *ret_name)
{
    struct str prefix = STR("system:serviceaccount:"), rest = user;
    if (!str_starts(rest, prefix))
        return false;
    rest = str_sub(rest, prefix.n, rest.n);
    if (!str_cut(&rest, ':', ret_ns) || !ret_ns->n || !rest.n || str_find(rest, ':') >= 0)
        return false;
    *ret_name = rest;
    return true;
}

static int ask(struct api_call *c, const char *group, const char *resource, struct str subresource,
               struct str ns, struct str name)
{
    struct authz_attrs at = {.user = &c->user,
                             .verb = STR("impersonate"),
                             .group = str_z(group),
                             .version = STR("v1"),
                             .resource = str_z(resource),
                             .subresource = subresource,
                             .ns = ns,
                             .name = name};
    int r = authz_require(c, &at);
    if (r < 0) { /* the Status is about the identity, not about what was to be done with it */
        c->reply.details_kind = at.resource;
        c->reply.details_group = at.group;
        c->reply.details_name = name;
    }
    return r;
}

static int ask_all(struct api_call *c, const struct impersonation *im, bool sa, struct str ns,
                   struct str name)
{
    int r = sa ? ask(c, "", "serviceaccounts", STR_NONE, ns, name)
               : ask(c, "", "users", STR_NONE, STR_NONE, im->user);
    for (uint32_t i = 0; r >= 0 && i < im->n_groups; i++)
        r = ask(c, "", "groups", STR_NONE, STR_NONE, im->groups[i]);
    for (uint32_t i = 0; r >= 0 && i < im->n_extra; i++)
        r = ask(c, AUTHENTICATION, "userextras", im->extra[i].key, STR_NONE, im->extra[i].value);
    if (r >= 0 && im->uid.n)
        r = ask(c, AUTHENTICATION, "uids", STR_NONE, STR_NONE, im->uid);
    return r;
}

/* The groups everybody is in, who did not choose to be without them. */
static void add_implied(struct api_user *u, bool sa, struct str ns, struct arena *a)
{
    bool anonymous = str_is(u->name, "system:anonymous");
    if (sa && !u->n_groups) {
        u->groups[u->n_groups++] = STR("system:serviceaccounts");
        u->groups[u->n_groups++] = arena_printf(a, "system:serviceaccounts:%.*s", STR_ARG(ns));
    }
    if (user_in_group(u, STR("system:unauthenticated")))
        return;
    if (anonymous)
        u->groups[u->n_groups++] = STR("system:unauthenticated");
    else if (!user_in_group(u, STR("system:authenticated")))
        u->groups[u->n_groups++] = STR("system:authenticated");
}

int impersonate(struct api_call *c)
{
    const struct impersonation *im = c->impersonation;
    struct str ns = STR_NONE, name = STR_NONE;
    if (!im)
        return 0;
    if (!im->user.n) {
        if (!im->n_groups && !im->n_extra && !im->uid.n)
            return 0;
        return call_error(c, REASON_BAD_REQUEST,
                          "requested impersonation of %s without impersonating a user",
                          im->n_groups  ? "groups"
                          : im->n_extra ? "userextras"
                                        : "uids");
    }
    bool sa = service_account(im->user, &ns, &name);
    int r = ask_all(c, im, sa, ns, name);
    if (r < 0)
        return r;
    struct api_user u = {
        .name = im->user, .uid = im->uid, .extra = im->extra, .n_extra = im->n_extra};
    u.groups = ARENA_NEW_N(&c->arena, struct str, im->n_groups + 3);
    for (uint32_t i = 0; i < im->n_groups; i++)
        u.groups[u.n_groups++] = im->groups[i];
    add_implied(&u, sa, ns, &c->arena);
    c->impersonator = ARENA_NEW(&c->arena, struct api_user);
    *c->impersonator = c->user;
    c->user = u;
    return 0;
}
