/* What all verbs share: how failures look and how a part says that it is up. */
#include "cli/cli.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int cli_fail(const char *verb, struct error *err, int code)
{
    fprintf(stderr, "davit %s: %.*s\n", verb, STR_ARG(err->message));
    error_fini(err);
    return code;
}

void cli_default_node_name(char *ret, size_t size)
{
    ASSERT(size > 10);
    if (gethostname(ret, size) < 0 || !ret[0])
        snprintf(ret, size, "localhost");
    ret[size - 1] = '\0';
    for (char *p = ret; *p; p++)
        *p =
            (char)(isalnum((unsigned char)*p) || *p == '.' || *p == '-' ? tolower((unsigned char)*p)
                                                                        : '-');
}

/* Connecting a datagram socket sends nothing: it only asks the kernel which way it would go. */
static bool route_source(struct in_addr *ret)
{
    CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xC0000201)};
    struct sockaddr_in from;
    socklen_t n = sizeof(from);

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        getsockname(fd, (struct sockaddr *)&from, &n) < 0)
        return false;
    *ret = from.sin_addr;
    return true;
}

static bool interface_address(struct in_addr *ret)
{
    struct ifaddrs *all;
    bool found = false;

    if (getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        /* bridges of ours and of container engines are no way to this machine */
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) ||
            !(i->ifa_flags & IFF_UP) || strncmp(i->ifa_name, "dv", 2) == 0 ||
            strncmp(i->ifa_name, "docker", 6) == 0)
            continue;
        *ret = ((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr;
        found = true;
    }
    freeifaddrs(all);
    return found;
}

void cli_default_node_ip(char *ret, size_t size)
{
    struct in_addr a = {htonl(INADDR_LOOPBACK)};

    if (!route_source(&a))
        (void)interface_address(&a);
    if (!inet_ntop(AF_INET, &a, ret, (socklen_t)size))
        snprintf(ret, size, "127.0.0.1");
}

void cli_notify_ready(int fd, const char *text)
{
    if (fd < 0)
        return;
    if (dprintf(fd, "%s\n", text) < 0) { /* the supervisor has gone; we go on without it */
    }
    close(fd);
}

int cli_version(int argc, char **argv)
{
    printf("davit %s\n", DAVIT_VERSION);
    return EXIT_OK;
}
