/* What a cluster of thousands costs is found out with nodes that cost nothing: all of them share
 * one client, one cache of pods and one timer wheel. A pod's status is written once when it starts
 * and never again, as a well-behaved agent does, unless it is resized (which always succeeds) or
 * somebody else has taken back what it says. */
#include "node/hollow_int.h"

#include "api/pod.h"
#include "base/mem.h"

#include <stdio.h>

static struct hollow_node *pod_node(struct hollow *h, struct object *o)
{
    return o ? map_get(&h->nodes_by_name, OBJECT_MSG(o, api_pod)->spec.node_name) : NULL;
}

/* ---- pods ---- */

void hollow_container(struct hollow_pod *p, bool runs)
{
    const struct hollow_opts *o = &p->h->opts;

    if (p->running == runs)
        return;
    p->running = runs;
    p->h->running = runs ? p->h->running + 1 : p->h->running - 1;
    if (o->on_container)
        o->on_container(o->arg, p->node->name, object_meta(p->object), runs);
}

static void pod_forget(struct hollow_pod *p)
{
    rt_timer_stop(&p->timer);
    hollow_container(p, false);
    map_remove(&p->h->pods_by_key, str_z(p->key));
    object_unref(p->object);
    free(p->key);
    free(p);
}

/* What the annotation davit.dev/hollow asks for: "never-ready", "succeed" or "fail" (soon after the
 * start). */
static bool pod_behaves(const struct hollow_pod *p, const char *how)
{
    const struct api_object_meta *m = object_meta(p->object);
    const struct str *v =
        m->n_annotations ? kv_str_get(m->annotations, m->n_annotations, STR("davit.dev/hollow"))
                         : NULL;
    return v && str_eqz(*v, how);
}

static bool pod_says_ready(const struct object *o)
{
    const struct api_pod_status *st = &OBJECT_MSG(o, api_pod)->status;

    for (uint32_t i = 0; i < st->n_conditions; i++)
        if (str_is(st->conditions[i].type, "Ready"))
            return str_is(st->conditions[i].status, "True");
    return false;
}

static bool pod_is_resized(const struct object *o)
{
    const struct api_pod *pod = OBJECT_MSG(o, api_pod);
    uint32_t n = MIN(pod->spec.n_containers, pod->status.n_container_statuses);

    if (!pod_same_whole(pod->spec.resources, pod->status.resources))
        return true;
    for (uint32_t i = 0; i < n; i++) {
        const struct api_resource_requirements *r = pod->status.container_statuses[i].resources;
        if (r && !pod_same_resources(r, &pod->spec.containers[i].resources))
            return true;
    }
    return false;
}

/* What it said was taken away while its node was silent, or is true no more: it says it again. */
static void pod_say_again(struct hollow_pod *p)
{
    if (p->started && !p->over && !p->writing &&
        str_is(OBJECT_MSG(p->object, api_pod)->status.phase, "Running") &&
        ((!pod_says_ready(p->object) && !pod_behaves(p, "never-ready")) ||
         pod_is_resized(p->object)))
        p->started = false;
}

/* The answer of a write about a pod; a lost one is made up for by trying again. */
struct hollow_call {
    struct hollow *h;
    char *key; /* owned; the pod may be gone by then */
    bool is_delete;
};

static void call_dropped(void *arg)
{
    struct hollow_call *call = arg;

    free(call->key);
    free(call);
}

static void pod_written(void *arg, const struct client_reply *reply)
{
    struct hollow_call *call = arg;
    struct hollow_pod *p = map_get(&call->h->pods_by_key, str_z(call->key));

    if (p) {
        p->writing = false;
        p->let_go = call->is_delete && reply->r == 0;
        if (reply->r < 0 && reply->r != -ENOENT)
            p->started = p->over = false;
        if (reply->r == 0 && reply->object && reply->object->rev < p->object->rev)
            pod_say_again(p); /* somebody spoke after us, while we waited for the answer */
        if (reply->r < 0 && reply->r != -ENOENT && !rt_timer_active(&p->timer))
            rt_timer_start(&p->timer, NSEC_PER_SEC);
        else
            hollow_pod_arm(p);
    }
    call_dropped(call);
}

