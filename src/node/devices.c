/* A privileged container sees every device of the host. Terminals, shared memory and message queues
 * are its own, and links are left to what made them. */
#include "node/devices.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "node/fsutil.h"
#include "node/jw.h"

#define DEVICES_MAX 2048
#define DEPTH_MAX   8

struct walk {
    struct jw w;
    unsigned n, depth;
    const char *dir;
};

static int one(void *arg, const char *name, unsigned char type)
{
    static const char *const own[] = {
        "pts",       "shm",  "mqueue", "console", "fd",  ".lxc",   ".lxd-mounts", ".udev",
        "hugepages", "null", "zero",   "full",    "tty", "random", "urandom",     "ptmx"};
    struct walk *k = arg;
    if (k->depth == 0)
        for (size_t i = 0; i < ARRAY_LEN(own); i++)
            if (strcmp(name, own[i]) == 0)
                return 0;
    struct fs_path path = fs_path("%s/%s", k->dir, name);
    struct stat st;
    if (lstat(path.s, &st) < 0 || k->n >= DEVICES_MAX)
        return 0;
    if (S_ISDIR(st.st_mode) && k->depth < DEPTH_MAX) {
        const char *dir = k->dir;
        k->dir = path.s;
        k->depth++;
        (void)!fs_each(path.s, one, k);
        k->depth--;
        k->dir = dir;
    } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
        k->n++;
        jw_open(&k->w, '{');
        jw_key_z(&k->w, "type", S_ISCHR(st.st_mode) ? "c" : "b");
        jw_key_z(&k->w, "path", path.s);
        jw_key_i64(&k->w, "major", major(st.st_rdev));
        jw_key_i64(&k->w, "minor", minor(st.st_rdev));
        jw_key_i64(&k->w, "fileMode", st.st_mode & 0777);
        jw_key_i64(&k->w, "uid", st.st_uid);
        jw_key_i64(&k->w, "gid", st.st_gid);
        jw_close(&k->w, '}');
    }
    return 0;
}

void devices_json(struct buf *out)
{
    struct walk k = {.w = {out, false}, .dir = "/dev"};
    (void)!fs_each("/dev", one, &k);
}
