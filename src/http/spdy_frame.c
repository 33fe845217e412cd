/* Writing SPDY frames and (de)compressing their header blocks. Kept apart from the connection so
 * that tests and the fuzzer can make and take apart frames. */
#include "http/spdy_frame.h"

void spdy_put32(struct buf *b, uint32_t v)
{
    char c[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};

    buf_add(b, c, 4);
}

void spdy_put_control(struct buf *b, enum spdy_type type, unsigned flags, size_t length)
{
    ASSERT(length < (1u << 24) && flags <= 0xff);
    spdy_put32(b, 0x80000000u | SPDY_VERSION << 16 | (uint32_t)type);
    spdy_put32(b, flags << 24 | (uint32_t)length);
}

void spdy_put_data(struct buf *b, uint32_t id, unsigned flags, size_t length)
{
    ASSERT(length < (1u << 24) && id < 0x80000000u);
    spdy_put32(b, id);
    spdy_put32(b, flags << 24 | (uint32_t)length);
}

void spdy_codec_init(struct spdy_codec *c, size_t bytes_max)
{
    *c = (struct spdy_codec){.bytes_max = bytes_max};
    ASSERT(inflateInit(&c->in) == Z_OK);
    /* a small window: header blocks are short, and a server has many connections */
    ASSERT(deflateInit2(&c->out, Z_BEST_SPEED, Z_DEFLATED, 11, 4, Z_DEFAULT_STRATEGY) == Z_OK);
    ASSERT(deflateSetDictionary(&c->out, (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_BYTES) ==
           Z_OK);
}

void spdy_codec_fini(struct spdy_codec *c)
{
    inflateEnd(&c->in);
    deflateEnd(&c->out);
}

static int inflate_block(struct spdy_codec *c, struct str block, struct arena *a, struct str *ret)
{
    char *out = arena_alloc(a, c->bytes_max);
    z_stream *z = &c->in;

    z->next_in = (Bytef *)block.p;
    z->avail_in = (uInt)block.n;
    z->next_out = (Bytef *)out;
    z->avail_out = (uInt)c->bytes_max;
    while (z->avail_in) {
        int r = inflate(z, Z_SYNC_FLUSH);

        if (r == Z_NEED_DICT) {
            if (inflateSetDictionary(z, (const Bytef *)spdy_dictionary, SPDY_DICTIONARY_BYTES) !=
                Z_OK)
                return -EPROTO;
            continue;
        }
        if (r != Z_OK || (z->avail_in && !z->avail_out))
            return -EPROTO;
    }
    if (!z->avail_out) /* may hold more */
        return -EPROTO;
    *ret = (struct str){out, c->bytes_max - z->avail_out};
    return 0;
}

static bool take_string(struct str *in, struct str *ret)
{
    uint32_t n;

    if (in->n < 4)
        return false;
    n = spdy_get32(in->p);
    if (n > in->n - 4)
        return false;
    *ret = str_sub(*in, 4, 4 + (size_t)n);
    *in = str_sub(*in, 4 + (size_t)n, in->n);
    return true;
}

static bool name_ok(struct str name)
{
    if (name.n && name.p[0] == ':')
        name = str_sub(name, 1, name.n);
    return http_header_name_valid(name);
}

int spdy_decode_headers(struct spdy_codec *c, struct str block, struct arena *a,
                        struct http_header **ret, size_t *ret_n)
{
    struct str in, name, value, part;
    struct http_header *v;
    size_t n = 0, cap;
    uint32_t count;
    int r = inflate_block(c, block, a, &in);

    if (r < 0)
        return r;
    if (in.n < 4)
        return -EPROTO;
    count = spdy_get32(in.p);
    in = str_sub(in, 4, in.n);
    if (count > in.n / 8)
        return -EPROTO;
    cap = in.n / 4 + 1; /* NULs in values make more of them, but each takes a byte */
    cap = MIN(cap, (size_t)256);
    v = arena_alloc(a, sizeof(*v) * cap);
    for (uint32_t i = 0; i < count; i++) {
        if (!take_string(&in, &name) || !take_string(&in, &value) || !name_ok(name))
            return -EPROTO;
        do {
            const char *nul = value.n ? memchr(value.p, 0, value.n) : NULL;

            part = nul ? str_sub(value, 0, (size_t)(nul - value.p)) : value;
            value = nul ? str_sub(value, part.n + 1, value.n) : STR_NONE;
            if (n == cap || !http_header_value_valid(part))
                return -EPROTO;
            v[n++] = (struct http_header){name, part};
        } while (value.p);
    }
    if (in.n)
        return -EPROTO;
    *ret = v;
    *ret_n = n;
    return 0;
}

void spdy_encode_headers(struct spdy_codec *c, const struct http_header *headers, size_t n,
                         struct buf *out)
{
    struct buf plain = {0};
    z_stream *z = &c->out;
    char *to;

    spdy_put32(&plain, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        spdy_put32(&plain, (uint32_t)headers[i].name.n);
        buf_add_str(&plain, headers[i].name);
        spdy_put32(&plain, (uint32_t)headers[i].value.n);
        buf_add_str(&plain, headers[i].value);
    }
    z->next_in = (Bytef *)plain.data;
    z->avail_in = (uInt)plain.n;
    do {
        size_t room = deflateBound(z, z->avail_in) + 64;

        to = buf_reserve(out, room);
        ASSERT(to);
        z->next_out = (Bytef *)to;
        z->avail_out = (uInt)room;
        ASSERT(deflate(z, Z_SYNC_FLUSH) != Z_STREAM_ERROR);
        out->n += room - z->avail_out;
    } while (!z->avail_out);
    buf_fini(&plain);
}
