#!/usr/bin/python3
"""Every kind a server has, by every verb it offers.

Usage: kinds.py KUBECONFIG discovery|verbs|refused|autoscalers     Exit 1 with one line for each fault.

What is served is asked of the server (discovery). kinds.yaml has one valid object of each kind; a kind without one, or a
verb of a kind that nothing here has tried, is a fault."""

import copy
import http.client
import json
import sys
import time

from manifests import MANIFESTS, QUESTIONS
from served import JSON, PROTOBUF, Server

failures, checks = [], 0


SERVER = Server(sys.argv[1])
SERVER.learn()
HOST, PORT, CONTEXT = SERVER.address
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
MERGE = "application/merge-patch+json"


def ask(method, path, body=None, content=JSON, accept=JSON):
    """(code, answer): parsed when it is JSON. Every answer is judged by the server's own OpenAPI."""
    code, answer, _ = SERVER.ask(method, path, body, content, accept)
    for fault in SERVER.answer_faults(method, path.partition("?")[0], code, answer, accept == JSON):
        check(False, "%s %s: %d by OpenAPI" % (method, path, code), fault)
    check(True, "an answer")
    return code, answer


def rewrite(path, change, to=None, **how):
    """Reads, changes and writes back, again when a controller of the server wrote meanwhile."""
    for _ in range(20):
        code, o = ask("GET", path, accept=how.get("content", JSON))
        code, answer = ask("PUT", to or path, change(o), **how)
        if code != 409:
            break
        time.sleep(0.05)
    return code, answer


def check(ok, what, *more):
    global checks
    checks += 1
    if not ok:
        failures.append(what + "".join(": " + str(m)[:400] for m in more))
    return bool(ok)


def merged(a, b):
    """b over a, as a merge patch."""
    if not isinstance(b, dict):
        return b
    out = dict(a) if isinstance(a, dict) else {}
    for k, v in b.items():
        out[k] = merged(out.get(k), v)
        if v is None:
            del out[k]
    return out


