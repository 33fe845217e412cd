/* Events are for people, so they must be few. Two tables keep them so: `seen` maps what was said
 * (object, type, reason, message) to the Event that says it, whose count goes up; `sources` counts
 * per object how much was said at all (a token bucket) and per reason how many different messages.
 * The figures are those of Kubernetes' event correlator. While a write of an Event is under way,
 * further repeats only change the count, which goes out with the next write. */
#include "client/events.h"

#include <stdarg.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#define SEEN_MAX     4096 /* Events remembered for counting up; older ones start anew */
#define BURST        25   /* events an object may cause at once */
#define REFILL       (300 * NSEC_PER_SEC) /* and then one each */
#define SIMILAR_MAX  10 /* messages of one reason in SIMILAR_SPAN before they are folded */
#define SIMILAR_SPAN (600 * NSEC_PER_SEC)
#define MESSAGE_MAX  1024 /* the API's limit of Event.message */

struct entry {
    struct list lru;
    struct str key;                  /* owned */
    struct event_recorder *recorder; /* NULL: it was freed meanwhile */
    struct arena arena;              /* the event's parts */
    struct api_event event;
    bool created, busy, dirty;
};

struct source {
    struct list lru;
    struct str key; /* owned: object and reason, or the object alone */
    double tokens;
    nsec_t at;
    unsigned similar;
};

struct event_recorder {
    struct client *client;
    char *component, *host; /* owned */
    struct map seen, sources;
    struct list seen_lru, source_lru;
    struct list gone; /* forgotten entries whose write is under way */
    uint64_t seq;
    struct event_stats stats;
};

struct event_recorder *event_recorder_new(struct client *c, const char *component, const char *host)
{
    struct event_recorder *r = NEW(struct event_recorder);
    r->client = c;
    r->component = xstrdup(component);
    r->host = host ? xstrdup(host) : NULL;
    list_init(&r->seen_lru);
    list_init(&r->source_lru);
    list_init(&r->gone);
    return r;
}

static void entry_free(struct entry *e)
{
    list_remove(&e->lru);
    arena_fini(&e->arena);
    free((char *)(uintptr_t)e->key.p);
    free(e);
}

static void entry_forget(struct event_recorder *r, struct entry *e)
{
    (void)map_remove(&r->seen, e->key);
    list_remove(&e->lru);
    e->recorder = NULL;
    if (e->busy)
        list_push_back(&r->gone, &e->lru);
    else
        entry_free(e);
}

static void source_free(struct event_recorder *r, struct source *s)
{
    (void)map_remove(&r->sources, s->key);
    list_remove(&s->lru);
    free((char *)(uintptr_t)s->key.p);
    free(s);
}

struct event_recorder *event_recorder_free(struct event_recorder *r)
{
    if (!r)
        return NULL;
    struct entry *e;
    struct source *s;
    LIST_FOR_EACH (e, &r->seen_lru, lru) {
        e->busy = false; /* no answer comes any more */
        entry_forget(r, e);
    }
    LIST_FOR_EACH (e, &r->gone, lru)
        entry_free(e);
    LIST_FOR_EACH (s, &r->source_lru, lru)
        source_free(r, s);
    map_fini(&r->seen);
    map_fini(&r->sources);
    free(r->component);
    free(r->host);
    free(r);
    return NULL;
}

static struct source *source_get(struct event_recorder *r, struct str key)
{
    struct source *s = map_get(&r->sources, key);
    if (!s) {
        s = NEW(struct source);
        s->key = (struct str){str_dup(key), key.n};
        s->tokens = BURST;
        s->at = rt_now(r->client->rt);
        list_init(&s->lru);
        (void)map_set(&r->sources, s->key, s);
        if (r->sources.n > SEEN_MAX)
            source_free(r, LIST_FIRST(&r->source_lru, struct source, lru));
    }
    list_remove(&s->lru);
    list_push_back(&r->source_lru, &s->lru);
    return s;
}

static bool may_speak(struct event_recorder *r, struct str object_key)
{
    struct source *s = source_get(r, object_key);
    nsec_t now = rt_now(r->client->rt);
    s->tokens = MIN(BURST, s->tokens + (double)(now - s->at) / (double)REFILL);
    s->at = now;
    if (s->tokens < 1)
        return false;
    s->tokens -= 1;
    return true;
}

/* True when this reason has said too many different things lately. */
static bool fold_similar(struct event_recorder *r, struct str reason_key)
{
    struct source *s = source_get(r, reason_key);
    nsec_t now = rt_now(r->client->rt);
    if (now - s->at > SIMILAR_SPAN)
        s->similar = 0;
    s->at = now;
    return ++s->similar > SIMILAR_MAX;
}

static void send(struct entry *e);

static void sent(void *arg, const struct client_reply *reply)
{
    struct entry *e = arg;
    e->busy = false;
    if (!e->recorder) {
        entry_free(e);
        return;
    }
    if (reply->r == 0) {
        e->created = true;
        e->recorder->stats.sent++;
    } else if (e->created && reply->r == -ENOENT) { /* it has expired: say it again */
        e->created = false;
        e->event.count = 1;
        e->dirty = true;
    } else {
        e->recorder->stats.dropped++;
    }
    if (e->dirty)
        send(e);
}

