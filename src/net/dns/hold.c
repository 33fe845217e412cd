/* Questions that come too early. An agent that was restarted serves before it has listed the
 * cluster's Services; "no such name" would be a lie then, and resolvers take SERVFAIL for an answer
 * too: musl and glibc give up at once when there is no other server. Nothing at all is no better,
 * they ask again after five seconds. So such questions are kept for the moment the list takes, and
 * are only answered with SERVFAIL when it does not come. */
#include <string.h>

#include "base/mem.h"
#include "net/dns/server.h"

struct held {
    struct list link;
    struct dns_asker from; /* its conn: owned reference */
    size_t n;
    char message[];
};

bool dns_hold(struct dns *d, const struct dns_asker *from, struct str message)
{
    if (d->hold_over || d->n_held == DNS_HELD_MAX)
        return false;
    struct held *h = xmalloc(sizeof(*h) + message.n);

    h->from = *from;
    if (from->conn)
        dns_conn_ref(from->conn);
    h->n = message.n;
    memcpy(h->message, message.p, message.n);
    list_push_back(&d->held, &h->link);
    d->n_held++;
    return true;
}

void dns_hold_end(struct dns *d, bool serve)
{
    d->hold_over = true;
    rt_timer_stop(&d->hold_timer);
    while (!list_empty(&d->held)) {
        struct held *h = CONTAINER_OF(d->held.next, struct held, link);
        list_remove(&h->link);
        d->n_held--;
        if (serve)
            dns_serve_held(d, &h->from, (struct str){h->message, h->n});
        if (h->from.conn)
            dns_conn_unref(h->from.conn);
        free(h);
    }
    ASSERT(!d->n_held);
}

static void on_hold_timer(void *arg)
{
    dns_hold_end(arg, true);
}

void dns_hold_init(struct dns *d)
{
    rt_timer_init(&d->hold_timer, d->rt, on_hold_timer, d);
}

void dns_hold_start(struct dns *d)
{
    if (!d->hold_over)
        rt_timer_start(&d->hold_timer, DNS_HOLD_MS * NSEC_PER_MSEC);
}
