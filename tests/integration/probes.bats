#!/usr/bin/env bats
# Probes, hooks, deadlines, last words and sidecars, with real containers. What they talk to is probes.server.mjs, on the node's own address.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

IMAGE=davit.local/busybox:1

setup_file() {
    davit_start
    load_image
    HOST_IP=$(kubectl get node node1 -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}')
    SHARE=$BATS_FILE_TMPDIR
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=nobody \
        -keyout "$SHARE/key.pem" -out "$SHARE/cert.pem" 2>/dev/null
    node "$ROOT/tests/integration/probes.server.mjs" "$SHARE" "$HOST_IP" >"$SHARE/server.log" 2>&1 3>&- &
    SERVER_PID=$!
    wait_for 20 test -s "$SHARE/ports"
    . "$SHARE/ports"
    export HOST_IP SHARE SERVER_PID HTTP_PORT HTTPS_PORT GRPC_PORT
}
teardown_file() {
    [ -z "${SERVER_PID:-}" ] || kill "$SERVER_PID" || true
    davit_stop
}

# ready|restarts POD CONTAINER: of that container's status; events POD: what was said of it.
ready() { kubectl get pod "$1" -o jsonpath="{.status.containerStatuses[?(@.name==\"$2\")].ready}"; }
restarts() { kubectl get pod "$1" -o jsonpath="{.status.containerStatuses[?(@.name==\"$2\")].restartCount}"; }
events() { kubectl get events --field-selector "involvedObject.name=$1" -o jsonpath='{range .items[*]}{.involvedObject.fieldPath} {.reason}: {.message}{"\n"}{end}'; }
at_least() { [ "$("${@:2}")" -ge "$1" ]; }
phase() { kubectl get pod "$1" -o jsonpath='{.status.phase}'; }

@test "grpc: SERVING, NOT_SERVING, unknown service, no answer, nobody there" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: grpc}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
  - {name: all, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {grpc: {port: $GRPC_PORT}, periodSeconds: 1}}
  - {name: up, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {grpc: {port: $GRPC_PORT, service: up}, periodSeconds: 1}}
  - {name: down, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {grpc: {port: $GRPC_PORT, service: down}, periodSeconds: 1}}
  - {name: nosuch, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {grpc: {port: $GRPC_PORT, service: nosuch}, periodSeconds: 1}}
  - {name: stall, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {grpc: {port: $GRPC_PORT, service: stall}, periodSeconds: 1}}
  - {name: plain, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {grpc: {port: $HTTP_PORT}, periodSeconds: 1}}
  - {name: closed, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {grpc: {port: 1}, periodSeconds: 1}}
Y
    wait_for 30 equals true ready grpc all
    wait_for 30 equals true ready grpc up
    wait_for 30 contains 'spec.containers{down} Unhealthy: Readiness probe failed: service unhealthy (responded with "NOT_SERVING")' events grpc
    wait_for 30 contains 'spec.containers{nosuch} Unhealthy: Readiness probe failed: error: health rpc failed with status 5' events grpc
    wait_for 30 contains 'spec.containers{stall} Unhealthy: Readiness probe failed: ' events grpc
    wait_for 30 contains 'spec.containers{plain} Unhealthy: Readiness probe failed: ' events grpc
    wait_for 30 contains 'spec.containers{closed} Unhealthy: Readiness probe failed: ' events grpc
    for c in down nosuch stall plain closed; do
        equals false ready grpc $c
    done
    kubectl delete pod grpc
}

@test "grpc: readiness follows the service, liveness restarts" {
    touch "$SHARE/switch"
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: follows}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
  - {name: r, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {grpc: {port: $GRPC_PORT, service: switch}, periodSeconds: 1, failureThreshold: 1}}
  - {name: l, image: $IMAGE, command: [sleep, "3600"], livenessProbe: {grpc: {port: $GRPC_PORT, service: switch}, periodSeconds: 1, failureThreshold: 1}}
