/* What rules ask about, each once: sets of pods (peers), of ranges (blocks), of named ports. Found
 * by a canonical text, counted by the rules that use them. A pod's elements follow from the peers
 * that match it (kept with the pod) and from its ports; whether they are told is the owner's of its
 * address alone (pods.c). */
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/policy/policy_int.h"

void peer_name(const struct peer *p, char out[static 16])
{
    snprintf(out, 16, "p%u", p->id);
}

void block_name(const struct block *k, char out[static 16])
{
    snprintf(out, 16, "b%u", k->id);
}

void named_name(const struct named *n, char out[static 16])
{
    snprintf(out, 16, "n%u", n->id);
}

/* ---- membership ---- */

static bool peer_matches(const struct peer *peer, const struct pod *p)
{
    if (peer->ns ? peer->ns != p->ns
                 : !(label_selector_is_all(&peer->namespaces) ||
                     (p->ns->present &&
                      label_selector_match(&peer->namespaces, p->ns->labels, p->ns->n_labels))))
        return false;
    return label_selector_match(&peer->pods, p->labels, p->n_labels);
}

static void pod_in_add(struct pod *p, struct peer *peer)
{
    if (p->n_in % 4 == 0) /* grows by fours */
        p->in = xrealloc(p->in, (p->n_in + 4) * sizeof(*p->in));
    p->in[p->n_in++] = peer;
}

bool pod_in_peer(const struct pod *p, const struct peer *peer)
{
    for (uint32_t i = 0; i < p->n_in; i++)
        if (p->in[i] == peer)
            return true;
    return false;
}

void pod_find_peers(struct policy_engine *e, struct pod *p)
{
    struct list *const lists[] = {&p->ns->peers, &e->peers_of_all};
    p->n_in = 0;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct peer *peer;
        LIST_FOR_EACH (peer, lists[i], link)
            if (peer_matches(peer, p))
                pod_in_add(p, peer);
    }
}

bool named_has(const struct named *n, const struct pod *p, uint16_t port)
{
    for (uint32_t i = 0; i < p->n_ports; i++)
        if (p->ports[i].proto == n->proto && p->ports[i].port == port &&
            str_eq(p->ports[i].name, n->name))
            return true;
    return false;
}

static void tell_peer(const struct peer *peer, const struct addr *a, int change,
                      struct policy_batch *b)
{
    char set[16], ip[IP_TEXT_MAX];
    if (a->ip.family != AF_INET)
        return;
    peer_name(peer, set);
    batch_elem(b, change, set, "%s", ip_format(&a->ip, ip));
}

static void tell_named(const struct named *n, const struct pod *p, const struct addr *a, int change,
                       struct policy_batch *b)
{
    char set[16], ip[IP_TEXT_MAX];
    if (a->ip.family != AF_INET || (n->local_only && !a->local))
        return;
    named_name(n, set);
    for (uint32_t i = 0; i < p->n_ports; i++)
        if (p->ports[i].proto == n->proto && str_eq(p->ports[i].name, n->name))
            batch_elem(b, change, set, "%s . %u . %u", ip_format(&a->ip, ip), n->proto,
                       p->ports[i].port);
}

void pod_tell(const struct policy_engine *e, const struct pod *p, const struct addr *a, int change,
              struct policy_batch *b)
{
    struct named *n;
    for (uint32_t i = 0; i < p->n_in; i++)
        tell_peer(p->in[i], a, change, b);
    if (p->n_ports)
        LIST_FOR_EACH (n, &e->named_list, link)
            tell_named(n, p, a, change, b);
}

/* ---- peers ---- */

static void print_peer_def(const struct policy_engine *e, const struct peer *p, struct buf *out)
{
    buf_printf(out, "add set ip %s p%u { type ipv4_addr ; }\n", e->table, p->id);
}

static void compile(struct arena *a, const struct api_label_selector *s, struct label_selector *ret)
{
    static const struct api_label_selector all;
    struct error err = {0};
    /* The server lets none through that does not compile: one that does matches nobody. */
    if (label_selector_compile(a, s ? s : &all, ret, &err) < 0)
        *ret = (struct label_selector){.nothing = true};
    error_fini(&err);
}

static struct str selector_key(struct arena *a, const struct label_selector *s)
{
    return s->nothing ? STR("!") : label_selector_print(a, s);
}

static void fill_from(struct policy_engine *e, struct peer *peer, struct ns *ns,
                      struct policy_batch *b)
{
    struct pod *p;
    LIST_FOR_EACH (p, &ns->pods, link) {
        struct addr *addrs[POLICY_POD_IPS_MAX + 1];
        if (!peer_matches(peer, p))
            continue;
        pod_in_add(p, peer);
        for (uint32_t i = 0, n = pod_addrs(e, p, addrs); i < n; i++)
            tell_peer(peer, addrs[i], 1, b);
    }
}

/* Pods that a new peer matches get to know it. */
static void peer_fill(struct policy_engine *e, struct peer *peer, struct policy_batch *b)
{
    if (peer->ns) {
        fill_from(e, peer, peer->ns, b);
        return;
    }
    for (struct map_slot *s = NULL; (s = map_next(&e->namespaces, s));)
        fill_from(e, peer, s->value, b);
}

