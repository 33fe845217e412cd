#!/usr/bin/env bats
# Nodes that fall silent, with a grace of three seconds: their pods move, those of a server that was stopped do not.
load ../lib/davit

hollow() { # PREFIX
    "$DAVIT" hollow --nodes 1 --name-prefix "$1" --kubeconfig "$KUBECONFIG" >/dev/null 2>&1 3>&- &
    echo $! >"$DAVIT_DIR.$1"
    wait_for 20 kubectl wait --for=condition=Ready "node/$1-0" --timeout=1s
}

signal() { kill "-$1" "$(cat "$DAVIT_DIR.$2")"; }

setup_file() {
    DAVIT_DIR=$(mktemp -d /tmp/davit-test.XXXXXX)
    DAVIT_PORT=$(free_port)
    export DAVIT_DIR DAVIT_PORT DAVIT_PID= KUBECONFIG=$DAVIT_DIR/admin.kubeconfig
    : >"$DAVIT_DIR.out"
    "$DAVIT" server --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" --node-grace 3s --node-eviction-rate 1000 \
        --default-unreachable-toleration-seconds 0 --default-not-ready-toleration-seconds 0 \
        >"$DAVIT_DIR.out" 2>>"$DAVIT_DIR.log" 3>&- &
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.out"
    hollow a
    hollow b
}

teardown_file() {
    for n in a b; do
        signal CONT $n
        signal TERM $n
        rm -f "$DAVIT_DIR.$n"
    done
    davit_stop
}

uids() { kubectl get pods -o jsonpath='{.items[*].metadata.uid}'; }
running_on() { kubectl get pods --no-headers --field-selector "spec.nodeName=$1-0,status.phase=Running" | grep -vc Terminating; }
taints() { kubectl get node "$1-0" -o jsonpath='{range .spec.taints[*]}{.key}:{.effect}{"\n"}{end}' | sort; }

@test "a server that was stopped gives every node a fresh grace and evicts nothing" {
    kubectl create deployment web --image=x --replicas=6
    kubectl rollout status deployment/web --timeout=20s
    before=$(uids)
    kill -STOP "$(davit_pid_of server)"
    sleep 8
    kill -CONT "$(davit_pid_of server)"
    wait_for 20 kubectl wait --for=condition=Ready node/a-0 node/b-0 --timeout=1s
    sleep 4
    equals "$before" uids
    equals "" taints a
}

@test "a silent node: Unknown, tainted, its pods run elsewhere; it comes back clean" {
    signal STOP a
    wait_for 20 equals 6 running_on b
    equals Unknown kubectl get node a-0 -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'
    equals "node.kubernetes.io/unreachable:NoExecute
node.kubernetes.io/unreachable:NoSchedule" taints a
    contains DeletionByTaintManager kubectl get pods --field-selector spec.nodeName=a-0 -o yaml
    # its pods stay Terminating until somebody knows: out of service
    [ "$(kubectl get pods --no-headers --field-selector spec.nodeName=a-0 | wc -l)" -gt 0 ]
    kubectl taint node a-0 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute
    wait_for 10 equals 0 sh -c "kubectl get pods --no-headers --field-selector spec.nodeName=a-0 | wc -l"
    kubectl taint node a-0 node.kubernetes.io/out-of-service-
    signal CONT a
    kubectl wait --for=condition=Ready node/a-0 --timeout=20s
    wait_for 10 equals "" taints a
}

@test "all nodes silent: nothing is evicted, and they get a fresh grace" {
    before=$(uids)
    signal STOP a
    signal STOP b
    wait_for 20 equals "Unknown Unknown" kubectl get nodes -o jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].status}'
    sleep 3
    equals "$before" uids
    signal CONT a
    signal CONT b
    kubectl wait --for=condition=Ready node/a-0 node/b-0 --timeout=20s
    sleep 2
    equals "$before" uids
}

@test "flags that make no sense are refused" {
    for f in "--node-grace 1s" "--node-eviction-rate fast" "--unhealthy-zone-threshold 2" "--secondary-node-eviction-rate -1"; do
        # shellcheck disable=SC2086
        run "$DAVIT" server --data-dir "$DAVIT_DIR.no" --listen "127.0.0.1:$(free_port)" $f
        [ "$status" -eq 2 ]
        [[ "$output" == *"${f%% *}"* ]]
        # and davit up, which passes them on, does not try again
        # shellcheck disable=SC2086
        run "$DAVIT" up --data-dir "$DAVIT_DIR.no" --listen "127.0.0.1:$(free_port)" $f
        [ "$status" -ne 0 ]
        equals 1 grep -c "the server ended with exit code 2" <<<"$output"
        rm -rf "$DAVIT_DIR.no"
    done
}
