/* The recent events, kept for watches that resume and for reads at an older revision.
 *
 * Invariants: the window holds every event with compacted < rev <= newest, none else; each kind's
 * events lie side by side in order of revision; each event references its objects. */
#pragma once

#include "store/store.h"

/* A queue in one piece of memory, so that a run of it can be handed out as an array. */
struct window_kind {
    struct store_event *v; /* owned */
    size_t head, n, cap;
};

struct window_slot {
    struct window_kind *of; /* borrowed */
    uint32_t bytes;         /* what this event alone keeps alive */
};

struct window {
    struct window_slot *slots; /* owned ring: slot of rev r is slots[r & (cap - 1)] */
    size_t cap;
    rev_t newest, compacted;
    uint64_t bytes;
    size_t events_max;
    uint64_t bytes_max;
};

void window_init(struct window *w, rev_t newest, size_t events_max, uint64_t bytes_max);
void window_fini(struct window *w); /* before the kinds' queues are */
void window_kind_fini(struct window_kind *k);
/* Takes references; ev->rev is newest + 1. Does not evict: events must be delivered first. */
void window_push(struct window *w, struct window_kind *k, const struct store_event *ev);
void window_trim(struct window *w); /* evicts down to the limits */

/* The kind's events with rev > from, in order; borrowed until the next push or trim. */
static inline const struct store_event *window_since(const struct window_kind *k, rev_t from,
                                                     size_t *ret_n)
{
    size_t lo = 0, hi = k->n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (k->v[k->head + mid].rev <= from)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_n = k->n - lo;
    return lo < k->n ? &k->v[k->head + lo] : NULL;
}

/* The event of one revision inside the window. */
const struct store_event *window_at(const struct window *w, rev_t rev);
