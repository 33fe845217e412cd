#!/usr/bin/env bats
# Server-side apply of objects of custom kinds with kubectl and the JavaScript client. The server alone is enough.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    server_start
    definition | kubectl apply -f -
    kubectl wait --for condition=Established crd/gears.acme.io --timeout=20s
}

teardown_file() { server_remove; }

# [LINES of spec.properties of v1]: two versions, of which v1beta1 knows less of the same objects
definition() {
    local block='              block: {type: object, additionalProperties: {type: string}}'
    cat <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.acme.io}
spec:
  group: acme.io
  scope: Namespaced
  names: {plural: gears, kind: Gear}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size.count, statusReplicasPath: .status.count}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              color: {type: string, default: grey}
              size: {type: object, properties: {count: {type: integer}}}
              tags: {type: array, x-kubernetes-list-type: set, items: {type: string}}
              words: {type: array, items: {type: string}}
              ports:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [port, proto]
                items:
                  type: object
                  required: [port]
                  properties: {port: {type: integer}, proto: {type: string, default: TCP}, note: {type: string}}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
${1:-$block}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
  - name: v1beta1
    served: ${SERVED:-true}
    storage: false
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
Y
}

# NAME SPEC [VERSION]
gear() { printf 'apiVersion: acme.io/%s\nkind: Gear\nmetadata: {name: %s}\nspec: %s\n' "${3:-v1}" "$1" "$2"; }
# NAME MANAGER SPEC [OPTIONS...]
apply() { gear "$1" "$3" | kubectl apply --server-side --field-manager "$2" "${@:4}" -f -; }
# NAME: one line an entry, "manager operation subresource fields"
owners() {
    kubectl get "${2:-gear}" "$1" -o json --show-managed-fields |
        jq -r '.metadata.managedFields[]? | "\(.manager) \(.operation) \(.subresource // "-") \(.fieldsV1 | tojson)"'
}
spec() { kubectl get gear "$1" -o json | jq -cS .spec; }

@test "create by apply; defaults belong to nobody; the same again changes nothing" {
    apply a one '{tags: [x], words: [w]}'
    equals 'one Apply - {"f:spec":{"f:tags":{"v:\"x\"":{}},"f:words":{}}}' owners a
    equals '{"color":"grey","tags":["x"],"words":["w"]}' spec a
    before=$(kubectl get gear a -o jsonpath='{.metadata.resourceVersion}')
    sleep 1.1 # times have seconds
    apply a one '{tags: [x], words: [w]}'
    [ "$(kubectl get gear a -o jsonpath='{.metadata.resourceVersion}')" = "$before" ]
    kubectl get gear a -o yaml | { ! grep -q managedFields; }
    gear a2 '{tags: [z]}' | kubectl create --field-manager maker -f - # by create it owns the defaults too
    equals 'maker Update - {"f:spec":{".":{},"f:color":{},"f:tags":{".":{},"v:\"z\"":{}}}}' owners a2
}

@test "conflict, force, shared fields, removal" {
    apply b one '{color: red, free: {deep: {x: 1}}}'
    run -1 apply b two '{color: blue}'
    [[ $output == *'Apply failed with 1 conflict: conflict with "one": .spec.color'* ]]
    [[ $output == *--force-conflicts* ]]
    run -1 apply b two '{color: blue, free: {deep: {x: 2}}}'
    [[ $output == *'Apply failed with 2 conflicts: conflicts with "one":'*'- .spec.color'*'- .spec.free.deep.x'* ]]
    apply b two '{color: red, free: {deep: {w: 2}}}' # the same color: shared
    owners b | grep -qxF 'two Apply - {"f:spec":{"f:color":{},"f:free":{"f:deep":{".":{},"f:w":{}}}}}'
    apply b one '{}'
    equals '{"color":"red","free":{"deep":{"w":2}}}' spec b
    equals 'two Apply - {"f:spec":{"f:color":{},"f:free":{"f:deep":{".":{},"f:w":{}}}}}
one Apply - {"f:spec":{}}' bash -c "$(declare -f owners); owners b | sort -r"
    apply b three '{color: green}' --force-conflicts
    owners b | grep -qxF 'three Apply - {"f:spec":{"f:color":{}}}'
    owners b | { ! grep '^two.*f:color'; }
    apply b three '{}' # back to the default, which is nobody's
    equals '{"color":"grey","free":{"deep":{"w":2}}}' spec b
    run -1 apply b three '{colour: green}'
    [[ $output == *'failed to create typed patch object (default/b; acme.io/v1, Kind=Gear): .spec.colour: field not declared in schema'* ]]
}

@test "lists by key and sets are merged, others replaced" {
    apply c team '{ports: [{port: 1, note: a}, {port: 2}], tags: [p, q], words: [a, b]}'
    kubectl patch gear c --type json --field-manager side -p '[{"op":"add","path":"/spec/ports/-","value":{"port":2,"proto":"UDP"}},
        {"op":"add","path":"/spec/tags/-","value":"r"}]'
    owners c | grep -qxF 'side Update - {"f:spec":{"f:ports":{"k:{\"port\":2,\"proto\":\"UDP\"}":{".":{},"f:port":{},"f:proto":{}}},"f:tags":{"v:\"r\"":{}}}}'
    apply c team '{ports: [{port: 3}, {port: 1}], tags: [q], words: [c]}'
    equals '3/TCP 1/TCP 2/UDP ' kubectl get gear c -o jsonpath='{range .spec.ports[*]}{.port}/{.proto} {end}'
    equals '["q","r"]["c"]' kubectl get gear c -o jsonpath='{.spec.tags}{.spec.words}'
    [ -z "$(kubectl get gear c -o jsonpath='{.spec.ports[*].note}')" ]
    run -1 apply c team '{ports: [{port: 3}, {port: 3}]}'
    [[ $output == *'.spec.ports: duplicate entries for key [port=3,proto="TCP"]'* ]]
}

