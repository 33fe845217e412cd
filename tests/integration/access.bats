#!/usr/bin/env bats
# Who may: impersonation as kubectl uses it, and nobody in particular; what lies on the disk; and one client's flood that is
# not to be felt by others.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
    kubectl create rolebinding bob --clusterrole=edit --user=bob
    kubectl create rolebinding vic --clusterrole=view --user=vic
    kubectl create -f - <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: boss}
rules: [{apiGroups: [""], resources: [users, groups], resourceNames: [bob, devs], verbs: [impersonate]}]
Y
    kubectl run box --image=davit.local/busybox:1 -- sleep 3600
    kubectl wait --for=condition=Ready pod/box --timeout=90s
}

teardown_file() {
    davit_stop
}

teardown() {
    [ -z "${pid:-}" ] || { kill "$pid" 2>/dev/null && wait "$pid" || true; }
}

api() { # PATH [curl options]: without credentials
    local path=$1
    shift
    curl -sS --max-time 60 -k "https://127.0.0.1:$DAVIT_PORT$path" "$@"
}

@test "kubectl --as: another user, his groups, an account; what he may and what he is told" {
    contains 'Username    bob' kubectl auth whoami --as bob --as-uid 7 --as-group devs
    contains '[devs system:authenticated]' kubectl auth whoami --as bob --as-uid 7 --as-group devs
    contains '[system:serviceaccounts system:serviceaccounts:default system:authenticated]' \
        kubectl auth whoami --as system:serviceaccount:default:default
    equals yes kubectl auth can-i delete pods --as bob
    run -1 kubectl auth can-i delete pods --as bob -n kube-system
    equals pod/box kubectl get pods box -o name --as bob
    contains 'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "kube-system"' \
        kubectl get pods -n kube-system --as bob
    contains 'bindings' kubectl auth can-i --list --as bob
}

@test "only who may impersonate does: each part of an identity is asked for" {
    local token
    kubectl create serviceaccount ann
    kubectl create clusterrolebinding ann-sa --clusterrole=boss --serviceaccount=default:ann
    token=$(kubectl create token ann)
    who() { api /apis/authentication.k8s.io/v1/selfsubjectreviews -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
        -d '{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}' "$@"; }
    contains '"username":"bob","groups":["devs","system:authenticated"]' who -H 'Impersonate-User: bob' -H 'Impersonate-Group: devs'
    contains 'users \"joe\" is forbidden: User \"system:serviceaccount:default:ann\" cannot impersonate resource \"users\"' \
        who -H 'Impersonate-User: joe'
    contains 'groups \"system:masters\" is forbidden' who -H 'Impersonate-User: bob' -H 'Impersonate-Group: system:masters'
    contains 'userextras.authentication.k8s.io \"view\" is forbidden' who -H 'Impersonate-User: bob' -H 'Impersonate-Extra-Scopes: view'
    contains '"code":400' who -H 'Impersonate-Group: devs'
    contains '"username":"system:serviceaccount:default:ann"' who
}

@test "watch, log and exec as another user" {
    equals hello kubectl exec box --as bob -- echo hello
    contains 'cannot create resource "pods/exec"' kubectl exec box --as vic -- echo hello
    kubectl get pods -w --as bob --request-timeout=90s -o name >"$BATS_TEST_TMPDIR/watch" 2>&1 3>&- &
    pid=$!
    wait_for 30 grep -q pod/box "$BATS_TEST_TMPDIR/watch"
    kubectl label pod box seen=yes
    wait_for 30 sh -c "[ \$(grep -c pod/box '$BATS_TEST_TMPDIR/watch') -ge 2 ]"
    contains 'User "joe" cannot list resource "pods"' kubectl get pods -w --as joe --request-timeout=60s
    contains 'pods "box" is forbidden: User "joe" cannot get resource "pods"' kubectl logs box --as joe
}

