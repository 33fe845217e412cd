#!/usr/bin/env bash
# What several machines cost, on the bed of hosts (docs/TESTBED.md): joining, the way of an endpoint to all nodes, the death of a host,
# throughput between pods. Root. One line a figure, see report.bash; the end of run.sh calls it.
#   tests/bench/cluster.sh [BUILD] [join|reach|gone|throughput ...]
set -o pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
shift
parts=${*:-join reach gone throughput}
export DAVIT=$build/davit
. tests/bench/report.bash
. tests/lib/davit.bash
. tests/lib/hosts.bash
quick=$([ "${BENCH:-}" = quick ] && echo 1)
ninja -C "$build" davit tests/bench/bench_api >"$build/bench.log" || { cat "$build/bench.log" >&2; exit 1; }

hosts_init || exit 1
trap 'hosts_fini' EXIT
trap 'exit 130' INT TERM
tmp=$BED_DIR/bench
mkdir "$tmp"
CLUSTER_SERVER='--node-grace 3s' cluster_start 3 >"$tmp/log" 2>&1 && cluster_image >>"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
worst() { sort -n | tail -n 1; }
us() { echo "${EPOCHREALTIME/./}"; }
stamped() { while IFS= read -r line; do echo "${EPOCHREALTIME/./} $line"; done; }
has() { case " $parts " in *" $1 "*) ;; *) return 1 ;; esac; }
bed_kubectl() { host_spawn out "$1" env KUBECONFIG="$BED_DIR/admin.kubeconfig" kubectl "${@:2}" >/dev/null; }

