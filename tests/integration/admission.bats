#!/usr/bin/env bats
# Built-in admission as kubectl sees it: Pod Security, LimitRange, ResourceQuota, default classes. Pods are of a scheduler
# nobody runs: it is what is admitted that counts.
load ../lib/davit

setup_file() {
    davit_start
    for ns in safe quota limits classes; do kubectl create namespace $ns; done
}

teardown_file() { davit_stop; }

# pod NAME [container fields] [pod fields]
pod() {
    printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"schedulerName":"nobody",%s"containers":[{"name":"c",%s"image":"i"}]}}' \
        "$1" "${3:-}" "${2:-}"
}

used() { # QUOTA RESOURCE
    kubectl -n quota get quota "$1" -o "jsonpath={.status.used.${2//./\\.}}"
}

@test "a restricted namespace refuses pods with the reasons, and warns of what would be refused" {
    kubectl label namespace safe pod-security.kubernetes.io/enforce=restricted
    run kubectl -n safe apply -f <(pod bad '"securityContext":{"privileged":true},' '"hostNetwork":true,')
    [ "$status" -ne 0 ]
    [[ $output == *'pods "bad" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true), privileged (container "c" must not set securityContext.privileged=true), allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'* ]] || { echo "$output"; false; }
    run kubectl -n safe create deployment web --image=i
    [ "$status" -eq 0 ]
    [[ $output == *'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "i" must set'* ]] || { echo "$output"; false; }
    wait_for 10 contains 'violates PodSecurity "restricted:latest"' kubectl -n safe get events --field-selector reason=FailedCreate -o 'jsonpath={.items[*].message}'
    equals 0 sh -c 'kubectl -n safe get pods --no-headers 2>/dev/null | wc -l'
    kubectl -n safe apply -f <(pod good '"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}},' '"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},')
}

@test "who raises the level of a namespace is told of its pods" {
    kubectl label namespace classes pod-security.kubernetes.io/warn=baseline
    run kubectl -n classes apply -f <(pod net '' '"hostNetwork":true,')
    [ "$status" -eq 0 ]
    [[ $output == *'Warning: would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'* ]]
    run kubectl label namespace classes pod-security.kubernetes.io/enforce=baseline
    [[ $output == *'Warning: existing pods in namespace "classes" violate the new PodSecurity enforce level "baseline:latest"'* ]]
    [[ $output == *'Warning: net: host namespaces'* ]]
    run kubectl label namespace classes pod-security.kubernetes.io/audit=none
    [ "$status" -ne 0 ]
    [[ $output == *'must be one of privileged, baseline, restricted'* ]]
}

@test "20 creates at once never overshoot a quota, and a delete makes room for one" {
    kubectl -n quota create quota few --hard=pods=5,requests.cpu=1
    local i pids=()
    for i in $(seq 20); do
        kubectl -n quota apply --validate=false -f <(pod "p$i" '"resources":{"requests":{"cpu":"100m"}},') >/dev/null 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || true; done
    equals 5 sh -c 'kubectl -n quota get pods --no-headers | wc -l'
    wait_for 5 equals 5 used few pods
    wait_for 5 equals 500m used few requests.cpu
    run kubectl -n quota apply -f <(pod more '"resources":{"requests":{"cpu":"600m"}},')
    [[ $output == *'pods "more" is forbidden: exceeded quota: few, requested: pods=1,requests.cpu=600m, used: pods=5,requests.cpu=500m, limited: pods=5,requests.cpu=1'* ]] || { echo "$output"; false; }
    run kubectl -n quota apply -f <(pod mute)
    [[ $output == *'failed quota: few: must specify requests.cpu for: c'* ]]
    kubectl -n quota delete "$(kubectl -n quota get pods -o name | head -n 1)"
    wait_for 5 equals 4 used few pods
    kubectl -n quota apply -f <(pod more '"resources":{"requests":{"cpu":"600m"}},')
    run kubectl -n quota describe quota few
    [[ $output == *"pods"*"5"*"5"*"requests.cpu"*"1"*"1"* ]]
    kubectl -n quota delete pod --all
    wait_for 5 equals 0 used few pods
}

