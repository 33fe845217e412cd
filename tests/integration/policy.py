#!/usr/bin/python3
"""NetworkPolicies against real pods: every cell of pods x pods x ports is probed and held against what the definition
of NetworkPolicy says of the objects the API has.

Usage: policy.py KUBECONFIG MARK COMMAND    (pods sleep for MARK + two digits seconds: so they are found)
  pods      makes namespaces and pods and waits for them
  matrix    runs all cases
  open      policies that change while connections are open
  first     pods whose first packets are forbidden
  steady COMMAND...   forbidden and allowed traffic without a pause while COMMAND runs

Sockets belong to the network namespace they are made in, so one process probes for all pods."""

import base64
import ctypes
import http.client
import ipaddress
import json
import os
import select
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

import yaml

LIBC = ctypes.CDLL(None, use_errno=True)
TCP_PORTS, UDP_PORT = (80, 81), 80
PORTS = [("TCP", 80), ("TCP", 81), ("UDP", 80)]
NAMESPACES = ["x", "y", "z"]
PODS = [(ns, name) for ns in NAMESPACES for name in "abc"]
IMAGE = "davit.local/busybox:1"


class Api:
    def __init__(self, path):
        config = yaml.safe_load(open(path))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as f:
            f.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
            f.flush()
            self.tls.load_cert_chain(f.name)
        self.address = cluster["server"].removeprefix("https://")

    def call(self, method, path, body=None):
        c = http.client.HTTPSConnection(self.address, context=self.tls, timeout=20)
        c.request(method, path, json.dumps(body) if body is not None else None, {"content-type": "application/json"})
        r = c.getresponse()
        text = r.read()
        c.close()
        if r.status >= 400 and r.status != 404 and r.status != 409:
            raise SystemExit(f"{method} {path}: {r.status} {text.decode()}")
        return r.status, json.loads(text)

    def items(self, path):
        return self.call("GET", path)[1]["items"]


def policies_path(ns):
    return f"/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies"


# ---- the definition -----------------------------------------------------------------------------


def selects(selector, labels):
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for e in selector.get("matchExpressions") or []:
        there, values = e["key"] in labels, e.get("values") or []
        ok = {
            "In": there and labels.get(e["key"]) in values,
            "NotIn": not there or labels[e["key"]] not in values,
            "Exists": there,
            "DoesNotExist": not there,
        }[e["operator"]]
        if not ok:
            return False
    return True


