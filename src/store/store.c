/* The front of the store. Everything is decided in memory on the core's thread; the backend only
 * makes batches durable. Two states exist side by side: the durable one (the indexes; what reads
 * and watches show) and the pending one (the durable one overlaid by maps of accepted writes; what
 * preconditions are checked against). A write moves queue -> flight -> applied:
 *
 *   store_put/delete -> queue --(late in the turn, no commit under way)--> flight --backend-->
 * apply
 *                                                                              \--failed--> all
 * fail, overlay dropped
 *
 * While one batch is being written the next gathers, so batches grow with load and an idle store
 * adds no delay. */
#include "store/internal.h"
#include "base/mem.h"

#include <stdio.h>

static void close_step(void *arg);

/* ---- kinds ---- */

struct store_kind *store_kind_peek(const struct store *s, const struct schema_kind *kind)
{
    return kind->id < s->n_kinds ? s->kinds[kind->id] : NULL;
}

/* Objects of a custom kind are of variants of it, one for each version (schema/custom.h). */
static const struct schema_kind *base_of(const struct schema_kind *kind)
{
    return kind->custom ? schema_stored(kind) : kind;
}

struct store_kind *store_kind_of(struct store *s, const struct schema_kind *kind)
{
    struct store_kind *k = store_kind_peek(s, kind);

    if (k) {
        ASSERT(k->kind == base_of(kind));
        return k;
    }
    if (kind->id >= s->n_kinds) {
        size_t n = (size_t)kind->id + 16;
        s->kinds = xrealloc(s->kinds, n * sizeof(*s->kinds));
        memset(s->kinds + s->n_kinds, 0, (n - s->n_kinds) * sizeof(*s->kinds));
        s->n_kinds = n;
    }
    k = NEW(struct store_kind);
    k->kind = base_of(kind);
    list_init(&k->watches);
    s->kinds[kind->id] = k;
    return k;
}

void store_kind_free(struct store_kind *k)
{
    if (!k)
        return;
    index_fini(&k->index);
    window_kind_fini(&k->events);
    map_fini(&k->pending);
    map_fini(&k->groups);
    free(k);
}

/* ---- accepting writes ---- */

struct key {
    struct str s;
    char buf[STORE_KEY_BYTES_MAX + 1];
};

static bool key_make(struct key *key, struct str ns, struct str name)
{
    if (ns.n + name.n + 1 > STORE_KEY_BYTES_MAX)
        return false;
    if (ns.n)
        memcpy(key->buf, ns.p, ns.n);
    key->buf[ns.n] = '\0';
    if (name.n)
        memcpy(key->buf + ns.n + 1, name.p, name.n);
    key->s = (struct str){key->buf, ns.n + 1 + name.n};
    return true;
}

/* "deployments.apps", as people see kinds in messages. */
static const char *kind_text(const struct schema_kind *kind, char *buf, size_t size)
{
    snprintf(buf, size, "%s%s%s", kind->plural, kind->group[0] ? "." : "", kind->group);
    return buf;
}

static struct object *peek_key(struct store_kind *k, struct str key, struct str ns, struct str name)
{
    struct write *w = map_get(&k->pending, key);

    if (w)
        return w->is_delete ? NULL : w->obj;
    return index_get(&k->index, ns, name);
}

static int check_open(struct store *s, size_t msg_bytes, struct error *err)
{
    if (s->closing)
        return error_set(err, REASON_UNAVAILABLE, "the server is shutting down");
    if (s->failed)
        return error_set(
            err, REASON_UNAVAILABLE,
            "the store takes no writes since a commit failed half way; restart the server");
    if (s->queue.n + s->flight.n >= s->queue_writes_max ||
        s->queue.bytes + s->flight.bytes + msg_bytes > STORE_QUEUE_BYTES) {
        if (err)
            err->retry_after_s = 1;
        return error_set(err, REASON_TOO_MANY_REQUESTS, "too many writes wait for the disk");
    }
    return 0;
}

static int check_expected(const struct schema_kind *kind, struct object *was, struct str name,
                          rev_t expected, struct error *err)
{
    char text[256];

    if (expected == STORE_ABSENT) {
        if (!was)
            return 0;
        return error_set(err, REASON_ALREADY_EXISTS, "%s \"%.*s\" already exists",
                         kind_text(kind, text, sizeof(text)), STR_ARG(name));
    }
    if (!was)
        return error_set(err, REASON_NOT_FOUND, "%s \"%.*s\" not found",
                         kind_text(kind, text, sizeof(text)), STR_ARG(name));
    if (expected != STORE_ANY && was->rev != expected)
        return error_set(
            err, REASON_CONFLICT,
            "Operation cannot be fulfilled on %s \"%.*s\": the object has been modified; "
            "please apply your changes to the latest version and try again",
            kind_text(kind, text, sizeof(text)), STR_ARG(name));
    return 0;
}

static int check_key(const struct schema_kind *kind, struct str ns, struct str name,
                     struct key *key, struct error *err)
{
    size_t fixed = strlen(kind->group) + strlen(kind->plural);

