/* index.json of the image store: a damaged one is an empty one, a good one is listed. */
#include "node/image/image.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char dir[] = "/tmp/davit-fuzz-index-XXXXXX";
    static struct image_store *s;
    static bool made;
    struct error err = {0};
    struct image_list l = {0};
    char path[64];
    if (!made) {
        ASSERT(mkdtemp(dir));
        made = true;
        struct image_store_opts o = {.dir = dir};
        ASSERT(image_store_open(&o, &s, &err) == 0);
    }
    snprintf(path, sizeof(path), "%s/index.json", dir);
    (void)unlink(path); /* another inode: it is read again */
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    if (image_list(s, &l, &err) < 0)
        ASSERT(err.message.n > 0);
    else
        image_list_fini(&l);
    error_fini(&err);
    return 0;
}
