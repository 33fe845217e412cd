"""Calls that hold their seat, or wait for one, while the objects that say who may run are changed.

flows.py PORT TOKEN: five creates of one user begin and send no body, where a level has one seat and three places. Then the
level is deleted with its schema, the first is finished, and the others are to run one after the other.
Prints what a test asserts.
"""
import json
import re
import socket
import ssl
import subprocess
import sys
import time

port, token = int(sys.argv[1]), sys.argv[2]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE


class Call:
    def __init__(self, name):
        self.body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
        self.s = tls.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=40))
        self.s.sendall((f"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                        f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n").encode())

    def finish(self):
        self.s.sendall(self.body.encode())

    def answer(self):
        text = b""
        while b"\r\n\r\n" not in text:
            more = self.s.recv(65536)
            if not more:
                break
            text += more
        return text.decode().lower()


def kubectl(*args):
    return subprocess.run(["kubectl", *args], capture_output=True, text=True, check=False).stdout


def dump(what):
    return kubectl("get", "--raw", "/debug/api_priority_and_fairness/" + what)


def until(what, pattern):
    end = time.time() + 20
    while not re.search(pattern, text := dump(what), re.M):
        if time.time() > end:
            raise SystemExit(f"no {pattern} in\n{text}")
        time.sleep(0.05)
    return text


calls = []
for i in range(4):
    calls.append(Call(f"held-{i}"))
    until("dump_priority_levels", rf"^narrow, \d+, false, false, {i}, 1, ")
last = Call("held-4").answer()
print("fifth=" + last.split()[1], "headers=%d" % (last.count("x-kubernetes-pf-")))
print("requests=%d" % len(re.findall(r"^narrow, narrow, 0, \d, system:serviceaccount:default:one, ",
                                     dump("dump_requests?includeRequestDetails=1"), re.M)))
print("queues=%d" % len(re.findall(r"^narrow, 0, 3, ", dump("dump_queues"), re.M)))
kubectl("delete", "prioritylevelconfiguration", "narrow")
until("dump_priority_levels", r"^narrow, 1, false, true, 3, 1, ")
new = Call("held-5")  # goes where everybody goes now
new.finish()
print("new=" + new.answer().split()[1])
codes = []
for c in calls:
    c.finish()
    codes.append(c.answer().split()[1])
print("held=" + ",".join(codes))
end = time.time() + 20
while re.search(r"^narrow", dump("dump_priority_levels"), re.M) and time.time() < end:
    time.sleep(0.05)
print("left=%d" % len(re.findall(r"^narrow", dump("dump_priority_levels"), re.M)))
