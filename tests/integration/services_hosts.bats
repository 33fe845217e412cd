#!/usr/bin/env bats
# Services of a cluster of three hosts, asked from its pods, its hosts, and a host outside.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

# One pod a host; each says at port 8080 on which host it is and who asks.
pods_everywhere() {
    for n in n1 n2 n3; do
        cat <<Y
---
apiVersion: v1
kind: Pod
metadata: {name: on-$n, labels: {app: who, host: $n}}
spec:
  nodeName: $n
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: davit.local/busybox:1
    command:
    - sh
    - -c
    - |
      mkdir -p /w/cgi-bin
      printf '#!/bin/sh\necho\necho $n \$REMOTE_ADDR\n' >/w/cgi-bin/who
      chmod +x /w/cgi-bin/who
      exec busybox httpd -f -p 8080 -h /w
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
Y
    done | kube apply -f - && kube wait --for=condition=Ready pod -l app=who --timeout=60s
}

setup_file() {
    hosts_init
    cluster_start 3
    cluster_image
    pods_everywhere
    kube apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: all}
spec: {type: NodePort, selector: {app: who}, ports: [{port: 80, targetPort: 8080}]}
Y
    OUT=$(host_ip out)
    export OUT
}
teardown_file() { hosts_fini; }

field() { kube get svc "$1" -o jsonpath="{$2}"; }
out() { host_run out curl -sS -m "${ASK_S:-5}" "http://$1/cgi-bin/who"; }
pod() { kube exec "on-$1" -- wget -qO- "http://$2/cgi-bin/who"; }
# N COMMAND...: which hosts answer in N requests
hosts_of() { for _ in $(seq "$1"); do "${@:2}"; done | awk '{ print $1 }' | sort -u | xargs; }

@test "a ClusterIP leads to pods of all hosts, from pods with their own address, from hosts and back" {
    vip=$(field all .spec.clusterIP)
    for n in n1 n2 n3; do
        equals "n1 n2 n3" hosts_of 60 pod $n "$vip"
        ip=$(kube get pod on-$n -o jsonpath='{.status.podIP}')
        seen=$(for _ in $(seq 20); do pod $n "$vip"; done | awk -v me=$n '$1 != me { print $2 }' | tr -d '[]' | sed 's/^::ffff://' | sort -u)
        [ "$seen" = "$ip" ] || { echo "pod of $n with $ip was seen as $seen"; return 1; }
        equals "n1 n2 n3" hosts_of 60 host_run $n curl -sS -m 5 "http://$vip/cgi-bin/who"
    done
}

@test "a NodePort of any host leads to pods of all, and its replies find the way back" {
    np=$(field all .spec.ports[0].nodePort)
    for n in n1 n2 n3; do
        equals "n1 n2 n3" hosts_of 60 out "$(host_ip $n):$np"
    done
    # to the pod of the same host with the client's own address, else with that of the host asked
    seen=$(for _ in $(seq 30); do out "$(host_ip n1):$np"; done)
    grep -q "^n1 .*$OUT" <<<"$seen"
    run ! grep -q "^n[23] .*$OUT" <<<"$seen"
}

@test "externalTrafficPolicy Local: the client's address arrives; hosts without a pod are silent to those outside, not inside" {
    kube apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: local}
spec: {type: NodePort, externalTrafficPolicy: Local, selector: {app: who, host: n2}, ports: [{port: 80, targetPort: 8080}]}
Y
    np=$(field local .spec.ports[0].nodePort)
    wait_for 10 contains "n2 " out "$(host_ip n2):$np"
    contains "$OUT" out "$(host_ip n2):$np"
    ASK_S=1 run out "$(host_ip n1):$np"
    [ "$status" -eq 28 ]
    contains "n2 " pod n1 "$(host_ip n1):$np"
    contains "n2 " host_run n3 curl -sS -m 5 "http://$(host_ip n3):$np/cgi-bin/who"
    kube delete svc local
}

@test "LoadBalancer: addresses of the hosts; with Local those of hosts with a pod, which it follows; health checks" {
    kube apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: lb}
spec: {type: LoadBalancer, selector: {app: who}, ports: [{port: 8088, targetPort: 8080}]}
Y
    addresses() { field lb '.status.loadBalancer.ingress[*].ip'; }
    wait_for 20 equals "$(host_ip n1) $(host_ip n2) $(host_ip n3)" addresses
    for n in n1 n2 n3; do
        wait_for 5 contains n out "$(host_ip $n):8088"
        equals "n1 n2 n3" hosts_of 60 out "$(host_ip $n):8088"
    done
    kube patch svc lb -p '{"spec":{"externalTrafficPolicy":"Local","selector":{"host":"n3"}}}'
    wait_for 20 equals "$(host_ip n3)" addresses
    wait_for 5 contains "$OUT" out "$(host_ip n3):8088"
    hc=$(field lb .spec.healthCheckNodePort)
    code() { host_run out curl -s -o /dev/null -w '%{http_code}' -m 5 "http://$(host_ip "$1"):$hc/healthz"; }
    wait_for 5 equals 200 code n3
    wait_for 5 equals 503 code n1
    # a pod of another host, at that address: short cut to the pod, with its own address
    contains "n3 " pod n1 "$(host_ip n3):8088"
    # the pod moves on
    kube patch svc lb -p '{"spec":{"selector":{"host":"n1"}}}'
    wait_for 20 equals "$(host_ip n1)" addresses
    wait_for 5 contains "n1 " out "$(host_ip n1):8088"
    kube delete svc lb --timeout=30s
}

@test "trafficDistribution PreferSameNode keeps pods on their host" {
    kube apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: near}
spec: {trafficDistribution: PreferSameNode, selector: {app: who}, ports: [{port: 80, targetPort: 8080}]}
Y
    vip=$(field near .spec.clusterIP)
    for n in n1 n2 n3; do
        wait_for 5 equals "$n" hosts_of 10 pod $n "$vip"
    done
    kube delete svc near
}

@test "under constant load a restart of the agent fails no request" {
    np=$(field all .spec.ports[0].nodePort)
    n1=$(host_ip n1)
    host_run out sh -c "for i in \$(seq 200); do curl -sS -m 5 http://$n1:$np/cgi-bin/who || echo failed; sleep 0.03; done" >"$BATS_TEST_TMPDIR/answers" 2>&1 &
    asker=$!
    sleep 0.5
    cluster_signal KILL n1 agent
    sleep 0.5
    agent_start n1
    wait "$asker"
    equals 200 sh -c "grep -c '^n[123] ' '$BATS_TEST_TMPDIR/answers'"
}
