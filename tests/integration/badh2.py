#!/usr/bin/python3
"""HTTP/2 as attackers speak it: floods, frames that make no sense. The server ends such a connection or answers; its memory stays
bounded, and others are served meanwhile.

Usage: badh2.py KUBECONFIG SERVER_PID   Exit 1 with one line for each failure."""

import base64
import socket
import ssl
import struct
import sys
import time

import yaml

failures = []
config = yaml.safe_load(open(sys.argv[1]))
cluster = config["clusters"][0]["cluster"]
CA = base64.b64decode(cluster["certificate-authority-data"]).decode()
HOST, PORT = cluster["server"].removeprefix("https://").split(":")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
GROWTH_MAX_KB = 64 * 1024


def connect(alpn=("h2",), timeout=10):
    context = ssl.create_default_context(cadata=CA)
    context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(socket.create_connection((HOST, int(PORT)), timeout=timeout), server_hostname=HOST)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """HPACK: a literal without indexing; lengths as 7-bit prefixed integers."""

    def text(s):
        n, out = len(s), b""
        if n < 127:
            return bytes([n]) + s
        out, n = b"\x7f", n - 127
        while n >= 128:
            out, n = out + bytes([n % 128 + 128]), n // 128
        return out + bytes([n]) + s

    return b"\0" + text(name) + text(value)


REQUEST = b"\x82\x87" + literal(b":path", b"/version") + literal(b":authority", b"x")


def resident_kb():
    for line in open(f"/proc/{sys.argv[2]}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def say(pieces, wait=3, timeout=20):
    """Says all of it, or as much as the server lets us; returns what came back, and whether the server ended the connection."""
    s = connect(timeout=timeout)
    out, ended = b"", True
    try:
        s.sendall(PREFACE + frame(SETTINGS, 0, 0))
        for piece in pieces:
            s.sendall(piece)
        s.settimeout(wait)
        while True:
            got = s.recv(65536)
            if not got:
                break
            out += got
    except TimeoutError:
        ended = False
    except OSError:
        pass
    s.close()
    return out, ended


def frames(data):
    while len(data) >= 9:
        n = int.from_bytes(data[:3], "big")
        yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + n]
        data = data[9 + n :]


def others_are_served(what):
    started = time.monotonic()
    s = connect(alpn=("http/1.1",))
    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    line = s.recv(4096).split(b"\r\n")[0]
    s.close()
    if b" 200 " not in line or time.monotonic() - started > 8:
        failures.append(f"{what}: others get {line!r}, {time.monotonic() - started:.1f} s")


def attack(what, pieces, ends=False):
    """ends: the server must end the connection, or refuse by GOAWAY, RST_STREAM or an answer that is an error."""
    before = resident_kb()
    out, ended = say(pieces, 3 if ends else 0.5)
    growth = resident_kb() - before
    if growth > GROWTH_MAX_KB:
        failures.append(f"{what}: the server grew by {growth} KB")
    if ends and not ended:
        refused = [k for k, _, _, p in frames(out) if (k == RST and p != bytes(4)) or (k == GOAWAY and p[4:8] != bytes(4)) or (k == DATA and b'"code":4' in p)]
        if not refused:
            failures.append(f"{what}: not refused, but {[(k, p[:60]) for k, _, _, p in frames(out)]}")
    others_are_served(what)


# a request that is in order, so that the rest means something
answer, _ = say([frame(HEADERS, 5, 1, REQUEST)], 1)
if not any(k == HEADERS and s == 1 for k, _, s, _ in frames(answer)) or not any(k == DATA and b"gitVersion" in p for k, _, _, p in frames(answer)):
    failures.append(f"a good request is not answered: {answer[:200]!r}")

