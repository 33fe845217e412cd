/* Events of a watch whose kind has a conversion webhook: they wait, in order, until their objects
 * are in the watch's version. What waits together is converted by one call. Core thread. */
#pragma once

#include "apiserver/custom/convert.h"
#include "store/store.h"

struct watch_convert {
    struct converts *cs;
    const struct schema_kind *to;
    bool with_prev; /* the states before are looked at too */
    /* Events with converted objects, borrowed. False: the watch, and this with it, is gone. */
    bool (*tell)(struct watch_convert *q, const struct store_event *events, size_t n);
    /* Nothing comes any more: what waited is gone. */
    void (*fail)(struct watch_convert *q, const struct error *err);
    /* private */
    struct convert_want want;
    struct store_event *v, *under; /* waiting; being converted: references */
    size_t n, cap, bytes, n_under;
    struct object **objects; /* of those being converted: references */
    bool failed;
};

void watch_convert_init(struct watch_convert *q, struct converts *cs, const struct schema_kind *to);
/* May call out, as the loop does. False as of tell. */
bool watch_convert_add(struct watch_convert *q, const struct store_event *events, size_t n);
/* The same, but nothing is told before the next add: something else must be told first. */
void watch_convert_hold(struct watch_convert *q, const struct store_event *events, size_t n);
/* Some have not been told. */
static inline bool watch_convert_busy(const struct watch_convert *q)
{
    return q->n || q->n_under;
}
void watch_convert_fini(struct watch_convert *q); /* idempotent; also of a zeroed one */
