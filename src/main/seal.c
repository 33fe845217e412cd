/* The keys lie beside the certificate authority's: who has either has the cluster. They never
 * change by themselves; losing them loses the Secrets, so a key is on the disk before it seals
 * anything.
 *
 * secrets.key     one or more keys of 32 bytes, the newest first
 * sealed record   key id (8 bytes) | nonce | ciphertext | tag (rt/seal.c)
 *
 * The id is made from the key, so the file needs no format and a key has the same id everywhere.
 * Records of davit 0.1 name no key: every key is tried on them. */
#include "main/seal.h"

#include "base/log.h"
#include "base/mem.h"
#include "schema/schema.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#define FILE_BYTES_MAX (SEAL_KEYS_MAX * SEAL_KEY_BYTES)

/* ---- the file ---- */

static char *key_file(const char *dir)
{
    return xasprintf("%s/secrets.key", dir);
}

static void key_init(struct seal_key *k, const char *bytes)
{
    uint8_t d[SHA256_BYTES];

    memcpy(k->key, bytes, SEAL_KEY_BYTES);
    hmac_sha256((struct str){bytes, SEAL_KEY_BYTES}, STR("davit secrets key id"), d);
    memcpy(k->id, d, SEAL_KEY_ID_BYTES);
}

void seal_key_hex(const struct seal_key *k, char ret[2 * SEAL_KEY_ID_BYTES + 1])
{
    for (size_t i = 0; i < SEAL_KEY_ID_BYTES; i++)
        snprintf(ret + 2 * i, 3, "%02x", k->id[i]);
}

void secret_keys_free(struct seal_key *keys, size_t n)
{
    if (keys)
        explicit_bzero(keys, n * sizeof(*keys));
    free(keys);
}

int secret_keys_read(const char *dir, struct seal_key **ret, size_t *ret_n, struct error *err)
{
    CLEANUP(freep) char *path = key_file(dir);
    CLEANUP(freep) char *bytes = NULL;
    size_t n = 0;
    int r = sys_read_file(AT_FDCWD, path, FILE_BYTES_MAX, &bytes, &n);

    if (r == -ENOENT)
        return r;
    if (r < 0 && r != -EFBIG)
        return error_errno(err, r, "cannot read %s", path);
    if (r < 0 || !n || n % SEAL_KEY_BYTES)
        return error_set(err, REASON_INTERNAL,
                         "%s is damaged: it must hold keys of %d bytes, %d at most; restore it "
                         "from a backup",
                         path, SEAL_KEY_BYTES, SEAL_KEYS_MAX);
    *ret_n = n / SEAL_KEY_BYTES;
    *ret = xcalloc(*ret_n, sizeof(**ret));
    for (size_t i = 0; i < *ret_n; i++)
        key_init(&(*ret)[i], bytes + i * SEAL_KEY_BYTES);
    explicit_bzero(bytes, n);
    return 0;
}

static int keys_write(const char *path, const char *bytes, size_t n, bool durable,
                      struct error *err)
{
    int r = durable ? sys_write_file(AT_FDCWD, path, bytes, n, 0600)
                    : sys_put_file(AT_FDCWD, path, bytes, n, 0600);

    return r < 0 ? error_errno(err, r, "cannot write %s", path) : 0;
}

int secret_keys_rotate(const char *dir, char ret_id[2 * SEAL_KEY_ID_BYTES + 1], struct error *err)
{
    CLEANUP(freep) char *path = key_file(dir);
    char bytes[FILE_BYTES_MAX];
    struct seal_key *keys, first;
    size_t n;
    int r = secret_keys_read(dir, &keys, &n, err);

    if (r == -ENOENT)
        return error_errno(err, r, "cannot read %s", path);
    if (r < 0)
        return r;
    if (n == SEAL_KEYS_MAX) {
        r = error_set(err, REASON_BAD_REQUEST, "%s holds %d keys already; drop the last ones", path,
                      SEAL_KEYS_MAX);
    } else if (getrandom(bytes, SEAL_KEY_BYTES, 0) != SEAL_KEY_BYTES) {
        r = error_errno(err, errno, "cannot make a key");
    } else {
        for (size_t i = 0; i < n; i++)
            memcpy(bytes + (i + 1) * SEAL_KEY_BYTES, keys[i].key, SEAL_KEY_BYTES);
        key_init(&first, bytes);
        seal_key_hex(&first, ret_id);
        r = keys_write(path, bytes, (n + 1) * SEAL_KEY_BYTES, true, err);
        explicit_bzero(&first, sizeof(first));
    }
    explicit_bzero(bytes, sizeof(bytes));
    secret_keys_free(keys, n);
    return r;
}

/* ---- what the store asks (worker threads; nothing here changes while it is open) ---- */

static bool seal_wants(void *ctx, struct str resource)
{
    const struct secret_seal *s = ctx;

    for (size_t i = 0; i < s->n_resources; i++)
        if (str_eq(s->resources[i], resource))
            return true;
    return false;
}

