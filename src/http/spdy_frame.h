/* SPDY/3.1 frames: numbers of the protocol and the header block codec.
 *
 *   control: |1| version 3 (15) | type (16) | flags (8) | length (24) | ...
 *   data:    |0| stream id (31)             | flags (8) | length (24) | bytes
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "http/http.h"

#include <zlib.h>

#define SPDY_VERSION          3
#define SPDY_FRAME_HEAD       8
#define SPDY_DICTIONARY_BYTES 1423
#define SPDY_WINDOW_DEFAULT   65536

enum spdy_type {
    SPDY_SYN_STREAM = 1,
    SPDY_SYN_REPLY = 2,
    SPDY_RST_STREAM = 3,
    SPDY_SETTINGS = 4,
    SPDY_PING = 6,
    SPDY_GOAWAY = 7,
    SPDY_HEADERS = 8,
    SPDY_WINDOW_UPDATE = 9,
};

enum spdy_status { /* of RST_STREAM */
                   SPDY_PROTOCOL_ERROR = 1,
                   SPDY_INVALID_STREAM = 2,
                   SPDY_REFUSED_STREAM = 3,
                   SPDY_CANCEL = 5,
                   SPDY_INTERNAL_ERROR = 6,
                   SPDY_FLOW_CONTROL_ERROR = 7,
                   SPDY_STREAM_IN_USE = 8,
                   SPDY_STREAM_ALREADY_CLOSED = 9,
};

#define SPDY_FLAG_FIN            0x01
#define SPDY_FLAG_UNIDIRECTIONAL 0x02

#define SPDY_SETTINGS_INITIAL_WINDOW 7

extern const char spdy_dictionary[SPDY_DICTIONARY_BYTES + 1];

static inline uint32_t spdy_get32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;

    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}
void spdy_put32(struct buf *b, uint32_t v);
void spdy_put_control(struct buf *b, enum spdy_type type, unsigned flags, size_t length);
void spdy_put_data(struct buf *b, uint32_t id, unsigned flags, size_t length);

/* The two compression contexts of a connection: every header block depends on those before it. */
struct spdy_codec {
    z_stream in, out;
    size_t bytes_max; /* of an inflated block */
};
void spdy_codec_init(struct spdy_codec *c, size_t bytes_max);
void spdy_codec_fini(struct spdy_codec *c);
/* -EPROTO: broken, or larger than bytes_max: the connection is lost, as the context is. A value
 * with NULs in it is several headers. */
int spdy_decode_headers(struct spdy_codec *c, struct str block, struct arena *a,
                        struct http_header **ret, size_t *ret_n) MUST_CHECK;
void spdy_encode_headers(struct spdy_codec *c, const struct http_header *headers, size_t n,
                         struct buf *out);
