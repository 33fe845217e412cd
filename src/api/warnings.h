/* What an object says that is no error and yet hardly meant: deprecated names, definitions that
 * hide each other, fields without effect. Clients print these as "Warning: ..." (RFC 9110 withdrew
 * the header, Kubernetes has it: code 299). Words and paths are those of Kubernetes (pkg/api/pod,
 * pkg/api/service and the kinds' strategies).
 *
 * Pure; any thread. */
#pragma once

#include "base/arena.h"
#include "base/str.h"
#include "schema/desc.h"

struct warnings {
    struct arena *a; /* borrowed; holds the texts */
    struct str *v;
    uint32_t n;
};

/* msg is valid; old: what it was, NULL for a new object. What an update leaves as it was is not
 * warned of again. */
void api_warnings(const struct schema_kind *k, const void *msg, const void *old,
                  struct warnings *w);
