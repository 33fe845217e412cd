#!/usr/bin/env bats
# A node that is cut off for longer than its certificate lives: its pods run, it says what is to be done, and with a token it is the
# same node again, with the same pods. The clocks of server and node go on by four hundred days for that.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

LATER=$((400 * 86400))

# kubectl sees no clock but the machine's, by which the server's new certificate is of the future.
kube_trusts() {
    sed -i 's/^\( *\)certificate-authority-data:.*/\1insecure-skip-tls-verify: true/' "$BED_DIR/admin.kubeconfig"
}

setup_file() {
    hosts_init
    host_add s
    host_add out "$BED_OUTSIDE.200"
    host_add n1
    host_clock_skew s 0 || skip "no libfaketime"
    host_clock_skew n1 0
    server_start s --node-grace 5s
    agent_join n1 s
    agent_start n1
    cluster_image n1
    mkdir "$BED_DIR/t"
    kube apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: keep, annotations: {davit.dev/fence: "false"}}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sh, -c, "i=0; while :; do i=\$((i + 1)); echo \$i >>/t/ticks; sleep 0.2; done"]
    volumeMounts: [{name: t, mountPath: /t}]
  volumes: [{name: t, hostPath: {path: $BED_DIR/t}}]
Y
    kube wait --for=condition=Ready pod/keep --timeout=60s
}
teardown_file() { hosts_fini; }

is() { kube get pod keep -o jsonpath='{.metadata.uid} {.status.podIP} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}'; }
ticks() { wc -l <"$BED_DIR/t/ticks"; }
goes_on() {
    local before
    before=$(ticks)
    more() { [ "$(ticks)" -gt $((before + 3)) ]; }
    wait_for 10 more
}

@test "a certificate that runs out in a cut: pods run, the agent says what to do, a token makes it the node it was" {
    was=$(is)
    cluster_signal TERM n1 agent
    link_cut n1
    AGENT_WAIT=0 agent_start n1
    node_wait n1 Unknown
    host_clock_skew s $LATER
    host_clock_skew n1 $LATER
    wait_for 30 grep -q "has run out.*davit node rm n1.*davit token create" "$BED_DIR/log/n1.agent"
    goes_on

    # the server's own certificates are made anew; the node's does not count any more
    cluster_signal TERM s server
    server_start s --node-grace 5s
    kube_trusts
    link_heal n1
    # it may speak to the server, and is not taken for the node
    wait_for 30 grep -Eq "renewing a certificate of this node|trying again" "$BED_DIR/log/n1.agent"
    equals Unknown kube get node n1 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    cluster_signal TERM n1 agent
    # a token alone is not enough: the name is taken
    agent_join n1 s
    # shellcheck disable=SC2046 # two options and their values
    run host_run n1 timeout 60 "$DAVIT" agent --data-dir "$(host_disk n1)" --node-name n1 $(cat "$BED_DIR/join.n1")
    [ "$status" = 1 ]
    [[ "$output" == *"davit node rm n1"* ]]
    goes_on

    host_run s "$DAVIT" node rm n1 --data-dir "$(host_disk s)"
    # shellcheck disable=SC2046
    agent_start n1 $(cat "$BED_DIR/join.n1")
    node_wait n1 True
    wait_for 20 equals "$was" is
    contains keep kube exec keep -- hostname
    goes_on
    [ "$(sed '$d' "$BED_DIR/t/ticks")" = "$(seq $(($(ticks) - 1)))" ] # never begun anew, never stopped
}
