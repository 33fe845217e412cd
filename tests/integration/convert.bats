#!/usr/bin/env bats
# Custom resources whose versions are converted by a webhook (convert.server.mjs): every verb in every version, watches, a switch of
# the stored version, and webhooks that lie, hang or are gone. The server alone is enough.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    HOOK=$BATS_FILE_TMPDIR
    export HOOK
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$HOOK/tls.key" -out "$HOOK/tls.crt" 2>/dev/null
    node "$ROOT/tests/integration/convert.server.mjs" "$HOOK" >"$HOOK/out" 2>&1 3>&- &
    echo $! >"$HOOK/pid"
    server_start
    wait_for 30 test -s "$HOOK/port"
    kubectl config view --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d >"$HOOK/crt"
    kubectl config view --raw -o jsonpath='{.users[0].user.client-key-data}' | base64 -d >"$HOOK/key"
    definition v1 | kubectl create -f -
    wait_for 60 kubectl get gears.v2.acme.io
}

teardown_file() {
    server_remove
    kill "$(cat "$HOOK/pid")" || true
}

setup() { rm -f "$HOOK/mode"; }

mode() { echo "$1" >"$HOOK/mode"; }
calls() { [ ! -f "$HOOK/calls" ] || wc -l <"$HOOK/calls"; }
forget_calls() { : >"$HOOK/calls"; }

api() { # curl arguments..., path: as the administrator
    curl -sk --max-time 30 --cert "$HOOK/crt" --key "$HOOK/key" "${@:1:$#-1}" "https://127.0.0.1:$DAVIT_PORT${*: -1}"
}

# STORED [V1SERVED [PORT]]: the definition
definition() {
    local v1=false v2=false
    [ "$1" = v1 ] && v1=true || v2=true
    cat <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.acme.io}
