/* The rights somebody lacks to grant a role, as a Kubernetes server tells them: one line for a
 * resource (of a name, of a path), with all verbs that are missing. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

#define RBAC_MISSING_ROWS 256  /* lines; more are not told */
#define RBAC_MISSING_ALL  4096 /* verbs in them: what is looked for on the core thread */

struct rbac_missing {
    struct arena *a;
    struct rbac_missing_row {
        struct str head;
        struct buf verbs;
    } rows[RBAC_MISSING_ROWS];
    size_t n, left; /* left: how many more verbs it takes; 0: it is full */
};

void rbac_missing_init(struct rbac_missing *m, struct arena *a);
/* name absent: of any name. False: it is full. */
bool rbac_missing_resource(struct rbac_missing *m, struct str group, struct str resource,
                           struct str name, struct str verb);
bool rbac_missing_path(struct rbac_missing *m, struct str path, struct str verb);
/* Sorted lines, in m's arena; empties m. */
struct str rbac_missing_take(struct rbac_missing *m);
