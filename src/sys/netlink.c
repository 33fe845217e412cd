/* One request, one acknowledgement: everything here builds a message on the stack, sends it, and
 * reads until the kernel's ack. No event subscription and no state, so a struct nl is just a
 * socket; what should exist is known to the callers, who compare and repair (level-triggered). */
#include "sys/netlink_impl.h"

#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "sys/netns.h"

static int open_socket(void *arg)
{
    struct nl *nl = arg;
    nl->sock = mnl_socket_open2(nl->bus, SOCK_CLOEXEC);
    if (!nl->sock)
        return -errno;
    if (mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
        int r = -errno;
        mnl_socket_close(nl->sock);
        return r;
    }
    return 0;
}

int nl_open_bus(int bus, int netns_fd, struct nl **ret)
{
    struct nl *nl = NEW(struct nl);
    nl->bus = bus;
    int r = netns_fd >= 0 ? netns_run(netns_fd, open_socket, nl) : open_socket(nl);
    if (r < 0) {
        free(nl);
        return r;
    }
    nl->seq = 1;
    *ret = nl;
    return 0;
}

int nl_open(int netns_fd, struct nl **ret)
{
    return nl_open_bus(NETLINK_ROUTE, netns_fd, ret);
}

struct nl *nl_close(struct nl *nl)
{
    if (nl) {
        mnl_socket_close(nl->sock);
        free(nl);
    }
    return NULL;
}

void nl_closep(struct nl **nl)
{
    *nl = nl_close(*nl);
}

struct nlmsghdr *nl_msg(struct nl *nl, void *buf, uint16_t type, uint16_t flags)
{
    memset(buf, 0, NL_MSG_BYTES);
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = nl->seq++;
    return h;
}

int nl_talk(struct nl *nl, struct nlmsghdr *h, mnl_cb_t cb, void *arg)
{
    char buf[32768];
    unsigned seq = h->nlmsg_seq, port = mnl_socket_get_portid(nl->sock);
    /* two bits; NLM_F_EXCL of a "new" request shares one of them */
    if ((h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
        h->nlmsg_flags |= NLM_F_ACK;
    if (mnl_socket_sendto(nl->sock, h, h->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(nl->sock, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        const struct nlmsghdr *got = (const struct nlmsghdr *)buf;
        if (n >= (ssize_t)sizeof(*got) && got->nlmsg_seq != seq)
            continue; /* left over from a request that was given up */
        int r = mnl_cb_run(buf, (size_t)n, seq, port, cb, arg);
        if (r < 0)
            return -errno;
        if (r == MNL_CB_STOP)
            return 0;
    }
}

void nl_put_ip(struct nlmsghdr *h, uint16_t attr, const struct ip_addr *a)
{
    mnl_attr_put(h, attr, ip_bytes(a), a->b);
}

/* ---- links ---- */

static int parse_linkinfo(const struct nlattr *info, struct nl_link *l)
{
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, info)
    {
        if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
            snprintf(l->kind, sizeof(l->kind), "%.*s", (int)mnl_attr_get_payload_len(a),
                     (const char *)mnl_attr_get_payload(a));
    }
    return 0;
}

struct link_walk {
    nl_link_fn fn;
    void *arg;
};

static int link_cb(const struct nlmsghdr *h, void *arg)
{
    struct link_walk *w = arg;
    if (h->nlmsg_type != RTM_NEWLINK)
        return MNL_CB_OK;
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
    struct nl_link l = {.index = ifi->ifi_index, .flags = ifi->ifi_flags};
    const struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(*ifi))
    {
        switch (mnl_attr_get_type(a)) {
        case IFLA_IFNAME:
            snprintf(l.name, sizeof(l.name), "%s", mnl_attr_get_str(a));
            break;
        case IFLA_MTU:
            l.mtu = mnl_attr_get_u32(a);
            break;
        case IFLA_LINK:
            l.peer_index = (int)mnl_attr_get_u32(a);
            break;
        case IFLA_MASTER:
            l.master_index = (int)mnl_attr_get_u32(a);
            break;
        case IFLA_ADDRESS:
            if (mnl_attr_get_payload_len(a) == 6)
                memcpy(l.mac, mnl_attr_get_payload(a), 6);
            break;
        case IFLA_LINKINFO:
            parse_linkinfo(a, &l);
            break;
        }
    }
    w->fn(w->arg, &l);
    return MNL_CB_OK;
}

static void link_keep(void *arg, const struct nl_link *l)
{
    *(struct nl_link *)arg = *l;
}

int nl_link_get(struct nl *nl, const char *name, struct nl_link *ret)
{
    char buf[NL_MSG_BYTES];
    struct nl_link found = {0};
    if (strlen(name) >= LINK_NAME_MAX)
        return -EINVAL;
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_GETLINK, 0);
    mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    int r = nl_talk(nl, h, link_cb, &(struct link_walk){link_keep, &found});
    if (r < 0)
        return r;
    if (found.index == 0)
        return -ENODEV;
    *ret = found;
    return 0;
}

int nl_link_list(struct nl *nl, nl_link_fn fn, void *arg)
{
    char buf[NL_MSG_BYTES];
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_GETLINK, NLM_F_DUMP);
    mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
    return nl_talk(nl, h, link_cb, &(struct link_walk){fn, arg});
}

static struct nlmsghdr *new_link(struct nl *nl, char *buf, const char *name)
{
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    return h;
}

