/* The state is one number and one flag: the deadline, on disk for the keeper, and whether the fence
 * has fallen. It falls some seconds before the deadline, so that containers can end gently, and is
 * lifted by a renewal that was sent after it fell and acknowledged. After that each pod needs the
 * server's word once more (an epoch's worth): see "Coming back" in docs/FENCING.md. */
#include "node/fence.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/fence.h"
#include "base/mem.h"
#include "node/agent.h"
#include "node/fsutil.h"
#include "node/keeper.gen.h"
#include "node/proc.h"

#define GENTLE_MAX   (10 * NSEC_PER_SEC) /* before the deadline containers are asked to end */
#define RETRY        NSEC_PER_SEC
#define KILL_ROUNDS  100 /* of 10 ms */
#define DEADLINE_END UINT64_MAX

struct fence {
    struct node *node;
    bool on;
    char *dir, *pods_dir, *keeper_path; /* owned */
    int fd;                             /* of DIR/deadline */
    bool fallen;
    uint64_t epoch;               /* grows when it falls; 1 at first */
    nsec_t soft, deadline;        /* CLOCK_BOOTTIME; when it falls, when pods are killed */
    nsec_t sent, fallen_at;       /* CLOCK_BOOTTIME */
    struct fence_promise promise; /* of the renewal sent last */
    char text[64];
    struct rt_timer timer; /* at soft */
    struct rt_process *keeper;
    struct rt_timer keeper_retry;
    unsigned n_pods; /* fenced pods known */
};

static nsec_t boot_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (nsec_t)t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

static void write_deadline(struct fence *f, uint64_t at)
{
    if (pwrite(f->fd, &at, sizeof(at), 0) != sizeof(at))
        log_error("cannot write %s/deadline: %s", f->dir, strerror(errno));
}

/* ---- the keeper ---- */

static void start_keeper(void *arg);
static void kick_fenced(struct fence *f);

static void on_keeper_gone(void *arg, struct rt_exit how)
{
    struct fence *f = arg;
    f->keeper = rt_process_free(f->keeper);
    if (f->n_pods)
        start_keeper(f);
}

static struct fs_path cgroup_dir(const struct node *n)
{
    return fs_path("/sys/fs/cgroup%s%s", n->cgroups.layout == CGROUP_LAYOUT_V2 ? "" : "/pids",
                   n->cgroups.parent);
}

static void start_keeper(void *arg)
{
    struct fence *f = arg;
    struct fs_path cgroup = cgroup_dir(f->node);
    const char *const argv[] = {f->keeper_path, f->dir, cgroup.s, NULL};
    const char *const env[] = {NULL};
    const struct rt_process_opts o = {.argv = argv,
                                      .env = env,
                                      .cwd = "/",
                                      .stdio = {RT_STDIO_NULL, RT_STDIO_NULL, RT_STDIO_NULL},
                                      .new_session = true};
    struct error err = {0};
    if (f->keeper)
        return;
    if (rt_process_start(f->node->rt, &o, on_keeper_gone, f, &err, &f->keeper) < 0) {
        log_error("the keeper of fenced pods cannot be started: %.*s", STR_ARG(err.message));
        rt_timer_start(&f->keeper_retry, RETRY);
        error_fini(&err);
        return;
    }
    /* Found again by the next agent. */
    char text[64];
    pid_t pid = rt_process_pid(f->keeper);
    int k =
        snprintf(text, sizeof(text), "%d %llu", (int)pid, (unsigned long long)proc_start_time(pid));
    if (fs_write_atomic(fs_path("%s/keeper", f->dir).s, (struct str){text, (size_t)k}, 0600) < 0)
        log_warn("cannot write %s/keeper", f->dir);
    /* The last to be killed for memory, where we may say so. */
    (void)!fs_write(fs_path("/proc/%d/oom_score_adj", (int)pid).s, STR("-999"), 0600);
    kick_fenced(f);
}

/* The process noted in DIR/keeper; 0: it is no more. */
static pid_t noted_keeper(const char *dir)
{
    struct buf b = {0};
    uint64_t pid = 0, since;
    if (fs_read(fs_path("%s/keeper", dir).s, 64, &b) == 0) {
        struct str rest = buf_str(&b), word;
        (void)str_cut(&rest, ' ', &word);
        if (str_to_u64(word, &pid) < 0 || str_to_u64(rest, &since) < 0 ||
            proc_start_time((pid_t)pid) != since)
            pid = 0;
    }
    buf_fini(&b);
    return (pid_t)pid;
}

/* That of the last agent, if it lives. */
static void find_keeper(struct fence *f)
{
    pid_t pid = noted_keeper(f->dir);
    if (pid > 1 && rt_process_watch(f->node->rt, pid, on_keeper_gone, f, &f->keeper) < 0)
        f->keeper = NULL;
}

