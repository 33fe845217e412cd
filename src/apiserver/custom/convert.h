/* Conversion of custom objects between the versions of their definition by its webhook. Core
 * thread, which never waits: who needs objects in another version hands them over as a *want* and
 * is told when they are there, or gets them at once when the cache has them.
 *
 * The cache goes by revision and version. An object is frozen, its revision names one state of one
 * object in the whole store, and a webhook is a function of what it is shown; so what it said once
 * of a revision holds until its definition changes, and then the whole cache of the definition
 * goes. Hence a hundred watchers of another version cost one call a change.
 *
 * The missing objects of a want are asked for in one call (several, when they are large). A want
 * joins calls that are under way for the same object; if such a call of somebody else is answered
 * badly, it asks again on its own account, so that nobody fails for another's object. */
#pragma once

#include "apiserver/custom/convert_review.h"
#include "apiserver/hooks/outcall.h"
#include "base/list.h"

struct apiserver;
struct converts;
struct convert_slot;

/* The caller's memory; zeroed before its first use. */
struct convert_want {
    struct converts *cs; /* NULL: not under way; private from here */
    struct list link, told, batches;
    const struct schema_kind *to;
    struct object **objects; /* the caller's; its references */
    struct convert_slot *slots;
    size_t n_slots, left, again;
    void (*done)(struct convert_want *w);
    struct error err; /* of the last use; the caller's to fini */
};

/* Where calls go: outcall_start, or a test. */
typedef struct outcall *(*convert_call_fn)(void *ctx, const struct outcall_request *q);

struct converts *converts_new(struct rt *core, convert_call_fn call, void *ctx);
/* No calls are under way any more (outcalls_free), and no wants. Takes NULL; returns NULL. */
struct converts *converts_free(struct converts *cs);
/* All wants fail now, and all that come. */
void converts_stop(struct converts *cs);

/* A definition as it is from now on, with the versions that are served (borrowed); NULL, or one
 * without a webhook: nothing is converted by one any more. Calls that are under way end as they
 * would have. */
void converts_set(struct converts *cs, const struct schema_kind *stored,
                  const struct api_custom_resource_definition *crd, rev_t rev,
                  struct custom *const *served, size_t n);

/* There is a definition with a webhook. */
bool converts_any(const struct converts *cs);
/* Objects of this kind (any sort of custom kind) may need conversion. */
bool converts_kind(const struct converts *cs, const struct schema_kind *k);
/* This one does, to become one of the variant `to`. */
bool convert_needed(const struct converts *cs, const struct schema_kind *to,
                    const struct object *o);

/* objects: n references, which are replaced by such of the converted objects; those that need no
 * conversion stay. 0: done at once. 1: done comes, never from inside; the array is left alone
 * until then, and when w->err says that it failed. < 0: w->err. */
int convert_start(struct converts *cs, struct convert_want *w, const struct schema_kind *to,
                  struct object **objects, size_t n,
                  void (*done)(struct convert_want *w)) MUST_CHECK;
/* done does not come any more. Idempotent. */
void convert_cancel(struct convert_want *w);

struct convert_stats {
    uint64_t calls, failures, objects, hits;
    size_t cached_bytes, cached, in_flight;
};
void converts_stats(const struct converts *cs, struct convert_stats *ret);

/* A definition as it is about to be written (old: NULL for a new one): an authority that cannot be
 * read becomes a cause. */
void convert_check(const struct api_custom_resource_definition *crd,
                   const struct api_custom_resource_definition *old, struct error *err);
