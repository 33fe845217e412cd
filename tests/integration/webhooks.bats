#!/usr/bin/env bats
# Admission webhooks (webhooks.server.mjs), asked by a server of one's own: what they may change and refuse, whom they are asked about,
# what happens when they fail, lie or hang, and calls that wait while the server ends. The server alone is enough.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

serve() { server_start --audit-policy-file "$HOOK/audit.yaml" --audit-log-path "$HOOK/audit.log"; }

setup_file() {
    server_dir
    HOOK=$BATS_FILE_TMPDIR
    export HOOK
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,DNS:hook.default.svc,IP:127.0.0.1 -keyout "$HOOK/tls.key" -out "$HOOK/tls.crt" 2>/dev/null
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=other \
        -keyout /dev/null -out "$HOOK/other.crt" 2>/dev/null
    cat >"$HOOK/audit.yaml" <<Y
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Request, users: [kubernetes-admin], verbs: [create, update, patch, delete]}, {level: Metadata, resources: [{group: "", resources: ["*/proxy"]}]}]
Y
    node "$ROOT/tests/integration/webhooks.server.mjs" "$HOOK" >"$HOOK/out" 2>&1 3>&- &
    echo $! >"$HOOK/pid"
    serve
    wait_for 30 test -s "$HOOK/port"
    wait_for 10 kubectl get serviceaccount default
    kubectl config view --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d >"$HOOK/crt"
    kubectl config view --raw -o jsonpath='{.users[0].user.client-key-data}' | base64 -d >"$HOOK/key"
}

teardown_file() {
    server_remove
    kill "$(cat "$HOOK/pid")" || true
}

setup() {
    rm -f "$HOOK/go"
    : >"$HOOK/calls"
}

teardown() {
    kubectl delete validatingwebhookconfigurations,mutatingwebhookconfigurations --all >/dev/null
    kubectl delete configmaps -l t=1 >/dev/null
}

# KIND(validating|mutating) NAME PATH [MEMBERS]: a webhook about created config maps with the label t, or as MEMBERS (YAML), RULE,
# SELECTOR and CLIENT say
hook() {
    local rule='{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}' selector='{matchLabels: {t: "1"}}'
    local client="{url: 'https://127.0.0.1:$(cat "$HOOK/port")$3', caBundle: $(base64 -w0 "$HOOK/tls.crt")}" more=${4:-timeoutSeconds: 10}
    kubectl apply -f - <<Y
apiVersion: admissionregistration.k8s.io/v1
kind: ${1^}WebhookConfiguration
metadata: {name: $2}
webhooks:
- name: $2.acme.io
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: ${CLIENT:-$client}
  objectSelector: ${SELECTOR:-$selector}
  rules: [${RULE:-$rule}]
  $more
Y
}

config_map() { # NAME [kubectl create's options]: made as YAML with the label t
    kubectl create "${@:2}" -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: $1, labels: {t: "1"}}
data: {a: b}
Y
}

asked() { jq -r "$1" "$HOOK/calls"; }
n_asked() { wc -l <"$HOOK/calls"; }
metric() { kubectl get --raw /metrics | grep "^apiserver_admission_webhook_$1" | grep "$2" | sed 's/.* //'; }

@test "a webhook changes what is created, and the audit log says so" {
    hook mutating m /label
    config_map c
    equals yes kubectl get configmap c -o jsonpath='{.metadata.labels.hooked}'
    equals "v1 CREATE ConfigMap configmaps default c kubernetes-admin CreateOptions" \
        asked '"\(.request.object.apiVersion) \(.request.operation) \(.request.kind.kind) \(.request.resource.resource) \(.request.namespace) \(.request.name) \(.request.userInfo.username) \(.request.options.kind)"'
    equals "admission.k8s.io/v1 null false" asked '"\(.apiVersion) \(.request.oldObject) \(.request.dryRun)"'
    audited() { jq -ce 'select(.objectRef.name == "c" and .verb == "create") | .annotations' "$HOOK/audit.log" | tail -n 1; }
    wait_for 5 audited
    audited | jq -e '.["mutation.webhook.admission.k8s.io/round_0_index_0"] | fromjson == {"configuration":"m","webhook":"m.acme.io","mutated":true}'
    audited | jq -e '.["patch.webhook.admission.k8s.io/round_0_index_0"] | fromjson | .patchType == "JSONPatch" and .patch[0].op == "add"'
    [ "$(metric admission_duration_seconds_count 'name="m.acme.io",type="admit",operation="CREATE",rejected="false"')" -ge 1 ]
}

