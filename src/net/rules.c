/* The state behind the table: which service owns which front, what is in the kernel. Changes are
 * told to a batch as elements to remove and to add; the caller makes it one transaction. If that
 * fails, the state is still what is wanted and net_rules_full makes the kernel follow. */
#include "net/rules_internal.h"

#include "base/mem.h"

/* ---- life ---- */

static struct str service_key(const void *value)
{
    return str_z(((const struct service_state *)value)->key);
}

static struct str state_key(const void *value)
{
    return front_key(&((const struct front_state *)value)->f);
}

struct net_rules *net_rules_new(const struct net_rules_env *env)
{
    struct net_rules *r = NEW(struct net_rules);
    r->services = CATALOG(service_key);
    r->fronts = CATALOG(state_key);
    r->env = (struct net_rules_env){
        .table = xstrdup(env->table),
        .bridge = xstrdup(env->bridge),
        .pod_cidr = xstrdup(env->pod_cidr),
        .cluster_cidr = xstrdup(env->cluster_cidr),
        .service_cidr = xstrdup(env->service_cidr),
        .dns_address = env->dns_address ? xstrdup(env->dns_address) : NULL,
        .gateway = env->dns_address ? xstrdup(env->gateway) : NULL,
        .vxlan_ip = env->vxlan_ip ? xstrdup(env->vxlan_ip) : NULL,
    };
    return r;
}

static void ranges_free(const struct net_range *v)
{
    free((void *)(uintptr_t)v);
}

static void plan_free(struct net_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->v[i].eps);
        ranges_free(p->v[i].ranges);
    }
    free(p->v);
    free(p);
}

static void unblock(struct net_rules *r, struct service_state *s)
{
    if (!s->blocked)
        return;
    plan_free(s->blocked);
    s->blocked = NULL;
    r->n_blocked--;
}

static void front_free(struct front_state *f)
{
    free(f->f.eps);
    ranges_free(f->f.ranges);
    free(f->ids);
    free(f);
}

struct net_rules *net_rules_free(struct net_rules *r)
{
    if (!r)
        return NULL;
    struct front_state *front;
    for (uint32_t at = 0; (front = catalog_next(&r->fronts, &at));)
        front_free(front);
    struct service_state *svc;
    for (uint32_t at = 0; (svc = catalog_next(&r->services, &at));) {
        unblock(r, svc);
        free(svc);
    }
    for (struct map_slot *s = NULL; (s = map_next(&r->pods, s));) {
        struct pod_state *pod = s->value;
        free(pod->uid);
        free(pod->ports);
        free(pod);
    }
    struct map *const plain[] = {&r->host_ports, &r->masq, &r->chains};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        for (struct map_slot *s = NULL; (s = map_next(plain[i], s));)
            free(s->value);
        map_fini(plain[i]);
    }
    catalog_fini(&r->fronts);
    catalog_fini(&r->services);
    map_fini(&r->pods);
    const char *const strings[] = {r->env.table,        r->env.bridge,       r->env.pod_cidr,
                                   r->env.cluster_cidr, r->env.service_cidr, r->env.dns_address,
                                   r->env.gateway,      r->env.vxlan_ip};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free((void *)(uintptr_t)strings[i]);
    free(r);
    return NULL;
}

/* ---- services ---- */

static void block(struct net_rules *r, struct service_state *s, const struct net_plan *plan)
{
    s->blocked = NEW(struct net_plan);
    s->blocked->v = xcalloc(plan->n, sizeof(*plan->v));
    s->blocked->n = plan->n;
    for (size_t i = 0; i < plan->n; i++) {
        struct net_front *f = &s->blocked->v[i];
        *f = plan->v[i];
        f->eps = xcalloc(f->n_eps + 1, sizeof(*f->eps));
        if (f->n_eps)
            memcpy(f->eps, plan->v[i].eps, f->n_eps * sizeof(*f->eps));
        f->ranges = net_ranges_dup(plan->v[i].ranges, f->n_ranges);
    }
    r->n_blocked++;
}

