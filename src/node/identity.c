/* A state machine of few steps, each started from the loop (`step`), so that a client is never
 * freed from inside an answer of its own. The server is asked for the certificate by polling:
 * joining happens once, and a watch would be one more thing to break. */
#include "node/identity.h"

#include <fcntl.h>
#include <unistd.h>

#include "api/cluster.h"
#include "api/csr.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/join_token.h"
#include "client/net_client.h"
#include "codec/values.h"
#include "schema/schema.h"
#include "sys/fs.h"

#define PEM_BYTES_MAX ((size_t)1 << 16)
#define POLL_FIRST    (20 * NSEC_PER_MSEC)
#define POLL_LAST     (2 * NSEC_PER_SEC)
#define RETRY_FIRST   (200 * NSEC_PER_MSEC)
#define RETRY_LAST    (10 * NSEC_PER_SEC)
#define TEND_PERIOD   (3600 * NSEC_PER_SEC)
#define TEND_RETRY    (60 * NSEC_PER_SEC)
#define RENEW_LEFT    3 /* when less than 1/3 of its life is left */
#define SAY_AGAIN     (3600 * NSEC_PER_SEC)
#define REJOIN                                                                                     \
    "remove the node on the server (davit node rm %s), make a token (davit token create) and "     \
    "start "                                                                                       \
    "this agent with the line it prints: pods run on meanwhile"

enum step {
    STEP_LOAD,    /* the kubeconfig, if there is one */
    STEP_CLUSTER, /* joining: the cluster's authority */
    STEP_REQUEST, /* a certificate request is to be made */
    STEP_POLL,    /* and looked at until it is answered */
    STEP_SERVING, /* is the serving certificate good? */
    STEP_TEND,    /* all is well; look again later */
};

enum purpose { FOR_JOIN, FOR_CLIENT, FOR_SERVING };

struct identity {
    struct rt *rt;
    char *node_name, *node_ip, *kubeconfig, *cert_file, *key_file, *join_key_file, *server_url;
    struct join_token token;
    bool has_token;
    struct kubeconfig now; /* what client uses */
    const struct identity_net *net;
    struct client *client, *joining;
    struct rt_tls_server *tls;
    /* where it is */
    enum step step;
    enum purpose purpose;
    struct rt_task task;
    struct rt_timer timer;
    nsec_t wait;
    bool ready, said_waiting;
    nsec_t said_expired; /* 0: never */
    identity_fn fn;
    void *arg;
    /* a request under way */
    struct pkey *key;
    char *request_name, *ca_pem, *cert_pem;
    char *serving_pem; /* the certificate tls has */
};

static void go(struct identity *id, enum step step)
{
    id->step = step;
    rt_task_schedule(&id->task);
}

static void later(struct identity *id, enum step step, nsec_t wait)
{
    id->step = step;
    rt_timer_start(&id->timer, rt_jitter(id->rt, wait, 0.1));
}

static void fail(struct identity *id, int r, const struct error *err)
{
    if (!id->ready) {
        id->fn(id->arg, r, err);
        return;
    }
    log_warn("renewing a certificate of this node: %.*s",
             STR_ARG(err ? err->message : STR("failed")));
    later(id, STEP_TEND, TEND_RETRY);
}

/* A failure that time may heal: tried again, said once. */
static void again(struct identity *id, const struct error *err)
{
    if (id->wait == RETRY_FIRST)
        log_warn("%.*s; trying again", STR_ARG(err ? err->message : STR("no answer")));
    later(id, id->step, id->wait);
    id->wait = MIN(id->wait * 2, RETRY_LAST);
}

static struct client *client_now(const struct identity *id)
{
    return id->purpose == FOR_JOIN ? id->joining : id->client;
}

static int connect_with(struct identity *id, const struct kubeconfig *k, struct client **ret,
                        struct error *err)
{
    return id->net ? id->net->open(id->net->arg, k, ret, err)
                   : net_client_new(id->rt, k, NULL, ret, err);
}

/* ---- files ---- */

static int read_pem(const char *path, char **ret, struct error *err)
{
    int r = sys_read_file(AT_FDCWD, path, PEM_BYTES_MAX, ret, NULL);
    return r < 0 ? error_errno(err, r, "cannot read %s", path) : 0;
}

static int write_pem(const char *path, const char *text, struct error *err)
{
    int r = sys_write_file(AT_FDCWD, path, text, strlen(text), 0600);
    return r < 0 ? error_errno(err, r, "cannot write %s", path) : 0;
}