@test "reviews: a token for other audiences, rights of others" {
    local token
    token=$(kubectl create token default --audience=vault --audience=shop)
    review() { kubectl create -o jsonpath='{.status.authenticated} {.status.audiences} {.status.user.username} {.status.error}' -f - <<<"kind: TokenReview
apiVersion: authentication.k8s.io/v1
spec: {token: $token$1}"; }
    equals 'true ["vault"] system:serviceaccount:default:default ' review ', audiences: [vault, other]'
    contains '   invalid bearer token' review ', audiences: [other]' # and without any it is for this API
    contains '   invalid bearer token' review ''
    access() { kubectl create -o jsonpath='{.status.allowed}' -f - <<<"kind: $1
apiVersion: authorization.k8s.io/v1
metadata: {$2}
spec: {user: bob, resourceAttributes: {verb: delete, resource: pods, namespace: default}}"; }
    equals true access SubjectAccessReview ''
    equals true access LocalSubjectAccessReview 'namespace: default'
    contains 'must be empty' access SubjectAccessReview 'name: x'
    contains 'must be empty except for namespace' access LocalSubjectAccessReview 'namespace: default, labels: {a: b}'
    asked() { kubectl create -f - <<<"kind: $1
apiVersion: authorization.k8s.io/v1
metadata: {${3:-}}
spec: {$2}"; }
    contains 'spec.resourceAttributes.namespace: Invalid value: "": must match metadata.namespace' \
        asked LocalSubjectAccessReview 'user: bob, resourceAttributes: {verb: get, resource: pods}' 'namespace: default'
    contains 'spec.user: Invalid value: "": at least one of user or group must be specified' asked SubjectAccessReview 'resourceAttributes: {verb: get}'
    contains 'spec.resourceAttributes: Invalid value: "null": exactly one of' asked SubjectAccessReview 'user: bob'
    contains 'requirements: Required value: when spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required' \
        asked SubjectAccessReview 'user: bob, resourceAttributes: {verb: list, labelSelector: {}}'
    contains 'fieldSelector.requirements[0].values: Required value: must be specified when `operator` is' \
        asked SelfSubjectAccessReview 'resourceAttributes: {verb: list, fieldSelector: {requirements: [{key: a, operator: In}]}}'
}

claims() { cut -d. -f2 | tr _- /+ | sed 's/$/==/' | base64 -d 2>/dev/null; }

@test "tokens tell what they are bound to, and what they are" {
    local token node
    node=$(kubectl get node node1 -o jsonpath='{.metadata.uid}')
    who() { api /apis/authentication.k8s.io/v1/selfsubjectreviews -H "Authorization: Bearer $1" -H 'Content-Type: application/json' -d '{}'; }
    token=$(kubectl create token default --bound-object-kind=Node --bound-object-name=node1)
    equals "[\"node1\",\"$node\"]" sh -c "$(declare -f claims); echo $token | claims | jq -c '[.[\"kubernetes.io\"].node | .name, .uid]'"
    contains "\"authentication.kubernetes.io/node-uid\":[\"$node\"]" who "$token"
    contains "\"authentication.kubernetes.io/credential-id\":[\"JTI=$(echo "$token" | claims | jq -r .jti)\"]" who "$token"
    token=$(kubectl create token default --bound-object-kind=Pod --bound-object-name=box)
    contains '"authentication.kubernetes.io/pod-name":["box"]' who "$token"
    contains '"authentication.kubernetes.io/node-name":["node1"]' who "$token"
    equals '["system:serviceaccounts","system:serviceaccounts:default","system:authenticated"]' \
        kubectl create -o jsonpath='{.status.user.groups}' -f - <<<"kind: TokenReview
apiVersion: authentication.k8s.io/v1
spec: {token: $token}"
    # a node that has gone takes its tokens along
    kubectl create -f - <<<'{"apiVersion":"v1","kind":"Node","metadata":{"name":"gone"}}'
    token=$(kubectl create token default --bound-object-kind=Node --bound-object-name=gone)
    contains '"username":"system:serviceaccount:default:default"' who "$token"
    kubectl delete node gone
    contains '"code":401' who "$token"
    contains 'serviceaccounts "nobody" not found' kubectl create token nobody
    contains 'cannot bind token to object of type /v1, Kind=ConfigMap' kubectl create --raw /api/v1/namespaces/default/serviceaccounts/default/token \
        -f - <<<'{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"boundObjectRef":{"kind":"ConfigMap","apiVersion":"v1","name":"x"}}}'
    contains 'may not specify a duration less than 10 minutes' kubectl create token default --duration 1m
    contains 'Warning: requested expiration of 172800 seconds shortened to 86400 seconds' kubectl create token default --duration 48h
    contains 'Operation cannot be fulfilled on Pod "box": the UID in the bound object reference (7)' \
        kubectl create token default --bound-object-kind=Pod --bound-object-name=box --bound-object-uid=7
    # an owner that is named twice counts once
    local uid
    uid=$(kubectl get pod box -o jsonpath='{.metadata.uid}')
    contains "duplicate UID(s) observed: $uid" kubectl create -f - <<<"apiVersion: v1
kind: ConfigMap
metadata: {name: owned, ownerReferences: [{apiVersion: v1, kind: Pod, name: box, uid: $uid}, {apiVersion: v1, kind: Pod, name: box, uid: $uid, controller: true}]}"
    equals "$uid" kubectl get configmap owned -o jsonpath='{.metadata.ownerReferences[*].uid}'
    # of a certificate: its digest
    contains "X509SHA256=$(sed -n 's/ *client-certificate-data: //p' "$KUBECONFIG" | base64 -d | openssl x509 -outform DER | sha256sum | cut -d' ' -f1)" kubectl auth whoami
}

@test "without credentials: version and health, nothing else; bad credentials are not nobody's" {
    local path
    for path in /version /healthz /livez /readyz; do
        equals 200 api "$path" -o /dev/null -w '%{http_code}'
    done
    for path in / /api /apis /openapi/v2 /metrics /api/v1/namespaces; do
        equals 403 api "$path" -o /dev/null -w '%{http_code}'
    done
    contains 'forbidden: User \"system:anonymous\" cannot get path \"/metrics\"' api /metrics
    contains 'secrets is forbidden: User \"system:anonymous\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\"' \
        api /api/v1/namespaces/default/secrets
    contains '"message":"Unauthorized","reason":"Unauthorized","code":401' api /version -H 'Authorization: Bearer no-such'
    contains 'users \"admin\" is forbidden: User \"system:anonymous\" cannot impersonate' api /api -H 'Impersonate-User: admin'
}

# ---- what lies on the disk ----

serve() { # DIR [options]: a server alone
    local d=$1
    shift
    : >"$d.out"
    "$DAVIT" server --data-dir "$d" --listen "127.0.0.1:$port" "$@" >"$d.out" 2>"$d.log" 3>&- &
    pid=$!
    wait_for 20 grep -q '^ready' "$d.out" || { cat "$d.log"; return 1; }
    export KUBECONFIG=$d/admin.kubeconfig
}

ended() { # [signal]
    kill "${1:--TERM}" "$pid"
    wait "$pid" 2>/dev/null || true
    pid=
}

secret_of() { kubectl get secret "$1" -o jsonpath='{.data.k}' | base64 -d; }

# DIR WORD: in no file of it, as it is or as the API writes it.
is_nowhere() {
    ! grep -raqe "$2" -e "$(printf %s "$2" | base64)" "$1"
}

@test "no Secret is readable on the disk: after a kill, a restart, a compaction, and for kinds that are named later" {
    local d=$BATS_TEST_TMPDIR/d port
    port=$(free_port)
    serve "$d"
    kubectl create secret generic one --from-literal=k=unmistakable-4711
    kubectl create configmap open --from-literal=k=readable-4711
    is_nowhere "$d" unmistakable-4711
    ended -KILL
    is_nowhere "$d" unmistakable-4711
    serve "$d"
    equals unmistakable-4711 secret_of one
    head -c 700000 /dev/urandom | base64 -w0 >"$BATS_TEST_TMPDIR/blob"
    for i in $(seq 10); do # a journal's worth, so that there is a checkpoint
        kubectl create configmap big --from-file="$BATS_TEST_TMPDIR/blob"
        kubectl delete configmap big
    done
    kubectl patch secret one -p "{\"stringData\":{\"k\":\"unmistakable-4712\"}}"
    ended
    is_nowhere "$d" unmistakable-471
    grep -raq readable-4711 "$d/store"
    serve "$d" --encrypt configmaps,crontabs.example.com
    equals readable-4711 kubectl get configmap open -o jsonpath='{.data.k}'
    kubectl create configmap later --from-literal=k=readable-4712
    wait_for 30 is_nowhere "$d" readable-471
    ended -KILL
    serve "$d" # what is sealed is read, whatever is to be sealed now
    equals readable-4712 kubectl get configmap later -o jsonpath='{.data.k}'
    equals unmistakable-4712 secret_of one
    ended
    run -2 "$DAVIT" server --data-dir "$d" --listen "127.0.0.1:$port" --encrypt secretz
    [[ $output == *'"secretz" is no kind'* ]]
}

@test "keys are added while the server runs, all is sealed anew with the newest at its next start, and then the older can go" {
    local d=$BATS_TEST_TMPDIR/d port sums
    port=$(free_port)
    serve "$d"
    kubectl create secret generic one --from-literal=k=unmistakable-4711
    cp "$d/pki/secrets.key" "$BATS_TEST_TMPDIR/first.key"
    "$DAVIT" keys rotate --data-dir "$d"
    kubectl create secret generic two --from-literal=k=unmistakable-4712
    equals 2 sh -c "'$DAVIT' keys ls --data-dir '$d' | wc -l"
    equals '600 64' stat -c '%a %s' "$d/pki/secrets.key"
    ended -KILL
    cp "$d/pki/secrets.key" "$BATS_TEST_TMPDIR/both.key"
    head -c 32 "$BATS_TEST_TMPDIR/both.key" >"$d/pki/secrets.key" # too early: nothing starts, nothing is lost
    sums=$(cd "$d" && sha256sum store/data.mdb store/journal.* pki/*)
    run -1 "$DAVIT" server --data-dir "$d" --listen "127.0.0.1:$port"
    [[ $output == *'is encrypted with a key that is missing. Nothing was changed'* ]]
    equals "$sums" sh -c "cd '$d' && sha256sum store/data.mdb store/journal.* pki/*"
    cp "$BATS_TEST_TMPDIR/both.key" "$d/pki/secrets.key"
    serve "$d"
    wait_for 30 grep -q 'records are now sealed with the key' "$d.log"
    ended -KILL
    head -c 32 "$BATS_TEST_TMPDIR/both.key" >"$d/pki/secrets.key"
    serve "$d"
    equals unmistakable-4711 secret_of one
    equals unmistakable-4712 secret_of two
    ended
    cp "$BATS_TEST_TMPDIR/first.key" "$d/pki/secrets.key" # a wrong key
    run -1 "$DAVIT" server --data-dir "$d" --listen "127.0.0.1:$port"
    [[ $output == *'the record of'*'secrets'*'is encrypted with a key that is missing'* ]]
    head -c 31 "$BATS_TEST_TMPDIR/first.key" >"$d/pki/secrets.key"
    run -1 "$DAVIT" server --data-dir "$d" --listen "127.0.0.1:$port"
    [[ $output == *'secrets.key is damaged'* ]]
}

# ---- priority and fairness ----

@test "who takes all seats and all places in his queue is refused more, and others come before those who wait for him" {
    local d=$BATS_TEST_TMPDIR/d port flood other words
    port=$(free_port)
    serve "$d" --local-node --node-name node1 --max-requests-inflight 20
    kubectl create serviceaccount flood
    kubectl create serviceaccount other
    kubectl create rolebinding view --clusterrole=view --serviceaccount=default:other
    flood=$(kubectl create token flood)
    other=$(kubectl create token other)
    "$BATS_TEST_DIRNAME/../lib/kubeconfig-pem" "$d/agent.kubeconfig" "$d/node"
    words=$(/usr/bin/python3 "$BATS_TEST_DIRNAME/flood.py" "$port" "$flood" "$other" 340 "$d/node.crt" "$d/node.key" \
        /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node1)
    echo "$words"
    [[ $words == *refused=27* && $words == *node=404* && $words == *early=0* && $words == *other=200* ]]
    [[ $words == *'before=313 after=313'* ]] # thirteen ran (four were borrowed), three hundred waited
    kubectl get --raw /metrics >"$BATS_TEST_TMPDIR/metrics" # as system:masters, at any time
    metric() { grep -F "apiserver_flowcontrol_$1{" "$BATS_TEST_TMPDIR/metrics" | grep -F "\"$2\"" | sed 's/.* //'; }
    [ "$(metric rejected_requests_total 'service-accounts",priority_level="workload-low",reason="queue-full' | head -1)" -ge 27 ]
    [ "$(metric dispatched_requests_total system-node-high)" -ge 1 ]
    [ "$(metric request_wait_duration_seconds_count service-accounts)" -ge 1 ]
    [ "$(metric nominal_limit_seats workload-low)" = 9 ]
    equals yes kubectl auth can-i list pods
}
