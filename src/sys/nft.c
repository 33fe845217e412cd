/* libnftables keeps a context with buffers; one is kept open because making it parses tables of
 * names. Its messages go to a buffer and become the error a person reads. */
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
    X(nft_ctx_output_get_flags)                                                                    \
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

struct nft {
    struct nft_ctx *ctx; /* owned */
};

struct nft *nft_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct nft *n = NEW(struct nft);
    pthread_once(&once, lib_load);
    n->ctx = lib.nft_ctx_new(NFT_CTX_DEFAULT);
    ASSERT(n->ctx);
    lib.nft_ctx_buffer_output(n->ctx);
    lib.nft_ctx_buffer_error(n->ctx);
    lib.nft_ctx_output_set_flags(n->ctx, NFT_CTX_OUTPUT_NUMERIC_ALL | NFT_CTX_OUTPUT_STATELESS);
    return n;
}

struct nft *nft_free(struct nft *n)
{
    if (n) {
        lib.nft_ctx_free(n->ctx);
        free(n);
    }
    return NULL;
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

static int run(struct nft *n, const char *commands, struct error *err)
{
    int r = lib.nft_run_cmd_from_buffer(n->ctx, commands);
    const char *text = lib.nft_ctx_get_error_buffer(n->ctx);
    return r == 0 ? 0 : nft_error(text ? text : "", err);
}

int nft_run(struct nft *n, const char *commands, struct error *err)
{
    int r = run(n, commands, err);
    (void)lib.nft_ctx_get_output_buffer(n->ctx); /* empties it */
    return r;
}

int nft_query(struct nft *n, const char *commands, bool json, char **ret_output, struct error *err)
{
    unsigned flags = lib.nft_ctx_output_get_flags(n->ctx);
    if (json)
        lib.nft_ctx_output_set_flags(n->ctx, flags | NFT_CTX_OUTPUT_JSON);
    int r = run(n, commands, err);
    const char *out = lib.nft_ctx_get_output_buffer(n->ctx);
    if (r == 0)
        *ret_output = xstrdup(out ? out : "");
    lib.nft_ctx_output_set_flags(n->ctx, flags);
    return r;
}
