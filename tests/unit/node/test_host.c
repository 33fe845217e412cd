/* The private mount namespace of hybrid cgroup hosts: that it is kept, found again and shows a
 * plain v1 host, from wherever it is made. */
#include "test.h"

#include "node/fsutil.h"
#include "node/host.h"
#include "node/node.h"

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS_ID _IOR(0xb7, 0x5, uint64_t)

static char dir[64];

static void pin(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static uint64_t fresh_mount_ns(int cpu)
{
    uint64_t id = 0;
    pin(cpu);
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    int fd = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (ioctl(fd, NS_ID, &id) < 0)
        id = 0;
    close(fd);
    return id;
}

/* In a namespace with the largest id of all CPUs, and running on the one with the smallest: what is
 * made next has a smaller id still where CPUs number on their own. */
static void enter_youngest(void)
{
    cpu_set_t allowed;
    int high = -1, low = -1;
    uint64_t high_id = 0, low_id = UINT64_MAX;
    assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        uint64_t id = fresh_mount_ns(cpu);
        if (high < 0 || id > high_id) {
            high = cpu;
            high_id = id;
        }
        if (id < low_id) {
            low = cpu;
            low_id = id;
        }
    }
    (void)fresh_mount_ns(high);
    assert_int_equal(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL), 0);
    pin(low);
    assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
}

static int in_child(void (*what)(void))
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        what();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void agent_enters(void)
{
    struct error err = {0};
    int r = node_host_enter(dir, &err);
    if (r < 0)
        print_message("%.*s\n", STR_ARG(err.message));
    _exit(r < 0 ? 1 : 0);
}

static void next_agent_joins(void)
{
    struct error err = {0};
    enum cgroup_layout layout;
    if (host_join_mount_ns(dir, &err) != 1)
        _exit(1);
    _exit(host_cgroup_layout(&layout, &err) == 0 && layout == CGROUP_LAYOUT_V1 ? 0 : 2);
}

static void test_kept_and_found(void **state)
{
    struct error err = {0};
    enum cgroup_layout layout;
    assert_int_equal(host_cgroup_layout(&layout, &err), 0);
    if (layout != CGROUP_LAYOUT_HYBRID)
        skip();
    for (int i = 0; i < 8; i++) {
        enter_youngest();
        assert_int_equal(in_child(agent_enters), 0);
        assert_int_equal(in_child(next_agent_joins), 0);
        assert_int_equal(host_cgroup_layout(&layout, &err), 0);
        assert_int_equal(layout, CGROUP_LAYOUT_HYBRID); /* ours is as it was */
        assert_int_equal(host_drop_mount_ns(dir), 0);
        assert_int_equal(host_join_mount_ns(dir, &err), 0);
    }
}

int main(void)
{
    if (geteuid() != 0)
        return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept_and_found)};
    snprintf(dir, sizeof(dir), "/tmp/davit-test-host-%d", (int)getpid());
    if (fs_mkdirs(dir, 0700) < 0)
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    (void)!fs_rm_rf(dir);
    return r;
}
