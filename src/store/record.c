/* The format of the database, drawn. All numbers are little endian. Kinds are named by group and
 * plural, never by numbers of this program, so kinds come and go without a conversion; fields are
 * protobuf, so they can be added. The checksum covers the key too: a value under the wrong key is
 * damage.
 *
 * key    <group> '/' <plural> NUL <namespace> NUL <name>       "apps/deployments\0default\0web"
 * value  0   u8   1                                            layout of this value
 *        1   u8   encoding: 1 protobuf, 2 JSON
 *        2   u8   flags: 1 sealed; 2 the sealed payload names its key (src/main/seal.c)
 *        3   u8   length of the API version
 *        4   u32  length of the payload as stored
 *        8   u64  revision
 *        16  u64  checksum of key, bytes 0..15, version, payload
 *        24       API version of the encoding ("v1"), then the payload
 *
 * key    NUL "davit"                                           sorts before all others
 * value  0        "davit-store\0"
 *        12  u32  format of the whole database (RECORD_FORMAT)
 *        16  u64  newest revision
 *        24  u64  end of the watch window at that time (for people)
 *        32       cluster id, 36 bytes
 *        68  u32  0
 *        72  u64  salt of the journal, random
 *        80  u64  checksum of bytes 0..79 */
#include "store/record.h"

#include <endian.h>

#define VALUE_LAYOUT  1
#define VALUE_HEAD    24
#define ENCODING_PB   1
#define ENCODING_JSON 2
#define FLAG_SEALED   1
#define FLAG_NAMED    2
#define META_SUM      80
#define META_BYTES    88
#define META_MAGIC    "davit-store" /* with its NUL: 12 bytes */

static_assert(sizeof(META_MAGIC) == 12, "drawn so");

void record_put32(char *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof(v));
}

