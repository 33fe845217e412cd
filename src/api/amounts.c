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

static void add_container(struct amounts *a, const struct api_container *c, bool limits)
{
    const struct api_resource_requirements *r = &c->resources;
    if (limits)
        amounts_add_all(a, r->limits, r->n_limits);
    else
        amounts_add_all(a, r->requests, r->n_requests);
}

void pod_amounts(const struct api_pod_spec *s, bool limits, struct amounts *ret)
{
    struct arena *arena = ret->arena;
    struct amounts sidecars = {.arena = arena}, init = {.arena = arena};
    for (uint32_t i = 0; i < s->n_containers; i++)
        add_container(ret, &s->containers[i], limits);
    for (uint32_t i = 0; i < s->n_init_containers; i++) {
        const struct api_container *c = &s->init_containers[i];
        struct amounts one = {.arena = arena};
        if (str_is(c->restart_policy, "Always")) { /* runs on beside all that come after it */
            add_container(&sidecars, c, limits);
            add_container(ret, c, limits);
        } else {
            add_container(&one, c, limits);
        }
        amounts_add_all(&one, sidecars.v, sidecars.n);
        for (uint32_t k = 0; k < one.n; k++)
            amounts_raise(&init, one.v[k].key, &one.v[k].value);
    }
    for (uint32_t i = 0; i < init.n; i++)
        amounts_raise(ret, init.v[i].key, &init.v[i].value);
    const struct api_resource_requirements *whole = s->resources;
    for (uint32_t i = 0; whole && i < (limits ? whole->n_limits : whole->n_requests); i++) {
        const struct kv_quantity *q = limits ? &whole->limits[i] : &whole->requests[i];
        amounts_set(ret, q->key, &q->value);
    }
    for (uint32_t i = 0; i < s->n_overhead; i++)
        if (!limits || amounts_get(ret, s->overhead[i].key))
            amounts_add(ret, s->overhead[i].key, &s->overhead[i].value);
}