def peer_matches(world, policy_ns, peer, ip):
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        if ipaddress.ip_address(ip) not in ipaddress.ip_network(block["cidr"], strict=False):
            return False
        return not any(ipaddress.ip_address(ip) in ipaddress.ip_network(e) for e in block.get("except") or [])
    pod = world.by_ip.get(ip)
    if not pod:
        return False
    ns = pod["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], world.namespaces[ns]):
            return False
    elif ns != policy_ns:
        return False
    return "podSelector" not in peer or selects(peer["podSelector"], pod["metadata"]["labels"])


def port_matches(world, spec, dst, protocol, port):
    if spec.get("protocol", "TCP") != protocol:
        return False
    want = spec.get("port")
    if want is None:
        return True
    if isinstance(want, int):
        return want <= port <= spec.get("endPort", want)
    pod = world.by_ip.get(dst)
    return pod is not None and any(
        p.get("name") == want and p.get("protocol", "TCP") == protocol and p["containerPort"] == port
        for c in pod["spec"]["containers"]
        for p in c.get("ports") or []
    )


def direction(world, way, src, dst, protocol, port):
    me, other = (dst, src) if way == "Ingress" else (src, dst)
    pod, isolated = world.by_ip.get(me), False
    if not pod:
        return True
    for policy in world.policies:
        spec, ns = policy["spec"], policy["metadata"]["namespace"]
        if ns != pod["metadata"]["namespace"] or way not in spec["policyTypes"]:
            continue
        if not selects(spec.get("podSelector") or {}, pod["metadata"]["labels"]):
            continue
        isolated = True
        for rule in spec.get(way.lower()) or []:
            peers, ports = rule.get("from" if way == "Ingress" else "to") or [], rule.get("ports") or []
            if (not peers or any(peer_matches(world, ns, p, other) for p in peers)) and (
                not ports or any(port_matches(world, p, dst, protocol, port) for p in ports)
            ):
                return True
    return not isolated


def allowed(world, src, dst, protocol, port):
    if src == dst:
        return True
    return all(direction(world, way, src, dst, protocol, port) for way in ("Egress", "Ingress"))


# ---- real pods ----------------------------------------------------------------------------------


def enter(fd):
    if LIBC.setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class World:
    def __init__(self, api, mark):
        self.api, self.mark = api, mark
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.refresh()

    def refresh(self):
        self.namespaces = {n["metadata"]["name"]: n["metadata"].get("labels", {}) for n in self.api.items("/api/v1/namespaces")}
        self.pods = {(p["metadata"]["namespace"], p["metadata"]["name"]): p for p in self.api.items("/api/v1/pods")}
        self.by_ip = {p["status"]["podIP"]: p for p in self.pods.values() if p["status"].get("podIP")}
        self.policies = self.api.items("/apis/networking.k8s.io/v1/networkpolicies")

    def ip(self, pod):
        return self.pods[pod]["status"]["podIP"]

    def find_netns(self):
        self.netns = {}
        marks = {f"{self.mark}{i:02}": pod for i, pod in enumerate(PODS)}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = open(f"/proc/{pid}/cmdline").read().split("\0")
                if words[0] == "sleep" and words[1] in marks:
                    self.netns[marks[words[1]]] = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            except (OSError, IndexError):
                pass
        missing = set(PODS) - set(self.netns)
        if missing:
            raise SystemExit(f"no process found of {missing}")

    def socket(self, pod, kind):
        enter(self.netns[pod])
        try:
            return socket.socket(socket.AF_INET, kind)
        finally:
            enter(self.home)

    def start_echo(self):
        """UDP servers of all pods; what came last from whom is kept."""
        self.heard = {}
        servers = {}
        for pod in PODS:
            s = self.socket(pod, socket.SOCK_DGRAM)
            s.bind(("0.0.0.0", UDP_PORT))
            servers[s] = pod

        def run():
            while True:
                for s in select.select(list(servers), [], [])[0]:
                    data, peer = s.recvfrom(2048)
                    key = (servers[s], peer[0])
                    self.heard[key] = self.heard.get(key, 0) + 1
                    try:
                        s.sendto(data, peer)
                    except OSError:
                        pass

        threading.Thread(target=run, daemon=True).start()

    def probe(self, wait):
        """The set of (src, dst, protocol, port) that pass."""
        poll, cells, passed = select.poll(), {}, set()
        for src in PODS:
            enter(self.netns[src])
            for dst in PODS:
                for protocol, port in PORTS:
                    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)
                    s.setblocking(False)
                    try:
                        s.connect((self.ip(dst), port))
                    except BlockingIOError:
                        pass
                    if protocol == "UDP":
                        s.send(b"?")
                    else:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    cells[s.fileno()] = (s, (src, dst, protocol, port))
                    poll.register(s, select.POLLOUT if protocol == "TCP" else select.POLLIN)
        enter(self.home)
        end = time.monotonic() + wait
        while cells and (left := end - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                s, cell = cells.pop(fd)
                poll.unregister(fd)
                error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error == 0:
                    passed.add(cell)
                s.close()
        for s, _ in cells.values():
            s.close()
        return passed

    def expected(self):
        return {
            (src, dst, protocol, port)
            for src in PODS
            for dst in PODS
            for protocol, port in PORTS
            if allowed(self, self.ip(src), self.ip(dst), protocol, port)
        }


def short(cell):
    (a, b), (c, d), protocol, port = cell
    return f"{a}/{b} -> {c}/{d} {protocol} {port}"


def check(world, name):
    """Until every cell is as it should be: the node may need a moment to hear of a change."""
    world.refresh()
    want = world.expected()
    for wait in (0.3, 0.3, 0.5, 1, 1, 2, 2, 4):
        got = world.probe(wait)
        if got == want:
            print(f"# {name}: {len(want)} of {len(PODS) ** 2 * len(PORTS)} cells pass")
            return
    for cell in sorted(want - got)[:10]:
        print(f"{name}: should pass: {short(cell)}")
    for cell in sorted(got - want)[:10]:
        print(f"{name}: should not pass: {short(cell)}")
    raise SystemExit(1)


# ---- making things ------------------------------------------------------------------------------


def make_pods(api, mark):
    for ns in NAMESPACES:
        labels = {"team": ns, "kind": "odd" if ns == "y" else "even"}
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": ns, "labels": labels}})
    for i, (ns, name) in enumerate(PODS):
        web = 81 if name == "b" else 80  # a named port is another number in another pod
        command = f"busybox httpd -p 80 -h /tmp; busybox httpd -p 81 -h /tmp; exec sleep {mark}{i:02}"
        ports = [{"name": "web", "containerPort": web}, {"name": "dns", "containerPort": 80, "protocol": "UDP"}]
        pod = {
            "metadata": {"name": name, "labels": {"pod": name, "tier": "back" if name == "c" else "front"}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": IMAGE, "command": ["sh", "-c", command], "ports": ports}],
            },
        }
        if ns == "z" and name == "c":
            del pod["spec"]["containers"][0]["ports"]
        api.call("POST", f"/api/v1/namespaces/{ns}/pods", pod)
    wait_ready(api, len(PODS))


def wait_ready(api, n):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        ready = [
            p
            for p in api.items("/api/v1/pods")
            if any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions") or [])
        ]
        if len(ready) >= n:
            return
        time.sleep(0.1)
    raise SystemExit("the pods did not become ready")


def policy(name, ns="x", pods=None, types=None, **rules):
    spec = {"podSelector": pods or {}, **{k: v for k, v in rules.items()}}
    if types:
        spec["policyTypes"] = types
    return {"metadata": {"name": name, "namespace": ns}, "spec": spec}


def replace_policies(api, policies):
    for old in api.items("/apis/networking.k8s.io/v1/networkpolicies"):
        keep = [p for p in policies if (p["metadata"]["namespace"], p["metadata"]["name"]) == (old["metadata"]["namespace"], old["metadata"]["name"])]
        if not keep:
            api.call("DELETE", policies_path(old["metadata"]["namespace"]) + "/" + old["metadata"]["name"])
    for p in policies:
        path = policies_path(p["metadata"]["namespace"])
        status, _ = api.call("POST", path, p)
        if status == 409:
            api.call("PUT", f"{path}/{p['metadata']['name']}", p)


def label(**kv):
    return {"matchLabels": kv}


def expr(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


def pods_of(selector):
    return {"podSelector": selector}


def ns_of(selector, pods=None):
    return {"namespaceSelector": selector, **({"podSelector": pods} if pods is not None else {})}


def tcp(port=None, end=None):
    return {"protocol": "TCP", **({"port": port} if port is not None else {}), **({"endPort": end} if end else {})}


def udp(port=None):
    return {"protocol": "UDP", **({"port": port} if port is not None else {})}


def cases(world):
    ip = world.ip
    every = str(ipaddress.ip_network(ip(("x", "a")) + "/24", strict=False))
    a = label(pod="a")
    both = ["Ingress", "Egress"]
    return {
        "nothing": [],
        "deny ingress": [policy("p")],
        "deny egress": [policy("p", types=["Egress"])],
        "deny both": [policy("p", types=both)],
        "deny everywhere": [policy("p", ns, types=both) for ns in NAMESPACES],
        "allow all ingress": [policy("p", ingress=[{}])],
        "allow all egress": [policy("p", types=["Egress"], egress=[{}])],
        "egress rules without types isolate ingress too": [policy("p", egress=[{}])],
        "deny one pod": [policy("p", pods=a)],
        "allow own namespace": [policy("p", ingress=[{"from": [pods_of({})]}])],
        "allow one pod of the namespace": [policy("p", ingress=[{"from": [pods_of(a)]}])],
        "allow a namespace": [policy("p", ingress=[{"from": [ns_of(label(team="y"))]}])],
        "allow all namespaces": [policy("p", ingress=[{"from": [ns_of({})]}])],
        "namespace by its name": [policy("p", ingress=[{"from": [ns_of(label(**{"kubernetes.io/metadata.name": "z"}))]}])],
        "namespaces by expression": [policy("p", ingress=[{"from": [ns_of(expr("team", "In", "y", "z"))]}])],
        "namespaces by NotIn": [policy("p", ingress=[{"from": [ns_of(expr("team", "NotIn", "x"))]}])],
        "pods of namespaces: both must hold": [policy("p", ingress=[{"from": [ns_of(label(team="y"), a)]}])],
        "pods or namespaces: either": [policy("p", ingress=[{"from": [ns_of(label(team="y")), pods_of(a)]}])],
        "pods by Exists": [policy("p", pods=expr("pod", "Exists"), ingress=[{"from": [pods_of(expr("tier", "In", "front"))]}])],
        "pods by DoesNotExist": [policy("p", pods=expr("none", "DoesNotExist"), ingress=[{"from": [pods_of(expr("pod", "NotIn", "a"))]}])],
        "one port": [policy("p", ingress=[{"ports": [tcp(80)]}])],
        "a range of ports": [policy("p", ingress=[{"ports": [tcp(80, 81)]}])],
        "a range and a port inside": [policy("p", ingress=[{"ports": [tcp(70, 90), tcp(80), udp(80)]}])],
        "UDP only": [policy("p", ingress=[{"ports": [udp()]}])],
        "a protocol nobody speaks": [policy("p", ingress=[{"ports": [{"protocol": "SCTP"}]}])],
        "a named port": [policy("p", ingress=[{"ports": [tcp("web")]}])],
        "a named port by egress": [policy("p", types=["Egress"], egress=[{"to": [ns_of({})], "ports": [tcp("web"), udp("dns")]}])],
        "a named port that has no number": [policy("p", ingress=[{"ports": [tcp("none")]}])],
        "port and peer": [policy("p", ingress=[{"from": [ns_of(label(team="y"))], "ports": [tcp(81)]}])],
        "two rules do not mix": [policy("p", ingress=[{"from": [pods_of(a)], "ports": [tcp(80)]}, {"from": [ns_of(label(team="z"))], "ports": [udp(80)]}])],
        "egress to a namespace": [policy("p", types=["Egress"], egress=[{"to": [ns_of(label(team="z"))]}])],
        "egress to a pod and port": [policy("p", types=["Egress"], egress=[{"to": [pods_of(a)], "ports": [tcp(80)]}])],
        "egress and ingress must agree": [
            policy("p", "x", types=["Egress"], egress=[{"to": [ns_of(label(team="y"))]}]),
            policy("p", "y", ingress=[{"from": [ns_of(label(team="x"), a)]}]),
        ],
        "policies add up": [
            policy("p", ingress=[{"from": [pods_of(a)]}]),
            policy("q", pods=label(tier="front"), ingress=[{"from": [ns_of(label(team="y"))], "ports": [tcp(80)]}]),
            policy("r", pods=label(tier="back")),
        ],
        "a block": [policy("p", ingress=[{"from": [{"ipBlock": {"cidr": ip(("y", "a")) + "/32"}}]}])],
        "a block with holes": [policy("p", ingress=[{"from": [{"ipBlock": {"cidr": every, "except": [ip(("y", "a")) + "/32", ip(("x", "b")) + "/32"]}}]}])],
        "everything but a pod": [policy("p", types=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [ip(("z", "c")) + "/32"]}}]}])],
        "two blocks, one in the other's hole": [
            policy("p", ingress=[{"from": [{"ipBlock": {"cidr": every, "except": [ip(("y", "a")) + "/32"]}}, {"ipBlock": {"cidr": ip(("y", "a")) + "/32"}}], "ports": [tcp(80)]}])
        ],
        "a block of the other family is nobody": [policy("p", ingress=[{"from": [{"ipBlock": {"cidr": "2001:db8::/32"}}]}])],
        "many at once": [policy(f"p{i}", ns, pods=label(pod="abc"[i]), ingress=[{"from": [ns_of(label(team=NAMESPACES[i]))], "ports": [tcp(80 + i % 2), udp()]}]) for i in range(3) for ns in NAMESPACES],
        "both ways, by name, everywhere": [
            policy("p", ns, types=both, ingress=[{"from": [ns_of(label(kind="odd"))], "ports": [tcp("web")]}], egress=[{"to": [ns_of({}, label(tier="front"))]}]) for ns in NAMESPACES
        ],
        "nothing again": [],
    }


