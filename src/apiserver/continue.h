/* The `continue` token of a list: base64url of "v1:<rev>:<namespace>/<name>". It says after which
 * object, and at which revision, the next page starts. Revision 0 is written "now": the rest is
 * listed as it is when it is asked for (offered when the revision of the first page is gone). */
#pragma once

#include "base/arena.h"
#include "base/base.h"

struct str continue_make(struct arena *a, rev_t rev, struct str ns, struct str name);
int continue_parse(struct arena *a, struct str token, rev_t *ret_rev, struct str *ret_ns,
                   struct str *ret_name) MUST_CHECK;
