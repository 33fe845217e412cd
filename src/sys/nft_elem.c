/* One batch of nf_tables is one sendmsg: a begin message, messages that each carry up to 64 KiB of
 * elements of one set, an end message. The kernel applies it whole or not at all. Only the last
 * message of elements asks for an acknowledgement, which comes after the commit; errors come
 * before it. */
#include "sys/nft_elem.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "sys/netlink_impl.h"

#define LIST_BYTES_MAX 60000 /* of one message: the length of a nested attribute has 16 bits */
#define ELEM_BYTES_MAX 200
#define ANSWER_WAIT_S  30

int nl_open_nft(struct nl **ret)
{
    return nl_open_bus(NETLINK_NETFILTER, -1, ret);
}

/* ---- writing ---- */

static struct nlmsghdr *put_head(struct buf *b, struct nl *nl, uint16_t type, uint16_t flags,
                                 uint8_t family, uint16_t res_id)
{
    char *at = buf_reserve(b, LIST_BYTES_MAX + ELEM_BYTES_MAX + 512);
    struct nlmsghdr *h = mnl_nlmsg_put_header(at);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = nl->seq++;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    g->nfgen_family = family;
    g->version = NFNETLINK_V0;
    g->res_id = htons(res_id);
    return h;
}

static void put_value(struct nlmsghdr *h, uint16_t type, const void *p, size_t n)
{
    struct nlattr *nest = mnl_attr_nest_start(h, type);
    mnl_attr_put(h, NFTA_DATA_VALUE, n, p);
    mnl_attr_nest_end(h, nest);
}

static void put_verdict(struct nlmsghdr *h, const struct nft_elem *e)
{
    struct nlattr *data = mnl_attr_nest_start(h, NFTA_SET_ELEM_DATA);
    struct nlattr *verdict = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
    int code = e->what == NFT_DATA_GOTO ? NFT_GOTO : NF_DROP;
    mnl_attr_put_u32(h, NFTA_VERDICT_CODE, htonl((uint32_t)code));
    if (e->what == NFT_DATA_GOTO)
        mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, e->chain);
    mnl_attr_nest_end(h, verdict);
    mnl_attr_nest_end(h, data);
}

static void put_elem(struct nlmsghdr *h, const struct nft_elem *e, bool remove)
{
    struct nlattr *nest = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    put_value(h, NFTA_SET_ELEM_KEY, e->key, e->key_bytes);
    if (e->has_end)
        put_value(h, NFTA_SET_ELEM_KEY_END, e->key_end, e->key_bytes);
    if (!remove && e->what == NFT_DATA_BYTES)
        put_value(h, NFTA_SET_ELEM_DATA, e->data, e->data_bytes);
    else if (!remove && e->what != NFT_DATA_NONE)
        put_verdict(h, e);
    mnl_attr_nest_end(h, nest);
}

/* As many of the elements as one message takes; where it begins in b goes to *ret_at. */
static size_t put_elems(struct buf *b, struct nl *nl, const char *table,
                        const struct nft_elem_change *c, size_t from, size_t *ret_at)
{
    uint16_t type = c->remove ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM;
    *ret_at = b->n;
    struct nlmsghdr *h = put_head(b, nl, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type),
                                  c->remove ? 0 : NLM_F_CREATE, NFPROTO_IPV4, 0);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, c->set);
    struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
    size_t i = from;
    while (i < c->n && h->nlmsg_len < LIST_BYTES_MAX)
        put_elem(h, &c->elems[i++], c->remove);
    mnl_attr_nest_end(h, list);
    b->n += h->nlmsg_len;
    return i;
}

/* ---- the answer ---- */

static int read_answers(struct nl *nl, unsigned first, unsigned last)
{
    char in[16384];
    int failed = 0;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(nl->sock, in, sizeof(in));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed ? failed : errno == EAGAIN ? -ETIMEDOUT : -errno;
        int left = (int)n;
        for (const struct nlmsghdr *h = (const struct nlmsghdr *)in; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq - first > last - first)
                continue; /* left over from a batch that was given up */
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
            if (e->error && !failed)
                failed = e->error;
            if (h->nlmsg_seq == last || (h->nlmsg_seq == first && e->error))
                return failed;
        }
    }
}

static int batch_send(struct nl *nl, const struct buf *b)
{
    int fd = mnl_socket_get_fd(nl->sock), bytes = (int)MIN(b->n * 2 + 65536, (size_t)INT32_MAX / 2);
    struct timeval wait = {.tv_sec = ANSWER_WAIT_S};
    struct sockaddr_nl to = {.nl_family = AF_NETLINK};
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    ssize_t n = sendto(fd, b->data, b->n, 0, (struct sockaddr *)&to, sizeof(to));
    return n < 0 ? -errno : 0;
}

