#!/usr/bin/env bats
# The other ways between nodes: plain routes on a shared link, and whichever fits (auto).
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

setup() { hosts_init; }
teardown() { hosts_fini; }

two_pods() {
    for n in n1 n2; do
        kube run "on-$n" --image=davit.local/busybox:1 --overrides="{\"spec\":{\"nodeName\":\"$n\"}}" -- \
            sh -c 'echo $HOSTNAME >/index.html; exec httpd -f -p 80 -h /'
    done
    kube wait --for=condition=Ready pod/on-n1 pod/on-n2 --timeout=60s
    equals on-n2 kube exec on-n1 -- wget -q -O - "http://$(kube get pod on-n2 -o jsonpath='{.status.podIP}')/"
    equals on-n1 kube exec on-n2 -- wget -q -O - "http://$(kube get pod on-n1 -o jsonpath='{.status.podIP}')/"
}

route_to() { # NODE OTHER: the route on NODE to the pods of OTHER
    host_run "$1" ip route show "$(kube get node "$2" -o jsonpath='{.spec.podCIDR}')"
}

@test "plain routes on a shared link: no tunnel, no smaller packets" {
    CLUSTER_SERVER='--network routes --cluster-cidr 10.200.0.0/16 --service-cidr 10.50.0.0/16' cluster_start 2
    cluster_image
    two_pods
    [[ "$(route_to n1 n2)" == *"via $(host_ip n2) dev eth0"* ]]
    [ -z "$(host_run n1 ip -o link show type vxlan)" ]
    equals 1500 kube exec on-n1 -- cat /sys/class/net/eth0/mtu
    [[ "$(kube get node n1 -o jsonpath='{.spec.podCIDR}')" == 10.200.* ]]
    equals 10.50.0.1 kube get svc kubernetes -o jsonpath='{.spec.clusterIP}'
    # what a cluster was made with does not change
    cluster_signal TERM s server
    run host_run s "$DAVIT" server --data-dir "$(host_disk s)" --network vxlan
    [ "$status" = 1 ]
    [[ "$output" == *"--network vxlan: this cluster was made with routes"* ]]
    run host_run s "$DAVIT" server --data-dir "$(host_disk s)" --cluster-cidr 10.128.0.0/10
    [ "$status" = 1 ]
    [[ "$output" == *"cannot change"* ]]
    # and without the server the paths are there, after a restart of the agent as well
    cluster_signal KILL n1 agent
    AGENT_WAIT=0 agent_start n1
    sleep 1
    [[ "$(route_to_known n1)" == *"via $(host_ip n2)"* ]]
}

route_to_known() { host_run "$1" ip route show proto 218; }

@test "auto: direct to a neighbour, in a tunnel through a router" {
    CLUSTER_SERVER='--network auto' cluster_start 2
    cluster_image
    two_pods
    [[ "$(route_to n1 n2)" == *"via $(host_ip n2) dev eth0"* ]]
    agent_join out s # behind the router
    agent_start out
    node_wait out True
    cluster_image out
    wait_for 10 eval '[[ "$(route_to n1 out)" == *"dev dvx"* ]]'
    kube run far --image=davit.local/busybox:1 --overrides='{"spec":{"nodeName":"out"}}' -- sh -c 'echo far >/index.html; exec httpd -f -p 80 -h /'
    kube wait --for=condition=Ready pod/far --timeout=60s
    equals far kube exec on-n1 -- wget -q -O - "http://$(kube get pod far -o jsonpath='{.status.podIP}')/"
    equals on-n1 kube exec far -- wget -q -O - "http://$(kube get pod on-n1 -o jsonpath='{.status.podIP}')/"
}

@test "ranges that overlap are refused at the start" {
    host_add s
    run host_run s timeout 10 "$DAVIT" server --data-dir "$(host_disk s)" --cluster-cidr 10.96.0.0/12
    [ "$status" = 2 ]
    [[ "$output" == *"overlap"* ]]
    run host_run s timeout 10 "$DAVIT" server --data-dir "$(host_disk s)" --cluster-cidr 10.77.0.0/16
    [ "$status" = 2 ]
    [[ "$output" == *"this machine's address"*"lies in a range of the cluster"* ]]
    run host_run s timeout 10 "$DAVIT" server --data-dir "$(host_disk s)" --cluster-cidr nonsense
    [ "$status" = 2 ]
    [[ "$output" == *"--cluster-cidr"* ]]
}
