/* Certificate requests: whose they are is what the server saw, not what they say; who approves and
 * who signs must be allowed to for that signer; and no request makes a cluster administrator.
 * Kubernetes: plugin/pkg/admission/certificates. */
#include "apiserver/internal.h"

#include "api/csr.h"
#include "rt/crypto.h"

static bool may(struct api_call *c, const char *verb, struct str signer)
{
    struct str domain, path = signer, reason;
    struct authz_attrs at = {.user = &c->user,
                             .verb = str_z(verb),
                             .group = STR("certificates.k8s.io"),
                             .version = STR("*"),
                             .resource = STR("signers"),
                             .name = signer};
    if (authz_allowed(c->server, &at, NULL, &reason))
        return true;
    if (!str_cut(&path, '/', &domain))
        return false;
    at.name = arena_printf(&c->arena, "%.*s/*", STR_ARG(domain)); /* all of a domain */
    return authz_allowed(c->server, &at, NULL, &reason);
}

static void add_extra(struct api_certificate_signing_request_spec *s, struct str key,
                      struct str *value)
{
    s->extra[s->n_extra++] =
        (struct kv_extra_value){.key = key, .value = {.items = value, .n_items = 1}};
}

/* The address the request came from is noted with the requester: who signs a serving certificate
 * for an address wants to know whether it was asked for from there. */
static void set_requester(struct api_call *c, struct api_certificate_signing_request_spec *s)
{
    const struct api_user *u = &c->user;
    struct str address = c->client_address;
    s->username = u->name;
    s->uid = u->uid;
    s->groups = u->groups;
    s->n_groups = u->n_groups;
    s->extra = user_extra(u, &c->arena, &s->n_extra);
    for (uint32_t i = s->n_extra; i-- > 0;) /* what the server saw is not for others to say */
        if (str_is(s->extra[i].key, CSR_EXTRA_ADDRESS))
            s->extra[i] = s->extra[--s->n_extra];
    if (address.n) {
        for (size_t i = address.n; i-- > 0;) /* without the port */
            if (address.p[i] == ':') {
                address.n = i;
                break;
            }
        struct str *value = ARENA_NEW(&c->arena, struct str);
        *value = address;
        add_extra(s, STR(CSR_EXTRA_ADDRESS), value);
    }
}

/* An approver decides and does not sign, a signer signs and does not decide. */
static void keep_the_others(struct api_call *c, struct api_certificate_signing_request *m,
                            const struct api_certificate_signing_request *o)
{
    bool approval = str_is(c->subresource, "approval");
    struct api_certificate_signing_request_condition *v =
        ARENA_NEW_N(&c->arena, struct api_certificate_signing_request_condition,
                    m->status.n_conditions + o->status.n_conditions + 1);
    usec_t now = rt_wall(c->server->rt);
    uint32_t n = 0;
    for (int pass = 0; pass < 2; pass++) {
        const struct api_certificate_signing_request_status *s = pass ? &o->status : &m->status;
        for (uint32_t i = 0; i < s->n_conditions; i++) {
            struct api_certificate_signing_request_condition *k = &s->conditions[i];
            bool decision = str_is(k->type, "Approved") || str_is(k->type, "Denied");
            if (decision != (approval == !pass))
                continue;
            v[n] = *k;
            if (!v[n].last_update_time.set)
                v[n].last_update_time = timestamp_seconds(now);
            if (!v[n].last_transition_time.set)
                v[n].last_transition_time = timestamp_seconds(now);
            n++;
        }
    }
    m->status.conditions = v;
    m->status.n_conditions = n;
    if (approval)
        m->status.certificate = o->status.certificate;
}

int admit_csr_mutate(struct api_call *c, void *msg, const struct object *old)
{
    struct api_certificate_signing_request *m = msg;
    if (c->kind != KIND(CERTIFICATE_SIGNING_REQUEST))
        return 0;
    if (!old && !c->user.trusted)
        set_requester(c, &m->spec);
    if (old && c->subresource.n) {
        struct api_certificate_signing_request *o =
            schema_clone(c->kind->desc, old->msg, &c->arena);
        keep_the_others(c, m, o);
    }
    return 0;
}

static int check_request(struct api_call *c, const struct api_certificate_signing_request *m)
{
    struct csr *req = NULL;
    struct error why = {0};
    int r = csr_from_pem(m->spec.request, &why, &req);
    if (r < 0) {
        (void)error_cause(&c->reply.err, CAUSE_INVALID, STR("spec.request"),
                          "Invalid value: \"<certificate request>\": %.*s", STR_ARG(why.message));
        error_fini(&why);
        return call_invalid(c, m->metadata.name);
    }
    const struct cert_facts *f = csr_facts(req);
    for (size_t i = 0; r == 0 && i < f->n_orgs; i++)
        if (str_is(m->spec.signer_name, CSR_SIGNER_CLIENT) && str_is(f->orgs[i], "system:masters"))
            r = call_forbidden(c, m->metadata.name,
                               "use of " CSR_SIGNER_CLIENT
                               " signer with system:masters group is not allowed");
    csr_free(req);
    return r;
}

int admit_csr_validate(struct api_call *c, const void *msg, const struct object *old)
{
    const struct api_certificate_signing_request *m = msg;
    if (c->kind != KIND(CERTIFICATE_SIGNING_REQUEST))
        return 0;
    if (!old)
        return check_request(c, m);
    if (c->user.trusted)
        return 0;
    if (str_is(c->subresource, "approval") && !may(c, "approve", m->spec.signer_name))
        return call_forbidden(c, m->metadata.name,
                              "user not permitted to approve requests with signerName \"%.*s\"",
                              STR_ARG(m->spec.signer_name));
    const struct api_certificate_signing_request *o = old->msg;
    bool signs = !str_eq(m->status.certificate, o->status.certificate) ||
                 (csr_condition(m, "Failed") && !csr_condition(o, "Failed"));
    if (str_is(c->subresource, "status") && signs && !may(c, "sign", m->spec.signer_name))
        return call_forbidden(c, m->metadata.name,
                              "user not permitted to sign requests with signerName \"%.*s\"",
                              STR_ARG(m->spec.signer_name));
    return 0;
}
