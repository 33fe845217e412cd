# davit on the hosts of hosts.bash, which reads this file. Whatever starts a server or an agent for a test is here and nowhere else.
# Logs are in $BED_DIR/log/HOST.server and HOST.agent (of the present run; .old has those before). Data directories are the hosts'
# disks: host_disk NAME.

CLUSTER_PORT=6443

# cluster_start N [options of every agent]: a server on host "s", agents on n1 ... nN, and a host "out" behind the router, where kube
# runs kubectl. All of them Ready when it returns. Words in CLUSTER_SERVER are options of the server.
cluster_start() {
    local n=$1 i pids=() pid failed=0
    shift
    host_add s && server_start s ${CLUSTER_SERVER:-} && host_add out "$BED_OUTSIDE.200" || return 1
    for ((i = 1; i <= n; i++)); do
        host_add "n$i" && agent_join "n$i" s || return 1
    done
    for ((i = 1; i <= n; i++)); do
        agent_start "n$i" "$@" 3>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=1
    done
    [ "$failed" = 0 ] || return 1
    for ((i = 1; i <= n; i++)); do
        node_wait "n$i" True || return 1
    done
}

# server_start HOST [options of davit server]: until it serves. Writes the kubeconfig that kube uses.
server_start() {
    local name=$1 disk ip
    shift
    disk=$(host_disk "$name") ip=$(host_ip "$name")
    _cluster_spawn "$name" server "$DAVIT" server --data-dir "$disk" --listen "0.0.0.0:$CLUSTER_PORT" --node-name "$name" "$@" || return 1
    sed "s|https://[^ ]*|https://$ip:$CLUSTER_PORT|" "$disk/admin.kubeconfig" >"$BED_DIR/admin.kubeconfig"
    echo "$name" >"$BED_DIR/server"
}

# agent_start HOST [options of davit agent]: until the node takes pods. Wants agent_join before, once. With AGENT_WAIT=0 it does not
# wait, e.g. for a server that cannot be reached.
agent_start() {
    local name=$1
    shift
    # shellcheck disable=SC2046 # two options and their values
    [ -e "$(host_disk "$name")/agent.kubeconfig" ] || [ ! -e "$BED_DIR/join.$name" ] || set -- $(cat "$BED_DIR/join.$name") "$@"
    _cluster_spawn "$name" agent "$DAVIT" agent --data-dir "$(host_disk "$name")" --node-name "$name" "$@"
}

# agent_join HOST SERVERHOST: a token of its own for the host; its first agent_start joins with it.
agent_join() {
    local line
    line=$(host_run "$2" "$DAVIT" token create --data-dir "$(host_disk "$2")" 2>/dev/null) || return 1
    echo "${line#davit agent }" >"$BED_DIR/join.$1"
}

# kube ARGS...: kubectl, from outside, through the server's address.
kube() { KUBECONFIG=$BED_DIR/admin.kubeconfig host_run "${KUBE_HOST:-out}" kubectl "$@"; }

# node_wait NAME True|False|Unknown [SECONDS]: until the node's Ready condition says so.
node_wait() { wait_for "${3:-30}" equals "$2" kube get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'; }

# cluster_image [HOST...]: busybox as davit.local/busybox:1 on these hosts (on all that run an agent).
cluster_image() {
    local host tar=$BED_DIR/busybox.tar
    [ -e "$tar" ] || { "$ROOT/tools/busybox-image.sh" "$tar.new" davit.local/busybox:1 && mv "$tar.new" "$tar"; } || return 1
    [ $# -gt 0 ] || set -- $(cd "$BED_DIR/log" && ls -- *.agent | sed 's/\.agent$//')
    for host; do
        host_run "$host" "$DAVIT" image load --data-dir "$(host_disk "$host")" "$tar" || return 1
    done
}

cluster_log() { cat "$BED_DIR/log/$1.$2"; } # host server|agent
cluster_pid() { cat "$BED_DIR/log/$1.$2.pid"; }

# cluster_signal SIGNAL HOST server|agent, and waits for its end.
cluster_signal() {
    kill "-$1" "$(cluster_pid "$2" "$3")" && wait_for 30 test -e "$BED_DIR/log/$2.$3.pid.status"
}

_cluster_spawn() { # host part command...
    local name=$1 part=$2 log=$BED_DIR/log/$1.$2
    shift 2
    mkdir -p "$BED_DIR/log"
    [ ! -e "$log" ] || { cat "$log" >>"$log.old" && rm "$log"; }
    rm -f "$log.pid.status"
    _bed_spawn "$name" "$log.pid" "$log" "$@" >/dev/null || return 1
    [ "${AGENT_WAIT:-1}" = 0 ] && [ "$part" = agent ] && return 0
    wait_for 30 _cluster_ready "$log" && grep -q '^ready' "$log" || {
        echo "davit $part on $name did not come up:" >&2
        tail -n 40 "$log" >&2
        return 1
    }
}

_cluster_ready() { grep -q '^ready' "$1" || [ -e "$1.pid.status" ]; } # or dead, which is seen at once
