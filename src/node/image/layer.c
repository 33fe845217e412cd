/* The archive side of unpacking: two libarchive readers in a row. The first ("raw" format) only
 * takes the compression off; the second reads tar. Between them the stream is counted and digested,
 * because the diff_id is the digest of the uncompressed archive, and because a decompression bomb
 * must be met before anything is written. Only tar is enabled: other formats of libarchive are
 * attack surface. */
#include "node/image/layer.h"

#include <fcntl.h>
#include <locale.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/image/archive_lazy.h"
#include "node/image/layer_internal.h"
#include "rt/crypto.h"

struct plain {           /* the decompressed stream */
    struct archive *raw; /* owned */
    struct sha256 *hash; /* owned */
    uint64_t bytes, bytes_max;
    const char *error;
    bool eof, padded;
};

#define TAR_BLOCK 512

/* Some tools (umoci insert) leave out the zeros behind the last file, and every Go reader accepts
 * that. The missing ones are not part of the digest. Content that is cut short fails the digest
 * later. */
static la_ssize_t plain_pad(struct plain *p, const void **ret)
{
    static const char zeros[TAR_BLOCK];
    size_t n = (size_t)(p->bytes % TAR_BLOCK);
    if (p->padded || n == 0)
        return 0;
    p->padded = true;
    *ret = zeros;
    return (la_ssize_t)(TAR_BLOCK - n);
}

static la_ssize_t plain_read(struct archive *tar, void *arg, const void **ret)
{
    struct plain *p = arg;
    size_t n = 0;
    la_int64_t at;
    int r = p->eof ? ARCHIVE_EOF : archive_read_data_block(p->raw, ret, &n, &at);
    if (r == ARCHIVE_EOF) {
        p->eof = true;
        return plain_pad(p, ret);
    }
    if (r < ARCHIVE_WARN) {
        archive_set_error(tar, archive_errno(p->raw), "%s", archive_error_string(p->raw));
        return -1;
    }
    p->bytes += n;
    if (p->bytes > p->bytes_max) {
        archive_set_error(tar, EFBIG, "unpacks to more than %llu bytes",
                          (unsigned long long)p->bytes_max);
        return -1;
    }
    sha256_update(p->hash, *ret, n);
    return (la_ssize_t)n;
}

static int plain_open(struct plain *p, int fd, struct error *err)
{
    struct archive_entry *e;
    archive_lib_need();
    p->raw = archive_read_new();
    p->hash = sha256_new();
    archive_read_support_filter_gzip(p->raw);
    archive_read_support_filter_zstd(p->raw);
    archive_read_support_filter_bzip2(p->raw);
    archive_read_support_filter_xz(p->raw);
    archive_read_support_format_raw(p->raw);
    archive_read_support_format_empty(p->raw);
    if (archive_read_open_fd(p->raw, fd, 128 * 1024) != ARCHIVE_OK)
        return error_set(err, REASON_INVALID, "layer: %s", archive_error_string(p->raw));
    int r = archive_read_next_header(p->raw, &e);
    p->eof = r == ARCHIVE_EOF;
    if (r != ARCHIVE_OK && r != ARCHIVE_EOF)
        return error_set(err, REASON_INVALID, "layer: %s", archive_error_string(p->raw));
    return 0;
}

static int read_entries(struct unpack *u, struct archive *tar)
{
    struct archive_entry *e;
    for (;;) {
        int r = archive_read_next_header(tar, &e);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r < ARCHIVE_WARN)
            return error_set(u->err, REASON_INVALID, "layer: damaged archive: %s",
                             archive_error_string(tar));
        if (r == ARCHIVE_RETRY)
            continue;
        r = layer_make_entry(u, tar, e);
        if (r < 0)
            return r;
    }
}

/* What follows the end mark still belongs to the digest. */
static int drain(struct plain *p, struct archive *tar, struct error *err)
{
    const void *unused;
    la_ssize_t n;
    while ((n = plain_read(tar, p, &unused)) > 0)
        ;
    return n < 0 ? error_set(err, REASON_INVALID, "layer: %s", archive_error_string(tar)) : 0;
}

static void unpack_fini(struct unpack *u)
{
    layer_forget_parent(u);
    for (size_t i = 0; i < u->n_times; i++)
        free(u->times[i].path);
    free(u->times);
}

static int unpack(struct plain *p, struct unpack *u, int fd)
{
    int r = plain_open(p, fd, u->err);
    if (r < 0)
        return r;
    struct archive *tar = archive_read_new();
    archive_read_support_format_tar(tar);
    archive_read_support_format_empty(tar);
    if (archive_read_open(tar, p, NULL, plain_read, NULL) != ARCHIVE_OK)
        r = error_set(u->err, REASON_INVALID, "layer: not a tar archive: %s",
                      archive_error_string(tar));
    if (r == 0)
        r = read_entries(u, tar);
    if (r == 0)
        r = drain(p, tar, u->err);
    if (r == 0)
        r = layer_apply_times(u);
    archive_read_free(tar);
    return r;
}

int layer_unpack(int fd, int rootfd, unsigned flags, const struct layer_limits *limits,
                 struct layer_result *ret, struct error *err)
{
    struct plain p = {.bytes_max = limits->bytes_max};
    struct unpack u = {
        .rootfd = rootfd, .flags = flags, .limits = *limits, .err = err, .cached_fd = -1};
    /* libarchive converts UTF-8 names to the thread's character set and loses what does not fit. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    int r = unpack(&p, &u, fd);
    if (r == 0) {
        uint8_t digest[SHA256_BYTES];
        sha256_final(p.hash, digest);
        memcpy(ret->diff_id, "sha256:", 7);
        sha256_hex(digest, ret->diff_id + 7);
        ret->size_bytes = u.bytes;
        ret->entries = u.entries;
    }
    unpack_fini(&u);
    if (p.raw)
        archive_read_free(p.raw);
    sha256_free(p.hash);
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
    return r;
}
