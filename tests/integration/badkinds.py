#!/usr/bin/python3
"""Bad input for every field of every kind: wrong types, values out of range, unknown and doubled members, broken encodings.

Usage: badkinds.py KUBECONFIG      Exit 1 with one line for each wrong answer.
  BAD_SECONDS=N   how long (25); 0: the whole walk
  BAD_SEED=N      which sample (1); printed by every run
  BAD_ONLY=TEXT   only cases whose name contains it

The fields are those the server's own OpenAPI tells of; their numbers in protobuf are read from api/*.proto. kinds.yaml has one
valid object of each kind, in which one thing at a time is made bad. What is refused must be refused by a Status with the right
code and reason that names the field; what is accepted must come back as valid by the same OpenAPI; the server lives on."""

import copy
import json
import os
import random
import re
import sys
import time
import urllib.parse

import yaml

import badwire
from badtext import Pairs, Raw, text
from manifests import MANIFESTS, QUESTIONS
from served import JSON, PROTOBUF, YAML, Server

NAMESPACE = "default"  # kinds.yaml has objects of it
SECONDS = float(os.environ.get("BAD_SECONDS", "25"))
SEED = int(os.environ.get("BAD_SEED", "1"))
ONLY = os.environ.get("BAD_ONLY", "")
DEEP = Raw('{"a":' * 12000 + "1" + "}" * 12000)
LONG = "x" * 300
# Objects nobody acts on; of these what is accepted is stored and read back. All else is asked with dryRun.
STORED = {
    "v1/configmaps", "v1/secrets", "v1/endpoints", "v1/podtemplates", "v1/persistentvolumes", "v1/persistentvolumeclaims",
    "v1/serviceaccounts", "apps/v1/controllerrevisions", "autoscaling/v1/horizontalpodautoscalers",
    "autoscaling/v2/horizontalpodautoscalers", "coordination.k8s.io/v1/leases", "discovery.k8s.io/v1/endpointslices",
    "networking.k8s.io/v1/ingresses", "networking.k8s.io/v1/networkpolicies", "node.k8s.io/v1/runtimeclasses",
    "resource.k8s.io/v1/deviceclasses", "resource.k8s.io/v1/resourceclaims", "resource.k8s.io/v1/resourceclaimtemplates",
    "resource.k8s.io/v1/resourceslices", "storage.k8s.io/v1/csidrivers", "storage.k8s.io/v1/csinodes",
    "storage.k8s.io/v1/csistoragecapacities", "storage.k8s.io/v1/volumeattachments",
    "storage.k8s.io/v1/volumeattributesclasses", "batch/v1/cronjobs", "apps/v1/statefulsets", "apps/v1/daemonsets",
    "rbac.authorization.k8s.io/v1/roles", "things.example.com/v1/things",
}  # fmt: skip
REFUSED = {400: "BadRequest", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 413: "RequestEntityTooLarge",
           415: "UnsupportedMediaType", 422: "Invalid"}  # fmt: skip

class Quoted(yaml.SafeDumper):
    """Strings in quotes, or `n` would be false."""


Quoted.add_representer(str, lambda d, s: d.represent_scalar("tag:yaml.org,2002:str", s, style='"'))

failures, counts = [], {"cases": 0, "accepted": 0, "refused": 0}


# ---- values that are bad for a schema ----
# Each is (what, value, expected): "type" is 400 with the field's name in the message; "value" is 400 or 422, naming it;
# "cause" is 422 with a cause of just this field; "broken" is 400 and names a place in the text, or nothing; "any" is accepted, or refused with a cause that has to do with it.


