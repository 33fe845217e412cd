/* The protobuf wire format: varints, tags, length-delimited fields. Knows no messages. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

enum pb_wire {
    PB_VARINT = 0,
    PB_FIXED64 = 1,
    PB_LEN = 2,
    PB_FIXED32 = 5,
};

/* --- Writing ------------------------------------------------------------------------------------
 */
void pb_put_varint(struct buf *b, uint64_t v);
void pb_put_tag(struct buf *b, uint32_t number, enum pb_wire wire);
void pb_put_uint(struct buf *b, uint32_t number, uint64_t v);
void pb_put_double(struct buf *b, uint32_t number, double d);
void pb_put_bytes(struct buf *b, uint32_t number, struct str s); /* also when empty */
size_t pb_varint_size(uint64_t v);
/* A message inside: `size_t m = pb_begin(b, 3); ...; pb_end(b, m);` */
size_t pb_begin(struct buf *b, uint32_t number);
void pb_end(struct buf *b, size_t mark);

/* --- Reading ------------------------------------------------------------------------------------
 */
struct pb_reader {
    const uint8_t *p, *end;
};
static inline struct pb_reader pb_reader(struct str s)
{
    return (struct pb_reader){(const uint8_t *)s.p, (const uint8_t *)s.p + s.n};
}
int pb_get_varint(struct pb_reader *r, uint64_t *ret) MUST_CHECK;
int pb_next_slow(struct pb_reader *r, uint32_t *ret_number, enum pb_wire *ret_wire,
                 uint64_t *ret_value, struct str *ret_bytes) MUST_CHECK;
/* 1: a field; 0: end; -EBADMSG. For PB_LEN *ret_bytes is the content (never absent), otherwise
 * *ret_value the number. Groups and field number 0 are errors. */
static inline MUST_CHECK int pb_next(struct pb_reader *r, uint32_t *ret_number,
                                     enum pb_wire *ret_wire, uint64_t *ret_value,
                                     struct str *ret_bytes)
{
    const uint8_t *p = r->p;
    /* Nearly all: number below 16, length or value below 128. */
    if (LIKELY(r->end - p >= 2 && p[0] < 0x80 && p[0] >= 8 && p[1] < 0x80)) {
        unsigned wire = p[0] & 7;
        if (wire == PB_LEN && p[1] <= r->end - p - 2) {
            *ret_number = p[0] >> 3;
            *ret_wire = PB_LEN;
            *ret_bytes = (struct str){(const char *)p + 2, p[1]};
            r->p = p + 2 + p[1];
            return 1;
        }
        if (wire == PB_VARINT) {
            *ret_number = p[0] >> 3;
            *ret_wire = PB_VARINT;
            *ret_value = p[1];
            r->p = p + 2;
            return 1;
        }
    }
    return p == r->end ? 0 : pb_next_slow(r, ret_number, ret_wire, ret_value, ret_bytes);
}
