/* Namespaces that are being deleted: everything in them goes first, kind by kind; when a live look
 * finds nothing left, the finalizer "kubernetes" is taken away and the server lets the namespace
 * go. What still holds on (finalizers, grace periods) is said in the conditions. The namespaces of
 * the system are made anew when they are gone. */
#include "base/buf.h"
#include "controllers/registry.h"
#include "schema/custom.h"

#define LOOK_AGAIN (1 * NSEC_PER_SEC)
#define GONE_FOR   (2 * NSEC_PER_SEC) /* a namespace of the system, before it is made anew */

struct left { /* what the live lists found */
    const struct schema_kind *kind;
    size_t n, with_finalizers;
};

struct work {
    const struct api_namespace *ns;
    struct left *left; /* one for each kind with content in namespaces */
    unsigned n_kinds, n_calls;
    bool failed;
    struct str failure;
};

static bool is_content(const struct schema_kind *k)
{
    return k && k->namespaced && k->storage == k->id && k->list_desc &&
           (k->verbs & SCHEMA_VERB_LIST) && (k->verbs & SCHEMA_VERB_DELETECOLLECTION);
}

static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    struct object *ns = new ? NULL : controller_find(c, KIND_NAMESPACE, STR_NONE, object_ns(old));
    if (ns && object_meta(ns)->deletion_timestamp.set)
        controller_add_object(c, ns);
}

static void put_condition(struct reconcile *rc, struct api_namespace_status *st, const char *type,
                          bool bad, const char *reason, const char *good_reason, struct str message)
{
    struct api_namespace_condition *v =
        ARENA_NEW_N(rc->arena, struct api_namespace_condition, st->n_conditions + 1);
    struct api_namespace_condition fresh = {.type = str_z(type),
                                            .status = bad ? STR("True") : STR("False"),
                                            .reason = str_z(bad ? reason : good_reason),
                                            .message = message,
                                            .last_transition_time = timestamp_seconds(rc->now)};
    uint32_t n = 0;
    bool found = false;
    for (uint32_t i = 0; i < st->n_conditions; i++) {
        v[n++] = st->conditions[i];
        if (!str_eqz(st->conditions[i].type, type))
            continue;
        found = true;
        if (str_eq(st->conditions[i].status, fresh.status))
            fresh.last_transition_time = st->conditions[i].last_transition_time;
        v[n - 1] = fresh;
    }
    if (!found)
        v[n++] = fresh;
    st->conditions = v;
    st->n_conditions = n;
}

static struct str say_left(struct reconcile *rc, const struct work *w, bool finalizers)
{
    struct buf b = {0};
    for (unsigned i = 0; i < w->n_kinds; i++) {
        size_t n = finalizers ? w->left[i].with_finalizers : w->left[i].n;
        if (n == 0)
            continue;
        buf_printf(&b, "%s%s.%s has %zu resource instances", b.n ? ", " : "",
                   w->left[i].kind->plural, w->left[i].kind->group, n);
    }
    struct str out =
        arena_printf(rc->arena, "Some %s remaining: %.*s",
                     finalizers ? "content in the namespace has finalizers" : "resources are",
                     STR_ARG(buf_str(&b)));
    buf_fini(&b);
    return out;
}

static void write_status(struct reconcile *rc, struct work *w)
{
    struct api_namespace copy = *w->ns;
    struct api_namespace_status *st = &copy.status;
    size_t n = 0, n_final = 0;
    for (unsigned i = 0; i < w->n_kinds; i++) {
        n += w->left[i].n;
        n_final += w->left[i].with_finalizers;
    }
    st->phase = STR("Terminating");
    put_condition(rc, st, "NamespaceDeletionDiscoveryFailure", false, "", "ResourcesDiscovered",
                  STR("All resources successfully discovered"));
    put_condition(rc, st, "NamespaceDeletionGroupVersionParsingFailure", false, "",
                  "ParsedGroupVersions", STR("All legacy kube types successfully parsed"));
    put_condition(rc, st, "NamespaceDeletionContentFailure", w->failed, "ContentDeletionFailed",
                  "ContentDeleted",
                  w->failed
                      ? w->failure
                      : STR("All content successfully deleted, may be waiting on finalization"));
    put_condition(rc, st, "NamespaceContentRemaining", n > 0, "SomeResourcesRemain",
                  "ContentRemoved",
                  n > 0 ? say_left(rc, w, false) : STR("All content successfully removed"));
    put_condition(rc, st, "NamespaceFinalizersRemaining", n_final > 0, "SomeFinalizersRemain",
                  "ContentHasNoFinalizers",
                  n_final > 0 ? say_left(rc, w, true)
                              : STR("All content-preserving finalizers finished"));
    if (!schema_equal(&api_namespace_status_desc, st, &w->ns->status)) {
        copy.metadata.resource_version = STR_NONE;
        controller_update_sub(rc, KIND_NAMESPACE, "status", &copy, NULL, NULL);
    }
}

