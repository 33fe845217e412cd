#!/usr/bin/env bats
# Every kind that is served, by every verb it has. What is served is asked of the server, so a new kind fails here until
# kinds.py has a manifest of it.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

# The server alone: no node, so nothing but the test writes.
setup_file() {
    server_dir
    server_start
}
teardown_file() { server_remove; }

walk() { /usr/bin/python3 "$ROOT/tests/integration/kinds.py" "$KUBECONFIG" "$@"; }

@test "every stable kind of Kubernetes 1.36 is served, with its names, verbs and subresources" {
    walk discovery
}

@test "every kind by every verb" {
    KINDS_CSR=$(openssl req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=x 2>/dev/null | base64 -w0) walk verbs
}

@test "the same in protobuf, read by another reader" {
    KINDS_CSR=$(openssl req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=x 2>/dev/null | base64 -w0) \
        /usr/bin/python3 "$ROOT/tests/integration/protowalk.py" "$KUBECONFIG"
}

@test "what is not well formed is refused, with the reason and the field" {
    walk refused
}

@test "an autoscaler is one object in both versions" {
    walk autoscalers
}

@test "kubectl shows what it shows of any cluster" {
    kubectl apply -f - <<Y
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: example.com/disk
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec: {accessModes: [ReadWriteOnce, ReadOnlyMany], capacity: {storage: 5Gi}, hostPath: {path: /d}, claimRef: {namespace: default, name: data}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: example
  tls: [{hosts: [a.example.com], secretName: s}]
  rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * mon-fri"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
Y
    contains "fast (default)   example.com/disk   Delete          Immediate           false" kubectl get sc
    contains "data   Pending                                      fast           <unset>" kubectl get pvc
    contains "disk   5Gi        RWO,ROX        Retain           Pending   default/data                  <unset>" kubectl get pv
    contains "web    example   a.example.com             80, 443" kubectl get ingress
    contains "nightly   0 3 * * mon-fri   <none>     False     0        <none>" kubectl get cj
    contains "web    Deployment/web   cpu: <unknown>/80%   1         5         0" kubectl get hpa
    contains "etcd-0               Healthy   ok" kubectl get cs
    kubectl create deployment big --image=i --replicas=0
    kubectl autoscale deployment big --max=3 --cpu-percent=50 2>/dev/null || kubectl autoscale deployment big --max=3 --cpu=50%
    contains "big    Deployment/big   cpu: <unknown>/50%   1         3         0" kubectl get hpa
    contains "scaleTargetRef" kubectl explain hpa.spec --recursive
    contains 'statefulsets.apps "none" not found' kubectl scale sts none --replicas=1
}
