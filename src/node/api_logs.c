/* kubectl logs: the files of one attempt, rotated ones first, from a place that fits tail and
 * since, then (follow) whatever is appended until the container has ended. Reading is done in
 * pieces of bounded size on the loop: log files are in the page cache or a disk read away, and a
 * piece is only read when the client has taken the last one. */
#include "node/api.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/fsutil.h"
#include "node/log.h"

#define PIECE_BYTES    65536
#define FILES_MAX      64
#define POLL           (100 * NSEC_PER_MSEC)
#define LINE_BYTES_MAX (1 << 20) /* conmon's records are at most 8 KB of text */

struct log_reader {
    struct node *node;
    struct http_request *req;
    char *uid, *name, *path; /* path: the current file of the attempt */
    unsigned attempt;
    bool follow, timestamps, at_line_start[3];
    int64_t since_nsec; /* 0: from the beginning */
    int64_t limit;      /* bytes left; -1: none */
    char *files[FILES_MAX];
    unsigned n_files, next_file;
    int fd;
    ino_t ino;
    struct buf raw; /* an unfinished record */
    struct rt_timer timer;
    struct rt_task task;
    bool waiting_drain, quiet_once;
};

static void pump(void *arg);

static void reader_free(struct log_reader *l)
{
    rt_timer_stop(&l->timer);
    rt_task_cancel(&l->task);
    fd_closep(&l->fd);
    for (unsigned i = 0; i < l->n_files; i++)
        free(l->files[i]);
    buf_fini(&l->raw);
    free(l->uid);
    free(l->name);
    free(l->path);
    free(l);
}

static void finish(struct log_reader *l)
{
    http_stream_end(l->req);
    reader_free(l);
}

static void on_close(struct http_request *req, void *arg)
{
    struct log_reader *l = arg;
    http_stream_abort(req);
    reader_free(l);
}

static void on_drain(struct http_request *req, void *arg)
{
    struct log_reader *l = arg;
    if (l->waiting_drain) {
        l->waiting_drain = false;
        rt_task_schedule(&l->task);
    }
}

/* ---- records to text ---- */

static void emit(struct log_reader *l, const struct log_line *line, struct buf *out)
{
    if (l->since_nsec && log_time_nsec(line->time) < l->since_nsec)
        return;
    if (l->timestamps && l->at_line_start[line->stream]) {
        /* conmon writes the offset of UTC as digits, clients know it as Z */
        bool utc = str_ends(line->time, STR("+00:00"));
        buf_add_str(out, utc ? str_sub(line->time, 0, line->time.n - 6) : line->time);
        buf_add_str(out, utc ? STR("Z ") : STR(" "));
    }
    buf_add_str(out, line->text);
    if (!line->partial)
        buf_add_char(out, '\n');
    l->at_line_start[line->stream] = !line->partial;
}

static void take_records(struct log_reader *l, struct buf *out)
{
    struct str rest = buf_str(&l->raw);
    size_t used = 0;
    ssize_t nl;
    while ((nl = str_find(rest, '\n')) >= 0) {
        struct log_line line;
        if (log_line_parse(str_sub(rest, 0, (size_t)nl), &line) == 0)
            emit(l, &line, out);
        used += (size_t)nl + 1;
        rest = str_sub(rest, (size_t)nl + 1, rest.n);
    }
    buf_consume(&l->raw, used);
    if (l->raw.n > LINE_BYTES_MAX)
        buf_clear(&l->raw);
}

/* ---- files ---- */

