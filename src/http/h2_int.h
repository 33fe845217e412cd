/* What the two ends of HTTP/2 share around an nghttp2 session. */
#pragma once

#include "http/http_int.h"

#include <nghttp2/nghttp2.h>

/* Output of a session on its way to the stream: frames are gathered and leave once a turn. */
struct h2_out {
    nghttp2_session *session; /* owned */
    struct rt_stream *stream; /* borrowed; good while !*closed */
    const bool *closed;       /* the connection's; a callback of the session may set it */
    struct buf buf;
    struct rt_task task; /* flush, late in the turn */
    uint64_t written;
    bool in_recv, in_send;
};

/* Gives the session's frames to the stream until it is congested. 0, or a fatal nghttp2 error. */
int h2_flush(struct h2_out *o) MUST_CHECK;
ssize_t h2_send_cb(nghttp2_session *session, const uint8_t *data, size_t n, int flags, void *user);
/* For callbacks whose user pointer begins with a struct h2_out. */

/* One frame of DATA taken from a queue straight into the output. */
void h2_send_data(struct h2_out *o, nghttp2_frame *frame, const uint8_t *head, size_t n,
                  struct bytesq *q);

/* nva (n_pre entries filled by the caller, room for n more) gets the headers. */
void h2_nv(nghttp2_nv *nv, struct str name, struct str value);