# watch_start FILE kubectl-arguments: every change, with the time it was heard of (microseconds). watch_stop ends it.
watch_start() {
    mkfifo "$1.pipe"
    stamped <"$1.pipe" >"$1" &
    bed_kubectl "$1.pipe" get "${@:2}" --watch --no-headers
    watcher=$HOST_PID
    wait_for 20 test -s "$1"
}
watch_stop() { kill "$watcher" && rm -f "$tmp"/*.pipe; }

# pod NAME NODE COMMAND...: a pod on that node that runs this.
pod() {
    local name=$1 node=$2
    shift 2
    kube apply -f - >>"$tmp/log" <<Y
apiVersion: v1
kind: Pod
metadata: {name: $name, labels: {app: $name}}
spec:
  nodeName: $node
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "davit.local/busybox:1", command: [$(printf '"%s",' "$@")]}]
Y
    kube wait --for=condition=Ready "pod/$name" --timeout=60s >>"$tmp/log"
}

# ---- a host joins: from the start of `davit agent --server --token` on an empty disk until a watcher is told that the node is Ready ----
join() {
    local i n=$((quick ? 3 : 7)) t first
    watch_start "$tmp/nodes" nodes -o 'custom-columns=N:.metadata.name,R:.status.conditions[?(@.type=="Ready")].status'
    for ((i = 1; i <= n; i++)); do
        host_add "j$i" && agent_join "j$i" s || return 1
        t=$(us)
        AGENT_WAIT=0 agent_start "j$i" || return 1
        wait_for 30 grep -q " j$i  *True" "$tmp/nodes" || return 1
        first=$(awk -v n="j$i" '$2 == n && $3 == "True" { print $1; exit }' "$tmp/nodes")
        awk -v d="$((first - t))" 'BEGIN { printf "%.0f\n", d / 1000 }'
        host_kill "j$i"
        kube delete node "j$i" >>"$tmp/log" 2>&1
    done >"$tmp/join"
    watch_stop
    report host_joins_ready "$(median <"$tmp/join")" ms 1000 less
    note host_joins_ready_worst "$(worst <"$tmp/join")" ms
}

# ---- an endpoint turns ready: from the write of its slice until a connection to the ClusterIP succeeds on each of the nodes. Among
# 1,000 Services of 5 endpoints. The slice is written by the test, the pod behind it and all between are real. ----
reach() {
    local n=$((quick ? 40 : 150)) node probes=() ip vip pids=()
    host_run out "$build/tests/bench/bench_api" "$BED_DIR/admin.kubeconfig" services 1000 32 >>"$tmp/log" || return 1
    pod reached n1 httpd -f -p 8080
    ip=$(kube get pod reached -o jsonpath='{.status.podIP}')
    kube apply -f - >>"$tmp/log" <<Y
apiVersion: v1
kind: Service
metadata: {name: reach}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reach-x, labels: {kubernetes.io/service-name: reach}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: ["$ip"], conditions: {ready: true}, nodeName: n1}]
Y
    vip=$(kube get svc reach -o jsonpath='{.spec.clusterIP}')
    kube config view --raw --flatten -o json >"$tmp/kubeconfig.json"
    for node in n1 n2 n3; do
        host_spawn $node "$tmp/probe.$node" /usr/bin/python3 tests/bench/reach.py probe "$vip" 80 >/dev/null
        pids+=("$HOST_PID")
        probes+=("$tmp/probe.$node")
    done
    for node in n1 n2 n3; do wait_for 20 test -s "$tmp/probe.$node" || return 1; done
    host_run out /usr/bin/python3 tests/bench/reach.py toggle "$tmp/kubeconfig.json" reach-x "$n" >"$tmp/toggles" || return 1
    sleep 0.5
    kill "${pids[@]}"
    /usr/bin/python3 tests/bench/reach.py p "$tmp/toggles" "${probes[@]}" >"$tmp/reach"
    read -r p50 p99 max samples missing <"$tmp/reach"
    report endpoint_ready_to_reachable_p99 "$p99" ms 100 less
    note endpoint_ready_to_reachable_p50 "$p50" ms
    note endpoint_ready_to_reachable_worst "$max" ms
    note endpoint_samples_never_reached "$missing" "of_$samples"
}

# ---- a host dies: from the expiry of its lease until all its pods run elsewhere, which tolerate a lost node for no time. In a namespace
# of their own: each container in that of the 1,000 Services has 7,000 variables, which cost crun some 0.15 s of CPU. ----
# When all COUNT pods run on other nodes than NODE, as the watcher heard, after the microsecond SINCE.
all_elsewhere() { # file node count since
    awk -v gone="$2" -v want="$3" -v since="$4" '
        { on[$2] = $4 == "Running" && $3 != gone }
        $1 > since { n = 0; for (p in on) n += on[p]; if (n >= want) { print $1; exit } }' "$1"
}
gone() {
    local i n=$((quick ? 1 : 5)) killed expiry at last=0
    kube apply -f - >>"$tmp/log" <<Y
apiVersion: v1
kind: Namespace
metadata: {name: moving}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: moving, namespace: moving}
spec:
  replicas: 9
  selector: {matchLabels: {app: moving}}
  template:
    metadata: {labels: {app: moving}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 0}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 0}
      containers: [{name: c, image: "davit.local/busybox:1", command: [sleep, "36000"]}]
Y
    for ((i = 1; i <= n; i++)); do
        kube -n moving rollout status deploy/moving --timeout=60s >>"$tmp/log" || return 1
        kube -n moving get pods -l app=moving -o wide >>"$tmp/log"
        watch_start "$tmp/pods.$i" pods -n moving -l app=moving -o 'custom-columns=N:.metadata.name,H:.spec.nodeName,P:.status.phase'
        # Nodes are evicted at a rate of one in 10 s: what is measured is the first one, not the limit.
        [ "$last" -eq 0 ] || sleep "$(awk -v since="$(($(us) - last))" 'BEGIN { s = 10.5 - since / 1e6; print (s > 0 ? s : 0) }')"
        sleep 1.$((RANDOM % 10)) # at any moment between two renewals
        killed=$(us)
        host_kill n3
        expiry=$(date -d "$(kube get lease -n kube-node-lease n3 -o jsonpath='{.spec.renewTime}') + 3 seconds" +%s%6N)
        at=
        for _ in $(seq 200); do
            at=$(all_elsewhere "$tmp/pods.$i" n3 9 "$killed")
            [ -z "$at" ] || break
            sleep 0.1
        done
        watch_stop
        [ -n "$at" ] || return 1
        last=$at
        awk -v d="$((at - expiry))" 'BEGIN { printf "%.0f\n", d / 1000 }'
        host_boot n3 && agent_start n3 && node_wait n3 True || return 1
        # a third of them on each again
        kube -n moving scale deploy/moving --replicas=0 >>"$tmp/log"
        wait_for 30 equals "" kube -n moving get pods -l app=moving -o name
        kube -n moving scale deploy/moving --replicas=$((i == n ? 0 : 9)) >>"$tmp/log"
    done >"$tmp/gone"
    report node_gone_pods_elsewhere "$(median <"$tmp/gone")" ms 2000 less
    note node_gone_pods_elsewhere_worst "$(worst <"$tmp/gone")" ms
}

# ---- throughput of TCP: between two hosts (bare), between their pods (vxlan), between the pods by a ClusterIP, in turns ----
# On one machine the bare link is a pointer that changes hands: segments of 64 KB, never cut, checksums never made. What is compared
# then are paths through one kernel, where a pod's packet passes two network namespaces, a bridge and the stack a second time. So the
# figures with a budget are those on a link of 1 Gbit/s (a token bucket on each host's eth0, which counts the bytes of the wire): there
# the tunnel costs what it adds to each frame, at best 1398 bytes of data in a frame instead of 1448 (0.965). The others are printed
# beside: *_unlimited as the link is, *_unlimited_mtu with segmentation offload off, so that every packet is a frame and is paid for alone.
speed() { # command...: Mbit/s
    local try
    for try in 1 2 3; do
        "$@" -t $((quick ? 1 : 2)) -J 2>/dev/null | jq -e '.end.sum_received.bits_per_second / 1e6 | floor' && return
        sleep 0.5 # the one before is not gone yet
    done
    return 1
}
rounds() { # suffix budget?: the medians of the ratios of each round
    local i bare vxlan vip
    for ((i = 0; i < (quick ? 3 : 7); i++)); do
        bare=$(speed host_run n1 iperf3 -p 5202 -c "$(host_ip n2)") && vxlan=$(speed from_pod -c "$pod_ip") && vip=$(speed from_pod -c "$vip_ip") || return 1
        echo "$bare $vxlan $vip"
    done >"$tmp/speed$1"
    tunnel=$(awk '{ printf "%.3f\n", $2 / $1 }' "$tmp/speed$1" | median)
    service=$(awk '{ printf "%.3f\n", $3 / $2 }' "$tmp/speed$1" | median)
    note "throughput_bare$1" "$(cut -d' ' -f1 "$tmp/speed$1" | median)" Mbit/s
    if [ -n "$2" ]; then
        report "throughput_vxlan_of_bare$1" "$tunnel" of_1 "$2" more
        report "throughput_clusterip_of_vxlan$1" "$service" of_1 "$2" more
    else
        note "throughput_vxlan_of_bare$1" "$tunnel" of_1
        note "throughput_clusterip_of_vxlan$1" "$service" of_1
    fi
}
from_pod() { host_run n1 nsenter -t "$pid1" -n iperf3 "$@"; }
throughput() {
    local h servers=() pid1 pid2 pod_ip vip_ip
    pod sends n1 sleep 36001
    pod gets n2 sleep 36002
    kube expose pod gets --port=5201 >>"$tmp/log"
    pid1=$(host_run n1 pgrep -fx 'sleep 36001') && pid2=$(host_run n2 pgrep -fx 'sleep 36002') || return 1
    pod_ip=$(kube get pod gets -o jsonpath='{.status.podIP}') vip_ip=$(kube get svc gets -o jsonpath='{.spec.clusterIP}')
    host_spawn n2 "$tmp/iperf.bare" iperf3 -s -p 5202 --forceflush >/dev/null && servers+=("$HOST_PID")
    host_spawn n2 "$tmp/iperf.pod" nsenter -t "$pid2" -n iperf3 -s --forceflush >/dev/null && servers+=("$HOST_PID")
    wait_for 10 grep -q listening "$tmp/iperf.bare" && wait_for 10 grep -q listening "$tmp/iperf.pod" || return 1
    for h in n1 n2; do host_run $h tc qdisc replace dev eth0 root tbf rate 1gbit burst 256kb latency 20ms || return 1; done
    rounds "" 0.95 || return 1
    for h in n1 n2; do host_run $h tc qdisc del dev eth0 root; done
    rounds _unlimited || return 1
    for h in n1 n2; do host_run $h ethtool -K eth0 tso off gso off; done
    host_run n1 nsenter -t "$pid1" -n ethtool -K eth0 tso off gso off
    host_run n2 nsenter -t "$pid2" -n ethtool -K eth0 tso off gso off
    rounds _unlimited_mtu || return 1
    kill "${servers[@]}"
    kube delete pod sends gets >>"$tmp/log"
}

for part in join reach gone throughput; do
    has $part || continue
    $part && continue
    tail -n 20 "$tmp/log" >&2
    report "bench_cluster_$part" "" failed 0 less # none of its figures
done
exit 0
