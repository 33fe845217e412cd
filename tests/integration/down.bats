#!/usr/bin/env bats
# `davit down` leaves the machine as it was.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

# What a machine is made of, as far as davit touches it; only what carries this instance's marks, so that other tests
# may run beside this one.
footprint() {
    local id
    id=$(cat "$DAVIT_DIR/instance" 2>/dev/null || echo none)
    ip -br link | grep -F "$id" || true
    nft list tables 2>/dev/null | grep -F "$id" || true
    find /sys/fs/cgroup -maxdepth 3 -type d -name "*$id*" 2>/dev/null || true
    grep -F "$DAVIT_DIR" /proc/self/mounts || true
    pgrep -af "$DAVIT_DIR" | grep -v -e bats -e pgrep || true
}

@test "down removes every container, mount, interface, table and cgroup" {
    davit_start
    load_image
    kubectl apply -f "$ROOT/examples/web.yaml"
    kubectl rollout status deploy/web --timeout=60s
    [ -n "$(footprint)" ]
    routes=$(ip route show table all | grep -c "$(cat "$DAVIT_DIR/instance")" || true)
    "$DAVIT" down --data-dir "$DAVIT_DIR"
    wait "$DAVIT_PID" || true
    id=$(cat "$DAVIT_DIR/instance")
    equals "" footprint
    [ -n "$id" ]
    # down twice is fine
    "$DAVIT" down --data-dir "$DAVIT_DIR"
    # and what was declared comes back
    davit_up
    wait_for 60 kubectl rollout status deploy/web --timeout=60s
    davit_stop
}

@test "down on what is not there says so and does nothing" {
    run "$DAVIT" down --data-dir /tmp/davit-nothing-here
    [ "$status" -eq 0 ]
    [ ! -e /tmp/davit-nothing-here ]
    mkdir "$BATS_TEST_TMPDIR/foreign"
    echo keep >"$BATS_TEST_TMPDIR/foreign/file"
    run ! "$DAVIT" down --data-dir "$BATS_TEST_TMPDIR/foreign"
    [ -e "$BATS_TEST_TMPDIR/foreign/file" ]
}

@test "SIGTERM leaves the containers running unless --stop-pods" {
    davit_start
    load_image
    kubectl run stays --image=davit.local/busybox:1 -- sleep "8$DAVIT_PORT"
    kubectl wait --for=condition=Ready pod/stays --timeout=30s
    kill "$DAVIT_PID"
    wait "$DAVIT_PID"
    [ "$(pgrep -fc "^sleep 8$DAVIT_PORT\$")" = 1 ]
    davit_up --stop-pods
    kill "$DAVIT_PID"
    wait "$DAVIT_PID"
    [ "$(pgrep -fc "^sleep 8$DAVIT_PORT\$" || true)" = 0 ]
    davit_stop
}

@test "two davits run beside each other; a second on the same data directory does not" {
    davit_start
    first=$DAVIT_DIR first_pid=$DAVIT_PID
    run ! "$DAVIT" up --data-dir "$DAVIT_DIR" --listen 127.0.0.1:0
    [[ $output == *"runs already"* ]]
    davit_start
    kubectl get nodes
    davit_stop
    KUBECONFIG=$first/admin.kubeconfig kubectl get nodes
    DAVIT_DIR=$first DAVIT_PID=$first_pid davit_stop
}

@test "command line mistakes are named" {
    run -2 "$DAVIT" nosuchverb
    run -2 "$DAVIT" up --no-such-option
    [[ $output == *"unknown option --no-such-option"* ]]
    run -0 "$DAVIT" --version
    run -0 "$DAVIT" help
    [[ $output == *"davit up"* || $output == *"sudo davit up"* ]]
}
