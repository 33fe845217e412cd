/* Addresses, routes and neighbours; see netlink.c for the shape. */
#include "sys/netlink_impl.h"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int addr_request(struct nl *nl, uint16_t type, uint16_t flags, int index,
                        const struct ip_prefix *addr)
{
    char buf[NL_MSG_BYTES];
    ASSERT(index > 0);
    struct nlmsghdr *h = nl_msg(nl, buf, type, flags);
    struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(h, sizeof(*ifa));
    ifa->ifa_family = addr->addr.family;
    ifa->ifa_prefixlen = addr->bits;
    ifa->ifa_index = (uint32_t)index;
    ifa->ifa_scope = ip_is_loopback(&addr->addr) ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    if (addr->addr.family == AF_INET6)
        ifa->ifa_flags = IFA_F_NODAD;
    nl_put_ip(h, IFA_LOCAL, &addr->addr);
    nl_put_ip(h, IFA_ADDRESS, &addr->addr);
    return nl_talk(nl, h, NULL, NULL);
}

int nl_addr_add(struct nl *nl, int index, const struct ip_prefix *addr)
{
    return addr_request(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, addr);
}

int nl_addr_del(struct nl *nl, int index, const struct ip_prefix *addr)
{
    return addr_request(nl, RTM_DELADDR, 0, index, addr);
}

struct addr_walk {
    nl_addr_fn fn;
    void *arg;
};

static int addr_cb(const struct nlmsghdr *h, void *arg)
{
    struct addr_walk *w = arg;
    if (h->nlmsg_type != RTM_NEWADDR)
        return MNL_CB_OK;
    const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(h);
    struct ip_prefix p = {.addr.family = ifa->ifa_family, .bits = ifa->ifa_prefixlen};
    bool found = false;
    const struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(*ifa))
    {
        int t = mnl_attr_get_type(a);
        /* IFA_LOCAL wins: on point-to-point links IFA_ADDRESS is the other end. */
        if ((t == IFA_LOCAL || (t == IFA_ADDRESS && !found)) &&
            mnl_attr_get_payload_len(a) == ip_bytes(&p.addr)) {
            memcpy(p.addr.b, mnl_attr_get_payload(a), ip_bytes(&p.addr));
            found = true;
        }
    }
    if (found)
        w->fn(w->arg, (int)ifa->ifa_index, &p);
    return MNL_CB_OK;
}

int nl_addr_list(struct nl *nl, int family, nl_addr_fn fn, void *arg)
{
    char buf[NL_MSG_BYTES];
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_GETADDR, NLM_F_DUMP);
    struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(h, sizeof(*ifa));
    ifa->ifa_family = (uint8_t)family;
    return nl_talk(nl, h, addr_cb, &(struct addr_walk){fn, arg});
}

/* ---- routes ---- */

static int route_request(struct nl *nl, uint16_t type, uint16_t flags, const struct nl_route *r)
{
    char buf[NL_MSG_BYTES];
    struct nlmsghdr *h = nl_msg(nl, buf, type, flags);
    struct rtmsg *rtm = mnl_nlmsg_put_extra_header(h, sizeof(*rtm));
    rtm->rtm_family = r->dst.addr.family;
    rtm->rtm_dst_len = r->dst.bits;
    rtm->rtm_table = RT_TABLE_MAIN;
    if (type == RTM_NEWROUTE) {
        rtm->rtm_protocol = r->protocol ? r->protocol : RTPROT_STATIC;
        rtm->rtm_type = RTN_UNICAST;
        rtm->rtm_scope = r->link_scope ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
        rtm->rtm_flags = r->onlink ? RTNH_F_ONLINK : 0;
    } else {
        rtm->rtm_scope = RT_SCOPE_NOWHERE;
    }
    if (r->dst.bits > 0)
        nl_put_ip(h, RTA_DST, &r->dst.addr);
    if (r->via.family)
        nl_put_ip(h, RTA_GATEWAY, &r->via);
    if (r->src.family)
        nl_put_ip(h, RTA_PREFSRC, &r->src);
    if (r->index)
        mnl_attr_put_u32(h, RTA_OIF, (uint32_t)r->index);
    if (r->metric)
        mnl_attr_put_u32(h, RTA_PRIORITY, r->metric);
    return nl_talk(nl, h, NULL, NULL);
}

int nl_route_add(struct nl *nl, const struct nl_route *r)
{
    return route_request(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, r);
}

int nl_route_replace(struct nl *nl, const struct nl_route *r)
{
    return route_request(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r);
}

int nl_route_del(struct nl *nl, const struct nl_route *r)
{
    return route_request(nl, RTM_DELROUTE, 0, r);
}

