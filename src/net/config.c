/* Who we are on this host: an id made of the data directory, so that instances do not meet, and a
 * range of addresses that collides with nothing the host knows. Both are written down at the first
 * start, because pods keep their addresses as long as they live. What is changed of the host's own
 * settings is noted before, for `davit down` to put back. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "net/net_internal.h"
#include "sys/fs.h"
#include "sys/sysctls.h"

#define NODE_BITS 24 /* of the range of a node: 253 pods */

int config_id(const char *data_dir, char ret[9])
{
    char *real = realpath(data_dir, NULL);
    if (!real)
        return -errno;
    snprintf(ret, 9, "%08x", (unsigned)(hash_fnv1a64(real, strlen(real)) >> 32));
    free(real);
    return 0;
}

struct taken {
    struct ip_prefix *v; /* owned */
    size_t n, cap;
};

static void note_address(void *arg, int index, const struct ip_prefix *addr)
{
    struct taken *t = arg;
    ARRAY_RESERVE(t->v, t->n, t->cap);
    t->v[t->n++] = *addr;
}

static bool overlaps(const struct taken *t, const struct ip_prefix *p)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i].bits > 0 && p->bits > 0 && ip_prefix_overlap(&t->v[i], p))
            return true;
    return false;
}

/* Every /24 of the cluster's range is tried once, in an order of this instance's own, so that two
 * nodes rarely want the same. `skip`: so many good ones are passed over. */
int net_pick_range(const char *data_dir, const char *cluster_cidr, unsigned skip,
                   char out[static IP_PREFIX_TEXT_MAX], struct error *err)
{
    char id[9];
    struct taken t = {0};
    struct ip_prefix cluster;
    CLEANUP(nl_closep) struct nl *nl = NULL;
    int r = ip_prefix_parse(str_z(cluster_cidr), &cluster);
    if (r < 0 || cluster.addr.family != AF_INET || cluster.bits > NODE_BITS)
        return error_set(err, REASON_BAD_REQUEST, "net: no node's range fits into %s",
                         cluster_cidr);
    r = config_id(data_dir, id);
    if (r == 0)
        r = nl_open(-1, &nl);
    if (r == 0)
        r = nl_addr_list(nl, AF_INET, note_address, &t);
    if (r < 0) {
        free(t.v);
        return error_errno(err, -r, "net: reading the host's addresses");
    }
    uint32_t count = UINT32_C(1) << (NODE_BITS - cluster.bits);
    uint32_t base =
        ip4_number(&cluster.addr) & ~(uint32_t)((UINT64_C(1) << (32 - cluster.bits)) - 1);
    uint32_t start = (uint32_t)strtoul(id, NULL, 16);
    bool found = false;
    for (uint32_t i = 0; i < count && !found; i++) {
        struct ip_prefix p = {.addr =
                                  ip4_from_number(base + ((start + i) % count << (32 - NODE_BITS))),
                              .bits = NODE_BITS};
        found = !overlaps(&t, &p) && skip-- == 0;
        if (found)
            ip_prefix_format(&p, out);
    }
    free(t.v);
    return found ? 0
                 : error_set(err, REASON_INTERNAL, "net: no free range for this node in %s",
                             cluster_cidr);
}

struct search {
    struct taken taken;
    int bridge_index; /* 0: none */
};

static void note_foreign(void *arg, int index, const struct ip_prefix *addr)
{
    struct search *s = arg;
    if (index != s->bridge_index)
        note_address(&s->taken, index, addr);
}

int net_range_in_use(const struct ip_prefix *range, const char *bridge)
{
    CLEANUP(nl_closep) struct nl *nl = NULL;
    struct search s = {0};
    struct nl_link link;
    int r = nl_open(-1, &nl);
    if (r == 0 && nl_link_get(nl, bridge, &link) == 0)
        s.bridge_index = link.index;
    if (r == 0)
        r = nl_addr_list(nl, AF_INET, note_foreign, &s);
    if (r == 0)
        r = overlaps(&s.taken, range);
    free(s.taken.v);
    return r;
}

static int check_range(const char *text, struct ip_prefix *ret, struct error *err)
{
    struct ip_prefix p;
    if (ip_prefix_parse(str_z(text), &p) < 0 || p.addr.family != AF_INET || p.bits < 16 ||
        p.bits > 29)
        return error_set(err, REASON_BAD_REQUEST,
                         "net: pod range \"%s\" is no IPv4 range between /16 and /29", text);
    uint32_t mask = ~((UINT32_C(1) << (32 - p.bits)) - 1);
    p.addr = ip4_from_number(ip4_number(&p.addr) & mask);
    *ret = p;
    return 0;
}

