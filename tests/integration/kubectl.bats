#!/usr/bin/env bats
# Everything a kubectl user does in a day, with the machine's own kubectl against a davit of this file's own.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image davit.local/busybox:1 one
    load_image davit.local/busybox:2 two
    kubectl apply -f "$ROOT/examples/web.yaml"
    kubectl rollout status deploy/web --timeout=60s
}
teardown_file() { davit_stop; }

pod_of() { kubectl get pods -l "app=$1" -o jsonpath='{.items[0].metadata.name}'; }

@test "the node is Ready and describes itself" {
    contains " Ready " kubectl get nodes
    contains "node1" kubectl get nodes -o wide
    contains "Allocatable:" kubectl describe node node1
    contains "MemoryPressure" kubectl describe node node1
}

@test "get shows the columns users know" {
    contains "READY   UP-TO-DATE   AVAILABLE   AGE" kubectl get deploy
    contains "3/3     3            3" kubectl get deploy web
    contains "DESIRED   CURRENT   READY   AGE" kubectl get rs
    contains "NAME" kubectl get pods
    contains "1/1     Running   0" kubectl get pods -l app=web
    contains "NODE" kubectl get pods -o wide
    contains "CLUSTER-IP" kubectl get svc
    contains "deployment.apps/web" kubectl get all
    equals "default" kubectl get ns default -o jsonpath='{.metadata.name}'
    contains "Active" kubectl get ns default
}

@test "describe shows a pod with its events" {
    run -0 kubectl describe pod "$(pod_of web)"
    [[ $output == *"Status:"*"Running"* ]]
    [[ $output == *"Image:"*"davit.local/busybox:1"* ]]
    [[ $output == *"Started"* ]]
    [[ $output == *"Scheduled"* ]]
    contains "Replicas:               3 desired | 3 updated | 3 total | 3 available | 0 unavailable" kubectl describe deploy web
}

@test "apply changes what is there, twice is unchanged" {
    contains "unchanged" kubectl apply -f "$ROOT/examples/web.yaml"
    kubectl create configmap cm --from-literal=a=1 -o yaml --dry-run=client | kubectl apply -f -
    kubectl create configmap cm --from-literal=a=2 -o yaml --dry-run=client | kubectl apply -f -
    equals 2 kubectl get cm cm -o jsonpath='{.data.a}'
    contains "Data" kubectl describe cm cm
    kubectl delete cm cm
}

@test "dry run, diff and replace" {
    kubectl create cm dry --from-literal=a=1 --dry-run=server
    contains "not found" kubectl get cm dry
    kubectl create cm rep --from-literal=a=1
    kubectl get cm rep -o json | jq '.data.a = "3"' | kubectl replace -f -
    equals 3 kubectl get cm rep -o jsonpath='{.data.a}'
    kubectl delete cm rep
}

@test "edit opens an editor and stores what it leaves" {
    kubectl create cm edited --from-literal=word=before
    EDITOR="sed -i s/before/after/" kubectl edit cm edited
    equals after kubectl get cm edited -o jsonpath='{.data.word}'
    kubectl delete cm edited
}

@test "patch: strategic merge, merge and JSON" {
    kubectl patch deploy web -p '{"metadata":{"labels":{"s":"1"}}}'
    kubectl patch deploy web --type=merge -p '{"metadata":{"labels":{"m":"2"}}}'
    kubectl patch deploy web --type=json -p '[{"op":"add","path":"/metadata/labels/j","value":"3"}]'
    equals "1 2 3" kubectl get deploy web -o jsonpath='{.metadata.labels.s} {.metadata.labels.m} {.metadata.labels.j}'
    contains "is invalid: /metadata/labels/j: testing value failed" kubectl patch deploy web --type=json -p '[{"op":"test","path":"/metadata/labels/j","value":"9"}]'
    # by merge key: the container keeps its image
    kubectl patch deploy web --dry-run=server -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"X","value":"1"}]}]}}}}' -o json |
        jq -e '.spec.template.spec.containers[0].image == "davit.local/busybox:1"'
}

