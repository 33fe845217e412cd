/* A link that takes its time, for kernels without netem: frames from one interface come out of the
 * other after a delay, both ways, in order.
 *
 *   relay A B DELAYFILE     milliseconds each way; read again on SIGHUP. SIGTERM: the rest at once
 *
 * Both ends are packet sockets in the switch. What comes in on A and B must be complete frames:
 * `relay --plain IF` turns off the sender's offloads (checksums, segmentation) for that. */
#include "bed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX  65600
#define QUEUE_MAX  20000 /* frames; what a slow line cannot hold it drops */
#define BURST      64
#define RCVBUF     (16 << 20)
#define NS_PER_MS  1000000ll
#define NS_PER_SEC 1000000000ll

struct frame {
    struct frame *next;
    long long due_ns;
    size_t n;
    unsigned char data[];
};

struct way {
    int from, to;
    struct frame *first, **last;
    unsigned n;
};

static volatile sig_atomic_t reread, ending;

static void on_signal(int signum)
{
    if (signum == SIGHUP)
        reread = 1;
    else
        ending = 1;
}

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

static long long read_delay(const char *file)
{
    double ms = 0;
    FILE *f = fopen(file, "re");
    if (!f || fscanf(f, "%lf", &ms) != 1 || ms < 0)
        die("%s holds no delay", file);
    fclose(f);
    return (long long)(ms * NS_PER_MS);
}

static int open_end(const char *name)
{
    int one = 1, size = RCVBUF;
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    at.sll_ifindex = (int)if_nametoindex(name);
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || at.sll_ifindex == 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        die("cannot open %s: %s", name, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
    return fd;
}

static void take_in(struct way *w, long long delay_ns)
{
    static unsigned char data[FRAME_MAX];
    for (int i = 0; i < BURST; i++) {
        ssize_t n = recv(w->from, data, sizeof(data), 0);
        if (n <= 0)
            return;
        if (w->n >= QUEUE_MAX)
            continue;
        struct frame *f = malloc(sizeof(*f) + (size_t)n);
        if (!f)
            abort();
        *f = (struct frame){.n = (size_t)n, .due_ns = now_ns() + delay_ns};
        memcpy(f->data, data, (size_t)n);
        *w->last = f;
        w->last = &f->next;
        w->n++;
    }
}

static void let_out(struct way *w, long long now)
{
    for (struct frame *f; (f = w->first) && f->due_ns <= now;) {
        /* a full or vanished interface loses the frame, as a cable would */
        (void)!send(w->to, f->data, f->n, 0);
        w->first = f->next;
        if (!w->first)
            w->last = &w->first;
        w->n--;
        free(f);
    }
}

static void relay(struct way *ways, const char *file, const sigset_t *open_signals)
{
    long long delay_ns = read_delay(file);
    struct pollfd p[2] = {{.fd = ways[0].from, .events = POLLIN},
                          {.fd = ways[1].from, .events = POLLIN}};
    while (!ending) {
        long long now = now_ns(), next = -1;
        for (int i = 0; i < 2; i++) {
            let_out(&ways[i], now);
            if (ways[i].first && (next < 0 || ways[i].first->due_ns < next))
                next = ways[i].first->due_ns;
        }
        long long wait_ns = next > now ? next - now : 0;
        struct timespec t = {.tv_sec = wait_ns / NS_PER_SEC, .tv_nsec = wait_ns % NS_PER_SEC};
        (void)ppoll(p, 2, next < 0 ? NULL : &t, open_signals);
        if (reread) {
            reread = 0;
            delay_ns = read_delay(file);
        }
        for (int i = 0; i < 2; i++)
            take_in(&ways[i], delay_ns);
    }
    for (int i = 0; i < 2; i++)
        let_out(&ways[i], INT64_MAX);
}

static void offloads_off(const char *name)
{
    static const unsigned features[] = {ETHTOOL_SGSO, ETHTOOL_STSO, ETHTOOL_STXCSUM, ETHTOOL_SGRO};
    struct ifreq r = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        struct ethtool_value v = {.cmd = features[i], .data = 0};
        r.ifr_data = (void *)&v;
        if (ioctl(fd, SIOCETHTOOL, &r) < 0)
            die("%s: offload %#x: %s", name, features[i], strerror(errno));
    }
    close(fd);
}

int relay_main(int argc, char **argv)
{
    sigset_t blocked, open_signals;
    struct sigaction act = {.sa_handler = on_signal};
    if (argc == 3 && strcmp(argv[1], "--plain") == 0) {
        offloads_off(argv[2]);
        return 0;
    }
    if (argc != 4)
        die("relay A B DELAYFILE | relay --plain IF");
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &open_signals);
    sigaction(SIGHUP, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    int a = open_end(argv[1]), b = open_end(argv[2]);
    struct way ways[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
    ways[0].last = &ways[0].first;
    ways[1].last = &ways[1].first;
    printf("relaying\n");
    fflush(stdout);
    relay(ways, argv[3], &open_signals);
    return 0;
}
