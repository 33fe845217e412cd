#!/usr/bin/env bats
# APIs that another server serves: an extension server of node behind a Service without selector.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    EXT=$DAVIT_DIR.ext
    mkdir "$EXT"
    export EXT
    server_start
    NAME=v1.wardle.example.com
    BASE=/apis/wardle.example.com/v1
    ADDRESS=$(hostname -I | tr ' ' '\n' | grep -m1 '^[0-9.]*$')
    EXT_PORT=$(/usr/bin/python3 -c 'import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 0)); print(s.getsockname()[1])' "$ADDRESS")
    export NAME BASE ADDRESS EXT_PORT
    kubectl config view --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d >"$EXT/admin.pem"
    kubectl config view --raw -o jsonpath='{.users[0].user.client-key-data}' | base64 -d >>"$EXT/admin.pem"
    kubectl -n kube-system get configmap extension-apiserver-authentication -o jsonpath='{.data.requestheader-client-ca-file}' >"$EXT/proxy-ca.pem"
    local key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
    # shellcheck disable=SC2086
    {
        openssl req -x509 $key -keyout "$EXT/ca.key" -out "$EXT/ca.pem" -subj /CN=wardle-ca -days 2
        openssl req -new $key -keyout "$EXT/key.pem" -subj /CN=wardle |
            openssl x509 -req -CA "$EXT/ca.pem" -CAkey "$EXT/ca.key" -days 2 -extfile <(echo subjectAltName=DNS:api.wardle.svc) >"$EXT/cert.pem"
    } 2>/dev/null
    kubectl create namespace wardle
}
teardown_file() {
    ext_stop || true
    server_remove
}
setup() { : >"$EXT/seen"; }

ext_start() {
    echo ok >"$EXT/mode"
    rm -f "$EXT/up"
    node "$ROOT/tests/integration/aggregation.server.mjs" "$EXT" "$ADDRESS" "$EXT_PORT" >>"$EXT/log" 2>&1 3>&- &
    echo $! >"$EXT/pid"
    disown
    wait_for 20 test -s "$EXT/up"
}
ext_stop() {
    [ -s "$EXT/pid" ] || return 0
    kill -9 "$(cat "$EXT/pid")"
    rm "$EXT/pid"
}
condition() { kubectl get apiservice "$NAME" -o jsonpath='{.status.conditions[?(@.type=="Available")].'"$1"'}'; }
has_reason() { [ "$(condition reason)" = "$1" ]; }
ask() { # PATH [curl options]: as the administrator
    local path=$1
    shift
    curl -sS --max-time 15 --cacert "$DAVIT_DIR/pki/ca.crt" --cert "$EXT/admin.pem" "$@" "https://127.0.0.1:$DAVIT_PORT$path"
}
code() { ask "$1" -o /dev/null -w '%{http_code}' "${@:2}"; }
aggregated() { ask /apis -H 'accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'; }
freshness() { aggregated | jq -r '.items[] | select(.metadata.name == "wardle.example.com") | .versions[0].freshness'; }

@test "every group that is served here has its APIService, custom ones as long as they are served" {
    equals "$(kubectl api-versions | grep -v '^apiregistration' | awk -F/ '{print NF == 1 ? $1 "." : $2 "." $1}' | sort)" \
        sh -c "kubectl get apiservices -o name | sed 's|.*/||' | sort"
    equals 'Local True onstart' kubectl get apiservice v1.apps -o jsonpath='{.status.conditions[0].reason} {.status.conditions[0].status} {.metadata.labels.kube-aggregator\.kubernetes\.io/automanaged}'
    kubectl apply -f - <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.house.example.com}
spec:
  group: house.example.com
  scope: Namespaced
  names: {plural: lamps, kind: Lamp}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
Y
    wait_for 10 kubectl get apiservice v1.house.example.com
    equals true kubectl get apiservice v1.house.example.com -o jsonpath='{.metadata.labels.kube-aggregator\.kubernetes\.io/automanaged}'
    kubectl delete apiservice v1.house.example.com # it comes back
    wait_for 10 kubectl get apiservice v1.house.example.com
    kubectl delete crd lamps.house.example.com
    gone() { ! kubectl get apiservice v1.house.example.com; }
    wait_for 10 gone
}

