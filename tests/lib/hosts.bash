# A bed of hosts on one machine: network, mount, PID, UTS, IPC and cgroup namespaces of their own, joined by a switch that lives in a
# namespace too, so that nothing is added to the machine's network. docs/TESTBED.md is the manual. After davit.bash:
#   setup_file()    { hosts_init; cluster_start 3; }
#   teardown_file() { hosts_fini; }
# All state is in files below $BED_DIR, because every test of a bats file is a process of its own:
#   hosts/NAME/{pid,ip,mac,id}   who it is; pid only while it runs     hosts/NAME/disk   what outlives a power cut
#   hosts/NAME/{cut,delay,loss}  state of its link                     hosts/NAME/proc   what host_spawn started: N, N.status

BED_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BED_NET=${BED_NET:-10.77.0}         # the hosts' own link
BED_OUTSIDE=${BED_OUTSIDE:-10.78.0} # hosts behind the router: no part of the cluster
BED_NET6=${BED_NET6:-}              # e.g. fd77: addresses of IPv6 besides
BED_FAKETIME=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)

# ---- the bed ----

# The helper, compiled when its sources changed: tests run from a release build that does not build tests.
_bed_tool() {
    local out=$1 cache=${TMPDIR:-/tmp}/hostbed-cc.$UID sum
    sum=$(cat "$BED_LIB"/bed/*.[ch] | cksum | tr ' ' -)
    mkdir -p -m 700 "$cache"
    if [ ! -x "$cache/$sum" ]; then
        rm -f "$cache"/*
        ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O1 -g -o "$out" "$BED_LIB"/bed/*.c || return 1
        cp "$out" "$cache/$sum.$$" && mv "$cache/$sum.$$" "$cache/$sum"
    else
        cp "$cache/$sum" "$out"
    fi
}

# hosts_init: an empty bed with its switch. It ends with this process, whatever that dies of.
hosts_init() {
    [ "$(id -u)" = 0 ] || { echo "hosts need root" >&2; return 1; }
    "$BED_LIB/hosts-sweep"
    BED_DIR=$(mktemp -d /tmp/hostbed.XXXXXX)
    BED_CGROUP=/$(basename "$BED_DIR")
    export BED_DIR BED_CGROUP
    chmod 755 "$BED_DIR"
    mkdir "$BED_DIR/hosts" "$BED_DIR/ids"
    echo "$$ $(_bed_start_time $$)" >"$BED_DIR/owner"
    printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$BED_DIR/hosts.txt"
    _bed_tool "$BED_DIR/hostbed" && mkdir "$BED_DIR/switch" && _bed_boot switch && _bed_switch <<SWITCH_END
        set -e
        for k in bridge/bridge-nf-call-iptables bridge/bridge-nf-call-ip6tables bridge/bridge-nf-call-arptables; do
            [ ! -e /proc/sys/net/\$k ] || echo 0 >/proc/sys/net/\$k
        done
        echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
        echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad # a router that first looks for its double forwards nothing for a second
        ip -batch - <<END
link set dev lo up
link add name br-in address 02:77:00:00:00:01 type bridge
link add name br-out address 02:78:00:00:00:01 type bridge
addr add $BED_NET.1/24 dev br-in
addr add $BED_OUTSIDE.1/24 dev br-out
${BED_NET6:+addr add $BED_NET6::1/64 dev br-in nodad}
${BED_NET6:+addr add $BED_NET6:1::1/64 dev br-out nodad}
link set dev br-in up
link set dev br-out up
END
        nft -f "$BED_LIB/bed/switch.nft"
SWITCH_END
}

# hosts_fini: nothing is left of the bed, also when it was never whole.
hosts_fini() {
    [ -n "${BED_DIR:-}" ] || return 0
    _bed_remove "$BED_DIR"
    unset BED_DIR BED_CGROUP
}

_bed_remove() { # directory of a bed
    local tool=$1/hostbed host
    if [ -x "$tool" ]; then
        # the switch last: what is said at the end is heard
        for host in "$1"/hosts/*/; do
            [ ! -e "$host/pid" ] || "$tool" kill "$host/pid" "/$(basename "$1")/$(basename "$host")" 3>&-
        done
        "$tool" kill - "/$(basename "$1")" 3>&- || return 1
    fi
    [ -z "${BATS_SUITE_KEEP:-}" ] || { echo "kept: $1" >&2; return 0; }
    rm -rf --one-file-system "$1"
}

_bed_start_time() { # pid: the 22nd field, counted from behind the name, which may hold anything
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    echo "${20}"
}

# ---- hosts ----

# host_add NAME [IP]: boots a host. IP is the next of $BED_NET.0/24; one of $BED_OUTSIDE.0/24 puts it behind the router.
host_add() {
    local name=$1 ip=${2:-} id=2 dir=$BED_DIR/hosts/$1
    case $name in *[!a-z0-9-]* | '' | ???????????* | switch | br-*) echo "host_add: bad name \"$name\" (10 of a-z0-9-)" >&2; return 1 ;; esac
    mkdir "$dir" || { echo "host_add: $name is there already" >&2; return 1; }
    until mkdir "$BED_DIR/ids/$id" 2>/dev/null; do
        id=$((id + 1))
        [ $id -lt 255 ] || { echo "host_add: the bed is full" >&2; return 1; }
    done
    [ -n "$ip" ] || ip=$BED_NET.$id
    echo "$id" >"$dir/id"
    echo "$ip" >"$dir/ip"
    mkdir "$dir/disk" "$dir/etc" "$dir/proc"
    echo "$name" >"$dir/etc/hostname"
    printf '%s%s\n' "$(printf '%s' "$BED_DIR" | md5sum | cut -c 1-24)" "$(printf '%08x' "$id")" >"$dir/etc/machine-id"
    echo "nameserver 127.0.0.1" >"$dir/etc/resolv.conf"
    echo "$ip $name" >>"$BED_DIR/hosts.txt"
    ln "$BED_DIR/hosts.txt" "$dir/etc/hosts" # one file: every host knows all the names
    host_boot "$name"
}

