/* /proc/sys/net shows the namespace of the thread that opens it, which is all sysctl_set_in needs.
 */
#include "sys/sysctls.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/netns.h"

static int open_knob(const char *name, int flags)
{
    if (strstr(name, "..") || name[0] == '/')
        return -EINVAL;
    char path[256];
    if (snprintf(path, sizeof(path), "/proc/sys/%s", name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int sysctl_get(const char *name, char ret[static SYSCTL_VALUE_MAX])
{
    CLEANUP(fd_closep) int fd = open_knob(name, O_RDONLY);
    if (fd < 0)
        return fd;
    ssize_t n = read(fd, ret, SYSCTL_VALUE_MAX - 1);
    if (n < 0)
        return -errno;
    while (n > 0 && (ret[n - 1] == '\n' || ret[n - 1] == ' '))
        n--;
    ret[n] = '\0';
    return 0;
}

int sysctl_set(const char *name, const char *value)
{
    CLEANUP(fd_closep) int fd = open_knob(name, O_WRONLY);
    if (fd < 0)
        return fd;
    return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

struct set {
    const char *name, *value;
};

static int set_here(void *arg)
{
    struct set *s = arg;
    return sysctl_set(s->name, s->value);
}

int sysctl_set_in(int netns_fd, const char *name, const char *value)
{
    return netns_run(netns_fd, set_here, &(struct set){name, value});
}
