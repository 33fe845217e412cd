#!/usr/bin/env bats
# Services as clients outside and inside see them, on one real node. Outside is a network namespace
# joined to the host by a link of its own.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

# Answers at TCP 8080 who it is and who asks.
server_yaml() { # NAME REPLICAS
    cat <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  replicas: $2
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: davit.local/busybox:1
        command:
        - sh
        - -c
        - |
          mkdir -p /tmp/w/cgi-bin
          printf '#!/bin/sh\necho\necho \$(hostname) \$REMOTE_ADDR\n' >/tmp/w/cgi-bin/who
          chmod +x /tmp/w/cgi-bin/who
          exec busybox httpd -f -p 8080 -h /tmp/w
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
Y
}

setup_file() {
    davit_start --service-cidr "10.97.$((BASHPID % 256)).0/24" # others on this machine answer for 10.96.0.0/16
    load_image
    # Another davit on this machine, with the same range of pods: it must keep its hands off.
    "$DAVIT" up --data-dir "$DAVIT_DIR.other" --listen "127.0.0.1:$(free_port)" --node-name other --service-cidr 10.98.0.0/16 --detach 3>&- >&2
    server_yaml srv 2 | kubectl apply -f -
    kubectl run client --image=davit.local/busybox:1 -- sleep "7$DAVIT_PORT"
    export OUT=dvt$DAVIT_PORT LINK=dvt$DAVIT_PORT NET=198.18.$((DAVIT_PORT % 250))
    ip netns add "$OUT"
    ip link add "$LINK" type veth peer name up0 netns "$OUT"
    ip addr add "$NET.1/24" dev "$LINK"
    ip link set "$LINK" up
    ip -n "$OUT" addr add "$NET.2/24" dev up0
    ip -n "$OUT" link set up0 up
    ip -n "$OUT" link set lo up
    ip -n "$OUT" route add default via "$NET.1"
    kubectl rollout status deploy/srv --timeout=60s
    kubectl wait --for=condition=Ready pod/client --timeout=30s
    NODE=$(kubectl get node node1 -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}')
    export NODE
}
teardown_file() {
    ip link del "$LINK" || true
    ip netns del "$OUT" || true
    "$DAVIT" down --data-dir "$DAVIT_DIR.other" || true
    rm -rf "$DAVIT_DIR.other"
    davit_stop
}

outside() { ip netns exec "$OUT" "$@"; }
ask() { curl -sS -m "${ASK_S:-5}" "http://$1/cgi-bin/who"; }
# silent CURL... URL: neither an answer nor a refusal.
silent() {
    local r=0
    "$@" -s -m 1 >/dev/null || r=$?
    [ "$r" = 28 ]
}
field() { kubectl get svc "$1" -o jsonpath="{$2}"; }

@test "externalTrafficPolicy: a NodePort keeps the client's address, with Local and with Cluster to a pod of this node" {
    kubectl expose deploy srv --name=np --type=NodePort --port=80 --target-port=8080
    np=$(field np .spec.ports[0].nodePort)
    wait_for 10 contains "$NET.2" outside curl -sS -m 2 "http://$NET.1:$np/cgi-bin/who"
    kubectl patch svc np -p '{"spec":{"externalTrafficPolicy":"Local"}}'
    sleep 0.5
    contains "$NET.2" outside curl -sS -m 5 "http://$NET.1:$np/cgi-bin/who"
    # no endpoint of this node: those outside hear nothing, as Kubernetes does it
    kubectl expose deploy srv --name=far --type=NodePort --port=80 --target-port=8080 --dry-run=client -o json |
        jq 'del(.spec.selector) | .spec.externalTrafficPolicy = "Local"' | kubectl apply -f -
    kubectl apply -f - <<Y
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: far-1, labels: {kubernetes.io/service-name: far}}
addressType: IPv4
ports: [{port: 8080, protocol: TCP}]
endpoints: [{addresses: ["$(kubectl get pod -l app=srv -o jsonpath='{.items[0].status.podIP}')"], nodeName: elsewhere}]
Y
    far=$(field far .spec.ports[0].nodePort)
    wait_for 5 contains srv- ask "$NODE:$far" # this node itself goes to all endpoints
    wait_for 5 silent outside curl "http://$NET.1:$far/"
    contains srv- kubectl exec client -- wget -qO- "http://$NODE:$far/cgi-bin/who"
    kubectl delete svc far np
}

