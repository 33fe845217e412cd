#!/usr/bin/env bats
# What an operator sees of a running server: its state as text, and one request or object followed live.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    server_start
}

teardown_file() { server_remove; }

teardown() {
    [ -z "${pid:-}" ] || { kill "$pid" 2>/dev/null && wait "$pid" || true; }
}

debug() {
    "$DAVIT" debug --data-dir "$DAVIT_DIR" "$@"
}

# Follows $1 in the background; its lines go to a file. Returns when it is followed.
follow() {
    : >"$BATS_TEST_TMPDIR/trace"
    "$DAVIT" debug --data-dir "$DAVIT_DIR" trace "$1" >"$BATS_TEST_TMPDIR/trace" 2>&1 3>&- &
    pid=$!
    wait_for 10 sh -c "'$DAVIT' debug --data-dir '$DAVIT_DIR' | grep -qF 'followed: $1'"
}

followed() { # TEXT of a line that comes
    wait_for 10 grep -qF -- "$1" "$BATS_TEST_TMPDIR/trace"
}

@test "the state: store, objects, calls, watches, levels" {
    local text
    kubectl get pods --watch >/dev/null 3>&- &
    pid=$!
    wait_for 10 sh -c "'$DAVIT' debug --data-dir '$DAVIT_DIR' | grep -qE '^  pods/default, [0-9]+ s'"
    text=$(debug)
    grep -Eq '^store: revision [0-9]+, ' <<<"$text"
    grep -Eq '^  flowschemas.flowcontrol.apiserver.k8s.io +13$' <<<"$text"
    grep -Eq '^calls in the core: [0-9]+$' <<<"$text"
    grep -Eq '^  [0-9a-f-]{36} GET /debug/davit/state from 127.0.0.1:[0-9]+, here, [0-9]+ ms' <<<"$text"
    grep -Eq '^  [0-9a-f-]{36} GET /api/v1/namespaces/default/pods from 127.0.0.1:[0-9]+, watches, ' <<<"$text"
    grep -Eq '^workload-low, 0, true, false, 0, 0, ' <<<"$text"
    [[ $(debug state) == *'core loop: '* ]]
}

@test "an object: who writes it, what becomes of that, who is told, which controllers look at it" {
    follow replicasets.apps/default/web
    kubectl create -f - <<Y
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web}
spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}}
Y
    kubectl create configmap web # not followed
    followed 'create replicasets.apps/default/web by kubernetes-admin: authorized'
    followed 'create replicasets.apps/default/web by kubernetes-admin: admitted, goes to the store'
    followed 'create replicasets.apps/default/web by kubernetes-admin: durable at revision '
    followed 'create replicasets.apps/default/web by kubernetes-admin: answered 201 '
    followed 'watch of replicasets.apps is told: ADDED replicasets.apps/default/web uid '
    followed 'replicasets.apps/default/web/status by system:kube-controller-manager: answered 200 '
    run ! grep -F configmaps "$BATS_TEST_TMPDIR/trace"
    kill "$pid"
    wait "$pid" || true
    follow replicasets/default/web
    kubectl patch replicaset web --type merge -p '{"spec":{"minReadySeconds":1}}'
    followed 'controller replicaset runs replicasets/default/web'
}

@test "a request by the id it is given, refused or not; of a uid what is told of it" {
    follow mine-4711
    kubectl create namespace q
    "$BATS_TEST_DIRNAME/../lib/kubeconfig-pem" "$KUBECONFIG" "$DAVIT_DIR.pem"
    curl -sSk --cert "$DAVIT_DIR.pem.crt" --key "$DAVIT_DIR.pem.key" -H 'Audit-ID: mine-4711' -H 'Content-Type: application/json' \
        -d '{"metadata":{"name":"Bad"}}' "https://127.0.0.1:$DAVIT_PORT/api/v1/namespaces/q/configmaps"
    followed 'request mine-4711 POST /api/v1/namespaces/q/configmaps from 127.0.0.1:'
    followed 'schema exempt, level exempt, flow "", 1 seats: runs'
    followed 'call mine-4711 create configmaps/q/Bad by kubernetes-admin: answered 422 ConfigMap "Bad" is invalid'
    kill "$pid"
    wait "$pid" || true
    follow "$(kubectl get namespace q -o 'jsonpath={.metadata.uid}')"
    kubectl label namespace q x=y
    followed 'is told: MODIFIED namespaces/q uid '
}

@test "four are followed at a time, words are for administrators, usage is told" {
    local i pids=
    wait_for 15 sh -c "! '$DAVIT' debug --data-dir '$DAVIT_DIR' | grep -q 'followed: '" # nobody reads: off by itself
    for i in 1 2 3 4; do
        "$DAVIT" debug --data-dir "$DAVIT_DIR" trace "thing-$i" >/dev/null 3>&- &
        pids="$pids $!"
    done
    wait_for 10 sh -c "[ \$('$DAVIT' debug --data-dir '$DAVIT_DIR' | grep -c 'followed: thing-') = 4 ]"
    run -1 debug trace thing-5
    [[ $output == *'4 traces are followed already'* ]]
    kill $pids
    wait $pids || true
    run -1 kubectl get --raw /debug/davit/state --as bob
    [[ $output == *forbidden* ]]
    run -2 debug trace
    [[ $output == *'trace REQUEST-ID | UID | RESOURCE/NS/NAME'* ]]
    contains '--time' "$DAVIT" debug --help
    wait_for 15 sh -c "! '$DAVIT' debug --data-dir '$DAVIT_DIR' | grep -q 'followed: '"
    equals '' debug trace thing-6 --time 1ms
}
