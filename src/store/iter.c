/* Walks in key order, also over a past state. The state at revision `at` is the present one with
 * the events after `at` undone: for every key, what the first event after `at` replaced. Those few
 * are sorted and merged with the index on the way, so a page of a list costs the page plus what
 * changed since the first page. */
#include "store/internal.h"

struct undo {
    struct str ns, name;
    struct object *was; /* NULL: the key was not there */
    rev_t rev;
};

struct iter_state {
    struct index_pos pos;
    struct undo *undo; /* sorted by key, unique, from the start position on */
    size_t n, i;
};

static int undo_cmp(const void *a, const void *b)
{
    const struct undo *x = a, *y = b;
    int c = index_key_cmp(x->ns, x->name, y->ns, y->name);

    return c ? c : (x->rev > y->rev) - (x->rev < y->rev);
}

static bool iter_wants(const struct store_iter *it, struct str ns)
{
    return str_empty(it->ns) || str_eq(it->ns, ns);
}

static void undo_collect(struct store_iter *it, struct iter_state *st, const struct store_kind *k,
                         struct str after_ns, struct str after_name)
{
    size_t n, kept = 0;
    const struct store_event *events = window_since(&k->events, it->at, &n);

    if (!n)
        return;
    st->undo = ARENA_NEW_N(&it->arena, struct undo, n);
    for (size_t i = 0; i < n; i++) {
        struct str ns = object_ns(events[i].object), name = object_name(events[i].object);
        if (!iter_wants(it, ns) ||
            (after_name.n && index_key_cmp(ns, name, after_ns, after_name) <= 0))
            continue;
        st->undo[st->n++] = (struct undo){ns, name, events[i].prev, events[i].rev};
    }
    qsort(st->undo, st->n, sizeof(*st->undo), undo_cmp);
    for (size_t i = 0; i < st->n; i++) /* of each key only the oldest */
        if (!kept || index_key_cmp(st->undo[i].ns, st->undo[i].name, st->undo[kept - 1].ns,
                                   st->undo[kept - 1].name) != 0)
            st->undo[kept++] = st->undo[i];
    st->n = kept;
}

int store_iter_init(struct store_iter *it, struct store *s, const struct schema_kind *kind,
                    struct str ns, rev_t at, struct str after_ns, struct str after_name)
{
    struct store_kind *k = store_kind_of(s, kind);
    struct iter_state *st;

    if (at > s->rev)
        return -EINVAL;
    if (at && at < s->window.compacted)
        return -ESPIPE;
    *it = (struct store_iter){.store = s, .kind = kind, .ns = ns, .at = at ? at : s->rev};
    it->pos = st = ARENA_NEW(&it->arena, struct iter_state);
    if (after_name.n)
        st->pos = index_seek(&k->index, after_ns, after_name, true);
    else
        st->pos = index_seek(&k->index, ns, STR_NONE, false);
    if (it->at < s->rev)
        undo_collect(it, st, k, after_ns, after_name);
    return 0;
}

struct object *store_iter_next(struct store_iter *it)
{
    struct iter_state *st = it->pos;
    const struct index *ix = &store_kind_of(it->store, it->kind)->index;

    for (;;) {
        struct object *o = index_at(ix, st->pos);
        struct undo *u = st->i < st->n ? &st->undo[st->i] : NULL;
        int c;

        if (o && !iter_wants(it, object_ns(o)))
            o = NULL; /* one namespace is one run of the index */
        if (!o && !u)
            return NULL;
        c = !o ? 1 : !u ? -1 : index_key_cmp(object_ns(o), object_name(o), u->ns, u->name);
        if (c <= 0)
            st->pos = index_advance(ix, st->pos);
        if (c < 0)
            return o;
        st->i++;
        if (u->was)
            return u->was;
    }
}

size_t store_iter_left(const struct store_iter *it)
{
    const struct iter_state *st = it->pos;
    const struct index *ix = &store_kind_of(it->store, it->kind)->index;
    struct index_pos end = {ix->n_chunks, 0};
    size_t n, gone = 0;

    if (!str_empty(it->ns)) /* names are ASCII */
        end = index_seek(ix, it->ns, STR("\xff"), false);
    if (st->pos.chunk > end.chunk || (st->pos.chunk == end.chunk && st->pos.at >= end.at))
        n = 0; /* also for a walk that starts behind its namespace */
    else
        n = index_distance(ix, st->pos, end);
    for (size_t i = st->i; i < st->n; i++) {
        n += st->undo[i].was != NULL;
        gone += index_get(ix, st->undo[i].ns, st->undo[i].name) != NULL;
    }
    return n - gone;
}

void store_iter_fini(struct store_iter *it)
{
    arena_fini(&it->arena);
    *it = (struct store_iter){0};
}
