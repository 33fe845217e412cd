/* The credentials the server leaves in its data directory: the operator's kubeconfig and, with an
 * agent beside it, the agent's kubeconfig and the certificate of the agent's own API. */
#pragma once

#include "apiserver/apiserver.h"
#include "cli/paths.h"

struct creds_opts {
    const struct data_dir *dir;
    const char *listen;    /* what the API listens on, as the user wrote it */
    const char *node_name; /* NULL: no agent on this machine */
    const char *node_ip;
    int64_t now_s;
};

/* The API must listen already: its port goes into the kubeconfigs. What is there and good for
 * another month stays untouched, so a server that starts again does not pull the files from under
 * an agent that reads them. */
int creds_write(struct apiserver *api, const struct creds_opts *o, struct error *err) MUST_CHECK;
