/* The end of a container: asked for (preStop hook, stop signal, SIGKILL when the grace is over) or
 * by itself. Either way its exit file tells; then a job on the pool reads what it left (termination
 * message, out-of-memory mark), empties its cgroup and unmounts its root, and only when the record
 * says "exited" the exit file itself is removed. */
#include "node/agent.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/fsutil.h"
#include "node/log.h"
#include "node/proc.h"

#define BACKOFF_FIRST_S      10
#define BACKOFF_MAX_S        300
#define BACKOFF_RESET_S      600
#define MIN_GRACE_AFTER_HOOK (2 * NSEC_PER_SEC) /* kubelets always leave that much for SIGTERM */
#define KILL_AGAIN           (1 * NSEC_PER_SEC)
#define FALLBACK_LINES       80
#define FALLBACK_BYTES       2048

enum {
    STOP_NONE,
    STOP_HOOK,
    STOP_TERM,
    STOP_KILL,
};

/* ---- stopping ---- */

static int signal_by_name(const char *s)
{
    static const struct {
        const char *name;
        int n;
    } names[] = {
        {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT},     {"ABRT", SIGABRT},
        {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},     {"PIPE", SIGPIPE},
        {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"CONT", SIGCONT},     {"STOP", SIGSTOP},
        {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"WINCH", SIGWINCH},
        {"PWR", SIGPWR},   {"ILL", SIGILL},   {"TRAP", SIGTRAP},     {"BUS", SIGBUS},
        {"FPE", SIGFPE},   {"SEGV", SIGSEGV}, {"STKFLT", SIGSTKFLT}, {"CHLD", SIGCHLD},
        {"URG", SIGURG},   {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},     {"VTALRM", SIGVTALRM},
        {"PROF", SIGPROF}, {"IO", SIGIO},     {"SYS", SIGSYS},
    };
    int64_t v;
    struct str t = str_z(s);
    if (str_to_i64(t, &v) == 0)
        return v > 0 && v <= SIGRTMAX ? (int)v : SIGTERM;
    if (str_starts(t, STR("SIG")))
        t = str_sub(t, 3, t.n);
    if (str_starts(t, STR("RTMIN"))) {
        int64_t off = 0;
        if (t.n > 6 && str_to_i64(str_sub(t, 6, t.n), &off) < 0)
            off = 0;
        return SIGRTMIN + (int)CLAMP(off, 0, SIGRTMAX - SIGRTMIN);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eqz(t, names[i].name))
            return names[i].n;
    return SIGTERM;
}

static void send_signal(struct ctr *c, int signum)
{
    if (c->rec.pid > 1 && proc_start_time(c->rec.pid) == c->rec.pid_start)
        (void)kill(c->rec.pid, signum);
}

static void send_kill(struct ctr *c)
{
    struct fs_path cg = fs_path("%s/%s", c->pod->cgroup, c->id);
    c->stop_stage = STOP_KILL;
    send_signal(c, SIGKILL);
    (void)cgroup_kill(&c->pod->node->cgroups, cg.s);
    rt_timer_start(&c->timer, KILL_AGAIN);
}

static void send_term(struct ctr *c)
{
    nsec_t now = rt_now(c->pod->node->rt);
    struct str spec = ctr_spec(c)->lifecycle ? ctr_spec(c)->lifecycle->stop_signal : STR_NONE;
    char name[32];
    snprintf(name, sizeof(name), "%.*s", STR_ARG(spec));
    const char *text = name[0]                                       ? name
                       : c->rec.stop_signal && c->rec.stop_signal[0] ? c->rec.stop_signal
                                                                     : "TERM";
    c->stop_stage = STOP_TERM;
    send_signal(c, signal_by_name(text));
    if (c->stop_deadline <= now)
        send_kill(c);
    else
        rt_timer_start_at(&c->timer, c->stop_deadline);
}

static void on_pre_stop(void *arg, enum action_result r, struct str output)
{
    struct ctr *c = arg;
    c->hook = NULL;
    if (r == ACTION_FAILED || r == ACTION_ERROR)
        event_ctr(c, EVENT_WARNING, "FailedPreStopHook", "PreStopHook failed");
    if (ctr_state(c) != CTR_STOPPING || c->stop_stage != STOP_HOOK)
        return;
    nsec_t least = rt_now(c->pod->node->rt) + MIN_GRACE_AFTER_HOOK;
    c->stop_deadline = MAX(c->stop_deadline, least);
    send_term(c);
}

