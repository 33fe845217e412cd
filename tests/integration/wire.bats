#!/usr/bin/env bats
# What a client sees of the wire when it asks in odd ways: values of queries, methods, names that are none, the forms of
# Status, dry runs, patches that do not fit, health checks, discovery.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    server_start
    mkdir "$DAVIT_DIR.c"
    kubectl config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' | base64 -d >"$DAVIT_DIR.c/crt"
    kubectl config view --raw -o 'jsonpath={.users[0].user.client-key-data}' | base64 -d >"$DAVIT_DIR.c/key"
    kubectl create configmap one --from-literal=a=b
    kubectl create configmap two
    kubectl create deployment web --image=i --replicas=0
}
teardown_file() { server_remove; }

api() { # PATH [curl options]
    local path=$1
    shift
    curl -sS --max-time 20 -k --cert "$DAVIT_DIR.c/crt" --key "$DAVIT_DIR.c/key" "https://127.0.0.1:$DAVIT_PORT$path" "$@"
}
code() { api "$@" -o /dev/null -w '%{http_code}'; }
head_of() { api "$@" -o /dev/null -D - | tr -d '\r'; }
is() { # JQ-EXPRESSION PATH [curl options]: true of the answer
    local what=$1 answer
    shift
    answer=$(api "$@")
    jq -e "$what" <<<"$answer" >/dev/null || { printf 'not %s of %s: %s\n' "$what" "$*" "$answer" >&2; return 1; }
}
CM=/api/v1/namespaces/default/configmaps
WEB=/apis/apps/v1/namespaces/default/deployments/web

@test "one object is read, whatever the query says of watching" {
    is '.kind == "ConfigMap" and .metadata.name == "one"' "$CM/one?watch=1&timeoutSeconds=1"
    is '.reason == "NotFound"' "$CM/none?watch=true&timeoutSeconds=1"
}

@test "booleans in a query: only 0 and false mean no; of an option twice the first counts" {
    local yes
    for yes in '' 1 true yes maybe; do
        is '.type == "ADDED" and .object.kind == "ConfigMap"' "$CM?watch=$yes&timeoutSeconds=1&fieldSelector=metadata.name%3Done"
    done
    for yes in 0 false FALSE; do
        is '.kind == "ConfigMapList"' "$CM?watch=$yes"
    done
    is '.items | length == 1' "$CM?limit=1&limit=2"
    is '.code == 422' "$CM?dryRun=All&dryRun=Some" -X POST -H 'Content-Type: application/json' -d '{"metadata":{"name":"x"}}'
    is '.message == "strconv.ParseInt: parsing \"abc\": invalid syntax" and .reason == "BadRequest"' "$CM?limit=abc"
    is '.message == "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"' "$CM?timeoutSeconds=9223372036854775808"
    is '.message == "strconv.ParseInt: parsing \"\": invalid syntax"' "$CM?limit="
}

@test "HEAD: paths outside the API have it, resources do not" {
    equals 200 code /healthz -I
    equals 200 code /apis -I
    equals 405 code "$CM/one" -I
    equals 405 code /api/v1 -I
    equals 405 code /version -I
}

@test "what nobody serves: a plain page where no part of the server has the path, else a Status" {
    local path
    for path in /gears /apis/acme.io /apis/acme.io/v1/gears /readyz/none; do
        equals '404 page not found' api "$path"
        contains 'x-content-type-options: nosniff' head_of "$path"
    done
    for path in /api/v2 /apis/apps/v9 /apis/apps/v1/gears /api/v1/gears /version/x "$CM/one/gears"; do
        is '.kind == "Status" and .reason == "NotFound" and .details == {}' "$path"
    done
    is '.reason == "MethodNotAllowed" and .details == {}' "$CM/one" -X POST
    is '.reason == "BadRequest" and .message == "Name parameter invalid: \"a%b\": may not contain '"'%'"'" and (has("details") | not)' "$CM/a%25b"
    is '.reason == "BadRequest" and .message == "Name parameter invalid: \"..\": may not be '"'..'"'"' "$CM/%2e%2e" -X DELETE
}

