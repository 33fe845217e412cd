/* Namespaces, pods, and whose an address is. Ten thousand pods are held here, so a pod is one block
 * with what policies ask about and nothing else.
 *
 * Addresses are used again, and the news of two pods with one address may come in any order (the
 * old one's end is told later than the new one's start when its node was slow). So every address
 * knows all that claim it, and has one owner; only the owner has elements. */
#include "base/mem.h"
#include "net/policy/policy_int.h"

/* ---- namespaces ---- */

struct ns *ns_get(struct policy_engine *e, struct str name)
{
    struct ns *n = map_get(&e->namespaces, name);
    if (n)
        return n;
    n = NEW(struct ns);
    n->name = str_dup(name);
    list_init(&n->pods);
    list_init(&n->policies);
    list_init(&n->peers);
    map_set(&e->namespaces, str_z(n->name), n);
    return n;
}

void ns_drop(struct policy_engine *e, struct ns *n)
{
    if (n->present || n->held || !list_empty(&n->pods) || !list_empty(&n->policies) ||
        !list_empty(&n->peers))
        return;
    map_remove(&e->namespaces, str_z(n->name));
    arena_fini(&n->arena);
    free(n->name);
    free(n);
}

static bool labels_equal(const struct kv_str *a, uint32_t n_a, const struct kv_str *b, uint32_t n_b)
{
    if (n_a != n_b)
        return false;
    for (uint32_t i = 0; i < n_a; i++)
        if (!str_eq(a[i].key, b[i].key) || !str_eq(a[i].value, b[i].value))
            return false;
    return true;
}

uint32_t pod_addrs(const struct policy_engine *e, const struct pod *p,
                   struct addr *out[POLICY_POD_IPS_MAX + 1])
{
    struct addr *leased = p->local ? addr_find(e, &p->local->ip) : NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_claims; i++)
        if (p->claims[i].addr->owner == p && p->claims[i].addr != leased)
            out[n++] = p->claims[i].addr;
    if (leased && leased->owner == p)
        out[n++] = leased;
    return n;
}

static void pod_tell_all(struct policy_engine *e, struct pod *p, int change, struct policy_batch *b)
{
    struct addr *addrs[POLICY_POD_IPS_MAX + 1];
    for (uint32_t i = 0, n = pod_addrs(e, p, addrs); i < n; i++)
        pod_tell(e, p, addrs[i], change, b);
}

void policy_namespace(struct policy_engine *e, struct str name, bool present,
                      const struct kv_str *labels, uint32_t n_labels, struct policy_batch *b)
{
    struct ns *n = map_get(&e->namespaces, name);
    struct pod *p;
    if (n ? n->present == present && labels_equal(n->labels, n->n_labels, labels, n_labels)
          : !present)
        return;
    n = ns_get(e, name);
    LIST_FOR_EACH (p, &n->pods, link)
        pod_tell_all(e, p, -1, b);
    arena_fini(&n->arena);
    n->arena = (struct arena){0};
    n->present = present;
    n->n_labels = n_labels;
    n->labels = ARENA_NEW_N(&n->arena, struct kv_str, n_labels + 1);
    for (uint32_t i = 0; i < n_labels; i++)
        n->labels[i] = (struct kv_str){arena_str(&n->arena, labels[i].key),
                                       arena_str(&n->arena, labels[i].value)};
    LIST_FOR_EACH (p, &n->pods, link) {
        pod_find_peers(e, p);
        pod_tell_all(e, p, 1, b);
    }
    ns_drop(e, n);
}

/* ---- addresses ---- */

static struct str addr_key(const struct ip_addr *ip)
{
    return (struct str){(const char *)ip, offsetof(struct ip_addr, b) + ip_bytes(ip)};
}

struct addr *addr_find(const struct policy_engine *e, const struct ip_addr *ip)
{
    return map_get(&e->addrs, addr_key(ip));
}

struct addr *addr_get(struct policy_engine *e, const struct ip_addr *ip)
{
    struct addr *a = addr_find(e, ip);
    if (a)
        return a;
    a = NEW(struct addr);
    a->ip = *ip;
    list_init(&a->claims);
    map_set(&e->addrs, addr_key(&a->ip), a);
    return a;
}

static struct pod *addr_best(const struct addr *a)
{
    struct pod *best = NULL;
    struct claim *c;
    if (a->local)
        return a->local->pod;
    LIST_FOR_EACH (c, &a->claims, link) /* in the order they came */
        if (!best || c->pod->created >= best->created)
            best = c->pod;
    return best;
}

