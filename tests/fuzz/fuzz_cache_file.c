/* The file of a cache, as a power cut or another program leaves it: what is read from one is
 * written, and read again the same. A file that is damaged is told by its sums, which a fuzzer does
 * not get past: with the first byte set, it gives payloads, and the sums are made here. */
#include "base/hash.h"
#include "base/mem.h"
#include "client/cache_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct again {
    struct buf out;
    size_t n, bytes;
};

static int one(void *arg, const struct cache_record *r)
{
    struct again *a = arg;
    ASSERT(r->ns.n <= UINT16_MAX && r->name.n <= UINT16_MAX);
    cache_format_set(&a->out, r);
    a->n++;
    a->bytes += r->ns.n + r->name.n + r->object.n + (size_t)(r->rev & 0xff);
    return 0;
}

static void read_twice(struct str bytes)
{
    struct again first = {0}, second = {0};
    size_t good = 0, good_again = 0;
    cache_format_head(&first.out, STR("fuzz"));
    if (cache_format_read(bytes, STR("fuzz"), one, &first, &good) == 0) {
        ASSERT(good <= bytes.n);
        cache_format_end(&first.out);
        ASSERT(cache_format_read(buf_str(&first.out), STR("fuzz"), one, &second, &good_again) == 0);
        ASSERT(good_again == first.out.n && first.n == second.n && first.bytes == second.bytes);
    }
    buf_fini(&first.out);
    buf_fini(&second.out);
}

static void add(struct buf *b, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        buf_add_char(b, (char)(v >> (8 * i)));
}

/* A length byte, a payload, and so on. */
static void with_sums(struct str in)
{
    struct buf b = {0};
    cache_format_head(&b, STR("fuzz"));
    cache_format_end(&b);
    while (in.n) {
        struct str payload = str_sub(in, 1, 1 + (size_t)(uint8_t)in.p[0]);
        add(&b, payload.n, 4);
        add(&b, hash_fnv1a64(payload.p, payload.n), 8);
        buf_add_str(&b, payload);
        in = str_sub(in, 1 + payload.n, in.n);
    }
    read_twice(buf_str(&b));
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct str in = {(const char *)data + 1, size - 1};
    if (data[0] & 1)
        with_sums(in);
    else
        read_twice(in);
    return 0;
}
