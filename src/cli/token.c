/* `davit token`: lets machines in. A token is a bootstrap token of the cluster (a Secret in
 * kube-system, as kubeadm makes them) and the digest of the cluster's authority, in one word. */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/mem.h"
#include "client/join_token.h"
#include "schema/schema.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS          "kube-system"
#define NAME_PREFIX "bootstrap-token-"
#define SECRET_TYPE "bootstrap.kubernetes.io/token"
#define GROUP       "system:bootstrappers:davit:nodes"
#define TTL_DEFAULT (24 * 3600 * NSEC_PER_SEC)

struct token_opts {
    const char *data_dir, *server, *description;
    nsec_t ttl;
};

static const struct str *field(const struct api_secret *s, const char *key)
{
    for (uint32_t i = 0; i < s->n_data; i++)
        if (str_eqz(s->data[i].key, key))
            return &s->data[i].value;
    return NULL;
}

/* Where other machines reach the API: where the `kubernetes` Service leads, unless that is a place
 * only this machine knows (a server that listens on the loopback serves its pods by the bridge's
 * address). */
static int server_url(struct cli_api *api, const struct token_opts *o, char **ret,
                      struct error *err)
{
    const struct client_request req = {.verb = CLIENT_GET,
                                       .kind = schema_kinds[KIND_ENDPOINT_SLICE],
                                       .ns = STR("default"),
                                       .name = STR("kubernetes")};
    const struct client_request nodes = {.verb = CLIENT_LIST, .kind = schema_kinds[KIND_NODE]};
    CLEANUP(cli_answer_fini) struct cli_answer slice = {0};
    CLEANUP(cli_answer_fini) struct cli_answer all = {0};
    struct error none = {0};
    struct str host = STR_NONE;
    int r;

    if (o->server) {
        struct kubeconfig k = {0};
        r = kubeconfig_set_server(&k, str_z(o->server), err);
        kubeconfig_fini(&k);
        if (r == 0)
            *ret = xstrdup(o->server);
        return r;
    }
    r = cli_api_call(api, &nodes, &all, err);
    if (r < 0)
        return r;
    if (cli_api_call(api, &req, &slice, &none) == 0) {
        const struct api_endpoint_slice *s = OBJECT_MSG(slice.object, api_endpoint_slice);
        if (s->n_endpoints && s->endpoints[0].n_addresses)
            host = s->endpoints[0].addresses[0];
    }
    error_fini(&none);
    for (size_t i = 0; host.n && i < all.n_items; i++) {
        struct str range = OBJECT_MSG(all.items[i], api_node)->spec.pod_cidr, head;
        ssize_t dot = str_rfind(host, '.');
        if (dot > 0 && str_cut(&range, '/', &head) &&
            str_starts(head, str_sub(host, 0, (size_t)dot + 1))) /* the bridge of a node: a /24 */
            host = STR_NONE;
    }
    if (!host.n)
        return error_set(err, REASON_BAD_REQUEST,
                         "the server listens on this machine alone; start it with --listen "
                         "0.0.0.0:%u, or name the address others reach it by with --server URL",
                         api->kubeconfig.port);
    *ret = xasprintf(str_find(host, ':') >= 0 ? "https://[%.*s]:%u" : "https://%.*s:%u",
                     STR_ARG(host), api->kubeconfig.port);
    return 0;
}

static int create(struct cli_api *api, const struct token_opts *o, struct error *err)
{
    struct join_token t;
    struct pkey *ca;
    CLEANUP(freep) char *url = NULL;
    char text[JOIN_TOKEN_CHARS + 1], until[TIMESTAMP_TEXT_MAX];
    int r = pkey_public_from_pem(api->kubeconfig.ca_pem, err, &ca);

    if (r < 0)
        return r;
    pkey_spki_sha256(ca, t.ca_spki_sha256);
    pkey_free(ca);
    r = server_url(api, o, &url, err);
    if (r < 0)
        return r;
    crypto_random_token(t.id, JOIN_TOKEN_ID_CHARS);
    crypto_random_token(t.secret, JOIN_TOKEN_SECRET_CHARS);
    timestamp_format(timestamp_seconds(((usec_t)time(NULL) * 1000000) + o->ttl / NSEC_PER_USEC),
                     false, until);
    struct kv_str data[] = {
        {STR("auth-extra-groups"), STR(GROUP)},
        {STR("description"), str_z(o->description ? o->description : "")},
        {STR("expiration"), str_z(until)},
        {STR("token-id"), str_z(t.id)},
        {STR("token-secret"), str_z(t.secret)},
        {STR("usage-bootstrap-authentication"), STR("true")},
    };
    struct api_secret secret = {
        .metadata = {.name = arena_printf(&api->arena, NAME_PREFIX "%s", t.id),
                     .namespace = STR(NS)},
        .type = STR(SECRET_TYPE),
        .data = (void *)data,
        .n_data = ARRAY_LEN(data),
    };
    const struct client_request req = {
        .verb = CLIENT_CREATE, .kind = schema_kinds[KIND_SECRET], .body = &secret};
    r = cli_api_call(api, &req, NULL, err);
    if (r == 0) {
        join_token_print(&t, text);
        fprintf(stderr, "Run this on the machine that shall join (as root, good until %s):\n",
                until);
        printf("davit agent --server %s --token %s\n", url, text);
        crypto_wipe(text, sizeof(text));
    }
    crypto_wipe(&t, sizeof(t));
    return r;
}

