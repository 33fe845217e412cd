#!/usr/bin/env bats
# FlowSchemas and PriorityLevelConfigurations as objects: those that are always there, what a change does to calls under way,
# what a user is told.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    serve
}

teardown_file() { server_remove; }

serve() { server_start --max-requests-inflight 20; }

of() { # KIND NAME JSONPATH
    kubectl get "$1" "$2" -o "jsonpath={$3}"
}

@test "the objects of Kubernetes are there, found to be whole, and name themselves in answers" {
    equals 13 sh -c 'kubectl get flowschemas -o name | wc -l'
    equals 8 sh -c 'kubectl get prioritylevelconfigurations -o name | wc -l'
    equals true of flowschema catch-all '.metadata.annotations.apf\.kubernetes\.io/autoupdate-spec'
    wait_for 10 equals False/Found of flowschema service-accounts \
        '.status.conditions[?(@.type=="Dangling")].status}/{.status.conditions[0].reason'
    equals 128/6/50/90 of prioritylevelconfiguration workload-low \
        '.spec.limited.limitResponse.queuing.queues}/{.spec.limited.limitResponse.queuing.handSize}/{.spec.limited.limitResponse.queuing.queueLengthLimit}/{.spec.limited.lendablePercent'
    local h
    h=$(kubectl get --raw /version -v8 2>&1 | tr 'A-Z' 'a-z')
    [[ $h == *"x-kubernetes-pf-flowschema-uid"*"$(of flowschema exempt .metadata.uid)"* ]]
    [[ $h == *"x-kubernetes-pf-prioritylevel-uid"*"$(of prioritylevelconfiguration exempt .metadata.uid)"* ]]
}

@test "mandatory ones come back as they were; suggested ones are kept up, unless their annotation says no" {
    run -1 kubectl patch flowschema catch-all --type merge -p '{"spec":{"matchingPrecedence":9999}}'
    [[ $output == *"spec of 'catch-all' must equal the fixed value"* ]]
    kubectl delete flowschema catch-all probes
    kubectl delete prioritylevelconfiguration catch-all system
    wait_for 10 kubectl get flowschema catch-all probes
    wait_for 10 kubectl get prioritylevelconfiguration catch-all system
    kubectl patch prioritylevelconfiguration system --type merge -p '{"spec":{"limited":{"nominalConcurrencyShares":77}}}'
    wait_for 10 equals 30 of prioritylevelconfiguration system .spec.limited.nominalConcurrencyShares
    kubectl annotate --overwrite prioritylevelconfiguration system apf.kubernetes.io/autoupdate-spec=false
    kubectl patch prioritylevelconfiguration system --type merge -p '{"spec":{"limited":{"nominalConcurrencyShares":0}}}'
    nominal() { kubectl get --raw /metrics | grep -F 'apiserver_flowcontrol_nominal_limit_seats{priority_level="system"}'; }
    wait_for 10 contains '} 0' nominal
    kubectl annotate --overwrite prioritylevelconfiguration system apf.kubernetes.io/autoupdate-spec=true
    wait_for 10 equals 30 of prioritylevelconfiguration system .spec.limited.nominalConcurrencyShares
    wait_for 10 contains '} 3' nominal
    # the figures of the exempt level are the user's
    kubectl patch prioritylevelconfiguration exempt --type merge -p '{"spec":{"exempt":{"lendablePercent":50}}}'
    sleep 0.3
    equals 50 of prioritylevelconfiguration exempt .spec.exempt.lendablePercent
}

narrow() { # shares
    kubectl apply -f - <<Y
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: narrow}
spec:
  type: Limited
  limited:
    nominalConcurrencyShares: $1
    borrowingLimitPercent: 0
    limitResponse: {type: Queue, queuing: {queues: 1, handSize: 1, queueLengthLimit: 3}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: narrow}
spec:
  priorityLevelConfiguration: {name: narrow}
  matchingPrecedence: 50
  distinguisherMethod: {type: ByUser}
  rules:
  - subjects: [{kind: ServiceAccount, serviceAccount: {namespace: default, name: one}}]
    resourceRules: [{verbs: [create], apiGroups: [""], resources: [configmaps], namespaces: ["*"]}]
Y
}

