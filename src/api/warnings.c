/* One function for pods, wherever their spec lies, one for each kind that has something of its own.
 * Deprecated names are tables: name, since when, what instead. */
#include "api/warnings.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/check.h"
#include "api/tables.gen.h"
#include "base/buf.h"
#include "schema/schema.h"

#define PATH_MAX_BYTES 256

static void warn(struct warnings *w, const char *fmt, ...) PRINTF(2, 3);
static void warn(struct warnings *w, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct str *more = ARENA_NEW_N(w->a, struct str, w->n + 1);
    if (w->n)
        memcpy(more, w->v, sizeof(*more) * w->n);
    more[w->n++] = arena_strz(w->a, text);
    w->v = more;
}

/* ---- names that have others ---- */

struct old_name {
    const char *name, *since, *instead;
};

static const struct old_name node_labels[] = {
    {"beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"},
    {"beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"},
    {"failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"},
    {"failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"},
    {"beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"},
};

static const struct old_name *node_label(struct str key)
{
    for (size_t i = 0; i < ARRAY_LEN(node_labels); i++)
        if (str_eqz(key, node_labels[i].name))
            return &node_labels[i];
    return NULL;
}

static void node_selector(struct warnings *w, const struct kv_str *v, uint32_t n, const char *path)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct old_name *o = node_label(v[i].key);
        if (o)
            warn(w, "%s[%s]: deprecated since %s; use \"%s\" instead", path, o->name, o->since,
                 o->instead);
    }
}

static void node_term(struct warnings *w, const struct api_node_selector_term *t, const char *path)
{
    for (uint32_t i = 0; i < t->n_match_expressions; i++) {
        const struct old_name *o = node_label(t->match_expressions[i].key);
        if (o)
            warn(w, "%s.matchExpressions[%u].key: %s is deprecated since %s; use \"%s\" instead",
                 path, i, o->name, o->since, o->instead);
    }
}

static void node_affinity(struct warnings *w, const struct api_node_affinity *a, const char *path)
{
    char at[PATH_MAX_BYTES];
    const struct api_node_selector *must = a->required_during_scheduling_ignored_during_execution;

    for (uint32_t i = 0; must && i < must->n_node_selector_terms; i++) {
        snprintf(at, sizeof(at),
                 "%s.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[%u]", path,
                 i);
        node_term(w, &must->node_selector_terms[i], at);
    }
    for (uint32_t i = 0; i < a->n_preferred_during_scheduling_ignored_during_execution; i++) {
        snprintf(at, sizeof(at),
                 "%s.preferredDuringSchedulingIgnoredDuringExecution[%u].preference", path, i);
        node_term(w, &a->preferred_during_scheduling_ignored_during_execution[i].preference, at);
    }
}

static void pod_term(struct warnings *w, const struct api_pod_affinity_term *t, const char *path)
{
    if (!t->label_selector)
        warn(w, "%s.labelSelector: a null labelSelector results in matching no pod", path);
}

static void pod_affinity(struct warnings *w, const struct api_pod_affinity_term *must, uint32_t n,
                         const struct api_weighted_pod_affinity_term *wish, uint32_t n_wish,
                         const char *path)
{
    char at[PATH_MAX_BYTES];

    for (uint32_t i = 0; i < n; i++) {
        snprintf(at, sizeof(at), "%s.requiredDuringSchedulingIgnoredDuringExecution[%u]", path, i);
        pod_term(w, &must[i], at);
    }
    for (uint32_t i = 0; i < n_wish; i++) {
        snprintf(at, sizeof(at),
                 "%s.preferredDuringSchedulingIgnoredDuringExecution[%u].podAffinityTerm", path, i);
        pod_term(w, &wish[i].pod_affinity_term, at);
    }
}

/* ---- pods ---- */

