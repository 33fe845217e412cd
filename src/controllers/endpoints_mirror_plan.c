/* Subsets are taken apart by family, and subsets with the same ports are one. Each such group fills
 * slices of its own, in the order of the addresses, so that the same Endpoints always give the same
 * slices. An existing slice of the same family and ports is used again. */
#include "controllers/endpoints_mirror_plan.h"

#include "base/map.h"
#include "schema/schema.h"

struct group {
    struct str family;
    struct api_discovery_endpoint_port *ports;
    uint32_t n_ports;
    struct api_endpoint *v;
    uint32_t n;
    struct map seen; /* addresses */
};

struct planner {
    struct arena *a;
    const struct api_endpoints *in;
    struct group *groups;
    uint32_t n_groups;
    struct mirror_plan *out;
};

bool endpoints_mirror_wanted(const struct api_endpoints *e)
{
    return !str_is(meta_label(&e->metadata, STR(MIRROR_SKIP)), "true") &&
           !str_is(meta_label(&e->metadata, STR(LABEL_EP_MANAGER)), EP_MANAGER) &&
           !meta_annotation(&e->metadata, STR(MIRROR_LEADER)).p &&
           !e->metadata.deletion_timestamp.set;
}

/* ---- groups ---- */

static bool ports_equal(const struct group *g, const struct api_discovery_endpoint_port *v,
                        uint32_t n)
{
    if (g->n_ports != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!schema_equal(&api_discovery_endpoint_port_desc, &g->ports[i], &v[i]))
            return false;
    return true;
}

static struct api_discovery_endpoint_port *ports_of(struct arena *a,
                                                    const struct api_endpoint_subset *ss)
{
    struct api_discovery_endpoint_port *v =
        ARENA_NEW_N(a, struct api_discovery_endpoint_port, ss->n_ports + 1);
    for (uint32_t i = 0; i < ss->n_ports; i++)
        v[i] = (struct api_discovery_endpoint_port){
            .name = ss->ports[i].name.p ? ss->ports[i].name : STR(""),
            .protocol = str_empty(ss->ports[i].protocol) ? STR("TCP") : ss->ports[i].protocol,
            .has_port = true,
            .port = ss->ports[i].port,
            .app_protocol = ss->ports[i].app_protocol};
    return v;
}

static struct group *group_get(struct planner *p, struct str family,
                               struct api_discovery_endpoint_port *ports, uint32_t n_ports)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < p->n_groups; i++)
        if (str_eq(p->groups[i].family, family) && ports_equal(&p->groups[i], ports, n_ports))
            return &p->groups[i];
    struct group *g = &p->groups[p->n_groups++];
    for (uint32_t i = 0; i < p->in->n_subsets; i++)
        most += p->in->subsets[i].n_addresses + p->in->subsets[i].n_not_ready_addresses;
    *g = (struct group){.family = family, .ports = ports, .n_ports = n_ports};
    g->v = ARENA_NEW_N(p->a, struct api_endpoint, most + 1);
    return g;
}

static void add_address(struct planner *p, struct api_discovery_endpoint_port *ports,
                        uint32_t n_ports, const struct api_endpoint_address *addr, bool ready)
{
    if (schema_format_check(SCHEMA_FORMAT_IP, addr->ip)) {
        p->out->n_invalid++;
        return;
    }
    struct group *g =
        group_get(p, str_find(addr->ip, ':') >= 0 ? STR("IPv6") : STR("IPv4"), ports, n_ports);
    if (map_get(&g->seen, addr->ip))
        return;
    struct api_endpoint *e = &g->v[g->n++];
    *e = (struct api_endpoint){
        .n_addresses = 1,
        .conditions = {.has_ready = true, .ready = ready},
        .hostname = str_empty(addr->hostname) ? STR_NONE : addr->hostname,
        .node_name = str_empty(addr->node_name) ? STR_NONE : addr->node_name,
        .target_ref = addr->target_ref,
    };
    e->addresses = ARENA_NEW(p->a, struct str);
    e->addresses[0] = addr->ip;
    map_set(&g->seen, addr->ip, e);
}

/* Ready ones first, as only so many are taken. */
static void add_subset(struct planner *p, const struct api_endpoint_subset *ss)
{
    struct api_discovery_endpoint_port *ports = ports_of(p->a, ss);
    uint32_t room = MIRROR_ADDRESSES_MAX;
    for (int ready = 1; ready >= 0; ready--) {
        const struct api_endpoint_address *v = ready ? ss->addresses : ss->not_ready_addresses;
        uint32_t n = ready ? ss->n_addresses : ss->n_not_ready_addresses, take = MIN(n, room);
        for (uint32_t i = 0; i < take; i++)
            add_address(p, ports, ss->n_ports, &v[i], ready);
        room -= take;
        p->out->n_skipped += n - take;
    }
}

/* ---- slices ---- */

