/* HTTP/1.1 client: one call at a time on a connection, kept alive between calls.
 *
 * llhttp runs strict here as well: an answer that could be read in two ways ends the connection.
 * Save that lines of its head may end with a bare LF, as some small servers do and RFC 9112 2.2
 * lets a recipient understand: nobody reads our answers behind us, and for requests it stays
 * forbidden. User callbacks for the head and the body come from inside the parser; when one of them
 * ends the call or pauses, the parser is stopped there and what is left waits in `in`. */
#include "http/client_int.h"
#include "base/mem.h"

#define READ_AHEAD (256 * 1024) /* held for a call that is paused */

struct h1c {
    struct cconn *conn;
    llhttp_t parser;
    struct h1_head head;
    struct buf in;          /* came while paused */
    struct buf out;         /* scratch */
    struct http_call *call; /* NULL: idle */
    bool any;               /* bytes of the answer came */
    bool poke;              /* the parser has something to say without more bytes */
    bool swallow;           /* an interim answer */
    bool message_done, chunked_out, keep_alive, in_parser, body_sent, eof;
    const struct http_header *trailers;
    size_t n_trailers;
};

static int cb_begin(llhttp_t *p)
{
    struct h1c *h = p->data;

    h1_head_clear(&h->head);
    return 0;
}

static int cb_field(llhttp_t *p, const char *at, size_t n)
{
    return h1_head_name(&((struct h1c *)p->data)->head, at, n);
}

static int cb_field_end(llhttp_t *p)
{
    h1_head_name_end(&((struct h1c *)p->data)->head);
    return 0;
}

static int cb_value(llhttp_t *p, const char *at, size_t n)
{
    return h1_head_value(&((struct h1c *)p->data)->head, at, n);
}

static int cb_head_end(llhttp_t *p)
{
    struct h1c *h = p->data;
    struct http_call *call = h->call;
    struct http_header *headers;
    size_t n = h->head.n;
    struct str reason;
    bool skip;

    h->swallow = p->status_code / 100 == 1 && p->status_code != 101;
    if (h->swallow)
        return 0;
    if (p->status_code < 100 || (p->status_code == 101 && !call->upgrade))
        return HPE_USER;
    h->keep_alive = llhttp_should_keep_alive(p);
    skip = str_is(call->method, "HEAD");
    headers = h1_head_take(&h->head, &call->arena, &reason);
    h1_head_clear(&h->head);
    call_head(call, p->status_code, headers, n);
    if (h->conn->closed || !h->call)
        return HPE_USER;
    return skip ? 1 : 0;
}

static int cb_body(llhttp_t *p, const char *at, size_t n)
{
    struct h1c *h = p->data;

    if (!n)
        return 0;
    (void)call_data(h->call, at, n);
    if (h->conn->closed || !h->call)
        return HPE_USER;
    return h->call->paused ? HPE_PAUSED : 0;
}

static int cb_message_end(llhttp_t *p)
{
    struct h1c *h = p->data;

    if (h->swallow) {
        h->swallow = false;
        return 0;
    }
    h->message_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = cb_begin,
    .on_header_field = cb_field,
    .on_header_field_complete = cb_field_end,
    .on_header_value = cb_value,
    .on_headers_complete = cb_head_end,
    .on_body = cb_body,
    .on_message_complete = cb_message_end,
};

static void h1c_open(struct cconn *c)
{
    struct h1c *h = NEW(struct h1c);

    c->state = h;
    h->conn = c;
    llhttp_init(&h->parser, HTTP_RESPONSE, &settings);
    llhttp_set_lenient_optional_cr_before_lf(&h->parser, 1);
    h->parser.data = h;
    h->head.bytes_max = c->client->opts.head_bytes_max;
    h->head.fields_max = c->client->opts.headers_max;
}

static void h1c_free(struct cconn *c)
{
    struct h1c *h = c->state;

    if (!h)
        return;
    h1_head_fini(&h->head);
    buf_fini(&h->in);
    buf_fini(&h->out);
    free(h);
}

static unsigned h1c_room(const struct cconn *c)
{
    return c->n_calls == 0 && !c->closing ? 1 : 0;
}

