/* The thin wrappers: addresses, safe walks and removals, atomic files, overlay mounts, namespaces,
 * links, nftables. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fs.h"
#include "sys/ip.h"
#include "sys/netlink.h"
#include "sys/netns.h"
#include "sys/nft.h"
#include "sys/sysctls.h"
#include "test.h"

static char dir[] = "/tmp/davit-test-sys-XXXXXX";
static int dirfd_ = -1;
static bool own_host; /* in namespaces of our own */
static struct error why;

static int setup(void **state)
{
    assert_non_null(mkdtemp(dir));
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    own_host = geteuid() == 0 && unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
               mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return 0;
}

static int teardown(void **state)
{
    close(dirfd_);
    error_fini(&why);
    return sys_remove_tree(AT_FDCWD, dir);
}

static void test_addresses(void **state)
{
    struct ip_addr a;
    struct ip_prefix p;
    char text[IP_PREFIX_TEXT_MAX];
    assert_ok(ip_parse(STR("10.1.2.3"), &a));
    assert_int_equal(ip4_number(&a), 0x0a010203);
    assert_string_equal(ip_format(&a, text), "10.1.2.3");
    assert_ok(ip_parse(STR("fe80::1"), &a));
    assert_string_equal(ip_format(&a, text), "fe80::1");
    static const char *const bad[] = {"",         "1.2.3", "1.2.3.4.5", "256.1.1.1",
                                      "1.2.3.4 ", "::g",   "01.2.3.4x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(ip_parse(str_z(bad[i]), &a), -EINVAL);
    assert_ok(ip_prefix_parse(STR("10.1.128.0/17"), &p));
    assert_string_equal(ip_prefix_format(&p, text), "10.1.128.0/17");
    static const struct {
        const char *ip;
        bool in;
    } in[] = {{"10.1.128.0", true},
              {"10.1.255.255", true},
              {"10.1.127.255", false},
              {"10.2.128.0", false},
              {"::1", false}};
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        assert_ok(ip_parse(str_z(in[i].ip), &a));
        assert_int_equal(ip_prefix_contains(&p, &a), in[i].in);
    }
    assert_int_equal(ip_prefix_parse(STR("10.0.0.0/33"), &p), -EINVAL);
    assert_int_equal(ip_prefix_parse(STR("10.0.0.0/"), &p), -EINVAL);
    assert_ok(ip_parse(STR("127.8.8.8"), &a));
    assert_true(ip_is_loopback(&a));
}

static void test_files(void **state)
{
    char *text = NULL;
    size_t n = 0;
    assert_ok(sys_write_file(dirfd_, "f", "one", 3, 0600));
    assert_ok(sys_write_file(dirfd_, "f", "two", 3, 0600));
    assert_ok(sys_read_file(dirfd_, "f", 3, &text, &n));
    assert_string_equal(text, "two");
    free(text);
    assert_int_equal(sys_read_file(dirfd_, "f", 2, &text, &n), -EFBIG);
    assert_int_equal(sys_read_file(dirfd_, "g", 2, &text, &n), -ENOENT);
    assert_true(sys_write_file(dirfd_, "no/such/dir", "x", 1, 0600) < 0);
    assert_ok(sys_write_file(dirfd_, "empty", "", 0, 0600));
    assert_ok(sys_read_file(dirfd_, "empty", 10, &text, &n));
    assert_int_equal(n, 0);
    free(text);
}