void addr_settle(struct policy_engine *e, struct addr *a, struct policy_batch *b)
{
    struct pod *best = addr_best(a);
    if (best != a->owner) {
        if (a->owner)
            pod_tell(e, a->owner, a, -1, b);
        a->owner = best;
        if (best)
            pod_tell(e, best, a, 1, b);
    }
    if (a->local || !list_empty(&a->claims))
        return;
    map_remove(&e->addrs, addr_key(&a->ip));
    free(a);
}

/* ---- pods ---- */

static int port_cmp(const void *x, const void *y)
{
    const struct policy_port *a = x, *b = y;
    int c = str_cmp(a->name, b->name);
    if (c == 0)
        c = (int)a->proto - (int)b->proto;
    return c ? c : (int)a->port - (int)b->port;
}

static uint32_t ports_sort(const struct policy_pod *pod, struct policy_port *out)
{
    uint32_t n = MIN(pod->n_ports, (uint32_t)POLICY_POD_PORTS_MAX), k = 0;
    if (n)
        memcpy(out, pod->ports, n * sizeof(*out));
    qsort(out, n, sizeof(*out), port_cmp);
    for (uint32_t i = 0; i < n; i++)
        if (!k || port_cmp(&out[k - 1], &out[i]) != 0)
            out[k++] = out[i];
    return k;
}

static bool pod_same(const struct pod *p, const struct policy_pod *pod,
                     const struct policy_port *ports, uint32_t n_ports)
{
    if (!str_eq(str_z(p->ns->name), pod->ns) || p->created != pod->created ||
        p->n_claims != pod->n_ips || p->n_ports != n_ports ||
        !labels_equal(p->labels, p->n_labels, pod->labels, pod->n_labels))
        return false;
    for (uint32_t i = 0; i < n_ports; i++)
        if (port_cmp(&p->ports[i], &ports[i]) != 0)
            return false;
    for (uint32_t i = 0; i < p->n_claims; i++)
        if (!ip_eq(&p->claims[i].addr->ip, &pod->ips[i]))
            return false;
    return true;
}

