/* Rules of pod specs that cross fields: names used once, mounts that name volumes, requests within
 * limits, handlers with exactly one action, and what an update of a running pod may touch. The
 * rules of single fields are in the tables. Kubernetes: pkg/apis/core/validation/validation.go. */
#include "api/amounts.h"
#include "api/check.h"
#include "api/pod.h"

#include "base/set.h"
#include "schema/schema.h"

/* A path that must stay below where it starts. */
static void check_local_path(struct error *err, struct str at, struct str p)
{
    struct str rest = p, part;
    if (p.n && p.p[0] == '/') {
        check_invalid(err, at, p, "must be a relative path");
        return;
    }
    while (str_cut(&rest, '/', &part) || part.n)
        if (str_is(part, "..")) {
            check_invalid(err, at, p, "must not contain '..'");
            return;
        }
}

/* ---- volumes ---- */

static unsigned volume_sources(const struct api_volume_source *v)
{
    unsigned n = 0;
    for (unsigned i = 0; i < api_volume_source_desc.n_fields; i++)
        n += !schema_field_absent(&api_volume_source_desc.fields[i], v);
    return n;
}

static void validate_items(const struct api_key_to_path *v, uint32_t n, const char *path,
                           struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        PATH(p, "%s.items[%u].path", path, i);
        check_local_path(err, p, v[i].path);
    }
}

static void validate_downward(const struct api_downward_api_volume_file *v, uint32_t n,
                              const char *path, struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        PATH(p, "%s.items[%u]", path, i);
        PATH(q, "%s.path", p.p);
        check_local_path(err, q, v[i].path);
        if (v[i].field_ref && v[i].resource_field_ref)
            check_invalid(err, p, STR("resource"),
                          "fieldRef and resourceFieldRef can not be specified simultaneously");
        else if (!v[i].field_ref && !v[i].resource_field_ref)
            check_required(err, p, "one of fieldRef and resourceFieldRef is required");
    }
}

static void validate_projected(const struct api_projected_volume_source *p, const char *path,
                               struct error *err)
{
    for (uint32_t i = 0; i < p->n_sources; i++) {
        const struct api_volume_projection *s = &p->sources[i];
        PATH(at, "%s.projected.sources[%u]", path, i);
        unsigned n = !!s->secret + !!s->downward_api + !!s->config_map +
                     !!s->service_account_token + !!s->cluster_trust_bundle + !!s->pod_certificate;
        if (n > 1)
            check_forbidden(err, at, "may not specify more than 1 volume type");
        if (s->secret)
            validate_items(s->secret->items, s->secret->n_items, at.p, err);
        if (s->config_map)
            validate_items(s->config_map->items, s->config_map->n_items, at.p, err);
        if (s->downward_api)
            validate_downward(s->downward_api->items, s->downward_api->n_items, at.p, err);
        if (s->service_account_token) {
            PATH(q, "%s.serviceAccountToken.path", at.p);
            check_local_path(err, q, s->service_account_token->path);
        }
    }
}

