/* One cache per kind for everybody in this process: controllers, scheduler. A cache is made when
 * somebody asks for it first, and all start together, so that handlers and indexes are in place
 * before the first object comes. One loop's thread. */
#pragma once

#include "client/cache.h"

struct client_shared;

struct client_shared *client_shared_new(struct client *c);         /* borrowed; must outlive it */
struct client_shared *client_shared_free(struct client_shared *s); /* takes NULL; returns NULL */
/* All namespaces, no selector. Before client_shared_start. */
struct client_cache *client_shared_cache(struct client_shared *s, const struct schema_kind *kind);
/* The cache if somebody has asked for it, else NULL. Any time. */
struct client_cache *client_shared_find(const struct client_shared *s,
                                        const struct schema_kind *kind);
/* A cache of a custom kind (schema/custom.h), made and started when it is first asked for, at any
 * time after client_shared_start; with one index and one handler. It does not count for
 * client_shared_synced: whoever asks cannot have waited for it. client_shared_find finds it. */
struct client_cache *client_shared_custom(struct client_shared *s, const struct schema_kind *kind,
                                          client_cache_index_fn index,
                                          client_cache_change_fn on_change, void *arg);
/* The number of an index; the same fn gets the same number. Before client_shared_start. */
int client_shared_index(struct client_shared *s, const struct schema_kind *kind,
                        client_cache_index_fn fn);
void client_shared_start(struct client_shared *s);
bool client_shared_synced(const struct client_shared *s); /* all have their first list */
struct client *client_shared_client(const struct client_shared *s);
