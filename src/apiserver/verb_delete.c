/* delete: at once, or by marking the object so that a finalizer, a controller or the node lets go
 * of it first.
 *
 * Order of decisions, as in Kubernetes: preconditions; what the propagation policy adds to or takes
 * from the finalizers; the grace period (pods only); then, if nothing holds the object, it goes. */
#include "apiserver/custom/call_convert.h"
#include "apiserver/custom/crds.h"
#include "apiserver/hooks/hooks.h"

#include "api/crd.h"

#define FINALIZER_ORPHAN     STR("orphan")
#define FINALIZER_FOREGROUND STR("foregroundDeletion")
#define FINALIZER_CRD        STR(CRD_FINALIZER)

int delete_check_preconditions(struct api_call *c, const struct object *old)
{
    const struct api_object_meta *m = object_meta(old);
    rev_t rv;
    if (c->del.uid.p && !str_eq(c->del.uid, m->uid))
        return call_conflict(
            c, m->name, "Precondition failed: UID in precondition: %.*s, UID in object meta: %.*s",
            STR_ARG(c->del.uid), STR_ARG(m->uid));
    if (!c->del.rv.n)
        return 0;
    if (str_to_u64(c->del.rv, &rv) < 0 || rv != old->rev)
        return call_conflict(
            c, m->name,
            "Precondition failed: ResourceVersion in precondition: %.*s, ResourceVersion in object "
            "meta: %llu",
            STR_ARG(c->del.rv), (unsigned long long)old->rev);
    return 0;
}

int delete_check_options(struct api_call *c)
{
    struct str p = c->del.propagation;
    struct error *err = &c->reply.err;
    struct str field = STR("propagationPolicy");
    if (p.n && c->del.has_orphan)
        (void)error_cause(
            err, CAUSE_INVALID, field,
            "Invalid value: \"%.*s\": orphanDependents and deletionPropagation cannot "
            "be both set",
            STR_ARG(p));
    if (p.n && !str_is(p, "Background") && !str_is(p, "Foreground") && !str_is(p, "Orphan"))
        (void)error_cause(
            err, CAUSE_NOT_SUPPORTED, field,
            "Unsupported value: \"%.*s\": supported values: \"Foreground\", \"Background\", "
            "\"Orphan\", \"nil\"",
            STR_ARG(p));
    return err->causes ? call_options_invalid(c, "DeleteOptions") : 0;
}

/* Finalizers after the policy; *ret_n of them, in the call's arena. True when they differ from m's.
 */
static bool policy_finalizers(struct api_call *c, const struct schema_kind *k,
                              const struct api_object_meta *m, struct str **ret, uint32_t *ret_n)
{
    struct str p = c->del.propagation;
    bool orphan, foreground;
    if (p.n) {
        orphan = str_is(p, "Orphan");
        foreground = str_is(p, "Foreground");
    } else if (c->del.has_orphan) {
        orphan = c->del.orphan;
        foreground = false;
    } else {
        orphan = has_finalizer(m, FINALIZER_ORPHAN);
        foreground = has_finalizer(m, FINALIZER_FOREGROUND);
        if (k == KIND(JOB) && !orphan && !foreground) {
            orphan = true; /* batch/v1 keeps its old default */
            api_call_warn(
                c, "child pods are preserved by default when jobs are deleted; set "
                   "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to "
                   "suppress this warning");
        }
    }
    struct str *v = ARENA_NEW_N(&c->arena, struct str, m->n_finalizers + 3);
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_finalizers; i++)
        if (!str_eq(m->finalizers[i], FINALIZER_ORPHAN) &&
            !str_eq(m->finalizers[i], FINALIZER_FOREGROUND))
            v[n++] = m->finalizers[i];
    if (orphan)
        v[n++] = FINALIZER_ORPHAN;
    if (foreground)
        v[n++] = FINALIZER_FOREGROUND;
    /* a definition waits for its objects from the first delete on */
    if (k == KIND(CUSTOM_RESOURCE_DEFINITION) && !m->deletion_timestamp.set &&
        !has_finalizer(m, FINALIZER_CRD))
        v[n++] = FINALIZER_CRD;
    *ret = v;
    *ret_n = n;
    return n != m->n_finalizers || orphan != has_finalizer(m, FINALIZER_ORPHAN) ||
           foreground != has_finalizer(m, FINALIZER_FOREGROUND);
}