@test "internalTrafficPolicy Local: only endpoints of this node, silence without one" {
    kubectl create svc clusterip itp --tcp=80:8080
    kubectl patch svc itp --type=json -p '[{"op":"remove","path":"/spec/selector"},{"op":"add","path":"/spec/internalTrafficPolicy","value":"Local"}]'
    kubectl apply -f - <<Y
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: itp-1, labels: {kubernetes.io/service-name: itp}}
addressType: IPv4
ports: [{name: 80-8080, port: 8080, protocol: TCP}]
endpoints: [{addresses: ["$(kubectl get pod -l app=srv -o jsonpath='{.items[0].status.podIP}')"], nodeName: elsewhere}]
Y
    wait_for 5 silent curl "http://$(field itp .spec.clusterIP)/"
    kubectl patch endpointslice itp-1 --type=json -p '[{"op":"replace","path":"/endpoints/0/nodeName","value":"node1"}]'
    wait_for 5 contains srv- ask "$(field itp .spec.clusterIP)"
    kubectl delete svc itp
    kubectl delete endpointslice itp-1
}

@test "LoadBalancer: the node's address, source ranges, no node ports, conflicts, cleanup" {
    port=$(free_port)
    kubectl expose deploy srv --name=lb --type=LoadBalancer --port="$port" --target-port=8080 --dry-run=client -o json |
        jq '.spec.allocateLoadBalancerNodePorts = false | .spec.externalTrafficPolicy = "Local"' | kubectl apply -f -
    wait_for 10 equals "$NODE" field lb .status.loadBalancer.ingress[0].ip
    equals VIP field lb .status.loadBalancer.ingress[0].ipMode
    equals "" field lb .spec.ports[0].nodePort
    contains service.kubernetes.io/load-balancer-cleanup field lb .metadata.finalizers
    wait_for 5 contains "$NET.2" outside curl -sS -m 2 "http://$NODE:$port/cgi-bin/who"
    contains srv- ask "$NODE:$port"
    contains srv- kubectl exec client -- wget -qO- "http://$NODE:$port/cgi-bin/who"

    # the health check
    hc=$(field lb .spec.healthCheckNodePort)
    wait_for 5 contains '"localEndpoints":2' outside curl -sS -m 5 "http://$NODE:$hc/healthz"
    equals 200 curl -s -o /dev/null -w '%{http_code}' "http://$NODE:$hc/"
    run kubectl patch svc lb -p '{"spec":{"healthCheckNodePort":31999}}'
    [[ "$output" == *'spec.healthCheckNodePort: Invalid value: 31999: field is immutable'* ]]

    # who may
    kubectl patch svc lb -p "{\"spec\":{\"loadBalancerSourceRanges\":[\"203.0.113.0/24\"]}}"
    wait_for 5 silent outside curl "http://$NODE:$port/"
    kubectl patch svc lb -p "{\"spec\":{\"loadBalancerSourceRanges\":[\"203.0.113.0/24\",\"$NET.0/28\",\"$NET.0/30\"]}}"
    wait_for 5 contains "$NET.2" outside curl -sS -m 2 "http://$NODE:$port/cgi-bin/who"

    # the same port once more: reported on the second, which takes over when the first is gone
    kubectl expose deploy srv --name=lb2 --type=LoadBalancer --port="$port" --target-port=8080
    wait_for 10 contains "held by Service default/lb" field lb2 '.status.conditions[?(@.type=="LoadBalancerPortsError")].message'
    equals "" field lb2 .status.loadBalancer.ingress
    wait_for 5 contains SyncLoadBalancerFailed kubectl get events --field-selector involvedObject.name=lb2
    kubectl delete svc lb --timeout=20s
    wait_for 10 equals "$NODE" field lb2 .status.loadBalancer.ingress[0].ip
    wait_for 5 equals "" field lb2 .status.conditions
    refused() { equals 7 sh -c "curl -s -m 1 http://$1/ >/dev/null; echo \$?"; }
    wait_for 5 refused "$NODE:$hc"

    # no endpoint: 503 and no address; other classes and excluded nodes
    kubectl patch svc lb2 -p '{"spec":{"externalTrafficPolicy":"Local","selector":{"app":"nobody"}}}'
    wait_for 10 equals "" field lb2 .status.loadBalancer.ingress
    wait_for 5 equals 503 curl -s -o /dev/null -w '%{http_code}' "http://$NODE:$(field lb2 .spec.healthCheckNodePort)/"
    kubectl patch svc lb2 -p '{"spec":{"externalTrafficPolicy":"Cluster","selector":{"app":"srv"}}}'
    wait_for 10 equals "$NODE" field lb2 .status.loadBalancer.ingress[0].ip
    wait_for 5 equals "" field lb2 .spec.healthCheckNodePort
    kubectl label node node1 node.kubernetes.io/exclude-from-external-load-balancers=
    wait_for 10 equals "" field lb2 .status.loadBalancer.ingress
    kubectl label node node1 node.kubernetes.io/exclude-from-external-load-balancers-
    kubectl patch svc lb2 -p '{"spec":{"type":"ClusterIP"}}'
    wait_for 10 equals "" field lb2 .metadata.finalizers
    kubectl expose deploy srv --name=lb3 --type=LoadBalancer --port="$port" --target-port=8080 --dry-run=client -o json |
        jq '.spec.loadBalancerClass = "example.com/other"' | kubectl apply -f -
    sleep 1
    equals "" field lb3 .status.loadBalancer.ingress
    equals "" field lb3 .metadata.finalizers
    kubectl delete svc lb2 lb3
}

