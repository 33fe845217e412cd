/* The key lies beside the certificate authority's: who has either has the cluster. It never changes
 * by itself; losing it loses the Secrets, so it is written durably before the first one is sealed.
 */
#include "main/seal.h"

#include "base/mem.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

static bool seal_wants(void *ctx, const struct schema_kind *kind)
{
    return kind == schema_kinds[KIND_SECRET];
}

static int seal_close(void *ctx, struct str plain, struct str bound, struct buf *out)
{
    seal(((struct secret_seal *)ctx)->key, bound, plain, out);
    return 0;
}

static int seal_read(void *ctx, struct str sealed, struct str bound, struct buf *out)
{
    return seal_open(((struct secret_seal *)ctx)->key, bound, sealed, out);
}

int secret_seal_open(struct secret_seal *s, const char *dir, bool sync_later, struct error *err)
{
    CLEANUP(freep) char *path = xasprintf("%s/secrets.key", dir);
    CLEANUP(freep) char *key = NULL;
    size_t n = 0;
    int r = sys_read_file(AT_FDCWD, path, 4096, &key, &n);

    *s = (struct secret_seal){.seal = {s, seal_wants, seal_close, seal_read}};
    if (r == -ENOENT) {
        if (getrandom(s->key, sizeof(s->key), 0) != sizeof(s->key))
            return error_errno(err, errno, "cannot make %s", path);
        r = sync_later ? sys_put_file(AT_FDCWD, path, s->key, sizeof(s->key), 0600)
                       : sys_write_file(AT_FDCWD, path, s->key, sizeof(s->key), 0600);
        if (r < 0)
            return error_errno(err, r, "cannot write %s", path);
        s->made = TAKE_PTR(path);
        return 0;
    }
    if (r < 0 && r != -EFBIG)
        return error_errno(err, r, "cannot read %s", path);
    if (n != sizeof(s->key))
        return error_set(err, REASON_INTERNAL,
                         "%s is damaged: it must hold %zu bytes; restore it from a backup", path,
                         sizeof(s->key));
    memcpy(s->key, key, n);
    explicit_bzero(key, n);
    return 0;
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
    free(s->made);
    s->made = NULL;
    explicit_bzero(s->key, sizeof(s->key));
}
