#!/usr/bin/env bats
# Bad input for every field of every kind; badkinds.py says how. BAD_SECONDS=0 for all of it (ten minutes), BAD_SEED for the same sample again.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

# The server alone: no node, so nothing but the test writes.
setup_file() {
    DAVIT_DIR=$(mktemp -d /tmp/davit-test.XXXXXX)
    DAVIT_PORT=$(free_port)
    : >"$DAVIT_DIR.out"
    "$DAVIT" server --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" >"$DAVIT_DIR.out" 2>"$DAVIT_DIR.log" 3>&- &
    DAVIT_PID=$!
    export DAVIT_DIR DAVIT_PORT DAVIT_PID KUBECONFIG=$DAVIT_DIR/admin.kubeconfig
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.out"
}
teardown_file() {
    for pid in "$DAVIT_PID" "$(cat "$BATS_FILE_TMPDIR/pid" 2>/dev/null)"; do
        [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
        [ -z "$pid" ] || wait_for 30 has_ended "$pid"
    done
    rm -rf "$DAVIT_DIR" "$DAVIT_DIR.out" "$DAVIT_DIR.log"
}

@test "what is bad in any field of any kind is refused with its name, in JSON, YAML and protobuf; what is accepted is valid" {
    KINDS_CSR=$(openssl req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=x 2>/dev/null | base64 -w0) \
        /usr/bin/python3 "$ROOT/tests/integration/badkinds.py" "$KUBECONFIG"
    kill -0 "$DAVIT_PID"
    # and what it stored it can read again
    kill -9 "$DAVIT_PID"
    wait_for 30 has_ended "$DAVIT_PID" # it is no child of this shell's
    : >"$DAVIT_DIR.out"
    "$DAVIT" server --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" >"$DAVIT_DIR.out" 2>>"$DAVIT_DIR.log" 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/pid"
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.out"
    kubectl get things.things.example.com >/dev/null
}
