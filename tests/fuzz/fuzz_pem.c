/* What peers and users hand in as PEM, addresses and sealed bytes: read or refused, never more. */
#include "base/mem.h"
#include "rt/crypto.h"
#include "rt/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void facts_are_sane(const struct cert_facts *f)
{
    ASSERT(f->n_orgs <= CERT_NAMES_MAX && f->n_dns <= CERT_NAMES_MAX);
    for (size_t i = 0; i < f->n_orgs; i++)
        ASSERT(f->orgs[i].p || !f->orgs[i].n);
    for (size_t i = 0; i < f->n_dns; i++)
        ASSERT(f->dns[i].p || !f->dns[i].n);
    for (size_t i = 0; i < f->n_ips; i++)
        ASSERT(f->ips[i].n > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[SEAL_KEY_BYTES] = {1};
    struct str s = {(const char *)data, size};
    struct pkey *k = NULL;
    struct cert *c = NULL;
    struct csr *r = NULL;
    struct error err = {0};
    struct rt_addr a;
    struct buf plain = {0};

    if (pkey_from_pem(s, &err, &k) == 0) {
        char *pem = pkey_to_pem(k);
        struct pkey *again = NULL;
        ASSERT(pkey_is_private(k) && pkey_from_pem(str_z(pem), NULL, &again) == 0);
        free(pem);
        pkey_free(again);
        k = pkey_free(k);
    }
    error_clear(&err);
    if (pkey_public_from_pem(s, &err, &k) == 0) {
        ASSERT(!pkey_is_private(k));
        ASSERT(jws_verify(k, STR("ES256"), STR("x"), s) == -EBADMSG);
        pkey_free(k);
    }
    error_clear(&err);
    if (cert_from_pem(s, &err, &c) == 0) {
        facts_are_sane(cert_facts(c));
        (void)!cert_verify(c, c, 0, &err);
        cert_free(c);
    }
    error_clear(&err);
    if (csr_from_pem(s, &err, &r) == 0) {
        facts_are_sane(csr_facts(r));
        k = csr_public_key(r);
        pkey_free(k);
        csr_free(r);
    }
    error_clear(&err);
    if (rt_addr_parse(s, &a, &err) == 0)
        ASSERT(strlen(a.host) < sizeof(a.host) && strlen(a.host) <= size);
    ASSERT(seal_open(key, STR("aad"), s, &plain) == -EBADMSG && plain.n == 0);
    buf_fini(&plain);
    error_fini(&err);
    return 0;
}