static void test_walks_stay_inside(void **state)
{
    char *deep = xasprintf("%s/in/a/b", dir);
    assert_ok(sys_mkdir_all(deep, 0755));
    assert_ok(sys_mkdir_all(deep, 0755));
    free(deep);
    assert_ok(sys_write_file(dirfd_, "in/a/b/f", "x", 1, 0600));
    assert_int_equal(symlinkat("/a/b", dirfd_, "in/abs"), 0);
    assert_int_equal(symlinkat("../../../f", dirfd_, "in/up"), 0);
    CLEANUP(fd_closep) int in = openat(dirfd_, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = sys_open_in_root(in, "abs/f", O_RDONLY, 0);
    assert_ok(fd);
    close(fd);
    assert_int_equal(sys_open_in_root(in, "up", O_RDONLY, 0), -ENOENT);
    assert_int_equal(sys_open_beneath(in, "abs/f", O_RDONLY, 0), -ELOOP);
    assert_int_equal(sys_open_beneath(in, "../f", O_RDONLY, 0), -EXDEV);
}

static void test_remove_tree(void **state)
{
    /* Deeper than descriptors are kept for, with a link that points out. */
    CLEANUP(fd_closep) int at = -1;
    assert_int_equal(mkdirat(dirfd_, "deep", 0755), 0);
    at = openat(dirfd_, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_ok(sys_write_file(dirfd_, "outside", "x", 1, 0600));
    for (int i = 0; i < 400; i++) {
        assert_int_equal(mkdirat(at, "d", 0755), 0);
        assert_int_equal(symlinkat("/", at, "root"), 0);
        assert_int_equal(symlinkat(dir, at, "top"), 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(at);
        at = next;
    }
    assert_ok(sys_remove_tree(dirfd_, "deep"));
    assert_true(faccessat(dirfd_, "deep", F_OK, 0) < 0);
    assert_int_equal(faccessat(dirfd_, "outside", F_OK, 0), 0);
    assert_ok(sys_remove_tree(dirfd_, "deep"));
    assert_ok(sys_remove_tree(dirfd_, "outside"));
}

static void test_overlay(void **state)
{
    if (!own_host)
        skip();
    enum { LAYERS = 150 };
    char *lower[LAYERS], *merged = xasprintf("%s/merged", dir), *upper = xasprintf("%s/upper", dir),
                         *work = xasprintf("%s/work", dir),
                         *below = xasprintf("%s/merged/nested", dir);
    for (int i = 0; i < LAYERS; i++) {
        /* Long names: together far more than the page that mount options may take. */
        lower[i] = xasprintf(
            "%s/layer-with-a-name-as-long-as-a-digest-0123456789abcdef0123456789abcdef-%d", dir, i);
        assert_ok(sys_mkdir_all(lower[i], 0755));
        char *f = xasprintf("%s/who", lower[i]), text[16];
        int n = snprintf(text, sizeof(text), "%d", i);
        assert_ok(sys_write_file(AT_FDCWD, f, text, (size_t)n, 0644));
        free(f);
    }
    assert_ok(sys_mkdir_all(merged, 0755));
    assert_ok(sys_mkdir_all(upper, 0755));
    assert_ok(sys_mkdir_all(work, 0755));
    assert_int_equal(sys_is_mountpoint(merged), 0);
    if (sys_overlay_mount(merged, (const char *const *)lower, LAYERS, upper, work, &why) < 0)
        fail_msg("%.*s", STR_ARG(why.message));
    assert_int_equal(sys_is_mountpoint(merged), 1);
    char *who = xasprintf("%s/who", merged), *text = NULL;
    assert_ok(sys_read_file(AT_FDCWD, who, 16, &text, NULL));
    assert_string_equal(text, "149"); /* the last one is the top */
    assert_ok(sys_mkdir_all(below, 0755));
    assert_int_equal(mount("tmpfs", below, "tmpfs", 0, NULL), 0);
    assert_ok(sys_umount_below(merged));
    assert_int_equal(sys_is_mountpoint(merged), 0);
    assert_ok(sys_umount(merged));
    assert_true(
        sys_overlay_mount(merged, (const char *const[]){"/nonexistent"}, 1, NULL, NULL, &why) < 0);
    assert_true(why.message.n > 0);
    error_clear(&why);
    for (int i = 0; i < LAYERS; i++)
        free(lower[i]);
    free(text);
    free(who);
    free(merged);
    free(upper);
    free(work);
    free(below);
}

struct addr_seen {
    struct ip_prefix want;
    bool found;
};

static void see_addr(void *arg, int index, const struct ip_prefix *a)
{
    struct addr_seen *s = arg;
    if (a->bits == s->want.bits && ip_eq(&a->addr, &s->want.addr))
        s->found = true;
}

static void test_links(void **state)
{
    if (!own_host)
        skip();
    char *path = xasprintf("%s/ns", dir);
    CLEANUP(nl_closep) struct nl *nl = NULL, *inside = NULL;
    CLEANUP(fd_closep) int ns = -1;
    struct nl_link l, bridge;
    const uint8_t mac[6] = {2, 1, 2, 3, 4, 5};
    assert_int_equal(netns_open(path, &ns), -ENOENT);
    assert_ok(netns_create(path));
    assert_int_equal(netns_create(path), -EEXIST);
    assert_ok(netns_open(path, &ns));
    assert_ok(nl_open(-1, &nl));
    assert_ok(nl_open(ns, &inside));
    assert_int_equal(nl_link_get(nl, "br0", &l), -ENODEV);
    assert_ok(nl_link_add_bridge(nl, "br0", mac));
    assert_int_equal(nl_link_add_bridge(nl, "br0", mac), -EEXIST);
    assert_int_equal(nl_link_add_bridge(nl, "a-name-too-long-for-it", mac), -EINVAL);
    assert_ok(nl_link_get(nl, "br0", &bridge));
    assert_string_equal(bridge.kind, "bridge");
    assert_memory_equal(bridge.mac, mac, 6);
    assert_ok(nl_link_add_veth(nl, "v0", 1300, "eth0", ns, mac));
    assert_ok(nl_link_get(inside, "eth0", &l));
    assert_int_equal(l.mtu, 1300);
    assert_memory_equal(l.mac, mac, 6);
    assert_int_equal(nl_link_get(nl, "eth0", &l), -ENODEV);
    assert_ok(nl_link_get(nl, "v0", &l));
    assert_ok(nl_link_set(nl, l.index,
                          &(struct nl_link_change){.up = true, .master_index = bridge.index}));
    assert_ok(nl_link_set_port(
        nl, l.index, &(struct nl_port){.hairpin = 1, .isolated = 1, .learning = -1, .flood = -1}));
    assert_ok(nl_link_get(nl, "v0", &l));
    assert_int_equal(l.master_index, bridge.index);
    struct addr_seen seen = {0};
    assert_ok(ip_prefix_parse(STR("10.7.0.1/24"), &seen.want));
    assert_ok(nl_addr_add(nl, bridge.index, &seen.want));
    assert_int_equal(nl_addr_add(nl, bridge.index, &seen.want), -EEXIST);
    assert_ok(nl_addr_list(nl, 0, see_addr, &seen));
    assert_true(seen.found);
    assert_ok(nl_link_set(nl, bridge.index, &(struct nl_link_change){.up = true}));
    struct nl_route r = {
        .index = bridge.index, .link_scope = true, .metric = 77, .src = seen.want.addr};
    assert_ok(ip_prefix_parse(STR("10.99.0.0/16"), &r.dst));
    assert_ok(nl_route_add(nl, &r));
    assert_int_equal(nl_route_add(nl, &r), -EEXIST);
    assert_ok(nl_route_replace(nl, &r));
    struct ip_addr dst, src;
    int index = 0;
    assert_ok(ip_parse(STR("10.99.3.4"), &dst));
    assert_ok(nl_route_lookup(nl, &dst, &index, &src));
    assert_int_equal(index, bridge.index);
    assert_true(ip_eq(&src, &seen.want.addr));
    assert_ok(nl_route_del(nl, &r));
    assert_int_equal(nl_route_del(nl, &r), -ESRCH);
    assert_ok(nl_neigh_set(nl, bridge.index, &dst, mac, false));
    assert_ok(nl_neigh_set(nl, bridge.index, &dst, mac, false));
    assert_ok(nl_neigh_del(nl, bridge.index, &dst, NULL, false));
    if (nl_link_add_vxlan(nl, "vx0", 42, 4789, &seen.want.addr, 0, 0) == 0) {
        assert_ok(nl_link_get(nl, "vx0", &l));
        assert_ok(nl_neigh_set(nl, l.index, &dst, mac, true));
        assert_ok(nl_link_set_vxlan_local(nl, l.index, &dst));
        assert_ok(nl_link_del(nl, l.index));
    }
    assert_ok(nl_link_del(nl, bridge.index));
    assert_int_equal(nl_link_get(nl, "br0", &l), -ENODEV);
    assert_ok(sysctl_set_in(ns, "net/ipv4/ip_forward", "1"));
    assert_ok(sysctl_set("net/ipv4/ip_forward", "0"));
    char value[SYSCTL_VALUE_MAX];
    assert_ok(sysctl_get("net/ipv4/ip_forward", value));
    assert_string_equal(value, "0");
    assert_int_equal(sysctl_get("net/no/such", value), -ENOENT);
    assert_int_equal(sysctl_get("../uptime", value), -EINVAL);
    assert_ok(netns_delete(path));
    assert_ok(netns_delete(path));
    free(path);
}

static void test_nft(void **state)
{
    if (!own_host)
        skip();
    char *out = NULL;
    assert_ok(nft_run(
        "add table ip t\nadd set ip t s { type ipv4_addr ; }\nadd element ip t s { 10.0.0.1 }\n",
        &why));
    /* One transaction: the good half of a bad one is not done. */
    assert_true(nft_run("add element ip t s { 10.0.0.2 }\nadd element ip t nosuch { 1 }\n", &why) <
                0);
    assert_true(str_starts(why.message, STR("nftables: ")));
    error_clear(&why);
    assert_ok(nft_query("list set ip t s", false, &out, &why));
    assert_non_null(strstr(out, "10.0.0.1"));
    assert_null(strstr(out, "10.0.0.2"));
    free(out);
    assert_true(nft_run("this is no command\n", &why) < 0);
    error_clear(&why);
    assert_ok(nft_query("list tables", true, &out, &why));
    assert_non_null(strstr(out, "\"table\""));
    free(out);
}

struct picky {
    unsigned asked, yes; /* so many times yes */
};

static bool pick(void *arg, const struct conntrack_flow *f)
{
    struct picky *p = arg;
    if (f->proto != IPPROTO_UDP || f->orig_dport != 4711)
        return false;
    return p->asked++ < p->yes;
}

/* What changed its nature since the table was read stays. */
static void test_conntrack_delete_looks_again(void **state)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(4711), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct conntrack_scope scope = {.unreplied = true};
    struct picky p = {.yes = 1}, q = {.yes = 9}, none = {.yes = 9};
    struct error err = {0};

    if (!own_host)
        skip();
    struct nl *nl;
    struct nl_link lo;
    assert_int_equal(unshare(CLONE_NEWNET), 0); /* as no test before left it */
    assert_ok(nl_open(-1, &nl));
    assert_ok(nl_link_get(nl, "lo", &lo));
    assert_ok(nl_link_set(nl, lo.index, &(struct nl_link_change){.up = true}));
    nl_close(nl);
    if (nft_run(
            "add table ip ctlab\nadd chain ip ctlab c { type filter hook output priority 0 ; }\n"
            "add rule ip ctlab c ct state new accept\n",
            &err) < 0)
        fail_msg("%.*s", STR_ARG(err.message));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    ssize_t sent = sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
    assert_ok(sent < 0 ? -errno : 0);
    int r = conntrack_delete(&scope, pick, &p);
    if (r == 0 && p.asked == 0) { /* no table of connections in this kernel */
        close(fd);
        skip();
    }
    assert_int_equal(r, 0);
    assert_int_equal(p.asked, 2);
    assert_int_equal(conntrack_delete(&scope, pick, &q), 1);
    assert_int_equal(conntrack_delete(&scope, pick, &none), 0);
    assert_int_equal(none.asked, 0);
    close(fd);
    assert_ok(nft_run("delete table ip ctlab\n", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_walks_stay_inside),
        cmocka_unit_test(test_remove_tree),
        cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_nft),
        cmocka_unit_test(test_conntrack_delete_looks_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
