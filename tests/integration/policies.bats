#!/usr/bin/env bats
# Admission policies as kubectl sees them: what they refuse, warn of, note and change, and what is refused of them. The
# server alone is enough. Every test has a namespace of its own, which its bindings select.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    printf '{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"Metadata"}]}' >"$DAVIT_DIR.audit.yaml"
    server_start --audit-policy-file "$DAVIT_DIR.audit.yaml" --audit-log-path "$DAVIT_DIR.audit.log"
}

teardown_file() { server_remove; }

# policy NAME RESOURCES OPERATIONS SPEC: a validating policy; resources as GROUP VERSION RESOURCE
policy() {
    local rule="{apiGroups: ['$2'], apiVersions: ['$3'], resources: ['$4'], operations: [$5]}"
    kubectl apply -f - <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ${KIND:-Validating}AdmissionPolicy
metadata:
  name: $1
spec: {matchConstraints: {resourceRules: [$rule]}, $6}
YAML
}

# bind POLICY NAMESPACE [SPEC]: puts it to work in a namespace (empty: everywhere)
bind() {
    local where=""
    [ -z "$2" ] || where="matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $2}}},"
    kubectl apply -f - <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ${KIND:-Validating}AdmissionPolicyBinding
metadata:
  name: $1-binding
spec: {policyName: $1, $where ${3:-"validationActions: [Deny]"}}
YAML
}

changer() { KIND=Mutating policy "$@"; }
bind_changer() { KIND=Mutating bind "$1" "$2" "${3:-}"; }

# pod NAMESPACE NAME [LABELS]
pod() {
    kubectl -n "$1" create -f - <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: $2
  labels: {${3:-}}
spec: {schedulerName: nobody, containers: [{name: c, image: i}]}
YAML
}

noted() { # NAME of an object, text: the audit log's line of it has the text
    wait_for 10 sh -c "grep '\"name\":\"$1\"' '$DAVIT_DIR.audit.log' | grep -qF '$2'"
}

@test "a policy denies in Kubernetes' words, with the reason it names" {
    kubectl create namespace deny
    policy deny apps v1 deployments 'CREATE, UPDATE' "validations: [{expression: 'object.spec.replicas <= 5', reason: Forbidden}]"
    kubectl -n deny create deployment before --image=i --replicas=9 # no binding yet
    bind deny deny
    run ! kubectl -n deny create deployment web --image=i --replicas=9
    [[ $output == *"deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'deny' with binding 'deny-binding' denied request: failed expression: object.spec.replicas <= 5"* ]]
    kubectl -n deny create deployment web --image=i --replicas=3
    run ! kubectl -n deny patch deployment web --type merge -p '{"spec":{"replicas":7}}'
    [[ $output == *"denied request"* ]]
    kubectl -n default create deployment elsewhere --image=i --replicas=9 # the binding's namespace selector
    kubectl delete validatingadmissionpolicybinding deny-binding
    kubectl -n deny patch deployment web --type merge -p '{"spec":{"replicas":7}}'
}

