/* The verbs of hostbed, and the few helpers they share. Errors end the program with a line on
 * stderr: its callers are tests, for which half a host is of no use. */
#include "bed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("hostbed: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(125);
}

char *text(const char *format, ...)
{
    char *s;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&s, format, ap) < 0)
        abort();
    va_end(ap);
    return s;
}

int try_write_text(const char *path, const char *s)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, s, strlen(s));
    int r = n < 0 ? -errno : (size_t)n == strlen(s) ? 0 : -EIO;
    close(fd);
    return r;
}

void write_text(const char *path, const char *s)
{
    int r = try_write_text(path, s);
    if (r < 0)
        die("cannot write %s: %s", path, strerror(-r));
}

void make_dir(const char *path)
{
    char *p = strdup(path);
    if (!p)
        abort();
    for (char *s = p + 1;; s++) {
        if (*s && *s != '/')
            continue;
        char keep = *s;
        *s = 0;
        if (mkdir(p, 0755) < 0 && errno != EEXIST)
            die("cannot make %s: %s", p, strerror(errno));
        *s = keep;
        if (!keep)
            break;
    }
    free(p);
}

unsigned long long start_time(pid_t pid)
{
    char path[64], line[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    line[n] = 0;
    /* the second field is the name, in brackets, and may hold anything */
    char *s = strrchr(line, ')'), state = 0;
    unsigned long long start = 0;
    if (!s || sscanf(s + 1,
                     " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
                     "%llu",
                     &state, &start) != 2)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : start;
}

bool host_ref_read(const char *file, struct host_ref *ret)
{
    int pid = 0;
    unsigned long long start = 0;
    FILE *f = fopen(file, "re");
    bool good = f && fscanf(f, "%d %llu", &pid, &start) == 2 && pid > 1;
    if (f)
        fclose(f);
    *ret = (struct host_ref){.pid = pid, .start = start};
    return good && start_time(pid) == start;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*main)(int argc, char **argv);
    } verbs[] = {
        {"boot", boot_main},   {"kill", kill_main},   {"run", run_main},
        {"spawn", spawn_main}, {"relay", relay_main},
    };
    for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].main(argc - 1, argv + 1);
    die("no such verb: %s", argc > 1 ? argv[1] : "none given");
}
