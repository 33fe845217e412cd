/* Event recorder: tells people what happened to an object, as core Events. Repeats are counted up
 * in one Event (series by object, type, reason and message), many different messages of one reason
 * are folded into "(combined from similar events): ...", and an object that never stops complaining
 * is rate limited. Recording never fails and never waits: an Event that cannot be written is
 * dropped. One loop's thread. */
#pragma once

#include "client/client.h"

#define EVENT_NORMAL  "Normal"
#define EVENT_WARNING "Warning"

struct event_recorder;

/* component: "deployment-controller"; host: the node it runs on, or NULL. Both are copied. c is
 * borrowed. */
struct event_recorder *event_recorder_new(struct client *c, const char *component,
                                          const char *host);
/* Calls under way are forgotten: free the client before the loop runs again. Takes NULL; returns
 * NULL. */
struct event_recorder *event_recorder_free(struct event_recorder *r);

/* meta: of the object, whose kind is given. reason: CamelCase. */
void event_record(struct event_recorder *r, const struct schema_kind *kind,
                  const struct api_object_meta *meta, const char *type, const char *reason,
                  const char *fmt, ...) PRINTF(6, 7);
/* The same about a part of an object, such as one container of a pod ("spec.containers{web}"). */
void event_record_ref(struct event_recorder *r, const struct api_object_reference *ref,
                      const char *type, const char *reason, const char *fmt, ...) PRINTF(5, 6);
/* Recorded, sent (created or counted up), dropped by the rate limit or failed. */
struct event_stats {
    uint64_t recorded, sent, dropped;
};
struct event_stats event_recorder_stats(const struct event_recorder *r);