@test "what is missing is told, until nothing is missing" {
    kubectl apply -f - <<Y
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: $NAME}
spec:
  group: wardle.example.com
  version: v1
  service: {namespace: wardle, name: api}
  caBundle: $(base64 -w0 "$EXT/ca.pem")
  groupPriorityMinimum: 1000
  versionPriority: 15
Y
    wait_for 10 has_reason ServiceNotFound
    equals 'service/api in "wardle" is not present' condition message
    contains 'False (ServiceNotFound)' kubectl get apiservices "$NAME"
    kubectl -n wardle apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {ports: [{name: other, port: 80}]}
Y
    wait_for 10 has_reason ServicePortError
    kubectl -n wardle patch service api --type merge -p '{"spec": {"ports": [{"name": "https", "port": 443}]}}'
    wait_for 10 has_reason EndpointsNotFound
    kubectl -n wardle apply -f - <<Y
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-1, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
endpoints: [{addresses: [$ADDRESS], conditions: {ready: false}}]
ports: [{name: https, port: $EXT_PORT}]
Y
    wait_for 10 has_reason MissingEndpoints
    equals 'service unavailable' ask "$BASE/flunders"
    equals 503 code "$BASE/flunders"
    kubectl -n wardle patch endpointslice api-1 --type merge -p "{\"endpoints\": [{\"addresses\": [\"$ADDRESS\"]}]}"
    wait_for 10 has_reason FailedDiscoveryCheck
    contains "https://$ADDRESS:$EXT_PORT$BASE" condition message
    ask /metrics >"$EXT/metrics"
    grep -q "^aggregator_unavailable_apiservice{name=\"$NAME\"} 1" "$EXT/metrics"
    # nobody else is kept from anything: discovery knows the version, and says that it knows nothing of it
    equals Stale freshness
    kubectl get nodes,pods
    ext_start
    wait_for 30 has_reason Passed
    equals 'all checks passed' condition message
    equals 0 sh -c "curl -sS --cacert '$DAVIT_DIR/pki/ca.crt' --cert '$EXT/admin.pem' 'https://127.0.0.1:$DAVIT_PORT/metrics' | sed -n 's/^aggregator_unavailable_apiservice{.*} //p'"
}

@test "discovery and OpenAPI tell of it like of our own" {
    equals Current freshness
    equals 'flunders Flunder Namespaced status' sh -c "kubectl get --raw $BASE >/dev/null && kubectl api-resources --api-group wardle.example.com --no-headers | awk '{print \$1, \$5, \$4 == \"true\" ? \"Namespaced\" : \$4, \"status\"}'"
    equals '["create","delete","get","list","watch"] fl status' sh -c "$(declare -f ask aggregated); aggregated | jq -r '.items[] | select(.metadata.name == \"wardle.example.com\") | .versions[0].resources[0] | \"\(.verbs | tojson) \(.shortNames[0]) \(.subresources[0].subresource)\"'"
    equals wardle.example.com/v1 sh -c "kubectl get --raw /apis/wardle.example.com | jq -r .preferredVersion.groupVersion"
    # the groups come in the order of their priorities: ours, the extension's among the custom ones
    equals 'apiregistration.k8s.io apps wardle.example.com metrics.k8s.io' sh -c "kubectl get --raw /apis | jq -r '[.groups[].name] | \"\(.[0]) \(.[1]) \(.[-2]) \(.[-1])\"'"
    equals "/openapi/v3$BASE?hash=77" sh -c "kubectl get --raw /openapi/v3 | jq -r '.paths[\"apis/wardle.example.com/v1\"].serverRelativeURL'"
    equals 'true object object true true' sh -c "kubectl get --raw /openapi/v2 | jq -r '\"\(.paths | has(\"$BASE/flunders\")) \(.definitions[\"com.example.wardle.v1.Flunder\"].type) \(.definitions[\"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta\"].type) \(.paths | has(\"/api/v1/pods\")) \(.paths | has(\"/version/\") | not)\"'"
    equals wardle sh -c "kubectl get --raw '/openapi/v3$BASE?hash=77' | jq -r .info.title"
}

