#!/usr/bin/python3
"""Every kind by every verb it offers, in protobuf both ways.

Usage: protowalk.py KUBECONFIG   Exit 1 with one line for each fault.

Answers are read by python's own protobuf, from api/*.proto, so by no code of the server's. The same objects are read as JSON
and judged by the server's OpenAPI. A verb of a kind or subresource that was never tried is a fault."""

import copy
import http.client
import sys
import time

from google.protobuf import descriptor_pool, message_factory

import badwire
from badwire import packed, parts
from manifests import MANIFESTS, QUESTIONS
from served import JSON, PROTOBUF, Server

failures, checks = [], 0
# Answers of a node, and what is served for others.
NOT_HERE = {"v1/pods/attach", "v1/pods/exec", "v1/pods/log", "v1/pods/portforward", "v1/pods/proxy", "v1/services/proxy", "v1/nodes/proxy",
            "v1/pods/ephemeralcontainers"}  # fmt: skip
ELSEWHERE = ("metrics.k8s.io/",)
# A definition is not among the kinds of kinds.yaml: what it declares is a kind of its own.
DEFINITIONS = "apiextensions.k8s.io/v1/customresourcedefinitions"
DEFINITION = {
    "_name": "gears.walk.example.com",
    "_other": ["cogs.walk.example.com", "pins.walk.example.com"],
    "spec": {
        "group": "walk.example.com",
        "scope": "Namespaced",
        "names": {"plural": "gears", "singular": "gear", "kind": "Gear", "shortNames": ["g"], "categories": ["all"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
                "additionalPrinterColumns": [{"name": "N", "type": "integer", "jsonPath": ".spec.n", "priority": 1}],
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["n"],
                                "properties": {
                                    "n": {"type": "integer", "minimum": 1, "maximum": 9.5, "default": 3},
                                    "color": {"type": "string", "enum": ["red", "blue"], "pattern": "^[a-z]+$"},
                                    "any": {"x-kubernetes-preserve-unknown-fields": True},
                                    "either": {"x-kubernetes-int-or-string": True},
                                    "list": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                                },
                                "x-kubernetes-validations": [{"rule": "self.n < 9", "message": "too many"}],
                            },
                            "status": {"type": "object", "additionalProperties": {"type": "integer"}},
                        },
                    }
                },
            }
        ],
    },
}
PATCHES = {
    "json": b'[{"op":"add","path":"/metadata/labels/json","value":"yes"}]',
    "merge": b'{"metadata":{"labels":{"merge":"yes"}}}',
    "strategic": b'{"metadata":{"labels":{"strategic":"yes"}}}',
    "apply": b"",
}
TYPES = {"json": "application/json-patch+json", "merge": "application/merge-patch+json",
         "strategic": "application/strategic-merge-patch+json", "apply": "application/apply-patch+yaml"}  # fmt: skip


def check(ok, what, *more):
    global checks
    checks += 1
    if not ok:
        failures.append(what + "".join(": %.400s" % (m,) for m in more))
    return bool(ok)


class Types:
    """Messages of api/*.proto."""

    def __init__(self):
        self.pool = descriptor_pool.DescriptorPool()
        for file in badwire.descriptors(whole=True).file:
            self.pool.Add(file)

    def read(self, api_version, kind, raw):
        group, _, version = api_version.rpartition("/")
        for package in (group.split(".")[0] if group else "core", "meta"):
            try:
                d = self.pool.FindMessageTypeByName("%s.%s.%s" % (package, version, kind))
                break
            except KeyError:
                d = None
        if not d:
            return None
        made = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(self.pool).GetPrototype
        return made(d).FromString(raw)


def opened(data):
    """(apiVersion, kind, raw) of an envelope."""
    if data[:4] != b"k8s\0":
        return None
    head = {n: inner for n, _, inner in parts(data[4:])}
    meta = {n: inner.decode() for n, _, inner in parts(head.get(1, b""))}
    return meta.get(1, ""), meta.get(2, ""), head.get(2, b"")


