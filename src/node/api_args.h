/* What requests to the node's API server say in their query. Pure; any bytes may come. */
#pragma once

#include "base/arena.h"
#include "base/str.h"

#define API_ARGS_MAX  1024 /* words of a command: a client that sends more has lost its way */
#define API_PORTS_MAX 16   /* of one port-forward */

/* The values of `command`, in order; they may be empty. *ret_argv lives in the arena. The number of
 * them, or -E2BIG. */
int api_args_command(struct str query, struct arena *a, struct str **ret_argv) MUST_CHECK;
/* The values of `port` and `ports`, lists with commas too. The number of them (0: none were given),
 * or -EINVAL: not a port, or too many. */
int api_args_ports(struct str query, struct arena *a,
                   uint16_t ret[static API_PORTS_MAX]) MUST_CHECK;
