/* /etc/hosts, /etc/hostname and /etc/resolv.conf of a pod, worded as kubelets word them ("DNS for
 * Services and Pods", "Adding entries to Pod /etc/hosts"). */
#include "base/buf.h"
#include "node/fsutil.h"
#include "node/sandbox.h"

#define NAMESERVERS_MAX  3  /* resolvers of C libraries read no more */
#define SEARCHES_MAX     32 /* limits of glibc 2.26 and of the API's validation */
#define RESOLV_BYTES_MAX 65536

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
    for (size_t i = 0; i < n_ips; i++) {
        buf_printf(out, "%.*s\t", STR_ARG(ips[i]));
        if (pod->spec.subdomain.n)
            buf_printf(out, "%s.%.*s.%.*s.svc.%.*s\t", hostname, STR_ARG(pod->spec.subdomain),
                       STR_ARG(pod->metadata.namespace), STR_ARG(cluster_domain));
        buf_printf(out, "%s\n", hostname);
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
    size_t n_servers, n_searches, n_options;
};

static void push(struct str *v, size_t *n, size_t max, struct str s)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq(v[i], s))
            return;
    if (*n < max && s.n)
        v[(*n)++] = s;
}

static void parse_host(struct str text, struct resolv *r)
{
    struct str line;
    while (str_cut(&text, '\n', &line) || line.n) {
        struct str rest = str_trim(line), word;
        if (!str_cut(&rest, ' ', &word))
            continue;
        struct str item;
        if (str_is(word, "search"))
            r->n_searches = 0;
        while (str_cut(&rest, ' ', &item) || item.n) {
            if (str_is(word, "nameserver"))
                push(r->servers, &r->n_servers, NAMESERVERS_MAX, item);
            else if (str_is(word, "search"))
                push(r->searches, &r->n_searches, SEARCHES_MAX, item);
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
        push(r.searches, &r.n_searches, SEARCHES_MAX,
             arena_printf(&a, "%.*s.svc.%.*s", STR_ARG(ns), STR_ARG(cluster_domain)));
        push(r.searches, &r.n_searches, SEARCHES_MAX,
             arena_printf(&a, "svc.%.*s", STR_ARG(cluster_domain)));
        push(r.searches, &r.n_searches, SEARCHES_MAX, cluster_domain);
        for (size_t i = 0; i < host.n_searches; i++)
            push(r.searches, &r.n_searches, SEARCHES_MAX, host.searches[i]);
        push(r.options, &r.n_options, ARRAY_LEN(r.options), STR("ndots:5"));
    } else if (!str_is(policy, "None")) {
        parse_host(host_resolv_conf, &r);
    }
    const struct api_pod_dns_config *c = pod->spec.dns_config;
    for (uint32_t i = 0; c && i < c->n_nameservers; i++)
        push(r.servers, &r.n_servers, NAMESERVERS_MAX, c->nameservers[i]);
    for (uint32_t i = 0; c && i < c->n_searches; i++)
        push(r.searches, &r.n_searches, SEARCHES_MAX, c->searches[i]);
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

int sandbox_write_etc(const char *pod_dir, const struct api_pod *pod, const char *hostname,
                      struct str dns, struct str cluster_domain, const struct str *ips,
                      size_t n_ips, struct error *err)
{
    struct buf hosts = {0}, resolv = {0}, host_resolv = {0};
    struct fs_path dir = fs_path("%s/etc", pod_dir);
    (void)!fs_read("/etc/resolv.conf", RESOLV_BYTES_MAX, &host_resolv);
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
