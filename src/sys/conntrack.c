/* Removing conntrack entries. A UDP "connection" to a Service lives as long as packets flow, so
 * when its endpoint goes, the entry must go too, or the client talks to nobody for ever. The kernel
 * can only delete by exact tuple or dump all, so: dump, pick, delete each by its original tuple.
 * A dump of many takes its time, and what nobody had answered in it may be a connection now, whose
 * next packet would be led to somebody who knows nothing of it. So each is looked at once more
 * right before it goes. */
#include "sys/netlink_impl.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include "base/mem.h"

struct tuple {
    struct ip_addr src, dst;
    uint16_t sport, dport;
    uint8_t proto;
};

struct entry {
    struct tuple orig;
    uint32_t id; /* of the kernel's, as it came */
};

struct found {
    struct entry *v; /* owned */
    size_t n, cap;
    conntrack_match_fn match;
    void *arg;
};

#define CONNTRACK_DELETE_MAX                                                                       \
    1000000 /* entries collected in one call; a table this size is an attack */

static void parse_ips(const struct nlattr *nest, struct tuple *t)
{
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, nest)
    {
        struct ip_addr *out = mnl_attr_get_type(a) == CTA_IP_V4_SRC   ? &t->src
                              : mnl_attr_get_type(a) == CTA_IP_V4_DST ? &t->dst
                                                                      : NULL;
        if (!out || mnl_attr_get_payload_len(a) != 4)
            continue;
        out->family = AF_INET;
        memcpy(out->b, mnl_attr_get_payload(a), 4);
    }
}

static void parse_proto(const struct nlattr *nest, struct tuple *t)
{
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, nest)
    {
        switch (mnl_attr_get_type(a)) {
        case CTA_PROTO_NUM:
            t->proto = mnl_attr_get_u8(a);
            break;
        case CTA_PROTO_SRC_PORT:
            t->sport = ntohs(mnl_attr_get_u16(a));
            break;
        case CTA_PROTO_DST_PORT:
            t->dport = ntohs(mnl_attr_get_u16(a));
            break;
        }
    }
}

static void parse_tuple(const struct nlattr *nest, struct tuple *t)
{
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, nest)
    {
        if (mnl_attr_get_type(a) == CTA_TUPLE_IP)
            parse_ips(a, t);
        else if (mnl_attr_get_type(a) == CTA_TUPLE_PROTO)
            parse_proto(a, t);
    }
}

static int dump_cb(const struct nlmsghdr *h, void *arg)
{
    struct found *f = arg;
    struct tuple orig = {0}, reply = {0};
    uint32_t status = 0, number = 0;
    const struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG)
            parse_tuple(a, &orig);
        else if (mnl_attr_get_type(a) == CTA_TUPLE_REPLY)
            parse_tuple(a, &reply);
        else if (mnl_attr_get_type(a) == CTA_STATUS)
            status = ntohl(mnl_attr_get_u32(a));
        else if (mnl_attr_get_type(a) == CTA_ID)
            number = mnl_attr_get_u32(a);
    }
    if (orig.src.family != AF_INET || orig.dst.family != AF_INET)
        return MNL_CB_OK;
    struct conntrack_flow flow = {
        .proto = orig.proto,
        .orig_src = orig.src,
        .orig_dst = orig.dst,
        .orig_sport = orig.sport,
        .orig_dport = orig.dport,
        .reply_src = reply.src,
        .reply_sport = reply.sport,
        .replied = status & IPS_SEEN_REPLY,
    };
    if (f->n < CONNTRACK_DELETE_MAX && f->match(f->arg, &flow)) {
        ARRAY_RESERVE(f->v, f->n, f->cap);
        f->v[f->n++] = (struct entry){orig, number};
    }
    return MNL_CB_OK;
}

static struct nlmsghdr *ct_msg(struct nl *nl, char *buf, uint8_t type, uint16_t flags)
{
    struct nlmsghdr *h = nl_msg(nl, buf, (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type), flags);
    struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(h, sizeof(*nfg));
    nfg->nfgen_family = AF_INET;
    nfg->version = NFNETLINK_V0;
    return h;
}