class Walk:
    def __init__(self, server, types, key, resource, done):
        self.server, self.types, self.key, self.r, self.done = server, types, key, resource, done
        self.gv, self.plural = key.rsplit("/", 1)
        m = DEFINITION if key == DEFINITIONS else MANIFESTS.get(key) or QUESTIONS[key]
        base = ("/api/" if self.gv == "v1" else "/apis/") + self.gv
        self.path = base + ("/namespaces/default/" if resource["namespaced"] else "/") + self.plural
        self.body = {"apiVersion": self.gv, "kind": resource["kind"]} | {k: v for k, v in m.items() if k[0] != "_"}
        self.name = m.get("_name", "pb")
        self.others = m.get("_other", ["pb2", "pb3"])
        self.one = self.path + "/" + self.name
        self.status = m.get("_status")

    def ask(self, verb, method, path, body=None, content=PROTOBUF, codes=(200,), kind=None, sub=None):
        """The message of an answer in protobuf; None: it was not as it should be."""
        code, data, headers = self.server.ask(method, path, body, content, accept=PROTOBUF)
        what = "%s: %s" % (self.key, verb + (" " + sub if sub else ""))
        good = headers.get("Content-Type") == PROTOBUF and opened(data)
        if not check(code in codes and good, what, code, data):
            return None
        api_version, got, raw = good
        m = self.types.read(api_version, got, raw)
        if not check(m is not None and got in (kind or self.r["kind"], "Status"), what + ": another kind", api_version, got):
            return None
        check(not len(m.UnknownFields()), what + ": fields nobody knows")
        self.done.add((self.key + ("/" + sub if sub else ""), verb))
        return m

    def raw(self, name, **how):
        """The good object in protobuf: its JSON, translated by a dry run, under another name."""
        o = copy.deepcopy(self.body) | {"metadata": {"name": name, "labels": {"walk": "pb"} | how}}
        first = name.split(".")[0]
        if self.plural == "apiservices":
            o["spec"]["version"] = first
        if self.key == DEFINITIONS:
            o["spec"]["names"] |= {"plural": first, "singular": first[:-1], "kind": first[:-1].capitalize(), "shortNames": [first[:2]]}
        code, data, _ = self.server.ask("POST", self.path + "?dryRun=All", o, accept=PROTOBUF)
        if not check(code == 201, self.key + ": dry run", code, data):
            return None
        label = lambda k, v: packed(11, packed(1, k.encode()) + packed(2, v.encode()))
        meta = packed(1, name.encode()) + b"".join(label(k, v) for k, v in ({"walk": "pb"} | how).items())
        raw = b"".join(whole for n, whole, _ in parts(opened(data)[2]) if n != 1)
        return badwire.envelope(self.gv, self.r["kind"], packed(1, meta) + raw)

    def current(self, path=None):
        return self.server.ask("GET", path or self.one, accept=PROTOBUF)[1]

    def rewrite(self, verb, path, sub=None, read=None):
        """Written back as it was read, again when a controller of the server wrote meanwhile."""
        for _ in range(20):
            data = self.current(read or path)
            code, answer, _ = self.server.ask("PUT", path, data, PROTOBUF, accept=PROTOBUF)
            if code != 409:
                break
            time.sleep(0.05)
        kind = opened(data)[1]
        return self.ask(verb, "PUT", path, self.current(read or path), kind=kind, sub=sub) if code == 200 else check(False, self.key + ": " + verb, code, answer)

    def run(self, subresources):
        verbs = self.r["verbs"]
        _, l, _ = self.server.ask("GET", self.path)
        since = l["metadata"]["resourceVersion"]
        body = self.raw(self.name)
        if not body:
            return
        m = self.ask("create", "POST", self.path, body, codes=(201,))
        if not m:
            return
        check(m.metadata.name == self.name and m.metadata.uid and m.metadata.labels["walk"] == "pb", self.key + ": metadata", m.metadata)
        self.same_in_json()
        m = self.ask("get", "GET", self.one)
        check(m and m.metadata.name == self.name, self.key + ": another was read", m and m.metadata)
        m = self.ask("list", "GET", self.path + "?labelSelector=walk%3Dpb", kind=self.r["kind"] + "List")
        check(m and [i.metadata.name for i in m.items] == [self.name] and m.metadata.resourceVersion, self.key + ": list", m)
        self.rewrite("update", self.one)
        for how, patch in PATCHES.items():
            path = self.one + ("?fieldManager=pb&force=true" if how == "apply" else "")
            if how == "apply":
                patch = ('{"apiVersion":"%s","kind":"%s","metadata":{"name":"%s","labels":{"apply":"yes"}}}' % (self.gv, self.r["kind"], self.name)).encode()
            m = self.ask("patch " + how, "PATCH", path, patch, TYPES[how])
            check(m and m.metadata.labels[how] == "yes", self.key + ": nothing patched by " + how, m and m.metadata)
        for sub in subresources:
            self.subresource(sub)
        self.same_in_json()
        self.remove()
        self.watch(since, "watch" in verbs)

    def same_in_json(self):
        code, o, _ = self.server.ask("GET", self.one)
        for fault in self.server.answer_faults("GET", self.one, code, o):
            check(False, self.key + ": by OpenAPI", fault)
        check(code == 200, self.key + ": read as JSON", code)

    def subresource(self, sub):
        if self.key + "/" + sub in NOT_HERE:
            return
        path, verbs = self.one + "/" + sub, self.subs[sub]["verbs"]
        kind = self.subs[sub]["kind"]
        if "get" in verbs:
            self.ask("get", "GET", path, kind=kind, sub=sub)
        if "update" in verbs:
            self.rewrite("update", path, sub, read=path if "get" in verbs else self.one)
        if "patch" in verbs:
            self.patch_subresource(sub, path, kind)
        if "create" in verbs:
            self.create_subresource(sub, path, kind)

    def patch_subresource(self, sub, path, kind):
        spec = '{"spec":{"replicas":0}}' if sub == "scale" else '{"metadata":{"annotations":{"a":"b"}}}'
        head = '"apiVersion":"%s","kind":"%s","metadata":{"name":"%s"' % (("autoscaling/v1", "Scale", self.name) if sub == "scale" else (self.gv, self.r["kind"], self.name))
        bodies = {
            "json": b'[{"op":"test","path":"/metadata/name","value":"%s"}]' % self.name.encode(),
            "merge": spec.encode(),
            "strategic": spec.encode(),
            "apply": ("{%s}%s}" % (head, ',"spec":{"replicas":0}' if sub == "scale" else "")).encode(),
        }
        for how, body in bodies.items():
            query = "?fieldManager=pb&force=true" if how == "apply" else ""
            self.ask("patch " + how, "PATCH", path + query, body, TYPES[how], kind=kind, sub=sub)

    def create_subresource(self, sub, path, kind):
        """What these ask for, in protobuf of one's own."""
        if sub == "token":  # spec {expirationSeconds}
            m = self.ask("create", "POST", path, badwire.envelope("authentication.k8s.io/v1", "TokenRequest", packed(2, badwire.tag(4, 0) + badwire.varint(600))), codes=(201,), kind=kind, sub=sub)
            check(m and m.status.token, self.key + ": no token", m)
        elif sub == "binding":  # metadata {name}, target {kind, name}
            body = packed(1, packed(1, self.name.encode())) + packed(2, packed(1, b"Node") + packed(3, b"pbnode"))
            self.server.ask("POST", "/api/v1/nodes", {"metadata": {"name": "pbnode"}})
            self.ask("create", "POST", path, badwire.envelope("v1", "Binding", body), codes=(201,), kind=kind, sub=sub)
        elif sub == "eviction":  # metadata {name}, deleteOptions {dryRun}
            body = packed(1, packed(1, self.name.encode())) + packed(2, packed(5, b"All"))
            self.ask("create", "POST", path, badwire.envelope("policy/v1", "Eviction", body), codes=(201,), kind=kind, sub=sub)

    def remove(self):
        # DeleteOptions {gracePeriodSeconds: 0, propagationPolicy: Background}
        options = badwire.envelope("v1", "DeleteOptions", badwire.tag(1, 0) + b"\0" + packed(4, b"Background"))
        self.ask("delete", "DELETE", self.one, options, codes=(200, 202))
        if "deletecollection" not in self.r["verbs"]:
            return
        for name in self.others:
            code, data, _ = self.server.ask("POST", self.path, self.raw(name, group="g"), PROTOBUF)
            check(code == 201, self.key + ": create another", code, data)
        self.ask("deletecollection", "DELETE", self.path + "?labelSelector=group%3Dg", options, kind=self.r["kind"] + "List")
        left = lambda: self.server.ask("GET", self.path + "?labelSelector=group%3Dg")[1]
        l, end = left(), time.monotonic() + 30  # what has finalizers goes when its controller has been there
        while l["items"] and self.plural != "namespaces" and time.monotonic() < end:
            time.sleep(0.05)
            l = left()
        check(l["items"] == [] or self.plural == "namespaces", self.key + ": the collection is still there", l)

    def watch(self, since, offered):
        """What happened, read back: frames of a length and a WatchEvent {type, object}."""
        if not offered:
            return
        host, port, context = self.server.address
        line = http.client.HTTPSConnection(host, port, context=context, timeout=10)
        line.request("GET", self.path + "?watch=1&timeoutSeconds=5&labelSelector=walk%3Dpb&resourceVersion=" + since,
                     headers={"Accept": PROTOBUF + ";stream=watch"})  # fmt: skip
        answer, seen = line.getresponse(), []
        want = {"ADDED", "MODIFIED", "DELETED"} - ({"DELETED"} if self.plural == "namespaces" else set())
        while not want <= set(seen):
            head = answer.read(4)
            if len(head) < 4:
                break
            frame = answer.read(int.from_bytes(head, "big"))
            if frame[:4] == b"k8s\0":
                frame = opened(frame)[2]
            event = {n: inner for n, _, inner in parts(frame)}
            seen.append(event[1].decode())
            whole = next((inner for n, _, inner in parts(event[2]) if n == 1), b"")
            got = opened(whole)
            m = got and self.types.read(*got)
            if not check(got and got[:2] == (self.gv, self.r["kind"]) and m.metadata.name, self.key + ": watch", seen, whole):
                break
        line.close()
        if check(want <= set(seen), self.key + ": watch", seen):
            self.done.add((self.key, "watch"))


