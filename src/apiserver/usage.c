/* Each node has a timer and a connection of its own; its last two readings are all that is kept.
 * Answers are made from them and from the pods in the store, which say where they run and which
 * labels they have: what no pod of the store stands for is not shown. */
#include "apiserver/usage.h"

#include "apiserver/front/front_int.h"
#include "apiserver/internal.h"
#include "http/client.h"
#include "schema/select.h"

#define ASKED_FOR  (60 * NSEC_PER_SEC) /* so long after a question nodes are read eagerly */
#define TIMEOUT_MS 10000
#define SPAN_MIN   NSEC_PER_SEC /* two readings nearer to each other make no figure */

struct usage_node {
    struct list link;
    struct usage *usage;
    char *name, *host;
    uint16_t port;
    struct http_client *http;
    struct http_call *call;
    struct rt_timer timer;
    struct usage_reading prev, cur; /* at 0: none */
};

struct usage {
    struct apiserver *server;
    struct rt_tls_client *tls;
    struct list nodes;
    struct map by_name;
    struct store_watch watch;
    unsigned n_calls;
    nsec_t asked;
    bool started;
};

bool usage_is(const struct schema_kind *k)
{
    return k == KIND(METRICS_NODE_METRICS) || k == KIND(METRICS_POD_METRICS);
}

/* ---- readings ---- */

static void plan(struct usage_node *n)
{
    struct usage *u = n->usage;
    nsec_t now = rt_now(u->server->rt);
    bool eager = !n->prev.at || (u->asked && now - u->asked < ASKED_FOR);
    rt_timer_start(
        &n->timer,
        rt_jitter(u->server->rt, (eager ? USAGE_EAGER_S : USAGE_PERIOD_S) * NSEC_PER_SEC, 0.05));
}

static void on_answer(const struct http_answer *a, void *arg)
{
    struct usage_node *n = arg;
    struct usage *u = n->usage;
    n->call = NULL;
    u->n_calls--;
    if (!a->err && a->status == 200) {
        nsec_t now = rt_now(u->server->rt);
        if (n->cur.at && now - n->cur.at >= SPAN_MIN) {
            usage_reading_fini(&n->prev);
            n->prev = n->cur;
        } else {
            usage_reading_fini(&n->cur);
        }
        usage_parse(a->body, &n->cur);
        n->cur.at = now;
        n->cur.wall = rt_wall(u->server->rt);
    }
    plan(n);
}

static void on_due(void *arg)
{
    struct usage_node *n = arg;
    struct usage *u = n->usage;
    if (n->call || !n->http)
        return;
    if (u->n_calls >= USAGE_CALLS_MAX) {
        rt_timer_start(&n->timer, NSEC_PER_SEC / 10);
        return;
    }
    const struct http_client_request q = {
        .method = STR("GET"), .target = STR("/metrics/resource"), .timeout_ms = TIMEOUT_MS};
    u->n_calls++;
    n->call = http_client_fetch(n->http, &q, USAGE_BYTES_MAX, on_answer, n);
}

/* ---- nodes ---- */

static void disconnect(struct usage_node *n)
{
    rt_timer_stop(&n->timer);
    if (n->call) {
        http_call_cancel(n->call);
        n->usage->n_calls--;
        n->call = NULL;
    }
    if (n->http)
        n->http = http_client_free(n->http);
}

static void node_free(struct usage_node *n)
{
    disconnect(n);
    usage_reading_fini(&n->prev);
    usage_reading_fini(&n->cur);
    map_remove(&n->usage->by_name, str_z(n->name));
    list_remove(&n->link);
    free(n->name);
    free(n->host);
    free(n);
}

static struct str address_of(const struct api_node *o)
{
    static const char *const order[] = {"InternalIP", "ExternalIP", "Hostname"};
    for (size_t k = 0; k < ARRAY_LEN(order); k++)
        for (uint32_t i = 0; i < o->status.n_addresses; i++)
            if (str_eqz(o->status.addresses[i].type, order[k]))
                return o->status.addresses[i].address;
    return STR_NONE;
}

