/* struct str: a borrowed view of bytes with a length; not NUL terminated unless said so.
 * p == NULL means "absent", which differs from the empty string (p != NULL, n == 0) where a field
 * has presence; every function here treats both as empty unless it says otherwise. */
#pragma once

#include "base/base.h"

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1}) /* string literal */
#define STR_NONE ((struct str){NULL, 0})
/* For printf: "%.*s", STR_ARG(s) */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_z(const char *s) /* NULL -> absent */
{
    return (struct str){s, s ? strlen(s) : 0};
}
static inline bool str_empty(struct str s)
{
    return s.n == 0;
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.p == b.p || a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_eqz(struct str a, const char *z)
{
    return str_eq(a, str_z(z));
}
/* str_is(s, "Running"): against a literal, length known at compile time. */
#define str_is(s, lit) str_eq((s), STR(lit))

int str_cmp(struct str a, struct str b);  /* bytewise; shorter first */
bool str_ieq(struct str a, struct str b); /* ASCII case folded */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
ssize_t str_find(struct str s, char c);  /* index or -1 */
ssize_t str_rfind(struct str s, char c); /* index or -1 */
ssize_t str_search(struct str s, struct str needle);
struct str str_sub(struct str s, size_t from, size_t to); /* clamped */
struct str str_trim(struct str s);                        /* ASCII white space, both ends */
/* Cuts at the first c: *head before it, *s after it. False (and *head = all, *s empty) without c;
 * so `while (str_cut(&s, ',', &item) || item.n)` walks a list. */
bool str_cut(struct str *s, char c, struct str *ret_head);

/* Whole string, base 10, optional sign. 0, -EINVAL or -ERANGE. */
int str_to_i64(struct str s, int64_t *ret) MUST_CHECK;
int str_to_u64(struct str s, uint64_t *ret) MUST_CHECK;
bool str_utf8_valid(struct str s);
/* Bytes of the character that s begins with; 0: s does not begin with a whole, valid one. */
size_t str_utf8_char(struct str s);
/* The character at *at, which moves behind it (*at < s.n); U+FFFD for a byte that begins none. */
uint32_t str_utf8_get(struct str s, size_t *at);

char *str_dup(struct str s);     /* heap, NUL terminated */
uint64_t str_hash(struct str s); /* keyed per process, see hash.h */
