#!/usr/bin/env bats
# Server-side apply and managedFields with kubectl and the JavaScript client, against the built binary.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
}
teardown_file() { davit_stop; }

# KIND NAME: one line an entry, "manager operation subresource fields"
owners() {
    kubectl get "$1" "$2" -o json --show-managed-fields |
        jq -r '.metadata.managedFields[]? | "\(.manager) \(.operation) \(.subresource // "-") \(.fieldsV1 | tojson)"'
}

# NAME VALUE [LABELS]: a ConfigMap
cm() {
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n%s\ndata:\n  x: "%s"\n' "$1" "${3:+  labels: {$3\}}" "$2"
}

# NAME [LINE]: one without data
bare() {
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n%s\n' "$1" "${2:-}"
}

# NAME [LINE of the spec] [LINE of the container]
deployment() {
    cat <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  selector: {matchLabels: {app: $1}}
  ${2:-}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: davit.local/busybox:1
        command: [sleep, "3600"]
        ${3:-}
Y
}

# [QUERY]: applies stdin by plain HTTP and prints the status code and the answer
raw_apply() {
    local cert=$BATS_TEST_TMPDIR/c
    kubectl config view --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d >"$cert.pem"
    kubectl config view --raw -o jsonpath='{.users[0].user.client-key-data}' | base64 -d >"$cert.key"
    curl -sk --max-time 10 --cert "$cert.pem" --key "$cert.key" -X PATCH -H "content-type: ${TYPE:-application/apply-patch+yaml}" \
        --data-binary @- -w '\n%{http_code}\n' "https://127.0.0.1:$DAVIT_PORT/$1"
}

@test "create by apply; the same again changes nothing" {
    cm a 1 | kubectl apply --server-side -f -
    [ "$(owners cm a)" = 'kubectl Apply - {"f:data":{"f:x":{}}}' ]
    before=$(kubectl get cm a -o jsonpath='{.metadata.resourceVersion}')
    sleep 1.1 # times have seconds
    cm a 1 | kubectl apply --server-side -f -
    [ "$(kubectl get cm a -o jsonpath='{.metadata.resourceVersion}')" = "$before" ]
    kubectl get cm a -o yaml | { ! grep -q managedFields; }
}

@test "conflict, force, shared fields, removal" {
    cm b 1 | kubectl apply --server-side --field-manager one -f -
    run bash -c "$(declare -f cm); cm b 2 | kubectl apply --server-side --field-manager two -f -"
    [ "$status" -ne 0 ]
    [[ $output == *'Apply failed with 1 conflict: conflict with "one": .data.x'* ]]
    [[ $output == *--force-conflicts* ]]
    cm b 1 'k: v' | kubectl apply --server-side --field-manager two -f -          # the same value: shared
    owners cm b | grep -q '^one Apply - {"f:data":{"f:x":{}}}$'
    owners cm b | grep -q '^two Apply - {"f:data":{"f:x":{}},"f:metadata":{"f:labels":{"f:k":{}}}}$'
    bare b | kubectl apply --server-side --field-manager one -f -
    [ "$(kubectl get cm b -o jsonpath='{.data.x}')" = 1 ]                          # two still wants it
    cm b 3 | kubectl apply --server-side --force-conflicts --field-manager three -f -
    owners cm b | grep -q '^two Apply - {"f:metadata":{"f:labels":{"f:k":{}}}}$'
    bare b | kubectl apply --server-side --field-manager three -f -
    [ "$(kubectl get cm b -o jsonpath='{.data}{.metadata.labels}')" = '{"k":"v"}' ]
}

