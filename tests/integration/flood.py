"""One client takes every seat there is for its kind, and all the places in its queue: what do others get?

flood.py PORT FLOOD_TOKEN OTHER_TOKEN N CERT KEY LEASE_PATH

N requests of one user (streams of HTTP/2) begin to POST and send no body, so each holds its seat, or its place in the
queue, for as long as we like. Then a node (CERT, KEY) asks for a lease, and another user of the flood's level for
something. Then some of the first streams are reset, which frees their seats. Prints what a test asserts:
refused=429s node=CODE early=answers to the other user other=CODE before=unanswered after=unanswered
"""
import json
import socket
import ssl
import struct
import sys

port, flood_token, other_token, n, cert, key, lease = sys.argv[1:]
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
STREAMS = 80  # of one connection


def text(s):  # HPACK: a string, not Huffman coded
    s = s.encode()
    if len(s) < 127:
        return bytes([len(s)]) + s
    rest, size = len(s) - 127, b"\x7f"
    while rest > 127:
        size += bytes([rest % 128 + 128])
        rest //= 128
    return size + bytes([rest]) + s


class Connection:
    def __init__(self, certificate=None):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.set_alpn_protocols(["h2"])
        if certificate:
            tls.load_cert_chain(*certificate)
        self.s = tls.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), timeout=60))
        self.next, self.bodies, self.ended, self.pongs = 1, {}, set(), 0
        self.s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(SETTINGS, 0, 0))

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload

    def ask(self, method, path, token=None):
        head = {":method": method, ":scheme": "https", ":path": path, ":authority": "x"}
        if token:
            head["authorization"] = f"Bearer {token}"
        if method == "POST":
            head["content-type"] = "application/json"
        block = b"".join(b"\0" + text(k) + text(v) for k, v in head.items())
        stream, self.next = self.next, self.next + 2
        end = END_HEADERS | (0 if method == "POST" else END_STREAM)
        self.s.sendall(self.frame(HEADERS, end, stream, block))
        return stream

    def exactly(self, size):
        got = b""
        while len(got) < size:
            more = self.s.recv(size - len(got))
            if not more:
                raise EOFError
            got += more
        return got

    def read(self):
        size_kind, flags, stream = struct.unpack(">IBI", self.exactly(9))
        payload = self.exactly(size_kind >> 8)
        kind = size_kind & 255
        if kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
        elif kind == SETTINGS and not flags & ACK:
            self.s.sendall(self.frame(SETTINGS, ACK, 0))
        elif kind == PING and flags & ACK:
            self.pongs += 1
        elif kind == GOAWAY:
            raise EOFError
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self.ended.add(stream)

    def settle(self):  # all that was sent is read, and what could be answered at once is answered
        want = self.pongs + 1
        self.s.sendall(self.frame(PING, 0, 0, b"12345678"))
        while self.pongs < want:
            self.read()

    def answer(self, stream):
        while stream not in self.ended:
            self.read()
        return json.loads(self.bodies[stream])


flood = []
for i in range(int(n)):
    if i % STREAMS == 0:
        for c in flood[-1:]:
            c.settle()
        flood.append(Connection())
    flood[-1].ask("POST", "/api/v1/namespaces/default/configmaps", flood_token)


def unanswered():
    for c in flood:
        c.settle()
    return sum(len(range(1, c.next, 2)) - len(c.ended) for c in flood)


before = unanswered()
told = [json.loads(b) for c in flood for b in c.bodies.values()]
print("refused=%d" % sum(t["code"] == 429 and t["details"]["retryAfterSeconds"] == 1 for t in told))

node = Connection((cert, key))
print("node=%d" % node.answer(node.ask("GET", lease)).get("code", 200))

other = Connection()
stream = other.ask("GET", "/api/v1/namespaces/default/serviceaccounts/other", other_token)
other.settle()
print("early=%d" % len(other.ended))
for s in range(1, 9, 2):  # the first ones have seats
    flood[0].s.sendall(flood[0].frame(RESET, 0, s, struct.pack(">I", 8)))
print("other=%d" % other.answer(stream).get("code", 200))
print(f"before={before} after={unanswered()}")