Y
    kubectl wait --for=condition=Ready pod/follows --timeout=30s
    rm "$SHARE/switch"
    wait_for 20 equals false ready follows r
    wait_for 20 at_least 1 restarts follows l
    touch "$SHARE/switch"
    wait_for 20 equals true ready follows r
    equals 0 restarts follows r
    wait_for 10 contains 'spec.containers{l} Killing: Container l failed liveness probe, will be restarted' events follows
    kubectl delete pod follows
}

@test "http: certificates nobody signed, headers, redirects, codes, paths, named ports" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: http}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: tls, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {httpGet: {scheme: HTTPS, host: $HOST_IP, port: $HTTPS_PORT, path: /status/200}, periodSeconds: 1}}
  - {name: tls503, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {httpGet: {scheme: HTTPS, host: $HOST_IP, port: $HTTPS_PORT, path: /status/503}, periodSeconds: 1}}
  - {name: tlsplain, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {httpGet: {scheme: HTTPS, host: $HOST_IP, port: $HTTP_PORT, path: /status/200}, periodSeconds: 1}}
  - name: headers
    image: $IMAGE
    command: [sleep, "3600"]
    readinessProbe:
      periodSeconds: 1
      httpGet:
        host: $HOST_IP
        port: $HTTP_PORT
        path: /headers
        httpHeaders: [{name: X-Probe, value: one two}, {name: Host, value: virtual.example}, {name: User-Agent, value: davit-test}, {name: Accept, value: text/plain}]
  - {name: usual, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {httpGet: {host: $HOST_IP, port: $HTTP_PORT, path: /usual}, periodSeconds: 1}}
  - {name: redirect, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {httpGet: {host: $HOST_IP, port: $HTTP_PORT, path: /redirect}, periodSeconds: 1}}
  - {name: stall, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {httpGet: {host: $HOST_IP, port: $HTTP_PORT, path: /stall}, periodSeconds: 1}}
  - name: named
    image: $IMAGE
    command: [sh, -c, "mkdir -p /tmp/w/deep; echo ok >/tmp/w/deep/page; exec busybox httpd -f -p 8080 -h /tmp/w"]
    ports: [{name: other, containerPort: 8081}, {name: web, containerPort: 8080}]
    readinessProbe: {httpGet: {path: /deep/page, port: web}, periodSeconds: 1}
  - name: lost
    image: $IMAGE
    command: [sh, -c, "mkdir -p /tmp/w; exec busybox httpd -f -p 8090 -h /tmp/w"]
    ports: [{name: web2, containerPort: 8090}]
    readinessProbe: {httpGet: {path: deep/page, port: web2}, periodSeconds: 1}
Y
    for c in tls headers usual redirect named; do
        wait_for 30 equals true ready http $c
    done
    wait_for 30 contains 'spec.containers{tls503} Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503' events http
    wait_for 30 contains 'spec.containers{lost} Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404' events http
    wait_for 30 contains 'spec.containers{tlsplain} Unhealthy: Readiness probe failed: Get failed: ' events http
    wait_for 30 contains 'spec.containers{stall} Unhealthy: Readiness probe failed: ' events http
    for c in tls503 tlsplain stall lost; do
        equals false ready http $c
    done
    kubectl delete pod http
}

@test "tcp and exec: open and closed ports, exit codes, commands that take too long" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: others}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: open, image: $IMAGE, command: [busybox, httpd, -f, -p, "8080"], ports: [{name: web, containerPort: 8080}], readinessProbe: {tcpSocket: {port: web}, periodSeconds: 1}}
  - {name: closed, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {tcpSocket: {port: 8081}, periodSeconds: 1}}
  - {name: away, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {tcpSocket: {host: $HOST_IP, port: $HTTP_PORT}, periodSeconds: 1}}
  - {name: failing, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {exec: {command: [sh, -c, "echo not yet; exit 3"]}, periodSeconds: 1}}
  - {name: slow, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {exec: {command: [sleep, "77777"]}, periodSeconds: 1, timeoutSeconds: 1}}
  - {name: lives, image: $IMAGE, command: [sleep, "3600"], livenessProbe: {exec: {command: [sleep, "77777"]}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1}}
  - {name: absent, image: $IMAGE, command: [sleep, "3600"], readinessProbe: {exec: {command: [/no/such/program]}, periodSeconds: 1}}