void ctr_stop_tick(struct ctr *c)
{
    nsec_t now = rt_now(c->pod->node->rt);
    if (ctr_state(c) != CTR_STOPPING)
        return;
    if (c->stop_stage == STOP_KILL) {
        if (!rt_timer_active(&c->timer))
            send_kill(c);
        return;
    }
    if (now < c->stop_deadline) {
        if (!rt_timer_active(&c->timer))
            rt_timer_start_at(&c->timer, c->stop_deadline);
        return;
    }
    if (c->stop_stage == STOP_HOOK) {
        c->hook = action_cancel(c->hook);
        c->stop_deadline = now + MIN_GRACE_AFTER_HOOK;
        send_term(c);
    } else {
        send_kill(c);
    }
}

void ctr_stop(struct ctr *c, int64_t grace_s, const char *reason, const char *message,
              bool for_failure)
{
    nsec_t now = rt_now(c->pod->node->rt), deadline = now + nsec_of_s(MAX(grace_s, 0));
    if (ctr_state(c) == CTR_PULLING) {
        ctr_wait(c, c->why ? c->why : "ContainerCreating", NULL);
        return;
    }
    if (ctr_state(c) == CTR_STOPPING) {
        if (deadline < c->stop_deadline) {
            c->stop_deadline = deadline;
            rt_timer_stop(&c->timer);
            ctr_stop_tick(c);
        }
        if (!for_failure)
            c->stop_for_failure = false;
        return;
    }
    if (ctr_state(c) != CTR_RUNNING)
        return;
    event_ctr(c, EVENT_NORMAL, "Killing", "%s", message ? message : "Stopping container");
    set_text(&c->stop_reason, reason);
    set_text(&c->stop_message, NULL);
    c->stop_for_failure = for_failure;
    c->stop_deadline = deadline;
    probes_stop(c);
    c->hook = action_cancel(c->hook); /* a postStart still running */
    c->hook_running = false;
    rt_timer_stop(&c->timer);
    ctr_move(c, CTR_STOPPING);
    const struct api_lifecycle *l = ctr_spec(c)->lifecycle;
    const struct api_lifecycle_handler *h = l ? l->pre_stop : NULL;
    if (h && grace_s > 0) {
        struct action_opts o = {.exec = h->exec,
                                .http_get = h->http_get,
                                .tcp_socket = h->tcp_socket,
                                .sleep = h->sleep,
                                .timeout = deadline - now};
        c->stop_stage = STOP_HOOK;
        rt_timer_start_at(&c->timer, deadline);
        c->hook = action_start(c, &o, on_pre_stop, c);
    } else {
        send_term(c);
    }
}

/* ---- the end ---- */

struct cleanup {
    struct rt_work work;
    struct ctr *ctr; /* NULL: nobody waits */
    char *bundle, *log, *cgroup, *exit_file;
    struct cgroups cgroups;
    bool fallback;
    /* out */
    struct buf message;
    bool oom;
    usec_t finished;
};

/* The last max bytes, without the rest of a character that the cut went through. */
static void cut_front(struct buf *b, size_t max)
{
    if (b->n <= max)
        return;
    buf_consume(b, b->n - max);
    for (int i = 0; i < 3 && b->n && ((unsigned char)b->data[0] & 0xC0) == 0x80; i++)
        buf_consume(b, 1);
}

static void read_message(struct cleanup *k)
{
    struct fs_path file = fs_path("%s/term", k->bundle);
    struct stat st;
    if (lstat(file.s, &st) == 0 &&
        S_ISREG(st.st_mode)) /* the container could have put a link there */
        (void)!fs_read(file.s, 1 << 20, &k->message);
    cut_front(&k->message, MESSAGE_BYTES_MAX);
    if (k->message.n == 0 && k->fallback) {
        /* a few bytes more, so that the cut is ours and at a character */
        log_tail_text(k->log, FALLBACK_LINES, FALLBACK_BYTES + 4, &k->message);
        cut_front(&k->message, FALLBACK_BYTES);
    }
}