@test "lists by key, sets and atomics of a deployment; a rollout keeps working" {
    deployment d 'replicas: 1' 'env: [{name: A, value: "1"}, {name: B, value: "2"}]' |
        kubectl apply --server-side --field-manager team -f -
    kubectl rollout status deployment/d --timeout=20s
    # somebody else adds an element and a port
    kubectl patch deployment d --field-manager side --type strategic \
        -p '{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"C","value":"3"}],"ports":[{"containerPort":80}]}]}}}}'
    owners deployment d | grep -q '^side Update - .*k:{\\"name\\":\\"C\\"}.*k:{\\"containerPort\\":80,\\"protocol\\":\\"TCP\\"}'
    # B goes, C stays, the order is the applier's
    deployment d 'replicas: 1' 'env: [{name: D, value: "4"}, {name: A, value: "1"}]' |
        kubectl apply --server-side --field-manager team -f -
    [ "$(kubectl get deployment d -o jsonpath='{range .spec.template.spec.containers[0].env[*]}{.name}{end}')" = DAC ]
    [ "$(kubectl get deployment d -o jsonpath='{.spec.template.spec.containers[0].ports[0].containerPort}')" = 80 ]
    kubectl patch cm a --field-manager fin -p '{"metadata":{"finalizers":["example.com/b"]}}'
    bare a '  finalizers: [example.com/a]' |
        kubectl apply --server-side --field-manager set -f -
    [ "$(kubectl get cm a -o jsonpath='{.metadata.finalizers}')" = '["example.com/b","example.com/a"]' ]
    bare a | kubectl apply --server-side --field-manager set -f -
    [ "$(kubectl get cm a -o jsonpath='{.metadata.finalizers}')" = '["example.com/b"]' ]
    kubectl patch cm a -p '{"metadata":{"finalizers":null}}'
    run bash -c "$(declare -f deployment); deployment e '' 'env: [{name: A}, {name: A}]' | kubectl apply --server-side -f -"
    [ "$status" -ne 0 ]
    [[ $output == *'.env: duplicate entries for key [name="A"]'* ]]
}

@test "controllers and the agent own what they write" {
    owners deployment d | grep -q '^kube-controller-manager Update status .*f:observedGeneration'
    pod=$(kubectl get pods -l app=d -o jsonpath='{.items[0].metadata.name}')
    owners pod "$pod" | grep -q '^kube-controller-manager Update - .*f:containers'
    owners pod "$pod" | grep -q '^davit Update status .*f:podIP'
    owners pod "$pod" | { ! grep -q f:nodeName; }
}

@test "scale: whoever scales owns the replicas" {
    deployment s 'replicas: 1' | kubectl apply --server-side --field-manager team -f -
    kubectl scale deployment s --replicas=2
    owners deployment s | grep -q '^kubectl Update scale {"f:spec":{"f:replicas":{}}}$'
    run bash -c "$(declare -f deployment); deployment s 'replicas: 1' | kubectl apply --server-side --field-manager team -f -"
    [ "$status" -ne 0 ]
    [[ $output == *'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas'* ]]
    deployment s | kubectl apply --server-side --field-manager team -f -
    [ "$(kubectl get deployment s -o jsonpath='{.spec.replicas}')" = 2 ]
    kubectl apply --server-side --subresource=status --field-manager st -f - <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: s}
spec: {replicas: 9}
status: {conditions: [{type: X, status: "True"}]}
Y
    owners deployment s | grep -q '^st Apply status {"f:status":{"f:conditions":{"k:{\\"type\\":\\"X\\"}":'
    [ "$(kubectl get deployment s -o jsonpath='{.spec.replicas}')" = 2 ]
    kubectl delete deployment s d --wait=false
}

@test "from client-side apply to server-side apply" {
    cm c 1 'old: o' | kubectl apply -f -
    owners cm c | grep -q '^kubectl-client-side-apply Update - '
    cm c 2 | kubectl apply --server-side -f -                    # no conflict: it was kubectl's own
    [ "$(kubectl get cm c -o jsonpath='{.data.x}{.metadata.labels}')" = 2 ]
    owners cm c | grep -q '^kubectl Apply - .*"f:data":{"f:x":{}}' # before or after that of the annotation: by their seconds
    owners cm c | { ! grep -q kubectl-client-side-apply; } # kubectl gave its entry away
    kubectl get cm c -o jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' | grep -q '"x":"2"'
    cm c 3 | kubectl apply -f -                                  # and back
    [ "$(kubectl get cm c -o jsonpath='{.data.x}')" = 3 ]
}

