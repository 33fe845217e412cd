/* Endpoints, the pure part. Pods are grouped by what their target ports resolve to (a named port
 * may differ from pod to pod) and by address family; each group fills slices of its own. Slices
 * that exist keep their endpoints in place, so one pod that comes or goes rewrites one slice, not
 * all. */
#include "controllers/endpoints_plan.h"

#include "base/hash.h"
#include "base/map.h"
#include "codec/values.h"

struct group {
    struct str family;
    uint64_t hash; /* of the ports: groups are looked for once a pod */
    struct api_discovery_endpoint_port *ports;
    uint32_t n_ports;
    struct api_endpoint **v;
    bool *placed;
    uint32_t n, cap;
    struct map by_address; /* address and uid -> its entry in v, while slices are planned */
};

struct planner {
    struct arena *a;
    const struct endpoints_in *in;
    struct group *groups;
    uint32_t n_groups, cap_groups;
    usec_t trigger; /* the latest change of a pod that became or ceased to be ready */
    struct endpoints_plan *out;
};

static bool ips_equal(const struct api_pod *x, const struct api_pod *y)
{
    if (!str_eq(x->status.pod_ip, y->status.pod_ip) || x->status.n_pod_ips != y->status.n_pod_ips)
        return false;
    for (uint32_t i = 0; i < x->status.n_pod_ips; i++)
        if (!str_eq(x->status.pod_ips[i].ip, y->status.pod_ips[i].ip))
            return false;
    return true;
}

bool endpoints_pod_changed(const struct api_pod *old, const struct api_pod *new)
{
    if (pod_is_ready(old) != pod_is_ready(new) ||
        pod_is_terminated(old) != pod_is_terminated(new) ||
        old->metadata.deletion_timestamp.set != new->metadata.deletion_timestamp.set ||
        !ips_equal(old, new) || !str_eq(old->spec.node_name, new->spec.node_name) ||
        old->metadata.n_labels != new->metadata.n_labels)
        return true;
    for (uint32_t i = 0; i < old->metadata.n_labels; i++)
        if (!str_eq(old->metadata.labels[i].key, new->metadata.labels[i].key) ||
            !str_eq(old->metadata.labels[i].value, new->metadata.labels[i].value))
            return true;
    return false;
}

static struct str port_key(struct arena *a, struct str protocol, struct str name)
{
    return arena_printf(a, "%.*s/%.*s", STR_ARG(str_empty(protocol) ? STR("TCP") : protocol),
                        STR_ARG(name));
}

/* The pod's ports by protocol and name; the first of a name. */
static void named_ports(struct arena *a, const struct api_pod *p, struct map *ret)
{
    for (uint32_t i = 0; i < p->spec.n_containers; i++)
        for (uint32_t j = 0; j < p->spec.containers[i].n_ports; j++) {
            struct api_container_port *cp = &p->spec.containers[i].ports[j];
            struct str key = port_key(a, cp->protocol, cp->name);
            if (!map_get(ret, key))
                (void)map_set(ret, key, cp);
        }
}

/* The port of the pod that a Service port leads to; 0: the pod has no such port. */
static int32_t target_port(struct arena *a, const struct api_service_port *sp,
                           const struct map *named)
{
    if (sp->target_port.type == INT_OR_STR_INT && sp->target_port.i != 0)
        return sp->target_port.i;
    if (sp->target_port.type != INT_OR_STR_STR)
        return sp->port;
    const struct api_container_port *cp =
        map_get(named, port_key(a, sp->protocol, sp->target_port.s));
    return cp ? cp->container_port : 0;
}