def bad_values(server, schema):
    s = server.resolve(schema)
    kind, form = s.get("type"), s.get("format")
    if form == "int-or-string":
        for v in ({}, [], True, 1.5):
            yield "no int or string", v, "type"
        for v in (-1, "-5%", "", LONG, (1 << 31) - 1):
            yield "odd int or string", v, "any"
        yield "int beyond 32 bits", 1 << 31, "type"
    elif "oneOf" in s and kind is None:  # a quantity
        for v in ({}, [], True):
            yield "no quantity", v, "type"
        for v in ("lots", "1e", "--1", "1Q", "1 1", "0x10", "+", "."):
            yield "bad quantity", v, "type"
        for v in (-5, "-5", "1e30", "0.0000000001", "9" * 300, 1.5):
            yield "odd quantity", v, "any"
    elif kind == "string":
        for v in (7, True, {}, ["a"], 1.5):
            yield "no string", v, "type"
        if form == "date-time":
            for v in ("yesterday", "2026-13-45T00:00:00Z", "2026-01-01", LONG):
                yield "bad time", v, "type"
        elif form == "byte":
            for v in ("%%%", "YQ", "YQ==YQ=="):
                yield "bad base64", v, "type"
        else:
            if "enum" in s:
                yield "outside the enum", "Nonsense", "cause"
            for v in ("", LONG, "a\0b", "\u2028\n\t\x7f", "-", "/", "..", "*" * 64):
                yield "odd string", v, "any"
            yield "half a surrogate", Raw('"\\ud800"'), "broken"
    elif kind == "integer":
        bits = 31 if form == "int32" else 63
        for v in ("7", True, {}, [], 1.5):
            yield "no integer", v, "type"
        for v in (1 << bits, -(1 << bits) - 1, Raw("1e30")):  # without a format (custom kinds) there are no ends
            yield "no integer", v, "type" if form else "any"
        for v in ("1e400", "1" * 400, "NaN", "0x1", "01", "-", "+1"):
            yield "no number at all", Raw(v), "broken"
        for v in (-1, 0, (1 << bits) - 1, -(1 << bits)):
            yield "odd integer", v, "any"
    elif kind == "number":
        for v in ("7", True, {}):
            yield "no number", v, "type"
    elif kind == "boolean":
        for v in ("true", 1, {}, []):
            yield "no boolean", v, "type"
    elif kind == "array":
        for v in (7, "x", {}, True):
            yield "no array", v, "type"
        yield "array of null", [None], "any"
        yield "array of itself", [[]], "type" if server.resolve(s["items"]).get("type") != "array" else "any"
    elif kind == "object" and "properties" in s:
        for v in (7, "x", [], True):
            yield "no object", v, "type"
        yield "deep", DEEP, "broken"
    elif kind == "object" and isinstance(s.get("additionalProperties"), dict):
        for v in (7, "x", [], True):
            yield "no map", v, "type"
        good = {"string": "v", "integer": 1, "array": []}.get(server.resolve(s["additionalProperties"]).get("type"), "1")
        for k in ("", LONG, "a b/c/d", "\n"):
            yield "odd key", {k: good}, "any"
    yield "null", None, "any"


# ---- where ----


def fields(server, schema, seen=(), path=(), depth=0):
    """(path, schema) of all that can be said in an object; lists have the member 0, maps the member k."""
    s = server.resolve(schema)
    if depth > 14 or seen.count(id(schema)) > 1:
        return
    seen += (id(schema),)
    for name, p in s.get("properties", {}).items():
        if depth or name not in ("apiVersion", "kind"):
            yield path + (name,), p
            yield from fields(server, p, seen, path + (name,), depth + 1)
    if s.get("type") == "array":
        yield path + (0,), s["items"]
        yield from fields(server, s["items"], seen, path + (0,), depth + 1)
    elif isinstance(s.get("additionalProperties"), dict):
        yield path + ("k",), s["additionalProperties"]
        yield from fields(server, s["additionalProperties"], seen, path + ("k",), depth + 1)


def put(o, path, value):
    """Sets it, making what is missing on the way; tells how much of the path was there."""
    there = 0
    for i, step in enumerate(path[:-1]):
        new = [] if isinstance(path[i + 1], int) else {}
        if isinstance(step, int):
            if len(o) <= step:
                o.append(new)
            else:
                there = i + 1
        elif o.get(step) is None:
            o[step] = new
        else:
            there = i + 1
        o = o[step]
    if isinstance(path[-1], int) and len(o) <= path[-1]:
        o.append(value)
    else:
        o[path[-1]] = value
    return there


