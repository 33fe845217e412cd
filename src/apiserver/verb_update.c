/* update (PUT): the object as a whole, or its status. What the client may not change is taken from
 * the old object. Of a few kinds (Lease, Event ...) one that is not there yet is created, as in
 * Kubernetes. */
#include "apiserver/internal.h"

static bool creates_on_update(const struct schema_kind *k)
{
    return k == KIND(LEASE) || k == KIND(EVENT) || k == KIND(EVENTS_EVENT) ||
           k == KIND(ENDPOINTS) || k == KIND(LIMIT_RANGE);
}

int verb_update(struct api_call *c)
{
    if (!c->body || c->body_desc != c->kind->desc)
        return call_error(c, REASON_BAD_REQUEST, "a %s is expected in the request's body",
                          c->kind->kind);
    struct api_object_meta *m = c->body;
    if (m->name.n && !str_eq(m->name, c->name))
        return call_error(c, REASON_BAD_REQUEST,
                          "the name of the object (%.*s) does not match the name on the URL (%.*s)",
                          STR_ARG(m->name), STR_ARG(c->name));
    if (!m->name.n)
        return call_error(
            c, REASON_BAD_REQUEST,
            "the name of the object (%.*s based on URL) was undeterminable: name must be provided",
            STR_ARG(c->name));
    if (c->kind->namespaced && m->namespace.n && !str_eq(m->namespace, c->ns))
        return call_error(c, REASON_BAD_REQUEST,
                          "the namespace of the provided object does not match the namespace sent "
                          "on the request");
    struct object *old = call_peek(c);
    if (!old) {
        if (!creates_on_update(c->kind) || c->subresource.n || m->resource_version.n)
            return call_not_found(c, c->kind, c->name);
        return verb_create(c);
    }
    int r = strategy_update(c, c->body, old);
    if (r >= 0)
        r = admit_mutate(c, c->body, old);
    if (r == 0)
        r = strategy_validate(c, c->body, old);
    if (r == 0)
        r = admit_validate(c, c->body, old);
    if (r == 0 && c->kind == KIND(SERVICE) && !c->subresource.n)
        r = alloc_service(c, c->body, OBJECT_MSG(old, api_service));
    if (r) /* refused, or webhooks are asked */
        return r;
    return strategy_commit_update(c, c->body, old);
}
