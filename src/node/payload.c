/* The atomic writer of API volumes. Nothing is synced: the directory is made anew after a reboot
 * anyway. */
#include "node/payload.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "node/fsutil.h"

#define FILE_BYTES_MAX                                                                             \
    (4u << 20) /* objects are at most 1.5 MB; more on disk than this is not ours */

int payload_add(struct payload *p, struct str path, struct str data, int32_t mode,
                struct error *err)
{
    struct str rest = path, part;
    bool bad = path.n == 0 || path.p[0] == '/' || path.n > 700;
    while (str_cut(&rest, '/', &part) || part.n)
        bad |= part.n == 0 || str_is(part, "..") || part.n > 255;
    if (bad || str_starts(path, STR("..")))
        return error_set(err, REASON_BAD_REQUEST, "bad path \"%.*s\" in a volume", STR_ARG(path));
    for (size_t i = 0; i < p->n; i++)
        if (str_eq(p->v[i].path, path)) {
            p->v[i].data = data;
            p->v[i].mode = mode;
            return 0;
        }
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 16;
        struct payload_file *v = ARENA_NEW_N(p->arena, struct payload_file, cap);
        if (p->n)
            memcpy(v, p->v, p->n * sizeof(*v));
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n++] = (struct payload_file){path, data, mode};
    return 0;
}

static struct str first_part(struct str path)
{
    struct str head;
    str_cut(&path, '/', &head);
    return head;
}

static mode_t mode_of(const struct payload_file *f, int64_t gid)
{
    mode_t m = (mode_t)(f->mode & 0777);
    return gid >= 0 ? m | 0040 : m;
}

static bool same_files(const char *dir, const struct payload *p, int64_t gid)
{
    bool same = true;
    struct buf b = {0};
    for (size_t i = 0; same && i < p->n; i++) {
        struct fs_path path = fs_path("%s/..data/%.*s", dir, STR_ARG(p->v[i].path));
        struct stat st;
        buf_clear(&b);
        same = stat(path.s, &st) == 0 && (st.st_mode & 0777) == mode_of(&p->v[i], gid) &&
               fs_read(path.s, FILE_BYTES_MAX, &b) == 0 && str_eq(buf_str(&b), p->v[i].data);
    }
    buf_fini(&b);
    return same;
}

struct stale {
    const char *dir;
    const struct payload *p;
    const char *keep; /* name of the current data directory */
    bool found;       /* a link that the payload does not have */
    bool remove;
};

static int check_stale(void *arg, const char *name, unsigned char type)
{
    struct stale *s = arg;
    bool ours = false;
    if (name[0] == '.' && name[1] == '.') {
        ours = strcmp(name, "..data") == 0 || (s->keep && strcmp(name, s->keep) == 0) || !s->remove;
    } else {
        for (size_t i = 0; i < s->p->n && !ours; i++)
            ours = str_eqz(first_part(s->p->v[i].path), name);
    }
    if (ours)
        return 0;
    s->found = true;
    if (s->remove)
        (void)!fs_rm_rf(fs_path("%s/%s", s->dir, name).s);
    return 0;
}

static int write_one(const char *data_dir, const struct payload_file *f, int64_t gid)
{
    struct fs_path path = fs_path("%s/%.*s", data_dir, STR_ARG(f->path));
    for (char *s = path.s + strlen(data_dir) + 1; *s; s++) {
        if (*s != '/')
            continue;
        *s = 0;
        if (mkdir(path.s, 0755) < 0 && errno != EEXIST)
            return -errno;
        *s = '/';
    }
    int r = fs_write(path.s, f->data, 0600);
    if (r == 0 && gid >= 0 && lchown(path.s, (uid_t)-1, (gid_t)gid) < 0)
        r = -errno;
    if (r == 0 && chmod(path.s, mode_of(f, gid)) < 0)
        r = -errno;
    return r;
}

static int swap_link(const char *dir, const char *target)
{
    struct fs_path tmp = fs_path("%s/..data_tmp", dir), to = fs_path("%s/..data", dir);
    (void)unlink(tmp.s);
    if (symlink(target, tmp.s) < 0)
        return -errno;
    return rename(tmp.s, to.s) < 0 ? -errno : 0;
}

static int write_all(const char *dir, const char *name, const struct payload *p, int64_t gid)
{
    struct fs_path data = fs_path("%s/%s", dir, name);
    if (mkdir(data.s, 0755) < 0)
        return -errno;
    if (chmod(data.s, 0755) < 0)
        return -errno;
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n; i++)
        r = write_one(data.s, &p->v[i], gid);
    if (r == 0)
        r = swap_link(dir, name);
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        struct str head = first_part(p->v[i].path);
        struct fs_path link = fs_path("%s/%.*s", dir, STR_ARG(head)),
                       to = fs_path("..data/%.*s", STR_ARG(head));
        if (symlink(to.s, link.s) < 0 && errno != EEXIST)
            r = -errno;
    }
    return r;
}

int payload_write(const char *dir, const struct payload *p, int64_t gid, struct error *err)
{
    struct stale s = {.dir = dir, .p = p};
    int r = fs_each(dir, check_stale, &s);
    if (r < 0)
        return error_errno(err, -r, "cannot read %s", dir);
    if (!s.found && same_files(dir, p, gid) && fs_exists(fs_path("%s/..data", dir).s))
        return 0;
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char name[64];
    snprintf(name, sizeof(name), "..%04d_%02d_%02d_%02d_%02d_%02d.%09ld", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec);
    r = write_all(dir, name, p, gid);
    if (r < 0) {
        (void)!fs_rm_rf(fs_path("%s/%s", dir, name).s);
        return error_errno(err, -r, "cannot write %s", dir);
    }
    s.keep = name;
    s.remove = true;
    (void)!fs_each(dir, check_stale, &s);
    return 1;
}
