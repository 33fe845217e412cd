/* deletecollection: every object a list would give, deleted by the rules of a single delete. All
 * writes are queued in one turn; the answer is the list of what was deleted, when the last of them
 * is durable. */
#include "apiserver/call_convert.h"

static void on_one(void *arg, int r, struct object *obj, const struct error *err)
{
    struct api_call *c = arg;
    ASSERT(c->writes_left > 0);
    if (r < 0 && r != -ENOENT && c->reply.r >= 0) {
        c->reply.r = r;
        if (err && c->reply.err.reason == REASON_NONE)
            error_copy(&c->reply.err, err);
    }
    if (--c->writes_left == 0)
        call_finish(c);
}

int verb_deletecollection(struct api_call *c)
{
    int r = verb_list(c);
    if (r != 0)
        return r;
    for (size_t i = 0; i < c->reply.n_items; i++) /* as they are answered: before any goes */
        (void)call_seen(c, c->reply.items[i]);
    r = call_convert_missing(c);
    if (r != 0)
        return r;
    for (size_t i = 0; i < c->reply.n_items; i++) {
        struct object *o = c->reply.items[i];
        struct object *now = store_peek(c->server->store, o->kind, object_ns(o), object_name(o));
        if (!now)
            continue;
        r = admit_delete(c, call_in_hand(c, now));
        if (r >= 0)
            r = delete_one(c, now, on_one, c);
        if (r == -ENOENT || r == -ESTALE) {
            error_clear(&c->reply.err);
            r = 0;
        }
        if (r < 0)
            break;
        c->writes_left += r > 0;
    }
    if (r < 0)
        c->reply.r = r;
    if (c->writes_left)
        return 1; /* on_one answers, also with an error from above */
    return c->reply.r;
}
