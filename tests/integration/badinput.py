#!/usr/bin/python3
"""Bad input against a running server: every answer is a Status with the right code, and the server lives on.

Usage: badinput.py KUBECONFIG   Exit 1 with one line for each wrong answer."""

import base64
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import yaml

failures = []


def connection(path):
    config = yaml.safe_load(open(path))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as f:
        f.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
        f.flush()
        context.load_cert_chain(f.name)
    anonymous = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    host, port = cluster["server"].removeprefix("https://").split(":")
    return host, int(port), context, anonymous, base64.b64decode(cluster["certificate-authority-data"]).decode()


HOST, PORT, ADMIN, ANONYMOUS, CA = connection(sys.argv[1])


def raw(data, context=ADMIN, timeout=20):
    """Sends bytes, reads until the answer is whole or the peer closes."""
    s = socket.create_connection((HOST, PORT), timeout=timeout)
    if context:
        s = context.wrap_socket(s, server_hostname=HOST)
    try:
        for i in range(0, len(data), 65536):
            s.sendall(data[i : i + 65536])
    except OSError:
        pass  # the server may answer and close before it has read all
    out = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            out += piece
            head, sep, body = out.partition(b"\r\n\r\n")
            if sep:
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:") and len(body) >= int(line.split(b":")[1]):
                        return out
    except OSError:
        pass
    finally:
        s.close()
    return out


def request(method, path, body=b"", headers=None, context=ADMIN):
    h = {"Host": HOST, "Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    h.update(headers or {})
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in h.items()) + "\r\n"
    answer = raw(head.encode() + body, context)
    status_line, _, rest = answer.partition(b"\r\n")
    head, _, content = rest.partition(b"\r\n\r\n")
    try:
        code = int(status_line.split()[1])
    except (IndexError, ValueError):
        return 0, {}
    if b"chunked" in head.lower():
        whole = b""
        while content:
            size, _, content = content.partition(b"\r\n")
            n = int(size or b"0", 16)
            whole, content = whole + content[:n], content[n + 2 :]
        content = whole
    try:
        return code, json.loads(content)
    except ValueError:
        return code, {}


def expect(what, got, code, reason=None, text=None, field=None):
    status, body = got
    problem = None
    codes = code if isinstance(code, tuple) else (code,)
    if status not in codes:
        problem = f"code {status}, not {code}"
    elif reason and body.get("reason") != reason:
        problem = f"reason {body.get('reason')}, not {reason}"
    elif reason and (body.get("kind") != "Status" or body.get("status") != "Failure" or body.get("code") != status):
        problem = f"no Status of failure: {body}"
    elif text and text not in body.get("message", ""):
        problem = f"message {body.get('message')!r} lacks {text!r}"
    elif field and field not in [c.get("field") for c in body.get("details", {}).get("causes", [])]:
        problem = f"no cause for {field}: {body.get('details')}"
    if problem:
        failures.append(f"{what}: {problem}")


CM = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOY = "/apis/apps/v1/namespaces/default/deployments"


def cm(name="x", **more):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}).encode()


def pod(**spec):
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": spec}).encode()


def bodies():
    expect("cut JSON", request("POST", CM, b'{"kind":'), 400, "BadRequest")
    expect("not JSON", request("POST", CM, b"hello"), 400, "BadRequest")
    expect("empty body", request("POST", CM, b""), 400, "BadRequest")
    expect("an array", request("POST", CM, b"[]"), 400, "BadRequest")
    expect("NUL bytes", request("POST", CM, b"\0" * 100), 400, "BadRequest")
    expect("invalid UTF-8", request("POST", CM, cm(data={"a": "b"}).replace(b'"b"', b'"\xff\xfe"')), 400, "BadRequest")
    expect("100,000 deep", request("POST", CM, b'{"a":' * 100000 + b"1" + b"}" * 100000), 400, "BadRequest")
    expect("100,000 deep arrays", request("POST", CM, b"[" * 100000), 400, "BadRequest")
    expect("10 MB", request("POST", CM, cm(data={"a": "b" * 10_000_000})), 413, "RequestEntityTooLarge")
    expect("wrong type", request("POST", DEPLOY, json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"replicas": "three"}}).encode()), 400, "BadRequest")
    expect("wrong kind", request("POST", CM, pod()), 400, "BadRequest")
    expect("bad YAML", request("POST", CM, b"a: [", {"Content-Type": "application/yaml"}), 400, "BadRequest")
    expect("YAML bomb", request("POST", CM, b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((c + 1, c + 1) + (c,) * 8) for c in range(97, 110)), {"Content-Type": "application/yaml"}), 400, "BadRequest")
    expect("bad protobuf", request("POST", CM, b"k8s\0\xff\xff\xff\xff\xff\xff", {"Content-Type": "application/vnd.kubernetes.protobuf"}), 400, "BadRequest")
    expect("unknown media type", request("POST", CM, b"x", {"Content-Type": "text/rtf"}), 415, "UnsupportedMediaType")
    expect("unacceptable", request("GET", CM, headers={"Accept": "image/png"}), 406, "NotAcceptable")
    expect("unknown field, strict", request("POST", CM + "?fieldValidation=Strict", cm(datum=1)), 400, "BadRequest", 'unknown field "datum"')
    expect("bad patch", request("PATCH", CM + "/kube-root-ca.crt", b"{", {"Content-Type": "application/merge-patch+json"}), 400, "BadRequest")
    expect("bad patch type", request("PATCH", CM + "/kube-root-ca.crt", b"{}", {"Content-Type": "text/plain"}), 415, "UnsupportedMediaType")
    expect("JSON patch off the tree", request("PATCH", CM + "/kube-root-ca.crt", b'[{"op":"remove","path":"/no/such"}]', {"Content-Type": "application/json-patch+json"}), 422, "Invalid")


