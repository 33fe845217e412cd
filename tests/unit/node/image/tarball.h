/* Tar archives for tests, header by header, so that they can be as wrong as needed. */
#pragma once

#include "base/buf.h"

struct tar_entry {
    const char *name, *link; /* as they are, whatever they say */
    char type; /* '0' file, '1' hard link, '2' symlink, '3' char, '5' directory, '6' fifo */
    unsigned mode, uid, gid, major, minor;
    struct str data;
    const char *xattr; /* "name=value" for a pax header before it; NULL: none */
    uint64_t claim;    /* size in the header when it should differ from the data; 0: as the data */
};
void tar_add(struct buf *b, const struct tar_entry *e);
void tar_end(struct buf *b);
static inline void tar_file(struct buf *b, const char *name, const char *text)
{
    tar_add(b, &(struct tar_entry){.name = name, .type = '0', .mode = 0644, .data = str_z(text)});
}
static inline void tar_dir(struct buf *b, const char *name)
{
    tar_add(b, &(struct tar_entry){.name = name, .type = '5', .mode = 0755});
}
static inline void tar_link(struct buf *b, char type, const char *name, const char *target)
{
    tar_add(b, &(struct tar_entry){.name = name, .type = type, .mode = 0777, .link = target});
}
/* b through a program ("gzip -c", "zstd -c"), in place. */
void tar_filter(struct buf *b, const char *command);
int tar_to_fd(const struct buf *b); /* an unlinked file, at its start */
