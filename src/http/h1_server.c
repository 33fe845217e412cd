/* HTTP/1.1 server: bytes in, requests out, answers back, one request of a connection at a time.
 *
 * llhttp runs strict (no leniency flag is ever set): what proxies and servers could read
 * differently is refused. The parser is paused at the end of every head and of every message, so
 * that handlers are never called from inside it; what was not parsed waits in `in`, which is
 * bounded: past READ_AHEAD the socket is not read.
 *
 *     HEAD --head complete--> handler --wants body--> BODY --message complete--+
 *       ^                        |                                             |
 *       +------ answer finished AND message complete --------------------------+
 *
 * An answer that comes before the end of the message turns the rest of the body into something to
 * drop, up to BODY_DROP_BYTES_MAX; beyond that the connection is closed behind the answer. */
#include "http/h1_server_int.h"
#include "base/mem.h"

#define READ_AHEAD(s) ((s)->opts.head_bytes_max)

/* ---- llhttp callbacks: they only gather ---- */

static int cb_url(llhttp_t *p, const char *at, size_t n)
{
    return h1_head_target(&((struct h1 *)p->data)->head, at, n);
}

static int cb_field(llhttp_t *p, const char *at, size_t n)
{
    return h1_head_name(&((struct h1 *)p->data)->head, at, n);
}

static int cb_field_end(llhttp_t *p)
{
    h1_head_name_end(&((struct h1 *)p->data)->head);
    return 0;
}

static int cb_value(llhttp_t *p, const char *at, size_t n)
{
    return h1_head_value(&((struct h1 *)p->data)->head, at, n);
}

static int cb_head_end(llhttp_t *p)
{
    struct h1 *h = p->data;

    h->head_done = true;
    return HPE_PAUSED;
}

static int cb_body(llhttp_t *p, const char *at, size_t n)
{
    struct h1 *h = p->data;

    if (!n)
        return 0;
    if (h->req->body_mode == BODY_DROP)
        h->dropped += n;
    req_body_data(h->req, at, n);
    if (h->conn->closed)
        return HPE_USER;
    return req_body_wanted(h->req) ? 0 : HPE_PAUSED;
}

static int cb_message_end(llhttp_t *p)
{
    struct h1 *h = p->data;

    h->message_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = cb_url,
    .on_header_field = cb_field,
    .on_header_field_complete = cb_field_end,
    .on_header_value = cb_value,
    .on_headers_complete = cb_head_end,
    .on_body = cb_body,
    .on_message_complete = cb_message_end,
};

static struct h1 *h1_new(struct http_conn *c);

struct h1 *h1_of(struct http_conn *c)
{
    return c->state ? c->state : h1_new(c);
}

/* ---- a complete head ---- */

static bool check_host(struct h1 *h, struct http_req *r)
{
    unsigned hosts = 0;

    for (size_t i = 0; i < r->pub.n_headers; i++) {
        if (!str_is(r->pub.headers[i].name, "host"))
            continue;
        hosts++;
        if (!r->pub.authority.p)
            r->pub.authority = r->pub.headers[i].value;
    }
    /* RFC 9112 3.2: exactly one in HTTP/1.1 */
    return hosts == 1 || (hosts == 0 && h->parser.http_minor == 0);
}

static bool check_expect(struct http_req *r)
{
    struct str e = http_request_header(&r->pub, STR("expect"));

    if (!e.p)
        return true;
    r->expect_continue = str_ieq(e, STR("100-continue")) && r->pub.version_minor >= 1;
    return str_ieq(e, STR("100-continue"));
}

/* 0, or the status to refuse it with. */
static int head_to_request(struct h1 *h, struct http_req *r)
{
    struct str target, method = str_z(llhttp_method_name((llhttp_method_t)h->parser.method));
    bool has_body;

    r->pub.version_major = h->parser.http_major;
    r->pub.version_minor = h->parser.http_minor;
    r->pub.headers = h1_head_take(&h->head, &r->pub.arena, &target);
    r->pub.n_headers = h->head.n;
    h->chunked = h->parser.flags & F_CHUNKED;
    h->keep_alive = llhttp_should_keep_alive(&h->parser);
    if (!h->chunked && (h->parser.flags & F_CONTENT_LENGTH)) {
        if (h->parser.content_length > INT64_MAX)
            return 413;
        r->pub.content_length = (int64_t)h->parser.content_length;
    }
    if (h->parser.http_major != 1 || h->parser.http_minor > 1)
        return 505;
    /* a request with a transfer coding from a peer that cannot know any (RFC 9112 6.1) */
    if (h->parser.http_minor == 0 && (h->parser.flags & F_TRANSFER_ENCODING))
        return 400;
    if (!req_set_target(r, method, target) || !check_host(h, r))
        return 400;
    if (!check_expect(r))
        return 417;
    has_body = h->chunked || r->pub.content_length > 0;
    r->expect_continue = r->expect_continue && has_body;
    r->pub.wants_upgrade = h->parser.upgrade && r->pub.method != HTTP_METHOD_CONNECT && !has_body;
    return 0;
}

