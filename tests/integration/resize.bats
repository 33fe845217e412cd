#!/usr/bin/env bats
# Pods whose resources change while they run (pods/resize, KEP-1287), down to the files of their cgroups.
bats_require_minimum_version 1.5.0
load ../lib/davit.bash

setup_file() {
    davit_start
    load_image
}
teardown_file() { davit_stop; }

# pod NAME "RESOURCES" ["MORE of the container"] ["MORE of the spec"]
pod() {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "davit.local/busybox:1", command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"], resources: {$2}${3:+, $3}}
${4:+  $4}
Y
    kubectl wait --for=condition=Ready "pod/$1" --timeout=30s
}

resize() { # POD "RESOURCES" [CONTAINER]
    kubectl patch pod "$1" --subresource resize -p "{\"spec\":{\"containers\":[{\"name\":\"${3:-c}\",\"resources\":$2}]}}"
}

of() { kubectl get pod "$1" -o jsonpath="$2"; }
condition() { of "$1" "{.status.conditions[?(@.type==\"$2\")].$3}"; }
in_force() { of "$1" '{.status.containerStatuses[0].resources}'; }
events() { kubectl get events --field-selector "involvedObject.name=$1" -o jsonpath='{range .items[*]}{.reason} {.message}{"\n"}{end}'; }

# limit POD cpu|memory|weight [pod]: what the kernel holds its container (or the pod as a whole) to, in the words of v1.
limit() {
    local dir="pod$(of "$1" '{.metadata.uid}')" file v1 root=/sys/fs/cgroup
    [ "${3:-}" = pod ] || dir+=/$(of "$1" '{.status.containerStatuses[0].containerID}' | sed 's|.*//||')
    case $2 in
    cpu) file=cpu.max v1=cpu/X/cpu.cfs_quota_us ;;
    memory) file=memory.max v1=memory/X/memory.limit_in_bytes ;;
    weight) file=cpu.weight v1=cpu/X/cpu.shares ;;
    esac
    dir=$(cd $root && ls -d davit/*/"$dir" cpu/davit/*/"$dir" 2>/dev/null | head -n 1)
    dir=${dir#cpu/}
    if [ -e "$root/cgroup.controllers" ]; then
        cut -d ' ' -f 1 "$root/$dir/$file"
    else
        cat "$root/${v1%%/*}/$dir/${v1##*/}"
    fi
}

@test "CPU and memory change in place: cgroups, status, events" {
    pod inplace 'requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}'
    equals 20000 limit inplace cpu
    equals 20000 limit inplace cpu pod
    equals 67108864 limit inplace memory
    equals '{"limits":{"cpu":"200m","memory":"64Mi"},"requests":{"cpu":"100m","memory":"32Mi"}}' in_force inplace
    resize inplace '{"requests":{"cpu":"150m","memory":"48Mi"},"limits":{"cpu":"300m","memory":"96Mi"}}'
    wait_for 20 equals 30000 limit inplace cpu
    equals 30000 limit inplace cpu pod
    equals 100663296 limit inplace memory
    wait_for 20 equals 100663296 limit inplace memory pod
    wait_for 20 equals '{"limits":{"cpu":"300m","memory":"96Mi"},"requests":{"cpu":"150m","memory":"48Mi"}}' in_force inplace
    equals '{"cpu":"150m","memory":"48Mi"}' of inplace '{.status.containerStatuses[0].allocatedResources}'
    equals 0 of inplace '{.status.containerStatuses[0].restartCount}'
    equals 2 of inplace '{.metadata.generation}'
    wait_for 20 equals 2 of inplace '{.status.observedGeneration}'
    wait_for 20 contains 'ResizeCompleted Pod resize completed: {"containers":[{"name":"c","resources":{"limits":{"cpu":"300m"' events inplace
    contains 'ResizeStarted Pod resize started: {"containers":[{"name":"c",' events inplace
    # and back: less memory as well
    resize inplace '{"requests":{"cpu":"50m","memory":"16Mi"},"limits":{"cpu":"100m","memory":"32Mi"}}'
    wait_for 20 equals 33554432 limit inplace memory
    equals 10000 limit inplace cpu
    wait_for 20 equals 10000 limit inplace cpu pod
    wait_for 20 equals "" condition inplace PodResizeInProgress status
    equals "" condition inplace PodResizePending status
    equals 0 of inplace '{.status.containerStatuses[0].restartCount}'
}

