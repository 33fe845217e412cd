#!/usr/bin/env bats
# What goes wrong between machines: tokens and certificates that are not good, names taken, clocks that are wrong, ranges that are
# full, links that lose, delay or carry one way only, addresses that change, and a machine that leaves. The first half of it says
# what is wrong, the second goes on.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

setup_file() {
    hosts_init
    CLUSTER_SERVER='--node-grace 5s' cluster_start 2
    cluster_image
    # another cluster beside it; kube is for the first
    cp "$BED_DIR/admin.kubeconfig" "$BED_DIR/first"
    host_add t
    server_start t
    mv "$BED_DIR/first" "$BED_DIR/admin.kubeconfig"
    echo s >"$BED_DIR/server"
}
teardown_file() { hosts_fini; }

teardown() {
    for n in n1 n2; do
        link_heal $n
        link_loss $n 0
        link_delay $n 0
    done
}

token_of() { # SERVERHOST [options]: just the token
    local line
    line=$(host_run "$1" "$DAVIT" token create --data-dir "$(host_disk "$1")" "${@:2}" 2>/dev/null) && echo "${line##* }"
}
# agent HOST [options]: in the foreground, until it ends by itself or is ended
agent() { host_run "$1" timeout "${AGENT_S:-20}" "$DAVIT" agent --data-dir "$(host_disk "$1")" --node-name "${NODE:-$1}" "${@:2}" 2>&1; }
url() { echo "https://$(host_ip "$1"):$CLUSTER_PORT"; }
# A host that was only there to be turned away, or a node that is done.
gone() {
    for h; do
        [ ! -e "$BED_DIR/log/$h.agent.pid" ] || [ -e "$BED_DIR/log/$h.agent.pid.status" ] || cluster_signal TERM "$h" agent
        kube delete node "$h" --ignore-not-found
        host_kill "$h"
    done
}
pod_on() { # NAME NODE [ANNOTATION]
    kube run "$1" --image=davit.local/busybox:1 --overrides="{\"metadata\":{\"annotations\":{${3:-}}},\"spec\":{\"nodeName\":\"$2\",\"terminationGracePeriodSeconds\":0}}" -- \
        sh -c 'echo $HOSTNAME >/index.html; exec httpd -f -p 80 -h /'
}
pod_ip() { kube get pod "$1" -o jsonpath='{.status.podIP}'; }
fetch() { kube exec "$1" -- timeout 5 wget -q -O - "http://$2/"; } # POD ADDRESS

