#!/usr/bin/env bats
# Services of SCTP over two hosts. Kernels of test machines often have no sockets of it, so the ends speak it by raw ones; what is
# between them (conntrack, translation) is the kernel's own.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

SCTP=$ROOT/tests/integration/sctp.py

setup_file() {
    [ -e /proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established ] || skip "no conntrack of SCTP in this kernel"
    hosts_init
    cluster_start 2
    cluster_image
    for n in n1 n2; do
        cat <<Y
---
apiVersion: v1
kind: Pod
metadata: {name: on-$n, labels: {app: sctp, host: $n}}
spec:
  nodeName: $n
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [/usr/bin/python3, /sctp.py, serve, "2905", $n]
    securityContext: {capabilities: {add: [NET_RAW]}}
    volumeMounts:
    - {name: usr, mountPath: /usr, readOnly: true}
    - {name: lib, mountPath: /lib, readOnly: true}
    - {name: lib64, mountPath: /lib64, readOnly: true}
    - {name: me, mountPath: /sctp.py, readOnly: true}
  volumes:
  - {name: usr, hostPath: {path: /usr}}
  - {name: lib, hostPath: {path: /usr/lib}}
  - {name: lib64, hostPath: {path: /usr/lib64}}
  - {name: me, hostPath: {path: $SCTP}}
Y
    done | kube apply -f -
    kube apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: all}
spec: {type: NodePort, selector: {app: sctp}, ports: [{protocol: SCTP, port: 5000, targetPort: 2905}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {selector: {app: nobody}, ports: [{protocol: SCTP, port: 5000}]}
Y
    kube wait --for=condition=Ready pod -l app=sctp --timeout=60s
    for n in n1 n2; do wait_for 20 contains serving kube logs on-$n; done
}
teardown_file() { hosts_fini; }

field() { kube get svc "$1" -o jsonpath="{$2}"; }
from_host() { host_run "$1" /usr/bin/python3 "$SCTP" ask "${@:2}"; }
from_pod() { kube exec "on-$1" -- /usr/bin/python3 /sctp.py ask "${@:2}"; }
hosts_of() { "$@" 40 | awk '{ print $1 }' | sort -u | xargs; }

@test "SCTP: a ClusterIP leads from hosts and pods to pods of both hosts, and back" {
    vip=$(field all .spec.clusterIP)
    for n in n1 n2; do
        wait_for 10 from_host $n "$vip" 5000
        equals "n1 n2" hosts_of from_host $n "$vip" 5000
        equals "n1 n2" hosts_of from_pod $n "$vip" 5000
    done
    # a pod is seen with its own address on the other host
    ip=$(kube get pod on-n1 -o jsonpath='{.status.podIP}')
    wait_for 10 equals "n2 $ip" from_pod n1 "$vip" 5000
    host_run n1 cat /proc/net/nf_conntrack 2>/dev/null | grep -q "sctp.*ESTABLISHED" || [ ! -e /proc/net/nf_conntrack ]
}

@test "SCTP: a NodePort of either host leads to pods of both" {
    np=$(field all .spec.ports[0].nodePort)
    for n in n1 n2; do
        equals "n1 n2" hosts_of from_host out "$(host_ip $n)" "$np"
    done
    # of TCP nothing is there
    run host_run out curl -sS -m 2 "http://$(host_ip n1):$np/"
    [ "$status" -eq 7 ]
}

@test "SCTP: an endpoint that goes gets nothing more; one that comes gets its share" {
    vip=$(field all .spec.clusterIP)
    kube label pod on-n2 app=away --overwrite
    only() { equals n1 hosts_of from_host "$1" "$vip" 5000; }
    for n in n1 n2; do wait_for 10 only $n; done
    kube label pod on-n2 app=sctp --overwrite
    both() { equals "n1 n2" hosts_of from_host "$1" "$vip" 5000; }
    for n in n1 n2; do wait_for 10 both $n; done
}

@test "SCTP: a Service without an endpoint refuses at once" {
    vip=$(field empty .spec.clusterIP)
    wait_for 10 host_run n1 /usr/bin/python3 "$SCTP" refused "$vip" 5000
}
