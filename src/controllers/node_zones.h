/* How many nodes of a zone live decides how fast the pods of its dead ones may be evicted. Pure: no
 * clock of its own, no objects. The rules are those of Kubernetes' node lifecycle controller:
 *
 *   zone                                              evictions
 *   fewer than 3 nodes down, or under the threshold   at the normal rate
 *   partial outage, more nodes than `large`           at the secondary rate
 *   partial outage, a smaller zone                    none
 *   wholly down, while another zone is not            at the normal rate: the zone is really gone
 *   all zones wholly down                             none: it is us who are cut off
 *
 * A token bucket of one: the first node goes at once. One difference: nodes that have never said
 * anything (they are joining) are not counted. */
#pragma once

#include "base/map.h"
#include "rt/rt.h"

enum node_health {
    NODE_HEALTH_NEW, /* has never reported */
    NODE_HEALTH_READY,
    NODE_HEALTH_NOT_READY, /* says so itself */
    NODE_HEALTH_UNKNOWN,   /* is silent */
    _NODE_HEALTH_MAX,
};

enum zone_state {
    ZONE_NORMAL,
    ZONE_PARTIAL,
    ZONE_FULL,
    _ZONE_STATE_MAX,
};

struct zone_rates {
    double normal, secondary; /* nodes a second */
    double unhealthy;         /* the part of a zone that makes an outage */
    int64_t large;            /* nodes; a zone with more of them is large */
};

struct zone;
struct zones { /* zero-initialised but for rates */
    struct zone_rates rates;
    struct map zones; /* key -> struct zone */
    struct map nodes; /* name -> struct zone_node */
    bool all_down;
    uint64_t epoch; /* grows with every change of a zone's state or of all_down */
};

void zones_fini(struct zones *z);
/* The node is in that zone (any text; may be empty) and so well. */
void zones_set(struct zones *z, struct str node, struct str zone, enum node_health h, nsec_t now);
void zones_remove(struct zones *z, struct str node, nsec_t now);
enum zone_state zones_state(const struct zones *z, struct str zone);
/* 1: the pods of a node of this zone may be evicted (a token is taken). 0: not now; *ret_wait says
 * when to ask again, 0: when epoch has changed. */
int zones_take(struct zones *z, struct str zone, nsec_t now, nsec_t *ret_wait);