@test "diff, dry run" {
    cm f 1 | kubectl apply --server-side -f -
    run bash -c "$(declare -f cm); cm f 2 | kubectl diff --server-side -f -"
    [ "$status" -eq 1 ]
    [[ $output == *'-  x: "1"'* && $output == *'+  x: "2"'* ]]
    run bash -c "$(declare -f cm); cm f 1 | kubectl diff --server-side -f -"
    [ "$status" -eq 0 ]
    run bash -c "$(declare -f cm); cm f 2 | kubectl diff -f -"
    [ "$status" -eq 1 ]
    [[ $output == *'+  x: "2"'* ]]
    cm f 2 | kubectl apply --server-side --dry-run=server -o yaml -f - | grep -q 'x: "2"'
    cm new 2 | kubectl apply --server-side --dry-run=server -f -
    [ "$(kubectl get cm f -o jsonpath='{.data.x}')" = 1 ]
    run ! kubectl get cm new
}

@test "what is refused" {
    path=api/v1/namespaces/default/configmaps/r
    run raw_apply "$path" <<<"$(cm r 1)"
    [[ $output == *'fieldManager: Required value: is required for apply patch'*$'\n'422 ]]
    run raw_apply "$path?fieldManager=m" <<<"$(cm other 1)"
    [[ $output == *'does not match the name on the URL (r)'*$'\n'400 ]]
    run raw_apply "$path?fieldManager=m" <<<'{apiVersion: v1, kind: ConfigMap, metadata: {name: r, managedFields: [{manager: x}]}}'
    [[ $output == *'metadata.managedFields must be nil'*$'\n'400 ]]
    run raw_apply "$path?fieldManager=m" <<<'{apiVersion: v1, kind: Secret, metadata: {name: r}}'
    [[ $output == *'invalid object type: /v1, Kind=Secret'*$'\n'400 ]]
    run raw_apply "$path?fieldManager=m" <<<'{apiVersion: v1, kind: ConfigMap, metadata: {name: r}, date: {}}'
    [[ $output == *'.date: field not declared in schema'*$'\n'400 ]]
    run raw_apply "$path?fieldManager=m" <<<'{a: [}'
    [[ $output == *'error decoding YAML'*$'\n'400 ]]
    run raw_apply "$path?fieldManager=m&fieldValidation=Strict" <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"r"},"data":{"a":"1","a":"2"}}'
    [[ $output == *'already set in map'*$'\n'400 ]]
    run raw_apply "$path?fieldManager=$(printf 'x%.0s' $(seq 129))" <<<"$(cm r 1)"
    [[ $output == *'Too long: may not be more than 128 bytes'*$'\n'422 ]]
    TYPE=application/apply-patch+cbor run raw_apply "$path?fieldManager=m" <<<"$(cm r 1)"
    [[ $output == *$'\n'415 ]]
    TYPE=application/merge-patch+json run raw_apply "api/v1/namespaces/default/configmaps/a?force=true" <<<'{}'
    [[ $output == *'force: Forbidden: may not be specified for non-apply patch'*$'\n'422 ]]
    run ! kubectl get cm r
    run raw_apply "$path?fieldManager=m" <<<"$(cm r 1)"
    [[ $output == *$'\n'201 ]]
    run raw_apply "$path?fieldManager=m" <<<"$(cm r 2)"
    [[ $output == *$'\n'200 ]]
}

@test "the owners survive the server" {
    before=$(owners cm b; owners cm f)
    kill -9 "$(davit_pid_of server)"
    wait_for 15 kubectl get cm f
    [ "$(owners cm b; owners cm f)" = "$before" ]
    cm f 5 | kubectl apply --server-side -f -
    [ "$(kubectl get cm f -o jsonpath='{.data.x}')" = 5 ]
}

@test "client-node: apply with a field manager" {
    cd "$ROOT/tests/integration"
    [ -d node_modules/@kubernetes/client-node ] || npm ci --no-audit --no-fund >&2
    node apply.client.mjs
}
