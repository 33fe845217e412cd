#!/usr/bin/env bats
# Partitions and identities: a pod that is one of a kind writes down when and where it runs, a loop makes it anew as soon as its name
# is free, and links are cut in one direction or both, also under a server that is restarted meanwhile. It never runs twice at a time.
# A server that was itself cut off takes nothing from anybody.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

setup_file() {
    hosts_init
    CLUSTER_SERVER='--node-grace 3s' cluster_start 3
    cluster_image
    mkdir "$BED_DIR/lives"
    cat >"$BED_DIR/only.yaml" <<Y
apiVersion: v1
kind: Pod
metadata: {name: only}
spec:
  terminationGracePeriodSeconds: 1
  tolerations:
  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 0}
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 0}
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sh, -c, 'read me </proc/sys/kernel/random/uuid; while :; do read t _ </proc/uptime; echo \$t \$NODE >>/lives/\$me; sleep 0.05; done']
    env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
    volumeMounts: [{name: lives, mountPath: /lives}]
  volumes: [{name: lives, hostPath: {path: $BED_DIR/lives}}]
Y
    # what a controller of identities does
    touch "$BED_DIR/make"
    while [ -e "$BED_DIR/make" ]; do
        kube create -f "$BED_DIR/only.yaml" >/dev/null 2>&1 || true
        sleep 0.3
    done 3>&- &
    echo $! >"$BED_DIR/maker"
    wait_for 30 kube wait --for=condition=Ready pod/only --timeout=5s
}
teardown_file() {
    rm -f "$BED_DIR/make"
    wait_for 10 eval "! kill -0 $(cat "$BED_DIR/maker")" || true
    hosts_fini
}
teardown() { for n in s n1 n2 n3; do link_heal $n; done; }

uid() { kube get pod only -o jsonpath='{.metadata.uid}'; }
node() { kube get pod only -o jsonpath='{.spec.nodeName}'; }
runs_elsewhere() { # UID NODE it had
    [ "$(uid)" != "$1" ] && [ "$(node)" != "$2" ] && kube wait --for=condition=Ready pod/only --timeout=1s
}
# No two lives at a time. A line of a file is a moment; all clocks here are the kernel's.
never_twice() {
    for f in "$BED_DIR"/lives/*; do
        awk 'NR == 1 { first = $1 } { last = $1 } END { print first, last, $2 }' "$f"
    done | sort -n | awk '{ print } $1 < until { print "while that of " where " ran until " until; bad = 1 } $2 > until { until = $2; where = $3 } END { exit bad }'
}
lives() { ls "$BED_DIR/lives" | wc -l; }

# taken_over CUT: the node of the pod is cut off, the pod runs elsewhere, the node comes back and leaves it there.
taken_over() {
    local was where lives
    wait_for 60 kube wait --for=condition=Ready pod/only --timeout=5s
    was=$(uid) where=$(node) lives=$(lives)
    eval "$1"
    wait_for 90 runs_elsewhere "$was" "$where"
    was=$(uid)
    link_heal "$where"
    node_wait "$where" True 60
    sleep 2 # for the node to do wrong what it might do when it is back
    [ "$(uid)" = "$was" ]
    [ "$(lives)" -gt "$lives" ]
    never_twice
}

@test "the node hears nothing from the server, which hears it" {
    taken_over 'link_block_from $where s'
}

@test "the server hears nothing from the node, which hears it" {
    taken_over 'link_block_to $where s'
}

@test "the server is killed and started twice while the node is cut off" {
    taken_over 'link_cut $where; sleep 2; for _ in 1 2; do cluster_signal KILL s server; server_start s --node-grace 3s; sleep 2; done'
}

@test "the server is cut off itself: nothing is evicted, what was stopped is started where it was" {
    kube create deployment many --image=davit.local/busybox:1 --replicas=6 -- sleep 3600
    kube patch deployment many -p '{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1,"tolerations":[{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":0}]}}}}'
    kube rollout status deployment/many --timeout=60s
    wait_for 60 equals 6 eval "kube get pods -l app=many --no-headers | wc -l"
    wait_for 60 kube wait --for=condition=Ready pod/only --timeout=5s
    all() { kube get pods -o jsonpath='{range .items[*]}{.metadata.uid} {.spec.nodeName} {.metadata.deletionTimestamp}{"\n"}{end}' | sort; }
    before=$(all)
    alone() { # the server's own view, by its own address
        KUBECONFIG=$BED_DIR/admin.kubeconfig host_run s kubectl get nodes -o jsonpath='{.items[*].status.conditions[?(@.type=="Ready")].status}'
    }
    lives=$(lives)
    link_cut s
    wait_for 60 equals "Unknown Unknown Unknown" alone
    sleep 15 # longer than it takes to take over (10.2 s)
    equals "Unknown Unknown Unknown" alone
    link_heal s
    for n in n1 n2 n3; do node_wait $n True 60; done
    wait_for 60 kube wait --for=condition=Ready pod --all --timeout=5s
    sleep 2
    equals "$before" all
    # it was stopped and started
    wait_for 30 eval '[ "$(lives)" -gt "$lives" ]'
    equals "$before" all
    never_twice
    equals "0 0 0 0 0 0" kube get pods -l app=many -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}'
}