static int list(struct cli_api *api, struct error *err)
{
    const struct client_request req = {.verb = CLIENT_LIST,
                                       .kind = schema_kinds[KIND_SECRET],
                                       .ns = STR(NS),
                                       .field_selector = STR("type=" SECRET_TYPE)};
    CLEANUP(cli_answer_fini) struct cli_answer all = {0};
    int r = cli_api_call(api, &req, &all, err);

    if (r < 0)
        return r;
    printf("%-8s  %-22s  %s\n", "ID", "EXPIRES", "DESCRIPTION");
    for (size_t i = 0; i < all.n_items; i++) {
        const struct api_secret *s = OBJECT_MSG(all.items[i], api_secret);
        const struct str *id = field(s, "token-id"), *until = field(s, "expiration"),
                         *about = field(s, "description"), none = STR("never"), empty = STR("");
        if (id)
            printf("%-8.*s  %-22.*s  %.*s\n", STR_ARG(*id), STR_ARG(until ? *until : none),
                   STR_ARG(about ? *about : empty));
    }
    return 0;
}

/* By its id, or by the token itself. */
static int delete (struct cli_api *api, const char *which, struct error *err)
{
    struct join_token t;
    const char *id =
        strncmp(which, "dvt1-", 5) == 0 && join_token_parse(str_z(which), &t, NULL) == 0 ? t.id
                                                                                         : which;
    const struct client_request req = {.verb = CLIENT_DELETE,
                                       .kind = schema_kinds[KIND_SECRET],
                                       .ns = STR(NS),
                                       .name = arena_printf(&api->arena, NAME_PREFIX "%s", id)};
    int r = cli_api_call(api, &req, NULL, err);

    if (r == -ENOENT) {
        error_clear(err);
        return error_set(err, REASON_NOT_FOUND, "there is no token %s; see davit token list", id);
    }
    if (r == 0)
        printf("token %s is void\n", id);
    return r;
}

int cli_token(int argc, char **argv)
{
    struct token_opts o = {.data_dir = DATA_DIR_DEFAULT, .ttl = TTL_DEFAULT};
    const struct cli_opt opts[] = {
        {"data-dir", "DIR", "of the server (" DATA_DIR_DEFAULT ")", CLI_STRING, &o.data_dir},
        {"ttl", "TIME", "how long a new token is good (24h)", CLI_DURATION, &o.ttl},
        {"description", "TEXT", "what a new token is for", CLI_STRING, &o.description},
        {"server", "URL", "where the new machine reaches the server (found by itself)", CLI_STRING,
         &o.server},
    };
    struct cli_api api = {0};
    struct error err = {0};
    int n, r = cli_opts_parse("token create|list|delete ID [options]",
                              "Lets machines join: `create` prints the line to run there.", opts,
                              ARRAY_LEN(opts), argc, argv, &n, &err);
    const char *verb = n > 0 ? argv[1] : "";
    int want = strcmp(verb, "delete") == 0 ? 2 : 1;

    if (r != 0)
        return r > 0 ? EXIT_OK : cli_fail("token", &err, EXIT_USAGE);
    if ((strcmp(verb, "create") != 0 && strcmp(verb, "list") != 0 && strcmp(verb, "delete") != 0) ||
        n != want) {
        (void)error_set(&err, REASON_BAD_REQUEST, "takes create, list or delete ID");
        return cli_fail("token", &err, EXIT_USAGE);
    }
    if (o.ttl < 60 * NSEC_PER_SEC || o.ttl > 365 * 86400 * NSEC_PER_SEC) {
        (void)error_set(&err, REASON_BAD_REQUEST, "--ttl must be between 1m and a year");
        return cli_fail("token", &err, EXIT_USAGE);
    }
    r = cli_api_open(&api, o.data_dir, NULL, &err);
    if (r == 0)
        r = strcmp(verb, "create") == 0 ? create(&api, &o, &err)
            : strcmp(verb, "list") == 0 ? list(&api, &err)
                                        : delete (&api, argv[2], &err);
    cli_api_close(&api);
    return r == 0 ? EXIT_OK : cli_fail("token", &err, EXIT_FAILED);
}
