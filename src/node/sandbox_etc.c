/* /etc/hosts, /etc/hostname and /etc/resolv.conf of a pod, worded as kubelets word them ("DNS for
 * Services and Pods", "Adding entries to Pod /etc/hosts"). */
#include "base/buf.h"
#include "base/mem.h"
#include "node/fsutil.h"
#include "node/sandbox.h"

#define NAMESERVERS_MAX  3  /* resolvers of C libraries read no more */
#define SEARCHES_MAX     32 /* limits of glibc 2.26 and of the API's validation */
#define SEARCH_BYTES_MAX 2048
#define RESOLV_BYTES_MAX 65536

/* ".SUBDOMAIN.NS.svc.DOMAIN", or NULL: the pod has none. The caller's. */
static char *pod_domain(const struct api_pod *pod, struct str cluster_domain)
{
    const struct api_pod_spec *s = &pod->spec;
    if (!s->subdomain.n || s->hostname_override.n || s->host_network)
        return NULL;
    return xasprintf(".%.*s.%.*s.svc.%.*s", STR_ARG(s->subdomain), STR_ARG(pod->metadata.namespace),
                     STR_ARG(cluster_domain));
}

int sandbox_hostname(const struct api_pod *pod, const char *node_name, struct str cluster_domain,
                     char ret[static SANDBOX_HOSTNAME_BYTES])
{
    const struct api_pod_spec *s = &pod->spec;
    CLEANUP(freep) char *domain = s->set_hostname_as_fqdn ? pod_domain(pod, cluster_domain) : NULL;
    struct str name = s->hostname_override.n ? s->hostname_override
                      : s->host_network      ? str_z(node_name)
                      : s->hostname.n        ? s->hostname
                                             : pod->metadata.name;
    if (name.n > 63) {
        name.n = 63;
        while (name.n && (name.p[name.n - 1] == '-' || name.p[name.n - 1] == '.'))
            name.n--;
    }
    bool fits = !domain || name.n + strlen(domain) < SANDBOX_HOSTNAME_BYTES;
    snprintf(ret, SANDBOX_HOSTNAME_BYTES, "%.*s%s", STR_ARG(name), domain && fits ? domain : "");
    return fits ? 0 : -ENAMETOOLONG;
}

void sandbox_hosts(const struct api_pod *pod, const char *hostname, struct str cluster_domain,
                   const struct str *ips, size_t n_ips, struct buf *out)
{
    buf_add_lit(out, "# Managed by davit.\n"
                     "127.0.0.1\tlocalhost\n"
                     "::1\tlocalhost ip6-localhost ip6-loopback\n"
                     "fe00::0\tip6-localnet\n"
                     "fe00::0\tip6-mcastprefix\n"
                     "fe00::1\tip6-allnodes\n"
                     "fe00::2\tip6-allrouters\n");
    CLEANUP(freep) char *domain = pod_domain(pod, cluster_domain);
    struct fs_path name = fs_path("%s", hostname);
    size_t n = strlen(name.s), tail = domain ? strlen(domain) : 0;
    if (n > tail && tail && strcmp(name.s + n - tail, domain) == 0)
        name.s[n - tail] = '\0'; /* setHostnameAsFQDN: the name and its domain apart again */
    for (size_t i = 0; i < n_ips; i++) {
        buf_printf(out, "%.*s\t", STR_ARG(ips[i]));
        if (domain)
            buf_printf(out, "%s%s\t", name.s, domain);
        buf_printf(out, "%s\n", name.s);
    }
    if (pod->spec.n_host_aliases)
        buf_add_lit(out, "\n# Entries added by HostAliases.\n");
    for (uint32_t i = 0; i < pod->spec.n_host_aliases; i++) {
        const struct api_host_alias *h = &pod->spec.host_aliases[i];
        buf_add_str(out, h->ip);
        for (uint32_t k = 0; k < h->n_hostnames; k++)
            buf_printf(out, "\t%.*s", STR_ARG(h->hostnames[k]));
        buf_add_char(out, '\n');
    }
}

struct resolv {
    struct str servers[NAMESERVERS_MAX + 1], searches[SEARCHES_MAX], options[16];
    size_t n_servers, n_searches, n_options, search_bytes;
};

static void push(struct str *v, size_t *n, size_t max, struct str s)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq(v[i], s))
            return;
    if (*n < max && s.n)
        v[(*n)++] = s;
}

/* A list that is too long is cut where it gets so, as kubelets do: the first ones matter. */
static void push_search(struct resolv *r, struct str s)
{
    size_t before = r->n_searches;
    if (s.n > 1 && s.p[s.n - 1] == '.')
        s.n--;
    if (r->search_bytes + s.n + 1 > SEARCH_BYTES_MAX)
        return;
    push(r->searches, &r->n_searches, SEARCHES_MAX, s);
    if (r->n_searches > before)
        r->search_bytes += s.n + 1;
}

/* The next word, and the rest behind it; blanks and tabs are the same. */
static struct str next_word(struct str *s)
{
    size_t n = 0;
    *s = str_trim(*s);
    while (n < s->n && s->p[n] != ' ' && s->p[n] != '\t')
        n++;
    struct str word = str_sub(*s, 0, n);
    *s = str_sub(*s, n, s->n);
    return word;
}

static void parse_host(struct str text, struct resolv *r)
{
    struct str line;
    while (str_cut(&text, '\n', &line) || line.n) {
        struct str word = next_word(&line), item;
        if (str_is(word, "search"))
            r->n_searches = r->search_bytes = 0;
        while ((item = next_word(&line)).n && item.p[0] != '#' && item.p[0] != ';') {
            if (str_is(word, "nameserver"))
                push(r->servers, &r->n_servers, NAMESERVERS_MAX, item);
            else if (str_is(word, "search"))
                push_search(r, item);
            else if (str_is(word, "options"))
                push(r->options, &r->n_options, ARRAY_LEN(r->options), item);
        }
    }
}

