#!/usr/bin/env bats
# What clients lean on besides plain calls, with the official JavaScript client; the cases are in clientapi.test.js. The server alone,
# with a window of a few events, so that revisions expire at once.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    export TMP_DIR=$BATS_FILE_TMPDIR DAVIT_TEST_WATCH_WINDOW=32
    server_start
    cd "$ROOT/tests/integration"
    [ -d node_modules/@kubernetes/client-node ] || npm ci --no-audit --no-fund >&2
}
teardown_file() { server_remove; }

# For the JavaScript: kills the server and starts it again.
server_restart() {
    server_end KILL
    server_start </dev/null
}
export -f server_start server_end server_restart has_ended wait_for
export RESTART=server_restart

@test "client-node: informers through 410, initial events, pages that expire, tokens, certificates, quotas" {
    cd "$ROOT/tests/integration"
    timeout 120 node --test clientapi.test.js
}