static void validate_volumes(const struct api_pod_spec *s, const char *path, struct set *names,
                             struct error *err)
{
    for (uint32_t i = 0; i < s->n_volumes; i++) {
        const struct api_volume *v = &s->volumes[i];
        const struct api_volume_source *src = &v->volume_source;
        PATH(at, "%s.volumes[%u]", path, i);
        PATH(name, "%s.name", at.p);
        if (v->name.n && !set_add(names, v->name))
            check_duplicate(err, name, v->name);
        if (volume_sources(src) > 1)
            check_forbidden(err, at, "may not specify more than 1 volume type");
        if (src->secret)
            validate_items(src->secret->items, src->secret->n_items, at.p, err);
        if (src->config_map)
            validate_items(src->config_map->items, src->config_map->n_items, at.p, err);
        if (src->config_map && !src->config_map->local_object_reference.name.n) {
            PATH(q, "%s.configMap.name", at.p);
            check_required(err, q, "");
        }
        if (src->downward_api)
            validate_downward(src->downward_api->items, src->downward_api->n_items, at.p, err);
        if (src->projected)
            validate_projected(src->projected, at.p, err);
        if (src->empty_dir && src->empty_dir->size_limit.set &&
            quantity_value(&src->empty_dir->size_limit) < 0) {
            PATH(q, "%s.emptyDir.sizeLimit", at.p);
            check_forbidden(err, q, "SizeLimit field must be a valid resource quantity");
        }
        if (src->host_path && src->host_path->path.n) {
            PATH(q, "%s.hostPath.path", at.p);
            struct str rest = src->host_path->path, part;
            while (str_cut(&rest, '/', &part) || part.n)
                if (str_is(part, "..")) {
                    check_invalid(err, q, src->host_path->path, "must not contain '..'");
                    break;
                }
        }
    }
}

/* ---- containers ---- */

static void validate_mounts(const struct set *volumes, const struct api_container *c,
                            const char *path, struct error *err)
{
    struct set paths = {0};
    for (uint32_t i = 0; i < c->n_volume_mounts; i++) {
        const struct api_volume_mount *m = &c->volume_mounts[i];
        PATH(at, "%s.volumeMounts[%u]", path, i);
        PATH(name, "%s.name", at.p);
        PATH(mp, "%s.mountPath", at.p);
        if (m->name.n && !set_has(volumes, m->name))
            check_not_found(err, name, m->name);
        if (m->mount_path.n && !set_add(&paths, m->mount_path))
            check_invalid(err, mp, m->mount_path, "must be unique");
        if (m->sub_path.n) {
            PATH(q, "%s.subPath", at.p);
            check_local_path(err, q, m->sub_path);
        }
        if (m->sub_path.n && m->sub_path_expr.n) {
            PATH(q, "%s.subPathExpr", at.p);
            check_invalid(err, q, m->sub_path_expr,
                          "subPathExpr and subPath are mutually exclusive");
        }
    }
    set_fini(&paths);
}

static void validate_env(const struct api_container *c, const char *path, struct error *err)
{
    for (uint32_t i = 0; i < c->n_env; i++) {
        const struct api_env_var_source *f = c->env[i].value_from;
        PATH(at, "%s.env[%u].valueFrom", path, i);
        if (!f)
            continue;
        unsigned n = !!f->field_ref + !!f->resource_field_ref + !!f->config_map_key_ref +
                     !!f->secret_key_ref + !!f->file_key_ref;
        if (c->env[i].value.n)
            check_invalid(err, at, STR(""), "may not be specified when `value` is not empty");
        else if (n == 0)
            check_invalid(err, at, STR(""),
                          "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` "
                          "or `secretKeyRef`");
        else if (n > 1)
            check_invalid(err, at, STR(""), "may not have more than one field specified at a time");
    }
    for (uint32_t i = 0; i < c->n_env_from; i++) {
        const struct api_env_from_source *f = &c->env_from[i];
        PATH(at, "%s.envFrom[%u]", path, i);
        if (f->config_map_ref && f->secret_ref)
            check_invalid(err, at, STR(""), "may not have more than one field specified at a time");
        else if (!f->config_map_ref && !f->secret_ref)
            check_invalid(err, at, STR(""), "must specify one of: `configMapRef` or `secretRef`");
    }
}

static void check_amount(struct error *err, struct str path, const struct quantity *q,
                         const char *must_be, const struct quantity *bound)
{
    char text[QUANTITY_TEXT_MAX], than[QUANTITY_TEXT_MAX], why[160];
    size_t n = quantity_format(q, text);
    quantity_format(bound, than);
    snprintf(why, sizeof(why), "must be %s %s", must_be, than);
    check_invalid(err, path, (struct str){text, n}, why);
}

