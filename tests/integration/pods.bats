#!/usr/bin/env bats
# What a pod may ask for.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
}
teardown_file() { davit_stop; }

@test "init containers run in order before the others" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: inits}
spec:
  initContainers:
  - {name: a, image: "davit.local/busybox:1", command: [sh, -c, "echo a >>/data/order"], volumeMounts: [{name: d, mountPath: /data}]}
  - {name: b, image: "davit.local/busybox:1", command: [sh, -c, "echo b >>/data/order"], volumeMounts: [{name: d, mountPath: /data}]}
  containers:
  - {name: c, image: "davit.local/busybox:1", command: [sh, -c, "cat /data/order; sleep 3600"], volumeMounts: [{name: d, mountPath: /data}]}
  volumes: [{name: d, emptyDir: {}}]
Y
    kubectl wait --for=condition=Ready pod/inits --timeout=30s
    equals "$(printf 'a\nb')" kubectl logs inits -c c
    kubectl delete pod inits --now
}

@test "environment: values, fields, ConfigMaps, Secrets, expansion" {
    kubectl create cm settings --from-literal=COLOR=blue
    kubectl create secret generic keys --from-literal=PASSWORD=secret
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: env, labels: {l: v}}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sh, -c, 'echo "\$A \$B \$NAME \$COLOR \$PASSWORD \$LIMIT" \$(B)']
    resources: {limits: {cpu: 500m, memory: 32Mi}}
    envFrom: [{configMapRef: {name: settings}}]
    env:
    - {name: A, value: one}
    - {name: B, value: "\$(A)-two"}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: PASSWORD}}}
    - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
Y
    kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/env --timeout=30s
    equals "one one-two env blue secret 33554432 one-two" kubectl logs env
    kubectl delete pod/env cm/settings secret/keys --now
}

@test "a missing ConfigMap is waited for" {
    kubectl run waits --image=davit.local/busybox:1 --overrides='{"spec":{"containers":[{"name":"waits","image":"davit.local/busybox:1","command":["sleep","3600"],"envFrom":[{"configMapRef":{"name":"comes-later"}}]}]}}'
    wait_for 30 contains CreateContainerConfigError kubectl get pod waits
    kubectl create cm comes-later --from-literal=A=1
    kubectl wait --for=condition=Ready pod/waits --timeout=60s
    kubectl delete pod/waits cm/comes-later --now
}

@test "volumes follow their source in place" {
    kubectl create cm live --from-literal=key=before
    kubectl create secret generic hidden --from-literal=s=x
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: vols, labels: {seen: "yes"}}
spec:
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sleep, "3600"]
    volumeMounts:
    - {name: cm, mountPath: /cm}
    - {name: sec, mountPath: /sec, readOnly: true}
    - {name: down, mountPath: /down}
    - {name: all, mountPath: /all}
    - {name: mem, mountPath: /mem}
    - {name: host, mountPath: /host}
    - {name: cm, mountPath: /one/key, subPath: key}
  volumes:
  - {name: cm, configMap: {name: live}}
  - {name: sec, secret: {secretName: hidden, defaultMode: 0400}}
  - {name: down, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: all, projected: {sources: [{configMap: {name: live}}, {secret: {name: hidden}}]}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: host, hostPath: {path: $BATS_FILE_TMPDIR, type: Directory}}
Y
    kubectl wait --for=condition=Ready pod/vols --timeout=30s
    equals before kubectl exec vols -- cat /cm/key
    equals before kubectl exec vols -- cat /one/key
    equals x kubectl exec vols -- cat /all/s
    contains 'seen="yes"' kubectl exec vols -- cat /down/labels
    contains tmpfs kubectl exec vols -- mount
    run ! kubectl exec vols -- sh -c 'echo y >/sec/s'
    kubectl exec vols -- sh -c 'echo there >/host/file'
    equals there cat "$BATS_FILE_TMPDIR/file"
    kubectl patch cm live -p '{"data":{"key":"after"}}'
    wait_for 90 equals after kubectl exec vols -- cat /cm/key
    kubectl label pod vols seen=again --overwrite
    wait_for 90 contains 'seen="again"' kubectl exec vols -- cat /down/labels
    kubectl delete pod/vols cm/live secret/hidden --now
}

