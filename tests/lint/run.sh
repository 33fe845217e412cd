#!/usr/bin/env bash
# make lint: layers, format, warnings of gcc and clang, long files and functions.
set -uo pipefail
cd "$(dirname "$0")/../.."
bad=0
tests/lint/layers.py . || bad=1
files=$(git ls-files 'src/*.[ch]' 'tests/*.[ch]')
# shellcheck disable=SC2086
unformatted=$(clang-format --dry-run $files 2>&1 | grep -c 'clang-format-violations' || true)
[ "$unformatted" -eq 0 ] || { echo "clang-format: $unformatted places differ; run: clang-format -i \$(git ls-files 'src/*.[ch]' 'tests/*.[ch]')"; bad=1; }
# shellcheck disable=SC2086
wc -l $files | awk '$2 != "total" && $1 > 1500 { print "over 1,500 lines: " $2; bad = 1 } END { exit bad }' || bad=1
for cc in gcc clang; do
    dir=build-lint-$cc
    [ -f "$dir/build.ninja" ] || CC=$cc meson setup "$dir" >/dev/null || bad=1
    ninja -C "$dir" >"/tmp/lint-$cc.$$" 2>&1 || { grep -E 'error:|warning:' "/tmp/lint-$cc.$$" | head -20; bad=1; }
    rm -f "/tmp/lint-$cc.$$"
done
[ "$bad" -eq 0 ] && echo "lint: nothing found"
exit $bad