@test "warnings, the audit log, and annotations" {
    kubectl create namespace told
    policy told '' v1 configmaps CREATE "validations: [{expression: \"has(object.data)\", message: 'empty is odd'}],
      auditAnnotations: [{key: who, valueExpression: \"'by ' + request.userInfo.username\"}, {key: none, valueExpression: \"''\"}]"
    bind told told 'validationActions: [Warn, Audit]'
    run kubectl -n told create configmap noticed
    [ "$status" -eq 0 ]
    [[ $output == *"Warning: Validation failed for ValidatingAdmissionPolicy 'told' with binding 'told-binding': empty is odd"* ]]
    noted noticed 'validation.policy.admission.k8s.io/validation_failure'
    noted noticed 'empty is odd'
    noted noticed '"told/who":"by '
    run ! grep -q 'told/none' "$DAVIT_DIR.audit.log"
}

@test "variables are made of each other, messages of expressions" {
    kubectl create namespace vars
    policy vars '' v1 configmaps CREATE "variables: [{name: keys, expression: 'has(object.data) ? object.data.map(k, k) : []'},
      {name: total, expression: 'size(variables.keys)'}, {name: never, expression: 'object.data.nothing'}],
      validations: [{expression: 'variables.total < 3', messageExpression: \"'too many: ' + string(variables.total)\"}]"
    bind vars vars
    kubectl -n vars create configmap two --from-literal=a=1 --from-literal=b=2
    run ! kubectl -n vars create configmap three --from-literal=a=1 --from-literal=b=2 --from-literal=c=3
    [[ $output == *"denied request: too many: 3"* ]]
}

@test "parameters by name, by selector, and none" {
    kubectl create namespace params
    for n in 2 3; do kubectl -n params create configmap limit$n --from-literal=max=$n; kubectl -n params label configmap limit$n kind=limit; done
    policy params apps v1 deployments CREATE "paramKind: {apiVersion: v1, kind: ConfigMap}, validations: [{expression: 'object.spec.replicas <= int(params.data.max)', messageExpression: \"'at most ' + params.data.max\"}]"
    bind params params "validationActions: [Deny], paramRef: {name: limit3, namespace: params, parameterNotFoundAction: Deny}"
    kubectl -n params create deployment three --image=i --replicas=3
    run ! kubectl -n params create deployment four --image=i --replicas=4
    [[ $output == *"at most 3"* ]]
    bind params params "validationActions: [Deny], paramRef: {selector: {matchLabels: {kind: limit}}, parameterNotFoundAction: Deny}"
    run ! kubectl -n params create deployment three-too --image=i --replicas=3
    [[ $output == *"at most 2"* ]] # once for each
    bind params params "validationActions: [Deny], paramRef: {name: gone, parameterNotFoundAction: Deny}"
    run ! kubectl -n params create deployment one --image=i
    [[ $output == *"failed to configure binding: no params found for policy binding with \`Deny\` parameterNotFoundAction"* ]]
    bind params params "validationActions: [Deny], paramRef: {name: gone, parameterNotFoundAction: Allow}"
    kubectl -n params create deployment one --image=i
    policy params apps v1 deployments CREATE "paramKind: {apiVersion: no.io/v1, kind: Nought}, validations: [{expression: 'true'}]"
    run ! kubectl -n params create deployment two --image=i
    [[ $output == *"failed to configure policy: failed to find resource referenced by paramKind: 'no.io/v1, Kind=Nought'"* ]]
}

@test "custom kinds: as objects and as parameters" {
    kubectl create namespace custom
    kubectl apply -f - <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: "boxes.acme.io"}
spec:
  group: acme.io
  scope: Namespaced
  names: {plural: boxes, kind: Box}
  versions:
  - &v
    name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}, tags: {type: array, x-kubernetes-list-type: set, items: {type: string}}, parts: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}, num: {type: integer}}}}}}}}}
  - {<<: *v, name: v2, storage: false}
YAML
    wait_for 10 kubectl get boxes
    box() { # NAME VERSION SPEC
        printf 'apiVersion: acme.io/%s\nkind: Box\nmetadata:\n  name: %s\nspec: {%s}\n' "$2" "$1" "$3" | kubectl -n custom create -f -
    }
    box limit v1 'size: 5'
    policy custom acme.io v1 boxes CREATE "paramKind: {apiVersion: acme.io/v1, kind: Box}, validations: [{expression: 'object.spec.size <= params.spec.size && object.apiVersion == \"acme.io/v1\"'}]"
    bind custom custom "validationActions: [Deny], paramRef: {name: limit, namespace: custom, parameterNotFoundAction: Deny}"
    box small v1 'size: 4'
    box small2 v2 'size: 4' # asked about as v1
    run ! box large v2 'size: 6'
    [[ $output == *"denied request: failed expression"* ]]
    changer custom-tags acme.io v1 boxes CREATE "reinvocationPolicy: Never, failurePolicy: Fail, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{spec: Object.spec{size: 2, tags: ['x'], parts: [Object.spec.parts{name: 'a', num: 7}]}}\"}}]"
    bind_changer custom-tags custom ' '
    box tagged v2 "size: 9, tags: [why], parts: [{name: a, num: 1}, {name: b, num: 1}]"
    [ "$(kubectl -n custom get box tagged -o jsonpath='{.spec}')" = '{"parts":[{"name":"a","num":7},{"name":"b","num":1}],"size":2,"tags":["why","x"]}' ]
    changer custom-tags acme.io v1 boxes CREATE "reinvocationPolicy: Never, failurePolicy: Fail, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{spec: Object.spec{nothing: 1}}\"}}]"
    run ! box bad v1 'size: 1'
    [[ $output == *".spec.nothing: field not declared in schema"* ]]
}

