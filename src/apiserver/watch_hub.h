/* Hubs: watches that want one name, or the pods of one node, found by a map instead of by asking
 * each.
 *
 * A cluster has thousands of such watches (every node watches its pods, and each ConfigMap its pods
 * use); asked one by one, every event would cost all of them. One store watch a kind feeds the hub,
 * which hands an event to the watches under its key only. */
#pragma once

#include "apiserver/internal.h"

enum hub_by {
    HUB_NONE,
    HUB_NAME, /* metadata.name */
    HUB_NODE, /* spec.nodeName of pods */
};

struct hub_member {      /* inside struct api_watch */
    struct list link;    /* hub_key->members */
    struct hub_key *key; /* NULL: in no hub */
};

struct hubs;
struct hubs *hubs_new(struct apiserver *s);
struct hubs *hubs_free(struct hubs *h); /* takes NULL; returns NULL */
/* deliver(member, events, n): from the loop; the same array for all members of a key. */
typedef void (*hub_deliver_fn)(struct hub_member *m, const struct store_event *events, size_t n);
void hubs_on_deliver(struct hubs *h, hub_deliver_fn fn);
/* The watch has seen everything up to `seen`. True: it is a member from now on (its own store watch
 * must be stopped at once); events up to `seen` may come once more. False: the hub has not come as
 * far; ask again later. */
bool hub_join(struct hubs *h, struct hub_member *m, const struct schema_kind *kind, enum hub_by by,
              struct str key, rev_t seen);
void hub_leave(struct hub_member *m); /* idempotent */
