/* What a SPDY peer sends: frames taken apart and acted on. Data frames are passed on as their bytes
 * come; control frames are gathered whole (they are small, and bounded). */
#include "http/spdy_int.h"
#include "base/mem.h"

static struct spdy_stream *find(struct spdy *s, uint32_t id)
{
    struct spdy_stream *st;

    LIST_FOR_EACH (st, &s->streams, link)
        if (st->id == id)
            return st;
    return NULL;
}

void spdy_see_blocked(struct spdy *s)
{
    struct spdy_stream *st;
    bool block = false;

    if (s->ended)
        return;
    LIST_FOR_EACH (st, &s->streams, link)
        block = block || st->held.n > HELD_BYTES_MAX;
    if (block && !s->blocked)
        rt_stream_read_stop(s->stream);
    else if (!block && s->blocked)
        rt_stream_read_start(s->stream);
    s->blocked = block;
}

static void take_data(struct spdy *s, const char *p, size_t n)
{
    struct spdy_stream *st = find(s, s->data_id);

    spdy_reopen(s, 0, &s->consumed, n);
    if (!st || st->fin_seen || !n)
        return;
    if (st->paused || st->held.n) {
        buf_add(&st->held, p, n); /* bounded: see_blocked stops reading */
        spdy_see_blocked(s);
        return;
    }
    spdy_reopen(s, st->id, &st->consumed, n);
    s->cb.on_data(st, p, n, s->arg);
}

static void take_fin(struct spdy_stream *st)
{
    if (!st || st->fin_seen)
        return;
    st->fin_seen = true;
    if (st->paused || st->held.n)
        return; /* behind what is held */
    st->fin_told = true;
    st->spdy->cb.on_fin(st, st->spdy->arg);
    spdy_maybe_done(st);
}

static void take_syn_stream(struct spdy *s, unsigned flags, struct str body)
{
    struct spdy_stream *st;
    uint32_t id;

    if (body.n < 10) {
        spdy_protocol_error(s);
        return;
    }
    id = spdy_get32(body.p) & 0x7fffffff;
    st = NEW(struct spdy_stream);
    st->spdy = s;
    st->id = id;
    st->send_window = s->peer_initial_window;
    /* the block is inflated in any case: those behind it depend on it */
    if (spdy_decode_headers(&s->codec, str_sub(body, 10, body.n), &st->arena, &st->headers,
                            &st->n_headers) < 0 ||
        id % 2 == 0 || id <= s->last_id) {
        arena_fini(&st->arena);
        free(st);
        spdy_protocol_error(s);
        return;
    }
    if (s->goaway_sent || s->n_streams >= s->opts.streams_max) {
        arena_fini(&st->arena);
        free(st);
        spdy_send_rst(s, id, SPDY_REFUSED_STREAM);
        return;
    }
    s->last_id = id;
    s->n_streams++;
    list_init(&st->link);
    list_push_back(&s->streams, &st->link);
    st->fin_sent = flags & SPDY_FLAG_UNIDIRECTIONAL;
    if (s->cb.on_open(s, st, st->headers, st->n_headers, s->arg) < 0) {
        if (!st->ended) {
            list_remove(&st->link);
            s->n_streams--;
            bytesq_fini(&st->out);
            buf_fini(&st->held);
            arena_fini(&st->arena);
            free(st);
            spdy_send_rst(s, id, SPDY_REFUSED_STREAM);
        }
        return;
    }
    if (s->ended || st->ended)
        return;
    spdy_send_reply(s, id);
    spdy_send_data(st);
    if (flags & SPDY_FLAG_FIN)
        take_fin(st);
}

static void take_settings(struct spdy *s, struct str body)
{
    uint32_t n = body.n >= 4 ? spdy_get32(body.p) : UINT32_MAX;
    struct spdy_stream *st;

    if (n > (body.n - 4) / 8 || body.n != 4 + (size_t)n * 8) {
        spdy_protocol_error(s);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = spdy_get32(body.p + 4 + i * 8) & 0xffffff;
        uint32_t value = spdy_get32(body.p + 8 + i * 8);

        if (key != SPDY_SETTINGS_INITIAL_WINDOW || value > INT32_MAX)
            continue;
        LIST_FOR_EACH (st, &s->streams, link)
            st->send_window += (int64_t)value - s->peer_initial_window;
        s->peer_initial_window = value;
        s->windows = true;
    }
    LIST_FOR_EACH (st, &s->streams, link)
        spdy_send_data(st);
}

