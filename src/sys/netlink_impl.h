/* Inside src/sys only: what the netlink files share. */
#pragma once

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "sys/netlink.h"

struct nl {
    struct mnl_socket *sock; /* owned */
    int bus;
    unsigned seq;
};

#define NL_MSG_BYTES 1024 /* the largest request made here is under 400 */

int nl_open_bus(int bus, int netns_fd, struct nl **ret) MUST_CHECK;
struct nlmsghdr *nl_msg(struct nl *nl, void *buf, uint16_t type, uint16_t flags);
/* Sends h and reads to the ack (or the end of the dump), giving each message to cb (may be NULL).
 */
int nl_talk(struct nl *nl, struct nlmsghdr *h, mnl_cb_t cb, void *arg) MUST_CHECK;
void nl_put_ip(struct nlmsghdr *h, uint16_t attr, const struct ip_addr *a);
