/* The store: every object of the cluster by kind, namespace and name, with one global revision
 * counter, optimistic preconditions and gap-free watches. Runs on the core loop's thread only.
 *
 * Invariants
 * - A write is checked against the pending state (all writes accepted before it), queued, and made
 *   durable by the backend in batches; its callback runs once, after it is durable or has failed,
 *   never from inside the call that started it. If a batch fails, it and everything queued behind
 *   it fails, and the pending state falls back to the durable one.
 * - store_get/list/watch show the durable state only; store_peek shows the pending one. So what a
 *   client was told is never taken back, and read-modify-write inside one turn of the loop cannot
 *   conflict.
 * - When a batch is durable its events go to the watches first, then the writes' callbacks run, in
 *   order of revision: whoever is called back finds the caches up to date.
 * - Revisions grow by one per write over the whole store; a deleted object's last event carries
 *   the revision of the delete. store_rev is the newest durable one.
 * - A watch sees each event of its kind with rev > from_rev exactly once, in order, in batches.
 * - Reads never touch the disk.
 * Backends (store/backend.h): store_mem, store_lmdb; one vtable. */
#pragma once

#include "api/object.h"
#include "base/error.h"
#include "base/list.h"
#include "rt/rt.h"

struct store;
struct store_backend;

struct store_opts {
    unsigned watch_window_events; /* 0: default; how many events can be replayed before 410 */
    unsigned queue_writes_max;    /* 0: default; more pending writes -> REASON_TOO_MANY_REQUESTS */
    uint64_t watch_window_bytes;  /* 0: default; of replaced states kept for those events */
};

/* Opens, checks and loads. On failure *err says what is wrong with the data directory and how to go
 * on; the directory is untouched then. backend is taken over. */
int store_open(struct rt *rt, struct store_backend *backend, const struct store_opts *opts,
               struct store **ret, struct error *err) MUST_CHECK;
/* Records were found at open whose kinds nobody knew then: those of this kind (which is declared at
 * run time) become objects now. Before anything is written to the kind. What cannot be read stays
 * on disk; the last such failure is returned. */
int store_adopt(struct store *s, const struct schema_kind *kind, struct error *err) MUST_CHECK;
/* Waits for nothing: pending writes fail with -ECANCELED after the batch under way has ended; done
 * runs then. */
void store_close(struct store *s, void (*done)(void *arg), void *arg);

/* Whoever waits for writes under way is going: none of them is answered any more. They are written
 * all the same. Not from inside a callback of the store. */
void store_forget_writes(struct store *s);

/* Frees the store at once, as if the process had died: no callback comes any more, writes under way
 * may or may not be found later. For crashes in the simulator; not from inside a callback of the
 * store. */
void store_abandon(struct store *s);
/* True after a commit failed in such a way that nobody knows whether it was kept: reads go on,
 * writes fail with REASON_UNAVAILABLE until the store is opened again. */
bool store_failed(const struct store *s);

rev_t store_rev(const struct store *s);
/* Random UUID made when the store was first created; names the cluster. */
struct str store_cluster_id(const struct store *s);

/* Borrowed, valid until the loop's next turn (object_ref to keep). NULL when there is none. ns is
 * empty for cluster-scoped kinds. */
struct object *store_get(struct store *s, const struct schema_kind *kind, struct str ns,
                         struct str name);
struct object *store_peek(struct store *s, const struct schema_kind *kind, struct str ns,
                          struct str name);

/* Calls fn for each object of the pending state, in no order. No writes meanwhile. */
void store_peek_each(struct store *s, const struct schema_kind *kind,
                     void (*fn)(void *arg, struct object *o), void *arg);

/* r: 0 or -errno; obj: the object as stored (for deletes: as it was, with the delete's revision),
 * borrowed; NULL when r < 0. */
typedef void (*store_done_fn)(void *arg, int r, struct object *obj, const struct error *err);

/* Preconditions of a write, against the pending state. */
#define STORE_ABSENT ((rev_t)0)          /* must not exist (create) */
#define STORE_ANY    ((rev_t)UINT64_MAX) /* must exist, at any revision (update, delete) */