@test "details are told of what is about an object; options are named by their type" {
    is '.reason == "UnsupportedMediaType" and (has("details") | not)' "$CM" -X POST -H 'Content-Type: text/plain' -d x
    is '.details == {name: "none", kind: "configmaps"}' "$CM/none"
    is '.details.group == "meta.k8s.io" and .details.kind == "ListOptions" and .details.causes[0].field == "resourceVersionMatch"' "$CM?resourceVersionMatch=Exact"
    is '.code == 422 and .details.kind == "CreateOptions" and (.message | endswith("fieldValidation: Unsupported value: \"Some\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""))' \
        "$CM?fieldValidation=Some" -X POST -H 'Content-Type: application/json' -d '{"metadata":{"name":"x"}}'
    is '.code == 422 and .details.kind == "DeleteOptions" and .details.causes[0].field == "dryRun"' "$CM/one?dryRun=Some" -X DELETE
    is '.code == 422 and .details.kind == "DeleteOptions" and .details.causes[0].reason == "FieldValueNotSupported"' "$CM/one?propagationPolicy=Some" -X DELETE
    is '.code == 422 and .details.causes[0].message == "Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set"' \
        "$CM/one?propagationPolicy=Orphan&orphanDependents=true" -X DELETE
    is '.message | startswith("invalid continue token: ")' "$CM?continue=x"
    is '.code == 413 and .message == "Request entity too large: limit is 3145728"' "$CM" --http1.1 -X POST -H 'Content-Type: application/json' -H 'Content-Length: 3145729' -d x
}

@test "a revision from the future: clients know it by its cause" {
    local want='.code == 504 and .reason == "Timeout" and (.message | startswith("Timeout: Too large resource version: 99999999, current: ")) and
        .details == {causes: [{reason: "ResourceVersionTooLarge", message: "Too large resource version"}], retryAfterSeconds: 1}'
    is "$want" "$CM?resourceVersion=99999999"
    is "$want" "$CM/one?resourceVersion=99999999"
    contains 'retry-after: 1' head_of "$CM?resourceVersion=99999999"
    is ".type == \"ERROR\" and (.object | $want)" "$CM?watch=1&timeoutSeconds=1&resourceVersion=99999999"
}

@test "who may read one object may list and watch that one by its name" {
    kubectl create role one --verb=get,list,watch --resource=configmaps --resource-name=one
    kubectl create rolebinding one --role=one --user=joe
    kubectl create role all --verb=list --resource=namespaces
    kubectl create rolebinding all --role=all --user=joe
    local joe='Impersonate-User: joe'
    is '.items | length == 1 and .[0].metadata.name == "one"' "$CM?fieldSelector=metadata.name%3Done" -H "$joe"
    is '.type == "ADDED"' "$CM?fieldSelector=metadata.name%3Done&watch=1&timeoutSeconds=1" -H "$joe"
    is '.code == 403 and .details.name == "two" and (.message | startswith("configmaps \"two\" is forbidden: "))' "$CM?fieldSelector=metadata.name%3D%3Dtwo" -H "$joe"
    equals 403 code "$CM" -H "$joe"
    equals 403 code "$CM?fieldSelector=metadata.name!%3Done" -H "$joe"
    equals 403 code "/api/v1/namespaces?fieldSelector=metadata.name%3Ddefault" -H "$joe"
    contains one kubectl get configmap one --watch --request-timeout=1s --as joe
}

@test "a delete says what is wrong with its options before it looks for the object" {
    local json='Content-Type: application/json'
    is '.code == 422 and .details.causes[0].message == "Unsupported value: [\"Some\"]: supported values: \"All\""' "$CM/none" -X DELETE -H "$json" -d '{"dryRun":["Some"]}'
    is '.code == 422' "$CM/none?propagationPolicy=Some" -X DELETE
    is '.code == 422' "$CM?labelSelector=none&propagationPolicy=Some" -X DELETE
    is '.code == 409 and (.message | contains("ResourceVersion in precondition: x, ResourceVersion in object meta: "))' "$CM/one" -X DELETE -H "$json" -d '{"preconditions":{"resourceVersion":"x"}}'
    equals 200 code "$CM/one" # still there
}

