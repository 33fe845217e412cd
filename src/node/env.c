/* Rules taken from the documentation of the Pod API ("Define environment variables", "Accessing
 * Kubernetes objects", "Discovering Services") and the expansion rules of its third_party/forked
 * expansion package: `$$` escapes, an unfinished or unknown reference is left alone. */
#include "node/env.h"

#include <ctype.h>

#include "base/buf.h"
#include "base/hash.h"

/* A namespace with a thousand Services gives each of its pods seven thousand variables. */
static uint32_t *env_slot(const struct env *e, struct str name)
{
    size_t mask = 2 * e->cap - 1; /* cap is a power of two */
    size_t i = hash_fnv1a32(name.p, name.n) & mask;
    while (e->slots[i] && !str_eq(e->v[e->slots[i] - 1].key, name))
        i = (i + 1) & mask;
    return &e->slots[i];
}

static void env_grow(struct env *e)
{
    size_t cap = e->cap ? e->cap * 2 : 32;
    struct kv_str *v = ARENA_NEW_N(e->arena, struct kv_str, cap);
    if (e->n)
        memcpy(v, e->v, e->n * sizeof(*v));
    e->v = v;
    e->cap = cap;
    e->slots = ARENA_NEW_N(e->arena, uint32_t, 2 * cap);
    for (size_t i = 0; i < e->n; i++)
        *env_slot(e, v[i].key) = (uint32_t)i + 1;
}

void env_set(struct env *e, struct str name, struct str value)
{
    if (e->n == e->cap)
        env_grow(e);
    uint32_t *slot = env_slot(e, name);
    if (*slot) {
        e->v[*slot - 1].value = arena_str(e->arena, value);
        return;
    }
    e->v[e->n++] = (struct kv_str){arena_str(e->arena, name), arena_str(e->arena, value)};
    *slot = (uint32_t)e->n;
}

const struct str *env_get(const struct env *e, struct str name)
{
    uint32_t at = e->n ? *env_slot(e, name) : 0;
    return at ? &e->v[at - 1].value : NULL;
}

const struct str *env_get_cb(const void *env, struct str name)
{
    return env_get(env, name);
}

struct str env_expand(struct arena *a, struct str s, env_get_fn get, const void *ctx)
{
    if (str_find(s, '$') < 0)
        return s;
    struct buf b = {0};
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '$' || i + 1 >= s.n) {
            buf_add_char(&b, s.p[i]);
            continue;
        }
        if (s.p[i + 1] == '$') {
            buf_add_char(&b, '$');
            i++;
            continue;
        }
        ssize_t end = s.p[i + 1] == '(' ? str_find(str_sub(s, i, s.n), ')') : -1;
        if (end < 0) {
            buf_add_char(&b, '$');
            continue;
        }
        struct str whole = str_sub(s, i, i + (size_t)end + 1);
        const struct str *v = get(ctx, str_sub(whole, 2, whole.n - 1));
        buf_add_str(&b, v ? *v : whole);
        i += (size_t)end;
    }
    struct str r = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return r.p ? r : STR("");
}

/* ---- fields ---- */

static struct str join_ips(struct arena *a, const struct str *v, size_t n)
{
    struct buf b = {0};
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(&b, ',');
        buf_add_str(&b, v[i]);
    }
    struct str r = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return r;
}

struct str env_format_map(const struct kv_str *v, uint32_t n, struct arena *a)
{
    struct buf b = {0};
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(&b, '\n');
        buf_add_str(&b, v[i].key);
        buf_add_lit(&b, "=");
        /* as Go's %q: quotes, backslashes and control characters escaped */
        buf_add_char(&b, '"');
        for (size_t k = 0; k < v[i].value.n; k++) {
            char ch = v[i].value.p[k];
            switch (ch) {
            case '"':
            case '\\':
                buf_add_char(&b, '\\');
                buf_add_char(&b, ch);
                break;
            case '\n':
                buf_add_lit(&b, "\\n");
                break;
            case '\t':
                buf_add_lit(&b, "\\t");
                break;
            case '\r':
                buf_add_lit(&b, "\\r");
                break;
            default:
                if ((unsigned char)ch < 0x20)
                    buf_printf(&b, "\\x%02x", (unsigned char)ch);
                else
                    buf_add_char(&b, ch);
            }
        }
        buf_add_char(&b, '"');
    }
    struct str r = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return r.p ? r : STR("");
}

