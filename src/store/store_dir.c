/* The lock is flock(2) on the directory itself: it needs no file, so looking at a foreign or
 * damaged directory leaves no trace, and the kernel drops it when the process dies. The file `pid`
 * only serves the message. */
#include "store/store_dir.h"
#include "base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int locked_by_another(int fd, const char *path, struct error *err)
{
    char text[32] = "";
    CLEANUP(fd_closep) int pid_fd = openat(fd, STORE_PID_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = pid_fd >= 0 ? read(pid_fd, text, sizeof(text) - 1) : 0;
    struct str pid = str_trim((struct str){text, n > 0 ? (size_t)n : 0});
    int64_t number;

    if (str_to_i64(pid, &number) < 0)
        return error_set(err, REASON_TOO_MANY_REQUESTS,
                         "%s is in use by another davit server; stop that one first", path);
    return error_set(err, REASON_TOO_MANY_REQUESTS,
                     "%s is in use by another davit server (pid %lld); stop that one first", path,
                     (long long)number);
}

/* 1: a store; 0: empty; -EINVAL: somebody else's. */
static int look(int fd, const char *path, struct error *err)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    char foreign[NAME_MAX + 1] = "";
    struct dirent *e;

    if (!d) {
        r = error_errno(err, errno, "cannot read %s", path);
        if (copy >= 0)
            (void)close(copy);
        return r;
    }
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, STORE_DATA_FILE) == 0)
            r = 1;
        else if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
                 strcmp(e->d_name, STORE_NEW_FILE) != 0 && strcmp(e->d_name, STORE_PID_FILE) != 0)
            snprintf(foreign, sizeof(foreign), "%s", e->d_name);
    }
    (void)closedir(d);
    if (r == 0 && foreign[0])
        return error_set(
            err, REASON_BAD_REQUEST,
            "%s holds other things (%s) but no store of davit; choose another data directory, "
            "or empty this one",
            path, foreign);
    return r;
}

int store_dir_open(const char *path, int *ret_fd, bool *ret_new, struct error *err)
{
    CLEANUP(fd_closep) int fd = -1;
    int r;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "cannot make the directory %s", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "cannot open the directory %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? locked_by_another(fd, path, err)
                                    : error_errno(err, errno, "cannot lock %s", path);
    r = look(fd, path, err);
    if (r < 0)
        return r;
    *ret_new = r == 0;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

void store_dir_sign(int fd)
{
    CLEANUP(fd_closep)
    int pid_fd =
        openat(fd, STORE_PID_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (pid_fd >= 0)
        (void)!dprintf(pid_fd, "%lld\n", (long long)getpid());
}
