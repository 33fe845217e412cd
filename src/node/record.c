/* A container on its way up changes its record six times, a pod three times. A new file renamed
 * over the old one would make and free an inode each time; a file system looks long for an inode
 * when many were freed shortly before (ext4 without a journal goes through all that were freed in
 * the last minute), which made a hundred pods at once cost the square of a hundred. So records are
 * added to their file:
 *
 *   file    = { "\n" object }      object: JSON on one line
 *
 * Each line brings its line feed along in front, so that one that our death cut short spoils no
 * later one: half an object is no object, and the line before it counts, which is what was true
 * when we died. The file is written anew, whole and by rename, once it has grown. */
#include "node/record.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "node/fsutil.h"

#define RECORD_MODE 0600
/* Some hundred changes; a record itself is a few hundred bytes, with long messages some thousand.
 */
#define RECORD_FILE_GROWN 65536

static int append(int fd, struct str object)
{
    struct buf b = {0};
    buf_add_char(&b, '\n');
    buf_add_str(&b, object);
    ssize_t w;
    do
        w = write(fd, b.data, b.n);
    while (w < 0 && errno == EINTR);
    /* Cut short by a disk that is full: no record, and no harm. */
    int r = w < 0 ? -errno : (size_t)w < b.n ? -ENOSPC : 0;
    buf_fini(&b);
    return r;
}

int record_save(const char *path, struct str object)
{
    CLEANUP(fd_closep)
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, RECORD_MODE);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    return st.st_size > RECORD_FILE_GROWN ? fs_write_atomic(path, object, RECORD_MODE)
                                          : append(fd, object);
}

int record_parse(struct str text, struct arena *a, struct json **ret)
{
    while (text.n > 0) {
        ssize_t nl = str_rfind(text, '\n');
        struct str line = str_trim(str_sub(text, (size_t)(nl + 1), text.n));
        text = str_sub(text, 0, nl < 0 ? 0 : (size_t)nl);
        struct error err = {0};
        struct json *v;
        int r = line.n ? json_parse(line, a, NULL, &v, &err) : -ENOENT;
        error_fini(&err);
        if (r == 0 && json_is(v, JSON_OBJ)) {
            *ret = v;
            return 0;
        }
    }
    return -ENOENT;
}

int record_load(const char *path, struct arena *a, struct json **ret)
{
    struct buf b = {0};
    int r = fs_read(path, RECORD_BYTES_MAX, &b);
    if (r == 0)
        r = record_parse(buf_str(&b), a, ret);
    buf_fini(&b);
    return r;
}
