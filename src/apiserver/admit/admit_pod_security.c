/* PodSecurity: the level a namespace's labels ask for, held against pods and, as warnings only, the
 * templates pods are made of. What a namespace without such labels costs is one look at its labels.
 * Pods that run already are never touched; who raises the level of a namespace is told of them.
 * Kubernetes: staging/src/k8s.io/pod-security-admission. */
#include "api/pod_security.h"
#include "apiserver/admit/admit.h"

#define PODS_CHECKED_MAX 3000 /* of a namespace whose level changes; as in Kubernetes */

static void policy_of(struct api_call *c, struct pod_security_policy *ret)
{
    struct object *o = store_peek(c->server->store, KIND(NAMESPACE), STR_NONE, c->ns);
    const struct api_object_meta *m = o ? object_meta(o) : NULL;
    pod_security_policy(m ? m->labels : NULL, m ? m->n_labels : 0, ret, NULL);
}

/* ---- namespaces ---- */

static bool same_labels(const struct api_object_meta *a, const struct api_object_meta *b)
{
    static const char *const keys[] = {"enforce", "enforce-version", "audit", "audit-version",
                                       "warn",    "warn-version"};
    char key[64];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        snprintf(key, sizeof(key), POD_SECURITY_PREFIX "%s", keys[i]);
        const struct str *x = KV_GET(a, labels, str_z(key)), *y = KV_GET(b, labels, str_z(key));
        if (!x != !y || (x && !str_eq(*x, *y)))
            return false;
    }
    return true;
}

/* Pods that break a level in the same way; what is said names the first of them. */
struct offence {
    struct str reasons, first;
    unsigned n;
};

static struct offence *offence_find(struct api_call *c, struct offence **v, size_t *n, size_t *cap,
                                    struct str reasons)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq((*v)[i].reasons, reasons))
            return &(*v)[i];
    ARRAY_RESERVE(*v, *n, *cap);
    (*v)[*n] = (struct offence){.reasons = arena_str(&c->arena, reasons)};
    return &(*v)[(*n)++];
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct offence *)a)->first, ((const struct offence *)b)->first);
}

static void warn_of_pods(struct api_call *c, struct str ns, struct pod_security enforce)
{
    struct store_iter it;
    struct offence *v = NULL;
    size_t n = 0, cap = 0, seen = 0, total = 0;
    struct buf text = {0}, level = {0};
    if (store_iter_init(&it, c->server->store, KIND(POD), ns, 0, STR_NONE, STR_NONE) < 0)
        return;
    for (struct object *o; seen < PODS_CHECKED_MAX && (o = store_iter_next(&it)); seen++) {
        const struct api_pod *p = o->msg;
        buf_clear(&text);
        if (pod_security_check(enforce, &p->metadata, &p->spec, NULL, &text))
            continue;
        struct offence *f = offence_find(c, &v, &n, &cap, buf_str(&text));
        if (!f->n++) /* the walk is in order of names */
            f->first = arena_str(&c->arena, p->metadata.name);
    }
    total = seen + store_iter_left(&it);
    store_iter_fini(&it);
    pod_security_print(enforce, &level);
    if (seen < total)
        api_call_warn(c,
                      "new PodSecurity enforce level only checked against the first %zu of %zu "
                      "existing pods",
                      seen, total);
    if (n)
        api_call_warn(c,
                      "existing pods in namespace \"%.*s\" violate the new PodSecurity enforce "
                      "level \"%.*s\"",
                      STR_ARG(ns), STR_ARG(buf_str(&level)));
    if (n)
        qsort(v, n, sizeof(*v), by_name);
    for (size_t i = 0; i < n; i++) {
        if (v[i].n == 1)
            api_call_warn(c, "%.*s: %.*s", STR_ARG(v[i].first), STR_ARG(v[i].reasons));
        else
            api_call_warn(c, "%.*s (and %u other pod%s): %.*s", STR_ARG(v[i].first), v[i].n - 1,
                          v[i].n == 2 ? "" : "s", STR_ARG(v[i].reasons));
    }
    free(v);
    buf_fini(&text);
    buf_fini(&level);
}

static int check_namespace(struct api_call *c, const struct api_namespace *ns,
                           const struct object *old)
{
    struct pod_security_policy now, was;
    const struct api_object_meta *m = &ns->metadata, *o = old ? object_meta(old) : NULL;
    if (c->subresource.n || (o && same_labels(m, o)))
        return 0;
    pod_security_policy(m->labels, m->n_labels, &now, &c->reply.err);
    int r = call_invalid(c, m->name);
    if (r < 0 || !o)
        return r;
    pod_security_policy(o->labels, o->n_labels, &was, NULL);
    bool relaxed = now.enforce.minor == was.enforce.minor && now.enforce.level <= was.enforce.level;
    if (now.enforce.level != POD_SECURITY_PRIVILEGED && !relaxed)
        warn_of_pods(c, m->name, now.enforce);
    return 0;
}

