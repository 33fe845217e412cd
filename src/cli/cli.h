/* Verbs of the davit program. Each is one file with one function: argv[0] is the verb's own name.
 * It returns the exit code and has told the user about every failure on stderr. */
#pragma once

#include "base/error.h"

/* Exit codes: what scripts and systemd rely on. */
#define EXIT_OK     0
#define EXIT_FAILED 1 /* tried and failed */
#define EXIT_USAGE  2 /* bad command line */

typedef int (*cli_verb_fn)(int argc, char **argv);

struct cli_verb {
    const char *name;
    const char *about;
    cli_verb_fn run;
};

/* src/cli */
int cli_up(int argc, char **argv);
int cli_image(int argc, char **argv);
int cli_hollow(int argc, char **argv);
int cli_debug(int argc, char **argv);
int cli_node(int argc, char **argv);
int cli_token(int argc, char **argv);
int cli_version(int argc, char **argv);

/* "davit VERB: message" on stderr, also the causes; releases err. Returns code. */
int cli_fail(const char *verb, struct error *err, int code);
/* The machine's host name in lower case, as a node name ("localhost" when it has none). */
void cli_default_node_name(char *ret, size_t size);
/* The address other machines reach this one by: the source address of its default route, else of
 * its first interface that is up, else 127.0.0.1. IPv4, as text. */
void cli_default_node_ip(char *ret, size_t size);
/* Writes "text\n" to the descriptor a supervisor gave by --ready-fd and closes it; nothing for -1.
 */
void cli_notify_ready(int fd, const char *text);