spec:
  group: acme.io
  scope: Namespaced
  names: {plural: gears, kind: Gear}
  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1]
      clientConfig: {url: "https://127.0.0.1:${3:-$(cat "$HOOK/port")}/convert", caBundle: $(base64 -w0 "$HOOK/tls.crt")}
  versions:
  - name: v1
    served: ${2:-true}
    storage: $v1
    subresources: {status: {}, scale: {specReplicasPath: .spec.count, statusReplicasPath: .status.n}}
    additionalPrinterColumns: [{name: At, type: string, jsonPath: .spec.hostPort}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [hostPort], properties: {hostPort: {type: string}, count: {type: integer}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
  - name: v2
    served: true
    storage: $v2
    subresources: {status: {}, scale: {specReplicasPath: .spec.count, statusReplicasPath: .status.n}}
    selectableFields: [{jsonPath: .spec.host}]
    additionalPrinterColumns: [{name: Host, type: string, jsonPath: .spec.host}, {name: Port, type: integer, jsonPath: .spec.port}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [host], properties: {host: {type: string}, port: {type: integer}, count: {type: integer}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
Y
}

patch() { # VERSION NAME PATCH: as kubectl patch --type merge, for where it is done many times
    api -o /dev/null -w '%{http_code}' -X PATCH -H 'content-type: application/merge-patch+json' -d "$3" \
        "/apis/acme.io/$1/namespaces/default/gears/$2" | grep -qx 200
}

gear() { # VERSION NAME SPEC [NAMESPACE]
    printf 'apiVersion: acme.io/%s\nkind: Gear\nmetadata: {name: %s, namespace: %s}\nspec: %s\n' "$1" "$2" "${4:-default}" "$3"
}

spec() { kubectl get "gears.$1.acme.io" "$2" -o jsonpath='{.apiVersion} {.spec}'; } # VERSION NAME

@test "each version is served as it is, whichever is stored" {
    gear v1 one '{hostPort: "a:1"}' | kubectl create -f -
    gear v2 two '{host: b, port: 2}' | kubectl create -f -
    equals 'acme.io/v1 {"hostPort":"a:1"}' spec v1 one
    equals 'acme.io/v2 {"host":"a","port":1}' spec v2 one
    equals 'acme.io/v1 {"hostPort":"b:2"}' spec v1 two
    equals 'acme.io/v2 {"host":"b","port":2}' spec v2 two
    # what is not the webhook's to say stays: one object, one revision
    [ "$(kubectl get gears.v1.acme.io one -o jsonpath='{.metadata.uid}{.metadata.resourceVersion}{.metadata.generation}')" = \
        "$(kubectl get gears.v2.acme.io one -o jsonpath='{.metadata.uid}{.metadata.resourceVersion}{.metadata.generation}')" ]
    # a body is checked as the version it is sent in
    run ! kubectl create -f - < <(gear v2 bad '{hostPort: "a:1"}')
    contains 'spec.host: Required value' kubectl create --validate=false -f - < <(gear v2 bad '{hostPort: "a:1"}')
}

@test "tables, metadata alone and lists come in the version asked for, by one call" {
    for i in 1 2 3 4 5 6; do gear v1 "many$i" "{hostPort: \"many:$i\"}"; echo ---; done | kubectl create -f -
    forget_calls
    contains 'many3   many   3' kubectl get gears.v2.acme.io
    equals 1 calls
    [ "$(cut -d' ' -f2 "$HOOK/calls")" -ge 6 ]
    contains 'many3   many:3' kubectl get gears.v1.acme.io
    equals 'many1 many2 many3 many4 many5 many6 one two' kubectl get gears.v2.acme.io -o jsonpath='{.items[*].metadata.name}'
    equals 'PartialObjectMetadata v2' eval 'api -H "accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1" \
        /apis/acme.io/v2/namespaces/default/gears/one | jq -r "\"\(.kind) \(.metadata.labels.seen)\""'
    equals 1 calls # all of it was in hand
    # selectors see what the caller sees: labels and fields of his version
    equals 'two' kubectl get gears.v2.acme.io --field-selector spec.host=b -o jsonpath='{.items[*].metadata.name}'
    equals '8' eval 'kubectl get gears.v2.acme.io -l seen=v2 --no-headers | wc -l'
    equals '0' eval 'kubectl get gears.v1.acme.io -l seen=v2 --no-headers 2>/dev/null | wc -l'
    equals 'many1 many2 many3' kubectl get gears.v2.acme.io -l seen=v2 --chunk-size 2 --field-selector 'spec.host=many,metadata.name!=many4,metadata.name!=many5,metadata.name!=many6' -o jsonpath='{.items[*].metadata.name}'
    equals '3 5' eval 'api "/apis/acme.io/v2/namespaces/default/gears?limit=3" | jq -r "\"\(.items|length) \(.metadata.remainingItemCount)\""'
}

@test "update, patch, status, scale and apply in the version that is not stored" {
    kubectl patch gears.v2.acme.io one --type merge -p '{"spec":{"port":77}}'
    equals 'acme.io/v1 {"hostPort":"a:77"}' spec v1 one
    kubectl patch gears.v2.acme.io one --type json -p '[{"op":"test","path":"/spec/host","value":"a"},{"op":"replace","path":"/spec/host","value":"z"}]'
    equals 'acme.io/v1 {"hostPort":"z:77"}' spec v1 one
    kubectl get gears.v2.acme.io one -o json | jq '.spec.port=78' | kubectl replace -f -
    equals 'acme.io/v1 {"hostPort":"z:78"}' spec v1 one
    kubectl get gears.v2.acme.io one -o json >"$HOOK/old.json"
    kubectl patch gears.v1.acme.io one --type merge -p '{"spec":{"hostPort":"y:1"}}'
    contains 'the object has been modified' kubectl replace -f "$HOOK/old.json"
    kubectl patch gears.v2.acme.io one --subresource status --type merge -p '{"status":{"n":4},"spec":{"port":9}}'
    equals '4 y:1' kubectl get gears.v1.acme.io one -o jsonpath='{.status.n} {.spec.hostPort}'
    kubectl scale gears.v2.acme.io one --replicas 3
    equals '3 y:1' kubectl get gears.v1.acme.io one -o jsonpath='{.spec.count} {.spec.hostPort}'
    equals '3 4' eval 'api /apis/acme.io/v2/namespaces/default/gears/one/scale | jq -r "\"\(.spec.replicas) \(.status.replicas)\""'
    gear v2 applied '{host: c, port: 3}' | kubectl apply -f -
    gear v2 applied '{host: c, port: 4}' | kubectl apply -f -
    contains unchanged kubectl apply -f - < <(gear v2 applied '{host: c, port: 4}')
    equals 'acme.io/v1 {"hostPort":"c:4"}' spec v1 applied
    gear v2 owned '{host: o, port: 1}' | kubectl apply --server-side --field-manager one -f -
    gear v2 owned '{host: o, port: 2}' | kubectl apply --server-side --field-manager one -f -
    equals 'acme.io/v1 {"hostPort":"o:2"}' spec v1 owned
    contains 'Apply failed with 1 conflict: conflict with "one": .spec.port' \
        kubectl apply --server-side --field-manager two -f - < <(gear v2 owned '{host: o, port: 3}')
    # twenty writers of one object through the webhook lose no update
    mode slow
    forget_calls
    for i in $(seq 20); do patch v2 applied "{\"metadata\":{\"annotations\":{\"a$i\":\"$i\"}}}" 3>&- & done
    wait
    equals 20 eval 'kubectl get gears.v1.acme.io applied -o json | jq "[.metadata.annotations|to_entries[]|select(.key|test(\"^a[0-9]+$\"))]|length"'
    [ "$(calls)" -le 44 ] # and each makes its two calls, whoever else writes
    # nothing is written in a dry run
    kubectl patch gears.v2.acme.io applied --dry-run=server --type merge -p '{"spec":{"port":99}}' -o jsonpath='{.spec.port}' | grep -qx 99
    equals 'acme.io/v1 {"hostPort":"c:4"}' spec v1 applied
}

watch() { # FILE VERSION [QUERY]: in the background
    api -N "/apis/acme.io/$2/namespaces/default/gears?watch=1${3:-}" >"$HOOK/$1" 3>&- &
    echo $! >>"$HOOK/watches"
}
unwatch() {
    while read -r p; do kill "$p" 2>/dev/null || true; done <"$HOOK/watches"
    rm -f "$HOOK/watches"
}

# KIND PATH: a webhook that speaks of v2 alone
hook() {
    cat <<Y
apiVersion: admissionregistration.k8s.io/v1
kind: $1WebhookConfiguration
metadata: {name: gears-v2}
webhooks:
- name: gears-v2.acme.io
  clientConfig: {url: "https://127.0.0.1:$(cat "$HOOK/port")$2", caBundle: $(base64 -w0 "$HOOK/tls.crt")}
  rules: [{apiGroups: [acme.io], apiVersions: [v2], operations: ["*"], resources: [gears, gears/status]}]
  matchConditions: [{name: told-as-v2, expression: "object == null || has(object.spec.host)"}]
  sideEffects: None
  admissionReviewVersions: [v1]
Y
}

@test "admission webhooks see objects in the version they speak of, and may change them in it" {
    : >"$HOOK/asked"
    hook Validating /admit | kubectl create -f -
    gear v1 adm '{hostPort: "h:1"}' | kubectl create -f -
    patch v1 adm '{"spec":{"hostPort":"h:2"}}'
    patch v2 adm '{"spec":{"port":3}}'
    kubectl patch gears.v1.acme.io adm --subresource status --type merge -p '{"status":{"n":1}}'
    kubectl delete gears.v1.acme.io adm
    diff - "$HOOK/asked" <<'Y'
/admit CREATE v2 v1 v2 | acme.io/v2 {"host":"h","port":1} | none
/admit UPDATE v2 v1 v2 | acme.io/v2 {"host":"h","port":2} | acme.io/v2 {"host":"h","port":1}
/admit UPDATE v2 v2 v2 | acme.io/v2 {"host":"h","port":3} | acme.io/v2 {"host":"h","port":2}
/admit UPDATE v2 v1 v2 | acme.io/v2 {"host":"h","port":3} | acme.io/v2 {"host":"h","port":3}
/admit DELETE v2 v1 v2 | none | acme.io/v2 {"host":"h","port":3}
Y
    kubectl delete validatingwebhookconfiguration gears-v2
    hook Mutating /mutate | kubectl create -f -
    gear v1 adm '{hostPort: "h:1"}' | kubectl create -f -
    equals 'acme.io/v1 {"hostPort":"h:1001"}' spec v1 adm
    gear v1 adm '{hostPort: "i:7", count: 3}' | kubectl apply --server-side --force-conflicts -f -
    equals 'acme.io/v1 {"count":3,"hostPort":"i:1007"}' spec v1 adm
    patch v2 adm '{"spec":{"port":9}}'
    equals 'acme.io/v2 {"count":3,"host":"i","port":1009}' spec v2 adm
    # without the conversion nothing is decided, whatever the failurePolicy
    mode refuse
    kubectl patch mutatingwebhookconfiguration gears-v2 --type json -p '[{"op":"add","path":"/webhooks/0/failurePolicy","value":"Ignore"}]'
    contains 'no such gear' kubectl create -f - < <(gear v1 adm2 '{hostPort: "h:1"}')
    contains '(InternalError)' kubectl create -f - < <(gear v1 adm2 '{hostPort: "h:1"}')
    rm "$HOOK/mode"
    kubectl delete mutatingwebhookconfiguration gears-v2
    kubectl delete gears.v1.acme.io adm
}

refused() { kubectl create -f - < <(gear "$@") 2>&1; }

# A policy is heeded soon: the object as it should be
count_is() {
    kubectl create -f - < <(gear v1 mut "{hostPort: \"m:$1\"}") >/dev/null || return 1
    local is
    is=$(spec v1 mut)
    kubectl delete gears.v1.acme.io mut >/dev/null
    [ "$is" = "acme.io/v1 {\"count\":$((4000 + $1)),\"hostPort\":\"m:$((4000 + $1))\"}" ]
}

# KIND SPEC OF BINDING, with the rest of the policy's spec on stdin
policy() {
    cat <<Y
apiVersion: admissionregistration.k8s.io/$3
kind: $1AdmissionPolicy
metadata: {name: gears-v2}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [acme.io], apiVersions: [v2], operations: [CREATE, UPDATE, DELETE], resources: [gears]}]}
$(cat)
---
apiVersion: admissionregistration.k8s.io/$3
kind: $1AdmissionPolicyBinding
metadata: {name: gears-v2}
spec: {policyName: gears-v2$2}
Y
}

