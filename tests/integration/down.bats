#!/usr/bin/env bats
# `davit down` leaves the machine as it was.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

teardown() { [ -z "${BED_DIR:-}" ] || hosts_fini; }

# What a machine is made of, as far as davit touches it. On a host of its own, so that nothing else comes and goes.
footprint() {
    host_run h sh -c '
        ip -br link | awk "{ print \$1 }" | sort
        ip -4 route
        nft list tables
        find /sys/fs/cgroup -maxdepth 4 -type d -name "*davit*"
        sort /proc/self/mounts | grep -v " /tmp/" # those of the machine, where others come and go
        ps -eo args= | grep -v "^sh -c" | grep -e "[c]onmon" -e "[d]avit" # less this shell, of which there are two for a moment
        find /run /dev/shm
        sysctl -n net.ipv4.ip_forward net.ipv4.conf.all.route_localnet' >"$BATS_TEST_TMPDIR/$1" || true
}

@test "down removes every container, mount, interface, table and cgroup" {
    hosts_init
    host_add h
    up() { host_run h "$DAVIT" up --detach; }
    host_kubectl() { host_run h env KUBECONFIG=/var/lib/davit/admin.kubeconfig kubectl "$@"; }
    footprint before
    up
    cluster_image h
    host_kubectl apply -f "$ROOT/examples/web.yaml"
    host_kubectl rollout status deploy/web --timeout=60s
    footprint during
    run ! cmp -s "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/during"
    host_run h "$DAVIT" down
    footprint after
    diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
    # down twice is fine
    host_run h "$DAVIT" down
    # and what was declared comes back
    up
    wait_for 60 host_kubectl rollout status deploy/web --timeout=60s
    host_run h "$DAVIT" down
    footprint again
    diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/again"
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
