/* Impersonation: what the headers of a request ask for, as plain data. */
#pragma once

#include "apiserver/call.h"
#include "http/http.h"

struct impersonation {
    struct str user, uid; /* absent: none */
    struct str *groups;
    struct api_user_extra *extra; /* one row a value; keys may repeat */
    uint32_t n_groups, n_extra;
};

/* Names of headers are in lower case. Any thread; all is copied into a. *ret is NULL when no header
 * asks for anything. -E2BIG: more groups or extra values than one identity may have. */
int impersonate_read(const struct http_header *headers, size_t n, struct arena *a,
                     const struct impersonation **ret) MUST_CHECK;
/* KEY of Impersonate-Extra-KEY: percent-encoded, because header names have few characters. What is
 * not well encoded stays as it is. The result is in a, or raw itself. */
struct str impersonate_extra_key(struct str raw, struct arena *a);