    if (str_empty(name) || memchr(name.p, '\0', name.n) || (ns.n && memchr(ns.p, '\0', ns.n)))
        return error_set(err, REASON_BAD_REQUEST, "the name of an object must not be empty");
    if (fixed + ns.n + name.n > STORE_KEY_BYTES_MAX || !key_make(key, ns, name))
        return error_set(err, REASON_BAD_REQUEST, "the name of the object is too long");
    return 0;
}

/* obj is taken. */
static void write_enqueue(struct store *s, struct store_kind *k, const struct key *key,
                          struct object *obj, bool is_delete, store_done_fn done, void *arg)
{
    struct write *w = xmalloc(sizeof(*w) + key->s.n);

    *w = (struct write){.k = k, .obj = obj, .done = done, .arg = arg, .is_delete = is_delete};
    w->key_len = (uint16_t)key->s.n;
    memcpy(w->key, key->s.p, key->s.n);
    (void)map_set(&k->pending, (struct str){w->key, w->key_len}, w);
    store_writes_push(&s->queue, w);
    s->rev_pending = obj->rev;
    if (!s->committing)
        rt_task_schedule_late(&s->commit_task);
}

int store_put(struct store *s, const struct schema_kind *kind, const void *msg, rev_t expected,
              store_done_fn done, void *arg, struct error *err)
{
    const struct api_object_meta *meta = msg;
    struct store_kind *k = store_kind_of(s, kind);
    struct key key;
    int r;

    r = check_key(kind, meta->namespace, meta->name, &key, err);
    if (r < 0)
        return r;
    r = check_expected(kind, peek_key(k, key.s, meta->namespace, meta->name), meta->name, expected,
                       err);
    if (r < 0)
        return r;
    r = check_open(s, 0, err);
    if (r < 0)
        return r;
    write_enqueue(s, k, &key, object_new(kind, msg, s->rev_pending + 1), false, done, arg);
    return 0;
}

int store_delete(struct store *s, const struct schema_kind *kind, struct str ns, struct str name,
                 rev_t expected, store_done_fn done, void *arg, struct error *err)
{
    struct store_kind *k = store_kind_of(s, kind);
    struct object *was;
    struct key key;
    int r;

    ASSERT(expected != STORE_ABSENT);
    r = check_key(kind, ns, name, &key, err);
    if (r < 0)
        return r;
    was = peek_key(k, key.s, ns, name);
    r = check_expected(kind, was, name, expected, err);
    if (r < 0)
        return r;
    r = check_open(s, 0, err);
    if (r < 0)
        return r;
    write_enqueue(s, k, &key, object_new(was->kind, was->msg, s->rev_pending + 1), true, done, arg);
    return 0;
}

/* ---- reads ---- */

rev_t store_rev(const struct store *s)
{
    return s->rev;
}

struct str store_cluster_id(const struct store *s)
{
    return str_z(s->cluster_id);
}

struct object *store_get(struct store *s, const struct schema_kind *kind, struct str ns,
                         struct str name)
{
    struct store_kind *k = store_kind_peek(s, kind);

    return k ? index_get(&k->index, ns, name) : NULL;
}

struct object *store_peek(struct store *s, const struct schema_kind *kind, struct str ns,
                          struct str name)
{
    struct store_kind *k = store_kind_peek(s, kind);
    struct key key;

    return k && key_make(&key, ns, name) ? peek_key(k, key.s, ns, name) : NULL;
}

void store_peek_each(struct store *s, const struct schema_kind *kind,
                     void (*fn)(void *arg, struct object *o), void *arg)
{
    struct store_kind *k = store_kind_peek(s, kind);
    struct object *o;
    struct key key;

    if (!k)
        return;
    for (struct index_pos p = {0, 0}; (o = index_at(&k->index, p)); p = index_advance(&k->index, p))
        if (!key_make(&key, object_ns(o), object_name(o)) || !map_get(&k->pending, key.s))
            fn(arg, o);
    for (struct map_slot *slot = NULL; (slot = map_next(&k->pending, slot));) {
        const struct write *w = slot->value;
        if (!w->is_delete)
            fn(arg, w->obj);
    }
}

size_t store_count(struct store *s, const struct schema_kind *kind)
{
    struct store_kind *k = store_kind_peek(s, kind);

    return k ? k->index.n : 0;
}

bool store_failed(const struct store *s)
{
    return s->failed;
}

/* From the first few hundred objects of a kind; a full count would cost more than a figure is
 * worth. */
static uint64_t json_bytes_about(const struct index *ix)
{
    uint64_t bytes = 0;
    size_t n = 0;
    struct object *o;

    for (struct index_pos p = {0, 0}; n < 256 && (o = index_at(ix, p));
         p = index_advance(ix, p), n++)
        bytes += object_json_bytes(o);
    return n ? bytes * ix->n / n : 0;
}

