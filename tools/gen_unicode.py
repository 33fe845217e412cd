#!/usr/bin/python3
"""Writes the tables of src/codec/regex_int.h: general categories, and what is equal without case.
They come from python's own copy of the Unicode character database. Usage: gen_unicode.py OUT.c"""

import sys
import unicodedata

SURROGATES = range(0xD800, 0xE000)
RUN_MAX = 2047  # eleven bits


def categories():
    """Names, and the code space from 0 on as runs: the index of a name, how many."""
    names, runs = ["Cn"], []
    for cp in range(0x110000):
        c = unicodedata.category(chr(cp))
        if c not in names:
            names.append(c)
        i = names.index(c)
        if runs and runs[-1][0] == i and runs[-1][1] < RUN_MAX:
            runs[-1][1] += 1
        else:
            runs.append([i, 1])
    assert len(names) <= 32
    return names, runs


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


def fold_runs():
    """Runs of code points whose next ones lie equally far away (first, last, how far), or that are pairs (0)."""
    to = dict(orbits())
    runs, done = [], -1
    for cp in sorted(to):
        if cp <= done:
            continue
        pair = to[cp] == cp + 1 and to.get(cp + 1) == cp
        done, delta = (cp + 1, 0) if pair else (cp, to[cp] - cp)
        if runs and runs[-1][1] == cp - 1 and runs[-1][2] == delta:
            runs[-1][1] = done
        else:
            runs.append([cp, done, delta])
    return runs


def main():
    out = ['#include "codec/regex_int.h"', ""]
    names, runs = categories()
    out.append("const char unicode_categories[][3] = {" + ",".join(f'"{n}"' for n in names) + "};")
    out.append("const uint16_t unicode_runs[] = {")
    out.append(",".join(str(i << 11 | n) for i, n in runs) + "};")
    out.append(f"const uint32_t n_unicode_runs = {len(runs)};")
    folds = fold_runs()
    out.append("const struct unicode_fold unicode_folds[] = {")
    out.append(",".join(f"{{{lo},{hi},{d}}}" for lo, hi, d in folds) + "};")
    out.append(f"const uint32_t n_unicode_folds = {len(folds)};")
    with open(sys.argv[1], "w", encoding="ascii") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
