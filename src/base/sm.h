/* Table-checked state machine: each state is a row {name, flags, allowed next}; a move that the
 * table does not allow is a bug and aborts, every move is traced. */
#pragma once

#include "base/base.h"

#define SM_INITIAL 1u /* may be entered by sm_init */
#define SM_FINAL   2u /* nothing follows */

struct sm_state {
    const char *name;
    unsigned flags;
    uint64_t next; /* bit mask of states that may follow */
};

struct sm {
    const struct sm_state *table; /* borrowed, static */
    int n_states;
    int state;
    const char *what; /* borrowed: "pod", for traces */
    uint64_t id;
};

#define SM_TO(s) (UINT64_C(1) << (s))

void sm_init(struct sm *m, const struct sm_state *table, int n_states, int state, const char *what,
             uint64_t id);
void sm_move(struct sm *m, int state);
bool sm_may_move(const struct sm *m, int state);
bool sm_is_final(const struct sm *m);
const char *sm_name(const struct sm *m);
