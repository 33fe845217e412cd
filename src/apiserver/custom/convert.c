/* See convert.h.
 *
 *   want --slots--> entry (revision, version) <-- batch (one call) --> converter (one definition)
 *
 * An entry is pending as long as its batch is; then it is kept in the cache, least recently used
 * first, or goes. The thread that makes the call (outcall.h) reads a batch's objects and its
 * converter's schemas, which never change, and writes the batch's results. */
#include "apiserver/custom/convert.h"

#include "base/map.h"
#include "base/mem.h"
#include "rt/rt.h"

struct converter {
    unsigned refs; /* of its place, of its batches */
    struct converts *cs;
    struct arena arena;
    const struct schema_kind *stored;
    struct outcall_target target;
    bool v1beta1, replaced;
    struct custom **versions; /* owned references; of all versions, served or not */
    size_t n_versions;
    struct map entries; /* of those with a revision */
    struct list queue;  /* struct batch */
    unsigned in_flight;
};

struct entry {
    struct {
        uint64_t rev, to;
    } key;
    struct converter *cv;
    struct object *source, *out; /* owned; source while it is pending, then out */
    struct list slots;           /* who waits for it */
    struct list lru;             /* in cs->lru once it is there */
    size_t bytes;
};

struct convert_slot {
    struct list link; /* entry->slots */
    struct convert_want *want;
    size_t at;
    struct object *out; /* owned */
    bool again;
};

struct batch {
    struct list link; /* cv->queue or cs->flying */
    struct list own;  /* owner->batches */
    struct converter *cv;
    struct convert_want *owner; /* NULL: it has gone */
    struct entry **entries;
    nsec_t deadline;
    struct convert_review review; /* its objects: borrowed from the entries */
    struct object **objects, **out;
    const struct custom **from;
    struct error err; /* of the answer */
};

struct converts {
    struct rt *rt;
    convert_call_fn call;
    void *ctx;
    struct converter **v; /* by number of the stored kind less _KIND_MAX */
    size_t n, n_live;
    struct list wants, flying, lru;
    struct convert_stats stats;
    bool stopped;
};

/* ---- converters ---- */

static size_t place(const struct schema_kind *k)
{
    return (size_t)k->id - _KIND_MAX;
}

static struct converter *converter_of(const struct converts *cs, const struct schema_kind *k)
{
    return k->custom && place(k) < cs->n ? cs->v[place(k)] : NULL;
}

static void converter_unref(struct converter *cv)
{
    if (--cv->refs)
        return;
    for (size_t i = 0; i < cv->n_versions; i++)
        custom_unref(&cv->versions[i]->kind);
    ASSERT(!cv->entries.n && list_empty(&cv->queue));
    map_fini(&cv->entries);
    arena_fini(&cv->arena);
    free(cv);
}

static const struct custom *version_of(const struct converter *cv, const struct schema_kind *to)
{
    for (size_t i = 0; i < cv->n_versions; i++)
        if (cv->versions[i]->variant == to)
            return cv->versions[i];
    return NULL;
}

static struct str copy(struct converter *cv, struct str s)
{
    return s.p ? arena_str(&cv->arena, s) : STR_NONE;
}

/* The version as it is served, or one made for us alone. */
static struct custom *version_new(const struct api_custom_resource_definition *crd, uint32_t i,
                                  rev_t rev, struct custom *const *served, size_t n)
{
    struct custom *made = NULL;
    for (size_t k = 0; k < n; k++)
        if (str_eqz(crd->spec.versions[i].name, served[k]->kind.version)) {
            (void)custom_ref(&served[k]->kind);
            return served[k];
        }
    return custom_new(crd, i, rev, &made, NULL) < 0 ? NULL : made;
}

