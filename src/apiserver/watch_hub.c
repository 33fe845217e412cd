/* See watch_hub.h. A hub lives as long as it has members; its store watch starts at the newest
 * revision, so a watch joins when it has caught up with the hub. */
#include "apiserver/watch_hub.h"

struct hub_key {
    struct hub *hub;
    char *text;
    struct list members;
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
    struct hub *v[_KIND_MAX][HUB_NODE + 1]; /* owned; NULL: none */
};

static void hub_free_if_empty(struct hub *h)
{
    if (h->busy || h->keys.n)
        return;
    store_watch_stop(&h->watch);
    h->hubs->v[h->kind->id][h->by] = NULL;
    map_fini(&h->keys);
    free(h);
}

void hub_leave(struct hub_member *m)
{
    struct hub_key *k = m->key;
    if (!k)
        return;
    struct hub *h = k->hub;
    m->key = NULL;
    list_remove(&m->link);
    list_remove(&m->touched);
    free(m->batch);
    m->batch = NULL;
    m->n = m->cap = 0;
    if (!list_empty(&k->members))
        return;
    map_remove(&h->keys, str_z(k->text));
    free(k->text);
    free(k);
    hub_free_if_empty(h);
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
    struct hub_member *m;
    if (!k)
        return;
    LIST_FOR_EACH (m, &k->members, link) {
        ARRAY_RESERVE(m->batch, m->n, m->cap);
        m->batch[m->n++] = *e;
        if (!list_linked(&m->touched))
            list_push_back(touched, &m->touched);
    }
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
        struct hub_member *m = LIST_FIRST(&touched, struct hub_member, touched);
        list_remove(&m->touched);
        struct store_event *batch = m->batch; /* the member may be gone after its call */
        size_t k = m->n;
        m->batch = NULL;
        m->n = m->cap = 0;
        h->hubs->deliver(m, batch, k);
        free(batch);
    }
    h->busy = false;
    hub_free_if_empty(h);
}

static struct hub *hub_get(struct hubs *hs, const struct schema_kind *kind, enum hub_by by)
{
    struct hub *h = hs->v[kind->id][by];
    struct store *st = hs->server->store;
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
    hs->v[kind->id][by] = h;
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
        map_set(&h->keys, (struct str){k->text, key.n}, k);
    }
    m->key = k;
    list_init(&m->touched);
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
    free(h); /* without members there are no hubs */
    return NULL;
}
