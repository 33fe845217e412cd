/* crun makes the place of each mount in the container's root when it is not there: /etc/hosts, the
 * directory of the token and so on, for most images nine files and directories, each made in the
 * overlay's work directory, moved to its upper one, and removed with the container. Instead they
 * are made once, in a layer of ours below the image's. Whatever the image has by these names covers
 * ours, and what it has removed stays removed: then crun makes the place as ever.
 *
 *   NODE/places/plain    proc sys dev etc/{hosts,hostname,resolv.conf}
 *   NODE/places/token    the same, and var/run/secrets/kubernetes.io/serviceaccount
 *   NODE/places/run      the same, but run/secrets/...: for images whose /var/run is a link to /run
 *
 * A container sees no name by this that crun would not make; so no token, no token's place. */
#include "node/places.h"

#include <sys/stat.h>

#include "base/error.h"

enum { PLAIN = 1, TOKEN = 2, RUN = 4 };

static const struct {
    int bit;
    const char *name;
} layers[] = {{PLAIN, "plain"}, {TOKEN, "token"}, {RUN, "run"}};

static const struct {
    const char *path; /* a directory; parents first */
    int in;
} dirs[] = {
    {"", PLAIN | TOKEN | RUN},
    {"proc", PLAIN | TOKEN | RUN},
    {"sys", PLAIN | TOKEN | RUN},
    {"dev", PLAIN | TOKEN | RUN},
    {"etc", PLAIN | TOKEN | RUN},
    {"var", TOKEN},
    {"var/run", TOKEN},
    {"var/run/secrets", TOKEN},
    {"var/run/secrets/kubernetes.io", TOKEN},
    {"var/run/secrets/kubernetes.io/serviceaccount", TOKEN},
    {"run", RUN},
    {"run/secrets", RUN},
    {"run/secrets/kubernetes.io", RUN},
    {"run/secrets/kubernetes.io/serviceaccount", RUN},
};
static const char *const files[] = {"etc/hosts", "etc/hostname", "etc/resolv.conf"};

static int make_layer(const char *root, int bit)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(dirs); i++) {
        struct fs_path dir = fs_path("%s/%s", root, dirs[i].path);
        if (!(dirs[i].in & bit))
            continue;
        r = fs_mkdirs(dir.s, 0755);
        if (r == 0 && chmod(dir.s, 0755) < 0) /* the umask is ours, the container anybody's */
            r = -errno;
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(files); i++) {
        struct fs_path file = fs_path("%s/%s", root, files[i]);
        r = fs_write(file.s, STR(""), 0644);
        if (r == 0 && chmod(file.s, 0644) < 0)
            r = -errno;
    }
    return r;
}

int places_make(const char *node_dir)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(layers); i++)
        r = make_layer(fs_path("%s/places/%s", node_dir, layers[i].name).s, layers[i].bit);
    return r;
}

static bool var_run_is_link(const char *const *layer_dirs, size_t n_layers)
{
    struct stat st;
    for (size_t i = n_layers; i-- > 0;)
        if (lstat(fs_path("%s/var/run", layer_dirs[i]).s, &st) == 0)
            return S_ISLNK(st.st_mode);
    return false;
}

struct fs_path places_layer(const char *node_dir, const char *const *layer_dirs, size_t n_layers,
                            bool token)
{
    size_t i = !token ? 0 : var_run_is_link(layer_dirs, n_layers) ? 2 : 1;
    return fs_path("%s/places/%s", node_dir, layers[i].name);
}
