/* The table of remotes. The core thread follows APIServices and swaps a remote for a new one when
 * its spec changes; a lock is held for a look-up or a copy of references only, and servers of which
 * there are none cost one atomic read. */
#include "apiserver/aggregate/remotes_int.h"

#include "api/apiservice.h"
#include "base/log.h"

#include <pthread.h>

struct remote *remote_ref(struct remote *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

struct remote *remote_unref(struct remote *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    rt_tls_client_unref(r->tls);
    free(r->server_name);
    arena_fini(&r->arena);
    free(r);
    return NULL;
}

static bool is_builtin(struct str group, struct str version)
{
    for (size_t i = 0; i < _KIND_MAX; i++)
        if (str_eqz(group, schema_kinds[i]->group) && str_eqz(version, schema_kinds[i]->version))
            return true;
    return false;
}

static struct remote *remote_new(struct remotes *rs, const struct api_apiservice *o)
{
    const struct pki *p = rs->server->pki;
    const struct api_apiservice_spec *s = &o->spec;
    struct remote *r = NEW(struct remote);
    struct error err = {0};
    atomic_store(&r->refs, 1);
    r->serial = ++rs->serial;
    r->name = arena_str(&r->arena, o->metadata.name);
    r->group = arena_str(&r->arena, s->group);
    r->version = arena_str(&r->arena, s->version);
    r->ns = arena_str(&r->arena, s->service->namespace);
    r->service = arena_str(&r->arena, s->service->name);
    r->server_name = xasprintf("%.*s.%.*s.svc", STR_ARG(r->service), STR_ARG(r->ns));
    r->port = s->service->has_port ? (uint16_t)s->service->port : 443;
    r->group_priority = s->group_priority_minimum;
    r->version_priority = s->version_priority;
    struct rt_tls_client_opts co = {.ca_pem = s->ca_bundle.n ? s->ca_bundle : STR_NONE,
                                    .insecure = s->insecure_skip_tls_verify,
                                    .cert_pem = str_z(p->proxy_client_cert_pem),
                                    .key_pem = str_z(p->proxy_client_key_pem)};
    if (rt_tls_client_new(&co, &err, &r->tls) < 0) {
        r->tls = NULL;
        r->tls_error = arena_str(&r->arena, err.message);
    }
    error_fini(&err);
    return r;
}

/* ---- any thread ---- */

struct remote *remotes_find(struct remotes *rs, struct str group, struct str version)
{
    char key[600];
    if (!rs || !atomic_load_explicit(&rs->n, memory_order_acquire) ||
        group.n + version.n + 2 > sizeof(key) || !group.n)
        return NULL;
    int n = snprintf(key, sizeof(key), "%.*s.%.*s", STR_ARG(version), STR_ARG(group));
    (void)pthread_mutex_lock(&rs->lock);
    struct remote_entry *e = map_get(&rs->by_name, (struct str){key, (size_t)n});
    struct remote *r = e && !e->is_builtin ? remote_ref(e->remote) : NULL;
    (void)pthread_mutex_unlock(&rs->lock);
    return r;
}

uint64_t remotes_generation(struct remotes *rs)
{
    return rs ? atomic_load_explicit(&rs->generation, memory_order_acquire) : 0;
}

struct remote_view *remotes_views(struct remotes *rs, size_t *ret_n)
{
    *ret_n = 0;
    if (!rs)
        return NULL;
    (void)pthread_mutex_lock(&rs->lock);
    struct remote_view *v = xcalloc(rs->by_name.n + 1, sizeof(*v));
    for (struct map_slot *s = NULL; (s = map_next(&rs->by_name, s));) {
        struct remote_entry *e = s->value;
        if (e->is_builtin)
            continue;
        v[(*ret_n)++] = (struct remote_view){
            .remote = remote_ref(e->remote),
            .resources = e->resources ? blob_ref(e->resources) : NULL,
            .openapi = e->openapi ? blob_ref(e->openapi) : NULL,
            .swagger = e->swagger ? blob_ref(e->swagger) : NULL,
            .stale = e->stale,
        };
    }
    (void)pthread_mutex_unlock(&rs->lock);
    return v;
}

void remotes_views_free(struct remote_view *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        remote_unref(v[i].remote);
        blob_unref(v[i].resources);
        blob_unref(v[i].openapi);
        blob_unref(v[i].swagger);
    }
    free(v);
}

/* ---- core thread ---- */

static void changed(struct remotes *rs)
{
    atomic_store(&rs->n, rs->by_name.n);
    atomic_fetch_add(&rs->generation, 1);
}

void remote_told(struct remote_entry *e, struct blob *resources, bool stale)
{
    struct remotes *rs = e->remotes;
    bool same =
        e->stale == stale &&
        (!resources || (e->resources && str_eq(blob_str(resources), blob_str(e->resources))));
    if (same) {
        blob_unref(resources);
        return;
    }
    (void)pthread_mutex_lock(&rs->lock);
    if (resources) {
        blob_unref(e->resources);
        e->resources = resources;
    }
    e->stale = stale;
    changed(rs);
    (void)pthread_mutex_unlock(&rs->lock);
}

static void swap(struct remote_entry *e, struct blob **have, struct str text)
{
    struct remotes *rs = e->remotes;
    if (*have ? str_eq(text, blob_str(*have)) : !text.n)
        return;
    (void)pthread_mutex_lock(&rs->lock);
    blob_unref(*have);
    *have = text.n ? blob_new(text) : NULL;
    changed(rs);
    (void)pthread_mutex_unlock(&rs->lock);
}

void remote_told_openapi(struct remote_entry *e, struct str url)
{
    swap(e, &e->openapi, url);
}

