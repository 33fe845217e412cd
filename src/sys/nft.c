/* A context of libnftables lives as long as one command. It would keep what it read of the kernel's
 * tables until the next one, with hash tables of 640 KB for each of them, while making a new one
 * costs a tenth of a millisecond. Its messages go to a buffer and become the error a person reads.
 */
#include "sys/nft.h"

#include <nftables/libnftables.h>
#include <pthread.h>

#include "base/dl.h"
#include "base/mem.h"

#define NFT_FUNCTIONS(X)                                                                           \
    X(nft_ctx_buffer_error)                                                                        \
    X(nft_ctx_buffer_output)                                                                       \
    X(nft_ctx_free)                                                                                \
    X(nft_ctx_get_error_buffer)                                                                    \
    X(nft_ctx_get_output_buffer)                                                                   \
    X(nft_ctx_new)                                                                                 \
    X(nft_ctx_output_set_flags)                                                                    \
    X(nft_run_cmd_from_buffer)

/* Loaded when first needed: the server and the tools do without. */
static struct {
#define X(f) typeof(f) *f;
    NFT_FUNCTIONS(X)
#undef X
} lib;

static void lib_load(void)
{
    static const struct dl_symbol symbols[] = {
#define X(f) {#f, (void **)&lib.f},
        NFT_FUNCTIONS(X)
#undef X
    };

    dl_need("libnftables.so.1", symbols, ARRAY_LEN(symbols));
}

static struct nft_ctx *context_new(unsigned more_flags)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, lib_load);
    struct nft_ctx *ctx = lib.nft_ctx_new(NFT_CTX_DEFAULT);
    ASSERT(ctx);
    lib.nft_ctx_buffer_output(ctx);
    lib.nft_ctx_buffer_error(ctx);
    lib.nft_ctx_output_set_flags(ctx, NFT_CTX_OUTPUT_NUMERIC_ALL | NFT_CTX_OUTPUT_STATELESS |
                                          more_flags);
    return ctx;
}

/* The first line says what, the second repeats the command. */
static int nft_error(const char *text, struct error *err)
{
    struct str line = str_z(text), head;
    str_cut(&line, '\n', &head);
    ssize_t at = str_search(head, STR("Error: "));
    if (at >= 0)
        head = str_sub(head, (size_t)at + 7, head.n);
    enum error_reason reason = REASON_INTERNAL;
    if (str_search(head, STR("No such file or directory")) >= 0)
        reason = REASON_NOT_FOUND;
    else if (str_search(head, STR("File exists")) >= 0)
        reason = REASON_ALREADY_EXISTS;
    else if (str_search(head, STR("Operation not permitted")) >= 0)
        reason = REASON_FORBIDDEN;
    else if (str_search(head, STR("syntax error")) >= 0)
        reason = REASON_BAD_REQUEST;
    struct str command;
    str_cut(&line, '\n', &command);
    return error_set(err, reason, "nftables: %.*s%s%.*s", STR_ARG(head), command.n ? ": " : "",
                     (int)MIN(command.n, 200u), command.n ? command.p : "");
}

static int run(struct nft_ctx *ctx, const char *commands, struct error *err)
{
    int r = lib.nft_run_cmd_from_buffer(ctx, commands);
    const char *text = lib.nft_ctx_get_error_buffer(ctx);
    return r == 0 ? 0 : nft_error(text ? text : "", err);
}

int nft_run(const char *commands, struct error *err)
{
    struct nft_ctx *ctx = context_new(0);
    int r = run(ctx, commands, err);
    lib.nft_ctx_free(ctx);
    return r;
}

int nft_query(const char *commands, bool json, char **ret_output, struct error *err)
{
    struct nft_ctx *ctx = context_new(json ? NFT_CTX_OUTPUT_JSON : 0);
    int r = run(ctx, commands, err);
    if (r == 0) {
        const char *out = lib.nft_ctx_get_output_buffer(ctx);
        *ret_output = xstrdup(out ? out : "");
    }
    lib.nft_ctx_free(ctx);
    return r;
}