@test "a ReplicaSet fills its quota and no more, across a restart of the server" {
    kubectl -n quota delete quota --all
    kubectl -n quota create quota some --hard=count/pods=3
    kubectl -n quota create deployment web --image=i --replicas=6
    wait_for 10 equals 3 used some 'count/pods'
    kill -9 "$(davit_pid_of server)"
    wait_for 20 kubectl get --raw /readyz
    run kubectl -n quota run extra --image=i
    [[ $output == *'exceeded quota: some, requested: count/pods=1, used: count/pods=3, limited: count/pods=3'* ]] || { echo "$output"; false; }
    equals 3 sh -c 'kubectl -n quota get pods --no-headers | wc -l'
    kubectl -n quota patch quota some -p '{"spec":{"hard":{"count/pods":"4"}}}'
    wait_for 40 equals 4 used some 'count/pods'
}

@test "a LimitRange gives containers what they do not say, and bounds what they say" {
    kubectl -n limits apply -f - <<EOF
apiVersion: v1
kind: LimitRange
metadata: {name: l}
spec:
  limits:
  - {type: Container, default: {cpu: 500m}, defaultRequest: {cpu: 100m}, max: {cpu: "1"}}
EOF
    kubectl -n limits apply -f <(pod a)
    equals "500m 100m" kubectl -n limits get pod a -o 'jsonpath={.spec.containers[0].resources.limits.cpu} {.spec.containers[0].resources.requests.cpu}'
    run kubectl -n limits describe limitrange l
    [[ $output == *"Container"*"cpu"*"100m"*"500m"* ]]
    run kubectl -n limits apply -f <(pod b '"resources":{"limits":{"cpu":"2"}},')
    [[ $output == *'pods "b" is forbidden: maximum cpu usage per Container is 1, but limit is 2'* ]] || { echo "$output"; false; }
}

@test "claims and ingresses get the default class" {
    kubectl apply -f - <<EOF
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: slow, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: example.com/none
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: c, namespace: classes}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: edge, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}
spec: {controller: example.com/none}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i, namespace: classes}
spec: {defaultBackend: {service: {name: s, port: {number: 80}}}}
EOF
    equals slow kubectl -n classes get pvc c -o 'jsonpath={.spec.storageClassName}'
    equals edge kubectl -n classes get ingress i -o 'jsonpath={.spec.ingressClassName}'
}

@test "roles that are gathered follow their parts" {
    kubectl create clusterrole part --verb=get --resource=leases.coordination.k8s.io
    kubectl label clusterrole part rbac.authorization.k8s.io/aggregate-to-view=true
    kubectl create rolebinding v --clusterrole=view --user=ann
    wait_for 5 kubectl auth can-i get leases.coordination.k8s.io --as=ann
    kubectl delete clusterrole part
    wait_for 5 sh -c '! kubectl auth can-i get leases.coordination.k8s.io --as=ann'
}

@test "namespaces of the system come back, and who holds one up for others is told that its content is gone" {
    contains 'this namespace may not be deleted' kubectl delete namespace kube-system
    old=$(kubectl get namespace kube-node-lease -o jsonpath='{.metadata.uid}')
    kubectl delete namespace kube-node-lease --wait=false # or it could miss the moment when there is none
    anew() { [ "$(kubectl get namespace kube-node-lease -o jsonpath='{.metadata.uid}')" != "$old" ] && kubectl get namespace kube-node-lease; }
    wait_for 15 anew
    wait_for 30 kubectl -n kube-node-lease get lease node1
    kubectl create namespace held
    kubectl get namespace held -o json | jq '.spec.finalizers += ["example.com/wait"]' | kubectl replace --raw /api/v1/namespaces/held/finalize -f - >/dev/null
    kubectl -n held create configmap stays
    kubectl -n held patch configmap stays --type merge -p '{"metadata":{"finalizers":["example.com/stay"]}}'
    kubectl delete namespace held --wait=false
    remains() { kubectl get namespace held -o jsonpath='{.status.conditions[?(@.type=="NamespaceContentRemaining")].status}{.spec.finalizers}'; }
    wait_for 15 equals 'True["kubernetes","example.com/wait"]' remains
    equals '' kubectl get namespace held -o jsonpath='{.metadata.deletionGracePeriodSeconds}'
    kubectl -n held patch configmap stays --type merge -p '{"metadata":{"finalizers":null}}'
    wait_for 15 equals 'False["example.com/wait"]' remains
    kubectl get namespace held -o json | jq '.spec.finalizers = []' | kubectl replace --raw /api/v1/namespaces/held/finalize -f - >/dev/null
    wait_for 15 sh -c '! kubectl get namespace held'
}
