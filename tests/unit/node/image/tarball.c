/* ustar headers; long names and attributes as pax headers. */
#include "tarball.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

static void octal(char *at, size_t width, uint64_t v)
{
    snprintf(at, width, "%0*llo", (int)width - 1, (unsigned long long)v);
}

static void pad(struct buf *b)
{
    while (b->n % 512)
        buf_add_char(b, '\0');
}

static void header(struct buf *b, const struct tar_entry *e, const char *name, const char *link,
                   char type, uint64_t size)
{
    char h[512] = {0};
    memcpy(h, name, MIN(strlen(name), (size_t)100));
    octal(h + 100, 8, e->mode);
    octal(h + 108, 8, e->uid);
    octal(h + 116, 8, e->gid);
    octal(h + 124, 12, size);
    octal(h + 136, 12, 1000000000);
    memset(h + 148, ' ', 8);
    h[156] = type;
    if (link)
        memcpy(h + 157, link, MIN(strlen(link), (size_t)100));
    memcpy(h + 257, "ustar\00000", 8);
    octal(h + 329, 8, e->major);
    octal(h + 337, 8, e->minor);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(h); i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    buf_add(b, h, sizeof(h));
}

static void pax_record(struct buf *b, const char *key, const char *value)
{
    size_t n = strlen(key) + strlen(value) + 3, digits = 1, total;
    do {
        total = n + digits;
        digits = (size_t)snprintf(NULL, 0, "%zu", total);
    } while (n + digits != total);
    buf_printf(b, "%zu %s=%s\n", total, key, value);
}

void tar_add(struct buf *b, const struct tar_entry *e)
{
    struct buf pax = {0};
    if (strlen(e->name) > 100)
        pax_record(&pax, "path", e->name);
    if (e->link && strlen(e->link) > 100)
        pax_record(&pax, "linkpath", e->link);
    if (e->xattr) {
        const char *eq = strchr(e->xattr, '=');
        char *key = xasprintf("SCHILY.xattr.%.*s", (int)(eq - e->xattr), e->xattr);
        pax_record(&pax, key, eq + 1);
        free(key);
    }
    if (pax.n) {
        header(b, &(struct tar_entry){.mode = 0644}, "pax", NULL, 'x', pax.n);
        buf_add(b, pax.data, pax.n);
        pad(b);
    }
    buf_fini(&pax);
    header(b, e, e->name, e->link, e->type, e->claim ? e->claim : e->data.n);
    buf_add_str(b, e->data);
    pad(b);
}

void tar_end(struct buf *b)
{
    for (int i = 0; i < 1024; i++)
        buf_add_char(b, '\0');
}

int tar_to_fd(const struct buf *b)
{
    int fd = memfd_create("tar", MFD_CLOEXEC);
    ASSERT(fd >= 0 && write(fd, b->data, b->n) == (ssize_t)b->n && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

void tar_filter(struct buf *b, const char *command)
{
    char name[] = "/tmp/davit-tar-XXXXXX";
    int fd = mkstemp(name);
    ASSERT(fd >= 0 && write(fd, b->data, b->n) == (ssize_t)b->n);
    close(fd);
    char *line = xasprintf("%s < %s", command, name);
    FILE *p = popen(line, "re");
    ASSERT(p);
    buf_clear(b);
    for (size_t n; (n = fread(buf_reserve(b, 65536), 1, 65536, p)) > 0;)
        b->n += n;
    ASSERT(pclose(p) == 0);
    unlink(name);
    free(line);
}
