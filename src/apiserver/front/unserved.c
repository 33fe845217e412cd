/* Requests that nobody serves: unknown groups and resources, methods that do not fit, other paths.
 * They too are authorized before they are answered, by what their path and method would mean, so
 * that who has no rights does not learn from 404 and 405 what there is. The way they go is that of
 * requests another server answers (aggregate.h), to nowhere. Kubernetes: the filters that ask who
 * and what (RequestInfo, authorization) come before the one that knows the paths. */
#include "apiserver/aggregate/aggregate.h"

static enum error_reason refusal(struct exchange *x)
{
    bool is_path = !x->route.kind && !x->call->proxy;
    bool there = x->found == ROUTE_BAD_METHOD && (!is_path || path_known(x));
    return there ? REASON_METHOD_NOT_ALLOWED : REASON_NOT_FOUND;
}

void unserved_route(struct exchange *x)
{
    struct api_call *c = x->call;
    struct request_info i = {0};
    enum error_reason why = refusal(x);
    bool custom = x->route.kind && x->route.kind->custom && x->route.subresource.n;
    if (request_info_read(x->req->method_name, x->req->path, x->req->query, &c->arena, &i) < 0)
        i = (struct request_info){.verb = "get"}; /* as a path */
    custom_unref(x->route.kind);
    x->route = (struct route){.verb = API_PROXY,
                              .authz_verb = i.verb,
                              .ns = i.ns,
                              .name = i.name,
                              .subresource = i.subresource};
    struct api_proxy *p = c->proxy = ARENA_NEW(&c->arena, struct api_proxy);
    p->group = i.group;
    p->version = i.version;
    p->resource = i.resource;
    p->refusal = why;
    p->of_custom = custom;
    c->path = x->req->path;
    x->found = ROUTE_OK;
}

int unserved_answer(struct api_call *c)
{
    const struct api_proxy *p = c->proxy;
    if (p->refusal == REASON_NOT_FOUND && p->of_custom) { /* as who serves custom kinds says it */
        c->reply.details_kind = p->resource;
        c->reply.details_group = p->group;
        return call_error(c, p->refusal, "%.*s.%.*s \"%.*s\" not found", STR_ARG(p->resource),
                          STR_ARG(p->group), STR_ARG(c->name));
    }
    c->reply.details_name = STR(""); /* nobody has looked what the path means */
    return call_error(c, p->refusal,
                      p->refusal == REASON_NOT_FOUND
                          ? "the server could not find the requested resource"
                          : "the server does not allow this method on the requested resource");
}
