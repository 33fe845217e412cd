/* `davit debug`: what is in the server now, and what happens to one request or one object, as text.
 * Asks the server's own paths under /debug/ (apiserver/front/debug.h) as the administrator; a trace
 * is a question that is asked again and again, so nothing is left behind when it is interrupted. */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/mem.h"
#include "http/client.h"
#include "rt/tls.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_TIMEOUT_MS 30000
#define POLL              (300 * NSEC_PER_MSEC)
#define BYTES_MAX         (64u << 20)

struct debug_cmd {
    const char *data_dir, *kubeconfig;
    nsec_t time; /* how long to follow; 0: until interrupted */
    struct cli_api api;
    struct rt_tls_client *tls;
    struct http_client *http;
};

struct answer {
    struct debug_cmd *cmd;
    struct error *err;
    int r;
    bool done;
    uint64_t after, lost;
};

static uint64_t number(const struct http_answer *a, struct str name)
{
    int64_t v = 0;

    return str_to_i64(http_header_get(a->headers, a->n_headers, name), &v) == 0 && v > 0
               ? (uint64_t)v
               : 0;
}

static void on_answer(const struct http_answer *a, void *arg)
{
    struct answer *w = arg;

    w->done = true;
    if (a->err < 0) {
        w->r = error_errno(w->err, a->err, "the server does not answer: %s", a->what);
    } else if (a->status != 200) {
        w->r = error_set(w->err, REASON_FORBIDDEN, "the server says %d: %.*s", a->status,
                         STR_ARG(a->body));
    } else {
        w->after = number(a, STR("davit-trace-after"));
        w->lost = number(a, STR("davit-trace-lost"));
        if (w->lost)
            printf("... %llu bytes were lost\n", (unsigned long long)w->lost);
        fwrite(a->body.p, 1, a->body.n, stdout);
        fflush(stdout);
    }
}

static bool is_done(void *arg)
{
    return ((struct answer *)arg)->done;
}

static bool never(void *arg)
{
    return false;
}

static int ask(struct debug_cmd *c, const char *target, struct answer *w)
{
    struct http_header h = {STR("authorization"), STR_NONE};
    const struct str token = c->api.kubeconfig.token;

    if (token.n)
        h.value = arena_printf(&c->api.arena, "Bearer %.*s", STR_ARG(token));
    const struct http_client_request req = {.method = STR("GET"),
                                            .target = str_z(target),
                                            .headers = &h,
                                            .n_headers = token.n > 0,
                                            .timeout_ms = ANSWER_TIMEOUT_MS};
    w->done = false;
    http_client_fetch(c->http, &req, BYTES_MAX, on_answer, w);
    (void)rt_run_until(c->api.rt, is_done, w, 2 * ANSWER_TIMEOUT_MS * NSEC_PER_MSEC);
    return w->r;
}

static void escape(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++)
        buf_printf(out, "%%%02x", (unsigned char)s.p[i]);
}

static int follow(struct debug_cmd *c, const char *match, struct answer *w)
{
    nsec_t end = rt_now(c->api.rt) + c->time;
    struct buf escaped = {0};
    int r = 0;

    escape(str_z(match), &escaped);
    while (r == 0) {
        CLEANUP(freep)
        char *target = xasprintf("/debug/davit/trace?match=%.*s&after=%llu",
                                 STR_ARG(buf_str(&escaped)), (unsigned long long)w->after);
        r = ask(c, target, w);
        if (c->time && rt_now(c->api.rt) >= end)
            break;
        if (r == 0)
            (void)rt_run_until(c->api.rt, never, NULL, POLL);
    }
    buf_fini(&escaped);
    return r;
}

static int open_http(struct debug_cmd *c, struct error *err)
{
    const struct kubeconfig *k = &c->api.kubeconfig;
    struct http_target target = {.host = k->host, .port = k->port};
    struct rt_tls_client_opts tls = {.ca_pem = k->ca_pem,
                                     .insecure = k->insecure,
                                     .cert_pem = k->cert_pem,
                                     .key_pem = k->key_pem};
    int r = rt_tls_client_new(&tls, err, &c->tls);

    if (r < 0)
        return r;
    if (k->server_name.n)
        target.server_name = arena_cstr(&c->api.arena, k->server_name);
    c->http = http_client_new(c->api.rt, &target, c->tls, NULL);
    return 0;
}

static int debug_run(struct debug_cmd *c, int n, char **operands, struct error *err)
{
    bool trace = n > 0 && strcmp(operands[0], "trace") == 0;
    struct answer w = {.cmd = c, .err = err};
    int r;

    if (trace ? n != 2 : n > 1 || (n == 1 && strcmp(operands[0], "state") != 0))
        return error_set(err, REASON_BAD_REQUEST,
                         "say what to show: state, or trace REQUEST-ID | UID | RESOURCE/NS/NAME");
    r = cli_api_open(&c->api, c->data_dir, c->kubeconfig, err);
    if (r == 0)
        r = open_http(c, err);
    if (r == 0)
        r = trace ? follow(c, operands[1], &w) : ask(c, "/debug/davit/state", &w);
    if (c->http)
        http_client_free(c->http);
    rt_tls_client_unref(c->tls);
    cli_api_close(&c->api);
    return r;
}

int cli_debug(int argc, char **argv)
{
    struct debug_cmd c = {.data_dir = DATA_DIR_DEFAULT};
    const struct cli_opt opts[] = {
        {"data-dir", "DIR", "of the server (" DATA_DIR_DEFAULT ")", CLI_STRING, &c.data_dir},
        {"kubeconfig", "FILE", "instead of DIR/admin.kubeconfig", CLI_STRING, &c.kubeconfig},
        {"time", "TIME", "trace: follow for so long, not until interrupted", CLI_DURATION, &c.time},
    };
    struct error err = {0};
    int operands, r;

    r = cli_opts_parse("debug [state] | trace REQUEST-ID | trace UID | trace RESOURCE/NS/NAME",
                       "What is in the server: store, objects, watches, calls under way, flows. "
                       "trace follows a request (its Audit-Id) or an object (pods/default/web, "
                       "nodes/n1) live: who asks for it, what becomes of it, who is told.",
                       opts, ARRAY_LEN(opts), argc, argv, &operands, &err);
    if (r != 0)
        return r > 0 ? EXIT_OK : cli_fail("debug", &err, EXIT_USAGE);
    r = debug_run(&c, operands, argv + 1, &err);
    if (r >= 0) {
        error_fini(&err);
        return EXIT_OK;
    }
    return cli_fail("debug", &err, err.reason == REASON_BAD_REQUEST ? EXIT_USAGE : EXIT_FAILED);
}
