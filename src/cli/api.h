/* Calls of the API from a verb that does one thing after the other: each waits for its answer. */
#pragma once

#include "cli/paths.h"
#include "client/client.h"
#include "client/kubeconfig.h"

struct cli_api {
    struct kubeconfig kubeconfig; /* owned */
    struct rt *rt;                /* owned */
    struct client *client;        /* owned */
    struct arena arena;           /* owned; what answers hold */
};

/* As the administrator of the server with this data directory. -ENOENT with words for the user when
 * there never was a server. */
int cli_api_open(struct cli_api *api, const char *data_dir, struct error *err) MUST_CHECK;
void cli_api_close(struct cli_api *api); /* also one that was not opened (zeroed) */

struct cli_answer {
    struct object *object; /* get, create, update, patch; counted until cli_api_close */
    struct object **items; /* list */
    size_t n_items;
};
/* 0, or the errno of err's reason. ret may be NULL. */
int cli_api_call(struct cli_api *api, const struct client_request *req, struct cli_answer *ret,
                 struct error *err) MUST_CHECK;
