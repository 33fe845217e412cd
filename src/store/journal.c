/* A commit of LMDB writes scattered pages and flushes twice; a frame here is one sequential write
 * and one flush, ten times faster for small batches, and the database gets its pages written once
 * for thousands of writes.
 *
 *   frame   0   u32  magic
 *           4   u32  bytes of the payload
 *           8   u64  first revision
 *           16  u64  last revision
 *           24  u32  writes in it
 *           28  u32  0
 *           32  u64  checksum of the payload, salted
 *           40  u64  checksum of bytes 0..39, salted
 *           48       payload: for each write u32 key bytes, u32 value bytes (2^32-1: delete), key,
 * value then zeros up to the next multiple of 4096
 *
 * After a rewind old frames lie behind the new ones, and pieces of old payloads, which clients
 * chose, at places where a frame could start. Old frames have revisions the database holds already.
 * The pieces cannot be frames because the checksums start from a random number nobody but the
 * database file knows.
 *
 * Reading back: all frames of both files that have a sound head are collected. Those behind
 * `checked` must form a chain without holes. Only the last may have an unsound payload: the machine
 * stopped while it was written, so nobody was told that it is kept. */
#include "store/journal.h"
#include "base/mem.h"
#include "store/record.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRAME_MAGIC   0x4a767664u /* "dvvJ" */
#define FRAME_HEAD    48u
#define FRAME_ALIGN   4096u
#define VALUE_DELETED UINT32_MAX
#define FRAME_KEEP    ((size_t)4 << 20) /* a larger frame buffer is freed again */

static const char *const names[2] = {JOURNAL_FILE_0, JOURNAL_FILE_1};

struct frame {
    rev_t first, last;
    struct str payload;
    uint64_t end; /* offset of what follows it */
    uint32_t n_ops;
    uint8_t file;
    bool sound;
};

struct frames {
    struct frame *v;
    size_t n, cap;
};

/* ---- opening and reading back ---- */

