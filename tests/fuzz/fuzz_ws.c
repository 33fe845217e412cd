/* Anything as WebSocket frames, to a server's end. */
#include "fuzz_http.h"
#include "http/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_message(struct ws *ws, enum ws_opcode op, const void *p, size_t n, void *arg)
{
    (void)arg;
    ASSERT(n <= 10000);
    (void)ws_send2(ws, op, STR(""), (struct str){p, n});
    if (n == 3) {
        ws_pause(ws, true);
        ws_pause(ws, false);
    }
}

static void on_close(struct ws *ws, int code, struct str reason, int err, void *arg)
{
    (void)ws;
    (void)code;
    (void)reason;
    (void)err;
    *(struct ws **)arg = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ws_callbacks cb = {.on_message = on_message, .on_close = on_close};
    static const struct ws_opts opts = {.message_bytes_max = 10000};
    struct rt *rt = rt_sim_new(1, 1700000000000000);
    struct rt_stream *peer, *end;
    struct ws *ws;

    rt_stream_pair(rt, &peer, &end);
    ws = ws_new(rt, end, false, &opts, &cb, &ws);
    fuzz_say(rt, peer, data, size);
    rt_stream_close(peer, NULL, NULL);
    rt_sim_run_for(rt, NSEC_PER_SEC);
    ASSERT(!ws);
    rt_sim_run_for(rt, 5 * NSEC_PER_SEC);
    rt_free(rt);
    return 0;
}
