#!/usr/bin/env bats
# What clients get wrong, and what attackers try.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() { davit_start; }
teardown_file() { davit_stop; }
teardown() { # what a failed test left
    [ -z "${pid:-}" ] || kill -9 "$pid" 2>/dev/null || true
    ! mountpoint -q "$BATS_TEST_TMPDIR/full" || umount "$BATS_TEST_TMPDIR/full"
}

@test "every bad request gets the Status a Kubernetes server gives" {
    before=$(davit_pid_of server)
    /usr/bin/python3 "$ROOT/tests/integration/badinput.py" "$KUBECONFIG"
    equals "$before" davit_pid_of server
    # and what it accepted it can read again
    kill -9 "$before"
    wait_for 30 sh -c "[ \"\$(cat $DAVIT_DIR/run/server.pid)\" != $before ]"
    wait_for 30 kubectl get leases last first
}

@test "HTTP/2: floods and frames that make no sense" {
    before=$(davit_pid_of server)
    /usr/bin/python3 "$ROOT/tests/integration/badh2.py" "$KUBECONFIG" "$before"
    equals "$before" davit_pid_of server
}

@test "a damaged or foreign data directory is refused and left alone" {
    mkdir "$BATS_TEST_TMPDIR/foreign"
    echo mine >"$BATS_TEST_TMPDIR/foreign/letter"
    run ! "$DAVIT" server --data-dir "$BATS_TEST_TMPDIR/foreign" --listen 127.0.0.1:0
    [[ $output == *"not davit's"* ]]
    equals "letter" ls "$BATS_TEST_TMPDIR/foreign"
    port=$(free_port)
    "$DAVIT" server --data-dir "$BATS_TEST_TMPDIR/d" --listen "127.0.0.1:$port" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    wait_for 20 grep -q ready "$BATS_TEST_TMPDIR/out"
    kill %1
    wait %1
    file=$(find "$BATS_TEST_TMPDIR/d/store" -type f -size +8k | head -n 1)
    head -c 4096 /dev/urandom | dd of="$file" bs=4096 seek=0 conv=notrunc status=none
    head -c 4096 /dev/urandom | dd of="$file" bs=4096 seek=1 conv=notrunc status=none
    sum=$(sha256sum "$file")
    run timeout 20 "$DAVIT" server --data-dir "$BATS_TEST_TMPDIR/d" --listen "127.0.0.1:$port"
    [ "$status" -ne 0 ]
    [ "$status" -ne 124 ]
    [[ $output == *"$BATS_TEST_TMPDIR/d/store"* ]]
    equals "$sum" sha256sum "$file"
}

@test "Secrets are sealed on disk; without their key the server says so and leaves all as it was" {
    local d=$BATS_TEST_TMPDIR/sealed port sums
    port=$(free_port)
    : >"$d.out"
    "$DAVIT" server --data-dir "$d" --listen "127.0.0.1:$port" >"$d.out" 2>&1 3>&- &
    pid=$!
    wait_for 20 grep -q '^ready' "$d.out"
    KUBECONFIG=$d/admin.kubeconfig kubectl create secret generic s --from-literal=k=unmistakable-9137
    KUBECONFIG=$d/admin.kubeconfig kubectl create configmap m --from-literal=k=readable-9137
    kill "$pid"
    wait "$pid"
    grep -rq readable-9137 "$d/store"
    pid=
    run ! grep -rqe unmistakable-9137 -e "$(printf unmistakable-9137 | base64)" "$d"
    [ "$(stat -c %a "$d/pki/secrets.key")" = 600 ]
    rm "$d/pki/secrets.key"
    sums=$(cd "$d" && find pki store -type f ! -name pid -exec sha256sum {} + | sort)
    run ! "$DAVIT" server --data-dir "$d" --listen "127.0.0.1:$port"
    [[ $output == *"no key of the Secrets, $d/pki/secrets.key"* ]]
    equals "$sums" sh -c "cd $d && find pki store -type f ! -name pid -exec sha256sum {} + | sort"
}

@test "a full disk: writes get 507, reads go on, and nothing acknowledged is lost" {
    local d=$BATS_TEST_TMPDIR/full port n
    mkdir "$d"
    mount -t tmpfs -o size=6m davit-test "$d"
    port=$(free_port)
    : >"$d.out"
    "$DAVIT" server --data-dir "$d/data" --listen "127.0.0.1:$port" >"$d.out" 2>&1 3>&- &
    pid=$!
    wait_for 20 grep -q '^ready' "$d.out"
    export KUBECONFIG=$d/data/admin.kubeconfig
    head -c 400000 /dev/urandom | base64 -w0 >"$BATS_TEST_TMPDIR/blob"
    n=0
    while kubectl create configmap "c$n" --from-file="$BATS_TEST_TMPDIR/blob" >"$BATS_TEST_TMPDIR/said" 2>&1; do
        n=$((n + 1))
        [ "$n" -lt 40 ]
    done
    grep -q "is full" "$BATS_TEST_TMPDIR/said"
    contains "507 Insufficient Storage" kubectl create configmap small --from-literal=a=b -v=8
    kubectl get configmap "c$((n - 1))"
    kill -9 "$pid"
    wait "$pid" || true
    mount -o remount,size=40m "$d"
    : >"$d.out"
    "$DAVIT" server --data-dir "$d/data" --listen "127.0.0.1:$port" >"$d.out" 2>&1 3>&- &
    pid=$!
    wait_for 20 grep -q '^ready' "$d.out"
    equals "$n" sh -c 'kubectl get configmaps -o name | grep -c /c[0-9]'
    kubectl create configmap small --from-literal=a=b
    kill "$pid"
    wait "$pid" || true
    pid=
    umount "$d"
}
