"""Bad protobuf for every field of every kind: wrong wire types, lengths that lie, numbers that do not end, text that is none.

Field numbers are read from api/*.proto by protoc, as the build does."""

import os
import subprocess
import tempfile
import time

from google.protobuf import descriptor_pb2

from served import PROTOBUF

API = os.path.dirname(os.path.abspath(__file__)) + "/../../api"
VARINT, FIXED64, LEN, GROUP, GROUP_END, FIXED32 = range(6)
WIRE = {
    descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE: FIXED64,
    descriptor_pb2.FieldDescriptorProto.TYPE_INT32: VARINT,
    descriptor_pb2.FieldDescriptorProto.TYPE_INT64: VARINT,
    descriptor_pb2.FieldDescriptorProto.TYPE_BOOL: VARINT,
}


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def tag(number, wire):
    return varint(number << 3 | wire)


def packed(number, data):
    return tag(number, LEN) + varint(len(data)) + data


def envelope(api_version, kind, raw):
    return b"k8s\0" + packed(1, packed(1, api_version.encode()) + packed(2, kind.encode())) + packed(2, raw)


def parts(data):
    """(number, the bytes of the field with its tag) of a message; of fields with a length also the bytes inside."""
    at = 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n

    while at < len(data):
        start = at
        key = number()
        inner = b""
        if key & 7 == VARINT:
            number()
        elif key & 7 == LEN:
            n = number()
            inner, at = data[at : at + n], at + n
        else:
            at += 8 if key & 7 == FIXED64 else 4
        yield key >> 3, data[start:at], inner


def descriptors(whole=False):
    """The set of api/*.proto; whole: with what they import."""
    with tempfile.TemporaryDirectory() as tmp:
        base = descriptor_pb2.FileDescriptorSet()  # protoc's own options come with python3-protobuf
        base.file.add().ParseFromString(descriptor_pb2.DESCRIPTOR.serialized_pb)
        with open(tmp + "/base", "wb") as f:
            f.write(base.SerializeToString())
        files = sorted(n for n in os.listdir(API) if n.endswith(".proto"))
        how = ["--include_imports"] if whole else []
        subprocess.run(["protoc", "--descriptor_set_in=" + tmp + "/base", "-I" + API, "-o", tmp + "/all"] + how + files, check=True)
        with open(tmp + "/all", "rb") as f:
            return descriptor_pb2.FileDescriptorSet.FromString(f.read())


def messages():
    """{"core.v1.Pod": descriptor}, those inside others too."""
    found = {}

    def add(prefix, m):
        found[prefix + m.name] = m
        for inner in m.nested_type:
            add(prefix + m.name + ".", inner)

    for file in descriptors().file:
        for m in file.message_type:
            add(file.package + ".", m)
    return found


def fields(found, m, path=(), seen=()):
    """(numbers on the way, field) of all that a message can hold."""
    for f in m.field:
        yield path, f
        inner = found.get(f.type_name[1:])
        if inner and len(path) < 12 and seen.count(inner.name) < 2:
            yield from fields(found, inner, path + (f.number,), seen + (inner.name,))


def bad(f):
    """(what, bytes, codes): a field as it must not be."""
    good = WIRE.get(f.type, LEN)
    for wire in range(8):
        if wire == good or (wire == LEN and f.label == f.LABEL_REPEATED and good != LEN):
            continue  # numbers may be packed
        payload = {VARINT: b"\1", FIXED64: bytes(8), LEN: b"\1a", FIXED32: bytes(4)}.get(wire, b"")
        yield "wire type %d" % wire, tag(f.number, wire) + payload, (400,)
    yield "cut tag", tag(f.number, good)[:-1] + bytes([tag(f.number, good)[-1] | 128]), (400,)
    yield "no payload", tag(f.number, good), (400,)
    if good == VARINT:
        yield "endless number", tag(f.number, VARINT) + b"\xff" * 11 + b"\1", (400,)
        yield "negative", tag(f.number, VARINT) + b"\xff" * 9 + b"\1", (201, 400, 403, 422)
    if good == LEN:
        for n in (2, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 63) - 1):
            yield "a length of %d" % n, tag(f.number, LEN) + varint(n) + b"a", (400,)
    if f.type == f.TYPE_STRING:
        yield "no UTF-8", packed(f.number, b"\xff\xfe"), (400,)
        yield "half a letter", packed(f.number, "é".encode()[:1]), (400,)
    if f.type == f.TYPE_MESSAGE:
        yield "field number 0", packed(f.number, b"\2\1a"), (400,)
        yield "noise", packed(f.number, b"\xf7" * 40), (400,)


class Wire:
    """The good object of a kind as protobuf, and what can be put in."""

    def __init__(self, walk, found, kind):
        self.walk, self.kind = walk, kind
        package = (kind.gv.split("/")[0].split(".")[0] if "/" in kind.gv else "core") + "." + kind.gv.rpartition("/")[2]
        self.message = found[package + "." + kind.r["kind"]]
        code, answer, _ = walk.server.ask("POST", kind.path + "?dryRun=All", kind.body, accept=PROTOBUF)
        raw = next((inner for n, _, inner in parts(answer[4:]) if n == 2), b"") if code == 201 else None
        if raw is not None:
            raw = b"".join(whole for n, whole, _ in parts(raw) if n != 1)
            if "metadata" in kind.body:
                raw = packed(1, packed(1, kind.name.encode())) + raw
        self.good = raw

    def body(self, path, data):
        for n in reversed(path):
            data = packed(n, data)
        return envelope(self.kind.gv, self.kind.r["kind"], self.good + data)

    def cases(self, found):
        for path, f in fields(found, self.message):
            for what, data, codes in bad(f):
                yield self, what, path, f, data, codes


def walk(walk, kinds, dice, seconds):
    """Lines of what went wrong, and how much was asked."""
    found = messages()
    wires = [Wire(walk, found, k) for k in kinds if not k.custom]
    for w in wires:
        if w.good is None:
            yield "%s: has no protobuf" % w.kind.key
        elif walk.send((w.kind, "protobuf", (), None, ""), w.body((), b""), PROTOBUF)[0] not in (200, 201):
            yield "%s: does not come back as protobuf" % w.kind.key
    decks = [list(w.cases(found)) for w in wires if w.good is not None]
    for deck in decks:
        dice.shuffle(deck)
    end = time.monotonic() + (seconds or 1e9)
    while any(decks) and time.monotonic() < end:
        for deck in decks:
            if not deck:
                continue
            w, what, path, f, data, codes = deck.pop()
            case = (w.kind, what, path + (f.name,), data, "")
            got = walk.send(case, w.body(path, data), PROTOBUF)
            if got and got[0] not in codes:
                walk.fail(case, "protobuf", *got[:2])
