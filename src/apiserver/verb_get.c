/* get: the durable object by name, or a view of it that a subresource gives. */
#include "apiserver/custom/call_convert.h"
#include "apiserver/subresource.h"

int verb_get(struct api_call *c)
{
    struct object *o = store_get(c->server->store, storage_kind(c->kind), c->ns, c->name);
    if (!o)
        return call_not_found(c, c->kind, c->name);
    if (str_is(c->subresource, "scale"))
        return scale_get(c, call_in_hand(c, o));
    rev_t want;
    if (c->opts.resource_version.n) {
        if (str_to_u64(c->opts.resource_version, &want) < 0)
            return call_error(c, REASON_BAD_REQUEST,
                              "Invalid value: \"%.*s\": invalid resource version",
                              STR_ARG(c->opts.resource_version));
        if (want > store_rev(c->server->store))
            return error_from_future(&c->reply.err, want, store_rev(c->server->store));
    }
    c->reply.object = object_ref(o);
    c->reply.rev = o->rev;
    return 0;
}