@test "requests go there in the name of who asks, and nobody can say that he is somebody else" {
    printf 'apiVersion: wardle.example.com/v1\nkind: Flunder\nmetadata: {name: one}\nspec: {size: 3}\n' | kubectl create --validate=false -f -
    equals 3 kubectl get flunder one -o jsonpath='{.spec.size}'
    contains one kubectl get fl
    contains 'flunders.wardle.example.com "two" not found' kubectl get flunder two
    ask "$BASE/namespaces/default/flunders/spoof" -H 'X-Remote-User: root' -H 'x-remote-group: system:masters' -H 'X-Remote-Extra-Scopes: all' \
        -H 'X-Remote-Uid: 7' >/dev/null
    kubectl get --as mary --as-group staff --as-user-extra acme.com/project=p1 --raw "$BASE" >/dev/null || true
    grep spoof "$EXT/seen" | jq -e '.user == ["kubernetes-admin"] and .groups == ["system:masters", "system:authenticated"] and (.extra | keys) == ["x-remote-extra-authentication.kubernetes.io%2fcredential-id"]'
    jq -es 'all(.trusted and .cn == "front-proxy-client" and .sni == "api.wardle.svc" and .authorization == null and .impersonate == [])' "$EXT/seen"
    # without our certificate the server believes nothing
    equals 401 curl -sS --cacert "$EXT/ca.pem" --resolve "api.wardle.svc:$EXT_PORT:$ADDRESS" -H 'X-Remote-User: root' -o /dev/null -w '%{http_code}' \
        "https://api.wardle.svc:$EXT_PORT$BASE"
}

@test "RBAC decides here, before anything is asked there" {
    kubectl create clusterrole wardle-reader --verb get,list --resource flunders.wardle.example.com || kubectl apply -f - <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: wardle-reader}
rules: [{apiGroups: [wardle.example.com], resources: [flunders], verbs: [get, list]}]
Y
    kubectl -n wardle create rolebinding reader --clusterrole wardle-reader --user mary
    local mary=(-H 'Impersonate-User: mary' -H 'Impersonate-Group: system:authenticated' -H 'Impersonate-Extra-Acme.com%2fproject: p1')
    equals 200 code "$BASE/namespaces/wardle/flunders" "${mary[@]}"
    jq -es '[.[] | select(.user == ["mary"])] | length == 1 and .[0].extra == {"x-remote-extra-acme.com%2fproject": ["p1"]}' "$EXT/seen"
    for path in "$BASE/namespaces/default/flunders" "$BASE/flunders" "$BASE/namespaces/wardle/flunders?watch=1" \
        "$BASE/namespaces/wardle/flunders/one/status"; do
        equals 403 code "$path" "${mary[@]}"
    done
    equals 403 code "$BASE/namespaces/wardle/flunders" "${mary[@]}" -X POST -d '{}'
    equals 'flunders.wardle.example.com is forbidden: User "mary" cannot list resource "flunders" in API group "wardle.example.com" at the cluster scope' \
        sh -c "$(declare -f ask); ask $BASE/flunders -H 'Impersonate-User: mary' | jq -r .message"
    # what servers might read in different ways is no path at all
    for path in "$BASE/namespaces/wardle%2f..%2fdefault/flunders" "$BASE/namespaces/wardle/../default/flunders" "$BASE//namespaces/default/flunders"; do
        equals 400 code "$path" --path-as-is "${mary[@]}"
    done
    jq -es '[.[] | select(.user == ["mary"])] | length == 1' "$EXT/seen"
    equals 401 curl -sS --cacert "$DAVIT_DIR/pki/ca.crt" -H 'authorization: Bearer x' -o /dev/null -w '%{http_code}' "https://127.0.0.1:$DAVIT_PORT$BASE"
}

