/* SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012) with one compression
 * and three finalisation rounds, as hash tables use it. */
#include "base/hash.h"

#include <sys/random.h>

static uint64_t key[2];

__attribute__((constructor)) static void hash_key_init(void)
{
    if (getrandom(key, sizeof(key), GRND_NONBLOCK) != (ssize_t)sizeof(key)) {
        key[0] = (uint64_t)(uintptr_t)&key;
        key[1] = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    }
}

void hash_seed(uint64_t k0, uint64_t k1)
{
    key[0] = k0;
    key[1] = k1;
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

struct sip {
    uint64_t a, b, c, d;
};

static inline void sip_round(struct sip *s)
{
    s->a += s->b, s->b = ROTL(s->b, 13), s->b ^= s->a, s->a = ROTL(s->a, 32);
    s->c += s->d, s->d = ROTL(s->d, 16), s->d ^= s->c;
    s->a += s->d, s->d = ROTL(s->d, 21), s->d ^= s->a;
    s->c += s->b, s->b = ROTL(s->b, 17), s->b ^= s->c, s->c = ROTL(s->c, 32);
}

uint64_t hash_bytes(const void *data, size_t n)
{
    const unsigned char *p = data;
    struct sip s = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                    key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    uint64_t last = (uint64_t)n << 56, m;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        memcpy(&m, p + i, 8);
        s.d ^= m;
        sip_round(&s);
        s.a ^= m;
    }
    for (size_t k = 0; i < n; i++, k++)
        last |= (uint64_t)p[i] << (8 * k);
    s.d ^= last;
    sip_round(&s);
    s.a ^= last;
    s.c ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}

uint32_t hash_fnv1a32(const void *data, size_t n)
{
    const unsigned char *p = data;
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}

uint64_t hash_fnv1a64(const void *data, size_t n)
{
    const unsigned char *p = data;
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}
