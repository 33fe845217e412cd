#!/usr/bin/env bats
# NetworkPolicies, with real traffic between real pods.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
    policy pods
}
teardown_file() { davit_stop; }

policy() { /usr/bin/python3 "$ROOT/tests/integration/policy.py" "$KUBECONFIG" "7$DAVIT_PORT" "$@"; }

@test "every cell of pods x pods x ports is as some forty policies say" {
    policy matrix >&3
}

@test "a policy ends and permits what is open" {
    policy open
}

@test "a pod's first packets obey" {
    policy first
}

@test "an agent that is killed leaves no gap" {
    before=$(davit_pid_of agent)
    policy steady sh -c "kill -9 $before; until [ \$(cat $DAVIT_DIR/run/agent.pid) != $before ]; do sleep 0.1; done; kubectl wait --for=condition=Ready node/node1 --timeout=30s; sleep 2"
}

@test "a Service does not get around a policy, and a pod reaches itself by one" {
    kubectl -n y expose pod a --name=a --port=8000 --target-port=80
    kubectl apply -f - <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-x, namespace: "y"}
spec:
  podSelector: {}
  ingress: [{from: [{namespaceSelector: {matchLabels: {team: x}}}], ports: [{port: 80}]}]
Y
    vip=$(kubectl -n y get svc a -o jsonpath='{.spec.clusterIP}')
    kubectl -n y exec a -- sh -c 'echo hello >/tmp/index.html'
    wait_for 10 sh -c "! kubectl -n z exec a -- timeout 1 wget -qO- http://$vip:8000/"
    contains hello kubectl -n x exec a -- timeout 5 wget -qO- "http://$vip:8000/"
    contains hello kubectl -n y exec a -- timeout 5 wget -qO- "http://$vip:8000/"
    contains hello curl -fsS -m 5 "http://$(kubectl -n y get pod a -o jsonpath='{.status.podIP}')/"
    kubectl -n y delete svc/a networkpolicy/only-x
}

@test "kubectl shows policies, and bad ones are refused as Kubernetes refuses them" {
    kubectl -n x create -f - <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shown}
spec: {podSelector: {matchLabels: {app: web}}, egress: [{}]}
Y
    contains 'shown   app=web' kubectl -n x get netpol
    equals '["Ingress","Egress"]' kubectl -n x get netpol shown -o jsonpath='{.spec.policyTypes}'
    equals 1 kubectl -n x get netpol shown -o jsonpath='{.metadata.generation}'
    contains 'Allowing egress traffic' kubectl -n x describe netpol shown
    kubectl -n x delete netpol shown
    run kubectl -n x create -f - <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: bad}
spec:
  podSelector: {matchExpressions: [{key: a, operator: In}]}
  policyTypes: [Sideways]
  ingress:
  - ports: [{port: 80, endPort: 70}, {endPort: 5}, {port: web, endPort: 9}, {port: 70000}, {protocol: ICMP}]
    from: [{}, {podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16, 10.0.0.0/8]}}]
Y
    [ "$status" -ne 0 ]
    for want in 'spec.podSelector.matchExpressions[0].values: Required value' 'spec.policyTypes[0]: Unsupported value: "Sideways"' \
        'spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`' \
        'spec.ingress[0].ports[1].endPort: Invalid value: 5: may not be specified when `port` is not specified' \
        'spec.ingress[0].ports[2].endPort: Invalid value: 9: may not be specified when `port` is non-numeric' \
        'spec.ingress[0].ports[3].port: Invalid value: 70000' 'spec.ingress[0].ports[4].protocol: Unsupported value: "ICMP"' \
        'spec.ingress[0].from[0]: Required value: must specify a peer' \
        'spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer' \
        'except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`' \
        'except[1]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`'; do
        [[ $output == *"$want"* ]] || { echo "missing: $want in: $output" >&2; false; }
    done
}

@test "davit down takes the rules away" {
    kubectl -n x create -f - <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: last}
spec: {podSelector: {}}
Y
    cidr=$(kubectl get pod -n x a -o jsonpath='{.status.podIP}')
    bridge=$(ip -o route get "$cidr" | sed -n 's/.* dev \([^ ]*\) .*/\1/p')
    wait_for 10 nft list table ip "$bridge-policy"
    davit_stop
    run ! nft list table ip "$bridge-policy"
    run ! nft list table ip "$bridge"
}