@test "what must not change does not" {
    pod strict 'requests: {cpu: 100m}, limits: {cpu: 200m}'
    run -1 resize strict '{"requests":{"cpu":"200m","memory":"1Mi"},"limits":{"memory":"1Mi"}}'
    contains 'spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing' echo "$output"
    run -1 resize strict '{"limits":{"cpu":null}}'
    contains 'spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed' echo "$output"
    run -1 resize strict '{"requests":{"ephemeral-storage":"1Gi"}}'
    contains 'spec: Forbidden: only cpu and memory resources are mutable' echo "$output"
    run -1 kubectl patch pod strict -p '{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"300m"}}}]}}'
    contains 'pod updates may not change fields other than' echo "$output"
    equals 20000 limit strict cpu
    equals 1 of strict '{.metadata.generation}'
}

@test "resizePolicy RestartContainer: for that resource alone" {
    pod policy 'requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}' \
        'resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]'
    resize policy '{"limits":{"cpu":"300m"}}'
    wait_for 20 equals 30000 limit policy cpu
    equals 0 of policy '{.status.containerStatuses[0].restartCount}'
    resize policy '{"limits":{"memory":"128Mi"}}'
    wait_for 20 equals 1 of policy '{.status.containerStatuses[0].restartCount}'
    kubectl wait --for=condition=Ready pod/policy --timeout=20s
    wait_for 20 equals '{"limits":{"cpu":"300m","memory":"128Mi"},"requests":{"cpu":"100m","memory":"32Mi"}}' in_force policy
    equals 134217728 limit policy memory
    equals 30000 limit policy cpu
    wait_for 20 contains 'Killing Container c resize requires restart' events policy
    wait_for 20 equals "" condition policy PodResizeInProgress status
}

@test "less memory than is in use: an error that is told, and over when the pod asks for enough" {
    pod fat 'requests: {memory: 16Mi}, limits: {memory: 200Mi}' \
        'volumeMounts: [{name: m, mountPath: /m}]' 'volumes: [{name: m, emptyDir: {medium: Memory}}]'
    kubectl exec fat -- dd if=/dev/zero of=/m/f bs=1M count=60 2>/dev/null
    resize fat '{"limits":{"memory":"20Mi"}}'
    wait_for 20 equals Error condition fat PodResizeInProgress reason
    contains 'attempting to set container c memory limit (20971520) below current usage (' condition fat PodResizeInProgress message
    equals 209715200 limit fat memory
    equals '{"limits":{"memory":"200Mi"},"requests":{"memory":"16Mi"}}' in_force fat
    kubectl exec fat -- rm /m/f # it is tried again
    wait_for 20 equals 20971520 limit fat memory
    wait_for 20 equals "" condition fat PodResizeInProgress status
    wait_for 20 equals '{"limits":{"memory":"20Mi"},"requests":{"memory":"16Mi"}}' in_force fat
    wait_for 20 contains 'ResizeError Pod resize error: ' events fat
}