@test "what a webhook sets is nobody's, unless it says whose" {
    owners() { kubectl get configmap c --show-managed-fields -o json | jq -rc '[.metadata.managedFields[] | "\(.manager) \(.operation) \(.fieldsV1 | tojson)"] | join("|")'; }
    hook mutating m /label
    config_map c
    equals 'kubectl-create Update {"f:data":{".":{},"f:a":{}},"f:metadata":{"f:labels":{".":{},"f:t":{}}}}' owners
    kubectl delete configmap c
    hook mutating m /own
    config_map c
    equals 'hook Update {"f:data":{"f:owned":{}}}|kubectl-create Update {"f:data":{".":{},"f:a":{}},"f:metadata":{"f:labels":{".":{},"f:t":{}}}}' owners
    run kubectl apply --server-side --field-manager=me -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"owned":"y"}}'
    [[ $output == *'conflict with "hook" using v1: .data.owned'* ]]
    hook mutating m /own-badly
    run --separate-stderr config_map d
    [ "$status" -eq 0 ]
    [[ $stderr == *'.metadata.managedFields was in an invalid state after admission'*'invalid fieldsType "FieldsV9" in managed fields entry 0'* ]]
    kubectl get configmap d --show-managed-fields -o json | jq -e '.metadata.managedFields[0].fieldsType == "FieldsV1"'
}

@test "a webhook refuses, with its own words and code" {
    hook validating v /deny
    run config_map c
    [ "$status" -ne 0 ]
    [[ $output == *'Error from server (Forbidden): '*'admission webhook "v.acme.io" denied the request: c is not wanted'* ]]
    run ! kubectl get configmap c
    hook validating v /deny-plain
    run config_map c
    [[ $output == *'admission webhook "v.acme.io" denied the request without explanation'* ]]
    [ "$(metric rejection_count 'name="v.acme.io"' | head -n 1)" -ge 2 ]
    code=$(curl -sk --cert "$HOOK/crt" --key "$HOOK/key" -o /dev/null -w '%{http_code}' -H 'content-type: application/json' \
        -d '{"metadata":{"name":"c","labels":{"t":"1"}}}' "https://127.0.0.1:$DAVIT_PORT/api/v1/namespaces/default/configmaps")
    [ "$code" = 400 ]
}

@test "warnings reach whoever asked, audit annotations the log" {
    hook validating v /warn
    run --separate-stderr config_map c
    [ "$status" -eq 0 ]
    [ "$(grep -c 'Warning: mind the gap' <<<"$stderr")" -eq 1 ]
    [[ $stderr == *'Warning: and the step'* ]]
    hook validating v /note
    config_map d
    noted() { jq -ce 'select(.objectRef.name == "d") | .annotations["v.acme.io/reason"] == "because"' "$HOOK/audit.log"; }
    wait_for 5 noted
}

@test "failurePolicy decides when nobody answers, or lies" {
    CLIENT="{url: 'https://127.0.0.1:$(free_port)/x'}" hook validating v /x
    run config_map c
    [ "$status" -ne 0 ]
    [[ $output == *'Error from server (InternalError): '*'Internal error occurred: failed calling webhook "v.acme.io": failed to call webhook: Post "https://127.0.0.1:'*'/x?timeout=10s": dial tcp 127.0.0.1:'*': connect: connection refused'* ]]
    CLIENT="{url: 'https://127.0.0.1:$(free_port)/x'}" hook validating v /x "failurePolicy: Ignore"
    config_map c
    open() { jq -ce 'select(.objectRef.name == "c") | .annotations["failed-open.validating.webhook.admission.k8s.io/round_0_index_0"] == "v.acme.io"' "$HOOK/audit.log" | grep true; }
    wait_for 5 open
    [ "$(metric fail_open_count 'name="v.acme.io"')" -ge 1 ]
    for lie in liar text drop moved huge 500; do
        hook validating v /$lie
        run config_map "d-$lie"
        [ "$status" -ne 0 ]
        [[ $output == *'Internal error occurred: failed calling webhook "v.acme.io": '* ]]
        hook validating v /$lie "failurePolicy: Ignore"
        config_map "d-$lie"
    done
    hook mutating m /invalid "failurePolicy: Ignore"
    run config_map e
    [[ $output == *'is invalid: metadata.labels: Invalid value: "no label value"'* ]]
}

