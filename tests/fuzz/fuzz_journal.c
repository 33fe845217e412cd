/* The journal of a store as a crash or a bad disk leaves it: read back, or refused, never more. The
 * input is laid out as frames, each behind six bytes that choose its revisions, its number of
 * writes and its payload's length; the checksums are made to fit, so that they do not shield what
 * is behind them. With the first byte odd the input is the file as it is. */
#include "store/journal.h"
#include "store/record.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SALT  7
#define ALIGN 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(char *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (char)(v >> (8 * i));
}

/* A frame of what the input says; returns how much of it was used. */
static size_t frame(const uint8_t *in, size_t n, struct buf *file)
{
    if (n < 6)
        return n;
    size_t payload = MIN((size_t)in[4] * 4, n - 6), at = file->n;
    size_t bytes = (48 + payload + ALIGN - 1) / ALIGN * ALIGN;
    char *p = buf_reserve(file, bytes);
    ASSERT(p);
    memset(p, 0, bytes);
    file->n = at + bytes;
    memcpy(p + 48, in + 6, payload);
    put(p, 0x4a767664u, 4);
    put(p + 4, payload, 4);
    put(p + 8, in[0], 8);
    put(p + 16, in[1], 8);
    put(p + 24, in[2], 4);
    put(p + 32, record_sum(SALT, p + 48, payload) + (in[3] == 1), 8); /* now and then unsound */
    put(p + 40, record_sum(SALT, p, 40), 8);
    return 6 + payload;
}

static int one(void *arg, struct str key, struct str value)
{
    uint64_t *sum = arg;
    for (size_t i = 0; i < key.n; i++)
        *sum += (uint8_t)key.p[i];
    for (size_t i = 0; i < value.n; i++)
        *sum += (uint8_t)value.p[i];
    return 0;
}

static void file_put(struct journal *j, int i, struct str bytes)
{
    j->files[i].fd = memfd_create("journal", MFD_CLOEXEC);
    ASSERT(j->files[i].fd >= 0 && write(j->files[i].fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct journal j = {.files = {{.fd = -1}, {.fd = -1}}, .salt = SALT};
    struct error err = {0};
    struct buf files[2] = {{0}, {0}};
    uint64_t sum = 0;
    rev_t rev = 0;
    if (size == 0)
        return 0;
    if (data[0] & 1)
        buf_add(&files[0], data + 1, size - 1);
    else
        for (size_t at = 1, k = 0; at < size && k < 32; k++)
            at += frame(data + at, size - at, &files[(data[0] >> 1 & 1) & k]);
    for (int i = 0; i < 2; i++)
        if (files[i].n)
            file_put(&j, i, buf_str(&files[i]));
    int r = journal_replay(&j, one, &sum, &rev, &err);
    ASSERT(r == 0 || (r < 0 && err.message.n > 0));
    for (int i = 0; i < 2; i++) {
        if (j.files[i].fd >= 0)
            close(j.files[i].fd);
        buf_fini(&files[i]);
    }
    error_fini(&err);
    return 0;
}