@test "externalIPs" {
    ext=203.0.113.$((DAVIT_PORT % 250 + 1)) # others on this machine may run this too
    kubectl expose deploy srv --name=ext --port=8088 --target-port=8080 --external-ip="$ext"
    wait_for 10 contains "$NET.2" outside curl -sS -m 2 "http://$ext:8088/cgi-bin/who"
    contains srv- kubectl exec client -- wget -qO- "http://$ext:8088/cgi-bin/who"
    kubectl delete svc ext
}

@test "trafficDistribution: hints in the slices, PreferSameZone is followed" {
    kubectl label node node1 topology.kubernetes.io/zone=z1
    kubectl expose deploy srv --name=near --port=80 --target-port=8080
    kubectl patch svc near -p '{"spec":{"trafficDistribution":"PreferSameNode"}}'
    hints() { kubectl get endpointslice -l kubernetes.io/service-name=near -o jsonpath='{.items[0].endpoints[0].hints}'; }
    wait_for 10 contains '"forNodes":[{"name":"node1"}]' hints
    contains '"forZones":[{"name":"z1"}]' hints
    wait_for 5 contains srv- ask "$(field near .spec.clusterIP)"
    run kubectl patch svc near -p '{"spec":{"trafficDistribution":"Nearest"}}'
    [[ "$output" == *'spec.trafficDistribution: Unsupported value: "Nearest": supported values: "PreferClose"'* ]]
    kubectl delete svc near
    kubectl label node node1 topology.kubernetes.io/zone-
}

@test "Endpoints written by hand are mirrored" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: mirror}
spec: {ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: mirror, labels: {team: a}, annotations: {note: b}}
subsets:
- addresses: [{ip: $(kubectl get pod -l app=srv -o jsonpath='{.items[0].status.podIP}')}]
  notReadyAddresses: [{ip: 192.0.2.9}]
  ports: [{port: 8080}]
Y
    slice() { kubectl get endpointslice -l "kubernetes.io/service-name=mirror,endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io" -o jsonpath="{$1}"; }
    wait_for 10 contains 192.0.2.9 slice '.items[0].endpoints[*].addresses'
    equals a slice '.items[0].metadata.labels.team'
    equals b slice '.items[0].metadata.annotations.note'
    equals mirror slice '.items[0].metadata.ownerReferences[0].name'
    wait_for 5 contains srv- ask "$(field mirror .spec.clusterIP)"
    kubectl label endpoints mirror endpointslice.kubernetes.io/skip-mirror=true
    wait_for 10 equals "" slice '.items[*].metadata.name'
    kubectl label endpoints mirror endpointslice.kubernetes.io/skip-mirror-
    wait_for 10 contains 192.0.2.9 slice '.items[0].endpoints[*].addresses'
    kubectl delete endpoints mirror
    wait_for 10 equals "" slice '.items[*].metadata.name'
    kubectl delete svc mirror
}

# A UDP server at port 5353 in the network of pod $1 that answers $2; its pid.
udp_server() {
    local p
    for p in $(pgrep -f 'httpd -f -p 8080 -h /tmp/w'); do
        [ "$(nsenter -t "$p" -u hostname)" = "$1" ] || continue
        nsenter -t "$p" -n /usr/bin/python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5353))
while True:
    a = s.recvfrom(64)[1]
    s.sendto((sys.argv[1] + "\n").encode(), a)' "$2" >/dev/null 2>&1 3>&- &
        echo $!
        return
    done
    return 1
}

