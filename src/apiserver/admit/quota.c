/* See quota.h. Each kind that some quota bounds is watched from then on; a quota that comes or
 * changes counts what is there, and from that revision on goes by the events. */
#include "apiserver/admit/quota.h"

#include "base/log.h"

#define RESYNC (300 * NSEC_PER_SEC) /* as kube-controller-manager: counts all anew */
#define RETRY  NSEC_PER_SEC         /* after a status the store did not take */
/* From a change to the status that tells of it. A write at once would make a commit of its own, for
 * which all who create something here would wait. */
#define STATUS_DELAY (20 * NSEC_PER_MSEC)

struct ns_quotas {
    char *ns;
    struct list quotas;
};

struct kind_watch {
    struct kind_watch *next;
    struct quotas *quotas;
    struct store_watch watch;
};

struct quota_charge {
    struct list link; /* quotas->charges */
    struct quotas *quotas;
    char *uid;
    struct charge_part {
        struct quota *quota; /* owned reference */
        struct str name;     /* in the call's arena */
        struct quantity amount;
    } * parts;
    size_t n, cap;
};

struct quotas {
    struct apiserver *server;
    struct map namespaces; /* name -> struct ns_quotas */
    struct kind_watch *kinds;
    struct store_watch watch;
    struct list dirty;
    struct list charges;
    struct map by_uid; /* of the charges of creates */
    struct list all;   /* struct quota */
    struct rt_timer flush_timer, resync_timer, retry_timer;
};

/* ---- quotas by namespace ---- */

struct list *quotas_of(struct quotas *x, struct str ns)
{
    struct ns_quotas *n = x->namespaces.n ? map_get(&x->namespaces, ns) : NULL;
    return n ? &n->quotas : NULL;
}

struct quota_item *quota_item_find(struct quota *q, struct str name)
{
    for (uint32_t i = 0; i < q->n_items; i++)
        if (str_eq(q->items[i].name, name))
            return &q->items[i];
    return NULL;
}

static void quota_free(struct quota *q)
{
    list_remove(&q->in_all);
    object_unref(q->object);
    arena_fini(&q->arena);
    free(q);
}

static void quota_unref(struct quota *q)
{
    if (--q->refs == 0)
        quota_free(q);
}

static struct quota *quota_find(struct list *l, struct str name)
{
    struct quota *q;
    LIST_FOR_EACH (q, l, in_ns)
        if (str_eq(object_name(q->object), name))
            return q;
    return NULL;
}

static void quota_insert(struct quotas *x, struct quota *q)
{
    struct str ns = object_ns(q->object);
    struct ns_quotas *n = map_get(&x->namespaces, ns);
    struct quota *other;
    if (!n) {
        n = NEW(struct ns_quotas);
        n->ns = str_dup(ns);
        list_init(&n->quotas);
        map_set(&x->namespaces, str_z(n->ns), n);
    }
    LIST_FOR_EACH (other, &n->quotas, in_ns)
        if (str_cmp(object_name(other->object), object_name(q->object)) > 0) {
            list_push_back(&other->in_ns, &q->in_ns); /* before it */
            return;
        }
    list_push_back(&n->quotas, &q->in_ns);
}

static void quota_drop(struct quotas *x, struct quota *q)
{
    struct ns_quotas *n = map_get(&x->namespaces, object_ns(q->object));
    ASSERT(n);
    q->gone = true;
    list_remove(&q->in_ns);
    list_remove(&q->in_dirty);
    if (list_empty(&n->quotas)) {
        map_remove(&x->namespaces, str_z(n->ns));
        free(n->ns);
        free(n);
    }
    quota_unref(q);
}

/* ---- counting ---- */

static void flush_soon(struct quotas *x)
{
    if (!rt_timer_active(&x->flush_timer))
        rt_timer_start(&x->flush_timer, STATUS_DELAY);
}

static void soil(struct quota *q)
{
    if (!list_linked(&q->in_dirty))
        list_push_back(&q->quotas->dirty, &q->in_dirty);
    flush_soon(q->quotas);
}

/* only: of this item alone; NULL: of all. */
static void count(struct quota *q, const struct quota_item *only, const struct schema_kind *k,
                  const void *msg, const struct amounts *usage, bool plus)
{
    const struct api_resource_quota_spec *spec = &OBJECT_MSG(q->object, api_resource_quota)->spec;
    if (!quota_selects(spec, k, msg))
        return;
    for (uint32_t i = 0; i < q->n_items; i++) {
        struct quota_item *it = &q->items[i];
        if (only && it != only)
            continue;
        const struct quantity *u = it->kind == k ? amounts_get(usage, it->name) : NULL;
        if (!u || quantity_is_zero(u))
            continue;
        it->used = plus ? quantity_add(&it->used, u) : quantity_sub(&it->used, u);
    }
}

