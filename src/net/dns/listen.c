/* Where the server listens. The DNS Service's address is on every node and, when several davit run
 * on one machine, there several times; so sockets on it are bound to a link: the instance's bridge
 * for its pods, the loopback for the host itself (whoever comes first has it). */
#include "net/dns/server.h"

#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"

static void on_datagram(void *arg, const struct rt_udp_peer *from, struct str data)
{
    struct dns_listen *l = arg;
    struct dns_asker asker;

    asker.udp = l->udp;
    asker.conn = NULL;
    asker.peer.len = from->len;
    memcpy(&asker.peer.addr, &from->addr, MIN(from->len, (socklen_t)sizeof(from->addr)));
    (void)dns_serve(l->d, &asker, data);
}

static void on_accept(void *arg, int fd)
{
    struct dns_listen *l = arg;

    dns_conn_accept(l->d, fd);
}

/* 0, or what kept one of the two from opening. */
static int open_one(struct dns_listen *l, struct error *err)
{
    const char *device = l->device[0] ? l->device : NULL;
    struct rt_udp_opts udp = {.addr = l->addr,
                              .device = device,
                              .freebind = true,
                              .queue_max = DNS_UDP_QUEUE_MAX,
                              .buffer_bytes = DNS_UDP_BUFFER_BYTES};
    struct rt_listen_opts tcp = {.addr = l->addr, .device = device, .freebind = true};
    int r = l->udp ? 0 : rt_udp_open(l->d->rt, &udp, on_datagram, NULL, l, err, &l->udp);

    if (r == 0 && !l->tcp)
        r = rt_listen(l->d->rt, &tcp, on_accept, l, err, &l->tcp);
    return r;
}

void dns_listen_start(struct dns *d)
{
    bool again = false;

    for (size_t i = 0; i < d->n_listens; i++) {
        struct dns_listen *l = &d->listens[i];
        struct error err = {0};
        int r = l->udp && l->tcp ? 0 : open_one(l, &err);
        again |= r < 0;
        if (r < 0 && !l->told && !l->best_effort)
            log_warn("dns: %.*s; trying again until it works", STR_ARG(err.message));
        else if (r == 0 && l->told)
            log_info("dns: listening on %s now", l->addr);
        l->told = r < 0 && !l->best_effort;
        error_fini(&err);
    }
    if (again)
        rt_timer_start(&d->bind_retry, DNS_BIND_RETRY_S * NSEC_PER_SEC);
}

void dns_listen_stop(struct dns *d)
{
    rt_timer_stop(&d->bind_retry);
    for (size_t i = 0; i < d->n_listens; i++) {
        d->listens[i].udp = rt_udp_close(d->listens[i].udp);
        d->listens[i].tcp = rt_listener_close(d->listens[i].tcp);
    }
}

void dns_listen_add(struct dns *d, const struct ip_addr *a, uint16_t port, const char *device,
                    bool best_effort)
{
    struct dns_listen *l = &d->listens[d->n_listens];
    char ip[IP_TEXT_MAX];

    ASSERT(d->n_listens < ARRAY_LEN(d->listens));
    d->n_listens++;
    *l = (struct dns_listen){.d = d, .best_effort = best_effort};
    snprintf(l->addr, sizeof(l->addr), a->family == AF_INET6 ? "[%s]:%u" : "%s:%u",
             ip_format(a, ip), port);
    snprintf(l->device, sizeof(l->device), "%s", device ? device : "");
}
