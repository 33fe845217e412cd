/* Where things lie in a data directory. One place, so that server, agent, down and the docs agree.
 *
 *   DIR/admin.kubeconfig   for the operator, 0600
 *   DIR/agent.kubeconfig   the local node's own identity, 0600
 *   DIR/agent.crt, .key    what the local node's own API shows to the server
 *   DIR/agent.join.key     its key while it joins
 *   DIR/instance           made first: marks the directory as davit's; net and node name things by
 * its path DIR/store/             objects (LMDB) DIR/pki/               certificate authority, keys
 *   DIR/images/            image store
 *   DIR/node/              pods
 *   DIR/net/               address pool
 *   DIR/run/X.pid          one a running process: server, agent, up
 *   DIR/davit.log          of `davit up --detach`
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#define DATA_DIR_DEFAULT "/var/lib/davit"

struct data_dir {
    struct arena arena; /* owned; holds the texts */
    const char *root;   /* absolute */
    const char *admin_kubeconfig, *agent_kubeconfig, *agent_cert, *agent_key, *agent_join_key,
        *store, *pki, *images, *node, *net, *run, *log;
    char instance[9]; /* 8 hex digits; the same as long as the directory lives */
};

/* create: makes the directory (0700) and its instance name; else -ENOENT when it is not there. A
 * directory that holds other things than ours is refused and left alone. */
int data_dir_open(struct data_dir *d, const char *path, bool create, struct error *err) MUST_CHECK;
void data_dir_fini(struct data_dir *d);
