/* Defaults of pods that depend on other fields: pull policy by tag, requests from limits, host
 * ports, the service account's two names, the QoS class. Kubernetes: pkg/apis/core/v1/defaults.go.
 */
#include "api/pod.h"

#include "api/amounts.h"

#include "base/mem.h"
#include "schema/schema.h"

/* "Always" for no tag or :latest, else "IfNotPresent". A digest counts as a fixed tag. */
static struct str pull_policy(struct str image)
{
    if (str_find(image, '@') >= 0)
        return STR("IfNotPresent");
    ssize_t slash = str_rfind(image, '/'), colon = str_rfind(image, ':');
    if (colon < 0 || colon < slash)
        return STR("Always");
    return str_is(str_sub(image, (size_t)colon + 1, image.n), "latest") ? STR("Always")
                                                                        : STR("IfNotPresent");
}

static void fill_requests(struct api_resource_requirements *r, struct arena *a)
{
    if (!r->n_limits)
        return;
    struct kv_quantity *v = ARENA_NEW_N(a, struct kv_quantity, r->n_limits + r->n_requests);
    uint32_t n = 0, i = 0, k = 0;
    while (i < r->n_requests || k < r->n_limits) { /* merge of two sorted lists */
        int c = i == r->n_requests ? 1
                : k == r->n_limits ? -1
                                   : str_cmp(r->requests[i].key, r->limits[k].key);
        v[n++] = c <= 0 ? r->requests[i] : r->limits[k];
        i += c <= 0;
        k += c >= 0;
    }
    r->requests = v;
    r->n_requests = n;
}

static void fill_http(struct api_http_get_action *h)
{
    if (h && !h->path.n)
        h->path = STR("/");
}

static void fill_probe(struct api_probe *p)
{
    if (!p)
        return;
    fill_http(p->handler.http_get);
    if (p->handler.grpc && !p->handler.grpc->service.p)
        p->handler.grpc->service = STR("");
}

static void fill_container(struct api_container *c, const struct api_pod_spec *s, struct arena *a)
{
    if (!c->image_pull_policy.n)
        c->image_pull_policy = pull_policy(c->image);
    fill_requests(&c->resources, a);
    fill_probe(c->liveness_probe);
    fill_probe(c->readiness_probe);
    fill_probe(c->startup_probe);
    if (c->lifecycle) {
        fill_http(c->lifecycle->post_start ? c->lifecycle->post_start->http_get : NULL);
        fill_http(c->lifecycle->pre_stop ? c->lifecycle->pre_stop->http_get : NULL);
    }
    for (uint32_t i = 0; s->host_network && i < c->n_ports; i++)
        if (!c->ports[i].host_port)
            c->ports[i].host_port = c->ports[i].container_port;
}

void pod_spec_fill(struct api_pod_spec *s, struct arena *a)
{
    for (uint32_t i = 0; i < s->n_volumes; i++)
        if (schema_is_empty(&api_volume_source_desc, &s->volumes[i].volume_source))
            s->volumes[i].volume_source.empty_dir =
                ARENA_NEW(a, struct api_empty_dir_volume_source);
    for (uint32_t i = 0; i < s->n_init_containers; i++)
        fill_container(&s->init_containers[i], s, a);
    for (uint32_t i = 0; i < s->n_containers; i++)
        fill_container(&s->containers[i], s, a);
    if (!s->service_account_name.n && s->service_account.n)
        s->service_account_name = s->service_account;
    s->service_account = s->service_account_name;
}

/* ---- resources of the pod as a whole ---- */

bool pod_says_whole(const struct api_pod_spec *s)
{
    return s->resources && s->resources->n_requests + s->resources->n_limits > 0;
}

bool pod_whole_may_say(struct str resource)
{
    return str_is(resource, "cpu") || str_is(resource, "memory") ||
           str_starts(resource, STR("hugepages-"));
}

void pod_containers_ask(const struct api_pod_spec *s, struct amounts *ret)
{
    struct api_pod_spec parts = *s;
    parts.resources = NULL;
    parts.n_overhead = 0;
    pod_amounts(&parts, false, ret);
}

