#!/usr/bin/env bats
# Custom resources, driven by kubectl and curl: declared, served, restarted, killed, cleaned up. The server alone is enough.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    server_start
}

teardown_file() { server_remove; }

api() { # curl arguments...: as the administrator
    local dir=$BATS_FILE_TMPDIR
    [ -f "$dir/key" ] || {
        kubectl config view --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d >"$dir/crt"
        kubectl config view --raw -o jsonpath='{.users[0].user.client-key-data}' | base64 -d >"$dir/key"
    }
    curl -sk --max-time 30 --cert "$dir/crt" --key "$dir/key" "${@:1:$#-1}" "https://127.0.0.1:$DAVIT_PORT${*: -1}"
}

# PLURAL KIND SCOPE [EXTRA of the version]: a definition in the group acme.io
definition() {
    cat <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: $1.acme.io}
spec:
  group: acme.io
  scope: $3
  names: {plural: $1, kind: $2, shortNames: [${1:0:2}], categories: [all, acme]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    selectableFields: [{jsonPath: .spec.color}]
    additionalPrinterColumns:
    - {name: Color, type: string, jsonPath: .spec.color}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status', priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        description: A $2 turns.
        properties:
          spec:
            type: object
            description: What is wanted.
            properties:
              color: {type: string, enum: [red, blue], default: red, description: How it looks.}
              replicas: {type: integer, minimum: 0, maximum: 10, default: 1}
              name: {type: string, pattern: '^[a-z]+\$', maxLength: 5}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
${4:-}
Y
}

object() { # KIND NAME [SPEC]
    printf 'apiVersion: acme.io/v1\nkind: %s\nmetadata: {name: %s}\nspec: {%s}\n' "$1" "$2" "${3:-}"
}

@test "a definition is served as soon as it is there" {
    before=$(api -o /dev/null -w '%{http_code}' /apis/acme.io/v1)
    [ "$before" = 404 ]
    etag=$(api -I -H 'Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' /apis | grep -i ^etag)
    definition gears Gear Namespaced | kubectl apply -f -
    object Gear one | kubectl apply -f -
    equals "True True" kubectl get crd gears.acme.io -o jsonpath='{.status.conditions[*].status}'
    equals '["v1"]' kubectl get crd gears.acme.io -o jsonpath='{.status.storedVersions}'
    [ "$etag" != "$(api -I -H 'Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' /apis | grep -i ^etag)" ]
    contains gears kubectl api-resources --api-group acme.io
    contains "How it looks." kubectl explain gear.spec.color
    contains "A Gear turns." kubectl explain gear
    equals "red 1" kubectl get ge one -o jsonpath='{.spec.color} {.spec.replicas}'
    contains "gear.acme.io/one" kubectl get all -o name
    contains "gear.acme.io/one" kubectl get acme -o name
}

@test "columns, field and label selectors, watch, metadata alone" {
    object Gear two "color: blue, replicas: 3" | kubectl apply -f -
    kubectl patch gear two --subresource status --type merge -p '{"status":{"replicas":2,"selector":"a=b","conditions":[{"type":"Ready","status":"True"}]}}'
    equals "NAME COLOR REPLICAS READY one red 1 two blue 3 True" sh -c 'kubectl get ge -o wide | xargs'
    equals "gear.acme.io/two" kubectl get ge --field-selector spec.color=blue -o name
    kubectl label gear one side=left
    equals "gear.acme.io/one" kubectl get ge -l side=left -o name
    equals "one" sh -c 'kubectl get ge one -o yaml | sed -n "s/^  name: //p"'
    timeout 60 kubectl get ge -w -o name >"$BATS_TEST_TMPDIR/w" 3>&- &
    wait_for 30 grep -q two "$BATS_TEST_TMPDIR/w"
    object Gear three | kubectl create -f -
    wait_for 30 grep -q three "$BATS_TEST_TMPDIR/w"
    kill %1
    as='application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'
    contains '"kind":"PartialObjectMetadataList"' api -H "Accept: $as" /apis/acme.io/v1/namespaces/default/gears
    equals 406 api -o /dev/null -w '%{http_code}' -H 'Accept: application/vnd.kubernetes.protobuf' /apis/acme.io/v1/gears
    equals 415 api -o /dev/null -w '%{http_code}' -X POST -H 'Content-Type: application/vnd.kubernetes.protobuf' -d x /apis/acme.io/v1/namespaces/default/gears
    contains "Gear in version \\\"v1\\\" cannot be handled as a Gear: Object 'Kind' is missing in '{" \
        api -X POST -H 'Content-Type: application/json' -d '{"apiVersion":"acme.io/v1","metadata":{"name":"x"}}' /apis/acme.io/v1/namespaces/default/gears
    equals 415 api -o /dev/null -w '%{http_code}' -X PATCH -H 'Content-Type: application/strategic-merge-patch+json' -d '{}' /apis/acme.io/v1/namespaces/default/gears/one
    kubectl patch gear one --type json -p '[{"op":"replace","path":"/spec/replicas","value":4}]'
    equals 4 kubectl get gear one -o jsonpath='{.spec.replicas}'
}