static struct converter *converter_new(struct converts *cs, const struct schema_kind *stored,
                                       const struct api_custom_resource_definition *crd, rev_t rev,
                                       struct custom *const *served, size_t n)
{
    const struct api_webhook_conversion *w = crd->spec.conversion->webhook;
    const struct api_webhook_client_config *at = w->client_config;
    struct converter *cv = NEW(struct converter);
    cv->refs = 1;
    cv->cs = cs;
    cv->stored = stored;
    list_init(&cv->queue);
    cv->target =
        (struct outcall_target){.url = copy(cv, at->url), .ca_bundle = copy(cv, at->ca_bundle)};
    if (at->service) {
        cv->target.ns = copy(cv, at->service->namespace);
        cv->target.name = copy(cv, at->service->name);
        cv->target.path = copy(cv, at->service->path);
        cv->target.port = (uint16_t)(at->service->has_port ? at->service->port : 443);
    }
    /* the first one we know: the others are what the webhook would rather not be asked in */
    for (uint32_t i = 0; i < w->n_conversion_review_versions; i++) {
        cv->v1beta1 = str_is(w->conversion_review_versions[i], "v1beta1");
        if (cv->v1beta1 || str_is(w->conversion_review_versions[i], "v1"))
            break;
    }
    cv->versions = ARENA_NEW_N(&cv->arena, struct custom *, crd->spec.n_versions);
    for (uint32_t i = 0; i < crd->spec.n_versions; i++) {
        cv->versions[cv->n_versions] = version_new(crd, i, rev, served, n);
        cv->n_versions += cv->versions[cv->n_versions] != NULL;
    }
    return cv;
}

static bool asks_webhook(const struct api_custom_resource_definition *crd)
{
    const struct api_custom_resource_conversion *c = crd ? crd->spec.conversion : NULL;
    return c && str_is(c->strategy, "Webhook") && c->webhook && c->webhook->client_config;
}

/* ---- the cache ---- */

static struct str key_of(const struct entry *e)
{
    return (struct str){(const char *)&e->key, sizeof(e->key)};
}

static struct entry *entry_find(const struct converter *cv, const struct schema_kind *to, rev_t rev)
{
    struct entry probe = {.key = {rev, (uintptr_t)to}};
    return rev ? map_get(&cv->entries, key_of(&probe)) : NULL;
}

static void entry_free(struct entry *e)
{
    struct converts *cs = e->cv->cs;
    ASSERT(list_empty(&e->slots));
    if (e->key.rev && map_get(&e->cv->entries, key_of(e)) == e)
        (void)map_remove(&e->cv->entries, key_of(e));
    if (list_linked(&e->lru)) {
        list_remove(&e->lru);
        cs->stats.cached--;
        cs->stats.cached_bytes -= e->bytes;
    }
    object_unref(e->source);
    object_unref(e->out);
    free(e);
}

/* It is there now. JSON will be made of it, which has about the size of the object. */
static void entry_keep(struct entry *e)
{
    struct converts *cs = e->cv->cs;
    e->source = object_unref(e->source);
    e->bytes = 2 * (size_t)e->out->msg_bytes + sizeof(*e) + sizeof(*e->out);
    list_push_back(&cs->lru, &e->lru);
    cs->stats.cached++;
    cs->stats.cached_bytes += e->bytes;
    while (cs->stats.cached_bytes > CONVERT_CACHE_BYTES_MAX)
        entry_free(LIST_FIRST(&cs->lru, struct entry, lru));
}

static struct entry *entry_new(struct converter *cv, const struct schema_kind *to,
                               struct object *source)
{
    struct entry *e = NEW(struct entry);
    e->key.rev = source->rev;
    e->key.to = (uintptr_t)to;
    e->cv = cv;
    e->source = object_ref(source);
    list_init(&e->slots);
    list_init(&e->lru);
    if (source->rev)
        (void)map_set(&cv->entries, key_of(e), e);
    return e;
}

static void cache_drop(struct converter *cv)
{
    struct entry *e;
    LIST_FOR_EACH (e, &cv->cs->lru, lru)
        if (e->cv == cv)
            entry_free(e);
}

/* ---- wants ---- */

static void want_forget(struct convert_want *w)
{
    for (size_t i = 0; i < w->n_slots; i++) {
        list_remove(&w->slots[i].link);
        object_unref(w->slots[i].out);
    }
    while (!list_empty(&w->batches)) {
        struct batch *b = LIST_FIRST(&w->batches, struct batch, own);
        list_remove(&b->own);
        b->owner = NULL;
    }
    free(w->slots);
    w->slots = NULL;
    w->n_slots = 0;
    list_remove(&w->link);
    list_remove(&w->told);
    w->cs = NULL;
}

static void want_settle(struct convert_want *w)
{
    for (size_t i = 0; w->err.reason == REASON_NONE && i < w->n_slots; i++) {
        struct convert_slot *s = &w->slots[i];
        object_unref(w->objects[s->at]);
        w->objects[s->at] = s->out;
        s->out = NULL;
    }
    want_forget(w);
}