static void node_seen(struct usage *u, const struct object *o)
{
    const struct api_node *m = o->msg;
    struct str host = address_of(m);
    int32_t port = m->status.daemon_endpoints.kubelet_endpoint.port;
    struct usage_node *n = map_get(&u->by_name, m->metadata.name);
    uint16_t p = port > 0 && port < 65536 ? (uint16_t)port : 10250;
    if (!host.n || !u->tls || (n && n->http && str_eqz(host, n->host) && n->port == p))
        return;
    if (!n) {
        n = NEW(struct usage_node);
        n->usage = u;
        n->name = str_dup(m->metadata.name);
        rt_timer_init(&n->timer, u->server->rt, on_due, n);
        list_push_back(&u->nodes, &n->link);
        map_set(&u->by_name, str_z(n->name), n);
    }
    disconnect(n);
    free(n->host);
    n->host = str_dup(host);
    n->port = p;
    const struct http_target target = {.host = n->host, .port = p};
    const struct http_client_opts opts = {.conns_max = 1, .h2_window_bytes = 256 << 10};
    n->http = http_client_new(u->server->rt, &target, u->tls, &opts);
    rt_timer_start(&n->timer, rt_jitter(u->server->rt, NSEC_PER_SEC, 0.5));
}

static void on_events(void *arg, const struct store_event *events, size_t n)
{
    struct usage *u = arg;
    for (size_t i = 0; i < n; i++) {
        struct usage_node *node = map_get(&u->by_name, object_name(events[i].object));
        if (events[i].type != STORE_EVENT_DELETED)
            node_seen(u, events[i].object);
        else if (node)
            node_free(node);
    }
}

struct usage *usage_new(struct apiserver *s)
{
    struct usage *u = NEW(struct usage);
    u->server = s;
    list_init(&u->nodes);
    return u;
}

void usage_start(struct usage *u, struct rt_tls_client *tls)
{
    struct store *st = u->server->store;
    struct store_iter it;
    ASSERT(!u->started);
    u->started = true;
    u->tls = tls;
    if (store_iter_init(&it, st, KIND(NODE), STR_NONE, 0, STR_NONE, STR_NONE) >= 0) {
        for (struct object *o; (o = store_iter_next(&it));)
            node_seen(u, o);
        store_iter_fini(&it);
    }
    if (store_watch_start(&u->watch, st, KIND(NODE), STR_NONE, store_rev(st), on_events, u) < 0)
        ASSERT(!"the newest revision is in the window");
}

void usage_stop(struct usage *u)
{
    if (!u->started)
        return;
    u->started = false;
    store_watch_stop(&u->watch);
    while (!list_empty(&u->nodes))
        node_free(LIST_FIRST(&u->nodes, struct usage_node, link));
}

struct usage *usage_free(struct usage *u)
{
    if (!u)
        return NULL;
    usage_stop(u);
    map_fini(&u->by_name);
    free(u);
    return NULL;
}

/* ---- answers ---- */

/* The node's readings, when there are two of them and they are not old. */
static const struct usage_node *fresh(struct usage *u, struct str node)
{
    const struct usage_node *n = node.n ? map_get(&u->by_name, node) : NULL;
    return n && n->prev.at && rt_now(u->server->rt) - n->cur.at < USAGE_STALE_S * NSEC_PER_SEC
               ? n
               : NULL;
}

/* cpu over the window and memory at its end; false: no figure. */
static bool figures(const struct usage_node *n, const struct usage_sample *now, struct arena *a,
                    struct kv_quantity **ret, uint32_t *ret_n)
{
    const struct usage_sample *before =
        bsearch(now, n->prev.v, n->prev.n, sizeof(*now), usage_sample_cmp);
    if (!before || now->cpu_s < before->cpu_s) /* new, or begun anew under its name */
        return false;
    double span = (double)(n->cur.at - n->prev.at) / 1e9;
    struct kv_quantity *v = ARENA_NEW_N(a, struct kv_quantity, 2);
    struct str cpu = arena_printf(a, "%.0fn", (now->cpu_s - before->cpu_s) / span * 1e9);
    struct str memory =
        arena_printf(a, "%lluKi", (unsigned long long)(now->memory_bytes + 1023) / 1024);
    v[0].key = STR("cpu");
    v[1].key = STR("memory");
    if (quantity_parse(cpu, &v[0].value) < 0 || quantity_parse(memory, &v[1].value) < 0)
        return false;
    *ret = v;
    *ret_n = 2;
    return true;
}

static struct api_object_meta meta_of(const struct api_object_meta *m, usec_t now)
{
    return (struct api_object_meta){.name = m->name,
                                    .namespace = m->namespace,
                                    .labels = m->labels,
                                    .n_labels = m->n_labels,
                                    .creation_timestamp = timestamp_seconds(now)};
}

