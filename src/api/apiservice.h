/* APIService: who serves a version of an API group. Rules that are no data, and what is true of a
 * whole cluster: the places of the groups that are built in. */
#pragma once

#include "api/hooks.h"

/* Says that the server made it: "onstart" (built-in groups: only put back by a start) or "true"
 * (custom kinds: put back at once, taken away with the last kind). */
#define APISERVICE_MANAGED         "kube-aggregator.kubernetes.io/automanaged"
#define APISERVICE_MANAGED_ONSTART "onstart"
#define APISERVICE_MANAGED_ALWAYS  "true"

#define APISERVICE_CUSTOM_GROUP_PRIORITY   1000
#define APISERVICE_CUSTOM_VERSION_PRIORITY 100

extern const struct api_hooks apiservice_hooks;

/* "VERSION.GROUP" in a; the legacy group is "v1.". */
struct str apiservice_name(struct str group, struct str version, struct arena *a);
/* The places a built-in version has. A group without a row comes last. */
void apiservice_priorities(struct str group, struct str version, int32_t *ret_group,
                           int32_t *ret_version);
/* Sets the condition Available; the time only moves when the status changes. True: something of the
 * list is another than before. *v lives in a. */
bool apiservice_set_available(struct api_apiservice *s, bool available, const char *reason,
                              struct str message, usec_t now, struct arena *a);
bool apiservice_is_available(const struct api_apiservice *s);
/* Order of discovery within a group: priority, then maturity of the version. */
int apiservice_version_cmp(int32_t priority_a, struct str version_a, int32_t priority_b,
                           struct str version_b);
