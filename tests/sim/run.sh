#!/usr/bin/env bash
# Many seeds of the simulator's scenarios: tests/sim/run.sh [SEEDS] [SCENARIO...]. Prints a line a scenario, with the seeds that
# failed and how to play one again. FROM is the first seed (1), JOBS how many scenarios are played beside each other.
set -uo pipefail
cd "$(dirname "$0")/../.."
seeds=${1:-100}
shift || true
from=${FROM:-1}
jobs=${JOBS:-$(nproc)}
build=${BUILD_SIM:-build-sim}
sim=$build/tests/sim/sim
[ -f "$build/build.ninja" ] || meson setup "$build" --buildtype=release -Dwerror=false >/dev/null || exit 1
ninja -C "$build" tests/sim/sim >"$build/sim.log" 2>&1 || { grep -E 'error|FAILED' "$build/sim.log" | head -n 30; exit 1; }
logs=$(mktemp -d /tmp/davit-seeds.XXXXXX)

scenario() { # plays all seeds; one that fails is noted, and the next one is played
    local name=$1 at=$from end=$((from + seeds)) start=$SECONDS failed=() seed
    : >"$logs/$name.log"
    while [ "$at" -lt "$end" ]; do
        "$sim" "$name" --seed "$at" --seeds $((end - at)) >"$logs/$name.now" 2>&1 && { cat "$logs/$name.now" >>"$logs/$name.log"; break; }
        cat "$logs/$name.now" >>"$logs/$name.log"
        seed=$(sed -n 's/^sim .* --seed \([0-9]*\) .* \.\.\.$/\1/p' "$logs/$name.now" | tail -n 1)
        failed+=("${seed:-?}")
        [ -n "$seed" ] || break
        at=$((seed + 1))
    done
    rm -f "$logs/$name.now"
    printf '%-14s %5d seeds ok, %d failed, %d s\n' "$name" "$(grep -c ': ok, ' "$logs/$name.log")" "${#failed[@]}" $((SECONDS - start))
    for seed in "${failed[@]:0:5}"; do
        echo "    $sim $name --seed $seed"
    done
    return "${#failed[@]}"
}

names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <("$sim" --list)
bad=0
for name in "${names[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
        wait -n || bad=1
    done
    scenario "$name" &
done
while [ "$(jobs -p | wc -l)" -gt 0 ]; do
    wait -n || bad=1
    jobs >/dev/null
done
[ "$bad" -eq 0 ] && rm -rf "$logs" || echo "logs: $logs"
exit "$bad"
