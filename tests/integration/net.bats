#!/usr/bin/env bats
# Pods reach each other and their Services; the host reaches both.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
    kubectl create deploy srv --image=davit.local/busybox:1 --replicas=2 -- sh -c 'mkdir /tmp/w; hostname >/tmp/w/index.html; exec busybox httpd -f -p 8080 -h /tmp/w'
    kubectl expose deploy srv --port=80 --target-port=8080
    kubectl run client --image=davit.local/busybox:1 -- sleep "7$DAVIT_PORT"
    kubectl rollout status deploy/srv --timeout=60s
    kubectl wait --for=condition=Ready pod/client --timeout=30s
}
teardown_file() { davit_stop; }

@test "a pod reaches another pod, a Service spreads, and the host reaches it" {
    ip=$(kubectl get pods -l app=srv -o jsonpath='{.items[0].status.podIP}')
    vip=$(kubectl get svc srv -o jsonpath='{.spec.clusterIP}')
    contains srv- kubectl exec client -- wget -qO- "http://$ip:8080/"
    wait_for 10 contains srv- kubectl exec client -- wget -qO- "http://$vip/"
    contains srv- curl -fsS -m 5 "http://$vip/"
    wait_for 10 equals 2 sh -c "for i in \$(seq 40); do curl -fsS -m 5 http://$vip/; done | sort -u | wc -l"
}

@test "a pod reaches itself through its own Service (hairpin)" {
    pod=$(kubectl get pods -l app=srv -o jsonpath='{.items[0].metadata.name}')
    vip=$(kubectl get svc srv -o jsonpath='{.spec.clusterIP}')
    equals 10 sh -c "for i in \$(seq 10); do kubectl exec $pod -- wget -qO- http://$vip/; done | wc -l"
}

@test "session affinity sticks, NodePort answers, no endpoints is refused at once" {
    kubectl patch svc srv -p '{"spec":{"sessionAffinity":"ClientIP","type":"NodePort"}}'
    vip=$(kubectl get svc srv -o jsonpath='{.spec.clusterIP}')
    port=$(kubectl get svc srv -o jsonpath='{.spec.ports[0].nodePort}')
    wait_for 10 equals 1 sh -c "for i in \$(seq 20); do curl -fsS -m 5 http://$vip/; done | sort -u | wc -l"
    host=$(kubectl get node node1 -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}')
    wait_for 10 contains srv- curl -fsS -m 5 "http://$host:$port/"
    kubectl patch svc srv -p '{"spec":{"sessionAffinity":"None","type":"ClusterIP","ports":[{"port":80,"nodePort":null}]}}' || true
    kubectl create svc clusterip empty --tcp=80:80
    empty=$(kubectl get svc empty -o jsonpath='{.spec.clusterIP}')
    refused() { equals 7 sh -c "curl -s -m 5 http://$1/ >/dev/null; echo \$?"; }
    wait_for 10 refused "$empty"
    kubectl delete svc empty
}

@test "hostPort and hostNetwork" {
    port=$(free_port)
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: hp}
spec:
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sh, -c, "echo hostport >/tmp/index.html; exec busybox httpd -f -p 8080 -h /tmp"]
    ports: [{containerPort: 8080, hostPort: $port}]
---
apiVersion: v1
kind: Pod
metadata: {name: hn}
spec:
  hostNetwork: true
  containers: [{name: c, image: "davit.local/busybox:1", command: [sleep, "3600"]}]
Y
    kubectl wait --for=condition=Ready pod/hp pod/hn --timeout=30s
    host=$(kubectl get node node1 -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}')
    wait_for 10 contains hostport curl -fsS -m 5 "http://$host:$port/"
    equals "$host" kubectl get pod hn -o jsonpath='{.status.podIP}'
    equals "$(hostname)" kubectl exec hn -- hostname
    kubectl delete pod hp hn --now
}

@test "a pod reaches the API server with its service account" {
    kubectl create clusterrolebinding view-default --clusterrole=view --serviceaccount=default:default
    dir=/var/run/secrets/kubernetes.io/serviceaccount
    kubectl exec client -- cat $dir/ca.crt >"$BATS_TEST_TMPDIR/ca"
    token=$(kubectl exec client -- cat $dir/token)
    address=$(kubectl exec client -- sh -c 'echo https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT')
    # busybox has no TLS to speak of: curl, in the pod's network
    pid=$(pgrep -f "^sleep 7$DAVIT_PORT\$")
    contains PodList nsenter -t "$pid" -n curl -sS -m 5 --cacert "$BATS_TEST_TMPDIR/ca" -H "Authorization: Bearer $token" "$address/api/v1/namespaces/default/pods"
    contains Forbidden nsenter -t "$pid" -n curl -sS -m 5 --cacert "$BATS_TEST_TMPDIR/ca" -H "Authorization: Bearer $token" "$address/api/v1/nodes"
    contains "BEGIN CERTIFICATE" kubectl exec client -- cat /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    kubectl delete clusterrolebinding view-default
}