void remote_told_swagger(struct remote_entry *e, struct str document)
{
    swap(e, &e->swagger, document);
}

static void entry_free(struct remote_entry *e)
{
    remote_check_fini(e);
    remote_unref(e->remote);
    blob_unref(e->resources);
    blob_unref(e->openapi);
    blob_unref(e->swagger);
    free(e->name);
    free(e);
}

static void forget(struct remotes *rs, struct str name)
{
    (void)pthread_mutex_lock(&rs->lock);
    struct remote_entry *e = map_remove(&rs->by_name, name);
    changed(rs);
    (void)pthread_mutex_unlock(&rs->lock);
    if (e)
        entry_free(e);
}

/* The APIService names a Service, and says something else than before. */
static void take(struct remotes *rs, const struct api_apiservice *o)
{
    struct remote *r = remote_new(rs, o);
    struct remote_entry *e = map_get(&rs->by_name, r->name);
    struct remote *old = NULL;
    bool is_new = !e;
    if (is_new) {
        e = NEW(struct remote_entry);
        e->remotes = rs;
        e->name = str_dup(r->name);
        e->stale = true;
        e->is_builtin = is_builtin(r->group, r->version);
        remote_check_init(e);
        atomic_store(&r->available, apiservice_is_available(o)); /* as it was when we stopped */
    } else {
        atomic_store(&r->available, atomic_load(&e->remote->available));
    }
    (void)pthread_mutex_lock(&rs->lock);
    old = e->remote;
    e->remote = r;
    if (is_new)
        (void)map_set(&rs->by_name, str_z(e->name), e);
    changed(rs);
    (void)pthread_mutex_unlock(&rs->lock);
    remote_unref(old);
    remote_check_new_spec(e);
}

static void on_apiservices(void *arg, const struct store_event *events, size_t n)
{
    struct remotes *rs = arg;
    for (size_t i = 0; i < n; i++) {
        const struct store_event *ev = &events[i];
        const struct api_apiservice *o = ev->object->msg, *p = ev->prev ? ev->prev->msg : NULL;
        bool was = p && p->spec.service;
        if (ev->type == STORE_EVENT_DELETED || !o->spec.service) {
            if (was || ev->type == STORE_EVENT_DELETED)
                forget(rs, object_name(ev->object));
        } else if (!was || !schema_equal(&api_apiservice_spec_desc, &o->spec, &p->spec)) {
            take(rs, o);
        }
    }
}

static void poke(struct remotes *rs, struct str ns, struct str service)
{
    for (struct map_slot *s = NULL; (s = map_next(&rs->by_name, s));) {
        struct remote_entry *e = s->value;
        if (str_eq(e->remote->ns, ns) && (!service.n || str_eq(e->remote->service, service)))
            remote_check_soon(e);
    }
}

static void on_services(void *arg, const struct store_event *events, size_t n)
{
    struct remotes *rs = arg;
    for (size_t i = 0; rs->by_name.n && i < n; i++)
        poke(rs, object_ns(events[i].object), object_name(events[i].object));
}

static void on_slices(void *arg, const struct store_event *events, size_t n)
{
    struct remotes *rs = arg;
    for (size_t i = 0; rs->by_name.n && i < n; i++) {
        const struct str *of =
            KV_GET(object_meta(events[i].object), labels, STR("kubernetes.io/service-name"));
        if (of)
            poke(rs, object_ns(events[i].object), *of);
    }
}

static void follow(struct remotes *rs, struct store_watch *w, const struct schema_kind *k,
                   store_watch_fn fn)
{
    struct store *s = rs->server->store;
    if (store_watch_start(w, s, k, STR_NONE, store_rev(s), fn, rs) < 0)
        ASSERT(!"the newest revision is in the window");
}

struct remotes *remotes_new(struct apiserver *s)
{
    struct remotes *rs = NEW(struct remotes);
    struct store_iter it;
    rs->server = s;
    (void)pthread_mutex_init(&rs->lock, NULL);
    if (store_iter_init(&it, s->store, KIND(APISERVICE), STR_NONE, 0, STR_NONE, STR_NONE) >= 0) {
        for (struct object *o; (o = store_iter_next(&it));)
            if (OBJECT_MSG(o, api_apiservice)->spec.service)
                take(rs, o->msg);
        store_iter_fini(&it);
    }
    follow(rs, &rs->apiservices, KIND(APISERVICE), on_apiservices);
    follow(rs, &rs->services, KIND(SERVICE), on_services);
    follow(rs, &rs->slices, KIND(ENDPOINT_SLICE), on_slices);
    return rs;
}

void remotes_stop(struct remotes *rs)
{
    if (!rs)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&rs->by_name, s));)
        remote_check_fini(s->value);
}

void remotes_reload(struct remotes *rs)
{
    struct store_iter it;
    if (!rs || store_iter_init(&it, rs->server->store, KIND(APISERVICE), STR_NONE, 0, STR_NONE,
                               STR_NONE) < 0)
        return;
    for (struct object *o; (o = store_iter_next(&it));)
        if (OBJECT_MSG(o, api_apiservice)->spec.service)
            take(rs, o->msg);
    store_iter_fini(&it);
}

struct remotes *remotes_free(struct remotes *rs)
{
    if (!rs)
        return NULL;
    store_watch_stop(&rs->apiservices);
    store_watch_stop(&rs->services);
    store_watch_stop(&rs->slices);
    for (struct map_slot *s = NULL; (s = map_next(&rs->by_name, s));)
        entry_free(s->value);
    map_fini(&rs->by_name);
    (void)pthread_mutex_destroy(&rs->lock);
    free(rs);
    return NULL;
}