@test "columns whose path nobody can follow do not keep a kind from being served" {
    definition odds Odd Namespaced | sed 's/jsonPath: .spec.replicas}/jsonPath: ".spec["}/' | kubectl apply -f -
    object Odd one | kubectl create -f -
    equals "NAME AGE one" sh -c 'kubectl get odds | sed "s/ *[0-9]*s$//" | xargs'
    run ! kubectl apply -f - <<<"$(definition odds Odd Namespaced | sed 's/type: integer, jsonPath/type: thing, jsonPath/')"
    [[ $output == *'spec.additionalPrinterColumns[1].type: Invalid value: "thing": must be one of boolean,date,integer,number,string'* ]]
    kubectl delete crd odds.acme.io
}

@test "a status the schema has a default for is there from the beginning" {
    definition begins Begin Namespaced | sed 's/^          status: .*/          status: {type: object, default: {phase: New}, properties: {phase: {type: string}, count: {type: integer, default: 3}}}/' | kubectl apply -f -
    printf 'apiVersion: acme.io/v1\nkind: Begin\nmetadata: {name: a}\nstatus: {phase: Old}\n' | kubectl create -f -
    equals '{"count":3,"phase":"New"}' kubectl get begin a -o jsonpath='{.status}'
    printf 'apiVersion: acme.io/v1\nkind: Begin\nmetadata: {name: b}\nspec: {color: blue}\n' | kubectl apply --server-side -f -
    equals 'blue {"count":3,"phase":"New"}' kubectl get begin b -o jsonpath='{.spec.color} {.status}'
    kubectl patch begin b --subresource status --type merge -p '{"status":{"phase":"Ready"}}'
    equals '{"count":3,"phase":"Ready"}' kubectl get begin b -o jsonpath='{.status}'
    kubectl delete crd begins.acme.io
}

@test "the schema is kept: unknown fields, rules, status and generation" {
    run ! kubectl create -f - <<<"$(object Gear bad 'wrong: 1')"
    [[ $output == *'strict decoding error: unknown field "spec.wrong"'* ]]
    contains 'Warning: unknown field "spec.wrong"' kubectl create --dry-run=server --validate=warn -f - <<<"$(object Gear bad 'wrong: 1')"
    run ! kubectl create -f - <<<"$(object Gear bad 'color: pink, replicas: 11, name: A')"
    [[ $output == *'spec.color: Unsupported value: "pink": supported values: "red", "blue"'* ]]
    [[ $output == *'spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10'* ]]
    [[ $output == *"spec.name: Invalid value: \"A\": spec.name in body should match '^[a-z]+\$'"* ]]
    # null where null is no value is none: a default comes, or nothing
    kubectl create -f - <<<"$(object Gear empty 'color: null, name: null')"
    equals '{"color":"red","replicas":1}' kubectl get gear empty -o jsonpath='{.spec}'
    kubectl patch gear empty --type json -p '[{"op":"add","path":"/spec/name","value":null},{"op":"replace","path":"/spec/replicas","value":null}]'
    equals '{"color":"red","replicas":1}' kubectl get gear empty -o jsonpath='{.spec}'
    kubectl delete gear empty
    equals 1 kubectl get gear two -o jsonpath='{.metadata.generation}'
    kubectl patch gear two --type merge -p '{"spec":{"replicas":5},"status":{"replicas":9}}'
    equals "2 5 2" kubectl get gear two -o jsonpath='{.metadata.generation} {.spec.replicas} {.status.replicas}'
    kubectl scale gear two --replicas 6
    equals "6 3" kubectl get gear two -o jsonpath='{.spec.replicas} {.metadata.generation}'
    equals "6 2 a=b" kubectl get gear two --subresource scale -o jsonpath='{.spec.replicas} {.status.replicas} {.status.selector}'
}