@test "policies judge and change objects in the version they speak of" {
    policy Validating ', validationActions: [Deny]' v1 <<'Y' | kubectl create -f -
  validations:
  - expression: "object == null || object.spec.port < 5000 && (oldObject == null || object.spec.port >= oldObject.spec.port)"
    messageExpression: "object.spec.host + ' has a port that is too high or lower than before'"
Y
    contains 'h has a port' refused v1 pol '{hostPort: "h:6000"}'
    gear v1 pol '{hostPort: "h:10"}' | kubectl create -f -
    contains 'h has a port' kubectl patch gears.v1.acme.io pol --type merge -p '{"spec":{"hostPort":"h:9"}}'
    patch v1 pol '{"spec":{"hostPort":"h:11"}}'
    mode refuse
    contains 'failed to convert object version' kubectl create -f - < <(gear v1 pol2 '{hostPort: "h:1"}')
    rm "$HOOK/mode"
    policy Mutating '' v1 <<'Y' | kubectl create -f -
  reinvocationPolicy: Never
  mutations:
  - patchType: JSONPatch
    jsonPatch: {expression: "[JSONPatch{op: 'replace', path: '/spec/port', value: 4000 + object.spec.port % 1000}]"}
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{spec: Object.spec{count: object.spec.port}}"}
Y
    wait_for 20 count_is 4
    kubectl delete gears.v1.acme.io pol
    kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding,mutatingadmissionpolicy,mutatingadmissionpolicybinding gears-v2
}

