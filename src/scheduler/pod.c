/* A pod, compiled once when it is first seen: what it asks for as numbers, its class, its labels,
 * its affinity terms. Requests are summed as Kubernetes does: init containers run one after the
 * other, so the largest counts, but those with restartPolicy Always stay and add up. */
#include "scheduler/core_int.h"

#include "api/amounts.h"
#include "base/mem.h"
#include "codec/values.h"

/* What scoring takes for a container that says nothing, so that such pods spread too. */
#define DEFAULT_CPU_MILLI 100
#define DEFAULT_MEM_BYTES (200 * 1024 * 1024)
#define EXTRA_MAX         32 /* different resources of one pod; further ones are refused by admission */

struct sums {
    int64_t cpu, mem, cpu_nz, mem_nz;
    struct sched_amount extra[EXTRA_MAX];
    uint32_t n_extra;
};

static int64_t *extra_at(struct sums *s, struct str name)
{
    for (uint32_t i = 0; i < s->n_extra; i++)
        if (str_eq(s->extra[i].name, name))
            return &s->extra[i].v;
    if (s->n_extra == EXTRA_MAX)
        return NULL;
    s->extra[s->n_extra] = (struct sched_amount){name, 0};
    return &s->extra[s->n_extra++].v;
}

static void of_list(struct sums *s, const struct kv_quantity *v, uint32_t n, bool defaults)
{
    bool has_cpu = false, has_mem = false;
    for (uint32_t i = 0; i < n; i++) {
        int64_t *e;
        if (str_is(v[i].key, "cpu")) {
            s->cpu = s->cpu_nz = quantity_milli(&v[i].value);
            has_cpu = true;
        } else if (str_is(v[i].key, "memory")) {
            s->mem = s->mem_nz = quantity_value(&v[i].value);
            has_mem = true;
        } else if (!str_is(v[i].key, "pods") && (e = extra_at(s, v[i].key))) {
            *e = quantity_value(&v[i].value);
        }
    }
    if (defaults && !has_cpu)
        s->cpu_nz = DEFAULT_CPU_MILLI;
    if (defaults && !has_mem)
        s->mem_nz = DEFAULT_MEM_BYTES;
}

static void add(struct sums *a, const struct sums *b)
{
    a->cpu += b->cpu;
    a->mem += b->mem;
    a->cpu_nz += b->cpu_nz;
    a->mem_nz += b->mem_nz;
    for (uint32_t i = 0; i < b->n_extra; i++) {
        int64_t *e = extra_at(a, b->extra[i].name);
        if (e)
            *e += b->extra[i].v;
    }
}

static void raise_to(struct sums *a, const struct sums *b)
{
    a->cpu = MAX(a->cpu, b->cpu);
    a->mem = MAX(a->mem, b->mem);
    a->cpu_nz = MAX(a->cpu_nz, b->cpu_nz);
    a->mem_nz = MAX(a->mem_nz, b->mem_nz);
    for (uint32_t i = 0; i < b->n_extra; i++) {
        int64_t *e = extra_at(a, b->extra[i].name);
        if (e)
            *e = MAX(*e, b->extra[i].v);
    }
}

/* The most of what it asks for, has been given and runs with. */
static void of_container(const struct api_pod *pod, const struct api_container *k, bool init,
                         struct sums *ret)
{
    struct held_amounts held;
    pod_container_held(pod, k, init, false, &held);
    of_list(ret, held.v[0], held.n[0], held.n[1] + held.n[2] == 0);
    for (size_t i = 1; i < ARRAY_LEN(held.v); i++) {
        struct sums one = {0};
        if (held.n[i] == 0)
            continue;
        of_list(&one, held.v[i], held.n[i], true);
        raise_to(ret, &one);
    }
}

