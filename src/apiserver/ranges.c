/* The pod range of a node (spec.podCIDR): within the cluster's, and nobody else's. Nodes propose
 * one that is free on their own host; that no two get the same is decided here, on the core thread.
 * (In Kubernetes a controller hands ranges out; it cannot know what else lives on a host.)
 *
 * Who has which is a table that follows the store by watch; between an accepted write and its event
 * the claim stands under the node's name, so two writes of one turn cannot get the same. The claim
 * of a write that failed stays until its node tries again: there are more ranges than failures. */
#include "apiserver/internal.h"

#include <sys/socket.h>

#include "sys/ip.h"

struct range {
    char *node; /* owned; key in ranges.by_node */
    struct ip_prefix prefix;
};

struct ranges {
    struct apiserver *server;
    struct map by_node;
    struct store_watch watch;
};

static void claim(struct ranges *r, struct str node, const struct ip_prefix *prefix)
{
    struct range *v = map_get(&r->by_node, node);
    if (!v) {
        v = NEW(struct range);
        v->node = str_dup(node);
        map_set(&r->by_node, str_z(v->node), v);
    }
    v->prefix = *prefix;
}

static void release(struct ranges *r, struct str node)
{
    struct range *v = map_remove(&r->by_node, node);
    if (v) {
        free(v->node);
        free(v);
    }
}

static void follow(struct ranges *r, const struct object *o)
{
    struct ip_prefix prefix;
    struct str text = OBJECT_MSG(o, api_node)->spec.pod_cidr;
    if (text.n && ip_prefix_parse(text, &prefix) == 0)
        claim(r, object_name(o), &prefix);
    else
        release(r, object_name(o));
}

/* What counts is the node as it will be: it may have been made anew, or been given its range, since
 * the event. */
static void on_nodes(void *arg, const struct store_event *events, size_t n)
{
    struct ranges *r = arg;
    for (size_t i = 0; i < n; i++) {
        const struct store_event *e = &events[i];
        if (e->type != STORE_EVENT_DELETED && e->prev &&
            str_eq(OBJECT_MSG(e->prev, api_node)->spec.pod_cidr,
                   OBJECT_MSG(e->object, api_node)->spec.pod_cidr))
            continue;
        struct object *now =
            store_peek(r->server->store, KIND(NODE), STR_NONE, object_name(e->object));
        if (now)
            follow(r, now);
        else
            release(r, object_name(e->object));
    }
}

struct ranges *ranges_new(struct apiserver *s)
{
    struct ranges *r = NEW(struct ranges);
    struct store_iter it;
    r->server = s;
    int e = store_iter_init(&it, s->store, KIND(NODE), STR_NONE, 0, STR_NONE, STR_NONE);
    ASSERT(e >= 0);
    for (struct object *o; (o = store_iter_next(&it));)
        follow(r, o);
    store_iter_fini(&it);
    e = store_watch_start(&r->watch, s->store, KIND(NODE), STR_NONE, store_rev(s->store), on_nodes,
                          r);
    ASSERT(e >= 0);
    return r;
}

struct ranges *ranges_free(struct ranges *r)
{
    if (!r)
        return NULL;
    store_watch_stop(&r->watch);
    for (struct map_slot *s = NULL; (s = map_next(&r->by_node, s));) {
        struct range *v = s->value;
        free(v->node);
        free(v);
    }
    map_fini(&r->by_node);
    free(r);
    return NULL;
}

/* ---- admission ---- */

static int refuse(struct api_call *c, struct str name, const char *type, const char *what,
                  struct str range, const char *why)
{
    (void)error_cause(&c->reply.err, type, STR("spec.podCIDR"), "%s: \"%.*s\"%s", what,
                      STR_ARG(range), why);
    return call_invalid(c, name);
}

int admit_node_range(struct api_call *c, const void *msg, const struct object *old)
{
    const struct api_node *n = msg;
    struct ranges *r = c->server->ranges;
    struct ip_prefix range, cluster;
    if (c->kind != KIND(NODE) || c->subresource.n || !n->spec.pod_cidr.n)
        return 0;
    struct str text = n->spec.pod_cidr;
    if (old && str_eq(text, OBJECT_MSG(old, api_node)->spec.pod_cidr))
        return 0;
    if (ip_prefix_parse(text, &range) < 0)
        return refuse(c, n->metadata.name, CAUSE_INVALID, "Invalid value", text,
                      ": must be a range of addresses");
    if (c->server->opts.cluster && range.addr.family == AF_INET &&
        (ip_prefix_parse(c->server->opts.cluster->pod_cidr, &cluster) < 0 ||
         range.bits < cluster.bits || !ip_prefix_contains(&cluster, &range.addr)))
        return refuse(c, n->metadata.name, CAUSE_INVALID, "Invalid value", text,
                      ": must lie within the cluster's range of pod addresses");
    for (struct map_slot *s = NULL; (s = map_next(&r->by_node, s));) {
        const struct range *other = s->value;
        if (!str_eq(s->key, n->metadata.name) && ip_prefix_overlap(&other->prefix, &range))
            return refuse(c, n->metadata.name, CAUSE_DUPLICATE, "Duplicate value", text, "");
    }
    if (!c->opts.dry_run)
        claim(r, n->metadata.name, &range);
    return 0;
}