static struct api_discovery_endpoint_port *ports_of(struct arena *a, const struct api_service *svc,
                                                    const struct api_pod *p, uint32_t *ret_n)
{
    struct api_discovery_endpoint_port *v =
        ARENA_NEW_N(a, struct api_discovery_endpoint_port, svc->spec.n_ports + 1);
    struct map named = {0};
    bool looked = false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < svc->spec.n_ports; i++) {
        const struct api_service_port *sp = &svc->spec.ports[i];
        if (sp->target_port.type == INT_OR_STR_STR && !looked)
            named_ports(a, p, &named);
        looked |= sp->target_port.type == INT_OR_STR_STR;
        int32_t port = target_port(a, sp, &named);
        if (port == 0)
            continue;
        v[n++] = (struct api_discovery_endpoint_port){
            .name = sp->name.p ? sp->name : STR(""),
            .protocol = str_empty(sp->protocol) ? STR("TCP") : sp->protocol,
            .has_port = true,
            .port = port,
            .app_protocol = sp->app_protocol,
        };
    }
    map_fini(&named);
    *ret_n = n;
    return v;
}

static uint64_t ports_hash(const struct api_discovery_endpoint_port *v, uint32_t n)
{
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t one[] = {h, str_hash(v[i].name), str_hash(v[i].protocol),
                                (uint64_t)v[i].port, str_hash(v[i].app_protocol)};
        h = hash_bytes(one, sizeof(one));
    }
    return h;
}

static bool ports_equal(const struct api_discovery_endpoint_port *x, uint32_t nx,
                        const struct api_discovery_endpoint_port *y, uint32_t ny)
{
    if (nx != ny)
        return false;
    for (uint32_t i = 0; i < nx; i++)
        if (!str_eq(x[i].name, y[i].name) || !str_eq(x[i].protocol, y[i].protocol) ||
            x[i].port != y[i].port || !str_eq(x[i].app_protocol, y[i].app_protocol))
            return false;
    return true;
}

static struct group *group_get(struct planner *p, struct str family,
                               struct api_discovery_endpoint_port *ports, uint32_t n_ports)
{
    uint64_t hash = ports_hash(ports, n_ports);
    for (uint32_t i = 0; i < p->n_groups; i++)
        if (p->groups[i].hash == hash && str_eq(p->groups[i].family, family) &&
            ports_equal(p->groups[i].ports, p->groups[i].n_ports, ports, n_ports))
            return &p->groups[i];
    struct group *g = &p->groups[p->n_groups++];
    *g = (struct group){
        .family = family, .hash = hash, .ports = ports, .n_ports = n_ports, .cap = p->in->n_pods};
    g->v = ARENA_NEW_N(p->a, struct api_endpoint *, g->cap + 1);
    g->placed = ARENA_NEW_N(p->a, bool, g->cap + 1);
    return g;
}

static struct api_object_reference *pod_ref(struct arena *a, const struct api_pod *p)
{
    struct api_object_reference *r = ARENA_NEW(a, struct api_object_reference);
    *r = (struct api_object_reference){.kind = STR("Pod"),
                                       .namespace = p->metadata.namespace,
                                       .name = p->metadata.name,
                                       .uid = p->metadata.uid};
    return r;
}

/* Who prefers near endpoints is told for whom each is near; the nodes choose (src/net/plan.c). */
static void put_hints(struct planner *p, struct api_endpoint *e)
{
    struct str how = p->in->svc->spec.traffic_distribution;
    bool same_node = str_is(how, "PreferSameNode");
    if (!e->conditions.ready ||
        (!same_node && !str_is(how, "PreferClose") && !str_is(how, "PreferSameZone")))
        return;
    struct api_endpoint_hints *h = ARENA_NEW(p->a, struct api_endpoint_hints);
    if (e->zone.n) {
        h->for_zones = ARENA_NEW(p->a, struct api_for_zone);
        h->for_zones[0].name = e->zone;
        h->n_for_zones = 1;
    }
    if (same_node && e->node_name.n) {
        h->for_nodes = ARENA_NEW(p->a, struct api_for_node);
        h->for_nodes[0].name = e->node_name;
        h->n_for_nodes = 1;
    }
    if (h->n_for_zones || h->n_for_nodes)
        e->hints = h;
}

/* When what this endpoint says last became true, as far as the pod tells. */
static usec_t trigger_of(const struct api_pod *pod)
{
    const struct api_pod_condition *ready = pod_condition(pod, STR("Ready"));
    return ready && ready->last_transition_time.set ? ready->last_transition_time.usec : 0;
}

