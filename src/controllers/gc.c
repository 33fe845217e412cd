/* Garbage collection by owner references. A dependent whose owners are all gone goes too
 * (background); an owner deleted in the foreground waits, by its finalizer foregroundDeletion, for
 * the dependents that block it; an owner deleted with "orphan" first takes its reference out of its
 * dependents.
 *
 * There is no graph to keep: dependents are found by the shared caches' index of owner uids, and
 * owners by name. Custom kinds get a cache of their own as they are declared; it stays until the
 * process ends, empty when the kind is gone. "Gone" is never concluded from a cache alone: a live
 * read must not find the uid. Keys are "KIND NUMBER/NAMESPACE/NAME". */
#include "base/buf.h"
#include "controllers/registry.h"
#include "schema/custom.h"

struct state {
    int by_owner[_KIND_MAX];       /* index numbers; -1: kind not looked at */
    struct client_cache **customs; /* of custom kinds; their index 0 is by owner */
    size_t n_customs, cap_customs;
};

/* Stored kinds: any may own or be owned, or be deleted in the foreground. Events do neither, and
 * are too many for a cache. */
static const enum kind_id KINDS[] = {
    KIND_CONFIG_MAP,
    KIND_SECRET,
    KIND_SERVICE,
    KIND_SERVICE_ACCOUNT,
    KIND_POD,
    KIND_ENDPOINTS,
    KIND_ENDPOINT_SLICE,
    KIND_REPLICA_SET,
    KIND_JOB,
    KIND_DEPLOYMENT,
    KIND_NODE,
    KIND_NAMESPACE,
    KIND_CONTROLLER_REVISION,
    KIND_LEASE,
    KIND_LIMIT_RANGE,
    KIND_PERSISTENT_VOLUME,
    KIND_PERSISTENT_VOLUME_CLAIM,
    KIND_POD_TEMPLATE,
    KIND_REPLICATION_CONTROLLER,
    KIND_RESOURCE_QUOTA,
    KIND_DAEMON_SET,
    KIND_STATEFUL_SET,
    KIND_CRON_JOB,
    KIND_CLUSTER_ROLE,
    KIND_CLUSTER_ROLE_BINDING,
    KIND_ROLE,
    KIND_ROLE_BINDING,
    KIND_POD_DISRUPTION_BUDGET,
    KIND_NETWORK_POLICY,
    KIND_IP_ADDRESS,
    KIND_INGRESS,
    KIND_INGRESS_CLASS,
    KIND_SERVICE_CIDR,
    KIND_STORAGE_CLASS,
    KIND_CSI_DRIVER,
    KIND_CSI_NODE,
    KIND_CSI_STORAGE_CAPACITY,
    KIND_VOLUME_ATTACHMENT,
    KIND_VOLUME_ATTRIBUTES_CLASS,
    KIND_APISERVICE,
    KIND_PRIORITY_CLASS,
    KIND_RUNTIME_CLASS,
    KIND_CERTIFICATE_SIGNING_REQUEST,
    KIND_MUTATING_ADMISSION_POLICY,
    KIND_MUTATING_ADMISSION_POLICY_BINDING,
    KIND_MUTATING_WEBHOOK_CONFIGURATION,
    KIND_VALIDATING_ADMISSION_POLICY,
    KIND_VALIDATING_ADMISSION_POLICY_BINDING,
    KIND_VALIDATING_WEBHOOK_CONFIGURATION,
    KIND_HORIZONTAL_POD_AUTOSCALER,
    KIND_FLOW_SCHEMA,
    KIND_PRIORITY_LEVEL_CONFIGURATION,
    KIND_DEVICE_CLASS,
    KIND_DEVICE_RESOURCE_CLAIM,
    KIND_RESOURCE_CLAIM_TEMPLATE,
    KIND_RESOURCE_SLICE,
};

static void add(struct controller *c, const struct object *o)
{
    char key[600];
    int n = snprintf(key, sizeof(key), "%u/%.*s/%.*s", o->kind->id, STR_ARG(object_ns(o)),
                     STR_ARG(object_name(o)));
    ASSERT(n > 0 && n < (int)sizeof(key));
    controller_add(c, (struct str){key, (size_t)n});
}

typedef void (*dependent_fn)(void *ctx, struct object *dependent);

static void each_dependent(struct controller *c, struct str uid, dependent_fn fn, void *ctx)
{
    const struct state *st = controller_state(c);
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        struct client_cache_iter it;
        client_cache_iter_init_index(&it, controller_cache(c, KINDS[i]), st->by_owner[KINDS[i]],
                                     uid);
        for (struct object *o; (o = client_cache_iter_next(&it));)
            fn(ctx, o);
    }
    for (size_t i = 0; i < st->n_customs; i++) {
        struct client_cache_iter it;
        client_cache_iter_init_index(&it, st->customs[i], 0, uid);
        for (struct object *o; (o = client_cache_iter_next(&it));)
            fn(ctx, o);
    }
}

