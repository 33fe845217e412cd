/* Subresources that are more than a part of the object: scale, binding, finalize (eviction.c). */
#include "apiserver/hooks/hooks.h"
#include "apiserver/subresource.h"

#include "api/kv.h"

#include "schema/select.h"

/* ---- scale (autoscaling/v1) ---- */

struct scale_view {
    int32_t spec, status;
    const struct api_label_selector *selector; /* or those labels */
    const struct kv_str *labels;
    uint32_t n_labels;
    int32_t *put; /* where a write goes, in a clone */
    bool *put_has;
};

/* o: the object, as its own struct */
#define SCALE_VIEW(v, o)                                                                           \
    ((v)->spec = (o)->spec.replicas, (v)->status = (o)->status.replicas,                           \
     (v)->put = &(o)->spec.replicas, (v)->put_has = &(o)->spec.has_replicas)

static bool scale_view(const struct schema_kind *k, const void *msg, struct scale_view *v)
{
    void *o = (void *)(uintptr_t)msg;
    *v = (struct scale_view){0};
    if (k == KIND(DEPLOYMENT)) {
        SCALE_VIEW(v, (struct api_deployment *)o);
        v->selector = ((struct api_deployment *)o)->spec.selector;
    } else if (k == KIND(REPLICA_SET)) {
        SCALE_VIEW(v, (struct api_replica_set *)o);
        v->selector = ((struct api_replica_set *)o)->spec.selector;
    } else if (k == KIND(STATEFUL_SET)) {
        SCALE_VIEW(v, (struct api_stateful_set *)o);
        v->selector = ((struct api_stateful_set *)o)->spec.selector;
    } else if (k == KIND(REPLICATION_CONTROLLER)) {
        SCALE_VIEW(v, (struct api_replication_controller *)o);
        v->labels = ((struct api_replication_controller *)o)->spec.selector;
        v->n_labels = ((struct api_replication_controller *)o)->spec.n_selector;
    } else {
        return false;
    }
    return true;
}

struct api_scale *scale_of(struct api_call *c, const struct object *o)
{
    struct scale_view v;
    struct label_selector sel;
    struct api_scale *s = ARENA_NEW(&c->arena, struct api_scale);
    const struct api_object_meta *m = object_meta(o);
    bool custom = o->kind->custom;
    if (custom)
        (void)custom_scale_fill(c, o, s);
    else if (!scale_view(o->kind, o->msg, &v))
        return s;
    s->metadata.name = arena_str(&c->arena, m->name);
    s->metadata.namespace = arena_str(&c->arena, m->namespace);
    s->metadata.uid = arena_str(&c->arena, m->uid);
    s->metadata.resource_version = arena_printf(&c->arena, "%llu", (unsigned long long)o->rev);
    s->metadata.creation_timestamp = m->creation_timestamp;
    if (custom)
        return s;
    s->spec.replicas = v.spec;
    s->status.replicas = v.status;
    int r = 0;
    if (v.labels)
        label_selector_from_map(&c->arena, v.labels, v.n_labels, &sel);
    else
        r = label_selector_compile(&c->arena, v.selector, &sel, NULL);
    if (r >= 0)
        s->status.selector = label_selector_print(&c->arena, &sel);
    return s;
}

int scale_get(struct api_call *c, struct object *o)
{
    struct api_scale of_none = {0};
    if (o->kind->custom && !custom_scale_fill(c, o, &of_none))
        return custom_scale_absent(c);
    return call_message(c, &api_scale_desc, scale_of(c, o), 200);
}

