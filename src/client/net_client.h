/* Network transport of client/client.h: JSON over HTTPS (HTTP/2 when the server offers it: all
 * calls and watches share one connection). Used by the agent, hollow nodes and the CLI.
 *
 * A call that got an answer has reply.r == 0 or the errno of the Status; one that got none has
 * -ECONNREFUSED, -ECONNRESET, -ETIMEDOUT, ... and for writes an unknown outcome. Reconnecting needs
 * nothing: the next call does. */
#pragma once

#include "client/client.h"
#include "client/kubeconfig.h"

struct net_client_opts {
    int64_t timeout_ms;     /* of each call but watches; 0: 30 s */
    const char *user_agent; /* NULL: "davit/VERSION" */
    bool http1;             /* never HTTP/2 */
};

/* kubeconfig is copied. Free with client_free: calls under way never answer then. */
int net_client_new(struct rt *rt, const struct kubeconfig *k, const struct net_client_opts *opts,
                   struct client **ret, struct error *err) MUST_CHECK;
/* The kubeconfig was written anew (renewed certificate): used for new connections. */
int net_client_reload(struct client *c, const struct kubeconfig *k, struct error *err) MUST_CHECK;
