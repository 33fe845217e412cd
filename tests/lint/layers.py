#!/usr/bin/python3
"""Checks that every #include points down (docs/ARCHITECTURE.md), and that a library's headers stay in the
folder that wraps it. Usage: layers.py [ROOT]. Exit 1 and one line a finding."""

import pathlib
import re
import sys

# folder -> folders it may include (besides itself)
LAYERS = {
    "base": [],
    "codec": ["base"],
    "sys": ["base"],
    "rt": ["base"],
    "schema": ["codec", "base", "api/types.gen.h", "api/tables.gen.h"],  # generated from api/, below both
    "cel": ["schema", "codec", "base"],
    "api": ["schema", "codec", "base"],
    "store": ["api", "schema", "codec", "rt", "base"],
    "http": ["rt", "codec", "base"],
}
LOW = ["http", "store", "api", "cel", "schema", "rt", "codec", "sys", "base"]
LAYERS["client"] = LOW
for folder in ["apiserver", "scheduler", "controllers", "node", "net"]:
    LAYERS[folder] = ["client"] + LOW
# net implements the vtable that node declares; node knows nothing of net
LAYERS["net"] = LAYERS["net"] + ["node/net_ops.h"]
LAYERS["cli"] = ["apiserver", "scheduler", "controllers", "node", "net", "client"] + LOW
LAYERS["main"] = ["cli"] + LAYERS["cli"]

# header (prefix) -> where it may be included
WRAPPED = {
    "uv.h": ["rt"],
    "openssl/": ["rt"],
    "yyjson.h": ["codec"],
    "yaml.h": ["codec"],
    "lmdb.h": ["store"],
    "nghttp2/": ["http"],
    "llhttp.h": ["http"],
    "wslay/": ["http"],
    "libmnl/": ["sys"],
    "nftables/": ["sys"],
    "seccomp.h": ["sys"],
    "sys/capability.h": ["sys"],
    "archive.h": ["node"],
    "archive_entry.h": ["node"],
    "curl/": ["node"],
    "ldns/": ["net/dns"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def findings(root):
    src = root / "src"
    for path in sorted(src.rglob("*.[ch]")):
        rel = path.relative_to(src)
        folder = rel.parts[0]
        if folder not in LAYERS:
            yield f"src/{rel}: folder '{folder}' has no layer; add it to tests/lint/layers.py"
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            name = m.group(2)
            for header, allowed in WRAPPED.items():
                if (name == header or (header.endswith("/") and name.startswith(header))) and not (
                    {folder, "/".join(rel.parts[:-1])} & set(allowed)
                ):
                    yield f"src/{rel}:{number}: <{name}> belongs to src/{allowed[0]} only"
            if m.group(1) != '"' or "/" not in name:
                continue
            target = name.split("/")[0]
            if target not in LAYERS or target == folder:
                continue
            if target not in LAYERS[folder] and name not in LAYERS[folder]:
                yield f"src/{rel}:{number}: '{folder}' may not include '{name}'"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    bad = list(findings(root))
    for line in bad:
        print(line)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