/* Seconds the pod gets, 0 for everything else. */
static int64_t grace_of(struct api_call *c, const struct object *old)
{
    if (old->kind != KIND(POD))
        return 0;
    const struct api_pod *p = OBJECT_MSG(old, api_pod);
    if (!p->spec.node_name.n || str_is(p->status.phase, "Succeeded") ||
        str_is(p->status.phase, "Failed"))
        return 0;
    if (c->del.has_grace)
        return c->del.grace_s < 0 ? 1 : c->del.grace_s;
    return p->spec.has_termination_grace_period_seconds
               ? MAX(p->spec.termination_grace_period_seconds, (int64_t)0)
               : 30;
}

static int put_marked(struct api_call *c, const struct object *old, const void *msg,
                      store_done_fn done, void *arg)
{
    if (!done)
        return call_put_as(c, old->kind, msg, old->rev);
    if (c->opts.dry_run)
        return 0;
    int r = store_put(c->server->store, old->kind, msg, old->rev, done, arg, &c->reply.err);
    return r < 0 ? r : 1;
}

static int remove_now(struct api_call *c, struct object *old, store_done_fn done, void *arg)
{
    if (!done)
        return call_remove(c, old, old->rev, old->kind != KIND(POD));
    if (c->opts.dry_run)
        return 0;
    int r = store_delete(c->server->store, old->kind, object_ns(old), object_name(old), old->rev,
                         done, arg, &c->reply.err);
    return r < 0 ? r : 1;
}

/* c->kind's storage kind is old's kind. */
int delete_one(struct api_call *c, struct object *old, store_done_fn done, void *arg)
{
    const struct api_object_meta *o = object_meta(old);
    struct str *finalizers;
    uint32_t n_finalizers;
    bool changed = policy_finalizers(c, old->kind, o, &finalizers, &n_finalizers);
    int64_t grace = grace_of(c, old);
    bool ns_held =
        old->kind == KIND(NAMESPACE) && OBJECT_MSG(old, api_namespace)->spec.n_finalizers;
    bool marked = o->deletion_timestamp.set;

    if (marked && grace > 0) { /* a grace period may only get shorter */
        int64_t had = o->has_deletion_grace_period_seconds ? o->deletion_grace_period_seconds : 0;
        if (!c->del.has_grace || grace >= had)
            grace = had;
    }
    if (grace == 0 && n_finalizers == 0 && !ns_held)
        return remove_now(c, old, done, arg);
    bool graceless =
        old->kind == KIND(NAMESPACE); /* never tells how long: it takes what it takes */
    bool same_grace = graceless || (o->has_deletion_grace_period_seconds &&
                                    o->deletion_grace_period_seconds == grace);
    if (marked && !changed && same_grace) {
        if (!done)
            c->reply.object = object_ref(old);
        return 0;
    }
    void *msg = schema_clone(old->kind->desc, old->msg, &c->arena);
    struct api_object_meta *m = msg;
    m->finalizers = finalizers;
    m->n_finalizers = n_finalizers;
    usec_t now = rt_wall(c->server->rt);
    if (!marked || !same_grace) {
        m->deletion_timestamp = timestamp_seconds(now + usec_of_s(grace));
        m->has_deletion_grace_period_seconds = !graceless;
        m->deletion_grace_period_seconds = grace;
        if (m->generation > 0)
            m->generation++;
    }
    if (old->kind == KIND(NAMESPACE))
        ((struct api_namespace *)msg)->status.phase = STR("Terminating");
    if (old->kind == KIND(CUSTOM_RESOURCE_DEFINITION) && !marked)
        crd_mark_deleted(c, msg);
    m->resource_version = STR_NONE;
    return put_marked(c, old, msg, done, arg);
}

/* Who is asked sees the object in his version; what is marked or removed is what is stored. */
int verb_delete(struct api_call *c)
{
    struct object *old = store_peek(c->server->store, storage_kind(c->kind), c->ns, c->name);
    int r = delete_check_options(c);
    if (r < 0)
        return r;
    if (!old)
        return call_not_found(c, c->kind, c->name);
    r = delete_check_preconditions(c, old);
    if (r >= 0)
        r = admit_delete(c, call_in_hand(c, old));
    if (r == 0)
        r = hooks_delete(c, call_in_hand(c, old));
    if (r == 0)
        r = delete_one(c, old, NULL, NULL);
    if (c->reply.code == 0)
        c->reply.code = 200;
    return r;
}
