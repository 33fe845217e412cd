/* Makes, checks and renews the cluster's keys and certificates.
 *
 * Everything is decided at open: what is there is used when it parses, belongs together and is
 * signed by the CA; what has run out is replaced; what is damaged stops the start with a message
 * that names the file, since silently making a new CA would lock every client out. */
#include "apiserver/auth/pki.h"

#include "base/mem.h"
#include "sys/fs.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PKI_FILE_BYTES_MAX ((size_t)1 << 20) /* a chain of certificates is a few KiB */

static const char *const standard_names[] = {
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
};
static const char *const standard_ips[] = {"127.0.0.1", "::1", "10.96.0.1"};

/* 1 read, 0 not there, <0 error. */
static int read_file(const struct pki *p, const char *name, char **ret, struct error *err)
{
    int r = sys_read_file(p->dirfd, name, PKI_FILE_BYTES_MAX, ret, NULL);
    if (r == -ENOENT)
        return 0;
    return r < 0 ? error_errno(err, r, "cannot read %s/%s", p->dir, name) : 1;
}

/* What is wrong with a file is nobody's request. */
static void damaged(const struct pki *p, const char *name, struct error *err)
{
    error_prefix(err, "%s/%s", p->dir, name);
    if (err)
        err->reason = REASON_INTERNAL;
}

static int store_file(const struct pki *p, const char *name, const char *text, mode_t mode,
                      struct error *err)
{
    int r = p->sync_later ? sys_put_file(p->dirfd, name, text, strlen(text), mode)
                          : sys_write_file(p->dirfd, name, text, strlen(text), mode);
    return r < 0 ? error_errno(err, r, "cannot write %s/%s", p->dir, name) : 0;
}

/* An authority of this directory: files NAME.crt and NAME.key. */
struct authority {
    const char *name, *cn;
    struct cert **cert;
    struct pkey **key;
    char **pem;
};

static struct authority cluster_authority(struct pki *p)
{
    return (struct authority){"ca", "davit-ca", &p->ca, &p->ca_key, &p->ca_pem};
}

static struct authority proxy_authority(struct pki *p)
{
    return (struct authority){"front-proxy-ca", "front-proxy-ca", &p->proxy_ca, &p->proxy_ca_key,
                              &p->proxy_ca_pem};
}

static int issue(const struct cert *ca, const struct pkey *ca_key, const struct cert_spec *spec,
                 char **ret_cert_pem, char **ret_key_pem, struct error *err)
{
    struct pkey *key = pkey_new_p256();
    if (!key)
        return error_set(err, REASON_INTERNAL, "cannot make a key");
    struct cert *cert = NULL;
    int r = cert_issue(ca, ca_key, key, spec, err, &cert);
    if (r >= 0) {
        *ret_cert_pem = cert_to_pem(cert);
        *ret_key_pem = pkey_to_pem(key);
    }
    cert_free(cert);
    pkey_free(key);
    return r;
}

int pki_issue(const struct pki *p, const struct cert_spec *spec, char **ret_cert_pem,
              char **ret_key_pem, struct error *err)
{
    return issue(p->ca, p->ca_key, spec, ret_cert_pem, ret_key_pem, err);
}

/* The key in file `name`, made when it is not there. */
static int load_key(const struct pki *p, const char *name, struct pkey **ret, struct error *err)
{
    CLEANUP(freep) char *text = NULL;
    int r = read_file(p, name, &text, err);
    if (r < 0)
        return r;
    if (r > 0) {
        r = pkey_from_pem(str_z(text), err, ret);
        if (r < 0)
            damaged(p, name, err);
        crypto_wipe(text, strlen(text));
        return r;
    }
    struct pkey *key = pkey_new_p256();
    if (!key)
        return error_set(err, REASON_INTERNAL, "cannot make a key");
    char *pem = pkey_to_pem(key);
    r = store_file(p, name, pem, 0600, err);
    crypto_wipe(pem, strlen(pem));
    free(pem);
    if (r < 0)
        pkey_free(key);
    else
        *ret = key;
    return r;
}

/* Of the key that is there: with one name and one key, what the certificate before it signed is
 * good under this one too, and the other way round. */
static int make_ca(struct pki *p, const struct authority *au, int64_t now_s, struct error *err)
{
    struct cert *ca;
    CLEANUP(freep) char *name = xasprintf("%s.crt", au->name);
    int r = cert_new_ca(*au->key, str_z(au->cn), now_s + (int64_t)PKI_CA_DAYS * 86400, err, &ca);
    if (r < 0)
        return r;
    char *pem = cert_to_pem(ca);
    r = store_file(p, name, pem, 0644, err);
    if (r < 0) {
        cert_free(ca);
        free(pem);
        return r;
    }
    cert_free(*au->cert);
    free(*au->pem);
    *au->cert = ca;
    *au->pem = pem;
    return 0;
}

