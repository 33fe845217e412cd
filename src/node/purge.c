/* `davit down` for a node: ends and removes everything a data directory's agent made on this host,
 * found without its help: its cgroups name every container process, its run directory every conmon,
 * its mounts lie below its directory. */
#include "node/node.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "node/cgroup.h"
#include "node/fence.h"
#include "node/fsutil.h"
#include "node/runtime.h"

#define ROUNDS 50 /* of 20 ms */

/* conmon and crun of this instance have its run directory in their command lines; the holder is
 * found by its cgroup. */
static int kill_monitors(const char *run_dir)
{
    int n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d));) {
        uint64_t pid;
        struct buf b = {0};
        if (str_to_u64(str_z(e->d_name), &pid) == 0 && (pid_t)pid != getpid() &&
            fs_read(fs_path("/proc/%s/cmdline", e->d_name).s, 16384, &b) == 0 && b.n) {
            struct str program = str_z(b.data);
            bool ours = str_ends(program, STR("conmon")) || str_ends(program, STR("crun"));
            if (ours && str_search(buf_str(&b), str_z(run_dir)) >= 0 &&
                kill((pid_t)pid, SIGKILL) == 0)
                n++;
        }
        buf_fini(&b);
    }
    if (d)
        closedir(d);
    return n;
}

static int purge_inside(const char *data_dir, const char *run_dir, bool remove_data,
                        struct error *err)
{
    struct cgroups cg;
    struct fs_path node = fs_path("%s/node", data_dir);
    int r = cgroups_init(&cg, data_dir, err), first = 0;
    if (r < 0)
        return r;
    /* conmon first, so that none of them notes an end nobody asks for */
    for (int i = 0; i < ROUNDS && kill_monitors(run_dir) > 0; i++)
        usleep(20000);
    fence_purge(node.s);
    if ((r = cgroup_destroy(&cg, cg.parent)) < 0)
        first = error_errno(err, -r, "cannot remove cgroup %s", cg.parent);
    (void)!cgroup_remove(
        &cg, "/davit"); /* the last instance takes the parent along; others keep it busy */
    if ((r = fs_umount_below(fs_path("%s/pods", node.s).s)) < 0 && first == 0)
        first = error_errno(err, -r, "cannot unmount %s/pods", node.s);
    runtime_unbind(run_dir);
    if ((r = fs_rm_rf(run_dir)) < 0 && first == 0)
        first = error_errno(err, -r, "cannot remove %s", run_dir);
    (void)rmdir(HOST_RUN_ROOT);
    if (remove_data && (r = fs_rm_rf(fs_path("%s/pods", node.s).s)) < 0 && first == 0)
        first = error_errno(err, -r, "cannot remove %s/pods", node.s);
    return first;
}

/* The kept mount namespace is entered in a child, so that this process stays where it can let go of
 * it. */
static int purge_in_child(const char *data_dir, const char *run_dir, bool remove_data,
                          struct error *err)
{
    int p[2];
    if (pipe(p) < 0)
        return error_errno(err, errno, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        struct error e = {0};
        close(p[0]);
        int r = node_host_enter(data_dir, &e);
        if (r == 0)
            r = purge_inside(data_dir, run_dir, remove_data, &e);
        if (r < 0)
            (void)!write(p[1], e.message.p ? e.message.p : "", e.message.n);
        _exit(r < 0 ? 1 : 0);
    }
    close(p[1]);
    char text[512];
    ssize_t n = pid > 0 ? read(p[0], text, sizeof(text)) : 0;
    close(p[0]);
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (pid < 0 || status != 0)
        return error_set(err, REASON_INTERNAL, "%.*s", (int)MAX(n, 0), text);
    return 0;
}

int node_purge(const char *data_dir, bool remove_data, struct error *err)
{
    char inst[HOST_INSTANCE_LEN + 1];
    struct fs_path node = fs_path("%s/node", data_dir);
    if (!fs_exists(node.s))
        return 0;
    host_instance(data_dir, inst);
    struct fs_path run = fs_path(HOST_RUN_ROOT "/%s", inst);
    int r = purge_in_child(data_dir, run.s, remove_data, err);
    int one = host_drop_mount_ns(data_dir);
    if (one < 0 && r == 0)
        r = error_errno(err, -one, "cannot let go of the mount namespace under %s", node.s);
    if (remove_data && (one = fs_rm_rf(node.s)) < 0 && r == 0)
        r = error_errno(err, -one, "cannot remove %s", node.s);
    return r;
}

struct lister {
    void (*emit)(void *ctx, struct str uid);
    void *ctx;
};

static int list_one(void *arg, const char *name, unsigned char type)
{
    struct lister *l = arg;
    l->emit(l->ctx, str_z(name));
    return 0;
}

int node_list_pods(const char *data_dir, void (*emit)(void *ctx, struct str uid), void *ctx)
{
    struct lister l = {emit, ctx};
    int r = fs_each(fs_path("%s/node/pods", data_dir).s, list_one, &l);
    return r == -ENOENT ? 0 : r;
}
