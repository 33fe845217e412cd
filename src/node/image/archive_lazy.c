/* The table of node/image/archive_lazy.h. */
#define ARCHIVE_LAZY_IMPL
#include "node/image/archive_lazy.h"

#include <pthread.h>

#include "base/dl.h"

struct archive_lib archive_lib;

static void load(void)
{
    static const struct dl_symbol symbols[] = {
#define X(f) {#f, (void **)&archive_lib.f},
        ARCHIVE_FUNCTIONS(X)
#undef X
    };

    dl_need("libarchive.so.13", symbols, ARRAY_LEN(symbols));
}

void archive_lib_need(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load);
}
