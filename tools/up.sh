#!/bin/sh
# What `make up` does once davit is built: start it in the background, give it an image made of the distribution's
# busybox, apply the example, wait until its Service answers, and say how to go on.
set -eu

davit=$(realpath "$1")
data=${2:-/var/lib/davit}
listen=${3:-127.0.0.1:6443}
here=$(cd "$(dirname "$0")/.." && pwd)
wait_s=${DAVIT_UP_WAIT:-60}

if [ -t 1 ]; then
    step() { printf '\r\033[K%s ...' "$*"; }
    done_() { printf '\r\033[K%s\n' "$*"; }
else
    step() { :; }
    done_() { printf '%s\n' "$*"; }
fi
fail() { printf '\n%s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "make up runs containers and needs root: sudo make up"

step "starting davit"
if told=$("$davit" up --detach --data-dir "$data" --listen "$listen" 2>&1 >/dev/null); then
    done_ "davit is up on $data"
else
    case $told in
    *'runs already'*) done_ "davit runs already on $data" ;;
    *)
        printf '%s\n' "$told" >&2
        [ ! -s "$data/davit.log" ] || tail -n 5 "$data/davit.log" >&2
        fail "davit did not start"
        ;;
    esac
fi
export KUBECONFIG="$data/admin.kubeconfig"

step "making an image from this machine's busybox"
tar=$(mktemp)
trap 'rm -f "$tar"' EXIT
"$here/tools/busybox-image.sh" "$tar" davit.local/busybox:1
"$davit" image load --data-dir "$data" "$tar" >/dev/null || fail "could not load the image"
done_ "image davit.local/busybox:1 is loaded"

step "applying examples/web.yaml"
kubectl apply -f "$here/examples/web.yaml" >/dev/null || fail "could not apply examples/web.yaml"
step "waiting for three web servers"
kubectl rollout status deployment/web --timeout="${wait_s}s" >/dev/null || {
    kubectl get pods -l app=web -o wide >&2
    kubectl get events --sort-by=.lastTimestamp | tail -n 10 >&2
    fail "the example did not become ready within $wait_s s"
}
done_ "three web servers are ready"

ip=$(kubectl get service web -o jsonpath='{.spec.clusterIP}')
step "asking the Service at http://$ip/"
n=0
until answer=$(wget -q -T 2 -O - "http://$ip/" 2>/dev/null || busybox wget -q -T 2 -O - "http://$ip/" 2>/dev/null); do
    n=$((n + 1))
    [ "$n" -lt "$wait_s" ] || fail "the Service at $ip does not answer"
    sleep 1
done
done_ "the Service answers at http://$ip/: $answer"

cat <<TEXT

Go on with:
  export KUBECONFIG=$data/admin.kubeconfig
  kubectl get pods -o wide
  kubectl logs -f deploy/web
  kubectl exec -it deploy/web -- sh
  kubectl scale deploy/web --replicas 5
  curl http://$ip/
  sudo make down        # stops everything and takes away what davit made
TEXT