static void validate_resources(const struct api_resource_requirements *r, const char *path,
                               struct error *err)
{
    static const struct quantity zero = {0};
    for (uint32_t i = 0; i < r->n_limits; i++) {
        PATH(at, "%s.resources.limits[%.*s]", path, STR_ARG(r->limits[i].key));
        check_format(err, at, SCHEMA_FORMAT_QUALIFIED_NAME, r->limits[i].key);
        char text[QUANTITY_TEXT_MAX];
        size_t n = quantity_format(&r->limits[i].value, text);
        if (quantity_cmp(&r->limits[i].value, &zero) < 0)
            check_invalid(err, at, (struct str){text, n}, "must be greater than or equal to 0");
    }
    for (uint32_t i = 0; i < r->n_requests; i++) {
        const struct kv_quantity *q = &r->requests[i];
        PATH(at, "%s.resources.requests[%.*s]", path, STR_ARG(q->key));
        const struct quantity *lim = kv_quantity_get(r->limits, r->n_limits, q->key);
        char text[QUANTITY_TEXT_MAX], why[128];
        size_t n = quantity_format(&q->value, text);
        check_format(err, at, SCHEMA_FORMAT_QUALIFIED_NAME, q->key);
        if (quantity_cmp(&q->value, &zero) < 0)
            check_invalid(err, at, (struct str){text, n}, "must be greater than or equal to 0");
        if (!lim || quantity_cmp(&q->value, lim) <= 0)
            continue;
        snprintf(why, sizeof(why), "must be less than or equal to %.*s limit of ", STR_ARG(q->key));
        size_t len = strlen(why);
        char lim_text[QUANTITY_TEXT_MAX];
        quantity_format(lim, lim_text);
        snprintf(why + len, sizeof(why) - len, "%s", lim_text);
        /* the whole of requests is named, as a Kubernetes server does */
        PATH(all, "%s.resources.requests", path);
        (void)error_cause(err, CAUSE_INVALID, (struct str){all.p, all.n},
                          "Invalid value: \"%s\": %s", text, why);
    }
}

/* What the pod says as a whole must have room for its containers. The paths of their limits are
 * those of a Kubernetes server. K8S: validatePodResources. */
static void validate_whole(const struct api_pod_spec *s, const char *path, struct error *err)
{
    static const char *const names[] = {"cpu", "hugepages-", "memory", NULL};
    const struct api_resource_requirements *r = s->resources;
    struct arena a = {0};
    struct amounts parts = {.arena = &a};
    if (!r)
        return;
    PATH(whole, "%s.resources", path);
    if (s->os && str_is(s->os->name, "windows")) {
        check_forbidden(err, whole, "may not be set for a windows pod");
        return;
    }
    validate_resources(r, path, err);
    for (uint32_t i = 0; i < r->n_limits + r->n_requests; i++) {
        bool limit = i < r->n_limits;
        struct str key = limit ? r->limits[i].key : r->requests[i - r->n_limits].key;
        PATH(at, "%s.%s[%.*s]", whole.p, limit ? "limits" : "requests", STR_ARG(key));
        if (!pod_whole_may_say(key))
            check_not_supported(err, at, key, names);
    }
    pod_containers_ask(s, &parts);
    for (uint32_t i = 0; i < parts.n; i++) {
        const struct kv_quantity *sum = &parts.v[i];
        const struct quantity *q = kv_quantity_get(r->requests, r->n_requests, sum->key);
        PATH(at, "%s.requests[%.*s]", whole.p, STR_ARG(sum->key));
        if (q && quantity_cmp(&sum->value, q) > 0)
            check_amount(err, at, q, "greater than or equal to aggregate container requests of",
                         &sum->value);
    }
    for (uint32_t i = 0; i < s->n_containers; i++) {
        const struct api_resource_requirements *c = &s->containers[i].resources;
        for (uint32_t k = 0; k < c->n_limits; k++) {
            const struct quantity *q = kv_quantity_get(r->limits, r->n_limits, c->limits[k].key);
            PATH(at, "%s.containers[%u][%.*s].limits", whole.p, i, STR_ARG(c->limits[k].key));
            if (q && quantity_cmp(&c->limits[k].value, q) > 0)
                check_amount(err, at, &c->limits[k].value, "less than or equal to pod limits of",
                             q);
        }
    }
    arena_fini(&a);
}