static struct hollow_call *pod_call(struct hollow_pod *p)
{
    struct hollow_call *call = NEW(struct hollow_call);

    *call = (struct hollow_call){.h = p->h, .key = xstrdup(p->key)};
    p->writing = true;
    return call;
}

static void pod_delete(struct hollow_pod *p)
{
    const struct api_object_meta *meta = object_meta(p->object);
    const struct client_request req = {
        .verb = CLIENT_DELETE,
        .kind = schema_kinds[KIND_POD],
        .ns = meta->namespace,
        .name = meta->name,
        .precondition_uid = meta->uid,
        .has_grace_period = true,
        .dropped = call_dropped,
    };

    hollow_container(p, false);
    struct hollow_call *call = pod_call(p);
    call->is_delete = true;
    client_call(p->h->client, &req, pod_written, call);
}

static void condition_set(struct api_pod_condition *c, const char *type, struct timestamp at)
{
    *c = (struct api_pod_condition){
        .type = str_z(type), .status = STR("True"), .last_transition_time = at};
}

static void container_end(struct api_container_status *s, bool ok, struct timestamp at,
                          struct arena *a)
{
    struct api_container_state_terminated *t = ARENA_NEW(a, struct api_container_state_terminated);

    *t = (struct api_container_state_terminated){.exit_code = !ok,
                                                 .reason = ok ? STR("Completed") : STR("Error"),
                                                 .started_at = at,
                                                 .finished_at = at};
    s->ready = s->started = false;
    s->state.running = NULL;
    s->state.terminated = t;
}

static void container_fill(struct api_container_status *s, const struct api_container *c,
                           struct timestamp at, struct arena *a)
{
    struct api_container_state_running *running = ARENA_NEW(a, struct api_container_state_running);

    running->started_at = at;
    *s = (struct api_container_status){.name = c->name,
                                       .image = c->image,
                                       .image_id = STR("hollow"),
                                       .ready = true,
                                       .has_started = true,
                                       .started = true,
                                       .container_id = STR("hollow://0")};
    s->allocated_resources = c->resources.requests;
    s->n_allocated_resources = c->resources.n_requests;
    s->resources = ARENA_NEW(a, struct api_resource_requirements);
    *s->resources = c->resources;
    s->state.running = running;
}

static struct str pod_address(struct hollow *h, struct arena *a)
{
    uint32_t ip = h->next_ip++;
    struct str range = str_z(h->opts.pod_cidr);

    if (range.n) /* a /24, whose first two addresses are no pod's */
        return arena_printf(a, "%.*s.%u", (int)str_rfind(range, '.'), range.p, 2 + ip % 253);
    return arena_printf(a, "10.%u.%u.%u", 128 + (ip >> 16 & 127), ip >> 8 & 255, ip & 255);
}

