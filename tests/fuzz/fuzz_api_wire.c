/* What the API server's front reads before it knows who asks: routes, Accept, continue tokens,
 * bearer tokens. First byte chooses. */
#include "apiserver/continue.h"
#include "apiserver/front/negotiate.h"
#include "apiserver/front/route.h"
#include "apiserver/auth/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_token(struct str text, struct arena *a)
{
    static struct pkey *key;
    struct token_claims t;
    struct error err = {0};
    if (!key)
        key = pkey_new_p256();
    int r = token_verify(key, text, 1767225600, a, &t, &err);
    ASSERT(r < 0 && err.message.p); /* nobody has the key */
    error_fini(&err);
}

static void one_route(struct str text, unsigned method, struct arena *a)
{
    struct str query = text, path;
    struct route r;
    bool has_query = str_cut(&query, '?', &path);
    enum route_result res = route_find(NULL, (enum http_method)(method % _HTTP_METHOD_MAX), path,
                                       has_query ? query : STR_NONE, a, &r);
    if (res == ROUTE_OK && r.verb != API_PATH)
        ASSERT(r.kind && (r.kind->namespaced || !r.ns.n) && (!r.subresource.n || r.name.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct str ns, name;
    struct accept acc;
    enum media m;
    rev_t rev;
    if (size < 2)
        return 0;
    struct str text = {(const char *)data + 2, size - 2};
    switch (data[0] % 4) {
    case 0:
        one_route(text, data[1], &a);
        break;
    case 1:
        (void)!accept_parse(text, text.n % 2, &acc);
        (void)!content_type_parse(text, &m);
        break;
    case 2:
        if (continue_parse(&a, text, &rev, &ns, &name) == 0) {
            struct str again = continue_make(&a, rev, ns, name), ns2, name2;
            rev_t rev2;
            ASSERT(continue_parse(&a, again, &rev2, &ns2, &name2) == 0 && rev == rev2 &&
                   str_eq(ns, ns2) && str_eq(name, name2));
        }
        break;
    default:
        one_token(text, &a);
    }
    arena_fini(&a);
    return 0;
}