static void validate_probe(const struct api_probe *p, const char *path, const char *name,
                           bool success_one, struct error *err)
{
    if (!p)
        return;
    const struct api_probe_handler *h = &p->handler;
    PATH(at, "%s.%s", path, name);
    unsigned n = !!h->exec + !!h->http_get + !!h->tcp_socket + !!h->grpc;
    if (n == 0)
        check_required(err, at, "must specify a handler type");
    else if (n > 1)
        check_forbidden(err, at, "may not specify more than 1 handler type");
    if (success_one && p->success_threshold != 1) {
        PATH(q, "%s.successThreshold", at.p);
        check_invalid_int(err, q, p->success_threshold, "must be 1");
    }
}

static void validate_handler(const struct api_lifecycle_handler *h, const char *path,
                             const char *name, struct error *err)
{
    if (!h)
        return;
    PATH(at, "%s.lifecycle.%s", path, name);
    unsigned n = !!h->exec + !!h->http_get + !!h->tcp_socket + !!h->sleep;
    if (n == 0)
        check_required(err, at, "must specify a handler type");
    else if (n > 1)
        check_forbidden(err, at, "may not specify more than 1 handler type");
}

static void validate_ports(const struct api_container *c, const char *path, struct error *err)
{
    struct set names = {0};
    for (uint32_t i = 0; i < c->n_ports; i++)
        if (c->ports[i].name.n && !set_add(&names, c->ports[i].name)) {
            PATH(at, "%s.ports[%u].name", path, i);
            check_duplicate(err, at, c->ports[i].name);
        }
    set_fini(&names);
}

void pod_container_validate(const struct set *volumes, const struct api_container *c,
                            const char *path, struct error *err)
{
    PATH(image, "%s.image", path);
    if (!c->image.n)
        check_required(err, image, "");
    else if (str_trim(c->image).n != c->image.n)
        check_invalid(err, image, c->image, "must not have leading or trailing whitespace");
    validate_env(c, path, err);
    validate_mounts(volumes, c, path, err);
    validate_resources(&c->resources, path, err);
}

static void validate_container(const struct set *volumes, const struct api_container *c,
                               const char *path, bool init, struct error *err)
{
    bool sidecar = init && str_is(c->restart_policy, "Always");
    pod_container_validate(volumes, c, path, err);
    validate_ports(c, path, err);
    if (init && !sidecar) {
        const char *names[] = {"livenessProbe", "readinessProbe", "startupProbe", "lifecycle"};
        const void *have[] = {c->liveness_probe, c->readiness_probe, c->startup_probe,
                              c->lifecycle};
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (have[i]) {
                PATH(at, "%s.%s", path, names[i]);
                check_forbidden(err, at,
                                "may not be set for init containers without restartPolicy=Always");
            }
        return;
    }
    validate_probe(c->liveness_probe, path, "livenessProbe", true, err);
    validate_probe(c->readiness_probe, path, "readinessProbe", false, err);
    validate_probe(c->startup_probe, path, "startupProbe", true, err);
    if (c->lifecycle) {
        validate_handler(c->lifecycle->post_start, path, "postStart", err);
        validate_handler(c->lifecycle->pre_stop, path, "preStop", err);
    }
}

