/* What the fuzzers of src/http share: a simulated loop, a peer that says the input in pieces chosen
 * by its first byte, and a server that answers and reads bodies. */
#pragma once

#include "base/mem.h"
#include "http/server.h"
#include "rt/sim.h"
#include "rt/stream.h"

static inline void fuzz_ignore_data(void *arg, struct str data)
{
    (void)arg;
    (void)data;
}
static inline void fuzz_ignore_error(void *arg, int err)
{
    (void)arg;
    (void)err;
}
static const struct rt_stream_handler fuzz_peer = {.on_data = fuzz_ignore_data,
                                                   .on_error = fuzz_ignore_error};

/* Says `data` to s in pieces, letting the loop run between them, then ends. */
static inline void fuzz_say(struct rt *rt, struct rt_stream *s, const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 7, 64, 100000};
    size_t step = size ? steps[data[0] & 3] : 1;

    if (size && step == 1 && size > 2000)
        step = 16;
    rt_stream_set_handler(s, &fuzz_peer, NULL);
    rt_stream_read_start(s);
    for (size_t i = 0; i < size; i += step) {
        rt_stream_write(s, (struct str){(const char *)data + i, MIN(step, size - i)});
        rt_sim_run_for(rt, NSEC_PER_MSEC);
    }
    rt_stream_shutdown(s);
    rt_sim_run_for(rt, 100 * NSEC_PER_MSEC);
}

static inline void fuzz_on_close(struct http_request *req, void *arg)
{
    (void)arg;
    http_stream_abort(req);
}

static inline void fuzz_on_body(struct http_request *req, void *arg)
{
    (void)arg;
    http_respond_str(req, 200, "text/plain", req->body);
}

static inline void fuzz_on_piece(struct http_request *req, const void *p, size_t n, void *arg)
{
    (void)p;
    (void)arg;
    if (!n)
        http_respond_str(req, 200, NULL, STR("done"));
}

static inline void fuzz_handler(struct http_request *req, void *arg)
{
    struct str k, v, q = req->query;

    (void)arg;
    while (http_query_next(&q, &req->arena, &k, &v))
        ;
    ASSERT(req->path.n > 0);
    for (size_t i = 0; i < req->n_headers; i++)
        ASSERT(http_header_name_valid(req->headers[i].name) || req->version_major == 2);
    http_on_close(req, fuzz_on_close, NULL);
    if (req->method == HTTP_METHOD_PUT) {
        http_request_body_stream(req, fuzz_on_piece, NULL);
    } else if (req->method == HTTP_METHOD_DELETE) {
        http_respond_str(req, 200, NULL, STR("not read"));
    } else if (str_starts(req->path, STR("/stream"))) {
        (void)http_stream_start(req, 200, NULL, 0);
        (void)http_stream_write(req, HTTP_BYTES_STATIC("one"));
        http_stream_end(req);
    } else {
        http_request_body(req, 4096, fuzz_on_body, NULL);
    }
}

static inline void fuzz_server(const uint8_t *data, size_t size, const char *before)
{
    static const struct http_server_opts opts = {.head_bytes_max = 4096, .headers_max = 32};
    struct rt *rt = rt_sim_new(1, 1700000000000000);
    struct http_server *s = http_server_new(rt, &opts, fuzz_handler, NULL);
    struct rt_stream *peer, *end;

    rt_stream_pair(rt, &peer, &end);
    http_server_accept(s, end);
    rt_stream_write(peer, str_z(before));
    fuzz_say(rt, peer, data, size);
    rt_stream_close(peer, NULL, NULL);
    http_server_free(s);
    rt_sim_run_for(rt, 10 * NSEC_PER_SEC);
    rt_free(rt);
}