static void conclude(struct reconcile *rc, struct work *w)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->n_kinds; i++)
        n += w->left[i].n;
    if (n > 0 || w->failed) {
        write_status(rc, w);
        reconcile_again(rc, LOOK_AGAIN);
        return;
    }
    if (w->ns->spec.n_finalizers > 1) /* others hold it still: nothing of its content does */
        write_status(rc, w);
    struct api_namespace copy = *w->ns;
    copy.metadata.resource_version = STR_NONE;
    copy.spec.finalizers = ARENA_NEW_N(rc->arena, struct str, w->ns->spec.n_finalizers + 1);
    copy.spec.n_finalizers = 0;
    for (uint32_t i = 0; i < w->ns->spec.n_finalizers; i++)
        if (!str_is(w->ns->spec.finalizers[i], "kubernetes"))
            copy.spec.finalizers[copy.spec.n_finalizers++] = w->ns->spec.finalizers[i];
    controller_update_sub(rc, KIND_NAMESPACE, "finalize", &copy, NULL, NULL);
}

static bool listed(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct work *w = arg;
    for (size_t i = 0; reply->r == 0 && i < reply->n_items; i++) {
        struct left *l = w->left;
        while (l->kind != schema_stored(reply->items[i]->kind))
            l++;
        l->n++;
        l->with_finalizers += object_meta(reply->items[i])->n_finalizers > 0;
    }
    if (reply->r < 0 && reply->r != -ENOENT) {
        w->failed = true;
        w->failure = reply->err ? arena_str(rc->arena, reply->err->message) : STR("no answer");
    }
    if (--w->n_calls == 0)
        conclude(rc, w);
    return true;
}

static void list_all(struct reconcile *rc, struct work *w)
{
    w->n_calls = w->n_kinds;
    for (unsigned i = 0; i < w->n_kinds; i++) {
        const struct client_request req = {
            .verb = CLIENT_LIST, .kind = w->left[i].kind, .ns = rc->name, .limit = 100};
        controller_call(rc, &req, listed, w);
    }
}

static bool emptied(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct work *w = arg;
    if (reply->r < 0 && reply->r != -ENOENT) {
        w->failed = true;
        w->failure = reply->err ? arena_str(rc->arena, reply->err->message) : STR("no answer");
    }
    if (--w->n_calls == 0)
        list_all(rc, w);
    return true;
}

/* Kinds of the tables, then those that were declared. */
static void find_kinds(struct reconcile *rc, struct work *w)
{
    struct client_cache *crds = controller_cache(rc->controller, KIND_CUSTOM_RESOURCE_DEFINITION);
    struct client_cache_iter it;
    size_t max = _KIND_MAX + client_cache_count(crds);
    w->left = ARENA_NEW_N(rc->arena, struct left, max);
    for (unsigned i = 0; i < _KIND_MAX; i++)
        if (is_content(schema_kinds[i]))
            w->left[w->n_kinds++].kind = schema_kinds[i];
    client_cache_iter_init(&it, crds, STR_NONE);
    for (struct object *o; w->n_kinds < max && (o = client_cache_iter_next(&it));) {
        const struct schema_kind *k =
            custom_stored_of(OBJECT_MSG(o, api_custom_resource_definition));
        if (k && k->namespaced)
            w->left[w->n_kinds++].kind = k;
    }
}

static bool made(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    return reply->r == 0 || reply->r == -EEXIST;
}

/* Every cluster has them: nodes have their leases there, parts look for settings. */
static bool is_of_system(struct str name)
{
    static const char *const all[] = {"default", "kube-system", "kube-public", "kube-node-lease"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (str_eqz(name, all[i]))
            return true;
    return false;
}

/* Who waits until a namespace is gone must see that it was: kubectl looks twice, some time apart,
 * and would wait for the end of the new one. */
static void map_namespace(struct controller *c, struct object *old, struct object *new)
{
    if (new)
        controller_add_object(c, new);
    else if (is_of_system(object_name(old)))
        controller_add_after(c, object_name(old), GONE_FOR);
}

static void make_again(struct reconcile *rc)
{
    struct api_namespace ns = {.metadata.name = rc->name};
    controller_create(rc, KIND_NAMESPACE, &ns, made, NULL);
}

static void reconcile(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_NAMESPACE, STR_NONE, rc->name);
    if (!o && is_of_system(rc->name))
        make_again(rc);
    if (!o || !object_meta(o)->deletion_timestamp.set)
        return;
    struct work *w = ARENA_NEW(rc->arena, struct work);
    w->ns = OBJECT_MSG(reconcile_keep(rc, o), api_namespace);
    if (!has_str(w->ns->spec.finalizers, w->ns->spec.n_finalizers, STR("kubernetes")))
        return;
    find_kinds(rc, w);
    w->n_calls = w->n_kinds;
    for (unsigned i = 0; i < w->n_kinds; i++) {
        const struct client_request req = {.verb = CLIENT_DELETE_COLLECTION,
                                           .kind = w->left[i].kind,
                                           .ns = rc->name,
                                           .propagation = STR("Background")};
        controller_call(rc, &req, emptied, w);
    }
}

const struct controller_row namespace_row = {
    .name = "namespace",
    .watches = {{KIND_NAMESPACE, map_namespace},
                {KIND_POD, map_pod},
                {KIND_CUSTOM_RESOURCE_DEFINITION, NULL}},
    .n_watches = 3,
    .reconcile = reconcile,
};
