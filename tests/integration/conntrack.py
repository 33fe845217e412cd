"""Fills the connection table of the network it runs in with connections that count as established, so that the kernel
throws none of them out to make room, and keeps it full.

    conntrack.py LIFETIME_S    until SIGTERM, which takes all of them away again; "full" is printed when it is"""
import signal
import socket
import struct
import sys
import time

TUPLE_ORIG, TUPLE_REPLY, STATUS, TIMEOUT, MARK, MARK_MASK = 1, 2, 3, 7, 8, 21
OURS = 0x0DA71
SEEN_REPLY_ASSURED_CONFIRMED = 2 | 4 | 8
NESTED = 0x8000


def attr(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def addresses(src, dst, sport, dport):
    ip = attr(1, socket.inet_aton(src)) + attr(2, socket.inet_aton(dst))
    proto = attr(1, b"\x11") + attr(2, struct.pack("!H", sport)) + attr(3, struct.pack("!H", dport))
    return attr(1 | NESTED, ip) + attr(2 | NESTED, proto)


def message(host, port, lifetime):
    a, b = "192.0.2.%d" % host, "198.51.100.1"
    body = struct.pack("=BBH", socket.AF_INET, 0, 0)
    body += attr(TUPLE_ORIG | NESTED, addresses(a, b, port, 9)) + attr(TUPLE_REPLY | NESTED, addresses(b, a, 9, port))
    body += attr(STATUS, struct.pack("!I", SEEN_REPLY_ASSURED_CONFIRMED)) + attr(TIMEOUT, struct.pack("!I", lifetime))
    body += attr(MARK, struct.pack("!I", OURS))
    return struct.pack("=IHHII", 16 + len(body), 1 << 8, 1 | 0x400 | 0x200, 0, 0) + body  # CREATE, EXCL: errors alone come back


def number(name):
    with open("/proc/sys/net/netfilter/nf_conntrack_" + name) as f:
        return int(f.read())


def take_away(*_):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    body = struct.pack("=BBH", socket.AF_INET, 0, 0)
    body += attr(MARK, struct.pack("!I", OURS)) + attr(MARK_MASK, struct.pack("!I", 0xFFFFFFFF))
    s.send(struct.pack("=IHHII", 16 + len(body), 1 << 8 | 2, 1 | 4, 0, 0) + body)  # DELETE, ACK
    error = struct.unpack("=i", s.recv(65536)[16:20])[0]
    sys.exit("they stay: %d" % error if error else 0)


def main(lifetime):
    signal.signal(signal.SIGTERM, take_away)
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    s.setblocking(False)
    limit, said = number("max"), False
    # one message, and where in it the address and the port are, each way
    a, b = message(1, 1024, lifetime), message(2, 1025, lifetime)
    changes = [i for i in range(len(a)) if a[i] != b[i]]
    host_at, port_at = changes[0], changes[1] - 1
    reply_host, reply_port = changes[2], changes[3] - 1
    batch, m = [], bytearray(a)
    while True:
        for host in range(1, 250):
            m[host_at] = m[reply_host] = host
            for port in range(1024, 65024):
                m[port_at] = m[reply_port] = port >> 8
                m[port_at + 1] = m[reply_port + 1] = port & 255
                batch.append(bytes(m))
                if len(batch) < 1000:
                    continue
                s.send(b"".join(batch))
                batch.clear()
                try:
                    while True:
                        s.recv(65536)
                except OSError:
                    pass
                while number("count") >= limit - 8:
                    if not said:
                        print("full", flush=True)
                        said = True
                    time.sleep(0.02)


main(int(sys.argv[1]))
