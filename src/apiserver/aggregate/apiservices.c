/* Keeps the APIServices of this server's own groups, as kube-apiserver's autoregistration does: who
 * lists them sees every version there is, and whoever made one of the same name for a server of his
 * own is left alone. All changes are seen by one task, so a hundred definitions in a row cost one
 * walk; what could not be written is tried again. */
#include "apiserver/aggregate/apiservices.h"

#include "api/apiservice.h"
#include "api/kv.h"
#include "apiserver/custom/kinds.h"
#include "base/log.h"
#include "base/set.h"

#define RETRY (2 * NSEC_PER_SEC)

struct apiservices {
    struct apiserver *server;
    struct store_watch watch;
    struct rt_task task;
    struct rt_timer retry;
    unsigned writes; /* under way */
};

static void local(struct apiserver *s, struct str group, struct str version, const char *managed,
                  struct arena *a, struct api_apiservice *ret)
{
    *ret = (struct api_apiservice){0};
    ret->metadata.name = apiservice_name(group, version, a);
    kv_str_set(a, &ret->metadata.labels, &ret->metadata.n_labels, STR(APISERVICE_MANAGED),
               str_z(managed));
    ret->spec.group = group;
    ret->spec.version = version;
    apiservice_priorities(group, version, &ret->spec.group_priority_minimum,
                          &ret->spec.version_priority);
    (void)apiservice_set_available(
        ret, true, "Local", STR("Local APIServices are always available"), rt_wall(s->rt), a);
}

void bootstrap_apiservices(struct apiserver *s,
                           void (*want)(struct apiserver *s, const struct schema_kind *k,
                                        const void *msg))
{
    struct set seen = {0};
    for (size_t i = 0; i < _KIND_MAX; i++) {
        const struct schema_kind *k = schema_kinds[i];
        struct arena a = {0};
        struct api_apiservice o;
        if (k == KIND(APISERVICE) || !set_add(&seen, str_z(k->api_version)))
            continue; /* its own group needs none, as in Kubernetes */
        local(s, str_z(k->group), str_z(k->version), APISERVICE_MANAGED_ONSTART, &a, &o);
        want(s, KIND(APISERVICE), &o);
        arena_fini(&a);
    }
    set_fini(&seen);
}

/* ---- custom groups ---- */

static void on_written(void *arg, int r, struct object *obj, const struct error *err)
{
    struct apiservices *x = arg;
    (void)obj;
    (void)err;
    x->writes--;
    if (r < 0 && !x->server->stopping && !rt_timer_active(&x->retry))
        rt_timer_start(&x->retry, RETRY);
}

static bool is_managed(const struct api_object_meta *m)
{
    const struct str *v = KV_GET(m, labels, STR(APISERVICE_MANAGED));
    return v && str_is(*v, APISERVICE_MANAGED_ALWAYS);
}

static void keep(struct apiservices *x, const struct schema_kind *k)
{
    struct apiserver *s = x->server;
    struct arena a = {0};
    struct api_apiservice o;
    local(s, str_z(k->group), str_z(k->version), APISERVICE_MANAGED_ALWAYS, &a, &o);
    struct object *old = store_peek(s->store, KIND(APISERVICE), STR_NONE, o.metadata.name);
    const struct api_apiservice *have = old ? old->msg : NULL;
    if (have) {
        if (!is_managed(&have->metadata) || have->metadata.deletion_timestamp.set ||
            schema_equal(&api_apiservice_spec_desc, &o.spec, &have->spec))
            goto out;
        o.metadata = have->metadata;
        o.metadata.resource_version = STR_NONE;
    } else {
        make_uid(s->rt, &a, &o.metadata.uid);
        o.metadata.creation_timestamp = timestamp_seconds(rt_wall(s->rt));
    }
    x->writes++;
    if (store_put(s->store, KIND(APISERVICE), &o, old ? old->rev : STORE_ABSENT, on_written, x,
                  NULL) < 0)
        on_written(x, -EIO, NULL, NULL);
out:
    arena_fini(&a);
}

struct gathered {
    struct set *served;
    struct object **v;
    size_t n, cap;
};

static void gather_stale(void *arg, struct object *o)
{
    struct gathered *g = arg;
    if (!is_managed(object_meta(o)) || set_has(g->served, object_name(o)))
        return;
    ARRAY_RESERVE(g->v, g->n, g->cap);
    g->v[g->n++] = object_ref(o);
}

static void on_task(void *arg)
{
    struct apiservices *x = arg;
    struct apiserver *s = x->server;
    struct set served = {0};
    struct gathered stale = {.served = &served};
    struct arena a = {0};
    uint64_t generation;
    size_t n;
    if (s->stopping)
        return;
    const struct schema_kind **v = kinds_list(s->kinds, &n, &generation);
    for (size_t i = 0; i < n; i++)
        if (set_add(&served, apiservice_name(str_z(v[i]->group), str_z(v[i]->version), &a)))
            keep(x, v[i]);
    store_peek_each(s->store, KIND(APISERVICE), gather_stale, &stale);
    for (size_t i = 0; i < stale.n; i++) {
        x->writes++;
        if (store_delete(s->store, KIND(APISERVICE), STR_NONE, object_name(stale.v[i]),
                         stale.v[i]->rev, on_written, x, NULL) < 0)
            on_written(x, -EIO, NULL, NULL);
        object_unref(stale.v[i]);
    }
    free(stale.v);
    kinds_list_free(v, n);
    set_fini(&served);
    arena_fini(&a);
}

static void on_retry(void *arg)
{
    apiservices_changed(arg);
}

static void on_events(void *arg, const struct store_event *events, size_t n)
{
    (void)events;
    (void)n;
    apiservices_changed(arg);
}

void apiservices_changed(struct apiservices *x)
{
    if (x)
        rt_task_schedule(&x->task);
}

struct apiservices *apiservices_new(struct apiserver *s)
{
    struct apiservices *x = NEW(struct apiservices);
    x->server = s;
    rt_task_init(&x->task, s->rt, on_task, x);
    rt_timer_init(&x->retry, s->rt, on_retry, x);
    if (store_watch_start(&x->watch, s->store, KIND(APISERVICE), STR_NONE, store_rev(s->store),
                          on_events, x) < 0)
        ASSERT(!"the newest revision is in the window");
    apiservices_changed(x);
    return x;
}

struct apiservices *apiservices_free(struct apiservices *x)
{
    if (!x)
        return NULL;
    store_watch_stop(&x->watch);
    rt_task_cancel(&x->task);
    rt_timer_stop(&x->retry);
    free(x);
    return NULL;
}

/* ---- admission ---- */

int admit_apiservice(struct api_call *c, void *msg, const struct object *old)
{
    struct api_apiservice *o = msg;
    if (c->kind != KIND(APISERVICE) || c->subresource.n || o->spec.service)
        return 0;
    if (old && !((const struct api_apiservice *)old->msg)->spec.service)
        return 0;
    (void)apiservice_set_available(o, true, "Local", STR("Local APIServices are always available"),
                                   rt_wall(c->server->rt), &c->arena);
    return 0;
}