@test "tokens: one that is over lets nobody in, a good one several, another cluster's is told so" {
    host_add a
    host_add b
    token=$(token_of s --ttl 1m)
    id=${token#*-}
    name=$(kube -n kube-system get secrets -o name | grep bootstrap-token | while read -r s; do
        i=$(kube -n kube-system get "$s" -o jsonpath='{.data.token-id}' | base64 -d)
        [[ "$token" != *"$i"* ]] || echo "$s"
    done)
    [ -n "$name" ]
    kube -n kube-system patch "$name" -p '{"stringData":{"expiration":"2020-01-01T00:00:00Z"}}'
    run agent a --server "$(url s)" --token "$token"
    [ "$status" = 1 ]
    [[ "$output" == *"does not know this token: it has expired or was deleted; make a new one"* ]]
    # nothing is kept that would make the next try another one
    [ ! -e "$(host_disk a)/agent.kubeconfig" ]
    run agent a --server "$(url s)" --token "$(token_of t)"
    [ "$status" = 1 ]
    [[ "$output" == *"$(url s) is not the server this token was made for"*"nothing was sent"* ]]
    token=$(token_of s)
    for h in a b; do
        agent_start $h --server "$(url s)" --token "$token"
        node_wait $h True
    done
    gone a b
}

@test "a node of another cluster: the server is not its own, and its certificate is not taken" {
    host_add y
    agent_join y t
    agent_start y
    cluster_signal TERM y agent
    config=$(host_disk y)/agent.kubeconfig
    sed -i "s|https://[^ ]*|$(url s)|" "$config"
    AGENT_S=8 run agent y
    [ "$status" = 124 ]
    [[ "$output" == *"certificate of the server"* ]]
    # it knows the server, but the server does not know it
    ca=$(sed -n 's/.*certificate-authority-data: //p' "$(host_disk n1)/agent.kubeconfig")
    sed -i "s|certificate-authority-data: .*|certificate-authority-data: $ca|" "$config"
    run agent y
    [ "$status" = 1 ]
    [[ "$output" == *"does not take this node's certificate"*"another cluster"* ]]
    run kube get node y
    [ "$status" = 1 ]
    gone y
}

@test "two machines join under one name at once: one is let in, the other is told" {
    host_add w1
    host_add w2
    token=$(token_of s)
    for h in w1 w2; do
        NODE=twin AGENT_S=200 agent $h --server "$(url s)" --token "$token" >"$BATS_TEST_TMPDIR/$h" 3>&- &
    done
    one_told() { [ "$(grep -l 'twin.*--node-name' "$BATS_TEST_TMPDIR"/w[12] | wc -l)" = 1 ]; }
    one_in() { [ "$(grep -l '^ready' "$BATS_TEST_TMPDIR"/w[12] | wc -l)" = 1 ]; }
    wait_for 60 one_told || { cat "$BATS_TEST_TMPDIR"/w[12]; kube get csr -o yaml; return 1; }
    wait_for 60 one_in
    node_wait twin True
    host_kill w1
    host_kill w2
    wait
    kube delete node twin
}

@test "clocks that are a day wrong are named" {
    host_add c
    host_clock_skew c -86400 || skip "no libfaketime"
    run agent c --server "$(url s)" --token "$(token_of s)"
    [ "$status" = 1 ]
    [[ "$output" == *"the clock of this machine says: that clock or the server's is wrong"* ]]
    # a day ahead is no harm; time that runs back is said, and is over when the clock is right
    host_clock_skew c 86400
    agent_join c s
    agent_start c
    node_wait c True
    cluster_signal TERM c agent
    host_clock_skew c -86400
    AGENT_WAIT=0 agent_start c
    wait_for 30 grep -q "that clock or the server's is wrong" "$BED_DIR/log/c.agent"
    host_clock_skew c 0
    wait_for 60 grep -q '^ready' "$BED_DIR/log/c.agent"
    node_wait c True
    # so far ahead that its certificate has run out
    cluster_signal TERM c agent
    host_clock_skew c $((800 * 86400))
    run agent c
    [ "$status" = 1 ]
    [[ "$output" == *"has run out, if the clock of this machine is right"* ]]
    gone c
    # the server's clock
    host_add v
    host_add u
    cp "$BED_DIR/admin.kubeconfig" "$BED_DIR/first"
    host_clock_skew v 86400
    server_start v
    mv "$BED_DIR/first" "$BED_DIR/admin.kubeconfig"
    echo s >"$BED_DIR/server"
    run agent u --server "$(url v)" --token "$(token_of v)"
    [ "$status" = 1 ]
    [[ "$output" == *"that clock or the server's is wrong"* ]]
    host_kill v
    host_kill u
}

@test "a node whose addresses are used up says so on the pod, and goes on when there is one again" {
    host_add small
    agent_join small s
    agent_start small --pod-cidr 10.190.7.0/29
    cluster_image small
    node_wait small True
    for i in 1 2 3 4 5 6; do pod_on p$i small; done
    # eight addresses, of which the net, its broadcast and the bridge have one each
    running() { kube get pods --field-selector spec.nodeName=small,status.phase=Running --no-headers 2>/dev/null | wc -l; }
    wait_for 60 equals 5 running
    left=$(kube get pods --field-selector spec.nodeName=small,status.phase=Pending -o jsonpath='{.items[0].metadata.name}')
    wait_for 30 contains "no pod address left" kube get events --field-selector "involvedObject.name=$left"
    contains FailedCreatePodSandBox kube get events --field-selector "involvedObject.name=$left"
    gone=p1
    [ "$left" != p1 ] || gone=p2
    kube delete pod $gone --wait
    kube wait --for=condition=Ready "pod/$left" --timeout=60s
    # and it is reached
    pod_on client n1
    kube wait --for=condition=Ready pod/client --timeout=60s
    equals "$left" fetch client "$(pod_ip "$left")"
    kube delete pods --all
    gone small
}

@test "the server is killed and started while ten machines join" {
    names=() pids=()
    for i in 0 1 2 3 4 5 6 7 8 9; do
        host_add j$i
        agent_join j$i s
        names+=(j$i)
    done
    for h in "${names[@]}"; do
        agent_start $h 3>&- &
        pids+=($!)
    done
    for _ in 1 2 3; do
        sleep 0.3
        cluster_signal KILL s server
        server_start s --node-grace 5s
    done
    for p in "${pids[@]}"; do wait "$p"; done
    for h in "${names[@]}"; do node_wait $h True 60; done
    equals 12 sh -c "echo '$(kube get nodes -o jsonpath='{range .items[*]}{.spec.podCIDR}{"\n"}{end}' | sort -u)' | wc -l"
    gone "${names[@]}"
}

@test "a link that carries one way only, either way: the node is given up, comes back, and its pods are as they were" {
    pod_on here n1
    pod_on there n2 '"davit.dev/fence":"false"' # one of a kind, it would be stopped
    kube wait --for=condition=Ready pod/here pod/there --timeout=60s
    uid=$(kube get pod there -o jsonpath='{.metadata.uid}')
    for way in from to; do
        host_run n2 ping -c 1 -W 5 "$(host_ip s)" # they know each other: frames, not neighbours, are what is lost
        link_block_$way n2 s
        node_wait n2 Unknown 60
        # pods are still reached, as only the server is out of sight
        equals there fetch here "$(pod_ip there)"
        link_heal n2
        node_wait n2 True 60
        wait_for 60 kube wait --for=condition=Ready pod/there --timeout=5s
        equals "$uid" kube get pod there -o jsonpath='{.metadata.uid}'
        wait_for 30 contains "on-log" kube exec there -- echo on-log
    done
    kube delete pods --all
}

@test "a link that loses every fifth packet, and one that is slow: the node stays, pods come, run and go" {
    pod_on near n1
    kube wait --for=condition=Ready pod/near --timeout=60s
    for fault in "link_loss n2 20" "link_delay n2 300"; do
        $fault
        pod_on far n2
        kube wait --for=condition=Ready pod/far --timeout=120s
        wait_for 60 equals far fetch near "$(pod_ip far)"
        wait_for 60 equals works kube exec far -- echo works
        kube delete pod far --timeout=120s
        link_loss n2 0
        link_delay n2 0
        node_wait n2 True 60
    done
    kube delete pods --all
}

@test "a full connection table: new connections are made, Services change, the node stays" {
    # of the host's own network; its size is everybody's and stays as it is
    max=$(host_run n1 cat /proc/sys/net/netfilter/nf_conntrack_max)
    [ "$max" -le 300000 ] || skip "the table of this machine holds $max"
    kube create deployment web --image=davit.local/busybox:1 --replicas=2 -- sh -c 'mkdir /w; echo hi >/w/index.html; exec httpd -f -p 8080 -h /w'
    kube patch deployment web -p '{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1}}}}'
    kube expose deployment web --port=80 --target-port=8080 --type=NodePort
    kube rollout status deployment/web --timeout=60s
    # queries that nobody answers, from one socket to every port of some addresses
    host_spawn n1 "$BED_DIR/log/flood" /usr/bin/python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for host in range(50, 56):
        for port in range(1024, 65536):
            try:
                s.sendto(b"?", ("10.78.0.%d" % host, port))
            except OSError:
                pass' >"$BED_DIR/flood.pid"
    entries() { host_run n1 cat /proc/sys/net/netfilter/nf_conntrack_count; }
    nearly_full() { [ "$(entries)" -gt $((max - max / 20)) ]; }
    wait_for 120 nearly_full
    url=http://$(host_ip n1):$(kube get svc web -o jsonpath='{.spec.ports[0].nodePort}')/
    for _ in 1 2; do
        for _ in $(seq 20); do equals hi host_run out curl -sS -m 20 "$url"; done
        nearly_full
        kube rollout restart deployment/web
        kube rollout status deployment/web --timeout=120s
    done
    kill "$(cat "$BED_DIR/flood.pid")"
    node_wait n1 True
    kube delete deployment,service web
    kube delete pods --all
}

@test "a node that comes back with another address: its certificate, its Node and the paths of the others follow" {
    host_add moving
    agent_join moving s
    agent_start moving
    cluster_image moving
    node_wait moving True
    pod_on still n1
    pod_on mover moving
    kube wait --for=condition=Ready pod/still pod/mover --timeout=60s
    ip=$(pod_ip mover) uid=$(kube get pod mover -o jsonpath='{.metadata.uid}')
    equals mover fetch still "$ip"
    cluster_signal TERM moving agent
    old=$(host_ip moving) new=$BED_NET.150
    host_run moving sh -e -c "ip addr del $old/24 dev eth0; ip addr add $new/24 dev eth0; ip route replace default via $BED_NET.1"
    echo $new >"$BED_DIR/hosts/moving/ip"
    agent_start moving
    wait_for 30 equals $new kube get node moving -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}'
    node_wait moving True
    openssl x509 -noout -ext subjectAltName <"$(host_disk moving)/agent.crt" | grep -q "IP Address:$new"
    # the same pod, by the same address, both ways; logs and exec by the new one
    wait_for 30 equals mover fetch still "$ip"
    wait_for 30 equals still fetch mover "$(pod_ip still)"
    equals "$uid" kube get pod mover -o jsonpath='{.metadata.uid}'
    equals here kube exec mover -- echo here
    wait_for 10 eval "! host_run n1 ip route | grep -q 'via $old '"
    wait_for 10 eval "! host_run n1 bridge fdb | grep -q ' dst $old '"
    wait_for 10 eval "host_run n1 bridge fdb | grep -q ' dst $new '"
    kube delete pods --all
    gone moving
}

