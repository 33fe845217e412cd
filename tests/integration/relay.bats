#!/usr/bin/env bats
# pods/proxy, services/proxy and nodes/proxy: requests through the API server to servers in the cluster.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
    kubectl apply -f - <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: c
    image: davit.local/busybox:1
    ports: [{containerPort: 8080}]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
    command:
    - sh
    - -c
    - |
      mkdir -p /tmp/w/cgi-bin
      echo hello >/tmp/w/index.html
      printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\nenv\ncat\n' >/tmp/w/cgi-bin/tell
      printf '#!/bin/sh\nprintf "Status: 302 Found\\r\\nLocation: $QUERY_STRING\\r\\nAccess-Control-Allow-Origin: *\\r\\n\\r\\n"\n' >/tmp/w/cgi-bin/go
      printf '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\nbare"\n' >/tmp/w/cgi-bin/bare
      echo '<!doctype html><link href="/style.css"><a href=/x>/x</a><a href="http://other.example/x">' >/tmp/w/page.html
      cp /tmp/w/page.html /tmp/w/page.txt
      chmod +x /tmp/w/cgi-bin/*
      exec busybox httpd -f -p 8080 -h /tmp/w
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: other, port: 81}]}
Y
    kubectl wait --for=condition=Ready pod/web --timeout=30s
    kubectl config view --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d >"$DAVIT_DIR.crt"
    kubectl config view --raw -o jsonpath='{.users[0].user.client-key-data}' | base64 -d >"$DAVIT_DIR.key"
}
teardown_file() {
    rm -f "$DAVIT_DIR.crt" "$DAVIT_DIR.key"
    davit_stop
}

api() { kubectl get --raw "/api/v1/namespaces/default/$1"; }
ask() { # METHOD PATH [curl's options]
    curl -sk --cert "$DAVIT_DIR.crt" --key "$DAVIT_DIR.key" -X "$1" "${@:3}" \
        "$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}')/api/v1/namespaces/default/$2"
}

@test "a pod, by its first port or one that is named" {
    equals hello api pods/web/proxy/
    equals hello api pods/web/proxy
    equals hello api pods/web:8080/proxy/index.html
    equals hello api pods/http:web:8080/proxy/index.html
    equals hello api pods/http%3Aweb%3A8080/proxy/index.html
    contains QUERY_STRING=watch=true api 'pods/web/proxy/cgi-bin/tell?watch=true'
}

@test "links and redirects lead through the proxy as well" {
    prefix=/api/v1/namespaces/default/pods/http:web:8080/proxy
    for version in --http1.1 --http2; do
        equals "<!doctype html><link href=\"$prefix/style.css\"><a href=$prefix/x>/x</a><a href=\"http://other.example/x\">" \
            ask GET pods/http:web:8080/proxy/page.html "$version"
        equals '<!doctype html><link href="/style.css"><a href=/x>/x</a><a href="http://other.example/x">' ask GET pods/http:web:8080/proxy/page.txt "$version"
    done
    to() { ask GET "pods/http:web:8080/proxy/cgi-bin/go?$1" -D - -o /dev/null | tr -d '\r' | sed -n 's/^[Ll]ocation: //p'; }
    address=$(kubectl get pod web -o jsonpath='{.status.podIP}')
    equals "$prefix/there" to /there
    equals "$prefix/there" to "http://$address:8080/there"
    equals "http://$address/there" to "http://$address/there"
    equals there to there
    equals http://other.example/there to http://other.example/there
    run ask GET 'pods/http:web:8080/proxy/cgi-bin/go?/there' -D - -o /dev/null
    [[ "${output,,}" != *access-control-allow-origin* ]]
    # the directory itself
    run ask GET 'pods/http:web:8080/proxy?a=b' -D - -o /dev/null
    [[ "$output" == *" 301"*ocation:\ "$prefix/?a=b"* ]]
    equals bare ask GET pods/http:web:8080/proxy/cgi-bin/bare
}

@test "a Service, by name or number of its port" {
    equals hello api services/web:http/proxy/
    equals hello api services/web:80/proxy/
    run api services/web/proxy/ # which of two?
    [[ "$output" == *'ServiceUnavailable'*'no endpoints available for service "web"'* ]]
    run api services/web:other/proxy/
    [[ "$output" == *'error trying to reach service'* ]]
}

@test "a node's own API, by the server's certificate" {
    contains node_memory_working_set_bytes kubectl get --raw "/api/v1/nodes/node1/proxy/metrics/resource"
    run kubectl get --raw "/api/v1/nodes/nobody/proxy/metrics"
    [[ "$output" == *NotFound*'nodes "nobody" not found'* ]]
}

@test "any method, bodies as they come; the client's token is kept back, its address is told" {
    head -c 2000000 /dev/urandom | base64 >"$BATS_TEST_TMPDIR/big"
    for version in --http1.1 --http2; do
        ask POST pods/web/proxy/cgi-bin/tell "$version" -H 'Cookie: a=b' --data-binary "@$BATS_TEST_TMPDIR/big" >"$BATS_TEST_TMPDIR/told"
        grep -a -q '^REQUEST_METHOD=POST' "$BATS_TEST_TMPDIR/told"
        grep -a -q '^HTTP_X_FORWARDED_FOR=127.0.0.1' "$BATS_TEST_TMPDIR/told"
        grep -a -q '^HTTP_COOKIE=a=b' "$BATS_TEST_TMPDIR/told"
        [ "$(tail -c 1000000 "$BATS_TEST_TMPDIR/told" | md5sum)" = "$(tail -c 1000000 "$BATS_TEST_TMPDIR/big" | md5sum)" ]
    done
    token=$(kubectl create token default)
    kubectl create clusterrolebinding relay --clusterrole=cluster-admin --serviceaccount=default:default
    curl -sk -H "Authorization: Bearer $token" "$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}')/api/v1/namespaces/default/pods/web/proxy/cgi-bin/tell" >"$BATS_TEST_TMPDIR/told"
    grep -q '^REQUEST_METHOD=GET' "$BATS_TEST_TMPDIR/told"
    run grep -c "$token" "$BATS_TEST_TMPDIR/told"
    [ "$output" = 0 ]
    kubectl delete clusterrolebinding relay
}

@test "what is not there, not well formed, or not allowed" {
    run api pods/nobody/proxy/
    [[ "$output" == *NotFound*'pods "nobody" not found'* ]]
    run api pods/a:b:c:d/proxy/
    [[ "$output" == *'invalid pod request "a:b:c:d"'* ]]
    run api pods/ftp:web:80/proxy/
    [[ "$output" == *'invalid pod request "ftp:web:80"'* ]]
    run api pods/web:81/proxy/
    [[ "$output" == *ServiceUnavailable*'error trying to reach service: connection refused'* ]]
    run api pods/web:99999/proxy/
    [[ "$output" == *BadRequest* ]]
    # what is behind the server's own loopback address is nobody's to reach
    kubectl apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: own}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: own-1, labels: {kubernetes.io/service-name: own}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [169.254.169.254], conditions: {ready: true}}]
Y
    run api services/own/proxy/
    [[ "$output" == *"address not allowed"* ]]
    kubectl create role reader --verb=get --resource=pods
    kubectl create rolebinding reader --role=reader --user=jane
    run kubectl get --raw /api/v1/namespaces/default/pods/web/proxy/ --as jane
    [[ "$output" == *Forbidden*'cannot get resource "pods/proxy"'* ]]
    kubectl create role relay --verb=get --resource=pods/proxy
    kubectl create rolebinding relay --role=relay --user=jane
    equals hello kubectl get --raw /api/v1/namespaces/default/pods/web/proxy/ --as jane
    run kubectl create --raw /api/v1/namespaces/default/pods/web/proxy/ -f /dev/null --as jane
    [[ "$output" == *Forbidden*'cannot create resource "pods/proxy"'* ]]
}