static void sum_requests(const struct api_pod *pod, struct sums *ret)
{
    const struct api_pod_spec *spec = &pod->spec;
    struct sums sidecars = {0}, init = {0};
    for (uint32_t i = 0; i < spec->n_containers; i++) {
        struct sums one = {0};
        of_container(pod, &spec->containers[i], false, &one);
        add(ret, &one);
    }
    for (uint32_t i = 0; i < spec->n_init_containers; i++) {
        const struct api_container *k = &spec->init_containers[i];
        struct sums one = {0};
        of_container(pod, k, true, &one);
        if (str_is(k->restart_policy, "Always")) {
            add(ret, &one);
            add(&sidecars, &one);
            raise_to(&init, &sidecars);
        } else {
            add(&one, &sidecars);
            raise_to(&init, &one);
        }
    }
    raise_to(ret, &init);
    /* a budget of the whole pod replaces the sum, resource by resource */
    struct sums parts = *ret;
    struct held_amounts held;
    bool any = false;
    pod_whole_held(pod, false, &held);
    for (size_t i = 0; i < ARRAY_LEN(held.v); i++) {
        struct sums whole = parts;
        if (held.n[i] == 0)
            continue;
        of_list(&whole, held.v[i], held.n[i], false);
        if (any)
            raise_to(ret, &whole);
        else
            *ret = whole;
        any = true;
    }
    struct sums overhead = {0};
    of_list(&overhead, spec->overhead, spec->n_overhead, false);
    add(ret, &overhead);
}

static int cmp_port(const void *a, const void *b)
{
    const struct sched_port *x = a, *y = b;
    int c = sched_port_cmp(x, y);
    return c ? c : str_cmp(x->ip, y->ip);
}

static void collect_ports(struct sched_pod *p, const struct api_pod_spec *spec)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < spec->n_containers; i++)
        n += spec->containers[i].n_ports;
    if (n == 0)
        return;
    p->ports = ARENA_NEW_N(&p->arena, struct sched_port, n);
    for (uint32_t i = 0; i < spec->n_containers; i++)
        for (uint32_t j = 0; j < spec->containers[i].n_ports; j++) {
            const struct api_container_port *in = &spec->containers[i].ports[j];
            if (in->host_port == 0)
                continue;
            struct sched_port *out = &p->ports[p->n_ports++];
            out->ip = str_is(in->host_ip, "0.0.0.0") ? STR_NONE : arena_str(&p->arena, in->host_ip);
            out->protocol =
                str_empty(in->protocol) ? STR("TCP") : arena_str(&p->arena, in->protocol);
            out->port = in->host_port;
        }
    qsort(p->ports, p->n_ports, sizeof(*p->ports), cmp_port);
}

struct sched_pod *sched_pod_new(struct sched_core *c, const struct api_pod *pod)
{
    struct sched_pod *p = NEW(struct sched_pod);
    struct sums s = {0};
    p->core = c;
    arena_init(&p->arena, 0);
    list_init(&p->on_node);
    list_push_back(&c->pods, &p->all);
    p->priority = pod->spec.has_priority ? pod->spec.priority : 0;
    sum_requests(pod, &s);
    p->cpu = s.cpu;
    p->mem = s.mem;
    p->cpu_nz = s.cpu_nz;
    p->mem_nz = s.mem_nz;
    for (uint32_t i = 0; i < s.n_extra; i++) {
        if (s.extra[i].v == 0)
            continue;
        if (!p->extra)
            p->extra = ARENA_NEW_N(&p->arena, struct sched_amount, s.n_extra);
        p->extra[p->n_extra++] =
            (struct sched_amount){arena_str(&p->arena, s.extra[i].name), s.extra[i].v};
    }
    collect_ports(p, &pod->spec);
    p->labels =
        sched_labels_get(c, pod->metadata.namespace, pod->metadata.labels, pod->metadata.n_labels);
    if (str_empty(pod->spec.node_name))
        p->class = sched_class_get(c, &pod->spec);
    sched_pod_compile_terms(c, p, pod);
    return p;
}

struct sched_pod *sched_pod_free(struct sched_pod *p)
{
    if (!p)
        return NULL;
    struct sched_core *c = p->core;
    sched_core_unplace(p);
    sched_pod_drop_terms(c, p);
    sched_labels_unref(c, p->labels);
    if (p->class)
        sched_class_unref(c, p->class);
    list_remove(&p->all);
    arena_fini(&p->arena);
    free(p);
    return NULL;
}

bool sched_pod_asks_same(const struct sched_pod *p, const struct api_pod *pod)
{
    struct sums s = {0};
    sum_requests(pod, &s);
    return s.cpu == p->cpu && s.mem == p->mem && s.cpu_nz == p->cpu_nz && s.mem_nz == p->mem_nz;
}

int32_t sched_pod_priority(const struct sched_pod *p)
{
    return p->priority;
}

struct str sched_pod_node(const struct sched_pod *p)
{
    return p->node ? p->node->name : STR_NONE;
}
