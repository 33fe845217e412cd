/* FlowSchema and PriorityLevelConfiguration objects at work: the mandatory and suggested ones are
 * kept as Kubernetes keeps them, a change makes a new table for the front, schemas are told whether
 * their level is there. Core thread. */
#pragma once

#include "apiserver/apiserver.h"

struct flow_config;
struct flow_table;

struct flow_config *flow_config_new(struct apiserver *s);
struct flow_config *flow_config_free(struct flow_config *c); /* takes NULL; returns NULL */
/* What the objects say now; borrowed. */
struct flow_table *flow_config_table(const struct flow_config *c);
/* Writes the objects a cluster starts with, those that are not there, by `want`. */
void flow_config_bootstrap(struct apiserver *s,
                           void (*want)(struct apiserver *s, const struct schema_kind *k,
                                        const void *msg));
