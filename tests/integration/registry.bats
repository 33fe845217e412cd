#!/usr/bin/env bats
# Images from a real registry (Debian's docker-registry) on loopback.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

registry_start() { # port storage [htpasswd]
    mkdir -p "$2"
    cat >"$2/config.yml" <<Y
version: 0.1
storage: {filesystem: {rootdirectory: $2/data}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$1"}
Y
    [ -z "${3:-}" ] || printf 'auth: {htpasswd: {realm: test, path: %s}}\n' "$3" >>"$2/config.yml"
    docker-registry serve "$2/config.yml" >"$2/log" 2>&1 3>&- &
    echo $! >"$2/pid"
}

setup_file() {
    davit_start
    OPEN=$(free_port)
    CLOSED=$(free_port)
    export OPEN CLOSED
    export STORE=$BATS_FILE_TMPDIR/registry
    mkdir -p "$STORE"
    # user "crane", password "hook" (bcrypt, as docker-registry demands)
    /usr/bin/python3 - >"$STORE/htpasswd" <<'P'
import crypt
print("crane:" + crypt.crypt("hook", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)).replace("$2b$", "$2y$"))
P
    registry_start "$OPEN" "$STORE/open"
    registry_start "$CLOSED" "$STORE/closed" "$STORE/htpasswd"
    wait_for 20 curl -fsS "http://127.0.0.1:$OPEN/v2/"
    wait_for 20 curl -fsS -u crane:hook "http://127.0.0.1:$CLOSED/v2/"
    "$ROOT/tools/busybox-image.sh" "$STORE/bb.tar" busybox:1 pulled
    skopeo copy -q --dest-tls-verify=false "docker-archive:$STORE/bb.tar" "docker://127.0.0.1:$OPEN/team/busybox:1"
    skopeo copy -q --dest-tls-verify=false --dest-creds crane:hook "docker-archive:$STORE/bb.tar" "docker://127.0.0.1:$CLOSED/team/busybox:1"
}
teardown_file() {
    kill "$(cat "$STORE/open/pid")" "$(cat "$STORE/closed/pid")" || true
    davit_stop
}

@test "a pod's image is pulled, by tag and by digest" {
    kubectl run tagged --image="127.0.0.1:$OPEN/team/busybox:1" -- sleep 3600
    kubectl wait --for=condition=Ready pod/tagged --timeout=60s
    equals pulled kubectl exec tagged -- cat /etc/mark
    contains "Successfully pulled image" kubectl get events --field-selector involvedObject.name=tagged
    id=$(kubectl get pod tagged -o jsonpath='{.status.containerStatuses[0].imageID}')
    [[ $id == *"@sha256:"* ]]
    kubectl run digested --image="127.0.0.1:$OPEN/team/busybox@${id##*@}" -- sleep 3600
    kubectl wait --for=condition=Ready pod/digested --timeout=60s
    contains "already present on machine" kubectl get events --field-selector involvedObject.name=digested || true
    kubectl delete pod tagged digested --now
}

@test "an image that is not there: ErrImagePull, then ImagePullBackOff, and well again once it is" {
    kubectl run wanting --image="127.0.0.1:$OPEN/team/later:1" -- sleep 3600
    wait_for 30 contains ErrImagePull kubectl get pod wanting
    wait_for 60 contains ImagePullBackOff kubectl get pod wanting
    contains "Pulling image" kubectl get events --field-selector involvedObject.name=wanting
    contains "Failed to pull image" kubectl get events --field-selector involvedObject.name=wanting
    contains "Error: ErrImagePull" kubectl get events --field-selector involvedObject.name=wanting
    skopeo copy -q --dest-tls-verify=false "docker-archive:$STORE/bb.tar" "docker://127.0.0.1:$OPEN/team/later:1"
    kubectl wait --for=condition=Ready pod/wanting --timeout=90s
    kubectl delete pod wanting --now
}

@test "a private image needs its imagePullSecret" {
    kubectl run refused --image="127.0.0.1:$CLOSED/team/busybox:1" -- sleep 3600
    wait_for 30 sh -c "kubectl get events --field-selector involvedObject.name=refused | grep -Ei 'unauthorized|authentication required'"
    kubectl create secret docker-registry creds --docker-server="127.0.0.1:$CLOSED" --docker-username=crane --docker-password=hook
    kubectl run allowed --image="127.0.0.1:$CLOSED/team/busybox:1" --overrides='{"spec":{"imagePullSecrets":[{"name":"creds"}]}}' -- sleep 3600
    kubectl wait --for=condition=Ready pod/allowed --timeout=60s
    kubectl delete pod refused allowed --now
}

@test "pull policies, bad names, and the image verbs" {
    kubectl run never --image="127.0.0.1:$OPEN/team/never:1" --image-pull-policy=Never -- true
    wait_for 30 contains ErrImageNeverPull kubectl get pod never
    kubectl run badname --image="UPPER/case" -- true
    wait_for 30 contains InvalidImageName kubectl get pod badname
    kubectl delete pod never badname --now
    "$DAVIT" image pull --data-dir "$DAVIT_DIR" "127.0.0.1:$OPEN/team/busybox:1"
    contains "127.0.0.1:$OPEN/team/busybox:1" "$DAVIT" image ls --data-dir "$DAVIT_DIR"
    "$DAVIT" image rm --data-dir "$DAVIT_DIR" "127.0.0.1:$OPEN/team/busybox:1"
    run ! "$DAVIT" image rm --data-dir "$DAVIT_DIR" "no/such:image"
    run ! "$DAVIT" image pull --data-dir "$DAVIT_DIR" "127.0.0.1:$OPEN/no/such:image"
    echo "not a tar" >"$STORE/bad.tar"
    run ! "$DAVIT" image load --data-dir "$DAVIT_DIR" "$STORE/bad.tar"
}

@test "an OCI layout made by umoci loads" {
    umoci init --layout "$STORE/oci"
    umoci new --image "$STORE/oci:made"
    mkdir -p "$STORE/bundle"
    umoci unpack --image "$STORE/oci:made" "$STORE/bundle/b"
    tar -xf "$STORE/bb.tar" -C "$STORE/bundle" layer.tar
    tar -xf "$STORE/bundle/layer.tar" -C "$STORE/bundle/b/rootfs"
    umoci repack --image "$STORE/oci:made" "$STORE/bundle/b"
    tar -C "$STORE/oci" -cf "$STORE/oci.tar" .
    "$DAVIT" image load --data-dir "$DAVIT_DIR" --name davit.local/made:1 "$STORE/oci.tar"
    kubectl run made --image=davit.local/made:1 --restart=Never -- cat /etc/mark
    kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/made --timeout=30s
    equals pulled kubectl logs made
}
