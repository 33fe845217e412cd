/* Between the parser and the machine. */
#pragma once

#include "codec/regex.h"

struct rune_range {
    uint32_t lo, hi;
};
struct rune_set {
    struct rune_range *v;
    uint32_t n, cap;
    uint64_t ascii[2]; /* bits of the first 128 */
};

enum inst_op {
    INST_RANGE, /* lo..hi */
    INST_SET,
    INST_SPLIT, /* x before y */
    INST_JUMP,  /* x */
    INST_ASSERT,
    INST_MATCH,
};
enum inst_assert {
    ASSERT_BEGIN_TEXT,
    ASSERT_END_TEXT,
    ASSERT_BEGIN_LINE,
    ASSERT_END_LINE,
    ASSERT_WORD,
    ASSERT_NOT_WORD,
};
struct inst {
    uint8_t op;
    uint32_t x, y; /* targets; lo, hi; which assertion */
    const struct rune_set *set;
};
struct regex {
    const struct inst *v;
    size_t bytes;
    uint32_t n;
    bool anchored;  /* matches at the start of the text only */
    int first_byte; /* every match starts with it; -1: not known */
};

/* Generated: unicode.gen.c. The whole code space from 0 on, in runs of one general category: its
 * index in the upper five bits, how many code points in the others. The first is Cn: unassigned. */
#define UNICODE_RUN(x)      ((x)&2047U)
#define UNICODE_CATEGORY(x) ((x) >> 11)
extern const char unicode_categories[][3];
extern const uint16_t unicode_runs[];
extern const uint32_t n_unicode_runs;
/* lo..hi: the next one that is equal without case lies delta away; 0: they are pairs. Orbits are
 * closed, runs sorted. */
struct unicode_fold {
    uint32_t lo, hi;
    int32_t delta;
};
extern const struct unicode_fold unicode_folds[];
extern const uint32_t n_unicode_folds;

/* regex_set.c */
void rune_set_add(struct rune_set *s, struct arena *a, uint32_t lo, uint32_t hi);
void rune_set_add_set(struct rune_set *s, struct arena *a, const struct rune_set *other);
void rune_set_fold(struct rune_set *s, struct arena *a); /* adds what differs by case */
void rune_set_negate(struct rune_set *s, struct arena *a);
void rune_set_close(struct rune_set *s); /* sorted, joined; ready for rune_set_has */
bool rune_set_has(const struct rune_set *s, uint32_t rune);
/* False: no such category. */
bool rune_set_category(struct rune_set *s, struct arena *a, struct str name, bool negated);
uint32_t unicode_fold_next(uint32_t rune); /* itself when there is no other */
