/* Appending is a write() into the page cache, on the loop: some microseconds, and in the order of
 * the changes. What may take long is done on the pool: reading, flushing a new file, and
 * compaction, which reads the file itself, not the cache (that may have kept less). While the pool
 * works on a shorter file the log goes on in the old one; what came meanwhile is copied behind. */
#include "client/cache_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fs.h"

#define DEBOUNCE       (200 * NSEC_PER_MSEC)
#define RETRY          (60 * NSEC_PER_SEC) /* a disk that refused */
#define BUFFER_BYTES   ((size_t)128 << 10) /* written at once when so much is gathered */
#define COMPACT_BYTES  ((size_t)256 << 10) /* a log is not worth it below */
#define FILE_BYTES_MAX ((size_t)1 << 30)
#define FILE_MODE      0600
#define NEW_SUFFIX     ".new"
#define SHORT_SUFFIX   ".short"

enum file_state {
    FILE_CLOSED,
    FILE_NEW,
    FILE_LIVE,
    FILE_FAILED,
};

enum job_kind {
    JOB_LOAD,
    JOB_FINISH,  /* flush PATH.new */
    JOB_COMPACT, /* write PATH.short from PATH */
};

struct file_job {
    struct rt_work work;
    struct cache_file *f; /* NULL: freed meanwhile. Not for the pool */
    enum job_kind kind;
    const struct schema_kind *schema;
    char *path, *new_path, *whose; /* owned */
    int fd;                        /* owned; of new_path */
    size_t bytes_old, bytes;       /* of PATH, to compact; of new_path, made */
    struct cache_loaded loaded;
    cache_file_loaded_fn fn;
    void *arg;
    int r;
};

struct cache_file {
    struct rt *rt;
    const struct schema_kind *kind;
    char *path, *whose; /* owned */
    enum file_state state;
    int fd;
    size_t bytes;       /* written to fd */
    size_t bytes_short; /* of the file when it was made */
    bool whole;
    struct buf buf; /* to be written */
    struct rt_timer timer, retry;
    struct file_job *job; /* under way */
    int error;
    void (*on_retry)(void *arg); /* NULL: nobody is asked */
    void *retry_arg;
};

static void compact_check(struct cache_file *f);

static int open_new(const char *path)
{
    int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);

    return fd < 0 ? -errno : fd;
}

/* ---- jobs: the pool ---- */

/* Up to `max` bytes of the file. */
static int read_file(const char *path, size_t max, char **ret, size_t *ret_n)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    size_t n = 0;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (size_t)st.st_size > FILE_BYTES_MAX)
        return -EBADMSG;
    size_t size = MIN((size_t)st.st_size, max);
    char *p = malloc(size + 1);
    if (!p)
        return -ENOMEM;
    while (n < size) {
        ssize_t k = read(fd, p + n, size - n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    *ret = p;
    *ret_n = n;
    return 0;
}

struct load {
    struct file_job *job;
    struct arena arena;
};

static int load_one(void *arg, const struct cache_record *r)
{
    struct load *l = arg;
    struct cache_loaded *to = &l->job->loaded;
    const struct schema_desc *desc = l->job->schema->desc;
    void *msg = memset(arena_alloc(&l->arena, desc->size), 0, desc->size);
    int ret = schema_decode_pb(desc, r->object, &l->arena, msg, NULL);

    arena_fini(&l->arena);
    l->arena = (struct arena){0};
    if (ret < 0)
        return -EBADMSG;
    ARRAY_RESERVE(to->v, to->n, to->cap);
    to->v[to->n++] = *r;
    return 0;
}

static int load_work(struct file_job *j)
{
    struct load l = {.job = j};
    size_t n = 0;
    int r = read_file(j->path, FILE_BYTES_MAX, &j->loaded.bytes, &n);

    return r < 0 ? r
                 : cache_format_read((struct str){j->loaded.bytes, n}, str_z(j->whose), load_one,
                                     &l, &j->loaded.good);
}

struct compaction {
    struct file_job *job;
    struct buf buf;
};

static int compact_flush(struct compaction *c)
{
    int r = sys_write_all(c->job->fd, c->buf.data, c->buf.n);

    c->job->bytes += c->buf.n;
    buf_clear(&c->buf);
    return r;
}

static int compact_one(void *arg, const struct cache_record *r)
{
    struct compaction *c = arg;

    cache_format_set(&c->buf, r);
    return c->buf.n < BUFFER_BYTES ? 0 : compact_flush(c);
}

static int compact_work(struct file_job *j)
{
    struct compaction c = {.job = j};
    char *bytes = NULL;
    size_t n = 0, good = 0;
    int r = read_file(j->path, j->bytes_old, &bytes, &n);

    if (r == 0 && n != j->bytes_old)
        r = -EBADMSG; /* somebody else wrote to it */
    if (r == 0)
        r = j->fd = open_new(j->new_path);
    if (r >= 0) {
        cache_format_head(&c.buf, str_z(j->whose));
        r = cache_format_read((struct str){bytes, n}, str_z(j->whose), compact_one, &c, &good);
        if (r == 0 && good != n)
            r = -EBADMSG;
        cache_format_end(&c.buf);
        if (r == 0)
            r = compact_flush(&c);
        if (r == 0 && fdatasync(j->fd) < 0)
            r = -errno;
    }
    buf_fini(&c.buf);
    free(bytes);
    return r;
}

static void job_work(void *arg)
{
    struct file_job *j = arg;

    switch (j->kind) {
    case JOB_LOAD:
        j->r = load_work(j);
        break;
    case JOB_FINISH:
        j->r = fdatasync(j->fd) < 0 ? -errno : 0;
        break;
    case JOB_COMPACT:
        j->r = compact_work(j);
        break;
    }
}

/* ---- jobs: the loop ---- */

static void job_free(struct file_job *j)
{
    if (j->fd >= 0)
        close(j->fd);
    cache_loaded_fini(&j->loaded);
    free(j->path);
    free(j->new_path);
    free(j->whose);
    free(j);
}

static void fail(struct cache_file *f, int r)
{
    f->state = FILE_FAILED;
    f->error = r;
    fd_closep(&f->fd);
    buf_fini(&f->buf);
    f->buf = (struct buf){0};
    rt_timer_stop(&f->timer);
    rt_timer_start(&f->retry, RETRY);
}

static void retry(void *arg)
{
    struct cache_file *f = arg;

    if (f->job || !f->on_retry) {
        rt_timer_start(&f->retry, RETRY);
        return;
    }
    f->state = FILE_CLOSED;
    f->whole = false;
    f->bytes = f->bytes_short = 0;
    f->on_retry(f->retry_arg);
}

static void finished(struct cache_file *f, struct file_job *j)
{
    if (f->state == FILE_FAILED)
        return;
    if (j->r == 0 && rename(j->new_path, j->path) < 0)
        j->r = -errno;
    if (j->r < 0) {
        fail(f, j->r);
        return;
    }
    f->state = FILE_LIVE;
    f->error = 0;
    compact_check(f);
}

/* What was appended to the old file since. */
static int copy_tail(const char *path, size_t from, size_t n, int to)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char bytes[16384];
    int r = fd < 0 ? -errno : 0;

    while (r == 0 && n) {
        ssize_t k = pread(fd, bytes, MIN(n, sizeof(bytes)), (off_t)from);
        if (k <= 0)
            return k < 0 ? -errno : -EIO;
        r = sys_write_all(to, bytes, (size_t)k);
        from += (size_t)k;
        n -= (size_t)k;
    }
    return r;
}

