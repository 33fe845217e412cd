/* ResourceQuota: what a create, or an update that wants more, uses of the namespace's quotas must
 * still be there; then it is taken (quota.h). Runs last, so that nothing is taken for what another
 * plugin refuses. Kubernetes: apiserver/pkg/admission/plugin/resourcequota. */
#include "apiserver/admit/quota.h"

struct request {
    struct api_call *call;
    const struct schema_kind *kind; /* as stored */
    const void *msg, *old;          /* old NULL: create */
    struct amounts usage, before;
};

static struct str name_of(const struct request *r)
{
    const struct api_object_meta *m = r->msg;
    return m->name.n ? m->name : m->generate_name;
}

static int refuse(const struct request *r, struct quota *q, const struct amounts *requested)
{
    struct arena *a = &r->call->arena;
    struct amounts used = {.arena = a}, hard = {.arena = a};
    struct buf text[3] = {{0}};
    for (uint32_t i = 0; i < requested->n; i++) {
        struct quota_item *it = quota_item_find(q, requested->v[i].key);
        struct quantity sum = quantity_add(&it->used, &it->taken);
        amounts_set(&used, it->name, &sum);
        amounts_set(&hard, it->name, &it->hard);
    }
    amounts_print(requested, &text[0]);
    amounts_print(&used, &text[1]);
    amounts_print(&hard, &text[2]);
    int rc = call_forbidden(r->call, name_of(r),
                            "exceeded quota: %.*s, requested: %.*s, used: %.*s, limited: %.*s",
                            STR_ARG(object_name(q->object)), STR_ARG(buf_str(&text[0])),
                            STR_ARG(buf_str(&text[1])), STR_ARG(buf_str(&text[2])));
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        buf_fini(&text[i]);
    return rc;
}

/* What the request wants of the item beyond what the object uses already; false: nothing. */
static bool wanted(const struct request *r, const struct quota_item *it, bool had,
                   struct quantity *ret)
{
    static const struct quantity zero = {.set = true};
    const struct quantity *u = it->kind == r->kind ? amounts_get(&r->usage, it->name) : NULL;
    const struct quantity *b = u && had ? amounts_get(&r->before, it->name) : NULL;
    if (!u)
        return false;
    *ret = b ? quantity_sub(u, b) : *u;
    return quantity_cmp(ret, &zero) > 0;
}

/* Asks one quota; *ret_want are the items the request takes something of. */
static int ask(const struct request *r, struct quota *q, struct amounts *ret_want)
{
    const struct api_resource_quota_spec *spec = &OBJECT_MSG(q->object, api_resource_quota)->spec;
    struct amounts exceeded = {.arena = &r->call->arena};
    if (!quota_selects(spec, r->kind, r->msg))
        return 0;
    if (r->kind == KIND(POD)) {
        struct buf missing = {0};
        int rc = 0;
        if (!quota_pod_says_enough(spec, r->msg, &missing))
            rc = call_forbidden(r->call, name_of(r), "failed quota: %.*s: must specify %.*s",
                                STR_ARG(object_name(q->object)), STR_ARG(buf_str(&missing)));
        buf_fini(&missing);
        if (rc < 0)
            return rc;
    }
    bool had = r->old && quota_selects(spec, r->kind, r->old);
    for (uint32_t i = 0; i < q->n_items; i++) {
        struct quota_item *it = &q->items[i];
        struct quantity want;
        if (!it->kind && amounts_get(&r->usage, it->name))
            quota_bind(q, it, r->kind);
        if (!wanted(r, it, had, &want))
            continue;
        struct quantity sum = quantity_add(&it->used, &it->taken);
        sum = quantity_add(&sum, &want);
        amounts_set(ret_want, it->name, &want);
        if (quantity_cmp(&sum, &it->hard) > 0)
            amounts_set(&exceeded, it->name, &want);
    }
    return exceeded.n ? refuse(r, q, &exceeded) : 0;
}

struct want {
    struct quota *quota;
    struct amounts amounts;
};

/* All quotas are asked before anything is taken of one. */
static int ask_all(struct request *r, struct list *quotas, bool take)
{
    struct quota *q;
    const struct api_object_meta *m = r->msg;
    struct arena *a = &r->call->arena;
    size_t n = 0;
    LIST_FOR_EACH (q, quotas, in_ns)
        n++;
    struct want *w = ARENA_NEW_N(a, struct want, n);
    n = 0;
    LIST_FOR_EACH (q, quotas, in_ns) {
        w[n] = (struct want){q, {.arena = a}};
        int rc = ask(r, q, &w[n++].amounts);
        if (rc < 0)
            return rc;
    }
    for (size_t k = 0; take && k < n; k++)
        for (uint32_t i = 0; i < w[k].amounts.n; i++)
            quota_take(r->call, w[k].quota, quota_item_find(w[k].quota, w[k].amounts.v[i].key),
                       m->uid, !r->old, &w[k].amounts.v[i].value);
    return 0;
}

int admit_quota(struct api_call *c, const void *msg, const struct object *old)
{
    bool resize = call_is_resize(c);
    struct list *quotas = c->kind->namespaced && (!c->subresource.n || resize)
                              ? quotas_of(c->server->quotas, c->ns)
                              : NULL;
    if (!quotas || (old && c->kind == KIND(POD) && !resize)) /* it wants no more than at first */
        return 0;
    struct request r = {.call = c,
                        .kind = storage_kind(c->kind),
                        .msg = schema_to_storage(c->kind, msg, &c->arena),
                        .old = old ? old->msg : NULL,
                        .usage = {.arena = &c->arena},
                        .before = {.arena = &c->arena}};
    quota_usage(r.kind, r.msg, &r.usage);
    if (r.old)
        quota_usage(r.kind, r.old, &r.before);
    return ask_all(&r, quotas, !c->opts.dry_run);
}
