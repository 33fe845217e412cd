/* A kubeconfig is YAML with three named lists (clusters, users, contexts) that refer to each other;
 * credentials are inline base64 (x-data) or files (x). Only what davit's own parts use is read:
 * exec and auth-provider plugins are for people's clients and refused with a clear error. */
#include "client/kubeconfig.h"

#include "base/mem.h"
#include "codec/base64.h"
#include "codec/yaml.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KUBECONFIG_BYTES_MAX                                                                       \
    ((off_t)1 << 20) /* a dozen clusters with embedded chains is 100 KiB                           \
                      */

static int file_read(struct arena *a, const char *path, struct str *ret, struct error *err)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t n = 0;
    char *p;

    if (fd < 0)
        return error_errno(err, errno, "cannot open %s", path);
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "cannot read %s", path);
    if (!S_ISREG(st.st_mode) || st.st_size > KUBECONFIG_BYTES_MAX)
        return error_set(err, REASON_BAD_REQUEST, "%s is no kubeconfig or certificate file", path);
    p = arena_alloc(a, (size_t)st.st_size + 1);
    while (n < (size_t)st.st_size) {
        ssize_t got = read(fd, p + n, (size_t)st.st_size - n);
        if (got < 0)
            return error_errno(err, errno, "cannot read %s", path);
        if (got == 0)
            break;
        n += (size_t)got;
    }
    p[n] = '\0';
    *ret = (struct str){p, n};
    return 0;
}

/* The `what` member of the entry called name in the list. */
static int entry_find(const struct json *root, const char *list, const char *what, struct str name,
                      const struct json **ret, struct error *err)
{
    const struct json *l = json_get(root, str_z(list));

    if (json_is(l, JSON_ARR))
        json_for_each(e, l) if (str_eq(json_get_str(e, STR("name")), name))
        {
            *ret = json_get(e, str_z(what));
            if (json_is(*ret, JSON_OBJ))
                return 0;
        }
    return error_set(err, REASON_BAD_REQUEST, "kubeconfig: no %s named \"%.*s\"", what,
                     STR_ARG(name));
}

/* `key`-data in base64, else the file named by `key`; absent when neither is there. */
static int data_or_file(struct kubeconfig *k, const struct json *v, const char *key,
                        struct str *ret, struct error *err)
{
    CLEANUP(freep) char *data_key = xasprintf("%s-data", key);
    struct str data = json_get_str(v, str_z(data_key)), file = json_get_str(v, str_z(key));

    if (data.n) {
        if (base64_parse(data, &k->arena, ret) < 0)
            return error_set(err, REASON_BAD_REQUEST, "kubeconfig: %s-data is not base64", key);
    } else if (file.n) {
        return file_read(&k->arena, arena_cstr(&k->arena, file), ret, err);
    }
    return 0;
}

int kubeconfig_set_server(struct kubeconfig *k, struct str url, struct error *err)
{
    struct str rest = url, host;
    uint64_t port = 443;
    ssize_t colon;

    if (!str_starts(url, STR("https://")))
        return error_set(err, REASON_BAD_REQUEST, "server \"%.*s\" must be an https:// URL",
                         STR_ARG(url));
    rest = str_sub(rest, 8, rest.n);
    (void)str_cut(&rest, '/', &host);
    if (rest.n)
        return error_set(err, REASON_BAD_REQUEST, "server \"%.*s\" must have no path",
                         STR_ARG(url));
    colon = str_rfind(host, ':');
    if (colon >= 0 && !(host.n && host.p[host.n - 1] == ']')) {
        if (str_to_u64(str_sub(host, (size_t)colon + 1, host.n), &port) < 0 || port == 0 ||
            port > 65535)
            return error_set(err, REASON_BAD_REQUEST, "bad port in \"%.*s\"", STR_ARG(url));
        host = str_sub(host, 0, (size_t)colon);
    }
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_sub(host, 1, host.n - 1);
    if (!host.n)
        return error_set(err, REASON_BAD_REQUEST, "no host in \"%.*s\"", STR_ARG(url));
    k->host = arena_cstr(&k->arena, host);
    k->port = (uint16_t)port;
    return 0;
}

