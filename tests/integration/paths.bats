#!/usr/bin/env bats
# Paths: what nobody serves is forbidden to who may not ask for it, and not found by who may; watches by their old prefix.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    printf '%s\n' 'apiVersion: audit.k8s.io/v1' 'kind: Policy' 'rules: [{level: Metadata}]' >"$DAVIT_DIR.policy"
    server_start --audit-policy-file "$DAVIT_DIR.policy" --audit-log-path "$DAVIT_DIR.audit"
    kubectl create serviceaccount bob
    kubectl create serviceaccount all
    kubectl create rolebinding bob --clusterrole=view --serviceaccount=default:bob
    kubectl create clusterrolebinding all --clusterrole=cluster-admin --serviceaccount=default:all
    kubectl create role one --verb=watch --resource=secrets --resource-name=mine
    kubectl create rolebinding one --role=one --serviceaccount=default:bob
    BOB=$(kubectl create token bob) ALL=$(kubectl create token all)
    export BOB ALL
}

teardown_file() {
    server_end
    server_remove
}

api() { # TOKEN PATH [curl options]; TOKEN -: nobody
    local token=$1 path=$2
    shift 2
    [ "$token" != - ] && set -- "$@" -H "Authorization: Bearer $token"
    curl -sS --max-time 20 -k "https://127.0.0.1:$DAVIT_PORT$path" "$@"
}
code() { api "$@" -o /dev/null -w '%{http_code}'; }
told() { jq -es "any(.[]; $1)" "$DAVIT_DIR.audit"; }

@test "an unknown group, resource, subresource or path: 403 for who has no rights, 404 for who has" {
    local path
    for path in /apis/acme.io/v1/gears /api/v1/gears /api/v1/namespaces/default/pods/web/gears /api/v1/pods/web /gears /api/v1/watch; do
        equals 403 code "$BOB" "$path"
        equals 403 code - "$path"
        equals 404 code "$ALL" "$path"
    done
    contains 'gears.acme.io \"g\" is forbidden: User \"system:serviceaccount:default:bob\" cannot delete resource \"gears\" in API group \"acme.io\" in the namespace \"n\"' \
        api "$BOB" /apis/acme.io/v1/namespaces/n/gears/g -X DELETE
    contains '"details":{"name":"g","group":"acme.io","kind":"gears"}' api "$BOB" /apis/acme.io/v1/namespaces/n/gears/g
    contains 'forbidden: User \"system:anonymous\" cannot get path \"/gears\"' api - /gears
    equals 404 code "$BOB" /apis/acme.io/v1 # he may look what there is
    equals 403 code - /apis/acme.io/v1
    equals 200 code - /version
    equals 401 code nonsense /gears
    equals '404 page not found' api "$ALL" /apis/acme.io/v1/gears
    contains 'could not find the requested resource' api "$ALL" /api/v1/gears
    wait_for 10 told '.verb == "delete" and .objectRef.resource == "gears" and .objectRef.apiGroup == "acme.io" and .responseStatus.code == 403'
    wait_for 10 told '.requestURI == "/apis/acme.io/v1/gears" and .verb == "list" and .responseStatus.code == 404 and .annotations["authorization.k8s.io/decision"] == "allow"'
}

@test "a method that does not fit: 403, then 405" {
    equals 403 code "$BOB" /api/v1/pods -X POST -d '{}'
    equals 405 code "$ALL" /api/v1/pods -X POST -d '{}'
    equals 403 code "$BOB" /api/v1/namespaces/default/pods -X PUT -d '{}'
    equals 405 code "$ALL" /api/v1/namespaces/default/pods -X PUT -d '{}'
    equals 403 code "$BOB" /version -X POST -d '{}'
    equals 405 code "$ALL" /version -X POST -d '{}'
    equals 404 code "$ALL" /gears -X POST -d '{}'
    contains 'cannot post path \"/version\"' api "$BOB" /version -X POST -d '{}'
    equals 405 code "$ALL" /api/v1/watch/pods -X POST -d '{}'
    equals 200 code "$ALL" /api/v1/pods # the connection of an early answer is none the worse
}

@test "impersonation and what nobody serves" {
    contains 'User \"joe\" cannot list resource \"gears\"' api "$ALL" /apis/acme.io/v1/gears -H 'Impersonate-User: joe'
    contains 'cannot impersonate resource \"users\"' api "$BOB" /apis/acme.io/v1/gears -H 'Impersonate-User: joe'
}

watch() { api "$1" "$2?timeoutSeconds=1${3:+&$3}"; }
seen() { jq -r '.type + " " + .object.kind + " " + .object.metadata.name'; }

@test "a watch by the prefix: of all, of a namespace, of one object" {
    kubectl create configmap one
    kubectl create configmap two
    kubectl create namespace other
    kubectl create configmap one -n other
    equals 'ADDED ConfigMap one' seen < <(watch "$BOB" /api/v1/watch/namespaces/default/configmaps/one)
    contains 'ADDED ConfigMap two' seen < <(watch "$BOB" /api/v1/watch/namespaces/default/configmaps watch=false)
    equals 2 grep -c 'ConfigMap one' < <(watch "$ALL" /api/v1/watch/configmaps | seen)
    equals 'ADDED Namespace other' seen < <(watch "$ALL" /api/v1/watch/namespaces/other)
    contains 'ADDED Namespace default' seen < <(watch "$ALL" /api/v1/watch/namespaces)
    equals 403 code "$BOB" /api/v1/watch/configmaps
    equals 404 code "$ALL" /api/v1/watch/configmaps/one
    equals 404 code "$ALL" /api/v1/watch/namespaces/default/pods/one/log
    wait_for 10 told '.verb == "watch" and .stage == "ResponseStarted" and (.requestURI | startswith("/api/v1/watch/namespaces/default/configmaps/one")) and .objectRef.name == "one"'
}

@test "a watch of one object goes by resourceNames; changes and the end are told" {
    equals 403 code "$BOB" /api/v1/watch/namespaces/default/secrets
    equals 403 code "$BOB" /api/v1/watch/namespaces/default/secrets/other
    local events=$BATS_TEST_TMPDIR/events pid
    api "$BOB" '/api/v1/watch/namespaces/default/secrets/mine?timeoutSeconds=60' -N --max-time 60 >"$events" &
    pid=$!
    kubectl create secret generic mine --from-literal=a=b
    kubectl create secret generic other
    wait_for 20 grep -q ADDED "$events"
    kubectl label secret mine a=b
    kubectl delete secret mine
    wait_for 20 grep -q DELETED "$events"
    kill $pid
    wait $pid || true
    equals 'ADDED MODIFIED DELETED' sh -c "jq -r .type '$events' | xargs"
}

@test "a custom resource: not there, declared, watched by the prefix" {
    equals 404 code "$ALL" /apis/acme.io/v1/watch/gears
    kubectl create -f - <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.acme.io}
spec:
  group: acme.io
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear, listKind: GearList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
Y
    wait_for 10 kubectl get gears
    kubectl create -f - <<<'{"apiVersion":"acme.io/v1","kind":"Gear","metadata":{"name":"g"}}'
    equals 'ADDED Gear g' seen < <(watch "$ALL" /apis/acme.io/v1/watch/namespaces/default/gears/g)
    equals 403 code "$BOB" /apis/acme.io/v1/gears
    equals 404 code "$ALL" /apis/acme.io/v1/namespaces/default/gears/none
}
