/* A transaction of rules on its way to the kernel; blocking, for the pool. */
#pragma once

#include "base/error.h"
#include "net/flows.h"
#include "sys/nft.h"

enum net_apply {
    NET_APPLY_CHANGE, /* batch as it was gathered */
    NET_APPLY_MATCH,  /* batch is all that is wanted; the table is there: what differs is changed */
    NET_APPLY_ANEW,   /* batch is all that is wanted; the table is made anew */
};

struct net_tx {
    enum net_apply how;
    struct net_rules_env env; /* borrowed */
    struct net_batch batch;   /* owned */
    struct net_flows flows;   /* owned */
    struct nl *nl;            /* during the call */
    /* After the call. */
    size_t n_elems; /* added and removed */
    struct error err;
};

/* 0, or the errno of tx->err; then the kernel may hold a part of it, and MATCH or ANEW puts that
 * right. -ENOENT from MATCH: there is no table of our shape. */
int net_apply(struct net_tx *tx, struct nl *nl) MUST_CHECK;
void net_tx_fini(struct net_tx *tx);
