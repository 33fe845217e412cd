/* Inside the framework. */
#pragma once

#include "base/list.h"
#include "client/queue.h"
#include "controllers/controller.h"

struct mark { /* what a cache must have seen before the run is over */
    struct mark *next;
    const struct schema_kind *kind;
    struct str ns, name, uid;
    rev_t rev; /* 0: unknown */
    bool is_delete;
};

struct run {
    struct reconcile rc;
    struct list node; /* in running or waiting */
    struct arena memory;
    struct mark *marks;   /* in the arena */
    struct object **kept; /* owned references */
    size_t n_kept, cap_kept;
    struct list calls; /* of struct call: under way */
    unsigned n_calls;
    nsec_t again, answered;
    bool in_reconcile, failed;
};

struct controller {
    struct controllers *all;
    const struct controller_row *row;
    struct work_queue *queue;      /* owned */
    struct event_recorder *events; /* owned; made on first use */
    void *state;
};

struct controllers {
    struct client_shared *shared; /* borrowed */
    struct client *client;        /* borrowed */
    struct rt *rt;
    struct controllers_opts opts;
    struct controller *v; /* owned array */
    unsigned n;
    struct mapping *mappings;     /* owned */
    struct list running, waiting; /* of struct run */
    unsigned n_runs;
    struct rt_task check;
    struct rt_timer timer, sync_timer;
    bool synced;
};

static inline struct run *run_of(struct reconcile *rc)
{
    return CONTAINER_OF(rc, struct run, rc);
}
void run_settle(struct run *r);
void run_unlink_free(struct run *r);
/* The controllers go away, and the client with them: no call is answered any more. */
void run_drop_calls(struct run *r);
