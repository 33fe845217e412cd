/* An API server small enough for the agent's tests: a struct client that keeps objects in memory,
 * answers get, list, create, delete and status patches of pods, and tells its watches. Everything
 * else succeeds and is counted. */
#pragma once

#include "client/client.h"

struct fake_api;
struct fake_api *fake_api_new(struct rt *rt);
struct fake_api *fake_api_free(struct fake_api *f);
struct client *fake_api_client(struct fake_api *f);
/* Adds or replaces (by kind, namespace, name) from JSON. */
void fake_api_put(struct fake_api *f, int kind_id, const char *json);
void fake_api_delete(struct fake_api *f, int kind_id, const char *ns, const char *name);
/* The object, borrowed; NULL: not there. */
struct object *fake_api_get(struct fake_api *f, int kind_id, const char *ns, const char *name);
/* False: every call fails and watches break, as when the server is away. */
void fake_api_up(struct fake_api *f, bool up);
/* Sets deletionTimestamp and grace, as a graceful delete does. */
void fake_api_delete_gracefully(struct fake_api *f, const char *ns, const char *name,
                                int64_t grace_s);
unsigned fake_api_count_events(struct fake_api *f, const char *reason);
