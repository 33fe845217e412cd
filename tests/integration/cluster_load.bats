#!/usr/bin/env bats
# Under constant load through a Service, from a host outside and from a pod: hosts are cut off, killed and brought back, a rollout,
# a drain, restarts of agents and of the server. Every request counts: none fails but those that were led to the pods of a host
# that died, and these only until its endpoints are taken out.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

LOAD=$ROOT/tests/integration/load.py
RATE=120 # requests a second of each of the two

setup_file() {
    hosts_init
    CLUSTER_SERVER='--node-grace 5s' cluster_start 3
    cluster_image
    kube apply -f - <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 12
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: davit.local/busybox:1
        command: [sh, -c, "mkdir /w && echo \$HOSTNAME >/w/who && exec httpd -f -p 8080 -h /w"]
        readinessProbe: {httpGet: {path: /who, port: 8080}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 8}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 8088, targetPort: 8080}]}
Y
    kube rollout status deployment/web --timeout=60s
    wait_for 20 contains "$(host_ip n3)" kube get svc web -o jsonpath='{.status.loadBalancer.ingress[*].ip}'
    load_start
}
teardown_file() {
    [ ! -e "$BED_DIR/load/out.pid" ] || kill "$(cat "$BED_DIR/load/out.pid")" || true
    hosts_fini
}

# Two loads, on until the end of the file: from outside through the addresses of n1 and n3, and from a pod of n1, with the machine's
# own python in it. On n1 and n3 a set remembers to which pod each connection was led.
load_start() {
    local np vip n
    np=$(kube get svc web -o jsonpath='{.spec.ports[0].nodePort}') vip=$(kube get svc web -o jsonpath='{.spec.clusterIP}')
    mkdir "$BED_DIR/load"
    for n in n1 n3; do
        host_run $n nft -f - <<N
table ip loadtest {
    set seen { type ipv4_addr . inet_service . ipv4_addr; size 65535; flags dynamic; }
    chain post {
        type filter hook postrouting priority 0;
        ct state new tcp dport 8080 add @seen { ct original ip saddr . ct original proto-src . ct reply ip saddr }
    }
}
N
    done
    host_spawn out "$BED_DIR/load/out.err" /usr/bin/python3 "$LOAD" run "$BED_DIR/load/out" $RATE \
        "node-port=$(host_ip n1):$np" "balancer=$(host_ip n3):8088" >"$BED_DIR/load/out.pid"
    kube apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: load}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 1
  containers:
  - name: load
    image: davit.local/busybox:1
    command: [/usr/bin/python3, /load.py, run, /load/pod, "$RATE", "cluster-ip=$vip:8088", "name=web.default.svc:8088"]
    volumeMounts:
    - {name: usr, mountPath: /usr, readOnly: true}
    - {name: lib, mountPath: /lib, readOnly: true}
    - {name: lib64, mountPath: /lib64, readOnly: true}
    - {name: me, mountPath: /load.py, readOnly: true}
    - {name: load, mountPath: /load}
  volumes:
  - {name: usr, hostPath: {path: /usr}}
  - {name: lib, hostPath: {path: /usr/lib}}
  - {name: lib64, hostPath: {path: /usr/lib64}}
  - {name: me, hostPath: {path: $LOAD}}
  - {name: load, hostPath: {path: $BED_DIR/load}}
Y
    wait_for 30 test -e "$BED_DIR/load/pod.done"
    wait_for 30 test -e "$BED_DIR/load/out.done"
}

now() { date +%s.%3N; }
done_until() { awk -v t="$2" '{ exit !($1 > t) }' "$BED_DIR/load/$1.done"; }

