#!/usr/bin/env bats
# What goes over the wire besides the objects: forms of an answer (Accept), of a request (Content-Type, Content-Encoding),
# compression, and the heads every answer has.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    server_start
    "$BATS_TEST_DIRNAME/../lib/kubeconfig-pem" "$KUBECONFIG" "$DAVIT_DIR.pem"
    kubectl create configmap one --from-literal=a=b
}

teardown_file() { server_remove; }

M='g=meta.k8s.io'
CM=/api/v1/namespaces/default/configmaps

api() { # PATH [curl options]: as the administrator
    local path=$1
    shift
    curl -sS --max-time 20 -k --cert "$DAVIT_DIR.pem.crt" --key "$DAVIT_DIR.pem.key" "https://127.0.0.1:$DAVIT_PORT$path" "$@"
}

# "CODE TYPE" of an answer to Accept: $2.
got() { # PATH ACCEPT
    api "$1" -o /dev/null -w '%{http_code} %{content_type}' -H "Accept: $2"
}

@test "Accept: lists with q values, wildcards, what nobody has" {
    equals '200 application/json' got $CM/one 'text/html;q=0.9, application/json;q=0.2'
    equals '200 application/yaml' got $CM/one 'application/json;q=0.1, application/yaml;q=0.5'
    equals '200 application/yaml' got $CM/one '*/*, application/yaml'
    equals '200 application/json' got $CM/one '*/*'
    equals '200 application/vnd.kubernetes.protobuf' got $CM/one 'application/vnd.kubernetes.protobuf;stream=watch,application/json'
    equals '406 application/json' got $CM/one 'text/html'
    equals '406 application/json' got $CM/one 'application/json;stream=other'
    contains 'only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"' \
        api $CM/one -H 'Accept: image/png'
}

@test "Accept: tables and metadata alone, of both versions of their group" {
    contains '{"kind":"Table","apiVersion":"meta.k8s.io/v1",' api $CM -H "Accept: application/json;as=Table;$M;v=v1"
    contains '{"kind":"Table","apiVersion":"meta.k8s.io/v1beta1",' api $CM/one -H "Accept: application/json;as=Table;$M;v=v1beta1"
    contains 'kind: Table' api $CM/one -H "Accept: application/yaml;as=Table;$M;v=v1"
    equals '406 application/json' got $CM/one "application/json;as=Table;$M;v=v2"
    equals '406 application/json' got $CM/one "application/json;as=Table"
    equals '406 application/json' got $CM/one "application/vnd.kubernetes.protobuf;as=Table;$M;v=v1"
    equals '200 application/json' got $CM/one "application/vnd.kubernetes.protobuf;as=Table;$M;v=v1,application/json"
    contains '{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1beta1","metadata":{"name":"one",' \
        api $CM/one -H "Accept: application/json;as=PartialObjectMetadata;$M;v=v1beta1"
    contains '{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1",' \
        api $CM -H "Accept: application/json;as=PartialObjectMetadataList;$M;v=v1"
    contains 'you requested PartialObjectMetadata, but the requested object is a list (*v1.ConfigMapList)","reason":"NotAcceptable"' \
        api $CM -H "Accept: application/json;as=PartialObjectMetadata;$M;v=v1"
    contains 'you requested PartialObjectMetadataList, but the requested object is not a list (*v1.ConfigMap)' \
        api $CM/one -H "Accept: application/json;as=PartialObjectMetadataList;$M;v=v1"
    contains '"apiVersion":"meta.k8s.io/v1","metadata":{"name":"two"' api $CM -H "Accept: application/json;as=PartialObjectMetadata;$M;v=v1" \
        -H 'Content-Type: application/json' -d '{"metadata":{"name":"two"},"data":{"x":"y"}}'
}

@test "watches: stream=watch is understood, the type of the answer is Kubernetes', what cannot be cut is refused" {
    equals '200 application/json' got "$CM?watch=1&timeoutSeconds=1" 'application/json;stream=watch'
    equals '200 application/vnd.kubernetes.protobuf;stream=watch' got "$CM?watch=1&timeoutSeconds=1" \
        'application/vnd.kubernetes.protobuf;stream=watch, application/json'
    equals '200 application/vnd.kubernetes.protobuf;stream=watch' got "$CM?watch=1&timeoutSeconds=1" 'application/vnd.kubernetes.protobuf'
    contains 'only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"' \
        api "$CM?watch=1" -H 'Accept: application/yaml'
    contains '"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1beta1","metadata":{"name":"one"' \
        api "$CM?watch=1&timeoutSeconds=1" -H "Accept: application/json;as=PartialObjectMetadata;$M;v=v1beta1"
}

