"""What the walks over all kinds (kinds.py, badkinds.py) share: a connection, and the server's own OpenAPI as a judge of its answers."""

import base64
import http.client
import json
import re
import ssl
import tempfile

import yaml

JSON, PROTOBUF, YAML = "application/json", "application/vnd.kubernetes.protobuf", "application/yaml"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
INTEGERS = {"int32": 31, "int64": 63}
NULLS = {"apiGroup", "boundObjectRef"}  # members Kubernetes prints as null when they are empty
LAX = {"imageRef"}  # of a volume's status: the schema requires it, no rule does
PREFIX = "#/components/schemas/"


def connection(path):
    """(host, port, context) of a kubeconfig with a client certificate."""
    config = yaml.safe_load(open(path))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as f:
        f.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
        f.flush()
        context.load_cert_chain(f.name)
    host, port = cluster["server"].removeprefix("https://").split(":")
    return host, int(port), context


class Server:
    """One kept connection. An answer that does not come in time, or a connection that is lost, is an OSError."""

    def __init__(self, kubeconfig, timeout=20):
        self.address, self.timeout = connection(kubeconfig), timeout
        self.line = None
        self.schemas, self.paths = {}, {}

    def ask(self, method, path, body=None, content=JSON, accept=JSON):
        """(code, answer, headers): the answer is parsed when it is JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if not self.line:
            host, port, context = self.address
            self.line = http.client.HTTPSConnection(host, port, context=context, timeout=self.timeout)
        try:
            self.line.request(method, path, data, {"Accept": accept} | ({"Content-Type": content} if data is not None else {}))
            answer = self.line.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as e:
            self.line = None
            raise OSError("no answer: %r" % e) from e
        if answer.will_close:
            self.line = None
        text = answer.getheader("Content-Type", "")
        return answer.status, json.loads(raw) if text.startswith(JSON) and raw else raw, answer.headers

    # ---- OpenAPI ----

    def learn(self):
        """Reads the documents of all group versions."""
        for name in self.ask("GET", "/openapi/v3")[1]["paths"]:
            code, d, _ = self.ask("GET", "/openapi/v3/" + name)
            self.schemas |= d.get("components", {}).get("schemas", {})
            self.paths |= d["paths"]
        self.by_length = {}
        for template in self.paths:
            self.by_length.setdefault(template.count("/"), []).append(template)

    def resolve(self, schema):
        """A schema with what it refers to put in."""
        while True:
            ref = schema.get("$ref")
            if not ref and len(schema.get("allOf", [])) == 1:
                ref = schema["allOf"][0].get("$ref")
            if not ref:
                return schema
            schema = {k: v for k, v in schema.items() if k not in ("$ref", "allOf")} | self.schemas[ref.removeprefix(PREFIX)]

    def schema_of(self, group_version, kind):
        group, _, version = group_version.rpartition("/")
        for s in self.schemas.values():
            for g in s.get("x-kubernetes-group-version-kind", []):
                if (g["group"], g["version"], g["kind"]) == (group, version, kind):
                    return s
        return None

    def faults(self, schema, v, at=""):
        """What is wrong with a value by a schema: yields lines."""
        schema = self.resolve(schema)
        if "oneOf" in schema and "type" not in schema:
            if sum(not list(self.faults(s, v, at)) for s in schema["oneOf"]) != 1:
                yield "%s: %.60r is none of %s" % (at, v, schema["oneOf"])
            return
        kind = schema.get("type")
        good = {"string": str, "boolean": bool, "object": dict, "array": list, "integer": int, "number": (int, float), None: object}[kind]
        # An object without properties stands for free-form JSON.
        free = kind == "object" and "properties" not in schema and "additionalProperties" not in schema
        if kind == "integer" and isinstance(v, float) and v.is_integer():
            v = int(v)
        if not free and (not isinstance(v, good) or (isinstance(v, bool) and kind in ("integer", "number"))):
            yield "%s: %.60r is no %s" % (at, v, kind)
            return
        if "enum" in schema and v not in schema["enum"] + [""]:
            yield "%s: %r is none of %s" % (at, v, schema["enum"])
        yield from self.format_faults(schema.get("format"), v, at)
        if kind == "array":
            for i, e in enumerate(v):
                yield from self.faults(schema.get("items", {}), e, "%s[%d]" % (at, i))
        elif kind == "object" and not free:
            yield from self.object_faults(schema, v, at)

    def format_faults(self, f, v, at):
        if f in INTEGERS and not -(1 << INTEGERS[f]) <= v < 1 << INTEGERS[f]:
            yield "%s: %d is no %s" % (at, v, f)
        if f == "date-time" and not TIME.fullmatch(v):
            yield "%s: %r is no time" % (at, v)
        if f == "byte":
            try:
                base64.b64decode(v, validate=True)
            except ValueError:
                yield "%s: %.60r is no base64" % (at, v)

    def object_faults(self, schema, v, at):
        known, more = schema.get("properties", {}), schema.get("additionalProperties")
        for k in schema.get("required", []):
            if k not in v and k not in LAX:
                yield "%s: %s is required" % (at, k)
        for k, m in v.items():
            here = (at + "." if at else "") + k
            if k in known:
                if m is not None or not (self.nullable(known[k]) or k in NULLS):
                    yield from self.faults(known[k], m, here)
            elif isinstance(more, dict) and m is None and self.nullable(more):
                pass
            elif isinstance(more, dict):
                yield from self.faults(more, m, here)
            elif not more and not schema.get("x-kubernetes-preserve-unknown-fields"):
                yield here + " is not known"

    def nullable(self, schema):
        """What a Kubernetes server prints as null when it is empty: times, lists, maps and pointers that are always printed."""
        s = self.resolve(schema)
        return s.get("nullable") or s.get("format") == "date-time" or s.get("type") == "array" or "additionalProperties" in s or "oneOf" in s

    def status_faults(self, code, answer):
        """What is wrong with the answer to a request that failed."""
        if not isinstance(answer, dict) or answer.get("kind") != "Status":
            yield "no Status: %.100r" % answer
            return
        yield from self.faults(self.schema_of("v1", "Status"), answer)
        if (answer.get("apiVersion"), answer.get("status"), answer.get("code")) != ("v1", "Failure", code):
            yield "not the head of a failure: %.200r" % answer
        if not answer.get("message") or not answer.get("reason"):
            yield "without message or reason: %.200r" % answer
        for cause in (answer.get("details") or {}).get("causes", []):
            if not cause.get("reason") or not cause.get("message"):
                yield "a cause without reason or message: %s" % cause

    # ---- whole answers ----

    def operation(self, method, path):
        """(template, what the documents say of the method) of a path without its query; None: they know no such path or method."""
        for template in self.by_length.get(path.count("/"), []):
            if all(a == b or b[:1] == "{" for a, b in zip(path.split("/"), template.split("/"))):
                found = self.paths[template].get(method.lower())
                if found:
                    return template, found
        return None

    def answer_faults(self, method, path, code, answer, parsed=True):
        """What is wrong with an answer by the documents: its code, and what is in it (parsed: it is JSON of no Table)."""
        if code >= 400:
            yield from self.status_faults(code, answer)
            return
        if not path.startswith(("/api/v1/", "/apis/")) or path.count("/") < 4 - path.startswith("/api/"):
            return  # discovery
        found = self.operation(method, path)
        if not found:
            yield "not in the server's OpenAPI"
            return
        response = found[1]["responses"].get(str(code))
        if not response:
            yield "code %d is not among %s" % (code, sorted(found[1]["responses"]))
            return
        content = response.get("content", {}).get(JSON)
        if parsed and content:
            yield from self.faults(content["schema"], answer)
