#!/bin/sh
# usage: make_image.sh OUT.tar -- a docker-archive named test/busybox:1 made of the distribution's busybox.
set -e
out=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/root/bin" "$dir/root/etc" "$dir/root/tmp" "$dir/img"
chmod 1777 "$dir/root/tmp"
cp /bin/busybox "$dir/root/bin/busybox"
for a in sh echo sleep ls cat id env mount touch kill ps head tail wc nc httpd stat readlink hostname true false test seq dd rm \
         mkdir grep trap tr ulimit stty tty date tar vi top free; do
    ln -s busybox "$dir/root/bin/$a"
done
printf 'root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/home/web:/bin/sh\n' > "$dir/root/etc/passwd"
printf 'root:x:0:\nweb:x:102:\nextra:x:103:web\n' > "$dir/root/etc/group"
tar -C "$dir/root" -cf "$dir/img/layer.tar" .
sum=$(sha256sum "$dir/img/layer.tar" | cut -d' ' -f1)
cat > "$dir/img/config.json" <<JSON
{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin","IMG=yes"],"Cmd":["sh","-c","echo from image; sleep 1000"],"WorkingDir":"/tmp"},"rootfs":{"type":"layers","diff_ids":["sha256:$sum"]}}
JSON
echo '[{"Config":"config.json","RepoTags":["test/busybox:1"],"Layers":["layer.tar"]}]' > "$dir/img/manifest.json"
tar -C "$dir/img" -cf "$out" manifest.json config.json layer.tar
