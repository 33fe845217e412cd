/* See amounts.h. The lists are short, so they are kept sorted by insertion. */
#include "api/amounts.h"

static struct quantity *slot(struct amounts *a, struct str name, bool *ret_new)
{
    uint32_t at = 0;
    while (at < a->n && str_cmp(a->v[at].key, name) < 0)
        at++;
    *ret_new = at == a->n || !str_eq(a->v[at].key, name);
    if (!*ret_new)
        return &a->v[at].value;
    if (a->n == a->cap) {
        uint32_t cap = a->cap ? a->cap * 2 : 8;
        struct kv_quantity *v = ARENA_NEW_N(a->arena, struct kv_quantity, cap);
        if (a->n)
            memcpy(v, a->v, a->n * sizeof(*v));
        a->v = v;
        a->cap = cap;
    }
    memmove(a->v + at + 1, a->v + at, (a->n - at) * sizeof(*a->v));
    a->v[at] = (struct kv_quantity){.key = name};
    a->n++;
    return &a->v[at].value;
}

void amounts_set(struct amounts *a, struct str name, const struct quantity *q)
{
    bool is_new;
    *slot(a, name, &is_new) = *q;
}

void amounts_add(struct amounts *a, struct str name, const struct quantity *q)
{
    bool is_new;
    struct quantity *s = slot(a, name, &is_new);
    *s = is_new ? *q : quantity_add(s, q);
}

void amounts_raise(struct amounts *a, struct str name, const struct quantity *q)
{
    bool is_new;
    struct quantity *s = slot(a, name, &is_new);
    if (is_new || quantity_cmp(s, q) < 0)
        *s = *q;
}

void amounts_add_all(struct amounts *a, const struct kv_quantity *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        amounts_add(a, v[i].key, &v[i].value);
}

const struct quantity *amounts_get(const struct amounts *a, struct str name)
{
    return kv_quantity_get(a->v, a->n, name);
}

void amounts_print(const struct amounts *a, struct buf *b)
{
    for (uint32_t i = 0; i < a->n; i++) {
        char text[QUANTITY_TEXT_MAX];
        quantity_format(&a->v[i].value, text);
        buf_printf(b, "%s%.*s=%s", i ? "," : "", STR_ARG(a->v[i].key), text);
    }
}

/* ---- pods ---- */

static const struct api_container_status *status_of(const struct api_container_status *v,
                                                    uint32_t n, struct str name)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_eq(v[i].name, name))
            return &v[i];
    return NULL;
}

static bool is_infeasible(const struct api_pod_status *s)
{
    for (uint32_t i = 0; i < s->n_conditions; i++)
        if (str_is(s->conditions[i].type, "PodResizePending"))
            return str_is(s->conditions[i].reason, "Infeasible");
    return false;
}

void pod_container_held(const struct api_pod *p, const struct api_container *c, bool init,
                        bool limits, struct held_amounts *ret)
{
    const struct api_resource_requirements *r = &c->resources;
    const struct api_pod_status *s = &p->status;
    const struct api_container_status *cs = NULL;
    if (!init)
        cs = status_of(s->container_statuses, s->n_container_statuses, c->name);
    else if (str_is(c->restart_policy, "Always"))
        cs = status_of(s->init_container_statuses, s->n_init_container_statuses, c->name);
    *ret = (struct held_amounts){{limits ? r->limits : r->requests},
                                 {limits ? r->n_limits : r->n_requests}};
    if (!cs || !cs->resources)
        return;
    if (is_infeasible(s))
        ret->n[0] = 0;
    ret->v[1] = limits ? cs->resources->limits : cs->resources->requests;
    ret->n[1] = limits ? cs->resources->n_limits : cs->resources->n_requests;
    ret->v[2] = limits ? NULL : cs->allocated_resources;
    ret->n[2] = limits ? 0 : cs->n_allocated_resources;
}

void pod_whole_held(const struct api_pod *p, bool limits, struct held_amounts *ret)
{
    const struct api_resource_requirements *r = p->spec.resources, *s = p->status.resources;
    *ret = (struct held_amounts){0};
    if (!r)
        return;
    if (!s || !is_infeasible(&p->status)) {
        ret->v[0] = limits ? r->limits : r->requests;
        ret->n[0] = limits ? r->n_limits : r->n_requests;
    }
    if (!s)
        return;
    ret->v[1] = limits ? s->limits : s->requests;
    ret->n[1] = limits ? s->n_limits : s->n_requests;
    ret->v[2] = limits ? NULL : p->status.allocated_resources;
    ret->n[2] = limits ? 0 : p->status.n_allocated_resources;
}

static void raise_held(struct amounts *to, const struct held_amounts *held)
{
    for (size_t k = 0; k < ARRAY_LEN(held->v); k++)
        for (uint32_t i = 0; i < held->n[k]; i++)
            amounts_raise(to, held->v[k][i].key, &held->v[k][i].value);
}

/* pod NULL: what the spec says is all. */
static void add_container(struct amounts *a, const struct api_pod *pod,
                          const struct api_container *c, bool init, bool limits)
{
    const struct api_resource_requirements *r = &c->resources;
    struct amounts most = {.arena = a->arena};
    struct held_amounts held = {{limits ? r->limits : r->requests},
                                {limits ? r->n_limits : r->n_requests}};
    if (pod)
        pod_container_held(pod, c, init, limits, &held);
    raise_held(&most, &held);
    amounts_add_all(a, most.v, most.n);
}

static void sum(const struct api_pod *pod, const struct api_pod_spec *s, bool limits,
                struct amounts *ret)
{
    struct arena *arena = ret->arena;
    struct amounts sidecars = {.arena = arena}, init = {.arena = arena};
    for (uint32_t i = 0; i < s->n_containers; i++)
        add_container(ret, pod, &s->containers[i], false, limits);
    for (uint32_t i = 0; i < s->n_init_containers; i++) {
        const struct api_container *c = &s->init_containers[i];
        struct amounts one = {.arena = arena};
        if (str_is(c->restart_policy, "Always")) { /* runs on beside all that come after it */
            add_container(&sidecars, pod, c, true, limits);
            add_container(ret, pod, c, true, limits);
        } else {
            add_container(&one, pod, c, true, limits);
        }
        amounts_add_all(&one, sidecars.v, sidecars.n);
        for (uint32_t k = 0; k < one.n; k++)
            amounts_raise(&init, one.v[k].key, &one.v[k].value);
    }
    for (uint32_t i = 0; i < init.n; i++)
        amounts_raise(ret, init.v[i].key, &init.v[i].value);
    struct amounts whole = {.arena = arena};
    struct held_amounts held = {0};
    if (pod)
        pod_whole_held(pod, limits, &held);
    else if (s->resources)
        held = (struct held_amounts){{limits ? s->resources->limits : s->resources->requests},
                                     {limits ? s->resources->n_limits : s->resources->n_requests}};
    raise_held(&whole, &held);
    for (uint32_t i = 0; i < whole.n; i++)
        amounts_set(ret, whole.v[i].key, &whole.v[i].value);
    for (uint32_t i = 0; i < s->n_overhead; i++)
        if (!limits || amounts_get(ret, s->overhead[i].key))
            amounts_add(ret, s->overhead[i].key, &s->overhead[i].value);
}

void pod_amounts(const struct api_pod_spec *s, bool limits, struct amounts *ret)
{
    sum(NULL, s, limits, ret);
}

void pod_amounts_held(const struct api_pod *p, bool limits, struct amounts *ret)
{
    sum(p, &p->spec, limits, ret);
}