void store_stats(const struct store *s, struct store_stats *ret)
{
    *ret = (struct store_stats){.writes = s->writes,
                                .batches = s->batches,
                                .fsync_nsec = (uint64_t)s->commit_nsec,
                                .object_bytes = s->object_bytes,
                                .watches = s->n_watches,
                                .pending = s->queue.n + s->flight.n,
                                .window_bytes = s->window.bytes,
                                .unknown_records = s->unknown_records,
                                .compacted = s->window.compacted};
    for (size_t i = 0; i < s->n_kinds; i++) {
        if (!s->kinds[i])
            continue;
        ret->objects += s->kinds[i]->index.n;
        ret->json_bytes += json_bytes_about(&s->kinds[i]->index);
    }
    if (s->backend->ops->stats)
        s->backend->ops->stats(s->backend, ret);
}

/* ---- opening and closing ---- */

static unsigned env_unsigned(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    uint64_t v;

    return text && str_to_u64(str_z(text), &v) == 0 && v > 0 && v <= UINT32_MAX ? (unsigned)v
                                                                                : otherwise;
}

static void uuid_make(struct rt *rt, char out[STORE_CLUSTER_ID_LEN + 1])
{
    unsigned char b[16];
    char *p = out;

    rt_random_bytes(rt, b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = "0123456789abcdef"[b[i] >> 4];
        *p++ = "0123456789abcdef"[b[i] & 15];
    }
    *p = '\0';
}

static void store_release(struct store *s)
{
    store_watches_detach(s);
    rt_task_cancel(&s->commit_task);
    rt_task_cancel(&s->catchup_task);
    rt_task_cancel(&s->close_task);
    for (size_t i = 0; i < s->n_kinds; i++)
        store_kind_free(s->kinds[i]);
    store_orphans_free(s);
    window_fini(&s->window);
    free(s->kinds);
    free(s->ops);
    free(s);
}

static void catchup_run(void *arg)
{
    struct store *s = arg;

    s->in_callbacks = true;
    store_catch_up(s);
    s->in_callbacks = false;
}

int store_open(struct rt *rt, struct store_backend *backend, const struct store_opts *opts,
               struct store **ret, struct error *err)
{
    static const struct store_opts defaults;
    struct store *s = NEW(struct store);
    struct store_meta meta = {0};
    char new_id[STORE_CLUSTER_ID_LEN + 1];
    unsigned events;
    int r;

    opts = opts ? opts : &defaults;
    s->rt = rt;
    s->backend = backend;
    s->queue_writes_max = opts->queue_writes_max ? opts->queue_writes_max : STORE_QUEUE_WRITES;
    store_writes_init(&s->queue);
    store_writes_init(&s->flight);
    list_init(&s->catchup);
    rt_task_init(&s->commit_task, rt, store_commit_start, s);
    rt_task_init(&s->catchup_task, rt, catchup_run, s);
    rt_task_init(&s->close_task, rt, close_step, s);
    uuid_make(rt, new_id);
    r = backend->ops->open(backend, rt, new_id, &meta, store_load_record, s, err);
    if (r < 0) {
        backend->ops->abandon(backend);
        store_release(s);
        return r;
    }
    memcpy(s->cluster_id, meta.cluster_id, sizeof(s->cluster_id));
    s->rev = s->rev_pending = meta.rev;
    events = opts->watch_window_events
                 ? opts->watch_window_events
                 : env_unsigned("DAVIT_TEST_WATCH_WINDOW", STORE_WINDOW_EVENTS);
    window_init(&s->window, meta.rev, events,
                opts->watch_window_bytes ? opts->watch_window_bytes : STORE_WINDOW_BYTES);
    *ret = s;
    return 0;
}

static void backend_closed(void *arg)
{
    struct store *s = arg;
    void (*closed)(void *) = s->closed;
    void *closed_arg = s->closed_arg;

    store_release(s);
    if (closed)
        closed(closed_arg);
}

/* Runs in a turn of its own once no commit is under way. */
static void close_step(void *arg)
{
    struct store *s = arg;
    struct error err = {0};
    struct write_list all;

    if (s->committing)
        return;
    all = store_writes_take_all(s);
    if (all.n)
        (void)error_set(&err, REASON_UNAVAILABLE, "the server is shutting down");
    store_writes_fail(&all, -ECANCELED, &err);
    error_fini(&err);
    s->backend->ops->close(s->backend, backend_closed, s);
}

void store_close(struct store *s, void (*done)(void *arg), void *arg)
{
    ASSERT(!s->closing);
    s->closing = true;
    s->closed = done;
    s->closed_arg = arg;
    if (!s->committing)
        rt_task_schedule(&s->close_task);
}

void store_forget_writes(struct store *s)
{
    ASSERT(!s->in_callbacks);
    for (struct write *w = s->queue.head; w; w = w->next)
        w->done = NULL;
    for (struct write *w = s->flight.head; w; w = w->next)
        w->done = NULL;
}

void store_abandon(struct store *s)
{
    struct write_list all;
    struct write *w;

    ASSERT(!s->in_callbacks);
    s->backend->ops->abandon(s->backend); /* it may still look at the batch */
    all = store_writes_take_all(s);
    while ((w = store_writes_pop(&all)))
        store_write_free(w);
    store_release(s);
}
