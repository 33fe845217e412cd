/* Lifecycles (pod, container, connection, watch) go wrong by moves nobody thought of. Writing the
 * allowed moves down as data makes the diagram reviewable and an illegal move loud. */
#include "base/sm.h"
#include "base/trace.h"

#include <stdio.h>

void sm_init(struct sm *m, const struct sm_state *table, int n_states, int state, const char *what,
             uint64_t id)
{
    ASSERT(n_states > 0 && n_states <= 64 && state >= 0 && state < n_states);
    ASSERT(table[state].flags & SM_INITIAL);
    *m = (struct sm){table, n_states, state, what, id};
}

bool sm_may_move(const struct sm *m, int state)
{
    return state >= 0 && state < m->n_states && (m->table[m->state].next & SM_TO(state));
}

void sm_move(struct sm *m, int state)
{
    if (!sm_may_move(m, state)) {
        fprintf(stderr, "davit: BUG: %s %llx: illegal move %s -> %s\n", m->what,
                (unsigned long long)m->id, m->table[m->state].name,
                state >= 0 && state < m->n_states ? m->table[state].name : "?");
        abort();
    }
    trace("%s %llx: %s -> %s", m->what, (unsigned long long)m->id, m->table[m->state].name,
          m->table[state].name);
    m->state = state;
}

bool sm_is_final(const struct sm *m)
{
    return m->table[m->state].flags & SM_FINAL;
}

const char *sm_name(const struct sm *m)
{
    return m->table[m->state].name;
}
