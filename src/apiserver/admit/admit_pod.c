/* What every new pod gets: a service account and its token, a priority, and the tolerations that
 * give a lost node five minutes to come back. */
#include "apiserver/admit/admit_pod.h"

#define TOKEN_MOUNT   STR("/var/run/secrets/kubernetes.io/serviceaccount")
#define TOKEN_SECONDS 3607 /* as Kubernetes: an hour, and a mark of where it comes from */
#define LOST_SECONDS  300

static bool is_new_pod(const struct api_call *c, const struct object *old)
{
    return c->kind == KIND(POD) && !old && !c->subresource.n;
}

static bool is_mirror(const struct api_pod *p)
{
    return KV_GET(&p->metadata, annotations, STR("kubernetes.io/config.mirror")) != NULL;
}

/* ---- ServiceAccount ---- */

/* The default account is made by its controller; when a pod comes first it is made here, so that
 * the first pod of a fresh namespace need not be tried twice. */
static struct object *default_account(struct api_call *c, struct str ns)
{
    struct apiserver *s = c->server;
    struct api_service_account sa = {0};
    if (c->opts.dry_run)
        return NULL;
    sa.metadata.name = STR("default");
    sa.metadata.namespace = ns;
    sa.metadata.creation_timestamp = timestamp_seconds(rt_wall(s->rt));
    make_uid(s->rt, &c->arena, &sa.metadata.uid);
    if (store_put(s->store, KIND(SERVICE_ACCOUNT), &sa, STORE_ABSENT, NULL, NULL, NULL) < 0)
        return NULL;
    return store_peek(s->store, KIND(SERVICE_ACCOUNT), ns, STR("default"));
}

static struct api_volume token_volume(struct api_call *c, struct str name)
{
    struct arena *a = &c->arena;
    struct api_volume v = {.name = name};
    struct api_projected_volume_source *p = ARENA_NEW(a, struct api_projected_volume_source);
    struct api_volume_projection *s = ARENA_NEW_N(a, struct api_volume_projection, 3);
    s[0].service_account_token = ARENA_NEW(a, struct api_service_account_token_projection);
    s[0].service_account_token->has_expiration_seconds = true;
    s[0].service_account_token->expiration_seconds = TOKEN_SECONDS;
    s[0].service_account_token->path = STR("token");
    s[1].config_map = ARENA_NEW(a, struct api_config_map_projection);
    s[1].config_map->local_object_reference.name = STR("kube-root-ca.crt");
    s[1].config_map->items = ARENA_NEW(a, struct api_key_to_path);
    s[1].config_map->items[0] =
        (struct api_key_to_path){.key = STR("ca.crt"), .path = STR("ca.crt")};
    s[1].config_map->n_items = 1;
    s[2].downward_api = ARENA_NEW(a, struct api_downward_api_projection);
    s[2].downward_api->items = ARENA_NEW(a, struct api_downward_api_volume_file);
    s[2].downward_api->n_items = 1;
    s[2].downward_api->items[0].path = STR("namespace");
    s[2].downward_api->items[0].field_ref = ARENA_NEW(a, struct api_object_field_selector);
    s[2].downward_api->items[0].field_ref->api_version = STR("v1");
    s[2].downward_api->items[0].field_ref->field_path = STR("metadata.namespace");
    p->sources = s;
    p->n_sources = 3;
    p->has_default_mode = true;
    p->default_mode = 420;
    v.volume_source.projected = p;
    return v;
}

/* True when some container took the mount. */
static bool mount_in(struct api_call *c, struct api_container *v, uint32_t n, struct str name)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        bool there = false;
        for (uint32_t k = 0; k < v[i].n_volume_mounts; k++)
            there |= str_eq(v[i].volume_mounts[k].mount_path, TOKEN_MOUNT);
        if (there)
            continue;
        struct api_volume_mount *m =
            ARENA_NEW_N(&c->arena, struct api_volume_mount, v[i].n_volume_mounts + 1);
        if (v[i].n_volume_mounts)
            memcpy(m, v[i].volume_mounts, v[i].n_volume_mounts * sizeof(*m));
        m[v[i].n_volume_mounts++] =
            (struct api_volume_mount){.name = name, .read_only = true, .mount_path = TOKEN_MOUNT};
        v[i].volume_mounts = m;
        any = true;
    }
    return any;
}