static void compacted(struct cache_file *f, struct file_job *j)
{
    size_t tail = f->bytes - j->bytes_old;

    if (f->state != FILE_LIVE)
        j->r = -ECANCELED;
    if (j->r == 0)
        j->r = copy_tail(f->path, j->bytes_old, tail, j->fd);
    if (j->r == 0 && rename(j->new_path, f->path) < 0)
        j->r = -errno;
    if (j->r < 0) {
        (void)unlink(j->new_path);
        if (f->state == FILE_LIVE) /* the long one is as good; try when it is twice that */
            f->bytes_short = f->bytes;
        return;
    }
    close(f->fd);
    f->fd = j->fd;
    j->fd = -1;
    f->bytes_short = j->bytes;
    f->bytes = j->bytes + tail;
}

static void job_done(void *arg)
{
    struct file_job *j = arg;
    struct cache_file *f = j->f;

    if (!f) {
        if (j->kind == JOB_COMPACT)
            (void)unlink(j->new_path);
        job_free(j);
        return;
    }
    f->job = NULL;
    switch (j->kind) {
    case JOB_LOAD: {
        struct cache_loaded l = j->loaded;
        j->loaded = (struct cache_loaded){0};
        if (j->r < 0)
            cache_loaded_fini(&l);
        j->fn(j->arg, j->r, j->r < 0 ? NULL : &l);
        break;
    }
    case JOB_FINISH:
        finished(f, j);
        break;
    case JOB_COMPACT:
        compacted(f, j);
        break;
    }
    job_free(j);
}

static struct file_job *job_start(struct cache_file *f, enum job_kind kind)
{
    struct file_job *j = NEW(struct file_job);

    ASSERT(!f->job);
    *j = (struct file_job){
        .f = f,
        .kind = kind,
        .schema = f->kind,
        .fd = -1,
        .path = xstrdup(f->path),
        .new_path = xasprintf("%s%s", f->path, kind == JOB_COMPACT ? SHORT_SUFFIX : NEW_SUFFIX),
        .whose = xstrdup(f->whose)};
    f->job = j;
    return j;
}

static void job_send(struct file_job *j)
{
    rt_work(j->f->rt, &j->work, RT_WORK_SHORT, job_work, job_done, j);
}

