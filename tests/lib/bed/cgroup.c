/* The cgroups of a host: a subtree of its own in every hierarchy of the machine, /hostbed.BED/HOST.
 * The host enters it and then makes a cgroup namespace, so that inside the subtree is all there is
 * and /proc/self/cgroup says "/". The machine's layout (v1, hybrid, v2) is mounted there as it is
 * outside, because what davit does about it is under test too. */
#include "bed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT           "/sys/fs/cgroup"
#define LEAF           "init"
#define DESTROY_ROUNDS 500 /* of 10 ms */

/* Of the options a v1 hierarchy shows, those that name it: controllers, or name=. */
static void name_options(const char *shown, char *ret, size_t size)
{
    char *copy = text("%s", shown), *state = NULL;
    ret[0] = 0;
    for (char *o = strtok_r(copy, ",", &state); o; o = strtok_r(NULL, ",", &state)) {
        static const char *const others[] = {"rw", "ro", "xattr", "noprefix", "clone_children"};
        bool skip = strncmp(o, "release_agent=", 14) == 0;
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
            skip = skip || strcmp(o, others[i]) == 0;
        size_t n = strlen(ret);
        if (!skip)
            snprintf(ret + n, size - n, "%s%s%s", n ? "," : "",
                     strncmp(o, "name=", 5) == 0 ? "none," : "", o);
    }
    free(copy);
}

void hierarchies_read(struct hierarchies *h)
{
    char line[4096];
    FILE *f = fopen("/proc/self/mountinfo", "re");
    *h = (struct hierarchies){0};
    while (f && fgets(line, sizeof(line), f)) {
        char at[PATH_SIZE], type[32], options[1024];
        char *dash = strstr(line, " - ");
        if (!dash || sscanf(line, "%*s %*s %*s %*s %511s", at) != 1 ||
            sscanf(dash, " - %31s %*s %1023s", type, options) != 2)
            continue;
        if (strncmp(type, "cgroup", 6) != 0 || strncmp(at, ROOT, sizeof(ROOT) - 1) != 0)
            continue;
        struct hierarchy one = {.v2 = strcmp(type, "cgroup2") == 0, .mount = text("%s", at)};
        one.name = at[sizeof(ROOT) - 1] ? one.mount + sizeof(ROOT) : "";
        name_options(options, one.options, sizeof(one.options));
        bool known = h->n == HIERARCHIES_MAX;
        for (unsigned i = 0; i < h->n && !known; i++)
            known = strcmp(h->v[i].mount, one.mount) == 0;
        if (!known)
            h->v[h->n++] = one;
    }
    if (f)
        fclose(f);
    if (h->n == 0)
        die("no cgroups are mounted below " ROOT);
}

/* v1's cpuset takes no process before it has CPUs and memory: those of the parent. */
static void inherit(const char *parent, const char *dir, const char *file)
{
    char value[1024];
    FILE *f = fopen(text("%s/%s", parent, file), "re");
    if (f && fgets(value, sizeof(value), f))
        (void)try_write_text(text("%s/%s", dir, file), value);
    if (f)
        fclose(f);
}

static void make_one(const struct hierarchy *h, const char *path)
{
    char *dir = text("%s", h->mount), *rest = text("%s", path), *state = NULL;
    for (char *s = strtok_r(rest, "/", &state); s; s = strtok_r(NULL, "/", &state)) {
        static const char *const wanted[] = {"+cpu", "+memory", "+pids", "+cpuset", "+io"};
        for (size_t i = 0; h->v2 && i < sizeof(wanted) / sizeof(wanted[0]); i++)
            (void)try_write_text(text("%s/cgroup.subtree_control", dir), wanted[i]);
        char *child = text("%s/%s", dir, s);
        if (mkdir(child, 0755) < 0 && errno != EEXIST)
            die("cannot make cgroup %s: %s", child, strerror(errno));
        if (strstr(h->options, "cpuset")) {
            inherit(dir, child, "cpuset.cpus");
            inherit(dir, child, "cpuset.mems");
        }
        dir = child;
    }
    if (h->v2)
        make_dir(text("%s/" LEAF, dir));
}

void cgroups_make(const struct hierarchies *h, const char *path)
{
    for (unsigned i = 0; i < h->n; i++)
        make_one(&h->v[i], path);
}

static char *procs_of(const struct hierarchy *h, const char *path, bool leaf)
{
    return text("%s%s%s/cgroup.procs", h->mount, path, leaf && h->v2 ? "/" LEAF : "");
}

void cgroups_enter(const struct hierarchies *h, const char *path, bool leaf)
{
    for (unsigned i = 0; i < h->n; i++)
        write_text(procs_of(&h->v[i], path, leaf), "0");
}

unsigned cgroups_open(const struct hierarchies *h, const char *path, int fds[HIERARCHIES_MAX])
{
    for (unsigned i = 0; i < h->n; i++) {
        char *file = procs_of(&h->v[i], path, true);
        fds[i] = open(file, O_WRONLY | O_CLOEXEC);
        if (fds[i] < 0)
            die("cannot open %s: %s", file, strerror(errno));
    }
    return h->n;
}

static void mount_v1(const struct hierarchy *h)
{
    char *at = text(ROOT "/%s", h->name);
    make_dir(at);
    if (mount("cgroup", at, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, h->options) < 0)
        die("cannot mount cgroup %s (%s): %s", at, h->options, strerror(errno));
    if (!strchr(h->name, ','))
        return;
    char *copy = text("%s", h->name), *state = NULL;
    for (char *s = strtok_r(copy, ",", &state); s; s = strtok_r(NULL, ",", &state))
        if (symlink(h->name, text(ROOT "/%s", s)) < 0 && errno != EEXIST)
            die("cannot link " ROOT "/%s: %s", s, strerror(errno));
}

void cgroups_mount(const struct hierarchies *h)
{
    bool pure = h->n == 1 && h->v[0].v2 && h->v[0].name[0] == 0;
    if (!pure && mount("tmpfs", ROOT, "tmpfs", 0, "mode=755,size=4m") < 0)
        die("cannot mount " ROOT ": %s", strerror(errno));
    for (unsigned i = 0; i < h->n; i++) {
        char *at = text(h->v[i].name[0] ? ROOT "/%s" : ROOT, h->v[i].name);
        if (!h->v[i].v2) {
            mount_v1(&h->v[i]);
            continue;
        }
        if (!pure)
            make_dir(at);
        if (mount("cgroup2", at, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
            die("cannot mount cgroup2 at %s: %s", at, strerror(errno));
    }
}

static void destroy_tree(const char *dir, int depth)
{
    FILE *f = fopen(text("%s/cgroup.procs", dir), "re");
    int pid;
    while (f && fscanf(f, "%d", &pid) == 1)
        if (pid > 1)
            kill(pid, SIGKILL);
    if (f)
        fclose(f);
    DIR *d = depth < 16 ? opendir(dir) : NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            destroy_tree(text("%s/%s", dir, e->d_name), depth + 1);
    if (d)
        closedir(d);
    rmdir(dir);
}

int cgroups_destroy(const struct hierarchies *h, const char *path)
{
    for (int round = 0; round < DESTROY_ROUNDS; round++) {
        bool left = false;
        for (unsigned i = 0; i < h->n; i++) {
            char *dir = text("%s%s", h->v[i].mount, path);
            destroy_tree(dir, 0);
            left = left || access(dir, F_OK) == 0;
        }
        if (!left)
            return 0;
        usleep(round < 10 ? 1000 : 10000);
    }
    return -EBUSY;
}