/* "metadata.labels['key']": the key; absent when path is not of that form. */
static struct str subscript(struct str path, struct str base)
{
    struct str rest = str_sub(path, base.n, path.n);
    if (!str_starts(path, base) || !str_starts(rest, STR("['")) || !str_ends(rest, STR("']")) ||
        rest.n < 4)
        return STR_NONE;
    return str_sub(rest, 2, rest.n - 2);
}

int env_field(const struct env_ctx *c, struct str path, struct arena *a, struct str *ret,
              struct error *err)
{
    const struct api_object_meta *m = &c->pod->metadata;
    struct str key = subscript(path, STR("metadata.labels"));
    if (key.p) {
        const struct str *v = KV_GET(m, labels, key);
        *ret = v ? *v : STR("");
        return 0;
    }
    key = subscript(path, STR("metadata.annotations"));
    if (key.p) {
        const struct str *v = KV_GET(m, annotations, key);
        *ret = v ? *v : STR("");
        return 0;
    }
    struct str sa = c->pod->spec.service_account_name;
    const struct {
        const char *path;
        struct str value;
    } rows[] = {
        {"metadata.name", m->name},      {"metadata.namespace", m->namespace},
        {"metadata.uid", m->uid},        {"spec.nodeName", c->node_name},
        {"spec.serviceAccountName", sa}, {"status.hostIP", c->host_ip},
        {"status.hostIPs", c->host_ip},  {"status.podIP", c->n_pod_ips ? c->pod_ips[0] : STR_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eqz(path, rows[i].path)) {
            *ret = rows[i].value;
            return 0;
        }
    if (str_is(path, "status.podIPs"))
        *ret = join_ips(a, c->pod_ips, c->n_pod_ips);
    else if (str_is(path, "metadata.labels"))
        *ret = env_format_map(m->labels, m->n_labels, a);
    else if (str_is(path, "metadata.annotations"))
        *ret = env_format_map(m->annotations, m->n_annotations, a);
    else
        return error_set(err, REASON_BAD_REQUEST, "unsupported fieldPath: %.*s", STR_ARG(path));
    return 0;
}

static const struct api_resource_requirements *resources_of(const struct api_pod *pod,
                                                            struct str container)
{
    for (uint32_t i = 0; i < pod->spec.n_containers; i++)
        if (str_eq(pod->spec.containers[i].name, container))
            return &pod->spec.containers[i].resources;
    for (uint32_t i = 0; i < pod->spec.n_init_containers; i++)
        if (str_eq(pod->spec.init_containers[i].name, container))
            return &pod->spec.init_containers[i].resources;
    return NULL;
}

static int64_t divide_up(int64_t v, int64_t by)
{
    return by <= 1 ? v : v / by + (v % by > 0);
}

int env_resource(const struct env_ctx *c, const struct api_resource_field_selector *sel,
                 struct str container, struct arena *a, struct str *ret, struct error *err)
{
    struct str name = sel->container_name.n ? sel->container_name : container;
    const struct api_resource_requirements *r = resources_of(c->pod, name);
    if (!r)
        return error_set(err, REASON_BAD_REQUEST, "container %.*s not found", STR_ARG(name));
    struct str what = sel->resource, kind;
    if (!str_cut(&what, '.', &kind) || (!str_is(kind, "limits") && !str_is(kind, "requests")))
        return error_set(err, REASON_BAD_REQUEST, "unsupported container resource: %.*s",
                         STR_ARG(sel->resource));
    bool limits = str_is(kind, "limits");
    const struct quantity *q = limits ? kv_quantity_get(r->limits, r->n_limits, what)
                                      : kv_quantity_get(r->requests, r->n_requests, what);
    const struct api_resource_requirements *whole = c->pod->spec.resources;
    bool cpu = str_is(what, "cpu");
    int64_t value;
    if (!q && limits && whole) /* what it may take is what the pod may */
        q = kv_quantity_get(whole->limits, whole->n_limits, what);
    if (cpu) {
        int64_t milli = q ? quantity_milli(q) : limits ? c->node_milli_cpu : 0;
        int64_t div = sel->divisor.set ? quantity_milli(&sel->divisor) : 1000;
        value = divide_up(milli, div);
    } else {
        int64_t node = str_is(what, "memory")              ? c->node_memory_bytes
                       : str_is(what, "ephemeral-storage") ? c->node_storage_bytes
                                                           : 0;
        int64_t bytes = q ? quantity_value(q) : limits ? node : 0;
        value = divide_up(bytes, sel->divisor.set ? quantity_value(&sel->divisor) : 1);
    }
    *ret = arena_printf(a, "%lld", (long long)value);
    return 0;
}

/* ---- services ---- */

static struct str env_name(struct arena *a, struct str s)
{
    struct str r = arena_str(a, s);
    for (size_t i = 0; i < r.n; i++) {
        char *p = (char *)(uintptr_t)&r.p[i];
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    }
    return r;
}

void env_add_service(struct env *e, const struct api_service *svc, struct str ns,
                     bool only_kubernetes)
{
    struct str ip = svc->spec.cluster_ip, svc_ns = svc->metadata.namespace,
               name = svc->metadata.name;
    bool master = str_is(svc_ns, "default") && str_is(name, "kubernetes");
    if (ip.n == 0 || str_is(ip, "None") || svc->spec.n_ports == 0)
        return;
    if (!master && (only_kubernetes || !str_eq(svc_ns, ns)))
        return;
    struct arena *a = e->arena;
    struct str up = env_name(a, name);
    bool v6 = str_find(ip, ':') >= 0;
    struct str host = v6 ? arena_printf(a, "[%.*s]", STR_ARG(ip)) : ip;
    env_set(e, arena_printf(a, "%.*s_SERVICE_HOST", STR_ARG(up)), ip);
    env_set(e, arena_printf(a, "%.*s_SERVICE_PORT", STR_ARG(up)),
            arena_printf(a, "%d", svc->spec.ports[0].port));
    for (uint32_t i = 0; i < svc->spec.n_ports; i++) {
        const struct api_service_port *p = &svc->spec.ports[i];
        if (p->name.n)
            env_set(e,
                    arena_printf(a, "%.*s_SERVICE_PORT_%.*s", STR_ARG(up),
                                 STR_ARG(env_name(a, p->name))),
                    arena_printf(a, "%d", p->port));
    }
    for (uint32_t i = 0; i < svc->spec.n_ports; i++) {
        const struct api_service_port *p = &svc->spec.ports[i];
        struct str proto = p->protocol.n ? p->protocol : STR("TCP");
        struct str lower = arena_str(a, proto);
        for (size_t k = 0; k < lower.n; k++)
            *(char *)(uintptr_t)&lower.p[k] = (char)tolower((unsigned char)lower.p[k]);
        struct str url = arena_printf(a, "%.*s://%.*s:%d", STR_ARG(lower), STR_ARG(host), p->port);
        struct str base =
            arena_printf(a, "%.*s_PORT_%d_%.*s", STR_ARG(up), p->port, STR_ARG(proto));
        if (i == 0)
            env_set(e, arena_printf(a, "%.*s_PORT", STR_ARG(up)), url);
        env_set(e, base, url);
        env_set(e, arena_printf(a, "%.*s_PROTO", STR_ARG(base)), lower);
        env_set(e, arena_printf(a, "%.*s_PORT", STR_ARG(base)), arena_printf(a, "%d", p->port));
        env_set(e, arena_printf(a, "%.*s_ADDR", STR_ARG(base)), ip);
    }
}

/* ---- the container's own ---- */

static bool is_env_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '=' || s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return s.n > 0;
}

