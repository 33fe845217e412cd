#!/usr/bin/env bats
# SIGKILL of server and agent, fifty times at random moments under write load: nothing acknowledged is lost, no container
# is lost or doubled. DAVIT_KILLS sets the number, DAVIT_SEED the moments.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
}
teardown_file() { davit_stop; }

# Writes ConfigMaps one after another; each name that the server acknowledged is a line of $1.
writer() {
    local n=0
    until [ -e "$BATS_TEST_TMPDIR/stop" ]; do
        n=$((n + 1))
        kubectl create cm "$2-$n" --from-literal=n=$n >/dev/null 2>&1 && echo "$2-$n" >>"$1"
    done
}

containers_of() { # how many processes run the marker command
    pgrep -fc "^sleep 9$1\$" || true
}

kill_one() { # server | agent: kills it when it runs just now
    local pid
    pid=$(davit_pid_of "$1") && grep -qF "$DAVIT_DIR" "/proc/$pid/cmdline" 2>/dev/null && kill -9 "$pid"
}

@test "fifty kills at random moments" {
    RANDOM=${DAVIT_SEED:-$$}
    echo "seed $RANDOM" >&3
    kubectl create deploy steady --image=davit.local/busybox:1 --replicas=3 -- sleep "9$DAVIT_PORT"
    kubectl rollout status deploy/steady --timeout=60s
    wait_for 10 equals 3 containers_of "$DAVIT_PORT"
    pids=$(pgrep -f "^sleep 9$DAVIT_PORT\$" | sort)
    writer "$BATS_TEST_TMPDIR/acked" a 3>&- &
    writer "$BATS_TEST_TMPDIR/acked" b 3>&- &
    kills=0
    for ((i = 0; kills < ${DAVIT_KILLS:-50} && i < 2000; i++)); do
        sleep "0.$((RANDOM % 6))$((RANDOM % 10))"
        part=server
        [ $((RANDOM % 2)) = 0 ] || part=agent
        ! kill_one $part || kills=$((kills + 1))
        # now and then something has to be done in the middle of it
        [ $((i % 10)) != 5 ] || kubectl scale deploy/steady --replicas=$((3 + RANDOM % 3)) >/dev/null 2>&1 || true
    done
    [ "$kills" = "${DAVIT_KILLS:-50}" ]
    wait_for 30 kubectl get --raw /readyz
    wait_for 30 kubectl scale deploy/steady --replicas=3
    touch "$BATS_TEST_TMPDIR/stop"
    wait
    sort "$BATS_TEST_TMPDIR/acked" >"$BATS_TEST_TMPDIR/acked.sorted"
    kubectl get cm -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}' | sort >"$BATS_TEST_TMPDIR/there"
    lost=$(comm -23 "$BATS_TEST_TMPDIR/acked.sorted" "$BATS_TEST_TMPDIR/there")
    echo "acknowledged: $(wc -l <"$BATS_TEST_TMPDIR/acked.sorted"), lost: $lost" >&3
    [ -z "$lost" ]
    [ "$(wc -l <"$BATS_TEST_TMPDIR/acked.sorted")" -gt 20 ]
    kubectl rollout status deploy/steady --timeout=60s
    wait_for 60 equals 3 sh -c "kubectl get pods -l app=steady --no-headers | wc -l"
    wait_for 60 equals 3 containers_of "$DAVIT_PORT"
    # nothing of the others is left on the node
    wait_for 60 equals 3 sh -c "ls $DAVIT_DIR/node/pods | wc -l"
    # those three that ran before still run: no kill of ours touched a container
    kept=$(comm -12 <(pgrep -f "^sleep 9$DAVIT_PORT\$" | sort) <(echo "$pids") | wc -l)
    echo "containers that ran through it all: $kept of 3" >&3
    [ "$kept" -ge 1 ]
    equals "0 0 0" kubectl get pods -l app=steady -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}'
}

@test "containers run on while both are dead, and are taken up again" {
    kubectl run lasting --image=davit.local/busybox:1 -- sh -c 'n=0; while sleep 0.1; do n=$((n+1)); echo $n; done'
    kubectl wait --for=condition=Ready pod/lasting --timeout=30s
    uid=$(kubectl get pod lasting -o jsonpath='{.status.containerStatuses[0].containerID}')
    kill -9 "$DAVIT_PID"
    kill -9 "$(davit_pid_of server)" "$(davit_pid_of agent)" 2>/dev/null || true
    sleep 2
    davit_up
    wait_for 20 kubectl logs lasting --tail=1
    equals "$uid" kubectl get pod lasting -o jsonpath='{.status.containerStatuses[0].containerID}'
    equals 0 kubectl get pod lasting -o jsonpath='{.status.containerStatuses[0].restartCount}'
    # no line is missing: it wrote on all the time
    kubectl logs lasting >"$BATS_TEST_TMPDIR/log"
    awk 'NR != $1 { exit 1 }' "$BATS_TEST_TMPDIR/log"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/log")" -gt 20 ]
    kubectl delete pod lasting --now
}

@test "a first start that a power cut ended is begun anew" {
    dir=$(mktemp -d /tmp/davit-test.XXXXXX)
    mkdir "$dir/pki.new" # half of the keys, and an empty file where the name should be
    : >"$dir/pki.new/ca.crt"
    : >"$dir/instance"
    : >"$dir.out"
    "$DAVIT" server --data-dir "$dir" --listen 127.0.0.1:0 >"$dir.out" 2>"$dir.log" 3>&- &
    pid=$!
    wait_for 20 grep -q '^ready' "$dir.out"
    [ -s "$dir/pki/ca.crt" ]
    [ -s "$dir/pki/secrets.key" ]
    [ ! -e "$dir/pki.new" ]
    KUBECONFIG=$dir/admin.kubeconfig kubectl get --raw /readyz
    kill "$pid"
    wait "$pid"
    # an authority that was made anew is the one machines that join are told of
    rm -r "$dir/pki"
    : >"$dir.out"
    "$DAVIT" server --data-dir "$dir" --listen 127.0.0.1:0 >"$dir.out" 2>"$dir.log" 3>&- &
    pid=$!
    wait_for 20 grep -q '^ready' "$dir.out"
    equals "$(cat "$dir/pki/ca.crt")" env KUBECONFIG="$dir/admin.kubeconfig" \
        kubectl get configmap davit-cluster -n kube-system -o jsonpath='{.data.ca\.crt}'
    grep -q "machines must join again" "$dir.log"
    kill "$pid"
    wait "$pid"
    # keys that are there are never made anew: what is damaged stops the start and is left alone
    : >"$dir/pki/ca.key"
    run "$DAVIT" server --data-dir "$dir" --listen 127.0.0.1:0
    [ "$status" = 1 ]
    [[ "$output" == *ca.key* ]]
    [ -f "$dir/pki/ca.key" ]
    [ ! -s "$dir/pki/ca.key" ]
    rm -rf "$dir" "$dir".*
}