Y
    wait_for 30 equals true ready others open
    wait_for 30 equals true ready others away
    wait_for 30 contains 'spec.containers{closed} Unhealthy: Readiness probe failed: dial tcp: Connection refused' events others
    wait_for 30 contains 'spec.containers{failing} Unhealthy: Readiness probe failed: not yet' events others
    wait_for 30 contains 'spec.containers{slow} Unhealthy: Readiness probe failed: command timed out' events others
    wait_for 30 contains 'spec.containers{lives} Unhealthy: Liveness probe failed: command timed out' events others
    wait_for 30 contains 'spec.containers{absent} Unhealthy: Readiness probe' events others
    wait_for 30 at_least 1 restarts others lives
    for c in closed failing slow absent; do
        equals false ready others $c
    done
    # what a probe started ends with its time: at most the one that is under way is there
    contains ok kubectl exec others -c slow -- sh -c 'sleep 5; n=$(ps | grep -c "[s]leep 77777"); [ "$n" -le 1 ] && echo ok || echo "$n are left"'
    kubectl delete pod others
}

@test "a startup probe holds back the others" {
    mkdir "$SHARE/start"
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: starts}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: h, hostPath: {path: $SHARE/start}}]
  containers:
  - name: c
    image: $IMAGE
    command: [sleep, "3600"]
    volumeMounts: [{name: h, mountPath: /h}]
    startupProbe: {exec: {command: [test, -e, /h/go]}, periodSeconds: 1, failureThreshold: 100}
    livenessProbe: {exec: {command: [sh, -c, "echo l >>/h/lives; test ! -e /h/die"]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 10}
    readinessProbe: {exec: {command: [sh, -c, "echo r >>/h/readies"]}, periodSeconds: 1}
  - name: never
    image: $IMAGE
    command: [sleep, "3600"]
    startupProbe: {exec: {command: ["false"]}, periodSeconds: 1, failureThreshold: 2}
Y
    wait_for 30 contains 'spec.containers{c} Unhealthy: Startup probe failed' events starts
    wait_for 30 contains 'Container never failed startup probe, will be restarted' events starts
    wait_for 30 at_least 1 restarts starts never
    equals "false false 0" kubectl get pod starts -o jsonpath='{.status.containerStatuses[0].started} {.status.containerStatuses[0].ready} {.status.containerStatuses[0].restartCount}'
    [ ! -e "$SHARE/start/lives" ]
    [ ! -e "$SHARE/start/readies" ]
    touch "$SHARE/start/go"
    wait_for 20 equals true ready starts c
    wait_for 20 test -s "$SHARE/start/lives"
    equals "true 0" kubectl get pod starts -o jsonpath='{.status.containerStatuses[0].started} {.status.containerStatuses[0].restartCount}'
    rm "$SHARE/start/go"
    touch "$SHARE/start/die"
    wait_for 20 at_least 1 restarts starts c
    wait_for 20 equals "false false" kubectl get pod starts -o jsonpath='{.status.containerStatuses[0].started} {.status.containerStatuses[0].ready}'
    kubectl delete pod starts
}

@test "hooks: postStart and preStop by exec and http; one that fails" {
    mkdir "$SHARE/hooks"
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: hooks}
spec:
  terminationGracePeriodSeconds: 10
  volumes: [{name: h, hostPath: {path: $SHARE/hooks}}]
  containers:
  - name: exec
    image: $IMAGE
    command: [sh, -c, "trap 'echo TERM >>/h/log; exit 0' TERM; while :; do sleep 0.1; done"]
    volumeMounts: [{name: h, mountPath: /h}]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo post >>/h/log"]}}
      preStop: {exec: {command: [sh, -c, "echo pre >>/h/log"]}}
  - name: http
    image: $IMAGE
    command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    lifecycle:
      postStart: {httpGet: {host: $HOST_IP, port: $HTTP_PORT, path: "/say/post?who=http"}}
      preStop: {httpGet: {host: $HOST_IP, port: $HTTP_PORT, path: /say/pre, scheme: HTTP}}
  - name: https
    image: $IMAGE
    command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    lifecycle:
      preStop: {httpGet: {host: $HOST_IP, port: $HTTPS_PORT, path: /say/presecure, scheme: HTTPS}}
