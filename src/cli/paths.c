/* Opening a data directory. The instance file is made once and first: a directory that has things
 * in it but no such file is somebody else's and is left alone. */
#include "cli/paths.h"

#include "base/buf.h"
#include "base/mem.h"
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int mkdir_parents(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* A directory with things in it but no instance file is somebody else's. */
static bool dir_is_empty(const char *path)
{
    DIR *d = opendir(path);
    bool empty = true;

    if (!d)
        return false;
    for (struct dirent *e; empty && (e = readdir(d));)
        empty =
            strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, "lost+found") == 0 || strcmp(e->d_name, "davit.log") == 0 ||
            strncmp(e->d_name, "instance", 8) == 0; /* of one that was killed at its first start */
    closedir(d);
    return empty;
}

static const char *path_in(struct data_dir *d, const char *name)
{
    return arena_printf(&d->arena, "%s/%s", d->root, name).p;
}

static int instance_read(struct data_dir *d, const char *file)
{
    CLEANUP(fd_closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
    char text[16];
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = read(fd, text, sizeof(text));
    if (n < 0)
        return -errno;
    if (n == 0 && access(path_in(d, "pki"), F_OK) < 0)
        return -ENODATA; /* the machine stopped during the first start */
    if (n != 9 || text[8] != '\n' || strspn(text, "0123456789abcdef") != 8)
        return -EINVAL;
    memcpy(d->instance, text, 8);
    d->instance[8] = '\0';
    return 0;
}

/* Not flushed: when the machine stops now and it comes back empty, the keys are not there either
 * (they are put in place much later, and durably), and it is made again. */
static int instance_make(struct data_dir *d, const char *file)
{
    char text[sizeof(d->instance) + 1];
    uint32_t id;

    if (getrandom(&id, sizeof(id), 0) != sizeof(id))
        return -EIO;
    snprintf(d->instance, sizeof(d->instance), "%08x", id);
    snprintf(text, sizeof(text), "%s\n", d->instance);
    return sys_put_file(AT_FDCWD, file, text, strlen(text), 0600);
}

static int instance_open(struct data_dir *d, bool create, struct error *err)
{
    const char *file = path_in(d, "instance");
    int r = instance_read(d, file);

    if (r == 0)
        return 0;
    if (r != -ENOENT && r != -ENODATA)
        return error_set(err, REASON_INTERNAL,
                         "%s is damaged: it should hold 8 hex digits; nothing was touched", file);
    if (r == -ENOENT && !dir_is_empty(d->root))
        return error_set(err, REASON_BAD_REQUEST,
                         "%s holds files that are not davit's; choose another --data-dir", d->root);
    if (!create)
        return error_set(err, REASON_NOT_FOUND, "%s is no data directory of davit", d->root);
    r = instance_make(d, file);
    return r < 0 ? error_errno(err, r, "cannot write %s", file) : 0;
}

int data_dir_open(struct data_dir *d, const char *path, bool create, struct error *err)
{
    CLEANUP(freep) char *made = NULL, *real = NULL;
    int r;

    *d = (struct data_dir){0};
    if (!path[0])
        return error_set(err, REASON_BAD_REQUEST, "--data-dir must not be empty");
    made = xstrdup(path);
    if (create && (r = mkdir_parents(made)) < 0)
        return error_errno(err, r, "cannot create %s", path);
    real = realpath(path, NULL);
    if (!real)
        return error_errno(err, errno, "%s", path);
    d->root = arena_strz(&d->arena, real).p;
    r = instance_open(d, create, err);
    if (r < 0) {
        data_dir_fini(d);
        return r;
    }
    d->admin_kubeconfig = path_in(d, "admin.kubeconfig");
    d->agent_kubeconfig = path_in(d, "agent.kubeconfig");
    d->agent_cert = path_in(d, "agent.crt");
    d->agent_key = path_in(d, "agent.key");
    d->agent_join_key = path_in(d, "agent.join.key");
    d->store = path_in(d, "store");
    d->pki = path_in(d, "pki");
    d->images = path_in(d, "images");
    d->node = path_in(d, "node");
    d->net = path_in(d, "net");
    d->run = path_in(d, "run");
    d->log = path_in(d, "davit.log");
    if (create && mkdir(d->run, 0700) < 0 && errno != EEXIST) {
        r = error_errno(err, errno, "cannot create %s", d->run);
        data_dir_fini(d);
        return r;
    }
    return 0;
}

void data_dir_fini(struct data_dir *d)
{
    arena_fini(&d->arena);
    *d = (struct data_dir){0};
}
