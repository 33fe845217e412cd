/* See pod_index.h: node -> pods by namespace and name, kept by a watch. */
#include "apiserver/pod_index.h"

struct node_pods {
    char *node;
    struct map pods; /* "ns/name" -> struct pod_entry */
};

struct pod_entry {
    char *key;
    struct object *object; /* owned reference */
};

struct pod_index {
    struct apiserver *server;
    struct map nodes; /* name -> struct node_pods */
    struct store_watch watch;
};

static struct str pod_key(const struct object *o, char *buf, size_t n)
{
    int len = snprintf(buf, n, "%.*s/%.*s", STR_ARG(object_ns(o)), STR_ARG(object_name(o)));
    return (struct str){buf, MIN((size_t)len, n - 1)};
}

static struct str node_of(const struct object *o)
{
    return OBJECT_MSG(o, api_pod)->spec.node_name;
}

static void entry_free(struct pod_entry *e)
{
    object_unref(e->object);
    free(e->key);
    free(e);
}

static void drop(struct pod_index *x, const struct object *o)
{
    char buf[400];
    struct node_pods *n = map_get(&x->nodes, node_of(o));
    struct pod_entry *e = n ? map_remove(&n->pods, pod_key(o, buf, sizeof(buf))) : NULL;
    if (!e)
        return;
    entry_free(e);
    if (n->pods.n)
        return;
    map_remove(&x->nodes, str_z(n->node));
    map_fini(&n->pods);
    free(n->node);
    free(n);
}

static void add(struct pod_index *x, struct object *o)
{
    char buf[400];
    struct str node = node_of(o), key = pod_key(o, buf, sizeof(buf));
    if (!node.n)
        return;
    struct node_pods *n = map_get(&x->nodes, node);
    if (!n) {
        n = NEW(struct node_pods);
        n->node = str_dup(node);
        map_set(&x->nodes, str_z(n->node), n);
    }
    struct pod_entry *e = map_get(&n->pods, key);
    if (!e) {
        e = NEW(struct pod_entry);
        e->key = str_dup(key);
        map_set(&n->pods, str_z(e->key), e);
    } else {
        object_unref(e->object);
    }
    e->object = object_ref(o);
}

static void on_pods(void *arg, const struct store_event *events, size_t n)
{
    struct pod_index *x = arg;
    for (size_t i = 0; i < n; i++) {
        const struct store_event *e = &events[i];
        if (e->type == STORE_EVENT_DELETED) {
            drop(x, e->prev ? e->prev : e->object);
            continue;
        }
        if (e->prev && !str_eq(node_of(e->prev), node_of(e->object)))
            drop(x, e->prev);
        add(x, e->object);
    }
}

void pod_index_walk(struct pod_index *x, struct str node, bool (*fn)(void *arg, struct object *pod),
                    void *arg)
{
    struct node_pods *n = node.n ? map_get(&x->nodes, node) : NULL;
    for (struct map_slot *s = NULL; n && (s = map_next(&n->pods, s));)
        if (!fn(arg, ((struct pod_entry *)s->value)->object))
            return;
}

size_t pod_index_count(const struct pod_index *x, struct str node)
{
    const struct node_pods *n = node.n ? map_get(&x->nodes, node) : NULL;
    return n ? n->pods.n : 0;
}

struct pod_index *pod_index_new(struct apiserver *s)
{
    struct pod_index *x = NEW(struct pod_index);
    struct store_iter it;
    x->server = s;
    int r = store_iter_init(&it, s->store, KIND(POD), STR_NONE, 0, STR_NONE, STR_NONE);
    ASSERT(r >= 0);
    for (struct object *o; (o = store_iter_next(&it));)
        add(x, o);
    store_iter_fini(&it);
    r = store_watch_start(&x->watch, s->store, KIND(POD), STR_NONE, store_rev(s->store), on_pods,
                          x);
    ASSERT(r >= 0);
    return x;
}

struct pod_index *pod_index_free(struct pod_index *x)
{
    if (!x)
        return NULL;
    store_watch_stop(&x->watch);
    for (struct map_slot *s = NULL; (s = map_next(&x->nodes, s));) {
        struct node_pods *n = s->value;
        for (struct map_slot *p = NULL; (p = map_next(&n->pods, p));)
            entry_free(p->value);
        map_fini(&n->pods);
        free(n->node);
        free(n);
    }
    map_fini(&x->nodes);
    free(x);
    return NULL;
}