def get(o, path):
    for step in path:
        if not isinstance(o, (dict, list)) or (isinstance(o, dict) and step not in o) or (isinstance(o, list) and len(o) <= step):
            return None
        o = o[step]
    return o


def tokens(field):
    """"spec.ports[0].x", "data[a.b]" -> ["spec", "ports", "0", "x"]"""
    return [t for t in re.split(r"[.\[\]]+", field) if t]


def related(cause, path, there):
    """A cause speaks of the field, of what is above it, or of what was made on the way to it."""
    a, b = tokens(cause), [str(p) for p in path]
    n = min(len(a), len(b), there + 1)
    return a[:n] == b[:n]


# Where a member must be alone, what the good object has instead goes.
ONE_OF = {"spec.resourceAttributes": ("spec", "nonResourceAttributes")}
# These would hinder the others, or have one good name only.
NOT_HELD = {"resourcequotas", "limitranges", "apiservices"}
# What one field breaks is told at another one: part of the field of the cause, or of the message.
TOLD_ELSEWHERE = (
    "spec.template.metadata.labels", "spec.selector", "may not specify more than 1", "xactly one of", "no namespace on request", "token is required",
    "serviceAccountName", "line breaks", 'spec.version+"."+spec.group', "merge key", "minReadySeconds",
    "`minReplicas`", "spec.resources[storage]", "spec.clusterIPs[0]", "data[", "needs to be unset", "can have at most", "does not match event.namespace",
)  # fmt: skip


# ---- one kind ----