@test "names of updates and patches are those of the path" {
    is '.code == 400 and .message == "the name of the object (one based on URL) was undeterminable: name must be provided"' "$CM/one" -X PUT -H 'Content-Type: application/json' -d '{}'
    is '.code == 400 and .message == "the name of the object (x) does not match the name on the URL (one)"' "$CM/one" -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{"metadata":{"name":"x"}}'
    is '.code == 400 and (.message | contains("undeterminable"))' "$CM/one" -X PATCH -H 'Content-Type: application/json-patch+json' -d '[{"op":"remove","path":"/metadata/name"}]'
}

@test "warnings: what an Ingress and a PersistentVolume should not say any more, and keys of maps that come twice" {
    contains "warning: 299 - \"annotation \\\"kubernetes.io/ingress.class\\\" is deprecated, please use 'spec.ingressClassName' instead\"" \
        head_of '/apis/networking.k8s.io/v1/namespaces/default/ingresses?dryRun=All' -H 'Content-Type: application/json' \
        -d '{"metadata":{"name":"x","annotations":{"kubernetes.io/ingress.class":"y"}},"spec":{"defaultBackend":{"service":{"name":"a","port":{"number":1}}}}}'
    contains 'spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.' \
        head_of '/api/v1/persistentvolumes?dryRun=All' -H 'Content-Type: application/json' \
        -d '{"metadata":{"name":"x"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"persistentVolumeReclaimPolicy":"Recycle","hostPath":{"path":"/x"}}}'
    is '.message | endswith("strict decoding error: duplicate field \"data.a\", duplicate field \"data.a\"")' "$CM?fieldValidation=Strict" \
        -H 'Content-Type: application/json' -d '{"metadata":{"name":"x"},"data":{"a":"1","b":"2","a":"3","a":"4"}}'
}

@test "a dry run tells the revision of what is there; kubectl diff shows what would change, no more" {
    local rv
    rv=$(kubectl get configmap one -o 'jsonpath={.metadata.resourceVersion}')
    is ".metadata.resourceVersion == \"$rv\" and .data.a == \"c\"" "$CM/one?dryRun=All" -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{"data":{"a":"c"}}'
    is ".metadata.resourceVersion == \"$rv\"" "$CM/one?dryRun=All" -X PUT -H 'Content-Type: application/json' -d '{"metadata":{"name":"one"}}'
    is '.metadata | has("resourceVersion") | not' "$CM?dryRun=All" -X POST -H 'Content-Type: application/json' -d '{"metadata":{"name":"x"}}'
    rv=$(kubectl get deployment web -o 'jsonpath={.metadata.resourceVersion}')
    is ".kind == \"Scale\" and .metadata.resourceVersion == \"$rv\" and .spec.replicas == 3" "$WEB/scale?dryRun=All" -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{"spec":{"replicas":3}}'
    kubectl get configmap one -o json | jq '.data.a = "new"' >"$BATS_TEST_TMPDIR/one.json"
    equals '-  a: b,+  a: new' sh -c "kubectl diff -f '$BATS_TEST_TMPDIR/one.json' 2>/dev/null | grep '^[-+] ' | grep -v last-applied | paste -sd,"
}

@test "a patch whose result does not fit the type is invalid, and shown" {
    local json='Content-Type: application/json-patch+json' strategic='Content-Type: application/strategic-merge-patch+json' merge='Content-Type: application/merge-patch+json'
    is '.code == 422 and .reason == "Invalid" and .details.causes[0].field == "patch" and (.details | has("kind") | not) and
        (.message | startswith(" \"\" is invalid: patch: Invalid value: \"map[spec:map[paused:true replicas:x template:map[spec:map[containers:[map[image:<nil> name:i]]]]]]\": json: cannot unmarshal string"))' \
        "$WEB" -X PATCH -H "$strategic" -d '{"spec":{"template":{"spec":{"containers":[{"name":"i","image":null}]}},"replicas":"x","paused":true}}'
    is '.code == 422 and (.details.causes[0].message | startswith("Invalid value: \"{\\\"kind\\\":\\\"ConfigMap\\\""))' "$CM/one" -X PATCH -H "$json" -d '[{"op":"add","path":"/data/x","value":1}]'
    is '.code == 422 and (.message | endswith("strict decoding error: unknown field \"spec.x\""))' "$WEB?fieldValidation=Strict" -X PATCH -H "$merge" -d '{"spec":{"x":1}}'
    is '.code == 422 and .details.causes[0].field == "spec.replicas"' "$WEB" -X PATCH -H "$merge" -d '{"spec":{"replicas":-1}}'
    contains 'The request is invalid: patch: Invalid value: "map[data:map[a:1]]"' kubectl patch configmap one -p '{"data":{"a":1}}'
}