void fence_purge(const char *node_dir)
{
    struct fs_path dir = fs_path("%s/fence", node_dir);
    pid_t pid = noted_keeper(dir.s);
    if (pid > 1)
        (void)kill(pid, SIGKILL);
    (void)!fs_rm_rf(dir.s);
}

/* ---- what the last agent left ---- */

static int kill_one(void *arg, const char *uid, unsigned char type)
{
    const struct node *n = arg;
    struct fs_path pod = fs_path("%s/pod%s", n->cgroups.parent, uid);
    for (int i = 0; i < KILL_ROUNDS && cgroup_kill(&n->cgroups, pod.s) > 0; i++)
        usleep(10000);
    return 0;
}

static bool same_boot(struct fence *f)
{
    struct buf now = {0}, then = {0};
    bool same = fs_read("/proc/sys/kernel/random/boot_id", 64, &now) == 0 &&
                fs_read(fs_path("%s/boot", f->dir).s, 64, &then) == 0 &&
                str_eq(buf_str(&now), buf_str(&then));
    if (!same && fs_write_atomic(fs_path("%s/boot", f->dir).s, buf_str(&now), 0600) < 0)
        log_warn("cannot write %s/boot", f->dir);
    buf_fini(&now);
    buf_fini(&then);
    return same;
}

static void on_soft(void *arg);

static int take_over(struct fence *f)
{
    uint64_t at = 0;
    bool same = same_boot(f);
    f->fd = open(fs_path("%s/deadline", f->dir).s, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->fd < 0)
        return -errno;
    if (!same || pread(f->fd, &at, sizeof(at), 0) != sizeof(at) || at == DEADLINE_END)
        at = 0;
    if (at <= (uint64_t)boot_now()) {
        f->fallen = true;
        write_deadline(f, 0);
        (void)!fs_each(f->pods_dir, kill_one, f->node);
        return 0;
    }
    f->deadline = f->soft = (nsec_t)at;
    rt_timer_start(&f->timer, MAX(f->soft - boot_now(), 0));
    return 0;
}

int fence_new(struct node *n, bool on, struct fence **ret, struct error *err)
{
    struct fence *f = NEW(struct fence);
    *f = (struct fence){.node = n, .on = on, .fd = -1, .epoch = 1};
    f->dir = xasprintf("%s/fence", n->dir);
    f->pods_dir = xasprintf("%s/pods", f->dir);
    f->keeper_path = xasprintf("%s/davit-keeper", f->dir);
    rt_timer_init(&f->timer, n->rt, on_soft, f);
    rt_timer_init(&f->keeper_retry, n->rt, start_keeper, f);
    *ret = f;
    if (!on) {
        if (fs_exists(f->dir)) {
            f->fd = open(fs_path("%s/deadline", f->dir).s, O_RDWR | O_CLOEXEC);
            if (f->fd >= 0)
                write_deadline(f, DEADLINE_END);
        }
        return 0;
    }
    int r = fs_mkdirs(f->pods_dir, 0700);
    if (r == 0)
        r = fs_write_atomic(f->keeper_path,
                            (struct str){(const char *)keeper_program, sizeof(keeper_program)},
                            0700);
    if (r == 0)
        r = take_over(f);
    if (r < 0)
        return error_errno(err, -r, "cannot keep the fence in %s", f->dir);
    find_keeper(f);
    return 0;
}

struct fence *fence_free(struct fence *f)
{
    if (!f)
        return NULL;
    rt_timer_stop(&f->timer);
    rt_timer_stop(&f->keeper_retry);
    f->keeper = rt_process_free(f->keeper);
    fd_closep(&f->fd);
    free(f->dir);
    free(f->pods_dir);
    free(f->keeper_path);
    free(f);
    return NULL;
}

/* ---- falling and lifting ---- */

static void kick_fenced(struct fence *f)
{
    for (struct map_slot *s = NULL; (s = map_next(&f->node->pods, s));) {
        struct pod *p = s->value;
        if (fence_applies(pod_msg(p)))
            pod_kick(p);
    }
}

static void fall(struct fence *f)
{
    if (f->fallen)
        return;
    f->fallen = true;
    f->fallen_at = boot_now();
    f->epoch++;
    if (f->n_pods) {
        log_warn("the lease cannot be renewed: %u fenced pods are stopped", f->n_pods);
        event_node(f->node, EVENT_WARNING, "Fenced",
                   "The lease could not be renewed: %u pods that are one of a kind were stopped",
                   f->n_pods);
    }
    kick_fenced(f);
}

static void on_soft(void *arg)
{
    struct fence *f = arg;
    nsec_t left = f->soft - boot_now();
    if (left > 0)
        rt_timer_start(&f->timer, left);
    else
        fall(f);
}

