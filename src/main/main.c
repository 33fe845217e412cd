/* The table of verbs. Anything davit can be asked to do on a command line is a row here. */
#include "cli/cli.h"
#include "main/parts.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static int verb_help(int argc, char **argv);

static const struct cli_verb verbs[] = {
    {"up", "a whole cluster on this machine", cli_up},
    {"down", "stop it, and take away all it made on this machine", main_down},
    {"server", "the control plane alone", main_server},
    {"agent", "one node alone", main_agent},
    {"token", "let machines join: make, list and void tokens", cli_token},
    {"keys", "list and renew the keys Secrets are encrypted with", main_keys},
    {"image", "load, list, pull and remove images", cli_image},
    {"node", "list, drain and remove machines", cli_node},
    {"debug", "show what is in the server, follow a request or an object", cli_debug},
    {"hollow", "simulated nodes, for load tests", cli_hollow},
    {"version", "print the version", cli_version},
    {"help", "print this", verb_help},
};

static int verb_help(int argc, char **argv)
{
    printf("davit runs containers on one machine or many, and keeps them as you declared them.\n\n"
           "Usage: davit VERB [options]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        printf("  %-10s %s\n", verbs[i].name, verbs[i].about);
    printf("\n`davit VERB --help` tells a verb's options. Start with: sudo davit up\n");
    return EXIT_OK;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";

    signal(SIGPIPE, SIG_IGN);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(name, verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    fprintf(stderr, "davit: no verb \"%s\"; see davit help\n", name);
    return EXIT_USAGE;
}
