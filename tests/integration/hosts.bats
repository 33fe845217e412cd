#!/usr/bin/env bats
# The bed of hosts itself (tests/lib/hosts.bash), and davit unchanged on it.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

setup_file() {
    hosts_init
    CLUSTER_SERVER='--node-grace 20s' cluster_start 3
    cluster_image n1 n2 n3
}

teardown_file() { hosts_fini; }

reaches() { host_run "$1" ping -c 1 -W 1 -q "$2" >/dev/null; }
rtt_min() { host_run "$1" ping -c 4 -i 0.2 -W 3 -q "$2" | sed -n 's|^rtt [^=]*= \([0-9]*\)[./].*|\1|p'; }
answers() { host_run "$1" ping -c "$3" -i 0.005 -W 2 -q "$2" | sed -n 's/.* \([0-9]*\) received.*/\1/p'; }

# Sends a word by UDP from the one to the other; succeeds when it arrives. The neighbours are learned before: a block of one
# direction stops the answers of ARP too.
datagram() {
    local got=$BED_DIR/got.$1.$2
    rm -f "$got"
    host_run "$2" timeout 60 /usr/bin/python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7777))
s.settimeout(2)
print("listening", flush=True)
print(s.recv(100).decode(), flush=True)' >"$got" &
    local job=$!
    wait_for 5 grep -q listening "$got"
    host_run "$1" bash -c "echo word-$1 >/dev/udp/$(host_ip "$2")/7777"
    wait "$job"
    grep -q "word-$1" "$got"
}

# Every living process whose cgroups are of the bed.
processes_of() {
    local f
    for f in $(grep -ls "/$(basename "$1")" /proc/[0-9]*/cgroup); do
        grep -qs '^State:.Z' "${f%cgroup}status" || echo "$f"
    done
}

# Whatever of a bed can be found on the machine.
traces_of() { # directory
    ls -d "$1" 2>/dev/null
    find /sys/fs/cgroup -maxdepth 3 -name "$(basename "$1")"
    processes_of "$1"
    grep -F "$1" /proc/self/mountinfo
    true
}

# Is a network namespace gone for good, or does anything on the machine still hold it? Inode numbers are used again at once, so a
# wire is laid from each of a bed's namespaces into one of our own: it is there as long as both its ends are.
wires_lay() { # directory of a bed
    local f pid n=0
    unshare -n sleep 300 3>&- &
    WIRES=$!
    wait_for 5 wires_apart
    for f in "$1"/hosts/*/pid "$1"/switch/pid; do
        read -r pid _ <"$f"
        nsenter -t "$pid" -n ip link add name wire type veth peer name "wire$((n += 1))" netns "$WIRES"
    done
    equals "$n" wires
}
wires_apart() { [ "$(readlink /proc/$WIRES/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
wires() { nsenter -t "$WIRES" -n ip -br link | grep -c wire || true; }

@test "three agents are Ready, seen from outside by the server's address" {
    equals "True True True" kube get nodes -o 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
    equals "$(host_ip n1) $(host_ip n2) $(host_ip n3)" kube get nodes -o 'jsonpath={.items[*].status.addresses[?(@.type=="InternalIP")].address}'
    contains "https://$(host_ip s):6443" kube config view
    equals 3 bash -c "printf '%s\n' $(kube get nodes -o 'jsonpath={.items[*].status.nodeInfo.machineID}') | sort -u | wc -l"
}

@test "hosts share no name, /run, process or interface" {
    equals n1 host_run n1 hostname
    equals n2 host_run n2 uname -n
    host_run n1 touch /run/mine
    run ! host_run n2 test -e /run/mine
    [ ! -e /run/mine ]
    equals 1 host_run n1 sh -c 'pgrep -xc davit'
    equals eth0 host_run out sh -c 'ls /sys/class/net | grep -vx lo'
    host_spawn n1 "$BED_DIR/spawn.log" sh -c 'echo here $$; exec sleep 7531'
    wait_for 5 equals 1 host_run n1 pgrep -fc "^sleep 7531\$"
    run ! host_run n2 pgrep -f '^sleep 7531$'
    wait_for 5 grep -q here "$BED_DIR/spawn.log"
    kill -9 "$HOST_PID"
    wait_for 5 grep -qx 137 "$BED_DIR/hosts/n1/proc/1.status"
    run -42 host_run n1 sh -c 'exit 42'
    equals through host_run n1 cat <<<through
}

@test "a pod on every host, in that host's cgroups, interfaces and mounts alone" {
    for n in n1 n2 n3; do
        kube run "on-$n" --image=davit.local/busybox:1 --overrides="{\"spec\":{\"nodeName\":\"$n\"}}" -- sleep 7654
    done
    kube wait --for=condition=Ready pod/on-n1 pod/on-n2 pod/on-n3 --timeout=60s
    for n in n1 n2 n3; do
        wait_for 10 equals 1 host_run "$n" pgrep -fc '^sleep 7654$'
        # of the machine's view, below the host's own
        [ -n "$(find /sys/fs/cgroup -path "*$BED_CGROUP/$n/davit/*/pod*/cgroup.procs")" ]
        bridge=$(host_run "$n" sh -c 'cd /sys/class/net && ls -d davit-*')
        [ ! -e "/sys/class/net/$bridge" ]
    done
    run ! grep -F "$BED_DIR" /proc/self/mountinfo
    equals n2 kube exec on-n2 -- sh -c 'echo n2'
}

