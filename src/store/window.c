/* Watches of one kind must not pay for the events of the others, but the window ends at one
 * revision for all of them. So each kind has a queue of its own events, and a ring over all
 * revisions says whose turn it is to lose its oldest. The queues are contiguous: a watch that
 * missed n events gets a pointer and n. The window is bounded by events and by the bytes that only
 * it keeps alive (states that were replaced). */
#include "store/window.h"
#include "base/mem.h"

#define WINDOW_EVENTS_KEEP 64u /* however large they are */

void window_init(struct window *w, rev_t newest, size_t events_max, uint64_t bytes_max)
{
    ASSERT(events_max > 0);
    *w = (struct window){
        .newest = newest, .compacted = newest, .events_max = events_max, .bytes_max = bytes_max};
}

void window_kind_fini(struct window_kind *k)
{
    for (size_t i = 0; i < k->n; i++) {
        (void)object_unref(k->v[k->head + i].object);
        (void)object_unref(k->v[k->head + i].prev);
    }
    free(k->v);
    *k = (struct window_kind){0};
}

void window_fini(struct window *w)
{
    free(w->slots);
    *w = (struct window){0};
}

static void slots_grow(struct window *w)
{
    size_t cap = w->cap ? w->cap * 2 : 64;
    struct window_slot *slots = xcalloc(cap, sizeof(*slots));

    for (rev_t r = w->compacted + 1; r <= w->newest; r++)
        slots[r & (cap - 1)] = w->slots[r & (w->cap - 1)];
    free(w->slots);
    w->slots = slots;
    w->cap = cap;
}

static void kind_push(struct window_kind *k, const struct store_event *ev)
{
    if (k->head + k->n == k->cap) {
        if (k->head > k->cap / 2) {
            memmove(k->v, k->v + k->head, k->n * sizeof(*k->v));
            k->head = 0;
        } else {
            k->cap = k->cap ? k->cap * 2 : 8;
            k->v = xrealloc(k->v, k->cap * sizeof(*k->v));
        }
    }
    k->v[k->head + k->n++] = *ev;
}

void window_push(struct window *w, struct window_kind *k, const struct store_event *ev)
{
    struct window_slot slot = {.of = k};

    ASSERT(ev->rev == w->newest + 1);
    if (w->newest - w->compacted == w->cap)
        slots_grow(w);
    if (ev->prev)
        slot.bytes += ev->prev->msg_bytes;
    if (ev->type == STORE_EVENT_DELETED)
        slot.bytes += ev->object->msg_bytes;
    w->newest = ev->rev;
    w->slots[ev->rev & (w->cap - 1)] = slot;
    w->bytes += slot.bytes;
    (void)object_ref(ev->object);
    if (ev->prev)
        (void)object_ref(ev->prev);
    kind_push(k, ev);
}

void window_trim(struct window *w)
{
    for (;;) {
        size_t n = w->newest - w->compacted;
        struct window_slot *slot;
        struct store_event *ev;

        if (n <= w->events_max && (w->bytes <= w->bytes_max || n <= WINDOW_EVENTS_KEEP))
            return;
        slot = &w->slots[(w->compacted + 1) & (w->cap - 1)];
        ev = &slot->of->v[slot->of->head];
        ASSERT(slot->of->n > 0 && ev->rev == w->compacted + 1);
        (void)object_unref(ev->object);
        (void)object_unref(ev->prev);
        slot->of->head++;
        if (--slot->of->n == 0)
            slot->of->head = 0;
        w->bytes -= slot->bytes;
        w->compacted++;
    }
}

const struct store_event *window_at(const struct window *w, rev_t rev)
{
    const struct store_event *ev;
    size_t n;

    ASSERT(rev > w->compacted && rev <= w->newest);
    ev = window_since(w->slots[rev & (w->cap - 1)].of, rev - 1, &n);
    ASSERT(ev && ev->rev == rev);
    return ev;
}