/* In its time, with a third of its life left at least. */
static bool fresh(const struct identity *id, const struct cert_facts *f)
{
    int64_t now_s = rt_wall(id->rt) / 1000000;
    return f->not_before_s <= now_s &&
           f->not_after_s - now_s > (f->not_after_s - f->not_before_s) / RENEW_LEFT;
}

/* ---- load ---- */

static const char *clock_text(const struct identity *id, char out[static TIMESTAMP_TEXT_MAX])
{
    timestamp_format(timestamp_seconds(rt_wall(id->rt)), false, out);
    return out;
}

static int check_loaded(struct identity *id, struct error *err)
{
    char clock[TIMESTAMP_TEXT_MAX];
    CLEANUP(freep) char *cn = xasprintf("system:node:%s", id->node_name);
    struct cert *cert;
    int64_t now_s = rt_wall(id->rt) / 1000000;
    int r = cert_from_pem(id->now.cert_pem, err, &cert);
    if (r < 0) {
        error_prefix(err, "%s", id->kubeconfig);
        return r;
    }
    const struct cert_facts *f = cert_facts(cert);
    if (!str_eqz(f->cn, cn))
        r = error_set(err, REASON_CONFLICT,
                      "%s is the identity of %.*s; this agent is told to be node %s (--node-name)",
                      id->kubeconfig, STR_ARG(f->cn), id->node_name);
    else if (f->not_after_s <= now_s)
        r = error_set(
            err, REASON_UNAUTHORIZED,
            "the certificate of this node in %s has run out, if the clock of this machine is right "
            "(it says %s); " REJOIN,
            id->kubeconfig, clock_text(id, clock), id->node_name);
    cert_free(cert);
    return r;
}

/* Nobody knows a node by a certificate that has run out, so a token has to say that it is let in,
 * as any machine. It is the same machine for all that: its pods and their addresses stay. */
static bool joins_again(struct identity *id, const struct error *err)
{
    if (!id->has_token || err->reason != REASON_UNAUTHORIZED)
        return false;
    log_warn("the certificate of this node has run out; it joins again by its token");
    id->purpose = FOR_JOIN;
    go(id, STEP_CLUSTER);
    return true;
}

static void load(struct identity *id)
{
    struct error err = {0};
    int r;
    if (access(id->kubeconfig, F_OK) < 0 && errno == ENOENT && id->has_token) {
        id->purpose = FOR_JOIN;
        go(id, STEP_CLUSTER);
        return;
    }
    kubeconfig_fini(&id->now);
    r = kubeconfig_load(id->kubeconfig, NULL, &id->now, &err);
    if (r < 0)
        error_prefix(&err, "this machine is no node yet; join with the line `davit token create` "
                           "prints on the server");
    else if (id->now.cert_pem.n)
        r = check_loaded(id, &err);
    if (r < 0 && joins_again(id, &err)) {
        error_fini(&err);
        return;
    }
    if (r == 0)
        r = connect_with(id, &id->now, &id->client, &err);
    if (r < 0)
        fail(id, r, &err);
    else
        go(id, STEP_SERVING);
    error_fini(&err);
}

/* ---- joining ---- */

/* The server's certificate is not good: it is another's, or the clocks disagree. A node goes on
 * trying, as clocks are set and addresses corrected. */
static void on_untrusted(struct identity *id, int r, struct str why)
{
    bool joining = id->purpose == FOR_JOIN;
    const char *server = joining && id->server_url ? id->server_url : id->now.host;
    char clock[TIMESTAMP_TEXT_MAX];
    struct error err = {0};
    if (r == -EKEYEXPIRED)
        (void)error_set(&err, REASON_FORBIDDEN,
                        "the certificate of %s is not good at %s, which is what the clock of this "
                        "machine says: that clock or the server's is wrong (%.*s); nothing was "
                        "sent",
                        server, clock_text(id, clock), STR_ARG(why));
    else
        (void)error_set(
            &err, REASON_FORBIDDEN, "%s is not the server %s (%.*s); nothing was sent", server,
            joining ? "this token was made for" : "of the cluster this node is in", STR_ARG(why));
    if (joining)
        fail(id, -EPERM, &err);
    else
        again(id, &err);
    error_fini(&err);
}

