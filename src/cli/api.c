/* A loop of its own per verb; the server is on this machine, so what does not answer in a minute is
 * given up. */
#include "cli/api.h"

#include "base/mem.h"
#include "client/net_client.h"

#include <unistd.h>

#define ANSWER_TIMEOUT (60 * NSEC_PER_SEC)

struct wait {
    struct cli_api *api;
    struct cli_answer answer;
    struct error *err;
    int r;
    bool done;
};

/* Objects live as long as the verb runs, so nothing counts them down. */
static void on_answer(void *arg, const struct client_reply *reply)
{
    struct wait *w = arg;

    w->done = true;
    w->r = reply->r;
    if (reply->r < 0) {
        (void)error_set(w->err, reply->err ? reply->err->reason : REASON_INTERNAL, "%.*s",
                        STR_ARG(reply->err ? reply->err->message : STR("the call failed")));
        return;
    }
    if (reply->object)
        w->answer.object = object_ref(reply->object);
    w->answer.items = ARENA_NEW_N(&w->api->arena, struct object *, reply->n_items + 1);
    for (size_t i = 0; i < reply->n_items; i++)
        w->answer.items[w->answer.n_items++] = object_ref(reply->items[i]);
}

static bool is_done(void *arg)
{
    return ((struct wait *)arg)->done;
}

int cli_api_call(struct cli_api *api, const struct client_request *req, struct cli_answer *ret,
                 struct error *err)
{
    struct wait w = {.api = api, .err = err};

    client_call(api->client, req, on_answer, &w);
    if (!rt_run_until(api->rt, is_done, &w, ANSWER_TIMEOUT)) {
        /* w goes away, so the call has to */
        client_free(api->client);
        api->client = NULL;
        return error_set(err, REASON_TIMEOUT, "the server does not answer");
    }
    if (w.r == 0 && ret)
        *ret = w.answer;
    return w.r;
}

int cli_api_open(struct cli_api *api, const char *data_dir, struct error *err)
{
    CLEANUP(freep) char *path = xasprintf("%s/admin.kubeconfig", data_dir);
    int r;

    *api = (struct cli_api){0};
    if (access(path, R_OK) < 0)
        return error_errno(err, errno, "%s: is there a server on this machine? (--data-dir)", path);
    r = kubeconfig_load(path, NULL, &api->kubeconfig, err);
    if (r == 0 && !(api->rt = rt_uv_new()))
        r = error_errno(err, errno, "cannot make an event loop");
    if (r == 0)
        r = net_client_new(api->rt, &api->kubeconfig, NULL, &api->client, err);
    if (r < 0)
        cli_api_close(api);
    return r;
}

void cli_api_close(struct cli_api *api)
{
    if (api->client)
        client_free(api->client);
    if (api->rt)
        rt_free(api->rt);
    kubeconfig_fini(&api->kubeconfig);
    arena_fini(&api->arena);
    *api = (struct cli_api){0};
}
