#!/usr/bin/env bats
# Nodes emptied on purpose: kubectl drain and davit node drain against budgets, with one real node and two hollow ones.
load ../lib/davit

setup_file() {
    davit_start
    load_image
    "$DAVIT" hollow --nodes 2 --name-prefix more --kubeconfig "$KUBECONFIG" >/dev/null 2>&1 3>&- &
    echo $! >"$DAVIT_DIR.hollow"
    wait_for 20 kubectl wait --for=condition=Ready node/more-0 node/more-1 --timeout=1s
}

teardown_file() {
    kill "$(cat "$DAVIT_DIR.hollow")" || true
    rm -f "$DAVIT_DIR.hollow"
    davit_stop
}

teardown() {
    kubectl delete deployment,pdb,pod --all --wait --timeout=60s
    kubectl uncordon node1 more-0 more-1
}

web() { # REPLICAS
    kubectl apply -f - <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: $1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      containers: [{name: c, image: 'davit.local/busybox:1', command: [sleep, '1000']}]
EOF
    kubectl rollout status deployment/web --timeout=30s
}

pods_on() { kubectl get pods --no-headers --field-selector "spec.nodeName=$1" 2>/dev/null | wc -l; }

@test "kubectl drain moves the pods of a real node, one at a time as the budget says" {
    web 6
    kubectl create pdb web --selector=app=web --min-available=5
    wait_for 20 equals 1 kubectl get pdb web -o jsonpath='{.status.disruptionsAllowed}'
    [ "$(pods_on node1)" -gt 0 ]
    kubectl drain node1 --ignore-daemonsets --delete-emptydir-data --timeout=90s
    equals 0 pods_on node1
    kubectl get node node1 -o jsonpath='{.spec.taints[*].key}' | grep node.kubernetes.io/unschedulable
    kubectl rollout status deployment/web --timeout=30s
    contains "Ready,SchedulingDisabled" kubectl get node node1
    kubectl uncordon node1
    wait_for 10 equals "" kubectl get node node1 -o jsonpath='{.spec.taints[*].key}'
}

@test "a budget that allows nothing holds a drain up, and lets it go on when it does" {
    web 3
    kubectl create pdb web --selector=app=web --max-unavailable=0
    wait_for 20 equals 1 kubectl get pdb web -o jsonpath='{.status.observedGeneration}'
    run kubectl drain node1 --timeout=3s
    [ "$status" -ne 0 ]
    [[ "$output" == *"would violate the pod's disruption budget"* ]]
    equals 1 pods_on node1
    kubectl patch pdb web --type=merge -p '{"spec":{"maxUnavailable":1}}'
    "$DAVIT" node drain --data-dir "$DAVIT_DIR" --timeout 60s node1
    equals 0 pods_on node1
}

@test "racing evictions take no more than the budget has" {
    web 6
    kubectl create pdb web --selector=app=web --min-available=4
    wait_for 20 equals 2 kubectl get pdb web -o jsonpath='{.status.disruptionsAllowed}'
    kubectl cordon node1 more-0 more-1 # nothing comes back meanwhile
    for p in $(kubectl get pods -o name); do
        p=${p#pod/}
        echo "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"$p\",\"namespace\":\"default\"}}" |
            kubectl create --raw "/api/v1/namespaces/default/pods/$p/eviction" -f - >/dev/null 2>&1 3>&- &
        pids="$pids $!"
    done
    granted=0
    for p in $pids; do wait "$p" && granted=$((granted + 1)); done
    equals 2 echo $granted
    wait_for 20 equals 4 sh -c "kubectl get pods --no-headers --field-selector status.phase=Running | grep -vc Terminating"
}

@test "davit node: ls, cordon, drain with its warnings, rm" {
    node() { "$DAVIT" node "$@" --data-dir "$DAVIT_DIR"; }
    web 3
    run node ls
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == NAME*STATUS*ADDRESS*PODS*AGE ]]
    [[ "$output" == *"node1 "*Ready* ]]
    node cordon more-0
    node ls | grep 'more-0 .*Ready,Cordoned'
    node uncordon more-0
    kubectl run bare --image=davit.local/busybox:1 --overrides='{"spec":{"nodeName":"more-1"}}' -- sleep 1000
    run node drain more-1
    [ "$status" -eq 1 ]
    [[ "$output" == *"has no controller"*"--force"* ]]
    run node drain more-1 --force --timeout 30s
    [ "$status" -eq 0 ]
    [[ "$output" == *"evicted default/bare"*"more-1 drained"* ]]
    equals 0 pods_on more-1
    run node rm more-1
    [ "$status" -eq 1 ]
    [[ "$output" == *"more-1 is Ready"* ]]
    run node rm nosuch
    [ "$status" -eq 1 ]
    [[ "$output" == *'nodes "nosuch" not found'* ]]
    run node frobnicate
    [ "$status" -eq 2 ]
    kubectl create -f - <<EOF
apiVersion: v1
kind: Node
metadata: {name: old}
EOF
    node rm old
    run kubectl get node old
    [ "$status" -ne 0 ]
}
