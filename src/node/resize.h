/* Resizing of pods in place; see resize.c for its states. Loop thread only. */
#pragma once

#include "node/agent.h"

void resize_init(struct pod *p);
void resize_fini(struct pod *p);
/* A newer object of p from the API: what p->obj is to be (counted). Its resources are those that
 * are allocated; what it wants beyond them is p->wanted. */
struct object *resize_seen(struct pod *p, struct object *obj);
/* In POD_RUNNING: goes on with whatever is next. False: no container may start yet, the pod's
 * cgroup has no room for it. */
bool resize_sync(struct pod *p);
/* Something has become free: resizes that wait are looked at again. */
void resize_room(struct node *n);
/* Limits of the pod's own cgroup: enough for what is allocated and for what is in force. */
void resize_pod_limits(const struct pod *p, struct cgroup_limits *ret);
/* c is about to run with these, or does; NULL: with what is allocated. Limits of the pod as a whole
 * are among them, where the container has none of its own. */
void ctr_set_in_force(struct ctr *c, const struct api_resource_requirements *r);