/* Where it has limits, what it does not request itself is what its containers ask for, or, where
 * they ask for nothing, the limit. K8S: SetDefaults_Pod. */
static void fill_whole(struct api_pod_spec *s, struct arena *a)
{
    struct api_resource_requirements *r = s->resources;
    struct amounts requests = {.arena = a}, parts = {.arena = a};
    if (!r || !r->n_limits)
        return;
    pod_containers_ask(s, &parts);
    for (uint32_t i = 0; i < r->n_limits; i++)
        if (pod_whole_may_say(r->limits[i].key))
            amounts_set(&requests, r->limits[i].key, &r->limits[i].value);
    for (uint32_t i = 0; i < parts.n; i++)
        if (pod_whole_may_say(parts.v[i].key))
            amounts_set(&requests, parts.v[i].key, &parts.v[i].value);
    for (uint32_t i = 0; i < r->n_requests; i++)
        amounts_set(&requests, r->requests[i].key, &r->requests[i].value);
    if (requests.n > r->n_requests) {
        r->requests = requests.v;
        r->n_requests = requests.n;
    }
}

/* ---- QoS ---- */

static bool counts(struct str key)
{
    return str_is(key, "cpu") || str_is(key, "memory");
}

static const struct quantity *limit_of(const struct api_resource_requirements *r, struct str key)
{
    return kv_quantity_get(r->limits, r->n_limits, key);
}

static void qos_of(const struct api_resource_requirements *r, bool *any, bool *guaranteed)
{
    for (uint32_t i = 0; i < r->n_requests; i++)
        *any |= counts(r->requests[i].key) && !quantity_is_zero(&r->requests[i].value);
    for (uint32_t i = 0; i < r->n_limits; i++)
        *any |= counts(r->limits[i].key) && !quantity_is_zero(&r->limits[i].value);
    static const struct str keys[] = {{"cpu", 3}, {"memory", 6}};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct quantity *lim = limit_of(r, keys[i]);
        const struct quantity *req = kv_quantity_get(r->requests, r->n_requests, keys[i]);
        if (!lim || quantity_is_zero(lim) || (req && quantity_cmp(req, lim) != 0))
            *guaranteed = false;
    }
}

struct str pod_qos(const struct api_pod_spec *s)
{
    bool any = false, guaranteed = s->n_containers > 0;
    if (pod_says_whole(s)) { /* then that alone counts (KEP-2837) */
        qos_of(s->resources, &any, &guaranteed);
        return !any ? STR("BestEffort") : guaranteed ? STR("Guaranteed") : STR("Burstable");
    }
    for (uint32_t i = 0; i < s->n_containers; i++)
        qos_of(&s->containers[i].resources, &any, &guaranteed);
    for (uint32_t i = 0; i < s->n_init_containers; i++)
        qos_of(&s->init_containers[i].resources, &any, &guaranteed);
    return !any ? STR("BestEffort") : guaranteed ? STR("Guaranteed") : STR("Burstable");
}

/* ---- Pod ---- */

static void pod_fill(void *msg, struct arena *a)
{
    struct api_pod *p = msg;
    pod_spec_fill(&p->spec, a);
    fill_whole(&p->spec, a);
}

static void pod_prepare_create(void *msg, struct arena *a)
{
    struct api_pod *p = msg;
    (void)a;
    p->status = (struct api_pod_status){.phase = STR("Pending"), .qos_class = pod_qos(&p->spec)};
}

static void pod_prepare_update(void *msg, const void *old, struct arena *a)
{
    struct api_pod *p = msg;
    const struct api_pod *o = old;
    (void)a;
    if (o->status.qos_class.n) /* never changes */
        p->status.qos_class = o->status.qos_class;
}

const struct api_hooks pod_hooks = {
    .kind = KIND_POD,
    .generation = true,
    .fill = pod_fill,
    .prepare_create = pod_prepare_create,
    .prepare_update = pod_prepare_update,
    .validate = pod_validate,
    .validate_create = pod_validate_create,
    .validate_update = pod_validate_update,
    .validate_status = pod_validate_status,
};
