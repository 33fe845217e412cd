/* Rotation of container logs: conmon appends to N.log for ever, so every few seconds the sizes of
 * running containers' logs are looked at; one that is too big is renamed to N.log.YYYYMMDD-HHMMSS,
 * conmon is asked to open a new one, and the oldest renamed ones go. */
#include "node/agent.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/fsutil.h"

#define PERIOD   (5 * NSEC_PER_SEC)
#define KEPT_MAX 64

struct old_logs {
    struct str prefix;
    char *names[KEPT_MAX];
    size_t n;
};

static int find_old(void *arg, const char *name, unsigned char type)
{
    struct old_logs *o = arg;
    if (str_starts(str_z(name), o->prefix) && o->n < KEPT_MAX)
        o->names[o->n++] = xstrdup(name);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void remove_old(const char *path, unsigned keep)
{
    struct fs_path dir = fs_path("%s", path);
    char *slash = strrchr(dir.s, '/');
    *slash = 0;
    struct fs_path prefix = fs_path("%s.", slash + 1);
    struct old_logs o = {.prefix = str_z(prefix.s)};
    (void)!fs_each(dir.s, find_old, &o);
    qsort(o.names, o.n, sizeof(o.names[0]), by_name);
    for (size_t i = 0; i < o.n; i++) {
        if (i + keep < o.n)
            (void)unlink(fs_path("%s/%s", dir.s, o.names[i]).s);
        free(o.names[i]);
    }
}

static void rotate(struct ctr *c, const char *path)
{
    struct tm tm;
    usec_t now = rt_wall(c->pod->node->rt);
    time_t s = now / 1000000;
    gmtime_r(&s, &tm);
    struct fs_path to = fs_path("%s.%04d%02d%02d-%02d%02d%02d", path, tm.tm_year + 1900,
                                tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (fs_exists(to.s) || rename(path, to.s) < 0)
        return;
    int r = runtime_reopen_log(ctr_bundle(c).s);
    if (r < 0)
        log_warn("pod %s/%s: conmon of %s does not take the rotation of its log: %s", c->pod->ns,
                 c->pod->name, c->name, strerror(-r));
    remove_old(path, c->pod->node->opts.log_files_max - 1);
}

static void on_logs(void *arg)
{
    struct node *n = arg;
    rt_timer_start(&n->logs_timer, PERIOD);
    for (struct map_slot *s = NULL; (s = map_next(&n->ctrs, s));) {
        struct ctr *c = s->value;
        struct fs_path path = ctr_log_path(c, c->rec.attempt);
        struct stat st;
        if ((ctr_state(c) == CTR_RUNNING || ctr_state(c) == CTR_STOPPING) &&
            stat(path.s, &st) == 0 && (uint64_t)st.st_size > n->opts.log_bytes_max)
            rotate(c, path.s);
    }
}

void logs_start(struct node *n)
{
    rt_timer_init(&n->logs_timer, n->rt, on_logs, n);
    rt_timer_start(&n->logs_timer, PERIOD);
}

void logs_stop(struct node *n)
{
    rt_timer_stop(&n->logs_timer);
}