/* Writes msg (copied before return) under its metadata namespace and name with the next revision.
 * expected: STORE_ABSENT, STORE_ANY or a revision. -EEXIST, -ENOENT, -ESTALE, -EBUSY (queue full),
 * -ENOSPC (disk full, reads still work): then done is not called. 0: queued; done runs later
 * exactly once (may be NULL). */
int store_put(struct store *s, const struct schema_kind *kind, const void *msg, rev_t expected,
              store_done_fn done, void *arg, struct error *err) MUST_CHECK;
int store_delete(struct store *s, const struct schema_kind *kind, struct str ns, struct str name,
                 rev_t expected, store_done_fn done, void *arg, struct error *err) MUST_CHECK;

/* Ordered walk by (namespace, name) over the durable state, as of revision at (0: now). ns absent:
 * all namespaces. Starts behind (after_ns, after_name) when after_name is not empty. -ESPIPE (410
 * Expired): `at` has left the window. No writes to the store between init and the last next (walk
 * within one turn). */
struct store_iter {
    struct store *store;
    const struct schema_kind *kind;
    struct str ns;
    rev_t at;
    void *pos, *past; /* private */
    struct arena arena;
};
int store_iter_init(struct store_iter *it, struct store *s, const struct schema_kind *kind,
                    struct str ns, rev_t at, struct str after_ns, struct str after_name) MUST_CHECK;
struct object *store_iter_next(struct store_iter *it); /* borrowed; NULL at the end */
/* How many next would still give; without walking them. */
size_t store_iter_left(const struct store_iter *it);
void store_iter_fini(struct store_iter *it);
size_t store_count(struct store *s, const struct schema_kind *kind); /* all namespaces */

enum store_event_type {
    STORE_EVENT_ADDED,
    STORE_EVENT_MODIFIED,
    STORE_EVENT_DELETED,
    _STORE_EVENT_MAX,
    _STORE_EVENT_INVALID = -EINVAL,
};

struct store_event {
    enum store_event_type type;
    rev_t rev;
    struct object *object; /* after; for DELETED: the last state with the delete's revision */
    struct object *prev;   /* before; NULL for ADDED */
};

/* A batch of events, all of the watch's kind (and namespace), borrowed. Called once per turn of the
 * loop at most. */
typedef void (*store_watch_fn)(void *arg, const struct store_event *events, size_t n);

struct store_watch { /* caller's memory */
    struct list node;
    struct store *store;
    const struct schema_kind *kind;
    struct str ns; /* borrowed from the caller; absent: all */
    rev_t sent;    /* everything up to here was delivered */
    store_watch_fn fn;
    void *arg;
};

/* Events with rev > from_rev (from_rev == store_rev: only new ones). -ESPIPE: from_rev has left the
 * window; -EINVAL: from_rev lies in the future. Missed events come on a later turn, never from
 * inside the call. */
int store_watch_start(struct store_watch *w, struct store *s, const struct schema_kind *kind,
                      struct str ns, rev_t from_rev, store_watch_fn fn, void *arg) MUST_CHECK;
void store_watch_stop(struct store_watch *w); /* idempotent; callable from inside fn */
/* For whoever indexes watches himself (one store_watch for a kind, many readers behind it): the
 * kind's events with rev > from_rev, all namespaces, as one array, borrowed until the loop's next
 * turn. Errors as above. */
int store_events_since(struct store *s, const struct schema_kind *kind, rev_t from_rev,
                       const struct store_event **ret, size_t *ret_n) MUST_CHECK;
/* The newest revision all watches have been told about ("bookmark"): equals store_rev between
 * turns. */

struct store_stats {
    uint64_t writes, batches, fsync_nsec, objects, object_bytes, json_bytes, watches, pending;
    uint64_t window_bytes;    /* replaced states kept for watches */
    uint64_t unknown_records; /* on disk, of kinds that are not served */
    uint64_t disk_bytes;      /* of the backend's file; 0 in memory */
    rev_t compacted;          /* oldest revision a watch may start from */
};
void store_stats(const struct store *s,
                 struct store_stats *ret); /* cheap; json_bytes is an estimate */
