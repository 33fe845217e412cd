#!/usr/bin/env bats
# NetworkPolicies between machines: each node holds its own pods to them, also while the server is away.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

setup() { hosts_init; }
teardown() { hosts_fini; }

pod() { # NAME NODE
    kube run "$1" --image=davit.local/busybox:1 --overrides="{\"spec\":{\"nodeName\":\"$2\",\"terminationGracePeriodSeconds\":0}}" -- \
        sh -c 'echo $HOSTNAME >/index.html; exec httpd -f -p 80 -h /'
}
ip_of() { kube get pod "$1" -o jsonpath='{.status.podIP}'; }
fetch() { kube exec "$1" -- timeout 2 wget -q -O - "http://$(ip_of "$2")/"; } # FROM TO
reaches() { wait_for 15 equals "$2" fetch "$1" "$2"; }
misses() { wait_for 15 eval "! fetch $1 $2"; }

@test "policies between nodes, over restarts without a server" {
    cluster_start 2
    cluster_image
    pod a n1
    pod b n2
    pod c n2
    kube wait --for=condition=Ready pod/a pod/b pod/c --timeout=60s
    reaches a b
    reaches c b
    kube apply -f - <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: to-b}
spec:
  podSelector: {matchLabels: {run: b}}
  ingress: [{from: [{podSelector: {matchLabels: {run: a}}}], ports: [{port: 80}]}]
Y
    misses c b
    reaches a b
    reaches a c
    # the sender's node holds the sender
    kube apply -f - <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-a}
spec:
  podSelector: {matchLabels: {run: a}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {run: b}}}]}]
Y
    misses a c
    reaches a b
    # a pod that comes on the other node is let in when it is seen
    kube delete pod a
    pod a n1
    kube wait --for=condition=Ready pod/a --timeout=60s
    reaches a b
    misses a c
    b=$(ip_of b) c=$(ip_of c)
    # an agent that starts while the server is away leaves things as they are
    cluster_signal KILL s server
    cluster_signal KILL n1 agent
    cluster_signal KILL n2 agent
    AGENT_WAIT=0 agent_start n1
    AGENT_WAIT=0 agent_start n2
    sleep 2
    for n in n1 n2; do
        [[ "$(host_run $n nft list tables)" == *-policy* ]]
    done
    before=$(host_run n1 nft list table ip "$(host_run n1 nft list tables | sed -n 's/^table ip \(.*-policy\)$/\1/p')")
    [[ "$before" == *"$b"* ]]
    server_start s
    node_wait n1 True
    reaches a b
    misses a c
    misses c b
    [ "$b" = "$(ip_of b)" ]
    [ "$c" = "$(ip_of c)" ]
}
