#!/usr/bin/env bats
# metrics.k8s.io: what a container that is busy and one that is not are measured to use, and who may see it.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: busy, labels: {app: busy}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: spin, image: davit.local/busybox:1, command: [sh, -c, "while :; do :; done"], resources: {limits: {cpu: 200m, memory: 64Mi}}}
  - {name: idle, image: davit.local/busybox:1, command: [sleep, "3600"]}
Y
    kubectl wait --for=condition=Ready pod/busy --timeout=90s
    wait_for 40 kubectl top pod busy
}

teardown_file() {
    davit_stop
}

M=/apis/metrics.k8s.io/v1beta1

@test "kubectl top: nodes, pods, containers" {
    local text
    text=$(kubectl top pods --containers --no-headers)
    echo "$text"
    # it runs all the time, and gets a fifth of a processor at most
    awk '$1 == "busy" && $2 == "spin" { n = $3 + 0; exit !(n > 5 && n < 400) }' <<<"$text"
    awk '$1 == "busy" && $2 == "idle" { n = $3 + 0; exit !(n < 50) }' <<<"$text"
    [[ $(kubectl top nodes --no-headers) == node1* ]]
    contains busy kubectl top pods -l app=busy
    contains 'No resources found' kubectl top pods -l app=other
}

@test "as objects: forms, selectors, tables, what is not there" {
    kubectl get --raw $M/namespaces/default/pods/busy >"$BATS_TEST_TMPDIR/pod"
    jq -e '.kind == "PodMetrics" and .apiVersion == "metrics.k8s.io/v1beta1" and .metadata.labels.app == "busy"
        and ([.containers[].name] | sort) == ["idle", "spin"] and (.window | test("^[0-9.]+s$")) and (.timestamp | length) == 20' \
        "$BATS_TEST_TMPDIR/pod"
    jq -e '.containers[] | select(.name == "spin") | (.usage.cpu | test("^[0-9]+[num]?$")) and (.usage.memory | test("^[0-9]+[KM]i$"))' \
        "$BATS_TEST_TMPDIR/pod"
    kubectl get --raw $M/nodes | jq -e '.kind == "NodeMetricsList" and .items[0].metadata.name == "node1" and (.items[0].usage | keys) == ["cpu", "memory"]'
    kubectl get --raw "$M/pods?fieldSelector=metadata.name%3Dbusy" | jq -e '.items | length == 1'
    kubectl get --raw "$M/pods?labelSelector=app%3Dother" | jq -e '.items == []'
    contains 'busy' kubectl get pods.metrics.k8s.io
    contains 'CPU' kubectl get nodes.metrics.k8s.io
    run -1 kubectl get --raw $M/namespaces/default/pods/nobody
    [[ $output == *'pods.metrics.k8s.io "nobody" not found'* || $output == *'could not find'* ]]
    equals 'nodes pods' sh -c "kubectl get --raw $M | jq -r '[.resources[].name] | sort | join(\" \")'"
}

@test "who may view may see it; what is gone is gone" {
    kubectl create rolebinding vic --clusterrole=view --user=vic
    wait_for 10 equals yes kubectl auth can-i list pods.metrics.k8s.io --as vic
    kubectl delete pod busy --wait
    run -1 kubectl get --raw $M/namespaces/default/pods/busy
}
