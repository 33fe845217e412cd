/* Anything as SPDY/3.1 frames. */
#include "fuzz_http.h"
#include "http/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct counts {
    unsigned opens, ends, closed;
};

static int on_open(struct spdy *s, struct spdy_stream *st, const struct http_header *h, size_t n,
                   void *arg)
{
    struct counts *c = arg;

    (void)s;
    (void)h;
    if (n == 3)
        return -EINVAL;
    c->opens++;
    (void)spdy_stream_write(st, HTTP_BYTES_STATIC("hello"));
    return 0;
}

static void on_data(struct spdy_stream *st, const void *p, size_t n, void *arg)
{
    (void)arg;
    (void)spdy_stream_write(st, http_bytes_copy((struct str){p, n}));
    if (n == 5) {
        spdy_stream_pause(st, true);
        spdy_stream_pause(st, false);
    } else if (n == 6) {
        spdy_stream_reset(st);
    }
}

static void on_fin(struct spdy_stream *st, void *arg)
{
    (void)arg;
    spdy_stream_fin(st);
}

static void on_stream_close(struct spdy_stream *st, int err, void *arg)
{
    (void)st;
    (void)err;
    ((struct counts *)arg)->ends++;
}

static void on_close(struct spdy *s, int err, void *arg)
{
    (void)s;
    (void)err;
    ((struct counts *)arg)->closed++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct spdy_callbacks cb = {.on_open = on_open,
                                             .on_data = on_data,
                                             .on_fin = on_fin,
                                             .on_stream_close = on_stream_close,
                                             .on_close = on_close};
    static const struct spdy_opts opts = {.streams_max = 8, .header_bytes_max = 4096};
    struct rt *rt = rt_sim_new(1, 1700000000000000);
    struct counts c = {0};
    struct rt_stream *peer, *end;

    rt_stream_pair(rt, &peer, &end);
    spdy_new(rt, end, &opts, &cb, &c);
    fuzz_say(rt, peer, data, size);
    rt_stream_close(peer, NULL, NULL);
    rt_sim_run_for(rt, 5 * NSEC_PER_SEC);
    ASSERT(c.closed == 1 && c.opens == c.ends);
    rt_free(rt);
    return 0;
}