static void pod_run(struct hollow_pod *p)
{
    static const char *const types[] = {"PodScheduled", "Initialized", "ContainersReady", "Ready"};
    struct hollow *h = p->h;
    struct timestamp now = timestamp_seconds(rt_wall(h->client->rt));
    struct arena a = {0};
    struct api_pod *pod = schema_clone(&api_pod_desc, p->object->msg, &a);
    struct api_pod_status *st = &pod->status;

    st->phase = STR("Running");
    st->observed_generation = pod->metadata.generation;
    st->resources = pod->spec.resources;
    if (st->resources) {
        st->allocated_resources = st->resources->requests;
        st->n_allocated_resources = st->resources->n_requests;
    }
    /* It may be saying something again: it is the same pod, and ready since then or since now. */
    struct timestamp start = st->start_time.set ? st->start_time : now;
    if (pod_says_ready(p->object))
        now = start;
    st->start_time = start;
    if (!st->pod_ip.n)
        st->pod_ip = pod_address(h, &a);
    st->pod_ips = ARENA_NEW(&a, struct api_pod_ip);
    st->pod_ips[0].ip = st->pod_ip;
    st->n_pod_ips = 1;
    st->host_ip = STR("127.0.0.1");
    st->n_conditions = ARRAY_LEN(types);
    st->conditions = ARENA_NEW_N(&a, struct api_pod_condition, ARRAY_LEN(types));
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        condition_set(&st->conditions[i], types[i], now);
    st->n_container_statuses = pod->spec.n_containers;
    st->container_statuses = ARENA_NEW_N(&a, struct api_container_status, pod->spec.n_containers);
    for (uint32_t i = 0; i < pod->spec.n_containers; i++)
        container_fill(&st->container_statuses[i], &pod->spec.containers[i], start, &a);
    bool ok = pod_behaves(p, "succeed");
    p->over = ok || pod_behaves(p, "fail");
    for (uint32_t i = 0; p->over && i < pod->spec.n_containers; i++)
        container_end(&st->container_statuses[i], ok, now, &a);
    if (p->over)
        st->phase = ok ? STR("Succeeded") : STR("Failed");
    if (p->over || pod_behaves(p, "never-ready"))
        st->conditions[2].status = st->conditions[3].status = STR("False");
    pod->metadata.resource_version = STR_NONE;
    const struct client_request req = {.verb = CLIENT_UPDATE,
                                       .kind = schema_kinds[KIND_POD],
                                       .ns = pod->metadata.namespace,
                                       .name = pod->metadata.name,
                                       .subresource = STR("status"),
                                       .body = pod,
                                       .dropped = call_dropped};
    client_call(h->client, &req, pod_written, pod_call(p));
    arena_fini(&a);
    hollow_container(p, !p->over);
}

static void pod_due(void *arg)
{
    struct hollow_pod *p = arg;

    if (p->node->dead || p->writing)
        return;
    if (object_meta(p->object)->deletion_timestamp.set)
        pod_delete(p);
    else if (!p->started && hollow_fence_allows(p)) {
        p->started = true;
        pod_run(p);
    }
}

void hollow_pod_arm(struct hollow_pod *p)
{
    nsec_t delay = p->h->opts.start_delay;

    if (p->node->dead || p->writing || p->let_go || rt_timer_active(&p->timer))
        return;
    if (object_meta(p->object)->deletion_timestamp.set)
        delay = 0;
    else if (p->started)
        return;
    rt_timer_start(&p->timer, delay ? rt_jitter(p->h->client->rt, delay, 0.5) : 0);
}

static void pods_changed(void *arg, struct object *old, struct object *new)
{
    struct hollow *h = arg;
    struct object *o = new ? new : old;
    struct hollow_node *node = pod_node(h, o);
    struct hollow_pod *p;
    struct buf key = {0};

    if (!node)
        return;
    buf_add_str(&key, object_meta(o)->uid);
    p = map_get(&h->pods_by_key, buf_str(&key));
    if (!new) {
        if (p && node->dead)
            p->gone = true;
        else if (p)
            pod_forget(p);
        buf_fini(&key);
        return;
    }
    if (!p) {
        const struct api_pod *pod = OBJECT_MSG(new, api_pod);
        p = NEW(struct hollow_pod);
        *p = (struct hollow_pod){.h = h, .node = node, .key = str_dup(buf_str(&key))};
        rt_timer_init(&p->timer, h->client->rt, pod_due, p);
        map_set(&h->pods_by_key, str_z(p->key), p);
        p->running = !h->opts.empty && str_is(pod->status.phase, "Running");
        p->over = str_is(pod->status.phase, "Succeeded") || str_is(pod->status.phase, "Failed");
        p->started = p->running || p->over;
        h->running += p->running;
    }
    object_unref(p->object);
    p->object = object_ref(new);
    p->gone = false;
    pod_say_again(p);
    hollow_pod_arm(p);
    buf_fini(&key);
}

/* ---- nodes ---- */

static void status_write(struct hollow_node *n);

static nsec_t lease_period(const struct hollow_node *n)
{
    /* At first soon again: the server writes its grace on the lease once it has seen it. */
    return n->grace_text ? MIN(n->h->opts.lease_period, fence_lease_period(n->grace))
                         : MIN(n->h->opts.lease_period, NSEC_PER_SEC);
}