/* ---- pods and templates ---- */

static void annotate(struct api_call *c, const struct pod_security_policy *p,
                     const struct api_object_meta *m, const struct api_pod_spec *s, bool enforce)
{
    struct buf level = {0}, text = {0};
    pod_security_print(p->enforce, &level);
    if (enforce)
        api_call_annotate(c, POD_SECURITY_PREFIX "enforce-policy", "%.*s",
                          STR_ARG(buf_str(&level)));
    buf_clear(&level);
    pod_security_print(p->audit, &level);
    if (!pod_security_check(p->audit, m, s, &text, NULL))
        api_call_annotate(c, POD_SECURITY_PREFIX "audit-violations",
                          "would violate PodSecurity \"%.*s\": %.*s", STR_ARG(buf_str(&level)),
                          STR_ARG(buf_str(&text)));
    buf_fini(&level);
    buf_fini(&text);
}

static int check_spec(struct api_call *c, const struct pod_security_policy *p,
                      const struct api_object_meta *m, const struct api_pod_spec *s, bool enforce)
{
    struct buf level = {0}, text = {0};
    int r = 0;
    if (c->audit)
        annotate(c, p, m, s, enforce);
    if (enforce && !pod_security_check(p->enforce, m, s, &text, NULL)) {
        pod_security_print(p->enforce, &level);
        r = call_forbidden(c, m->name.n ? m->name : m->generate_name,
                           "violates PodSecurity \"%.*s\": %.*s", STR_ARG(buf_str(&level)),
                           STR_ARG(buf_str(&text)));
    } else if (!c->user.trusted && !pod_security_check(p->warn, m, s, &text, NULL)) {
        pod_security_print(p->warn, &level);
        api_call_warn(c, "would violate PodSecurity \"%.*s\": %.*s", STR_ARG(buf_str(&level)),
                      STR_ARG(buf_str(&text)));
    }
    buf_fini(&level);
    buf_fini(&text);
    return r;
}

static bool same_images(const struct api_container *a, uint32_t n_a, const struct api_container *b,
                        uint32_t n_b)
{
    bool same = n_a == n_b;
    for (uint32_t i = 0; i < n_a && same; i++)
        same = str_eq(a[i].image, b[i].image);
    return same;
}

/* Nothing that an update may change matters to the standards but what runs. */
static bool is_minor_update(const struct api_pod *p, const struct api_pod *o)
{
    return same_images(p->spec.containers, p->spec.n_containers, o->spec.containers,
                       o->spec.n_containers) &&
           same_images(p->spec.init_containers, p->spec.n_init_containers, o->spec.init_containers,
                       o->spec.n_init_containers) &&
           p->spec.n_ephemeral_containers == o->spec.n_ephemeral_containers;
}

static int check_pod(struct api_call *c, const struct api_pod *p, const struct object *old)
{
    struct pod_security_policy policy;
    if (c->subresource.n && !str_is(c->subresource, "ephemeralcontainers"))
        return 0;
    policy_of(c, &policy);
    if (pod_security_policy_is_privileged(&policy) ||
        (old && is_minor_update(p, OBJECT_MSG(old, api_pod))))
        return 0;
    return check_spec(c, &policy, &p->metadata, &p->spec, true);
}

static const struct api_pod_template_spec *template_in(const struct schema_kind *k, const void *msg)
{
    static const struct {
        const char *group, *kind, *path;
    } rows[] = {
        {"apps", "Deployment", "spec.template"},
        {"apps", "ReplicaSet", "spec.template"},
        {"apps", "StatefulSet", "spec.template"},
        {"apps", "DaemonSet", "spec.template"},
        {"batch", "Job", "spec.template"},
        {"batch", "CronJob", "spec.jobTemplate.spec.template"},
        {"", "ReplicationController", "spec.template"},
        {"", "PodTemplate", "template"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct schema_ref ref;
        if (strcmp(k->kind, rows[i].kind) != 0 || strcmp(k->group, rows[i].group) != 0)
            continue;
        if (schema_get_path(k->desc, msg, str_z(rows[i].path), &ref) > 0 &&
            ref.desc == &api_pod_template_spec_desc)
            return ref.ptr;
        return NULL;
    }
    return NULL;
}

int admit_pod_security(struct api_call *c, const void *msg, const struct object *old)
{
    struct pod_security_policy policy;
    if (c->kind == KIND(POD))
        return check_pod(c, msg, old);
    if (c->kind == KIND(NAMESPACE))
        return check_namespace(c, msg, old);
    if (c->user.trusted || c->subresource.n || !c->kind->namespaced) /* nobody reads its warnings */
        return 0;
    const struct api_pod_template_spec *t = template_in(c->kind, msg);
    if (!t)
        return 0;
    policy_of(c, &policy);
    return check_spec(c, &policy, &t->metadata, &t->spec, false);
}