int scale_update(struct api_call *c)
{
    struct object *old = call_peek(c);
    struct scale_view v = {0};
    if (!old)
        return call_not_found(c, c->kind, c->name);
    if (c->body_desc != &api_scale_desc)
        return call_error(c, REASON_BAD_REQUEST, "a Scale is expected in the request's body");
    struct api_scale *s = c->body;
    int r = hooks_sub(c, ADMIT_UPDATE, &api_scale_desc, s, c->hooks ? scale_of(c, old) : NULL, old);
    if (r)
        return r;
    if (s->metadata.name.n && !str_eq(s->metadata.name, c->name))
        return call_error(c, REASON_BAD_REQUEST,
                          "the name of the object (%.*s) does not match the name on the URL (%.*s)",
                          STR_ARG(s->metadata.name), STR_ARG(c->name));
    if (s->spec.replicas < 0) {
        (void)error_cause(&c->reply.err, CAUSE_INVALID, STR("spec.replicas"),
                          "Invalid value: %d: must be greater than or equal to 0",
                          s->spec.replicas);
        c->reply.details_kind = STR("Scale");
        c->reply.details_group = STR("autoscaling");
        return error_invalid(&c->reply.err, STR("Scale.autoscaling"), c->name);
    }
    void *msg = c->kind->custom ? custom_scale_put(c, old, s->spec.replicas)
                                : schema_clone(c->kind->desc, old->msg, &c->arena);
    if (!msg || (!c->kind->custom && !scale_view(c->kind, msg, &v)))
        return call_error(c, REASON_NOT_FOUND, "the server could not find the requested resource");
    struct api_object_meta *m = msg;
    m->resource_version = s->metadata.resource_version;
    m->uid = s->metadata.uid.n ? s->metadata.uid : m->uid;
    if (!c->kind->custom) {
        *v.put = s->spec.replicas;
        *v.put_has = true;
    }
    c->answer_scale = true;
    r = strategy_update(c, msg, old);
    if (r >= 0)
        r = strategy_validate(c, msg, old);
    return r < 0 ? r : strategy_commit_update(c, msg, old);
}

/* ---- binding: the scheduler's answer ---- */

static void set_scheduled(struct api_call *c, struct api_pod *p)
{
    struct api_pod_status *s = &p->status;
    struct api_pod_condition *v =
        ARENA_NEW_N(&c->arena, struct api_pod_condition, s->n_conditions + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_conditions; i++)
        if (!str_is(s->conditions[i].type, "PodScheduled"))
            v[n++] = s->conditions[i];
    v[n++] = (struct api_pod_condition){.type = STR("PodScheduled"),
                                        .status = STR("True"),
                                        .last_transition_time =
                                            timestamp_seconds(rt_wall(c->server->rt))};
    s->conditions = v;
    s->n_conditions = n;
}

int sub_binding(struct api_call *c)
{
    const struct api_binding *b = c->body;
    if (!b || c->body_desc != &api_binding_desc)
        return call_error(c, REASON_BAD_REQUEST, "a Binding is expected in the request's body");
    if (!c->name.n)
        c->name = b->metadata.name;
    struct object *old = store_peek(c->server->store, KIND(POD), c->ns, c->name);
    int r = hooks_sub(c, ADMIT_CREATE, &api_binding_desc, c->body, NULL, old);
    if (r)
        return r;
    c->kind = KIND(POD);
    if (b->target.kind.n && !str_is(b->target.kind, "Node"))
        r = call_error(c, REASON_BAD_REQUEST,
                       "target.kind: Unsupported value: \"%.*s\": supported values: \"Node\"",
                       STR_ARG(b->target.kind));
    else if (!b->target.name.n)
        r = call_error(c, REASON_BAD_REQUEST, "target.name: Required value");
    else if (!old)
        r = call_not_found(c, KIND(POD), c->name);
    if (r < 0)
        return r;
    const struct api_pod *o = old->msg;
    c->reply.details_kind = STR("pods/binding");
    if (b->metadata.uid.n && !str_eq(b->metadata.uid, o->metadata.uid))
        return call_conflict(
            c, c->name, "Precondition failed: UID in precondition: %.*s, UID in object meta: %.*s",
            STR_ARG(b->metadata.uid), STR_ARG(o->metadata.uid));
    if (o->metadata.deletion_timestamp.set)
        return call_conflict(c, c->name, "pod %.*s is being deleted, cannot be assigned to a host",
                             STR_ARG(c->name));
    if (o->spec.node_name.n)
        return call_conflict(c, c->name, "pod %.*s is already assigned to node \"%.*s\"",
                             STR_ARG(c->name), STR_ARG(o->spec.node_name));
    if (o->spec.n_scheduling_gates)
        return call_conflict(c, c->name, "pod %.*s has non-empty .spec.schedulingGates",
                             STR_ARG(c->name));
    struct api_pod *p = schema_clone(&api_pod_desc, o, &c->arena);
    p->spec.node_name = b->target.name;
    p->metadata.resource_version = STR_NONE;
    for (uint32_t i = 0; i < b->metadata.n_annotations; i++)
        kv_str_set(&c->arena, &p->metadata.annotations, &p->metadata.n_annotations,
                   b->metadata.annotations[i].key, b->metadata.annotations[i].value);
    set_scheduled(c, p);
    r = call_put(c, p, old->rev);
    c->reply.success_status = true;
    c->reply.code = 201;
    return r;
}

