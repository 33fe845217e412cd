/* The program a pattern is compiled to: a machine with threads that walk in step (Thompson 1968).
 */
#pragma once

#include "schema/pattern.h"

enum pattern_op {
    PATTERN_CLASS, /* a character of a class: then x */
    PATTERN_SPLIT, /* x and y */
    PATTERN_JUMP,  /* x */
    PATTERN_BEGIN, /* of the text; of a line with multi */
    PATTERN_END,
    PATTERN_WORD, /* boundary of a word */
    PATTERN_NO_WORD,
    PATTERN_MATCH,
};

struct pattern_range {
    uint32_t lo, hi;
};

struct pattern_class {
    const struct pattern_range *v;
    uint32_t n;
    bool negated;
};

struct pattern_step {
    uint8_t op;
    bool multi;
    uint32_t x, y;
    const struct pattern_class *class;
};

/* The character at *i, which moves behind it. */
uint32_t pattern_char(struct str s, size_t *i);

struct pattern {
    const struct pattern_step *steps;
    uint32_t n, start;
};
