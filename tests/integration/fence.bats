#!/usr/bin/env bats
# Fencing with real containers: a pod that is one of a kind stops on a node that is cut off, also when its agent is dead;
# only then is it taken over.
load ../lib/davit

start_server() {
    : >"$DAVIT_DIR.out"
    "$DAVIT" server --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" --local-node --node-name node1 --node-grace 3s \
        >"$DAVIT_DIR.out" 2>>"$DAVIT_DIR.log" 3>&- &
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.out"
}

start_agent() {
    : >"$DAVIT_DIR.agent"
    "$DAVIT" agent --data-dir "$DAVIT_DIR" --node-name node1 --fence on >"$DAVIT_DIR.agent" 2>>"$DAVIT_DIR.log" 3>&- &
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.agent"
}

setup_file() {
    DAVIT_DIR=$(mktemp -d /tmp/davit-test.XXXXXX)
    DAVIT_PORT=$(free_port)
    export DAVIT_DIR DAVIT_PORT DAVIT_PID= KUBECONFIG=$DAVIT_DIR/admin.kubeconfig
    start_server
    start_agent
    "$DAVIT" hollow --nodes 1 --name-prefix else --kubeconfig "$KUBECONFIG" >/dev/null 2>&1 3>&- &
    echo $! >"$DAVIT_DIR.hollow"
    wait_for 20 kubectl get node else-0
    kubectl cordon else-0
    load_image
}

teardown_file() {
    kill "$(cat "$DAVIT_DIR.hollow")" || true
    davit_stop
    rm -f "$DAVIT_DIR.hollow" "$DAVIT_DIR.agent"
}

only_pod() { # NAME
    kubectl apply -f - <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  tolerations:
  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 0}
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 0}
  containers: [{name: c, image: 'davit.local/busybox:1', command: [sleep, '7${DAVIT_PORT}']}]
EOF
}

many() { # one of many, beside it
    kubectl create deployment many --image=davit.local/busybox:1 -- sleep "8$DAVIT_PORT"
}

runs() { pgrep -f "^sleep $1$DAVIT_PORT\$" >/dev/null; }
stopped() { ! runs "$1"; }

@test "cut off: what is one of a kind stops, what is one of many runs on; both are there afterwards" {
    only_pod only
    many
    kubectl wait --for=condition=Ready pod/only --timeout=30s
    kubectl rollout status deployment/many --timeout=30s
    uid=$(kubectl get pod only -o jsonpath='{.metadata.uid}')
    before=$(pgrep -f "^sleep 8$DAVIT_PORT\$")
    # the agent learns the grace from its lease, and promises with the renewal after that
    wait_for 20 contains 'davit.dev/fence-promise: deadline=4s,kill=5s' kubectl get lease -n kube-node-lease node1 -o yaml
    kill -STOP "$(davit_pid_of server)"
    wait_for 20 stopped 7 || { kill -CONT "$(davit_pid_of server)"; return 1; }
    runs 8
    kill -CONT "$(davit_pid_of server)"
    wait_for 30 runs 7
    equals "$uid" kubectl get pod only -o jsonpath='{.metadata.uid}'
    equals "$before" pgrep -f "^sleep 8$DAVIT_PORT\$"
    kubectl wait --for=condition=Ready pod/only --timeout=30s
    contains Fenced kubectl get events --field-selector involvedObject.kind=Node
}

@test "the agent is dead: the keeper stops it, then it is taken over, and a returning agent leaves it" {
    kubectl wait --for=condition=Ready pod/only --timeout=30s
    old=$(kubectl get pod only -o jsonpath='{.metadata.uid}')
    kubectl uncordon else-0
    kill -KILL "$(davit_pid_of agent)"
    runs 7
    kubectl wait --for=delete pod/only --timeout=60s
    stopped 7
    runs 8
    only_pod only
    kubectl wait --for=condition=Ready pod/only --timeout=30s
    equals else-0 kubectl get pod only -o jsonpath='{.spec.nodeName}'
    start_agent
    wait_for 30 sh -c "! ls $DAVIT_DIR/node/pods | grep -q $old"
    stopped 7
    equals else-0 kubectl get pod only -o jsonpath='{.spec.nodeName}'
    kubectl wait --for=condition=Ready node/node1 --timeout=30s
}

@test "a pod that says so is left alone; an agent that starts late kills first" {
    kubectl cordon else-0
    kubectl delete pod only --wait
    only_pod mine
    kubectl wait --for=condition=Ready pod/mine --timeout=30s
    equals node1 kubectl get pod mine -o jsonpath='{.spec.nodeName}'
    keeper=$(cut -d' ' -f1 "$DAVIT_DIR/node/fence/keeper")
    kill -KILL "$(davit_pid_of agent)"
    kill -KILL "$keeper" # the one gap: nobody is left who could
    sleep 6
    runs 7
    start_agent
    # no process of that life goes on: it was killed before anything was adopted
    wait_for 60 sh -c "! kubectl get pod mine || [ \$(kubectl get pod mine -o jsonpath='{.status.containerStatuses[0].restartCount}') -ge 1 ]"
}