def within(part, whole):
    """Every member of part is in whole; lists must be as long."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and within(v, whole[k]) for k, v in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) == len(whole) and all(map(within, part, whole))
    return part == whole


# ---- what Kubernetes 1.36 has: plural, kind, n(amespaced), short names, subresources, categories ----

KUBERNETES = """
v1
bindings Binding n
componentstatuses ComponentStatus - cs
configmaps ConfigMap n cm
endpoints Endpoints n ep
events Event n ev
limitranges LimitRange n limits
namespaces Namespace - ns finalize,status
nodes Node - no status
persistentvolumeclaims PersistentVolumeClaim n pvc status
persistentvolumes PersistentVolume - pv status
pods Pod n po attach,binding,eviction,exec,log,portforward,status all
podtemplates PodTemplate n
replicationcontrollers ReplicationController n rc scale,status all
resourcequotas ResourceQuota n quota status
secrets Secret n
serviceaccounts ServiceAccount n sa token
services Service n svc status all
admissionregistration.k8s.io/v1
mutatingadmissionpolicies MutatingAdmissionPolicy - . . api-extensions
mutatingadmissionpolicybindings MutatingAdmissionPolicyBinding - . . api-extensions
mutatingwebhookconfigurations MutatingWebhookConfiguration - . . api-extensions
validatingadmissionpolicies ValidatingAdmissionPolicy - . status api-extensions
validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding - . . api-extensions
validatingwebhookconfigurations ValidatingWebhookConfiguration - . . api-extensions
apiregistration.k8s.io/v1
apiservices APIService - . status api-extensions
apps/v1
controllerrevisions ControllerRevision n
daemonsets DaemonSet n ds status all
deployments Deployment n deploy scale,status all
replicasets ReplicaSet n rs scale,status all
statefulsets StatefulSet n sts scale,status all
authentication.k8s.io/v1
selfsubjectreviews SelfSubjectReview -
tokenreviews TokenReview -
authorization.k8s.io/v1
localsubjectaccessreviews LocalSubjectAccessReview n
selfsubjectaccessreviews SelfSubjectAccessReview -
selfsubjectrulesreviews SelfSubjectRulesReview -
subjectaccessreviews SubjectAccessReview -
autoscaling/v1
horizontalpodautoscalers HorizontalPodAutoscaler n hpa status all
autoscaling/v2
horizontalpodautoscalers HorizontalPodAutoscaler n hpa status all
batch/v1
cronjobs CronJob n cj status all
jobs Job n . status all
certificates.k8s.io/v1
certificatesigningrequests CertificateSigningRequest - csr approval,status
coordination.k8s.io/v1
leases Lease n
discovery.k8s.io/v1
endpointslices EndpointSlice n
events.k8s.io/v1
events Event n ev
flowcontrol.apiserver.k8s.io/v1
flowschemas FlowSchema - . status
prioritylevelconfigurations PriorityLevelConfiguration - . status
networking.k8s.io/v1
ingressclasses IngressClass -
ingresses Ingress n ing status
ipaddresses IPAddress - ip
networkpolicies NetworkPolicy n netpol
servicecidrs ServiceCIDR - . status
node.k8s.io/v1
runtimeclasses RuntimeClass -
policy/v1
poddisruptionbudgets PodDisruptionBudget n pdb status
rbac.authorization.k8s.io/v1
clusterrolebindings ClusterRoleBinding -
clusterroles ClusterRole -
rolebindings RoleBinding n
roles Role n
resource.k8s.io/v1
deviceclasses DeviceClass -
resourceclaims ResourceClaim n . status
resourceclaimtemplates ResourceClaimTemplate n
resourceslices ResourceSlice -
scheduling.k8s.io/v1
priorityclasses PriorityClass - pc
storage.k8s.io/v1
csidrivers CSIDriver -
csinodes CSINode -
csistoragecapacities CSIStorageCapacity n
storageclasses StorageClass - sc
volumeattachments VolumeAttachment - . status
volumeattributesclasses VolumeAttributesClass - vac
"""

# Controllers of the server write these.
BUSY = {"flowschemas", "deployments", "jobs", "nodes", "poddisruptionbudgets", "pods", "replicasets", "resourcequotas", "namespaces", "services"}
# Asked of a node: with a node, in pods.bats and kubectl.bats.
NEED_NODE = {"v1/pods/attach", "v1/pods/exec", "v1/pods/log", "v1/pods/portforward"}
NEED_NODE |= {"v1/nodes/proxy", "v1/pods/proxy", "v1/services/proxy", "v1/pods/ephemeralcontainers", "v1/pods/resize"}
# What is served for others, and has tests of its own.
ELSEWHERE = ("apiextensions.k8s.io/", "metrics.k8s.io/")


PATCHES = {
    "json": "application/json-patch+json",
    "merge": MERGE,
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


def discovered():
    """{"apps/v1/deployments" or ".../status": resource}"""
    out = {}
    versions = ["v1"]
    code, groups = ask("GET", "/apis")
    for g in groups["groups"]:
        versions += [v["groupVersion"] for v in g["versions"]]
    for gv in versions:
        code, answer = ask("GET", ("/api/" if gv == "v1" else "/apis/") + gv)
        check(code == 200, gv, code)
        if gv.startswith(ELSEWHERE):
            continue
        for r in answer["resources"]:
            out[gv + "/" + r["name"]] = r
    return out


def discovery():
    have, gv = discovered(), None
    code, groups = ask("GET", "/apis")
    preferred = {g["name"]: g["preferredVersion"]["version"] for g in groups["groups"]}
    check(preferred["autoscaling"] == "v2", "preferred version of autoscaling", preferred)
    for line in filter(None, KUBERNETES.split("\n")):
        words = line.split()
        if len(words) == 1:
            gv = line
            continue
        plural, kind, scope, short, subs, categories = (words + ["."] * 3)[:6]
        r = have.get(gv + "/" + plural)
        if not check(r, gv + "/" + plural + " is not served"):
            continue
        want = lambda text: [] if text == "." else text.split(",")
        check(r["kind"] == kind, plural, r["kind"])
        check(r["namespaced"] == (scope == "n"), plural + ": namespaced", r["namespaced"])
        check(r.get("shortNames", []) == want(short), plural + ": short names", r.get("shortNames"))
        check(r.get("categories", []) == want(categories), plural + ": categories", r.get("categories"))
        got = {k.split("/")[-1] for k in have if k.startswith(gv + "/" + plural + "/")}
        check(got >= set(want(subs)), plural + ": subresources", got)
        check(r.get("singularName"), plural + " has no singular")


# ---- one kind ----


class Walk:
    def __init__(self, key, resource, done):
        self.key, self.r, self.done = key, resource, done
        gv, self.plural = key.rsplit("/", 1)
        self.gv = gv
        self.m = MANIFESTS[key]
        self.base = ("/api/" if gv == "v1" else "/apis/") + gv
        self.all = self.base + "/" + self.plural
        self.path = self.base + ("/namespaces/default/" if resource["namespaced"] else "/") + self.plural
        self.body = {k: v for k, v in self.m.items() if k[0] != "_"} | {"apiVersion": gv, "kind": resource["kind"]}
        self.names = [self.m.get("_name", "one")] + self.m.get("_other", ["two", "three"])
        self.one = self.path + "/" + self.names[0]
        self.busy = self.plural in BUSY

    def did(self, verb, sub=None):
        self.done.add((self.key + ("/" + sub if sub else ""), verb))

    def patch(self, how, sub, part, place, head=None):
        """The same by each kind of patch; place: where a JSON patch puts what."""
        path = self.one + ("/" + sub if sub else "")
        body = part
        if how == "json":
            body = [{"op": "add", "path": place[0], "value": place[1]}]
        elif how == "apply":
            body = merged(head or {"apiVersion": self.gv, "kind": self.r["kind"], "metadata": {"name": self.names[0]}}, part)
            path += "?fieldManager=walk&force=true"
        code, n = ask("PATCH", path, body, content=PATCHES[how])
        if self.check(code == 200, "patch %s by %s" % (sub or "", how), code, n):
            self.did("patch " + how, sub)
        return code, n

    def check(self, ok, what, *more):
        return check(ok, self.key + ": " + what, *more)

    def object(self, name, **labels):
        o = copy.deepcopy(self.body)
        o["metadata"] = {"name": name, "labels": {"walk": "here"} | labels}
        if self.plural == "apiservices" and name in self.names:  # VERSION.GROUP
            o["spec"]["version"] = name.split(".")[0]
        return o

    def create(self):
        code, o = ask("POST", self.path, self.object(self.names[0]))
        if not self.check(code == 201, "create", code, o):
            return False
        self.did("create")
        self.check(o["metadata"]["uid"] and o["metadata"]["creationTimestamp"], "create gives no uid", o)
        self.check(within(without(self.body, "stringData"), o), "create changed what was given", o)
        self.check(o["metadata"].get("generation", 0) == (1 if self.m.get("_generation") else 0) or self.plural == "pods",
                   "generation after create", o["metadata"])
        code, o = ask("POST", self.path, self.object(self.names[0]))
        self.check(code == 409 and o["reason"] == "AlreadyExists", "created twice", code, o)
        code, o = ask("POST", self.path, self.object("Not/Valid"))
        self.check(code == 422 and o["reason"] == "Invalid" and fault(o, "metadata.name"), "a bad name", code, o)
        code, o = ask("POST", self.path, b"{")
        self.check(code == 400 and o["reason"] == "BadRequest", "not JSON", code, o)
        code, o = ask("POST", self.path + "?fieldValidation=Strict", self.object("x") | {"unheardOf": 1})
        self.check(code == 400 and "unheardOf" in o["message"], "an unknown field", code, o)
        return True

    def read(self):
        code, self.o = ask("GET", self.one)
        if self.check(code == 200 and self.o["kind"] == self.r["kind"] and self.o["apiVersion"] == self.gv, "get", code, self.o):
            self.did("get")
        code, l = ask("GET", self.path + "?labelSelector=walk%3Dhere")
        ok = code == 200 and l["kind"] == self.r["kind"] + "List" and [i["metadata"]["name"] for i in l["items"]] == self.names[:1]
        if self.check(ok, "list", code, l):
            self.did("list")
        code, l = ask("GET", self.all + "?fieldSelector=metadata.name%3D" + self.names[0])
        self.check(code == 200 and len(l["items"]) == 1, "list of all by name", code, l)
        code, l = ask("GET", self.path + "?fieldSelector=no.such%3Dx")
        self.check(code == 400, "an unknown field selector", code, l)
        code, t = ask("GET", self.path + "?labelSelector=walk%3Dhere", accept=TABLE)
        columns = [c["name"] for c in t.get("columnDefinitions", []) if c["priority"] == 0]
        self.check(code == 200 and columns == self.m["_columns"], "columns", columns)
        self.check(len(t["rows"]) == 1 and len(t["rows"][0]["cells"]) == len(t["columnDefinitions"]), "cells", t.get("rows"))
        self.check(self.names[0] in t["rows"][0]["cells"] or self.plural == "events", "no name in its row", t["rows"][0]["cells"])
        # what protobuf carries is the same object: written back, nothing changes
        code, pb = ask("GET", self.one, accept=PROTOBUF)
        if not self.check(code == 200 and pb[:4] == b"k8s\0" and self.r["kind"].encode() in pb, "get as protobuf", code):
            return
        code, self.o = ask("GET", self.one)
        code, back = rewrite(self.one, lambda pb: pb, content=PROTOBUF)
        self.check(code == 200 and (back == self.o or self.busy), "protobuf does not come back as it went", code, back)
        code, pb = ask("GET", self.path, accept=PROTOBUF)
        self.check(code == 200 and pb[:4] == b"k8s\0", "list as protobuf", code)

    def write(self):
        code, n = rewrite(self.one, lambda o: merged(o, {"metadata": {"labels": {"put": "yes"}}}))
        if self.check(code == 200 and n["metadata"]["labels"].get("put") == "yes", "update", code, n):
            self.did("update")
        self.check(n.get("metadata", {}).get("generation") == self.o["metadata"].get("generation"),
                   "a label counts as a new generation", n)
        code, n = ask("PUT", self.one, self.o)
        self.check(code == 409 and n["reason"] == "Conflict", "a write on an old version", code, n)
        for how in PATCHES:
            label = {"metadata": {"labels": {how: "yes"}}}
            code, n = self.patch(how, None, label, ("/metadata/labels/" + how, "yes"))
            self.check(n.get("metadata", {}).get("labels", {}).get(how) == "yes", "nothing patched by " + how, code, n)
        code, self.o = ask("GET", self.one)
        if "_change" not in self.m:
            return
        code, n = ask("PATCH", self.one, self.m["_change"], content=MERGE)
        self.check(code == 200 and within(nothing_null(self.m["_change"]), n), "change", code, n)
        more = 1 if self.m.get("_generation") else 0
        if code == 200 and self.plural != "pods":
            self.check(n["metadata"].get("generation", 0) == self.o["metadata"].get("generation", 0) + more,
                       "generation after a change", n["metadata"])

    def status(self):
        code, o = ask("GET", self.one + "/status")
        if self.check(code == 200 and o["kind"] == self.r["kind"], "get status", code, o):
            self.did("get", "status")
        n = merged(o, {"status": self.m["_status"], "metadata": {"labels": {"status": "yes"}}})
        before = without_meta(o)
        n["metadata"]["resourceVersion"] = ""
        code, n2 = ask("PUT", self.one, n)
        ok = n2.get("status") == o.get("status") or self.busy
        self.check(code == 200 and ok, "a write of the object wrote its status", code, n2)
        if "spec" in n and "_change" in self.m and "spec" in self.m["_change"]:
            n = merged(n, {"spec": first(self.m.get("spec", {}))})
        code, n = ask("PUT", self.one + "/status", n)
        if self.check(code == 200 and within(nothing_null(self.m["_status"]), n.get("status", {})), "write status", code, n):
            self.did("update", "status")
        self.check(without_meta(n) == before or self.busy, "a write of the status wrote more", n)
        for how in PATCHES:
            status = nothing_null(self.m["_status"])
            code, n = self.patch(how, "status", {"status": status}, ("/status", status))
            self.check(within(status, n.get("status", {})) or self.busy, "status patched by " + how, code, n)

    def scale(self):
        code, s = ask("GET", self.one + "/scale")
        if self.check(code == 200 and s["kind"] == "Scale" and s["status"]["selector"] == "a=b", "get scale", code, s):
            self.did("get", "scale")
        code, s = rewrite(self.one + "/scale", lambda s: merged(s, {"spec": {"replicas": 0}}))
        if self.check(code == 200 and s["spec"].get("replicas", 0) == 0, "write scale", code, s):
            self.did("update", "scale")
        head = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": self.names[0]}}
        for i, how in enumerate(PATCHES):
            code, s = self.patch(how, "scale", {"spec": {"replicas": 3 + i}}, ("/spec/replicas", 3 + i), head)
            self.check(code == 200 and s["spec"]["replicas"] == 3 + i, "scale patched by " + how, code, s)
        code, s = ask("PATCH", self.one + "/scale", {"spec": {"replicas": -1}}, content=MERGE)
        self.check(code == 422, "a negative scale", code, s)
        ask("PATCH", self.one + "/scale", {"spec": {"replicas": 0}}, content=MERGE)

    def remove(self):
        code, n = ask("DELETE", self.one + "?propagationPolicy=Background&gracePeriodSeconds=0")
        if self.check(code in (200, 202), "delete", code, n):
            self.did("delete")
        if self.plural == "namespaces":
            return
        code, n = ask("GET", self.one)
        self.check(code == 404 and n["reason"] == "NotFound" and n["details"]["kind"] == self.plural, "is still there", code, n)
        if "deletecollection" not in self.r["verbs"]:
            code, n = ask("DELETE", self.path)
            self.check(code == 405, "a collection that cannot be deleted", code, n)
            return
        for name in self.names[1:]:
            code, n = ask("POST", self.path, self.object(name, group="g"))
            self.check(code == 201, "create another", code, n)
        if self.key != "v1/events" and self.key != "events.k8s.io/v1/events":
            self.let_go()
        code, n = ask("DELETE", self.path + "?labelSelector=group%3Dg&propagationPolicy=Background&gracePeriodSeconds=0")
        code, l = ask("GET", self.path + "?labelSelector=group%3Dg")
        if self.check(code == 200 and l["items"] == [], "delete the collection", code, l):
            self.did("deletecollection")

    def let_go(self):
        """Deletes that wait for the garbage collector."""
        for name, how in zip(self.names[1:], ["Orphan", "Foreground"]):
            code, n = ask("DELETE", self.path + "/" + name + "?gracePeriodSeconds=0&propagationPolicy=" + how)
            self.check(code == 200 and n["metadata"]["finalizers"], "delete " + how, code, n)
        for name in self.names[1:]:
            for _ in range(400):
                code, n = ask("GET", self.path + "/" + name)
                if code == 404:
                    break
                time.sleep(0.01)
            self.check(code == 404, "a delete waits forever", name, n)
        for name in self.names[1:]:
            ask("POST", self.path, self.object(name, group="g"))

    def watch(self, since):
        """What happened, read back from where the walk started."""
        line = http.client.HTTPSConnection(HOST, PORT, context=CONTEXT, timeout=10)
        selector = "&fieldSelector=metadata.name%3D" + self.names[0]
        line.request("GET", self.path + "?watch=1&timeoutSeconds=5&resourceVersion=" + since + selector)
        answer, seen = line.getresponse(), []
        for raw in answer:
            e = json.loads(raw)
            seen.append(e["type"])
            for fault in SERVER.faults(SERVER.schema_of(self.gv, self.r["kind"]), e["object"]):
                self.check(False, "watch by OpenAPI", e["type"], fault)
            if not self.check(e["object"].get("kind") == self.r["kind"] and e["object"].get("apiVersion") == self.gv,
                              "watch shows another kind", e) or e["type"] == "DELETED":
                break
        line.close()
        last = "MODIFIED" if self.plural == "namespaces" else "DELETED"
        if self.check(seen[:1] == ["ADDED"] and "MODIFIED" in seen and last in seen, "watch", seen):
            self.did("watch")

    def run(self, subresources):
        code, l = ask("GET", self.path)
        since = l["metadata"]["resourceVersion"]
        if not self.create():
            return
        self.read()
        self.write()
        if "status" in subresources:
            self.status()
        if "scale" in subresources:
            self.scale()
        if self.key in OTHERS:
            OTHERS[self.key](self)
        self.remove()
        self.watch(since)


def without(o, *names):
    return {k: v for k, v in o.items() if k not in names}


def without_meta(o):
    return without(o, "metadata", "status")


def first(spec):
    """A spec with one member changed that a status write must not change."""
    for k, v in spec.items():
        if isinstance(v, int) and not isinstance(v, bool):
            return {k: v + 1}
    return {}


def nothing_null(o):
    return {k: nothing_null(v) for k, v in o.items() if v is not None} if isinstance(o, dict) else o


def fault(status, field, reason=None):
    causes = status.get("details", {}).get("causes", [])
    return any(c.get("field") == field and reason in (None, c.get("reason")) for c in causes)


# ---- subresources of one kind each ----


def pods(w):
    code, n = ask("POST", "/api/v1/nodes", {"metadata": {"name": "there"}})
    target = {"target": {"kind": "Node", "name": "there"}}
    code, n = ask("POST", w.one + "/binding", target | {"metadata": {"name": "one"}})
    if w.check(code == 201 and n["status"] == "Success", "bind", code, n):
        w.did("create", "binding")
    ask("POST", w.path, w.object("bound"))
    code, n = ask("POST", w.path.replace("pods", "bindings"), target | {"metadata": {"name": "bound"}})
    if w.check(code == 201, "binding", code, n):
        w.done.add(("v1/bindings", "create"))
    code, n = ask("POST", w.path + "/bound/eviction", {"apiVersion": "policy/v1", "kind": "Eviction",
                                                       "metadata": {"name": "bound"},
                                                       "deleteOptions": {"gracePeriodSeconds": 0}})
    if w.check(code == 201, "evict", code, n):
        w.did("create", "eviction")
    ask("DELETE", "/api/v1/nodes/there")
    ask("DELETE", w.path + "/bound?gracePeriodSeconds=0")


def serviceaccounts(w):
    code, n = ask("POST", w.one + "/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}})
    if w.check(code == 201 and n["status"]["token"], "token", code, n):
        w.did("create", "token")


def namespaces(w):
    code, o = ask("GET", w.one)
    code, o = ask("PUT", w.one + "/finalize", o)
    if w.check(code == 200, "finalize", code, o):
        w.did("update", "finalize")


def certificates(w):
    approved = {"status": {"conditions": [{"type": "Denied", "status": "True", "reason": "R"}]}}
    code, o = ask("GET", w.one + "/approval")
    if w.check(code == 200, "get approval", code, o):
        w.did("get", "approval")
    code, n = ask("PUT", w.one + "/approval", o)
    if w.check(code == 200, "write approval", code, n):
        w.did("update", "approval")
    for how in PATCHES:
        code, n = w.patch(how, "approval", approved, ("/status", approved["status"]))
        w.check(code == 200 and n["status"]["conditions"], "approval patched by " + how, code, n)


OTHERS = {
    "v1/pods": pods,
    "v1/serviceaccounts": serviceaccounts,
    "v1/namespaces": namespaces,
    "certificates.k8s.io/v1/certificatesigningrequests": certificates,
}


def component_statuses(have, done):
    code, l = ask("GET", "/api/v1/componentstatuses")
    if check(code == 200 and len(l["items"]) == 3, "componentstatuses", code, l):
        done.add(("v1/componentstatuses", "list"))
    code, o = ask("GET", "/api/v1/componentstatuses/scheduler")
    if check(code == 200 and o["conditions"][0]["type"] == "Healthy", "componentstatus", code, o):
        done.add(("v1/componentstatuses", "get"))


def verbs():
    have, done = discovered(), set()
    for key, body in QUESTIONS.items():
        r = have[key]
        gv, plural = key.rsplit("/", 1)
        path = "/apis/" + gv + ("/namespaces/default/" if r["namespaced"] else "/") + plural
        code, o = ask("POST", path, body | {"apiVersion": gv, "kind": r["kind"]})
        if check(code == 201 and o["kind"] == r["kind"], key, code, o):
            done.add((key, "create"))
        code, o = ask("GET", path)
        check(code == 405, key + " cannot be read", code, o)
    component_statuses(have, done)
    for key, r in have.items():
        if key.count("/") - (0 if key.startswith("v1/") else 1) > 1 or key in QUESTIONS:
            continue
        if key in ("v1/bindings", "v1/componentstatuses"):
            continue
        if check(key in MANIFESTS, key + " has no manifest"):
            Walk(key, r, done).run({k[len(key) + 1 :] for k in have if k.startswith(key + "/")})
    for key, r in have.items():
        tries = [v for v in r["verbs"] if v != "patch"]
        tries += ["patch " + how for how in PATCHES] if "patch" in r["verbs"] else []
        for verb in tries:
            check((key, verb) in done or key in NEED_NODE, key + " was never tried by " + verb)


def refused():
    have = discovered()
    for key, m in MANIFESTS.items():
        w = Walk(key, have[key], set())
        for patch, reason, field in m.get("_wrong", []):
            o = merged(w.object(w.names[0]), patch)
            code, s = ask("POST", w.path, o)
            w.check(code == 422 and s["reason"] == "Invalid" and fault(s, field, reason), json.dumps(patch), code, s)
            if code == 201:
                ask("DELETE", w.one + "?gracePeriodSeconds=0")
    # what may not change later
    fixed = [
        ("v1/persistentvolumes", {"spec": {"hostPath": {"path": "/other"}}}, "FieldValueForbidden", "spec.persistentvolumesource"),
        ("v1/persistentvolumeclaims", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}, "FieldValueForbidden", "spec"),
        ("v1/resourcequotas", {"spec": {"scopes": ["Terminating"]}}, "FieldValueInvalid", "spec.scopes"),
        ("apps/v1/daemonsets", {"spec": {"selector": {"matchLabels": {"c": "d"}}}}, "FieldValueInvalid", "spec.selector"),
        ("apps/v1/statefulsets", {"spec": {"serviceName": "t"}}, "FieldValueForbidden", "spec"),
        ("networking.k8s.io/v1/ingressclasses", {"spec": {"controller": "example.com/d"}}, "FieldValueInvalid", "spec.controller"),
        ("networking.k8s.io/v1/servicecidrs", {"spec": {"cidrs": ["10.202.0.0/16"]}}, "FieldValueInvalid", "spec"),
        ("node.k8s.io/v1/runtimeclasses", {"handler": "g"}, "FieldValueInvalid", "handler"),
        ("resource.k8s.io/v1/resourceclaims", {"spec": {"devices": {"requests": []}}}, "FieldValueInvalid", "spec"),
        ("resource.k8s.io/v1/resourceslices", {"spec": {"driver": "e.example.com"}}, "FieldValueInvalid", "spec.driver"),
        ("storage.k8s.io/v1/csidrivers", {"spec": {"attachRequired": False}}, "FieldValueInvalid", "spec.attachRequired"),
        ("storage.k8s.io/v1/csistoragecapacities", {"storageClassName": "t"}, "FieldValueInvalid", "storageClassName"),
        ("storage.k8s.io/v1/storageclasses", {"parameters": {"x": "y"}}, "FieldValueForbidden", "parameters"),
        ("storage.k8s.io/v1/volumeattachments", {"spec": {"nodeName": "m"}}, "FieldValueInvalid", "spec"),
        ("storage.k8s.io/v1/volumeattributesclasses", {"parameters": {"a": "c"}}, "FieldValueInvalid", "parameters"),
    ]
    for key, patch, reason, field in fixed:
        w = Walk(key, have[key], set())
        code, o = ask("POST", w.path, w.object(w.names[0]))
        w.check(code == 201, "create", code, o)
        code, s = ask("PATCH", w.one, patch, content=MERGE)
        w.check(code == 422 and fault(s, field, reason), "changed", json.dumps(patch), code, s)
        ask("DELETE", w.one)


def autoscalers():
    path = "/apis/autoscaling/%s/namespaces/default/horizontalpodautoscalers"
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    rest = [
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        {"type": "Pods", "pods": {"metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}},
                                  "target": {"type": "AverageValue", "averageValue": "10"}}},
        {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s", "apiVersion": "v1"},
                                      "metric": {"name": "rate"}, "target": {"type": "Value", "value": "7"}}},
        {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "3"}}},
        {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                                                            "target": {"type": "Utilization", "averageUtilization": 9}}},
    ]
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "both", "annotations": {"k": "v"}},
            "spec": {"maxReplicas": 9, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
                     "metrics": [cpu] + rest, "behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}}}}
    status = {"currentReplicas": 2, "desiredReplicas": 3,
              "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40,
                                                                                              "averageValue": "400m"}}}],
              "conditions": [{"type": "AbleToScale", "status": "True", "reason": "R", "message": "m",
                              "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    code, new = ask("POST", path % "v2", body)
    check(code == 201 and new["spec"]["metrics"] == body["spec"]["metrics"], "create", code, new)
    code, new = ask("PUT", path % "v2" + "/both/status", new | {"status": status})
    check(code == 200 and within(status, new["status"]), "status", code, new)
    code, old = ask("GET", path % "v1" + "/both")
    check(old["spec"]["targetCPUUtilizationPercentage"] == 50, "CPU in the old form", old)
    check(old["status"]["currentCPUUtilizationPercentage"] == 40, "CPU measured, in the old form", old)
    prefix = "autoscaling.alpha.kubernetes.io/"
    check({k.removeprefix(prefix) for k in old["metadata"]["annotations"]} == {"k", "behavior", "conditions", "current-metrics", "metrics"},
          "annotations", old["metadata"])
    # an old client that changes what it knows of takes nothing away
    old["spec"]["maxReplicas"] = 8
    code, answer = ask("PUT", path % "v1" + "/both", old)
    check(code == 200, "update in the old form", code, answer)
    code, now = ask("GET", path % "v2" + "/both")
    new["spec"]["maxReplicas"] = 8
    check(now["spec"] == new["spec"] and now["status"] == new["status"], "something was lost on the way", now)
    check(now["metadata"]["annotations"] == {"k": "v"}, "annotations that stand for fields are stored", now["metadata"])
    # neither form writes the status with the object, or the spec with the status
    old["metadata"].pop("resourceVersion")
    forged = copy.deepcopy(old)
    forged["metadata"]["annotations"][prefix + "conditions"] = '[{"type":"Forged","status":"True"}]'
    ask("PUT", path % "v1" + "/both", forged)
    code, now = ask("GET", path % "v2" + "/both")
    check(now["status"] == new["status"], "the status was written by an annotation", now)
    forged = copy.deepcopy(old)
    forged["metadata"]["annotations"].pop(prefix + "metrics")
    forged["spec"]["maxReplicas"] = 1
    forged["status"]["currentReplicas"] = 5
    code, answer = ask("PUT", path % "v1" + "/both/status", forged)
    code, now = ask("GET", path % "v2" + "/both")
    check(now["spec"] == new["spec"] and now["status"]["currentReplicas"] == 5, "the spec was written with the status", now)
    code, s = ask("PATCH", path % "v1" + "/both", {"metadata": {"annotations": {prefix + "metrics": "nonsense"}}},
                  content=MERGE)
    check(code == 422 and fault(s, "metadata.annotations[" + prefix + "metrics]", "FieldValueInvalid"), "unreadable annotation", code, s)
    code, w = ask("GET", path % "v1" + "?fieldSelector=metadata.name%3Dboth", accept=TABLE)
    check(w["rows"][0]["cells"][:3] == ["both", "Deployment/d", "cpu: 40%/50%, memory: <unknown>/1Gi + 4 more..."], "table", w["rows"])
    ask("DELETE", path % "v1" + "/both")
    code, s = ask("GET", path % "v2" + "/both")
    check(code == 404, "deleted in one form, there in the other", code, s)


{"discovery": discovery, "verbs": verbs, "refused": refused, "autoscalers": autoscalers}[sys.argv[2]]()
for line in failures:
    print(line)
print(checks, "checks")
sys.exit(1 if failures or not checks else 0)