@test "deletes, and what is in no namespace" {
    kubectl create namespace gone
    policy gone '' v1 configmaps DELETE "validations: [{expression: \"!has(oldObject.metadata.labels) || !('keep' in oldObject.metadata.labels)\", message: 'it is to be kept'}, {expression: 'object == null'}]"
    bind gone gone
    kubectl -n gone create configmap loose
    kubectl -n gone create configmap kept
    kubectl -n gone label configmap kept keep=yes
    kubectl -n gone delete configmap loose
    run ! kubectl -n gone delete configmap kept
    [[ $output == *"configmaps \"kept\" is forbidden"* || $output == *"it is to be kept"* ]]
    policy cluster '' v1 namespaces CREATE "validations: [{expression: \"object.metadata.name != 'nope' && namespaceObject == null\"}]"
    bind cluster ''
    run ! kubectl create namespace nope
    [[ $output == *"ValidatingAdmissionPolicy 'cluster'"* ]]
    kubectl delete validatingadmissionpolicybinding cluster-binding
    kubectl create namespace nope
}

@test "subresources: scale, binding, eviction, exec" {
    kubectl create namespace sub
    kubectl -n sub create deployment web --image=i --replicas=1
    policy scale apps v1 deployments/scale UPDATE "validations: [{expression: \"object.kind == 'Scale' && object.spec.replicas < 4 && oldObject.spec.replicas == 1\"}]"
    bind scale sub
    run ! kubectl -n sub scale deployment web --replicas=5
    [[ $output == *"ValidatingAdmissionPolicy 'scale'"* ]]
    kubectl -n sub scale deployment web --replicas=2
    pod sub web
    policy exec '' v1 pods/exec CONNECT "validations: [{expression: \"object.command[0] != 'rm'\", message: 'not that'}]"
    bind exec sub
    run ! kubectl -n sub exec web -- rm x
    [[ $output == *"not that"* ]]
    run ! kubectl -n sub exec web -- ls
    [[ $output == *"does not have a host assigned"* ]]
    policy proxy '' v1 services/proxy CONNECT "validations: [{expression: \"!object.path.startsWith('/admin') && request.name != 'other'\", message: 'not there'}]"
    bind proxy sub
    run ! kubectl get --raw /api/v1/namespaces/sub/services/web:80/proxy/admin/x
    [[ $output == *"ValidatingAdmissionPolicy 'proxy' with binding 'proxy-binding' denied request: not there"* ]]
    run ! kubectl get --raw /api/v1/namespaces/sub/services/web:80/proxy/users
    [[ $output == *'services "web" not found'* ]]
    policy evict '' v1 pods/eviction CREATE "validations: [{expression: 'false', message: 'it stays'}]"
    bind evict sub
    run ! kubectl create --raw /api/v1/namespaces/sub/pods/web/eviction -f <(printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"web","namespace":"sub"}}')
    [[ $output == *"it stays"* ]]
}

@test "subresources of pods: resize, containers for debugging, binding, status" {
    kubectl create namespace podsub
    kubectl -n podsub create -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {schedulerName: nobody, containers: [{name: c, image: i, resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}}]}