@test "certificates are checked by the bundle" {
    CLIENT="{url: 'https://127.0.0.1:$(cat "$HOOK/port")/allow', caBundle: $(base64 -w0 "$HOOK/other.crt")}" hook validating v /
    run config_map c
    [[ $output == *'tls: failed to verify certificate: x509: certificate signed by unknown authority'* ]]
    CLIENT="{url: 'https://127.0.0.1:$(cat "$HOOK/port")/allow'}" hook validating v /
    run config_map c
    [[ $output == *'x509: certificate signed by unknown authority'* ]]
    [ "$(n_asked)" -eq 0 ]
}

@test "a webhook that hangs holds its own calls for its own time" {
    hook validating v /hang "timeoutSeconds: 1"
    config_map c >"$HOOK/held" 2>&1 3>&- &
    held=$!
    wait_for 5 test -s "$HOOK/calls"
    kubectl create configmap other
    kubectl delete configmap other
    if wait "$held"; then return 1; fi
    contains '/hang?timeout=1s": context deadline exceeded' cat "$HOOK/held"
}

@test "a dry run asks and writes nothing" {
    hook mutating m /label
    equals yes config_map c --dry-run=server -o jsonpath='{.metadata.labels.hooked}'
    run ! kubectl get configmap c
    equals "true [\"All\"]" asked '"\(.request.dryRun) \(.request.options.dryRun | tojson)"'
}

@test "selectors and conditions choose" {
    hook validating v /deny "matchConditions: [{name: a, expression: 'object.metadata.name.startsWith(\"x\")'}, {name: b, expression: 'request.userInfo.username == \"kubernetes-admin\" && authorizer.group(\"\").resource(\"pods\").namespace(\"default\").check(\"get\").allowed()'}]"
    config_map c
    run config_map x1
    [ "$status" -ne 0 ]
    kubectl create configmap x2
    kubectl delete configmap x2
    [ "$(n_asked)" -eq 1 ]
    hook validating v /deny "matchConditions: [{name: a, expression: 'object.data.none == \"x\"'}]"
    run config_map why
    [[ $output == *'no such key: none'* ]]
    run hook validating v /deny "matchConditions: [{name: a, expression: 'no'}]"
    [[ $output == *"webhooks[0].matchConditions[0].expression: Invalid value: \"no\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'no'"* ]]
    run hook mutating v /deny "matchConditions: [{name: a, expression: '1'}, {name: b, expression: 'params == null'}]"
    [[ $output == *'webhooks[0].matchConditions[0].expression: Invalid value: "1": must evaluate to bool'*'webhooks[0].matchConditions[1].expression'* ]]
    kubectl create namespace quiet
    hook validating v /deny "namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [quiet]}]}"
    config_map z -n quiet
    run config_map z
    [ "$status" -ne 0 ]
    kubectl delete namespace quiet --wait=false
}

@test "webhooks are asked again when others changed the object" {
    hook mutating a /count "reinvocationPolicy: IfNeeded"
    hook mutating b /label
    config_map c
    equals 2 kubectl get configmap c -o jsonpath='{.metadata.labels.count}'
    equals "/count /label /count" echo $(asked .path)
}

@test "updates, patches and applies: old and new are told" {
    config_map c
    RULE='{operations: [UPDATE], apiGroups: ["*"], apiVersions: ["*"], resources: ["configmaps"]}' hook mutating m /count
    kubectl patch configmap c -p '{"data":{"a":"c"}}'
    equals "UPDATE b c PatchOptions" asked '"\(.request.operation) \(.request.oldObject.data.a) \(.request.object.data.a) \(.request.options.kind)"'
    equals 1 kubectl get configmap c -o jsonpath='{.metadata.labels.count}'
    kubectl get configmap c -o json | jq '.data.a = "d"' | kubectl replace -f -
    equals 2 kubectl get configmap c -o jsonpath='{.metadata.labels.count}'
    kubectl get configmap c -o json | jq 'del(.metadata.managedFields) | .metadata |= {name, namespace, labels: {t: "1"}} | .data.a = "e"' |
        kubectl apply --server-side --force-conflicts -f -
    equals "3 e" kubectl get configmap c -o jsonpath='{.metadata.labels.count} {.data.a}'
}

