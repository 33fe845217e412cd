/* Open-file-description locks: released by the kernel on any death, and F_OFD_GETLK tells without
 * taking it. The pid is read from the file, since OFD locks do not name their holder.
 *
 * There are two: on the first byte, that one process at a time has the file, and on the second,
 * that the pid in it is its own. Between the two the file may hold nothing, or the pid of the one
 * before; who asks then waits for the moment that takes. */
#include "cli/pidfile.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define OWNED 0 /* the bytes that are locked */
#define NAMED 1

#define NAME_TRIES     1000 /* 5 s for a write of a few bytes */
#define NAME_POLL_NSEC 5000000

static struct flock byte_lock(off_t byte)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

static bool is_locked(int fd, off_t byte)
{
    struct flock lock = byte_lock(byte);

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static pid_t pid_read(int fd)
{
    char text[24];
    int64_t pid;
    ssize_t n = pread(fd, text, sizeof(text), 0);

    if (n <= 0 || str_to_i64(str_trim((struct str){text, (size_t)n}), &pid) < 0 || pid <= 1 ||
        pid > INT32_MAX)
        return -1;
    return (pid_t)pid;
}

int pidfile_take(const char *dir, const char *name, int *ret_fd, struct error *err)
{
    CLEANUP(freep) char *path = xasprintf("%s/%s.pid", dir, name);
    CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = byte_lock(OWNED), named = byte_lock(NAMED);

    if (fd < 0)
        return error_errno(err, errno, "cannot open %s", path);
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            return error_errno(err, errno, "cannot lock %s", path);
        return error_set(err, REASON_TOO_MANY_REQUESTS,
                         "a davit %s with this data directory runs already (pid %d)", name,
                         (int)pid_read(fd));
    }
    if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0 ||
        fcntl(fd, F_OFD_SETLK, &named) < 0)
        return error_errno(err, errno, "cannot write %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

pid_t pidfile_owner(const char *dir, const char *name)
{
    CLEANUP(freep) char *path = xasprintf("%s/%s.pid", dir, name);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    const struct timespec pause = {.tv_nsec = NAME_POLL_NSEC};

    for (int i = 0; fd >= 0 && i < NAME_TRIES && is_locked(fd, OWNED); i++) {
        pid_t pid = is_locked(fd, NAMED) ? pid_read(fd) : -1;
        if (pid > 0)
            return pid;
        nanosleep(&pause, NULL);
    }
    return 0;
}
