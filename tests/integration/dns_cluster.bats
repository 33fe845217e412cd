#!/usr/bin/env bats
# Names on several machines: every node answers for the whole cluster, to its pods and to its own processes, also while the
# server is away.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

setup_file() {
    hosts_init
    cluster_start 2
    cluster_image
    kube apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: set}
spec: {clusterIP: None, selector: {app: set}, ports: [{name: sql, port: 5432}]}
$(for n in n1 n2; do
        cat <<P
---
apiVersion: v1
kind: Pod
metadata: {name: on-$n, labels: {app: set}}
spec:
  nodeName: $n
  hostname: on-$n
  subdomain: set
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "davit.local/busybox:1", command: [sleep, "3600"]}]
P
    done)
Y
    kube wait --for=condition=Ready pod -l app=set --timeout=60s
}
teardown_file() { hosts_fini; }

# ask HOST NAME TYPE [options]: a process of that host asks the DNS Service's address
ask() {
    local host=$1
    shift
    host_run "$host" /usr/bin/python3 "$ROOT/tests/integration/dns.py" ask 10.96.0.10 "$@" 2>/dev/null
}
answers() { ask "$@" | sed 1,2d | grep -v ^edns | sort; }
both() { printf 'set.default.svc.cluster.local. 5 A %s\n' "$(kube get pod on-n1 -o jsonpath='{.status.podIP}')" "$(kube get pod on-n2 -o jsonpath='{.status.podIP}')" | sort; }

@test "every node knows every name, for its processes and its pods" {
    want=$(both)
    for n in n1 n2; do
        wait_for 10 equals "$want" answers $n set.default.svc.cluster.local A
        equals "$want" answers $n set.default.svc.cluster.local A tcp
        for to in n1 n2; do
            contains "PING on-$to.set ($(kube get pod on-$to -o jsonpath='{.status.podIP}'))" kube exec "on-$n" -- ping -c 1 -W 5 "on-$to.set"
        done
    done
}

@test "queries of processes and pods leave no conntrack entry" {
    for _ in 1 2 3; do answers n1 set.default.svc.cluster.local A; done
    kube exec on-n1 -- nslookup set.default.svc.cluster.local 10.96.0.10
    host_run n1 nft list ruleset | grep -q 'th dport 53 .*notrack'
    # by the kernel's own list where it has one
    [ -z "$(host_run n1 cat /proc/net/nf_conntrack 2>/dev/null | grep -E '[sd]port=53 ')" ]
}

@test "the server away: names are answered as last known; back: changes are seen" {
    want=$(both)
    cluster_signal KILL s server
    for n in n1 n2; do
        equals "$want" answers $n set.default.svc.cluster.local A
        equals "NXDOMAIN aa ra" sh -c "echo '$(ask $n no.default.svc.cluster.local A)' | head -n 1"
    done
    server_start s
    kube create svc clusterip late --tcp=80:80
    ip=$(kube get svc late -o jsonpath='{.spec.clusterIP}')
    for n in n1 n2; do
        wait_for 30 equals "late.default.svc.cluster.local. 5 A $ip" answers $n late.default.svc.cluster.local A
    done
}
