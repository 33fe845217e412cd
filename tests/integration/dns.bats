#!/usr/bin/env bats
# Names: what pods and the host get from the node's own name server. The world outside is a fake upstream on the
# loopback (dns.py serve); queries that busybox cannot make are made by dns.py inside a pod's network.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

DNS=10.96.0.10
D=svc.cluster.local

setup_file() {
    DAVIT_DIR=$(mktemp -d /tmp/davit-test.XXXXXX)
    DAVIT_PORT=$(free_port)
    UPSTREAM=127.$((DAVIT_PORT / 256)).$((DAVIT_PORT % 256)).53 # of this run alone
    export DAVIT_DIR DAVIT_PORT UPSTREAM
    printf 'nameserver %s\nsearch corp.example\n' "$UPSTREAM" >"$DAVIT_DIR.resolv"
    /usr/bin/python3 "$ROOT/tests/integration/dns.py" serve "$UPSTREAM" >"$DAVIT_DIR.upstream" 2>&1 3>&- &
    export UPSTREAM_PID=$!
    wait_for 5 grep -q serving "$DAVIT_DIR.upstream"
    davit_up --resolv-conf "$DAVIT_DIR.resolv"
    export KUBECONFIG=$DAVIT_DIR/admin.kubeconfig
    load_image
    kubectl apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: set}
