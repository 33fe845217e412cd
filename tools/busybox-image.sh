#!/bin/sh
# Makes a small image from the distribution's own busybox-static, as a docker-archive tar, without any registry or
# image tool: tools/busybox-image.sh OUT.tar [NAME:TAG] [MARK]
# The same input gives the same bytes. MARK is written to /etc/mark (to tell versions apart in tests).
set -eu

out=$1
name=${2:-davit.local/busybox:1}
mark=${3:-}
busybox=$(command -v busybox) || { echo "busybox-image: no busybox; install busybox-static" >&2; exit 1; }
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/home" "$root/proc" "$root/sys" "$root/dev" "$root/usr/bin" "$root/var"
mkdir -m 1777 "$root/tmp"
install -m 755 "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
ln -s ../../bin/env "$root/usr/bin/env"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
[ -z "$mark" ] || printf '%s\n' "$mark" >"$root/etc/mark"

mkdir "$work/image"
tar_same() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=posix \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime "$@"; }
tar_same -C "$root" -cf "$work/image/layer.tar" .
diff_id=$(sha256sum "$work/image/layer.tar" | cut -d' ' -f1)
cat >"$work/image/config.json" <<JSON
{"architecture":"$arch","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:$diff_id"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"davit tools/busybox-image.sh"}]}
JSON
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]\n' "$name" >"$work/image/manifest.json"
tar_same -C "$work/image" -cf "$work/out.tar" manifest.json config.json layer.tar
mv "$work/out.tar" "$out"