static void charge_free(struct quota_charge *ch)
{
    for (size_t i = 0; i < ch->n; i++)
        quota_unref(ch->parts[i].quota);
    if (map_get(&ch->quotas->by_uid, str_z(ch->uid)) == ch)
        map_remove(&ch->quotas->by_uid, str_z(ch->uid));
    list_remove(&ch->link);
    free(ch->parts);
    free(ch->uid);
    free(ch);
}

/* parts of the charge are counted otherwise now, or never will be. */
static void give_back(struct quota_charge *ch)
{
    for (size_t i = 0; i < ch->n; i++) {
        struct charge_part *p = &ch->parts[i];
        struct quota_item *it = quota_item_find(p->quota, p->name);
        if (!it)
            continue;
        it->taken = quantity_sub(&it->taken, &p->amount);
        if (it->taken.mantissa < 0) /* bounded anew meanwhile */
            it->taken = (struct quantity){0};
    }
    while (ch->n)
        quota_unref(ch->parts[--ch->n].quota);
}

static void on_event(struct quotas *x, const struct store_event *e)
{
    struct object *o = e->type == STORE_EVENT_DELETED && e->prev ? e->prev : e->object;
    struct list *l = quotas_of(x, object_ns(o));
    struct quota_charge *ch = e->type == STORE_EVENT_ADDED && x->by_uid.n
                                  ? map_get(&x->by_uid, object_meta(o)->uid)
                                  : NULL;
    struct arena a = {0};
    struct quota *q;
    if (ch)
        give_back(ch);
    if (!l)
        return;
    struct amounts before = {.arena = &a}, after = {.arena = &a};
    struct object *prev = e->type == STORE_EVENT_DELETED ? o : e->prev;
    struct object *now = e->type == STORE_EVENT_DELETED ? NULL : e->object;
    if (prev)
        quota_usage(prev->kind, prev->msg, &before);
    if (now)
        quota_usage(now->kind, now->msg, &after);
    LIST_FOR_EACH (q, l, in_ns) {
        if (e->rev <= q->counted)
            continue;
        if (prev)
            count(q, NULL, prev->kind, prev->msg, &before, false);
        if (now)
            count(q, NULL, now->kind, now->msg, &after, true);
        soil(q);
    }
    arena_fini(&a);
}

static void on_events(void *arg, const struct store_event *events, size_t n)
{
    struct kind_watch *w = arg;
    for (size_t i = 0; i < n; i++)
        on_event(w->quotas, &events[i]);
}

static void watch_kind(struct quotas *x, const struct schema_kind *k)
{
    struct store *st = x->server->store;
    for (struct kind_watch *w = x->kinds; w; w = w->next)
        if (w->watch.kind == k)
            return;
    struct kind_watch *w = NEW(struct kind_watch);
    w->quotas = x;
    w->next = x->kinds;
    x->kinds = w;
    int r = store_watch_start(&w->watch, st, k, STR_NONE, store_rev(st), on_events, w);
    ASSERT(r >= 0); /* now is always in the window */
}

static void count_kind(struct quota *q, const struct quota_item *only, const struct schema_kind *k)
{
    struct store_iter it;
    if (store_iter_init(&it, q->quotas->server->store, k, object_ns(q->object), 0, STR_NONE,
                        STR_NONE) < 0)
        return;
    for (struct object *o; (o = store_iter_next(&it));) {
        struct arena a = {0};
        struct amounts usage = {.arena = &a};
        quota_usage(k, o->msg, &usage);
        count(q, only, k, o->msg, &usage, true);
        arena_fini(&a);
    }
    store_iter_fini(&it);
}

/* Counts what is there, whatever was thought before. */
static void recount(struct quota *q)
{
    for (uint32_t i = 0; i < q->n_items; i++)
        q->items[i].used = (struct quantity){.format = q->items[i].hard.format, .set = true};
    for (uint32_t i = 0; i < q->n_items; i++) {
        const struct schema_kind *k = q->items[i].kind;
        bool done = k == NULL;
        for (uint32_t j = 0; j < i && !done; j++)
            done = q->items[j].kind == k;
        if (done)
            continue;
        watch_kind(q->quotas, k);
        count_kind(q, NULL, k);
    }
    q->counted = store_rev(q->quotas->server->store);
    soil(q);
}

