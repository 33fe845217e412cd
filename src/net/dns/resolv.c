/* systemd-resolved writes itself (127.0.0.53) into /etc/resolv.conf; asking it would work, but it
 * may be set to ask us, and it answers slower than those it asks. Its other file names them. */
#include "net/dns/resolv.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

size_t dns_resolv_parse(struct str text, struct ip_addr *ret, size_t max)
{
    struct str line;
    size_t n = 0;

    while (n < max && (str_cut(&text, '\n', &line) || line.n)) {
        line = str_trim(line);
        if (!str_starts(line, STR("nameserver")) || line.n < 12 ||
            (line.p[10] != ' ' && line.p[10] != '\t'))
            continue;
        struct str word = str_trim(str_sub(line, 10, line.n));
        for (size_t i = 0; i < word.n; i++)
            if (word.p[i] == ' ' || word.p[i] == '\t' || word.p[i] == '#' || word.p[i] == ';')
                word.n = i;

        if (ip_parse(word, &ret[n]) == 0) /* with a scope (fe80::1%eth0) it is none */
            n++;
    }
    return n;
}

static bool is_stub(const struct ip_addr *a)
{
    return a->family == AF_INET && (ip4_number(a) == 0x7f000035 || ip4_number(a) == 0x7f000036);
}

static size_t read_servers(const char *path, struct ip_addr *ret, size_t max)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    CLEANUP(freep) char *text = NULL;

    if (fd < 0)
        return 0;
    text = xmalloc(DNS_RESOLV_BYTES_MAX);
    ssize_t n = read(fd, text, DNS_RESOLV_BYTES_MAX);
    return n > 0 ? dns_resolv_parse((struct str){text, (size_t)n}, ret, max) : 0;
}

static bool changed(struct dns_resolv *r, unsigned i, const char *path)
{
    struct stat st = {0};
    bool there = stat(path, &st) == 0;
    uint64_t ino = there ? st.st_ino : UINT64_MAX, size = there ? (uint64_t)st.st_size : 0;
    int64_t mtime = there ? st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec : 0;

    if (r->seen[i].ino == ino && r->seen[i].size == size && r->seen[i].mtime_ns == mtime)
        return false;
    r->seen[i].ino = ino;
    r->seen[i].size = size;
    r->seen[i].mtime_ns = mtime;
    return true;
}

bool dns_resolv_refresh(struct dns_resolv *r)
{
    struct ip_addr v[DNS_UPSTREAMS_MAX * 2];
    bool a = changed(r, 0, r->path), b = changed(r, 1, r->stub_path), stub = false;

    if (!a && !b)
        return false;
    size_t n = read_servers(r->path, v, ARRAY_LEN(v)), kept = 0;
    for (size_t i = 0; i < n; i++)
        stub |= is_stub(&v[i]);
    if (stub) {
        struct ip_addr w[ARRAY_LEN(v)];
        size_t m = read_servers(r->stub_path, w, ARRAY_LEN(w));
        if (m) {
            memcpy(v, w, m * sizeof(*v));
            n = m;
        }
    }
    for (size_t i = 0; i < n && kept < DNS_UPSTREAMS_MAX; i++) {
        bool own = false;
        for (size_t k = 0; k < r->n_own; k++)
            own |= ip_eq(&v[i], &r->own[k]);
        if (!own)
            r->servers[kept++] = v[i];
    }
    r->n = kept;
    return true;
}