static void put_meta(struct planner *p, struct api_object_meta *m)
{
    const struct api_object_meta *from = &p->in->metadata;
    m->labels = NULL;
    m->n_labels = 0;
    for (uint32_t i = 0; i < from->n_labels; i++)
        kv_put(p->a, &m->labels, &m->n_labels, from->labels[i].key, from->labels[i].value);
    kv_put(p->a, &m->labels, &m->n_labels, STR(LABEL_SERVICE_NAME), from->name);
    kv_put(p->a, &m->labels, &m->n_labels, STR(LABEL_SLICE_MANAGER), STR(MIRROR_MANAGER));
    m->annotations = NULL;
    m->n_annotations = 0;
    for (uint32_t i = 0; i < from->n_annotations; i++)
        if (!str_is(from->annotations[i].key, "kubectl.kubernetes.io/last-applied-configuration") &&
            !str_is(from->annotations[i].key, OVER_CAPACITY))
            kv_put(p->a, &m->annotations, &m->n_annotations, from->annotations[i].key,
                   from->annotations[i].value);
}

static struct api_endpoint_slice *slice_for(struct planner *p, const struct group *g,
                                            const struct api_endpoint_slice *old)
{
    struct api_endpoint_slice *s = ARENA_NEW(p->a, struct api_endpoint_slice);
    if (old) {
        *s = *old;
    } else {
        s->metadata.namespace = p->in->metadata.namespace;
        s->metadata.generate_name = arena_printf(p->a, "%.*s-", STR_ARG(p->in->metadata.name));
        owner_set(p->a, &s->metadata, schema_kinds[KIND_ENDPOINTS], &p->in->metadata);
        s->address_type = g->family;
    }
    put_meta(p, &s->metadata);
    s->ports = g->ports;
    s->n_ports = g->n_ports;
    return s;
}

static void change(struct planner *p, const struct api_endpoint_slice *old,
                   struct api_endpoint_slice *new)
{
    if (old && new &&schema_equal(&api_endpoint_slice_desc, old, new))
        return;
    p->out->changes[p->out->n_changes++] = (struct slice_change){old, new};
}

static void plan_group(struct planner *p, struct group *g,
                       const struct api_endpoint_slice *const *slices, uint32_t n_slices,
                       bool *used)
{
    uint32_t next = 0;
    for (uint32_t at = 0; at < g->n; at += SLICE_ENDPOINTS_MAX) {
        const struct api_endpoint_slice *old = NULL;
        for (; next < n_slices && !old; next++)
            if (!used[next] && str_eq(slices[next]->address_type, g->family) &&
                ports_equal(g, slices[next]->ports, slices[next]->n_ports)) {
                old = slices[next];
                used[next] = true;
            }
        struct api_endpoint_slice *s = slice_for(p, g, old);
        s->endpoints = g->v + at;
        s->n_endpoints = MIN(g->n - at, (uint32_t)SLICE_ENDPOINTS_MAX);
        change(p, old, s);
    }
    map_fini(&g->seen);
}

static int slice_cmp(const void *a, const void *b)
{
    const struct api_endpoint_slice *x = *(const struct api_endpoint_slice *const *)a,
                                    *y = *(const struct api_endpoint_slice *const *)b;
    return str_cmp(x->metadata.name, y->metadata.name);
}

void endpoints_mirror_plan(struct arena *a, const struct api_endpoints *endpoints,
                           const struct api_endpoint_slice *const *slices, uint32_t n_slices,
                           struct mirror_plan *ret)
{
    struct planner p = {.a = a, .in = endpoints, .out = ret};
    uint32_t n_subsets = endpoints ? endpoints->n_subsets : 0, most = n_slices + 1;
    const struct api_endpoint_slice **sorted =
        ARENA_NEW_N(a, const struct api_endpoint_slice *, n_slices + 1);
    bool *used = ARENA_NEW_N(a, bool, n_slices + 1);
    *ret = (struct mirror_plan){0};
    for (uint32_t i = 0; i < n_slices; i++)
        sorted[i] = slices[i];
    if (n_slices)
        qsort(sorted, n_slices, sizeof(*sorted), slice_cmp);
    p.groups = ARENA_NEW_N(a, struct group, n_subsets * 2 + 1);
    for (uint32_t i = 0; i < n_subsets; i++)
        add_subset(&p, &endpoints->subsets[i]);
    for (uint32_t i = 0; i < p.n_groups; i++)
        most += p.groups[i].n / SLICE_ENDPOINTS_MAX + 1;
    ret->changes = ARENA_NEW_N(a, struct slice_change, most);
    for (uint32_t i = 0; i < p.n_groups; i++)
        plan_group(&p, &p.groups[i], sorted, n_slices, used);
    for (uint32_t i = 0; i < n_slices; i++)
        if (!used[i])
            change(&p, sorted[i], NULL);
}
