#!/usr/bin/env bats
# Ways around access control: nodes that reach for more than they are, rules granted by who has not got them, certificates for
# more than was allowed, tokens and headers somebody made up, paths that are spelt in other ways.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    server_start
    local n
    for n in 1 2; do
        kubectl create -f - <<Y
---
{apiVersion: v1, kind: Node, metadata: {name: n$n, labels: {node-restriction.kubernetes.io/rack: "1", kubernetes.io/hostname: n$n}}}
Y
        kubectl create -f - <<Y
---
{apiVersion: v1, kind: Pod, metadata: {name: p$n}, spec: {nodeName: n$n, containers: [{name: a, image: x}]}}
Y
    done
    kubectl create secret generic top --from-literal=a=b
    kubectl create serviceaccount robot
}
teardown_file() { server_remove; }

node() { kubectl --as system:node:n1 --as-group system:nodes "$@"; }
mirror() { # NAME SPEC...: what the node makes of it
    node create -f - <<Y
---
{apiVersion: v1, kind: Pod, metadata: {name: $1, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: n1, containers: [{name: a, image: x$2}]$3}}
Y
}
ask() { # PATH [curl options]: without credentials
    curl -sS -k --path-as-is --max-time 15 -o /dev/null -w '%{http_code}' "https://127.0.0.1:$DAVIT_PORT$1" "${@:2}"
}
b64() { openssl base64 -A | tr '+/' '-_' | tr -d =; }

@test "a node reads no secret that nobody but itself has named" {
    contains 'no relationship found between node and this object' node get secret top
    contains 'node "n1" can not create pods that reference secrets' mirror m ', envFrom: [{secretRef: {name: top}}]' ''
    contains 'can not create pods that reference secrets' mirror m ', env: [{name: A, valueFrom: {secretKeyRef: {name: top, key: a}}}]' ''
    contains 'can not create pods that reference secrets' mirror m '' ', volumes: [{name: v, secret: {secretName: top}}]'
    contains 'can not create pods that reference secrets' mirror m '' ', volumes: [{name: v, projected: {sources: [{secret: {name: top}}]}}]'
    contains 'can not create pods that reference secrets' mirror m '' ', imagePullSecrets: [{name: top}]'
    contains 'can not create pods that reference secrets' mirror m '' ', initContainers: [{name: b, image: x, envFrom: [{secretRef: {name: top}}]}]'
    contains 'can not create pods that reference configmaps' mirror m ', envFrom: [{configMapRef: {name: c}}]' ''
    contains 'can not create pods that reference configmaps' mirror m '' ', volumes: [{name: v, configMap: {name: c}}]'
    contains 'a mirror pod may not reference service accounts' mirror m '' ', serviceAccountName: robot'
    contains 'can not create pods that reference persistentvolumeclaims' mirror m '' ', volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]'
    contains 'can only create mirror pods' node run m --image=x --overrides='{"spec":{"nodeName":"n1"}}'
    contains 'no relationship found between node and this object' node get secret top
    contains "pod/m created" mirror m "" ""
    # nor a token that is bound to none of its pods
    contains 'not bound to a pod' node create token default
    contains 'no relationship found' node create token robot --bound-object-kind Pod --bound-object-name p1
}