static int load_ca(struct pki *p, struct authority au, int64_t now_s, struct error *err)
{
    CLEANUP(freep) char *text = NULL;
    CLEANUP(freep) char *crt = xasprintf("%s.crt", au.name);
    CLEANUP(freep) char *key = xasprintf("%s.key", au.name);
    int r = read_file(p, crt, &text, err);
    if (r < 0)
        return r;
    bool have_cert = r > 0;
    /* a certificate without its key must not get a new key */
    if (have_cert && faccessat(p->dirfd, key, F_OK, 0) < 0)
        return error_errno(err, errno, "%s/%s is there, but its key %s is not", p->dir, crt, key);
    r = load_key(p, key, au.key, err);
    if (r < 0)
        return r;
    if (have_cert) {
        r = cert_from_pem(str_z(text), err, au.cert);
        if (r < 0) {
            damaged(p, crt, err);
            return r;
        }
        if (!cert_key_matches(*au.cert, *au.key))
            return error_set(err, REASON_INTERNAL, "%s/%s does not belong to the key in %s", p->dir,
                             crt, key);
        *au.pem = TAKE_PTR(text);
        if (cert_facts(*au.cert)->not_after_s - now_s >= (int64_t)PKI_CA_RENEW_DAYS * 86400)
            return 0;
    }
    if (au.cert == &p->ca)
        p->ca_is_new = !have_cert;
    return make_ca(p, &au, now_s, err);
}

static bool has_name(const struct str *have, size_t n, struct str want)
{
    for (size_t i = 0; i < n; i++)
        if (str_ieq(have[i], want))
            return true;
    return false;
}

static bool cert_good(const struct cert *ca, const struct cert *c, const struct cert_spec *spec,
                      int64_t now_s)
{
    const struct cert_facts *f = cert_facts(c);
    if (f->not_after_s - now_s < (int64_t)PKI_RENEW_DAYS * 86400 ||
        cert_verify(c, ca, now_s, NULL) < 0)
        return false;
    for (size_t i = 0; i < spec->n_dns; i++)
        if (!has_name(f->dns, f->n_dns, spec->dns[i]))
            return false;
    for (size_t i = 0; i < spec->n_ips; i++) {
        /* printed addresses may differ in form: compare what they mean */
        unsigned char want[16], have[16];
        char text[64];
        bool found = false;
        snprintf(text, sizeof(text), "%.*s", STR_ARG(spec->ips[i]));
        int family = strchr(text, ':') ? AF_INET6 : AF_INET;
        size_t bytes = family == AF_INET6 ? 16 : 4;
        if (inet_pton(family, text, want) != 1)
            continue;
        for (size_t k = 0; k < f->n_ips && !found; k++) {
            snprintf(text, sizeof(text), "%.*s", STR_ARG(f->ips[k]));
            found = inet_pton(family, text, have) == 1 && memcmp(want, have, bytes) == 0;
        }
        if (!found)
            return false;
    }
    return str_eq(f->cn, spec->cn);
}

/* Certificate and key in NAME.crt and NAME.key; made (again) when missing or no longer good. 1:
 * made. */
static int load_or_issue(struct pki *p, const struct authority *au, const char *name,
                         struct cert_spec *spec, int64_t now_s, char **cert_pem, char **key_pem,
                         struct error *err)
{
    CLEANUP(freep) char *crt_name = xasprintf("%s.crt", name);
    CLEANUP(freep) char *key_name = xasprintf("%s.key", name);
    CLEANUP(freep) char *crt = NULL;
    CLEANUP(freep) char *key = NULL;
    int r = read_file(p, crt_name, &crt, err);
    if (r >= 0)
        r = read_file(p, key_name, &key, err);
    if (r < 0)
        return r;
    if (crt && key) {
        struct cert *c = NULL;
        struct pkey *k = NULL;
        bool good = cert_from_pem(str_z(crt), NULL, &c) >= 0 &&
                    pkey_from_pem(str_z(key), NULL, &k) >= 0 && cert_key_matches(c, k) &&
                    cert_good(*au->cert, c, spec, now_s);
        cert_free(c);
        pkey_free(k);
        if (good) {
            free(*cert_pem);
            free(*key_pem);
            *cert_pem = TAKE_PTR(crt);
            *key_pem = TAKE_PTR(key);
            return 0;
        }
    }
    /* These can be made again at any time without harm, so a damaged one is simply replaced. */
    spec->not_after_s = now_s + (int64_t)PKI_CERT_DAYS * 86400;
    char *new_crt = NULL, *new_key = NULL;
    r = issue(*au->cert, *au->key, spec, &new_crt, &new_key, err);
    if (r < 0)
        return r;
    r = store_file(p, key_name, new_key, 0600, err);
    if (r >= 0)
        r = store_file(p, crt_name, new_crt, 0644, err);
    if (r < 0) {
        free(new_crt);
        free(new_key);
        return r;
    }
    free(*cert_pem);
    free(*key_pem);
    *cert_pem = new_crt;
    *key_pem = new_key;
    return 1;
}

