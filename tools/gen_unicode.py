#!/usr/bin/python3
"""Writes the tables of src/codec/regex_int.h: general categories as ranges, and what is equal without case.
They come from python's own copy of the Unicode character database. Usage: gen_unicode.py OUT.c"""

import sys
import unicodedata

SURROGATES = range(0xD800, 0xE000)


def categories():
    ranges = {}
    for cp in range(0x110000):
        c = unicodedata.category(chr(cp))
        if c == "Cn":
            continue
        v = ranges.setdefault(c, [])
        if v and v[-1][1] == cp - 1:
            v[-1][1] = cp
        else:
            v.append([cp, cp])
    return ranges


def folded(ch):
    """Simple case folding: one character or none."""
    for f in (ch.casefold(), ch.lower()):
        if len(f) == 1:
            return f
    return ch


def orbits():
    groups = {}
    for cp in range(0x110000):
        if cp in SURROGATES:
            continue
        f = folded(chr(cp))
        if f != chr(cp):
            groups.setdefault(ord(f), {ord(f)}).add(cp)
    pairs = []
    for members in groups.values():
        members = sorted(members)
        pairs += zip(members, members[1:] + members[:1])
    return sorted(pairs)


def main():
    out = ['#include "codec/regex_int.h"', ""]
    cats = categories()
    for name in sorted(cats):
        out.append(f"static const struct rune_range cat_{name}[] = {{")
        out.append(",".join(f"{{{lo},{hi}}}" for lo, hi in cats[name]) + "};")
    out.append("const struct unicode_category unicode_categories[] = {")
    out += [f'{{"{n}", cat_{n}, {len(cats[n])}}},' for n in sorted(cats)]
    out.append("{NULL, NULL, 0}};")
    folds = orbits()
    out.append("const struct unicode_fold unicode_folds[] = {")
    out.append(",".join(f"{{{a},{b}}}" for a, b in folds) + "};")
    out.append(f"const uint32_t n_unicode_folds = {len(folds)};")
    with open(sys.argv[1], "w", encoding="ascii") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
