#!/bin/sh
# Installs what davit needs on Debian 12 or 13, from the distribution's packages only. Run as root:
#   tools/setup.sh build     to compile it
#   tools/setup.sh run       to run containers with it
#   tools/setup.sh test      what the tests need besides
# Several words may be given. What is there already is left alone and nothing of the host is upgraded.
set -eu

BUILD="gcc ninja-build meson pkg-config python3 python3-protobuf protobuf-compiler
  libuv1-dev libssl-dev libnghttp2-dev libwslay-dev libyaml-dev liblmdb-dev libcurl4-openssl-dev
  libarchive-dev libzstd-dev zlib1g-dev libmnl-dev libnftables-dev libseccomp-dev libcap-dev
  libldns-dev libcmocka-dev"
# In Debian 13, not in 12: taken from there one by one, see trixie_packages.
BUILD_NEW="libyyjson0 libyyjson-dev libllhttp9.2 libllhttp-dev"
RUN="crun conmon nftables iproute2 busybox-static tzdata"
TEST="clang libclang-rt-dev clang-format bats curl jq python3-yaml umoci skopeo docker-registry
  nodejs util-linux procps libfaketime iputils-ping iperf3 ethtool openssl tzdata"
# kubectl: the machine's own, else Debian's kubernetes-client.

say() { printf '%s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

missing_of() {
    for p in "$@"; do
        installed "$p" || printf '%s ' "$p"
    done
}

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"; }

UPDATED=
update_once() { [ -n "$UPDATED" ] || { apt update || die "apt-get update failed; is the network up?"; UPDATED=1; }; }

install_missing() {
    want=$(missing_of "$@")
    [ -n "$want" ] || return 0
    update_once
    say "installing: $want"
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends --no-upgrade --no-remove $want >/dev/null ||
        die "could not install: $want"
}

# Fetches exactly the named packages of Debian 13 with an apt that has lists and state of its own, so that the
# host's sources, pins and candidate versions stay as they are and nothing else can move.
trixie_packages() {
    want=$(missing_of "$@")
    [ -n "$want" ] || return 0
    . /etc/os-release
    if [ "${VERSION_CODENAME:-}" != bookworm ]; then
        # shellcheck disable=SC2086
        install_missing $want
        return
    fi
    say "installing from Debian 13: $want"
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial" "$tmp/parts"
    mirror=${DAVIT_DEBIAN_MIRROR:-http://deb.debian.org/debian}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$tmp/sources.list"
    set_apart="-o Dir::Etc::SourceList=$tmp/sources.list -o Dir::Etc::SourceParts=$tmp/parts
      -o Dir::State::Lists=$tmp/lists -o Dir::Cache=$tmp/cache -o Dir::Etc::PreferencesParts=$tmp/parts
      -o Dir::Etc::Preferences=$tmp/none -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086
    apt $set_apart update || die "could not read the package lists of Debian 13 from $mirror"
    # shellcheck disable=SC2086
    (cd "$tmp" && apt $set_apart download $want) || die "could not fetch: $want"
    apt install -y --no-install-recommends --no-upgrade --no-remove "$tmp"/*.deb >/dev/null ||
        die "could not install: $want"
    rm -rf "$tmp"
    trap - EXIT
}

[ "$(id -u)" = 0 ] || {
    # Not root: fine when there is nothing to do.
    need=
    for set in "$@"; do
        case $set in
        build) need="$need $(missing_of $BUILD $BUILD_NEW)" ;;
        run) need="$need $(missing_of $RUN)" ;;
        test) need="$need $(missing_of $TEST)" ;;
        esac
    done
    [ -z "$(echo $need)" ] || die "needs root to install: $need"
    exit 0
}
[ -f /etc/debian_version ] || die "this set-up knows Debian 12 and 13; see docs/HACKING.md for the list of packages"

for set in "$@"; do
    case $set in
    build)
        # shellcheck disable=SC2086
        install_missing $BUILD
        # shellcheck disable=SC2086
        trixie_packages $BUILD_NEW
        ;;
    run)
        # shellcheck disable=SC2086
        install_missing $RUN
        command -v kubectl >/dev/null || install_missing kubernetes-client
        ;;
    test)
        # shellcheck disable=SC2086
        install_missing $TEST
        command -v npm >/dev/null || install_missing npm
        command -v kubectl >/dev/null || install_missing kubernetes-client
        ;;
    *) die "unknown set: $set (build, run, test)" ;;
    esac
done
