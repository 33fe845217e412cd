/* A namespace lives while a process, a descriptor or a mount refers to it. Pods need no pause
 * process because a bind mount of /proc/thread-self/ns/net does. Namespaces belong to threads, so
 * making one happens in a thread that exists only for that. */
#include "sys/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

int netns_run(int netns_fd, int (*fn)(void *arg), void *arg)
{
    CLEANUP(fd_closep) int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0)
        return -errno;
    if (setns(netns_fd, CLONE_NEWNET) < 0)
        return -errno;
    int r = fn(arg);
    if (setns(home, CLONE_NEWNET) < 0)
        ASSERT(!"cannot return to the own network namespace");
    return r;
}

struct create {
    const char *path;
    int r;
};

static void *create_thread(void *arg)
{
    struct create *c = arg;
    if (unshare(CLONE_NEWNET) < 0 ||
        mount("/proc/thread-self/ns/net", c->path, NULL, MS_BIND, NULL) < 0)
        c->r = -errno;
    return NULL;
}

int netns_open(const char *path, int *ret_fd)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return -errno;
    if (fs.f_type != NSFS_MAGIC || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
        return -EINVAL;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int netns_create(const char *path)
{
    CLEANUP(fd_closep) int old = -1;
    if (netns_open(path, &old) == 0)
        return -EEXIST;
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
    if (fd < 0)
        return -errno;
    struct create c = {.path = path};
    pthread_t t;
    int r = pthread_create(&t, NULL, create_thread, &c);
    if (r != 0)
        return -r;
    pthread_join(t, NULL);
    if (c.r < 0)
        (void)unlink(path);
    return c.r;
}

int netns_delete(const char *path)
{
    /* Several mounts may lie on top of each other after a crash between mount and record. */
    for (int i = 0; i < 16 && umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0; i++)
        ;
    if (unlink(path) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}