static void put_tuple(struct nlmsghdr *h, const struct tuple *t)
{
    struct nlattr *nest = mnl_attr_nest_start(h, CTA_TUPLE_ORIG);
    struct nlattr *ip = mnl_attr_nest_start(h, CTA_TUPLE_IP);
    nl_put_ip(h, CTA_IP_V4_SRC, &t->src);
    nl_put_ip(h, CTA_IP_V4_DST, &t->dst);
    mnl_attr_nest_end(h, ip);
    struct nlattr *proto = mnl_attr_nest_start(h, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(h, CTA_PROTO_NUM, t->proto);
    mnl_attr_put_u16(h, CTA_PROTO_SRC_PORT, htons(t->sport));
    mnl_attr_put_u16(h, CTA_PROTO_DST_PORT, htons(t->dport));
    mnl_attr_nest_end(h, proto);
    mnl_attr_nest_end(h, nest);
}

/* 1: deleted; 0: it is not what it was, or gone. */
static int delete_one(struct nl *nl, const struct entry *e, const struct found *as)
{
    char buf[NL_MSG_BYTES];
    struct found now = {.match = as->match, .arg = as->arg};
    struct nlmsghdr *h = ct_msg(nl, buf, IPCTNL_MSG_CT_GET, 0);
    put_tuple(h, &e->orig);
    int r = nl_talk(nl, h, dump_cb, &now);
    bool same = r == 0 && now.n == 1 && now.v[0].id == e->id;
    free(now.v);
    if (!same)
        return r == -ENOENT ? 0 : r;
    h = ct_msg(nl, buf, IPCTNL_MSG_CT_DELETE, 0);
    put_tuple(h, &e->orig);
    mnl_attr_put_u32(h, CTA_ID, e->id);
    r = nl_talk(nl, h, NULL, NULL);
    return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

/* The kernel's own names of these bits are not in its public headers. */
#define FILTER_IP_SRC (1u << 0)

static void put_scope(struct nlmsghdr *h, const struct conntrack_scope *s)
{
    if (s->unreplied) {
        mnl_attr_put_u32(h, CTA_STATUS, 0);
        mnl_attr_put_u32(h, CTA_STATUS_MASK, htonl(IPS_SEEN_REPLY));
    }
    if (!s->reply_src)
        return;
    struct nlattr *nest = mnl_attr_nest_start(h, CTA_TUPLE_REPLY);
    struct nlattr *ip = mnl_attr_nest_start(h, CTA_TUPLE_IP);
    nl_put_ip(h, CTA_IP_V4_SRC, s->reply_src);
    mnl_attr_nest_end(h, ip);
    mnl_attr_nest_end(h, nest);
    nest = mnl_attr_nest_start(h, CTA_FILTER);
    mnl_attr_put_u32(h, CTA_FILTER_ORIG_FLAGS, 0);
    mnl_attr_put_u32(h, CTA_FILTER_REPLY_FLAGS, FILTER_IP_SRC);
    mnl_attr_nest_end(h, nest);
}

int conntrack_delete(const struct conntrack_scope *scope, conntrack_match_fn match, void *arg)
{
    char buf[NL_MSG_BYTES];
    CLEANUP(nl_closep) struct nl *nl = NULL;
    int r = nl_open_bus(NETLINK_NETFILTER, -1, &nl);
    if (r < 0)
        return r;
    struct found f = {.match = match, .arg = arg};
    struct nlmsghdr *dump = ct_msg(nl, buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
    put_scope(dump, scope);
    r = nl_talk(nl, dump, dump_cb, &f);
    int deleted = 0;
    for (size_t i = 0; r >= 0 && i < f.n; i++) {
        int d = delete_one(nl, &f.v[i], &f);
        if (d < 0)
            r = d;
        else
            deleted += d;
    }
    free(f.v);
    return r < 0 ? r : deleted;
}
