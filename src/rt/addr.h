/* Socket addresses as text and back; inside src/rt only. */
#pragma once

#include "rt/stream.h"

#include <sys/socket.h>

#define RT_ADDR_TEXT_BYTES 160 /* "unix:" and the longest path, or [v6%scope]:port */

/* Literal addresses and unix paths; -ENOENT: the host is a name, to be looked up. `:port` is
 * [::]:port for listening, [::1] for connecting (a dual-stack socket then reaches v4 too). */
int rt_addr_to_sockaddr(const struct rt_addr *a, struct sockaddr_storage *ret, socklen_t *ret_len);
void rt_addr_text(const struct sockaddr *sa, socklen_t len, char ret[RT_ADDR_TEXT_BYTES]);
