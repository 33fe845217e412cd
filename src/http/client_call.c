/* One call: made by the user, carried by a connection, answered piece by piece, and gone after its
 * one final callback. Failures are told from a task of the call's own, so that no on_error ever
 * comes from inside something the user called. */
#include "http/client_int.h"
#include "base/mem.h"

#include <stdio.h>

static void call_free(struct http_call *call)
{
    struct http_client *c = call->client;

    ASSERT(call->done && !call->conn && !call->waiting && !call->depth);
    rt_task_cancel(&call->task);
    rt_task_cancel(&call->resume);
    rt_timer_stop(&call->timer);
    if (call->on_free)
        call->on_free(call->free_arg);
    bytesq_fini(&call->out);
    buf_fini(&call->hold);
    buf_fini(&call->whole);
    arena_fini(&call->arena);
    if (call->out_congested)
        c->n_congested--;
    free(call);
    c->n_calls--;
    client_maybe_free(c);
}

static void call_leave(struct http_call *call)
{
    ASSERT(call->depth > 0);
    if (--call->depth == 0 && call->done)
        call_free(call);
}

/* ---- with its connection ---- */

void call_leave_conn(struct http_call *call)
{
    struct cconn *c = call->conn;

    ASSERT(c);
    list_remove(&call->link);
    call->conn = NULL;
    if (--c->n_calls == 0 && !c->closed) {
        c->since = rt_now(c->client->rt);
        cconn_enter(c);
        cconn_arm(c);
        cconn_leave(c);
    }
}

void call_assign(struct http_call *call, struct cconn *c)
{
    call->conn = c;
    list_push_back(&c->calls, &call->link);
    if (c->n_calls++ == 0)
        cconn_arm(c);
    c->proto->start(call);
}

static void call_enqueue(struct http_call *call, bool front)
{
    struct http_client *c = call->client;

    call->waiting = true;
    c->n_waiting++;
    if (front)
        list_push_front(&c->waiting, &call->link);
    else
        list_push_back(&c->waiting, &call->link);
    client_dispatch_later(c);
}

bool call_retry(struct http_call *call)
{
    if (call->client->dead || call->retried || call->touched || call->upgrade || call->head_done ||
        call->n_answer || !call->safe_to_retry || call->done)
        return false;
    call->retried = true;
    call->safe_to_retry = false;
    call_enqueue(call, true);
    return true;
}

/* ---- delivering ---- */

void call_fail(struct http_call *call, int err, const char *what)
{
    ASSERT(!call->conn && !call->waiting);
    if (call->done || call->err)
        return;
    call->err = err;
    snprintf(call->what, sizeof(call->what), "%s", what);
    rt_task_schedule(&call->task);
}

static void tell_end(struct http_call *call, const struct http_header *trailers, size_t n)
{
    ASSERT(!call->done);
    call->done = true;
    rt_timer_stop(&call->timer);
    call->depth++;
    call->cb.on_end(call, trailers, n, call->arg);
    call_leave(call);
}

static void call_task(void *arg)
{
    struct http_call *call = arg;

    if (call->done)
        return;
    if (call->err) {
        call->done = true;
        rt_timer_stop(&call->timer);
        call->depth++;
        call->cb.on_error(call, call->err, call->what, call->arg);
        call_leave(call);
        return;
    }
    if (call->drain_due) {
        call->drain_due = false;
        call->depth++;
        call->cb.on_drain(call, call->arg);
        call_leave(call);
    }
}

void call_head(struct http_call *call, int status, const struct http_header *headers, size_t n)
{
    call->head_done = true;
    call->status = status;
    call->final_headers = headers;
    call->n_final_headers = n;
    call->progress = rt_now(call->client->rt);
    if (!call->cb.on_head || call->done)
        return;
    call->depth++;
    call->cb.on_head(call, status, headers, n, call->arg);
    call_leave(call);
}

size_t call_data(struct http_call *call, const void *p, size_t n)
{
    call->progress = rt_now(call->client->rt);
    if (call->paused || call->hold.n) {
        buf_add(&call->hold, p, n); /* bounded: the protocol stops reading */
        return 0;
    }
    if (call->cb.on_data && !call->done) {
        call->depth++;
        call->cb.on_data(call, p, n, call->arg);
        call_leave(call);
    }
    return n;
}

void call_end(struct http_call *call, const struct http_header *trailers, size_t n)
{
    if (call->conn)
        call_leave_conn(call);
    if (call->paused || call->hold.n) {
        struct http_header *t = arena_alloc(&call->arena, sizeof(*t) * (n + 1));

        for (size_t i = 0; i < n; i++)
            t[i] = (struct http_header){arena_str(&call->arena, trailers[i].name),
                                        arena_str(&call->arena, trailers[i].value)};
        call->answer = t;
        call->n_answer = n;
        call->ended = true;
        return;
    }
    if (!call->done)
        tell_end(call, trailers, n);
}

static void call_resume(void *arg)
{
    struct http_call *call = arg;
    struct buf held = call->hold;

    if (call->paused || call->done || call->err)
        return;
    call->hold = (struct buf){0};
    call->depth++;
    if (held.n)
        (void)call_data(call, held.data, held.n);
    buf_fini(&held);
    if (!call->done && !call->paused) {
        if (call->ended)
            tell_end(call, call->answer, call->n_answer);
        else if (call->conn)
            call->conn->proto->resume(call);
    }
    call_leave(call);
}

void call_upgraded(struct http_call *call, struct rt_stream *stream)
{
    struct http_upgraded u = {
        .what = "",
        .status = call->status,
        .headers = call->final_headers,
        .n_headers = call->n_final_headers,
        .stream = stream,
    };

    ASSERT(call->upgrade && !call->conn);
    if (call->done) {
        rt_stream_close(stream, NULL, NULL);
        return;
    }
    call->done = true;
    rt_timer_stop(&call->timer);
    call->depth++;
    call->on_upgraded(&u, call->whole_arg);
    call_leave(call);
}