---
apiVersion: v1
kind: Pod
metadata: {name: badhooks}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - {name: exec, image: $IMAGE, command: [sleep, "3600"], lifecycle: {postStart: {exec: {command: [sh, -c, "echo no luck; exit 7"]}}}}
  - {name: http, image: $IMAGE, command: [sleep, "3600"], lifecycle: {postStart: {httpGet: {host: $HOST_IP, port: $HTTP_PORT, path: /status/500}}}}
  - {name: pre, image: $IMAGE, command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"], lifecycle: {preStop: {exec: {command: ["false"]}}}}
Y
    kubectl wait --for=condition=Ready pod/hooks --timeout=30s
    equals "post?who=http" cat "$SHARE/said"
    kubectl delete pod hooks
    equals "$(printf 'post\npre\nTERM')" cat "$SHARE/hooks/log"
    equals "$(printf 'post?who=http\npre\npresecure')" sort "$SHARE/said"
    wait_for 30 contains 'spec.containers{exec} FailedPostStartHook' events badhooks
    wait_for 30 contains 'spec.containers{http} FailedPostStartHook' events badhooks
    wait_for 30 at_least 1 restarts badhooks exec
    wait_for 30 at_least 1 restarts badhooks http
    equals false ready badhooks exec
    equals 0 restarts badhooks pre
    kubectl delete pod badhooks
    wait_for 10 contains 'spec.containers{pre} FailedPreStopHook' events badhooks
}

@test "activeDeadlineSeconds of a pod and of a Job" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: hurries}
spec:
  activeDeadlineSeconds: 2
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: $IMAGE, command: [sleep, "3600"]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: hurries}
spec:
  activeDeadlineSeconds: 2
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers:
      - {name: c, image: $IMAGE, command: [sleep, "3600"]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: quick}
spec:
  activeDeadlineSeconds: 60
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: c, image: $IMAGE, command: ["true"]}
Y
    wait_for 30 equals "Failed DeadlineExceeded" kubectl get pod hurries -o jsonpath='{.status.phase} {.status.reason}'
    wait_for 10 contains 'DeadlineExceeded: Pod was active on the node longer than the specified deadline' events hurries
    wait_for 30 equals "DeadlineExceeded" kubectl get job hurries -o jsonpath='{.status.conditions[?(@.type=="Failed")].reason}'
    wait_for 30 equals "" kubectl get pods -l job-name=hurries -o name
    equals 1 kubectl get job hurries -o jsonpath='{.status.failed}'
    kubectl wait --for=condition=Complete job/quick --timeout=30s
    wait_for 20 equals "[]" sh -c "kubectl get pod hurries -o json | jq -c '[.status.containerStatuses[].state.running // empty]'"
    kubectl delete pod/hurries job/hurries job/quick
}

@test "last words: terminationMessagePath, FallbackToLogsOnError" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: words}
spec:
  restartPolicy: Never
  containers:
  - {name: path, image: $IMAGE, command: [sh, -c, "printf here >/tmp/words; exit 1"], terminationMessagePath: /tmp/words}
  - {name: success, image: $IMAGE, command: [sh, -c, "printf fine >/dev/termination-log"]}
  - {name: fallback, image: $IMAGE, command: [sh, -c, "echo one; echo two >&2; exit 1"], terminationMessagePolicy: FallbackToLogsOnError}
  - {name: both, image: $IMAGE, command: [sh, -c, "echo log; printf file >/dev/termination-log; exit 1"], terminationMessagePolicy: FallbackToLogsOnError}
  - {name: noneed, image: $IMAGE, command: [sh, -c, "echo log"], terminationMessagePolicy: FallbackToLogsOnError}
  - {name: file, image: $IMAGE, command: [sh, -c, "echo log; exit 1"]}
  - {name: long, image: $IMAGE, command: [sh, -c, "yes x | head -c 100000 >/dev/termination-log; exit 1"]}
  - {name: longlog, image: $IMAGE, command: [sh, -c, "seq 1 1000; exit 1"], terminationMessagePolicy: FallbackToLogsOnError}
  - {name: link, image: $IMAGE, command: [sh, -c, "umount /dev/termination-log; rm -f /dev/termination-log; ln -s /etc/shadow /dev/termination-log; exit 1"]}