struct peer *peer_get(struct policy_engine *e, struct str policy_ns,
                      const struct api_network_policy_peer *from, struct policy_batch *b)
{
    struct peer *p = NEW(struct peer), *there;
    compile(&p->arena, from->namespace_selector, &p->namespaces);
    compile(&p->arena, from->pod_selector, &p->pods);
    struct str ns = from->namespace_selector ? selector_key(&p->arena, &p->namespaces) : policy_ns;
    struct str pods = selector_key(&p->arena, &p->pods);
    p->key =
        xasprintf("%s%.*s|%.*s", from->namespace_selector ? "in " : "", STR_ARG(ns), STR_ARG(pods));
    there = map_get(&e->peers, str_z(p->key));
    if (there) {
        arena_fini(&p->arena);
        free(p->key);
        free(p);
        there->refs++;
        return there;
    }
    p->refs = 1;
    p->id = e->next_id++;
    p->ns = from->namespace_selector ? NULL : ns_get(e, policy_ns);
    list_init(&p->link);
    list_push_back(p->ns ? &p->ns->peers : &e->peers_of_all, &p->link);
    map_set(&e->peers, str_z(p->key), p);
    print_peer_def(e, p, &b->defs);
    peer_fill(e, p, b);
    return p;
}

static void pod_in_remove(struct pod *p, const struct peer *peer)
{
    for (uint32_t i = 0; i < p->n_in; i++)
        if (p->in[i] == peer) {
            p->in[i] = p->in[--p->n_in];
            return;
        }
}

void peer_put(struct policy_engine *e, struct peer *p, struct policy_batch *b)
{
    if (--p->refs)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&e->pods, s));)
        pod_in_remove(s->value, p);
    buf_printf(&b->drop_sets, "delete set ip %s p%u\n", e->table, p->id);
    map_remove(&e->peers, str_z(p->key));
    list_remove(&p->link);
    if (p->ns)
        ns_drop(e, p->ns);
    arena_fini(&p->arena);
    free(p->key);
    free(p);
}

/* ---- blocks ---- */

static void print_block_def(const struct policy_engine *e, const struct block *k, struct buf *out)
{
    buf_printf(out, "add set ip %s b%u { type ipv4_addr ; flags interval ; elements = { %s } ; }\n",
               e->table, k->id, k->key);
}

struct block *block_get(struct policy_engine *e, const struct api_ip_block *const *blocks,
                        uint32_t n, struct policy_batch *b)
{
    struct block *k = NEW(struct block), *there = NULL;
    struct buf key = {0};
    k->v = ranges_of_blocks(&k->arena, blocks, n, &k->n);
    for (uint32_t i = 0; i < k->n; i++) {
        char from[IP_TEXT_MAX], to[IP_TEXT_MAX];
        if (k->v[i].from.family == AF_INET)
            buf_printf(&key, "%s%s-%s", key.n ? ", " : "", ip_format(&k->v[i].from, from),
                       ip_format(&k->v[i].to, to));
    }
    if (key.n)
        there = map_get(&e->blocks, buf_str(&key));
    if (there || !key.n) {
        buf_fini(&key);
        arena_fini(&k->arena);
        free(k);
        if (there)
            there->refs++;
        return there;
    }
    k->key = buf_take(&key, NULL);
    k->refs = 1;
    k->id = e->next_id++;
    map_set(&e->blocks, str_z(k->key), k);
    print_block_def(e, k, &b->defs);
    return k;
}

void block_put(struct policy_engine *e, struct block *k, struct policy_batch *b)
{
    if (--k->refs)
        return;
    buf_printf(&b->drop_sets, "delete set ip %s b%u\n", e->table, k->id);
    map_remove(&e->blocks, str_z(k->key));
    arena_fini(&k->arena);
    free(k->key);
    free(k);
}

/* ---- named ports ---- */

static void print_named_def(const struct policy_engine *e, const struct named *n, struct buf *out)
{
    buf_printf(out, "add set ip %s n%u { type ipv4_addr . inet_proto . inet_service ; }\n",
               e->table, n->id);
}

struct named *named_get(struct policy_engine *e, struct str name, uint8_t proto, bool local_only,
                        struct policy_batch *b)
{
    char *key = xasprintf("%s %u %.*s", local_only ? "local" : "all", proto, STR_ARG(name));
    struct named *n = map_get(&e->named, str_z(key));
    if (n) {
        free(key);
        n->refs++;
        return n;
    }
    n = NEW(struct named);
    *n = (struct named){
        .key = key, .id = e->next_id++, .refs = 1, .proto = proto, .local_only = local_only};
    n->name = str_z(key + strlen(key) - name.n);
    list_init(&n->link);
    list_push_back(&e->named_list, &n->link);
    map_set(&e->named, str_z(key), n);
    print_named_def(e, n, &b->defs);
    for (struct map_slot *s = NULL; (s = map_next(&e->addrs, s));) {
        const struct addr *a = s->value;
        if (a->owner)
            tell_named(n, a->owner, a, 1, b);
    }
    return n;
}

void named_put(struct policy_engine *e, struct named *n, struct policy_batch *b)
{
    if (--n->refs)
        return;
    buf_printf(&b->drop_sets, "delete set ip %s n%u\n", e->table, n->id);
    map_remove(&e->named, str_z(n->key));
    list_remove(&n->link);
    free(n->key);
    free(n);
}

void set_print_defs(const struct policy_engine *e, struct buf *out)
{
    for (struct map_slot *s = NULL; (s = map_next(&e->peers, s));)
        print_peer_def(e, s->value, out);
    for (struct map_slot *s = NULL; (s = map_next(&e->blocks, s));)
        print_block_def(e, s->value, out);
    for (struct map_slot *s = NULL; (s = map_next(&e->named, s));)
        print_named_def(e, s->value, out);
}
