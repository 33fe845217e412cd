/* See audit.h. Lines travel as messages to the loop of the writer's thread; all that came in one
 * turn goes out in one write. */
#include "apiserver/audit/audit.h"

#include "base/log.h"
#include "base/mem.h"
#include "codec/values.h"
#include "rt/rt.h"
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define POLICY_BYTES_MAX (1u << 20)

struct line {
    struct rt_post post;
    struct audit *audit;
    char *data;
    size_t n;
};

struct audit {
    struct audit_opts opts;
    char *path, *dir, *prefix, *ext; /* path is dir/prefix + ext */
    struct audit_policy *policy;
    struct rt *rt;
    struct rt_thread *thread;
    struct rt_task flush_task;
    struct rt_post stop_post;
    sem_t stopped;
    struct buf out;
    int fd; /* -1: it could not be opened; tried again with the next lines */
    int64_t size;
    bool warned;
    _Atomic uint64_t queued, dropped;
};

/* ---- files; the writer's thread ---- */

static int open_log(struct audit *a)
{
    struct stat st;
    if (strcmp(a->path, "-") == 0) {
        a->fd = STDOUT_FILENO;
        return 0;
    }
    a->fd = open(a->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (a->fd < 0)
        return -errno;
    a->size = fstat(a->fd, &st) == 0 ? st.st_size : 0;
    return 0;
}

static void close_log(struct audit *a)
{
    if (a->fd > STDOUT_FILENO)
        close(a->fd);
    a->fd = -1;
}

/* Is name one of ours: PREFIX-YYYY-MM-DDTHH-MM-SS.mmm.EXT? *ret_time is its text of that. */
static bool is_backup(const struct audit *a, const char *name, struct str *ret_time)
{
    struct str s = str_z(name), prefix = str_z(a->prefix), ext = str_z(a->ext);
    if (!str_starts(s, prefix) || !str_ends(s, ext) || s.n != prefix.n + ext.n + 24 ||
        s.p[prefix.n] != '-')
        return false;
    *ret_time = str_sub(s, prefix.n + 1, prefix.n + 24);
    return true;
}

static void time_text(usec_t t, char out[static 32])
{
    char full[TIMESTAMP_TEXT_MAX]; /* 2006-01-02T15:04:05.000000Z */
    timestamp_format(timestamp_of(t), true, full);
    snprintf(out, 32, "%.23s", full);
    out[13] = out[16] = '-';
}

static int newest_first(const void *x, const void *y)
{
    return strcmp(*(char *const *)y, *(char *const *)x);
}

static void remove_old(struct audit *a)
{
    char **names = NULL, oldest[32];
    size_t n = 0, cap = 0;
    struct str when;
    DIR *d = opendir(a->dir);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        if (is_backup(a, e->d_name, &when)) {
            ARRAY_RESERVE(names, n, cap);
            names[n++] = xstrdup(e->d_name);
        }
    if (n)
        qsort(names, n, sizeof(*names), newest_first);
    time_text(rt_wall(a->rt) - a->opts.max_age_s * 1000000, oldest);
    for (size_t i = 0; i < n; i++) {
        bool known = is_backup(a, names[i], &when);
        ASSERT(known);
        if ((a->opts.max_backups && i >= (size_t)a->opts.max_backups) ||
            (a->opts.max_age_s && str_cmp(when, str_z(oldest)) < 0))
            (void)!unlinkat(dirfd(d), names[i], 0);
        free(names[i]);
    }
    free(names);
    closedir(d);
}

static void rotate(struct audit *a)
{
    char when[32];
    time_text(rt_wall(a->rt), when);
    char *to = xasprintf("%s/%s-%s%s", a->dir, a->prefix, when, a->ext);
    close_log(a);
    if (rename(a->path, to) < 0)
        log_warn("audit log: %s cannot be renamed: %s", a->path, strerror(errno));
    free(to);
    (void)open_log(a);
    remove_old(a);
}

static void on_flush(void *arg)
{
    struct audit *a = arg;
    int r = a->fd < 0 ? open_log(a) : 0;
    if (r == 0 && a->opts.max_bytes && a->size && a->fd > STDOUT_FILENO &&
        a->size + (int64_t)a->out.n > a->opts.max_bytes)
        rotate(a);
    if (r == 0)
        r = a->fd < 0 ? -EIO : sys_write_all(a->fd, a->out.data, a->out.n);
    if (r < 0 && !a->warned)
        log_warn("audit log: %s cannot be written: %s", a->path, strerror(-r));
    if (r < 0)
        close_log(a);
    a->warned = r < 0;
    a->size += (int64_t)a->out.n;
    buf_clear(&a->out);
}

static void on_line(void *arg)
{
    struct line *l = arg;
    struct audit *a = l->audit;
    buf_add(&a->out, l->data, l->n);
    buf_add_char(&a->out, '\n');
    atomic_fetch_sub_explicit(&a->queued, l->n, memory_order_relaxed);
    free(l->data);
    free(l);
    rt_task_schedule(&a->flush_task);
}

/* ---- any thread ---- */

void audit_tell(struct audit *a, struct buf *line)
{
    size_t n = line->n;
    if (atomic_load_explicit(&a->queued, memory_order_relaxed) + n > AUDIT_QUEUE_BYTES_MAX) {
        if (atomic_fetch_add_explicit(&a->dropped, 1, memory_order_relaxed) == 0)
            log_warn("audit log: more is told than can be written; some of it is lost");
        buf_fini(line);
        return;
    }
    struct line *l = NEW(struct line);
    l->audit = a;
    l->data = buf_take(line, &l->n);
    atomic_fetch_add_explicit(&a->queued, l->n, memory_order_relaxed);
    rt_post(a->rt, &l->post, on_line, l);
}

uint64_t audit_dropped(const struct audit *a)
{
    return atomic_load_explicit(&a->dropped, memory_order_relaxed);
}

const struct audit_policy *audit_policy_of(const struct audit *a)
{
    return a->policy;
}

/* ---- life ---- */

static void split_path(struct audit *a)
{
    const char *slash = strrchr(a->path, '/'), *name = slash ? slash + 1 : a->path;
    const char *dot = strrchr(name, '.');
    a->dir = slash ? str_dup((struct str){a->path, MAX((size_t)(slash - a->path), (size_t)1)})
                   : xstrdup(".");
    a->prefix = str_dup((struct str){name, dot ? (size_t)(dot - name) : strlen(name)});
    a->ext = xstrdup(dot ? dot : "");
}

static int read_policy(struct audit *a, struct error *err)
{
    char *data = NULL;
    size_t n = 0;
    int r = sys_read_file(AT_FDCWD, a->opts.policy_file, POLICY_BYTES_MAX, &data, &n);
    if (r < 0)
        return error_errno(err, r, "audit policy %s cannot be read", a->opts.policy_file);
    r = audit_policy_parse((struct str){data, n}, &a->policy, err);
    if (r < 0)
        error_prefix(err, "%s", a->opts.policy_file);
    free(data);
    return r;
}

static void free_all(struct audit *a)
{
    close_log(a);
    buf_fini(&a->out);
    if (a->rt)
        rt_free(a->rt);
    audit_policy_free(a->policy);
    sem_destroy(&a->stopped);
    free(a->path);
    free(a->dir);
    free(a->prefix);
    free(a->ext);
    free(a);
}

int audit_new(const struct audit_opts *o, struct audit **ret, struct error *err)
{
    struct audit *a = NEW(struct audit);
    a->opts = *o;
    a->fd = -1;
    sem_init(&a->stopped, 0, 0);
    a->path = xstrdup(o->path);
    split_path(a);
    int r = read_policy(a, err);
    if (r >= 0) {
        r = open_log(a);
        if (r < 0)
            r = error_errno(err, r, "audit log %s cannot be opened", a->path);
    }
    if (r >= 0) {
        a->rt = rt_uv_new();
        r = a->rt ? 0 : error_errno(err, errno, "audit log: no event loop");
    }
    if (r >= 0) {
        rt_task_init(&a->flush_task, a->rt, on_flush, a);
        r = rt_thread_start(a->rt, "audit", &a->thread);
        if (r < 0)
            r = error_errno(err, r, "audit log: no thread");
    }
    a->opts.path = a->opts.policy_file = NULL; /* the caller's */
    if (r < 0) {
        free_all(a);
        return r;
    }
    *ret = a;
    return 0;
}

static void on_stop(void *arg)
{
    struct audit *a = arg; /* all lines before this message are in a->out */
    if (a->out.n)
        on_flush(a);
    rt_task_cancel(&a->flush_task);
    sem_post(&a->stopped);
}

struct audit *audit_free(struct audit *a)
{
    if (!a)
        return NULL;
    rt_post(a->rt, &a->stop_post, on_stop, a);
    while (sem_wait(&a->stopped) < 0 && errno == EINTR)
        ;
    rt_thread_join(a->thread);
    free_all(a);
    return NULL;
}
