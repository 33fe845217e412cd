/* The state is text for people, in sections; a program reads /metrics. Each list is cut at
 * LINES_MAX, so a dump of a busy server costs the core thread a millisecond or two. The core's part
 * is made there and comes back with the call, the I/O threads' part is read from counters and under
 * the locks of their queues. */
#include "apiserver/front/debug.h"

#include <stdarg.h>
#include <stdio.h>

#include "apiserver/call_trace.h"

#define PREFIX    "/debug/davit/"
#define LINES_MAX 500 /* of one section */

const char *call_subject(const struct api_call *c, char *out, size_t n)
{
    char res[256];
    if (!c->kind) {
        snprintf(out, n, "%.*s", STR_ARG(c->path));
        return out;
    }
    struct str name = c->name;
    if (!name.n && c->body && c->body_desc == c->kind->desc)
        name = ((const struct api_object_meta *)c->body)->name;
    snprintf(out, n, "%s%s%.*s%s%.*s%s%.*s", kind_resource(c->kind, res, sizeof(res)),
             c->ns.n ? "/" : "", STR_ARG(c->ns), name.n ? "/" : "", STR_ARG(name),
             c->subresource.n ? "/" : "", STR_ARG(c->subresource));
    return out;
}

void call_trace_write(const struct api_call *c, const char *fmt, ...)
{
    char text[512], subject[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    trace_write(__FILE__, __LINE__, "call %.*s %s %s by %.*s: %s", STR_ARG(c->id),
                api_call_verb_text(c), call_subject(c, subject, sizeof(subject)),
                STR_ARG(c->user.name), text);
}

bool debug_known(struct str path)
{
    return str_is(path, PREFIX "state") || str_is(path, PREFIX "trace");
}

/* ---- core thread ---- */

static void print_calls(struct apiserver *s, struct buf *out)
{
    struct api_call *c;
    unsigned n = 0, shown = 0;
    LIST_FOR_EACH (c, &s->calls, link)
        n++;
    buf_printf(out, "\ncalls in the core: %u\n", n);
    LIST_FOR_EACH (c, &s->calls, link) {
        char subject[700];
        if (shown++ == LINES_MAX)
            break;
        buf_printf(out, "  %.*s %s %s by %.*s, %lld ms\n", STR_ARG(c->id), api_call_verb_text(c),
                   call_subject(c, subject, sizeof(subject)), STR_ARG(c->user.name),
                   (long long)((rt_now(s->rt) - c->started) / NSEC_PER_MSEC));
    }
}

static void print_store(struct apiserver *s, struct buf *out)
{
    struct store_stats st;
    struct rt_stats loop = rt_stats(s->rt);
    store_stats(s->store, &st);
    buf_printf(out,
               "store: revision %llu, oldest for watches %llu, %llu objects of %llu KB, %llu "
               "watches; %llu writes in %llu batches, %llu pending, fsync %.3f s; window %llu KB; "
               "records nobody knows: %llu%s\n",
               (unsigned long long)store_rev(s->store), (unsigned long long)st.compacted,
               (unsigned long long)st.objects, (unsigned long long)st.object_bytes / 1024,
               (unsigned long long)st.watches, (unsigned long long)st.writes,
               (unsigned long long)st.batches, (unsigned long long)st.pending,
               (double)st.fsync_nsec / 1e9, (unsigned long long)st.window_bytes / 1024,
               (unsigned long long)st.unknown_records,
               store_failed(s->store) ? "; FAILED, writes are refused" : "");
    buf_printf(out, "core loop: %llu turns, %.3f s busy; %s%s\n", (unsigned long long)loop.turns,
               (double)loop.busy / 1e9, s->ready ? "ready" : "NOT READY",
               s->stopping ? ", stopping" : "");
    buf_add_lit(out, "\nobjects:\n");
    for (unsigned k = 0; k < _KIND_MAX; k++) {
        char res[128];
        size_t n = schema_kinds[k]->storage == k ? store_count(s->store, schema_kinds[k]) : 0;
        if (n)
            buf_printf(out, "  %-60s %zu\n", kind_resource(schema_kinds[k], res, sizeof(res)), n);
    }
}

void debug_core(struct api_call *c, struct buf *out)
{
    struct apiserver *s = c->server;
    if (!str_is(c->path, PREFIX "state"))
        return;
    print_store(s, out);
    print_calls(s, out);
    api_watches_print(s, LINES_MAX, out);
}

/* ---- I/O thread ---- */

static void print_io(struct io *io, struct buf *out)
{
    struct exchange *x;
    unsigned shown = 0;
    struct rt_stats loop = rt_stats(io->rt);
    buf_printf(out,
               "\nI/O thread %d, which answers this: %zu requests open, %zu in flight, %zu "
               "handshakes, %zu tokens known, %zu nodes connected; %llu turns, %.3f s busy\n",
               (int)(io - io->front->ios), io->n_exchanges, io->n_in_flight, io->n_handshakes,
               io->tokens.n, io->nodes.n, (unsigned long long)loop.turns, (double)loop.busy / 1e9);
    LIST_FOR_EACH (x, &io->exchanges, link) {
        if (shown++ == LINES_MAX)
            break;
        buf_printf(out, "  %.*s %.*s %.*s from %.*s, %s, %lld ms\n",
                   STR_ARG(x->call ? x->call->id : STR_NONE), STR_ARG(x->req->method_name),
                   STR_ARG(x->req->path), STR_ARG(x->req->peer_addr),
                   x->seat.state == FAIR_WAITING ? "waits for a seat"
                   : x->in_core                  ? "in the core"
                   : x->watch                    ? "watches"
                                                 : "here",
                   (long long)((rt_now(io->rt) - x->req->started) / NSEC_PER_MSEC));
    }
}

static void answer_trace(struct exchange *x)
{
    struct arena *a = &x->call->arena;
    struct str q = x->req->query, k, v, match = STR_NONE;
    uint64_t pos = 0, lost = 0;
    int64_t after = 0;
    struct buf b = {0};
    while (http_query_next(&q, a, &k, &v)) {
        if (str_is(k, "match"))
            match = v;
        else if (str_is(k, "after") && str_to_i64(v, &after) >= 0 && after > 0)
            pos = (uint64_t)after;
    }
    int r = trace_tap_read(match, &pos, &lost, &b);
    if (r < 0) {
        buf_fini(&b);
        if (r == -EBUSY)
            exchange_refuse(x, REASON_TOO_MANY_REQUESTS,
                            "%d traces are followed already; one ends %d s after it was last read",
                            TRACE_TAPS_MAX, TRACE_TAP_LEASE_S);
        else
            exchange_refuse(x, REASON_BAD_REQUEST,
                            "match: what is to be followed, of 1 to %d bytes",
                            TRACE_TAP_MATCH_BYTES);
        return;
    }
    struct http_header h[2] = {
        {STR("davit-trace-after"), arena_printf(a, "%llu", (unsigned long long)pos)},
        {STR("davit-trace-lost"), arena_printf(a, "%llu", (unsigned long long)lost)}};
    size_t n;
    char *p = buf_take(&b, &n);
    exchange_answer(x, 200, "text/plain; charset=utf-8", http_bytes_take(p, n), h, 2);
}

void debug_answer(struct exchange *x)
{
    struct buf b = {0};
    if (str_is(x->req->path, PREFIX "trace")) {
        answer_trace(x);
        return;
    }
    buf_printf(&b, "davit %s\n", DAVIT_VERSION);
    trace_taps_print(&b);
    buf_add(&b, x->call->reply.message, (size_t)x->call->reply.remaining);
    print_io(x->io, &b);
    discovery_print(x->io->front->discovery, &b);
    buf_add_lit(&b, "\npriority and fairness:\n");
    flow_dump_levels(x, &b);
    exchange_answer_buf(x, 200, "text/plain; charset=utf-8", &b);
}
