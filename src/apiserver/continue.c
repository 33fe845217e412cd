/* See continue.h. Opaque to clients; a forged one can only ask for what a list could ask for
 * anyway. */
#include "apiserver/continue.h"

#include "base/mem.h"
#include "codec/base64.h"

struct str continue_make(struct arena *a, rev_t rev, struct str ns, struct str name)
{
    struct str at = rev ? arena_printf(a, "%llu", (unsigned long long)rev) : STR("now");
    struct str plain =
        arena_printf(a, "v1:%.*s:%.*s/%.*s", STR_ARG(at), STR_ARG(ns), STR_ARG(name));
    struct buf b = {0};
    base64url_print(plain, &b);
    struct str out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}

int continue_parse(struct arena *a, struct str token, rev_t *ret_rev, struct str *ret_ns,
                   struct str *ret_name)
{
    struct str plain, version, rev_text, ns;
    rev_t rev = 0;
    if (token.n > 1024 || base64url_parse(token, a, &plain) < 0)
        return -EINVAL;
    if (!str_cut(&plain, ':', &version) || !str_is(version, "v1") ||
        !str_cut(&plain, ':', &rev_text) || !str_cut(&plain, '/', &ns) || plain.n == 0)
        return -EINVAL;
    if (!str_is(rev_text, "now") && (str_to_u64(rev_text, &rev) < 0 || rev == 0))
        return -EINVAL;
    for (size_t i = 0; i < ns.n + plain.n; i++) { /* names are printable ASCII */
        char c = i < ns.n ? ns.p[i] : plain.p[i - ns.n];
        if (c <= ' ' || c > '~')
            return -EINVAL;
    }
    *ret_rev = rev;
    *ret_ns = ns;
    *ret_name = plain;
    return 0;
}
