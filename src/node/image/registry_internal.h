/* Shared by registry.c (requests) and registry_auth.c (tokens). */
#pragma once

#include "node/image/curl_lazy.h"
#include "node/image/registry.h"

#define REGISTRY_REDIRECTS_MAX 5
#define TOKEN_BYTES_MAX        65536 /* of a token answer; real ones are under 10 KB */

struct registry {
    const struct image_name *name;
    const struct image_auths *auths;
    char *const *insecure;
    const char *ca_file;
    const _Atomic bool *cancelled;
    CURL *curl;          /* owned; keeps connections alive between requests */
    char *base;          /* owned; "https://registry-1.docker.io" */
    bool plain_ok;       /* http is allowed for this host */
    char *authorization; /* owned; "Authorization: Bearer ..." or NULL */
    bool unreachable, unauthorized;
};

/* One HTTP exchange. */
struct exchange {
    const char *url, *method;                        /* method NULL: GET */
    const char *accept, *authorization;              /* header lines' values; NULL: none */
    const char *user, *password;                     /* Basic; NULL: none */
    const char *post;                                /* form body; NULL: none */
    uint64_t range_from;                             /* 0: whole */
    int (*sink)(void *arg, const void *p, size_t n); /* body of 2xx; negative stops */
    void *arg;
    /* results */
    long status;
    uint64_t body_bytes;
    bool sink_failed;
    char www_authenticate[4096], location[8192], content_type[128], digest_header[128];
    struct buf error_body; /* owned; of other answers, bounded */
    char message[CURL_ERROR_SIZE];
    CURLcode code;
};
/* Redirects are not followed. 0: an answer came (any status). <0: no answer, err says why. */
int registry_exchange(struct registry *r, struct exchange *x, struct error *err) MUST_CHECK;
void exchange_fini(struct exchange *x);
bool registry_plain_allowed(const struct registry *r,
                            const char *url); /* https, or http to a permitted host */

/* Answers a 401: gets a token or settles for Basic. 1: try again, 0: nothing more to offer. */
int registry_authenticate(struct registry *r, const char *challenge, struct error *err) MUST_CHECK;
/* For the fuzzer: `Bearer realm="..",service="..",scope=".."` -> parts (views). */
struct challenge {
    struct str scheme, realm, service, scope;
};
bool challenge_parse(struct str header, struct challenge *ret);
