/* create: name it, default it, admit it, check it, store it. */
#include "apiserver/internal.h"
#include "apiserver/subresource.h"

int verb_create(struct api_call *c)
{
    if (c->kind == KIND(BINDING)) {
        int refused = admit_special(c);
        return refused ? refused : sub_binding(c);
    }
    if (!c->body || c->body_desc != c->kind->desc)
        return call_error(c, REASON_BAD_REQUEST, "a %s is expected in the request's body",
                          c->kind->kind);
    void *msg = c->body;
    struct api_object_meta *m = msg;
    int r = admit_namespace(c);
    if (r >= 0)
        r = strategy_create(c, msg);
    if (r >= 0) {
        c->name = m->name;
        r = admit_mutate(c, msg, NULL);
    }
    if (r == 0) {
        c->name = m->name; /* a webhook may have named it otherwise */
        r = strategy_validate(c, msg, NULL);
    }
    if (r == 0)
        r = admit_validate(c, msg, NULL);
    if (r == 0 && c->kind == KIND(SERVICE))
        r = alloc_service(c, msg, NULL);
    if (r) /* refused, or webhooks are asked */
        return r;
    r = call_put(c, msg, STORE_ABSENT);
    if (r < 0 && c->kind == KIND(SERVICE))
        alloc_rollback(c, msg, NULL);
    return r;
}
