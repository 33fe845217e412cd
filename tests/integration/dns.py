#!/usr/bin/python3
"""DNS as bytes, for dns.bats.

  dns.py ask SERVER NAME TYPE [tcp] [edns=SIZE] [do] [class=N]   prints the answer, a line a record
  dns.py raw SERVER HEX [tcp]      sends these bytes; prints the answer as hex, or "silence"
  dns.py storm SERVER N            N malformed and random datagrams; prints how many were answered
  dns.py serve ADDRESS             a fake upstream on port 53, UDP and TCP: what it says depends on the first label
"""
import os
import random
import socket
import struct
import sys
import threading
import time

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33, "ANY": 255}
NAMES = {v: k for k, v in TYPES.items()}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def to_wire(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.rstrip(".").split(".") if p) + b"\0"


def from_wire(p, at):
    labels, end = [], None
    while p[at]:
        if p[at] & 0xC0:
            end = end or at + 2
            at = struct.unpack_from(">H", p, at)[0] & 0x3FFF
            continue
        labels.append(p[at + 1 : at + 1 + p[at]].decode())
        at += 1 + p[at]
    return ".".join(labels) + ".", end or at + 1


def rdata(p, rtype, at, n):
    if rtype == 1:
        return socket.inet_ntop(socket.AF_INET, p[at : at + 4])
    if rtype == 28:
        return socket.inet_ntop(socket.AF_INET6, p[at : at + 16])
    if rtype in (2, 5, 12):
        return from_wire(p, at)[0]
    if rtype == 33:
        return "%d %d %d " % struct.unpack_from(">HHH", p, at) + from_wire(p, at + 6)[0]
    if rtype == 16:
        return '"%s"' % p[at + 1 : at + 1 + p[at]].decode()
    if rtype == 6:
        a, at = from_wire(p, at)
        b, at = from_wire(p, at)
        return f"{a} {b}"
    return p[at : at + n].hex()


def show(p):
    _, flags, qd, an, ns, ar = struct.unpack_from(">HHHHHH", p)
    print(RCODES.get(flags & 15, flags & 15), *[n for n, bit in (("aa", 0x400), ("tc", 0x200), ("ra", 0x80)) if flags & bit])
    at = 12
    for _ in range(qd):
        name, at = from_wire(p, at)
        print("?", name)
        at += 4
    for mark, count in (("", an), ("@", ns), ("+", ar)):
        for _ in range(count):
            name, at = from_wire(p, at)
            rtype, rclass, ttl, n = struct.unpack_from(">HHIH", p, at)
            if rtype == 41:
                print("edns", rclass, "do" if ttl & 0x8000 else "")
            else:
                print(f"{mark}{name} {ttl} {NAMES.get(rtype, rtype)} {rdata(p, rtype, at + 10, n)}")
            at += 10 + n


def exchange(server, query, tcp):
    if not tcp:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(6)
        s.sendto(query, (server, 53))
        p, peer = s.recvfrom(65535)
        assert peer == (server, 53), peer
        return p
    s = socket.create_connection((server, 53), 6)
    s.sendall(struct.pack(">H", len(query)) + query)
    p = b""
    while len(p) < 2 or len(p) < 2 + struct.unpack_from(">H", p)[0]:
        more = s.recv(65535)
        if not more:
            raise TimeoutError
        p += more
    return p[2:]


def ask(server, name, rtype, *options):
    o = dict(x.partition("=")[::2] for x in options)
    edns = int(o.get("edns") or 0)
    query = struct.pack(">HHHHHH", random.randrange(65536), 0x100, 1, 0, 0, 1 if edns else 0)
    query += to_wire(name) + struct.pack(">HH", TYPES[rtype], int(o.get("class") or 1))
    if edns:
        query += b"\0" + struct.pack(">HHIH", 41, edns, 0x8000 if "do" in o else 0, 0)
    p = exchange(server, query, "tcp" in o)
    assert p[:2] == query[:2], "another id"
    print("bytes", len(p), file=sys.stderr)
    show(p)


def raw(server, text, *options):
    s = bytes.fromhex(text)
    try:
        print(exchange(server, s, "tcp" in options).hex())
    except (TimeoutError, socket.timeout):
        print("silence")


def storm(server, n):
    rnd = random.Random(7)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.2)
    good = struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + to_wire("web.default.svc.cluster.local") + b"\0\1\0\1"
    for i in range(int(n)):
        p = bytearray(good if i % 2 else rnd.randbytes(rnd.randrange(600)))
        for _ in range(rnd.randrange(4)):
            if p:
                p[rnd.randrange(len(p))] = rnd.randrange(256)
        s.sendto(bytes(p), (server, 53))
        if i % 50 == 0:
            time.sleep(0.005)
    answered = 0
    try:
        while True:
            s.recv(4096)
            answered += 1
    except (TimeoutError, socket.timeout):
        print(answered)


# ---- the fake upstream ----


def reply(q, tcp):
    name, end = from_wire(q, 12)
    rtype = struct.unpack_from(">H", q, end)[0]
    label = name.split(".")[0].lower()
    head = lambda flags, an, ns: q[:2] + struct.pack(">HHHHH", 0x8180 | flags, 1, an, ns, 0) + q[12 : end + 4]
    a = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4)
    soa = b"\xc0\x0c" + struct.pack(">HHIH", 6, 1, 60, 22) + b"\0\0" + struct.pack(">IIIII", 1, 2, 3, 4, 60)
    if label == "nx":
        return head(3, 0, 1) + soa
    if rtype != 1:
        return head(0, 0, 1) + soa
    if label == "big":
        if not tcp:
            return head(0x200, 0, 0)
        return head(0, 200, 0) + b"".join(a + bytes([192, 0, 2, i]) for i in range(200))
    return head(0, 1, 0) + a + bytes([192, 0, 2, 80])


def serve(address):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, 53))
    tcp = socket.create_server((address, 53))

    def tcp_loop():
        while True:
            c, _ = tcp.accept()
            q = c.recv(4096)
            p = reply(q[2:], True)
            c.sendall(struct.pack(">H", len(p)) + p)
            c.close()

    threading.Thread(target=tcp_loop, daemon=True).start()
    print("serving", flush=True)
    while True:
        q, peer = udp.recvfrom(4096)
        name, end = from_wire(q, 12)
        print(name, struct.unpack_from(">H", q, end)[0], flush=True)
        label = name.split(".")[0].lower()
        if label == "silent":
            continue
        p = reply(q, False)
        if label == "spoofed":  # what somebody who guesses would send, before the true one
            other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            bad = p[:-1] + b"\x42"
            other.sendto(bad, peer)  # from another port
            for _ in range(5):
                udp.sendto(os.urandom(1) + bytes([bad[1] ^ 1]) + bad[2:], peer)
        udp.sendto(p, peer)


if __name__ == "__main__":
    {"ask": ask, "raw": raw, "storm": storm, "serve": serve}[sys.argv[1]](*sys.argv[2:])