@test "label, annotate and select" {
    kubectl label deploy web tier=front
    kubectl annotate deploy web note=hello
    contains "web" kubectl get deploy -l 'tier in (front,back),!nothing'
    equals "" kubectl get deploy -l tier=back -o name
    equals "deployment.apps/web" kubectl get deploy --field-selector metadata.name=web -o name
    kubectl label deploy web tier-
    contains "unable to parse requirement" kubectl get pods -l 'a in (b'
}

@test "scale up and down" {
    kubectl scale deploy/web --replicas=5
    kubectl rollout status deploy/web --timeout=60s
    equals 5 kubectl get deploy web -o jsonpath='{.status.readyReplicas}'
    kubectl scale deploy/web --replicas=3 --current-replicas=5
    wait_for 60 equals 3 sh -c "kubectl get pods -l app=web -o name | wc -l"
}

@test "rollout: status, history, undo, restart, pause, resume" {
    kubectl create deploy roll --image=davit.local/busybox:1 --replicas=2 -- sleep 3600
    kubectl rollout status deploy/roll --timeout=60s
    kubectl set image deploy/roll busybox=davit.local/busybox:2
    kubectl rollout status deploy/roll --timeout=60s
    equals two kubectl exec deploy/roll -- cat /etc/mark
    contains "REVISION" kubectl rollout history deploy/roll
    contains "davit.local/busybox:1" kubectl rollout history deploy/roll --revision=1
    kubectl rollout undo deploy/roll
    kubectl rollout status deploy/roll --timeout=60s
    equals davit.local/busybox:1 kubectl get deploy roll -o jsonpath='{.spec.template.spec.containers[0].image}'
    before=$(kubectl get pods -l app=roll -o jsonpath='{.items[*].metadata.uid}')
    kubectl rollout restart deploy/roll
    kubectl rollout status deploy/roll --timeout=60s
    [ "$before" != "$(kubectl get pods -l app=roll -o jsonpath='{.items[*].metadata.uid}')" ]
    kubectl rollout pause deploy/roll
    kubectl set image deploy/roll busybox=davit.local/busybox:2
    sleep 1
    equals 0 sh -c "kubectl get rs -l app=roll -o json | jq '[.items[] | select(.spec.template.spec.containers[0].image == \"davit.local/busybox:2\") | .spec.replicas] | add'"
    kubectl rollout resume deploy/roll
    kubectl rollout status deploy/roll --timeout=60s
    equals two kubectl exec deploy/roll -- cat /etc/mark
    kubectl delete deploy roll
}

@test "logs: whole, tail, since, timestamps, follow, previous" {
    kubectl run logger --image=davit.local/busybox:1 --restart=Never -- sh -c 'for i in 1 2 3 4 5; do echo line $i; done; echo oops >&2; sleep 2; echo last; sleep 3600'
    wait_for 30 contains "line 5" kubectl logs logger
    equals "oops" kubectl logs logger --tail=1
    contains "oops" kubectl logs logger
    contains "line 1" kubectl logs logger --since=1h
    [[ $(kubectl logs logger --timestamps --tail=1) =~ ^20[0-9-]+T[0-9:.]+Z\ (oops|last)$ ]]
    run timeout 4 kubectl logs -f logger
    [[ $output == *last* ]]
    kubectl delete pod logger --now
    kubectl run crasher --image=davit.local/busybox:1 -- sh -c 'echo attempt; sleep 1; exit 3'
    wait_for 30 equals attempt kubectl logs crasher --previous
    equals 3 kubectl get pod crasher -o jsonpath='{.status.containerStatuses[0].lastState.terminated.exitCode}'
    kubectl delete pod crasher --now
    contains "not found" kubectl logs nosuchpod
}

@test "exec: output, exit code, input, terminal" {
    pod=$(pod_of web)
    equals "hi" kubectl exec "$pod" -- echo hi
    run -7 kubectl exec "$pod" -- sh -c 'exit 7'
    equals "through" sh -c "echo through | kubectl exec -i $pod -- cat"
    equals 1048576 sh -c "head -c 1048576 /dev/zero | kubectl exec -i $pod -- wc -c"
    equals 3000000 sh -c "kubectl exec $pod -- head -c 3000000 /dev/zero | wc -c"
    contains "tty: yes" script -qec "kubectl exec -it $pod -- sh -c 'tty >/dev/null && echo tty: yes'" /dev/null
    run -127 kubectl exec "$pod" -- /no/such/program || [ "$status" -eq 1 ] || [ "$status" -eq 126 ]
    contains "not valid for pod" kubectl exec "$pod" -c nosuch -- true
}