class Kind:
    def __init__(self, server, key, resource, manifest):
        self.server, self.key, self.r = server, key, resource
        self.gv, self.plural = key.rsplit("/", 1)
        base = ("/api/" if self.gv == "v1" else "/apis/") + self.gv
        self.path = base + ("/namespaces/" + NAMESPACE + "/" if resource["namespaced"] else "/") + self.plural
        self.schema = server.schema_of(self.gv, resource["kind"])
        self.body = {"apiVersion": self.gv, "kind": resource["kind"]} | {k: v for k, v in manifest.items() if k[0] != "_"}
        self.name = manifest.get("_name", "one")
        if "list" in resource["verbs"]:
            self.body["metadata"] = {"name": self.name, "labels": {"bad": "kind"}}
        self.stored = key in STORED and "get" in resource["verbs"]
        # an object that stays there, to be written to
        self.held = None if plural_of(key) in NOT_HELD or "patch" not in resource["verbs"] else manifest.get("_other", ["held"])[0]
        self.has_status = False
        self.question = "get" not in resource["verbs"]
        self.custom = "example.com" in key  # their values are judged by their schema, so types are a matter of 422

    def cases(self):
        for path, schema in fields(self.server, self.schema):
            if self.question and path[0] == "metadata":
                continue
            if path[0] == "status" and not (self.has_status and self.held):
                continue
            for what, value, expected in bad_values(self.server, schema):
                yield self, what, path, value, expected
            s = self.server.resolve(schema)
            if "properties" in s:
                yield self, "unknown", path + ("unheardOf",), 1, "unknown"
                first = next(iter(s["properties"]), None)
                if first:
                    yield self, "doubled", path, first, "doubled"
        for path, _ in required(self.server, self.schema):
            if get(self.body, path) is not None and path[0] != "metadata":
                yield self, "missing", path, None, "missing"
        yield self, "unknown", ("unheardOf",), 1, "unknown"
        huge = "x" * ((1 << 20) + 7)
        strings = [p for p, s in fields(self.server, self.schema) if self.server.resolve(s).get("type") == "string" and p[0] != "status"]
        for path in strings[:: len(strings) // 2 + 1] + ([("metadata", "annotations", "k"), ("metadata", "labels", "k")] if self.held else []):
            yield self, "a million letters", path, huge, "type" if self.server.resolve(self.at(path)).get("format") else "any"

    def at(self, path):
        s = self.schema
        for p in path:
            r = self.server.resolve(s)
            s = r["items"] if isinstance(p, int) else r.get("properties", {}).get(p) or r["additionalProperties"]
        return s

    def hold(self):
        if self.held:
            o = copy.deepcopy(self.body)
            o["metadata"]["name"] = self.held
            code, answer, _ = self.server.ask("POST", self.path, o)
            if code not in (201, 409):
                failures.append("%s: cannot be created: %d %.300s" % (self.key, code, answer))
                self.held = None

    def url(self, query=""):
        q = [] if self.question else ["fieldManager=bad"]
        if not self.stored and not self.question:
            q.append("dryRun=All")
        return self.path + "?" + "&".join(q + [query] if query else q)


def plural_of(key):
    return key.rpartition("/")[2]


def required(server, schema, seen=(), path=()):
    s = server.resolve(schema)
    if id(schema) in seen:
        return
    for name, p in s.get("properties", {}).items():
        if name in s.get("required", []):
            yield path + (name,), p
        yield from required(server, p, seen + (id(schema),), path + (name,))
    if s.get("type") == "array":
        yield from required(server, s["items"], seen + (id(schema),), path + (0,))


# ---- one case ----


JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
WRITES = (
    ("PUT", JSON), ("PATCH", JSON_PATCH), ("PATCH", "application/merge-patch+json"),
    ("PATCH", "application/strategic-merge-patch+json"), ("PATCH", APPLY),
)  # fmt: skip


class Walk:
    def __init__(self, server, dice):
        self.server, self.dice = server, dice

    def fail(self, case, what, *more):
        kind, name, path, value, expected = case
        where = ".".join(map(str, path))
        line = "%s: %s %s = %.80r: %s" % (kind.key, name, where, value, what)
        failures.append(line + "".join(": %.500s" % (m,) for m in more))

    def send(self, case, body, content, query="", method="POST", path=None):
        kind = case[0]
        try:
            code, answer, headers = self.server.ask(method, path or kind.url(query), body, content)
        except (OSError, ValueError) as e:
            self.fail(case, str(e), content)
            time.sleep(0.2)
            return None
        counts["cases"] += 1
        if code in (200, 201):
            counts["accepted"] += 1
            self.accepted(case, answer, method == "POST")
        else:
            counts["refused"] += 1
            for fault in self.server.status_faults(code, answer):
                self.fail(case, fault)
            if REFUSED.get(code) != (answer.get("reason") if isinstance(answer, dict) else None):
                self.fail(case, "code or reason", code, answer)
        return code, answer, headers

    def accepted(self, case, answer, created):
        """It is valid by the server's own OpenAPI: what was answered, and what is read later in both forms."""
        kind = case[0]
        for fault in self.server.faults(kind.schema, answer):
            self.fail(case, "accepted", fault)
        if not kind.stored or not created:
            return
        one = kind.path + "/" + urllib.parse.quote((answer.get("metadata") or {}).get("name", ""), safe="")
        code, again, _ = self.server.ask("GET", one)
        if code != 200 or again != answer:
            self.fail(case, "read back", code, again)
        code, pb, _ = self.server.ask("GET", one, accept=PROTOBUF)
        if code != (406 if kind.custom else 200):
            self.fail(case, "read back as protobuf", code, pb)
        code, answer, _ = self.server.ask("DELETE", one + "?gracePeriodSeconds=0&propagationPolicy=Background")
        if code == 200 and (answer.get("metadata") or {}).get("finalizers"):
            self.server.ask("PATCH", one, {"metadata": {"finalizers": None}}, "application/merge-patch+json")

    def run(self, case):
        kind, what, path, value, expected = case
        if path[0] == "status" or (kind.held and expected in ("any", "type", "cause", "broken") and self.dice.random() < 0.15):
            return self.write(case)
        o = copy.deepcopy(kind.body)
        for over, out in ONE_OF.items():
            if ".".join(map(str, path)).startswith(over) and get(o, out[:-1]):
                get(o, out[:-1]).pop(out[-1], None)
        if expected == "unknown":
            return self.unknown(case, o)
        if expected == "doubled":
            return self.doubled(case, o)
        if expected == "missing":
            there = len(path)
            del get(o, path[:-1])[path[-1]]
        else:
            there = put(o, path, value)
        content = JSON
        if self.dice.random() < 0.2 and not isinstance(value, Raw) and "\0" not in str(value):
            content = YAML
        body = text(o).encode() if content == JSON else yaml.dump(o, Dumper=Quoted).encode()
        got = self.send(case, body, content)
        if got:
            self.judge(case, there, *got[:2])

    def write(self, case):
        """The same by an update or a patch of an object that is there."""
        kind, what, path, value, expected = case
        if expected in ("unknown", "doubled", "missing"):
            return
        sub = "/status" if path[0] == "status" else ""
        how = self.dice.choice(WRITES)
        o = {}
        if how[1] in (JSON, APPLY):
            o = copy.deepcopy(kind.body)
            o["metadata"] = {"name": kind.held}
        if path[0] == "metadata" and path[1:2] in (("name",), ("namespace",), ("uid",), ("resourceVersion",), ("managedFields",)):
            return
        put(o, path, value)
        if how[1] == JSON_PATCH:
            top = path[0]
            o = [{"op": "add", "path": "/" + top, "value": o[top]}]
        url = "%s/%s%s?dryRun=All&fieldManager=bad%s" % (kind.path, kind.held, sub, "&force=true" if how[1] == APPLY else "")
        got = self.send(case, text(o).encode(), how[1], method=how[0], path=url)
        if not got:
            return
        code, answer = got[:2]
        message = answer.get("message", "") if isinstance(answer, dict) else ""
        named = [p for p in path if isinstance(p, str) and p != "k"][-1]
        codes = {"any": (200, 400, 409, 413, 415, 422), "broken": (400, 413, 415), "cause": (200, 400, 409, 415, 422), "type": (400, 409, 415, 422)}[expected]
        if expected == "broken" and how[1] == APPLY:  # YAML has more numbers than JSON
            codes = (200, 400, 409, 415, 422)
        elif expected == "type" and code == 400 and named not in message and "key" not in message:
            codes = ()
        if code not in codes:
            self.fail(case, "%s %s%s" % (how[0], how[1], sub), code, answer)

    def judge(self, case, there, code, answer):
        kind, what, path, value, expected = case
        named = [p for p in path if isinstance(p, str) and p != "k"][-1]
        causes = [c.get("field", "") for c in ((answer.get("details") or {}).get("causes", []) if isinstance(answer, dict) else [])]
        message = answer.get("message", "") if isinstance(answer, dict) else ""
        if expected == "broken":
            if code != 400:
                self.fail(case, "accepted", code, answer)
        elif expected == "type" and kind.custom and path[0] != "metadata":
            if code != 422 or not any(tokens(c)[: len(path)] == [str(p) for p in path] for c in causes):
                self.fail(case, "no cause of this field", code, answer)
        elif expected == "type":
            if code != 400 or (named not in message and "cannot be" not in message.split(":")[-1]):
                self.fail(case, "not told", code, answer)
        elif expected == "cause":
            if code != 422 or not any(tokens(c) == [str(p) for p in path] for c in causes):
                self.fail(case, "no cause of this field", code, answer)
        elif code == 422:
            told = any(related(c, path, there) for c in causes) or any(w in message for w in TOLD_ELSEWHERE)
            if not causes or not told:
                self.fail(case, "refused for something else", code, answer)
        elif code == 403:
            pass  # admission: it names what it looked for and did not find
        elif code == 400:
            said = message.lower()
            if named.lower() not in said and str(path[-1]).lower() not in said and not any(w in message for w in TOLD_ELSEWHERE):
                self.fail(case, "does not name it", code, answer)
        elif code not in (200, 201):
            self.fail(case, "an answer nobody expects", code, answer)

    def unknown(self, case, o):
        """Strict refuses by name, Warn warns, Ignore says nothing; all know the same name of it."""
        kind, what, path, value, expected = case
        put(o, path, value)
        dotted = "".join("[%s]" % p if isinstance(p, int) else "." + p for p in path)[1:]
        body = text(o).encode()
        self.strictness(case, body, 'unknown field "%s"' % dotted)

    def doubled(self, case, o):
        kind, what, path, first, expected = case
        inner = get(o, path) or {}
        value = inner.get(first) if isinstance(inner, dict) else None
        if value is None:
            value = {"string": "a", "integer": 1, "boolean": True, "array": [], "object": {}}.get(
                self.server.resolve(self.server.resolve(kind.at(path))["properties"][first]).get("type"), "1")
        members = [(k, v) for k, v in inner.items() if k != first] if isinstance(inner, dict) else []
        put(o, path, Pairs(members + [(first, value), (first, value)]))
        self.strictness(case, text(o).encode(), "duplicate field")

    def strictness(self, case, body, words):
        kind = case[0]
        how = self.dice.choice(["Strict", "Strict", "Warn", "Ignore"])
        got = self.send(case, body, JSON, "fieldValidation=" + how)
        if not got:
            return
        code, answer, headers = got
        said = answer.get("message", "") if how == "Strict" else " ".join(headers.get_all("Warning") or []).replace('\\"', '"')
        if how == "Strict" and (code != 400 or words not in said):
            self.fail(case, "fieldValidation=Strict", code, answer)
        if how == "Warn" and code < 300 and words not in said:
            self.fail(case, "fieldValidation=Warn", said)
        if how == "Ignore" and headers.get("Warning") and words in headers["Warning"]:
            self.fail(case, "fieldValidation=Ignore", headers["Warning"])


def custom_kind(server):
    """A kind of one's own, with something of every type."""
    leaf = {"type": "string"}
    spec = {"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9}, "color": {"type": "string", "enum": ["red", "blue"]},
        "ratio": {"type": "number"}, "on": {"type": "boolean"}, "names": {"type": "array", "items": leaf, "maxItems": 3},
        "labels": {"type": "object", "additionalProperties": leaf}, "inner": {"type": "object", "properties": {"a": leaf, "n": {"type": "integer"}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}, "raw": {"type": "string", "format": "byte"}}}},
    }}  # fmt: skip
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.things.example.com"},
           "spec": {"group": "things.example.com", "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
                    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}]}}  # fmt: skip
    return crd