spec:
  clusterIP: None
  selector: {app: set}
  ports: [{name: sql, port: 5432}]
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: www.corp.example}
---
apiVersion: v1
kind: Pod
metadata: {name: set-0, labels: {app: set}}
spec:
  hostname: set-0
  subdomain: set
  setHostnameAsFQDN: true
  hostAliases: [{ip: 192.0.2.9, hostnames: [alias.example]}]
  containers: [{name: c, image: "davit.local/busybox:1", command: [sleep, "8$DAVIT_PORT"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: set-1, labels: {app: set}}
spec:
  hostname: set-1
  subdomain: set
  dnsConfig:
    searches: [my.example]
    options: [{name: ndots, value: "1"}, {name: edns0}]
  containers: [{name: c, image: "davit.local/busybox:1", command: [sleep, "3600"]}]
Y
    kubectl wait --for=condition=Ready pod/set-0 pod/set-1 --timeout=60s
    wait_for 10 dig_ok set.default.$D
}
teardown_file() {
    davit_stop
    [ -z "${UPSTREAM_PID:-}" ] || kill "$UPSTREAM_PID"
    rm -f "$DAVIT_DIR.resolv" "$DAVIT_DIR.upstream"
}

# dns.py in the network of pod set-0
in_pod() {
    pod_pid=${pod_pid:-$(pgrep -f "^sleep 8$DAVIT_PORT\$")}
    nsenter -t "$pod_pid" -n /usr/bin/python3 "$ROOT/tests/integration/dns.py" "$@" 2>/dev/null
}
dig() { in_pod ask $DNS "$@"; }
dig_ok() { dig "$1" A | grep -q NOERROR; }
# records of an answer, sorted: without the first two lines (code, question) and without OPT
records() { dig "$@" | sed 1,2d | grep -v ^edns | sort; }
code() { dig "$@" | head -n 1; }
pod_ip() { kubectl get pod "$1" -o jsonpath='{.status.podIP}'; }

@test "the DNS Service is there, and pods are told to use it" {
    equals $DNS kubectl get svc -n kube-system kube-dns -o jsonpath='{.spec.clusterIP}'
    printf 'nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local corp.example\noptions ndots:5\n' >"$BATS_TEST_TMPDIR/want"
    equals "$(cat "$BATS_TEST_TMPDIR/want")" kubectl exec set-0 -- cat /etc/resolv.conf
    contains "options ndots:1 edns0" kubectl exec set-1 -- cat /etc/resolv.conf
    contains "corp.example my.example" kubectl exec set-1 -- cat /etc/resolv.conf
}

@test "a service by its short name, its full name, and from the host" {
    vip=$(kubectl get svc web -o jsonpath='{.spec.clusterIP}')
    contains "$vip" kubectl exec set-0 -- nslookup web.default.$D
    contains "PING web ($vip)" kubectl exec set-0 -- ping -c 1 -W 1 web
    contains "PING kubernetes.default (10.96.0.1)" kubectl exec set-0 -- ping -c 1 -W 1 kubernetes.default
    equals "NOERROR aa ra" code WEB.default.$D A
    contains "? WeB.default.$D." dig WeB.default.$D A
    contains "web.default.$D. 5 A $vip" /usr/bin/python3 "$ROOT/tests/integration/dns.py" ask "$(gateway)" web.default.$D A
}
gateway() { ip -o -4 addr show "$(bridge)" | awk '!/10.96.0.10/ { split($4, a, "/"); print a[1] }'; }
bridge() { for b in /sys/class/net/davit-*; do ip -o addr show "${b##*/}" | grep -q "$(pod_ip set-0 | cut -d. -f1-3)\." && echo "${b##*/}"; done || true; }

@test "headless: endpoints, their names, SRV, PTR, and not what is not ready" {
    a=$(pod_ip set-0) b=$(pod_ip set-1)
    equals "$(printf 'set.default.%s. 5 A %s\n' $D "$a" $D "$b" | sort)" records set.default.$D A
    equals "set-1.set.default.$D. 5 A $b" records set-1.set.default.$D A
    contains "0 100 5432 set-0.set.default.$D." records _sql._tcp.set.default.$D SRV
    contains "+set-1.set.default.$D. 5 A $b" records _sql._tcp.set.default.$D SRV
    equals "$(echo "$a" | awk -F. '{ print $4"."$3"."$2"."$1 }').in-addr.arpa. 5 PTR set-0.set.default.$D." \
        records "$(echo "$a" | awk -F. '{ print $4"."$3"."$2"."$1 }').in-addr.arpa" PTR
    equals "10.0.96.10.in-addr.arpa. 5 PTR kube-dns.kube-system.$D." records 10.0.96.10.in-addr.arpa PTR
    contains "80 web.default.$D." records _http._tcp.web.default.$D SRV
    kubectl delete pod set-1 --now
    wait_for 5 equals "NXDOMAIN aa ra" code set-1.set.default.$D A
    equals "set.default.$D. 5 A $a" records set.default.$D A
}

@test "the pod's own names: FQDN as host name, /etc/hosts, aliases" {
    equals "set-0.set.default.$D" kubectl exec set-0 -- hostname
    contains "$(pod_ip set-0)	set-0.set.default.$D	set-0" kubectl exec set-0 -- cat /etc/hosts
    contains "PING alias.example (192.0.2.9)" kubectl exec set-0 -- ping -c 1 -W 1 alias.example
    equals "10-1-2-3.default.pod.cluster.local. 5 A 10.1.2.3" records 10-1-2-3.default.pod.cluster.local A
}

@test "what is not there: NXDOMAIN and NODATA with the SOA, the schema's version" {
    equals "NXDOMAIN aa ra" code no.default.$D A
    equals "@cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local." records no.default.$D A
    equals "NOERROR aa ra" code web.default.$D AAAA
    equals "@cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local." records web.default.$D AAAA
    equals "NXDOMAIN aa ra" code 99.99.96.10.in-addr.arpa PTR
    equals 'dns-version.cluster.local. 5 TXT "1.1.0"' records dns-version.cluster.local TXT
}

@test "names outside: forwarded, cached, ExternalName, negative, not spoofed, not silent for ever" {
    equals "www.corp.example. 60 A 192.0.2.80" records www.corp.example A
    equals "NOERROR ra" code www.corp.example A
    contains "PING www (192.0.2.80)" kubectl exec set-0 -- ping -c 1 -W 1 www # by the node's search domain
    equals 1 grep -c '^www.corp.example. 1$' "$DAVIT_DIR.upstream"
    contains "outside.default.$D. 5 CNAME www.corp.example." records outside.default.$D A
    contains "www.corp.example." records outside.default.$D A
    equals "outside.default.$D. 5 CNAME www.corp.example." records outside.default.$D CNAME
    equals "NXDOMAIN ra" code nx.corp.example A
    equals "NXDOMAIN ra" code nx.corp.example A
    equals 1 grep -c '^nx.corp.example. 1$' "$DAVIT_DIR.upstream"
    equals "spoofed.corp.example. 60 A 192.0.2.80" records spoofed.corp.example A
    equals "SERVFAIL ra" code silent.corp.example A
}

@test "large answers: cut by UDP, whole by TCP and within the size the client names" {
    equals "NOERROR tc ra" code big.corp.example A
    [ "$(records big.corp.example A tcp | wc -l)" = 200 ]
    contains edns dig big.corp.example A edns=4096
    equals "NOERROR tc ra" code big.corp.example A edns=4096
    n=$(in_pod ask $DNS big.corp.example A edns=4096 | grep -c ' A ')
    [ "$n" -ge 70 ]
    [ "$n" -le 76 ] # 1232 bytes
    contains "edns 1232 do" dig web.default.$D A edns=1232 do
}

@test "bad queries: an error or nothing, and the server lives" {
    equals silence in_pod raw $DNS 00018180000100000000000001610000010001
    contains 00018185 in_pod raw $DNS 00010100000100000000000001610000010003   # class CH: REFUSED
    contains 00018181 in_pod raw $DNS 000101000001000000000000c00c00010001     # FORMERR
    contains 00018181 in_pod raw $DNS 0001010000020000000000000161000001000101620000010001
    contains 0001a984 in_pod raw $DNS 00012900000100000000000001610000010001   # UPDATE: NOTIMP
    in_pod storm $DNS 2000
    equals "NOERROR aa ra" code web.default.$D A
    equals "NOERROR aa ra" code web.default.$D A tcp
}

@test "queries make no conntrack entries" {
    table=$(bridge)
    nft list table ip "$table" | grep -q notrack
    [ ! -r /proc/net/nf_conntrack ] || [ "$(grep -c "dst=$DNS .*dport=53" /proc/net/nf_conntrack)" = 0 ]
}

@test "the agent restarted: names again, and a new service within a moment" {
    kill -9 "$(davit_pid_of agent)"
    wait_for 20 equals "NOERROR aa ra" code web.default.$D A
    kubectl create svc clusterip late --tcp=80:80
    wait_for 5 equals "NOERROR aa ra" code late.default.$D A
    kubectl delete svc late
    wait_for 5 equals "NXDOMAIN aa ra" code late.default.$D A
}

@test "dnsConfig that no resolver could use is refused" {
    run kubectl run bad --image=davit.local/busybox:1 --overrides='{"spec":{"dnsPolicy":"None"}}'
    [ "$status" -ne 0 ]
    contains "must not have more than 3" kubectl run bad --image=davit.local/busybox:1 \
        --overrides='{"spec":{"dnsConfig":{"nameservers":["1.1.1.1","1.1.1.2","1.1.1.3","1.1.1.4"]}}}'
    contains nameservers kubectl run bad --image=davit.local/busybox:1 --overrides='{"spec":{"dnsConfig":{"nameservers":["x"]}}}'
}
