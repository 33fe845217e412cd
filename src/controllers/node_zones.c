/* Counted node by node, so that a change costs the same in a cluster of ten or ten thousand. */
#include "controllers/node_zones.h"

#include "base/mem.h"

#define PARTIAL_MIN_DOWN 3    /* fewer nodes down are never an outage */
#define TOKEN_WAIT_MAX   1e18 /* 30 years in nanoseconds: a rate may be as small as it likes */

struct zone {
    char *key; /* owned */
    uint32_t ready, down;
    enum zone_state state;
    nsec_t next; /* when the next token is there */
};

struct zone_node {
    char *name; /* owned */
    struct zone *zone;
    enum node_health health;
};

static void zone_free(struct zones *z, struct zone *zone)
{
    (void)map_remove(&z->zones, str_z(zone->key));
    free(zone->key);
    free(zone);
}

static void node_free(struct zones *z, struct zone_node *n)
{
    (void)map_remove(&z->nodes, str_z(n->name));
    free(n->name);
    free(n);
}

void zones_fini(struct zones *z)
{
    for (struct map_slot *s; (s = map_next(&z->nodes, NULL));)
        node_free(z, s->value);
    for (struct map_slot *s; (s = map_next(&z->zones, NULL));)
        zone_free(z, s->value);
    map_fini(&z->nodes);
    map_fini(&z->zones);
}

static enum zone_state state_of(const struct zones *z, const struct zone *zone)
{
    uint32_t all = zone->ready + zone->down;
    if (zone->ready == 0 && zone->down > 0)
        return ZONE_FULL;
    if (zone->down >= PARTIAL_MIN_DOWN && (double)zone->down >= z->rates.unhealthy * all)
        return ZONE_PARTIAL;
    return ZONE_NORMAL;
}

static double rate_of(const struct zones *z, const struct zone *zone)
{
    if (z->all_down)
        return 0;
    if (zone->state != ZONE_PARTIAL)
        return z->rates.normal;
    return (int64_t)zone->ready + zone->down > z->rates.large ? z->rates.secondary : 0;
}

/* After a change of the zone's numbers. */
static void settle(struct zones *z, struct zone *zone, nsec_t now)
{
    enum zone_state state = state_of(z, zone);
    bool all_down = z->zones.n > 0;
    uint32_t counted = 0;
    if (state != zone->state) {
        zone->state = state;
        zone->next = MIN(zone->next, now); /* another rate, a full bucket */
        z->epoch++;
    }
    for (struct map_slot *s = NULL; (s = map_next(&z->zones, s));) {
        const struct zone *other = s->value;
        if (other->ready + other->down == 0)
            continue;
        counted++;
        all_down &= other->state == ZONE_FULL;
    }
    all_down &= counted > 0;
    if (all_down != z->all_down) {
        z->all_down = all_down;
        z->epoch++;
    }
}

static void count(struct zone *zone, enum node_health h, bool more)
{
    uint32_t *n = h == NODE_HEALTH_READY ? &zone->ready : &zone->down;
    if (h != NODE_HEALTH_NEW)
        *n = more ? *n + 1 : *n - 1;
}

static struct zone *zone_get(struct zones *z, struct str key)
{
    struct zone *zone = map_get(&z->zones, key);
    if (zone)
        return zone;
    zone = NEW(struct zone);
    zone->key = str_dup(key);
    (void)map_set(&z->zones, str_z(zone->key), zone);
    return zone;
}

void zones_set(struct zones *z, struct str node, struct str key, enum node_health h, nsec_t now)
{
    struct zone_node *n = map_get(&z->nodes, node);
    if (n && n->health == h && str_eqz(key, n->zone->key))
        return;
    if (!n) {
        n = NEW(struct zone_node);
        n->name = str_dup(node);
        (void)map_set(&z->nodes, str_z(n->name), n);
    } else {
        count(n->zone, n->health, false);
        if (!str_eqz(key, n->zone->key))
            settle(z, n->zone, now);
    }
    n->zone = zone_get(z, key);
    n->health = h;
    count(n->zone, h, true);
    settle(z, n->zone, now);
}

void zones_remove(struct zones *z, struct str node, nsec_t now)
{
    struct zone_node *n = map_get(&z->nodes, node);
    if (!n)
        return;
    count(n->zone, n->health, false);
    settle(z, n->zone, now);
    node_free(z, n);
}

enum zone_state zones_state(const struct zones *z, struct str key)
{
    const struct zone *zone = map_get(&z->zones, key);
    return zone ? zone->state : ZONE_NORMAL;
}

int zones_take(struct zones *z, struct str key, nsec_t now, nsec_t *ret_wait)
{
    struct zone *zone = zone_get(z, key);
    double rate = rate_of(z, zone);
    *ret_wait = 0;
    if (rate <= 0)
        return 0;
    if (now < zone->next) {
        *ret_wait = zone->next - now;
        return 0;
    }
    zone->next = now + (nsec_t)MIN((double)NSEC_PER_SEC / rate, TOKEN_WAIT_MAX);
    return 1;
}
