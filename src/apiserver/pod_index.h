/* Pods by node: what a node's list of its pods, and the question whether a node needs a secret,
 * cost then is the node's own pods instead of all. Follows the store's durable state. Core thread.
 */
#pragma once

#include "apiserver/internal.h"

struct pod_index;
struct pod_index *pod_index_new(struct apiserver *s);
struct pod_index *pod_index_free(struct pod_index *x); /* takes NULL; returns NULL */
/* Calls fn for each pod bound to the node, in no order, until it returns false. Borrowed for this
 * turn. */
void pod_index_walk(struct pod_index *x, struct str node, bool (*fn)(void *arg, struct object *pod),
                    void *arg);
size_t pod_index_count(const struct pod_index *x, struct str node);
