/* LimitRanger: what the LimitRanges of a namespace say of pods and claims: defaults for containers
 * that say nothing, and bounds of one container, pod or claim. Only what is created is held against
 * them (claims also when they grow). Kubernetes: plugin/pkg/admission/limitranger. */
#include "api/amounts.h"
#include "api/kv.h"
#include "api/pod.h"
#include "apiserver/admit/admit.h"

#include <stdarg.h>
#include <stdio.h>

#define ANNOTATION STR("kubernetes.io/limit-ranger")

/* Calls fn for each LimitRange of the namespace, in order of names, until it returns not 0. */
static int each_range(struct api_call *c,
                      int (*fn)(struct api_call *c, const struct api_limit_range *l, void *arg),
                      void *arg)
{
    struct store_iter it;
    int r = 0;
    if (store_count(c->server->store, KIND(LIMIT_RANGE)) == 0 ||
        store_iter_init(&it, c->server->store, KIND(LIMIT_RANGE), c->ns, 0, STR_NONE, STR_NONE) < 0)
        return 0;
    for (struct object *o; r == 0 && (o = store_iter_next(&it));)
        r = fn(c, o->msg, arg);
    store_iter_fini(&it);
    return r;
}

/* ---- defaults ---- */

/* What the list lacks of def; names of what was added are appended to said. */
static void fill(struct api_call *c, struct kv_quantity **v, uint32_t *n,
                 const struct kv_quantity *def, uint32_t n_def, struct buf *said)
{
    struct amounts a = {.arena = &c->arena};
    amounts_add_all(&a, *v, *n);
    for (uint32_t i = 0; i < n_def; i++) {
        if (amounts_get(&a, def[i].key))
            continue;
        struct str key = arena_str(&c->arena, def[i].key);
        amounts_set(&a, key, &def[i].value);
        buf_printf(said, "%s%.*s", said->n ? ", " : "", STR_ARG(key));
    }
    *v = a.v;
    *n = a.n;
}

static void say(struct buf *all, const struct buf *said, const char *what, const char *sort,
                struct str name)
{
    if (said->n)
        buf_printf(all, "%s%.*s %s for %s %.*s", all->n ? "; " : "", STR_ARG(buf_str(said)), what,
                   sort, STR_ARG(name));
}

static void fill_containers(struct api_call *c, struct api_container *v, uint32_t n,
                            const struct api_limit_range_item *l, const char *sort, struct buf *all)
{
    for (uint32_t i = 0; i < n; i++) {
        struct api_resource_requirements *r = &v[i].resources;
        struct buf requests = {0}, limits = {0};
        fill(c, &r->requests, &r->n_requests, l->default_request, l->n_default_request, &requests);
        fill(c, &r->limits, &r->n_limits, l->default_, l->n_default_, &limits);
        say(all, &requests, "request", sort, v[i].name);
        say(all, &limits, "limit", sort, v[i].name);
        buf_fini(&requests);
        buf_fini(&limits);
    }
}

static int fill_pod(struct api_call *c, const struct api_limit_range *l, void *arg)
{
    struct api_pod *p = arg;
    struct buf all = {0};
    for (uint32_t i = 0; i < l->spec.n_limits; i++) {
        const struct api_limit_range_item *item = &l->spec.limits[i];
        if (!str_is(item->type, "Container"))
            continue;
        fill_containers(c, p->spec.containers, p->spec.n_containers, item, "container", &all);
        fill_containers(c, p->spec.init_containers, p->spec.n_init_containers, item,
                        "init container", &all);
    }
    if (all.n && !call_is_resize(c)) { /* a resize touches neither */
        kv_str_set(&c->arena, &p->metadata.annotations, &p->metadata.n_annotations, ANNOTATION,
                   arena_printf(&c->arena, "LimitRanger plugin set: %.*s", STR_ARG(buf_str(&all))));
        p->status.qos_class = pod_qos(&p->spec);
    }
    buf_fini(&all);
    return 0;
}

