/* Anything as a server's answer to our client: HTTP/1.1 when the first byte is even, else HTTP/2.
 */
#include "fuzz_http.h"
#include "http/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rt_stream *ends[4];
static unsigned n_ends, n_done;
static struct rt *loop;

static struct rt_stream *dial(void *arg)
{
    struct rt_stream *a, *b;

    (void)arg;
    if (n_ends == 4)
        return NULL;
    rt_stream_pair(loop, &a, &b);
    rt_stream_set_handler(b, &fuzz_peer, NULL);
    rt_stream_read_start(b);
    ends[n_ends++] = b;
    return a;
}

static void on_answer(const struct http_answer *a, void *arg)
{
    (void)arg;
    ASSERT(a->err || a->status >= 100);
    n_done++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_target t = {.host = "x", .port = 80};
    struct http_client_opts o = {.dial = dial, .conns_max = 2, .head_bytes_max = 4096};
    struct http_client_request r = {.method = STR("GET"), .target = STR("/"), .timeout_ms = 1000};
    struct http_client *c;

    n_ends = n_done = 0;
    loop = rt_sim_new(1, 1700000000000000);
    o.protocol = size && data[0] % 2 ? HTTP_CLIENT_HTTP2 : HTTP_CLIENT_HTTP1;
    c = http_client_new(loop, &t, NULL, &o);
    for (int i = 0; i < 3; i++)
        http_client_fetch(c, &r, 10000, on_answer, NULL);
    rt_sim_run_for(loop, NSEC_PER_MSEC);
    if (n_ends && size)
        fuzz_say(loop, ends[0], data + 1, size - 1);
    rt_sim_run_for(loop, 3 * NSEC_PER_SEC);
    ASSERT(n_done == 3);
    for (unsigned i = 0; i < n_ends; i++)
        rt_stream_close(ends[i], NULL, NULL);
    http_client_free(c);
    rt_sim_run_for(loop, NSEC_PER_SEC);
    rt_free(loop);
    return 0;
}
