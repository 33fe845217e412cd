/* Events about pods and the node. An event that repeats (same object, reason, message) becomes a
 * higher count on the one that is there. They are news, not state: when the server is away or too
 * much is on its way they are dropped. */
#include "node/agent.h"

#include <stdarg.h>

#include "base/mem.h"

#define EVENTS_REMEMBERED 512 /* kinds of news that can repeat; the oldest is forgotten */
#define EVENTS_IN_FLIGHT  128
#define REPEAT_INTERVAL   (2 * NSEC_PER_SEC) /* a count is not updated more often */

struct seen {
    struct list link;
    uint64_t key;
    char key_text[17];
    char *ns, *name;
    int32_t count;
    nsec_t sent;
};

struct events {
    struct node *node;
    struct map by_key;
    struct list lru; /* newest first */
    unsigned n;
    unsigned in_flight;
    bool closed;
};

struct events *events_new(struct node *n)
{
    struct events *e = NEW(struct events);
    e->node = n;
    list_init(&e->lru);
    return e;
}

static void forget(struct events *e, struct seen *s)
{
    map_remove(&e->by_key, str_z(s->key_text));
    list_remove(&s->link);
    free(s->ns);
    free(s->name);
    free(s);
    e->n--;
}

struct events *events_free(struct events *e)
{
    if (!e)
        return NULL;
    while (!list_empty(&e->lru))
        forget(e, LIST_FIRST(&e->lru, struct seen, link));
    map_fini(&e->by_key);
    e->closed = true;
    if (e->in_flight == 0)
        free(e);
    return NULL;
}

static void on_sent(void *arg, const struct client_reply *reply)
{
    struct events *e = arg;
    e->in_flight--;
    if (e->closed && e->in_flight == 0)
        free(e);
}

static void repeat(struct events *e, struct seen *s)
{
    nsec_t now = rt_now(e->node->rt);
    s->count++;
    list_remove(&s->link);
    list_push_front(&e->lru, &s->link);
    if (now - s->sent < REPEAT_INTERVAL)
        return;
    s->sent = now;
    struct buf b = {0};
    buf_printf(&b, "{\"count\":%d,\"lastTimestamp\":\"", s->count);
    timestamp_print(timestamp_seconds(rt_wall(e->node->rt)), false, &b);
    buf_add_lit(&b, "\"}");
    e->in_flight++;
    client_patch(e->node->client, schema_kinds[KIND_EVENT], str_z(s->ns), str_z(s->name), STR_NONE,
                 CLIENT_PATCH_MERGE, buf_str(&b), on_sent, e);
    buf_fini(&b);
}

static void emit(struct events *e, const struct api_object_reference *ref, const char *type,
                 const char *reason, const char *message)
{
    struct node *n = e->node;
    if (e->in_flight >= EVENTS_IN_FLIGHT || n->stopping)
        return;
    struct arena a = {0};
    struct str key = arena_printf(&a, "%.*s/%.*s/%.*s/%s/%s", STR_ARG(ref->namespace),
                                  STR_ARG(ref->uid), STR_ARG(ref->field_path), reason, message);
    uint64_t h = hash_fnv1a64(key.p, key.n);
    char text[17];
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)h);
    struct seen *s = map_get(&e->by_key, str_z(text));
    if (s) {
        repeat(e, s);
        arena_fini(&a);
        return;
    }
    struct str ns = ref->namespace.n ? ref->namespace : STR("default");
    s = NEW(struct seen);
    memcpy(s->key_text, text, sizeof(text));
    s->ns = str_dup(ns);
    usec_t now = rt_wall(n->rt);
    s->name = xasprintf("%.*s.%llx", (int)MIN(ref->name.n, (size_t)200), ref->name.p,
                        (unsigned long long)now * 1000 + (h & 0xff));
    s->count = 1;
    s->sent = rt_now(n->rt);
    map_set(&e->by_key, str_z(s->key_text), s);
    list_push_front(&e->lru, &s->link);
    if (++e->n > EVENTS_REMEMBERED)
        forget(e, CONTAINER_OF(e->lru.prev, struct seen, link));
    struct api_event ev = {
        .metadata = {.name = str_z(s->name), .namespace = ns},
        .involved_object = *ref,
        .reason = str_z(reason),
        .message = arena_str(&a, str_sub(str_z(message), 0, 1024)),
        .source = {.component = STR("kubelet"), .host = str_z(n->name)},
        .first_timestamp = timestamp_seconds(now),
        .last_timestamp = timestamp_seconds(now),
        .count = 1,
        .type = str_z(type),
        .reporting_component = STR("kubelet"),
        .reporting_instance = str_z(n->name),
    };
    e->in_flight++;
    client_create(n->client, schema_kinds[KIND_EVENT], &ev, on_sent, e);
    arena_fini(&a);
}

static char *vformat(const char *fmt, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    return text;
}

void event_pod(struct pod *p, const char *type, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = vformat(fmt, ap);
    va_end(ap);
    struct api_object_reference ref = {
        .kind = STR("Pod"),
        .namespace = str_z(p->ns),
        .name = str_z(p->name),
        .uid = str_z(p->uid),
        .api_version = STR("v1"),
        .resource_version = pod_msg(p)->metadata.resource_version,
    };
    emit(p->node->events, &ref, type, reason, text);
    free(text);
}

void event_ctr(struct ctr *c, const char *type, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = vformat(fmt, ap);
    va_end(ap);
    struct pod *p = c->pod;
    static const char *const lists[] = {[CTR_INIT] = "initContainers",
                                        [CTR_SIDECAR] = "initContainers",
                                        [CTR_APP] = "containers",
                                        [CTR_EPHEMERAL] = "ephemeralContainers"};
    char path[160];
    snprintf(path, sizeof(path), "spec.%s{%s}", lists[c->kind], c->name);
    struct api_object_reference ref = {
        .kind = STR("Pod"),
        .namespace = str_z(p->ns),
        .name = str_z(p->name),
        .uid = str_z(p->uid),
        .api_version = STR("v1"),
        .resource_version = pod_msg(p)->metadata.resource_version,
        .field_path = str_z(path),
    };
    emit(p->node->events, &ref, type, reason, text);
    free(text);
}

void event_node(struct node *n, const char *type, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = vformat(fmt, ap);
    va_end(ap);
    struct api_object_reference ref = {.kind = STR("Node"),
                                       .name = str_z(n->name),
                                       .uid = str_z(n->name),
                                       .api_version = STR("v1")};
    emit(n->events, &ref, type, reason, text);
    free(text);
}
