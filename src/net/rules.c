/* The state behind the table: which service owns which front, what is in the kernel. Changes are
 * told to a batch as elements to remove and to add; the caller makes it one transaction. If that
 * fails, the state is still what is wanted and net_rules_full makes the kernel follow. */
#include "net/rules_internal.h"

#include "base/mem.h"

const char *const net_map_names[_NET_MAP_MAX] = {
    [NET_MAP_SVC] = "svc",
    [NET_MAP_SVC_EP] = "svc_ep",
    [NET_MAP_SVC_PICK] = "svc_pick",
    [NET_MAP_SVC_ID] = "svc_id",
    [NET_MAP_SVC_REJECT] = "svc_reject",
    [NET_MAP_NP] = "np",
    [NET_MAP_NP_EP] = "np_ep",
    [NET_MAP_NP_PICK] = "np_pick",
    [NET_MAP_NP_ID] = "np_id",
    [NET_MAP_NP_REJECT] = "np_reject",
    [NET_MAP_HP] = "hp",
    [NET_MAP_HP_IP] = "hp_ip",
    [NET_MAP_HAIRPIN] = "hairpin",
    [NET_MAP_MASQ_EP] = "masq_ep",
};

/* ---- batches ---- */

static void elem(struct buf *b, const char *fmt, va_list ap)
{
    char text[NET_ELEM_MAX * 2];
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    ASSERT(n > 0 && n < (int)sizeof(text));
    if (b->n)
        buf_add_lit(b, ", ");
    buf_add(b, text, (size_t)n);
}

void batch_add(struct net_batch *b, enum net_map map, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    elem(&b->added[map], fmt, ap);
    va_end(ap);
    b->changes++;
}

void batch_remove(struct net_batch *b, enum net_map map, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    elem(&b->removed[map], fmt, ap);
    va_end(ap);
    b->changes++;
}

void net_batch_fini(struct net_batch *b)
{
    buf_fini(&b->chains);
    for (int i = 0; i < _NET_MAP_MAX; i++) {
        buf_fini(&b->removed[i]);
        buf_fini(&b->added[i]);
    }
    free(b->udp);
    *b = (struct net_batch){0};
}

void net_batch_print(const struct net_batch *b, const char *table, struct buf *out)
{
    buf_add_str(out, buf_str(&b->chains));
    for (int i = 0; i < _NET_MAP_MAX; i++)
        if (b->removed[i].n)
            buf_printf(out, "delete element ip %s %s { %s }\n", table, net_map_names[i],
                       b->removed[i].data);
    for (int i = 0; i < _NET_MAP_MAX; i++)
        if (b->added[i].n)
            buf_printf(out, "add element ip %s %s { %s }\n", table, net_map_names[i],
                       b->added[i].data);
}

/* ---- life ---- */

struct net_rules *net_rules_new(const struct net_rules_env *env)
{
    struct net_rules *r = NEW(struct net_rules);
    r->env = (struct net_rules_env){
        .table = xstrdup(env->table),
        .bridge = xstrdup(env->bridge),
        .pod_cidr = xstrdup(env->pod_cidr),
        .cluster_cidr = xstrdup(env->cluster_cidr),
        .service_cidr = xstrdup(env->service_cidr),
        .dns_address = env->dns_address ? xstrdup(env->dns_address) : NULL,
        .gateway = env->dns_address ? xstrdup(env->gateway) : NULL,
    };
    return r;
}

static void unblock(struct net_rules *r, struct service_state *s)
{
    if (!s->blocked.n)
        return;
    for (size_t i = 0; i < s->blocked.n; i++)
        free(s->blocked.v[i].eps);
    free(s->blocked.v);
    s->blocked = (struct net_plan){0};
    r->n_blocked--;
}

static void front_free(struct front_state *f)
{
    list_remove(&f->link);
    free(f->f.eps);
    free(f->ids);
    free(f);
}

