/* Moves frames from an nghttp2 session to an rt stream. All frames of one turn are gathered in one
 * buffer, so they share system calls and TLS records; when the peer does not take them the session
 * is not asked for more, and what streams have to say waits in their own queues, where it is
 * counted. */
#include "http/h2_int.h"

#define OUT_BATCH (64 * 1024) /* handed to the stream at once; a few TLS records */

ssize_t h2_send_cb(nghttp2_session *session, const uint8_t *data, size_t n, int flags, void *user)
{
    struct h2_out *o = user;

    (void)session;
    (void)flags;
    if (o->buf.n >= OUT_BATCH)
        return NGHTTP2_ERR_WOULDBLOCK;
    buf_add(&o->buf, data, n);
    return (ssize_t)n;
}

void h2_send_data(struct h2_out *o, nghttp2_frame *frame, const uint8_t *head, size_t n,
                  struct bytesq *q)
{
    ASSERT(frame->data.padlen == 0);                      /* we never pad */
    if (o->buf.n > OUT_BATCH / 8 && o->buf.n < OUT_BATCH) /* grows once and not by doubling */
        (void)buf_reserve(&o->buf, OUT_BATCH + 2 * 16384 - o->buf.n);
    buf_add(&o->buf, head, 9);
    bytesq_pop_to(q, n, &o->buf);
}

int h2_flush(struct h2_out *o)
{
    int r = 0;

    ASSERT(!o->in_recv && !o->in_send);
    o->in_send = true;
    while (!*o->closed && !rt_stream_congested(o->stream)) {
        r = nghttp2_session_send(o->session);
        if (r < 0 || !o->buf.n || *o->closed)
            break;
        o->written += o->buf.n;
        rt_stream_write_buf(o->stream, &o->buf);
    }
    o->in_send = false;
    return r < 0 ? r : 0;
}

void h2_nv(nghttp2_nv *nv, struct str name, struct str value)
{
    *nv =
        (nghttp2_nv){(uint8_t *)name.p, (uint8_t *)value.p, name.n, value.n, NGHTTP2_NV_FLAG_NONE};
}
