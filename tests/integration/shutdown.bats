#!/usr/bin/env bats
# The machine goes down: pods end by priority, with the words of a kubelet, before the agent does.
load ../lib/davit

setup_file() {
    DAVIT_DIR=$(mktemp -d /tmp/davit-test.XXXXXX)
    DAVIT_PORT=$(free_port)
    export DAVIT_DIR DAVIT_PORT DAVIT_PID= KUBECONFIG=$DAVIT_DIR/admin.kubeconfig
    : >"$DAVIT_DIR.out"
    "$DAVIT" server --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" --local-node --node-name node1 \
        >"$DAVIT_DIR.out" 2>>"$DAVIT_DIR.log" 3>&- &
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.out"
    start_agent
    load_image
}

start_agent() {
    : >"$DAVIT_DIR.agent"
    "$DAVIT" agent --data-dir "$DAVIT_DIR" --node-name node1 --shutdown-grace 20s --shutdown-grace-critical 10s \
        >"$DAVIT_DIR.agent" 2>>"$DAVIT_DIR.log" 3>&- &
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.agent"
}

teardown_file() {
    davit_stop
    rm -f "$DAVIT_DIR.agent"
}

pod() { # NAME CLASS: writes when it was told to end
    kubectl apply -f - <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: kube-system}
spec:
  priorityClassName: $2
  terminationGracePeriodSeconds: 8
  volumes: [{name: w, hostPath: {path: $DAVIT_DIR}}]
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sh, -c, 'trap "echo $1 >>/w/ended; sleep 1; exit 0" TERM; touch /tmp/up; while :; do sleep 0.1; done']
    readinessProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1}
    volumeMounts: [{name: w, mountPath: /w}]
EOF
}

@test "ordinary pods first, then critical ones; statuses and node condition say why" {
    kubectl create -f - <<EOF
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: plain}
value: 1000
EOF
    pod vital system-node-critical
    pod plain plain
    kubectl wait -n kube-system --for=condition=Ready pod/vital pod/plain --timeout=30s
    agent=$(davit_pid_of agent)
    kill -TERM "$agent"
    wait_for 30 sh -c "! kill -0 $agent"
    equals "plain
vital" cat "$DAVIT_DIR/ended"
    for p in plain vital; do
        equals "Failed Terminated" kubectl get pod -n kube-system $p -o jsonpath='{.status.phase} {.status.reason}'
        equals "True TerminationByKubelet" kubectl get pod -n kube-system $p \
            -o jsonpath='{.status.conditions[?(@.type=="DisruptionTarget")].status} {.status.conditions[?(@.type=="DisruptionTarget")].reason}'
        contains "imminent node shutdown" kubectl get pod -n kube-system $p -o jsonpath='{.status.message}'
    done
    equals "False node is shutting down" kubectl get node node1 \
        -o jsonpath='{.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].message}'
    start_agent
    kubectl wait --for=condition=Ready node/node1 --timeout=30s
    equals "Failed" kubectl get pod -n kube-system plain -o jsonpath='{.status.phase}'
}
