/* libcurl, loaded when it is first needed (base/dl.h). Include this instead of its own headers and
 * use the functions by their names; curl_lib_need() comes first. A function that is not in the list
 * is an error of the linker: add it. */
#pragma once

#define CURL_DISABLE_TYPECHECK /* its macros would hide the names */
#include <curl/curl.h>

#define CURL_FUNCTIONS(X)                                                                          \
    X(curl_easy_cleanup)                                                                           \
    X(curl_easy_escape)                                                                            \
    X(curl_easy_getinfo)                                                                           \
    X(curl_easy_init)                                                                              \
    X(curl_easy_perform)                                                                           \
    X(curl_easy_reset)                                                                             \
    X(curl_easy_setopt)                                                                            \
    X(curl_easy_strerror)                                                                          \
    X(curl_free)                                                                                   \
    X(curl_global_init)                                                                            \
    X(curl_slist_append)                                                                           \
    X(curl_slist_free_all)                                                                         \
    X(curl_url)                                                                                    \
    X(curl_url_cleanup)                                                                            \
    X(curl_url_get)                                                                                \
    X(curl_url_set)

struct curl_lib {
#define X(f) typeof(f) *f;
    CURL_FUNCTIONS(X)
#undef X
};
extern struct curl_lib curl_lib;

/* Any thread, any number of times. */
void curl_lib_need(void);

#ifndef CURL_LAZY_IMPL
#undef curl_easy_getinfo
#undef curl_easy_setopt
#define curl_easy_cleanup   curl_lib.curl_easy_cleanup
#define curl_easy_escape    curl_lib.curl_easy_escape
#define curl_easy_getinfo   curl_lib.curl_easy_getinfo
#define curl_easy_init      curl_lib.curl_easy_init
#define curl_easy_perform   curl_lib.curl_easy_perform
#define curl_easy_reset     curl_lib.curl_easy_reset
#define curl_easy_setopt    curl_lib.curl_easy_setopt
#define curl_easy_strerror  curl_lib.curl_easy_strerror
#define curl_free           curl_lib.curl_free
#define curl_global_init    curl_lib.curl_global_init
#define curl_slist_append   curl_lib.curl_slist_append
#define curl_slist_free_all curl_lib.curl_slist_free_all
#define curl_url            curl_lib.curl_url
#define curl_url_cleanup    curl_lib.curl_url_cleanup
#define curl_url_get        curl_lib.curl_url_get
#define curl_url_set        curl_lib.curl_url_set
#endif