@test "a machine that leaves: davit down and davit node rm leave nothing, on it and on the others" {
    host_add leaver
    agent_join leaver s
    look() { # what davit could have left
        host_run leaver sh -c 'ip -o link | cut -d: -f2; ip route; ip rule; nft list tables; cut -d" " -f5 /proc/self/mountinfo | grep "/hosts/leaver/"; ls /var/run/netns 2>/dev/null; ps -eo comm=' |
            sed 's/@.*//' | grep -vx 'sh\|ps\|cut\|grep\|sed\|ip\|ls' | sort
    }
    cgroups() { find /sys/fs/cgroup -path "*$BED_CGROUP/leaver/*" -type d 2>/dev/null | grep -c davit || true; }
    before=$(look)
    agent_start leaver
    cluster_image leaver
    node_wait leaver True
    kube create service nodeport some --tcp=80:80
    pod_on last leaver
    kube wait --for=condition=Ready pod/last --timeout=60s
    range=$(kube get node leaver -o jsonpath='{.spec.podCIDR}') ip=$(host_ip leaver)
    wait_for 20 eval 'host_run n1 ip route | grep -q "^$range "'
    [ "$(look)" != "$before" ]
    host_run leaver "$DAVIT" down --data-dir "$(host_disk leaver)"
    diff <(echo "$before") <(look)
    equals 0 cgroups
    # the server still knows it, and lets it go
    node_wait leaver Unknown 60
    host_run s "$DAVIT" node rm leaver --data-dir "$(host_disk s)"
    for n in n1 n2; do
        wait_for 20 eval "! host_run $n ip route | grep -q '^$range '"
        wait_for 20 eval "! host_run $n bridge fdb | grep -q ' dst $ip '"
    done
    run kube get pod last
    kube delete service some
    kube delete pods --all --force --grace-period=0
    host_kill leaver
}
