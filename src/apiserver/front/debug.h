/* For whoever looks for what went wrong: GET /debug/davit/state prints what is in the server now,
 * GET /debug/davit/trace?match=TEXT[&after=POS] what happens from now on to one request or one
 * object (base/trace.h). For those RBAC lets (nonResourceURLs): system:masters. */
#pragma once

#include "apiserver/front/front_int.h"
#include "base/trace.h"

bool debug_known(struct str path);
void debug_core(struct api_call *c, struct buf *out); /* core: its part of the state */
void debug_answer(struct exchange *x);                /* after debug_core */