YAML
    resize() { kubectl -n podsub patch pod p --subresource resize --patch '{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"'"$1"'"}}}]}}'; }
    policy resize '' v1 pods/resize UPDATE "validations: [{expression: \"request.subResource == 'resize' && object.kind == 'Pod' && quantity(object.spec.containers[0].resources.limits.cpu).isLessThan(quantity('1')) && oldObject.spec.containers[0].resources.limits.cpu == '200m'\", message: too fast}]"
    bind resize podsub
    run ! resize 2
    [[ $output == *"ValidatingAdmissionPolicy 'resize' with binding 'resize-binding' denied request: too fast"* ]]
    resize 300m
    kubectl delete validatingadmissionpolicybinding resize-binding
    changer cpu '' v1 pods/resize UPDATE "reinvocationPolicy: Never, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', resources: Object.spec.containers.resources{limits: {'cpu': '350m'}}}]}}\"}}]"
    bind_changer cpu podsub ' '
    resize 400m
    [ "$(kubectl -n podsub get pod p -o jsonpath='{.spec.containers[0].resources.limits.cpu}')" = 350m ]
    policy debugs '' v1 pods/ephemeralcontainers UPDATE "validations: [{expression: \"object.spec.ephemeralContainers.all(c, c.image.startsWith('ok')) && !has(oldObject.spec.ephemeralContainers)\", message: not that image}]"
    bind debugs podsub
    run ! kubectl -n podsub debug p --image=bad --attach=false
    [[ $output == *"not that image"* ]]
    kubectl -n podsub debug p --image=ok/x --attach=false
    policy status '' v1 pods/status UPDATE "validations: [{expression: \"!has(object.status.message) || object.status.message != 'bad'\", message: say something nice}]"
    bind status podsub
    run ! kubectl -n podsub patch pod p --subresource status --type merge -p '{"status":{"message":"bad"}}'
    [[ $output == *"say something nice"* ]]
    kubectl -n podsub patch pod p --subresource status --type merge -p '{"status":{"message":"good"}}'
    policy place '' v1 pods/binding CREATE "validations: [{expression: \"object.kind == 'Binding' && object.target.name != 'bad' && oldObject == null\", message: not there}]"
    bind place podsub
    to() { printf '{"apiVersion":"v1","kind":"Binding","metadata":{"name":"p"},"target":{"kind":"Node","name":"%s"}}' "$1" | kubectl create --raw /api/v1/namespaces/podsub/pods/p/binding -f -; }
    run ! to bad
    [[ $output == *"not there"* ]]
    to good
}

@test "what fails counts by failurePolicy; conditions choose the requests" {
    kubectl create namespace fails
    policy fails '' v1 configmaps CREATE "failurePolicy: Fail, validations: [{expression: 'object.nothing == 1'}]"
    bind fails fails
    run ! kubectl -n fails create configmap a
    [[ $output == *"denied request: expression 'object.nothing == 1' resulted in error: no such key: nothing"* ]]
    policy fails '' v1 configmaps CREATE "failurePolicy: Ignore, validations: [{expression: 'object.nothing == 1'}]"
    kubectl -n fails create configmap a
    policy fails '' v1 configmaps CREATE "failurePolicy: Fail, matchConditions: [{name: chosen, expression: \"object.metadata.name.startsWith('b')\"}], validations: [{expression: 'false', message: 'never'}]"
    kubectl -n fails create configmap c
    run ! kubectl -n fails create configmap b
    [[ $output == *"never"* ]]
    # what costs too much says so
    policy fails '' v1 configmaps CREATE "validations: [{expression: '$(python3 -c 'l=str(list(range(40)));print(f"{l}.all(a, {l}.all(b, {l}.all(c, {l}.all(d, a+b+c+d >= 0))))")')'}]"
    run ! kubectl -n fails create configmap dear
    [[ $output == *"actual cost limit exceeded"* ]]
}

@test "an expression may ask what the user is allowed" {
    kubectl create namespace asks
    kubectl create serviceaccount -n asks one
    kubectl create clusterrole maker --verb=create --resource=configmaps
    kubectl -n asks create rolebinding maker --clusterrole=maker --serviceaccount=asks:one
    policy asks '' v1 configmaps CREATE "validations: [{expression: \"authorizer.group('').resource('secrets').namespace(request.namespace).check('get').allowed()\", message: 'who reads no secrets makes nothing'}, {expression: \"authorizer.requestResource.check('create').allowed()\"}]"
    bind asks asks
    kubectl -n asks create configmap mine
    run ! kubectl -n asks --as=system:serviceaccount:asks:one create configmap his
    [[ $output == *"who reads no secrets makes nothing"* ]]
}