ruled() { # RULE of the spec, RULE of its replicas
    definition caps Cap Namespaced | sed "s/^            description: What is wanted./&\n            x-kubernetes-validations: [{rule: '$1', messageExpression: '\"at most \" + string(self.replicas)'}]/" |
        sed "s/default: 1}/default: 1, x-kubernetes-validations: [{rule: '$2', message: never fewer, reason: FieldValueForbidden}]}/"
}

@test "rules in CEL hold for definitions, objects and changes, also after a restart" {
    run ! kubectl create -f - <<<"$(ruled 'self.replica < 5' 'self >= oldSelf')"
    [[ $output == *'spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value'*'compilation failed: ERROR: <input>:1:5: undefined field'* ]]
    ruled 'self.replicas < 5 || self.color == "blue"' 'self >= oldSelf' | kubectl create -f -
    run ! kubectl create -f - <<<"$(object Cap a 'replicas: 5')"
    [[ $output == *'spec: Invalid value: at most 5'* ]]
    object Cap a 'replicas: 5, color: blue' | kubectl create -f -
    server_end KILL
    server_start
    run ! kubectl patch cap a --type merge -p '{"spec":{"replicas":4}}'
    [[ $output == *'spec.replicas: Forbidden: never fewer'* ]]
    run ! kubectl scale cap a --replicas 4
    run ! kubectl patch cap a --type merge -p '{"spec":{"color":"red"}}'
    kubectl patch cap a --type merge -p '{"spec":{"replicas":6}}'
    equals "6 blue" kubectl get cap a -o jsonpath='{.spec.replicas} {.spec.color}'
    kubectl delete crd caps.acme.io
}

# SCHEMA of spec SCHEMA of status
strict() {
    definition pawls Pawl Namespaced | sed "s/^      openAPIV3Schema:.*//; /^        type: object/,\$d" >"$BATS_TEST_TMPDIR/head"
    {
        cat "$BATS_TEST_TMPDIR/head"
        echo "      openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: $1}, status: {type: object, properties: $2}}}"
    } | kubectl apply -f - >/dev/null
    kubectl wait --for=condition=Established --timeout=20s crd/pawls.acme.io >/dev/null
}