/* Words for what a joining machine may be told. */
static void on_refused(struct identity *id, const struct client_reply *reply)
{
    struct error err = {0};
    const struct error *e = reply->err;
    bool transport = e && e->reason == REASON_UNAVAILABLE;
    if (transport && (reply->r == -EACCES || reply->r == -EKEYEXPIRED)) {
        on_untrusted(id, reply->r, e->message);
    } else if (e && !transport && e->reason == REASON_UNAUTHORIZED && id->purpose != FOR_JOIN) {
        (void)error_set(&err, REASON_UNAUTHORIZED,
                        "the server does not take this node's certificate (in %s): it is of "
                        "another cluster, or the server's clock is wrong",
                        id->kubeconfig);
        fail(id, -EACCES, &err);
    } else if (e && e->reason == REASON_UNAUTHORIZED && id->purpose == FOR_JOIN) {
        (void)error_set(
            &err, REASON_UNAUTHORIZED,
            "the server does not know this token: it has expired or was deleted; make a new "
            "one with `davit token create`");
        fail(id, -EACCES, &err);
    } else if (e && !transport &&
               (e->reason == REASON_FORBIDDEN || e->reason == REASON_INVALID ||
                e->reason == REASON_BAD_REQUEST || e->reason == REASON_NOT_FOUND ||
                e->reason == REASON_UNAUTHORIZED)) {
        fail(id, reply->r, e);
    } else {
        again(id, e);
    }
    error_fini(&err);
}

static void on_cluster(void *arg, const struct client_reply *reply)
{
    struct identity *id = arg;
    struct error err = {0};
    struct pkey *ca = NULL;
    uint8_t digest[SHA256_BYTES];
    if (reply->r < 0) {
        on_refused(id, reply);
        return;
    }
    const struct api_config_map *m = OBJECT_MSG(reply->object, api_config_map);
    struct str pem = STR_NONE;
    for (uint32_t i = 0; i < m->n_data; i++)
        if (str_is(m->data[i].key, CLUSTER_CONFIG_CA))
            pem = m->data[i].value;
    int r = pkey_public_from_pem(pem, &err, &ca);
    if (r == 0) {
        pkey_spki_sha256(ca, digest);
        if (memcmp(digest, id->token.ca_spki_sha256, sizeof(digest)) != 0)
            r = error_set(&err, REASON_FORBIDDEN,
                          "the authority the server names is not the one of the token");
    }
    pkey_free(ca);
    if (r < 0) {
        fail(id, r, &err);
    } else {
        free(id->ca_pem);
        id->ca_pem = str_dup(pem);
        id->wait = RETRY_FIRST;
        go(id, STEP_REQUEST);
    }
    error_fini(&err);
}

static void ask_cluster(struct identity *id)
{
    struct error err = {0};
    if (!id->joining) {
        struct kubeconfig k = {.ca_spki_sha256 = id->token.ca_spki_sha256};
        int r = kubeconfig_set_server(&k, str_z(id->server_url), &err);
        if (r == 0) {
            k.token = arena_printf(&k.arena, "%s.%s", id->token.id, id->token.secret);
            r = connect_with(id, &k, &id->joining, &err);
        }
        kubeconfig_fini(&k);
        if (r < 0) {
            fail(id, r, &err);
            error_fini(&err);
            return;
        }
    }
    client_get(id->joining, schema_kinds[KIND_CONFIG_MAP], STR("kube-system"),
               STR(CLUSTER_CONFIG_NAME), on_cluster, id);
}

/* ---- a certificate request ---- */

static int make_key(struct identity *id, struct error *err)
{
    char *pem = NULL;
    int r = 0;
    id->key = pkey_free(id->key);
    if (id->purpose == FOR_JOIN && read_pem(id->join_key_file, &pem, NULL) == 0 &&
        pkey_from_pem(str_z(pem), NULL, &id->key) == 0) {
        /* a join that was cut short: the server knows this key */
    } else if (!(id->key = pkey_new_p256())) {
        r = error_set(err, REASON_INTERNAL, "cannot make a key");
    } else if (id->purpose == FOR_JOIN) {
        free(pem);
        pem = pkey_to_pem(id->key);
        r = write_pem(id->join_key_file, pem, err);
    }
    if (pem)
        crypto_wipe(pem, strlen(pem));
    free(pem);
    return r;
}