static int lookup(const struct env_ctx *c, int kind, struct str name, bool optional,
                  struct object **ret, struct error *err)
{
    int r = c->lookup(c->arg, kind, name, ret);
    if (r == 0 && !optional)
        return error_set(err, REASON_NOT_FOUND, "%s \"%.*s\" not found",
                         kind == KIND_SECRET ? "secret" : "configmap", STR_ARG(name));
    if (r == -EAGAIN)
        (void)error_set(err, REASON_UNAVAILABLE,
                        "failed to sync %s cache: timed out waiting for the condition",
                        kind == KIND_SECRET ? "secret" : "configmap");
    return r;
}

static const struct kv_str *data_of(struct object *o, int kind, uint32_t *ret_n)
{
    if (kind == KIND_SECRET) {
        const struct api_secret *s = o->msg;
        *ret_n = s->n_data;
        return s->data;
    }
    const struct api_config_map *m = o->msg;
    *ret_n = m->n_data;
    return m->data;
}

static int add_from(const struct env_ctx *c, const struct api_env_from_source *f, struct env *out,
                    struct buf *skipped, struct error *err)
{
    bool secret = f->secret_ref != NULL;
    if (!secret && !f->config_map_ref)
        return 0;
    int kind = secret ? KIND_SECRET : KIND_CONFIG_MAP;
    struct str name = secret ? f->secret_ref->local_object_reference.name
                             : f->config_map_ref->local_object_reference.name;
    bool optional = secret ? f->secret_ref->optional : f->config_map_ref->optional;
    struct object *o = NULL;
    int r = lookup(c, kind, name, optional, &o, err);
    if (r <= 0)
        return r;
    uint32_t n;
    const struct kv_str *v = data_of(o, kind, &n);
    for (uint32_t i = 0; i < n; i++) {
        struct str key = f->prefix.n ? arena_printf(out->arena, "%.*s%.*s", STR_ARG(f->prefix),
                                                    STR_ARG(v[i].key))
                                     : v[i].key;
        if (is_env_name(key)) {
            env_set(out, key, v[i].value);
        } else if (skipped) {
            if (skipped->n)
                buf_add_lit(skipped, ", ");
            buf_add_str(skipped, key);
        }
    }
    return 0;
}