int admit_limits_mutate(struct api_call *c, void *msg, const struct object *old)
{
    if (c->kind != KIND(POD) || ((old || c->subresource.n) && !call_is_resize(c)))
        return 0;
    return each_range(c, fill_pod, msg);
}

/* ---- bounds ---- */

struct measured { /* one container, pod or claim */
    const char *what;
    const struct kv_quantity *requests, *limits;
    uint32_t n_requests, n_limits;
    bool requests_only; /* claims */
    struct str *errors; /* gathered; in the call's arena */
    uint32_t n_errors;
};

static void breach(struct api_call *c, struct measured *m, const char *fmt, ...) PRINTF(3, 4);
static void breach(struct api_call *c, struct measured *m, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(&c->arena, fmt, ap);
    va_end(ap);
    struct str *v = ARENA_NEW_N(&c->arena, struct str, m->n_errors + 1);
    if (m->n_errors)
        memcpy(v, m->errors, m->n_errors * sizeof(*v));
    v[m->n_errors++] = text;
    m->errors = v;
}

static const char *text_of(struct api_call *c, const struct quantity *q)
{
    char text[QUANTITY_TEXT_MAX];
    quantity_format(q, text);
    return arena_strz(&c->arena, text).p;
}

static void check_min(struct api_call *c, struct measured *m, const struct kv_quantity *min)
{
    const struct quantity *req = kv_quantity_get(m->requests, m->n_requests, min->key);
    const struct quantity *lim = kv_quantity_get(m->limits, m->n_limits, min->key);
    const char *bound = text_of(c, &min->value);
    if (!req)
        breach(c, m, "minimum %.*s usage per %s is %s.%sNo request is specified", STR_ARG(min->key),
               m->what, bound, m->requests_only ? " " : "  ");
    else if (quantity_cmp(req, &min->value) < 0)
        breach(c, m, "minimum %.*s usage per %s is %s, but request is %s", STR_ARG(min->key),
               m->what, bound, text_of(c, req));
    else if (lim && !m->requests_only && quantity_cmp(lim, &min->value) < 0)
        breach(c, m, "minimum %.*s usage per %s is %s, but limit is %s", STR_ARG(min->key), m->what,
               bound, text_of(c, lim));
}

static void check_max(struct api_call *c, struct measured *m, const struct kv_quantity *max)
{
    const struct quantity *req = kv_quantity_get(m->requests, m->n_requests, max->key);
    const struct quantity *lim =
        m->requests_only ? req : kv_quantity_get(m->limits, m->n_limits, max->key);
    const char *bound = text_of(c, &max->value);
    if (!lim)
        breach(c, m, "maximum %.*s usage per %s is %s.%sNo %s is specified", STR_ARG(max->key),
               m->what, bound, m->requests_only ? " " : "  ",
               m->requests_only ? "request" : "limit");
    else if (quantity_cmp(lim, &max->value) > 0)
        breach(c, m, "maximum %.*s usage per %s is %s, but %s is %s", STR_ARG(max->key), m->what,
               bound, m->requests_only ? "request" : "limit", text_of(c, lim));
    else if (req && quantity_cmp(req, &max->value) > 0)
        breach(c, m, "maximum %.*s usage per %s is %s, but request is %s", STR_ARG(max->key),
               m->what, bound, text_of(c, req));
}

/* Of thousandths where they fit, else of whole units. */
static double ratio_of(const struct quantity *lim, const struct quantity *req)
{
    int64_t a = quantity_milli(lim), b = quantity_milli(req);
    if (a == INT64_MAX || b == INT64_MAX) {
        a = quantity_value(lim);
        b = quantity_value(req);
    }
    return (double)a / (double)b;
}