static struct api_endpoint *endpoint_of(struct planner *p, const struct api_pod *pod, struct str ip,
                                        struct str zone)
{
    const struct api_service *svc = p->in->svc;
    struct api_endpoint *e = ARENA_NEW(p->a, struct api_endpoint);
    bool ready = pod_is_ready(pod), publish = svc->spec.publish_not_ready_addresses;
    bool terminating = pod->metadata.deletion_timestamp.set;
    e->addresses = ARENA_NEW(p->a, struct str);
    e->addresses[0] = ip;
    e->n_addresses = 1;
    e->conditions = (struct api_endpoint_conditions){
        .has_ready = true,
        .ready = publish || (ready && !terminating),
        .has_serving = true,
        .serving = publish || ready,
        .has_terminating = true,
        .terminating = terminating,
    };
    e->node_name = str_empty(pod->spec.node_name) ? STR_NONE : pod->spec.node_name;
    e->zone = str_empty(zone) ? STR_NONE : zone;
    e->target_ref = pod_ref(p->a, pod);
    if (!str_empty(pod->spec.hostname) && str_eq(pod->spec.subdomain, svc->metadata.name))
        e->hostname = pod->spec.hostname;
    put_hints(p, e);
    return e;
}

static bool is_v6(struct str ip)
{
    return str_find(ip, ':') >= 0;
}

static bool wants_family(const struct api_service *svc, bool v6)
{
    if (svc->spec.n_ip_families == 0)
        return v6 == is_v6(svc->spec.cluster_ip);
    for (uint32_t i = 0; i < svc->spec.n_ip_families; i++)
        if (str_is(svc->spec.ip_families[i], "IPv6") == v6)
            return true;
    return false;
}

static void add_pod(struct planner *p, const struct api_pod *pod, struct str zone)
{
    if (pod_is_terminated(pod) || str_empty(pod->status.pod_ip))
        return;
    uint32_t n_ports, n_ips = MAX(pod->status.n_pod_ips, 1u);
    struct api_discovery_endpoint_port *ports = ports_of(p->a, p->in->svc, pod, &n_ports);
    for (uint32_t i = 0; i < n_ips; i++) {
        struct str ip = pod->status.n_pod_ips ? pod->status.pod_ips[i].ip : pod->status.pod_ip;
        if (!wants_family(p->in->svc, is_v6(ip)))
            continue;
        struct group *g = group_get(p, is_v6(ip) ? STR("IPv6") : STR("IPv4"), ports, n_ports);
        if (g->n < g->cap)
            g->v[g->n++] = endpoint_of(p, pod, ip, zone);
        p->trigger = MAX(p->trigger, trigger_of(pod));
    }
}

/* ---- slices ---- */

static void put_labels(struct planner *p, struct api_object_meta *m)
{
    const struct api_service *svc = p->in->svc;
    struct kv_str *v = svc->metadata.labels; /* kv_put makes copies */
    uint32_t n = svc->metadata.n_labels;
    if (str_is(svc->spec.cluster_ip, "None"))
        kv_put(p->a, &v, &n, STR("service.kubernetes.io/headless"), STR(""));
    kv_put(p->a, &v, &n, STR(LABEL_SERVICE_NAME), svc->metadata.name);
    kv_put(p->a, &v, &n, STR(LABEL_SLICE_MANAGER), STR(SLICE_MANAGER));
    m->labels = v;
    m->n_labels = n;
}

static struct api_endpoint_slice *slice_new(struct planner *p, struct str family)
{
    const struct api_service *svc = p->in->svc;
    struct api_endpoint_slice *s = ARENA_NEW(p->a, struct api_endpoint_slice);
    s->metadata.namespace = svc->metadata.namespace;
    s->metadata.generate_name = arena_printf(p->a, "%.*s-", STR_ARG(svc->metadata.name));
    owner_set(p->a, &s->metadata, schema_kinds[KIND_SERVICE], &svc->metadata);
    put_labels(p, &s->metadata);
    s->address_type = family;
    s->endpoints = ARENA_NEW_N(p->a, struct api_endpoint, SLICE_ENDPOINTS_MAX);
    return s;
}