@test "what a stricter schema finds wrong is let be where nobody changes it" {
    strict '{color: {type: string}, replicas: {type: integer}, tag: {type: string}, ports: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, required: [k], properties: {k: {type: integer}, p: {type: string}}}}}' '{a: {type: integer}, b: {type: integer}}'
    kubectl apply -f - <<'Y'
apiVersion: acme.io/v1
kind: Pawl
metadata: {name: p}
spec: {color: pink, replicas: 50, ports: [{k: 1, p: x}, {k: 3, p: yy}]}
Y
    kubectl patch pawl p --subresource status --type merge -p '{"status":{"a":9}}'
    strict '{color: {type: string, enum: [red], x-kubernetes-validations: [{rule: "self != \"pink\"", message: never pink}]}, replicas: {type: integer, maximum: 9}, tag: {type: string}, ports: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, required: [k], properties: {k: {type: integer, multipleOf: 2}, p: {type: string, maxLength: 1}}}}}' '{a: {type: integer, maximum: 5}, b: {type: integer, maximum: 5}}'
    run kubectl patch pawl p --type merge -p '{"spec":{"tag":"t"}}'
    [ "$status" = 0 ]
    [[ $output == *'Warning: spec.color: Invalid value: "pink": never pink'* ]]
    run kubectl patch pawl p --type merge -p '{"spec":{"ports":[{"k":3,"p":"yy"},{"k":1,"p":"x"},{"k":4,"p":"x"}]}}'
    [ "$status" = 0 ]
    run kubectl patch pawl p --type merge -p '{"spec":{"replicas":51}}'
    [ "$status" = 1 ]
    [[ $output == *'spec.replicas: Invalid value: 51'* && $output != *'Unsupported value'* ]]
    run kubectl patch pawl p --type merge -p '{"spec":{"ports":[{"k":5,"p":"x"}]}}'
    [ "$status" = 1 ]
    [[ $output == *'spec.ports[0].k'* ]]
    kubectl get pawl p -o json | jq '.spec.tag = "put"' | kubectl replace -f -
    kubectl apply --server-side --field-manager other -f - <<'Y'
apiVersion: acme.io/v1
kind: Pawl
metadata: {name: p}
spec: {tag: put}
Y
    # no replicas, no Scale
    kubectl patch pawl p --type merge -p '{"spec":{"replicas":null}}'
    contains 'the spec replicas field ".spec.replicas" does not exist' kubectl get --raw /apis/acme.io/v1/namespaces/default/pawls/p/scale
    kubectl scale pawl p --replicas 3
    [[ $(kubectl get --raw /apis/acme.io/v1/namespaces/default/pawls/p/scale) == *'"replicas":3'* ]]
    # of the status, only the status counts
    kubectl patch pawl p --subresource status --type merge -p '{"status":{"b":1}}'
    run kubectl patch pawl p --subresource status --type merge -p '{"status":{"a":8}}'
    [ "$status" = 1 ]
    [[ $output == *'status.a'* && $output != *spec.replicas* ]]
    run kubectl create -f - <<<'{"apiVersion": "acme.io/v1", "kind": "Pawl", "metadata": {"name": "q"}, "spec": {"color": "pink"}}'
    [ "$status" = 1 ]
    [[ $output == *'supported values: "red"'* ]]
    kubectl delete crd pawls.acme.io
}

@test "everything is back after the server was killed" {
    server_end KILL
    server_start
    equals "gear.acme.io/one gear.acme.io/three gear.acme.io/two" sh -c 'kubectl get ge -o name | sort | xargs'
    kubectl patch gear one --type merge -p '{"spec":{"replicas":2}}'
    server_end KILL
    server_start
    equals 2 kubectl get gear one -o jsonpath='{.spec.replicas}'
    contains "A Gear turns." kubectl explain gear
}

@test "a new default and a new version reach the objects there are" {
    more='              weight: {type: integer, default: 12}'
    definition gears Gear Namespaced | sed "s/^              name:.*/&\n$more/" | kubectl apply -f -
    equals 12 kubectl get gear one -o jsonpath='{.spec.weight}'
    definition gears Gear Namespaced '  - name: v2
    served: true
    storage: false
    deprecated: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}' | kubectl apply -f -
    contains 'acme.io/v2' api /apis/acme.io/v2/namespaces/default/gears/one
    contains 'warning: 299 - "acme.io/v2 Gear is deprecated"' api -i /apis/acme.io/v2/namespaces/default/gears/one
    contains '"apiVersion":"acme.io/v1"' api /apis/acme.io/v1/namespaces/default/gears/one
    definition gears Gear Namespaced '  - name: v2
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}' |
        sed '0,/storage: true/s//storage: false/' | kubectl apply -f -
    equals '["v1","v2"]' kubectl get crd gears.acme.io -o jsonpath='{.status.storedVersions}'
    run ! kubectl apply -f - <<<"$(definition gears Gear Namespaced)"
    [[ $output == *'status.storedVersions[1]: Invalid value: "v2": missing from spec.versions'* ]]
}

@test "objects own and are owned" {
    uid=$(kubectl get gear one -o jsonpath='{.metadata.uid}')
    owner="ownerReferences: [{apiVersion: acme.io/v1, kind: Gear, name: one, uid: $uid}]"
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned, %s}\n' "$owner" | kubectl create -f -
    uid=$(kubectl get cm owned -o jsonpath='{.metadata.uid}')
    object Gear last | sed "s/name: last/name: last, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owned, uid: $uid}]/" | kubectl create -f -
    kubectl delete gear one
    wait_for 30 sh -c '! kubectl get cm owned'
    wait_for 30 sh -c '! kubectl get gear last'
    kubectl create namespace gone
    object Gear inside | kubectl -n gone create -f -
    kubectl delete namespace gone --timeout 60s
    run ! kubectl -n gone get gear inside
}

