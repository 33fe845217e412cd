/* Runs a fuzz target over files, so that its corpus is an ordinary test with every compiler.
 * Arguments: files or directories; a directory that is not there is an empty corpus. Each input is
 * also tried cut short. */
#include "base/base.h"
#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned ran;

static int run_file(const char *path)
{
    FILE *fp = fopen(path, "re");
    uint8_t *data = xmalloc(1 << 20);
    size_t n;

    if (!fp) {
        perror(path);
        free(data);
        return 1;
    }
    n = fread(data, 1, 1 << 20, fp);
    (void)fclose(fp);
    for (size_t cut = n; cut > 0; cut -= 1 + cut / 8) {
        /* exactly sized, so that a sanitizer sees a read behind the end */
        uint8_t *copy = xmalloc(cut);
        memcpy(copy, data, cut);
        (void)LLVMFuzzerTestOneInput(copy, cut);
        free(copy);
        ran++;
    }
    free(data);
    return 0;
}

static int run_dir(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    int bad = 0;

    if (!d)
        return 0;
    while ((e = readdir(d))) {
        CLEANUP(freep) char *file = xasprintf("%s/%s", path, e->d_name);
        struct stat st;
        if (e->d_name[0] != '.' && stat(file, &st) == 0 && S_ISREG(st.st_mode))
            bad |= run_file(file);
    }
    (void)closedir(d);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;

    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) == 0 && S_ISREG(st.st_mode))
            bad |= run_file(argv[i]);
        else
            bad |= run_dir(argv[i]);
    }
    printf("%u inputs\n", ran);
    return bad;
}