limits() { # REF of the binding
    cat <<Y
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: gears-params}
spec:
  paramKind: {apiVersion: acme.io/v2, kind: Gear}
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, DELETE, CONNECT], resources: [configmaps, pods/exec]}]}
  matchConditions: [{name: not-ours, expression: "request.name != 'kube-root-ca.crt'"}]
  validations: [{expression: "params.spec.port < 100", messageExpression: "params.apiVersion + ' ' + params.spec.host + ' is at ' + string(params.spec.port)"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: gears-params}
spec: {policyName: gears-params, validationActions: [Deny], paramRef: {$1, parameterNotFoundAction: Deny}}
Y
}

@test "policies see parameters in the version they name" {
    kubectl create namespace params
    in_params() { kubectl -n params "$@"; }
    gear v1 limit '{hostPort: "h:99"}' params | kubectl create -f -
    in_params run web --image=i
    limits 'name: limit' | kubectl create -f -
    for i in 1 2 3; do in_params create configmap "m$i"; done
    in_params patch gears.v1.acme.io limit --type merge -p '{"spec":{"hostPort":"h:100"}}'
    contains 'acme.io/v2 h is at 100' in_params create configmap m4
    contains 'acme.io/v2 h is at 100' in_params exec web -- true
    contains 'acme.io/v2 h is at 100' in_params delete configmap --all
    [ "$(in_params get configmap -o name | grep -c m)" -ge 3 ]
    # the label is there in the version that is named only
    limits 'selector: {matchLabels: {seen: v2}}' | kubectl replace -f -
    selected() { ! in_params create configmap m4 --dry-run=server -o name && grep -q 'h is at 100' <(in_params create configmap m4 2>&1); }
    wait_for 10 selected
    mode refuse
    in_params patch gears.v1.acme.io limit --type merge -p '{"spec":{"hostPort":"h:9"}}'
    contains 'no such gear' in_params create configmap m4
    rm "$HOOK/mode"
    in_params create configmap m4
    contains 'does not have a host assigned' in_params exec web -- true
    in_params delete configmap m1 m2 m3 m4
    kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding gears-params
    kubectl delete namespace params --wait=false
}