static int make_request(struct identity *id, struct arena *a, struct str *ret_pem,
                        struct error *err)
{
    struct str org = STR("system:nodes"), dns = str_z(id->node_name);
    struct str ips[2] = {str_z(id->node_ip)};
    bool serving = id->purpose == FOR_SERVING,
         local = strcmp(id->now.host ? id->now.host : "", "127.0.0.1") == 0;
    struct cert_spec spec = {
        .cn = arena_printf(a, "system:node:%s", id->node_name),
        .orgs = &org,
        .n_orgs = 1,
        .dns = &dns,
        .n_dns = serving,
        .ips = ips,
        .n_ips = serving,
    };
    struct csr *csr;
    if (serving && local && strcmp(id->node_ip, "127.0.0.1") != 0)
        ips[spec.n_ips++] = STR("127.0.0.1"); /* a server on this machine may come that way */
    int r = csr_new(id->key, &spec, err, &csr);
    if (r < 0)
        return r;
    char *pem = csr_to_pem(csr);
    *ret_pem = arena_strz(a, pem);
    free(pem);
    csr_free(csr);
    return 0;
}

static void on_requested(void *arg, const struct client_reply *reply)
{
    struct identity *id = arg;
    if (reply->r < 0) {
        on_refused(id, reply);
        return;
    }
    free(id->request_name);
    id->request_name = str_dup(object_name(reply->object));
    id->said_waiting = false;
    id->wait = POLL_FIRST;
    later(id, STEP_POLL, id->wait);
}

static void request(struct identity *id)
{
    struct str usages[] = {STR("digital signature"),
                           id->purpose == FOR_SERVING ? STR("server auth") : STR("client auth")};
    struct api_certificate_signing_request c = {
        .metadata = {.generate_name =
                         id->purpose == FOR_SERVING ? STR("node-serving-") : STR("node-client-")},
        .spec = {.signer_name =
                     id->purpose == FOR_SERVING ? STR(CSR_SIGNER_SERVING) : STR(CSR_SIGNER_KUBELET),
                 .usages = usages,
                 .n_usages = ARRAY_LEN(usages)},
    };
    struct arena a = {0};
    struct error err = {0};
    int r = make_key(id, &err);
    if (r == 0)
        r = make_request(id, &a, &c.spec.request, &err);
    if (r < 0) {
        fail(id, r, &err);
    } else {
        client_create(client_now(id), schema_kinds[KIND_CERTIFICATE_SIGNING_REQUEST], &c,
                      on_requested, id);
    }
    error_fini(&err);
    arena_fini(&a);
}

/* ---- its answer ---- */

static int keep_client_cert(struct identity *id, const char *key_pem, struct error *err)
{
    bool join = id->purpose == FOR_JOIN;
    CLEANUP(freep) char *user = xasprintf("system:node:%s", id->node_name);
    CLEANUP(freep)
    char *url = join ? xstrdup(id->server_url)
                     : xasprintf(strchr(id->now.host, ':') ? "https://[%s]:%u" : "https://%s:%u",
                                 id->now.host, id->now.port);
    struct buf text = {0};
    const struct kubeconfig_text t = {.user = user,
                                      .server_url = url,
                                      .ca_pem = join ? str_z(id->ca_pem) : id->now.ca_pem,
                                      .cert_pem = str_z(id->cert_pem),
                                      .key_pem = str_z(key_pem)};
    kubeconfig_print(&t, &text);
    buf_add_char(&text, '\0');
    int r = write_pem(id->kubeconfig, text.data, err);
    crypto_wipe(text.data, text.n);
    buf_fini(&text);
    if (r < 0)
        return r;
    if (join) {
        (void)unlink(id->join_key_file);
        go(id, STEP_LOAD);
        return 0;
    }
    struct kubeconfig fresh_one = {0};
    r = kubeconfig_load(id->kubeconfig, NULL, &fresh_one, err);
    if (r == 0)
        r = id->net ? id->net->reload(id->net->arg, id->client, &fresh_one, err)
                    : net_client_reload(id->client, &fresh_one, err);
    if (r < 0) {
        kubeconfig_fini(&fresh_one);
        return r;
    }
    kubeconfig_fini(&id->now);
    id->now = fresh_one;
    log_info("this node's certificate was renewed");
    go(id, STEP_SERVING);
    return 0;
}

static int keep_certificate(struct identity *id, struct error *err)
{
    char *key_pem = pkey_to_pem(id->key);
    int r;
    if (id->purpose ==
        FOR_SERVING) { /* the key first: a half new pair fails the check and is made anew */
        r = write_pem(id->key_file, key_pem, err);
        if (r == 0)
            r = write_pem(id->cert_file, id->cert_pem, err);
        if (r == 0)
            go(id, STEP_SERVING);
    } else {
        r = keep_client_cert(id, key_pem, err);
    }
    crypto_wipe(key_pem, strlen(key_pem));
    free(key_pem);
    id->key = pkey_free(id->key);
    return r;
}

