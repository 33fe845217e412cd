/* A loop of its own per verb; the server is on this machine, so what does not answer in a minute is
 * given up. */
#include "cli/api.h"

#include "base/mem.h"
#include "client/net_client.h"

#include <unistd.h>

#define ANSWER_TIMEOUT (60 * NSEC_PER_SEC)

struct wait {
    struct cli_answer answer;
    struct error *err;
    int r;
    bool done;
};

static void on_answer(void *arg, const struct client_reply *reply)
{
    struct wait *w = arg;

    w->done = true;
    w->r = reply->r;
    if (reply->r < 0) {
        if (reply->err)
            error_copy(w->err, reply->err);
        else
            (void)error_set(w->err, REASON_INTERNAL, "the call failed");
        return;
    }
    if (reply->object)
        w->answer.object = object_ref(reply->object);
    w->answer.items = xcalloc(reply->n_items + 1, sizeof(*w->answer.items));
    for (size_t i = 0; i < reply->n_items; i++)
        w->answer.items[w->answer.n_items++] = object_ref(reply->items[i]);
}

void cli_answer_fini(struct cli_answer *a)
{
    object_unref(a->object);
    for (size_t i = 0; i < a->n_items; i++)
        object_unref(a->items[i]);
    free(a->items);
    *a = (struct cli_answer){0};
}

static bool is_done(void *arg)
{
    return ((struct wait *)arg)->done;
}

int cli_api_call(struct cli_api *api, const struct client_request *req, struct cli_answer *ret,
                 struct error *err)
{
    struct wait w = {.err = err};

    if (api->client)
        client_call(api->client, req, on_answer, &w);
    if (!api->client || !rt_run_until(api->rt, is_done, &w, ANSWER_TIMEOUT)) {
        /* w goes away, so the call has to */
        if (api->client)
            client_free(api->client);
        api->client = NULL;
        return error_set(err, REASON_TIMEOUT, "the server does not answer");
    }
    if (w.r == 0 && ret)
        *ret = w.answer;
    else
        cli_answer_fini(&w.answer);
    return w.r;
}

int cli_api_open(struct cli_api *api, const char *data_dir, const char *kubeconfig,
                 struct error *err)
{
    CLEANUP(freep)
    char *path = kubeconfig ? xstrdup(kubeconfig) : xasprintf("%s/admin.kubeconfig", data_dir);
    int r;

    *api = (struct cli_api){0};
    if (!kubeconfig && access(path, R_OK) < 0)
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