void quota_bind(struct quota *q, struct quota_item *item, const struct schema_kind *kind)
{
    ASSERT(!item->kind);
    item->kind = kind;
    watch_kind(q->quotas, kind);
    count_kind(q, item, kind);
    soil(q);
}

/* ---- the quotas themselves ---- */

static bool same_hard(const struct api_resource_quota *a, const struct api_resource_quota *b)
{
    return schema_equal(&api_resource_quota_spec_desc, &a->spec, &b->spec);
}

static void set_items(struct quota *q)
{
    const struct api_resource_quota_spec *s = &OBJECT_MSG(q->object, api_resource_quota)->spec;
    struct arena old = q->arena;
    struct quota_item *before = q->items;
    uint32_t n_before = q->n_items;
    q->arena = (struct arena){0};
    q->items = ARENA_NEW_N(&q->arena, struct quota_item, s->n_hard);
    q->n_items = s->n_hard;
    for (uint32_t i = 0; i < s->n_hard; i++) {
        q->items[i] = (struct quota_item){.name = arena_str(&q->arena, s->hard[i].key),
                                          .kind = quota_resource_kind(s->hard[i].key),
                                          .hard = s->hard[i].value};
        for (uint32_t j = 0; j < n_before; j++)
            if (str_eq(before[j].name, q->items[i].name)) {
                q->items[i].taken = before[j].taken;
                if (!q->items[i].kind)
                    q->items[i].kind = before[j].kind;
            }
    }
    arena_fini(&old);
}

static void quota_set(struct quotas *x, struct object *o)
{
    struct list *l = quotas_of(x, object_ns(o));
    struct quota *q = l ? quota_find(l, object_name(o)) : NULL;
    if (q && same_hard(q->object->msg, o->msg)) {
        object_ref(o);
        object_unref(q->object);
        q->object = o;
        soil(q); /* somebody else may have written its status */
        return;
    }
    if (!q) {
        q = NEW(struct quota);
        q->refs = 1;
        q->quotas = x;
        list_init(&q->in_dirty);
        list_init(&q->in_ns);
        list_push_back(&x->all, &q->in_all);
        q->object = object_ref(o);
        quota_insert(x, q);
    } else {
        object_ref(o);
        object_unref(q->object);
        q->object = o;
    }
    set_items(q);
    recount(q);
}

static void on_quotas(void *arg, const struct store_event *events, size_t n)
{
    struct quotas *x = arg;
    for (size_t i = 0; i < n; i++) {
        struct object *o = events[i].object;
        if (events[i].type != STORE_EVENT_DELETED) {
            quota_set(x, o);
            continue;
        }
        struct list *l = quotas_of(x, object_ns(o));
        struct quota *q = l ? quota_find(l, object_name(o)) : NULL;
        if (q)
            quota_drop(x, q);
    }
}

/* ---- charges ---- */

void quota_take(struct api_call *c, struct quota *q, struct quota_item *item, struct str uid,
                bool created, const struct quantity *amount)
{
    struct quotas *x = q->quotas;
    struct quota_charge *ch = c->charge;
    if (!ch) {
        ch = c->charge = NEW(struct quota_charge);
        ch->quotas = x;
        ch->uid = str_dup(uid);
        list_push_back(&x->charges, &ch->link);
        if (created) /* an earlier event of an object that is updated is not this write's */
            map_set(&x->by_uid, str_z(ch->uid), ch);
    }
    ARRAY_RESERVE(ch->parts, ch->n, ch->cap);
    q->refs++;
    ch->parts[ch->n++] = (struct charge_part){q, arena_str(&c->arena, item->name), *amount};
    item->taken = quantity_add(&item->taken, amount);
}

void quota_release(struct api_call *c)
{
    if (!c->charge)
        return;
    give_back(c->charge);
    charge_free(c->charge);
    c->charge = NULL;
}

/* ---- the status ---- */

static void on_retry(void *arg)
{
    flush_soon(arg);
}

static void write_later(struct quota *q)
{
    if (!list_linked(&q->in_dirty))
        list_push_back(&q->quotas->dirty, &q->in_dirty);
    if (!rt_timer_active(&q->quotas->retry_timer))
        rt_timer_start(&q->quotas->retry_timer, RETRY);
}

static void on_written(void *arg, int r, struct object *obj, const struct error *err)
{
    struct quota *q = arg;
    (void)obj;
    (void)err;
    q->writing = false;
    if (q->gone) {
        quota_unref(q);
        return;
    }
    if (r < 0)
        write_later(q);
    else if (list_linked(&q->in_dirty))
        flush_soon(q->quotas);
    quota_unref(q);
}

