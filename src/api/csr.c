/* What a certificate request may say. Whether the request itself (PKCS#10) can be read, and who may
 * approve or sign, is the API server's matter (admit_csr.c). Kubernetes: pkg/apis/certificates. */
#include "api/csr.h"

#include "api/check.h"
#include "base/set.h"

#define EXPIRATION_S_MIN   600
#define SIGNER_NAME_MAX    571 /* a DNS subdomain, a slash, and a path of its own limits */
#define CERTIFICATE_PREFIX "-----BEGIN CERTIFICATE-----"

const struct api_certificate_signing_request_condition *
csr_condition(const struct api_certificate_signing_request *c, const char *type)
{
    for (uint32_t i = 0; i < c->status.n_conditions; i++)
        if (str_eqz(c->status.conditions[i].type, type))
            return &c->status.conditions[i];
    return NULL;
}

static void validate_signer(struct str name, struct error *err)
{
    struct str path = name, domain, at = STR("spec.signerName"), part;
    if (!name.n)
        return; /* told by the table */
    if (str_is(name, "kubernetes.io/legacy-unknown")) {
        check_invalid(err, at, name, "the legacy signerName is not allowed via this API version");
        return;
    }
    if (name.n > SIGNER_NAME_MAX) {
        (void)error_cause(err, CAUSE_TOO_LONG, at, "Too long: may not be more than %d bytes",
                          SIGNER_NAME_MAX);
        return;
    }
    if (!str_cut(&path, '/', &domain) || !path.n || str_find(path, '/') >= 0) {
        check_invalid(err, at, name,
                      "must be a fully qualified domain and path of the form "
                      "'example.com/signer-name'");
        return;
    }
    if (str_find(domain, '.') < 0)
        check_invalid(err, at, domain,
                      "should be a domain with at least two segments separated by dots");
    check_format(err, at, SCHEMA_FORMAT_DNS_SUBDOMAIN, domain);
    while (str_cut(&path, '.', &part) || part.n)
        check_format(err, at, SCHEMA_FORMAT_DNS_SUBDOMAIN, part);
}

static void csr_validate(const void *msg, struct error *err)
{
    const struct api_certificate_signing_request_spec *s =
        &((const struct api_certificate_signing_request *)msg)->spec;
    validate_signer(s->signer_name, err);
    if (!s->n_usages)
        check_required(err, STR("spec.usages"), "usages is required");
    struct set usages = {0};
    for (uint32_t i = 0; i < s->n_usages; i++)
        if (!set_add(&usages, s->usages[i])) {
            PATH(at, "spec.usages[%u]", i);
            check_duplicate(err, at, s->usages[i]);
        }
    set_fini(&usages);
    if (s->has_expiration_seconds && s->expiration_seconds < EXPIRATION_S_MIN)
        check_invalid_int(err, STR("spec.expirationSeconds"), s->expiration_seconds,
                          "may not specify a duration less than 600 seconds (10 minutes)");
}

static void validate_condition_status(const struct api_certificate_signing_request_condition *v,
                                      uint32_t i, struct error *err)
{
    static const char *const any[] = {"False", "True", "Unknown", NULL}, *const yes[] = {"True",
                                                                                         NULL};
    static const char *const lasting[] = {"Approved", "Denied", "Failed"};
    const char *const *allowed = any;
    bool ok = false;
    PATH(type, "status.conditions[%u].type", i);
    PATH(at, "status.conditions[%u].status", i);
    if (!v->type.n)
        check_required(err, type, "");
    for (size_t k = 0; k < ARRAY_LEN(lasting); k++)
        if (str_eqz(v->type, lasting[k]))
            allowed = yes;
    for (const char *const *p = allowed; *p; p++)
        ok |= str_eqz(v->status, *p);
    if (!v->status.n)
        check_required(err, at, "");
    else if (!ok)
        check_not_supported(err, at, v->status, allowed);
}

static void validate_conditions(const struct api_certificate_signing_request *c,
                                const struct api_certificate_signing_request *o, struct error *err)
{
    static const char *const lasting[] = {"Approved", "Denied", "Failed"};
    struct str at = STR("status.conditions");
    for (uint32_t i = 0; i < c->status.n_conditions; i++)
        validate_condition_status(&c->status.conditions[i], i, err);
    if (csr_condition(c, "Approved") && csr_condition(c, "Denied"))
        check_invalid(err, at, STR("Denied"),
                      "Approved and Denied conditions are mutually exclusive");
    for (size_t i = 0; i < ARRAY_LEN(lasting); i++)
        if (!csr_condition(c, lasting[i]) && csr_condition(o, lasting[i]))
            check_forbidden(
                err, at, "updates may not remove a condition of type Approved, Denied or Failed");
}

static void csr_validate_status(const void *msg, const void *old, struct error *err)
{
    const struct api_certificate_signing_request *c = msg, *o = old;
    struct str cert = c->status.certificate;
    if (!o)
        return;
    validate_conditions(c, o, err);
    if (o->status.certificate.n && !str_eq(o->status.certificate, cert))
        check_forbidden(err, STR("status.certificate"),
                        "updates may not change certificate content once it is set");
    if (cert.n && str_search(cert, STR(CERTIFICATE_PREFIX)) < 0)
        (void)error_cause(err, CAUSE_INVALID, STR("status.certificate"),
                          "Invalid value: \"<certificate data>\": must contain at least one "
                          "CERTIFICATE PEM block");
}

static void csr_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_certificate_signing_request *c = msg, *o = old;
    check_immutable(err, STR("spec"), &api_certificate_signing_request_spec_desc, &c->spec,
                    &o->spec);
}

const struct api_hooks csr_hooks = {.kind = KIND_CERTIFICATE_SIGNING_REQUEST,
                                    .validate = csr_validate,
                                    .validate_update = csr_validate_update,
                                    .validate_status = csr_validate_status};
