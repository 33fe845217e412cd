/* No unloading: the libraries keep threads, caches and exit handlers. */
#include "base/dl.h"

#include <dlfcn.h>
#include <stdio.h>

static NORETURN void give_up(void)
{
    fprintf(stderr, "davit: %s\n", dlerror());
    exit(127);
}

void dl_need(const char *soname, const struct dl_symbol *v, size_t n)
{
    void *lib = dlopen(soname, RTLD_NOW | RTLD_LOCAL);

    if (!lib)
        give_up();
    for (size_t i = 0; i < n; i++)
        if (!(*v[i].to = dlsym(lib, v[i].name)))
            give_up();
}