@test "a client's UDP flow leaves an endpoint that is gone, and finds the first one of a Service that had none" {
    mapfile -t pods < <(kubectl get pods -l app=srv -o jsonpath='{range .items[*]}{.metadata.name} {.status.podIP}{"\n"}{end}')
    a=$(udp_server "${pods[0]% *}" first) b=$(udp_server "${pods[1]% *}" second)
    kubectl create svc nodeport udp --tcp=53:5353 --dry-run=client -o json |
        jq 'del(.spec.selector) | .spec.ports = [{"port": 53, "protocol": "UDP", "targetPort": 5353}]' | kubectl apply -f -
    endpoints() { # ADDRESS...
        local list="" ip
        for ip; do list="$list{\"addresses\":[\"$ip\"]},"; done
        kubectl apply -f - <<<"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"udp-1\",\"labels\":{\"kubernetes.io/service-name\":\"udp\"}},\"addressType\":\"IPv4\",\"ports\":[{\"port\":5353,\"protocol\":\"UDP\"}],\"endpoints\":[${list%,}]}"
    }
    vip=$(field udp .spec.clusterIP)
    np=$(field udp .spec.ports[0].nodePort)
    exec 7<>"/dev/udp/$vip/53" 8<>"/dev/udp/$NODE/$np"
    # one datagram there, one back; what was refused before is read off first
    say() { echo x >&"$1" || echo x >&"$1"; timeout 1 dd bs=100 count=1 <&"$1" 2>/dev/null; }
    say 8 || true # nobody there: this flow must not stay with nobody
    endpoints "${pods[0]#* }"
    wait_for 5 equals first say 7
    wait_for 5 equals first say 8
    endpoints "${pods[1]#* }"
    wait_for 5 equals second say 7
    wait_for 5 equals second say 8
    endpoints
    nobody() { [[ "$(say "$1")" != *first* && "$(say "$1")" != *second* ]]; }
    wait_for 5 nobody 7
    wait_for 5 nobody 8
    endpoints "${pods[0]#* }"
    wait_for 5 equals first say 7
    wait_for 5 equals first say 8
    exec 7>&- 8>&-
    kill "$a" "$b"
    kubectl delete svc/udp endpointslice/udp-1
}

@test "session affinity lasts over a restart of the agent, and no request fails meanwhile" {
    kubectl expose deploy srv --name=sticky --type=NodePort --port=80 --target-port=8080 --session-affinity=ClientIP
    np=$(field sticky .spec.ports[0].nodePort)
    request() { outside curl -sS -m 5 "http://$NET.1:$np/cgi-bin/who"; }
    wait_for 5 contains srv- request
    who=$(request)
    (for _ in $(seq 80); do request || echo failed; sleep 0.05; done) >"$BATS_TEST_TMPDIR/answers" 2>&1 &
    asker=$!
    sleep 0.5
    kill -KILL "$(davit_pid_of agent)"
    wait "$asker"
    equals "$who" sort -u "$BATS_TEST_TMPDIR/answers"
    kubectl wait --for=condition=Ready node/node1 --timeout=30s
    equals "$who" request
    kubectl delete svc sticky
}

@test "what a Service may not be" {
    refuse() { # WHY SPEC
        run kubectl create -f - <<<"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"bad\"},\"spec\":$2}"
        [ "$status" -ne 0 ] && [[ "$output" == *"$1"* ]] || { echo "wanted: $1"; echo "got: $output"; return 1; }
    }
    p='"ports":[{"port":80}]'
    refuse 'spec.externalName: Required value' '{"type":"ExternalName"}'
    refuse 'spec.externalName: Invalid value: "a_b"' '{"type":"ExternalName","externalName":"a_b"}'
    refuse 'spec.ipFamilies: Forbidden: may not be set for ExternalName services' '{"type":"ExternalName","externalName":"a.b.","ipFamilies":["IPv4"]}'
    refuse 'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)' "{$p,\"externalIPs\":[\"127.0.0.1\"]}"
    refuse 'spec.externalIPs[0]: Invalid value: "x": must be a valid IP address' "{$p,\"externalIPs\":[\"x\"]}"
    refuse 'spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400' "{$p,\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":86401}}}"
    refuse 'spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None' "{$p,\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":5}}}"
    refuse "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when \`type\` is 'LoadBalancer'" "{$p,\"allocateLoadBalancerNodePorts\":false}"
    refuse "spec.loadBalancerClass: Forbidden: may only be used when \`type\` is 'LoadBalancer'" "{$p,\"loadBalancerClass\":\"a/b\"}"
    refuse "spec.healthCheckNodePort: Invalid value: 30999: may only be set when \`type\` is 'LoadBalancer' and \`externalTrafficPolicy\` is 'Local'" "{$p,\"healthCheckNodePort\":30999}"
    refuse 'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services' "{$p,\"externalTrafficPolicy\":\"Local\"}"
    refuse "spec.ports[0].nodePort: Forbidden: may not be used when \`type\` is 'ClusterIP'" '{"ports":[{"port":80,"nodePort":30099}]}'
    refuse "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services" "{$p,\"type\":\"NodePort\",\"clusterIP\":\"None\"}"
    refuse 'this cluster is not configured for dual-stack services' "{$p,\"ipFamilyPolicy\":\"RequireDualStack\"}"
    refuse 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster' "{$p,\"ipFamilies\":[\"IPv6\"]}"
    refuse 'provided port is not in the valid range' '{"type":"NodePort","ports":[{"port":80,"nodePort":80}]}'
    kubectl create svc externalname en --external-name=example.com
    equals "" field en .spec.clusterIP
    kubectl delete svc en
}
