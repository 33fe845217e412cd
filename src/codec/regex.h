/* Regular expressions with the syntax and the meaning of RE2 (as Go's regexp has it):
 * leftmost-first, no look-around, no back-references, and time linear in the text. The
 * distribution's libraries do not fit: PCRE2 backtracks, and RE2 is C++ (it would bring its run
 * time into every process).
 *
 * Unicode: classes by general category (\pL, \p{Lu}); scripts (\p{Greek}) are refused. A compiled
 * expression is constant, lies in its arena and may be used by any thread. Expressions and texts
 * come from strangers: what both may cost is bounded. */
#pragma once

#include "base/arena.h"

#define REGEX_BYTES_MAX   8192  /* of the text of an expression */
#define REGEX_REPEAT_MAX  1000  /* as RE2 and Go: x{1000} */
#define REGEX_NEST_MAX    100   /* groups within groups */
#define REGEX_INSTS_MAX   10000 /* of the program; counted repetitions are copies */
#define REGEX_UNICODE_MAX 50    /* classes by category in one expression: each is some kilobytes */

struct regex;

/* NULL: *ret_why says "error parsing regexp: missing closing ): `(a`", in the arena. */
struct regex *regex_new(struct str pattern, struct arena *a, struct str *ret_why);
size_t regex_bytes(const struct regex *re); /* what it holds of its arena */

/* Looks for a match at or behind `at`. 1: found, in bytes [*ret_from, *ret_to); 0: none; -ETIME: it
 * took more than *steps steps. What is left is put there. The outputs may be NULL: then the first
 * match seen ends the search. Bytes that are no UTF-8 count as U+FFFD. */
int regex_find(const struct regex *re, struct str text, size_t at, uint64_t *steps,
               size_t *ret_from, size_t *ret_to);
