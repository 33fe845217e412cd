/* What the files of the store's front share. */
#pragma once

#include "base/map.h"
#include "store/backend.h"
#include "store/index.h"
#include "store/window.h"

#define STORE_WINDOW_EVENTS 16384u      /* ~ a quarter of an hour of a busy small cluster */
#define STORE_WINDOW_BYTES  (32u << 20) /* replaced states kept alive for watches */
#define STORE_QUEUE_WRITES  16384u      /* more than any disk commits in a second */
#define STORE_QUEUE_BYTES   ((uint64_t)256 << 20)
#define STORE_BATCH_WRITES  4096u /* keeps one commit short */
#define STORE_BATCH_BYTES   (16u << 20)

/* A write from its acceptance until its callback has run. */
struct write {
    struct write *next;
    struct store_kind *k;
    struct object *obj; /* owned; after; for a delete: as it was, with the delete's revision */
    store_done_fn done;
    void *arg;
    bool is_delete;
    uint16_t key_len;
    char key[]; /* namespace, NUL, name */
};

struct write_list {
    struct write *head, **tail;
    size_t n;
    uint64_t bytes;
};

/* The watches of one namespace of one kind. */
struct watch_group {
    struct list watches;
    struct store_event *batch; /* owned; scratch of the delivery under way */
    size_t n, cap;
    uint32_t ns_len;
    char ns[];
};

struct store_kind {
    const struct schema_kind *kind;
    struct index index; /* durable */
    struct window_kind events;
    struct map pending;              /* key -> newest struct write not yet durable */
    struct list watches;             /* of all namespaces */
    struct map groups;               /* namespace -> struct watch_group */
    struct store_kind *next_touched; /* of the batch being applied */
    bool touched;
};

/* A record found at open whose kind was not known yet. */
struct orphan {
    struct orphan *next;
    rev_t rev;
    bool is_json;
    struct str resource, ns, name, version, bytes; /* behind it */
};

struct store {
    struct rt *rt;
    struct store_backend *backend; /* owned */
    struct store_kind **kinds;     /* owned; by schema_kind.id; NULL: not used yet */
    size_t n_kinds;
    struct orphan *orphans; /* owned */
    struct window window;
    rev_t rev;         /* newest durable */
    rev_t rev_pending; /* newest accepted */
    char cluster_id[STORE_CLUSTER_ID_LEN + 1];
    struct write_list queue, flight;
    struct store_op *ops; /* owned; of the batch under way */
    size_t cap_ops;
    struct store_batch batch;
    struct rt_task commit_task, catchup_task, close_task;
    struct list catchup; /* watches that have missed events */
    unsigned queue_writes_max;
    bool committing, failed, closing, in_callbacks;
    void (*closed)(void *arg);
    void *closed_arg;
    uint64_t writes, batches, object_bytes, n_watches, unknown_records;
    nsec_t commit_nsec, commit_started;
    size_t sweep_kind;
    struct index_pos sweep_pos;
    rev_t sweep_rev; /* the hand over the window */
    nsec_t sweep_last;
};

struct store_kind *store_kind_of(struct store *s, const struct schema_kind *kind); /* makes it */
struct store_kind *store_kind_peek(const struct store *s,
                                   const struct schema_kind *kind); /* or NULL */
void store_kind_free(struct store_kind *k);

/* commit.c */
void store_commit_start(void *arg); /* of the store, as a task: hands the queue to the backend */
void store_writes_init(struct write_list *l);
void store_writes_push(struct write_list *l, struct write *w);
struct write *store_writes_pop(struct write_list *l); /* NULL: empty */
/* Takes all writes off the two queues and falls back to the durable state. */
struct write_list store_writes_take_all(struct store *s);
void store_writes_fail(struct write_list *l, int r, const struct error *err);
void store_write_free(struct write *w);

/* load.c */
void store_orphans_free(struct store *s);
int store_load_record(void *arg, const struct store_record *rec, struct error *err);

/* watch.c */
void store_catch_up(struct store *s); /* delivers missed events */
void store_deliver(struct store *s, struct store_kind *k,
                   rev_t before); /* events with rev > before */
void store_watches_detach(struct store *s);