@test "who may do what with them is RBAC's matter" {
    kubectl create role gears --verb get,list --resource gears.acme.io
    kubectl create rolebinding gears --role gears --user jo
    equals yes kubectl auth can-i list gears.acme.io --as jo
    contains two kubectl get gears --as jo
    run ! kubectl delete gear two --as jo
    [[ $output == *'cannot delete resource "gears" in API group "acme.io"'* ]]
}

@test "names are nobody else's" {
    definition gearbox Gear Cluster | kubectl apply -f -
    equals "False False" kubectl get crd gearbox.acme.io -o jsonpath='{.status.conditions[*].status}'
    contains '"gear" is already in use' kubectl get crd gearbox.acme.io -o jsonpath='{.status.conditions[0].message}'
    equals 404 api -o /dev/null -w '%{http_code}' /apis/acme.io/v1/gearbox
    kubectl delete crd gears.acme.io
    wait_for 30 sh -c '[ "$(kubectl get crd gearbox.acme.io -o jsonpath="{.status.conditions[*].status}")" = "True True" ]'
    # kubectl remembers where Gear was
    object Gear wide | api -H 'Content-Type: application/yaml' --data-binary @- /apis/acme.io/v1/gearbox
    contains wide kubectl get gearbox
    kubectl delete crd gearbox.acme.io
}

@test "deletion takes the objects along and waits for those that are held" {
    definition nuts Nut Namespaced | kubectl apply -f -
    object Nut a | kubectl create -f -
    object Nut b | sed 's/name: b/name: b, finalizers: [acme.io\/hold]/' | kubectl create -f -
    kubectl delete crd nuts.acme.io --wait=false
    wait_for 30 sh -c '! kubectl get nut a'
    wait_for 30 sh -c 'kubectl get crd nuts.acme.io -o yaml | grep -q InstanceDeletionInProgress'
    run ! kubectl create -f - <<<"$(object Nut c)"
    [[ $output == *"create not allowed while custom resource definition is terminating"* ]]
    server_end KILL
    server_start
    kubectl patch nut b --type merge -p '{"metadata":{"finalizers":[]}}'
    wait_for 30 sh -c '! kubectl get crd nuts.acme.io'
    # a second life under the same name begins empty, in another scope too
    definition nuts Nut Cluster | kubectl apply -f -
    contains '"items":[]' api /apis/acme.io/v1/nuts
    kubectl delete crd nuts.acme.io
}

@test "schemas that are wrong or hostile are refused in little time" {
    run ! kubectl create --validate=false -f - <<<"$(definition bad Bad Namespaced | sed 's/color: {type: string, /color: {/')"
    [[ $output == *"spec.validation.openAPIV3Schema.properties[spec].properties[color].type: Required value: must not be empty for specified object fields"* ]]
    /usr/bin/python3 - "$BATS_TEST_TMPDIR" <<'P'
import json, sys
def crd(schema):
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "bads.acme.io"},
            "spec": {"group": "acme.io", "scope": "Cluster", "names": {"plural": "bads", "kind": "Bad"}, "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}}
deep = {"type": "string"}
for _ in range(90):
    deep = {"type": "object", "properties": {"a": deep}}
wide = {"type": "object", "properties": {"p%d" % i: {"type": "string"} for i in range(60000)}}
many = {"type": "object", "anyOf": [{} for _ in range(5000)]}
slow = {"type": "object", "properties": {"a": {"type": "string", "pattern": "((((a{100}){100}){100}){100})"}}}
ring = {"type": "object", "properties": {"a": {"$ref": "#"}}}
for name, schema in {"deep": deep, "wide": wide, "many": many, "slow": slow, "ring": ring}.items():
    json.dump(crd(schema), open(sys.argv[1] + "/" + name, "w"))
P
    for name in deep wide many slow ring; do
        equals 422 api -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' --data-binary "@$BATS_TEST_TMPDIR/$name" \
            /apis/apiextensions.k8s.io/v1/customresourcedefinitions
    done
    equals "" kubectl get crd -o name
}