@test "a deletecollection is judged in the version a policy names" {
    policy Validating ', validationActions: [Deny]' v1 <<'Y' | kubectl create -f -
  validations: [{expression: "request.operation != 'DELETE' || oldObject.spec.port != 7", message: seven stays}]
Y
    kubectl create namespace many
    for i in 5 6 7 8; do gear v1 "g$i" "{hostPort: \"h:$i\"}" many | kubectl create -f -; done
    [ "$(api -XDELETE /apis/acme.io/v1/namespaces/many/gears | jq -r .message)" = \
        "gears.acme.io \"g7\" is forbidden: ValidatingAdmissionPolicy 'gears-v2' with binding 'gears-v2' denied request: seven stays" ]
    kubectl -n many get gears.v1.acme.io g7
    kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding gears-v2
    free() { [ "$(api -XDELETE /apis/acme.io/v1/namespaces/many/gears | jq -r .kind)" = GearList ]; }
    wait_for 10 free
    [ -z "$(kubectl -n many get gears.v1.acme.io -o name)" ]
    kubectl delete namespace many --wait=false
}

@test "watches see every change in order in their version, and share the calls" {
    patch v1 one '{"metadata":{"managedFields":[{}]}}' # for owners named in v2 each write would ask as well
    mode slow
    for i in 1 2 3 4 5 6 7 8; do watch "w$i" v2 "&resourceVersion=0"; done
    watch lab v2 "&labelSelector=seen%3Dv2,mark%3Dx"
    n=$(kubectl get gears.v1.acme.io --no-headers | wc -l)
    wait_for 60 sh -c "for i in 1 2 3 4 5 6 7 8; do [ \$(grep -c ADDED $HOOK/w\$i) = $n ] || exit 1; done"
    forget_calls
    for i in $(seq 10 30); do patch v1 one "{\"spec\":{\"hostPort\":\"y:$i\"}}"; done
    kubectl label gears.v1.acme.io two mark=x
    kubectl label gears.v1.acme.io two mark=y --overwrite
    gear v2 late '{host: c, port: 3}' | kubectl create -f -
    kubectl delete gears.v1.acme.io late
    wait_for 60 sh -c "for i in 1 2 3 4 5 6 7 8; do grep -q DELETED $HOOK/w\$i || exit 1; done"
    for i in 1 2 3 4 5 6 7 8; do
        equals "$(seq 10 30 | tr '\n' ' ')" eval "jq -r 'select(.type==\"MODIFIED\" and .object.metadata.name==\"one\")|.object.spec.port' $HOOK/w$i | tr '\n' ' '"
        equals 'acme.io/v2' eval "jq -r .object.apiVersion $HOOK/w$i | sort -u"
        equals 'ADDED 3 DELETED 3' eval "jq -r 'select(.object.metadata.name==\"late\")|\"\(.type) \(.object.spec.port)\"' $HOOK/w$i | xargs"
    done
    # 21 changes, the marks and "late": each object at most once, however many watch (the writes of "late" ask twice more)
    [ "$(awk '$1 == "v2" {n += $2} END {print n}' "$HOOK/calls")" -le 26 ]
    wait_for 60 grep -q DELETED "$HOOK/lab"
    equals 'ADDED x DELETED x' eval "jq -r '\"\(.type) \(.object.metadata.labels.mark)\"' $HOOK/lab | xargs"
    unwatch
}

