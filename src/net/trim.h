/* What this node keeps of objects: in memory, packed, and on disk. Each takes `trim` of struct
 * client_cache_opts; what reads an object reads no more of it than is left here. */
#pragma once

#include "api/types.gen.h"
#include "base/arena.h"

void net_trim_service(void *msg, struct arena *a, const char *own);
/* own: this node's name. The label that names the Service becomes net_slice_service's. */
void net_trim_slice(void *msg, struct arena *a, const char *own);
void net_trim_node(void *msg, struct arena *a, const char *own);
void net_trim_policy(void *msg, struct arena *a, const char *own);
void net_trim_namespace(void *msg, struct arena *a, const char *own);
void net_trim_pod(void *msg, struct arena *a, const char *own);

/* Whose slice it is, trimmed or not; absent: nobody's. */
struct str net_slice_service(const struct api_object_meta *meta);
