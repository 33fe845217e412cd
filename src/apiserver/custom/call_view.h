/* An object of a call in another version, for webhooks and policies that speak of that one
 * (matchPolicy: Equivalent), and for owners of its fields that are named in that one, where its
 * kind is converted by a webhook. Core thread.
 *
 * Whoever needs such a view asks call_view. What is not in hand is noted, and he gives up for now:
 * webhooks wait (call_views_ask) and go on where they were; a policy makes the verb return 1, and
 * call_run has the views made and runs it again. Then the same views are wanted and are in hand:
 * they are found by what an object says (its uid, times, owners of fields and a generated name are
 * others each time, and no webhook may convert those).
 *
 * Objects of the store that a call is judged by (parameters of policies) are wanted the same way,
 * and found by their revision. */
#pragma once

#include "apiserver/custom/convert.h"
#include "apiserver/internal.h"

#define CALL_VIEWS_MAX 64 /* of one call; each is asked for once */
#define CALL_STORED_MAX                                                                            \
    1000 /* objects of the store it wants converted, and of how many bytes: it holds them while it \
            runs */
#define CALL_STORED_BYTES_MAX (16u << 20)

/* Nothing is made of it when from is to, or no webhook converts: call_view_needed. */
bool call_view_needed(const struct api_call *c, const struct schema_kind *from,
                      const struct schema_kind *to);
/* msg of `from` as one of `to`, both served. 1: *ret, as long as the call. -EINPROGRESS: it was
 * noted. Other negatives: it could not be converted, in err (may be NULL). */
int call_view(struct api_call *c, const struct schema_kind *from, const struct schema_kind *to,
              const void *msg, const void **ret, struct error *err) MUST_CHECK;
/* One that is in hand, or NULL; to may be a variant. Nothing is noted. */
const void *call_view_there(struct api_call *c, const struct schema_kind *from,
                            const struct schema_kind *to, const void *msg);
/* The same for an object of the store, to be read as one of `to`; one that needs no conversion is
 * given back. *ret is borrowed, as long as the call. The call was kept (call_keep). */
int call_stored(struct api_call *c, const struct schema_kind *to, struct object *o,
                struct object **ret, struct error *err) MUST_CHECK;
/* Something was noted and not asked for yet. */
bool call_views_wanted(const struct api_call *c);
/* Has it made: 1: done comes, never from inside; 0: it is in hand, or cannot be made. */
int call_views_ask(struct api_call *c, void (*done)(struct api_call *c)) MUST_CHECK;

void call_views_end(struct api_call *c);  /* done does not come any more */
void call_views_free(struct api_call *c); /* any thread; nothing is under way. Forgets all */