@test "security context: user, capabilities, read-only root, seccomp, privilege" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: sec}
spec:
  securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000}
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sleep, "3600"]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}
    volumeMounts: [{name: d, mountPath: /d}]
  volumes: [{name: d, emptyDir: {}}]
Y
    kubectl wait --for=condition=Ready pod/sec --timeout=30s
    equals "1000 2000" kubectl exec sec -- sh -c 'echo $(id -u) $(id -g)'
    contains 3000 kubectl exec sec -- id
    run ! kubectl exec sec -- touch /x
    kubectl exec sec -- touch /d/x
    equals 3000 kubectl exec sec -- stat -c %g /d/x
    contains "CapBnd:	0000000000000400" kubectl exec sec -- cat /proc/1/status
    contains "Seccomp:	2" kubectl exec sec -- cat /proc/1/status
    contains "NoNewPrivs:	1" kubectl exec sec -- cat /proc/1/status
    kubectl run root-wanted --image=davit.local/busybox:1 --overrides='{"spec":{"securityContext":{"runAsNonRoot":true},"containers":[{"name":"c","image":"davit.local/busybox:1","command":["true"]}]}}'
    wait_for 30 contains CreateContainerConfigError kubectl get pod root-wanted
    kubectl delete pod sec root-wanted --now
}

@test "memory limits are enforced: OOMKilled" {
    kubectl run hungry --image=davit.local/busybox:1 --restart=Never --overrides='{"spec":{"containers":[{"name":"c","image":"davit.local/busybox:1","command":["sh","-c","x=a; while true; do x=$x$x; done"],"resources":{"limits":{"memory":"16Mi"}}}]}}'
    wait_for 60 equals OOMKilled kubectl get pod hungry -o jsonpath='{.status.containerStatuses[0].state.terminated.reason}'
    kubectl delete pod hungry --now
}

@test "termination: grace, hooks, messages" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: ends}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sh, -c, "trap 'echo got TERM >>/h/log; exit 0' TERM; while true; do sleep 0.1; done"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo started >>/h/log"]}}
      preStop: {exec: {command: [sh, -c, "echo stopping >>/h/log"]}}
    volumeMounts: [{name: h, mountPath: /h}]
  volumes: [{name: h, hostPath: {path: $BATS_TEST_TMPDIR}}]
Y
    kubectl wait --for=condition=Ready pod/ends --timeout=30s
    kubectl delete pod ends
    equals "$(printf 'started\nstopping\ngot TERM')" cat "$BATS_TEST_TMPDIR/log"
    kubectl run speaks --image=davit.local/busybox:1 --restart=Never -- sh -c 'echo final words >/dev/termination-log; exit 4'
    wait_for 30 equals Failed kubectl get pod speaks -o jsonpath='{.status.phase}'
    equals "final words" sh -c "kubectl get pod speaks -o jsonpath='{.status.containerStatuses[0].state.terminated.message}' | tr -d '\n'"
    kubectl delete pod speaks --now
}

@test "http, tcp and exec probes; startup gates the others" {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: probes}
spec:
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [sh, -c, "sleep 2; echo ok >/tmp/index.html; exec busybox httpd -f -p 8080 -h /tmp"]
    ports: [{name: web, containerPort: 8080}]
    startupProbe: {httpGet: {path: /, port: web}, periodSeconds: 1, failureThreshold: 30}
    livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 1}
    readinessProbe: {exec: {command: [cat, /tmp/index.html]}, periodSeconds: 1}
Y
    kubectl wait --for=condition=Ready pod/probes --timeout=30s
    equals 0 kubectl get pod probes -o jsonpath='{.status.containerStatuses[0].restartCount}'
    kubectl delete pod probes --now
}

