/* Whether the kernel's table of connections is full, on this host. */
#pragma once

#include "rt/rt.h"

struct node;

struct conntrack_watch {
    struct rt_timer timer;
    bool full;
    nsec_t said;
};

enum conntrack_news {
    CONNTRACK_NO_NEWS,
    CONNTRACK_FULL, /* from 95 % on; again every ten minutes, for as long as it stays above 80 % */
    CONNTRACK_ROOM, /* it was full, and is below 80 % */
};

/* Pure. max 0: no limit. */
enum conntrack_news conntrack_judge(struct conntrack_watch *w, uint64_t count, uint64_t max,
                                    nsec_t now);
int conntrack_usage(uint64_t *ret_count, uint64_t *ret_max) MUST_CHECK; /* -ENOENT: no table */
void conntrack_watch_init(struct node *n);
void conntrack_watch_start(struct node *n);
void conntrack_watch_stop(struct node *n);
