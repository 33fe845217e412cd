/* Admission webhooks, and how a call waits for them.
 *
 * A verb runs whole in one turn of the core loop. Where it would ask webhooks it returns
 * HOOKS_WAIT instead, and when they have answered the verb runs again from its beginning, on the
 * newest state: then what they answered is taken in the place where they were asked, as long as
 * `old`, the object the verb found, is still the one they were told of. So everything that is
 * checked and written is checked against one state, and nothing was left half done meanwhile. When
 * old has changed they are asked anew, a few times; then it is a conflict.
 *
 * To a call no webhook can be about (hooks_about) none of this happens: c->hooks stays NULL.
 * Everything is the core thread's but hook_state_free. */
#pragma once

#include "apiserver/internal.h"
#include "apiserver/admit/match.h"

#define HOOKS_WAIT 1

struct hooks;
struct hook_state;

struct hooks *hooks_new(struct apiserver *s);
struct hooks *hooks_free(struct hooks *x); /* takes NULL; returns NULL */
/* The server ends: calls that wait are answered (unavailable) as soon as their questions are
 * cancelled. */
void hooks_stop(struct hooks *x);
void hooks_metrics(const struct hooks *x, struct buf *out);

/* Some webhook may be about the call: by kind and verb alone. */
bool hooks_about(const struct hooks *x, const struct api_call *c);
/* Before the verb of such a call runs: keeps what it was asked, so that it can run again. */
void hooks_begin(struct api_call *c);
/* Behind call_restore for another reason than theirs: what they have warned of is told again.
 * c->hooks is there. */
void hooks_warn(struct api_call *c);
/* Any thread. */
struct hook_state *hook_state_free(struct hook_state *h);

/* A configuration as it is written: match conditions that do not compile become causes, unless they
 * are those of old (NULL: none). Of other kinds k nothing is asked. */
void hooks_check(const struct schema_kind *k, const void *msg, const void *old, struct error *err);

/* ---- where a verb asks: 0 goes on, HOOKS_WAIT: returns that, negative: refused (the reply says
 * why) ---- */

/* Behind the mutating plugins; msg (of c->kind) may be changed. old NULL: create. */
int hooks_mutate(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
/* Behind all checks that take nothing. */
int hooks_validate(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
int hooks_delete(struct api_call *c, const struct object *old) MUST_CHECK;
/* A write to a subresource with a body of its own, which may be changed. old: that body before, or
 * NULL; of: the object it belongs to, as found (NULL: it matters not). */
int hooks_sub(struct api_call *c, enum admit_op op, const struct schema_desc *desc, void *msg,
              const void *old, const struct object *of) MUST_CHECK;
int hooks_connect(struct api_call *c) MUST_CHECK;