static void pod_annotations(struct warnings *w, const struct api_object_meta *m, const char *path)
{
    static const struct {
        const char *name; /* ends with "/": of each container */
        const char *text;
    } rows[] = {
        {"scheduler.alpha.kubernetes.io/critical-pod",
         "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
        {"seccomp.security.alpha.kubernetes.io/pod",
         "non-functional in v1.27+; use the \"seccompProfile\" field instead"},
        {"container.seccomp.security.alpha.kubernetes.io/",
         "non-functional in v1.27+; use the \"seccompProfile\" field instead"},
        {"container.apparmor.security.beta.kubernetes.io/",
         "deprecated since v1.30; use the \"appArmorProfile\" field instead"},
        {"security.alpha.kubernetes.io/sysctls",
         "non-functional in v1.11+; use the \"sysctls\" field instead"},
        {"security.alpha.kubernetes.io/unsafe-sysctls",
         "non-functional in v1.11+; use the \"sysctls\" field instead"},
    };
    for (uint32_t i = 0; i < m->n_annotations; i++)
        for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
            struct str name = str_z(rows[k].name), key = m->annotations[i].key;
            if (name.p[name.n - 1] == '/' ? str_starts(key, name) : str_eq(key, name))
                warn(w, "%sannotations[%.*s]: %s", path, STR_ARG(key), rows[k].text);
        }
}

