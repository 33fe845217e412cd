/* The cluster's settings on a node: read from the API once, kept on disk, so that a node that
 * starts while the server is away has them. Loop thread. */
#pragma once

#include "api/cluster.h"
#include "client/client.h"

struct net_cluster;

/* config is borrowed until the call returns. r < 0: the server refuses to tell, or tells nonsense.
 */
typedef void (*net_cluster_fn)(void *arg, int r, const struct cluster_config *config,
                               const struct error *err);

/* Exactly one call of done, from the loop. Goes on trying while the server cannot be reached.
 * data_dir is copied. */
struct net_cluster *net_cluster_start(struct client *client, const char *data_dir,
                                      net_cluster_fn done, void *arg);
struct net_cluster *net_cluster_cancel(struct net_cluster *c); /* takes NULL; returns NULL */