# load_failed FROM TO [POD ADDRESSES whose requests may fail]: waits for the ends of all requests begun in that time. Fails when one
# of them failed that must not, or when there were none.
load_failed() {
    local from=$1 to=$2 seen=$BED_DIR/load/seen r=0
    shift 2
    : >"$seen"
    for n in n1 n3; do
        host_run $n nft -j list set ip loadtest seen | tr -d '\n' >>"$seen"
        echo >>"$seen"
    done
    for log in out pod; do
        wait_for 60 done_until $log "$to"
        /usr/bin/python3 "$LOAD" failed "$BED_DIR/load/$log" "$from" "$to" "$seen" "$@" || r=1
    done
    [ $r = 0 ] || kube get pods,endpointslices -o wide
    return $r
}

pods_of() { kube get pods -l app=web -o jsonpath="{.items[?(@.spec.nodeName=='$1')].status.podIP}"; }
none_on() { [ -z "$(kube get pods -l app=web --no-headers --field-selector "spec.nodeName=$1" 2>/dev/null)" ]; }
some_on() { [ -n "$(pods_of "$1")" ]; }

# No packet is led to these addresses any more, from wherever load comes.
led_to_none() { # ADDRESSES
    local n rules ip
    for n in n1 n3; do
        rules=$(host_run $n nft list ruleset)
        # a policy of the test's own remembers them
        rules=$(sed '/^table ip loadtest/,/^}/d' <<<"$rules")
        for ip; do
            ! grep -Eq "[^0-9.]${ip//./\\.}[^0-9]+8080" <<<"$rules" || return 1
        done
    done
}

# The Service has N pods that are ready, and both nodes lead to them.
whole() {
    local ips ip n rules
    ips=$(kube get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]}{"\n"}{end}')
    [ "$(wc -l <<<"$ips")" = "$1" ] || return 1
    for n in n1 n3; do
        rules=$(host_run $n nft list ruleset)
        for ip in $ips; do grep -Eq "[^0-9.]${ip//./\\.}[^0-9]+8080" <<<"$rules" || return 1; done
    done
}

# lost_and_back NODE LOSE BACK: what fails while NODE is away was led to its pods, and nothing fails once they are out.
lost_and_back() {
    local node=$1 ips begin out
    wait_for 30 whole 6
    ips=$(pods_of "$node")
    [ -n "$ips" ]
    begin=$(now)
    eval "$2"
    node_wait "$node" Unknown 60
    # shellcheck disable=SC2086
    wait_for 30 led_to_none $ips
    out=$(now)
    sleep 1
    eval "$3"
    node_wait "$node" True 60
    wait_for 60 whole 6
    load_failed "$out" "$(now)"
    # shellcheck disable=SC2086
    load_failed "$begin" "$out" $ips
}

@test "a host is cut off and comes back" {
    lost_and_back n2 "link_cut n2" "link_heal n2"
}

@test "a host loses its power and boots again" {
    lost_and_back n2 "host_kill n2" "host_boot n2 && agent_start n2"
}

@test "a rolling update" {
    begin=$(now)
    kube rollout restart deployment/web
    kube rollout status deployment/web --timeout=90s
    wait_for 30 whole 6
    load_failed "$begin" "$(now)"
}

@test "a drain, and the node back in use" {
    begin=$(now)
    kube drain n2 --ignore-daemonsets --timeout=60s
    none_on n2
    kube rollout status deployment/web --timeout=60s
    kube uncordon n2
    kube rollout restart deployment/web
    kube rollout status deployment/web --timeout=90s
    wait_for 30 some_on n2
    load_failed "$begin" "$(now)"
}

@test "an agent is stopped and started, killed and started" {
    begin=$(now)
    for n in n1 n2; do
        for signal in TERM KILL; do
            cluster_signal $signal $n agent
            sleep 0.5
            agent_start $n
        done
    done
    wait_for 30 whole 6
    load_failed "$begin" "$(now)"
}

@test "the server is killed and started" {
    begin=$(now)
    cluster_signal KILL s server
    sleep 2
    server_start s --node-grace 5s
    for n in n1 n2 n3; do node_wait $n True; done
    wait_for 30 whole 6
    load_failed "$begin" "$(now)"
}