static int seal_close(void *ctx, struct str plain, struct str bound, struct buf *out)
{
    const struct secret_seal *s = ctx;

    buf_add(out, s->keys[0].id, SEAL_KEY_ID_BYTES);
    seal(s->keys[0].key, bound, plain, out);
    return 0;
}

static int seal_read(void *ctx, struct str sealed, struct str bound, bool named, struct buf *out,
                     bool *ret_stale)
{
    const struct secret_seal *s = ctx;
    int r = named ? -ENOKEY : -EBADMSG;

    if (named && sealed.n < SEAL_KEY_ID_BYTES)
        return -EBADMSG;
    for (size_t i = 0; i < s->n_keys; i++) {
        if (!named)
            r = seal_open(s->keys[i].key, bound, sealed, out);
        else if (memcmp(s->keys[i].id, sealed.p, SEAL_KEY_ID_BYTES) == 0)
            r = seal_open(s->keys[i].key, bound, str_sub(sealed, SEAL_KEY_ID_BYTES, sealed.n), out);
        else
            continue;
        if (r == 0)
            *ret_stale = !named || i > 0;
        if (r == 0 || named)
            break;
    }
    return r;
}

static void seal_renewed(void *ctx, size_t records)
{
    const struct secret_seal *s = ctx;
    char id[2 * SEAL_KEY_ID_BYTES + 1];

    seal_key_hex(&s->keys[0], id);
    log_info("%zu records are now sealed with the key %s; nothing needs an older one", records, id);
}

/* ---- what is sealed ---- */

static void add_resource(struct secret_seal *s, struct str group, struct str plural)
{
    char *text = xasprintf("%.*s/%.*s", STR_ARG(group), STR_ARG(plural));

    if (seal_wants(s, str_z(text))) {
        free(text);
        return;
    }
    s->resources = xrealloc(s->resources, (s->n_resources + 1) * sizeof(*s->resources));
    s->resources[s->n_resources++] = str_z(text);
}

/* A kind of a group that is none of ours is a custom resource, which may come later. */
static bool may_be_kind(struct str group, struct str plural)
{
    bool ours = false;

    for (size_t i = 0; i < _KIND_MAX; i++) {
        if (!str_eqz(group, schema_kinds[i]->group))
            continue;
        if (str_eqz(plural, schema_kinds[i]->plural))
            return true;
        ours = true;
    }
    return !ours && str_find(group, '.') >= 0;
}

static int choose(struct secret_seal *s, const char *also, struct error *err)
{
    struct str rest = str_z(also), one;

    add_resource(s, STR(""), STR("secrets"));
    while (str_cut(&rest, ',', &one) || one.n) {
        struct str group = one, plural;
        if (!str_cut(&group, '.', &plural)) {
            plural = one;
            group = STR("");
        }
        if (!may_be_kind(group, plural))
            return error_set(err, REASON_BAD_REQUEST,
                             "--encrypt: \"%.*s\" is no kind; say its plural, with its group if it "
                             "has one (deployments.apps)",
                             STR_ARG(one));
        add_resource(s, group, plural);
    }
    return 0;
}

/* ---- the whole ---- */

static int make_first(struct secret_seal *s, const char *dir, bool sync_later, struct error *err)
{
    CLEANUP(freep) char *path = key_file(dir);
    char bytes[SEAL_KEY_BYTES];
    int r;

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return error_errno(err, errno, "cannot make %s", path);
    r = keys_write(path, bytes, sizeof(bytes), !sync_later, err);
    if (r == 0) {
        s->keys = xcalloc(1, sizeof(*s->keys));
        s->n_keys = 1;
        key_init(s->keys, bytes);
        s->made = TAKE_PTR(path);
    }
    explicit_bzero(bytes, sizeof(bytes));
    return r;
}

int secret_seal_open(struct secret_seal *s, const char *dir, const char *also, bool sync_later,
                     struct error *err)
{
    int r;

    *s = (struct secret_seal){.seal = {.ctx = s,
                                       .wants = seal_wants,
                                       .seal = seal_close,
                                       .open = seal_read,
                                       .renewed = seal_renewed}};
    r = choose(s, also, err);
    if (r == 0)
        r = secret_keys_read(dir, &s->keys, &s->n_keys, err);
    return r == -ENOENT ? make_first(s, dir, sync_later, err) : r;
}

void secret_seal_undo(struct secret_seal *s, const char *dir, struct error *err)
{
    if (!s->made)
        return;
    (void)unlink(s->made);
    error_prefix(err, "there was no key of the Secrets, %s/secrets.key; restore it from a backup",
                 dir);
}

void secret_seal_fini(struct secret_seal *s)
{
    for (size_t i = 0; i < s->n_resources; i++)
        free((char *)(uintptr_t)s->resources[i].p);
    free(s->resources);
    free(s->made);
    secret_keys_free(s->keys, s->n_keys);
    *s = (struct secret_seal){0};
}
