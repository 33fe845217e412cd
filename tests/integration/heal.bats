#!/usr/bin/env bats
# What is declared stays true when things die.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image davit.local/busybox:1 one
    load_image davit.local/busybox:2 two
}
teardown_file() { davit_stop; }


web() { # name image [annotations]
    kubectl apply -f - <<Y
apiVersion: apps/v1
kind: Deployment
metadata:
  name: $1
  annotations: {${3:-}}
spec:
  replicas: 3
  progressDeadlineSeconds: 60
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 30
      containers:
      - name: web
        image: $2
        command: [sh, -c, "mkdir -p /tmp/w; cat /etc/mark >/tmp/w/index.html; touch /tmp/ready; trap 'sleep 1; kill %1; exit' TERM; busybox httpd -f -p 8080 -h /tmp/w & wait"]
        readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1, failureThreshold: 1}
        lifecycle: {preStop: {exec: {command: [sleep, "4"]}}}
---
apiVersion: v1
kind: Service
metadata: {name: $1}
spec: {selector: {app: $1}, ports: [{port: 80, targetPort: 8080}]}
Y
}

@test "a killed container is back at once, then with back-off" {
    kubectl run dies --image=davit.local/busybox:1 -- sh -c 'sleep 3600'
    kubectl wait --for=condition=Ready pod/dies --timeout=30s
    for n in 1 2; do
        kubectl exec dies -- kill -9 1 || true
        kubectl exec dies -- sh -c 'kill -9 -1' || true
        pid=$(pgrep -f "^sleep 3600$" | while read -r p; do grep -qs "dies" "/proc/$p/root/etc/hostname" && echo "$p"; done | head -n 1)
        [ -z "$pid" ] || kill -9 "$pid"
        wait_for 40 equals "$n" kubectl get pod dies -o jsonpath='{.status.containerStatuses[0].restartCount}'
        wait_for 40 equals true kubectl get pod dies -o jsonpath='{.status.containerStatuses[0].ready}'
    done
    kubectl run loops --image=davit.local/busybox:1 -- false
    wait_for 40 contains CrashLoopBackOff kubectl get pod loops
    wait_for 10 contains "Back-off restarting failed container" kubectl get events
    kubectl delete pod dies loops --now
}

@test "a deleted pod is replaced" {
    web replaced davit.local/busybox:1
    kubectl rollout status deploy/replaced --timeout=60s
    pod=$(kubectl get pods -l app=replaced -o jsonpath='{.items[0].metadata.name}')
    kubectl delete pod "$pod" --wait=false
    wait_for 30 equals 3 sh -c "kubectl get pods -l app=replaced --field-selector metadata.name!=$pod -o name | wc -l"
    kubectl rollout status deploy/replaced --timeout=60s
    kubectl delete deploy,svc replaced
}

@test "a failing readiness probe takes a pod out of its Service and back in" {
    web probed davit.local/busybox:1
    kubectl rollout status deploy/probed --timeout=60s
    wait_for 10 equals 3 sh -c "kubectl get endpoints probed -o json | jq '[.subsets[].addresses[]?] | length'"
    pod=$(kubectl get pods -l app=probed -o jsonpath='{.items[0].metadata.name}')
    ip=$(kubectl get pod "$pod" -o jsonpath='{.status.podIP}')
    kubectl exec "$pod" -- rm /tmp/ready
    wait_for 20 equals 2 sh -c "kubectl get endpoints probed -o json | jq '[.subsets[].addresses[]?] | length'"
    not_ready() { kubectl get endpoints probed -o json | jq -r '.subsets[].notReadyAddresses[]?.ip'; }
    wait_for 5 equals "$ip" not_ready
    wait_for 5 equals false sh -c "kubectl get endpointslices -l kubernetes.io/service-name=probed -o json | jq '.items[].endpoints[] | select(.addresses[0] == \"$ip\") | .conditions.ready'"
    kubectl exec "$pod" -- touch /tmp/ready
    wait_for 20 equals 3 sh -c "kubectl get endpoints probed -o json | jq '[.subsets[].addresses[]?] | length'"
    kubectl delete deploy,svc probed
}

@test "a failing liveness probe restarts the container" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: lively}
spec:
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sh, -c, "touch /tmp/alive; sleep 3600"]
    livenessProbe: {exec: {command: [cat, /tmp/alive]}, periodSeconds: 1, failureThreshold: 2, timeoutSeconds: 10}
  terminationGracePeriodSeconds: 1
Y
    kubectl wait --for=condition=Ready pod/lively --timeout=30s
    kubectl exec lively -- rm /tmp/alive
    wait_for 30 equals 1 kubectl get pod lively -o jsonpath='{.status.containerStatuses[0].restartCount}'
    wait_for 10 contains "Liveness probe failed" kubectl get events
    kubectl delete pod lively --now
}

@test "a rolling update under constant load through the Service drops no request" {
    web rolling davit.local/busybox:1
    kubectl rollout status deploy/rolling --timeout=60s
    ip=$(kubectl get svc rolling -o jsonpath='{.spec.clusterIP}')
    wait_for 10 curl -fsS "http://$ip/"
    led_to() { kubectl get endpointslices -l kubernetes.io/service-name=rolling -o json | jq '[.items[].endpoints[] | select(.conditions.ready)] | length'; }
    wait_for 10 equals 3 led_to
    # Two loops of short connections; every failure is a line.
    for loop in 1 2; do
        (until [ -e "$BATS_TEST_TMPDIR/stop" ]; do
            curl -fsS -m 5 "http://$ip/" >>"$BATS_TEST_TMPDIR/answers" 2>>"$BATS_TEST_TMPDIR/failures" || echo "exit $?" >>"$BATS_TEST_TMPDIR/failures"
        done) 3>&- &
    done
    kubectl set image deploy/rolling web=davit.local/busybox:2
    kubectl rollout status deploy/rolling --timeout=90s
    sleep 1
    touch "$BATS_TEST_TMPDIR/stop"
    wait %1 %2
    cat "$BATS_TEST_TMPDIR/failures"
    [ ! -s "$BATS_TEST_TMPDIR/failures" ]
    grep -q one "$BATS_TEST_TMPDIR/answers"
    grep -q two "$BATS_TEST_TMPDIR/answers"
    equals two curl -fsS "http://$ip/"
    kubectl delete deploy,svc rolling
}

@test "a bad image rolls back by itself where asked, once" {
    web safe davit.local/busybox:1 'davit.dev/rollback-on-failure: "true"'
    kubectl rollout status deploy/safe --timeout=60s
    kubectl patch deploy safe -p '{"spec":{"progressDeadlineSeconds":5}}'
    kubectl set image deploy/safe web=localhost:1/no/such:image
    wait_for 60 equals davit.local/busybox:1 kubectl get deploy safe -o jsonpath='{.spec.template.spec.containers[0].image}'
    wait_for 60 kubectl rollout status deploy/safe --timeout=5s
    wait_for 10 contains "olled back" kubectl get events --field-selector involvedObject.name=safe
    generation=$(kubectl get deploy safe -o jsonpath='{.metadata.generation}')
    sleep 7
    equals "$generation" kubectl get deploy safe -o jsonpath='{.metadata.generation}'
    equals 3 kubectl get deploy safe -o jsonpath='{.status.availableReplicas}'
    kubectl delete deploy,svc safe
}