@test "the stored version changes: objects stay as they are and are read all the same, after a restart too" {
    definition v2 | kubectl apply -f -
    equals '["v1","v2"]' kubectl get crd gears.acme.io -o jsonpath='{.status.storedVersions}'
    gear v1 new '{hostPort: "n:5"}' | kubectl create -f -
    for round in before after; do
        equals 'acme.io/v2 {"host":"b","port":2}' spec v2 two
        equals 'acme.io/v1 {"hostPort":"b:2"}' spec v1 two
        equals 'acme.io/v2 {"host":"n","port":5}' spec v2 new
        equals 'acme.io/v1 {"hostPort":"n:5"}' spec v1 new
        [ $round = after ] || { server_end KILL; server_start; }
    done
    # what is stored in the version asked for needs nobody
    mode refuse
    equals 'acme.io/v1 {"hostPort":"b:2"}' spec v1 two
    equals 'acme.io/v2 {"host":"n","port":5}' spec v2 new
    # written anew it is of the new version
    mode good
    kubectl patch gears.v2.acme.io two --type merge -p '{"spec":{"port":3}}'
    mode refuse
    equals 'acme.io/v2 {"host":"b","port":3}' spec v2 two
    mode good
    contains 'missing from spec.versions; v1 was previously a storage version' \
        kubectl patch crd gears.acme.io --type json -p '[{"op":"remove","path":"/spec/versions/0"}]'
    definition v1 | kubectl apply -f -
}

failing() { contains "conversion webhook for acme.io/v1, Kind=Gear $1" kubectl get gears.v2.acme.io victim; }

@test "a webhook that fails or lies fails what needs it, with the words of Kubernetes, and nothing else" {
    gear v1 victim '{hostPort: "v:1"}' | kubectl create -f -
    gear v1 other '{hostPort: "v:1"}' | kubectl create -f -
    mode refuse && failing 'failed: no such gear'
    mode error && failing 'failed: '
    mode drop && failing 'failed: Post "https://127.0.0.1'
    mode loop && failing 'failed: '
    mode text && failing 'failed: '
    mode fewer && failing 'returned 0 objects, expected 1'
    mode rename && failing 'returned invalid object: must have the same name: victim != other'
    mode uid && failing 'returned invalid object: must have the same UID'
    mode version && failing 'returned invalid object: invalid groupVersion (expected acme.io/v2, received acme.io/v9)'
    mode labels && failing 'returned invalid metadata: metadata.labels: Invalid value: "no label value"'
    mode huge && failing 'returned invalid object: it is too large'
    mode reverse && contains 'returned invalid converted object at index 0: must have the same name' kubectl get gears.v2.acme.io
    equals 500 eval 'api -o /dev/null -w "%{http_code}" /apis/acme.io/v2/namespaces/default/gears'
    equals 'acme.io/v1 {"hostPort":"v:1"}' spec v1 victim
    # of writes nothing happens, of a list one bad object is enough, others do not suffer
    contains 'failed: no such gear' eval 'echo refuse >"$HOOK/mode"; kubectl create -f - < <(gear v2 never "{host: x}")'
    contains 'not found' kubectl get gears.v1.acme.io never
    contains 'failed: no such gear' kubectl patch gears.v2.acme.io victim --type merge -p '{"spec":{"port":5}}'
    mode refuse:victim
    contains 'failed: no such gear' kubectl get gears.v2.acme.io
    equals 'acme.io/v2 {"host":"v","port":1}' spec v2 other
    # a watch ends with the error
    kubectl patch gears.v1.acme.io victim --type merge -p '{"spec":{"hostPort":"v:2"}}'
    rv=$(api '/apis/acme.io/v1/namespaces/default/gears?limit=1' | jq -r .metadata.resourceVersion)
    kubectl patch gears.v1.acme.io other --type merge -p '{"spec":{"hostPort":"v:2"}}'
    kubectl patch gears.v1.acme.io victim --type merge -p '{"spec":{"hostPort":"v:3"}}'
    equals 'ERROR 500' eval "api -N '/apis/acme.io/v2/namespaces/default/gears?watch=1&resourceVersion=$rv' | tail -n 1 | jq -r '\"\(.type) \(.object.code)\"'"
    # metadata other than labels and annotations is not its to change
    mode metadata
    equals '1 null' eval "kubectl get gears.v2.acme.io other -o json | jq -c '.metadata|\"\(.generation-1) \(.finalizers)\"' | tr -d '\"'"
}

