/* `davit image load|ls|rm|pull`: the image store of a data directory, straight on disk; the agent
 * that may be running beside it sees what changed at once. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/paths.h"

#include "base/mem.h"
#include "codec/values.h"
#include "node/image/image.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct image_args {
    struct image_store *store;
    const char *data_dir, *name, *user, *password;
    bool quiet;
};

static void size_print(uint64_t bytes, char *out, size_t n)
{
    static const char units[] = "BKMGT";
    double v = (double)bytes;
    unsigned u = 0;

    while (v >= 1000 && u < 4)
        v /= 1000, u++;
    snprintf(out, n, u ? "%.1f%cB" : "%.0f%c", v, units[u]);
}

static void image_loaded(void *arg, const struct image *img)
{
    printf("loaded %s\n", img->tags[0] ? img->tags[0] : img->id);
}

static int image_load(struct image_args *a, const char *operand, struct error *err)
{
    return image_load_file(a->store, operand, a->name, image_loaded, NULL, err);
}

static int image_ls(struct image_args *a, const char *operand, struct error *err)
{
    struct image_list list = {0};
    int r = image_list(a->store, &list, err);

    if (r < 0)
        return r;
    if (!a->quiet)
        printf("%-56s %-14s %10s\n", "IMAGE", "ID", "SIZE");
    for (size_t i = 0; i < list.n; i++) {
        const struct image *img = list.v[i];
        const char *id = strchr(img->id, ':') ? strchr(img->id, ':') + 1 : img->id;
        char size[16];
        size_print(img->size_bytes, size, sizeof(size));
        if (a->quiet)
            printf("%.12s\n", id);
        for (char **tag = img->tags; !a->quiet && *tag; tag++)
            printf("%-56s %-14.12s %10s\n", *tag, id, size);
        if (!a->quiet && !img->tags[0])
            printf("%-56s %-14.12s %10s\n", "<none>", id, size);
    }
    image_list_fini(&list);
    return 0;
}

static int image_rm(struct image_args *a, const char *operand, struct error *err)
{
    int r = image_remove(a->store, str_z(operand), err);

    if (r == 0)
        printf("removed %s\n", operand);
    return r;
}

/* One line that rewrites itself on a terminal; nothing in between elsewhere. */
static void pull_progress(void *arg, const struct image_progress *p)
{
    char done[16], total[16];

    if (!isatty(STDERR_FILENO))
        return;
    size_print(p->bytes_done, done, sizeof(done));
    size_print(p->bytes_total, total, sizeof(total));
    fprintf(stderr, "\r\033[K%u of %u layers, %s of %s", p->layers_done, p->layers_total, done,
            p->bytes_total ? total : "?");
}

static int image_fetch(struct image_args *a, const char *operand, struct error *err)
{
    struct image_auths auths = {0};
    struct image_name name;
    struct image *img = NULL;
    int r = image_name_parse(str_z(operand), &name, err);

    if (r < 0)
        return r;
    if (a->user)
        image_auths_add(&auths, name.domain, a->user, a->password ? a->password : "");
    r = image_pull(a->store, str_z(operand), a->user ? &auths : NULL, pull_progress, NULL, &img,
                   NULL, err);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    if (r == 0)
        printf("pulled %s\n", img->image_id);
    image_unref(img);
    image_auths_fini(&auths);
    image_name_fini(&name);
    return r;
}

static const struct {
    const char *name, *operand;
    int (*run)(struct image_args *a, const char *operand, struct error *err);
} image_verbs[] = {
    {"load", "FILE", image_load},
    {"ls", NULL, image_ls},
    {"rm", "IMAGE", image_rm},
    {"pull", "IMAGE", image_fetch},
};

static int image_run(struct image_args *a, int n, char **operands, struct error *err)
{
    struct image_store_opts store = {0};
    struct data_dir dir = {0};
    size_t v;
    int r;

    for (v = 0; v < ARRAY_LEN(image_verbs); v++)
        if (n > 0 && strcmp(operands[0], image_verbs[v].name) == 0)
            break;
    if (v == ARRAY_LEN(image_verbs))
        return error_set(err, REASON_BAD_REQUEST,
                         "say what to do: load FILE, ls, rm IMAGE or pull IMAGE");
    if (image_verbs[v].operand ? n < 2 : n > 1)
        return error_set(err, REASON_BAD_REQUEST, "%s takes %s", operands[0],
                         image_verbs[v].operand ? image_verbs[v].operand : "no operand");
    r = data_dir_open(&dir, a->data_dir, true, err);
    if (r < 0)
        return r;
    store.dir = dir.images;
    r = image_store_open(&store, &a->store, err);
    for (int i = 1; r == 0 && i < MAX(n, 2); i++)
        r = image_verbs[v].run(a, operands[i], err);
    a->store = image_store_close(a->store);
    data_dir_fini(&dir);
    return r;
}

int cli_image(int argc, char **argv)
{
    struct image_args a = {.data_dir = DATA_DIR_DEFAULT};
    const struct cli_opt opts[] = {
        {"data-dir", "DIR", "of the node (" DATA_DIR_DEFAULT ")", CLI_STRING, &a.data_dir},
        {"name", "IMAGE", "load: the name of an image that carries none", CLI_STRING, &a.name},
        {"user", "NAME", "pull: user at the registry", CLI_STRING, &a.user},
        {"password", "TEXT",
         "pull: and password (better: the environment's DAVIT_REGISTRY_PASSWORD)", CLI_STRING,
         &a.password},
        {"quiet", NULL, "ls: ids only", CLI_FLAG, &a.quiet},
    };
    struct error err = {0};
    int operands, r;

    a.password = getenv("DAVIT_REGISTRY_PASSWORD");
    r = cli_opts_parse("image load FILE... | ls | rm IMAGE... | pull IMAGE...",
                       "Images of this machine's node. FILE is a docker-archive or OCI-layout tar.",
                       opts, ARRAY_LEN(opts), argc, argv, &operands, &err);
    if (r != 0)
        return r > 0 ? EXIT_OK : cli_fail("image", &err, EXIT_USAGE);
    r = image_run(&a, operands, argv + 1, &err);
    return r == 0 ? EXIT_OK : cli_fail("image", &err, r == -EINVAL ? EXIT_USAGE : EXIT_FAILED);
}
