/* The key lies beside the certificate authority's: who has either has the cluster. It never changes
 * by itself; losing it loses the Secrets, so it is written durably before the first one is sealed.
 */
#include "main/seal.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
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

static int key_make(struct secret_seal *s, const char *path, const char *dir, struct error *err)
{
    CLEANUP(freep) char *tmp = xasprintf("%s.tmp", path);
    CLEANUP(fd_closep) int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CLEANUP(fd_closep) int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || dir_fd < 0 || getrandom(s->key, sizeof(s->key), 0) != sizeof(s->key))
        return error_errno(err, errno, "cannot make %s", path);
    if (write(fd, s->key, sizeof(s->key)) != sizeof(s->key) || fsync(fd) < 0 ||
        rename(tmp, path) < 0 || fsync(dir_fd) < 0)
        return error_errno(err, errno, "cannot write %s", path);
    return 0;
}

int secret_seal_open(struct secret_seal *s, const char *dir, struct error *err)
{
    CLEANUP(freep) char *path = xasprintf("%s/secrets.key", dir);
    CLEANUP(fd_closep) int fd = -1;
    ssize_t n;

    *s = (struct secret_seal){.seal = {s, seal_wants, seal_close, seal_read}};
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "cannot create %s", dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return key_make(s, path, dir, err);
    if (fd < 0)
        return error_errno(err, errno, "cannot open %s", path);
    n = read(fd, s->key, sizeof(s->key));
    if (n != sizeof(s->key))
        return error_set(err, REASON_INTERNAL,
                         "%s is damaged: it must hold %zu bytes; restore it from a backup", path,
                         sizeof(s->key));
    return 0;
}

void secret_seal_fini(struct secret_seal *s)
{
    explicit_bzero(s->key, sizeof(s->key));
}