/* Each may cancel others. */
static void tell(struct list *told)
{
    while (!list_empty(told)) {
        struct convert_want *w = LIST_FIRST(told, struct convert_want, told);
        want_settle(w);
        w->done(w);
    }
}

void convert_cancel(struct convert_want *w)
{
    if (w->cs)
        want_forget(w);
}

/* ---- batches ---- */

static void batch_free(struct batch *b)
{
    list_remove(&b->link);
    list_remove(&b->own);
    for (size_t i = 0; i < b->review.n; i++)
        object_unref(b->out[i]);
    converter_unref(b->cv);
    error_fini(&b->err);
    free(b->entries);
    free(b->objects);
    free(b->out);
    free(b->from);
    free(b);
}

static void on_write(void *arg, struct buf *out)
{
    struct batch *b = arg;
    convert_review_print(&b->review, out);
}

static int on_read(void *arg, struct str body, struct error *err)
{
    struct batch *b = arg;
    int r = convert_review_read(&b->review, body, b->out, &b->err);
    if (r < 0)
        (void)error_set(err, REASON_INTERNAL, "%.*s", STR_ARG(b->err.message));
    return r;
}

static void pump(struct converter *cv);
static void ask(struct converter *cv, struct convert_want *w, struct entry **entries, size_t n);

/* What the slots of one entry get of it. */
static void hand_out(struct batch *b, struct entry *e, struct object *out, bool final,
                     struct list *told, struct list *again)
{
    while (!list_empty(&e->slots)) {
        struct convert_slot *s = LIST_FIRST(&e->slots, struct convert_slot, link);
        struct convert_want *w = s->want;
        list_remove(&s->link);
        if (out) {
            s->out = object_ref(out);
        } else if (final || w == b->owner) {
            if (w->err.reason == REASON_NONE)
                error_copy(&w->err, &b->err);
        } else {
            s->again = true;
            w->again++;
        }
        w->left--;
        if (!w->left && !list_linked(&w->told))
            list_push_back(w->again ? again : told, &w->told);
    }
}

/* Its slots whose calls were somebody else's and failed: now on its own account. */
static void want_again(struct convert_want *w)
{
    struct converter *cv = converter_of(w->cs, w->to);
    struct entry **fresh = xcalloc(w->again, sizeof(*fresh));
    size_t n = 0;
    for (size_t i = 0; i < w->n_slots; i++) {
        struct convert_slot *s = &w->slots[i];
        if (!s->again)
            continue;
        s->again = false;
        fresh[n] = entry_new(cv, w->to, w->objects[s->at]);
        list_push_back(&fresh[n++]->slots, &s->link);
        w->left++;
    }
    w->again = 0;
    ask(cv, w, fresh, n);
    free(fresh);
}

/* r: 0 when b->out is filled; else b->err. others_ask: who joined may try on its own. */
static void batch_end(struct batch *b, int r, bool others_ask)
{
    struct converter *cv = b->cv;
    struct converts *cs = cv->cs;
    struct list told, again;
    list_init(&told);
    list_init(&again);
    list_remove(&b->link);
    for (size_t i = 0; i < b->review.n; i++) {
        struct entry *e = b->entries[i];
        hand_out(b, e, r < 0 ? NULL : b->out[i], !others_ask, &told, &again);
        if (r < 0 || !e->key.rev || cv->replaced || map_get(&cv->entries, key_of(e)) != e) {
            entry_free(e);
            continue;
        }
        e->out = object_ref(b->out[i]);
        entry_keep(e);
    }
    b->owner = NULL;
    batch_free(b);
    while (!list_empty(&again)) {
        struct convert_want *w = LIST_FIRST(&again, struct convert_want, told);
        list_remove(&w->told);
        if (converter_of(cs, w->to) && w->err.reason == REASON_NONE) {
            want_again(w);
            continue;
        }
        if (w->err.reason == REASON_NONE)
            (void)error_set(&w->err, REASON_INTERNAL, "%s",
                            "the definition was changed while its objects were converted");
        list_push_back(&told, &w->told);
    }
    tell(&told);
}

