/* Layer archives into a directory of a memory file system (when it may be mounted): nothing beside
 * the root may change, nothing may crash. Limits are small, so that inputs stay fast. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/image/layer.h"
#include "sys/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int top = -1; /* holds `root` and `canary` */

static void prepare(void)
{
    static char dir[] = "/tmp/davit-fuzz-layer-XXXXXX";
    ASSERT(mkdtemp(dir));
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        (void)!mount("tmpfs", dir, "tmpfs", 0, "size=64m");
    top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(top >= 0);
    (void)rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct layer_limits limits = {.bytes_max = 1 << 20,
                                               .entries_max = 1000,
                                               .depth_max = 64,
                                               .path_max = 1024,
                                               .disk_reserve_bytes = 0};
    struct layer_result res;
    struct error err = {0};
    struct stat st;
    if (top < 0)
        prepare();
    ASSERT(sys_remove_tree(top, "root") == 0 && mkdirat(top, "root", 0755) == 0);
    ASSERT(sys_write_file(top, "canary", "c", 1, 0600) == 0);
    CLEANUP(fd_closep) int root = openat(top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(fd_closep) int fd = memfd_create("layer", MFD_CLOEXEC);
    ASSERT(root >= 0 && fd >= 0 && write(fd, data, size) == (ssize_t)size &&
           lseek(fd, 0, SEEK_SET) == 0);
    unsigned flags = size && data[size - 1] & 1 ? 0 : LAYER_WHITEOUTS;
    if (layer_unpack(fd, root, flags, &limits, &res, &err) == 0)
        ASSERT(res.size_bytes <= limits.bytes_max && res.entries <= limits.entries_max);
    else
        ASSERT(err.message.n > 0);
    ASSERT(fstatat(top, "canary", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size == 1 &&
           st.st_nlink == 1);
    ASSERT(fstat(top, &st) == 0 && st.st_nlink <= 3);
    ASSERT(sys_remove_tree(top, "root") == 0);
    error_fini(&err);
    return 0;
}