/* The kind an owner reference speaks of: of the tables, or declared. */
static const struct schema_kind *kind_find(struct controller *c, struct str api_version,
                                           struct str kind)
{
    struct str group, version;
    struct client_cache_iter it;
    if (!schema_split_api_version(api_version, &group, &version))
        return NULL;
    const struct schema_kind *k = schema_kind_find(group, version, kind);
    if (k || str_find(group, '.') < 0)
        return k;
    client_cache_iter_init(&it, controller_cache(c, KIND_CUSTOM_RESOURCE_DEFINITION), STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const struct api_custom_resource_definition *crd = o->msg;
        if (str_eq(crd->spec.group, group) && str_eq(crd->spec.names.kind, kind))
            return custom_stored_of(crd);
    }
    return NULL;
}

static void add_dependent(void *ctx, struct object *o)
{
    add(ctx, o);
}

static bool is_waiting(const struct api_object_meta *m)
{
    return m->deletion_timestamp.set &&
           has_str(m->finalizers, m->n_finalizers, STR("foregroundDeletion"));
}

static void map(struct controller *c, struct object *old, struct object *new)
{
    if (!new) {
        each_dependent(c, object_meta(old)->uid, add_dependent, c);
        const struct api_object_meta *m = object_meta(old); /* owners may wait for it */
        for (uint32_t i = 0; i < m->n_owner_references; i++) {
            const struct api_owner_reference *r = &m->owner_references[i];
            if (!r->block_owner_deletion)
                continue;
            const struct schema_kind *k = kind_find(c, r->api_version, r->kind);
            struct client_cache *cache = k ? client_shared_find(controller_shared(c), k) : NULL;
            struct object *owner =
                cache ? client_cache_get(cache, k->namespaced ? m->namespace : STR_NONE, r->name)
                      : NULL;
            if (owner && is_waiting(object_meta(owner)))
                add(c, owner);
        }
        return;
    }
    const struct api_object_meta *m = object_meta(new);
    if (m->deletion_timestamp.set && m->n_finalizers > 0) {
        add(c, new);
        if (is_waiting(m))
            each_dependent(c, m->uid, add_dependent, c);
    } else if (m->n_owner_references > 0 &&
               (!old || object_meta(old)->n_owner_references != m->n_owner_references)) {
        add(c, new);
    }
}

static void map_custom(void *arg, struct object *old, struct object *new)
{
    map(arg, old, new);
}

/* A definition is there: its objects may own and be owned. */
static void map_crd(struct controller *c, struct object *old, struct object *new)
{
    struct state *st = controller_state(c);
    const struct schema_kind *k =
        new ? custom_stored_of(OBJECT_MSG(new, api_custom_resource_definition)) : NULL;
    if (!k || client_shared_find(controller_shared(c), k))
        return;
    ARRAY_RESERVE(st->customs, st->n_customs, st->cap_customs);
    st->customs[st->n_customs++] =
        client_shared_custom(controller_shared(c), k, owner_index, map_custom, c);
}

static void fini(struct controller *c)
{
    struct state *st = controller_state(c);
    free(st->customs);
    controller_free_state(c);
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++)
        st->by_owner[KINDS[i]] = controller_index(c, KINDS[i], owner_index);
    controller_set_state(c, st);
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++)
        controller_watch(c, KINDS[i], map);
    controller_watch(c, KIND_CUSTOM_RESOURCE_DEFINITION, map_crd);
}

/* ---- writes: what goes for any kind ---- */

static void patch(struct reconcile *rc, const struct object *o, enum client_patch type,
                  struct str json, reconcile_done_fn done, void *arg)
{
    const struct api_object_meta *m = object_meta(o);
    if (o->kind->id < _KIND_MAX) {
        controller_patch(rc, (enum kind_id)o->kind->id, m, NULL, type, json, done, arg);
        return;
    }
    const struct client_request req = {.verb = CLIENT_PATCH,
                                       .kind = o->kind,
                                       .ns = m->namespace,
                                       .name = m->name,
                                       .patch_type = type,
                                       .patch = json};
    controller_call(rc, &req, done, arg);
}

static bool gone_is_fine(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    return reply->r == 0 || reply->r == -ENOENT || reply->r == -ESTALE;
}

