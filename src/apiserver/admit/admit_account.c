/* ServiceAccount, the part that refuses: an account with the annotation below lets its pods use no
 * Secrets but those it lists (volumes, environment, image pulls). Deprecated in Kubernetes, and
 * still heeded there, so whoever relies on it must be able to. It looks at the pod once all
 * changes are made, since a policy or webhook could bring a Secret in.
 * Kubernetes: plugin/pkg/admission/serviceaccount */
#include "apiserver/admit/admit_pod.h"

#define ENFORCE STR("kubernetes.io/enforce-mountable-secrets")

struct look {
    struct api_call *c;
    struct str pod, kind; /* kind: of the container, as the sentence calls it */
    const struct api_service_account *sa;
};

/* As Go's strconv.ParseBool reads it. */
static bool is_true(struct str s)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (str_eqz(s, yes[i]))
            return true;
    return false;
}

static bool lists(const struct api_service_account *sa, struct str secret)
{
    for (uint32_t i = 0; i < sa->n_secrets; i++)
        if (str_eq(sa->secrets[i].name, secret))
            return true;
    return false;
}

static int look_at_env(const struct look *l, struct str name, const struct api_env_var *env,
                       uint32_t n_env, const struct api_env_from_source *from, uint32_t n_from)
{
    for (uint32_t i = 0; i < n_env; i++) {
        const struct api_secret_key_selector *k =
            env[i].value_from ? env[i].value_from->secret_key_ref : NULL;
        if (k && !lists(l->sa, k->local_object_reference.name))
            return call_forbidden(
                l->c, l->pod,
                "%.*s %.*s with envVar %.*s referencing secret.secretName=\"%.*s\" is not allowed "
                "because service account %.*s does not reference that secret",
                STR_ARG(l->kind), STR_ARG(name), STR_ARG(env[i].name),
                STR_ARG(k->local_object_reference.name), STR_ARG(l->sa->metadata.name));
    }
    for (uint32_t i = 0; i < n_from; i++) {
        const struct api_secret_env_source *s = from[i].secret_ref;
        if (s && !lists(l->sa, s->local_object_reference.name))
            return call_forbidden(
                l->c, l->pod,
                "%.*s %.*s with envFrom referencing secret.secretName=\"%.*s\" is not allowed "
                "because service account %.*s does not reference that secret",
                STR_ARG(l->kind), STR_ARG(name), STR_ARG(s->local_object_reference.name),
                STR_ARG(l->sa->metadata.name));
    }
    return 0;
}

static int look_at_containers(struct look *l, const struct api_container *v, uint32_t n,
                              const char *kind)
{
    int r = 0;
    l->kind = str_z(kind);
    for (uint32_t i = 0; i < n && r >= 0; i++)
        r = look_at_env(l, v[i].name, v[i].env, v[i].n_env, v[i].env_from, v[i].n_env_from);
    return r;
}

static int look_at_ephemeral(struct look *l, const struct api_pod_spec *s)
{
    int r = 0;
    l->kind = STR("ephemeral container");
    for (uint32_t i = 0; i < s->n_ephemeral_containers && r >= 0; i++) {
        const struct api_ephemeral_container_common *e =
            &s->ephemeral_containers[i].ephemeral_container_common;
        r = look_at_env(l, e->name, e->env, e->n_env, e->env_from, e->n_env_from);
    }
    return r;
}

static int look_at_volumes(const struct look *l, const struct api_pod_spec *s)
{
    for (uint32_t i = 0; i < s->n_volumes; i++) {
        const struct api_secret_volume_source *v = s->volumes[i].volume_source.secret;
        if (v && !lists(l->sa, v->secret_name))
            return call_forbidden(l->c, l->pod,
                                  "volume with secret.secretName=\"%.*s\" is not allowed because "
                                  "service account %.*s does not reference that secret",
                                  STR_ARG(v->secret_name), STR_ARG(l->sa->metadata.name));
    }
    return 0;
}

static int look_at_pulls(const struct look *l, const struct api_pod_spec *s)
{
    for (uint32_t i = 0; i < s->n_image_pull_secrets; i++) {
        struct str name = s->image_pull_secrets[i].name;
        bool there = false;
        for (uint32_t k = 0; k < l->sa->n_image_pull_secrets; k++)
            there |= str_eq(l->sa->image_pull_secrets[k].name, name);
        if (!there)
            return call_forbidden(l->c, l->pod,
                                  "imagePullSecrets[%u].name=\"%.*s\" is not allowed because "
                                  "service account %.*s does not reference that imagePullSecret",
                                  i, STR_ARG(name), STR_ARG(l->sa->metadata.name));
    }
    return 0;
}

int admit_account_secrets(struct api_call *c, const void *msg, const struct object *old)
{
    const struct api_pod *p = msg;
    bool ephemeral = str_is(c->subresource, "ephemeralcontainers");
    if (c->kind != KIND(POD) || (old ? !ephemeral : c->subresource.n > 0))
        return 0;
    struct object *o = store_peek(c->server->store, KIND(SERVICE_ACCOUNT), p->metadata.namespace,
                                  p->spec.service_account_name);
    const struct str *enforce = o ? KV_GET(object_meta(o), annotations, ENFORCE) : NULL;
    if (!enforce || !is_true(*enforce))
        return 0;
    struct look l = {.c = c, .pod = p->metadata.name, .sa = OBJECT_MSG(o, api_service_account)};
    if (ephemeral)
        return look_at_ephemeral(&l, &p->spec);
    int r = look_at_volumes(&l, &p->spec);
    if (r >= 0)
        r = look_at_containers(&l, p->spec.init_containers, p->spec.n_init_containers,
                               "init container");
    if (r >= 0)
        r = look_at_containers(&l, p->spec.containers, p->spec.n_containers, "container");
    return r < 0 ? r : look_at_pulls(&l, &p->spec);
}