static void cleanup_work(void *arg)
{
    struct cleanup *k = arg;
    struct stat st;
    struct cgroup_usage u;
    if (stat(k->exit_file, &st) == 0)
        k->finished = (usec_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    k->oom = fs_exists(fs_path("%s/oom", k->bundle).s) ||
             (cgroup_read_usage(&k->cgroups, k->cgroup, &u) == 0 && u.oom_kills > 0);
    read_message(k);
    int r = cgroup_destroy(&k->cgroups, k->cgroup);
    if (r < 0)
        log_warn("cannot remove cgroup %s: %s", k->cgroup, strerror(-r));
}

static void cleanup_free(struct cleanup *k)
{
    buf_fini(&k->message);
    free(k->bundle);
    free(k->log);
    free(k->cgroup);
    free(k->exit_file);
    free(k);
}

static void set_end(struct ctr *c, const struct cleanup *k)
{
    struct ctr_end *e = &c->rec.end;
    int code = c->exit_code;
    ctr_end_clear(e);
    e->set = true;
    e->code = code;
    e->started = c->rec.started;
    e->finished = k->finished ? k->finished : rt_wall(c->pod->node->rt);
    const char *reason = c->stop_reason && strcmp(c->stop_reason, "StartError") == 0 ? "StartError"
                         : code == 0                                                 ? "Completed"
                         : k->oom                                                    ? "OOMKilled"
                         : c->stop_reason ? c->stop_reason
                                          : "Error";
    e->reason = xstrdup(reason);
    struct buf text = {0};
    buf_add_utf8(&text, buf_str(&k->message), MESSAGE_BYTES_MAX);
    if (text.n)
        e->message = str_dup(buf_str(&text));
    else if (c->stop_message)
        e->message = xstrdup(c->stop_message);
    buf_fini(&text);
    e->id = xasprintf("davit://%s", c->id);
}

/* The first restart is at once, then 10 s, 20 s ... 5 min; forgotten after ten minutes of running.
 * What never started has not run, though it has no time of start, or that of the attempt before. */
static void set_backoff(struct ctr *c)
{
    struct ctr_record *r = &c->rec;
    if (strcmp(r->end.reason, "StartError") != 0 && r->end.started &&
        r->end.finished - r->end.started >= (usec_t)BACKOFF_RESET_S * 1000000)
        r->backoff_s = 0;
    c->not_before = r->backoff_s ? rt_now(c->pod->node->rt) + r->backoff_s * NSEC_PER_SEC : 0;
    r->backoff_s = r->backoff_s ? MIN(r->backoff_s * 2, BACKOFF_MAX_S) : BACKOFF_FIRST_S;
}

static void cleanup_done(void *arg)
{
    struct cleanup *k = arg;
    struct ctr *c = k->ctr;
    if (c) {
        c->cleanup = NULL;
        set_end(c, k);
        set_backoff(c);
        set_text(&c->rec.phase, "exited");
        ctr_save(c);
        ctr_move(c, CTR_EXITED);
        ctr_trash(c);
        pod_kick(c->pod);
    }
    cleanup_free(k);
}

void cleanup_detach(struct cleanup *k)
{
    k->ctr = NULL;
}

void ctr_on_exit(struct ctr *c, int code)
{
    enum ctr_state s = ctr_state(c);
    bool start_error = c->stop_reason && strcmp(c->stop_reason, "StartError") == 0;
    if ((s == CTR_CREATING || s == CTR_STARTING) && !start_error) {
        c->exit_known = true;
        c->exit_code = code;
        return;
    }
    if (s != CTR_RUNNING && s != CTR_STOPPING && s != CTR_CREATING && s != CTR_STARTING &&
        s != CTR_WAITING && s != CTR_PREPARING)
        return;
    c->exit_code = code;
    c->ready = c->started = false;
    probes_stop(c);
    c->hook = action_cancel(c->hook);
    c->hook_running = false;
    rt_timer_stop(&c->timer);
    c->conmon_watch = rt_process_free(c->conmon_watch);
    ctr_move(c, CTR_EXITING);
    struct node *n = c->pod->node;
    struct cleanup *k = NEW(struct cleanup);
    k->ctr = c;
    k->bundle = xstrdup(ctr_bundle(c).s);
    k->log = xstrdup(ctr_log_path(c, c->rec.attempt).s);
    k->cgroup = xasprintf("%s/%s", c->pod->cgroup, c->id);
    k->exit_file = xasprintf("%s/%s", n->runtime.exits_dir, c->id);
    k->cgroups = n->cgroups;
    k->fallback =
        code != 0 && str_is(ctr_spec(c)->termination_message_policy, "FallbackToLogsOnError");
    c->cleanup = k;
    rt_work(n->rt, &k->work, RT_WORK_SHORT, cleanup_work, cleanup_done, k);
}

/* ---- conmon ---- */

static void on_conmon_gone(void *arg, struct rt_exit how)
{
    struct ctr *c = arg;
    int code;
    c->conmon_watch = rt_process_free(c->conmon_watch);
    if (runtime_exit_code(&c->pod->node->runtime, c->id, &code)) {
        ctr_on_exit(c, code);
        return;
    }
    if (ctr_state(c) != CTR_RUNNING && ctr_state(c) != CTR_STOPPING && ctr_state(c) != CTR_STARTING)
        return;
    /* Somebody killed conmon: nobody reads the container's output nor will tell its end. */
    log_warn("pod %s/%s: conmon of container %s is gone; the container is ended", c->pod->ns,
             c->pod->name, c->name);
    (void)cgroup_kill(&c->pod->node->cgroups, fs_path("%s/%s", c->pod->cgroup, c->id).s);
    set_text(&c->stop_reason, "ContainerStatusUnknown");
    set_text(&c->stop_message, "The container could not be located when its monitor was gone");
    ctr_on_exit(c, 137);
}

void ctr_conmon_watch(struct ctr *c)
{
    int64_t pid;
    rt_process_free(c->conmon_watch);
    c->conmon_watch = NULL;
    int r = fs_read_i64(fs_path("%s/conmon.pid", ctr_bundle(c).s).s, &pid);
    if (r == 0 && pid > 1)
        r = rt_process_watch(c->pod->node->rt, (pid_t)pid, on_conmon_gone, c, &c->conmon_watch);
    if (r < 0 && r != -ESRCH)
        log_warn("pod %s/%s: cannot watch conmon of container %s: %s", c->pod->ns, c->pod->name,
                 c->name, strerror(-r));
}

/* ---- rubbish ---- */

struct trash {
    struct rt_work work;
    char *dir, *log_dir, *root, *exits, *socks, *id;
    unsigned keep_attempt; /* its bundle stays; 0: none does */
    unsigned last_attempt;
};

static int trash_entry(void *arg, const char *name, unsigned char type)
{
    struct trash *t = arg;
    uint64_t v;
    if (str_to_u64(str_z(name), &v) == 0 && v != t->keep_attempt) {
        struct fs_path p = fs_path("%s/%s", t->dir, name);
        int r = fs_remove_bundle(p.s);
        if (r < 0)
            log_warn("cannot remove %s: %s", p.s, strerror(-r));
    }
    return 0;
}

/* "3.log" and "3.log.20260102-030405": logs of the current attempt and the one before stay. */
static int trash_log(void *arg, const char *name, unsigned char type)
{
    struct trash *t = arg;
    struct str rest = str_z(name), head;
    uint64_t v;
    str_cut(&rest, '.', &head);
    if (str_to_u64(head, &v) == 0 && v + 2 < t->last_attempt)
        (void)unlink(fs_path("%s/%s", t->log_dir, name).s);
    return 0;
}

static void trash_work(void *arg)
{
    struct trash *t = arg;
    if (t->id)
        runtime_remove_state(t->root, t->exits, t->socks, t->id);
    (void)!fs_each(t->dir, trash_entry, t);
    (void)!fs_each(t->log_dir, trash_log, t);
}

static void trash_done(void *arg)
{
    struct trash *t = arg;
    char *owned[] = {t->dir, t->log_dir, t->root, t->exits, t->socks, t->id};
    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        free(owned[i]);
    free(t);
}

void ctr_trash(struct ctr *c)
{
    struct node *n = c->pod->node;
    struct trash *t = NEW(struct trash);
    bool ended = ctr_state(c) == CTR_EXITED;
    t->dir = xstrdup(c->dir);
    t->log_dir = xasprintf("%s/logs/%s", c->pod->dir, c->name);
    t->root = xstrdup(n->runtime.root);
    t->exits = xstrdup(n->runtime.exits_dir);
    t->socks = xstrdup(n->runtime.sock_dir);
    t->id = ended && c->id[0] ? xstrdup(c->id) : NULL;
    /* A restart may make the next bundle while we clean: it has a higher number and must not be
     * touched. */
    t->keep_attempt = ended ? c->rec.attempt + 1 : c->rec.attempt;
    t->last_attempt = c->rec.attempt;
    rt_work(n->rt, &t->work, RT_WORK_SHORT, trash_work, trash_done, t);
}
