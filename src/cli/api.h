/* Calls of the API from a verb that does one thing after the other: each runs the loop until it is
 * answered. */
#pragma once

#include "cli/paths.h"
#include "client/client.h"
#include "client/kubeconfig.h"

struct cli_api {
    struct kubeconfig kubeconfig; /* owned */
    struct rt *rt;                /* owned */
    struct client *client;        /* owned */
    struct arena arena;           /* owned; for texts of the verb */
};

/* As whom kubeconfig says; NULL: as the administrator of the server with this data directory.
 * -ENOENT with words for the user when there never was a server. */
int cli_api_open(struct cli_api *api, const char *data_dir, const char *kubeconfig,
                 struct error *err) MUST_CHECK;
void cli_api_close(struct cli_api *api); /* also one that was not opened (zeroed) */

struct cli_answer {
    struct object *object; /* get, create, update, patch; a reference */
    struct object **items; /* list; owned, of references */
    size_t n_items;
};
void cli_answer_fini(struct cli_answer *a); /* also a zeroed one */

/* 0, or the errno of err's reason with its causes. *ret (may be NULL) is the caller's to release,
 * and untouched on failure. After a call that nobody answered none is made any more: each fails. */
int cli_api_call(struct cli_api *api, const struct client_request *req, struct cli_answer *ret,
                 struct error *err) MUST_CHECK;