attack("rapid reset", (b"".join(frame(HEADERS, 5, i, REQUEST) + frame(RST, 0, i, b"\0\0\0\x08") for i in range(n, n + 200, 2)) for n in range(1, 40001, 200)), ends=True)
attack("CONTINUATION without end", [frame(HEADERS, 1, 1, REQUEST)] + [frame(CONTINUATION, 0, 1, literal(b"a%d" % i, b"b" * 8000) * 2) for i in range(2000)], ends=True)
attack("empty CONTINUATIONs", [frame(HEADERS, 1, 1, REQUEST)] + [frame(CONTINUATION, 0, 1) * 1000] * 200, ends=True)
attack("SETTINGS flood", [frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff") * 1000] * 200)
attack("PING flood", [frame(PING, 0, 0, b"12345678") * 1000] * 200)
attack("PRIORITY flood", [frame(PRIORITY, 0, i * 2 + 1, b"\0\0\0\0\x10") for i in range(20000)])
attack("empty DATA flood", [frame(HEADERS, 4, 1, b"\x83\x87" + literal(b":path", b"/api/v1/namespaces/default/configmaps") + literal(b":authority", b"x"))] + [frame(DATA, 0, 1) * 1000] * 100)
attack("a huge header list", [frame(HEADERS, 5, 1, REQUEST + literal(b"a", b"b" * 15000))] + [frame(HEADERS, 1, 3, REQUEST + literal(b"a", b"b" * 15000))] + [frame(CONTINUATION, 4 if i == 99 else 0, 3, literal(b"a", b"b" * 15000)) for i in range(100)], ends=True)
attack("one field inserted, referred to ten thousand times", [frame(HEADERS, 1, 1, REQUEST + b"\x40" + literal(b"x", b"y" * 3900)[1:])] + [frame(CONTINUATION, 4 if i == 3 else 0, 1, b"\xbe" * 10000) for i in range(4)], ends=True)
attack("too many streams", [b"".join(frame(HEADERS, 4, i, b"\x83\x87" + literal(b":path", b"/api/v1/namespaces/default/configmaps") + literal(b":authority", b"x")) for i in range(1, 20001, 2))], ends=True)
for what, piece in [
    ("a frame larger than allowed", frame(DATA, 0, 1, b"x" * 20000)),
    ("DATA on stream 0", frame(DATA, 0, 0, b"x")),
    ("DATA on an idle stream", frame(DATA, 1, 7, b"x")),
    ("HEADERS on an even stream", frame(HEADERS, 5, 2, REQUEST)),
    ("PUSH_PROMISE of a client", frame(PUSH, 4, 1, b"\0\0\0\x02" + REQUEST)),
    ("window of zero", frame(WINDOW, 0, 0, b"\0\0\0\0")),
    ("window too wide", frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2),
    ("SETTINGS of seven bytes", frame(SETTINGS, 0, 0, b"1234567")),
    ("SETTINGS with a value that is none", frame(SETTINGS, 0, 0, b"\0\x02\0\0\0\x07")),
    ("PING of seven bytes", frame(PING, 0, 0, b"1234567")),
    ("CONTINUATION of nothing", frame(CONTINUATION, 4, 1, REQUEST)),
    ("HPACK that is none", frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff")),
    ("upper-case field", frame(HEADERS, 5, 1, REQUEST + literal(b"Upper", b"x"))),
    ("no :path", frame(HEADERS, 5, 1, b"\x82\x87")),
    ("two :path", frame(HEADERS, 5, 1, REQUEST + literal(b":path", b"/"))),
    ("connection field", frame(HEADERS, 5, 1, REQUEST + literal(b"connection", b"close"))),
    ("line break in a value", frame(HEADERS, 5, 1, REQUEST + literal(b"a", b"b\r\nc: d"))),
    ("length that lies", frame(HEADERS, 4, 1, b"\x83\x87" + literal(b":path", b"/api/v1/namespaces/default/configmaps") + literal(b":authority", b"x") + literal(b"content-length", b"3")) + frame(DATA, 1, 1, b"12345")),
    ("padding longer than the frame", frame(DATA, 8, 1, b"\xff1")),
]:
    attack(what, [piece], ends=True)
for what, data in [("half a preface", PREFACE[:10]), ("HTTP/1 on h2", b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"), ("a preface, then rubbish", PREFACE + bytes(range(256)) * 100)]:
    s = connect()
    try:
        s.sendall(data)
        s.settimeout(0.2)
        s.recv(4096)
    except OSError:
        pass
    s.close()
    others_are_served(what)
for f in failures:
    print(f)
sys.exit(1 if failures else 0)
