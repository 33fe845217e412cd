/* A page through a proxy: however it is cut into pieces, the same comes out, and nothing is lost.
 */
#include "apiserver/front/links.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(const struct links_base *base, struct str in, size_t at, struct buf *out)
{
    struct links l;
    links_init(&l, base);
    links_feed(&l, str_sub(in, 0, at), out);
    ASSERT(l.held.n <= LINKS_URL_BYTES_MAX);
    links_feed(&l, str_sub(in, at, in.n), out);
    links_end(&l, out);
    ASSERT(!l.held.n && !l.holds);
    links_fini(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct links_base base = {.prefix = STR("/api/v1/nodes/n/proxy"),
                                           .server = STR("10.0.0.7:80"),
                                           .bare = STR("10.0.0.7"),
                                           .client = STR("me")};
    struct str in = {(const char *)data, size};
    struct buf whole = {0}, cut = {0}, again = {0};
    feed(&base, in, size, &whole);
    feed(&base, in, size ? data[0] % size : 0, &cut);
    ASSERT(str_eq(buf_str(&whole), buf_str(&cut)));
    feed(&base, buf_str(&whole), 0, &again); /* what has its prefix keeps it */
    ASSERT(str_eq(buf_str(&whole), buf_str(&again)));
    buf_fini(&whole);
    buf_fini(&cut);
    buf_fini(&again);
    return 0;
}
