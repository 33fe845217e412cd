/* The chain of authorizers, in the order Kubernetes asks them: system:masters, the node authorizer,
 * RBAC; impersonation comes before (impersonate.c). */
#include "apiserver/aggregate/aggregate.h"
#include "apiserver/auth/token.h"

bool user_in_group(const struct api_user *u, struct str group)
{
    for (uint32_t i = 0; i < u->n_groups; i++)
        if (str_eq(u->groups[i], group))
            return true;
    return false;
}

bool authz_allowed(struct apiserver *s, const struct authz_attrs *at, struct arena *a,
                   struct str *ret_reason)
{
    struct str node;
    *ret_reason = STR_NONE;
    if (at->user->trusted || user_in_group(at->user, STR("system:masters")))
        return true;
    if (authz_node_is(at->user, &node) && authz_node_allowed(s, node, at, ret_reason))
        return true;
    struct str node_reason = *ret_reason;
    if (rbac_allowed(s->rbac, at, a, ret_reason))
        return true;
    *ret_reason = node_reason;
    return false;
}

static int forbid(struct api_call *c, const struct authz_attrs *at, struct str reason)
{
    struct error *err = &c->reply.err;
    if (at->path.p)
        return error_set(err, REASON_FORBIDDEN,
                         "forbidden: User \"%.*s\" cannot %.*s path \"%.*s\"%s%.*s",
                         STR_ARG(at->user->name), STR_ARG(at->verb), STR_ARG(at->path),
                         reason.n ? ": " : "", STR_ARG(reason));
    struct str none = STR("");
    return error_set(err, REASON_FORBIDDEN,
                     "%.*s%s%.*s%s%.*s%s is forbidden: User \"%.*s\" cannot %.*s resource "
                     "\"%.*s%s%.*s\" in API group "
                     "\"%.*s\" %s%.*s%s%s%.*s",
                     STR_ARG(at->resource), at->group.n ? "." : "", STR_ARG(at->group),
                     at->name.n ? " \"" : "", STR_ARG(at->name), at->name.n ? "\"" : "",
                     STR_ARG(at->user->name), STR_ARG(at->verb), STR_ARG(at->resource),
                     at->subresource.n ? "/" : "", STR_ARG(at->subresource), STR_ARG(at->group),
                     at->ns.n ? "in the namespace \"" : "at the cluster scope",
                     STR_ARG(at->ns.n ? at->ns : none), at->ns.n ? "\"" : "", reason.n ? ": " : "",
                     STR_ARG(reason));
}

int authz_require(struct api_call *c, const struct authz_attrs *at)
{
    struct str reason;
    return authz_allowed(c->server, at, &c->arena, &reason) ? 0 : forbid(c, at, reason);
}

int authz_call(struct api_call *c)
{
    int r;
    if (c->user.trusted)
        return 0;
    if (c->user.token) {
        r = token_bound_check(c->server, c->user.token, c, NULL);
        if (r < 0)
            return call_error(c, REASON_UNAUTHORIZED, "Unauthorized");
    }
    if (c->user.bootstrap && token_bootstrap_check(c->server, &c->user, &c->arena) < 0)
        return call_error(c, REASON_UNAUTHORIZED, "Unauthorized");
    r = impersonate(c);
    return r < 0 ? r : authz_also(c, str_z(api_call_verb_text(c)));
}

int authz_also(struct api_call *c, struct str verb)
{
    struct authz_attrs at = {.user = &c->user, .verb = verb};
    if (c->user.trusted)
        return 0;
    if (c->verb == API_PATH || (c->proxy && !c->proxy->resource.n)) {
        at.path = c->path;
    } else if (c->proxy) {
        at.group = c->proxy->group;
        at.version = c->proxy->version;
        at.resource = c->proxy->resource;
        at.subresource = c->subresource;
        at.ns = c->ns;
        at.name = c->name;
    } else {
        at.group = str_z(c->kind->group);
        at.version = str_z(c->kind->version);
        at.resource = str_z(c->kind->plural);
        at.subresource = c->subresource;
        at.ns = c->ns;
        at.name = c->name;
        at.field_selector = c->opts.field_selector;
        if (c->kind == KIND(NAMESPACE) &&
            !c->name_selected) /* a namespace is in itself, for RoleBindings */
            at.ns = c->name;
    }
    struct str reason = STR_NONE;
    bool allowed = authz_allowed(c->server, &at, c->audit ? &c->arena : NULL, &reason);
    api_call_annotate(c, "authorization.k8s.io/decision", allowed ? "allow" : "forbid");
    api_call_annotate(c, "authorization.k8s.io/reason", "%.*s", STR_ARG(reason));
    if (allowed)
        return 0;
    if (c->kind == KIND(NAMESPACE) && !c->name_selected)
        at.ns = c->name;
    if (!c->kind) {
        c->reply.details_kind = at.resource;
        c->reply.details_group = at.group;
    }
    return forbid(c, &at, reason);
}