@test "a node says nothing of itself that leads pods to it, takes no taint off and does not delete itself" {
    contains 'is not allowed to modify labels: node-restriction.kubernetes.io/rack' node label node n1 node-restriction.kubernetes.io/rack-
    contains 'is not allowed to modify labels: node-restriction.kubernetes.io/rack' node label --overwrite node n1 node-restriction.kubernetes.io/rack=2
    contains 'is not allowed to modify labels: x.node-restriction.kubernetes.io/y' node label node n1 x.node-restriction.kubernetes.io/y=1
    contains 'is not allowed to modify labels: node-role.kubernetes.io/control-plane' node label node n1 node-role.kubernetes.io/control-plane=
    contains 'is not allowed to modify labels: x.k8s.io/y' node label node n1 x.k8s.io/y=1
    contains 'is not allowed to modify labels' node patch node n1 --subresource status --type merge -p '{"metadata":{"labels":{"node-restriction.kubernetes.io/rack":null}}}'
    node label node n1 node.kubernetes.io/instance-type=big example.com/y=1 topology.kubernetes.io/zone=a
    node label node n1 example.com/y-
    contains 'is not allowed to modify taints' node taint node n1 a=b:NoSchedule
    contains 'is not allowed to modify ownerReferences' \
        node patch node n1 --type merge -p '{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"1"}]}}'
    contains 'is not allowed to modify node "n2"' node label node n2 example.com/y=1
    contains 'forbidden' node delete node n1
    contains 'forbidden' node delete pod p2
    contains 'forbidden' node create --raw /api/v1/namespaces/default/pods/p2/eviction -f - \
        <<<'{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p2","namespace":"default"}}'
    # selectors that only look as if they were for its own pods
    local s
    for s in 'metadata.name!=x%5C,spec.nodeName=n1' 'metadata.name!=x%5C,spec.nodeName%5C=n1' 'spec.nodeName!=n1' 'spec.nodeName=n2' ''; do
        contains 'Error from server' node get --raw "/api/v1/pods?fieldSelector=$s"
    done
    equals 'm p1' sh -c "kubectl --as system:node:n1 --as-group system:nodes get pods --field-selector spec.nodeName=n1 -o name | sed s,pod/,, | sort | paste -sd' '"
}

@test "nobody grants what he has not got" {
    kubectl create -f - <<'Y'
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: eve}
rules:
- {apiGroups: [""], resources: [secrets], resourceNames: ['*'], verbs: [get]}
- {apiGroups: [""], resources: [pods/log], verbs: [get]}
- {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: [get, create, update, patch]}
Y
    kubectl create rolebinding eve --role eve --user eve
    # "*" is the name of one object, not of all
    local held='attempting to grant RBAC permissions not currently held'
    contains "$held" kubectl --as eve create role a --verb get --resource secrets --resource-name top
    contains "$held" kubectl --as eve create role a --verb get --resource secrets
    contains "eve\" (groups=[\"system:authenticated\"]) is $held:
{APIGroups:[\"\"], Resources:[\"configmaps\"], Verbs:[\"get\" \"list\"]}
{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}" kubectl --as eve create role a --verb get,list --resource secrets,configmaps
    contains '{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["web"], Verbs:["patch"]}' \
        kubectl --as eve create role a --verb patch --resource deployments.apps --resource-name web
    contains "$held" kubectl --as eve create role a --verb get --resource pods
    contains "$held" kubectl --as eve create role a --verb get --resource 'pods/*'
    contains "$held" kubectl --as eve create role a --verb '*' --resource pods/log
    contains "$held" kubectl --as eve create rolebinding a --clusterrole cluster-admin --user eve
    contains "$held" kubectl --as eve patch role eve --type json -p '[{"op":"add","path":"/rules/-","value":{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}}]'
    kubectl --as eve create role a --verb get --resource pods/log
    kubectl --as eve create role b --verb get --resource secrets --resource-name '*'
    contains 'secrets "top" is forbidden' kubectl --as eve get secret top
    equals no sh -c 'kubectl --as eve auth can-i get pods/exec || true'
    equals no sh -c 'kubectl --as eve auth can-i get pods || true'
}

@test "no certificate makes an administrator, or a node of somebody else" {
    local name=0 subject signer usages
    csr() { # SUBJECT SIGNER USAGES
        name=$((name + 1))
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj "$1" -out "$DAVIT_DIR.csr" 2>/dev/null
        kubectl create -f - <<Y
---
{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: c$name}, spec: {signerName: $2, request: $(base64 -w0 "$DAVIT_DIR.csr"), usages: [$3]}}
Y
    }
    contains 'with system:masters group is not allowed' csr '/O=system:masters/CN=x' kubernetes.io/kube-apiserver-client 'client auth'
    contains 'with system:masters group is not allowed' csr '/O=devs/O=system:masters/CN=x' kubernetes.io/kube-apiserver-client 'client auth'
    for subject in /O=system:masters/CN=system:node:n1 /O=system:nodes/O=system:masters/CN=system:node:n1 /O=system:nodes/CN=admin; do
        csr "$subject" kubernetes.io/kube-apiserver-client-kubelet 'client auth, digital signature'
        kubectl certificate approve "c$name"
        wait_for 15 sh -c "kubectl get csr c$name -o jsonpath='{.status.conditions[*].type}' | grep -q Failed"
        equals '' kubectl get csr "c$name" -o jsonpath='{.status.certificate}'
    done
    csr '/O=devs/CN=x' kubernetes.io/kube-apiserver-client 'client auth'
    kubectl create clusterrole half --verb update,patch,get --resource certificatesigningrequests/approval,certificatesigningrequests,certificatesigningrequests/status
    kubectl create clusterrolebinding half --clusterrole half --user half
    contains 'user not permitted to approve requests with signerName' kubectl --as half certificate approve "c$name"
    contains 'user not permitted to sign requests with signerName' kubectl --as half patch csr "c$name" --subresource status --type merge -p \
        "{\"status\":{\"certificate\":\"$(base64 -w0 "$DAVIT_DIR/pki/ca.crt")\"}}"
    rm -f "$DAVIT_DIR.csr"
}