static void mount_token(struct api_call *c, struct api_pod_spec *s)
{
    char suffix[6];
    struct str name = STR_NONE;
    for (uint32_t i = 0; i < s->n_volumes && !name.p; i++)
        if (str_starts(s->volumes[i].name, STR("kube-api-access-")))
            name = s->volumes[i].name; /* a copy of another pod's spec, or the second pass */
    bool there = name.p;
    random_suffix(c->server->rt, suffix, 5);
    if (!there)
        name = arena_printf(&c->arena, "kube-api-access-%s", suffix);
    bool init = mount_in(c, s->init_containers, s->n_init_containers, name);
    bool main = mount_in(c, s->containers, s->n_containers, name);
    if (there || (!init && !main))
        return;
    struct api_volume *v = ARENA_NEW_N(&c->arena, struct api_volume, s->n_volumes + 1);
    if (s->n_volumes)
        memcpy(v, s->volumes, s->n_volumes * sizeof(*v));
    v[s->n_volumes++] = token_volume(c, name);
    s->volumes = v;
}

int admit_service_account(struct api_call *c, void *msg, const struct object *old)
{
    struct api_pod *p = msg;
    if (!is_new_pod(c, old))
        return 0;
    struct api_pod_spec *s = &p->spec;
    if (is_mirror(p)) {
        if (s->service_account_name.n)
            return call_forbidden(c, p->metadata.name,
                                  "a mirror pod may not reference service accounts");
        return 0;
    }
    if (!s->service_account_name.n)
        s->service_account_name = STR("default");
    s->service_account = s->service_account_name;
    struct object *o = store_peek(c->server->store, KIND(SERVICE_ACCOUNT), p->metadata.namespace,
                                  s->service_account_name);
    bool is_default = str_is(s->service_account_name, "default");
    if (!o && is_default)
        o = default_account(c, p->metadata.namespace);
    if (!o && !(is_default && c->opts.dry_run))
        return call_forbidden(
            c, p->metadata.name,
            "error looking up service account %.*s/%.*s: serviceaccount \"%.*s\" not found",
            STR_ARG(p->metadata.namespace), STR_ARG(s->service_account_name),
            STR_ARG(s->service_account_name));
    const struct api_service_account *sa = o ? o->msg : NULL;
    bool automount = s->has_automount_service_account_token ? s->automount_service_account_token
                     : sa && sa->has_automount_service_account_token
                         ? sa->automount_service_account_token
                         : true;
    if (automount)
        mount_token(c, s);
    if (!s->n_image_pull_secrets && sa && sa->n_image_pull_secrets) {
        struct api_service_account *copy = schema_clone(&api_service_account_desc, sa, &c->arena);
        s->image_pull_secrets = copy->image_pull_secrets;
        s->n_image_pull_secrets = copy->n_image_pull_secrets;
    }
    return 0;
}

/* ---- Priority ---- */

static struct object *global_default(struct apiserver *s)
{
    struct store_iter it;
    struct object *best = NULL;
    if (store_iter_init(&it, s->store, KIND(PRIORITY_CLASS), STR_NONE, 0, STR_NONE, STR_NONE) < 0)
        return NULL;
    for (struct object *o; (o = store_iter_next(&it));)
        if (OBJECT_MSG(o, api_priority_class)->global_default &&
            (!best || OBJECT_MSG(o, api_priority_class)->value <
                          OBJECT_MSG(best, api_priority_class)->value))
            best = o;
    store_iter_fini(&it);
    return best;
}

