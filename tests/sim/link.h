/* A network between a simulated node (or user) and the server: a struct client in front of an
 * in-process one, with seeded delay, loss of requests and of answers, partitions, and servers that
 * come and go. */
#pragma once

#include "client/client.h"

struct link;

struct link_faults {
    nsec_t delay_min, delay_max;
    double loss; /* of a request, and of an answer; the caller hears of it after `timeout` as
                    -ECONNRESET */
    nsec_t timeout;
};

/* faults is borrowed and may change at any time. */
struct client *link_new(struct rt *rt, const struct link_faults *faults, uint64_t seed);
/* inner NULL: the server is gone; calls under way fail, watches end. Taken over: freed by the link.
 */
void link_set_inner(struct client *link, struct client *inner);
void link_set_cut(struct client *link, bool cut); /* partition: nothing passes, either way */
/* A partition of one direction: requests do not arrive, or answers and events do not. */
void link_set_cut_ways(struct client *link, bool up, bool down);
/* fn(arg) once, when the link is freed. */
void link_on_free(struct client *link, void (*fn)(void *arg), void *arg);
