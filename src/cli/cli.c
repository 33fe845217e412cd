/* What all verbs share: how failures look and how a part says that it is up. */
#include "cli/cli.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

int cli_fail(const char *verb, struct error *err, int code)
{
    fprintf(stderr, "davit %s: %.*s\n", verb, STR_ARG(err->message));
    error_fini(err);
    return code;
}

void cli_default_node_name(char *ret, size_t size)
{
    ASSERT(size > 10);
    if (gethostname(ret, size) < 0 || !ret[0])
        snprintf(ret, size, "localhost");
    ret[size - 1] = '\0';
    for (char *p = ret; *p; p++)
        *p = (char)(isalnum((unsigned char)*p) || *p == '.' || *p == '-' ? tolower((unsigned char)*p) : '-');
}

void cli_notify_ready(int fd, const char *text)
{
    if (fd < 0)
        return;
    if (dprintf(fd, "%s\n", text) < 0) { /* the supervisor has gone; we go on without it */
    }
    close(fd);
}

int cli_version(int argc, char **argv)
{
    printf("davit %s\n", DAVIT_VERSION);
    return EXIT_OK;
}
