/* /etc/passwd and /etc/group of an image, which may say anything, and the image's USER. The input:
 * USER, a zero byte, passwd, a zero byte, group. */
#include "node/security.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *root_dir(void)
{
    static char dir[] = "/tmp/davit-fuzz-user-XXXXXX", etc[64];
    static bool made;
    if (!made) {
        ASSERT(mkdtemp(dir));
        snprintf(etc, sizeof(etc), "%s/etc", dir);
        ASSERT(mkdir(etc, 0700) == 0);
        made = true;
    }
    return dir;
}

static void put(const char *root, const char *name, struct str text)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/etc/%s", root, name);
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && write(fd, text.p ? text.p : "", text.n) == (ssize_t)text.n);
}

static void forget(const char *root)
{
    static const char *const names[] = {"etc/passwd", "etc/group"};
    char path[96];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", root, names[i]);
        unlink(path);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size}, who, passwd;
    struct api_security_context sc = {.has_run_as_non_root = true, .run_as_non_root = true};
    struct api_pod_security_context psc = {0};
    struct error err = {0};
    struct user u = {0};
    const char *root = root_dir();
    str_cut(&rest, '\0', &who);
    str_cut(&rest, '\0', &passwd);
    put(root, "passwd", passwd);
    put(root, "group", rest);
    for (int i = 0; i < 2; i++) {
        int r = user_resolve(root, who, i ? &sc : NULL, &psc, STR("c"), &u, &err);
        ASSERT((r < 0) == (err.message.n > 0));
        if (r >= 0) {
            ASSERT(u.uid >= 0 && u.uid <= UINT32_MAX && u.gid >= 0 && u.gid <= UINT32_MAX);
            ASSERT(u.n_groups <= USER_GROUPS_MAX && memchr(u.home, 0, sizeof(u.home)) &&
                   memchr(u.name, 0, sizeof(u.name)));
            ASSERT(!i || u.uid != 0);
        }
        error_clear(&err);
    }
    error_fini(&err);
    forget(root);
    return 0;
}