static void compact_check(struct cache_file *f)
{
    if (f->state != FILE_LIVE || f->job || f->bytes < 2 * f->bytes_short + COMPACT_BYTES)
        return;
    struct file_job *j = job_start(f, JOB_COMPACT);
    j->bytes_old = f->bytes;
    job_send(j);
}

/* ---- writing ---- */

static void flush(void *arg)
{
    struct cache_file *f = arg;

    rt_timer_stop(&f->timer);
    if (!f->buf.n || f->fd < 0)
        return;
    int r = sys_write_all(f->fd, f->buf.data, f->buf.n);
    f->bytes += f->buf.n;
    buf_fini(&f->buf); /* a burst's memory goes with it */
    f->buf = (struct buf){0};
    if (r < 0)
        fail(f, r);
    else
        compact_check(f);
}

static void added(struct cache_file *f)
{
    if (f->buf.n >= BUFFER_BYTES)
        flush(f);
    else if (!rt_timer_active(&f->timer))
        rt_timer_start(&f->timer, DEBOUNCE);
}

void cache_file_begin(struct cache_file *f)
{
    char *path = xasprintf("%s" NEW_SUFFIX, f->path);

    ASSERT(f->state == FILE_CLOSED);
    f->state = FILE_NEW;
    f->fd = open_new(path);
    free(path);
    if (f->fd < 0) {
        fail(f, f->fd);
        return;
    }
    cache_format_head(&f->buf, str_z(f->whose));
}

void cache_file_resume(struct cache_file *f, size_t good)
{
    ASSERT(f->state == FILE_CLOSED);
    f->state = FILE_LIVE;
    f->fd = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (f->fd < 0 || ftruncate(f->fd, (off_t)good) < 0) { /* behind damage nothing counts */
        fail(f, -errno);
        return;
    }
    f->whole = true;
    f->bytes = f->bytes_short = good;
}

bool cache_file_is_open(const struct cache_file *f)
{
    return f->state == FILE_NEW || f->state == FILE_LIVE;
}

void cache_file_set(struct cache_file *f, const struct cache_record *r)
{
    if (!cache_file_is_open(f))
        return;
    cache_format_set(&f->buf, r);
    added(f);
}

void cache_file_delete(struct cache_file *f, struct str ns, struct str name)
{
    if (!cache_file_is_open(f))
        return;
    cache_format_delete(&f->buf, ns, name);
    added(f);
}

void cache_file_whole(struct cache_file *f)
{
    if (f->state != FILE_NEW || f->whole)
        return;
    f->whole = true;
    cache_format_end(&f->buf);
    flush(f);
    if (f->state != FILE_NEW)
        return;
    f->bytes_short = f->bytes;
    struct file_job *j = job_start(f, JOB_FINISH);
    j->fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
    job_send(j);
}

/* ---- reading ---- */

void cache_loaded_fini(struct cache_loaded *l)
{
    free(l->v);
    free(l->bytes);
    *l = (struct cache_loaded){0};
}

void cache_file_load(struct cache_file *f, cache_file_loaded_fn fn, void *arg)
{
    struct file_job *j;

    ASSERT(f->state == FILE_CLOSED);
    j = job_start(f, JOB_LOAD);
    j->fn = fn;
    j->arg = arg;
    job_send(j);
}

void cache_file_cancel_load(struct cache_file *f)
{
    ASSERT(f->job && f->job->kind == JOB_LOAD);
    f->job->f = NULL;
    f->job = NULL;
}

/* ---- life ---- */

struct cache_file *cache_file_new(struct rt *rt, const char *path, const struct schema_kind *kind,
                                  struct str whose)
{
    struct cache_file *f = NEW(struct cache_file);

    f->rt = rt;
    f->kind = kind;
    f->path = xstrdup(path);
    f->whose = str_dup(whose);
    f->fd = -1;
    rt_timer_init(&f->timer, rt, flush, f);
    rt_timer_init(&f->retry, rt, retry, f);
    return f;
}

struct cache_file *cache_file_free(struct cache_file *f, bool remove)
{
    if (!f)
        return NULL;
    char *new_path = xasprintf("%s" NEW_SUFFIX, f->path);
    bool whole_new = f->state == FILE_NEW && f->whole;
    flush(f);
    if (f->job)
        f->job->f = NULL;
    /* One that was to be flushed first takes its place without: we go on, the machine does too. */
    if (whole_new && f->state == FILE_NEW && !remove)
        (void)!rename(new_path, f->path);
    else if (f->state == FILE_NEW || remove)
        (void)unlink(new_path);
    if (remove)
        (void)unlink(f->path);
    rt_timer_stop(&f->timer);
    rt_timer_stop(&f->retry);
    fd_closep(&f->fd);
    buf_fini(&f->buf);
    free(new_path);
    free(f->path);
    free(f->whose);
    free(f);
    return NULL;
}

int cache_file_error(const struct cache_file *f)
{
    return f->error;
}

void cache_file_on_retry(struct cache_file *f, void (*fn)(void *arg), void *arg)
{
    f->on_retry = fn;
    f->retry_arg = arg;
}