@test "objects are changed by apply configurations and by JSON patches, again where it is asked for" {
    kubectl create namespace change
    changer count '' v1 pods CREATE "reinvocationPolicy: IfNeeded, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{metadata: Object.metadata{labels: {'count': string(size(object.spec.containers))}}}\"}}]"
    changer once '' v1 pods CREATE "reinvocationPolicy: Never, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{metadata: Object.metadata{labels: {'once': string(size(object.spec.containers))}}}\"}}]"
    changer side '' v1 pods CREATE "reinvocationPolicy: Never, variables: [{name: c, expression: 'Object.spec.containers{name: \"side\", image: \"j\"}'}], mutations: [{patchType: JSONPatch, jsonPatch: {expression: \"[JSONPatch{op: 'test', path: '/metadata/labels/side', value: 'yes'}, JSONPatch{op: 'add', path: '/spec/containers/-', value: variables.c}, JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'c'}]\"}}]"
    for p in count once side; do bind_changer $p change ' '; done
    pod change plain 'side: "no"'
    [ "$(kubectl -n change get pod plain -o jsonpath='{.metadata.labels}')" = '{"count":"1","once":"1","side":"no"}' ]
    pod change sided 'side: "yes"'
    [ "$(kubectl -n change get pod sided -o jsonpath='{.metadata.labels}')" = '{"a/b":"c","count":"2","once":"1","side":"yes"}' ]
    [ "$(kubectl -n change get pod sided -o jsonpath='{.spec.containers[*].name}')" = "c side" ]
    # the second pass gave it what the first gave the other
    [ "$(kubectl -n change get pod sided -o jsonpath='{.spec.containers[*].volumeMounts[*].mountPath}')" = "/var/run/secrets/kubernetes.io/serviceaccount /var/run/secrets/kubernetes.io/serviceaccount" ]
    # defaults came with it, and what only the server sets is as it was
    [ "$(kubectl -n change get pod sided -o jsonpath='{.spec.containers[1].terminationMessagePath}')" = /dev/termination-log ]
    [ "$(kubectl -n change get pod sided -o jsonpath='{.metadata.generation}')" = 1 ]
}

@test "changes that cannot be made are refused, or passed over" {
    kubectl create namespace broken
    changer broken '' v1 pods CREATE "reinvocationPolicy: Never, failurePolicy: Fail, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{spec: Object.spec{nothing: 1}}\"}}]"
    bind_changer broken broken ' '
    run ! pod broken a
    [[ $output == *"policy 'broken' with binding 'broken-binding' denied request: error applying patch: failed to convert patch object to typed object: .spec.nothing: field not declared in schema"* ]]
    changer broken '' v1 pods CREATE "reinvocationPolicy: Never, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', args: ['x']}]}}\"}}]"
    run ! pod broken a
    [[ $output == *"may not mutate atomic arrays, maps or structs: .spec.containers[0].args"* ]]
    changer broken '' v1 pods CREATE "reinvocationPolicy: Never, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{spec: Object.wrong{}}\"}}]"
    run ! pod broken a
    [[ $output == *'unexpected type name "Object.wrong", expected "Object.spec"'* ]]
    changer broken '' v1 pods CREATE "reinvocationPolicy: Never, failurePolicy: Ignore, mutations: [{patchType: JSONPatch, jsonPatch: {expression: \"[JSONPatch{op: 'remove', path: '/spec/nothing'}]\"}}]"
    pod broken a
}

@test "an expression that does not compile is refused with its place" {
    run ! policy bad '' v1 pods CREATE "validations: [{expression: 'true'}, {expression: 'object.x ='}]"
    [[ $output == *'spec.validations[1].expression: Invalid value: "object.x =": compilation failed: ERROR: <input>:1:10: Syntax error'* ]]
    run ! policy bad '' v1 pods CREATE "validations: [{expression: '1 + 1'}]"
    [[ $output == *'spec.validations[0].expression: Invalid value: "1 + 1": must evaluate to bool'* ]]
    run ! policy bad '' v1 pods CREATE "validations: [{expression: 'params.x'}]"
    [[ $output == *"undeclared reference to 'params'"* ]]
    run ! policy bad '' v1 pods CREATE "validations: [{expression: 'variables.no'}]"
    [[ $output == *"undefined field 'no'"* ]]
    run ! policy bad '' v1 pods CREATE "validations: [{expression: 'true', messageExpression: '1'}], matchConditions: [{name: a, expression: 'nope'}], auditAnnotations: [{key: k, valueExpression: '1'}]"
    [[ $output == *'spec.validations[0].messageExpression: Invalid value: "1": must evaluate to string'* ]]
    [[ $output == *"spec.matchConditions[0].expression"*"undeclared reference to 'nope'"* ]]
    [[ $output == *'spec.auditAnnotations[0].valueExpression: Invalid value: "1": must evaluate to one of [string null_type]'* ]]
    run ! changer bad '' v1 pods CREATE "reinvocationPolicy: Never, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: 'Object.spec{}'}}, {patchType: JSONPatch, jsonPatch: {expression: '[1]'}}]"
    [[ $output == *'spec.mutations[0].applyConfiguration.expression'*'must evaluate to Object'* ]]
    [[ $output == *'spec.mutations[1].jsonPatch.expression'*'must evaluate to list(JSONPatch)'* ]]
}