@test "a level that is deleted while calls run and wait in it lets each of them end; its schema dangles" {
    local words token
    kubectl create serviceaccount one
    kubectl create rolebinding one --clusterrole=edit --serviceaccount=default:one
    narrow 1
    equals False of flowschema narrow '.status.conditions[?(@.type=="Dangling")].status' ||
        wait_for 10 equals False of flowschema narrow '.status.conditions[?(@.type=="Dangling")].status'
    token=$(kubectl create token one)
    words=$(/usr/bin/python3 "$BATS_TEST_DIRNAME/flows.py" "$DAVIT_PORT" "$token")
    echo "$words"
    [[ $words == *'fifth=429 headers=2'*'requests=3'*'queues=1'*'new=201'*'held=201,201,201,201'*'left=0'* ]]
    wait_for 10 equals True/NotFound of flowschema narrow '.status.conditions[?(@.type=="Dangling")].status}/{.status.conditions[0].reason'
    contains 'but there is no such object' of flowschema narrow '.status.conditions[0].message'
    unmeasured() { ! kubectl get --raw /metrics | grep -F '"narrow"'; }
    wait_for 10 unmeasured
    narrow 1 # it is whole again
    wait_for 10 equals False of flowschema narrow '.status.conditions[?(@.type=="Dangling")].status'
}

@test "no shares: a jail, who waits in it is let out by its end; Reject refuses at once" {
    local token code
    token=$(kubectl create token one)
    narrow 0
    nominal() { kubectl get --raw /metrics | grep -F 'nominal_limit_seats{priority_level="narrow"}'; }
    wait_for 10 contains '} 0' nominal
    make() { curl -sk -o /dev/null -w '%{http_code}' --max-time 25 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
        -d "{\"metadata\":{\"name\":\"$1\"}}" "https://127.0.0.1:$DAVIT_PORT/api/v1/namespaces/default/configmaps"; }
    make jailed >"$BATS_TEST_TMPDIR/code" 3>&- &
    local pid=$!
    wait_for 10 contains 'narrow, 1, false, false, 1, 0, ' kubectl get --raw /debug/api_priority_and_fairness/dump_priority_levels
    narrow 5
    wait "$pid"
    equals 201 cat "$BATS_TEST_TMPDIR/code"
    kubectl patch prioritylevelconfiguration narrow --type merge \
        -p '{"spec":{"limited":{"nominalConcurrencyShares":0,"limitResponse":{"type":"Reject","queuing":null}}}}'
    wait_for 10 contains '} 0' nominal
    equals 429 make refused
    kubectl delete flowschema narrow
    kubectl delete prioritylevelconfiguration narrow
    wait_for 10 equals 201 make free
}

@test "a hundred schemas, and levels that are not there; all heeded again after a restart" {
    local i
    for i in $(seq 100); do
        cat <<Y
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: many-$i, labels: {many: ""}}
spec:
  priorityLevelConfiguration: {name: level-$((i % 10))}
  matchingPrecedence: $((1000 + i))
  rules:
  - subjects: [{kind: User, user: {name: "user-$i"}}]
    nonResourceRules: [{verbs: ["*"], nonResourceURLs: ["/version"]}]
Y
    done | kubectl create -f - >/dev/null
    wait_for 10 equals True of flowschema many-100 '.status.conditions[?(@.type=="Dangling")].status'
    for i in $(seq 0 9); do
        printf -- '---\napiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: PriorityLevelConfiguration\nmetadata: {name: level-%d, labels: {many: ""}}\n' "$i"
        printf 'spec: {type: Limited, limited: {limitResponse: {type: Reject}}}\n'
    done | kubectl create -f - >/dev/null
    wait_for 10 equals False of flowschema many-100 '.status.conditions[?(@.type=="Dangling")].status'
    wait_for 10 equals 113 sh -c "kubectl get --raw /metrics | grep -c '^apiserver_flowcontrol_current_executing_requests{'"
    server_end
    serve
    wait_for 10 equals 113 sh -c "kubectl get --raw /metrics | grep -c '^apiserver_flowcontrol_current_executing_requests{'"
    equals 50 of prioritylevelconfiguration exempt .spec.exempt.lendablePercent
    kubectl delete --raw '/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas?labelSelector=many' >/dev/null
    kubectl delete --raw '/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations?labelSelector=many' >/dev/null
    wait_for 10 equals 13 sh -c 'kubectl get flowschemas -o name | wc -l'
}

@test "the dumps are for administrators" {
    run -1 kubectl get --raw /debug/api_priority_and_fairness/dump_queues --as bob
    [[ $output == *'forbidden'* ]]
    run -1 kubectl get --raw /debug/api_priority_and_fairness/dump_nothing
    [[ $output == *'could not find the requested resource'* ]]
}
