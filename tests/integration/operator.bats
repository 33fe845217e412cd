#!/usr/bin/env bats
# An operator (operator.mjs) in two replicas on a kind with two versions and a conversion webhook: it survives the loss of its leader
# and of the server. The server alone is enough.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

replica_start() { # NAME
    node "$ROOT/tests/integration/operator.mjs" "$1" "$OP" "$OP_PORT" >>"$OP/$1.out" 2>&1 3>&- &
    echo $! >"$OP/$1.pid"
}
replica_kill() {
    kill -9 "$(cat "$OP/$1.pid")"
    wait_for 30 sh -c "! kill -0 $(cat "$OP/$1.pid")"
}

setup_file() {
    server_dir
    OP=$BATS_FILE_TMPDIR
    OP_PORT=$(free_port)
    export OP OP_PORT
    cd "$ROOT/tests/integration"
    [ -d node_modules/@kubernetes/client-node ] || npm ci --no-audit --no-fund >&2
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$OP/tls.key" -out "$OP/tls.crt" 2>/dev/null
    server_start
    kubectl create -f - <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: sites.ops.example.com}
spec:
  group: ops.example.com
  scope: Namespaced
  names: {plural: sites, kind: Site}
  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1]
      clientConfig: {url: "https://127.0.0.1:$OP_PORT/convert", caBundle: $(base64 -w0 "$OP/tls.crt")}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [replicas, text], properties: {replicas: {type: integer, minimum: 0}, text: {type: string}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
  - name: v2
    served: true
    storage: false
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [pages]
            properties:
              pages: {type: object, required: [count, content], properties: {count: {type: integer, minimum: 0}, content: {type: string}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
Y
    wait_for 60 kubectl get sites.v1.ops.example.com
    replica_start one
    wait_for 30 grep -q '^one leads' "$OP/log"
    replica_start two
    wait_for 30 grep -q '^two runs' "$OP/log"
}

teardown_file() {
    for r in one two three; do [ ! -f "$OP/$r.pid" ] || kill -9 "$(cat "$OP/$r.pid")" 2>/dev/null || true; done
    server_remove
}

site() { # NAME REPLICAS TEXT
    printf 'apiVersion: ops.example.com/v1\nkind: Site\nmetadata: {name: %s}\nspec: {replicas: %s, text: "%s"}\n' "$1" "$2" "$3"
}

state() { # NAME: what its status says, what its children hold
    kubectl get sites.v1.ops.example.com "$1" -o json | jq -r '"\(.status.pages) \(.status.content) \(.status.observedGeneration == .metadata.generation)"'
    kubectl get configmaps -l "site=$1" -o json | jq -r '[.items[].data.content] | join(" ")'
}
is_state() { [ "$(state "$1" | xargs)" = "$2" ]; }
becomes() { # NAME STATE
    wait_for 60 is_state "$1" "$2" || { state "$1" >&2; tail -n 20 "$OP/log" "$OP"/*.out >&2; return 1; }
}
leader() { kubectl get lease sites -o jsonpath='{.spec.holderIdentity}'; }
is_leader() { [ "$(leader)" = "$1" ]; }

@test "one of two replicas works: finalizer, children, status, through the webhook" {
    for s in a b c d; do site $s 2 hello; echo ---; done | kubectl create -f -
    for s in a b c d; do becomes $s '2 hello true hello hello'; done
    equals '["ops.example.com/cleanup"]' kubectl get sites.v1.ops.example.com a -o jsonpath='{.metadata.finalizers}'
    equals '1 hello' eval 'kubectl patch sites.v2.ops.example.com a --type merge -p "{\"spec\":{\"pages\":{\"count\":1}}}" -o json | jq -r "\"\(.spec.pages.count) \(.spec.pages.content)\""'
    becomes a '1 hello true hello'
    # a child that is taken away comes again; whose owner names the other version
    kubectl delete configmap b-1
    becomes b '2 hello true hello hello'
}

@test "the leader is killed: the other one takes over, and the webhook with it" {
    gone=$(leader) # on a busy machine a lease may have changed hands already
    [ "$gone" = one ] && other=two || other=one
    echo $other >"$OP/other"
    before=$(kubectl get lease sites -o jsonpath='{.spec.leaseTransitions}')
    replica_kill "$gone"
    kubectl patch sites.v1.ops.example.com b --type merge -p '{"spec":{"replicas":3}}' # nobody leads, nobody converts
    becomes b '3 hello true hello hello hello'
    wait_for 60 is_leader $other
    [ "$(kubectl get lease sites -o jsonpath='{.spec.leaseTransitions}')" -gt "$before" ]
    replica_start three
    wait_for 30 grep -q '^three runs' "$OP/log"
}

@test "the server is killed: informers go on, nothing is lost" {
    other=$(cat "$OP/other")
    lists=$(grep -c "^$other lists" "$OP/log")
    kubectl delete sites.v1.ops.example.com c --wait=false
    server_end KILL
    server_start
    kubectl patch sites.v1.ops.example.com b --type merge -p '{"spec":{"text":"again"}}'
    becomes b '3 again true again again again'
    wait_for 60 sh -c '! kubectl get sites.v1.ops.example.com c'
    site e 2 late | kubectl create -f -
    becomes e '2 late true late late'
    kubectl delete configmap e-0
    becomes e '2 late true late late'
    [ "$(grep -c "^$other lists" "$OP/log")" -gt "$lists" ] # its watch could not go on (410): it listed
}

@test "what is deleted is finalized first, and its children go with it" {
    uids=$(kubectl get sites.v1.ops.example.com -o jsonpath='{range .items[*]}{.metadata.name} {.metadata.uid}{"\n"}{end}')
    kubectl delete sites.v1.ops.example.com --all --wait=false
    server_end KILL
    replica_kill "$(cat "$OP/other")"
    server_start
    wait_for 60 sh -c '[ -z "$(kubectl get sites.v1.ops.example.com -o name)" ]'
    wait_for 60 sh -c '[ -z "$(kubectl get configmaps -l site -o name)" ]'
    wait_for 60 is_leader three
    grep -q ' finalized c ' "$OP/log"
    while read -r s uid; do grep -q " finalized $s $uid\$" "$OP/log"; done <<<"$uids"
    kubectl delete crd sites.ops.example.com --timeout 60s
}
