#!/usr/bin/env bats
# What clients lean on besides plain calls, with the official JavaScript client; the cases are in clientapi.test.js. The server alone,
# with a window of a few events, so that revisions expire at once.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

server_start() {
    : >"$DAVIT_DIR.out"
    DAVIT_TEST_WATCH_WINDOW=32 "$DAVIT" server --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" \
        >"$DAVIT_DIR.out" 2>>"$DAVIT_DIR.log" 3>&- &
    echo $! >"$DAVIT_DIR.pid"
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.out"
}

setup_file() {
    DAVIT_DIR=$(mktemp -d /tmp/davit-test.XXXXXX)
    DAVIT_PORT=$(free_port)
    export DAVIT_DIR DAVIT_PORT KUBECONFIG=$DAVIT_DIR/admin.kubeconfig TMP_DIR=$BATS_FILE_TMPDIR
    server_start
    cd "$ROOT/tests/integration"
    [ -d node_modules/@kubernetes/client-node ] || npm ci --no-audit --no-fund >&2
}
teardown_file() {
    kill "$(cat "$DAVIT_DIR.pid")" || true
    wait_for 30 has_ended "$(cat "$DAVIT_DIR.pid")"
    rm -rf "$DAVIT_DIR" "$DAVIT_DIR".*
}

# For the JavaScript: kills the server and starts it again.
server_restart() {
    local pid
    pid=$(cat "$DAVIT_DIR.pid")
    kill -9 "$pid"
    wait_for 20 has_ended "$pid" # or its directory is still locked
    server_start </dev/null
}
export -f server_start server_restart has_ended wait_for
export RESTART=server_restart

@test "client-node: informers through 410, initial events, pages that expire, tokens, certificates, quotas" {
    cd "$ROOT/tests/integration"
    timeout 120 node --test clientapi.test.js
}