@test "patches that meet each other while a webhook thinks are all kept" {
    config_map c
    RULE='{operations: [UPDATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}' hook validating v /slow
    pids=
    for i in 1 2 3; do
        kubectl patch configmap c -p "{\"data\":{\"k$i\":\"$i\"}}" 3>&- &
        pids="$pids $!"
    done
    for p in $pids; do wait "$p"; done
    equals "1 2 3" kubectl get configmap c -o jsonpath='{.data.k1} {.data.k2} {.data.k3}'
}

@test "deletes, of one and of many" {
    RULE='{operations: [DELETE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}' hook validating v /deny
    config_map c
    run kubectl delete configmap c
    [[ $output == *'denied the request: c is not wanted'* ]]
    equals "null ConfigMap DeleteOptions" asked '"\(.request.object) \(.request.oldObject.kind) \(.request.options.kind)"'
    all="https://127.0.0.1:$DAVIT_PORT/api/v1/namespaces/default/configmaps?labelSelector=t%3D1"
    config_map d
    curl -sk --cert "$HOOK/crt" --key "$HOOK/key" -X DELETE "$all" | jq -e '.code == 403 and (.message | contains("is not wanted"))'
    RULE='{operations: [DELETE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}' hook validating v /allow
    : >"$HOOK/calls"
    curl -sk --cert "$HOOK/crt" --key "$HOOK/key" -X DELETE "$all" | jq -e '.items | length == 2'
    equals "DELETE DELETE" echo $(asked .request.operation)
    run ! kubectl get configmap c
}

@test "subresources and connections" {
    kubectl create deployment d --image=x:1
    kubectl label deployment d t=1
    SELECTOR='{}' RULE='{operations: [UPDATE], apiGroups: [apps], apiVersions: [v1], resources: [deployments/scale]}' hook mutating m /three
    kubectl scale deployment d --replicas=2
    equals 3 kubectl get deployment d -o jsonpath='{.spec.replicas}'
    equals "Scale deployments scale" asked '"\(.request.kind.kind) \(.request.resource.resource) \(.request.subResource)"'
    SELECTOR='{}' RULE='{operations: ["*"], apiGroups: [""], apiVersions: [v1], resources: [pods/exec, pods/status]}' hook validating v /deny
    kubectl run p --image=x:1 --restart=Never
    run kubectl exec p -- ls
    [[ $output == *'admission webhook "v.acme.io" denied the request: p is not wanted'* ]]
    run kubectl patch pod p --subresource=status -p '{"status":{"message":"m"}}'
    [[ $output == *'p is not wanted'* ]]
    equals "CONNECT PodExecOptions exec ls UPDATE Pod status null" echo $(jq -r 'select(.request.resource.resource == "pods" and
        .request.userInfo.username == "kubernetes-admin") | "\(.request.operation) \(.request.kind.kind) \(.request.subResource) \(.request.object.command // [null] | .[0])"' \
        "$HOOK/calls" | sort -u)
    kubectl delete validatingwebhookconfiguration v
    kubectl delete pod p --force --grace-period=0
    kubectl delete deployment d
}

@test "resizes, containers for debugging and bindings of pods, and what of them a webhook may change" {
    kubectl create -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {schedulerName: nobody, containers: [{name: c, image: x, resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}}]}