static void check_ratio(struct api_call *c, struct measured *m, const struct kv_quantity *max)
{
    const struct quantity *req = kv_quantity_get(m->requests, m->n_requests, max->key);
    const struct quantity *lim = kv_quantity_get(m->limits, m->n_limits, max->key);
    const char *bound = text_of(c, &max->value);
    if (!req || quantity_is_zero(req)) {
        breach(c, m,
               "%.*s max limit to request ratio per %s is %s, but no request is specified or "
               "request is 0",
               STR_ARG(max->key), m->what, bound);
        return;
    }
    if (!lim || quantity_is_zero(lim)) {
        breach(c, m,
               "%.*s max limit to request ratio per %s is %s, but no limit is specified or limit "
               "is 0",
               STR_ARG(max->key), m->what, bound);
        return;
    }
    double ratio = ratio_of(lim, req);
    if (ratio > (double)quantity_milli(&max->value) / 1000)
        breach(c, m, "%.*s max limit to request ratio per %s is %s, but provided ratio is %f",
               STR_ARG(max->key), m->what, bound, ratio);
}

static void check_item(struct api_call *c, struct measured *m, const struct api_limit_range_item *l)
{
    for (uint32_t i = 0; i < l->n_min; i++)
        check_min(c, m, &l->min[i]);
    for (uint32_t i = 0; i < l->n_max; i++)
        check_max(c, m, &l->max[i]);
    for (uint32_t i = 0; i < l->n_max_limit_request_ratio && !m->requests_only; i++)
        check_ratio(c, m, &l->max_limit_request_ratio[i]);
}

static int report(struct api_call *c, struct str name, const struct measured *m)
{
    struct buf b = {0};
    if (!m->n_errors)
        return 0;
    for (uint32_t i = 0; i < m->n_errors; i++)
        buf_printf(&b, "%s%.*s", i ? ", " : "", STR_ARG(m->errors[i]));
    int r = call_forbidden(c, name, m->n_errors == 1 ? "%.*s" : "[%.*s]", STR_ARG(buf_str(&b)));
    buf_fini(&b);
    return r;
}

static void check_containers(struct api_call *c, struct measured *m,
                             const struct api_limit_range_item *l, const struct api_container *v,
                             uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct api_resource_requirements *r = &v[i].resources;
        m->what = "Container";
        m->requests = r->requests;
        m->n_requests = r->n_requests;
        m->limits = r->limits;
        m->n_limits = r->n_limits;
        check_item(c, m, l);
    }
}

static int check_pod(struct api_call *c, const struct api_limit_range *l, void *arg)
{
    const struct api_pod *p = arg;
    struct measured m = {0};
    for (uint32_t i = 0; i < l->spec.n_limits; i++) {
        const struct api_limit_range_item *item = &l->spec.limits[i];
        if (str_is(item->type, "Container")) {
            check_containers(c, &m, item, p->spec.containers, p->spec.n_containers);
            check_containers(c, &m, item, p->spec.init_containers, p->spec.n_init_containers);
        } else if (str_is(item->type, "Pod")) {
            struct amounts requests = {.arena = &c->arena}, limits = {.arena = &c->arena};
            pod_amounts(&p->spec, false, &requests);
            pod_amounts(&p->spec, true, &limits);
            m.what = "Pod";
            m.requests = requests.v;
            m.n_requests = requests.n;
            m.limits = limits.v;
            m.n_limits = limits.n;
            check_item(c, &m, item);
        }
    }
    return report(c, p->metadata.name, &m);
}

static int check_claim(struct api_call *c, const struct api_limit_range *l, void *arg)
{
    const struct api_persistent_volume_claim *p = arg;
    struct measured m = {.what = "PersistentVolumeClaim",
                         .requests = p->spec.resources.requests,
                         .n_requests = p->spec.resources.n_requests,
                         .requests_only = true};
    for (uint32_t i = 0; i < l->spec.n_limits; i++)
        if (str_is(l->spec.limits[i].type, "PersistentVolumeClaim"))
            check_item(c, &m, &l->spec.limits[i]);
    return report(c, p->metadata.name, &m);
}

int admit_limits_validate(struct api_call *c, const void *msg, const struct object *old)
{
    bool resize = call_is_resize(c);
    if (c->subresource.n && !resize)
        return 0;
    if (c->kind == KIND(POD))
        return old && !resize ? 0 : each_range(c, check_pod, (void *)(uintptr_t)msg);
    if (c->kind == KIND(PERSISTENT_VOLUME_CLAIM))
        return each_range(c, check_claim, (void *)(uintptr_t)msg);
    return 0;
}