def questions(server, types, have, done):
    for key in QUESTIONS:
        w = Walk(server, types, key, have[key], done)
        code, data, _ = server.ask("POST", w.path, w.body, accept=PROTOBUF)
        if not check(code == 201, key, code, data):
            continue
        raw = b"".join(whole for n, whole, _ in parts(opened(data)[2]) if n == 2)
        m = w.ask("create", "POST", w.path, badwire.envelope(w.gv, w.r["kind"], raw), codes=(201,))
        check(m is not None, key)
    w = Walk(server, types, "v1/pods", have["v1/pods"], done)
    w.server.ask("POST", w.path, w.raw("free"), PROTOBUF)
    body = packed(1, packed(1, b"free")) + packed(2, packed(1, b"Node") + packed(3, b"pbnode"))
    w.key = "v1/bindings"
    w.ask("create", "POST", w.path.replace("pods", "bindings"), badwire.envelope("v1", "Binding", body), codes=(201,), kind="Status")
    server.ask("DELETE", w.path + "/free?gracePeriodSeconds=0")
    w.key, w.r = "v1/componentstatuses", have["v1/componentstatuses"]
    w.ask("list", "GET", "/api/v1/componentstatuses", kind="ComponentStatusList")
    w.ask("get", "GET", "/api/v1/componentstatuses/scheduler")


def main():
    server, types, have, done = Server(sys.argv[1]), Types(), {}, set()
    server.learn()
    versions = ["v1"] + [v["groupVersion"] for g in server.ask("GET", "/apis")[1]["groups"] for v in g["versions"]]
    for gv in versions:
        if not gv.startswith(ELSEWHERE):
            for r in server.ask("GET", ("/api/" if gv == "v1" else "/apis/") + gv)[1]["resources"]:
                have[gv + "/" + r["name"]] = r
    for key, r in have.items():
        if key not in MANIFESTS and key != DEFINITIONS:
            continue
        w = Walk(server, types, key, r, done)
        w.subs = {k[len(key) + 1 :]: v for k, v in have.items() if k.startswith(key + "/")}
        w.run(w.subs)
    questions(server, types, have, done)
    for key, r in have.items():
        tries = [v for v in r["verbs"] if v != "patch"]
        tries += ["patch " + how for how in PATCHES] if "patch" in r["verbs"] else []
        for verb in tries:
            check((key, verb) in done or key in NOT_HERE, key + " was never tried by " + verb)
    for line in failures:
        print(line)
    print(checks, "checks")
    sys.exit(1 if failures or not checks else 0)


main()
