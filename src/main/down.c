/* `davit down`: stops what runs on a data directory and takes away what davit made on this machine.
 * What was declared, and the images, stay in the directory: `davit up` brings it all back; removing
 * the directory removes the rest. */
#include "main/parts.h"

#include "base/log.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/paths.h"
#include "cli/pidfile.h"
#include "net/net.h"
#include "node/node.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define STOP_POLL_MSEC 10
#define STOP_TRIES     1500 /* 15 s: longer than any of the parts may take */

static void sleep_msec(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

/* Ends the process that holds the pid file: asks, waits, and then does not ask. */
static int part_stop(const struct data_dir *dir, const char *name, struct error *err)
{
    pid_t pid = pidfile_owner(dir->run, name);

    if (!pid)
        return 0;
    if (kill(pid, SIGTERM) < 0 && errno != ESRCH)
        return error_errno(err, errno, "cannot stop the %s (pid %d)", name, (int)pid);
    for (int i = 0; i < STOP_TRIES; i++) {
        if (pidfile_owner(dir->run, name) != pid)
            return 0;
        sleep_msec(STOP_POLL_MSEC);
    }
    if (kill(pid, SIGKILL) < 0 && errno != ESRCH)
        return error_errno(err, errno, "cannot kill the %s (pid %d)", name, (int)pid);
    for (int i = 0; i < 100 && pidfile_owner(dir->run, name) == pid; i++)
        sleep_msec(STOP_POLL_MSEC);
    return 0;
}

static int down(const char *path, struct error *err)
{
    static const char *const parts[] = {"up", "agent", "server"};
    struct data_dir dir;
    int r;

    if (access(path, F_OK) < 0 && errno == ENOENT) {
        printf("nothing there: %s does not exist\n", path);
        return 0;
    }
    r = data_dir_open(&dir, path, false, err);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(parts); i++)
        r = part_stop(&dir, parts[i], err);
    if (r == 0)
        r = node_purge(dir.root, true, err);
    if (r == 0)
        r = net_purge(dir.root, err);
    if (r == 0)
        printf("down; what was declared is kept in %s\n", dir.root);
    data_dir_fini(&dir);
    return r;
}

int main_down(int argc, char **argv)
{
    const char *data_dir = DATA_DIR_DEFAULT;
    const struct cli_opt opts[] = {
        {"data-dir", "DIR", "of the davit to stop (" DATA_DIR_DEFAULT ")", CLI_STRING, &data_dir},
    };
    struct error err = {0};
    int operands, r;

    r = cli_opts_parse("down [options]",
                       "Stops davit and its containers on this machine and removes the mounts, "
                       "interfaces, nftables rules\n"
                       "and cgroups it made. The data directory is kept.",
                       opts, ARRAY_LEN(opts), argc, argv, &operands, &err);
    if (r == 0 && operands)
        r = error_set(&err, REASON_BAD_REQUEST, "takes no operand \"%s\"", argv[1]);
    if (r != 0)
        return r > 0 ? EXIT_OK : cli_fail("down", &err, EXIT_USAGE);
    log_init("down", LOG_LEVEL_INFO);
    if (geteuid() != 0) {
        (void)error_set(&err, REASON_FORBIDDEN, "needs root, as `davit up` did");
        return cli_fail("down", &err, EXIT_FAILED);
    }
    r = down(data_dir, &err);
    return r == 0 ? EXIT_OK : cli_fail("down", &err, EXIT_FAILED);
}