@test "what hangs holds up nobody; the definition goes, the server stops meanwhile" {
    mode hang
    kubectl patch gears.v1.acme.io victim --type merge -p '{"spec":{"hostPort":"v:9"}}'
    forget_calls
    (api -o /dev/null -w '%{http_code}' /apis/acme.io/v2/namespaces/default/gears/victim >"$HOOK/hung") 3>&- &
    wait_for 60 test -s "$HOOK/calls"
    equals 'acme.io/v1 {"hostPort":"v:9"}' spec v1 victim
    kubectl get namespaces
    # who asks for the same waits with it, without a call of his own
    (api -o /dev/null -w '%{http_code}' /apis/acme.io/v2/namespaces/default/gears/victim >"$HOOK/hung2") 3>&- &
    sleep 0.3
    equals 1 calls
    server_end TERM
    wait_for 60 test -s "$HOOK/hung2"
    equals '503 503' eval 'echo $(cat "$HOOK/hung") $(cat "$HOOK/hung2")'
    server_start
    mode hang
    forget_calls
    (api -o /dev/null -w '%{http_code}' -X PATCH -H 'content-type: application/merge-patch+json' -d '{"spec":{"port":1}}' \
        /apis/acme.io/v2/namespaces/default/gears/other >"$HOOK/hung3") 3>&- &
    wait_for 60 test -s "$HOOK/calls"
    # another webhook from now on; objects go without any
    definition v1 true 1 | kubectl apply -f -
    contains 'connection refused' kubectl get gears.v2.acme.io victim
    mode good
    definition v1 | kubectl apply -f -
    equals 'acme.io/v2 {"host":"v","port":9}' spec v2 victim
}

@test "a broken webhook keeps no namespace and no definition from going" {
    kubectl create namespace doomed
    gear v1 in1 '{hostPort: "v:1"}' doomed | kubectl create -f -
    gear v2 in2 '{host: v}' doomed | kubectl create -f -
    kubectl patch -n doomed gears.v1.acme.io in1 --type merge -p '{"metadata":{"finalizers":["acme.io/hold"]}}'
    mode refuse
    kubectl delete namespace doomed --wait=false
    wait_for 60 sh -c '! kubectl get -n doomed gears.v1.acme.io in2'
    kubectl patch -n doomed gears.v1.acme.io in1 --type merge -p '{"metadata":{"finalizers":null}}'
    wait_for 60 sh -c '! kubectl get namespace doomed'
    # a version that is served no more: its watches end
    mode good
    watch gone v1
    wait_for 60 grep -q ADDED "$HOOK/gone"
    definition v2 false | kubectl apply -f -
    wait_for 60 grep -q '"ERROR"' "$HOOK/gone"
    unwatch
    contains 'could not find the requested resource' kubectl get gears.v1.acme.io
    equals 'acme.io/v2 {"host":"v","port":9}' spec v2 victim
    mode refuse
    kubectl delete crd gears.acme.io --timeout 60s
    run ! kubectl get gears.v2.acme.io
}
