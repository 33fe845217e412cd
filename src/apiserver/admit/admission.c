/* Admission: what happens to a write between the caller's rights and the rules of the kind. A table
 * of plugins, asked in order; each may change the object (mutate) or refuse it (validate). All run
 * in one turn on the core thread and read the store directly; webhooks are waited for before it.
 * Kubernetes: plugin/pkg/admission. */
#include "apiserver/admit/admit.h"
#include "apiserver/admit/admit_pod.h"
#include "apiserver/aggregate/apiservices.h"
#include "apiserver/custom/crds.h"
#include "apiserver/hooks/hooks.h"
#include "apiserver/policy/policy.h"
#include "apiserver/admit/quota.h"
#include "apiserver/subresource.h"

struct plugin {
    const char *name;
    enum { ALWAYS, ON, OFF } use; /* ALWAYS: what it does cannot be done without */
    int (*mutate)(struct api_call *c, void *msg, const struct object *old);
    int (*validate)(struct api_call *c, const void *msg, const struct object *old);
    int (*remove)(struct api_call *c, const struct object *old);
    bool knows; /* whether it is on: it is called in any case */
};

/* ---- NamespaceLifecycle ---- */

int admit_namespace(struct api_call *c)
{
    if (!c->kind->namespaced)
        return 0;
    if (!c->ns.n)
        return call_error(c, REASON_BAD_REQUEST,
                          "an empty namespace may not be set during creation");
    struct object *o = store_peek(c->server->store, KIND(NAMESPACE), STR_NONE, c->ns);
    if (!o)
        return call_not_found(c, KIND(NAMESPACE), c->ns);
    if (!object_meta(o)->deletion_timestamp.set &&
        !str_is(OBJECT_MSG(o, api_namespace)->status.phase, "Terminating"))
        return 0;
    const struct api_object_meta *m =
        c->body && (c->body_desc->flags & SCHEMA_DESC_OBJECT) ? c->body : NULL;
    int r = call_forbidden(
        c, m ? m->name : c->name,
        "unable to create new content in namespace %.*s because it is being terminated",
        STR_ARG(c->ns));
    enum error_reason reason = c->reply.err.reason;
    struct str text = c->reply.err.message;
    (void)error_cause(&c->reply.err, "NamespaceTerminating", STR("metadata.namespace"),
                      "namespace %.*s is being terminated", STR_ARG(c->ns));
    c->reply.err.reason = reason;
    c->reply.err.message = text;
    return r;
}

static int namespace_remove(struct api_call *c, const struct object *old)
{
    static const char *const forever[] = {"default", "kube-system", "kube-public"};
    if (old->kind != KIND(NAMESPACE))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(forever); i++)
        if (str_eqz(object_meta(old)->name, forever[i]))
            return call_forbidden(c, object_meta(old)->name, "this namespace may not be deleted");
    return 0;
}

/* ---- RBAC escalation ---- */

static int rbac_validate(struct api_call *c, const void *msg, const struct object *old)
{
    if (c->kind != KIND(ROLE) && c->kind != KIND(CLUSTER_ROLE) && c->kind != KIND(ROLE_BINDING) &&
        c->kind != KIND(CLUSTER_ROLE_BINDING))
        return 0;
    if (old && schema_equal(c->kind->desc, msg, old->msg))
        return 0;
    return rbac_check_escalation(c, msg, old);
}

/* ---- the table ---- */

/* Changes in the order Kubernetes makes them; ResourceQuota is last, since it takes what it grants.
 */
static const struct plugin plugins[] = {
    {"NamespaceLifecycle", ALWAYS, NULL, NULL, namespace_remove},
    {"NodeRestriction", ALWAYS, NULL, admit_node_restriction, NULL},
    {"TaintNodesByCondition", ON, admit_node_taint, NULL, NULL},
    {"LimitRanger", ON, admit_limits_mutate, admit_limits_validate, NULL},
    {"ServiceAccount", ALWAYS, admit_service_account, admit_account_secrets, NULL},
    {"Priority", ALWAYS, admit_priority, admit_priority_class, priority_class_remove},
    {"DefaultTolerationSeconds", ON, admit_tolerations, NULL, NULL},
    {"DefaultStorageClass", ON, admit_storage_class, NULL, NULL},
    {"PersistentVolumeClaimResize", ON, NULL, admit_claim_resize, NULL},
    {"DefaultIngressClass", ON, admit_ingress_class, NULL, NULL},
    {"RuntimeClass", ON, admit_runtime_class, NULL, NULL},
    {"RBACEscalation", ALWAYS, NULL, rbac_validate, NULL},
    {"NodeRange", ALWAYS, NULL, admit_node_range, NULL},
    {"CertificateRequests", ALWAYS, admit_csr_mutate, admit_csr_validate, NULL},
    {"CustomResourceDefinitions", ALWAYS, admit_crd_mutate, NULL, NULL},
    {"APIServices", ALWAYS, admit_apiservice, NULL, NULL},
    {"PodSecurity", ON, NULL, admit_pod_security, NULL},
    {"OwnerReferencesPermissionEnforcement", OFF, NULL, admit_owner_references, NULL},
    {"AdmissionPolicyStatus", ALWAYS, admit_policy_status, NULL, NULL},
    {"MutatingAdmissionPolicy", ON, admit_policies_mutate, NULL, NULL},
    {"MutatingAdmissionWebhook", ON, hooks_mutate, NULL, NULL, .knows = true},
    {"ValidatingAdmissionPolicy", ON, NULL, admit_policies_validate, admit_policies_remove},
    {"ValidatingAdmissionWebhook", ON, NULL, hooks_validate, NULL, .knows = true},
    {"ResourceQuota", ON, NULL, admit_quota, NULL},
};
static_assert(ARRAY_LEN(plugins) <= 64, "a bit each");