@test "status and scale have owners of their own" {
    apply d team '{size: {count: 1}}'
    printf 'apiVersion: acme.io/v1\nkind: Gear\nmetadata: {name: d, labels: {l: v}}\nspec: {size: {count: 5}}\nstatus: {count: 2, phase: {at: x}}\n' |
        kubectl apply --server-side --field-manager robot --subresource status -f -
    owners d | grep -qxF 'robot Apply status {"f:status":{"f:count":{},"f:phase":{".":{},"f:at":{}}}}'
    equals '1 2 ' kubectl get gear d -o jsonpath='{.spec.size.count} {.status.count} {.metadata.labels}'
    kubectl patch gear d --subresource status --type merge --field-manager hand -p '{"status":{"count":3}}'
    owners d | grep -qxF 'hand Update status {"f:status":{"f:count":{}}}'
    kubectl scale gear d --replicas 4
    owners d | grep -qxF 'kubectl Update scale {"f:spec":{"f:size":{"f:count":{}}}}'
    run -1 apply d team '{size: {count: 1}}'
    [[ $output == *'conflict with "kubectl" with subresource "scale" using acme.io/v1: .spec.size.count'* ]]
}

@test "from client-side apply, and kubectl diff" {
    gear e '{color: red, words: [a]}' | kubectl apply -f -
    gear e '{color: blue}' | kubectl apply --server-side -f -
    equals '{"color":"blue"}' spec e
    owners e | grep -q '^kubectl Apply - {"f:spec":{"f:color":{}}}$'
    owners e | { ! grep -q client-side; }
    run -1 bash -c "$(declare -f gear); gear e '{color: green}' | kubectl diff --server-side -f -"
    [[ $output == *'-  color: blue'*'+  color: green'* ]]
    gear e '{color: blue}' | kubectl diff --server-side -f -
    apply e2 x '{color: red}' --dry-run=server
    run -1 kubectl get gear e2
}

@test "two versions: what is owned in one is owned in the other, until it is served no more" {
    gear f '{color: red, free: {a: 1}}' v1beta1 | kubectl apply --server-side --field-manager old -f -
    equals 'old Apply - {"f:spec":{".":{},"f:color":{},"f:free":{".":{},"f:a":{}}}}' owners f
    run -1 apply f new '{color: blue}'
    [[ $output == *'conflict with "old": .spec.color'* ]]
    apply f new '{color: blue}' --force-conflicts
    owners f | grep -qxF 'old Apply - {"f:spec":{".":{},"f:free":{".":{},"f:a":{}}}}'
    gear f '{tags: [x]}' v1beta1 | kubectl apply --server-side --field-manager new -f - # its own, in another version
    equals '["x"]' kubectl get gear f -o jsonpath='{.spec.tags}'
    [ "$(kubectl get gear f -o jsonpath='{.spec.color}')" != blue ]
    [ "$(kubectl get gear f --show-managed-fields -o json | jq -r '[.metadata.managedFields[].apiVersion] | unique[]')" = acme.io/v1beta1 ]
    SERVED=false definition | kubectl apply -f -
    wait_for 10 bash -c "! kubectl get gears.v1beta1.acme.io f"
    apply f new '{color: blue}' --force-conflicts
    equals 'new Apply - {"f:spec":{"f:color":{}}}' owners f
    definition | kubectl apply -f -
}

@test "a schema that changes: what becomes one piece is owned as one" {
    apply g one '{block: {a: x}}'
    apply g two '{block: {b: w}}'
    definition '              block: {type: object, x-kubernetes-map-type: atomic, additionalProperties: {type: string}}' | kubectl apply -f -
    atomic() { kubectl get crd gears.acme.io -o json | jq -e '.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.block["x-kubernetes-map-type"] == "atomic"'; }
    wait_for 10 atomic
    run -1 apply g three '{block: {c: z}}'
    [[ $output == *'2 conflicts'*'"one":'*'- .spec.block'*'"two":'*'- .spec.block'* ]]
    apply g three '{block: {c: z}}' --force-conflicts
    equals 'three Apply - {"f:spec":{"f:block":{}}}' owners g
    equals '{"c":"z"}' kubectl get gear g -o jsonpath='{.spec.block}'
    definition | kubectl apply -f -
}

@test "entries a client sends: kept, reset, refused" {
    apply h one '{color: red}'
    kubectl patch gear h --type merge --field-manager m -p '{"metadata":{"managedFields":[{}]}}'
    [ -z "$(owners h)" ]
    apply h one '{words: [a]}' # somebody must own what is there
    owners h | grep -qxF 'before-first-apply Update - {"f:spec":{".":{},"f:color":{}}}'
    run -1 bash -c "printf 'apiVersion: acme.io/v1\nkind: Gear\nmetadata: {name: h, managedFields: []}\n' | kubectl apply --server-side -f -"
    [[ $output == *'metadata.managedFields must be nil'* ]]
}

@test "a program applies with the official client" {
    cd "$ROOT/tests/integration"
    [ -d node_modules/@kubernetes/client-node ] || npm ci --no-audit --no-fund >&2
    node apply_custom.client.mjs
}