/* For those who measure how long a change takes to arrive: the time of what is behind this write.
 * Where that is not known (a pod went), the annotation goes, too. */
static void put_trigger(struct planner *p, struct api_object_meta *m, bool fresh)
{
    char text[TIMESTAMP_TEXT_MAX];
    usec_t t = p->trigger;
    if (fresh && !t)
        t = p->in->svc->metadata.creation_timestamp.usec;
    struct str had = meta_annotation(m, STR(TRIGGER_TIME)), now = STR("");
    if (t) {
        size_t n = timestamp_format(timestamp_of(t), t % 1000000 != 0, text);
        now = arena_str(p->a, (struct str){text, n});
    }
    if (!t || str_eq(now, had))
        kv_drop(p->a, &m->annotations, &m->n_annotations, STR(TRIGGER_TIME));
    else
        kv_put(p->a, &m->annotations, &m->n_annotations, STR(TRIGGER_TIME), now);
}

static void change(struct planner *p, const struct api_endpoint_slice *old,
                   struct api_endpoint_slice *new)
{
    if (new)
        put_trigger(p, &new->metadata, !old);
    p->out->slices[p->out->n_slices++] = (struct slice_change){old, new};
}

static struct str endpoint_key(struct arena *a, const struct api_endpoint *e)
{
    return arena_printf(a, "%.*s %.*s", STR_ARG(e->addresses[0]), STR_ARG(e->target_ref->uid));
}

static ssize_t find_endpoint(struct planner *p, struct group *g, const struct api_endpoint *e)
{
    if (e->n_addresses != 1 || !e->target_ref)
        return -1;
    if (!g->by_address.n)
        for (uint32_t i = 0; i < g->n; i++)
            (void)map_set(&g->by_address, endpoint_key(p->a, g->v[i]), &g->v[i]);
    struct api_endpoint **at = map_get(&g->by_address, endpoint_key(p->a, e));
    return at && !g->placed[at - g->v] ? at - g->v : -1;
}

/* An existing slice with what is still true of it, in place. */
static struct api_endpoint_slice *slice_kept(struct planner *p, struct group *g,
                                             const struct api_endpoint_slice *old)
{
    struct api_endpoint_slice *s = ARENA_NEW(p->a, struct api_endpoint_slice);
    *s = *old;
    put_labels(p, &s->metadata);
    s->endpoints =
        ARENA_NEW_N(p->a, struct api_endpoint, MAX(old->n_endpoints, SLICE_ENDPOINTS_MAX));
    s->n_endpoints = 0;
    for (uint32_t i = 0; i < old->n_endpoints; i++) {
        ssize_t at = find_endpoint(p, g, &old->endpoints[i]);
        if (at < 0)
            continue;
        g->placed[at] = true;
        s->endpoints[s->n_endpoints++] = *g->v[at];
    }
    return s;
}

static void fill(struct group *g, struct api_endpoint_slice *s)
{
    for (uint32_t i = 0; i < g->n && s->n_endpoints < SLICE_ENDPOINTS_MAX; i++) {
        if (g->placed[i])
            continue;
        g->placed[i] = true;
        s->endpoints[s->n_endpoints++] = *g->v[i];
    }
}

static uint32_t unplaced(const struct group *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n; i++)
        n += !g->placed[i];
    return n;
}

static void fill_and_change(struct planner *p, struct group *g, struct api_endpoint_slice *s,
                            const struct api_endpoint_slice *old)
{
    fill(g, s);
    if (s->n_endpoints && !schema_equal(&api_endpoint_slice_desc, s, old))
        change(p, old, s);
}

/* Of the slices that would stay as they are, the fullest that takes all the rest: one write. */
static ssize_t best_fit(const struct planner *p, struct api_endpoint_slice *const *kept,
                        uint32_t rest)
{
    ssize_t best = -1;
    for (uint32_t i = 0; i < p->in->n_slices; i++)
        if (kept[i] && kept[i]->n_endpoints + rest <= SLICE_ENDPOINTS_MAX &&
            (best < 0 || kept[i]->n_endpoints > kept[best]->n_endpoints))
            best = i;
    return best;
}

