#!/usr/bin/env bats
# Tokens of an OpenID Connect issuer: a real one, of node.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    ISSUER_PORT=$(free_port)
    ISS=$DAVIT_DIR.iss
    mkdir "$ISS"
    export ISS ISSUER_PORT
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$ISS/key.pem" -out "$ISS/cert.pem" -subj /CN=issuer \
        -addext subjectAltName=IP:127.0.0.1 -days 2 2>/dev/null
    serve --oidc-username-claim email --oidc-groups-claim groups --oidc-groups-prefix 'oidc:' --oidc-required-claim 'tenant=blue' \
        --oidc-signing-algs RS256,RS384,RS512,PS256,ES256,ES384
}
teardown_file() {
    issuer_stop || true
    server_remove
}

serve() { # FLAGS...
    server_start --oidc-issuer-url "https://127.0.0.1:$ISSUER_PORT" --oidc-client-id kubernetes --oidc-ca-file "$ISS/cert.pem" "$@"
}

issuer_start() {
    rm -f "$ISS/up"
    node "$ROOT/tests/integration/oidc.issuer.mjs" "$ISS" "$ISSUER_PORT" >>"$ISS/log" 2>&1 3>&- &
    echo $! >"$ISS/pid"
    disown
    wait_for 20 test -s "$ISS/up"
}
issuer_stop() {
    [ -s "$ISS/pid" ] || return 0
    kill -9 "$(cat "$ISS/pid")"
    rm "$ISS/pid"
}
issuer() { curl -sS --max-time 10 --cacert "$ISS/cert.pem" -G "https://127.0.0.1:$ISSUER_PORT/$1" "${@:2}"; }
# mint [claim=JSON ...]: a token of somebody whom everything is right with, but for what is given
mint() {
    local args=(--data-urlencode 'email="mary@example.com"' --data-urlencode 'tenant="blue"') one
    for one in "$@"; do args+=(--data-urlencode "$one"); done
    issuer mint "${args[@]}"
}
as() { # TOKEN PATH [curl options]
    curl -sS --max-time 15 --cacert "$DAVIT_DIR/pki/ca.crt" -H "authorization: Bearer $1" "https://127.0.0.1:$DAVIT_PORT$2" "${@:3}"
}
code() { as "$1" /api -o /dev/null -w '%{http_code}'; }
whoami() {
    as "$1" /apis/authentication.k8s.io/v1/selfsubjectreviews -H 'content-type: application/json' -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' |
        jq -r '"\(.status.userInfo.username) \(.status.userInfo.groups | join(","))"'
}
refused() { # TEXT TOKEN: 401, and the log says why
    sleep 1.1 # one refusal a second is told of
    : >"$DAVIT_DIR.log"
    equals 401 code "$2"
    grep -q "a token was refused: .*$1" "$DAVIT_DIR.log" || { cat "$DAVIT_DIR.log" >&2; return 1; }
}

@test "the server starts while the issuer is away, refuses its tokens and says why" {
    # a token as any other, of this issuer
    local head='{"alg":"RS256","kid":"rsa-1"}' body
    body="{\"iss\":\"https://127.0.0.1:$ISSUER_PORT\",\"aud\":\"kubernetes\",\"exp\":9999999999}"
    b64() { printf %s "$1" | base64 -w0 | tr '+/' '-_' | tr -d =; }
    wait_for 15 grep -q 'oidc: the keys of .* cannot be fetched' "$DAVIT_DIR.log"
    equals 401 code "$(b64 "$head").$(b64 "$body").AAAA"
    grep -q 'authenticator not initialized' "$DAVIT_DIR.log"
    kubectl get --raw /readyz
    # tokens of our own are not its business
    kubectl create serviceaccount robot
    equals 200 code "$(kubectl create token robot)"
    issuer_start
    wait_for 40 grep -q 'oidc: 4 keys of' "$DAVIT_DIR.log"
    equals 200 code "$(mint)"
}

