#!/usr/bin/env bats
# A node that is cut off from its server, and loses power meanwhile: its pods start again, find each other by address and by
# name, have their ConfigMaps and Secrets, and are kept apart by the policies there were. What each pod sees it writes into
# its emptyDir, which is on the disk of the host: nobody can ask the server.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash
load ../lib/hosts.bash

# NAME HOST APP: serves the word of the ConfigMap. One of a kind, so it says that it may run on.
web() {
    cat <<Y
---
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $3}, annotations: {davit.dev/fence: "false"}}
spec:
  nodeName: $2
  hostname: $1
  subdomain: few
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: davit.local/busybox:1
    command: [busybox, httpd, -f, -p, "80", -h, /w]
    volumeMounts: [{name: w, mountPath: /w}]
  volumes: [{name: w, configMap: {name: word}}]
Y
}

# NAME: asks all the time. Only who asks because it is told to is let in.
client() {
    cat <<Y
---
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {asks: $2}, annotations: {davit.dev/fence: "false"}}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: davit.local/busybox:1
    command:
    - sh
    - -c
    - |
      ask() { r=\$(timeout 2 wget -qO- "http://\$2/" 2>/dev/null) || r=none; echo "\$r" >/w/new && mv /w/new /w/\$1; echo "\$1 \$r" >>/w/all; }
      echo "\$PASS \$NEAR_SERVICE_HOST" >/w/env
      while :; do
          ask vip "\$NEAR_SERVICE_HOST"
          ask name near
          ask far far.default.svc.cluster.local
          ask headless there.few
          ask reverse \$(nslookup \$NEAR_SERVICE_HOST | sed -n 's/.*name = //p')
          sleep 0.2
      done
    env: [{name: PASS, valueFrom: {secretKeyRef: {name: pass, key: word}}}]
    volumeMounts: [{name: w, mountPath: /w}]
  volumes: [{name: w, emptyDir: {}}]
Y
}

setup_file() {
    hosts_init
    cluster_start 2
    cluster_image
    kube create configmap word --from-literal=index.html=before
    kube create secret generic pass --from-literal=word=sesame
    kube apply -f - <<Y
apiVersion: v1
kind: Service
metadata: {name: near}
spec: {selector: {app: near}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: far}
spec: {selector: {app: far}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: few}
spec: {clusterIP: None, selector: {app: far}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: polite}
spec:
  podSelector: {matchLabels: {app: near}}
  ingress: [{from: [{podSelector: {matchLabels: {asks: politely}}}]}]
Y
    { web here n1 near; web there n2 far; } | kube apply -f -
    kube wait --for=condition=Ready pod --all --timeout=60s
    { client polite politely; client rude rudely; } | kube apply -f -
    kube wait --for=condition=Ready pod --all --timeout=60s
}
teardown_file() { hosts_fini; }

volume() { # POD: its directory on the disk of n1
    cat "$BED_DIR/volume.$1" 2>/dev/null || {
        echo "$(host_disk n1)/node/pods/$(kube get pod "$1" -o jsonpath='{.metadata.uid}')/volumes/w" | tee "$BED_DIR/volume.$1"
    }
}
seen() { cat "$(volume "$1")/$2"; }
forget() { rm -f "$(volume polite)"/* "$(volume rude)"/*; }
all_answer() { # WORD NEAR_WORD: polite hears everybody, rude only who has no policy
    local it
    for it in vip name reverse; do
        equals "$1" seen polite $it && equals none seen rude $it || return 1
    done
    for it in far headless; do
        equals "$1" seen polite $it && equals "$1" seen rude $it || return 1
    done
}
running() { [ "$(host_run n1 pgrep -c -f 'httpd -f -p 80')" = 1 ]; }

@test "what a node knows is on its disk, for its owner alone" {
    wait_for 20 all_answer before
    equals "sesame $(kube get svc near -o jsonpath='{.spec.clusterIP}')" seen polite env
    disk=$(host_disk n1)
    for it in services endpointslices nodes node networkpolicies pods namespaces; do
        [ -s "$disk/net/cache/$it" ]
    done
    wait_for 10 grep -qr sesame "$disk/node/sources"
    [ -z "$(find "$disk/node/sources" "$disk/net/cache" -type f -perm /077)" ]
    equals 700 stat -c %a "$disk/node/sources"
    equals 700 stat -c %a "$disk/net/cache"
}

@test "cut off and rebooted, its pods run again and reach what they reached; policies hold" {
    link_cut s
    host_kill n1
    forget
    host_boot n1
    AGENT_WAIT=0 agent_start n1
    wait_for 60 running
    wait_for 60 all_answer before
    equals "sesame $(KUBE_HOST=s kube get svc near -o jsonpath='{.spec.clusterIP}')" seen polite env
    # not once was the one let in that has no right to be
    run ! grep -E '(vip|name|reverse) before' "$(volume rude)/all"
}

@test "an agent that starts anew meanwhile changes nothing" {
    cluster_signal KILL n1 agent
    AGENT_WAIT=0 agent_start n1
    polite_answers() { for it in vip name reverse far headless; do equals before seen polite $it || return 1; done; }
    for _ in $(seq 8); do # over the moment when it stops waiting for the server
        forget
        wait_for 10 polite_answers
        sleep 1
    done
    wait_for 10 all_answer before
}

@test "when the server is back, what changed meanwhile arrives" {
    KUBE_HOST=s kube patch configmap word -p '{"data":{"index.html":"after"}}'
    KUBE_HOST=s kube patch networkpolicy polite -p '{"spec":{"ingress":[]}}'
    link_heal s
    node_wait n1 True 60
    polite_is_shut_out() {
        equals none seen polite vip && equals none seen rude vip && equals after seen polite far && equals after seen polite headless
    }
    wait_for 60 polite_is_shut_out
    kube delete networkpolicy polite
    all_after() { equals after seen polite vip && equals after seen rude vip; }
    wait_for 30 all_after
    # all pods are what they were: nothing was made anew
    equals "here polite rude there" kube get pod -o 'jsonpath={.items[*].metadata.name}'
    kube wait --for=condition=Ready pod --all --timeout=60s
}

@test "what no pod needs any more goes from the disk" {
    kube delete pod polite rude --wait=true
    gone() { ! grep -qr sesame "$(host_disk n1)/node/sources"; }
    wait_for 20 gone
}
