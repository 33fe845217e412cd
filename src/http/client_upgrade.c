/* Calls built from plain calls: whole answers (fetch) and upgrades, which end with the connection's
 * stream in the caller's hands. */
#include "http/client_int.h"
#include "base/mem.h"

#define REFUSAL_BYTES_MAX (64 * 1024) /* enough for a Status */

/* ---- fetch ---- */

static void whole_data(struct http_call *call, const void *p, size_t n, void *arg)
{
    buf_add(&call->whole, p, n);
    if (call->whole.overflow)
        call_abort(call, -EFBIG, "the answer is too large");
}

static struct str whole_body(const struct http_call *call)
{
    return call->whole.n ? buf_str(&call->whole) : STR("");
}

static void fetch_end(struct http_call *call, const struct http_header *trailers, size_t n,
                      void *arg)
{
    struct http_answer a = {
        .what = "",
        .status = call->status,
        .headers = call->final_headers,
        .n_headers = call->n_final_headers,
        .body = whole_body(call),
    };

    call->on_answer(&a, call->whole_arg);
}

static void fetch_error(struct http_call *call, int err, const char *what, void *arg)
{
    struct http_answer a = {.err = err, .what = what};

    call->on_answer(&a, call->whole_arg);
}

static const struct http_client_callbacks fetch_callbacks = {
    .on_data = whole_data,
    .on_end = fetch_end,
    .on_error = fetch_error,
};

struct http_call *http_client_fetch(struct http_client *c, const struct http_client_request *r,
                                    uint64_t limit_bytes,
                                    void (*on_answer)(const struct http_answer *a, void *arg),
                                    void *arg)
{
    struct http_call *call = http_client_request(c, r, &fetch_callbacks, NULL);

    ASSERT(on_answer && limit_bytes);
    call->whole.limit_bytes = (size_t)limit_bytes;
    call->on_answer = on_answer;
    call->whole_arg = arg;
    return call;
}

/* ---- upgrade ---- */

static void refusal_data(struct http_call *call, const void *p, size_t n, void *arg)
{
    size_t room = REFUSAL_BYTES_MAX - call->whole.n;

    buf_add(&call->whole, p, MIN(n, room)); /* the rest is of no use */
}

static void upgrade_end(struct http_call *call, const struct http_header *trailers, size_t n,
                        void *arg)
{
    struct http_upgraded u = {
        .what = "",
        .status = call->status,
        .headers = call->final_headers,
        .n_headers = call->n_final_headers,
        .body = whole_body(call),
    };

    call->on_upgraded(&u, call->whole_arg);
}

static void upgrade_error(struct http_call *call, int err, const char *what, void *arg)
{
    struct http_upgraded u = {.err = err, .what = what};

    call->on_upgraded(&u, call->whole_arg);
}

static const struct http_client_callbacks upgrade_callbacks = {
    .on_data = refusal_data,
    .on_end = upgrade_end,
    .on_error = upgrade_error,
};

struct http_call *http_client_upgrade(struct http_client *c, const struct http_client_request *r,
                                      void (*on_upgraded)(const struct http_upgraded *u, void *arg),
                                      void *arg)
{
    struct http_call *call = http_client_request(c, r, &upgrade_callbacks, NULL);

    ASSERT(on_upgraded && !r->body_stream);
    ASSERT(http_header_get(r->headers, r->n_headers, STR("upgrade")).p);
    call->upgrade = true;
    call->on_upgraded = on_upgraded;
    call->whole_arg = arg;
    return call;
}
