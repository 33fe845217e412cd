/* What a call needs of conversion webhooks, between its verb and the store (call_convert.c). Core
 * thread. Nothing happens in calls for kinds that have none. */
#pragma once

#include "apiserver/custom/convert.h"
#include "apiserver/internal.h"

/* Objects of c->kind may have to be converted for it. */
bool call_converts(const struct api_call *c);
/* In which form objects of c->kind, which is served, are written: by its definition as it is now,
 * which may be younger than the call. */
const struct schema_kind *call_storage(const struct api_call *c);
/* o as the caller's version knows it; NULL: it is not in hand, and was noted as missing. Borrowed
 * from the call, or o itself. */
struct object *call_seen(struct api_call *c, struct object *o);
/* The same, o itself when it is not in hand. */
struct object *call_in_hand(const struct api_call *c, struct object *o);
size_t call_n_missing(const struct api_call *c);
/* 0: what was missing is in hand now. 1: the verb returns this, and is run again. < 0: an error. */
int call_convert_missing(struct api_call *c) MUST_CHECK;
/* The revision a list is of, all the times it runs. */
rev_t call_convert_pin(struct api_call *c);

/* For call.c. */
int call_convert_before(struct api_call *c) MUST_CHECK; /* as above */
/* True: the body goes the way by the webhook; *ret is what the verb returns. */
bool call_convert_put(struct api_call *c, const void *msg, rev_t expected, int *ret);
bool call_convert_after(struct api_call *c); /* true: call_finish comes once more */
void call_convert_end(struct api_call *c);   /* answered, or dropped. Idempotent */
/* Runs the verb of a call that is authorized; as a verb. */
int call_run(struct api_call *c) MUST_CHECK;