/* ---- sending ---- */

static void send_chunk(struct h1c *h, struct http_bytes b)
{
    struct rt_stream *s = h->conn->stream;

    if (!h->chunked_out) {
        stream_write_bytes(s, b);
        return;
    }
    if (!b.n) { /* would be read as the end */
        http_bytes_release(&b);
        return;
    }
    h1_write_chunk_head(&h->out, b.n);
    rt_stream_write_buf(s, &h->out);
    stream_write_bytes(s, b);
    rt_stream_write(s, STR("\r\n"));
}

static void h1c_end(struct http_call *call)
{
    struct h1c *h = call->conn->state;

    if (h->body_sent)
        return;
    h->body_sent = true;
    if (h->chunked_out)
        rt_stream_write(call->conn->stream, STR("0\r\n\r\n"));
}

static void h1c_write(struct http_call *call, struct http_bytes b)
{
    call->touched = true;
    send_chunk(call->conn->state, b);
}

static void write_request_head(struct h1c *h, struct http_call *call)
{
    struct buf *b = &h->out;
    bool given = http_header_get(call->headers, call->n_headers, STR("host")).p;
    bool post = str_is(call->method, "POST") || str_is(call->method, "PUT") ||
                str_is(call->method, "PATCH");

    buf_add_str(b, call->method);
    buf_add_char(b, ' ');
    buf_add_str(b, call->target);
    buf_add_lit(b, " HTTP/1.1\r\n");
    if (!given) {
        buf_add_lit(b, "host: ");
        buf_add_str(b, str_z(call->client->authority));
        buf_add_lit(b, "\r\n");
    }
    h1_write_headers(b, call->headers, call->n_headers);
    h->chunked_out = call->body_stream &&
                     !http_header_get(call->headers, call->n_headers, STR("content-length")).p;
    if (h->chunked_out) {
        buf_add_lit(b, "transfer-encoding: chunked\r\n");
    } else if (!call->body_stream && (call->body_bytes || (post && !call->upgrade))) {
        buf_add_lit(b, "content-length: ");
        buf_add_i64(b, (int64_t)call->body_bytes);
        buf_add_lit(b, "\r\n");
    }
    if (call->upgrade)
        buf_add_lit(b, "connection: Upgrade\r\n");
    buf_add_lit(b, "\r\n");
}

static void h1c_start(struct http_call *call)
{
    struct cconn *c = call->conn;
    struct h1c *h = c->state;
    struct buf body = {0};

    ASSERT(!h->call);
    h->call = call;
    h->any = h->message_done = h->body_sent = false;
    h->n_trailers = 0;
    call->safe_to_retry = c->served > 0 && !call->body_bytes && !call->body_stream &&
                          (str_is(call->method, "GET") || str_is(call->method, "HEAD"));
    write_request_head(h, call);
    rt_stream_write_buf(c->stream, &h->out);
    if (call->out.bytes) {
        size_t n;
        char *p;

        call->touched = true;
        bytesq_pop_to(&call->out, call->out.bytes, &body);
        p = buf_take(&body, &n);
        send_chunk(h, http_bytes_take(p, n));
    }
    if (call->out_ended)
        h1c_end(call);
}

/* ---- receiving ---- */

/* The answer is whole. */
static void finish_call(struct h1c *h)
{
    struct cconn *c = h->conn;
    struct http_call *call = h->call;
    struct http_header *trailers;
    size_t n = h->head.n;
    struct str none;

    trailers = h1_head_take(&h->head, &call->arena, &none);
    h1_head_clear(&h->head);
    h->call = NULL;
    h->message_done = h->poke = false;
    c->served++;
    if (!h->keep_alive || !h->body_sent)
        c->closing = true;
    call_end(call, trailers, n);
    if (!c->closed && c->closing)
        cconn_close(c, -ECONNRESET, "connection ended");
    client_dispatch_later(c->client);
}

static void switch_protocol(struct h1c *h, struct str rest)
{
    struct cconn *c = h->conn;
    struct http_call *call = h->call;
    struct rt_stream *s;

    h->call = NULL;
    if (rest.n)
        rt_stream_unread(c->stream, rest);
    s = cconn_release_stream(c);
    call_leave_conn(call); /* nothing is left of the connection: it closes */
    call_upgraded(call, s);
}