static int switch_plugins(const char *list, bool on, uint64_t *bits, struct error *err)
{
    struct str rest = str_z(list), name;
    while (str_cut(&rest, ',', &name) || name.n) {
        size_t i = 0;
        while (i < ARRAY_LEN(plugins) && !str_eqz(name, plugins[i].name))
            i++;
        if (i == ARRAY_LEN(plugins))
            return error_set(err, REASON_BAD_REQUEST, "there is no admission plugin \"%.*s\"",
                             STR_ARG(name));
        if (!on && plugins[i].use == ALWAYS)
            return error_set(err, REASON_BAD_REQUEST,
                             "the admission plugin \"%.*s\" cannot be switched off", STR_ARG(name));
        *bits = on ? *bits | UINT64_C(1) << i : *bits & ~(UINT64_C(1) << i);
    }
    return 0;
}

int admit_plugins(const char *enable, const char *disable, uint64_t *ret, struct error *err)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++)
        if (plugins[i].use != OFF)
            bits |= UINT64_C(1) << i;
    int r = switch_plugins(disable, false, &bits, err);
    if (r >= 0)
        r = switch_plugins(enable, true, &bits, err);
    if (r >= 0)
        *ret = bits;
    return r;
}

static bool is_on(const struct api_call *c, size_t i)
{
    return plugins[i].knows || c->server->plugins & UINT64_C(1) << i;
}

bool admit_plugin_is_on(const struct apiserver *s, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++)
        if (strcmp(plugins[i].name, name) == 0)
            return s->plugins & UINT64_C(1) << i;
    ASSERT(!"such a plugin");
    return false;
}

static int mutate_all(struct api_call *c, void *msg, const struct object *old)
{
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
        int r = plugins[i].mutate && is_on(c, i) ? plugins[i].mutate(c, msg, old) : 0;
        if (r)
            return r;
    }
    return 0;
}

int admit_mutate_again(struct api_call *c, void *msg, const struct object *old)
{
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
        bool is = plugins[i].mutate && plugins[i].mutate != hooks_mutate && is_on(c, i);
        int r = is ? plugins[i].mutate(c, msg, old) : 0;
        if (r)
            return r;
    }
    return 0;
}

int admit_mutate(struct api_call *c, void *msg, const struct object *old)
{
    struct admit_again again = {0};
    c->again = &again;
    int r = mutate_all(c, msg, old);
    if (r == 0 && again.wanted) {
        again.second = true;
        r = admit_mutate_again(c, msg, old);
    }
    c->again = NULL;
    return r;
}

int admit_validate(struct api_call *c, const void *msg, const struct object *old)
{
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
        int r = plugins[i].validate && is_on(c, i) ? plugins[i].validate(c, msg, old) : 0;
        if (r)
            return r;
    }
    return 0;
}

int admit_special(struct api_call *c)
{
    struct admit_request r;
    const struct object *old = NULL;
    const struct schema_desc *desc = c->sub && c->sub->desc ? c->sub->desc : c->kind->desc;
    bool creates = c->verb == API_CREATE;
    if (!policies_any(c->server->policies, false) && !policies_any(c->server->policies, true))
        return 0;
    if (c->verb == API_CONNECT || c->verb == API_PROXY) {
        admit_request_init_connect(&r, c);
        return policies_validate(&r);
    }
    if (!c->body || c->body_desc != desc)
        return 0; /* whoever reads it says so */
    if (c->subresource.n && !(old = call_peek(c)))
        return call_not_found(c, c->kind, c->name);
    enum admit_op op = creates ? ADMIT_CREATE : ADMIT_UPDATE;
    if (desc == c->kind->desc)
        admit_request_init(&r, c, op, c->body, creates ? NULL : old);
    else
        admit_request_init_sub(&r, c, op, desc, c->body,
                               str_is(c->subresource, "scale") ? scale_of(c, old) : NULL);
    int rc = policies_mutate(&r);
    if (rc == 0 && r.object != c->body)
        memcpy(c->body, r.object, desc->size);
    return rc ? rc : policies_validate(&r);
}

int admit_delete(struct api_call *c, const struct object *old)
{
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
        int r = plugins[i].remove && is_on(c, i) ? plugins[i].remove(c, old) : 0;
        if (r)
            return r;
    }
    return admit_node_restriction(c, NULL, old);
}