static void pod_volumes(struct warnings *w, const struct api_pod_spec *s, const char *path)
{
    for (uint32_t i = 0; i < s->n_volumes; i++) {
        const struct api_volume_source *v = &s->volumes[i].volume_source;
        const struct {
            const void *there;
            const char *name, *text;
        } rows[] = {
            {v->git_repo, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
            {v->flocker, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
            {v->quobyte, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
            {v->storageos, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
            {v->scale_io, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
            {v->photon_persistent_disk, "photonPersistentDisk",
             "deprecated in v1.11, non-functional in v1.16+"},
            {v->glusterfs, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
            {v->cephfs, "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
            {v->rbd, "rbd", "deprecated in v1.28, non-functional in v1.31+"},
        };
        for (size_t k = 0; k < ARRAY_LEN(rows); k++)
            if (rows[k].there)
                warn(w, "%s.volumes[%u].%s: %s", path, i, rows[k].name, rows[k].text);
    }
}

/* The last definition of a name counts; apply by merge keys keeps one of them alone. */
static void container_env(struct warnings *w, const struct api_container *c, const char *path)
{
    for (uint32_t i = 1; i < c->n_env; i++)
        for (uint32_t k = 0; k < i; k++)
            if (str_eq(c->env[i].name, c->env[k].name)) {
                warn(w,
                     "%s.env[%u]: hides previous definition of \"%.*s\", which may be dropped when "
                     "using apply",
                     path, i, STR_ARG(c->env[i].name));
                break;
            }
}

static bool same_port(const struct api_container_port *x, const struct api_container_port *y)
{
    return x->container_port == y->container_port && x->host_port == y->host_port &&
           str_eq(x->protocol, y->protocol) && str_eq(x->host_ip, y->host_ip);
}

static void container_ports(struct warnings *w, const struct api_container *c, const char *path)
{
    for (uint32_t i = 1; i < c->n_ports; i++)
        for (uint32_t k = 0; k < i; k++)
            if (same_port(&c->ports[i], &c->ports[k])) {
                warn(w, "%s.ports[%u]: duplicate port definition with %s.ports[%u]", path, i, path,
                     k);
                break;
            }
}

static void container_amounts(struct warnings *w, const struct kv_quantity *v, uint32_t n,
                              const char *path, const char *what)
{
    for (uint32_t i = 0; i < n; i++) {
        bool bytes = str_is(v[i].key, "memory") || str_is(v[i].key, "ephemeral-storage") ||
                     str_starts(v[i].key, STR("hugepages-"));
        char text[QUANTITY_TEXT_MAX];
        if (!bytes || quantity_milli(&v[i].value) % 1000 == 0)
            continue;
        size_t len = quantity_format(&v[i].value, text);
        warn(w,
             "%s.resources.%s[%.*s]: fractional byte value \"%.*s\" is invalid, must be an "
             "integer",
             path, what, STR_ARG(v[i].key), (int)len, text);
    }
}

static void container(struct warnings *w, const struct api_container *c, const char *path)
{
    container_env(w, c, path);
    container_ports(w, c, path);
    container_amounts(w, c->resources.limits, c->resources.n_limits, path, "limits");
    container_amounts(w, c->resources.requests, c->resources.n_requests, path, "requests");
}

static void pod_lists(struct warnings *w, const struct api_pod_spec *s, const char *path)
{
    for (uint32_t i = 0; i < s->n_image_pull_secrets; i++) {
        struct str name = s->image_pull_secrets[i].name;
        if (!name.n)
            warn(w, "%s.imagePullSecrets[%u].name: invalid empty name \"\"", path, i);
        for (uint32_t k = 0; name.n && k < i; k++)
            if (str_eq(name, s->image_pull_secrets[k].name)) {
                warn(w, "%s.imagePullSecrets[%u].name: duplicate name \"%.*s\"", path, i,
                     STR_ARG(name));
                break;
            }
    }
    for (uint32_t i = 1; i < s->n_host_aliases; i++)
        for (uint32_t k = 0; k < i; k++)
            if (str_eq(s->host_aliases[i].ip, s->host_aliases[k].ip)) {
                warn(w, "%s.hostAliases[%u].ip: duplicate ip \"%.*s\"", path, i,
                     STR_ARG(s->host_aliases[i].ip));
                break;
            }
    for (uint32_t i = 0; i < s->n_topology_spread_constraints; i++) {
        const struct api_topology_spread_constraint *t = &s->topology_spread_constraints[i];
        const struct old_name *o = node_label(t->topology_key);
        if (o)
            warn(w,
                 "%s.topologySpreadConstraints[%u].topologyKey: %s is deprecated since %s; use "
                 "\"%s\" instead",
                 path, i, o->name, o->since, o->instead);
        if (!t->label_selector)
            warn(w,
                 "%s.topologySpreadConstraints[%u].labelSelector: a null labelSelector results in "
                 "matching no pod",
                 path, i);
    }
}

static void pod_spec(struct warnings *w, const struct api_pod_spec *s, const char *path)
{
    char at[PATH_MAX_BYTES];
    const struct api_affinity *a = s->affinity;

    snprintf(at, sizeof(at), "%s.nodeSelector", path);
    node_selector(w, s->node_selector, s->n_node_selector, at);
    snprintf(at, sizeof(at), "%s.affinity.nodeAffinity", path);
    if (a && a->node_affinity)
        node_affinity(w, a->node_affinity, at);
    snprintf(at, sizeof(at), "%s.affinity.podAffinity", path);
    if (a && a->pod_affinity)
        pod_affinity(w, a->pod_affinity->required_during_scheduling_ignored_during_execution,
                     a->pod_affinity->n_required_during_scheduling_ignored_during_execution,
                     a->pod_affinity->preferred_during_scheduling_ignored_during_execution,
                     a->pod_affinity->n_preferred_during_scheduling_ignored_during_execution, at);
    snprintf(at, sizeof(at), "%s.affinity.podAntiAffinity", path);
    if (a && a->pod_anti_affinity)
        pod_affinity(w, a->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
                     a->pod_anti_affinity->n_required_during_scheduling_ignored_during_execution,
                     a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
                     a->pod_anti_affinity->n_preferred_during_scheduling_ignored_during_execution,
                     at);
    pod_volumes(w, s, path);
    pod_lists(w, s, path);
    for (uint32_t i = 0; i < s->n_init_containers; i++) {
        snprintf(at, sizeof(at), "%s.initContainers[%u]", path, i);
        container(w, &s->init_containers[i], at);
    }
    for (uint32_t i = 0; i < s->n_containers; i++) {
        snprintf(at, sizeof(at), "%s.containers[%u]", path, i);
        container(w, &s->containers[i], at);
    }
    if (s->has_termination_grace_period_seconds && s->termination_grace_period_seconds < 0)
        warn(w,
             "%s.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will "
             "be treated as 1",
             path);
}

static void pod(struct warnings *w, const struct api_object_meta *m, const struct api_pod_spec *s,
                const char *meta_path, const char *path)
{
    pod_annotations(w, m, meta_path);
    pod_spec(w, s, path);
}

/* Names of pods are host names. */
static void name_of_pods(struct warnings *w, const struct api_object_meta *m)
{
    struct str name = m->name;

    if (!name.n || (name.n <= 63 && str_find(name, '.') < 0))
        return;
    warn(w,
         "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
         "behavior; a DNS label is recommended: [%s]",
         name.n > 63 ? "must be no more than 63 characters" : "must not contain dots");
}

/* ---- other kinds ---- */

static void service(struct warnings *w, const struct api_service *s)
{
    const struct api_service_spec *p = &s->spec;
    bool name = str_is(p->type, "ExternalName"), headless = str_is(p->cluster_ip, "None");

    if (name && p->n_external_ips)
        warn(w, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    if (!name && p->external_name.n)
        warn(w, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
    if (headless && p->load_balancer_ip.n)
        warn(w, "spec.loadBalancerIP is ignored for headless services");
    if (headless && p->n_external_ips)
        warn(w, "spec.externalIPs is ignored for headless services");
    if (headless && str_is(p->session_affinity, "ClientIP"))
        warn(w, "spec.SessionAffinity is ignored for headless services");
    if (str_is(p->traffic_distribution, "PreferClose"))
        warn(w, "spec.trafficDistribution: PreferClose is deprecated since v1.35; use "
                "\"PreferSameZone\" instead");
}

static void node(struct warnings *w, const struct api_node *n)
{
    if (n->spec.config_source)
        warn(w, "spec.configSource: deprecated in v1.22, support removal is planned in v1.23");
    if (n->spec.external_id.n)
        warn(w, "spec.externalID: deprecated in v1.11 and is unused in newer versions of "
                "Kubernetes");
}

static void cron_job(struct warnings *w, const struct api_cron_job *c)
{
    if (str_search(c->spec.schedule, STR("TZ")) >= 0)
        warn(w,
             "CRON_TZ or TZ used in schedule \"%.*s\" is not officially supported, see "
             "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones for "
             "more details",
             STR_ARG(c->spec.schedule));
}

static void persistent_volume(struct warnings *w, const struct api_persistent_volume *p)
{
    if (str_is(p->spec.persistent_volume_reclaim_policy, "Recycle"))
        warn(w, "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
                "Instead, the recommended approach is to use dynamic provisioning.");
}

static void ingress(struct warnings *w, const struct api_ingress *i)
{
    const struct api_object_meta *m = &i->metadata;

    for (uint32_t k = 0; !i->spec.ingress_class_name.n && k < m->n_annotations; k++)
        if (str_is(m->annotations[k].key, "kubernetes.io/ingress.class"))
            warn(w, "annotation \"kubernetes.io/ingress.class\" is deprecated, please use "
                    "'spec.ingressClassName' instead");
}

static void storage_class_note(struct warnings *w, const struct api_object_meta *m)
{
    for (uint32_t i = 0; i < m->n_annotations; i++) {
        struct str key = m->annotations[i].key;
        if (str_is(key, "volume.beta.kubernetes.io/storage-class"))
            warn(w,
                 "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since "
                 "v1.8; use \"storageClassName\" attribute instead");
        if (str_is(key, "volume.beta.kubernetes.io/mount-options"))
            warn(w,
                 "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since "
                 "v1.31; use \"mountOptions\" attribute instead");
    }
}

static void finalizers(struct warnings *w, const struct api_object_meta *m,
                       const struct api_object_meta *old)
{
    for (uint32_t i = 0; i < m->n_finalizers; i++) {
        struct str f = m->finalizers[i];
        bool had = str_is(f, "orphan") || str_is(f, "foregroundDeletion") || str_find(f, '/') >= 0;
        for (uint32_t k = 0; old && !had && k < old->n_finalizers; k++)
            had = str_eq(f, old->finalizers[k]);
        if (!had)
            warn(
                w,
                "metadata.finalizers: \"%.*s\": prefer a domain-qualified finalizer name including "
                "a path (/) to avoid accidental conflicts with other finalizer writers",
                STR_ARG(f));
    }
}

/* ---- which ---- */

/* Where a kind has pods in it; old ones in *ret_old. */
static const struct api_pod_template_spec *template_of(const struct schema_kind *k, const void *msg)
{
    switch (k->id) {
    case KIND_DEPLOYMENT:
        return &((const struct api_deployment *)msg)->spec.template;
    case KIND_REPLICA_SET:
        return &((const struct api_replica_set *)msg)->spec.template;
    case KIND_STATEFUL_SET:
        return &((const struct api_stateful_set *)msg)->spec.template;
    case KIND_DAEMON_SET:
        return &((const struct api_daemon_set *)msg)->spec.template;
    case KIND_JOB:
        return &((const struct api_job *)msg)->spec.template;
    case KIND_CRON_JOB:
        return &((const struct api_cron_job *)msg)->spec.job_template.spec.template;
    case KIND_REPLICATION_CONTROLLER:
        return ((const struct api_replication_controller *)msg)->spec.template;
    case KIND_POD_TEMPLATE:
        return &((const struct api_pod_template *)msg)->template;
    default:
        return NULL;
    }
}

static void templates(const struct schema_kind *k, const void *msg, const void *old,
                      struct warnings *w)
{
    const struct api_pod_template_spec *t = template_of(k, msg),
                                       *o = old ? template_of(k, old) : NULL;
    bool cron = k->id == KIND_CRON_JOB, pod_template = k->id == KIND_POD_TEMPLATE;

    if (!t || (o && schema_equal(&api_pod_template_spec_desc, t, o)))
        return;
    pod(w, &t->metadata, &t->spec,
        cron           ? "spec.jobTemplate.spec.template.metadata."
        : pod_template ? "template.metadata."
                       : "spec.template.metadata.",
        cron           ? "spec.jobTemplate.spec.template.spec"
        : pod_template ? "template.spec"
                       : "spec.template.spec");
}

static void pod_itself(struct warnings *w, const struct api_pod *p, const struct api_pod *old)
{
    if (!old)
        name_of_pods(w, &p->metadata);
    if (!old || !schema_equal(&api_pod_spec_desc, &p->spec, &old->spec))
        pod(w, &p->metadata, &p->spec, "metadata.", "spec");
}

void api_warnings(const struct schema_kind *k, const void *msg, const void *old, struct warnings *w)
{
    const struct api_object_meta *m = msg;

    finalizers(w, m, old);
    templates(k, msg, old, w);
    switch (k->id) {
    case KIND_POD:
        pod_itself(w, msg, old);
        break;
    case KIND_SERVICE:
        service(w, msg);
        break;
    case KIND_NODE:
        node(w, msg);
        break;
    case KIND_CRON_JOB:
        cron_job(w, msg);
        break;
    case KIND_INGRESS:
        if (!old)
            ingress(w, msg);
        break;
    case KIND_PERSISTENT_VOLUME:
        storage_class_note(w, m);
        persistent_volume(w, msg);
        break;
    case KIND_PERSISTENT_VOLUME_CLAIM:
        storage_class_note(w, m);
        break;
    case KIND_DEPLOYMENT:
    case KIND_REPLICA_SET:
    case KIND_JOB:
    case KIND_REPLICATION_CONTROLLER:
        if (!old)
            name_of_pods(w, m);
        break;
    default:
        break;
    }
}
