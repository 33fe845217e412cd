#!/usr/bin/env bash
# make fuzz: every fuzzer for SECONDS (default 20) on top of its corpus. New inputs go to build-fuzz/corpus; a finding is kept as
# build-fuzz/crash-* and fails the run: minimise it, add it to tests/fuzz/corpus, mend the parser.
set -uo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-20}
[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false >/dev/null || exit 1
ninja -C build-fuzz >/tmp/fuzz-build.$$ 2>&1 || { grep -E 'error' /tmp/fuzz-build.$$ | head; exit 1; }
rm -f /tmp/fuzz-build.$$
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 # or what is undefined is told and passed over
bad=0
for exe in build-fuzz/tests/fuzz/fuzz_*; do
    [ -x "$exe" ] && [ -f "$exe" ] || continue
    name=$(basename "$exe" | sed 's/^fuzz_//')
    mkdir -p "build-fuzz/corpus/$name"
    if "$exe" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -artifact_prefix="build-fuzz/crash-$name-" -verbosity=0 -print_final_stats=1 \
        "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" >"build-fuzz/$name.log" 2>&1; then
        printf '%-24s %s executions, nothing found\n' "$name" "$(sed -n 's/stat::number_of_executed_units: *//p' "build-fuzz/$name.log")"
    else
        printf '%-24s FINDING, see build-fuzz/%s.log\n' "$name" "$name"
        tail -n 5 "build-fuzz/$name.log"
        bad=1
    fi
done
exit $bad