@test "pretty, by query or by Accept; the query has the last word" {
    contains $'{\n  "kind": "ConfigMap",' api "$CM/one?pretty=1"
    contains $'{\n  "kind": "ConfigMap",' api "$CM/one" -H 'Accept: application/json;pretty=1'
    contains '{"kind":"ConfigMap",' api "$CM/one?pretty=false" -H 'Accept: application/json;pretty=1'
    contains '{"kind":"ConfigMap",' api "$CM/one?pretty="
}

@test "every answer names itself and is not for caches; an id of the client's is taken over" {
    local h
    for path in /version $CM/one $CM/none /nowhere "$CM?watch=1&timeoutSeconds=1"; do
        h=$(api "$path" -o /dev/null -D - | tr -d '\r' | tr 'A-Z' 'a-z')
        grep -Eqx 'audit-id: [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' <<<"$h"
        grep -Fqx 'cache-control: no-cache, private' <<<"$h"
        grep -Eqx 'x-kubernetes-pf-flowschema-uid: [0-9a-f-]{36}' <<<"$h" || [ "$path" = /nowhere ]
        grep -Eq '^date: ' <<<"$h"
    done
    contains 'audit-id: mine-4711' api /version -o /dev/null -D - -H 'Audit-ID: mine-4711'
    h=$(api /version -o /dev/null -D - -H "Audit-ID: $(printf '%065d' 0)")
    [[ $h != *0000000000000000000000000000000000000* ]]
}

@test "gzip: bodies over 128 KiB for those who ask, once; small ones, and for others, as they are" {
    local h
    head -c 90000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/x"
    kubectl create configmap big --from-file="$BATS_TEST_TMPDIR/x"
    kubectl create configmap big2 --from-file="$BATS_TEST_TMPDIR/x"
    h=$(api $CM -o "$BATS_TEST_TMPDIR/z" -D - -H 'Accept-Encoding: br, gzip' | tr -d '\r' | tr 'A-Z' 'a-z')
    grep -Fqx 'content-encoding: gzip' <<<"$h"
    grep -Fqx 'vary: accept-encoding' <<<"$h"
    [ "$(stat -c %s "$BATS_TEST_TMPDIR/z")" -lt 20000 ]
    gzip -dc "$BATS_TEST_TMPDIR/z" | jq -e '[.items[].metadata.name] | contains(["big", "big2"])'
    h=$(api $CM/big -o /dev/null -D - -H 'Accept-Encoding: gzip' | tr 'A-Z' 'a-z')
    [[ $h != *content-encoding* ]]
    h=$(api $CM -o /dev/null -D - | tr 'A-Z' 'a-z')
    [[ $h != *content-encoding* ]]
    h=$(api $CM -o /dev/null -D - -H 'Accept-Encoding: gzip;q=0' | tr 'A-Z' 'a-z')
    [[ $h != *content-encoding* ]]
    h=$(api "$CM?watch=1&timeoutSeconds=1" -o /dev/null -D - -H 'Accept-Encoding: gzip' | tr 'A-Z' 'a-z')
    [[ $h != *content-encoding* ]]
    equals 4 sh -c "kubectl get configmaps -o name --disable-compression=false | grep -c -e one -e two -e big"
}

@test "bodies: unknown types and compressed ones are refused with what is known" {
    post() { api $CM -d '{"metadata":{"name":"three"}}' -H "Content-Type: $1"; }
    contains 'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf","reason":"UnsupportedMediaType"' \
        post text/plain
    contains 'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"' \
        api $CM/one -X PATCH -d '{}' -H 'Content-Type: application/json'
    contains '"name":"three"' post 'application/json; charset=utf-8'
    printf '{"metadata":{"name":"four"}}' | gzip >"$BATS_TEST_TMPDIR/body.gz" # as a Kubernetes server: not inflated
    equals 400 api $CM --data-binary "@$BATS_TEST_TMPDIR/body.gz" -H 'Content-Type: application/json' -H 'Content-Encoding: gzip' \
        -o /dev/null -w '%{http_code}'
}

# The decoder of the test is its own; a definition brings fields of a custom kind into both forms.
@test "OpenAPI v2 in protobuf: everything the JSON form tells, under both names, with an ETag" {
    kubectl apply -f - <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.content.example.com}
spec:
  group: content.example.com
  scope: Namespaced
  names: {plural: lamps, kind: Lamp}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [watts]
            properties:
              watts: {type: integer, minimum: 1, maximum: 60, default: 5, description: How bright.}
              colour: {type: string, pattern: '^[a-z]+$', enum: [red, blue]}
              tags: {type: array, items: {type: string}, x-kubernetes-list-type: set}
              more: {type: object, additionalProperties: {type: string}}
