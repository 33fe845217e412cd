/* What a watch is told first: the objects that are there, as events, and the mark behind them.
 *
 * Watchers come in crowds (all nodes after a restart of the server), and those that ask for the
 * same with no selectors in one moment are told the same: one state serves them all, so that each
 * of them costs nothing that grows with the number of objects. Core thread. */
#pragma once

#include "apiserver/internal.h"

struct watch_state {
    unsigned refs;
    const struct schema_kind *kind; /* counted, if custom */
    struct str ns;                  /* owned; none: all */
    bool marked;                    /* the last event is the bookmark that ends initial events */
    rev_t rev;                      /* they are as of it */
    struct client_event *events;    /* owned; references of their objects too */
    size_t n;
};

/* Takes the references in `objects`, not the array. */
struct watch_state *watch_state_new(const struct schema_kind *kind, struct str ns, rev_t rev,
                                    bool marked, struct object *const *objects, size_t n);
struct watch_state *watch_state_ref(struct watch_state *t);
struct watch_state *watch_state_unref(struct watch_state *t); /* takes NULL; returns NULL */

/* The latest large one, kept for a second after its last use. */
struct watch_recent;
struct watch_recent *watch_recent_new(struct rt *rt);
struct watch_recent *watch_recent_free(struct watch_recent *r); /* takes NULL; returns NULL */
void watch_recent_keep(struct watch_recent *r, struct watch_state *t);
/* A reference; NULL: none of that kind, namespace and revision. */
struct watch_state *watch_recent_get(struct watch_recent *r, const struct schema_kind *kind,
                                     struct str ns, rev_t rev, bool marked);
