/* The address pool. One file a lease, named after the pod's uid, so that taking one costs one small
 * write whatever the number of pods: 10.130.7.9 port 0.0.0.0 6 8080 80        host address,
 * protocol, host port, pod port Written to a temporary name and renamed: complete or absent, even
 * if the agent dies in between. Not synced: after a power cut the pods' namespaces are gone as
 * well. Addresses are handed out round the range, so one that was given back rests as long as
 * possible. */
#include "net/lease.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "sys/fs.h"

#define UID_MAX        128
#define LEASE_FILE_MAX (64 + LEASE_PORTS_MAX * 64)

bool pool_uid_valid(struct str uid)
{
    if (uid.n == 0 || uid.n > UID_MAX || uid.p[0] == '.')
        return false;
    for (size_t i = 0; i < uid.n; i++) {
        char c = uid.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_' || c == '.'))
            return false;
    }
    return true;
}

static bool bit(const struct pool *p, uint32_t ip)
{
    uint32_t i = ip - p->first;
    return p->used[i / 8] >> (i % 8) & 1;
}

static void bit_set(struct pool *p, uint32_t ip, bool on)
{
    uint32_t i = ip - p->first;
    if (on)
        p->used[i / 8] |= (uint8_t)(1u << (i % 8));
    else
        p->used[i / 8] &= (uint8_t) ~(1u << (i % 8));
}

static bool in_range(const struct pool *p, uint32_t ip)
{
    return ip >= p->first && ip <= p->last;
}

static void lease_free(struct lease *l)
{
    free(l->uid);
    free(l->ports);
    free(l);
}

static bool parse_port(struct str line, struct net_host_port *ret)
{
    struct str field;
    struct ip_addr ip;
    uint64_t proto, host, pod;
    str_cut(&line, ' ', &field);
    if (!str_is(field, "port"))
        return false;
    str_cut(&line, ' ', &field);
    if (ip_parse(field, &ip) < 0 || ip.family != AF_INET)
        return false;
    str_cut(&line, ' ', &field);
    if (str_to_u64(field, &proto) < 0 || proto > 255)
        return false;
    str_cut(&line, ' ', &field);
    if (str_to_u64(field, &host) < 0 || host == 0 || host > 65535)
        return false;
    if (str_to_u64(line, &pod) < 0 || pod == 0 || pod > 65535)
        return false;
    *ret = (struct net_host_port){.host_ip = ip4_number(&ip),
                                  .host_port = (uint16_t)host,
                                  .pod_port = (uint16_t)pod,
                                  .proto = (uint8_t)proto};
    return true;
}

static struct lease *lease_parse(struct str uid, struct str text)
{
    struct str line;
    struct ip_addr ip;
    str_cut(&text, '\n', &line);
    if (ip_parse(line, &ip) < 0 || ip.family != AF_INET)
        return NULL;
    struct lease *l = NEW(struct lease);
    l->ip = ip4_number(&ip);
    l->ports = xcalloc(LEASE_PORTS_MAX, sizeof(*l->ports));
    while (l->n_ports < LEASE_PORTS_MAX && (str_cut(&text, '\n', &line) || line.n))
        if (parse_port(line, &l->ports[l->n_ports]))
            l->n_ports++;
    l->uid = str_dup(uid);
    return l;
}

static void read_lease(struct pool *p, const char *name)
{
    char *text = NULL;
    size_t n = 0;
    if (!pool_uid_valid(str_z(name)) ||
        sys_read_file(p->dirfd, name, LEASE_FILE_MAX, &text, &n) < 0) {
        (void)unlinkat(p->dirfd, name, 0);
        return;
    }
    struct lease *l = lease_parse(str_z(name), (struct str){text, n});
    free(text);
    if (!l || !in_range(p, l->ip) || bit(p, l->ip)) {
        log_warn("net: lease of pod %s is damaged or outside the range; dropped", name);
        (void)unlinkat(p->dirfd, name, 0);
        if (l)
            lease_free(l);
        return;
    }
    bit_set(p, l->ip, true);
    map_set(&p->leases, str_z(l->uid), l);
    if (l->ip >= p->next)
        p->next = l->ip + 1;
}