static int value_from_key(const struct env_ctx *c, int kind, struct str name, struct str key,
                          bool optional, struct str *ret, struct error *err)
{
    struct object *o = NULL;
    int r = lookup(c, kind, name, optional, &o, err);
    if (r <= 0)
        return r;
    uint32_t n;
    const struct kv_str *v = data_of(o, kind, &n);
    const struct str *value = kv_str_get(v, n, key);
    if (value) {
        *ret = *value;
        return 1;
    }
    if (optional)
        return 0;
    return error_set(err, REASON_NOT_FOUND, "couldn't find key %.*s in %s %.*s/%.*s", STR_ARG(key),
                     kind == KIND_SECRET ? "Secret" : "ConfigMap",
                     STR_ARG(c->pod->metadata.namespace), STR_ARG(name));
}

/* 1: *ret set; 0: optional and not there; else an error */
static int value_from(const struct env_ctx *c, const struct api_container *ctr,
                      const struct api_env_var_source *s, struct arena *a, struct str *ret,
                      struct error *err)
{
    int r;
    if (s->field_ref) {
        r = env_field(c, s->field_ref->field_path, a, ret, err);
        return r < 0 ? r : 1;
    }
    if (s->resource_field_ref) {
        r = env_resource(c, s->resource_field_ref, ctr->name, a, ret, err);
        return r < 0 ? r : 1;
    }
    if (s->config_map_key_ref) {
        const struct api_config_map_key_selector *k = s->config_map_key_ref;
        return value_from_key(c, KIND_CONFIG_MAP, k->local_object_reference.name, k->key,
                              k->optional, ret, err);
    }
    if (s->secret_key_ref) {
        const struct api_secret_key_selector *k = s->secret_key_ref;
        return value_from_key(c, KIND_SECRET, k->local_object_reference.name, k->key, k->optional,
                              ret, err);
    }
    return error_set(err, REASON_BAD_REQUEST,
                     "unsupported valueFrom of a variable of container %.*s", STR_ARG(ctr->name));
}

struct two_envs {
    const struct env *own, *services;
};

static const struct str *get_either(const void *ctx, struct str name)
{
    const struct two_envs *t = ctx;
    const struct str *v = env_get(t->own, name);
    return v ? v : env_get(t->services, name);
}

int env_build(const struct env_ctx *c, const struct api_container *ctr, const struct env *services,
              struct env *out, struct buf *skipped, struct error *err)
{
    struct arena *a = out->arena;
    struct env own = {.arena = a};
    struct two_envs both = {&own, services};
    for (uint32_t i = 0; i < ctr->n_env_from; i++) {
        int r = add_from(c, &ctr->env_from[i], &own, skipped, err);
        if (r < 0)
            return r;
    }
    for (uint32_t i = 0; i < ctr->n_env; i++) {
        const struct api_env_var *v = &ctr->env[i];
        struct str value = v->value;
        if (v->value_from) {
            int r = value_from(c, ctr, v->value_from, a, &value, err);
            if (r < 0)
                return r;
            if (r == 0)
                continue;
        } else {
            value = env_expand(a, value, get_either, &both);
        }
        env_set(&own, v->name, value);
    }
    for (size_t i = 0; i < services->n; i++)
        if (!env_get(&own, services->v[i].key))
            env_set(out, services->v[i].key, services->v[i].value);
    for (size_t i = 0; i < own.n; i++)
        env_set(out, own.v[i].key, own.v[i].value);
    return 0;
}
