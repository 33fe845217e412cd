/* The table of node/image/curl_lazy.h. */
#define CURL_LAZY_IMPL
#include "node/image/curl_lazy.h"

#include <pthread.h>

#include "base/dl.h"

struct curl_lib curl_lib;

static void load(void)
{
    static const struct dl_symbol symbols[] = {
#define X(f) {#f, (void **)&curl_lib.f},
        CURL_FUNCTIONS(X)
#undef X
    };

    dl_need("libcurl.so.4", symbols, ARRAY_LEN(symbols));
}

void curl_lib_need(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load);
}
