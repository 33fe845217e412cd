#!/usr/bin/env bash
# All tests, or some: tests/run.sh [unit] [integration]. Prints one line a suite and ends with "N passed, N failed";
# before that, what failed once more, for those who see the end only.
#   unit         layers; every cmocka test and fuzz corpus, the simulator's scenarios, under ASan and UBSan; gcc and clang builds
#   integration  the built program, driven by kubectl, curl and the official JavaScript client (root)
# BUILD, JOBS, BATS_JOBS (files at a time), DAVIT_KILLS, BATS_FILTER may be set.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
parts=${*:-unit integration}
build=${BUILD:-build}
jobs=${JOBS:-$(nproc)}
logs=$(mktemp -d /tmp/davit-tests.XXXXXX)
passed=0
failed=0

count() { # passed failed what
    passed=$((passed + $1))
    failed=$((failed + $2))
    printf '%-46s %4d passed, %d failed\n' "$3" "$1" "$2"
}

# What a reader needs first of a failure, now and again at the end. $1: a heading; stdin: the lines.
blame() {
    { echo "--- $1"; head -n 40; } | tee -a "$logs/failures"
}

build_in() { # directory, then options of meson setup
    local dir=$1
    shift
    [ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >"$logs/setup" 2>&1 || { tail -n 20 "$logs/setup"; return 1; }
    ninja -C "$dir" -j "$jobs" >"$logs/ninja" 2>&1 || { grep -E 'error|FAILED|warning' "$logs/ninja" | blame "$dir"; return 1; }
}

meson_tests() { # directory what [arguments]
    local dir=$1 what=$2
    shift 2
    meson test -C "$dir" --num-processes "$jobs" --print-errorlogs "$@" >"$logs/meson" 2>&1
    local ok bad
    ok=$(sed -n 's/^Ok: *\([0-9]*\).*/\1/p' "$logs/meson")
    bad=$(($(sed -n 's/^Fail: *\([0-9]*\).*/\1/p' "$logs/meson") + $(sed -n 's/^Timeout: *\([0-9]*\).*/\1/p' "$logs/meson")))
    if [ "${bad:-0}" -ne 0 ] || [ -z "$ok" ]; then
        cp "$dir/meson-logs/testlog.txt" "$logs/" # whole: a report of leaks is longer than what meson shows
        { grep -E '^ *[0-9]+/[0-9]+ .*(FAIL|TIMEOUT)' "$logs/meson" || tail -n 20 "$logs/meson"
          grep -E -A 3 '^\[ *(ERROR|FAILED) *\]|ERROR: [A-Za-z]*Sanitizer|runtime error|assertion' "$logs/testlog.txt"
        } | blame "$what"
    fi
    [ -n "$ok" ] || bad=1
    count "${ok:-0}" "${bad:-0}" "$what"
}

unit() {
    if build_in build-asan -Db_sanitize=address,undefined -Db_lundef=false; then
        ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
            count 1 0 "build with gcc -Werror, sanitizers"
        meson_tests build-asan "unit, simulator, corpora (ASan, UBSan)"
    else
        count 0 1 "build with sanitizers"
    fi
    if CC=clang build_in build-clang; then
        count 1 0 "build with clang -Werror"
    else
        count 0 1 "build with clang -Werror"
    fi
}

# Runs one file; leaves "passed failed" in its result, so that several may run beside each other.
bats_file() {
    local name tap
    name=$(basename "$1" .bats)
    tap=$logs/$name.tap
    timeout "${BATS_FILE_TIMEOUT:-900}" bats --tap ${BATS_FILTER:+-f "$BATS_FILTER"} "$1" >"$tap" 2>"$logs/$name.err" </dev/null
    local r=$? ok bad
    ok=$(grep -c '^ok ' "$tap")
    bad=$(grep -c '^not ok ' "$tap")
    # a file that broke off has fewer lines than its plan
    [ "$r" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    echo "$ok $bad" >"$logs/$name.new" && mv "$logs/$name.new" "$logs/$name.result"
}

bats_result() {
    local name=$1 ok bad
    read -r ok bad <"$logs/$name.result"
    [ "$bad" -eq 0 ] || { grep -v '^ok ' "$logs/$name.tap"; tail -n 10 "$logs/$name.err"; } | blame "$name"
    count "$ok" "$bad" "$name"
}

integration() {
    if [ "$(id -u)" != 0 ]; then
        echo "the integration tests run containers and need root: sudo make test"
        count 0 1 integration
        return
    fi
    make --no-print-directory build BUILD="$build" >"$logs/make" 2>&1 || { tail -n 30 "$logs/make"; count 0 1 "make build"; return; }
    count 1 0 "make build"
    export DAVIT=$root/$build/davit
    (cd tests/integration && { [ -d node_modules/@kubernetes/client-node ] || npm ci --no-audit --no-fund >"$logs/npm" 2>&1; }) ||
        { tail -n 5 "$logs/npm"; count 0 1 "npm ci"; }
    # They wait more than they work, so as many run at a time as there are cores; told in order.
    local file running=0 next=0 files=(tests/integration/*.bats)
    for file in "${files[@]}"; do
        bats_file "$file" &
        running=$((running + 1))
        [ "$running" -lt "${BATS_JOBS:-$jobs}" ] || { wait -n; running=$((running - 1)); }
        while [ -e "$logs/$(basename "${files[next]}" .bats).result" ]; do
            bats_result "$(basename "${files[next]}" .bats)"
            next=$((next + 1))
            [ "$next" -lt "${#files[@]}" ] || return
        done
    done
    wait
    for file in "${files[@]:next}"; do
        bats_result "$(basename "$file" .bats)"
    done
}

for part in $parts; do
    case $part in
    unit) unit ;;
    integration) integration ;;
    *) echo "tests/run.sh: no part \"$part\" (unit, integration)" >&2; exit 2 ;;
    esac
done
[ "$failed" -gt 0 ] || rm -rf "$logs"
if [ "$failed" -gt 0 ]; then
    echo "what failed:"
    cat "$logs/failures" 2>/dev/null
    echo "logs: $logs"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