# host_boot NAME: after host_kill: the same disk, name and addresses; /run, mounts, cgroups, interfaces made anew.
host_boot() {
    local name=$1 dir=$BED_DIR/hosts/$1 ip id bridge=br-in prefix=$BED_NET side=77 net6=${BED_NET6:+$BED_NET6:} mac
    ip=$(<"$dir/ip") id=$(<"$dir/id")
    case $ip in "$BED_OUTSIDE".*) bridge=br-out prefix=$BED_OUTSIDE side=78 net6=${BED_NET6:+$BED_NET6:1:} ;; esac
    mac=$(printf '02:%s:00:00:00:%02x' $side "$id")
    cat /proc/sys/kernel/random/uuid >"$dir/boot_id"
    _bed_boot "$name" || return 1
    local pid switch
    read -r pid _ <"$dir/pid"
    read -r switch _ <"$BED_DIR/switch/pid"
    # the switch's network alone: by its PID namespace the host's pid would mean nothing
    nsenter -t "$switch" -n ip -batch - 3>&- <<END || return 1
link add name $name address 02:99:00:00:00:$(printf %02x "$id") type veth peer name eth0 address $mac netns $pid
link set dev $name master $bridge
link set dev $name up
END
    _bed_switch <<END || return 1
        nft -f - <<NFT
add element bridge bed number { "$name" : $id }
add element bridge bed number { "d-$name" : $id }
NFT
END
    host_run "$name" ip -batch - <<END || return 1
link set dev lo up
addr add $ip/24 dev eth0
${net6:+addr add $net6:$id/64 dev eth0 nodad}
link set dev eth0 up
route add default via $prefix.1
${net6:+route add ::/0 via $net6:1}
END
    # a link that was slow before is slow again
    [ ! -e "$dir/delay" ] || link_delay "$name" "$(<"$dir/delay")" || return 1
    _bed_switch_nft "$(_bed_elements delete off "$name")"
}