@test "watches, large bodies and connections flow through, at the pace of the slower side" {
    kubectl get flunders -w -o name >"$EXT/watched" 3>&- &
    local watch=$!
    wait_for 10 grep -q one "$EXT/watched"
    printf 'apiVersion: wardle.example.com/v1\nkind: Flunder\nmetadata: {name: late}\n' | kubectl create --validate=false -f -
    wait_for 10 grep -q late "$EXT/watched"
    kill $watch
    equals 0 sh -c "$(declare -f ask); ask $BASE/namespaces/default/flunders/one/upload -X POST -H 'content-length: 0' | jq .bytes"
    equals 0 sh -c "$(declare -f ask); ask $BASE/namespaces/default/flunders/one/upload -X POST --http1.1 -d '' | jq .bytes"
    equals 3 sh -c "$(declare -f ask); printf abc | ask $BASE/namespaces/default/flunders/one/upload --http1.1 -X PUT -T - | jq .bytes"
    head -c 20000000 /dev/zero >"$EXT/large" # more than any object of our own may have
    equals 20000000 sh -c "$(declare -f ask); ask $BASE/namespaces/default/flunders/one/upload -T '$EXT/large' | jq .bytes"
    equals 67108864 sh -c "$(declare -f ask); ask $BASE/namespaces/default/flunders/one/download?mb=64 | wc -c"
    # who reads slowly makes the server wait: what it sends is in the buffers of sockets, not in our memory
    ask "$BASE/namespaces/default/flunders/one/download?mb=2048" --limit-rate 10k --max-time 3 -o /dev/null || true
    [ "$(cat "$EXT/sent")" -lt 1000000000 ]
    /usr/bin/python3 - "$DAVIT_PORT" "$EXT/admin.pem" "$BASE/namespaces/default/flunders/one/tunnel" <<'P'
import socket, ssl, sys
c = ssl._create_unverified_context()
c.load_cert_chain(sys.argv[2])
s = c.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
s.settimeout(10)
s.sendall(f"POST {sys.argv[3]} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n".encode())
got = b""
while b"\r\n\r\n" not in got:
    got += s.recv(1000)
assert got.startswith(b"HTTP/1.1 101"), got
for word in (b"one", b"two"):
    s.sendall(word)
    want, back = b"<" + word + b">", b""
    while len(back) < len(want):
        back += s.recv(100)
    assert back == want, back
P
    grep tunnel "$EXT/seen" | jq -e '.trusted and .user == ["kubernetes-admin"]'
}

@test "after a restart of ours it is as it was" {
    server_end
    server_start
    equals 200 code "$BASE/namespaces/default/flunders/one"
    equals True condition status
    current() { [ "$(freshness)" = Current ]; }
    wait_for 10 current
}

@test "a server that hangs or dies is known to be gone, keeps nobody, and is known to be back" {
    echo hang >"$EXT/mode"
    for _ in 1 2 3 4 5 6 7 8; do ask "$BASE/flunders" --max-time 20 >/dev/null 2>&1 3>&- & done
    kubectl get namespaces
    kubectl create configmap beside
    equals Current freshness # not yet known
    ext_stop
    kubectl -n wardle annotate service api touched=yes # looked at when its Service changes
    wait_for 20 has_reason FailedDiscoveryCheck
    equals Stale freshness
    # what it last said of its resources stays known
    equals flunders sh -c "$(declare -f ask aggregated); aggregated | jq -r '.items[] | select(.metadata.name == \"wardle.example.com\") | .versions[0].resources[0].resource'"
    contains 'the server is currently unable to handle the request' kubectl get --raw "$BASE/flunders"
    wait
    ext_start
    wait_for 40 has_reason Passed
    equals Current freshness
    equals 200 code "$BASE/flunders"
    # another authority: its certificate is no good any more
    kubectl patch apiservice "$NAME" --type merge -p "{\"spec\": {\"caBundle\": \"$(base64 -w0 "$EXT/proxy-ca.pem")\"}}"
    wait_for 10 has_reason FailedDiscoveryCheck
    contains certificate condition message
    kubectl patch apiservice "$NAME" --type merge -p '{"spec": {"caBundle": null, "insecureSkipTLSVerify": true}}'
    wait_for 10 has_reason Passed
    kubectl delete apiservice "$NAME"
    unserved() { [ "$(code "$BASE/flunders")" = 404 ] && ! kubectl get --raw /apis/wardle.example.com; }
    wait_for 10 unserved
}