/* ---- namespaces/finalize ---- */

int sub_finalize(struct api_call *c)
{
    struct object *old = call_peek(c);
    if (!old)
        return call_not_found(c, c->kind, c->name);
    if (!c->body || c->body_desc != c->kind->desc)
        return call_error(c, REASON_BAD_REQUEST, "a Namespace is expected in the request's body");
    int r = hooks_sub(c, ADMIT_UPDATE, c->kind->desc, c->body, old->msg, old);
    if (r)
        return r;
    const struct api_namespace *in = c->body;
    struct api_namespace *n = schema_clone(&api_namespace_desc, old->msg, &c->arena);
    n->spec = in->spec;
    n->metadata.resource_version = in->metadata.resource_version;
    rev_t rv;
    if (n->metadata.resource_version.n && str_to_u64(n->metadata.resource_version, &rv) >= 0 &&
        rv != old->rev)
        return call_conflict(c, c->name,
                             "the object has been modified; please apply your changes to the "
                             "latest version and try again");
    n->metadata.resource_version = STR_NONE;
    return strategy_commit_update(c, n, old);
}

/* ---- pods/ephemeralcontainers: the pod as it is, with these ---- */

int sub_ephemeral(struct api_call *c)
{
    struct object *old = call_peek(c);
    if (!old)
        return call_not_found(c, c->kind, c->name);
    if (!c->body || c->body_desc != c->kind->desc)
        return call_error(c, REASON_BAD_REQUEST, "a Pod is expected in the request's body");
    return verb_update(c); /* what counts of it is strategy.c's to say */
}

/* ---- pods/resize: what counts of it is strategy.c's to say ---- */

int sub_resize(struct api_call *c)
{
    return verb_update(c);
}

/* ---- which ---- */

bool subresource_is_special(const struct api_call *c)
{
    return c->subresource.n && !call_is_status(c);
}

int subresource_run(struct api_call *c)
{
    static const struct {
        const char *name;
        int (*run)(struct api_call *c);
    } table[] = {
        {"scale", scale_update},    {"binding", sub_binding},
        {"eviction", sub_eviction}, {"finalize", sub_finalize},
        {"token", sub_token},       {"ephemeralcontainers", sub_ephemeral},
        {"resize", sub_resize},
    };
    size_t i = 0;
    while (i < ARRAY_LEN(table) && !str_eqz(c->subresource, table[i].name))
        i++;
    if (i == ARRAY_LEN(table))
        return call_error(c, REASON_NOT_FOUND, "the server could not find the requested resource");
    /* These are updates like others. */
    bool update = table[i].run == sub_ephemeral || table[i].run == sub_resize;
    int r = update ? 0 : admit_special(c);
    return r ? r : table[i].run(c);
}