static void delete (struct reconcile *rc, const struct object *o, const char *how)
{
    const struct api_object_meta *m = object_meta(o);
    if (o->kind->id < _KIND_MAX) {
        controller_delete(rc, (enum kind_id)o->kind->id, m, how, NULL, NULL);
        return;
    }
    const struct client_request req = {.verb = CLIENT_DELETE,
                                       .kind = o->kind,
                                       .ns = m->namespace,
                                       .name = m->name,
                                       .precondition_uid = m->uid,
                                       .propagation = str_z(how)};
    controller_call(rc, &req, gone_is_fine, NULL);
}

/* ---- one object ---- */

enum owner_is { OWNER_SOLID, OWNER_WAITING, OWNER_GONE, OWNER_UNKNOWN };

struct work {
    struct object *o;
    enum owner_is *owners;
    unsigned n_calls;
};

struct probe {
    struct work *work;
    uint32_t i;
};

static void count_dependent(void *ctx, struct object *o)
{
    ++*(uint32_t *)ctx;
}

static struct str refs_patch(struct reconcile *rc, const struct work *w, bool drop_waiting)
{
    const struct api_object_meta *m = object_meta(w->o);
    struct buf b = {0};
    unsigned k = 0;
    buf_printf(&b, "{\"metadata\":{\"uid\":\"%.*s\",\"ownerReferences\":[", STR_ARG(m->uid));
    for (uint32_t i = 0; i < m->n_owner_references; i++)
        if (w->owners[i] == OWNER_GONE || (drop_waiting && w->owners[i] == OWNER_WAITING))
            buf_printf(&b, "%s{\"$patch\":\"delete\",\"uid\":\"%.*s\"}", k++ ? "," : "",
                       STR_ARG(m->owner_references[i].uid));
    buf_add_lit(&b, "]}}");
    struct str out = arena_str(rc->arena, buf_str(&b));
    buf_fini(&b);
    return out;
}

/* What becomes of the object, once all its owners are known. */
static void judge(struct reconcile *rc, struct work *w)
{
    const struct api_object_meta *m = object_meta(w->o);
    unsigned solid = 0, waiting = 0, gone = 0;
    for (uint32_t i = 0; i < m->n_owner_references; i++) {
        solid += w->owners[i] == OWNER_SOLID || w->owners[i] == OWNER_UNKNOWN;
        waiting += w->owners[i] == OWNER_WAITING;
        gone += w->owners[i] == OWNER_GONE;
    }
    if (solid > 0) {
        if (gone + waiting > 0)
            patch(rc, w->o, CLIENT_PATCH_STRATEGIC, refs_patch(rc, w, true), NULL, NULL);
        return;
    }
    uint32_t dependents = 0;
    each_dependent(rc->controller, m->uid, count_dependent, &dependents);
    const char *how = waiting > 0 && dependents > 0                            ? "Foreground"
                      : has_str(m->finalizers, m->n_finalizers, STR("orphan")) ? "Orphan"
                      : has_str(m->finalizers, m->n_finalizers, STR("foregroundDeletion"))
                          ? "Foreground"
                          : "Background";
    if (!m->deletion_timestamp.set)
        delete (rc, w->o, how);
}

static bool probed(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct probe *p = arg;
    const struct api_owner_reference *r = &object_meta(p->work->o)->owner_references[p->i];
    enum owner_is *out = &p->work->owners[p->i];
    if (reply->r == 0 && str_eq(object_meta(reply->object)->uid, r->uid))
        *out = is_waiting(object_meta(reply->object)) ? OWNER_WAITING : OWNER_SOLID;
    else if (reply->r == 0 || reply->r == -ENOENT)
        *out = OWNER_GONE;
    else
        reconcile_fail(rc, "look for owner %.*s %.*s: %s", STR_ARG(r->kind), STR_ARG(r->name),
                       strerror(-reply->r));
    if (--p->work->n_calls == 0)
        judge(rc, p->work);
    return true;
}

static void judge_owners(struct reconcile *rc, struct work *w)
{
    const struct api_object_meta *m = object_meta(w->o);
    w->owners = ARENA_NEW_N(rc->arena, enum owner_is, m->n_owner_references + 1);
    w->n_calls = 1;
    for (uint32_t i = 0; i < m->n_owner_references; i++) {
        const struct api_owner_reference *r = &m->owner_references[i];
        const struct schema_kind *k = kind_find(rc->controller, r->api_version, r->kind);
        w->owners[i] = OWNER_UNKNOWN; /* a kind we do not serve: leave the object alone */
        if (!k || (k->namespaced && str_empty(m->namespace)))
            continue;
        struct str ns = k->namespaced ? m->namespace : STR_NONE;
        struct client_cache *cache = client_shared_find(controller_shared(rc->controller), k);
        struct object *owner = cache ? client_cache_get(cache, ns, r->name) : NULL;
        if (owner && str_eq(object_meta(owner)->uid, r->uid)) {
            w->owners[i] = is_waiting(object_meta(owner)) ? OWNER_WAITING : OWNER_SOLID;
            continue;
        }
        struct probe *p = ARENA_NEW(rc->arena, struct probe);
        *p = (struct probe){w, i};
        w->n_calls++;
        const struct client_request req = {
            .verb = CLIENT_GET, .kind = k, .ns = ns, .name = r->name};
        controller_call(rc, &req, probed, p);
    }
    if (--w->n_calls == 0)
        judge(rc, w);
}

