#!/usr/bin/python3
"""How long an endpoint that turns ready needs to be reachable; used by cluster.sh.

  reach.py probe ADDRESS PORT              a line "NANOSECONDS up" whenever connections begin to succeed; until it is killed
  reach.py toggle KUBECONFIG.json SLICE N  writes the slice's endpoint not ready and ready, N times; a line "NANOSECONDS" as each
                                           "ready" is sent: what the API server needs to make it durable counts, too
  reach.py p TOGGLES PROBE...              "P50 P99 WORST SAMPLES MISSING" in ms, of every toggle at every prober

All on one machine, so there is one clock (monotonic)."""
import base64, http.client, json, os, random, socket, ssl, sys, tempfile, time

APART = 0.12  # s between "ready" and "not ready": longer than the budget


def probe(address, port):
    up = False
    while True:
        s = socket.socket()
        s.settimeout(0.5)
        try:
            s.connect((address, port))
            ok = True
        except OSError:
            ok = False
        if ok and not up:
            print(time.monotonic_ns(), "up", flush=True)
        up = ok
        s.close()
        time.sleep(0.01 if up else 0.001)  # up: each connection is a process of the pod's


def connect(config):
    with open(config) as f:
        k = json.load(f)
    cluster, user = k["clusters"][0]["cluster"], k["users"][0]["user"]
    tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as f:
        f.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        f.flush()
        tls.load_cert_chain(f.name)
    host, port = cluster["server"].removeprefix("https://").rsplit(":", 1)
    c = http.client.HTTPSConnection(host, int(port), context=tls)
    c.connect()
    c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return c


def toggle(config, name, times):
    c = connect(config)
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/" + name

    def set_ready(ready):
        body = json.dumps([{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": ready}])
        c.request("PATCH", path, body, {"content-type": "application/json-patch+json"})
        r = c.getresponse()
        r.read()
        if r.status != 200:
            sys.exit("PATCH: %d" % r.status)

    for _ in range(times):
        set_ready(False)
        time.sleep(APART + random.random() * 0.03)  # in step with no timer
        print(time.monotonic_ns(), flush=True)
        set_ready(True)
        time.sleep(APART + random.random() * 0.03)


def percentiles(toggles, probes):
    starts = [int(line) for line in open(toggles)]
    took, missing = [], 0
    for p in probes:
        ups = [int(line.split()[0]) for line in open(p)]
        for start, end in zip(starts, starts[1:] + [starts[-1] + 10**10]):
            first = next((u for u in ups if start <= u < end), None)
            if first is None:
                missing += 1
            else:
                took.append((first - start) / 1e6)
    took.sort()
    # one that never came is worse than any that did
    took += [10000.0] * missing
    at = lambda q: took[min(len(took) - 1, int(len(took) * q))]
    print("%.1f %.1f %.1f %d %d" % (at(0.5), at(0.99), took[-1], len(took), missing))


if __name__ == "__main__":
    verb, args = sys.argv[1], sys.argv[2:]
    if verb == "probe":
        probe(args[0], int(args[1]))
    elif verb == "toggle":
        toggle(args[0], args[1], int(args[2]))
    else:
        percentiles(args[0], args[1:])