@test "a pod that cannot be placed says why" {
    kubectl run huge --image=davit.local/busybox:1 --overrides='{"spec":{"containers":[{"name":"c","image":"davit.local/busybox:1","resources":{"requests":{"cpu":"1000"}}}]}}'
    wait_for 20 contains "0/1 nodes are available: 1 Insufficient cpu" kubectl describe pod huge
    kubectl run picky --image=davit.local/busybox:1 --overrides='{"spec":{"nodeSelector":{"disk":"ssd"}}}'
    wait_for 20 contains "didn't match Pod's node affinity/selector" kubectl describe pod picky
    kubectl label node node1 disk=ssd
    kubectl wait --for=condition=PodScheduled pod/picky --timeout=20s
    kubectl cordon node1
    kubectl run cordoned --image=davit.local/busybox:1 -- sleep 3600
    wait_for 20 contains "1 node(s) were unschedulable" kubectl describe pod cordoned
    kubectl uncordon node1
    kubectl wait --for=condition=Ready pod/cordoned --timeout=30s
    kubectl label node node1 disk-
    kubectl delete pod huge picky cordoned --now
}

@test "kubectl debug: a container is added to a pod that runs, and sees its processes" {
    kubectl run patient --image=davit.local/busybox:1 -- sleep 3600
    kubectl wait --for=condition=Ready pod/patient --timeout=30s
    kubectl debug patient --profile=general --image=davit.local/busybox:1 --image-pull-policy=IfNotPresent \
        -c doctor --target=patient -- sh -c 'cat /proc/1/cmdline | tr "\\0" " "; sleep 3600'
    wait_for 20 contains running kubectl get pod patient -o jsonpath='{.status.ephemeralContainerStatuses[0].state}'
    wait_for 20 contains "sleep 3600" kubectl logs patient -c doctor # process 1 is the patient's
    equals patient kubectl exec patient -c doctor -- hostname
    equals 0 kubectl get pod patient -o jsonpath='{.status.containerStatuses[0].restartCount}'
    kubectl wait --for=condition=Ready pod/patient --timeout=5s
    part() { run kubectl patch pod patient --subresource=ephemeralcontainers "$@"; }
    part --type=merge -p '{"spec":{"ephemeralContainers":[]}}'
    [[ "$output" == *'existing ephemeral containers "doctor" may not be removed'* ]]
    part -p '{"spec":{"ephemeralContainers":[{"name":"doctor","image":"other"}]}}'
    [[ "$output" == *'existing ephemeral containers "doctor" may not be changed'* ]]
    part -p '{"spec":{"ephemeralContainers":[{"name":"patient","image":"x"}]}}'
    [[ "$output" == *'].name: Duplicate value: "patient"'* ]]
    part -p '{"spec":{"ephemeralContainers":[{"name":"b","image":"x","targetContainerName":"nobody","ports":[{"containerPort":1}],"resources":{"limits":{"cpu":"1"}}}]}}'
    [[ "$output" == *'targetContainerName: Not found: "nobody"'* ]]
    [[ "$output" == *'.ports: Forbidden: cannot be set for an Ephemeral Container'* ]]
    [[ "$output" == *'.resources: Forbidden: cannot be set for an Ephemeral Container'* ]]
    # nothing but them changes by that door, and they change by no other
    part --type=merge -p '{"metadata":{"labels":{"a":"b"}},"spec":{"activeDeadlineSeconds":5}}'
    [ "$status" = 0 ]
    equals patient kubectl get pod patient -o jsonpath='{.metadata.labels.run}{.metadata.labels.a}{.spec.activeDeadlineSeconds}'
    run kubectl patch pod patient -p '{"spec":{"ephemeralContainers":[{"name":"b","image":"x"}]}}'
    [[ "$output" == *"pod updates may not change fields other than"* ]]
    kubectl delete pod patient --now
}