void record_put64(char *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

uint64_t record_get64(const char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

uint32_t record_get32(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

/* Against accidents, not attackers: eight bytes a step, each step a bijection of the word, so a
 * change within one word is always seen. */
uint64_t record_sum(uint64_t h, const void *data, size_t n)
{
    const char *p = data;
    char last[8] = {0};

    h ^= n;
    for (; n >= 8; p += 8, n -= 8) {
        h = (h ^ record_get64(p)) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 29;
    }
    if (n)
        memcpy(last, p, n);
    h = (h ^ record_get64(last)) * UINT64_C(0xBF58476D1CE4E5B9);
    return h ^ h >> 32;
}

void record_key(struct buf *b, const struct schema_kind *kind, struct str ns, struct str name)
{
    buf_add_str(b, str_z(kind->group));
    buf_add_char(b, '/');
    buf_add_str(b, str_z(kind->plural));
    buf_add_char(b, '\0');
    buf_add_str(b, ns);
    buf_add_char(b, '\0');
    buf_add_str(b, name);
}

static uint64_t value_sum(struct str key, struct str value)
{
    uint64_t h = record_sum(UINT64_C(0x6461766974), key.p, key.n);

    h = record_sum(h, value.p, 16);
    return record_sum(h, value.p + VALUE_HEAD, value.n - VALUE_HEAD);
}

/* The first part of a key. */
static struct str key_resource(struct str key)
{
    const char *end = memchr(key.p, '\0', key.n);

    return end ? str_sub(key, 0, (size_t)(end - key.p)) : key;
}

int record_encode(const struct store_op *op, struct str key, const struct store_seal *seal,
                  struct buf *scratch, struct buf *b)
{
    const struct schema_kind *kind = op->object->kind; /* in which version its body is */
    bool sealed = seal && seal->wants(seal->ctx, key_resource(key));
    size_t start = b->n, version_bytes = strlen(kind->version), head = VALUE_HEAD + version_bytes;
    struct str value;
    char *p;
    int r;

    ASSERT(version_bytes < 256);
    p = buf_reserve(b, head);
    ASSERT(p != NULL);
    memset(p, 0, head);
    memcpy(p + VALUE_HEAD, kind->version, version_bytes);
    b->n += head;
    if (sealed) {
        buf_clear(scratch);
        schema_encode_pb_stored(kind->desc, op->object->msg, scratch);
        r = seal->seal(seal->ctx, buf_str(scratch), key, b);
        if (r < 0) {
            b->n = start;
            return r;
        }
    } else {
        schema_encode_pb_stored(kind->desc, op->object->msg, b);
    }
    ASSERT(!b->overflow && b->n - start - head <= UINT32_MAX);
    p = b->data + start;
    p[0] = VALUE_LAYOUT;
    p[1] = ENCODING_PB;
    p[2] = sealed ? FLAG_SEALED | FLAG_NAMED : 0;
    p[3] = (char)version_bytes;
    record_put32(p + 4, (uint32_t)(b->n - start - head));
    record_put64(p + 8, op->rev);
    value = (struct str){p, b->n - start};
    record_put64(p + 16, value_sum(key, value));
    return 0;
}

static int bad(struct error *err, struct str key, const char *what)
{
    struct str resource = key, ns, name = STR_NONE;

    (void)str_cut(&resource, '\0', &ns); /* resource = the rest; ns = the first part */
    (void)str_cut(&resource, '\0', &name);
    (void)error_set(err, REASON_INTERNAL, "the record of %.*s \"%.*s\" in namespace \"%.*s\" %s",
                    STR_ARG(ns), STR_ARG(resource), STR_ARG(name), what);
    return -EBADMSG;
}

static bool key_split(struct str key, struct store_record *ret)
{
    struct str rest = key;

    return str_cut(&rest, '\0', &ret->resource) && str_cut(&rest, '\0', &ret->ns) &&
           (ret->name = rest, rest.n > 0) && str_find(ret->resource, '/') >= 0;
}

int record_decode(struct str key, struct str value, const struct store_seal *seal,
                  struct buf *scratch, struct store_record *ret, bool *ret_stale, struct error *err)
{
    struct store_record rec = {0};
    bool stale = false;
    size_t version_bytes;
    int r;

    if (value.n < VALUE_HEAD)
        return bad(err, key, "is cut short");
    version_bytes = (uint8_t)value.p[3];
    if (value.n - VALUE_HEAD < version_bytes ||
        value.n - VALUE_HEAD - version_bytes != record_get32(value.p + 4) ||
        record_get64(value.p + 16) != value_sum(key, value))
        return bad(err, key, "does not match its checksum");
    if (value.p[0] != VALUE_LAYOUT || (value.p[1] != ENCODING_PB && value.p[1] != ENCODING_JSON) ||
        ((uint8_t)value.p[2] & ~(FLAG_SEALED | FLAG_NAMED)))
        return bad(err, key, "has a layout this version of davit does not know");
    if (!key_split(key, &rec))
        return bad(err, key, "has a malformed key");
    rec.rev = record_get64(value.p + 8);
    rec.is_json = value.p[1] == ENCODING_JSON;
    rec.version = (struct str){value.p + VALUE_HEAD, version_bytes};
    rec.bytes = str_sub(value, VALUE_HEAD + version_bytes, value.n);
    if (value.p[2] & FLAG_SEALED) {
        if (!seal)
            return bad(err, key, "is encrypted and there is no key to open it");
        buf_clear(scratch);
        r = seal->open(seal->ctx, rec.bytes, key, value.p[2] & FLAG_NAMED, scratch, &stale);
        if (r == -ENOKEY)
            return bad(err, key, "is encrypted with a key that is missing");
        if (r < 0)
            return bad(err, key,
                       value.p[2] & FLAG_NAMED
                           ? "is damaged or not the one that was written there: its key "
                             "does not open it"
                           : "cannot be decrypted: the encryption key is not the one it "
                             "was written with");
        rec.bytes = buf_str(scratch);
    } else {
        stale = true;
    }
    *ret = rec;
    if (ret_stale)
        *ret_stale = stale && seal && seal->wants(seal->ctx, rec.resource);
    return 0;
}

int record_renew(struct str key, struct str value, struct str plain, const struct store_seal *seal,
                 struct buf *b)
{
    size_t start = b->n, head = VALUE_HEAD + (uint8_t)value.p[3];
    char *p;
    int r;

    buf_add(b, value.p, head);
    r = seal->seal(seal->ctx, plain, key, b);
    if (r < 0) {
        b->n = start;
        return r;
    }
    ASSERT(!b->overflow && b->n - start - head <= UINT32_MAX);
    p = b->data + start;
    p[2] = FLAG_SEALED | FLAG_NAMED;
    record_put32(p + 4, (uint32_t)(b->n - start - head));
    record_put64(p + 16, value_sum(key, (struct str){p, b->n - start}));
    return 0;
}

struct str record_meta_key(void)
{
    return (struct str){"\0davit", 6};
}

bool record_is_meta(struct str key)
{
    return str_eq(key, record_meta_key());
}

void record_meta_encode(const struct store_meta *meta, rev_t compacted, uint64_t salt,
                        struct buf *b)
{
    char p[META_BYTES] = META_MAGIC;

    record_put32(p + 12, RECORD_FORMAT);
    record_put64(p + 16, meta->rev);
    record_put64(p + 24, compacted);
    memcpy(p + 32, meta->cluster_id, STORE_CLUSTER_ID_LEN);
    record_put64(p + 72, salt);
    record_put64(p + META_SUM, record_sum(RECORD_FORMAT, p, META_SUM));
    buf_add(b, p, sizeof(p));
}

int record_meta_decode(struct str value, struct store_meta *ret, uint64_t *ret_salt,
                       struct error *err)
{
    uint32_t format;

    if (value.n < 16 || memcmp(value.p, META_MAGIC, sizeof(META_MAGIC)) != 0) {
        (void)error_set(err, REASON_INTERNAL, "it is no store of davit");
        return -EBADMSG;
    }
    format = record_get32(value.p + 12);
    if (value.n == META_BYTES && format == RECORD_FORMAT &&
        record_get64(value.p + META_SUM) == record_sum(RECORD_FORMAT, value.p, META_SUM)) {
        *ret_salt = record_get64(value.p + 72);
        ret->rev = record_get64(value.p + 16);
        memcpy(ret->cluster_id, value.p + 32, STORE_CLUSTER_ID_LEN);
        ret->cluster_id[STORE_CLUSTER_ID_LEN] = '\0';
        return 0;
    }
    if (format > RECORD_FORMAT && format < 1000) {
        (void)error_set(
            err, REASON_INTERNAL,
            "its format is %u and this version of davit reads up to %u: use the newer davit",
            format, RECORD_FORMAT);
        return -ENOTSUP;
    }
    (void)error_set(err, REASON_INTERNAL, "its head record is damaged");
    return -EBADMSG;
}
