#!/usr/bin/env bats
# What clients get wrong, and what attackers try.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() { davit_start; }
teardown_file() { davit_stop; }

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
    [ "$status" -ne 0 ] && [ "$status" -ne 124 ]
    [[ $output == *"$BATS_TEST_TMPDIR/d/store"* ]]
    equals "$sum" sha256sum "$file"
}
