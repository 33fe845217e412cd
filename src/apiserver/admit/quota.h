/* What the ResourceQuotas of each namespace allow and what is used of it.
 *
 * Invariants
 *  - used counts the durable objects: it follows the store's events and needs no reading again.
 *  - taken counts what was admitted and is not durable yet. A charge is given back when the event
 * of the object's creation counts it, or when the call that took it ends, whichever comes first.
 *  - So used + taken is never less than what there will be, and admission, which compares it with
 *    hard and takes in the same turn of the loop, cannot overshoot however many ask at once.
 *  - status.hard and status.used follow behind, one write of a quota at a time: they are what
 * people read, nothing is decided by them. A namespace without quotas costs a look into a map;
 * without any quota nothing is watched but the quotas themselves. Core thread. */
#pragma once

#include "api/quota_usage.h"
#include "apiserver/internal.h"

struct quotas;

struct quota_item {
    struct str name;                /* in the quota's arena */
    const struct schema_kind *kind; /* whose objects use it; NULL: nobody */
    struct quantity hard, used, taken;
};

struct quota {
    unsigned refs;
    struct quotas *quotas;
    struct object *object; /* owned reference; the newest durable state */
    struct list in_ns;     /* by name */
    struct list in_all;
    struct list in_dirty; /* waits for its status to be written */
    struct arena arena;
    struct quota_item *items;
    uint32_t n_items;
    rev_t counted; /* used holds all events up to this one */
    bool writing, gone;
};

struct quotas *quotas_new(struct apiserver *s);
struct quotas *quotas_free(struct quotas *x); /* takes NULL; returns NULL */
/* The list (struct quota, in_ns) of a namespace; NULL: it has none. */
struct list *quotas_of(struct quotas *x, struct str ns);
struct quota_item *quota_item_find(struct quota *q, struct str name); /* NULL: not bounded */

/* The item's objects are of this kind, which was not known when the quota was read (custom kinds):
 * those that are there are counted. */
void quota_bind(struct quota *q, struct quota_item *item, const struct schema_kind *kind);
/* Takes amount of the item for the object the call creates or changes (its uid). */
void quota_take(struct api_call *c, struct quota *q, struct quota_item *item, struct str uid,
                bool created, const struct quantity *amount);
/* The call is over: what is still taken for it is given back. */
void quota_release(struct api_call *c);

int admit_quota(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