/* ---- owners that wait ---- */

struct waiting {
    struct reconcile *rc;
    struct object *owner;
    unsigned blocking, others, n_calls;
    bool failed;
};

static void look_at_dependent(void *ctx, struct object *o)
{
    struct waiting *w = ctx;
    const struct api_object_meta *m = object_meta(o);
    for (uint32_t i = 0; i < m->n_owner_references; i++)
        if (str_eq(m->owner_references[i].uid, object_meta(w->owner)->uid))
            *(m->owner_references[i].block_owner_deletion ? &w->blocking : &w->others) += 1;
    add(w->rc->controller, o);
}

static void drop_finalizer(struct reconcile *rc, struct object *o, const char *finalizer)
{
    const struct api_object_meta *m = object_meta(o);
    patch(rc, o, CLIENT_PATCH_MERGE, finalizers_patch_without(rc->arena, m, str_z(finalizer)), NULL,
          NULL);
}

static bool let_go(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct waiting *w = arg;
    if (reply->r < 0 && reply->r != -ENOENT)
        w->failed = true;
    if (--w->n_calls == 0 && !w->failed)
        drop_finalizer(rc, w->owner, "orphan");
    return reply->r == 0 || reply->r == -ENOENT;
}

static void let_go_of(void *ctx, struct object *o)
{
    struct waiting *w = ctx;
    struct str json =
        arena_printf(w->rc->arena,
                     "{\"metadata\":{\"uid\":\"%.*s\",\"ownerReferences\":[{\"$patch\":\"delete\","
                     "\"uid\":\"%.*s\"}]}}",
                     STR_ARG(object_meta(o)->uid), STR_ARG(object_meta(w->owner)->uid));
    w->n_calls++;
    patch(w->rc, o, CLIENT_PATCH_STRATEGIC, json, let_go, w);
}

static struct object *find_custom(const struct state *st, int64_t id, struct str ns,
                                  struct str name)
{
    for (size_t i = 0; i < st->n_customs; i++)
        if (client_cache_kind(st->customs[i])->id == id)
            return client_cache_get(st->customs[i], ns, name);
    return NULL;
}

static struct object *find(struct reconcile *rc)
{
    struct str rest = rc->key, number, ns;
    int64_t id;
    (void)str_cut(&rest, '/', &number);
    (void)str_cut(&rest, '/', &ns);
    if (str_to_i64(number, &id) < 0 || id < 0)
        return NULL;
    if (id >= _KIND_MAX)
        return find_custom(controller_state(rc->controller), id, ns, rest);
    return controller_find(rc->controller, (enum kind_id)id, ns, rest);
}

/* A cache that has just been started cannot say yet who depends on whom. */
static bool all_known(struct reconcile *rc)
{
    const struct state *st = controller_state(rc->controller);
    for (size_t i = 0; i < st->n_customs; i++)
        if (!client_cache_synced(st->customs[i]))
            return false;
    return true;
}

static void reconcile(struct reconcile *rc)
{
    struct object *o = find(rc);
    if (!o)
        return;
    if (!all_known(rc)) {
        reconcile_again(rc, NSEC_PER_SEC / 10);
        return;
    }
    const struct api_object_meta *m = object_meta(reconcile_keep(rc, o));
    struct waiting *w = ARENA_NEW(rc->arena, struct waiting);
    *w = (struct waiting){.rc = rc, .owner = o};
    if (m->deletion_timestamp.set && has_str(m->finalizers, m->n_finalizers, STR("orphan"))) {
        w->n_calls = 1;
        each_dependent(rc->controller, m->uid, let_go_of, w);
        if (--w->n_calls == 0)
            drop_finalizer(rc, o, "orphan");
    } else if (is_waiting(m)) {
        each_dependent(rc->controller, m->uid, look_at_dependent, w);
        if (w->blocking == 0)
            drop_finalizer(rc, o, "foregroundDeletion");
    } else if (m->n_owner_references > 0) {
        struct work *k = ARENA_NEW(rc->arena, struct work);
        k->o = o;
        judge_owners(rc, k);
    }
}

const struct controller_row gc_row = {
    .name = "garbage-collector",
    .init = init,
    .fini = fini,
    .reconcile = reconcile,
};