int config_load(struct net *n, const char *data_dir, const char *pod_cidr, const char *cluster_cidr,
                struct error *err)
{
    char *saved = NULL;
    int r = config_id(data_dir, n->config.id);
    if (r < 0)
        return error_errno(err, -r, "net: %s", data_dir);
    snprintf(n->config.bridge, sizeof(n->config.bridge), "davit-%s", n->config.id);
    snprintf(n->config.table, sizeof(n->config.table), "davit-%s", n->config.id);
    r = sys_read_file(n->dirfd, "config", 256, &saved, NULL);
    if (r < 0 && r != -ENOENT)
        return error_errno(err, -r, "net: %s/config", n->dir);
    if (pod_cidr)
        snprintf(n->config.pod_cidr, sizeof(n->config.pod_cidr), "%s", pod_cidr);
    else if (r == 0)
        snprintf(n->config.pod_cidr, sizeof(n->config.pod_cidr), "%.*s",
                 STR_ARG(str_trim(str_z(saved))));
    if (!n->config.pod_cidr[0]) {
        r = net_pick_range(data_dir, cluster_cidr, 0, n->config.pod_cidr, err);
        if (r < 0) {
            free(saved);
            return r;
        }
    }
    r = check_range(n->config.pod_cidr, &n->config.range, err);
    if (r == 0) {
        ip_prefix_format(&n->config.range, n->config.pod_cidr);
        char *text = xasprintf("%s\n", n->config.pod_cidr);
        if (!saved || strcmp(saved, text) != 0) {
            r = sys_write_file(n->dirfd, "config", text, strlen(text), 0600);
            if (r < 0)
                r = error_errno(err, -r, "net: %s/config", n->dir);
        }
        free(text);
    }
    free(saved);
    return r;
}

/* ---- the host's settings ----
 * Shared by all instances in one network namespace, and gone with a reboot just as the settings
 * are: lines "name value" of what they were, in /run/davit/host-<namespace>. The last instance to
 * leave puts them back. */

#define HOST_DIR      "/run/davit"
#define HOST_FILE_MAX 65536

/* The name of the file in HOST_DIR, and the directory, locked. */
static int host_open(char name[64], int *ret_dir)
{
    struct stat st;
    if (stat("/proc/thread-self/ns/net", &st) < 0)
        return -errno;
    snprintf(name, 64, "host-%llu", (unsigned long long)st.st_ino);
    for (int i = 0; i < 16; i++) {
        int r = sys_mkdir_all(HOST_DIR, 0755);
        CLEANUP(fd_closep)
        int dir = r < 0 ? -1 : open(HOST_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || flock(dir, LOCK_EX) < 0 || fstat(dir, &st) < 0) {
            if (r == 0 && errno == ENOENT)
                continue;
            return r < 0 ? r : -errno;
        }
        if (st.st_nlink == 0) /* somebody who left took it away meanwhile */
            continue;
        *ret_dir = TAKE_FD(dir);
        return 0;
    }
    return -EBUSY;
}

static bool noted(struct str text, const char *name)
{
    struct str line, key;
    while (str_cut(&text, '\n', &line) || line.n) {
        str_cut(&line, ' ', &key);
        if (str_eqz(key, name))
            return true;
    }
    return false;
}

static int set_noted(int dir, const char *file, const char *name, const char *was,
                     const char *value)
{
    char *text = NULL;
    size_t n = 0;
    int r = sys_read_file(dir, file, HOST_FILE_MAX, &text, &n);
    if (r == -ENOENT)
        r = 0;
    if (r == 0 && !noted((struct str){text, n}, name)) {
        char *more = xasprintf("%s%s %s\n", text ? text : "", name, was);
        r = sys_write_file(dir, file, more, strlen(more), 0600);
        free(more);
    }
    free(text);
    return r < 0 ? r : sysctl_set(name, value);
}

int host_sysctl_set(const char *name, const char *value, struct error *err)
{
    char was[SYSCTL_VALUE_MAX], file[64];
    CLEANUP(fd_closep) int dir = -1;
    int r = sysctl_get(name, was);
    if (r == 0 && strcmp(was, value) == 0)
        return 0;
    if (r == 0)
        r = host_open(file, &dir);
    if (r == 0)
        r = set_noted(dir, file, name, was, value);
    return r < 0 ? error_errno(err, -r, "net: sysctl %s", name) : 0;
}

int host_sysctls_restore(void)
{
    char *text = NULL, file[64];
    size_t n = 0;
    CLEANUP(fd_closep) int dir = -1;
    int r = host_open(file, &dir);
    if (r == 0)
        r = sys_read_file(dir, file, HOST_FILE_MAX, &text, &n);
    if (r < 0) {
        if (dir >= 0)
            (void)rmdir(HOST_DIR);
        return r == -ENOENT ? 0 : r;
    }
    struct str rest = {text, n}, line, name;
    while (str_cut(&rest, '\n', &line) || line.n) {
        str_cut(&line, ' ', &name);
        char *key = str_dup(name), *value = str_dup(line);
        int one = line.n ? sysctl_set(key, value) : 0;
        if (one < 0 && one != -ENOENT)
            r = one;
        free(key);
        free(value);
    }
    free(text);
    if (r == 0 && unlinkat(dir, file, 0) < 0 && errno != ENOENT)
        r = -errno;
    (void)rmdir(HOST_DIR); /* when nothing else of davit is there */
    return r;
}