static bool apply_front(struct net_rules *r, struct service_state *s, const struct net_front *f,
                        struct net_batch *b)
{
    struct front_state *state = catalog_get(&r->fronts, front_key(f));
    if (state && state->owner != s)
        return false;
    bool fresh = !state;
    if (fresh) {
        state = NEW(struct front_state);
        state->owner = s;
        state->f = *f;
        state->f.eps = NULL;
        state->f.n_eps = 0;
        state->f.ranges = NULL;
        state->f.n_ranges = 0;
        state->next = s->fronts;
        s->fronts = state;
        (void)catalog_set(&r->fronts, state);
    }
    state->seen = true;
    front_change(r, state, f, fresh, false, b);
    return true;
}

static bool drop_unseen(struct net_rules *r, struct service_state *s, struct net_batch *b)
{
    bool freed = false;
    for (struct front_state **at = &s->fronts, *f; (f = *at);) {
        if (f->seen) {
            at = &f->next;
            continue;
        }
        front_change(r, f, NULL, false, true, b);
        *at = f->next;
        (void)catalog_remove(&r->fronts, front_key(&f->f));
        front_free(f);
        freed = true;
    }
    return freed;
}

static bool apply(struct net_rules *r, struct service_state *s, const struct net_plan *plan,
                  struct net_batch *b)
{
    bool complete = true;
    for (struct front_state *f = s->fronts; f; f = f->next)
        f->seen = false;
    for (size_t i = 0; i < plan->n; i++)
        if (!apply_front(r, s, &plan->v[i], b))
            complete = false;
    bool freed = drop_unseen(r, s, b);
    struct net_plan *before = TAKE_PTR(s->blocked); /* plan may be this very copy */
    if (before)
        r->n_blocked--;
    if (!complete)
        block(r, s, plan);
    if (before)
        plan_free(before);
    return freed;
}

static void service_drop(struct net_rules *r, struct service_state *s)
{
    if (s->fronts || s->blocked)
        return;
    (void)catalog_remove(&r->services, str_z(s->key));
    free(s);
}

void net_rules_service(struct net_rules *r, struct str key, const struct net_plan *plan,
                       struct net_batch *b)
{
    struct service_state *s = catalog_get(&r->services, key), *other;
    if (!s && plan->n == 0)
        return;
    if (!s) {
        s = xcalloc(1, sizeof(*s) + key.n + 1);
        memcpy(s->key, key.p, key.n);
        (void)catalog_set(&r->services, s);
    }
    bool freed = apply(r, s, plan, b);
    service_drop(r, s);
    /* Nobody frees anything when a blocked one gets what it waited for, so one round is enough. */
    for (uint32_t at = 0; freed && r->n_blocked && (other = catalog_next(&r->services, &at));)
        if (other->blocked)
            (void)apply(r, other, other->blocked, b);
}

size_t net_rules_fronts(const struct net_rules *r)
{
    return r->fronts.n;
}

/* ---- all at once ---- */

const struct net_rules_env *net_rules_env(const struct net_rules *r)
{
    return &r->env;
}

void chain_put(const struct net_rules *r, const struct chain_state *c, struct net_batch *b)
{
    struct buf text = {0};
    net_chain_print(&r->env, &c->like, c->n, &text);
    ARRAY_RESERVE(b->chains, b->n_chains, b->cap_chains);
    b->chains[b->n_chains++] = (struct net_chain){c->name, buf_take(&text, NULL)};
    b->changes++;
}

void net_rules_wanted(struct net_rules *r, struct net_batch *b)
{
    for (struct map_slot *s = NULL; (s = map_next(&r->chains, s));)
        chain_put(r, s->value, b);
    struct front_state *f;
    for (uint32_t at = 0; (f = catalog_next(&r->fronts, &at));)
        front_print(r, f, b);
    for (struct map_slot *s = NULL; (s = map_next(&r->masq, s));)
        batch_put(b, PUT_ADD, NET_MAP_MASQ_EP, ((const struct counted *)s->value)->fields, NULL);
    pods_print(r, b);
}

void net_rules_dump(struct net_rules *r, struct buf *out)
{
    struct net_batch b = {0};
    buf_printf(out, "services %u fronts %u pods %zu chains %zu blocked %u\n", r->services.n,
               r->fronts.n, r->pods.n, r->chains.n, r->n_blocked);
    net_table_print(&r->env, out);
    net_rules_wanted(r, &b);
    net_batch_print(&b, r->env.table, out);
    net_batch_fini(&b);
}