int journal_open(struct journal *j, int dir_fd, uint64_t salt, rev_t checked, struct error *err)
{
    *j = (struct journal){.files = {{.fd = -1}, {.fd = -1}}, .salt = salt, .checked = checked};
    for (unsigned i = 0; i < 2; i++) {
        j->files[i].fd = openat(dir_fd, names[i], O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (j->files[i].fd < 0 && errno != ENOENT)
            return error_errno(err, errno, "cannot open %s", names[i]);
    }
    return 0;
}

void journal_close(struct journal *j)
{
    fd_closep(&j->files[0].fd);
    fd_closep(&j->files[1].fd);
    j->files[0].fd = j->files[1].fd = -1;
    buf_fini(&j->frame);
}

static bool frame_parse(const struct journal *j, const char *p, size_t room, struct frame *ret)
{
    size_t payload_bytes;

    if (room < FRAME_HEAD || record_get32(p) != FRAME_MAGIC ||
        record_get64(p + 40) != record_sum(j->salt, p, 40))
        return false;
    payload_bytes = record_get32(p + 4);
    *ret = (struct frame){.first = record_get64(p + 8),
                          .last = record_get64(p + 16),
                          .n_ops = record_get32(p + 24),
                          .payload = {p + FRAME_HEAD, payload_bytes}};
    ret->sound = payload_bytes <= room - FRAME_HEAD &&
                 record_get64(p + 32) == record_sum(j->salt, p + FRAME_HEAD, payload_bytes);
    return true;
}

/* False: what is there is not of this store. */
static bool collect(const struct journal *j, unsigned file, const char *map, size_t size,
                    struct frames *fs)
{
    size_t at = 0;
    struct frame f0;

    /* no frame of ours is written in part below the size of a sector */
    if (size >= FRAME_HEAD && record_get32(map) == FRAME_MAGIC && !frame_parse(j, map, size, &f0))
        return false;

    while (at < size) {
        struct frame f;
        if (!frame_parse(j, map + at, size - at, &f)) {
            at += FRAME_ALIGN;
            continue;
        }
        at += ALIGN_UP(FRAME_HEAD + f.payload.n, FRAME_ALIGN);
        f.file = (uint8_t)file;
        f.end = at;
        if (f.last > j->checked) {
            ARRAY_RESERVE(fs->v, fs->n, fs->cap);
            fs->v[fs->n++] = f;
        }
    }
    return true;
}

static int frame_cmp(const void *a, const void *b)
{
    const struct frame *x = a, *y = b;

    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (int)y->sound - (int)x->sound; /* the sound one first */
}

static int frame_apply(const struct frame *f, journal_fn fn, void *arg)
{
    const char *p = f->payload.p;
    size_t left = f->payload.n;

    for (uint32_t i = 0; i < f->n_ops; i++) {
        struct str key, value = STR_NONE;
        uint32_t value_bytes;
        int r;
        if (left < 8)
            return -EBADMSG;
        key = (struct str){p + 8, record_get32(p)};
        value_bytes = record_get32(p + 4);
        left -= 8;
        if (key.n > left || (value_bytes != VALUE_DELETED && value_bytes > left - key.n))
            return -EBADMSG;
        if (value_bytes != VALUE_DELETED)
            value = (struct str){key.p + key.n, value_bytes};
        p = key.p + key.n + value.n;
        left -= key.n + value.n;
        r = fn(arg, key, value);
        if (r < 0)
            return r;
    }
    return left == 0 ? 0 : -EBADMSG;
}

static int damaged(struct error *err, rev_t rev)
{
    (void)error_set(err, REASON_INTERNAL,
                    "its journal is damaged (writes from revision %llu on are missing)",
                    (unsigned long long)rev);
    return -EBADMSG;
}

static int chain(struct journal *j, struct frames *fs, journal_fn fn, void *arg, rev_t *ret_rev,
                 struct error *err)
{
    rev_t next = j->checked + 1;

    if (fs->n)
        qsort(fs->v, fs->n, sizeof(*fs->v), frame_cmp);
    for (size_t i = 0; i < fs->n; i++) {
        const struct frame *f = &fs->v[i];
        int r;
        if (f->first > next || (f->sound && f->last < f->first))
            return damaged(err, next);
        if (!f->sound)
            continue; /* cut off; if anything follows it, the next turn sees the hole */
        if (f->first < next)
            return damaged(err, f->first);
        r = frame_apply(f, fn, arg);
        if (r == -EBADMSG)
            return damaged(err, f->first);
        if (r < 0)
            return error_errno(err, r, "cannot take over the journal");
        next = f->last + 1;
        j->active = f->file; /* the next frame goes behind the newest */
        j->files[f->file].offset = MAX(j->files[f->file].offset, f->end);
        j->files[f->file].last = f->last;
    }
    *ret_rev = next - 1;
    return 0;
}

int journal_replay(struct journal *j, journal_fn fn, void *arg, rev_t *ret_rev, struct error *err)
{
    struct frames fs = {0};
    void *maps[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    struct stat st;
    int r = 0;

    for (unsigned i = 0; i < 2 && r == 0; i++) {
        if (j->files[i].fd < 0)
            continue;
        if (fstat(j->files[i].fd, &st) < 0)
            r = error_errno(err, errno, "fstat %s", names[i]);
        else if (st.st_size > 0) {
            maps[i] = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, j->files[i].fd, 0);
            if (maps[i] == MAP_FAILED) {
                maps[i] = NULL;
                r = error_errno(err, errno, "mmap %s", names[i]);
                break;
            }
            sizes[i] = (size_t)st.st_size;
            if (!collect(j, i, maps[i], sizes[i], &fs)) {
                (void)error_set(err, REASON_INTERNAL, "%s is damaged or belongs to another store",
                                names[i]);
                r = -EBADMSG;
            }
        }
    }
    if (r == 0)
        r = chain(j, &fs, fn, arg, ret_rev, err);
    for (unsigned i = 0; i < 2; i++)
        if (maps[i])
            (void)munmap(maps[i], sizes[i]);
    free(fs.v);
    return r;
}

int journal_make(struct journal *j, int dir_fd, struct error *err)
{
    bool made = false;

    for (unsigned i = 0; i < 2; i++) {
        struct journal_file *f = &j->files[i];
        if (f->fd >= 0)
            continue;
        f->fd = openat(dir_fd, names[i], O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (f->fd < 0)
            return error_errno(err, errno, "cannot make %s", names[i]);
        made = true;
    }
    if (made && fsync(dir_fd) < 0)
        return error_errno(err, errno, "fsync");
    return 0;
}

void journal_clear(struct journal *j)
{
    for (unsigned i = 0; i < 2; i++)
        if (j->files[i].fd >= 0)
            (void)!ftruncate(j->files[i].fd,
                             0); /* else they are read and skipped at the next open */
}

/* ---- writing ---- */

void journal_begin(struct journal *j)
{
    char *p;

    buf_clear(&j->frame);
    p = buf_reserve(&j->frame, FRAME_HEAD);
    memset(p, 0, FRAME_HEAD);
    j->frame.n = FRAME_HEAD;
    j->n_ops = 0;
}

void journal_add(struct journal *j, struct str key, struct str value)
{
    char head[8];

    ASSERT(value.n < VALUE_DELETED);
    record_put32(head, (uint32_t)key.n);
    record_put32(head + 4, value.p ? (uint32_t)value.n : VALUE_DELETED);
    buf_add(&j->frame, head, sizeof(head));
    buf_add_str(&j->frame, key);
    buf_add_str(&j->frame, value);
    j->n_ops++;
}

static void frame_finish(struct journal *j, rev_t first, rev_t last)
{
    size_t payload_bytes = j->frame.n - FRAME_HEAD, pad;
    char *p = j->frame.data;

    ASSERT(!j->frame.overflow && payload_bytes < UINT32_MAX && first <= last);
    record_put32(p, FRAME_MAGIC);
    record_put32(p + 4, (uint32_t)payload_bytes);
    record_put64(p + 8, first);
    record_put64(p + 16, last);
    record_put32(p + 24, j->n_ops);
    record_put64(p + 32, record_sum(j->salt, p + FRAME_HEAD, payload_bytes));
    record_put64(p + 40, record_sum(j->salt, p, 40));
    pad = ALIGN_UP(j->frame.n, FRAME_ALIGN) - j->frame.n;
    memset(buf_reserve(&j->frame, pad + 1), 0, pad);
    j->frame.n += pad;
}

static int write_all(int fd, const char *p, size_t n, uint64_t at)
{
    while (n > 0) {
        ssize_t w = pwrite(fd, p, n, (off_t)at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return w < 0 ? -errno : -ENOSPC;
        p += w;
        n -= (size_t)w;
        at += (size_t)w;
    }
    return 0;
}

int journal_commit(struct journal *j, rev_t first, rev_t last, bool *ret_unknown)
{
    static const char nothing[FRAME_HEAD];
    struct journal_file *f = &j->files[j->active];
    int r;

    frame_finish(j, first, last);
    r = write_all(f->fd, j->frame.data, j->frame.n, f->offset);
    if (r < 0) {
        struct stat st;
        /* what was written may be the whole frame but for some zeros: make sure that it is none */
        if (fstat(f->fd, &st) < 0 || ((uint64_t)st.st_size > f->offset &&
                                      write_all(f->fd, nothing, sizeof(nothing), f->offset) < 0))
            *ret_unknown = true;
    } else if (fdatasync(f->fd) < 0) {
        /* the kernel may have dropped the pages, or written them */
        r = -errno;
        *ret_unknown = true;
    } else {
        f->offset += j->frame.n;
        f->last = last;
    }
    if (j->frame.cap > FRAME_KEEP)
        buf_fini(&j->frame);
    return r;
}

/* ---- reuse ---- */

static void rewind_if_free(struct journal *j, struct journal_file *f)
{
    if (f->last && f->last <= j->checked) {
        f->offset = 0;
        f->last = 0;
    }
}

void journal_checked(struct journal *j, rev_t rev)
{
    ASSERT(rev >= j->checked);
    j->checked = rev;
    rewind_if_free(j, &j->files[0]);
    rewind_if_free(j, &j->files[1]);
}

bool journal_try_switch(struct journal *j)
{
    if (j->files[!j->active].offset)
        return false;
    j->active = !j->active;
    return true;
}

bool journal_wipe_free(struct journal *j, unsigned i)
{
    return !j->files[i].offset && ftruncate(j->files[i].fd, 0) == 0;
}

uint64_t journal_active_bytes(const struct journal *j)
{
    return j->files[j->active].offset;
}