/* New endpoints go to slices that are written anyway, then to one that takes all that is left, then
 * to new ones. */
static void plan_group(struct planner *p, struct group *g, bool *used)
{
    const struct endpoints_in *in = p->in;
    struct api_endpoint_slice **kept =
        ARENA_NEW_N(p->a, struct api_endpoint_slice *, in->n_slices + 1);
    for (uint32_t i = 0; i < in->n_slices; i++) {
        const struct api_endpoint_slice *s = in->slices[i];
        if (used[i] || !str_eq(s->address_type, g->family) ||
            !ports_equal(s->ports, s->n_ports, g->ports, g->n_ports))
            continue;
        used[i] = true;
        kept[i] = slice_kept(p, g, s);
    }
    map_fini(&g->by_address);
    for (uint32_t i = 0; i < in->n_slices; i++)
        if (kept[i] && !schema_equal(&api_endpoint_slice_desc, kept[i], in->slices[i])) {
            fill_and_change(p, g, kept[i], in->slices[i]);
            used[i] = kept[i]->n_endpoints > 0; /* else it goes, or becomes the placeholder */
            kept[i] = NULL;
        }
    uint32_t rest = unplaced(g);
    ssize_t best = rest ? best_fit(p, kept, rest) : -1;
    if (best >= 0)
        fill_and_change(p, g, kept[best], in->slices[best]);
    for (uint32_t i = 0; i < in->n_slices; i++)
        if (kept[i] && kept[i]->n_endpoints == 0)
            used[i] = false;
    while (unplaced(g) > 0) {
        struct api_endpoint_slice *s = slice_new(p, g->family);
        s->ports = g->ports;
        s->n_ports = g->n_ports;
        fill(g, s);
        change(p, NULL, s);
    }
}

/* A Service without endpoints has one empty slice, so that readers can tell "none" from "not yet".
 */
static void plan_slices(struct planner *p)
{
    const struct endpoints_in *in = p->in;
    bool *used = ARENA_NEW_N(p->a, bool, in->n_slices + 1);
    uint32_t n_creates_max = in->n_pods * 2 / SLICE_ENDPOINTS_MAX + p->n_groups + 2;
    p->out->slices =
        ARENA_NEW_N(p->a, struct slice_change, in->n_slices + n_creates_max + in->n_pods * 2);
    bool any = false;
    for (uint32_t i = 0; i < p->n_groups; i++) {
        plan_group(p, &p->groups[i], used);
        any = any || p->groups[i].n > 0;
    }
    bool have_empty = any;
    for (uint32_t i = 0; i < in->n_slices; i++) {
        const struct api_endpoint_slice *s = in->slices[i];
        if (used[i])
            continue;
        if (!have_empty && wants_family(in->svc, str_is(s->address_type, "IPv6"))) {
            have_empty = true;
            struct api_endpoint_slice *e = slice_kept(p, &(struct group){0}, s);
            e->ports = NULL;
            e->n_ports = 0;
            if (!schema_equal(&api_endpoint_slice_desc, e, s))
                change(p, s, e);
        } else {
            change(p, s, NULL);
        }
    }
    if (!have_empty)
        change(p, NULL, slice_new(p, wants_family(in->svc, false) ? STR("IPv4") : STR("IPv6")));
}

/* ---- Endpoints ---- */

static int cmp_endpoint(const void *a, const void *b)
{
    const struct api_endpoint *x = *(struct api_endpoint *const *)a,
                              *y = *(struct api_endpoint *const *)b;
    int c = str_cmp(x->addresses[0], y->addresses[0]);
    return c ? c : str_cmp(x->target_ref->uid, y->target_ref->uid);
}