static void h1_feed(struct h1 *h, struct str *data);

static void h1_begin(struct h1 *h, struct str *data)
{
    struct http_req *r = req_new(h->conn);
    int status;

    if (h->head_since)
        r->pub.started = h->head_since;
    h->head_since = 0;
    h->req = r;
    h->message_done = h->answer_done = h->sent_continue = h->streaming = false;
    h->dropped = 0;
    r->finished = true; /* nobody was told of it yet */
    status = head_to_request(h, r);
    h1_head_clear(&h->head); /* trailers gather there next; they are checked and not used */
    if (status) {
        h1_refuse(h, status, "this request cannot be understood");
        return;
    }
    h->last = !h->keep_alive || h->conn->draining;
    if (!h->chunked && r->pub.content_length <= 0)
        h1_feed(h, data); /* to the end of the message */
    if (h->conn->closed)
        return;
    r->finished = false;
    if (h->message_done)
        r->body_ended = true;
    req_call_handler(r);
}

/* ---- the parser ---- */

/* Runs llhttp until it needs more or pauses; *data is what is left. Errors end the connection. */
static void h1_feed(struct h1 *h, struct str *data)
{
    bool had_body_end = h->message_done;
    llhttp_errno_t e;
    const char *pos;

    e = llhttp_execute(&h->parser, data->p ? data->p : "", data->n);
    if (h->conn->closed)
        return;
    if (e == HPE_OK) {
        data->n = 0;
        return;
    }
    if (e == HPE_PAUSED || e == HPE_PAUSED_UPGRADE) {
        pos = llhttp_get_error_pos(&h->parser);
        if (data->n)
            *data = str_sub(*data, (size_t)(pos - data->p), data->n);
        h->poke = h->req && !h->message_done; /* in a body: its end may need no more bytes */
        if (e == HPE_PAUSED)
            llhttp_resume(&h->parser);
        else
            llhttp_resume_after_upgrade(&h->parser);
        return;
    }
    ASSERT(!had_body_end);
    if (h->head.error)
        h1_refuse(h, h->head.error, "the request line or a header is too long");
    else if (e == HPE_INVALID_VERSION && (h->parser.http_major != 1 || h->parser.http_minor > 1))
        h1_refuse(h, 505, "HTTP version");
    else
        h1_refuse(h, 400, llhttp_get_error_reason(&h->parser));
}

/* The message and its answer are both done. */
static void h1_next(struct h1 *h)
{
    struct http_req *r = h->req;

    h->req = NULL;
    h1_head_clear(&h->head);
    h->head_done = h->poke = false;
    h->message_done = h->answer_done = h->streaming = false;
    req_detach(r);
    if (h->last || h->conn->draining)
        conn_finish(h->conn);
}

/* True when there is something to do for it with the bytes at hand. */
static bool h1_step(struct h1 *h, struct str *data)
{
    struct http_req *r = h->req;

    if (!r) {
        if (!data->n && !h->head_done)
            return false;
        if (!h->head_since)
            h->head_since = rt_now(h->conn->server->rt);
        h1_feed(h, data);
        if (!h->conn->closed && h->head_done)
            h1_begin(h, data);
        return true;
    }
    if (h->answer_done && h->message_done) {
        h1_next(h);
        return true;
    }
    if (h->answer_done && r->body_mode != BODY_DROP)
        r->body_mode = BODY_DROP;
    if (h->message_done || !req_body_wanted(r) || (!data->n && !h->poke))
        return false;
    if (h->dropped > BODY_DROP_BYTES_MAX) {
        conn_finish(h->conn);
        return false;
    }
    h->poke = false;
    h1_feed(h, data);
    if (!h->conn->closed && h->message_done) {
        if (r->body_mode == BODY_DROP)
            r->body_ended = true;
        else
            req_body_end(r);
    }
    return true;
}

static void h1_keep(struct h1 *h, struct str rest)
{
    struct http_conn *c = h->conn;

    if (c->closed)
        return;
    if (h->in.n && rest.n && rest.p >= h->in.data && rest.p <= h->in.data + h->in.n) {
        h->in_off = (size_t)(rest.p - h->in.data);
    } else {
        buf_clear(&h->in);
        h->in_off = 0;
        if (rest.n)
            buf_add_str(&h->in, rest);
    }
    if (h->in.n - h->in_off > READ_AHEAD(c->server))
        rt_stream_read_stop(c->stream);
    else if (!h->eof)
        rt_stream_read_start(c->stream);
    if (!h->in.n && h->in.cap > 16384)
        buf_fini(&h->in);
}

