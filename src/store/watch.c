/* Telling watches. Watches hang on their kind, and those of one namespace on a group of their kind,
 * so a batch costs what its kinds' watches cost and the rest of the cluster nothing. All watches of
 * all namespaces get the very same array (a run of the window's queue); a group's array is filtered
 * once for the whole group.
 *
 * Callbacks may stop any watch and start new ones. A delivery therefore first moves the list aside
 * and takes watches from it one by one: a stopped watch simply is no longer there, a new one is not
 * in it. */
#include "store/internal.h"
#include "base/mem.h"

static struct watch_group *group_get(struct store_kind *k, struct str ns)
{
    struct watch_group *g = map_get(&k->groups, ns);

    if (g)
        return g;
    g = xcalloc(1, sizeof(*g) + ns.n);
    list_init(&g->watches);
    g->ns_len = (uint32_t)ns.n;
    memcpy(g->ns, ns.p, ns.n);
    (void)map_set(&k->groups, (struct str){g->ns, g->ns_len}, g);
    return g;
}

static void group_free(struct watch_group *g)
{
    free(g->batch);
    free(g);
}

static void group_push(struct watch_group *g, const struct store_event *ev)
{
    ARRAY_RESERVE(g->batch, g->n, g->cap);
    g->batch[g->n++] = *ev;
}

/* Sends those of events[0..n) that w has not seen; all are of its kind and namespace. */
static void watch_send(struct store_watch *w, const struct store_event *events, size_t n,
                       rev_t upto)
{
    rev_t sent = w->sent;
    size_t from = 0;

    ASSERT(upto >= sent);
    w->sent = upto;
    while (from < n && events[from].rev <= sent)
        from++;
    if (from < n)
        w->fn(w->arg, events + from, n - from);
}

static void deliver_list(struct list *watches, const struct store_event *events, size_t n,
                         rev_t upto)
{
    struct list todo;

    if (list_empty(watches))
        return;
    /* the whole list moves to `todo` */
    list_insert_after(watches, &todo);
    list_remove(watches);
    while (!list_empty(&todo)) {
        struct store_watch *w = LIST_FIRST(&todo, struct store_watch, node);
        list_remove(&w->node);
        list_push_back(watches, &w->node);
        watch_send(w, events, n, upto);
    }
}

static void deliver_groups(struct store *s, struct store_kind *k, const struct store_event *events,
                           size_t n)
{
    /* a callback may make a new group, which moves the map: the groups with events are gathered
     * first */
    struct watch_group **hit = NULL;
    size_t n_hit = 0, cap_hit = 0;

    for (size_t i = 0; i < n; i++) {
        struct watch_group *g = map_get(&k->groups, object_ns(events[i].object));
        if (!g)
            continue;
        if (!g->n) {
            ARRAY_RESERVE(hit, n_hit, cap_hit);
            hit[n_hit++] = g;
        }
        group_push(g, &events[i]);
    }
    for (size_t i = 0; i < n_hit; i++) {
        struct watch_group *g = hit[i];
        deliver_list(&g->watches, g->batch, g->n, s->rev);
        g->n = 0;
        if (list_empty(&g->watches)) {
            (void)map_remove(&k->groups, (struct str){g->ns, g->ns_len});
            group_free(g);
        } else if (g->cap > 4096) {
            free(g->batch);
            g->batch = NULL;
            g->cap = 0;
        }
    }
    free(hit);
}

void store_deliver(struct store *s, struct store_kind *k, rev_t before)
{
    size_t n;
    const struct store_event *events = window_since(&k->events, before, &n);

    deliver_list(&k->watches, events, n, s->rev);
    if (k->groups.n)
        deliver_groups(s, k, events, n);
}

/* ---- resuming ---- */

static void watch_link(struct store_watch *w)
{
    struct store_kind *k = store_kind_of(w->store, w->kind);

    if (str_empty(w->ns))
        list_push_back(&k->watches, &w->node);
    else
        list_push_back(&group_get(k, w->ns)->watches, &w->node);
}

static void catch_up_one(struct store_watch *w)
{
    struct store *s = w->store;
    struct store_kind *k = store_kind_of(s, w->kind);
    size_t n, n_mine = 0;
    const struct store_event *events = window_since(&k->events, w->sent, &n);
    struct store_event *mine = NULL;

    if (!str_empty(w->ns) && n) {
        mine = xmalloc(n * sizeof(*mine));
        for (size_t i = 0; i < n; i++)
            if (str_eq(object_ns(events[i].object), w->ns))
                mine[n_mine++] = events[i];
        events = mine;
        n = n_mine;
    }
    watch_send(w, events, n, s->rev);
    free(mine);
}

void store_catch_up(struct store *s)
{
    while (!list_empty(&s->catchup)) {
        struct store_watch *w = LIST_FIRST(&s->catchup, struct store_watch, node);
        list_remove(&w->node);
        watch_link(w);
        catch_up_one(w);
    }
}

static int check_rev(const struct store *s, rev_t from)
{
    if (from > s->rev)
        return -EINVAL;
    return from < s->window.compacted ? -ESPIPE : 0;
}

int store_events_since(struct store *s, const struct schema_kind *kind, rev_t from_rev,
                       const struct store_event **ret, size_t *ret_n)
{
    int r = check_rev(s, from_rev);

    if (r < 0)
        return r;
    *ret = window_since(&store_kind_of(s, kind)->events, from_rev, ret_n);
    return 0;
}

int store_watch_start(struct store_watch *w, struct store *s, const struct schema_kind *kind,
                      struct str ns, rev_t from_rev, store_watch_fn fn, void *arg)
{
    int r = check_rev(s, from_rev);

    if (r < 0)
        return r;
    *w = (struct store_watch){
        .store = s, .kind = kind, .ns = ns, .sent = from_rev, .fn = fn, .arg = arg};
    list_init(&w->node);
    if (from_rev == s->rev) {
        watch_link(w);
    } else {
        list_push_back(&s->catchup, &w->node);
        rt_task_schedule(&s->catchup_task);
    }
    s->n_watches++;
    return 0;
}

static void watch_unlink(struct store_watch *w)
{
    list_remove(&w->node);
    w->store->n_watches--;
    w->store = NULL;
}

void store_watch_stop(struct store_watch *w)
{
    struct store *s = w->store;
    struct store_kind *k;
    struct watch_group *g;

    if (!s)
        return;
    watch_unlink(w);
    if (str_empty(w->ns))
        return;
    /* clients choose namespaces: a group without watches must not stay. One being delivered to (n >
     * 0) is looked at afterwards */
    k = store_kind_of(s, w->kind);
    g = map_get(&k->groups, w->ns);
    if (g && !g->n && list_empty(&g->watches)) {
        (void)map_remove(&k->groups, (struct str){g->ns, g->ns_len});
        group_free(g);
    }
}

static void detach_list(struct list *watches)
{
    while (!list_empty(watches))
        watch_unlink(LIST_FIRST(watches, struct store_watch, node));
}

void store_watches_detach(struct store *s)
{
    detach_list(&s->catchup);
    for (size_t i = 0; i < s->n_kinds; i++) {
        struct store_kind *k = s->kinds[i];
        if (!k)
            continue;
        detach_list(&k->watches);
        for (struct map_slot *slot = NULL; (slot = map_next(&k->groups, slot));) {
            struct watch_group *g = slot->value;
            detach_list(&g->watches);
            group_free(g);
        }
        map_clear(&k->groups);
    }
}
