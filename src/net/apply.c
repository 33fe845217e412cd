/* Chains and rules go by libnftables as text, and there are few of them; elements go by netlink,
 * all of a transaction in one batch. Chains come first: alone they change nothing.
 *
 * At start the rules of the former run are in force and mostly right, so they are read and only
 * what differs is written: nobody's packets see it, and clients with affinity stay known. Only a
 * table of another shape, or none, is made anew: empty, with new connections to Services held (see
 * table.c), then filled, then let go. */
#include "net/apply.h"

#include "base/mem.h"
#include "net/rules_internal.h"

void net_tx_fini(struct net_tx *tx)
{
    net_batch_fini(&tx->batch);
    net_flows_fini(&tx->flows);
    error_fini(&tx->err);
    *tx = (struct net_tx){0};
}

static int elems_write(struct net_tx *tx, const struct net_batch *b)
{
    struct nft_elem_change changes[2 * _NET_MAP_MAX];
    size_t n = 0;
    for (int i = 0; i < _NET_MAP_MAX; i++)
        changes[n++] = (struct nft_elem_change){.set = net_map_name((enum net_map)i),
                                                .elems = b->removed[i].v,
                                                .n = b->removed[i].n,
                                                .remove = true};
    for (int i = 0; i < _NET_MAP_MAX; i++)
        changes[n++] = (struct nft_elem_change){
            .set = net_map_name((enum net_map)i), .elems = b->added[i].v, .n = b->added[i].n};
    for (size_t i = 0; i < n; i++)
        tx->n_elems += changes[i].n;
    int r = nft_elems_apply(tx->nl, tx->env.table, changes, n);
    return r < 0 ? error_errno(&tx->err, -r, "nftables: writing elements") : 0;
}

static int commands_run(struct net_tx *tx, const struct buf *text)
{
    return text->n ? nft_run(text->data, &tx->err) : 0;
}

/* ---- changes ---- */

static int apply_change(struct net_tx *tx)
{
    struct buf text = {0};
    for (size_t i = 0; i < tx->batch.n_chains; i++)
        buf_add_str(&text, str_z(tx->batch.chains[i].text));
    int r = commands_run(tx, &text);
    buf_fini(&text);
    return r < 0 ? r : elems_write(tx, &tx->batch);
}

static int apply_anew(struct net_tx *tx)
{
    struct buf text = {0};
    net_table_print(&tx->env, &text);
    for (size_t i = 0; i < tx->batch.n_chains; i++)
        buf_add_str(&text, str_z(tx->batch.chains[i].text));
    int r = commands_run(tx, &text);
    if (r == 0)
        r = elems_write(tx, &tx->batch);
    buf_clear(&text);
    net_table_release(&tx->env, &text);
    if (r == 0)
        r = commands_run(tx, &text);
    buf_fini(&text);
    return r;
}

/* ---- matching ---- */

struct match {
    struct net_batch *diff;
    enum net_map map;
    struct net_elems *wanted; /* sorted */
    bool *there;              /* of each wanted; owned */
};

static int elem_cmp(const void *a, const void *b)
{
    const struct nft_elem *x = a, *y = b;
    int c = memcmp(x->key, y->key, sizeof(x->key));
    return c ? c : memcmp(x->key_end, y->key_end, sizeof(x->key_end));
}

static bool same_data(const struct nft_elem *x, const struct nft_elem *y)
{
    return x->what == y->what && memcmp(x->data, y->data, sizeof(x->data)) == 0 &&
           (x->what != NFT_DATA_GOTO || strcmp(x->chain, y->chain) == 0);
}

static void elems_push(struct net_elems *to, const struct nft_elem *e)
{
    ARRAY_RESERVE(to->v, to->n, to->cap);
    to->v[to->n++] = *e;
}

static void match_one(void *arg, const struct nft_elem *e)
{
    struct match *m = arg;
    const struct nft_elem *w =
        m->wanted->n ? bsearch(e, m->wanted->v, m->wanted->n, sizeof(*w), elem_cmp) : NULL;
    if (w && same_data(w, e)) {
        m->there[w - m->wanted->v] = true;
        return;
    }
    elems_push(&m->diff->removed[m->map], e);
    m->diff->removed[m->map].v[m->diff->removed[m->map].n - 1].chain = NULL;
}

static int match_map(struct net_tx *tx, enum net_map map, struct net_batch *diff)
{
    struct match m = {.diff = diff, .map = map, .wanted = &tx->batch.added[map]};
    m.there = xcalloc(m.wanted->n + 1, sizeof(*m.there));
    if (m.wanted->n)
        qsort(m.wanted->v, m.wanted->n, sizeof(*m.wanted->v), elem_cmp);
    int r = nft_elems_list(tx->nl, tx->env.table, net_map_name(map), match_one, &m);
    for (size_t i = 0; r == 0 && i < m.wanted->n; i++)
        if (!m.there[i])
            elems_push(&diff->added[map], &m.wanted->v[i]);
    free(m.there);
    return r < 0 ? error_errno(&tx->err, -r, "nftables: reading %s", net_map_name(map)) : 0;
}

struct chains {
    const char *shape;
    bool shape_found;
    const struct net_batch *wanted;
    bool *there; /* owned */
};

static void chain_seen(void *arg, const char *chain)
{
    struct chains *c = arg;
    if (strcmp(chain, c->shape) == 0)
        c->shape_found = true;
    for (size_t i = 0; i < c->wanted->n_chains; i++)
        if (strcmp(chain, c->wanted->chains[i].name) == 0)
            c->there[i] = true;
}

static int chains_match(struct net_tx *tx)
{
    char shape[NFT_CHAIN_NAME_MAX];
    struct buf text = {0};
    struct chains c = {.shape = net_table_shape(&tx->env, shape), .wanted = &tx->batch};
    c.there = xcalloc(tx->batch.n_chains + 1, sizeof(*c.there));
    int r = nft_chains_list(tx->nl, tx->env.table, chain_seen, &c);
    if (r < 0)
        r = error_errno(&tx->err, -r, "nftables: reading chains");
    else if (!c.shape_found)
        r = error_set(&tx->err, REASON_NOT_FOUND, "nftables: no table of this version");
    for (size_t i = 0; r == 0 && i < tx->batch.n_chains; i++)
        if (!c.there[i])
            buf_add_str(&text, str_z(tx->batch.chains[i].text));
    if (r == 0)
        r = commands_run(tx, &text);
    buf_fini(&text);
    free(c.there);
    return r;
}

static int apply_match(struct net_tx *tx)
{
    struct net_batch diff = {0};
    int r = chains_match(tx);
    for (int i = 0; r == 0 && i < _NET_MAP_MAX; i++)
        r = match_map(tx, (enum net_map)i, &diff);
    if (r == 0)
        r = elems_write(tx, &diff);
    net_batch_fini(&diff);
    return r;
}

int net_apply(struct net_tx *tx, struct nl *nl)
{
    tx->nl = nl;
    int (*const how[])(struct net_tx *) = {
        [NET_APPLY_CHANGE] = apply_change,
        [NET_APPLY_MATCH] = apply_match,
        [NET_APPLY_ANEW] = apply_anew,
    };
    return how[tx->how](tx);
}