static void learn_grace(struct hollow_node *n, const struct object *lease)
{
    const struct str *text =
        lease ? KV_GET(object_meta(lease), annotations, STR(FENCE_GRACE_ANNOTATION)) : NULL;
    struct duration d;

    if (!text || duration_parse(*text, &d) < 0 || d.nsec < NSEC_PER_SEC ||
        (n->grace_text && d.nsec == n->grace))
        return;
    free(n->grace_text);
    n->grace_text = str_dup(*text);
    if (d.nsec == n->grace)
        return;
    n->grace = d.nsec;
    if (n->dead)
        return;
    rt_timer_start(&n->lease_timer, lease_period(n));
    status_write(n); /* by that grace we may have been too slow, and count as lost */
}

static void lease_known(struct hollow_node *n, const struct object *lease)
{
    if (!lease)
        return;
    n->lease_exists = true;
    snprintf(n->rev_text, sizeof(n->rev_text), "%llu", (unsigned long long)lease->rev);
    learn_grace(n, lease);
}

static void lease_read(void *arg, const struct client_reply *reply)
{
    struct hollow_node *n = arg;

    n->leasing = false;
    if (reply->r < 0)
        return;
    lease_known(n, reply->object);
    if (!n->dead)
        rt_timer_start(&n->lease_timer, 0);
}

static void lease_written(void *arg, const struct client_reply *reply)
{
    struct hollow_node *n = arg;
    nsec_t now = rt_now(n->h->client->rt);

    if (reply->r == -ENOENT)
        n->lease_exists = false;
    if (reply->r == 0 || reply->r == -EEXIST)
        n->lease_exists = true;
    n->leasing = false;
    if (reply->r == -ESTALE || reply->r == -EEXIST) { /* what is there is read, then replaced */
        n->leasing = true;
        client_get(n->h->client, schema_kinds[KIND_LEASE], STR("kube-node-lease"), str_z(n->name),
                   lease_read, n);
        return;
    }
    if (reply->r < 0)
        return;
    lease_known(n, reply->object);
    hollow_fence_acked(n);
    if (n->renewed_at && now - n->renewed_at > n->grace / 2)
        status_write(n); /* others may have taken it for dead: it speaks up for itself */
    n->renewed_at = now;
}

static void lease_renew(void *arg)
{
    struct hollow_node *n = arg;
    struct api_lease lease = {
        .metadata = {.name = str_z(n->name), .namespace = STR("kube-node-lease")},
        .spec = {.holder_identity = str_z(n->name),
                 .has_lease_duration_seconds = true,
                 .lease_duration_seconds = 40,
                 .renew_time = timestamp_of(rt_wall(n->h->client->rt))},
    };

    struct arena a = {0};
    struct kv_str said[2];

    if (n->dead)
        return;
    rt_timer_start(&n->lease_timer, rt_jitter(n->h->client->rt, lease_period(n), 0.1));
    if (n->leasing)
        return;
    n->leasing = true;
    hollow_fence_sent(n);
    lease.metadata.annotations = said;
    if (n->h->opts.fence)
        said[lease.metadata.n_annotations++] = (struct kv_str){
            STR(FENCE_PROMISE_ANNOTATION), fence_promise_print(&a, &n->fence.promised)};
    if (n->grace_text)
        said[lease.metadata.n_annotations++] =
            (struct kv_str){STR(FENCE_GRACE_ANNOTATION), str_z(n->grace_text)};
    /* With the revision we know: a renewal that was late on its way replaces nothing newer. */
    lease.metadata.resource_version = n->lease_exists ? str_z(n->rev_text) : STR_NONE;
    if (n->lease_exists)
        client_update(n->h->client, schema_kinds[KIND_LEASE], &lease, lease_written, n);
    else
        client_create(n->h->client, schema_kinds[KIND_LEASE], &lease, lease_written, n);
    arena_fini(&a);
}

static int cmp_key(const void *a, const void *b)
{
    return str_cmp(((const struct kv_str *)a)->key, ((const struct kv_str *)b)->key);
}

