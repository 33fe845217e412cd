/* Digests, MACs, comparison, random tokens. OpenSSL's digests fail only when memory is out, so
 * these calls assert instead of returning errors nobody can handle. */
#include "rt/ossl.h"
#include "base/mem.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <sys/random.h>

struct sha256 {
    EVP_MD_CTX *ctx; /* owned */
};

struct sha256 *sha256_new(void)
{
    struct sha256 *h = NEW(struct sha256);

    h->ctx = EVP_MD_CTX_new();
    ASSERT(h->ctx && EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) == 1);
    return h;
}

void sha256_update(struct sha256 *h, const void *p, size_t n)
{
    ASSERT(EVP_DigestUpdate(h->ctx, p, n) == 1);
}

void sha256_final(struct sha256 *h, uint8_t ret[SHA256_BYTES])
{
    ASSERT(EVP_DigestFinal_ex(h->ctx, ret, NULL) == 1);
}

struct sha256 *sha256_free(struct sha256 *h)
{
    if (h) {
        EVP_MD_CTX_free(h->ctx);
        free(h);
    }
    return NULL;
}

void sha256_of(struct str data, uint8_t ret[SHA256_BYTES])
{
    SHA256((const uint8_t *)(data.p ? data.p : ""), data.n, ret);
}

void sha512_of(struct str data, uint8_t ret[64])
{
    SHA512((const uint8_t *)(data.p ? data.p : ""), data.n, ret);
}

void sha1_of(struct str data, uint8_t ret[20])
{
    SHA1((const uint8_t *)(data.p ? data.p : ""), data.n, ret);
}

void sha256_hex(const uint8_t d[SHA256_BYTES], char ret[SHA256_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < SHA256_BYTES; i++) {
        ret[2 * i] = digits[d[i] >> 4];
        ret[2 * i + 1] = digits[d[i] & 15];
    }
    ret[SHA256_HEX] = '\0';
}

void sha256_hex_of(struct str data, char ret[SHA256_HEX + 1])
{
    uint8_t d[SHA256_BYTES];

    sha256_of(data, d);
    sha256_hex(d, ret);
}

void hmac_sha256(struct str key, struct str data, uint8_t ret[SHA256_BYTES])
{
    unsigned n = 0;

    ASSERT(key.n <= INT32_MAX);
    ASSERT(HMAC(EVP_sha256(), key.p ? key.p : "", (int)key.n,
                (const uint8_t *)(data.p ? data.p : ""), data.n, ret, &n));
    ASSERT(n == SHA256_BYTES);
}

bool crypto_equal(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

void crypto_wipe(void *p, size_t n)
{
    if (p && n)
        OPENSSL_cleanse(p, n);
}

void crypto_random(void *p, size_t n)
{
    uint8_t *b = p;

    while (n > 0) {
        ssize_t r = getrandom(b, n, 0);
        if (r < 0 && errno == EINTR)
            continue;
        ASSERT(r > 0);
        b += r;
        n -= (size_t)r;
    }
}

void crypto_random_token(char *ret, size_t n)
{
    static const char letters[36] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t have = 0;

    while (have < n) {
        uint8_t pool[64];
        crypto_random(pool, sizeof(pool));
        for (size_t i = 0; i < sizeof(pool) && have < n; i++)
            if (pool[i] < 252) /* 7 * 36: larger ones would favour the first letters */
                ret[have++] = letters[pool[i] % 36];
        crypto_wipe(pool, sizeof(pool));
    }
    ret[n] = '\0';
}