int admit_priority(struct api_call *c, void *msg, const struct object *old)
{
    struct api_pod *p = msg;
    if (!is_new_pod(c, old))
        return 0;
    struct api_pod_spec *s = &p->spec;
    struct object *o = s->priority_class_name.n ? store_peek(c->server->store, KIND(PRIORITY_CLASS),
                                                             STR_NONE, s->priority_class_name)
                                                : global_default(c->server);
    if (s->priority_class_name.n && !o)
        return call_forbidden(c, p->metadata.name, "no PriorityClass with name %.*s was found",
                              STR_ARG(s->priority_class_name));
    int32_t value = 0;
    struct str policy = STR("PreemptLowerPriority");
    if (o) {
        const struct api_priority_class *pc = o->msg;
        value = pc->value;
        if (!s->priority_class_name.n)
            s->priority_class_name = arena_str(&c->arena, pc->metadata.name);
        if (pc->preemption_policy.n)
            policy = arena_str(&c->arena, pc->preemption_policy);
    }
    if (s->has_priority && s->priority != value)
        return call_forbidden(c, p->metadata.name,
                              "the integer value of priority (%d) must not be provided in pod "
                              "spec; priority admission "
                              "controller computed %d from the given PriorityClass name",
                              s->priority, value);
    s->has_priority = true;
    s->priority = value;
    if (!s->preemption_policy.n)
        s->preemption_policy = policy;
    return 0;
}

int admit_priority_class(struct api_call *c, const void *msg, const struct object *old)
{
    const struct api_priority_class *p = msg;
    if (c->kind != KIND(PRIORITY_CLASS) || !p->global_default)
        return 0;
    struct object *o = global_default(c->server);
    if (!o || (old && str_eq(object_name(o), p->metadata.name)))
        return 0;
    return call_forbidden(
        c, p->metadata.name,
        "PriorityClass %.*s is already marked as default. Only one default can exist",
        STR_ARG(object_name(o)));
}

int priority_class_remove(struct api_call *c, const struct object *old)
{
    struct str name = object_name(old);
    if (c->verb != API_DELETE || old->kind != KIND(PRIORITY_CLASS) ||
        (!str_is(name, "system-node-critical") && !str_is(name, "system-cluster-critical")))
        return 0;
    return call_forbidden(c, name, "this is a system priority class and cannot be deleted");
}

/* ---- DefaultTolerationSeconds ---- */

static bool tolerates(const struct api_pod_spec *s, struct str key)
{
    for (uint32_t i = 0; i < s->n_tolerations; i++) {
        const struct api_toleration *t = &s->tolerations[i];
        if ((!t->key.n || str_eq(t->key, key)) && (!t->effect.n || str_is(t->effect, "NoExecute")))
            return true;
    }
    return false;
}

int admit_tolerations(struct api_call *c, void *msg, const struct object *old)
{
    struct api_pod *p = msg;
    static const struct str keys[] = {{"node.kubernetes.io/not-ready", 28},
                                      {"node.kubernetes.io/unreachable", 30}};
    static_assert(sizeof("node.kubernetes.io/not-ready") - 1 == 28 &&
                      sizeof("node.kubernetes.io/unreachable") - 1 == 30,
                  "lengths above");
    if (!is_new_pod(c, old))
        return 0;
    struct api_pod_spec *s = &p->spec;
    const struct apiserver_opts *o = &c->server->opts;
    const int64_t given[] = {o->not_ready_toleration_s, o->unreachable_toleration_s};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (tolerates(s, keys[i]))
            continue;
        struct api_toleration *t =
            ARENA_NEW_N(&c->arena, struct api_toleration, s->n_tolerations + 1);
        if (s->n_tolerations)
            memcpy(t, s->tolerations, s->n_tolerations * sizeof(*t));
        t[s->n_tolerations++] = (struct api_toleration){
            .key = keys[i],
            .operator= STR("Exists"),
            .effect = STR("NoExecute"),
            .has_toleration_seconds = true,
            .toleration_seconds = o->has_default_tolerations ? given[i] : LOST_SECONDS};
        s->tolerations = t;
    }
    return 0;
}