@test "infeasible, deferred until there is room, and what the scheduler makes of it" {
    local cpu
    cpu=$(kubectl get node node1 -o jsonpath='{.status.allocatable.cpu}')
    case $cpu in *m) cpu=${cpu%m} ;; *) cpu=$((cpu * 1000)) ;; esac
    pod big "requests: {cpu: $((cpu / 2))m}"
    pod wants 'requests: {cpu: 10m}, limits: {cpu: 500}'
    resize wants '{"requests":{"cpu":"400"}}'
    wait_for 20 equals Infeasible condition wants PodResizePending reason
    equals "Node didn't have enough capacity: cpu, requested: 400000, capacity: $cpu" condition wants PodResizePending message
    equals '{"cpu":"10m"}' of wants '{.status.containerStatuses[0].allocatedResources}'
    resize wants "{\"requests\":{\"cpu\":\"$((cpu * 3 / 4))m\"}}"
    wait_for 20 equals Deferred condition wants PodResizePending reason
    contains "Node didn't have enough resource: cpu, requested: $((cpu * 3 / 4)), used: " condition wants PodResizePending message
    wait_for 20 contains 'ResizeDeferred Pod resize Deferred: ' events wants
    contains 'ResizeInfeasible Pod resize Infeasible: ' events wants
    # what it waits for is taken already, as others see it
    kubectl run late --image=davit.local/busybox:1 --overrides='{"spec":{"containers":[{"name":"late","image":"davit.local/busybox:1","resources":{"requests":{"cpu":"100m"}}}]}}'
    wait_for 20 contains "Insufficient cpu" condition late PodScheduled message
    kubectl delete pod late --now
    kubectl delete pod big --now
    wait_for 20 equals "{\"cpu\":\"$((cpu * 3 / 4))m\"}" of wants '{.status.containerStatuses[0].allocatedResources}'
    wait_for 20 equals "" condition wants PodResizePending status
    equals 0 of wants '{.status.containerStatuses[0].restartCount}'
    kubectl delete pod wants --now
}

@test "an agent that comes back goes by what was allocated, and goes on" {
    local pid
    pod lasts 'requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}'
    resize lasts '{"limits":{"cpu":"300m"}}'
    wait_for 20 equals 30000 limit lasts cpu
    resize lasts '{"requests":{"cpu":"400"},"limits":{"cpu":"500"}}' # never
    wait_for 20 equals Infeasible condition lasts PodResizePending reason
    pid=$(davit_pid_of agent)
    kill -KILL "$pid"
    wait_for 20 has_ended "$pid"
    resize lasts '{"requests":{"cpu":"100m"},"limits":{"cpu":"350m"}}' # nobody looks, or the next one does
    wait_for 30 equals 35000 limit lasts cpu
    wait_for 20 equals "" condition lasts PodResizePending status
    wait_for 20 equals 350m of lasts '{.status.containerStatuses[0].resources.limits.cpu}'
    equals 35000 limit lasts cpu pod
    equals 0 of lasts '{.status.containerStatuses[0].restartCount}'
    # a container that starts again has what is allocated, not what cannot be
    resize lasts '{"requests":{"cpu":"400"},"limits":{"cpu":"500"}}'
    wait_for 20 equals Infeasible condition lasts PodResizePending reason
    kubectl exec lasts -- sh -c 'kill -TERM 1'
    wait_for 20 equals 1 of lasts '{.status.containerStatuses[0].restartCount}'
    wait_for 20 equals 35000 limit lasts cpu
}

whole() { # POD "RESOURCES of the pod"
    kubectl patch pod "$1" --subresource resize -p "{\"spec\":{\"resources\":$2}}"
}

@test "resources of the pod as a whole: in its cgroup from the start, and resized" {
    kubectl apply -f - <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: whole}