YAML
    kubectl wait --for=condition=established crd/lamps.content.example.com
    local v2=application/com.github.proto-openapi.spec.v2 etag
    wait_for 20 sh -c 'kubectl get --raw /openapi/v2 | grep -q com.example.content.v1.Lamp'
    api /openapi/v2 >"$DAVIT_DIR.v2.json"
    equals "200 $v2.v1.0+protobuf" api /openapi/v2 -H "Accept: $v2@v1.0+protobuf" -D "$DAVIT_DIR.v2.head" \
        -o "$DAVIT_DIR.v2.pb" -w '%{http_code} %{content_type}'
    contains ': the same' "$BATS_TEST_DIRNAME/openapi_pb.py" "$DAVIT_DIR.v2.json" "$DAVIT_DIR.v2.pb"
    api /openapi/v2 -H "Accept: $v2.v1.0+protobuf" | cmp - "$DAVIT_DIR.v2.pb"
    grep -q 'com.example.content.v1.Lamp' "$DAVIT_DIR.v2.pb"
    etag=$(sed -n 's/^etag: \(.*\)\r$/\1/Ip' "$DAVIT_DIR.v2.head")
    equals 304 api /openapi/v2 -H "Accept: $v2@v1.0+protobuf" -H "If-None-Match: $etag" -o /dev/null -w '%{http_code}'
    # made once for all who ask, and anew when a definition has come or gone
    made() { "$DAVIT" debug --data-dir "$DAVIT_DIR" | sed -n 's/^OpenAPI v2 as protobuf: .* KB kept, made \([0-9]*\) times$/\1/p'; }
    local n
    n=$(made)
    for _ in 1 2 3; do api /openapi/v2 -H "Accept: $v2.v1.0+protobuf" | cmp - "$DAVIT_DIR.v2.pb"; done
    equals "$n" made
    rm -f "$DAVIT_DIR".v2.*
    kubectl delete crd lamps.content.example.com
    no_lamps() { ! api /openapi/v2 -H "Accept: $v2.v1.0+protobuf" | grep -q com.example.content.v1.Lamp; }
    wait_for 20 no_lamps
    [ "$(made)" -gt "$n" ]
}

# What client-go of an operator does that speaks protobuf to all but its own kinds.
@test "definitions of custom resources in protobuf: read, written back, made anew" {
    local crds=/apis/apiextensions.k8s.io/v1/customresourcedefinitions pb=application/vnd.kubernetes.protobuf
    kubectl apply -f - <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bulbs.content.example.com}
spec:
  group: content.example.com
  scope: Namespaced
  names: {plural: bulbs, kind: Bulb}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              watts: {type: integer, maximum: 60, default: 5}
              tags: {type: array, items: {type: string}, x-kubernetes-list-type: set}
              more: {type: object, additionalProperties: {type: string}}
YAML
    kubectl wait --for=condition=established crd/bulbs.content.example.com
    kubectl get crd bulbs.content.example.com -o json | jq -S .spec >"$BATS_TEST_TMPDIR/before"
    equals "200 $pb" api $crds/bulbs.content.example.com -H "Accept: $pb" -o "$BATS_TEST_TMPDIR/crd.pb" -w '%{http_code} %{content_type}'
    equals 200 api $crds/bulbs.content.example.com -X PUT --data-binary "@$BATS_TEST_TMPDIR/crd.pb" -H "Content-Type: $pb" -H "Accept: $pb" \
        -o /dev/null -w '%{http_code}'
    kubectl get crd bulbs.content.example.com -o json | jq -S .spec | diff "$BATS_TEST_TMPDIR/before" -
    kubectl delete crd bulbs.content.example.com
    # metadata of a new one: its name alone
    (cd "$BATS_TEST_DIRNAME" && /usr/bin/python3 - "$BATS_TEST_TMPDIR/crd.pb" >"$BATS_TEST_TMPDIR/new.pb") <<'P'
import sys
from badwire import envelope, packed, parts
raw = {n: inner for n, _, inner in parts(open(sys.argv[1], "rb").read()[4:])}[2]
spec = {n: inner for n, _, inner in parts(raw)}[2]
assert b'"type"' not in spec and b"x-kubernetes" not in spec, "no JSON in it"
sys.stdout.buffer.write(envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", packed(1, packed(1, b"bulbs.content.example.com")) + packed(2, spec)))
P
    equals 201 api $crds --data-binary "@$BATS_TEST_TMPDIR/new.pb" -H "Content-Type: $pb" -o /dev/null -w '%{http_code}'
    kubectl get crd bulbs.content.example.com -o json | jq -S .spec | diff "$BATS_TEST_TMPDIR/before" -
    kubectl wait --for=condition=established crd/bulbs.content.example.com
    wait_for 20 kubectl apply -f - <<'YAML'
apiVersion: content.example.com/v1
kind: Bulb
metadata: {name: one}
spec: {tags: [a, b]}
YAML
    equals 5 kubectl get bulbs one -o 'jsonpath={.spec.watts}'
    contains 'bulbs.content.example.com' api "$crds" -H "Accept: $pb"
    kubectl delete crd bulbs.content.example.com
}
