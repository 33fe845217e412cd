/* `davit keys ls|rotate`: the keys Secrets are encrypted with on disk. It works on the file alone:
 * a server reads it when it starts, so one that runs is not disturbed, and the new key is on the
 * disk long before anything is sealed with it. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/paths.h"
#include "main/parts.h"
#include "main/seal.h"

#include <stdio.h>
#include <string.h>

static int keys_ls(const char *dir, struct error *err)
{
    struct seal_key *keys;
    size_t n;
    int r = secret_keys_read(dir, &keys, &n, err);

    if (r == -ENOENT)
        return error_set(err, REASON_NOT_FOUND, "there is no %s/secrets.key", dir);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        char id[2 * SEAL_KEY_ID_BYTES + 1];
        seal_key_hex(&keys[i], id);
        printf("%s%s\n", id, i == 0 ? "  encrypts from the next start of the server on" : "");
    }
    secret_keys_free(keys, n);
    return 0;
}

static int keys_rotate(const char *dir, struct error *err)
{
    char id[2 * SEAL_KEY_ID_BYTES + 1];
    int r = secret_keys_rotate(dir, id, err);

    if (r == 0)
        printf("added the key %s: restart the server, which then encrypts all anew with it\n", id);
    return r;
}

int main_keys(int argc, char **argv)
{
    const char *data_dir = DATA_DIR_DEFAULT;
    const struct cli_opt opts[] = {
        {"data-dir", "DIR", "of the server (" DATA_DIR_DEFAULT ")", CLI_STRING, &data_dir},
    };
    struct data_dir dir = {0};
    struct error err = {0};
    int operands, r;

    r = cli_opts_parse(
        "keys ls|rotate [options]",
        "The keys that Secrets are encrypted with on disk (DIR/pki/secrets.key, newest "
        "first).",
        opts, ARRAY_LEN(opts), argc, argv, &operands, &err);
    if (r > 0)
        return EXIT_OK;
    bool ls = operands == 1 && strcmp(argv[1], "ls") == 0;
    if (r == 0 && !ls && (operands != 1 || strcmp(argv[1], "rotate") != 0))
        r = error_set(&err, REASON_BAD_REQUEST, "say ls or rotate");
    if (r < 0)
        return cli_fail("keys", &err, EXIT_USAGE);
    r = data_dir_open(&dir, data_dir, false, &err);
    if (r == 0)
        r = ls ? keys_ls(dir.pki, &err) : keys_rotate(dir.pki, &err);
    data_dir_fini(&dir);
    return r < 0 ? cli_fail("keys", &err, EXIT_FAILED) : EXIT_OK;
}
