/* See netlab.h. Sockets belong to the namespace they were made in, so clients need no process. */
#include "netlab.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/netlink.h"
#include "sys/netns.h"

#define LAB_DIR "/run/davit-netlab"

static void lo_up(int fd)
{
    struct nl *nl = NULL;
    struct nl_link lo;
    ASSERT(nl_open(fd, &nl) == 0 && nl_link_get(nl, "lo", &lo) == 0);
    ASSERT(nl_link_set(nl, lo.index, &(struct nl_link_change){.up = true}) == 0);
    nl_close(nl);
}

bool lab_enter(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
        return false;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 || mkdir(LAB_DIR, 0755) < 0)
        return false;
    lo_up(-1);
    return true;
}

const char *lab_netns(const char *name)
{
    static char *paths[64];
    static size_t n;
    char *path = xasprintf(LAB_DIR "/%s", name);
    int fd = -1;
    ASSERT(n < ARRAY_LEN(paths));
    paths[n++] = path;
    ASSERT(netns_create(path) == 0 && netns_open(path, &fd) == 0);
    lo_up(fd);
    close(fd);
    return path;
}

static struct sockaddr_in address(const char *ip, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (ip)
        ASSERT(inet_pton(AF_INET, ip, &a.sin_addr) == 1);
    return a;
}

static void serve(const char *name, int tcp, int udp, int ready)
{
    char text[128], peer[INET_ADDRSTRLEN];
    ASSERT(write(ready, "x", 1) == 1);
    close(ready);
    for (;;) {
        struct pollfd p[2] = {{tcp, POLLIN, 0}, {udp, POLLIN, 0}};
        struct sockaddr_in a;
        socklen_t n = sizeof(a);
        if (poll(p, 2, -1) < 0)
            _exit(0);
        if (p[0].revents) {
            int c = accept(tcp, (struct sockaddr *)&a, &n);
            if (c < 0)
                continue;
            snprintf(text, sizeof(text), "%s %s", name,
                     inet_ntop(AF_INET, &a.sin_addr, peer, sizeof(peer)));
            (void)!write(c, text, strlen(text));
            close(c);
        }
        n = sizeof(a);
        if (p[1].revents && recvfrom(udp, text, sizeof(text), 0, (struct sockaddr *)&a, &n) >= 0) {
            snprintf(text, sizeof(text), "%s %s", name,
                     inet_ntop(AF_INET, &a.sin_addr, peer, sizeof(peer)));
            sendto(udp, text, strlen(text), 0, (struct sockaddr *)&a, n);
        }
    }
}

pid_t lab_server(const char *netns, const char *name, const char *ip, uint16_t port)
{
    int ready[2];
    char c;
    ASSERT(pipe(ready) == 0);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        int fd = -1, one = 1;
        struct sockaddr_in a = address(ip, port);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (netns && (netns_open(netns, &fd) < 0 || setns(fd, CLONE_NEWNET) < 0))
            _exit(1);
        int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(tcp, (struct sockaddr *)&a, sizeof(a)) < 0 ||
            bind(udp, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(tcp, 64) < 0)
            _exit(1);
        serve(name, tcp, udp, ready[1]);
        _exit(0);
    }
    close(ready[1]);
    ASSERT(read(ready[0], &c, 1) == 1);
    close(ready[0]);
    return pid;
}

void lab_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

struct make {
    int type, fd;
};

static int make_socket(void *arg)
{
    struct make *m = arg;
    m->fd = socket(AF_INET, m->type | SOCK_CLOEXEC, 0);
    return m->fd < 0 ? -errno : 0;
}

static int open_socket(const char *netns, int type)
{
    struct make m = {.type = type};
    CLEANUP(fd_closep) int ns = -1;
    int r = netns ? netns_open(netns, &ns) : 0;
    if (r == 0)
        r = netns ? netns_run(ns, make_socket, &m) : make_socket(&m);
    if (r < 0)
        return r;
    struct timeval wait = {.tv_sec = 2};
    setsockopt(m.fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(m.fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    return m.fd;
}

static int receive(int fd, char out[static 128])
{
    ssize_t n = recv(fd, out, 127, 0);
    if (n < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    out[n] = '\0';
    return 0;
}

int lab_ask(const char *netns, const char *ip, uint16_t port, char out[static 128])
{
    struct sockaddr_in a = address(ip, port);
    CLEANUP(fd_closep) int fd = open_socket(netns, SOCK_STREAM);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        return errno == EINPROGRESS ? -ETIMEDOUT : -errno;
    return receive(fd, out);
}

int lab_udp_open(const char *netns, const char *ip, uint16_t port)
{
    struct sockaddr_in a = address(ip, port);
    int fd = open_socket(netns, SOCK_DGRAM);
    ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    return fd;
}

int lab_udp_ask(int fd, char out[static 128])
{
    if (send(fd, "?", 1, 0) < 0)
        return -errno;
    return receive(fd, out);
}

int lab_tcp_start(const char *netns, const char *ip, uint16_t port)
{
    struct sockaddr_in a = address(ip, port);
    int fd = open_socket(netns, SOCK_STREAM | SOCK_NONBLOCK);
    ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == EINPROGRESS);
    return fd;
}

int lab_tcp_finish(int fd, char out[static 128])
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int err = 0;
    socklen_t n = sizeof(err);
    if (poll(&p, 1, 15000) != 1)
        return -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0 || err)
        return err ? -err : -errno;
    p.events = POLLIN;
    return poll(&p, 1, 15000) == 1 ? receive(fd, out) : -ETIMEDOUT;
}