@test "cut: nothing passes; heal: all does" {
    reaches n1 n2
    reaches out n2
    link_cut n2
    run ! reaches n1 n2
    run ! reaches n2 n1
    run ! reaches out n2
    reaches n1 n3
    # what failed is in between: the host sees its link up
    equals 1 host_run n2 cat /sys/class/net/eth0/carrier
    link_heal n2
    reaches n1 n2
    reaches out n2
}

@test "one direction blocked, to one host and to all" {
    reaches n1 n2
    reaches n1 out
    link_block_from n1 n2
    datagram n1 n2
    run ! datagram n2 n1
    reaches n1 n3
    link_heal n1
    datagram n2 n1
    link_block_to n1 out # across the router
    run ! datagram n1 out
    datagram out n1
    datagram n1 n2
    link_heal n1
    datagram n1 out
    link_block_to n1
    run ! datagram n1 n2
    run ! datagram n1 out
    datagram n2 n1
    link_heal n1
    reaches n1 n2
}

@test "delay: each way, changed and ended while connections live" {
    [ "$(rtt_min n1 n2)" -lt 60 ]
    link_delay n2 60
    [ "$(rtt_min n1 n2)" -ge 120 ]
    [ "$(rtt_min out n2)" -ge 120 ]
    [ "$(rtt_min n1 n3)" -lt 60 ]
    link_cut n2 # a slow link can be cut
    run ! reaches n1 n2
    link_heal n2
    link_delay n2 5
    [ "$(rtt_min n2 n3)" -ge 10 ]
    [ "$(rtt_min n2 n3)" -lt 120 ]
    # large segments and checksums of the sender are whole
    head -c 8000000 /dev/urandom >"$BED_DIR/blob"
    host_spawn n2 "$BED_DIR/http.log" /usr/bin/python3 -u -m http.server --directory "$BED_DIR" 8088
    wait_for 10 host_run n2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/8088'
    host_run n1 curl -sf --max-time 30 -o "$BED_DIR/blob.got" "http://$(host_ip n2):8088/blob"
    cmp "$BED_DIR/blob" "$BED_DIR/blob.got"
    link_delay n2 0
    host_run n1 curl -sf --max-time 30 -o "$BED_DIR/blob.got" "http://$(host_ip n2):8088/blob"
    cmp "$BED_DIR/blob" "$BED_DIR/blob.got"
    kill "$HOST_PID"
    [ "$(rtt_min n1 n2)" -lt 60 ]
    node_wait n2 True
}