/* Adds those of the options to the n that are there; how many there are then. */
static uint32_t node_labels(const struct hollow_opts *o, struct kv_str *v, uint32_t n, uint32_t max)
{
    struct str rest = str_z(o->labels), label, key;

    while (rest.n && n < max) {
        (void)str_cut(&rest, ',', &label);
        (void)str_cut(&label, '=', &key);
        v[n++] = (struct kv_str){key, label.p ? label : STR("")};
    }
    qsort(v, n, sizeof(*v), cmp_key);
    return n;
}

static void node_fill(struct hollow_node *n, struct api_node *node, struct arena *a)
{
    const struct hollow_opts *o = &n->h->opts;
    struct timestamp now = timestamp_seconds(rt_wall(n->h->client->rt));
    struct kv_quantity *cap = ARENA_NEW_N(a, struct kv_quantity, 3);
    struct kv_str *labels = ARENA_NEW_N(a, struct kv_str, 10);
    struct api_node_condition *ready = ARENA_NEW(a, struct api_node_condition);
    struct api_node_address *address = ARENA_NEW(a, struct api_node_address);

    cap[0] = (struct kv_quantity){STR("cpu"), quantity_from_milli(o->cpu_milli)};
    cap[1] =
        (struct kv_quantity){STR("memory"), quantity_from(o->memory_bytes, QUANTITY_BINARY_SI)};
    cap[2] = (struct kv_quantity){STR("pods"), quantity_from(o->pods_max, QUANTITY_DECIMAL_SI)};
    labels[0] = (struct kv_str){STR("davit.dev/hollow"), STR("true")};
    labels[1] = (struct kv_str){STR("kubernetes.io/hostname"), str_z(n->name)};
    *ready = (struct api_node_condition){.type = STR("Ready"),
                                         .status = STR("True"),
                                         .reason = STR("HollowNode"),
                                         .message = STR("runs pods without containers"),
                                         .last_heartbeat_time = now,
                                         .last_transition_time = now};
    *address = (struct api_node_address){.type = STR("Hostname"), .address = str_z(n->name)};
    node->metadata = (struct api_object_meta){
        .name = str_z(n->name), .labels = labels, .n_labels = node_labels(o, labels, 2, 10)};
    node->status.capacity = node->status.allocatable = cap;
    node->status.n_capacity = node->status.n_allocatable = 3;
    node->status.conditions = ready;
    node->status.n_conditions = 1;
    node->status.addresses = address;
    node->status.n_addresses = 1;
    node->status.node_info.kubelet_version = STR("v1.36.0+davit-hollow");
}

static void node_status_written(void *arg, const struct client_reply *reply)
{
    struct hollow_node *n = arg;

    if (reply->r < 0)
        n->renewed_at = 1; /* long ago: again with the next lease */
    else if (!n->renewed_at)
        n->renewed_at = rt_now(n->h->client->rt); /* a status is a sign of life, too */
    if (reply->r < 0 || n->registered)
        return;
    n->registered = true;
    if (++n->h->registered == n->h->opts.nodes && n->h->opts.on_ready)
        n->h->opts.on_ready(n->h->opts.arg);
}

static void status_write(struct hollow_node *n)
{
    struct arena a = {0};
    struct api_node node = {0};

    node_fill(n, &node, &a);
    client_update_status(n->h->client, schema_kinds[KIND_NODE], &node, node_status_written, n);
    arena_fini(&a);
}

static void node_created(void *arg, const struct client_reply *reply)
{
    struct hollow_node *n = arg;

    if (reply->r < 0 && reply->r != -EEXIST) {
        rt_timer_start(&n->lease_timer, NSEC_PER_SEC); /* tried again with the next lease */
        return;
    }
    status_write(n);
    lease_renew(n);
}

static void node_register(void *arg)
{
    struct hollow_node *n = arg;
    struct arena a = {0};
    struct api_node node = {0};

    if (n->registered) {
        lease_renew(n);
        return;
    }
    node_fill(n, &node, &a);
    client_create(n->h->client, schema_kinds[KIND_NODE], &node, node_created, n);
    arena_fini(&a);
}