@test "tokens and headers somebody made up are nobody's" {
    local good head body sig wrong path=/api/v1/namespaces/default/secrets
    good=$(kubectl create token robot)
    IFS=. read -r head body sig <<<"$good"
    equals 403 ask $path -H "authorization: Bearer $good"
    equals 401 ask $path -H "authorization: Bearer $(kubectl create token robot --audience other)"
    local masters
    masters=$(printf '{"iss":"https://kubernetes.default.svc.cluster.local","aud":["https://kubernetes.default.svc.cluster.local"],"exp":9999999999,"sub":"system:serviceaccount:kube-system:x"}' | b64)
    for wrong in "$(printf '{"alg":"none"}' | b64).$body." "$(printf '{"alg":"none"}' | b64).$masters." "$head.$masters.$sig" "$head.$body." "$head.$body" \
        "$(printf '{"alg":"HS256"}' | b64).$body.$(printf '%s' "$(printf '{"alg":"HS256"}' | b64).$body" | openssl dgst -sha256 -mac HMAC -macopt "key:$(cat "$DAVIT_DIR/pki/ca.crt")" -binary | b64)" \
        abcdef.0123456789abcdef x; do
        equals 401 ask $path -H "authorization: Bearer $wrong"
    done
    equals 401 ask $path -H 'authorization: Basic YWRtaW46YWRtaW4='
    # what a front proxy says counts from a front proxy alone, and nobody asks as somebody else without leave
    equals 403 ask $path -H 'X-Remote-User: admin' -H 'X-Remote-Group: system:masters'
    equals 403 ask $path -H 'Impersonate-User: admin' -H 'Impersonate-Group: system:masters'
    equals 403 ask $path -H "authorization: Bearer $good" -H 'Impersonate-User: admin' -H 'Impersonate-Group: system:masters'
    equals 403 ask $path -H "authorization: Bearer $good" -H 'impersonate-group: system:masters' -H 'IMPERSONATE-USER: system:serviceaccount:kube-system:x'
    # of one that is gone
    kubectl delete serviceaccount robot
    equals 401 ask $path -H "authorization: Bearer $good"
}

@test "without credentials there is health and the version, however a path is spelt" {
    local path
    for path in /livez /readyz /healthz /version /version/; do equals 200 ask $path; done
    for path in / /api /apis /openapi/v2 /openapi/v3 /metrics /livez/x /readyz/x /api/v1 /apis/apps/v1 /api/v1/namespaces //api/v1/namespaces /api//v1/namespaces \
        /%61pi/v1/namespaces /livez/../api/v1/namespaces /livez/%2e%2e/metrics /version/../metrics /version%2f..%2fmetrics /livez%2f..%2fapi/v1/namespaces \
        /api/v1/../v1/secrets /api/v1/namespaces/default/secrets/top /api/v1/namespaces/default/pods/p1/proxy/x /debug/davit/ /debug/davit/state \
        '/livez?x=/../../api' '/api/v1/namespaces?watch=1' /api/v1/watch/secrets /logs /openid/v1/jwks; do
        case $(ask "$path") in
        400 | 401 | 403 | 404) ;;
        200) [ "$path" = '/livez?x=/../../api' ] || { echo "$path" >&2; return 1; } ;;
        *) echo "$path: $(ask "$path")" >&2; return 1 ;;
        esac
    done
}
