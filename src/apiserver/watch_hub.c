/* See watch_hub.h. A hub lives as long as it has members; its store watch starts at the newest
 * revision, so a watch joins when it has caught up with the hub. */
#include "apiserver/watch_hub.h"

struct hub_key {
    struct hub *hub;
    char *text;
    struct list members;
    struct list touched; /* while events are handed out: not freed meanwhile */
    struct store_event *batch;
    size_t n, cap;
};

struct hub {
    struct hubs *hubs;
    const struct schema_kind *kind; /* storage kind */
    enum hub_by by;
    struct store_watch watch;
    struct map keys; /* value -> struct hub_key */
    bool busy;       /* handing out: not freed meanwhile */
};

struct hubs {
    struct apiserver *server;
    hub_deliver_fn deliver;
    struct hub_row {                  /* of one kind */
        struct hub *by[HUB_NODE + 1]; /* owned; NULL: none */
    } * rows;                         /* by number of the stored kind */
    size_t n;
};

static void hub_free_if_empty(struct hub *h)
{
    if (h->busy || h->keys.n)
        return;
    store_watch_stop(&h->watch);
    h->hubs->rows[h->kind->id].by[h->by] = NULL;
    map_fini(&h->keys);
    free(h);
}

static void key_free_if_empty(struct hub_key *k)
{
    if (list_linked(&k->touched) || k->n || !list_empty(&k->members))
        return;
    struct hub *h = k->hub;
    map_remove(&h->keys, str_z(k->text));
    free(k->batch);
    free(k->text);
    free(k);
    hub_free_if_empty(h);
}

void hub_leave(struct hub_member *m)
{
    struct hub_key *k = m->key;
    if (!k)
        return;
    m->key = NULL;
    list_remove(&m->link);
    key_free_if_empty(k);
}

static struct str key_of(const struct hub *h, const struct object *o)
{
    if (h->by == HUB_NODE)
        return OBJECT_MSG(o, api_pod)->spec.node_name;
    return object_name(o);
}

static void touch(struct hub *h, struct str key, const struct store_event *e, struct list *touched)
{
    struct hub_key *k = key.n ? map_get(&h->keys, key) : NULL;
    if (!k)
        return;
    ARRAY_RESERVE(k->batch, k->n, k->cap);
    k->batch[k->n++] = *e;
    if (!list_linked(&k->touched))
        list_push_back(touched, &k->touched);
}

/* A member may leave, and new ones join, in the callback: see store/watch.c. */
static void hand_out(struct hub *h, struct hub_key *k)
{
    struct list todo;
    size_t n = k->n; /* not 0: the key stays */
    if (!list_empty(&k->members)) {
        list_insert_after(&k->members, &todo);
        list_remove(&k->members);
        while (!list_empty(&todo)) {
            struct hub_member *m = LIST_FIRST(&todo, struct hub_member, link);
            list_remove(&m->link);
            list_push_back(&k->members, &m->link);
            h->hubs->deliver(m, k->batch, n);
        }
    }
    k->n = 0;
    key_free_if_empty(k);
}

static void on_events(void *arg, const struct store_event *events, size_t n)
{
    struct hub *h = arg;
    struct list touched;
    list_init(&touched);
    for (size_t i = 0; i < n; i++) {
        const struct store_event *e = &events[i];
        struct str now = key_of(h, e->object), before = e->prev ? key_of(h, e->prev) : now;
        touch(h, now, e, &touched);
        if (!str_eq(now, before))
            touch(h, before, e, &touched);
    }
    h->busy = true;
    while (!list_empty(&touched)) {
        struct hub_key *k = LIST_FIRST(&touched, struct hub_key, touched);
        list_remove(&k->touched);
        hand_out(h, k);
    }
    h->busy = false;
    hub_free_if_empty(h);
}

static struct hub *hub_get(struct hubs *hs, const struct schema_kind *kind, enum hub_by by)
{
    struct store *st = hs->server->store;
    struct hub *h;
    if (kind->id >= hs->n) {
        size_t n = (size_t)kind->id + 16;
        hs->rows = xrealloc(hs->rows, n * sizeof(*hs->rows));
        memset(hs->rows + hs->n, 0, (n - hs->n) * sizeof(*hs->rows));
        hs->n = n;
    }
    h = hs->rows[kind->id].by[by];
    if (h)
        return h;
    h = NEW(struct hub);
    h->hubs = hs;
    h->kind = kind;
    h->by = by;
    if (store_watch_start(&h->watch, st, kind, STR_NONE, store_rev(st), on_events, h) < 0) {
        free(h);
        return NULL;
    }
    hs->rows[kind->id].by[by] = h;
    return h;
}

bool hub_join(struct hubs *hs, struct hub_member *m, const struct schema_kind *kind, enum hub_by by,
              struct str key, rev_t seen)
{
    ASSERT(!m->key && by != HUB_NONE && key.n);
    struct hub *h = hub_get(hs, kind, by);
    if (!h || seen < h->watch.sent) {
        if (h)
            hub_free_if_empty(h);
        return false;
    }
    struct hub_key *k = map_get(&h->keys, key);
    if (!k) {
        k = NEW(struct hub_key);
        k->hub = h;
        k->text = str_dup(key);
        list_init(&k->members);
        list_init(&k->touched);
        map_set(&h->keys, (struct str){k->text, key.n}, k);
    }
    m->key = k;
    list_push_back(&k->members, &m->link);
    return true;
}

void hubs_on_deliver(struct hubs *h, hub_deliver_fn fn)
{
    h->deliver = fn;
}

struct hubs *hubs_new(struct apiserver *s)
{
    struct hubs *h = NEW(struct hubs);
    h->server = s;
    return h;
}

struct hubs *hubs_free(struct hubs *h)
{
    if (h)
        free(h->rows); /* without members there are no hubs */
    free(h);
    return NULL;
}
