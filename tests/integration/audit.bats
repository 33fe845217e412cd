#!/usr/bin/env bats
# The audit log of a server with a policy: who did what, how much of it is told, and that it is put aside when it is full.
load ../lib/davit

setup_file() {
    export AUDIT=$(mktemp -d /tmp/davit-audit.XXXXXX)
    cat >"$AUDIT/policy.yaml" <<EOF
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ["system:nodes"]}
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: RequestResponse, omitManagedFields: true, namespaces: [kube-public], resources: [{group: "", resources: [configmaps]}]}
- {level: RequestResponse, verbs: [create, patch, delete], resources: [{group: "", resources: [configmaps]}]}
- {level: Request, resources: [{group: "", resources: [pods]}], namespaces: [default]}
- {level: Metadata, nonResourceURLs: [/version]}
EOF
    davit_start --audit-policy-file "$AUDIT/policy.yaml" --audit-log-path "$AUDIT/audit.log" --audit-log-maxsize 1 --audit-log-maxbackup 1
}

teardown_file() {
    davit_stop
    rm -rf "$AUDIT"
}

# of FILTER: the last event for which jq's FILTER holds
of() { jq -c "select($1)" "$AUDIT/audit.log" | tail -n 1; }
is_told() { [ -n "$(of "$1")" ]; }

@test "levels say how much is told" {
    kubectl create secret generic s --from-literal=key=sesame
    kubectl create configmap c --from-literal=word=open
    kubectl patch configmap c -p '{"data":{"more":"words"}}'
    kubectl get --raw /version
    wait_for 5 is_told '.verb == "patch" and .objectRef.resource == "configmaps"'
    run of '.verb == "create" and .objectRef.resource == "secrets"'
    echo "$output" | jq -e '.level == "Metadata" and .stage == "ResponseComplete" and .objectRef == {"resource":"secrets","namespace":"default","name":"s","uid":.objectRef.uid,"apiVersion":"v1","resourceVersion":.objectRef.resourceVersion} and .responseStatus.code == 201 and .user.groups[0] == "system:masters" and (.user.extra["authentication.kubernetes.io/credential-id"][0] | startswith("X509SHA256=")) and .sourceIPs == ["127.0.0.1"] and (.userAgent | startswith("kubectl/")) and .annotations["authorization.k8s.io/decision"] == "allow" and (has("requestObject") | not) and (has("responseObject") | not)'
    [[ $output != *sesame* ]]
    of '.verb == "create" and .objectRef.resource == "configmaps" and .objectRef.name == "c"' | jq -e '.level == "RequestResponse" and .requestObject.data.word == "open" and .responseObject.data.word == "open" and .responseObject.kind == "ConfigMap" and .responseObject.metadata.uid == .objectRef.uid'
    of '.verb == "patch"' | jq -e '.requestObject == {"data":{"more":"words"}} and .responseObject.data.more == "words" and .responseStatus.code == 200'
    of '.requestURI == "/version"' | jq -e '.verb == "get" and (has("objectRef") | not)'
    equals "" of '.user.groups | index("system:nodes")'
    equals "" of '.stage == "RequestReceived"'
}

@test "who owns which fields is left out by a rule's wish" {
    kubectl create configmap owned --from-literal=word=open
    kubectl -n kube-public create configmap bare --from-literal=word=open
    kubectl -n kube-public get configmap bare -o yaml --show-managed-fields | sed 's/open/shut/' | kubectl replace -f -
    wait_for 5 is_told '.verb == "update" and .objectRef.name == "bare"'
    of '.verb == "create" and .objectRef.name == "owned"' | jq -e '.responseObject.metadata.managedFields[0].manager == "kubectl-create"'
    of '.verb == "create" and .objectRef.name == "bare"' | jq -e '.responseObject | .data.word == "open" and .metadata.uid and (.metadata | has("managedFields") | not)'
    of '.verb == "update" and .objectRef.name == "bare"' | jq -e '.requestObject.data.word == "shut" and ([.requestObject, .responseObject | .metadata | has("managedFields")] == [false, false])'
    kubectl -n kube-public get configmap bare -o json --show-managed-fields | jq -e '.metadata.managedFields | length > 0' # there they are still
}

@test "refusals are told, with who was meant and why" {
    run kubectl get pods --as=ann --as-group=devs
    [ "$status" -ne 0 ]
    wait_for 5 is_told '.impersonatedUser'
    of '.impersonatedUser' | jq -e '.impersonatedUser == {"username":"ann","groups":["devs"]} and .user.username != "ann" and .responseStatus.code == 403 and .responseStatus.status == "Failure" and .responseStatus.reason == "Forbidden" and .annotations["authorization.k8s.io/decision"] == "forbid"'
    kubectl label namespace default pod-security.kubernetes.io/audit=baseline
    kubectl run p --image=i --overrides='{"spec":{"hostPID":true,"schedulerName":"nobody"}}'
    wait_for 5 is_told '.annotations["pod-security.kubernetes.io/audit-violations"]'
    of '.verb == "create" and .objectRef.resource == "pods"' | jq -e '.annotations["pod-security.kubernetes.io/audit-violations"] == "would violate PodSecurity \"baseline:latest\": host namespaces (hostPID=true)" and .annotations["pod-security.kubernetes.io/enforce-policy"] == "privileged:latest" and .requestObject.spec.hostPID and (has("responseObject") | not)'
}

@test "a watch is told when it begins and when it ends" {
    timeout 2 kubectl get pods -w || true
    wait_for 5 is_told '.verb == "watch" and .stage == "ResponseComplete"'
    id=$(of '.verb == "watch" and .stage == "ResponseComplete"' | jq -r .auditID)
    is_told ".auditID == \"$id\" and .stage == \"ResponseStarted\""
    curl -sk -o /dev/null -D - "https://127.0.0.1:$DAVIT_PORT/version" | grep -i '^audit-id: '
}

@test "a full log is put aside, and old ones go" {
    head -c 300000 /dev/zero | tr '\0' x >"$AUDIT/big"
    for i in 1 2 3 4 5 6; do kubectl create configmap "big$i" --from-file="$AUDIT/big"; done
    # it is written behind the answers
    wait_for 10 sh -c "cat $AUDIT/audit*.log | jq -e 'select(.objectRef.name == \"big6\" and .verb == \"create\")'"
    wait_for 10 equals 1 sh -c "ls $AUDIT/audit-20*.log | wc -l"
    jq -es 'all(.[]; .kind == "Event" and .apiVersion == "audit.k8s.io/v1")' "$AUDIT"/audit*.log
}

@test "a policy that cannot be read keeps the server from starting" {
    echo 'kind: Nonsense' >"$AUDIT/bad.yaml"
    run timeout 10 "$DAVIT" server --data-dir "$AUDIT/other" --listen "127.0.0.1:$(free_port)" --audit-policy-file "$AUDIT/bad.yaml" --audit-log-path "$AUDIT/other.log"
    [ "$status" -ne 0 ]
    [[ $output == *"bad.yaml: audit policy: it is no Policy of audit.k8s.io/v1"* ]]
    run timeout 10 "$DAVIT" server --data-dir "$AUDIT/other" --listen "127.0.0.1:$(free_port)" --audit-log-path "$AUDIT/other.log"
    [[ $output == *"--audit-log-path needs --audit-policy-file"* ]]
}
