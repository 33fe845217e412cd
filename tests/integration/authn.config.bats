#!/usr/bin/env bats
# A file of authentication with two real issuers, which is read again when it changes.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    server_dir
    export ISS=$DAVIT_DIR.iss P1 P2 FILE=$DAVIT_DIR.authn.yaml
    P1=$(free_port)
    P2=$(free_port)
    local n port
    for n in 1 2; do
        mkdir -p "$ISS/$n"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$ISS/$n/key.pem" -out "$ISS/$n/cert.pem" -subj /CN=issuer \
            -addext subjectAltName=IP:127.0.0.1 -days 2 2>/dev/null
    done
    issuer_start 1 "$P1"
    config >"$FILE"
    server_start --authentication-config "$FILE"
    wait_for 20 grep -q "keys of https://127.0.0.1:$P1" "$DAVIT_DIR.log"
}
teardown_file() {
    issuer_stop 1 || true
    issuer_stop 2 || true
    server_remove
    rm -rf "$ISS" "$FILE"
}

issuer_start() { # N PORT
    rm -f "$ISS/$1/up"
    node "$ROOT/tests/integration/oidc.issuer.mjs" "$ISS/$1" "$2" >>"$ISS/log" 2>&1 3>&- &
    echo $! >"$ISS/$1/pid"
    disown
    wait_for 20 test -s "$ISS/$1/up"
}
issuer_stop() {
    [ -s "$ISS/$1/pid" ] || return 0
    kill -9 "$(cat "$ISS/$1/pid")"
    rm "$ISS/$1/pid"
}
config() { # the file with the first issuer; further ones are appended
    cat <<END
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}]}
jwt:
- issuer:
    url: https://127.0.0.1:$P1
    audiences: [kubernetes, other]
    audienceMatchPolicy: MatchAny
    certificateAuthority: |
$(sed 's/^/      /' "$ISS/1/cert.pem")
  claimMappings:
    username: {expression: '"one:" + claims.sub'}
    groups: {expression: 'claims.?roles.orValue("").split(",")'}
    uid: {claim: sub}
    extra: [{key: example.com/team, valueExpression: 'claims.?team.orValue([])'}]
  claimValidationRules:
  - {expression: 'claims.?tenant.orValue("") in ["blue", "green"]', message: wrong tenant}
  userValidationRules:
  - {expression: "user.groups.all(g, !g.startsWith('system:'))", message: groups of the system are not given away}
END
}
second() { # USERNAME-PREFIX
    cat <<END
- issuer:
    url: https://127.0.0.1:$P2
    discoveryURL: https://127.0.0.1:$P2/.well-known/openid-configuration
    audiences: [kubernetes]
    certificateAuthority: |
$(sed 's/^/      /' "$ISS/2/cert.pem")
  claimMappings:
    username: {claim: sub, prefix: '$1'}
END
}
mint() { # N [claim=JSON ...]
    local n=$1 port=$P1 args=() one
    shift
    [ "$n" = 1 ] || port=$P2
    for one in "$@"; do args+=(--data-urlencode "$one"); done
    curl -sS --max-time 10 --cacert "$ISS/$n/cert.pem" -G "https://127.0.0.1:$port/mint" "${args[@]}"
}
as() { # TOKEN PATH [curl options]
    curl -sS --max-time 15 --cacert "$DAVIT_DIR/pki/ca.crt" -H "authorization: Bearer $1" "https://127.0.0.1:$DAVIT_PORT$2" "${@:3}"
}
code() { as "$1" /api -o /dev/null -w '%{http_code}'; }
whoami() {
    as "$1" /apis/authentication.k8s.io/v1/selfsubjectreviews -H 'content-type: application/json' -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' |
        jq -c '.status.userInfo | [.username, .uid, .groups, .extra]'
}
nobody() { curl -sS --max-time 15 --cacert "$DAVIT_DIR/pki/ca.crt" -o /dev/null -w '%{http_code}' "https://127.0.0.1:$DAVIT_PORT$1"; }
reloads() { kubectl get --raw /metrics | grep "automatic_reloads_total{status=\"$1\"}" | grep -o '[0-9]*$' || echo 0; }