/* ---- life ---- */

struct hollow *hollow_new(struct client *c, const struct hollow_opts *opts)
{
    struct hollow *h = NEW(struct hollow);
    struct client_cache_opts cache = {.kind = schema_kinds[KIND_POD]};
    char own[96];

    h->client = c;
    h->opts = *opts;
    h->opts.labels = h->labels = opts->labels ? xstrdup(opts->labels) : NULL;
    h->opts.pod_cidr = h->pod_cidr = opts->pod_cidr ? xstrdup(opts->pod_cidr) : NULL;
    if (!h->opts.name_prefix)
        h->opts.name_prefix = "hollow";
    if (!h->opts.lease_period)
        h->opts.lease_period = 10 * NSEC_PER_SEC;
    if (!h->opts.cpu_milli)
        h->opts.cpu_milli = 4000;
    if (!h->opts.memory_bytes)
        h->opts.memory_bytes = INT64_C(16) << 30;
    if (!h->opts.pods_max)
        h->opts.pods_max = 110;
    h->nodes = xcalloc(opts->nodes, sizeof(*h->nodes));
    for (unsigned i = 0; i < opts->nodes; i++) {
        struct hollow_node *n = &h->nodes[i];
        n->h = h;
        n->index = i;
        n->grace = 40 * NSEC_PER_SEC;
        hollow_fence_init(n);
        snprintf(n->name, sizeof(n->name), "%.40s-%u", h->opts.name_prefix, i);
        rt_timer_init(&n->lease_timer, c->rt, node_register, n);
        map_set(&h->nodes_by_name, str_z(n->name), n);
    }
    ASSERT(!opts->pod_cidr || opts->nodes == 1);
    snprintf(own, sizeof(own), "spec.nodeName=%s", h->nodes[0].name);
    if (opts->pod_cidr)
        cache.field_selector = str_z(own);
    h->pods = client_cache_new(c, &cache);
    client_cache_on_change(h->pods, pods_changed, h);
    return h;
}

void hollow_start(struct hollow *h)
{
    /* Spread, so that thousands of nodes do not arrive, nor renew, in one moment. */
    for (unsigned i = 0; i < h->opts.nodes; i++)
        rt_timer_start(&h->nodes[i].lease_timer, (nsec_t)i * 200 * NSEC_PER_USEC);
    client_cache_start(h->pods);
}

void hollow_set_dead(struct hollow *h, unsigned node, bool dead)
{
    struct hollow_node *n = &h->nodes[node];

    ASSERT(node < h->opts.nodes);
    n->dead = dead;
    if (dead) {
        rt_timer_stop(&n->lease_timer);
        return;
    }
    rt_timer_start(&n->lease_timer, 0);
    for (struct map_slot *s = map_next(&h->pods_by_key, NULL); s;) {
        struct hollow_pod *p = s->value;
        bool gone = p->node == n && p->gone;
        if (gone)
            pod_forget(p); /* the table has changed: from the start */
        s = map_next(&h->pods_by_key, gone ? NULL : s);
    }
    for (struct map_slot *s = NULL; (s = map_next(&h->pods_by_key, s));)
        if (((struct hollow_pod *)s->value)->node == n)
            hollow_pod_arm(s->value);
}

unsigned hollow_running_pods(const struct hollow *h)
{
    return h->running;
}

struct hollow *hollow_free(struct hollow *h)
{
    if (!h)
        return NULL;
    client_cache_free(h->pods);
    for (struct map_slot *s; (s = map_next(&h->pods_by_key, NULL));)
        pod_forget(s->value);
    for (unsigned i = 0; i < h->opts.nodes; i++) {
        rt_timer_stop(&h->nodes[i].lease_timer);
        rt_timer_stop(&h->nodes[i].fence.timer);
        free(h->nodes[i].grace_text);
    }
    map_fini(&h->pods_by_key);
    map_fini(&h->nodes_by_name);
    free(h->labels);
    free(h->pod_cidr);
    free(h->nodes);
    free(h);
    return NULL;
}
