/* Where a batch becomes durable: a frame appended to one of two files and one fdatasync. The
 * database takes the writes over later, many at a time (a checkpoint); a file whose writes have all
 * been taken over is used again from its start.
 *
 * Invariants: frames of one life follow each other without gaps in revision; a frame never shares a
 * 4 KiB block with another; `checked` is the revision up to which the database holds everything. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#define JOURNAL_FILE_0 "journal.0"
#define JOURNAL_FILE_1 "journal.1"

struct journal_file {
    int fd;          /* -1: not there yet */
    uint64_t offset; /* of the next frame */
    rev_t last;      /* newest revision in it; 0: none */
};

struct journal {
    struct journal_file files[2];
    unsigned active;
    uint64_t salt; /* secret of this store: what a client wrote cannot pass for a frame */
    rev_t checked;
    struct buf frame; /* being made */
    uint32_t n_ops;
};

/* One write, as found in a frame. value absent: a delete. */
typedef int (*journal_fn)(void *arg, struct str key, struct str value);

/* Opens what is there; creates nothing. */
int journal_open(struct journal *j, int dir_fd, uint64_t salt, rev_t checked,
                 struct error *err) MUST_CHECK;
/* Calls fn for each write behind `checked`, oldest first. A last frame that was cut off by a crash
 * is the end; a hole before the end is damage: -EBADMSG, and fn may have been called. *ret_rev: the
 * newest. */
int journal_replay(struct journal *j, journal_fn fn, void *arg, rev_t *ret_rev,
                   struct error *err) MUST_CHECK;
/* Makes the files that are missing. After journal_replay. */
int journal_make(struct journal *j, int dir_fd, struct error *err) MUST_CHECK;
/* The database holds all: empties the files, at the very end. */
void journal_clear(struct journal *j);
void journal_close(struct journal *j);

/* A frame: begin, add..., commit. On a worker; commit blocks. 0; -errno: refused, nothing was kept;
 * with *ret_unknown: it may have been. value absent: a delete. */
void journal_begin(struct journal *j);
void journal_add(struct journal *j, struct str key, struct str value);
int journal_commit(struct journal *j, rev_t first, rev_t last, bool *ret_unknown) MUST_CHECK;

/* Between frames, on the loop. */
void journal_checked(struct journal *j, rev_t rev); /* a checkpoint up to rev is durable */
bool journal_try_switch(struct journal *j);         /* to the other file, if that one is free */
/* Empties file i if it holds nothing that is needed; false: it does, or that failed. */
bool journal_wipe_free(struct journal *j, unsigned i);
uint64_t journal_active_bytes(const struct journal *j);