int pool_open(struct pool *p, int netdir_fd, const struct ip_prefix *range, struct error *err)
{
    uint32_t size = UINT32_C(1) << (32 - range->bits),
             base = ip4_number(&range->addr) & ~(size - 1);
    ASSERT(size >= 8);
    *p = (struct pool){
        .first = base + 2, .last = base + size - 2, .gateway = base + 1, .next = base + 2};
    p->used = xcalloc(1, size / 8 + 1);
    if (mkdirat(netdir_fd, "leases", 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "net: leases");
    p->dirfd = openat(netdir_fd, "leases", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int list = p->dirfd < 0 ? -1 : openat(netdir_fd, "leases", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = list < 0 ? NULL : fdopendir(list);
    if (!d)
        return error_errno(err, errno, "net: leases");
    struct dirent *e;
    while ((e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            read_lease(p, e->d_name);
    closedir(d);
    return 0;
}

void pool_close(struct pool *p)
{
    for (struct map_slot *s = NULL; (s = map_next(&p->leases, s));)
        lease_free(s->value);
    map_fini(&p->leases);
    free(p->used);
    if (p->dirfd > 0)
        close(p->dirfd);
    *p = (struct pool){0};
}

struct lease *pool_get(const struct pool *p, struct str uid)
{
    return map_get(&p->leases, uid);
}

static int write_lease(struct pool *p, const struct lease *l)
{
    struct buf b = {0};
    char ip[IP_TEXT_MAX];
    struct ip_addr a = ip4_from_number(l->ip);
    buf_printf(&b, "%s\n", ip_format(&a, ip));
    for (size_t i = 0; i < l->n_ports; i++) {
        a = ip4_from_number(l->ports[i].host_ip);
        buf_printf(&b, "port %s %u %u %u\n", ip_format(&a, ip), l->ports[i].proto,
                   l->ports[i].host_port, l->ports[i].pod_port);
    }
    char *tmp = xasprintf(".%s.tmp", l->uid);
    int r = 0;
    {
        CLEANUP(fd_closep)
        int fd = openat(p->dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        ssize_t w = fd < 0 ? -1 : write(fd, b.data, b.n);
        if (w < 0)
            r = -errno;
        else if ((size_t)w != b.n)
            r = -ENOSPC;
    }
    if (r == 0 && renameat(p->dirfd, tmp, p->dirfd, l->uid) < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(p->dirfd, tmp, 0);
    free(tmp);
    buf_fini(&b);
    return r;
}

static uint32_t find_free(struct pool *p)
{
    uint32_t count = p->last - p->first + 1, ip = in_range(p, p->next) ? p->next : p->first;
    for (uint32_t i = 0; i < count; i++) {
        if (!bit(p, ip)) {
            p->next = ip + 1;
            return ip;
        }
        ip = ip == p->last ? p->first : ip + 1;
    }
    return 0;
}

int pool_take(struct pool *p, struct str uid, const struct net_host_port *ports, size_t n,
              struct lease **ret, struct error *err)
{
    if (!pool_uid_valid(uid) || n > LEASE_PORTS_MAX)
        return error_set(err, REASON_INVALID, "pod uid or host ports are not valid");
    struct lease *old = pool_get(p, uid);
    struct lease *l = NEW(struct lease);
    l->uid = str_dup(uid);
    l->ip = old ? old->ip : find_free(p);
    l->n_ports = n;
    l->ports = xcalloc(n + 1, sizeof(*ports));
    if (n)
        memcpy(l->ports, ports, n * sizeof(*ports));
    if (!l->ip) {
        lease_free(l);
        return error_set(err, REASON_TOO_MANY_REQUESTS,
                         "no pod address left: all %u of the node's range are in use",
                         p->last - p->first + 1);
    }
    int r = write_lease(p, l);
    if (r < 0) {
        lease_free(l);
        return error_errno(err, -r, "net: writing the lease of pod %.*s", STR_ARG(uid));
    }
    bit_set(p, l->ip, true);
    map_set(&p->leases, str_z(l->uid), l);
    if (old)
        lease_free(old);
    *ret = l;
    return 0;
}

void pool_release(struct pool *p, struct str uid)
{
    struct lease *l = pool_get(p, uid);
    if (!l)
        return;
    (void)unlinkat(p->dirfd, l->uid, 0);
    bit_set(p, l->ip, false);
    map_remove(&p->leases, str_z(l->uid));
    lease_free(l);
}