static int user_read(struct kubeconfig *k, const struct json *user, struct error *err)
{
    struct str token_file = json_get_str(user, STR("tokenFile"));
    int r;

    if (json_getz(user, "exec") || json_getz(user, "auth-provider"))
        return error_set(
            err, REASON_BAD_REQUEST,
            "kubeconfig: credential plugins are not supported; use a certificate or a token");
    r = data_or_file(k, user, "client-certificate", &k->cert_pem, err);
    if (r == 0)
        r = data_or_file(k, user, "client-key", &k->key_pem, err);
    if (r < 0)
        return r;
    if (k->cert_pem.n && !k->key_pem.n)
        return error_set(err, REASON_BAD_REQUEST,
                         "kubeconfig: client-certificate without client-key");
    k->token = json_get_str(user, STR("token"));
    if (!k->token.n && token_file.n) {
        r = file_read(&k->arena, arena_cstr(&k->arena, token_file), &k->token, err);
        k->token = str_trim(k->token);
    }
    return r;
}

static int kubeconfig_read(struct kubeconfig *k, struct str text, const char *context,
                           struct error *err)
{
    const struct json *ctx, *cluster, *user, *insecure;
    struct json *root;
    int r = yaml_parse(text, &k->arena, &root, err);

    if (r < 0)
        return r;
    r = entry_find(root, "contexts", "context",
                   context ? str_z(context) : json_get_str(root, STR("current-context")), &ctx,
                   err);
    if (r == 0)
        r = entry_find(root, "clusters", "cluster", json_get_str(ctx, STR("cluster")), &cluster,
                       err);
    if (r == 0)
        r = entry_find(root, "users", "user", json_get_str(ctx, STR("user")), &user, err);
    if (r < 0)
        return r;
    k->ns = json_get_str(ctx, STR("namespace"));
    k->server_name = json_get_str(cluster, STR("tls-server-name"));
    insecure = json_getz(cluster, "insecure-skip-tls-verify");
    k->insecure = json_is(insecure, JSON_BOOL) && insecure->b;
    r = kubeconfig_set_server(k, json_get_str(cluster, STR("server")), err);
    if (r == 0)
        r = data_or_file(k, cluster, "certificate-authority", &k->ca_pem, err);
    return r < 0 ? r : user_read(k, user, err);
}

int kubeconfig_parse(struct str text, const char *context, struct kubeconfig *ret,
                     struct error *err)
{
    struct kubeconfig k = {0};
    int r = kubeconfig_read(&k, text, context, err);

    if (r < 0)
        kubeconfig_fini(&k);
    else
        *ret = k;
    return r;
}

int kubeconfig_load(const char *path, const char *context, struct kubeconfig *ret,
                    struct error *err)
{
    struct arena a = {0};
    struct str text;
    int r = file_read(&a, path, &text, err);

    if (r == 0) {
        r = kubeconfig_parse(text, context, ret, err);
        if (r < 0)
            error_prefix(err, "%s", path);
    }
    arena_fini(&a);
    return r;
}

void kubeconfig_fini(struct kubeconfig *k)
{
    arena_fini(&k->arena);
    *k = (struct kubeconfig){0};
}

void kubeconfig_print(const struct kubeconfig_text *t, struct buf *out)
{
    buf_add_lit(out, "apiVersion: v1\nkind: Config\nclusters:\n- name: davit\n  cluster:\n"
                     "    certificate-authority-data: ");
    base64_print(t->ca_pem, out);
    buf_printf(out, "\n    server: %s\nusers:\n- name: %s\n  user:\n", t->server_url, t->user);
    buf_add_lit(out, "    client-certificate-data: ");
    base64_print(t->cert_pem, out);
    buf_add_lit(out, "\n    client-key-data: ");
    base64_print(t->key_pem, out);
    buf_printf(out,
               "\ncontexts:\n- name: davit\n  context:\n    cluster: davit\n    user: %s\n"
               "current-context: davit\n",
               t->user);
}
