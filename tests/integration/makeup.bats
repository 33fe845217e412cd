#!/usr/bin/env bats
# What the README tells a newcomer to type: make up, the ten lines, make down.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    DIR=$(mktemp -d /tmp/davit-test.XXXXXX)
    PORT=$(free_port)
    export DIR PORT KUBECONFIG=$DIR/data/admin.kubeconfig
}
teardown_file() {
    "$DAVIT" down --data-dir "$DIR/data" >&2 || true
    rm -rf "$DIR"
}
mk() { make --no-print-directory -C "$ROOT" "$1" BUILD="$(dirname "$DAVIT")" DATA_DIR="$DIR/data" LISTEN="127.0.0.1:$PORT" 3>&-; }

@test "make up: a cluster, an image, the example, and what to do next" {
    run mk up
    [ "$status" -eq 0 ]
    [[ $output == *"davit is up on $DIR/data"*"three web servers are ready"*"the Service answers at http://10.96."*"hello from web-"* ]]
    [[ $output == *"export KUBECONFIG=$KUBECONFIG"* ]]
    contains "Ready" kubectl get nodes
    equals "https://127.0.0.1:$PORT" kubectl config view -o jsonpath='{.clusters[0].cluster.server}'
}

@test "make up once more: it runs already, and nothing is started again" {
    local pods
    pods=$(kubectl get pods -l app=web -o name | sort)
    run mk up
    [ "$status" -eq 0 ]
    [[ $output == *"runs already"* ]]
    equals "$pods" sh -c 'kubectl get pods -l app=web -o name | sort'
}

# As they stand in the README, line by line; only what names /var/lib/davit, a registry or root is told otherwise here.
@test "the ten lines of the README" {
    local line n=0
    while IFS= read -r line; do
        case $line in
        *"export KUBECONFIG"* | *"make down"* | *"image pull"*) ;;
        *)
            line=${line//exec -it/exec}
            line=${line//-- sh/-- true}
            bash -euc "$line" || { echo "failed: $line" >&2; false; }
            n=$((n + 1))
            ;;
        esac
    done < <(sed -n '/^## Ten lines/,/^## More/s/^    //p' "$ROOT/README.md")
    [ "$n" -ge 7 ]
    # the bad image goes away by itself, as the line says
    kubectl patch deployment web -p '{"spec":{"progressDeadlineSeconds":2}}'
    wait_for 60 sh -c 'kubectl get events | grep -q DeploymentRollback'
    wait_for 60 kubectl rollout status deployment/web --timeout=5s # it may tell of the old failure once more
}

@test "make down: all stops, and what was declared is kept" {
    run mk down
    [ "$status" -eq 0 ]
    [[ $output == *"what was declared is kept in $DIR/data"* ]]
    run ! kubectl get --raw /readyz
    run ! grep -q " $DIR/data" /proc/self/mounts
    [ -s "$DIR/data/store/data.mdb" ]
}

@test "make up after make down: at the address it is told, with what was declared" {
    run mk up
    [ "$status" -eq 0 ]
    [[ $output == *"davit is up on $DIR/data"*"hello from web-"* ]]
    equals "https://127.0.0.1:$PORT" kubectl config view -o jsonpath='{.clusters[0].cluster.server}'
    contains "hello" kubectl get deployments
    mk down
}

@test "make up where somebody else listens: says so" {
    python3 -c "
import socket, time
s = socket.socket(); s.bind(('127.0.0.1', $PORT)); s.listen()
time.sleep(60)" 3>&- &
    local other=$!
    wait_for 10 python3 -c "import socket; socket.create_connection(('127.0.0.1', $PORT)).close()"
    run mk up
    kill $other
    [ "$status" -ne 0 ]
    [[ $output == *"cannot listen on 127.0.0.1:$PORT: Address already in use"* ]]
}