static void on_done(void *arg, const struct outcall_answer *a)
{
    struct batch *b = arg;
    struct converter *cv = b->cv;
    struct arena t = {0};
    cv->in_flight--;
    cv->cs->stats.in_flight--;
    if (a->r < 0 && b->err.reason == REASON_NONE)
        (void)error_set(&b->err, REASON_INTERNAL, "conversion webhook for %.*s failed: %.*s",
                        STR_ARG(convert_kind_text(b->review.objects[0]->kind, &t)),
                        STR_ARG(a->what));
    arena_fini(&t);
    cv->cs->stats.failures += a->r < 0;
    cv->refs++;
    batch_end(b, a->r, a->answered);
    pump(cv);
    converter_unref(cv);
}

static void batch_start(struct batch *b)
{
    struct converter *cv = b->cv;
    struct converts *cs = cv->cs;
    const struct outcall_request q = {
        .target = cv->target,
        .timeout_ms = MAX((b->deadline - rt_now(cs->rt)) / NSEC_PER_MSEC, (nsec_t)1),
        .limit_bytes = CONVERT_ANSWER_BYTES_MAX,
        .write = on_write,
        .read = on_read,
        .done = on_done,
        .arg = b};
    list_remove(&b->link);
    list_push_back(&cs->flying, &b->link);
    cv->in_flight++;
    cs->stats.in_flight++;
    cs->stats.calls++;
    cs->stats.objects += b->review.n;
    (void)cs->call(cs->ctx, &q);
}

static void pump(struct converter *cv)
{
    while (!list_empty(&cv->queue) && cv->in_flight < CONVERT_CALLS_MAX && !cv->cs->stopped)
        batch_start(LIST_FIRST(&cv->queue, struct batch, link));
}

static void make_uuid(struct rt *rt, char out[37])
{
    uint8_t b[16];
    rt_random_bytes(rt, b, sizeof(b));
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}

static void batch_new(struct converter *cv, struct convert_want *w, struct entry **entries,
                      size_t n)
{
    struct batch *b = NEW(struct batch);
    b->cv = cv;
    cv->refs++;
    b->owner = w;
    list_init(&b->link);
    list_init(&b->own);
    list_push_back(&w->batches, &b->own);
    b->entries = xcalloc(n, sizeof(struct entry *));
    b->objects = xcalloc(n, sizeof(struct object *));
    b->out = xcalloc(n, sizeof(struct object *));
    b->from = xcalloc(n, sizeof(const struct custom *));
    for (size_t i = 0; i < n; i++) {
        b->entries[i] = entries[i];
        b->objects[i] = entries[i]->source;
        b->from[i] = version_of(cv, entries[i]->source->kind);
    }
    b->deadline = rt_now(cv->cs->rt) + CONVERT_TIMEOUT_MS * NSEC_PER_MSEC;
    b->review = (struct convert_review){.v1beta1 = cv->v1beta1,
                                        .to = w->to,
                                        .schema = version_of(cv, w->to),
                                        .from = b->from,
                                        .objects = b->objects,
                                        .n = n};
    make_uuid(cv->cs->rt, b->review.uid);
    list_push_back(&cv->queue, &b->link);
}

/* One call, or several when the objects are large. */
static void ask(struct converter *cv, struct convert_want *w, struct entry **entries, size_t n)
{
    for (size_t i = 0, k; i < n; i = k) {
        size_t bytes = 0;
        for (k = i; k < n && (k == i || bytes < CONVERT_BATCH_BYTES_MAX); k++)
            bytes += entries[k]->source->msg_bytes;
        batch_new(cv, w, entries + i, k - i);
    }
    pump(cv);
}

/* ---- for others ---- */

bool converts_any(const struct converts *cs)
{
    return cs && cs->n_live;
}

bool converts_kind(const struct converts *cs, const struct schema_kind *k)
{
    return cs && converter_of(cs, k);
}

bool convert_needed(const struct converts *cs, const struct schema_kind *to, const struct object *o)
{
    return o->kind != to && schema_stored(o->kind) == schema_stored(to) && converts_kind(cs, to);
}

/* True: the slot has its object. */
static bool slot_join(struct converter *cv, struct convert_slot *s, struct entry **ret_fresh)
{
    struct convert_want *w = s->want;
    struct object *o = w->objects[s->at];
    struct entry *e = entry_find(cv, w->to, o->rev);
    *ret_fresh = NULL;
    if (e && e->out) {
        list_remove(&e->lru);
        list_push_back(&cv->cs->lru, &e->lru);
        cv->cs->stats.hits++;
        s->out = object_ref(e->out);
        return true;
    }
    if (!e)
        e = *ret_fresh = entry_new(cv, w->to, o);
    list_push_back(&e->slots, &s->link);
    return false;
}

