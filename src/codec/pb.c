/* Protobuf wire format. A nested message's length comes before it but is known only after: pb_begin
 * leaves one byte, and pb_end moves the content when more are needed; most messages are short. */
#include "codec/out.h"
#include "codec/pb.h"

size_t pb_varint_size(uint64_t v)
{
    return v ? (size_t)(63 - __builtin_clzll(v)) / 7 + 1 : 1;
}

static size_t put(char *o, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        o[n++] = (char)(v | 0x80);
        v >>= 7;
    }
    o[n++] = (char)v;
    return n;
}

void pb_put_varint(struct buf *b, uint64_t v)
{
    char *o = out_room(b, 10);
    if (o)
        out_end(b, put(o, v));
}

void pb_put_tag(struct buf *b, uint32_t number, enum pb_wire wire)
{
    pb_put_varint(b, (uint64_t)number << 3 | wire);
}

void pb_put_uint(struct buf *b, uint32_t number, uint64_t v)
{
    char *o = out_room(b, 20);
    if (!o)
        return;
    size_t n = put(o, (uint64_t)number << 3 | PB_VARINT);
    out_end(b, n + put(o + n, v));
}

void pb_put_double(struct buf *b, uint32_t number, double d)
{
    uint64_t u;
    uint8_t raw[8];
    memcpy(&u, &d, 8);
    for (int i = 0; i < 8; i++)
        raw[i] = (uint8_t)(u >> (8 * i));
    pb_put_tag(b, number, PB_FIXED64);
    buf_add(b, raw, 8);
}

void pb_put_bytes(struct buf *b, uint32_t number, struct str s)
{
    char *o = out_room(b, 20 + s.n);
    if (!o)
        return;
    size_t n = put(o, (uint64_t)number << 3 | PB_LEN);
    n += put(o + n, s.n);
    if (s.n)
        memcpy(o + n, s.p, s.n);
    out_end(b, n + s.n);
}

size_t pb_begin(struct buf *b, uint32_t number)
{
    char *o = out_room(b, 11);
    if (!o)
        return b->n;
    size_t n = put(o, (uint64_t)number << 3 | PB_LEN);
    o[n] = 0;
    out_end(b, n + 1);
    return b->n;
}

void pb_end(struct buf *b, size_t mark)
{
    if (b->overflow)
        return;
    size_t n = b->n - mark, k = pb_varint_size(n);
    if (k > 1) {
        if (!buf_reserve(b, k - 1))
            return;
        memmove(b->data + mark + k - 1, b->data + mark, n);
        b->n += k - 1;
        b->data[b->n] = 0;
    }
    for (size_t i = 0; i < k; i++, n >>= 7)
        b->data[mark - 1 + i] = (char)((n & 0x7F) | (i + 1 < k ? 0x80 : 0));
}

int pb_get_varint(struct pb_reader *r, uint64_t *ret)
{
    uint64_t v = 0;
    const uint8_t *p = r->p;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (p == r->end)
            return -EBADMSG;
        uint8_t c = *p++;
        if (shift == 63 && c > 1)
            return -EBADMSG;
        v |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) {
            r->p = p;
            *ret = v;
            return 0;
        }
    }
    return -EBADMSG;
}

static int get_fixed(struct pb_reader *r, size_t n, uint64_t *ret)
{
    uint64_t v = 0;
    if ((size_t)(r->end - r->p) < n)
        return -EBADMSG;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)r->p[i] << (8 * i);
    r->p += n;
    *ret = v;
    return 1;
}

int pb_next_slow(struct pb_reader *r, uint32_t *ret_number, enum pb_wire *ret_wire,
                 uint64_t *ret_value, struct str *ret_bytes)
{
    uint64_t tag, n;
    if (pb_get_varint(r, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF)
        return -EBADMSG;
    *ret_number = (uint32_t)(tag >> 3);
    *ret_wire = (enum pb_wire)(tag & 7);
    switch (tag & 7) {
    case PB_VARINT:
        return pb_get_varint(r, ret_value) < 0 ? -EBADMSG : 1;
    case PB_FIXED64:
        return get_fixed(r, 8, ret_value);
    case PB_FIXED32:
        return get_fixed(r, 4, ret_value);
    case PB_LEN:
        if (pb_get_varint(r, &n) < 0 || n > (uint64_t)(r->end - r->p))
            return -EBADMSG;
        *ret_bytes = (struct str){(const char *)r->p, (size_t)n};
        r->p += n;
        return 1;
    default:
        return -EBADMSG;
    }
}