static void set_deadline(struct fence *f, nsec_t at, nsec_t gentle)
{
    f->deadline = at;
    f->soft = at - gentle;
    write_deadline(f, (uint64_t)at);
    rt_timer_start(&f->timer, MAX(f->soft - boot_now(), 0));
}

static nsec_t gentle_of(const struct fence_promise *p, nsec_t grace)
{
    return MIN(p->deadline - grace, GENTLE_MAX);
}

struct str fence_sent(struct fence *f, nsec_t grace)
{
    struct arena a = {0};
    if (!f->on || (f->n_pods && !f->keeper))
        return STR_NONE;
    f->sent = boot_now();
    f->promise = fence_promise_for(grace);
    /* A shorter promise holds from when the server may know of it. */
    if (!f->fallen && f->sent + f->promise.deadline < f->deadline)
        set_deadline(f, f->sent + f->promise.deadline, gentle_of(&f->promise, grace));
    struct str s = fence_promise_print(&a, &f->promise);
    snprintf(f->text, sizeof(f->text), "%.*s", STR_ARG(s));
    arena_fini(&a);
    return str_z(f->text);
}

void fence_acked(struct fence *f)
{
    if (!f->on || !f->sent || f->sent < f->fallen_at)
        return;
    set_deadline(f, f->sent + f->promise.deadline, MIN(f->promise.deadline / 4, GENTLE_MAX));
    if (!f->fallen || f->soft <= boot_now())
        return;
    f->fallen = false;
    kick_fenced(f);
}

/* ---- pods ---- */

static struct fs_path marker(const struct pod *p)
{
    return fs_path("%s/%s", p->node->fence->pods_dir, p->uid);
}

/* Known to the keeper before its first process. */
static bool mark(struct pod *p)
{
    struct fence *f = p->node->fence;
    if (!p->fence_marked) {
        bool was = fs_exists(marker(p).s);
        int fd = open(marker(p).s, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) {
            log_error("cannot write %s: %s", marker(p).s, strerror(errno));
            return false;
        }
        close(fd);
        p->fence_marked = true;
        f->n_pods++;
        if (was && !f->fallen) /* adopted within its deadline */
            p->fence_epoch = f->epoch;
    }
    if (!f->keeper)
        start_keeper(f);
    return f->keeper != NULL;
}

struct verify {
    struct node *node; /* held */
    uint64_t epoch;
    char uid[];
};

static void on_verified(void *arg, const struct client_reply *reply)
{
    struct verify *v = arg;
    struct pod *p = map_get(&v->node->pods, str_z(v->uid));
    struct fence *f = v->node->fence;
    if (p && f) {
        const struct api_object_meta *m = reply->r == 0 ? object_meta(reply->object) : NULL;
        p->fence_busy = false;
        if (reply->r == -ENOENT || (m && !str_eqz(m->uid, p->uid)))
            pod_update(p, NULL); /* it was taken over: nothing of it starts here again */
        else if (m && m->deletion_timestamp.set)
            pod_update(p, reply->object);
        else if (m && v->epoch == f->epoch && !f->fallen)
            p->fence_epoch = v->epoch;
        else if (!rt_timer_active(&p->timer))
            rt_timer_start(&p->timer, RETRY);
        pod_kick(p);
    }
    node_release(v->node);
    free(v);
}

static void verify(struct pod *p)
{
    struct node *n = p->node;
    if (p->fence_busy)
        return;
    p->fence_busy = true;
    struct verify *v = xmalloc(sizeof(*v) + strlen(p->uid) + 1);
    v->node = node_hold(n);
    v->epoch = n->fence->epoch;
    memcpy(v->uid, p->uid, strlen(p->uid) + 1);
    client_get(n->client, schema_kinds[KIND_POD], str_z(p->ns), str_z(p->name), on_verified, v);
}

bool fence_allows(struct pod *p)
{
    struct fence *f = p->node->fence;
    if (!f || !f->on || !fence_applies(pod_msg(p)))
        return true;
    if (!f->fallen && boot_now() >= f->soft)
        fall(f); /* the timer does not count what the machine slept */
    if (!mark(p) || f->fallen)
        return false; /* lifting it kicks the pod */
    if (p->fence_epoch == f->epoch)
        return true;
    verify(p);
    return false;
}

int64_t fence_grace_s(const struct pod *p)
{
    nsec_t left = p->node->fence->deadline - boot_now();
    return MIN(MAX(left, 0) / NSEC_PER_SEC, pod_grace_s(p));
}

void fence_forget(struct pod *p)
{
    struct fence *f = p->node->fence;
    if (!f || !f->on)
        return;
    (void)unlink(marker(p).s);
    if (!p->fence_marked)
        return;
    p->fence_marked = false;
    if (--f->n_pods == 0 && f->keeper)
        (void)rt_process_kill(f->keeper, SIGKILL, false);
}
