#!/usr/bin/env bats
# Bad input for every field of every kind; badkinds.py says how. BAD_SECONDS=0 for all of it (ten minutes), BAD_SEED for the same sample again.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

# The server alone: no node, so nothing but the test writes.
setup_file() {
    server_dir
    server_start
}
teardown_file() { server_remove; }

@test "what is bad in any field of any kind is refused with its name, in JSON, YAML and protobuf; what is accepted is valid" {
    KINDS_CSR=$(openssl req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=x 2>/dev/null | base64 -w0) \
        /usr/bin/python3 "$ROOT/tests/integration/badkinds.py" "$KUBECONFIG"
    kill -0 "$(cat "$DAVIT_DIR.pid")"
    server_end KILL # and what it stored it can read again
    server_start
    kubectl get things.things.example.com >/dev/null
}