static void validate_containers(const struct api_pod_spec *s, const char *path,
                                const struct set *volumes, struct error *err)
{
    struct set names = {0};
    uint32_t total = s->n_init_containers + s->n_containers;
    for (uint32_t i = 0; i < total; i++) {
        bool init = i < s->n_init_containers;
        uint32_t k = init ? i : i - s->n_init_containers;
        const struct api_container *c = init ? &s->init_containers[k] : &s->containers[k];
        PATH(at, "%s.%s[%u]", path, init ? "initContainers" : "containers", k);
        if (c->name.n && !set_add(&names, c->name)) {
            PATH(name, "%s.name", at.p);
            check_duplicate(err, name, c->name);
        }
        validate_container(volumes, c, at.p, init, err);
    }
    set_fini(&names);
}

static void validate_host_ports(const struct api_pod_spec *s, const char *path, struct error *err)
{
    struct set taken = {0}; /* port, protocol and address */
    struct buf key = {0};
    for (uint32_t i = 0; i < s->n_containers; i++)
        for (uint32_t k = 0; k < s->containers[i].n_ports; k++) {
            const struct api_container_port *p = &s->containers[i].ports[k];
            if (s->host_network && p->host_port && p->host_port != p->container_port) {
                PATH(at, "%s.containers[%u].ports[%u].containerPort", path, i, k);
                check_invalid_int(err, at, p->container_port,
                                  "must match `hostPort` when `hostNetwork` is true");
            }
            if (!p->host_port)
                continue;
            buf_clear(&key);
            buf_printf(&key, "%d/%.*s/%.*s", p->host_port, STR_ARG(p->protocol),
                       STR_ARG(p->host_ip));
            if (set_add_copy(&taken, buf_str(&key)))
                continue;
            PATH(at, "%s.containers[%u].ports[%u].hostPort", path, i, k);
            (void)error_cause(err, CAUSE_DUPLICATE, at, "Duplicate value: \"%d\"", p->host_port);
        }
    buf_fini(&key);
    set_fini(&taken);
}