static struct object *of_node(struct usage *u, const struct object *o)
{
    const struct usage_node *n = fresh(u, object_name(o));
    struct arena a = {0};
    struct object *ret = NULL;
    const struct usage_sample self = {.ns = STR(""), .pod = STR(""), .name = STR("")},
                              *s = n ? bsearch(&self, n->cur.v, n->cur.n, sizeof(self),
                                               usage_sample_cmp)
                                     : NULL;
    struct api_metrics_node_metrics m = {.metadata =
                                             meta_of(object_meta(o), rt_wall(u->server->rt))};
    if (s && figures(n, s, &a, &m.usage, &m.n_usage)) {
        m.timestamp = timestamp_seconds(n->cur.wall);
        m.window = (struct duration){n->cur.at - n->prev.at, true};
        ret = object_new(KIND(METRICS_NODE_METRICS), &m, 0);
    }
    arena_fini(&a);
    return ret;
}

/* The first sample of the pod, or where it would be. */
static size_t first_of(const struct usage_reading *r, struct str ns, struct str pod)
{
    const struct usage_sample want = {.ns = ns, .pod = pod, .name = STR("")};
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (usage_sample_cmp(&r->v[mid], &want) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct object *of_pod(struct usage *u, const struct object *o)
{
    const struct api_pod *p = o->msg;
    const struct usage_node *n = fresh(u, p->spec.node_name);
    struct arena a = {0};
    struct object *ret = NULL;
    struct api_metrics_pod_metrics m = {.metadata = meta_of(&p->metadata, rt_wall(u->server->rt))};
    if (!n)
        return NULL;
    size_t i = first_of(&n->cur, p->metadata.namespace, p->metadata.name), end = i;
    while (end < n->cur.n && str_eq(n->cur.v[end].ns, p->metadata.namespace) &&
           str_eq(n->cur.v[end].pod, p->metadata.name))
        end++;
    m.containers = ARENA_NEW_N(&a, struct api_metrics_container_metrics, end - i);
    for (; i < end; i++) {
        struct api_metrics_container_metrics *c = &m.containers[m.n_containers];
        c->name = n->cur.v[i].name;
        m.n_containers += figures(n, &n->cur.v[i], &a, &c->usage, &c->n_usage);
    }
    if (m.n_containers) {
        m.timestamp = timestamp_seconds(n->cur.wall);
        m.window = (struct duration){n->cur.at - n->prev.at, true};
        ret = object_new(KIND(METRICS_POD_METRICS), &m, 0);
    }
    arena_fini(&a);
    return ret;
}

static const struct schema_kind *subject_of(const struct api_call *c)
{
    return c->kind == KIND(METRICS_NODE_METRICS) ? KIND(NODE) : KIND(POD);
}

static struct object *of(struct api_call *c, const struct object *o)
{
    struct usage *u = c->server->usage;
    u->asked = rt_now(c->server->rt);
    return o->kind == KIND(NODE) ? of_node(u, o) : of_pod(u, o);
}

int usage_get(struct api_call *c)
{
    struct object *o = store_get(c->server->store, subject_of(c), c->ns, c->name);
    c->reply.object = o ? of(c, o) : NULL;
    return c->reply.object ? 0 : call_not_found(c, c->kind, c->name);
}

int usage_list(struct api_call *c)
{
    struct store *st = c->server->store;
    const struct schema_kind *k = subject_of(c);
    struct label_selector labels;
    struct field_selector fields;
    struct store_iter it;
    int r = label_selector_parse(&c->arena, c->opts.label_selector, &labels, &c->reply.err);
    if (r >= 0)
        r = field_selector_parse(&c->arena, c->kind, c->opts.field_selector, &fields,
                                 &c->reply.err);
    if (r >= 0)
        r = store_iter_init(&it, st, k, c->ns.n ? c->ns : STR_NONE, 0, STR_NONE, STR_NONE);
    if (r < 0)
        return r;
    c->reply.items = ARENA_NEW_N(&c->arena, struct object *, store_iter_left(&it) + 1);
    for (struct object *o, *m; (o = store_iter_next(&it));) {
        if (!label_selector_match(&labels, object_meta(o)->labels, object_meta(o)->n_labels) ||
            !(m = of(c, o)))
            continue;
        if (field_selector_match(&fields, m->msg))
            c->reply.items[c->reply.n_items++] = m;
        else
            object_unref(m);
    }
    store_iter_fini(&it);
    c->server->usage->asked = rt_now(c->server->rt);
    c->reply.rev = store_rev(st);
    return 0;
}