Y
    wait_for 30 equals Failed phase words
    words() { kubectl get pod words -o json | jq -r --arg c "$1" '.status.containerStatuses[] | select(.name == $c) | .state.terminated.message // "none"'; }
    equals here words path
    equals fine words success
    equals "$(printf 'one\ntwo')" words fallback
    equals file words both
    equals none words noneed
    equals none words file
    equals none words link
    equals 4096 sh -c "kubectl get pod words -o json | jq '.status.containerStatuses[] | select(.name == \"long\").state.terminated.message | length'"
    contains 1000 words longlog
    [ "$(words longlog | wc -l)" -eq 81 ] # 80 lines of log, each with its newline, and jq's
    kubectl delete pod words
}

@test "sidecars start before, and end after, what they serve" {
    mkdir "$SHARE/side"
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: side}
spec:
  terminationGracePeriodSeconds: 20
  volumes: [{name: h, hostPath: {path: $SHARE/side}}]
  initContainers:
  - {name: first, image: $IMAGE, command: [sh, -c, "echo first >>/h/log"], volumeMounts: [{name: h, mountPath: /h}]}
  - name: one
    image: $IMAGE
    restartPolicy: Always
    command: [sh, -c, "trap 'echo one ends >>/h/log; exit 0' TERM; sleep 1; echo one >>/h/log; touch /tmp/up; while :; do sleep 0.1; done"]
    startupProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1, failureThreshold: 30}
    volumeMounts: [{name: h, mountPath: /h}]
  - {name: second, image: $IMAGE, command: [sh, -c, "echo second >>/h/log"], volumeMounts: [{name: h, mountPath: /h}]}
  - name: two
    image: $IMAGE
    restartPolicy: Always
    command: [sh, -c, "trap 'sleep 1; echo two ends >>/h/log; exit 0' TERM; echo two >>/h/log; touch /tmp/up; while :; do sleep 0.1; done"]
    startupProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1}
    volumeMounts: [{name: h, mountPath: /h}]
  containers:
  - name: main
    image: $IMAGE
    command: [sh, -c, "trap 'sleep 1; echo main ends >>/h/log; exit 0' TERM; echo main >>/h/log; while :; do sleep 0.1; done"]
    volumeMounts: [{name: h, mountPath: /h}]
---
apiVersion: v1
kind: Pod
metadata: {name: work}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 10
  initContainers:
  - {name: helper, image: $IMAGE, restartPolicy: Always, command: [sh, -c, "trap 'exit 3' TERM; while :; do sleep 0.1; done"]}
  - {name: flaps, image: $IMAGE, restartPolicy: Always, command: [sh, -c, "exit 1"]}
  containers:
  - {name: main, image: $IMAGE, command: [sleep, "2"]}
Y
    kubectl wait --for=condition=Ready pod/side --timeout=30s
    wait_for 10 equals "$(printf 'first\none\nsecond\ntwo\nmain')" cat "$SHARE/side/log"
    wait_for 30 equals Succeeded phase work
    equals "3 1" kubectl get pod work -o jsonpath='{.status.initContainerStatuses[0].state.terminated.exitCode} {.status.initContainerStatuses[1].lastState.terminated.exitCode}'
    kubectl delete pod side work
    equals "$(printf 'main ends\ntwo ends\none ends')" tail -n 3 "$SHARE/side/log"
}