static void write_status(struct quota *q)
{
    struct arena a = {0};
    struct store *st = q->quotas->server->store;
    const struct schema_kind *k = KIND(RESOURCE_QUOTA);
    struct object *o = store_peek(st, k, object_ns(q->object), object_name(q->object));
    if (!o)
        return;
    struct api_resource_quota *m = schema_clone(k->desc, o->msg, &a);
    struct kv_quantity *hard = ARENA_NEW_N(&a, struct kv_quantity, q->n_items),
                       *used = ARENA_NEW_N(&a, struct kv_quantity, q->n_items);
    for (uint32_t i = 0; i < q->n_items; i++) { /* sorted as the spec is */
        hard[i] = (struct kv_quantity){q->items[i].name, q->items[i].hard};
        used[i] = (struct kv_quantity){q->items[i].name, q->items[i].used};
    }
    m->status = (struct api_resource_quota_status){hard, q->n_items, used, q->n_items};
    m->metadata.resource_version = object_meta(o)->resource_version;
    if (!schema_equal(k->desc, m, o->msg)) {
        m->metadata.resource_version = STR_NONE;
        q->refs++;
        q->writing = true;
        if (store_put(st, k, m, o->rev, on_written, q, NULL) < 0) {
            q->writing = false;
            q->refs--;
            write_later(q);
        }
    }
    arena_fini(&a);
}

static void on_flush(void *arg)
{
    struct quotas *x = arg;
    struct list todo;
    list_init(&todo);
    while (!list_empty(&x->dirty)) {
        struct quota *q = LIST_FIRST(&x->dirty, struct quota, in_dirty);
        list_remove(&q->in_dirty);
        list_push_back(&todo, &q->in_dirty);
    }
    while (!list_empty(&todo)) {
        struct quota *q = LIST_FIRST(&todo, struct quota, in_dirty);
        list_remove(&q->in_dirty);
        if (q->writing)
            list_push_back(&x->dirty, &q->in_dirty); /* its answer comes back to it */
        else
            write_status(q);
    }
}

static void on_resync(void *arg)
{
    struct quotas *x = arg;
    for (struct map_slot *s = NULL; (s = map_next(&x->namespaces, s));) {
        struct quota *q;
        LIST_FOR_EACH (q, &((struct ns_quotas *)s->value)->quotas, in_ns) {
            set_items(q); /* kinds may be served now that were not */
            recount(q);
        }
    }
    rt_timer_start(&x->resync_timer, RESYNC);
}

/* ---- life ---- */

struct quotas *quotas_new(struct apiserver *s)
{
    struct quotas *x = NEW(struct quotas);
    struct store_iter it;
    x->server = s;
    list_init(&x->dirty);
    list_init(&x->charges);
    list_init(&x->all);
    rt_timer_init(&x->flush_timer, s->rt, on_flush, x);
    rt_timer_init(&x->resync_timer, s->rt, on_resync, x);
    rt_timer_init(&x->retry_timer, s->rt, on_retry, x);
    int r = store_iter_init(&it, s->store, KIND(RESOURCE_QUOTA), STR_NONE, 0, STR_NONE, STR_NONE);
    ASSERT(r >= 0);
    for (struct object *o; (o = store_iter_next(&it));)
        quota_set(x, o);
    store_iter_fini(&it);
    r = store_watch_start(&x->watch, s->store, KIND(RESOURCE_QUOTA), STR_NONE, store_rev(s->store),
                          on_quotas, x);
    ASSERT(r >= 0);
    rt_timer_start(&x->resync_timer, RESYNC);
    return x;
}

struct quotas *quotas_free(struct quotas *x)
{
    if (!x)
        return NULL;
    while (!list_empty(&x->charges))
        charge_free(LIST_FIRST(&x->charges, struct quota_charge, link));
    store_watch_stop(&x->watch);
    while (x->kinds) {
        struct kind_watch *w = x->kinds;
        x->kinds = w->next;
        store_watch_stop(&w->watch);
        free(w);
    }
    for (struct map_slot *s; (s = map_next(&x->namespaces, NULL));)
        quota_drop(x, LIST_FIRST(&((struct ns_quotas *)s->value)->quotas, struct quota, in_ns));
    rt_timer_stop(&x->flush_timer);
    rt_timer_stop(&x->resync_timer);
    rt_timer_stop(&x->retry_timer);
    while (!list_empty(&x->all)) /* whose write nobody answers any more */
        quota_free(LIST_FIRST(&x->all, struct quota, in_all));
    map_fini(&x->namespaces);
    map_fini(&x->by_uid);
    free(x);
    return NULL;
}
