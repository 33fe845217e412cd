/* Between the two files that read patterns. */
#pragma once

#include "codec/regex_int.h"

enum re_flags {
    RE_FOLD = 1 << 0,   /* i */
    RE_LINES = 1 << 1,  /* m */
    RE_DOT_NL = 1 << 2, /* s */
    RE_LAZY = 1 << 3,   /* U */
};

struct re {
    struct arena *out; /* the caller's: what stays */
    struct arena *a;   /* for the time of parsing */
    size_t set_bytes;  /* of sets, in out */
    struct str s;
    size_t i;
    unsigned flags, nest, n_unicode;
    struct inst *v;
    uint32_t n, cap;
    const char *why;
    struct str what; /* the part complained about */
};

/* Notes what is wrong with the part from..to, the first time; false. */
static inline bool re_wrong(struct re *r, const char *why, size_t from, size_t to)
{
    if (!r->why) {
        r->why = why;
        r->what = str_sub(r->s, from, to);
    }
    return false;
}
static inline char re_peek(const struct re *r, size_t ahead)
{
    return r->i + ahead < r->s.n ? r->s.p[r->i + ahead] : 0;
}
static inline bool re_more(const struct re *r)
{
    return r->i < r->s.n;
}

/* regex_parse.c */
bool re_emit_set(struct re *r, struct rune_set *s);

/* regex_class.c */
int re_hex(char c);                                              /* -1: no digit */
void re_perl_class(struct rune_set *s, struct arena *a, char c); /* d D s S w W */
bool re_unicode_class(struct re *r, struct rune_set *s);         /* at the p of \pL */
bool re_escaped_rune(struct re *r, uint32_t *ret);               /* behind a backslash */
bool re_parse_class(struct re *r);                               /* behind [ */
