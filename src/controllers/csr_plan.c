/* The rules are those of kube-controller-manager's approver and signers (KEP-1513, KEP-902), and
 * one more: Kubernetes leaves serving certificates of nodes to people, since anybody could ask for
 * any address. Here the API server notes the address a request came from, so most can be approved
 * at once. */
#include "controllers/csr_plan.h"

#include "base/mem.h"

#define HOUR_S         3600
#define KEEP_DECIDED_S HOUR_S        /* as Kubernetes' cleaner */
#define KEEP_PENDING_S (24 * HOUR_S) /* asked for and forgotten, or let in and never come */

static bool has_usage(const struct api_certificate_signing_request *c, const char *usage)
{
    for (uint32_t i = 0; i < c->spec.n_usages; i++)
        if (str_eqz(c->spec.usages[i], usage))
            return true;
    return false;
}

/* Exactly digital signature and `main`; key encipherment may be there (RSA keys). */
static bool usages_are(const struct api_certificate_signing_request *c, const char *main)
{
    uint32_t n = 2 + has_usage(c, "key encipherment");
    return c->spec.n_usages == n && has_usage(c, "digital signature") && has_usage(c, main);
}

enum csr_for csr_recognize(const struct api_certificate_signing_request *c,
                           const struct cert_facts *f, struct str *ret_node)
{
    struct str prefix = STR("system:node:");
    bool node = str_starts(f->cn, prefix) && f->cn.n > prefix.n && f->n_orgs == 1 &&
                str_is(f->orgs[0], "system:nodes") && f->n_uris == 0;
    bool own = str_eq(c->spec.username, f->cn);
    if (!node)
        return CSR_FOR_OTHERS;
    *ret_node = str_sub(f->cn, prefix.n, f->cn.n);
    if (str_is(c->spec.signer_name, CSR_SIGNER_KUBELET) && usages_are(c, "client auth") &&
        f->n_dns + f->n_ips == 0)
        return own ? CSR_FOR_NODE_AGAIN : CSR_FOR_NODE;
    if (str_is(c->spec.signer_name, CSR_SIGNER_SERVING) && usages_are(c, "server auth") &&
        f->n_dns + f->n_ips > 0 && own)
        return CSR_FOR_NODE_SERVER;
    return CSR_FOR_OTHERS;
}

const char *csr_permission(enum csr_for what)
{
    static const char *const names[] = {
        [CSR_FOR_OTHERS] = NULL,
        [CSR_FOR_NODE] = "nodeclient",
        [CSR_FOR_NODE_AGAIN] = "selfnodeclient",
        [CSR_FOR_NODE_SERVER] = "selfnodeserver",
    };
    return names[what];
}

static struct str asked_from(const struct api_certificate_signing_request *c)
{
    for (uint32_t i = 0; i < c->spec.n_extra; i++)
        if (str_is(c->spec.extra[i].key, CSR_EXTRA_ADDRESS) && c->spec.extra[i].value.n_items == 1)
            return c->spec.extra[i].value.items[0];
    return STR_NONE;
}

bool csr_node_has(const struct api_node *n, struct str ip)
{
    for (uint32_t i = 0; n && i < n->status.n_addresses; i++)
        if (str_eq(n->status.addresses[i].address, ip))
            return true;
    return false;
}

bool csr_names_ok(const struct api_certificate_signing_request *c, const struct cert_facts *f,
                  struct str node_name, const struct api_node *node,
                  bool (*foreign)(void *arg, struct str ip), void *arg)
{
    struct str from = asked_from(c);
    bool local = str_starts(from, STR("127.")) || str_is(from, "[::1]");
    for (size_t i = 0; i < f->n_dns; i++)
        if (!str_eq(f->dns[i], node_name))
            return false;
    for (size_t i = 0; i < f->n_ips; i++)
        if (!(from.n && str_eq(f->ips[i], from)) && !csr_node_has(node, f->ips[i]) &&
            !(local && !foreign(arg, f->ips[i])))
            return false;
    return true;
}

bool csr_signer_is_ours(struct str signer)
{
    return str_is(signer, CSR_SIGNER_CLIENT) || str_is(signer, CSR_SIGNER_KUBELET) ||
           str_is(signer, CSR_SIGNER_SERVING);
}

static int refuse(struct error *err, const char *why)
{
    return error_set(err, REASON_INVALID, "%s", why);
}

int csr_cert_spec(const struct api_certificate_signing_request *c, const struct cert_facts *f,
                  int64_t now_s, struct cert_spec *ret, struct error *err)
{
    static const char *const known[] = {"digital signature", "key encipherment", "client auth",
                                        "server auth"};
    struct str node, signer = c->spec.signer_name;
    bool serving = str_is(signer, CSR_SIGNER_SERVING);
    enum csr_for what = csr_recognize(c, f, &node);
    int64_t life_s = (int64_t)CSR_CERT_DAYS_MAX * 86400;
    for (uint32_t i = 0; i < c->spec.n_usages; i++) {
        bool ok = false;
        for (size_t k = 0; k < ARRAY_LEN(known); k++)
            ok |= str_eqz(c->spec.usages[i], known[k]);
        if (!ok)
            return refuse(err, "the signer does not sign for this usage");
    }
    if (str_is(signer, CSR_SIGNER_CLIENT)) {
        if (!has_usage(c, "client auth") || has_usage(c, "server auth"))
            return refuse(err, "usages must include client auth and not server auth");
        for (size_t i = 0; i < f->n_orgs; i++)
            if (str_is(f->orgs[i], "system:masters"))
                return refuse(err, "no certificate is signed for system:masters");
    } else if (serving ? what != CSR_FOR_NODE_SERVER
                       : what != CSR_FOR_NODE && what != CSR_FOR_NODE_AGAIN) {
        return refuse(err, "subject, names or usages are not those of a node's certificate");
    }
    if (c->spec.has_expiration_seconds)
        life_s = MIN(life_s, (int64_t)c->spec.expiration_seconds);
    *ret = (struct cert_spec){
        .cn = f->cn,
        .orgs = f->orgs,
        .n_orgs = f->n_orgs,
        .dns = f->dns,
        .n_dns = f->n_dns,
        .ips = f->ips,
        .n_ips = f->n_ips,
        .for_client = has_usage(c, "client auth"),
        .for_server = has_usage(c, "server auth"),
        .not_after_s = now_s + life_s,
    };
    return 0;
}

bool csr_is_promise(const struct api_certificate_signing_request *c)
{
    return str_is(c->spec.signer_name, CSR_SIGNER_KUBELET) && csr_condition(c, "Approved") &&
           !csr_condition(c, "Failed") && !str_starts(c->spec.username, STR("system:node:")) &&
           !KV_GET(&c->metadata, annotations, STR(CSR_JOINED_ANNOTATION));
}

int64_t csr_keep_s(const struct api_certificate_signing_request *c, int64_t now_s)
{
    static const char *const decided[] = {"Approved", "Denied", "Failed"};
    int64_t until = c->metadata.creation_timestamp.usec / 1000000 + KEEP_PENDING_S;
    for (size_t i = 0; i < ARRAY_LEN(decided) && !csr_is_promise(c); i++) {
        const struct api_certificate_signing_request_condition *k = csr_condition(c, decided[i]);
        if (k && k->last_update_time.set)
            until = MIN(until, k->last_update_time.usec / 1000000 + KEEP_DECIDED_S);
    }
    return MAX(until - now_s, (int64_t)0);
}
