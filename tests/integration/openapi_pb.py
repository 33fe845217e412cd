#!/usr/bin/python3
"""openapi_pb.py JSON PROTOBUF: the two forms of /openapi/v2 tell the same.

Reads the wire by itself, by gnostic's field numbers written down here a second time, and turns it back into JSON."""
import json
import struct
import sys


def fields(raw):
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(raw):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 1:
            yield tag >> 3, struct.unpack("<d", raw[at : at + 8])[0]
            at += 8
        else:
            assert tag & 7 == 2, tag
            n = varint()
            assert at + n <= len(raw), "cut short"
            yield tag >> 3, raw[at : at + n]
            at += n


def one(raw, number):
    got = list(fields(raw))
    assert len(got) == 1 and got[0][0] == number, got
    return got[0][1]


def anything(raw):
    return json.loads(one(raw, 2))


def named(raw, value):
    got = dict(fields(raw))
    assert sorted(got) == [1, 2], got
    return got[1].decode(), value(got[2])


text = bytes.decode
flag = bool
texts = lambda raw: [text(v) for _, v in fields(raw)]


def read(raw, table, extensions):
    """table: number -> (name, reader, many)"""
    out = {}
    for number, value in fields(raw):
        if number == extensions:
            name, v = named(value, anything)
            out[name] = v
            continue
        name, reader, many = table[number]
        if many:
            out.setdefault(name, []).append(reader(value))
        else:
            assert name not in out, name
            out[name] = reader(value)
    return out


def members(reader, number=1):
    def walk(raw):
        out = {}
        for n, value in fields(raw):
            assert n == number, n
            name, v = named(value, reader)
            assert name not in out, name
            out[name] = v
        return out

    return walk


def number(value):
    return int(value) if value == int(value) else value


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def schema(raw):
    out = read(raw, SCHEMA, 31)
    if "type" in out and len(out["type"]) == 1:
        out["type"] = out["type"][0]
    return out


def schema_or_bool(raw):
    ((n, value),) = fields(raw)
    return schema(value) if n == 1 else bool(value)


SCHEMA = {
    1: ("$ref", text, 0), 2: ("format", text, 0), 3: ("title", text, 0), 4: ("description", text, 0),
    5: ("default", anything, 0), 6: ("multipleOf", number, 0), 7: ("maximum", number, 0),
    8: ("exclusiveMaximum", flag, 0), 9: ("minimum", number, 0), 10: ("exclusiveMinimum", flag, 0),
    11: ("maxLength", signed, 0), 12: ("minLength", signed, 0), 13: ("pattern", text, 0),
    14: ("maxItems", signed, 0), 15: ("minItems", signed, 0), 16: ("uniqueItems", flag, 0),
    17: ("maxProperties", signed, 0), 18: ("minProperties", signed, 0), 19: ("required", text, 1),
    20: ("enum", anything, 1), 21: ("additionalProperties", schema_or_bool, 0), 22: ("type", texts, 0),
    23: ("items", lambda raw: schema(one(raw, 1)), 0), 24: ("allOf", schema, 1), 25: ("properties", members(schema), 0),
    30: ("example", anything, 0),
}  # fmt: skip


def parameter(raw):
    number, value = next(fields(raw))
    if number == 2:
        return read(value, {1: ("$ref", text, 0), 2: ("description", text, 0)}, 0)
    ((kind, value),) = fields(value)
    if kind == 1:
        return read(value, {1: ("description", text, 0), 2: ("name", text, 0), 3: ("in", text, 0), 4: ("required", flag, 0),
                            5: ("schema", schema, 0)}, 6)  # fmt: skip
    ((place, value),) = fields(value)
    head = {1: ("required", flag, 0), 2: ("in", text, 0), 3: ("description", text, 0), 4: ("name", text, 0)}
    first = 6 if place in (2, 3) else 5
    names = [("type", text), ("format", text), None, ("collectionFormat", text), ("default", anything), ("maximum", number)]
    names += [None, ("minimum", number), None, None, None, ("pattern", text), None, None, ("uniqueItems", flag)]
    head.update({first + i: n + (0,) for i, n in enumerate(names) if n})
    out = read(value, head, first + 17)
    assert out["in"] == {1: "header", 2: "formData", 3: "query", 4: "path"}[place], out
    return out


def response(raw):
    return read(one(raw, 1), {1: ("description", text, 0), 2: ("schema", lambda r: schema(one(r, 1)), 0)}, 5)


OPERATION = {
    1: ("tags", text, 1), 2: ("summary", text, 0), 3: ("description", text, 0), 5: ("operationId", text, 0),
    6: ("produces", text, 1), 7: ("consumes", text, 1), 8: ("parameters", parameter, 1),
    9: ("responses", members(response), 0), 10: ("schemes", text, 1), 11: ("deprecated", flag, 0),
}  # fmt: skip
VERBS = ["get", "put", "post", "delete", "options", "head", "patch"]
PATH = {2 + i: (verb, lambda raw: read(raw, OPERATION, 13), 0) for i, verb in enumerate(VERBS)}
PATH[9] = ("parameters", parameter, 1)
DOCUMENT = {
    1: ("swagger", text, 0),
    2: ("info", lambda raw: read(raw, {1: ("title", text, 0), 2: ("version", text, 0), 3: ("description", text, 0)}, 7), 0),
    8: ("paths", members(lambda raw: read(raw, PATH, 10), 2), 0),
    9: ("definitions", members(schema), 0),
}
ZEROS = (0, "", False)


def bare(v, where=()):
    """Without what protobuf cannot tell from absent: zeros of fields that are no values of any type, empty lists."""
    if isinstance(v, list):
        return [bare(e, where) for e in v]
    if not isinstance(v, dict):
        return v
    free = where[-1:] in (("properties",), ("definitions",), ("paths",), ("responses",))
    out = {}
    for key, value in v.items():
        if key.startswith("x-") or (not free and key in ("default", "example", "enum")):
            out[key] = value
        elif free or key == "additionalProperties" or not (value == [] or any(value is z for z in ZEROS) or value == ""):
            out[key] = bare(value, () if free else where + (key,))
    return out


def differ(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in {**a, **b}:
            if key not in a or key not in b:
                yield f"{path}/{key}: only in {'JSON' if key in a else 'protobuf'}"
            else:
                yield from differ(a[key], b[key], f"{path}/{key}")
    elif a != b:
        yield f"{path}: {a!r:.200} {b!r:.200}"


want = json.load(open(sys.argv[1], encoding="utf-8"))
got = read(open(sys.argv[2], "rb").read(), DOCUMENT, 16)
found = list(differ(bare(want), bare(got)))
print("\n".join(found[:20]))
assert not found, f"{len(found)} differences"
print(len(got["paths"]), "paths,", len(got["definitions"]), "definitions: the same")
