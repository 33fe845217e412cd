/* Made by whoever holds the CA, read by others at any time: each file is replaced by a rename, and
 * only when the one that is there does not do any more. Nothing is flushed to the disk: what a
 * crash of the machine damages fails the check at the next start and is made again, and a start
 * should not wait for six flushes. */
#include "main/creds.h"

#include "base/mem.h"
#include "client/kubeconfig.h"
#include "rt/crypto.h"
#include "rt/stream.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define RENEW_S       ((int64_t)30 * 86400)
#define PEM_BYTES_MAX 65536

static int file_write(const char *path, const char *text, struct error *err)
{
    CLEANUP(freep) char *tmp = xasprintf("%s.tmp", path);
    CLEANUP(fd_closep) int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t n = strlen(text);

    if (fd < 0 || write(fd, text, n) != (ssize_t)n || rename(tmp, path) < 0)
        return error_errno(err, errno, "cannot write %s", path);
    return 0;
}

/* malloc'ed; NULL when it cannot be read or is larger than any certificate. */
static char *file_read(const char *path)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    CLEANUP(freep) char *text = xcalloc(1, PEM_BYTES_MAX + 1);
    ssize_t n = fd < 0 ? -1 : read(fd, text, PEM_BYTES_MAX + 1);

    return n < 0 || n > PEM_BYTES_MAX ? NULL : TAKE_PTR(text);
}

/* ---- is what is there good enough? ---- */

static bool ips_have(const struct cert_facts *f, struct str ip)
{
    for (size_t i = 0; i < f->n_ips; i++)
        if (str_eq(f->ips[i], ip))
            return true;
    return false;
}

static bool pair_good(struct apiserver *api, const struct creds_opts *o, struct str cert_pem,
                      struct str key_pem, struct str cn, bool for_node_api)
{
    struct cert *cert = NULL, *ca = NULL;
    struct pkey *key = NULL;
    bool good = cert_from_pem(cert_pem, NULL, &cert) == 0 &&
                pkey_from_pem(key_pem, NULL, &key) == 0 &&
                cert_from_pem(str_z(apiserver_ca_pem(api)), NULL, &ca) == 0;

    if (good) {
        const struct cert_facts *f = cert_facts(cert);
        good = cert_key_matches(cert, key) && str_eq(f->cn, cn) &&
               f->not_after_s - o->now_s > RENEW_S && cert_verify(cert, ca, o->now_s, NULL) == 0;
        if (for_node_api)
            good = good && ips_have(f, str_z(o->node_ip)) && ips_have(f, STR("127.0.0.1"));
    }
    cert_free(cert);
    cert_free(ca);
    pkey_free(key);
    return good;
}

static bool kubeconfig_good(struct apiserver *api, const struct creds_opts *o, const char *path,
                            const char *host, struct str cn)
{
    struct kubeconfig k = {0};
    bool good;

    if (access(path, R_OK) < 0 || kubeconfig_load(path, NULL, &k, NULL) < 0)
        return false;
    good = strcmp(k.host, host) == 0 && k.port == apiserver_port(api) &&
           str_eq(k.ca_pem, str_z(apiserver_ca_pem(api))) &&
           pair_good(api, o, k.cert_pem, k.key_pem, cn, false);
    kubeconfig_fini(&k);
    return good;
}

/* ---- making it ---- */

/* What clients on this machine call the server: a listen address that means "any" is no address to
 * call. */
static const char *server_host(const char *listen, struct rt_addr *at)
{
    if (rt_addr_parse(str_z(listen), at, NULL) < 0 || at->any || strcmp(at->host, "0.0.0.0") == 0 ||
        strcmp(at->host, "::") == 0 || !at->host[0])
        return "127.0.0.1";
    return at->host;
}

static int node_cert_write(struct apiserver *api, const struct creds_opts *o, struct str cn,
                           struct error *err)
{
    CLEANUP(freep) char *cert = file_read(o->dir->agent_cert);
    CLEANUP(freep) char *key = file_read(o->dir->agent_key);
    const char *addresses[] = {o->node_ip, "127.0.0.1"};
    int r;

    if (cert && key && pair_good(api, o, str_z(cert), str_z(key), cn, true))
        return 0;
    free(TAKE_PTR(cert));
    free(TAKE_PTR(key));
    r = apiserver_issue_node_serving_cert(api, o->node_name, addresses, ARRAY_LEN(addresses), &cert,
                                          &key, err);
    if (r == 0)
        r = file_write(o->dir->agent_key, key, err);
    return r < 0 ? r : file_write(o->dir->agent_cert, cert, err);
}

int creds_write(struct apiserver *api, const struct creds_opts *o, struct error *err)
{
    struct rt_addr at;
    const char *host = server_host(o->listen, &at);
    CLEANUP(freep)
    char *url = xasprintf(strchr(host, ':') ? "https://[%s]:%u" : "https://%s:%u", host,
                          apiserver_port(api));
    CLEANUP(freep) char *cn = o->node_name ? xasprintf("system:node:%s", o->node_name) : NULL;
    int r = 0;

    if (!kubeconfig_good(api, o, o->dir->admin_kubeconfig, host, STR("kubernetes-admin")))
        r = apiserver_write_admin_kubeconfig(api, o->dir->admin_kubeconfig, url, err);
    if (r < 0 || !o->node_name)
        return r;
    if (!kubeconfig_good(api, o, o->dir->agent_kubeconfig, host, str_z(cn)))
        r = apiserver_write_node_kubeconfig(api, o->node_name, o->dir->agent_kubeconfig, url, err);
    return r < 0 ? r : node_cert_write(api, o, str_z(cn), err);
}