# ---- commands -----------------------------------------------------------------------------------


def matrix(world):
    for name, policies in cases(world).items():
        replace_policies(world.api, policies)
        check(world, name)
    # labels of a pod and of a namespace that change move them in and out
    replace_policies(world.api, [policy("p", ingress=[{"from": [ns_of(label(mood="good"), label(mood="good"))]}])])
    check(world, "labels nobody has")
    patch(world.api, "/api/v1/namespaces/y", {"metadata": {"labels": {"mood": "good"}}})
    patch(world.api, "/api/v1/namespaces/y/pods/b", {"metadata": {"labels": {"mood": "good"}}})
    check(world, "labels that came")
    patch(world.api, "/api/v1/namespaces/y", {"metadata": {"labels": {"mood": None}}})
    check(world, "the namespace's label went")
    replace_policies(world.api, [])
    check(world, "the end")


def patch(api, path, body):
    c = http.client.HTTPSConnection(api.address, context=api.tls, timeout=20)
    c.request("PATCH", path, json.dumps(body), {"content-type": "application/merge-patch+json"})
    r = c.getresponse()
    text = r.read()
    if r.status != 200:
        raise SystemExit(f"PATCH {path}: {r.status} {text.decode()}")


def expect(what, got, want):
    if got != want:
        raise SystemExit(f"{what}: got {got}, wanted {want}")


