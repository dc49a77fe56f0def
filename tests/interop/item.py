"""An item's bound parameters (protocol, section 3), written from its text alone, with PyPI's `rfc8785`."""

import base64
import hashlib
import json
import sys

import rfc8785


def _is_zero(value):
    return value is None or value is False or (value == 0 and value is not True) or value in ("", [], {})


def _without_zero_members(value):
    if isinstance(value, list):
        return [_without_zero_members(element) for element in value]
    if not isinstance(value, dict):
        return value
    members = {name: _without_zero_members(member) for name, member in value.items()}
    return {name: member for name, member in members.items() if not _is_zero(member)}


def _taken(parameter):
    value = parameter.get("value")
    if parameter["kind"] == "set":
        return sorted(value or [], key=lambda text: text.encode("utf-16-be"))
    if parameter["kind"] != "tree":
        return value
    tree = _without_zero_members(value)
    return None if _is_zero(tree) else tree


def canonical(item):
    """The canonical bytes of `[{name, kind, value}]`."""
    return rfc8785.dumps({parameter["name"]: _taken(parameter) for parameter in item})


def digest(item):
    """What the user signs for it."""
    return base64.urlsafe_b64encode(hashlib.sha256(canonical(item)).digest()).rstrip(b"=").decode()


def run(work):
    """Reads the job from standard input, and writes what `work` makes of it."""
    json.dump(work(json.load(sys.stdin.buffer)), sys.stdout)