@test "other fields of a policy are held to their rules" {
    refused() { # TEXT SPEC
        run ! policy bad '' v1 pods CREATE "$2"
        [[ $output == *"$1"* ]] || { echo "$output"; return 1; }
    }
    policy lines '' v1 pods CREATE "validations: [{expression: \"true &&\\ntrue\", message: \" told\\n\"}, {expression: \"1\\n== 1\"}]" # several lines, no message
    kubectl delete validatingadmissionpolicy lines
    refused 'spec.validations[0].message: Invalid value: " ": message must be non-empty if specified' "validations: [{expression: 'true', message: ' '}]"
    refused 'message must not contain line breaks' "validations: [{expression: 'true', message: \"a\\nb\"}]"
    refused 'spec.variables[0].name: Invalid value: "a-b": name is not a valid CEL identifier' "variables: [{name: a-b, expression: '1'}], validations: [{expression: 'true'}]"
    refused 'spec.variables[0].name: Invalid value: "in": name is not a valid CEL identifier' "variables: [{name: in, expression: '1'}], validations: [{expression: 'true'}]"
    refused 'spec.auditAnnotations[0].key: Invalid value: "bad/a b"' "auditAnnotations: [{key: a b, valueExpression: \"'x'\"}]"
    refused 'spec.auditAnnotations[1].key: Duplicate value: "a"' "auditAnnotations: [{key: a, valueExpression: \"'x'\"}, {key: a, valueExpression: \"'y'\"}]"
    refused 'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c' "paramKind: {apiVersion: a/b/c, kind: K}, validations: [{expression: 'true'}]"
    refused 'spec.paramKind.kind: Invalid value: "a kind"' "paramKind: {apiVersion: v1, kind: a kind}, validations: [{expression: 'true'}]"
    refused 'spec.matchConstraints.excludeResourceRules[0].resourceNames[1]: Duplicate value: "a"' \
        "matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], resources: [pods], operations: [CREATE]}], excludeResourceRules: [{apiGroups: [''], apiVersions: [v1], resources: [pods], operations: [CREATE], resourceNames: [a, a]}]}, validations: [{expression: 'true'}]"
}

@test "types are looked at, and doubts told in the status" {
    policy typed apps v1 deployments CREATE "validations: [{expression: 'object.spec.replicas > 1'}, {expression: 'object.spec.replica > 1'}]"
    [ "$(kubectl get validatingadmissionpolicy typed -o jsonpath='{.status.observedGeneration}')" = 1 ]
    run kubectl get validatingadmissionpolicy typed -o jsonpath='{.status.typeChecking.expressionWarnings}'
    [[ $output == *'"fieldRef":"spec.validations[1].expression"'* && $output == *"apps/v1, Kind=Deployment: ERROR: "*"undefined field 'replica'"* ]]
    [[ $output != *'validations[0]'* ]]
    policy typed apps v1 deployments CREATE "validations: [{expression: 'object.spec.replicas > 2'}]"
    [ "$(kubectl get validatingadmissionpolicy typed -o jsonpath='{.status}')" = '{"observedGeneration":2,"typeChecking":{}}' ]
}

@test "nobody is asked about the rules themselves" {
    policy selfish admissionregistration.k8s.io '*' '*' "'*'" "validations: [{expression: 'false'}]"
    bind selfish ''
    policy selfish admissionregistration.k8s.io v1 '*' "'*'" "validations: [{expression: 'false'}]"
    kubectl delete validatingadmissionpolicybinding selfish-binding
    kubectl delete validatingadmissionpolicy selfish
}