int nft_elems_apply(struct nl *nl, const char *table, const struct nft_elem_change *changes,
                    size_t n)
{
    struct buf b = {0};
    size_t last = 0, total = 0;
    int r = 0;
    unsigned first_seq = nl->seq;
    b.n += put_head(&b, nl, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)->nlmsg_len;
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; at < changes[i].n; total++)
            at = put_elems(&b, nl, table, &changes[i], at, &last);
    if (total) {
        struct nlmsghdr *h = (struct nlmsghdr *)(void *)(b.data + last);
        h->nlmsg_flags |= NLM_F_ACK;
        unsigned last_seq = h->nlmsg_seq;
        b.n += put_head(&b, nl, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)->nlmsg_len;
        r = batch_send(nl, &b);
        if (r == 0)
            r = read_answers(nl, first_seq, last_seq);
    }
    buf_fini(&b);
    return r;
}

/* ---- reading ---- */

static uint8_t get_value(const struct nlattr *nest, uint8_t *out, size_t max)
{
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, nest)
    {
        size_t n = mnl_attr_get_payload_len(a);
        if (mnl_attr_get_type(a) == NFTA_DATA_VALUE && n <= max) {
            memcpy(out, mnl_attr_get_payload(a), n);
            return (uint8_t)n;
        }
    }
    return 0;
}

static void get_verdict(const struct nlattr *verdict, struct nft_elem *e)
{
    const struct nlattr *a;
    e->what = NFT_DATA_DROP;
    mnl_attr_for_each_nested(a, verdict)
    {
        if (mnl_attr_get_type(a) == NFTA_VERDICT_CHAIN) {
            e->what = NFT_DATA_GOTO;
            e->chain = mnl_attr_get_str(a);
        }
    }
}

static void get_data(const struct nlattr *nest, struct nft_elem *e)
{
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, nest)
    {
        if (mnl_attr_get_type(a) == NFTA_DATA_VERDICT)
            get_verdict(a, e);
    }
    if (e->what == NFT_DATA_NONE) {
        e->data_bytes = get_value(nest, e->data, sizeof(e->data));
        e->what = NFT_DATA_BYTES;
    }
}

struct elem_walk {
    nft_elem_fn fn;
    void *arg;
};

static void get_elem(const struct nlattr *nest, const struct elem_walk *w)
{
    struct nft_elem e = {0};
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, nest)
    {
        switch (mnl_attr_get_type(a)) {
        case NFTA_SET_ELEM_KEY:
            e.key_bytes = get_value(a, e.key, sizeof(e.key));
            break;
        case NFTA_SET_ELEM_KEY_END:
            e.has_end = get_value(a, e.key_end, sizeof(e.key_end)) > 0;
            break;
        case NFTA_SET_ELEM_DATA:
            get_data(a, &e);
            break;
        }
    }
    if (e.key_bytes)
        w->fn(w->arg, &e);
}

static int elem_cb(const struct nlmsghdr *h, void *arg)
{
    const struct nlattr *a, *el;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
            continue;
        mnl_attr_for_each_nested(el, a)
        {
            get_elem(el, arg);
        }
    }
    return MNL_CB_OK;
}

static struct nlmsghdr *dump_head(struct nl *nl, char *buf, uint16_t type)
{
    struct nlmsghdr *h = nl_msg(nl, buf, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), NLM_F_DUMP);
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    g->nfgen_family = NFPROTO_IPV4;
    g->version = NFNETLINK_V0;
    return h;
}

int nft_elems_list(struct nl *nl, const char *table, const char *set, nft_elem_fn fn, void *arg)
{
    char buf[NL_MSG_BYTES];
    struct nlmsghdr *h = dump_head(nl, buf, NFT_MSG_GETSETELEM);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
    return nl_talk(nl, h, elem_cb, &(struct elem_walk){fn, arg});
}

struct chain_walk {
    const char *table;
    nft_chain_fn fn;
    void *arg;
};

static int chain_cb(const struct nlmsghdr *h, void *arg)
{
    const struct chain_walk *w = arg;
    const char *table = NULL, *name = NULL;
    const struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == NFTA_CHAIN_TABLE)
            table = mnl_attr_get_str(a);
        else if (mnl_attr_get_type(a) == NFTA_CHAIN_NAME)
            name = mnl_attr_get_str(a);
    }
    if (table && name && strcmp(table, w->table) == 0)
        w->fn(w->arg, name);
    return MNL_CB_OK;
}

int nft_chains_list(struct nl *nl, const char *table, nft_chain_fn fn, void *arg)
{
    char buf[NL_MSG_BYTES];
    return nl_talk(nl, dump_head(nl, buf, NFT_MSG_GETCHAIN), chain_cb,
                   &(struct chain_walk){table, fn, arg});
}
