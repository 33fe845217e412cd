#!/usr/bin/env python3
"""A constant load with a new connection for every request, and what became of each of them.

    load.py run LOG RATE NAME=HOST:PORT...       asks the targets in turn, RATE requests a second in all, until SIGTERM
    load.py failed LOG FROM TO [NODE-SETS IPS]   prints the failures among the requests begun in that time; with the sets of
                                                 load_watch (nft -j) and addresses: only those that were not led to one of these

Open loop: a request that hangs holds up no other. A line of LOG: begun, ended, target, own address, own port, the pod that
answered or FAILED and why. LOG.done holds the time before which everything begun has ended; LOG is complete up to there.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time

TIMEOUT_S = 15  # several attempts of TCP, on a busy machine: what a lost packet makes late is not failed
UNDER_WAY_MAX = 4000


class Load:
    def __init__(self, path, rate, targets):
        self.log = open(path, "w")
        self.path, self.interval = path, 1 / rate
        self.targets = [(name, *where.rsplit(":", 1)) for name, where in (t.split("=", 1) for t in targets)]
        self.begun = {}

    async def request(self, name, host, port):
        loop = asyncio.get_running_loop()
        start, sock, step, who = time.time(), None, "name", None
        key = object()
        self.begun[key] = start
        try:
            async with asyncio.timeout(TIMEOUT_S):
                found = await loop.getaddrinfo(host, int(port), family=socket.AF_INET, type=socket.SOCK_STREAM)
                sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                sock.setblocking(False)
                step = "connect"
                await loop.sock_connect(sock, found[0][4])
                step = "send"
                await loop.sock_sendall(sock, b"GET /who HTTP/1.0\r\n\r\n")
                step, answer = "answer", b""
                while chunk := await loop.sock_recv(sock, 4096):
                    answer += chunk
                head, _, body = answer.partition(b"\r\n\r\n")
                if b" 200 " not in head.split(b"\r\n")[0] or not body.endswith(b"\n"):
                    raise OSError("cut short after %d bytes" % len(answer))
                result = body.decode().strip()
        except (OSError, TimeoutError) as e:
            result = f"FAILED {step}: {e or type(e).__name__}"
        if sock:
            who = sock.getsockname()
            sock.close()
        ip, own = who or ("-", 0)
        print(f"{start:.3f} {time.time():.3f} {name} {ip} {own} {result}", file=self.log)
        del self.begun[key]

    def note_done(self):
        done = min(self.begun.values(), default=time.time())
        self.log.flush()
        with open(self.path + ".new", "w") as f:
            f.write(f"{done:.3f}\n")
        os.rename(self.path + ".new", self.path + ".done")

    async def run(self):
        stop, n, tasks = asyncio.Event(), 0, set()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        next_at = noted = time.monotonic()
        while not stop.is_set():
            now = time.monotonic()
            if now - noted > 0.2:
                self.note_done()
                noted = now
            if now < next_at:
                await asyncio.sleep(next_at - now)
                continue
            next_at = max(next_at + self.interval, now - 0.5)  # what was missed in a busy moment is not made up for
            if len(self.begun) < UNDER_WAY_MAX:
                task = asyncio.create_task(self.request(*self.targets[n % len(self.targets)]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            n += 1
            await asyncio.sleep(0)
        self.note_done()


def led_to(sets_file):
    """(client, port) -> addresses of pods it was led to, by what the nodes' rules saw."""
    seen = {}
    for line in open(sets_file):
        for entry in json.loads(line)["nftables"]:
            for element in entry.get("set", {}).get("elem", []):
                client, port, pod = element["concat"]
                seen.setdefault((client, port), set()).add(pod)
    return seen


def failed(path, begin, end, sets_file=None, ips=()):
    seen = led_to(sets_file) if sets_file else {}
    good = bad = excused = 0
    ports = {}
    for line in open(path):
        start, _, _, ip, own, result = line.split(" ", 5)
        ports.setdefault((ip, own), []).append(line.strip())
        if not begin <= float(start) <= end:
            continue
        if not result.startswith("FAILED"):
            good += 1
        elif seen.get((ip, int(own)), set()) & set(ips):
            excused += 1
        else:
            bad += 1
            before = len(ports[(ip, own)]) - 1
            pods = " ".join(seen.get((ip, int(own)), {"nothing"}))
            print(line.strip(), f"(led to {pods}; its port had {before} requests before)")
    print(f"{path}: {good} good, {bad} failed, {excused} failed with their pod", file=sys.stderr)
    return 0 if good and not bad else 1


def main():
    if sys.argv[1] == "run":
        asyncio.run(Load(sys.argv[2], float(sys.argv[3]), sys.argv[4:]).run())
        return 0
    sets_file, ips = (sys.argv[5], sys.argv[6:]) if len(sys.argv) > 5 else (None, ())
    return failed(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), sets_file, ips)


if __name__ == "__main__":
    sys.exit(main())
