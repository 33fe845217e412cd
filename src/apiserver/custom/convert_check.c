/* The authority of a conversion webhook as a definition is written. A definition that is served may
 * not be given one nobody can read; one that is new may, so that whoever fills it in later (as
 * cert-manager's injector does) finds something to fill in. Kubernetes: allowInvalidCABundle of
 * apiextensions/validation. */
#include "apiserver/custom/convert.h"

#include "api/crd.h"
#include "codec/base64.h"
#include "rt/crypto.h"

typedef struct api_custom_resource_definition crd_t;

static struct str bundle_of(const crd_t *crd)
{
    const struct api_custom_resource_conversion *c = crd->spec.conversion;
    return c && c->webhook && c->webhook->client_config ? c->webhook->client_config->ca_bundle
                                                        : STR_NONE;
}

static bool is_readable(struct str pem)
{
    struct cert *cert = NULL;
    bool good = cert_from_pem(pem, NULL, &cert) >= 0;
    cert_free(cert);
    return good;
}

void convert_check(const crd_t *crd, const crd_t *old, struct error *err)
{
    struct str now = bundle_of(crd), was = old ? bundle_of(old) : STR_NONE;
    struct buf b = {0};
    if (!old || !crd_is_established(old) || !now.n || is_readable(now) ||
        (was.n && !is_readable(was)))
        return;
    base64_print(str_sub(now, 0, 300), &b);
    (void)error_cause(err, CAUSE_INVALID, STR("spec.conversion.webhookClientConfig.caBundle"),
                      "Invalid value: \"%.*s\": unable to load root certificates: unable to parse "
                      "bytes as PEM block",
                      STR_ARG(buf_str(&b)));
    buf_fini(&b);
}
