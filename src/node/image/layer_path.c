/* Finding the place of an entry below the root. Names in an archive are hostile: absolute, full of
 * "..", or leading through symlinks that an earlier entry made. The name is cleaned lexically
 * first; then the parent is walked a component at a time, expanding links as if the root were "/";
 * what comes out has no link in it and is opened with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, so
 * that even a mistake here could not leave the root. */
#include "node/image/layer_internal.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fs.h"

#define LINKS_MAX 40 /* as the kernel's own walk */

int layer_clean_path(struct unpack *u, const char *name, struct buf *out)
{
    struct str rest = str_z(name), part;
    unsigned depth = 0;
    bool more = true;
    if (rest.n > u->limits.path_max)
        return error_set(u->err, REASON_INVALID, "layer: a path is longer than %u bytes",
                         u->limits.path_max);
    size_t start = out->n;
    while (more) {
        more = str_cut(&rest, '/', &part);
        if (part.n == 0 || str_is(part, "."))
            continue;
        if (part.n > NAME_MAX)
            return error_set(u->err, REASON_INVALID, "layer: a file name is longer than %d bytes",
                             NAME_MAX);
        if (str_is(part, "..")) {
            if (depth == 0)
                return error_set(u->err, REASON_INVALID, "layer: entry \"%.200s\" leaves the root",
                                 name);
            struct str so_far = {out->data + start, out->n - start};
            ssize_t slash = str_rfind(so_far, '/');
            out->n = start + (slash < 0 ? 0 : (size_t)slash);
            depth--;
            continue;
        }
        if (depth++ > 0)
            buf_add_char(out, '/');
        buf_add_str(out, part);
    }
    if (depth > u->limits.depth_max)
        return error_set(u->err, REASON_INVALID, "layer: a path is deeper than %u directories",
                         u->limits.depth_max);
    buf_add_char(out, '\0');
    out->n--;
    return 0;
}

void layer_forget_parent(struct unpack *u)
{
    free(u->cached_path);
    u->cached_path = NULL;
    if (u->cached_fd >= 0)
        close(u->cached_fd);
    u->cached_fd = -1;
}

struct walk {
    struct unpack *u;
    struct buf done; /* resolved so far, no links */
    struct buf todo; /* still to walk */
    unsigned links;
    bool make;
};

static void pop(struct buf *b)
{
    ssize_t slash = str_rfind(buf_str(b), '/');
    b->n = slash < 0 ? 0 : (size_t)slash;
    if (b->data)
        b->data[b->n] = '\0';
}

/* The link at done/part: its target goes in front of what is left. */
static int expand(struct walk *w, const char *path)
{
    char target[PATH_MAX + 1];
    ssize_t n = readlinkat(w->u->rootfd, path, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    if (++w->links > LINKS_MAX || (size_t)n + w->todo.n > 2 * PATH_MAX)
        return -ELOOP;
    struct buf todo = {0};
    buf_add(&todo, target, (size_t)n);
    buf_add_char(&todo, '/');
    buf_add_str(&todo, buf_str(&w->todo));
    buf_fini(&w->todo);
    w->todo = todo;
    pop(&w->done);
    if (target[0] == '/')
        buf_clear(&w->done);
    return 0;
}

static int step(struct walk *w, struct str part)
{
    struct stat st;
    size_t before = w->done.n;
    if (part.n == 0 || str_is(part, "."))
        return 0;
    if (str_is(part,
               "..")) { /* only from a link: archive names are clean; above the root is the root */
        pop(&w->done);
        return 0;
    }
    if (before)
        buf_add_char(&w->done, '/');
    buf_add_str(&w->done, part);
    if (w->done.n > PATH_MAX - 1)
        return -ENAMETOOLONG;
    /* done holds no link, so this does not follow one. */
    if (fstatat(w->u->rootfd, w->done.data, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT || !w->make)
            return -errno;
        /* The mode again, for mkdir's is cut by the umask. */
        return mkdirat(w->u->rootfd, w->done.data, 0755) < 0 ||
                       fchmodat(w->u->rootfd, w->done.data, 0755, 0) < 0
                   ? -errno
                   : 0;
    }
    if (S_ISLNK(st.st_mode))
        return expand(w, w->done.data);
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int resolve_dir(struct walk *w, struct str dir)
{
    int r = 0;
    buf_add_str(&w->todo, dir);
    while (r == 0 && w->todo.n) {
        struct str rest = buf_str(&w->todo), part;
        str_cut(&rest, '/', &part);
        char *copy = str_dup(part);
        size_t n = part.n;
        buf_consume(&w->todo, w->todo.n - rest.n);
        r = step(w, (struct str){copy, n});
        free(copy);
    }
    return r;
}

int layer_parent(struct unpack *u, const char *path, bool make, int *ret_fd, const char **ret_base)
{
    const char *slash = strrchr(path, '/');
    struct str dir = slash ? (struct str){path, (size_t)(slash - path)} : STR("");
    *ret_base = slash ? slash + 1 : path;
    if (u->cached_path && str_eq(dir, str_z(u->cached_path))) {
        *ret_fd = u->cached_fd;
        return 0;
    }
    struct walk w = {.u = u, .make = make};
    int r = resolve_dir(&w, dir);
    int fd = -1;
    if (r == 0) {
        fd = sys_open_beneath(u->rootfd, w.done.n ? w.done.data : ".", O_PATH | O_DIRECTORY, 0);
        r = fd < 0 ? fd : 0;
    }
    buf_fini(&w.done);
    buf_fini(&w.todo);
    if (r < 0)
        return r;
    layer_forget_parent(u);
    u->cached_path = str_dup(dir);
    u->cached_fd = fd;
    *ret_fd = fd;
    return 0;
}