int nl_link_add_bridge(struct nl *nl, const char *name, const uint8_t *mac)
{
    char buf[NL_MSG_BYTES];
    if (strlen(name) >= LINK_NAME_MAX)
        return -EINVAL;
    struct nlmsghdr *h = new_link(nl, buf, name);
    if (mac)
        mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
    mnl_attr_nest_end(h, info);
    return nl_talk(nl, h, NULL, NULL);
}

int nl_link_add_veth(struct nl *nl, const char *name, unsigned mtu, const char *peer_name,
                     int peer_netns_fd, const uint8_t *peer_mac)
{
    char buf[NL_MSG_BYTES];
    if (strlen(name) >= LINK_NAME_MAX || strlen(peer_name) >= LINK_NAME_MAX)
        return -EINVAL;
    struct nlmsghdr *h = new_link(nl, buf, name);
    if (mtu)
        mnl_attr_put_u32(h, IFLA_MTU, mtu);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(h, IFLA_IFNAME, peer_name);
    if (mtu)
        mnl_attr_put_u32(h, IFLA_MTU, mtu);
    if (peer_netns_fd >= 0)
        mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)peer_netns_fd);
    if (peer_mac)
        mnl_attr_put(h, IFLA_ADDRESS, 6, peer_mac);
    mnl_attr_nest_end(h, peer);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    return nl_talk(nl, h, NULL, NULL);
}

static void put_vxlan_local(struct nlmsghdr *h, const struct ip_addr *local)
{
    nl_put_ip(h, local->family == AF_INET ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, local);
}

int nl_link_add_vxlan(struct nl *nl, const char *name, uint32_t vni, uint16_t port,
                      const struct ip_addr *local, int dev_index, unsigned mtu)
{
    char buf[NL_MSG_BYTES];
    if (strlen(name) >= LINK_NAME_MAX || vni >= 1u << 24)
        return -EINVAL;
    struct nlmsghdr *h = new_link(nl, buf, name);
    if (mtu)
        mnl_attr_put_u32(h, IFLA_MTU, mtu);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "vxlan");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    mnl_attr_put_u32(h, IFLA_VXLAN_ID, vni);
    mnl_attr_put_u16(h, IFLA_VXLAN_PORT, htons(port));
    mnl_attr_put_u8(h, IFLA_VXLAN_LEARNING, 0); /* entries come from the API, not from traffic */
    if (dev_index > 0)
        mnl_attr_put_u32(h, IFLA_VXLAN_LINK, (uint32_t)dev_index);
    if (local)
        put_vxlan_local(h, local);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    return nl_talk(nl, h, NULL, NULL);
}

int nl_link_set_vxlan_local(struct nl *nl, int index, const struct ip_addr *local)
{
    char buf[NL_MSG_BYTES];
    ASSERT(index > 0);
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_NEWLINK, 0);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    ifi->ifi_index = index;
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "vxlan");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    put_vxlan_local(h, local);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    return nl_talk(nl, h, NULL, NULL);
}

int nl_link_del(struct nl *nl, int index)
{
    char buf[NL_MSG_BYTES];
    ASSERT(index > 0);
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_DELLINK, 0);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    ifi->ifi_index = index;
    return nl_talk(nl, h, NULL, NULL);
}

int nl_link_set(struct nl *nl, int index, const struct nl_link_change *c)
{
    char buf[NL_MSG_BYTES];
    ASSERT(index > 0);
    if (c->rename && strlen(c->rename) >= LINK_NAME_MAX)
        return -EINVAL;
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_NEWLINK, 0);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    ifi->ifi_index = index;
    if (c->up || c->down) {
        ifi->ifi_change = IFF_UP;
        ifi->ifi_flags = c->up ? IFF_UP : 0;
    }
    if (c->mtu)
        mnl_attr_put_u32(h, IFLA_MTU, c->mtu);
    if (c->master_index)
        mnl_attr_put_u32(h, IFLA_MASTER, c->master_index < 0 ? 0 : (uint32_t)c->master_index);
    if (c->rename)
        mnl_attr_put_strz(h, IFLA_IFNAME, c->rename);
    if (c->mac)
        mnl_attr_put(h, IFLA_ADDRESS, 6, c->mac);
    if (c->netns_fd > 0)
        mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)c->netns_fd);
    return nl_talk(nl, h, NULL, NULL);
}

int nl_link_set_port(struct nl *nl, int index, const struct nl_port *port)
{
    char buf[NL_MSG_BYTES];
    ASSERT(index > 0);
    struct nlmsghdr *h = nl_msg(nl, buf, RTM_SETLINK, 0);
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
    ifi->ifi_family = PF_BRIDGE;
    ifi->ifi_index = index;
    const struct {
        int value;
        uint16_t attr;
    } fields[] = {{port->hairpin, IFLA_BRPORT_MODE},
                  {port->isolated, IFLA_BRPORT_ISOLATED},
                  {port->learning, IFLA_BRPORT_LEARNING},
                  {port->flood, IFLA_BRPORT_UNICAST_FLOOD}};
    struct nlattr *nest = mnl_attr_nest_start(h, IFLA_PROTINFO);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].value >= 0)
            mnl_attr_put_u8(h, fields[i].attr, (uint8_t)fields[i].value);
    mnl_attr_nest_end(h, nest);
    return nl_talk(nl, h, NULL, NULL);
}
