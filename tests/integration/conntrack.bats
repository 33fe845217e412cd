#!/usr/bin/env bats
# A connection table that is full of connections that live: what the kernel does then is the kernel's affair (it drops new ones); that
# the rest goes on and that it is said is ours. The table is each network's own, its size everybody's, so it stays as it is.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

setup_file() {
    hosts_init
    cluster_start 2
    cluster_image
}
teardown_file() { hosts_fini; }

entries() { host_run n1 cat /proc/sys/net/netfilter/nf_conntrack_count; }
events() { kube get events --field-selector involvedObject.kind=Node,involvedObject.name=n1 -o custom-columns=R:.reason --no-headers; }
lines() { wc -l <"$BED_DIR/log/ticks"; }
# The node speaks to the server alone: as that.
metrics() {
    local port pki
    port=$(kube get node n1 -o jsonpath='{.status.daemonEndpoints.kubeletEndpoint.Port}') pki=$(host_disk s)/pki
    openssl req -new -newkey rsa:2048 -nodes -keyout "$BED_DIR/server.key" -subj /CN=davit-apiserver-node-client 2>/dev/null |
        openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -days 1 -extfile <(echo extendedKeyUsage=clientAuth) 2>/dev/null >"$BED_DIR/server.crt"
    host_run s curl -sSk -m 5 --cert "$BED_DIR/server.crt" --key "$BED_DIR/server.key" "https://$(host_ip n1):$port/metrics/resource"
}

@test "a full connection table is said; connections that exist, names and the node go on; when it is over, all is as before" {
    max=$(host_run n1 cat /proc/sys/net/netfilter/nf_conntrack_max)
    [ "$max" -le 300000 ] || skip "the table of this machine holds $max"
    kube run ticks --image=davit.local/busybox:1 --port=8080 --expose --overrides='{"spec":{"nodeName":"n2","terminationGracePeriodSeconds":0}}' -- sh -c '
        mkdir -p /w/cgi-bin; echo hi >/w/hi
        printf "#!/bin/sh\necho\nfor i in \$(seq 1000); do echo \$i; sleep 0.2; done\n" >/w/cgi-bin/ticks
        chmod +x /w/cgi-bin/ticks; exec httpd -f -p 8080 -h /w'
    kube wait --for=condition=Ready pod/ticks --timeout=60s
    vip=$(kube get svc ticks -o jsonpath='{.spec.clusterIP}')
    hi() { equals hi host_run n1 curl -sS -m 2 "http://$vip:8080/hi"; }
    wait_for 20 hi
    host_spawn n1 "$BED_DIR/log/ticks" curl -sSN -m 180 "http://$vip:8080/cgi-bin/ticks" >"$BED_DIR/ticks.pid"
    ticking() { [ "$(lines)" -ge 3 ]; }
    wait_for 10 ticking

    host_spawn n1 "$BED_DIR/log/fill" /usr/bin/python3 "$ROOT/tests/integration/conntrack.py" 300 >"$BED_DIR/fill.pid"
    wait_for 60 grep -q full "$BED_DIR/log/fill"
    # it is: a new connection is not made
    run host_run n1 curl -sS -m 2 "http://$vip:8080/hi"
    [ "$status" -eq 28 ]
    # and it is said
    wait_for 20 contains ConntrackFull events
    grep -q "connection table of this machine is full" "$BED_DIR/log/n1.agent"
    # one that exists goes on
    before=$(lines)
    more() { [ "$(lines)" -ge $((before + 10)) ]; }
    wait_for 10 more
    # names do not need the table
    contains "$vip" host_run n1 /usr/bin/python3 "$ROOT/tests/integration/dns.py" ask 10.96.0.10 ticks.default.svc.cluster.local A
    # nor does the node: it hears of a new Service
    kube create service clusterip later --clusterip=10.96.77.77 --tcp=80
    wait_for 10 contains 10.96.77.77 host_run n1 nft list ruleset
    [ "$(entries)" -gt $((max - max / 20)) ]
    equals True kube get node n1 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'

    kill "$(cat "$BED_DIR/fill.pid")"
    wait_for 30 hi
    wait_for 30 contains ConntrackHasRoom events
    contains "node_conntrack_entries_limit $max" metrics
    kill "$(cat "$BED_DIR/ticks.pid")"
    # none was lost
    [ "$(sed '$d' "$BED_DIR/log/ticks")" = "$(seq $(($(lines) - 1)))" ]
}
