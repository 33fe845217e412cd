/* The front half: I/O threads that speak HTTPS and hand calls to the core. See front.c. */
#pragma once

#include "apiserver/apiserver.h"

struct front;

/* Listens on addr and starts the I/O threads. Core thread, as all of these. */
int front_new(struct apiserver *s, const char *addr, struct front **ret,
              struct error *err) MUST_CHECK;
uint16_t front_port(const struct front *f);
/* Where clients reach the server. */
void front_set_address(struct front *f, struct str host);
void front_reload_certificates(struct front *f);
/* As whom nodes are asked; borrowed. */
struct rt_tls_client *front_node_tls(const struct front *f);
/* What new calls go by from now on; those that wait or run stay where they are. Takes a reference
 * of its own. */
struct flow_table;
void front_set_flows(struct front *f, struct flow_table *t);
/* Requests that wait for the key of their token: there is one, or there is none. */
void front_keys_changed(struct front *f);
void front_stop(struct front *f, int64_t timeout_ms, void (*done)(void *arg), void *arg);
struct front *front_free(struct front *f); /* after front_stop; takes NULL; returns NULL */