static void send(struct entry *e)
{
    struct client *c = e->recorder->client;
    char when[TIMESTAMP_TEXT_MAX];
    e->busy = true;
    e->dirty = false;
    if (!e->created) {
        client_create(c, schema_kinds[KIND_EVENT], &e->event, sent, e);
        return;
    }
    timestamp_format(e->event.last_timestamp, false, when);
    struct buf b = {0};
    buf_printf(&b, "{\"count\":%d,\"lastTimestamp\":\"%s\"}", e->event.count, when);
    client_patch(c, schema_kinds[KIND_EVENT], e->event.metadata.namespace, e->event.metadata.name,
                 STR_NONE, CLIENT_PATCH_MERGE, buf_str(&b), sent, e);
    buf_fini(&b);
}

static struct entry *entry_new(struct event_recorder *r, struct str key,
                               const struct api_object_reference *ref, const char *type,
                               const char *reason, struct str message)
{
    struct entry *e = NEW(struct entry);
    struct arena *a = &e->arena;
    struct api_event *ev = &e->event;
    arena_init(a, 0);
    list_init(&e->lru);
    e->recorder = r;
    e->key = (struct str){str_dup(key), key.n};
    schema_clone_into(&api_object_reference_desc, ref, &ev->involved_object, a);
    /* As Kubernetes names them: the object's name and a moment; a counter keeps them apart. */
    uint64_t moment = (uint64_t)rt_wall(r->client->rt) * 1000 + r->seq++ % 1000;
    ev->metadata.name = arena_printf(a, "%.*s.%llx", (int)MIN(ref->name.n, 230u),
                                     ref->name.p ? ref->name.p : "", (unsigned long long)moment);
    ev->metadata.namespace =
        str_empty(ref->namespace) ? STR("default") : arena_str(a, ref->namespace);
    ev->type = arena_strz(a, type);
    ev->reason = arena_strz(a, reason);
    ev->message = arena_str(a, message);
    ev->source.component = arena_strz(a, r->component);
    ev->reporting_component = ev->source.component;
    ev->source.host = arena_strz(a, r->host);
    ev->reporting_instance = ev->source.host;
    ev->first_timestamp = timestamp_seconds(rt_wall(r->client->rt));
    (void)map_set(&r->seen, e->key, e);
    if (r->seen.n > SEEN_MAX)
        entry_forget(r, LIST_FIRST(&r->seen_lru, struct entry, lru));
    return e;
}

static void record(struct event_recorder *r, const struct api_object_reference *ref,
                   const char *type, const char *reason, const char *fmt, va_list args)
{
    char text[MESSAGE_MAX];
    int n = vsnprintf(text, sizeof(text), fmt, args);
    struct str message = {text, (size_t)CLAMP(n, 0, MESSAGE_MAX - 1)};
    while (message.n > 0 && !str_utf8_valid(message))
        message.n--; /* cut in the middle of a character */
    r->stats.recorded++;
    struct buf b = {0};
    buf_printf(&b, "%.*s/%.*s/%.*s/%.*s", STR_ARG(ref->kind), STR_ARG(ref->namespace),
               STR_ARG(ref->name), STR_ARG(ref->uid));
    bool allowed = may_speak(r, buf_str(&b));
    buf_printf(&b, "/%.*s/%s/%s", STR_ARG(ref->field_path), type, reason);
    size_t reason_n = b.n;
    buf_add_char(&b, '/');
    buf_add_str(&b, message);
    struct entry *e = map_get(&r->seen, buf_str(&b));
    char combined[MESSAGE_MAX + 64];
    if (!e && allowed && fold_similar(r, (struct str){b.data, reason_n})) {
        int k = snprintf(combined, sizeof(combined), "(combined from similar events): %.*s", 980,
                         message.p);
        message = (struct str){combined, (size_t)k};
        b.n = reason_n;
        buf_add_lit(&b, "/(combined)");
        e = map_get(&r->seen, buf_str(&b));
    }
    if (!allowed) {
        r->stats.dropped++;
        buf_fini(&b);
        return;
    }
    if (!e)
        e = entry_new(r, buf_str(&b), ref, type, reason, message);
    buf_fini(&b);
    list_remove(&e->lru);
    list_push_back(&r->seen_lru, &e->lru);
    e->event.count++;
    e->event.last_timestamp = timestamp_seconds(rt_wall(r->client->rt));
    e->dirty = true;
    if (!e->busy)
        send(e);
}

void event_record_ref(struct event_recorder *r, const struct api_object_reference *ref,
                      const char *type, const char *reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    record(r, ref, type, reason, fmt, args);
    va_end(args);
}

void event_record(struct event_recorder *r, const struct schema_kind *kind,
                  const struct api_object_meta *meta, const char *type, const char *reason,
                  const char *fmt, ...)
{
    struct api_object_reference ref = {
        .kind = str_z(kind->kind),
        .api_version = str_z(kind->api_version),
        .namespace = meta->namespace,
        .name = meta->name,
        .uid = meta->uid,
        .resource_version = meta->resource_version,
    };
    va_list args;
    va_start(args, fmt);
    record(r, &ref, type, reason, fmt, args);
    va_end(args);
}

struct event_stats event_recorder_stats(const struct event_recorder *r)
{
    return r->stats;
}