/* ---- timeouts ---- */

static nsec_t call_deadline(const struct http_call *call)
{
    nsec_t idle = call->idle_limit ? call->progress + call->idle_limit : 0;

    if (!idle || (call->deadline && call->deadline < idle))
        return call->deadline;
    return idle;
}

/* Ends it from our side: off its connection, nothing more comes. */
static void call_detach(struct http_call *call)
{
    struct cconn *c = call->conn;

    if (call->waiting) {
        list_remove(&call->link);
        call->waiting = false;
        call->client->n_waiting--;
    } else if (c) {
        cconn_enter(c);
        call_leave_conn(call);
        if (c->proto)
            c->proto->cancel(call, c);
        else
            cconn_close(c, -ECANCELED, "cancelled"); /* an upgrade that was still connecting */
        cconn_leave(c);
    }
}

void call_abort(struct http_call *call, int err, const char *what)
{
    if (call->done || call->err)
        return;
    call_detach(call);
    call_fail(call, err, what);
}

static void on_timer(void *arg)
{
    struct http_call *call = arg;
    nsec_t at = call_deadline(call);

    if (call->err || call->done)
        return;
    if (call->idle_limit && (call->paused || call->ended) && at != call->deadline) {
        call->progress = rt_now(call->client->rt); /* it is us who do not read */
        at = call_deadline(call);
    }
    if (at > rt_now(call->client->rt)) {
        rt_timer_start_at(&call->timer, at);
        return;
    }
    call_abort(call, -ETIMEDOUT, "no answer in time");
}

/* ---- what users call ---- */

struct http_call *http_client_request(struct http_client *c, const struct http_client_request *r,
                                      const struct http_client_callbacks *cb, void *arg)
{
    struct http_call *call = NEW(struct http_call);

    ASSERT(!c->dead && cb->on_end && cb->on_error && r->target.n && r->method.n);
    call->client = c;
    c->n_calls++;
    call->cb = *cb;
    call->arg = arg;
    list_init(&call->link);
    rt_task_init(&call->task, c->rt, call_task, call);
    rt_task_init(&call->resume, c->rt, call_resume, call);
    rt_timer_init(&call->timer, c->rt, on_timer, call);
    call->method = arena_str(&call->arena, r->method);
    call->target = arena_str(&call->arena, r->target);
    call->headers = arena_alloc(&call->arena, sizeof(*call->headers) * (r->n_headers + 1));
    call->n_headers = r->n_headers;
    for (size_t i = 0; i < r->n_headers; i++) {
        ASSERT(http_header_name_valid(r->headers[i].name));
        ASSERT(http_header_value_valid(r->headers[i].value));
        call->headers[i].name = arena_str(&call->arena, r->headers[i].name);
        call->headers[i].value = arena_str(&call->arena, r->headers[i].value);
    }
    call->body_stream = r->body_stream;
    call->out_ended = !r->body_stream;
    call->body_bytes = r->body.n;
    bytesq_push(&call->out, r->body);
    call->progress = rt_now(c->rt);
    call->idle_limit = r->idle_timeout_ms * NSEC_PER_MSEC;
    call->deadline = r->timeout_ms ? call->progress + r->timeout_ms * NSEC_PER_MSEC : 0;
    if (call_deadline(call))
        rt_timer_start_at(&call->timer, call_deadline(call));
    if (c->n_waiting >= c->opts.waiting_max)
        call_fail(call, -EBUSY, "too many requests wait for a connection");
    else
        call_enqueue(call, false);
    return call;
}

void http_call_cancel(struct http_call *call)
{
    if (call->done)
        return; /* from inside its final callback */
    call->done = true;
    call_detach(call);
    if (!call->depth)
        call_free(call);
}

void http_call_pause(struct http_call *call, bool paused)
{
    if (call->paused == paused || call->done)
        return;
    call->paused = paused;
    if (!paused)
        rt_task_schedule(&call->resume);
}

int http_call_write(struct http_call *call, struct http_bytes chunk)
{
    ASSERT(call->body_stream);
    if (call->done || call->err || call->ended || call->out_ended) {
        http_bytes_release(&chunk);
        return -EPIPE;
    }
    if (http_call_queued_bytes(call) + chunk.n > RT_STREAM_HIGH_BYTES && !call->out_congested) {
        call->out_congested = true;
        call->client->n_congested++;
    }
    if (call->conn && call->conn->proto)
        call->conn->proto->write(call, chunk);
    else
        bytesq_push(&call->out, chunk);
    return 0;
}

size_t http_call_queued_bytes(const struct http_call *call)
{
    size_t below = 0;

    if (call->conn && call->conn->stream && call->conn->proto == &h1_cproto)
        below = rt_stream_queued_bytes(call->conn->stream);
    return call->out.bytes + below;
}

void call_output_moved(struct http_call *call)
{
    if (!call->out_congested || http_call_queued_bytes(call) > RT_STREAM_LOW_BYTES)
        return;
    call->out_congested = false;
    call->client->n_congested--;
    if (call->cb.on_drain && !call->done) {
        call->drain_due = true;
        rt_task_schedule(&call->task);
    }
}

void http_call_end(struct http_call *call)
{
    if (call->done || call->out_ended)
        return;
    call->out_ended = true;
    if (call->conn && call->conn->proto)
        call->conn->proto->end(call);
}

int http_call_version(const struct http_call *call)
{
    if (!call->conn || !call->conn->proto)
        return 0;
    return call->conn->proto == &h2_cproto ? 2 : 1;
}