@test "loss: each way" {
    equals 100 answers n1 n3 100
    link_loss n3 30 # half of the round trips fail; 100 of 300 or 200 would be eight deviations off
    local n
    n=$(answers n1 n3 300)
    [ "$n" -gt 80 ]
    [ "$n" -lt 220 ]
    link_loss n3 100
    run ! reaches n1 n3
    link_loss n3 0
    equals 100 answers n1 n3 100
}

@test "a power cut, a boot: the disk stays, the rest is new; the agent comes back with its pods" {
    kube create deployment web --image=davit.local/busybox:1 --replicas=3 -- sleep 7655
    kube rollout status deploy/web --timeout=60s
    boot=$(kube get node n2 -o 'jsonpath={.status.nodeInfo.bootID}')
    host_run n2 sh -c "echo kept >/var/lib/davit/kept"
    host_run n2 touch /run/lost
    host_kill n2
    [ -z "$(find /sys/fs/cgroup -maxdepth 4 -path "*$BED_CGROUP/n2*")" ]
    run ! host_run n2 true
    run ! reaches n1 n2
    node_wait n2 Unknown 60
    host_boot n2
    reaches n1 n2
    run ! host_run n2 test -e /run/lost
    equals kept cat "$(host_disk n2)/kept"
    equals 0 host_run n2 sh -c 'pgrep -c conmon; true'
    agent_start n2
    node_wait n2 True
    run ! equals "$boot" kube get node n2 -o 'jsonpath={.status.nodeInfo.bootID}'
    kube wait --for=condition=Ready pod/on-n2 --timeout=60s
    equals 1 kube get pod on-n2 -o 'jsonpath={.status.containerStatuses[0].restartCount}'
    wait_for 10 equals 1 host_run n2 pgrep -fc '^sleep 7654$'
    kube rollout status deploy/web --timeout=60s
    equals 1 host_run n1 pgrep -fc '^sleep 7654$'
}

@test "an agent that cannot reach its server says so" {
    host_add e1
    agent_join e1 s
    agent_start e1
    cluster_signal TERM e1 agent
    sed -i 's/:6443/:6444/' "$(host_disk e1)/agent.kubeconfig"
    AGENT_WAIT=0 agent_start e1
    wait_for 20 grep -q 'trying on.*refused' "$BED_DIR/log/e1.agent"
    cluster_signal TERM e1 agent
    kube delete node e1
    host_kill e1
}

@test "a host whose clock is wrong, and that changes while programs run" {
    host_add c1
    host_clock_skew c1 -7200 || skip "libfaketime is not installed"
    local here there
    here=$(date +%s)
    there=$(host_run c1 date +%s)
    [ $((here - there)) -gt 7100 ]
    here=$(host_run n1 date +%s)
    [ $((here - there)) -gt 7100 ]
    host_spawn c1 "$BED_DIR/clock.log" /usr/bin/python3 -uc 'import select, time
while True: print(time.gmtime().tm_year); select.select([], [], [], 0.2)'
    wait_for 10 grep -q . "$BED_DIR/clock.log"
    host_clock_skew c1 400000000
    wait_for 10 grep -qx "$(date -d '+400000000 sec' +%Y)" "$BED_DIR/clock.log"
    host_kill c1
}

@test "beds beside each other have the same addresses and do not meet" {
    local i pids=() two=$BATS_TEST_TMPDIR
    for i in 1 2; do
        BED_NET6=fd77 bash -c '. "$0/tests/lib/davit.bash"; . "$0/tests/lib/hosts.bash"
            trap hosts_fini EXIT
            set -e
            hosts_init; host_add n1; host_add n2; host_add out 10.78.0.9
            [ "$(host_ip n1)" = 10.77.0.2 ]
            host_run n2 ping -c 1 -W 2 -q n1
            host_run n2 ping -6 -c 1 -W 2 -q "$(host_ip6 n1)"
            host_run n2 ping -6 -c 1 -W 2 -q "$(host_ip6 out)"
            host_run n1 touch /run/bed-$1
            touch "$2/up$1"
            while [ ! -e "$2/up1" ] || [ ! -e "$2/up2" ]; do sleep 0.05; done
            [ ! -e /run/bed-$1 ]
            [ "$(host_run n1 sh -c "ls /run | grep -c bed-")" = 1 ]
            link_cut n1' "$ROOT" $i "$two" >"$two/log$i" 2>&1 3>&- &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i" || { cat "$two"/log* >&2; return 1; }
    done
    reaches n1 s
}

