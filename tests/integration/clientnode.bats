#!/usr/bin/env bats
# The official JavaScript client; the cases are in clientnode.test.js.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
    cd "$ROOT/tests/integration"
    [ -d node_modules/@kubernetes/client-node ] || npm ci --no-audit --no-fund >&2
}
teardown_file() { davit_stop; }

@test "client-node: CRUD, watch, informer, deployment, logs, exec" {
    cd "$ROOT/tests/integration"
    node --test clientnode.test.js
}
