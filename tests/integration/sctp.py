"""SCTP by hand, for kernels without its sockets: an association of one message over raw sockets, with every field looked at
that a translation touches (addresses, ports, checksum).

    sctp.py serve PORT NAME            answers each message with "NAME ADDRESS-OF-THE-CLIENT"
    sctp.py ask ADDRESS PORT [N]       prints N answers, to as many associations; fails when one is not answered
    sctp.py refused ADDRESS PORT       succeeds when "port unreachable" comes back at once"""
import random
import select
import socket
import struct
import sys
import time

SCTP = 132
DATA, INIT, INIT_ACK, COOKIE_ECHO, COOKIE_ACK = 0, 1, 2, 10, 11
TABLE = []
for i in range(256):
    c = i
    for _ in range(8):
        c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    TABLE.append(c)


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = c >> 8 ^ TABLE[(c ^ b) & 255]
    return c ^ 0xFFFFFFFF


def packet(sport, dport, tag, kind, body, flags=0):
    chunk = struct.pack("!BBH", kind, flags, 4 + len(body)) + body
    chunk += b"\0" * (-len(chunk) % 4)
    head = struct.pack("!HHI", sport, dport, tag)
    return head + struct.pack("<I", crc32c(head + b"\0" * 4 + chunk)) + chunk


def parse(raw):
    """(source, sport, dport, tag, chunk type, chunk body) of an IP packet, or None."""
    p = raw[(raw[0] & 15) * 4 :]
    if len(p) < 16:
        return None
    sport, dport, tag = struct.unpack("!HHI", p[:8])
    if struct.unpack("<I", p[8:12])[0] != crc32c(p[:8] + b"\0" * 4 + p[12:]):
        sys.exit("a checksum is wrong")
    kind, _, n = struct.unpack("!BBH", p[12:16])
    return socket.inet_ntoa(raw[12:16]), sport, dport, tag, kind, p[16 : 12 + n]


def init_body(tag):
    return struct.pack("!IIHHI", tag, 65536, 1, 1, 1)


def data_body(text):
    return struct.pack("!IHHI", 1, 0, 0, 0) + text.encode()


def serve(port, name):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
    print("serving", flush=True)
    peers = {}
    while True:
        got = parse(s.recvfrom(65536)[0])
        if not got or got[2] != port:
            continue
        src, sport, _, tag, kind, body = got

        def send(kind, body, flags=0):
            s.sendto(packet(port, sport, peers[src, sport], kind, body, flags), (src, 0))

        if kind == INIT and tag == 0:
            peers[src, sport] = struct.unpack("!I", body[:4])[0]
            send(INIT_ACK, init_body(4711) + struct.pack("!HH", 7, 8) + b"cook")
        elif kind == COOKIE_ECHO and tag == 4711 and body == b"cook":
            send(COOKIE_ACK, b"")
        elif kind == DATA and tag == 4711:
            send(DATA, data_body(name + " " + src), 3)


def ask(address, port, mine):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
    tag, theirs = random.randrange(1, 2**32), 0
    end = time.monotonic() + 10

    def expect(kind):
        while time.monotonic() < end:
            if not select.select([s], [], [], end - time.monotonic())[0]:
                break
            got = parse(s.recvfrom(65536)[0])
            if got and got[:5] == (address, port, mine, tag, kind):
                return got[5]
        sys.exit("no answer")

    def send(kind, body, flags=0):
        s.sendto(packet(mine, port, theirs, kind, body, flags), (address, 0))

    send(INIT, init_body(tag))
    theirs = struct.unpack("!I", expect(INIT_ACK)[:4])[0]
    send(COOKIE_ECHO, b"cook")
    expect(COOKIE_ACK)
    send(DATA, data_body("who"), 3)
    print(expect(DATA)[12:].decode())
    s.close()


def refused(address, port):
    answers = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
    answers.settimeout(2)
    try:
        s.sendto(packet(random.randrange(20000, 30000), port, 0, INIT, init_body(1)), (address, 0))
    except PermissionError:
        pass  # our own host refuses
    while True:
        m = answers.recv(4096)[20:]
        if m[:2] == b"\3\3" and m[8 + 9] == SCTP and socket.inet_ntoa(m[8 + 16 : 8 + 20]) == address:
            return


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]), sys.argv[3])
elif sys.argv[1] == "refused":
    refused(sys.argv[2], int(sys.argv[3]))
else:
    first = random.randrange(20000, 30000)
    for k in range(int(sys.argv[4]) if len(sys.argv) > 4 else 1):
        ask(sys.argv[2], int(sys.argv[3]), first + k)