def main():
    server = Server(sys.argv[1])
    print("seed", SEED, flush=True)
    server.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    crd = custom_kind(server)
    server.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    manifests = dict(MANIFESTS) | QUESTIONS
    manifests["things.example.com/v1/things"] = {"spec": {"size": 3}}
    for _ in range(100):
        if server.ask("GET", "/apis/things.example.com/v1/namespaces/bad/things")[0] == 200:
            break
        time.sleep(0.05)
    server.learn()
    kinds = []
    for key, manifest in manifests.items():
        gv, plural = key.rsplit("/", 1)
        code, answer, _ = server.ask("GET", ("/api/" if gv == "v1" else "/apis/") + gv)
        r = next(r for r in answer["resources"] if r["name"] == plural)
        kinds.append(Kind(server, key, r, manifest))
        kinds[-1].has_status = any(r["name"] == plural + "/status" for r in answer["resources"])
        kinds[-1].hold()
    dice = random.Random(SEED)
    walk, decks = Walk(server, dice), []
    for k in kinds:
        deck = [c for c in k.cases() if not ONLY or ONLY in "%s %s %s" % (k.key, c[1], ".".join(map(str, c[2])))]
        dice.shuffle(deck)
        decks.append(deck)
    whole, end, asked = sum(map(len, decks)), time.monotonic() + (SECONDS or 1e9), 0
    # every kind has its turn, so that a sample has some of each
    while any(decks) and time.monotonic() < end and len(failures) < 2000:
        for deck in decks:
            if not deck:
                continue
            walk.run(deck.pop())
            asked += 1
            if asked % 100 == 0 and server.ask("GET", "/api/v1/namespaces/" + NAMESPACE)[0] != 200:
                failures.append("the next good request is not answered")
    for line in badwire.walk(walk, kinds, dice, SECONDS / 4):
        failures.append(line)
    for line in failures:
        print(line)
    print("%d of %d cases, seed %d: %d requests, %d accepted, %d refused" % ((asked, whole, SEED) + tuple(counts.values())))
    sys.exit(1 if failures or not asked else 0)


main()