static void validate_tolerations(const struct api_pod_spec *s, const char *path, struct error *err)
{
    for (uint32_t i = 0; i < s->n_tolerations; i++) {
        const struct api_toleration *t = &s->tolerations[i];
        PATH(op, "%s.tolerations[%u].operator", path, i);
        PATH(effect, "%s.tolerations[%u].effect", path, i);
        if (t->key.n) {
            PATH(key, "%s.tolerations[%u].key", path, i);
            check_format(err, key, SCHEMA_FORMAT_QUALIFIED_NAME, t->key);
        } else if (t->operator.n && !str_is(t->operator, "Exists")) {
            check_invalid(err, op, t->operator, "operator must be Exists when `key` is empty, "
                                                "which means \"match all values and all keys\"");
        }
        if (str_is(t->operator, "Exists") && t->value.n)
            check_invalid(err, op, t->value, "value must be empty when `operator` is 'Exists'");
        if (t->has_toleration_seconds && !str_is(t->effect, "NoExecute"))
            check_invalid(err, effect, t->effect,
                          "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
}

/* Limits of the API: what C libraries read of a resolv.conf. */
#define DNS_SERVERS_MAX      3
#define DNS_SEARCHES_MAX     32
#define DNS_SEARCH_BYTES_MAX 2048

static void validate_dns(const struct api_pod_spec *s, const char *path, struct error *err)
{
    const struct api_pod_dns_config *c = s->dns_config;
    size_t bytes = 0;
    if (str_is(s->dns_policy, "None") && (!c || !c->n_nameservers)) {
        PATH(at, "%s.dnsConfig.nameservers", path);
        check_required(err, at,
                       "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    PATH(servers, "%s.dnsConfig.nameservers", path);
    if (c && c->n_nameservers > DNS_SERVERS_MAX)
        check_invalid(err, servers, STR("[...]"), "must not have more than 3 nameservers");
    for (uint32_t i = 0; c && i < c->n_nameservers; i++) {
        PATH(at, "%s.dnsConfig.nameservers[%u]", path, i);
        check_format(err, at, SCHEMA_FORMAT_IP, c->nameservers[i]);
    }
    for (uint32_t i = 0; c && i < c->n_searches; i++) {
        PATH(at, "%s.dnsConfig.searches[%u]", path, i);
        struct str name = c->searches[i];
        bytes += name.n + 1;
        if (name.n && name.p[name.n - 1] == '.')
            name.n--; /* the root, or a full name */
        if (name.n || !c->searches[i].n)
            check_format(err, at, SCHEMA_FORMAT_DNS_SUBDOMAIN, name);
    }
    PATH(searches, "%s.dnsConfig.searches", path);
    if (c && c->n_searches > DNS_SEARCHES_MAX)
        check_invalid(err, searches, STR("[...]"), "must not have more than 32 search paths");
    if (bytes > DNS_SEARCH_BYTES_MAX + 1)
        check_invalid(err, searches, STR("[...]"),
                      "must not have more than 2048 characters (including spaces) in the search "
                      "list");
    for (uint32_t i = 0; c && i < c->n_options; i++) {
        PATH(at, "%s.dnsConfig.options[%u].name", path, i);
        if (!c->options[i].name.n)
            check_required(err, at, NULL);
    }
}

void pod_spec_validate(const struct api_pod_spec *s, const char *path, struct error *err)
{
    struct set volumes = {0};
    validate_volumes(s, path, &volumes, err);
    validate_containers(s, path, &volumes, err);
    pod_ephemeral_validate(s, &volumes, err);
    pod_resize_policies_validate(s, path, err);
    validate_whole(s, path, err);
    set_fini(&volumes);
    validate_host_ports(s, path, err);
    validate_tolerations(s, path, err);
    PATH(selector, "%s.nodeSelector", path);
    api_validate_labels(s->node_selector, s->n_node_selector, selector, err);
    validate_dns(s, path, err);
    if (s->has_share_process_namespace && s->share_process_namespace && s->host_pid) {
        PATH(at, "%s.shareProcessNamespace", path);
        check_invalid(err, at, STR("true"),
                      "ShareProcessNamespace and HostPID cannot both be enabled");
    }
}

void pod_template_validate(const struct api_pod_template_spec *t, const char *path,
                           const char *const *restart, struct error *err)
{
    PATH(spec, "%s.spec", path);
    PATH(labels, "%s.metadata.labels", path);
    PATH(notes, "%s.metadata.annotations", path);
    api_validate_labels(t->metadata.labels, t->metadata.n_labels, labels, err);
    api_validate_annotations(t->metadata.annotations, t->metadata.n_annotations, notes, err);
    pod_spec_validate(&t->spec, spec.p, err);
    if (t->spec.n_ephemeral_containers) {
        PATH(at, "%s.ephemeralContainers", spec.p);
        check_forbidden(err, at, "ephemeral containers not allowed in pod template");
    }
    bool ok = false;
    for (const char *const *r = restart; *r; r++)
        ok |= str_eqz(t->spec.restart_policy, *r);
    if (!ok) {
        PATH(at, "%s.restartPolicy", spec.p);
        check_not_supported(err, at, t->spec.restart_policy, restart);
    }
}

void pod_validate(const void *msg, struct error *err)
{
    const struct api_pod *p = msg;
    pod_spec_validate(&p->spec, "spec", err);
}

/* They come through their subresource alone. */
void pod_validate_create(const void *msg, struct error *err)
{
    const struct api_pod *p = msg;
    if (p->spec.n_ephemeral_containers)
        check_forbidden(err, STR("spec.ephemeralContainers"), "cannot be set on create");
}

/* ---- update ---- */

/* What may not change of a toleration, as text. */
static struct str toleration_text(const struct api_toleration *v, struct buf *b)
{
    struct api_toleration t = *v;
    t.has_toleration_seconds = false;
    t.toleration_seconds = 0;
    buf_clear(b);
    schema_encode_json(&api_toleration_desc, &t, 0, b);
    return buf_str(b);
}

/* Old tolerations must all be there still; new ones may be added, and seconds may change. */
static bool tolerations_kept(const struct api_pod_spec *s, const struct api_pod_spec *o)
{
    struct set have = {0};
    struct buf b = {0};
    bool kept = true;
    for (uint32_t i = 0; i < s->n_tolerations; i++)
        (void)set_add_copy(&have, toleration_text(&s->tolerations[i], &b));
    for (uint32_t i = 0; i < o->n_tolerations && kept; i++)
        kept = set_has(&have, toleration_text(&o->tolerations[i], &b));
    set_fini(&have);
    buf_fini(&b);
    return kept;
}

static bool containers_same_but_image(const struct api_container *a, uint32_t na,
                                      const struct api_container *b, uint32_t nb)
{
    if (na != nb)
        return false;
    for (uint32_t i = 0; i < na; i++) {
        struct api_container c = a[i];
        c.image = b[i].image;
        if (!schema_equal(&api_container_desc, &c, &b[i]))
            return false;
    }
    return true;
}

void pod_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_pod *p = msg, *o = old;
    const struct api_pod_spec *s = &p->spec, *t = &o->spec;
    if (schema_equal(&api_pod_spec_desc, s, t))
        return;
    if (s->n_containers != t->n_containers)
        check_forbidden(err, STR("spec.containers"),
                        "pod updates may not add or remove containers");
    if (s->n_init_containers != t->n_init_containers)
        check_forbidden(err, STR("spec.initContainers"),
                        "pod updates may not add or remove containers");
    if (s->n_containers != t->n_containers || s->n_init_containers != t->n_init_containers)
        return;
    if (t->has_active_deadline_seconds && (!s->has_active_deadline_seconds ||
                                           s->active_deadline_seconds > t->active_deadline_seconds))
        check_invalid_int(err, STR("spec.activeDeadlineSeconds"), s->active_deadline_seconds,
                          "must be less than or equal to previous value");
    struct api_pod_spec copy =
        *s; /* with what may change taken from old, nothing may be left that differs */
    bool same =
        containers_same_but_image(s->containers, s->n_containers, t->containers, t->n_containers) &&
        containers_same_but_image(s->init_containers, s->n_init_containers, t->init_containers,
                                  t->n_init_containers);
    copy.containers = t->containers;
    copy.init_containers = t->init_containers;
    copy.has_active_deadline_seconds = t->has_active_deadline_seconds;
    copy.active_deadline_seconds = t->active_deadline_seconds;
    if (tolerations_kept(s, t)) {
        copy.tolerations = t->tolerations;
        copy.n_tolerations = t->n_tolerations;
    }
    if (s->n_scheduling_gates <= t->n_scheduling_gates) {
        copy.scheduling_gates = t->scheduling_gates;
        copy.n_scheduling_gates = t->n_scheduling_gates;
    }
    if (t->has_termination_grace_period_seconds && t->termination_grace_period_seconds < 0 &&
        s->has_termination_grace_period_seconds && s->termination_grace_period_seconds == 1)
        copy.termination_grace_period_seconds = t->termination_grace_period_seconds;
    if (!same || !schema_equal(&api_pod_spec_desc, &copy, t))
        check_forbidden(err, STR("spec"),
                        "pod updates may not change fields other than `spec.containers[*].image`,"
                        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec."
                        "tolerations` (only additions "
                        "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it "
                        "to be set to 1 if it "
                        "was previously negative)\n");
}

void pod_validate_status(const void *msg, const void *old, struct error *err)
{
    const struct api_pod *p = msg, *o = old;
    if (o && !str_eq(p->spec.node_name, o->spec.node_name))
        check_invalid(err, STR("status.nodeName"), p->spec.node_name,
                      "may not be changed directly");
}