static void on_polled(void *arg, const struct client_reply *reply)
{
    struct identity *id = arg;
    struct error err = {0};
    static const char *const no[] = {"Denied", "Failed"};
    if (reply->r < 0) {
        on_refused(id, reply);
        return;
    }
    const struct api_certificate_signing_request *c =
        OBJECT_MSG(reply->object, api_certificate_signing_request);
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        const struct api_certificate_signing_request_condition *k = csr_condition(c, no[i]);
        if (!k)
            continue;
        (void)error_set(&err, REASON_FORBIDDEN, "the server refused: %.*s",
                        STR_ARG(k->message.n ? k->message : k->reason));
        if (id->purpose == FOR_JOIN)
            (void)unlink(id->join_key_file);
        fail(id, -EPERM, &err);
        error_fini(&err);
        return;
    }
    if (!c->status.certificate.n) {
        id->wait = MIN(id->wait * 2, POLL_LAST);
        if (id->wait == POLL_LAST && !id->said_waiting) {
            id->said_waiting = true;
            log_info("waiting for approval: kubectl certificate approve %s", id->request_name);
        }
        later(id, STEP_POLL, id->wait);
        return;
    }
    free(id->cert_pem);
    id->cert_pem = str_dup(c->status.certificate);
    id->wait = RETRY_FIRST;
    int r = keep_certificate(id, &err);
    if (r < 0)
        fail(id, r, &err);
    error_fini(&err);
}

static void poll(struct identity *id)
{
    client_get(client_now(id), schema_kinds[KIND_CERTIFICATE_SIGNING_REQUEST], STR_NONE,
               str_z(id->request_name), on_polled, id);
}

/* ---- the serving certificate ---- */

static bool serving_good(const struct identity *id, const char *cert_pem, const char *key_pem)
{
    CLEANUP(freep) char *cn = xasprintf("system:node:%s", id->node_name);
    struct cert *cert = NULL, *ca = NULL;
    struct pkey *key = NULL;
    bool good = cert_from_pem(str_z(cert_pem), NULL, &cert) == 0 &&
                pkey_from_pem(str_z(key_pem), NULL, &key) == 0 && cert_key_matches(cert, key) &&
                fresh(id, cert_facts(cert)) && str_eqz(cert_facts(cert)->cn, cn);
    if (good && id->now.ca_pem.n)
        good = cert_from_pem(id->now.ca_pem, NULL, &ca) == 0 &&
               cert_verify(cert, ca, rt_wall(id->rt) / 1000000, NULL) == 0;
    bool named = false;
    for (size_t i = 0; good && i < cert_facts(cert)->n_ips; i++)
        named |= str_eqz(cert_facts(cert)->ips[i], id->node_ip);
    cert_free(cert);
    cert_free(ca);
    pkey_free(key);
    return named;
}

static int use_serving(struct identity *id, const char *cert_pem, const char *key_pem,
                       struct error *err)
{
    static const char *const alpn[] = {"http/1.1",
                                       NULL}; /* upgrades need it, and nothing else comes here */
    const struct rt_tls_server_opts opts = {.cert_pem = str_z(cert_pem),
                                            .key_pem = str_z(key_pem),
                                            .client_ca_pem = id->now.ca_pem,
                                            .alpn = alpn};
    int r = 0;
    if (!id->tls)
        r = rt_tls_server_new(&opts, err, &id->tls);
    else if (strcmp(id->serving_pem, cert_pem) != 0)
        r = rt_tls_server_reload(id->tls, opts.cert_pem, opts.key_pem, STR_NONE, err);
    else
        return 0;
    if (r == 0) {
        free(id->serving_pem);
        id->serving_pem = xstrdup(cert_pem);
    }
    return r;
}

static void serving(struct identity *id)
{
    CLEANUP(freep) char *cert = NULL;
    CLEANUP(freep) char *key = NULL;
    struct error err = {0};
    if (read_pem(id->cert_file, &cert, NULL) < 0 || read_pem(id->key_file, &key, NULL) < 0 ||
        !serving_good(id, cert, key)) {
        if (key)
            crypto_wipe(key, strlen(key));
        id->purpose = FOR_SERVING;
        id->wait = RETRY_FIRST;
        go(id, STEP_REQUEST);
        return;
    }
    int r = use_serving(id, cert, key, &err);
    crypto_wipe(key, strlen(key));
    if (r < 0) {
        fail(id, r, &err);
    } else {
        bool first = !id->ready;
        id->ready = true;
        later(id, STEP_TEND, first ? 10 * NSEC_PER_SEC : TEND_PERIOD);
        if (first)
            id->fn(id->arg, 0, NULL);
    }
    error_fini(&err);
}

