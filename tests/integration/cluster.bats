#!/usr/bin/env bats
# One cluster of several machines: hosts join with the printed line, pods reach each other across them, hosts die and come back.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

setup_file() {
    hosts_init
    cluster_start 3
    cluster_image
}
teardown_file() { hosts_fini; }

# One pod a node, named by its node.
pods_everywhere() {
    for n in n1 n2 n3; do
        cat <<Y
---
apiVersion: v1
kind: Pod
metadata: {name: on-$n, labels: {app: everywhere}}
spec:
  nodeName: $n
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "davit.local/busybox:1", command: [sh, -c, "echo \$HOSTNAME >/index.html; exec httpd -f -p 80 -h /"]}]
Y
    done | kube apply -f - && kube wait --for=condition=Ready pod -l app=everywhere --timeout=60s
}

@test "three hosts have joined, each with its own range and certificates" {
    equals "n1 n2 n3" kube get nodes -o jsonpath='{.items[*].metadata.name}'
    ranges=$(kube get nodes -o jsonpath='{range .items[*]}{.spec.podCIDR}{"\n"}{end}')
    [ "$(sort -u <<<"$ranges" | wc -l)" = 3 ]
    # what was asked for was approved and signed by the cluster itself
    equals 6 sh -c "echo '$(kube get csr --no-headers)' | grep -c 'Approved,Issued'"
    [ "$(stat -c %a "$(host_disk n1)/agent.kubeconfig" "$(host_disk n1)/agent.key" | sort -u)" = 600 ]
    [ ! -e "$(host_disk n1)/agent.join.key" ]
    # nobody reads the token off a command line
    host_run n1 ps -eo args= | grep -q "[d]avit agent .*--token"
    ! host_run n1 ps -eo args= | grep -q "dvt1-" || false
}

@test "every pod reaches every pod on every host" {
    pods_everywhere
    for from in n1 n2 n3; do
        for to in n1 n2 n3; do
            ip=$(kube get pod "on-$to" -o jsonpath='{.status.podIP}')
            equals "on-$to" kube exec "on-$from" -- wget -q -O - "http://$ip/"
        done
    done
    # a host reaches pods of other hosts
    ip=$(kube get pod on-n2 -o jsonpath='{.status.podIP}')
    equals on-n2 host_run n1 curl -s -m 5 "http://$ip/"
    # logs, exec from the server's side reach every node (done above), and pods see their own addresses kept
    seen=$(kube exec on-n1 -- sh -c "wget -q -O /dev/null http://$ip/; ip -4 -o addr show eth0")
    [[ "$seen" == *"$(kube get pod on-n1 -o jsonpath='{.status.podIP}')"* ]]
}

@test "a large packet fits through the tunnel" {
    ip=$(kube get pod on-n2 -o jsonpath='{.status.podIP}')
    kube exec on-n1 -- ping -c 1 -W 5 -s 1400 "$ip"

}

@test "an agent that is killed leaves the paths, one that stops and one that starts too" {
    ip=$(kube get pod on-n2 -o jsonpath='{.status.podIP}')
    cluster_signal KILL n1 agent
    equals on-n2 host_run n1 curl -s -m 5 "http://$ip/"
    agent_start n1
    equals on-n2 kube exec on-n1 -- wget -q -O - "http://$ip/"
}

@test "a node that is removed is no path any more, and joins anew" {
    range=$(kube get node n3 -o jsonpath='{.spec.podCIDR}')
    host_run n1 ip route | grep -q "^${range} "
    cluster_signal TERM n3 agent
    host_run n3 "$DAVIT" down --data-dir "$(host_disk n3)"
    kube delete node n3
    wait_for 10 eval "! host_run n1 ip route | grep -q '^${range} '"
    # the machine comes back as itself: its certificate is still good
    agent_start n3
    node_wait n3 True
    wait_for 10 eval "host_run n1 ip route | grep -q '^$(kube get node n3 -o jsonpath='{.spec.podCIDR}') '"
}

@test "names are not taken twice, and wrong tokens say what is wrong" {
    host_add x
    line=$(host_run s "$DAVIT" token create --data-dir "$(host_disk s)" 2>/dev/null)
    token=${line##* } server=https://$(host_ip s):6443 disk=$(host_disk x)
    join() { host_run x timeout 20 "$DAVIT" agent --data-dir "$disk" --server "$server" --node-name "$1" --token "$2"; }
    run join n1 "$token"
    [ "$status" = 1 ]
    [[ "$output" == *"there is a node n1 already"*"davit node rm n1"* ]]
    run join x1 "${token:0:40}"
    [ "$status" = 1 ]
    [[ "$output" == *"its end is missing"* ]]
    other=a
    [ "${token:10:1}" != a ] || other=b
    run join x1 "${token:0:10}$other${token:11}"
    [ "$status" = 1 ]
    [[ "$output" == *"does not know this token"* ]]
    # the digest of another cluster: nothing is sent to a server that is not the one
    run join x1 "${token%????}0000"
    [ "$status" = 1 ]
    [[ "$output" == *"is not the server this token was made for"*"nothing was sent"* ]]
    host_run s "$DAVIT" token delete "$token" --data-dir "$(host_disk s)"
    run join x1 "$token"
    [ "$status" = 1 ]
    [[ "$output" == *"does not know this token"* ]]
    [ ! -e "$disk/agent.kubeconfig" ]
}

@test "ten machines join at once" {
    pids=()
    for i in 0 1 2 3 4 5 6 7 8 9; do
        host_add "m$i"
        agent_join "m$i" s
    done
    for i in 0 1 2 3 4 5 6 7 8 9; do
        agent_start "m$i" 3>&- &
        pids+=($!)
    done
    for p in "${pids[@]}"; do wait "$p"; done
    equals 13 sh -c "echo '$(kube get nodes --no-headers)' | grep -c ' Ready '"
    ranges=$(kube get nodes -o jsonpath='{range .items[*]}{.spec.podCIDR}{"\n"}{end}' | sort -u | wc -l)
    [ "$ranges" = 13 ]
}

@test "certificates are renewed while the agent runs" {
    host_clock_skew s 0 || skip "no libfaketime"
    cert() { openssl x509 -noout -serial -enddate; }
    client_cert() { sed -n 's/.*client-certificate-data: //p' "$(host_disk n1)/agent.kubeconfig" | base64 -d | cert; }
    client=$(client_cert) serving=$(cert <"$(host_disk n1)/agent.crt")
    # three hundred days later: more than two thirds of their year are over
    for host in s n1; do host_clock_skew "$host" $((300 * 86400)); done
    cluster_signal TERM s server
    cluster_signal TERM n1 agent
    server_start s
    agent_start n1
    wait_for 30 eval '[ "$(client_cert)" != "$client" ]'
    wait_for 30 eval '[ "$(cert <"$(host_disk n1)/agent.crt")" != "$serving" ]'
    # and used: logs come through the node's API, and the node goes on
    kube logs on-n1
    wait_for 30 grep -q "certificate was renewed" "$BED_DIR/log/n1.agent"
    node_wait n1 True
}
