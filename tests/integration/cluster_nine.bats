#!/usr/bin/env bats
# The whole of it, as a user sees it: three hosts join with the line that was printed, nine pods run on them, and every pod reaches
# every pod and every name; a host outside comes in by node port and load balancer, with its own address where that is promised.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

setup() { hosts_init; }
teardown() { hosts_fini; }

@test "three hosts, nine pods, every pod, every name, and the world outside" {
    host_add s
    server_start s
    host_add out "$BED_OUTSIDE.200"
    for n in n1 n2 n3; do
        host_add $n
        line=$(host_run s "$DAVIT" token create --data-dir "$(host_disk s)" 2>/dev/null)
        # as it was printed, but for where the program lies and its data
        [[ "$line" == "davit agent --server https://$(host_ip s):6443 --token dvt1-"* ]]
        # shellcheck disable=SC2086
        _cluster_spawn $n agent $DAVIT ${line#davit } --data-dir "$(host_disk $n)"
        node_wait $n True
    done
    cluster_image
    kube apply -f - <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: nine}
spec:
  replicas: 9
  selector: {matchLabels: {app: nine}}
  template:
    metadata: {labels: {app: nine}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: davit.local/busybox:1
        command:
        - sh
        - -c
        - |
          mkdir -p /w/cgi-bin
          printf '#!/bin/sh\necho\necho \$HOSTNAME \$REMOTE_ADDR\n' >/w/cgi-bin/who
          chmod +x /w/cgi-bin/who
          exec busybox httpd -f -p 8080 -h /w
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: nine}, ports: [{port: 8088, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: nine}, ports: [{port: 8089, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: each}
spec: {clusterIP: None, selector: {app: nine}, ports: [{name: http, port: 8080}]}
Y
    kube rollout status deployment/nine --timeout=60s
    pods=$(kube get pods -l app=nine -o jsonpath='{range .items[*]}{.metadata.name} {.status.podIP} {.spec.nodeName}{"\n"}{end}')
    ips=$(awk '{ print $2 }' <<<"$pods" | sort)
    [ "$(awk '{ print $3 }' <<<"$pods" | sort | uniq -c | xargs)" = "3 n1 3 n2 3 n3" ]

    # every pod: all nine by address and by name, the Service by its address and all its names, and by the headless name all nine
    vip=$(kube get svc web -o jsonpath='{.spec.clusterIP}')
    for from in $(awk '{ print $1 }' <<<"$pods"); do
        wait_for 10 equals "$ips" eval "kube exec $from -- nslookup -type=a each.default.svc.cluster.local 10.96.0.10 | sed -n 's/^Address: //p' | sort"
        seen=$(kube exec "$from" -- sh -ec "
            for ip in $(xargs <<<"$ips"); do
                wget -q -O - http://\$ip:8080/cgi-bin/who
                wget -q -O - http://\$(echo \$ip | tr . -).default.pod.cluster.local:8080/cgi-bin/who
            done
            for name in $vip web web.default web.default.svc web.default.svc.cluster.local; do
                wget -q -O - http://\$name:8088/cgi-bin/who >/dev/null
            done
            wget -q -O - http://each:8080/cgi-bin/who >/dev/null")
        [ "$(awk '{ print $1 }' <<<"$seen" | sort -u | wc -l)" = 9 ]
        # and with its own address
        own=$(awk -v p="$from" '$1 == p { print $2 }' <<<"$pods")
        [ "$(awk '{ print $2 }' <<<"$seen" | tr -d '[]' | sed 's/^::ffff://' | sort -u)" = "$own" ]
    done

    # from outside: all nine behind every host's address; with Local those of the host asked, who see the client
    node_port=$(kube get svc web -o jsonpath='{.spec.ports[0].nodePort}') local_port=$(kube get svc local -o jsonpath='{.spec.ports[0].nodePort}')
    all_hosts="$(host_ip n1) $(host_ip n2) $(host_ip n3)"
    for svc in web local; do
        wait_for 20 equals "$all_hosts" kube get svc $svc -o jsonpath='{.status.loadBalancer.ingress[*].ip}'
    done
    ask() { host_run out sh -c "for i in \$(seq $1); do curl -sS -m 10 http://$2/cgi-bin/who || exit 1; done"; }
    for n in n1 n2 n3; do
        for port in $node_port 8088; do
            wait_for 10 ask 1 "$(host_ip $n):$port"
            [ "$(ask 160 "$(host_ip $n):$port" | awk '{ print $1 }' | sort -u | wc -l)" = 9 ]
        done
        for port in $local_port 8089; do
            wait_for 10 ask 1 "$(host_ip $n):$port"
            seen=$(ask 40 "$(host_ip $n):$port" | tr -d '[]' | sed 's/::ffff://')
            [ "$(awk '{ print $1 }' <<<"$seen" | sort -u)" = "$(awk -v n=$n '$3 == n { print $1 }' <<<"$pods" | sort)" ]
            [ "$(awk '{ print $2 }' <<<"$seen" | sort -u)" = "$(host_ip out)" ]
        done
    done
}
