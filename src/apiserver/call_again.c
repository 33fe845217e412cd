/* A verb that must wait for somebody's answer (admission webhooks, conversion webhooks) does not
 * stop half-way: it returns, and when the answer is there it runs again from its beginning, on the
 * newest state. For that the call is kept as it came. */
#include "apiserver/internal.h"

#include "apiserver/admit/quota.h"
#include "schema/custom.h"

struct call_came {                  /* in the call's arena */
    const struct schema_kind *kind; /* owned reference */
    const struct schema_subresource *sub;
    struct str ns, name, subresource;
    struct api_options opts;
    struct api_delete_opts del;
    const struct schema_desc *body_desc;
    const void *body; /* NULL: none */
    const struct json *patch_tree;
    struct str *warnings;
    unsigned n_warnings;
};

void call_keep(struct api_call *c)
{
    struct arena *a = &c->arena;
    if (c->came)
        return;
    c->came = ARENA_NEW(a, struct call_came);
    *c->came = (struct call_came){
        .kind = custom_ref(c->kind),
        .sub = c->sub,
        .ns = c->ns,
        .name = c->name,
        .subresource = c->subresource,
        .opts = c->opts,
        .del = c->del,
        .body_desc = c->body_desc,
        .body = c->body && c->body_desc ? schema_clone(c->body_desc, c->body, a) : NULL,
        .patch_tree = c->patch_tree ? json_clone(c->patch_tree, a) : NULL,
        .warnings = c->reply.warnings,
        .n_warnings = c->reply.n_warnings,
    };
}

static void forget_answer(struct api_reply *rep)
{
    rep->object = object_unref(rep->object);
    for (size_t i = 0; i < rep->n_items; i++)
        object_unref(rep->items[i]);
    rep->n_items = 0;
    rep->message = NULL;
    rep->continue_ = rep->node_host = STR_NONE;
    rep->code = rep->r = 0;
    rep->success_status = false;
    rep->details_kind = rep->details_name = rep->details_group = rep->details_uid = STR_NONE;
    error_clear(&rep->err);
}

void call_restore(struct api_call *c)
{
    const struct call_came *w = c->came;
    quota_release(c);
    forget_answer(&c->reply);
    c->kind = w->kind;
    c->sub = w->sub;
    c->ns = w->ns;
    c->name = w->name;
    c->subresource = w->subresource;
    c->opts = w->opts;
    c->del = w->del;
    c->body_desc = w->body_desc;
    c->body = w->body ? schema_clone(w->body_desc, w->body, &c->arena) : NULL;
    c->patch_tree = w->patch_tree ? json_clone(w->patch_tree, &c->arena) : NULL;
    c->managed = NULL;
    c->answer_scale = false;
    c->reply.warnings = w->warnings;
    c->reply.n_warnings = w->n_warnings;
}

void call_came_free(struct api_call *c)
{
    if (c->came)
        custom_unref(c->came->kind);
    c->came = NULL;
}
