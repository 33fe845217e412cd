/* Elements as the kernel has them, and as people read them. One table says what each map's key and
 * data consist of; writing, printing and comparing follow it. */
#include "net/rules_internal.h"

#include <arpa/inet.h>

#include "base/mem.h"

/* Fields: a address, o protocol, p port, c classid, r a range of addresses. Data behind the colon;
 * v: a verdict. */
static const struct map_row {
    const char *name, *fields;
} map_rows[_NET_MAP_MAX] = {
    [NET_MAP_SVC] = {"svc", "aop:v"},
    [NET_MAP_SVC_IN] = {"svc_in", "aop:v"},
    [NET_MAP_SVC_EP] = {"svc_ep", "aopc:ap"},
    [NET_MAP_SVC_PICK] = {"svc_pick", "aopc:c"},
    [NET_MAP_SVC_ID] = {"svc_id", "aopc:ap"},
    [NET_MAP_SVC_NONE] = {"svc_none", "aop:v"},
    [NET_MAP_NP] = {"np", "op:v"},
    [NET_MAP_NP_IN] = {"np_in", "op:v"},
    [NET_MAP_NP_EP] = {"np_ep", "opc:ap"},
    [NET_MAP_NP_PICK] = {"np_pick", "opc:c"},
    [NET_MAP_NP_ID] = {"np_id", "opc:ap"},
    [NET_MAP_NP_NONE] = {"np_none", "op:v"},
    [NET_MAP_HP] = {"hp", "op:ap"},
    [NET_MAP_HP_IP] = {"hp_ip", "aop:ap"},
    [NET_MAP_HAIRPIN] = {"hairpin", "aa"},
    [NET_MAP_MASQ_EP] = {"masq_ep", "aop"},
    [NET_MAP_LB_OK] = {"lb_ok", "aopr"},
};

const char *net_map_name(enum net_map map)
{
    return map_rows[map].name;
}

static void put_field(uint8_t out[4], char field, uint32_t v)
{
    uint32_t word = field == 'a' || field == 'r' ? htonl(v) : v;
    memset(out, 0, 4);
    if (field == 'o') {
        out[0] = (uint8_t)v;
    } else if (field == 'p') {
        uint16_t port = htons((uint16_t)v);
        memcpy(out, &port, sizeof(port));
    } else {
        memcpy(out, &word, sizeof(word));
    }
}

void batch_put(struct net_batch *b, enum put what, enum net_map map, const uint32_t *v,
               const char *chain)
{
    struct net_elems *to = what == PUT_ADD ? &b->added[map] : &b->removed[map];
    struct nft_elem e = {0};
    const char *f = map_rows[map].fields;
    for (; *f && *f != ':'; f++, e.key_bytes += 4) {
        put_field(e.key + e.key_bytes, *f, *v);
        if (*f == 'r') {
            memcpy(e.key_end, e.key, e.key_bytes);
            put_field(e.key_end + e.key_bytes, *f, *++v);
            e.has_end = true;
        }
        v++;
    }
    if (*f == ':' && f[1] == 'v') {
        e.what = chain ? NFT_DATA_GOTO : NFT_DATA_DROP;
        e.chain = chain;
    } else if (*f == ':') {
        e.what = NFT_DATA_BYTES;
        for (f++; *f; f++, e.data_bytes += 4)
            put_field(e.data + e.data_bytes, *f, *v++);
    }
    ASSERT(e.key_bytes <= NFT_ELEM_KEY_MAX && e.data_bytes <= NFT_ELEM_DATA_MAX);
    ARRAY_RESERVE(to->v, to->n, to->cap);
    to->v[to->n++] = e;
    b->changes++;
}

void net_batch_fini(struct net_batch *b)
{
    for (size_t i = 0; i < b->n_chains; i++)
        free(b->chains[i].text);
    free(b->chains);
    for (int i = 0; i < _NET_MAP_MAX; i++) {
        free(b->removed[i].v);
        free(b->added[i].v);
    }
    free(b->gone);
    *b = (struct net_batch){0};
}

/* ---- as text ---- */

static void print_field(const uint8_t in[4], char field, struct buf *out)
{
    uint32_t word;
    uint16_t port;
    memcpy(&word, in, sizeof(word));
    memcpy(&port, in, sizeof(port));
    if (field == 'a' || field == 'r')
        buf_printf(out, "%u.%u.%u.%u", in[0], in[1], in[2], in[3]);
    else if (field == 'o')
        buf_printf(out, "%u", in[0]);
    else if (field == 'p')
        buf_printf(out, "%u", ntohs(port));
    else
        buf_printf(out, "%x:%x", word >> 16, word & 0xffff);
}

static void print_elem(enum net_map map, const struct nft_elem *e, struct buf *out)
{
    const char *f = map_rows[map].fields;
    size_t at = 0;
    for (; *f && *f != ':'; f++, at += 4) {
        buf_printf(out, "%s", at ? " . " : "");
        print_field(e->key + at, *f, out);
        if (*f == 'r') {
            buf_add_lit(out, "-");
            print_field(e->key_end + at, *f, out);
        }
    }
    if (*f != ':')
        return;
    buf_add_lit(out, " : ");
    if (f[1] == 'v') {
        buf_printf(out, "%s%s", e->what == NFT_DATA_GOTO ? "goto " : "drop",
                   e->what == NFT_DATA_GOTO ? e->chain : "");
        return;
    }
    for (f++, at = 0; *f; f++, at += 4) {
        buf_printf(out, "%s", at ? " . " : "");
        print_field(e->data + at, *f, out);
    }
}

static void print_elems(const char *verb, const char *table, enum net_map map,
                        const struct net_elems *l, struct buf *out)
{
    if (!l->n)
        return;
    buf_printf(out, "%s element ip %s %s { ", verb, table, map_rows[map].name);
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            buf_add_lit(out, ", ");
        print_elem(map, &l->v[i], out);
    }
    buf_add_lit(out, " }\n");
}

void net_batch_print(const struct net_batch *b, const char *table, struct buf *out)
{
    for (size_t i = 0; i < b->n_chains; i++)
        buf_add_str(out, str_z(b->chains[i].text));
    for (int i = 0; i < _NET_MAP_MAX; i++)
        print_elems("delete", table, (enum net_map)i, &b->removed[i], out);
    for (int i = 0; i < _NET_MAP_MAX; i++)
        print_elems("add", table, (enum net_map)i, &b->added[i], out);
}