static bool is_ip(const char *s)
{
    unsigned char b[16];
    return inet_pton(AF_INET, s, b) == 1 || inet_pton(AF_INET6, s, b) == 1;
}

int pki_renew(struct pki *p, const char *const *sans, size_t n_sans, int64_t now_s,
              bool *ret_changed, struct error *err)
{
    struct str dns[CERT_NAMES_MAX], ips[CERT_NAMES_MAX];
    size_t n_dns = 0, n_ips = 0;
    for (size_t i = 0; i < ARRAY_LEN(standard_names); i++)
        dns[n_dns++] = str_z(standard_names[i]);
    for (size_t i = 0; i < ARRAY_LEN(standard_ips); i++)
        ips[n_ips++] = str_z(standard_ips[i]);
    for (size_t i = 0; i < n_sans; i++) {
        bool ip = is_ip(sans[i]);
        if (sans[i][0] == '\0' || has_name(ip ? ips : dns, ip ? n_ips : n_dns, str_z(sans[i])))
            continue;
        if ((ip ? n_ips : n_dns) >= CERT_NAMES_MAX)
            return error_set(err, REASON_BAD_REQUEST, "too many names for the serving certificate");
        if (ip)
            ips[n_ips++] = str_z(sans[i]);
        else
            dns[n_dns++] = str_z(sans[i]);
    }
    struct cert_spec serving = {.cn = STR("davit-apiserver"),
                                .dns = dns,
                                .n_dns = n_dns,
                                .ips = ips,
                                .n_ips = n_ips,
                                .for_server = true};
    struct str masters = STR("system:masters");
    struct cert_spec client = {.cn = STR("davit-apiserver-node-client"),
                               .orgs = &masters,
                               .n_orgs = 1,
                               .for_client = true};
    struct cert_spec proxy = {.cn = STR(PKI_PROXY_CLIENT), .for_client = true};
    struct authority own = cluster_authority(p), front = proxy_authority(p);
    int r1 = load_or_issue(p, &own, "server", &serving, now_s, &p->server_cert_pem,
                           &p->server_key_pem, err);
    if (r1 < 0)
        return r1;
    int r2 = load_or_issue(p, &own, "node-client", &client, now_s, &p->node_client_cert_pem,
                           &p->node_client_key_pem, err);
    if (r2 < 0)
        return r2;
    int r3 = load_or_issue(p, &front, "front-proxy-client", &proxy, now_s,
                           &p->proxy_client_cert_pem, &p->proxy_client_key_pem, err);
    if (r3 < 0)
        return r3;
    *ret_changed = r1 || r2 || r3;
    return 0;
}

int pki_open(const char *dir, bool sync_later, const char *const *sans, size_t n_sans,
             int64_t now_s, struct pki **ret, struct error *err)
{
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "cannot make the directory %s", dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "cannot open the directory %s", dir);
    struct pki *p = NEW(struct pki);
    p->dir = xstrdup(dir);
    p->dirfd = fd;
    p->sync_later = sync_later;
    bool changed;
    int r = load_ca(p, cluster_authority(p), now_s, err);
    if (r >= 0)
        r = load_ca(p, proxy_authority(p), now_s, err);
    if (r >= 0)
        r = load_key(p, "sa.key", &p->sa_key, err);
    if (r >= 0)
        r = pki_renew(p, sans, n_sans, now_s, &changed, err);
    if (r < 0) {
        pki_free(p);
        return r;
    }
    p->sync_later = false; /* what is renewed later is on its own */
    *ret = p;
    return 0;
}

static void wipe_free(char *text)
{
    if (text)
        crypto_wipe(text, strlen(text));
    free(text);
}

struct pki *pki_free(struct pki *p)
{
    if (!p)
        return NULL;
    cert_free(p->ca);
    pkey_free(p->ca_key);
    pkey_free(p->sa_key);
    free(p->ca_pem);
    free(p->server_cert_pem);
    wipe_free(p->server_key_pem);
    free(p->node_client_cert_pem);
    wipe_free(p->node_client_key_pem);
    cert_free(p->proxy_ca);
    pkey_free(p->proxy_ca_key);
    free(p->proxy_ca_pem);
    free(p->proxy_client_cert_pem);
    wipe_free(p->proxy_client_key_pem);
    fd_closep(&p->dirfd);
    free(p->dir);
    free(p);
    return NULL;
}
