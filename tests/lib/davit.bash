# For bats files: a davit of one's own, on a fresh data directory and a free port, that runs beside any other.
#   setup_file()    { davit_start; }
#   teardown_file() { davit_stop; }
# Afterwards KUBECONFIG points at it; $DAVIT, $DAVIT_DIR, $DAVIT_PORT, $DAVIT_PID are set.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export DAVIT=${DAVIT:-$ROOT/build/davit}

free_port() {
    /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# davit_start [options of davit up]
davit_start() {
    DAVIT_DIR=$(mktemp -d /tmp/davit-test.XXXXXX)
    DAVIT_PORT=$(free_port)
    export DAVIT_DIR DAVIT_PORT
    davit_up "$@"
    export KUBECONFIG=$DAVIT_DIR/admin.kubeconfig
}

# Starts `davit up` on the present data directory and waits for `ready`.
davit_up() {
    : >"$DAVIT_DIR.out" # here: the process below may open it later than we look for `ready`
    "$DAVIT" up --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" --node-name node1 "$@" \
        >"$DAVIT_DIR.out" 2>>"$DAVIT_DIR.log" 3>&- &
    DAVIT_PID=$!
    export DAVIT_PID
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.out" || {
        echo "davit did not come up:" >&2
        tail -n 40 "$DAVIT_DIR.log" >&2
        return 1
    }
}

davit_pid_of() { # server | agent
    cat "$DAVIT_DIR/run/$1.pid"
}

davit_stop() {
    [ -n "${DAVIT_DIR:-}" ] || return 0
    "$DAVIT" down --data-dir "$DAVIT_DIR" >&2 || true
    [ -z "${DAVIT_PID:-}" ] || wait "$DAVIT_PID" 2>/dev/null || true
    [ -z "${BATS_SUITE_KEEP:-}" ] || return 0
    rm -rf "$DAVIT_DIR" "$DAVIT_DIR.out" "$DAVIT_DIR.log"
}

# Loads the busybox image as NAME (default davit.local/busybox:1), marked MARK.
load_image() {
    local name=${1:-davit.local/busybox:1} tar
    tar=$(mktemp)
    "$ROOT/tools/busybox-image.sh" "$tar" "$name" "${2:-}" && "$DAVIT" image load --data-dir "$DAVIT_DIR" "$tar"
    local r=$?
    rm -f "$tar"
    return $r
}

# The process is over, whoever its parent is: of one that nobody has waited for yet, the first thread is left, as a zombie. While
# another thread is on its way out, the process still holds its files and their locks.
has_ended() {
    local threads=("/proc/$1/task/"*)
    [ ! -e "/proc/$1" ] || { [ ${#threads[@]} -eq 1 ] && grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }
}

# ---- a server alone, without a node: DAVIT_DIR, DAVIT_PORT; its pid is in $DAVIT_DIR.pid ----

server_dir() {
    DAVIT_DIR=$(mktemp -d /tmp/davit-test.XXXXXX)
    DAVIT_PORT=$(free_port)
    export DAVIT_DIR DAVIT_PORT KUBECONFIG=$DAVIT_DIR/admin.kubeconfig
}

server_start() { # FLAGS...
    : >"$DAVIT_DIR.out" # a former start's word must not be taken for this one's
    "$DAVIT" server --data-dir "$DAVIT_DIR" --listen "127.0.0.1:$DAVIT_PORT" "$@" >"$DAVIT_DIR.out" 2>>"$DAVIT_DIR.log" 3>&- &
    echo $! >"$DAVIT_DIR.pid"
    disown
    wait_for 30 grep -q '^ready' "$DAVIT_DIR.out" || { tail -n 40 "$DAVIT_DIR.log" >&2; return 1; }
}

server_end() { # [SIGNAL]
    local pid
    pid=$(cat "$DAVIT_DIR.pid")
    kill "-${1:-TERM}" "$pid"
    wait_for 30 has_ended "$pid" # or its directory is still locked
    rm "$DAVIT_DIR.pid"          # the number is anybody's now
}

server_remove() {
    [ ! -e "$DAVIT_DIR.pid" ] || server_end || true
    [ -z "${BATS_SUITE_KEEP:-}" ] || return 0
    rm -rf "$DAVIT_DIR" "$DAVIT_DIR".*
}

# wait_for SECONDS COMMAND...: until it succeeds. The seconds are those of a machine at leisure: a busy one gets three times as many.
wait_for() {
    local end=$((SECONDS + 3 * $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "waited in vain for: $*" >&2; return 1; }
        sleep 0.1
    done
}

# equals EXPECTED COMMAND...: its output is that; says what it was.
equals() {
    local want=$1 got
    shift
    got=$("$@")
    [ "$got" = "$want" ] || { printf 'command:  %s\nexpected: %s\ngot:      %s\n' "$*" "$want" "$got" >&2; return 1; }
}

# contains TEXT COMMAND...
contains() {
    local want=$1 got
    shift
    got=$("$@" 2>&1) || true
    case $got in
    *"$want"*) ;;
    *) printf 'command:  %s\nexpected: ...%s...\ngot:      %s\n' "$*" "$want" "$got" >&2; return 1 ;;
    esac
}