# host_kill NAME: a power cut. Nobody hears a last word: the link falls silent before the first process dies.
host_kill() {
    local name=$1 dir=$BED_DIR/hosts/$1
    _bed_switch_nft "$(_bed_elements add off "$name")" || return 1
    "$BED_DIR/hostbed" kill "$dir/pid" "$BED_CGROUP/$name" 3>&- || return 1
    rm -f "$dir"/proc/*
    [ ! -e "$dir/delay" ] || _bed_relay_stop "$name"
    # gone with its namespace perhaps; if not, at once and not whenever the kernel cleans up
    _bed_switch <<<"ip link del dev $name 2>/dev/null || [ ! -e /sys/class/net/$name ]"
}

# host_run NAME COMMAND...: in all its namespaces and its cgroup, by its clock; status, output and input are the command's.
host_run() {
    local name=$1
    shift
    _bed_clocked "$name" "$BED_DIR/hostbed" run "$BED_DIR/hosts/$name/pid" "$BED_CGROUP/$name" "$@" 3>&-
}

# host_spawn NAME LOG COMMAND...: in the background; output is appended to LOG. Its pid, of the machine's view, is in HOST_PID and
# printed; hosts/NAME/proc/N.status gets the exit status when it ends.
host_spawn() {
    local name=$1 log=$2 proc=$BED_DIR/hosts/$1/proc n=1
    shift 2
    until mkdir "$proc/.$n" 2>/dev/null; do n=$((n + 1)); done
    _bed_spawn "$name" "$proc/$n" "$log" "$@"
}

_bed_spawn() { # host file-for-the-pid log command...
    local name=$1 out=$2 log=$3
    shift 3
    HOST_PID=$(_bed_clocked "$name" "$BED_DIR/hostbed" spawn "$BED_DIR/hosts/$name/pid" "$BED_CGROUP/$name" "$out" "$log" "$@" 3>&-) &&
        echo "$HOST_PID"
}

host_ip() { cat "$BED_DIR/hosts/$1/ip"; }
host_ip6() {
    case $(host_ip "$1") in
    "$BED_OUTSIDE".*) echo "$BED_NET6:1::$(<"$BED_DIR/hosts/$1/id")" ;;
    *) echo "$BED_NET6::$(<"$BED_DIR/hosts/$1/id")" ;;
    esac
}
host_disk() { echo "$BED_DIR/hosts/$1/disk"; }
host_names() { ls "$BED_DIR/hosts"; }
host_is_up() { [ -e "$BED_DIR/hosts/$1/pid" ]; }

# host_clock_skew NAME SECONDS: its wall clock is wrong by so much, at once for what was started after the first call of it, and from
# then on at every change (within a second). Monotonic time is right. 77 without libfaketime.
host_clock_skew() {
    [ -n "$BED_FAKETIME" ] || { echo "host_clock_skew: libfaketime is not installed" >&2; return 77; }
    printf '%+d\n' "$2" >"$BED_DIR/hosts/$1/clock.new" && mv "$BED_DIR/hosts/$1/clock.new" "$BED_DIR/hosts/$1/clock"
}

_bed_clocked() { # host command...
    local clock=$BED_DIR/hosts/$1/clock
    shift
    if [ -e "$clock" ]; then
        # env(1) last: the helper itself keeps the machine's time
        local helper=("${@:1:4}")
        [ "$2" = run ] || helper=("${@:1:6}")
        shift ${#helper[@]}
        "${helper[@]}" env LD_PRELOAD="$BED_FAKETIME" FAKETIME_TIMESTAMP_FILE="$clock" FAKETIME_CACHE_DURATION=1 \
            FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_RESET=1 NO_FAKE_STAT=1 "$@"
    else
        "$@"
    fi
}

_bed_boot() { # host, or "switch"
    local dir=$BED_DIR/hosts/$1 owner
    [ "$1" != switch ] || dir=$BED_DIR/switch
    [ "$1" = switch ] && mkdir -p "$dir/disk"
    read -r owner _ <"$BED_DIR/owner"
    "$BED_DIR/hostbed" boot "$1" "$BED_CGROUP" "$owner" "$dir" 3>&-
}

# ---- links ----

# Runs the shell commands of stdin in the switch.
_bed_switch() { "$BED_DIR/hostbed" run "$BED_DIR/switch/pid" "$BED_CGROUP/switch" sh 3>&-; }
_bed_switch_nft() { "$BED_DIR/hostbed" run "$BED_DIR/switch/pid" "$BED_CGROUP/switch" nft -f - <<<"$1" 3>&-; }

# A host's port is NAME, or d-NAME while a relay stands between: rules name both. "add" of what is there is no error; for
# "delete" to be none either, it comes after an "add".
_bed_elements() { # add|delete set host [prefix of the element]
    local port
    for port in "$3" "d-$3"; do
        echo "add element bridge bed $2 { ${4:-}\"$port\" }"
        [ "$1" = add ] || echo "delete element bridge bed $2 { ${4:-}\"$port\" }"
    done
}

# link_cut NAME: nothing passes, nothing is reported: interfaces stay up, as when a switch in between fails. link_heal NAME undoes it
# and every block of NAME's (not delay and loss).
link_cut() { _bed_switch_nft "$(_bed_elements add cut "$1")"; }
link_heal() {
    local rules other id
    id=$(<"$BED_DIR/hosts/$1/id")
    rules=$(for set in cut block_in block_out; do _bed_elements delete $set "$1"; done)
    for other in $(host_names); do
        rules+=$'\n'$(_bed_elements delete block "$1" "$(<"$BED_DIR/hosts/$other/id") . ")
        rules+=$'\n'$(_bed_elements delete block "$other" "$id . ")
    done
    _bed_switch_nft "$rules"
}

# link_block_from NAME [OTHER]: NAME gets nothing from OTHER (from anybody); what NAME sends arrives. link_block_to: the other way.
link_block_from() {
    if [ -n "${2:-}" ]; then
        _bed_switch_nft "$(_bed_elements add block "$1" "$(<"$BED_DIR/hosts/$2/id") . ")"
    else
        _bed_switch_nft "$(_bed_elements add block_out "$1")"
    fi
}
link_block_to() {
    if [ -n "${2:-}" ]; then
        link_block_from "$2" "$1"
    else
        _bed_switch_nft "$(_bed_elements add block_in "$1")"
    fi
}

# link_loss NAME PERCENT: each way, independently; decimals allowed; 0 ends it.
link_loss() {
    local name=$1 share rules
    share=$(awk -v p="$2" 'BEGIN { printf "%d", p * 100 }')
    rules="add chain bridge bed loss-$name
flush chain bridge bed loss-$name"
    case $share in
    0) ;;
    10000) rules+=$'\n'"add rule bridge bed loss-$name drop" ;;
    *) rules+=$'\n'"add rule bridge bed loss-$name numgen random mod 10000 < $share drop" ;;
    esac
    rules+=$'\n'"add element bridge bed loss { \"$name\" : jump loss-$name, \"d-$name\" : jump loss-$name }"
    _bed_switch_nft "$rules"
}

# link_delay NAME MS: each way (a round trip takes twice that); decimals allowed; 0 ends it. May be changed at any time.
link_delay() {
    local name=$1 dir=$BED_DIR/hosts/$1 bridge=br-in ms=$2
    case $(<"$dir/ip") in "$BED_OUTSIDE".*) bridge=br-out ;; esac
    if awk -v ms="$ms" 'BEGIN { exit ms > 0 }'; then
        [ -e "$dir/delay" ] || return 0
        rm -f "$dir/delay"
        _bed_relay_stop "$name"
        _bed_switch <<<"nft delete table netdev d-$name; ip link set dev $name master $bridge"
        return
    fi
    echo "$ms" >"$dir/delay.new" && mv "$dir/delay.new" "$dir/delay"
    if [ -e "$dir/relay.pid" ]; then
        kill -HUP "$(<"$dir/relay.pid")"
        return
    fi
    # The relay takes frames as they are: no checksum or segmentation may be left to do for anybody.
    host_run "$name" "$BED_DIR/hostbed" relay --plain eth0 || return 1
    _bed_switch <<END || return 1
        set -e
        ip link add name d-$name type veth peer name r-$name
        for i in r-$name; do ip link set dev \$i arp off; echo 1 >/proc/sys/net/ipv6/conf/\$i/disable_ipv6; done
        echo 1 >/proc/sys/net/ipv6/conf/$name/disable_ipv6
        $BED_DIR/hostbed relay --plain d-$name
        nft -f - <<NFT
table netdev d-$name {
    chain host { type filter hook ingress device "$name" priority 0; policy drop; }
    chain relay { type filter hook ingress device "r-$name" priority 0; policy drop; }
}
NFT
        ip link set dev r-$name up
        ip link set dev $name nomaster
        ip link set dev d-$name master $bridge
        ip link set dev d-$name up
END
    rm -f "$dir/relay.out"
    "$BED_DIR/hostbed" spawn "$BED_DIR/switch/pid" "$BED_CGROUP/switch" "$dir/relay.pid" "$dir/relay.out" \
        "$BED_DIR/hostbed" relay "$name" "r-$name" "$dir/delay" 3>&- >/dev/null || return 1
    wait_for 10 grep -q relaying "$dir/relay.out"
}

_bed_relay_stop() {
    local dir=$BED_DIR/hosts/$1
    kill "$(<"$dir/relay.pid")"
    wait_for 10 test -e "$dir/relay.pid.status"
    rm -f "$dir/relay.pid" "$dir/relay.pid.status"
    _bed_switch <<<"ip link del dev d-$1"
}

# shellcheck source=tests/lib/cluster.bash
. "$BED_LIB/cluster.bash"