static void h1_run(struct h1 *h, struct str data)
{
    ASSERT(!h->cur);
    conn_enter(h->conn);
    h->cur = &data;
    while (!h->conn->closed && h1_step(h, &data))
        ;
    h->cur = NULL;
    h1_keep(h, data);
    if (!h->conn->closed && h->eof) {
        /* half closed: a whole request is still answered, anything else has ended */
        if (h->streaming)
            conn_close(h->conn);
        else if (!h->req || !h->message_done)
            conn_finish(h->conn);
        else
            h->last = true;
    }
    conn_leave(h->conn);
}

struct str h1_kept(const struct h1 *h)
{
    return str_sub(buf_str(&h->in), h->in_off, h->in.n);
}

static void h1_run_kept(struct h1 *h)
{
    h1_run(h, h1_kept(h));
}

static void h1_task(void *arg)
{
    struct h1 *h = arg;

    if (!h->conn->closed)
        h1_run_kept(h);
}

void h1_later(struct h1 *h)
{
    if (!h->cur)
        rt_task_schedule(&h->task);
}

static void h1_data(struct http_conn *c, struct str data)
{
    struct h1 *h = h1_of(c);

    if (h->in.n > h->in_off) {
        if (h->in_off) {
            buf_consume(&h->in, h->in_off);
            h->in_off = 0;
        }
        buf_add_str(&h->in, data);
        h1_run_kept(h);
    } else {
        buf_clear(&h->in);
        h->in_off = 0;
        h1_run(h, data);
    }
}

static void h1_eof(struct http_conn *c)
{
    struct h1 *h = h1_of(c);

    h->eof = true;
    h1_run_kept(h);
}

static struct h1 *h1_new(struct http_conn *c)
{
    struct h1 *h = NEW(struct h1);

    c->state = h;
    h->conn = c;
    llhttp_init(&h->parser, HTTP_REQUEST, &settings);
    h->parser.data = h;
    h->head.bytes_max = c->server->opts.head_bytes_max;
    h->head.fields_max = c->server->opts.headers_max;
    rt_task_init(&h->task, c->server->rt, h1_task, h);
    return h;
}

static void h1_free(struct http_conn *c)
{
    struct h1 *h = c->state;

    if (!h)
        return;
    rt_task_cancel(&h->task);
    h1_head_fini(&h->head);
    buf_fini(&h->in);
    buf_fini(&h->out);
    free(h);
}

/* ---- what the server asks ---- */

static void h1_drain(struct http_conn *c)
{
    struct h1 *h = h1_of(c);

    if (h->req)
        req_output_moved(h->req);
}

static void h1_check(struct http_conn *c, nsec_t now)
{
    struct h1 *h = h1_of(c);
    const struct http_server_opts *o = &c->server->opts;
    struct http_req *r = h->req;

    if (!r) {
        nsec_t fresh = MIN(o->head_timeout_ms, o->idle_timeout_ms) * NSEC_PER_MSEC;
        nsec_t idle = c->written ? o->idle_timeout_ms * NSEC_PER_MSEC : fresh;

        if (h->head_since && now - h->head_since > o->head_timeout_ms * NSEC_PER_MSEC) {
            c->server->stats.timeouts++;
            h1_refuse(h, 408, "the request head did not arrive in time");
        } else if (!h->head_since && c->idle_since && now - c->idle_since > idle) {
            c->server->stats.timeouts++;
            conn_finish(c);
        }
        return;
    }
    if (!h->message_done && (r->body_mode == BODY_BUFFER || r->body_mode == BODY_DROP) &&
        now - r->body_progress > o->body_timeout_ms * NSEC_PER_MSEC) {
        c->server->stats.timeouts++;
        if (h->answer_done)
            conn_finish(c);
        else if (h->streaming)
            conn_close(c);
        else
            h1_refuse(h, 408, "the request body did not arrive in time");
    }
}

static void h1_shutdown(struct http_conn *c)
{
    struct h1 *h = h1_of(c);

    h->last = true;
    if (!h->req && !h->head_since)
        conn_finish(c);
}

const struct http_proto h1_proto = {
    .data = h1_data,
    .eof = h1_eof,
    .drain = h1_drain,
    .check = h1_check,
    .shutdown = h1_shutdown,
    .free = h1_free,
    .body_want = h1_body_want,
    .head = h1_head,
    .write = h1_write,
    .end = h1_end,
    .abort = h1_abort,
    .queued = h1_queued,
    .refuse = h1_req_refuse,
};