/* An option replaces one of the same name ("ndots:5" by "ndots:2"). */
static void set_option(struct resolv *r, struct str name, struct str whole)
{
    for (size_t i = 0; i < r->n_options; i++) {
        struct str rest = r->options[i], head;
        str_cut(&rest, ':', &head);
        if (str_eq(head, name)) {
            r->options[i] = whole;
            return;
        }
    }
    push(r->options, &r->n_options, ARRAY_LEN(r->options), whole);
}

void sandbox_resolv_conf(const struct api_pod *pod, struct str dns, struct str cluster_domain,
                         struct str host_resolv_conf, struct buf *out)
{
    struct resolv r = {0};
    struct arena a = {0};
    struct str policy = pod->spec.dns_policy, ns = pod->metadata.namespace;
    bool cluster =
        dns.n && (str_is(policy, "ClusterFirstWithHostNet") ||
                  ((policy.n == 0 || str_is(policy, "ClusterFirst")) && !pod->spec.host_network));
    if (cluster) {
        struct resolv host = {0};
        parse_host(host_resolv_conf, &host);
        push(r.servers, &r.n_servers, NAMESERVERS_MAX, dns);
        push_search(&r, arena_printf(&a, "%.*s.svc.%.*s", STR_ARG(ns), STR_ARG(cluster_domain)));
        push_search(&r, arena_printf(&a, "svc.%.*s", STR_ARG(cluster_domain)));
        push_search(&r, cluster_domain);
        for (size_t i = 0; i < host.n_searches; i++)
            push_search(&r, host.searches[i]);
        push(r.options, &r.n_options, ARRAY_LEN(r.options), STR("ndots:5"));
    } else if (!str_is(policy, "None")) {
        parse_host(host_resolv_conf, &r);
    }
    const struct api_pod_dns_config *c = pod->spec.dns_config;
    for (uint32_t i = 0; c && i < c->n_nameservers; i++)
        push(r.servers, &r.n_servers, NAMESERVERS_MAX, c->nameservers[i]);
    for (uint32_t i = 0; c && i < c->n_searches; i++)
        push_search(&r, c->searches[i]);
    for (uint32_t i = 0; c && i < c->n_options; i++) {
        const struct api_pod_dns_config_option *o = &c->options[i];
        set_option(&r, o->name,
                   o->value.p ? arena_printf(&a, "%.*s:%.*s", STR_ARG(o->name), STR_ARG(o->value))
                              : o->name);
    }
    for (size_t i = 0; i < r.n_servers; i++)
        buf_printf(out, "nameserver %.*s\n", STR_ARG(r.servers[i]));
    for (size_t i = 0; i < r.n_searches; i++)
        buf_printf(out, "%s%.*s%s", i ? " " : "search ", STR_ARG(r.searches[i]),
                   i + 1 == r.n_searches ? "\n" : "");
    for (size_t i = 0; i < r.n_options; i++)
        buf_printf(out, "%s%.*s%s", i ? " " : "options ", STR_ARG(r.options[i]),
                   i + 1 == r.n_options ? "\n" : "");
    arena_fini(&a);
}

/* The node's resolv.conf. One that names a stub on the node's loopback is of no use inside a pod:
 * then the file in which systemd-resolved keeps the servers behind it. */
static void read_host_resolv(const char *path, struct buf *out)
{
    struct buf behind = {0};
    (void)!fs_read(path ? path : "/etc/resolv.conf", RESOLV_BYTES_MAX, out);
    if (str_search(buf_str(out), STR("nameserver 127.0.0.53")) >= 0 &&
        fs_read("/run/systemd/resolve/resolv.conf", RESOLV_BYTES_MAX, &behind) == 0) {
        buf_clear(out);
        buf_add_str(out, buf_str(&behind));
    }
    buf_fini(&behind);
}

int sandbox_write_etc(const char *pod_dir, const struct api_pod *pod, const char *hostname,
                      const char *host_resolv_path, struct str dns, struct str cluster_domain,
                      const struct str *ips, size_t n_ips, struct error *err)
{
    struct buf hosts = {0}, resolv = {0}, host_resolv = {0};
    struct fs_path dir = fs_path("%s/etc", pod_dir);
    read_host_resolv(host_resolv_path, &host_resolv);
    if (pod->spec.host_network && pod->spec.n_host_aliases == 0)
        (void)!fs_read("/etc/hosts", 1 << 20, &hosts);
    else
        sandbox_hosts(pod, hostname, cluster_domain, ips, n_ips, &hosts);
    sandbox_resolv_conf(pod, dns, cluster_domain, buf_str(&host_resolv), &resolv);
    buf_add(&resolv, "", 0);
    int r = fs_mkdirs(dir.s, 0755);
    /* In place, not renamed: running containers have the files themselves mounted. */
    if (r == 0)
        r = fs_write(fs_path("%s/hosts", dir.s).s, buf_str(&hosts), 0644);
    if (r == 0)
        r = fs_write(fs_path("%s/resolv.conf", dir.s).s, buf_str(&resolv), 0644);
    struct fs_path name = fs_path("%s\n", hostname);
    if (r == 0)
        r = fs_write(fs_path("%s/hostname", dir.s).s, str_z(name.s), 0644);
    buf_fini(&hosts);
    buf_fini(&resolv);
    buf_fini(&host_resolv);
    return r < 0 ? error_errno(err, -r, "cannot write %s", dir.s) : 0;
}