spec:
  terminationGracePeriodSeconds: 1
  resources: {requests: {cpu: 100m}, limits: {cpu: 400m, memory: 128Mi}}
  containers:
  - &c {name: c, image: "davit.local/busybox:1", command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"], env: [{name: MAX, valueFrom: {resourceFieldRef: {resource: limits.memory}}}]}
  - {<<: *c, name: d, resources: {requests: {memory: 16Mi}, limits: {memory: 32Mi}}}
Y
    kubectl wait --for=condition=Ready pod/whole --timeout=30s
    equals '{"cpu":"100m","memory":"16Mi"}' of whole '{.spec.resources.requests}'
    equals Burstable of whole '{.status.qosClass}'
    equals 40000 limit whole cpu pod
    equals 134217728 limit whole memory pod
    # a container without limits has those of the pod
    equals 40000 limit whole cpu
    equals 134217728 limit whole memory
    equals 134217728 kubectl exec whole -c c -- sh -c 'echo $MAX'
    equals 33554432 kubectl exec whole -c d -- sh -c 'echo $MAX'
    equals '{}' in_force whole
    equals '{"limits":{"cpu":"400m","memory":"128Mi"},"requests":{"cpu":"100m","memory":"16Mi"}}' of whole '{.status.resources}'
    equals '{"cpu":"100m","memory":"16Mi"}' of whole '{.status.allocatedResources}'
    whole whole '{"requests":{"cpu":"200m"},"limits":{"cpu":"600m","memory":"192Mi"}}'
    wait_for 20 equals 60000 limit whole cpu
    wait_for 20 equals 201326592 limit whole memory
    equals 60000 limit whole cpu pod
    equals 201326592 limit whole memory pod
    wait_for 20 equals '{"limits":{"cpu":"600m","memory":"192Mi"},"requests":{"cpu":"200m","memory":"16Mi"}}' of whole '{.status.resources}'
    equals '{"cpu":"200m","memory":"16Mi"}' of whole '{.status.allocatedResources}'
    contains 'ResizeCompleted Pod resize completed: {"resources":{"limits":{"cpu":"600m"' events whole
    # less, for the container and then for the pod
    whole whole '{"requests":{"cpu":"50m"},"limits":{"cpu":"300m","memory":"64Mi"}}'
    wait_for 20 equals 67108864 limit whole memory pod
    equals 67108864 limit whole memory
    wait_for 20 equals 30000 limit whole cpu pod
    equals 30000 limit whole cpu
    wait_for 20 equals "" condition whole PodResizeInProgress status
    equals '0 0' of whole '{.status.containerStatuses[*].restartCount}'
    # by the agent of another life too
    local pid
    pid=$(davit_pid_of agent)
    kill -KILL "$pid"
    wait_for 20 has_ended "$pid"
    whole whole '{"limits":{"cpu":"350m"}}'
    wait_for 30 equals 35000 limit whole cpu pod
    wait_for 20 equals 35000 limit whole cpu
    # what cannot be
    run -1 whole whole '{"limits":{"memory":"16Mi"}}'
    contains 'spec.resources.containers[1][memory].limits: Invalid value: "32Mi": must be less than or equal to pod limits of 16Mi' echo "$output"
    run -1 whole whole 'null'
    contains 'spec.resources: Forbidden: pod-level resources cannot be removed' echo "$output"
    whole whole '{"requests":{"cpu":"400"},"limits":{"cpu":"500"}}'
    wait_for 20 equals Infeasible condition whole PodResizePending reason
    equals 50m of whole '{.status.allocatedResources.cpu}'
    equals 35000 limit whole cpu pod
    kubectl delete pod whole --now
}

@test "a resize of the whole pod starts containers again that want that" {
    pod again '' 'resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]' 'resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 400m, memory: 64Mi}}'
    whole again '{"limits":{"cpu":"200m"}}'
    wait_for 20 equals 20000 limit again cpu pod
    equals 0 of again '{.status.containerStatuses[0].restartCount}'
    whole again '{"limits":{"memory":"96Mi"}}'
    wait_for 20 equals 1 of again '{.status.containerStatuses[0].restartCount}'
    kubectl wait --for=condition=Ready pod/again --timeout=20s
    equals 100663296 limit again memory
    equals 100663296 limit again memory pod
    # one that had none may have them
    pod later 'requests: {cpu: 50m}'
    whole later '{"limits":{"cpu":"250m"}}'
    wait_for 20 equals 25000 limit later cpu
    wait_for 20 equals 25000 limit later cpu pod
    equals '{"limits":{"cpu":"250m"},"requests":{"cpu":"50m"}}' of later '{.spec.resources}'
    kubectl delete pod again later --now
}

@test "a hollow node takes every resize" {
    "$DAVIT" hollow --nodes 1 --name-prefix thin --kubeconfig "$KUBECONFIG" >/dev/null 2>&1 3>&- &
    local hollow=$!
    wait_for 20 kubectl get node -o name thin-0
    pod thin 'requests: {cpu: 1}' '' 'nodeName: thin-0'
    resize thin '{"requests":{"cpu":"2"}}'
    wait_for 20 equals '{"requests":{"cpu":"2"}}' in_force thin
    equals 2 of thin '{.status.observedGeneration}'
    whole thin '{"requests":{"cpu":"3"}}'
    wait_for 20 equals '{"requests":{"cpu":"3"}}' of thin '{.status.resources}'
    kubectl delete pod thin --now
    kill $hollow
    wait $hollow || true
    kubectl delete node thin-0
}