def rules():
    expect("upper-case name", request("POST", CM, cm("UPPER")), 422, "Invalid", "a lowercase RFC 1123 subdomain", "metadata.name")
    expect("long name", request("POST", CM, cm("a" * 254)), 422, "Invalid", field="metadata.name")
    expect("no name", request("POST", CM, cm("")), (422, 500), None, "name or generateName is required")
    expect("bad label", request("POST", CM, json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a b": "c"}}}).encode()), 422, "Invalid", field="metadata.labels")
    expect("no containers", request("POST", PODS, pod()), 422, "Invalid", "Required value", "spec.containers")
    expect("no image", request("POST", PODS, pod(containers=[{"name": "c"}])), 422, "Invalid", field="spec.containers[0].image")
    expect("same name twice", request("POST", PODS, pod(containers=[{"name": "c", "image": "i"}] * 2)), 422, "Invalid", "Duplicate value", "spec.containers[1].name")
    expect("bad enum", request("POST", PODS, pod(restartPolicy="Sometimes", containers=[{"name": "c", "image": "i"}])), 422, "Invalid", "Unsupported value", "spec.restartPolicy")
    expect("port out of range", request("POST", PODS, pod(containers=[{"name": "c", "image": "i", "ports": [{"containerPort": 70000}]}])), 422, "Invalid", field="spec.containers[0].ports[0].containerPort")
    expect("mount without volume", request("POST", PODS, pod(containers=[{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}])), 422, "Invalid", "Not found", "spec.containers[0].volumeMounts[0].name")
    expect("requests over limits", request("POST", PODS, pod(containers=[{"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}])), 422, "Invalid", field="spec.containers[0].resources.requests")
    expect("bad quantity", request("POST", PODS, pod(containers=[{"name": "c", "image": "i", "resources": {"limits": {"cpu": "lots"}}}])), 400, "BadRequest")
    selector = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    expect("selector misses template", request("POST", DEPLOY, json.dumps(selector).encode()), 422, "Invalid", "`selector` does not match template `labels`", "spec.template.metadata.labels")
    selector["spec"]["template"]["metadata"]["labels"] = {"a": "b"}
    selector["spec"]["replicas"] = 0
    expect("a good one", request("POST", DEPLOY, json.dumps(selector).encode()), 201)
    expect("twice", request("POST", DEPLOY, json.dumps(selector).encode()), 409, "AlreadyExists", 'deployments.apps "x" already exists')
    selector["spec"]["selector"]["matchLabels"] = {"b": "b"}
    selector["spec"]["template"]["metadata"]["labels"] = {"b": "b"}
    expect("immutable selector", request("PUT", DEPLOY + "/x", json.dumps(selector).encode()), 422, "Invalid", "field is immutable", "spec.selector")
    selector["metadata"]["resourceVersion"] = "1"
    expect("stale update", request("PUT", DEPLOY + "/x", json.dumps(selector).encode()), (409, 422))
    expect("stale delete", request("DELETE", DEPLOY + "/x", b'{"preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}'), 409, "Conflict")
    expect("delete", request("DELETE", DEPLOY + "/x"), 200)
    expect("no such object", request("GET", CM + "/nothing"), 404, "NotFound", 'configmaps "nothing" not found')
    expect("no such namespace", request("POST", "/api/v1/namespaces/nowhere/configmaps", cm()), 404, "NotFound", 'namespaces "nowhere" not found')
    expect("name differs from URL", request("PUT", CM + "/other", cm("x")), 400, "BadRequest")
    expect("namespace differs from URL", request("POST", CM, json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "kube-system"}}).encode()), 400, "BadRequest")


def queries():
    expect("bad label selector", request("GET", CM + "?labelSelector=a%20in%20(b"), 400, "BadRequest", "unable to parse requirement")
    expect("bad field selector", request("GET", CM + "?fieldSelector=spec.color%3Dred"), 400, "BadRequest", "is not a known field selector")
    expect("bad continue", request("GET", CM + "?limit=1&continue=xyz"), 400)
    expect("bad resourceVersion", request("GET", CM + "?resourceVersion=abc"), 400)
    expect("future watch", request("GET", CM + "?watch=true&resourceVersion=99999999999&timeoutSeconds=1"), (200, 400, 504))
    expect("negative limit: none", request("GET", CM + "?limit=-1"), 200)
    expect("unknown resource", request("GET", "/apis/apps/v1/namespaces/default/spaceships"), 404, "NotFound", "the server could not find the requested resource")
    expect("unknown group", request("GET", "/apis/ships.example/v1/masts"), 404)
    expect("wrong method", request("PATCH", CM, b"{}"), 405, "MethodNotAllowed")
    expect("strange method", request("BREW", CM), (400, 405, 501))
    expect("path with escapes", request("GET", CM + "/%00"), (400, 404))
    expect("dot dot", request("GET", "/api/v1/namespaces/../../secrets"), (301, 400, 404))


def credentials():
    expect("anonymous", request("GET", CM, context=ANONYMOUS), 403, "Forbidden", 'User "system:anonymous" cannot list resource "configmaps"')
    for what, token in [("garbage", "x"), ("three dots", "a.b.c"), ("no signature", base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=") + "." + base64.urlsafe_b64encode(b'{"sub":"system:serviceaccount:default:default","iss":"https://kubernetes.default.svc.cluster.local"}').decode().rstrip("=") + ".")]:
        expect(f"token: {what}", request("GET", CM, headers={"Authorization": "Bearer " + token}, context=ANONYMOUS), 401, "Unauthorized")
    expect("basic auth", request("GET", CM, headers={"Authorization": "Basic YTpi"}, context=ANONYMOUS), (401, 403))


def wire():
    answer = raw(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n", context=None)
    if b"400" not in answer.split(b"\r\n")[0]:
        failures.append(f"plain HTTP to the TLS port: {answer[:80]!r}")
    for what, data in [
        ("garbage", b"\x01\x02\x03\r\n\r\n"),
        ("two lengths", b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ("length and chunks", b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("bad chunk", b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ("no host", b"GET /version HTTP/1.1\r\n\r\n"),
    ]:
        line = raw(data).split(b"\r\n")[0]
        if line and not line.split()[1].startswith(b"4"):
            failures.append(f"{what}: {line!r}")
    line = raw(b"GET /version HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20000 + b"\r\n").split(b"\r\n")[0]
    if b"431" not in line and line:
        failures.append(f"endless headers: {line!r}")
    line = raw(b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n").split(b"\r\n")[0]
    if line and b" 4" not in line:
        failures.append(f"endless path: {line!r}")
    # slow clients: many connections that say a little and stay
    slow = []
    for i in range(100):
        s = socket.create_connection((HOST, PORT), timeout=5)
        if i % 2:
            s = ADMIN.wrap_socket(s, server_hostname=HOST)
            s.sendall(b"GET /version HTTP/1.1\r\nHo")
        slow.append(s)
    started = time.monotonic()
    code, _ = request("GET", "/version")
    if code != 200 or time.monotonic() - started > 5:
        failures.append("slow clients hold up the others")
    for s in slow:
        s.close()
    # half-closed: the client says it is done sending (close_notify, FIN), and still gets its answer
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ADMIN.wrap_bio(incoming, outgoing, server_hostname=HOST)
    s = socket.create_connection((HOST, PORT), timeout=10)

    def step(do):
        """do() with the peer's bytes, as many as it wants; None when the peer has no more."""
        while True:
            try:
                return do()
            except ssl.SSLWantReadError:
                if outgoing.pending:
                    s.sendall(outgoing.read())
                data = s.recv(65536)
                if not data:
                    return None
                incoming.write(data)

    step(tls.do_handshake)
    tls.write(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        tls.unwrap()
    except ssl.SSLWantReadError:
        pass
    s.sendall(outgoing.read())
    s.shutdown(socket.SHUT_WR)
    answer = b""
    try:
        while chunk := step(lambda: tls.read(65536)):
            answer += chunk
    except ssl.SSLError as e:
        answer += str(e).encode()
    if b" 200 " not in answer.split(b"\r\n")[0] or b"gitVersion" not in answer:
        failures.append(f"half-closed: {answer[:200]!r}")
    s.close()


def conflicts():
    """Twenty writers of one object with optimistic locking: every success is a step, none is lost."""
    request("POST", CM, cm("counter", data={"n": "0"}))
    done = []

    def work():
        for _ in range(10):
            while True:
                _, current = request("GET", CM + "/counter")
                current["data"]["n"] = str(int(current["data"]["n"]) + 1)
                code, _ = request("PUT", CM + "/counter", json.dumps(current).encode())
                if code == 200:
                    done.append(1)
                    break
                if code != 409:
                    failures.append(f"conflicting update: code {code}")
                    return

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    _, last = request("GET", CM + "/counter")
    if last.get("data", {}).get("n") != str(len(done)):
        failures.append(f"conflicting updates: {len(done)} acknowledged, counter says {last.get('data')}")
    request("DELETE", CM + "/counter")


def bombs():
    """Small requests that want to become large."""
    patch = lambda ops, kind="application/json-patch+json", name="bomb": request("PATCH", f"{CM}/{name}", json.dumps(ops).encode() if not isinstance(ops, bytes) else ops, {"Content-Type": kind})
    expect("bomb's target", request("POST", CM, cm("bomb", data={"a": "b" * 1000})), 201)
    double = [{"op": "copy", "from": "/metadata", "path": f"/metadata/x{i}"} for i in range(60)]
    expect("JSON patch that doubles", patch(double), (400, 413, 422), None)
    double = [{"op": "add", "path": "/metadata/annotations", "value": {}}] + [{"op": "copy", "from": "/data", "path": f"/data/x{i}"} for i in range(60)]
    expect("JSON patch that doubles data", patch(double), (400, 413, 422), None)
    expect("too many operations", patch([{"op": "test", "path": "/data/a", "value": "c"}] * 20000), (400, 413, 422), None)
    grow = [{"op": "copy", "from": "/data/a", "path": f"/data/x{i}"} for i in range(9000)]
    expect("JSON patch that grows beyond an object", patch(grow), (400, 413, 422), None)
    for pointer in ("no-slash", "/data/~2", "/data/~", "/metadata/labels/-", "/" + "a/" * 50000):
        expect(f"pointer {pointer[:20]}", patch([{"op": "replace", "path": pointer, "value": "x"}]), (400, 413, 422), None)
    for op in ({"op": "fly", "path": "/data/a"}, {"op": "add", "path": "/data/b"}, {"op": "move", "path": "/data/a/b", "from": "/data/a"}, {"path": "/data"}, 7, None, [], {"op": ["add"], "path": {}}):
        expect(f"operation {op}", patch([op]), (400, 422), None)
    expect("JSON patch that is an object", patch(b'{"op":"add"}'), (400, 422), None)
    for directive in ({"$patch": "explode"}, {"$retainKeys": 7}, {"$setElementOrder/finalizers": {"a": 1}}, {"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}}, {"metadata": {"ownerReferences": [{"$patch": "delete"}]}}, {"metadata": {"ownerReferences": [{"$patch": 1, "uid": "x"}]}}, {"metadata": 7}, {"data": ["a"]}):
        status, body = patch(directive, "application/strategic-merge-patch+json")
        if status >= 500 or status == 0:
            failures.append(f"directive {directive}: {status} {body}")
    for kind in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        expect(f"{kind}, deep", patch(b'{"a":' * 100000 + b"1" + b"}" * 100000, kind), (400, 413), None)
        expect(f"{kind}, null", patch(b"null", kind), (400, 422), None)
        expect(f"{kind}, renames", patch({"metadata": {"name": "other"}}, kind), (400, 422), None)
    expect("bomb's target lives", request("GET", CM + "/bomb"), 200)
    expect("bomb's target goes", request("DELETE", CM + "/bomb"), 200)
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    line = raw(b"POST " + CM.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 160).split(b"\r\n")[0]
    if line and b" 413 " not in line:
        failures.append(f"10 MB in chunks: {line!r}")
    expect("a length that is a lie", request("POST", CM, b"{}", {"Content-Length": str(1 << 62)}), 413, "RequestEntityTooLarge")
    expect("a length that is none", request("POST", CM, b"{}", {"Content-Length": "-1"}), 400, None)
    expect("compressed", request("POST", CM, b"\x1f\x8b\x08\0\0\0\0\0", {"Content-Encoding": "gzip"}), (400, 415), None)


def spans():
    """Seconds and times at the ends of what fits. All is accepted or refused, and can be read afterwards (badinput.bats starts the
    server again over it)."""
    most = (1 << 63) - 1
    far = pod(nodeName="nowhere", terminationGracePeriodSeconds=most, tolerations=[{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": most}], containers=[{"name": "c", "image": "i"}])
    for grace in (None, 10**12, most):
        expect("far pod", request("POST", PODS, far), 201)
        body = json.dumps({"gracePeriodSeconds": grace}).encode() if grace else b""
        expect(f"delete, grace {grace}", request("DELETE", PODS + "/bad", body), 200)
        status, got = request("GET", PODS + "/bad")
        if got.get("metadata", {}).get("deletionTimestamp") != "9999-12-31T23:59:59Z":
            failures.append(f"grace {grace}: deleted at {got.get('metadata', {}).get('deletionTimestamp')}")
        if grace != most:
            expect("at once", request("DELETE", PODS + "/bad", b'{"gracePeriodSeconds":0}'), 200)
    expect("beyond an integer", request("DELETE", PODS + "/bad", b'{"gracePeriodSeconds":9223372036854775808}'), 400, "BadRequest")
    expect("negative tolerance", request("DELETE", PODS + "/bad?gracePeriodSeconds=-9223372036854775808"), (200, 400, 422), None)
    lease = lambda name, t: request("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", json.dumps({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {"renewTime": t}}).encode())
    expect("last moment", lease("last", "9999-12-31T23:59:59.999999Z"), 201)
    expect("first moment", lease("first", "0001-01-01T00:00:01.000000Z"), 201)
    expect("later by its offset", lease("later", "9999-12-31T23:59:59.000000-23:59"), 400, "BadRequest")
    expect("earlier by its offset", lease("earlier", "0001-01-01T00:00:00.000000+23:59"), 400, "BadRequest")
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "far"}, "spec": {"activeDeadlineSeconds": most, "template": {"spec": {"restartPolicy": "Never", "nodeName": "nowhere", "containers": [{"name": "c", "image": "i"}]}}}}
    expect("far job", request("POST", "/apis/batch/v1/namespaces/default/jobs", json.dumps(job).encode()), (201, 422), None)
    for query in ("limit=99999999999999999999", "timeoutSeconds=-1", "timeoutSeconds=x", "resourceVersion=-1", "resourceVersion=99999999999999999999", "continue=" + "A" * 5000, "labelSelector=" + "a," * 20000 + "a", "labelSelector=" + "(" * 3000, "fieldSelector=metadata.name%3D" + "x" * 5000, "=&&=&%00=%ff", "watch=maybe"):
        status, _ = request("GET", CM + "?" + query)
        if status not in (200, 400, 414, 431):
            failures.append(f"?{query[:40]}: {status}")
    status, _ = request("GET", CM + "?watch=1&timeoutSeconds=1&resourceVersion=1")
    if status not in (200, 410):
        failures.append(f"a revision that is gone: {status}")


def mutants():
    """A good Pod in protobuf and JSON with bytes changed, cut, doubled: an answer each time, never 5xx."""
    import random

    dice = random.Random(int(time.time()))
    seed = dice.randrange(1 << 32)
    dice = random.Random(seed)
    field = lambda n, b: bytes([n << 3 | 2, len(b)]) + b
    spec = field(2, field(1, b"c") + field(2, b"image") + field(3, b"sh")) + field(3, b"Always")
    body = field(1, field(1, b"mutant") + field(3, b"default")) + field(2, spec)
    whole = b"k8s\0" + field(1, field(1, b"v1") + field(2, b"Pod")) + field(2, body)
    goods = [("application/vnd.kubernetes.protobuf", whole), ("application/json", pod(containers=[{"name": "c", "image": "i", "env": [{"name": "A", "value": "b"}]}])), ("application/yaml", b"apiVersion: v1\nkind: Pod\nmetadata: {name: mutant}\nspec:\n  containers:\n  - {name: c, image: i}\n")]
    expect("the protobuf seed", request("POST", PODS + "?dryRun=All", whole, {"Content-Type": goods[0][0]}), 201)
    for i in range(300):
        kind, good = goods[i % 3]
        b = bytearray(good)
        for _ in range(dice.randrange(1, 5)):
            at = dice.randrange(len(b))
            how = dice.randrange(4)
            if how == 0:
                b[at] = dice.randrange(256)
            elif how == 1:
                b[at] ^= 1 << dice.randrange(8)
            elif how == 2:
                b[at:at] = b[dice.randrange(len(b)) :][:20]
            elif len(b) > 8:
                del b[at : at + 5]
        status, got = request("POST", PODS + "?dryRun=All", bytes(b), {"Content-Type": kind})
        if status not in (201, 400, 403, 404, 409, 413, 415, 422):
            failures.append(f"mutant {i} of seed {seed}: {status} {got} for {bytes(b)!r}")


def forged():
    """Credentials that look right and are not."""
    status, got = request("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", b'{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":600}}')
    if status != 201:
        failures.append(f"no token to forge: {status} {got}")
        return
    token = got["status"]["token"]
    head, claims, signature = token.split(".")
    b64 = lambda b: base64.urlsafe_b64encode(b).decode().rstrip("=")
    plain = lambda s: json.loads(base64.urlsafe_b64decode(s + "=" * (-len(s) % 4)))
    who = lambda t: request("GET", CM, headers={"Authorization": "Bearer " + t}, context=ANONYMOUS)
    expect("a good token", who(token), 403, "Forbidden", "system:serviceaccount:default:default")
    admin = dict(plain(claims), sub="system:serviceaccount:kube-system:admin")
    late = dict(plain(claims), exp=plain(claims)["exp"] + 10**6)
    flipped = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    for what, t in [
        ("another subject", f"{head}.{b64(json.dumps(admin).encode())}.{signature}"),
        ("a later end", f"{head}.{b64(json.dumps(late).encode())}.{signature}"),
        ("alg none", f"{b64(json.dumps(dict(plain(head), alg='none')).encode())}.{claims}."),
        ("alg none, signed", f"{b64(json.dumps(dict(plain(head), alg='none')).encode())}.{claims}.{signature}"),
        ("alg HS256", f"{b64(json.dumps(dict(plain(head), alg='HS256')).encode())}.{claims}.{signature}"),
        ("no signature", f"{head}.{claims}."),
        ("a zero signature", f"{head}.{claims}.{b64(bytes(len(flipped)))}"),
        ("half a signature", f"{head}.{claims}.{signature[: len(signature) // 2]}"),
        ("one bit", f"{head}.{claims}.{b64(bytes([flipped[0] ^ 1]) + flipped[1:])}"),
        ("twice", token + "." + signature),
        ("long", "a" * 30000),
        ("with a space", token + " x"),
    ]:
        status, got = who(t)
        if status not in (400, 401, 431) or (status == 401 and got.get("reason") != "Unauthorized"):
            failures.append(f"forged token, {what}: {status} {got}")
    expect("impersonation without the right", request("GET", CM, headers={"Authorization": "Bearer " + token, "Impersonate-User": "system:admin", "Impersonate-Group": "system:masters"}, context=ANONYMOUS), 403, "Forbidden")
    with tempfile.TemporaryDirectory() as d:
        # a certificate that says "masters" and was signed by nobody we know
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/O=system:masters/CN=kubernetes-admin", "-keyout", d + "/k", "-out", d + "/c"], check=True, capture_output=True)
        context = ssl.create_default_context(cadata=CA)
        context.load_cert_chain(d + "/c", d + "/k")
        try:
            status, got = request("GET", CM, context=context)
        except ssl.SSLError:
            status, got = 401, {}
        if status not in (0, 401, 403):
            failures.append(f"a forged certificate: {status} {got}")
    warnings.simplefilter("ignore", DeprecationWarning)
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        try:
            old.minimum_version = old.maximum_version = version
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.wrap_socket(socket.create_connection((HOST, PORT), timeout=5)).close()
            failures.append(f"{version.name} is spoken")
        except OSError:
            pass


for part in (bodies, rules, queries, credentials, wire, conflicts, bombs, spans, mutants, forged):
    part()
if request("GET", "/readyz")[0] != 200:
    failures.append("the server is not ready afterwards")
for f in failures:
    print(f)
sys.exit(1 if failures else 0)