@test "exec over SPDY too" {
    pod=$(pod_of web)
    export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false
    equals "spdy" kubectl exec "$pod" -- echo spdy
    equals 100000 sh -c "head -c 100000 /dev/zero | kubectl exec -i $pod -- wc -c"
    run -5 kubectl exec "$pod" -- sh -c 'exit 5'
}

@test "cp both ways" {
    pod=$(pod_of web)
    head -c 300000 /dev/urandom >"$BATS_TEST_TMPDIR/file"
    kubectl cp "$BATS_TEST_TMPDIR/file" "$pod:/tmp/copied"
    kubectl cp "$pod:/tmp/copied" "$BATS_TEST_TMPDIR/back"
    cmp "$BATS_TEST_TMPDIR/file" "$BATS_TEST_TMPDIR/back"
}

@test "attach sees what the container writes from now on, and can write" {
    kubectl run talker --image=davit.local/busybox:1 --restart=Never -i --stdin --command -- true >/dev/null 2>&1 || true
    kubectl delete pod talker --now --ignore-not-found
    kubectl run ticker --image=davit.local/busybox:1 --restart=Never -- sh -c 'while sleep 0.2; do echo tick; done'
    kubectl wait --for=condition=Ready pod/ticker --timeout=30s
    run timeout 3 kubectl attach ticker
    [[ $output == *tick* ]]
    kubectl delete pod ticker --now
    equals "echo: hello" sh -c "echo hello | kubectl run reader --rm -q -i --image=davit.local/busybox:1 --restart=Never --command -- sh -c 'read x; echo echo: \$x'"
}

@test "port-forward to a pod and to a service" {
    pod=$(pod_of web)
    port=$(free_port)
    kubectl port-forward "$pod" "$port:8080" >/dev/null 3>&- &
    forward=$!
    wait_for 10 curl -fsS "http://127.0.0.1:$port/"
    contains "hello from" curl -fsS "http://127.0.0.1:$port/"
    kill $forward
    wait $forward || true
    port=$(free_port)
    kubectl port-forward svc/web "$port:80" >/dev/null 3>&- &
    forward=$!
    wait_for 10 curl -fsS "http://127.0.0.1:$port/"
    kill $forward
    wait $forward || true
}

@test "wait for conditions and for deletion" {
    kubectl wait --for=condition=Available deploy/web --timeout=10s
    kubectl run shortlived --image=davit.local/busybox:1 --restart=Never -- true
    kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/shortlived --timeout=30s
    kubectl delete pod shortlived --wait=false
    kubectl wait --for=delete pod/shortlived --timeout=30s
}

@test "explain and api-resources" {
    contains "replicas" kubectl explain deployment.spec
    contains "FIELD: containerPort" kubectl explain pod.spec.containers.ports.containerPort
    contains "deployments" kubectl api-resources
    contains "deploy" kubectl api-resources --api-group=apps
    contains "apps/v1" kubectl api-versions
    contains "Server Version: v1." kubectl version
}

@test "client-side validation names the wrong field" {
    run ! kubectl apply -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: wrong}
datum: {a: b}
Y
    [[ $output == *'unknown field "datum"'* ]]
}

@test "auth can-i and RBAC for a service account" {
    equals yes kubectl auth can-i create deployments
    contains "*.*" kubectl auth can-i --list
    kubectl create sa robot
    equals no kubectl auth can-i list pods --as=system:serviceaccount:default:robot || true
    kubectl create role reader --verb=get,list --resource=pods
    kubectl create rolebinding robot-reads --role=reader --serviceaccount=default:robot
    equals yes kubectl auth can-i list pods --as=system:serviceaccount:default:robot
    token=$(kubectl create token robot)
    run -0 kubectl --token="$token" --kubeconfig=/dev/null --server="https://127.0.0.1:$DAVIT_PORT" --insecure-skip-tls-verify get pods
    run ! kubectl --token="$token" --kubeconfig=/dev/null --server="https://127.0.0.1:$DAVIT_PORT" --insecure-skip-tls-verify get secrets
    [[ $output == *'User "system:serviceaccount:default:robot" cannot list resource "secrets" in API group "" in the namespace "default"'* ]]
    kubectl delete rolebinding/robot-reads role/reader sa/robot
}