Y
    resize() { kubectl patch pod p --subresource resize --patch '{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"'"$1"'"}}}]}}' "${@:2}"; }
    SELECTOR='{}' RULE='{operations: ["*"], apiGroups: [""], apiVersions: [v1], resources: [pods]}' hook validating none /deny
    SELECTOR='{}' RULE='{operations: ["*"], apiGroups: [""], apiVersions: [v1], resources: [pods/resize, pods/binding, pods/ephemeralcontainers]}' hook validating v /deny
    run resize 300m
    [[ $output == *'admission webhook "v.acme.io" denied the request: p is not wanted'* ]]
    run resize 400m --dry-run=server
    [[ $output == *'p is not wanted'* ]]
    patched() { # SUBRESOURCE PATCH
        curl -s --cacert "$DAVIT_DIR/pki/ca.crt" --cert "$HOOK/crt" --key "$HOOK/key" -X PATCH -H 'Content-Type: application/strategic-merge-patch+json' \
            -d "$2" "https://127.0.0.1:$DAVIT_PORT/api/v1/namespaces/default/pods/p/$1"
    }
    bound() { printf '{"apiVersion":"v1","kind":"Binding","metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}}' | kubectl create --raw /api/v1/namespaces/default/pods/p/binding -f -; }
    contains 'p is not wanted' patched ephemeralcontainers '{"spec":{"ephemeralContainers":[{"name":"e","image":"x"}]}}'
    run bound
    [[ $output == *'p is not wanted'* ]]
    equals 'UPDATE Pod resize 300m 200m false|UPDATE Pod resize 400m 200m true|UPDATE Pod ephemeralcontainers e null false|CREATE Binding binding n null false|' \
        sh -c "jq -r '.request | \"\(.operation) \(.kind.kind) \(.subResource) \(if .subResource == \"resize\" then .object.spec.containers[0].resources.limits.cpu
        else .object.spec.ephemeralContainers[0].name? // .object.target.name end) \(if .subResource == \"resize\" then .oldObject.spec.containers[0].resources.limits.cpu else null end) \(.dryRun)\"' \
        '$HOOK/calls' | tr '\n' '|'"
    equals "200m " kubectl get pod p -o jsonpath='{.spec.containers[0].resources.limits.cpu} {.spec.nodeName}'
    kubectl delete validatingwebhookconfiguration none v
    # of a resize the resources count, of the others their own: all else of a patch is let be
    pod_hook() { SELECTOR='{}' RULE="{operations: ['*'], apiGroups: [''], apiVersions: [v1], resources: [pods/$1]}" hook mutating m "$2"; }
    pod_hook resize /cpu
    resize 300m
    pod_hook resize /image
    resize 350m
    equals "350m x" kubectl get pod p -o jsonpath='{.spec.containers[0].resources.limits.cpu} {.spec.containers[0].image}'
    pod_hook ephemeralcontainers /debugger
    patched ephemeralcontainers '{"spec":{"ephemeralContainers":[{"name":"e","image":"x"}]}}'
    equals "e other:1 " kubectl get pod p -o jsonpath='{.spec.ephemeralContainers[0].name} {.spec.ephemeralContainers[0].image} {.metadata.labels.hooked}'
    pod_hook binding /annotate
    bound
    equals "n by-a-hook" kubectl get pod p -o jsonpath='{.spec.nodeName} {.metadata.annotations.bound}'
    kubectl delete mutatingwebhookconfiguration m
    kubectl delete pod p --force --grace-period=0
}

@test "proxies of pods, services and nodes are connections" {
    RULE='{operations: [CONNECT], apiGroups: [""], apiVersions: [v1], resources: [pods/proxy, services/proxy, nodes/proxy]}'
    SELECTOR='{}' hook validating v /deny
    to() { kubectl get --raw "/api/v1/$1"; }
    for path in 'namespaces/default/pods/http:p:80/proxy/a%20b/c/?path=other&x=1' namespaces/default/services/s/proxy nodes/n/proxy/metrics; do
        run to "$path"
        [[ $output == *'Forbidden'*'admission webhook "v.acme.io" denied the request: '*' is not wanted'* ]]
    done
    run kubectl create --raw /api/v1/namespaces/default/pods/p/proxy/ -f /dev/null
    [[ $output == *'p is not wanted'* ]]
    equals 'CONNECT PodProxyOptions v1 pods proxy http:p:80 default "/a b/c/"|CONNECT ServiceProxyOptions v1 services proxy s default null|CONNECT NodeProxyOptions v1 nodes proxy n null "/metrics"|CONNECT PodProxyOptions v1 pods proxy p default "/"|' \
        sh -c "jq -r '.request | \"\(.operation) \(.kind.kind) \(.kind.version) \(.resource.resource) \(.subResource) \(.name) \(.namespace) \(.object.path | tojson)\"' '$HOOK/calls' | tr '\n' '|'"
    denied() { jq -ce 'select(.objectRef.subresource == "proxy" and .objectRef.name == "s" and .stage == "ResponseComplete") | .responseStatus.code == 403' "$HOOK/audit.log" | tail -n 1 | grep true; }
    wait_for 5 denied
    # a webhook that lets it pass, and one that would change where it goes
    SELECTOR='{}' hook validating v /note
    run to namespaces/default/pods/p/proxy/
    [[ $output == *'pods "p" not found'* ]]
    noted() { jq -ce 'select(.objectRef.subresource == "proxy" and .objectRef.name == "p") | .annotations["v.acme.io/reason"] == "because"' "$HOOK/audit.log" | grep true; }
    wait_for 5 noted
    kubectl delete validatingwebhookconfiguration v
    SELECTOR='{}' hook mutating m /path
    run to namespaces/default/pods/p/proxy/
    [[ $output == *'admission webhook "m.acme.io" attempted to modify the object, which is not supported for this operation'* ]]
}

