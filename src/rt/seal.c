/* Secrets at rest: AES-256-GCM. A sealed value is
 *
 *     | nonce (12 bytes, random) | ciphertext | tag (16 bytes) |
 *
 * bound by its additional data to the place where it is kept. */
#include "rt/ossl.h"
#include "base/mem.h"

#define NONCE_BYTES 12
#define TAG_BYTES   16
static_assert(NONCE_BYTES + TAG_BYTES == SEAL_OVERHEAD_BYTES, "seal format");

void seal(const uint8_t key[SEAL_KEY_BYTES], struct str aad, struct str plain, struct buf *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *p = (uint8_t *)buf_reserve(out, plain.n + SEAL_OVERHEAD_BYTES);
    int n = 0;

    ASSERT(ctx && plain.n < INT32_MAX && aad.n < INT32_MAX);
    if (p) { /* else out says overflow */
        crypto_random(p, NONCE_BYTES);
        ASSERT(EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, p) == 1);
        if (aad.n)
            ASSERT(EVP_EncryptUpdate(ctx, NULL, &n, (const uint8_t *)aad.p, (int)aad.n) == 1);
        if (plain.n)
            ASSERT(EVP_EncryptUpdate(ctx, p + NONCE_BYTES, &n, (const uint8_t *)plain.p,
                                     (int)plain.n) == 1);
        ASSERT(EVP_EncryptFinal_ex(ctx, p + NONCE_BYTES + plain.n, &n) == 1 && n == 0);
        ASSERT(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES,
                                   p + NONCE_BYTES + plain.n) == 1);
        out->n += plain.n + SEAL_OVERHEAD_BYTES;
        out->data[out->n] = '\0';
    }
    EVP_CIPHER_CTX_free(ctx);
}

int seal_open(const uint8_t key[SEAL_KEY_BYTES], struct str aad, struct str sealed, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)sealed.p;
    EVP_CIPHER_CTX *ctx;
    uint8_t *plain;
    size_t plain_n;
    int n = 0, r = -EBADMSG;

    if (sealed.n < SEAL_OVERHEAD_BYTES || sealed.n > INT32_MAX || aad.n > INT32_MAX)
        return -EBADMSG;
    plain_n = sealed.n - SEAL_OVERHEAD_BYTES;
    plain = (uint8_t *)buf_reserve(out, plain_n);
    if (!plain)
        return -ENOSPC;
    ctx = EVP_CIPHER_CTX_new();
    ASSERT(ctx && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, p) == 1);
    if (aad.n)
        ASSERT(EVP_DecryptUpdate(ctx, NULL, &n, (const uint8_t *)aad.p, (int)aad.n) == 1);
    if (plain_n)
        ASSERT(EVP_DecryptUpdate(ctx, plain, &n, p + NONCE_BYTES, (int)plain_n) == 1);
    ASSERT(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES,
                               (void *)(p + sealed.n - TAG_BYTES)) == 1);
    if (EVP_DecryptFinal_ex(ctx, plain + plain_n, &n) == 1) {
        out->n += plain_n;
        out->data[out->n] = '\0';
        r = 0;
    } else { /* never show what did not verify */
        crypto_wipe(plain, plain_n);
        out->data[out->n] = '\0';
        (void)ossl_reason();
    }
    EVP_CIPHER_CTX_free(ctx);
    return r;
}
