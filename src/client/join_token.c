/* People lose the end of a long word when they copy it, so every part has a fixed length and the
 * digest, which would not be missed otherwise, comes last. */
#include "client/join_token.h"

#include <stdio.h>

#define PREFIX "dvt1-"

static int bad(struct error *err, const char *why)
{
    return error_set(err, REASON_BAD_REQUEST,
                     "this is no token as `davit token create` prints it: %s", why);
}

static int take(struct str *rest, char end, size_t n, char *ret)
{
    struct str part;

    (void)str_cut(rest, end, &part);
    for (size_t i = 0; i < part.n; i++)
        if (!((part.p[i] >= 'a' && part.p[i] <= 'z') || (part.p[i] >= '0' && part.p[i] <= '9')))
            return -EINVAL;
    if (part.n != n)
        return -EINVAL;
    memcpy(ret, part.p, n);
    ret[n] = '\0';
    return 0;
}

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int join_token_parse(struct str text, struct join_token *ret, struct error *err)
{
    struct str rest = str_trim(text);
    struct join_token t;
    char hex[SHA256_HEX + 1];

    if (!str_starts(rest, STR(PREFIX)))
        return bad(err, "it must begin with " PREFIX);
    if (rest.n < JOIN_TOKEN_CHARS)
        return bad(err, "its end is missing");
    if (rest.n > JOIN_TOKEN_CHARS)
        return bad(err, "it is too long");
    rest = str_sub(rest, sizeof(PREFIX) - 1, rest.n);
    if (take(&rest, '.', JOIN_TOKEN_ID_CHARS, t.id) < 0 ||
        take(&rest, '-', JOIN_TOKEN_SECRET_CHARS, t.secret) < 0 ||
        take(&rest, '\0', SHA256_HEX, hex) < 0)
        return bad(err, "a part of it is mistyped");
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int hi = nibble(hex[2 * i]), lo = nibble(hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return bad(err, "its digest is mistyped");
        t.ca_spki_sha256[i] = (uint8_t)(hi << 4 | lo);
    }
    *ret = t;
    return 0;
}

void join_token_print(const struct join_token *t, char ret[static JOIN_TOKEN_CHARS + 1])
{
    char hex[SHA256_HEX + 1];

    sha256_hex(t->ca_spki_sha256, hex);
    snprintf(ret, JOIN_TOKEN_CHARS + 1, PREFIX "%s.%s-%s", t->id, t->secret, hex);
}