int convert_start(struct converts *cs, struct convert_want *w, const struct schema_kind *to,
                  struct object **objects, size_t n, void (*done)(struct convert_want *w))
{
    struct converter *cv = converter_of(cs, to);
    struct entry **fresh = NULL;
    size_t n_fresh = 0, need = 0;
    ASSERT(!w->cs);
    error_fini(&w->err);
    *w = (struct convert_want){.to = to, .objects = objects, .done = done};
    for (size_t i = 0; i < n; i++)
        need += convert_needed(cs, to, objects[i]);
    if (!need)
        return 0;
    if (cs->stopped)
        return error_set(&w->err, REASON_UNAVAILABLE, "the server is shutting down");
    w->cs = cs;
    list_init(&w->link);
    list_init(&w->told);
    list_init(&w->batches);
    w->slots = xcalloc(need, sizeof(*w->slots));
    fresh = xcalloc(need, sizeof(struct entry *));
    for (size_t i = 0; i < n; i++) {
        if (!convert_needed(cs, to, objects[i]))
            continue;
        struct convert_slot *s = &w->slots[w->n_slots++];
        s->want = w;
        s->at = i;
        list_init(&s->link);
        if (!slot_join(cv, s, &fresh[n_fresh]))
            w->left++;
        n_fresh += fresh[n_fresh] != NULL;
    }
    list_push_back(&cs->wants, &w->link);
    if (!w->left)
        want_settle(w);
    else
        ask(cv, w, fresh, n_fresh);
    free(fresh);
    return w->cs ? 1 : 0;
}

void converts_set(struct converts *cs, const struct schema_kind *stored,
                  const struct api_custom_resource_definition *crd, rev_t rev,
                  struct custom *const *served, size_t n)
{
    size_t i = place(stored);
    struct converter *old;
    if (i >= cs->n) {
        if (!asks_webhook(crd))
            return;
        cs->v = xrealloc(cs->v, (i + 16) * sizeof(struct converter *));
        memset(cs->v + cs->n, 0, (i + 16 - cs->n) * sizeof(struct converter *));
        cs->n = i + 16;
    }
    old = cs->v[i];
    cs->v[i] = asks_webhook(crd) ? converter_new(cs, stored, crd, rev, served, n) : NULL;
    cs->n_live += (cs->v[i] != NULL) - (size_t)(old != NULL);
    if (!old)
        return;
    old->replaced = true;
    cache_drop(old);
    converter_unref(old);
}

void converts_stop(struct converts *cs)
{
    struct list told;
    struct convert_want *w;
    list_init(&told);
    cs->stopped = true;
    LIST_FOR_EACH (w, &cs->wants, link) {
        if (w->err.reason == REASON_NONE)
            (void)error_set(&w->err, REASON_UNAVAILABLE, "the server is shutting down");
        list_remove(&w->told);
        list_push_back(&told, &w->told);
    }
    tell(&told);
}

void converts_stats(const struct converts *cs, struct convert_stats *ret)
{
    *ret = cs->stats;
}

struct converts *converts_new(struct rt *core, convert_call_fn call, void *ctx)
{
    struct converts *cs = NEW(struct converts);
    cs->rt = core;
    cs->call = call;
    cs->ctx = ctx;
    list_init(&cs->wants);
    list_init(&cs->flying);
    list_init(&cs->lru);
    return cs;
}

static void batch_drop(struct batch *b)
{
    for (size_t i = 0; i < b->review.n; i++)
        entry_free(b->entries[i]);
    batch_free(b);
}

struct converts *converts_free(struct converts *cs)
{
    if (!cs)
        return NULL;
    ASSERT(list_empty(&cs->wants));
    while (!list_empty(&cs->flying)) { /* where one waits, others are under way */
        struct batch *b = LIST_FIRST(&cs->flying, struct batch, link);
        while (!list_empty(&b->cv->queue))
            batch_drop(LIST_FIRST(&b->cv->queue, struct batch, link));
        batch_drop(b);
    }
    for (size_t i = 0; i < cs->n; i++) {
        if (!cs->v[i])
            continue;
        while (!list_empty(&cs->v[i]->queue)) /* came after the stop */
            batch_drop(LIST_FIRST(&cs->v[i]->queue, struct batch, link));
        cache_drop(cs->v[i]);
        converter_unref(cs->v[i]);
    }
    free(cs->v);
    free(cs);
    return NULL;
}