@test "jobs run to completion and report failure" {
    kubectl create job sum --image=davit.local/busybox:1 -- sh -c 'echo $((1 + 2))'
    kubectl wait --for=condition=Complete job/sum --timeout=30s
    equals 3 kubectl logs job/sum
    contains "Complete" kubectl get job sum
    kubectl apply -f - <<Y
apiVersion: batch/v1
kind: Job
metadata: {name: fails}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "davit.local/busybox:1", command: ["false"]}]
Y
    kubectl wait --for=condition=Failed job/fails --timeout=30s
    kubectl delete job sum fails
    wait_for 30 equals "" kubectl get pods -l job-name=sum -o name
}

@test "delete takes dependents along; namespaces take everything" {
    kubectl create ns temp
    kubectl -n temp create deploy d --image=davit.local/busybox:1 -- sleep 3600
    kubectl -n temp rollout status deploy/d --timeout=30s
    kubectl -n temp create secret generic s --from-literal=k=v
    kubectl delete ns temp --timeout=60s
    contains "not found" kubectl get ns temp
    kubectl create deploy d --image=davit.local/busybox:1 -- sleep 3600
    kubectl rollout status deploy/d --timeout=30s
    kubectl delete deploy d --cascade=orphan
    wait_for 10 contains "d-" kubectl get rs -l app=d -o name
    kubectl delete rs -l app=d
    wait_for 60 equals "" kubectl get pods -l app=d -o name
}

@test "kubectl get -w sees changes" {
    kubectl create cm watched --from-literal=v=1
    timeout 120 kubectl get cm -w -o name >"$BATS_TEST_TMPDIR/w" 3>&- &
    w=$!
    seen() { [ "$(grep -c watched "$BATS_TEST_TMPDIR/w")" -ge "$1" ]; }
    wait_for 10 seen 1
    kubectl patch cm watched -p '{"data":{"v":"2"}}'
    kubectl delete cm watched
    wait_for 10 seen 3 || { cat "$BATS_TEST_TMPDIR/w" >&2; kill $w; return 1; }
    kill $w
    wait $w || true
}

@test "events are there to be read" {
    contains "ScalingReplicaSet" kubectl get events
    contains "Scaled up replica set" kubectl events
}

@test "top-level endpoints" {
    equals ok kubectl get --raw /healthz
    equals ok kubectl get --raw /livez
    equals ok kubectl get --raw /readyz
    contains '"gitVersion"' kubectl get --raw /version
    contains "apiserver_request_total" kubectl get --raw /metrics
    contains "is running at" kubectl cluster-info
}

@test "the kubernetes Service has endpoints of both kinds, once" {
    local slice
    slice=$(kubectl get endpointslice kubernetes -o jsonpath='{.endpoints[0].addresses[0]}:{.ports[0].port}')
    [ "${slice##*:}" = "$DAVIT_PORT" ]
    equals "$slice" kubectl get endpoints kubernetes -o jsonpath='{.subsets[0].addresses[0].ip}:{.subsets[0].ports[0].port}'
    equals kubernetes kubectl get endpointslice -l kubernetes.io/service-name=kubernetes -o jsonpath='{.items[*].metadata.name}'
}

@test "what is not there yet says so, and kubectl survives it" {
    contains '"details":{}' curl -s --cacert <(kubectl config view --raw -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d) \
        --cert <(kubectl config view --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d) \
        --key <(kubectl config view --raw -o jsonpath='{.users[0].user.client-key-data}' | base64 -d) \
        "https://127.0.0.1:$DAVIT_PORT/apis/autoscaling/v3/namespaces/default/horizontalpodautoscalers"
    printf '{"apiVersion":"apps/v1","kind":"StatefulPod","metadata":{"name":"s"}}' >"$BATS_TEST_TMPDIR/s.json"
    contains 'no matches for kind "StatefulPod" in version "apps/v1"' kubectl apply -f "$BATS_TEST_TMPDIR/s.json"
}