@test "a token names its user and his groups, by any algorithm that is allowed" {
    local alg
    for alg in RS256 RS384 RS512 PS256 ES256 ES384; do
        equals 'mary@example.com oidc:dev,oidc:ops,system:authenticated' whoami "$(mint "alg=$alg" 'groups=["dev","ops"]')"
    done
    equals 'mary@example.com oidc:dev,system:authenticated' whoami "$(mint 'groups="dev"' kid=none)"
    equals 'mary@example.com system:authenticated' whoami "$(mint 'aud=["other","kubernetes"]' 'email_verified=true')"
    # who may do what is RBAC's matter
    kubectl create clusterrolebinding ops --clusterrole view --group oidc:ops
    local token
    token=$(mint 'groups=["ops"]')
    equals 200 as "$token" /api/v1/namespaces/default/pods -o /dev/null -w '%{http_code}'
    equals 403 as "$token" /api/v1/namespaces/default/secrets -o /dev/null -w '%{http_code}'
    equals 403 as "$(mint)" /api/v1/namespaces/default/pods -o /dev/null -w '%{http_code}'
    # with kubectl, and asked about by others
    equals 'mary@example.com' kubectl --kubeconfig /dev/null --server "https://127.0.0.1:$DAVIT_PORT" --certificate-authority "$DAVIT_DIR/pki/ca.crt" \
        --token "$token" auth whoami -o jsonpath='{.status.userInfo.username}'
    equals 'true mary@example.com' sh -c "printf 'apiVersion: authentication.k8s.io/v1\nkind: TokenReview\nspec: {token: %s}\n' '$token' |
        kubectl create -f - -o jsonpath='{.status.authenticated} {.status.user.username}'"
}

@test "what is not right about a token is told in the log, and 401 to who shows it" {
    local now
    now=$(date +%s)
    refused 'expected audience "kubernetes"' "$(mint 'aud="other"')"
    refused 'token is expired' "$(mint "exp=$((now - 5))")"
    refused 'unsupported algorithm, got "HS256"' "$(mint alg=HS256)"
    refused 'email not verified' "$(mint email_verified=false)"
    equals 200 code "$(mint "nbf=$((now + 60))")" # clocks differ
    local good wrong
    good=$(mint)
    for wrong in "$(mint no=exp)" "$(mint "nbf=$((now + 900))")" "$(mint 'tenant="red"')" "$(mint no=email)" "$(mint 'groups=[1]')" \
        "$(mint alg=none)" "$(mint alg=none)AAAA" "$(mint alg=PS512)" "${good%??????????}AAAAAAAAAA" "$good.x" x..y; do
        equals 401 code "$wrong"
    done
    # of another issuer: nobody here knows it
    equals 401 code "$(mint 'iss="https://elsewhere.example.com"')"
}

@test "a new key is known with the first token that names it; the old one is not any more" {
    local before count
    before=$(mint)
    equals 200 code "$before"
    sleep 2.2
    issuer rotate
    equals 200 code "$(mint)"
    equals 401 code "$before"
    equals 401 code "$(mint key=old)"
    # nonsense makes no flood at the issuer
    count=$(issuer count)
    for _ in 1 2 3 4 5 6 7 8; do code "$(mint key=old)" >/dev/null; done
    [ $(($(issuer count) - count)) -le 3 ]
    # while it is away, the keys of before are good
    local good
    good=$(mint alg=ES256)
    issuer_stop
    equals 200 code "$good"
}

@test "names and prefixes as kube-apiserver has them; what makes no sense is refused at the start" {
    server_end
    issuer_start
    serve
    wait_for 20 grep -q 'oidc: 4 keys' "$DAVIT_DIR.log"
    equals "https://127.0.0.1:$ISSUER_PORT#mary system:authenticated" whoami "$(mint 'groups=["dev"]')"
    server_end
    serve --oidc-username-prefix - --oidc-groups-claim roles
    equals 'mary dev,system:authenticated' whoami "$(mint 'roles=["dev"]')"
    server_end
    serve --oidc-username-prefix 'corp:'
    equals 'corp:mary system:authenticated' whoami "$(mint)"
    server_end
    local out
    bad() { # TEXT OPTIONS...
        out=$("$DAVIT" server --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" "${@:2}" 2>&1) && return 1
        [[ $out == *"$1"* ]] || { echo "$out" >&2; return 1; }
    }
    bad 'must be specified together' --oidc-issuer-url https://127.0.0.1:1
    bad 'must be https' --oidc-issuer-url http://127.0.0.1:1 --oidc-client-id x
    bad 'none of RS256' --oidc-issuer-url https://127.0.0.1:1 --oidc-client-id x --oidc-signing-algs HS256
    bad 'KEY=VALUE' --oidc-issuer-url https://127.0.0.1:1 --oidc-client-id x --oidc-required-claim tenant
    bad 'cannot read /nowhere' --oidc-issuer-url https://127.0.0.1:1 --oidc-client-id x --oidc-ca-file /nowhere
}
