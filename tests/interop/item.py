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


# Unicode's White_Space: Python's own `strip` takes four control characters more.
_SPACE = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


class Collision(Exception):
    """Two names that are one to UCloud."""


def changed(value, changes):
    """What UCloud makes of the value on its way."""
    for change in changes:
        value = _descend(value, change["at"].split("/")[1:], change["how"])
    return value


def _descend(value, at, how):
    if not at:
        return _change(value, how)
    first, rest = at[0], at[1:]
    if isinstance(value, list):
        return [_descend(element, rest, how) for element in value] if first == "*" else value
    if not isinstance(value, dict):
        return value
    if how == "dropped" and not rest:
        return {name: member for name, member in value.items() if name != first}
    return {name: _descend(member, rest, how) if first in (name, "*") else member for name, member in value.items()}


def _change(value, how):
    if isinstance(value, str):
        return {"trimmed": value.strip(_SPACE), "lowered": value.lower()}.get(how, value)
    if how != "names" or not isinstance(value, dict):
        return value
    members = {name.lower().strip(_SPACE): member for name, member in value.items()}
    if len(members) < len(value):
        raise Collision
    return members


def _taken(parameter):
    value = changed(parameter.get("value"), parameter.get("changes", []))
    if parameter["kind"] == "set":
        return sorted(value or [], key=lambda text: text.encode("utf-16-be"))
    if parameter["kind"] != "tree":
        return value
    tree = _without_zero_members(value)
    return None if _is_zero(tree) else tree


def canonical(item):
    """The canonical bytes of `[{name, kind, value, changes}]`."""
    return rfc8785.dumps({parameter["name"]: _taken(parameter) for parameter in item})


def digest(item):
    """What the user signs for it."""
    return base64.urlsafe_b64encode(hashlib.sha256(canonical(item)).digest()).rstrip(b"=").decode()


def run(work):
    """Reads the job from standard input, and writes what `work` makes of it."""
    json.dump(work(json.load(sys.stdin.buffer)), sys.stdout)
