/* A host of its own for a test: network and mount namespace of its own, pods as namespaces with
 * small servers in them, and one-shot clients. Everything vanishes with the test's process. */
#pragma once

#include "base/base.h"

/* False: no rights for it (then the test skips). Single-threaded moment. */
bool lab_enter(void);
/* Makes a namespace bound below the lab's directory, lo up; returns its path (static buffers per
 * name). */
const char *lab_netns(const char *name);
/* A child process in that namespace (NULL: the host's) that answers TCP and UDP at port of ip
 * (0.0.0.0 when NULL) with "name peer-address". */
pid_t lab_server(const char *netns, const char *name, const char *ip, uint16_t port);
void lab_kill(pid_t pid);
/* One request from that namespace (NULL: host). The answer in out ("" on EOF); -ECONNREFUSED,
 * -ETIMEDOUT ... */
int lab_ask(const char *netns, const char *ip, uint16_t port, char out[static 128]);
/* A UDP socket there, connected; then exchanges on it. */
int lab_udp_open(const char *netns, const char *ip, uint16_t port);
int lab_udp_ask(int fd, char out[static 128]);
/* A TCP connection that is being made; then as lab_ask, when it is within some seconds. */
int lab_tcp_start(const char *netns, const char *ip, uint16_t port);
int lab_tcp_finish(int fd, char out[static 128]);
