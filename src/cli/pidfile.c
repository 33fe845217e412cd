/* Open-file-description locks: released by the kernel on any death, and F_OFD_GETLK tells without
 * taking it. The pid is read from the file, since OFD locks do not name their holder. */
#include "cli/pidfile.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

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
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fd < 0)
        return error_errno(err, errno, "cannot open %s", path);
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            return error_errno(err, errno, "cannot lock %s", path);
        return error_set(err, REASON_TOO_MANY_REQUESTS,
                         "a davit %s with this data directory runs already (pid %d)", name,
                         (int)pid_read(fd));
    }
    if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
        return error_errno(err, errno, "cannot write %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

pid_t pidfile_owner(const char *dir, const char *name)
{
    CLEANUP(freep) char *path = xasprintf("%s/%s.pid", dir, name);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return 0;
    return MAX(pid_read(fd), 0);
}