@test "items of a list do not repeat its kind, those of custom kinds do" {
    is '.kind == "ConfigMapList" and (.items | length > 1) and all(.items[]; (has("kind") or has("apiVersion") | not) and (.metadata | has("name")))' "$CM"
    is '.type == "ADDED" and .object.kind == "ConfigMap"' "$CM?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Done"
    contains 'kind: ConfigMap' kubectl get configmaps -o yaml
    kubectl apply -f - <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.acme.io}
spec:
  group: acme.io
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
Y
    kubectl wait --for=condition=Established crd/gears.acme.io
    kubectl create -f - <<<'{"apiVersion":"acme.io/v1","kind":"Gear","metadata":{"name":"g"}}'
    is '.items[0].kind == "Gear" and .items[0].apiVersion == "acme.io/v1"' /apis/acme.io/v1/gears
    is '.metadata.resourceVersion as $r | ($r | tonumber) > 0 and .teeth == 7' "/apis/acme.io/v1/namespaces/default/gears/g?dryRun=All" -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{"teeth":7}'
}

@test "health: checks by name, all of them, without some" {
    contains '[+]etcd ok' api '/livez?verbose'
    contains '[+]informer-sync ok' api '/readyz?verbose'
    equals ok api /livez/etcd
    equals ok api /readyz/poststarthook/rbac/bootstrap-roles
    contains '[+]etcd excluded: ok' api '/readyz?verbose&exclude=etcd'
    contains 'warn: some health checks cannot be excluded: no matches for "x","y"' api '/readyz?verbose&exclude=x&exclude=y'
    contains 'readyz check passed' api '/readyz?verbose&exclude=x'
    equals ok api '/readyz?exclude=etcd'
}

@test "discovery: storage hashes, where the server is, refusals; OpenAPI by hash" {
    is '.kind == "APIVersions" and (has("apiVersion") | not) and .serverAddressByClientCIDRs == [{clientCIDR: "0.0.0.0/0", serverAddress: "127.0.0.1:'"$DAVIT_PORT"'"}]' /api
    is '(.resources[] | select(.name == "pods") | .storageVersionHash) == "xPOwRZ+Yhw8=" and (.resources[] | select(.name == "pods/exec") | has("version") | not)' /api/v1
    is '.resources[0].storageVersionHash == "qwQve8ut294="' /apis/autoscaling/v1
    is '(.resources[] | select(.name == "services") | .verbs | index("deletecollection")) != null' /api/v1
    equals 406 code /apis -H 'Accept: text/html'
    equals 200 code /apis -H 'Accept: text/html, */*;q=0.1'
    equals 406 code /api -H 'Accept: application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList'
    contains 'kind: APIGroupList' api /apis -H 'Accept: application/yaml'
    is 'all(.items[]; .metadata | has("creationTimestamp") | not)' /apis -H 'Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
    local url
    url=$(api /openapi/v3 | jq -r '.paths["apis/apps/v1"].serverRelativeURL')
    contains 'cache-control: public, immutable' head_of "$url"
    contains 'expires: ' head_of "$url"
    contains 'cache-control: no-cache, private' head_of /openapi/v3/apis/apps/v1
    equals 301 code '/openapi/v3/apis/apps/v1?hash=0'
    contains "location: $url" head_of '/openapi/v3/apis/apps/v1?hash=0'
}

@test "a Scale as a table; services are deleted together, and their addresses are free again" {
    contains 'web    0         0' kubectl get deployment web --subresource=scale
    is '.kind == "Table" and .rows[0].object.kind == "PartialObjectMetadata" and .rows[0].cells[1] == 0' "$WEB/scale" -H 'Accept: application/json;as=Table;v=v1;g=meta.k8s.io'
    kubectl create service clusterip one --tcp=80 --clusterip=10.96.7.7
    kubectl label service one these=go
    is '.kind == "ServiceList" and .items[0].spec.clusterIP == "10.96.7.7"' '/api/v1/namespaces/default/services?labelSelector=these%3Dgo' -X DELETE
    kubectl create service clusterip other --tcp=80 --clusterip=10.96.7.7
}
