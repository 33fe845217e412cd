/* Addresses as people write them. */
#include "rt/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

static int parse_port(struct str s, uint16_t *ret)
{
    uint64_t v;

    if (str_to_u64(s, &v) < 0 || v > 65535 || s.p[0] == '+')
        return -EINVAL;
    *ret = (uint16_t)v;
    return 0;
}

static int bad(struct error *err, struct str s, const char *why)
{
    return error_set(err, REASON_BAD_REQUEST, "address \"%.*s\": %s", STR_ARG(s), why);
}

static int parse_unix(struct str path, struct rt_addr *a, struct error *err)
{
    if (path.n == 0)
        return bad(err, path, "no path");
    if (path.n >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return bad(err, path, "longer than a unix socket path may be (107 bytes)");
    if (memchr(path.p, '\0', path.n))
        return bad(err, path, "has a NUL byte");
    a->is_unix = true;
    memcpy(a->host, path.p, path.n);
    return 0;
}

int rt_addr_parse(struct str s, struct rt_addr *ret, struct error *err)
{
    struct rt_addr a = {0};
    struct str host;
    ssize_t colon = str_rfind(s, ':');
    int r;

    if (str_starts(s, STR("unix:")) || str_starts(s, STR("/"))) {
        r = parse_unix(s.p[0] == '/' ? s : str_sub(s, 5, s.n), &a, err);
        if (r == 0)
            *ret = a;
        return r;
    }
    if (colon < 0)
        return bad(err, s, "no port (want HOST:PORT)");
    if (parse_port(str_sub(s, (size_t)colon + 1, s.n), &a.port) < 0)
        return bad(err, s, "the port is not a number from 0 to 65535");
    host = str_sub(s, 0, (size_t)colon);
    if (host.n && host.p[0] == '[') {
        if (host.p[host.n - 1] != ']')
            return bad(err, s, "no closing bracket");
        host = str_sub(host, 1, host.n - 1);
    } else if (str_find(host, ':') >= 0) {
        return bad(err, s, "an IPv6 address wants brackets: [::1]:80");
    }
    if (host.n >= sizeof(a.host))
        return bad(err, s, "the host name is too long");
    if (host.n && memchr(host.p, '\0', host.n))
        return bad(err, s, "has a NUL byte");
    a.any = host.n == 0;
    if (host.n)
        memcpy(a.host, host.p, host.n);
    *ret = a;
    return 0;
}

int rt_addr_to_sockaddr(const struct rt_addr *a, struct sockaddr_storage *ret, socklen_t *ret_len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    struct sockaddr_un *un = (struct sockaddr_un *)ret;
    char host[sizeof(a->host)];
    char *scope;

    memset(ret, 0, sizeof(*ret));
    if (a->is_unix) {
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, a->host, strlen(a->host));
        *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a->host) + 1);
        return 0;
    }
    if (inet_pton(AF_INET, a->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(a->port);
        *ret_len = sizeof(*v4);
        return 0;
    }
    memcpy(host, a->any ? "::" : a->host, a->any ? 3 : sizeof(host));
    scope = strchr(host, '%');
    if (scope)
        *scope++ = '\0';
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        return -ENOENT;
    if (scope) {
        v6->sin6_scope_id = if_nametoindex(scope);
        if (!v6->sin6_scope_id)
            return -ENODEV;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(a->port);
    *ret_len = sizeof(*v6);
    return 0;
}

void rt_addr_text(const struct sockaddr *sa, socklen_t len, char ret[RT_ADDR_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "";

    if (sa->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(ret, RT_ADDR_TEXT_BYTES, "%s:%u", host, ntohs(v4->sin_port));
    } else if (sa->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
        if (mapped) /* a v4 peer of a dual-stack socket: people know it as v4 */
            inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, host, sizeof(host));
        else
            inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(ret, RT_ADDR_TEXT_BYTES, mapped ? "%s:%u" : "[%s]:%u", host, ntohs(v6->sin6_port));
    } else if (sa->sa_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)sa;
        size_t head = offsetof(struct sockaddr_un, sun_path);
        int n = len > head ? (int)strnlen(un->sun_path, len - head) : 0;
        snprintf(ret, RT_ADDR_TEXT_BYTES, "unix:%.*s", n, un->sun_path);
    } else {
        snprintf(ret, RT_ADDR_TEXT_BYTES, "?");
    }
}