def ask(s, wait):
    """One exchange on an open UDP or TCP socket; whether the answer came."""
    s.settimeout(wait)
    try:
        s.send(b"GET / HTTP/1.0\r\n")
        return len(s.recv(2048)) > 0
    except (TimeoutError, BlockingIOError):
        return False


def until(what, wanted, fn, seconds=15):
    end = time.monotonic() + seconds
    while fn() != wanted:
        if time.monotonic() > end:
            raise SystemExit(f"{what}: never {wanted}")


def open_connections(world):
    replace_policies(world.api, [])
    check(world, "before")
    a, b = ("x", "a"), ("y", "b")
    u = world.socket(a, socket.SOCK_DGRAM)
    u.connect((world.ip(b), UDP_PORT))
    expect("the open flow", ask(u, 2), True)
    server = world.socket(b, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("0.0.0.0", 82))
    server.listen(1)
    t = world.socket(a, socket.SOCK_STREAM)
    t.settimeout(5)
    t.connect((world.ip(b), 82))
    peer = server.accept()[0]
    t.send(b"one")
    expect("the open connection", peer.recv(10), b"one")
    replace_policies(world.api, [policy("p", "y")])
    until("forbidden: the open flow", False, lambda: ask(u, 0.3))
    t.send(b"two")
    peer.settimeout(1)
    try:
        raise SystemExit(f"an open connection went on when it was forbidden: {peer.recv(10)}")
    except TimeoutError:
        pass
    # what x/a may still do: answer those who ask it
    r = world.socket(b, socket.SOCK_DGRAM)
    r.connect((world.ip(a), UDP_PORT))
    expect("a reply to an isolated pod", ask(r, 2), True)
    replace_policies(world.api, [policy("p", "y", ingress=[{"ports": [tcp(82)]}])])
    peer.settimeout(15)
    expect("allowed again, the same connection", peer.recv(10), b"two")
    expect("but not the other flow", ask(u, 0.3), False)
    replace_policies(world.api, [])
    until("allowed again: the same flow", True, lambda: ask(u, 0.3))