@test "a run that is killed leaves files at most, and the sweep takes those; beds in use it leaves" {
    bash -c '. "$0/tests/lib/davit.bash"; . "$0/tests/lib/hosts.bash"
        hosts_init; host_add n1; host_add n2; link_delay n1 5; host_spawn n1 /dev/null sleep 7532
        echo "$BED_DIR"; exec sleep 7533' "$ROOT" >"$BATS_TEST_TMPDIR/bed" 3>&- &
    local owner=$! bed
    wait_for 20 grep -q . "$BATS_TEST_TMPDIR/bed"
    wait_for 20 grep -q hostbed "$BATS_TEST_TMPDIR/bed"
    bed=$(grep hostbed "$BATS_TEST_TMPDIR/bed")
    wires_lay "$bed"
    "$ROOT/tests/lib/hosts-sweep"
    [ -n "$(processes_of "$bed")" ]
    kill -9 "$owner"
    wait "$owner" || true
    wait_for 10 equals "" processes_of "$bed"
    wait_for 10 equals 0 wires
    kill "$WIRES"
    "$ROOT/tests/lib/hosts-sweep"
    equals "" traces_of "$bed"
    reaches n1 s
}

@test "a host keeps no copy of the machine's namespace handles and overlays" {
    local dir=$BATS_TEST_TMPDIR
    mkdir -p "$dir/node" "$dir/l" "$dir/u" "$dir/w" "$dir/o"
    touch "$dir/node/handle"
    unshare -m --propagation private bash -c '. "$0/tests/lib/davit.bash"; . "$0/tests/lib/hosts.bash"
        trap hosts_fini EXIT
        set -e
        mount --bind /proc/self/ns/net "$1/node/handle"
        mount -t overlay -o "lowerdir=$1/l,upperdir=$1/u,workdir=$1/w" overlay "$1/o"
        hosts_init; host_add n1
        ! host_run n1 grep -F -e "$1/node/handle" -e "$1/o " /proc/self/mountinfo || exit 1
        grep -qF "$1/node/handle" /proc/self/mountinfo' "$ROOT" "$dir" 3>&-
}

@test "a cluster of one, davit up, and down: each on a host of its own" {
    host_add u1
    host_spawn u1 "$BED_DIR/up.log" "$DAVIT" up
    wait_for 30 grep -q '^ready' "$BED_DIR/up.log"
    equals u1 host_run u1 kubectl --kubeconfig /var/lib/davit/admin.kubeconfig get nodes -o 'jsonpath={.items[*].metadata.name}'
    host_run u1 "$DAVIT" down
    host_run n3 "$DAVIT" down --data-dir "$(host_disk n3)"
    for n in u1 n3; do
        equals "eth0 lo " host_run "$n" sh -c 'ls /sys/class/net | tr "\n" " "'
        equals "" host_run "$n" sh -c 'pgrep "conmon|davit"; find /sys/fs/cgroup -name "davit*"; nft list tables; grep -e /disk/node -e /davit/node /proc/self/mountinfo; true'
    done
    equals 1 host_run n1 pgrep -fc '^sleep 7654$'
    host_kill u1
}

@test "hosts_fini leaves nothing, with pods running" {
    [ "$(kube get pods --no-headers | wc -l)" -ge 3 ]
    local bed=$BED_DIR
    wires_lay "$bed"
    hosts_fini
    equals "" traces_of "$bed"
    wait_for 10 equals 0 wires
    kill "$WIRES"
    for i in n1 n2 n3 d-n2 br-in br-out; do
        [ ! -e "/sys/class/net/$i" ]
    done
}
