/* Regular expressions of schemas, in the syntax of RE2 (what Kubernetes takes) less Unicode
 * classes. Matching takes time in proportion to the text and to the size of the compiled pattern,
 * whatever both are: they come from strangers. */
#pragma once

#include "base/arena.h"

#define PATTERN_BYTES_MAX 8192
#define PATTERN_STEPS_MAX 10000 /* instructions of one program; {1,1000} makes a thousand */
#define PATTERN_DEPTH_MAX 100   /* groups within groups */
#define PATTERN_WORK_MAX                                                                           \
    20000000 /* places looked at in one match, some 100 ms: beyond it a text does not match */

struct pattern;

/* In the arena; NULL, and why in *ret_why (static), when it does not parse or is too large. */
const struct pattern *pattern_compile(struct str text, struct arena *a, const char **ret_why);
/* It matches somewhere in s. Any thread. Bytes that are no UTF-8 count as U+FFFD. */
bool pattern_match(const struct pattern *p, struct str s);