def first_packets(world):
    """Pods that do nothing but what is forbidden, from their first moment on."""
    replace_policies(
        world.api,
        [
            policy("p", "x", types=["Ingress", "Egress"], ingress=[{"from": [ns_of(label(team="none"))]}], egress=[{"to": [ns_of(label(team="z"))], "ports": [udp(1)]}]),
        ],
    )
    check(world, "before")
    world.heard.clear()
    known = set(world.by_ip)
    target = world.ip(("y", "a"))
    listener = world.socket(("y", "a"), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", 99))
    listener.listen(64)
    listener.setblocking(False)
    command = f"for i in 1 2 3 4 5; do busybox nc -w 1 {target} 99 </dev/null; done; exec sleep {world.mark}99"
    names = [f"first{i}" for i in range(8)]
    for name in names:
        body = {
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": IMAGE, "command": ["sh", "-c", command]}]},
        }
        world.api.call("POST", "/api/v1/namespaces/x/pods", body)
    # and somebody who knocks at every address they may get, all the time
    stop, came = threading.Event(), []
    knocker = world.socket(("y", "b"), socket.SOCK_DGRAM)
    network = ipaddress.ip_network(target + "/24", strict=False)
    unknown = [str(h) for h in network.hosts() if str(h) not in known]

    def knock():
        knocker.setblocking(False)
        while not stop.is_set():
            for h in unknown:
                try:
                    knocker.sendto(b"?", (h, 9))
                except OSError:
                    pass
            stop.wait(0.02)

    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    wait_ready(world.api, len(PODS) + len(names))
    time.sleep(1.5)
    stop.set()
    thread.join()
    world.refresh()
    try:
        while True:
            came.append(listener.accept()[1])
    except BlockingIOError:
        pass
    for name in names:
        ip = world.ip(("x", name))
        expect(f"connections of {name} at {ip}", [c for c in came if c[0] == ip], [])
        expect(f"datagrams that reached {name}", udp_in(world, name), 0)
        world.api.call("DELETE", f"/api/v1/namespaces/x/pods/{name}")
    # the same pods without a policy do get through: the test would have seen them
    replace_policies(world.api, [])
    body["metadata"]["name"] = "free"
    world.api.call("POST", "/api/v1/namespaces/x/pods", body)
    until("a pod that may", True, lambda: accepted(listener))
    world.api.call("DELETE", "/api/v1/namespaces/x/pods/free")


def udp_in(world, name):
    """Datagrams that came to the pod: to a port nobody has."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if world.mark + "99" not in open(f"/proc/{pid}/cmdline").read():
                continue
            host = open(f"/proc/{pid}/root/etc/hostname").read().strip()
            if host != name:
                continue
            rows = [line.split() for line in open(f"/proc/{pid}/net/snmp") if line.startswith("Udp:")]
            return int(dict(zip(*rows))["NoPorts"])
        except (OSError, IndexError):
            pass
    raise SystemExit(f"no process of {name}")


def accepted(listener):
    try:
        listener.accept()
        return True
    except BlockingIOError:
        time.sleep(0.1)
        return False


def steady(world, command):
    """While the command runs: no forbidden datagram arrives, and no allowed one is lost for long."""
    replace_policies(world.api, [policy("p", "y", ingress=[{"from": [ns_of(label(team="x"), label(pod="a"))]}])])
    check(world, "before")
    good = world.socket(("x", "a"), socket.SOCK_DGRAM)
    bad = [world.socket(p, socket.SOCK_DGRAM) for p in (("x", "b"), ("z", "c"))]
    target = (world.ip(("y", "a")), UDP_PORT)
    good.settimeout(10)  # lost, or late on a busy machine
    world.heard.clear()
    child = subprocess.Popen(command)
    sent = answered = 0
    end = None
    while end is None or time.monotonic() < end:
        if end is None and child.poll() is not None:
            end = time.monotonic() + 1
        for s in bad:
            s.sendto(b"?", target)
        good.sendto(b"?", target)
        sent += 1
        try:
            good.recv(100)
            answered += 1
        except TimeoutError:
            pass
        time.sleep(0.002)
    expect("the command", child.returncode, 0)
    expect("forbidden datagrams", sum(world.heard.get((("y", "a"), world.ip(p)), 0) for p in (("x", "b"), ("z", "c"))), 0)
    expect(f"allowed ones answered of {sent}", answered, sent)
    print(f"# {sent} datagrams answered")
    check(world, "after")


def main():
    api, mark, command = Api(sys.argv[1]), sys.argv[2], sys.argv[3]
    if command == "pods":
        make_pods(api, mark)
        return
    world = World(api, mark)
    world.find_netns()
    world.start_echo()
    if command == "steady":
        steady(world, sys.argv[4:])
    else:
        {"matrix": matrix, "open": open_connections, "first": first_packets}[command](world)


main()