struct net_rules *net_rules_free(struct net_rules *r)
{
    if (!r)
        return NULL;
    for (struct map_slot *s = NULL; (s = map_next(&r->fronts, s));)
        front_free(s->value);
    for (struct map_slot *s = NULL; (s = map_next(&r->services, s));) {
        struct service_state *svc = s->value;
        unblock(r, svc);
        free(svc->key);
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
    map_fini(&r->fronts);
    map_fini(&r->services);
    map_fini(&r->pods);
    const char *const strings[] = {r->env.table,        r->env.bridge,       r->env.pod_cidr,
                                   r->env.cluster_cidr, r->env.service_cidr, r->env.dns_address,
                                   r->env.gateway};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free((void *)(uintptr_t)strings[i]);
    free(r);
    return NULL;
}

/* ---- services ---- */

static void block(struct net_rules *r, struct service_state *s, const struct net_plan *plan)
{
    s->blocked.v = xcalloc(plan->n, sizeof(*plan->v));
    s->blocked.n = plan->n;
    for (size_t i = 0; i < plan->n; i++) {
        struct net_front *f = &s->blocked.v[i];
        *f = plan->v[i];
        f->eps = xcalloc(f->n_eps + 1, sizeof(*f->eps));
        if (f->n_eps)
            memcpy(f->eps, plan->v[i].eps, f->n_eps * sizeof(*f->eps));
    }
    r->n_blocked++;
}

static bool apply_front(struct net_rules *r, struct service_state *s, const struct net_front *f,
                        struct net_batch *b)
{
    char key[48];
    front_key(f, key);
    struct front_state *state = map_get(&r->fronts, str_z(key));
    if (state && state->owner != s)
        return false;
    bool fresh = !state;
    if (fresh) {
        state = NEW(struct front_state);
        memcpy(state->key, key, sizeof(key));
        state->owner = s;
        state->f = *f;
        state->f.eps = NULL;
        state->f.n_eps = 0;
        list_init(&state->link);
        list_push_back(&s->fronts, &state->link);
        map_set(&r->fronts, str_z(state->key), state);
    }
    state->seen = true;
    front_change(r, state, f, fresh, false, b);
    return true;
}

static bool drop_unseen(struct net_rules *r, struct service_state *s, struct net_batch *b)
{
    struct front_state *f;
    bool freed = false;
    LIST_FOR_EACH (f, &s->fronts, link) {
        if (f->seen)
            continue;
        front_change(r, f, NULL, false, true, b);
        map_remove(&r->fronts, str_z(f->key));
        front_free(f);
        freed = true;
    }
    return freed;
}

static bool apply(struct net_rules *r, struct service_state *s, const struct net_plan *plan,
                  struct net_batch *b)
{
    struct front_state *f;
    bool complete = true;
    LIST_FOR_EACH (f, &s->fronts, link)
        f->seen = false;
    for (size_t i = 0; i < plan->n; i++)
        if (!apply_front(r, s, &plan->v[i], b))
            complete = false;
    bool freed = drop_unseen(r, s, b);
    struct net_plan before = s->blocked; /* plan may be this very copy */
    if (before.n) {
        s->blocked = (struct net_plan){0};
        r->n_blocked--;
    }
    if (!complete)
        block(r, s, plan);
    for (size_t i = 0; i < before.n; i++)
        free(before.v[i].eps);
    free(before.v);
    return freed;
}

static void service_drop(struct net_rules *r, struct service_state *s)
{
    if (!list_empty(&s->fronts) || s->blocked.n)
        return;
    map_remove(&r->services, str_z(s->key));
    free(s->key);
    free(s);
}

void net_rules_service(struct net_rules *r, struct str key, const struct net_plan *plan,
                       struct net_batch *b)
{
    struct service_state *s = map_get(&r->services, key);
    if (!s && plan->n == 0)
        return;
    if (!s) {
        s = NEW(struct service_state);
        s->key = str_dup(key);
        list_init(&s->fronts);
        map_set(&r->services, str_z(s->key), s);
    }
    bool freed = apply(r, s, plan, b);
    service_drop(r, s);
    /* Nobody frees anything when a blocked one gets what it waited for, so one round is enough. */
    for (struct map_slot *slot = NULL;
         freed && r->n_blocked && (slot = map_next(&r->services, slot));) {
        struct service_state *other = slot->value;
        if (other->blocked.n)
            (void)apply(r, other, &other->blocked, b);
    }
}

size_t net_rules_fronts(const struct net_rules *r)
{
    return r->fronts.n;
}

/* ---- all at once ---- */

/* "lb-3" and the rest name their front's kind, count and affinity. */
static void print_chain_again(const struct net_rules *r, const char *name, struct buf *out)
{
    struct net_front f = {.kind = NET_FRONT_VIP};
    unsigned n = 0;
    if (strncmp(name, "np", 2) == 0) {
        f.kind = NET_FRONT_NODEPORT;
        name += 2;
    }
    if (sscanf(name, "aff-%u-%u", &n, &f.affinity_s) != 2 && sscanf(name, "lb-%u", &n) != 1)
        return;
    net_chain_print(&r->env, &f, n, out);
}

void net_rules_full(const struct net_rules *r, bool keep, struct buf *out)
{
    struct net_batch b = {0};
    net_table_print(&r->env, keep, out);
    for (struct map_slot *s = NULL; (s = map_next(&r->chains, s));)
        print_chain_again(r, s->value, out);
    for (struct map_slot *s = NULL; (s = map_next(&r->fronts, s));)
        front_print(r, s->value, &b);
    for (struct map_slot *s = NULL; (s = map_next(&r->masq, s));)
        batch_add(&b, NET_MAP_MASQ_EP, "%s", ((struct counted *)s->value)->text);
    pods_print(r, &b);
    net_batch_print(&b, r->env.table, out);
    net_batch_fini(&b);
}

void net_rules_dump(const struct net_rules *r, struct buf *out)
{
    struct buf full = {0};
    buf_printf(out, "services %zu fronts %zu pods %zu chains %zu blocked %u\n", r->services.n,
               r->fronts.n, r->pods.n, r->chains.n, r->n_blocked);
    net_rules_full(r, true, &full);
    buf_add_str(out, buf_str(&full));
    buf_fini(&full);
}