static void take_window_update(struct spdy *s, struct str body)
{
    uint32_t id, delta;
    struct spdy_stream *st;

    if (body.n != 8) {
        spdy_protocol_error(s);
        return;
    }
    s->windows = true;
    id = spdy_get32(body.p) & 0x7fffffff;
    delta = spdy_get32(body.p + 4) & 0x7fffffff;
    if (id == 0) {
        s->send_window = MIN(s->send_window + delta, (int64_t)INT32_MAX);
        LIST_FOR_EACH (st, &s->streams, link)
            spdy_send_data(st);
        return;
    }
    st = find(s, id);
    if (!st)
        return;
    st->send_window += delta;
    if (st->send_window > INT32_MAX) {
        spdy_send_rst(s, id, SPDY_FLOW_CONTROL_ERROR);
        spdy_stream_end(st, -EPROTO);
        return;
    }
    spdy_send_data(st);
}

static void take_ping(struct spdy *s, struct str body)
{
    if (body.n != 4) {
        spdy_protocol_error(s);
        return;
    }
    if (spdy_get32(body.p) % 2 == 0)
        return; /* the echo of ours */
    spdy_put_control(&s->out, SPDY_PING, 0, 4);
    buf_add(&s->out, body.p, 4);
    spdy_send_out(s);
}

static void take_headers(struct spdy *s, unsigned flags, struct str body)
{
    struct http_header *h;
    struct arena a = {0};
    size_t n;

    /* nothing uses later headers, but the compression context has to see them */
    if (body.n < 4 || spdy_decode_headers(&s->codec, str_sub(body, 4, body.n), &a, &h, &n) < 0)
        spdy_protocol_error(s);
    else if (flags & SPDY_FLAG_FIN)
        take_fin(find(s, spdy_get32(body.p) & 0x7fffffff));
    arena_fini(&a);
}

static void take_control(struct spdy *s, struct str frame)
{
    uint32_t word = spdy_get32(frame.p);
    unsigned flags = (unsigned char)frame.p[4];
    struct str body = str_sub(frame, SPDY_FRAME_HEAD, frame.n);
    struct spdy_stream *st;

    if ((word >> 16 & 0x7fff) != SPDY_VERSION) {
        spdy_protocol_error(s);
        return;
    }
    switch (word & 0xffff) {
    case SPDY_SYN_STREAM:
        take_syn_stream(s, flags, body);
        break;
    case SPDY_SYN_REPLY: /* answers a stream we never open */
        spdy_protocol_error(s);
        break;
    case SPDY_RST_STREAM:
        st = body.n == 8 ? find(s, spdy_get32(body.p) & 0x7fffffff) : NULL;
        if (st)
            spdy_stream_end(st, -ECONNRESET);
        break;
    case SPDY_SETTINGS:
        take_settings(s, body);
        break;
    case SPDY_PING:
        take_ping(s, body);
        break;
    case SPDY_GOAWAY:
        s->goaway_seen = true;
        s->work_due = true;
        spdy_later(s);
        break;
    case SPDY_HEADERS:
        take_headers(s, flags, body);
        break;
    case SPDY_WINDOW_UPDATE:
        take_window_update(s, body);
        break;
    default: /* unknown control frames are skipped (2.2.1) */
        break;
    }
}

/* Takes one step; false: needs more bytes. */
static bool step(struct spdy *s, struct str *data)
{
    size_t want = SPDY_FRAME_HEAD, n;
    uint32_t length;

    if (s->in_data) {
        n = MIN(data->n, (size_t)s->data_left);
        s->data_left -= (uint32_t)n;
        take_data(s, data->p, n);
        *data = str_sub(*data, n, data->n);
        if (s->data_left)
            return false;
        s->in_data = false;
        if (s->data_fin && !s->ended)
            take_fin(find(s, s->data_id));
        return true;
    }
    if (s->in.n >= SPDY_FRAME_HEAD)
        want += spdy_get32(s->in.data + 4) & 0xffffff;
    n = MIN(want - s->in.n, data->n);
    buf_add(&s->in, data->p, n);
    *data = str_sub(*data, n, data->n);
    if (s->in.n < want)
        return false;
    length = spdy_get32(s->in.data + 4) & 0xffffff;
    if (!(s->in.data[0] & 0x80)) {
        s->data_id = spdy_get32(s->in.data);
        s->data_fin = s->in.data[4] & SPDY_FLAG_FIN;
        s->data_left = length;
        s->in_data = true;
        buf_clear(&s->in);
        if (!s->data_id) {
            spdy_protocol_error(s);
        } else if (!find(s, s->data_id) && s->data_id > s->last_id) {
            spdy_send_rst(s, s->data_id, SPDY_INVALID_STREAM);
        }
        return true;
    }
    if (length > CONTROL_MAX(s)) {
        spdy_protocol_error(s);
        return false;
    }
    if (s->in.n == SPDY_FRAME_HEAD + (size_t)length) {
        take_control(s, buf_str(&s->in));
        buf_clear(&s->in);
    }
    return true;
}

void spdy_on_data(void *arg, struct str data)
{
    struct spdy *s = arg;

    s->active = rt_now(s->rt);
    while (!s->ended && (data.n || (s->in_data && !s->data_left)))
        if (!step(s, &data) && !data.n)
            break;
}