@test "claims become a user by expressions, and rules are held against both" {
    equals '["one:mary","mary",["dev","ops","system:authenticated"],{"authentication.kubernetes.io/credential-id":["JTI=j-1"],"example.com/team":["a","b"]}]' \
        whoami "$(mint 1 'tenant="blue"' 'roles="dev,ops"' 'team=["a","b"]' 'jti="j-1"')"
    equals '["one:mary","mary",["system:authenticated"],null]' whoami "$(mint 1 'tenant="green"' 'aud="other"')"
    # asked about by others: the same
    local token
    token=$(mint 1 'tenant="blue"' 'roles="dev"' 'jti="j-2"')
    equals 'one:mary ["JTI=j-2"]' sh -c "printf 'apiVersion: authentication.k8s.io/v1\nkind: TokenReview\nspec: {token: %s}\n' '$token' |
        kubectl create -f - -o json | jq -r '.status.user | \"\(.username) \(.extra[\"authentication.kubernetes.io/credential-id\"] | tojson)\"'"
    local wrong
    for wrong in "$(mint 1)" "$(mint 1 'tenant="red"')" "$(mint 1 'tenant="blue"' 'aud="third"')" "$(mint 1 'tenant="blue"' 'roles="system:masters"')" \
        "$(mint 1 'tenant="blue"' 'sub=7')" "$(mint 1 'tenant="blue"' no=sub)" "$(mint 1 'tenant="blue"' alg=none)" "$(mint 1 'tenant="blue"' alg=HS256)"; do
        equals 401 code "$wrong"
    done
    grep -q 'a token was refused: oidc: ' "$DAVIT_DIR.log"
}

@test "who shows nothing gets where the file says, and nowhere else" {
    equals 200 nobody /livez
    equals 200 nobody /readyz
    for path in /livez/ping /version /api /healthz /livez/ /livez/../api //livez /%6civez; do
        equals 401 nobody "$path"
    done
}

@test "a changed file is in force without a restart; a wrong one is not" {
    equals 401 code "$(mint 1 'iss="https://127.0.0.1:'"$P2"'"' 'tenant="blue"')"
    issuer_start 2 "$P2"
    local token bad
    token=$(mint 2)
    equals 401 code "$token"
    { config; second two: ; } >"$FILE"
    wait_for 30 sh -c "grep -q 'is in force, issuers: 2' '$DAVIT_DIR.log'"
    equals '["two:mary",null,["system:authenticated"],null]' whoami "$token"
    # each by its own keys: the other's signature is worth nothing
    equals 401 code "$(mint 1 'iss="https://127.0.0.1:'"$P2"'"')"
    [ "$(reloads success)" -ge 1 ]
    # wrong: told once, and what was before stays
    bad=$(reloads failure)
    { config; second two: | sed 's/claim: sub/claims: sub/'; } >"$FILE"
    wait_for 30 grep -q 'unknown field "jwt\[1\].claimMappings.username.claims".*what was before stays' "$DAVIT_DIR.log"
    equals 200 code "$token"
    [ "$(reloads failure)" -eq $((bad + 1)) ]
    # who may be anonymous does not change while the server runs
    { config | grep -v ^anonymous; second two: ; } >"$FILE"
    wait_for 30 grep -q 'anonymous: Forbidden: changed from initial configuration file' "$DAVIT_DIR.log"
    equals 401 nobody /version
    # another prefix: tokens that were known are looked at anew
    { config; second zwei: ; } >"$FILE"
    wait_for 30 sh -c "[ \$(grep -c 'is in force' '$DAVIT_DIR.log') -ge 2 ]"
    equals '["zwei:mary",null,["system:authenticated"],null]' whoami "$token"
    # an issuer that is gone
    config >"$FILE"
    wait_for 30 grep -q 'is in force, issuers: 1' "$DAVIT_DIR.log"
    equals 401 code "$token"
    equals 200 code "$(mint 1 'tenant="blue"')"
}

@test "what makes no sense is refused at the start, all of it at once" {
    server_end
    local out
    bad() { # TEXT OPTIONS...
        out=$("$DAVIT" server --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" "${@:2}" 2>&1) && return 1
        [[ $out == *"$1"* ]] || { echo "$out" >&2; return 1; }
    }
    bad 'authentication-config file and oidc-* flags are mutually exclusive' --authentication-config "$FILE" --oidc-issuer-url https://127.0.0.1:1 --oidc-client-id x
    bad 'authentication-config file and oidc-* flags are mutually exclusive' --authentication-config "$FILE" --oidc-groups-claim x
    bad 'cannot read it' --authentication-config /nowhere
    { config; echo '- {}'; } >"$FILE.bad"
    bad '[jwt[1].issuer.url: Required value, jwt[1].issuer.audiences: Required value' --authentication-config "$FILE.bad"
    rm "$FILE.bad"
    server_start --authentication-config "$FILE"
    wait_for 20 grep -q 'oidc: 4 keys' "$DAVIT_DIR.log"
    equals 200 code "$(mint 1 'tenant="blue"')"
}