static struct str put_str(char **at, struct str s)
{
    struct str copy = {*at, s.n};
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

static struct pod *pod_new(const struct policy_pod *pod, const struct policy_port *ports,
                           uint32_t n_ports)
{
    size_t text = pod->uid.n;
    for (uint32_t i = 0; i < pod->n_labels; i++)
        text += pod->labels[i].key.n + pod->labels[i].value.n;
    for (uint32_t i = 0; i < n_ports; i++)
        text += ports[i].name.n;
    struct pod *p =
        xcalloc(1, sizeof(*p) + pod->n_ips * sizeof(p->claims[0]) +
                       pod->n_labels * sizeof(*p->labels) + n_ports * sizeof(*p->ports) + text);
    p->labels = (struct kv_str *)(void *)&p->claims[pod->n_ips];
    p->ports = (struct policy_port *)(void *)&p->labels[pod->n_labels];
    char *at = (char *)&p->ports[n_ports];
    list_init(&p->link);
    p->created = pod->created;
    p->uid = put_str(&at, pod->uid);
    p->n_labels = pod->n_labels;
    for (uint32_t i = 0; i < pod->n_labels; i++) {
        p->labels[i].key = put_str(&at, pod->labels[i].key);
        p->labels[i].value = put_str(&at, pod->labels[i].value);
    }
    p->n_ports = n_ports;
    for (uint32_t i = 0; i < n_ports; i++) {
        p->ports[i] = ports[i];
        p->ports[i].name = put_str(&at, ports[i].name);
    }
    return p;
}

/* The local that was its is left without a pod. */
static void pod_remove(struct policy_engine *e, struct pod *p, struct policy_batch *b)
{
    struct ns *ns = p->ns;
    struct local *l = p->local;
    if (l) {
        struct addr *a = addr_find(e, &l->ip);
        l->pod = NULL;
        addr_settle(e, a, b);
        p->local = NULL;
    }
    for (uint32_t i = 0; i < p->n_claims; i++) {
        list_remove(&p->claims[i].link);
        addr_settle(e, p->claims[i].addr, b);
    }
    map_remove(&e->pods, p->uid);
    list_remove(&p->link);
    free(p->in);
    free(p);
    ns_drop(e, ns);
}

static void pod_place(struct policy_engine *e, struct pod *p, const struct policy_pod *pod,
                      struct policy_batch *b)
{
    p->ns = ns_get(e, pod->ns);
    list_push_back(&p->ns->pods, &p->link);
    map_set(&e->pods, p->uid, p);
    p->local = map_get(&e->locals, p->uid);
    pod_find_peers(e, p);
    if (p->local) {
        p->local->pod = p;
        addr_settle(e, addr_find(e, &p->local->ip), b);
    }
    for (uint32_t i = 0; i < pod->n_ips; i++) {
        struct claim *c = &p->claims[p->n_claims];
        bool twice = false;
        for (uint32_t k = 0; k < p->n_claims; k++)
            twice |= ip_eq(&p->claims[k].addr->ip, &pod->ips[i]);
        if (twice)
            continue;
        c->pod = p;
        c->addr = addr_get(e, &pod->ips[i]);
        list_init(&c->link);
        list_push_back(&c->addr->claims, &c->link);
        p->n_claims++;
        addr_settle(e, c->addr, b);
    }
    if (p->local)
        local_settle(e, p->local, b);
}

void policy_pod(struct policy_engine *e, const struct policy_pod *pod, struct policy_batch *b)
{
    struct policy_port ports[POLICY_POD_PORTS_MAX];
    uint32_t n_ports = ports_sort(pod, ports);
    struct pod *old = map_get(&e->pods, pod->uid);
    if (old && pod_same(old, pod, ports, n_ports))
        return;
    if (old)
        pod_remove(e, old, b);
    pod_place(e, pod_new(pod, ports, n_ports), pod, b);
}

void policy_pod_gone(struct policy_engine *e, struct str uid, struct policy_batch *b)
{
    struct pod *p = map_get(&e->pods, uid);
    if (!p)
        return;
    struct local *l = p->local;
    pod_remove(e, p, b);
    if (l)
        local_settle(e, l, b);
}

void policy_local(struct policy_engine *e, struct str uid, const char *link,
                  const struct ip_addr *ip, struct policy_batch *b)
{
    struct local *l = map_get(&e->locals, uid);
    if (l && ip && ip_eq(&l->ip, ip))
        return;
    if (l) {
        struct addr *a = addr_find(e, &l->ip);
        struct pod *p = l->pod;
        local_untell(e, l, b);
        if (a->owner) /* named ports of local pods: the lease is part of it */
            pod_tell(e, a->owner, a, -1, b);
        a->owner = NULL;
        a->local = NULL;
        if (p)
            p->local = NULL;
        map_remove(&e->locals, str_z(l->uid));
        free(l->uid);
        free(l->link);
        free(l);
        addr_settle(e, a, b);
    }
    if (!ip)
        return;
    struct addr *a = addr_get(e, ip);
    if (a->local) { /* a lease that was lost without a word */
        char *other = xstrdup(a->local->uid);
        policy_local(e, str_z(other), NULL, NULL, b);
        free(other);
        a = addr_get(e, ip);
    }
    if (a->owner)
        pod_tell(e, a->owner, a, -1, b);
    a->owner = NULL;
    l = NEW(struct local);
    l->uid = str_dup(uid);
    l->link = xstrdup(link);
    l->ip = *ip;
    l->pod = map_get(&e->pods, uid);
    if (l->pod)
        l->pod->local = l;
    map_set(&e->locals, str_z(l->uid), l);
    a->local = l;
    addr_settle(e, a, b);
    local_settle(e, l, b);
}

void policy_forget_pods(struct policy_engine *e)
{
    struct policy_batch b = {0};
    struct map_slot *s = NULL;
    struct ns **all = xcalloc(e->namespaces.n + 1, sizeof(struct ns *));
    size_t n = 0;
    while ((s = map_next(&e->namespaces, s)))
        all[n++] = s->value;
    for (size_t i = 0; i < n; i++) {
        all[i]->held = true;
        while (!list_empty(&all[i]->pods))
            policy_pod_gone(e, LIST_FIRST(&all[i]->pods, struct pod, link)->uid, &b);
        all[i]->held = false;
        if (all[i]->present)
            policy_namespace(e, str_z(all[i]->name), false, NULL, 0, &b);
        else
            ns_drop(e, all[i]);
    }
    free(all);
    policy_batch_fini(&b);
}