/* ---- renewal ---- */

/* Cut off for longer than a certificate lives. What can be done is done: to ask again, as our clock
 * may be wrong. */
static void on_expired(struct identity *id)
{
    nsec_t now = rt_now(id->rt);
    char clock[TIMESTAMP_TEXT_MAX];
    if (id->said_expired && now - id->said_expired < SAY_AGAIN)
        return;
    id->said_expired = now;
    log_error("the certificate of this node has run out, if the clock of this machine is right (it "
              "says %s); " REJOIN,
              clock_text(id, clock), id->node_name);
}

static void tend(struct identity *id)
{
    struct cert *cert = NULL;
    bool good = !id->now.cert_pem.n ||
                (cert_from_pem(id->now.cert_pem, NULL, &cert) == 0 && fresh(id, cert_facts(cert)));
    if (!good && cert && cert_facts(cert)->not_after_s <= rt_wall(id->rt) / 1000000)
        on_expired(id);
    cert_free(cert);
    id->wait = RETRY_FIRST;
    if (good) {
        go(id, STEP_SERVING);
        return;
    }
    id->purpose = FOR_CLIENT;
    go(id, STEP_REQUEST);
}

static void step(void *arg)
{
    struct identity *id = arg;
    static void (*const steps[])(struct identity *) = {
        [STEP_LOAD] = load, [STEP_CLUSTER] = ask_cluster, [STEP_REQUEST] = request,
        [STEP_POLL] = poll, [STEP_SERVING] = serving,     [STEP_TEND] = tend,
    };
    if (id->joining && id->step != STEP_CLUSTER && id->purpose != FOR_JOIN) {
        client_free(id->joining);
        id->joining = NULL;
    }
    steps[id->step](id);
}

/* ---- life ---- */

int identity_new(const struct identity_opts *o, struct identity **ret, struct error *err)
{
    struct join_token token;
    struct kubeconfig url = {0};
    int r = o->token ? join_token_parse(str_z(o->token), &token, err) : 0;
    if (r == 0 && o->server_url) {
        r = kubeconfig_set_server(&url, str_z(o->server_url), err);
        kubeconfig_fini(&url);
    }
    if (r < 0)
        return r;
    struct identity *id = NEW(struct identity);
    *id = (struct identity){
        .rt = o->rt,
        .node_name = xstrdup(o->node_name),
        .node_ip = xstrdup(o->node_ip),
        .kubeconfig = xstrdup(o->kubeconfig),
        .cert_file = xstrdup(o->cert_file),
        .key_file = xstrdup(o->key_file),
        .join_key_file = xstrdup(o->join_key_file),
        .server_url = o->server_url ? xstrdup(o->server_url) : NULL,
        .has_token = o->token != NULL,
        .net = o->net,
        .wait = RETRY_FIRST,
        .purpose = FOR_CLIENT,
    };
    if (id->has_token)
        id->token = token;
    rt_task_init(&id->task, id->rt, step, id);
    rt_timer_init(&id->timer, id->rt, step, id);
    *ret = id;
    return 0;
}

void identity_start(struct identity *id, identity_fn ready, void *arg)
{
    id->fn = ready;
    id->arg = arg;
    go(id, STEP_LOAD);
}

struct client *identity_client(const struct identity *id)
{
    return id->client;
}

struct rt_tls_server *identity_tls(const struct identity *id)
{
    return id->tls;
}

struct identity *identity_free(struct identity *id)
{
    if (!id)
        return NULL;
    rt_task_cancel(&id->task);
    rt_timer_stop(&id->timer);
    if (id->joining)
        client_free(id->joining); /* calls under way never answer then */
    if (id->client)
        client_free(id->client);
    rt_tls_server_unref(id->tls);
    pkey_free(id->key);
    kubeconfig_fini(&id->now);
    crypto_wipe(&id->token, sizeof(id->token));
    char *owned[] = {id->node_name, id->node_ip,       id->kubeconfig, id->cert_file,
                     id->key_file,  id->join_key_file, id->server_url, id->request_name,
                     id->ca_pem,    id->cert_pem,      id->serving_pem};
    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        free(owned[i]);
    free(id);
    return NULL;
}
