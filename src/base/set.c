/* See set.h. The map holds the first few as well once it is in use: one place to look. */
#include "base/set.h"

static char present; /* what the map's values point to */

void set_fini(struct set *s)
{
    map_fini(&s->many);
    arena_fini(&s->copies);
    s->n = 0;
}

bool set_has(const struct set *s, struct str key)
{
    if (s->many.n)
        return map_get(&s->many, key) != NULL;
    for (uint32_t i = 0; i < s->n; i++)
        if (str_eq(s->few[i], key))
            return true;
    return false;
}

/* key is known not to be there. */
static void put(struct set *s, struct str key)
{
    if (s->n < SET_FEW) {
        s->few[s->n++] = key;
        return;
    }
    if (!s->many.n)
        for (uint32_t i = 0; i < s->n; i++)
            (void)map_set(&s->many, s->few[i], &present);
    (void)map_set(&s->many, key, &present);
}

bool set_add(struct set *s, struct str key)
{
    if (s->many.n)
        return map_set(&s->many, key, &present) == NULL;
    if (set_has(s, key))
        return false;
    put(s, key);
    return true;
}

bool set_add_copy(struct set *s, struct str key)
{
    if (set_has(s, key))
        return false;
    put(s, arena_str(&s->copies, key));
    return true;
}
