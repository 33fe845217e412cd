"""JSON that json.dumps cannot write: members twice, and text put in as it is."""

import json


class Raw(str):
    """A piece of text that goes out unchanged."""


class Pairs(list):
    """An object as a list of (name, value): a name may come twice."""


def text(v):
    if isinstance(v, Raw):
        return str(v)
    if isinstance(v, (dict, Pairs)):
        return "{%s}" % ",".join("%s:%s" % (json.dumps(k), text(m)) for k, m in (v.items() if isinstance(v, dict) else v))
    if isinstance(v, list):
        return "[%s]" % ",".join(map(text, v))
    return json.dumps(v)