static void put_addr(struct ip_addr *ret, uint8_t family, const struct nlattr *a)
{
    if (mnl_attr_get_payload_len(a) > sizeof(ret->b))
        return;
    ret->family = family;
    memcpy(ret->b, mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
}

static void route_read(const struct nlmsghdr *h, struct nl_route *ret)
{
    const struct rtmsg *rtm = mnl_nlmsg_get_payload(h);
    const struct nlattr *a;
    *ret = (struct nl_route){.dst = {.addr.family = rtm->rtm_family, .bits = rtm->rtm_dst_len},
                             .protocol = rtm->rtm_protocol,
                             .link_scope = rtm->rtm_scope == RT_SCOPE_LINK,
                             .onlink = (rtm->rtm_flags & RTNH_F_ONLINK) != 0};
    mnl_attr_for_each(a, h, sizeof(*rtm))
    {
        switch (mnl_attr_get_type(a)) {
        case RTA_OIF:
            ret->index = (int)mnl_attr_get_u32(a);
            break;
        case RTA_PRIORITY:
            ret->metric = mnl_attr_get_u32(a);
            break;
        case RTA_DST:
            put_addr(&ret->dst.addr, rtm->rtm_family, a);
            break;
        case RTA_GATEWAY:
            put_addr(&ret->via, rtm->rtm_family, a);
            break;
        case RTA_PREFSRC:
            put_addr(&ret->src, rtm->rtm_family, a);
            break;
        default:
            break;
        }
    }
}

struct route_walk {
    nl_route_fn fn;
    void *arg;
};

static int route_cb(const struct nlmsghdr *h, void *arg)
{
    const struct rtmsg *rtm = mnl_nlmsg_get_payload(h);
    struct route_walk *w = arg;
    struct nl_route r;
    if (h->nlmsg_type != RTM_NEWROUTE || rtm->rtm_table != RT_TABLE_MAIN ||
        rtm->rtm_type != RTN_UNICAST)
        return MNL_CB_OK;
    route_read(h, &r);
    w->fn(w->arg, &r);
    return MNL_CB_OK;
}

int nl_route_list(struct nl *nl, int family, nl_route_fn fn, void *arg)
{
    char buf[NL_MSG_BYTES];
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_GETROUTE, NLM_F_DUMP);
    struct rtmsg *rtm = mnl_nlmsg_put_extra_header(h, sizeof(*rtm));
    rtm->rtm_family = (uint8_t)family;
    return nl_talk(nl, h, route_cb, &(struct route_walk){fn, arg});
}

static int lookup_cb(const struct nlmsghdr *h, void *arg)
{
    if (h->nlmsg_type == RTM_NEWROUTE)
        route_read(h, arg);
    return MNL_CB_OK;
}

int nl_route_get(struct nl *nl, const struct ip_addr *dst, struct nl_route *ret)
{
    char buf[NL_MSG_BYTES];
    struct nl_route found = {0};
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_GETROUTE, 0);
    struct rtmsg *rtm = mnl_nlmsg_put_extra_header(h, sizeof(*rtm));
    rtm->rtm_family = dst->family;
    rtm->rtm_dst_len = (uint8_t)(ip_bytes(dst) * 8);
    nl_put_ip(h, RTA_DST, dst);
    int r = nl_talk(nl, h, lookup_cb, &found);
    if (r < 0)
        return r;
    if (!found.index)
        return -ENETUNREACH;
    *ret = found;
    return 0;
}

int nl_route_lookup(struct nl *nl, const struct ip_addr *dst, int *ret_index,
                    struct ip_addr *ret_src)
{
    struct nl_route r;
    int e = nl_route_get(nl, dst, &r);
    if (e < 0)
        return e;
    *ret_index = r.index;
    *ret_src = r.src;
    return 0;
}

/* ---- neighbours ---- */

static int neigh_request(struct nl *nl, uint16_t type, uint16_t flags, int index,
                         const struct ip_addr *dst, const uint8_t mac[6], bool fdb)
{
    char buf[NL_MSG_BYTES];
    ASSERT(index > 0);
    struct nlmsghdr *h = nl_msg(nl, buf, type, flags);
    struct ndmsg *nd = mnl_nlmsg_put_extra_header(h, sizeof(*nd));
    nd->ndm_family = fdb ? PF_BRIDGE : dst->family;
    nd->ndm_ifindex = index;
    nd->ndm_state = NUD_PERMANENT;
    nd->ndm_flags = fdb ? NTF_SELF : 0;
    if (dst && dst->family)
        nl_put_ip(h, NDA_DST, dst);
    if (mac)
        mnl_attr_put(h, NDA_LLADDR, 6, mac);
    return nl_talk(nl, h, NULL, NULL);
}

int nl_neigh_set(struct nl *nl, int index, const struct ip_addr *dst, const uint8_t mac[6],
                 bool fdb)
{
    return neigh_request(nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, index, dst, mac, fdb);
}

int nl_neigh_del(struct nl *nl, int index, const struct ip_addr *dst, const uint8_t mac[6],
                 bool fdb)
{
    return neigh_request(nl, RTM_DELNEIGH, 0, index, dst, mac, fdb);
}