@test "custom kinds, in the version the webhook knows" {
    kubectl create -f - <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boxes.acme.io}
spec:
  group: acme.io
  scope: Namespaced
  names: {plural: boxes, kind: Box}
  versions:
  - {name: v1, served: true, storage: true, schema: &s {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}
  - {name: v2, served: true, storage: false, schema: *s}
Y
    wait_for 10 kubectl get boxes.v2.acme.io
    RULE='{operations: [CREATE], apiGroups: [acme.io], apiVersions: [v1], resources: [boxes]}' hook validating v /size
    RULE='{operations: [CREATE], apiGroups: [acme.io], apiVersions: [v1], resources: [boxes]}' hook mutating m /label "matchPolicy: Exact"
    box() { printf 'apiVersion: acme.io/%s\nkind: Box\nmetadata: {name: b%s, labels: {t: "1"}}\nspec: {size: %s}\n' "$1" "$2" "$2" | kubectl create -f -; }
    box v1 1
    equals yes kubectl get box b1 -o jsonpath='{.metadata.labels.hooked}'
    : >"$HOOK/calls"
    box v2 2
    equals "/size v1 acme.io/v1 v2" asked '"\(.path) \(.request.kind.version) \(.request.object.apiVersion) \(.request.requestKind.version)"'
    run box v2 20
    [[ $output == *'20 is too large'* ]]
    kubectl delete crd boxes.acme.io
}

@test "webhooks behind Services" {
    kubectl create service externalname hook --external-name localhost
    CLIENT="{service: {namespace: default, name: hook, path: /label, port: $(cat "$HOOK/port")}, caBundle: $(base64 -w0 "$HOOK/tls.crt")}" hook mutating m /
    config_map c
    equals yes kubectl get configmap c -o jsonpath='{.metadata.labels.hooked}'
    kubectl delete service hook
    run config_map d
    [[ $output == *'failed to call webhook: Post "https://hook.default.svc:'*'/label?timeout=10s": service "hook" not found'* ]]
    address=$(ip -4 -o addr show scope global | awk '{sub("/.*", "", $4); print $4; exit}')
    kubectl create service clusterip hook --tcp="$(cat "$HOOK/port"):1"
    kubectl patch service hook --type json -p '[{"op":"remove","path":"/spec/selector"}]'
    run config_map d
    [[ $output == *'no endpoints available for service "hook"'* ]]
    [ -n "$address" ] || skip "this host has no address but loopback"
    kubectl create -f - <<Y
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: hook-1, labels: {kubernetes.io/service-name: hook}}
addressType: IPv4
endpoints: [{addresses: [$address], conditions: {ready: true}}]
ports: [{name: "$(kubectl get service hook -o jsonpath='{.spec.ports[0].name}')", port: $(cat "$HOOK/port"), protocol: TCP}]
Y
    config_map d
    equals yes kubectl get configmap d -o jsonpath='{.metadata.labels.hooked}'
    kubectl delete service hook
    kubectl delete endpointslice hook-1
}

@test "nobody is asked about webhook configurations" {
    SELECTOR='{}' RULE='{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*/*"]}' hook validating v /deny
    run kubectl create namespace n
    [ "$status" -ne 0 ]
    equals yes kubectl auth can-i get pods
    kubectl delete validatingwebhookconfiguration v
    kubectl create namespace n
    kubectl delete namespace n --wait=false
}

@test "a configuration goes while a call waits for it" {
    hook validating v /hang
    config_map c >"$HOOK/held" 2>&1 3>&- &
    held=$!
    wait_for 5 test -s "$HOOK/calls"
    kubectl delete validatingwebhookconfiguration v
    touch "$HOOK/go"
    wait "$held"
    kubectl get configmap c
}

@test "the server ends, and is killed, while calls wait" {
    hook validating v /hang "timeoutSeconds: 30"
    config_map c >"$HOOK/held" 2>&1 3>&- &
    held=$!
    wait_for 5 test -s "$HOOK/calls"
    server_end TERM
    if wait "$held"; then return 1; fi
    contains "the server is shutting down" cat "$HOOK/held"
    serve
    : >"$HOOK/calls"
    config_map c >"$HOOK/held" 2>&1 3>&- &
    held=$!
    wait_for 5 test -s "$HOOK/calls"
    server_end KILL
    if wait "$held"; then return 1; fi
    serve
    run ! kubectl get configmap c
    touch "$HOOK/go"
    config_map c
}
