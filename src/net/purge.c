/* Taking everything away. What to remove follows from the data directory alone (names carry its
 * id), so it works after any crash, and leaves other instances alone. */
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/net_internal.h"
#include "sys/fs.h"

struct ports {
    int bridge;
    int *v; /* owned */
    size_t n, cap;
};

static void collect_port(void *arg, const struct nl_link *l)
{
    struct ports *p = arg;
    if (l->master_index != p->bridge || strncmp(l->name, "dv", 2) != 0)
        return;
    ARRAY_RESERVE(p->v, p->n, p->cap);
    p->v[p->n++] = l->index;
}

static void count_bridge(void *arg, const struct nl_link *l)
{
    if (strncmp(l->name, "davit-", 6) == 0 && strcmp(l->kind, "bridge") == 0)
        ++*(unsigned *)arg;
}

static int purge_links(struct nl *nl, const char *bridge)
{
    struct nl_link link;
    int r = nl_link_get(nl, bridge, &link);
    if (r < 0)
        return r == -ENODEV ? 0 : r;
    struct ports p = {.bridge = link.index};
    r = nl_link_list(nl, collect_port, &p);
    for (size_t i = 0; r == 0 && i < p.n; i++) {
        r = nl_link_del(nl, p.v[i]);
        if (r == -ENODEV)
            r = 0;
    }
    free(p.v);
    return r < 0 ? r : nl_link_del(nl, link.index);
}

static int purge_table(const char *family, const char *table, struct error *err)
{
    /* Adding first makes deleting what is not there no error. */
    char *commands =
        xasprintf("add table %s %s\ndelete table %s %s\n", family, table, family, table);
    int r = nft_run(commands, err);
    free(commands);
    return r;
}

/* The kernel may know no tables of family bridge: then there is none. */
static void purge_bridge_table(const char *table)
{
    struct error err = {0};
    (void)!purge_table("bridge", table, &err);
    error_fini(&err);
}

/* The last instance of this host puts the host's settings back. */
static int purge_host(struct error *err, const char *name)
{
    CLEANUP(nl_closep) struct nl *nl = NULL;
    unsigned others = 0;
    int r = nl_open(-1, &nl);
    if (r == 0)
        r = peers_purge(nl, name + strlen("davit-"));
    if (r == 0)
        r = purge_links(nl, name);
    if (r < 0)
        return error_errno(err, -r, "net: removing the links of %s", name);
    r = nl_link_list(nl, count_bridge, &others);
    if (r == 0 && others == 0)
        r = host_sysctls_restore();
    return r < 0 ? error_errno(err, -r, "net: putting back the host's settings") : 0;
}

int net_purge(const char *data_dir, struct error *err)
{
    char id[9], name[16], policy[32];
    int r = config_id(data_dir, id);
    if (r < 0)
        return r == -ENOENT ? 0 : error_errno(err, -r, "net: %s", data_dir);
    snprintf(name, sizeof(name), "davit-%s", id);
    snprintf(policy, sizeof(policy), "%s-policy", name);
    r = purge_table("ip", name, err);
    if (r == 0)
        r = purge_table("ip", policy, err);
    purge_bridge_table(policy);
    if (r == 0)
        r = purge_host(err, name);
    if (r < 0)
        return r;
    CLEANUP(fd_closep) int dir = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* The range stays the node's as long as the cluster has it. */
    r = dir < 0 ? -errno : sys_remove_tree(dir, "net/leases");
    return r < 0 ? error_errno(err, -r, "net: %s/net", data_dir) : 0;
}