static void keep(struct h1c *h, struct str rest)
{
    if (rest.n && rest.p >= h->in.data && h->in.n && rest.p <= h->in.data + h->in.n) {
        buf_consume(&h->in, (size_t)(rest.p - h->in.data));
    } else {
        buf_clear(&h->in);
        buf_add_str(&h->in, rest);
    }
}

static void h1c_run(struct h1c *h, struct str data)
{
    struct cconn *c = h->conn;

    while (!c->closed && (data.n || h->poke) && h->call && !h->call->paused) {
        llhttp_errno_t e;

        h->poke = false;
        h->any = true;
        h->in_parser = true;
        e = llhttp_execute(&h->parser, data.p ? data.p : "", data.n);
        h->in_parser = false;
        if (c->closed)
            return;
        if (e == HPE_OK) {
            data.n = 0;
            break;
        }
        if (e != HPE_PAUSED && e != HPE_PAUSED_UPGRADE) {
            const char *why = llhttp_get_error_reason(&h->parser);

            if (h->head.error)
                why = "answer with an oversized head";
            cconn_close(c, -EPROTO, why && *why ? why : "not an HTTP answer");
            return;
        }
        if (data.n)
            data = str_sub(data, (size_t)(llhttp_get_error_pos(&h->parser) - data.p), data.n);
        h->poke = !h->message_done; /* in a body: what follows may need no more bytes */
        if (e == HPE_PAUSED)
            llhttp_resume(&h->parser);
        else
            llhttp_resume_after_upgrade(&h->parser);
        if (h->message_done && h->call && h->call->status == 101) {
            switch_protocol(h, data);
            return;
        }
        if (h->message_done)
            finish_call(h);
    }
    if (c->closed)
        return;
    if (data.n && !h->call) { /* bytes nobody asked for (RFC 9112 9.2) */
        cconn_close(c, -EPROTO, "unexpected bytes behind the answer");
        return;
    }
    keep(h, data);
    if (h->in.n > READ_AHEAD || (h->call && h->call->paused))
        rt_stream_read_stop(c->stream);
    else if (!h->eof)
        rt_stream_read_start(c->stream);
}

static void h1c_data(struct cconn *c, struct str data)
{
    struct h1c *h = c->state;

    if (h->in.n) {
        buf_add_str(&h->in, data);
        data = buf_str(&h->in);
    }
    h1c_run(h, data);
}

static void h1c_eof(struct cconn *c)
{
    struct h1c *h = c->state;

    h->eof = true;
    /* a body without a length ends here (RFC 9112 6.3) */
    if (h->call && h->call->head_done && llhttp_message_needs_eof(&h->parser) &&
        llhttp_finish(&h->parser) != HPE_USER && h->message_done) {
        h->keep_alive = false;
        finish_call(h);
        return;
    }
    if (h->call && h->any)
        h->call->safe_to_retry = false;
    cconn_close(c, -ECONNRESET, "the server closed the connection");
}

static void h1c_drain(struct cconn *c)
{
    struct h1c *h = c->state;

    if (h->call)
        call_output_moved(h->call);
}

static void h1c_cancel(struct http_call *call, struct cconn *c)
{
    struct h1c *h = c->state;

    if (h->call != call)
        return;
    h->call = NULL;
    cconn_close(c, -ECANCELED, "cancelled");
}

static void h1c_resume(struct http_call *call)
{
    struct cconn *c = call->conn;
    struct h1c *h = c->state;

    if (h->in_parser)
        return;
    cconn_enter(c);
    h1c_run(h, buf_str(&h->in));
    cconn_leave(c);
}

const struct cproto h1_cproto = {
    .open = h1c_open,
    .data = h1c_data,
    .eof = h1c_eof,
    .drain = h1c_drain,
    .free = h1c_free,
    .room = h1c_room,
    .start = h1c_start,
    .write = h1c_write,
    .end = h1c_end,
    .cancel = h1c_cancel,
    .resume = h1c_resume,
};
