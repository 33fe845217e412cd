/* hostbed: what tests/lib/hosts.bash cannot do in bash. A program of its own that links nothing of
 * davit: what a test stands on must not share the faults of what it tests.
 *
 *   hostbed boot   makes a host: its namespaces, mounts and cgroups, held by an init
 *   hostbed kill   power cut: every process of a host at once, and its cgroups
 *   hostbed run    a command inside a host; spawn: the same in the background
 *   hostbed relay  a link with delay
 *
 * A host leaves nothing on the machine but processes and cgroups: mounts and interfaces live in
 * namespaces that end with their last process. Its init also watches the process that owns the bed
 * and ends with it, so a test run that was killed takes its hosts along. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define HIERARCHIES_MAX 24
#define PATH_SIZE       512

/* One cgroup hierarchy of the machine. */
struct hierarchy {
    const char *mount; /* where the machine has it */
    const char *name;  /* below /sys/fs/cgroup: "memory", "cpu,cpuacct"; "": v2, all there is */
    char options[PATH_SIZE]; /* of mount(2), for v1 */
    bool v2;
};

struct hierarchies {
    struct hierarchy v[HIERARCHIES_MAX];
    unsigned n;
};

/* Where a host is found: the file boot wrote. Checked by start time, so a reused pid is no host. */
struct host_ref {
    pid_t pid;
    unsigned long long start;
};

/* ---- util.c: all of these end the program when they fail, unless said otherwise ---- */

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
__attribute__((format(printf, 1, 2))) char *text(const char *format, ...); /* owned by nobody */
void write_text(const char *path, const char *s);
int try_write_text(const char *path, const char *s); /* -errno */
void make_dir(const char *path);                     /* and its parents; may be there */
/* Start time of a process in clock ticks since boot; 0 when it is not there. */
unsigned long long start_time(pid_t pid);
bool host_ref_read(const char *file, struct host_ref *ret); /* false: no such host, or dead */

/* ---- cgroup.c; path is "/hostbed.BED/HOST" ---- */

void hierarchies_read(struct hierarchies *h);
void cgroups_make(const struct hierarchies *h, const char *path);
/* v2 allows no process beside child groups with controllers: those of a host live in a leaf. */
void cgroups_enter(const struct hierarchies *h, const char *path, bool leaf);
/* For a process that will no longer see the machine's mounts: descriptors to write "0" to. */
unsigned cgroups_open(const struct hierarchies *h, const char *path, int fds[HIERARCHIES_MAX]);
/* Inside a new cgroup namespace and on a fresh /sys: the machine's layout once more. */
void cgroups_mount(const struct hierarchies *h);
/* Kills what is left in path and below and removes it; 0, or -EBUSY after some seconds. */
int cgroups_destroy(const struct hierarchies *h, const char *path);

/* ---- one verb each ---- */

int boot_main(int argc, char **argv);
int kill_main(int argc, char **argv);
int run_main(int argc, char **argv);
int spawn_main(int argc, char **argv);
int relay_main(int argc, char **argv);