static bool open_next(struct log_reader *l)
{
    fd_closep(&l->fd);
    while (l->next_file < l->n_files) {
        l->fd = open(l->files[l->next_file++], O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (l->fd >= 0 && fstat(l->fd, &st) == 0) {
            l->ino = st.st_ino;
            return true;
        }
        fd_closep(&l->fd);
    }
    return false;
}

/* True when the log was rotated since: the current name is another file. */
static bool rotated(struct log_reader *l)
{
    struct stat st;
    return stat(l->path, &st) == 0 && st.st_ino != l->ino;
}

static struct ctr *reader_ctr(const struct log_reader *l)
{
    struct pod *p = map_get(&l->node->pods, str_z(l->uid));
    return p ? pod_find_ctr(p, str_z(l->name)) : NULL;
}

static bool still_written(const struct log_reader *l)
{
    const struct ctr *c = reader_ctr(l);
    if (!c || c->rec.attempt != l->attempt)
        return false;
    enum ctr_state s = ctr_state(c);
    return s != CTR_EXITED && s != CTR_WAITING && s != CTR_EXITING;
}

/* End of the file: what now? True: go on reading. */
static bool at_end(struct log_reader *l)
{
    if (l->next_file < l->n_files)
        return open_next(l);
    if (!l->follow)
        return false;
    if (rotated(l)) {
        fd_closep(&l->fd);
        l->fd = open(l->path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (l->fd >= 0 && fstat(l->fd, &st) == 0)
            l->ino = st.st_ino;
        return l->fd >= 0;
    }
    if (!still_written(l)) {
        if (l->quiet_once)
            return false;
        l->quiet_once = true; /* one more look after the end was noted */
    }
    rt_timer_start(&l->timer, POLL);
    return true;
}

static void pump(void *arg)
{
    struct log_reader *l = arg;
    struct buf out = {0};
    bool more = true, waiting = false;
    while (more && !waiting && out.n < PIECE_BYTES) {
        char *p = buf_reserve(&l->raw, PIECE_BYTES);
        ssize_t n = l->fd >= 0 && p ? read(l->fd, p, PIECE_BYTES) : 0;
        if (n > 0) {
            l->raw.n += (size_t)n;
            take_records(l, &out);
        } else {
            more = at_end(l);
            waiting = rt_timer_active(&l->timer);
        }
    }
    if (l->limit >= 0 && (int64_t)out.n >= l->limit) {
        out.n = (size_t)l->limit;
        more = false;
    }
    if (l->limit > 0)
        l->limit -= (int64_t)out.n;
    if (out.n) {
        size_t n;
        char *p = buf_take(&out, &n);
        if (http_stream_write(l->req, http_bytes_take(p, n)) < 0)
            more = false;
    }
    buf_fini(&out);
    if (!more) {
        finish(l);
    } else if (http_stream_congested(l->req)) {
        rt_timer_stop(&l->timer);
        l->waiting_drain = true;
    } else if (!waiting) {
        rt_task_schedule(&l->task);
    }
}

/* ---- the request ---- */

struct rotated_files {
    struct log_reader *l;
    struct fs_path dir, prefix;
};

static int find_rotated(void *arg, const char *name, unsigned char type)
{
    struct rotated_files *f = arg;
    if (str_starts(str_z(name), str_z(f->prefix.s)) && f->l->n_files < FILES_MAX - 1)
        f->l->files[f->l->n_files++] = xasprintf("%s/%s", f->dir.s, name);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_files(struct log_reader *l)
{
    struct rotated_files f = {.l = l, .dir = fs_path("%s", l->path)};
    char *slash = strrchr(f.dir.s, '/');
    *slash = 0;
    f.prefix = fs_path("%s.", slash + 1);
    (void)!fs_each(f.dir.s, find_rotated, &f);
    qsort(l->files, l->n_files, sizeof(l->files[0]), by_name);
    l->files[l->n_files++] = xstrdup(l->path);
}

/* Opens the file in which the last n lines begin, at that place; with fewer lines than that
 * everything is shown. */
static void seek_tail(struct log_reader *l, uint64_t n)
{
    for (unsigned i = l->n_files; i-- > 0;) {
        int fd = open(l->files[i], O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (fd < 0)
            continue;
        int64_t at = fstat(fd, &st) == 0 ? log_tail_offset(fd, st.st_size, n) : 0;
        if (at > 0 || i == 0) {
            fd_closep(&l->fd);
            l->fd = fd;
            l->ino = st.st_ino;
            l->next_file = i + 1;
            (void)!lseek(fd, at, SEEK_SET);
            return;
        }
        close(fd); /* all of it is wanted, and more: approximately the rest from the older ones */
    }
    l->next_file = 0;
    (void)open_next(l);
}

static bool parse_args(struct api_call *c, struct log_reader *l, int64_t *ret_tail)
{
    struct http_request *req = c->req;
    struct str v;
    int64_t n;
    *ret_tail = -1;
    l->limit = -1;
    if ((v = api_query(req, "tailLines")).p && str_to_i64(v, ret_tail) < 0)
        return false;
    if ((v = api_query(req, "limitBytes")).p && (str_to_i64(v, &l->limit) < 0 || l->limit < 1))
        return false;
    if ((v = api_query(req, "sinceSeconds")).p) {
        if (str_to_i64(v, &n) < 0 || n < 1)
            return false;
        usec_t now = rt_wall(c->node->rt);
        l->since_nsec = nsec_of_usec(now - usec_of_s(MIN(n, now / 1000000)));
    } else if ((v = api_query(req, "sinceTime")).p) {
        l->since_nsec = log_time_nsec(v);
        if (l->since_nsec < 0)
            return false;
    }
    l->follow = api_query_bool(req, "follow");
    l->timestamps = api_query_bool(req, "timestamps");
    return true;
}

void api_logs(struct api_call *c)
{
    struct ctr *ctr = api_find_ctr(c, false);
    if (!ctr)
        return;
    struct node *n = c->node;
    bool previous = api_query_bool(c->req, "previous");
    unsigned attempt = previous ? ctr->rec.attempt - 1 : ctr->rec.attempt;
    if (previous && ctr->rec.attempt < 2) {
        api_fail(c->req, 400, "previous terminated container \"%s\" in pod \"%s\" not found",
                 ctr->name, ctr->pod->name);
        return;
    }
    if (ctr->rec.attempt == 0) {
        api_fail(c->req, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", ctr->name,
                 ctr->pod->name, ctr->why ? ctr->why : "ContainerCreating");
        return;
    }
    struct log_reader *l = NEW(struct log_reader);
    int64_t tail;
    l->fd = -1;
    l->node = n;
    l->req = c->req;
    l->uid = xstrdup(ctr->pod->uid);
    l->name = xstrdup(ctr->name);
    l->attempt = attempt;
    l->path = xstrdup(ctr_log_path(ctr, attempt).s);
    l->at_line_start[1] = l->at_line_start[2] = true;
    rt_timer_init(&l->timer, n->rt, pump, l);
    rt_task_init(&l->task, n->rt, pump, l);
    if (!parse_args(c, l, &tail)) {
        api_fail(c->req, 400, "bad parameter of a log request");
        reader_free(l);
        return;
    }
    list_files(l);
    if (tail >= 0)
        seek_tail(l, (uint64_t)tail);
    else
        (void)open_next(l);
    struct http_header h = {STR("content-type"), STR("text/plain")};
    if (http_stream_start(c->req, 200, &h, 1) < 0) {
        http_stream_abort(c->req);
        reader_free(l);
        return;
    }
    http_on_close(c->req, on_close, l);
    http_on_drain(c->req, on_drain, l);
    rt_task_schedule(&l->task);
}