static void subset_of(struct planner *p, struct group *g, struct api_endpoint_subset *ss,
                      uint32_t *room)
{
    bool publish = p->in->svc->spec.publish_not_ready_addresses;
    ss->addresses = ARENA_NEW_N(p->a, struct api_endpoint_address, g->n + 1);
    ss->not_ready_addresses = ARENA_NEW_N(p->a, struct api_endpoint_address, g->n + 1);
    qsort(g->v, g->n, sizeof(*g->v), cmp_endpoint);
    for (uint32_t i = 0; i<g->n && * room> 0; i++) {
        const struct api_endpoint *e = g->v[i];
        if (e->conditions.terminating && !publish)
            continue;
        struct api_endpoint_address addr = {.ip = e->addresses[0],
                                            .hostname = e->hostname,
                                            .node_name = e->node_name,
                                            .target_ref = e->target_ref};
        if (e->conditions.ready)
            ss->addresses[ss->n_addresses++] = addr;
        else
            ss->not_ready_addresses[ss->n_not_ready_addresses++] = addr;
        (*room)--;
    }
    ss->ports = ARENA_NEW_N(p->a, struct api_endpoint_port, g->n_ports + 1);
    ss->n_ports = g->n_ports;
    for (uint32_t i = 0; i < g->n_ports; i++)
        ss->ports[i] = (struct api_endpoint_port){.name = g->ports[i].name,
                                                  .port = g->ports[i].port,
                                                  .protocol = g->ports[i].protocol,
                                                  .app_protocol = g->ports[i].app_protocol};
}

static void plan_endpoints(struct planner *p)
{
    const struct api_service *svc = p->in->svc;
    struct api_endpoints *e = ARENA_NEW(p->a, struct api_endpoints);
    uint32_t room = ENDPOINTS_ADDRESSES_MAX;
    if (p->in->endpoints)
        *e = *p->in->endpoints;
    e->metadata.name = svc->metadata.name;
    e->metadata.namespace = svc->metadata.namespace;
    e->metadata.labels = svc->metadata.labels; /* kv_put makes copies */
    e->metadata.n_labels = svc->metadata.n_labels;
    kv_put(p->a, &e->metadata.labels, &e->metadata.n_labels, STR(LABEL_EP_MANAGER),
           STR(EP_MANAGER));
    if (str_is(svc->spec.cluster_ip, "None"))
        kv_put(p->a, &e->metadata.labels, &e->metadata.n_labels,
               STR("service.kubernetes.io/headless"), STR(""));
    e->subsets = ARENA_NEW_N(p->a, struct api_endpoint_subset, p->n_groups + 1);
    e->n_subsets = 0;
    bool v6 = !wants_family(svc, false);
    uint32_t most = 0;
    for (uint32_t i = 0; i < p->n_groups; i++) {
        most += str_is(p->groups[i].family, "IPv6") == v6 ? p->groups[i].n : 0;
        struct api_endpoint_subset *ss = &e->subsets[e->n_subsets];
        if (str_is(p->groups[i].family, "IPv6") != v6)
            continue; /* Endpoints know one family: the Service's first */
        subset_of(p, &p->groups[i], ss, &room);
        if (ss->n_addresses + ss->n_not_ready_addresses > 0)
            e->n_subsets++;
        else
            *ss = (struct api_endpoint_subset){0};
    }
    if (room == 0 && most > ENDPOINTS_ADDRESSES_MAX)
        kv_put(p->a, &e->metadata.annotations, &e->metadata.n_annotations, STR(OVER_CAPACITY),
               STR("truncated"));
    else
        kv_drop(p->a, &e->metadata.annotations, &e->metadata.n_annotations, STR(OVER_CAPACITY));
    if (!p->in->endpoints || !schema_equal(&api_endpoints_desc, e, p->in->endpoints)) {
        put_trigger(p, &e->metadata, !p->in->endpoints);
        p->out->endpoints = e;
    }
}

void endpoints_plan(struct arena *a, const struct endpoints_in *in, struct endpoints_plan *ret)
{
    struct planner p = {.a = a, .in = in, .out = ret};
    *ret = (struct endpoints_plan){0};
    p.groups = ARENA_NEW_N(a, struct group, in->n_pods * 2 + 1);
    for (uint32_t i = 0; i < in->n_pods; i++)
        add_pod(&p, in->pods[i], in->zones ? in->zones[i] : STR_NONE);
    plan_slices(&p);
    plan_endpoints(&p);
}
